//! Implements redirects: the `redirect` action and the `redirect` keyword. Parses them and builds
//! the redirect responses.

use super::{
    ActionResult, ActionRow, Build, BuiltAction, MessageVerdict, RuleAction, codes, places,
};
use crate::codes as load_codes;
use crate::compiled::action::redirect::{RedirectKind, Redirection};
use crate::rules::draft::ConfigDraft;
use crate::rules::format::{Dialect, Format};
use crate::transaction::{ProxyResponse, ProxyStream, StreamPhase, Termination};
use http::http1::{Redirect, RedirectCode};
use http::message::HttpMessage;
use language::{Diagnostic, suggest};
use std::sync::Arc;

pub const LINE_SYNTAX: &str = "redirect { location <text> | prefix <text> | scheme <text> } [ code <code> ] \
     [ drop-query ] [ append-slash ] [ ignore-empty ] [ set-cookie <name>[=<value>] ] [ clear-cookie <name>[=] ]";

const SYNTAX: &str = "redirect { location <fmt> | prefix <fmt> | scheme <fmt> } [ code <code> ] [ drop-query ] [ append-slash ] \
     [ ignore-empty ] [ set-cookie <name>[=<value>] ] [ clear-cookie <name>[=] ]";

pub(super) static ROWS: &[ActionRow] = &[ActionRow {
    places: places::ANSWERING,
    syntax: SYNTAX,
    doc: "Redirects the client: to a `location`, to the same path after a `prefix`, or to the same address with \
        another `scheme`. The status is 302, or `code`: 301, 303, 307 or 308. `drop-query` removes the query, \
        `append-slash` ends what a `prefix` or `scheme` leads to with a slash (use it with `drop-query`: it would \
        follow the query), `ignore-empty` skips the rule if its log format is empty.",
    example: "redirect scheme https code 301 unless { dst_port 443 }",
    build,
}];

const WORDS: [&str; 9] = [
    "location",
    "prefix",
    "scheme",
    "code",
    "set-cookie",
    "clear-cookie",
    "drop-query",
    "append-slash",
    "ignore-empty",
];

/// Parses the words after `redirect` in an `http-request`, `http-response` or
/// `http-after-response` rule.
pub(super) fn build(loader: &mut ConfigDraft, build: &mut Build<'_, '_>) -> BuiltAction {
    redirection(loader, build, |loader, build| {
        let word = build.args.required("<fmt>")?;
        Format::parse_as(loader, word, build.usage, Dialect::Text)
    })
}

/// Parses the words of a `redirect` line, whose target is plain text.
pub(super) fn build_line(loader: &mut ConfigDraft, build: &mut Build<'_, '_>) -> BuiltAction {
    redirection(loader, build, |loader, build| {
        let word = build.args.required("<text>")?;
        if word.bytes.windows(2).any(|pair| pair == b"%[") {
            let message = "'redirect' sends '%[' as it is: its target is no log format";
            loader.report(
                Diagnostic::warning(&codes::LITERAL_REDIRECT, word.span, message)
                    .label("sent as it is")
                    .help("write `http-request redirect` to insert values"),
            );
        }
        Ok(Format::constant(&word.bytes))
    })
}

