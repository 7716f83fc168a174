//! Evaluates lists of rules in order, until one of them ends its list. Also generates the unique ID
//! of a stream, and the response for `monitor-uri`. The code that serves streams calls these
//! functions and acts on the results; they touch no socket.

use super::action::{ActionResult, capture_headers, count_denied};
use super::condition::TestResult;
use super::lines;
use super::variables::Scope;
use crate::compiled::action::{HttpRule, Rule, TcpRule};
use crate::config::{Proxy, ProxyOption, Rare};
use crate::state::Tally;
use crate::thread::new_stream;
use crate::transaction::{
    ContentVerdict, Gate, List, MessageVerdict, Overrides, ProxyResponse, ProxyStream, Session,
    StreamPhase, Termination, error_page, trace,
};
use crate::{thread, users};
use std::rc::Rc;

enum Outcomes {
    /// The list ended, or a rule ended it without a verdict (`accept`, `allow`).
    Passed,
    Verdict(MessageVerdict),
    /// A rule needs something or waits. The evaluation then continues at the rule with this index.
    Suspended(MessageVerdict, u32),
    Gate(Gate),
    /// More bytes are needed. The evaluation then continues at the rule with this index: the first
    /// rule if a condition waits, so that the rules before it see the bytes, too.
    Wait(u32),
}

/// Treatment of data that has not arrived yet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Patience {
    /// Unknown results count as false.
    Now,
    /// Conditions may wait for more bytes.
    Waits,
    /// Has the effect of [`Patience::Now`], for a list that may have waited before.
    Ends,
}

fn evaluate<'r>(
    rules: impl Iterator<Item = &'r Rule>,
    stream: &mut ProxyStream,
    patience: Patience,
    from: u32,
) -> Outcomes {
    for (at, rule) in rules.enumerate().skip(from as usize) {
        stream.apply_pending();
        if let Some(condition) = &rule.condition {
            match condition.run(stream) {
                TestResult::Pass => {}
                TestResult::Miss if patience == Patience::Waits => return Outcomes::Wait(0),
                TestResult::Miss | TestResult::Fail => {
                    if let Some(outcome) = again(stream, at) {
                        return outcome;
                    }
                    continue;
                }
            }
            if let Some(outcome) = again(stream, at) {
                return outcome;
            }
        }
        if patience == Patience::Waits && rule.action.may_change(stream) {
            return Outcomes::Wait(at as u32);
        }
        if patience != Patience::Now {
            if stream.rules.is_done(at as u32) {
                continue;
            }
            if rule.action.happens_once() {
                stream.rules.overrides_mut().done_once.push(at as u32);
            }
        }
        let step = rule.action.run(stream);
        if stream.config.global.requests_kept() > 0 || stream.session.is_traced() {
            note(stream, rule, &step);
        }
        match step {
            ActionResult::Next => {}
            ActionResult::Accept => {
                stream.keep_rule(rule.place());
                return Outcomes::Passed;
            }
            ActionResult::End(verdict @ MessageVerdict::NeedBody { .. }) => {
                return Outcomes::Suspended(verdict, at as u32 + 1);
            }
            ActionResult::End(verdict) => {
                stream.keep_rule(rule.place());
                return Outcomes::Verdict(verdict);
            }
            ActionResult::Wait(wait) => {
                return Outcomes::Suspended(MessageVerdict::Wait(wait), at as u32 + 1);
            }
            ActionResult::Closed(gate) => {
                stream.keep_rule(rule.place());
                return Outcomes::Gate(gate);
            }
            ActionResult::Failed => {
                count_rewrite_failure(stream);
                if !stream.rules.lenient {
                    stream.keep_rule(rule.place());
                    return Outcomes::Verdict(MessageVerdict::Answer(Box::new(broken(stream))));
                }
            }
        }
    }
    Outcomes::Passed
}

/// Records that a rule took effect, for the history of requests and for a trace.
fn note(stream: &mut ProxyStream, rule: &Rule, step: &ActionResult) {
    let ends = match step {
        ActionResult::Next
        | ActionResult::Wait(_)
        | ActionResult::End(MessageVerdict::NeedBody { .. }) => false,
        ActionResult::Failed => !stream.rules.lenient,
        ActionResult::Accept | ActionResult::End(_) | ActionResult::Closed(_) => true,
    };
    let met = rule.met(stream, ends);
    stream.decide_by_rule(met);
    let span = rule.span;
    stream
        .session
        .note(|| trace::TraceStep::Rule { span, ends });
}

