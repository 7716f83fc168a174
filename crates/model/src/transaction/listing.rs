//! Which streams a thread has, for operators: who lists them and who ends one.
//!
//! A thread notes each stream that it has in use in a slab of its own. A stream's
//! place there belongs to its box, which is used again for later streams, so a
//! request pays a few stores; a connection without a stream is not noted, and
//! holds nothing for it. Others ask by a job on the thread's loop, which looks at
//! no more than a bounded number of places.

use super::{Endpoint, Route, Session, Stream};
use crate::config::{ProxyIndex, ServerIndex};
use reactor::{self, Instant};
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::SystemTime;

/// What is noted of a stream.
#[derive(Debug)]
struct Note {
    /// Where it stands in its thread's slab.
    place: u32,
    /// None while the box waits to be used again.
    session: RefCell<Option<Rc<Session>>>,
    id: Cell<u64>,
    http: Cell<bool>,
    began: Cell<(Instant, SystemTime)>,
    backend: Cell<Option<ProxyIndex>>,
    server: Cell<Option<ServerIndex>>,
    killed: Cell<bool>,
}

/// The place of a stream's box among those of its thread.
#[derive(Debug)]
pub struct Listed {
    note: Rc<Note>,
}

#[derive(Default)]
struct Slab {
    notes: RefCell<Vec<Option<Rc<Note>>>>,
    free: RefCell<Vec<u32>>,
    /// Streams that an operator ended and that are not over yet.
    killed: Cell<u32>,
}

thread_local! {
    static SLAB: Slab = Slab::default();
}

/// A slot that no stream is known for.
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
        // At the end of the thread there may be no slab any more.
        let _ = SLAB.try_with(|slab| {
            if let Some(note) = slab.notes.borrow_mut().get_mut(self.place() as usize) {
                *note = None;
                slab.free.borrow_mut().push(self.place());
            }
        });
    }
}

impl Listed {
    /// Where it stands, for [`is_killed`].
    pub fn place(&self) -> u32 {
        self.note.place
    }

    /// The stream has a backend, or a server, or others than before.
    pub fn note(&self, route: &Route) {
        self.note.backend.set(route.backend);
        self.note.server.set(route.server);
    }

    /// The stream is over: its box is nobody's.
    pub fn end(&self) {
        let session = self.note.session.take();
        if self.note.killed.take() {
            let _ = SLAB.try_with(|slab| slab.killed.set(slab.killed.get().saturating_sub(1)));
        }
        drop(session);
    }
}

/// The stream can be seen from now on: it is a tunnel, or a request has come.
pub fn begin(stream: &Stream) {
    let note = &stream.identity.listed.note;
    note.id.set(stream.identity.id);
    note.http.set(stream.http);
    note.began.set((stream.times.began, stream.times.began_at));
    note.backend.set(None);
    note.server.set(None);
    *note.session.borrow_mut() = Some(Rc::clone(&stream.session));
}

/// Whether an operator ended the stream at a place of this thread.
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

/// Runs a future; None when an operator ends the stream before it is done.
pub async fn unless_killed<F: Future>(place: u32, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|context| match is_killed(place) {
        true => Poll::Ready(None),
        false => future.as_mut().poll(context).map(Some),
    })
    .await
}

/// One stream, as it is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamSummary {
    /// Its number.
    pub id: u64,
    /// HTTP, else TCP.
    pub http: bool,
    /// When it began.
    pub began_at: SystemTime,
    /// How long ago, milliseconds.
    pub age_ms: u64,
    /// The client.
    pub source: Endpoint,
    /// What it connected to.
    pub destination: Endpoint,
    /// Name and number of the frontend.
    pub frontend: (Box<str>, u32),
    /// The number of the listener.
    pub listener: u32,
    /// Name, number and whether it is HTTP, once chosen.
    pub backend: Option<(Box<str>, u32, bool)>,
    /// Name, number and address, once chosen.
    pub server: Option<(Box<str>, u32, Box<str>)>,
    /// The version of the configuration that it runs under.
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

    fn tell(&self) -> Option<StreamSummary> {
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

/// Streams of this thread, from a place on: at most `look_max` places are looked
/// at. Also says where to go on, if there are more.
pub fn tell(from: usize, look_max: usize) -> (Vec<StreamSummary>, Option<usize>) {
    SLAB.with(|slab| {
        let notes = slab.notes.borrow();
        let end = from.saturating_add(look_max).min(notes.len());
        let told = notes
            .get(from..end)
            .unwrap_or_default()
            .iter()
            .flatten()
            .filter_map(|note| note.tell())
            .collect();
        (told, (end < notes.len()).then_some(end))
    })
}

/// How many streams of this thread have clients that connected to one of these addresses.
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

/// Ends a stream of this thread; false when it has none of that number. The
/// stream sees it at its next poll.
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
