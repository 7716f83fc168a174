//! Defines one of the threads that serve clients, as streams and rules see it: its reference to the
//! newest configuration, its reusable streams, its clocks, and the shared state of the process
//! ([`ProcessState`]). Threads share only that state and the states to which configurations refer.
//! The data of a thread lives until the process exits.

mod process;

pub use process::lock;
pub use process::{ProcessState, ShutdownProgress};

use crate::config::{Config, ListenerIndex, ProxyIndex};
use crate::transaction::{Endpoint, ProxyStream, Session, Times, born};
use process::STREAM_ID_BLOCK;
use reactor::{self, Instant};
use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::SystemTime;

/// Maximum number of streams that a thread keeps for reuse.
const STREAMS_KEPT: usize = 1024;
/// Maximum memory of the messages of a stream that is kept for reuse, bytes.
const STREAM_BYTES_KEPT: usize = 8 * 1024;
/// A thread of the data plane.
pub struct Thread {
    pub process: &'static ProcessState,
    thread: usize,
    config: RefCell<Arc<Config>>,
    generation: Cell<u64>,
    /// The thread accepts no connections, because the configured number of threads was reduced.
    resting: Cell<bool>,
    #[expect(clippy::vec_box, reason = "they come and go by their box")]
    streams: RefCell<Vec<Box<ProxyStream>>>,
    /// Stand-in session for streams that are kept for reuse, so that they keep neither their last
    /// session nor its configuration in memory.
    nobody: Rc<Session>,
    next_id: Cell<u64>,
    wall_clock: Cell<(Instant, SystemTime)>,
    sessions: Cell<usize>,
    /// Wait slots of the thread's accept tasks.
    rooms: RefCell<Vec<Rc<Room>>>,
}

/// Slot in which an accept loop waits until the thread may have another session.
#[derive(Default)]
pub struct Room(Cell<Option<Waker>>);

impl Room {
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

/// Registers the current thread as a thread of the data plane.
pub fn begin(process: &'static ProcessState, thread: usize) -> &'static Thread {
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
        // Ignores a second call, because a thread is registered once.
        let _ = cell.set(begun);
    });
    begun
}

/// Returns the data of the current thread.
///
/// # Panics
/// On a thread that is not of the data plane; only tasks of the data plane call this.
pub fn current_thread_data() -> &'static Thread {
    THREAD.with(|cell| {
        *cell
            .get()
            .expect("tasks of the data plane run on its threads")
    })
}

/// Returns this thread; None on a thread outside the data plane.
pub fn running() -> Option<&'static Thread> {
    THREAD.with(|cell| cell.get().copied())
}

/// Creates a stream on a session, under the session's configuration: indices are only valid in one
/// configuration.
pub fn new_stream(session: Rc<Session>, http: bool) -> Box<ProxyStream> {
    let thread = current_thread_data();
    let times = Times::begin(reactor::now(), thread.wall_clock());
    if let Some(mut stream) = thread.used_stream() {
        born::renew(&mut stream, thread.stream_id(), session, http, times);
        return stream;
    }
    Box::new(born::blank(thread.stream_id(), session, http, times))
}

/// Creates a session without a client, with an empty configuration.
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
    /// Returns the index of the thread, from 0.
    pub fn thread(&self) -> usize {
        self.thread
    }

    pub fn is_newest(&self, config: &Config) -> bool {
        self.process.generation() == config.version
    }

    pub fn config(&self) -> Arc<Config> {
        if self.process.generation() != self.generation.get() {
            let newest = self.process.config();
            self.generation.set(newest.version);
            *self.config.borrow_mut() = newest;
        }
        self.config.borrow().clone()
    }

    /// Returns whether the thread keeps no idle connections, because it no longer accepts
    /// connections or the process is stopping.
    pub fn keeps_nothing(&self) -> bool {
        self.resting.get() || self.process.stopping()
    }

    /// Returns `tune.pool-low-fd-ratio` of the configuration that this thread last loaded.
    pub fn pool_low_fd_ratio(&self) -> Option<u32> {
        self.config.borrow().global.tune.pool_low_fd_ratio
    }

    pub fn shares_idle(&self) -> bool {
        !self.config.borrow().global.tune.idle_not_shared
    }

    /// Returns the milliseconds since the process began to serve, as of this loop iteration.
    pub fn now_ms(&self) -> u64 {
        let nanos = reactor::now().as_nanos()
            - self
                .process
                .started
                .as_nanos()
                .min(reactor::now().as_nanos());
        nanos / 1_000_000
    }

    /// Returns the wall-clock time, read once per loop iteration.
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

    /// Returns the wall-clock time in seconds since 1970.
    pub fn wall_s(&self) -> i64 {
        let since = self.wall_clock().duration_since(SystemTime::UNIX_EPOCH);
        since.map_or(0, |since| {
            i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
        })
    }

    /// Returns an id for a stream, unique in the process.
    pub fn stream_id(&self) -> u64 {
        let mut id = self.next_id.get();
        if id.is_multiple_of(STREAM_ID_BLOCK) {
            id = self.process.stream_id_block();
        }
        self.next_id.set(id + 1);
        id
    }

    /// Returns a stream for reuse, if there is one; the caller resets it.
    pub fn used_stream(&self) -> Option<Box<ProxyStream>> {
        self.streams.borrow_mut().pop()
    }

    /// Keeps a stream for reuse, unless the thread has `STREAMS_KEPT` already, the stream's
    /// configuration is older, or its messages hold much memory.
    pub fn keep_stream(&self, mut stream: Box<ProxyStream>) {
        stream.identity.listed.end();
        let mut streams = self.streams.borrow_mut();
        if streams.len() < STREAMS_KEPT
            && Arc::ptr_eq(&stream.config, &self.config.borrow())
            && stream.request.memory() + stream.response.memory() <= STREAM_BYTES_KEPT
        {
            // Releases the session at once, because others wait for its end. The rest of the stream
            // is cleared when it is reused.
            stream.session = Rc::clone(&self.nobody);
            streams.push(stream);
        }
    }

    pub fn session_began(&self) {
        self.sessions.set(self.sessions.get() + 1);
    }

    /// Counts a session that ended on this thread and wakes the accept loops.
    pub fn session_ended(&self) {
        self.sessions.set(self.sessions.get() - 1);
        for room in self.rooms.borrow().iter() {
            room.wake();
        }
    }

    pub fn sessions(&self) -> usize {
        self.sessions.get()
    }

    /// Adds the wait slot of another accept loop of this thread.
    pub fn add_room(&self) -> Rc<Room> {
        let room = Rc::<Room>::default();
        self.rooms.borrow_mut().push(Rc::clone(&room));
        room
    }

    pub fn remove_room(&self, room: &Rc<Room>) {
        let mut rooms = self.rooms.borrow_mut();
        if let Some(at) = rooms.iter().position(|other| Rc::ptr_eq(other, room)) {
            rooms.swap_remove(at);
        }
    }

    /// Returns whether the thread accepts no connections, because the number of threads was
    /// reduced.
    pub fn is_resting(&self) -> bool {
        self.resting.get()
    }

    pub fn apply_newest_config(&self) {
        // Switches to the newest configuration, for sessions that start from now on.
        self.config();
        self.resting.set(self.thread >= self.process.threads());
    }

    /// Takes the streams that are kept for reuse, to free them.
    pub fn take_streams(&self) -> Vec<Box<ProxyStream>> {
        self.streams.take()
    }

    pub fn now(&self) -> Instant {
        reactor::now()
    }
}
