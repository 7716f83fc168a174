//! Tests a node whose leases are lost, known better by another node, or of a range that changes
//! again.

use super::super::known::AWAIT_COPY_NS;
use super::*;

#[test]
fn a_node_leaves_a_part_to_one_that_knows_its_leases_for_a_while() {
    let mut alpha = leases("alpha");
    let heard = |alpha: &mut ClusterLeases, holder: &str, epoch: u64, now_ns: u64| {
        let record = of_beta(alpha.ranges, &[]);
        let held = held_by(holder, "0", record);
        alpha.apply_known_leases(&[KnownLease { epoch, ..held }]);
        alpha.evaluate_parts(&STORED, &Knowledge::default(), now_ns);
        alpha.wants(true, now_ns)[0].rank
    };
    // Both have failed, and beta is not back yet.
    assert_eq!(heard(&mut alpha, "", 4, SECOND), 0);
    assert_eq!(heard(&mut alpha, "", 4, AWAIT_NS), 0);
    assert_eq!(heard(&mut alpha, "", 4, SECOND + AWAIT_NS), 1);
    assert_eq!(alpha.due_ns(SECOND), Some(SECOND + AWAIT_NS));
    // The node is up again, and restarts.
    assert_eq!(heard(&mut alpha, "beta", 5, 20 * SECOND), 0);
    assert_eq!(heard(&mut alpha, "beta", 5, 40 * SECOND), 1);
    assert_eq!(heard(&mut alpha, "", 5, 41 * SECOND), 0);
    // No node knows the node's own leases better.
    let own = PartRecord {
        node: "alpha".to_owned(),
        ..PartRecord::default()
    };
    alpha.apply_known_leases(&[held_by("", "0", codec::encode(&own))]);
    alpha.evaluate_parts(&STORED, &Knowledge::default(), 50 * SECOND);
    assert_eq!(alpha.wants(true, 50 * SECOND)[0].rank, 1);
}

#[test]
fn a_node_that_had_a_part_before_knows_its_leases_only_with_the_file_of_then() {
    let mut record: PartRecord =
        codec::decode(&of_beta(NetworkRanges::default(), &["alpha"])).unwrap();
    (record.is_unheard, record.before) = (true, files(7, 9).checksum());
    let knows = |files: LeaseFiles| {
        let mut alpha = ClusterLeases::new("lan", "alpha", &nodes());
        alpha.files = files;
        alpha.had_it(&record)
    };
    assert!(knows(files(7, 9)));
    assert!(!knows(files(8, 9)) && !knows(files(7, 8)) && !knows(files(0, 0)));
}

/// Knowledge of a node whose file of leases has this number.
fn now_in(store: u32) -> Knowledge {
    Knowledge {
        files: files(store, 0),
        ..Knowledge::default()
    }
}

/// Record of alpha's part, whose leases are in file 7.
fn by_store_7_of(alpha: &ClusterLeases) -> Vec<u8> {
    let record = by_alpha(alpha.ranges, &["beta"]);
    let mut record: PartRecord = codec::decode(&record).unwrap();
    record.files = files(7, 0);
    codec::encode(&record)
}

