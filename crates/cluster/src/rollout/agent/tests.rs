//! Tests a node's tasks, one after another.

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
fn old_report_wakes_nobody() {
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
fn agent_checks_tries_judges_and_keeps_a_version() {
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
fn frontends_are_probed_before_the_canary() {
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
fn sampling_is_frequent_only_during_a_canary() {
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
fn version_that_cannot_be_served_is_refused_once() {
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
fn worse_version_is_rolled_back_and_reported() {
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
fn candidate_is_rolled_back_without_contact_to_the_leader() {
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
fn stuck_disk_prevents_a_canary_and_is_reported() {
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
fn takeover_of_an_address_ends_a_canary() {
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
fn rolled_back_version_is_dropped_without_a_report() {
    let mut node = AgentTestNode::on_trial(60_000);
    let words = "a serves worse".to_owned();
    node.state
        .must(A, decision(2, RolloutStep::TakeBack { words }));
    assert_eq!(node.works(), [Task::Revert(SECOND)]);
    assert_eq!(node.agent.serves(), Some(FIRST));
}

#[test]
fn node_that_died_during_a_canary_does_not_retry() {
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
fn returned_node_gets_the_accepted_version_or_reports_failure() {
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
fn lost_report_is_repeated_at_intervals() {
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
fn agent_wakes_for_the_next_sample() {
    let node = AgentTestNode::on_trial(60_000);
    let wake_ms = node.agent.wake_at(node.now_ms);
    assert!(wake_ms > node.now_ms && wake_ms <= node.now_ms + TRIAL_SAMPLE_MS);
}

#[test]
fn accepted_version_is_kept_against_outdated_members() {
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
