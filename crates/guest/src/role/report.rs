//! Builds the report about guests and their nodes.

use super::machine::GuestMachine;
use super::{GuestRole, offers, silence};
use crate::check::health::HealthState;
use crate::clock;
use crate::config::{Guest, Mac};
use crate::keyword::NAME;
use crate::life::{GuestStatus, PauseReason};
use crate::qemu::group::GuestGroup;

use part::report::{Grade, Moment, NumberRow, StatusReport, Subject, span};
use part::status::{
    GuestDisk, GuestNodeReport, GuestNodeState, GuestReport, GuestState, StopOrder,
};
use std::collections::BTreeMap;
use std::path::Path;

pub const GUEST: &str = "guest";
pub const NODE: &str = "guest node";
/// Fact and number of a node that is gone: the state of its fencing. The number is 0 for none, 1
/// for in progress, 2 for confirmed off, 3 for failed.
pub const FENCING: &str = "fencing";
/// Name of the only node, without a cluster.
pub const THIS_NODE: &str = "this node";
pub const STOPPED: &str = "stopped";
/// Number of a node: drains that were refused because no other node takes its guests.
pub const REFUSED_DRAINS: &str = "refused drains";
/// List of the nodes on which a guest failed too often, with the reasons. Such a node runs the
/// guest only if no other node is available.
pub const FAILED_AT: &str = "failed at";
pub const TEMPLATE: &str = "template";
/// Fact that no node can run the guest, and that waiting does not help. The subject's reason says
/// why.
pub const UNPLACED: &str = "placed";
pub const ON: &str = "on";
pub const RUNNING: &str = "running";
/// Number: memory of the QEMU process, as the kernel counts it for its control group, bytes.
pub const MEMORY_USED: &str = "memory used";
/// Number: memory above which the kernel kills the QEMU process, bytes.
pub const MEMORY_LIMIT: &str = "memory limit";
/// Number: 1 if the guest's check is up on this node, and 0 if it is down.
pub const CHECK: &str = "check";

/// Fact with the nodes on which the guest may run, the best first.
pub const PREFERS: &str = "prefers";
pub const TAKES: &str = "takes guests";
pub const ELSEWHERE: &str = "elsewhere";

pub const NOT_MOVED: &str = "not moved";
/// Number of a migration: memory sent, bytes.
pub const SENT: &str = "sent";
/// Number of a migration: memory that remains, bytes.
pub const REMAINING: &str = "remaining";
/// Number of a migration: rate, bytes per second.
pub const RATE: &str = "rate";

