//! Holds the mail servers for alerts about servers (`mailers` sections), and the alert settings
//! of a proxy (`email-alert`).

use language::Span;
use std::net::SocketAddr;
use std::sync::Arc;

/// Default timeout of a whole dialogue with a mail server, milliseconds.
const TIMEOUT_MS: u32 = 10_000;

#[derive(Clone, Debug)]
pub struct Mailers {
    pub name: Box<str>,
    pub span: Span,
    /// `mailer` lines; each server receives every mail.
    pub servers: Vec<Mailer>,
    pub timeout_ms: u32,
}

impl Mailers {
    pub fn new(name: &str, span: Span) -> Self {
        Mailers {
            name: name.into(),
            span,
            servers: Vec::new(),
            timeout_ms: TIMEOUT_MS,
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mailer {
    pub name: Box<str>,
    pub address: SocketAddr,
}

/// Mail alerts of a proxy.
#[derive(Clone, Debug, Default)]
pub struct EmailAlert {
    /// `email-alert mailers`: name of the section, and its position in this line.
    pub mailers_name: Option<(Box<str>, Span)>,
    pub mailers: Option<Arc<Mailers>>,
    pub from: Option<Box<str>>,
    pub to: Option<Box<str>>,
    pub host_name: Option<Box<str>>,
    /// `email-alert level`: alerts of this level and more severe ones are sent; None is `alert`.
    pub level: Option<u8>,
}
