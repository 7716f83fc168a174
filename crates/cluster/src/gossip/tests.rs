//! Tests that entries merge in any order, and reach all members through others.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

const A: MemberId = MemberId(1);
const B: MemberId = MemberId(2);
const C: MemberId = MemberId(3);
const ALL: [MemberId; 3] = [A, B, C];

fn member(me: MemberId) -> Gossip {
    let mut gossip = Gossip::new(me, 1);
    gossip.belong(ALL);
    gossip
}

fn put(gossip: &mut Gossip, topic: &str, text: &str) {
    let bytes = Some(text.as_bytes().to_vec());
    gossip.put(topic, bytes).expect("it is small");
}

fn meet(one: &mut Gossip, other: &mut Gossip, now_ms: u64) {
    let answer = other.answer(&one.ask(), now_ms).expect("an answer");
    if let Some(rest) = one
        .merge_response(&answer, now_ms)
        .expect("an answer is taken")
    {
        other.answer(&rest, now_ms).expect("the rest is taken");
    }
}

#[test]
fn gossip_passes_through_a_third_member() {
    let (mut a, mut b, mut c) = (member(A), member(B), member(C));
    put(&mut a, "health", "a is well");
    put(&mut b, "health", "b is well");
    meet(&mut a, &mut c, 1000);
    meet(&mut c, &mut b, 2000);
    assert_eq!(b.get(A, "health"), Some(&b"a is well"[..]));
    meet(&mut a, &mut c, 3000);
    assert_eq!(a.get(B, "health"), Some(&b"b is well"[..]));
    assert_eq!(a.silent_ms(B, 3500), Some(500));
    assert_eq!(a.silent_ms(C, 3500), Some(2500));
    let all: Vec<_> = a.all("health").map(|(member, _)| member).collect();
    assert_eq!(all, [A, B]);
}

#[test]
fn known_entries_are_not_sent_again() {
    let (mut a, mut b) = (member(A), member(B));
    put(&mut a, "long", &"x".repeat(10_000));
    meet(&mut a, &mut b, 0);
    assert!(a.delta(&b.ages()).is_empty() && b.delta(&a.ages()).is_empty());
    put(&mut a, "short", "y");
    put(&mut a, "long", &"x".repeat(10_000));
    assert!(
        codec::encode(&a.delta(&b.ages())).len() < 200,
        "of what is the same nothing"
    );
    let answer = b.answer(&a.ask(), 0).expect("an answer");
    let rest = a
        .merge_response(&answer, 0)
        .expect("taken")
        .expect("there is more");
    assert!(rest.len() < 200);
}

#[test]
fn heartbeat_renews_an_entry_and_topics_are_removable() {
    let (mut a, mut b) = (member(A), member(B));
    put(&mut a, "t", "x");
    meet(&mut a, &mut b, 0);
    meet(&mut a, &mut b, 5000);
    assert_eq!(b.silent_ms(A, 5000), Some(5000), "nothing new");
    a.beat();
    a.put("t", None).expect("it is less");
    meet(&mut b, &mut a, 6000);
    assert_eq!(b.silent_ms(A, 6000), Some(0));
    assert_eq!(b.get(A, "t"), None);
    assert_eq!((b.silent_ms(C, 0), b.silent_ms(B, 0)), (None, Some(0)));
}

#[test]
fn entries_of_non_members_are_ignored() {
    let (mut a, mut b) = (member(A), member(B));
    put(&mut b, "t", "x");
    meet(&mut a, &mut b, 0);
    a.belong([A, C]);
    assert_eq!((a.get(B, "t"), a.silent_ms(B, 0)), (None, None));
    meet(&mut a, &mut b, 0);
    assert_eq!(a.get(B, "t"), None);
    a.belong(ALL);
    meet(&mut a, &mut b, 0);
    assert_eq!(a.get(B, "t"), Some(&b"x"[..]));
}

