//! Tests which node wants, takes and gives up which part, and the records that it writes.

mod former;
mod late;
mod longest;
mod lost;

use super::moved::SOON_NS;
use super::record::{EncodedPartRecord, FormerHolder};
use super::*;
use crate::dhcp::moves::PastAddresses;
use crate::dhcp::range::Span;
use part::role::{RECORD_BYTES_MAX, SHORT_RECORD_BYTES_MAX};

const SECOND: u64 = 1_000_000_000;
/// A node without addresses, all of whose leases are on its disk.
const STORED: LocalNode<'static> = LocalNode {
    address: None,
    address6: None,
    orders: &[],
    is_stored: true,
};
/// Node as [`STORED`], with a machine that has a boot order.
const ORDERED: LocalNode<'static> = LocalNode {
    orders: &[7],
    ..STORED
};

const fn files(four: u32, six: u32) -> LeaseFiles {
    LeaseFiles { four, six }
}

/// Identifies a node that knows what is withheld.
fn former(node: &str, files: LeaseFiles) -> Option<FormerHolder> {
    FormerHolder::new(node, files)
}

/// Addresses that were assigned by a previous range.
fn past<A>(range: Range<A>, is_known: bool) -> Option<PastAddresses<A>> {
    let Range { first, last, .. } = range;
    let span = Span { first, last };
    Some(PastAddresses { span, is_known })
}

fn only_four(range: Range) -> NetworkRanges {
    NetworkRanges::new(Some(range), None)
}

fn nodes() -> Vec<String> {
    vec!["alpha".to_owned(), "beta".to_owned()]
}

fn range(first: u8, last: u8) -> Range {
    Range {
        first: Ipv4Addr::new(10, 0, 0, first),
        last: Ipv4Addr::new(10, 0, 0, last),
        parts: 2,
    }
}

fn leases(me: &str) -> ClusterLeases {
    let mut leases = ClusterLeases::new("lan", me, &nodes());
    leases.set_range(Some(range(1, 10)), None, 3_600);
    leases
}

/// Runs a turn of a node that knows nothing of others.
fn turn(leases: &mut ClusterLeases) -> (NodeLeaseStatus, Vec<LeaseRecord>) {
    turn_at(leases, 0)
}

fn turn_at(leases: &mut ClusterLeases, now_ns: u64) -> (NodeLeaseStatus, Vec<LeaseRecord>) {
    leases.evaluate_parts(&ORDERED, &Knowledge::default(), now_ns)
}

fn lease(name: &str, epoch: u64, until_ns: u64, record: Vec<u8>) -> KnownLease {
    KnownLease {
        name: format!("boot/lan/{name}"),
        epoch,
        until_ns,
        holder: "alpha".to_owned(),
        number: 3,
        record,
        is_inherited: false,
    }
}

/// Returns the leases that a node wants, and their ranks.
fn ranks(leases: &ClusterLeases, is_able: bool) -> [u32; 4] {
    let wants = leases.wants(is_able, 0);
    let names = ["0", "1", "@alpha", "@beta"].map(|name| format!("boot/lan/{name}"));
    assert_eq!(
        wants.iter().map(|want| &want.name).collect::<Vec<_>>(),
        names.iter().collect::<Vec<_>>()
    );
    assert!(wants.iter().all(|want| want.watch == (want.rank == 0)));
    [0, 1, 2, 3].map(|at: usize| wants[at].rank)
}

/// Builds a lease of alpha's that has no holder, or this one.
fn held_by(holder: &str, name: &str, record: Vec<u8>) -> KnownLease {
    KnownLease {
        holder: holder.to_owned(),
        ..lease(name, 4, 0, record)
    }
}

#[test]
fn a_node_wants_its_own_part_most_and_watches_where_it_has_no_address() {
    let mut beta = leases("beta");
    let of_beta = of_beta(beta.ranges, &[]);
    beta.apply_known_leases(&[
        held_by("beta", "@beta", Vec::new()),
        held_by(
            "",
            "0",
            codec::encode(&PartRecord {
                node: "beta".to_owned(),
                ..codec::decode(&of_beta).unwrap()
            }),
        ),
    ]);
    assert_eq!(ranks(&beta, true), [2, 3, 0, 1]);
    assert_eq!(ranks(&beta, false), [0; 4]);
}

