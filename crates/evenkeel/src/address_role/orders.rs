//! The channel to the supervisor as `address::role` sees it: one descriptor, behind
//! which are the channel and, for when the supervisor has gone, the socket where
//! another one comes.

use crate::roles::channel::{Channel, ChannelError, Received};
use crate::roles::entry;
use crate::roles::guard::Guard;
use crate::roles::memory;
use address::role::{Dump, Lease, Order, Orders, Told};
use part::role::{AddressDump, Message, WantedLease};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use std::cell::RefCell;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// What an event of the set belongs to.
const CHANNEL: u64 = 0;
const GUARD: u64 = 1;

/// Why orders cannot be heard.
#[derive(Debug)]
pub struct OrdersError(Errno);

impl fmt::Display for OrdersError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for OrdersError {}

/// A role under a supervisor, or without one for a while.
pub struct Supervised {
    set: OwnedFd,
    inner: Rc<RefCell<Inner>>,
}

struct Inner {
    channel: Option<Channel>,
    guard: Option<Guard>,
    /// The version that runs, and the one that it was told to take.
    version: u64,
    taking: u64,
    /// Writing is waited for, too.
    writes: bool,
}

/// What is left when the role has ended: a last word.
pub struct LastWords(Rc<RefCell<Inner>>);

impl LastWords {
    /// Says why it ended.
    pub fn last(&self, words: String) {
        if let Some(channel) = &mut self.0.borrow_mut().channel {
            entry::last_words(channel, words);
        }
    }
}

impl Supervised {
    /// Under the supervisor of this channel.
    pub fn new(
        channel: Channel,
        guard: Option<Guard>,
        version: u64,
    ) -> Result<(Supervised, LastWords), OrdersError> {
        let set = epoll::create(CreateFlags::CLOEXEC).map_err(OrdersError)?;
        let inner = Rc::new(RefCell::new(Inner {
            channel: None,
            guard: None,
            version,
            taking: version,
            writes: false,
        }));
        let words = LastWords(inner.clone());
        let mut orders = Supervised { set, inner };
        orders.listen(channel).map_err(OrdersError)?;
        if let Some(guard) = guard {
            orders.watch_for_others(guard).map_err(OrdersError)?;
        }
        Ok((orders, words))
    }

    fn listen(&mut self, channel: Channel) -> Result<(), Errno> {
        let data = EventData::new_u64(CHANNEL);
        epoll::add(&self.set, &channel, data, EventFlags::IN)?;
        let mut inner = self.inner.borrow_mut();
        inner.channel = Some(channel);
        inner.writes = false;
        Ok(())
    }

    fn watch_for_others(&mut self, guard: Guard) -> Result<(), Errno> {
        if let Some(listener) = guard.listener() {
            epoll::add(
                &self.set,
                listener,
                EventData::new_u64(GUARD),
                EventFlags::IN,
            )?;
        }
        // The socket of one before is closed here, and leaves the set with that.
        self.inner.borrow_mut().guard = Some(guard);
        Ok(())
    }

    /// What waits for the supervisor is sent once it can be.
    fn watch_writing(&self) {
        let mut inner = self.inner.borrow_mut();
        let Some(channel) = &inner.channel else {
            return;
        };
        let writes = channel.waits();
        if writes != inner.writes {
            let flags = match writes {
                true => EventFlags::IN | EventFlags::OUT,
                false => EventFlags::IN,
            };
            let data = EventData::new_u64(CHANNEL);
            // Else it is sent with the next message.
            let _ = epoll::modify(&self.set, channel, data, flags);
            inner.writes = writes;
        }
    }

    /// Others who come while there is a supervisor are told so; one who comes
    /// while there is none is the next.
    fn see_who_comes(&mut self) {
        let next = {
            let inner = self.inner.borrow();
            let Some(guard) = &inner.guard else {
                return;
            };
            if inner.channel.is_some() {
                return guard.turn_away();
            }
            guard.take_in(inner.version)
        };
        if let Some(channel) = next {
            // One that cannot be watched sees the end of its connection.
            let _ = self.listen(channel);
        }
    }

    fn receive(&self) -> Option<Result<Option<Received>, ChannelError>> {
        let mut inner = self.inner.borrow_mut();
        let channel = inner.channel.as_mut()?;
        Some(channel.flush().and_then(|()| channel.receive()))
    }

    fn say(&self, message: &Message, descriptors: &[Arc<OwnedFd>]) {
        if let Some(channel) = &mut self.inner.borrow_mut().channel {
            // Who cannot be told has gone, which is seen when it is read next.
            let _ = channel.send(message, descriptors);
        }
        self.watch_writing();
    }

