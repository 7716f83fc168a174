//! Evaluates and cleans the Connection header of a received message and related headers:
//! persistence, upgrades, TE.
//!
//! `close` and `keep-alive` concern this connection only: they are removed, and
//! [`super::framing`] adds the options for the next connection. Other options are kept, as in
//! HAProxy; but none may name a header that frames the message, because the server would drop
//! that header.

use super::Upgrade;
use super::fault::{FaultKind, HttpParseError};
use super::head::Noted;
use crate::message::{Fields, HttpMessage, HttpVersion, split_values};

/// Options found in the Connection headers.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Options {
    close: bool,
    keep_alive: bool,
    pub(super) upgrade: bool,
    /// True if an option names a header that must not be dropped.
    frames: bool,
    empty: bool,
}

impl Options {
    pub(super) fn is_keep_alive(&self, version: HttpVersion) -> bool {
        !self.close && (self.keep_alive || version != HttpVersion::Http10)
    }
}

fn names_framing(option: &[u8]) -> bool {
    [&b"content-length"[..], b"transfer-encoding", b"host"]
        .iter()
        .any(|name| option.eq_ignore_ascii_case(name))
}

pub(super) fn options(fields: &mut Fields, noted: &Noted) -> Options {
    let mut options = Options::default();
    if !noted.connection.has_occurred() {
        return options;
    }
    for option in fields.values(b"connection") {
        match option {
            o if o.eq_ignore_ascii_case(b"close") => options.close = true,
            o if o.eq_ignore_ascii_case(b"keep-alive") => options.keep_alive = true,
            o if o.eq_ignore_ascii_case(b"upgrade") => options.upgrade = true,
            o if names_framing(o) => options.frames = true,
            b"" => options.empty = true,
            _ => {}
        }
    }
    options
}

