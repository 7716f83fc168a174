//! Reads the messages of the roles and notices their ends. Messages that every role may send are
//! handled here, the others by the kind of role. Also starts roles whose restart is due.

use crate::between::Asks;
use crate::slot::RunningRole;
use crate::state::Supervisor;
use crate::{programs, tell};
use part::channel::Received;
use part::report::Moment;
use part::role::SupervisorMessage;
use part::row::Life;
use part::spawn::ProcessExit;
use std::time::Instant;

impl Supervisor {
    pub(super) fn read_role_messages(&mut self, part: &'static str) {
        let Some(mut turn) = self.slots.begin_reading(part) else {
            return;
        };
        loop {
            let running = self.slots[part].running.as_mut();
            let process = running.map(|running| &mut running.process);
            let Some(received) = turn.next(process, &mut self.voice) else {
                break;
            };
            self.handle_common_message(part, received);
        }
        let running = self.slots[part].running.as_ref();
        if let Some(ending) = turn.ending(running.map(|running| &running.process))
            && let Some(running) = self.slots[part].running.take()
        {
            let unanswered = self.between.requests.drop_part(part);
            self.answer_unanswered(unanswered);
            match self.slots[part].row.life {
                Life::Serves(_) => self.proxy_ended(&running, ending),
                Life::Governs(_) => self.control_ended(&running, ending),
                Life::Beside(_) => self.part_ended(part, &running, ending),
            }
        }
    }

    fn handle_common_message(&mut self, part: &'static str, received: Received) {
        match received.message {
            SupervisorMessage::Answer { .. } | SupervisorMessage::Nobody { .. } => {
                self.forward_response(part, received)
            }
            SupervisorMessage::Part(_) | SupervisorMessage::TellReport { .. } => {
                self.pass_on(Asks::Role(part, received.ask), received);
            }
            SupervisorMessage::Pulse => {}
            // Ignores a repeated report of readiness.
            SupervisorMessage::Ready { .. } if self.slots[part].is_ready() => {}
            message => {
                let life = self.slots[part].row.life;
                if let (SupervisorMessage::Ready { .. }, Some(running)) =
                    (&message, &mut self.slots[part].running)
                    && !matches!(life, Life::Governs(_))
                {
                    running.ready = true;
                }
                let received = Received {
                    message,
                    ..received
                };
                match life {
                    Life::Serves(_) => self.handle_proxy_message(received),
                    Life::Governs(_) => self.hear_control(received),
                    Life::Beside(_) => self.handle_sidecar_message(part, received.message),
                }
            }
        }
    }

    /// Responds to a role that its message is unknown, unless the message is such a response
    /// itself.
    pub(super) fn not_understood(&mut self, part: &str, message: &SupervisorMessage) {
        let kind = message.kind();
        if !matches!(message, SupervisorMessage::Unknown { .. })
            && let Some(running) = &mut self.slots[part].running
        {
            // Ignored: if the message cannot be sent, the role has ended, which the main loop
            // notices.
            let _ = running.send_message(&SupervisorMessage::Unknown { kind });
        }
    }

    /// Kills roles whose timeout has expired, and starts roles whose restart is due.
    pub(super) fn check_slots(&mut self, now: Instant) {
        let slots = self.slots.all_mut();
        let due: Vec<_> = slots
            .filter_map(|slot| (slot.check_timeouts(now, &mut self.voice)).then_some(slot.row.part))
            .collect();
        for part in due {
            if self.slots[part].row.sidecar().is_none() || self.service.stop.is_none() {
                self.start(part);
            }
        }
    }

    fn start(&mut self, part: &'static str) {
        match self.slots[part].row.life {
            Life::Serves(_) => self.start_proxy(),
            Life::Governs(_) => self.start_control(),
            Life::Beside(_) => self.start_part(part),
        }
    }

    pub(super) fn note_crash(&mut self, part: &str, process: &RunningRole, ending: ProcessExit) {
        let (pid, words) = (process.process.number(), tell::ended_with(process, ending));
        self.slots[part].crashes.ended(pid, &words, Moment::now());
    }

    pub(super) fn restart_later(&mut self, part: &'static str, born: Instant, served: bool) {
        let now = Instant::now();
        let slot = &mut self.slots[part];
        let wait = slot.backoff.died(born, now, served);
        let serves = slot.is_primary();
        tell::restarts(&mut self.voice, wait, serves);
        if serves {
            self.interfaces
                .notify
                .status("the proxy died, restarting it");
        }
        if wait.is_zero() {
            self.start(part)
        } else {
            self.slots[part].restart_at = Some(now + wait)
        }
    }

    /// Starts the missing helper process of the primary role, which runs the programs of external
    /// checks.
    pub(super) fn give_programs(&mut self) {
        let versions = [
            self.versions.last_good.as_ref(),
            self.cluster.trial_version(),
        ];
        if let Some(proxy) = &mut self.slots.serving.running {
            let versions = versions.into_iter().flatten();
            let pid =
                programs::start_helper(proxy, versions, self.process.files_soft, &mut self.voice);
            self.carried.expect(pid);
        }
    }
}
