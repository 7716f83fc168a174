//! Tests the leader's decisions, step by step.

use super::*;
use crate::command::{CheckFindings, CommandBody, Judging, Proposal};
use crate::state::sample::{
    A, ARBITER, B, checked_together, decision, proposal, report, report_of,
};
use Reported::{Checked, Good, Refused, Serves, WentBack, Worse};

struct LeaderFixture {
    state: ClusterState,
    driver: Driver,
    seen: Reachability,
    now_ms: u64,
}

fn desk(change: impl FnOnce(&mut Proposal)) -> LeaderFixture {
    let mut state = ClusterState::pair();
    let mut wanted = proposal(None, Vec::new());
    change(&mut wanted);
    state.must(A, CommandBody::Propose(Box::new(wanted)));
    let seen = Reachability {
        reachable: [A, B, ARBITER].into(),
        ..Reachability::default()
    };
    LeaderFixture {
        state,
        driver: Driver::new(1000),
        seen,
        now_ms: 1000,
    }
}

impl LeaderFixture {
    fn after(&mut self, ms: u64) -> Option<RolloutStep> {
        let until_ms = self.now_ms + ms;
        loop {
            let decided = self.driver.next(&self.state, &self.seen, self.now_ms);
            if let Some(decided) = decided {
                return Some(decided.step);
            }
            if self.now_ms >= until_ms {
                return None;
            }
            self.now_ms += 100;
        }
    }

    fn says(&mut self, node: MemberId, outcome: Reported) {
        self.state.must(node, report(1, node, outcome));
    }

    #[track_caller]
    fn goes(&mut self, step: RolloutStep) {
        assert_eq!(self.after(0), Some(step.clone()));
        self.state.must(A, decision(1, step));
    }

    #[track_caller]
    fn takes_back(&mut self, after_ms: u64, words: &str) {
        let step = self.after(after_ms);
        let Some(RolloutStep::TakeBack { words: said }) = &step else {
            panic!("{step:?}");
        };
        assert!(said.contains(words), "{said}");
        let step = step.expect("it is one");
        self.state.must(A, decision(1, step));
    }

    fn both_check(&mut self) {
        self.says(A, Checked);
        self.says(B, Checked);
    }

    /// Both nodes report that all must change at once; one report is enough.
    fn both_check_that_all_change_at_once(&mut self) {
        self.says(A, Checked);
        self.state.must(B, checked_together(1, B));
    }

    fn is_cut(&mut self, node: MemberId) {
        self.seen.reachable.remove(&node);
    }
}

fn both() -> RolloutStep {
    RolloutStep::Rest { nodes: vec![A, B] }
}

#[test]
fn all_check_then_the_canary_tries_it_then_all_then_it_is_accepted() {
    let mut desk = desk(|_| ());
    assert_eq!(desk.after(1000), None);
    desk.says(A, Checked);
    assert_eq!(desk.after(1000), None, "b has not said anything");
    desk.says(B, Checked);
    desk.goes(RolloutStep::Canary { node: A });
    desk.says(A, Serves);
    assert_eq!(desk.after(12_000), None);
    desk.says(A, Good);
    desk.goes(both());
    desk.says(B, Serves);
    desk.says(A, Good);
    assert_eq!(desk.after(12_000), None);
    desk.says(B, Good);
    desk.goes(RolloutStep::Accept);
    assert_eq!(desk.after(60_000), None);
}

#[test]
fn the_canary_is_the_node_that_owns_the_fewest_addresses() {
    for (addresses, canary) in [
        (vec![(A, 3), (B, 1)], B),
        (vec![(A, 1), (B, 3)], A),
        (vec![(A, 2), (B, 2)], A),
        // A node of unknown load may have many addresses.
        (vec![(B, 7)], B),
        (vec![], A),
    ] {
        let mut desk = desk(|_| ());
        let addresses: BTreeMap<MemberId, u64> = addresses.into_iter().collect();
        for node in [A, B] {
            let found = CheckFindings {
                together: false,
                addresses_owned: addresses.get(&node).copied(),
            };
            desk.state.must(node, report_of(1, node, Checked, found));
        }
        desk.goes(RolloutStep::Canary { node: canary });
    }
}

#[test]
fn a_refusal_of_any_node_refuses_it_with_what_each_has_to_say() {
    let mut desk = desk(|_| ());
    desk.says(A, Refused);
    assert_eq!(desk.after(3000), None, "b may still say what it found");
    desk.says(B, Refused);
    desk.takes_back(
        0,
        "a cannot serve it: words of 1\nb cannot serve it: words of 2",
    );
    let record = desk.state.version(crate::command::VersionId(1));
    assert_eq!(
        record.map(|record| &record.stage),
        Some(&RolloutStage::Refused)
    );
}

