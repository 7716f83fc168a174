//! Tests single message exchanges between the directories of two nodes.

use super::*;
use crate::collection::{Assignee, CollectionId};
use crate::config::Balance;
use crate::directory::tests::{farm, with_apps};
use crate::directory::{DecisionVersion, Directory, FarHost, Health, HostOrder, Presence, Why};
use crate::user::FarmUser;
use lab::Random;
use record::{BROKEN_MS, CLAIM_MS};

const NAMES: [&str; 2] = ["alpha", "beta"];

fn pair() -> [Agreement; 2] {
    let mut pair = [0, 1].map(|at: u64| {
        let mut agreement = Agreement::shared(DirectoryId(at + 1), 0);
        agreement.directory.configure(&farm(Balance::Load, &[1, 1]));
        agreement
    });
    link(&mut pair, 0);
    exchange(&mut pair, 0);
    pair
}

fn link(pair: &mut [Agreement; 2], now_ms: u64) {
    for at in 0..2 {
        let other = NAMES[1 - at];
        let origin = pair[1 - at].directory.table().origin();
        pair[at].set_peers(&BTreeSet::from([other.to_owned()]), now_ms);
        pair[at].linked(other, origin, now_ms);
    }
}

/// Delivers messages in both directions until there are none.
fn exchange(pair: &mut [Agreement; 2], now_ms: u64) {
    loop {
        let mut has_moved = false;
        for at in 0..2 {
            while let Some(message) = pair[at].next_message(NAMES[1 - at], [0; 8], now_ms) {
                has_moved = true;
                pair[1 - at].handle(NAMES[at], message, now_ms).unwrap();
            }
        }
        if !has_moved {
            return;
        }
    }
}

fn logon(name: &str) -> Logon {
    let user = FarmUser::named(name).unwrap();
    Logon {
        id: user.id.into(),
        name: user.name,
        hint: None,
    }
}

fn host(outcome: LogonOutcome) -> String {
    match outcome {
        LogonOutcome::Decided(decided) => decided.unwrap().host,
        LogonOutcome::Waits(_) => panic!("it waits"),
    }
}

fn resolved(agreement: &mut Agreement) -> Vec<(String, Why)> {
    let all = agreement.take_resolved().into_iter();
    all.map(|(_, decided)| decided.unwrap())
        .map(|decision| (decision.host, decision.why))
        .collect()
}

#[test]
fn simultaneous_logons_of_a_user_get_one_host() {
    let mut pair = pair();
    // Hosts are drained so that each node alone would choose another host.
    pair[1].directory.drain("ts1", true, 0);
    for one in &mut pair {
        assert!(matches!(
            one.request(logon("anna"), 5),
            LogonOutcome::Waits(_)
        ));
    }
    exchange(&mut pair, 5);
    let hosts = [0, 1].map(|at| resolved(&mut pair[at])[0].0.clone());
    assert_eq!(hosts[0], hosts[1]);
    for one in &mut pair {
        assert_eq!(host(one.request(logon("anna"), 6)), hosts[0]);
    }
}

#[test]
fn a_known_user_is_routed_without_a_claim() {
    let mut pair = pair();
    pair[0].request(logon("anna"), 1);
    exchange(&mut pair, 1);
    assert_eq!(resolved(&mut pair[0])[0].0, "ts1");
    assert_eq!(host(pair[1].request(logon("anna"), 2)), "ts1");
    // Both nodes know the users of both, so the load is the sum.
    pair[1].request(logon("bert"), 2);
    exchange(&mut pair, 2);
    assert_eq!(resolved(&mut pair[1])[0].0, "ts2");
}

