//! Keeps leases as the log records them: holder, epoch and record of each. Their validity in time
//! is the subject of [`crate::lease`].

use super::ClusterState;
use crate::command::{
    CommandRefusal, CommandResult, Epoch, LeaseRecord, NextHolder, RECORD_BYTES_MAX,
};
use crate::member::{MemberId, MemberKind};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Largest number of leases, including those without a holder.
pub const LEASES_MAX: usize = 256;
pub const LEASE_NAME_BYTES_MAX: usize = 128;

/// A lease. A released lease remains without a holder, so that its epoch is never
/// granted again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Lease {
    /// Fencing token: each grant of this name has a higher one.
    pub epoch: Epoch,
    /// Holder of the last grant; None after a release.
    pub holder: Option<MemberId>,
    pub valid_ms: u64,
    /// Time of the request that led to this grant, nanoseconds by the holder's own clock.
    /// Set only if the grant also ended the previous epoch (a hand-over); zero otherwise.
    #[serde(default)]
    pub asked_ns: u64,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Leases {
    by_name: BTreeMap<String, Lease>,
    /// The highest epoch of the forgotten leases: a new lease continues from there, so no
    /// epoch of a name is ever granted twice.
    #[serde(default)]
    forgotten: Epoch,
    /// Records by the names of their leases. A lease whose record is not empty is never forgotten.
    #[serde(default)]
    records: BTreeMap<String, Record>,
}

/// Record that a holder wrote under a lease.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Record {
    pub number: u64,
    /// Value of the record; empty: it was removed.
    #[serde(with = "serde_bytes")]
    pub value: Vec<u8>,
}

impl Leases {
    pub(super) fn get(&self, name: &str) -> Option<&Lease> {
        self.by_name.get(name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Lease)> {
        self.by_name
            .iter()
            .map(|(name, lease)| (name.as_str(), lease))
    }

    pub(super) fn record(&self, name: &str) -> Option<&Record> {
        self.records.get(name)
    }

    pub(super) fn records(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let records = self.records.iter();
        records.map(|(name, record)| (name.as_str(), record.value.as_slice()))
    }

    /// Returns whether the lease can be dropped without losing information.
    fn is_free(&self, name: &str, lease: &Lease) -> bool {
        lease.holder.is_none() && self.record(name).is_none_or(|one| one.value.is_empty())
    }

    /// Makes room for another lease by removing one without a holder.
    fn make_room(&mut self) -> Result<(), CommandRefusal> {
        if self.by_name.len() < LEASES_MAX {
            return Ok(());
        }
        let free = self
            .by_name
            .iter()
            .find(|(name, lease)| self.is_free(name, lease))
            .map(|(name, _)| name.clone())
            .ok_or(CommandRefusal::TooMany {
                what: "leases".to_owned(),
                max: LEASES_MAX as u64,
            })?;
        self.records.remove(&free);
        if let Some(lease) = self.by_name.remove(&free) {
            self.forgotten = self.forgotten.max(lease.epoch);
        }
        Ok(())
    }
}

impl ClusterState {
    pub(super) fn grant(
        &mut self,
        name: &str,
        after: Epoch,
        holder: MemberId,
        valid_ms: u64,
    ) -> Result<CommandResult, CommandRefusal> {
        let member = self.members.get(&holder).ok_or(CommandRefusal::NoMember)?;
        if member.kind != MemberKind::Node {
            return Err(CommandRefusal::Unfit);
        }
        if name.is_empty() || name.len() > LEASE_NAME_BYTES_MAX {
            return Err(CommandRefusal::TooMany {
                what: "bytes of a lease's name".to_owned(),
                max: LEASE_NAME_BYTES_MAX as u64,
            });
        }
        let last = match self.leases.by_name.get(name) {
            Some(lease) if lease.epoch != after => {
                return Err(lease.holder.map_or(CommandRefusal::OldEpoch, |holder| {
                    CommandRefusal::Held { holder }
                }));
            }
            Some(lease) => lease.epoch,
            None if after != Epoch::default() => return Err(CommandRefusal::OldEpoch),
            None => {
                self.leases.make_room()?;
                self.leases.forgotten
            }
        };
        let epoch = Epoch(last.0.saturating_add(1));
        let lease = Lease {
            epoch,
            holder: Some(holder),
            valid_ms,
            asked_ns: 0,
        };
        self.leases.by_name.insert(name.to_owned(), lease);
        Ok(CommandResult::Lease(epoch))
    }

