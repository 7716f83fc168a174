//! Checks whether a proposer may propose a command and has signed it. Every member checks this
//! where the command takes effect: when it applies a committed entry.
//!
//! The leader of a term decides what enters the log, and any voter may become leader. So the
//! position of a command in the log proves nothing about its author. From the entry
//! [`CommandBody::RequireSignatures`] on, each command carries the signature of its author instead.
//! Entries before it stay valid as they are. The requirement cannot be removed:
//! [`ClusterState::needs`] only grows.

use super::ClusterState;
use crate::authority::CertificateRelation;
use crate::authority::{certificate_digest, is_signed_by_key, key_digest};
use crate::command::{CommandBody, CommandRefusal, LeaseCommand, SIGNED_FORMAT};
use crate::log::{MemberSignature, Proposed};
use crate::member::{ClusterMember, MemberId, MemberKind};

impl ClusterState {
    /// Returns whether commands take effect only with the signature of their author.
    pub fn requires_signatures(&self) -> bool {
        self.needs >= SIGNED_FORMAT
    }

    /// Checks that the command of a proposal was signed by the member that it names as its author.
    /// Accepts every proposal before signatures are required.
    ///
    /// # Errors
    /// The signature is missing or invalid, or there is no such member.
    pub fn check_author(&self, proposed: &Proposed) -> Result<(), CommandRefusal> {
        if !self.requires_signatures() {
            return Ok(());
        }
        let author = proposed.command.from;
        if proposed.ticket.member != author {
            return Err(CommandRefusal::Unsigned);
        }
        if !self.members.contains_key(&author) {
            return Err(CommandRefusal::NoMember);
        }
        let (signature, message) = proposed
            .authorship(&self.cluster)
            .ok_or(CommandRefusal::Unsigned)?;
        if self.is_signature_of(author, signature, &message) {
            Ok(())
        } else {
            Err(CommandRefusal::Unsigned)
        }
    }

    /// Returns whether a member signed this message. The key is the one in the state, or
    /// one whose certificate names that key as its predecessor.
    pub fn is_signature_of(
        &self,
        member: MemberId,
        signature: &MemberSignature,
        message: &[u8],
    ) -> bool {
        let Some(known) = self.members.get(&member) else {
            return false;
        };
        let key = key_digest(&signature.public_key);
        if key != known.certificate {
            let trust = self.trust();
            let certificate = &signature.certificate;
            let succeeds = certificate_digest(certificate) == Some(key)
                && trust.judge(certificate, member) == Ok(CertificateRelation::Successor)
                && trust.believes_issuer_of(certificate);
            if !succeeds {
                return false;
            }
        }
        is_signed_by_key(&signature.public_key, message, &signature.signature)
    }

    pub(super) fn may_propose(&self, from: &ClusterMember, body: &CommandBody) -> bool {
        match (from.kind, self.requires_signatures()) {
            (MemberKind::Node, false) => true,
            // Lets a node announce only itself.
            (MemberKind::Node, true) => match body {
                CommandBody::Announce(member) => member.id == from.id,
                _ => true,
            },
            (MemberKind::Arbiter, false) => arbiter_could(from.id, body),
            (MemberKind::Arbiter, true) => arbiter_may(from.id, body),
        }
    }
}

/// Returns whether an arbiter may propose a command. An arbiter votes and stores,
/// reports about itself, and decides nothing. So the thief of an arbiter's disk cannot
/// invite, propose, grant a lease, or have keys encrypted for himself.
fn arbiter_may(arbiter: MemberId, body: &CommandBody) -> bool {
    match body {
        CommandBody::Announce(member) => member.id == arbiter,
        CommandBody::Certified { .. } | CommandBody::Event { .. } => true,
        CommandBody::Found { .. }
        | CommandBody::Invite(_)
        | CommandBody::Uninvite { .. }
        | CommandBody::Admit { .. }
        | CommandBody::Remove { .. }
        | CommandBody::Seal(_)
        | CommandBody::Chunk { .. }
        | CommandBody::Propose(_)
        | CommandBody::Decide(_)
        | CommandBody::Lease(_)
        | CommandBody::Record(_)
        | CommandBody::Report(_)
        | CommandBody::Authority(_)
        | CommandBody::GiveUpAuthority { .. }
        | CommandBody::RequireSignatures
        | CommandBody::Keep(_) => false,
    }
}

/// Returns whether an arbiter could propose a command before signatures were required:
/// such entries must still lead to the same state.
fn arbiter_could(arbiter: MemberId, body: &CommandBody) -> bool {
    let lease = matches!(
        body,
        CommandBody::Lease(
            LeaseCommand::Grant { .. } | LeaseCommand::Release { .. } | LeaseCommand::Pass { .. }
        )
    );
    lease
        || matches!(body, CommandBody::Uninvite { .. } | CommandBody::Decide(_))
        || arbiter_may(arbiter, body)
}

#[cfg(test)]
mod tests {
    use super::super::sample::{A, ARBITER, B, invitation, member};
    use super::*;
    use crate::authority::{Authority, MemberIdentity, MemberKey};
    use crate::command::{ClusterCommand, CommandResult, Limits};
    use crate::log::{Proposed, Signer, Ticket};
    use crate::member::Digest;
    use crate::raft::test_keys;

    fn signed_pair() -> ClusterState {
        let mut state = ClusterState::pair();
        for id in [A, B, ARBITER] {
            let known = state.members[&id].clone();
            let certificate = test_keys::certificate(id);
            state.must(
                id,
                CommandBody::Announce(ClusterMember {
                    certificate,
                    ..known
                }),
            );
        }
        state.must(A, CommandBody::RequireSignatures);
        state
    }

