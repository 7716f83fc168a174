//! `errorfile` and `errorloc…`: what clients get in place of an answer that the
//! proxy itself would give. Files are read while loading, never later.

use super::places::ALL;
use super::{Args, Built, LineRow};
use crate::family::Loader;
use language::{Diagnostic, Word};
use model::codes;
use model::config::ERROR_STATUSES;
use model::config::ErrorPage;
use model::rules::draft::Section;

/// Most header lines of an error page.
const HEADERS_MAX: usize = 128;

fn status(args: &mut Args<'_>) -> Result<u16, Diagnostic> {
    let word = args.required("a status code")?;
    status_of(args, word)
}

/// The status that a word is, of those that have a page.
pub(super) fn status_of(args: &Args<'_>, word: &Word) -> Result<u16, Diagnostic> {
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

/// Whether a file is an HTTP answer, or why not.
fn check(bytes: &[u8]) -> Result<(), String> {
    if bytes.is_empty() {
        return Ok(());
    }
    // People write these files by hand, with line feeds alone.
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(bytes) {
        Ok(httparse::Status::Complete(_)) => Ok(()),
        Ok(httparse::Status::Partial) => {
            Err("its headers do not end with an empty line".to_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}

fn error_file(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let status = status(args)?;
    let word = args.required("a file")?;
    args.surplus()?;
    let bytes = loader.read_file(word)?;
    if let Err(why) = check(&bytes) {
        return Err(Diagnostic::error(
            &codes::BAD_ERROR_PAGE,
            word.span,
            format!("'{}' is not an HTTP response: {why}", word.text()),
        )
        .label("named here")
        .help("begin it with `HTTP/1.1 503 Service Unavailable`, headers and an empty line"));
    }
    too_large(loader, word, bytes.len());
    set(loader, status, ErrorPage::Raw(bytes.as_slice().into()));
    Ok(())
}

fn too_large(loader: &mut Loader, word: &Word, size: usize) {
    let room = loader.config.global.tune.bufsize;
    if size > room {
        let told = format!("'{}' has {size} bytes, a buffer {room}", word.text());
        loader.tell(
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
        return Err(args.wrong(
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
    args.surplus()
}

/// The table.
pub static LINES: &[LineRow] = rows! {
    "errorfile <status> <file>" &["defaults", "frontend", "listen", "backend", "http-errors"],
        error_file, "errorfile 503 /dev/null",
        "The complete response, with status line and headers, that clients get instead of the proxy's own response \
         with this status. It is read when the configuration is loaded. An empty file or /dev/null closes the \
         connection without a response.";
    "errorloc <status> <url>" ALL, error_location, "errorloc 503 http://status.example.com/",
        "Redirects clients to a URL (302) instead of sending the proxy's own response with this status. Another site \
         should serve that URL, to avoid redirect loops.";
    "errorloc302 <status> <url>" ALL, error_location, "errorloc302 503 http://status.example.com/",
        "The same as `errorloc`: a 302 redirect, after which clients repeat their method.";
    "errorloc303 <status> <url>" ALL, error_location, "errorloc303 503 http://status.example.com/",
        "A 303 redirect, after which clients use GET regardless of their method. Prefer it for POST requests.";
};

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn an_error_page_is_a_whole_answer_or_empty() {
        assert!(check(b"").is_ok());
        assert!(check(b"HTTP/1.0 503 Gone\r\nContent-Type: text/html\r\n\r\n<p>").is_ok());
        assert!(check(b"HTTP/1.0 503 Gone\nContent-Type: text/html\n\n<p>").is_ok());
        assert!(check(b"<html>").is_err());
        assert!(check(b"HTTP/1.0 503 Gone\r\nContent-Type: text/html\r\n").is_err());
    }
}
