//! Implements `show metrics`: prints the statistics in Prometheus format, as the exporter of a
//! frontend sends them.

use super::{CommandReply, Context, LongReply, Session};
use crate::stats::piece::{Piece, PieceSource};
use crate::stats::process::{self, ProcessSnapshot};
use crate::stats::prometheus::{MetricsOf, MetricsOutput, Query};
use crate::stats::row::Moment;
use model::config::Config;
use std::sync::Arc;

struct MetricsReply {
    config: Arc<Config>,
    process: ProcessSnapshot,
    moment: Moment,
    output: MetricsOutput,
}

impl PieceSource for MetricsReply {
    fn write(&mut self, piece: &mut Piece<'_>) -> bool {
        let of = MetricsOf {
            config: &self.config,
            process: &self.process,
            moment: &self.moment,
        };
        self.output.write(piece, of)
    }
}

/// `show metrics [<query>]`, with the query string of the exporter.
pub fn show(context: &Context, _: &Session, words: &[&str]) -> LongReply {
    let query = words.get(2).copied().unwrap_or_default();
    let Some(query) = Query::parse(query.as_bytes()) else {
        return Err(CommandReply::report(format!(
            "unknown scope in '{query}'\n"
        )));
    };
    let config = context.runtime.config();
    Ok(Box::new(MetricsReply {
        process: ProcessSnapshot::now(context.runtime, &config),
        moment: process::moment(context.runtime, false),
        output: MetricsOutput::new(query),
        config,
    }))
}
