//! Implements the action `use-service`, with which Evenkeel itself responds to a request:
//! `prometheus-exporter` returns the statistics. Other services are refused.

use super::{ActionResult, ActionRow, Build, BuiltAction, RuleAction, places};
use crate::codes as load_codes;
use crate::rules::draft::ConfigDraft;
use crate::transaction::{MessageVerdict, ProxyStream, StreamPhase, Termination};
use language::Diagnostic;

const EXPORTER: &str = "prometheus-exporter";
/// Prefix of the names of services written in Lua.
const LUA: &str = "lua.";

pub(super) static ROWS: &[ActionRow] = language::rows! {
    "use-service { prometheus-exporter }" &[places::REQUEST], build,
        "use-service prometheus-exporter if { path /metrics }",
        "Responds to the request with a service. `prometheus-exporter` returns the statistics in Prometheus format, \
         with HAProxy's metric names. The query `scope=frontend` (`global`, `listener`, `backend`, `server`, `*`) \
         selects families, and `no-maint` omits servers in maintenance.";
};

fn build(_: &mut ConfigDraft, build: &mut Build<'_, '_>) -> BuiltAction {
    let word = build.args.required("the name of a service")?;
    if word.is(EXPORTER) {
        return Ok(RuleAction::Metrics);
    }
    if word.str().starts_with(LUA) {
        return Err(Diagnostic::error(
            &load_codes::NOT_BUILT,
            word.span,
            format!(
                "the service '{}' is written in Lua, which is not supported",
                word.text()
            ),
        ));
    }
    Err(build.wrong(
        &load_codes::BAD_VALUE,
        word,
        format!("unknown service '{}'", word.text()),
        "expected `prometheus-exporter`",
    ))
}

pub(super) fn metrics(stream: &mut ProxyStream) -> ActionResult {
    stream.outcome.end(Termination::Local, StreamPhase::Request);
    ActionResult::End(MessageVerdict::Metrics)
}