pub(super) fn of(role: &GuestRole) -> StatusReport {
    let guests = role.guests.guests.iter();
    let mut subjects: Vec<Subject> = guests
        .map(|(name, guest)| a_guest(role, name, Some(guest)))
        .collect();
    let gone = role
        .machines
        .keys()
        .filter(|name| !role.guests.guests.contains_key(*name));
    subjects.extend(gone.map(|name| a_guest(role, name, None)));
    let templates = role.guests.templates.iter();
    let templates = templates.filter(|(name, _)| !role.machines.contains_key(*name));
    subjects.extend(templates.map(|(name, guest)| {
        let mut subject = Subject::new(GUEST, name).label("guest");
        // Shows a guest that became a template as a guest elsewhere while it still shuts down on
        // its node.
        let holder = role.agreement.holder(name);
        let mut status = GuestReport::default();
        subject = if holder.is_empty() || holder == role.guests.me {
            status.state = GuestState::Template;
            subject.state(TEMPLATE, Grade::Standby)
        } else {
            holder.clone_into(&mut status.node);
            status.state = GuestState::Elsewhere;
            subject.why = format!("on {holder}");
            subject.state(ELSEWHERE, Grade::Standby).fact(ON, holder)
        };
        let subject = subject.number(RUNNING, 0).number("process", 0);
        describe(&mut status, role, None, guest);
        facts(subject, role, None, guest).publish(&status)
    }));
    let now_ns = clock::boottime_ns();
    let nodes = nodes_of(&role.guests.me, role.agreement.nodes(&role.guests, now_ns));
    subjects.extend(nodes.into_iter().map(|(name, is_there)| {
        let subject = Subject::new(NODE, &name).label("node");
        let is_me = name == role.guests.me || name == THIS_NODE;
        let mut subject = subject.number("here", u64::from(is_me));
        if is_me && !role.guests.me.is_empty() {
            subject.offers = offers::of_node(role);
        }
        let is_drained = if is_me {
            role.agreement.is_drained()
        } else {
            role.agreement.has_drained(&name)
        };
        subject = subject.number(REFUSED_DRAINS, role.agreement.refused_drains(&name).into());
        let (subject, mut state) = match (is_there, is_drained) {
            (true, true) => (
                subject.state("drained", Grade::Standby),
                GuestNodeState::Drained,
            ),
            (true, false) => (subject.state(TAKES, Grade::Good), GuestNodeState::Available),
            (false, _) if is_me => (
                subject.state("no majority", Grade::Bad),
                GuestNodeState::NoMajority,
            ),
            (false, _) => (subject.state("away", Grade::Bad), GuestNodeState::Away),
        };
        let subject = role.fencing_of(subject, is_there, &mut state);
        subject.publish(&GuestNodeReport { state })
    }));
    StatusReport {
        part: NAME.to_owned(),
        at: Moment::now(),
        subjects,
        rows: rows(),
    }
}

/// Returns the nodes and whether each is available. Without a cluster only this machine counts,
/// whatever name guests use for it.
fn nodes_of(me: &str, agreed: BTreeMap<String, bool>) -> BTreeMap<String, bool> {
    if me.is_empty() {
        BTreeMap::from([(THIS_NODE.to_owned(), true)])
    } else {
        agreed
    }
}

const SHOWN_BYTES_MAX: usize = 96 << 10;

/// Returns the report of the named guest on this node, or of all guests on it, for another node. A
/// report of all guests has no events. The last guests are omitted if the report exceeds
/// [`SHOWN_BYTES_MAX`].
pub(super) fn shown(role: &GuestRole, name: &str) -> Vec<u8> {
    let mut report = of(role);
    report.rows.clear();
    // Removes the actions, which are for operators at this node.
    report
        .subjects
        .iter_mut()
        .for_each(|one| one.offers.clear());
    report.subjects.retain(|one| {
        let is_elsewhere = GuestReport::of(one).state == GuestState::Elsewhere;
        one.kind == GUEST && !is_elsewhere && (name.is_empty() || one.name == name)
    });
    if name.is_empty() {
        report
            .subjects
            .iter_mut()
            .for_each(|one| one.events.clear());
    }
    let mut bytes = report.encode();
    while bytes.len() > SHOWN_BYTES_MAX {
        let half = report.subjects.len() / 2;
        report.subjects.truncate(half);
        bytes = report.encode();
    }
    bytes
}

/// Returns the status of a guest here, as text.
///
/// # Errors
/// There is no such guest, or its migration failed.
pub(super) fn how(role: &GuestRole, name: &str) -> Result<String, String> {
    let report = of(role);
    let subject = report.find(GUEST, name);
    let subject = subject.ok_or_else(|| format!("there is no guest '{name}'"))?;
    match subject.words(NOT_MOVED) {
        Some(why) => Err(format!("guest {name} has not moved {why}")),
        None => Ok(words_of(subject)),
    }
}

pub fn words_of(subject: &Subject) -> String {
    let why = match subject.why.as_str() {
        "" => String::new(),
        why => format!(": {why}"),
    };
    let figures = figures(subject).unwrap_or_default();
    let (name, word) = (&subject.name, &subject.state.word);
    format!("guest {name} is {word}{why}{figures}")
}

