//! Detects that the files of this node are an older copy, such as a restored backup: the cluster
//! records the generations of the files, and the content of an older file is dropped.

use super::{Generations, NetworkState};

/// Result of the comparison of this node's files with the cluster's record of them.
#[derive(Debug, Default)]
pub(super) struct FileAge {
    pub(super) is_compared: bool,
    /// Time at which files were found to be older than the record, and their content was dropped,
    /// with a description for operators.
    pub(super) older: Option<(u64, String)>,
}

impl NetworkState {
    /// Returns the generations of this node's files to be compared with the cluster's record. Until
    /// the first comparison these are the generations of the files as they were opened: later
    /// changes would make an older copy look newer.
    pub fn compared_generations(&self) -> Generations {
        let is_read = self.turns_status.stored.is_some();
        let turns = is_read.then_some(self.turns.generation);
        let copies = self.parts.shares.copies();
        if self.files.is_compared {
            let leases = [
                self.parts.keeping.generation(),
                self.six.keeping.generation(),
            ];
            return [leases[0], leases[1], turns, Some(copies.generation())];
        }
        [
            self.parts.keeping.opened_generation(),
            self.six.keeping.opened_generation(),
            turns.map(|_| self.turns_status.opened),
            Some(copies.opened_generation()),
        ]
    }

    pub fn set_compared(&mut self) {
        self.files.is_compared = true;
    }

    /// Drops the content of files that are older than the cluster's record of them, as if they had
    /// been lost: an address that was assigned since must not be assigned again, and no machine is
    /// installed twice. `newest`: the recorded generations; None: the file is current. Returns a
    /// description for operators.
    pub fn forget_older(&mut self, newest: Generations, now_ms: u64) -> String {
        let [four, six, turns, copies] = newest;
        // The copies of other nodes' leases may be as old as the leases.
        let recorded = copies.unwrap_or(0);
        self.parts.shares.copies().forget_older(recorded);
        let files = [four, six, turns].into_iter();
        let files = files.zip(["leases", "IPv6 leases", "single boots"]);
        let lost: Vec<&str> = files.filter_map(|(one, name)| one.map(|_| name)).collect();
        if lost.is_empty() {
            return "the copies of other nodes' leases are older than the cluster's record of them, or missing: those \
                    nodes send them again"
                .to_owned();
        }
        if let Some(newest) = four {
            let here = self.here().cloned();
            self.desk = None;
            self.parts.keeping.forget(newest);
            if let Some(here) = here {
                self.rebuild(here, now_ms);
            }
        }
        if let Some(newest) = six {
            let here = self.here6().cloned();
            self.six.forget(newest);
            self.set_node_address6(here, now_ms);
        }
        // Marks the single boots as unknown: their record may be as old.
        self.turns.generation = self.turns.generation.max(turns.unwrap_or(0));
        self.turns_status.opened = self.turns.generation;
        self.turns_status.is_unknown = true;
        self.settle_turns();
        self.pass_turns();
        self.wake_writer();
        let words = format!(
            "the files of this node ({}) are older than the cluster's record of them, or missing, and are not used: the \
             leases come from the other node, or are withheld until they have ended; machines with `once` boot their \
             disk until `evenkeel boot once MACHINE`",
            lost.join(", ")
        );
        self.files.older = Some((now_ms, words.clone()));
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assignment::{BootTarget, SingleBootProgress, assigned};
    use crate::config::{AddressSource, Image, Ipv4Network, LanConfig, MachineConfig};
    use crate::dhcp::desk::{ClusterNodeAddresses, DhcpNodeAddresses, DhcpServer};
    use crate::dhcp::pool::{AddressClaimResult, ClientRequestState};
    use crate::journal::LeaseJournal;
    use crate::mac::Mac;
    use crate::site::{HeldPart, NodeLeaseStatus, ServerStatus};
    use lab::ScratchDirectory;
    use part::report::{Grade, Moment};
    use record::ConfirmationDecision;
    use std::net::Ipv4Addr;

    const CLIENT: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 101);

    /// Creates a network of a node of a cluster, with a machine that is installed once.
    fn site(scratch: &ScratchDirectory, turns: SingleBootProgress) -> NetworkState {
        let mut lan = LanConfig {
            gives: AddressSource::Range {
                first: ADDRESS,
                last: ADDRESS,
            },
            ..LanConfig::plain("br0")
        };
        lan.images.insert("install".to_owned(), Image::Disk);
        let machine = MachineConfig {
            name: "node8".to_owned(),
            address: None,
            image: "install".to_owned(),
            once: true,
            power: None,
        };
        lan.machines.insert(CLIENT, machine);
        let mut site = NetworkState::new("lan", lan, 2);
        site.keep_in(Ok(LeaseJournal::open(scratch.path(), "lan").unwrap()), 0);
        site.read_turns(turns);
        let here = DhcpNodeAddresses {
            address: Ipv4Addr::new(10, 0, 0, 2),
            network: Ipv4Network::of(ADDRESS, 24),
            nodes: ClusterNodeAddresses::default(),
        };
        site.set_node_address(Some(here), 0);
        site
    }

    /// Lets the node hold the first part of the range. `recorded`: generation of its leases in the
    /// cluster's record.
    fn hold(site: &mut NetworkState, recorded: u32) {
        let held = HeldPart {
            has_all_leases: true,
            has_turns: true,
            until_ms: u64::MAX,
            longest_s: u32::MAX,
            ..HeldPart::default()
        };
        let status = NodeLeaseStatus {
            held: [(0, held)].into(),
            recorded: Some([recorded, 0, 0, 0]),
            ..NodeLeaseStatus::default()
        };
        site.apply_node_status("alpha", status, 0);
    }

