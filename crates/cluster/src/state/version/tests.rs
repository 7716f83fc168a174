//! Tests a version's permitted and refused steps.

use super::super::sample::{
    A, ARBITER, B, checked_together, decision, digest, file, proposal, report,
};
use super::*;
use crate::command::{CommandBody, Judging, Limits};
use Reported::{Checked, Good, Refused, Serves, WentBack, Worse};

fn propose(proposal: Proposal) -> CommandBody {
    CommandBody::Propose(Box::new(proposal))
}

fn both() -> Vec<MemberId> {
    vec![A, B]
}

fn checked() -> ClusterState {
    let mut state = ClusterState::pair();
    state.propose_content(b"text");
    state.must(A, report(1, A, Checked));
    state.must(B, report(1, B, Checked));
    state
}

fn on_trial(judging: Judging) -> ClusterState {
    let mut state = ClusterState::pair();
    let with = Proposal {
        judging,
        ..proposal(None, Vec::new())
    };
    state.must(A, propose(with));
    state.must(A, report(1, A, Checked));
    state.must(B, checked_together(1, B));
    state.must(A, decision(1, RolloutStep::Rest { nodes: both() }));
    state
}

const JUDGED: Judging = Judging {
    judge_ms: 10_000,
    confirm_within_ms: None,
};

#[test]
fn second_concurrent_change_is_refused() {
    let mut state = ClusterState::pair();
    state.must(A, propose(proposal(None, Vec::new())));
    let (version, author) = (VersionId(1), "anna".to_owned());
    assert_eq!(
        state.refused(B, propose(proposal(None, Vec::new()))),
        CommandRefusal::Busy { version, author }
    );
    state.accept_all_the_way(1);
    let accepted = Some(VersionId(1));
    assert_eq!(
        state.refused(B, propose(proposal(None, Vec::new()))),
        CommandRefusal::Stale { accepted }
    );
    assert_eq!(
        state.must(B, propose(proposal(Some(1), Vec::new()))),
        CommandResult::Version(VersionId(2))
    );
}

#[test]
fn version_passes_all_stages_before_acceptance() {
    let mut state = checked();
    let canary = || RolloutStep::Canary { node: B };
    let rest = || RolloutStep::Rest { nodes: both() };
    for early in [rest(), RolloutStep::Accept, RolloutStep::AwaitConfirmation] {
        assert_eq!(
            state.refused(A, decision(1, early)),
            CommandRefusal::Untimely
        );
    }
    state.must(A, decision(1, canary()));
    for early in [canary(), rest(), RolloutStep::Accept] {
        assert_eq!(
            state.refused(A, decision(1, early)),
            CommandRefusal::Untimely
        );
    }
    state.must(B, report(1, B, Serves));
    assert_eq!(
        state.refused(A, decision(1, rest())),
        CommandRefusal::Untimely
    );
    state.must(B, report(1, B, Good));
    state.must(A, decision(1, rest()));
    let record = state.version(VersionId(1)).expect("it is there");
    assert_eq!(record.last_report_of(B), Some(Serves), "it is judged anew");
    state.must(A, report(1, A, Good));
    assert_eq!(
        state.refused(A, decision(1, RolloutStep::Accept)),
        CommandRefusal::Untimely
    );
    state.must(B, report(1, B, Good));
    state.must(A, decision(1, RolloutStep::Accept));
    assert_eq!(state.accepted, Some(VersionId(1)));
    assert_eq!(
        state.refused(A, decision(1, RolloutStep::Accept)),
        CommandRefusal::NoVersion
    );
}

#[test]
fn leader_cannot_override_a_refusal() {
    for against in [Refused, Worse, WentBack] {
        let mut state = on_trial(JUDGED);
        state.must(A, report(1, A, Good));
        state.must(B, report(1, B, Good));
        state.must(B, report(1, B, against));
        assert_eq!(
            state.refused(A, decision(1, RolloutStep::Accept)),
            CommandRefusal::Untimely
        );
        state.must(B, report(1, B, Good));
        assert_eq!(
            state.refused(A, decision(1, RolloutStep::Accept)),
            CommandRefusal::Untimely,
            "and what it says later does not undo it"
        );
        let words = "worse".to_owned();
        state.must(A, decision(1, RolloutStep::TakeBack { words }));
        let record = state.version(VersionId(1)).expect("it is there");
        assert_eq!(
            (&record.stage, record.words.as_str()),
            (&RolloutStage::TakenBack, "worse")
        );
        assert_eq!(state.accepted, None);
    }
}

#[test]
fn late_or_repeated_report_has_no_effect() {
    let mut state = on_trial(JUDGED);
    state.must(A, report(1, A, Good));
    for late in [Checked, Serves, Good] {
        state.must(A, report(1, A, late));
    }
    let record = state.version(VersionId(1)).expect("it is there");
    assert_eq!(record.last_report_of(A), Some(Good));
}

