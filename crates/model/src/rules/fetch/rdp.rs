//! Implements the fetches of the cookie that an RDP client sends first.

use super::{FetchBuild, FetchRow, payload};
use crate::rules::argument::{ArgumentKind, Arguments};
use crate::rules::usage::Needs;
use crate::rules::value::{Sample, SampleValue, Type};
use crate::sample::rdp_cookie;
use crate::transaction::ProxyStream;

const COOKIE: FetchBuild = FetchBuild::new(Type::Str, Needs::Request, |a, s| {
    rdp_cookie(payload(a, s), a.text(0)).map(SampleValue::text)
})
.takes(&[ArgumentKind::Text], 0);
const COUNT: FetchBuild =
    FetchBuild::new(Type::Int, Needs::Request, count).takes(&[ArgumentKind::Text], 0);

pub(super) static ROWS: &[FetchRow] = rows! {
    "req.rdp_cookie[(<name>)]", COOKIE, "acl known req.rdp_cookie(mstshash) -m found",
        "The value of the cookie in the first packet of a remote desktop client (`mstshash`: the user name, `msts`: a \
         server to reconnect to), if it has this name; without a name any cookie.";
    "rdp_cookie[(<name>)]", COOKIE, "acl known rdp_cookie(mstshash) -m found",
        "The older name of `req.rdp_cookie`.";
    "req_rdp_cookie[(<name>)]", COOKIE, "acl known req_rdp_cookie(mstshash) -m found",
        "The older name of `req.rdp_cookie` in ACLs.";
    "req.rdp_cookie_cnt[(<name>)]", COUNT, "acl is_rdp req.rdp_cookie_cnt gt 0",
        "1 if the first packet has such a cookie, which also identifies remote desktop clients; otherwise 0.";
    "rdp_cookie_cnt[(<name>)]", COUNT, "acl is_rdp rdp_cookie_cnt gt 0",
        "The older name of `req.rdp_cookie_cnt`.";
    "req_rdp_cookie_cnt[(<name>)]", COUNT, "acl is_rdp req_rdp_cookie_cnt gt 0",
        "The older name of `req.rdp_cookie_cnt` in ACLs.";
};

fn count<'a>(arguments: &'a Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    let found = rdp_cookie(payload(arguments, stream), arguments.text(0));
    Some(SampleValue::Int(i64::from(found.is_some())))
}