#[test]
fn restarted_member_is_accepted_despite_an_earlier_clock() {
    let (mut a, mut b) = (Gossip::new(A, 100), member(B));
    a.belong(ALL);
    put(&mut a, "t", "first start");
    put(&mut a, "other", "x");
    meet(&mut a, &mut b, 0);
    let mut a = Gossip::new(A, 50);
    a.belong(ALL);
    put(&mut a, "t", "second start");
    meet(&mut a, &mut b, 0);
    meet(&mut a, &mut b, 0);
    assert_eq!(b.get(A, "t"), Some(&b"second start"[..]));
    assert_eq!(b.get(A, "other"), None, "that was said by an earlier start");
}

#[test]
fn oversized_entry_changes_nothing() {
    let mut a = member(A);
    let long = "x".repeat(TOPIC_NAME_BYTES_MAX + 1);
    assert_eq!(a.put(&long, Some(vec![1])), Err(TooMuch::Name));
    assert_eq!(
        a.put("t", Some(vec![0; ENTRY_BYTES_MAX + 1])),
        Err(TooMuch::Bytes)
    );
    for number in 0..TOPICS_MAX {
        put(&mut a, &number.to_string(), "x");
    }
    let before = a.ages();
    assert_eq!(a.put("one more", Some(vec![1])), Err(TooMuch::Topics));
    assert_eq!(a.ages(), before);
}

#[test]
fn invalid_or_oversized_gossip_is_refused() {
    let mut a = member(A);
    assert!(matches!(a.answer(b"no", 0), Err(GossipError::Malformed(_))));
    let much = vec![0; MESSAGE_BYTES_MAX + 1];
    assert!(matches!(
        a.merge_response(&much, 0),
        Err(GossipError::TooLarge)
    ));
    let ages: Ages = (0..=ENTRIES_MAX as u64)
        .map(|id| (MemberId(id), Age::default()))
        .collect();
    let message = GossipMessage {
        ages: Some(ages),
        ..GossipMessage::default()
    };
    let bytes = codec::encode(&message);
    assert!(matches!(a.answer(&bytes, 0), Err(GossipError::TooLarge)));

    let topic = Topic {
        sequence: 7,
        bytes: Some(vec![0; ENTRY_BYTES_MAX + 1]),
    };
    let age = Age {
        incarnation: 1,
        start: 1,
        sequence: 7,
    };
    let topics = BTreeMap::from([("t".to_owned(), topic)]);
    let entry = Entry { age, topics };
    a.merge(
        &Delta(BTreeMap::from([(B, EntryChange { after: 0, entry })])),
        0,
    );
    assert_eq!(a.get(B, "t"), None);
}

#[test]
fn incomplete_change_waits_for_the_whole_entry() {
    let (mut a, mut b, mut c) = (member(A), member(B), member(C));
    put(&mut a, "first", "x");
    meet(&mut a, &mut b, 0);
    put(&mut a, "second", "y");
    // The delta was made for b, which has the first entry.
    let delta = a.delta(&b.ages());
    c.merge(&delta, 0);
    assert_eq!((c.get(A, "second"), c.get(A, "first")), (None, None));
    meet(&mut a, &mut c, 0);
    assert!(c.get(A, "second").is_some() && c.get(A, "first").is_some());
}

/// An arbitrary entry, including entries of no correct member.
fn some_entry() -> impl Strategy<Value = Entry> {
    let topic = (
        proptest::sample::select(vec!["s", "t", "u"]),
        0_u64..6,
        proptest::option::of(vec(0_u8..3, 0..2)),
    );
    (0_u64..3, vec(topic, 0..4)).prop_map(|(incarnation, topics)| {
        let topics: BTreeMap<String, Topic> = topics
            .into_iter()
            .map(|(name, sequence, bytes)| (name.to_owned(), Topic { sequence, bytes }))
            .collect();
        let sequence = topics.values().map(|topic| topic.sequence).max();
        let sequence = sequence.unwrap_or(0);
        let age = Age {
            incarnation,
            start: incarnation,
            sequence,
        };
        Entry { age, topics }
    })
}