fn figures(subject: &Subject) -> Option<String> {
    let mib = |name| subject.value(name).map(|bytes| bytes >> 20);
    let (sent, remaining, rate) = (mib(SENT)?, mib(REMAINING)?, mib(RATE)?);
    (sent > 0).then(|| format!("; {sent} MiB sent, {remaining} MiB left, {rate} MiB/s"))
}

fn rows() -> Vec<NumberRow> {
    vec![
        super::fencing::row(),
        NumberRow::new(
            "here",
            "evenkeel_guest_node_here",
            "1 for the node that reports it.",
        )
        .flag(),
        NumberRow::new(
            RUNNING,
            "evenkeel_guest_running",
            "1 where the guest runs on this node.",
        )
        .flag(),
        NumberRow::new(
            CHECK,
            "evenkeel_guest_check_up",
            "1 where the guest runs on this node and its check is up.",
        )
        .flag(),
        NumberRow::new(
            "memory",
            "evenkeel_guest_memory_bytes",
            "The memory of the guest.",
        ),
        NumberRow::new(
            MEMORY_USED,
            "evenkeel_guest_memory_used_bytes",
            "Memory of QEMU on this node, as counted for its control group.",
        ),
        NumberRow::new(
            MEMORY_LIMIT,
            "evenkeel_guest_memory_limit_bytes",
            "Memory above which the kernel kills QEMU.",
        ),
        NumberRow::new(
            "processors",
            "evenkeel_guest_cpus",
            "The processors of the guest.",
        ),
        NumberRow::new(
            SENT,
            "evenkeel_guest_move_sent_bytes",
            "Bytes of memory of a moving guest that were sent.",
        ),
        NumberRow::new(
            REMAINING,
            "evenkeel_guest_move_remaining_bytes",
            "Bytes of memory of a moving guest that remain to be sent.",
        ),
        NumberRow::new(
            RATE,
            "evenkeel_guest_move_rate_bytes",
            "Memory transfer rate of a moving guest, in bytes per second.",
        ),
        NumberRow::new(
            "process",
            "evenkeel_guest_pid",
            "The process id of its QEMU; 0 without one.",
        ),
    ]
}

fn a_guest(role: &GuestRole, name: &str, guest: Option<&Guest>) -> Subject {
    let machine = role.machines.get(name);
    let decided = role.decided.get(name);
    let shown = machine.and_then(|machine| machine.shown.clone());
    let mut why = decided
        .map(|decided| decided.why.clone())
        .unwrap_or_default();
    let is_here = machine.is_some_and(|machine| machine.life.is_there());
    let (state, grade) = state(role, name, shown.as_ref().map(|(shown, _)| shown), is_here);
    if let Some(machine) = machine {
        let waits_for_volumes = decided.is_some_and(|decided| decided.waits_for_volumes);
        let volumes = guest.filter(|_| waits_for_volumes);
        let volumes = volumes.and_then(|guest| role.volume_words(name, guest));
        why = why_not(role, machine, &shown, volumes.unwrap_or(why));
    }
    let is_down = machine.is_some_and(|one| one.is_running() && is_down(one));
    let is_silent = is_here && machine.is_some_and(GuestMachine::is_silent);
    if is_silent && why.is_empty() {
        why = silence::WORDS.to_owned();
    }
    let is_nowhere = grade == Grade::Standby && role.nowhere.has(name, clock::boottime_ms());
    if is_nowhere {
        why = nowhere(role, name, why);
    }
    let grade = if is_down || is_silent || is_nowhere {
        Grade::Bad
    } else {
        grade
    };
    let subject = Subject::new(GUEST, name).label("guest");
    let mut subject = subject.state(state_word(state), grade);
    let mut status = GuestReport {
        state,
        ..GuestReport::default()
    };
    subject.since = shown.as_ref().filter(|_| is_here).map(|(_, since)| *since);
    subject.why = why;
    subject = moving(subject, role, name);
    let holds = decided.is_some_and(|decided| decided.epoch.is_some());
    let holder = match (is_here && holds, role.guests.me.is_empty()) {
        (true, false) => role.guests.me.clone(),
        (true, true) => THIS_NODE.to_owned(),
        (false, _) => role.agreement.holder(name).to_owned(),
    };
    holder.clone_into(&mut status.node);
    subject = subject.fact(ON, holder);
    if role.agreement.is_restoring(name) {
        status.stop_order = StopOrder::UntilRestored;
        subject = subject.fact(STOPPED, "until it is restored");
    } else if role.agreement.is_stopped(&role.guests, name) {
        status.stop_order = StopOrder::UntilStart;
        subject = subject.fact(STOPPED, "until `guest start`");
    }
    if !is_here && role.agreement.is_unplaced(name) {
        status.is_unplaced = true;
        subject = subject.fact(UNPLACED, "on no node");
    }
    status.has_failed_move = role.moves.stays.contains_key(name);
    if let Some(guest) = guest {
        subject = facts(subject, role, machine, guest);
        describe(&mut status, role, machine, guest);
    }
    subject = subject.publish(&status);
    let running = matches!(shown, Some((GuestStatus::Running, _)));
    let process = machine.and_then(|machine| machine.process());
    subject = subject.number(RUNNING, u64::from(running)).number(
        "process",
        process.map_or(0, |one| u64::from(one.id().unsigned_abs())),
    );
    subject.offers = offers::of_guest(role, name);
    if let Some(group) = machine.and_then(|machine| machine.group.as_ref()) {
        subject = add_memory(subject, group);
    }
    if let Some(machine) = machine {
        subject = check(subject, machine);
        subject.events = machine.events.iter().cloned().collect();
    }
    subject
}

