//! Receives the orders for `address::role`, and sends its notifications, over three channels behind
//! one pollable descriptor: the channel to the supervisor, the socket on which another supervisor
//! connects after the first one has died, and a direct channel to the control role. Over the direct
//! channel the role requests and renews leases without a supervisor.

use address::message::{AddressRoleMessage as OfAddress, Dump as WantedDump, HandedOver};
use address::role::{Dump, Lease, Notification, OrderChannel, RoleOrder};
use part::channel::{Channel, Received};
use part::codec;
use part::control::ControlMessage as OfCluster;
use part::guard::Guard;
use part::link::{LinkEvent, SupervisorConnection};
use part::role::{
    LeaseNews, Manner, MemberNews, PartMessage, SupervisorMessage, WantedLease, WantedLeases,
};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Time for the control role to accept a direct channel. After that, the role offers another
/// channel: the control role may not have been running.
const ACCEPT_MAX: Duration = Duration::from_secs(2);
/// Tag of the direct channel in the epoll set of the link, whose tags are lower.
const DIRECT: u64 = 16;

struct DirectChannel {
    channel: Channel,
    /// The control role has accepted the channel.
    is_accepted: bool,
    offered_at: Instant,
    /// Process ID of the supervisor that passed the channel on to the control role.
    supervisor: u64,
}

/// Channels of an address role that has a supervisor, or waits for another one after its supervisor
/// died.
pub struct Supervised {
    direct: Option<DirectChannel>,
    /// Newest request for leases, sent again when a direct channel opens.
    wanted: Option<SupervisorMessage>,
    set: OwnedFd,
    link: Rc<RefCell<SupervisorConnection>>,
    pending_requests: VecDeque<u64>,
}

/// Connection to the supervisor that remains after the role has ended, for its final message.
pub struct LastWords(Rc<RefCell<SupervisorConnection>>);

impl LastWords {
    pub fn last(&self, words: String) {
        self.0.borrow_mut().send_shutdown_reason(words);
    }
}

impl Supervised {
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
                direct: None,
                wanted: None,
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

    fn asks(&mut self, ask: u64, order: RoleOrder) -> Option<RoleOrder> {
        self.pending_requests.push_back(ask);
        Some(order)
    }

    fn send_response(&mut self, answer: &SupervisorMessage, descriptors: &[Arc<OwnedFd>]) {
        let ask = self.pending_requests.pop_front();
        self.say_numbered(ask.unwrap_or(0), answer, descriptors);
    }

    fn is_direct(&self) -> bool {
        self.direct.as_ref().is_some_and(|one| one.is_accepted)
    }

    fn keep_direct(&mut self) {
        let supervisor = self.link.borrow().supervisors();
        let is_kept = |one: &DirectChannel| {
            let is_open = one.is_accepted || one.offered_at.elapsed() < ACCEPT_MAX;
            is_open && one.supervisor == supervisor
        };
        if !self.link.borrow().has_supervisor() || self.direct.as_ref().is_some_and(is_kept) {
            return;
        }
        self.direct = None;
        let Ok((channel, theirs)) = Channel::pair() else {
            return;
        };
        let data = EventData::new_u64(DIRECT);
        if epoll::add(&self.set, &channel, data, EventFlags::IN).is_err() {
            return;
        }
        let part = address::message::PART.to_owned();
        let offer = OfCluster::Connect { part }.envelope();
        let offer = SupervisorMessage::Part(Box::new(offer));
        self.say_numbered(0, &offer, &[Arc::new(theirs)]);
        self.direct = Some(DirectChannel {
            channel,
            is_accepted: false,
            offered_at: Instant::now(),
            supervisor,
        });
    }

    fn send_directly(&mut self, message: &SupervisorMessage) {
        // Drops the channel after a failed send: the control role would act on an older state. The
        // role sends its current state over the next channel.
        self.direct
            .take_if(|direct| direct.channel.send(message, &[]).is_err());
    }

