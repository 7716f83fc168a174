//! Applies the commands that replace the CA: the next CA is introduced and trusted beside the
//! current one, members get certificates of it, then the old one is dropped. A member that is away
//! then counts as late: it reconnects with its known key, and gets a certificate of the new CA.

use super::ClusterState;
use super::membership::{CERTIFICATE_BYTES_MAX, SEALED_KEY_BYTES_MAX, too_many};
use crate::authority::{FORMER_AUTHORITIES_MAX, fingerprint, is_vouched_for};
use crate::command::{
    ClusterCommand, CommandRefusal, CommandResult, Epoch, NextAuthority, SealedAuthority,
};
use crate::member::{ClusterMember, Digest, MemberId, MemberKind};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Replacement of a CA by the next one.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Succession {
    /// Key of the current CA, if it was distributed through the log. Each node received
    /// the key of the first CA when it joined.
    pub key: Option<SealedAuthority>,
    pub next: Option<NextAuthority>,
    pub certified: BTreeSet<MemberId>,
    /// Previous CAs that were dropped, the oldest first; at most
    /// [`FORMER_AUTHORITIES_MAX`].
    pub formers: Vec<RetiredAuthority>,
    /// Set if a removed node knows the key of the newest CA, to the newest content key at its
    /// removal. Another CA must follow, whose key is encrypted with a newer content key.
    pub exposed: Option<Epoch>,
}

/// A CA that was dropped.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RetiredAuthority {
    #[serde(with = "serde_bytes")]
    pub certificate: Vec<u8>,
    /// Certificate by this CA for the CA that followed, DER.
    #[serde(with = "serde_bytes")]
    pub vouched: Vec<u8>,
    pub late: BTreeSet<MemberId>,
}

impl Succession {
    /// Returns the members that were away when a CA was dropped, and have not been
    /// certified since.
    pub fn late(&self) -> BTreeSet<MemberId> {
        let late = self.formers.iter().flat_map(|former| &former.late);
        late.copied().collect()
    }

    fn no_longer_late(&mut self, member: MemberId) -> bool {
        let mut was = false;
        for former in &mut self.formers {
            was |= former.late.remove(&member);
        }
        was
    }

    pub(super) fn rings(&self) -> impl Iterator<Item = Epoch> {
        let next = self.next.as_ref().map(|next| &next.key);
        self.key.iter().chain(next).map(|key| key.epoch)
    }

    pub(super) fn without(&mut self, member: &ClusterMember, newest: Option<Epoch>) {
        self.certified.remove(&member.id);
        self.no_longer_late(member.id);
        if member.kind == MemberKind::Node {
            // Drops the next CA: the removed node knows its key, or may have introduced one that
            // nobody can use. Another CA must follow the current one.
            self.next = None;
            self.certified.clear();
            self.exposed = Some(newest.unwrap_or_default());
        }
    }
}

impl ClusterState {
    pub fn newest_authority(&self) -> &[u8] {
        let next = self.succession.next.as_ref();
        next.map_or(&self.authority, |next| &next.certificate)
    }

    pub fn uncertified(&self) -> BTreeSet<MemberId> {
        if self.succession.next.is_none() {
            return self.succession.late();
        }
        let all = self.members.keys().copied();
        all.filter(|id| !self.succession.certified.contains(id))
            .collect()
    }

    /// Returns the members that block a pending replacement of the CA: they know only a
    /// CA that would have to be forgotten for it.
    pub fn no_authority_before(&self) -> BTreeSet<MemberId> {
        let succession = &self.succession;
        let full = succession.formers.len() >= FORMER_AUTHORITIES_MAX;
        let oldest = succession.formers.first();
        match oldest.filter(|_| full && succession.next.is_none()) {
            Some(oldest) => oldest.late.clone(),
            None => BTreeSet::new(),
        }
    }

