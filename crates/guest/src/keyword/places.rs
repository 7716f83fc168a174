//! Checks on which nodes the configured guests can run: that the nodes of `prefer` exist, that a
//! guest has room on one of them, and that they can be powered off.

use super::codes;
use super::node::NodeSection;
use super::section::{GuestSection, ParsedSections};
use crate::config::Room;
use configuration::{Context, is_name_of};
use image::size;
use language::{Diagnostic, Span, Spanned, suggest};

/// Returns the name of a node as the cluster has it, or else as its section has it.
pub(super) fn canonical(context: &Context, name: &str) -> String {
    let mut known = context.nodes.known_nodes().iter();
    let known = known.find(|known| is_name_of(name, known));
    known.map_or(name, String::as_str).to_owned()
}

/// Returns the name in a `node` section; the host name if the section has none.
pub(super) fn name_of(context: &Context, node: &NodeSection) -> String {
    let options = &context.options;
    let own = || options.node.as_ref().unwrap_or(&options.host);
    canonical(context, node.name.as_ref().unwrap_or_else(own))
}

pub(super) fn of_guest(context: &Context, guest: &GuestSection) -> Vec<Diagnostic> {
    let known = context.nodes.known_nodes();
    let name = &guest.name.value;
    // Reports that no node is named only if the guest has no `prefer` line at all, not even a
    // refused one.
    if guest.prefer.is_empty() && !known.is_empty() && !guest.given.has("prefer") {
        let told = format!("guest '{name}' does not say on which nodes it may run");
        let told = Diagnostic::error(&codes::NO_NODE, guest.name.span, told);
        let help = format!("add `prefer NODE`; nodes: {}", known.join(", "));
        return vec![told.label("no line `prefer`").help(help)];
    }
    let mut found = Vec::new();
    for (at, node) in guest.prefer.iter().enumerate() {
        let mut before = guest.prefer[..at].iter();
        if let Some(first) = before.find(|other| is_name_of(&other.value, &node.value)) {
            let told = format!("guest '{name}' prefers node '{}' twice", node.value);
            let told = Diagnostic::error(&codes::UNKNOWN_NODE, node.span, told);
            found.push(
                told.label("the same node")
                    .with_label(first.span, "first named here"),
            );
        } else if !context.nodes.is_known(&node.value) {
            found.push(unknown(known, node));
        }
    }
    found
}

fn unknown(known: &[String], node: &Spanned<String>) -> Diagnostic {
    let told = format!("no node is called '{}'", node.value);
    let told = Diagnostic::error(&codes::UNKNOWN_NODE, node.span, told);
    match suggest::nearest(&node.value, known.iter().map(String::as_str)) {
        Some(near) => told.did_you_mean(node.span, Some(near)),
        None => told.note(format!("nodes: {}", known.join(", "))),
    }
}

/// Outside of a cluster, returns the position of the first second node in a line `prefer`, which
/// requires a cluster. None in a cluster, or if each guest names at most one node.
pub(super) fn without_cluster(context: &Context, guests: &[GuestSection]) -> Option<Span> {
    let is_cluster = !context.options.nodes.is_empty() || !context.options.version.is_empty();
    let mut second = guests.iter().filter_map(|guest| guest.prefer.get(1));
    second.next().map(|node| node.span).filter(|_| !is_cluster)
}

pub(super) fn of_cluster(context: &Context, guests: &[GuestSection]) -> Option<Diagnostic> {
    let span = without_cluster(context, guests)?;
    let told = "a guest of several nodes runs only in a cluster";
    let told = Diagnostic::warning(&codes::NO_CLUSTER, span, told);
    let help = "apply these files with `evenkeel config apply`, and run the members without `-f`";
    Some(
        told.label("with `evenkeel run -f` no guest of these files starts")
            .help(help),
    )
}

fn section<'d>(
    context: &Context,
    draft: &'d ParsedSections,
    name: &str,
) -> Option<&'d NodeSection> {
    let mut nodes = draft.nodes.iter();
    nodes.find(|node| is_name_of(name, &name_of(context, node)))
}

