//! Lists the active streams of a thread, for operators who show or end them.
//!
//! Each thread records its active streams in a slab. The slot of a stream belongs to its box,
//! which is reused for later streams, so that a request costs a few stores. A connection without
//! a stream is not recorded and costs nothing. Other threads query the list by a job on the
//! thread's event loop, which examines a bounded number of slots.

use super::{Endpoint, ProxyStream, Route, Session};
use crate::config::{ProxyIndex, ServerIndex};
use reactor::{self, Instant};
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::SystemTime;

#[derive(Debug)]
struct Note {
    /// Slot in the thread's slab.
    place: u32,
    /// Session of this entry; `None` while the entry waits for reuse.
    session: RefCell<Option<Rc<Session>>>,
    id: Cell<u64>,
    http: Cell<bool>,
    began: Cell<(Instant, SystemTime)>,
    backend: Cell<Option<ProxyIndex>>,
    server: Cell<Option<ServerIndex>>,
    killed: Cell<bool>,
}

/// Registration of a stream's box in the slab of its thread.
#[derive(Debug)]
pub struct Listed {
    note: Rc<Note>,
}

#[derive(Default)]
struct Slab {
    notes: RefCell<Vec<Option<Rc<Note>>>>,
    free: RefCell<Vec<u32>>,
    /// Number of streams that an operator ended and that are still running.
    killed: Cell<u32>,
}

thread_local! {
    static SLAB: Slab = Slab::default();
}

/// Slot of an unregistered stream.
pub const NOWHERE: u32 = u32::MAX;

impl Default for Listed {
    fn default() -> Self {
        let note = SLAB.try_with(|slab| {
            let mut notes = slab.notes.borrow_mut();
            if let Some(place) = slab.free.borrow_mut().pop() {
                let note = Rc::new(Note::at(place));
                notes[place as usize] = Some(Rc::clone(&note));
                return note;
            }
            let note = Rc::new(Note::at(notes.len() as u32));
            notes.push(Some(Rc::clone(&note)));
            note
        });
        Listed {
            note: note.unwrap_or_else(|_| Rc::new(Note::at(NOWHERE))),
        }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.end();
        // Does nothing if the slab is gone because the thread exits.
        let _ = SLAB.try_with(|slab| {
            if let Some(note) = slab.notes.borrow_mut().get_mut(self.place() as usize) {
                *note = None;
                slab.free.borrow_mut().push(self.place());
            }
        });
    }
}

impl Listed {
    /// Returns the slot for [`is_killed`].
    pub fn place(&self) -> u32 {
        self.note.place
    }

    pub fn note(&self, route: &Route) {
        self.note.backend.set(route.backend);
        self.note.server.set(route.server);
    }

    /// Marks the end of the stream; its box can be reused.
    pub fn end(&self) {
        let session = self.note.session.take();
        if self.note.killed.take() {
            let _ = SLAB.try_with(|slab| slab.killed.set(slab.killed.get().saturating_sub(1)));
        }
        drop(session);
    }
}

/// Makes the stream visible to operators, once it is a tunnel or has a request.
pub fn begin(stream: &ProxyStream) {
    let note = &stream.identity.listed.note;
    note.id.set(stream.identity.id);
    note.http.set(stream.http);
    note.began.set((stream.times.began, stream.times.began_at));
    note.backend.set(None);
    note.server.set(None);
    *note.session.borrow_mut() = Some(Rc::clone(&stream.session));
}

/// Returns whether an operator ended the stream in a slot of this thread.
pub fn is_killed(place: u32) -> bool {
    SLAB.with(|slab| {
        slab.killed.get() > 0
            && slab
                .notes
                .borrow()
                .get(place as usize)
                .is_some_and(|note| note.as_ref().is_some_and(|note| note.killed.get()))
    })
}

/// Runs a future. Returns None if an operator ends the stream before it completes.
pub async fn run_until_killed<F: Future>(place: u32, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|context| {
        if is_killed(place) {
            Poll::Ready(None)
        } else {
            future.as_mut().poll(context).map(Some)
        }
    })
    .await
}

