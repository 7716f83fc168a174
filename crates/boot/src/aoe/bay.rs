//! Runs one AoE target: four threads execute its requests. A further thread opens its disk, checks
//! every 200 ms that the disk is reachable, and announces the target when it becomes reachable.

use super::frame::AoeAddress;
use super::queue::{AoeClientRequest, Queue};
use super::request::announcement;
use crate::counters::{Counters, Counting, FetchOutcome};
use crate::disk::served::replaced;
use crate::disk::{Disk, DiskError, DiskUser, OverlayDisk, Overlays, ServedDisk};
use crate::mac::Mac;
use part::voice::write_error;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

const WORKERS: usize = 4;
/// Interval at which the disk is checked, and opened if it is unreachable.
const AGAIN: Duration = Duration::from_millis(200);
const ALL: Mac = Mac([0xff; 6]);

pub trait FrameSender: Send + Sync {
    fn mtu(&self) -> usize;

    /// Sends a frame to a MAC address without blocking. A frame for which the socket has no space
    /// is lost, and its client repeats the request.
    ///
    /// # Errors
    ///
    /// A system call fails.
    fn send(&self, to: Mac, frame: &[u8]) -> io::Result<()>;
}

/// Packet socket of the network's interface, shared by all AoE targets of the network; None while
/// there is no interface.
pub type SharedInterface = Arc<Mutex<Option<Arc<dyn FrameSender>>>>;

/// Running AoE target. Dropping the value ends its threads.
pub struct AoeTarget {
    shared: Arc<AoeTargetState>,
    threads: Vec<JoinHandle<()>>,
}

pub struct AoeTargetConfig {
    pub name: String,
    pub target: AoeAddress,
    pub disk: ServedDisk,
    pub overlays: Option<Overlays>,
    /// True if the disk is a file, which only an unconfined thread can open.
    pub is_file: bool,
}

impl AoeTargetConfig {
    /// Returns the disk for a machine, with its overlay. None: the disk has overlays, and the
    /// machine has no usable one, or its overlay is still being created.
    fn disk_of(&self, mac: Mac) -> Option<Arc<dyn Disk>> {
        let base = self.disk.of(DiskUser::Machine(mac));
        let Some(overlays) = &self.overlays else {
            return Some(base);
        };
        let overlay = overlays.of(mac, Duration::ZERO)?;
        let overlaid = OverlayDisk::new(base, overlay).ok()?;
        Some(Arc::new(overlaid))
    }
}

struct AoeTargetState {
    plan: AoeTargetConfig,
    port: SharedInterface,
    queue: Mutex<TargetQueue>,
    changed: Condvar,
    /// Notified when the disk becomes unreachable, or the target ends.
    lost: Condvar,
    is_here: AtomicBool,
    counting: Counting,
}

#[derive(Default)]
struct TargetQueue {
    queue: Queue,
    stop: bool,
    trouble: String,
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl AoeTarget {
    /// Starts the threads of a target. `confine` restricts a thread to reading files.
    ///
    /// # Errors
    ///
    /// The system has no thread left.
    pub fn start(
        plan: AoeTargetConfig,
        port: SharedInterface,
        confine: fn() -> io::Result<()>,
    ) -> io::Result<AoeTarget> {
        let shared = Arc::new(AoeTargetState {
            plan,
            port,
            queue: Mutex::default(),
            changed: Condvar::new(),
            lost: Condvar::new(),
            is_here: AtomicBool::new(false),
            counting: Counting::default(),
        });
        let mut bay = AoeTarget {
            shared: Arc::clone(&shared),
            threads: Vec::new(),
        };
        let keeper = Arc::clone(&shared);
        bay.spawn("aoe-disk", move || keeper.keep(confine))?;
        for _ in 0..WORKERS {
            let worker = Arc::clone(&shared);
            bay.spawn("aoe-request", move || worker.work(confine))?;
        }
        Ok(bay)
    }

    fn spawn(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let thread = std::thread::Builder::new().name(name.to_owned());
        self.threads.push(thread.spawn(run)?);
        Ok(())
    }

    pub fn target(&self) -> AoeAddress {
        self.shared.plan.target
    }

    /// Queues a request. Drops the request if the queue is full, or has the same request already.
    pub fn queue_request(&self, job: AoeClientRequest) {
        if lock(&self.shared.queue).queue.add(job) {
            self.shared.changed.notify_all();
        } else {
            self.shared.counting.refuse();
        }
    }

    pub fn trouble(&self) -> Option<String> {
        if self.shared.is_here.load(Ordering::Relaxed) {
            None
        } else {
            Some(lock(&self.shared.queue).trouble.clone())
        }
    }

    pub fn counters(&self) -> Counters {
        self.shared.counting.read()
    }
}

impl Drop for AoeTarget {
    fn drop(&mut self) {
        lock(&self.shared.queue).stop = true;
        self.shared.changed.notify_all();
        self.shared.lost.notify_all();
        self.shared.plan.disk.current().close();
        for thread in self.threads.drain(..) {
            // Ignores a panic of the thread, whose message has been printed.
            let _ = thread.join();
        }
    }
}

impl AoeTargetState {
    fn confined(&self, confine: fn() -> io::Result<()>) -> bool {
        let confined = confine();
        if let Err(error) = &confined {
            let why = language::reason(error);
            let name = &self.plan.name;
            write_error(&format!(
                "evenkeel: boot: disk {name}: cannot confine a thread: {why}\n"
            ));
        }
        confined.is_ok()
    }

