//! Builds `bind` lines: the addresses on which a frontend listens. A line creates one listener per
//! address and port. The listeners share the options of the line, which are in
//! [`super::bind_option`].

use super::{Args, Built, LineRow, registry};
use crate::family::Loader;
use language::keyword::KeywordLookup;
use language::value::{Accepts, Address, AddressHost, Family, Port, SocketTransport};
use language::{ConfigWord, Diagnostic, Span, suggest};
use model::codes;
use model::config::{Bind, BindAddress};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Maximum number of listeners of one proxy: each needs a descriptor.
const LISTENERS_MAX: usize = 65_536;

pub(super) fn template(span: Span) -> Bind {
    Bind::new(span, BindAddress::Fd(-1))
}

fn bind(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    if loader.section == model::rules::draft::Section::Peers {
        return super::peers::bind(loader, args);
    }
    if loader.section == model::rules::draft::Section::LogForward {
        return super::log_forward::sockets(loader, args, false);
    }
    let word = args.required("an address")?;
    let mut listener = template(word.span);
    let options = options(loader, args, &mut listener);
    let listeners = listeners(loader, word, &listener);
    // Reports an error in the address here, so that one in the options is reported as well.
    if let Err(diagnostic) = listeners {
        loader.report(diagnostic);
    }
    options
}

pub(super) fn options(loader: &mut Loader, args: &mut Args<'_>, listener: &mut Bind) -> Built {
    let table = &registry().binds;
    while let Some(word) = args.peek() {
        match table.find(std::iter::once(word.str())) {
            KeywordLookup::Built(row, words) => {
                let mut option = args.option(row.name(), row.syntax, words);
                option.example = row.example;
                let built = (row.build)(loader, listener, &mut option);
                args.resume(&option);
                built?;
            }
            // Ends the line at an unknown option, whose number of arguments is unknown.
            KeywordLookup::NotBuilt(name, ..) => {
                return Err(super::proxy::unsupported_word(word, name));
            }
            KeywordLookup::Unknown => {
                let text = word.text();
                let diagnostic = Diagnostic::error(
                    &codes::UNKNOWN_OPTION,
                    word.span,
                    format!("unknown option '{text}' of '{}'", args.keyword),
                );
                let mut names: Vec<&str> = table.names_in("bind").collect();
                names.sort_unstable();
                return Err(diagnostic.did_you_mean(word.span, suggest::nearest(&text, names)));
            }
        }
    }
    Ok(())
}

/// Creates the listeners of a word, one per address. All other settings come from the template.
pub(super) fn listeners(loader: &mut Loader, word: &ConfigWord, template: &Bind) -> Built {
    let addresses = addresses(loader, word, "bind")?;
    if template.id != 0 && addresses.len() > 1 {
        return Err(Diagnostic::error(
            &codes::DUPLICATE_ID,
            word.span,
            format!("the id {} needs a single listener", template.id),
        )
        .label(format!("this line defines {}", addresses.len())));
    }
    let proxy = loader.proxy();
    if proxy.binds.len() + addresses.len() > LISTENERS_MAX {
        return Err(Diagnostic::error(
            &codes::OUT_OF_RANGE,
            word.span,
            format!("'{}' has more than {LISTENERS_MAX} listeners", proxy.name),
        ));
    }
    proxy
        .binds
        .extend(addresses.into_iter().map(|address| Bind {
            address,
            ..template.clone()
        }));
    Ok(())
}

/// Returns the addresses of a word: parts joined by commas, each optionally with a port range. As
/// in HAProxy, a trailing comma is accepted.
pub(super) fn addresses(
    loader: &mut Loader,
    word: &ConfigWord,
    keyword: &str,
) -> Result<Vec<BindAddress>, Diagnostic> {
    let text = word.text();
    let mut all = Vec::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        all.extend(part_addresses(loader, word, part, keyword)?);
    }
    if all.is_empty() {
        all = part_addresses(loader, word, "", keyword)?;
    }
    Ok(all)
}

