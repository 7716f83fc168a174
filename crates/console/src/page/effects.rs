//! Predicts what the failure of each machine would cause, a sentence for each, from the reports of
//! all machines.

use super::machine::explain_stale_data;
use super::words::{clean, counted, list};
use crate::platform::{MemberKind, Platform, PlatformMember};
use maud::{Markup, html};
use part::report::{Grade, Subject};
use part::status::{GUEST_NODE, GuestNodeReport, GuestNodeState, VolumeReport};

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
            @if is_last { p.aside { "After any of these failures, one more would leave the cluster without \
                                     a majority." } }
        }
    }
}

fn needed(platform: &Platform) -> usize {
    platform.members.len() / 2 + 1
}

fn is_up(member: &PlatformMember) -> bool {
    member.state.grade != Grade::Bad
}

fn sentence(words: &str) -> String {
    let mut letters = words.chars();
    let first = letters.next().into_iter().flat_map(char::to_uppercase);
    first.chain(letters).chain(['.']).collect()
}

fn effect(platform: &Platform, member: &PlatformMember) -> String {
    let others: Vec<&PlatformMember> = platform
        .members
        .iter()
        .filter(|other| other.name != member.name)
        .collect();
    let left = others.iter().filter(|other| is_up(other)).count();
    if let Some(words) = split(platform, member, &others) {
        return words + &waits(platform) + &lost(member);
    }
    if !member.if_it_fails.is_empty() {
        let waits = if is_up(member) && left < needed(platform) {
            waits(platform)
        } else {
            String::new()
        };
        return sentence(&member.if_it_fails)
            + &describe_guests_and_volumes(platform, member, &others)
            + &waits
            + &lost(member);
    }
    if others.is_empty() {
        return "There is no cluster: everything here would stop.".to_owned();
    }
    if !is_up(member) {
        return "It is already away.".to_owned();
    }
    let total = platform.members.len();
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
            "{traffic} No majority: {left} of {} would be left, {needed} are needed.",
            counted(total, "machine"),
        ) + &waits(platform)
            + &lost(member);
    }
    if member.kind == MemberKind::Arbiter {
        return "Traffic would not change.".to_owned();
    }
    let takes_guests = nodes.iter().any(|node| !has_drained(platform, node));
    if !nodes.is_empty() && !takes_guests && !running(member).is_empty() {
        let addresses = match count_good(member, "virtual-ip") {
            0 => String::new(),
            number => format!(
                "{} would go to {}.",
                counted(number, "address"),
                list(&nodes)
            ),
        };
        let rest = describe_guests_and_volumes(platform, member, &others);
        return (addresses + &rest).trim_start().to_owned() + &lost(member);
    }
    let moves = match (describe_load(member), nodes.is_empty()) {
        (None, _) => "It has no address and no guest.".to_owned(),
        (Some(what), true) => format!("{what} would stop: no other node is up."),
        (Some(what), false) => format!("{what} would go to {}.", list(&nodes)),
    };
    moves + &lost(member)
}

/// Describes the effect if the remaining members cannot reach each other: a link between them is
/// cut, and this machine relays their messages.
fn split(
    platform: &Platform,
    member: &PlatformMember,
    others: &[&PlatformMember],
) -> Option<String> {
    let up: Vec<&str> = others
        .iter()
        .filter(|one| is_up(one))
        .map(|one| one.name.as_str())
        .collect();
    if !is_up(member) || up.len() < needed(platform) {
        return None;
    }
    let links = platform
        .members
        .iter()
        .flat_map(|one| subjects(one, "link"));
    let cut: Vec<&Subject> = links
        .filter(|link| link.state.grade == Grade::Bad)
        .collect();
    let reach = |a: &str, b: &str| {
        let names = [format!("{a}-{b}"), format!("{b}-{a}")];
        !cut.iter().any(|link| names.contains(&link.name))
    };
    let most = up.iter().map(|from| {
        let (mut known, mut at) = (vec![*from], 0);
        while let Some(from) = known.get(at).copied() {
            let more = up
                .iter()
                .filter(|to| !known.contains(to) && reach(from, to));
            let more: Vec<&str> = more.copied().collect();
            known.extend(more);
            at += 1;
        }
        known.len()
    });
    (most.max()? < needed(platform)).then(|| {
        format!(
            "No majority: {} cannot reach each other without {}.",
            list(&up),
            member.name
        )
    })
}