    pub(super) fn begin_authority(
        &mut self,
        command: &ClusterCommand,
        next: &NextAuthority,
    ) -> Result<CommandResult, CommandRefusal> {
        if self.succession.next.is_some() {
            return Err(CommandRefusal::AuthorityUnderWay);
        }
        for certificate in [&next.certificate, &next.vouched] {
            if certificate.is_empty() || certificate.len() > CERTIFICATE_BYTES_MAX {
                return Err(too_many("bytes of a certificate", CERTIFICATE_BYTES_MAX));
            }
        }
        if next.key.bytes.len() > SEALED_KEY_BYTES_MAX {
            return Err(too_many("bytes of a sealed key", SEALED_KEY_BYTES_MAX));
        }
        let formers = self.succession.formers.iter();
        let known = formers.map(|former| &former.certificate);
        if known
            .chain([&self.authority])
            .any(|one| *one == next.certificate)
            || !is_vouched_for(next, &self.authority)
        {
            return Err(CommandRefusal::Certificate);
        }
        // Accepts only a CA key that is encrypted with the newest content key: all nodes have that,
        // or will get it.
        let newest = self.rings.keys().next_back().copied();
        if newest != Some(next.key.epoch) || self.succession.exposed >= newest {
            return Err(CommandRefusal::OldEpoch);
        }
        self.make_room_for_former()?;
        self.succession.exposed = None;
        self.succession.certified.clear();
        self.succession.next = Some(next.clone());
        let by = self.name_of(command.from);
        self.push_event(
            command,
            format!("{by} created a new CA, which members trust beside the current one"),
        );
        Ok(CommandResult::Done)
    }

    /// Drops the oldest former CA if their number is at the limit and no member needs it.
    fn make_room_for_former(&mut self) -> Result<(), CommandRefusal> {
        if let Some(late) = self.no_authority_before().first() {
            return Err(CommandRefusal::Late { member: *late });
        }
        let formers = &mut self.succession.formers;
        if formers.len() >= FORMER_AUTHORITIES_MAX {
            formers.remove(0);
        }
        Ok(())
    }

    pub(super) fn certified(
        &mut self,
        command: &ClusterCommand,
        authority: &Digest,
    ) -> Result<CommandResult, CommandRefusal> {
        if *authority != fingerprint(self.newest_authority()) {
            return Err(CommandRefusal::Certificate);
        }
        let was_late = self.succession.no_longer_late(command.from);
        if self.succession.next.is_some() {
            self.succession.certified.insert(command.from);
        }
        if was_late {
            let name = self.name_of(command.from);
            self.push_event(
                command,
                format!("{name} has returned, and has a certificate of the new CA"),
            );
        }
        Ok(CommandResult::Done)
    }

