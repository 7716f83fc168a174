//! Keeps the state of the other node of a mirrored volume: the connection to it, its user of the
//! volume, and the facts that it last sent.

use super::{Data, wire};
use crate::disk::{Account, Pool};
use crate::export::{Presence, RESERVED_FOR, VolumeUser};
use crate::link::frame::{FrameHeader, FrameKind, checksum};
use crate::link::greeting::{Greeting, ReplicaProperties};
use crate::link::{Incoming, LinkError, Session};
use crate::overwrite::MarkChange;
use crate::replica::{self, Epoch, Incarnation, ReplicaMessage};
use ::wire::NodeConnection;
use part::trace;
use rustix::event::epoll::{self, EventData, EventFlags};
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

const PULSE: Duration = Duration::from_millis(500);
/// Time without received data after which a node counts as silent, connected or not.
const QUIET: Duration = Duration::from_millis(1250);
/// Time without received data after which the connection is closed.
const SILENCE_MAX: Duration = Duration::from_secs(2);
/// Tag of a heartbeat that reports: the user of the receiving node has lost the volume to another
/// user while the nodes were not connected. Earlier releases ignore the tag.
const SUPERSEDED: u32 = 1;

/// Clients connected to a node.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Users {
    pub clients: u32,
    /// Total number of connections since the volume was opened on that node.
    pub accepted: u64,
    /// [`number`] of the user connected to the node; 0 if there is none, or if the node runs an
    /// earlier release.
    pub holder: u64,
}

impl Users {
    /// Returns whether a user other than this one is connected to the node, or has a reservation
    /// there.
    pub fn has_other(self, user: &str) -> bool {
        self.holder != 0 && self.holder != number_of(user)
    }
}

/// Returns the number that identifies a user between two nodes; never 0 for a user that has the
/// volume. A user that is only expected has 0. A user with a reservation counts, because it
/// reconnects to its node.
pub(super) fn number(holder: &VolumeUser) -> u64 {
    let name = match holder {
        VolumeUser::User {
            presence: Presence::Expected,
            ..
        } => return 0,
        VolumeUser::User { name, .. } => name.as_str(),
        VolumeUser::Clients => "",
    };
    number_of(name)
}

pub(super) fn number_of(name: &str) -> u64 {
    checksum(name.as_bytes()).max(1)
}

#[derive(Debug)]
struct Connected {
    session: Session,
    id: replica::Session,
    pulsed: Instant,
    interest: EventFlags,
    serves: bool,
    users: Option<Users>,
    told: Users,
    told_mark: Option<MarkChange>,
    /// The other node reports that the user of this node has lost the volume.
    has_superseded: bool,
    /// Epoch in which the other node, as the owner, has greeted this copy.
    epoch: Option<Epoch>,
    joins: Option<Incarnation>,
}

/// State of the other node.
pub(super) struct Peer {
    epoll: Rc<OwnedFd>,
    key: u64,
    connected: Option<Connected>,
    /// Connection without TLS that waits until the current one is lost.
    pub(super) waiting: Option<(NodeConnection, Greeting)>,
    last: u64,
    /// Named user of the other node when the connection broke, and the time at which it broke.
    lost_user: Option<(u64, Instant)>,
    /// Number of the lost user, if another user had the volume on this node before the next
    /// connection; otherwise 0.
    superseded: u64,
    /// Number of the user that this node had reported to the other one when they were connected
    /// last; 0 for none.
    told_before: u64,
    /// Time at which data was received last, in this session or the previous one.
    heard: Option<Instant>,
    is_silent: bool,
    /// Facts that the other node has sent, in this session or the previous one.
    pub(super) facts: Option<ReplicaProperties>,
    /// True if a new history of the volume has begun since the facts were sent, so that they may be
    /// outdated.
    pub(super) may_have_more: bool,
    pub(super) why_not: String,
    /// Change of the mark of an incomplete volume that this node requests from the owner.
    pub(super) wanted_mark: Option<MarkChange>,
    came: VecDeque<Incoming>,
    /// Id of the resync in progress.
    resync: Option<String>,
    /// Numbers of the last greetings that were sent and received. Each node may greet the other one.
    sent_greeting: u64,
    received_greeting: u64,
    foreign: Account,
}