pub(super) fn of_room(
    context: &Context,
    draft: &ParsedSections,
    guest: &GuestSection,
) -> Option<Diagnostic> {
    let memory = guest.memory.as_ref()?;
    let cpus = guest.cpus.as_ref().map_or(1, |cpus| cpus.value);
    // Counts a node without a configured capacity as one with enough.
    let rooms = guest.prefer.iter().map(|node| {
        let section = section(context, draft, &node.value)?;
        Some((node, section.room.as_ref()?))
    });
    let rooms: Vec<_> = rooms.collect::<Option<_>>()?;
    let is_small = |(_, room): &(_, &Spanned<Room>)| {
        room.value
            .memory_bytes
            .is_some_and(|all| all < memory.value)
            || room.value.cpus.is_some_and(|all| all < cpus)
    };
    if rooms.is_empty() || !rooms.iter().all(is_small) {
        return None;
    }
    let told = format!(
        "guest '{}' is larger than the room of each of its nodes",
        guest.name.value
    );
    let takes = format!("takes {} and {cpus} processors", size::words(memory.value));
    // Reports memory or CPUs: the resource of which no node has enough.
    let lacks_memory = |(_, room): &(_, &Spanned<Room>)| {
        room.value
            .memory_bytes
            .is_some_and(|all| all < memory.value)
    };
    let marked = match &guest.cpus {
        Some(cpus) if !rooms.iter().any(lacks_memory) => cpus.span,
        _ => memory.span,
    };
    let told = Diagnostic::error(&codes::ROOM, marked, told).label(takes);
    let told = rooms.iter().fold(told, |told, (node, room)| {
        told.with_label(room.span, format!("what '{}' has", node.value))
    });
    Some(told.help("change the guest or the room, or name a larger node in `prefer`"))
}

struct Unfenced<'d> {
    nodes: Vec<&'d str>,
    at: Span,
    guests: Vec<&'d str>,
}

pub(super) fn of_fencing(
    context: &Context,
    draft: &ParsedSections,
    is_external: impl Fn(&GuestSection) -> bool,
) -> Vec<Diagnostic> {
    let mut stranded = Vec::new();
    let mut all: Vec<Unfenced<'_>> = Vec::new();
    let is_unfenced = |node: &&Spanned<String>| {
        let section = section(context, draft, &node.value);
        let has = |node: &NodeSection| {
            !node.fences.is_empty() || node.watchdog.is_some() || node.has_refused_fence
        };
        context.nodes.is_known(&node.value) && !section.is_some_and(has)
    };
    for guest in draft.guests.iter().filter(|guest| guest.prefer.len() > 1) {
        let unfenced: Vec<_> = guest.prefer.iter().filter(is_unfenced).collect();
        let Some(first) = unfenced.first() else {
            continue;
        };
        let mut nodes: Vec<&str> = unfenced.iter().map(|node| &*node.value).collect();
        nodes.sort_unstable();
        if is_external(guest) {
            stranded.push(of_external(guest, &nodes, first.span));
            continue;
        }
        match all.iter_mut().find(|one| one.nodes == nodes) {
            Some(same) => same.guests.push(&guest.name.value),
            None => all.push(Unfenced {
                nodes,
                at: first.span,
                guests: vec![&guest.name.value],
            }),
        }
    }
    stranded.extend(all.iter().map(unfenced));
    stranded
}

fn of_external(guest: &GuestSection, nodes: &[&str], at: Span) -> Diagnostic {
    let name = &guest.name.value;
    let told = format!(
        "guest '{name}' has a disk of a storage system, and no `fence` or watchdog stops node '{}'",
        nodes.join("', '")
    );
    let node = nodes.first().copied().unwrap_or_default();
    Diagnostic::warning(&codes::STRANDED, at, told)
        .label("if it fails, the guest stays down until a person confirms that the node is off")
        .note(
            "the storage executes a late write of the former owner, and knows no lease: nothing but a node that is off \
             keeps it back",
        )
        .help(format!(
            "add `fence ipmi …`, or `fence watchdog /dev/watchdog`, to the section `node {node}`"
        ))
}

fn unfenced(unfenced: &Unfenced<'_>) -> Diagnostic {
    let guests: Vec<String> = unfenced
        .guests
        .iter()
        .map(|guest| format!("'{guest}'"))
        .collect();
    let guest = guests.first().map_or("", String::as_str);
    let nodes = match &unfenced.nodes[..] {
        [one] => format!("node '{one}' has"),
        nodes => format!("nodes '{}' have", nodes.join("', '")),
    };
    let told = format!("guest {guest}: {nodes} no `fence` and no watchdog");
    let told = Diagnostic::warning(&codes::NO_FENCING, unfenced.at, told)
        .label("if it fails, a takeover waits for the end of its lease")
        .note(
            "a machine that hangs may still run the guest after that: the volumes refuse its writes, but its network \
             addresses are in use twice",
        );
    let told = match guests.len() {
        1 => told,
        _ => told.note(format!("guests with these nodes: {}", guests.join(", "))),
    };
    let node = unfenced.nodes.first().copied().unwrap_or_default();
    told.help(format!(
        "add `fence ipmi …`, or `fence watchdog /dev/watchdog`, to the section `node {node}`"
    ))
}
