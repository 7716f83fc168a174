//! Tests the state with random sequences of commands, among them many that no real member would
//! send. The state must process all of them, identically on every member.

use super::sample::{
    A, ARBITER, B, authority, digest, file, invitation, member, next_authority, proposal, ring,
};
use super::*;
use crate::authority::{FORMER_AUTHORITIES_MAX, fingerprint};
use crate::command::{
    CheckFindings, Decision, Judging, NextHolder, Reported, RolloutReport, RolloutStep,
};
use proptest::collection::vec;
use proptest::prelude::*;

fn some_member() -> impl Strategy<Value = MemberId> {
    (0_u64..8).prop_map(MemberId)
}

fn some_kind() -> impl Strategy<Value = MemberKind> {
    prop_oneof![3 => Just(MemberKind::Node), 1 => Just(MemberKind::Arbiter)]
}

fn some_member_record() -> impl Strategy<Value = ClusterMember> {
    let names = proptest::sample::select(vec!["a", "b", "c", "d", "e f", ""]);
    let certificates = proptest::sample::select(vec!["a", "b", "c", "d", "e"]);
    (some_member(), names, certificates, some_kind(), 0_u32..3).prop_map(
        |(id, name, certificate, kind, format)| ClusterMember {
            certificate: digest(certificate.as_bytes()),
            format,
            ..member(id, name, kind)
        },
    )
}

fn some_content() -> impl Strategy<Value = &'static [u8]> {
    proptest::sample::select(vec![&b"one"[..], b"two", b"three", b"four"])
}

fn some_proposal() -> impl Strategy<Value = CommandBody> {
    let judging = (
        proptest::sample::select(vec![0, 10, u64::MAX]),
        proptest::option::of(0_u64..100),
    );
    let parent = proptest::option::weighted(0.9, 0_u64..6);
    let files = vec((some_content(), 1_u64..3), 0..2);
    (parent, files, judging).prop_map(|(parent, files, judging)| {
        let files = files.into_iter().map(|(content, epoch)| {
            let mut file = file("/f", content);
            file.content.epoch = Epoch(epoch);
            file
        });
        let mut proposal = proposal(parent, files.collect());
        proposal.judging = Judging {
            judge_ms: judging.0,
            confirm_within_ms: judging.1,
        };
        CommandBody::Propose(Box::new(proposal))
    })
}

fn some_report() -> impl Strategy<Value = CommandBody> {
    let outcomes = proptest::sample::select(vec![
        Reported::Checked,
        Reported::Checked,
        Reported::Checked,
        Reported::Serves,
        Reported::Serves,
        Reported::Good,
        Reported::Good,
        Reported::Good,
        Reported::Good,
        Reported::Good,
        Reported::Refused,
        Reported::Worse,
        Reported::WentBack,
    ]);
    let found = (any::<bool>(), any::<Option<u64>>());
    (0_u64..12, some_member(), outcomes, found).prop_map(|(version, node, outcome, found)| {
        CommandBody::Report(RolloutReport {
            version: VersionId(version),
            node,
            outcome,
            words: "words".to_owned(),
            found: CheckFindings {
                together: found.0,
                addresses_owned: found.1,
            },
        })
    })
}

fn some_decision() -> impl Strategy<Value = CommandBody> {
    let step = prop_oneof![
        2 => (1_u64..4).prop_map(|node| RolloutStep::Canary { node: MemberId(node) }),
        6 => vec((1_u64..3).prop_map(MemberId), 1..3).prop_map(|nodes| RolloutStep::Rest { nodes }),
        2 => Just(RolloutStep::AwaitConfirmation),
        1 => (0_u64..100).prop_map(|ms| RolloutStep::Remaining { ms }),
        6 => Just(RolloutStep::Accept),
        1 => Just(RolloutStep::TakeBack {
            words: "why".to_owned()
        }),
    ];
    (0_u64..12, step).prop_map(|(version, step)| {
        CommandBody::Decide(Decision {
            version: VersionId(version),
            step,
        })
    })
}

fn some_authority() -> impl Strategy<Value = Digest> {
    (20_u8..24).prop_map(|number| authority(number).fingerprint())
}

