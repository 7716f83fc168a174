//! Asks a running program for all that is shown.

use super::super::{reload, status};
use crate::identity;
use clap::ArgMatches;
use console::look::Look;
use console::traffic::{self, Traffic};
use part::channel::{Channel, ChannelError};
use part::report::Report;
use part::role::{Level, Message};
use proxy::message::Message as OfProxy;
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};
use supervisor::directory::{self, Instance};

/// How long a program may take for one answer, so that a hanging one is seen soon.
const LIMIT: Duration = Duration::from_secs(3);

/// Asks the program that the options name; if it was started anew, the new one.
///
/// # Errors
/// Why nobody answers.
pub fn look(matches: &ArgMatches) -> Result<Look, String> {
    let instance = reload::selected(matches)?;
    let mut reports = Vec::new();
    for part in status::parts() {
        match status::report_within(&instance, part, Some(LIMIT)) {
            Ok(report) => reports.push(report),
            Err(error) if error.is_missing() => {
                reports.push(Report::silent(part, &error.to_string()));
            }
            // The first part is the supervisor itself: without it nobody is asked.
            Err(error) if reports.is_empty() && !error.has_nothing() => {
                return Err(format!("the supervisor does not respond: {error}"));
            }
            Err(_) => {}
        }
    }
    let (traffic, silent) = match answer(&instance) {
        Ok(text) => (text.map(|text| Traffic::read(&text)), None),
        Err(error) => (None, Some(error.to_string())),
    };
    Ok(Look {
        changes: VecDeque::new(),
        at: Instant::now(),
        host: identity::host_name(),
        pid: instance.pid,
        traffic,
        silent,
        reports,
    })
}

/// What the proxy answers; None where there is none.
fn answer(instance: &Instance) -> Result<Option<String>, ChannelError> {
    let (mut own, other) = UnixStream::pair()?;
    own.set_read_timeout(Some(LIMIT))?;
    let mut channel = Channel::new(directory::connected(&instance.socket)?)?;
    let level = Level::User;
    let message = Message::Part(Box::new(OfProxy::Operate { level }.envelope()));
    channel.send_numbered(1, &message, &[Arc::new(OwnedFd::from(other))])?;
    match channel.wait(Some(LIMIT))?.message {
        Message::Nobody { missing: false, .. } => return Ok(None),
        Message::Nobody { words, .. } => return Err(std::io::Error::other(words).into()),
        _ => {}
    }
    own.write_all(traffic::ASK)?;
    let mut bytes = Vec::new();
    own.take(traffic::BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}
