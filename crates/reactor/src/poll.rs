//! Manages epoll and the descriptors of one event loop: keeps the readiness of each, and the tasks
//! that wait for it.
//!
//! Every descriptor is registered once, edge-triggered, and its readiness is stored here until a
//! short or refused operation disproves it. The data of an event contains a slot and its
//! generation, so an event for a closed descriptor is dropped, even when its number or its slot is
//! in use again.
//!
//! The poller never reads or writes a socket, and never calls a waker while its list is borrowed: a
//! foreign waker may do anything.

use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::io::Errno;
use std::cell::RefCell;
use std::io;
use std::ops::BitOr;
use std::task::Waker;

/// Maximum events returned by one wait; further ones follow in the next turn. The data that one
/// turn touches should stay in the caches: 256 cost 3 % more per request with 1,000 busy
/// connections.
const EVENTS_MAX: usize = 64;
/// The index of the inbox's eventfd in the event data.
const BELL: u32 = u32::MAX;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Readiness(u32);

impl Readiness {
    pub(super) const NONE: Readiness = Readiness(0);
    pub(super) const READABLE: Readiness = Readiness(1);
    pub(super) const WRITABLE: Readiness = Readiness(2);
    /// The peer has sent everything. This flag and the following ones stay set.
    pub(super) const READ_CLOSED: Readiness = Readiness(4);
    pub(super) const CLOSED: Readiness = Readiness(8);
    pub(super) const FAILED: Readiness = Readiness(16);
    /// Urgent data arrived: reads stop before it, so a short read proves nothing.
    pub(super) const URGENT: Readiness = Readiness(32);
    /// Not a readiness: this descriptor is a listener.
    pub(super) const LISTENER: Readiness = Readiness(64);

    /// With one of these flags, data remains after a short read and no further edge will report it.
    pub(super) const NO_TRUST: Readiness = Readiness(4 | 8 | 16 | 32);
    pub(super) const PEER_CLOSED: Readiness = Readiness(4 | 8 | 16);

    pub(super) const fn intersects(self, other: Readiness) -> bool {
        self.0 & other.0 != 0
    }

    fn of(flags: EventFlags) -> Readiness {
        let mut seen = Readiness::NONE;
        for (flag, means) in [
            (EventFlags::IN, Readiness::READABLE),
            (EventFlags::OUT, Readiness::WRITABLE),
            (
                EventFlags::RDHUP,
                Readiness::READ_CLOSED | Readiness::READABLE,
            ),
            (EventFlags::PRI, Readiness::URGENT | Readiness::READABLE),
            (
                EventFlags::HUP,
                Readiness::CLOSED | Readiness::READABLE | Readiness::WRITABLE,
            ),
            (
                EventFlags::ERR,
                Readiness::FAILED | Readiness::READABLE | Readiness::WRITABLE,
            ),
        ] {
            if flags.intersects(flag) {
                seen = seen | means;
            }
        }
        seen
    }
}

