//! Counts the I/O of a served volume. The volume's thread updates the counters, and reports read
//! them.

use crate::disk::{Completion, Failure, Operation, Token};
use crate::export::{ExportCounters, Tenure};
use part::latency::Latency;
use part::report::{Event, Moment};
use rustix::io::Errno;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Length of a latency window. A percentile covers the current window and the previous one.
const WINDOW: Duration = Duration::from_secs(30);
const EVENTS_MAX: usize = 16;
/// Interval at which repeated errors of the same kind are recorded, milliseconds.
const EVENT_AGAIN_MS: u64 = 60_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OperationKind {
    Read,
    Write,
    /// Flush. One flush of the disk may cover several flush requests of clients.
    Flush,
    Trim,
}

pub const KINDS: [OperationKind; 4] = [
    OperationKind::Read,
    OperationKind::Write,
    OperationKind::Flush,
    OperationKind::Trim,
];

/// Counters of one kind since the volume was opened.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Count {
    /// Number of completed operations. A long request of a client is several operations.
    pub operations: u64,
    /// Length of successful operations, bytes.
    pub bytes: u64,
    pub errors: u64,
    /// Last error; None after a success.
    pub trouble: Option<Failure>,
    pub failed: Option<Instant>,
    /// Median latency of the last 30 to 60 seconds, microseconds.
    pub p50_us: Option<u64>,
    /// 99th percentile of the latency, microseconds.
    pub p99_us: Option<u64>,
}

/// I/O counters of a volume, shared by its thread and the reports.
#[derive(Debug, Default)]
pub struct Meter {
    numbers: Mutex<Numbers>,
    clients: AtomicUsize,
    accepted: AtomicU64,
    refused: AtomicU64,
    pub tenure: Arc<Tenure>,
}

#[derive(Debug)]
struct Numbers {
    counts: [Count; KINDS.len()],
    latencies: [Latency; KINDS.len()],
    /// Starts and ends of disk errors, the newest last, with the kind of operation and whether it
    /// failed.
    events: VecDeque<(OperationKind, bool, Event)>,
}

impl Default for Numbers {
    fn default() -> Numbers {
        Numbers {
            counts: Default::default(),
            latencies: KINDS.map(|_| Latency::new(WINDOW)),
            events: VecDeque::new(),
        }
    }
}

impl Meter {
    fn lock(&self) -> MutexGuard<'_, Numbers> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn count(&self, kind: OperationKind) -> Count {
        let mut numbers = self.lock();
        let latency = &mut numbers.latencies[kind as usize];
        let now = Instant::now();
        let (p50_us, p99_us) = (latency.quantile(50, now), latency.quantile(99, now));
        Count {
            p50_us,
            p99_us,
            ..numbers.counts[kind as usize].clone()
        }
    }

    pub fn events(&self) -> Vec<Event> {
        self.lock()
            .events
            .iter()
            .map(|(.., event)| event.clone())
            .collect()
    }

    pub(crate) fn forget_troubles(&self) {
        let mut numbers = self.lock();
        numbers.counts.iter_mut().for_each(|one| one.trouble = None);
    }

    pub fn clients(&self) -> usize {
        self.clients.load(Ordering::Relaxed)
    }

    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    pub(crate) fn set_clients(&self, clients: usize, counters: ExportCounters) {
        self.clients.store(clients, Ordering::Relaxed);
        self.accepted.store(counters.accepted, Ordering::Relaxed);
        self.refused.store(counters.refused, Ordering::Relaxed);
    }
}

