//! The channel to the supervisor as `address::role` sees it: one descriptor, behind
//! which are the channel and, for when the supervisor has gone, the socket where
//! another one comes.

use address::message::{Dump as WantedDump, HandedOver, Message as OfAddress};
use address::role::{Dump, Lease, Notification, Order, Orders};
use cluster::message::Message as OfCluster;
use part::channel::{Channel, Received};
use part::codec;
use part::guard::Guard;
use part::link::{Link, LinkEvent};
use part::role::{LeaseNews, Manner, MemberNews, Message, PartMessage, WantedLease, WantedLeases};
use rustix::io::Errno;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// A role under a supervisor, or without one for a while.
pub struct Supervised {
    /// The descriptor of the link, which lives as long as it.
    set: OwnedFd,
    link: Rc<RefCell<Link>>,
    /// The numbers of questions that the loop has, which answers in their order.
    asks: VecDeque<u64>,
}

/// The link that remains after the role has ended, for its last message.
pub struct LastWords(Rc<RefCell<Link>>);

impl LastWords {
    /// Reports why the role ended.
    pub fn last(&self, words: String) {
        self.0.borrow_mut().last_words(words);
    }
}

impl Supervised {
    /// Under the supervisor of this channel.
    pub fn new(
        channel: Channel,
        guard: Option<Guard>,
        version: u64,
    ) -> Result<(Supervised, LastWords), Errno> {
        let mut link = Link::new(channel, guard, version)?;
        link.stop_by_signals()?;
        let set = rustix::io::fcntl_dupfd_cloexec(link.as_fd(), 0)?;
        let link = Rc::new(RefCell::new(link));
        let words = LastWords(link.clone());
        let asks = VecDeque::new();
        Ok((Supervised { set, link, asks }, words))
    }

    fn say_numbered(&self, ask: u64, message: &Message, descriptors: &[Arc<OwnedFd>]) {
        self.link
            .borrow_mut()
            .say_numbered(ask, message, descriptors);
    }

    /// The loop is asked for something that it answers later.
    fn asks(&mut self, ask: u64, order: Order) -> Option<Order> {
        self.asks.push_back(ask);
        Some(order)
    }

    /// Answers the question that the loop was asked first.
    fn answer(&mut self, answer: &Message, descriptors: &[Arc<OwnedFd>]) {
        let ask = self.asks.pop_front();
        self.say_numbered(ask.unwrap_or(0), answer, descriptors);
    }

    /// Returns the order in a message for this part.
    fn order_of_part(&mut self, ask: u64, message: &PartMessage) -> Option<Order> {
        if let Some(news) = MemberNews::of(message) {
            return Some(Order::Member(news));
        }
        match LeaseNews::of(message) {
            Some(LeaseNews::Known(leases)) => {
                let held = leases.0.into_iter().map(|lease| Lease {
                    name: lease.name,
                    until_ns: lease.until_ns,
                });
                return Some(Order::Hold(held.collect()));
            }
            Some(LeaseNews::HandOver { name }) => return Some(Order::HandOverLease(name)),
            None => {}
        }
        let Some(message) = message.read() else {
            self.say_numbered(ask, &Message::not_known("address role"), &[]);
            return None;
        };
        match message {
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

    /// Returns the order in a message; None if it is not for the loop.
    fn order(&mut self, received: Received) -> Option<Order> {
        match received.message {
            Message::Take(take) => {
                let version = take.version;
                let given = super::begin::Given::new(*take, received.descriptors);
                let words = match given.map(|given| given.config()) {
                    Some(Ok(config)) => {
                        self.link.borrow_mut().take(version);
                        return Some(Order::Take(Box::new(config)));
                    }
                    Some(Err(error)) => error.to_string(),
                    None => "the message and its descriptors do not fit".to_owned(),
                };
                self.say_numbered(0, &Message::Refused { version, words }, &[]);
                None
            }
            Message::Shared => Some(Order::Vitals(received.descriptors.into_iter().next())),
            Message::Missing { words } => Some(Order::Missing(words)),
            Message::Part(message) => self.order_of_part(received.ask, &message),
            Message::TellReport { .. } => self.asks(received.ask, Order::Status),
            Message::Stop(manner) => Some(Order::Stop {
                release: manner != Manner::Leave,
                stays: manner == Manner::Yield,
            }),
            other => {
                self.link.borrow_mut().not_known(&other);
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
        loop {
            let heard = self.link.borrow_mut().hear()?;
            match heard {
                LinkEvent::Message(received) => {
                    if let Some(order) = self.order(received) {
                        return Some(order);
                    }
                }
                LinkEvent::Left { stays: true } => return Some(Order::Left),
                // One that was only being tried leaves the addresses to the role beside it.
                LinkEvent::Left { stays: false } => {
                    let (release, stays) = (false, false);
                    return Some(Order::Stop { release, stays });
                }
            }
        }
    }

    fn tell(&mut self, told: Notification) {
        match told {
            Notification::Ready => self.link.borrow_mut().ready(),
            Notification::Stays => self.say_numbered(0, &Message::Stopping, &[]),
            Notification::Taken => self.link.borrow_mut().taken(),
            Notification::Refused(lines) => self.link.borrow_mut().refused(lines.join("\n")),
            Notification::Report(report) => {
                let (answer, file) = report.answer();
                self.answer(&answer, &file);
            }
            Notification::WantsLeases(wanted) => {
                let wanted = wanted.into_iter().map(|lease| WantedLease {
                    name: lease.name,
                    rank: lease.rank,
                    watch: false,
                    valid_ms: 0,
                });
                let wanted = OfCluster::Wants {
                    part: address::message::PART.to_owned(),
                    leases: WantedLeases(wanted.collect()),
                };
                self.say_numbered(0, &Message::Part(Box::new(wanted.envelope())), &[]);
            }
            Notification::HandOver(names) => {
                let handed = HandedOver {
                    moves: !names.is_empty(),
                    words: names.join(" "),
                };
                let bytes = codec::encode(&handed);
                self.answer(&Message::Answer { bytes }, &[]);
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