fn waits(platform: &Platform) -> String {
    let has = |kind: &str| {
        platform
            .members
            .iter()
            .any(|one| subjects(one, kind).next().is_some())
    };
    let what = match (has("guest"), has("volume")) {
        (true, _) => "Guests and volumes would wait",
        (false, true) => "Volumes would wait",
        (false, false) => return String::new(),
    };
    format!(" {what} until a majority is back.")
}

fn subjects<'m>(member: &'m PlatformMember, kind: &'m str) -> impl Iterator<Item = &'m Subject> {
    let reports = member.look.iter().flat_map(|look| &look.reports);
    reports.flat_map(move |report| report.of_kind(kind))
}

pub(super) fn is_drained(node: &&Subject) -> bool {
    GuestNodeReport::of(node).state == GuestNodeState::Drained
}

/// Returns whether a node of this name is drained, as far as the machines report.
fn has_drained(platform: &Platform, name: &str) -> bool {
    let members = platform.members.iter();
    let mut nodes = members.flat_map(|one| subjects(one, GUEST_NODE));
    nodes.any(|node| node.name == name && is_drained(&node))
}

fn count_good(member: &PlatformMember, kind: &str) -> usize {
    let subjects = subjects(member, kind);
    subjects
        .filter(|one| one.state.grade == Grade::Good)
        .count()
}

fn running(member: &PlatformMember) -> Vec<&str> {
    let guests = subjects(member, "guest").filter(|one| one.state.grade == Grade::Good);
    guests.map(|guest| guest.name.as_str()).collect()
}

/// Describes what would happen to the guests of a machine, and to its volumes that other machines
/// have completely.
fn describe_guests_and_volumes(
    platform: &Platform,
    member: &PlatformMember,
    others: &[&PlatformMember],
) -> String {
    if !is_up(member) || explain_stale_data(member).is_some() {
        return String::new();
    }
    let nodes = others
        .iter()
        .filter(|one| is_up(one) && one.kind == MemberKind::Node);
    let nodes: Vec<&str> = nodes.map(|node| node.name.as_str()).collect();
    let (drained, free): (Vec<&str>, Vec<&str>) =
        nodes.iter().partition(|node| has_drained(platform, node));
    let mut words = String::new();
    let guests = running(member);
    if !guests.is_empty() {
        let named = match guests.as_slice() {
            [one] => format!("Guest {one}"),
            several => format!("Guests {}", list(several)),
        };
        words += &match (free.as_slice(), drained.as_slice()) {
            ([], []) => format!(" {named} would stop: no other node is up."),
            ([], [one]) => format!(" {named} would stop: {one} is drained."),
            ([], several) => format!(" {named} would stop: {} are drained.", list(several)),
            (free, _) => format!(" {named} would start on {}.", list(free)),
        };
    }
    let is_moved = |volume: &&Subject| {
        VolumeReport::of(volume).is_owner && volume.value("mirrored") == Some(1)
    };
    let volumes: Vec<&str> = subjects(member, "volume")
        .filter(is_moved)
        .map(|volume| volume.name.as_str())
        .collect();
    match (volumes.as_slice(), nodes.is_empty()) {
        ([], _) | (_, true) => {}
        ([one], _) => words += &format!(" Volume {one} would be served by {}.", list(&nodes)),
        (several, _) => {
            words += &format!(
                " Volumes {} would be served by {}.",
                list(several),
                list(&nodes)
            );
        }
    }
    words
}