fn redirection(
    loader: &mut ConfigDraft,
    build: &mut Build<'_, '_>,
    target_of: impl Fn(&mut ConfigDraft, &mut Build<'_, '_>) -> Result<Format, Diagnostic>,
) -> BuiltAction {
    let mut redirection = Redirection {
        to: RedirectKind::Location,
        format: Format::constant(b""),
        code: RedirectCode::default(),
        response: build.set.is_response(),
        drop_query: false,
        append_slash: false,
        ignore_empty: false,
        set_cookie: None,
        clear_cookie: None,
    };
    let mut target = false;
    while let Some(word) = build.option() {
        match word.str() {
            kind @ ("location" | "prefix" | "scheme") => {
                redirection.to = match kind {
                    "location" => RedirectKind::Location,
                    "prefix" => RedirectKind::Prefix,
                    _ => RedirectKind::Scheme,
                };
                redirection.format = target_of(loader, build)?;
                target = true;
            }
            "code" => redirection.code = code(build)?,
            "set-cookie" => {
                redirection.set_cookie = Some(
                    build
                        .args
                        .required("<name>[=<value>]")?
                        .bytes
                        .clone()
                        .into(),
                )
            }
            "clear-cookie" => {
                redirection.clear_cookie =
                    Some(build.args.required("<name>[=]")?.bytes.clone().into())
            }
            "drop-query" => redirection.drop_query = true,
            "append-slash" => redirection.append_slash = true,
            "ignore-empty" => redirection.ignore_empty = true,
            other => {
                let message = format!("unknown argument '{other}' of 'redirect'");
                return Err(build
                    .wrong(&load_codes::BAD_VALUE, word, message, "unknown word")
                    .did_you_mean(word.span, suggest::nearest(other, WORDS)));
            }
        }
    }
    if !target {
        let message = "'redirect' expects 'location', 'prefix' or 'scheme'";
        return Err(build.wrong(
            &load_codes::MISSING_ARGUMENT,
            build.word,
            message,
            "the target is missing",
        ));
    }
    Ok(RuleAction::Redirect(Box::new(redirection)))
}

fn code(build: &mut Build<'_, '_>) -> Result<RedirectCode, Diagnostic> {
    let word = build.args.required("<code>")?;
    word.str()
        .parse()
        .ok()
        .and_then(RedirectCode::of)
        .ok_or_else(|| {
            build.wrong(
                &codes::STATUS_RANGE,
                word,
                format!("'code': unsupported HTTP code '{}'", word.text()),
                "expected one of 301, 302, 303, 307 and 308",
            )
        })
}

impl Redirection {
    pub(super) fn run(&self, stream: &mut ProxyStream) -> ActionResult {
        let Some(location) = self.location(stream) else {
            return ActionResult::Next;
        };
        let redirect = Redirect {
            code: self.code,
            location: &location,
            set_cookie: self.set_cookie.as_deref(),
            clear_cookie: self.clear_cookie.as_deref(),
        };
        let mut head = HttpMessage::default();
        if redirect.respond(&mut head).is_err() {
            return ActionResult::Failed;
        }
        stream.outcome.termination = Termination::Local;
        stream.outcome.phase = if self.response {
            StreamPhase::Headers
        } else {
            StreamPhase::Request
        };
        ActionResult::End(MessageVerdict::Answer(Box::new(ProxyResponse {
            head,
            body: Arc::default(),
            close: false,
        })))
    }

    /// Returns the location; None if the rule is ignored.
    fn location(&self, stream: &ProxyStream) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        self.format.append(stream, &mut out);
        if self.ignore_empty && out.is_empty() {
            return None;
        }
        match self.to {
            RedirectKind::Location => {}
            RedirectKind::Prefix => {
                // Drops a prefix that is only a slash, because the path already begins with one.
                if out == b"/" {
                    out.clear();
                }
                self.path(stream, &mut out);
            }
            RedirectKind::Scheme => {
                out.extend_from_slice(b"://");
                out.extend_from_slice(stream.request.get(b"host").unwrap_or_default());
                self.path(stream, &mut out);
            }
        }
        Some(visible(out))
    }

    fn path(&self, stream: &ProxyStream, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.drop_query {
            stream.request.path()
        } else {
            stream.request.path_and_query()
        });
        // As in HAProxy, the slash follows a query that is kept.
        if self.append_slash && out.last() != Some(&b'/') {
            out.push(b'/');
        }
    }
}

/// Percent-encodes control characters in a location.
fn visible(location: Vec<u8>) -> Vec<u8> {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    if !location.iter().any(|b| *b < b' ' || *b == 0x7f) {
        return location;
    }
    let mut out = Vec::with_capacity(location.len() + 8);
    for byte in location {
        if byte < b' ' || byte == 0x7f {
            out.extend_from_slice(&[
                b'%',
                HEX[usize::from(byte >> 4)],
                HEX[usize::from(byte & 15)],
            ]);
        } else {
            out.push(byte);
        }
    }
    out
}
