//! Builds `resolvers` sections, which define nameservers and how long their responses are valid,
//! and creates the section `default`.

use super::{Args, Built, LineRow, places};
use crate::family::Loader;
use configuration::outside::SystemQuery;
use language::arguments::section_name;
use language::value::{Accepts, AddressHost, Port, PortRule, SocketTransport, TimeUnit};
use language::{ConfigLine, ConfigWord, Diagnostic, Span};
use model::codes;
use model::config::{NameServer, Resolvers};
use protocol::dns::{PAYLOAD_MAX, PAYLOAD_MIN};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

const PLACE: &[&str] = &["resolvers"];
const PORT: u16 = 53;
const RESOLV_CONF: &str = "/etc/resolv.conf";
const RESOLV_CONF_BYTES_MAX: u64 = 1 << 20;
/// Maximum number of nameservers of a section: each of them receives every query.
const SERVERS_MAX: usize = 64;
/// Maximum number of times that a query is sent.
const RETRIES_MAX: i64 = 100;

pub static LINES: &[LineRow] = language::rows! {
    "nameserver <name> [udp@|tcp@]<address>:<port>" PLACE, nameserver,
        "nameserver local 192.0.2.53:53",
        "Defines a nameserver. All nameservers of a section are queried at once, and the first valid response is used. \
         `tcp@` queries this one over TCP only. A response too large for a datagram is requested again over TCP \
         automatically.";
    "parse-resolv-conf" PLACE, parse_resolv_conf, "parse-resolv-conf",
        "Adds the nameservers of this host's /etc/resolv.conf, as if each had a `nameserver` line. The file is read \
         when the configuration is loaded.";
    "hold { nx | obsolete | other | refused | timeout | valid } <time>" PLACE, hold, "hold nx 5s",
        "Sets how long a previous valid response is kept after an error (30s for each kind), how long a record is kept \
         that the latest response lacks (`obsolete`, 0), and how long rules use a response (`valid`, 10s).";
    "resolve_retries <count>" PLACE, retries, "resolve_retries 5",
        "Number of times a query is sent before it fails; the default is 3.";
    "timeout resolve <time>" PLACE,
        |loader, args| {
            let time = time(args)?;
            set(loader, |section| section.resolve_ms = time)?;
            args.warn_of_surplus()
        },
        "timeout resolve 2s",
        "Interval between resolutions of a name; the default is 1s.";
    "timeout retry <time>" PLACE,
        |loader, args| {
            let time = time(args)?;
            set(loader, |section| section.retry_ms = time)?;
            args.warn_of_surplus()
        },
        "timeout retry 500ms",
        "Time to wait for a response before the query is sent again; the default is 1s.";
    "accepted_payload_size <bytes>" PLACE, payload, "accepted_payload_size 4096",
        "Maximum size of UDP responses, announced to nameservers; the default is 512. Larger responses use TCP.";
    "resolution_pool_size <count>" PLACE, pool_size, "resolution_pool_size 100",
        "In old HAProxy versions, the number of names to reserve memory for. No effect in newer versions and in \
         Evenkeel.";
};

/// Lines of `global` for the HTTP client of scripts, which does not exist here.
pub static GLOBAL: &[LineRow] = language::rows! {
    "httpclient.resolvers.id <resolvers>" places::GLOBAL,
        |loader, args| {
            let word = args.required("the name of a resolvers section")?;
            loader
                .resolvers_wanted
                .push((word.span, word.text().into()));
            no_client(loader, args);
            args.end()
        },
        "httpclient.resolvers.id default",
        "In HAProxy, the `resolvers` section of the HTTP client for Lua. Evenkeel has no such client, but the section \
         must exist.";
    "httpclient.resolvers.prefer { ipv4 | ipv6 }" places::GLOBAL,
        |loader, args| {
            let word = args.required("either ipv4 or ipv6")?;
            if !matches!(word.str(), "ipv4" | "ipv6") {
                let told = "'httpclient.resolvers.prefer' expects either ipv4 or ipv6";
                return Err(args.word_error(&codes::BAD_VALUE, word, told));
            }
            no_client(loader, args);
            args.end()
        },
        "httpclient.resolvers.prefer ipv4",
        "In HAProxy, the address family that the HTTP client for Lua prefers. Evenkeel has no such client; no effect.";
    "httpclient.resolvers.disabled { on | off }" places::GLOBAL,
        |loader, args| {
            let word = args.required("on or off")?;
            if !matches!(word.str(), "on" | "off") {
                let told = "'httpclient.resolvers.disabled' expects on or off";
                return Err(args.word_error(&codes::BAD_VALUE, word, told));
            }
            no_client(loader, args);
            args.end()
        },
        "httpclient.resolvers.disabled on",
        "In HAProxy, disables name resolution for the HTTP client for Lua. Evenkeel has no such client; no effect.";
};

