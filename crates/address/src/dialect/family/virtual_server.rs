//! Refuses `virtual_server` blocks, because Evenkeel does not control IPVS. The error message shows
//! the equivalent `listen` section of the proxy, and the settings that the section lacks.

use crate::codes;
use crate::dialect::keyword::{Row, TOP, block};
use crate::dialect::loader::Loader;
use crate::dialect::tree::{ConfigStatement, StatementBlock};
use crate::dialect::words::SourceWord;
use language::Diagnostic;
use std::collections::{BTreeSet, HashMap};
use std::fmt::Write;
use std::net::Ipv4Addr;

/// Maximum number of servers in the proposed section.
const SERVERS_MAX: usize = 256;
/// Maximum weight of a server.
const WEIGHT_MAX: u64 = 256;

pub(in crate::dialect) static ROWS: &[Row] = language::rows! {
    "virtual_server <address> [<port>] | fwmark <number> | group <name> { … }" &[TOP],
        block(1, 2, virtual_server),
        "",
        "Balances connections in the kernel with IPVS. Evenkeel uses its proxy instead: the error shows an `listen` \
         section for it, and what that section lacks; the option -P ignores it.";
    "virtual_server_group <name> { … }" &[TOP], block(1, 1, server_group), "",
        "Addresses of a `virtual_server`: several `bind` lines of a `listen` section.";
};

fn virtual_server(l: &mut Loader<'_>, node: &ConfigStatement) {
    if l.options.vrrp_only {
        return;
    }
    let node = &clean(node);
    let message = "'virtual_server' is not supported, because Evenkeel does not use IPVS";
    let told = Diagnostic::error(&codes::VIRTUAL_SERVER, node.whole(), message);
    let lost = lost(node);
    let mut told = if is_udp(node) {
        told.help(
            "run `evenkeel keepalived -P` to ignore it, and leave UDP to a keepalived with IPVS",
        )
    } else if l.options.as_keepalived {
        told
            .help("run `evenkeel check` on this file for a 'listen' section in its place, or start with -P to ignore it")
    } else {
        told
            .help("put the section into an haproxy.cfg and load both files, or run `evenkeel keepalived -P` to ignore it")
            .note(format!(
                "{}:\n{}",
                if lost.is_empty() {
"this section does the same"
} else {
"this section comes closest; the notes below list what it lacks"
},
                listen(node, &l.drafts.server_groups)
            ))
    };
    for lost in lost {
        told = told.note(lost);
    }
    l.report(told);
}

/// Removes control characters, which a terminal would obey: the message is displayed unchanged.
fn clean(node: &ConfigStatement) -> ConfigStatement {
    let words = node.words.iter().map(|word| SourceWord {
        text: word.text.chars().filter(|c| !c.is_control()).collect(),
        ..word.clone()
    });
    ConfigStatement {
        words: words.collect(),
        block: node.block.as_ref().map(|block| StatementBlock {
            nodes: block.nodes.iter().map(clean).collect(),
            ..block.clone()
        }),
    }
}

fn server_group(l: &mut Loader<'_>, node: &ConfigStatement) {
    if l.options.vrrp_only {
        return;
    }
    let node = &clean(node);
    let mut lines = String::new();
    for line in node.nodes().iter().take(SERVERS_MAX) {
        let word = line.argument().map(|word| word.text.as_str());
        // Ignores the result: writing to a string cannot fail.
        let _ = match (line.name(), word) {
            ("fwmark", mark) => writeln!(
                lines,
                "    # a bind line for each address and port that mark {} is set for",
                mark.unwrap_or("0")
            ),
            (address, port) => addresses(address)
                .iter()
                .try_for_each(|address| writeln!(lines, "    bind {}", endpoint(address, port))),
        };
    }
    if let Some(name) = node.argument() {
        let of = &mut l.drafts.server_groups;
        of.entry(name.text.clone()).or_insert_with(|| lines.clone());
    }
    let message = "'virtual_server_group' is not supported, because Evenkeel does not use IPVS";
    l.report(
        Diagnostic::error(&codes::VIRTUAL_SERVER, node.whole(), message)
            .help("run `evenkeel keepalived -P` to ignore it")
            .note(format!(
                "these lines of the 'listen' section take their place:\n{}",
                lines.trim_end()
            )),
    );
}