#[test]
fn a_node_whose_leases_are_lost_leaves_its_part_to_one_that_knows_them() {
    let mut alpha = leases("alpha");
    let record = by_store_7_of(&alpha);
    let mut looks = |store: u32, epoch: u64, holder: &str, now_ns: u64| {
        let lease = lease("0", epoch, now_ns + SECOND, record.clone());
        let holder = holder.to_owned();
        alpha.apply_known_leases(&[KnownLease { holder, ..lease }]);
        let (standing, written) = alpha.evaluate_parts(&STORED, &now_in(store), now_ns);
        let is_used = standing.held.contains_key(&0) || !written.is_empty();
        (is_used, alpha.wants(true, now_ns)[0].rank)
    };
    assert_eq!(looks(7, 5, "alpha", 0), (true, 3));
    // A node that has not read its file yet, or has another file, uses none of its leases, although
    // the cluster may still list it as the holder.
    for store in [0, 8] {
        let mut alpha = leases("alpha");
        alpha.apply_known_leases(&[lease("0", 5, SECOND, record.clone())]);
        let (standing, written) = alpha.evaluate_parts(&STORED, &now_in(store), 0);
        assert_eq!((standing.held.len(), written), (0, Vec::new()), "{store}");
        assert_eq!(alpha.wants(true, 0)[0].rank, 0, "{store}");
        // Nobody else took the part.
        alpha.apply_known_leases(&[held_by("", "0", record.clone())]);
        alpha.evaluate_parts(&STORED, &now_in(store), SECOND);
        let at_ns = SECOND + AWAIT_COPY_NS;
        alpha.evaluate_parts(&STORED, &now_in(store), at_ns);
        assert_eq!(alpha.wants(true, at_ns - 1)[0].rank, 0, "{store}");
        assert_eq!(alpha.wants(true, at_ns)[0].rank, 1, "{store}");
        let granted = lease("0", 6, at_ns + SECOND, record.clone());
        alpha.apply_known_leases(std::slice::from_ref(&granted));
        let (_, written) = alpha.evaluate_parts(&STORED, &now_in(store), at_ns);
        let number = written[0].number;
        let record = written[0].value.clone();
        alpha.apply_known_leases(&[KnownLease {
            number,
            record,
            ..granted
        }]);
        let (standing, _) = alpha.evaluate_parts(&STORED, &now_in(store), at_ns);
        assert!(!standing.held[&0].has_all_leases, "{store}");
    }
}

#[test]
fn a_part_that_a_killed_process_had_wanted_is_left_to_the_node_that_knows_its_leases() {
    let record = of_beta(leases("alpha").ranges, &[]);
    let looks = |node: &mut ClusterLeases, (holder, epoch): (&str, u64), now_ns: u64| {
        let until_ns = if holder == node.me {
            now_ns + SECOND
        } else {
            0
        };
        let granted = lease("0", epoch, until_ns, record.clone());
        node.apply_known_leases(&[KnownLease {
            holder: holder.to_owned(),
            ..granted
        }]);
        let (_, written) = turn_at(node, now_ns);
        let written = written
            .first()
            .map(|one| codec::decode::<PartRecord>(&one.value));
        let clear = written.map(|record| record.unwrap().clear);
        (node.wants(true, now_ns)[0].rank, clear)
    };
    // The boot roles of both nodes are killed. Beta's was still up when alpha's ended, and its
    // record no longer names alpha. Alpha is granted the part because its previous process had
    // wanted it.
    let (mut alpha, mut beta) = (leases("alpha"), leases("beta"));
    assert_eq!(looks(&mut alpha, ("alpha", 5), 0), (0, None));
    assert_eq!(looks(&mut beta, ("alpha", 5), 0), (2, None));
    assert_eq!(looks(&mut alpha, ("", 5), 1), (0, None));
    assert_eq!(looks(&mut beta, ("beta", 6), 2), (2, Some(true)));
    // Alpha takes the part once it has waited in vain for beta.
    assert_eq!(looks(&mut alpha, ("", 5), AWAIT_NS), (0, None));
    assert_eq!(looks(&mut alpha, ("", 5), 1 + AWAIT_NS), (1, None));
    let granted = ("alpha", 6);
    assert_eq!(looks(&mut alpha, granted, 2 + AWAIT_NS), (3, Some(false)));
}

#[test]
fn a_record_of_a_version_without_the_number_of_a_file_is_this_nodes_own() {
    let mut alpha = leases("alpha");
    let record = by_alpha(alpha.ranges, &[]);
    alpha.apply_known_leases(&[lease("0", 6, SECOND, record)]);
    let knowledge = Knowledge {
        files: files(8, 9),
        ..Knowledge::default()
    };
    let (_, written) = alpha.evaluate_parts(&STORED, &knowledge, 0);
    let record: PartRecord = codec::decode(&written[0].value).unwrap();
    assert!(record.clear);
    assert_eq!(record.files, files(8, 9));
}