#[test]
fn new_part_is_left_to_its_own_node_for_a_while() {
    let mut beta = leases("beta");
    let at = |beta: &mut ClusterLeases, known: &[KnownLease], now_ns| {
        beta.apply_known_leases(known);
        turn_at(beta, now_ns);
        let wants = beta.wants(true, now_ns);
        (wants[0].rank, wants[1].rank)
    };
    let own = held_by("beta", "@beta", Vec::new());
    let new = [own.clone()];
    assert_eq!(at(&mut beta, &new, SECOND), (0, 3));
    let free = [own.clone(), held_by("", "0", Vec::new())];
    assert_eq!(at(&mut beta, &free, SECOND + NEW_NS - 1), (0, 3));
    assert_eq!(at(&mut beta, &free, SECOND + NEW_NS), (2, 3));
    // A part that a node has held before does not wait.
    let mut beta = leases("beta");
    let record = of_beta(beta.ranges, &[]);
    let held = [own, held_by("", "0", record)];
    assert_eq!(at(&mut beta, &held, SECOND), (2, 3));
}

#[test]
fn a_node_that_has_just_begun_waits_until_it_has_heard_whose_the_parts_are() {
    let mut alpha = leases("alpha");
    assert_eq!(ranks(&alpha, true), [0, 0, 1, 0]);
    // Beta has the leases, and what it gives is unknown here.
    let record = of_beta(alpha.ranges, &[]);
    alpha.apply_known_leases(&[
        held_by("beta", "0", record.clone()),
        held_by("beta", "1", Vec::new()),
        held_by("", "@alpha", Vec::new()),
    ]);
    assert_eq!(ranks(&alpha, true), [0, 0, 1, 0]);
    // No node has the leases now.
    alpha.apply_known_leases(&[held_by("", "0", record), held_by("", "1", Vec::new())]);
    // A new part is beta's own at first.
    assert_eq!(ranks(&alpha, true), [0, 0, 1, 0]);
    // The node held the part itself.
    let mut own: PartRecord = codec::decode(&of_beta(alpha.ranges, &[])).unwrap();
    own.node = "alpha".to_owned();
    alpha.apply_known_leases(&[held_by("", "0", codec::encode(&own))]);
    assert_eq!(ranks(&alpha, true), [3, 0, 1, 0]);
}

#[test]
fn a_part_is_used_only_when_its_record_names_this_node() {
    let mut alpha = leases("alpha");
    alpha.apply_known_leases(&[lease("0", 5, SECOND, Vec::new())]);
    let (standing, written) = alpha.evaluate_parts(&ORDERED, &Knowledge::default(), 0);
    assert_eq!(standing.held, BTreeMap::new());
    let [write] = &written[..] else {
        panic!("{written:?}")
    };
    assert_eq!((write.epoch.0, write.number), (5, 4));
    let clear = |write: &LeaseRecord| codec::decode::<PartRecord>(&write.value).unwrap().clear;
    assert!(!clear(write));
    alpha.apply_known_leases(&[lease("0", 5, SECOND, write.value.clone())]);
    let (standing, written) = turn(&mut alpha);
    let held = HeldPart {
        has_all_leases: true,
        has_turns: true,
        until_ms: 1_000,
        epoch: 5,
        ..HeldPart::default()
    };
    assert_eq!(
        (standing.held, standing.orders),
        ([(0, held)].into(), vec![7])
    );
    // By now it is clear that no other node assigns its addresses by another range.
    assert!(clear(&written[0]));
    alpha.apply_known_leases(&[lease("0", 5, SECOND, written[0].value.clone())]);
    assert_eq!(turn(&mut alpha).1, []);
    // The cluster lease has ended.
    assert_eq!(
        alpha
            .evaluate_parts(&ORDERED, &Knowledge::default(), SECOND)
            .0
            .held,
        BTreeMap::new()
    );
}

#[test]
fn a_part_that_another_node_had_or_that_was_not_clear_has_leases_that_are_not_known() {
    let mut alpha = leases("alpha");
    let by = |node: &str, ranges, clear| {
        let node = node.to_owned();
        codec::encode(&PartRecord {
            node,
            clear,
            turns: true,
            ranges,
            ..PartRecord::default()
        })
    };
    let other = only_four(range(1, 2));
    let records = [
        by("beta", alpha.ranges, true),
        by("beta", other, true),
        by("alpha", alpha.ranges, false),
        by("alpha", other, false),
    ];
    for (epoch, record) in (5..).zip(records) {
        alpha.apply_known_leases(&[lease("0", epoch, 2 * AWAIT_NS, record)]);
        // The node leaves the part to one that knows its leases first.
        turn(&mut alpha);
        let (standing, written) = turn_at(&mut alpha, AWAIT_NS);
        assert_eq!(standing.held, BTreeMap::new());
        alpha.apply_known_leases(&[lease("0", epoch, 2 * AWAIT_NS, written[0].value.clone())]);
        let (standing, _) = turn_at(&mut alpha, AWAIT_NS);
        assert!(!standing.held[&0].has_all_leases, "{epoch}");
        assert_eq!(standing.held[&0].moved, None, "{epoch}");
    }
}

