//! Keeps the index of chunks: those that belong to a version, and those that were uploaded for a
//! coming proposal. Drops pending chunks above the bounds, and lists the chunks that the store may
//! delete. The store has the bytes.

use super::ClusterState;
use crate::command::{CHUNK_BYTES_MAX, CommandRefusal, CommandResult, FileEntry, Proposal};
use crate::file_set::SET_BYTES_MAX;
use crate::member::{Digest, MemberId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub const CHUNKS_MAX: usize = 32 << 10;
/// Largest number of pending chunks (of no version yet). Beyond it, the oldest are
/// dropped.
pub const PENDING_CHUNKS_MAX: usize = 8 << 10;
/// Largest size of the pending chunks (of no version yet), bytes. Beyond it, the oldest
/// are dropped.
pub const PENDING_BYTES_MAX: u64 = 2 * SET_BYTES_MAX;
/// Number of commands after which a pending chunk is dropped.
pub const PENDING_COMMANDS_MAX: u64 = 64 << 10;
/// Maximum number of deletable chunks that were not collected. Beyond it the list is
/// dropped: the store then compares its chunks with those to keep.
const DROPPED_MAX: usize = 2 * (CHUNKS_MAX + PENDING_CHUNKS_MAX);

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct ChunkRecord {
    bytes: u32,
    /// Number of versions that reference the chunk; zero while it is pending.
    uses: u32,
    /// Number of applied commands when a pending chunk arrived.
    since: u64,
}

/// A chunk that no version references yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct UnreferencedChunk {
    digest: Digest,
    from: MemberId,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Chunks {
    pieces: BTreeMap<Digest, ChunkRecord>,
    /// Pending chunks by the number of the command that brought them, at most one each.
    pending: BTreeMap<u64, UnreferencedChunk>,
    used_bytes: u64,
    pending_bytes: u64,
}

impl Chunks {
    pub(super) fn all(&self) -> impl Iterator<Item = Digest> + '_ {
        self.pieces.keys().copied()
    }

    pub(super) fn has(&self, digest: &Digest) -> bool {
        self.pieces.contains_key(digest)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.used_bytes.saturating_add(self.pending_bytes)
    }

    pub(super) fn used_bytes(&self) -> u64 {
        self.used_bytes
    }

    pub(super) fn used(&self) -> usize {
        self.pieces.len().saturating_sub(self.pending.len())
    }

    pub(super) fn missing(&self, files: &[FileEntry]) -> Vec<Digest> {
        unique(files)
            .into_iter()
            .filter(|digest| !self.has(digest))
            .collect()
    }

    /// Adds a chunk that arrived after this many commands. A chunk that was already
    /// pending is dated anew.
    fn put(&mut self, digest: Digest, bytes: u32, from: MemberId, since: u64) {
        match self.pieces.get_mut(&digest) {
            Some(piece) if piece.uses > 0 => return,
            Some(piece) => {
                self.pending.remove(&piece.since);
                piece.since = since;
            }
            None => {
                let uses = 0;
                self.pieces
                    .insert(digest, ChunkRecord { bytes, uses, since });
                self.pending_bytes = self.pending_bytes.saturating_add(bytes.into());
            }
        }
        self.pending
            .insert(since, UnreferencedChunk { digest, from });
    }

    /// References the chunks of a version's files.
    pub(super) fn hold(&mut self, files: &[FileEntry]) {
        for digest in unique(files) {
            let Some(piece) = self.pieces.get_mut(&digest) else {
                continue;
            };
            if piece.uses == 0 {
                self.pending.remove(&piece.since);
                piece.since = 0;
                self.pending_bytes = self.pending_bytes.saturating_sub(piece.bytes.into());
                self.used_bytes = self.used_bytes.saturating_add(piece.bytes.into());
            }
            piece.uses = piece.uses.saturating_add(1);
        }
    }

    /// Releases the chunks of a deleted version. Returns those that no other version
    /// references.
    pub(super) fn let_go(&mut self, files: &[FileEntry]) -> Vec<Digest> {
        let mut gone = Vec::new();
        for digest in unique(files) {
            let Some(piece) = self.pieces.get_mut(&digest) else {
                continue;
            };
            piece.uses = piece.uses.saturating_sub(1);
            if piece.uses == 0 {
                self.used_bytes = self.used_bytes.saturating_sub(piece.bytes.into());
                self.pieces.remove(&digest);
                gone.push(digest);
            }
        }
        gone
    }

    fn over_bounds(&self, applied: u64) -> bool {
        self.pending.len() > PENDING_CHUNKS_MAX
            || self.pending_bytes > PENDING_BYTES_MAX
            || self
                .pending
                .first_key_value()
                .is_some_and(|(since, _)| since.saturating_add(PENDING_COMMANDS_MAX) < applied)
    }

    fn drop_oldest_pending(&mut self) -> Option<Digest> {
        let (_, pending) = self.pending.pop_first()?;
        self.forget(pending.digest);
        Some(pending.digest)
    }

    fn forget(&mut self, digest: Digest) {
        if let Some(piece) = self.pieces.remove(&digest) {
            self.pending_bytes = self.pending_bytes.saturating_sub(piece.bytes.into());
        }
    }

    pub(super) fn drop_pending_of(&mut self, from: MemberId) -> Vec<Digest> {
        let of_it: Vec<(u64, Digest)> = self
            .pending
            .iter()
            .filter(|(_, pending)| pending.from == from)
            .map(|(since, pending)| (*since, pending.digest))
            .collect();
        for (since, digest) in &of_it {
            self.pending.remove(since);
            self.forget(*digest);
        }
        of_it.into_iter().map(|(_, digest)| digest).collect()
    }
}