    pub(super) fn release(
        &mut self,
        from: MemberId,
        name: &str,
        epoch: Epoch,
    ) -> Result<CommandResult, CommandRefusal> {
        let lease = self
            .leases
            .by_name
            .get_mut(name)
            .ok_or(CommandRefusal::OldEpoch)?;
        if lease.epoch != epoch {
            return Err(CommandRefusal::OldEpoch);
        }
        match lease.holder {
            Some(holder) if holder != from => Err(CommandRefusal::Held { holder }),
            _ => {
                lease.holder = None;
                Ok(CommandResult::Done)
            }
        }
    }

    pub(super) fn pass(
        &mut self,
        name: &str,
        epoch: Epoch,
        holder: MemberId,
        next: Option<&NextHolder>,
    ) -> Result<CommandResult, CommandRefusal> {
        let released = self.release(holder, name, epoch)?;
        let Some(next) = next else {
            return Ok(released);
        };
        // Leaves the lease free if the next member cannot hold it, for example because it was
        // removed.
        let Ok(granted) = self.grant(name, epoch, next.member, next.valid_ms) else {
            return Ok(released);
        };
        if let Some(lease) = self.leases.by_name.get_mut(name) {
            lease.asked_ns = next.asked_ns;
        }
        Ok(granted)
    }

    /// Sets the record of a lease. If the record names a node to free, takes away all leases of
    /// that node. A new holder sees the last record of all earlier epochs, because earlier holders
    /// can no longer write.
    pub(super) fn record(
        &mut self,
        from: MemberId,
        record: &LeaseRecord,
    ) -> Result<CommandResult, CommandRefusal> {
        if record.value.len() > RECORD_BYTES_MAX {
            return Err(CommandRefusal::TooMany {
                what: "bytes of a lease's record".to_owned(),
                max: RECORD_BYTES_MAX as u64,
            });
        }
        let lease = self.leases.by_name.get(&record.name);
        let lease = lease.filter(|lease| lease.epoch == record.epoch);
        match lease.and_then(|lease| lease.holder) {
            None => return Err(CommandRefusal::OldEpoch),
            Some(holder) if holder != from => return Err(CommandRefusal::Held { holder }),
            Some(_) => {}
        }
        let off = match record.frees.as_str() {
            "" => None,
            node => Some(self.may_free(from, &record.name, node)?),
        };
        let last = self.leases.record(&record.name);
        if last.is_some_and(|last| last.number >= record.number) {
            return Err(CommandRefusal::Untimely);
        }
        let (number, value) = (record.number, record.value.clone());
        let name = record.name.clone();
        self.leases.records.insert(name, Record { number, value });
        let all = self.leases.by_name.values_mut();
        all.filter(|lease| off.is_some() && lease.holder == off)
            .for_each(|lease| lease.holder = None);
        Ok(CommandResult::Done)
    }