/// Adds the memory of QEMU and the control group that counts it.
fn add_memory(mut subject: Subject, group: &GuestGroup) -> Subject {
    let used = group.memory_bytes();
    let limit = group.limit_bytes();
    if let (Some(used), Some(limit)) = (used, limit) {
        let words = format!("{} MiB of at most {} MiB", used >> 20, limit >> 20);
        subject = subject.fact(MEMORY_USED, words);
    }
    for (number, value) in [(MEMORY_USED, used), (MEMORY_LIMIT, limit)] {
        if let Some(value) = value {
            subject = subject.number(number, value);
        }
    }
    subject.fact("control group", group.path().display().to_string())
}

fn describe(
    status: &mut GuestReport,
    role: &GuestRole,
    machine: Option<&GuestMachine>,
    guest: &Guest,
) {
    // Describes the disks with which a running guest was started, whatever its section says since.
    let described = machine.and_then(|machine| role.described(&machine.name, machine));
    let disks = described.unwrap_or(guest).disks.iter();
    let disks = disks.map(|disk| GuestDisk {
        volume: disk.volume.clone(),
        is_read_only: disk.read_only,
    });
    status.disks = disks.collect();
    status.prefers.clone_from(&guest.prefer);
    if let Some(machine) = machine.filter(|machine| machine.life.is_there()) {
        status.files = machine.home.path().display().to_string();
    }
}

fn state(
    role: &GuestRole,
    name: &str,
    shown: Option<&GuestStatus>,
    is_here: bool,
) -> (GuestState, Grade) {
    if is_here && role.moves.departures.contains_key(name) {
        return (GuestState::Moving, Grade::Busy);
    }
    let rests = role.agreement.rests(&role.guests, name);
    let machine = role.machines.get(name);
    let stays_frozen = machine.is_some_and(|one| one.stays_frozen(clock::boottime_ms()));
    match shown {
        Some(GuestStatus::Paused(PauseReason::Moving)) if is_here && is_left_paused(role, name) => {
            (GuestState::Paused, Grade::Bad)
        }
        Some(shown @ GuestStatus::Running) if is_here && stays_frozen => {
            (published(shown).0, Grade::Bad)
        }
        Some(shown) if is_here => published(shown),
        // Shows the status at the other node: an earlier status on this node no longer counts.
        _ if elsewhere(role, name).0 == GuestState::Elsewhere => elsewhere(role, name),
        _ if rests.is_some() => rests
            .as_ref()
            .map_or((GuestState::Down, Grade::Standby), published),
        Some(shown @ (GuestStatus::Waits(_) | GuestStatus::Failed | GuestStatus::Off)) => {
            published(shown)
        }
        _ => elsewhere(role, name),
    }
}

