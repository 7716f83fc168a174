//! Tests a range that changes while another node is unreachable: only that node knows the clients
//! of addresses that come from its part.

use super::*;
use crate::dhcp::pool::{AddressClaimResult, ClientRequestState, Holder, Pool};
use crate::mac::Mac;
use crate::site::MovedPart;
use std::collections::HashSet;

/// The files of alpha and of beta.
const FILES: [LeaseFiles; 2] = [files(7, 0), files(8, 0)];

fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, last)
}

fn mac(last: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, last])
}

fn of_alpha() -> Knowledge {
    Knowledge {
        files: FILES[0],
        ..Knowledge::default()
    }
}

/// Addresses that part 0 withholds from the part of beta: 6 to 8.
fn new_range() -> Range {
    range(3, 14)
}

/// Alpha has part 0 by another range, and beta part 1, whose earlier leases were not reported in
/// time.
fn late(files: LeaseFiles) -> LeasePairFixture {
    let mut pair = LeasePairFixture::new();
    pair.write(0, |record| record.files = FILES[0]);
    pair.write(1, |record| record.files = files);
    pair.turn(&of_alpha(), 0);
    pair.alpha.set_range(Some(new_range()), None, 3_600);
    pair.write(1, |record| {
        record.ranges = only_four(new_range());
        record.past = past(range(6, 10), true);
    });
    assert!(pair.turn(&of_alpha(), 0).held.is_empty());
    pair
}

fn moved(standing: &NodeLeaseStatus) -> &MovedPart {
    standing.held[&0].moved.as_ref().unwrap()
}

/// Returns the late node that knows what alpha withholds.
fn former_of_late(pair: &LeasePairFixture) -> Option<FormerHolder> {
    match &pair.alpha.owned.taken[&0].state {
        AcquiredPartState::Settled(_, Some(sources)) => sources.former,
        state => panic!("{state:?}"),
    }
}

/// A pool of the new range with these leases.
fn pool(known: &[(u8, u8)]) -> Pool {
    let known = known.iter();
    let known = known.map(|(last, client)| (ip(*last), Holder::Client(mac(*client))));
    Pool::new(new_range(), 3_600, 0, HashSet::new(), known, 0)
}

#[test]
fn the_record_says_who_knows_what_comes_from_a_part_as_soon_as_the_disk_does() {
    let beta = former("beta", FILES[1]);
    let mut pair = late(FILES[1]);
    let standing = pair.turn(&of_alpha(), SOON_NS);
    assert_eq!(former_of_late(&pair), beta);
    let held = &standing.held[&0];
    assert!(held.has_former && !held.had_former);
    let record = pair.record(0);
    assert_eq!((record.clear, record.former), (false, None));
    // By the next turn, the withheld addresses are on disk.
    pair.turn(&of_alpha(), SOON_NS);
    let record = pair.record(0);
    assert_eq!((record.clear, record.former), (true, beta));
    // After a restart the node withholds the same addresses, because of the same node.
    let mut restarted = leases("alpha");
    restarted.set_range(Some(new_range()), None, 3_600);
    pair.alpha = restarted;
    let standing = pair.turn(&of_alpha(), 2 * SOON_NS);
    let held = &standing.held[&0];
    assert!(held.has_all_leases && held.moved.is_none() && held.has_former && held.had_former);
    assert_eq!(pair.record(0), record);
}

#[test]
fn a_restart_before_that_hears_the_other_node_or_waits_again() {
    let mut pair = late(FILES[1]);
    let mut restarted = leases("alpha");
    restarted.set_range(Some(new_range()), None, 3_600);
    pair.alpha = restarted;
    // The other node is not late yet.
    assert!(pair.turn(&of_alpha(), 9 * SOON_NS).held.is_empty());
    pair.write(1, |record| record.named = [mark_of("alpha")].into());
    let hears = Knowledge {
        files: FILES[0],
        ..of_beta_known()
    };
    let standing = pair.turn(&hears, 9 * SOON_NS + 1);
    assert_eq!(former_of_late(&pair), None);
    assert!(format!("{:?}", moved(&standing).four).contains(OF_BETA));
    assert_eq!(pair.record(0).former, None);
}

#[test]
fn nobody_is_waited_for_where_the_leases_are_lost_or_two_nodes_have_them() {
    let nobody = |pair: &mut LeasePairFixture| {
        let standing = pair.turn(&of_alpha(), SOON_NS);
        assert_eq!(former_of_late(pair), None);
        assert!(moved(&standing).four.late().next().is_none());
        let fates = moved(&standing).four.fates(|_, _, _| None);
        assert_eq!(fates(ip(7)), crate::dhcp::pool::AddressKnowledge::Unclear);
    };
    // A version that does not record the file of its leases, and files of alpha that are lost.
    nobody(&mut late(files(0, 0)));
    let mut lost = late(FILES[1]);
    lost.write(1, |record| record.node = "alpha".to_owned());
    nobody(&mut lost);
    // Gamma knows what alpha withheld before.
    let mut two = LeasePairFixture::new();
    let gamma = former("gamma", files(9, 0));
    two.write(0, |record| {
        (record.files, record.former) = (FILES[0], gamma)
    });
    two.write(1, |record| record.files = FILES[1]);
    two.turn(&of_alpha(), 0);
    two.alpha.set_range(Some(new_range()), None, 3_600);
    let record = late(FILES[1]).record(1);
    two.write(1, |of_beta| *of_beta = record);
    two.turn(&of_alpha(), 0);
    nobody(&mut two);
    assert_eq!(two.record(0).former, gamma);
}