    /// What a message asks for; None for one that asks the loop for nothing.
    fn order(&mut self, received: Received) -> Option<Order> {
        match received.message {
            Message::TakeAddresses(take) => {
                let version = take.version;
                let given = super::begin::Given::new(*take, received.descriptors);
                match given.map(|given| given.config()) {
                    Some(Ok(config)) => {
                        self.inner.borrow_mut().taking = version;
                        return Some(Order::Take(Box::new(config)));
                    }
                    Some(Err(error)) => {
                        let words = error.to_string();
                        self.say(&Message::Refused { version, words }, &[]);
                    }
                    None => {
                        let words = "the message and its descriptors do not fit".to_owned();
                        self.say(&Message::Refused { version, words }, &[]);
                    }
                }
                None
            }
            Message::Vitals => received.descriptors.into_iter().next().map(Order::Vitals),
            Message::HoldLeases(leases) => {
                let held = leases.into_iter().map(|lease| Lease {
                    name: lease.name,
                    until_ns: lease.until_ns,
                });
                Some(Order::Hold(held.collect()))
            }
            Message::HandOverLease { name } => Some(Order::HandOverLease(name)),
            Message::TellAddresses => Some(Order::Status),
            Message::HandOverAddresses { name, drain_ms } => {
                let drain = drain_ms.map(Duration::from_millis);
                Some(Order::HandOver { name, drain })
            }
            Message::DumpAddresses { dump } => Some(match dump {
                AddressDump::Data => Order::Dump(Dump::Data),
                AddressDump::Statistics => Order::Dump(Dump::Statistics),
                AddressDump::ClearStatistics => Order::ClearStatistics,
                AddressDump::Json => Order::Dump(Dump::Json),
            }),
            Message::StopAddresses { release } => Some(Order::Stop { release }),
            Message::Guard { uid } => {
                // One that cannot be watched leaves the one before in its place.
                let _ = self.watch_for_others(Guard::new(uid, received.descriptors));
                None
            }
            // A new supervisor asks what there is: the number only.
            Message::GiveVersion => {
                let version = self.inner.borrow().version;
                let words = String::new();
                self.say(&Message::Ready { version, words }, &[]);
                None
            }
            Message::TellPulse => {
                self.say(&Message::Pulse, &[]);
                None
            }
            Message::Unknown { .. } => None,
            other => {
                let kind = other.kind();
                self.say(&Message::Unknown { kind }, &[]);
                None
            }
        }
    }
}

impl Orders for Supervised {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.set.as_fd()
    }

    fn next(&mut self) -> Option<Order> {
        self.see_who_comes();
        loop {
            match self.receive()? {
                Ok(None) => {
                    self.watch_writing();
                    return None;
                }
                Ok(Some(received)) => {
                    if let Some(order) = self.order(received) {
                        return Some(order);
                    }
                }
                Err(_) => {
                    let mut inner = self.inner.borrow_mut();
                    inner.channel = None;
                    let stays = inner.guard.is_some();
                    // One that was only being tried leaves the addresses to
                    // the role beside it.
                    return Some(match stays {
                        true => Order::Left,
                        false => Order::Stop { release: false },
                    });
                }
            }
        }
    }

    fn tell(&mut self, told: Told) {
        let (version, taking) = {
            let inner = self.inner.borrow();
            (inner.version, inner.taking)
        };
        let words = String::new();
        match told {
            Told::Ready => self.say(&Message::Ready { version, words }, &[]),
            Told::Taken => {
                self.inner.borrow_mut().version = taking;
                self.say(
                    &Message::Taken {
                        version: taking,
                        words,
                    },
                    &[],
                );
            }
            Told::Refused(lines) => {
                let words = lines.join("\n");
                self.say(
                    &Message::Refused {
                        version: taking,
                        words,
                    },
                    &[],
                );
            }
            Told::Status(status) => {
                let bytes = status.encode();
                match memory::create("evenkeel addresses", &bytes) {
                    Ok(file) => self.say(&Message::Addresses, &[Arc::new(file)]),
                    Err(_) => self.say(&Message::Addresses, &[]),
                }
            }
            Told::WantsLeases(wanted) => {
                let wanted = wanted.into_iter().map(|lease| WantedLease {
                    name: lease.name,
                    rank: lease.rank,
                });
                self.say(&Message::WantsLeases(wanted.collect()), &[]);
            }
            Told::HandOver(names) => {
                let moves = !names.is_empty();
                let words = names.join(" ");
                self.say(&Message::AddressesHandedOver { moves, words }, &[]);
            }
            // The proxy learns it by the vitals, the log has it, and the end of the
            // process is seen.
            Told::Draining { .. } | Told::Dumped(_) | Told::Changed(_) | Told::Stopped => {}
        }
    }
}
