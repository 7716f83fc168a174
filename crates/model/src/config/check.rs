//! What a health check asks (`option httpchk`, `tcp-check`, …). When and how
//! often stands in the server's options. The lines are kept as they were read;
//! at the end of loading each kind becomes one script of steps.

use crate::config::ProxyKind;
use crate::script::{HttpSend, Script, Step, StepAction};
use language::Span;
use std::sync::Arc;

/// The kind of a backend's health checks.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum CheckKind {
    /// A connection that is accepted is enough.
    #[default]
    Connect,
    /// `option tcp-check`: the steps of `tcp-check` lines.
    Tcp,
    /// `option httpchk`: a request, or the steps of `http-check` lines.
    Http,
    /// The first message of TLS (`option ssl-hello-chk`).
    TlsHello,
    /// `option smtpchk`, with the greeting that is sent.
    Smtp(Box<[u8]>),
    /// `option mysql-check`, with the account that logs in.
    MySql(Option<MySqlUser>),
    /// `option pgsql-check`, with the account.
    PostgreSql(Box<[u8]>),
    /// `option redis-check`
    Redis,
    /// `option ldap-check`
    Ldap,
    /// `option spop-check`
    Spop,
    /// `option external-check`: a program.
    External,
}

/// Who logs in to MySQL.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MySqlUser {
    /// Its name.
    pub name: Box<[u8]>,
    /// `pre-41`: in the manner of before version 4.1.
    pub old: bool,
}

/// `tcp-check` or `http-check` lines of one section, as they were read.
#[derive(Clone, Debug, Default)]
pub struct CheckLines {
    /// What each says.
    pub steps: Vec<Step>,
    /// Where the first stands.
    pub first: Option<Span>,
    /// The section that they stand in: one that has lines of its own has none
    /// of its defaults.
    pub owner: Option<(ProxyKind, Box<str>)>,
}

/// The program of external checks.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ExternalLines {
    /// `external-check command`
    pub command: Option<Box<str>>,
    /// `external-check path`
    pub path: Option<Box<str>>,
    /// Where the section's own lines stand.
    pub span: Option<Span>,
}

/// A backend's health checks, or those of a `healthcheck` section.
#[derive(Clone, Debug, Default)]
pub struct Check {
    /// What is asked.
    pub kind: CheckKind,
    /// The request as `option httpchk` has it; `http-check send` counts before it.
    pub line: HttpSend,
    /// `external-check` lines.
    pub external: ExternalLines,
    /// `tcp-check` lines.
    pub tcp: CheckLines,
    /// `http-check` lines.
    pub http: CheckLines,
    /// `http-check disable-on-404`: 404 is "up, no new sessions".
    pub disable_on_404: bool,
    /// `http-check send-state`.
    pub send_state: bool,
    /// What is done; made at the end of loading.
    pub script: Arc<Script>,
}

impl Check {
    /// Whether it asks a server the same, and expects the same of the answer.
    pub fn asks_as(&self, other: &Check) -> bool {
        let text = |check: &Check| -> Vec<Box<[u8]>> {
            let steps = check.script.steps.iter();
            steps.map(|step| step.text.clone()).collect()
        };
        self.kind == other.kind
            && self.line.text == other.line.text
            && (&self.external.command, &self.external.path)
                == (&other.external.command, &other.external.path)
            && self.disable_on_404 == other.disable_on_404
            && text(self) == text(other)
    }

    /// Makes the script of what the lines said.
    pub fn compile(&mut self) {
        self.script = Arc::new(match &self.kind {
            CheckKind::Connect => Script::connection(),
            CheckKind::Tcp => Script::tcp(self.tcp.steps.clone()),
            CheckKind::Http => Script::http(self.http.steps.clone(), &self.line),
            other => Script::of_protocol(other),
        });
    }

    /// Whether one of its steps speaks TLS by itself.
    pub fn secures(&self) -> bool {
        let connects = |step: &Step| matches!(&step.action, StepAction::Connect(c) if c.tls);
        self.script.steps.iter().any(connects)
    }

    /// Whether each connection of its steps has a port of its own.
    pub fn has_ports(&self) -> bool {
        let mut connects = self
            .script
            .steps
            .iter()
            .filter_map(|step| match &step.action {
                StepAction::Connect(connect) => Some(connect.port.is_some()),
                _ => None,
            });
        connects.next() == Some(true) && connects.all(|has| has)
    }
}

/// A `healthcheck` section.
#[derive(Clone, Debug, Default)]
pub struct HealthCheck {
    /// Its name.
    pub name: Box<str>,
    /// Where that stands.
    pub span: Span,
    /// What it says.
    pub check: Check,
}