/// Describes the number of virtual addresses and guests that are up on a machine, according to its
/// last report, without numbers if that report is out of date. None if there are none.
fn describe_load(member: &PlatformMember) -> Option<String> {
    if explain_stale_data(member).is_some() {
        return Some("Its addresses and guests".to_owned());
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

fn lost(member: &PlatformMember) -> String {
    let is_only = |volume: &&Subject| {
        let status = VolumeReport::of(volume);
        status.copies.is_none() || (status.is_owner && volume.value("mirrored") == Some(0))
    };
    let only: Vec<&str> = subjects(member, "volume")
        .filter(is_only)
        .map(|volume| volume.name.as_str())
        .collect();
    match only.as_slice() {
        [] => String::new(),
        [one] => format!(" Volume {one} has no other complete copy: what uses it would stop."),
        several => format!(
            " Volumes {} have no other complete copy: what uses them would stop.",
            list(several)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn effects_are_the_same_with_noise_for_texts() {
        let effects = |platform: Platform| {
            let members = platform.members.iter();
            let all = members.map(|member| effect(&platform, member));
            all.collect::<Vec<_>>()
        };
        assert_eq!(
            effects(sample::with_noise(sample::platform())),
            effects(sample::platform())
        );
        assert_eq!(
            effects(sample::with_noise(sample::broken())),
            effects(sample::broken())
        );
    }

    #[test]
    fn the_effect_of_a_failure_follows_from_the_members() {
        let platform = sample::platform();
        let of = |platform: &Platform, at: usize| effect(platform, &platform.members[at]);
        assert_eq!(
            of(&platform, 0),
            "1 address and 1 guest would go to beta. Volume erp has no other complete copy: what uses it would stop."
        );
        assert!(of(&platform, 1).contains("scratch has no other"));
        assert!(of(&platform, 2).starts_with("Traffic would not change."));
        let broken = sample::broken();
        assert_eq!(of(&broken, 1), "It is already away.");
        assert!(of(&broken, 0).starts_with("No node would serve. No majority: 1 of 3"));
        assert!(of(&broken, 0).contains("Guests and volumes would wait until a majority is back."));
        // The text of the cluster report is only a part of the sentence.
        let mut told = sample::platform();
        told.members[0].if_it_fails = "the address moves to beta".to_owned();
        assert_eq!(
            of(&told, 0),
            "The address moves to beta. Guest mail would start on beta. Volume mail would be served by beta. \
             Volume erp has no other complete copy: what uses it would stop."
        );
        let mut drained = sample::platform();
        let mut look = drained.members[0].look.as_deref().unwrap().clone();
        let report = look.reports.iter_mut().find(|one| one.part == "guest");
        let beta = Subject::new(GUEST_NODE, "beta").state("drained", Grade::Standby);
        let beta = beta.publish(&part::status::GuestNodeReport {
            state: part::status::GuestNodeState::Drained,
        });
        report.unwrap().subjects.push(beta);
        drained.members[0].look = Some(std::sync::Arc::new(look));
        let words = of(&drained, 0);
        assert!(
            words
                .starts_with("1 address would go to beta. Guest mail would stop: beta is drained."),
            "{words}"
        );
        drained.members[0].if_it_fails = "the address moves to beta".to_owned();
        let words = of(&drained, 0);
        assert!(
            words.starts_with("The address moves to beta. Guest mail would stop: beta is drained."),
            "{words}"
        );
        // The arbiter relays the messages of the two nodes.
        let mut cut = sample::platform();
        let mut look = cut.members[0].look.as_deref().unwrap().clone();
        let report = look.reports.iter_mut().find(|one| one.part == "cluster");
        let link = Subject::new("link", "alpha-beta").state("cut", Grade::Bad);
        report.unwrap().subjects.push(link);
        cut.members[0].look = Some(std::sync::Arc::new(look));
        assert_eq!(
            of(&cut, 2),
            "No majority: alpha and beta cannot reach each other without gamma. Guests and volumes would \
             wait until a majority is back."
        );
        assert!(!of(&cut, 1).contains("cannot reach"));
        assert!(of(&sample::alone(), 0).contains("everything here would stop"));
    }
}
