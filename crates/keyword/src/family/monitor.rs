//! Builds `monitor-uri` and `monitor fail`: they define the request by which another load balancer
//! checks whether this frontend is available, and when the proxy's own response is a failure.

use super::places::{FRONT, FRONT_ONLY};
use super::{Args, Built, LineRow};
use crate::family::Loader;
use language::Diagnostic;
use model::codes;
use model::rules::{Condition, Usage};

/// Parses a condition, and returns an error if the line has none.
pub(super) fn condition(
    loader: &mut Loader,
    args: &mut Args<'_>,
    usage: Usage,
) -> Result<Condition, Diagnostic> {
    let (keyword, syntax, end) = (args.keyword, args.syntax, args.line().end());
    Condition::parse(loader, args, usage)?.ok_or_else(|| {
        Diagnostic::error(
            &codes::MISSING_ARGUMENT,
            end,
            format!("'{keyword}' expects 'if' or 'unless' and a condition"),
        )
        .label("the condition is missing")
        .help(format!("write `{syntax}`"))
    })
}

fn fail(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let condition = condition(loader, args, Usage::FRONT_HTTP_REQUEST)?;
    loader.proxy().monitor_fail.push(condition);
    Ok(())
}

fn uri(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let word = args.required("a URI")?;
    if word.bytes.is_empty() {
        return Err(args.word_error(&codes::BAD_VALUE, word, "an empty URI never matches"));
    }
    loader.proxy().monitor_uri = Some(word.bytes.clone().into());
    args.end()
}

pub static LINES: &[LineRow] = language::rows! {
    "monitor-uri <uri>" FRONT, uri, "monitor-uri /haproxy_test",
        "Responds to requests for exactly this URI with 200, or with 503 if a `monitor fail` condition is true. The \
         requests are neither logged nor forwarded. A path also matches an absolute URL. Other load balancers use it \
         to check this proxy.";
    "monitor fail { if | unless } <condition>" FRONT_ONLY, fail,
        "monitor fail if { nbsrv(sample) lt 1 }",
        "If the condition is true, requests for `monitor-uri` get status 503, so that the load balancer that checks \
         this proxy sends its traffic elsewhere. Any one of several lines is enough.";
};
