//! What needs attention, over all machines, each thing once.

use super::Page;
use super::machine::doubt;
use crate::look::{CLUSTER_STATUS, Problem};
use crate::platform::{Member, Platform};
use part::report::Grade;

/// A problem, and the machines that have it.
pub(super) struct Known<'p> {
    pub problem: Problem,
    pub on: Vec<&'p str>,
    /// Where more is to be seen.
    pub page: Option<Page>,
}

/// All of them: machines first, then in the order of the machines.
pub(super) fn all(platform: &Platform) -> Vec<Known<'_>> {
    let members = &platform.members;
    let away = |member: &&Member| member.state.grade == Grade::Bad || doubt(member).is_some();
    let away: Vec<&Member> = members.iter().filter(away).collect();
    let mut all: Vec<Known<'_>> = away.iter().map(|member| of_machine(member)).collect();
    for member in members {
        let problems = member.look.iter().flat_map(|look| look.problems());
        for problem in problems {
            let machine = problem.what.strip_prefix("member ");
            // The cluster says of a machine what stands there already.
            if machine.is_some_and(|name| away.iter().any(|one| one.name == name)) {
                continue;
            }
            let same = |known: &&mut Known<'_>| {
                known.problem.what == problem.what && known.problem.why == problem.why
            };
            match all.iter_mut().find(same) {
                Some(known) => known.on.push(&member.name),
                None => all.push(Known {
                    page: page_of(&problem),
                    on: vec![&member.name],
                    problem,
                }),
            }
        }
    }
    all
}

fn of_machine(member: &Member) -> Known<'_> {
    let is_bad = member.state.grade == Grade::Bad;
    let doubt = doubt(member);
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
    Known {
        problem: Problem {
            what: format!("machine {}", member.name),
            state,
            why: whys.join("; "),
            next: CLUSTER_STATUS.to_owned(),
        },
        on: Vec::new(),
        page: None,
    }
}

/// The page with more: by its name in [`Problem::what`] or by the command in [`Problem::next`].
fn page_of(problem: &Problem) -> Option<Page> {
    if let Some(part) = problem.next.strip_prefix("evenkeel status ") {
        return Some(Page::Part(part.to_owned()));
    }
    if problem.next == CLUSTER_STATUS {
        return Some(Page::Part("cluster".to_owned()));
    }
    let what = problem.what.as_str();
    let server = what
        .strip_prefix("server ")
        .and_then(|name| name.split_once('/'));
    let proxy = { what.strip_prefix("backend ") }
        .or_else(|| what.strip_prefix("frontend "))
        .or_else(|| what.split_once(" servers of ").map(|(_, name)| name));
    let name = server.map(|(name, _)| name).or(proxy)?;
    Some(Page::Proxy(name.to_owned()))
}
