//! Sends commands of the runtime API to a running proxy through its supervisor, without a `stats
//! socket`, and returns the responses.

use overview::traffic;
use part::channel::{Channel, ChannelError};
use part::role::{Level, SupervisorMessage};
use proxy::message::ProxyMessage as OfProxy;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};
use supervisor::directory::{self, Instance};

/// Sends command lines and returns the response of the proxy. Returns None if the instance has no
/// proxy.
///
/// # Errors
/// The supervisor does not respond within `limit`, the proxy sends nothing for the rest of that
/// time, or a connection fails.
pub fn ask(
    instance: &Instance,
    level: Level,
    lines: &[u8],
    limit: Duration,
) -> Result<Option<String>, ChannelError> {
    let (mut own, other) = UnixStream::pair()?;
    let until = Instant::now() + limit;
    let mut channel = Channel::new(directory::connected(&instance.socket)?)?;
    let message = SupervisorMessage::Part(Box::new(OfProxy::Operate { level }.envelope()));
    channel.send_numbered(1, &message, &[Arc::new(OwnedFd::from(other))])?;
    match channel.wait(Some(limit))?.message {
        SupervisorMessage::Nobody { missing: false, .. } => return Ok(None),
        SupervisorMessage::Nobody { words, .. } => return Err(std::io::Error::other(words).into()),
        _ => {}
    }
    let left = until.saturating_duration_since(Instant::now());
    own.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
    own.write_all(lines)?;
    let mut bytes = Vec::new();
    own.take(traffic::BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Executes one command at the operator level, and returns the response.
///
/// # Errors
/// Returns why there is no response, or the proxy's message if that has a severity.
pub fn order(instance: &Instance, command: &str, limit: Duration) -> Result<String, String> {
    let lines = format!("set severity-output number;{command}\n");
    let reply = ask(instance, Level::Operator, lines.as_bytes(), limit);
    let reply = reply.map_err(|error| format!("the proxy does not respond: {error}"))?;
    let Some(reply) = reply else {
        return Err("the running configuration has no proxy".to_owned());
    };
    let reply = reply.trim();
    // A response that begins with a number of severity is a message, and no other output.
    let message = reply
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("]: "));
    match message {
        Some((severity, words)) if severity.parse::<u8>().is_ok() => Err(words.to_owned()),
        _ => Ok(reply.to_owned()),
    }
}

/// Quotes a word of a command line: separators are escaped, and line breaks become spaces.
pub fn word(text: &str) -> String {
    let mut word = String::new();
    for c in text.chars() {
        if matches!(c, ' ' | '\t' | ';' | '\\') {
            word.push('\\');
        }
        // A line break would end the command.
        word.push(if matches!(c, '\n' | '\r') { ' ' } else { c });
    }
    word
}

#[cfg(test)]
mod tests {
    use super::word;

    #[test]
    fn argument_cannot_end_a_command() {
        assert_eq!(word("/a b;show env\\"), r"/a\ b\;show\ env\\");
        assert!(!word("a\nshow env").contains('\n'));
    }
}
