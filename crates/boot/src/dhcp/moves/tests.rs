//! Tests which addresses of a part are withheld after the range has changed.

use super::super::pool::Pool;
use super::*;
use crate::mac::Mac;
use std::collections::HashSet;

fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, last)
}

fn range(first: u8, last: u8) -> Range {
    Range {
        first: ip(first),
        last: ip(last),
        parts: 2,
    }
}

fn span(first: u8, last: u8) -> Span {
    Span {
        first: ip(first),
        last: ip(last),
    }
}

fn claim(range: Range) -> PartClaim {
    PartClaim {
        range: Some(range),
        past: None,
    }
}

/// Builds the claim of a part that had another range before.
fn moved(part: usize, from: Range, to: Range) -> PartClaim {
    PartClaim {
        range: Some(to),
        past: claim(from).past_with(part, Some(to), 2, true),
    }
}

/// Builds a part whose holder withholds what this node knows.
fn of_former(other: OtherPart) -> OtherPart {
    OtherPart {
        is_former: true,
        ..other
    }
}

fn other(part: usize, claim: PartClaim, knows: LeaseKnowledge) -> OtherPart {
    OtherPart {
        part,
        claim,
        knows,
        is_former: false,
    }
}

fn copy() -> LeaseKnowledge {
    LeaseKnowledge::Copy("beta".to_owned(), 4)
}

/// Returns the addresses of a part with a fate, by a copy in which 130 is a client's.
fn fates(judged: &PartDecision, addresses: [u8; 4]) -> [AddressKnowledge; 4] {
    let PartDecision::Takes(taking) = judged else {
        panic!("{judged:?}")
    };
    let known = BTreeMap::from([(ip(130), Holder::Unclear(None))]);
    let fates = taking
        .fates(|part, node, epoch| ((part, node, epoch) == (1, "beta", 4)).then(|| known.clone()));
    addresses.map(|last| fates(ip(last)))
}

const OLD: (u8, u8) = (100, 149);
const NEW: (u8, u8) = (120, 199);

fn ranges() -> (Range, Range) {
    (range(OLD.0, OLD.1), range(NEW.0, NEW.1))
}

#[test]
fn a_range_that_moves_withholds_nothing_where_the_other_nodes_leases_are_known() {
    let (old, new) = ranges();
    let base = PartBasis::Own(claim(old));
    let at = |other: OtherPart| judge(0, Some(new), &base, &[other], false);
    // The other node may still assign 125 to 149.
    assert_eq!(at(other(1, claim(old), copy())), PartDecision::Waits(1));
    assert_eq!(
        at(other(1, moved(1, old, new), LeaseKnowledge::NotYet)),
        PartDecision::Soon(1)
    );
    let judged = at(other(1, moved(1, old, new), copy()));
    // An earlier lease of its own, one of the other node, a free address of the other node, and a
    // new one.
    assert_eq!(
        fates(&judged, [120, 130, 131, 159]),
        [
            AddressKnowledge::Known,
            AddressKnowledge::Is(Holder::Unclear(None)),
            AddressKnowledge::Is(Holder::Nobody),
            AddressKnowledge::Known
        ]
    );
    // The other node gets no address of this one: all of its addresses are new.
    let judged = judge(
        1,
        Some(new),
        &base,
        &[other(0, moved(0, old, new), LeaseKnowledge::NotYet)],
        false,
    );
    assert_eq!(
        fates(&judged, [160, 170, 180, 199]),
        [AddressKnowledge::Known; 4]
    );
}

