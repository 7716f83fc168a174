//! Builds the report of all volumes of this node.

use crate::config::{backing_words, size_words};
use crate::export::{Presence, VolumeUser};
use crate::keyword::NAME;
use crate::meter::{Count, KINDS, OperationKind};
use crate::mirror::MirrorStatus;
use crate::replica::{BLOCK_BYTES, OtherState};
use crate::status::{VolumeStatus, named};
use crate::sums::Sums;
use crate::verified;
use part::report::{Grade, Moment, NumberRow, StatusReport, Subject, Unit};
use part::status::{CompleteCopies, CopyNodes, FoundFaults, Overwriting, VolumeReport};
use std::time::Duration;

pub const VOLUME: &str = "volume";
/// Fact with the backing store, in the configuration's notation.
pub const BACKING: &str = "backing";
/// Fact that names the external storage which replicates the volume.
pub const REPLICATION: &str = "replication";
pub const SOCKET: &str = "socket";
pub const NETWORK: &str = "tcp";
pub const CONNECTIONS: &str = "tcp connections";
/// Fact with the nodes that have a replica, this one first.
pub const COPIES: &str = "copies";
/// Fact with the node that holds the lease of a volume with two replicas.
pub const OWNER: &str = "owner";
/// Fact with the replicas that have every acknowledged write.
pub const COMPLETE: &str = "complete";
pub const FILES: &str = "files";
/// Value of [`COMPLETE`] if only the local replica is complete.
pub const THIS_COPY: &str = "this copy";
/// Value of [`COMPLETE`] if the local replica is not complete.
pub const THE_OTHER: &str = "the other copy";
/// Value of [`COMPLETE`] if neither configured replica is complete.
pub const NEITHER: &str = "no copy that the file names";
pub const BOTH_COPIES: &str = "both copies";
pub const LINK: &str = "link";
pub const CONNECTED: &str = "connected";
pub const NO_OWNER: &str = "none";
pub const LAST: &str = "last event";
pub const OWNER_HERE: &str = "owner here";
pub const SERVING: &str = "serving";
pub const READ_ONLY: &str = "read only";
/// Fact with the node whose clients alone may write; absent if clients of both nodes may.
pub const ONLY_CLIENTS_OF: &str = "only clients of";
pub const USED_BY: &str = "used by";
/// Fact with the reason why a changed configuration of the volume is not applied yet.
pub const CHANGE: &str = "change waits";
pub const USER: &str = "user";
pub const INCOMPLETE: &str = "incomplete";
const MARKED: &str = "marked as incomplete";
pub const SIZE: &str = "size bytes";
/// State of a replica that does not belong to the volume which the other node serves.
pub const REFUSED: &str = crate::status::REFUSED;
pub const WRITTEN_HERE: &str = "written here only";
/// Number of bytes that the other replica may lack.
pub const DIRTY: &str = "dirty bytes";
pub const MIRRORED: &str = "mirrored";
pub const CONNECTED_NUMBER: &str = "connected";
pub const RESYNCS: &str = "resyncs";
pub const CLIENTS: &str = "clients";
pub const ACCEPTED: &str = "client connections";
pub const CLIENTS_THERE: &str = "clients at the other node";
pub const ACCEPTED_THERE: &str = "client connections at the other node";
pub const CLIENTS_REFUSED: &str = "clients refused";

pub const CHECKSUMS: &str = "checksums";
/// Fact with the damaged ranges, one per line.
pub const DAMAGE: &str = "damage";
/// Number of bytes in blocks that are damaged now: neither overwritten nor repaired since the
/// detection.
pub const DAMAGED: &str = "damaged bytes";
pub const CHECKED: &str = "checksums kept";
/// Number of checksum mismatches, counted at each read.
pub const MISMATCHES: &str = "checksum mismatches";
pub const REPAIRED: &str = "blocks repaired";
pub const SUMMED: &str = "checksummed bytes";
const DAMAGE_LINES_MAX: usize = 64;

