//! Tests of a node's tasks, one after another.

use super::*;
use crate::command::{CommandBody, Judging, RolloutStep};
use crate::rollout::Probe;
use crate::state::sample::{A, B, decision, proposal, report};
use Reported::{Checked, Good, Refused, Serves, WentBack, Worse};

const FIRST: VersionId = VersionId(1);
const SECOND: VersionId = VersionId(2);

/// Node b, whose machine executes every task and reports success.
struct AgentTestNode {
    state: ClusterState,
    agent: Agent,
    now_ms: u64,
    silence_ms: u64,
    health: Health,
    answer: Probe,
}

fn fine() -> MachineVerdict {
    MachineVerdict {
        good: true,
        words: String::new(),
        together: true,
    }
}

fn wrong() -> MachineVerdict {
    MachineVerdict {
        good: false,
        words: "error: no such file".to_owned(),
        together: false,
    }
}

impl AgentTestNode {
    /// Version 1 is accepted and served; version 2 is in progress.
    fn with_second_on_its_way(judge_ms: u64) -> AgentTestNode {
        let mut state = ClusterState::pair();
        state.must(
            A,
            CommandBody::Propose(Box::new(proposal(None, Vec::new()))),
        );
        state.accept_all_the_way(1);
        let mut second = proposal(Some(1), Vec::new());
        second.judging = Judging {
            judge_ms,
            confirm_within_ms: None,
        };
        state.must(A, CommandBody::Propose(Box::new(second)));
        AgentTestNode {
            state,
            agent: Agent::new(B, Some(FIRST)),
            now_ms: 100_000,
            silence_ms: 0,
            health: Health::default(),
            answer: Probe::Answered { status: 200 },
        }
    }

    fn next(&mut self) -> Option<Task> {
        self.agent.next(&self.state, self.now_ms, self.silence_ms)
    }

    fn sample(&mut self) {
        let probes = Probes::from([("www".to_owned(), self.answer)]);
        let health = Some(self.health.clone());
        self.agent.sampled(self.now_ms, health, Some(probes));
    }

    /// Executes all tasks except samples, and returns them.
    fn works(&mut self) -> Vec<Task> {
        let mut done = Vec::new();
        while let Some(task) = self.next() {
            match &task {
                Task::Check(version) => self.agent.checked(*version, &fine(), None),
                Task::Sample { .. } => self.sample(),
                Task::Serve { version, trial } => {
                    self.agent.served(*version, *trial, &fine(), self.now_ms);
                }
                Task::Accept(version) => self.agent.kept(*version, &fine()),
                Task::Revert(_) => self.agent.reverted(),
                Task::Say(report) => {
                    self.state.say(B, CommandBody::Report(report.clone()));
                }
            }
            if !matches!(task, Task::Sample { .. }) {
                done.push(task);
            }
            assert!(done.len() < 20, "it never rests: {done:?}");
        }
        done
    }

    fn said(&self) -> Option<Reported> {
        self.state.version(SECOND)?.last_report_of(B)
    }

    /// Returns a node that checked version 2 and must serve it as a candidate.
    fn on_trial(judge_ms: u64) -> AgentTestNode {
        let mut node = AgentTestNode::with_second_on_its_way(judge_ms);
        node.works();
        node.state.must(A, report(2, A, Checked));
        let nodes = vec![A, B];
        node.state.must(A, decision(2, RolloutStep::Rest { nodes }));
        node.works();
        assert_eq!(
            (node.agent.serves(), node.agent.on_trial()),
            (Some(SECOND), true)
        );
        node
    }

    fn passes(&mut self, ms: u64) -> Vec<Task> {
        let mut done = Vec::new();
        for _ in 0..ms / 100 {
            self.now_ms += 100;
            done.extend(self.works());
        }
        done
    }
}

