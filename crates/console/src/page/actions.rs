//! What an operator can do, as forms. A viewer sees none of them.

use super::machine::doubt;
use super::words::clean;
use super::{Page, Shown};
use crate::look::grade;
use crate::platform::Member;
use crate::traffic::Row;
use crate::user::Role;
use maud::{Markup, html};
use part::report::{Grade, Subject};

/// What is done to a server: the value of `do`, its button, and what that says of itself.
const OF_SERVERS: [(&str, &str, &str); 3] = [
    ("ready", "Put back", "Put back into service"),
    ("drain", "Drain", "Drain: no new sessions for"),
    ("maint", "Maintenance", "Take out for maintenance"),
];

/// Whether there are forms at all for what is on this machine.
pub(super) fn are_there(shown: &Shown<'_>, member: &Member) -> bool {
    // What does not respond does nothing, either.
    shown.viewer.role >= Role::Operator && doubt(member).is_none()
}

/// The buttons of a server; only those that would change something.
pub(super) fn of_server(shown: &Shown<'_>, page: &Page, member: &Member, row: &Row) -> Markup {
    if !are_there(shown, member) {
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

/// The buttons of a subject of a part's report: there are none yet.
pub(super) fn of_subject(
    _shown: &Shown<'_>,
    _member: &Member,
    _part: &str,
    _subject: &Subject,
) -> Markup {
    html! {}
}

pub(super) fn hidden(name: &str, value: &str) -> Markup {
    html! { input type="hidden" name=(name) value=(value); }
}