/// Builds a record of beta for part 0, whose leases these nodes know.
fn of_beta(ranges: NetworkRanges, named: &[&str]) -> Vec<u8> {
    codec::encode(&PartRecord {
        node: "beta".to_owned(),
        clear: true,
        turns: true,
        ranges,
        epoch: 4,
        named: named.iter().map(|node| mark_of(node)).collect(),
        ..PartRecord::default()
    })
}

fn knowledge(epoch: u64) -> Knowledge {
    Knowledge {
        copies: [(0, ("beta".to_owned(), epoch))].into(),
        ..Knowledge::default()
    }
}

#[test]
fn leases_are_taken_over_if_the_record_names_this_node_and_the_copy_is_of_its_epoch() {
    let turn = |named: &[&str], knowledge: &Knowledge, now_ns| {
        let mut alpha = leases("alpha");
        let record = of_beta(alpha.ranges, named);
        alpha.apply_known_leases(&[lease("0", 5, 2 * AWAIT_NS, record)]);
        // Alpha may have tried to adopt the part before.
        alpha.evaluate_parts(&STORED, &self::knowledge(4), 0);
        alpha.evaluate_parts(&STORED, knowledge, 1);
        alpha.evaluate_parts(&STORED, knowledge, now_ns)
    };
    let (standing, written) = turn(&["alpha"], &knowledge(4), 1);
    let adopt = PartAdoption {
        node: "beta".to_owned(),
        epoch: 4,
        into: 5,
        longest_s: 0,
        knowledge: AdoptedKnowledge::default(),
    };
    assert_eq!(standing.adopts, [(0, adopt)].into());
    // Only after the leases are on disk: the record would hide that they are beta's.
    assert_eq!(written, []);
    let clear = |(_, written): (NodeLeaseStatus, Vec<LeaseRecord>)| {
        let record: PartRecord = codec::decode(&written[0].value).unwrap();
        record.clear
    };
    let adopted = Knowledge {
        adopted: [(0, 5)].into(),
        ..knowledge(4)
    };
    assert!(clear(turn(&["alpha"], &adopted, 1)));
    let late = 1 + AWAIT_NS;
    // A copy of another epoch, no copy, a record without this node, and one that takes too long.
    assert!(!clear(turn(&["alpha"], &knowledge(3), late)));
    assert!(!clear(turn(&["alpha"], &Knowledge::default(), late)));
    assert!(!clear(turn(&["gamma"], &knowledge(4), late)));
    assert!(!clear(turn(&["alpha"], &knowledge(4), ADOPT_NS + 1)));
}

/// Beta had part 0, and alpha has taken its leases over: alpha, and its first record.
fn taken_back() -> (ClusterLeases, PartRecord, Knowledge) {
    let mut alpha = leases("alpha");
    let beta = KnownLease {
        holder: "beta".to_owned(),
        ..lease("@beta", 1, SECOND, Vec::new())
    };
    let part = |number, record| KnownLease {
        number,
        ..lease("0", 5, 9 * SECOND, record)
    };
    alpha.apply_known_leases(&[part(3, of_beta(alpha.ranges, &["alpha"])), beta.clone()]);
    let knowledge = Knowledge {
        adopted: [(0, 5)].into(),
        linked: ["beta".to_owned()].into(),
        ..knowledge(4)
    };
    let (_, written) = alpha.evaluate_parts(&STORED, &knowledge, SECOND);
    alpha.apply_known_leases(&[part(4, written[0].value.clone()), beta]);
    let record = codec::decode(&written[0].value).unwrap();
    (alpha, record, knowledge)
}

#[test]
fn nobody_hears_of_a_lease_of_a_part_that_came_back_until_the_node_before_knows_all() {
    let (mut alpha, first, knowledge) = taken_back();
    assert!(first.clear && first.is_unheard);
    assert_eq!(first.named, [mark_of("beta")].into());
    let mut at = |knowledge: &Knowledge, now_ns| {
        let (standing, written) = alpha.evaluate_parts(&LocalNode::default(), knowledge, now_ns);
        let next = written
            .first()
            .map(|one| codec::decode(&one.value).unwrap());
        (standing.held[&0].is_unheard, next)
    };
    assert_eq!(at(&knowledge, SECOND + UNHEARD_NS - 1), (true, None));
    let record = |named: &[&str]| PartRecord {
        named: named.iter().map(|node| mark_of(node)).collect(),
        is_unheard: false,
        ..first.clone()
    };
    let knows = Knowledge {
        in_step: [(0, (5, ["beta".to_owned()].into()))].into(),
        ..knowledge.clone()
    };
    // Clients get leases when that record is written.
    assert_eq!(at(&knows, SECOND), (true, Some(record(&["beta"]))));
    // Beta did not learn the leases in time, or cannot.
    let (mut alpha, ..) = taken_back();
    let written = |knowledge: &Knowledge, now_ns| {
        let (_, written) = alpha.clone().evaluate_parts(&STORED, knowledge, now_ns);
        written
            .first()
            .map(|one| codec::decode::<PartRecord>(&one.value).unwrap())
    };
    let late = SECOND + UNHEARD_NS;
    assert_eq!(written(&knowledge, late), Some(record(&[])));
    let unlinked = Knowledge {
        linked: BTreeSet::new(),
        ..knowledge.clone()
    };
    assert_eq!(written(&unlinked, SECOND), Some(record(&[])));
    // Once a record says that clients may have got leases, that stays so.
    let heard = codec::encode(&record(&[]));
    alpha.apply_known_leases(&[lease("0", 5, 9 * SECOND, heard)]);
    let (standing, written) = alpha.evaluate_parts(&STORED, &knowledge, SECOND);
    assert!(!standing.held[&0].is_unheard && written.is_empty());
}

