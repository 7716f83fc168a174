//! Removes from the cluster the records of guests whose section is gone, because the cluster keeps
//! each lease that has a record. Only the holder of a lease can remove its record, so this node
//! acquires the lease for that.

use super::{Agreement, ClusterRequests, LeaseRecord, OWN, lease_of};
use crate::config::Guests;

/// Time for which this node requests the lease after each request to remove the record,
/// nanoseconds.
const TRIES_NS: u64 = 5_000_000_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct RecordRemoval {
    until_ns: u64,
    found: bool,
}

impl Agreement {
    /// Removes what is left of a guest whose section is gone; to be called again until nothing is
    /// left. `found`: files of the guest existed on this node. Returns None while something is
    /// left, then whether anything existed.
    ///
    /// # Errors
    /// No cluster has reported its leases yet.
    pub fn erase(
        &mut self,
        guests: &Guests,
        name: &str,
        found: bool,
        now_ns: u64,
    ) -> Result<Option<bool>, String> {
        let had_order = self.pending.remove(name).is_some();
        if guests.me.is_empty() {
            return Ok(Some(found || had_order));
        }
        if !self.is_known {
            return Err("no cluster has reported its leases yet".to_owned());
        }
        let record = self.held(name, now_ns).map(|lease| lease.record.is_empty());
        let erase = self.erases.entry(name.to_owned()).or_default();
        erase.until_ns = now_ns.saturating_add(TRIES_NS);
        erase.found |= found || had_order || record == Some(false);
        let found = erase.found;
        Ok((record == Some(true)).then(|| {
            self.erases.remove(name);
            found
        }))
    }

    pub(super) fn request_erasures(
        &mut self,
        guests: &Guests,
        told: &mut ClusterRequests,
        now_ns: u64,
    ) {
        self.erases
            .retain(|name, erase| now_ns < erase.until_ns && !guests.guests.contains_key(name));
        let mut erases = std::mem::take(&mut self.erases);
        for (name, erase) in &mut erases {
            told.leases.push((lease_of(name), OWN));
            let held = self.held(name, now_ns);
            let held = held.filter(|lease| !lease.record.is_empty());
            erase.found |= held.is_some();
            told.records
                .extend(held.map(|lease| LeaseRecord::next(lease, Vec::new())));
        }
        self.erases = erases;
    }

    pub fn is_stopped(&self, guests: &Guests, name: &str) -> bool {
        if guests.me.is_empty() {
            self.stopped().contains(name)
        } else {
            !self.record_of(name).stopped.is_empty()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::Room;
    use part::role::KnownLease;
    use std::collections::BTreeMap;

    const NOW: u64 = 1_000_000_000;

    fn lease(record: &[u8]) -> KnownLease {
        KnownLease {
            name: lease_of("mail"),
            epoch: 7,
            until_ns: 2 * TRIES_NS,
            holder: "alpha".to_owned(),
            number: 3,
            record: record.to_vec(),
            is_inherited: false,
        }
    }

    fn told(agreement: &mut Agreement, guests: &Guests, now_ns: u64) -> ClusterRequests {
        agreement.decide(guests, &BTreeMap::new(), now_ns).1
    }

    #[test]
    fn a_record_is_removed_before_its_lease_is_released() {
        let mut agreement = Agreement::new("alpha", Room::default());
        let guests = Guests {
            me: "alpha".to_owned(),
            ..Guests::default()
        };
        assert!(agreement.erase(&guests, "mail", false, NOW).is_err());
        agreement.apply_leases(Vec::new());
        // The record is unknown until this node holds the lease.
        assert_eq!(agreement.erase(&guests, "mail", false, NOW), Ok(None));
        let wanted = (lease_of("mail"), OWN);
        assert!(told(&mut agreement, &guests, NOW).leases.contains(&wanted));
        // The record is seen and removed before it is requested again.
        agreement.apply_leases(vec![lease(b"record")]);
        let written = told(&mut agreement, &guests, NOW).records;
        let written = written
            .iter()
            .find(|one| one.name == lease_of("mail"))
            .unwrap();
        assert_eq!(
            (written.epoch.0, written.number, &*written.value),
            (7, 4, &b""[..])
        );
        agreement.apply_leases(vec![lease(b"")]);
        assert_eq!(agreement.erase(&guests, "mail", false, NOW), Ok(Some(true)));
        assert!(!told(&mut agreement, &guests, NOW).leases.contains(&wanted));
        // A second removal finds nothing to remove.
        assert_eq!(
            agreement.erase(&guests, "mail", false, NOW),
            Ok(Some(false))
        );
    }

    #[test]
    fn no_wait_for_a_lease_is_endless() {
        let mut agreement = Agreement::new("alpha", Room::default());
        let guests = Guests {
            me: "alpha".to_owned(),
            ..Guests::default()
        };
        agreement.apply_leases(Vec::new());
        assert_eq!(agreement.erase(&guests, "mail", true, NOW), Ok(None));
        let wanted = (lease_of("mail"), OWN);
        assert!(
            !told(&mut agreement, &guests, NOW + TRIES_NS)
                .leases
                .contains(&wanted)
        );
        // Without a cluster there is no record.
        let alone = Guests::default();
        assert_eq!(agreement.erase(&alone, "mail", true, NOW), Ok(Some(true)));
        assert_eq!(agreement.erase(&alone, "mail", false, NOW), Ok(Some(false)));
    }
}
