//! Lists the machines of a platform from the local state and from the report of the cluster.

use crate::look::MachineReport;
use crate::platform::{MemberKind, PlatformMember};
use crate::shared::RemoteNodeState;
use part::report::{Grade, StatusReport, Subject, SubjectState, span};
use part::status::{MemberKind as PublishedKind, MemberReach, MemberReport};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Part of the platform whose report lists the members.
pub const CLUSTER: &str = "cluster";
pub const MEMBER: &str = "member";
/// Name of the fact with the predicted effect of a member's failure.
const IF_IT_FAILS: &str = "if it fails";
const FAILED: &str = "failed";

/// Returns the report of the cluster if it lists the members. None without a cluster, and while the
/// control role does not respond.
pub fn cluster_of(look: &MachineReport) -> Option<&StatusReport> {
    let report = look.reports.iter().find(|report| report.part == CLUSTER)?;
    report.of_kind(MEMBER).next().map(|_| report)
}

pub fn has_silent_cluster(look: &MachineReport) -> bool {
    cluster_of(look).is_none() && look.reports.iter().any(|report| report.part == CLUSTER)
}

/// Returns all machines, this one first, according to the report of the cluster, which may be older
/// than this machine's own state. Adds the reports of the other machines.
pub fn of(
    look: Arc<MachineReport>,
    report: Option<&StatusReport>,
    others: &BTreeMap<String, RemoteNodeState>,
) -> Vec<PlatformMember> {
    let subjects = report.iter().flat_map(|report| report.of_kind(MEMBER));
    let subjects: Vec<&Subject> = subjects.collect();
    let mut members: Vec<PlatformMember> = subjects.iter().map(|one| member(one)).collect();
    let is_local = |one: &&Subject| MemberReport::of(one).reach == MemberReach::Local;
    let itself = subjects.iter().position(is_local);
    let mut me = match itself {
        Some(at) => members.remove(at),
        None => PlatformMember {
            name: look.host.clone(),
            kind: MemberKind::Node,
            state: SubjectState {
                word: "running".to_owned(),
                grade: Grade::Good,
            },
            why: String::new(),
            look: None,
            age_ms: 0,
            silent: None,
            if_it_fails: String::new(),
        },
    };
    me.look = Some(look);
    for member in &mut members {
        let is_node = member.kind == MemberKind::Node;
        let Some(other) = others.get(&member.name).filter(|_| is_node) else {
            continue;
        };
        let age = other
            .look
            .as_ref()
            .map(|look| look.at.elapsed().as_millis());
        member.age_ms = u64::try_from(age.unwrap_or_default()).unwrap_or(u64::MAX);
        member.look.clone_from(&other.look);
        member.silent.clone_from(&other.silent);
    }
    members.insert(0, me);
    members
}

fn member(subject: &Subject) -> PlatformMember {
    let member = MemberReport::of(subject);
    let mut effect = [IF_IT_FAILS, FAILED].iter();
    let effect = effect.find_map(|fact| subject.words(fact));
    let mut state = subject.state.clone();
    // Omits the path to the member, which is shown at its link.
    state.word = match (member.reach, member.silent_ms) {
        (MemberReach::Local, _) => "this machine".to_owned(),
        (MemberReach::Away, Some(ms)) => format!("away for {}", span(ms)),
        (MemberReach::Away, None) => "away".to_owned(),
        _ => "reachable".to_owned(),
    };
    PlatformMember {
        name: subject.name.clone(),
        kind: match member.kind {
            PublishedKind::Arbiter => MemberKind::Arbiter,
            PublishedKind::Node | PublishedKind::Unknown => MemberKind::Node,
        },
        state,
        why: subject.why.clone(),
        look: None,
        age_ms: 0,
        silent: None,
        if_it_fails: effect.unwrap_or_default(),
    }
}
