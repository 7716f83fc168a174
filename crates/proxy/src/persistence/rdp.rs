//! Implements `persist rdp-cookie`: the first packet of an RDP client names the server to which
//! the client was redirected (`msts=IP.PORT.0000`; both numbers are read in little-endian byte
//! order).

use model::config::{ServerAddress, ServerIndex};
use model::sample::rdp_cookie;
use model::transaction::ProxyStream;
use std::net::{Ipv4Addr, SocketAddr};

pub(super) fn bind_to_named_server(stream: &mut ProxyStream) {
    let Some(backend) = stream.backend() else {
        return;
    };
    let Some(name) = backend.rdp_persist.as_deref() else {
        return;
    };
    let Some(wanted) = rdp_cookie(&stream.payloads.request, Some(name)).and_then(address) else {
        return;
    };
    let at = backend.servers.iter().position(|server| {
        let set = server.state.address_override();
        let address = set.as_ref().unwrap_or(&server.address);
        matches!(address, ServerAddress::Inet(address) if *address == wanted)
    });
    if let Some(at) = at {
        super::give(stream, ServerIndex(at as u32));
    }
}

fn address(value: &[u8]) -> Option<SocketAddr> {
    let mut parts = std::str::from_utf8(value).ok()?.split('.');
    let ip: u32 = parts.next()?.parse().ok()?;
    let port: u16 = parts.next()?.parse().ok()?;
    parts.next()?;
    Some(SocketAddr::new(
        Ipv4Addr::from(ip.to_le_bytes()).into(),
        port.swap_bytes(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_as_a_little_endian_processor_has_it() {
        // 192.168.1.2:3389
        let ip = u32::from_le_bytes([192, 168, 1, 2]);
        let text = format!("{ip}.{}.0000", 3389u16.swap_bytes());
        assert_eq!(
            address(text.as_bytes()),
            Some("192.168.1.2:3389".parse().unwrap())
        );
        for bad in [
            "",
            "1",
            "1.2",
            "x.2.0",
            "1.99999.0",
            "4294967296.1.0",
            "\u{e9}",
        ] {
            assert_eq!(address(bad.as_bytes()), None, "{bad}");
        }
    }
}
