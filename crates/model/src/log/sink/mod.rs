//! Delivers log lines on a separate thread with a bounded queue. A line that its target does not
//! accept at once is dropped and counted, so that one slow target does not delay the lines for
//! others.

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
use target::LogOutput;

/// Maximum number of lines that wait for delivery.
pub const QUEUE_MAX: usize = 16_384;

/// Maximum number of targets that stay open although the newest configuration does not name them.
/// Streams that began under an older configuration still log to them.
pub const RETIRED_MAX: usize = 16;

/// Interval at which the thread collects lines once some arrive. The queue has room for far more
/// lines than arrive in that time.
const GATHER: Duration = Duration::from_millis(1);

/// Minimum interval between two reports of lost lines for the same target.
const REPORT_EVERY: Duration = Duration::from_secs(600);

/// Callback that receives a message when a target loses lines.
pub type LossReporter = Box<dyn FnMut(&str) + Send>;

static DROPPED: AtomicU64 = AtomicU64::new(0);
/// Number of lines that were queued and are neither delivered nor dropped yet.
static WAITING: AtomicU64 = AtomicU64::new(0);
static QUEUE: OnceLock<SyncSender<Delivery>> = OnceLock::new();

/// Messages to the delivery thread, processed in order.
enum Delivery {
    Line(QueuedLogLine),
    Change(Sink),
}

struct QueuedLogLine {
    target: LogTargetAddress,
    bytes: Vec<u8>,
}

/// Returns the number of lines dropped since the start: the queue was full, a target did not accept
/// the line, or a backend had no usable server.
pub fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// Waits until all queued lines are delivered or dropped, or until the timeout. Called for the last
/// lines of a process.
pub fn drain(timeout: Duration) {
    const TICK: Duration = Duration::from_millis(2);
    let began = Instant::now();
    while WAITING.load(Ordering::Acquire) > 0 && began.elapsed() < timeout {
        thread::sleep(TICK);
    }
}