#[test]
fn refusal_does_not_wait_for_silent_nodes() {
    let mut desk = desk(|_| ());
    desk.says(A, Refused);
    desk.takes_back(DIAGNOSTICS_MS, "a cannot serve it");
}

#[test]
fn a_node_that_is_away_is_left_out_once_it_has_been_for_a_while() {
    let mut desk = desk(|_| ());
    desk.is_cut(B);
    desk.says(A, Checked);
    assert_eq!(
        desk.after(AWAY_MS - 200),
        None,
        "it may still try what was before"
    );
    assert_eq!(desk.after(400), Some(RolloutStep::Canary { node: A }));
    desk.state
        .must(A, decision(1, RolloutStep::Canary { node: A }));
    desk.says(A, Good);
    assert_eq!(
        desk.after(10_000),
        Some(RolloutStep::Rest { nodes: vec![A] })
    );
    desk.state
        .must(A, decision(1, RolloutStep::Rest { nodes: vec![A] }));
    desk.goes(RolloutStep::Accept);
}

#[test]
fn long_absent_node_delays_nothing() {
    let mut desk = desk(|_| ());
    desk.is_cut(B);
    let idle = ClusterState::pair();
    for _ in 0..100 {
        desk.driver
            .record_reachable(&idle, &desk.seen.reachable, desk.now_ms);
        desk.now_ms += 100;
    }
    desk.says(A, Checked);
    desk.goes(RolloutStep::Canary { node: A });
}

#[test]
fn node_without_a_response_refuses_the_version() {
    let mut desk = desk(|_| ());
    desk.says(A, Checked);
    desk.takes_back(
        CHECK_LIMIT_MS,
        "b did not report within 60 s whether it can serve the version",
    );
}

#[test]
fn with_no_node_there_it_waits_and_then_is_refused() {
    let mut desk = desk(|_| ());
    desk.is_cut(A);
    desk.is_cut(B);
    desk.takes_back(CHECK_LIMIT_MS, "no node was reachable");
}

#[test]
fn worse_version_is_rolled_back_with_the_reason() {
    for (outcome, words) in [
        (Worse, "b has problems with it: words of 2"),
        (WentBack, "b rolled itself back from it: words of 2"),
        (Refused, "b cannot serve it: words of 2"),
    ] {
        let mut desk = desk(|_| ());
        desk.both_check();
        desk.goes(RolloutStep::Canary { node: A });
        desk.says(A, Good);
        assert_eq!(desk.after(10_000), Some(both()));
        desk.state.must(A, decision(1, both()));
        desk.says(A, Good);
        desk.says(B, outcome);
        desk.takes_back(0, words);
    }
}

#[test]
fn loss_of_the_canary_rolls_the_version_back() {
    let mut canary = desk(|_| ());
    canary.both_check();
    canary.goes(RolloutStep::Canary { node: A });
    canary.is_cut(A);
    canary.takes_back(AWAY_MS, "a was lost while it tried the version");

    let mut rest = desk(|_| ());
    rest.both_check_that_all_change_at_once();
    rest.goes(both());
    rest.is_cut(B);
    assert_eq!(rest.after(2000), None, "for a moment");
    rest.seen.reachable.insert(B);
    assert_eq!(rest.after(AWAY_MS), None);
    rest.is_cut(B);
    rest.takes_back(AWAY_MS, "b was lost while it tried the version");
}

#[test]
fn a_node_that_does_not_try_it_yet_may_be_lost() {
    let mut desk = desk(|_| ());
    desk.both_check();
    desk.goes(RolloutStep::Canary { node: A });
    desk.is_cut(B);
    assert_eq!(desk.after(AWAY_MS), None);
    desk.says(A, Good);
    assert_eq!(
        desk.after(10_000),
        Some(RolloutStep::Rest { nodes: vec![A] })
    );
}

#[test]
fn missing_success_report_rolls_the_version_back() {
    let mut desk = desk(|_| ());
    desk.both_check();
    desk.goes(RolloutStep::Canary { node: A });
    desk.takes_back(
        10_000 + SERVE_LIMIT_MS,
        "a did not report within 70 s that it serves the version without problems",
    );
}

#[test]
fn now_is_checked_then_served_by_all_at_once_then_accepted() {
    let mut desk = desk(|p| p.judging.judge_ms = 0);
    desk.both_check();
    desk.goes(both());
    desk.says(A, Serves);
    assert_eq!(desk.after(1000), None);
    desk.says(B, Serves);
    desk.goes(RolloutStep::Accept);
}

