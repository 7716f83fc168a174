//! The state of the processes of this machine: the supervisor, the roles and what still
//! finishes, as a [`Report`] of a part of its own.

use crate::slot::{Running, Slot};
use crate::state::Supervisor;
use crate::tell;
use part::report::{Grade, Moment, NumberRow, Report, Subject};
use part::spawn::CHECKS;
use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, Instant, SystemTime};

/// The fact of a role with the process that serves while this one is paused, in an upgrade.
pub const SUCCESSOR: &str = "successor";
/// The name under which it is asked for.
pub const PART: &str = "supervisor";

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The moment so long ago.
fn ago(time: Duration) -> Moment {
    let boottime = clock_gettime(ClockId::Boottime);
    let boottime = Duration::try_from(boottime).unwrap_or_default();
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Moment {
        boottime_ms: ms(boottime.saturating_sub(time)),
        unix_ms: ms(unix.unwrap_or_default().saturating_sub(time)),
    }
}

/// `successor`: the process of the new program, while an upgrade tries it beside this one.
fn role(slot: &Slot, paused: bool, successor: Option<i32>) -> Option<Subject> {
    let name = slot.row.part;
    let running = slot.running.as_ref();
    let absent = running.is_none() && slot.restart_at.is_none();
    if absent && slot.wanted.is_none() {
        return None;
    }
    // A role without a limit for its start reports nothing when it is ready.
    let is_ready = |one: &Running| one.ready || slot.row.ready_limit.is_none();
    let (word, grade) = match running {
        None => ("restarting", Grade::Bad),
        Some(_) if slot.stop_until.is_some() => ("stopping", Grade::Busy),
        Some(one) if !is_ready(one) => ("starting", Grade::Busy),
        Some(_) if paused || successor.is_some() => ("paused", Grade::Busy),
        Some(_) => ("running", Grade::Good),
    };
    let up = running.is_some_and(is_ready);
    let trouble = slot.crashes.trouble(Moment::now());
    // A process that begins or ends has a state of its own.
    let (word, grade) = match (&trouble, grade) {
        (Some(_), Grade::Good) => ("unstable", Grade::Bad),
        _ => (word, grade),
    };
    let mut subject = Subject::new("role", name)
        .label("role")
        .state(word, grade)
        .number("up", up.into());
    subject.events = slot.crashes.events();
    subject.why = trouble.filter(|_| grade == Grade::Bad).unwrap_or_default();
    if let Some(one) = running {
        subject = with_process(subject, one);
    }
    if let Some(successor) = successor {
        subject.why = format!(
            "upgrade: process {successor} of the new program serves; this one ends when that one has run for some \
             seconds, and goes on if it fails"
        );
        subject = subject.fact(SUCCESSOR, successor.to_string());
    }
    Some(subject)
}

fn with_process(mut subject: Subject, running: &Running) -> Subject {
    subject.since = Some(ago(running.born.elapsed()));
    subject.fact("process", running.process.number().to_string())
}

impl Supervisor {
    /// How the processes are now.
    pub(super) fn report(&self) -> Report {
        let mut subjects = vec![self.own_state()];
        for slot in self.slots.all() {
            let paused = self.service.paused && slot.serves();
            let successor = self.tried_process().filter(|_| slot.serves());
            subjects.extend(role(slot, paused, successor));
        }
        let proxy = self.slots.serving.running.iter();
        for helper in proxy.flat_map(|proxy| &proxy.helpers) {
            let subject = Subject::new("process", CHECKS).state("running", Grade::Good);
            subjects.push(subject.fact("process", helper.number().to_string()));
        }
        for former in &self.service.formers {
            let name = former.proxy.process.number().to_string();
            let mut subject = Subject::new("previous proxy", &name).state("finishing", Grade::Busy);
            if let Some(until) = former.until {
                let left = until.saturating_duration_since(Instant::now());
                subject = subject.fact("ends within", format!("{} s", left.as_secs() + 1));
            }
            subjects.push(subject);
        }
        Report {
            part: PART.to_owned(),
            at: ago(Duration::ZERO),
            subjects,
            rows: vec![
                NumberRow::new("up", "evenkeel_role_up", "Whether the role is ready."),
                NumberRow::new(
                    "changes",
                    "evenkeel_changes_total",
                    "Reloads and upgrades since the start, failed ones included.",
                ),
                NumberRow::new(
                    "failed",
                    "evenkeel_changes_failed",
                    "Changes that failed since the last successful one.",
                ),
            ],
        }
    }

    fn own_state(&self) -> Subject {
        let (word, grade) = match (self.service.stop.is_some(), self.service.served) {
            (true, _) => ("stopping", Grade::Busy),
            (false, false) => ("starting", Grade::Busy),
            (false, true) => ("running", Grade::Good),
        };
        let counts = self.changing.counts;
        let mut subject = Subject::new("supervisor", &std::process::id().to_string())
            .state(word, grade)
            .number("changes", counts.asked)
            .number("failed", counts.failed);
        subject.since = Some(ago(self.own.since.elapsed()));
        if let Some(version) = &self.versions.kept {
            subject = subject.fact("serves", tell::size(version));
        }
        let paths = self.command.paths.iter();
        let paths: Vec<String> = paths.map(|path| path.display().to_string()).collect();
        if !paths.is_empty() {
            subject = subject.lines("files", paths);
        }
        if counts.failed > 0 {
            subject = subject.fact("last change", "refused; the log says why");
        }
        subject
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bed::bed;
    use part::row::RoleRow;
    use part::spawn::LOADER_ENTRY;
    use std::process::ExitCode;

    static ROW: RoleRow = RoleRow::plain("test", LOADER_ENTRY, |_| ExitCode::SUCCESS, "tests");

    #[test]
    fn a_role_says_how_its_processes_ended_and_is_unstable_after_two() {
        let (process, _theirs) = bed();
        let mut slot = Slot::of(&ROW);
        slot.running = Some(Running::adopted(process));
        let mut ended = |pid| {
            slot.crashes
                .ended(pid, "was killed by SIGKILL", Moment::now());
            role(&slot, false, None).unwrap()
        };
        let once = ended(7);
        assert_eq!(once.state.word, "running");
        assert_eq!(once.events[0].why, "process 7 was killed by SIGKILL");
        assert!(once.events[0].at.unix_ms > 0);
        let twice = ended(8);
        assert_eq!(
            (&*twice.state.word, twice.state.grade),
            ("unstable", Grade::Bad)
        );
        assert!(twice.why.contains("process 8 was killed by SIGKILL"));
        assert_eq!(twice.value("up"), Some(1));
        // The events of before stay the same.
        assert_eq!(twice.events[0], once.events[0]);
    }
}
