//! Builds the report about a request from the steps that the proxy code recorded: the destination
//! with the reason, and the lines of the files that affected it. Renders the report as JSON.

use super::{Live, Request};
use language::{SourceMap, Span};
use model::config::{Config, HostName, HttpProtocol, NamedPort, Proxy, Server};
use model::transaction::trace::{Fate, Term, Tie, TraceStep};
use proxy::route::{RouteQuery, RouteTrace};
use proxy::stats::row::algorithm;
use serde_json::{Value, json};

const NAMES_MAX: usize = 8;

/// An evaluated line of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EvaluatedLine {
    pub file: String,
    pub number: u32,
    pub text: String,
    /// Result of the line's condition; None if the line has none or the condition was not
    /// evaluated.
    pub met: Option<bool>,
    pub terms: Vec<TermText>,
    pub applies: bool,
    /// The line ended its list of rules.
    pub ends: bool,
    pub leads_to: Option<String>,
    /// Reason why the line has no effect although its condition was met.
    pub fails: Option<String>,
    pub section: String,
    pub span: Span,
}

impl EvaluatedLine {
    /// Returns true if `next` is the same line of the same file, and this entry has not applied
    /// yet.
    fn is_again(&self, next: &EvaluatedLine) -> bool {
        (&self.file, self.number) == (&next.file, next.number) && !self.applies
    }
}

/// An evaluated term of a condition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TermText {
    /// Name of the ACL, or text of the term in the file, with a `!` before it if the term is
    /// negated.
    pub name: String,
    /// Result, including the `!`.
    pub met: bool,
    pub values: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RouteDestination {
    Server {
        backend: String,
        server: String,
        address: String,
        why: String,
    },
    /// The request waits in a queue: every server that may get it has reached its session limit.
    Waits {
        backend: String,
        /// Server for which the request waits, if it waits for one only.
        server: Option<String>,
        why: String,
    },
    Reply {
        /// Status code and reason of the response; empty if the response is not HTTP.
        status: String,
        location: Option<String>,
        why: String,
    },
    Nothing {
        why: String,
    },
}

/// Complete report of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RouteReport {
    pub request: String,
    pub ends: Option<[String; 2]>,
    pub frontend: String,
    /// TLS server name, and the names of the certificate; None without TLS.
    pub tls: Option<(String, Vec<String>)>,
    pub lines: Vec<EvaluatedLine>,
    pub left_out: usize,
    pub backend: Option<String>,
    /// Status of the proxy's response; empty if there is none, or no HTTP.
    pub status: String,
    pub outcome: RouteDestination,
    pub live: Option<Live>,
}

impl RouteReport {
    pub fn new(
        config: &Config,
        sources: &SourceMap,
        request: &Request,
        question: &RouteQuery,
        answer: &RouteTrace,
    ) -> RouteReport {
        let frontend = config.proxy(question.at.frontend);
        let mut making = Making {
            config,
            sources,
            section: frontend.name.to_string(),
            lines: Vec::new(),
            backend: None,
            tie: None,
            server: None,
            address: None,
            waits: None,
            page: None,
            disabled: None,
            only_http2: frontend
                .binds
                .get(question.at.bind as usize)
                .is_some_and(|bind| bind.protocol == Some(HttpProtocol::Http2)),
        };
        for step in &answer.trace.steps {
            making.take(step);
        }
        let outcome = making.outcome(answer);
        let tls = question.tls.clone();
        RouteReport {
            request: request.asked.words(),
            ends: question.ends.map(|ends| ends.map(|one| one.to_string())),
            frontend: frontend.name.to_string(),
            tls: tls.map(|name| (name, answer.certificate.clone().unwrap_or_default())),
            lines: making.lines,
            left_out: answer.trace.left_out,
            backend: making.backend.map(|backend| backend.name.to_string()),
            status: head(&answer.reply).0,
            outcome,
            live: None,
        }
    }