#[test]
fn a_report_that_arrived_long_ago_wakes_nobody() {
    let mut node = AgentTestNode::with_second_on_its_way(10_000);
    node.works();
    assert_eq!(node.said(), Some(Checked));
    node.now_ms += 5_000;
    node.works();
    assert_eq!(
        node.agent.wake_at(node.now_ms),
        node.now_ms + IDLE_SAMPLE_MS
    );
}

#[test]
fn it_checks_tries_judges_and_keeps_what_is_accepted() {
    let mut node = AgentTestNode::with_second_on_its_way(10_000);
    assert_eq!(node.works()[0], Task::Check(SECOND));
    assert_eq!(
        (node.said(), node.agent.serves()),
        (Some(Checked), Some(FIRST))
    );
    node.state.must(A, report(2, A, Checked));
    let nodes = vec![A, B];
    node.state.must(A, decision(2, RolloutStep::Rest { nodes }));
    let trial = true;
    assert_eq!(
        node.works()[0],
        Task::Serve {
            version: SECOND,
            trial
        }
    );
    assert_eq!(node.said(), Some(Serves));
    assert_eq!(node.passes(9_000), []);
    node.passes(1_500);
    assert_eq!(node.said(), Some(Good));
    node.state.must(A, report(2, A, Good));
    node.state.must(A, decision(2, RolloutStep::Accept));
    assert_eq!(node.works(), [Task::Accept(SECOND)]);
    assert_eq!(
        (node.agent.serves(), node.agent.on_trial()),
        (Some(SECOND), false)
    );
    assert_eq!(node.passes(60_000), []);
}

#[test]
fn before_it_tries_it_frontends_are_asked_so_that_there_is_something_to_compare_with() {
    let mut node = AgentTestNode::with_second_on_its_way(10_000);
    // The sample is recent, from before version 2.
    let health = Some(node.health.clone());
    node.agent.sampled(node.now_ms, health, None);
    assert_eq!(node.next(), Some(Task::Check(SECOND)));
    node.agent.checked(SECOND, &fine(), None);
    node.works();
    node.state.must(A, report(2, A, Checked));
    node.state
        .must(A, decision(2, RolloutStep::Canary { node: B }));
    assert_eq!(node.next(), Some(Task::Sample { probe: true }));
    node.sample();
    let serve = Task::Serve {
        version: SECOND,
        trial: true,
    };
    assert_eq!(node.next(), Some(serve));
}

#[test]
fn it_samples_seldom_when_idle_and_often_on_trial_and_asks_frontends_only_then() {
    let mut node = AgentTestNode::with_second_on_its_way(10_000);
    node.state.must(
        A,
        decision(
            2,
            RolloutStep::TakeBack {
                words: String::new(),
            },
        ),
    );
    let samples = |node: &mut AgentTestNode| {
        let mut samples = Vec::new();
        for _ in 0..100 {
            node.now_ms += 100;
            while let Some(task) = node.next() {
                match task {
                    Task::Sample { probe } => samples.push(probe),
                    other => panic!("{other:?}"),
                }
                node.sample();
            }
        }
        samples
    };
    assert_eq!(samples(&mut node), [false; 5]);
    let mut node = AgentTestNode::on_trial(60_000);
    assert_eq!(samples(&mut node), [true; 20]);
}

#[test]
fn what_it_cannot_serve_it_refuses_and_does_not_try_again() {
    let mut node = AgentTestNode::with_second_on_its_way(10_000);
    assert!(matches!(node.next(), Some(Task::Check(_))));
    node.agent.checked(SECOND, &wrong(), None);
    node.works();
    assert_eq!(node.said(), Some(Refused));
    let record = node.state.version(SECOND).expect("it is there");
    assert_eq!(record.reports[&B].words, "error: no such file");
    assert_eq!(node.passes(10_000), []);

    let mut node = AgentTestNode::with_second_on_its_way(0);
    node.works();
    node.state.must(A, report(2, A, Checked));
    let nodes = vec![A, B];
    node.state.must(A, decision(2, RolloutStep::Rest { nodes }));
    assert!(matches!(node.next(), Some(Task::Serve { .. })));
    node.agent.served(SECOND, true, &wrong(), node.now_ms);
    let done = node.passes(10_000);
    assert!(matches!(&done[..], [Task::Say(_)]), "{done:?}");
    assert_eq!(
        (node.said(), node.agent.serves()),
        (Some(Refused), Some(FIRST))
    );
}

