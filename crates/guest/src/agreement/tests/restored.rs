//! Tests that a guest stays down whose record an earlier release marked because a restore of the
//! guest's disks was interrupted.

use super::super::{GuestRecord, OperatorOrder, lease_of, lease_of_node, words};
use super::{Agreement, Guests, NODES, Random, agreement, guests};
use crate::record::NodeRecord;
use part::role::KnownLease;
use std::collections::BTreeMap;

const NOW_NS: u64 = 1_000_000_000_000;

/// Reports the lease of guest mail with its record. `holder`: alpha, or no node.
fn learn(alpha: &mut Agreement, epoch: u64, holder: &str, record: &GuestRecord) {
    let lease = |name: String, epoch, holder: &str, record| KnownLease {
        name,
        epoch,
        until_ns: if holder == "alpha" { NOW_NS + 1 } else { 0 },
        holder: holder.to_owned(),
        number: 1,
        record,
        is_inherited: false,
    };
    let node = NodeRecord {
        memory_bytes: 10,
        cpus: 10,
        ..NodeRecord::default()
    };
    alpha.apply_leases(vec![
        lease(lease_of_node("alpha"), 1, "alpha", node.encode()),
        lease(lease_of("mail"), epoch, holder, record.encode()),
    ]);
}

/// Returns the record of guest mail that alpha writes, or None if it writes none.
fn written(alpha: &mut Agreement, guests: &Guests) -> Option<GuestRecord> {
    let (_, told) = alpha.decide(guests, &BTreeMap::new(), NOW_NS);
    let mut records = told.records.iter();
    let record = records.find(|record| record.name == lease_of("mail"))?;
    GuestRecord::decode(&record.value)
}

#[test]
fn guest_with_an_interrupted_restore_does_not_start() {
    let mut guests = guests(&mut Random::new(1));
    NODES[0].clone_into(&mut guests.me);
    guests.guests.retain(|name, _| name == "mail");
    let mut alpha = agreement(0, 1, None);
    let stopped = GuestRecord {
        stopped: words::BY_OPERATOR.to_owned(),
        ..GuestRecord::default()
    };
    let order = |alpha: &mut Agreement, order| alpha.order(&guests, "mail", order, NOW_NS);
    let marked = GuestRecord {
        stopped: words::RESTORING.to_owned(),
        ..GuestRecord::default()
    };
    learn(&mut alpha, 8, "alpha", &marked);
    assert_eq!(written(&mut alpha, &guests), None);
    assert!(alpha.is_restoring("mail"));
    // Neither a start nor a stop removes the mark.
    let why = order(&mut alpha, OperatorOrder::Start).unwrap_err();
    assert!(
        why.contains("a restore of its disks is not complete"),
        "{why}"
    );
    order(&mut alpha, OperatorOrder::Stop).unwrap();
    assert_eq!(written(&mut alpha, &guests), None);
    order(&mut alpha, OperatorOrder::EndRestore).unwrap();
    assert_eq!(written(&mut alpha, &guests), Some(stopped.clone()));
    learn(&mut alpha, 8, "alpha", &stopped);
    assert_eq!(written(&mut alpha, &guests), None);
    order(&mut alpha, OperatorOrder::Start).unwrap();
}

#[test]
fn pending_start_does_not_end_a_restore_of_another_node() {
    let mut guests = guests(&mut Random::new(1));
    NODES[0].clone_into(&mut guests.me);
    guests.guests.retain(|name, _| name == "mail");
    let mut alpha = agreement(0, 1, None);
    let with = |stopped: &str| GuestRecord {
        stopped: stopped.to_owned(),
        ..GuestRecord::default()
    };
    learn(&mut alpha, 7, "", &with(words::BY_OPERATOR));
    let start = OperatorOrder::Start;
    alpha.order(&guests, "mail", start, NOW_NS).unwrap();
    // Another node has held the lease, has begun a restore, and has released the lease.
    learn(&mut alpha, 8, "alpha", &with(words::RESTORING));
    assert_eq!(written(&mut alpha, &guests), None);
    assert!(alpha.is_restoring("mail"));
    // The order is obsolete.
    learn(&mut alpha, 8, "alpha", &with(words::BY_OPERATOR));
    assert_eq!(written(&mut alpha, &guests), None);
}
