//! Builds `http-err-codes` and `http-fail-codes`: statuses that stick tables count as client errors
//! and as server failures.

use super::places::GLOBAL;
use super::{Args, Built, LineRow};
use crate::family::Loader;
use language::{ConfigWord, Diagnostic};
use model::codes;
use model::config::StatusCodes;

pub static LINES: &[LineRow] = language::rows! {
    "http-err-codes [+|-]<range>[,<range>…] …" GLOBAL, status_codes,
        "http-err-codes 400-499 -404 +501,505",
        "Statuses that `http_err_cnt` and `http_err_rate` of stick tables count as client errors; the default is 400 \
         to 499. A range is a status, or two separated by a dash. An argument without a sign replaces the set, `+` \
         adds to it, `-` removes from it.";
    "http-fail-codes [+|-]<range>[,<range>…] …" GLOBAL, status_codes, "http-fail-codes -500",
        "Statuses that `http_fail_cnt` and `http_fail_rate` of stick tables count as server failures; the default is \
         500 to 599 except 501 and 505. The arguments are those of `http-err-codes`.";
};

fn status_codes(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let global = &mut loader.config.global;
    let set = match args.keyword {
        "http-err-codes" => &mut global.counted_codes.errors,
        _ => &mut global.counted_codes.failures,
    };
    let mut changed = *set;
    let mut word = args.required("a range of statuses")?;
    loop {
        change(&mut changed, word)?;
        match args.next() {
            Some(next) => word = next,
            None => break,
        }
    }
    *set = changed;
    Ok(())
}

/// Applies one word to a set of statuses: ranges after `+` are added, after `-` removed, and
/// without a sign replace the set.
fn change(set: &mut StatusCodes, word: &ConfigWord) -> Built {
    let text = word.str();
    let (ranges, member) = match text.as_bytes().first() {
        Some(b'+') => (&text[1..], true),
        Some(b'-') => (&text[1..], false),
        _ => {
            *set = StatusCodes::NONE;
            (text, true)
        }
    };
    for range in ranges.split(',') {
        let Some((first, last)) = bounds(range) else {
            let told = format!("'{range}' is not a range of statuses");
            return Err(Diagnostic::error(&codes::BAD_VALUE, word.span, told).label(
                "a status from 100 to 599, or two separated by a dash, the lower one first",
            ));
        };
        set.set(first, last, member);
    }
    Ok(())
}

fn bounds(range: &str) -> Option<(u16, u16)> {
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let status = |text: &str| -> Option<u16> {
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        let number = text.parse().ok().filter(|_| digits)?;
        (100..=599).contains(&number).then_some(number)
    };
    let (first, last) = (status(first)?, status(last)?);
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use crate::testing::load_text;
    use model::config::StatusCodes;

    fn errors(lines: &str) -> Vec<u16> {
        let loaded = load_text(&format!("global\n {lines}\nlisten x\n bind 127.0.0.1:1\n"));
        let codes = loaded.config.map_or(StatusCodes::NONE, |config| {
            config.global.counted_codes.errors
        });
        (100..=599).filter(|code| codes.contains(*code)).collect()
    }

    #[test]
    fn words_replace_add_and_remove() {
        assert_eq!(errors("http-err-codes 400,402-404"), [400, 402, 403, 404]);
        assert_eq!(
            errors("http-err-codes 400-403 -401 +500,599"),
            [400, 402, 403, 500, 599]
        );
        assert_eq!(errors("http-err-codes -401-499"), [400]);
        assert_eq!(
            errors("http-err-codes 100\n http-err-codes +101"),
            [100, 101]
        );
        assert_eq!(errors("http-fail-codes 404").len(), 100);
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for word in [
            "99", "600", "404-403", "4x4", "+", "400,", "400--401", "+-400",
        ] {
            let text = format!("global\n http-err-codes '{word}'\n");
            let told = load_text(&text).diagnostics;
            assert!(told.iter().any(|told| told.code.id == "E0207"), "{word}");
        }
    }
}
