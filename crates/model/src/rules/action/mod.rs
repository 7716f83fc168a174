//! Parses and runs the actions of rules, with one file for each family of actions. An action is a
//! row (name, rules that may have it, syntax, documentation, example, builder) and a value that the
//! builder creates when a file is loaded. Running an action changes the stream and determines
//! whether the rules continue; it touches no socket.

mod address;
mod answer;
mod auth;
mod body;
mod cache;
mod capture;
pub mod codes;
mod flow;
mod header;
mod hint;
mod limits;
mod list;
mod logging;
mod normalize;
mod packets;
mod pause;
mod redirect;
mod resolve;
mod service;
mod table;
mod target;
mod variable;

pub use crate::transaction::{set_variable, set_variable_of_session, unset_variable_of_session};
pub use answer::{error_answer, wrong_length};
pub use auth::challenge;
pub(super) use capture::headers as capture_headers;
pub use capture::{CAPTURE_BYTES_MAX, CAPTURE_SLOTS_MAX};
pub use flow::{count_denied, count_denied_response};
pub(super) use header::{harmless, is_framing};
pub use list::Changes as ListChanges;
pub use redirect::LINE_SYNTAX as REDIRECT_SYNTAX;
pub use variable::set_up_process;

use super::expression::OF_LUA;
use super::format::Format;
use super::usage::Usage;
use crate::codes as load_codes;
use crate::compiled::action::{HttpRule, Rule, RuleAction, TcpRule};
use crate::compiled::{Condition, Expression};
use crate::config::ProxyKind;
use crate::known;
use crate::rules::draft::ConfigDraft;
use crate::transaction::{Gate, MessageVerdict, ProxyStream, RuleMet, Wait};
use language::arguments::Args;
use language::keyword::{Documented, Family, Keyword, KeywordLookup, Table};
use language::{ConfigWord, Diagnostic, Span, suggest};
use std::sync::OnceLock;

impl HttpRule {
    pub fn rule(&self) -> &Rule {
        &self.0
    }
}

impl TcpRule {
    pub fn rule(&self) -> &Rule {
        &self.0
    }

    pub fn switches_to_http(&self) -> bool {
        matches!(
            self.0.action,
            RuleAction::Flow(crate::compiled::action::flow::Flow::SwitchToHttp(_))
        )
    }
}

impl Rule {
    /// Returns the entry for this rule in the history of requests.
    pub(super) fn met(&self, stream: &ProxyStream, ends: bool) -> RuleMet {
        let line = self.line.or_else(|| stream.config.line_of(self.span));
        RuleMet {
            file: self.span.file.0,
            line: line.unwrap_or_default(),
            words: self.words,
            ends,
        }
    }

    pub(super) fn place(&self) -> Option<(u32, u32)> {
        Some((self.span.file.0, self.line?))
    }
}

pub(super) enum ActionResult {
    Next,
    /// Skips the rest of this list of rules.
    Accept,
    End(MessageVerdict),
    /// Ends all rules of a connection.
    Closed(Gate),
    /// Waits for something, then continues with the next rule. Only for `http-request` and
    /// `tcp-request content` rules.
    Wait(Wait),
    /// The rewrite failed: it would break the message, or does not fit.
    Failed,
}

impl RuleAction {
    /// Returns whether no later rule is reached after this action.
    pub(super) fn is_final(&self) -> bool {
        matches!(
            self,
            RuleAction::Flow(_)
                | RuleAction::Answer(_)
                | RuleAction::Challenge(_)
                | RuleAction::Redirect(_)
                | RuleAction::Metrics
        )
    }

    /// Returns whether more bytes of the stream can change the effect: the tracked key or the
    /// captured value may still arrive. As in HAProxy, other actions do not wait.
    pub(super) fn may_change(&self, stream: &ProxyStream) -> bool {
        match self {
            RuleAction::Table(action) => action.may_change(stream),
            RuleAction::Capture(capture) => capture.may_change(stream),
            _ => false,
        }
    }

