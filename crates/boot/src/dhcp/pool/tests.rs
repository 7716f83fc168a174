//! Tests parts that return from a node that did not know their leases.

use super::*;

const LEASE_S: u32 = 3_600;
const PARTS: u32 = 1;

fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, last)
}

fn mac(last: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, last])
}

fn knows(knows_before: bool, is_left: bool) -> AdoptedKnowledge {
    AdoptedKnowledge {
        knows_before,
        is_left,
    }
}

/// Builds a node that holds nothing, and knows these leases.
fn node(known: &[(u8, u8)]) -> Pool {
    let range = Range {
        first: ip(100),
        last: ip(107),
        parts: PARTS,
    };
    let known = known.iter();
    let known = known.map(|(last, client)| (ip(*last), Holder::Client(mac(*client))));
    Pool::new(range, LEASE_S, 0, HashSet::new(), known, 0)
}

/// Returns the state of all addresses at one node.
fn copy(pool: &Pool) -> Vec<(Ipv4Addr, Holder)> {
    pool.known().collect()
}

#[test]
fn a_node_that_gets_a_part_back_knows_what_was_withheld_because_of_it_and_nothing_else() {
    let mut alpha = node(&[(100, 1), (101, 2), (102, 3), (103, 4), (104, 5)]);
    let mut beta = node(&[]);
    beta.take_as(0, 0, |_| AddressKnowledge::Before);
    assert_eq!(beta.free(), 0);
    // Client 1 renews, client 2 has moved to an unused address; two addresses are in use by others.
    assert_eq!(
        beta.claim(mac(1), ip(100), ClientRequestState::Renew, 1),
        AddressClaimResult::Yes
    );
    assert_eq!(
        beta.claim(mac(2), ip(106), ClientRequestState::Renew, 1),
        AddressClaimResult::Yes
    );
    assert!(beta.decline(ip(102), 1) && beta.decline(ip(107), 1));
    alpha.adopt(0, copy(&beta), knows(true, false), 2);
    alpha.take(0, true, 2);
    let all: Vec<_> = (100..=107).map(|last| alpha.holder(ip(last))).collect();
    let client = |last| Holder::Client(mac(last));
    assert_eq!(
        all,
        [
            client(1),
            // Nobody knows which of its two addresses this client uses.
            Holder::Unclear(Some(mac(2))),
            Holder::Unclear(Some(mac(3))),
            client(4),
            client(5),
            Holder::Nobody,
            client(2),
            Holder::Unclear(None),
        ]
    );
    assert_eq!(alpha.offer(mac(9), None, 3), Ok(ip(105)));
}

#[test]
fn what_a_node_did_not_know_is_the_clients_that_the_other_one_knew() {
    // Alpha did not know 100 to 103 and 105, of which beta assigned four. Beta takes the part,
    // and alpha gets it back.
    let mut alpha = node(&[(102, 9), (104, 5)]);
    for last in [100, 101, 105] {
        alpha.know(ip(last), Holder::Before(None), None, 1_000_000, 0);
    }
    alpha.know(ip(103), Holder::Before(Some(mac(8))), None, 1_000_000, 0);
    let mut beta = node(&[(100, 1), (101, 2), (102, 3), (103, 4)]);
    beta.take_as(0, 0, |address| {
        if address == ip(104) {
            AddressKnowledge::Before
        } else {
            AddressKnowledge::Also(Holder::Before(None))
        }
    });
    // The client renews its address; another address is only withheld, and no other client gets
    // it.
    assert_eq!(
        beta.claim(mac(2), ip(101), ClientRequestState::Renew, 1),
        AddressClaimResult::Yes
    );
    assert!(beta.may_be_anothers(mac(9), ip(100)) && !beta.may_be_anothers(mac(1), ip(100)));
    alpha.adopt(0, copy(&beta), knows(true, true), 2);
    let client = |number| Holder::Client(mac(number));
    let unclear = |number| Holder::Unclear(Some(mac(number)));
    // Alpha has assigned 102 since. The two disagree about 103. No node assigned 105.
    let holders = [
        client(1),
        client(2),
        unclear(9),
        unclear(8),
        client(5),
        Holder::Nobody,
    ];
    let of = |alpha: &Pool| [100, 101, 102, 103, 104, 105].map(|last| alpha.holder(ip(last)));
    assert_eq!(of(&alpha), holders);
    // The same exchange once more.
    alpha.adopt(0, copy(&beta), knows(true, true), 2);
    assert_eq!(of(&alpha), holders);
}

