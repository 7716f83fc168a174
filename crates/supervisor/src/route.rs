//! Routing of messages from parts and operators to a part: forwarded by the name of the part,
//! without decoding them. A request gets a number of the supervisor; its response returns with the
//! number of the sender.

use crate::between::{Asks, HELD_MAX, PendingRequest, WAITING_MAX};
use crate::report;
use crate::route_process;
use crate::state::Supervisor;
use crate::version::LoadedVersion;
use part::SharedFd;
use part::channel::Received;
use part::role::{PartMessage, SupervisorMessage};
use part::row::Life;
use std::sync::Arc;
use std::time::Instant;

impl Supervisor {
    pub(super) fn pass_on(&mut self, of: Asks, received: Received) {
        let Received {
            message,
            ask,
            descriptors,
        } = received;
        let name = match &message {
            SupervisorMessage::TellReport { part } => part,
            SupervisorMessage::Part(message) => &message.part,
            SupervisorMessage::GiveVersion => return self.give_version(of),
            SupervisorMessage::TraceEvents(request) => return self.trace_events(of, request),
            _ => return,
        };
        if self.reads_own_report(of) && name == report::PART {
            let (answer, file) = self.report().answer();
            return self.answer_to(of, &answer, &file);
        }
        if name == route_process::PART && self.asks_for_routes(of) {
            let question = Received {
                message,
                ask,
                descriptors,
            };
            return self.begin_route(of, question);
        }
        let to = self.receiver(of, name, &message);
        let Some(to) = to else {
            return self.answer_nothing(of, "that part does not accept this message", false);
        };
        let descriptors: Vec<SharedFd> = descriptors.into_iter().map(Arc::new).collect();
        if let SupervisorMessage::Part(one) = &message
            && one.holds
        {
            self.hold(of, to, one);
        }
        let asks = !matches!(of, Asks::Role(..)) || ask != 0;
        if !asks {
            if let Some(role) = self.slots[to].process() {
                // If this fails, the role has ended; the main loop notices that.
                let _ = role.send_message(&message, &descriptors);
            }
            return;
        }
        let number = self.between.next_number();
        let room = self.between.open.len() < WAITING_MAX;
        let role = self.slots[to].process().filter(|_| room);
        if role.is_some_and(|role| role.send_numbered(number, &message, &descriptors)) {
            self.between.wait(number, of, to)
        } else {
            let (words, missing) = self.silence_of(to);
            self.answer_nothing(of, &words, missing);
        }
    }

    fn reads_reports(&self, of: Asks) -> bool {
        match of {
            Asks::Client(_) => true,
            Asks::Role(part, _) => self.slots[part].row.reads_reports,
            Asks::Route(..) => false,
        }
    }

    /// Returns whether the sender may request the report of this process: the control role learns
    /// from it whether the version is in service.
    fn reads_own_report(&self, of: Asks) -> bool {
        let governs = |part| matches!(self.slots[part].row.life, Life::Governs(_));
        self.reads_reports(of) || matches!(of, Asks::Role(part, _) if governs(part))
    }

    fn asks_for_routes(&self, of: Asks) -> bool {
        match of {
            Asks::Role(part, _) => {
                let says_to = self.slots[part].row.message_recipients;
                says_to.contains(&route_process::PART)
            }
            Asks::Client(_) | Asks::Route(..) => false,
        }
    }

