//! Builds the status report of this machine's processes: the supervisor, the roles, roles that
//! finish their connections, and what needs attention.

use crate::directory;
use crate::loading::Loading;
use crate::slot::{RoleSlot, RunningRole};
use crate::state::Supervisor;
use crate::state::upgrade::Upgrade;
use crate::tell;
use crate::version::LoadedVersion;
use part::identity;
use part::report::{Grade, Moment, NumberRow, StatusReport, Subject};
use part::spawn::{CHECKS, LOADER_ENTRY};
use part::status::{ROLE, RoleReport, RoleState};
use std::time::{Duration, Instant, SystemTime};

pub const SUCCESSOR: &str = "successor";
/// Name of the part for report requests.
pub const PART: &str = "supervisor";

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn unix_s() -> i64 {
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    i64::try_from(unix.unwrap_or_default().as_secs()).unwrap_or(i64::MAX)
}

fn ago(time: Duration) -> Moment {
    let now = Moment::now();
    Moment {
        boottime_ms: now.boottime_ms.saturating_sub(ms(time)),
        unix_ms: now.unix_ms.saturating_sub(ms(time)),
    }
}

/// Kind of the subjects for resources that the version in service lacks.
pub const MISSING: &str = "missing";
const CERTIFICATE_END: &str = "certificate end";
/// Number of the supervisor's subject that is 1 while this machine serves a version.
pub const SERVES: &str = "serves";

/// Creates the subject of a role. `paused`: true if the listeners are paused. `successor` is the
/// process of the new program while an upgrade tries it beside this one.
fn role(
    slot: &RoleSlot,
    paused: bool,
    successor: Option<i32>,
    failure: Option<&str>,
) -> Option<Subject> {
    let name = slot.row.part;
    let running = slot.running.as_ref();
    let absent = running.is_none() && slot.restart_at.is_none();
    if absent && slot.wanted.is_none() {
        // If the first version failed, only the primary role is reported, as not started.
        return failure.filter(|_| slot.is_primary()).map(|failure| {
            let status = RoleReport {
                state: RoleState::NotStarted,
                ..RoleReport::default()
            };
            let mut subject = Subject::new(ROLE, name)
                .label("role")
                .state("not started", Grade::Bad)
                .publish(&status)
                .number("up", 0);
            subject.why = failure.to_owned();
            subject
        });
    }
    // Counts a role without a start timeout as ready, because it never reports that.
    let is_ready = |one: &RunningRole| one.ready || slot.row.ready_limit.is_none();
    let (state, word, grade) = match running {
        None => (RoleState::Restarting, "restarting", Grade::Bad),
        Some(_) if slot.stop_until.is_some() => (RoleState::Stopping, "stopping", Grade::Busy),
        Some(one) if !is_ready(one) => (RoleState::Starting, "starting", Grade::Busy),
        Some(_) if paused || successor.is_some() => (RoleState::Paused, "paused", Grade::Busy),
        Some(_) => (RoleState::Running, "running", Grade::Good),
    };
    let up = running.is_some_and(is_ready);
    let trouble = slot.crashes.trouble(Moment::now());
    // Shows only a running role as unstable; one that starts or stops keeps that state.
    let (word, grade) = match (&trouble, grade) {
        (Some(_), Grade::Good) => ("unstable", Grade::Bad),
        _ => (word, grade),
    };
    let number = |process: i32| u32::try_from(process).ok();
    let status = RoleReport {
        state,
        is_unstable: trouble.is_some(),
        process: running.and_then(|one| number(one.process.number())),
        successor: successor.and_then(number),
    };
    let mut subject = Subject::new(ROLE, name)
        .label("role")
        .state(word, grade)
        .publish(&status)
        .number("up", up.into());
    subject.events = slot.crashes.events();
    subject.why = trouble.filter(|_| grade == Grade::Bad).unwrap_or_default();
    if let Some(one) = running {
        subject = with_process(subject, one);
    }
    if let Some(successor) = successor {
        subject.why = format!(
            "upgrade: process {successor} of the new program serves; this process ends after some seconds, \
             and continues if the new one fails"
        );
        subject = subject.fact(SUCCESSOR, successor.to_string());
    }
    Some(subject)
}

fn with_process(mut subject: Subject, running: &RunningRole) -> Subject {
    subject.since = Some(ago(running.born.elapsed()));
    subject.fact("process", running.process.number().to_string())
}

fn loader(loading: &Loading) -> Subject {
    let slowness = loading.slowness(Instant::now());
    let subject = Subject::new("process", LOADER_ENTRY.display_name);
    let mut subject = match slowness {
        Some(_) => subject.state("slow", Grade::Bad),
        None => subject.state("reading the files", Grade::Busy),
    };
    subject.why = slowness.unwrap_or_default();
    subject.since = Some(ago(loading.began().elapsed()));
    subject.fact("process", loading.process.number().to_string())
}

