//! Messages between parts that the supervisor forwards: requests that wait for a response, and
//! messages that hold until they are replaced.

use crate::route_process::RouteProcess;
use part::role::SupervisorMessage;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// Time for a role to respond.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// Maximum number of requests that wait for a response.
pub const WAITING_MAX: usize = 256;
/// Maximum number of messages that are stored for roles which start later.
pub const HELD_MAX: usize = 32;

/// The sender of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asks {
    /// A client of the control socket.
    Client(u64),
    /// A role, with its own number of the request.
    Role(&'static str, u64),
    /// A route process, by its process id, with its own number of the request.
    Route(i32, u64),
}

/// A request that waits for a response.
pub struct PendingRequest {
    pub number: u64,
    pub of: Asks,
    pub to: &'static str,
    /// Time at which the sender gets an error.
    pub until: Instant,
}

/// Requests in progress between parts, and messages that hold.
#[derive(Default)]
pub struct Between {
    last_number: u64,
    pub open: VecDeque<PendingRequest>,
    /// Stored messages by sending part, receiving part and kind.
    pub stored_messages: BTreeMap<(&'static str, &'static str, u16), SupervisorMessage>,
    /// Processes that show the route of a request.
    pub routes: Vec<RouteProcess>,
}

impl Between {
    /// Returns when the next request expires.
    pub fn deadline(&self) -> Option<Instant> {
        let question = self.open.front().map(|question| question.until);
        let routes = self.routes.iter().filter_map(RouteProcess::deadline);
        routes.chain(question).min()
    }

    /// Returns whether no request waits.
    pub fn is_quiet(&self) -> bool {
        self.open.is_empty()
    }

    pub fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    pub fn wait(&mut self, number: u64, of: Asks, to: &'static str) {
        self.open.push_back(PendingRequest {
            number,
            of,
            to,
            until: Instant::now() + ANSWER_LIMIT,
        });
    }

    /// Removes and returns the requests for which `is` is true.
    pub fn remove_requests(&mut self, is: impl Fn(&PendingRequest) -> bool) -> Vec<PendingRequest> {
        let all = std::mem::take(&mut self.open);
        let (taken, left) = all.into_iter().partition::<VecDeque<_>, _>(is);
        self.open = left;
        taken.into()
    }
}
