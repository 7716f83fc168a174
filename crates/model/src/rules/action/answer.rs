//! Actions that send a response in place of a server: `deny`, `tarpit`, `return`.

use super::flow::{count_denied, count_denied_response};
use super::{ActionResult, ActionRow, Build, MessageVerdict, RuleAction, RuleSet, codes, places};
use crate::codes as load_codes;
use crate::compiled::action::answer::{Purpose, ResponseContent, ResponseTemplate};
use crate::config::{ErrorFile, ErrorPage, HttpErrorsSlot};
use crate::rules::draft::ConfigDraft;
use crate::rules::format::{Dialect, Format};
use crate::transaction::{
    ProxyResponse, ProxyStream, StreamPhase, Termination, configured_page, error_page,
};
use configuration::outside::Unreadable;
use http::message::{HttpMessage, HttpVersion, reason_of};
use language::arguments::Args;
use language::source::Text;
use language::{ConfigWord, Diagnostic};
use std::sync::Arc;

pub(super) static ROWS: &[ActionRow] = rows! {
    "deny [ status <code> ] [ content-type <type> ] [ default-errorfiles | errorfile <file> | errorfiles <name> | file <file> | lf-file <file> | string <str> | lf-string <fmt> ] [ hdr <name> <fmt> ]*" places::ANSWERING,
        |loader, build| self::build(loader, build, Purpose::Deny),
        "deny status 429 content-type text/plain string \"slow down\" if { src 192.0.2.0/24 }",
        "Denies a request with status 403, or a response with 502, and the error page of the proxy. Status, body and \
         headers can be set. `deny_status` alone uses the error page of another status; `status` alone sends no body.";
    "tarpit [ status <code> ] [ content-type <type> ] [ default-errorfiles | errorfile <file> | errorfiles <name> | file <file> | lf-file <file> | string <str> | lf-string <fmt> ] [ hdr <name> <fmt> ]*" &[places::REQUEST],
        |loader, build| self::build(loader, build, Purpose::Tarpit),
        "tarpit status 429 if { src 192.0.2.0/24 }",
        "Holds the request for `timeout tarpit` (or else `timeout connect`), then denies it with 500 or the given \
         status, so that an attacker's connections wait. The arguments are those of `deny`.";
    "return [ status <code> ] [ content-type <type> ] [ default-errorfiles | errorfile <file> | errorfiles <name> | file <file> | lf-file <file> | string <str> | lf-string <fmt> ] [ hdr <name> <fmt> ]*" places::ANSWERING,
        |loader, build| self::build(loader, build, Purpose::Return),
        "return status 200 content-type text/plain lf-string \"you are %[src]\" hdr cache-control no-store if { src 192.0.2.0/24 }",
        "Responds at once with status 200 or the given one, and a body from the configuration or from a file that is \
         read at the start. No server is used. A body needs a `content-type`.";
};

#[derive(Default)]
struct AnswerDraft<'l> {
    status: Option<u16>,
    /// True if the status was given as `status`; `deny_status` alone selects the page of the proxy.
    new_words: bool,
    content_type: Option<Box<[u8]>>,
    content: Option<(&'l ConfigWord, ResponseContent)>,
    /// Name after `errorfiles`.
    group: Option<&'l ConfigWord>,
    headers: Vec<(Box<[u8]>, Format)>,
}

fn build(
    loader: &mut ConfigDraft,
    build: &mut Build<'_, '_>,
    purpose: Purpose,
) -> Result<RuleAction, Diagnostic> {
    let draft = draft(loader, build)?;
    finish(loader, build, purpose, draft).map(|answer| RuleAction::Answer(Box::new(answer)))
}

