//! Applies commands about membership: founds the cluster, adds and ends invitations, admits,
//! changes and removes members, and keeps the content keys that are encrypted for nodes.

use super::ClusterState;
use crate::command::{
    ClusterCommand, CommandRefusal, CommandResult, Epoch, Invitation, Ring, TakenAttribute,
};
use crate::member::{ClusterMember, Digest, MemberId, MemberKind};
use std::collections::BTreeSet;

pub const MEMBERS_MAX: usize = 16;
pub const INVITATIONS_MAX: usize = 64;
/// Largest number of removed certificates, which stay refused forever.
pub const REMOVED_MAX: usize = 4096;
/// Largest number of content keys: the newest, and those that a version still needs.
pub const RINGS_MAX: usize = 64;
pub const ADDRESSES_MAX: usize = 16;
pub const NAME_BYTES_MAX: usize = 64;
pub const CERTIFICATE_BYTES_MAX: usize = 16 << 10;
/// Maximum length of an encrypted key, and of a public key to encrypt for, bytes.
pub const SEALED_KEY_BYTES_MAX: usize = 1024;

pub(super) fn too_many(what: &str, max: usize) -> CommandRefusal {
    CommandRefusal::TooMany {
        what: what.to_owned(),
        max: max as u64,
    }
}

/// Returns whether a name can be used in a configuration, a certificate and a path.
fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
}

fn well_formed(member: &ClusterMember) -> Result<(), CommandRefusal> {
    if !is_name(&member.name) {
        return Err(CommandRefusal::Name);
    }
    if member.addresses.len() > ADDRESSES_MAX {
        return Err(too_many("addresses", ADDRESSES_MAX));
    }
    match (&member.sealing_key, member.kind) {
        (Some(key), _) if key.len() > SEALED_KEY_BYTES_MAX => {
            Err(too_many("bytes of a key", SEALED_KEY_BYTES_MAX))
        }
        // Refuses a decryption key of an arbiter: nothing is encrypted for it, so its stolen disk
        // is useless.
        (Some(_), MemberKind::Arbiter) => Err(CommandRefusal::Unfit),
        _ => Ok(()),
    }
}

impl ClusterState {
    pub(super) fn found(
        &mut self,
        command: &ClusterCommand,
        cluster: &str,
        member: &ClusterMember,
        authority: &[u8],
    ) -> Result<CommandResult, CommandRefusal> {
        if self.founded() {
            return Err(CommandRefusal::Founded);
        }
        if !is_name(cluster) {
            return Err(CommandRefusal::Name);
        }
        if authority.len() > CERTIFICATE_BYTES_MAX {
            return Err(too_many("bytes of a certificate", CERTIFICATE_BYTES_MAX));
        }
        if member.kind != MemberKind::Node || member.id != command.from {
            return Err(CommandRefusal::Unfit);
        }
        well_formed(member)?;
        cluster.clone_into(&mut self.cluster);
        self.authority = authority.to_vec();
        self.last_member = member.id;
        self.members.insert(member.id, member.clone());
        self.push_event(command, format!("{} created {cluster}", member.name));
        Ok(CommandResult::Done)
    }

    pub(super) fn invite(
        &mut self,
        invitation: &Invitation,
    ) -> Result<CommandResult, CommandRefusal> {
        if !self.invitations.contains_key(&invitation.token)
            && self.invitations.len() >= INVITATIONS_MAX
        {
            return Err(too_many("invitations", INVITATIONS_MAX));
        }
        self.invitations
            .insert(invitation.token, invitation.clone());
        Ok(CommandResult::Done)
    }

    pub(super) fn uninvite(&mut self, token: &Digest) -> Result<CommandResult, CommandRefusal> {
        self.invitations
            .remove(token)
            .ok_or(CommandRefusal::Token)?;
        Ok(CommandResult::Done)
    }

    pub(super) fn admit(
        &mut self,
        command: &ClusterCommand,
        token: &Digest,
        member: &ClusterMember,
    ) -> Result<CommandResult, CommandRefusal> {
        let invitation = self.invitations.get(token).ok_or(CommandRefusal::Token)?;
        if invitation.kind != member.kind {
            return Err(CommandRefusal::Unfit);
        }
        well_formed(member)?;
        if member.id <= self.last_member {
            return Err(CommandRefusal::Taken {
                what: TakenAttribute::Number,
            });
        }
        if self.members.len() >= MEMBERS_MAX {
            return Err(too_many("members", MEMBERS_MAX));
        }
        self.supports_log(member)?;
        self.certificate_is_free(member)?;
        self.name_is_free(member)?;
        self.invitations.remove(token);
        self.last_member = member.id;
        self.members.insert(member.id, member.clone());
        let kind = match member.kind {
            MemberKind::Node => "node",
            MemberKind::Arbiter => "arbiter",
        };
        self.push_event(command, format!("{} joined as {kind}", member.name));
        Ok(CommandResult::Done)
    }

