//! What others tell the thread of a volume, and what it tells the role: queues with a
//! descriptor that is readable when something is in them.

use crate::config::WithoutMajority;
use crate::link::dial::Receiver;
use crate::link::greeting::{Facts, Greeting};
use crate::replica::Order;
use ::wire::Wire;
use part::lock;
use part::role::{KnownLease, VolumeUse};
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Mutex;

/// Letters that wait. Beyond that the newest are dropped, which all come again: a lease at its
/// renewal, a connection at the next attempt.
const LETTERS_MAX: usize = 64;

/// Something for the thread of a volume.
#[derive(Debug)]
pub enum Letter {
    /// The other node is connected.
    Connected(Wire, Greeting),
    /// It is not, and why.
    NotConnected(String),
    /// What the cluster knows of its lease has changed ([`Mailbox::lease`]).
    Lease,
    /// What an operator, or the cluster, wants.
    Order(Order),
    /// What uses it on this node has changed ([`Mailbox::used`]).
    Use,
    /// Only clients of this node may write; empty: those of both.
    Admit(String),
    /// An operator says that the volume is what this copy has.
    Adopt,
    /// An operator gives this copy up.
    Discard,
    /// A snapshot was taken (and whether there is one) or removed, or why not.
    Kept(Keep, Result<bool, String>),
    /// The size that the file says, bytes.
    Size(u64),
    /// Bytes a second of a resync, as the file says.
    ResyncRate(u64),
    /// What the file says of requests that no node may serve.
    WithoutMajority(WithoutMajority),
    /// The backing was prepared for more, or why not.
    Prepared(Range<u64>, Result<(), String>),
}

/// What is done with the snapshot from before a resync.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keep {
    /// It is taken, if there is none.
    Take,
    /// It is removed.
    Remove,
}

/// Something for the role.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wish {
    /// A snapshot is to be taken or removed; [`Letter::Kept`] says what became of it.
    Keep(Keep),
    /// How much this node should have the lease; zero: not at all.
    Rank(u32),
    /// The record of the lease, to be written in this epoch.
    Record {
        /// The epoch.
        epoch: u64,
        /// Higher than the one before it.
        number: u64,
        /// The record.
        value: Vec<u8>,
    },
}

/// A queue.
#[derive(Debug)]
pub struct Queue<T> {
    items: Mutex<Vec<T>>,
    event: OwnedFd,
}

impl<T> Queue<T> {
    /// An empty queue.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn new() -> Result<Queue<T>, Errno> {
        Ok(Queue {
            items: Mutex::default(),
            event: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        })
    }

    /// Puts something in that comes once.
    pub fn put_once(&self, item: T) {
        lock(&self.items).push(item);
        self.wake();
    }

    /// Puts something in.
    pub fn put(&self, item: T) {
        let mut items = lock(&self.items);
        if items.len() < LETTERS_MAX {
            items.push(item);
        }
        drop(items);
        self.wake();
    }

    /// Makes it readable.
    pub fn wake(&self) {
        // It fails only where it is readable already.
        let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
    }

    /// Takes everything out.
    pub fn take(&self) -> Vec<T> {
        let _ = rustix::io::read(&self.event, &mut [0; 8]);
        std::mem::take(&mut *lock(&self.items))
    }
}

impl<T> AsFd for Queue<T> {
    /// Readable when something is in it.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

/// Where a volume is told what happens, with what it says to the other node first.
#[derive(Debug)]
pub struct Mailbox {
    letters: Queue<Letter>,
    greeting: Mutex<Greeting>,
    lease: Mutex<Option<Option<KnownLease>>>,
    used: Mutex<Option<VolumeUse>>,
}

impl Mailbox {
    /// Without a letter.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn new(greeting: Greeting) -> Result<Mailbox, Errno> {
        Ok(Mailbox {
            letters: Queue::new()?,
            greeting: Mutex::new(greeting),
            lease: Mutex::default(),
            used: Mutex::default(),
        })
    }

    /// The letters.
    pub fn letters(&self) -> &Queue<Letter> {
        &self.letters
    }

    /// The cluster tells what it knows of the lease; None if it knows none.
    pub fn set_lease(&self, lease: Option<KnownLease>) {
        *lock(&self.lease) = Some(lease);
        self.letters.put(Letter::Lease);
    }

    /// What it told last; None if nothing yet.
    pub fn lease(&self) -> Option<Option<KnownLease>> {
        lock(&self.lease).clone()
    }

    /// How it is used on this node from now on, if it is.
    pub fn set_use(&self, used: Option<VolumeUse>) {
        *lock(&self.used) = used;
        self.letters.put_once(Letter::Use);
    }

    /// How it is used on this node, if it is.
    pub fn used(&self) -> Option<VolumeUse> {
        *lock(&self.used)
    }

    /// What the copy is from now on.
    pub fn set_facts(&self, facts: Facts) {
        lock(&self.greeting).facts = facts;
    }
}

impl Receiver for Mailbox {
    fn greeting(&self) -> Greeting {
        lock(&self.greeting).clone()
    }

    fn connected(&self, wire: Wire, theirs: Greeting) {
        self.letters.put(Letter::Connected(wire, theirs));
    }

    fn not_connected(&self, why: String) {
        self.letters.put(Letter::NotConnected(why));
    }
}