#[test]
fn version_for_all_nodes_skips_the_canary_and_is_judged() {
    let mut desk = desk(|_| ());
    desk.both_check_that_all_change_at_once();
    desk.goes(both());
    desk.says(A, Good);
    desk.says(B, Good);
    assert_eq!(desk.after(9_800), None, "not before its time");
    assert_eq!(desk.after(400), Some(RolloutStep::Accept));
}

#[test]
fn new_leader_restarts_the_judgement_window() {
    let mut desk = desk(|_| ());
    desk.both_check_that_all_change_at_once();
    desk.goes(both());
    assert_eq!(desk.after(9_000), None);
    desk.says(A, Good);
    desk.says(B, Good);
    desk.driver = Driver::new(desk.now_ms);
    assert_eq!(desk.after(9_800), None);
    assert_eq!(desk.after(400), Some(RolloutStep::Accept));
}

#[test]
fn unconfirmed_version_rolls_back_under_any_leader() {
    let mut desk = desk(|p| {
        p.judging = Judging {
            judge_ms: 0,
            confirm_within_ms: Some(35_000),
        };
    });
    desk.both_check();
    desk.goes(both());
    desk.says(A, Serves);
    desk.says(B, Serves);
    desk.goes(RolloutStep::AwaitConfirmation);
    let began_ms = desk.now_ms;
    let told = desk.after(TELL_REMAINING_MS);
    assert_eq!(told, Some(RolloutStep::Remaining { ms: 25_000 }));
    desk.state
        .must(A, decision(1, RolloutStep::Remaining { ms: 25_000 }));
    assert_eq!(desk.after(5000), None);
    // Another leader continues from the time reported last, which may be slightly late.
    desk.driver = Driver::new(desk.now_ms);
    while let Some(step) = desk.after(TELL_REMAINING_MS) {
        desk.state.must(A, decision(1, step.clone()));
        if let RolloutStep::TakeBack { words } = step {
            assert_eq!(words, "not confirmed within 35 s");
            break;
        }
    }
    assert_eq!(desk.state.on_its_way(), None);
    let took_ms = desk.now_ms - began_ms;
    assert!(
        (35_000..=35_000 + TELL_REMAINING_MS).contains(&took_ms),
        "{took_ms}"
    );
}

#[test]
fn confirmed_version_is_accepted() {
    let mut desk = desk(|p| {
        p.judging = Judging {
            judge_ms: 0,
            confirm_within_ms: Some(35_000),
        };
    });
    desk.both_check();
    desk.goes(both());
    desk.says(A, Serves);
    desk.says(B, Serves);
    desk.goes(RolloutStep::AwaitConfirmation);
    desk.state.must(A, decision(1, RolloutStep::Accept));
    assert_eq!(desk.after(60_000), None);
}

#[test]
fn a_decision_is_not_proposed_again_while_it_is_under_way() {
    let mut desk = desk(|_| ());
    desk.both_check();
    let canary = Some(RolloutStep::Canary { node: A });
    assert_eq!(desk.after(0), canary);
    desk.now_ms += 100;
    assert_eq!(desk.after(REPEAT_MS - 200), None);
    assert_eq!(desk.after(200), canary, "it may have been lost");
}

#[test]
fn removal_of_the_canary_rolls_back() {
    let mut desk = desk(|_| ());
    desk.both_check();
    desk.goes(RolloutStep::Canary { node: A });
    desk.state.must(B, CommandBody::Remove { member: A });
    let words = desk.driver.next(&desk.state, &desk.seen, desk.now_ms);
    let Some(RolloutStep::TakeBack { words }) = words.map(|decided| decided.step) else {
        panic!("it goes on without its canary");
    };
    assert_eq!(words, "member 1, which tried it, is no longer a member");
}

#[test]
fn stuck_disk_delays_a_check_like_an_absence() {
    let mut desk = desk(|wanted| wanted.judging.judge_ms = 0);
    desk.says(A, Checked);
    desk.seen.disk_stuck_ms = [(B, AWAY_MS - 1000)].into();
    assert_eq!(desk.after(10_000), None, "it may still say something");
    desk.seen.disk_stuck_ms = [(B, AWAY_MS)].into();
    desk.goes(RolloutStep::Rest { nodes: vec![A] });
}

#[test]
fn node_with_a_stuck_disk_is_no_canary() {
    let mut desk = desk(|_| ());
    desk.seen.disk_stuck_ms = [(A, 3000)].into();
    desk.both_check();
    desk.goes(RolloutStep::Canary { node: B });
    desk.says(B, Serves);
    desk.seen.disk_stuck_ms = [(B, AWAY_MS)].into();
    desk.takes_back(
        0,
        "the disk of b did not respond while it tried the version",
    );
}
