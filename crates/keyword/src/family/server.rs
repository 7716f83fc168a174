//! Builds `server` and `default-server` lines and servers that operators add at run time, resolves
//! their addresses, and completes and checks the servers at the end of loading. The options are in
//! `server_option`.

use super::{Args, Built, LineRow, ServerBuilder, registry, server_option};
use crate::family::Loader;
use configuration::outside::SystemQuery;
use language::keyword::KeywordLookup;
use language::value::{Accepts, AddressHost, Family, Port};
use language::{ConfigWord, Diagnostic, suggest};
use model::codes;
use model::config::{
    AddressFamily, CheckKind, CheckLines, HealthCheck, HostName, InitAddress, NamedPort, Proxy,
    ProxyIndex, ProxyKind, Server, ServerAddress, ServerOptions,
};
use model::state::ServerState;
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

pub static LINES: &[LineRow] = language::rows! {
    "server <name> <address>[:[+|-]<port>] [<option>…]" &["listen", "backend", "peers", "ring"],
        |loader, args| match loader.section {
            model::rules::draft::Section::Ring(_) => super::ring::server(loader, args),
            _ => server(loader, args),
        },
        "server web1 192.0.2.11:8080 check weight 10",
        "A server of this backend. Without a port, the port of the client's connection is used; a signed port is added \
         to it. The options of earlier `default-server` lines apply as well.";
    "default-server [<option>…]" &["defaults", "listen", "backend", "peers"], default_server,
        "default-server check inter 5s fall 2",
        "Default options for the following `server` lines of this section. Several lines add up. In `defaults` they \
         apply to all sections that use those defaults.";
};

fn default_server(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    if loader.section == model::rules::draft::Section::Peers {
        return super::peers::default_server(loader, args);
    }
    let mut options = loader.proxy().default_server.clone();
    build_options(loader, &mut options, args, "default-server");
    loader.proxy().default_server = options;
    Ok(())
}

fn server(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    if loader.section == model::rules::draft::Section::Peers {
        return super::peers::peer(loader, args, false);
    }
    let name = args.required("<name> and <addr>[:<port>]")?;
    check_name(name, "server name")?;
    let text = loader.server_name(name);
    describe(loader, args, name, &mut std::iter::once(text.into()))
}

/// Builds a server that an operator adds. Only its own options apply, without those of
/// `default-server` lines.
pub(crate) fn added(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let missing = |at: Option<&ConfigWord>| {
        let span = at.map_or(args.line().end(), |word| word.span);
        let told = "'server' expects <name> and <addr>[:<port>] as arguments.";
        Diagnostic::error(&codes::MISSING_ARGUMENT, span, told)
    };
    if args.line().word(2).is_none() {
        return Err(missing(None));
    }
    let name = args.required("<name>")?;
    check_name(name, "server name")?;
    let text = name.text();
    let one = &mut std::iter::once(text.into());
    describe_in(loader, args, name, one, ADDED)
}

/// Name that stands for the command `add server` where options need a section.
const ADDED: &str = "add server";

/// Options that HAProxy refuses for a server added at run time: they need state that only loading
/// a whole file creates.
const NOT_ADDED: &[&str] = &[
    "hash-key",
    "healthcheck",
    "init-addr",
    "init-state",
    "ktls",
    "log-proto",
    "max-reuse",
    "no-check-reuse-pool",
    "no-check-sni-auto",
    "no-renegotiate",
    "no-sni-auto",
    "non-stick",
    "pool-conn-name",
    "redir",
    "resolve-net",
    "resolve-opts",
    "resolve-prefer",
    "resolvers",
    "set-proxy-v2-tlv-fmt",
    "socks4",
];

pub(super) fn check_name(name: &ConfigWord, what: &str) -> Built {
    let bad = |b: &&u8| !(b.is_ascii_alphanumeric() || b"._-:".contains(b));
    match name.bytes.iter().find(bad) {
        None => Ok(()),
        Some(bad) => Err(Diagnostic::error(
            &codes::SECTION_NAME,
            name.span,
            format!(
                "character '{}' is not permitted in {what} '{}'",
                char::from(*bad),
                name.text()
            ),
        )
        .label("allowed are letters, digits, `.`, `_`, `-` and `:`")),
    }
}