#[test]
fn a_node_whose_part_was_taken_back_for_a_moment_knows_its_leases() {
    let (_, first, knowledge) = taken_back();
    let takes = |record: &PartRecord, me: &str, network: Option<Range>| {
        let mut node = ClusterLeases::new("lan", me, &nodes());
        node.set_range(network, None, 3_600);
        let own = lease(&format!("@{me}"), 1, 0, Vec::new());
        let part = KnownLease {
            holder: me.to_owned(),
            ..lease("0", 6, 2 * AWAIT_NS, codec::encode(record))
        };
        node.apply_known_leases(&[own.clone(), held_by("alpha", "0", codec::encode(record))]);
        let rank = node.wants(true, 0)[0].rank;
        node.apply_known_leases(&[own, part]);
        turn(&mut node);
        let (_, written) = turn_at(&mut node, AWAIT_NS);
        let next: PartRecord = codec::decode(&written[0].value).unwrap();
        (rank, next.clear)
    };
    let same = Some(range(1, 10));
    assert_eq!(takes(&first, "beta", same), (2, true));
    assert_eq!(takes(&first, "gamma", same), (0, false));
    assert_eq!(takes(&first, "beta", Some(range(1, 11))), (0, false));
    let mut heard = first.clone();
    heard.is_unheard = false;
    assert_eq!(takes(&heard, "beta", same), (0, false));
    let mut unclear = first.clone();
    unclear.clear = false;
    assert_eq!(takes(&unclear, "beta", same), (0, false));
    // Alpha itself, repeatedly: beta knows all leases as long as no client gets one.
    let mut alpha = leases("alpha");
    let beta = KnownLease {
        holder: "beta".to_owned(),
        ..lease("@beta", 1, SECOND, Vec::new())
    };
    alpha.apply_known_leases(&[lease("0", 6, 9 * SECOND, codec::encode(&first)), beta]);
    let (_, written) = alpha.evaluate_parts(&STORED, &knowledge, 0);
    let next: PartRecord = codec::decode(&written[0].value).unwrap();
    assert_eq!(next, PartRecord { epoch: 6, ..first });
}

#[test]
fn a_node_wants_its_part_back_when_it_knows_the_leases() {
    let rank = |named: &[&str], knowledge: &Knowledge| {
        let mut alpha = leases("alpha");
        let record = of_beta(alpha.ranges, named);
        let held = KnownLease {
            holder: "beta".to_owned(),
            ..lease("0", 4, 0, record)
        };
        alpha.apply_known_leases(&[held]);
        alpha.evaluate_parts(&STORED, knowledge, 0);
        alpha.wants(true, AWAIT_NS)[0].rank
    };
    assert_eq!(rank(&["alpha"], &knowledge(4)), 3);
    assert_eq!(rank(&["alpha"], &knowledge(3)), 1);
    assert_eq!(rank(&[], &knowledge(4)), 1);
}

#[test]
fn a_node_counts_as_named_from_when_it_is_written_until_a_record_without_it_is_there() {
    let mut alpha = leases("alpha");
    let named = |standing: &NodeLeaseStatus| standing.held[&0].named.clone();
    let beta: BTreeSet<String> = ["beta".to_owned()].into();
    let knows = |nodes: &BTreeSet<String>| Knowledge {
        in_step: [(0, (5, nodes.clone()))].into(),
        ..Knowledge::default()
    };
    alpha.apply_known_leases(&[lease("0", 5, SECOND, by_alpha(alpha.ranges, &[]))]);
    let first = lease("0", 5, SECOND, by_alpha(alpha.ranges, &[]));
    alpha.apply_known_leases(std::slice::from_ref(&first));
    let (standing, written) = alpha.evaluate_parts(&STORED, &knows(&beta), 0);
    assert_eq!(named(&standing), beta);
    // The write is late, and may yet take effect.
    let none = BTreeSet::new();
    let (standing, _) = alpha.evaluate_parts(&STORED, &knows(&none), 0);
    assert_eq!(named(&standing), beta);
    alpha.apply_known_leases(&[KnownLease {
        number: written[0].number,
        record: written[0].value.clone(),
        ..first.clone()
    }]);
    let (standing, written) = alpha.evaluate_parts(&STORED, &knows(&none), 0);
    assert_eq!(named(&standing), beta);
    alpha.apply_known_leases(&[KnownLease {
        number: written[0].number,
        record: written[0].value.clone(),
        ..first
    }]);
    let (standing, _) = alpha.evaluate_parts(&STORED, &knows(&none), 0);
    assert_eq!(named(&standing), none);
}