fn is_left_paused(role: &GuestRole, name: &str) -> bool {
    !role.moves.departures.contains_key(name) && !role.has_incoming_migration(name)
}

fn moving(mut subject: Subject, role: &GuestRole, name: &str) -> Subject {
    if let Some(stay) = role.moves.stays.get(name) {
        let words = format!("to {}: {}", stay.to, stay.why);
        subject = subject.fact(NOT_MOVED, words);
    }
    let Some(departure) = role.moves.departures.get(name) else {
        return subject;
    };
    let [sent, remaining, rate] = departure.copied;
    subject.why = format!("to {}: {}", departure.to, departure.source.words());
    let figures = [(SENT, sent), (REMAINING, remaining), (RATE, rate)];
    let figures = figures.into_iter();
    figures.fold(subject, |subject, (name, value)| {
        subject.number(name, value)
    })
}

fn facts(
    subject: Subject,
    role: &GuestRole,
    machine: Option<&GuestMachine>,
    guest: &Guest,
) -> Subject {
    // Describes the disks with which a running guest was started, whatever its section says since.
    let described = machine.and_then(|machine| role.described(&machine.name, machine));
    let disks = described.unwrap_or(guest).disks.iter().map(|disk| {
        if disk.read_only {
            format!("{} (read only)", disk.volume)
        } else {
            disk.volume.clone()
        }
    });
    let nics = guest.nics.iter().map(|nic| {
        let mac = Mac(nic.mac);
        let addresses = nic.addresses.iter().map(|one| format!(" {one}"));
        format!("{} {mac}{}", nic.bridge, addresses.collect::<String>())
    });
    let mut subject = subject
        .list("disks", disks.collect())
        .list("cards", nics.collect())
        .number("memory", guest.memory_bytes)
        .number("processors", u64::from(guest.cpus));
    if !guest.prefer.is_empty() {
        subject = subject.list(PREFERS, guest.prefer.clone());
    }
    let failures = role.agreement.failures(&subject.name);
    if !failures.is_empty() {
        subject = subject.list(FAILED_AT, failures);
    }
    if let Some(machine) = machine.filter(|machine| machine.life.is_there()) {
        subject = subject.fact("files", machine.home.path().display().to_string());
        let has_device = Path::new("/dev/kvm").exists();
        let accelerator = match (role.place.has_kvm, has_device) {
            (true, _) => "KVM",
            (false, false) => "TCG (slow: no /dev/kvm)",
            (false, true) => "TCG (slow: /dev/kvm is there, but cannot be used)",
        };
        subject = subject.fact("accelerator", accelerator);
        if machine
            .started_as
            .as_ref()
            .is_some_and(|before| before != guest)
        {
            subject = subject.fact(
                "changed",
                "the file has changed: it takes effect at the next start",
            );
        }
    }
    subject
}

fn is_down(machine: &GuestMachine) -> bool {
    let checker = machine.checker.as_ref();
    checker.is_some_and(|checker| checker.health().state() == HealthState::Down)
}

fn check(subject: Subject, machine: &GuestMachine) -> Subject {
    let Some(checker) = machine.checker.as_ref().filter(|_| machine.life.is_there()) else {
        return subject;
    };
    let health = checker.health();
    let word = match health.state() {
        HealthState::Starting => "starting",
        HealthState::Up => "up",
        HealthState::Down => "down",
    };
    let ago = clock::boottime_ms().saturating_sub(health.since());
    let mut words = format!("{} {word} for {}", checker.words(), span(ago));
    if !health.why().is_empty() {
        words = format!("{words}, {}", health.why());
    }
    subject
        .fact(CHECK, words)
        .number(CHECK, u64::from(machine.is_up()))
}

