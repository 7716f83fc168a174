//! Adapts the store to openraft: waits for the store's callbacks without blocking the thread.

use crate::log::{Entry, LogId, Types, Vote};
use crate::raft::error::EngineError;
use crate::raft::replica::ReplicaState;
use crate::store::{Store, StoreError};
use futures_util::{Stream, stream};
use openraft::async_runtime::{Oneshot, OneshotSender, Select2};
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{AsyncRuntime, OptionalSend, RaftLogReader};
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;
use std::time::Duration;

/// Bytes of entries in one message to another member; a single entry may be larger.
pub(super) const PAYLOAD_BYTES_MAX: usize = 256 << 10;
const READ_BYTES_MAX: usize = 512 << 10;
/// Bytes of entries in memory beyond which an append waits until it is on disk.
const PENDING_BYTES_MAX: usize = 4 << 20;

/// Interval at which a pending vote checks whether the disk refuses it.
const REFUSED_LOOK: Duration = Duration::from_millis(20);

pub(super) type Callback<T> = Box<dyn FnOnce(Result<T, StoreError>) + Send>;

pub(super) async fn ask<R: AsyncRuntime, T: Send + 'static>(
    start: impl FnOnce(Callback<T>),
) -> Result<T, StoreError> {
    let (tell, told) = R::Oneshot::channel();
    start(Box::new(move |result| {
        // If the caller has gone, the operation is executed nevertheless.
        let _ = tell.send(result);
    }));
    told.await.unwrap_or(Err(StoreError::Ended))
}

pub(super) fn to_io(error: StoreError) -> io::Error {
    io::Error::other(error)
}

pub struct Log<R: AsyncRuntime> {
    store: Store,
    shared: Arc<ReplicaState<R>>,
}

impl<R: AsyncRuntime> Log<R> {
    pub(super) fn new(store: Store, shared: Arc<ReplicaState<R>>) -> Log<R> {
        Log { store, shared }
    }

    async fn read(&self, start: u64, end: u64, bytes_max: usize) -> Result<Vec<Entry>, io::Error> {
        ask::<R, _>(|done| self.store.entries(start..end, bytes_max, done))
            .await
            .map_err(|error| self.failed(error))
    }

    /// Finishes saving a vote in the background, so that openraft can continue while the disk
    /// refuses the vote. Until the vote is on disk it counts as unsaved ([`super::silent`]).
    /// Consensus stops if saving fails.
    fn pass(&self, saving: impl Future<Output = Result<(), StoreError>> + Send + 'static) {
        let shared = self.shared.clone();
        shared.silence.passed();
        let _detached = R::spawn(async move {
            match saving.await {
                Ok(()) => shared.silence.saved(),
                Err(error) => shared.halt(EngineError::Store(error)),
            }
        });
    }

    fn failed(&self, error: StoreError) -> io::Error {
        self.shared.halt(EngineError::Store(error.clone()));
        to_io(error)
    }
}

fn ends(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(end) => end.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}

impl<R: AsyncRuntime> RaftLogReader<Types<R>> for Log<R> {
    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = Result<Entry, io::Error>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (start, end) = ends(&range);
        let batches = stream::unfold((self, start), move |(log, next)| async move {
            if next >= end {
                return None;
            }
            let batch = match log.read(next, end, READ_BYTES_MAX).await {
                Ok(batch) => batch,
                Err(error) => return Some((vec![Err(error)], (log, end))),
            };
            let after = match (batch.first(), batch.last()) {
                (Some(first), Some(last)) if first.log_id.index == next => last.log_id.index + 1,
                // Stops consensus at a gap: entries to apply are committed, so a missing one means
                // damage.
                _ => {
                    let hole = log.failed(log.store.hole(next));
                    return Some((vec![Err(hole)], (log, end)));
                }
            };
            Some((batch.into_iter().map(Ok).collect(), (log, after)))
        });
        Box::pin(futures_util::StreamExt::flat_map(
            batches,
            |batch: Vec<_>| stream::iter(batch),
        ))
    }

    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        let (start, end) = ends(&range);
        let mut all = self.read(start, end, usize::MAX).await?;
        // Reads until nothing follows, because entries in memory may go to the disk while the disk
        // is read.
        while let Some(last) = all.last() {
            let next = last.log_id.index + 1;
            let more = self.read(next, end, usize::MAX).await?;
            if more.is_empty() {
                break;
            }
            all.extend(more);
        }
        Ok(all)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.store.vote())
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, io::Error> {
        self.read(start, end, PAYLOAD_BYTES_MAX).await
    }
}

impl<R: AsyncRuntime> RaftLogStorage<Types<R>> for Log<R> {
    type LogReader = Log<R>;

    async fn get_log_state(&mut self) -> Result<LogState<Types<R>>, io::Error> {
        let (last_purged_log_id, last_log_id) = self.store.ends();
        Ok(LogState {
            last_purged_log_id,
            last_log_id,
        })
    }

    async fn get_log_reader(&mut self) -> Log<R> {
        Log {
            store: self.store.clone(),
            shared: self.shared.clone(),
        }
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let (store, vote) = (self.store.clone(), *vote);
        let saving = async move { ask::<R, _>(|done| store.save_vote(vote, done)).await };
        let mut saving = Box::pin(saving);
        loop {
            let waited = R::select2(&mut saving, R::sleep(REFUSED_LOOK)).await;
            match waited {
                Select2::First(saved) => return saved.map_err(|error| self.failed(error)),
                Select2::Second(()) if self.store.refused().is_some() => {
                    self.pass(saving);
                    return Ok(());
                }
                Select2::Second(()) => {}
            }
        }
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        self.store.save_committed(committed);
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.store.committed())
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: IOFlushed<Types<R>>,
    ) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let shared = self.shared.clone();
        self.store.append(
            entries,
            Box::new(move |result| {
                callback.io_completed(result.map_err(|error| {
                    shared.halt(EngineError::Store(error.clone()));
                    to_io(error)
                }));
            }),
        );
        if self.store.cached() > PENDING_BYTES_MAX {
            ask::<R, _>(|done| self.store.sync(done))
                .await
                .map_err(|error| self.failed(error))?;
        }
        Ok(())
    }

    // Truncating and purging complete before any later write, which reports their failure.
    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        self.store.truncate_after(last, Box::new(|_| ()));
        Ok(())
    }

    async fn purge(&mut self, to: LogId) -> Result<(), io::Error> {
        self.store.purge(to, Box::new(|_| ()));
        Ok(())
    }
}
