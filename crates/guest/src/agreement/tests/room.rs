//! Tests capacity that a leaving guest still uses, migrating guests, and failures that are reset.

use super::super::nowhere::{IdleGuests, START_MS};
use super::super::{GuestRecord, NodeRecord, OWN, lease_of, lease_of_node};
use super::{
    Agreement, AgreementDefect, Guests, LocalState, NODES, OperatorOrder, Random, agreement, guests,
};
use crate::life::{DesiredState, WELL_AFTER_MS};
use part::role::KnownLease;
use std::collections::BTreeMap;

const NOW_NS: u64 = 1_000_000_000_000;

/// State of a node: its agreement and its guests.
struct TestNode {
    me: &'static str,
    agreement: Agreement,
    guests: Guests,
    leases: BTreeMap<String, KnownLease>,
    locals: BTreeMap<String, LocalState>,
    now_ns: u64,
}

impl TestNode {
    /// Creates a node with the guests mail, which has the higher priority, and web: each node has
    /// room for one of them.
    fn new(at: usize, defect: Option<AgreementDefect>) -> TestNode {
        let mut guests = guests(&mut Random::new(1));
        NODES[at].clone_into(&mut guests.me);
        guests.guests.remove("shop");
        for (name, guest) in &mut guests.guests {
            guest.order = crate::config::PlacementRules::default();
            guest.prefer = NODES.map(str::to_owned).to_vec();
            guest.memory_bytes = 6;
            guest.order.priority = if name == "mail" { 10 } else { 0 };
        }
        let mut node = TestNode {
            me: NODES[at],
            agreement: agreement(at, 1, defect),
            guests,
            leases: BTreeMap::new(),
            locals: BTreeMap::new(),
            now_ns: NOW_NS,
        };
        node.present(&NODES);
        node
    }

    /// Makes exactly these nodes available.
    fn present(&mut self, nodes: &[&str]) {
        for node in NODES {
            let record = NodeRecord {
                memory_bytes: 10,
                cpus: 10,
                ..NodeRecord::default()
            };
            let holder = if nodes.contains(&node) { node } else { "" };
            self.lease(&lease_of_node(node), 1, holder, record.encode());
        }
    }

    fn lease(&mut self, name: &str, epoch: u64, holder: &str, record: Vec<u8>) {
        let is_mine = holder == self.me;
        let lease = KnownLease {
            name: name.to_owned(),
            epoch,
            until_ns: if is_mine { u64::MAX } else { 0 },
            holder: holder.to_owned(),
            number: 1,
            record,
            is_inherited: false,
        };
        self.leases.insert(name.to_owned(), lease);
    }

    fn guest(&mut self, name: &str, epoch: u64, holder: &str, record: &GuestRecord) {
        self.lease(&lease_of(name), epoch, holder, record.encode());
    }

    /// Lets a guest run on this node in an epoch.
    fn runs(&mut self, name: &str, epoch: u64) {
        let local = LocalState {
            is_there: true,
            may_run: true,
            is_up: true,
            has_volumes: true,
            epoch: Some(epoch),
            ..LocalState::default()
        };
        self.locals.insert(name.to_owned(), local);
        self.guest(name, epoch, self.me, &GuestRecord::default());
    }

    /// Returns the decision about a guest: desired state, reason, and rank of its lease.
    fn decide(&mut self, name: &str) -> (DesiredState, String, u32) {
        self.agreement
            .apply_leases(self.leases.values().cloned().collect());
        let (decided, told) = self
            .agreement
            .decide(&self.guests, &self.locals, self.now_ns);
        for written in told.records {
            if let Some(lease) = self.leases.get_mut(&written.name) {
                lease.record = written.value;
            }
        }
        let rank = told
            .leases
            .iter()
            .find(|(lease, _)| *lease == lease_of(name));
        let one = &decided[name];
        (one.wish, one.why.clone(), rank.map_or(0, |(_, rank)| *rank))
    }

    fn record(&self, name: &str) -> GuestRecord {
        GuestRecord::decode(&self.leases[&lease_of(name)].record).unwrap()
    }
}

fn to(node: &str) -> GuestRecord {
    GuestRecord {
        to: node.to_owned(),
        ..GuestRecord::default()
    }
}

fn failed(node: &str) -> GuestRecord {
    GuestRecord {
        failed: [(node.to_owned(), "it crashed".to_owned())].into(),
        ..GuestRecord::default()
    }
}