fn some_body() -> impl Strategy<Value = CommandBody> {
    let tokens = || proptest::sample::select(vec!["s", "t", "u"]);
    let leases = || proptest::sample::select(vec!["", "v", "w"]).prop_map(str::to_owned);
    prop_oneof![
        1 => some_member_record().prop_map(|member| CommandBody::Found {
            cluster: "again".to_owned(),
            member,
            authority: Vec::new(),
        }),
        1 => (tokens(), some_kind()).prop_map(|(token, kind)| invitation(token, kind)),
        1 => tokens().prop_map(|token| CommandBody::Uninvite {
            token: digest(token.as_bytes())
        }),
        1 => (tokens(), some_member_record())
            .prop_map(|(token, member)| super::sample::admission(token, member)),
        1 => some_member_record().prop_map(CommandBody::Announce),
        1 => some_member().prop_map(|member| CommandBody::Remove { member }),
        1 => (0_u64..5, vec(some_member(), 0..4)).prop_map(|(epoch, to)| CommandBody::Seal(ring(epoch, &to))),
        4 => some_content().prop_map(|content| CommandBody::Chunk {
            digest: digest(content),
            bytes: content.to_vec(),
        }),
        6 => some_proposal(),
        8 => some_report(),
        8 => some_decision(),
        1 => (leases(), 0_u64..4, some_member()).prop_map(|(name, after, holder)| {
            CommandBody::Lease(LeaseCommand::Grant {
                name,
                after: Epoch(after),
                holder,
                valid_ms: 3000,
            })
        }),
        1 => (leases(), 0_u64..4).prop_map(|(name, epoch)| {
            let epoch = Epoch(epoch);
            CommandBody::Lease(LeaseCommand::Release { name, epoch })
        }),
        1 => (leases(), 0_u64..4, some_member(), some_member()).prop_map(|(name, epoch, holder, to)| {
            let next = NextHolder { member: to, valid_ms: 3000, asked_ns: 7 };
            CommandBody::Lease(LeaseCommand::Pass {
                name,
                epoch: Epoch(epoch),
                holder,
                next: (to != holder).then_some(next),
            })
        }),
        1 => Just(CommandBody::Event { words: "x".to_owned() }),
        1 => (20_u8..24, 0_u64..4).prop_map(|(next, epoch)| next_authority(1, next, epoch)),
        2 => some_authority().prop_map(|authority| CommandBody::Certified { authority }),
        2 => (some_authority(), vec((1_u64..5).prop_map(MemberId), 0..3)).prop_map(|(next, away)| {
            let away = away.into_iter().collect();
            CommandBody::GiveUpAuthority { next, away }
        }),
        1 => (0_u32..4, 0_u64..20).prop_map(|(versions, content_bytes)| CommandBody::Keep(Limits {
            versions,
            content_bytes,
        })),
    ]
}

fn some_command() -> impl Strategy<Value = ClusterCommand> {
    let from = prop_oneof![4 => Just(A), 4 => Just(B), 1 => Just(ARBITER), 1 => some_member()];
    (from, 0_u32..3, some_body()).prop_map(|(from, format, mut body)| {
        // Most nodes report about themselves.
        if let CommandBody::Report(report) = &mut body
            && from != ARBITER
        {
            report.node = from;
        }
        let mut command = ClusterCommand::new(from, 0, body);
        // A few commands have a format that not all members support.
        command.format = format.min(1) + u32::from(format == 2);
        command
    })
}

