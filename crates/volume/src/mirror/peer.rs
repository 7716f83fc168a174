//! The other node, as this one sees it over the link.

use super::{Data, wire};
use crate::disk::{Account, Pool};
use crate::export::{Holder, Presence, RESERVED_FOR};
use crate::link::frame::{Head, Kind, checksum};
use crate::link::greeting::{Facts, Greeting};
use crate::link::{Incoming, LinkError, Session};
use crate::replica::{self, Message};
use ::wire::Wire;
use rustix::event::epoll::{self, EventData, EventFlags};
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How often the other node hears that this one lives.
const PULSE: Duration = Duration::from_millis(500);
/// A node from which nothing came for so long, connected or not, is silent.
const QUIET: Duration = Duration::from_millis(1250);
/// A node from which nothing came for so long is lost.
const SILENCE_MAX: Duration = Duration::from_secs(2);

/// The clients that are connected at a node.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Users {
    /// How many there are.
    pub clients: u32,
    /// How many connections there were since the volume was opened there.
    pub accepted: u64,
    /// The [`number`] of the user that is connected there; 0: none is, or it is of an earlier
    /// version.
    pub holder: u64,
}

impl Users {
    /// Whether another user than this one is connected there, or continues there.
    pub fn has_other(self, user: &str) -> bool {
        self.holder != 0 && self.holder != number_of(user)
    }
}

/// The number by which two nodes compare the users of a volume: not 0. A user that is only expected
/// has 0. One for which the volume is reserved counts: it continues where it was.
pub(super) fn number(holder: &Holder) -> u64 {
    let name = match holder {
        Holder::User {
            presence: Presence::Expected,
            ..
        } => return 0,
        Holder::User { name, .. } => name.as_str(),
        Holder::Clients => "",
    };
    number_of(name)
}

/// The number of a user of this name.
pub(super) fn number_of(name: &str) -> u64 {
    checksum(name.as_bytes()).max(1)
}

/// A connection with what is known of the other side.
#[derive(Debug)]
struct Connected {
    session: Session,
    id: replica::Session,
    pulsed: Instant,
    interest: EventFlags,
    /// It says that it serves.
    serves: bool,
    /// Its clients, as it says.
    users: Option<Users>,
    /// The clients here, as it was told.
    told: Users,
}