#[test]
fn simultaneous_logons_for_two_collections_get_one_host() {
    for first in 0..2 {
        let mut pair = pair();
        let sets: &[&[&str]] = &[&["ts2"]];
        for node in &mut pair {
            let farm = with_apps(farm(Balance::Load, &[1, 1]), sets);
            node.directory.configure(&farm);
        }
        let app = Logon {
            id: Assignee {
                collection: CollectionId::of(&BTreeSet::from(["ts2".to_owned()])),
                ..logon("anna").id
            },
            ..logon("anna")
        };
        pair[first].request(app, 1);
        pair[1 - first].request(logon("anna"), 1);
        exchange(&mut pair, 1);
        let hosts = [0, 1].map(|at| resolved(&mut pair[at])[0].0.clone());
        // Whichever claim arrives first, the program runs only on ts2.
        assert_eq!(hosts[first], "ts2");
        let known = pair[0].directory.of_user(logon("anna").id.user);
        let known: BTreeSet<&str> = known.map(|(_, entry)| entry.host.as_str()).collect();
        assert_eq!(known, BTreeSet::from(hosts.each_ref().map(String::as_str)));
    }
}

#[test]
fn a_node_decides_alone_after_the_connection_is_lost() {
    let mut pair = pair();
    pair[0].request(logon("anna"), 1_000);
    pair[0].broke("beta", "reset", 1_000);
    assert!(matches!(
        pair[0].request(logon("bert"), 1_001),
        LogonOutcome::Waits(_)
    ));
    pair[0].tick(1_000 + BROKEN_MS - 1);
    assert!(resolved(&mut pair[0]).is_empty());
    pair[0].tick(1_000 + BROKEN_MS);
    assert_eq!(resolved(&mut pair[0]).len(), 2);
}

#[test]
fn a_peer_silent_on_a_claim_is_dropped_and_resynced() {
    let mut pair = pair();
    pair[0].request(logon("anna"), 100);
    // The claim arrives, but its response does not.
    let claim = pair[0].next_message("beta", [0; 8], 100).unwrap();
    pair[1].handle("alpha", claim, 100).unwrap();
    pair[0].tick(100 + CLAIM_MS);
    assert_eq!(pair[0].take_broken().len(), 1);
    let alone = resolved(&mut pair[0])[0].0.clone();
    link(&mut pair, 2_000);
    exchange(&mut pair, 2_000);
    assert_eq!(host(pair[1].request(logon("anna"), 2_000)), alone);
}

#[test]
fn the_connections_of_a_node_that_is_gone_have_ended() {
    let mut pair = pair();
    pair[0].request(logon("anna"), 1);
    exchange(&mut pair, 1);
    let anna = logon("anna").id.user;
    pair[0].directory.connected(anna.into(), "ts1", 2);
    exchange(&mut pair, 2);
    let presence = |one: &Agreement| one.directory.user(anna).unwrap().presence();
    assert_eq!(presence(&pair[1]), Presence::Connected(1));
    pair[1].broke("alpha", "reset", 3);
    assert_eq!(presence(&pair[1]), Presence::Left);
    assert_eq!(host(pair[1].request(logon("anna"), 4)), "ts1");
}

#[test]
fn logons_wait_for_the_directory_of_the_other_node() {
    let mut pair = pair();
    pair[0].request(logon("anna"), 1);
    exchange(&mut pair, 1);
    let mut again = Agreement::shared(DirectoryId(9), 10);
    again.directory.configure(&farm(Balance::Load, &[1, 1]));
    again.directory.drain("ts1", true, 0);
    pair[1] = again;
    assert!(matches!(
        pair[1].request(logon("anna"), 10),
        LogonOutcome::Waits(_)
    ));
    pair[0].broke("beta", "reset", 10);
    link(&mut pair, 11);
    exchange(&mut pair, 11);
    assert_eq!(resolved(&mut pair[1]), [("ts1".to_owned(), Why::Pending)]);
}

#[test]
fn a_drain_applies_on_both_nodes_and_the_last_wins() {
    let mut pair = pair();
    pair[0].directory.drain("ts1", true, 0);
    pair[0].reopen();
    exchange(&mut pair, 1);
    let takes = |one: &Agreement| one.directory.hosts().next().unwrap().1.accepts_new_users();
    assert!(!takes(&pair[1]));
    pair[1].directory.drain("ts1", false, 0);
    pair[1].reopen();
    exchange(&mut pair, 2);
    assert!(takes(&pair[0]) && takes(&pair[1]));
}