/// Verifies a user whom a rule referred to before the password was checked. The same rule is then
/// evaluated again.
#[inline]
fn again(stream: &mut ProxyStream, at: usize) -> Option<Outcomes> {
    // Returns at once for the many streams whose rules refer to no users.
    stream.rules.checked_users.get()?;
    if stream.times.connected.is_some() || stream.response.status() != 0 {
        // Continues with the rules of a response, which cannot wait for the verification: a user
        // who is not verified yet counts as unknown.
        return None;
    }
    Some(match users::unanswered(stream)? {
        verdict @ MessageVerdict::Wait(_) => Outcomes::Suspended(verdict, at as u32),
        refusal => Outcomes::Verdict(refusal),
    })
}

/// Counts a message that could not be changed as required (`failed rewrites` of the statistics).
pub fn count_rewrite_failure(stream: &ProxyStream) {
    stream
        .frontend()
        .state
        .count_frontend(Tally::RewriteFailures);
    if let Some(backend) = stream.backend() {
        backend.state.count_backend(Tally::RewriteFailures);
    }
}

/// Returns the response for a message that cannot be changed as a rule requires.
fn broken(stream: &mut ProxyStream) -> ProxyResponse {
    stream.outcome.termination = Termination::Proxy;
    stream.outcome.phase = if stream.response.status() == 0 {
        StreamPhase::Request
    } else {
        StreamPhase::Headers
    };
    error_page(stream, 500)
}

/// Evaluates rules of a connection on a temporary stream, because the connection carries none yet.
/// Returns the decision, and the settings that the rules changed.
fn connection(
    session: &Rc<Session>,
    rules: fn(&Proxy) -> &[TcpRule],
) -> (Gate, Option<Box<Overrides>>) {
    let frontend = session.frontend();
    if rules(frontend).is_empty() {
        return (Gate::Open, None);
    }
    let mut stream = new_stream(session.clone(), false);
    let gate = connection_stream(&mut stream, rules(frontend));
    if stream.links.source.is_some() || stream.links.destination.is_some() {
        let old = session.rewritten();
        session.rewrite((
            stream.links.source.or(old.0),
            stream.links.destination.or(old.1),
        ));
    }
    // Moves the settings out of the stream, because the caller applies them to the connection
    // itself.
    let overrides = stream.rules.overrides.take();
    if let Some(thread) = thread::running() {
        thread.keep_stream(stream);
    }
    (gate, overrides)
}

/// Evaluates connection rules on an existing stream of the connection.
pub fn connection_stream(stream: &mut ProxyStream, rules: &[TcpRule]) -> Gate {
    match evaluate(rules.iter().map(TcpRule::rule), stream, Patience::Now, 0) {
        Outcomes::Gate(gate) => gate,
        Outcomes::Passed | Outcomes::Verdict(_) | Outcomes::Suspended(..) | Outcomes::Wait(_) => {
            Gate::Open
        }
    }
}

/// Evaluates the rules of `tcp-request connection`. Also returns the settings that they change for
/// the connection.
pub fn tcp_connection(session: &Rc<Session>) -> (Gate, Option<Box<Overrides>>) {
    connection(session, |proxy| &proxy.tcp_connection)
}

/// Evaluates the rules of `tcp-request session`. Also returns the settings that they change for
/// the connection.
pub fn tcp_session(session: &Rc<Session>) -> (Gate, Option<Box<Overrides>>) {
    connection(session, |proxy| &proxy.tcp_session)
}