fn no_client(loader: &mut Loader, args: &Args<'_>) {
    let told = format!("'{}' has no effect", args.keyword);
    loader.report(
        Diagnostic::warning(&codes::NO_EFFECT, args.keyword_span(), told)
            .label("not used in Evenkeel"),
    );
}

/// Name of the section that exists without being written.
pub(crate) const DEFAULT: &str = "default";

/// Creates the section `default` with the nameservers of this host, and returns its index. The list
/// is empty if the host names none, or names are not resolved.
pub(crate) fn make_default(loader: &mut Loader, span: Span) -> u32 {
    let mut section = Resolvers::new(DEFAULT, span);
    let path = Path::new(RESOLV_CONF);
    loader.context.outside.mark_as_local(path);
    if loader.context.options.resolve_names
        && let Ok(text) = loader.context.outside.read(path, RESOLV_CONF_BYTES_MAX)
    {
        for ip in servers_of(&String::from_utf8_lossy(&text)) {
            let name: Box<str> = ip.to_string().into();
            let known = section.servers.iter().any(|server| server.name == name);
            if !known && section.servers.len() < SERVERS_MAX {
                section.servers.push(NameServer {
                    name,
                    address: SocketAddr::new(ip, PORT),
                    stream: false,
                });
            }
        }
    }
    loader.config.resolvers.push(section);
    loader.config.resolvers.len() as u32 - 1
}

pub(crate) fn begin(loader: &mut Loader, line: &ConfigLine) -> Result<(), Diagnostic> {
    let Some(name) = line.word(1) else {
        return Err(Diagnostic::error(
            &codes::SECTION_NAME,
            line.end(),
            "'resolvers' expects a name",
        )
        .label("the name is missing"));
    };
    section_name("resolvers", name, &codes::SECTION_NAME)?;
    if let Some(extra) = line.word(2) {
        let told = format!(
            "'resolvers' cannot handle unexpected argument '{}'",
            extra.text()
        );
        loader.report(
            Diagnostic::error(&codes::TOO_MANY_ARGUMENTS, extra.span, told).label("extra word"),
        );
    }
    let text = name.text();
    if let Some(first) = loader.config.resolvers.iter().find(|s| *s.name == *text) {
        let told = format!("resolvers '{text}' has same name as another resolvers section");
        return Err(
            Diagnostic::error(&codes::DUPLICATE_NAME, name.span, told).name_taken_at(first.span)
        );
    }
    let section = Resolvers::new(&text, name.span);
    loader.config.resolvers.push(section);
    Ok(())
}

pub(crate) fn report_empty(loader: &mut Loader) {
    let sections = loader.config.resolvers.iter();
    let empty = sections.filter(|section| section.servers.is_empty());
    let found: Vec<_> = empty
        .map(|section| (section.name.clone(), section.span))
        .collect();
    for (name, span) in found {
        let told = format!("resolvers '{name}' has no nameserver");
        loader.report(
            Diagnostic::warning(&codes::NO_NAME_SERVERS, span, told)
                .label("resolves no name")
                .help("add a `nameserver` line or `parse-resolv-conf`"),
        );
    }
}

fn set(loader: &mut Loader, change: impl FnOnce(&mut Resolvers)) -> Built {
    // Sets nothing outside of a section, where no line of this family is built.
    if let Some(section) = loader.config.resolvers.last_mut() {
        change(section);
    }
    Ok(())
}

fn time(args: &mut Args<'_>) -> Result<u32, Diagnostic> {
    let time = args.time_ms(TimeUnit::Milliseconds)?;
    // Raises a time of 0 to 1, because 0 would repeat queries endlessly.
    Ok(time.max(1))
}

fn nameserver(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let name = args.required("<name> and <addr>[:<port>]")?;
    let word = args.required("<name> and <addr>[:<port>]")?;
    let (address, stream) = address(loader, word)?;
    if let Some(option) = args.next() {
        let told = format!("unknown option '{}' of 'nameserver'", option.text());
        return Err(Diagnostic::error(&codes::UNKNOWN_OPTION, option.span, told)
            .label("only an address is needed")
            .help("HAProxy supports DNS over TLS; Evenkeel does not"));
    }
    add(loader, name.text().into(), name.span, address, stream)
}