/// Parses the words of an `http-error` line: the status, and its page.
pub fn error_answer(
    loader: &mut ConfigDraft,
    args: &mut Args<'_>,
) -> Result<(u16, ErrorPage), Diagnostic> {
    let set = RuleSet::HttpRequest;
    // The generated response has a status, as the responses of servers do.
    let kind = loader.proxy().kind;
    let usage = set.usage(kind).and(RuleSet::HttpResponse.usage(kind));
    let word = &args.line().words[0];
    let mut build = Build {
        args,
        word,
        list: None,
        set,
        usage,
    };
    let draft = draft(loader, &mut build)?;
    let Some(status) = draft.status else {
        return Err(build.wrong(
            &load_codes::MISSING_ARGUMENT,
            word,
            "'http-error' expects at least a status",
            "the status is missing",
        ));
    };
    if !crate::config::ERROR_STATUSES.contains(&status) {
        return Err(build.wrong(
            &codes::STATUS_RANGE,
            word,
            format!("unexpected status code '{status}'"),
            "the proxy never generates this status",
        ));
    }
    let by_default = matches!(draft.content, Some((_, ResponseContent::Page)));
    let answer = finish(loader, &build, Purpose::Return, draft)?;
    let page = match answer.content {
        _ if by_default => ErrorPage::Default,
        ResponseContent::Group(slot) => ErrorPage::Group(slot),
        _ => ErrorPage::Made(Arc::new(answer)),
    };
    Ok((status, page))
}

/// Parses the arguments of a response.
fn draft<'l>(
    loader: &mut ConfigDraft,
    build: &mut Build<'_, 'l>,
) -> Result<AnswerDraft<'l>, Diagnostic> {
    let mut draft = AnswerDraft::default();
    while let Some(word) = build.args.peek() {
        match word.str() {
            "if" | "unless" => break,
            "status" | "deny_status" => {
                draft.new_words |= word.is("status");
                build.args.next();
                draft.status = Some(status(build)?);
            }
            "content-type" => {
                build.args.next();
                draft.content_type = Some(build.args.required("<type>")?.bytes.clone().into());
            }
            "hdr" => {
                build.args.next();
                let name = header_name(build)?;
                super::header::warn_framing(loader, build, &name);
                let format = build.format(loader, "<fmt>")?;
                if !super::header::is_framing(&name) {
                    draft.headers.push((name, format));
                }
            }
            "default-errorfiles" | "errorfile" | "errorfiles" | "file" | "lf-file" | "string"
            | "lf-string" => {
                build.args.next();
                if let Some((first, _)) = &draft.content {
                    let message = format!("'{}' sets a second body", word.text());
                    return Err(build
                        .wrong(&codes::PAYLOAD_TWICE, word, message, "one too many")
                        .with_label(first.span, "the first one"));
                }
                draft.content = Some(match word.str() {
                    "errorfiles" => {
                        draft.group = Some(build.args.required("<name>")?);
                        // The slot is filled in once the status is known.
                        (word, ResponseContent::Group(HttpErrorsSlot::default()))
                    }
                    _ => (word, content(loader, build, word)?),
                });
            }
            // The next word must begin a condition, whose parser reports any error.
            _ => break,
        }
    }
    Ok(draft)
}

fn finish(
    loader: &mut ConfigDraft,
    build: &Build<'_, '_>,
    purpose: Purpose,
    draft: AnswerDraft<'_>,
) -> Result<ResponseTemplate, Diagnostic> {
    let response = build.set.is_response();
    let usual = match purpose {
        Purpose::Return => 200,
        Purpose::Tarpit => 500,
        Purpose::Deny if response => 502,
        Purpose::Deny => 403,
    };
    let only_status = draft.content_type.is_none() && draft.headers.is_empty() && !draft.new_words;
    let mut status = draft.status.unwrap_or(usual);
    let content = match draft.content {
        None if purpose != Purpose::Return && only_status => ResponseContent::Page,
        None => ResponseContent::Empty,
        Some((word, ResponseContent::Page | ResponseContent::Group(_)))
            if !crate::config::ERROR_STATUSES.contains(&status) =>
        {
            return Err(build.wrong(
                &codes::STATUS_RANGE,
                word,
                format!("status code '{status}' has no error page"),
                "add `string` or `errorfile`",
            ));
        }
        Some((_, ResponseContent::Group(slot))) => ResponseContent::Group(match draft.group {
            Some(name) => loader.error_group_uses.used(name, &[status]),
            None => slot,
        }),
        Some((_, content)) => content,
    };
    if let ResponseContent::File(file) = &content {
        // The status in the file is the one that is sent.
        status = file.head.status();
    }
    let has_body = matches!(&content, ResponseContent::Bytes(bytes) if !bytes.is_empty())
        || matches!(content, ResponseContent::Format(_));
    if has_body && draft.content_type.is_none() {
        return Err(build.wrong(
            &codes::CONTENT_TYPE_MISSING,
            build.word,
            "a content type must be given with a body",
            "sets a body",
        ));
    }
    if has_body && matches!(status, 204 | 304) {
        loader.report(
            Diagnostic::warning(
                &codes::STATUS_WITHOUT_BODY,
                build.word.span,
                format!("a response with status {status} has no body"),
            )
            .label("the body is not sent"),
        );
    }
    let content_type = draft.content_type.filter(|_| has_body);
    let headers = draft.headers.into();
    Ok(ResponseTemplate {
        purpose,
        response,
        status,
        content,
        content_type,
        headers,
    })
}

