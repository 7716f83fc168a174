//! What the roles say and how they end: each is heard in its turn, what every role may say
//! is obeyed here, the rest by what its life is.

use crate::between::Asks;
use crate::slot::Running;
use crate::state::Supervisor;
use crate::{programs, tell};
use part::channel::Received;
use part::report::Moment;
use part::role::Message;
use part::row::Life;
use part::spawn::Ending;
use std::time::Instant;

impl Supervisor {
    /// Hears the role of a part and sees what became of it.
    pub(super) fn look_at_role(&mut self, part: &'static str) {
        let Some(mut turn) = self.slots.turn(part) else {
            return;
        };
        loop {
            let running = self.slots[part].running.as_mut();
            let process = running.map(|running| &mut running.process);
            let Some(received) = turn.next(process, &mut self.voice) else {
                break;
            };
            self.hear(part, received);
        }
        let running = self.slots[part].running.as_ref();
        if let Some(ending) = turn.ending(running.map(|running| &running.process))
            && let Some(running) = self.slots[part].running.take()
        {
            self.drop_questions(part);
            match self.slots[part].row.life {
                Life::Serves(_) => self.proxy_ended(&running, ending),
                Life::Governs(_) => self.control_ended(&running, ending),
                Life::Beside(_) => self.part_ended(part, &running, ending),
            }
        }
    }

    /// Obeys what every role may say; the rest is its own.
    fn hear(&mut self, part: &'static str, received: Received) {
        match received.message {
            Message::Answer { .. } | Message::Nobody { .. } => self.answered(part, received),
            Message::Part(_) | Message::TellReport { .. } => {
                self.pass_on(Asks::Role(part, received.ask), received);
            }
            Message::Pulse => {}
            // It is said once.
            Message::Ready { .. } if self.slots[part].is_ready() => {}
            message => {
                let life = self.slots[part].row.life;
                if let (Message::Ready { .. }, Some(running)) =
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
                    Life::Serves(_) => self.hear_proxy(received),
                    Life::Governs(_) => self.hear_control(received),
                    Life::Beside(_) => self.hear_part(part, received.message),
                }
            }
        }
    }

    /// Tells a role that what it said is not known, but for an answer to such.
    pub(super) fn not_understood(&mut self, part: &str, message: &Message) {
        let kind = message.kind();
        if !matches!(message, Message::Unknown { .. })
            && let Some(running) = &mut self.slots[part].running
        {
            // If this fails, the role has ended; the main loop notices that.
            let _ = running.say(&Message::Unknown { kind });
        }
    }

    /// Ends roles that take too long, and starts those whose time has come.
    pub(super) fn look_at_slots(&mut self, now: Instant) {
        let slots = self.slots.all_mut();
        let due: Vec<_> = slots
            .filter_map(|slot| (slot.look_at_clock(now, &mut self.voice)).then_some(slot.row.part))
            .collect();
        for part in due {
            if self.slots[part].row.beside().is_none() || self.service.stop.is_none() {
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

    /// Remembers for the report how a process ended that another one follows.
    pub(super) fn note_crash(&mut self, part: &str, process: &Running, ending: Ending) {
        let (pid, words) = (process.process.number(), tell::ended_with(process, ending));
        self.slots[part].crashes.ended(pid, &words, Moment::now());
    }

    /// Starts the role of a part again, at once or after the wait of its back-off.
    pub(super) fn restart_later(&mut self, part: &'static str, born: Instant, served: bool) {
        let now = Instant::now();
        let slot = &mut self.slots[part];
        let wait = slot.backoff.died(born, now, served);
        let serves = slot.serves();
        tell::restarts(&mut self.voice, wait, serves);
        if serves {
            self.doors.notify.status("the proxy died, restarting it");
        }
        match wait.is_zero() {
            true => self.start(part),
            false => self.slots[part].restart_at = Some(now + wait),
        }
    }

    /// The role that serves has no process that runs its checks' programs.
    pub(super) fn give_programs(&mut self) {
        let versions = [self.versions.kept.as_ref(), self.cluster.trial_version()];
        if let Some(proxy) = &mut self.slots.serving.running {
            let versions = versions.into_iter().flatten();
            let pid = programs::give(proxy, versions, self.own.files_soft, &mut self.voice);
            self.carried.expect(pid);
        }
    }
}
