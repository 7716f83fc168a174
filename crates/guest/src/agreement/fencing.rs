//! Decides which node fences a failed node: the holder of the failed node's lease, which writes the
//! result under that lease, where every node reads it.

use super::{Agreement, Fenced, LeaseRecord, NodeRecord, PREFIX, lease_of_node, names};
use crate::config::Guests;
use crate::fence::gate::{NodeLeaseState, PreviousNodes};
use part::power::control::PowerControl;
use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub(super) struct FencingState {
    pub(super) gate: PreviousNodes,
    results: BTreeMap<String, Fenced>,
    /// True while this node stops in an orderly way and without guests.
    leaves: bool,
}

impl Agreement {
    pub fn resume_gate(&mut self, gate: PreviousNodes) {
        self.fencing.gate = gate;
    }

    pub fn gate(&self) -> &PreviousNodes {
        &self.fencing.gate
    }

    pub(super) fn update_holders(&mut self) {
        for (name, lease) in &self.leases {
            if let Some(guest) = name
                .strip_prefix(PREFIX)
                .filter(|one| !one.starts_with('@'))
            {
                self.fencing
                    .gate
                    .record_holder(&self.me, guest, &lease.holder);
            }
        }
    }

    pub(super) fn update_gone_nodes(&mut self, guests: &Guests, now_ns: u64) {
        let now = now_ns / 1_000_000;
        for (name, is_there) in self.nodes(guests, now_ns) {
            self.fencing
                .gate
                .record_node_availability(&name, is_there, now);
            if self.is_known {
                self.late.see_node(&name, is_there, now);
            }
        }
        let leases = &self.leases;
        let known = names(guests);
        self.fencing.gate.retain(
            |guest| guests.guests.contains_key(guest),
            |node| known.contains(node),
        );
        self.fencing.results.retain(|node, _| {
            let lease = leases.get(&lease_of_node(node));
            lease.is_some_and(|lease| lease.until_ns > now_ns)
        });
    }

    pub(super) fn node_record(&self, node: &str) -> Option<NodeRecord> {
        let lease = self.leases.get(&lease_of_node(node))?;
        NodeRecord::decode(&lease.record)
    }

    pub(super) fn waits_for_fencing(
        &mut self,
        name: &str,
        guests: &Guests,
        was_up: bool,
        now_ns: u64,
    ) -> Option<String> {
        let node = self.fencing.gate.ran_on(name)?.to_owned();
        let fences = guests.nodes.get(&node).map(|node| &node.fences);
        fences.filter(|fences| !fences.is_empty())?;
        let seen = match (self.is_there(&node, now_ns), self.node_record(&node)) {
            (true, _) => NodeLeaseState::There,
            (false, Some(record)) => NodeLeaseState::Gone(record),
            (false, None) => NodeLeaseState::Unknown,
        };
        let now = now_ns / 1_000_000;
        self.fencing.gate.waits(name, &seen, was_up, now)
    }

    /// Returns the nodes that this node has to fence, with their fencing methods. This node must
    /// hold its own lease and the leases of these nodes, and they must not request their leases
    /// back.
    pub fn to_fence(&self, guests: &Guests, now_ns: u64) -> BTreeMap<String, Vec<PowerControl>> {
        let own = self.leases.get(&lease_of_node(&self.me));
        if guests.me.is_empty() || own.is_none_or(|own| own.until_ns <= now_ns) {
            return BTreeMap::new();
        }
        let nodes = names(guests).into_iter().filter_map(|name| {
            let fences = &guests.nodes.get(&name)?.fences;
            let is_due = !fences.is_empty() && self.is_to_be_fenced(guests, &name, now_ns);
            is_due.then(|| (name, fences.clone()))
        });
        nodes.collect()
    }

    fn is_to_be_fenced(&self, guests: &Guests, node: &str, now_ns: u64) -> bool {
        let lease = lease_of_node(node);
        let is_held = self
            .leases
            .get(&lease)
            .is_some_and(|one| one.until_ns > now_ns);
        let returns = self.yields.contains(&lease);
        if node == self.me || !is_held || returns || self.fencing.results.contains_key(node) {
            return false;
        }
        // Does not fence a node that was never available and therefore has no record.
        let Some(record) = self.node_record(node) else {
            return false;
        };
        if self.may_have_open(guests, node) {
            return record.fenced == Fenced::No;
        }
        let has_guests = self.fencing.gate.had_guests(node);
        let is_empty = record.drained && !has_guests;
        !record.leaves && !is_empty && record.fenced == Fenced::No
    }

    pub fn set_fenced(&mut self, node: &str, fenced: Fenced) {
        tracing::info!(node, result = ?fenced, "fencing ended");
        self.fencing.results.insert(node.to_owned(), fenced);
    }

    pub fn fate(&self, node: &str) -> Option<NodeRecord> {
        self.node_record(node)
    }

