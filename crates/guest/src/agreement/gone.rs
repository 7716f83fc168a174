//! Decides for guests that have no section any more, and for guests that became templates: each
//! shuts down on the node where it runs, under the lease that it ran with. The lease is kept until
//! the QEMU process has ended.

use super::{Agreement, ClusterRequests, GuestDecision, LocalState, lease_of};
use crate::config::{Guests, STOP_MS};
use crate::life::DesiredState;
use std::collections::BTreeMap;

impl Agreement {
    pub(super) fn decide_gone(
        &mut self,
        guests: &Guests,
        locals: &BTreeMap<String, LocalState>,
        now_ns: u64,
        told: &mut ClusterRequests,
    ) -> Vec<(String, GuestDecision)> {
        let is_gone = |(name, local): &(&String, &LocalState)| {
            local.is_there && !guests.guests.contains_key(*name)
        };
        let mut decided = Vec::new();
        for (name, local) in locals.iter().filter(is_gone) {
            // Releases the lease of a migrated guest, which the target needs although the process
            // here has not ended yet.
            let rank = self.mine.rank(name, local.has_moved);
            told.leases.push((lease_of(name), rank));
            decided.push((name.clone(), self.gone(guests, name, local, now_ns)));
        }
        decided
    }

    fn gone(&self, guests: &Guests, name: &str, local: &LocalState, now_ns: u64) -> GuestDecision {
        let decided = |wish, epoch, uses_volumes| GuestDecision {
            wish,
            epoch,
            uses_volumes,
            forgives: false,
            goes_to: None,
            not_taken_by: None,
            waits_for_volumes: false,
            why: words(guests, name).to_owned(),
        };
        if let Some(lease) = self.held(name, now_ns) {
            // Kills a process from an older epoch: another node may have held the lease in between.
            let own = local.epoch;
            let is_stale = own.is_some_and(|own| lease.epoch > own.saturating_add(1));
            return if is_stale {
                decided(DesiredState::Kill, None, true)
            } else {
                decided(shut_down(local), Some(lease.epoch), true)
            };
        }
        let lease = self.leases.get(&lease_of(name));
        let other = lease.filter(|lease| !lease.holder.is_empty() && lease.holder != self.me);
        if let Some(other) = other {
            let is_obsolete = local.epoch.is_none_or(|own| other.epoch > own) && !local.has_moved;
            let wish = if is_obsolete {
                DesiredState::Kill
            } else {
                DesiredState::Freeze
            };
            return decided(wish, None, false);
        }
        // Changes nothing while the lease that the previous role process held has not expired.
        let wish = if self.mine.may_go_on(name, local, now_ns) {
            DesiredState::Hold
        } else {
            DesiredState::Freeze
        };
        decided(wish, None, !local.has_moved)
    }
}

pub(super) fn alone(guests: &Guests, name: &str, local: &LocalState) -> GuestDecision {
    GuestDecision {
        wish: shut_down(local),
        epoch: Some(0),
        uses_volumes: true,
        forgives: false,
        goes_to: None,
        not_taken_by: None,
        waits_for_volumes: false,
        why: words(guests, name).to_owned(),
    }
}

fn shut_down(local: &LocalState) -> DesiredState {
    DesiredState::ShutDown {
        within_ms: local.stop_ms.unwrap_or(STOP_MS),
    }
}

fn words(guests: &Guests, name: &str) -> &'static str {
    if guests.templates.contains_key(name) {
        "its section says `template yes` now, and a template never runs: it shuts down"
    } else {
        "its section is gone: it shuts down"
    }
}

#[cfg(test)]
mod tests {
    use super::super::OWN;
    use super::*;
    use crate::placement::Room;
    use part::role::KnownLease;

    const NOW: u64 = 1_000_000_000_000;
    const SHUTS_DOWN: DesiredState = DesiredState::ShutDown { within_ms: 40_000 };

    fn running(epoch: Option<u64>) -> LocalState {
        LocalState {
            is_there: true,
            may_run: true,
            epoch,
            stop_ms: Some(40_000),
            ..LocalState::default()
        }
    }