#[test]
fn only_addresses_that_another_node_gave_are_withheld_where_its_leases_are_not_known() {
    let (old, new) = ranges();
    let base = PartBasis::Own(claim(old));
    let late = |claim, knows| judge(0, Some(new), &base, &[other(1, claim, knows)], true);
    let withheld = [
        AddressKnowledge::Known,
        AddressKnowledge::Unclear,
        AddressKnowledge::Unclear,
        AddressKnowledge::Known,
    ];
    let judged = late(moved(1, old, new), LeaseKnowledge::NotYet);
    // The other node is up, and knows the leases.
    assert_eq!(
        fates(&judged, [124, 125, 149, 150]),
        [
            AddressKnowledge::Known,
            AddressKnowledge::Before,
            AddressKnowledge::Before,
            AddressKnowledge::Known
        ]
    );
    let PartDecision::Takes(mut taking) = judged else {
        panic!("{judged:?}")
    };
    assert_eq!(taking.late().collect::<Vec<_>>(), [1]);
    taking.give_up_late();
    let judged = PartDecision::Takes(taking);
    assert_eq!(fates(&judged, [124, 125, 149, 150]), withheld);
    // A copy that is lost by now, and a copy whose node does not know all leases itself.
    let lost = LeaseKnowledge::Copy("beta".to_owned(), 5);
    let judged = late(moved(1, old, new), lost);
    assert_eq!(fates(&judged, [124, 125, 149, 150]), withheld);
    let unknown = PartClaim {
        past: claim(old).past_with(1, Some(new), 2, false),
        ..claim(new)
    };
    let judged = judge(0, Some(new), &base, &[other(1, unknown, copy())], false);
    assert_eq!(fates(&judged, [124, 125, 149, 150]), withheld);
    // No leases are known of a part that this node did not hold.
    let judged = judge(0, Some(new), &PartBasis::Unknown, &[], false);
    assert_eq!(
        fates(&judged, [120, 130, 131, 159]),
        [AddressKnowledge::Unclear; 4]
    );
}

#[test]
fn a_range_that_comes_back_has_leases_of_before_it_left() {
    let (old, new) = ranges();
    // Part 0 had 100 to 124, then 120 to 159, now 100 to 124 again.
    let past = moved(0, old, new);
    let base = PartBasis::Own(past);
    let judged = judge(0, Some(old), &base, &[], false);
    assert_eq!(
        fates(&judged, [100, 119, 120, 124]),
        [AddressKnowledge::Known; 4]
    );
    let unknown = PartClaim {
        past: claim(old).past_with(0, Some(new), 2, false),
        ..past
    };
    let judged = judge(0, Some(old), &PartBasis::Own(unknown), &[], false);
    assert_eq!(
        fates(&judged, [100, 119, 120, 124]),
        [
            AddressKnowledge::Unclear,
            AddressKnowledge::Unclear,
            AddressKnowledge::Known,
            AddressKnowledge::Known
        ]
    );
}

#[test]
fn what_two_may_have_given_is_known_from_both_and_a_part_that_is_gone_is_withheld() {
    let (old, new) = ranges();
    let base = PartBasis::Own(moved(0, range(140, 199), old));
    let others = [other(1, moved(1, old, new), copy())];
    let judged = judge(0, Some(new), &base, &others, false);
    assert_eq!(
        fates(&judged, [131, 139, 140, 149]),
        [
            AddressKnowledge::Is(Holder::Nobody),
            AddressKnowledge::Is(Holder::Nobody),
            AddressKnowledge::Also(Holder::Nobody),
            AddressKnowledge::Also(Holder::Nobody)
        ]
    );
    let three = Range { parts: 3, ..old };
    let judged = judge(0, Some(new), &PartBasis::Own(claim(three)), &[], false);
    // The third part had 134 to 149.
    assert_eq!(
        fates(&judged, [133, 134, 149, 150]),
        [
            AddressKnowledge::Known,
            AddressKnowledge::Unclear,
            AddressKnowledge::Unclear,
            AddressKnowledge::Known
        ]
    );
}