/// Adds servers with the address and options of the rest of a line, one per name.
pub(super) fn describe(
    loader: &mut Loader,
    args: &mut Args<'_>,
    word: &ConfigWord,
    names: &mut dyn Iterator<Item = String>,
) -> Built {
    describe_in(loader, args, word, names, "server")
}

fn describe_in(
    loader: &mut Loader,
    args: &mut Args<'_>,
    word: &ConfigWord,
    names: &mut dyn Iterator<Item = String>,
    place: &'static str,
) -> Built {
    let span = word.span;
    let word = args.required("<addr>[:<port>]")?;
    super::proxy::not_reverse(word)?;
    let (word, datagrams) = &transport(word);
    let mut options = loader.proxy().default_server.clone();
    // Builds the options before the address, because they decide about names without an address.
    build_options(loader, &mut options, args, place);
    let (address, host) = server_address(loader, word, &options)?;
    options.datagrams = *datagrams;
    let proxy = loader.proxy();
    for name in names {
        let state = Arc::new(ServerState::new(&name, Arc::clone(&proxy.state)));
        proxy.servers.push(Server {
            span,
            id: options.id,
            name: name.into(),
            address_text: word.text().into(),
            address: address.clone(),
            options: options.clone(),
            state,
            way: 0,
            host: host.clone(),
            tracks: None,
            added: None,
        });
    }
    Ok(())
}

/// Returns the address word without its UDP prefix, and whether it had one.
fn transport(word: &ConfigWord) -> (ConfigWord, bool) {
    let ways = [("udp@", ""), ("udp4@", "ipv4@"), ("udp6@", "ipv6@")];
    for (way, family) in ways {
        if let Some(rest) = word.str().strip_prefix(way) {
            let bytes = format!("{family}{rest}").into_bytes();
            return (
                ConfigWord {
                    bytes,
                    span: word.span,
                },
                true,
            );
        }
    }
    (word.clone(), false)
}

/// Builds all options of a line. Reports each error, then continues with the words that the failed
/// builder did not read.
fn build_options(
    loader: &mut Loader,
    options: &mut ServerOptions,
    args: &mut Args<'_>,
    place: &'static str,
) {
    let table = &registry().servers;
    while let Some(word) = args.peek() {
        let is_added = place == ADDED;
        let fits = |row: &super::ServerRow| {
            if is_added {
                !NOT_ADDED.contains(&row.name())
            } else {
                row.places.contains(&place)
            }
        };
        let diagnostic = match table.find(std::iter::once(name_of(word))) {
            KeywordLookup::Built(row, words) if fits(row) => {
                let mut option = args.option(row.name(), row.syntax, words);
                option.example = row.example;
                let build: ServerBuilder = row.build;
                let built = build(loader, options, &mut option);
                args.resume(&option);
                match built {
                    Ok(()) => continue,
                    Err(diagnostic) => diagnostic,
                }
            }
            KeywordLookup::Built(row, _) if is_added => {
                args.rest();
                let told = format!("'{}' option is not accepted for dynamic server", row.name());
                Diagnostic::error(&codes::KEYWORD_MISPLACED, word.span, told)
            }
            KeywordLookup::Built(row, _) => {
                args.skip(2);
                Diagnostic::error(
                    &codes::KEYWORD_MISPLACED,
                    word.span,
                    format!("'{}' option is not accepted in '{place}' lines", row.name()),
                )
                .label("applies to a single server only")
            }
            KeywordLookup::NotBuilt(name, _, _) => {
                // Ends the line, because the number of arguments of the option is unknown.
                args.rest();
                Diagnostic::error(
                    &codes::NOT_BUILT,
                    word.span,
                    format!("server option '{name}' is not supported"),
                )
                .help(
                    model::known::instead(name)
                        .unwrap_or("remove the option, or keep this proxy on HAProxy for now"),
                )
            }
            KeywordLookup::Unknown => {
                args.rest();
                unknown_option(word, place)
            }
        };
        loader.report(diagnostic);
    }
}

/// Returns the name of an option; for `set-proxy-v2-tlv-fmt(<type>)` without its argument.
fn name_of(word: &ConfigWord) -> &str {
    match word.str().split_once('(') {
        Some((name, _)) if name == server_option::WITH_ARGUMENT => name,
        _ => word.str(),
    }
}

