//! The delivery of log lines: a thread of its own behind a bounded queue. It
//! never waits for a target: what a target does not take at once is dropped
//! and counted.

mod target;

use crate::config::LogTargetAddress;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};
use target::Target;

/// Lines that wait for delivery at most.
pub const QUEUE_MAX: usize = 16_384;

/// Targets that the newest configuration does not name and that are still open,
/// for the streams that began under an older one.
pub const RETIRED_MAX: usize = 16;

/// How long lines gather before they are delivered, once some come. The queue holds
/// far more than come in that time.
const GATHER: Duration = Duration::from_millis(1);

/// Between two reports of one target that loses lines.
const REPORT_EVERY: Duration = Duration::from_secs(600);

/// What is called with a message where a target loses lines.
pub type Report = Box<dyn FnMut(&str) + Send>;

static DROPPED: AtomicU64 = AtomicU64::new(0);
/// Lines that were queued and are neither delivered nor dropped yet.
static WAITING: AtomicU64 = AtomicU64::new(0);
static QUEUE: OnceLock<SyncSender<Delivery>> = OnceLock::new();

/// What the thread of the delivery is told, in this order.
enum Delivery {
    Line(Line),
    Change(Sink),
}

struct Line {
    target: LogTargetAddress,
    bytes: Vec<u8>,
}

/// Lines that were dropped, because the queue or a target was full, since the start.
pub fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// Waits until what is queued is delivered or dropped, but not longer than
/// this: for the last lines of a process.
pub fn drain(timeout: Duration) {
    /// How often it looks.
    const TICK: Duration = Duration::from_millis(2);
    let began = Instant::now();
    while WAITING.load(Ordering::Acquire) > 0 && began.elapsed() < timeout {
        thread::sleep(TICK);
    }
}

/// Puts a line into the queue; drops and counts it when the queue is full.
pub(super) fn send(target: &LogTargetAddress, bytes: Vec<u8>) {
    let Some(queue) = QUEUE.get() else { return };
    WAITING.fetch_add(1, Ordering::Relaxed);
    let target = target.clone();
    match queue.try_send(Delivery::Line(Line { target, bytes })) {
        Ok(()) => {}
        Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
            WAITING.fetch_sub(1, Ordering::Relaxed);
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The targets' sockets, opened with the rights and in the root of the start.
#[derive(Debug, Default)]
pub struct Sink {
    open: HashMap<LogTargetAddress, Target>,
    /// Those that are no longer named, the oldest first.
    retired: VecDeque<(LogTargetAddress, Target)>,
    /// The root directory that the process has by the time of the delivery.
    root: Option<PathBuf>,
}

impl Sink {
    /// Opens what can be opened now; the rest is tried again with each line.
    pub fn open(targets: impl IntoIterator<Item = LogTargetAddress>) -> Sink {
        let mut sink = Sink::default();
        for address in targets {
            if let Ok(target) = Target::open(&address) {
                sink.open.insert(address, target);
            }
        }
        sink
    }

    /// Says which root directory the process has, or will have, when lines are
    /// delivered. A Unix socket that must be opened again is then looked for
    /// under its name in that root, and, where the name begins with the root's,
    /// under what follows.
    pub fn within(self, root: Option<&Path>) -> Sink {
        Sink {
            root: root.map(Path::to_owned),
            ..self
        }
    }

    /// What can be given to another process, in the order of these addresses;
    /// None for what could not be opened and for standard streams, of which that
    /// process has its own.
    pub fn into_descriptors(mut self, addresses: &[LogTargetAddress]) -> Vec<Option<OwnedFd>> {
        let open = |address| self.open.remove(address);
        addresses
            .iter()
            .map(open)
            .map(|target| target?.into_descriptor())
            .collect()
    }

    /// What another process made of these addresses with
    /// [`Sink::into_descriptors`]. Of what is missing standard streams are this
    /// process's own, and the rest is tried again with each line.
    pub fn from_descriptors(
        addresses: &[LogTargetAddress],
        descriptors: Vec<Option<OwnedFd>>,
    ) -> Sink {
        let given = addresses.iter().zip(descriptors);
        let open = given.filter_map(|(address, fd)| {
            let target = Target::given(address, fd?);
            Some((address.clone(), target))
        });
        Sink {
            open: open.collect(),
            ..Sink::default()
        }
    }

    /// Goes on with other targets. One that stays keeps its socket. Those that
    /// are gone stay open a while, since streams that began under an older
    /// configuration log to them; the oldest are closed first.
    #[expect(
        clippy::mutable_key_type,
        reason = "what a key hashes to never changes, and one whose TLS was renewed is another target"
    )]
    fn change(&mut self, new: Sink) {
        let old = std::mem::replace(&mut self.open, new.open);
        for (address, target) in self.retired.drain(..).chain(old).collect::<Vec<_>>() {
            match self.open.get(&address) {
                Some(newer) if newer.ages() => {}
                Some(_) => {
                    self.open.insert(address, target);
                }
                None => self.retired.push_back((address, target)),
            }
        }
        let surplus = self.retired.len().saturating_sub(RETIRED_MAX);
        self.retired.drain(..surplus);
    }

    fn target(&self, address: &LogTargetAddress) -> Option<&Target> {
        self.open.get(address).or_else(|| {
            let retired = self.retired.iter().find(|(known, _)| known == address);
            retired.map(|(_, target)| target)
        })
    }

    fn deliver(&mut self, line: &Line) -> io::Result<()> {
        if let Some(target) = self.target(&line.target) {
            match target.write(&line.bytes) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                // The syslog daemon was restarted, perhaps.
                Err(_) => {}
            }
        }
        let target = Target::reopen(&line.target, self.root.as_deref())?;
        let written = target.write(&line.bytes);
        self.keep(line.target.clone(), target);
        written.map(|_| ())
    }

    /// Keeps what was opened again where the broken one was.
    fn keep(&mut self, address: LogTargetAddress, target: Target) {
        let retired = self.retired.iter_mut().find(|(known, _)| *known == address);
        match retired {
            Some((_, old)) => *old = target,
            None => {
                self.open.insert(address, target);
            }
        }
    }

    fn run(mut self, queue: Receiver<Delivery>, mut losses: Losses) {
        while let Ok(delivery) = queue.recv() {
            self.take(delivery, &mut losses);
            // To be woken for each line costs the threads that serve more than the
            // line: while some come, they are taken by the millisecond.
            loop {
                thread::sleep(GATHER);
                let taken = queue.try_iter();
                let taken = taken.map(|delivery| self.take(delivery, &mut losses));
                if taken.count() == 0 {
                    break;
                }
            }
        }
    }

    fn take(&mut self, delivery: Delivery, losses: &mut Losses) {
        match delivery {
            Delivery::Line(line) => {
                if let Err(error) = self.deliver(&line) {
                    count_dropped();
                    losses.report(&line.target, &error, Instant::now());
                }
                WAITING.fetch_sub(1, Ordering::Release);
            }
            Delivery::Change(new) => self.change(new),
        }
    }
}

