//! Tests that a part that was taken without knowing its leases goes back to the node that knows
//! them.

use super::*;
use crate::role::leases::record::FormerKnowledge;

/// The files of alpha and of beta.
const FILES: [LeaseFiles; 2] = [files(7, 0), files(8, 0)];

fn knowledge(node: usize, copy_of: Option<(&str, u64)>) -> Knowledge {
    Knowledge {
        files: FILES[node],
        copies: { copy_of.into_iter() }
            .map(|(node, epoch)| (0, (node.to_owned(), epoch)))
            .collect(),
        ..Knowledge::default()
    }
}

/// A record of alpha's, which knows all.
fn by_alpha_alone() -> PartRecord {
    PartRecord {
        files: FILES[0],
        ..codec::decode(&by_alpha(leases("alpha").ranges, &[])).unwrap()
    }
}

/// The record with which beta takes a part that has this one.
fn taken_by_beta(before: &PartRecord) -> PartRecord {
    let mut beta = leases("beta");
    let granted = KnownLease {
        holder: "beta".to_owned(),
        ..lease("0", 6, 9 * AWAIT_NS, codec::encode(before))
    };
    beta.apply_known_leases(std::slice::from_ref(&granted));
    // The node waits for alpha first.
    beta.evaluate_parts(&STORED, &knowledge(1, None), 0);
    let mut record = codec::encode(before);
    for number in 4..8 {
        beta.apply_known_leases(&[KnownLease {
            number,
            record: record.clone(),
            ..granted.clone()
        }]);
        let (_, written) = beta.evaluate_parts(&STORED, &knowledge(1, None), AWAIT_NS);
        if let Some(written) = written.first() {
            record.clone_from(&written.value);
        }
    }
    codec::decode(&record).unwrap()
}

/// Returns how much a node wants the part with this record of beta, and how it takes it.
fn taken_back(record: &PartRecord, files: LeaseFiles) -> (u32, Option<bool>) {
    let mut alpha = leases("alpha");
    let knowledge = Knowledge {
        files,
        ..knowledge(0, Some(("beta", 6)))
    };
    let held = KnownLease {
        holder: "beta".to_owned(),
        ..lease("0", 6, 0, codec::encode(record))
    };
    alpha.apply_known_leases(std::slice::from_ref(&held));
    alpha.evaluate_parts(&STORED, &knowledge, 0);
    let rank = alpha.wants(true, 0)[0].rank;
    alpha.apply_known_leases(&[KnownLease {
        epoch: 7,
        until_ns: SECOND,
        holder: "alpha".to_owned(),
        ..held
    }]);
    let (standing, _) = alpha.evaluate_parts(&STORED, &knowledge, 0);
    let adopt = standing.adopts.get(&0);
    (rank, adopt.map(|adopt| adopt.knowledge.knows_before))
}

#[test]
fn a_part_that_was_taken_without_its_leases_goes_back_to_the_node_that_knows_them() {
    let record = taken_by_beta(&by_alpha_alone());
    assert_eq!((record.node.as_str(), record.clear), ("beta", true));
    assert_eq!(record.former, former("alpha", FILES[0]));
    // Beta's record names alpha, and beta has sent its leases.
    let named = PartRecord {
        named: [mark_of("alpha")].into(),
        ..record
    };
    assert_eq!(taken_back(&named, FILES[0]), (4, Some(true)));
    // Alpha's files have changed, or it knows none of beta's leases, or another node had the
    // part.
    assert_eq!(taken_back(&named, files(9, 0)), (3, Some(false)));
    let unnamed = PartRecord {
        named: BTreeSet::new(),
        ..named.clone()
    };
    assert_eq!(taken_back(&unnamed, FILES[0]).1, None);
    let gamma = PartRecord {
        former: former("gamma", FILES[0]),
        ..named
    };
    assert_eq!(taken_back(&gamma, FILES[0]), (3, Some(false)));
}

#[test]
fn nobody_is_believed_to_know_what_its_record_does_not_say_that_it_knows() {
    let none = |record: PartRecord| assert_eq!(taken_by_beta(&record).former, None);
    // The node was waiting itself; it had other ranges; a third node knows what came from its
    // part by a previous range.
    none(PartRecord {
        clear: false,
        ..by_alpha_alone()
    });
    none(PartRecord {
        ranges: only_four(range(1, 2)),
        ..by_alpha_alone()
    });
    none(PartRecord {
        past: past(range(1, 2), false),
        former: former("gamma", files(9, 0)),
        ..by_alpha_alone()
    });
}

#[test]
fn the_node_that_had_a_part_by_another_range_than_before_knows_what_is_withheld() {
    let alpha = former("alpha", FILES[0]);
    let beta = former("beta", FILES[1]);
    for before in [None, beta] {
        let moved = PartRecord {
            past: past(range(1, 2), true),
            former: before,
            ..by_alpha_alone()
        };
        let taken = taken_by_beta(&moved);
        assert_eq!(taken.former, alpha);
        let knowledge = FormerKnowledge {
            had_all: true,
            is_complemented: before == beta,
        };
        assert_eq!(taken.former_knowledge, knowledge);
    }
}