    /// Returns the deciding line: the last one that ended its list of rules, or chose the backend.
    pub fn decided_by(&self) -> Option<&EvaluatedLine> {
        let decides = |line: &&EvaluatedLine| line.ends || line.leads_to.is_some();
        self.lines.iter().rev().find(decides)
    }

    pub fn has_response(&self) -> bool {
        !matches!(
            self.outcome,
            RouteDestination::Nothing { .. } | RouteDestination::Waits { .. }
        )
    }

    pub fn json(&self) -> String {
        let term = |one: &TermText| json!({"term": one.name, "met": one.met, "values": one.values});
        let line = |one: &EvaluatedLine| {
            json!({
                "section": one.section,
                "file": one.file,
                "line": one.number,
                "text": one.text,
                "met": one.met,
                "terms": one.terms.iter().map(term).collect::<Vec<_>>(),
                "applies": one.applies,
                "ends": one.ends,
                "backend": one.leads_to,
                "fails": one.fails,
            })
        };
        let outcome = match &self.outcome {
            RouteDestination::Server {
                backend,
                server,
                address,
                why,
            } => {
                json!({"kind": "server", "backend": backend, "server": server, "address": address, "why": why})
            }
            RouteDestination::Reply {
                status,
                location,
                why,
            } => json!({"kind": "reply", "status": status, "location": location, "why": why}),
            RouteDestination::Waits {
                backend,
                server,
                why,
            } => {
                json!({"kind": "queue", "backend": backend, "server": server, "why": why})
            }
            RouteDestination::Nothing { why } => json!({"kind": "nothing", "why": why}),
        };
        let tls = match &self.tls {
            Some((name, certificate)) => json!({"name": name, "certificate": certificate}),
            None => Value::Null,
        };
        let end = |at: usize| self.ends.as_ref().map(|ends| &ends[at]);
        let all = json!({
            "request": self.request,
            "source": end(0),
            "destination": end(1),
            "frontend": self.frontend,
            "tls": tls,
            "lines": self.lines.iter().map(line).collect::<Vec<_>>(),
            "left_out": self.left_out,
            "outcome": outcome,
            "live": self.live.as_ref().map(Live::json),
        });
        let text = serde_json::to_string_pretty(&all).unwrap_or_default();
        // Escapes control characters, which a terminal may execute. A program reads the same text.
        let escaped = |c: char| match c {
            '\u{7f}'..='\u{9f}' => format!("\\u{:04x}", u32::from(c)),
            c => c.to_string(),
        };
        text.chars().map(escaped).collect::<String>() + "\n"
    }
}

/// Returns the configured host name of a server with its port. A server with an address has no host
/// name; the address for this request is returned instead.
fn address(server: &Server, for_request: Option<&str>) -> String {
    match server.host.as_deref() {
        None => for_request.unwrap_or_default().to_owned(),
        Some(HostName { text, port, .. }) => match port {
            NamedPort::Fixed(port) => format!("{text}:{port}"),
            NamedPort::Offset(0) => text.to_string(),
            NamedPort::Offset(offset) => format!("{text}:{offset:+}"),
        },
    }
}

/// Explains the choice of `balance first` by the full servers with a lower ID.
fn why_first(backend: &Proxy, backups: bool, chosen: Option<&str>) -> String {
    let servers = backend.servers.iter();
    let able = servers.filter(|one| one.state.usable() && one.state.backup() == backups);
    let mut able: Vec<&Server> = able.collect();
    able.sort_by_key(|one| one.id);
    let full = able.iter().map(|one| &*one.name);
    let full = full.take_while(|name| Some(*name) != chosen);
    let full: Vec<&str> = full.take(NAMES_MAX).collect();
    if full.is_empty() {
        ", which is the first one by id".to_owned()
    } else {
        format!(
            ", which is the first one by id with a session left; full: {}",
            full.join(", ")
        )
    }
}

