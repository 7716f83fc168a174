//! The machines of a platform, from what this one knows: its own look, and the report of its cluster.

use crate::look::Look;
use crate::platform::{Member, MemberKind};
use crate::shared::Other;
use part::report::{Grade, Report, State, Subject};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The part whose report says who the members are, and its kind of subject for all of them.
pub const CLUSTER: &str = "cluster";
/// The kind of subject of a member.
pub const MEMBER: &str = "member";
/// What follows from its failure, or did.
const IF_IT_FAILS: &str = "if it fails";
const FAILED: &str = "failed";
/// The state of the one that reports.
const ITSELF: &str = "this machine";

/// The report of the cluster, if it names the members: a control role that does not respond says nothing
/// of them.
pub fn cluster_of(look: &Look) -> Option<&Report> {
    let report = look.reports.iter().find(|report| report.part == CLUSTER)?;
    report.of_kind(MEMBER).next().map(|_| report)
}

/// Whether the machine belongs to a cluster as far as this look says, although nothing is known of it now.
pub fn has_silent_cluster(look: &Look) -> bool {
    cluster_of(look).is_none() && look.reports.iter().any(|report| report.part == CLUSTER)
}

/// All of them, this one first, by the report of the cluster, which may be older than the look; with what
/// others said of themselves.
pub fn of(
    look: Arc<Look>,
    report: Option<&Report>,
    others: &BTreeMap<String, Other>,
) -> Vec<Member> {
    let subjects = report.iter().flat_map(|report| report.of_kind(MEMBER));
    let mut members: Vec<Member> = subjects.map(member).collect();
    let itself = members.iter().position(|one| one.state.word == ITSELF);
    let mut me = match itself {
        Some(at) => members.remove(at),
        None => Member {
            name: look.host.clone(),
            kind: MemberKind::Node,
            state: State {
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

fn member(subject: &Subject) -> Member {
    let kind = subject.words("kind").unwrap_or_default();
    let is_arbiter = kind.starts_with("arbiter");
    let effect = [IF_IT_FAILS, FAILED].iter();
    let effect = { effect }.find_map(|fact| subject.words(fact));
    let mut state = subject.state.clone();
    // How it is reached stands at the link.
    state.word = state.word.split(',').next().unwrap_or_default().to_owned();
    Member {
        name: subject.name.clone(),
        kind: match is_arbiter {
            true => MemberKind::Arbiter,
            false => MemberKind::Node,
        },
        state,
        why: subject.why.clone(),
        look: None,
        age_ms: 0,
        silent: None,
        if_it_fails: effect.unwrap_or_default(),
    }
}
