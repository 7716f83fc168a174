//! `monitor-uri`: the request by which another balancer asks whether this
//! frontend is there. It is answered by the proxy itself.

use super::places::FRONT;
use super::{Args, Built, LineRow};
use crate::load::{Loader, codes};

fn uri(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let word = args.required("a URI")?;
    if word.bytes.is_empty() {
        return Err(args.wrong(&codes::BAD_VALUE, word, "an empty URI is never asked for"));
    }
    loader.proxy().monitor_uri = Some(word.bytes.clone().into());
    args.end()
}

/// The table.
pub static LINES: &[LineRow] = &[LineRow {
    name: "monitor-uri",
    places: FRONT,
    syntax: "monitor-uri <uri>",
    doc: "A request for exactly this URI is answered at once with 200, or with 503 when a `monitor fail` condition holds; it is \
          neither logged nor passed on. It shows another balancer that this proxy is alive.",
    example: "monitor-uri /haproxy_test",
    build: uri,
}];
