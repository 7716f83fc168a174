//! Sends a snapshot to a member: the image in chunks, then only the content chunks that
//! the member lacks, one at a time.

use crate::log::{Types, Vote};
use crate::member::digest;
use crate::member::{Digest, MemberId};
use crate::raft::message::{Part, Reply, Request};
use crate::raft::network::{Nonsense, call};
use crate::raft::replica::Picture;
use crate::raft::store_io::ask;
use crate::raft::transport::{CallError, Calls};
use crate::store::Store;
use openraft::AsyncRuntime;
use openraft::errors::{StreamingError, Unreachable};
use openraft::raft::SnapshotResponse;
use openraft::type_config::alias::SnapshotOf;
use std::time::Duration;

/// Bytes of the image in one message.
const PIECE_BYTES_MAX: usize = 256 << 10;
/// How long one message may wait for its answer; the last one waits for the disk.
const CALL_LIMIT: Duration = Duration::from_secs(5);
/// How often a member may say that pieces are missing.
const ROUNDS_MAX: usize = 64;

/// Sends a snapshot.
pub(super) async fn snapshot<R: AsyncRuntime>(
    calls: &Calls,
    store: &Store,
    to: MemberId,
    vote: Vote,
    snapshot: SnapshotOf<Types<R>, Picture>,
) -> Result<SnapshotResponse<Types<R>>, StreamingError<Types<R>>> {
    let image = snapshot.snapshot.0;
    let of = digest(&image);
    let begin = Part::Begin {
        vote,
        meta: Box::new(snapshot.meta),
        bytes: image.len() as u64,
        digest: of,
    };
    match part::<R>(calls, to, begin).await? {
        Reply::Next => {}
        // Its vote is a newer one, which openraft is to see.
        Reply::Installed(response) => return Ok(response),
        _ => return Err(nonsense()),
    }
    let mut offset = 0;
    for piece in image.chunks(PIECE_BYTES_MAX) {
        let image = Part::Image {
            of,
            offset,
            bytes: piece.to_vec(),
        };
        expect_next(part::<R>(calls, to, image).await?)?;
        offset += piece.len() as u64;
    }
    for _ in 0..ROUNDS_MAX {
        match part::<R>(calls, to, Part::End { of }).await? {
            Reply::Installed(response) => return Ok(response),
            Reply::Missing(missing) => {
                for digest in missing {
                    chunk::<R>(calls, store, to, of, digest).await?;
                }
            }
            _ => return Err(nonsense()),
        }
    }
    Err(nonsense())
}

async fn chunk<R: AsyncRuntime>(
    calls: &Calls,
    store: &Store,
    to: MemberId,
    of: Digest,
    digest: Digest,
) -> Result<(), StreamingError<Types<R>>> {
    // A piece that is not here went with a newer snapshot: openraft begins again,
    // with that one.
    let bytes = match ask::<R, _>(|done| store.chunk(digest, done)).await {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Err(nonsense()),
        Err(error) => return Err(StreamingError::Unreachable(Unreachable::new(&error))),
    };
    expect_next(part::<R>(calls, to, Part::Chunk { of, bytes }).await?)
}

async fn part<R: AsyncRuntime>(
    calls: &Calls,
    to: MemberId,
    part: Part,
) -> Result<Reply<R>, StreamingError<Types<R>>> {
    call(calls, to, &Request::Snapshot(part), CALL_LIMIT)
        .await
        .map_err(|error: CallError| StreamingError::Unreachable(Unreachable::new(&error)))
}

fn expect_next<R: AsyncRuntime>(reply: Reply<R>) -> Result<(), StreamingError<Types<R>>> {
    match reply {
        Reply::Next => Ok(()),
        _ => Err(nonsense()),
    }
}

fn nonsense<R: AsyncRuntime>() -> StreamingError<Types<R>> {
    StreamingError::Unreachable(Unreachable::new(&Nonsense))
}
