//! Runs the processes that show the route of a request. The console requests one; the supervisor
//! starts it for this request and sends it the version in service and the console's connection. The
//! process may send the proxy the requests that a command may send. A process that takes longer
//! than 6 s is killed. Its end affects no other process.

use part::SharedFd;
use part::channel::Received;
use part::role::{Personality, SupervisorMessage};
use part::spawn::{self, OWN_PROGRAM, ROUTE_ENTRY, StartFailure, Started};
use part::voice::MessagePrinter;
use rustix::event::PollFd;
use std::path::Path;
use std::time::{Duration, Instant};

pub const PART: &str = "route";

const PROCESSES_MAX: usize = 2;
const LIMIT: Duration = Duration::from_secs(6);
const MESSAGES_MAX: usize = 16;

struct RouteProcess {
    process: Started,
    until: Instant,
    killed: bool,
}

impl RouteProcess {
    /// Starts a process, and sends it the request with the descriptors.
    fn start(
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

    fn number(&self) -> i32 {
        self.process.number()
    }

    fn deadline(&self) -> Option<Instant> {
        (!self.killed).then_some(self.until)
    }

    fn kill(&mut self) {
        self.process.kill();
        self.killed = true;
    }

    /// Returns the requests of the process, and whether it is still running.
    fn turn(&mut self, voice: &mut MessagePrinter, now: Instant) -> (Vec<Received>, bool) {
        // The end is checked first, so that messages sent before the end are still read.
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

    fn answer(&mut self, ask: u64, message: &SupervisorMessage, descriptors: &[SharedFd]) {
        let sent = (self.process.channel).send_numbered(ask, message, descriptors);
        if sent.is_err() {
            self.kill();
        }
    }
}

/// Running processes that show the route of a request; their number is bounded.
#[derive(Default)]
pub struct RouteProcesses(Vec<RouteProcess>);

/// The requests and ends of the processes in a turn of the main loop.
#[derive(Default)]
pub struct RouteEvents {
    /// Requests that the processes have sent, each with the number of its process.
    pub requests: Vec<(i32, Received)>,
    /// Numbers of the processes that have ended.
    pub ended: Vec<i32>,
}

impl RouteProcesses {
    pub fn has_room(&self) -> bool {
        self.0.len() < PROCESSES_MAX
    }

    /// Starts a process, and sends it the request with the descriptors.
    pub fn start(
        &mut self,
        personality: Personality,
        question: &SupervisorMessage,
        descriptors: &[SharedFd],
    ) -> Result<(), StartFailure> {
        let route = RouteProcess::start(personality, question, descriptors)?;
        self.0.push(route);
        Ok(())
    }

    pub fn poll(&mut self, voice: &mut MessagePrinter, now: Instant) -> RouteEvents {
        let mut events = RouteEvents::default();
        self.0.retain_mut(|route| {
            let number = route.number();
            let (requests, lives) = route.turn(voice, now);
            let requests = requests.into_iter().map(|one| (number, one));
            events.requests.extend(requests);
            if !lives {
                events.ended.push(number);
            }
            lives
        });
        events
    }

    /// Sends a process the response to its request, unless the process has ended.
    pub fn answer(
        &mut self,
        number: i32,
        ask: u64,
        message: &SupervisorMessage,
        descriptors: &[SharedFd],
    ) {
        let mut routes = self.0.iter_mut();
        if let Some(route) = routes.find(|route| route.number() == number) {
            route.answer(ask, message, descriptors);
        }
    }

    pub fn end(&mut self) {
        for mut route in self.0.drain(..) {
            route.process.kill_and_wait();
        }
    }

    pub fn watched(&self) -> impl Iterator<Item = PollFd<'_>> {
        self.0.iter().flat_map(|route| route.process.watched())
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.0.iter().filter_map(RouteProcess::deadline).min()
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

    #[test]
    fn requests_before_the_end_of_a_process_are_read() {
        let mut routes = RouteProcesses::default();
        assert!(routes.has_room() && routes.deadline().is_none());
        let (process, mut theirs) = bed();
        let number = process.number();
        routes.0.push(RouteProcess {
            process,
            until: Instant::now() + LIMIT,
            killed: false,
        });
        let answer = SupervisorMessage::Answer { bytes: Vec::new() };
        routes.answer(number + 1, 7, &answer, &[]);
        routes.answer(number, 7, &answer, &[]);
        let received = theirs.channel.wait(None).expect("a response");
        assert_eq!((received.ask, received.message), (7, answer));
        let request = SupervisorMessage::GiveVersion;
        (theirs.channel)
            .send_numbered(8, &request, &[])
            .expect("sent");
        theirs.child.kill().expect("a signal");
        let mut requests = 0;
        let ended = loop {
            let events = routes.poll(&mut voice(), Instant::now());
            requests += events.requests.len();
            if !events.ended.is_empty() {
                break events.ended;
            }
            std::thread::yield_now();
        };
        assert_eq!((requests, ended), (1, vec![number]));
        assert!(routes.poll(&mut voice(), Instant::now()).ended.is_empty());
    }
}
