//! What became of a request, by the lines of the files.

use super::question::Asked;
use language::{SourceMap, Span};
use model::config::{Config, HostName, HttpProtocol, NamedPort, Proxy, Server};
use model::transaction::trace::{Step, Term, Tie};
use proxy::route::{Answer, Question};
use proxy::stats::row::{algorithm, server_text};
use serde_json::{Value, json};

/// A line of a file that was looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// The file.
    pub file: String,
    /// Its line, from 1.
    pub number: u32,
    /// What stands there.
    pub text: String,
    /// Whether its condition was met; None: it has none.
    pub met: Option<bool>,
    /// The terms of its condition that were evaluated.
    pub terms: Vec<TermText>,
    /// It took effect.
    pub applies: bool,
    /// No further rule of its list was looked at.
    pub ends: bool,
    /// It chose the backend.
    pub leads_to: Option<String>,
    /// It belongs to this proxy.
    pub section: String,
}

impl Line {
    /// Whether the next one is the same, and nothing came of this one.
    fn is_again(&self, next: &Line) -> bool {
        (&self.file, self.number) == (&next.file, next.number) && !self.applies
    }
}

/// A term of a condition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TermText {
    /// Its name, or its text in the file; with a `!` where it has one.
    pub name: String,
    /// What it came to, with the `!`.
    pub met: bool,
    /// The values that were compared.
    pub values: Vec<String>,
}

/// Where the request goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// To a server.
    Server {
        /// The backend.
        backend: String,
        /// The server.
        server: String,
        /// Its address; empty while its name has none.
        address: String,
        /// Why this one, in words.
        why: String,
    },
    /// The proxy replies by itself.
    Reply {
        /// The status and its text; empty: what came is not HTTP.
        status: String,
        /// Of a redirect.
        location: Option<String>,
        /// Why, in words.
        why: String,
    },
    /// Neither.
    Nothing {
        /// Why, in words.
        why: String,
    },
}

/// All of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// The request line.
    pub request: String,
    /// The client and the address that it connects to.
    pub ends: [String; 2],
    /// The frontend.
    pub frontend: String,
    /// With TLS: the name that was asked for, and the names of the certificate.
    pub tls: Option<(String, Vec<String>)>,
    /// The lines, in order.
    pub lines: Vec<Line>,
    /// Steps that were not kept.
    pub left_out: usize,
    /// Where it goes.
    pub outcome: Outcome,
}

impl Report {
    /// Makes it from what was decided.
    pub fn new(
        config: &Config,
        sources: &SourceMap,
        asked: &Asked,
        question: &Question,
        answer: &Answer,
    ) -> Report {
        let frontend = config.proxy(question.at.frontend);
        let scheme = if asked.tls { "https" } else { "http" };
        let mut making = Making {
            config,
            sources,
            section: frontend.name.to_string(),
            lines: Vec::new(),
            backend: None,
            tie: None,
            server: None,
            page: None,
            only_http2: { frontend.binds.get(question.at.bind as usize) }
                .is_some_and(|bind| bind.protocol == Some(HttpProtocol::Http2)),
        };
        for step in &answer.trace.steps {
            making.take(step);
        }
        let outcome = making.outcome(answer);
        let tls = question.tls.clone();
        Report {
            request: format!(
                "{} {scheme}://{}{}",
                asked.method, asked.authority, asked.target
            ),
            ends: [question.source, question.destination].map(|one| one.to_string()),
            frontend: frontend.name.to_string(),
            tls: tls.map(|name| (name, answer.certificate.clone().unwrap_or_default())),
            lines: making.lines,
            left_out: answer.trace.left_out,
            outcome,
        }
    }

    /// Whether somebody replies.
    pub fn gets_something(&self) -> bool {
        !matches!(self.outcome, Outcome::Nothing { .. })
    }

    /// For programs.
    pub fn json(&self) -> String {
        let term = |one: &TermText| json!({"term": one.name, "met": one.met, "values": one.values});
        let line = |one: &Line| {
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
            })
        };
        let outcome = match &self.outcome {
            Outcome::Server {
                backend,
                server,
                address,
                why,
            } => {
                json!({"kind": "server", "backend": backend, "server": server, "address": address, "why": why})
            }
            Outcome::Reply {
                status,
                location,
                why,
            } => json!({"kind": "reply", "status": status, "location": location, "why": why}),
            Outcome::Nothing { why } => json!({"kind": "nothing", "why": why}),
        };
        let tls = match &self.tls {
            Some((name, certificate)) => json!({"name": name, "certificate": certificate}),
            None => Value::Null,
        };
        let [source, destination] = &self.ends;
        let all = json!({
            "request": self.request,
            "source": source,
            "destination": destination,
            "frontend": self.frontend,
            "tls": tls,
            "lines": self.lines.iter().map(line).collect::<Vec<_>>(),
            "left_out": self.left_out,
            "outcome": outcome,
        });
        let text = serde_json::to_string_pretty(&all).unwrap_or_default();
        text + "\n"
    }
}

/// The address of a server, or its name.
fn address(server: &Server) -> String {
    match server.host.as_deref() {
        None => server_text(server),
        Some(HostName { text, port, .. }) => match port {
            NamedPort::Fixed(port) => format!("{text}:{port}"),
            NamedPort::Offset(0) => text.to_string(),
            NamedPort::Offset(offset) => format!("{text}:{offset:+}"),
        },
    }
}

/// A report that is being made.
struct Making<'r> {
    config: &'r Config,
    sources: &'r SourceMap,
    /// The proxy whose lines come.
    section: String,
    lines: Vec<Line>,
    backend: Option<&'r Proxy>,
    tie: Option<(String, Tie)>,
    server: Option<String>,
    /// By what the proxy replies, if by no rule.
    page: Option<&'static str>,
    /// The listener takes nothing but HTTP/2.
    only_http2: bool,
}

