//! Runs the load: all clients of one run on one thread, each with its own interval.
//!
//! Edge-triggered epoll, and a heap of the clients by due time. The rate is fixed, so two proxies
//! get the same load however fast they respond.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;

use super::client::{Client, Errand};
use super::echo::Echo;
use super::error::ChangesError;
use super::tally::{Held, Tally};
use super::turn::{Turn, addressee};

/// Maximum number of events that one wait returns.
const EVENTS_MAX: usize = 256;
const CLIENTS_MAX: usize = 4096;
/// Maximum time of a wait, so that a stop is noticed.
const SLEEP_MAX: Duration = Duration::from_millis(50);
/// Nice value of the clients' thread, if this process may set it: delays of the clients must not
/// look like those of the proxy.
const NICE: i32 = -10;

#[derive(Debug)]
pub enum Member {
    Http(Box<Client>),
    Echo(Box<Echo>),
}

impl Member {
    pub fn http(errand: Errand) -> Self {
        Self::Http(Box::new(Client::new(errand)))
    }

    /// Creates a client that keeps its connection open.
    pub fn echo(held: Held, port: u16, interval: Duration) -> Self {
        Self::Echo(Box::new(Echo::new(held, port, interval)))
    }

    fn interval(&self) -> Duration {
        match self {
            Self::Http(client) => client.interval(),
            Self::Echo(echo) => echo.interval(),
        }
    }

    fn tick(&mut self, due: Instant, turn: &mut Turn<'_>) {
        match self {
            Self::Http(client) => client.tick(due, turn),
            Self::Echo(echo) => echo.tick(turn),
        }
    }

    fn ready(&mut self, flags: EventFlags, turn: &mut Turn<'_>) {
        match self {
            Self::Http(client) => client.ready(flags, turn),
            Self::Echo(echo) => echo.ready(flags, turn),
        }
    }
}

#[derive(Debug, Default)]
struct Shared {
    tally: Mutex<Tally>,
    stop: AtomicBool,
    change: AtomicU64,
}

impl Shared {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The load while it runs; it ends when dropped.
#[derive(Debug)]
pub struct Crowd {
    shared: Arc<Shared>,
    begin: Instant,
    thread: Option<JoinHandle<Result<(), ChangesError>>>,
}

impl Crowd {
    pub fn start(members: Vec<Member>) -> Result<Self, ChangesError> {
        if members.len() > CLIENTS_MAX {
            return Err(ChangesError::TooManyClients { most: CLIENTS_MAX });
        }
        let shared = Arc::new(Shared::default());
        let begin = Instant::now();
        let mut work = Work::new(members, Arc::clone(&shared), begin)?;
        let thread = std::thread::Builder::new()
            .name("clients".to_owned())
            .spawn(move || {
                // Ignores a failure: without the privilege, the clients run with normal priority.
                let _ = rustix::process::setpriority_process(None, NICE);
                work.run()
            })
            .map_err(ChangesError::system("starting the clients"))?;
        Ok(Self {
            shared,
            begin,
            thread: Some(thread),
        })
    }

    pub fn elapsed(&self) -> Duration {
        self.begin.elapsed()
    }

    /// Returns the results so far.
    pub fn tally(&self) -> Tally {
        self.shared.tally().clone()
    }

    /// Returns the latencies since the last call in milliseconds.
    pub fn take_latencies_ms(&self) -> Vec<f64> {
        self.shared.tally().take_latencies_ms()
    }

    /// Sets the number of the change to which later failures belong.
    pub fn at_change(&self, number: u64) {
        self.shared.change.store(number, Ordering::Relaxed);
    }

    /// Ends the load and returns its results.
    pub fn stop(mut self) -> Result<Tally, ChangesError> {
        self.end()?;
        Ok(self.tally())
    }

    fn end(&mut self) -> Result<(), ChangesError> {
        self.shared.stop.store(true, Ordering::Relaxed);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(ChangesError::ClientsDied),
            None => Ok(()),
        }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        // A caller that needs the result calls `stop`.
        let _ = self.end();
    }
}

struct Work {
    members: Vec<(Member, u32)>,
    due: BinaryHeap<Reverse<(Instant, u32)>>,
    shared: Arc<Shared>,
    begin: Instant,
    epoll: OwnedFd,
}

impl Work {
    fn new(
        members: Vec<Member>,
        shared: Arc<Shared>,
        begin: Instant,
    ) -> Result<Self, ChangesError> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)
            .map_err(ChangesError::system("creating an epoll descriptor"))?;
        let count = members.len().max(1) as u32;
        // Distributes the clients over their intervals, so that their requests do not coincide.
        let due = members
            .iter()
            .zip(0..)
            .map(|(member, at)| Reverse((begin + member.interval() * at / count, at)))
            .collect();
        Ok(Self {
            members: members.into_iter().map(|member| (member, 0)).collect(),
            due,
            shared,
            begin,
            epoll,
        })
    }

    fn run(&mut self) -> Result<(), ChangesError> {
        let empty = epoll::Event {
            flags: EventFlags::empty(),
            data: EventData::new_u64(0),
        };
        let mut events = [empty; EVENTS_MAX];
        while !self.shared.stop.load(Ordering::Relaxed) {
            self.ticks();
            let count = match epoll::wait(&self.epoll, &mut events[..], Some(&self.sleep())) {
                Ok(count) => count,
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(ChangesError::system("waiting for events")(errno)),
            };
            for event in &events[..count] {
                let (client, generation) = addressee(event.data);
                let current = self.members.get(client as usize).map(|member| member.1);
                if current == Some(generation) {
                    let flags = event.flags;
                    self.turn(client, |member, turn| member.ready(flags, turn));
                }
            }
        }
        Ok(())
    }

    fn sleep(&self) -> Timespec {
        let next = self.due.peek().map(|Reverse((due, _))| *due);
        let left = next.map_or(SLEEP_MAX, |due| {
            due.saturating_duration_since(Instant::now()).min(SLEEP_MAX)
        });
        Timespec {
            tv_sec: 0,
            tv_nsec: i64::from(left.subsec_nanos()),
        }
    }

    fn ticks(&mut self) {
        // Limits the loop to one request of each client on average, so that events of sockets are
        // handled, too.
        for _ in 0..self.members.len() {
            let now = Instant::now();
            let Some(Reverse((due, client))) = self.due.peek().copied() else {
                return;
            };
            if due > now {
                return;
            }
            self.due.pop();
            self.turn(client, |member, turn| member.tick(due, turn));
            let interval = self
                .members
                .get(client as usize)
                .map_or(SLEEP_MAX, |member| member.0.interval());
            self.due.push(Reverse((due + interval, client)));
        }
    }

    fn turn(&mut self, client: u32, act: impl FnOnce(&mut Member, &mut Turn<'_>)) {
        let Some((member, generation)) = self.members.get_mut(client as usize) else {
            return;
        };
        let mut tally = self.shared.tally();
        let mut turn = Turn {
            now: Instant::now(),
            tally: &mut tally,
            begin: self.begin,
            change: self.shared.change.load(Ordering::Relaxed),
            epoll: &self.epoll,
            client,
            generation,
        };
        act(member, &mut turn);
    }
}