#[test]
fn a_guest_in_transit_starts_on_its_target() {
    for is_apart in [false, true] {
        for defect in [None, Some(AgreementDefect::TurnsBack)] {
            let [mut alpha, mut beta] = [0, 1].map(|at| TestNode::new(at, defect));
            for node in [&mut alpha, &mut beta] {
                if is_apart {
                    let mail = node.guests.guests.get_mut("mail").unwrap();
                    mail.order.apart.insert("web".to_owned());
                    mail.order.priority = -1;
                }
                node.guest("web", 3, "beta", &GuestRecord::default());
                node.guest("mail", 7, "", &to("beta"));
            }
            beta.runs("web", 3);
            let comes = LocalState {
                is_there: true,
                ..LocalState::default()
            };
            beta.locals.insert("mail".to_owned(), comes);
            let ranks = [&mut alpha, &mut beta].map(|node| node.decide("mail").2);
            match defect {
                None => assert_eq!(ranks, [0, OWN], "{is_apart}"),
                _ => assert_ne!(ranks, [0, OWN], "the defect is found"),
            }
        }
    }
}

#[test]
fn a_guest_starts_after_the_displaced_one_has_left() {
    for is_apart in [false, true] {
        let mut beta = TestNode::new(1, None);
        if is_apart {
            let web = beta.guests.guests.get_mut("web").unwrap();
            web.order.apart.insert("mail".to_owned());
            web.memory_bytes = 1;
        }
        beta.present(&["beta"]);
        beta.runs("web", 3);
        beta.guest("mail", 7, "beta", &GuestRecord::default());
        let local = LocalState {
            has_volumes: true,
            ..LocalState::default()
        };
        beta.locals.insert("mail".to_owned(), local);
        beta.agreement = agreement(1, 1, Some(AgreementDefect::PromisesTwice));
        assert_eq!(
            beta.decide("mail").0,
            DesiredState::Run,
            "the defect is found"
        );
        beta.agreement = agreement(1, 1, None);
        let (wish, why, _) = beta.decide("mail");
        assert_eq!(wish, DesiredState::Hold);
        let words = if is_apart {
            "web is still on beta, and must be on another node (`apart`)"
        } else {
            "beta lacks 2 of memory until web has left"
        };
        assert_eq!(why, words);
        assert!(matches!(
            beta.decide("web").0,
            DesiredState::ShutDown { .. }
        ));
        let lack = beta.agreement.has_room_now(&beta.guests, "mail", [].iter());
        assert!(lack.unwrap_err().passes);
        beta.locals.remove("web");
        assert_eq!(beta.decide("mail"), (DesiredState::Run, String::new(), OWN));
    }
}

#[test]
fn an_operator_move_displaces_no_guest() {
    let mut alpha = TestNode::new(0, None);
    alpha.runs("mail", 7);
    alpha.guest("web", 3, "beta", &GuestRecord::default());
    alpha.decide("mail");
    let suits = |alpha: &TestNode| alpha.agreement.suits(&alpha.guests, "mail", "beta", NOW_NS);
    assert_eq!(
        suits(&alpha).unwrap_err(),
        "beta lacks 2 of memory for guest 'mail' in addition to the guests that run there: move or stop one \
         of them first"
    );
    let web = alpha.guests.guests.get_mut("web").unwrap();
    web.memory_bytes = 4;
    assert_eq!(suits(&alpha), Ok(()));
    web_apart(&mut alpha);
    assert_eq!(
        suits(&alpha).unwrap_err(),
        "web is on beta, and 'mail' must be on another node (`apart`): move or stop web first"
    );
}

fn web_apart(node: &mut TestNode) {
    let web = node.guests.guests.get_mut("web").unwrap();
    web.order.apart.insert("mail".to_owned());
}

#[test]
fn a_guest_on_no_responding_node_is_reported_after_a_start() {
    let mut nowhere = IdleGuests::default();
    let mut look = |node: &mut TestNode, later_ms: u64| {
        node.now_ns += later_ms * 1_000_000;
        node.decide("mail");
        nowhere.update_idle_guests(&node.agreement, &node.guests, &node.locals, node.now_ns);
        nowhere.has("mail", node.now_ns / 1_000_000)
    };
    let mut alpha = TestNode::new(0, None);
    alpha.guests.guests.remove("web");
    // The other node runs the guest.
    alpha.guest("mail", 6, "beta", &GuestRecord::default());
    assert!(!look(&mut alpha, 0));
    assert!(!look(&mut alpha, START_MS));
    // The node is gone. At first the guest counts as starting.
    alpha.present(&["alpha"]);
    assert!(!look(&mut alpha, 0));
    assert!(!look(&mut alpha, START_MS - 1));
    assert!(look(&mut alpha, 1));
    // This node holds the lease, and the guest waits for its volumes.
    alpha.guest("mail", 7, "alpha", &GuestRecord::default());
    assert!(look(&mut alpha, 0));
    // An operator stops it, and starts it again.
    let stopped = GuestRecord {
        stopped: "an operator stopped it".to_owned(),
        ..GuestRecord::default()
    };
    alpha.guest("mail", 7, "alpha", &stopped);
    assert!(!look(&mut alpha, START_MS));
    alpha.guest("mail", 7, "", &GuestRecord::default());
    assert!(!look(&mut alpha, 0));
    assert!(look(&mut alpha, START_MS));
    alpha.runs("mail", 8);
    assert!(!look(&mut alpha, START_MS));
}

