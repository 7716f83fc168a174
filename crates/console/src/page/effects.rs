//! What would happen if a machine failed now, in a sentence each: only what the members tell.

use super::machine::doubt;
use super::words::{clean, counted, list};
use crate::platform::{Member, MemberKind, Platform};
use maud::{Markup, html};
use part::report::{Grade, Subject};

/// The section of all machines.
pub(super) fn of(platform: &Platform) -> Markup {
    let up = platform
        .members
        .iter()
        .filter(|member| is_up(member))
        .count();
    let is_last = up > 1 && up - 1 == needed(platform);
    html! {
        @if !platform.members.is_empty() {
            h2 { @if platform.members.len() == 1 { "If it failed now" } @else { "If a machine failed now" } }
            dl.effects {
                @for member in &platform.members {
                    dt { (clean(&member.name)) }
                    dd { (clean(&effect(platform, member))) }
                }
            }
            @if is_last { p.aside { "After any of these, nothing could be decided if one more failed." } }
        }
    }
}

/// How many machines are a majority.
fn needed(platform: &Platform) -> usize {
    platform.members.len() / 2 + 1
}

fn is_up(member: &Member) -> bool {
    member.state.grade != Grade::Bad
}

/// The cluster's words as a sentence.
fn sentence(words: &str) -> String {
    let mut letters = words.chars();
    let first = letters.next().into_iter().flat_map(char::to_uppercase);
    first.chain(letters).chain(['.']).collect()
}

/// The sentence of a machine.
fn effect(platform: &Platform, member: &Member) -> String {
    if !member.if_it_fails.is_empty() {
        return sentence(&member.if_it_fails);
    }
    let others: Vec<&Member> = { platform.members.iter() }
        .filter(|other| other.name != member.name)
        .collect();
    if others.is_empty() {
        return "There is no cluster: everything here would stop.".to_owned();
    }
    if !is_up(member) {
        return "It is away already.".to_owned();
    }
    let total = platform.members.len();
    let left = others.iter().filter(|other| is_up(other)).count();
    let needed = needed(platform);
    let nodes = others
        .iter()
        .filter(|one| is_up(one) && one.kind == MemberKind::Node);
    let nodes: Vec<&str> = nodes.map(|node| node.name.as_str()).collect();
    if left < needed {
        let traffic = match (member.kind, nodes.is_empty()) {
            (MemberKind::Arbiter, _) => "Traffic would not change.",
            (MemberKind::Node, true) => "No node would serve.",
            (MemberKind::Node, false) => "What the cluster places there would not move.",
        };
        return format!(
            "{traffic} Nothing could be decided: {left} of {} would be left, {needed} are needed.",
            counted(total, "machine"),
        );
    }
    if member.kind == MemberKind::Arbiter {
        return "Traffic would not change.".to_owned();
    }
    let moves = match (has(member), nodes.is_empty()) {
        (None, _) => "It holds no address and runs no guest.".to_owned(),
        (Some(what), true) => format!("{what} would stop: no other node is up."),
        (Some(what), false) => format!("{what} would go to {}.", list(&nodes)),
    };
    moves + &lost(member)
}

fn subjects<'m>(member: &'m Member, kind: &'m str) -> impl Iterator<Item = &'m Subject> {
    let reports = member.look.iter().flat_map(|look| &look.reports);
    reports.flat_map(move |report| report.of_kind(kind))
}

/// What runs on a machine, as far as its last report says.
fn has(member: &Member) -> Option<String> {
    if doubt(member).is_some() {
        return Some("What it holds and runs".to_owned());
    }
    let is_good = |one: &&Subject| one.state.grade == Grade::Good;
    let addresses = subjects(member, "virtual-ip").filter(is_good).count();
    let guests = subjects(member, "guest").filter(is_good).count();
    let noun = counted(addresses, "address");
    match (addresses, guests) {
        (0, 0) => None,
        (0, _) => Some(counted(guests, "guest")),
        (_, 0) => Some(noun),
        _ => Some(format!("{noun} and {}", counted(guests, "guest"))),
    }
}

/// The volumes that no other machine has in full.
fn lost(member: &Member) -> String {
    let is_only = |volume: &&Subject| {
        let is_owner = volume.value("owner here") == Some(1);
        let is_single = volume.words("copies").is_none();
        is_single || (is_owner && volume.value("mirrored") == Some(0))
    };
    let only: Vec<&str> = { subjects(member, "volume") }
        .filter(is_only)
        .map(|volume| volume.name.as_str())
        .collect();
    match only.as_slice() {
        [] => String::new(),
        [one] => format!(" Volume {one} has no other complete copy."),
        several => format!(" Volumes {} have no other complete copy.", list(several)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn the_effect_of_a_failure_follows_from_the_members() {
        let platform = sample::platform();
        let of = |platform: &Platform, at: usize| effect(platform, &platform.members[at]);
        assert_eq!(
            of(&platform, 0),
            "1 address and 1 guest would go to beta. Volume erp has no other complete copy."
        );
        assert!(of(&platform, 1).contains("scratch has no other"));
        assert!(of(&platform, 2).starts_with("Traffic would not change."));
        let broken = sample::broken();
        assert_eq!(of(&broken, 1), "It is away already.");
        assert!(
            of(&broken, 0).starts_with("No node would serve. Nothing could be decided: 1 of 3")
        );
        assert!(of(&sample::alone(), 0).contains("everything here would stop"));
    }
}