pub(super) fn state_words(shown: &GuestStatus) -> &'static str {
    state_word(published(shown).0)
}

fn published(shown: &GuestStatus) -> (GuestState, Grade) {
    match shown {
        GuestStatus::Down => (GuestState::Down, Grade::Standby),
        GuestStatus::Waits(_) => (GuestState::Restarting, Grade::Bad),
        GuestStatus::Starting => (GuestState::Starting, Grade::Busy),
        GuestStatus::Running => (GuestState::Running, Grade::Good),
        GuestStatus::Paused(PauseReason::Moving) => (GuestState::Moving, Grade::Busy),
        GuestStatus::Paused(PauseReason::Snapshot) => (GuestState::Paused, Grade::Busy),
        GuestStatus::Paused(_) => (GuestState::Paused, Grade::Bad),
        GuestStatus::ShuttingDown(_) => (GuestState::ShuttingDown, Grade::Busy),
        GuestStatus::Ending => (GuestState::Ending, Grade::Busy),
        GuestStatus::Off => (GuestState::Off, Grade::Standby),
        GuestStatus::Failed => (GuestState::Failed, Grade::Bad),
    }
}

fn state_word(state: GuestState) -> &'static str {
    match state {
        GuestState::Down => "down",
        GuestState::Restarting => "restarting",
        GuestState::Starting => "starting",
        GuestState::Running => "running",
        GuestState::Moving => "moving",
        GuestState::Paused => "paused",
        GuestState::ShuttingDown => "shutting down",
        GuestState::Ending => "ending",
        GuestState::Off => "off",
        GuestState::Failed => "failed",
        GuestState::Elsewhere => ELSEWHERE,
        GuestState::Template => TEMPLATE,
        GuestState::Unknown => "unknown",
    }
}

fn elsewhere(role: &GuestRole, name: &str) -> (GuestState, Grade) {
    let holder = role.agreement.holder(name);
    let is_down = holder.is_empty() || holder == role.guests.me;
    let state = if is_down {
        GuestState::Down
    } else {
        GuestState::Elsewhere
    };
    (state, Grade::Standby)
}

fn nowhere(role: &GuestRole, name: &str, why: String) -> String {
    let holder = role.agreement.holder(name);
    let is_local = holder.is_empty() || holder == role.guests.me;
    match (is_local, why.is_empty()) {
        (false, _) => format!(
            "it runs on no node that responds: {holder}, which had it last, does not respond"
        ),
        (true, true) => "it runs on no node that responds".to_owned(),
        (true, false) => format!("it runs on no node: {why}"),
    }
}