/// Returns the addresses of a line in a `virtual_server_group`: `192.0.2.3-10` is eight addresses.
fn addresses(text: &str) -> Vec<String> {
    let range = || {
        let (first, last) = text.split_once('-')?;
        let first: Ipv4Addr = first.parse().ok()?;
        let [a, b, c, from] = first.octets();
        let to: u8 = last.parse().ok()?;
        let all = (from..=to).map(|d| Ipv4Addr::new(a, b, c, d).to_string());
        Some(all.collect())
    };
    range().unwrap_or_else(|| vec![text.to_owned()])
}

fn word<'n>(node: &'n ConfigStatement, name: &str) -> Option<&'n str> {
    let line = node.nodes().iter().rev().find(|n| n.name() == name)?;
    line.argument().map(|w| w.text.as_str())
}

fn has(node: &ConfigStatement, name: &str) -> bool {
    node.nodes().iter().any(|n| n.name() == name)
}

fn endpoint(address: &str, port: Option<&str>) -> String {
    let port = port.map(|p| format!(":{p}")).unwrap_or_default();
    if address.contains(':') {
        format!("[{address}]{port}")
    } else {
        format!("{address}{port}")
    }
}

/// Returns the `bind` line of a block, and the name of the proposed section.
fn bind_and_name(
    first: &str,
    second: Option<&str>,
    groups: &HashMap<String, String>,
) -> (String, String) {
    match first {
        "group" => {
            let name = second.unwrap_or("group");
            let later = || format!("    # the bind lines of virtual_server_group {name}\n");
            let lines = groups.get(name).cloned().unwrap_or_else(later);
            (lines, name.to_owned())
        }
        "fwmark" => (
            format!(
                "    # in place of these: the addresses and ports that mark {} is set for\n    bind :80,:443\n",
                second.unwrap_or("0")
            ),
            format!("mark-{}", second.unwrap_or("0")),
        ),
        address if second.is_none_or(|port| port == "0") => (
            format!(
                "    # the ports that clients use; servers get the same ones\n    bind {},{}\n",
                endpoint(address, Some("80")),
                endpoint(address, Some("443"))
            ),
            format!("{}-all", address.replace(':', "-")),
        ),
        address => {
            let name = format!("{}-{}", address.replace(':', "-"), second.unwrap_or("all"));
            (format!("    bind {}\n", endpoint(address, second)), name)
        }
    }
}

