//! Detects changes among the members of a cluster and records them as events: a member is away or
//! back, another member is the leader.

use super::members::{CLUSTER, MEMBER, cluster_of};
use crate::look::MachineReport;
use part::report::{Event, Moment, StatusReport, Subject, span};
use part::status::{ClusterReport, MemberFault, MemberReach, MemberReport};

/// Part of the platform that reports the processes.
const SUPERVISOR: &str = "supervisor";
const ROLE: &str = "role";
/// Time after the start of the control role before its report is used, milliseconds. Until then the
/// role is still looking for the other members and a leader.
const SETTLES_MS: u64 = 10_000;
const AWAY: &str = "away";
const REACHABLE: &str = "reachable";

/// Returns the report of the cluster, unless its role has started so recently that it may not have
/// found the other members.
pub fn settled(look: &MachineReport) -> Option<&StatusReport> {
    let report = cluster_of(look)?;
    let mut reports = look.reports.iter();
    let processes = reports.find(|one| one.part == SUPERVISOR);
    let age_ms = processes.and_then(|processes| {
        let since = processes.find(ROLE, CLUSTER)?.since?;
        let now = processes.at.boottime_ms;
        Some(now.saturating_sub(since.boottime_ms))
    });
    age_ms.is_none_or(|ms| ms >= SETTLES_MS).then_some(report)
}

pub fn between(before: &StatusReport, now: &StatusReport, at: Moment) -> Vec<(String, Event)> {
    let members = now.of_kind(MEMBER).filter_map(|member| {
        let was = before.find(MEMBER, &member.name)?;
        let (from, to) = (state(was), state(member));
        (from != to).then(|| {
            let why = match (from, to) {
                (_, AWAY) => silence(member, "no message from it for"),
                (AWAY, _) => silence(was, "it was away for"),
                _ => member.why.clone(),
            };
            event(format!("{MEMBER} {}", member.name), at, from, to, why)
        })
    });
    let cluster = now.of_kind(CLUSTER).filter_map(|whole| {
        let was = before.find(CLUSTER, &whole.name)?;
        let (from, to) = (&was.state.word, &whole.state.word);
        let (old, new) = (ClusterReport::of(was), ClusterReport::of(whole));
        let is_changed = old.leader != new.leader || old.has_majority != new.has_majority;
        is_changed.then(|| {
            let why = leader_away(before, now).unwrap_or_default();
            event(format!("{CLUSTER} {}", whole.name), at, from, to, why)
        })
    });
    members.chain(cluster).collect()
}

fn event(object: String, at: Moment, from: &str, to: &str, why: String) -> (String, Event) {
    tracing::info!(
        object,
        from,
        to,
        reason = why,
        "state of the platform changed"
    );
    let event = Event {
        at,
        from: from.to_owned(),
        to: to.to_owned(),
        why,
    };
    (object, event)
}

/// Returns the state of a member as a word. Excluded are the path to the member, which is shown at
/// its link, and the duration of its absence, which changes all the time.
fn state(member: &Subject) -> &'static str {
    let member = MemberReport::of(member);
    match (member.reach, member.fault) {
        (MemberReach::Away, _) => AWAY,
        (_, MemberFault::None) => REACHABLE,
        (_, MemberFault::Disk) => "its disk fails",
        (_, MemberFault::Supervisor) => "without a supervisor",
        (_, MemberFault::Files) => "its files are missing",
        (_, MemberFault::Certificate) => "its certificate ends",
        (_, MemberFault::Unknown) => "it fails",
    }
}

/// Describes for how long a member that is away has been silent. Empty if it was never connected.
fn silence(member: &Subject, words: &str) -> String {
    let silent_ms = MemberReport::of(member).silent_ms;
    silent_ms.map_or_else(String::new, |ms| format!("{words} {}", span(ms)))
}

