//! `show metrics`: the statistics in Prometheus format, as the exporter of a frontend sends
//! them.

use super::{CommandReply, Context, Session};
use crate::stats::process::{self, ProcessSnapshot};
use crate::stats::prometheus::{self, Query};

/// `show metrics [<query>]`, with the query string of the exporter.
pub fn show(context: &Context, _: &Session, words: &[&str]) -> CommandReply {
    let query = words.get(2).copied().unwrap_or_default();
    let Some(query) = Query::parse(query.as_bytes()) else {
        return CommandReply::report(format!("unknown scope in '{query}'\n"));
    };
    let config = context.runtime.config();
    let process = ProcessSnapshot::now(context.runtime, &config);
    let moment = process::moment(context.runtime, false);
    CommandReply::report(prometheus::render(&config, &process, &moment, query))
}
