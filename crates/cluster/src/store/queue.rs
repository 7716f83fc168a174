//! Queues the jobs of the writer thread. Deferrable jobs do not wake the thread: a needless wake-up
//! costs as much as one with a write.

use crate::store::writer::{WriteJob, newest_committed};
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Largest size of a batch, bytes; a single job may be larger.
const BATCH_BYTES_MAX: usize = 1 << 20;
const BATCH_JOBS_MAX: usize = 256;
/// Time without a write after which deferred changes are written by themselves.
const QUIET: Duration = Duration::from_secs(1);

/// Next work of the writer.
pub(super) enum NextJobs {
    Batch(Vec<WriteJob>),
    /// No write came for [`QUIET`]: deferred changes no longer wait for others.
    Quiet(Vec<WriteJob>),
    /// The store was closed: these are the last jobs.
    Over(Vec<WriteJob>),
}

#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<WriteQueue>,
    wake: Condvar,
}

#[derive(Default)]
struct WriteQueue {
    jobs: VecDeque<WriteJob>,
    /// Number of queued jobs that are not deferrable.
    pressing: usize,
    /// True while the writer sleeps until any job arrives, also a deferrable one.
    idle: bool,
    over: bool,
    closed: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, WriteQueue> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a job; returns it if the queue has ended.
    pub(super) fn push(&self, job: WriteJob) -> Result<(), WriteJob> {
        let mut waiting = self.lock();
        if waiting.closed || waiting.over {
            return Err(job);
        }
        let lazy = job.lazy;
        if lazy && let Some(last) = waiting.jobs.back_mut().filter(|last| last.lazy) {
            // Merges the job into a deferrable one at the end of the queue, so that at most one
            // waits between two writes. The callers of merged jobs are not notified.
            last.ops.extend(job.ops);
            newest_committed(&mut last.ops);
        } else {
            waiting.pressing += usize::from(!lazy);
            waiting.jobs.push_back(job);
        }
        let wakes = !lazy || waiting.idle;
        drop(waiting);
        if wakes {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Ends the queue: the writer finishes all jobs, and then ends.
    pub(super) fn end(&self) {
        self.lock().over = true;
        self.wake.notify_one();
    }

    /// Closes the queue because the writer ended. Returns the unfinished jobs.
    pub(super) fn close(&self) -> VecDeque<WriteJob> {
        let mut waiting = self.lock();
        waiting.closed = true;
        waiting.pressing = 0;
        std::mem::take(&mut waiting.jobs)
    }

    /// Sleeps for this time, or less if the queue ends, or if `until` is true when [`Queue::wake`]
    /// is called. Returns whether the queue ended.
    pub(super) fn sleep_for(&self, time: Duration, until: impl Fn() -> bool) -> bool {
        let waits = |waiting: &mut WriteQueue| !waiting.over && !until();
        let rested = self.wake.wait_timeout_while(self.lock(), time, waits);
        rested.unwrap_or_else(PoisonError::into_inner).0.over
    }

    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Waits for work. `keeps`: the writer has deferred changes of its own, which it must also
    /// write if no writes come.
    pub(super) fn next(&self, keeps: bool) -> NextJobs {
        let mut waiting = self.lock();
        let mut until = Some(Instant::now() + QUIET);
        loop {
            if waiting.pressing > 0 {
                return NextJobs::Batch(waiting.batch());
            }
            if waiting.over {
                return NextJobs::Over(waiting.jobs.drain(..).collect());
            }
            waiting = match until {
                Some(at) => {
                    let left = at.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        if keeps || !waiting.jobs.is_empty() {
                            return NextJobs::Quiet(waiting.jobs.drain(..).collect());
                        }
                        until = None;
                        continue;
                    }
                    let woken = self.wake.wait_timeout(waiting, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
                None => {
                    waiting.idle = true;
                    let woken = self.wake.wait(waiting);
                    let mut waiting = woken.unwrap_or_else(PoisonError::into_inner);
                    waiting.idle = false;
                    until = Some(Instant::now() + QUIET);
                    waiting
                }
            };
        }
    }
}

impl WriteQueue {
    fn batch(&mut self) -> Vec<WriteJob> {
        let mut bytes = 0;
        let mut batch = Vec::new();
        while bytes < BATCH_BYTES_MAX
            && batch.len() < BATCH_JOBS_MAX
            && let Some(job) = self.jobs.pop_front()
        {
            bytes += job.bytes;
            self.pressing -= usize::from(!job.lazy);
            batch.push(job);
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::LogId;
    use crate::store::disk::Op;
    use crate::store::error::StoreError;
    use std::sync::Arc;
    use std::sync::mpsc::{RecvTimeoutError, channel};

    const PATIENCE: Duration = Duration::from_secs(60);

    fn job(lazy: bool) -> WriteJob {
        WriteJob {
            ops: vec![Op::Committed(None::<LogId>)],
            durable: !lazy,
            lazy,
            bytes: 1,
            done: Box::new(|_| ()),
        }
    }

    fn push(queue: &Queue, lazy: bool) {
        assert!(queue.push(job(lazy)).is_ok());
    }

    #[test]
    fn what_may_wait_goes_with_the_next_write_in_its_order() {
        let queue = Queue::default();
        push(&queue, true);
        push(&queue, true);
        push(&queue, false);
        push(&queue, true);
        push(&queue, false);
        let NextJobs::Batch(batch) = queue.next(false) else {
            panic!("there is something to write");
        };
        let kinds: Vec<bool> = batch.iter().map(|job| job.lazy).collect();
        assert_eq!(kinds, [true, false, true, false]);
        assert!(batch.iter().all(|job| job.ops.len() == 1));
    }

    #[test]
    fn what_may_wait_wakes_nobody_and_is_written_when_all_is_quiet() {
        let queue = Arc::new(Queue::default());
        let (tell, told) = channel();
        let writer = queue.clone();
        let writing = std::thread::spawn(move || {
            loop {
                let next = writer.next(false);
                let over = matches!(next, NextJobs::Over(_));
                tell.send(next).unwrap();
                if over {
                    return;
                }
            }
        });
        push(&queue, false);
        assert!(matches!(
            told.recv_timeout(PATIENCE),
            Ok(NextJobs::Batch(_))
        ));
        let began = Instant::now();
        push(&queue, true);
        let next = told.recv_timeout(PATIENCE);
        assert!(matches!(next, Ok(NextJobs::Quiet(ref jobs)) if jobs.len() == 1));
        assert!(began.elapsed() > QUIET / 2);
        // The writer now sleeps until a job arrives.
        let nothing = told.recv_timeout(QUIET * 2);
        assert!(matches!(nothing, Err(RecvTimeoutError::Timeout)));
        push(&queue, true);
        assert!(matches!(
            told.recv_timeout(PATIENCE),
            Ok(NextJobs::Quiet(_))
        ));
        queue.end();
        assert!(matches!(told.recv_timeout(PATIENCE), Ok(NextJobs::Over(_))));
        writing.join().unwrap();
    }

    #[test]
    fn what_the_writer_keeps_waits_no_more_when_all_is_quiet() {
        let queue = Queue::default();
        assert!(matches!(queue.next(true), NextJobs::Quiet(jobs) if jobs.is_empty()));
    }

    #[test]
    fn a_batch_is_bounded_and_nothing_is_lost() {
        let queue = Queue::default();
        for _ in 0..BATCH_JOBS_MAX + 1 {
            push(&queue, false);
        }
        assert!(matches!(queue.next(false), NextJobs::Batch(jobs) if jobs.len() == BATCH_JOBS_MAX));
        assert!(matches!(queue.next(false), NextJobs::Batch(jobs) if jobs.len() == 1));
        queue.end();
        assert!(queue.push(job(false)).is_err());
        assert!(matches!(queue.next(false), NextJobs::Over(jobs) if jobs.is_empty()));
    }

    #[test]
    fn who_waits_when_the_writer_ends_is_told_so() {
        let queue = Queue::default();
        let (tell, told) = channel();
        let waits = WriteJob {
            done: Box::new(move |result| tell.send(result).unwrap()),
            ..job(false)
        };
        assert!(queue.push(waits).is_ok());
        for job in queue.close() {
            (job.done)(Err(StoreError::Ended));
        }
        assert!(matches!(told.try_recv(), Ok(Err(StoreError::Ended))));
        assert!(queue.push(job(false)).is_err());
    }
}
