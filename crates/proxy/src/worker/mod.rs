//! One thread of the data plane: its copy of the newest configuration, its pool
//! of idle server connections, its reusable streams. Nothing of it is shared;
//! it lives as long as its thread, and so does the process. [`follow`] takes it
//! from one configuration to the next.

mod follow;

use crate::config::{Config, ProxyIndex};
use crate::listener::AcceptLoop;
use crate::runtime::{Runtime, STREAM_ID_BLOCK};
use crate::server_connection::Pools;
use crate::stream::{Endpoint, Session, Stream};
use reactor::{self, Instant};
use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

/// Streams kept for reuse on a thread.
const STREAMS_KEPT: usize = 1024;
/// Largest memory of messages of a stream that is kept for reuse, bytes.
const STREAM_BYTES_KEPT: usize = 8 * 1024;
/// A thread of the data plane.
pub struct Worker {
    /// What the process shares.
    pub runtime: &'static Runtime,
    thread: usize,
    config: RefCell<Arc<Config>>,
    generation: Cell<u64>,
    /// It takes no connections: there are fewer threads now than there were.
    resting: Cell<bool>,
    /// Idle connections to servers.
    pub pools: Pools,
    #[expect(clippy::vec_box, reason = "they come and go by their box")]
    streams: RefCell<Vec<Box<Stream>>>,
    /// What streams that are kept for reuse hold in place of their session, so
    /// that they keep neither it nor an old configuration alive.
    nobody: Rc<Session>,
    next_id: Cell<u64>,
    wall_clock: Cell<(Instant, SystemTime)>,
    sessions: Cell<usize>,
    accepting: RefCell<Vec<Rc<AcceptLoop>>>,
}

thread_local! {
    static WORKER: OnceCell<&'static Worker> = const { OnceCell::new() };
}

/// Makes this thread a worker.
pub fn begin(runtime: &'static Runtime, thread: usize) {
    let config = runtime.config();
    let worker: &'static Worker = Box::leak(Box::new(Worker {
        runtime,
        thread,
        generation: Cell::new(config.version),
        config: RefCell::new(config),
        resting: Cell::new(false),
        pools: Pools::default(),
        streams: RefCell::default(),
        nobody: nobody(),
        next_id: Cell::new(0),
        wall_clock: Cell::new((reactor::now(), SystemTime::now())),
        sessions: Cell::new(0),
        accepting: RefCell::default(),
    }));
    WORKER.with(|cell| {
        // A thread begins once; a second call changes nothing.
        let _ = cell.set(worker);
    });
    reactor::spawn(crate::server_connection::purge());
    reactor::spawn(follow::follow(worker));
    reactor::spawn(crate::vitals::beat(runtime, thread));
}

/// This thread's worker.
///
/// # Panics
/// On a thread that is none; only tasks of the data plane call this.
pub fn worker() -> &'static Worker {
    WORKER.with(|cell| {
        *cell
            .get()
            .expect("tasks of the data plane run on its threads")
    })
}

/// This thread's worker; None on a thread that is none.
pub fn running() -> Option<&'static Worker> {
    WORKER.with(|cell| cell.get().copied())
}

/// A session of no client, under a configuration that nobody else has.
fn nobody() -> Rc<Session> {
    Rc::new(Session::new(
        Arc::default(),
        (ProxyIndex(0), 0),
        Endpoint::Unix,
        Endpoint::Unix,
    ))
}

impl Worker {
    /// The number of its thread, from 0 on.
    pub fn thread(&self) -> usize {
        self.thread
    }

    /// Whether a configuration is the newest there is.
    pub fn is_newest(&self, config: &Config) -> bool {
        self.runtime.generation() == config.version
    }

    /// The newest configuration.
    pub fn config(&self) -> Arc<Config> {
        if self.runtime.generation() != self.generation.get() {
            let newest = self.runtime.config();
            self.generation.set(newest.version);
            *self.config.borrow_mut() = newest;
        }
        self.config.borrow().clone()
    }

    /// Whether it keeps nothing for later: it takes no connections any more.
    pub fn keeps_nothing(&self) -> bool {
        self.resting.get() || self.runtime.stopping()
    }

    /// `tune.pool-low-fd-ratio` of the newest configuration that this thread knows.
    pub fn pool_low_fd_ratio(&self) -> Option<u32> {
        self.config.borrow().global.tune.pool_low_fd_ratio
    }

    /// Whether threads take idle connections from each other.
    pub fn shares_idle(&self) -> bool {
        !self.config.borrow().global.tune.idle_not_shared
    }

    /// Milliseconds since the process began to serve, at this turn of the loop.
    pub fn now_ms(&self) -> u64 {
        let nanos = reactor::now().as_nanos()
            - self
                .runtime
                .started
                .as_nanos()
                .min(reactor::now().as_nanos());
        nanos / 1_000_000
    }

    /// The date, asked for once a turn of the loop.
    pub fn wall_clock(&self) -> SystemTime {
        let now = reactor::now();
        let (turn, date) = self.wall_clock.get();
        if turn == now {
            return date;
        }
        let date = SystemTime::now();
        self.wall_clock.set((now, date));
        date
    }

    /// The same as seconds since 1970.
    pub fn wall_s(&self) -> i64 {
        let since = self.wall_clock().duration_since(SystemTime::UNIX_EPOCH);
        since.map_or(0, |since| {
            i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
        })
    }

    /// A number for a stream that no other has.
    pub fn stream_id(&self) -> u64 {
        let mut id = self.next_id.get();
        if id.is_multiple_of(STREAM_ID_BLOCK) {
            id = self.runtime.stream_id_block();
        }
        self.next_id.set(id + 1);
        id
    }

    /// A stream that was used before, if there is one; its owner resets it.
    pub fn used_stream(&self) -> Option<Box<Stream>> {
        self.streams.borrow_mut().pop()
    }

    /// Gives a stream back for reuse. One of an older configuration, or one
    /// that holds much memory, is not kept.
    pub fn keep_stream(&self, mut stream: Box<Stream>) {
        stream.listed.end();
        let mut streams = self.streams.borrow_mut();
        if streams.len() < STREAMS_KEPT
            && Arc::ptr_eq(&stream.config, &self.config.borrow())
            && stream.request.memory() + stream.response.memory() <= STREAM_BYTES_KEPT
        {
            // Cleared when it is used again; only what others miss goes now.
            stream.session = Rc::clone(&self.nobody);
            streams.push(stream);
        }
    }

    /// A session began on this thread.
    pub fn session_began(&self) {
        self.sessions.set(self.sessions.get() + 1);
    }

    /// A session ended on this thread: an accept loop that waits for room looks again.
    pub fn session_ended(&self) {
        self.sessions.set(self.sessions.get() - 1);
        for accepting in self.accepting.borrow().iter() {
            accepting.wake_if_full();
        }
    }

    /// The time at this turn of the loop.
    pub fn now(&self) -> Instant {
        reactor::now()
    }
}