    fn keep(&self, confine: fn() -> io::Result<()>) {
        let mut is_confined = false;
        loop {
            // Confines the thread as soon as it needs to open no further file: at once for a
            // volume, otherwise once the file of the disk is open.
            if !is_confined && (!self.plan.is_file || self.is_here.load(Ordering::Relaxed)) {
                if !self.confined(confine) {
                    return;
                }
                is_confined = true;
            }
            let disk = &self.plan.disk;
            self.note(disk.current().reach());
            if let Some(clients) = disk.replace_superseded() {
                if clients > 0 {
                    write_error(&replaced(&self.plan.name, clients));
                }
                self.note(disk.current().reach());
            }
            let work = lock(&self.queue);
            if work.stop {
                return;
            }
            let waited = self.lost.wait_timeout(work, AGAIN);
            if waited.unwrap_or_else(PoisonError::into_inner).0.stop {
                return;
            }
        }
    }

    /// Records whether the disk is reachable. When the disk becomes reachable, announces the target
    /// to all machines: those that used the disk at another node repeat their requests at once.
    fn note(&self, reached: Result<(), DiskError>) {
        match reached {
            Ok(()) => {
                if !self.is_here.swap(true, Ordering::Relaxed) {
                    self.announce();
                }
            }
            Err(error) => {
                self.is_here.store(false, Ordering::Relaxed);
                lock(&self.queue).trouble = error.to_string();
            }
        }
    }

    fn announce(&self) {
        if let Some(wire) = lock(&self.port).clone() {
            let frame = announcement(self.plan.target, &self.plan.name, wire.mtu());
            // Ignores an error: the announcement may be lost like any frame, and clients repeat
            // their requests after a while.
            let _ = wire.send(ALL, &frame);
        }
    }

    fn work(&self, confine: fn() -> io::Result<()>) {
        if !self.confined(confine) {
            return;
        }
        while let Some(job) = self.next() {
            self.serve(&job);
            lock(&self.queue).queue.end(&job);
            // Wakes the other workers: a request that touches the same bytes may start now.
            self.changed.notify_all();
        }
    }

    fn next(&self) -> Option<AoeClientRequest> {
        let mut work = lock(&self.queue);
        loop {
            if work.stop {
                return None;
            }
            if let Some(job) = work.queue.begin() {
                return Some(job);
            }
            work = self
                .changed
                .wait(work)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn serve(&self, job: &AoeClientRequest) {
        let Some(wire) = lock(&self.port).clone() else {
            return;
        };
        let plan = &self.plan;
        // Drops the request without a reply if the machine has no usable overlay, for example
        // because it has not booted from this node.
        let Some(disk) = plan.disk_of(job.from) else {
            self.counting.refuse();
            return;
        };
        self.counting.begin();
        let reply = job
            .request
            .serve(plan.target, &plan.name, wire.mtu(), &*disk);
        let ended = match reply {
            Ok(Some(frame)) => {
                self.counting.send(frame.len() as u64);
                match wire.send(job.from, &frame) {
                    Ok(()) => FetchOutcome::Done,
                    Err(_) => FetchOutcome::Failed,
                }
            }
            Ok(None) => FetchOutcome::Asked,
            Err(error) => {
                self.note(Err(error));
                self.lost.notify_all();
                FetchOutcome::Failed
            }
        };
        self.counting.end(ended);
    }
}