#[test]
fn a_host_that_one_node_does_not_have_yet_keeps_its_users() {
    let mut pair = pair();
    let three = farm(Balance::Load, &[1, 1, 9]);
    pair[0].directory.configure(&three);
    pair[0].reopen();
    pair[0].request(logon("anna"), 1);
    exchange(&mut pair, 1);
    assert_eq!(resolved(&mut pair[0])[0].0, "ts3");
    assert_eq!(host(pair[1].request(logon("anna"), 2)), "ts3");
    // The host accepts no new users at this node.
    pair[1].request(logon("bert"), 2);
    exchange(&mut pair, 2);
    assert_ne!(resolved(&mut pair[1])[0].0, "ts3");
    // After the host's removal at the other node, both nodes forget it.
    pair[0].directory.configure(&farm(Balance::Load, &[1, 1]));
    pair[0].reopen();
    exchange(&mut pair, 3);
    assert!(pair[1].directory.user(logon("anna").id.user).is_none());
}

#[test]
fn merges_are_commutative_and_idempotent() {
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let record = |random: &mut Random| Record {
            user: logon(&format!("user{}", random.below(3))).id.user,
            collection: Default::default(),
            name: String::new(),
            host: format!("ts{}", random.between(1, 2)),
            removed: None,
            version: DecisionVersion {
                generation: random.below(3),
                used: random.percent(50),
                clock: random.below(3),
                origin: DirectoryId(random.below(2)),
            },
            age_ms: 0,
            left_ms: 1_000,
            connections: 0,
            is_proved: false,
        };
        let records: Vec<Record> = (0..8).map(|_| record(&mut random)).collect();
        let merged = |records: &[Record]| {
            let mut directory = UserDirectory::of(DirectoryId(7), true);
            directory.configure(&farm(Balance::Load, &[1, 1]));
            for record in records {
                directory.merge(&record.clone().into(), DirectoryId(8), 0);
            }
            let users = directory.users();
            users
                .map(|(id, entry)| (id, entry.host.clone(), entry.version))
                .collect::<Vec<_>>()
        };
        let first = merged(&records);
        let mut other = records.clone();
        for at in (1..other.len()).rev() {
            other.swap(at, random.index(at + 1));
        }
        other.extend_from_slice(&records[..4]);
        assert_eq!(first, merged(&other), "seed {seed}");
    }
}

#[test]
fn unbounded_messages_are_refused() {
    let mut pair = pair();
    let [good, ..] = [(); 1].map(|()| Record {
        user: logon("anna").id.user,
        collection: Default::default(),
        name: "anna".to_owned(),
        host: "ts1".to_owned(),
        removed: None,
        version: DecisionVersion::default(),
        age_ms: 0,
        left_ms: 1,
        connections: 1,
        is_proved: false,
    });
    let long = Record {
        host: "x".repeat(200),
        ..good.clone()
    };
    let rude = Record {
        name: "a\u{1b}[2J".to_owned(),
        ..good.clone()
    };
    let late = Record {
        version: DecisionVersion {
            clock: u64::MAX,
            ..DecisionVersion::default()
        },
        ..good.clone()
    };
    for (records, refused) in [
        (vec![long], InvalidMessage::Name),
        (vec![rude], InvalidMessage::Name),
        (vec![late], InvalidMessage::Time),
        (vec![good; 501], InvalidMessage::TooMany),
    ] {
        let handled = pair[0].handle("beta", AgreementMessage::Records(records), 1);
        assert_eq!(handled, Err(refused));
    }
    let order = HostOrder {
        clock: u64::MAX,
        ..HostOrder::default()
    };
    let orders = BTreeMap::from([("ts1".to_owned(), order)]);
    let (hosts, key) = (Vec::new(), [0; 8]);
    let handled = pair[0].handle("beta", AgreementMessage::Open { hosts, orders, key }, 1);
    assert_eq!(handled, Err(InvalidMessage::Time));
    let (user, host) = (logon("anna").id.user, "x".repeat(200));
    let handled = pair[0].handle("beta", AgreementMessage::Disconnect { user, host }, 1);
    assert_eq!(handled, Err(InvalidMessage::Name));
    assert_eq!(pair[0].directory.users().count(), 0);
}