pub(super) fn unknown_option(word: &ConfigWord, place: &'static str) -> Diagnostic {
    let place = if place == ADDED { "server" } else { place };
    let message = format!("'{place}': unknown option '{}'", word.text());
    let diagnostic =
        Diagnostic::error(&codes::UNKNOWN_OPTION, word.span, message).label("not a server option");
    diagnostic.did_you_mean(
        word.span,
        suggest::nearest(word.str(), registry().servers.names_in(place)),
    )
}

/// Address of a server, and its host name if the line has one.
type Where = (ServerAddress, Option<Box<HostName>>);

pub(super) fn server_address(
    loader: &mut Loader,
    word: &ConfigWord,
    options: &ServerOptions,
) -> Result<Where, Diagnostic> {
    let address = loader.address(word, word.str(), &Accepts::SERVER, "server")?;
    let port = match address.port {
        Port::One(0) | Port::None => NamedPort::Offset(0),
        Port::One(port) | Port::Range(port, _) => NamedPort::Fixed(port),
        Port::Offset(offset) => NamedPort::Offset(offset),
    };
    let mut host = None;
    let ip = match address.host {
        AddressHost::Ip(ip) => ip,
        AddressHost::Path(path) => return Ok((ServerAddress::Unix(path.into()), None)),
        AddressHost::Abstract {
            name,
            zero_terminated,
        } => {
            let name = abstract_name(name, zero_terminated);
            return Ok((ServerAddress::Abstract(name), None));
        }
        AddressHost::Name(name) => {
            let found = first_address(loader, word, &name, address.family, options)?;
            host = Some(Box::new(HostName {
                family: match address.family {
                    Family::Any => None,
                    Family::V4 => Some(AddressFamily::V4),
                    Family::V6 => Some(AddressFamily::V6),
                },
                port,
                service: is_service(&name, options),
                text: name.into(),
                resolvers: None,
            }));
            match found {
                Some(ip) => ip,
                None => return Ok((ServerAddress::Unresolved, host)),
            }
        }
        // Uses the unspecified address for "the address to which the client connected".
        AddressHost::Any => std::net::Ipv4Addr::UNSPECIFIED.into(),
        _ => return Err(no_target(word, "this kind of address")),
    };
    let address = match port {
        NamedPort::Fixed(port) => ServerAddress::Inet(SocketAddr::new(ip, port)),
        NamedPort::Offset(offset) => ServerAddress::SamePort(ip, offset),
    };
    Ok((address, host))
}

/// Returns whether a name is that of a service, whose hosts and ports come from SRV records.
fn is_service(name: &str, options: &ServerOptions) -> bool {
    name.starts_with('_') && options.resolving.resolvers.is_some()
}

/// Returns the initial address of a server with a host name, by the methods of `init-addr`. Returns
/// None if there is no address yet: the server then starts in maintenance.
fn first_address(
    loader: &mut Loader,
    word: &ConfigWord,
    name: &str,
    family: Family,
    options: &ServerOptions,
) -> Result<Option<IpAddr>, Diagnostic> {
    if is_service(name, options) || !loader.context.options.resolve_names {
        return Ok(None);
    }
    let methods = options.resolving.init.as_deref();
    let mut asked = false;
    for method in methods.unwrap_or(&[InitAddress::Last, InitAddress::Libc]) {
        match method {
            // Skips the method `last`: state files are read at the end of loading.
            InitAddress::Last => {}
            InitAddress::Libc => {
                asked = true;
                if let Some(ip) = resolve(loader, name, family) {
                    return Ok(Some(ip));
                }
            }
            InitAddress::Ip(ip) => return Ok(Some(*ip)),
            InitAddress::None if !asked => return Ok(None),
            InitAddress::None => return unresolved(loader, word, name, options, true),
        }
    }
    let followed = options.resolving.resolvers.is_some();
    unresolved(loader, word, name, options, followed)
}

fn no_target(word: &ConfigWord, what: &str) -> Diagnostic {
    Diagnostic::error(
        &codes::NOT_BUILT,
        word.span,
        format!("'{}': {what} as a server is not supported", word.text()),
    )
    .label("write the address of the server")
}

/// Length of an abstract socket name that the kernel compares, bytes: HAProxy pads `abns@` names
/// with zeros to that length.
const ABSTRACT_BYTES: usize = 107;

fn abstract_name(name: String, zero_terminated: bool) -> Vec<u8> {
    let mut bytes = name.into_bytes();
    if zero_terminated {
        bytes.push(0);
    } else {
        bytes.resize(ABSTRACT_BYTES, 0);
    }
    bytes
}