#[test]
fn a_record_has_room_for_all_of_it() {
    let record = EncodedPartRecord {
        node: "n".repeat(63),
        clear: true,
        turns: true,
        range: (u32::MAX, u32::MAX, 64),
        range6: (u64::MAX, u64::MAX, u32::MAX, 64),
        orders: vec![u32::MAX; ORDERS_MAX],
        epoch: u64::MAX >> 16,
        named: (0..NAMED_MAX).map(|one| u32::MAX - one as u32).collect(),
        past: (u32::MAX, u32::MAX, u8::MAX),
        past6: (u64::MAX, u64::MAX, u64::MAX, u64::MAX, u8::MAX),
        files: (u32::MAX, u32::MAX),
        before: u32::MAX,
        longest_s: u32::MAX,
        former: (u32::MAX, u32::MAX),
    };
    let bytes = codec::encode(&record).len();
    assert!(bytes <= RECORD_BYTES_MAX, "{bytes}");
    // An older version on another node reads the record, as long as it has no further orders.
    let few = EncodedPartRecord {
        node: "n".repeat(20),
        orders: vec![u32::MAX; 4],
        named: [u32::MAX].into(),
        ..record
    };
    let bytes = codec::encode(&few).len();
    assert!(bytes <= SHORT_RECORD_BYTES_MAX, "{bytes}");
}

#[test]
fn record_has_the_bytes_of_earlier_versions() {
    /// The record as earlier versions declared it.
    #[derive(serde::Serialize)]
    struct EarlierRecord {
        node: &'static str,
        clear: bool,
        turns: bool,
        range: (u32, u32, u32),
        x: (u64, u64, u32, u32),
        orders: [u32; 1],
        epoch: u64,
        named: [u32; 2],
        past: (u32, u32, u8),
        y: (u64, u64, u64, u64, u8),
        s: (u32, u32),
        t: u32,
        l: u32,
        f: (u32, u32),
    }
    let (four, six) = (range(1, 10), six(1, 10));
    let high = u64::from(0xfd00_u16) << 48;
    let low = 0xffff << 48;
    for flags in [8, 16, 32, 64, 120] {
        let earlier = EarlierRecord {
            node: "beta",
            clear: true,
            turns: false,
            range: (four.first.to_bits(), four.last.to_bits(), 2),
            x: (high, low | 1, 9, 2),
            orders: [5],
            epoch: 4,
            named: [1, 2],
            past: (four.first.to_bits(), four.last.to_bits(), 3 | flags),
            y: (high, low | 1, high, low | 10, 1),
            s: (7, 8),
            t: 9,
            l: 3_600,
            f: (mark_of("alpha"), 10),
        };
        let bytes = codec::encode(&earlier);
        let record: PartRecord = codec::decode(&bytes).unwrap();
        assert_eq!(codec::encode(&record), bytes);
        assert_eq!(record.ranges, NetworkRanges::new(Some(four), Some(six)));
        assert_eq!(record.past, past(four, true));
        assert_eq!(record.past6, past(six, false));
        let knowledge = record.former_knowledge;
        let set = [
            record.is_unheard,
            record.has_own_leases,
            knowledge.had_all,
            knowledge.is_complemented,
        ];
        assert_eq!(set, [8, 16, 32, 64].map(|flag| flags & flag > 0));
        assert_eq!((record.files, record.before), (files(7, 8), 9));
        assert_eq!(record.former.unwrap().files, 10);
    }
    // The oldest version had no more than this.
    let oldest = codec::encode(&PartRecord::default());
    assert_eq!(
        codec::decode::<PartRecord>(&oldest).unwrap(),
        PartRecord::default()
    );
}