fn equal<'s>(backend: &Proxy, able: Vec<&'s Server>) -> Vec<&'s Server> {
    if algorithm(&backend.balance) != "leastconn" {
        return able;
    }
    // Compares sessions per weight without a division.
    let load = |one: &Server| {
        let sessions = u64::from(one.state.traffic.sessions.current());
        (sessions, u64::from(one.state.weight().max(1)))
    };
    let less = |a: (u64, u64), b: (u64, u64)| (a.0 * b.1).cmp(&(b.0 * a.1));
    let least = able.iter().map(|one| load(one)).min_by(|a, b| less(*a, *b));
    let is_least = |one: &&Server| least.is_some_and(|least| less(load(one), least).is_eq());
    able.into_iter().filter(is_least).collect()
}

fn handshake(error: &str) -> String {
    match error {
        error if error.contains("UnrecognisedName") => {
            "no certificate has that name (`strict-sni`)".to_owned()
        }
        error if error.contains("CertificateRequired") => {
            "the listener requires a certificate of the client".to_owned()
        }
        error => format!("there is no connection over TLS: {error}"),
    }
}

/// Returns the status of a response with its text, and the target of a redirect.
fn head(reply: &[u8]) -> (String, Option<String>) {
    let reply = String::from_utf8_lossy(reply);
    // Skips interim responses (1xx).
    let heads = reply.split_inclusive("\r\n\r\n");
    let head = heads.clone().find(|head| !head.starts_with("HTTP/1.1 1"));
    let head = head.or_else(|| heads.clone().next()).unwrap_or_default();
    let mut lines = head.split("\r\n").take_while(|line| !line.is_empty());
    let status = lines.next();
    let status = status.and_then(|line| Some(line.strip_prefix("HTTP/")?.split_once(' ')?.1));
    let location = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("location")
            .then(|| value.trim().to_owned())
    });
    (status.unwrap_or_default().to_owned(), location)
}

struct Making<'r> {
    config: &'r Config,
    sources: &'r SourceMap,
    /// Proxy of the current lines.
    section: String,
    lines: Vec<EvaluatedLine>,
    backend: Option<&'r Proxy>,
    tie: Option<(String, Tie)>,
    /// Name of the chosen server, and whether the request lacks the key of `balance`.
    server: Option<(String, bool)>,
    address: Option<String>,
    /// Set if the request waits for a slot; true if it waits for one server only.
    waits: Option<bool>,
    /// Source of the proxy's response, if that is no rule, such as a statistics page.
    page: Option<&'static str>,
    /// Chosen backend, if it is disabled.
    disabled: Option<String>,
    only_http2: bool,
}

impl<'r> Making<'r> {
    fn take(&mut self, step: &TraceStep) {
        match step {
            TraceStep::Address(at) => self.address.clone_from(at),
            TraceStep::Page(by) => self.page = Some(by),
            TraceStep::Waits { for_one } => self.waits = Some(*for_one),
            // Ignores steps after the choice of a server: the response of the server is artificial.
            _ if self.server.is_some() => {}
            TraceStep::Condition { span, met, terms } => {
                let terms = terms.iter().map(|term| self.term(term)).collect();
                let mut line = self.line(*span);
                // Replaces the entry of a line that is evaluated again after more bytes arrived.
                if self.lines.last().is_some_and(|last| last.is_again(&line)) {
                    self.lines.pop();
                }
                line.met = Some(*met == Some(true));
                line.terms = terms;
                if line.met == Some(true) && line.text.starts_with("use-server ") {
                    line.fails = Some("no such server, or it is not available".to_owned());
                }
                self.lines.push(line);
            }
            TraceStep::Rule { span, ends } => {
                let line = self.of_rule(*span);
                (line.applies, line.ends) = (true, *ends);
            }
            TraceStep::Backend { name, by, fate } => self.take_backend(name, *by, *fate),
            TraceStep::Belongs { name, by } => {
                self.tie = Some((name.to_string(), *by));
                if let Some(line) = self.lines.last_mut().filter(|_| *by == Tie::Rule) {
                    (line.applies, line.fails) = (true, None);
                }
            }
            TraceStep::Server { name, lacks_key } => {
                self.server = Some((name.to_string(), *lacks_key));
            }
        }
    }

