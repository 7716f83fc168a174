//! Forwards messages of parts and operators to a part by its name, without decoding them. A request
//! gets a number of the supervisor; its response returns with the number of the sender. The
//! supervisor itself responds to requests for its own report, the version in service, trace events,
//! and routes.

use crate::between::{Asks, PendingRequest};
use crate::command::Start;
use crate::report;
use crate::route_process;
use crate::slot::RoleSlot;
use crate::state::Supervisor;
use crate::version::LoadedVersion;
use part::SharedFd;
use part::channel::Received;
use part::role::SupervisorMessage;
use part::row::{self, Life};
use std::sync::Arc;
use std::time::Instant;

impl Supervisor {
    pub(super) fn pass_on(&mut self, of: Asks, received: Received) {
        let name = match &received.message {
            SupervisorMessage::TellReport { part } => part,
            SupervisorMessage::Part(message) => &message.part,
            SupervisorMessage::GiveVersion => return self.give_version(of),
            SupervisorMessage::TraceEvents(request) => return self.trace_events(of, request),
            _ => return,
        };
        let rows = row::all();
        if of.reads_own_report(rows) && name == report::PART {
            let (answer, file) = self.report().answer();
            return self.answer_to(of, &answer, &file);
        }
        if name == route_process::PART && of.may_request_routes(rows) {
            return self.begin_route(of, received);
        }
        let Some(to) = of.receiver(rows, name, &received.message) else {
            return self.answer_nothing(of, "that part does not accept this message", false);
        };
        let message = received.message;
        let descriptors: Vec<SharedFd> = received.descriptors.into_iter().map(Arc::new).collect();
        if let SupervisorMessage::Part(one) = &message
            && one.holds
        {
            self.between.stored.store(of, to, one);
        }
        let slot = &mut self.slots[to];
        if !of.waits() {
            if let Some(role) = slot.process() {
                // Ignored: if the message cannot be sent, the role has ended, which the main loop
                // notices.
                let _ = role.send_message(&message, &descriptors);
            }
            return;
        }
        let sent = self.between.requests.next_number().filter(|number| {
            let role = slot.process();
            role.is_some_and(|role| role.send_numbered(*number, &message, &descriptors))
        });
        if let Some(number) = sent {
            self.between.requests.add(number, of, to, Instant::now());
        } else {
            let cluster = self.command.cluster.as_ref();
            let kept = self.versions.last_good.as_ref();
            let (words, missing) = silence(slot, cluster, kept);
            self.answer_nothing(of, &words, missing);
        }
    }

    /// Sends a command the bundle of the version in service; a client of the same user could read
    /// the files anyway.
    fn give_version(&mut self, of: Asks) {
        // Ignores requests of roles: the bundle may contain keys, which only the primary role may
        // have.
        let Asks::Client(_) = of else { return };
        let Some(version) = self.version_in_service() else {
            return self.answer_nothing(
                of,
                "nothing is served here yet: try again in a moment",
                false,
            );
        };
        let bundle = Arc::clone(version.bundle());
        let answer = SupervisorMessage::Answer { bytes: Vec::new() };
        self.answer_to(of, &answer, &[bundle]);
    }

    /// Starts a process that shows the route of a request.
    fn begin_route(&mut self, of: Asks, received: Received) {
        if !self.between.routes.has_room() {
            let words = "other requests are being evaluated: try again in a moment";
            return self.answer_nothing(of, words, true);
        }
        let Some(connection) = received.descriptors.into_iter().next() else {
            return self.answer_nothing(of, "the request has no connection", true);
        };
        let Some(version) = self.version_in_service() else {
            return self.answer_nothing(of, "nothing is served here yet", true);
        };
        let descriptors = [Arc::new(connection), Arc::clone(version.bundle())];
        let personality = self.command.personality;
        let routes = &mut self.between.routes;
        match routes.start(personality, &received.message, &descriptors) {
            Ok(()) => self.answer_to(of, &SupervisorMessage::Answer { bytes: Vec::new() }, &[]),
            Err(error) => {
                self.voice.warning(&error);
                self.answer_nothing(of, &error.to_string(), true);
            }
        }
    }