fn unique(files: &[FileEntry]) -> BTreeSet<Digest> {
    files
        .iter()
        .flat_map(|file| file.content.chunks.iter().copied())
        .collect()
}

/// Chunks that may be deleted. Excluded from the state: all values compare equal.
#[derive(Clone, Debug, Default)]
pub(super) struct Dropped(Vec<Digest>);

impl Dropped {
    pub(super) fn take(&mut self) -> Vec<Digest> {
        std::mem::take(&mut self.0)
    }

    pub(super) fn add(&mut self, digests: Vec<Digest>) {
        self.0.extend(digests);
        if self.0.len() > DROPPED_MAX {
            self.0.clear();
        }
    }

    fn came_back(&mut self, digest: &Digest) {
        self.0.retain(|dropped| dropped != digest);
    }
}

impl PartialEq for Dropped {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Dropped {}

impl ClusterState {
    pub(super) fn chunk(
        &mut self,
        from: MemberId,
        digest: &Digest,
        bytes: &[u8],
    ) -> Result<CommandResult, CommandRefusal> {
        if bytes.len() > CHUNK_BYTES_MAX {
            return Err(CommandRefusal::TooMany {
                what: "bytes of a chunk".to_owned(),
                max: CHUNK_BYTES_MAX as u64,
            });
        }
        let found = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
        if found.as_ref() != digest.0 {
            return Err(CommandRefusal::Digest);
        }
        let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        Arc::make_mut(&mut self.chunks).put(*digest, size, from, self.applied);
        self.dropped.came_back(digest);
        Ok(CommandResult::Done)
    }

    /// References the version's chunks, and drops all other pending chunks of its
    /// proposer.
    pub(super) fn hold_chunks(&mut self, from: MemberId, proposal: &Proposal) {
        let chunks = Arc::make_mut(&mut self.chunks);
        chunks.hold(&proposal.files);
        let abandoned = chunks.drop_pending_of(from);
        self.dropped.add(abandoned);
    }