#[test]
fn what_gets_worse_goes_back_at_once_and_is_said() {
    let mut node = AgentTestNode::on_trial(10_000);
    node.answer = Probe::Silent;
    let done = node.passes(1_500);
    assert_eq!(done[0], Task::Revert(SECOND));
    assert_eq!(
        (node.said(), node.agent.serves()),
        (Some(Worse), Some(FIRST))
    );
    node.answer = Probe::Answered { status: 200 };
    assert_eq!(node.passes(20_000), [], "and is not tried again");
}

#[test]
fn without_a_word_of_the_leader_it_goes_back_by_itself() {
    let mut node = AgentTestNode::on_trial(60_000);
    node.silence_ms = TRIAL_SILENCE_MS - 1;
    assert_eq!(node.works(), []);
    node.silence_ms = TRIAL_SILENCE_MS;
    assert_eq!(node.works(), [Task::Revert(SECOND)]);
    assert_eq!(node.agent.serves(), Some(FIRST));
    node.silence_ms = 0;
    node.works();
    assert_eq!(node.said(), Some(WentBack));
    assert_eq!(node.agent.serves(), Some(FIRST), "and stays there");
}

#[test]
fn while_its_disk_is_stuck_it_tries_nothing_and_says_so_afterwards() {
    let mut node = AgentTestNode::on_trial(60_000);
    node.agent.disk_is_stuck_for(TRIAL_SILENCE_MS - 1);
    assert_eq!(node.works(), []);
    node.agent.disk_is_stuck_for(TRIAL_SILENCE_MS);
    assert_eq!(node.works(), [Task::Revert(SECOND)]);
    assert_eq!(
        (node.said(), node.agent.serves()),
        (Some(Serves), Some(FIRST))
    );
    node.agent.disk_is_stuck_for(0);
    node.works();
    assert_eq!(node.said(), Some(WentBack));
    let record = node.state.version(SECOND).expect("it is there");
    assert!(record.reports[&B].words.contains("its disk"));
}

#[test]
fn a_machine_that_had_to_take_an_address_over_is_believed() {
    let mut node = AgentTestNode::on_trial(60_000);
    node.agent
        .record_machine_rollback("it took 192.0.2.7 over".to_owned());
    node.works();
    assert_eq!(
        (node.said(), node.agent.serves()),
        (Some(WentBack), Some(FIRST))
    );
    let record = node.state.version(SECOND).expect("it is there");
    assert_eq!(record.reports[&B].words, "it took 192.0.2.7 over");
    // Without a candidate there is nothing to roll back.
    let mut idle = AgentTestNode::with_second_on_its_way(0);
    idle.agent
        .record_machine_rollback("it took 192.0.2.7 over".to_owned());
    idle.works();
    assert_eq!(idle.said(), Some(Checked));
}

#[test]
fn what_is_taken_back_is_served_no_more_and_nothing_is_said() {
    let mut node = AgentTestNode::on_trial(60_000);
    let words = "a serves worse".to_owned();
    node.state
        .must(A, decision(2, RolloutStep::TakeBack { words }));
    assert_eq!(node.works(), [Task::Revert(SECOND)]);
    assert_eq!(node.agent.serves(), Some(FIRST));
}

#[test]
fn who_died_while_it_tried_a_version_does_not_try_it_again() {
    let mut node = AgentTestNode::on_trial(60_000);
    node.agent = Agent::new(B, Some(FIRST));
    let done = node.works();
    assert!(matches!(&done[..], [Task::Say(_)]), "{done:?}");
    assert_eq!(
        (node.said(), node.agent.serves()),
        (Some(WentBack), Some(FIRST))
    );
}

