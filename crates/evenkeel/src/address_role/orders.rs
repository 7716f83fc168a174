//! The channel to the supervisor as `address::role` sees it: one descriptor, behind
//! which are the channel and, for when the supervisor has gone, the socket where
//! another one comes.

use address::message::{AddressRoleMessage as OfAddress, Dump as WantedDump, HandedOver};
use address::role::{Dump, Lease, Notification, OrderChannel, RoleOrder};
use cluster::message::ControlMessage as OfCluster;
use part::channel::{Channel, Received};
use part::codec;
use part::guard::Guard;
use part::link::{LinkEvent, SupervisorConnection};
use part::role::{
    LeaseNews, Manner, MemberNews, PartMessage, SupervisorMessage, WantedLease, WantedLeases,
};
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
    link: Rc<RefCell<SupervisorConnection>>,
    /// The numbers of questions that the loop has, which answers in their order.
    pending_requests: VecDeque<u64>,
}

/// The link that remains after the role has ended, for its last message.
pub struct LastWords(Rc<RefCell<SupervisorConnection>>);

impl LastWords {
    /// Reports why the role ended.
    pub fn last(&self, words: String) {
        self.0.borrow_mut().send_shutdown_reason(words);
    }
}

impl Supervised {
    /// Under the supervisor of this channel.
    pub fn new(
        channel: Channel,
        guard: Option<Guard>,
        version: u64,
    ) -> Result<(Supervised, LastWords), Errno> {
        let mut link = SupervisorConnection::new(channel, guard, version)?;
        link.stop_by_signals()?;
        let set = rustix::io::fcntl_dupfd_cloexec(link.as_fd(), 0)?;
        let link = Rc::new(RefCell::new(link));
        let words = LastWords(link.clone());
        let asks = VecDeque::new();
        Ok((
            Supervised {
                set,
                link,
                pending_requests: asks,
            },
            words,
        ))
    }

    fn say_numbered(&self, ask: u64, message: &SupervisorMessage, descriptors: &[Arc<OwnedFd>]) {
        self.link
            .borrow_mut()
            .send_numbered(ask, message, descriptors);
    }

    /// The loop is asked for something that it answers later.
    fn asks(&mut self, ask: u64, order: RoleOrder) -> Option<RoleOrder> {
        self.pending_requests.push_back(ask);
        Some(order)
    }

    /// Answers the question that the loop was asked first.
    fn send_response(&mut self, answer: &SupervisorMessage, descriptors: &[Arc<OwnedFd>]) {
        let ask = self.pending_requests.pop_front();
        self.say_numbered(ask.unwrap_or(0), answer, descriptors);
    }

    /// Returns the order in a message for this part.
    fn order_of_part(&mut self, ask: u64, message: &PartMessage) -> Option<RoleOrder> {
        if let Some(news) = MemberNews::of(message) {
            return Some(RoleOrder::Member(news));
        }
        match LeaseNews::of(message) {
            Some(LeaseNews::Known(leases)) => {
                let held = leases.0.into_iter().map(|lease| Lease {
                    name: lease.name,
                    until_ns: lease.until_ns,
                });
                return Some(RoleOrder::Hold(held.collect()));
            }
            Some(LeaseNews::HandOver { name }) => return Some(RoleOrder::HandOverLease(name)),
            None => {}
        }
        let Some(message) = message.read() else {
            self.say_numbered(
                ask,
                &SupervisorMessage::unknown_message("address role"),
                &[],
            );
            return None;
        };
        match message {
            OfAddress::HandOver { name, drain_ms } => {
                let drain = drain_ms.map(Duration::from_millis);
                self.asks(ask, RoleOrder::HandOver { name, drain })
            }
            OfAddress::Dump(dump) => Some(match dump {
                WantedDump::Data => RoleOrder::Dump(Dump::Data),
                WantedDump::Statistics => RoleOrder::Dump(Dump::Statistics),
                WantedDump::ClearStatistics => RoleOrder::ClearStatistics,
                WantedDump::Json => RoleOrder::Dump(Dump::Json),
            }),
        }
    }

    /// Returns the order in a message; None if it is not for the loop.
    fn order(&mut self, received: Received) -> Option<RoleOrder> {
        match received.message {
            SupervisorMessage::Take(take) => {
                let version = take.version;
                let given = super::begin::AddressRoleInput::new(*take, received.descriptors);
                let words = match given.map(|given| given.config()) {
                    Some(Ok(config)) => {
                        self.link.borrow_mut().begin_version(version);
                        return Some(RoleOrder::Take(Box::new(config)));
                    }
                    Some(Err(error)) => error.to_string(),
                    None => "the message and its descriptors do not fit".to_owned(),
                };
                self.say_numbered(0, &SupervisorMessage::Refused { version, words }, &[]);
                None
            }
            SupervisorMessage::Shared => {
                Some(RoleOrder::Vitals(received.descriptors.into_iter().next()))
            }
            SupervisorMessage::Missing { words } => Some(RoleOrder::Missing(words)),
            SupervisorMessage::Part(message) => self.order_of_part(received.ask, &message),
            SupervisorMessage::TellReport { .. } => self.asks(received.ask, RoleOrder::Status),
            SupervisorMessage::Stop(manner) => Some(RoleOrder::Stop {
                release: manner != Manner::Leave,
                stays: manner == Manner::Yield,
            }),
            other => {
                self.link.borrow_mut().report_unknown_message(&other);
                None
            }
        }
    }
}

impl OrderChannel for Supervised {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.set.as_fd()
    }

    fn next(&mut self) -> Option<RoleOrder> {
        loop {
            let heard = self.link.borrow_mut().next_event()?;
            match heard {
                LinkEvent::Message(received) => {
                    if let Some(order) = self.order(received) {
                        return Some(order);
                    }
                }
                LinkEvent::Left { stays: true } => return Some(RoleOrder::Left),
                // One that was only being tried leaves the addresses to the role beside it.
                LinkEvent::Left { stays: false } => {
                    let (release, stays) = (false, false);
                    return Some(RoleOrder::Stop { release, stays });
                }
            }
        }
    }

    fn send_notification(&mut self, told: Notification) {
        match told {
            Notification::Ready => self.link.borrow_mut().ready(),
            Notification::Stays => self.say_numbered(0, &SupervisorMessage::Stopping, &[]),
            Notification::Taken => self.link.borrow_mut().report_version_applied(),
            Notification::Refused(lines) => self.link.borrow_mut().refused(lines.join("\n")),
            Notification::Report(report) => {
                let (answer, file) = report.answer();
                self.send_response(&answer, &file);
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
                self.say_numbered(
                    0,
                    &SupervisorMessage::Part(Box::new(wanted.envelope())),
                    &[],
                );
            }
            Notification::Heartbeat => {
                let part = address::message::PART.to_owned();
                let beat = OfCluster::Heartbeat { part }.envelope();
                self.say_numbered(0, &SupervisorMessage::Part(Box::new(beat)), &[]);
            }
            Notification::HandOver(names) => {
                let handed = HandedOver {
                    moves: !names.is_empty(),
                    words: names.join(" "),
                };
                let bytes = codec::encode(&handed);
                self.send_response(&SupervisorMessage::Answer { bytes }, &[]);
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
