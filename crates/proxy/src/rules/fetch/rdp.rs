//! Fetches of the cookie that a client of remote desktops sends first.

use super::{FetchBuild, FetchRow, payload};
use crate::rules::argument::{Arguments, Kind};
use crate::rules::usage::Needs;
use crate::rules::value::{Type, Value};
use crate::transaction::Stream;

const COOKIE: FetchBuild =
    FetchBuild::new(Type::Str, Needs::Request, cookie).takes(&[Kind::Text], 0);
const COUNT: FetchBuild = FetchBuild::new(Type::Int, Needs::Request, count).takes(&[Kind::Text], 0);

pub(super) static ROWS: &[FetchRow] = rows! {
    "req.rdp_cookie", "req.rdp_cookie[(<name>)]", COOKIE, "acl known req.rdp_cookie(mstshash) -m found",
        "The value of the cookie in the first packet of a remote desktop client (`mstshash`: the user name, `msts`: a \
         server to reconnect to), if it has this name; without a name any cookie.";
    "rdp_cookie", "rdp_cookie[(<name>)]", COOKIE, "acl known rdp_cookie(mstshash) -m found",
        "The older name of `req.rdp_cookie`.";
    "req_rdp_cookie", "req_rdp_cookie[(<name>)]", COOKIE, "acl known req_rdp_cookie(mstshash) -m found",
        "The older name of `req.rdp_cookie` in ACLs.";
    "req.rdp_cookie_cnt", "req.rdp_cookie_cnt[(<name>)]", COUNT, "acl is_rdp req.rdp_cookie_cnt gt 0",
        "1 if the first packet has such a cookie, which also identifies remote desktop clients; otherwise 0.";
    "rdp_cookie_cnt", "rdp_cookie_cnt[(<name>)]", COUNT, "acl is_rdp rdp_cookie_cnt gt 0",
        "The older name of `req.rdp_cookie_cnt`.";
    "req_rdp_cookie_cnt", "req_rdp_cookie_cnt[(<name>)]", COUNT, "acl is_rdp req_rdp_cookie_cnt gt 0",
        "The older name of `req.rdp_cookie_cnt` in ACLs.";
};

/// Bytes of the TPKT and X.224 headers before the cookie.
const HEADERS: usize = 11;
/// The packet type of a connection request.
const CONNECTION_REQUEST: u8 = 0xe0;

/// Finds the cookie: behind TPKT (version 3, length) and X.224 (length,
/// connection request) stand `Cookie: `, a name, `=`, a value and a line end.
pub(crate) fn find<'a>(payload: &'a [u8], wanted: Option<&[u8]>) -> Option<&'a [u8]> {
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

fn cookie<'a>(arguments: &'a Arguments, stream: &'a Stream) -> Option<Value<'a>> {
    find(payload(arguments, stream), arguments.text(0)).map(Value::text)
}

fn count<'a>(arguments: &'a Arguments, stream: &'a Stream) -> Option<Value<'a>> {
    let found = find(payload(arguments, stream), arguments.text(0));
    Some(Value::Int(i64::from(found.is_some())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_stands_behind_two_headers() {
        let mut packet = vec![3, 0, 0, 44, 39, 0xe0, 0, 0, 0, 0, 0];
        packet.extend(b"Cookie: mstshash=Alice\r\n\x01\0\x08\0");
        assert_eq!(find(&packet, Some(b"mstshash")), Some(&b"Alice"[..]));
        assert_eq!(find(&packet, None), Some(&b"Alice"[..]));
        assert_eq!(find(&packet, Some(b"msts")), None);
        for cut in 0..packet.len() - 6 {
            assert_eq!(find(&packet[..cut], None), None, "cut at {cut}");
        }
        packet[5] = 0xd0;
        assert_eq!(find(&packet, None), None);
    }
}
