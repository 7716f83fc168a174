//! Builds the link from the statistics page to the web console, with a host that the requesting
//! browser can reach.

use configuration::ConsoleAddress;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Maximum length of a host name, bytes.
const HOST_MAX: usize = 253;

/// Returns the URL of the console for a browser; `host` is the `Host` header of its request.
/// None if the browser cannot reach the console, as far as the proxy knows.
pub fn link(console: ConsoleAddress, host: &[u8]) -> Option<String> {
    let ConsoleAddress { address, tls } = console;
    let scheme = if tls { "https" } else { "http" };
    let ip = address.ip().to_canonical();
    if ip.is_unspecified() {
        // Uses the host of the request: the console listens on every address of the machine,
        // including the one that the browser used.
        let host = plain_host(host)?;
        return Some(format!("{scheme}://{host}:{}/", address.port()));
    }
    if ip.is_loopback() && !is_loopback(plain_host(host)?) {
        return None;
    }
    let address = SocketAddr::new(ip, address.port());
    Some(format!("{scheme}://{address}/"))
}

/// Returns the host of a `Host` header without its port, if it is a plain name or address.
fn plain_host(header: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(header).ok()?.trim();
    if let Some(rest) = text.strip_prefix('[') {
        let (inside, _) = rest.split_once(']')?;
        let _: Ipv6Addr = inside.parse().ok()?;
        return text.get(..inside.len() + 2);
    }
    let host = text.split(':').next()?;
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    (!host.is_empty() && host.len() <= HOST_MAX && host.bytes().all(is_of_name)).then_some(host)
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_matches(['[', ']']);
    let ip: Option<IpAddr> = bare.parse().ok();
    host.eq_ignore_ascii_case("localhost") || ip.is_some_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str, tls: bool) -> ConsoleAddress {
        let address = address.parse().unwrap();
        ConsoleAddress { address, tls }
    }

    #[test]
    fn the_link_has_the_host_of_the_request_where_the_console_is_everywhere() {
        for (address, tls, host, expected) in [
            (
                "[::]:8600",
                true,
                "lb1.example:8080",
                Some("https://lb1.example:8600/"),
            ),
            (
                "0.0.0.0:8600",
                true,
                "192.0.2.1",
                Some("https://192.0.2.1:8600/"),
            ),
            (
                "[::]:8600",
                true,
                "[2001:db8::1]:80",
                Some("https://[2001:db8::1]:8600/"),
            ),
            ("192.0.2.9:1", true, "lb1", Some("https://192.0.2.9:1/")),
            ("192.0.2.9:1", true, "\"><b>", Some("https://192.0.2.9:1/")),
            (
                "127.0.0.1:8600",
                false,
                "localhost:80",
                Some("http://127.0.0.1:8600/"),
            ),
            ("[::1]:8600", false, "[::1]:80", Some("http://[::1]:8600/")),
            // The console is reachable only from the machine itself.
            ("127.0.0.1:8600", false, "lb1", None),
            ("[::]:8600", true, "", None),
            ("[::]:8600", true, "a\"><b>", None),
            ("[::]:8600", true, "[a]:80", None),
            ("[::]:8600", true, "user@evil", None),
        ] {
            let found = link(at(address, tls), host.as_bytes());
            assert_eq!(found.as_deref(), expected, "{address} {host}");
        }
    }
}
