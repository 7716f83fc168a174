//! Provides a small cluster for tests: its members, and functions that create and apply commands.

use super::ClusterState;
use crate::authority::Authority;
use crate::command::{
    CheckFindings, ClusterCommand, CommandBody, CommandRefusal, CommandResult, Decision,
    EncryptedContent, Epoch, FileEntry, Invitation, Judging, NextAuthority, Proposal, Reported,
    Ring, RolloutReport, RolloutStep, SealedAuthority, SealedKey, VersionId, VersionOrigin,
};
use crate::member::{ClusterMember, Digest, MemberId, MemberKind};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

pub(crate) const A: MemberId = MemberId(1);
pub(crate) const B: MemberId = MemberId(2);
pub(crate) const ARBITER: MemberId = MemberId(3);

pub(crate) fn digest(of: &[u8]) -> Digest {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, of);
    Digest(digest.as_ref().try_into().expect("SHA-256 has 32 bytes"))
}

pub(crate) fn member(id: MemberId, name: &str, kind: MemberKind) -> ClusterMember {
    ClusterMember {
        id,
        name: name.to_owned(),
        kind,
        addresses: vec!["192.0.2.1:7443".parse().expect("an address")],
        certificate: digest(name.as_bytes()),
        sealing_key: (kind == MemberKind::Node).then(|| vec![1; 32]),
        format: crate::command::FORMAT,
    }
}

pub(crate) fn invitation(token: &str, kind: MemberKind) -> CommandBody {
    CommandBody::Invite(Invitation {
        token: digest(token.as_bytes()),
        kind,
        valid_ms: 60_000,
    })
}

pub(crate) fn admission(token: &str, member: ClusterMember) -> CommandBody {
    let token = digest(token.as_bytes());
    CommandBody::Admit { token, member }
}

pub(crate) fn ring(epoch: u64, to: &[MemberId]) -> Ring {
    let seal = |member: &MemberId| SealedKey {
        member: *member,
        bytes: vec![9; 80],
    };
    Ring {
        epoch: Epoch(epoch),
        sealed: to.iter().map(seal).collect(),
    }
}

/// Returns the CA with that number; 1 is the CA of [`ClusterState::pair`].
pub(crate) fn authority(number: u8) -> Arc<Authority> {
    static ALL: Mutex<BTreeMap<u8, Arc<Authority>>> = Mutex::new(BTreeMap::new());
    let mut all = ALL.lock().expect("nobody panics with it");
    let found = || Arc::new(Authority::found("office").expect("a name of a cluster"));
    Arc::clone(all.entry(number).or_insert_with(found))
}

/// Returns the command that introduces the next CA, with a certificate by the current
/// one.
pub(crate) fn next_authority(present: u8, next: u8, epoch: u64) -> CommandBody {
    let next = authority(next);
    let vouched = authority(present).vouch_for(&next);
    CommandBody::Authority(Box::new(NextAuthority {
        certificate: next.certificate().to_vec(),
        vouched: vouched.expect("it signs"),
        key: SealedAuthority {
            epoch: Epoch(epoch),
            bytes: vec![3; 60],
        },
    }))
}

pub(crate) fn file(path: &str, content: &[u8]) -> FileEntry {
    FileEntry {
        path: path.to_owned(),
        main: Some(0),
        secret: false,
        mode: 0o644,
        content: EncryptedContent {
            bytes: content.len() as u64,
            epoch: Epoch(1),
            chunks: vec![digest(content)],
        },
    }
}

pub(crate) fn proposal(parent: Option<u64>, files: Vec<FileEntry>) -> Proposal {
    Proposal {
        parent: parent.map(VersionId),
        author: "anna".to_owned(),
        message: "more servers".to_owned(),
        time_s: 0,
        origin: VersionOrigin::Applied,
        files,
        listings: Vec::new(),
        judging: Judging {
            judge_ms: 10_000,
            confirm_within_ms: None,
        },
    }
}

pub(crate) fn report(version: u64, node: MemberId, outcome: Reported) -> CommandBody {
    report_of(version, node, outcome, CheckFindings::default())
}

