//! Draws the page on which an operator confirms a dangerous action.

use super::ConsolePage;
use super::frame::head;
use super::words::clean;
use crate::user::Viewer;
use ::access::page::hidden;
use maud::{DOCTYPE, Markup, html};
use part::report::SubjectAction;

pub struct ActionConfirmation<'q> {
    pub object: &'q str,
    pub machine: &'q str,
    pub offer: &'q SubjectAction,
}

/// Draws the confirmation page. Its form repeats the original one and adds the confirmation.
pub fn confirm(
    question: &ActionConfirmation<'_>,
    viewer: &Viewer,
    form: &[(String, String)],
) -> Markup {
    let back = form.iter().find(|(name, _)| name == "back");
    let back = back.map_or("/", |(_, path)| path.as_str());
    let is_page = ConsolePage::is_here(back);
    let same = form
        .iter()
        .filter(|(name, _)| name != "csrf" && name != "sure");
    html! {
        (DOCTYPE)
        html lang="en" {
            (head(&question.offer.label, None))
            body.alone {
                main.card {
                    h1 { (clean(&question.offer.label)) "?" }
                    p { b { (clean(question.object)) } " on " (clean(question.machine)) }
                    p { (clean(&question.offer.follows)) }
                    form method="post" action="/act" {
                        (hidden("csrf", &viewer.csrf))
                        @for (name, value) in same { (hidden(name, value)) }
                        button.first name="sure" value="yes" { (clean(&question.offer.label)) }
                    }
                    p { a href=(if is_page { back } else { "/" }) { "Back, without doing anything" } }
                }
            }
        }
    }
}
