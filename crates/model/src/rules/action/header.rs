//! Implements the actions that add, set, replace and delete headers of requests and responses.

use super::answer::header_name;
use super::{ActionResult, ActionRow, Build, BuiltAction, RuleAction, codes, places};
use crate::codes as load_codes;
use crate::compiled::action::header::{HeaderChange, HeaderOperation, NameMatch};
use crate::rules::draft::ConfigDraft;
use crate::rules::format::Format;
use crate::rules::regular::{Regular, expand};
use crate::transaction::ProxyStream;
use http::message::{HttpMessage, MessageEditError, split_values};
use language::Diagnostic;

pub(super) static ROWS: &[ActionRow] = language::rows! {
    "set-header <name> <fmt>" places::HTTP, |loader, build| with_format(loader, build, HeaderOperation::Set),
        "set-header x-client %[src]",
        "Replaces all headers with this name by one with the value of the log format. Use it for headers that clients \
         must not set themselves.";
    "add-header <name> <fmt>" places::HTTP, |loader, build| with_format(loader, build, HeaderOperation::Add),
        "add-header via \"1.1 %H\"",
        "Adds a header after the existing ones, even those with the same name. The value is a log format.";
    "del-header <name> [ -m <method> ]" places::HTTP, delete, "del-header x-debug- -m beg",
        "Removes all headers with this name. With `-m beg`, `end`, `sub` or `reg`, removes all headers whose names \
         begin with it, end with it, contain it, or match it as a regular expression.";
    "replace-header <name> <match-regex> <replace-fmt>" places::HTTP,
        |loader, build| replace(loader, build, HeaderOperation::ReplaceLine),
        "replace-header accept-encoding ^.*gzip.*$ gzip",
        "Replaces the value of each header line with this name that matches the regular expression. `\\1` to `\\9` in \
         the log format insert its groups. Other lines do not change.";
    "replace-value <name> <match-regex> <replace-fmt>" places::HTTP,
        |loader, build| replace(loader, build, HeaderOperation::ReplaceValue),
        "replace-value cache-control ^public$ private",
        "Like `replace-header`, for headers with lists: each comma-separated value is matched and replaced separately.";
};

/// Returns whether a header determines where a message ends. Rules must not change those headers,
/// because the framing that is sent must match the framing that was received.
pub(in crate::rules) fn is_framing(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"content-length") || name.eq_ignore_ascii_case(b"transfer-encoding")
}

/// Reports a rule that names a framing header.
pub(super) fn warn_framing(loader: &mut ConfigDraft, build: &Build<'_, '_>, name: &[u8]) {
    if is_framing(name) {
        let name = String::from_utf8_lossy(name);
        loader.report(
            Diagnostic::warning(
                &codes::FRAMING_HEADER,
                build.word.span,
                format!("'{}' of '{name}' has no effect", build.word.text()),
            )
            .label("the proxy sets this header according to the body")
            .help("remove the line"),
        );
    }
}

fn action(build: &Build<'_, '_>, name: Box<[u8]>, change: HeaderOperation) -> RuleAction {
    RuleAction::Header(Box::new(HeaderChange {
        name,
        response: build.set.is_response(),
        change,
    }))
}

fn with_format(
    loader: &mut ConfigDraft,
    build: &mut Build<'_, '_>,
    change: fn(Format) -> HeaderOperation,
) -> BuiltAction {
    let name = header_name(build)?;
    warn_framing(loader, build, &name);
    let format = build.format(loader, "<fmt>")?;
    Ok(action(build, name, change(format)))
}

pub(super) fn regex(
    loader: &mut ConfigDraft,
    build: &mut Build<'_, '_>,
) -> Result<Regular, Diagnostic> {
    let word = build.args.required("<match-regex>")?;
    loader.regular(&word.bytes, false, word.span)
}

fn replace(
    loader: &mut ConfigDraft,
    build: &mut Build<'_, '_>,
    change: fn(Regular, Format) -> HeaderOperation,
) -> BuiltAction {
    let name = header_name(build)?;
    warn_framing(loader, build, &name);
    let regular = regex(loader, build)?;
    let format = build.format(loader, "<replace-fmt>")?;
    Ok(action(build, name, change(regular, format)))
}

fn delete(loader: &mut ConfigDraft, build: &mut Build<'_, '_>) -> BuiltAction {
    let word = build.args.peek();
    let by_regex = build
        .args
        .remaining_words()
        .get(1)
        .is_some_and(|w| w.is("-m"))
        && build
            .args
            .remaining_words()
            .get(2)
            .is_some_and(|w| w.is("reg"));
    let name: Box<[u8]> = match word {
        // Takes a regular expression as it is, because it is no header name.
        Some(word) if by_regex => {
            build.args.next();
            word.bytes.clone().into()
        }
        _ => header_name(build)?,
    };
    if !build.args.take_if("-m") {
        warn_framing(loader, build, &name);
        return Ok(action(
            build,
            name,
            HeaderOperation::Remove(NameMatch::Same),
        ));
    }
    let method = build.args.required("<method>")?;
    let matching = match method.str() {
        "str" => NameMatch::Same,
        "beg" => NameMatch::Begin,
        "end" => NameMatch::End,
        "sub" => NameMatch::Sub,
        "reg" => {
            let span = word.map_or(method.span, |word| word.span);
            NameMatch::Regex(loader.regular(&name, true, span)?)
        }
        other => {
            let message = format!("'-m' with unsupported matching method '{other}'");
            return Err(build.wrong(
                &load_codes::BAD_VALUE,
                method,
                message,
                "expected one of str, beg, end, sub, reg",
            ));
        }
    };
    Ok(action(build, name, HeaderOperation::Remove(matching)))
}