    pub(super) fn give_up_authority(
        &mut self,
        command: &ClusterCommand,
        next: &Digest,
        away: &BTreeSet<MemberId>,
    ) -> Result<CommandResult, CommandRefusal> {
        let is_next = |one: &NextAuthority| fingerprint(&one.certificate) == *next;
        if !self.succession.next.as_ref().is_some_and(is_next) {
            return Err(CommandRefusal::Certificate);
        }
        // Refuses unless the proposer knows exactly which members lack a certificate, and has one
        // itself: it must not lock itself out.
        let uncertified = self.uncertified();
        if uncertified != *away || uncertified.contains(&command.from) {
            return Err(CommandRefusal::Untimely);
        }
        let Some(next) = self.succession.next.take() else {
            return Err(CommandRefusal::Certificate);
        };
        let late_before = self.succession.late();
        let certificate = std::mem::replace(&mut self.authority, next.certificate);
        self.succession.formers.push(RetiredAuthority {
            certificate,
            vouched: next.vouched,
            late: uncertified.difference(&late_before).copied().collect(),
        });
        self.succession.key = Some(next.key);
        self.succession.certified.clear();
        // Ends all invitations, whose tokens name the former CA.
        self.invitations.clear();
        self.drop_rings_of_no_use();
        let names: Vec<String> = uncertified.iter().map(|id| self.name_of(*id)).collect();
        let words = if names.is_empty() {
            "the old CA is dropped: all members have certificates of the new one".to_owned()
        } else {
            format!(
                "the old CA is dropped; certified when they return: {}",
                names.join(", ")
            )
        };
        self.push_event(command, words);
        Ok(CommandResult::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{A, ARBITER, B, authority, invitation, next_authority, ring};
    use super::*;
    use crate::command::CommandBody;

    fn begin(state: &mut ClusterState, certificate: u8, epoch: u64) {
        let next = state.next_authority(certificate, epoch);
        state.must(A, next);
    }

    fn certified(certificate: u8) -> CommandBody {
        CommandBody::Certified {
            authority: authority(certificate).fingerprint(),
        }
    }

    fn give_up(next: u8, away: &[MemberId]) -> CommandBody {
        CommandBody::GiveUpAuthority {
            next: authority(next).fingerprint(),
            away: away.iter().copied().collect(),
        }
    }

    #[test]
    fn old_ca_is_dropped_when_present_members_are_certified() {
        let mut state = ClusterState::pair();
        begin(&mut state, 7, 1);
        assert_eq!(
            state.refused(B, next_authority(1, 8, 1)),
            CommandRefusal::AuthorityUnderWay
        );
        assert_eq!(state.refused(A, give_up(7, &[])), CommandRefusal::Untimely);
        assert_eq!(state.refused(A, certified(1)), CommandRefusal::Certificate);
        state.must(A, certified(7));
        state.must(B, certified(7));
        state.must(A, invitation("t", MemberKind::Node));
        // The set of absent members must be exact, and an arbiter drops no CA.
        assert_eq!(state.refused(A, give_up(7, &[])), CommandRefusal::Untimely);
        assert_eq!(
            state.refused(A, give_up(8, &[ARBITER])),
            CommandRefusal::Certificate
        );
        assert_eq!(
            state.refused(ARBITER, give_up(7, &[ARBITER])),
            CommandRefusal::Unfit
        );
        state.must(A, give_up(7, &[ARBITER]));
        assert_eq!(state.authority, authority(7).certificate());
        assert!(state.invitations.is_empty());
        assert_eq!(state.uncertified(), BTreeSet::from([ARBITER]));
        state.must(ARBITER, certified(7));
        assert!(state.uncertified().is_empty());
        assert_eq!(
            state.refused(A, next_authority(7, 7, 1)),
            CommandRefusal::Certificate
        );
    }

    #[test]
    fn late_member_is_recorded_under_the_ca_it_knows() {
        let mut state = ClusterState::pair();
        for next in 11..11 + FORMER_AUTHORITIES_MAX as u8 {
            begin(&mut state, next, 1);
            state.must(A, certified(next));
            state.must(B, certified(next));
            state.must(A, give_up(next, &[ARBITER]));
        }
        let late: Vec<usize> = state
            .succession
            .formers
            .iter()
            .map(|f| f.late.len())
            .collect();
        assert_eq!(late, [1, 0, 0, 0]);
        assert_eq!(state.no_authority_before(), BTreeSet::from([ARBITER]));
        let member = ARBITER;
        assert_eq!(
            state.refused(A, next_authority(10 + FORMER_AUTHORITIES_MAX as u8, 99, 1)),
            CommandRefusal::Late { member }
        );
        state.must(ARBITER, certified(10 + FORMER_AUTHORITIES_MAX as u8));
        assert!(state.no_authority_before().is_empty());
        begin(&mut state, 99, 1);
        assert_eq!(state.succession.formers.len(), FORMER_AUTHORITIES_MAX - 1);
    }

    #[test]
    fn removal_drops_the_ca_that_the_node_proposed() {
        let mut state = ClusterState::pair();
        state.must(B, next_authority(1, 7, 1));
        state.must(B, certified(7));
        state.must(A, certified(7));
        state.must(A, CommandBody::Remove { member: B });
        assert_eq!(state.newest_authority(), authority(1).certificate());
        assert!(state.succession.certified.is_empty());
        assert_eq!(state.succession.exposed, Some(Epoch(1)));
        assert_eq!(
            state.refused(A, give_up(7, &[ARBITER])),
            CommandRefusal::Certificate
        );
        assert_eq!(state.refused(A, certified(7)), CommandRefusal::Certificate);
        state.must(A, CommandBody::Seal(ring(2, &[A])));
        begin(&mut state, 8, 2);
        assert_eq!(state.newest_authority(), authority(8).certificate());
        // The removal of an arbiter does not drop the next CA.
        state.must(A, certified(8));
        state.must(A, CommandBody::Remove { member: ARBITER });
        assert_eq!(state.newest_authority(), authority(8).certificate());
        state.must(A, give_up(8, &[]));
    }

    #[test]
    fn ca_unsigned_by_the_current_one_is_refused() {
        let mut state = ClusterState::pair();
        let CommandBody::Authority(good) = next_authority(1, 7, 1) else {
            unreachable!("it is one");
        };
        let other = authority(8);
        let wrong = [
            (good.certificate.clone(), b"nothing".to_vec()),
            (b"nothing".to_vec(), good.vouched.clone()),
            (b"nothing".to_vec(), b"nothing".to_vec()),
            // Certificates by the new CA itself, by another CA, and for another CA.
            (good.certificate.clone(), good.certificate.clone()),
            (
                good.certificate.clone(),
                other.vouch_for(&authority(7)).expect("it signs"),
            ),
            (other.certificate().to_vec(), good.vouched.clone()),
            // A certificate of the right key that is not the CA's own.
            (good.vouched.clone(), good.vouched.clone()),
        ];
        for (certificate, vouched) in wrong {
            let next = NextAuthority {
                certificate,
                vouched,
                key: good.key.clone(),
            };
            let refusal = state.refused(A, CommandBody::Authority(Box::new(next)));
            assert_eq!(refusal, CommandRefusal::Certificate);
        }
        state.must(A, CommandBody::Authority(good));
    }

    #[test]
    fn a_removed_node_exposes_the_authority_until_one_follows_under_a_newer_key() {
        let mut state = ClusterState::pair();
        begin(&mut state, 7, 1);
        state.must(B, certified(7));
        state.must(A, certified(7));
        state.must(A, give_up(7, &[ARBITER]));
        state.must(A, CommandBody::Remove { member: B });
        assert_eq!(state.succession.exposed, Some(Epoch(1)));
        assert_eq!(
            state.refused(A, next_authority(7, 8, 1)),
            CommandRefusal::OldEpoch
        );
        state.must(A, CommandBody::Seal(ring(2, &[A])));
        assert_eq!(
            state.refused(A, next_authority(7, 8, 1)),
            CommandRefusal::OldEpoch
        );
        begin(&mut state, 8, 2);
        assert_eq!(state.succession.exposed, None);
        // The content key of the current CA's key is kept as long as that CA.
        assert_eq!(
            state.rings.keys().copied().collect::<Vec<_>>(),
            [Epoch(1), Epoch(2)]
        );
        state.must(A, certified(8));
        state.must(A, give_up(8, &[ARBITER]));
        assert_eq!(state.rings.keys().copied().collect::<Vec<_>>(), [Epoch(2)]);
        state.must(A, CommandBody::Remove { member: ARBITER });
        assert_eq!(
            state.succession.exposed, None,
            "an arbiter never knew its key"
        );
        assert!(state.uncertified().is_empty());
    }

    #[test]
    fn only_nodes_propose_cas_of_bounded_size() {
        let mut state = ClusterState::pair();
        assert_eq!(
            state.refused(ARBITER, next_authority(1, 7, 1)),
            CommandRefusal::Unfit
        );
        assert_eq!(
            state.refused(A, next_authority(1, 7, 2)),
            CommandRefusal::OldEpoch
        );
        let CommandBody::Authority(mut next) = next_authority(1, 7, 1) else {
            unreachable!("it is one");
        };
        next.vouched = vec![0; CERTIFICATE_BYTES_MAX + 1];
        let refusal = state.refused(A, CommandBody::Authority(next.clone()));
        assert_eq!(
            refusal,
            too_many("bytes of a certificate", CERTIFICATE_BYTES_MAX)
        );
        next.vouched = vec![1];
        next.key.bytes = vec![0; SEALED_KEY_BYTES_MAX + 1];
        let refusal = state.refused(A, CommandBody::Authority(next));
        assert_eq!(
            refusal,
            too_many("bytes of a sealed key", SEALED_KEY_BYTES_MAX)
        );
    }
}
