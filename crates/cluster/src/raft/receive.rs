//! Receives a snapshot from the leader in parts, checks that its author may be trusted, names the
//! chunks that are missing, and installs the snapshot.

use crate::log::{SnapshotMeta, Types, Vote};
use crate::member::digest;
use crate::member::{Digest, MemberId};
use crate::raft::message::{Failure, RaftReply, SnapshotPart};
use crate::raft::replica::{IMAGE_BYTES_MAX, Image, Picture, Replica, SnapshotSeal};
use crate::raft::store_io::ask;
use crate::store::Store;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::raft::SnapshotResponse;
use openraft::{AsyncRuntime, Raft, Snapshot};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Memory that is reserved for an image before its bytes arrive.
const RESERVE_BYTES_MAX: usize = 1 << 20;

/// Callback that returns whether a snapshot with this seal may be installed.
type MayInstall<'a> = &'a (dyn Fn(Option<&SnapshotSeal>) -> bool + Send + Sync);

struct Incoming {
    from: MemberId,
    of: Digest,
    vote: Vote,
    meta: SnapshotMeta,
    bytes: u64,
    image: Vec<u8>,
    /// Chunks that the snapshot names, once the image is complete. The store keeps them.
    wanted: Option<Arc<BTreeSet<Digest>>>,
}

/// The incoming snapshot: at most one, the last that was begun.
#[derive(Default)]
pub(super) struct Receiver(Mutex<Option<Incoming>>);