    /// Returns whether the effect must not be repeated when the list of content rules restarts
    /// after more bytes arrive. Such an action counts, logs, changes a list, resolves a name or
    /// pauses.
    pub(super) fn happens_once(&self) -> bool {
        match self {
            RuleAction::Table(action) => action.counts(),
            RuleAction::Log(_)
            | RuleAction::Resolve(_)
            | RuleAction::Pause(_)
            | RuleAction::List(_) => true,
            _ => false,
        }
    }

    pub(super) fn run(&self, stream: &mut ProxyStream) -> ActionResult {
        match self {
            RuleAction::Flow(flow) => flow.run(stream),
            RuleAction::Pass => ActionResult::Next,
            RuleAction::Answer(answer) => answer.run(stream),
            RuleAction::Challenge(challenge) => challenge.run(stream),
            RuleAction::Redirect(redirection) => redirection.run(stream),
            RuleAction::Header(change) => change.run(stream),
            RuleAction::Target(change) => change.run(stream),
            RuleAction::Variable(change) => change.run(stream),
            RuleAction::Capture(capture) => capture.run(stream),
            RuleAction::Address(change) => change.run(stream),
            RuleAction::Table(action) => action.run(stream),
            RuleAction::LogLevel(level) => {
                stream.log.level = Some(*level);
                ActionResult::Next
            }
            RuleAction::Log(step) => {
                crate::log::stream_step(stream, *step);
                ActionResult::Next
            }
            RuleAction::Resolve(resolve) => resolve.run(stream),
            RuleAction::WaitForBody(wait) => wait.run(stream),
            RuleAction::Cache(cache) => cache.run(stream),
            RuleAction::StrictMode(strict) => {
                stream.rules.lenient = !strict;
                ActionResult::Next
            }
            RuleAction::Limits(change) => change.run(stream),
            RuleAction::Packets(change) => change.run(stream),
            RuleAction::Pause(pause) => pause.run(stream),
            RuleAction::Normalize(normalizer) => normalizer.run(stream),
            RuleAction::Hint(hint) => hint.run(stream),
            RuleAction::List(change) => change.run(stream),
            RuleAction::Metrics => service::metrics(stream),
            RuleAction::ExpectProxy => {
                stream.rules.overrides_mut().expects_proxy = true;
                ActionResult::Next
            }
            RuleAction::ExpectNetScaler => {
                stream.rules.overrides_mut().expects_netscaler = true;
                ActionResult::Next
            }
        }
    }
}

/// List of rules; determines when its rules run, and so what they can do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RuleSet {
    /// Rules of `tcp-request connection`, when a connection is accepted.
    TcpConnection,
    /// Rules of `tcp-request session`, when a session starts.
    TcpSession,
    /// Rules of `tcp-request content`, on the bytes of a request.
    TcpContent,
    /// Rules of `tcp-response content`, on the bytes of a response.
    TcpResponse,
    /// Rules of `http-request`, on each HTTP request.
    HttpRequest,
    /// Rules of `http-response`, on each HTTP response of a server.
    HttpResponse,
    /// Rules of `http-after-response`, on each HTTP response to a client.
    HttpAfterResponse,
}

/// All rule sets, in the order of their tables.
const SETS: [RuleSet; 7] = [
    RuleSet::TcpConnection,
    RuleSet::TcpSession,
    RuleSet::TcpContent,
    RuleSet::TcpResponse,
    RuleSet::HttpRequest,
    RuleSet::HttpResponse,
    RuleSet::HttpAfterResponse,
];