impl Peer {
    pub(super) fn new(epoll: Rc<OwnedFd>, key: u64, pool: &Pool) -> Peer {
        Peer {
            epoll,
            key,
            connected: None,
            waiting: None,
            last: 0,
            lost_user: None,
            superseded: 0,
            told_before: 0,
            heard: None,
            is_silent: false,
            facts: None,
            may_have_more: false,
            why_not: "not connected yet".to_owned(),
            wanted_mark: None,
            came: VecDeque::new(),
            resync: None,
            sent_greeting: 0,
            received_greeting: 0,
            foreign: pool.account(),
        }
    }

    pub(super) fn session(&self) -> Option<replica::Session> {
        self.connected.as_ref().map(|one| one.id)
    }

    pub(super) fn is_live(&self, now: Instant) -> bool {
        self.connected.is_some() && self.heard.is_some_and(|at| now < at + QUIET)
    }

    pub(super) fn serves(&self) -> bool {
        self.connected.as_ref().is_some_and(|one| one.serves)
    }

    pub(super) fn note_history(&mut self, message: &ReplicaMessage<Data>) {
        let Some(one) = &mut self.connected else {
            return;
        };
        match *message {
            ReplicaMessage::Hello { epoch, .. } => (one.epoch, one.joins) = (Some(epoch), None),
            ReplicaMessage::Begin { incarnation, .. } => one.joins = Some(incarnation),
            _ => {}
        }
        if let ReplicaMessage::Hello { number, .. } = *message {
            self.received_greeting = number;
        }
        self.trace_begin(message, "target", self.received_greeting);
    }

    /// Records the start of a resync. Both nodes derive the id of the operation from the message and
    /// the greeting of the owner. A resync after another greeting is another operation, also if it
    /// continues one that was interrupted.
    fn trace_begin(&mut self, message: &ReplicaMessage<Data>, side: &str, greeting: u64) {
        if let ReplicaMessage::Begin {
            epoch,
            incarnation,
            base,
            blocks,
            ..
        } = *message
        {
            let number = epoch.0.rotate_left(32) ^ incarnation.0 ^ base.0.rotate_left(16);
            let op = trace::operation_of(number ^ greeting.rotate_left(48));
            tracing::info!(
                op,
                side,
                epoch = epoch.0,
                base = base.0,
                blocks,
                "resync started"
            );
            self.resync = Some(op);
        }
    }

    pub(super) fn resync_operation(&self) -> Option<&str> {
        self.resync.as_deref()
    }

    /// Ends the operation of the resync: later events do not belong to it.
    pub(super) fn end_resync_operation(&mut self) {
        self.resync = None;
    }

    pub(super) fn served_history(&self) -> Option<(Epoch, Option<Incarnation>)> {
        let one = self.connected.as_ref()?;
        Some((one.epoch?, one.joins))
    }

    /// Returns the clients of the other node; None while they are unknown.
    pub(super) fn users(&self) -> Option<Users> {
        self.connected.as_ref()?.users
    }

    /// Returns whether another user had the volume on the other node when the connection broke, and
    /// may continue. The other node may be alive, and have lost only the connection or its volume
    /// role.
    pub(super) fn may_have_other(&self, user: &str, now: Instant) -> bool {
        self.lost_user
            .is_some_and(|(lost, at)| lost != number_of(user) && now < at + RESERVED_FOR)
    }

    /// Returns the number of the named user that had the volume on the other node when the
    /// connection broke, and may continue there.
    pub(super) fn lost_user(&self, now: Instant) -> Option<u64> {
        let lost = self.lost_user.filter(|(_, at)| now < *at + RESERVED_FOR);
        lost.map(|(user, _)| user)
    }

    /// Records that a user has the volume on this node while the last user of the other node is not
    /// connected. `own`: the number of this node's user, or 0.
    pub(super) fn watch_lost_user(&mut self, own: u64) {
        if let Some((lost, _)) = self.lost_user.filter(|_| self.connected.is_none())
            && own != 0
            && own != lost
        {
            self.superseded = lost;
        }
    }

    /// Returns the number of the other node's user that has lost the volume to a user of this node;
    /// otherwise 0.
    #[cfg(test)]
    pub(super) fn superseded(&self) -> u64 {
        self.superseded
    }

    /// Returns whether this user of this node has lost the volume to a user of the other node. A
    /// user that came after the one that the other node knew has not.
    pub(super) fn has_superseded(&self, user: u64) -> bool {
        let is_known = self.told_before == 0 || self.told_before == user;
        is_known
            && self
                .connected
                .as_ref()
                .is_some_and(|one| one.has_superseded)
    }

