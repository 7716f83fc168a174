//! Builds `source` of backends and servers, which sets the source address of connections to
//! servers. The address may be that of the client.

use super::{Args, Built};
use crate::family::Loader;
use language::value::{Accepts, AddressHost, Port};
use language::{ConfigWord, Diagnostic};
use model::codes;
use model::config::{Borrowed, ServerOptions, SourceWays};
use std::net::SocketAddr;

pub(super) fn of_proxy(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let parsed = parse(loader, args, false)?;
    let proxy = loader.proxy();
    (proxy.source, proxy.source_ways) = parsed;
    args.end()
}

pub(super) fn of_server(
    loader: &mut Loader,
    options: &mut ServerOptions,
    args: &mut Args<'_>,
) -> Built {
    (options.source, options.source_ways) = parse(loader, args, true)?;
    Ok(())
}

type Parsed = (Option<SocketAddr>, SourceWays);

fn parse(loader: &mut Loader, args: &mut Args<'_>, ranges: bool) -> Result<Parsed, Diagnostic> {
    let word = args.required("an address")?;
    let accepts = Accepts {
        name: false,
        range: ranges,
        ..Accepts::SOURCE
    };
    let address = loader.address(word, word.str(), &accepts, "source")?;
    let mut ways = SourceWays::default();
    let port = match address.port {
        Port::One(port) => port,
        Port::Range(first, last) => {
            ways.ports = (first < last).then_some((first, last));
            first
        }
        _ => 0,
    };
    let ip = match address.host {
        AddressHost::Ip(ip) => ip,
        AddressHost::Any => std::net::Ipv4Addr::UNSPECIFIED.into(),
        _ => return Err(no_source(word)),
    };
    let source = (!ip.is_unspecified() || port != 0).then_some(SocketAddr::new(ip, port));
    while let Some(word) = args.peek() {
        match word.str() {
            "usesrc" => {
                args.skip(1);
                ways.borrowed = Some(borrowed(loader, args)?);
            }
            "interface" => {
                args.skip(1);
                ways.interface = Some(args.required("<name>")?.text().into());
            }
            _ => break,
        }
    }
    Ok((source, ways))
}

fn no_source(word: &ConfigWord) -> Diagnostic {
    Diagnostic::error(
        &codes::BAD_ADDRESS,
        word.span,
        format!("'source' does not support '{}'", word.text()),
    )
    .label("expected an IPv4 or IPv6 address; `*` lets the system choose")
}

fn borrowed(loader: &mut Loader, args: &mut Args<'_>) -> Result<Borrowed, Diagnostic> {
    let word = args.required("<addr>[:<port>], 'client', 'clientip' or 'hdr_ip(name,#)'")?;
    let text = word.str();
    if let Some(inside) = text.strip_prefix("hdr_ip(") {
        let inside = inside.strip_suffix(')').unwrap_or_default();
        let (name, occurrence) = inside.split_once(',').unwrap_or((inside, "-1"));
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        let occurrence = occurrence.trim().parse().ok().filter(|n| *n != 0);
        return match occurrence {
            Some(occurrence) if !name.is_empty() && name.bytes().all(token) => Ok(
                Borrowed::Header(name.to_ascii_lowercase().into_bytes().into(), occurrence),
            ),
            _ => Err(args.word_error(
                &codes::BAD_VALUE,
                word,
                "'usesrc' expects a header name and optionally its occurrence: `hdr_ip(x-forwarded-for,-1)`",
            )),
        };
    }
    match text {
        "client" => return Ok(Borrowed::Client),
        "clientip" => return Ok(Borrowed::ClientIp),
        _ => {}
    }
    let accepts = Accepts {
        name: false,
        ..Accepts::SOURCE
    };
    let address = loader.address(word, text, &accepts, "usesrc")?;
    let port = match address.port {
        Port::One(port) => port,
        _ => 0,
    };
    match address.host {
        AddressHost::Ip(ip) => Ok(Borrowed::Address(SocketAddr::new(ip, port))),
        _ => Err(no_source(word)),
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{backend, codes_of};
    use model::config::Borrowed;

    #[test]
    fn addresses_of_clients_are_borrowed_in_four_ways() {
        let of = |text: &str| {
            let proxy = backend(&format!("source 127.0.0.1 {text}\nserver a 127.0.0.1:1"));
            proxy.source_ways
        };
        assert_eq!(of("usesrc client").borrowed, Some(Borrowed::Client));
        assert_eq!(of("usesrc clientip").borrowed, Some(Borrowed::ClientIp));
        let header = |n| Some(Borrowed::Header((*b"x-real").into(), n));
        assert_eq!(of("usesrc hdr_ip(X-Real)").borrowed, header(-1));
        assert_eq!(of("usesrc hdr_ip(X-Real,2)").borrowed, header(2));
        let address = Borrowed::Address("10.0.0.1:55".parse().unwrap());
        assert_eq!(of("usesrc 10.0.0.1:55").borrowed, Some(address));
        let both = of("usesrc client interface lo");
        assert_eq!(both.interface.as_deref(), Some("lo"));
        assert_eq!(both.borrowed, Some(Borrowed::Client));
    }

    #[test]
    fn ranges_of_ports_are_for_servers() {
        let proxy = backend("server a 127.0.0.1:1 source 127.0.0.1:1000-1010");
        assert_eq!(
            proxy.servers[0].options.source_ways.ports,
            Some((1000, 1010))
        );
        for (line, want) in [
            ("source 127.0.0.1:1000-1010", "E0206"),
            ("source 127.0.0.1 usesrc", "E0201"),
            ("source 127.0.0.1 usesrc hdr_ip()", "E0207"),
            ("source 127.0.0.1 usesrc hdr_ip(a,0)", "E0207"),
        ] {
            let codes = codes_of(line);
            assert_eq!(codes.len(), 1, "{line}: {codes:?} {want}");
        }
    }
}
