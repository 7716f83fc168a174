//! Collects the problems of all machines that need attention, without duplicates.

use super::ConsolePage;
use super::effects::is_drained;
use super::machine::explain_stale_data;
use super::words::list;
use crate::look::{CLUSTER_STATUS, MachineProblem, ProblemSource};
use crate::platform::{Platform, PlatformMember};
use part::report::{Grade, StatusReport, Subject};
use part::status::{GUEST_NODE, MEMBER, RouterReport, RouterState, VIRTUAL_IP};
use std::collections::BTreeMap;

/// Minimum time for which two machines own an address before that is a conflict, milliseconds.
const SETTLED_MS: u64 = 4_000;

/// A problem with the names of the machines that have it.
pub(super) struct SharedProblem<'p> {
    pub problem: MachineProblem,
    pub on: Vec<&'p str>,
    pub page: Option<ConsolePage>,
}

/// Lists all problems: first those of the machines themselves, then the other ones in the order of
/// the machines.
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
            // Skips a problem of the cluster report about a machine that is already listed.
            if let ProblemSource::Subject { kind, name, .. } = &problem.source
                && kind == MEMBER
                && away.iter().any(|one| one.name == *name)
            {
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

fn drained(platform: &Platform) -> Vec<SharedProblem<'_>> {
    let mut names: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for member in platform
        .members
        .iter()
        .filter(|one| explain_stale_data(one).is_none())
    {
        for report in member.look.iter().flat_map(|look| &look.reports) {
            for node in report.of_kind(GUEST_NODE).filter(is_drained) {
                names.entry(&node.name).or_default().push(&member.name);
            }
        }
    }
    let known = names.into_keys().map(|name| SharedProblem {
        problem: MachineProblem {
            what: format!("node {name}"),
            state: "drained".to_owned(),
            why: "by an operator; it accepts no guests, even if another node fails, until it is filled \
                  again".to_owned(),
            next: format!("evenkeel node fill {name}"),
            source: ProblemSource::Machine,
        },
        on: Vec::new(),
        page: Some(ConsolePage::Part("guest".to_owned())),
    });
    known.collect()
}

/// Lists the virtual addresses that several machines own. Each of these machines responds for the
/// address, so a client reaches any of them.
fn conflicts(platform: &Platform) -> Vec<SharedProblem<'_>> {
    let mut owners: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for member in platform
        .members
        .iter()
        .filter(|one| explain_stale_data(one).is_none())
    {
        for report in member.look.iter().flat_map(|look| &look.reports) {
            for address in report
                .of_kind(VIRTUAL_IP)
                .filter(|one| is_settled(report, one))
            {
                owners.entry(&address.name).or_default().push(&member.name);
            }
        }
    }
    owners.retain(|_, owners| owners.len() > 1);
    let known = owners.into_iter().map(|(name, on)| SharedProblem {
        problem: MachineProblem {
            what: format!("{VIRTUAL_IP} {name}"),
            state: format!("MASTER on {}", list(&on)),
            why: "they do not receive each other's adverts: something between them drops VRRP (IP protocol \
                  112), or their `virtual_router_id` or passwords differ"
                .to_owned(),
            next: "evenkeel status address".to_owned(),
            source: ProblemSource::Machine,
        },
        on,
        page: Some(ConsolePage::Part("address".to_owned())),
    });
    known.collect()
}

/// Returns whether a machine has owned an address for longer than a hand-over takes.
fn is_settled(report: &StatusReport, address: &Subject) -> bool {
    let since = address.since.map(|since| since.boottime_ms);
    let age_ms = since.map(|since| report.at.boottime_ms.saturating_sub(since));
    RouterReport::of(address).state == RouterState::Master
        && age_ms.is_some_and(|ms| ms >= SETTLED_MS)
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
            source: ProblemSource::Machine,
        },
        on: Vec::new(),
        page: None,
    }
}

fn page_of(problem: &MachineProblem) -> Option<ConsolePage> {
    match &problem.source {
        ProblemSource::Subject { part, .. } => Some(ConsolePage::Part(part.clone())),
        ProblemSource::Proxy(name) => Some(ConsolePage::Proxy(name.clone())),
        ProblemSource::Machine => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: &str = "MASTER";
    use crate::sample;
    use part::report::Moment;
    use std::sync::Arc;

    /// Creates a platform on whose two nodes the address `www` has been in these states for this
    /// many milliseconds.
    fn with(states: [(&str, u64); 2]) -> Platform {
        let mut platform = sample::platform();
        for (member, (state, for_ms)) in platform.members.iter_mut().zip(states) {
            let at = |boottime_ms| Moment {
                boottime_ms,
                unix_ms: 0,
            };
            let status = part::status::RouterReport {
                state: if state == OWNER {
                    part::status::RouterState::Master
                } else {
                    part::status::RouterState::Backup
                },
                ..Default::default()
            };
            let mut address = Subject::new(VIRTUAL_IP, "www").state(state, Grade::Good);
            address = address.publish(&status);
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
    fn problems_are_the_same_with_noise_for_texts() {
        let problems = |platform: Platform| {
            let problems = all(&platform).into_iter();
            let facts = problems.map(|one| {
                let on: Vec<String> = one.on.into_iter().map(str::to_owned).collect();
                let page = one.page.map(|page| page.path());
                (one.problem.what, one.problem.source, on, page)
            });
            facts.collect::<Vec<_>>()
        };
        for make in [sample::platform, sample::broken] {
            assert_eq!(problems(sample::with_noise(make())), problems(make()));
        }
        let both = || with([(OWNER, 60_000), (OWNER, 60_000)]);
        assert_eq!(problems(sample::with_noise(both())), problems(both()));
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
            subjects: vec![Subject::new(GUEST_NODE, "beta").publish(
                &part::status::GuestNodeReport {
                    state: part::status::GuestNodeState::Drained,
                },
            )],
            ..StatusReport::default()
        });
        platform.members[0].look = Some(Arc::new(look));
        assert!(has(&platform));
    }

    #[test]
    fn an_address_with_two_masters_is_a_problem_after_a_delay() {
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
