//! Implements the actions that change the start line of a message: path, query, target, method,
//! status.

use super::header::{regex, substitute};
use super::{ActionResult, ActionRow, Build, BuiltAction, RuleAction, codes, places};
use crate::compiled::action::target::{TargetChange, TargetOperation, TargetPart};
use crate::rules::draft::ConfigDraft;
use crate::transaction::ProxyStream;
use http::message::MessageEditError;

const REQUEST: &[&str] = &[places::REQUEST];

pub(super) static ROWS: &[ActionRow] = language::rows! {
    "set-path <fmt>" REQUEST, |l, b| set(l, b, TargetPart::Path), "set-path /app%[path]",
        "Replaces the path of the request and keeps its query. A missing slash is added at the beginning.";
    "set-pathq <fmt>" REQUEST, |l, b| set(l, b, TargetPart::PathAndQuery), "set-pathq /app%[path]?from=%[src]",
        "Replaces the path and query of the request. Scheme and host of an absolute target are kept.";
    "set-query <fmt>" REQUEST, |l, b| set(l, b, TargetPart::Query), "set-query %[query,lower]",
        "Replaces the query of the request, without its question mark. The path is kept.";
    "set-uri <fmt>" REQUEST, |l, b| set(l, b, TargetPart::Whole), "set-uri http://app.example.com%[pathq]",
        "Replaces the whole target of the request. If it has a scheme and a host, the Host header changes as well.";
    "set-method <fmt>" REQUEST, |loader, build| Ok(change(TargetOperation::Method(build.format(loader, "<fmt>")?))), "set-method PUT",
        "Replaces the method of the request. Logs show the original one.";
    "replace-path <match-regex> <replace-fmt>" REQUEST, |l, b| replace(l, b, TargetPart::Path), "replace-path ^/old/(.*) /new/\\1",
        "Replaces the whole path if it matches the regular expression; `\\1` to `\\9` in the log format insert its \
         groups. The query is kept.";
    "replace-pathq <match-regex> <replace-fmt>" REQUEST, |l, b| replace(l, b, TargetPart::PathAndQuery), "replace-pathq ^/old/(.*) /new/\\1",
        "Like `replace-path`, for path and query together. The expression matches both, including the question mark.";
    "replace-uri <match-regex> <replace-fmt>" REQUEST, |l, b| replace(l, b, TargetPart::Whole), "replace-uri ^http://(.*) https://\\1",
        "Like `replace-path`, for the whole target. HTTP/1 targets usually have no host, so `replace-path` is nearly \
         always what you need.";
    "set-status <status> [ reason <str> ]" &[places::RESPONSE, places::AFTER], status, "set-status 503 reason \"Slow down\"",
        "Replaces the status of the response, and its reason by the default or given one.";
};

fn change(change: TargetOperation) -> RuleAction {
    RuleAction::Target(Box::new(TargetChange(change)))
}

fn set(loader: &mut ConfigDraft, build: &mut Build<'_, '_>, part: TargetPart) -> BuiltAction {
    Ok(change(TargetOperation::Set(
        part,
        build.format(loader, "<fmt>")?,
    )))
}

fn replace(loader: &mut ConfigDraft, build: &mut Build<'_, '_>, part: TargetPart) -> BuiltAction {
    let regular = regex(loader, build)?;
    Ok(change(TargetOperation::Replace(
        part,
        regular,
        build.format(loader, "<replace-fmt>")?,
    )))
}

fn status(_: &mut ConfigDraft, build: &mut Build<'_, '_>) -> BuiltAction {
    let word = build.args.required("<status>")?;
    let Some(status) = word
        .str()
        .parse::<u16>()
        .ok()
        .filter(|s| (100..1000).contains(s))
    else {
        let message = format!("'{}' is not a status", word.text());
        return Err(build.wrong(
            &codes::STATUS_RANGE,
            word,
            message,
            "expected a number from 100 to 999",
        ));
    };
    let mut reason = None;
    if build.args.take_if("reason") {
        let mut bytes = build.args.required("<str>")?.bytes.clone();
        super::header::harmless(&mut bytes);
        reason = Some(bytes.into());
    }
    Ok(change(TargetOperation::Status(status, reason)))
}

/// Percent-encodes bytes that are not allowed in a target.
fn encoded(bytes: &[u8]) -> Vec<u8> {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = Vec::with_capacity(bytes.len());
    for byte in bytes {
        if *byte <= b' ' || *byte == 0x7f {
            out.extend_from_slice(&[
                b'%',
                HEX[usize::from(byte >> 4)],
                HEX[usize::from(byte & 15)],
            ]);
        } else {
            out.push(*byte);
        }
    }
    out
}

fn put(stream: &mut ProxyStream, part: TargetPart, value: &[u8]) -> Result<(), MessageEditError> {
    stream.keep_received();
    let value = encoded(value);
    match part {
        TargetPart::Path => stream.request.set_path(&value),
        TargetPart::PathAndQuery => stream.request.set_path_and_query(&value),
        TargetPart::Query => stream.request.set_query(&value),
        TargetPart::Whole => stream.request.set_target(&value),
    }
}

impl TargetChange {
    pub(super) fn run(&self, stream: &mut ProxyStream) -> ActionResult {
        let done = match &self.0 {
            TargetOperation::Set(part, format) => {
                let value = format.fill(stream);
                put(stream, *part, &value)
            }
            TargetOperation::Replace(part, regular, format) => {
                let request = &stream.request;
                let old = match part {
                    TargetPart::Path => request.path(),
                    TargetPart::PathAndQuery => request.path_and_query(),
                    TargetPart::Query => request.query().unwrap_or_default(),
                    TargetPart::Whole => request.target(),
                };
                match substitute(regular, old, format, stream) {
                    Some(value) => put(stream, *part, &value),
                    None => Ok(()),
                }
            }
            TargetOperation::Method(format) => {
                stream.keep_received();
                let method = format.fill(stream);
                stream.request.set_method(&method)
            }
            TargetOperation::Status(status, reason) => {
                stream.response.set_status(*status, reason.as_deref())
            }
        };
        if done.is_ok() {
            ActionResult::Next
        } else {
            ActionResult::Failed
        }
    }
}