#[test]
fn a_lease_that_is_handed_over_is_not_used_and_not_wanted_for_a_while() {
    let mut alpha = leases("alpha");
    let beta_knows = Knowledge {
        in_step: [(1, (5, ["beta".to_owned()].into()))].into(),
        ..Knowledge::default()
    };
    let record = by_alpha(alpha.ranges, &["beta"]);
    alpha.apply_known_leases(&[lease("1", 5, 9 * SECOND, record)]);
    assert!(
        alpha
            .evaluate_parts(&STORED, &beta_knows, 0)
            .0
            .held
            .contains_key(&1)
    );
    alpha.hand_over("boot/lan/1", 0);
    assert_eq!(
        alpha
            .evaluate_parts(&STORED, &Knowledge::default(), 1)
            .0
            .held,
        BTreeMap::new()
    );
    assert!(
        alpha
            .wants(true, 1)
            .iter()
            .any(|want| want.name == "boot/lan/1" && want.rank == 0)
    );
    assert_eq!(alpha.due_ns(1), Some(2 * SECOND));
    assert!(
        alpha
            .wants(true, 2 * SECOND)
            .iter()
            .any(|want| want.name == "boot/lan/1" && want.rank == 2)
    );
}

/// Builds a record of alpha's in epoch 5, whose leases these nodes know.
fn by_alpha(ranges: NetworkRanges, named: &[&str]) -> Vec<u8> {
    codec::encode(&PartRecord {
        node: "alpha".to_owned(),
        clear: true,
        turns: true,
        ranges,
        epoch: 5,
        named: named.iter().map(|node| mark_of(node)).collect(),
        ..PartRecord::default()
    })
}

#[test]
fn a_part_is_not_handed_over_to_a_node_that_may_not_know_its_leases() {
    let holds = |alpha: &ClusterLeases| alpha.wants(true, 1)[1].rank > 0;
    let begins = |named: &[&str], number, knows: &[&str]| {
        let mut alpha = leases("alpha");
        let record = by_alpha(alpha.ranges, named);
        let nodes = knows.iter().map(|node| (*node).to_owned()).collect();
        let knowledge = Knowledge {
            in_step: [(1, (5, nodes))].into(),
            ..Knowledge::default()
        };
        alpha.apply_known_leases(&[lease("1", 5, 9 * SECOND, record.clone())]);
        alpha.evaluate_parts(&STORED, &knowledge, 0);
        let now = lease("1", 5, 9 * SECOND, record);
        alpha.apply_known_leases(&[KnownLease { number, ..now }]);
        alpha.hand_over("boot/lan/1", 0);
        alpha
    };
    assert!(holds(&begins(&[], 3, &[])));
    assert!(!holds(&begins(&["beta"], 3, &["beta"])));
    // A record without beta is being written; it has arrived, and another one has replaced it.
    assert!(holds(&begins(&["beta"], 3, &[])));
    assert!(!holds(&begins(&["beta"], 4, &[])));
    // Before its own record is written, the node has given no lease.
    let mut alpha = leases("alpha");
    alpha.apply_known_leases(&[lease("1", 5, 9 * SECOND, Vec::new())]);
    alpha.hand_over("boot/lan/1", 0);
    assert!(!holds(&alpha));
}

#[test]
fn the_other_node_is_where_its_record_says() {
    let mut alpha = leases("alpha");
    let at = |last: u8| {
        codec::encode(&NodeLeaseRecord {
            own: Vec::new(),
            generations: Default::default(),
            address: Ipv4Addr::new(10, 0, 0, last),
            six: None,
            epochs: vec![0, 0],
        })
    };
    alpha.apply_known_leases(&[
        lease("@beta", 1, 0, at(3)),
        lease("@alpha", 1, SECOND, at(9)),
    ]);
    let own = LocalNode {
        address: Some(Ipv4Addr::new(10, 0, 0, 2)),
        ..STORED
    };
    let (standing, written) = alpha.evaluate_parts(&own, &Knowledge::default(), 0);
    assert_eq!(standing.nodes.there, [Ipv4Addr::new(10, 0, 0, 3)]);
    assert_eq!(
        written
            .iter()
            .map(|one| one.value.clone())
            .collect::<Vec<_>>(),
        [at(2)]
    );
    // The cluster lease has ended.
    let ended = KnownLease {
        holder: String::new(),
        ..lease("@beta", 1, 0, at(3))
    };
    alpha.apply_known_leases(&[ended]);
    let (standing, _) = alpha.evaluate_parts(&own, &Knowledge::default(), 0);
    let gone = vec![Ipv4Addr::new(10, 0, 0, 3)];
    assert_eq!((standing.nodes.there, standing.nodes.gone), (vec![], gone));
}

