//! Executes steps of disk operations on threads, with blocking system calls: all steps if the
//! kernel refuses io_uring, otherwise those for which io_uring has no operation.

use super::pool::PoolMemory;
use super::step::{self, DiskStep, StepCompletion};
use super::{BackingFile, DiskError, Failure};
use part::lock;
use part::wake::WakeEvent;
use rustix::io::Errno;
use std::collections::VecDeque;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

struct ThreadPoolState {
    file: Arc<File>,
    is_device: bool,
    _memory: Arc<PoolMemory>,
    asked: Mutex<StepQueue>,
    changed: Condvar,
    ended: Mutex<Vec<StepCompletion>>,
    /// Readable when a step has ended.
    wake: WakeEvent,
}

#[derive(Default)]
struct StepQueue {
    steps: VecDeque<(u32, DiskStep)>,
    stops: bool,
}

/// Handle of the threads. After it is dropped, each thread exits when its current step ends.
pub(super) struct DiskThreads {
    shared: Arc<ThreadPoolState>,
    /// Number of steps whose end was not reported yet.
    steps: usize,
}

impl DiskThreads {
    pub(super) fn new(
        target: &BackingFile,
        memory: &Arc<PoolMemory>,
        count: usize,
    ) -> Result<DiskThreads, DiskError> {
        let wake = WakeEvent::new();
        let shared = Arc::new(ThreadPoolState {
            file: Arc::clone(&target.file),
            is_device: target.is_device,
            _memory: Arc::clone(memory),
            asked: Mutex::default(),
            changed: Condvar::new(),
            ended: Mutex::default(),
            wake: wake.map_err(DiskError::Engine)?,
        });
        let threads = DiskThreads { shared, steps: 0 };
        for _ in 0..count {
            let shared = Arc::clone(&threads.shared);
            let started = std::thread::Builder::new()
                .name("disk".to_owned())
                .spawn(move || shared.work());
            started.map_err(|error| {
                DiskError::Engine(Errno::from_io_error(&error).unwrap_or(Errno::AGAIN))
            })?;
        }
        Ok(threads)
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.shared.wake.as_fd()
    }

    pub(super) fn push(&mut self, slot: u32, step: DiskStep) {
        self.steps += 1;
        lock(&self.shared.asked).steps.push_back((slot, step));
        self.shared.changed.notify_one();
    }

    pub(super) fn reap(&mut self, out: &mut Vec<StepCompletion>) {
        if self.steps == 0 {
            return;
        }
        let mut ended = lock(&self.shared.ended);
        if ended.is_empty() {
            return;
        }
        self.shared.wake.reset();
        self.steps -= ended.len();
        out.append(&mut ended);
    }
}

impl Drop for DiskThreads {
    fn drop(&mut self) {
        lock(&self.shared.asked).stops = true;
        self.shared.changed.notify_all();
    }
}

impl ThreadPoolState {
    fn work(&self) {
        while let Some((slot, step)) = self.next() {
            let file = self.file.as_fd();
            let (result, extents) = match step {
                DiskStep::Extents { offset, length } => {
                    match step::extents(file, self.is_device, offset, length) {
                        Ok(extents) => (Ok(0), Some(extents)),
                        Err(errno) => (Err(errno), None),
                    }
                }
                // SAFETY: the memory is held by `self` and the buffer by the disk, which
                // gives it to nobody before the step has ended.
                step => (unsafe { step.run(file, self.is_device) }, None),
            };
            let result = result.map_err(|errno| failure(step, errno));
            let mut ended = lock(&self.ended);
            ended.push(StepCompletion {
                slot,
                result,
                extents,
            });
            // Wakes under the lock, so that the descriptor is readable exactly while the list has
            // entries.
            self.wake.wake();
        }
    }

    fn next(&self) -> Option<(u32, DiskStep)> {
        let mut asked = lock(&self.asked);
        loop {
            if let Some(next) = asked.steps.pop_front() {
                return Some(next);
            }
            if asked.stops {
                return None;
            }
            asked = self
                .changed
                .wait(asked)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

pub(super) fn failure(step: DiskStep, errno: Errno) -> Failure {
    match (step, errno) {
        (DiskStep::Zero { fast: true, .. }, Errno::OPNOTSUPP) => Failure::NotFast,
        _ => Failure::Io(errno),
    }
}
