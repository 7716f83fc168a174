//! The channel to the supervisor as `address::role` sees it: one descriptor, behind
//! which are the channel and, for when the supervisor has gone, the socket where
//! another one comes.

use crate::roles::channel::{Channel, ChannelError, Received};
use crate::roles::entry;
use crate::roles::guard::Guard;
use crate::roles::memory;
use address::message::{Dump as WantedDump, HandedOver, Message as OfAddress};
use address::role::{Dump, Lease, Notification, Order, Orders};
use cluster::message::Message as OfCluster;
use part::codec;
use part::role::{Manner, Message, PartMessage, WantedLease, WantedLeases};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use std::cell::RefCell;
use std::collections::VecDeque;
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
    /// The numbers of questions that the loop has, which answers in their order.
    asks: VecDeque<u64>,
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
            asks: VecDeque::new(),
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
        self.say_numbered(0, message, descriptors);
    }

    fn say_numbered(&self, ask: u64, message: &Message, descriptors: &[Arc<OwnedFd>]) {
        if let Some(channel) = &mut self.inner.borrow_mut().channel {
            // Who cannot be told has gone, which is seen when it is read next.
            let _ = channel.send_numbered(ask, message, descriptors);
        }
        self.watch_writing();
    }

    /// The loop is asked for something that it answers later.
    fn asks(&self, ask: u64, order: Order) -> Option<Order> {
        self.inner.borrow_mut().asks.push_back(ask);
        Some(order)
    }

    /// Answers the question that the loop was asked first.
    fn answer(&self, bytes: Vec<u8>, descriptors: &[Arc<OwnedFd>]) {
        let ask = self.inner.borrow_mut().asks.pop_front();
        self.say_numbered(ask.unwrap_or(0), &Message::Answer { bytes }, descriptors);
    }

    /// What a message to this part alone asks for.
    fn order_of_part(&self, ask: u64, message: &PartMessage) -> Option<Order> {
        let Some(message) = message.read() else {
            let words = "the address role does not know this message".to_owned();
            self.say_numbered(ask, &Message::Nobody { words }, &[]);
            return None;
        };
        match message {
            OfAddress::Hold(leases) => {
                let held = leases.0.into_iter().map(|lease| Lease {
                    name: lease.name,
                    until_ns: lease.until_ns,
                });
                Some(Order::Hold(held.collect()))
            }
            OfAddress::HandOverLease { name } => Some(Order::HandOverLease(name)),
            OfAddress::HandOver { name, drain_ms } => {
                let drain = drain_ms.map(Duration::from_millis);
                self.asks(ask, Order::HandOver { name, drain })
            }
            OfAddress::Dump(dump) => Some(match dump {
                WantedDump::Data => Order::Dump(Dump::Data),
                WantedDump::Statistics => Order::Dump(Dump::Statistics),
                WantedDump::ClearStatistics => Order::ClearStatistics,
                WantedDump::Json => Order::Dump(Dump::Json),
            }),
        }
    }

    /// What a message asks for; None for one that asks the loop for nothing.
    fn order(&mut self, received: Received) -> Option<Order> {
        match received.message {
            Message::Take(take) => {
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
            Message::Shared => received.descriptors.into_iter().next().map(Order::Vitals),
            Message::Part(message) => self.order_of_part(received.ask, &message),
            Message::TellReport { .. } => self.asks(received.ask, Order::Status),
            Message::Stop(manner) => Some(Order::Stop {
                release: manner != Manner::Leave,
            }),
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

    fn tell(&mut self, told: Notification) {
        let (version, taking) = {
            let inner = self.inner.borrow();
            (inner.version, inner.taking)
        };
        let words = String::new();
        match told {
            Notification::Ready => self.say(&Message::Ready { version, words }, &[]),
            Notification::Taken => {
                self.inner.borrow_mut().version = taking;
                self.say(
                    &Message::Taken {
                        version: taking,
                        words,
                    },
                    &[],
                );
            }
            Notification::Refused(lines) => {
                let words = lines.join("\n");
                self.say(
                    &Message::Refused {
                        version: taking,
                        words,
                    },
                    &[],
                );
            }
            Notification::Report(report) => {
                let file = memory::create("evenkeel addresses", &report.encode());
                let file: Vec<_> = file.map(Arc::new).into_iter().collect();
                self.answer(Vec::new(), &file);
            }
            Notification::WantsLeases(wanted) => {
                let wanted = wanted.into_iter().map(|lease| WantedLease {
                    name: lease.name,
                    rank: lease.rank,
                });
                let wanted = OfCluster::Wants(WantedLeases(wanted.collect()));
                self.say(&Message::Part(Box::new(wanted.envelope())), &[]);
            }
            Notification::HandOver(names) => {
                let handed = HandedOver {
                    moves: !names.is_empty(),
                    words: names.join(" "),
                };
                self.answer(codec::encode(&handed), &[]);
            }
            // The proxy learns it by the vitals, the log has it, and the end of the
            // process is seen.
            Notification::Draining { .. }
            | Notification::Dumped(_)
            | Notification::Changed { .. }
            | Notification::Stopped => {}
        }
    }
}
