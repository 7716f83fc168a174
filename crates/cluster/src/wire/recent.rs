//! Remembers recent requests for a time, so that a request that arrives on two routes is handled
//! once and its response is sent on both. A request that was dropped unhandled may be handled
//! later. No I/O: the receiver of a response is a parameter.

use crate::member::MemberId;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

pub(crate) const RECENT_MAX: usize = 8192;
pub(crate) const ANSWERS_BYTES_MAX: usize = 1 << 20;
pub(crate) const WAITERS_MAX: usize = 8;
/// Time for which requests are remembered: longer than a silent connection lives.
pub(crate) const REMEMBERED: Duration = Duration::from_secs(30);

/// Identity of a request: its sender, the run of the sender's process, and its number
/// there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct RequestIdentity {
    pub(crate) from: MemberId,
    pub(crate) run: u64,
    pub(crate) call: u64,
}

enum Entry<W> {
    /// The request is being handled; these wait for its response.
    Running(Vec<W>),
    Answered(Arc<Vec<u8>>),
    Forgotten,
}

/// Action for a received request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum RequestAction {
    Handle,
    /// The request is already being handled: its response is sent on this path, too.
    Wait,
    /// Sends this response, which the request had before.
    Answer(Arc<Vec<u8>>),
    /// The request is not handled again, and nothing is sent on this path: its response is no
    /// longer stored, or too many paths wait for it.
    Nothing,
}

/// Memory of recent requests. Times count from any fixed moment.
pub(crate) struct Recent<W> {
    entries: HashMap<RequestIdentity, Entry<W>>,
    ages: VecDeque<(Duration, RequestIdentity)>,
    answers: VecDeque<RequestIdentity>,
    answers_bytes: usize,
}

impl<W> Default for Recent<W> {
    fn default() -> Self {
        Recent {
            entries: HashMap::new(),
            ages: VecDeque::new(),
            answers: VecDeque::new(),
            answers_bytes: 0,
        }
    }
}

impl<W> Recent<W> {
    pub(crate) fn ask(
        &mut self,
        now: Duration,
        question: RequestIdentity,
        way: W,
    ) -> RequestAction {
        self.forget(now);
        match self.entries.get_mut(&question) {
            None => {
                self.entries.insert(question, Entry::Running(vec![way]));
                self.ages.push_back((now, question));
                RequestAction::Handle
            }
            Some(Entry::Running(waiters)) => {
                if waiters.len() >= WAITERS_MAX {
                    return RequestAction::Nothing;
                }
                waiters.push(way);
                RequestAction::Wait
            }
            Some(Entry::Answered(bytes)) => RequestAction::Answer(Arc::clone(bytes)),
            Some(Entry::Forgotten) => RequestAction::Nothing,
        }
    }

    /// Records the response of a handled request. Returns the connections to which it
    /// must be sent.
    pub(crate) fn answered(&mut self, question: RequestIdentity, bytes: &Arc<Vec<u8>>) -> Vec<W> {
        let Some(entry) = self.entries.get_mut(&question) else {
            return Vec::new();
        };
        let keep = bytes.len() <= ANSWERS_BYTES_MAX / 8;
        let next = if keep {
            Entry::Answered(Arc::clone(bytes))
        } else {
            Entry::Forgotten
        };
        let Entry::Running(waiters) = std::mem::replace(entry, next) else {
            return Vec::new();
        };
        if keep {
            self.answers.push_back(question);
            self.answers_bytes += bytes.len();
            self.shrink();
        }
        waiters
    }

    /// Records that a request was handled and has no response: it is not handled again.
    /// Returns the connections that wait for the response.
    pub(crate) fn lost_response(&mut self, question: RequestIdentity) -> Vec<W> {
        let Some(entry) = self.entries.get_mut(&question) else {
            return Vec::new();
        };
        match std::mem::replace(entry, Entry::Forgotten) {
            Entry::Running(waiters) => waiters,
            Entry::Answered(_) | Entry::Forgotten => Vec::new(),
        }
    }

    /// Forgets a request that was not handled, so that it may be repeated. Returns the connections
    /// that wait for its response.
    pub(crate) fn dropped(&mut self, question: RequestIdentity) -> Vec<W> {
        match self.entries.remove(&question) {
            Some(Entry::Running(waiters)) => waiters,
            _ => Vec::new(),
        }
    }

    fn shrink(&mut self) {
        while self.answers_bytes > ANSWERS_BYTES_MAX {
            let Some(oldest) = self.answers.pop_front() else {
                return;
            };
            if let Some(entry) = self.entries.get_mut(&oldest)
                && let Entry::Answered(bytes) = entry
            {
                self.answers_bytes -= bytes.len();
                *entry = Entry::Forgotten;
            }
        }
    }

    fn forget(&mut self, now: Duration) {
        while let Some((since, question)) = self.ages.front().copied() {
            if self.ages.len() < RECENT_MAX && now.saturating_sub(since) < REMEMBERED {
                return;
            }
            self.ages.pop_front();
            // Drops the entry. A request that still runs then gets no response.
            if let Some(Entry::Answered(bytes)) = self.entries.remove(&question) {
                self.answers_bytes -= bytes.len();
                self.answers.retain(|kept| *kept != question);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    fn question(call: u64) -> RequestIdentity {
        RequestIdentity {
            from: MemberId(1),
            run: 7,
            call,
        }
    }

    #[test]
    fn duplicate_request_is_executed_once() {
        let mut recent = Recent::default();
        assert_eq!(
            recent.ask(NOW, question(1), "direct"),
            RequestAction::Handle
        );
        assert_eq!(recent.ask(NOW, question(1), "tunnel"), RequestAction::Wait);
        let answer = Arc::new(b"yes".to_vec());
        assert_eq!(recent.answered(question(1), &answer), ["direct", "tunnel"]);
        assert_eq!(
            recent.ask(NOW, question(1), "late"),
            RequestAction::Answer(answer)
        );
    }

    #[test]
    fn large_response_is_not_cached_nor_the_request_repeated() {
        let mut recent = Recent::default();
        recent.ask(NOW, question(1), ());
        recent.answered(question(1), &Arc::new(vec![0; ANSWERS_BYTES_MAX]));
        assert_eq!(recent.ask(NOW, question(1), ()), RequestAction::Nothing);
    }

    #[test]
    fn memory_is_bounded_in_number_bytes_and_time() {
        let mut recent = Recent::default();
        let answer = Arc::new(vec![0; 100_000]);
        for call in 0..RECENT_MAX as u64 + 100 {
            recent.ask(NOW, question(call), ());
            recent.answered(question(call), &answer);
            assert!(recent.answers_bytes <= ANSWERS_BYTES_MAX);
            assert!(recent.entries.len() <= RECENT_MAX);
        }
        recent.ask(NOW + REMEMBERED * 2, question(1 << 40), ());
        assert_eq!((recent.entries.len(), recent.answers_bytes), (1, 0));
        assert!(recent.answers.is_empty());
    }

    #[test]
    fn request_without_response_is_not_handled_again() {
        let mut recent = Recent::default();
        recent.ask(NOW, question(1), "direct");
        assert_eq!(recent.lost_response(question(1)), ["direct"]);
        assert_eq!(
            recent.ask(NOW, question(1), "tunnel"),
            RequestAction::Nothing
        );
    }

    #[test]
    fn refused_request_may_be_repeated() {
        let mut recent = Recent::default();
        recent.ask(NOW, question(1), ());
        assert_eq!(recent.dropped(question(1)).len(), 1);
        assert_eq!(recent.ask(NOW, question(1), ()), RequestAction::Handle);
    }
}
