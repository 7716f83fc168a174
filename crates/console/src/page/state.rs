//! A state as a word with a shape in its colour: nobody needs the colour.

use super::words::clean;
use maud::{Markup, html};
use part::report::Grade;

/// The class of a grade in the style sheet.
pub(super) fn class(grade: Grade) -> &'static str {
    match grade {
        Grade::Unknown => "unknown",
        Grade::Good => "good",
        Grade::Standby => "standby",
        Grade::Busy => "busy",
        Grade::Bad => "bad",
    }
}

/// The word of a state, behind its shape.
pub(super) fn word(word: &str, grade: Grade) -> Markup {
    html! {
        @if !word.is_empty() {
            span class={ "s " (class(grade)) } { (clean(word)) }
        }
    }
}

/// A count with a unit that stands back behind it.
pub(super) fn quantity(text: &str) -> Markup {
    // The unit begins at the last ordinary space: the narrow ones separate digits.
    match text.rsplit_once(' ') {
        Some((number, unit)) => html! { (number) " " span.u { (unit) } },
        None => html! { (text) },
    }
}
