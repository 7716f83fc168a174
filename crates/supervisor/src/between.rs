//! Decides which sender may send a message to which part, keeps the requests that wait for a
//! response, and stores messages for roles that start later. The supervisor forwards the messages
//! ([`crate::route`]).

use crate::route_process::{self, RouteProcesses};
use crate::slot::RoleSlot;
use part::role::{PartMessage, SupervisorMessage};
use part::row::{Life, RoleRow};
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

const ANSWER_LIMIT: Duration = Duration::from_secs(5);
const WAITING_MAX: usize = 256;
/// Maximum number of messages that are stored for roles that start later; further ones are dropped.
const HELD_MAX: usize = 32;

/// The sender of a message, with the number of its request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asks {
    Client(u64),
    Role(&'static str, u64),
    Route(i32, u64),
}

impl Asks {
    /// Returns whether the sender waits for a response.
    pub fn waits(self) -> bool {
        !matches!(self, Asks::Role(_, 0))
    }

    fn row(self, rows: &[&'static RoleRow]) -> Option<&'static RoleRow> {
        let Asks::Role(part, _) = self else {
            return None;
        };
        rows.iter().find(|row| row.part == part).copied()
    }

    fn reads_reports(self, rows: &[&'static RoleRow]) -> bool {
        let is_client = matches!(self, Asks::Client(_));
        is_client || self.row(rows).is_some_and(|row| row.reads_reports)
    }

    /// Returns whether the sender may request the supervisor's own report. The control role may,
    /// because it learns from the report whether the version is in service.
    pub fn reads_own_report(self, rows: &[&'static RoleRow]) -> bool {
        let governs = |row: &RoleRow| matches!(row.life, Life::Governs(_));
        self.reads_reports(rows) || self.row(rows).is_some_and(governs)
    }

    pub fn may_request_routes(self, rows: &[&'static RoleRow]) -> bool {
        let row = self.row(rows);
        row.is_some_and(|row| row.message_recipients.contains(&route_process::PART))
    }

    /// Returns the part of this name, if the sender may send it the message.
    pub fn receiver(
        self,
        rows: &[&'static RoleRow],
        name: &str,
        message: &SupervisorMessage,
    ) -> Option<&'static str> {
        let to = rows.iter().find(|row| row.part == name)?;
        let is_allowed = match self {
            Asks::Client(_) => true,
            Asks::Role(..) => {
                let requests_report = matches!(message, SupervisorMessage::TellReport { .. });
                let row = self.row(rows)?;
                row.message_recipients.contains(&to.part) || (row.reads_reports && requests_report)
            }
            // Allows a route process only messages to the proxy, whose report it requests.
            Asks::Route(..) => matches!(to.life, Life::Serves(_)),
        };
        is_allowed.then_some(to.part)
    }
}

#[derive(Debug)]
pub struct PendingRequest {
    number: u64,
    pub of: Asks,
    pub to: &'static str,
    until: Instant,
}

/// Requests in progress between parts, in the order of their timeouts.
#[derive(Debug, Default)]
pub struct PendingRequests {
    last_number: u64,
    open: VecDeque<PendingRequest>,
}

impl PendingRequests {
    /// Returns the number for another request; None if [`WAITING_MAX`] requests already wait for a
    /// response.
    pub fn next_number(&mut self) -> Option<u64> {
        if self.open.len() >= WAITING_MAX {
            return None;
        }
        self.last_number += 1;
        Some(self.last_number)
    }

    /// Adds a request that was sent to a part with this number, so that the response finds its
    /// sender.
    pub fn add(&mut self, number: u64, of: Asks, to: &'static str, now: Instant) {
        self.open.push_back(PendingRequest {
            number,
            of,
            to,
            until: now + ANSWER_LIMIT,
        });
    }

    /// Removes the request to which a part responds, and returns its sender. None if nobody waits
    /// for the response.
    pub fn end(&mut self, number: u64, to: &str) -> Option<Asks> {
        let mut open = self.open.iter();
        let at = open.position(|one| one.number == number && one.to == to)?;
        self.open.remove(at).map(|one| one.of)
    }

    /// Removes and returns the requests whose response is overdue.
    pub fn expire(&mut self, now: Instant) -> Vec<PendingRequest> {
        self.remove(|one| one.until <= now)
    }

    /// Drops the requests that a role has sent, because it has ended. Removes and returns the
    /// requests that wait for a response of that role.
    pub fn drop_part(&mut self, part: &str) -> Vec<PendingRequest> {
        self.open
            .retain(|one| !matches!(one.of, Asks::Role(role, _) if role == part));
        self.remove(|one| one.to == part)
    }

    /// Drops the requests of a route process that has ended.
    pub fn drop_route(&mut self, process: i32) {
        self.open
            .retain(|one| !matches!(one.of, Asks::Route(number, _) if number == process));
    }

    fn remove(&mut self, is: impl Fn(&PendingRequest) -> bool) -> Vec<PendingRequest> {
        let all = std::mem::take(&mut self.open);
        let (taken, left) = all.into_iter().partition::<VecDeque<_>, _>(is);
        self.open = left;
        taken.into()
    }
}

/// Messages that stay valid until they are replaced: each is sent again to a receiver that starts
/// later. Only the newest message of each sender, receiver and kind is stored.
#[derive(Debug, Default)]
pub struct StoredMessages(BTreeMap<(&'static str, &'static str, u16), SupervisorMessage>);

impl StoredMessages {
    pub fn store(&mut self, of: Asks, to: &'static str, message: &PartMessage) {
        let from = match of {
            Asks::Client(_) => "",
            Asks::Role(part, _) => part,
            // Stores no message of a route process, because the message ends with the process.
            Asks::Route(..) => return,
        };
        let key = (from, to, message.kind);
        if self.0.len() < HELD_MAX || self.0.contains_key(&key) {
            let message = SupervisorMessage::Part(Box::new(message.clone()));
            self.0.insert(key, message);
        }
    }

    /// Sends a role all stored messages for its part.
    pub fn send_to(&self, slot: &mut RoleSlot) {
        let part = slot.row.part;
        let Some(role) = slot.process() else {
            return;
        };
        for (_, message) in self.0.iter().filter(|((_, to, _), _)| *to == part) {
            // Ignored: if the message cannot be sent, the role has ended, which the main loop
            // notices.
            let _ = role.send_message(message, &[]);
        }
    }

    /// Drops the messages that a part has sent, because it has released what it held.
    pub fn forget(&mut self, part: &str) {
        self.0.retain(|(from, _, _), _| *from != part);
    }
}

/// Requests in progress between parts, messages stored for roles that start later, and processes
/// that show the route of a request.
#[derive(Default)]
pub struct Between {
    pub requests: PendingRequests,
    pub stored: StoredMessages,
    pub routes: RouteProcesses,
}

impl Between {
    pub fn deadline(&self) -> Option<Instant> {
        let request = self.requests.open.front().map(|one| one.until);
        self.routes.deadline().into_iter().chain(request).min()
    }

    pub fn is_quiet(&self) -> bool {
        self.requests.open.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bed::bed;
    use crate::slot::RunningRole;
    use part::role::Level;
    use part::row::{ControllerProperties, FirstMessages, PrimaryProperties};
    use part::spawn::LOADER_ENTRY;
    use std::io;
    use std::process::ExitCode;

    const fn row(part: &'static str) -> RoleRow {
        RoleRow::plain(part, LOADER_ENTRY, |_| ExitCode::SUCCESS, "tests")
    }

    static PROXY: RoleRow = RoleRow {
        life: Life::Serves(PrimaryProperties { operate }),
        ..row("proxy")
    };
    static CONTROL: RoleRow = RoleRow {
        life: Life::Governs(ControllerProperties {
            socket: "",
            payload: |_, _| Vec::new(),
            accepted: "",
            read_accepted: |_| Err(io::ErrorKind::NotFound.into()),
            read_first_messages: |_| FirstMessages::default(),
        }),
        ..row("control")
    };
    static CONSOLE: RoleRow = RoleRow {
        reads_reports: true,
        message_recipients: &["control", route_process::PART],
        ..row("console")
    };
    static GUEST: RoleRow = row("guest");
    static ROWS: [&RoleRow; 4] = [&PROXY, &CONSOLE, &GUEST, &CONTROL];

    fn operate(_: Level) -> PartMessage {
        message("proxy", 1)
    }

    fn message(part: &str, kind: u16) -> PartMessage {
        PartMessage {
            part: part.to_owned(),
            kind,
            ..PartMessage::default()
        }
    }

    #[test]
    fn receivers_depend_on_the_sender_and_the_message() {
        let report = SupervisorMessage::TellReport {
            part: String::new(),
        };
        let other = SupervisorMessage::Part(Box::new(message("", 1)));
        let console = Asks::Role("console", 1);
        for (of, to, message, is_allowed) in [
            (Asks::Client(1), "guest", &other, true),
            (Asks::Client(1), "nobody", &other, false),
            (console, "control", &other, true),
            (console, "guest", &other, false),
            (console, "guest", &report, true),
            (Asks::Role("guest", 1), "console", &report, false),
            (Asks::Role("unknown", 1), "console", &other, false),
            (Asks::Route(7, 1), "proxy", &report, true),
            (Asks::Route(7, 1), "guest", &report, false),
        ] {
            let receiver = of.receiver(&ROWS, to, message);
            assert_eq!(receiver, is_allowed.then_some(to), "{of:?} {to}");
        }
        for (of, reads_own, routes) in [
            (Asks::Client(1), true, false),
            (console, true, true),
            (Asks::Role("control", 1), true, false),
            (Asks::Role("guest", 1), false, false),
            (Asks::Route(7, 1), false, false),
        ] {
            assert_eq!(of.reads_own_report(&ROWS), reads_own, "{of:?}");
            assert_eq!(of.may_request_routes(&ROWS), routes, "{of:?}");
        }
    }

    #[test]
    fn response_ends_one_request_of_the_part_once() {
        let mut requests = PendingRequests::default();
        let now = Instant::now();
        assert_eq!(requests.end(1, "guest"), None);
        let first = requests.next_number().expect("room");
        requests.add(first, Asks::Client(5), "guest", now);
        let second = requests.next_number().expect("room");
        requests.add(second, Asks::Client(6), "guest", now);
        assert_eq!(requests.end(first, "proxy"), None, "of another part");
        assert_eq!(requests.end(first, "guest"), Some(Asks::Client(5)));
        assert_eq!(requests.end(first, "guest"), None, "twice");
        assert!(requests.expire(now).is_empty());
        let expired = requests.expire(now + ANSWER_LIMIT);
        assert_eq!(expired.len(), 1);
        assert_eq!(expired[0].of, Asks::Client(6));
    }

    #[test]
    fn requests_of_an_ended_process_get_no_response() {
        let mut requests = PendingRequests::default();
        let now = Instant::now();
        for (of, to) in [
            (Asks::Role("guest", 1), "proxy"),
            (Asks::Role("console", 1), "guest"),
            (Asks::Route(7, 1), "proxy"),
        ] {
            let number = requests.next_number().expect("room");
            requests.add(number, of, to, now);
        }
        let unanswered = requests.drop_part("guest");
        assert_eq!(unanswered.len(), 1);
        assert_eq!(unanswered[0].of, Asks::Role("console", 1));
        requests.drop_route(8);
        assert_eq!(requests.open.len(), 1);
        requests.drop_route(7);
        assert!(requests.open.is_empty());
    }

    #[test]
    fn number_of_requests_is_bounded() {
        let mut requests = PendingRequests::default();
        for _ in 0..WAITING_MAX {
            let number = requests.next_number().expect("room");
            requests.add(number, Asks::Client(1), "proxy", Instant::now());
        }
        assert_eq!(requests.next_number(), None);
        requests.end(1, "proxy");
        assert!(requests.next_number().is_some());
    }

    #[test]
    fn last_message_of_a_kind_is_sent_to_a_later_role() {
        let (process, mut theirs) = bed();
        let mut slot = RoleSlot::of(&GUEST);
        let mut stored = StoredMessages::default();
        let control = Asks::Role("control", 0);
        let with = |bytes: &[u8]| PartMessage {
            bytes: bytes.to_vec(),
            ..message("guest", 1)
        };
        stored.store(control, "guest", &with(b"old"));
        stored.store(control, "guest", &with(b"new"));
        stored.store(control, "console", &with(b"other"));
        stored.store(Asks::Route(7, 1), "guest", &with(b"route"));
        stored.send_to(&mut slot);
        slot.running = Some(RunningRole::adopted(process));
        stored.send_to(&mut slot);
        let received = theirs.channel.wait(None).expect("a message");
        let expected = SupervisorMessage::Part(Box::new(with(b"new")));
        assert_eq!(received.message, expected);
        stored.forget("control");
        stored.send_to(&mut slot);
        assert!(theirs.channel.receive().expect("a channel").is_none());
    }

    #[test]
    fn number_of_stored_messages_is_bounded() {
        let mut stored = StoredMessages::default();
        for kind in 0..2 * HELD_MAX as u16 {
            stored.store(Asks::Client(1), "guest", &message("guest", kind));
        }
        assert_eq!(stored.0.len(), HELD_MAX);
        stored.store(Asks::Client(1), "guest", &message("guest", 0));
        assert_eq!(stored.0.len(), HELD_MAX);
    }
}