    fn take_backend(&mut self, name: &str, by: Option<Span>, fate: Fate) {
        if let Some(span) = by {
            let line = self.of_rule(span);
            match fate {
                Fate::Taken => (line.applies, line.leads_to) = (true, Some(name.to_owned())),
                Fate::Unknown => line.fails = Some(format!("there is no backend '{name}'")),
                Fate::Disabled => line.fails = Some(format!("backend {name} is disabled")),
            }
        }
        match fate {
            Fate::Taken => {
                self.backend = self.config.backend(name).map(|at| self.config.proxy(at));
                name.clone_into(&mut self.section);
            }
            Fate::Unknown => {}
            Fate::Disabled => self.disabled = Some(name.to_owned()),
        }
    }

    fn line(&self, span: Span) -> EvaluatedLine {
        let text = String::from_utf8_lossy(self.sources.line_text(span));
        EvaluatedLine {
            file: self.sources.file(span.file).name.clone(),
            number: self.sources.position(span).line,
            text: text.split_whitespace().collect::<Vec<_>>().join(" "),
            met: None,
            terms: Vec::new(),
            applies: false,
            ends: false,
            leads_to: None,
            fails: None,
            section: self.section.clone(),
            span,
        }
    }

    /// Returns the entry of a rule: that of the line whose condition was just met, or a new one.
    fn of_rule(&mut self, span: Span) -> &mut EvaluatedLine {
        let line = self.line(span);
        let is_last = self
            .lines
            .last()
            .is_some_and(|last| last.is_again(&line) && last.met == Some(true));
        if !is_last {
            self.lines.push(line);
        }
        let last = self.lines.len() - 1;
        &mut self.lines[last]
    }

    fn term(&self, term: &Term) -> TermText {
        let name = match (term.name.is_empty(), term.span.start < term.span.end) {
            (false, _) => term.name.to_string(),
            // Removes the `!` and the spaces after it.
            (true, true) => {
                let text = self.sources.snippet(term.span);
                text.trim_start_matches(['!', ' ']).to_owned()
            }
            (true, false) => "an ACL".to_owned(),
        };
        // An unknown result counts as false.
        let is_met = term.met == Some(!term.negated);
        TermText {
            name: if term.negated {
                format!("!{name}")
            } else {
                name
            },
            met: is_met,
            values: term.values.clone(),
        }
    }

    fn outcome(&self, answer: &RouteTrace) -> RouteDestination {
        if let Some((backend, for_one)) = self.backend.zip(self.waits) {
            return self.in_queue(backend, for_one);
        }
        let found =
            self.backend
                .zip(self.server.as_ref())
                .and_then(|(backend, (name, lacks_key))| {
                    let server = backend
                        .servers
                        .iter()
                        .find(|server| *server.name == **name)?;
                    Some((backend, server, *lacks_key))
                });
        if let Some((backend, server, lacks_key)) = found.filter(|_| self.page.is_none()) {
            return RouteDestination::Server {
                backend: backend.name.to_string(),
                server: server.name.to_string(),
                address: address(server, self.address.as_deref()),
                why: self.why_server(backend, &server.name, lacks_key),
            };
        }
        let by = self.lines.iter().rev().find(|line| line.ends);
        let by = by.map(|line| format!("{}:{}", line.file, line.number));
        // Counts only a failure before any rule or backend, such as a failed handshake.
        let is_before = by.is_none() && self.backend.is_none();
        let failed = answer
            .failure
            .as_ref()
            .filter(|_| is_before && answer.reply.is_empty());
        if let Some(why) = failed {
            return RouteDestination::Nothing {
                why: handshake(why),
            };
        }
        if answer.reply.is_empty() {
            return RouteDestination::Nothing {
                why: self.why_nothing(by),
            };
        }
        let (status, location) = head(&answer.reply);
        let why = match (self.page, by) {
            (Some(page), _) => format!("by {page}"),
            (None, Some(by)) => format!("by {by}"),
            // Reports a refusal by the proxy itself, which no line of the file requests.
            (None, None) => {
                let why = format!("the proxy replies {status}: {}", self.why_refused(&status));
                return RouteDestination::Nothing { why };
            }
        };
        RouteDestination::Reply {
            status,
            location,
            why,
        }
    }