fn part_addresses(
    loader: &mut Loader,
    word: &ConfigWord,
    text: &str,
    keyword: &str,
) -> Result<Vec<BindAddress>, Diagnostic> {
    super::proxy::not_reverse(word)?;
    let datagrams = keyword == "dgram-bind";
    let accepts = if datagrams {
        Accepts::DATAGRAM_BIND
    } else {
        Accepts::BIND
    };
    let address = loader.address(word, text, &accepts, keyword)?;
    match address.transport {
        SocketTransport::Default => {}
        SocketTransport::Stream if !datagrams => {}
        SocketTransport::Datagram if datagrams => {}
        SocketTransport::Stream => return Err(not_allowed_here(word, text, "connections")),
        SocketTransport::Datagram => return Err(not_allowed_here(word, text, "datagrams")),
        SocketTransport::Quic => return Err(super::proxy::unsupported_word(word, "QUIC")),
        SocketTransport::Multipath => {
            return Err(super::proxy::unsupported_word(word, "multipath TCP"));
        }
    }
    let ip = match &address.host {
        AddressHost::Any if address.family == Family::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        AddressHost::Any => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        AddressHost::Ip(ip) => *ip,
        AddressHost::Name(name) => match resolve(loader, word, name, address.family)? {
            Some(ip) => ip,
            None => return Ok(unresolved(name, &address)),
        },
        AddressHost::Path(path) => return Ok(vec![BindAddress::Unix(path.into())]),
        AddressHost::Abstract {
            name,
            zero_terminated: true,
        } => {
            return Ok(vec![BindAddress::Abstract(name.clone().into_bytes())]);
        }
        AddressHost::Abstract { name, .. } => return Ok(vec![BindAddress::abstract_filled(name)]),
        AddressHost::Descriptor(number) => {
            // The parser has limited the range.
            return Ok(vec![BindAddress::Fd(i32::try_from(*number).unwrap_or(-1))]);
        }
        AddressHost::Pair(_) => return Err(super::proxy::unsupported_word(word, "sockpair@")),
        AddressHost::Stdout | AddressHost::Stderr | AddressHost::Ring(_) => {
            return Err(not_allowed_here(word, text, "an output"));
        }
    };
    let (first, last) = ports(&address);
    Ok((first..=last)
        .map(|port| BindAddress::Inet(SocketAddr::new(ip, port)))
        .collect())
}

fn ports(address: &Address) -> (u16, u16) {
    match address.port {
        Port::One(port) => (port, port),
        Port::Range(first, last) => (first, last),
        Port::None | Port::Offset(_) => (0, 0),
    }
}

fn unresolved(name: &str, address: &Address) -> Vec<BindAddress> {
    let (first, last) = ports(address);
    (first..=last)
        .map(|port| BindAddress::Name(name.into(), port))
        .collect()
}

fn not_allowed_here(word: &ConfigWord, text: &str, what: &str) -> Diagnostic {
    Diagnostic::error(
        &codes::BAD_ADDRESS,
        word.span,
        format!("'bind' cannot listen on '{text}'"),
    )
    .label(format!("this is {what}, which is not supported here"))
}

/// Returns the address of a host name, or None if name resolution is disabled for this load.
fn resolve(
    loader: &mut Loader,
    word: &ConfigWord,
    name: &str,
    family: Family,
) -> Result<Option<IpAddr>, Diagnostic> {
    if !loader.context.options.resolve_names {
        return Ok(None);
    }
    let found = super::server::resolve(loader, name, family);
    match found {
        None => Err(super::server::unresolved_line(loader, word, "bind", name)),
        found => Ok(found),
    }
}

pub static LINES: &[LineRow] = language::rows! {
    "bind [<address>]:<port>[-<port>][, …] [<option> …]" &["frontend", "listen", "log-forward", "peers"],
        bind,
        "bind 127.0.0.1:8080,127.0.0.1:8081 maxconn 100\nbind [::1]:8090-8092\nbind unix@/run/site.sock mode 660",
        "Defines an address on which the frontend accepts connections. A line may have several addresses, separated by \
         commas, and a frontend several lines. `*` or an empty address is every IPv4 address, `[::]` every IPv6 \
         address; a path is a Unix socket. An address that no interface has yet is bound anyway, so that a virtual \
         address can arrive later.";
};
