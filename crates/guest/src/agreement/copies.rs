//! Moves guests whose volume has no copy on the node where they run to a node with a copy. A guest
//! may return when both copies are complete.

use super::{Agreement, AgreementDefect, GuestRecord, LocalState};
use crate::config::Guests;
use crate::placement::{self, PlacementResult};
use crate::record::cut;

/// Prefix of the reason in a guest's record that its volume has no copy on a node.
pub(super) const NO_COPY: &str = "no copy of volume ";

/// Returns why a guest is killed here instead of shut down, once the reason is recorded: a guest
/// that waits for a missing disk would not shut down either.
pub(super) fn cut_off(
    local: &LocalState,
    stays: bool,
    me: &str,
    record: &GuestRecord,
) -> Option<String> {
    let volume = local.without_copy.as_ref().filter(|_| !stays)?;
    record.failed.contains_key(me).then(|| {
        format!(
            "this node has no usable copy of volume {volume}, and the other node serves it: the guest goes \
             there"
        )
    })
}

impl Agreement {
    pub(super) fn record_copy_state(
        &self,
        name: &str,
        guests: &Guests,
        local: &LocalState,
        wanted: &mut GuestRecord,
        now_ns: u64,
    ) {
        if local.has_both_copies && !self.is(AgreementDefect::RemembersCopies) {
            wanted.failed.retain(|_, why| !why.starts_with(NO_COPY));
        }
        // Records no missing copy while an operator's order is pending, which takes precedence.
        let is_ordered = self.pending.contains_key(name);
        if let Some(volume) = local.without_copy.as_ref().filter(|_| !is_ordered)
            && self.has_another(name, guests, now_ns)
        {
            let why = cut(&format!("{NO_COPY}{volume} that can be used"));
            wanted.failed.insert(self.me.clone(), why);
            wanted.to.clear();
        }
    }

    fn has_another(&self, name: &str, guests: &Guests, now_ns: u64) -> bool {
        let mut view = self.view(guests, now_ns);
        view.runs.remove(name);
        view.arrives.remove(name);
        for guest in &mut view.guests {
            if guest.name == name {
                guest.prefers.retain(|node| *node != self.me);
            }
        }
        matches!(
            placement::place(&view).get(name),
            Some(PlacementResult::On(_))
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::{NodeRecord, lease_of, lease_of_node};
    use super::*;
    use crate::life::DesiredState;
    use part::role::KnownLease;
    use std::collections::BTreeMap;

    const NOW_NS: u64 = 1_000_000_000_000;

    fn lease(name: String, holder: &str, is_held: bool, record: Vec<u8>) -> KnownLease {
        KnownLease {
            name,
            epoch: 7,
            until_ns: if is_held { NOW_NS + 1 } else { 0 },
            holder: holder.to_owned(),
            number: 1,
            record,
            is_inherited: false,
        }
    }

    /// Returns alpha's decision about its guest, the reason, and the record that alpha writes.
    fn decide(
        local: &LocalState,
        record: &GuestRecord,
        drained: bool,
    ) -> (DesiredState, String, GuestRecord) {
        let guest = crate::config::Guest {
            prefer: vec!["alpha".to_owned(), "beta".to_owned()],
            ..crate::config::Guest::plain(1)
        };
        let guests = Guests {
            me: "alpha".to_owned(),
            guests: [("mail".to_owned(), guest)].into(),
            ..Guests::default()
        };
        let room = placement::Room {
            memory_bytes: 10,
            cpus: 10,
        };
        let node = |name: &str, drained| {
            let record = NodeRecord {
                drained,
                memory_bytes: 10,
                cpus: 10,
                ..NodeRecord::default()
            };
            lease(lease_of_node(name), name, name == "alpha", record.encode())
        };
        let mut alpha = Agreement::new("alpha", room);
        alpha.apply_leases(vec![
            node("alpha", false),
            node("beta", drained),
            lease(lease_of("mail"), "alpha", true, record.encode()),
        ]);
        let locals = BTreeMap::from([("mail".to_owned(), local.clone())]);
        let (decided, told) = alpha.decide(&guests, &locals, NOW_NS);
        let name = lease_of("mail");
        let written = told.records.iter().find(|one| one.name == name);
        let written = written.and_then(|one| GuestRecord::decode(&one.value));
        let one = &decided["mail"];
        (one.wish, one.why.clone(), written.unwrap_or(record.clone()))
    }

    #[test]
    fn a_guest_is_killed_after_another_user_of_its_volume() {
        let runs = LocalState {
            is_there: true,
            may_run: true,
            epoch: Some(7),
            has_volumes: true,
            ..LocalState::default()
        };
        let superseded = LocalState {
            has_volumes: false,
            superseded: Some("data".to_owned()),
            ..runs.clone()
        };
        let up = GuestRecord::default();
        assert_eq!(decide(&runs, &up, true).0, DesiredState::Run);
        let (wish, why, _) = decide(&superseded, &up, true);
        assert_eq!(wish, DesiredState::Kill);
        assert!(why.contains("another user has used volume data"), "{why}");
        // The QEMU process has ended, so nothing can write to the disks.
        let ended = LocalState {
            is_there: false,
            ..superseded
        };
        assert_ne!(decide(&ended, &up, true).0, DesiredState::Kill);
    }

    #[test]
    fn a_guest_without_a_local_copy_goes_to_one() {
        let runs = LocalState {
            is_there: true,
            may_run: true,
            epoch: Some(7),
            is_up: true,
            has_volumes: true,
            ..LocalState::default()
        };
        let cut_off = LocalState {
            has_volumes: false,
            without_copy: Some("data".to_owned()),
            ..runs.clone()
        };
        let up = GuestRecord {
            up: true,
            ..GuestRecord::default()
        };
        // No other node can run the guest.
        let (wish, _, written) = decide(&cut_off, &up, true);
        assert_eq!((wish, written), (DesiredState::Run, up.clone()));
        let (wish, _, written) = decide(&cut_off, &up, false);
        assert_ne!(wish, DesiredState::Kill);
        assert_eq!(
            written.failed["alpha"],
            "no copy of volume data that can be used"
        );
        let (wish, why, same) = decide(&cut_off, &written, false);
        assert_eq!((wish, &same), (DesiredState::Kill, &written));
        assert!(why.contains("no usable copy of volume data"), "{why}");

        // The record and the decision at beta, which then has the guest.
        let beta = GuestRecord {
            failed: [("beta".to_owned(), "no copy of volume data".to_owned())].into(),
            ..up.clone()
        };
        let (_, _, written) = decide(&runs, &beta, false);
        assert_eq!(written, beta);
        let whole = LocalState {
            has_both_copies: true,
            ..runs.clone()
        };
        let (_, _, written) = decide(&whole, &beta, false);
        assert_eq!(written, up);
        let panics = GuestRecord {
            failed: [("beta".to_owned(), "it panics".to_owned())].into(),
            ..up.clone()
        };
        assert_eq!(decide(&whole, &panics, false).2, panics);
    }
}