#[test]
fn the_other_node_says_its_address_of_ipv6() {
    let mut alpha = leases("alpha");
    let six = Some(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 3));
    let address = Ipv4Addr::new(10, 0, 0, 3);
    let epochs = Vec::new();
    let beta = codec::encode(&NodeLeaseRecord {
        own: Vec::new(),
        generations: Default::default(),
        address,
        six,
        epochs,
    });
    alpha.apply_known_leases(&[lease("@beta", 1, 0, beta)]);
    let (standing, _) = alpha.evaluate_parts(&STORED, &Knowledge::default(), 0);
    assert_eq!(standing.nodes.six, six.into_iter().collect::<Vec<_>>());
    // As the node writes the record itself, and as a node without IPv6 wrote it.
    let own = LocalNode {
        address: Some(Ipv4Addr::new(10, 0, 0, 2)),
        address6: six,
        ..STORED
    };
    let before = NodeLeaseRecord {
        own: Vec::new(),
        generations: Default::default(),
        address: Ipv4Addr::new(10, 0, 0, 2),
        six: None,
        epochs: Vec::new(),
    };
    alpha.apply_known_leases(&[lease("@alpha", 1, SECOND, codec::encode(&before))]);
    let (_, written) = alpha.evaluate_parts(&own, &Knowledge::default(), 0);
    let at: NodeLeaseRecord = codec::decode(&written[0].value).unwrap();
    assert_eq!(at.six, six);
}

/// Knowledge of two nodes about the leases of both parts; each of them holds one.
struct LeasePairFixture {
    alpha: ClusterLeases,
    records: [Vec<u8>; 2],
    numbers: [u64; 2],
    /// Holder of part 1.
    other: &'static str,
    /// Epochs in which beta has seen that alpha holds the parts.
    seen: Vec<u64>,
}

impl LeasePairFixture {
    /// Builds the pair: each node has its part, by the range of [`leases`].
    fn new() -> LeasePairFixture {
        let of = |node: &str| PartRecord {
            node: node.to_owned(),
            clear: true,
            turns: true,
            ranges: leases("alpha").ranges,
            epoch: 4,
            ..PartRecord::default()
        };
        LeasePairFixture {
            alpha: leases("alpha"),
            records: [of("alpha"), of("beta")].map(|record| codec::encode(&record)),
            numbers: [3, 3],
            other: "beta",
            seen: Vec::new(),
        }
    }

    /// Changes the record of a part.
    fn write(&mut self, part: usize, change: impl FnOnce(&mut PartRecord)) {
        let mut record: PartRecord = codec::decode(&self.records[part]).unwrap();
        change(&mut record);
        self.records[part] = codec::encode(&record);
        self.numbers[part] += 1;
    }

    fn record(&self, part: usize) -> PartRecord {
        codec::decode(&self.records[part]).unwrap()
    }

    /// Evaluates alpha until it writes no further record. Returns its status.
    fn turn(&mut self, knowledge: &Knowledge, now_ns: u64) -> NodeLeaseStatus {
        for _ in 0..9 {
            let known = [0, 1].map(|part| KnownLease {
                holder: ["alpha", self.other][part].to_owned(),
                number: self.numbers[part],
                until_ns: [u64::MAX, 0][part],
                ..lease(&part.to_string(), 4, 0, self.records[part].clone())
            });
            let at = NodeLeaseRecord {
                own: Vec::new(),
                generations: Default::default(),
                address: Ipv4Addr::LOCALHOST,
                six: None,
                epochs: self.seen.clone(),
            };
            let there = KnownLease {
                holder: "beta".to_owned(),
                ..lease("@beta", 1, 0, codec::encode(&at))
            };
            self.alpha
                .apply_known_leases(&[&known[..], &[there]].concat());
            let (standing, written) = self.alpha.evaluate_parts(&STORED, knowledge, now_ns);
            let Some(write) = written.first() else {
                return standing;
            };
            assert_eq!(write.name, "boot/lan/0");
            self.records[0].clone_from(&write.value);
            self.numbers[0] = write.number;
        }
        panic!("it writes on and on");
    }
}

/// Part of the debug output of a source of leases that is beta's copy.
const OF_BETA: &str = r#"node: "beta", epoch: 4"#;

/// Knowledge of alpha, which has a copy of part 1 of beta.
fn of_beta_known() -> Knowledge {
    Knowledge {
        copies: [(1, ("beta".to_owned(), 4))].into(),
        ..Knowledge::default()
    }
}

