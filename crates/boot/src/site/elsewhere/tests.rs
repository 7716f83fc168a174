//! Tests the report of each of two nodes about the machines of both.

use super::super::sharing::{SharedCopies, lock};
use super::super::{NetworkContentSource, ServerStatus, SharedNetworkState};
use super::*;
use crate::config::{AddressSource, Ipv4Network, LanConfig, MachineConfig, UnknownMachinePolicy};
use crate::content::{ContentSource, FetchClient, FetchProtocol, FetchReport};
use crate::dhcp::desk::{ClusterNodeAddresses, DhcpNodeAddresses};
use crate::dhcp::pool::{AddressClaimResult, ClientRequestState};
use crate::journal::LeaseJournal;
use crate::message::BootMachineStatus;
use crate::site::NodeLeaseStatus;
use lab::ScratchDirectory;
use std::sync::Arc;

const NODES: [&str; 2] = ["alpha", "beta"];

fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, last)
}

fn mac(last: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, last])
}

fn at(boottime_ms: u64) -> Moment {
    Moment {
        boottime_ms,
        unix_ms: 1_000_000 + boottime_ms,
    }
}

fn step(boottime_ms: u64, answered: &str) -> BootHistoryEntry {
    BootHistoryEntry {
        at: at(boottime_ms),
        asked: "DISCOVER by PXE".to_owned(),
        answered: answered.to_owned(),
        why: String::new(),
        times: 1,
    }
}

/// Node of a cluster, with its copies of the other node's leases.
struct LeaseNodeFixture {
    site: NetworkState,
    copies: SharedCopies,
    _scratch: ScratchDirectory,
}

impl LeaseNodeFixture {
    /// Creates the node that holds a part of the range. A machine in the configuration has a fixed
    /// address.
    fn new(part: usize) -> LeaseNodeFixture {
        let fixed = MachineConfig {
            name: "fixed".to_owned(),
            address: Some(ip(50)),
            image: "disk".to_owned(),
            once: false,
            power: None,
        };
        let lan = LanConfig {
            gives: AddressSource::Range {
                first: ip(100),
                last: ip(119),
            },
            machines: [(mac(50), fixed)].into(),
            unknown: UnknownMachinePolicy::Menu,
            ..LanConfig::plain("br0")
        };
        let scratch = ScratchDirectory::new().unwrap();
        let mut site = NetworkState::new("lan", lan, 2);
        let copies = SharedCopies::default();
        site.share(copies.clone(), Arc::new(|| {}));
        site.keep_in(Ok(LeaseJournal::open(scratch.path(), "lan").unwrap()), 0);
        let here = DhcpNodeAddresses {
            address: ip(1 + u8::try_from(part).unwrap()),
            network: Ipv4Network::of(ip(0), 24),
            nodes: ClusterNodeAddresses::default(),
        };
        site.set_node_address(Some(here), 0);
        let mut node = LeaseNodeFixture {
            site,
            copies,
            _scratch: scratch,
        };
        node.holds(part, &[(part, 1)]);
        node
    }

    /// Sets the parts of the range that the node holds, each in an epoch.
    fn holds(&mut self, number: usize, parts: &[(usize, u64)]) {
        let held = parts.iter().map(|(part, epoch)| {
            let held = HeldPart {
                has_all_leases: true,
                until_ms: u64::MAX,
                epoch: *epoch,
                ..HeldPart::default()
            };
            (*part, held)
        });
        let standing = NodeLeaseStatus {
            held: held.collect(),
            ..NodeLeaseStatus::default()
        };
        self.site.apply_node_status(NODES[number], standing, 0);
    }

    /// Assigns an address of the node's part to a machine.
    fn gives(&mut self, mac: Mac) -> Ipv4Addr {
        let pool = self.site.desk.as_mut().and_then(DhcpServer::pool).unwrap();
        let address = pool.offer(mac, None, 0).unwrap();
        assert_eq!(
            pool.claim(mac, address, ClientRequestState::Selecting, 1),
            AddressClaimResult::Yes
        );
        self.site.store();
        address
    }

