//! How volumes are, as a report.

use crate::config::{backing_words, size_words};
use crate::keyword::NAME;
use crate::meter::{Count, KINDS, Kind};
use crate::status::{State, Status, now};
use part::report::{Grade, NumberRow, Report, Subject, Unit};

/// The kind of the subjects.
pub const VOLUME: &str = "volume";
/// The fact with the backing, as files have it.
pub const BACKING: &str = "backing";
/// The fact with the socket where clients connect.
pub const SOCKET: &str = "socket";
/// The number with the size that the file says, bytes.
pub const SIZE: &str = "size bytes";
/// The number of clients.
pub const CLIENTS: &str = "clients";

/// A kind of operations, as it is called in reports.
struct Words {
    kind: Kind,
    operations: &'static str,
    metric: &'static str,
    bytes: Option<[&'static str; 2]>,
    /// The names of the median and of the 99th percentile.
    latency: [&'static str; 2],
}

const WORDS: [Words; KINDS.len()] = [
    Words {
        kind: Kind::Read,
        operations: "reads",
        metric: "read",
        bytes: Some(["read bytes", "evenkeel_volume_read_bytes_total"]),
        latency: ["read p50 us", "read p99 us"],
    },
    Words {
        kind: Kind::Write,
        operations: "writes",
        metric: "write",
        bytes: Some(["written bytes", "evenkeel_volume_written_bytes_total"]),
        latency: ["write p50 us", "write p99 us"],
    },
    Words {
        kind: Kind::Flush,
        operations: "flushes",
        metric: "flush",
        bytes: None,
        latency: ["flush p50 us", "flush p99 us"],
    },
    Words {
        kind: Kind::Trim,
        operations: "trims",
        metric: "trim",
        bytes: Some(["trimmed bytes", "evenkeel_volume_trimmed_bytes_total"]),
        latency: ["trim p50 us", "trim p99 us"],
    },
];

/// Reports volumes.
pub fn of(volumes: impl Iterator<Item = Status>) -> Report {
    let mut rows = vec![
        NumberRow::new(
            SIZE,
            "evenkeel_volume_size_bytes",
            "The size of the volume.",
        ),
        NumberRow::new(
            "serving",
            "evenkeel_volume_serving",
            "Whether clients can use it.",
        ),
        NumberRow::new(CLIENTS, "evenkeel_volume_clients", "Connected clients."),
    ];
    for words in &WORDS {
        let row = |name: &str, metric: &str, help: &str| NumberRow::new(name, metric, help);
        let (what, metric) = (words.operations, words.metric);
        let total = |of: &str| format!("evenkeel_volume_{metric}{of}_total");
        rows.push(row(
            what,
            &total("_operations"),
            &format!("Disk operations: {what}."),
        ));
        rows.extend({ words.bytes }.map(|[name, metric]| row(name, metric, "Bytes of these.")));
        let errors = format!("{what} failed");
        rows.push(row(&errors, &total("_errors"), &format!("Failed {what}.")));
        for (name, quantile) in words.latency.iter().zip(["p50", "p99"]) {
            let metric = format!("evenkeel_volume_{metric}_{quantile}_seconds");
            let help = format!("Latency of {what}, {quantile} of the last half minute or more.");
            rows.push(row(name, &metric, &help).unit(Unit::Microseconds));
        }
    }
    Report {
        part: NAME.to_owned(),
        at: now(),
        subjects: volumes.map(subject).collect(),
        rows,
    }
}

fn subject(volume: Status) -> Subject {
    let (mut word, mut grade) = volume.state.words();
    let mut why = volume.why;
    let counts: Vec<_> = WORDS
        .iter()
        .map(|words| (words, volume.meter.count(words.kind)))
        .collect();
    let is_served = volume.state == State::Serving;
    if is_served && !why.is_empty() {
        grade = Grade::Busy;
    }
    let troubles: Vec<String> = { counts.iter() }
        .filter_map(|(words, count)| Some(format!("{} fail: {}", words.operations, count.trouble?)))
        .collect();
    if is_served && !troubles.is_empty() {
        (word, grade) = ("failing", Grade::Bad);
        why = troubles.join("; ");
    }
    let mut subject = Subject::new(VOLUME, &volume.name)
        .label("volume")
        .state(word, grade);
    subject.since = Some(volume.since);
    subject.why = why;
    subject.events = volume.events;
    let size = volume
        .served
        .map_or(volume.spec.size_bytes, |served| served.size_bytes);
    let mut subject = subject
        .fact("size", size_words(size))
        .fact(BACKING, backing_words(&volume.spec.backing));
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
    let clients = if is_served {
        volume.meter.clients() as u64
    } else {
        0
    };
    let subject = subject
        .number(SIZE, size)
        .number("serving", u64::from(is_served))
        .number(CLIENTS, clients);
    counts.into_iter().fold(subject, numbers)
}

/// Adds what was counted of a kind.
fn numbers(subject: Subject, (words, count): (&Words, Count)) -> Subject {
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