    pub(super) fn poll_routes(&mut self) {
        let events = (self.between.routes).poll(&mut self.voice, Instant::now());
        for number in events.ended {
            self.between.requests.drop_route(number);
        }
        for (number, received) in events.requests {
            if matches!(received.message, SupervisorMessage::Part(_)) {
                self.pass_on(Asks::Route(number, received.ask), received);
            }
        }
    }

    /// Drops the stored messages of a part that has released what it held, and reports the release
    /// to the parts that it sends to. During a stop, parts whose work continues after the program
    /// are left out.
    pub(super) fn report_part_gone(&mut self, part: &'static str) {
        let row = self.slots[part].row;
        let beside = row.sidecar();
        if self.service.stop.is_some() && beside.is_some_and(|row| row.continues_after_stop) {
            return;
        }
        self.between.stored.forget(part);
        let reaches = |slot: &&mut RoleSlot| row.message_recipients.contains(&slot.row.part);
        for slot in self.slots.all_mut().filter(reaches) {
            if let Some(role) = slot.process() {
                let part = part.to_owned();
                let _ = role.send_message(&SupervisorMessage::Gone { part }, &[]);
            }
        }
    }

    pub(super) fn forward_response(&mut self, part: &'static str, received: Received) {
        if let Some(of) = self.between.requests.end(received.ask, part) {
            let descriptors: Vec<SharedFd> =
                received.descriptors.into_iter().map(Arc::new).collect();
            self.answer_to(of, &received.message, &descriptors);
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
            Asks::Route(process, ask) => {
                self.between
                    .routes
                    .answer(process, ask, message, descriptors);
            }
        }
    }

    pub(super) fn answer_nothing(&mut self, of: Asks, words: &str, missing: bool) {
        let words = words.to_owned();
        self.answer_to(of, &SupervisorMessage::Nobody { words, missing }, &[]);
    }

    /// Responds with an error to requests that their receivers did not respond to.
    pub(super) fn answer_unanswered(&mut self, requests: Vec<PendingRequest>) {
        for request in requests {
            let what = self.slots[request.to].row.entry.display_name;
            let words = format!("the {what} did not respond");
            self.answer_nothing(request.of, &words, true);
        }
    }
}

/// Returns why a role does not respond, and whether the version in service configures it.
fn silence(
    slot: &RoleSlot,
    cluster: Option<&Start>,
    served: Option<&LoadedVersion>,
) -> (String, bool) {
    let words = match slot.row.life {
        Life::Governs(_) if cluster.is_none() => "this machine is not a member of a cluster",
        Life::Serves(_) if served.is_some_and(LoadedVersion::is_without_proxy) => {
            "the served configuration has no proxy"
        }
        Life::Beside(beside) if slot.wanted.is_none() => match cluster {
            Some(start) if start.arbiter => {
                "this machine is an arbiter, which serves nothing: run the command on a node"
            }
            Some(_) if served.is_none() => {
                "this member serves no version yet: `evenkeel cluster status` says more"
            }
            None if served.is_none() => "nothing is served here yet: try again in a moment",
            _ => {
                let things = beside.configured_noun;
                return (format!("the served configuration has no {things}"), false);
            }
        },
        _ => return (slot.silence(), true),
    };
    (words.to_owned(), false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use part::row::RoleRow;
    use part::spawn::LOADER_ENTRY;
    use std::process::ExitCode;

    static ROW: RoleRow = RoleRow::plain("test", LOADER_ENTRY, |_| ExitCode::SUCCESS, "tests");

    #[test]
    fn reason_without_a_version_depends_on_the_membership() {
        let slot = RoleSlot::of(&ROW);
        let start = |arbiter| Start {
            directory: "/".into(),
            arbiter,
        };
        for (cluster, expected) in [
            (None, "nothing is served here yet"),
            (Some(start(true)), "this machine is an arbiter"),
            (Some(start(false)), "this member serves no version yet"),
        ] {
            let (words, missing) = silence(&slot, cluster.as_ref(), None);
            assert!(words.starts_with(expected) && !missing, "{words}");
        }
    }
}