    /// Returns the part of this name, if it may get the message.
    pub(super) fn receiver(
        &self,
        of: Asks,
        name: &str,
        message: &SupervisorMessage,
    ) -> Option<&'static str> {
        let mut parts = self.slots.all().map(|slot| slot.row.part);
        let to = parts.find(|to| *to == name)?;
        let may = match of {
            Asks::Client(_) => true,
            Asks::Role(part, _) => {
                let reports = matches!(message, SupervisorMessage::TellReport { .. });
                let says_to = self.slots[part].row.message_recipients;
                says_to.contains(&to) || (self.reads_reports(of) && reports)
            }
            // A route process requests the proxy's report.
            Asks::Route(..) => matches!(self.slots[to].row.life, Life::Serves(_)),
        };
        may.then_some(to)
    }

    /// Sends a command the bundle of the version in service; a client of the same user could read
    /// the files anyway.
    fn give_version(&mut self, of: Asks) {
        // The bundle may contain keys, which only the primary role may have.
        let Asks::Client(_) = of else { return };
        let Some(bundle) = self.bundle() else {
            return self.answer_nothing(
                of,
                "nothing is served here yet: try again in a moment",
                false,
            );
        };
        self.answer_to(
            of,
            &SupervisorMessage::Answer { bytes: Vec::new() },
            &[bundle],
        );
    }

    pub(super) fn bundle(&self) -> Option<SharedFd> {
        let version = self
            .cluster
            .trial_version()
            .or(self.versions.last_good.as_ref());
        version.map(|version| Arc::clone(version.bundle()))
    }

    /// Returns why a part does not respond, and whether the version in service configures it.
    fn silence_of(&self, part: &str) -> (String, bool) {
        let slot = &self.slots[part];
        if matches!(slot.row.life, Life::Governs(_)) && self.command.cluster.is_none() {
            return (
                "this machine is not a member of a cluster".to_owned(),
                false,
            );
        }
        let kept = self.versions.last_good.as_ref();
        if slot.is_primary() && kept.is_some_and(LoadedVersion::is_without_proxy) {
            let words = "the served configuration has no proxy".to_owned();
            return (words, false);
        }
        let Some(beside) = slot.row.sidecar().filter(|_| slot.wanted.is_none()) else {
            return (slot.silence(), true);
        };
        let cluster = self.command.cluster.as_ref();
        let serves = self.versions.last_good.is_some();
        let words = match cluster {
            Some(start) if start.arbiter => {
                "this machine is an arbiter, which serves nothing: run the command on a node"
            }
            Some(_) if !serves => {
                "this member serves no version yet: `evenkeel cluster status` says more"
            }
            None if !serves => "nothing is served here yet: try again in a moment",
            _ => {
                return (
                    format!("the served configuration has no {}", beside.configured_noun),
                    false,
                );
            }
        };
        (words.to_owned(), false)
    }

    /// Stores a message, to be sent again to a role that starts later.
    pub(super) fn hold(&mut self, of: Asks, to: &'static str, message: &PartMessage) {
        let from = match of {
            Asks::Client(_) => "",
            Asks::Role(part, _) => part,
            // A message of a route process does not outlive that process.
            Asks::Route(..) => return,
        };
        let held = &mut self.between.stored_messages;
        let key = (from, to, message.kind);
        if held.len() < HELD_MAX || held.contains_key(&key) {
            held.insert(key, SupervisorMessage::Part(Box::new(message.clone())));
        }
    }

    pub(super) fn send_stored_messages(&mut self, part: &'static str) {
        let of_part = self
            .between
            .stored_messages
            .iter()
            .filter(|((_, to, _), _)| *to == part);
        let messages: Vec<SupervisorMessage> =
            of_part.map(|(_, message)| message.clone()).collect();
        if let Some(role) = self.slots[part].process() {
            for message in messages {
                // If this fails, the role has ended; the main loop notices that.
                let _ = role.send_message(&message, &[]);
            }
        }
    }

    /// Reports to the other roles that a part has released what it held, so that its messages no
    /// longer hold. Parts whose work continues after the program stops are excepted.
    pub(super) fn report_part_gone(&mut self, part: &'static str) {
        let beside = self.slots[part].row.sidecar();
        if self.service.stop.is_some() && beside.is_some_and(|row| row.continues_after_stop) {
            return;
        }
        let says_to = self.slots[part].row.message_recipients;
        let reaches = |to: &str| says_to.contains(&to);
        self.between
            .stored_messages
            .retain(|(from, _, _), _| *from != part);
        for slot in self.slots.all_mut().filter(|slot| reaches(slot.row.part)) {
            if let Some(role) = slot.process() {
                let part = part.to_owned();
                let _ = role.send_message(&SupervisorMessage::Gone { part }, &[]);
            }
        }
    }

    pub(super) fn forward_response(&mut self, part: &'static str, received: Received) {
        let this = |one: &PendingRequest| one.number == received.ask && one.to == part;
        let asked = self.between.remove_requests(this);
        let descriptors: Vec<SharedFd> = received.descriptors.into_iter().map(Arc::new).collect();
        for question in asked {
            self.answer_to(question.of, &received.message, &descriptors);
        }
    }

    pub(super) fn answer_to(
        &mut self,
        of: Asks,
        message: &SupervisorMessage,
        descriptors: &[SharedFd],
    ) {
        match of {
            Asks::Client(client) => {
                if let Some(control) = &mut self.interfaces.control {
                    control.send_response(client, message, descriptors);
                }
            }
            Asks::Role(part, ask) => {
                if let Some(role) = self.slots[part].process().filter(|_| ask != 0) {
                    let _ = role.send_numbered(ask, message, descriptors);
                }
            }
            Asks::Route(process, ask) => self.answer_route(process, ask, message, descriptors),
        }
    }

    pub(super) fn answer_nothing(&mut self, of: Asks, words: &str, missing: bool) {
        let words = words.to_owned();
        self.answer_to(of, &SupervisorMessage::Nobody { words, missing }, &[]);
    }

    pub(super) fn expire_requests(&mut self) {
        let now = Instant::now();
        self.drop_those(|question| question.until <= now);
    }

    pub(super) fn drop_questions(&mut self, part: &'static str) {
        let hears = |of: Asks| !matches!(of, Asks::Role(role, _) if role == part);
        self.between.open.retain(|question| hears(question.of));
        self.drop_those(|question| question.to == part);
    }

    fn drop_those(&mut self, is: impl Fn(&PendingRequest) -> bool) {
        for question in self.between.remove_requests(is) {
            let what = self.slots[question.to].row.entry.display_name;
            let words = format!("the {what} did not respond");
            self.answer_nothing(question.of, &words, true);
        }
    }
}