/// Returns the first address of a name, of the family that its prefix requests.
pub(super) fn resolve(loader: &mut Loader, name: &str, family: Family) -> Option<IpAddr> {
    if !loader.context.options.resolve_names {
        return None;
    }
    let found = loader.context.outside.addresses(name);
    let fits = |ip: &&IpAddr| match family {
        Family::Any => true,
        Family::V4 => ip.is_ipv4(),
        Family::V6 => ip.is_ipv6(),
    };
    found.iter().find(fits).copied()
}

/// Returns the error for a line with a host name that does not resolve. If the load may continue
/// without names, returns a warning, and records the name: the line has no effect until a later
/// load finds the address.
pub(super) fn unresolved_line(
    loader: &Loader,
    word: &ConfigWord,
    keyword: &str,
    name: &str,
) -> Diagnostic {
    let message = format!("'{keyword}': could not resolve address '{name}'");
    if loader.context.options.ignore_unresolved {
        record_unresolved(loader, name);
        return Diagnostic::warning(&codes::UNRESOLVED_LINE, word.span, message)
            .label("has no effect until the name resolves");
    }
    Diagnostic::error(&codes::UNRESOLVED_HOST, word.span, message).label("does not resolve")
}

/// Records a name that a later load looks up again.
pub(super) fn record_unresolved(loader: &Loader, name: &str) {
    let question = SystemQuery::Host(name.to_owned());
    loader.context.outside.continue_without(question);
}

fn unresolved(
    loader: &mut Loader,
    word: &ConfigWord,
    name: &str,
    options: &ServerOptions,
    allowed: bool,
) -> Result<Option<IpAddr>, Diagnostic> {
    let message = format!("'server': could not resolve address '{name}'");
    if allowed || loader.context.options.ignore_unresolved {
        // Records no name that has a `resolvers` section, whose nameservers are queried while the
        // proxy runs.
        if options.resolving.resolvers.is_none() {
            record_unresolved(loader, name);
        }
        loader.report(
            Diagnostic::warning(&codes::UNRESOLVED_SERVER, word.span, message)
                .label("the server starts in maintenance"),
        );
        return Ok(None);
    }
    let is_option = !matches!(
        registry().servers.find(std::iter::once(name)),
        KeywordLookup::Unknown
    );
    let help = if is_option {
        format!("write the server's address before the option '{name}'")
    } else {
        "with `init-addr last,libc,none` the server starts in maintenance instead".to_owned()
    };
    Err(
        Diagnostic::error(&codes::UNRESOLVED_HOST, word.span, message)
            .label("does not resolve")
            .help(help),
    )
}

/// Completes the servers of all proxies at the end of loading: creates check scripts and TLS
/// connectors, resolves sections that options name, assigns IDs, and reports duplicate names and
/// IDs and checks that cannot work.
pub fn finish_servers(loader: &mut Loader) {
    finish_checks(loader);
    super::check::external::finish(loader);
    super::mailers::finish(loader);
    super::server_option::tls::finish(loader);
    super::server_option::resolve::finish(loader);
    super::server_option::observing::finish(loader);
    let mut told = Vec::new();
    let count = loader.config.proxies.len();
    let unsettled: Vec<bool> = (0..count)
        .map(|n| loader.checks_refused(ProxyIndex(n as u32)))
        .collect();
    for (proxy, unsettled) in loader.config.proxies.iter_mut().zip(unsettled) {
        names_and_ids(&proxy.servers, &mut told);
        number_from(1, proxy.servers.iter_mut().map(|server| &mut server.id));
        for server in proxy.servers.iter().filter(|_| !unsettled) {
            let check = match &server.options.health_check {
                Some(named) => &named.check,
                None => &proxy.check,
            };
            // Permits a server without an address, whose checks fail, as HAProxy does.
            let no_port = matches!(&server.address, ServerAddress::SamePort(ip, _) if !ip.is_unspecified())
                && server.options.check_port.is_none()
                && !matches!(&server.options.check_host, Some(ServerAddress::Inet(_)))
                && !check.has_ports();
            if server.options.check && no_port {
                told.push(
                    Diagnostic::error(
                        &codes::MISSING_ARGUMENT,
                        server.span,
                        format!(
                            "server '{}' has neither service port nor check port",
                            server.name
                        ),
                    )
                    .label("checks have no port to connect to")
                    .help("add a port to its address, or the option `port <port>`"),
                );
            }
        }
        idle_steps(proxy, &mut told);
    }
    loader.report_all(told);
}