/// Evaluates the rules of `tcp-request content`.
pub fn tcp_content(stream: &mut ProxyStream, in_backend: bool) -> ContentVerdict {
    let from = stream.rules.resume.take().map_or(0, |resume| resume.rule);
    let config = stream.config.clone();
    let index = if in_backend {
        stream.route.backend.unwrap_or(stream.route.frontend)
    } else {
        stream.route.frontend
    };
    let rules = &config.proxy(index).tcp_content;
    let patience = if stream.payloads.request_complete {
        Patience::Ends
    } else {
        Patience::Waits
    };
    let rules = rules.iter().map(TcpRule::rule);
    let outcome = evaluate(rules, stream, patience, from);
    if !matches!(outcome, Outcomes::Wait(_) | Outcomes::Suspended(..)) {
        stream.rules.forget_done();
    }
    match outcome {
        Outcomes::Gate(gate) => ContentVerdict::Decided(gate),
        Outcomes::Suspended(MessageVerdict::Wait(wait), at) => {
            stream.rules.resume = Some(List::Content.at(at));
            ContentVerdict::Wait(wait)
        }
        // Rejects the connection: a client without HTTP cannot receive a response.
        Outcomes::Verdict(MessageVerdict::Answer(_)) => ContentVerdict::Decided(Gate::Reject),
        Outcomes::Passed | Outcomes::Verdict(_) | Outcomes::Suspended(..) => {
            ContentVerdict::Decided(Gate::Open)
        }
        Outcomes::Wait(at) => {
            stream.rules.resume = Some(List::Content.at(at));
            ContentVerdict::NeedMore
        }
    }
}

/// Evaluates the rules of `tcp-response content` of the backend; returns None if more bytes of the
/// server are needed.
pub fn tcp_response(stream: &mut ProxyStream) -> Option<Gate> {
    let config = stream.config.clone();
    let rules = &config.proxy(stream.route.backend?).tcp_response;
    let patience = if stream.payloads.response_complete {
        Patience::Ends
    } else {
        Patience::Waits
    };
    // Lets `wait_end` refer to the end of the response instead of the request during this
    // inspection.
    let ended = stream.payloads.response_complete;
    let of_request = std::mem::replace(&mut stream.payloads.request_complete, ended);
    let outcome = evaluate(rules.iter().map(TcpRule::rule), stream, patience, 0);
    stream.payloads.request_complete = of_request;
    if !matches!(outcome, Outcomes::Wait(_)) {
        stream.rules.forget_done();
    }
    match outcome {
        Outcomes::Gate(gate) => Some(gate),
        Outcomes::Passed | Outcomes::Verdict(_) | Outcomes::Suspended(..) => Some(Gate::Open),
        Outcomes::Wait(_) => None,
    }
}

/// Evaluates all rules for a request in the frontend or backend: `tcp-request content`, `block`,
/// `http-request`, the line rules of HAProxy 1.x, then `redirect`.
pub fn http_request(stream: &mut ProxyStream, in_backend: bool) -> MessageVerdict {
    let resume = stream.rules.resume.take();
    if resume.is_none() && !in_backend {
        capture_headers(stream, false);
    }
    let index = if in_backend {
        stream.route.backend.unwrap_or(stream.route.frontend)
    } else {
        stream.route.frontend
    };
    let proxy = stream.config.proxy(index);
    if proxy.http_request.is_empty()
        && proxy.redirects.is_empty()
        && proxy.tcp_content.is_empty()
        && !proxy.has(ProxyOption::HttpBufferRequest)
        && proxy.lines.is_none()
    {
        return MessageVerdict::Continue;
    }
    let config = stream.config.clone();
    let proxy = config.proxy(index);
    if resume.is_none() {
        stream.rules.lenient = false;
        if proxy.has(ProxyOption::HttpBufferRequest) && !stream.payloads.request_complete {
            // Requests the body first, as much as fits into a buffer; the rules are evaluated once
            // that has arrived.
            return MessageVerdict::NeedBody {
                bytes: config.global.tune.bufsize,
                time_ms: None,
            };
        }
    }
    if let Some(from) = List::Content.from(resume)
        && let Some(verdict) = content_of_message(stream, &proxy.tcp_content, from)
    {
        return verdict;
    }
    // Evaluates the rules of `block` from the first one on each time, because they change nothing.
    if List::Block.from(resume).is_some()
        && let Some(lines) = &proxy.lines
        && let Some(verdict) = list(stream, &lines.block, List::Block, 0)
    {
        return verdict;
    }
    if let Some(from) = List::Request.from(resume)
        && let Some(verdict) = list(stream, &proxy.http_request, List::Request, from)
    {
        return verdict;
    }
    if List::Lines.from(resume).is_some()
        && let Some(lines) = &proxy.lines
        && let Some(verdict) = lines::request(stream, &lines.request)
    {
        if matches!(verdict, MessageVerdict::Wait(_)) {
            stream.rules.resume = Some(List::Lines.at(0));
        }
        return verdict;
    }
    let from = List::Redirects.from(resume).unwrap_or_default();
    list(stream, &proxy.redirects, List::Redirects, from).unwrap_or(MessageVerdict::Continue)
}