    pub(super) fn connect(
        &mut self,
        wire: NodeConnection,
        theirs: &Greeting,
        now: Instant,
    ) -> Option<replica::Session> {
        self.disconnect(None);
        let data = EventData::new_u64(self.key);
        epoll::add(&self.epoll, &wire, data, EventFlags::IN).ok()?;
        self.last += 1;
        let id = replica::Session(self.last);
        // Another session begins another resync. The previous one may have been interrupted.
        self.resync = None;
        self.facts = Some(theirs.facts);
        self.may_have_more = false;
        self.heard = Some(now);
        self.connected = Some(Connected {
            session: Session::new(wire),
            id,
            // Makes the first heartbeat due at once.
            pulsed: now.checked_sub(PULSE).unwrap_or(now),
            interest: EventFlags::IN,
            serves: false,
            users: None,
            told: Users::default(),
            told_mark: None,
            has_superseded: false,
            epoch: None,
            joins: None,
        });
        Some(id)
    }

    /// Closes the connection. The caller has already taken the received frames.
    pub(super) fn disconnect(&mut self, why: Option<String>) {
        let user = self.users().map_or(0, |users| users.holder);
        if user != 0 && user != number_of("") {
            self.lost_user = Some((user, Instant::now()));
        }
        if let Some(one) = &self.connected {
            self.told_before = one.told.holder;
        }
        // Closes the descriptor, which removes it from epoll, because there is no duplicate.
        self.connected = None;
        self.came.clear();
        if let Some(why) = why {
            self.why_not = why;
        }
    }

    /// Sends a message of the replica, unless it belongs to an old session.
    pub(super) fn send(&mut self, session: replica::Session, message: ReplicaMessage<Data>) {
        if self.session() == Some(session) {
            if let ReplicaMessage::Hello { number, .. } = message {
                self.sent_greeting = number;
            }
            self.trace_begin(&message, "source", self.sent_greeting);
        }
        if let Some(one) = self.connected.as_mut().filter(|one| one.id == session) {
            wire::send(&mut one.session, message);
        }
    }