fn why_not(
    role: &GuestRole,
    machine: &GuestMachine,
    shown: &Option<(GuestStatus, part::report::Moment)>,
    why: String,
) -> String {
    let shown = shown.as_ref().map(|(shown, _)| shown);
    match shown {
        Some(GuestStatus::Running) if is_down(machine) => {
            let why = machine.checker.as_ref().map(|checker| checker.health().why());
            match why.unwrap_or_default() {
                "" => "its check is down: the last one succeeded".to_owned(),
                why => format!("its check fails: {why}"),
            }
        }
        Some(GuestStatus::Running) if machine.stays_frozen(clock::boottime_ms()) => {
            "its file systems are still frozen after a snapshot, and its programs wait: its guest agent \
             gets the command to thaw them each second"
                .to_owned()
        }
        Some(GuestStatus::Running) => String::new(),
        Some(GuestStatus::Waits(at)) => {
            let left = at.saturating_sub(clock::boottime_ms()).div_ceil(1000);
            format!("{}; it is started again in {left} s", machine.life.why)
        }
        Some(GuestStatus::Failed) if why.is_empty() => {
            format!(
                "it failed too often: {}; `evenkeel guest start {}` tries again",
                machine.life.why, machine.name
            )
        }
        Some(GuestStatus::Off) if why.is_empty() => {
            format!(
                "it shut down by itself: `evenkeel guest start {}` starts it",
                machine.name
            )
        }
        Some(GuestStatus::Paused(PauseReason::Moving)) if is_left_paused(role, &machine.name) => {
            "paused: its move has ended, and it continues when its lease and its volumes are on this node"
                .to_owned()
        }
        Some(GuestStatus::Paused(still)) => still.to_string(),
        Some(GuestStatus::ShuttingDown(at)) => {
            let left = at.saturating_sub(clock::boottime_ms()).div_ceil(1000);
            let why = if machine.life.is_restarting() {
format!("it is restarted: {}", machine.life.why)
} else {
why
};
            format!(
                "{why}{}killed in {left} s if it does not",
                if why.is_empty() { "" } else { "; " }
            )
        }
        _ => why,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agreement::IdleGuests;
    use crate::config::Guests;
    use crate::role::RoleEnvironment;
    use part::codec;
    use part::role::{KnownLease, KnownLeases, LeaseNews};

    /// Creates the guest role of alpha, with a guest that may run on both nodes.
    fn role(scratch: &lab::ScratchDirectory) -> GuestRole {
        let place = RoleEnvironment {
            runtime: scratch.path().to_owned(),
            program: "/nonexistent".into(),
            confine: None,
            has_kvm: false,
            move_bandwidth: 0,
            groups: None,
            claimed: std::collections::BTreeSet::new(),
            commands: "/nonexistent".into(),
        };
        let mail = Guest {
            prefer: ["alpha", "beta"].map(str::to_owned).to_vec(),
            ..Guest::plain(1 << 20)
        };
        let guests = Guests {
            me: "alpha".to_owned(),
            guests: [("mail".to_owned(), mail)].into(),
            ..Guests::default()
        };
        GuestRole::new(place, &codec::encode(&guests), None).unwrap()
    }

    /// Reports that beta had the guest last. `beta`: the holder of beta's own lease.
    fn hear(role: &mut GuestRole, beta: &str) {
        let lease = |name: &str, holder: &str| KnownLease {
            name: name.to_owned(),
            epoch: 3,
            until_ns: 0,
            holder: holder.to_owned(),
            number: 0,
            record: Vec::new(),
            is_inherited: false,
        };
        let known = vec![lease("guest/mail", "beta"), lease("guest/@beta", beta)];
        role.apply_lease_news(LeaseNews::Known(KnownLeases(known)));
        // As if the guest had run on no node for long.
        role.nowhere = IdleGuests::default();
        let long_ago = clock::boottime_ns().saturating_sub(60_000_000_000);
        let guests = role.guests.clone();
        role.nowhere
            .update_idle_guests(&role.agreement, &guests, &BTreeMap::new(), long_ago);
    }

    #[test]
    fn a_guest_is_bad_only_if_its_node_is_silent() {
        let scratch = lab::ScratchDirectory::new().unwrap();
        let mut role = role(&scratch);
        hear(&mut role, "beta");
        let report = of(&role);
        let mail = report.find(GUEST, "mail").unwrap();
        assert_eq!(mail.state.grade, Grade::Standby, "{mail:?}");
        assert_eq!(mail.state.word, ELSEWHERE);
        assert_eq!(GuestReport::of(mail).state, GuestState::Elsewhere);
        hear(&mut role, "");
        let report = of(&role);
        let mail = report.find(GUEST, "mail").unwrap();
        assert_eq!(mail.state.grade, Grade::Bad, "{mail:?}");
        assert_eq!(
            mail.why,
            "it runs on no node that responds: beta, which had it last, does not respond"
        );
    }

    #[test]
    fn a_machine_without_a_cluster_has_no_node_that_is_away() {
        // A guest may name the machine as its line `prefer` does.
        let agreed = || BTreeMap::from([("vm".to_owned(), false)]);
        let alone = nodes_of("", agreed());
        assert_eq!(alone, BTreeMap::from([(THIS_NODE.to_owned(), true)]));
        assert_eq!(nodes_of("alpha", agreed()), agreed());
    }
}