fn add(
    loader: &mut Loader,
    name: Box<str>,
    span: Span,
    address: SocketAddr,
    stream: bool,
) -> Built {
    let Some(section) = loader.config.resolvers.last_mut() else {
        return Ok(());
    };
    if section.servers.iter().any(|server| server.name == name) {
        let told = format!("nameserver '{name}' has same name as another nameserver");
        return Err(
            Diagnostic::error(&codes::DUPLICATE_NAME, span, told).label("this name is taken")
        );
    }
    if section.servers.len() >= SERVERS_MAX {
        let told = format!("more than {SERVERS_MAX} nameservers in one section");
        return Err(Diagnostic::error(&codes::BAD_VALUE, span, told));
    }
    section.servers.push(NameServer {
        name,
        address,
        stream,
    });
    Ok(())
}

/// Parses the address of a nameserver. Also returns whether queries use TCP.
fn address(loader: &mut Loader, word: &ConfigWord) -> Result<(SocketAddr, bool), Diagnostic> {
    let accepts = Accepts {
        port: PortRule::Mandatory,
        range: false,
        datagram: true,
        descriptor: false,
        name: false,
        ..Accepts::BIND
    };
    let address = loader.address(word, word.str(), &accepts, "nameserver")?;
    let (AddressHost::Ip(ip), Port::One(port)) = (address.host, address.port) else {
        let told = format!("'nameserver' does not support '{}'", word.text());
        return Err(Diagnostic::error(&codes::BAD_ADDRESS, word.span, told)
            .label("expected an address and a port"));
    };
    let written = loader.expanded(word.str()).0;
    let stream = address.transport == SocketTransport::Stream && written.starts_with("tcp");
    Ok((SocketAddr::new(ip, port), stream))
}

/// Returns the nameservers in the text of a resolv.conf.
fn servers_of(text: &str) -> Vec<IpAddr> {
    let of = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let address = words.next().filter(|word| *word == "nameserver");
        address.and_then(|_| words.next()?.parse().ok())
    };
    text.lines().filter_map(of).collect()
}

fn parse_resolv_conf(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    args.end()?;
    let span = args.keyword_span();
    // Leaves the file out of configuration versions: each machine queries its own nameservers.
    loader.context.outside.mark_as_local(Path::new(RESOLV_CONF));
    let read = loader
        .context
        .outside
        .read(Path::new(RESOLV_CONF), RESOLV_CONF_BYTES_MAX);
    let text = match read {
        Ok(text) => String::from_utf8_lossy(&text).into_owned(),
        Err(_) if loader.context.options.ignore_unresolved => {
            let path = PathBuf::from(RESOLV_CONF);
            loader
                .context
                .outside
                .continue_without(SystemQuery::File(path));
            String::new()
        }
        Err(error) => {
            let told = format!(
                "failed to open {RESOLV_CONF}: {}",
                std::io::Error::from(error)
            );
            return Err(Diagnostic::error(&codes::UNREADABLE, span, told).label("cannot read it"));
        }
    };
    let servers = servers_of(&text);
    if servers.is_empty() {
        loader.report(
            Diagnostic::warning(
                &codes::NO_NAME_SERVERS,
                span,
                format!("{RESOLV_CONF} has no nameserver"),
            )
            .label("adds no nameserver"),
        );
    }
    for ip in servers {
        // Ignores a nameserver that is listed twice.
        let _ = add(
            loader,
            ip.to_string().into(),
            span,
            SocketAddr::new(ip, PORT),
            false,
        );
    }
    Ok(())
}

fn hold(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let event = args.required("an <event> and a <time>")?;
    let text = event.str();
    const EVENTS: &[&str] = &["nx", "obsolete", "other", "refused", "timeout", "valid"];
    if !EVENTS.contains(&text) {
        let told = format!("'hold' unknown <event>: '{}'", event.text());
        let diagnostic = Diagnostic::error(&codes::BAD_VALUE, event.span, told)
            .label("expected `nx`, `obsolete`, `other`, `refused`, `timeout` or `valid`");
        return Err(diagnostic);
    }
    let time = args.time_ms(TimeUnit::Milliseconds)?;
    set(loader, |section| {
        let hold = &mut section.hold;
        *match text {
            "nx" => &mut hold.nx_ms,
            "obsolete" => &mut hold.obsolete_ms,
            "refused" => &mut hold.refused_ms,
            "timeout" => &mut hold.timeout_ms,
            "valid" => &mut hold.valid_ms,
            _ => &mut hold.other_ms,
        } = time;
    })?;
    args.warn_of_surplus()
}

fn retries(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let count = args.integer("<count>", 0..=RETRIES_MAX)? as u32;
    set(loader, |section| section.retries = count.max(1))?;
    args.warn_of_surplus()
}