#[test]
fn a_part_of_another_range_waits_for_the_other_node_and_what_that_gave_before() {
    let mut pair = LeasePairFixture::new();
    assert!(pair.turn(&of_beta_known(), 0).held[&0].has_all_leases);
    // Part 0 gets 6 to 8, which were of part 1.
    pair.alpha.set_range(Some(range(3, 14)), None, 3_600);
    let standing = pair.turn(&of_beta_known(), 0);
    assert_eq!(
        (standing.held.len(), standing.awaited_nodes),
        (0, ["beta".to_owned()].into())
    );
    let record = pair.record(0);
    assert!(!record.clear && record.named.is_empty());
    assert_eq!(record.past, past(range(1, 5), true));
    assert!(record.has_own_leases);
    // Beta has the range, too, and alpha does not know yet what it gave.
    pair.write(1, |record| {
        record.ranges = only_four(range(3, 14));
        record.past = past(range(6, 10), true);
    });
    let standing = pair.turn(&of_beta_known(), 1);
    assert_eq!((standing.held.len(), standing.awaited_nodes.len()), (0, 0));
    let mut late = LeasePairFixture {
        alpha: pair.alpha.clone(),
        records: pair.records.clone(),
        seen: Vec::new(),
        ..pair
    };
    pair.write(1, |record| record.named = [mark_of("alpha")].into());
    let held = pair.turn(&of_beta_known(), 2).held;
    let moved = held[&0].moved.as_ref().unwrap();
    assert!(format!("{:?}", moved.four).contains(OF_BETA));
    // By the next turn, the addresses with unclear holders are on disk.
    assert!(!pair.record(0).clear && held[&0].has_turns);
    pair.turn(&of_beta_known(), 3);
    assert!(pair.record(0).clear);
    let given = past(range(1, 5), true).map(|past| past.span);
    assert_eq!(held[&0].past.four, given);
    // The node never learns the leases.
    let held = late.turn(&of_beta_known(), 1 + SOON_NS).held;
    let moved = held[&0].moved.as_ref().unwrap();
    assert!(!format!("{:?}", moved.four).contains(OF_BETA));
    late.turn(&of_beta_known(), 2 + SOON_NS);
    assert!(late.record(0).clear);
}

#[test]
fn what_was_given_by_ranges_of_before_is_forgotten_when_those_leases_have_ended() {
    let mut pair = LeasePairFixture::new();
    pair.turn(&of_beta_known(), 0);
    pair.write(1, |record| record.ranges = NetworkRanges::default());
    pair.alpha.set_range(Some(range(101, 110)), None, 60);
    pair.turn(&of_beta_known(), SECOND);
    assert!(pair.record(0).past.is_some() && pair.record(0).clear);
    // The longest lease lasted an hour.
    pair.turn(&of_beta_known(), 3_700 * SECOND);
    assert!(pair.record(0).past.is_some());
    pair.turn(&of_beta_known(), 4_300 * SECOND);
    assert_eq!(pair.record(0).past, None);
}

fn six(first: u16, last: u16) -> Range<Ipv6Addr> {
    let address = |last| Ipv6Addr::new(0xfd00, 0, 0, 0, 0xffff, 0, 0, last);
    Range {
        first: address(first),
        last: address(last),
        parts: 2,
    }
}

#[test]
fn a_range_of_ipv6_that_changes_waits_for_what_the_other_node_gave_as_one_of_ipv4_does() {
    let mut pair = LeasePairFixture::new();
    for part in [0, 1] {
        pair.write(part, |record| record.ranges.six = Some(six(1, 10)));
    }
    let four = Some(range(1, 10));
    pair.alpha.set_range(four, Some(six(1, 10)), 3_600);
    assert!(pair.turn(&of_beta_known(), 0).held[&0].has_all_leases);
    // Part 0 gets 6 to 8, which were of part 1.
    pair.alpha.set_range(four, Some(six(3, 14)), 3_600);
    let standing = pair.turn(&of_beta_known(), 0);
    let waits: BTreeSet<String> = ["beta".to_owned()].into();
    assert_eq!((standing.held.len(), standing.awaited_nodes), (0, waits));
    let record = pair.record(0);
    assert_eq!(record.past6, past(six(1, 5), true));
    assert_eq!(record.past, None);
    // Beta has the range, too.
    pair.write(1, |record| {
        record.ranges.six = Some(six(3, 14));
        record.past6 = past(six(6, 10), true);
    });
    let standing = pair.turn(&of_beta_known(), 1);
    assert_eq!((standing.held.len(), standing.awaited_nodes.len()), (0, 0));
    pair.write(1, |record| record.named = [mark_of("alpha")].into());
    let held = pair.turn(&of_beta_known(), 2).held;
    let moved = held[&0].moved.as_ref().unwrap();
    assert!(moved.four.is_own() && !moved.six.is_own());
    assert!(format!("{:?}", moved.six).contains(OF_BETA));
    let given = past(six(1, 5), true).map(|past| past.span);
    assert_eq!(held[&0].past.six, given);
    // Nothing is unclear: a copy names the holder of each address.
    let nobody = |_, _: &str, _| Some(BTreeMap::new());
    let fates = moved.six.fates(nobody);
    assert!(
        (3..=8)
            .all(|last| fates(six(last, 9).first) != crate::dhcp::pool::AddressKnowledge::Unclear)
    );
}