/// Tests an order during a reload of one node before the other.
#[test]
fn an_order_for_a_host_reaches_a_node_that_has_the_host_later() {
    let mut pair = pair();
    let larger = farm(Balance::Load, &[1, 1, 1]);
    let host = larger.hosts.keys().next_back().unwrap();
    pair[0].directory.configure(&larger);
    pair[0].reopen();
    exchange(&mut pair, 1);
    assert!(pair[0].directory.drain(host, true, 0));
    pair[0].reopen();
    exchange(&mut pair, 2);
    pair[1].directory.configure(&larger);
    pair[1].reopen();
    exchange(&mut pair, 3);
    let [ours, theirs] = pair.each_ref().map(|one| one.directory.orders());
    assert_eq!((ours.len(), ours), (1, theirs));
    // The order for a removed host is forgotten together with the host.
    for one in &mut pair {
        one.directory.configure(&farm(Balance::Load, &[1, 1]));
        one.reopen();
    }
    exchange(&mut pair, 4);
    for one in &mut pair {
        one.tick(5);
        assert!(one.directory.orders().is_empty());
    }
}

/// Tests a session whose host no configuration has: the node that knows the session learns that
/// only later.
#[test]
fn sessions_at_removed_hosts_reach_the_next_process() {
    let mut pair = pair();
    let larger = farm(Balance::Load, &[1, 1, 1]);
    let [.., host] = larger.hosts.keys().collect::<Vec<_>>()[..] else {
        panic!("no host");
    };
    pair[1].directory.configure(&larger);
    pair[1].reopen();
    for other in larger.hosts.keys().filter(|one| *one != host) {
        assert!(pair[1].directory.drain(other, true, 0));
    }
    exchange(&mut pair, 1);
    let anna = logon("anna").id;
    assert!(matches!(
        pair[1].request(logon("anna"), 2),
        LogonOutcome::Waits(_)
    ));
    exchange(&mut pair, 2);
    pair[1].directory.connected(anna, host, 3);
    pair[1].directory.proved(anna.user, host, 3);
    exchange(&mut pair, 3);
    pair[0].broke("beta", "it died", 4);
    pair[1] = Agreement::shared(DirectoryId(9), 4);
    pair[1].directory.configure(&farm(Balance::Load, &[1, 1]));
    link(&mut pair, 5);
    exchange(&mut pair, 5);
    let hosts = pair
        .each_ref()
        .map(|one| one.directory.user(anna).map(|entry| &entry.host));
    assert_eq!(hosts, [Some(host), Some(host)]);
}

#[test]
fn simultaneous_logons_are_balanced_during_pending_claims() {
    let mut pair = pair();
    for number in 0..500 {
        for (at, one) in pair.iter_mut().enumerate() {
            // A third of the users log on at both nodes.
            let name = if number % 3 != 0 { at } else { 9 };
            let waits = one.request(logon(&format!("user{number}-{name}")), 1);
            assert!(matches!(waits, LogonOutcome::Waits(_)));
        }
    }
    exchange(&mut pair, 1);
    for one in &mut pair {
        assert_eq!(resolved(one).len(), 500);
        let counts = one.directory.hosts().map(|(_, host)| host.counts.pending);
        let counts: Vec<u64> = counts.collect();
        assert_eq!(counts.iter().sum::<u64>(), 833);
        assert!(counts[0].abs_diff(counts[1]) <= 41, "{counts:?}");
        assert!(one.directory.hosts().all(|(_, host)| host.claimed == 0));
    }
    // No claim stays pending when the other node does not respond.
    pair[0].request(logon("zoe"), 2);
    pair[0].broke("beta", "reset", 2);
    assert!(pair[0].directory.hosts().all(|(_, host)| host.claimed == 0));
}