fn payload(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let range = i64::from(PAYLOAD_MIN)..=i64::from(PAYLOAD_MAX);
    let bytes = args.integer("<bytes>", range)? as u16;
    set(loader, |section| section.payload_max = bytes)?;
    args.warn_of_surplus()
}

fn pool_size(_: &mut Loader, args: &mut Args<'_>) -> Built {
    args.integer("<count>", 1..=i64::from(i32::MAX))?;
    args.warn_of_surplus()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::load_text;
    use model::config::Hold;

    fn section(lines: &str) -> Resolvers {
        let text = format!("resolvers dns\n{lines}\nlisten x\n bind 127.0.0.1:1\n");
        let loaded = load_text(&text);
        let told: Vec<_> = loaded.diagnostics.iter().map(|d| d.code.id).collect();
        let config = loaded.config.unwrap_or_else(|| panic!("{lines}: {told:?}"));
        config.resolvers[0].clone()
    }

    fn codes(lines: &str) -> Vec<&'static str> {
        let loaded = load_text(&format!("resolvers dns\n{lines}\n"));
        let all = loaded.diagnostics.iter().map(|d| d.code.id);
        let besides = ["E0110", "W0101", "W0470"];
        all.filter(|code| !besides.contains(code)).collect()
    }

    #[test]
    fn each_line_sets_what_it_says() {
        let section = section(
            "nameserver a 192.0.2.1:53\nnameserver b tcp@192.0.2.2:54\nnameserver c udp@[::1]:53\n\
             hold nx 1s\nhold obsolete 2s\nhold other 3s\nhold refused 4s\nhold timeout 5s\nhold valid 6s\n\
             resolve_retries 7\ntimeout resolve 8s\ntimeout retry 500\naccepted_payload_size 4096\nresolution_pool_size 3",
        );
        let servers: Vec<_> = section
            .servers
            .iter()
            .map(|s| (&*s.name, s.address.to_string(), s.stream))
            .collect();
        assert_eq!(
            servers,
            [
                ("a", "192.0.2.1:53".to_owned(), false),
                ("b", "192.0.2.2:54".to_owned(), true),
                ("c", "[::1]:53".to_owned(), false)
            ]
        );
        let hold = Hold {
            nx_ms: 1000,
            obsolete_ms: 2000,
            other_ms: 3000,
            refused_ms: 4000,
            timeout_ms: 5000,
            valid_ms: 6000,
        };
        assert_eq!(section.hold, hold);
        assert_eq!((section.retries, section.payload_max), (7, 4096));
        assert_eq!((section.resolve_ms, section.retry_ms), (8000, 500));
    }

    #[test]
    fn mistakes_are_told() {
        for (line, code) in [
            ("nameserver a 192.0.2.1", "E0206"),
            ("nameserver a", "E0201"),
            ("nameserver a unix@/x", "E0206"),
            (
                "nameserver a 192.0.2.1:53\nnameserver a 192.0.2.2:53",
                "E0105",
            ),
            ("hold foo 3s", "E0207"),
            ("hold nx", "E0201"),
            ("accepted_payload_size 100", "E0205"),
            ("timeout foo 3s", "E0101"),
        ] {
            let told = codes(line);
            assert!(told.len() == 1, "{line}: {told:?} for {code}");
        }
        let twice = load_text("resolvers a\nresolvers a\n");
        assert!(twice.diagnostics.errors() > 0);
    }

    #[test]
    fn a_section_without_a_nameserver_is_reported_with_its_name() {
        let told = |lines: &str| {
            let loaded = load_text(&format!("resolvers dns\n{lines}\nresolvers default\n"));
            let empty = loaded.diagnostics.iter().filter(|d| d.code.id == "W0470");
            let words: Vec<_> = empty.map(|d| d.message.clone()).collect();
            words
        };
        let of = |name: &str| format!("resolvers '{name}' has no nameserver");
        assert_eq!(told("hold valid 10s"), [of("dns"), of("default")]);
        assert_eq!(told("nameserver a 192.0.2.1:53"), [of("default")]);
    }

    #[test]
    fn a_resolv_conf_names_servers_and_other_things() {
        let text = "# x\nsearch a b\nnameserver 192.0.2.1\nnameserver\t::1 \n; nameserver 192.0.2.2\noptions ndots:1\nnameserver foo\n";
        let expected: Vec<IpAddr> = ["192.0.2.1", "::1"].map(|ip| ip.parse().unwrap()).into();
        assert_eq!(servers_of(text), expected);
    }
}