/// Returns a command that advances the version in progress, or proposes a new one.
fn helpful(state: &ClusterState) -> ClusterCommand {
    let Some(record) = state.on_its_way() else {
        let parent = state.accepted.map(|version| version.0);
        return ClusterCommand::new(
            A,
            0,
            CommandBody::Propose(Box::new(proposal(parent, Vec::new()))),
        );
    };
    let wanted = match &record.stage {
        RolloutStage::Checking => Reported::Checked,
        _ => Reported::Good,
    };
    let behind = |node: &MemberId| {
        state.member(*node).is_some() && record.last_report_of(*node) != Some(wanted)
    };
    if let Some(node) = [A, B].into_iter().find(behind)
        && record.against().next().is_none()
    {
        return ClusterCommand::new(node, 0, super::sample::report(record.id.0, node, wanted));
    }
    let words = "against".to_owned();
    let step = match &record.stage {
        _ if record.against().next().is_some() => RolloutStep::TakeBack { words },
        RolloutStage::Checking if record.proposal.judging.judge_ms > 0 => {
            RolloutStep::Canary { node: A }
        }
        RolloutStage::Checking | RolloutStage::Canary { .. } => {
            RolloutStep::Rest { nodes: vec![A, B] }
        }
        RolloutStage::Rest { .. } if record.proposal.judging.confirm_within_ms.is_some() => {
            RolloutStep::AwaitConfirmation
        }
        _ => RolloutStep::Accept,
    };
    ClusterCommand::new(A, 0, super::sample::decision(record.id.0, step))
}

/// Adjusts most commands to refer to existing items: otherwise nearly all would be
/// refused.
fn fit(command: &mut ClusterCommand, state: &ClusterState) {
    match &mut command.body {
        CommandBody::Propose(proposal) if proposal.parent != Some(VersionId(0)) => {
            proposal.parent = state.accepted;
        }
        CommandBody::Report(report) if report.version.0 > 2 => report.version = state.last_version,
        CommandBody::Decide(decision) if decision.version.0 > 2 => {
            decision.version = state.last_version;
        }
        CommandBody::Authority(next) if next.key.epoch.0 > 1 => {
            next.key.epoch = state.rings.keys().next_back().copied().unwrap_or_default();
            let known = |number: &u8| authority(*number).certificate() == state.authority;
            let follows = |number: &u8| authority(*number).certificate() == next.certificate;
            let of = |is: &dyn Fn(&u8) -> bool| [1, 20, 21, 22, 23].into_iter().find(is);
            if let (Some(present), Some(follows)) = (of(&known), of(&follows)) {
                let vouched = authority(present).vouch_for(&authority(follows));
                next.vouched = vouched.expect("it signs");
            }
        }
        CommandBody::Certified { authority } if command.from != ARBITER => {
            *authority = fingerprint(state.newest_authority());
        }
        CommandBody::GiveUpAuthority { next, away } if away.len() < 2 => {
            *next = fingerprint(state.newest_authority());
            *away = state.uncertified();
        }
        _ => {}
    }
}

/// Checks the invariants of CAs: a CA is replaced only when the previous one is
/// remembered with all members that lack a new certificate, and no needed key is lost.
fn check_authorities(state: &ClusterState, before: &ClusterState) {
    let succession = &state.succession;
    assert!(succession.formers.len() <= FORMER_AUTHORITIES_MAX);
    for member in succession.certified.iter().chain(&succession.late()) {
        assert!(state.members.contains_key(member), "{member} is gone");
    }
    for key in succession
        .key
        .iter()
        .chain(succession.next.as_ref().map(|n| &n.key))
    {
        assert!(state.rings.contains_key(&key.epoch), "nobody could open it");
    }
    if state.authority != before.authority {
        let former = succession.formers.last().expect("it is remembered");
        assert_eq!(former.certificate, before.authority);
        let next = before
            .succession
            .next
            .as_ref()
            .expect("it was being introduced");
        assert_eq!(next.certificate, state.authority);
        let certified = &before.succession.certified;
        assert!(!certified.is_empty());
        let all = state.members.keys().copied();
        let without: Vec<_> = all.filter(|id| !certified.contains(id)).collect();
        assert!(
            without.iter().copied().eq(succession.late()),
            "who has none is late"
        );
    }
    let mut twice = std::collections::BTreeSet::new();
    for former in &succession.formers {
        assert!(former.late.iter().all(|id| twice.insert(*id)), "late twice");
    }
}