impl RuleSet {
    /// Returns the words before an action, which are also its place in the registry.
    pub fn place(self) -> &'static str {
        match self {
            RuleSet::TcpConnection => "tcp-request connection",
            RuleSet::TcpSession => "tcp-request session",
            RuleSet::TcpContent => "tcp-request content",
            RuleSet::TcpResponse => places::SERVER_CONTENT,
            RuleSet::HttpRequest => "http-request",
            RuleSet::HttpResponse => "http-response",
            RuleSet::HttpAfterResponse => "http-after-response",
        }
    }

    fn kind(self) -> &'static str {
        match self {
            RuleSet::TcpConnection => "tcp-request connection action",
            RuleSet::TcpSession => "tcp-request session action",
            RuleSet::TcpContent => "tcp-request content action",
            RuleSet::TcpResponse => "tcp-response content action",
            RuleSet::HttpRequest => "http-request action",
            RuleSet::HttpResponse => "http-response action",
            RuleSet::HttpAfterResponse => "http-after-response action",
        }
    }

    pub fn usage(self, kind: ProxyKind) -> Usage {
        match self {
            RuleSet::TcpConnection => Usage::TCP_CONNECTION,
            RuleSet::TcpSession => Usage::TCP_SESSION,
            RuleSet::TcpContent => Usage::tcp_content(kind),
            RuleSet::TcpResponse => Usage::tcp_response(kind),
            RuleSet::HttpRequest => Usage::http_request(kind),
            RuleSet::HttpResponse | RuleSet::HttpAfterResponse => Usage::http_response(kind),
        }
    }

    pub(super) fn is_response(self) -> bool {
        matches!(
            self,
            RuleSet::TcpResponse | RuleSet::HttpResponse | RuleSet::HttpAfterResponse
        )
    }
}

/// Places of actions in the registry.
mod places {
    pub(super) const CONNECTION: &str = "tcp-request connection";
    pub(super) const SESSION: &str = "tcp-request session";
    pub(super) const CONTENT: &str = "tcp-request content";
    pub(super) const SERVER_CONTENT: &str = "tcp-response content";
    pub(super) const REQUEST: &str = "http-request";
    pub(super) const RESPONSE: &str = "http-response";
    pub(super) const AFTER: &str = "http-after-response";
    pub(super) const HTTP: &[&str] = &[REQUEST, RESPONSE, AFTER];
    pub(super) const TCP: &[&str] = &[CONNECTION, SESSION, CONTENT, SERVER_CONTENT];
    pub(super) const ALL: &[&str] = &[
        CONNECTION,
        SESSION,
        CONTENT,
        SERVER_CONTENT,
        REQUEST,
        RESPONSE,
        AFTER,
    ];
    pub(super) const ANSWERING: &[&str] = &[REQUEST, RESPONSE];
}

pub(super) struct Build<'b, 'l> {
    pub(super) args: &'b mut Args<'l>,
    pub(super) word: &'l ConfigWord,
    /// Text in parentheses after the name of the action.
    pub(super) list: Option<&'l str>,
    pub(super) set: RuleSet,
    /// Moments at which the rule runs.
    pub(super) usage: Usage,
}

pub(super) type BuiltAction = Result<RuleAction, Diagnostic>;
pub(super) type ActionBuilder = fn(&mut ConfigDraft, &mut Build<'_, '_>) -> BuiltAction;
pub(super) type ActionRow = Keyword<ActionBuilder>;

impl<'l> Build<'_, 'l> {
    pub(super) fn option(&mut self) -> Option<&'l ConfigWord> {
        let word = self.args.peek()?;
        if word.is("if") || word.is("unless") {
            return None;
        }
        self.args.next()
    }

    pub(super) fn format(
        &mut self,
        loader: &mut ConfigDraft,
        what: &str,
    ) -> Result<Format, Diagnostic> {
        let word = self.args.required(what)?;
        Format::parse(loader, word, self.usage)
    }

    pub(super) fn expression(
        &mut self,
        loader: &mut ConfigDraft,
    ) -> Result<Expression, Diagnostic> {
        let word = self.args.required("<expr>")?;
        Expression::parse(loader, word, self.usage)
    }

    pub(super) fn wrong(
        &self,
        code: &'static language::Code,
        word: &ConfigWord,
        message: impl Into<String>,
        label: impl Into<String>,
    ) -> Diagnostic {
        let help = format!("write `{} {}`", self.set.place(), self.args.syntax);
        Diagnostic::error(code, word.span, message)
            .label(label)
            .help(help)
    }
}

