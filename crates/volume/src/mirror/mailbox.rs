//! Passes messages between a volume's thread, the role and other threads. The descriptor of a queue
//! is readable while the queue has items.

use crate::config::WithoutMajority;
use crate::link::dial::Receiver;
use crate::link::greeting::{Greeting, ReplicaProperties};
use crate::overwrite::MarkChange;
use crate::replica::ReplicaOrder;
use ::wire::NodeConnection;
use part::lock;
use part::role::{KnownLease, VolumeUse};
use part::wake::WakeEvent;
use rustix::io::Errno;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Mutex;

/// Limit of queued messages. Above it new messages are dropped: their senders repeat all of them,
/// such as a lease at its renewal or a connection at the next attempt.
const LETTERS_MAX: usize = 64;

/// Message to a volume's thread.
#[derive(Debug)]
pub enum MailboxMessage {
    Connected(NodeConnection, Greeting),
    NotConnected(String),
    /// The cluster's knowledge of the lease has changed ([`Mailbox::lease`]).
    Lease,
    Order(ReplicaOrder),
    /// The use of the volume on this node has changed ([`Mailbox::used`]).
    Use,
    /// Lets only clients of this node write; empty: clients of both nodes.
    Admit(String),
    Mark(MarkChange),
    Adopt,
    Discard,
    /// Result of taking the snapshot (whether one exists now), or of removing it.
    Kept(SnapshotAction, Result<bool, String>),
    /// Configured size, bytes.
    Size(u64),
    /// Configured resync rate, bytes per second.
    ResyncRate(u64),
    WithoutMajority(WithoutMajority),
    Prepared(Range<u64>, Result<(), String>),
}

/// Order about the snapshot that is taken before a resync.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SnapshotAction {
    Take,
    Remove,
}

/// Request from a volume's thread to the role.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ClusterRequest {
    Keep(SnapshotAction),
    /// Lease rank of this node; zero if this node does not want the lease.
    Rank(u32),
    Record {
        epoch: u64,
        number: u64,
        value: Vec<u8>,
    },
}

/// Queue with a descriptor for poll.
#[derive(Debug)]
pub struct Queue<T> {
    items: Mutex<Vec<T>>,
    event: WakeEvent,
}

impl<T> Queue<T> {
    /// Creates an empty queue.
    ///
    /// # Errors
    /// No file descriptor is available.
    pub fn new() -> Result<Queue<T>, Errno> {
        Ok(Queue {
            items: Mutex::default(),
            event: WakeEvent::new()?,
        })
    }

    /// Adds an item even beyond the limit, because its sender does not repeat it.
    pub fn put_once(&self, item: T) {
        lock(&self.items).push(item);
        self.wake();
    }

    pub fn put(&self, item: T) {
        let mut items = lock(&self.items);
        if items.len() < LETTERS_MAX {
            items.push(item);
        }
        drop(items);
        self.wake();
    }

    pub fn wake(&self) {
        self.event.wake();
    }

    pub fn take(&self) -> Vec<T> {
        self.event.reset();
        std::mem::take(&mut *lock(&self.items))
    }
}

impl<T> AsFd for Queue<T> {
    /// Returns the descriptor that is readable while the queue has items.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

/// Mailbox of a volume's thread, with the greeting for the other node.
#[derive(Debug)]
pub struct Mailbox {
    letters: Queue<MailboxMessage>,
    greeting: Mutex<Greeting>,
    lease: Mutex<Option<Option<KnownLease>>>,
    used: Mutex<Option<VolumeUse>>,
}

impl Mailbox {
    /// Creates a mailbox without messages.
    ///
    /// # Errors
    /// No file descriptor is available.
    pub fn new(greeting: Greeting) -> Result<Mailbox, Errno> {
        Ok(Mailbox {
            letters: Queue::new()?,
            greeting: Mutex::new(greeting),
            lease: Mutex::default(),
            used: Mutex::default(),
        })
    }

    pub fn letters(&self) -> &Queue<MailboxMessage> {
        &self.letters
    }

    /// Sets the lease as the cluster reports it; None if the cluster has no such lease.
    pub fn set_lease(&self, lease: Option<KnownLease>) {
        *lock(&self.lease) = Some(lease);
        self.letters.put(MailboxMessage::Lease);
    }

    /// Returns the last report of the lease; None before the first one.
    pub fn lease(&self) -> Option<Option<KnownLease>> {
        lock(&self.lease).clone()
    }

    pub fn set_use(&self, used: Option<VolumeUse>) {
        *lock(&self.used) = used;
        self.letters.put_once(MailboxMessage::Use);
    }

    /// Returns the use of the volume on this node; None if it is unused.
    pub fn used(&self) -> Option<VolumeUse> {
        *lock(&self.used)
    }

    pub fn set_facts(&self, facts: ReplicaProperties) {
        lock(&self.greeting).facts = facts;
    }
}

impl Receiver for Mailbox {
    fn greeting(&self) -> Greeting {
        lock(&self.greeting).clone()
    }

    fn connected(&self, wire: NodeConnection, theirs: Greeting) {
        self.letters.put(MailboxMessage::Connected(wire, theirs));
    }

    fn not_connected(&self, why: String) {
        self.letters.put(MailboxMessage::NotConnected(why));
    }
}