#[test]
fn who_was_away_gets_what_was_accepted_meanwhile_and_says_if_it_cannot() {
    let mut node = AgentTestNode::with_second_on_its_way(0);
    node.state.must(A, report(2, A, Checked));
    node.state
        .must(A, decision(2, RolloutStep::Rest { nodes: vec![A] }));
    assert_eq!(node.passes(2000), [], "it comes too late to take part");
    node.state.must(A, report(2, A, Serves));
    node.state.must(A, decision(2, RolloutStep::Accept));
    let trial = false;
    assert_eq!(
        node.next(),
        Some(Task::Serve {
            version: SECOND,
            trial
        })
    );
    node.agent.served(SECOND, trial, &wrong(), node.now_ms);
    node.works();
    assert_eq!(
        (node.said(), node.agent.serves()),
        (Some(Refused), Some(FIRST))
    );
    assert_eq!(node.passes(RETRY_MS - 1000), []);
    // After a while the node tries again: the missing file may be available now.
    let done = node.passes(2000);
    assert_eq!(
        done[0],
        Task::Serve {
            version: SECOND,
            trial
        }
    );
    assert_eq!(
        (node.said(), node.agent.serves()),
        (Some(Serves), Some(SECOND))
    );
}

#[test]
fn a_report_that_is_lost_is_said_again_but_not_all_the_time() {
    let mut node = AgentTestNode::with_second_on_its_way(10_000);
    assert!(matches!(node.next(), Some(Task::Check(_))));
    node.agent.checked(SECOND, &fine(), None);
    let mut said = 0;
    for _ in 0..30 {
        while let Some(task) = node.next() {
            match task {
                Task::Say(_) => said += 1,
                Task::Sample { .. } => node.sample(),
                other => panic!("{other:?}"),
            }
        }
        node.now_ms += 100;
    }
    assert_eq!(said, 3);
}

#[test]
fn each_stage_is_judged_with_a_window_of_its_own() {
    let mut node = AgentTestNode::with_second_on_its_way(5_000);
    node.works();
    node.state.must(A, report(2, A, Checked));
    node.state
        .must(A, decision(2, RolloutStep::Canary { node: B }));
    node.passes(6_000);
    assert_eq!(node.said(), Some(Good));
    let nodes = vec![A, B];
    node.state.must(A, decision(2, RolloutStep::Rest { nodes }));
    assert_eq!(node.said(), Some(Serves));
    assert_eq!(node.passes(4_000), []);
    node.passes(2_000);
    assert_eq!(node.said(), Some(Good));
}

#[test]
fn it_wakes_soon_enough_for_the_next_sample() {
    let node = AgentTestNode::on_trial(60_000);
    let wake_ms = node.agent.wake_at(node.now_ms);
    assert!(wake_ms > node.now_ms && wake_ms <= node.now_ms + TRIAL_SAMPLE_MS);
}

#[test]
fn what_was_accepted_is_held_against_members_that_know_only_an_older_one() {
    let mut node = AgentTestNode::with_second_on_its_way(0);
    // Before its restart the node accepted a version that these members do not know.
    node.agent = Agent::new(B, Some(VersionId(7)));
    node.sample();
    let Some(Task::Say(said)) = node.next() else {
        panic!("it has to say so: {:?}", node.agent);
    };
    assert_eq!((said.version, said.outcome), (SECOND, Refused));
    assert!(said.words.contains("accepted version 7"), "{}", said.words);
    assert_eq!(node.next(), None);
    assert_eq!(
        (node.agent.serves(), node.agent.on_trial()),
        (Some(VersionId(7)), false)
    );
    // The promise file alone is enough.
    let mut agent = Agent::new(B, Some(FIRST));
    agent.has_accepted(VersionId(7));
    agent.has_accepted(FIRST);
    assert_eq!(agent.newest_accepted(), Some(VersionId(7)));
}