/// Returns what needs attention: resources that the version in service lacks, removed files, and
/// certificates that expire soon.
fn attention(
    kept: Option<&LoadedVersion>,
    lost_files: Option<String>,
    is_member: bool,
) -> Vec<Subject> {
    let mut subjects = Vec::new();
    for missing in kept.iter().flat_map(|kept| &kept.plan().lacks.missing) {
        let mut subject =
            Subject::new(MISSING, &missing.what).state(missing.kind.state(), Grade::Bad);
        subject.why.clone_from(&missing.why);
        subjects.push(subject);
    }
    if let Some(words) = lost_files {
        let directory = directory::path().display().to_string();
        let mut subject = Subject::new(MISSING, &directory).state("removed", Grade::Bad);
        subject.why = words;
        subjects.push(subject);
    }
    let now_s = unix_s();
    let ends = kept.iter().flat_map(|kept| &kept.plan().certificates);
    for end in ends.filter(|end| end.is_due(now_s)) {
        let mut subject =
            Subject::new("certificate", &end.file).state(&end.words(now_s), Grade::Bad);
        let command = if is_member {
            "apply it with `evenkeel config apply FILE… -m MESSAGE`"
        } else {
            "load it with `evenkeel reload`"
        };
        subject.why = format!("renew the file, then {command}");
        subjects.push(subject);
    }
    subjects
}

impl Supervisor {
    pub(super) fn report(&self) -> StatusReport {
        let mut subjects = vec![self.own_state()];
        let failure = Some(self.cluster.failure()).filter(|why| !why.is_empty());
        for slot in self.slots.all() {
            let paused = self.service.paused && slot.is_primary();
            let upgrade = self.changing.upgrade.as_ref();
            let successor = upgrade.and_then(Upgrade::serving);
            let successor = successor.map(|role| role.process.number());
            let successor = successor.filter(|_| slot.is_primary());
            subjects.extend(role(slot, paused, successor, failure));
        }
        let kept = self.versions.last_good.as_ref();
        let lost_files = self.interfaces.entries.lost_files(&self.slots);
        subjects.extend(attention(kept, lost_files, self.cluster.is_member()));
        let proxy = self.slots.serving.running.iter();
        for helper in proxy.flat_map(|proxy| &proxy.helpers) {
            let subject = Subject::new("process", CHECKS).state("running", Grade::Good);
            subjects.push(subject.fact("process", helper.number().to_string()));
        }
        subjects.extend(self.changing.loading.as_ref().map(loader));
        for former in self.service.draining.iter() {
            let name = former.proxy.process.number().to_string();
            let mut subject = Subject::new("previous proxy", &name).state("finishing", Grade::Busy);
            if let Some(until) = former.until {
                let left = until.saturating_duration_since(Instant::now());
                subject = subject.fact("ends within", format!("{} s", left.as_secs() + 1));
            }
            subjects.push(subject);
        }
        StatusReport {
            part: PART.to_owned(),
            at: ago(Duration::ZERO),
            subjects,
            rows: vec![
                NumberRow::new("up", "evenkeel_role_up", "Whether the role is ready.").flag(),
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
                NumberRow::new(
                    SERVES,
                    "evenkeel_version_served",
                    "Whether this machine serves a version of its configuration.",
                )
                .flag(),
                NumberRow::new(
                    CERTIFICATE_END,
                    "evenkeel_certificate_end_timestamp_seconds",
                    "When the first certificate of the served version ends, seconds since 1970.",
                ),
                NumberRow::new(
                    MISSING,
                    "evenkeel_version_missing",
                    "Things that the served version needs and this machine lacks.",
                ),
            ],
        }
    }

    fn own_state(&self) -> Subject {
        let failure = self.cluster.failure();
        let (word, grade) = match (self.service.stop.is_some(), self.service.served) {
            (true, _) => ("stopping", Grade::Busy),
            (false, false) if !failure.is_empty() => ("cannot serve", Grade::Bad),
            (false, false) if self.cluster.is_arbiter() => ("running", Grade::Good),
            (false, false) => ("starting", Grade::Busy),
            (false, true) => ("running", Grade::Good),
        };
        let counts = self.changing.counts;
        let serves = self.versions.last_good.is_some() && self.service.served && self.serves();
        let kept = self.versions.last_good.as_ref();
        let missing = kept.map_or(0, |kept| kept.plan().lacks.missing.len())
            + usize::from(self.interfaces.entries.lost_files(&self.slots).is_some());
        let ends = kept.and_then(|kept| kept.plan().certificates.first());
        let ends_s = ends.map(|end| u64::try_from(end.until_s).unwrap_or_default());
        let mut subject = Subject::new("supervisor", &std::process::id().to_string())
            .state(word, grade)
            .number("changes", counts.asked)
            .number("failed", counts.failed)
            .number(SERVES, u64::from(serves))
            .number(MISSING, missing as u64);
        if let Some(ends_s) = ends_s {
            subject = subject.number(CERTIFICATE_END, ends_s);
        }
        failure.clone_into(&mut subject.why);
        subject.since = Some(ago(self.process.since.elapsed()));
        subject = subject.fact("program", format!("evenkeel {}", identity::VERSION));
        if let Some(version) = &self.versions.last_good {
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
    use std::process::ExitCode;

    static ROW: RoleRow = RoleRow::plain("test", LOADER_ENTRY, |_| ExitCode::SUCCESS, "tests");

    #[test]
    fn role_is_unstable_after_two_crashes() {
        let (process, _theirs) = bed();
        let mut slot = RoleSlot::of(&ROW);
        slot.running = Some(RunningRole::adopted(process));
        let mut ended = |pid| {
            slot.crashes
                .ended(pid, "was killed by SIGKILL", Moment::now());
            role(&slot, false, None, None).unwrap()
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
        // The second report still begins with the events of the first one, unchanged.
        assert_eq!(twice.events[0], once.events[0]);
    }
}