fn some_delta() -> impl Strategy<Value = Delta> {
    let members = proptest::sample::select(vec![B, C]);
    vec((members, some_entry()), 0..3).prop_map(|entries| {
        let whole = |(id, entry)| (id, EntryChange { after: 0, entry });
        Delta(entries.into_iter().map(whole).collect())
    })
}

fn merged(deltas: &[&Delta]) -> BTreeMap<MemberId, Entry> {
    let mut gossip = member(A);
    deltas.iter().for_each(|delta| gossip.merge(delta, 0));
    gossip.entries.retain(|_, entry| *entry != Entry::default());
    gossip.entries
}

fn all_of(gossip: &BTreeMap<MemberId, Entry>) -> Delta {
    let whole = |(id, entry): (&MemberId, &Entry)| {
        let entry = entry.clone();
        (*id, EntryChange { after: 0, entry })
    };
    Delta(gossip.iter().map(whole).collect())
}

proptest! {
    #[test]
    fn merge_is_commutative_and_idempotent(
        x in some_delta(), y in some_delta(), z in some_delta()
    ) {
        let all = merged(&[&x, &y, &z]);
        for order in [[&x, &z, &y], [&y, &x, &z], [&y, &z, &x], [&z, &x, &y], [&z, &y, &x]] {
            prop_assert_eq!(&merged(&order), &all, "commutative");
        }
        prop_assert_eq!(&merged(&[&x, &y, &z, &y, &x, &x]), &all, "idempotent");
        let x_and_y = all_of(&merged(&[&x, &y]));
        let y_and_z = all_of(&merged(&[&y, &z]));
        prop_assert_eq!(&merged(&[&x_and_y, &z]), &merged(&[&x, &y_and_z]), "associative");
    }

    /// Members set values, restart and meet in any order, and some messages are lost.
    /// Once all pairs but one have met, all members know the same.
    #[test]
    fn all_members_converge(
        happenings in vec((0_usize..3, 0_usize..3, 0_u8..8), 1..60)
    ) {
        let mut members: Vec<Gossip> = ALL.map(member).into();
        for (number, (one, other, what)) in happenings.into_iter().enumerate() {
            let now_ms = number as u64 * 1000;
            match what {
                0..=2 => {
                    let topic = format!("t{}", what % 2);
                    put(&mut members[one], &topic, &number.to_string());
                }
                3 => members[one].put("t0", None).expect("it is less"),
                4 => {
                    // Draws an incarnation that is never the same, and as often below the last one
                    // as above it.
                    let incarnation = 10 * ((number as u64 + 1) * 7919 % 1009);
                    members[one] = Gossip::new(ALL[one], incarnation);
                    members[one].belong(ALL);
                }
                // The response to this request is lost.
                5 if one != other => {
                    let ask = members[one].ask();
                    let _ = members[other].answer(&ask, now_ms);
                }
                _ if one != other => {
                    let mut taken = std::mem::replace(&mut members[other], member(A));
                    meet(&mut members[one], &mut taken, now_ms);
                    members[other] = taken;
                }
                _ => members[one].beat(),
            }
        }
        // a and b see c only.
        let [a, b, c] = &mut members[..] else { unreachable!("they are three") };
        for now_ms in 0..6 {
            meet(a, c, now_ms);
            meet(b, c, now_ms);
        }
        prop_assert_eq!(&a.entries, &c.entries);
        prop_assert_eq!(&b.entries, &c.entries);
        for (member, topic) in [(A, "t0"), (B, "t0"), (C, "t1")] {
            prop_assert_eq!(a.get(member, topic), b.get(member, topic));
        }
    }

    #[test]
    fn hostile_bytes_never_panic(bytes in vec(any::<u8>(), 0..300)) {
        let mut a = member(A);
        let _ = a.answer(&bytes, 0);
        let _ = a.merge_response(&bytes, 0);
    }
}
