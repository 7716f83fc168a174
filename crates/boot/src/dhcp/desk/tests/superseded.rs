//! Tests leases of addresses that a new configuration version assigns to another host.

use super::*;

const LEASE_MS: u64 = 3_600_000;

/// Builds a DHCP server whose whole range had these leases before, where these addresses are now
/// for no client.
fn desk_after(leases: &[(u8, Mac)], reserved: &[u8], last: u8) -> DhcpServer {
    let range = Range {
        first: ip(100),
        last: ip(last),
        parts: 1,
    };
    let of_nodes: HashSet<Ipv4Addr> = reserved.iter().map(|one| ip(*one)).collect();
    let reserved: HashSet<Ipv4Addr> = of_nodes.iter().copied().chain([ip(107)]).collect();
    let known = leases
        .iter()
        .map(|(one, mac)| (ip(*one), Holder::Client(*mac)));
    let mut pool = Pool::new(range, 3_600, 0, reserved, known, 0);
    pool.take(0, true, 0);
    let here = DhcpNodeAddresses {
        address: SERVER,
        network: Ipv4Network::of(SERVER, 24),
        nodes: ClusterNodeAddresses::default(),
    };
    let mut desk = DhcpServer::new(lan(UnknownMachinePolicy::Menu, RANGE), here, Some(pool));
    desk.set_of_nodes(of_nodes);
    desk
}

fn verdict(
    desk: &mut DhcpServer,
    mac: Mac,
    what: RequestedAddresses,
    now_ms: u64,
) -> Option<DhcpReplyType> {
    let decision = desk.decide(&request(DhcpMessageType::Request, mac, what), false, now_ms);
    decision.answer.map(|answer| answer.verdict)
}

/// Returns the offer to a client.
fn offered(desk: &mut DhcpServer, mac: Mac, wants: u8, now_ms: u64) -> Option<Ipv4Addr> {
    let request = request(
        DhcpMessageType::Discover,
        mac,
        claims(None, Some(wants), None),
    );
    let decision = desk.decide(&request, false, now_ms);
    decision.answer?.address?.address
}

#[test]
fn client_of_an_address_of_a_node_is_refused() {
    for what in [
        claims(Some(105), None, None),
        claims(Some(105), Some(105), None),
        claims(None, Some(105), None),
        claims(None, Some(105), Some(SERVER)),
    ] {
        let mut desk = desk_after(&[(105, STRANGER)], &[105], 109);
        assert_eq!(
            verdict(&mut desk, STRANGER, what, 0),
            Some(DhcpReplyType::No),
            "{what:?}"
        );
        let changes = desk.pool().unwrap().changes();
        let holders: Vec<_> = changes
            .iter()
            .map(|one| (one.address, one.holder))
            .collect();
        assert_eq!(holders, [(ip(105), Holder::Nobody)], "{what:?}");
        // The lease begins again, and no client is offered the address.
        for mac in [STRANGER, RANGED] {
            let other = offered(&mut desk, mac, 105, 0);
            assert!(other.is_some_and(|other| other != ip(105)), "{other:?}");
        }
    }
    // A client that never had the address gets no response about it.
    let mut desk = desk_after(&[(105, STRANGER)], &[105], 109);
    assert_eq!(
        verdict(&mut desk, RANGED, claims(None, Some(105), None), 0),
        None
    );
}

#[test]
fn client_outside_of_a_new_range_is_refused() {
    for what in [claims(Some(108), None, None), claims(None, Some(108), None)] {
        let mut desk = desk_after(&[(108, STRANGER)], &[], 106);
        assert_eq!(
            verdict(&mut desk, STRANGER, what, 0),
            Some(DhcpReplyType::No),
            "{what:?}"
        );
        let other = offered(&mut desk, STRANGER, 108, 0);
        assert!(other.is_some_and(|other| other <= ip(106)), "{other:?}");
    }
}

#[test]
fn machine_waits_for_the_lease_of_its_address() {
    let mut desk = desk_after(&[(107, STRANGER)], &[], 109);
    let meanwhile = offered(&mut desk, FIXED, 107, 0).expect("an address of the range");
    assert_ne!(meanwhile, ip(107));
    let selects = |last: Ipv4Addr| RequestedAddresses {
        wants: Some(last),
        server: Some(SERVER),
        uses: None,
    };
    assert_eq!(
        verdict(&mut desk, FIXED, selects(ip(107)), 0),
        Some(DhcpReplyType::No)
    );
    assert_eq!(
        verdict(&mut desk, FIXED, selects(meanwhile), 0),
        Some(DhcpReplyType::Yes)
    );
    let renews = |address: Ipv4Addr| RequestedAddresses {
        uses: Some(address),
        ..NOTHING
    };
    assert_eq!(
        verdict(&mut desk, FIXED, renews(meanwhile), 1),
        Some(DhcpReplyType::Yes)
    );
    // The client of the lease asks to keep it, is refused, and has left the address a minute
    // later.
    assert_eq!(
        verdict(&mut desk, STRANGER, renews(ip(107)), 2),
        Some(DhcpReplyType::No)
    );
    assert_eq!(
        verdict(&mut desk, FIXED, renews(meanwhile), 3),
        Some(DhcpReplyType::Yes)
    );
    assert_eq!(
        verdict(&mut desk, FIXED, renews(meanwhile), 60_003),
        Some(DhcpReplyType::No)
    );
    assert_eq!(offered(&mut desk, FIXED, 107, 60_003), Some(ip(107)));
    assert_eq!(
        verdict(&mut desk, FIXED, selects(ip(107)), 60_003),
        Some(DhcpReplyType::Yes)
    );
}

#[test]
fn lease_of_a_machines_address_ends_by_itself() {
    let mut desk = desk_after(&[(107, STRANGER)], &[], 109);
    assert_ne!(offered(&mut desk, FIXED, 107, LEASE_MS), Some(ip(107)));
    assert_eq!(offered(&mut desk, FIXED, 107, 2 * LEASE_MS), Some(ip(107)));
    // The machine does not wait for its own lease from before the line.
    let mut desk = desk_after(&[(107, FIXED)], &[], 109);
    assert_eq!(offered(&mut desk, FIXED, 107, 0), Some(ip(107)));
    // After a RELEASE, the wait lasts no longer than the lifetime of a packet.
    let mut desk = desk_after(&[(107, STRANGER)], &[], 109);
    let release = request(
        DhcpMessageType::Release,
        STRANGER,
        claims(Some(107), None, Some(SERVER)),
    );
    desk.decide(&release, false, 0);
    assert_eq!(offered(&mut desk, FIXED, 107, 60_001), Some(ip(107)));
}