/// Returns the `listen` section that replaces the block, as far as the proxy supports its settings.
fn listen(node: &ConfigStatement, groups: &HashMap<String, String>) -> String {
    let first = node.argument().map_or("", |w| w.text.as_str());
    let second = node.arguments().get(1).map(|w| w.text.as_str());
    let (bind, name) = bind_and_name(first, second, groups);
    // Ignores the second word after a firewall mark or a group, where it is not a port.
    let port = second.filter(|port| !matches!(first, "group" | "fwmark") && *port != "0");
    let servers: Vec<&ConfigStatement> = node
        .nodes()
        .iter()
        .filter(|n| n.name() == "real_server")
        .collect();
    let http = servers
        .iter()
        .any(|s| has(s, "HTTP_GET") || has(s, "SSL_GET"));
    let mut out = format!("listen {name}\n{bind}    mode tcp\n");
    let algorithm = word(node, "lvs_sched").or(word(node, "lb_algo"));
    let _ = writeln!(out, "    balance {}", balance(algorithm));
    if has(node, "persistence_timeout") {
        let seconds = word(node, "persistence_timeout").unwrap_or("360");
        let _ = writeln!(
            out,
            "    stick-table type ip size 100k expire {seconds}s\n    stick on src"
        );
    }
    let seconds = word(node, "connect_timeout").unwrap_or("5");
    let _ = writeln!(out, "    timeout connect {seconds}s");
    // Writes the timeouts of IPVS, which ends an idle TCP connection after 15 minutes by default.
    out.push_str("    timeout client 15m\n    timeout server 15m\n");
    if let Some(seconds) = servers
        .iter()
        .find_map(|s| word(check(s)?, "connect_timeout"))
    {
        let _ = writeln!(out, "    timeout check {seconds}s");
    }
    if http {
        http_check(&mut out, node, &servers);
    } else if let Some(smtp) = servers.iter().find_map(|s| smtp(s)) {
        let helo = word(smtp, "helo_name").unwrap_or("localhost");
        let _ = writeln!(out, "    option smtpchk HELO {helo}");
    } else if let Some(script) = servers.iter().find_map(|s| script(s)) {
        let _ = writeln!(
            out,
            "    option external-check\n    external-check command {script}"
        );
    }
    let inter = word(node, "delay_loop").unwrap_or("60");
    let weights = servers
        .iter()
        .filter_map(|s| word(s, "weight")?.parse().ok());
    let heaviest: u64 = weights.max().unwrap_or(1);
    for (n, server) in servers.iter().enumerate().take(SERVERS_MAX) {
        let _ = writeln!(
            out,
            "    server {}",
            server_line(server, &format!("s{}", n + 1), inter, port, heaviest)
        );
    }
    if let Some(sorry) = node.nodes().iter().find(|n| n.name() == "sorry_server") {
        let address = sorry.argument().map_or("", |w| w.text.as_str());
        let port = sorry
            .arguments()
            .get(1)
            .map(|w| w.text.as_str())
            .filter(|port| *port != "0")
            .or(port);
        let _ = writeln!(out, "    server sorry {} backup", endpoint(address, port));
    }
    out.trim_end().to_owned()
}

/// Writes the lines of an HTTP check, taken from the first server that has one.
fn http_check(out: &mut String, node: &ConfigStatement, servers: &[&ConfigStatement]) {
    let checked = servers.iter().find_map(|s| url(s));
    let (path, status, host) = checked.unwrap_or(("/", "200-299", None));
    let _ = writeln!(out, "    option httpchk");
    let host = host.or(word(node, "virtualhost"));
    let host = host.map(|h| format!(" hdr Host {h}")).unwrap_or_default();
    let _ = writeln!(out, "    http-check send meth GET uri {path}{host}");
    let _ = writeln!(out, "    http-check expect status {status}");
}

fn balance(algorithm: Option<&str>) -> &'static str {
    match algorithm {
        Some("lc" | "wlc" | "sed" | "nq" | "lblc" | "lblcr") => "leastconn",
        Some("sh") => "source",
        Some("mh") => "source\n    hash-type consistent",
        Some("dh") => "hash dst",
        Some("fo" | "ovf") => "first",
        Some("twos") => "random(2)",
        _ => "roundrobin",
    }
}

/// Returns the path, the expected status codes and the host name of the first URL of a
/// check.
fn url(server: &ConfigStatement) -> Option<(&str, &str, Option<&str>)> {
    let check = server
        .nodes()
        .iter()
        .find(|n| matches!(n.name(), "HTTP_GET" | "SSL_GET"))?;
    let url = check.nodes().iter().find(|n| n.name() == "url")?;
    Some((
        word(url, "path").unwrap_or("/"),
        word(url, "status_code").unwrap_or("200-299"),
        word(url, "virtualhost"),
    ))
}

/// Returns the check block of a server.
fn check(server: &ConfigStatement) -> Option<&ConfigStatement> {
    server.nodes().iter().find(|n| is_check(n))
}

