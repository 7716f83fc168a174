//! Queues the requests of the control role, changes and checks separately, and defines the verdicts
//! that it gets.

use part::SharedFd;
use std::collections::VecDeque;

const REQUESTS_MAX: usize = 64;

/// The response to a request of the control role.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    pub ask: u64,
    pub is_good: bool,
    /// True if all nodes must change at the same time.
    pub is_simultaneous: bool,
    pub words: String,
}

impl Verdict {
    pub fn new(ask: u64, is_good: bool, words: &str) -> Verdict {
        Verdict {
            ask,
            is_good,
            is_simultaneous: false,
            words: words.to_owned(),
        }
    }
}

/// A request to check whether a version could be served.
#[derive(Debug)]
pub struct CheckRequest {
    pub ask: u64,
    pub set: SharedFd,
    pub as_json: bool,
}

/// A request to serve a version, as a candidate if `trial` is true.
#[derive(Debug)]
pub struct ServeRequest {
    pub ask: u64,
    pub set: SharedFd,
    pub trial: bool,
    pub operation: String,
}

/// A request that changes what is served.
#[derive(Debug)]
pub enum ChangeRequest {
    Serve(ServeRequest),
    Accept {
        ask: u64,
    },
    /// Roll back to the version that was accepted before the trial.
    Revert {
        ask: u64,
    },
}

#[derive(Debug)]
pub enum ControlRequest {
    Check(CheckRequest),
    Change(ChangeRequest),
}

impl ControlRequest {
    pub fn number(&self) -> u64 {
        match self {
            ControlRequest::Check(CheckRequest { ask, .. })
            | ControlRequest::Change(
                ChangeRequest::Serve(ServeRequest { ask, .. })
                | ChangeRequest::Accept { ask }
                | ChangeRequest::Revert { ask },
            ) => *ask,
        }
    }
}

/// Requests that wait: changes for the one in progress, and checks for the one in progress. Their
/// number is bounded.
#[derive(Debug, Default)]
pub struct ControlRequests {
    checks: VecDeque<CheckRequest>,
    changes: VecDeque<ChangeRequest>,
}

impl ControlRequests {
    /// Adds a request. Returns false if too many wait.
    pub fn push(&mut self, request: ControlRequest) -> bool {
        if self.checks.len() + self.changes.len() >= REQUESTS_MAX {
            return false;
        }
        match request {
            ControlRequest::Check(check) => self.checks.push_back(check),
            ControlRequest::Change(change) => self.changes.push_back(change),
        }
        true
    }

    /// Puts a request back that must wait for another change.
    pub fn put_back(&mut self, change: ChangeRequest) {
        self.changes.push_front(change);
    }

    pub fn next_check(&mut self) -> Option<CheckRequest> {
        self.checks.pop_front()
    }

    pub fn next_change(&mut self) -> Option<ChangeRequest> {
        self.changes.pop_front()
    }

    pub fn clear(&mut self) {
        *self = ControlRequests::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use part::memory;
    use std::sync::Arc;

    fn accept(ask: u64) -> ControlRequest {
        ControlRequest::Change(ChangeRequest::Accept { ask })
    }

    fn check(ask: u64) -> ControlRequest {
        let set = Arc::new(memory::create("test", b"files").expect("memory"));
        ControlRequest::Check(CheckRequest {
            ask,
            set,
            as_json: false,
        })
    }

    fn next_change(requests: &mut ControlRequests) -> Option<u64> {
        let next = requests.next_change();
        next.map(|change| ControlRequest::Change(change).number())
    }

    #[test]
    fn changes_keep_their_order_and_checks_overtake_them() {
        let mut requests = ControlRequests::default();
        assert!(requests.next_check().is_none() && requests.next_change().is_none());
        for request in [accept(1), check(2), accept(3)] {
            assert!(requests.push(request));
        }
        assert_eq!(requests.next_check().map(|check| check.ask), Some(2));
        assert!(requests.next_check().is_none());
        let first = requests.next_change().expect("a change");
        requests.put_back(first);
        assert_eq!(next_change(&mut requests), Some(1));
        assert_eq!(next_change(&mut requests), Some(3));
        assert_eq!(next_change(&mut requests), None);
    }

    #[test]
    fn number_of_requests_is_bounded() {
        let mut requests = ControlRequests::default();
        for ask in 0..REQUESTS_MAX as u64 {
            let request = if ask % 2 == 0 {
                accept(ask)
            } else {
                check(ask)
            };
            assert!(requests.push(request));
        }
        assert!(!requests.push(accept(1)) && !requests.push(check(1)));
        requests.clear();
        assert!(requests.push(check(1)));
        assert!(requests.next_change().is_none());
    }
}
