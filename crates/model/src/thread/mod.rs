//! One thread of the data plane, as streams and rules know it: its copy of the newest
//! configuration, its reusable streams, its clocks, and what the process shares
//! ([`Process`]). Nothing else of it is shared; it lives as long as its thread, and so does
//! the process.

mod process;

pub use process::lock;
pub use process::{Ending, Process};

use crate::config::{Config, ListenerIndex, ProxyIndex};
use crate::transaction::{Endpoint, Session, Stream, Times, born};
use process::STREAM_ID_BLOCK;
use reactor::{self, Instant};
use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::SystemTime;

/// Streams kept for reuse on a thread.
const STREAMS_KEPT: usize = 1024;
/// Largest memory of messages of a stream that is kept for reuse, bytes.
const STREAM_BYTES_KEPT: usize = 8 * 1024;
/// A thread of the data plane.
pub struct Thread {
    /// What the process shares.
    pub process: &'static Process,
    thread: usize,
    config: RefCell<Arc<Config>>,
    generation: Cell<u64>,
    /// It takes no connections: there are fewer threads now than there were.
    resting: Cell<bool>,
    #[expect(clippy::vec_box, reason = "they come and go by their box")]
    streams: RefCell<Vec<Box<Stream>>>,
    /// What streams that are kept for reuse hold in place of their session, so
    /// that they keep neither it nor an old configuration alive.
    nobody: Rc<Session>,
    next_id: Cell<u64>,
    wall_clock: Cell<(Instant, SystemTime)>,
    sessions: Cell<usize>,
    /// Where its accept loops wait.
    rooms: RefCell<Vec<Rc<Room>>>,
}

/// Where an accept loop waits until there is room for another session.
#[derive(Default)]
pub struct Room(Cell<Option<Waker>>);

impl Room {
    /// Wakes `waker` when a session ends.
    pub fn wait(&self, waker: &Waker) {
        self.0.set(Some(waker.clone()));
    }

    fn wake(&self) {
        if let Some(waker) = self.0.take() {
            waker.wake();
        }
    }
}

thread_local! {
    static THREAD: OnceCell<&'static Thread> = const { OnceCell::new() };
}

/// Makes this thread one of the data plane.
pub fn begin(process: &'static Process, thread: usize) -> &'static Thread {
    let config = process.config();
    let begun: &'static Thread = Box::leak(Box::new(Thread {
        process,
        thread,
        generation: Cell::new(config.version),
        config: RefCell::new(config),
        resting: Cell::new(false),
        streams: RefCell::default(),
        nobody: nobody(),
        next_id: Cell::new(0),
        wall_clock: Cell::new((reactor::now(), SystemTime::now())),
        sessions: Cell::new(0),
        rooms: RefCell::default(),
    }));
    THREAD.with(|cell| {
        // A thread begins once; a second call changes nothing.
        let _ = cell.set(begun);
    });
    begun
}

/// This thread.
///
/// # Panics
/// On a thread that is not of the data plane; only tasks of the data plane call this.
pub fn here() -> &'static Thread {
    THREAD.with(|cell| {
        *cell
            .get()
            .expect("tasks of the data plane run on its threads")
    })
}

/// This thread; None on one that is not of the data plane.
pub fn running() -> Option<&'static Thread> {
    THREAD.with(|cell| cell.get().copied())
}

/// A stream that begins now on a session, under its configuration: a place in
/// one tree says nothing in another.
pub fn new_stream(session: Rc<Session>, http: bool) -> Box<Stream> {
    let thread = here();
    let times = Times::begin(reactor::now(), thread.wall_clock());
    if let Some(mut stream) = thread.used_stream() {
        born::renew(&mut stream, thread.stream_id(), session, http, times);
        return stream;
    }
    Box::new(born::blank(thread.stream_id(), session, http, times))
}

/// A session of no client, under a configuration that nobody else has.
fn nobody() -> Rc<Session> {
    Rc::new(Session::new(
        Arc::default(),
        ListenerIndex {
            frontend: ProxyIndex(0),
            bind: 0,
        },
        Endpoint::Unix,
        Endpoint::Unix,
    ))
}

impl Thread {
    /// The number of its thread, from 0 on.
    pub fn thread(&self) -> usize {
        self.thread
    }

    /// Whether a configuration is the newest there is.
    pub fn is_newest(&self, config: &Config) -> bool {
        self.process.generation() == config.version
    }

    /// The newest configuration.
    pub fn config(&self) -> Arc<Config> {
        if self.process.generation() != self.generation.get() {
            let newest = self.process.config();
            self.generation.set(newest.version);
            *self.config.borrow_mut() = newest;
        }
        self.config.borrow().clone()
    }

    /// Whether it keeps nothing for later: it takes no connections any more.
    pub fn keeps_nothing(&self) -> bool {
        self.resting.get() || self.process.stopping()
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
                .process
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
            id = self.process.stream_id_block();
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
        stream.identity.listed.end();
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
        for room in self.rooms.borrow().iter() {
            room.wake();
        }
    }

    /// Sessions of this thread.
    pub fn sessions(&self) -> usize {
        self.sessions.get()
    }

    /// Another accept loop of this thread: where it waits for room.
    pub fn add_room(&self) -> Rc<Room> {
        let room = Rc::<Room>::default();
        self.rooms.borrow_mut().push(Rc::clone(&room));
        room
    }

    /// An accept loop is no more.
    pub fn remove_room(&self, room: &Rc<Room>) {
        let mut rooms = self.rooms.borrow_mut();
        if let Some(at) = rooms.iter().position(|other| Rc::ptr_eq(other, room)) {
            rooms.swap_remove(at);
        }
    }

    /// Whether it takes no connections: there are fewer threads now than there were.
    pub fn is_resting(&self) -> bool {
        self.resting.get()
    }

    /// Takes over what the newest configuration says of it.
    pub fn go_over(&self) {
        // Sessions that ask from now on get it.
        self.config();
        self.resting.set(self.thread >= self.process.threads());
    }

    /// The streams that are kept for reuse, which are to be freed.
    pub fn take_streams(&self) -> Vec<Box<Stream>> {
        self.streams.take()
    }

    /// The time at this turn of the loop.
    pub fn now(&self) -> Instant {
        reactor::now()
    }
}
