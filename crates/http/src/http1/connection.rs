//! The Connection header and what belongs to it: persistence, upgrades, TE.
//!
//! `close` and `keep-alive` speak to the next hop only: they are taken out and
//! written anew by [`super::framing`]. Other options stay as they are, as
//! HAProxy leaves them; but none may name a header that frames the message,
//! since the server would drop that header.

use super::Upgrade;
use super::fault::{Fault, FaultKind};
use super::head::Noted;
use crate::message::{Fields, Message, Version, split_values};

/// The options that were found.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Options {
    close: bool,
    keep_alive: bool,
    pub(super) upgrade: bool,
    /// Names a header that may not be dropped.
    frames: bool,
    empty: bool,
}

impl Options {
    /// Whether the sender lets the connection live.
    pub(super) fn keeps(&self, version: Version) -> bool {
        !self.close && (self.keep_alive || version != Version::Http10)
    }
}

fn names_framing(option: &[u8]) -> bool {
    [&b"content-length"[..], b"transfer-encoding", b"host"]
        .iter()
        .any(|name| option.eq_ignore_ascii_case(name))
}

/// Reads the Connection headers.
pub(super) fn options(fields: &mut Fields, noted: &Noted) -> Options {
    let mut options = Options::default();
    if !noted.connection.any() {
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

/// `option http-use-proxy-header`: whether a client that sent `Proxy-Connection`
/// lets its connection live. None: it sent none, or its request is not one to a
/// proxy (its target begins with `/` or `*`).
pub fn keeps_by_proxy_connection(request: &Message) -> Option<bool> {
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
    (options.close || options.keep_alive).then(|| options.keeps(request.version()))
}

/// Takes out what does not go on; `upgrade` says whether that option does.
pub(super) fn clean(fields: &mut Fields, noted: &Noted, options: &Options, upgrade: bool) {
    if noted.te.any() {
        clean_te(fields);
    }
    let drop_upgrade = options.upgrade && !upgrade;
    if !(options.close || options.keep_alive || options.frames || options.empty || drop_upgrade) {
        return;
    }
    const NAME: &[u8] = b"connection";
    let stays = |option: &&[u8]| {
        !(option.is_empty()
            || option.eq_ignore_ascii_case(b"close")
            || option.eq_ignore_ascii_case(b"keep-alive")
            || names_framing(option)
            || (drop_upgrade && option.eq_ignore_ascii_case(b"upgrade")))
    };
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
            // Never longer than what was there.
            let _ = fields.replace_value(index, &left);
            from = index + 1;
        }
    }
}

/// Of TE only `trailers` can be promised by a proxy.
fn clean_te(fields: &mut Fields) {
    let trailers = fields
        .values(b"te")
        .any(|v| v.eq_ignore_ascii_case(b"trailers"));
    let first = fields.position(b"te", 0);
    if let (true, Some(first)) = (trailers, first) {
        while let Some(next) = fields.position(b"te", first + 1) {
            fields.remove_at(next);
        }
        // One of several values, so never longer than they were together;
        // where it is refused all the same the header is better away.
        if fields.replace_value(first, b"trailers").is_ok() {
            return;
        }
    }
    fields.remove(b"te");
}

/// Whether a request asks for another protocol. Where it cannot (HTTP/1.0, a
/// body, no `connection: upgrade`) its Upgrade header does not go on. Neither
/// does `h2c`: behind such a tunnel no rule would see a request any more.
pub(super) fn request_upgrade(
    message: &mut Message,
    noted: &Noted,
    options: &Options,
    bodiless: bool,
) -> Result<Option<Upgrade>, Fault> {
    if !noted.upgrade.any() {
        return Ok(None);
    }
    if message
        .fields()
        .values(b"upgrade")
        .any(|p| p.eq_ignore_ascii_case(b"h2c"))
    {
        drop_h2c(message.fields_mut());
    }
    let asked = options.upgrade && bodiless && message.version() != Version::Http10;
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

/// Checks the 101 that answers an upgrade.
pub(super) fn response_upgrade(
    message: &Message,
    options: &Options,
    asked: Option<Upgrade>,
) -> Result<Upgrade, Fault> {
    let fields = message.fields();
    let Some((asked, protocol)) = asked.zip(protocol(fields)) else {
        return Err(Fault::new(FaultKind::UnexpectedUpgrade, 0));
    };
    if !options.upgrade {
        return Err(Fault::new(FaultKind::UnexpectedUpgrade, 0));
    }
    let websocket = asked == Upgrade::WebSocket || protocol == Upgrade::WebSocket;
    if websocket && !has_value(fields, b"sec-websocket-accept") {
        return Err(Fault::new(FaultKind::WebSocketKey, 0));
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
        // Shorter than what was just removed.
        let _ = fields.set(b"upgrade", &left);
    }
}
