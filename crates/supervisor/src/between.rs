//! Messages between parts that the supervisor forwards: requests that wait for a response, and
//! messages that hold until they are replaced.

use crate::route_process::RouteProcess;
use part::role::SupervisorMessage;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

const ANSWER_LIMIT: Duration = Duration::from_secs(5);
pub const WAITING_MAX: usize = 256;
/// Maximum number of messages that are stored for roles which start later.
pub const HELD_MAX: usize = 32;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asks {
    Client(u64),
    Role(&'static str, u64),
    Route(i32, u64),
}

/// A request that waits for a response.
pub struct PendingRequest {
    pub number: u64,
    pub of: Asks,
    pub to: &'static str,
    pub until: Instant,
}

/// Requests in progress between parts, and messages that hold.
#[derive(Default)]
pub struct Between {
    last_number: u64,
    pub open: VecDeque<PendingRequest>,
    pub stored_messages: BTreeMap<(&'static str, &'static str, u16), SupervisorMessage>,
    /// Processes that show the route of a request.
    pub routes: Vec<RouteProcess>,
}

impl Between {
    pub fn deadline(&self) -> Option<Instant> {
        let question = self.open.front().map(|question| question.until);
        let routes = self.routes.iter().filter_map(RouteProcess::deadline);
        routes.chain(question).min()
    }

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

    pub fn remove_requests(&mut self, is: impl Fn(&PendingRequest) -> bool) -> Vec<PendingRequest> {
        let all = std::mem::take(&mut self.open);
        let (taken, left) = all.into_iter().partition::<VecDeque<_>, _>(is);
        self.open = left;
        taken.into()
    }
}
