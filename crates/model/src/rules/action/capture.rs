//! Captures values for logs: the action `capture`, and the lines `capture … header` and `capture
//! cookie`. The action uses a slot of a `declare capture` line, or allocates its own.

use super::{ActionResult, ActionRow, Build, BuiltAction, RuleAction, codes, places};
use crate::codes as load_codes;
use crate::compiled::action::capture::{CaptureSlot, CaptureValue};
use crate::config::{Capture, ProxyKind};
use crate::rules::draft::ConfigDraft;
use crate::transaction::ProxyStream;
use language::Diagnostic;

/// Maximum length of a captured value, in bytes.
pub const CAPTURE_BYTES_MAX: i64 = 65_535;
/// Maximum number of capture slots of a frontend, for requests and for responses each.
pub const CAPTURE_SLOTS_MAX: usize = 1024;

pub(super) static ROWS: &[ActionRow] = language::rows! {
    "capture <expr> { len <length> | id <slot> }" &[places::CONTENT, places::REQUEST, places::RESPONSE, places::AFTER],
        build,
        "declare capture request len 64\ndeclare capture response len 64\ncapture src id 0",
        "Captures a value for the log (`%hr`, `%hs`, `capture.req.hdr`). `len` creates a new slot after those declared \
         above; `id` uses a slot from `declare capture`. Rules for responses, and those of backends, need `id`.";
};

fn build(loader: &mut ConfigDraft, build: &mut Build<'_, '_>) -> BuiltAction {
    let expression = build.expression(loader)?;
    let response = build.set.is_response();
    let kind = loader.proxy().kind;
    let word = build.args.required("'len' or 'id'")?;
    let slot = match word.str() {
        "len" if !response && kind != ProxyKind::Backend => {
            let length = build.args.integer("<length>", 1..=CAPTURE_BYTES_MAX)?;
            let slots = &mut loader.proxy().captures.request;
            if slots.len() >= CAPTURE_SLOTS_MAX {
                let message = format!("more than {CAPTURE_SLOTS_MAX} captures");
                return Err(build.wrong(&load_codes::OUT_OF_RANGE, word, message, "one too many"));
            }
            slots.push(Capture {
                header: None,
                length_max: usize::try_from(length).unwrap_or_default(),
            });
            CaptureSlot::Own(slots.len() - 1)
        }
        "id" => {
            let span = build.args.peek().map(|word| word.span);
            let id = usize::try_from(build.args.integer("<slot>", 0..=CAPTURE_BYTES_MAX)?)
                .unwrap_or_default();
            let captures = &loader.proxy().captures;
            let slots = if response {
                captures.response.len()
            } else {
                captures.request.len()
            };
            if kind.is_frontend() && id >= slots {
                let span = span.unwrap_or(word.span);
                return Err(Diagnostic::error(&codes::UNKNOWN_CAPTURE, span, format!("unable to find capture id '{id}'"))
                        .label(format!("{slots} slots are declared above"))
                        .help("write `declare capture request len 64` (or `response`) above it, in the frontend"));
            }
            CaptureSlot::Numbered(id)
        }
        "len" => {
            return Err(build.wrong(
                &load_codes::BAD_VALUE,
                word,
                "'capture' needs 'id' here, because slots belong to frontends and requests",
                "not allowed here",
            ));
        }
        _ => {
            let message = format!("'capture' expects 'len' or 'id', not '{}'", word.text());
            return Err(build.wrong(&load_codes::BAD_VALUE, word, message, "unknown word"));
        }
    };
    let both = build
        .args
        .peek()
        .filter(|next| next.is("len") || next.is("id"));
    if let Some(next) = both {
        let message = "'len' makes a slot and 'id' names one: 'capture' takes one of them";
        return Err(build.wrong(&load_codes::BAD_VALUE, next, message, "one too many"));
    }
    Ok(RuleAction::Capture(Box::new(CaptureValue {
        expression,
        response,
        slot,
    })))
}

impl CaptureValue {
    pub(super) fn may_change(&self, stream: &ProxyStream) -> bool {
        self.expression.may_change(stream)
    }

    pub(super) fn run(&self, stream: &mut ProxyStream) -> ActionResult {
        let (CaptureSlot::Own(slot) | CaptureSlot::Numbered(slot)) = self.slot;
        let captures = &stream.frontend().captures;
        let slots = if self.response {
            &captures.response
        } else {
            &captures.request
        };
        // Ignores a slot that this frontend does not have; a backend's rule may name one.
        let (Some(length_max), count) = (slots.get(slot).map(|s| s.length_max), slots.len()) else {
            return ActionResult::Next;
        };
        let Some(mut value) = self
            .expression
            .evaluate(stream)
            .map(|value| value.into_text().into_owned())
        else {
            return ActionResult::Next;
        };
        value.truncate(length_max);
        let kept = if self.response {
            &mut stream.log.captured_response
        } else {
            &mut stream.log.captured_request
        };
        kept.resize(count, None);
        kept[slot] = Some(value);
        ActionResult::Next
    }
}

/// Captures the cookie that `capture cookie` names, as `name=value`.
fn cookie(stream: &mut ProxyStream, response: bool) {
    let config = stream.config.clone();
    let Some(wanted) = &config.proxy(stream.route.frontend).capture_cookie else {
        return;
    };
    let begins = |(name, value): (&[u8], &[u8])| {
        let pair = [name, b"=", value].concat();
        pair.starts_with(&wanted.begin).then_some(pair)
    };
    let found = if response {
        let mut cookies = stream.response.fields().response_cookies(None);
        cookies.find_map(begins)
    } else {
        let mut cookies = stream.request.fields().request_cookies(None);
        cookies.find_map(begins)
    };
    let Some(mut pair) = found else { return };
    pair.truncate(wanted.length_max);
    stream.rules.lines.get_or_insert_default().cookies[usize::from(response)] = Some(pair);
}

/// Captures the headers that `capture … header` lines name, and the cookie of `capture cookie`.
pub(in crate::rules) fn headers(stream: &mut ProxyStream, response: bool) {
    if stream.frontend().capture_cookie.is_some() {
        cookie(stream, response);
    }
    let captures = &stream.frontend().captures;
    let slots = if response {
        &captures.response
    } else {
        &captures.request
    };
    if slots.is_empty() {
        return;
    }
    let message = if response {
        &stream.response
    } else {
        &stream.request
    };
    let values: Vec<Option<Vec<u8>>> = slots
        .iter()
        .map(|slot| {
            let lines = message.fields().get_all(slot.header.as_deref()?);
            let value = lines.last()?;
            Some(value[..value.len().min(slot.length_max)].to_vec())
        })
        .collect();
    let kept = if response {
        &mut stream.log.captured_response
    } else {
        &mut stream.log.captured_request
    };
    *kept = values;
}
