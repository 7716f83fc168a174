//! Watches the previous proxy roles that finish their connections, such as after an upgrade of the
//! binary or a takeover from another program. Each one is killed at its time limit. A soft stop of
//! the program waits for them; a hard stop ends them.

use crate::carried::is_state;
use crate::slot::RunningRole;
use crate::stop::Stop;
use crate::turn::ProcessTurn;
use crate::{serving, tell};
use nix::sys::signal::Signal;
use part::role::{HandedRole, ROLES_MAX, SupervisorMessage};
use part::voice::MessagePrinter;
use std::os::fd::OwnedFd;
use std::slice;
use std::time::Instant;

/// Maximum number of finishing roles; a further one kills the oldest.
const ROLES_DRAINING_MAX: usize = ROLES_MAX / 2;

pub struct DrainingRole {
    pub proxy: RunningRole,
    /// Time at which the role is killed; None without a limit.
    pub until: Option<Instant>,
    sent_final_counts: bool,
}

/// Previous proxy roles that finish their connections, the oldest one first.
#[derive(Default)]
pub struct DrainingRoles {
    roles: Vec<DrainingRole>,
    /// A role of another program, which finishes once a new role serves.
    foreign: Option<RunningRole>,
}

impl DrainingRoles {
    /// Makes a proxy role finish its connections; it is killed after `hard-stop-after`.
    pub fn drain(&mut self, mut proxy: RunningRole, hard_stop_after_ms: Option<u64>) {
        let stop = Stop::by(Signal::SIGUSR1, hard_stop_after_ms, Instant::now());
        if let Some(stop) = &stop {
            serving::stop(&mut proxy, stop);
        }
        if self.roles.len() >= ROLES_DRAINING_MAX {
            let mut oldest = self.roles.remove(0);
            oldest.proxy.process.kill_and_wait();
        }
        self.resume(proxy, stop.and_then(|stop| stop.until));
    }

    /// Adds a role that is finishing already, until the given time.
    pub fn resume(&mut self, proxy: RunningRole, until: Option<Instant>) {
        self.roles.push(DrainingRole {
            proxy,
            until,
            sent_final_counts: false,
        });
    }

    pub fn keep_foreign(&mut self, role: RunningRole) {
        self.foreign = Some(role);
    }