fn smtp(server: &ConfigStatement) -> Option<&ConfigStatement> {
    check(server).filter(|check| check.name() == "SMTP_CHECK")
}

/// Returns the program of a script check, without its arguments.
fn script(server: &ConfigStatement) -> Option<&str> {
    let check = check(server).filter(|check| check.name() == "MISC_CHECK")?;
    word(check, "misc_path")?.split_whitespace().next()
}

fn is_udp(node: &ConfigStatement) -> bool {
    word(node, "protocol").is_some_and(|p| p.eq_ignore_ascii_case("UDP"))
}

/// Scales a weight to the range 0 to 256. If one weight is larger, all are reduced in proportion,
/// and none that counted becomes zero.
fn scaled(weight: &str, heaviest: u64) -> String {
    match weight.parse::<u64>() {
        Ok(own) if own > 0 && heaviest > WEIGHT_MAX => {
            let scaled = u128::from(own) * u128::from(WEIGHT_MAX) / u128::from(heaviest);
            scaled.max(1).to_string()
        }
        _ => weight.to_owned(),
    }
}

fn server_line(
    server: &ConfigStatement,
    name: &str,
    inter: &str,
    port: Option<&str>,
    heaviest: u64,
) -> String {
    let address = server.argument().map_or("", |w| w.text.as_str());
    let own = server.arguments().get(1).map(|w| w.text.as_str());
    let port = own.filter(|p| *p != "0").or(port);
    let mut line = format!("{name} {}", endpoint(address, port));
    if let Some(weight) = word(server, "weight") {
        let _ = write!(line, " weight {}", scaled(weight, heaviest));
    }
    if let Some(most) = word(server, "uthreshold") {
        let _ = write!(line, " maxconn {most}");
    }
    let Some(check) = check(server) else {
        return line;
    };
    let inter = word(check, "delay_loop")
        .or(word(server, "delay_loop"))
        .unwrap_or(inter);
    let _ = write!(line, " check inter {inter}s");
    // Adds the port of the check, which is 80 if the server accepts all ports and none is
    // configured.
    let many = port.is_none().then_some("80");
    if let Some(port) = word(check, "connect_port").or(many) {
        let _ = write!(line, " port {port}");
    }
    // Counts one failure more than `retry`, the number of additional attempts in keepalived.
    let retry = word(check, "retry").or(word(server, "retry"));
    if let Some(more) = retry.and_then(|n| n.parse::<u32>().ok()) {
        let _ = write!(line, " fall {}", more.saturating_add(1));
    }
    if let Some(seconds) = word(check, "delay_before_retry") {
        let _ = write!(line, " fastinter {seconds}s");
    }
    if check.name() == "SSL_GET" {
        line.push_str(" check-ssl verify none");
    }
    line
}