/// Summary of a stream for operators.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamSummary {
    pub id: u64,
    /// True for an HTTP stream, false for a TCP stream.
    pub http: bool,
    /// Start time by the wall clock.
    pub began_at: SystemTime,
    /// Time since the start, milliseconds.
    pub age_ms: u64,
    pub source: Endpoint,
    /// Address that the client connected to.
    pub destination: Endpoint,
    /// Name and id of the frontend.
    pub frontend: (Box<str>, u32),
    pub listener: u32,
    /// Name and id of the backend, and whether its mode is HTTP; None until one is chosen.
    pub backend: Option<(Box<str>, u32, bool)>,
    /// Name, id and address of the server; None until one is chosen.
    pub server: Option<(Box<str>, u32, Box<str>)>,
    pub version: u64,
}

impl Note {
    fn at(place: u32) -> Note {
        Note {
            place,
            session: RefCell::default(),
            id: Cell::new(0),
            http: Cell::new(false),
            began: Cell::new((reactor::now(), SystemTime::UNIX_EPOCH)),
            backend: Cell::new(None),
            server: Cell::new(None),
            killed: Cell::new(false),
        }
    }

    fn summarize(&self) -> Option<StreamSummary> {
        let session = self.session.borrow();
        let session = session.as_ref()?;
        let config = &session.config;
        let frontend = session.frontend();
        let backend = self.backend.get().map(|index| config.proxy(index));
        let server = backend
            .zip(self.server.get())
            .and_then(|(backend, index)| backend.servers.get(index.0 as usize));
        let (began, began_at) = self.began.get();
        let rewritten = session.rewritten();
        Some(StreamSummary {
            id: self.id.get(),
            http: self.http.get(),
            began_at,
            age_ms: reactor::now().saturating_duration_since(began).as_millis() as u64,
            source: rewritten.0.unwrap_or(session.source),
            destination: rewritten.1.unwrap_or(session.destination),
            frontend: (frontend.name.clone(), frontend.id),
            listener: session.bind().id,
            backend: backend.map(|backend| {
                let http = backend.mode == crate::config::Mode::Http;
                (backend.name.clone(), backend.id, http)
            }),
            server: server
                .map(|server| (server.name.clone(), server.id, server.address_text.clone())),
            version: config.version,
        })
    }
}

/// Returns streams of this thread, from slot `from` on. Examines at most `look_max` slots. Also
/// returns the slot to continue with, if there are more.
pub fn list_streams(from: usize, look_max: usize) -> (Vec<StreamSummary>, Option<usize>) {
    SLAB.with(|slab| {
        let notes = slab.notes.borrow();
        let end = from.saturating_add(look_max).min(notes.len());
        let told = notes
            .get(from..end)
            .unwrap_or_default()
            .iter()
            .flatten()
            .filter_map(|note| note.summarize())
            .collect();
        (told, (end < notes.len()).then_some(end))
    })
}

/// Returns the number of streams of this thread whose clients connected to one of these addresses.
pub fn count_at(addresses: &[IpAddr]) -> u64 {
    SLAB.with(|slab| {
        let notes = slab.notes.borrow();
        let is_at = |note: &&Rc<Note>| {
            let session = note.session.borrow();
            let to = session
                .as_ref()
                .and_then(|session| session.destination.ip());
            to.is_some_and(|to| addresses.contains(&to))
        };
        notes.iter().flatten().filter(is_at).count() as u64
    })
}

/// Ends a stream of this thread. Returns false if there is no stream with this id. The stream
/// notices it at its next poll.
pub fn kill(id: u64) -> bool {
    SLAB.with(|slab| {
        let notes = slab.notes.borrow();
        let is = |note: &&Rc<Note>| note.id.get() == id && note.session.borrow().is_some();
        let Some(note) = notes.iter().flatten().find(is) else {
            return false;
        };
        if !note.killed.replace(true) {
            slab.killed.set(slab.killed.get() + 1);
        }
        true
    })
}
