//! Tests the HTTP/1 parsers: tables of accepted and refused input, and properties of any input.

use crate::http1::*;
use crate::message::HttpMessage;

mod chunks;
mod properties;
mod relaxed;
mod requests;
mod responses;

/// Describes the result of a parse in one line: the head as written (line ends as `|`), the body
/// and the other facts; or the fault and its position.
fn describe(
    result: Result<ParseStatus, HttpParseError>,
    message: &HttpMessage,
    input: &[u8],
) -> String {
    let parsed = match result {
        Err(fault) => return format!("{:?} at {}", fault.kind, fault.at),
        Ok(ParseStatus::Incomplete) => return "Incomplete".to_owned(),
        Ok(ParseStatus::Done(parsed)) => parsed,
    };
    let mut head = Vec::new();
    message.write_http1(&mut head);
    let mut text = head.escape_ascii().to_string().replace("\\r\\n", "|");
    text.push_str(match parsed.body {
        BodyLength::None => " none",
        BodyLength::Length(_) => " length",
        BodyLength::Chunked => " chunked",
        BodyLength::UntilClose => " until-close",
        BodyLength::Stream => " stream",
        BodyLength::Tunnel => " tunnel",
    });
    if let BodyLength::Length(n) = parsed.body {
        text.push_str(&format!(" {n}"));
    }
    text.push_str(if parsed.keep_alive { " keep" } else { " close" });
    match parsed.upgrade {
        Some(Upgrade::WebSocket) => text.push_str(" websocket"),
        Some(Upgrade::Other) => text.push_str(" upgrade"),
        None => {}
    }
    if parsed.expect_continue {
        text.push_str(" expect");
    }
    if parsed.interim {
        text.push_str(" interim");
    }
    if parsed.consumed < input.len() {
        text.push_str(&format!(" +{}", input.len() - parsed.consumed));
    }
    text
}

fn request(input: &[u8], limits: &Limits) -> String {
    let mut message = HttpMessage::new();
    let result = parse_request(input, limits, &mut message);
    describe(result, &message, input)
}

fn response(input: &[u8], facts: &RequestFacts) -> String {
    let mut message = HttpMessage::new();
    let result = parse_response(input, facts, &Limits::default(), &mut message);
    describe(result, &message, input)
}
