//! Parses the cookie in the first packet of an RDP client.

/// Length of the TPKT and X.224 headers before the cookie, in bytes.
const HEADERS: usize = 11;
/// Packet type of a connection request.
const CONNECTION_REQUEST: u8 = 0xe0;

/// Finds the cookie in the first packet. TPKT (version 3, length) and X.224 (length, connection
/// request) precede `Cookie: `, a name, `=`, a value and a line end.
pub fn rdp_cookie<'a>(payload: &'a [u8], wanted: Option<&[u8]>) -> Option<&'a [u8]> {
    let headers = payload.get(..HEADERS)?;
    if headers[0] != 3 || headers[5] != CONNECTION_REQUEST {
        return None;
    }
    let rest = &payload[HEADERS..];
    let label = b"Cookie:";
    if !rest.get(..label.len())?.eq_ignore_ascii_case(label) {
        return None;
    }
    let rest = rest[label.len()..].trim_ascii_start();
    let line = &rest[..memchr::memmem::find(rest, b"\r\n")?];
    let equals = memchr::memchr(b'=', line)?;
    let (name, value) = (&line[..equals], &line[equals + 1..]);
    wanted
        .is_none_or(|wanted| wanted.eq_ignore_ascii_case(name))
        .then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_stands_behind_two_headers() {
        let mut packet = vec![3, 0, 0, 44, 39, 0xe0, 0, 0, 0, 0, 0];
        packet.extend(b"Cookie: mstshash=Alice\r\n\x01\0\x08\0");
        assert_eq!(rdp_cookie(&packet, Some(b"mstshash")), Some(&b"Alice"[..]));
        assert_eq!(rdp_cookie(&packet, None), Some(&b"Alice"[..]));
        assert_eq!(rdp_cookie(&packet, Some(b"msts")), None);
        for cut in 0..packet.len() - 6 {
            assert_eq!(rdp_cookie(&packet[..cut], None), None, "cut at {cut}");
        }
        packet[5] = 0xd0;
        assert_eq!(rdp_cookie(&packet, None), None);
    }
}
