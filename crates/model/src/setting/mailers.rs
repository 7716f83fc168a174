//! Who takes mails about changes of servers (`mailers`), and what a backend says
//! of them (`email-alert`).

use language::Span;
use std::net::SocketAddr;
use std::sync::Arc;

/// What a whole dialogue with a mail server may take where nothing says so.
const TIMEOUT_MS: u32 = 10_000;

/// A `mailers` section.
#[derive(Clone, Debug)]
pub struct Mailers {
    /// Its name.
    pub name: Box<str>,
    /// Where that stands.
    pub span: Span,
    /// `mailer` lines; each gets every mail.
    pub servers: Vec<Mailer>,
    /// `timeout mail`
    pub timeout_ms: u32,
}

impl Mailers {
    /// One without a mailer yet.
    pub fn new(name: &str, span: Span) -> Self {
        Mailers {
            name: name.into(),
            span,
            servers: Vec::new(),
            timeout_ms: TIMEOUT_MS,
        }
    }
}

/// A mail server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mailer {
    /// Its name.
    pub name: Box<str>,
    /// Where it is.
    pub address: SocketAddr,
}

/// The mails of a proxy.
#[derive(Clone, Debug, Default)]
pub struct EmailAlert {
    /// `email-alert mailers`: the section's name, and where it stands here.
    pub mailers_name: Option<(Box<str>, Span)>,
    /// That section.
    pub mailers: Option<Arc<Mailers>>,
    /// `email-alert from`
    pub from: Option<Box<str>>,
    /// `email-alert to`
    pub to: Option<Box<str>>,
    /// `email-alert myhostname`
    pub host_name: Option<Box<str>>,
    /// `email-alert level`: what is graver than this, or as grave, is told;
    /// None is `alert`.
    pub level: Option<u8>,
}