impl BitOr for Readiness {
    type Output = Readiness;
    fn bitor(self, other: Readiness) -> Readiness {
        Readiness(self.0 | other.0)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    fn data(self) -> EventData {
        EventData::new_u64(u64::from(self.generation) << 32 | u64::from(self.index))
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Direction {
    Read,
    Write,
}

pub(super) struct Descriptor {
    reader: Option<Waker>,
    writer: Option<Waker>,
    generation: u32,
    /// Empty while the slot is free.
    state: Readiness,
}

struct Descriptors {
    slots: Vec<Descriptor>,
    free: Vec<u32>,
    /// Generation of a new slot. It differs for every event loop, so that the key of a socket that
    /// outlived its event loop does not match in the next one.
    first_generation: u32,
}

impl Descriptors {
    fn get(&mut self, key: Key) -> Option<&mut Descriptor> {
        self.slots
            .get_mut(key.index as usize)
            .filter(|descriptor| descriptor.generation == key.generation)
    }
}

/// The epoll instance of one event loop and its descriptors.
pub(super) struct Poller {
    epoll: OwnedFd,
    events: RefCell<Vec<epoll::Event>>,
    descriptors: RefCell<Descriptors>,
}

impl Poller {
    pub(super) fn new(bell: BorrowedFd<'_>, first_generation: u32) -> io::Result<Poller> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        // Registers the eventfd edge-triggered, so that every write is a separate event and the
        // counter need not be read.
        let data = EventData::new_u64(u64::from(BELL));
        epoll::add(&epoll, bell, data, EventFlags::IN | EventFlags::ET)?;
        Ok(Poller {
            epoll,
            events: RefCell::new(Vec::with_capacity(EVENTS_MAX)),
            descriptors: RefCell::new(Descriptors {
                slots: Vec::new(),
                free: Vec::new(),
                first_generation,
            }),
        })
    }

    pub(super) fn add(
        &self,
        fd: BorrowedFd<'_>,
        events: EventFlags,
        assumed: Readiness,
    ) -> io::Result<Key> {
        let key = self.take_slot(assumed)?;
        if let Err(error) = epoll::add(&self.epoll, fd, key.data(), events | EventFlags::ET) {
            self.release(key);
            return Err(error.into());
        }
        Ok(key)
    }

    fn take_slot(&self, assumed: Readiness) -> io::Result<Key> {
        let mut descriptors = self.descriptors.borrow_mut();
        if let Some(index) = descriptors.free.pop()
            && let Some(slot) = descriptors.slots.get_mut(index as usize)
        {
            slot.state = assumed;
            return Ok(Key {
                index,
                generation: slot.generation,
            });
        }
        let index = descriptors.slots.len() as u32;
        if index == BELL {
            // Fails, although the kernel gives no process so many descriptors.
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        let generation = descriptors.first_generation;
        descriptors.slots.push(Descriptor {
            reader: None,
            writer: None,
            generation,
            state: assumed,
        });
        Ok(Key { index, generation })
    }

    /// Frees the slot; pending events for it are dropped. The caller closes or deregisters the
    /// descriptor.
    pub(super) fn release(&self, key: Key) {
        let wakers = {
            let mut descriptors = self.descriptors.borrow_mut();
            let Some(slot) = descriptors.get(key) else {
                return;
            };
            slot.generation = slot.generation.wrapping_add(1);
            slot.state = Readiness::NONE;
            let wakers = (slot.reader.take(), slot.writer.take());
            descriptors.free.push(key.index);
            wakers
        };
        drop(wakers);
    }

    /// Removes a descriptor from epoll. Needed only when the descriptor stays open.
    pub(super) fn deregister(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, fd)?)
    }

    /// Returns the readiness; `None` if the key belongs to another event loop or an earlier use.
    pub(super) fn readiness(&self, key: Key) -> Option<Readiness> {
        self.descriptors
            .borrow_mut()
            .get(key)
            .map(|slot| slot.state)
    }

    pub(super) fn clear(&self, key: Key, readiness: Readiness) {
        if let Some(slot) = self.descriptors.borrow_mut().get(key) {
            slot.state = Readiness(slot.state.0 & !readiness.0);
        }
    }

    /// Registers `waker` for one direction. A previous waker is woken, so two tasks on one
    /// direction are slow, but not stuck.
    pub(super) fn wait_for(&self, key: Key, direction: Direction, waker: &Waker) {
        let displaced = {
            let mut descriptors = self.descriptors.borrow_mut();
            let Some(slot) = descriptors.get(key) else {
                return;
            };
            let place = match direction {
                Direction::Read => &mut slot.reader,
                Direction::Write => &mut slot.writer,
            };
            if place
                .as_ref()
                .is_some_and(|waiting| waiting.will_wake(waker))
            {
                return;
            }
            place.replace(waker.clone())
        };
        if let Some(displaced) = displaced {
            displaced.wake();
        }
    }

    /// Replaces the waker of readers. The previous one no longer waits and is dropped.
    pub(super) fn set_reader(&self, key: Key, waker: Option<&Waker>) {
        let displaced = {
            let mut descriptors = self.descriptors.borrow_mut();
            let Some(slot) = descriptors.get(key) else {
                return;
            };
            std::mem::replace(&mut slot.reader, waker.cloned())
        };
        drop(displaced);
    }

    /// Waits for events until `timeout` (`None`: forever), records them and wakes the waiting
    /// tasks.
    pub(super) fn wait(&self, timeout: Option<&Timespec>) -> io::Result<()> {
        let mut events = self.events.take();
        events.clear();
        events.reserve(EVENTS_MAX); // no-op, unless a foreign waker has panicked
        let mut wait = |timeout| {
            let room = rustix::buffer::spare_capacity(&mut events);
            epoll::wait(&self.epoll, room, timeout)
        };
        let mut result = wait(timeout);
        if result == Err(Errno::INTR) {
            // Looks for events once more before deadlines fire: the process may have been stopped
            // for long, and what arrived meanwhile was in time.
            result = wait(Some(&Timespec::default()));
        }
        match result {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            let data = event.data.u64();
            let key = Key {
                index: data as u32,
                generation: (data >> 32) as u32,
            };
            if key.index != BELL {
                self.note(key, Readiness::of(event.flags));
            }
        }
        self.events.replace(events);
        Ok(())
    }

    fn note(&self, key: Key, seen: Readiness) {
        let (reader, writer) = {
            let mut descriptors = self.descriptors.borrow_mut();
            let Some(slot) = descriptors.get(key) else {
                return;
            };
            slot.state = slot.state | seen;
            let reader = if seen.intersects(Readiness::READABLE) {
                slot.reader.take()
            } else {
                None
            };
            let writer = if seen.intersects(Readiness::WRITABLE) {
                slot.writer.take()
            } else {
                None
            };
            (reader, writer)
        };
        if let Some(waker) = reader {
            waker.wake();
        }
        if let Some(waker) = writer {
            waker.wake();
        }
    }

    /// Makes every listener check for connections. Rare: see `listener.rs`.
    pub(super) fn mark_listeners_ready(&self) {
        let slots = self.descriptors.borrow().slots.len();
        for index in 0..slots as u32 {
            let key = {
                let descriptors = self.descriptors.borrow();
                match descriptors.slots.get(index as usize) {
                    Some(slot) if slot.state.intersects(Readiness::LISTENER) => Key {
                        index,
                        generation: slot.generation,
                    },
                    _ => continue,
                }
            };
            self.note(key, Readiness::READABLE);
        }
    }
}
