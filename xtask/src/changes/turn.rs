//! Provides the context of a client's turn: the time, the counters, and the epoll instance for its
//! socket.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;

use super::tally::{Example, Tally};

#[derive(Debug)]
pub struct Turn<'a> {
    pub now: Instant,
    pub tally: &'a mut Tally,
    pub begin: Instant,
    /// Number of the last requested change.
    pub change: u64,
    pub epoll: &'a OwnedFd,
    pub client: u32,
    /// Number of this client's socket; events of older ones are stale.
    pub generation: &'a mut u32,
}

impl Turn<'_> {
    pub fn at(&self) -> Duration {
        self.now.saturating_duration_since(self.begin)
    }

    /// Describes a failure that happens in this turn.
    pub fn example(&self, what: String) -> Example {
        Example {
            at: self.at(),
            change: self.change,
            what,
            times: 1,
        }
    }

    /// Watches a new socket of this client, edge-triggered.
    pub fn watch(&mut self, socket: impl AsFd) -> Result<(), Errno> {
        *self.generation = self.generation.wrapping_add(1);
        let interest = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        let data = token(self.client, *self.generation);
        epoll::add(self.epoll, socket, data, interest)
    }
}

fn token(client: u32, generation: u32) -> EventData {
    EventData::new_u64(u64::from(client) << 32 | u64::from(generation))
}

/// Returns the client and the generation to which an event belongs.
pub fn addressee(data: EventData) -> (u32, u32) {
    let token = data.u64();
    ((token >> 32) as u32, token as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_tells_its_client_and_its_generation() {
        assert_eq!(addressee(token(7, u32::MAX)), (7, u32::MAX));
        assert_eq!(addressee(token(u32::MAX, 0)), (u32::MAX, 0));
    }
}
