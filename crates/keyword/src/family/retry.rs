//! Builds `retry-on` lines, which name the failures after which a request is retried, and
//! `http-send-name-header`. The number of attempts is set by `retries`.

use super::places::BACK;
use super::{Args, Built, LineRow};
use crate::family::Loader;
use language::{Diagnostic, suggest};
use model::codes;
use model::config::RetryOn;

pub static LINES: &[LineRow] = language::rows! {
    "retry-on { none | conn-failure | empty-response | junk-response | response-timeout | 0rtt-rejected | \
          all-retryable-errors | <status> }…" BACK,
        retry_on,
        "retry-on conn-failure empty-response 503",
        "Sets after which failures a request is retried, within `retries`. `conn-failure`, the default, means that no \
         connection was established. The others repeat requests that a server may already have processed, so the \
         application must tolerate that. A request that does not fit into a buffer is not retried. Statuses: 401, 403, \
         404, 408, 421, 425, 429, 500 to 504.";
    "http-send-name-header [<header>]" BACK, name_header, "http-send-name-header X-Server-Name",
        "Sends the name of the `server` line to the server in this header, and replaces a header of that name from the \
         client.";
};

const WORDS: [&str; 7] = [
    "none",
    "conn-failure",
    "empty-response",
    "junk-response",
    "response-timeout",
    "0rtt-rejected",
    "all-retryable-errors",
];

fn retry_on(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    super::value::require_word(args, "at least one keyword")?;
    let mut bits = 0;
    let alone = args.remaining_words().len() == 1;
    while let Some(word) = args.next() {
        bits |= match word.str() {
            "none" if !alone => {
                let message = "'retry-on' 'none' only usable alone";
                return Err(args.word_error(&codes::BAD_VALUE, word, message));
            }
            "none" => 0,
            "conn-failure" => RetryOn::CONN_FAILURE,
            "empty-response" => RetryOn::EMPTY_RESPONSE,
            "junk-response" => RetryOn::JUNK_RESPONSE,
            "response-timeout" => RetryOn::RESPONSE_TIMEOUT,
            "0rtt-rejected" => RetryOn::EARLY_REFUSED,
            "all-retryable-errors" => RetryOn::all(),
            status => match status.parse().ok().and_then(RetryOn::status_bit) {
                Some(bit) => bit,
                None => {
                    let message = format!("'retry-on': unknown keyword '{}'", word.text());
                    let error = Diagnostic::error(&codes::BAD_VALUE, word.span, message)
                        .label("not a failure or a status that can be retried");
                    return Err(error.did_you_mean(word.span, suggest::nearest(word.str(), WORDS)));
                }
            },
        };
    }
    loader.proxy().retry_on = RetryOn(bits);
    Ok(())
}

fn name_header(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let word = args.required("a header string")?;
    let token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
    let framing = ["content-length", "transfer-encoding", "connection"];
    let name = word.bytes.to_ascii_lowercase();
    if name.is_empty()
        || !name.iter().all(token)
        || framing.iter().any(|known| known.as_bytes() == name)
    {
        let message = format!("'{}' is not a valid name for this header", word.text());
        return Err(args.word_error(&codes::BAD_VALUE, word, message));
    }
    loader.proxy().name_header = Some(name.into());
    args.warn_of_surplus()
}

#[cfg(test)]
mod tests {
    use crate::testing::{backend, codes_of};
    use model::config::RetryOn;

    #[test]
    fn failures_are_named_by_words_and_statuses() {
        let of = |line: &str| backend(line).retry_on;
        assert_eq!(of("retry-on none"), RetryOn(0));
        assert_eq!(of(""), RetryOn(RetryOn::CONN_FAILURE));
        let all = of("retry-on all-retryable-errors 404");
        for status in [404, 500, 502, 503, 504] {
            assert!(all.has(RetryOn::status_bit(status).unwrap()), "{status}");
        }
        assert!(!all.has(RetryOn::status_bit(401).unwrap()));
        assert!(all.after_sending() && !of("retry-on conn-failure").after_sending());
    }

    #[test]
    fn others_are_refused() {
        for (line, want) in [
            ("retry-on", "E0201"),
            ("retry-on conn-failure none", "E0207"),
            ("retry-on 200", "E0207"),
            ("retry-on foo", "E0207"),
            ("http-send-name-header", "E0201"),
            ("http-send-name-header \"a b\"", "E0207"),
            ("http-send-name-header Content-Length", "E0207"),
        ] {
            assert_eq!(codes_of(line), [want], "{line}");
        }
    }

    #[test]
    fn every_example_loads() {
        for row in super::LINES {
            assert_eq!(codes_of(row.example), Vec::<&str>::new(), "{}", row.name());
        }
    }
}
