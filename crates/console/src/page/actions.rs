//! Draws the forms for the actions of an operator. Users with the role viewer see none of them.

use super::machine::explain_stale_data;
use super::words::{clean, encode};
use super::{ConsolePage, PageContext};
use crate::look::grade;
use crate::platform::PlatformMember;
use crate::traffic::TrafficRow;
use crate::user::UserRole;
use ::access::page::hidden;
use maud::{Markup, html};
use part::report::{Grade, Subject, SubjectAction};
use part::role::Level;
use screen::kind;

/// Actions on a server: the value of the field `do`, the label of the button, and its description.
const OF_SERVERS: [(&str, &str, &str); 3] = [
    ("ready", "Put back", "Put back into service"),
    ("drain", "Drain", "Drain: no new sessions for"),
    ("maint", "Maintenance", "Take out for maintenance"),
];

const OFFERS_MAX: usize = 16;

pub(super) fn can_show_forms(shown: &PageContext<'_>, member: &PlatformMember) -> bool {
    // Shows no forms for a machine that does not respond, because it cannot act either.
    shown.viewer.role >= UserRole::Operator && explain_stale_data(member).is_none()
}

/// Draws the buttons of a server, only those that would change something.
pub(super) fn of_server(
    shown: &PageContext<'_>,
    page: &ConsolePage,
    member: &PlatformMember,
    row: &TrafficRow,
) -> Markup {
    if !can_show_forms(shown, member) {
        return html! {};
    }
    let is_out = grade(&row.status) == Grade::Busy;
    let is = |word: &str| row.status.starts_with(word);
    let offered = OF_SERVERS.iter().filter(|(what, ..)| match *what {
        "ready" => is_out,
        "drain" => !is("DRAIN") && !is("MAINT"),
        _ => !is("MAINT"),
    });
    let back = page.path() + &shown.query(shown.filter, shown.member);
    let of = format!("{}/{} on {}", row.proxy, row.name, member.name);
    html! {
        form.act method="post" action="/act" {
            (hidden("csrf", &shown.viewer.csrf))
            (hidden("on", &member.name))
            (hidden("what", "server"))
            (hidden("proxy", &row.proxy))
            (hidden("server", &row.name))
            (hidden("back", &back))
            @for (what, word, label) in offered {
                button name="do" value=(what) aria-label={ (label) " " (clean(&of)) } { (word) }
            }
        }
    }
}

pub(super) fn of_subject(
    shown: &PageContext<'_>,
    page: &ConsolePage,
    member: &PlatformMember,
    part: &str,
    subject: &Subject,
) -> Markup {
    if !can_show_forms(shown, member) || subject.offers.is_empty() {
        return html! {};
    }
    let may = |offer: &&SubjectAction| match offer.level {
        Level::User | Level::Operator => true,
        Level::Admin => shown.viewer.role == UserRole::Admin,
    };
    let back = page.path() + &shown.query(shown.filter, shown.member);
    let of = format!("{} {} on {}", subject.kind, subject.name, member.name);
    let offers: Vec<&SubjectAction> = subject.offers.iter().filter(may).take(OFFERS_MAX).collect();
    let opening = offers
        .iter()
        .filter_map(|offer| Some((kind::of(offer.opens?), offer)));
    let done: Vec<&&SubjectAction> = offers
        .iter()
        .filter(|offer| offer.opens.is_none())
        .collect();
    html! {
        @for (kind, offer) in opening {
            @let path = [part, &subject.kind, &subject.name, &offer.word].map(encode).join("/");
            a.button href={ "/" (kind.path) "/" (path) } aria-label={ (clean(&offer.label)) ": " (clean(&of)) } {
                (clean(&offer.label))
            }
        }
        @if !done.is_empty() { form.act method="post" action="/act" {
            (hidden("csrf", &shown.viewer.csrf))
            (hidden("on", &member.name))
            (hidden("what", "offer"))
            (hidden("part", part))
            (hidden("kind", &subject.kind))
            (hidden("name", &subject.name))
            (hidden("back", &back))
            @for offer in done {
                button name="word" value=(offer.word) aria-label={ (clean(&offer.label)) ": " (clean(&of)) } {
                    (clean(&offer.label))
                    @if !offer.follows.is_empty() { "…" }
                }
            }
        } }
    }
}
