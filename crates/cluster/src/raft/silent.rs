//! Keeps a member whose disk refuses writes in the cluster, as a **silent voter**: the member
//! acknowledges nothing, grants no vote and does not stand for election. It still hears the leader
//! and remains a client of the others: its leases are renewed. Its state follows as long as the
//! leader stays the same and memory allows. A new leader must first learn what this member has
//! stored, so the state does not advance: the member keeps the leases that it has, and gets no
//! other ones.
//!
//! openraft waits until each vote is saved before it does anything else: if the disk
//! refused a vote, it would hear no leader. So [`super::store_io`] reports each vote as
//! saved and counts it as unsaved. That includes the vote of an election that the
//! member began before it knew of its disk. Until the vote is saved, no reply leaves
//! this member that a leader or a candidate could count, and it requests no votes.

use crate::log::{LogId, Types};
use crate::member::MemberKind;
use crate::raft::engine::Engine;
use crate::raft::message::{Failure, RaftReply, Request};
use crate::store::Store;
use openraft::AsyncRuntime;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse};
use part::lock;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Longest wait for a message with entries while the disk refuses them.
pub(super) const REFUSED_LIMIT: Duration = Duration::from_millis(50);
/// Bytes of entries waiting for the disk beyond which no more are accepted.
const WAITING_BYTES_MAX: usize = 2 << 20;

/// Entries and votes that a silent voter has not stored.
#[derive(Debug, Default)]
pub(super) struct Silence {
    /// Number of votes that openraft regards as saved and that are not.
    unsaved: AtomicU64,
    /// Newest entry and commit index that openraft received since the disk refuses
    /// writes.
    given: Mutex<News>,
}

/// Contents of a message that may be new to this member.
#[derive(Clone, Copy, Debug, Default)]
struct News {
    last: Option<LogId>,
    commit: Option<LogId>,
}

impl Silence {
    pub(super) fn passed(&self) {
        self.unsaved.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn saved(&self) {
        self.unsaved.fetch_sub(1, Ordering::SeqCst);
    }

    pub(super) fn is_on(&self, store: &Store) -> bool {
        self.has_unsaved() || store.refused().is_some()
    }

    fn has_unsaved(&self) -> bool {
        self.unsaved.load(Ordering::SeqCst) > 0
    }

    fn record_if_newer(&self, news: News) -> bool {
        let mut given = lock(&self.given);
        let newer = news.last > given.last || news.commit > given.commit;
        given.last = given.last.max(news.last);
        given.commit = given.commit.max(news.commit);
        newer
    }

    fn forget(&self) {
        *lock(&self.given) = News::default();
    }
}

impl<R: AsyncRuntime> Engine<R> {
    pub(super) fn is_silent(&self) -> bool {
        self.inner.shared.silence.is_on(&self.inner.store)
    }

    /// Returns the reply to a request that a silent voter does not process.
    pub(super) fn refuses_silently(&self, request: &Request<R>) -> Option<RaftReply<R>> {
        if !self.is_silent() {
            self.inner.shared.silence.forget();
            return None;
        }
        match request {
            Request::Lost(_) => Some(RaftReply::Lost(false)),
            Request::Append(request) if self.brings_news(request) => None,
            Request::Append(_)
            | Request::Vote { .. }
            | Request::PreVote(_)
            | Request::Transfer(_)
            | Request::Snapshot(_) => Some(RaftReply::Failed(Failure::Stopped)),
            Request::Propose(_) | Request::Confirm | Request::Change(_) | Request::Fetch { .. } => {
                None
            }
        }
    }

    /// Returns whether a message contains anything that this member does not know.
    /// openraft holds its responses until the disk has all earlier entries, so a mere
    /// heartbeat is not passed to it. A message of a leader that this member does not
    /// follow is always passed on: either that leader is new, or it must learn of a later
    /// candidate.
    fn brings_news(&self, request: &AppendEntriesRequest<Types<R>>) -> bool {
        if self.inner.store.vote() != Some(request.vote) {
            return true;
        }
        let last = request.entries.last().map(|entry| entry.log_id);
        self.inner.store.cached() <= WAITING_BYTES_MAX
            && self.inner.shared.silence.record_if_newer(News {
                last: last.or(request.prev_log_id),
                commit: request.leader_commit,
            })
    }

    /// Withholds a reply that the receiver would take as an acknowledgement of stored
    /// data.
    pub(super) fn withhold(&self, reply: RaftReply<R>) -> RaftReply<R> {
        match reply {
            // A later candidate exists whether or not its vote is saved here. A leader that
            // does not learn of it would no longer be followed here.
            RaftReply::Append(AppendEntriesResponse::HigherVote(_)) => reply,
            RaftReply::Append(_)
            | RaftReply::Vote(_)
            | RaftReply::Installed(_)
            | RaftReply::Transfer(_)
                if self.inner.shared.silence.has_unsaved() =>
            {
                RaftReply::Failed(Failure::Stopped)
            }
            reply => reply,
        }
    }

    pub(super) fn stand_as_the_disk_allows(&self, stands: &mut bool) {
        let may = !self.is_silent();
        if may == *stands || self.inner.kind != MemberKind::Node || self.inner.probation.is_on() {
            return;
        }
        *stands = may;
        self.inner.raft.runtime_config().elect(may);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::LeaderId;
    use crate::member::MemberId;
    use openraft::vote::RaftLeaderId;

    fn news(term: u64, last: u64, commit: u64) -> News {
        let id = |index| LogId::new(LeaderId::new(term, MemberId(1)).to_committed(), index);
        News {
            last: Some(id(last)),
            commit: Some(id(commit)),
        }
    }

    #[test]
    fn heartbeats_and_what_is_sent_again_tell_nothing() {
        let silence = Silence::default();
        assert!(silence.record_if_newer(news(3, 10, 9)));
        assert!(!silence.record_if_newer(news(3, 10, 9)), "a heartbeat");
        assert!(
            !silence.record_if_newer(news(3, 8, 9)),
            "entries that are sent again"
        );
        assert!(
            silence.record_if_newer(news(3, 10, 10)),
            "more is agreed on"
        );
        assert!(silence.record_if_newer(news(3, 11, 10)), "an entry");
        assert!(
            silence.record_if_newer(news(4, 11, 10)),
            "an entry of another leader"
        );
        silence.forget();
        assert!(silence.record_if_newer(news(3, 10, 9)));
    }
}