    /// Checks that a member does not lower the format of the log once signatures are required.
    /// Otherwise nobody could propose newer commands, and the evenkeel binary of that member could
    /// not read those in the log.
    fn supports_log(&self, member: &ClusterMember) -> Result<(), CommandRefusal> {
        if self.requires_signatures() && member.format < self.needs {
            Err(CommandRefusal::Format {
                understood: member.format,
            })
        } else {
            Ok(())
        }
    }

    fn certificate_is_free(&self, member: &ClusterMember) -> Result<(), CommandRefusal> {
        let of_another = self
            .members
            .values()
            .any(|other| other.id != member.id && other.certificate == member.certificate);
        if of_another || self.removed.contains_key(&member.certificate) {
            return Err(CommandRefusal::Certificate);
        }
        Ok(())
    }

    fn name_is_free(&self, member: &ClusterMember) -> Result<(), CommandRefusal> {
        match self.member_by_name(&member.name) {
            Some(other) if other.id != member.id => Err(CommandRefusal::Taken {
                what: TakenAttribute::Name,
            }),
            _ => Ok(()),
        }
    }

    pub fn next_member(&self) -> MemberId {
        MemberId(self.last_member.0.saturating_add(1))
    }

    pub(super) fn announce(
        &mut self,
        member: &ClusterMember,
    ) -> Result<CommandResult, CommandRefusal> {
        let known = self
            .members
            .get(&member.id)
            .ok_or(CommandRefusal::NoMember)?;
        if known.kind != member.kind {
            return Err(CommandRefusal::Unfit);
        }
        self.supports_log(member)?;
        let other_key = known.sealing_key != member.sealing_key;
        well_formed(member)?;
        self.certificate_is_free(member)?;
        self.name_is_free(member)?;
        if other_key {
            self.unseal(member.id);
        }
        self.members.insert(member.id, member.clone());
        Ok(CommandResult::Done)
    }

    pub(super) fn remove(
        &mut self,
        command: &ClusterCommand,
        id: MemberId,
    ) -> Result<CommandResult, CommandRefusal> {
        let member = self.members.get(&id).ok_or(CommandRefusal::NoMember)?;
        let another_node = self.nodes().any(|node| node.id != id);
        if member.kind == MemberKind::Node && !another_node {
            return Err(CommandRefusal::Unfit);
        }
        if self.removed.len() >= REMOVED_MAX {
            return Err(too_many("removed members", REMOVED_MAX));
        }
        let mut words = format!("{} was removed", member.name);
        if !self.invitations.is_empty() {
            words.push_str("; earlier tokens are no longer valid, because it knew them");
        }
        self.removed.insert(member.certificate, id);
        let newest = self.rings.keys().next_back().copied();
        self.succession.without(member, newest);
        self.members.remove(&id);
        self.invitations.clear();
        self.unseal(id);
        self.forget_reports(id);
        let pieces = std::sync::Arc::make_mut(&mut self.chunks).drop_pending_of(id);
        self.dropped.add(pieces);
        self.push_event(command, words);
        Ok(CommandResult::Done)
    }

    fn forget_reports(&mut self, id: MemberId) {
        let Some(on_its_way) = self.on_its_way().map(|record| record.id) else {
            return;
        };
        if let Some(record) = self.versions.get_mut(&on_its_way) {
            std::sync::Arc::make_mut(record).reports.remove(&id);
        }
    }

    pub(super) fn seal(&mut self, ring: &Ring) -> Result<CommandResult, CommandRefusal> {
        if ring.sealed.is_empty() || ring.sealed.len() > MEMBERS_MAX {
            return Err(too_many("sealed keys", MEMBERS_MAX));
        }
        let mut to = BTreeSet::new();
        for key in &ring.sealed {
            let member = self
                .members
                .get(&key.member)
                .ok_or(CommandRefusal::NoMember)?;
            if member.sealing_key.is_none() || !to.insert(key.member) {
                return Err(CommandRefusal::Unfit);
            }
            if key.bytes.len() > SEALED_KEY_BYTES_MAX {
                return Err(too_many("bytes of a sealed key", SEALED_KEY_BYTES_MAX));
            }
        }
        match self.rings.get_mut(&ring.epoch) {
            Some(known) => {
                if known.sealed.iter().any(|key| to.contains(&key.member)) {
                    return Err(CommandRefusal::OldEpoch);
                }
                known.sealed.extend(ring.sealed.iter().cloned());
            }
            None => self.new_ring(ring, &to)?,
        }
        Ok(CommandResult::Done)
    }