/// Creates check scripts from the lines of sections, and assigns them to servers.
fn finish_checks(loader: &mut Loader) {
    let mut named = std::mem::take(&mut loader.sections.health_checks);
    named.iter_mut().for_each(|named| named.check.compile());
    let named: Vec<Arc<HealthCheck>> = named.into_iter().map(Arc::new).collect();
    let mut told = Vec::new();
    for proxy in &mut loader.config.proxies {
        proxy.check.compile();
        for server in &mut proxy.servers {
            let Some(wanted) = &server.options.health_check else {
                continue;
            };
            let found = named.iter().find(|named| named.name == wanted.name);
            if found.is_none() {
                let message = format!("'healthcheck' section '{}' not found", wanted.name);
                let diagnostic =
                    Diagnostic::error(&codes::UNKNOWN_HEALTH_CHECK, wanted.span, message)
                        .label("no such section");
                let names = named.iter().map(|named| &*named.name);
                told.push(diagnostic.suggest(language::suggest::nearest(&wanted.name, names)));
            }
            server.options.health_check = found.cloned();
        }
    }
    loader.report_all(told);
}

/// Warns of `http-check` and `tcp-check` lines of a proxy whose checks are of another type.
fn idle_steps(proxy: &Proxy, told: &mut Vec<Diagnostic>) {
    let http = matches!(proxy.check.kind, CheckKind::Http);
    let tcp = matches!(proxy.check.kind, CheckKind::Tcp);
    let own = |lines: &CheckLines| {
        let owner = lines.owner.as_ref();
        owner.is_none_or(|(kind, _)| *kind != ProxyKind::Defaults)
    };
    let families = [
        (&proxy.check.http, http, "http-check", "httpchk"),
        (&proxy.check.tcp, tcp, "tcp-check", "tcp-check"),
    ];
    for (lines, done, family, option) in families {
        let Some(span) = lines.first.filter(|_| !done && own(lines)) else {
            continue;
        };
        told.push(
            Diagnostic::warning(
                &codes::CHECK_RULES_IDLE,
                span,
                format!(
                    "'{}' uses {family} rules without 'option {option}'",
                    proxy.name
                ),
            )
            .label("has no effect")
            .help(format!("add `option {option}` to this section")),
        );
    }
}

fn names_and_ids(servers: &[Server], told: &mut Vec<Diagnostic>) {
    let (mut names, mut ids) = (HashMap::new(), HashMap::new());
    for server in servers {
        if let Some(first) = names.insert(&*server.name, server.span) {
            told.push(
                Diagnostic::error(
                    &codes::DUPLICATE_NAME,
                    server.span,
                    format!(
                        "another server named '{}' was already defined, please use distinct names",
                        server.name
                    ),
                )
                .name_taken_at(first),
            );
        }
        if server.id == 0 {
            continue;
        }
        if let Some(first) = ids.insert(server.id, server.span) {
            told.push(
                Diagnostic::error(
                    &codes::DUPLICATE_ID,
                    server.span,
                    format!("server id {} is already used", server.id),
                )
                .label("this server's id is taken")
                .with_label(first, "by this one"),
            );
        }
    }
}

