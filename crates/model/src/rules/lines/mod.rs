//! Runs the rules of HAProxy 1.x that treat a message as lines: `reqrep`, `rspidel` and similar
//! ones. The first line is the start line, the others are `Name: value` with the name as
//! received. They run after the `http-request` (or `http-response`) rules of their section, for
//! every request of a connection. Filters run in the order of the file, then headers are added.
//!
//! A message changes only through its own methods, so the result of a rule cannot break its
//! framing. A rule that would do so is refused, and the client gets an error ([`put`]). Headers
//! that frame the body are never changed.

mod build;
mod placing;
mod put;
mod today;

pub use crate::compiled::HeaderNameList;
pub use build::{Direction, addition, blocking, filter};
pub(crate) use placing::Section as OldRules;

use super::action::{count_denied, count_denied_response};
use super::regular::Groups;
use super::run::count_rewrite_failure;
use crate::compiled::Condition;
use crate::compiled::lines::{Effect, LineFilter, LineRules, ReplacementPart};
use crate::config::Reference;
use crate::transaction::{
    MessageVerdict, ProxyStream, RuleMet, StreamPhase, Termination, error_page, trace,
};
use put::{InvalidMessage, Put};

/// Maximum number of filters and of additions in one section for each direction, which bounds the
/// work for a message.
pub const LINE_RULES_MAX: usize = 1000;

impl LineRules {
    pub fn is_empty(&self) -> bool {
        self.filters.is_empty() && self.additions.is_empty()
    }

    /// Returns the references to backends in `reqsetbe` rules.
    pub fn references(&mut self) -> impl Iterator<Item = &mut Reference> {
        self.filters
            .iter_mut()
            .filter_map(|filter| match &mut filter.effect {
                Effect::Switch(reference) => Some(reference),
                _ => None,
            })
    }
}

enum Decision {
    Allowed,
    Denied,
    Tarpitted,
}

impl Decision {
    fn name(&self) -> &'static str {
        match self {
            Decision::Allowed => "allow",
            Decision::Denied => "deny",
            Decision::Tarpitted => "tarpit",
        }
    }
}

/// State of one pass over the filters of a section.
#[derive(Default)]
struct Pass {
    allowed: bool,
    /// True if later filters skip the start line; `passed` has the same for each header.
    start_passed: bool,
    passed: Vec<bool>,
    /// Line that the filters are matched with.
    line: Vec<u8>,
    made: Vec<u8>,
}

/// Runs the rules of a section on the request; None continues.
pub(super) fn request(stream: &mut ProxyStream, rules: &LineRules) -> Option<MessageVerdict> {
    let names_user = stream.request.get(b"authorization").is_some()
        || stream.request.get(b"proxy-authorization").is_some();
    if names_user && let Some(verdict) = verify(stream, rules) {
        return Some(verdict);
    }
    match filter_all(stream, rules, false) {
        Ok(None | Some(Decision::Allowed)) => {}
        Ok(Some(decision)) => return Some(refuse_request(stream, decision)),
        Err(broken) => return Some(broken_message(stream, broken, false)),
    }
    add_all(stream, rules, false);
    None
}

/// Runs the rules of a section on the response; None continues.
pub(super) fn response(stream: &mut ProxyStream, rules: &LineRules) -> Option<MessageVerdict> {
    match filter_all(stream, rules, true) {
        Ok(None | Some(Decision::Allowed)) => {}
        Ok(Some(_)) => {
            stream.outcome.end(Termination::Proxy, StreamPhase::Headers);
            count_denied_response(stream);
            return Some(MessageVerdict::Answer(Box::new(error_page(stream, 502))));
        }
        Err(broken) => return Some(broken_message(stream, broken, true)),
    }
    add_all(stream, rules, true);
    None
}

/// Verifies the users that conditions refer to before any line is changed. The rules run again
/// after the verification, and must not repeat a change.
#[cold]
fn verify(stream: &mut ProxyStream, rules: &LineRules) -> Option<MessageVerdict> {
    let filters = rules.filters.iter().map(|filter| &filter.condition);
    let additions = rules.additions.iter().map(|addition| &addition.condition);
    for condition in filters.chain(additions).flatten() {
        condition.test(stream);
        if let Some(verdict) = crate::users::unanswered(stream) {
            return Some(verdict);
        }
    }
    None
}

fn refuse_request(stream: &mut ProxyStream, decision: Decision) -> MessageVerdict {
    stream.outcome.termination = Termination::Proxy;
    count_denied(stream);
    if matches!(decision, Decision::Tarpitted) {
        stream.outcome.phase = StreamPhase::Tarpit;
        return MessageVerdict::Tarpit(Box::new(error_page(stream, 500)));
    }
    stream.outcome.phase = StreamPhase::Request;
    MessageVerdict::Answer(Box::new(error_page(stream, 403)))
}

