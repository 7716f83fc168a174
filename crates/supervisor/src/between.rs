//! What parts say to each other, as the supervisor passes it on: the questions that wait for
//! an answer, and the messages that hold until further notice.

use crate::route_process::RouteProcess;
use part::role::Message;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// How long a role may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// Questions that wait at one time.
pub const WAITING_MAX: usize = 256;
/// Messages that are told again to roles which begin later.
pub const HELD_MAX: usize = 32;

/// Who asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asks {
    /// A client of the control socket.
    Client(u64),
    /// A role, with its own number of the question.
    Role(&'static str, u64),
    /// A process that shows where a request would go, by its number, with its own number of the
    /// question.
    Route(i32, u64),
}

/// Somebody who waits for an answer.
pub struct Question {
    pub number: u64,
    pub of: Asks,
    pub to: &'static str,
    /// When it is told that there is none.
    pub until: Instant,
}

/// What is in progress between parts, and what holds.
#[derive(Default)]
pub struct Between {
    asked: u64,
    pub open: VecDeque<Question>,
    /// By the part that says it, the part that it is for, and its kind.
    pub held: BTreeMap<(&'static str, &'static str, u16), Message>,
    /// Processes that show where a request would go.
    pub routes: Vec<RouteProcess>,
}

impl Between {
    /// When somebody is told that there is no answer.
    pub fn deadline(&self) -> Option<Instant> {
        let question = self.open.front().map(|question| question.until);
        let routes = self.routes.iter().filter_map(RouteProcess::deadline);
        routes.chain(question).min()
    }

    /// Whether nobody waits.
    pub fn is_quiet(&self) -> bool {
        self.open.is_empty()
    }

    pub fn next_number(&mut self) -> u64 {
        self.asked += 1;
        self.asked
    }

    pub fn wait(&mut self, number: u64, of: Asks, to: &'static str) {
        self.open.push_back(Question {
            number,
            of,
            to,
            until: Instant::now() + ANSWER_LIMIT,
        });
    }

    /// Those of which this is so wait no longer.
    pub fn take(&mut self, is: impl Fn(&Question) -> bool) -> Vec<Question> {
        let all = std::mem::take(&mut self.open);
        let (taken, left) = all.into_iter().partition::<VecDeque<_>, _>(is);
        self.open = left;
        taken.into()
    }
}