    /// Reports the lease of guest mail: alpha holds it for another second, or a node held it in the
    /// past.
    fn learn(alpha: &mut Agreement, epoch: u64, holder: &str, is_held: bool) {
        alpha.apply_leases(vec![KnownLease {
            name: lease_of("mail"),
            epoch,
            until_ns: if is_held { NOW + 1 } else { 0 },
            holder: holder.to_owned(),
            ..KnownLease::default()
        }]);
    }

    /// Returns the decision about guest mail, which has no section, and the rank of its lease.
    fn decide(alpha: &mut Agreement, local: &LocalState) -> (GuestDecision, u32) {
        let guests = Guests {
            me: "alpha".to_owned(),
            ..Guests::default()
        };
        let locals = BTreeMap::from([("mail".to_owned(), local.clone())]);
        let (mut decided, told) = alpha.decide(&guests, &locals, NOW);
        let mut ranks = told.leases.iter();
        let (_, rank) = ranks.find(|(name, _)| *name == lease_of("mail")).unwrap();
        (decided.remove("mail").unwrap(), *rank)
    }

    fn wish(alpha: &mut Agreement, local: &LocalState) -> DesiredState {
        decide(alpha, local).0.wish
    }

    #[test]
    fn a_guest_without_section_survives_a_restart_of_its_role() {
        let mut before = Agreement::new("alpha", Room::default());
        learn(&mut before, 7, "alpha", true);
        let local = running(Some(7));
        assert_eq!(wish(&mut before, &local), SHUTS_DOWN);
        let mut alpha = Agreement::new("alpha", Room::default()).after(before.holds(NOW));
        // No lease is known yet; then the control role is reported as restarted as well.
        let (decided, rank) = decide(&mut alpha, &local);
        let expected = (DesiredState::Hold, true, OWN);
        assert_eq!((decided.wish, decided.uses_volumes, rank), expected);
        learn(&mut alpha, 7, "alpha", false);
        assert_eq!(wish(&mut alpha, &local), DesiredState::Hold);
        learn(&mut alpha, 7, "alpha", true);
        let (decided, _) = decide(&mut alpha, &local);
        assert_eq!((decided.wish, decided.epoch), (SHUTS_DOWN, Some(7)));
        // Without the lease the guest is paused, and keeps its volumes.
        learn(&mut alpha, 7, "alpha", false);
        let mut late = Agreement::new("alpha", Room::default());
        let (decided, _) = decide(&mut late, &local);
        assert_eq!(
            (decided.wish, decided.uses_volumes),
            (DesiredState::Freeze, true)
        );
    }

    #[test]
    fn guest_without_section_is_killed_after_another_holder_of_its_lease() {
        let mut alpha = Agreement::new("alpha", Room::default());
        learn(&mut alpha, 8, "beta", false);
        let (decided, _) = decide(&mut alpha, &running(Some(7)));
        let expected = (DesiredState::Kill, false);
        assert_eq!((decided.wish, decided.uses_volumes), expected);
        learn(&mut alpha, 9, "alpha", true);
        assert_eq!(wish(&mut alpha, &running(Some(7))), DesiredState::Kill);
        assert_eq!(wish(&mut alpha, &running(Some(8))), SHUTS_DOWN);
    }

    #[test]
    fn migrated_guest_without_section_gets_the_lease_at_its_target() {
        // The source releases the lease although its process has not ended yet.
        let mut alpha = Agreement::new("alpha", Room::default());
        learn(&mut alpha, 7, "alpha", true);
        let left = LocalState {
            has_moved: true,
            may_run: false,
            ..running(Some(7))
        };
        assert_eq!(decide(&mut alpha, &left).1, 0);
        learn(&mut alpha, 7, "", false);
        let (decided, rank) = decide(&mut alpha, &left);
        assert_eq!((decided.uses_volumes, rank), (false, 0));
        // The target uses the volumes only after the source has left.
        let mut beta = Agreement::new("alpha", Room::default());
        learn(&mut beta, 7, "beta", false);
        let (decided, rank) = decide(&mut beta, &running(None));
        assert_eq!((decided.uses_volumes, rank), (false, OWN));
        learn(&mut beta, 8, "alpha", true);
        let (decided, _) = decide(&mut beta, &running(None));
        assert_eq!((decided.wish, decided.epoch), (SHUTS_DOWN, Some(8)));
    }
}
