//! Draws the headings of machines, and notes on stale data.

use super::words::{clean, encode};
use super::{ConsolePage, PageContext, state};
use crate::platform::{MemberKind, PATIENCE_MS, PlatformMember, UNSEEN_MS};
use maud::{Markup, html};
use part::report::{Grade, span};

/// Age from which data is marked as old, milliseconds. While no user watches, each of three steps
/// happens every [`UNSEEN_MS`]: a machine polls itself, this one queries that machine, and this one
/// shows the result. Each step may take up to [`PATIENCE_MS`] without a fault.
const OLD_MS: u64 = 3 * (UNSEEN_MS + PATIENCE_MS);

/// Explains why the data of a machine may be out of date. None if it is fresh.
pub(super) fn explain_stale_data(member: &PlatformMember) -> Option<String> {
    let (name, age) = (&member.name, span(member.age_ms));
    match (&member.look, &member.silent) {
        (None, Some(why)) => Some(format!("{name} does not respond: {why}")),
        // Expects no data of an arbiter, which runs no console: the report of the cluster is all
        // that is known.
        (None, None) if member.kind == MemberKind::Arbiter => None,
        (None, None) => Some(format!("{name} has not reported yet")),
        (Some(_), Some(why)) => Some(format!(
            "{name} does not respond: {why}; its data is {age} old"
        )),
        (Some(_), None) if member.age_ms > OLD_MS => {
            Some(format!("the data of {name} is {age} old"))
        }
        (Some(_), None) => None,
    }
}

pub(super) fn kind(member: &PlatformMember) -> &'static str {
    match member.kind {
        MemberKind::Node => "node",
        MemberKind::Arbiter => "arbiter",
    }
}

pub(super) fn stale_data_note(member: &PlatformMember) -> Markup {
    html! {
        @if let Some(doubt) = explain_stale_data(member) {
            p.note.old { (state::word("Attention", Grade::Busy)) ": " (clean(&doubt)) "." }
        }
    }
}

pub(super) fn notices(shown: &PageContext<'_>) -> Markup {
    html! {
        @for (_, member) in shown.members() { (stale_data_note(member)) }
        @if shown.platform.members.is_empty() { (no_machine_text()) }
    }
}

pub(super) fn no_machine_text() -> Markup {
    html! { p.empty { "No machine has reported yet. This page updates as soon as one does." } }
}

/// Draws the heading of the section of a machine. Without a cluster there is no heading, because
/// there is only one machine.
pub(super) fn heading(shown: &PageContext<'_>, index: usize, member: &PlatformMember) -> Markup {
    let is_alone = shown.platform.members.len() == 1;
    html! {
        h2.machine.vh[is_alone] id={ "m-" (index) } {
            (clean(&member.name)) " "
            span.kind { (kind(member)) } " "
            @if member.state.grade != Grade::Good { (state::word(&member.state.word, member.state.grade)) }
        }
        (stale_data_note(member))
    }
}

pub(super) fn choices(page: &ConsolePage, shown: &PageContext<'_>, label: &str) -> Markup {
    let path = page.path();
    let members = &shown.platform.members;
    html! {
        div.choices {
            form role="search" method="get" action=(path) {
                label.vh for="q" { (label) }
                input #q type="search" name="q" value=(shown.filter) placeholder=(label)
                    autocomplete="off" maxlength="200";
                @if let Some(member) = shown.member { input type="hidden" name="on" value=(member); }
                button type="submit" { "Filter" }
                @if !shown.filter.is_empty() {
                    a.clear href={ (path) (shown.query("", shown.member)) } { "Show all" }
                }
            }
            @if members.len() > 1 {
                nav.pick aria-label="Machine" {
                    a href={ (path) (shown.query(shown.filter, None)) }
                        aria-current=[shown.member.is_none().then_some("true")] { "All machines" }
                    @for member in members {
                        a href={ (path) (shown.query(shown.filter, Some(&member.name))) }
                            aria-current=[(shown.member == Some(&member.name)).then_some("true")]
                            { (clean(&member.name)) }
                    }
                }
            }
        }
    }
}

pub(super) fn id(of: &str, member: &PlatformMember, name: &str) -> String {
    format!("{of}:{}:{}", encode(&member.name), encode(name))
}

pub(super) fn several(shown: &PageContext<'_>) -> bool {
    shown.platform.members.len() > 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn data_as_old_as_the_poll_interval_is_not_stale() {
        let mut beta = sample::platform().members.swap_remove(1);
        let mut doubt_at = |age_ms| {
            beta.age_ms = age_ms;
            explain_stale_data(&beta)
        };
        // The age is the sum of three intervals: the machine's own poll, the query, and the poll of
        // this machine.
        assert_eq!(doubt_at(3 * UNSEEN_MS), None);
        let old = doubt_at(40_000);
        assert_eq!(old.as_deref(), Some("the data of beta is 40 s old"));
        beta.silent = Some("it does not respond".to_owned());
        assert!(explain_stale_data(&beta).is_some());
    }
}
