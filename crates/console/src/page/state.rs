//! Draws states as a word with a coloured shape, so that no state depends on the colour.

use super::words::clean;
use maud::{Markup, html};
use part::report::Grade;

pub(super) fn class(grade: Grade) -> &'static str {
    match grade {
        Grade::Unknown => "unknown",
        Grade::Good => "good",
        Grade::Standby => "standby",
        Grade::Busy => "busy",
        Grade::Bad => "bad",
    }
}

pub(super) fn word(word: &str, grade: Grade) -> Markup {
    html! {
        @if !word.is_empty() {
            span class={ "s " (class(grade)) } { (clean(word)) }
        }
    }
}

pub(super) fn quantity(text: &str) -> Markup {
    // Splits at the last ordinary space, after which the unit begins: narrow spaces separate groups
    // of digits.
    match text.rsplit_once(' ') {
        Some((number, unit)) => html! { (number) " " span.u { (unit) } },
        None => html! { (text) },
    }
}