    fn new_ring(&mut self, ring: &Ring, to: &BTreeSet<MemberId>) -> Result<(), CommandRefusal> {
        let newest = self.rings.last_key_value().map(|(epoch, _)| *epoch);
        if newest.is_some_and(|newest| ring.epoch < newest) {
            return Err(CommandRefusal::OldEpoch);
        }
        let left_out = |node: &&ClusterMember| node.sealing_key.is_some() && !to.contains(&node.id);
        if let Some(node) = self.nodes().find(left_out) {
            return Err(CommandRefusal::Unsealed { node: node.id });
        }
        if self.rings.len() >= RINGS_MAX {
            return Err(too_many("content keys", RINGS_MAX));
        }
        self.rings.insert(ring.epoch, ring.clone());
        self.drop_rings_of_no_use();
        Ok(())
    }

    /// Drops content keys that are neither the newest nor needed by a version or the key of a CA.
    pub(super) fn drop_rings_of_no_use(&mut self) {
        let Some(newest) = self.rings.last_key_value().map(|(epoch, _)| *epoch) else {
            return;
        };
        let mut needed: BTreeSet<Epoch> = self
            .versions
            .values()
            .flat_map(|record| &record.proposal.files)
            .map(|file| file.content.epoch)
            .collect();
        needed.insert(newest);
        needed.extend(self.succession.rings());
        self.rings.retain(|epoch, _| needed.contains(epoch));
    }

    /// Deletes the keys that were encrypted for a member that was removed or has a new
    /// key.
    fn unseal(&mut self, id: MemberId) {
        for ring in self.rings.values_mut() {
            ring.sealed.retain(|key| key.member != id);
        }
    }