/// Beta has both parts: its own, and that of alpha, with this record.
fn takes_both(of_alpha: &PartRecord, past: Option<PastAddresses>) -> NodeLeaseStatus {
    let mut beta = leases("beta");
    let own = PartRecord {
        past,
        ..codec::decode(&of_beta(beta.ranges, &[])).unwrap()
    };
    let own = PartRecord {
        files: FILES[1],
        ..own
    };
    let granted = |part: &str, record: Vec<u8>| KnownLease {
        holder: "beta".to_owned(),
        ..lease(part, 6, 9 * AWAIT_NS, record)
    };
    let mut all = [
        granted("0", codec::encode(of_alpha)),
        granted("1", codec::encode(&own)),
    ];
    beta.apply_known_leases(&all);
    let at_ns = [0, AWAIT_NS, AWAIT_NS, AWAIT_NS];
    let standings = at_ns.map(|at_ns| {
        let (standing, written) = beta.evaluate_parts(&STORED, &knowledge(1, None), at_ns);
        for written in written {
            let part = usize::from(written.name.ends_with('1'));
            (all[part].number, all[part].record) = (written.number, written.value);
        }
        beta.apply_known_leases(&all);
        standing
    });
    standings.into_iter().next_back().unwrap()
}

#[test]
fn what_the_node_of_a_part_did_not_know_is_what_this_one_knows() {
    use crate::dhcp::pool::{AddressKnowledge, Holder};
    let ip = |last| Ipv4Addr::new(10, 0, 0, last);
    let beta = former("beta", FILES[1]);
    let fates_of = |record: PartRecord, of_beta| {
        let standing = takes_both(&record, of_beta);
        let held = &standing.held[&0];
        assert!(held.has_former && !held.has_all_leases);
        let moved = held.moved.clone().unwrap();
        let fates = moved.four.fates(|_, _, _| None);
        [2, 4].map(|last| fates(ip(last)))
    };
    let fates = |past, had_all, of_beta| {
        let record = PartRecord {
            past,
            former: beta,
            former_knowledge: FormerKnowledge {
                had_all,
                is_complemented: false,
            },
            ..by_alpha_alone()
        };
        fates_of(record, of_beta)
    };
    let also = AddressKnowledge::Also(Holder::Before(None));
    // Beta assigned 1 to 3 by a previous range; alpha assigned the rest of the part.
    let given = past(range(1, 3), true);
    let of_alpha = past(range(6, 8), true);
    assert_eq!(
        fates(of_alpha, false, given),
        [also, AddressKnowledge::Before]
    );
    // Alpha had taken the part without its leases, of which beta had all.
    assert_eq!(fates(of_alpha, true, given), [also, also]);
    // Beta no longer knows those leases.
    let lost = past(range(1, 3), false);
    assert_eq!(
        fates(of_alpha, false, lost),
        [AddressKnowledge::Unclear, AddressKnowledge::Before]
    );
    // Without another range, beta knew the whole part.
    assert_eq!(fates(None, false, None), [also, also]);
    // Alpha was still waiting for beta's leases.
    let waiting = PartRecord {
        past: of_alpha,
        has_own_leases: true,
        clear: false,
        ..by_alpha_alone()
    };
    assert_eq!(fates_of(waiting, given), [also, AddressKnowledge::Before]);
}

#[test]
fn the_node_that_knows_is_remembered_by_each_that_does_not() {
    let before = PartRecord {
        named: [mark_of("alpha")].into(),
        ..taken_by_beta(&by_alpha_alone())
    };
    let takes = |me: &str, files: LeaseFiles| {
        let mut node = leases(me);
        let adopted = Knowledge {
            adopted: [(0, 7)].into(),
            copies: [(0, ("beta".to_owned(), 6))].into(),
            files,
            ..Knowledge::default()
        };
        let named = PartRecord {
            named: [mark_of(me)].into(),
            ..before.clone()
        };
        node.apply_known_leases(&[KnownLease {
            holder: me.to_owned(),
            ..lease("0", 7, SECOND, codec::encode(&named))
        }]);
        let (_, written) = node.evaluate_parts(&STORED, &adopted, 0);
        let record: PartRecord = codec::decode(&written[0].value).unwrap();
        record.former
    };
    assert_eq!(takes("gamma", files(5, 0)), before.former);
    assert_eq!(takes("beta", FILES[1]), before.former);
    // The node itself knows the leases.
    assert_eq!(takes("alpha", FILES[0]), None);
}

