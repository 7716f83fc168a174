//! Implements the client side of SOCKS version 4: requests a connection to an IPv4 address from a
//! proxy. After one request and one reply of eight bytes, the connection leads to the requested
//! address.

use std::net::SocketAddrV4;

pub const REPLY_BYTES: usize = 8;
const VERSION: u8 = 4;
const CONNECT: u8 = 1;
const GRANTED: u8 = 0x5a;

/// Returns the bytes of a request for a connection, on behalf of `user`.
pub fn request(to: SocketAddrV4, user: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(9 + user.len());
    out.extend_from_slice(&[VERSION, CONNECT]);
    out.extend_from_slice(&to.port().to_be_bytes());
    out.extend_from_slice(&to.ip().octets());
    // The user name ends with a zero, so it cannot contain one.
    out.extend(user.bytes().filter(|byte| *byte != 0));
    out.push(0);
    out
}

pub fn is_granted(reply: &[u8; REPLY_BYTES]) -> bool {
    reply[0] == 0 && reply[1] == GRANTED
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn a_request_names_port_address_and_user() {
        let to = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 0x1f90);
        let want = [4, 1, 0x1f, 0x90, 192, 0, 2, 1, b'm', b'e', 0];
        assert_eq!(request(to, "me"), want);
        assert_eq!(request(to, "m\0e"), want);
    }

    #[test]
    fn only_one_answer_grants() {
        for (reply, is) in [
            ([0, 0x5a, 0, 0, 0, 0, 0, 0], true),
            ([0, 0x5b, 0, 0, 0, 0, 0, 0], false),
            ([4, 0x5a, 0, 0, 0, 0, 0, 0], false),
        ] {
            assert_eq!(is_granted(&reply), is, "{reply:?}");
        }
    }
}