fn check(state: &ClusterState, before: &ClusterState) {
    let on_its_way: Vec<_> = state
        .versions
        .values()
        .filter(|record| record.stage.on_its_way())
        .collect();
    assert!(on_its_way.len() <= 1, "two versions on their way");
    if let Some(accepted) = state.accepted {
        let record = state.version(accepted).expect("the accepted one is kept");
        assert_eq!(record.stage, RolloutStage::Accepted);
        assert!(before.accepted <= state.accepted, "it never goes back");
        if before.accepted != state.accepted {
            assert_eq!(
                record.against().count(),
                0,
                "accepted against a node's word"
            );
        }
    }
    for record in state.versions.values() {
        for file in &record.proposal.files {
            assert!(state.rings.contains_key(&file.content.epoch));
            let missing = state.missing(&record.proposal.files);
            assert_eq!(missing, [], "a version that is kept lost a piece");
        }
    }
    check_authorities(state, before);
    for (id, member) in &state.members {
        assert!(!state.removed.contains_key(&member.certificate));
        assert!(*id <= state.last_member);
    }
    assert!(before.members.is_empty() || state.nodes().next().is_some());
    for (name, lease) in before.leases() {
        let now = state.lease(name).expect("leases are few here");
        assert!(lease.epoch <= now.epoch);
        assert!(lease.epoch < now.epoch || now.holder.is_none() || lease.holder == now.holder);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(250))]

    #[test]
    fn any_command_sequence_is_deterministic(
        commands in vec(proptest::option::weighted(0.6, some_command()), 1..150)
    ) {
        let mut state = ClusterState::pair();
        let mut another = ClusterState::decode(&state.encode()).expect("it was encoded here");
        let mut kept: std::collections::BTreeSet<Digest> = Default::default();
        for (number, command) in commands.into_iter().enumerate() {
            let mut command = command.unwrap_or_else(|| helpful(&state));
            fit(&mut command, &state);
            let command = &command;
            if state.must_stop(command) {
                break;
            }
            let before = state.clone();
            let answer = state.apply(command);
            check(&state, &before);
            prop_assert_eq!(&answer, &another.apply(command));
            if matches!(answer, CommandResult::Refused(_)) {
                let mut unchanged = before;
                unchanged.applied += 1;
                prop_assert_eq!(&unchanged, &state);
            }
            // A store that follows the instructions to keep and delete has all chunks that it
            // needs.
            if let CommandBody::Chunk { digest, .. } = &command.body
                && state.has_chunk(digest)
            {
                kept.insert(*digest);
            }
            if command.format == 0 {
                for digest in state.take_dropped() {
                    kept.remove(&digest);
                }
                prop_assert!(kept.iter().copied().eq(state.chunks()));
            }
            prop_assert!(state.chunks().all(|digest| kept.contains(&digest)));
            if number % 8 == 0 {
                another = ClusterState::decode(&another.encode()).expect("it was encoded here");
            }
            prop_assert_eq!(&another, &state);
        }
    }

    #[test]
    fn bytes_that_are_no_state_are_refused_without_a_panic(bytes in vec(any::<u8>(), 0..200)) {
        let _ = ClusterState::decode(&bytes);
    }
}

#[test]
fn commands_of_a_format_that_not_all_understand_are_refused_by_all() {
    let mut state = ClusterState::pair();
    let mut newer = ClusterCommand::new(
        A,
        0,
        CommandBody::Event {
            words: String::new(),
        },
    );
    newer.format = FORMAT + 1;
    assert!(!state.must_stop(&newer));
    let understood = FORMAT;
    let refused = CommandResult::Refused(CommandRefusal::Format { understood });
    assert_eq!(state.apply(&newer), refused);
    // If all members announce a newer format, this release of evenkeel must stop.
    for member in state.members.values_mut() {
        member.format = FORMAT + 1;
    }
    assert!(state.must_stop(&newer));
}

#[test]
fn a_state_of_a_newer_program_is_not_read_by_an_older_one() {
    let mut state = ClusterState::pair();
    assert_eq!(ClusterState::decode(&state.encode()).expect("it is"), state);
    state.needs = FORMAT + 1;
    let error = ClusterState::decode(&state.encode()).expect_err("it is newer");
    assert!(matches!(error, StateError::Newer { needs } if needs == FORMAT + 1));
    let error = ClusterState::decode(b"nothing of the kind").expect_err("it is none");
    assert!(matches!(error, StateError::Malformed(_)));
}
