//! Builds `errorfile` and `errorloc…` lines, which define responses to clients in place of the
//! proxy's own error pages. Files are read only during the load.

use super::places::ALL;
use super::{Args, Built, LineRow};
use crate::family::Loader;
use language::{ConfigWord, Diagnostic};
use model::codes;
use model::config::{ERROR_STATUSES, ErrorFile, ErrorPage};
use model::rules::draft::Section;
use model::rules::wrong_length;
use std::sync::Arc;

fn status(args: &mut Args<'_>) -> Result<u16, Diagnostic> {
    let word = args.required("a status code")?;
    status_of(args, word)
}

/// Parses a status for which an error page can be set.
pub(super) fn status_of(args: &Args<'_>, word: &ConfigWord) -> Result<u16, Diagnostic> {
    let status = word
        .str()
        .parse::<u16>()
        .ok()
        .filter(|n| ERROR_STATUSES.contains(n));
    status.ok_or_else(|| {
        let all: Vec<String> = ERROR_STATUSES.iter().map(u16::to_string).collect();
        Diagnostic::error(
            &codes::BAD_VALUE,
            word.span,
            format!(
                "'{}': status code '{}' not handled",
                args.keyword,
                word.text()
            ),
        )
        .label("the proxy never generates this status")
        .note(format!("valid statuses: {}", all.join(", ")))
    })
}

fn set(loader: &mut Loader, status: u16, page: ErrorPage) {
    let errors = match loader.section {
        Section::HttpErrors => match loader.error_groups.pages() {
            Some(pages) => pages,
            None => return,
        },
        _ => &mut loader.proxy().errors,
    };
    errors.retain(|(other, _)| *other != status);
    errors.push((status, page));
}

fn error_file(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let status = status(args)?;
    let word = args.required("a file")?;
    args.warn_of_surplus()?;
    let bytes = loader.read_file(word)?;
    if bytes.is_empty() {
        set(loader, status, ErrorPage::Silent);
        return Ok(());
    }
    let parsed = ErrorFile::parse(&bytes).map_err(|why| {
        Diagnostic::error(
            &codes::BAD_ERROR_PAGE,
            word.span,
            format!("'{}' is not an HTTP response: {why}", word.text()),
        )
        .label("named here")
        .help("begin it with `HTTP/1.1 503 Service Unavailable`, headers and an empty line")
        .with_earlier_behaviour("clients get the response of this program instead")
    })?;
    if let Some(length) = parsed.wrong_length {
        loader.report(wrong_length(word, length, &parsed.file));
    }
    too_large(loader, word, bytes.len());
    set(loader, status, ErrorPage::File(Arc::new(parsed.file)));
    Ok(())
}

fn too_large(loader: &mut Loader, word: &ConfigWord, size: usize) {
    let room = loader.config.global.tune.bufsize;
    if size > room {
        let told = format!("'{}' has {size} bytes, a buffer {room}", word.text());
        loader.report(
            Diagnostic::warning(&codes::LARGE_ERROR_PAGE, word.span, told)
                .label("too large")
                .help("make it smaller, or raise `tune.bufsize` in `global` (before this line)"),
        );
    }
}

fn error_location(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let status = status(args)?;
    let word = args.required("a URL")?;
    let code = if args.keyword == "errorloc303" {
        303
    } else {
        302
    };
    if word.bytes.iter().any(u8::is_ascii_control) {
        return Err(args.word_error(
            &codes::BAD_VALUE,
            word,
            "a URL cannot contain control characters",
        ));
    }
    set(
        loader,
        status,
        ErrorPage::Redirect(code, word.bytes.clone().into()),
    );
    args.warn_of_surplus()
}

pub static LINES: &[LineRow] = language::rows! {
    "errorfile <status> <file>" &["defaults", "frontend", "listen", "backend", "http-errors"],
        error_file, "errorfile 503 /dev/null",
        "The complete response, with status line and headers, that clients get instead of the proxy's own response \
         with this status. It is read when the configuration is loaded. An empty file or /dev/null closes the \
         connection without a response. After a response of HTTP/1.0 without a `Content-Length` the connection \
         closes, because only its end marks the end of the response.";
    "errorloc <status> <url>" ALL, error_location, "errorloc 503 http://status.example.com/",
        "Redirects clients to a URL (302) instead of sending the proxy's own response with this status. Another site \
         should serve that URL, to avoid redirect loops.";
    "errorloc302 <status> <url>" ALL, error_location, "errorloc302 503 http://status.example.com/",
        "The same as `errorloc`: a 302 redirect, after which clients repeat their method.";
    "errorloc303 <status> <url>" ALL, error_location, "errorloc303 503 http://status.example.com/",
        "A 303 redirect, after which clients use GET regardless of their method. Prefer it for POST requests.";
};