    fn shown(&mut self, mac: Mac) -> BootMachineStatus {
        self.site.shown(mac)
    }
}

/// Creates two nodes, each with one part of the range.
fn pair() -> [LeaseNodeFixture; 2] {
    [LeaseNodeFixture::new(0), LeaseNodeFixture::new(1)]
}

/// Each node reports its leases to the other one.
fn report(nodes: &mut [LeaseNodeFixture; 2]) {
    for (from, to) in [(0, 1), (1, 0)] {
        nodes[from].site.linked(NODES[to], 0);
        while let Some(told) = nodes[from].site.next_copy_message(NODES[to]) {
            let taken = lock(&nodes[to].copies).take(NODES[from], &told);
            taken.unwrap();
        }
    }
}

#[test]
fn both_nodes_show_all_machines_with_their_addresses_and_nodes_and_count_each_lease_once() {
    let mut nodes = pair();
    let first = nodes[0].gives(mac(1));
    let second = nodes[1].gives(mac(2));
    let third = nodes[1].gives(mac(3));
    report(&mut nodes);
    for node in &mut nodes {
        let all: Vec<Mac> = node.site.macs().into_iter().collect();
        assert_eq!(all, [1, 2, 3, 50].map(mac));
        let shown = all.into_iter().map(|mac| {
            let shown = node.shown(mac);
            (shown.address.unwrap(), shown.node)
        });
        let wanted = [
            (first, "alpha"),
            (second, "beta"),
            (third, "beta"),
            // Both nodes would respond, and neither has responded yet.
            (ip(50), ""),
        ];
        let wanted = wanted.map(|(address, node)| (address, node.to_owned()));
        assert_eq!(shown.collect::<Vec<_>>(), wanted);
    }
    let counts = nodes.each_mut().map(|node| {
        let subject = node.site.subject(&ServerStatus::default());
        ["leased", "leased by other nodes"].map(|name| subject.value(name))
    });
    assert_eq!(counts, [[Some(1), Some(2)], [Some(2), Some(1)]]);
}

#[test]
fn a_lease_of_a_part_that_has_moved_is_not_counted_at_the_node_that_gave_it() {
    let mut nodes = pair();
    let address = nodes[0].gives(mac(1));
    report(&mut nodes);
    // Beta receives the part, and assigns an address of it.
    nodes[0].holds(0, &[]);
    let beta = &mut nodes[1];
    beta.holds(1, &[(0, 2), (1, 1)]);
    let pool = beta.site.desk.as_mut().and_then(DhcpServer::pool).unwrap();
    assert_eq!(
        pool.claim(mac(1), address, ClientRequestState::Renew, 1),
        AddressClaimResult::Yes
    );
    beta.site.store();
    assert_eq!(beta.site.leased().words("beta"), "1 by beta");
    // No node reports to alpha now, which still knows where the machine got its address before.
    let words = "0 by alpha, 0 by beta, others not known here";
    assert_eq!(nodes[0].site.leased().words("alpha"), words);
    let shown = nodes[0].shown(mac(1));
    assert_eq!((shown.address, &*shown.node), (Some(address), ""));
    report(&mut nodes);
    let words = "0 by alpha, 1 by beta";
    assert_eq!(nodes[0].site.leased().words("alpha"), words);
    assert_eq!(nodes[0].shown(mac(1)).node, "beta");
}

