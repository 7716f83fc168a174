//! Processes that show the route of a request. The console requests one; the supervisor starts it
//! for this request and sends it the version in service and the console's connection. The process
//! may send the proxy the requests that a command may send. The end of the process has no other
//! effect.

use part::SharedFd;
use part::channel::Received;
use part::role::{Personality, SupervisorMessage};
use part::spawn::{self, OWN_PROGRAM, ROUTE_ENTRY, StartFailure, Started};
use part::voice::MessagePrinter;
use rustix::event::PollFd;
use std::path::Path;
use std::time::{Duration, Instant};

pub const PART: &str = "route";

pub const PROCESSES_MAX: usize = 2;
const LIMIT: Duration = Duration::from_secs(6);
const MESSAGES_MAX: usize = 16;

pub struct RouteProcess {
    process: Started,
    until: Instant,
    killed: bool,
}

impl RouteProcess {
    /// Starts a process, and sends it the request with the descriptors.
    pub fn start(
        personality: Personality,
        question: &SupervisorMessage,
        descriptors: &[SharedFd],
    ) -> Result<RouteProcess, StartFailure> {
        let first = |process: &mut Started| process.send(question, descriptors);
        let process = spawn::start(Path::new(OWN_PROGRAM), ROUTE_ENTRY, personality, &[], first)?;
        Ok(RouteProcess {
            process,
            until: Instant::now() + LIMIT,
            killed: false,
        })
    }

    pub fn number(&self) -> i32 {
        self.process.number()
    }

    pub fn watched(&self) -> impl Iterator<Item = PollFd<'_>> {
        self.process.watched()
    }

    pub fn deadline(&self) -> Option<Instant> {
        (!self.killed).then_some(self.until)
    }

    fn kill(&mut self) {
        self.process.kill();
        self.killed = true;
    }

    /// Returns the requests of the process, and whether it is still running.
    pub fn turn(&mut self, voice: &mut MessagePrinter, now: Instant) -> (Vec<Received>, bool) {
        // The end is checked first: all earlier messages can be read then.
        let lives = self.process.process_exit().is_none();
        let asked = (0..MESSAGES_MAX).map_while(|_| self.process.receive_message(voice));
        let asked = asked.collect();
        if lives && !self.killed && now >= self.until {
            voice.warning(format_args!(
                "the process that shows where a request would go (process {}) took longer than {} s: it is killed",
                self.process.number(),
                LIMIT.as_secs()
            ));
            self.kill();
        }
        (asked, lives)
    }

    pub fn answer(&mut self, ask: u64, message: &SupervisorMessage, descriptors: &[SharedFd]) {
        let sent = (self.process.channel).send_numbered(ask, message, descriptors);
        if sent.is_err() {
            self.kill();
        }
    }

    pub fn end(mut self) {
        self.process.kill_and_wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bed::{bed, voice};

    #[test]
    fn slow_route_process_is_killed() {
        let (process, mut theirs) = bed();
        let mut route = RouteProcess {
            process,
            until: Instant::now() + LIMIT,
            killed: false,
        };
        theirs
            .channel
            .send_numbered(7, &SupervisorMessage::GiveVersion, &[])
            .expect("sent");
        let now = Instant::now();
        let (asked, lives) = route.turn(&mut voice(), now);
        assert!(lives && !route.killed && route.deadline().is_some());
        assert_eq!(asked.iter().map(|one| one.ask).collect::<Vec<_>>(), [7]);
        let (_, lives) = route.turn(&mut voice(), route.until);
        assert!(lives && route.killed);
        assert_eq!(route.deadline(), None);
        while route.turn(&mut voice(), now).1 {
            std::thread::yield_now();
        }
    }
}