/// Creates nodes after anna was sent to ts1, which has failed since. Alpha claims ts2 for her, and
/// beta has adopted that.
fn with_claim() -> [Agreement; 2] {
    let mut pair = pair();
    pair[0].request(logon("anna"), 1);
    exchange(&mut pair, 1);
    assert_eq!(resolved(&mut pair[0])[0].0, "ts1");
    for one in &mut pair {
        one.directory.checked("ts1", Health::Down { since_ms: 2 });
    }
    assert!(matches!(
        pair[0].request(logon("anna"), 2),
        LogonOutcome::Waits(_)
    ));
    let claim = pair[0].next_message("beta", [0; 8], 2).unwrap();
    pair[1].handle("alpha", claim, 2).unwrap();
    pair
}

#[test]
fn a_returning_host_is_not_used_during_a_pending_claim() {
    let mut pair = with_claim();
    for one in &mut pair {
        one.directory.checked("ts1", Health::Up);
    }
    assert!(matches!(
        pair[0].request(logon("anna"), 3),
        LogonOutcome::Waits(_)
    ));
    assert_eq!(host(pair[1].request(logon("anna"), 3)), "ts2");
    exchange(&mut pair, 3);
    let hosts = resolved(&mut pair[0]).into_iter().map(|(host, _)| host);
    assert_eq!(hosts.collect::<Vec<_>>(), ["ts2", "ts2"]);
}

#[test]
fn a_decision_after_a_broken_claim_applies_on_both_nodes() {
    let mut pair = with_claim();
    for one in &mut pair {
        one.directory.checked("ts1", Health::Up);
    }
    pair[0].broke("beta", "reset", 3);
    assert_eq!(host(pair[0].request(logon("anna"), 4)), "ts1");
    // Beta has adopted ts2.
    assert_eq!(host(pair[1].request(logon("anna"), 4)), "ts2");
    link(&mut pair, 5);
    exchange(&mut pair, 5);
    for one in &mut pair {
        assert_eq!(host(one.request(logon("anna"), 6)), "ts1");
    }
}

#[test]
fn one_of_two_crossing_claims_wins_despite_a_returning_host() {
    let mut pair = pair();
    for one in &mut pair {
        one.directory.configure(&farm(Balance::Load, &[1, 1, 1]));
    }
    pair[0].request(logon("anna"), 1);
    exchange(&mut pair, 1);
    assert_eq!(resolved(&mut pair[0])[0].0, "ts1");
    for one in &mut pair {
        one.directory.checked("ts1", Health::Down { since_ms: 2 });
    }
    pair[1].directory.drain("ts2", true, 0);
    for one in &mut pair {
        assert!(matches!(
            one.request(logon("anna"), 2),
            LogonOutcome::Waits(_)
        ));
    }
    for one in &mut pair {
        one.directory.checked("ts1", Health::Up);
    }
    exchange(&mut pair, 3);
    let hosts = [0, 1].map(|at| resolved(&mut pair[at])[0].0.clone());
    assert_eq!(hosts[0], hosts[1]);
    assert_ne!(hosts[0], "ts1");
}

#[test]
fn a_user_on_the_old_host_stays_on_both_nodes() {
    let mut pair = with_claim();
    let anna = logon("anna").id.user;
    pair[0].directory.connected(anna.into(), "ts1", 3);
    exchange(&mut pair, 3);
    assert_eq!(resolved(&mut pair[0])[0].0, "ts1");
    for one in &pair {
        let entry = one.directory.user(anna).unwrap();
        assert_eq!(
            (entry.host.as_str(), entry.presence()),
            ("ts1", Presence::Connected(1))
        );
    }
}