    pub(super) fn unsealed_keys(&self) -> Vec<(Epoch, MemberId)> {
        let with_key = |node: &&ClusterMember| node.sealing_key.is_some();
        let nodes: Vec<MemberId> = self.nodes().filter(with_key).map(|node| node.id).collect();
        let of_ring = |(epoch, ring): (&Epoch, &Ring)| {
            let epoch = *epoch;
            let has = |node: &MemberId| ring.sealed.iter().any(|key| key.member == *node);
            let without: Vec<MemberId> = nodes.iter().filter(|node| !has(node)).copied().collect();
            without.into_iter().map(move |node| (epoch, node))
        };
        self.rings.iter().flat_map(of_ring).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{
        A, ARBITER, B, admission, digest, file, invitation, member, proposal, report, ring,
    };
    use super::*;
    use crate::command::{CommandBody, Limits, Reported, VersionId};
    use crate::state::ClusterState;

    fn a_fourth(name: &str) -> ClusterMember {
        member(MemberId(4), name, MemberKind::Node)
    }

    #[test]
    fn a_cluster_is_founded_once_and_before_all_else() {
        let mut state = ClusterState::default();
        let words = "too early".to_owned();
        assert_eq!(
            state.refused(A, CommandBody::Event { words }),
            CommandRefusal::Founded
        );
        let found = |id, kind, cluster: &str| CommandBody::Found {
            cluster: cluster.to_owned(),
            member: member(id, "a", kind),
            authority: vec![7],
        };
        let arbiter = found(A, MemberKind::Arbiter, "office");
        assert_eq!(state.refused(A, arbiter), CommandRefusal::Unfit);
        assert_eq!(
            state.refused(B, found(A, MemberKind::Node, "office")),
            CommandRefusal::Unfit
        );
        assert_eq!(
            state.refused(A, found(A, MemberKind::Node, "of/fice")),
            CommandRefusal::Name
        );
        state.must(A, found(A, MemberKind::Node, "office"));
        assert_eq!(
            (state.cluster.as_str(), state.authority.as_slice()),
            ("office", &[7][..])
        );
        assert_eq!(
            state.refused(A, found(A, MemberKind::Node, "again")),
            CommandRefusal::Founded
        );
    }

    #[test]
    fn token_is_valid_once_for_its_kind() {
        let mut state = ClusterState::pair();
        state.must(A, invitation("t", MemberKind::Node));
        let arbiter = member(MemberId(4), "d", MemberKind::Arbiter);
        assert_eq!(
            state.refused(A, admission("t", arbiter)),
            CommandRefusal::Unfit
        );
        assert_eq!(
            state.refused(A, admission("u", a_fourth("d"))),
            CommandRefusal::Token
        );
        state.must(A, admission("t", a_fourth("d")));
        let fifth = member(MemberId(5), "e", MemberKind::Node);
        assert_eq!(
            state.refused(A, admission("t", fifth)),
            CommandRefusal::Token
        );

        state.must(A, invitation("late", MemberKind::Node));
        let token = digest(b"late");
        state.must(ARBITER, CommandBody::Uninvite { token });
        let fifth = member(MemberId(5), "e", MemberKind::Node);
        assert_eq!(
            state.refused(A, admission("late", fifth)),
            CommandRefusal::Token
        );
        assert_eq!(
            state.refused(A, CommandBody::Uninvite { token }),
            CommandRefusal::Token
        );
    }

    #[test]
    fn numbers_names_and_certificates_are_unique() {
        let mut state = ClusterState::pair();
        state.must(A, invitation("t", MemberKind::Node));
        for number in [1, 2, 3] {
            let taken = member(MemberId(number), "d", MemberKind::Node);
            let what = TakenAttribute::Number;
            assert_eq!(
                state.refused(A, admission("t", taken)),
                CommandRefusal::Taken { what }
            );
        }
        let what = TakenAttribute::Name;
        let namesake = ClusterMember {
            certificate: digest(b"d"),
            ..a_fourth("b")
        };
        assert_eq!(
            state.refused(A, admission("t", namesake)),
            CommandRefusal::Taken { what }
        );
        let copy = ClusterMember {
            certificate: digest(b"b"),
            ..a_fourth("d")
        };
        assert_eq!(
            state.refused(A, admission("t", copy)),
            CommandRefusal::Certificate
        );
        for name in ["", "a b", "../a", &"x".repeat(NAME_BYTES_MAX + 1)] {
            assert_eq!(
                state.refused(A, admission("t", a_fourth(name))),
                CommandRefusal::Name
            );
        }
        assert_eq!(state.next_member(), MemberId(4));
    }

    #[test]
    fn commands_of_a_removed_member_are_refused() {
        let mut state = ClusterState::pair();
        state.must(A, CommandBody::Remove { member: B });
        assert_eq!(
            state.refused(A, CommandBody::Remove { member: B }),
            CommandRefusal::NoMember
        );
        let words = "I am still here".to_owned();
        assert_eq!(
            state.refused(B, CommandBody::Event { words }),
            CommandRefusal::NoMember
        );
        let back = CommandBody::Announce(member(B, "b", MemberKind::Node));
        assert_eq!(state.refused(A, back), CommandRefusal::NoMember);

        state.must(A, invitation("t", MemberKind::Node));
        let again = ClusterMember {
            certificate: digest(b"b"),
            ..a_fourth("b")
        };
        assert_eq!(
            state.refused(A, admission("t", again.clone())),
            CommandRefusal::Certificate
        );
        let with_new_one = ClusterMember {
            certificate: digest(b"another"),
            ..again.clone()
        };
        state.must(A, admission("t", with_new_one));
        assert_eq!(
            state.refused(MemberId(4), CommandBody::Announce(again)),
            CommandRefusal::Certificate,
            "nor by the way of a rotation"
        );
    }

    #[test]
    fn removal_revokes_invitations_known_to_the_member() {
        let mut state = ClusterState::pair();
        state.must(A, invitation("t", MemberKind::Node));
        state.must(A, CommandBody::Remove { member: ARBITER });
        assert_eq!(
            state.refused(A, admission("t", a_fourth("d"))),
            CommandRefusal::Token
        );
        let told = state.events().next_back().map(|event| event.words.clone());
        assert!(told.is_some_and(|words| words.contains("no longer valid")));
    }

    #[test]
    fn the_last_node_stays() {
        let mut state = ClusterState::pair();
        state.must(A, CommandBody::Remove { member: B });
        assert_eq!(
            state.refused(A, CommandBody::Remove { member: A }),
            CommandRefusal::Unfit
        );
        state.must(A, CommandBody::Remove { member: ARBITER });
        assert_eq!(
            state.refused(A, CommandBody::Remove { member: A }),
            CommandRefusal::Unfit
        );
    }

    #[test]
    fn arbiter_cannot_issue_privileged_commands() {
        let mut state = ClusterState::pair();
        let (bytes, digest) = (b"x".to_vec(), digest(b"x"));
        let with_key = ClusterMember {
            sealing_key: Some(vec![2; 32]),
            ..member(ARBITER, "c", MemberKind::Arbiter)
        };
        let b_with_another_key = ClusterMember {
            sealing_key: Some(vec![2; 32]),
            ..member(B, "b", MemberKind::Node)
        };
        for body in [
            invitation("mine", MemberKind::Node),
            CommandBody::Announce(with_key),
            CommandBody::Announce(b_with_another_key),
            CommandBody::Remove { member: B },
            CommandBody::Seal(ring(2, &[A, B])),
            CommandBody::Chunk { digest, bytes },
            CommandBody::Propose(Box::new(proposal(None, Vec::new()))),
            CommandBody::Keep(Limits::default()),
            report(1, ARBITER, Reported::Checked),
        ] {
            assert_eq!(state.refused(ARBITER, body), CommandRefusal::Unfit);
        }
        state.must(
            ARBITER,
            CommandBody::Announce(member(ARBITER, "tie", MemberKind::Arbiter)),
        );
        assert_eq!(
            state.member_by_name("tie").map(|member| member.id),
            Some(ARBITER)
        );
    }

    #[test]
    fn second_concurrent_new_key_is_refused() {
        let mut state = ClusterState::pair();
        state.must(A, CommandBody::Seal(ring(2, &[A, B])));
        assert_eq!(
            state.refused(B, CommandBody::Seal(ring(2, &[A, B]))),
            CommandRefusal::OldEpoch
        );
        assert_eq!(
            state.refused(B, CommandBody::Seal(ring(1, &[A, B]))),
            CommandRefusal::OldEpoch
        );
        let node = B;
        assert_eq!(
            state.refused(A, CommandBody::Seal(ring(3, &[A]))),
            CommandRefusal::Unsealed { node }
        );
        assert_eq!(
            state.refused(A, CommandBody::Seal(ring(3, &[A, B, ARBITER]))),
            CommandRefusal::Unfit
        );
        assert_eq!(
            state.refused(A, CommandBody::Seal(ring(3, &[A, B, B]))),
            CommandRefusal::Unfit
        );
    }

    #[test]
    fn a_new_node_and_one_with_a_new_key_have_the_keys_sealed_to_them() {
        let mut state = ClusterState::pair();
        assert_eq!(state.unsealed(), []);
        state.must(A, invitation("t", MemberKind::Node));
        state.must(A, admission("t", a_fourth("d")));
        assert_eq!(state.unsealed(), [(Epoch(1), MemberId(4))]);
        state.must(B, CommandBody::Seal(ring(1, &[MemberId(4)])));
        assert_eq!(state.unsealed(), []);
        let with_new_key = ClusterMember {
            sealing_key: Some(vec![5; 32]),
            ..member(B, "b", MemberKind::Node)
        };
        state.must(B, CommandBody::Announce(with_new_key));
        assert_eq!(state.unsealed(), [(Epoch(1), B)]);
        state.must(
            A,
            CommandBody::Remove {
                member: MemberId(4),
            },
        );
        assert!(
            state.rings[&Epoch(1)]
                .sealed
                .iter()
                .all(|key| key.member == A)
        );
    }

    #[test]
    fn keys_that_no_version_needs_are_dropped_but_for_the_newest() {
        let mut state = ClusterState::pair();
        state.must(A, CommandBody::Seal(ring(2, &[A, B])));
        assert_eq!(state.rings.keys().copied().collect::<Vec<_>>(), [Epoch(2)]);
        state.put(b"text");
        let mut sealed = file("/f", b"text");
        let body = |sealed| CommandBody::Propose(Box::new(proposal(None, vec![sealed])));
        assert_eq!(
            state.refused(A, body(sealed.clone())),
            CommandRefusal::OldEpoch
        );
        sealed.content.epoch = Epoch(2);
        state.must(A, body(sealed));
        state.must(A, CommandBody::Seal(ring(3, &[A, B])));
        assert_eq!(state.rings.len(), 2);
        assert_eq!(state.last_version, VersionId(1));
    }

    #[test]
    fn members_and_invitations_have_bounds() {
        let mut state = ClusterState::pair();
        for number in 4..100 {
            let token = format!("t{number}");
            state.must(A, invitation(&token, MemberKind::Node));
            let name = format!("n{number}");
            let body = admission(&token, member(MemberId(number), &name, MemberKind::Node));
            if state.members.len() < MEMBERS_MAX {
                state.must(A, body);
            } else {
                assert_eq!(state.refused(A, body), too_many("members", MEMBERS_MAX));
            }
            if state.invitations.len() == INVITATIONS_MAX {
                break;
            }
        }
        let refusal = state.refused(A, invitation("one more", MemberKind::Node));
        assert_eq!(refusal, too_many("invitations", INVITATIONS_MAX));
    }
}