#[test]
fn without_a_majority_orders_report_frozen_changes() {
    let mut beta = TestNode::new(1, None);
    beta.runs("mail", 7);
    beta.decide("mail");
    let refused = |node: &mut TestNode, order| {
        let done = node.agreement.order(&node.guests, "mail", order, NOW_NS);
        done.unwrap_err()
    };
    let away = OperatorOrder::Move("alpha".to_owned());
    // All leases have ended: the cluster last knew the guest to run here.
    for lease in beta.leases.values_mut() {
        lease.until_ns = 0;
    }
    beta.decide("mail");
    for order in [away.clone(), OperatorOrder::Stop] {
        let words = refused(&mut beta, order);
        assert!(words.contains("changes are frozen: no majority"), "{words}");
    }
    // The node is connected, and only this lease is not confirmed yet.
    beta.present(&NODES);
    beta.decide("mail");
    let words = refused(&mut beta, away.clone());
    assert!(words.contains("has not confirmed"), "{words}");
    // Another node has the guest.
    beta.guest("mail", 8, "alpha", &GuestRecord::default());
    beta.decide("mail");
    assert_eq!(
        refused(&mut beta, away),
        "guest 'mail' is on alpha: run the command there"
    );
}

#[test]
fn a_failed_node_retries_a_guest_when_the_other_is_gone() {
    let mut alpha = TestNode::new(0, None);
    alpha.guests.guests.remove("web");
    let local = LocalState {
        epoch: Some(5),
        has_volumes: true,
        failed: Some("it crashed".to_owned()),
        ..LocalState::default()
    };
    alpha.locals.insert("mail".to_owned(), local);
    alpha.guest("mail", 6, "beta", &failed("alpha"));
    assert_eq!(alpha.decide("mail").2, 0);
    alpha.present(&["alpha"]);
    assert_eq!(alpha.decide("mail").2, OWN);
    // An operator may order that, too.
    let start = alpha
        .agreement
        .order(&alpha.guests, "mail", OperatorOrder::Start, NOW_NS);
    assert_eq!(start, Ok(()));
    alpha.agreement = agreement(0, 1, None);
    alpha.guest("mail", 7, "alpha", &failed("alpha"));
    assert_eq!(alpha.decide("mail").0, DesiredState::Run);
    assert_eq!(alpha.record("mail"), GuestRecord::default());
    // The guest failed on this node last, and no other node has had it since.
    alpha.locals.get_mut("mail").unwrap().epoch = Some(7);
    alpha.guest("mail", 7, "", &failed("alpha"));
    assert_eq!(alpha.decide("mail").2, 0);
}

#[test]
fn failures_of_a_node_are_reset_after_a_long_run() {
    let mut beta = TestNode::new(1, None);
    beta.guests.guests.remove("web");
    beta.runs("mail", 7);
    beta.guest("mail", 7, "beta", &failed("alpha"));
    beta.decide("mail");
    assert_eq!(
        beta.agreement.deadline_ms(beta.now_ns),
        Some(NOW_NS / 1_000_000 + WELL_AFTER_MS)
    );
    beta.now_ns += (WELL_AFTER_MS - 1) * 1_000_000;
    beta.locals.get_mut("mail").unwrap().is_up = false;
    beta.decide("mail");
    beta.locals.get_mut("mail").unwrap().is_up = true;
    beta.decide("mail");
    beta.now_ns += (WELL_AFTER_MS - 1) * 1_000_000;
    beta.decide("mail");
    assert_eq!(beta.record("mail").failed.len(), 1);
    beta.now_ns += 1_000_000;
    beta.decide("mail");
    assert_eq!(beta.record("mail").failed.len(), 0);
}