/// The other node.
pub(super) struct Peer {
    epoll: Rc<OwnedFd>,
    key: u64,
    connected: Option<Connected>,
    /// A connection without TLS that waits until the present one is lost.
    pub(super) waiting: Option<(Wire, Greeting)>,
    last: u64,
    /// The named user that it had when the connection was lost, and when that was.
    lost_user: Option<(u64, Instant)>,
    /// When something came of it, in this session or the one before.
    heard: Option<Instant>,
    is_silent: bool,
    /// What it said that it has, in this session or the one before.
    pub(super) facts: Option<Facts>,
    /// Another history of the volume began since it said so: its copy may be of that one now.
    pub(super) may_have_more: bool,
    /// Why there is no connection.
    pub(super) why_not: String,
    came: VecDeque<Incoming>,
    /// For payloads of requests of its clients.
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
            heard: None,
            is_silent: false,
            facts: None,
            may_have_more: false,
            why_not: "not connected yet".to_owned(),
            came: VecDeque::new(),
            foreign: pool.account(),
        }
    }

    /// The session, if there is one.
    pub(super) fn session(&self) -> Option<replica::Session> {
        self.connected.as_ref().map(|one| one.id)
    }

    /// Whether it is connected, and something came of it lately.
    pub(super) fn is_live(&self, now: Instant) -> bool {
        self.connected.is_some() && self.heard.is_some_and(|at| now < at + QUIET)
    }

    /// Whether it says that it serves.
    pub(super) fn serves(&self) -> bool {
        self.connected.as_ref().is_some_and(|one| one.serves)
    }

    /// Its clients; None while that is not known.
    pub(super) fn users(&self) -> Option<Users> {
        self.connected.as_ref()?.users
    }

    /// Whether another user than this one had the volume there when the connection was lost, and may
    /// continue: its node may live, and have lost only this connection or its volume role.
    pub(super) fn may_have_other(&self, user: &str, now: Instant) -> bool {
        self.lost_user
            .is_some_and(|(lost, at)| lost != number_of(user) && now < at + RESERVED_FOR)
    }

    /// Takes a connection; the one before it is closed.
    pub(super) fn connect(
        &mut self,
        wire: Wire,
        theirs: &Greeting,
        now: Instant,
    ) -> Option<replica::Session> {
        self.disconnect(None);
        let data = EventData::new_u64(self.key);
        epoll::add(&self.epoll, &wire, data, EventFlags::IN).ok()?;
        self.last += 1;
        let id = replica::Session(self.last);
        self.facts = Some(theirs.facts);
        self.may_have_more = false;
        self.heard = Some(now);
        self.connected = Some(Connected {
            session: Session::new(wire),
            id,
            // The first pulse is due at once.
            pulsed: now.checked_sub(PULSE).unwrap_or(now),
            interest: EventFlags::IN,
            serves: false,
            users: None,
            told: Users::default(),
        });
        Some(id)
    }

    /// Closes the connection. What came before that has been taken.
    pub(super) fn disconnect(&mut self, why: Option<String>) {
        let user = { self.users() }.map_or(0, |users| users.holder);
        if user != 0 && user != number_of("") {
            self.lost_user = Some((user, Instant::now()));
        }
        // Its descriptor leaves epoll when it is closed: nothing else has it.
        self.connected = None;
        self.came.clear();
        if let Some(why) = why {
            self.why_not = why;
        }
    }

    /// Sends a message of the replica, if it is of this session.
    pub(super) fn send(&mut self, session: replica::Session, message: Message<Data>) {
        if let Some(one) = self.connected.as_mut().filter(|one| one.id == session) {
            wire::send(&mut one.session, message);
        }
    }

    /// Sends something else.
    pub(super) fn say(&mut self, write: impl FnOnce(&mut Session)) {
        if let Some(one) = &mut self.connected {
            write(&mut one.session);
        }
    }

    /// When something is due.
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

    /// Returns whether it is silent, if that has changed. One that never was connected is not.
    pub(super) fn silence(&mut self, now: Instant) -> Option<bool> {
        let is_silent = { self.heard }.is_some_and(|at| now >= at + QUIET);
        let before = std::mem::replace(&mut self.is_silent, is_silent);
        (before != is_silent).then_some(is_silent)
    }

    /// Tells the other side that this one lives, whether it serves, and which clients it has.
    pub(super) fn pulse(&mut self, (serves, users): (bool, Users), now: Instant, at_once: bool) {
        if let Some(one) = &mut self.connected
            && (at_once || now >= one.pulsed + PULSE || one.told != users)
        {
            (one.pulsed, one.told) = (now, users);
            let head = Head {
                first: users.accepted,
                count: users.clients,
                epoch: users.holder,
                ..Head::new(Kind::Pulse).number(u64::from(serves))
            };
            one.session.send(&head);
        }
    }

    /// A pulse came. Returns whether the other side serves now and did not before, or the
    /// other way round; and whether anything changed.
    pub(super) fn pulsed(&mut self, head: &Head) -> (bool, bool) {
        let Some(one) = &mut self.connected else {
            return (false, false);
        };
        let serves = head.number == 1;
        // An earlier version sends zeroes.
        let users = Some(Users {
            clients: head.count,
            accepted: head.first,
            holder: head.epoch,
        });
        let has_changed = std::mem::replace(&mut one.serves, serves) != serves;
        let is_news = std::mem::replace(&mut one.users, users) != users;
        self.lost_user = None;
        (has_changed, has_changed || is_news)
    }

    /// Receives what there is; then take it with [`Peer::next`].
    ///
    /// # Errors
    /// The connection is lost.
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
        let account = |head: &Head| match head.kind {
            Kind::AskWrite => foreign,
            _ => own,
        };
        let received = one.session.receive(pool, &account, &mut self.came);
        // While this side waits for memory, it does not hear what may have come.
        if self.came.len() > before || one.session.starves() {
            self.heard = Some(now);
        }
        match { self.heard }.is_some_and(|at| now >= at + SILENCE_MAX) {
            true => Err(LinkError::Silent),
            false => received,
        }
    }

    /// The next frame that came.
    pub(super) fn next(&mut self) -> Option<Incoming> {
        self.came.pop_front()
    }

    /// Sends what waits, and lets epoll report what is of use.
    ///
    /// # Errors
    /// The connection is lost.
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

    /// Whether it waits for memory.
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
            number(&Holder::User {
                name: "guest/a".to_owned(),
                presence,
            })
        };
        assert_eq!(user(Presence::Expected), 0);
        assert_eq!(user(Presence::Reserved), number_of("guest/a"));
        assert_eq!(user(Presence::Connected), number_of("guest/a"));
    }

    #[test]
    fn a_node_is_silent_when_it_was_heard_and_is_not_any_more() {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let mut peer = Peer::new(Rc::new(epoll), 1, &Pool::new().unwrap());
        let now = Instant::now();
        assert_eq!((peer.silence(now), peer.deadline()), (None, None));
        peer.heard = Some(now);
        assert_eq!(peer.silence(now + PULSE * 2), None);
        assert_eq!(peer.deadline(), Some(now + QUIET));
        assert_eq!(peer.silence(now + QUIET), Some(true));
        assert_eq!(peer.silence(now + QUIET * 2), None);
        assert_eq!(peer.deadline(), None);
        peer.heard = Some(now + QUIET * 2);
        assert_eq!(peer.silence(now + QUIET * 2), Some(false));
    }
}
