//! Problems of all machines that need attention, without duplicates.

use super::ConsolePage;
use super::effects::{DRAINED, NODE};
use super::machine::explain_stale_data;
use super::words::list;
use crate::look::{CLUSTER_STATUS, MachineProblem};
use crate::platform::{Platform, PlatformMember};
use part::report::{Grade, StatusReport, Subject};
use std::collections::BTreeMap;

/// Kind of subject for a virtual address, and the state of its owner.
const ADDRESS: &str = "virtual-ip";
const OWNER: &str = "MASTER";
/// Minimum age of ownership before two owners of an address are a conflict, milliseconds.
const SETTLED_MS: u64 = 4_000;

/// A problem with the names of the machines that have it.
pub(super) struct SharedProblem<'p> {
    pub problem: MachineProblem,
    pub on: Vec<&'p str>,
    pub page: Option<ConsolePage>,
}

/// Lists all problems: first those of the machines themselves, then the others in the order of the
/// machines.
pub(super) fn all(platform: &Platform) -> Vec<SharedProblem<'_>> {
    let members = &platform.members;
    let away = |member: &&PlatformMember| {
        member.state.grade == Grade::Bad || explain_stale_data(member).is_some()
    };
    let away: Vec<&PlatformMember> = members.iter().filter(away).collect();
    let mut all: Vec<SharedProblem<'_>> = away.iter().map(|member| of_machine(member)).collect();
    all.extend(conflicts(platform));
    all.extend(drained(platform));
    for member in members {
        let problems = member.look.iter().flat_map(|look| look.problems());
        for problem in problems {
            let machine = problem.what.strip_prefix("member ");
            // The cluster report repeats a problem of a machine that is already listed.
            if machine.is_some_and(|name| away.iter().any(|one| one.name == name)) {
                continue;
            }
            let same = |known: &&mut SharedProblem<'_>| {
                known.problem.what == problem.what && known.problem.why == problem.why
            };
            match all.iter_mut().find(same) {
                Some(known) => known.on.push(&member.name),
                None => all.push(SharedProblem {
                    page: page_of(&problem),
                    on: vec![&member.name],
                    problem,
                }),
            }
        }
    }
    all
}

/// Lists the drained nodes: no guest can start there until the order is revoked.
fn drained(platform: &Platform) -> Vec<SharedProblem<'_>> {
    let mut names: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for member in platform
        .members
        .iter()
        .filter(|one| explain_stale_data(one).is_none())
    {
        for report in member.look.iter().flat_map(|look| &look.reports) {
            let nodes = report
                .of_kind(NODE)
                .filter(|node| node.state.word == DRAINED);
            for node in nodes {
                names.entry(&node.name).or_default().push(&member.name);
            }
        }
    }
    let known = names.into_keys().map(|name| SharedProblem {
        problem: MachineProblem {
            what: format!("{NODE} {name}"),
            state: DRAINED.to_owned(),
            why: "by an order; it takes no guests, also if another node fails, until the order is revoked".to_owned(),
            next: format!("evenkeel node fill {name}"),
        },
        on: Vec::new(),
        page: Some(ConsolePage::Part("guest".to_owned())),
    });
    known.collect()
}

/// Lists the addresses that several machines hold. Each of them responds for the address, so
/// clients reach one or the other.
fn conflicts(platform: &Platform) -> Vec<SharedProblem<'_>> {
    let mut owners: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for member in platform
        .members
        .iter()
        .filter(|one| explain_stale_data(one).is_none())
    {
        for report in member.look.iter().flat_map(|look| &look.reports) {
            for address in report
                .of_kind(ADDRESS)
                .filter(|one| is_settled(report, one))
            {
                owners.entry(&address.name).or_default().push(&member.name);
            }
        }
    }
    owners.retain(|_, owners| owners.len() > 1);
    let known = owners.into_iter().map(|(name, on)| SharedProblem {
        problem: MachineProblem {
            what: format!("{ADDRESS} {name}"),
            state: format!("{OWNER} on {}", list(&on)),
            why: "they do not hear each other's adverts: something between them drops VRRP (IP protocol 112), \
                  or their `virtual_router_id` or passwords differ"
                .to_owned(),
            next: "evenkeel status address".to_owned(),
        },
        on,
        page: Some(ConsolePage::Part("address".to_owned())),
    });
    known.collect()
}

