//! Tests that this node does not request a lease again that it has released for another node.

use super::super::{GuestRecord, NodeRecord, OWN, lease_of, lease_of_node};
use super::{Agreement, Guests, LocalState, NODES, Random, agreement, guests};
use crate::life::DesiredState;
use part::role::KnownLease;
use std::collections::BTreeMap;

const NOW_NS: u64 = 1_000_000_000_000;

fn known(name: &str, epoch: u64, holder: &str, is_held: bool, record: Vec<u8>) -> KnownLease {
    KnownLease {
        name: name.to_owned(),
        epoch,
        until_ns: if is_held { NOW_NS + 1 } else { 0 },
        holder: holder.to_owned(),
        number: 1,
        record,
        is_inherited: false,
    }
}

/// Reports the lease of a guest that moves to beta: its epoch, whether alpha holds it, and its
/// holder.
fn learn(alpha: &mut Agreement, epoch: u64, is_held: bool, holder: &str) {
    let of_node = |node: &str| {
        let record = NodeRecord {
            memory_bytes: 10,
            cpus: 10,
            ..NodeRecord::default()
        };
        known(
            &lease_of_node(node),
            1,
            node,
            node == "alpha",
            record.encode(),
        )
    };
    let record = GuestRecord {
        to: "beta".to_owned(),
        ..GuestRecord::default()
    };
    let guest = known(&lease_of("mail"), epoch, holder, is_held, record.encode());
    alpha.apply_leases(vec![of_node("alpha"), of_node("beta"), guest]);
}

fn rank(alpha: &mut Agreement, guests: &Guests, local: &LocalState) -> u32 {
    let locals = BTreeMap::from([("mail".to_owned(), local.clone())]);
    let (_, told) = alpha.decide(guests, &locals, NOW_NS);
    let name = lease_of("mail");
    let mail = told.leases.iter().find(|(lease, _)| *lease == name);
    mail.expect("it is named").1
}

#[test]
fn the_rest_of_a_moved_guest_requests_no_lease() {
    let mut guests = guests(&mut Random::new(1));
    NODES[0].clone_into(&mut guests.me);
    guests.guests.retain(|name, _| name == "mail");
    let mut alpha = agreement(0, 1, None);
    let runs = LocalState {
        is_there: true,
        may_run: true,
        epoch: Some(7),
        is_up: true,
        has_volumes: true,
        ..LocalState::default()
    };
    let has_moved = LocalState {
        has_moved: true,
        may_run: false,
        is_up: false,
        ..runs.clone()
    };
    learn(&mut alpha, 7, true, "alpha");
    assert_eq!(rank(&mut alpha, &guests, &runs), OWN);
    assert_eq!(rank(&mut alpha, &guests, &has_moved), 0);
    // In between, the cluster may report that no node holds the lease, or that alpha still does.
    for holder in ["alpha", "", "beta"] {
        learn(&mut alpha, 7, false, holder);
        assert_eq!(rank(&mut alpha, &guests, &has_moved), 0, "{holder}");
        assert_eq!(
            rank(&mut alpha, &guests, &LocalState::default()),
            0,
            "{holder}"
        );
    }
    // A guest that did not move keeps its lease.
    learn(&mut alpha, 7, false, "alpha");
    assert_eq!(rank(&mut alpha, &guests, &runs), OWN);
}

#[test]
fn a_guest_continues_during_the_lease_of_the_previous_role() {
    let mut guests = guests(&mut Random::new(1));
    NODES[0].clone_into(&mut guests.me);
    guests.guests.retain(|name, _| name == "mail");
    let runs = LocalState {
        is_there: true,
        may_run: true,
        epoch: Some(7),
        has_volumes: true,
        ..LocalState::default()
    };
    let mut before = agreement(0, 1, None);
    learn(&mut before, 7, true, "alpha");
    assert_eq!(rank(&mut before, &guests, &runs), OWN);
    let held = before.holds(NOW_NS);
    assert_eq!(held, BTreeMap::from([("mail".to_owned(), NOW_NS + 1)]));
    let wish = |alpha: &mut Agreement, local: &LocalState, now_ns| {
        let locals = BTreeMap::from([("mail".to_owned(), local.clone())]);
        let (decided, _) = alpha.decide(&guests, &locals, now_ns);
        decided["mail"].wish
    };
    let begin = || agreement(0, 1, None).after(held.clone());
    let mut alpha = begin();
    // No lease is known yet; then the control role is reported as restarted as well.
    assert_eq!(wish(&mut alpha, &runs, NOW_NS), DesiredState::Hold);
    for holder in ["alpha", ""] {
        learn(&mut alpha, 7, false, holder);
        assert_eq!(
            wish(&mut alpha, &runs, NOW_NS),
            DesiredState::Hold,
            "{holder}"
        );
        assert_eq!(alpha.deadline_ms(NOW_NS), Some(NOW_NS / 1_000_000 + 1));
        assert_eq!(wish(&mut alpha, &runs, NOW_NS + 1), DesiredState::Freeze);
    }
    // The remembered lease starts no guest, does not let a migrated one continue, and ends when
    // another node is reported as the holder.
    assert_eq!(
        wish(&mut alpha, &LocalState::default(), NOW_NS),
        DesiredState::Hold
    );
    let (decided, _) = begin().decide(&guests, &BTreeMap::new(), NOW_NS);
    assert_eq!(
        (decided["mail"].epoch, decided["mail"].uses_volumes),
        (None, false)
    );
    let has_moved = LocalState {
        has_moved: true,
        ..runs.clone()
    };
    assert_eq!(wish(&mut alpha, &has_moved, NOW_NS), DesiredState::Freeze);
    learn(&mut alpha, 8, false, "beta");
    assert_eq!(wish(&mut alpha, &runs, NOW_NS), DesiredState::Kill);
    // Without a remembered lease the guest is paused as usual.
    assert_eq!(
        wish(&mut agreement(0, 1, None), &runs, NOW_NS),
        DesiredState::Freeze
    );
}