/// Explains that the previous leader is away. None if it is not away.
fn leader_away(before: &StatusReport, now: &StatusReport) -> Option<String> {
    let leads = |member: &&Subject| MemberReport::of(member).is_leader;
    let name = &before.of_kind(MEMBER).find(leads)?.name;
    let member = now.find(MEMBER, name)?;
    (state(member) == AWAY).then(|| format!("{name} is away"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::sample;
    use part::report::Grade;

    fn away(silent_ms: Option<u64>) -> MemberReport {
        MemberReport {
            reach: MemberReach::Away,
            silent_ms,
            ..MemberReport::default()
        }
    }

    fn reached(reach: MemberReach, rtt_us: u64) -> MemberReport {
        MemberReport {
            reach,
            rtt_us: Some(rtt_us),
            ..MemberReport::default()
        }
    }

    fn report(alpha: MemberReport, leader: Option<&str>) -> StatusReport {
        let grade = |bad| if bad { Grade::Bad } else { Grade::Good };
        let whole = match leader {
            Some(leader) => format!("{leader} is the leader"),
            None => "no majority, changes are frozen".to_owned(),
        };
        let member = |name: &str, status: MemberReport| {
            let is_leader = leader == Some(name);
            Subject::new(MEMBER, name).publish(&MemberReport {
                is_leader,
                ..status
            })
        };
        let alpha = member("alpha", alpha);
        let beta = member("beta", reached(MemberReach::Local, 0));
        let cluster = ClusterReport {
            leader: leader.unwrap_or_default().to_owned(),
            has_majority: leader.is_some(),
            version_in_progress: None,
        };
        StatusReport {
            part: CLUSTER.to_owned(),
            subjects: vec![
                Subject::new(CLUSTER, "shop")
                    .state(&whole, grade(leader.is_none()))
                    .publish(&cluster),
                alpha,
                beta,
            ],
            ..StatusReport::default()
        }
    }

    fn told(before: &StatusReport, now: &StatusReport) -> Vec<String> {
        let all = between(before, now, Moment::default()).into_iter();
        let line = |(of, event): (String, Event)| {
            format!("{of}: {} → {}: {}", event.from, event.to, event.why)
        };
        all.map(line).collect()
    }

    #[test]
    fn loss_leader_change_and_return_are_each_one_event() {
        let there = report(reached(MemberReach::Direct, 300), Some("alpha"));
        let slower = report(reached(MemberReach::Relayed, 900), Some("alpha"));
        let lost = report(away(Some(3_000)), Some("beta"));
        let later = report(away(Some(52_000)), Some("beta"));
        let back = report(reached(MemberReach::Direct, 300), Some("beta"));
        let mut all = Vec::new();
        let looks = [there, slower, lost, later, back.clone()];
        for pair in looks.windows(2) {
            all.extend(told(&pair[0], &pair[1]));
        }
        insta::assert_snapshot!(all.join("\n"), @r"
        member alpha: reachable → away: no message from it for 3 s
        cluster shop: alpha is the leader → beta is the leader: alpha is away
        member alpha: away → reachable: it was away for 52 s
        ");
        let failing = MemberReport {
            fault: MemberFault::Disk,
            ..reached(MemberReach::Direct, 300)
        };
        let fails = report(failing, None);
        insta::assert_snapshot!(told(&back, &fails).join("\n"), @r"
        member alpha: reachable → its disk fails: 
        cluster shop: beta is the leader → no majority, changes are frozen: 
        ");
    }

    #[test]
    fn a_starting_control_role_reports_no_changes_yet() {
        let after = |ms: u64| {
            let moment = |boottime_ms| Moment {
                boottime_ms,
                unix_ms: 0,
            };
            let mut role = Subject::new(ROLE, CLUSTER).state("running", Grade::Good);
            role.since = Some(moment(5_000));
            let processes = StatusReport {
                part: SUPERVISOR.to_owned(),
                at: moment(5_000 + ms),
                subjects: vec![role],
                ..StatusReport::default()
            };
            let mut look = sample();
            look.reports = vec![processes, report(away(None), None)];
            settled(&look).is_some()
        };
        assert!(!after(2_000));
        assert!(after(SETTLES_MS));
        assert!(settled(&sample()).is_none());
    }
}