/// Returns whether a machine has owned an address for longer than a handover takes.
fn is_settled(report: &StatusReport, address: &Subject) -> bool {
    let since = address.since.map(|since| since.boottime_ms);
    let age_ms = since.map(|since| report.at.boottime_ms.saturating_sub(since));
    address.state.word == OWNER && age_ms.is_some_and(|ms| ms >= SETTLED_MS)
}

fn of_machine(member: &PlatformMember) -> SharedProblem<'_> {
    let is_bad = member.state.grade == Grade::Bad;
    let doubt = explain_stale_data(member);
    let state = match (is_bad, &doubt) {
        (true, _) => member.state.word.clone(),
        (false, _) if member.look.is_none() || member.silent.is_some() => "silent".to_owned(),
        (false, _) => "its data is old".to_owned(),
    };
    let whys = [
        Some(member.why.clone()).filter(|why| is_bad && !why.is_empty()),
        doubt,
    ];
    let whys: Vec<String> = whys.into_iter().flatten().collect();
    SharedProblem {
        problem: MachineProblem {
            what: format!("machine {}", member.name),
            state,
            why: whys.join("; "),
            next: CLUSTER_STATUS.to_owned(),
        },
        on: Vec::new(),
        page: None,
    }
}

/// Returns the page with the details of a problem: by the name in [`MachineProblem::what`] or by the
/// command in [`MachineProblem::next`].
fn page_of(problem: &MachineProblem) -> Option<ConsolePage> {
    if let Some(part) = problem.next.strip_prefix("evenkeel status ") {
        return Some(ConsolePage::Part(part.to_owned()));
    }
    if problem.next == CLUSTER_STATUS {
        return Some(ConsolePage::Part("cluster".to_owned()));
    }
    let what = problem.what.as_str();
    let server = what
        .strip_prefix("server ")
        .and_then(|name| name.split_once('/'));
    let proxy = what
        .strip_prefix("backend ")
        .or_else(|| what.strip_prefix("frontend "))
        .or_else(|| what.split_once(" servers of ").map(|(_, name)| name));
    let name = server.map(|(name, _)| name).or(proxy)?;
    Some(ConsolePage::Proxy(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;
    use part::report::Moment;
    use std::sync::Arc;

    /// Makes a platform on whose nodes the address `www` has had these states for the given
    /// milliseconds.
    fn with(states: [(&str, u64); 2]) -> Platform {
        let mut platform = sample::platform();
        for (member, (state, for_ms)) in platform.members.iter_mut().zip(states) {
            let at = |boottime_ms| Moment {
                boottime_ms,
                unix_ms: 0,
            };
            let mut address = Subject::new(ADDRESS, "www").state(state, Grade::Good);
            address.since = Some(at(100_000 - for_ms));
            let mut look = member.look.as_deref().unwrap().clone();
            look.reports = vec![StatusReport {
                part: "address".to_owned(),
                at: at(100_000),
                subjects: vec![address],
                ..StatusReport::default()
            }];
            member.look = Some(Arc::new(look));
        }
        platform
    }

    #[test]
    fn drained_node_needs_attention_until_it_is_filled() {
        let mut platform = with([(OWNER, 60_000), ("BACKUP", 60_000)]);
        let has = |platform: &Platform| {
            all(platform)
                .iter()
                .any(|one| one.problem.what == "node beta")
        };
        assert!(!has(&platform));
        let mut look = platform.members[0].look.as_deref().unwrap().clone();
        look.reports.push(StatusReport {
            part: "guest".to_owned(),
            subjects: vec![Subject::new(NODE, "beta").state(DRAINED, Grade::Standby)],
            ..StatusReport::default()
        });
        platform.members[0].look = Some(Arc::new(look));
        assert!(has(&platform));
    }

    #[test]
    fn an_address_that_two_machines_have_is_a_problem_unless_it_just_moves() {
        let found = |states| {
            let platform = with(states);
            let all = all(&platform);
            let found = all.iter().find(|one| one.problem.what == "virtual-ip www");
            found.map(|one| (one.problem.state.clone(), one.on.len()))
        };
        let both = found([(OWNER, 60_000), (OWNER, 5_000)]);
        assert_eq!(both, Some(("MASTER on alpha and beta".to_owned(), 2)));
        assert_eq!(found([(OWNER, 60_000), (OWNER, 1_000)]), None);
        assert_eq!(found([(OWNER, 60_000), ("BACKUP", 60_000)]), None);
        let mut away = with([(OWNER, 60_000), (OWNER, 60_000)]);
        away.members[1].silent = Some("it is off".to_owned());
        assert_eq!(conflicts(&away).len(), 0);
    }
}
