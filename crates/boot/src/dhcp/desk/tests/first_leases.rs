//! Tests the ways to a first lease: each needs an offer, and none leads to the address of a node.

use super::*;

/// Ways to an address that skip the offer, by the name of RFC 2131.
fn ways(last: u8) -> [(&'static str, RequestedAddresses); 6] {
    [
        ("INIT-REBOOT", claims(None, Some(last), None)),
        ("RENEWING", claims(Some(last), None, None)),
        (
            "RENEWING, and wants it",
            claims(Some(last), Some(last), None),
        ),
        ("SELECTING", claims(None, Some(last), Some(SERVER))),
        (
            "SELECTING a node that is gone",
            claims(None, Some(last), Some(GONE)),
        ),
        (
            "SELECTING a strange server",
            claims(None, Some(last), Some(STRANGE)),
        ),
    ]
}

#[test]
fn client_without_a_record_gets_no_lease_without_an_offer() {
    for (way, what) in ways(103) {
        let mut desk = desk(UnknownMachinePolicy::Menu, RANGE);
        let decision = desk.decide(&request(DhcpMessageType::Request, STRANGER, what), false, 0);
        let verdict = decision.answer.as_ref().map(|answer| answer.verdict);
        let expected = (way == "SELECTING").then_some(DhcpReplyType::No);
        assert_eq!(verdict, expected, "{way}: {decision:?}");
        assert_eq!(desk.leased(STRANGER), None, "{way}");
    }
    // Behind a relay ARP reaches no host, so the offer of the failed node has to suffice.
    for (way, what) in ways(103) {
        let mut desk = desk(UnknownMachinePolicy::Menu, RANGE);
        let mut request = request(DhcpMessageType::Request, STRANGER, what);
        request.route.relay = Some(ip(1));
        let verdict = desk
            .decide(&request, false, 0)
            .answer
            .map(|one| one.verdict);
        let expected = match way {
            "SELECTING" => Some(DhcpReplyType::No),
            "SELECTING a node that is gone" => Some(DhcpReplyType::Yes),
            _ => None,
        };
        assert_eq!(verdict, expected, "{way}");
    }
}

#[test]
fn record_of_a_client_outlives_its_restart_and_decides() {
    let mut desk = desk(UnknownMachinePolicy::Menu, RANGE);
    desk.pool()
        .unwrap()
        .claim(STRANGER, ip(103), ClientRequestState::Selecting, 0);
    let verdict = |desk: &mut DhcpServer, mac, what| {
        let decision = desk.decide(&request(DhcpMessageType::Request, mac, what), false, 1_000);
        decision.answer.map(|answer| answer.verdict)
    };
    let reboot = |last| claims(None, Some(last), None);
    assert_eq!(
        verdict(&mut desk, STRANGER, reboot(103)),
        Some(DhcpReplyType::Yes)
    );
    assert_eq!(
        verdict(&mut desk, STRANGER, reboot(104)),
        Some(DhcpReplyType::No)
    );
    // Others have no record, so a server that knows them may respond; another network is wrong
    // for all.
    assert_eq!(verdict(&mut desk, RANGED, reboot(103)), None);
    assert_eq!(verdict(&mut desk, RANGED, reboot(107)), None);
    let elsewhere = RequestedAddresses {
        wants: Some(Ipv4Addr::new(192, 168, 7, 7)),
        ..NOTHING
    };
    assert_eq!(
        verdict(&mut desk, RANGED, elsewhere),
        Some(DhcpReplyType::No)
    );
}

#[test]
fn address_of_a_node_is_given_to_nobody_in_any_way() {
    let reserved = |desk: &mut DhcpServer| desk.set_of_nodes([ip(107)].into());
    // An address of the range: the server of these tests reserves 107.
    let mut all = ways(107).to_vec();
    all.push(("DISCOVER", claims(None, Some(107), None)));
    for (way, what) in all {
        for mac in [STRANGER, RANGED, FIXED] {
            let mut desk = desk(UnknownMachinePolicy::Menu, RANGE);
            reserved(&mut desk);
            let kind = match way {
                "DISCOVER" => DhcpMessageType::Discover,
                _ => DhcpMessageType::Request,
            };
            for now_ms in [0, 100] {
                let decision = desk.decide(&request(kind, mac, what), false, now_ms);
                let given = decision.answer.and_then(|one| one.address?.address);
                assert_ne!(given, Some(ip(107)), "{way} by {mac}");
                // The machine with that fixed address gets no other one either.
                assert!(mac != FIXED || given.is_none(), "{way}: {given:?}");
            }
        }
    }
}

#[test]
fn port_of_proxy_dhcp_gives_no_address() {
    for (way, what) in ways(103) {
        for gives in [RANGE, AddressSource::Fixed, AddressSource::Other] {
            let mut desk = desk(UnknownMachinePolicy::Menu, gives);
            let mut request = request(DhcpMessageType::Request, STRANGER, what);
            (request.stage, request.architecture) = (BootStage::Firmware, Some(7));
            let decision = desk.decide(&request, true, 0);
            let given = decision.answer.and_then(|one| one.address);
            assert_eq!(given.and_then(|given| given.address), None, "{way}");
            assert_eq!(desk.leased(STRANGER), None, "{way}");
        }
    }
}

#[test]
fn a_client_that_took_the_offer_of_a_node_that_is_gone_is_answered_in_its_place() {
    let selects = |mac, last, server| {
        request(
            DhcpMessageType::Request,
            mac,
            claims(None, Some(last), server),
        )
    };
    let said = |decision: &DhcpDecision| (shown(decision), decision.speaks_for);
    let mut desk = desk(UnknownMachinePolicy::Menu, RANGE);
    let fixed = desk.decide(&selects(FIXED, 107, Some(GONE)), false, 0);
    let why = "ACK 10.20.0.107 for 3600 s: it takes the offer of 10.20.0.4, which is gone; \
        10.20.0.107 is its own address in the file";
    assert_eq!(said(&fixed), (why.to_owned(), Some(GONE)));
    // An address of the part that this node holds by now, unless a host responds there.
    let takes = selects(RANGED, 103, Some(GONE));
    let asked = desk.decide(&takes, false, 0);
    assert!(asked.answer.is_none(), "{asked:?}");
    assert_eq!(asked.waits_for(&takes), Some(ip(103)));
    let ranged = desk.decide(&takes, false, 100);
    assert_eq!(ranged.speaks_for, Some(GONE));
    assert!(shown(&ranged).starts_with("ACK 10.20.0.103"), "{ranged:?}");
    let takes = selects(STRANGER, 104, Some(GONE));
    assert_eq!(desk.decide(&takes, false, 0).probe, Some(ip(104)));
    assert!(desk.in_use(ip(104), Mac([2, 0, 0, 0, 0, 9]), 1));
    let used = desk.decide(&takes, false, 100);
    assert!(shown(&used).starts_with("NAK"), "{used:?}");
    // Another client has the address.
    let stranger = desk.decide(&selects(STRANGER, 103, Some(GONE)), false, 0);
    assert_eq!(stranger.speaks_for, Some(GONE));
    assert!(shown(&stranger).starts_with("NAK"), "{stranger:?}");
    // An address of that node's part, whose leases are unknown here.
    desk.pool().unwrap().take(1, false, 0);
    let taken = desk.decide(&selects(STRANGER, 106, Some(GONE)), false, 0);
    assert!(taken.answer.is_none(), "{taken:?}");
    // An address of a part that no node holds.
    desk.pool().unwrap().give_up(1);
    let other_part = desk.decide(&selects(RANGED, 108, Some(GONE)), false, 0);
    assert!(other_part.answer.is_none(), "{other_part:?}");
    // The node is up again.
    let here = DhcpNodeAddresses {
        nodes: ClusterNodeAddresses {
            there: vec![GONE],
            gone: vec![GONE],
            ..ClusterNodeAddresses::default()
        },
        ..desk.here.clone()
    };
    let mut desk = DhcpServer::new(desk.lan.clone(), here, None);
    let back = desk.decide(&selects(FIXED, 107, Some(GONE)), false, 0);
    assert_eq!(
        said(&back),
        ("-: it takes the offer of 10.20.0.4".to_owned(), None)
    );
}