/// Returns whether a client that sent `Proxy-Connection` keeps its connection open (`option
/// http-use-proxy-header`). None if it sent no such header, or if the request is not one to a proxy
/// (its target begins with `/` or `*`).
pub fn proxy_connection_keep_alive(request: &HttpMessage) -> Option<bool> {
    if matches!(request.target().first(), None | Some(b'/' | b'*')) {
        return None;
    }
    let mut options = Options::default();
    for line in request.fields().get_all(b"proxy-connection") {
        for option in split_values(line) {
            options.close |= option.eq_ignore_ascii_case(b"close");
            options.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }
    (options.close || options.keep_alive).then(|| options.is_keep_alive(request.version()))
}

/// Removes the options that must not be forwarded, and reduces TE to `trailers`. `upgrade`
/// indicates whether that option is forwarded.
pub(super) fn remove_hop_options(
    fields: &mut Fields,
    noted: &Noted,
    options: &Options,
    upgrade: bool,
) {
    if noted.te.has_occurred() {
        clean_te(fields);
    }
    let drop_upgrade = options.upgrade && !upgrade;
    if !(options.close || options.keep_alive || options.frames || options.empty || drop_upgrade) {
        return;
    }
    retain_options(fields, |option| {
        !(option.is_empty()
            || is_persistence(option)
            || names_framing(option)
            || (drop_upgrade && option.eq_ignore_ascii_case(b"upgrade")))
    });
}

fn is_persistence(option: &[u8]) -> bool {
    option.eq_ignore_ascii_case(b"close") || option.eq_ignore_ascii_case(b"keep-alive")
}

/// Removes `close` and `keep-alive` from a head that rules have edited, and returns whether it had
/// `close`: the connection ends after the message then. The options of the peer itself were removed
/// when its head was parsed.
pub fn take_close(message: &mut HttpMessage) -> bool {
    let (mut occurs, mut closes) = (false, false);
    for option in message.fields().values(b"connection") {
        occurs |= is_persistence(option);
        closes |= option.eq_ignore_ascii_case(b"close");
    }
    if !occurs {
        return false;
    }
    retain_options(message.fields_mut(), |option| !is_persistence(option));
    closes
}

fn retain_options(fields: &mut Fields, stays: impl Fn(&[u8]) -> bool) {
    const NAME: &[u8] = b"connection";
    let stays = |option: &&[u8]| stays(option);
    let mut from = 0;
    while let Some(index) = fields.position(NAME, from) {
        let line = fields.at(index).map_or(&b""[..], |(_, value)| value);
        let mut left = Vec::new();
        for option in split_values(line).filter(stays) {
            if !left.is_empty() {
                left.push(b',');
            }
            left.extend_from_slice(option);
        }
        if left.is_empty() {
            fields.remove_at(index);
        } else {
            // Ignores the result, because the rest is never longer than the original value.
            let _ = fields.replace_value(index, &left);
            from = index + 1;
        }
    }
}

/// Reduces TE to `trailers`, the only value that a proxy can promise.
fn clean_te(fields: &mut Fields) {
    let trailers = fields
        .values(b"te")
        .any(|v| v.eq_ignore_ascii_case(b"trailers"));
    let first = fields.position(b"te", 0);
    if let (true, Some(first)) = (trailers, first) {
        while let Some(next) = fields.position(b"te", first + 1) {
            fields.remove_at(next);
        }
        // Replaces the first value. The kept value is never longer than all values together were.
        // If it is refused nevertheless, the header is removed.
        if fields.replace_value(first, b"trailers").is_ok() {
            return;
        }
    }
    fields.remove(b"te");
}

/// Returns whether a request is an upgrade to another protocol. If it must not be one (HTTP/1.0, a
/// body, no `connection: upgrade`), its Upgrade header is removed. So is `h2c`, because rules could
/// not see the requests within such a tunnel.
pub(super) fn request_upgrade(
    message: &mut HttpMessage,
    noted: &Noted,
    options: &Options,
    bodiless: bool,
) -> Result<Option<Upgrade>, HttpParseError> {
    if !noted.upgrade.has_occurred() {
        return Ok(None);
    }
    if message
        .fields()
        .values(b"upgrade")
        .any(|p| p.eq_ignore_ascii_case(b"h2c"))
    {
        drop_h2c(message.fields_mut());
    }
    let asked = options.upgrade && bodiless && message.version() != HttpVersion::Http10;
    let protocol = protocol(message.fields());
    if !asked || protocol.is_none() {
        message.remove(b"upgrade");
        return Ok(None);
    }
    if protocol == Some(Upgrade::WebSocket) && !has_value(message.fields(), b"sec-websocket-key") {
        return Err(noted.upgrade.fault(FaultKind::WebSocketKey));
    }
    Ok(protocol)
}

pub(super) fn response_upgrade(
    message: &HttpMessage,
    options: &Options,
    asked: Option<Upgrade>,
) -> Result<Upgrade, HttpParseError> {
    let fields = message.fields();
    let Some((asked, protocol)) = asked.zip(protocol(fields)) else {
        return Err(HttpParseError::new(FaultKind::UnexpectedUpgrade, 0));
    };
    if !options.upgrade {
        return Err(HttpParseError::new(FaultKind::UnexpectedUpgrade, 0));
    }
    let websocket = asked == Upgrade::WebSocket || protocol == Upgrade::WebSocket;
    if websocket && !has_value(fields, b"sec-websocket-accept") {
        return Err(HttpParseError::new(FaultKind::WebSocketKey, 0));
    }
    Ok(protocol)
}

fn has_value(fields: &Fields, name: &[u8]) -> bool {
    fields.get(name).is_some_and(|value| !value.is_empty())
}

fn protocol(fields: &Fields) -> Option<Upgrade> {
    let mut found = None;
    for name in fields.values(b"upgrade").filter(|p| !p.is_empty()) {
        if name.eq_ignore_ascii_case(b"websocket") {
            return Some(Upgrade::WebSocket);
        }
        found = Some(Upgrade::Other);
    }
    found
}

fn drop_h2c(fields: &mut Fields) {
    let mut left = Vec::new();
    for name in fields.values(b"upgrade") {
        if name.is_empty() || name.eq_ignore_ascii_case(b"h2c") {
            continue;
        }
        if !left.is_empty() {
            left.extend_from_slice(b", ");
        }
        left.extend_from_slice(name);
    }
    fields.remove(b"http2-settings");
    fields.remove(b"upgrade");
    if !left.is_empty() {
        // Ignores the result, because the value is shorter than the removed one.
        let _ = fields.set(b"upgrade", &left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_close_of_a_rule_keeps_other_options() {
        // The values of the Connection headers, whether they close, and the remaining ones.
        let table: [(&[&str], bool, &[&str]); 7] = [
            (&[], false, &[]),
            (&["close"], true, &[]),
            (&["Keep-Alive"], false, &[]),
            (&["upgrade"], false, &["upgrade"]),
            (&["foo, CLOSE ,bar"], true, &["foo,bar"]),
            (&["keep-alive", "close"], true, &[]),
            (&["closed", "x"], false, &["closed", "x"]),
        ];
        for (values, closes, left) in table {
            let mut message = HttpMessage::new();
            message
                .begin_response(HttpVersion::Http11, 200, b"OK")
                .unwrap();
            for value in values {
                message.add(b"connection", value.as_bytes()).unwrap();
            }
            assert_eq!(take_close(&mut message), closes, "{values:?}");
            let rest: Vec<&[u8]> = message.fields().get_all(b"connection").collect();
            let left: Vec<&[u8]> = left.iter().map(|value| value.as_bytes()).collect();
            assert_eq!(rest, left, "{values:?}");
        }
    }
}
