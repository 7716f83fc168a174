//! Tests copies and confirmations of owned keys, one message at a time.

use super::*;
use std::collections::BTreeSet;

#[derive(Clone, Copy, PartialEq, Debug)]
struct Change(u8, KeyState);

/// State of a key: of a client, of nobody known, or free.
#[derive(Clone, Copy, PartialEq, Debug)]
enum KeyState {
    Client(u8),
    Unknown,
    Free,
}

impl OwnedChange for Change {
    type Key = u8;
    type Group = u8;

    const KEYS_MAX: usize = 4;

    fn key(&self) -> u8 {
        self.0
    }

    fn group(&self) -> Option<u8> {
        match self.1 {
            KeyState::Client(client) => Some(client),
            KeyState::Unknown | KeyState::Free => None,
        }
    }

    fn has_record(&self) -> bool {
        self.1 != KeyState::Free
    }
}

fn message(epoch: u64, content: OwnedContent<Change>) -> OwnedMessage<Change> {
    OwnedMessage {
        part: 1,
        epoch,
        number: 1,
        content,
    }
}

/// Copies with an empty copy of part 1 of beta, in epoch 4.
fn copies() -> OwnedCopies<Change> {
    let mut copies = OwnedCopies::default();
    for content in [OwnedContent::Begin(3), OwnedContent::Whole] {
        copies.take("beta", &message(4, content)).unwrap();
    }
    copies
}

#[test]
fn client_is_found_as_long_as_it_has_a_key_of_the_part() {
    let mut copies = copies();
    let set = |copies: &mut OwnedCopies<Change>, key, state| {
        let change = OwnedContent::Changes(vec![Change(key, state)]);
        copies.take("beta", &message(4, change)).unwrap();
    };
    let found = |copies: &OwnedCopies<Change>| {
        let found = copies.key_of(1, |part, key| part == 1 && key != 9);
        found.map(|(key, node)| (key, node.to_owned()))
    };
    set(&mut copies, 9, KeyState::Client(1));
    assert_eq!(found(&copies), None);
    let expected = Some((7, "beta".to_owned()));
    for other in [KeyState::Client(2), KeyState::Unknown, KeyState::Free] {
        set(&mut copies, 7, KeyState::Client(1));
        assert_eq!(found(&copies), expected);
        set(&mut copies, 7, other);
        assert_eq!(found(&copies), None);
    }
    set(&mut copies, 7, KeyState::Client(1));
    copies.hold(1, 5);
    assert_eq!(found(&copies), None);
}

#[test]
fn confirmation_of_an_earlier_copy_does_not_confirm_a_later_one() {
    let mut parts = OwnedParts::<Change>::default();
    let link = parts.linked("beta");
    let begin = |parts: &mut OwnedParts<Change>, epoch, division| {
        parts.hold(0, epoch);
        parts.begin(0, division, &[]);
        let last = std::iter::from_fn(|| parts.next("beta")).last().unwrap();
        Confirmation {
            part: 0,
            epoch,
            number: last.number,
        }
    };
    let first = begin(&mut parts, 7, 1);
    parts.clear();
    let second = begin(&mut parts, 7, 2);
    parts.confirmed("beta", link, first, 0);
    assert_eq!(parts.in_step(0), BTreeSet::new());
    let of_next_epoch = Confirmation { epoch: 8, ..second };
    let of_no_message = Confirmation {
        number: second.number + 1,
        ..second
    };
    for wrong in [of_next_epoch, of_no_message] {
        parts.confirmed("beta", link, wrong, 0);
        assert_eq!(parts.in_step(0), BTreeSet::new());
    }
    parts.confirmed("beta", link + 1, second, 0);
    assert_eq!(parts.in_step(0), BTreeSet::new());
    parts.confirmed("beta", link, second, 0);
    assert_eq!(parts.in_step(0), ["beta".to_owned()].into());
}

#[test]
fn messages_of_an_earlier_owner_or_beyond_bounds_are_refused() {
    let mut copies = copies();
    let change = |count: usize| OwnedContent::Changes(vec![Change(1, KeyState::Unknown); count]);
    let mut takes = |node: &str, epoch, content| {
        let taken = copies.take(node, &message(epoch, content));
        taken.err()
    };
    assert_eq!(takes("beta", 4, change(CHANGES_MAX)), None);
    let too_much = Some(OwnedCopyError::TooMuch);
    assert_eq!(takes("beta", 4, change(CHANGES_MAX + 1)), too_much);
    let not_begun = Some(OwnedCopyError::NotBegun);
    assert_eq!(takes("gamma", 4, change(1)), not_begun);
    assert_eq!(takes("beta", 5, change(1)), not_begun);
    assert_eq!(takes("beta", 5, OwnedContent::Whole), not_begun);
    copies.hold(1, 4);
    let old = copies.take("beta", &message(4, change(1)));
    assert_eq!(old, Err(OwnedCopyError::Old));
    let beyond = OwnedMessage {
        part: PARTS_MAX,
        ..message(9, OwnedContent::Begin(0))
    };
    assert_eq!(copies.take("beta", &beyond).err(), too_much);
}