fn status(build: &mut Build<'_, '_>) -> Result<u16, Diagnostic> {
    let word = build.args.required("<code>")?;
    match word.str().parse::<u16>() {
        Ok(status @ 200..=599) => Ok(status),
        _ => Err(build.wrong(
            &codes::STATUS_RANGE,
            word,
            format!("unexpected status code '{}'", word.text()),
            "expected a number from 200 to 599",
        )),
    }
}

/// Parses the name of a header.
pub(super) fn header_name(build: &mut Build<'_, '_>) -> Result<Box<[u8]>, Diagnostic> {
    let word = build.args.required("<name>")?;
    let bad = |b: &u8| http::message::NAME_BYTES[usize::from(*b)] == 0;
    let name = word.bytes.strip_suffix(b":").unwrap_or(&word.bytes);
    if name.is_empty() || name.iter().any(bad) {
        let message = format!("'{}' is not a valid header name", word.text());
        return Err(build.wrong(&codes::BAD_HEADER_NAME, word, message, "expected a name"));
    }
    if name.len() < word.bytes.len() {
        let told = format!(
            "the colon is not part of the name '{}' and is ignored",
            word.text()
        );
        let meant = String::from_utf8_lossy(name);
        build.args.add_warning(
            Diagnostic::warning(&codes::NAME_WITH_COLON, word.span, told)
                .help(format!("write `{meant}`"))
                .fix(word.span, meant),
        );
    }
    Ok(name.to_ascii_lowercase().into())
}

fn content(
    loader: &mut ConfigDraft,
    build: &mut Build<'_, '_>,
    kind: &ConfigWord,
) -> Result<ResponseContent, Diagnostic> {
    Ok(match kind.str() {
        "default-errorfiles" => ResponseContent::Page,
        "string" => ResponseContent::Bytes(build.args.required("<str>")?.bytes.clone().into()),
        "lf-string" => ResponseContent::Format(build.format(loader, "<fmt>")?),
        "file" => ResponseContent::Bytes(file(loader, build)?.1.as_slice().into()),
        "lf-file" => {
            let (name, bytes) = file(loader, build)?;
            let text = ConfigWord {
                bytes: bytes.to_vec(),
                span: name.span,
            };
            ResponseContent::Format(Format::parse_as(loader, &text, build.usage, Dialect::Text)?)
        }
        _ => {
            let (name, bytes) = file(loader, build)?;
            if bytes.is_empty() {
                return Ok(ResponseContent::Silence);
            }
            match ErrorFile::parse(&bytes) {
                Ok(parsed) => {
                    if let Some(length) = parsed.wrong_length {
                        loader.report(wrong_length(name, length, &parsed.file));
                    }
                    ResponseContent::File(Arc::new(parsed.file))
                }
                Err(why) => {
                    let message = format!("'{}' is not an HTTP response: {why}", name.text());
                    let told = build.wrong(
                        &codes::BAD_ERROR_FILE,
                        name,
                        message,
                        "not a complete response",
                    );
                    let applies = "clients get a response without a body instead";
                    if loader.context.is_accepted() {
                        loader.report(told.with_earlier_behaviour(applies))
                    } else {
                        return Err(told);
                    }
                    ResponseContent::Empty
                }
            }
        }
    })
}

/// Returns the warning about a file whose `content-length` is not the length of its body.
pub fn wrong_length(word: &ConfigWord, announced: u64, file: &ErrorFile) -> Diagnostic {
    let body_bytes = file.body.len();
    Diagnostic::warning(
        &load_codes::WRONG_LENGTH,
        word.span,
        format!(
            "'{}' announces a body of {announced} bytes, but has one of {body_bytes}",
            word.text()
        ),
    )
    .label("sent with the length of its body")
    .help("remove the `Content-Length` line of the file, or correct it; HAProxy refuses the file")
}

