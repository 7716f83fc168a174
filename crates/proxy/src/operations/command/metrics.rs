//! `show metrics`: the statistics in Prometheus format, as the exporter of a frontend sends
//! them.

use super::{Context, Reply, Session};
use crate::stats::process::{self, Process};
use crate::stats::prometheus::{self, Query};

/// `show metrics [<query>]`, with the query string of the exporter.
pub fn show(context: &Context, _: &Session, words: &[&str]) -> Reply {
    let query = words.get(2).copied().unwrap_or_default();
    let Some(query) = Query::parse(query.as_bytes()) else {
        return Reply::report(format!("unknown scope in '{query}'\n"));
    };
    let config = context.runtime.config();
    let process = Process::now(context.runtime, &config);
    let moment = process::moment(context.runtime, false);
    Reply::report(prometheus::render(&config, &process, &moment, query))
}