pub(crate) fn checked_together(version: u64, node: MemberId) -> CommandBody {
    let found = CheckFindings {
        together: true,
        ..CheckFindings::default()
    };
    report_of(version, node, Reported::Checked, found)
}

pub(crate) fn report_of(
    version: u64,
    node: MemberId,
    outcome: Reported,
    found: CheckFindings,
) -> CommandBody {
    CommandBody::Report(RolloutReport {
        version: VersionId(version),
        node,
        outcome,
        words: format!("words of {node}"),
        found,
    })
}

pub(crate) fn decision(version: u64, step: RolloutStep) -> CommandBody {
    CommandBody::Decide(Decision {
        version: VersionId(version),
        step,
    })
}

impl ClusterState {
    pub(crate) fn say(&mut self, from: MemberId, body: CommandBody) -> CommandResult {
        self.apply(&ClusterCommand::new(from, 1_700_000_000, body))
    }

    #[track_caller]
    pub(crate) fn must(&mut self, from: MemberId, body: CommandBody) -> CommandResult {
        let name = body.name();
        let answer = self.say(from, body);
        assert!(
            !matches!(answer, CommandResult::Refused(_)),
            "{name}: {answer:?}"
        );
        answer
    }

    /// Applies a command that must be refused and change nothing but the count; returns
    /// the reason.
    #[track_caller]
    pub(crate) fn refused(&mut self, from: MemberId, body: CommandBody) -> CommandRefusal {
        let mut before = self.clone();
        before.applied += 1;
        let name = body.name();
        let CommandResult::Refused(refusal) = self.say(from, body) else {
            panic!("{name} was not refused");
        };
        assert_eq!(*self, before, "{name} was refused, and changed something");
        refusal
    }

    pub(crate) fn next_authority(&self, next: u8, epoch: u64) -> CommandBody {
        let is_present = |number: &u8| self.authority == authority(*number).certificate();
        let present = (1..u8::MAX).find(is_present);
        next_authority(present.expect("one of the sample"), next, epoch)
    }

    pub(crate) fn put(&mut self, content: &[u8]) {
        let digest = digest(content);
        let bytes = content.to_vec();
        self.must(A, CommandBody::Chunk { digest, bytes });
    }

    /// Returns a cluster of the nodes a and b and an arbiter, with a content key.
    pub(crate) fn pair() -> ClusterState {
        let mut state = ClusterState::default();
        state.must(
            A,
            CommandBody::Found {
                cluster: "office".to_owned(),
                member: member(A, "a", MemberKind::Node),
                authority: authority(1).certificate().to_vec(),
            },
        );
        state.must(A, invitation("for b", MemberKind::Node));
        state.must(A, admission("for b", member(B, "b", MemberKind::Node)));
        state.must(A, invitation("for c", MemberKind::Arbiter));
        state.must(
            A,
            admission("for c", member(ARBITER, "c", MemberKind::Arbiter)),
        );
        state.must(A, CommandBody::Seal(ring(1, &[A, B])));
        state
    }

    pub(crate) fn accept_all_the_way(&mut self, version: u64) {
        for node in [A, B] {
            self.must(node, report(version, node, Reported::Checked));
        }
        self.must(A, decision(version, RolloutStep::Canary { node: B }));
        self.must(B, report(version, B, Reported::Good));
        let nodes = vec![A, B];
        self.must(A, decision(version, RolloutStep::Rest { nodes }));
        for node in [A, B] {
            self.must(node, report(version, node, Reported::Good));
        }
        self.must(A, decision(version, RolloutStep::Accept));
    }

    pub(crate) fn propose_content(&mut self, content: &[u8]) -> u64 {
        self.put(content);
        let parent = self.accepted.map(|version| version.0);
        let proposal = proposal(parent, vec![file("/etc/evenkeel.cfg", content)]);
        match self.must(A, CommandBody::Propose(Box::new(proposal))) {
            CommandResult::Version(version) => version.0,
            other => panic!("a proposal was answered with {other:?}"),
        }
    }
}
