//! Tests the conversion between field lists of HTTP/2 and messages: tables compared with haproxy
//! 2.6.12 with `proto h2`, and properties for any list.
//!
//! Deliberately stricter than HAProxy: a `host` that differs from `:authority`, empty authorities
//! and those with a user, `http2-settings`, extended CONNECT for `h2c`, a length without a body.

mod properties;
mod requests;
mod responses;
mod sent;

use super::*;
use crate::http1::{BodyLength, HttpParseError, Limits, Parsed, RequestFacts, Upgrade};
use crate::message::HttpMessage;
use protocol::http2::FieldList;

type Pairs<'a> = &'a [(&'a str, &'a str)];

fn list(fields: &[(&str, &str)]) -> FieldList {
    let mut list = FieldList::new(1 << 20, 1000);
    for (name, value) in fields {
        // A byte above ASCII is written as the character with that number.
        let bytes = |text: &str| text.chars().map(|c| c as u8).collect::<Vec<_>>();
        list.push(&bytes(name), &bytes(value));
    }
    list
}

/// Describes the head in HTTP/1 form (line ends as `|`) and the other facts; or the fault.
fn describe(result: Result<Parsed, HttpParseError>, message: &HttpMessage) -> String {
    let parsed = match result {
        Ok(parsed) => parsed,
        Err(fault) => return format!("{:?}", fault.kind),
    };
    let mut head = Vec::new();
    message.write_http1(&mut head);
    let mut text = head.escape_ascii().to_string().replace("\\r\\n", "|");
    match parsed.body {
        BodyLength::None => text.push_str(" none"),
        BodyLength::Length(n) => text.push_str(&format!(" length {n}")),
        BodyLength::Stream => text.push_str(" stream"),
        BodyLength::Tunnel => text.push_str(" tunnel"),
        other => text.push_str(&format!(" {other:?}")),
    }
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
    text
}

fn request_of(fields: &[(&str, &str)], end: bool) -> (Result<Parsed, HttpParseError>, HttpMessage) {
    let mut message = HttpMessage::new();
    let result = request(&list(fields), end, &Limits::default(), &mut message);
    (result, message)
}

fn response_of(
    fields: &[(&str, &str)],
    end: bool,
    facts: &RequestFacts,
) -> (Result<Parsed, HttpParseError>, HttpMessage) {
    let mut message = HttpMessage::new();
    let result = response(&list(fields), end, facts, &Limits::default(), &mut message);
    (result, message)
}