/// Which targets lost lines, and when that was reported last.
struct Losses {
    report: Report,
    reported: VecDeque<(LogTargetAddress, Instant)>,
}

impl Losses {
    fn new(report: Report) -> Losses {
        Losses {
            report,
            reported: VecDeque::new(),
        }
    }

    /// Reports a lost line, unless the same target was reported a short time ago.
    fn report(&mut self, target: &LogTargetAddress, error: &io::Error, now: Instant) {
        /// Targets that are remembered.
        const MOST: usize = 64;
        self.reported
            .retain(|(_, at)| now.saturating_duration_since(*at) < REPORT_EVERY);
        if self.reported.iter().any(|(known, _)| known == target) {
            return;
        }
        if self.reported.len() == MOST {
            self.reported.pop_front();
        }
        self.reported.push_back((target.clone(), now));
        let lost = dropped();
        (self.report)(&format!(
            "log lines are dropped: cannot send to {target} ({error}); {lost} dropped since the start (DroppedLogs of `show info`)"
        ));
    }
}

/// Counts a line that nobody gets.
pub(super) fn count_dropped() {
    DROPPED.fetch_add(1, Ordering::Relaxed);
}

/// Starts the delivery, once a process. It ends with the process. `report` is called on
/// its thread when a target begins to lose lines.
pub fn start(sink: Sink, report: Report) -> io::Result<()> {
    let (sender, receiver) = sync_channel(QUEUE_MAX);
    if QUEUE.set(sender).is_ok() {
        super::syslog::settle_pid();
        thread::Builder::new()
            .name("log".into())
            .spawn(move || sink.run(receiver, Losses::new(report)))?;
    }
    Ok(())
}

/// Lets the running delivery go on with these targets, behind the lines that
/// wait now. Before [`start`] it does nothing but close them. Waits for room in
/// the queue, so it is nothing for a thread that serves.
pub fn change(sink: Sink) {
    if let Some(queue) = QUEUE.get() {
        // It fails only when the delivery has ended, and the process with it.
        let _ = queue.send(Delivery::Change(sink));
    }
}

#[cfg(test)]
mod tests;