static FAMILIES: &[Family<ActionBuilder>] = &[
    ("Address actions (set-src, set-dst)", address::ROWS),
    ("Response actions (return, deny)", answer::ROWS),
    ("Body actions", body::ROWS),
    ("Cache actions", cache::ROWS),
    ("Capture actions", capture::ROWS),
    ("Accept, deny and reject actions", flow::ROWS),
    ("Header actions", header::ROWS),
    ("Early hints", hint::ROWS),
    ("Timeout and limit actions", limits::ROWS),
    ("ACL and map actions", list::ROWS),
    ("Log actions", logging::ROWS),
    ("URI normalization", normalize::ROWS),
    ("Socket actions (mark, tos)", packets::ROWS),
    ("Pause action", pause::ROWS),
    ("Redirect action", redirect::ROWS),
    ("Stick table actions (track, rate limits)", table::CHANGE),
    ("Stick table actions (track, rate limits)", table::TRACK),
    (
        "Stick table actions (track, rate limits)",
        table::TRACK_MORE,
    ),
    ("Services", service::ROWS),
    ("DNS actions", resolve::ROWS),
    ("URL rewriting actions", target::ROWS),
    ("Variable actions", variable::ROWS),
    ("Authentication actions", auth::ROWS),
];

fn table(set: RuleSet) -> &'static Table<ActionBuilder> {
    static TABLES: OnceLock<Vec<Table<ActionBuilder>>> = OnceLock::new();
    let tables = TABLES.get_or_init(|| {
        SETS.iter()
            .map(|set| Table::new(set.kind(), FAMILIES, known::all))
            .collect()
    });
    // Uses the set as an index, because there is one table for each set, in the same order.
    &tables[set as usize]
}

fn is_known(set: RuleSet, name: &str) -> bool {
    known::names(set.kind()).any(|known| known == name)
}

pub(super) fn documented() -> Vec<Documented> {
    static ROWS: OnceLock<Vec<Documented>> = OnceLock::new();
    ROWS.get_or_init(|| SETS.into_iter().flat_map(documented_of).collect())
        .clone()
}

/// Builds the documentation of a set. The texts are built once per process and never freed.
fn documented_of(set: RuleSet) -> Vec<Documented> {
    let place = set.place();
    let stay = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
    let places: &'static [&'static str] = Box::leak(Box::new([place]));
    let rows = FAMILIES
        .iter()
        .flat_map(|(family, rows)| rows.iter().map(move |row| (*family, row)))
        .filter(|(_, row)| row.places.contains(&place));
    let mut all: Vec<Documented> = rows
        .map(|(family, row)| Documented {
            kind: set.kind(),
            name: row.name(),
            family,
            places,
            syntax: stay(format!(
                "{place} {} [ {{ if | unless }} <condition> ]",
                row.syntax
            )),
            doc: row.doc,
            example: stay(match row.example.rsplit_once('\n') {
                // Adds the words of the rule set to the last line of the example, which is the
                // rule.
                Some((before, last)) => format!("{before}\n{place} {last}"),
                None => format!("{place} {}", row.example),
            }),
            built: true,
        })
        .collect();
    all.extend(table(set).documented().into_iter().filter(|row| !row.built));
    all
}

/// Parses a rule of HTTP messages: its action, then its condition.
///
/// # Errors
/// The action is missing, unknown, not supported, or not allowed in these rules. An argument or the
/// condition is invalid.
pub fn http_rule(
    loader: &mut ConfigDraft,
    args: &mut Args<'_>,
    set: RuleSet,
) -> Result<HttpRule, Diagnostic> {
    rule(loader, args, set).map(HttpRule)
}

/// Parses a rule of `tcp-request` or `tcp-response`.
///
/// # Errors
/// Fails in the same cases as [`http_rule`].
pub fn tcp_rule(
    loader: &mut ConfigDraft,
    args: &mut Args<'_>,
    set: RuleSet,
) -> Result<TcpRule, Diagnostic> {
    rule(loader, args, set).map(TcpRule)
}