#[test]
fn connections_to_removed_hosts_count_on_both_nodes() {
    let mut pair = pair();
    let three = farm(Balance::Load, &[1, 1, 9]);
    for one in &mut pair {
        one.directory.configure(&three);
        one.reopen();
    }
    pair[0].request(logon("anna"), 1);
    exchange(&mut pair, 1);
    let anna = logon("anna").id.user;
    pair[0].directory.connected(anna.into(), "ts3", 2);
    exchange(&mut pair, 2);
    pair[0].broke("beta", "reset", 3);
    pair[1].broke("alpha", "reset", 3);
    // The host is removed and added again at alpha, while beta knows the session.
    pair[0].directory.set_far("beta", Vec::new());
    pair[0].directory.configure(&farm(Balance::Load, &[1, 1]));
    let entry = pair[0].directory.user(anna).unwrap();
    assert_eq!(entry.presence(), Presence::Connected(1));
    pair[0].directory.configure(&three);
    link(&mut pair, 4);
    exchange(&mut pair, 4);
    for one in &pair {
        let entry = one.directory.user(anna).unwrap();
        assert_eq!(entry.presence(), Presence::Connected(1));
    }
}

#[test]
fn a_restarted_node_learns_sessions_at_removed_hosts() {
    let mut pair = pair();
    pair[0].request(logon("anna"), 1);
    exchange(&mut pair, 1);
    let anna = logon("anna").id;
    pair[0].directory.connected(anna, "ts1", 2);
    exchange(&mut pair, 2);
    let mut smaller = farm(Balance::Load, &[1, 1]);
    smaller.hosts.remove("ts1");
    for one in &mut pair {
        one.directory.configure(&smaller);
        one.reopen();
    }
    exchange(&mut pair, 3);
    let record = pair[0].directory.record(anna, 3).unwrap();
    let mut fresh = UserDirectory::of(DirectoryId(9), true);
    fresh.configure(&smaller);
    fresh.merge(&record, DirectoryId(1), 3);
    let held = fresh.decision(anna, None).unwrap();
    assert_eq!(held.host, "ts1");
    // The host gets no new users, and is forgotten with its last session.
    let other = fresh.decide(&FarmUser::named("bert").unwrap(), 4).unwrap();
    assert_eq!(other.host, "ts2");
    fresh.lost(DirectoryId(1), 5);
    fresh.expire(5 + smaller.sessions.keep_ms);
    assert!(fresh.hosts().all(|(name, _)| name != "ts1"));
}

