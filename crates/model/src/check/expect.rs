//! Evaluates the response of a server to a health check: matches a pattern against bytes or an
//! HTTP response, and words the result like HAProxy. Nothing is read or sent here.

use super::http::{HttpCheckResponse, Unfinished};
use super::scene::Scene;
use super::unhex;
use crate::compiled::Format;
use crate::sample::regular::Regular;
use crate::script::{
    CheckStep, Code, Expect, Matcher, MessageStyle, Pattern, ReportedText, StatusRange,
};
use crate::state::{CheckResult, CheckStatus};
use std::borrow::Cow;

/// Maximum number of examined bytes of a response.
pub const ANSWER_MAX: usize = 16 * 1024;
/// Maximum length of a check's message, bytes.
pub const INFO_MAX: usize = 127;

pub(crate) enum Filled<'e> {
    Exact(Cow<'e, [u8]>),
    Begin(Cow<'e, [u8]>),
    End(Cow<'e, [u8]>),
    Contains(Cow<'e, [u8]>),
    Regex(&'e Regular),
}

impl Matcher {
    fn fill<'e>(&'e self, scene: &mut Scene<'_>, lower: bool) -> Filled<'e> {
        let mut text = |format: &'e Format| match scene.text(format) {
            text if lower => Cow::Owned(text.to_ascii_lowercase()),
            text => text,
        };
        match self {
            Matcher::Exact(want) => Filled::Exact(text(want)),
            Matcher::Begin(want) => Filled::Begin(text(want)),
            Matcher::End(want) => Filled::End(text(want)),
            Matcher::Contains(want) => Filled::Contains(text(want)),
            Matcher::Regex(want) => Filled::Regex(want),
        }
    }
}

impl Filled<'_> {
    pub fn matches(&self, text: &[u8]) -> bool {
        match self {
            Filled::Exact(want) => text == &**want,
            Filled::Begin(want) => text.starts_with(want),
            Filled::End(want) => text.ends_with(want),
            Filled::Contains(want) => contains(text, want),
            Filled::Regex(want) => want.is_match(text),
        }
    }
}

fn contains(text: &[u8], want: &[u8]) -> bool {
    memchr::memmem::find(text, want).is_some()
}

pub struct ReceivedResponse<'a> {
    pub bytes: &'a [u8],
    /// The connection has ended, or the maximum number of bytes to examine has arrived.
    pub ended: bool,
    /// `http-check disable-on-404`: a server that responds with 404 gets only clients that
    /// persistence sends to it.
    pub(crate) gentle_404: bool,
    /// Message style of the script, which also selects HTTP.
    pub voice: MessageStyle,
}

/// Verdict of an `expect` step on the data received so far.
#[derive(Debug, PartialEq, Eq)]
pub enum Judged {
    Wait,
    Passed(CheckResult),
    /// The response decides the check, so that the remaining steps are skipped.
    Decided(CheckResult),
    Failed(CheckResult),
}

impl Expect {
    pub fn judge(
        &self,
        step: &CheckStep,
        answer: &ReceivedResponse<'_>,
        scene: &mut Scene<'_>,
    ) -> Judged {
        if answer.voice == MessageStyle::Http {
            return self.judge_http(step, answer, scene);
        }
        if answer.bytes.is_empty() {
            if !answer.ended {
                return Judged::Wait;
            }
            let text = format!("TCPCHK got an empty response at step {}", step.number);
            let told = with_quoted_comment(text.into_bytes(), step);
            return Judged::Failed(self.failure(told, 0));
        }
        if let Pattern::Dialogue(dialogue) = &self.pattern {
            return dialogue.judge(answer.bytes, answer.ended);
        }
        match self.found_in(answer.bytes, answer.ended, scene) {
            None => Judged::Wait,
            Some(Err(told)) => Judged::Failed(self.failure(
                format!("TCPCHK {told} at step {}", step.number).into_bytes(),
                0,
            )),
            Some(Ok(true)) => Judged::Passed(self.success_of(answer, 0, scene)),
            Some(Ok(false)) => {
                let words = self.mismatch();
                let told = format!("TCPCHK {words} at step {}", step.number).into_bytes();
                let told = self.error_text(answer, told, step, scene);
                let code = self.code(answer.bytes, 0, scene);
                Judged::Failed(self.failure(told, code))
            }
        }
    }

    /// Returns whether the bytes match the pattern, negation included. Returns None if more bytes
    /// are needed, and an error message if the expected bytes cannot be built.
    fn found_in(
        &self,
        bytes: &[u8],
        ended: bool,
        scene: &mut Scene<'_>,
    ) -> Option<Result<bool, &'static str>> {
        let want = match &self.pattern {
            Pattern::Text(want) | Pattern::Binary(want) => Some(Cow::Borrowed(&**want)),
            Pattern::TextFormat(format) => Some(scene.text(format)),
            Pattern::BinaryFormat(format) => match unhex(&scene.text(format)) {
                Some(bytes) => Some(Cow::Owned(bytes)),
                None => return Some(Err("could not build the expected bytes")),
            },
            _ => None,
        };
        let least = match (&want, self.min_recv) {
            (Some(want), Some(0) | None) => want.len(),
            (Some(want), Some(least)) => want.len().min(least),
            (None, least) => least.unwrap_or(0),
        };
        if !ended && bytes.len() < least {
            return None;
        }
        let found = match (&self.pattern, &want) {
            (_, Some(want)) => contains(bytes, want),
            (Pattern::Regex(regex), _) => regex.is_match(bytes),
            (Pattern::BinaryRegex(regex), _) => {
                regex.is_match(tls::describe::hex(bytes, true).as_bytes())
            }
            _ => false,
        };
        if !found && !ended && self.min_recv.is_none() {
            return None;
        }
        Some(Ok(found != self.negated))
    }

    fn judge_http(
        &self,
        step: &CheckStep,
        answer: &ReceivedResponse<'_>,
        scene: &mut Scene<'_>,
    ) -> Judged {
        let invalid = || Judged::Failed(CheckResult::new(CheckStatus::Layer7Invalid, 0));
        let head = match HttpCheckResponse::parse(answer.bytes, answer.ended) {
            Ok(head) => head,
            Err(Unfinished::Wait) => return Judged::Wait,
            Err(Unfinished::Never) => return invalid(),
        };
        if head.code == 404 && answer.gentle_404 {
            let result = CheckResult::new(CheckStatus::Layer7OkConditional, 0).code(404);
            return Judged::Decided(result);
        }
        let all = answer.ended || head.body_is_whole;
        let (found, on_body) = match &self.pattern {
            Pattern::Status(ranges) => {
                let within = |range: &StatusRange| (range.first..=range.last).contains(&head.code);
                (ranges.iter().any(within) != self.negated, false)
            }
            Pattern::StatusText(regex) => {
                let text = format!("{:03}", head.code);
                (regex.is_match(text.as_bytes()) != self.negated, false)
            }
            Pattern::Header { name, value, full } => {
                let name = name.fill(scene, true);
                let value = value.as_ref().map(|value| value.fill(scene, false));
                let found = head.has_field(&name, value.as_ref(), *full);
                (found != self.negated, false)
            }
            // Matches the pattern against the body. A body whose expected bytes cannot be built
            // counts as a mismatch.
            _ => match self.found_in(&head.body, all, scene) {
                None => return Judged::Wait,
                Some(found) => (found == Ok(true), true),
            },
        };
        if found {
            let result = self.success_of(answer, head.code, scene);
            return Judged::Passed(result);
        }
        let status = if on_body {
            CheckStatus::Layer7Invalid
        } else {
            CheckStatus::Layer7Status
        };
        let words = match (on_body, self.negated) {
            (false, _) => head.reason.clone(),
            (true, true) => b"HTTP check matched unwanted content".to_vec(),
            (true, false) => b"HTTP content check did not match".to_vec(),
        };
        let told = self.error_text(answer, words, step, scene);
        let code = self.code(answer.bytes, head.code, scene);
        let status = self.error_status.unwrap_or(status);
        Judged::Failed(CheckResult::new(status, 0).code(code).info(text_of(&told)))
    }

    fn mismatch(&self) -> String {
        let what = match &self.pattern {
            Pattern::Text(text) => format!("'{}'", String::from_utf8_lossy(text)),
            Pattern::Binary(_) => "(binary)".to_owned(),
            Pattern::Regex(_) => "(regex)".to_owned(),
            Pattern::BinaryRegex(_) => "(binary regex)".to_owned(),
            Pattern::TextFormat(_) => "(log-format string)".to_owned(),
            Pattern::BinaryFormat(_) => "(log-format binary)".to_owned(),
            _ => String::new(),
        };
        if self.negated {
            format!("matched unwanted content {what}")
        } else {
            format!("did not match content {what}")
        }
    }

    pub fn name(&self) -> String {
        match &self.pattern {
            Pattern::Text(text) => format!("expect string '{}'", String::from_utf8_lossy(text)),
            Pattern::Binary(bytes) => {
                format!("expect binary '{}'", String::from_utf8_lossy(bytes))
            }
            Pattern::Regex(_) => "expect regex".to_owned(),
            Pattern::BinaryRegex(_) => "expect binary regex".to_owned(),
            Pattern::TextFormat(_) => "expect log-format string".to_owned(),
            Pattern::BinaryFormat(_) => "expect log-format binary".to_owned(),
            _ => "expect".to_owned(),
        }
    }

    fn success_of(
        &self,
        answer: &ReceivedResponse<'_>,
        code: u16,
        scene: &mut Scene<'_>,
    ) -> CheckResult {
        let code = self.code(answer.bytes, code, scene);
        let told = match &self.on_success {
            Some(told) => told.fill(answer.bytes, scene),
            None if answer.voice == MessageStyle::Steps => b"(tcp-check)".to_vec(),
            None => Vec::new(),
        };
        let status = self.ok_status.unwrap_or(CheckStatus::Layer7Ok);
        CheckResult::new(status, 0).code(code).info(text_of(&told))
    }

    fn error_text(
        &self,
        answer: &ReceivedResponse<'_>,
        words: Vec<u8>,
        step: &CheckStep,
        scene: &mut Scene<'_>,
    ) -> Vec<u8> {
        let mut told = match &self.on_error {
            Some(told) => told.fill(answer.bytes, scene),
            None => words,
        };
        if let Some(comment) = &step.comment {
            told.extend_from_slice(b" comment: ");
            told.extend_from_slice(comment);
        }
        told
    }

    fn failure(&self, told: Vec<u8>, code: u16) -> CheckResult {
        let status = self.error_status.unwrap_or(CheckStatus::Layer7Invalid);
        CheckResult::new(status, 0).code(code).info(text_of(&told))
    }

    fn code(&self, bytes: &[u8], otherwise: u16, scene: &mut Scene<'_>) -> u16 {
        match &self.code {
            None => otherwise,
            Some(Code::Expression(expression)) => scene
                .number(expression)
                .map_or(otherwise, |code| code.clamp(0, u16::MAX.into()) as u16),
            Some(Code::Digits) => bytes
                .get(..3)
                .and_then(|digits| std::str::from_utf8(digits).ok())
                .and_then(|digits| digits.parse().ok())
                .unwrap_or(otherwise),
        }
    }
}