impl<'r> Making<'r> {
    fn take(&mut self, step: &Step) {
        match step {
            Step::Condition { span, met, terms } => {
                let terms = terms.iter().map(|term| self.term(term)).collect();
                let mut line = self.line(*span);
                // One that waited for more bytes is evaluated again.
                if self.lines.last().is_some_and(|last| last.is_again(&line)) {
                    self.lines.pop();
                }
                line.met = Some(*met == Some(true));
                line.terms = terms;
                self.lines.push(line);
            }
            Step::Rule { span, ends } => {
                let line = self.of_rule(*span);
                (line.applies, line.ends) = (true, *ends);
            }
            Step::Backend { name, by } => {
                if let Some(span) = by {
                    let line = self.of_rule(*span);
                    (line.applies, line.leads_to) = (true, Some(name.to_string()));
                }
                let named = self.config.backend(name).map(|at| self.config.proxy(at));
                self.backend = named;
                self.section = name.to_string();
            }
            Step::Page(by) => self.page = Some(by),
            Step::Belongs { name, by } => self.tie = Some((name.to_string(), *by)),
            Step::Server { name } => self.server = Some(name.to_string()),
        }
    }

    fn line(&self, span: Span) -> Line {
        let text = String::from_utf8_lossy(self.sources.line_text(span));
        Line {
            file: self.sources.file(span.file).name.clone(),
            number: self.sources.position(span).line,
            text: text.split_whitespace().collect::<Vec<_>>().join(" "),
            met: None,
            terms: Vec::new(),
            applies: false,
            ends: false,
            leads_to: None,
            section: self.section.clone(),
        }
    }

    /// The line of a rule: the one whose condition was just met, or a new one.
    fn of_rule(&mut self, span: Span) -> &mut Line {
        let line = self.line(span);
        let is_last = { self.lines.last() }
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
            (true, true) => self.sources.snippet(term.span).into_owned(),
            (true, false) => "a predefined ACL".to_owned(),
        };
        // What is not known yet counts as false.
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

    fn outcome(&self, answer: &Answer) -> Outcome {
        let found = self
            .backend
            .zip(self.server.as_ref())
            .and_then(|(backend, name)| {
                let server = backend
                    .servers
                    .iter()
                    .find(|server| *server.name == **name)?;
                Some((backend, server))
            });
        if let Some((backend, server)) = found.filter(|_| self.page.is_none()) {
            return Outcome::Server {
                backend: backend.name.to_string(),
                server: server.name.to_string(),
                address: address(server),
                why: self.why_server(backend, &server.name),
            };
        }
        let by = self.lines.iter().rev().find(|line| line.ends);
        let by = by.map(|line| format!("{}:{}", line.file, line.number));
        // Bytes that are passed on as they are need no handshake.
        let is_before = by.is_none() && self.backend.is_none();
        if let Some(why) = answer.failure.as_ref().filter(|_| is_before) {
            return Outcome::Nothing {
                why: format!("there is no connection over TLS: {why}"),
            };
        }
        if answer.reply.is_empty() {
            return Outcome::Nothing {
                why: self.why_nothing(by),
            };
        }
        let head = String::from_utf8_lossy(&answer.reply);
        let mut lines = head.split("\r\n").take_while(|line| !line.is_empty());
        let status = lines
            .next()
            .and_then(|line| Some(line.strip_prefix("HTTP/")?.split_once(' ')?.1));
        let location = lines.find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("location")
                .then(|| value.trim().to_owned())
        });
        Outcome::Reply {
            status: status.unwrap_or_default().to_owned(),
            location,
            why: match by.filter(|_| self.page.is_none()) {
                Some(by) => format!("by {by}"),
                None => self.why_reply(status.unwrap_or_default()),
            },
        }
    }

    fn why_server(&self, backend: &Proxy, name: &str) -> String {
        let balance = || {
            let usable = backend
                .servers
                .iter()
                .filter(|server| server.state.usable())
                .count();
            format!(
                "balance {}, {usable} of {} servers can take it",
                algorithm(&backend.balance),
                backend.servers.len()
            )
        };
        let Some((tied, by)) = &self.tie else {
            return balance();
        };
        let by = match by {
            Tie::Rule => "a use-server rule",
            Tie::Cookie => "its persistence cookie",
            Tie::Table => "its entry in the stick table",
            Tie::RdpCookie => "its RDP cookie",
            Tie::Application => "its application session",
            Tie::Dispatch => "dispatch or transparent mode",
        };
        match tied == name {
            true => by.to_owned(),
            false => format!("{}; {tied}, given by {by}, cannot take it", balance()),
        }
    }

    fn why_reply(&self, status: &str) -> String {
        if let Some(page) = self.page {
            return format!("by {page}");
        }
        match self.backend {
            Some(backend) if backend.servers.is_empty() => {
                format!("backend {} has no server", backend.name)
            }
            Some(backend) => format!("backend {} has no server that can take it", backend.name),
            None if status.starts_with("503") => "no line chooses a backend".to_owned(),
            None => "the request was refused before the rules".to_owned(),
        }
    }

    fn why_nothing(&self, by: Option<String>) -> String {
        if self.only_http2 {
            return "the listener takes only HTTP/2 (`proto h2`), and this command asks by HTTP/1.1".to_owned();
        }
        match (by, self.backend) {
            (Some(by), _) => format!("the connection is closed or held by {by}"),
            (None, Some(backend)) => format!("backend {} has no server that can take it", backend.name),
            (None, None) => "no line chooses a backend, or the proxy waits for something that does not come within 3 s".to_owned(),
        }
    }
}
