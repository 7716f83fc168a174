//! Lets guests wait for nodes that have not reported since the role of this node started. All nodes
//! start together after a power cut or with the first guests of a configuration, and a guest should
//! start on the node that it prefers, not on the one that was a moment faster.

use super::{AWAY_MS, Agreement, GuestRecord};
use crate::config::Guests;
use std::collections::BTreeSet;

/// Nodes that have reported since this role process started, and the time since which it waits for
/// the other ones.
#[derive(Debug, Default)]
pub(super) struct LateNodes {
    /// Time of the cluster's first report, milliseconds.
    known_since: Option<u64>,
    reported: BTreeSet<String>,
    pub(super) is_awaited: bool,
}

impl LateNodes {
    pub(super) fn see_node(&mut self, node: &str, is_available: bool, now: u64) {
        self.known_since.get_or_insert(now);
        if is_available {
            self.reported.insert(node.to_owned());
        }
    }

    fn ends_at(&self) -> Option<u64> {
        Some(self.known_since?.saturating_add(AWAY_MS))
    }

    /// Returns whether a node may only be late. A node that has reported before and does not now
    /// has failed, and no guest waits for it.
    fn is_late(&self, node: &str, now: u64) -> bool {
        !self.reported.contains(node) && self.ends_at().is_some_and(|end| now < end)
    }

    pub(super) fn deadline_ms(&self, now: u64) -> Option<u64> {
        self.ends_at().filter(|end| self.is_awaited && *end > now)
    }
}

impl Agreement {
    /// Returns the late node for which a guest waits that runs on no node: the guest prefers that
    /// node to all available ones. `prefers`: the nodes that may run the guest, the best first.
    pub(super) fn awaited_node<'p>(&self, prefers: &'p [String], now_ns: u64) -> Option<&'p str> {
        let is_usable = |node: &&String| {
            let is_available = self.is_there(node, now_ns) && !self.has_drained(node);
            is_available || self.late.is_late(node, now_ns / 1_000_000)
        };
        let first = prefers.iter().find(is_usable)?;
        (!self.is_there(first, now_ns)).then_some(first)
    }

    pub(super) fn awaited_words(
        &self,
        name: &str,
        guests: &Guests,
        record: &GuestRecord,
        now_ns: u64,
    ) -> Option<String> {
        let mut prefers = guests.guests.get(name)?.prefer.clone();
        prefers.retain(|node| !record.failed.contains_key(node));
        if !record.to.is_empty() || self.is_there(self.holder(name), now_ns) {
            return None;
        }
        let node = self.awaited_node(&prefers, now_ns)?;
        Some(format!(
            "it prefers {node}, which has not reported yet: it waits at most {} s for {node}",
            AWAY_MS / 1_000
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Agreement, ClusterRequests, NodeRecord};
    use super::*;
    use crate::config::Guest;
    use crate::placement::Room;
    use part::role::KnownLease;
    use std::collections::BTreeMap;

    const S: u64 = 1_000_000_000;

    /// Node alpha, with a guest that prefers beta.
    struct LateFixture {
        agreement: Agreement,
        guests: Guests,
    }

    impl LateFixture {
        fn new() -> LateFixture {
            let room = Room {
                memory_bytes: 8 << 30,
                cpus: 8,
            };
            let mail = Guest {
                prefer: ["beta", "alpha"].map(str::to_owned).to_vec(),
                ..Guest::plain(1 << 30)
            };
            LateFixture {
                agreement: Agreement::new("alpha", room),
                guests: Guests {
                    me: "alpha".to_owned(),
                    guests: [("mail".to_owned(), mail)].into(),
                    ..Guests::default()
                },
            }
        }

        /// Returns whether alpha requests the lease of the guest, and why it does not run.
        fn decide(&mut self, holders: [&str; 3], now_s: u64) -> (bool, String) {
            let record = NodeRecord {
                memory_bytes: 8 << 30,
                cpus: 8,
                ..NodeRecord::default()
            };
            let record = record.encode();
            let lease = |(name, holder): (&str, &str)| KnownLease {
                name: name.to_owned(),
                epoch: 1,
                until_ns: if holder == "alpha" { 1_000 * S } else { 0 },
                holder: holder.to_owned(),
                number: 1,
                record: if name.contains('@') {
                    record.clone()
                } else {
                    Vec::new()
                },
                is_inherited: false,
            };
            let names = ["guest/@alpha", "guest/@beta", "guest/mail"];
            let leases = names.into_iter().zip(holders).map(lease);
            self.agreement.apply_leases(leases.collect());
            let (decided, ClusterRequests { leases, .. }) =
                self.agreement
                    .decide(&self.guests, &BTreeMap::new(), now_s * S);
            let mail = leases.iter().find(|(name, _)| name == "guest/mail");
            (mail.unwrap().1 > 0, decided["mail"].why.clone())
        }
    }

    #[test]
    fn first_start_waits_for_the_preferred_node() {
        let mut site = LateFixture::new();
        let waits = "it prefers beta, which has not reported yet: it waits at most 5 s for beta";
        let now = site.decide(["alpha", "", ""], 10);
        assert_eq!(now, (false, waits.to_owned()));
        assert_eq!(site.agreement.deadline_ms(10 * S), Some(15_000));
        // Alpha holds the lease of beta until beta reports.
        assert_eq!(
            site.decide(["alpha", "alpha", ""], 12),
            (false, waits.to_owned())
        );
        assert!(!site.decide(["alpha", "beta", ""], 14).0);
        assert_eq!(
            site.decide(["alpha", "beta", ""], 20),
            (false, "it goes to beta".to_owned())
        );
    }

    #[test]
    fn start_after_a_power_cut_waits_for_the_last_node_too() {
        let mut site = LateFixture::new();
        assert!(!site.decide(["alpha", "alpha", "beta"], 10).0);
        assert!(site.decide(["alpha", "alpha", "beta"], 15).0);
    }

    #[test]
    fn no_guest_waits_for_a_failed_or_drained_node() {
        let mut site = LateFixture::new();
        assert!(!site.decide(["alpha", "beta", "beta"], 10).0);
        assert!(site.decide(["alpha", "alpha", "beta"], 11).0);
        let mut site = LateFixture::new();
        site.guests.guests.get_mut("mail").unwrap().prefer.reverse();
        assert!(site.decide(["alpha", "", ""], 10).0);
    }
}