    pub(super) fn results(&self, now_ns: u64) -> Vec<LeaseRecord> {
        let all = self.fencing.results.iter().filter_map(|(node, fenced)| {
            let lease = self.leases.get(&lease_of_node(node))?;
            let record = NodeRecord::decode(&lease.record)?;
            if lease.until_ns <= now_ns || record.fenced == *fenced {
                return None;
            }
            let record = NodeRecord {
                fenced: *fenced,
                ..record
            };
            let mut written = LeaseRecord::next(lease, record.encode());
            if *fenced == Fenced::Off {
                written.frees.clone_from(node);
            }
            Some(written)
        });
        all.collect()
    }

    pub fn leave(&mut self, now_ns: u64) -> Option<LeaseRecord> {
        let lease = self.leases.get(&lease_of_node(&self.me))?;
        if lease.until_ns <= now_ns {
            return None;
        }
        self.fencing.leaves = true;
        let record = NodeRecord {
            leaves: true,
            ..self.own.clone()
        };
        Some(LeaseRecord::next(lease, record.encode()))
    }

    pub fn gone_since(&self, node: &str) -> Option<u64> {
        self.fencing.gate.gone_since(node)
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.fencing.leaves
    }
}

#[cfg(test)]
mod tests {
    use super::super::LocalState;
    use super::*;
    use crate::config::{Guest, NodeSettings};
    use crate::life::DesiredState;
    use crate::placement::Room;
    use part::role::KnownLease;

    const S: u64 = 1_000_000_000;

    fn guest() -> Guest {
        Guest {
            prefer: vec!["beta".to_owned(), "alpha".to_owned()],
            ..Guest::plain(1 << 30)
        }
    }

    fn guests() -> Guests {
        let node = NodeSettings {
            fences: vec![PowerControl::Exec(vec!["/bin/off".to_owned()])],
            ..NodeSettings::default()
        };
        Guests {
            me: "alpha".to_owned(),
            nodes: ["alpha", "beta"]
                .map(|name| (name.to_owned(), node.clone()))
                .into(),
            guests: [("mail".to_owned(), guest())].into(),
            ..Guests::default()
        }
    }

    fn record(change: impl FnOnce(&mut NodeRecord)) -> NodeRecord {
        let mut record = NodeRecord {
            memory_bytes: 8 << 30,
            cpus: 8,
            ..NodeRecord::default()
        };
        change(&mut record);
        record
    }

    fn lease(name: &str, holder: &str, until_s: u64, record: &[u8]) -> KnownLease {
        KnownLease {
            name: name.to_owned(),
            epoch: 7,
            until_ns: until_s * S,
            holder: holder.to_owned(),
            number: 1,
            record: record.to_vec(),
            is_inherited: false,
        }
    }

    struct FencingFixture {
        agreement: Agreement,
        guests: Guests,
    }

    impl FencingFixture {
        /// Creates a fixture in which beta ran the guest, and alpha has held all of beta's leases
        /// since.
        fn new(beta: &NodeRecord) -> FencingFixture {
            let room = Room {
                memory_bytes: 8 << 30,
                cpus: 8,
            };
            let mut site = FencingFixture {
                agreement: Agreement::new("alpha", room),
                guests: guests(),
            };
            site.knows(["alpha", "beta", "beta"], 100, beta);
            site.decide(1);
            site.knows(["alpha", "alpha", "alpha"], 100, beta);
            site
        }

        /// Reports the holders of the leases of alpha, of beta and of the guest.
        fn knows(&mut self, holders: [&str; 3], until_s: u64, beta: &NodeRecord) {
            let until = |holder: &str| if holder == "alpha" { until_s } else { 0 };
            let own = record(|_| {}).encode();
            let records = [own, beta.encode(), Vec::new()];
            let names = ["guest/@alpha", "guest/@beta", "guest/mail"];
            let all = names
                .iter()
                .zip(holders)
                .zip(&records)
                .map(|((name, holder), record)| lease(name, holder, until(holder), record));
            self.agreement.apply_leases(all.collect());
        }

        fn decide(&mut self, now_s: u64) -> (DesiredState, String, Vec<LeaseRecord>) {
            let locals = [(
                "mail".to_owned(),
                LocalState {
                    has_volumes: true,
                    ..LocalState::default()
                },
            )];
            let (decided, told) = self
                .agreement
                .decide(&self.guests, &locals.into(), now_s * S);
            let of_beta = told
                .records
                .into_iter()
                .filter(|one| one.name == "guest/@beta");
            let mail = &decided["mail"];
            (mail.wish, mail.why.clone(), of_beta.collect())
        }

        fn fences(&self, now_s: u64) -> bool {
            self.agreement
                .to_fence(&self.guests, now_s * S)
                .contains_key("beta")
        }
    }