impl ReportedText {
    fn fill(&self, bytes: &[u8], scene: &mut Scene<'_>) -> Vec<u8> {
        match self {
            ReportedText::Format(format) => scene.text(format).into_owned(),
            ReportedText::Text(text) => text.as_bytes().to_vec(),
            ReportedText::Line(from) => {
                let rest = bytes.get(*from..).unwrap_or_default();
                let line = rest.split(|byte| b"\r\n".contains(byte)).next();
                line.unwrap_or_default().trim_ascii_start().to_vec()
            }
            ReportedText::Text0(from) => {
                let rest = bytes.get(*from..).unwrap_or_default();
                rest.split(|byte| *byte == 0)
                    .next()
                    .unwrap_or_default()
                    .to_vec()
            }
        }
    }
}

/// Converts a text for messages and truncates it to [`INFO_MAX`] bytes.
pub fn text_of(text: &[u8]) -> Cow<'static, str> {
    let text = &text[..text.len().min(INFO_MAX)];
    String::from_utf8_lossy(text).into_owned().into()
}

pub(crate) fn with_quoted_comment(mut text: Vec<u8>, step: &CheckStep) -> Vec<u8> {
    if let Some(comment) = &step.comment {
        text.extend_from_slice(b" comment: '");
        text.extend_from_slice(comment);
        text.push(b'\'');
    }
    text
}
