//! Checks that a request for pages names this farm by one of its names or addresses. Refuses a page
//! of another site whose name resolves to this machine (DNS rebinding).

use crate::certificate;
use crate::config::Farm;
use hyper::header::{HOST, TRANSFER_ENCODING};
use hyper::http::uri::Authority;
use hyper::{Request, StatusCode, Version};
use std::net::IpAddr;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct PageRefusal {
    pub(super) status: StatusCode,
    pub(super) words: &'static str,
}

const fn refused(status: StatusCode, words: &'static str) -> PageRefusal {
    PageRefusal { status, words }
}

const NO_HOST: PageRefusal = refused(
    StatusCode::BAD_REQUEST,
    "The request has no valid host name.",
);
const OTHER_HOST: PageRefusal = refused(
    StatusCode::MISDIRECTED_REQUEST,
    "This host is not served here.",
);
const ENCODED: PageRefusal = refused(
    StatusCode::BAD_REQUEST,
    "The request has a Transfer-Encoding. Send a Content-Length only.",
);

/// Returns whether a request names exactly one host. Before HTTP/1.1 it may name none (RFC 9112
/// section 3.2).
pub(super) fn has_one<B>(request: &Request<B>) -> bool {
    match request.headers().get_all(HOST).iter().count() {
        0 => request.version() < Version::HTTP_11,
        count => count == 1,
    }
}

/// Checks the headers of a request for a page. `here` is the local address of the connection.
pub(super) fn judge<B>(request: &Request<B>, here: IpAddr, farm: &Farm) -> Result<(), PageRefusal> {
    let headers = request.headers();
    if headers.contains_key(TRANSFER_ENCODING) {
        // Refuses the encoding, because hyper drops a length beside it. Forms of browsers have a
        // length and no encoding.
        return Err(ENCODED);
    }
    let of_header = headers.get(HOST).map(|host| host.as_bytes());
    let of_header = of_header.map(|host| match Authority::try_from(host) {
        Ok(authority) if !authority.as_str().contains('@') => Ok(authority),
        _ => Err(NO_HOST),
    });
    // Prefers the host of the target, which takes precedence (RFC 9112 section 3.2.2).
    let asked = match request.uri().authority() {
        Some(authority) => authority.clone(),
        None => match of_header {
            Some(authority) => authority?,
            None => return Ok(()),
        },
    };
    if serves(farm, here, asked.host()) {
        Ok(())
    } else {
        Err(OTHER_HOST)
    }
}

fn serves(farm: &Farm, here: IpAddr, host: &str) -> bool {
    let host = host.trim_end_matches('.').trim_matches(['[', ']']);
    if let Ok(ip) = host.parse::<IpAddr>() {
        let ip = ip.to_canonical();
        let mut binds = farm.web.iter().map(|bind| bind.address.ip());
        return ip == here.to_canonical() || binds.any(|bind| bind.to_canonical() == ip);
    }
    let portal = farm
        .portal
        .as_ref()
        .map(|portal| host_of(&portal.authority));
    let gateway = farm.gateway.as_ref().map(|gateway| gateway.name.as_str());
    let names = [Some(farm.name.as_str()), portal, gateway];
    let is_own = |own: &str| !own.is_empty() && own.eq_ignore_ascii_case(host);
    let mut binds = farm.web.iter();
    names.into_iter().flatten().any(is_own) || binds.any(|bind| certificate::is_of(&bind.pem, host))
}

fn host_of(authority: &str) -> &str {
    let host = authority
        .rsplit_once(':')
        .filter(|(_, port)| !port.contains(']'));
    host.map_or(authority, |(host, _)| host)
        .trim_matches(['[', ']'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Balance, Bind, Gateway};
    use crate::directory::tests::{farm, with_apps};
    use lab::pki::{Authority, Leaf};

    fn site() -> Farm {
        let leaf = Leaf {
            names: &["desk", "*.office.example.org"],
            ..Leaf::default()
        };
        let pem = Authority::new("Test CA").unwrap().issue(&leaf).unwrap();
        let mut farm = with_apps(farm(Balance::Load, &[1]), &[]);
        farm.name = "rdp.example.org".to_owned();
        farm.web = vec![Bind {
            address: "[::]:443".parse().unwrap(),
            pem: pem.bundle().into_bytes(),
            accepts_proxy: false,
        }];
        farm.gateway = Some(Gateway {
            name: "gate.example.org".to_owned(),
            port: 443,
            idle_ms: None,
            session_ms: None,
        });
        farm.portal.as_mut().unwrap().authority = "desktop.example.org:8443".to_owned();
        farm
    }

    fn judged(target: &str, headers: &[(&str, &str)]) -> Option<u16> {
        let request = headers
            .iter()
            .fold(Request::get(target), |request, (name, value)| {
                request.header(*name, *value)
            });
        let here = "::ffff:192.0.2.10".parse().unwrap();
        let judged = judge(&request.body(()).unwrap(), here, &site());
        judged.err().map(|refused| refused.status.as_u16())
    }

    #[test]
    fn only_names_and_addresses_of_the_farm_are_served() {
        for host in [
            "desktop.example.org:8443",
            "desktop.example.org",
            "Desktop.Example.Org.",
            "rdp.example.org:1",
            "gate.example.org",
            "desk",
            "any.office.example.org",
            "192.0.2.10:443",
            "[::ffff:192.0.2.10]",
        ] {
            assert_eq!(judged("/", &[("host", host)]), None, "{host}");
        }
        for host in [
            "evil.example",
            "example.org",
            "localhost",
            "192.0.2.11",
            "[::1]",
            "[::]:443",
        ] {
            let expected = if host == "[::]:443" { None } else { Some(421) };
            assert_eq!(judged("/", &[("host", host)]), expected, "{host}");
        }
        for host in ["", "a b", "user@@x", "\u{e4}"] {
            assert_eq!(judged("/", &[("host", host)]), Some(400), "{host}");
        }
        // HTTP/1.0, and a target with a host of its own.
        assert_eq!(judged("/", &[]), None);
        assert_eq!(
            judged("https://evil.example/", &[("host", "desk")]),
            Some(421)
        );
        assert_eq!(judged("https://desk/", &[("host", "evil.example")]), None);
    }
}
