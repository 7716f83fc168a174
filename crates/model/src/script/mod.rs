//! Defines a health check as a script: connect, send, expect, repeated. Checks written in files
//! and built-in checks (`option smtpchk` and similar ones) both become a script, which
//! `crate::check` runs. A script does not change after loading.

mod expect;

pub use expect::{Code, Dialogue, Expect, Matcher, Pattern, ReportedText, StatusRange};

use crate::compiled::{Expression, Format, VariableChange};
use crate::setting::{HttpProtocol, ServerAddress};

pub const STEPS_MAX: usize = 1024;

/// A check: its steps and its message style.
#[derive(Clone, Debug)]
pub struct Script {
    pub steps: Vec<CheckStep>,
    pub voice: MessageStyle,
}

/// Style of the messages of a check.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MessageStyle {
    #[default]
    Plain,
    /// `tcp-check`: the reason and the number of the step.
    Steps,
    /// `http-check`: the reason, taken from the response.
    Http,
}

#[derive(Clone, Debug)]
pub struct CheckStep {
    pub action: StepAction,
    /// `comment`, printed when the step fails.
    pub comment: Option<Box<[u8]>>,
    /// Number of the step among the configured lines, from 1; 0 for a connection without a line of
    /// its own.
    pub number: u32,
    /// Text as written in the file, for comparisons.
    pub text: Box<[u8]>,
}

#[derive(Clone, Debug)]
pub enum StepAction {
    /// No action. The comment of this step applies to the next one.
    Comment,
    /// Closes the previous connection and opens a new one.
    Connect(Box<Connect>),
    Send(Box<Send>),
    Expect(Box<Expect>),
    Variable(Box<VariableChange>),
}

#[derive(Clone, Debug)]
pub enum PortSource {
    Number(u16),
    /// An expression; if it has no value, the port of the server is used.
    Expression(Expression),
}

#[derive(Clone, Debug, Default)]
pub struct Connect {
    /// `default`: options that are not set here are those of the server line.
    pub default: bool,
    pub port: Option<PortSource>,
    pub address: Option<ServerAddress>,
    pub send_proxy: bool,
    pub via_socks4: bool,
    pub tls: bool,
    pub sni: Option<Box<str>>,
    pub alpn: Option<Vec<Vec<u8>>>,
    /// `linger`: the connection is closed without a reset.
    pub linger: bool,
    pub protocol: Option<HttpProtocol>,
}

#[derive(Clone, Debug)]
pub enum Send {
    Bytes(Box<[u8]>),
    Format(Format),
    /// `send-binary-lf`: a format whose result is hexadecimal digits.
    HexFormat(Format),
    TlsHello,
    Http(HttpSend),
}

/// Name and value of a header field.
pub type HttpField = (Box<[u8]>, Format);

/// Request of a check; None for parts that the line does not set.
#[derive(Clone, Debug, Default)]
pub struct HttpSend {
    pub method: Option<Box<str>>,
    pub uri: Option<Format>,
    /// HTTP version as in the request line, such as `HTTP/1.1`.
    pub version: Option<Box<str>>,
    /// Header fields (`Host` among them), in order.
    pub headers: Vec<HttpField>,
    pub body: Option<Format>,
    /// Text as written in the file, for comparisons.
    pub text: Box<[u8]>,
}

impl Default for Script {
    fn default() -> Self {
        Script::connection()
    }
}

impl HttpSend {
    /// Fills the unset parts from another request.
    #[must_use]
    pub fn or(mut self, other: &HttpSend) -> HttpSend {
        self.method = self.method.or_else(|| other.method.clone());
        self.uri = self.uri.or_else(|| other.uri.clone());
        self.version = self.version.or_else(|| other.version.clone());
        if self.headers.is_empty() {
            self.headers.clone_from(&other.headers);
        }
        self.body = self.body.or_else(|| other.body.clone());
        self
    }
}

impl CheckStep {
    /// Creates a step for which there is no configured line.
    pub fn implied(action: StepAction) -> CheckStep {
        CheckStep {
            action,
            comment: None,
            number: 0,
            text: Box::default(),
        }
    }

    fn connects() -> CheckStep {
        let connect = Connect {
            default: true,
            ..Connect::default()
        };
        CheckStep::implied(StepAction::Connect(Box::new(connect)))
    }

    pub fn acts(&self) -> bool {
        !matches!(self.action, StepAction::Comment | StepAction::Variable(_))
    }
}

/// Moves a `comment` line's comment to the next step, unless that has a comment of its own.
fn hand_comments_on(steps: &mut [CheckStep]) {
    let mut above: Option<Box<[u8]>> = None;
    for step in steps {
        if matches!(step.action, StepAction::Comment) {
            above = step.comment.clone();
        } else {
            let above = above.take();
            step.comment = step.comment.take().or(above);
        }
    }
}

fn begins_with_connect(steps: &[CheckStep]) -> bool {
    let first = steps.iter().find(|step| step.acts());
    first.is_some_and(|step| matches!(step.action, StepAction::Connect(_)))
}

impl Script {
    pub fn tcp(mut steps: Vec<CheckStep>) -> Script {
        hand_comments_on(&mut steps);
        if steps.is_empty() {
            return Script::connection();
        }
        if !begins_with_connect(&steps) {
            steps.insert(0, CheckStep::connects());
        }
        Script {
            steps,
            voice: MessageStyle::Steps,
        }
    }

    /// Creates a script that passes when the server accepts the connection.
    pub fn connection() -> Script {
        Script {
            steps: vec![CheckStep::connects()],
            voice: MessageStyle::Plain,
        }
    }

    /// Creates a script from `http-check` lines and the request of `option httpchk`, which
    /// completes the first request in the lines.
    pub fn http(mut steps: Vec<CheckStep>, line: &HttpSend) -> Script {
        hand_comments_on(&mut steps);
        let first = steps.iter_mut().find_map(|step| match &mut step.action {
            StepAction::Send(send) => Some(&mut **send),
            _ => None,
        });
        if let Some(Send::Http(send)) = first {
            *send = std::mem::take(send).or(line);
        } else {
            // Inserts the request after the first connect step, if a line configures one.
            let connected = steps
                .iter()
                .position(|step| matches!(step.action, StepAction::Connect(_)));
            let at = match connected {
                Some(at) => at + 1,
                None => steps.iter().take_while(|step| !step.acts()).count(),
            };
            let send = Box::new(Send::Http(line.clone()));
            steps.insert(at, CheckStep::implied(StepAction::Send(send)));
        }
        if !begins_with_connect(&steps) {
            steps.insert(0, CheckStep::connects());
        }
        let last = steps.iter().rev().find_map(|step| match step.action {
            StepAction::Send(_) => Some(true),
            StepAction::Expect(_) => Some(false),
            _ => None,
        });
        if last == Some(true) {
            let expect = Box::new(Expect::success());
            steps.push(CheckStep::implied(StepAction::Expect(expect)));
        }
        Script {
            steps,
            voice: MessageStyle::Http,
        }
    }

    /// Creates a script of built-in steps. The steps are numbered from 1.
    pub fn built_in(actions: Vec<StepAction>) -> Script {
        let mut steps = Vec::with_capacity(actions.len() + 1);
        if !matches!(actions.first(), Some(StepAction::Connect(_))) {
            steps.push(CheckStep::connects());
        }
        let numbered = actions.into_iter().zip(1..);
        steps.extend(numbered.map(|(action, number)| CheckStep {
            number,
            ..CheckStep::implied(action)
        }));
        Script {
            steps,
            voice: MessageStyle::Plain,
        }
    }
}