impl Receiver {
    fn lock(&self) -> MutexGuard<'_, Option<Incoming>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn receive_part<R: AsyncRuntime>(
        &self,
        raft: &Raft<Types<R>, Replica<R>>,
        store: &Store,
        from: MemberId,
        part: SnapshotPart,
        cluster: &str,
        may_install: MayInstall<'_>,
    ) -> RaftReply<R> {
        match part {
            SnapshotPart::Begin {
                vote,
                meta,
                bytes,
                digest,
            } => {
                // Refuses a snapshot from a later term than its sender's, on which openraft stops
                // with a panic.
                let is_later = (meta.last_log_id.as_ref())
                    .is_some_and(|last| last.leader_id.term > vote.leader_id.term);
                if vote.leader_id.voted_for != from
                    || bytes > IMAGE_BYTES_MAX
                    || is_later
                    || contradicts_commits(raft, &meta)
                {
                    return RaftReply::Failed(Failure::Malformed);
                }
                if let Some(own) = store.vote()
                    && own > vote
                {
                    return RaftReply::Installed(SnapshotResponse::new(own));
                }
                let reserve = usize::try_from(bytes).unwrap_or(RESERVE_BYTES_MAX);
                *self.lock() = Some(Incoming {
                    from,
                    of: digest,
                    vote,
                    meta: *meta,
                    bytes,
                    image: Vec::with_capacity(reserve.min(RESERVE_BYTES_MAX)),
                    wanted: None,
                });
                RaftReply::Next
            }
            SnapshotPart::Image { of, offset, bytes } => self.image(from, of, offset, &bytes),
            SnapshotPart::Chunk { of, bytes } => self.chunk(store, from, of, bytes).await,
            SnapshotPart::End { of } => self.end(raft, store, from, of, cluster, may_install).await,
        }
    }

    fn image<R: AsyncRuntime>(
        &self,
        from: MemberId,
        of: Digest,
        offset: u64,
        bytes: &[u8],
    ) -> RaftReply<R> {
        let mut incoming = self.lock();
        let Some(incoming) = current(&mut incoming, from, of) else {
            return RaftReply::Begin;
        };
        if offset != incoming.image.len() as u64
            || offset.saturating_add(bytes.len() as u64) > incoming.bytes
        {
            return RaftReply::Begin;
        }
        incoming.image.extend_from_slice(bytes);
        RaftReply::Next
    }

    async fn chunk<R: AsyncRuntime>(
        &self,
        store: &Store,
        from: MemberId,
        of: Digest,
        bytes: Vec<u8>,
    ) -> RaftReply<R> {
        let digest = digest(&bytes);
        let wanted = current(&mut self.lock(), from, of)
            .and_then(|incoming| incoming.wanted.as_ref())
            .is_some_and(|wanted| wanted.contains(&digest));
        if !wanted {
            return RaftReply::Begin;
        }
        match ask::<R, _>(|done| store.write_chunk(digest, bytes, done)).await {
            Ok(()) => RaftReply::Next,
            Err(_) => RaftReply::Failed(Failure::Stopped),
        }
    }

    async fn end<R: AsyncRuntime>(
        &self,
        raft: &Raft<Types<R>, Replica<R>>,
        store: &Store,
        from: MemberId,
        of: Digest,
        cluster: &str,
        may_install: MayInstall<'_>,
    ) -> RaftReply<R> {
        let wanted = {
            let mut incoming = self.lock();
            let Some(incoming) = current(&mut incoming, from, of) else {
                return RaftReply::Begin;
            };
            if incoming.image.len() as u64 != incoming.bytes || digest(&incoming.image) != of {
                return RaftReply::Begin;
            }
            match &incoming.wanted {
                Some(wanted) => wanted.clone(),
                None => {
                    let seal = Image::seal(&incoming.image, &incoming.meta, cluster);
                    if !may_install(seal.as_ref()) {
                        return RaftReply::Failed(Failure::Unfit(from));
                    }
                    let Ok(wanted) = Image::chunks(&incoming.image) else {
                        return RaftReply::Failed(Failure::Malformed);
                    };
                    let wanted = store.pin_chunks(wanted);
                    incoming.wanted = Some(wanted.clone());
                    wanted
                }
            }
        };
        // Waits for all earlier writes: a snapshot that was being written before the pins deletes
        // chunks that it does not name.
        if ask::<R, _>(|done| store.sync(done)).await.is_err() {
            return RaftReply::Failed(Failure::Stopped);
        }
        let wanted = (*wanted).clone();
        match ask::<R, _>(|done| store.missing(wanted, done)).await {
            Err(_) => return RaftReply::Failed(Failure::Stopped),
            Ok(missing) if !missing.is_empty() => return RaftReply::Missing(missing),
            Ok(_) => {}
        }
        let taken = {
            let mut incoming = self.lock();
            current(&mut incoming, from, of)
                .is_some()
                .then(|| incoming.take())
        };
        let Some(Some(incoming)) = taken else {
            return RaftReply::Begin;
        };
        if contradicts_commits(raft, &incoming.meta) {
            return RaftReply::Failed(Failure::Malformed);
        }
        let Incoming {
            vote,
            meta,
            image,
            wanted: pinned,
            ..
        } = incoming;
        let snapshot = Snapshot {
            meta,
            snapshot: Picture(Arc::new(image)),
        };
        let raft = raft.clone();
        // The installation continues when the caller no longer waits for it.
        let installing = R::spawn(async move {
            let installed = raft.install_full_snapshot(vote, snapshot).await;
            drop(pinned);
            installed
        });
        match installing.await {
            Ok(Ok(response)) => RaftReply::Installed(response),
            Ok(Err(_)) | Err(_) => RaftReply::Failed(Failure::Stopped),
        }
    }
}

/// Returns whether a snapshot ends at a committed index with another entry: the member returned
/// with another history. openraft stops with a panic on such a snapshot.
fn contradicts_commits<R: AsyncRuntime>(
    raft: &Raft<Types<R>, Replica<R>>,
    meta: &SnapshotMeta,
) -> bool {
    let receiver = raft.metrics();
    let committed = receiver.borrow_watched().local_committed;
    meta.last_log_id > committed
        && meta.last_log_id.map(|id| id.index) <= committed.map(|id| id.index)
}

fn current(incoming: &mut Option<Incoming>, from: MemberId, of: Digest) -> Option<&mut Incoming> {
    incoming
        .as_mut()
        .filter(|incoming| incoming.from == from && incoming.of == of)
}
