//! Implements the fetches of cookies in requests and responses.

use super::{FetchBuild, FetchRow, head, side_of};
use crate::rules::argument::{ArgumentKind, Arguments, MessageSide};
use crate::rules::usage::Needs;
use crate::rules::value::{Sample, SampleValue, Type, leading_integer};
use crate::transaction::ProxyStream;
use http::message::HttpMessage;
use std::borrow::Cow;

const fn values(needs: Needs) -> FetchBuild {
    FetchBuild::new(Type::Str, needs, value)
        .http()
        .takes(&[ArgumentKind::Text], 0)
        .each(each_value)
        .variants()
}

const fn counts(needs: Needs) -> FetchBuild {
    FetchBuild::new(Type::Int, needs, count)
        .http()
        .takes(&[ArgumentKind::Text], 0)
}

const fn numbers(needs: Needs) -> FetchBuild {
    FetchBuild::new(Type::Int, needs, |a, s| {
        find(a, s).map(|text| SampleValue::Int(leading_integer(text)))
    })
    .http()
    .takes(&[ArgumentKind::Text], 0)
}

const fn names(needs: Needs) -> FetchBuild {
    FetchBuild::new(Type::Str, needs, cookie_names)
        .http()
        .takes(&[ArgumentKind::Text], 0)
}

pub(super) static ROWS: &[FetchRow] = rows! {
    "req.cook[(<name>)]", values(Needs::Request), "acl beta req.cook(version) beta",
        "The value of the last cookie with this name in the request; without a name that of the first cookie. ACLs \
         test all cookies with the name.";
    "cook[(<name>)]", values(Needs::Request), "acl beta cook(version) beta",
        "The same as `req.cook`.";
    "cookie[(<name>)]", values(Needs::EitherSide), "acl known cookie(session) -m found",
        "The same as `req.cook` in rules for requests, and as `res.cook` in rules for responses.";
    "req.cook_cnt[(<name>)]", counts(Needs::Request), "acl twice req.cook_cnt(session) gt 1",
        "Number of request cookies with this name, or of all cookies without a name.";
    "cook_cnt[(<name>)]", counts(Needs::Request), "acl none cook_cnt 0",
        "The same as `req.cook_cnt`.";
    "req.cook_val[(<name>)]", numbers(Needs::Request), "acl old req.cook_val(version) lt 3",
        "The value of a cookie as a number, from its leading digits.";
    "cook_val[(<name>)]", numbers(Needs::Request), "acl old cook_val(version) lt 3",
        "The same as `req.cook_val`.";
    "req.cook_names[(<delimiter>)]", names(Needs::Request), "acl tracked req.cook_names -m sub _ga",
        "The names of all request cookies in their order, separated by commas or another delimiter.";
    "res.cook[(<name>)]", values(Needs::Response), "acl login res.cook(session) -m found",
        "The value of the last cookie with this name that the response sets; see `req.cook`.";
    "scook[(<name>)]", values(Needs::Response), "acl login scook(session) -m found",
        "The older name of `res.cook`.";
    "res.cook_cnt[(<name>)]", counts(Needs::Response), "acl sets res.cook_cnt gt 0",
        "Number of cookies with this name that the response sets, or of all without a name.";
    "scook_cnt[(<name>)]", counts(Needs::Response), "acl sets scook_cnt gt 0",
        "The older name of `res.cook_cnt`.";
    "res.cook_val[(<name>)]", numbers(Needs::Response), "acl old res.cook_val(version) lt 3",
        "The value of a cookie that the response sets, as a number.";
    "scook_val[(<name>)]", numbers(Needs::Response), "acl old scook_val(version) lt 3",
        "The older name of `res.cook_val`.";
    "res.cook_names[(<delimiter>)]", names(Needs::Response), "acl login res.cook_names -m sub session",
        "The names of all cookies that the response sets, separated by commas or another delimiter.";
};

/// Passes the values of the cookies with a name (or of all) to the visitor, until it takes one.
fn visit<'a>(
    message: &'a HttpMessage,
    side: MessageSide,
    name: Option<&[u8]>,
    take: &mut dyn FnMut(&'a [u8]) -> bool,
) -> bool {
    let mut look = |(_, value): (&[u8], &'a [u8])| take(value);
    if side == MessageSide::Response {
        message.fields().response_cookies(name).any(&mut look)
    } else {
        message.fields().request_cookies(name).any(&mut look)
    }
}

fn find<'a>(arguments: &'a Arguments, stream: &'a ProxyStream) -> Option<&'a [u8]> {
    let message = head(arguments, stream)?;
    let side = side_of(arguments, stream);
    let name = arguments.text(0);
    let mut found = None;
    visit(message, side, name, &mut |value| {
        found = Some(value);
        // Stops at the first cookie if no name is given; otherwise the last value with that name is
        // the result.
        name.is_none()
    });
    found
}

fn value<'a>(arguments: &'a Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    find(arguments, stream).map(SampleValue::text)
}

fn each_value<'a>(
    arguments: &Arguments,
    stream: &'a ProxyStream,
    take: &mut dyn FnMut(SampleValue<'a>) -> bool,
) -> bool {
    let Some(message) = head(arguments, stream) else {
        return false;
    };
    visit(
        message,
        side_of(arguments, stream),
        arguments.text(0),
        &mut |value| take(SampleValue::text(value)),
    )
}

fn count<'a>(arguments: &'a Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    let message = head(arguments, stream)?;
    let mut count = 0_usize;
    visit(
        message,
        side_of(arguments, stream),
        arguments.text(0),
        &mut |_| {
            count += 1;
            false
        },
    );
    Some(SampleValue::count(count))
}

fn cookie_names<'a>(arguments: &'a Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    let fields = head(arguments, stream)?.fields();
    let delimiter = arguments.text(0).unwrap_or(b",");
    let mut out = Vec::new();
    let mut add = |name: &[u8]| {
        if !out.is_empty() {
            out.extend_from_slice(delimiter);
        }
        out.extend_from_slice(name);
    };
    if side_of(arguments, stream) == MessageSide::Response {
        fields
            .response_cookies(None)
            .for_each(|(name, _)| add(name));
    } else {
        fields.request_cookies(None).for_each(|(name, _)| add(name));
    }
    // Returns no value if there is no cookie, so that `-m found` is false.
    (!out.is_empty()).then_some(SampleValue::Str(Cow::Owned(out)))
}