#[test]
fn a_node_waits_in_vain_for_one_that_is_not_there() {
    let mut pair = late(FILES[1]);
    let is_there = |pair: &mut LeasePairFixture, holder: &'static str| {
        pair.other = holder;
        pair.turn(&of_alpha(), SOON_NS).held[&0].is_former_there
    };
    assert!(is_there(&mut pair, "beta"));
    assert!(!is_there(&mut pair, ""));
    // The node's part was taken, since the node has failed.
    assert!(!is_there(&mut pair, "alpha"));
    // The node was up before alpha took a part, and after.
    pair.seen = vec![3];
    assert!(!is_there(&mut pair, "alpha"));
    pair.seen = vec![4, 0];
    assert!(is_there(&mut pair, "alpha"));
}

#[test]
fn a_node_says_that_it_was_there_after_the_other_one_took_its_part() {
    let mut beta = leases("beta");
    let own = LocalNode {
        address: Some(Ipv4Addr::LOCALHOST),
        ..STORED
    };
    let granted = KnownLease {
        holder: "beta".to_owned(),
        ..lease("@beta", 2, SECOND, Vec::new())
    };
    let mut at = Vec::new();
    for (holder, epochs) in [
        ("", vec![0, 0]),
        ("alpha", vec![0, 7]),
        ("beta", vec![0, 0]),
    ] {
        let part = KnownLease {
            holder: holder.to_owned(),
            ..lease("1", 7, 0, Vec::new())
        };
        let there = KnownLease {
            record: at.clone(),
            ..granted.clone()
        };
        beta.apply_known_leases(&[part, there]);
        let (_, written) = beta.evaluate_parts(&own, &Knowledge::default(), 0);
        let its = written.iter().find(|write| write.name.ends_with("@beta"));
        at.clone_from(&its.unwrap().value);
        assert_eq!(
            codec::decode::<NodeLeaseRecord>(&at).unwrap().epochs,
            epochs,
            "{holder}"
        );
    }
}

/// Beta, which has been handed part 0 by alpha, takes it over.
fn adopt_by_beta(pair: &LeasePairFixture) -> PartAdoption {
    let mut beta = leases("beta");
    beta.set_range(Some(new_range()), None, 3_600);
    let named = PartRecord {
        named: [mark_of("beta")].into(),
        ..pair.record(0)
    };
    let knowledge = Knowledge {
        files: FILES[1],
        copies: [(0, ("alpha".to_owned(), 4))].into(),
        ..Knowledge::default()
    };
    let held = lease("0", 4, 0, codec::encode(&named));
    beta.apply_known_leases(std::slice::from_ref(&held));
    beta.evaluate_parts(&STORED, &knowledge, SOON_NS);
    // More than alpha does, whose part it is.
    assert_eq!(beta.wants(true, SOON_NS)[0].rank, 4);
    beta.apply_known_leases(&[KnownLease {
        epoch: 5,
        until_ns: 9 * SOON_NS,
        holder: "beta".to_owned(),
        ..held
    }]);
    let (standing, _) = beta.evaluate_parts(&STORED, &knowledge, SOON_NS);
    standing.adopts[&0].clone()
}

#[test]
fn two_nodes_that_reach_each_other_again_know_whose_each_address_is() {
    // Alpha gave 4 and 5; beta gave 6, whose client sleeps, and 7. Nobody has 8.
    let (mut alpha, mut beta) = (pool(&[(4, 4), (5, 5)]), pool(&[(6, 6), (7, 7)]));
    let mut pair = late(FILES[1]);
    let standing = pair.turn(&of_alpha(), SOON_NS);
    alpha.take_as(0, 0, moved(&standing).four.fates(|_, _, _| None));
    pair.turn(&of_alpha(), SOON_NS);
    alpha.set_known_elsewhere(0, true);
    let squatter = mac(99);
    for last in [6, 7, 8] {
        assert!(!alpha.handle_arp_reply(ip(last), squatter, 1));
        assert!(alpha.may_be_anothers(squatter, ip(last)));
        assert!(alpha.may_be_anothers(mac(last), ip(last)));
    }
    assert_eq!(alpha.count().known_elsewhere, 3);
    // Beta is down for a while: a client that responds to ARP gets an address then, and keeps it.
    alpha.set_known_elsewhere(0, false);
    alpha.handle_arp_reply(ip(7), mac(9), 2);
    assert_eq!(
        alpha.claim(mac(9), ip(7), ClientRequestState::Renew, 2),
        AddressClaimResult::Yes
    );
    let adopt = adopt_by_beta(&pair);
    assert!(adopt.knowledge.knows_before && !adopt.knowledge.is_left);
    let learns = |to: &mut Pool, from: &Pool, knowledge| {
        let known: Vec<_> = from.known().collect();
        to.adopt(0, known, knowledge, 3);
    };
    learns(&mut beta, &alpha, adopt.knowledge);
    let once: Vec<_> = beta.known().collect();
    learns(&mut beta, &alpha, adopt.knowledge);
    assert_eq!(beta.known().collect::<Vec<_>>(), once);
    let holders = [4, 5, 6].map(|last| (ip(last), Holder::Client(mac(last))));
    let all = holders.into_iter().chain([(ip(7), Holder::Client(mac(9)))]);
    assert_eq!(once, all.collect::<Vec<_>>());
    beta.take(0, true, 3);
    // 3 and 8 are free.
    assert_eq!(beta.free(), 2);
    alpha.give_up(0);
    learns(&mut alpha, &beta, AdoptedKnowledge::default());
    assert_eq!(alpha.known().collect::<Vec<_>>(), once);
}