    /// Returns whether the holder of this lease may free the leases of a node. The lease
    /// must represent that node, and the node must not be the holder itself.
    fn may_free(
        &self,
        from: MemberId,
        lease: &str,
        node: &str,
    ) -> Result<MemberId, CommandRefusal> {
        let stands_for = lease.split_once("/@").map(|(_, of)| of);
        let mut members = self.members.values();
        let member = members.find(|member| member.name == node && member.id != from);
        let member = member.filter(|_| stands_for == Some(node));
        member.map(|member| member.id).ok_or(CommandRefusal::Unfit)
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{A, ARBITER, B};
    use super::*;
    use crate::command::{CommandBody, LeaseCommand};

    fn grant(name: &str, after: u64, holder: MemberId) -> CommandBody {
        CommandBody::Lease(LeaseCommand::Grant {
            name: name.to_owned(),
            after: Epoch(after),
            holder,
            valid_ms: 3000,
        })
    }

    fn release(name: &str, epoch: u64) -> CommandBody {
        CommandBody::Lease(LeaseCommand::Release {
            name: name.to_owned(),
            epoch: Epoch(epoch),
        })
    }

    #[test]
    fn each_grant_has_the_next_epoch_and_a_late_one_grants_nothing() {
        let mut state = ClusterState::pair();
        assert_eq!(
            state.say(A, grant("v", 0, A)),
            CommandResult::Lease(Epoch(1))
        );
        assert_eq!(
            state.refused(B, grant("v", 0, B)),
            CommandRefusal::Held { holder: A }
        );
        assert_eq!(
            state.say(B, grant("v", 1, B)),
            CommandResult::Lease(Epoch(2))
        );
        assert_eq!(
            state.refused(A, grant("v", 1, A)),
            CommandRefusal::Held { holder: B }
        );
        let lease = state.lease("v").expect("it was granted");
        assert_eq!(
            (lease.holder, lease.epoch, lease.valid_ms),
            (Some(B), Epoch(2), 3000)
        );
    }

    #[test]
    fn only_the_holder_releases_a_lease() {
        let mut state = ClusterState::pair();
        state.must(A, grant("v", 0, A));
        assert_eq!(
            state.refused(B, release("v", 1)),
            CommandRefusal::Held { holder: A }
        );
        assert_eq!(state.refused(A, release("v", 0)), CommandRefusal::OldEpoch);
        assert_eq!(state.refused(A, release("w", 1)), CommandRefusal::OldEpoch);
        state.must(A, release("v", 1));
        assert_eq!(state.refused(B, grant("v", 0, B)), CommandRefusal::OldEpoch);
        assert_eq!(
            state.say(B, grant("v", 1, B)),
            CommandResult::Lease(Epoch(2))
        );
    }

    #[test]
    fn released_lease_passes_to_the_waiter_in_one_entry() {
        let mut state = ClusterState::pair();
        let pass = |epoch: u64, holder, to: Option<u64>| {
            CommandBody::Lease(LeaseCommand::Pass {
                name: "v".to_owned(),
                epoch: Epoch(epoch),
                holder,
                next: to.map(|to| NextHolder {
                    member: MemberId(to),
                    valid_ms: 2000,
                    asked_ns: 77,
                }),
            })
        };
        state.must(A, grant("v", 0, A));
        // The leader passes the lease on for the holder, whichever member leads.
        assert_eq!(
            state.refused(ARBITER, pass(1, B, Some(B.0))),
            CommandRefusal::Held { holder: A }
        );
        assert_eq!(
            state.say(ARBITER, pass(1, A, Some(B.0))),
            CommandResult::Lease(Epoch(2))
        );
        let is = |epoch: u64, holder: Option<MemberId>, valid_ms, asked_ns| Lease {
            epoch: Epoch(epoch),
            holder,
            valid_ms,
            asked_ns,
        };
        assert_eq!(state.lease("v"), Some(&is(2, Some(B), 2000, 77)));
        // A late repetition of the command is refused.
        assert_eq!(
            state.refused(ARBITER, pass(1, A, Some(A.0))),
            CommandRefusal::OldEpoch
        );
        // The lease becomes free if nobody waits, or if the next holder is not a member.
        assert_eq!(state.say(ARBITER, pass(2, B, None)), CommandResult::Done);
        state.must(A, grant("v", 2, A));
        assert_eq!(state.lease("v"), Some(&is(3, Some(A), 3000, 0)));
        assert_eq!(state.say(B, pass(3, A, Some(9))), CommandResult::Done);
        assert_eq!(state.lease("v").and_then(|lease| lease.holder), None);
    }

    fn record(epoch: u64, number: u64, value: &[u8]) -> CommandBody {
        CommandBody::Record(LeaseRecord {
            name: "v".to_owned(),
            epoch: Epoch(epoch),
            number,
            value: value.to_vec(),
            frees: String::new(),
        })
    }

    #[test]
    fn record_of_a_fenced_node_frees_its_leases() {
        let mut state = ClusterState::pair();
        let name = |member| state.member(member).expect("a member").name.clone();
        let (a, b) = (name(A), name(B));
        let frees = |lease: &str, epoch: u64, number: u64, node: &str| {
            CommandBody::Record(LeaseRecord {
                name: lease.to_owned(),
                epoch: Epoch(epoch),
                number,
                value: b"off".to_vec(),
                frees: node.to_owned(),
            })
        };
        let of_b = format!("guest/@{b}");
        state.must(B, grant("guest/mail", 0, B));
        state.must(B, grant("volume/mail", 0, B));
        state.must(A, grant("guest/web", 0, A));
        state.must(A, grant(&of_b, 0, A));
        // Refused: by another member, by another lease, for another node, and in an old epoch.
        assert_eq!(
            state.refused(B, frees(&of_b, 1, 1, &b)),
            CommandRefusal::Held { holder: A }
        );
        assert_eq!(
            state.refused(A, frees("guest/web", 1, 1, &b)),
            CommandRefusal::Unfit
        );
        assert_eq!(
            state.refused(A, frees(&of_b, 1, 1, &a)),
            CommandRefusal::Unfit
        );
        assert_eq!(
            state.refused(A, frees(&of_b, 1, 1, "gone")),
            CommandRefusal::Unfit
        );
        assert_eq!(
            state.refused(A, frees(&of_b, 0, 1, &b)),
            CommandRefusal::OldEpoch
        );
        assert_eq!(
            state.lease("guest/mail").and_then(|one| one.holder),
            Some(B)
        );
        state.must(A, frees(&of_b, 1, 1, &b));
        for (lease, holder) in [
            ("guest/mail", None),
            ("volume/mail", None),
            ("guest/web", Some(A)),
            (of_b.as_str(), Some(A)),
        ] {
            let is = state.lease(lease).expect("it was granted");
            assert_eq!((is.holder, is.epoch), (holder, Epoch(1)), "{lease}");
        }
        assert_eq!(
            state.refused(B, grant("guest/mail", 0, B)),
            CommandRefusal::OldEpoch
        );
        assert_eq!(
            state.say(A, grant("guest/mail", 1, A)),
            CommandResult::Lease(Epoch(2))
        );
    }

    #[test]
    fn leases_are_not_freed_while_a_member_lacks_support() {
        let mut state = ClusterState::pair();
        let b = state.member(B).expect("a member").name.clone();
        let of_b = format!("guest/@{b}");
        state.must(A, grant(&of_b, 0, A));
        let mut old = state.member(ARBITER).expect("a member").clone();
        old.format = 2;
        state.must(ARBITER, CommandBody::Announce(old));
        let record = LeaseRecord {
            name: of_b,
            epoch: Epoch(1),
            number: 1,
            value: b"off".to_vec(),
            frees: b,
        };
        let refused = state.refused(A, CommandBody::Record(record.clone()));
        assert_eq!(refused, CommandRefusal::Format { understood: 2 });
        let frees = String::new();
        state.must(A, CommandBody::Record(LeaseRecord { frees, ..record }));
    }

    #[test]
    fn only_the_current_holder_writes_the_record() {
        let mut state = ClusterState::pair();
        let is = |number: u64, value: &[u8]| {
            let value = value.to_vec();
            Some(Record { number, value })
        };
        assert_eq!(
            state.refused(A, record(0, 1, b"x")),
            CommandRefusal::OldEpoch
        );
        state.must(A, grant("v", 0, A));
        assert_eq!(state.lease_record("v"), None);
        state.must(A, record(1, 1, b"both"));
        let held = CommandRefusal::Held { holder: A };
        assert_eq!(state.refused(B, record(1, 2, b"x")), held);
        state.must(A, record(1, 3, b"mine"));
        // Record 2 arrives late, after record 3.
        assert_eq!(
            state.refused(A, record(1, 2, b"both")),
            CommandRefusal::Untimely
        );
        assert_eq!(
            state.refused(A, record(1, 3, b"both")),
            CommandRefusal::Untimely
        );
        state.must(B, grant("v", 1, B));
        assert_eq!(state.lease_record("v").cloned(), is(3, b"mine"));
        assert_eq!(
            state.refused(A, record(1, 4, b"late")),
            CommandRefusal::OldEpoch
        );
        state.must(B, release("v", 2));
        assert_eq!(
            state.refused(B, record(2, 4, b"late")),
            CommandRefusal::OldEpoch
        );
        assert_eq!(state.lease_record("v").cloned(), is(3, b"mine"));
        let long = vec![0; RECORD_BYTES_MAX + 1];
        let refused = state.refused(B, record(2, 4, &long));
        assert!(matches!(refused, CommandRefusal::TooMany { .. }));
    }

    #[test]
    fn a_record_outlives_other_leases_and_a_snapshot_until_it_is_removed() {
        let mut state = ClusterState::pair();
        state.must(A, grant("v", 0, A));
        state.must(A, record(1, 1, b"mine"));
        state.must(A, release("v", 1));
        for number in 1..LEASES_MAX {
            state.must(A, grant(&format!("l{number}"), 0, A));
        }
        let refused = state.refused(A, grant("one more", 0, A));
        assert!(matches!(refused, CommandRefusal::TooMany { .. }));
        let mut state = ClusterState::decode(&state.encode()).expect("it was encoded");
        let value = state.lease_record("v").map(|record| record.value.clone());
        assert_eq!(value.as_deref(), Some(b"mine".as_slice()));
        state.must(A, grant("v", 1, A));
        state.must(A, record(2, 2, b""));
        assert_eq!(
            state.refused(A, record(2, 2, b"late")),
            CommandRefusal::Untimely
        );
        state.must(A, release("v", 2));
        state.must(A, grant("one more", 0, A));
        assert_eq!(state.lease_record("v"), None);
    }

    #[test]
    fn a_member_of_an_older_format_gets_no_record() {
        let mut state = ClusterState::pair();
        state.must(A, grant("v", 0, A));
        let mut old = state.member(B).expect("a member").clone();
        old.format = 1;
        state.must(B, CommandBody::Announce(old));
        let refused = state.refused(A, record(1, 1, b"x"));
        assert_eq!(refused, CommandRefusal::Format { understood: 1 });
        state.must(A, release("v", 1));
    }

    #[test]
    fn a_lease_is_for_a_node_that_is_a_member() {
        let mut state = ClusterState::pair();
        assert_eq!(
            state.refused(A, grant("v", 0, ARBITER)),
            CommandRefusal::Unfit
        );
        assert_eq!(
            state.refused(A, grant("v", 0, MemberId(9))),
            CommandRefusal::NoMember
        );
        for name in [String::new(), "x".repeat(LEASE_NAME_BYTES_MAX + 1)] {
            assert!(matches!(
                state.refused(A, grant(&name, 0, A)),
                CommandRefusal::TooMany { .. }
            ));
        }
    }

    #[test]
    fn forgotten_lease_continues_with_a_higher_epoch() {
        let mut state = ClusterState::pair();
        for epoch in 0..5 {
            state.must(A, grant("old", epoch, A));
        }
        state.must(A, release("old", 5));
        for number in 1..LEASES_MAX {
            state.must(A, grant(&format!("l{number}"), 0, A));
        }
        state.must(A, grant("one more", 0, A));
        assert_eq!(state.lease("old"), None);
        assert!(matches!(
            state.refused(A, grant("too many", 0, A)),
            CommandRefusal::TooMany { .. }
        ));
        assert_eq!(
            state.refused(A, grant("old", 5, A)),
            CommandRefusal::OldEpoch
        );
        state.must(A, release("l7", 1));
        assert_eq!(
            state.say(A, grant("old", 0, A)),
            CommandResult::Lease(Epoch(6))
        );
    }
}