struct OperationNames {
    kind: OperationKind,
    operations: &'static str,
    metric: &'static str,
    done: &'static str,
    bytes: Option<[&'static str; 2]>,
    latency: [&'static str; 2],
}

const WORDS: [OperationNames; KINDS.len()] = [
    OperationNames {
        kind: OperationKind::Read,
        operations: "reads",
        metric: "read",
        done: "read",
        bytes: Some(["read bytes", "evenkeel_volume_read_bytes_total"]),
        latency: ["read p50 us", "read p99 us"],
    },
    OperationNames {
        kind: OperationKind::Write,
        operations: "writes",
        metric: "write",
        done: "written",
        bytes: Some(["written bytes", "evenkeel_volume_written_bytes_total"]),
        latency: ["write p50 us", "write p99 us"],
    },
    OperationNames {
        kind: OperationKind::Flush,
        operations: "flushes",
        metric: "flush",
        done: "flushed",
        bytes: None,
        latency: ["flush p50 us", "flush p99 us"],
    },
    OperationNames {
        kind: OperationKind::Trim,
        operations: "trims",
        metric: "trim",
        done: "trimmed",
        bytes: Some(["trimmed bytes", "evenkeel_volume_trimmed_bytes_total"]),
        latency: ["trim p50 us", "trim p99 us"],
    },
];

/// Numbers other than I/O counters: name, metric, help.
const NUMBERS: &[[&str; 3]] = &[
    [
        SIZE,
        "evenkeel_volume_size_bytes",
        "The size of the volume.",
    ],
    [
        SERVING,
        "evenkeel_volume_serving",
        "1 if the volume is served here.",
    ],
    [
        OWNER_HERE,
        "evenkeel_volume_owner",
        "1 at the owner of a volume with two copies.",
    ],
    [
        "epoch",
        "evenkeel_volume_epoch",
        "Latest ownership epoch that this node knows.",
    ],
    [
        MIRRORED,
        "evenkeel_volume_mirrored",
        "At the owner: 1 if both copies are in sync.",
    ],
    [
        CONNECTED_NUMBER,
        "evenkeel_volume_connected",
        "1 if the node with the other copy is connected.",
    ],
    [
        DIRTY,
        "evenkeel_volume_dirty_bytes",
        "At the owner: number of bytes that the other copy may lack.",
    ],
    [
        RESYNCS,
        "evenkeel_volume_resyncs_total",
        "Resyncs that this node has finished as the owner.",
    ],
    [
        CHECKED,
        "evenkeel_volume_checksums",
        "1 if checksums of the data are kept on disk (`verify yes`).",
    ],
    [
        SUMMED,
        "evenkeel_volume_checksummed_bytes",
        "Bytes whose checksums have been built.",
    ],
    [
        MISMATCHES,
        "evenkeel_volume_checksum_mismatches_total",
        "Blocks that a read found damaged.",
    ],
    [
        REPAIRED,
        "evenkeel_volume_repaired_blocks_total",
        "Damaged blocks that were repaired from the other copy.",
    ],
    [
        DAMAGED,
        "evenkeel_volume_damaged_bytes",
        "Bytes that are damaged and were not overwritten or repaired since.",
    ],
    [
        MARKED,
        "evenkeel_volume_incomplete",
        "1 if a command that replaces the content has not ended, or was interrupted.",
    ],
    [CLIENTS, "evenkeel_volume_clients", "Connected clients."],
    [
        ACCEPTED,
        "evenkeel_volume_client_connections_total",
        "Connections of clients since the volume was opened.",
    ],
    [
        CLIENTS_THERE,
        "evenkeel_volume_other_clients",
        "Connected clients at the node with the other copy.",
    ],
    [
        ACCEPTED_THERE,
        "evenkeel_volume_other_client_connections_total",
        "Connections of clients at the node with the other copy.",
    ],
    [
        CLIENTS_REFUSED,
        "evenkeel_volume_clients_refused_total",
        "Connections closed because the connection limit was reached.",
    ],
    [
        CONNECTIONS,
        "evenkeel_volume_tcp_connections",
        "Connections over TCP, where the volume has an address (`bind`).",
    ],
];

/// Numbers that are 1 for yes and 0 for no.
const FLAGS: [&str; 6] = [
    SERVING,
    OWNER_HERE,
    MIRRORED,
    CONNECTED_NUMBER,
    CHECKED,
    MARKED,
];

pub fn of(volumes: impl Iterator<Item = VolumeStatus>) -> StatusReport {
    let mut rows: Vec<NumberRow> = NUMBERS
        .iter()
        .map(|[name, metric, help]| {
            let row = NumberRow::new(name, metric, help);
            if FLAGS.contains(name) {
                row.flag()
            } else {
                row
            }
        })
        .collect();
    rows.extend(verified::rows());
    for words in &WORDS {
        let row = |name: &str, metric: &str, help: &str| NumberRow::new(name, metric, help);
        let (what, metric) = (words.operations, words.metric);
        let total = |of: &str| format!("evenkeel_volume_{metric}{of}_total");
        rows.push(row(
            what,
            &total("_operations"),
            &format!("Disk operations ({what})"),
        ));
        rows.extend(
            words
                .bytes
                .map(|[name, metric]| row(name, metric, &format!("Bytes {}", words.done))),
        );
        let errors = format!("{what} failed");
        rows.push(row(&errors, &total("_errors"), &format!("Failed {what}")));
        let quantiles = [("p50", "Median"), ("p99", "99th percentile")];
        for (name, (short, quantile)) in words.latency.iter().zip(quantiles) {
            let metric = format!("evenkeel_volume_{metric}_{short}_seconds");
            let help = format!("{quantile} latency of {what} over the last 30 to 60 s.");
            rows.push(row(name, &metric, &help).unit(Unit::Microseconds));
        }
    }
    StatusReport {
        part: NAME.to_owned(),
        at: Moment::now(),
        subjects: volumes.map(subject).collect(),
        rows,
    }
}

/// Time for which a volume with two replicas counts as failing after an operation has failed.
const FAILS_FOR: Duration = Duration::from_secs(10);

fn troubles(volume: &VolumeStatus, counts: &[(&OperationNames, Count)]) -> Vec<String> {
    // Omits old errors of a healthy volume with two replicas: no action is needed, and clients may
    // not use the volume on this node for a long time.
    let is_so = |count: &Count| {
        volume.mirror.is_none() || count.failed.is_some_and(|at| at.elapsed() < FAILS_FOR)
    };
    let failing = counts.iter().filter_map(|(words, count)| {
        let trouble = count.trouble.filter(|_| is_so(count))?;
        Some(format!("{} fail: {trouble}", words.operations))
    });
    let mut troubles: Vec<String> = failing.collect();
    if volume.mirror.is_none() && counts[OperationKind::Flush as usize].1.trouble.is_some() {
        let name = &volume.name;
        troubles.push(format!(
            "when the disk works again, run `evenkeel volume reopen {name}`"
        ));
    }
    troubles
}

fn subject(volume: VolumeStatus) -> Subject {
    let (mut word, mut grade) = crate::status::state_words(volume.state);
    let mut why = volume.why.clone();
    let counts: Vec<_> = WORDS
        .iter()
        .map(|words| (words, volume.meter.count(words.kind)))
        .collect();
    let is_served = volume.state.is_served();
    if is_served && !why.is_empty() {
        grade = Grade::Busy;
    }
    let troubles = troubles(&volume, &counts);
    if is_served && !troubles.is_empty() {
        (word, grade) = ("failing", Grade::Bad);
        let colon = if why.is_empty() { "" } else { "; " };
        why = format!("{}{colon}{why}", troubles.join("; "));
    }
    let trouble = volume
        .snapshots
        .as_ref()
        .and_then(|(_, taken)| taken.trouble.clone());
    if let Some(trouble) = trouble.filter(|_| is_served && why.is_empty()) {
        grade = Grade::Busy;
        why = format!("no snapshot: {trouble}");
    }
    let closed = volume
        .network
        .as_ref()
        .and_then(|seen| seen.trouble.clone());
    if let Some(trouble) = closed.filter(|_| is_served && why.is_empty()) {
        grade = grade.max(Grade::Busy);
        why = trouble;
    }
    let sums = volume.sums.sums();
    if let Some(words) = sums.words().filter(|_| is_served) {
        let colon = if why.is_empty() { "" } else { "; " };
        why = format!("{words}{colon}{why}");
        if sums.damaged.is_empty() {
            grade = grade.max(Grade::Busy);
        } else {
            (word, grade) = ("failing", Grade::Bad);
        }
    }
    let overwrite = volume.overwrite();
    if let Some(overwrite) = overwrite {
        match (overwrite.is_running, is_served) {
            (false, true) => (word, grade) = (INCOMPLETE, Grade::Bad),
            _ => grade = grade.max(Grade::Busy),
        }
        let colon = if why.is_empty() { "" } else { "; " };
        why = format!("{}{colon}{why}", overwrite.refusal(&volume.name));
    }
    if volume.is_deleted() {
        (word, grade) = ("failing", Grade::Bad);
        let colon = if why.is_empty() { "" } else { "; " };
        why = format!("{}{colon}{why}", deleted(&volume));
    }
    let mut subject = Subject::new(VOLUME, &volume.name)
        .label("volume")
        .state(word, grade);
    subject.since = Some(volume.since);
    subject.why = why;
    subject.events = volume.events.clone();
    subject.events.extend(sums.events.iter().cloned());
    subject.events.extend(volume.meter.events());
    subject.events.sort_by_key(|event| event.at.boottime_ms);
    let subject = checked(facts(subject, &volume), &sums).publish(&status(&volume));
    // Counts clients of a node that follows, too: they are clients of the volume.
    let is_open = volume.served.is_some();
    let open = |number: u64| if is_open { number } else { 0 };
    let size = size_of(&volume);
    let subject = subject
        .number(SIZE, size)
        .number(SERVING, u64::from(is_served))
        .number(MARKED, u64::from(overwrite.is_some()))
        .number(CLIENTS, open(volume.meter.clients() as u64))
        .number(ACCEPTED, open(volume.meter.accepted()))
        .number(CLIENTS_REFUSED, volume.meter.refused());
    counts.into_iter().fold(subject, numbers)
}

fn status(volume: &VolumeStatus) -> VolumeReport {
    let mirror = volume.mirror.as_ref();
    let copies = volume.spec.pair.as_ref().map(|pair| CopyNodes {
        local: pair.me.clone(),
        other: pair.other.clone(),
    });
    let overwriting = volume.overwrite().map(|overwrite| Overwriting {
        mark: overwrite.mark.number(),
        is_running: overwrite.is_running,
    });
    let socket = volume.served.map(|_| volume.socket.display().to_string());
    let only = mirror.and_then(|shown| shown.admission.only.clone());
    VolumeReport {
        state: volume.state,
        backing: backing_words(&volume.spec.backing),
        external_storage: String::new(),
        copies,
        owner: mirror.map_or_else(String::new, |shown| shown.owner.clone()),
        is_owner: mirror.is_some_and(|shown| shown.report.serves),
        complete: match mirror.and_then(|shown| shown.in_sync) {
            None => CompleteCopies::Unknown,
            Some([true, true]) => CompleteCopies::Both,
            Some([true, false]) => CompleteCopies::Local,
            Some([false, true]) => CompleteCopies::Other,
            Some([false, false]) => CompleteCopies::Neither,
        },
        is_connected: mirror.is_some_and(|shown| shown.link.is_ok()),
        refused_hand_overs: mirror.map_or(0, |shown| shown.refused_hand_overs),
        only_clients_of: only.unwrap_or_default(),
        is_read_only: volume.spec.read_only,
        socket: socket.unwrap_or_default(),
        has_deleted_files: volume.is_deleted(),
        overwriting,
        found: volume
            .verified
            .as_ref()
            .map_or_else(FoundFaults::default, |one| verified::found(&one.verify)),
    }
}

fn size_of(volume: &VolumeStatus) -> u64 {
    volume
        .served
        .map_or(volume.spec.size_bytes, |served| served.size_bytes)
}

fn deleted(volume: &VolumeStatus) -> String {
    let until = "its files were deleted while open: all its data is lost when the volume role ends";
    match volume.spec.pair {
        None => format!(
            "{until}. `evenkeel volume export {} FILE` saves it",
            volume.name
        ),
        Some(_) => format!(
            "{until}. Make sure that the other copy is complete, then restart evenkeel on this node and create this \
             copy again"
        ),
    }
}

fn facts(subject: Subject, volume: &VolumeStatus) -> Subject {
    let mut subject = subject
        .fact("size", size_words(size_of(volume)))
        .fact(BACKING, backing_words(&volume.spec.backing));
    if volume.spec.read_only {
        subject = subject.fact(READ_ONLY, "yes".to_owned());
    }
    if let Some((schedule, taken)) = &volume.snapshots {
        let newest = taken.newest.map(|stamp| format!(", newest {stamp}"));
        let newest = newest.unwrap_or_default();
        let words = format!("{schedule}: {} taken{newest}", taken.count);
        subject = subject.fact("scheduled snapshots", words);
    }
    if let Some(pair) = &volume.spec.pair {
        subject = subject.fact(COPIES, format!("{} {}", pair.me, pair.other));
        let policy = volume.spec.without_majority.word();
        subject = subject.fact("without majority", policy.to_owned());
    }
    if let Some(holder) = volume.meter.tenure.holder() {
        let words = match &holder {
            VolumeUser::User { presence, .. } if *presence != Presence::Connected => {
                format!("{holder}, not connected")
            }
            holder => holder.to_string(),
        };
        subject = subject.fact(USER, words);
    }
    if let Some(overwrite) = volume.overwrite() {
        subject = subject.fact(INCOMPLETE, overwrite.status_words());
    }
    if volume.is_deleted() {
        subject = subject.fact(FILES, "deleted".to_owned());
    }
    if let Some(shown) = &volume.mirror {
        subject = mirrored(subject, shown);
    }
    if let Some(verified) = &volume.verified {
        subject = verified::add(subject, verified);
    }
    if let Some(served) = volume.served {
        let engine = if served.uses_ring {
            "io_uring"
        } else {
            "threads"
        };
        let cache = if served.is_direct {
            "direct"
        } else {
            "page cache"
        };
        subject = subject
            .fact("access", format!("{engine}, {cache}"))
            .fact(SOCKET, volume.socket.display().to_string());
    }
    match &volume.network {
        Some(seen) => subject
            .fact(NETWORK, seen.to_string())
            .number(CONNECTIONS, seen.connections as u64),
        None => subject,
    }
}

fn checked(subject: Subject, sums: &Sums) -> Subject {
    if !sums.is_on {
        return subject;
    }
    let (built, total) = (sums.built_bytes, sums.total_bytes);
    let words = if built < total {
        format!("{} of {} built", rough(built), rough(total))
    } else {
        "complete".to_owned()
    };
    let damaged = sums.damaged.len() as u64 * BLOCK_BYTES;
    let subject = subject
        .fact(CHECKSUMS, words)
        .number(CHECKED, 1)
        .number(SUMMED, built)
        .number(MISMATCHES, sums.mismatches)
        .number(DAMAGED, damaged);
    let subject = if sums.is_pair {
        subject.number(REPAIRED, sums.repaired)
    } else {
        subject
    };
    let line = |block: &u64| {
        let first = block * BLOCK_BYTES;
        format!("bytes {first}-{}", first + BLOCK_BYTES - 1)
    };
    let mut lines: Vec<String> = sums.damaged.keys().map(line).collect();
    let more = lines.len().saturating_sub(DAMAGE_LINES_MAX);
    lines.truncate(DAMAGE_LINES_MAX);
    if more > 0 {
        lines.push(format!("{more} more blocks"));
    }
    if lines.is_empty() {
        subject
    } else {
        subject.lines(DAMAGE, lines)
    }
}

fn mirrored(subject: Subject, shown: &MirrorStatus) -> Subject {
    let report = &shown.report;
    let dirty_bytes = report.dirty_blocks * BLOCK_BYTES;
    let owner = match &*shown.owner {
        "" => NO_OWNER,
        owner => owner,
    };
    let in_sync = match shown.in_sync {
        None => "not known yet",
        Some([true, true]) => BOTH_COPIES,
        Some([true, false]) => THIS_COPY,
        Some([false, true]) => THE_OTHER,
        Some([false, false]) => NEITHER,
    };
    let link = match &shown.link {
        Ok(()) => CONNECTED,
        Err(why) => why,
    };
    let mut subject = subject
        .fact(OWNER, owner.to_owned())
        .fact(COMPLETE, in_sync.to_owned())
        .fact(LINK, link.to_owned())
        .number(OWNER_HERE, u64::from(report.serves))
        .number("epoch", report.epoch.0)
        .number(MIRRORED, u64::from(report.other == OtherState::InSync))
        .number(CONNECTED_NUMBER, u64::from(shown.link.is_ok()))
        .number(DIRTY, dirty_bytes)
        .number(RESYNCS, shown.resync.finished);
    if let Some(users) = shown.users {
        subject = subject
            .number(CLIENTS_THERE, users.clients.into())
            .number(ACCEPTED_THERE, users.accepted);
    }
    if let Some(only) = &shown.admission.only {
        subject = subject.fact(ONLY_CLIENTS_OF, only.clone());
    }
    if let Some(apart) = &shown.apart {
        let words = match apart.written_bytes {
            0 => "nothing known".to_owned(),
            bytes => format!("{} at most", rough(bytes)),
        };
        subject = subject.fact(WRITTEN_HERE, words);
    }
    if !shown.said.is_empty() {
        let last = named(&shown.said, &subject.name);
        subject = subject.fact(LAST, last);
    }
    if report.other == OtherState::Syncing {
        let left = match shown.resync.rate {
            Some(rate) if rate > 0 => format!(
                "{} left, {}/s, {} s",
                rough(dirty_bytes),
                rough(rate),
                dirty_bytes.div_ceil(rate)
            ),
            _ => format!("{} left", rough(dirty_bytes)),
        };
        subject = subject.fact("resync", left);
    }
    subject
}

/// Returns a text with the number of clients, per node if there are two. None without clients.
pub fn clients_words(counts: &[(&str, u64)]) -> Option<String> {
    let some = counts.iter().filter(|(_, count)| *count > 0);
    let words: Vec<String> = match counts {
        [_] => some.map(|(_, count)| count.to_string()).collect(),
        _ => some
            .map(|(node, count)| format!("{count} at {node}"))
            .collect(),
    };
    (!words.is_empty()).then(|| format!("has clients ({})", words.join(", ")))
}

fn rough(bytes: u64) -> String {
    match bytes {
        0..=0x000f_ffff => format!("{} KiB", bytes >> 10),
        0x0010_0000..=0x0fff_ffff => format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)),
        _ => format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30)),
    }
}

fn numbers(subject: Subject, (words, count): (&OperationNames, Count)) -> Subject {
    let mut subject = subject.number(words.operations, count.operations);
    if let Some([name, _]) = words.bytes {
        subject = subject.number(name, count.bytes);
    }
    subject = subject.number(&format!("{} failed", words.operations), count.errors);
    let quantiles = [count.p50_us, count.p99_us];
    for (name, value) in words.latency.iter().zip(quantiles) {
        if let Some(value) = value {
            subject = subject.number(name, value);
        }
    }
    subject
}