    fn ticket(member: MemberId) -> Ticket {
        Ticket {
            member,
            start: 1,
            number: 7,
            settled: 0,
        }
    }

    fn by(signer: MemberId, of: MemberId, cluster: &str, body: CommandBody) -> Proposed {
        let signer = test_keys::signer(signer);
        let command = ClusterCommand::new(of, 0, body);
        let sign = |message: &[u8]| signer.sign(message);
        Proposed::signed(cluster, ticket(of), command, sign).unwrap()
    }

    fn keep() -> CommandBody {
        CommandBody::Keep(Limits::default())
    }

    #[test]
    fn signature_is_of_author_cluster_ticket_and_command() {
        let state = signed_pair();
        assert_eq!(state.check_author(&by(A, A, "office", keep())), Ok(()));
        let unsigned = Proposed::unsigned(ticket(A), ClusterCommand::new(A, 0, keep()));
        let mut another_ticket = by(A, A, "office", keep());
        another_ticket.ticket.member = B;
        for wrong in [
            unsigned,
            by(ARBITER, A, "office", keep()),
            by(A, A, "home", keep()),
            another_ticket,
        ] {
            assert_eq!(state.check_author(&wrong), Err(CommandRefusal::Unsigned));
        }
        let stranger = by(MemberId(9), MemberId(9), "office", keep());
        assert_eq!(state.check_author(&stranger), Err(CommandRefusal::NoMember));
    }

    #[test]
    fn decoded_command_is_the_signed_one() {
        let proposed = by(A, A, "office", keep());
        let bytes = part::codec::encode(&proposed);
        assert_eq!(part::codec::decode::<Proposed>(&bytes).unwrap(), proposed);
        let unsigned = Proposed::unsigned(ticket(A), ClusterCommand::new(A, 0, keep()));
        let bytes = part::codec::encode(&unsigned);
        assert_eq!(part::codec::decode::<Proposed>(&bytes).unwrap(), unsigned);
        // Every bit of a signed one counts.
        let state = signed_pair();
        let bytes = part::codec::encode(&proposed);
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            if let Ok(read) = part::codec::decode::<Proposed>(&changed)
                && read.command != proposed.command
            {
                assert!(state.check_author(&read).is_err(), "byte {place}");
            }
        }
    }

    #[test]
    fn before_signatures_are_required_none_is_needed() {
        let state = ClusterState::pair();
        let unsigned = Proposed::unsigned(ticket(A), ClusterCommand::new(A, 0, keep()));
        assert_eq!(state.check_author(&unsigned), Ok(()));
    }

    #[test]
    fn successor_of_a_known_key_signs_with_its_certificate() {
        let authority = Authority::found("office").unwrap();
        let mut state = signed_pair();
        state.authority = authority.certificate().to_vec();
        let issued = |authority: &Authority, before: &[Digest]| {
            let key = MemberKey::generate().unwrap();
            let request = key.request(b"").unwrap();
            let certificate = authority.sign(A, &request, before).unwrap();
            let chain = [authority.certificate().to_vec()];
            MemberIdentity::new("office", A, key, certificate, &chain).unwrap()
        };
        let known = test_keys::certificate(A);
        let checked = |identity: &MemberIdentity| {
            let command = ClusterCommand::new(A, 0, keep());
            let sign = |message: &[u8]| identity.sign(message);
            let proposed = Proposed::signed("office", ticket(A), command, sign).unwrap();
            state.check_author(&proposed)
        };
        assert_eq!(checked(&issued(&authority, &[known])), Ok(()));
        // The certificate names no key that is known here, or another authority gave it.
        assert_eq!(
            checked(&issued(&authority, &[])),
            Err(CommandRefusal::Unsigned)
        );
        let other = Authority::found("office").unwrap();
        assert_eq!(
            checked(&issued(&other, &[known])),
            Err(CommandRefusal::Unsigned)
        );
    }

    #[test]
    fn arbiter_decides_nothing_once_signatures_are_required() {
        let mut state = signed_pair();
        state.must(A, invitation("t", MemberKind::Node));
        let token = *state.invitations.keys().next().unwrap();
        let lease = LeaseCommand::Grant {
            name: "volume/mail".to_owned(),
            after: crate::command::Epoch(0),
            holder: B,
            valid_ms: 1,
        };
        for body in [
            CommandBody::Uninvite { token },
            CommandBody::Lease(lease),
            CommandBody::RequireSignatures,
        ] {
            assert_eq!(state.refused(ARBITER, body), CommandRefusal::Unfit);
        }
        let known = state.members[&B].clone();
        assert_eq!(
            state.refused(A, CommandBody::Announce(known)),
            CommandRefusal::Unfit
        );
        let words = "its disk is full".to_owned();
        state.must(ARBITER, CommandBody::Event { words });
    }

    #[test]
    fn no_member_lowers_the_format_of_the_log() {
        let mut state = signed_pair();
        let old = |member: ClusterMember| ClusterMember {
            format: SIGNED_FORMAT - 1,
            ..member
        };
        let known = state.members[&ARBITER].clone();
        let refusal = state.refused(ARBITER, CommandBody::Announce(old(known)));
        assert!(matches!(refusal, CommandRefusal::Format { .. }));
        state.must(A, invitation("t", MemberKind::Node));
        let newcomer = old(member(MemberId(4), "d", MemberKind::Node));
        let refusal = state.refused(A, super::super::sample::admission("t", newcomer));
        assert!(matches!(refusal, CommandRefusal::Format { .. }));
        assert_eq!(state.format(), crate::command::FORMAT);
        assert!(matches!(
            state.say(A, CommandBody::RequireSignatures),
            CommandResult::Done
        ));
    }
}