#[test]
fn what_another_node_answered_is_shown_instead_of_what_was_left_unanswered_here() {
    let mut nodes = pair();
    let alpha = &mut nodes[0].site;
    alpha.history.add(mac(50), step(5_000, "OFFER 10.0.0.50"));
    alpha.history.boots(mac(50), "rescue", at(6_000));
    // No node has responded to this request.
    alpha.history.add(mac(9), step(5_500, ""));
    let (number, activities) = alpha.activities(0, 7_000);
    assert_eq!((number, activities.len()), (2, 1));
    assert_eq!(alpha.activities(number, 7_000), (2, Vec::new()));
    let beta = &mut nodes[1];
    beta.site.history.add(mac(50), step(95_000, ""));
    // The clock of beta differs from that of alpha.
    beta.site.store_activities("alpha", activities, at(97_000));
    let shown = beta.shown(mac(50));
    let last = shown.last.unwrap();
    let last = (last.at, &*last.answered, &*shown.last_node);
    assert_eq!(last, (at(95_000), "OFFER 10.0.0.50", "alpha"));
    let booted = shown.booted.unwrap();
    let booted = (&*booted.image, booted.at, &*booted.node);
    assert_eq!(booted, ("rescue", at(96_000), "alpha"));
    assert_eq!(shown.node, "alpha");
    // Beta sees later requests: first without a response, and then with one.
    let site = &mut beta.site;
    site.history.add(mac(50), step(99_000, ""));
    let last = beta.shown(mac(50)).last.unwrap();
    assert_eq!((last.at, &*last.answered), (at(99_000), ""));
    beta.site
        .history
        .add(mac(50), step(99_100, "ACK 10.0.0.50"));
    assert_eq!(beta.shown(mac(50)).node, "beta");
}

#[test]
fn a_node_that_does_not_decide_what_is_booted_once_names_the_one_that_does() {
    let [_, LeaseNodeFixture { mut site, .. }] = pair();
    let next = |site: &mut NetworkState, leader: &str, orders: Vec<u32>| {
        leader.clone_into(&mut site.parts.standing.leader);
        site.parts.standing.orders = orders;
        site.next(mac(50))
    };
    assert_eq!(next(&mut site, "alpha", Vec::new()), "disk");
    let ordered = vec![crate::mac::mark(mac(50))];
    assert_eq!(
        next(&mut site, "alpha", ordered.clone()),
        "what node alpha decides"
    );
    assert_eq!(next(&mut site, "", ordered), "disk");
}

#[test]
fn a_machine_with_a_lease_by_the_other_node_boots_here_as_itself() {
    let mut nodes = pair();
    let address = nodes[0].gives(mac(1));
    report(&mut nodes);
    let [_, beta] = nodes;
    let shelf = NetworkContentSource(SharedNetworkState::new(beta.site));
    let fetch = |address: Ipv4Addr| {
        let asker = FetchClient {
            address: address.into(),
            via: FetchProtocol::Http,
        };
        let name = "boot/02-00-00-00-00-01/disk.ipxe";
        shelf.fetched(name, &asker, &FetchReport::Whole(100));
    };
    let booted = || shelf.0.lock().last_booted(mac(1));
    fetch(ip(119));
    assert_eq!(booted(), None, "another machine asked");
    fetch(address);
    let booted = booted().unwrap();
    assert_eq!((&*booted.image, &*booted.node), ("disk", "beta"));
}

#[test]
fn a_flood_of_machines_of_another_node_is_bounded_and_the_newest_stay() {
    let mut all = RemoteActivities::default();
    let last = 3 * u32::try_from(MACHINES_MAX).unwrap();
    let mac = |number: u32| {
        let [a, b, c, d] = number.to_be_bytes();
        Mac([2, 0, a, b, c, d])
    };
    for number in 0..=last {
        let activity = MachineActivity {
            mac: mac(number),
            last: None,
            booted: Some(("i".repeat(1_000), 0)),
        };
        all.hear("alpha", activity, at(number.into()));
    }
    assert!(all.machines.len() <= MACHINES_MAX);
    assert!(all.of(mac(last)).count() == 1 && all.of(mac(0)).count() == 0);
    let booted = all.of(mac(last)).find_map(|one| one.booted.as_ref());
    assert_eq!(booted.map(|(image, _)| image.len()), Some(WORDS_MAX));
}