/// Describes the settings of IPVS that a `listen` section cannot express, one text for each.
fn lost(node: &ConfigStatement) -> Vec<String> {
    let mut lost = Vec::new();
    if is_udp(node) {
        lost.push("the proxy does not balance UDP".to_owned());
        return lost;
    }
    let method = word(node, "lvs_method").or(word(node, "lb_kind"));
    if let Some(method @ ("DR" | "TUN")) = method {
        lost.push(format!(
            "with {method} servers responded to clients directly; the proxy forwards responses, too, and servers see \
             its address (send-proxy or X-Forwarded-For contain the client's)"
        ));
    }
    let checks: Vec<&ConfigStatement> = servers(node).filter_map(check).collect();
    if checks.iter().any(|check| check.name() == "MISC_CHECK") {
        lost.push(
            "MISC_CHECK runs a script: 'external-check' in 'global' allows it here; its arguments are the addresses \
             and ports of the proxy and the server, and any exit code except 0 is a failure"
                .to_owned(),
        );
    }
    let urls = checks.iter().flat_map(|check| check.nodes());
    if urls
        .filter(|n| n.name() == "url")
        .any(|url| has(url, "digest"))
    {
        lost.push(
            "'digest' compares the MD5 of a page: use 'http-check expect string' or 'rstring' to look for a text in it"
                .to_owned(),
        );
    }
    let kinds: BTreeSet<&str> = checks.iter().map(|check| check.name()).collect();
    for kind in &kinds {
        if !CHECKS.contains(kind) {
            lost.push(format!(
                "here a connection to the server's port takes the place of {kind}"
            ));
        }
    }
    let of_http = |kind: &&str| matches!(*kind, "HTTP_GET" | "SSL_GET");
    let are_mixed = kinds.len() > 1 && !kinds.iter().all(of_http);
    let several =
        servers(node).any(|server| server.nodes().iter().filter(|n| is_check(n)).count() > 1);
    if are_mixed || several {
        let kinds: Vec<&str> = kinds.into_iter().collect();
        lost.push(format!(
            "a 'listen' section has one kind of check, and its servers one each; the file has {}",
            kinds.join(", ")
        ));
    }
    let first_urls: BTreeSet<_> = servers(node).filter_map(url).collect();
    let is_longer =
        |check: &&ConfigStatement| check.nodes().iter().filter(|n| n.name() == "url").count() > 1;
    if first_urls.len() > 1 || checks.iter().any(is_longer) {
        lost.push(
            "only the first 'url' is checked, on all servers: add a pair of 'http-check send' and 'http-check expect' \
             lines for each further one"
                .to_owned(),
        );
    }
    let dropped = dropped(node);
    if !dropped.is_empty() {
        lost.push(format!(
            "these lines have no counterpart in it: {}",
            dropped.into_iter().collect::<Vec<_>>().join(", ")
        ));
    }
    lost
}

/// Check types that a `listen` section has, too.
const CHECKS: &[&str] = &[
    "HTTP_GET",
    "SSL_GET",
    "TCP_CHECK",
    "MISC_CHECK",
    "SMTP_CHECK",
];

/// Lines of the block that [`listen`] translates or [`lost`] describes. The lists below are for
/// lines of a server, of a check and of a URL.
const OF_BLOCK: &[&str] = &[
    "real_server",
    "lvs_sched",
    "lb_algo",
    "lvs_method",
    "lb_kind",
    "persistence_timeout",
    "delay_loop",
    "connect_timeout",
    "sorry_server",
    "protocol",
    "virtualhost",
];
const OF_SERVER: &[&str] = &["weight", "uthreshold", "delay_loop", "retry"];
const OF_CHECK: &[&str] = &[
    "connect_timeout",
    "connect_port",
    "delay_loop",
    "retry",
    "delay_before_retry",
    "url",
    "misc_path",
    "helo_name",
];
const OF_URL: &[&str] = &["path", "status_code", "virtualhost", "digest"];

/// Returns the names of the lines that the `listen` section drops.
fn dropped(node: &ConfigStatement) -> BTreeSet<String> {
    let mut dropped = BTreeSet::new();
    let mut add = |node: &ConfigStatement, known: &[&str]| {
        let unknown = node
            .nodes()
            .iter()
            .filter(|n| !known.contains(&n.name()) && !is_check(n));
        dropped.extend(unknown.map(|n| n.name().to_owned()).take(SERVERS_MAX));
    };
    add(node, OF_BLOCK);
    for server in servers(node) {
        add(server, OF_SERVER);
        for check in server.nodes().iter().filter(|n| is_check(n)) {
            add(check, OF_CHECK);
            let urls = check.nodes().iter().filter(|n| n.name() == "url");
            urls.for_each(|url| add(url, OF_URL));
        }
    }
    dropped
}

fn servers(node: &ConfigStatement) -> impl Iterator<Item = &ConfigStatement> {
    node.nodes().iter().filter(|n| n.name() == "real_server")
}

fn is_check(node: &ConfigStatement) -> bool {
    node.name().ends_with("_CHECK") || matches!(node.name(), "HTTP_GET" | "SSL_GET")
}