#[test]
fn a_node_that_gets_a_part_of_another_one_believes_what_is_withheld() {
    let mut alpha = node(&[(100, 1)]);
    let mut beta = node(&[]);
    beta.take_as(0, 0, |_| AddressKnowledge::Before);
    alpha.adopt(0, copy(&beta), knows(false, false), 1);
    alpha.take(0, true, 1);
    assert_eq!(alpha.offer(mac(9), None, 2), Err(OfferError::Full));
    // The client is still known.
    assert!(!alpha.may_be_anothers(mac(1), ip(100)) && alpha.may_be_anothers(mac(2), ip(100)));
    // Addresses withheld because of another node stay so on its disk.
    assert!(
        copy(&alpha)
            .iter()
            .all(|(_, holder)| matches!(holder, Holder::Before(_)))
    );
}

#[test]
fn what_no_node_knows_any_more_is_not_believed_to_be_known_by_another_one() {
    let mut beta = node(&[]);
    beta.take_as(0, 0, |_| AddressKnowledge::Before);
    beta.has_no_former(0);
    assert!(
        copy(&beta)
            .iter()
            .all(|(_, holder)| *holder == Holder::Unclear(None))
    );
    let mut alpha = node(&[]);
    alpha.adopt(0, copy(&beta), knows(true, false), 1);
    alpha.take(0, true, 1);
    assert_eq!(alpha.offer(mac(9), None, 2), Err(OfferError::Full));
}

#[test]
fn whose_a_withheld_address_is_outlives_a_restart() {
    let range = node(&[]).range;
    let mut beta = node(&[(100, 1)]);
    beta.take_as(0, 0, |_| AddressKnowledge::Before);
    let mut next = Pool::new(range, LEASE_S, 0, HashSet::new(), copy(&beta), 0);
    next.take(0, true, 0);
    assert!(!next.may_be_anothers(mac(1), ip(100)) && next.may_be_anothers(mac(2), ip(100)));
    assert_eq!(
        next.claim(mac(1), ip(100), ClientRequestState::Renew, 1),
        AddressClaimResult::Yes
    );
    assert_eq!(next.offer(mac(9), None, 2), Err(OfferError::Full));
}

#[test]
fn address_that_other_sections_name_stays_its_clients_and_is_offered_to_nobody_else() {
    let range = node(&[]).range;
    let known = [(ip(100), Holder::Client(mac(1)))];
    let mut pool = Pool::new(range, LEASE_S, 0, HashSet::new(), known, 0);
    pool.set_unoffered((100..=106).map(ip).collect());
    pool.take(0, true, 0);
    assert_eq!(
        pool.claim(mac(1), ip(100), ClientRequestState::Renew, 1),
        AddressClaimResult::Yes
    );
    assert_eq!(pool.offer(mac(9), Some(ip(101)), 1), Ok(ip(107)));
    assert_eq!(pool.offer(mac(8), None, 1), Err(OfferError::Full));
    assert!(pool.is_unused(ip(101)) && !pool.is_unused(ip(100)));
    // An address that its client released is not offered either.
    assert!(pool.release(mac(1), ip(100), 10_000_000));
    pool.expire(20_000_000);
    assert_eq!(pool.offer(mac(8), Some(ip(100)), 20_000_000), Ok(ip(107)));
    assert_eq!(
        pool.offer(mac(7), Some(ip(100)), 20_000_000),
        Err(OfferError::Full)
    );
}
