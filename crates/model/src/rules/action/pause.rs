//! Implements the action `pause`, which delays a request before its rules continue.

use super::{ActionResult, ActionRow, Build, BuiltAction, RuleAction, places};
use crate::codes as load_codes;
use crate::compiled::Expression;
use crate::compiled::action::pause::Pause;
use crate::rules::draft::ConfigDraft;
use crate::transaction::{Applied, ProxyStream, Wait};
use language::value::{TimeUnit, milliseconds};
use std::time::Duration;

pub(super) static ROWS: &[ActionRow] = language::rows! {
    "pause { <time> | <expr> }" &[places::REQUEST], build, "pause 500ms if { src 192.0.2.0/24 }",
        "Delays the request, then evaluates the next rule. Use it to slow down clients with too many requests. An \
         expression returns milliseconds; without a value there is no delay. The delay ends if the client disconnects. \
         Each delayed request holds a connection, so use `silent-drop` against attackers.";
};

fn build(loader: &mut ConfigDraft, build: &mut Build<'_, '_>) -> BuiltAction {
    let word = build.args.required("a time or an expression")?;
    let pause = match milliseconds(&word.text(), TimeUnit::Milliseconds) {
        Ok(0) => {
            let message = "the pause must be greater than 0";
            let label = "expected more than 0";
            return Err(build.wrong(&load_codes::BAD_VALUE, word, message, label));
        }
        Ok(ms) => Pause::Fixed(ms),
        Err(_) => Pause::Found(Expression::parse(loader, word, build.usage)?),
    };
    Ok(RuleAction::Pause(Box::new(pause)))
}

impl Pause {
    pub(super) fn run(&self, stream: &mut ProxyStream) -> ActionResult {
        let ms = match self {
            Pause::Fixed(ms) => Some(*ms),
            Pause::Found(expression) => expression
                .evaluate(stream)
                .and_then(|value| value.integer())
                .and_then(|ms| u32::try_from(ms).ok()),
        };
        let Some(ms) = ms.filter(|ms| *ms > 0) else {
            return ActionResult::Next;
        };
        ActionResult::Wait(Wait::new(async move {
            reactor::sleep(Duration::from_millis(ms.into())).await;
            let applied: Applied = Box::new(|_| {});
            applied
        }))
    }
}