impl Numbers {
    /// Records that a kind of operation has started to fail, or works again. A disk with
    /// intermittent errors is recorded once per minute.
    fn note(&mut self, kind: OperationKind, failure: Option<Failure>) {
        let mut of_kind = self.events.iter().rev().filter(|(of, ..)| *of == kind);
        let is_known = match (failure, of_kind.next()) {
            (None, last) => last.is_none_or(|(_, fails, _)| !fails),
            (Some(_), None) => false,
            (Some(_), Some((.., last))) => {
                let ms = Moment::now()
                    .boottime_ms
                    .saturating_sub(last.at.boottime_ms);
                ms < EVENT_AGAIN_MS
            }
        };
        if is_known {
            return;
        }
        if self.events.len() >= EVENTS_MAX {
            self.events.pop_front();
        }
        let event = Event {
            at: Moment::now(),
            to: match failure {
                Some(failure) => format!("a {} failed: {failure}", kind.word()),
                None => format!("a {} succeeded again", kind.word()),
            },
            ..Event::default()
        };
        self.events.push_back((kind, failure.is_some(), event));
    }
}

impl OperationKind {
    fn word(self) -> &'static str {
        match self {
            OperationKind::Read => "read",
            OperationKind::Write => "write",
            OperationKind::Flush => "flush",
            OperationKind::Trim => "trim",
        }
    }
}

/// Operations in progress, which are counted when they complete.
#[derive(Debug, Default)]
pub(crate) struct Stopwatch(HashMap<Token, (OperationKind, u64, Instant)>);

impl Stopwatch {
    pub(crate) fn begin(&mut self, token: Token, operation: &Operation, now: Instant) {
        let (kind, bytes) = match operation {
            Operation::Read { buffer, .. } => (OperationKind::Read, buffer.len() as u64),
            Operation::Write { buffer, .. } => (OperationKind::Write, buffer.len() as u64),
            Operation::Flush => (OperationKind::Flush, 0),
            Operation::Zero { length, .. } | Operation::Discard { length, .. } => {
                (OperationKind::Trim, *length)
            }
            Operation::Extents { .. } => return,
        };
        self.0.insert(token, (kind, bytes, now));
    }

    pub(crate) fn end(&mut self, meter: &Meter, completions: &[Completion]) {
        if completions.is_empty() {
            return;
        }
        let mut numbers = meter.lock();
        let now = Instant::now();
        for completion in completions {
            let Some((kind, bytes, since)) = self.0.remove(&completion.token) else {
                continue;
            };
            let took = now.saturating_duration_since(since);
            numbers.latencies[kind as usize].add(took, now);
            let count = &mut numbers.counts[kind as usize];
            count.operations += 1;
            match &completion.result {
                Ok(_) => {
                    count.bytes += bytes;
                    if count.trouble.take().is_some() {
                        numbers.note(kind, None);
                    }
                }
                // Ignores an error that is none of the disk: a client uses another request if the
                // backing store does not support one, and a refused request says nothing about the
                // disk.
                Err(Failure::NotFast | Failure::Io(Errno::OPNOTSUPP | Errno::SHUTDOWN)) => {}
                Err(failure) => {
                    count.errors += 1;
                    let is_new = count.trouble.replace(*failure).is_none();
                    count.failed = Some(now);
                    if is_new {
                        numbers.note(kind, Some(*failure));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::OperationOutput;

    #[test]
    fn failing_disk_leaves_one_event_and_its_recovery_another() {
        let meter = Meter::default();
        let mut stopwatch = Stopwatch::default();
        let mut write = |number: u64, result: Result<(), Errno>| {
            let operation = Operation::Zero {
                offset: 0,
                length: 4096,
                allocate: false,
                fast: false,
            };
            stopwatch.begin(Token(number), &operation, Instant::now());
            let result = result.map(|()| OperationOutput::Done).map_err(Failure::Io);
            let token = Token(number);
            stopwatch.end(&meter, &[Completion { token, result }]);
        };
        for number in 0..3 {
            write(number, Err(Errno::IO));
        }
        write(3, Ok(()));
        // Intermittent errors are recorded again after a minute.
        write(4, Err(Errno::IO));
        write(5, Ok(()));
        let words: Vec<String> = meter.events().into_iter().map(|event| event.to).collect();
        assert_eq!(words.len(), 2, "{words:?}");
        assert!(words[0].starts_with("a trim failed: "), "{words:?}");
        assert_eq!(words[1], "a trim succeeded again");
    }
}