/// Replaces NUL, CR and LF by spaces, so that no value from a client can add a header.
pub(in crate::rules) fn harmless(value: &mut [u8]) {
    for byte in value.iter_mut().filter(|b| matches!(b, 0 | b'\r' | b'\n')) {
        *byte = b' ';
    }
}

impl HeaderChange {
    pub(super) fn run(&self, stream: &mut ProxyStream) -> ActionResult {
        if is_framing(&self.name) && !matches!(self.change, HeaderOperation::Remove(_)) {
            return ActionResult::Next;
        }
        let done = match &self.change {
            HeaderOperation::Set(format) => {
                let value = value(format, stream);
                if &*self.name == b"host" && stream.request.is_target_composed() {
                    // Saves the request line for logs: with HTTP/2, the target of the request
                    // changes together with the host.
                    stream.keep_received();
                }
                self.message(stream).set(&self.name, &value)
            }
            HeaderOperation::Add(format) => {
                let value = value(format, stream);
                self.message(stream).add(&self.name, &value)
            }
            HeaderOperation::Remove(matching) => {
                self.remove(matching, stream);
                Ok(())
            }
            HeaderOperation::ReplaceLine(regular, format) => {
                self.replace(substitute, regular, format, stream)
            }
            HeaderOperation::ReplaceValue(regular, format) => {
                self.replace(replace_each, regular, format, stream)
            }
        };
        if done.is_ok() {
            ActionResult::Next
        } else {
            ActionResult::Failed
        }
    }

    fn message<'s>(&self, stream: &'s mut ProxyStream) -> &'s mut HttpMessage {
        if self.response {
            &mut stream.response
        } else {
            &mut stream.request
        }
    }

    fn remove(&self, matching: &NameMatch, stream: &mut ProxyStream) {
        let wanted = &*self.name;
        let message = self.message(stream);
        let matches = |name: &[u8]| match matching {
            NameMatch::Same => name == wanted,
            NameMatch::Begin => name.starts_with(wanted),
            NameMatch::End => name.ends_with(wanted),
            NameMatch::Sub => memchr::memmem::find(name, wanted).is_some(),
            NameMatch::Regex(regular) => regular.is_match(name),
        };
        message.remove_if(|name, _| matches(name) && !is_framing(name));
    }

    /// Replaces the value of each line with this name by the result of `rewritten`.
    fn replace(
        &self,
        rewritten: Rewrite,
        regular: &Regular,
        format: &Format,
        stream: &mut ProxyStream,
    ) -> Result<(), MessageEditError> {
        let mut from = 0;
        while let Some(at) = self.message(stream).fields().position(&self.name, from) {
            from = at + 1;
            let fields = if self.response {
                stream.response.fields()
            } else {
                stream.request.fields()
            };
            let Some((_, line)) = fields.at(at) else {
                break;
            };
            let Some(new) = rewritten(regular, line, format, stream) else {
                continue;
            };
            self.message(stream).replace_value(at, &new)?;
        }
        Ok(())
    }
}

/// Rewrites a header value; returns None if the expression does not match it.
type Rewrite = fn(&Regular, &[u8], &Format, &ProxyStream) -> Option<Vec<u8>>;

fn value(format: &Format, stream: &ProxyStream) -> Vec<u8> {
    let mut value = format.fill(stream);
    harmless(&mut value);
    value
}

/// Returns the replacement for a text that matches: the format, with the groups of the match
/// inserted.
pub(super) fn substitute(
    regular: &Regular,
    text: &[u8],
    format: &Format,
    stream: &ProxyStream,
) -> Option<Vec<u8>> {
    let groups = regular.groups(text)?;
    let mut out = Vec::new();
    expand(&mut out, text, &format.fill(stream), &groups);
    harmless(&mut out);
    Some(out)
}

/// Replaces each matching value in a list, together with the blanks around it; returns None if no
/// value matches.
fn replace_each(
    regular: &Regular,
    line: &[u8],
    format: &Format,
    stream: &ProxyStream,
) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(line.len());
    let (mut copied, mut any) = (0, false);
    for value in split_values(line) {
        let start = value.as_ptr() as usize - line.as_ptr() as usize;
        if let Some(new) = substitute(regular, value, format, stream) {
            out.extend_from_slice(without_blanks_behind(&line[copied..start]));
            out.extend_from_slice(&new);
            copied = start + value.len();
            copied += line[copied..]
                .iter()
                .take_while(|byte| is_blank(byte))
                .count();
            any = true;
        }
    }
    out.extend_from_slice(&line[copied..]);
    any.then_some(out)
}

fn is_blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn without_blanks_behind(bytes: &[u8]) -> &[u8] {
    let blanks = bytes.iter().rev().take_while(|byte| is_blank(byte)).count();
    &bytes[..bytes.len() - blanks]
}
