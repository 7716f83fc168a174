//! Sends a snapshot to a member: the image in pieces, then only the content chunks that the member
//! lacks, one at a time. Also fetches the image of a node's snapshot for an arbiter, and serves
//! such requests.

use crate::log::{SnapshotMeta, Types, Vote};
use crate::member::digest;
use crate::member::{Digest, MemberId};
use crate::raft::message::{ImagePiece, RaftReply, Request, SnapshotPart};
use crate::raft::network::{Nonsense, call};
use crate::raft::replica::{IMAGE_BYTES_MAX, Picture};
use crate::raft::store_io::ask;
use crate::raft::transport::{CallError, Calls};
use crate::store::Store;
use openraft::AsyncRuntime;
use openraft::errors::{StreamingError, Unreachable};
use openraft::raft::SnapshotResponse;
use openraft::type_config::alias::SnapshotOf;
use std::cmp::Ordering;
use std::time::Duration;

const PIECE_BYTES_MAX: usize = 256 << 10;
/// Timeout of one message; the response to the last one waits for the disk.
const CALL_LIMIT: Duration = Duration::from_secs(5);
/// Largest number of times that a member may report missing chunks.
const ROUNDS_MAX: usize = 64;

pub(super) async fn snapshot<R: AsyncRuntime>(
    calls: &Calls,
    store: &Store,
    to: MemberId,
    vote: Vote,
    snapshot: SnapshotOf<Types<R>, Picture>,
) -> Result<SnapshotResponse<Types<R>>, StreamingError<Types<R>>> {
    let image = snapshot.snapshot.0;
    let of = digest(&image);
    let begin = SnapshotPart::Begin {
        vote,
        meta: Box::new(snapshot.meta),
        bytes: image.len() as u64,
        digest: of,
    };
    match part::<R>(calls, to, begin).await? {
        RaftReply::Next => {}
        // The receiver has a newer vote, which openraft must see.
        RaftReply::Installed(response) => return Ok(response),
        _ => return Err(nonsense()),
    }
    let mut offset = 0;
    for piece in image.chunks(PIECE_BYTES_MAX) {
        let image = SnapshotPart::Image {
            of,
            offset,
            bytes: piece.to_vec(),
        };
        expect_next(part::<R>(calls, to, image).await?)?;
        offset += piece.len() as u64;
    }
    for _ in 0..ROUNDS_MAX {
        match part::<R>(calls, to, SnapshotPart::End { of }).await? {
            RaftReply::Installed(response) => return Ok(response),
            RaftReply::Missing(missing) => {
                for digest in missing {
                    chunk::<R>(calls, store, to, of, digest).await?;
                }
            }
            _ => return Err(nonsense()),
        }
    }
    Err(nonsense())
}

pub(super) async fn piece<R: AsyncRuntime>(
    store: &Store,
    of: Option<Digest>,
    offset: u64,
) -> RaftReply<R> {
    let Ok(Some((meta, image))) = ask::<R, _>(|done| store.snapshot(done)).await else {
        return RaftReply::Begin;
    };
    let digest = digest(&image);
    let begin = usize::try_from(offset).unwrap_or(usize::MAX);
    match image.get(begin..) {
        Some(rest) if of.is_none_or(|of| of == digest) => RaftReply::Piece(Box::new(ImagePiece {
            meta,
            of: digest,
            size: image.len() as u64,
            bytes: rest.get(..PIECE_BYTES_MAX).unwrap_or(rest).to_vec(),
        })),
        _ => RaftReply::Begin,
    }
}

pub(super) async fn fetch<R: AsyncRuntime>(
    calls: &Calls,
    from: MemberId,
) -> Option<(SnapshotMeta, Vec<u8>)> {
    let mut image = Vec::new();
    let mut of = None;
    loop {
        let offset = image.len() as u64;
        let request = Request::<R>::Fetch { of, offset };
        let Ok(RaftReply::Piece(piece)) = call(calls, from, &request, CALL_LIMIT).await else {
            return None;
        };
        if piece.size > IMAGE_BYTES_MAX || piece.bytes.is_empty() {
            return None;
        }
        of = Some(piece.of);
        image.extend_from_slice(&piece.bytes);
        match (image.len() as u64).cmp(&piece.size) {
            Ordering::Less => {}
            Ordering::Equal if digest(&image) == piece.of => return Some((piece.meta, image)),
            _ => return None,
        }
    }
}

async fn chunk<R: AsyncRuntime>(
    calls: &Calls,
    store: &Store,
    to: MemberId,
    of: Digest,
    digest: Digest,
) -> Result<(), StreamingError<Types<R>>> {
    // A missing chunk was deleted after a newer snapshot: returns an error, after which openraft
    // restarts with the newer snapshot.
    let bytes = match ask::<R, _>(|done| store.chunk(digest, done)).await {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Err(nonsense()),
        Err(error) => return Err(StreamingError::Unreachable(Unreachable::new(&error))),
    };
    expect_next(part::<R>(calls, to, SnapshotPart::Chunk { of, bytes }).await?)
}

async fn part<R: AsyncRuntime>(
    calls: &Calls,
    to: MemberId,
    part: SnapshotPart,
) -> Result<RaftReply<R>, StreamingError<Types<R>>> {
    call(calls, to, &Request::Snapshot(part), CALL_LIMIT)
        .await
        .map_err(|error: CallError| StreamingError::Unreachable(Unreachable::new(&error)))
}

fn expect_next<R: AsyncRuntime>(reply: RaftReply<R>) -> Result<(), StreamingError<Types<R>>> {
    match reply {
        RaftReply::Next => Ok(()),
        _ => Err(nonsense()),
    }
}

fn nonsense<R: AsyncRuntime>() -> StreamingError<Types<R>> {
    StreamingError::Unreachable(Unreachable::new(&Nonsense))
}
