//! Implements the action `wait-for-body`, which waits for the body of a message, for rules that
//! read it.

use super::{ActionResult, ActionRow, Build, BuiltAction, MessageVerdict, RuleAction, places};
use crate::codes as load_codes;
use crate::compiled::action::body::WaitForBody;
use crate::rules::draft::ConfigDraft;
use crate::transaction::ProxyStream;
use language::value::{TimeUnit, milliseconds};

pub(super) static ROWS: &[ActionRow] = language::rows! {
    "wait-for-body { time <time> } [ at-least <bytes> ]" &[places::REQUEST, places::RESPONSE],
        build,
        "wait-for-body time 1s at-least 1k if METH_POST",
        "Waits for the body of the message, so that later rules can inspect it: the whole body, or this many bytes, at \
         most a full buffer. After the time, a request gets status 408, and a response is replaced by 504.";
};

fn build(loader: &mut ConfigDraft, build: &mut Build<'_, '_>) -> BuiltAction {
    let mut wait = WaitForBody {
        time_ms: 0,
        bytes: None,
        of_answer: build.set.is_response(),
    };
    let mut timed = false;
    while let Some(word) = build.option() {
        match word.str() {
            "time" => {
                let word = build.args.required("<time>")?;
                wait.time_ms =
                    milliseconds(word.str(), TimeUnit::Milliseconds).map_err(|error| {
                        build.wrong(
                            &load_codes::BAD_TIME,
                            word,
                            format!("'{}' is not a duration: {error}", word.text()),
                            "not a duration",
                        )
                    })?;
                timed = true;
            }
            "at-least" => {
                let bytes = build.args.size("<bytes>")?;
                let bytes_max = loader.config.global.tune.bufsize;
                wait.bytes = Some(usize::try_from(bytes).unwrap_or(usize::MAX).min(bytes_max));
            }
            other => {
                let message = format!("unknown argument '{other}' of 'wait-for-body'");
                return Err(build.wrong(
                    &load_codes::BAD_VALUE,
                    word,
                    message,
                    "expected `time` or `at-least`",
                ));
            }
        }
    }
    if !timed {
        let message = "'wait-for-body' expects 'time'";
        return Err(build.wrong(
            &load_codes::MISSING_ARGUMENT,
            build.word,
            message,
            "the time is missing",
        ));
    }
    Ok(RuleAction::WaitForBody(wait))
}

impl WaitForBody {
    pub(super) fn run(self, stream: &mut ProxyStream) -> ActionResult {
        let bytes = self.bytes.unwrap_or(stream.config.global.tune.bufsize);
        let (complete, there) = if self.of_answer {
            (stream.payloads.response_complete, &stream.payloads.response)
        } else {
            (stream.payloads.request_complete, &stream.payloads.request)
        };
        if complete || there.len() >= bytes {
            return ActionResult::Next;
        }
        ActionResult::End(MessageVerdict::NeedBody {
            bytes,
            time_ms: Some(self.time_ms),
        })
    }
}