/// Assigns free IDs from `next` upwards in the order of the file. As in HAProxy, a server with an
/// explicit ID also uses up a number: the distribution of keys in a hash ring depends on it.
pub(crate) fn number_from<'i>(mut next: u32, ids: impl Iterator<Item = &'i mut u32>) {
    let ids: Vec<&mut u32> = ids.collect();
    let taken: HashSet<u32> = ids.iter().map(|id| **id).collect();
    for id in ids {
        if *id == 0 {
            while taken.contains(&next) {
                next += 1;
            }
            *id = next;
        }
        next += 1;
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{backend, codes_of, load_text};
    use model::config::ServerAddress;

    #[test]
    fn reverse_http_is_refused_with_its_own_words() {
        let text = "backend b\n server a rhttp@\nlisten x\n bind rhttp@b/a\n";
        let told = crate::testing::load_text(text).diagnostics;
        let reverse = told
            .iter()
            .filter(|told| told.message.contains("reverse HTTP"));
        assert_eq!(reverse.count(), 2);
    }

    #[test]
    fn addresses_have_haproxys_forms() {
        let of = |text: &str| {
            let backend = backend(&format!("server a {text}"));
            backend.servers[0].address.clone()
        };
        let inet = |text: &str| text.parse().map(ServerAddress::Inet).ok();
        assert_eq!(Some(of("127.0.0.1:80")), inet("127.0.0.1:80"));
        assert_eq!(Some(of("[::1]:80")), inet("[::1]:80"));
        assert_eq!(Some(of("::1:81")), inet("[::1]:81"));
        assert_eq!(Some(of("ipv4@127.0.0.1:82")), inet("127.0.0.1:82"));
        let host = [127, 0, 0, 1].into();
        assert_eq!(of("127.0.0.1"), ServerAddress::SamePort(host, 0));
        assert_eq!(of("127.0.0.1:+10"), ServerAddress::SamePort(host, 10));
        assert_eq!(of("127.0.0.1:-10"), ServerAddress::SamePort(host, -10));
        assert_eq!(
            of("unix@/run/a.sock"),
            ServerAddress::Unix("/run/a.sock".into())
        );
        assert_eq!(of("/run/a.sock"), ServerAddress::Unix("/run/a.sock".into()));
        assert_eq!(of("web.example:80"), ServerAddress::Unresolved);
        let ServerAddress::Abstract(name) = of("abns@a") else {
            panic!("not abstract")
        };
        assert_eq!((name[0], name.len()), (b'a', 107));
    }

    #[test]
    fn options_come_from_the_default_server_lines_before() {
        let backend = backend(
            "default-server check inter 5s\ndefault-server backup\nserver a 127.0.0.1:80\n\
             default-server no-backup\nserver b 127.0.0.1:81 no-check",
        );
        let [a, b] = &backend.servers[..] else {
            panic!("two servers")
        };
        assert!(a.options.check && a.options.backup && a.options.inter_ms == 5000);
        assert!(!b.options.check && !b.options.backup && b.options.inter_ms == 5000);
    }

    #[test]
    fn defaults_reach_the_sections_that_take_them() {
        let loaded =
            load_text("defaults\ndefault-server weight 7\nbackend b\nserver a 127.0.0.1:80\n");
        let told: Vec<&str> = loaded
            .diagnostics
            .iter()
            .map(|d| d.message.as_str())
            .collect();
        let config = loaded.config.unwrap_or_else(|| panic!("{told:?}"));
        assert_eq!(config.proxies[0].servers[0].options.weight, 7);
    }

    #[test]
    fn ids_of_the_file_use_up_numbers_too() {
        let backend =
            backend("server a 127.0.0.1:80\nserver b 127.0.0.1:80 id 1\nserver c 127.0.0.1:80");
        assert_eq!(
            backend
                .servers
                .iter()
                .map(|server| server.id)
                .collect::<Vec<_>>(),
            [2, 1, 4]
        );
    }

    #[test]
    fn check_rules_without_httpchk_are_warned_about() {
        let loaded = load_text("backend b\nhttp-check expect status 200\n");
        assert!(loaded.diagnostics.iter().any(|d| d.code.id == "W0601"));
    }

    #[test]
    fn every_mistake_of_a_line_is_told() {
        for (lines, want) in [
            ("server", "E0201"),
            ("server a", "E0201"),
            ("server a/b 127.0.0.1:80", "E0105"),
            ("server a 127.0.0.1:80 maxcon 5", "E0209"),
            ("server a 127.0.0.1:80 agent-check", "E0473"),
            ("server a fd@3", "E0024"),
            ("default-server id 4", "E0102"),
            ("default-server 127.0.0.1:80", "E0209"),
        ] {
            assert_eq!(codes_of(lines), [want], "{lines}");
        }
        let twice = "server a 127.0.0.1:80 id 5\nserver a 127.0.0.1:81 id 5";
        assert_eq!(codes_of(twice), ["E0106", "E0107"]);
        assert_eq!(codes_of("server a 127.0.0.1 check"), ["E0201"]);
        assert_eq!(codes_of("server a : check"), [""; 0]);
        let two = codes_of("server a 127.0.0.1:80 weight 257 rise 0 check");
        assert_eq!(two, ["E0204", "E0204"]);
    }
}
