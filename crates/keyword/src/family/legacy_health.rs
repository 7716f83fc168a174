//! Builds `monitor-net` and `mode health`: both give the connections of other load balancers a
//! response before any data is read. HAProxy removed both; `http-request return` and `monitor-uri`
//! replace them.

use super::places::FRONT;
use super::{Args, Built, LineRow};
use crate::family::Loader;
use language::value::ValueError;
use language::{ConfigWord, Diagnostic};
use model::codes;
use model::config::Mode;

pub(super) fn mode(loader: &mut Loader, word: &ConfigWord) {
    let proxy = loader.proxy();
    proxy.mode = Mode::Tcp;
    proxy.health.get_or_insert_default().always = true;
    loader.report(
        Diagnostic::warning(&codes::LEGACY, word.span, "'mode health' is obsolete")
            .label("removed from HAProxy")
            .help("write `mode http` and `http-request return status 200`"),
    );
}

fn network(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let span = args.keyword_span();
    let word = args.required("a network")?;
    let network = language::value::network(word.str()).map_err(|error| {
        let mut diagnostic = error.diagnostic(word.span, "'monitor-net'");
        diagnostic.code = &codes::BAD_ADDRESS;
        diagnostic
    })?;
    loader.proxy().health.get_or_insert_default().network = Some(network);
    loader.report(
        Diagnostic::warning(&codes::LEGACY, span, "'monitor-net' is obsolete")
            .label("removed from HAProxy")
            .help(format!(
                "write `http-request return status 200 if {{ src {} }}` as the first rule (in `mode tcp`: \
                 `tcp-request connection reject if …`), or use `monitor-uri`",
                word.text()
            )),
    );
    args.end()
}

pub(super) static LINES: &[LineRow] = language::rows! {
    "monitor-net <network>" FRONT, network, "monitor-net 192.0.2.0/29",
        "Connections from this network are health checks by another load balancer: in `mode http` they get `HTTP/1.0 \
         200 OK` at once, in `mode tcp` they are closed. They are neither counted nor logged. HAProxy has removed this \
         keyword; it still works, with a warning that shows the current form.";
};
