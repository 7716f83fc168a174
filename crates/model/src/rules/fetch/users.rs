//! Implements the fetches of the credentials in a request, and of their check against a userlist.

use super::{FetchBuild, FetchRow, boolean, request, string};
use crate::rules::argument::{ArgumentKind, Arguments};
use crate::rules::usage::Needs;
use crate::rules::value::{Sample, SampleValue, Type};
use crate::transaction::ProxyStream;
use crate::users::{self, Basic};
use http::message::HttpMessage;
use std::borrow::Cow;

const fn text(one: super::One) -> FetchBuild {
    FetchBuild::new(Type::Str, Needs::Request, one).http()
}

pub(super) static ROWS: &[FetchRow] = rows! {
    "http_auth(<userlist>)",
        FetchBuild::new(Type::Bool, Needs::Request, is_user).http().takes(&[ArgumentKind::Userlist], 1),
        "acl known http_auth(staff)",
        "Tests whether the request has the name and password of a user of this list (`Authorization: Basic`). A \
         password hash is verified outside the serving threads while the rules wait; the result is cached.";
    "http_auth_group(<userlist>)",
        text(user_of_list).takes(&[ArgumentKind::Userlist], 1).each(groups),
        "acl admin http_auth_group(staff) admin",
        "The name of the request's user if `http_auth` of the same list is true. An ACL tests the groups of the user: \
         it is true if one of them is among the patterns.";
    "http_auth_user", text(user),
        "acl tiger http_auth_user tiger",
        "The user name of the request (`Authorization: Basic`). It is not verified: see `http_auth`.";
    "http_auth_pass", text(password),
        "acl empty http_auth_pass -m len 0",
        "The password of the request (`Authorization: Basic`). It is not verified: see `http_auth`.";
    "http_auth_type", text(scheme),
        "acl token http_auth_type Bearer",
        "The type of the request's credentials, `Basic` or `Bearer`. They are not verified.";
    "http_auth_bearer[(<header>)]",
        text(|a, s| token(a, s, request(s)?).map(SampleValue::text)).takes(&[ArgumentKind::Text], 0),
        "acl token http_auth_bearer -m found",
        "The bearer token of the request's Authorization header, or of another header. It is not verified.";
};

fn is_user<'a>(arguments: &'a Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    request(stream)?;
    let list = arguments.userlist(0)?;
    boolean(users::verified(list, stream).is_some())
}

fn user_of_list<'a>(arguments: &'a Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    request(stream)?;
    let user = users::verified(arguments.userlist(0)?, stream)?;
    string(&user.name)
}

/// Passes the user's groups to an ACL.
fn groups<'a>(
    arguments: &'a Arguments,
    stream: &ProxyStream,
    take: &mut dyn FnMut(SampleValue<'a>) -> bool,
) -> bool {
    let user = request(stream)
        .and(arguments.userlist(0))
        .and_then(|list| users::verified(list, stream));
    user.is_some_and(|user| {
        user.groups
            .iter()
            .any(|group| take(SampleValue::text(group.as_bytes())))
    })
}

fn owned<'a>(bytes: &[u8]) -> SampleValue<'a> {
    SampleValue::Str(Cow::Owned(bytes.to_vec()))
}

fn user<'a>(_: &Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    request(stream)?;
    Some(owned(Basic::of(stream)?.user()))
}

fn password<'a>(_: &Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    request(stream)?;
    Some(owned(Basic::of(stream)?.password()))
}

fn token<'a>(
    arguments: &Arguments,
    stream: &ProxyStream,
    request: &'a HttpMessage,
) -> Option<&'a [u8]> {
    let header = arguments.text(0);
    users::bearer(request, header.unwrap_or_else(|| users::header(stream)))
}

fn scheme<'a>(arguments: &'a Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    let request = request(stream)?;
    if token(arguments, stream, request).is_some() {
        return Some(SampleValue::text(b"Bearer"));
    }
    Basic::of(stream).map(|_| SampleValue::text(b"Basic"))
}