/// Tests with bytes as an earlier release of evenkeel sent them, before the directory used the
/// record store. That release may run on the other node during an upgrade.
#[test]
fn messages_are_those_of_previous_program() {
    let record = Record {
        user: UserId(std::array::from_fn(|at| at as u8 + 1)),
        collection: CollectionId([9; 8]),
        name: "anna".to_owned(),
        host: "ts1".to_owned(),
        removed: None,
        version: DecisionVersion {
            generation: 2,
            used: true,
            clock: 300,
            origin: DirectoryId((1 << 63) + 5),
        },
        age_ms: 90_000,
        left_ms: 86_400_000,
        connections: 1,
        is_proved: true,
    };
    let over = DecisionVersion {
        generation: 1,
        clock: 299,
        origin: DirectoryId(7),
        ..record.version
    };
    let host = FarHost {
        name: "ts1".to_owned(),
        address: ([10, 0, 0, 1], 3389).into(),
    };
    let order = HostOrder {
        at_ms: 1_700_000_000_000,
        clock: 5,
        origin: DirectoryId(7),
        is_drained: true,
    };
    let number = 3;
    let messages = [
        (AgreementMessage::Records(vec![record.clone()]), RECORDS),
        (
            AgreementMessage::Claim {
                number,
                record: record.clone(),
                over: Some(over),
            },
            CLAIM,
        ),
        (AgreementMessage::Reply { number, record }, REPLY),
        (AgreementMessage::Full { number }, FULL),
        (AgreementMessage::Busy { number }, BUSY),
        (AgreementMessage::Whole, WHOLE),
        (
            AgreementMessage::Open {
                hosts: vec![host],
                orders: BTreeMap::from([("ts1".to_owned(), order)]),
                key: [0, 1, 2, 3, 4, 5, 6, 7],
            },
            OPEN,
        ),
    ];
    for (message, written) in messages {
        let bytes = bytes_of(written);
        let decoded: AgreementMessage = part::codec::decode(&bytes).unwrap();
        assert_eq!(decoded, message);
        assert_eq!(part::codec::encode(&message), bytes, "{message:?}");
        // The message is the same after it was converted for the store and back.
        if let ReceivedMessage::Store(stored) = message.clone().into_store() {
            let key = [0, 1, 2, 3, 4, 5, 6, 7];
            assert_eq!(AgreementMessage::of_store(stored, key), message);
        }
    }
    // Decodes a message of the first release of evenkeel, which lacks fields that were added later.
    let old: AgreementMessage = part::codec::decode(&bytes_of(OLD)).unwrap();
    let mut pair = pair();
    pair[0].handle("beta", old, 1).unwrap();
    let entry = pair[0].directory.users().next().unwrap().1;
    assert_eq!((entry.host.as_str(), entry.is_proved), ("ts1", false));
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

const RECORDS: &str = "81a75265636f726473918aa475736572c4100102030405060708090a0b0c0d0e0f10aa636f6c6c656374\
    696f6ec4080909090909090909a46e616d65a4616e6e61a4686f7374a3747331a772656d6f766564c0a7\
    76657273696f6e84aa67656e65726174696f6e02a475736564c3a5636c6f636bcd012ca66f726967696e\
    cf8000000000000005a66167655f6d73ce00015f90a76c6566745f6d73ce05265c00ab636f6e6e656374\
    696f6e7301a969735f70726f766564c3";
const OLD: &str = "81a75265636f7264739187a475736572c4100102030405060708090a0b0c0d0e0f10a46e616d65a4616e\
    6e61a4686f7374a3747331a776657273696f6e84aa67656e65726174696f6e00a475736564c2a5636c6f\
    636b01a66f726967696e07a66167655f6d7300a76c6566745f6d73cdea60ab636f6e6e656374696f6e73\
    00";
const CLAIM: &str = "81a5436c61696d83a66e756d62657203a67265636f72648aa475736572c4100102030405060708090a0b\
    0c0d0e0f10aa636f6c6c656374696f6ec4080909090909090909a46e616d65a4616e6e61a4686f7374a3\
    747331a772656d6f766564c0a776657273696f6e84aa67656e65726174696f6e02a475736564c3a5636c\
    6f636bcd012ca66f726967696ecf8000000000000005a66167655f6d73ce00015f90a76c6566745f6d73\
    ce05265c00ab636f6e6e656374696f6e7301a969735f70726f766564c3a46f76657284aa67656e657261\
    74696f6e01a475736564c3a5636c6f636bcd012ba66f726967696e07";
const REPLY: &str = "81a55265706c7982a66e756d62657203a67265636f72648aa475736572c4100102030405060708090a0b\
    0c0d0e0f10aa636f6c6c656374696f6ec4080909090909090909a46e616d65a4616e6e61a4686f7374a3\
    747331a772656d6f766564c0a776657273696f6e84aa67656e65726174696f6e02a475736564c3a5636c\
    6f636bcd012ca66f726967696ecf8000000000000005a66167655f6d73ce00015f90a76c6566745f6d73\
    ce05265c00ab636f6e6e656374696f6e7301a969735f70726f766564c3";
const FULL: &str = "81a446756c6c81a66e756d62657203";
const BUSY: &str = "81a44275737981a66e756d62657203";
const WHOLE: &str = "a557686f6c65";
const OPEN: &str = "81a44f70656e83a5686f7374739182a46e616d65a3747331a76164647265737381a2563492940a000001\
    cd0d3da66f726465727381a374733184a561745f6d73cf0000018bcfe56800a5636c6f636b05a66f7269\
    67696e07aa69735f647261696e6564c3a36b6579980001020304050607";