#[test]
fn with_another_range_the_node_that_knows_is_one_that_knows_of_all_parts() {
    let alpha = former("alpha", FILES[0]);
    let moved = |formers: [Option<FormerHolder>; 2]| {
        let mut beta = leases("beta");
        let lease = |part: usize| {
            let record = PartRecord {
                node: "beta".to_owned(),
                former: formers[part],
                files: FILES[1],
                ..by_alpha_alone()
            };
            KnownLease {
                holder: "beta".to_owned(),
                ..lease(&part.to_string(), 6, SECOND, codec::encode(&record))
            }
        };
        beta.apply_known_leases(&[lease(0), lease(1)]);
        beta.set_range(Some(range(3, 14)), None, 3_600);
        let (_, written) = beta.evaluate_parts(&STORED, &knowledge(1, None), 0);
        let record: PartRecord = codec::decode(&written[0].value).unwrap();
        assert_eq!(record.ranges, beta.ranges);
        record.former
    };
    // An address of the other part, for which no node waits, may move to this one.
    assert_eq!(moved([alpha, None]), alpha);
    assert_eq!(moved([None, alpha]), alpha);
    assert_eq!(moved([alpha, alpha]), alpha);
    assert_eq!(moved([alpha, former("gamma", files(1, 0))]), None);
    assert_eq!(moved([None; 2]), None);
}

/// A node that takes part 0 in epoch 7 with this record, and is connected to the other one.
fn takes(
    node: usize,
    record: &PartRecord,
    is_copied: bool,
) -> (ClusterLeases, NodeLeaseStatus, PartRecord) {
    let me = ["alpha", "beta"][node];
    let mut leases = leases(me);
    let knowledge = Knowledge {
        linked: [["beta", "alpha"][node].to_owned()].into(),
        adopted: is_copied.then_some((0, 7)).into_iter().collect(),
        ..knowledge(node, is_copied.then_some((&*record.node, record.epoch)))
    };
    let other = |name: &str| KnownLease {
        holder: ["beta", "alpha"][node].to_owned(),
        ..lease(name, 1, 0, Vec::new())
    };
    let others = [other(["@beta", "@alpha"][node]), other("1")];
    let mut held = KnownLease {
        holder: me.to_owned(),
        ..lease("0", 7, SECOND, codec::encode(record))
    };
    let all = |held: &KnownLease| [&[held.clone()][..], &others].concat();
    leases.apply_known_leases(&all(&held));
    let (_, written) = leases.evaluate_parts(&STORED, &knowledge, 0);
    held.record.clone_from(&written[0].value);
    held.number = written[0].number;
    leases.apply_known_leases(&all(&held));
    let (standing, _) = leases.evaluate_parts(&STORED, &knowledge, 0);
    (leases, standing, codec::decode(&held.record).unwrap())
}

#[test]
fn a_part_that_goes_back_before_its_leases_are_told_has_the_same_node_that_knows_them() {
    let alpha = former("alpha", FILES[0]);
    let by_beta = PartRecord {
        named: [mark_of("alpha")].into(),
        ..taken_by_beta(&by_alpha_alone())
    };
    let (mut leases, standing, first) = takes(0, &by_beta, true);
    assert_eq!((first.is_unheard, first.former), (true, alpha));
    assert!(!standing.held[&0].has_former && !standing.held[&0].is_former_there);
    // Beta has the part back and has received nothing, or everything.
    let (_, standing, back) = takes(1, &first, false);
    assert_eq!((back.clear, back.former), (true, alpha));
    let held = &standing.held[&0];
    assert!(held.has_former && held.had_former && held.is_former_there);
    let (_, standing, back) = takes(1, &first, true);
    assert_eq!((back.clear, back.former), (true, None));
    assert!(!standing.held[&0].has_former);
    // Clients may get leases from now on: beta knows all of them.
    let told = Knowledge {
        in_step: [(0, (7, ["beta".to_owned()].into()))].into(),
        ..knowledge(0, None)
    };
    let (_, written) = leases.evaluate_parts(&STORED, &told, 0);
    let heard: PartRecord = codec::decode(&written[0].value).unwrap();
    assert_eq!((heard.is_unheard, heard.former), (false, None));
}

#[test]
fn a_node_does_not_take_its_part_back_from_one_that_is_about_to_say_what_was_withheld() {
    let by_alpha = PartRecord {
        former: former("beta", FILES[1]),
        named: [mark_of("beta")].into(),
        ..by_alpha_alone()
    };
    let (_, _, by_beta) = takes(1, &by_alpha, true);
    assert!(by_beta.is_unheard);
    let rank = |record: &PartRecord, copy_of: Option<(&str, u64)>| {
        let mut alpha = leases("alpha");
        let held = KnownLease {
            holder: "beta".to_owned(),
            ..lease("0", 7, 0, codec::encode(record))
        };
        alpha.apply_known_leases(&[held]);
        alpha.evaluate_parts(&STORED, &knowledge(0, copy_of), 0);
        alpha.wants(true, 0)[0].rank
    };
    // Alpha wants the part as much as beta does, in case beta fails, and as its own part once it
    // has a copy.
    assert_eq!(rank(&by_beta, None), 2);
    assert_eq!(rank(&by_beta, Some(("beta", 7))), 3);
    let knows_no_more = PartRecord {
        former: None,
        ..by_beta
    };
    assert_eq!(rank(&knows_no_more, None), 3);
}