/// Parses the rule of a `redirect` line.
///
/// # Errors
/// The target is missing, a word is unknown, or its value is missing or malformed. The condition is
/// invalid.
pub fn redirect_rule(
    loader: &mut ConfigDraft,
    args: &mut Args<'_>,
) -> Result<HttpRule, Diagnostic> {
    let set = RuleSet::HttpRequest;
    let usage = set.usage(loader.proxy().kind);
    let span = args.keyword_span();
    let word = &args.line().words[0];
    let mut build = Build {
        args,
        word,
        list: None,
        set,
        usage,
    };
    let action = redirect::build_line(loader, &mut build)?;
    let condition = Condition::parse(loader, args, usage)?;
    Ok(HttpRule(Rule {
        span,
        line: None,
        words: ["redirect", ""],
        condition,
        action,
    }))
}

/// Warns about a rule that is never reached because the preceding rule always ends the list.
pub fn warn_unreachable(loader: &mut ConfigDraft, before: Option<&Rule>, rule: &Rule) {
    let Some(before) = before else { return };
    if before.condition.is_none() && before.action.is_final() {
        loader.report(
            Diagnostic::warning(
                &load_codes::UNREACHABLE_RULE,
                rule.span,
                "this rule is never reached",
            )
            .label("never runs")
            .with_label(before.span, "this rule has no condition and ends the list"),
        );
    }
}

fn rule(loader: &mut ConfigDraft, args: &mut Args<'_>, set: RuleSet) -> Result<Rule, Diagnostic> {
    let usage = set.usage(loader.proxy().kind);
    let word = args.required("an action")?;
    let text = word.str();
    let (name, list) = match text.split_once('(') {
        Some((name, rest)) => (name, rest.strip_suffix(')')),
        None => (text, None),
    };
    let row = find(set, name, word)?;
    let mut words = args.option(row.name(), row.syntax, 0);
    let mut build = Build {
        args: &mut words,
        word,
        list,
        set,
        usage,
    };
    let action = (row.build)(loader, &mut build)?;
    let condition = Condition::parse(loader, &mut words, usage)?;
    args.resume(&words);
    Ok(Rule {
        span: word.span,
        line: Some(loader.context.sources.position(word.span).line),
        words: [set.place(), row.name()],
        condition,
        action,
    })
}

fn find(set: RuleSet, name: &str, word: &ConfigWord) -> Result<&'static ActionRow, Diagnostic> {
    let table = table(set);
    let place = set.place();
    match table.find(std::iter::once(name)) {
        KeywordLookup::Built(row, _) if row.places.contains(&place) => Ok(row),
        KeywordLookup::Built(row, _) if !is_known(set, name) => Err(Diagnostic::error(
            &codes::ACTION_NOT_HERE,
            word.span,
            format!("'{place}' rules do not support the action '{name}'"),
        )
        .label("not allowed here")
        .note(format!("valid in: {}", row.places.join(", ")))),
        KeywordLookup::Built(..) | KeywordLookup::NotBuilt(..) => Err(not_built(place, name, word)),
        KeywordLookup::Unknown if name.starts_with(OF_LUA) => Err(not_built(place, name, word)),
        KeywordLookup::Unknown => {
            let mut diagnostic = Diagnostic::error(
                &codes::UNKNOWN_ACTION,
                word.span,
                format!("'{place}' has no action '{name}'"),
            );
            if let Some(near) = suggest::nearest(name, table.names_in(place)) {
                let span = Span {
                    end: word.span.start + name.len() as u32,
                    ..word.span
                };
                diagnostic = diagnostic
                    .help(format!("did you mean '{near}'?"))
                    .fix(span, near);
            }
            Err(diagnostic)
        }
    }
}

fn not_built(place: &str, name: &str, word: &ConfigWord) -> Diagnostic {
    Diagnostic::error(
        &load_codes::NOT_BUILT,
        word.span,
        format!("'{place} {name}' is not supported"),
    )
    .help(
        crate::known::instead(name)
            .unwrap_or("remove the line, or keep this proxy on HAProxy for now"),
    )
}

#[cfg(test)]
mod tests;
