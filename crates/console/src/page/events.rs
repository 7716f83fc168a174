//! Draws a timeline of the events of all machines and parts of the platform, the newest first.

use super::words::{clean, date, moment, stamp};
use super::{PageContext, machine};
use crate::platform::MachineEvent;
use maud::{Markup, html};
use part::report::Event;

const EVENTS_MAX: usize = 500;

/// Returns the events of the shown machines that match the filter, the newest first.
pub(super) fn all<'s>(shown: &PageContext<'s>) -> Vec<MachineEvent<'s>> {
    let is_shown = |one: &MachineEvent<'_>| {
        let Event { from, to, why, .. } = &*one.event;
        let name = &one.member.name;
        let is_of = shown.member.is_none_or(|only| only == name);
        is_of && shown.matches(&[name, &one.of, from, to, why])
    };
    let mut all = shown.platform.events();
    all.retain(is_shown);
    all
}

pub(super) fn change(event: &Event) -> Markup {
    html! {
        @if !event.from.is_empty() { (clean(&event.from)) " " span.arrow { "→" span.vh { " to" } } " " }
        b { (clean(&event.to)) }
    }
}

pub(super) fn of(shown: &PageContext<'_>) -> Markup {
    let all = all(shown);
    let number = all.len();
    let mut days: Vec<(String, Vec<&MachineEvent<'_>>)> = Vec::new();
    for one in all.iter().take(EVENTS_MAX) {
        let (day, _) = moment(one.event.at.unix_ms);
        match days.last_mut().filter(|(last, _)| *last == day) {
            Some((_, events)) => events.push(one),
            None => days.push((day, vec![one])),
        }
    }
    html! {
        @if all.is_empty() && shown.filter.is_empty() {
            p.empty {
                "No change is known. Changes of addresses, volumes and guests appear here; reloads and \
                 restarts are in the log of the program."
            }
        } @else if all.is_empty() {
            p.empty { "No event has “" (clean(shown.filter)) "”." }
        }
        @for (day, events) in &days {
            section {
                h2.day { (day) }
                (table(events, day, machine::several(shown), false))
            }
        }
        @if number > EVENTS_MAX {
            p.more { "… and " (number - EVENTS_MAX) " older ones: filter to see them." }
        }
    }
}

fn time(event: &Event, dates: bool) -> Markup {
    let at = event.at.unix_ms;
    html! {
        time datetime=(stamp(at)) {
            @if dates { (date(at)) " " }
            (moment(at).1)
        }
    }
}

/// Draws events as a table. Events of one day need no dates.
pub(super) fn table(
    events: &[&MachineEvent<'_>],
    caption: &str,
    machines: bool,
    dates: bool,
) -> Markup {
    html! {
        table.events {
            caption.vh { "Events, " (caption) }
            thead {
                tr {
                    th scope="col" { "Time" }
                    @if machines { th scope="col" { "Machine" } }
                    th scope="col" { "Of" }
                    th scope="col" { "Change" }
                    th scope="col" { "Why" }
                }
            }
            tbody {
                @for one in events {
                    tr {
                        td.time { (time(&one.event, dates)) }
                        @if machines { td.on { (clean(&one.member.name)) } }
                        th scope="row" { (clean(&one.of)) }
                        td.change { (change(&one.event)) }
                        td.because { (clean(&one.event.why)) }
                    }
                }
            }
        }
    }
}