#[test]
fn node_reports_only_for_itself_on_current_versions() {
    let mut state = checked();
    assert_eq!(
        state.refused(A, report(1, B, Refused)),
        CommandRefusal::Unfit
    );
    assert_eq!(
        state.refused(ARBITER, report(1, ARBITER, Good)),
        CommandRefusal::Unfit
    );
    assert_eq!(
        state.refused(A, report(2, A, Good)),
        CommandRefusal::NoVersion
    );
    let words = "no".to_owned();
    state.must(A, decision(1, RolloutStep::TakeBack { words }));
    assert_eq!(
        state.refused(A, report(1, A, Good)),
        CommandRefusal::NoVersion
    );
    let record = state.version(VersionId(1)).expect("it is there");
    assert_eq!(record.stage, RolloutStage::Refused, "nobody ever served it");
}

#[test]
fn failure_report_of_a_returning_node_is_recorded() {
    let mut state = checked();
    state.must(
        A,
        decision(
            1,
            RolloutStep::TakeBack {
                words: String::new(),
            },
        ),
    );
    state.propose_content(b"text");
    state.accept_all_the_way(2);
    state.must(B, report(2, B, Refused));
    assert_eq!(state.accepted, Some(VersionId(2)));
    let last = state.events().next_back().expect("an event");
    assert_eq!(last.words, "b cannot serve version 2: words of 2");
    state.must(B, report(2, B, Serves));
    let record = state.accepted().expect("it is accepted");
    assert_eq!(
        record.last_report_of(B),
        Some(Serves),
        "then the last word counts"
    );
}

#[test]
fn version_without_judgement_goes_to_all_after_checks() {
    let mut state = on_trial(Judging {
        judge_ms: 0,
        confirm_within_ms: None,
    });
    assert_eq!(
        state.refused(A, decision(1, RolloutStep::Accept)),
        CommandRefusal::Untimely
    );
    state.must(A, report(1, A, Serves));
    state.must(B, report(1, B, Serves));
    state.must(A, decision(1, RolloutStep::Accept));
}

#[test]
fn version_needing_confirmation_waits_for_it() {
    let mut state = on_trial(Judging {
        judge_ms: 0,
        confirm_within_ms: Some(300_000),
    });
    state.must(A, report(1, A, Serves));
    state.must(B, report(1, B, Serves));
    assert_eq!(
        state.refused(A, decision(1, RolloutStep::Accept)),
        CommandRefusal::Untimely
    );
    let remaining = |ms| decision(1, RolloutStep::Remaining { ms });
    assert_eq!(state.refused(A, remaining(5)), CommandRefusal::Untimely);
    state.must(A, decision(1, RolloutStep::AwaitConfirmation));
    state.must(A, remaining(200_000));
    state.must(A, remaining(290_000));
    let stage = &state.version(VersionId(1)).expect("it is there").stage;
    let RolloutStage::AwaitConfirmation { remaining_ms, .. } = stage else {
        panic!("{stage:?}");
    };
    assert_eq!(*remaining_ms, 200_000, "it never grows");
    state.must(A, decision(1, RolloutStep::Accept));
}

#[test]
fn reports_of_a_removed_node_delay_nothing() {
    let mut state = on_trial(JUDGED);
    state.must(A, report(1, A, Good));
    state.must(B, report(1, B, Worse));
    state.must(A, CommandBody::Remove { member: B });
    state.must(A, decision(1, RolloutStep::Accept));

    let mut state = checked();
    state.must(A, decision(1, RolloutStep::Canary { node: B }));
    state.must(B, report(1, B, Good));
    state.must(A, decision(1, RolloutStep::Rest { nodes: vec![B] }));
    state.must(A, CommandBody::Remove { member: B });
    assert_eq!(
        state.refused(A, decision(1, RolloutStep::Accept)),
        CommandRefusal::Untimely,
        "who tried it is gone: nobody serves it well"
    );
}

#[test]
fn history_keeps_the_newest_the_accepted_and_its_parent() {
    let mut state = ClusterState::pair();
    let versions = 5;
    state.must(
        A,
        CommandBody::Keep(Limits {
            versions,
            ..Limits::default()
        }),
    );
    for content in [b"one", b"two"] {
        let version = state.propose_content(content);
        state.accept_all_the_way(version);
    }
    for number in 3..50_u64 {
        state.propose_content(&number.to_be_bytes());
        let words = String::new();
        state.must(A, decision(number, RolloutStep::TakeBack { words }));
        assert!(state.versions.len() <= 5);
    }
    let kept: Vec<u64> = state.versions.keys().map(|id| id.0).collect();
    assert_eq!(kept, [1, 2, 47, 48, 49]);
    assert_eq!(state.chunks().count(), 5);
}

