//! Requests of DHCP, and what they are answered: whatever packets come, and whenever, an answer fits
//! into what its client takes, and the client has the address that it is given.
#![no_main]

use boot::config::{AddressSource, ClientParameters, Ipv4Network, LanConfig, UnknownMachinePolicy};
use boot::dhcp::desk::{ClusterNodeAddresses, DhcpNodeAddresses, DhcpServer};
use boot::dhcp::pool::Pool;
use boot::dhcp::range::Range;
use boot::dhcp::reply::{DhcpReplyType, write};
use boot::dhcp::request::Request;
use libfuzzer_sys::fuzz_target;
use std::collections::{BTreeMap, HashSet};
use std::net::Ipv4Addr;

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 20, 0, 2);
const FIRST: Ipv4Addr = Ipv4Addr::new(10, 20, 0, 100);
const LAST: Ipv4Addr = Ipv4Addr::new(10, 20, 0, 103);
const LEASE_S: u32 = 120;

fn desk() -> DhcpServer {
    let lan = LanConfig {
        interface: "lan".to_owned(),
        network: None,
        gives: AddressSource::Range {
            first: FIRST,
            last: LAST,
        },
        lease_s: LEASE_S,
        tells: ClientParameters::default(),
        disks: Default::default(),
        images: BTreeMap::new(),
        machines: BTreeMap::new(),
        unknown: UnknownMachinePolicy::Menu,
        ports: Default::default(),
        leases: "/leases".into(),
        secure_boot: false,
        six: None,
        of_nodes: Default::default(),
        of_others: Default::default(),
        virtual_addresses: Default::default(),
    };
    let here = DhcpNodeAddresses {
        address: SERVER,
        network: Ipv4Network::of(SERVER, 24),
        nodes: ClusterNodeAddresses::default(),
    };
    let range = Range {
        first: FIRST,
        last: LAST,
        parts: 1,
    };
    let mut pool = Pool::new(range, LEASE_S, LEASE_S, HashSet::new(), [], 0);
    pool.take(0, true, 0);
    DhcpServer::new(lan, here, Some(pool))
}

fuzz_target!(|packets: Vec<(u16, bool, &[u8])>| {
    let mut desk = desk();
    let mut given_to = HashSet::new();
    let mut now_ms = 0;
    for (pause_ms, is_proxy_port, packet) in packets {
        now_ms += u64::from(pause_ms);
        let Ok(request) = Request::read(packet) else {
            continue;
        };
        let decision = desk.decide(&request, is_proxy_port, now_ms);
        let Some(answer) = decision.answer else {
            continue;
        };
        if let Some(bytes) = write(&request, &answer, SERVER, &ClientParameters::default()) {
            assert!((300..=request.room).contains(&bytes.len()));
        }
        let given = answer.address.and_then(|given| given.address);
        if let (DhcpReplyType::Yes, Some(address)) = (answer.verdict, given) {
            let known = desk
                .pool()
                .is_some_and(|pool| pool.of(request.mac) == Some(address));
            assert!(known);
            given_to.insert(address);
            assert!(given_to.len() <= 4);
        }
    }
});