    #[test]
    fn a_node_that_is_gone_is_fenced_before_its_guest_starts_and_the_cluster_gets_the_result() {
        let mut site = FencingFixture::new(&record(|_| {}));
        let (wish, why, _) = site.decide(10);
        assert_eq!(wish, DesiredState::Hold);
        assert!(
            why.starts_with("it ran on beta: it starts when beta is confirmed off"),
            "{why}"
        );
        assert!(site.fences(10));
        site.agreement.set_fenced("beta", Fenced::Off);
        assert!(!site.fences(11));
        let (_, _, written) = site.decide(11);
        // The record frees the leases of the fenced node before they end.
        assert_eq!(written[0].frees, "beta");
        let off = record(|one| one.fenced = Fenced::Off);
        assert_eq!(NodeRecord::decode(&written[0].value), Some(off.clone()));
        site.knows(["alpha", "alpha", "alpha"], 100, &off);
        let (wish, why, written) = site.decide(12);
        assert_eq!((wish, &*why, written.len()), (DesiredState::Run, "", 0));
        assert!(!site.fences(12));
    }

    #[test]
    fn a_guest_starts_at_most_a_minute_after_node_loss() {
        let mut site = FencingFixture::new(&record(|_| {}));
        assert_eq!(site.decide(10).0, DesiredState::Hold);
        assert_eq!(site.decide(69).0, DesiredState::Hold);
        assert_eq!(site.agreement.deadline_ms(69 * S), Some(70_000));
        assert_eq!(site.decide(70).0, DesiredState::Run);
        assert!(site.fences(70));
    }

    #[test]
    fn a_node_that_regains_its_lease_is_not_fenced() {
        let mut site = FencingFixture::new(&record(|_| {}));
        assert!(site.fences(10));
        site.agreement.hand_over("guest/@beta");
        assert!(!site.fences(10));
        let mut site = FencingFixture::new(&record(|_| {}));
        site.knows(["alpha", "beta", "alpha"], 100, &record(|_| {}));
        assert!(!site.fences(10));
    }

    #[test]
    fn a_node_without_both_leases_does_not_fence() {
        let mut site = FencingFixture::new(&record(|_| {}));
        assert!(!site.fences(100));
        site.knows(["alpha", "gamma", "gamma"], 100, &record(|_| {}));
        assert!(!site.fences(10));
        site.knows(["gamma", "alpha", "alpha"], 100, &record(|_| {}));
        assert!(!site.fences(10));
    }

    #[test]
    fn a_cleanly_stopped_drained_or_off_node_is_not_fenced() {
        for (change, has_guest, fences) in [
            (
                (|one| one.leaves = true) as fn(&mut NodeRecord),
                true,
                false,
            ),
            (|one| one.drained = true, true, true),
            (|one| one.drained = true, false, false),
            (|one| one.fenced = Fenced::Off, true, false),
            (|one| one.fenced = Fenced::Failed, true, false),
            (|_| {}, false, true),
        ] {
            let beta = record(change);
            let mut site = FencingFixture::new(&beta);
            if !has_guest {
                site.knows(["alpha", "alpha", ""], 100, &beta);
            }
            assert_eq!(site.fences(10), fences, "{beta:?}");
        }
    }

    #[test]
    fn an_unknown_node_or_one_without_a_method_is_not_fenced() {
        let mut site = FencingFixture::new(&record(|_| {}));
        site.guests.nodes.remove("beta");
        assert!(!site.fences(10));
        assert_eq!(site.decide(10).0, DesiredState::Run);
        let mut site = FencingFixture::new(&record(|_| {}));
        site.agreement.apply_leases(vec![
            lease("guest/@alpha", "alpha", 100, &record(|_| {}).encode()),
            lease("guest/@beta", "alpha", 100, &[]),
        ]);
        assert!(!site.fences(10));
    }

    #[test]
    fn a_stopping_node_announces_it_and_the_next_role_revokes_it() {
        let mut site = FencingFixture::new(&record(|_| {}));
        let written = site.agreement.leave(10 * S).unwrap();
        let own = NodeRecord::decode(&written.value).unwrap();
        assert!(own.leaves && own.memory_bytes == 8 << 30);
        assert_eq!(site.agreement.leave(100 * S), None);
        let next = Agreement::new(
            "alpha",
            Room {
                memory_bytes: 8 << 30,
                cpus: 8,
            },
        );
        let mut site = FencingFixture {
            agreement: next,
            ..site
        };
        site.agreement
            .apply_leases(vec![lease("guest/@alpha", "alpha", 100, &written.value)]);
        let (_, told) = site
            .agreement
            .decide(&site.guests, &BTreeMap::new(), 10 * S);
        let own = told
            .records
            .iter()
            .find(|one| one.name == "guest/@alpha")
            .unwrap();
        assert!(!NodeRecord::decode(&own.value).unwrap().leaves);
    }
}