#[test]
fn history_keeps_the_last_followed_revisions() {
    let mut state = ClusterState::pair();
    let versions = 2;
    let content_bytes = Limits::default().content_bytes;
    state.must(
        A,
        CommandBody::Keep(Limits {
            versions,
            content_bytes,
        }),
    );
    let follow = |state: &mut ClusterState, repository: &str, revision: &str| {
        let parent = state.accepted.map(|version| version.0);
        let with = Proposal {
            origin: VersionOrigin::Followed {
                repository: repository.to_owned(),
                revision: revision.to_owned(),
            },
            ..proposal(parent, Vec::new())
        };
        match state.must(A, propose(with)) {
            CommandResult::Version(version) => version.0,
            other => panic!("{other:?}"),
        }
    };
    let last = |state: &mut ClusterState, repository: &str, revision: &str| {
        let version = follow(state, repository, revision);
        state.accept_all_the_way(version);
        version
    };
    last(&mut state, "git /a", "1");
    let a = last(&mut state, "git /a", "2");
    let branch = last(&mut state, "git /a, branch x", "3");
    // A rolled back revision is no base for the next.
    let bad = follow(&mut state, "git /a", "4");
    let words = String::new();
    state.must(A, decision(bad, RolloutStep::TakeBack { words }));
    for number in 0..20_u64 {
        let version = state.propose_content(&number.to_be_bytes());
        state.accept_all_the_way(version);
    }
    let kept: Vec<u64> = state.versions.keys().map(|id| id.0).collect();
    let newest = state.last_version.0;
    assert_eq!(kept, [a, branch, newest - 1, newest]);
    // Keeps the last versions of a limited number of repositories: the oldest ones give way.
    for number in 0..20 {
        last(&mut state, &format!("git /{number}"), "5");
    }
    let kept: Vec<u64> = state.versions.keys().map(|id| id.0).collect();
    let newest = state.last_version.0;
    let eight: Vec<u64> = (newest - 7..=newest).collect();
    assert_eq!(FOLLOWED_KEPT_MAX, eight.len());
    assert_eq!(kept, eight);
}

#[test]
fn history_is_within_a_number_of_bytes() {
    let mut state = ClusterState::pair();
    state.must(
        A,
        CommandBody::Keep(Limits {
            versions: 200,
            content_bytes: 10_000,
        }),
    );
    for number in 1..30_u64 {
        let version = state.propose_content(&vec![number as u8; 3000]);
        assert!(state.chunk_bytes() <= 3 * 3000, "{}", state.chunk_bytes());
        state.accept_all_the_way(version);
    }
    assert_eq!(state.versions.len(), 3);

    // Names of files count too, whatever the setting.
    let mut state = ClusterState::pair();
    state.put(b"x");
    let name = "n".repeat(PATH_BYTES_MAX - 10);
    let files: Vec<_> = (0..100)
        .map(|n| file(&format!("{n}{name}"), b"x"))
        .collect();
    for number in 1..30 {
        state.must(A, propose(proposal(None, files.clone())));
        let words = String::new();
        state.must(A, decision(number, RolloutStep::TakeBack { words }));
        assert!(state.encode().len() < METADATA_BYTES_MAX + PROPOSAL_BYTES_MAX);
    }
    assert!(state.versions.len() < 20);
    assert!(state.has_chunk(&digest(b"x")));
}

#[test]
fn a_proposal_has_bounds_and_refers_to_what_there_is() {
    let mut state = ClusterState::pair();
    state.put(b"x");
    let too_many = |change: fn(&mut Proposal)| {
        let mut with = proposal(None, vec![file("/f", b"x")]);
        change(&mut with);
        propose(with)
    };
    for change in [
        (|p| p.message = "m".repeat(MESSAGE_BYTES_MAX + 1)) as fn(&mut Proposal),
        |p| p.author = "m".repeat(MESSAGE_BYTES_MAX + 1),
        |p| p.files = vec![file(&"p".repeat(PATH_BYTES_MAX + 1), b"x")],
        |p| p.files = vec![file("/f", b"x"); FILES_MAX + 1],
        |p| p.files[0].content.bytes = SET_BYTES_MAX + 1,
        |p| p.files[0].content.chunks = vec![digest(b"x"); 20_000],
        |p| p.listings = vec![("/d".to_owned(), vec![String::new(); LISTED_NAMES_MAX + 1])],
        |p| p.judging.judge_ms = u64::MAX,
        |p| p.judging.confirm_within_ms = Some(u64::MAX),
    ] {
        let refusal = state.refused(A, too_many(change));
        assert!(
            matches!(refusal, CommandRefusal::TooMany { .. }),
            "{refusal:?}"
        );
    }
    let to_nowhere = too_many(|p| p.origin = VersionOrigin::RolledBack { to: VersionId(7) });
    assert_eq!(state.refused(A, to_nowhere), CommandRefusal::NoVersion);
    let unknown_key = too_many(|p| p.files[0].content.epoch.0 = 7);
    assert_eq!(state.refused(A, unknown_key), CommandRefusal::OldEpoch);
    let rolled_back = too_many(|p| p.message.clear());
    state.must(A, rolled_back);
}

#[test]
fn long_words_are_cut_between_characters() {
    let mut state = ClusterState::pair();
    state.propose_content(b"text");
    let words = "é".repeat(WORDS_BYTES_MAX);
    let with_words = RolloutReport {
        version: VersionId(1),
        node: A,
        outcome: Refused,
        words,
        found: CheckFindings::default(),
    };
    state.must(A, CommandBody::Report(with_words));
    let record = state.version(VersionId(1)).expect("it is there");
    assert_eq!(record.reports[&A].words.len(), WORDS_BYTES_MAX);
}
