//! Processes that show where a request would go. The console asks for one: the supervisor starts it
//! for this one question, and gives it the version that is served and the console's connection. It
//! may ask the proxy what a command may ask. How it ends changes nothing else.

use part::Shared;
use part::channel::Received;
use part::role::{Message, Personality};
use part::spawn::{self, OWN_PROGRAM, ROUTE_ENTRY, StartFailure, Started};
use part::voice::Voice;
use rustix::event::PollFd;
use std::path::Path;
use std::time::{Duration, Instant};

/// The name of such a process as the receiver of a question.
pub const PART: &str = "route";

/// Such processes at one time.
pub const PROCESSES_MAX: usize = 2;
/// How long one may take.
const LIMIT: Duration = Duration::from_secs(6);
/// Messages of one that are read before others have their turn.
const MESSAGES_MAX: usize = 16;

/// One of them.
pub struct RouteProcess {
    process: Started,
    until: Instant,
    killed: bool,
}

impl RouteProcess {
    /// Starts one, and sends it its question with the descriptors.
    pub fn start(
        personality: Personality,
        question: &Message,
        descriptors: &[Shared],
    ) -> Result<RouteProcess, StartFailure> {
        let first = |process: &mut Started| process.send(question, descriptors);
        let process = spawn::start(Path::new(OWN_PROGRAM), ROUTE_ENTRY, personality, &[], first)?;
        Ok(RouteProcess {
            process,
            until: Instant::now() + LIMIT,
            killed: false,
        })
    }

    /// Its process id.
    pub fn number(&self) -> i32 {
        self.process.number()
    }

    /// What is to be watched.
    pub fn watched(&self) -> impl Iterator<Item = PollFd<'_>> {
        self.process.watched()
    }

    /// When it is ended.
    pub fn deadline(&self) -> Option<Instant> {
        (!self.killed).then_some(self.until)
    }

    fn kill(&mut self) {
        self.process.kill();
        self.killed = true;
    }

    /// What it asks; whether it lives.
    pub fn turn(&mut self, voice: &mut Voice, now: Instant) -> (Vec<Received>, bool) {
        // The end is looked for first: what it said before is all there then.
        let lives = self.process.ended().is_none();
        let asked = { 0..MESSAGES_MAX }.map_while(|_| self.process.hear(voice));
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

    /// Answers what it asked with this number.
    pub fn answer(&mut self, ask: u64, message: &Message, descriptors: &[Shared]) {
        let sent = (self.process.channel).send_numbered(ask, message, descriptors);
        if sent.is_err() {
            self.kill();
        }
    }

    /// Ends it at once.
    pub fn end(mut self) {
        self.process.end_now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bed::{bed, voice};

    #[test]
    fn what_it_asks_is_heard_and_one_that_takes_too_long_is_killed() {
        let (process, mut theirs) = bed();
        let mut route = RouteProcess {
            process,
            until: Instant::now() + LIMIT,
            killed: false,
        };
        theirs
            .channel
            .send_numbered(7, &Message::GiveVersion, &[])
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
