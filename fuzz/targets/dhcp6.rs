//! Requests of DHCPv6, and what they are answered: whatever packets come, through whichever relays, and
//! whenever, and the client has the address that it is given.
#![no_main]

use boot::config::{
    AddressSource, ClientParameters, Ipv6Config, Ipv6Network, LanConfig, UnknownMachinePolicy,
};
use boot::dhcp::pool::Pool;
use boot::dhcp::range::Range;
use boot::dhcp6::desk::{Dhcpv6Server, Dhcpv6ServerIdentity};
use boot::dhcp6::reply::{Dhcpv6ResponseType, write};
use boot::dhcp6::request::Request;
use boot::mac::Mac;
use libfuzzer_sys::fuzz_target;
use std::collections::{BTreeMap, HashSet};
use std::net::Ipv6Addr;

const SERVER: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x20, 0, 0, 0, 0, 0, 2);
const CLIENT: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0x5054, 0xff, 0xfe00, 7);
const FIRST: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x20, 0, 0, 0, 0, 0, 0x100);
const LAST: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x20, 0, 0, 0, 0, 0, 0x103);
const LEASE_S: u32 = 120;

fn desk() -> Dhcpv6Server {
    let lan = LanConfig {
        interface: "lan".to_owned(),
        network: None,
        gives: AddressSource::Fixed,
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
    let six = Ipv6Config {
        network: Ipv6Network::of(SERVER, 64),
        range: Some((FIRST, LAST)),
        lease_s: LEASE_S,
        machines: BTreeMap::new(),
        dns: vec![SERVER],
    };
    let range = Range {
        first: FIRST,
        last: LAST,
        parts: 1,
    };
    let mut pool = Pool::new(range, LEASE_S, LEASE_S, HashSet::new(), [], 0);
    pool.take(0, true, 0);
    let here = Dhcpv6ServerIdentity::new(SERVER, Mac([0x52, 0x54, 0, 0, 0, 2]));
    Dhcpv6Server::new(lan, six, here, Some(pool))
}

fuzz_target!(|packets: Vec<(u16, Option<[u8; 6]>, &[u8])>| {
    let mut desk = desk();
    let mut given_to = HashSet::new();
    let mut now_ms = 0;
    for (pause_ms, card, packet) in packets {
        now_ms += u64::from(pause_ms);
        let Ok(request) = Request::read(packet, CLIENT, card.map(Mac)) else {
            continue;
        };
        if let Some(pool) = desk.pool() {
            pool.expire(now_ms);
        }
        let decision = desk.decide(&request, now_ms);
        let Some(answer) = decision.answer else {
            continue;
        };
        let server = desk.here().duid.clone();
        let _ = write(&request, &answer, &server, desk.six(), Some("example.org"));
        if answer.verdict != Dhcpv6ResponseType::Reply {
            continue;
        }
        for address in answer.grants.iter().filter_map(|grant| grant.address) {
            let known = desk
                .pool()
                .is_some_and(|pool| pool.of(request.mac) == Some(address));
            assert!(known);
            given_to.insert(address);
            assert!(given_to.len() <= 4);
        }
    }
});
