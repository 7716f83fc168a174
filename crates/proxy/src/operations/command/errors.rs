//! Implements `show errors`: prints the last invalid request and response of each proxy, byte by
//! byte.

use super::{CommandReply, Context, Session, find_proxy};
use model::log::clf_date;
use model::state::{Capture, captured};
use std::fmt::Write;
use std::sync::Arc;
use std::time::SystemTime;

const WIDTH: usize = 70;

pub fn show(context: &Context, _: &Session, words: &[&str]) -> CommandReply {
    let config = context.runtime.config();
    let (mut only, mut requests, mut responses) = (None, true, true);
    if let Some(name) = words.get(2) {
        match name.parse::<i64>() {
            Ok(-1) => {}
            Ok(id) => only = Some(u32::try_from(id).unwrap_or(u32::MAX)),
            Err(_) => match find_proxy(&config, name, |_| true) {
                Some(proxy) => only = Some(proxy.id),
                None => return CommandReply::error("No such proxy.\n"),
            },
        }
        match words.get(3) {
            Some(&"request") => responses = false,
            Some(&"response") => requests = false,
            _ => {}
        }
    }
    let now = clf_date(SystemTime::now());
    let mut out = format!("Total events captured on [{now}] : {}\n", captured());
    for proxy in &config.proxies {
        // Prints requests for a frontend and responses for a backend only: both share their state
        // if they have the same name.
        let (requests, responses) = (
            requests && proxy.kind.is_frontend(),
            responses && proxy.kind.is_backend(),
        );
        let request = proxy.state.captures.request().filter(|_| requests);
        let response = proxy.state.captures.response().filter(|_| responses);
        let about = |of: &Option<(Box<str>, u32)>| {
            only.is_none_or(|id| of.as_ref().is_some_and(|(_, of)| *of == id))
        };
        for (capture, is_response) in [(request, false), (response, true)] {
            let fits = |capture: &Arc<Capture>| {
                about(&Some(capture.frontend.clone())) || about(&capture.backend)
            };
            if let Some(capture) = capture.filter(fits) {
                tell(&mut out, &capture, is_response);
            }
        }
    }
    CommandReply::report(out)
}

fn tell(out: &mut String, capture: &Capture, response: bool) {
    let named = |of: &Option<(Box<str>, u32)>| match of {
        Some((name, id)) => format!("{name} (#{id})"),
        None => "<NONE> (#-1)".into(),
    };
    let frontend = named(&Some(capture.frontend.clone()));
    let (backend, server) = (named(&capture.backend), named(&capture.server));
    let at = clf_date(capture.at);
    // Writing to a string cannot fail.
    let _ = if response {
        write!(
            out,
            " \n[{at}] backend {backend}: invalid response\n  frontend {frontend}, server {server}"
        )
    } else {
        write!(
            out,
            " \n[{at}] frontend {frontend}: invalid request\n  backend {backend}, server {server}"
        )
    };
    let _ = writeln!(
        out,
        ", event #{}, src {}\n  len {}, error at position {} :\n  ",
        capture.event,
        capture.source,
        capture.bytes.len(),
        capture.position
    );
    dump(out, &capture.bytes);
}

/// Writes the bytes in lines, each with its offset. A `+` marks a line that continues the previous
/// one.
fn dump(out: &mut String, bytes: &[u8]) {
    let (mut at, mut line_begins) = (0, true);
    while at < bytes.len() {
        let mark = if line_begins { ' ' } else { '+' };
        let _ = write!(out, "  {at:05}{mark} ");
        let mut width = 0;
        line_begins = false;
        while let Some(byte) = bytes.get(at) {
            let text = escaped(*byte);
            if width + text.len() > WIDTH {
                break;
            }
            width += text.len();
            out.push_str(&text);
            at += 1;
            if *byte == b'\n' {
                line_begins = true;
                break;
            }
        }
        out.push('\n');
    }
}

fn escaped(byte: u8) -> String {
    match byte {
        b'\n' => "\\n".into(),
        b'\r' => "\\r".into(),
        b'\t' => "\\t".into(),
        0x1b => "\\e".into(),
        b'\\' => "\\\\".into(),
        b' '..=b'~' => char::from(byte).to_string(),
        _ => format!("\\x{byte:02X}"),
    }
}

#[cfg(test)]
mod tests {
    use super::dump;

    #[test]
    fn bytes_are_shown_as_haproxy_shows_them() {
        let mut bytes = b"GET /x HTTP/1.1\r\nhost: q\\\x01\x80".to_vec();
        bytes.extend([b'a'; 100]);
        bytes.extend(b"\t\r\nb\x00 d: ");
        bytes.extend([b'c'; 80]);
        bytes.extend(b"\r\n\r\n");
        let mut out = String::new();
        dump(&mut out, &bytes);
        // The exact output of HAProxy 2.6.12 for these bytes.
        let shown = "  00000  GET /x HTTP/1.1\\r\\n
  00017  host: q\\\\\\x01\\x80aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
  00080+ aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\\t\\r\\n
  00130  b\\x00 d: ccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc
  00197+ ccccccccccccccccccc\\r\\n
  00218  \\r\\n
";
        assert_eq!(out, shown);
    }
}