#[test]
fn what_another_node_withholds_because_of_this_one_is_this_ones_own() {
    let (old, new) = ranges();
    let base = PartBasis::Own(claim(old));
    let fate = |other: OtherPart, holder: Holder| {
        let PartDecision::Takes(taking) = judge(0, Some(new), &base, &[other], false) else {
            panic!("it waits")
        };
        taking.fates(|_, _, _| Some([(ip(130), holder)].into()))(ip(130))
    };
    let beta = || other(1, moved(1, old, new), copy());
    let before = Holder::Before(None);
    assert_eq!(fate(of_former(beta()), before), AddressKnowledge::Known);
    assert_eq!(
        fate(beta(), before),
        AddressKnowledge::Is(Holder::Unclear(None))
    );
    // The leases that the node gave, and those that no node knows, have the same state in any
    // case.
    let given = Holder::Client(Mac([2, 0, 0, 0, 0, 1]));
    for holder in [given, Holder::Unclear(None)] {
        assert_eq!(
            fate(of_former(beta()), holder),
            AddressKnowledge::Is(holder)
        );
    }
}

#[test]
fn an_address_that_both_gave_is_withheld_unless_they_gave_it_to_the_same_client() {
    let client = |number: u8| Holder::Client(Mac([2, 0, 0, 0, 0, number]));
    let whole = Range {
        parts: 1,
        ..range(100, 105)
    };
    let own = [
        (ip(100), client(1)),
        (ip(101), client(2)),
        (ip(102), client(3)),
    ];
    let mut pool = Pool::new(whole, 3_600, 3_600, HashSet::new(), own, 0);
    pool.take_as(0, 0, |address| {
        AddressKnowledge::Also(match address.octets()[3] {
            101 => client(2),
            102 | 103 => client(4),
            104 => Holder::Unclear(None),
            _ => Holder::Nobody,
        })
    });
    let known: Vec<_> = pool.known().map(|(_, holder)| holder).collect();
    let unclear = Holder::Unclear(None);
    assert_eq!(known, [client(1), client(2), unclear, client(4), unclear]);
    assert_eq!(pool.free(), 1);
}

#[test]
fn a_part_that_has_not_settled_has_its_own_leases_of_before_and_those_of_its_range() {
    let (old, new) = ranges();
    let unsettled = moved(0, old, new).unsettled(0);
    let known = |first, last| {
        Some(PastAddresses {
            span: span(first, last),
            is_known: true,
        })
    };
    assert_eq!((unsettled.range, unsettled.past), (None, known(100, 159)));
    assert_eq!(claim(old).unsettled(1).past, known(125, 149));
}

#[test]
fn the_past_of_a_part_grows_with_each_range_and_is_known_as_long_as_all_of_it_is() {
    let (old, new) = ranges();
    let one = moved(0, old, new);
    let known = |span, is_known| Some(PastAddresses { span, is_known });
    assert_eq!(one.past, known(span(100, 124), true));
    assert_eq!(one.past_with(0, Some(new), 2, true), one.past);
    assert_eq!(one.past_with(0, None, 2, true), known(span(100, 159), true));
    let unknown = one.past_with(0, Some(new), 2, false);
    assert_eq!(unknown, known(span(100, 124), false));
    let later = PartClaim {
        past: unknown,
        ..one
    };
    assert_eq!(
        later.past_with(0, None, 2, true),
        known(span(100, 159), false)
    );
    assert_eq!(claim(new).past_with(0, Some(new), 2, true), None);
    // When three parts become two, the leases of the third part are not known.
    let three = claim(Range { parts: 3, ..old });
    assert_eq!(
        three.past_with(1, Some(new), 2, true),
        known(span(117, 149), false)
    );
}

#[test]
fn ranges_have_other_marks_and_so_have_other_numbers_of_parts() {
    let (old, new) = ranges();
    let three = Range { parts: 3, ..old };
    let marks = [mark_of(Some(old)), mark_of(Some(new)), mark_of(Some(three))];
    assert!(marks[0] != marks[1] && marks[0] != marks[2] && !marks.contains(&0));
    assert_eq!(mark_of::<Ipv4Addr>(None), 0);
}
