//! Implements the actions that change the log line or the evaluation of the rules themselves.

use super::{ActionRow, Build, BuiltAction, RuleAction, RuleSet, places};
use crate::codes as load_codes;
use crate::config::StreamLogStep;
use crate::log::LEVEL_NAMES;
use crate::rules::draft::ConfigDraft;
use language::suggest;

const OF_STREAMS: &[&str] = &[
    places::CONTENT,
    places::SERVER_CONTENT,
    places::REQUEST,
    places::RESPONSE,
    places::AFTER,
];

pub(super) static ROWS: &[ActionRow] = language::rows! {
    "set-log-level { emerg | alert | crit | err | warning | notice | info | debug | silent }" OF_STREAMS,
        level, "set-log-level silent if { src 127.0.0.1 }",
        "Logs the stream at this level instead of `info`; `silent` does not log it. Use `silent` for health checks by \
         other load balancers.";
    "do-log" places::ALL, |_, build| Ok(RuleAction::Log(step(build.set))), "do-log",
        "Logs the stream or connection at this rule, in addition to the line at its end, with the `log-format` of its \
         frontend. Unknown values are `-`. A `log-profile` can set another format for this step, or none.";
    "strict-mode { on | off }" places::HTTP, strict, "strict-mode off",
        "Sets what happens when a later rule cannot change a message (too large for a buffer, or invalid): status 500 \
         (`on`, the default), or the rule is skipped.";
};

/// Returns the step that a `log-profile` uses for rules of this set.
fn step(set: RuleSet) -> StreamLogStep {
    match set {
        RuleSet::TcpConnection => StreamLogStep::TcpConnection,
        RuleSet::TcpSession => StreamLogStep::TcpSession,
        RuleSet::TcpContent => StreamLogStep::TcpContent,
        RuleSet::TcpResponse => StreamLogStep::TcpResponse,
        RuleSet::HttpRequest => StreamLogStep::HttpRequest,
        RuleSet::HttpResponse => StreamLogStep::HttpResponse,
        RuleSet::HttpAfterResponse => StreamLogStep::HttpAfterResponse,
    }
}

fn level(_: &mut ConfigDraft, build: &mut Build<'_, '_>) -> BuiltAction {
    let word = build.args.required("<level>")?;
    if word.is("silent") {
        return Ok(RuleAction::LogLevel(None));
    }
    if let Some(level) = LEVEL_NAMES.iter().position(|name| word.is(name)) {
        return Ok(RuleAction::LogLevel(Some(level as u8)));
    }
    let message = format!("unknown log level '{}'", word.text());
    let near = suggest::nearest(&word.text(), LEVEL_NAMES.into_iter().chain(["silent"]));
    let label = "expected a level or `silent`";
    Err(build
        .wrong(&load_codes::BAD_VALUE, word, message, label)
        .did_you_mean(word.span, near))
}

fn strict(_: &mut ConfigDraft, build: &mut Build<'_, '_>) -> BuiltAction {
    let word = build.args.required("'on' or 'off'")?;
    match word.str() {
        "on" => Ok(RuleAction::StrictMode(true)),
        "off" => Ok(RuleAction::StrictMode(false)),
        other => {
            let message = format!("unexpected value '{other}' of 'strict-mode'");
            Err(build.wrong(
                &load_codes::BAD_VALUE,
                word,
                message,
                "expected `on` or `off`",
            ))
        }
    }
}