/// Evaluates one list of request rules. Returns the verdict that ends it, or what it waits for.
fn list(
    stream: &mut ProxyStream,
    rules: &[HttpRule],
    list: List,
    from: u32,
) -> Option<MessageVerdict> {
    let rules = rules.iter().map(HttpRule::rule);
    match evaluate(rules, stream, Patience::Now, from) {
        Outcomes::Suspended(verdict, at) => {
            stream.rules.resume = Some(list.at(at));
            Some(verdict)
        }
        Outcomes::Verdict(verdict) => Some(verdict),
        Outcomes::Passed | Outcomes::Gate(_) | Outcomes::Wait(_) => None,
    }
}

/// Records that the frontend's content rules have already evaluated the bytes of this request, so
/// that [`http_request`] continues after them.
pub fn content_is_judged(stream: &mut ProxyStream) {
    capture_headers(stream, false);
    stream.rules.lenient = false;
    stream.rules.resume = Some(List::Block.at(0));
}

/// Evaluates the rules of `stats http-request`. They change nothing, so they are evaluated from the
/// first one on each time.
pub fn statistics(stream: &mut ProxyStream, rules: &[HttpRule]) -> MessageVerdict {
    let rules = rules.iter().map(HttpRule::rule);
    match evaluate(rules, stream, Patience::Now, 0) {
        Outcomes::Verdict(verdict) | Outcomes::Suspended(verdict, _) => verdict,
        Outcomes::Passed | Outcomes::Gate(_) | Outcomes::Wait(_) => MessageVerdict::Continue,
    }
}

/// Evaluates the rules of `tcp-request content` before those of an HTTP message. The head of the
/// message has arrived, so there is nothing to wait for.
fn content_of_message(
    stream: &mut ProxyStream,
    rules: &[TcpRule],
    from: u32,
) -> Option<MessageVerdict> {
    if rules.is_empty() {
        return None;
    }
    let complete = std::mem::replace(&mut stream.payloads.request_complete, true);
    let rules = rules.iter().map(TcpRule::rule);
    let outcome = evaluate(rules, stream, Patience::Now, from);
    stream.payloads.request_complete = complete;
    let gate = match outcome {
        // Ignores a switch to HTTP, which the stream uses already.
        Outcomes::Gate(Gate::SwitchToHttp(_)) => return None,
        Outcomes::Gate(gate) => gate,
        Outcomes::Suspended(verdict @ MessageVerdict::Wait(_), at) => {
            stream.rules.resume = Some(List::Content.at(at));
            return Some(verdict);
        }
        Outcomes::Verdict(verdict @ MessageVerdict::Answer(_)) => return Some(verdict),
        Outcomes::Passed | Outcomes::Verdict(_) | Outcomes::Suspended(..) | Outcomes::Wait(_) => {
            return None;
        }
    };
    stream.outcome.end(Termination::Proxy, StreamPhase::Request);
    stream.times.request = None;
    count_denied(stream);
    Some(match gate {
        Gate::SilentDrop(ttl) => MessageVerdict::SilentDrop(ttl),
        _ => MessageVerdict::Reject,
    })
}

/// Evaluates the rules of `http-response`: the backend's, then the frontend's, each followed by the
/// response line rules of HAProxy 1.x in the same section.
pub fn http_response(stream: &mut ProxyStream) -> MessageVerdict {
    if stream.rules.resume.is_none() {
        capture_headers(stream, true);
        stream.end_scope(Scope::Request);
    }
    if !stream.route.rare.has(Rare::ANSWER_RULES) {
        return MessageVerdict::Continue;
    }
    let no_lines = |proxy: &Proxy| proxy.lines.is_none();
    if no_lines(stream.frontend()) && stream.backend().is_none_or(no_lines) {
        return run_sides(stream, |proxy| &proxy.http_response, None)
            .unwrap_or(MessageVerdict::Continue);
    }
    run_sides(stream, |proxy| &proxy.http_response, Some(lines::response))
        .unwrap_or(MessageVerdict::Continue)
}