    fn lease(site: &mut NetworkState) {
        let pool = site.desk.as_mut().and_then(DhcpServer::pool).unwrap();
        let address = pool.offer(CLIENT, None, 0).unwrap();
        let claimed = pool.claim(CLIENT, address, ClientRequestState::Selecting, 1);
        assert_eq!(claimed, AddressClaimResult::Yes);
        site.store();
    }

    fn boots(site: &NetworkState) -> bool {
        let target = assigned(site.lan(), site.turns(), CLIENT);
        matches!(target, BootTarget::Image(..))
    }

    fn generation_of_turns(site: &NetworkState) -> Option<u32> {
        site.unstored_turns().map(|turns| turns.generation)
    }

    #[test]
    fn older_files_are_dropped_and_reported() {
        let scratch = ScratchDirectory::new().unwrap();
        let mut site = site(&scratch, SingleBootProgress::default());
        hold(&mut site, 9);
        lease(&mut site);
        assert!(boots(&site));
        let now_ms = Moment::now().boottime_ms;
        let words = site.forget_older([Some(9), None, Some(4), None], now_ms);
        assert!(words.contains("(leases, single boots)"), "{words}");
        assert_eq!(site.parts.keeping.generation(), Some(10));
        let pool = site.desk.as_mut().and_then(DhcpServer::pool).unwrap();
        assert_eq!(pool.known().count(), 0);
        // The machine may have had its single boot; that assumption is stored with a newer
        // generation.
        assert!(!boots(&site));
        assert_eq!(generation_of_turns(&site), Some(5));
        let report = site.subject(&ServerStatus::default());
        assert_eq!(report.state.grade, Grade::Bad);
        assert!(report.why.contains(&words), "{}", report.why);
    }

    #[test]
    fn older_copies_alone_leave_leases_and_single_boots() {
        let scratch = ScratchDirectory::new().unwrap();
        let mut site = site(&scratch, SingleBootProgress::default());
        hold(&mut site, 9);
        lease(&mut site);
        let generation = site.parts.keeping.generation();
        let words = site.forget_older([None, None, None, Some(7)], 0);
        assert!(words.contains("copies of other nodes"), "{words}");
        assert!(boots(&site) && site.parts.keeping.generation() == generation);
        site.set_compared();
        assert_eq!(site.compared_generations()[3], Some(7));
    }

    #[test]
    fn files_are_compared_as_they_were_opened() {
        let scratch = ScratchDirectory::new().unwrap();
        let mut turns = SingleBootProgress::default();
        turns.generation = 3;
        let mut site = site(&scratch, turns);
        hold(&mut site, 9);
        // Leases that end, and lines that are removed, change an older file before the cluster
        // reports its record.
        lease(&mut site);
        let compared = |site: &NetworkState| site.compared_generations();
        assert_eq!(compared(&site), [Some(0), None, Some(3), Some(0)]);
        site.set_compared();
        assert_eq!(compared(&site), [Some(2), None, Some(3), Some(0)]);
    }

    #[test]
    fn client_waits_for_the_record_of_its_lease_for_a_while() {
        let scratch = ScratchDirectory::new().unwrap();
        let mut site = site(&scratch, SingleBootProgress::default());
        let scratch_copies = crate::site::SharedCopies::default();
        site.share(scratch_copies, std::sync::Arc::new(|| {}));
        hold(&mut site, 0);
        lease(&mut site);
        let decide = |site: &mut NetworkState, now_ms| {
            site.decide_confirmation(CLIENT, Some(ADDRESS.into()), now_ms)
        };
        let now_ms = Moment::now().boottime_ms;
        assert_eq!(decide(&mut site, now_ms), ConfirmationDecision::Later);
        let generation = site.parts.keeping.generation().unwrap();
        hold(&mut site, generation - 1);
        assert_eq!(decide(&mut site, now_ms), ConfirmationDecision::Later);
        hold(&mut site, generation);
        assert_eq!(decide(&mut site, now_ms), ConfirmationDecision::Now);
        // If the cluster does not record the generation, the client gets its lease after the time
        // limit.
        hold(&mut site, 0);
        let change = crate::dhcp::pool::HolderChange {
            address: ADDRESS,
            holder: crate::dhcp::pool::Holder::Client(CLIENT),
        };
        site.parts.keeping.store(&[change], now_ms);
        assert_eq!(decide(&mut site, now_ms + 499), ConfirmationDecision::Later);
        assert_eq!(decide(&mut site, now_ms + 500), ConfirmationDecision::Now);
    }

    #[test]
    fn node_that_does_not_lead_has_all_single_boots_as_done() {
        let scratch = ScratchDirectory::new().unwrap();
        let mut site = site(&scratch, SingleBootProgress::default());
        let status = NodeLeaseStatus {
            is_led_elsewhere: true,
            ..NodeLeaseStatus::default()
        };
        site.apply_node_status("beta", status.clone(), 0);
        let stored = site.unstored_turns().expect("the machine is done");
        assert!(stored.is_done(CLIENT, "install"));
        site.stored_turns(stored);
        // A machine that gets its line later counts as done, too: the section may have been
        // renamed.
        let mut lan = site.lan().clone();
        let other = Mac([2, 0, 0, 0, 0, 2]);
        let machine = lan.machines[&CLIENT].clone();
        lan.machines.insert(other, machine);
        site.change(lan, 2, 0);
        site.apply_node_status("beta", status, 0);
        let stored = site.unstored_turns().expect("the other machine is done");
        assert!(stored.is_done(other, "install"));
    }
}
