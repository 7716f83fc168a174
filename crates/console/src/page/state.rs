//! States, each drawn as a word with a coloured shape, so that no state depends on the colour.

use super::words::clean;
use maud::{Markup, html};
use part::report::Grade;

/// Returns the class of a grade in the style sheet.
pub(super) fn class(grade: Grade) -> &'static str {
    match grade {
        Grade::Unknown => "unknown",
        Grade::Good => "good",
        Grade::Standby => "standby",
        Grade::Busy => "busy",
        Grade::Bad => "bad",
    }
}

/// Draws the word of a state after its shape.
pub(super) fn word(word: &str, grade: Grade) -> Markup {
    html! {
        @if !word.is_empty() {
            span class={ "s " (class(grade)) } { (clean(word)) }
        }
    }
}

/// Draws a count with its unit in a fainter style.
pub(super) fn quantity(text: &str) -> Markup {
    // The unit begins after the last ordinary space: narrow spaces separate groups of digits.
    match text.rsplit_once(' ') {
        Some((number, unit)) => html! { (number) " " span.u { (unit) } },
        None => html! { (text) },
    }
}