/// Evaluates the rules of `http-after-response`: the backend's, then the frontend's.
pub fn http_after_response(stream: &mut ProxyStream) {
    if !stream.route.rare.has(Rare::AFTER_RULES) {
        return;
    }
    // Ignores the verdict: no action in these rules ends a message, and a failed one is counted.
    let _ = run_sides(stream, |proxy| &proxy.http_after_response, None);
}

/// Function that runs on the response after the rules of each side.
type OverLines = fn(&mut ProxyStream, &crate::compiled::LineRules) -> Option<MessageVerdict>;

fn run_sides(
    stream: &mut ProxyStream,
    rules: fn(&Proxy) -> &[HttpRule],
    over_lines: Option<OverLines>,
) -> Option<MessageVerdict> {
    let nothing =
        rules(stream.frontend()).is_empty() && stream.backend().is_none_or(|b| rules(b).is_empty());
    if nothing && over_lines.is_none() {
        return None;
    }
    let config = stream.config.clone();
    let frontend = stream.route.frontend;
    let backend = stream.route.backend.filter(|backend| *backend != frontend);
    let sides = [(List::Backend, backend), (List::Frontend, Some(frontend))];
    let resume = stream.rules.resume.take();
    if resume.is_none() {
        stream.rules.lenient = false;
    }
    for (list, side) in sides {
        let (Some(from), Some(side)) = (list.from(resume), side) else {
            continue;
        };
        let proxy = config.proxy(side);
        let rules = rules(proxy).iter().map(HttpRule::rule);
        let mut ended = match evaluate(rules, stream, Patience::Now, from) {
            Outcomes::Suspended(verdict, at) => {
                stream.rules.resume = Some(list.at(at));
                return Some(verdict);
            }
            Outcomes::Verdict(verdict) => Some(verdict),
            Outcomes::Passed | Outcomes::Gate(_) | Outcomes::Wait(_) => None,
        };
        if ended.is_none()
            && let (Some(run), Some(lines)) = (over_lines, &proxy.lines)
        {
            ended = run(stream, &lines.response);
        }
        if ended.is_some() {
            // Clears the logged time of the server's response, which is replaced.
            stream.times.response = None;
            return ended;
        }
    }
    None
}

/// Returns the response to a request for `monitor-uri`, which checks that the proxy is alive. The
/// request is not logged.
pub fn monitor(stream: &mut ProxyStream) -> Option<ProxyResponse> {
    let uri = stream.frontend().monitor_uri.as_deref()?;
    let request = &stream.request;
    // Compares a configured path with the path of the request, in each form of target that the
    // client may use.
    let asked = if uri.starts_with(b"/") || request.is_target_composed() {
        request.path_and_query()
    } else {
        request.target()
    };
    if asked != uri {
        return None;
    }
    let fails = stream
        .frontend()
        .monitor_fail
        .iter()
        .any(|condition| condition.test(stream));
    stream.log.level = Some(None);
    Some(error_page(stream, if fails { 503 } else { 200 }))
}

impl ProxyStream {
    /// Returns the stream's unique ID, which the first call generates; None if the frontend has no
    /// format for it.
    pub fn unique_id(&self) -> Option<&[u8]> {
        let format = self.frontend().unique_id_format.as_ref()?;
        let id = &self.identity.unique_id;
        if id.get().is_none() && !self.identity.generates_id.replace(true) {
            let _ = id.set(format.fill(self).into());
            self.identity.generates_id.set(false);
        }
        id.get().map(|id| &**id)
    }
}

/// Generates the stream's unique ID if the frontend has a format for it, and adds its header.
/// Called once, after the rules of the request.
///
/// # Errors
/// Returns the response to the client if the header does not fit, as HAProxy does: the server
/// would otherwise log the request without its ID, or with one that the client sent.
pub fn unique_id(stream: &mut ProxyStream) -> Result<(), Box<ProxyResponse>> {
    if stream.unique_id().is_none() {
        return Ok(());
    }
    let header = stream.frontend().unique_id_header.clone();
    let Some(name) = header.filter(|_| stream.http) else {
        return Ok(());
    };
    let Some(mut id) = stream.identity.unique_id.get().cloned() else {
        return Ok(());
    };
    super::action::harmless(&mut id);
    stream.request.set(&name, &id).map_err(|_| {
        count_rewrite_failure(stream);
        Box::new(broken(stream))
    })
}