/// Reads the file that the next word names.
fn file<'l>(
    loader: &mut ConfigDraft,
    build: &mut Build<'_, 'l>,
) -> Result<(&'l ConfigWord, Text), Diagnostic> {
    let word = build.args.required("<file>")?;
    let path = loader.path_of(word.str(), word.span);
    let bytes_max = loader.config.global.tune.bufsize as u64;
    match loader.context.outside.read(&path, bytes_max) {
        Ok(bytes) => Ok((word, bytes)),
        Err(Unreadable::TooLarge(_)) => {
            let message = format!("file '{}' is larger than {bytes_max} bytes", path.display());
            Err(build.wrong(&codes::FILE_TOO_LARGE, word, message, "this file"))
        }
        Err(error) => {
            let error = std::io::Error::from(error);
            let message = format!("cannot read file '{}': {error}", path.display());
            Err(build.wrong(&load_codes::UNREADABLE, word, message, "this file"))
        }
    }
}

impl ResponseTemplate {
    pub(super) fn run(&self, stream: &mut ProxyStream) -> ActionResult {
        let Some(reply) = self.reply(stream) else {
            return ActionResult::Failed;
        };
        let reply = Box::new(reply);
        stream.outcome.termination = match self.purpose {
            Purpose::Return => Termination::Local,
            _ => Termination::Proxy,
        };
        stream.outcome.phase = match self.purpose {
            _ if self.response => StreamPhase::Headers,
            Purpose::Tarpit => StreamPhase::Tarpit,
            _ => StreamPhase::Request,
        };
        if self.purpose != Purpose::Return {
            if self.response {
                count_denied_response(stream)
            } else {
                count_denied(stream);
                crate::tracking::request_error(stream)
            }
        }
        ActionResult::End(match self.purpose {
            Purpose::Tarpit => MessageVerdict::Tarpit(reply),
            _ => MessageVerdict::Answer(reply),
        })
    }

    /// Builds the response; returns None if its headers do not fit.
    pub fn reply(&self, stream: &ProxyStream) -> Option<ProxyResponse> {
        if let ResponseContent::Group(slot) = &self.content
            && let Some(page) = slot.get().and_then(|group| group.page(self.status))
        {
            return configured_page(stream, self.status, page);
        }
        let body: Arc<[u8]> = match &self.content {
            ResponseContent::Silence => return ProxyResponse::silent(self.status),
            ResponseContent::File(file) => return Some(ProxyResponse::of_file(file)),
            ResponseContent::Page
                if http::http1::error_page(self.status).is_some()
                    || has_page(stream, self.status) =>
            {
                return Some(error_page(stream, self.status));
            }
            ResponseContent::Page | ResponseContent::Empty | ResponseContent::Group(_) => {
                Arc::default()
            }
            ResponseContent::Bytes(bytes) => bytes.clone(),
            ResponseContent::Format(format) => format.fill(stream).into(),
        };
        let mut head = HttpMessage::default();
        head.begin_response(
            HttpVersion::Http11,
            self.status,
            reason_of(self.status).as_bytes(),
        )
        .ok()?;
        let mut value = Vec::new();
        for (name, format) in &self.headers {
            value.clear();
            format.append(stream, &mut value);
            super::header::harmless(&mut value);
            if !value.is_empty() {
                head.add(name, &value).ok()?;
            }
        }
        if !matches!(self.status, 204 | 304) {
            head.add(b"content-length", body.len().to_string().as_bytes())
                .ok()?;
        }
        if let Some(content_type) = &self.content_type {
            head.add(b"content-type", content_type).ok()?;
        }
        Some(ProxyResponse {
            head,
            body,
            close: false,
        })
    }
}

/// Returns whether the configuration has a page for the status.
fn has_page(stream: &ProxyStream, status: u16) -> bool {
    let has = |proxy: &crate::config::Proxy| proxy.errors.iter().any(|(s, _)| *s == status);
    stream.backend().is_some_and(has) || has(stream.frontend())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_answers_take_the_same_arguments() {
        for row in ROWS {
            let arguments = |row: &ActionRow| row.syntax.split_once(' ').unwrap().1.to_owned();
            assert_eq!(arguments(row), arguments(&ROWS[0]));
        }
    }
}