#[test]
fn leases_of_ipv6_are_a_nodes_own_only_with_the_file_of_then_also_by_another_range() {
    let record = PartRecord {
        ranges: NetworkRanges::new(Some(range(1, 10)), Some(six(1, 10))),
        files: files(7, 9),
        ..codec::decode(&by_alpha(leases("alpha").ranges, &[])).unwrap()
    };
    let owns = |last: Option<u16>, files: LeaseFiles| {
        let mut alpha = leases("alpha");
        let six = last.map(|last| six(1, last));
        alpha.set_range(Some(range(1, 10)), six, 3_600);
        alpha.files = files;
        alpha.is_own(&record)
    };
    assert!(owns(Some(10), files(7, 9)) && owns(Some(12), files(7, 9)));
    assert!(!owns(Some(10), files(7, 8)) && !owns(Some(12), files(7, 8)));
    // Without a range there are none.
    assert!(owns(None, files(7, 0)) && !owns(None, files(8, 0)));
}

#[test]
fn a_range_that_changes_before_the_last_change_is_settled_leaves_all_leases_known() {
    let mut alpha = leases("alpha");
    let mut held = lease("0", 5, SECOND, by_alpha(alpha.ranges, &[]));
    for (first, last) in [(3, 12), (5, 14)] {
        alpha.set_range(Some(range(first, last)), None, 3_600);
        alpha.apply_known_leases(std::slice::from_ref(&held));
        let (standing, written) = turn(&mut alpha);
        assert!(standing.held.is_empty());
        held.record.clone_from(&written[0].value);
        held.number = written[0].number;
    }
    let record: PartRecord = codec::decode(&held.record).unwrap();
    let is_known = record.past.is_some_and(|past| past.is_known);
    assert!(!record.clear && is_known, "{record:?}");
    alpha.apply_known_leases(&[held]);
    assert!(turn(&mut alpha).0.held[&0].has_all_leases);
}

#[test]
fn what_a_node_has_of_its_part_is_reported_before_it_gives_addresses_and_taken_over_by_nobody() {
    let mut pair = LeasePairFixture::new();
    pair.turn(&of_beta_known(), 0);
    pair.alpha.set_range(Some(range(3, 14)), None, 3_600);
    let mut knows = of_beta_known();
    knows.in_step = [(0, (4, ["beta".to_owned()].into()))].into();
    let standing = pair.turn(&knows, 0);
    let pasts = PreviousRanges {
        four: past(range(1, 5), true).map(|past| past.span),
        six: None,
    };
    assert_eq!(standing.claims, [(0, (4, pasts))].into());
    let record = pair.record(0);
    assert_eq!((record.clear, record.named.len()), (false, 1));
    // Beta has the same range by then.
    let mut beta = leases("beta");
    beta.set_range(Some(range(3, 14)), None, 3_600);
    beta.copies = [(0, ("alpha".to_owned(), 4))].into();
    assert!(!beta.has_copy(0, &record));
    let clear = PartRecord {
        clear: true,
        ..record
    };
    assert!(beta.has_copy(0, &clear));
}

#[test]
fn older_copy_of_a_file_is_recognised_by_its_generation() {
    let mut alpha = leases("alpha");
    let local = LocalNode {
        address: Some(Ipv4Addr::new(10, 0, 0, 2)),
        ..STORED
    };
    let of = |generation: u32| Knowledge {
        files: files(7, 0),
        generations: [Some(generation), None, Some(1), Some(2)],
        ..Knowledge::default()
    };
    let mut record = Vec::new();
    let mut evaluate = |alpha: &mut ClusterLeases, generation: u32| {
        alpha.apply_known_leases(&[lease("@alpha", 1, SECOND, record.clone())]);
        assert!(alpha.has_node_lease(0) && !alpha.has_node_lease(SECOND));
        let older = alpha.newer_generations(of(generation).generations);
        let (status, written) = alpha.evaluate_parts(&local, &of(generation), 0);
        let own = written.iter().find(|one| one.name == "boot/lan/@alpha");
        if let Some(own) = own {
            record.clone_from(&own.value);
        }
        (older, own.is_some(), status.recorded)
    };
    assert_eq!(evaluate(&mut alpha, 4), (None, true, None));
    assert_eq!(evaluate(&mut alpha, 4), (None, false, Some([4, 0, 1, 2])));
    assert_eq!(evaluate(&mut alpha, 9), (None, true, Some([4, 0, 1, 2])));
    // A process that starts with the same file or a newer one, and with an older one.
    for (generation, older) in [(9, None), (10, None), (8, Some(10)), (0, Some(10))] {
        let mut alpha = leases("alpha");
        let older = older.map(|newest| [Some(newest), None, None, None]);
        assert_eq!(evaluate(&mut alpha, generation).0, older, "{generation}");
    }
    // A file that is not open yet is neither older nor a reason to record less.
    let mut alpha = leases("alpha");
    alpha.apply_known_leases(&[lease("@alpha", 1, SECOND, record.clone())]);
    assert_eq!(alpha.newer_generations([None; 4]), None);
    let (_, written) = alpha.evaluate_parts(&local, &Knowledge::default(), 0);
    assert_eq!(written, []);
}

