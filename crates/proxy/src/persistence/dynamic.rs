//! Calculates dynamic cookies (`cookie … dynamic`): a keyed hash of a server's address. All load
//! balancers with the same key and servers calculate the same value, and a client cannot learn
//! the address from it.

use model::config::{Server, ServerAddress};
use std::net::{IpAddr, SocketAddr};
use twox_hash::XxHash64;

pub(super) const DIGITS: usize = 16;
/// Maximum number of key bytes used; longer keys are truncated.
const KEY_MAX: usize = 1024;

/// Returns the dynamic cookie of a server; None if the server has no IP address.
pub(super) fn of(server: &Server, key: &[u8]) -> Option<[u8; DIGITS]> {
    let set = server.state.address_override();
    match set.as_ref().unwrap_or(&server.address) {
        ServerAddress::Inet(address) => Some(value(*address, key)),
        ServerAddress::SamePort(ip, _) => Some(value(SocketAddr::new(*ip, 0), key)),
        _ => None,
    }
}

fn value(address: SocketAddr, key: &[u8]) -> [u8; DIGITS] {
    let key = &key[..key.len().min(KEY_MAX)];
    let mut bytes = [0; KEY_MAX + 20];
    let mut length = 0;
    let mut put = |piece: &[u8]| {
        bytes[length..length + piece.len()].copy_from_slice(piece);
        length += piece.len();
    };
    put(key);
    match address.ip() {
        IpAddr::V4(ip) => put(&ip.octets()),
        IpAddr::V6(ip) => put(&ip.octets()),
    }
    put(&u32::from(address.port()).to_be_bytes());
    let hash = XxHash64::oneshot(0, &bytes[..length]);
    let mut digits = [0; DIGITS];
    for (at, digit) in digits.iter_mut().enumerate() {
        *digit = b"0123456789abcdef"[(hash >> (4 * (DIGITS - 1 - at))) as usize & 15];
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dynamic_cookies_equal_haproxys() {
        // Recorded from HAProxy 2.6.12.
        let of = |address: &str| value(address.parse().unwrap(), b"secret");
        assert_eq!(&of("127.0.0.1:42843"), b"913ac8954e41e5c8");
        assert_ne!(of("127.0.0.1:1"), of("127.0.0.2:1"));
        assert_ne!(of("[::1]:1"), of("[::1]:2"));
        assert_eq!(
            value("127.0.0.1:1".parse().unwrap(), &[b'k'; 5000]),
            value("127.0.0.1:1".parse().unwrap(), &[b'k'; KEY_MAX])
        );
    }
}