    pub(super) fn send_frame(&mut self, write: impl FnOnce(&mut Session)) {
        if let Some(one) = &mut self.connected {
            write(&mut one.session);
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let quiet = self.heard.filter(|_| !self.is_silent);
        let quiet = quiet.map(|at| at + QUIET);
        let Some(one) = &self.connected else {
            let reserved = self.lost_user.map(|(_, at)| at + RESERVED_FOR);
            let reserved = reserved.filter(|until| *until > Instant::now());
            return [quiet, reserved].into_iter().flatten().min();
        };
        if one.session.has_input() {
            return Some(Instant::now());
        }
        let lost = self.heard.map(|at| at + SILENCE_MAX);
        let all = [Some(one.pulsed + PULSE), quiet, lost];
        all.into_iter().flatten().min()
    }

    /// Returns whether the node is silent, if that has changed since the last call. A node that was
    /// never connected is not silent.
    pub(super) fn check_silence(&mut self, now: Instant) -> Option<bool> {
        let is_silent = self.heard.is_some_and(|at| now >= at + QUIET);
        let before = std::mem::replace(&mut self.is_silent, is_silent);
        (before != is_silent).then_some(is_silent)
    }

    /// Sends a heartbeat when one is due: whether this node serves, and its clients.
    pub(super) fn send_heartbeat(
        &mut self,
        serves: bool,
        users: Users,
        now: Instant,
        at_once: bool,
    ) {
        if let Some(one) = &mut self.connected
            && (at_once
                || now >= one.pulsed + PULSE
                || one.told != users
                || one.told_mark != self.wanted_mark)
        {
            (one.pulsed, one.told) = (now, users);
            one.told_mark = self.wanted_mark;
            let may_continue = one
                .users
                .is_none_or(|there| there.holder == self.superseded);
            let is_superseded = self.superseded != 0 && may_continue;
            let head = FrameHeader {
                tag: if is_superseded { SUPERSEDED } else { 0 },
                first: users.accepted,
                count: users.clients,
                epoch: users.holder,
                ..FrameHeader::new(FrameKind::Pulse).number(u64::from(serves))
            };
            match self.wanted_mark {
                Some(wanted) => {
                    let (head, value) = wire::with_wanted_mark(head, wanted);
                    one.session.send_value(head, &value);
                }
                None => one.session.send(&head),
            }
        }
    }

    /// Handles a heartbeat. Returns whether the other node has started or stopped serving, and
    /// whether anything has changed.
    pub(super) fn handle_heartbeat(&mut self, head: &FrameHeader) -> (bool, bool) {
        let Some(one) = &mut self.connected else {
            return (false, false);
        };
        let serves = head.number == 1;
        // Accepts zeroes, which an earlier release sends instead of its users.
        let users = Some(Users {
            clients: head.count,
            accepted: head.first,
            holder: head.epoch,
        });
        let has_changed = std::mem::replace(&mut one.serves, serves) != serves;
        let is_news = std::mem::replace(&mut one.users, users) != users;
        one.has_superseded = head.tag == SUPERSEDED;
        self.lost_user = None;
        if head.epoch != self.superseded {
            self.superseded = 0;
        }
        (has_changed, has_changed || is_news)
    }

    /// Receives all available frames, which [`Peer::next`] then returns.
    ///
    /// # Errors
    /// The connection is broken, or the other node has been silent for [`SILENCE_MAX`].
    pub(super) fn receive(
        &mut self,
        pool: &Pool,
        own: &Account,
        now: Instant,
    ) -> Result<(), LinkError> {
        let Some(one) = &mut self.connected else {
            return Ok(());
        };
        let before = self.came.len();
        let foreign = &self.foreign;
        let account = |head: &FrameHeader| match head.kind {
            FrameKind::AskWrite => foreign,
            _ => own,
        };
        let received = one.session.receive(pool, &account, &mut self.came);
        // Counts the node as heard while this node waits for memory and therefore does not read.
        if self.came.len() > before || one.session.starves() {
            self.heard = Some(now);
        }
        if self.heard.is_some_and(|at| now >= at + SILENCE_MAX) {
            Err(LinkError::Silent)
        } else {
            received
        }
    }

    pub(super) fn next(&mut self) -> Option<Incoming> {
        self.came.pop_front()
    }

    /// Sends queued frames, and registers the epoll events that are needed.
    ///
    /// # Errors
    /// The connection is broken.
    pub(super) fn flush(&mut self) -> Result<(), LinkError> {
        let Some(one) = &mut self.connected else {
            return Ok(());
        };
        one.session.flush()?;
        let mut wanted = EventFlags::empty();
        wanted.set(EventFlags::IN, !one.session.starves());
        wanted.set(EventFlags::OUT, one.session.has_output());
        if wanted != one.interest {
            let data = EventData::new_u64(self.key);
            epoll::modify(&self.epoll, &one.session, data, wanted)?;
            one.interest = wanted;
        }
        Ok(())
    }

    pub(super) fn starves(&self) -> bool {
        let one = self.connected.as_ref();
        one.is_some_and(|one| one.session.starves())
    }
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Peer({:?})", self.session())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_of_a_lost_node_keeps_the_volume_for_a_while() {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let mut peer = Peer::new(Rc::new(epoll), 1, &Pool::new().unwrap());
        let now = Instant::now();
        assert!(!peer.may_have_other("guest/b", now));
        peer.lost_user = Some((number_of("guest/a"), now));
        assert!(peer.may_have_other("guest/b", now));
        assert!(!peer.may_have_other("guest/a", now));
        assert!(peer.deadline().is_some());
        assert!(!peer.may_have_other("guest/b", now + RESERVED_FOR));
    }

    #[test]
    fn expected_user_has_no_number_and_a_reserved_one_has() {
        let user = |presence| {
            number(&VolumeUser::User {
                name: "guest/a".to_owned(),
                presence,
            })
        };
        assert_eq!(user(Presence::Expected), 0);
        assert_eq!(user(Presence::Reserved), number_of("guest/a"));
        assert_eq!(user(Presence::Connected), number_of("guest/a"));
    }

    #[test]
    fn a_node_is_silent_after_its_last_heartbeat() {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let mut peer = Peer::new(Rc::new(epoll), 1, &Pool::new().unwrap());
        let now = Instant::now();
        assert_eq!((peer.check_silence(now), peer.deadline()), (None, None));
        peer.heard = Some(now);
        assert_eq!(peer.check_silence(now + PULSE * 2), None);
        assert_eq!(peer.deadline(), Some(now + QUIET));
        assert_eq!(peer.check_silence(now + QUIET), Some(true));
        assert_eq!(peer.check_silence(now + QUIET * 2), None);
        assert_eq!(peer.deadline(), None);
        peer.heard = Some(now + QUIET * 2);
        assert_eq!(peer.check_silence(now + QUIET * 2), Some(false));
    }
}
