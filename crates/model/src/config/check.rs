//! Holds the settings of a health check that determine its content (`option httpchk`,
//! `tcp-check`, …); its timing is in the options of the server. The lines are kept as read, and
//! at the end of loading they become a script of steps.

use crate::config::ProxyKind;
use crate::script::{CheckStep, HttpSend, Script, StepAction};
use language::Span;
use std::sync::Arc;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum CheckKind {
    /// The check succeeds when the server accepts the connection.
    #[default]
    Connect,
    /// `option tcp-check`: the steps of `tcp-check` lines.
    Tcp,
    /// `option httpchk`: a request, or the steps of `http-check` lines.
    Http,
    /// `option ssl-hello-chk`: a TLS ClientHello.
    TlsHello,
    /// `option smtpchk`, with the greeting to send.
    Smtp(Box<[u8]>),
    /// `option mysql-check`, with the account for the login.
    MySql(Option<MySqlUser>),
    /// `option pgsql-check`, with the account.
    PostgreSql(Box<[u8]>),
    Redis,
    Ldap,
    Spop,
    External,
}

/// Account for the login to MySQL.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MySqlUser {
    pub name: Box<[u8]>,
    /// `pre-41`: uses the login of MySQL versions before 4.1.
    pub old: bool,
}

/// `tcp-check` or `http-check` lines of a section, as they were read.
#[derive(Clone, Debug, Default)]
pub struct CheckLines {
    pub steps: Vec<CheckStep>,
    pub first: Option<Span>,
    /// Section that contains the lines, to know whether they were inherited: lines of a section
    /// itself replace all lines of its `defaults`.
    pub owner: Option<(ProxyKind, Box<str>)>,
}

/// Lines of the external check of a proxy: the command, and the `PATH` with which it runs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ExternalLines {
    pub command: Option<Box<str>>,
    pub path: Option<Box<str>>,
    pub span: Option<Span>,
}

/// Health checks of a backend or of a `healthcheck` section.
#[derive(Clone, Debug, Default)]
pub struct Check {
    pub kind: CheckKind,
    /// Request of `option httpchk`; `http-check send` takes precedence.
    pub line: HttpSend,
    pub external: ExternalLines,
    pub tcp: CheckLines,
    pub http: CheckLines,
    /// `http-check disable-on-404`: 404 means "up, no new sessions".
    pub disable_on_404: bool,
    pub send_state: bool,
    /// Steps of the check, compiled at the end of loading.
    pub script: Arc<Script>,
}

impl Check {
    /// Returns whether both checks send the same and expect the same response.
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

    pub fn compile(&mut self) {
        self.script = Arc::new(match &self.kind {
            CheckKind::Connect => Script::connection(),
            CheckKind::Tcp => Script::tcp(self.tcp.steps.clone()),
            CheckKind::Http => Script::http(self.http.steps.clone(), &self.line),
            other => Script::of_protocol(other),
        });
    }

    /// Returns whether a step connects with TLS.
    pub fn secures(&self) -> bool {
        let connects = |step: &CheckStep| matches!(&step.action, StepAction::Connect(c) if c.tls);
        self.script.steps.iter().any(connects)
    }

    /// Returns whether the script connects at least once, and always to an explicit port.
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

#[derive(Clone, Debug, Default)]
pub struct HealthCheck {
    pub name: Box<str>,
    pub span: Span,
    pub check: Check,
}