/// Ends the stream, because a rule would have broken the message. The message is not sent.
fn broken_message(stream: &mut ProxyStream, _: InvalidMessage, response: bool) -> MessageVerdict {
    count_rewrite_failure(stream);
    stream.outcome.termination = Termination::Proxy;
    stream.outcome.phase = if response {
        StreamPhase::Headers
    } else {
        StreamPhase::Request
    };
    let status = if response { 502 } else { 400 };
    MessageVerdict::Answer(Box::new(error_page(stream, status)))
}

fn filter_all(
    stream: &mut ProxyStream,
    rules: &LineRules,
    response: bool,
) -> Result<Option<Decision>, InvalidMessage> {
    let mut pass = Pass::default();
    for filter in &rules.filters {
        if pass.allowed && filter.effect.judges() {
            continue;
        }
        if !holds(filter.condition.as_ref(), stream) {
            continue;
        }
        let before = stream.session.is_traced().then(|| head(stream, response));
        let decision = filter.run(stream, &mut pass, response)?;
        if before.is_some_and(|before| decision.is_some() || before != head(stream, response)) {
            let ends = matches!(decision, Some(Decision::Denied | Decision::Tarpitted));
            let span = filter.span;
            stream
                .session
                .note(|| trace::TraceStep::Rule { span, ends });
        }
        if let Some(decision) = &decision {
            stream.decide_by_rule(RuleMet {
                file: filter.span.file.0,
                line: stream.config.line_of(filter.span).unwrap_or_default(),
                words: ["filter of lines", decision.name()],
                ends: !matches!(decision, Decision::Allowed),
            });
        }
        match decision {
            Some(Decision::Allowed) => pass.allowed = true,
            None => {}
            refused => return Ok(refused),
        }
    }
    Ok(None)
}

/// Returns the head of a message, to detect whether a filter changes it.
#[cold]
fn head(stream: &ProxyStream, response: bool) -> Vec<u8> {
    let mut head = Vec::new();
    if response {
        stream.response.write_http1(&mut head)
    } else {
        stream.request.write_http1(&mut head)
    }
    head
}

fn holds(condition: Option<&Condition>, stream: &ProxyStream) -> bool {
    condition.is_none_or(|condition| condition.test(stream))
}

fn add_all(stream: &mut ProxyStream, rules: &LineRules, response: bool) {
    for addition in &rules.additions {
        if !holds(addition.condition.as_ref(), stream) {
            continue;
        }
        let message = if response {
            &mut stream.response
        } else {
            &mut stream.request
        };
        if message.add(&addition.name, &addition.value).is_err() {
            count_rewrite_failure(stream);
        } else {
            names(stream, response).add(&addition.name);
        }
    }
}

fn names(stream: &mut ProxyStream, response: bool) -> &mut HeaderNameList {
    let state = stream.rules.lines.get_or_insert_default();
    if response {
        &mut state.response
    } else {
        &mut state.request
    }
}

impl Effect {
    /// Returns whether the filter decides about the message, which an earlier `allow` prevents.
    fn judges(&self) -> bool {
        matches!(
            self,
            Effect::Allow | Effect::Deny | Effect::Tarpit | Effect::Pass
        )
    }
}

impl LineFilter {
    fn run(
        &self,
        stream: &mut ProxyStream,
        pass: &mut Pass,
        response: bool,
    ) -> Result<Option<Decision>, InvalidMessage> {
        if self.only.is_none() && !pass.start_passed {
            put::start_line(stream, response, &mut pass.line);
            if let Some(groups) = self.groups(&pass.line)? {
                match &self.effect {
                    // Ignores the deletion of the start line, which a message must have.
                    Effect::Delete => {}
                    Effect::Pass => pass.start_passed = true,
                    Effect::Replace(pieces) => {
                        fill(pieces, &pass.line, &groups, &mut pass.made);
                        let (first, more) = first_line(&pass.made);
                        put::replace_start(stream, response, first)?;
                        put::add_headers(stream, response, more)?;
                        return Ok(None);
                    }
                    effect => return Ok(decide(effect, stream)),
                }
            }
        }
        self.headers(stream, pass, response)
    }