/// Queues a line; drops and counts it if the queue is full.
pub(super) fn send(target: &LogTargetAddress, bytes: Vec<u8>) {
    let Some(queue) = QUEUE.get() else { return };
    WAITING.fetch_add(1, Ordering::Relaxed);
    let target = target.clone();
    match queue.try_send(Delivery::Line(QueuedLogLine { target, bytes })) {
        Ok(()) => {}
        Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
            WAITING.fetch_sub(1, Ordering::Relaxed);
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Open sockets of the targets. They are opened with the privileges and the root directory of the
/// start.
#[derive(Debug, Default)]
pub struct Sink {
    open: HashMap<LogTargetAddress, LogOutput>,
    /// Targets that the configuration no longer names, oldest first.
    retired: VecDeque<(LogTargetAddress, LogOutput)>,
    /// Root directory of the process at the time of the delivery.
    root: Option<PathBuf>,
}

impl Sink {
    /// Opens the targets that can be opened now; the others are retried with each line.
    pub fn open(targets: impl IntoIterator<Item = LogTargetAddress>) -> Sink {
        let mut sink = Sink::default();
        for address in targets {
            if let Ok(target) = LogOutput::open(&address) {
                sink.open.insert(address, target);
            }
        }
        sink
    }

    /// Sets the root directory that the process has, or will have, when lines are delivered. A Unix
    /// socket that must be reopened is then looked up by its name in that root. If the name begins
    /// with the root's path, the remainder is looked up.
    pub fn within(self, root: Option<&Path>) -> Sink {
        Sink {
            root: root.map(Path::to_owned),
            ..self
        }
    }

    /// Returns the descriptors to pass to another process, in the order of `addresses`. Targets
    /// that are not open are None, and so are standard streams, since the other process has its
    /// own.
    pub fn into_descriptors(mut self, addresses: &[LogTargetAddress]) -> Vec<Option<OwnedFd>> {
        let open = |address| self.open.remove(address);
        addresses
            .iter()
            .map(open)
            .map(|target| target?.into_descriptor())
            .collect()
    }

    /// Creates a sink from the descriptors that another process passed with
    /// [`Sink::into_descriptors`]. Missing standard streams are this process's own; other missing
    /// targets are retried with each line.
    pub fn from_descriptors(
        addresses: &[LogTargetAddress],
        descriptors: Vec<Option<OwnedFd>>,
    ) -> Sink {
        let given = addresses.iter().zip(descriptors);
        let open = given.filter_map(|(address, fd)| {
            let target = LogOutput::given(address, fd?);
            Some((address.clone(), target))
        });
        Sink {
            open: open.collect(),
            ..Sink::default()
        }
    }

    /// Switches to other targets. A target that remains keeps its socket; a Unix socket is replaced
    /// if it was opened anew. Up to [`RETIRED_MAX`] removed targets stay open, since streams that
    /// began under an older configuration log to them; beyond that, the oldest are closed.
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

    fn target(&self, address: &LogTargetAddress) -> Option<&LogOutput> {
        self.open.get(address).or_else(|| {
            let retired = self.retired.iter().find(|(known, _)| known == address);
            retired.map(|(_, target)| target)
        })
    }

    fn deliver(&mut self, line: &QueuedLogLine) -> io::Result<()> {
        if let Some(target) = self.target(&line.target) {
            match target.write(&line.bytes) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                // Reopens the target below, because the syslog daemon may have restarted.
                Err(_) => {}
            }
        }
        let target = LogOutput::reopen(&line.target, self.root.as_deref())?;
        let written = target.write(&line.bytes);
        self.keep(line.target.clone(), target);
        written.map(|_| ())
    }

    /// Stores a reopened target, in place of the broken one if there is one.
    fn keep(&mut self, address: LogTargetAddress, target: LogOutput) {
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
            // Collects lines for a millisecond while some arrive, because a wake-up for each line
            // would cost the serving threads more than the line itself.
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

/// Targets that lost lines, with the time of the last report for each.
struct Losses {
    report: LossReporter,
    reported: VecDeque<(LogTargetAddress, Instant)>,
}

impl Losses {
    fn new(report: LossReporter) -> Losses {
        Losses {
            report,
            reported: VecDeque::new(),
        }
    }

    /// Reports a lost line, unless the same target was reported a short time ago.
    fn report(&mut self, target: &LogTargetAddress, error: &io::Error, now: Instant) {
        /// Maximum number of targets whose last report is remembered.
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

pub(super) fn count_dropped() {
    DROPPED.fetch_add(1, Ordering::Relaxed);
}

/// Starts the delivery thread, once per process; it ends with the process. The thread calls
/// `report` when a target begins to lose lines.
///
/// # Errors
/// The thread cannot be started. A later call tries again.
pub fn start(sink: Sink, report: LossReporter) -> io::Result<()> {
    start_once(&QUEUE, |receiver| {
        super::syslog::settle_pid();
        let thread = thread::Builder::new().name("log".into());
        let deliver = move || sink.run(receiver, Losses::new(report));
        thread.spawn(deliver).map(drop)
    })
}

/// Starts the receiver of a queue unless it runs. The queue exists only if the start succeeds:
/// otherwise lines would wait for nobody.
fn start_once<T>(
    queue: &OnceLock<SyncSender<T>>,
    start: impl FnOnce(Receiver<T>) -> io::Result<()>,
) -> io::Result<()> {
    if queue.get().is_some() {
        return Ok(());
    }
    let (sender, receiver) = sync_channel(QUEUE_MAX);
    start(receiver)?;
    // If another thread has set the queue meanwhile, this sender is dropped, and so the new
    // receiver ends.
    let _ = queue.set(sender);
    Ok(())
}

/// Switches the running delivery thread to these targets, after the lines that are queued now. If
/// no thread was started ([`start`]), only closes the targets in `sink`. Blocks until the queue has
/// room, so a serving thread must not call it.
pub fn change(sink: Sink) {
    if let Some(queue) = QUEUE.get() {
        // Ignores a failure, which means that the delivery thread has ended together with the
        // process.
        let _ = queue.send(Delivery::Change(sink));
    }
}

#[cfg(test)]
mod tests;