#[test]
fn node_that_drops_older_files_gives_up_the_parts_that_it_took() {
    let mut alpha = leases("alpha");
    let record = by_store_7_of(&alpha);
    alpha.apply_known_leases(&[lease("0", 5, SECOND, record)]);
    let evaluate = |alpha: &mut ClusterLeases, store: u32| {
        let (status, written) = alpha.evaluate_parts(&STORED, &now_in(store), 0);
        (
            status.held.len(),
            written.len(),
            alpha.wants(true, 0)[0].rank,
        )
    };
    assert_eq!(evaluate(&mut alpha, 7), (1, 1, 3));
    alpha.forget_parts();
    assert_eq!(evaluate(&mut alpha, 8), (0, 0, 0));
}

#[test]
fn record_of_a_node_has_room_for_its_generations() {
    let record = NodeLeaseRecord {
        address: Ipv4Addr::BROADCAST,
        six: Some(std::net::Ipv6Addr::from_bits(u128::MAX)),
        epochs: vec![u64::MAX >> 16; 2],
        own: vec![std::net::Ipv6Addr::from_bits(u128::MAX).into(); 4],
        generations: [u32::MAX; 4],
    };
    let bytes = codec::encode(&record).len();
    assert!(bytes <= SHORT_RECORD_BYTES_MAX, "{bytes}");
}

#[test]
fn node_without_an_ipv4_address_records_its_generations() {
    let six = Some("2001:db8::2".parse().unwrap());
    let mut alpha = leases("alpha");
    alpha.apply_known_leases(&[lease("@alpha", 1, SECOND, Vec::new())]);
    let local = LocalNode {
        address6: six,
        ..STORED
    };
    let (_, written) = alpha.evaluate_parts(&local, &Knowledge::default(), 0);
    let mut beta = leases("beta");
    beta.apply_known_leases(&[lease("@alpha", 1, 0, written[0].value.clone())]);
    let (status, _) = beta.evaluate_parts(&STORED, &Knowledge::default(), 0);
    assert_eq!(status.nodes.six, six.into_iter().collect::<Vec<_>>());
    assert!(status.nodes.there.is_empty());
}

#[test]
fn node_that_is_left_alone_withholds_what_a_removed_node_gave() {
    // Beta is removed while it holds its part, and alpha has no copy of that.
    let mut alpha = leases("alpha");
    alpha.set_nodes(&["alpha".to_owned()]);
    let all = Range {
        parts: 1,
        ..range(1, 10)
    };
    let record = by_alpha(alpha.ranges, &[]);
    alpha.set_range(Some(all), None, 3_600);
    let mut evaluate = |record: Vec<u8>| {
        alpha.apply_known_leases(&[lease("0", 5, u64::MAX, record)]);
        turn(&mut alpha)
    };
    let (_, written) = evaluate(record);
    let (status, _) = evaluate(written[0].value.clone());
    let held = &status.held[&0];
    let moved = held.moved.as_ref().expect("half of the range was beta's");
    let fate = moved.four.fates(|_, _, _| None);
    let fate = |last| fate(Ipv4Addr::new(10, 0, 0, last));
    assert_eq!(fate(1), crate::dhcp::pool::AddressKnowledge::Known);
    assert_eq!(fate(10), crate::dhcp::pool::AddressKnowledge::Unclear);
}
