//! Previous roles that finish their connections after an upgrade of the binary, or after a takeover
//! from another program. Only a soft stop waits for them. Their final counts go to the current
//! role.

use crate::carried::is_state;
use crate::slot::RunningRole;
use crate::state::{DrainingRole, Supervisor};
use crate::stop::Stop;
use crate::turn::ProcessTurn;
use crate::{serving, tell};
use nix::sys::signal::Signal;
use part::role::{ROLES_MAX, SupervisorMessage};
use std::sync::Arc;
use std::time::Instant;

/// Maximum number of finishing roles; beyond it the oldest one is ended.
pub const FORMERS_MAX: usize = ROLES_MAX / 2;

impl Supervisor {
    pub(super) fn see_off(&mut self, mut proxy: RunningRole) {
        let limit = self.versions.hard_stop_after_ms();
        let stop = Stop::by(Signal::SIGUSR1, limit, Instant::now());
        if let Some(stop) = &stop {
            serving::stop(&mut proxy, stop);
        }
        if self.service.formers.len() >= FORMERS_MAX {
            let mut oldest = self.service.formers.remove(0);
            oldest.proxy.process.kill_and_wait();
        }
        let until = stop.and_then(|stop| stop.until);
        self.service.formers.push(DrainingRole::new(proxy, until));
    }

    /// Makes a role of another program finish, because a new role serves now.
    pub(super) fn see_off_foreign(&mut self) {
        if let Some(foreign) = self.service.foreign.take() {
            self.see_off(foreign);
        }
    }

    pub(super) fn poll_draining_roles(&mut self) {
        let now = Instant::now();
        let mut rests = Vec::new();
        let mut ended = Vec::new();
        self.service.formers.retain_mut(|former| {
            let process = &mut former.proxy.process;
            let mut turn = ProcessTurn::of(process);
            while let Some(received) = turn.next(Some(&mut *process), &mut self.voice) {
                // The final counts are used once; a repetition would be counted twice.
                if let SupervisorMessage::State { rest: true, .. } = received.message
                    && !std::mem::replace(&mut former.sent_final_counts, true)
                {
                    let rest = received.descriptors.into_iter().next();
                    rests.extend(rest.filter(is_state));
                }
            }
            if former.until.is_some_and(|until| until <= now) {
                former.until = None;
                former.proxy.process.kill();
            }
            let process = &former.proxy.process;
            let ending = turn.ending(Some(process));
            ended.extend(ending.map(|ending| (process.number(), ending)));
            ending.is_none()
        });
        for rest in rests {
            if let Some(proxy) = &mut self.slots.serving.running {
                let _ =
                    (proxy.process.channel).send(&SupervisorMessage::AddState, &[Arc::new(rest)]);
            }
        }
        for (pid, ending) in ended {
            tell::former_ended(&mut self.voice, pid, ending);
        }
    }

    pub(super) fn stop_formers(&mut self, stop: &Stop) {
        if stop.is_soft() {
            // Former roles are finishing already.
            return;
        }
        for former in &mut self.service.formers {
            serving::stop(&mut former.proxy, stop);
            former.until = stop.until;
        }
    }
}
