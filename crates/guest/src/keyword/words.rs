//! Parses times and sizes within bounds, for lines of several keywords.

use super::codes;
use image::size::{self, MIB};
use language::arguments::Args;
use language::value::TimeUnit;
use language::{Diagnostic, Spanned};
use std::ops::RangeInclusive;

const MEMORY_BYTES: RangeInclusive<u64> = 16 * MIB..=16 << 40;

/// Takes a time within bounds, milliseconds; a number without a unit is in milliseconds.
pub(super) fn time_ms(
    args: &mut Args<'_>,
    bounds: RangeInclusive<u32>,
    unfit: &str,
) -> Result<u64, Diagnostic> {
    let word = args.peek();
    let time = args.time_ms(TimeUnit::Milliseconds)?;
    match word.filter(|_| !bounds.contains(&time)) {
        Some(word) => Err(args.unexpected_value(word, unfit)),
        None => Ok(time.into()),
    }
}

/// Parses a memory size: a multiple of 1 MiB within bounds.
pub(super) fn memory(args: &mut Args<'_>) -> Result<Spanned<u64>, Diagnostic> {
    let word = args.required("a size")?;
    let Some(bytes) = size::parse(word.str()) else {
        return Err(args.unexpected_value(word, "not a size: write a number and `m`, `g` or `t`"));
    };
    let text = word.str();
    if !bytes.is_multiple_of(MIB) && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let told = format!(
            "'{}': '{text}' has no unit, so it is {text} bytes",
            args.keyword
        );
        let told = Diagnostic::error(&codes::VALUE, word.span, told);
        // Suggests a unit: up to two digits are probably meant as GiB, up to seven as MiB, and more
        // as bytes.
        let example = match text.len() {
            ..3 => format!("{text}g"),
            3..=7 => format!("{text}m"),
            _ => size::words(bytes.div_ceil(MIB).saturating_mul(MIB)),
        };
        return Err(told.help(format!("add `m`, `g` or `t`, such as `{example}`")));
    }
    if !bytes.is_multiple_of(MIB) {
        return Err(args.unexpected_value(word, "not a multiple of 1 MiB"));
    }
    if !MEMORY_BYTES.contains(&bytes) {
        return Err(args.unexpected_value(word, "not between 16m and 16t"));
    }
    Ok(Spanned::new(bytes, word.span))
}
