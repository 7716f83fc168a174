//! Tests how long the leases of other nodes may be.

use super::*;

const DAY_S: u32 = 86_400;

/// Returns the standing of alpha after it takes a part of beta, whose leases were up to a day
/// long, and the record that it writes.
fn taken(now_ns: u64, longest_s: u32) -> (ClusterLeases, NodeLeaseStatus, PartRecord) {
    let mut alpha = leases("alpha");
    let mut of_beta: PartRecord = codec::decode(&of_beta(alpha.ranges, &[])).unwrap();
    of_beta.longest_s = DAY_S;
    let knowledge = Knowledge {
        longest_s,
        ..Knowledge::default()
    };
    let turn = |alpha: &mut ClusterLeases, at_ns| {
        let (standing, written) = alpha.evaluate_parts(&STORED, &knowledge, at_ns);
        let record = written.into_iter().find(|one| one.name == "boot/lan/0");
        let record = record.map(|one| codec::decode::<PartRecord>(&one.value).unwrap());
        (standing, record)
    };
    let mut record = of_beta;
    let mut standing = NodeLeaseStatus::default();
    // The node leaves the part to beta first.
    for at_ns in [0, AWAIT_NS, AWAIT_NS + 1, AWAIT_NS + 2, AWAIT_NS + now_ns] {
        alpha.apply_known_leases(&[lease("0", 9, u64::MAX, codec::encode(&record))]);
        let (now, next) = turn(&mut alpha, at_ns);
        standing = now;
        record = next.unwrap_or(record);
    }
    (alpha, standing, record)
}

#[test]
fn who_takes_a_part_hears_of_longer_leases_and_says_so_until_they_have_ended() {
    let held = |standing: &NodeLeaseStatus| {
        let held = &standing.held[&0];
        (held.before_s, held.longest_s)
    };
    let (_, standing, record) = taken(3, 600);
    assert_eq!((held(&standing), record.longest_s), ((DAY_S, DAY_S), DAY_S));
    // A node with longer leases records that.
    let (_, standing, record) = taken(3, 2 * DAY_S);
    let longer = 2 * DAY_S;
    assert_eq!(
        (held(&standing), record.longest_s),
        ((DAY_S, longer), longer)
    );
    let (_, _, record) = taken(24 * 3_600 * SECOND, 600);
    assert_eq!(record.longest_s, DAY_S);
    let (_, _, record) = taken(25 * 3_600 * SECOND, 600);
    assert_eq!(record.longest_s, 600);
}

#[test]
fn a_node_knows_itself_how_long_its_own_leases_are() {
    let mut alpha = leases("alpha");
    let mut own: PartRecord = codec::decode(&by_alpha(alpha.ranges, &[])).unwrap();
    own.longest_s = DAY_S;
    let mut before_s = |own: &PartRecord| {
        alpha.owned.taken.clear();
        alpha.apply_known_leases(&[lease("0", 5, 9 * SECOND, codec::encode(own))]);
        turn(&mut alpha).0.held[&0].before_s
    };
    assert_eq!(before_s(&own), 0);
    // The node may not know leases of a record that was not clear.
    own.clear = false;
    assert_eq!(before_s(&own), DAY_S);
}