    /// Makes the role of another program finish, because a new role serves now.
    pub fn drain_foreign(&mut self, hard_stop_after_ms: Option<u64>) {
        if let Some(foreign) = self.foreign.take() {
            self.drain(foreign, hard_stop_after_ms);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.roles.is_empty()
    }

    pub fn iter(&self) -> slice::Iter<'_, DrainingRole> {
        self.roles.iter()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut RunningRole> {
        self.roles.iter_mut().map(|one| &mut one.proxy)
    }

    /// Removes roles that have ended, and kills those whose time is over. Returns the final counts
    /// of the roles, which belong to the current one.
    pub fn poll(&mut self, now: Instant, voice: &mut MessagePrinter) -> Vec<OwnedFd> {
        let mut counts = Vec::new();
        self.roles.retain_mut(|one| {
            let process = &mut one.proxy.process;
            let mut turn = ProcessTurn::of(process);
            while let Some(received) = turn.next(Some(&mut *process), voice) {
                // Uses the final counts of a role only once: a repetition would be counted twice.
                if let SupervisorMessage::State { rest: true, .. } = received.message
                    && !std::mem::replace(&mut one.sent_final_counts, true)
                {
                    let rest = received.descriptors.into_iter().next();
                    counts.extend(rest.filter(is_state));
                }
            }
            if one.until.take_if(|until| *until <= now).is_some() {
                process.kill();
            }
            let ending = turn.ending(Some(process));
            if let Some(ending) = ending {
                tell::former_ended(voice, process.number(), ending);
            }
            ending.is_none()
        });
        counts
    }

    /// Stops the roles in a hard stop of the program; in a soft stop they continue to finish.
    pub fn stop(&mut self, stop: &Stop) {
        if stop.is_soft() {
            return;
        }
        for one in &mut self.roles {
            serving::stop(&mut one.proxy, stop);
            one.until = stop.until;
        }
    }

    pub fn kill_all(&mut self) {
        for one in &mut self.roles {
            one.proxy.process.kill_and_wait();
        }
    }

    pub fn hand_over(&self) -> impl Iterator<Item = HandedRole> {
        let left = |until: Instant| until.saturating_duration_since(Instant::now());
        self.iter()
            .map(move |one| one.proxy.handed(one.until.map(left)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bed::{Theirs, bed, voice};
    use part::memory;
    use part::role::Manner;
    use std::sync::Arc;
    use std::time::Duration;

    const LIMIT: Duration = Duration::from_secs(20);

    fn draining(hard_stop_after_ms: Option<u64>) -> (DrainingRoles, Theirs) {
        let (process, theirs) = bed();
        let mut roles = DrainingRoles::default();
        roles.drain(RunningRole::adopted(process), hard_stop_after_ms);
        (roles, theirs)
    }

    #[test]
    fn role_is_asked_once_and_removed_after_its_end() {
        let (mut roles, mut theirs) = draining(None);
        let received = theirs.channel.wait(Some(LIMIT)).expect("a message");
        assert_eq!(received.message, SupervisorMessage::Stop(Manner::Soft));
        assert!(roles.poll(Instant::now(), &mut voice()).is_empty());
        assert!(!roles.is_empty(), "without a limit nothing ends the role");
        theirs.child.kill().expect("a signal");
        assert!(lab::eventually(LIMIT, || {
            roles.poll(Instant::now(), &mut voice());
            roles.is_empty()
        }));
    }

    #[test]
    fn role_is_killed_when_its_time_is_over() {
        let (mut roles, _theirs) = draining(Some(0));
        let until = roles.iter().next().and_then(|one| one.until);
        let until = until.expect("a limit");
        roles.poll(until - Duration::from_millis(1), &mut voice());
        assert_eq!(roles.iter().next().and_then(|one| one.until), Some(until));
        assert!(lab::eventually(LIMIT, || {
            roles.poll(until, &mut voice());
            roles.is_empty()
        }));
    }

    #[test]
    fn final_counts_are_used_once_and_others_never() {
        let (mut roles, mut theirs) = draining(None);
        let counts = || Arc::new(memory::create("test", b"counts").expect("memory"));
        let state = |rest| SupervisorMessage::State { rest, asked: false };
        for rest in [false, true, true] {
            theirs
                .channel
                .send(&state(rest), &[counts()])
                .expect("sent");
        }
        let mut all = 0;
        for _ in 0..3 {
            all += roles.poll(Instant::now(), &mut voice()).len();
        }
        assert_eq!(all, 1);
    }

    #[test]
    fn oldest_role_is_killed_for_another_one() {
        let mut roles = DrainingRoles::default();
        let mut others = Vec::new();
        for _ in 0..=ROLES_DRAINING_MAX {
            let (process, theirs) = bed();
            others.push(theirs);
            roles.drain(RunningRole::adopted(process), None);
        }
        assert_eq!(roles.iter().count(), ROLES_DRAINING_MAX);
        let first = others[0].child.id().cast_signed();
        let mut known = roles.iter().map(|one| one.proxy.process.number());
        assert!(known.all(|number| number != first));
    }

    #[test]
    fn only_a_hard_stop_shortens_the_time() {
        let (mut roles, _theirs) = draining(None);
        let now = Instant::now();
        let stop = |signal| Stop::by(signal, None, now).expect("a stop");
        roles.stop(&stop(Signal::SIGUSR1));
        assert_eq!(roles.iter().next().and_then(|one| one.until), None);
        let hard = stop(Signal::SIGTERM);
        roles.stop(&hard);
        assert_eq!(roles.iter().next().and_then(|one| one.until), hard.until);
    }

    #[test]
    fn foreign_role_drains_once_a_role_serves() {
        let mut roles = DrainingRoles::default();
        roles.drain_foreign(None);
        assert!(roles.is_empty());
        let (process, _theirs) = bed();
        roles.keep_foreign(RunningRole::foreign(process));
        assert!(roles.is_empty());
        roles.drain_foreign(None);
        roles.drain_foreign(None);
        assert_eq!(roles.iter().count(), 1);
    }
}