    fn next_direct(&mut self) -> Option<RoleOrder> {
        loop {
            let direct = self.direct.as_mut()?;
            let received = direct.channel.flush();
            match received.and_then(|()| direct.channel.receive()) {
                Ok(None) => return None,
                Ok(Some(received)) => {
                    let is_first = !std::mem::replace(&mut direct.is_accepted, true);
                    if is_first && let Some(wanted) = self.wanted.clone() {
                        self.send_directly(&wanted);
                    }
                    if let SupervisorMessage::Part(message) = received.message
                        && let Some(order) = order_of_control(&message)
                    {
                        return Some(order);
                    }
                }
                Err(_) => self.direct = None,
            }
        }
    }

    fn order_of_part(&mut self, ask: u64, message: &PartMessage) -> Option<RoleOrder> {
        if let Some(order) = order_of_control(message) {
            // Ignores leases from the supervisor while a direct channel is open: a supervisor that
            // was suspended forwards outdated ones.
            return Some(order).filter(|_| !self.is_direct());
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

    fn order(&mut self, received: Received) -> Option<RoleOrder> {
        match received.message {
            SupervisorMessage::Take(take) => {
                let version = take.version;
                tracing::info!(target: "address", op = take.operation, version, "version received");
                let given = super::begin::AddressRoleInput::new(*take, received.descriptors);
                let words = match given.map(|given| given.config()) {
                    Some(Ok(config)) => {
                        self.link.borrow_mut().begin_version(version);
                        return Some(RoleOrder::Take(Box::new(config)));
                    }
                    Some(Err(error)) => error.to_string(),
                    None => "the message does not match its descriptors".to_owned(),
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

fn order_of_control(message: &PartMessage) -> Option<RoleOrder> {
    if let Some(news) = MemberNews::of(message) {
        return Some(RoleOrder::Member(news));
    }
    Some(match LeaseNews::of(message)? {
        LeaseNews::Known(leases) => {
            let held = leases.0.into_iter().map(|lease| Lease {
                name: lease.name,
                until_ns: lease.until_ns,
                is_inherited: lease.is_inherited,
            });
            RoleOrder::Hold(held.collect())
        }
        LeaseNews::HandOver { name } => RoleOrder::HandOverLease(name),
    })
}

impl OrderChannel for Supervised {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.set.as_fd()
    }

    fn next(&mut self) -> Option<RoleOrder> {
        loop {
            if let Some(order) = self.next_direct() {
                return Some(order);
            }
            let heard = self.link.borrow_mut().next_event()?;
            match heard {
                LinkEvent::Message(received) => {
                    if let Some(order) = self.order(received) {
                        return Some(order);
                    }
                }
                LinkEvent::Left { stays: true } => return Some(RoleOrder::Left),
                // Stops a role that was only a candidate without releasing addresses: the role that
                // runs with it keeps them.
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
                let wanted = SupervisorMessage::Part(Box::new(wanted.envelope()));
                // The supervisor stores the requests for a control role that starts later.
                self.say_numbered(0, &wanted, &[]);
                self.send_directly(&wanted);
                self.wanted = Some(wanted);
            }
            Notification::Heartbeat => {
                self.keep_direct();
                let part = address::message::PART.to_owned();
                let beat = OfCluster::Heartbeat { part }.envelope();
                let beat = SupervisorMessage::Part(Box::new(beat));
                self.send_directly(&beat);
                if !self.is_direct() {
                    self.say_numbered(0, &beat, &[]);
                }
            }
            Notification::HandOver(names) => {
                let handed = HandedOver {
                    moves: !names.is_empty(),
                    words: names.join(" "),
                    names,
                };
                let bytes = codec::encode(&handed);
                self.send_response(&SupervisorMessage::Answer { bytes }, &[]);
            }
            // Sends nothing for these: the proxy reads the shared memory, the log has the event,
            // and the supervisor sees the end of the process.
            Notification::Draining { .. }
            | Notification::Dumped(_)
            | Notification::Changed { .. }
            | Notification::Stopped => {}
        }
    }
}