    pub(super) fn drop_abandoned(&mut self) {
        while self.chunks.over_bounds(self.applied) {
            let oldest = Arc::make_mut(&mut self.chunks).drop_oldest_pending();
            self.dropped.add(oldest.into_iter().collect());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{A, B, digest, file, proposal};
    use super::*;
    use crate::command::{CommandBody, Reported, RolloutStep, VersionId};

    fn propose(parent: Option<u64>, files: Vec<FileEntry>) -> CommandBody {
        CommandBody::Propose(Box::new(proposal(parent, files)))
    }

    #[test]
    fn chunk_must_match_its_digest_and_size_limit() {
        let mut state = ClusterState::pair();
        let (bytes, wrong) = (b"text".to_vec(), digest(b"another"));
        let body = CommandBody::Chunk {
            digest: wrong,
            bytes,
        };
        assert_eq!(state.refused(A, body), CommandRefusal::Digest);
        let bytes = vec![0; CHUNK_BYTES_MAX + 1];
        let digest = digest(&bytes);
        let refusal = state.refused(A, CommandBody::Chunk { digest, bytes });
        assert!(matches!(refusal, CommandRefusal::TooMany { .. }));
        assert_eq!(state.chunks().count(), 0);
    }

    #[test]
    fn a_proposal_without_a_piece_of_it_names_the_piece() {
        let mut state = ClusterState::pair();
        let files = vec![file("/a", b"a"), file("/b", b"b")];
        state.put(b"a");
        assert_eq!(state.missing(&files), [digest(b"b")]);
        let chunk = digest(b"b");
        assert_eq!(
            state.refused(A, propose(None, files.clone())),
            CommandRefusal::Incomplete { chunk }
        );
        state.put(b"b");
        assert_eq!(state.missing(&files), []);
        state.must(A, propose(None, files));
    }

    #[test]
    fn unproposed_chunks_are_dropped_with_the_proposal() {
        let mut state = ClusterState::pair();
        state.put(b"abandoned");
        let bytes = b"of b".to_vec();
        state.must(
            B,
            CommandBody::Chunk {
                digest: digest(&bytes),
                bytes,
            },
        );
        state.put(b"wanted");
        state.must(A, propose(None, vec![file("/a", b"wanted")]));
        assert_eq!(state.take_dropped(), [digest(b"abandoned")]);
        assert!(state.has_chunk(&digest(b"wanted")) && state.has_chunk(&digest(b"of b")));
        assert_eq!(state.take_dropped(), []);
    }

    #[test]
    fn oldest_unproposed_chunks_are_dropped_first() {
        let mut state = ClusterState::pair();
        for number in 0..=PENDING_CHUNKS_MAX {
            state.put(&number.to_be_bytes());
        }
        assert_eq!(state.chunks().count(), PENDING_CHUNKS_MAX);
        assert_eq!(state.take_dropped(), [digest(&0_usize.to_be_bytes())]);
        // A chunk that is stored again becomes the newest.
        state.put(&1_usize.to_be_bytes());
        state.put(b"one more");
        assert_eq!(state.take_dropped(), [digest(&2_usize.to_be_bytes())]);
        // In the end, at most one chunk is left.
        let words = String::new;
        for _ in 0..PENDING_COMMANDS_MAX {
            state.must(A, CommandBody::Event { words: words() });
        }
        assert!(state.chunks().count() <= 1);
    }

    #[test]
    fn chunk_stays_while_a_kept_version_uses_it() {
        let mut state = ClusterState::pair();
        state.must(
            A,
            CommandBody::Keep(crate::command::Limits {
                versions: 2,
                ..Default::default()
            }),
        );
        state.put(b"shared");
        state.put(b"first");
        state.must(
            A,
            propose(None, vec![file("/s", b"shared"), file("/f", b"first")]),
        );
        state.accept_all_the_way(1);
        state.put(b"second");
        state.must(
            A,
            propose(Some(1), vec![file("/s", b"shared"), file("/f", b"second")]),
        );
        state.accept_all_the_way(2);
        assert_eq!(state.take_dropped(), []);
        state.must(A, propose(Some(2), vec![file("/s", b"shared")]));
        assert!(
            state.version(VersionId(1)).is_some(),
            "what the accepted one came from stays"
        );
        state.accept_all_the_way(3);
        assert!(state.version(VersionId(1)).is_none(), "two are kept");
        assert!(state.version(VersionId(2)).is_some());
        assert_eq!(state.take_dropped(), [digest(b"first")]);
        assert!(state.has_chunk(&digest(b"shared")));
    }

    #[test]
    fn chunk_that_returns_before_deletion_is_kept() {
        let mut state = ClusterState::pair();
        state.must(
            A,
            CommandBody::Keep(crate::command::Limits {
                versions: 1,
                ..Default::default()
            }),
        );
        let version = state.propose_content(b"text");
        state.must(
            A,
            super::super::sample::report(version, A, Reported::Refused),
        );
        let words = String::new();
        state.must(
            A,
            super::super::sample::decision(version, RolloutStep::TakeBack { words }),
        );
        state.propose_content(b"another");
        state.put(b"text");
        assert_eq!(state.take_dropped(), []);
        assert!(state.has_chunk(&digest(b"text")));
    }
}