    fn in_queue(&self, backend: &Proxy, for_one: bool) -> RouteDestination {
        let tie = self.tie.as_ref().filter(|_| for_one);
        let why = match (tie, for_one) {
            (Some((server, by)), _) => {
                format!("{server}, selected by {}, is full", by.words())
            }
            (None, true) => format!(
                "the server that balance {} chooses is full",
                algorithm(&backend.balance)
            ),
            (None, false) => "every available server is full".to_owned(),
        };
        RouteDestination::Waits {
            backend: backend.name.to_string(),
            server: tie.map(|(server, _)| server.clone()),
            why,
        }
    }

    fn why_server(&self, backend: &Proxy, name: &str, lacks_key: bool) -> String {
        let balance = || self.why_balance(backend, lacks_key);
        let Some((tied, by)) = &self.tie else {
            return balance();
        };
        let by = by.words();
        if tied == name {
            by.to_owned()
        } else {
            format!("{}; {tied}, selected by {by}, is not available", balance())
        }
    }

    /// Names the algorithm that chose the server, and the other servers that it could have chosen.
    fn why_balance(&self, backend: &Proxy, lacks_key: bool) -> String {
        let is_by_key = backend.balance.is_by_key() && !lacks_key;
        let mut words = format!("balance {}", algorithm(&backend.balance));
        if lacks_key {
            words += ", in turn, because the request has no key for it";
        }
        let backups = backend.state.active_usable() == 0;
        if backups {
            words += ", as a backup";
        }
        if algorithm(&backend.balance) == "first" {
            let chosen = self.server.as_ref().map(|(name, _)| name.as_str());
            return words + &why_first(backend, backups, chosen);
        }
        let able = backend.servers.iter();
        let able = able.filter(|one| one.state.usable() && one.state.backup() == backups);
        let count = usize::try_from(backend.state.usable_servers()).unwrap_or(usize::MAX);
        let able: Vec<&Server> = able.take(count).collect();
        let able = equal(backend, able);
        let names: Vec<&str> = able.iter().map(|one| &*one.name).collect();
        match (names.len(), is_by_key) {
            (0 | 1, false) if count > 1 => words + "; it has the fewest sessions for its weight",
            (0 | 1, _) => words + "; no other server is available",
            (_, true) => words,
            (more, false) if more > NAMES_MAX => {
                format!("{words}; any of {more} servers can be chosen")
            }
            (_, false) => format!("{words}; any of {} can be chosen", names.join(", ")),
        }
    }

    fn why_refused(&self, status: &str) -> String {
        match (self.backend, &self.disabled) {
            (Some(backend), _) if backend.servers.is_empty() => {
                format!("backend {} has no server", backend.name)
            }
            (Some(backend), _) => {
                format!("backend {} has no available server", backend.name)
            }
            (None, Some(disabled)) => format!("backend {disabled} is disabled"),
            (None, None) if status.starts_with("503") => "no line chooses a backend".to_owned(),
            (None, None) => "the request was refused before the rules".to_owned(),
        }
    }

    fn why_nothing(&self, by: Option<String>) -> String {
        if self.only_http2 {
            return "the listener accepts only HTTP/2 (`proto h2`), and this command uses HTTP/1.1"
                .to_owned();
        }
        match (by, self.backend) {
            (Some(by), _) => format!("the connection is closed or held by {by}"),
            (None, Some(backend)) => format!("backend {} has no available server", backend.name),
            (None, None) => {
                "no line chooses a backend, or the proxy waits for something that does not \
                 arrive within 3 s"
                    .to_owned()
            }
        }
    }
}