    fn headers(
        &self,
        stream: &mut ProxyStream,
        pass: &mut Pass,
        response: bool,
    ) -> Result<Option<Decision>, InvalidMessage> {
        let mut at = 0;
        let mut received = 0;
        // Ends before the headers that a rule moves to the end, because they were already
        // processed.
        let mut end = fields_count(stream, response);
        while self.next_line(stream, pass, response, &mut at, end, &mut received) {
            let Some(groups) = self.groups(&pass.line)? else {
                at += 1;
                continue;
            };
            match &self.effect {
                Effect::Delete => {
                    if put::remove(stream, response, at) == Put::Removed {
                        removed(&mut pass.passed, at);
                        end -= 1;
                        continue;
                    }
                }
                Effect::Replace(pieces) => {
                    fill(pieces, &pass.line, &groups, &mut pass.made);
                    let (first, more) = first_line(&pass.made);
                    let replaced = put::replace_header(stream, response, at, first)?;
                    put::add_headers(stream, response, more)?;
                    match replaced {
                        Put::Removed => {
                            removed(&mut pass.passed, at);
                            end -= 1;
                            continue;
                        }
                        Put::Kept => count_rewrite_failure(stream),
                        Put::Done => {}
                    }
                }
                Effect::Pass => {
                    if pass.passed.len() <= at {
                        pass.passed.resize(at + 1, false);
                    }
                    pass.passed[at] = true;
                }
                effect => return Ok(decide(effect, stream)),
            }
            at += 1;
        }
        Ok(None)
    }

    /// Copies the next line to match, from `at` on and before `end`, into `pass.line`.
    fn next_line(
        &self,
        stream: &ProxyStream,
        pass: &mut Pass,
        response: bool,
        at: &mut usize,
        end: usize,
        received: &mut usize,
    ) -> bool {
        let message = if response {
            &stream.response
        } else {
            &stream.request
        };
        loop {
            let Some((name, value)) = message.fields().at(*at).filter(|_| *at < end) else {
                return false;
            };
            let is_passed = pass.passed.get(*at).is_some_and(|passed| *passed);
            if is_passed || self.only.as_deref().is_some_and(|only| only != name) {
                *at += 1;
                continue;
            }
            let spelled = stream.rules.lines.as_ref().and_then(|state| {
                let names = if response {
                    &state.response
                } else {
                    &state.request
                };
                names.find(name, received)
            });
            pass.line.clear();
            pass.line.extend_from_slice(spelled.unwrap_or(name));
            pass.line.extend_from_slice(b": ");
            pass.line.extend_from_slice(value);
            return true;
        }
    }

    /// Matches a line. Exceeding the step limit is an error and not a mismatch; otherwise a client
    /// could bypass a filter that denies.
    fn groups(&self, line: &[u8]) -> Result<Option<Groups>, InvalidMessage> {
        self.regular.find(line).map_err(|_| InvalidMessage)
    }
}

fn fields_count(stream: &ProxyStream, response: bool) -> usize {
    let message = if response {
        &stream.response
    } else {
        &stream.request
    };
    message.fields().len()
}

fn removed(passed: &mut Vec<bool>, at: usize) {
    if at < passed.len() {
        passed.remove(at);
    }
}

/// Applies the effect of a filter with a matching line to the whole message.
fn decide(effect: &Effect, stream: &mut ProxyStream) -> Option<Decision> {
    match effect {
        Effect::Allow => Some(Decision::Allowed),
        Effect::Deny => Some(Decision::Denied),
        Effect::Tarpit => Some(Decision::Tarpitted),
        Effect::Switch(reference) => {
            let state = stream.rules.lines.get_or_insert_default();
            // Keeps the backend of the first matching `reqsetbe`.
            state.switched = state.switched.or(reference.index);
            None
        }
        Effect::Replace(_) | Effect::Delete | Effect::Pass => None,
    }
}

/// Splits a replacement into its line, and the headers after further line ends.
fn first_line(made: &[u8]) -> (&[u8], &[u8]) {
    let Some(end) = memchr::memchr(b'\n', made) else {
        return (made, &[]);
    };
    let first = &made[..end];
    (first.strip_suffix(b"\r").unwrap_or(first), &made[end + 1..])
}

/// Appends the replacement with the groups of the match inserted.
fn fill(pieces: &[ReplacementPart], line: &[u8], groups: &Groups, out: &mut Vec<u8>) {
    out.clear();
    for piece in pieces {
        match piece {
            ReplacementPart::Text(text) => out.extend_from_slice(text),
            ReplacementPart::Group(n) => {
                let group = groups.get(usize::from(*n)).copied().flatten();
                if let Some(text) = group.and_then(|(start, end)| line.get(start..end)) {
                    out.extend_from_slice(text);
                }
            }
        }
    }
}
