//! Tests the bytes of the peers protocol that HAProxy 2.6 sends and accepts, and invalid ones.

use super::*;
use proptest::prelude::*;

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits
        .chunks_exact(2)
        .map(|pair| (pair[0] * 16 + pair[1]) as u8)
        .collect()
}

fn number(bit: u8, element: u32, n: u64) -> PeersElement {
    let value = PeersValue::Number(n);
    PeersElement {
        bit,
        element,
        value,
    }
}

/// Returns `type string size 100 expire 1h store http_req_cnt`, and a table with servers.
fn tables() -> Vec<TableDescription> {
    let plain = |bit| Stored {
        bit,
        elements: 1,
        period_ms: 0,
    };
    vec![
        TableDescription {
            name: b"ts".to_vec(),
            key: KeyType::String,
            key_length: 32,
            expire_ms: 3_600_000,
            stored: vec![plain(9)],
        },
        TableDescription {
            name: b"b".to_vec(),
            key: KeyType::String,
            key_length: 17,
            expire_ms: 600_000,
            stored: vec![plain(0), plain(19)],
        },
    ]
}

fn established(role: PeersRole) -> Session {
    let mut session = Session::new(role, tables(), 0);
    match role {
        PeersRole::Accepting => {
            let events = session.handle(b"HAProxyS 2.1\nB\nA 9616 1\n", 0).unwrap();
            let hello = Hello {
                to: "B".into(),
                from: "A".into(),
                process: 9616,
            };
            assert_eq!(events, [Event::Greeted(hello)]);
            session.send_status(PeersStatus::Succeeded);
            assert_eq!(session.output(), b"200\n");
        }
        PeersRole::Connecting => {
            let hello = Hello {
                to: "B".into(),
                from: "A".into(),
                process: 7,
            };
            session.send_hello(&hello);
            assert_eq!(session.output(), b"HAProxyS 2.1\nB\nA 7 1\n");
            assert_eq!(session.handle(b"200\n", 0), Ok(vec![Event::Established]));
        }
    }
    let all = session.output().len();
    session.sent(all, 0);
    session
}

#[test]
fn numbers_are_those_of_the_wire() {
    let rows: &[(u64, &str)] = &[
        (0, "00"),
        (239, "ef"),
        (240, "f000"),
        (512, "f011"),
        (10_000, "f0e203"),
        (3_600_000, "f0d9dc0c"),
        (300_000, "f0af9100"),
        (0x1f_1fff1, "f1f0be7b"),
    ];
    for (n, hex) in rows {
        let mut bytes = Vec::new();
        write_integer(&mut bytes, *n);
        assert_eq!(read_integer(&bytes), Some((*n, &[][..])), "{n}");
        if *n != 0x1f_1fff1 {
            assert_eq!(bytes, unhex(hex), "{n}");
        }
    }
    for shift in 0..64 {
        let mut bytes = Vec::new();
        write_integer(&mut bytes, u64::MAX >> shift);
        assert_eq!(read_integer(&bytes), Some((u64::MAX >> shift, &[][..])));
    }
    assert_eq!(read_integer(&[0xff; 20]), None);
}

#[test]
fn what_haproxy_sends_is_understood() {
    let mut session = established(PeersRole::Accepting);
    // A definition, an update, a table with a dictionary, its update.
    let bytes = unhex(
        "0a820c040274730620f011f0d9dc0c 0a800800000002022f6101 0a820d0101620611f1f1fe00f0eda3010a800d00000001022f61010401027331 0a8108022f62020202",
    );
    let mut events = Vec::new();
    for byte in &bytes {
        events.extend(session.handle(&[*byte], 1).unwrap());
    }
    let update = |table, number, key: &[u8], fields| {
        let expires_in_ms = None;
        Event::Update(Update {
            table,
            number,
            expires_in_ms,
            key: key.to_vec(),
            fields,
        })
    };
    let text = |text: &str| PeersElement {
        bit: 19,
        element: 0,
        value: PeersValue::Text(Some(text.into())),
    };
    assert_eq!(events.len(), 2);
    assert_eq!(events[0], update(0, 2, b"/a", vec![number(9, 0, 1)]));
    assert_eq!(
        events[1],
        update(1, 1, b"/a", vec![number(0, 0, 1), text("s1")])
    );
    session.acknowledge();
    assert_eq!(session.output(), unhex("0a840504000000020a84050100000001"));
}

#[test]
fn what_is_sent_are_the_bytes_of_haproxy() {
    let mut session = established(PeersRole::Connecting);
    let expires_in_ms = None;
    let fields = vec![number(9, 0, 1)];
    session.push(&Update {
        table: 0,
        number: 2,
        expires_in_ms,
        key: b"/a".to_vec(),
        fields,
    });
    let text = PeersElement {
        bit: 19,
        element: 0,
        value: PeersValue::Text(Some("s1".into())),
    };
    for (number_, key) in [(1, b"/a"), (2, b"/b")] {
        let fields = vec![number(0, 0, 1), text.clone()];
        session.push(&Update {
            table: 1,
            number: number_,
            expires_in_ms,
            key: key.to_vec(),
            fields,
        });
    }
    let expected = "0a820c010274730620f011f0d9dc0c 0a800800000002022f6101 \
                    0a820d0201620611f1f1fe00f0eda301 0a800d00000001022f61010401027331 0a8106022f62010101";
    assert_eq!(session.output(), unhex(expected));
    let all = session.output().len();
    session.sent(all, 5);
    let fields = vec![number(9, 0, 300_000)];
    session.push(&Update {
        table: 0,
        number: 3,
        expires_in_ms: Some(9),
        key: b"/a".to_vec(),
        fields,
    });
    assert_eq!(
        session.output(),
        unhex("0a8301 01 0a860b 00000009 022f61 f0af9100")
    );
}

#[test]
fn what_one_session_sends_another_understands() {
    let (mut one, mut other) = (
        established(PeersRole::Connecting),
        established(PeersRole::Accepting),
    );
    let fields = vec![
        number(0, 0, 3),
        PeersElement {
            bit: 19,
            element: 0,
            value: PeersValue::Text(None),
        },
    ];
    let update = |number| Update {
        table: 1,
        number,
        expires_in_ms: Some(1000),
        key: b"k".to_vec(),
        fields: fields.clone(),
    };
    for number in [7, 8, 10] {
        one.push(&update(number));
    }
    one.send(PeersControlMessage::ResyncFinished);
    let events = other.handle(one.output(), 3).unwrap();
    let expected = [7, 8, 10].map(|number| Event::Update(update(number)));
    assert_eq!(events[..3], expected);
    assert_eq!(events[3], Event::Resynced { whole: true });
    other.acknowledge();
    let answers = one.handle(other.output(), 4).unwrap();
    assert_eq!(
        answers,
        [
            Event::Confirmed,
            Event::Acknowledged {
                table: 1,
                number: 10
            }
        ]
    );
}

#[test]
fn heartbeats_are_sent_and_silence_ends_the_session() {
    let mut session = established(PeersRole::Accepting);
    assert_eq!(session.deadline(), 3_000);
    assert_eq!(session.handle_time(3_000), Ok(()));
    assert_eq!(session.output(), [0, 4]);
    assert_eq!(session.handle(&[0, 4], 9_000), Ok(vec![Event::Heartbeat]));
    assert_eq!(session.handle_time(12_000), Ok(()));
    assert_eq!(session.handle_time(19_000), Err(PeersError::Silent));
}

#[test]
fn invalid_greetings_are_refused() {
    let rows: &[(&[u8], &[u8])] = &[
        (b"GET / HTTP/1.1\r\n", b"501\n"),
        (b"HAProxyS 1.0\nB\nA 1 1\n", b"502\n"),
        (b"HAProxyS\nB\nA 1 1\n", b"501\n"),
    ];
    for (bytes, answer) in rows {
        let mut session = Session::new(PeersRole::Accepting, tables(), 0);
        assert_eq!(session.handle(bytes, 0), Err(PeersError::Greeting));
        assert_eq!(session.output(), *answer);
    }
    let mut session = Session::new(PeersRole::Connecting, tables(), 0);
    session.send_hello(&Hello {
        to: "B".into(),
        from: "A".into(),
        process: 1,
    });
    assert_eq!(session.handle(b"503\n", 0), Err(PeersError::Refused(503)));
}

#[test]
fn hostile_messages_end_the_connection() {
    let rows = [
        // An update without a table, a truncated definition, and one with an unknown key type.
        "0a800800000002022f6101",
        "0a8203010274",
        "0a820c010274730920f011f0d9dc0c",
        // A key longer than its message, an array with too many elements.
        "0a820c010274730620f011f0d9dc0c0a8008000000027f2f6101",
        "0a820f01027473062000f0f1ffffff0f00",
        // A length that does not end, and one that is too large.
        "0a80ffffffffffffffffffffff",
        "0a80f0ffffff7f",
        "0100",
    ];
    for hex in rows {
        let mut session = established(PeersRole::Accepting);
        let result = session.handle(&unhex(hex), 0);
        let waits = result.as_ref().is_ok_and(|events| events.is_empty());
        assert!(
            result.is_err() || waits && hex.starts_with("0a820f"),
            "{hex}: {result:?}"
        );
    }
}

#[test]
fn random_bytes_never_do_harm() {
    let mut random = lab::Random::new(1);
    let mut next = move || random.next();
    for _ in 0..3000 {
        let mut session = established(PeersRole::Accepting);
        let mut bytes = unhex(
            "0a820c040274730620f011f0d9dc0c0a800800000002022f61010a820d0101620611f1f1fe00f0eda3010a800d00000001022f61010401027331",
        );
        for _ in 0..1 + next() % 4 {
            let at = next() as usize % bytes.len();
            bytes[at] = next() as u8;
        }
        let _ = session.handle(&bytes, 0);
        assert!(session.output().len() < 100);
    }
}

#[test]
fn handshake_timeout_is_not_extended() {
    let mut session = Session::new(PeersRole::Accepting, tables(), 0);
    for at in 1..9u64 {
        let byte = &b"HAProxyS"[at as usize - 1..at as usize];
        assert_eq!(session.handle(byte, at * 1000), Ok(Vec::new()));
        assert_eq!(session.handle_time(at * 1000), Ok(()));
    }
    assert_eq!(session.handle_time(10_000), Err(PeersError::Silent));
}

#[test]
fn peer_that_does_not_read_uses_bounded_memory() {
    let mut session = established(PeersRole::Accepting);
    let mut fault = None;
    for _ in 0..100_000 {
        // The end of a resynchronization, which is confirmed.
        if let Err(why) = session.handle(&[0, 1], 1) {
            fault = Some(why);
            break;
        }
    }
    assert!(fault.is_some() && session.output().len() < 1000);
    // A peer that reads the confirmations may send the message any number of times.
    let mut session = established(PeersRole::Accepting);
    for _ in 0..1000 {
        assert!(session.handle(&[0, 1], 1).is_ok());
        session.sent(session.output().len(), 1);
    }
}

proptest! {
    #[test]
    fn messages_of_a_peer_are_bounded(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
        kinds in proptest::collection::vec((128u8..136, proptest::collection::vec(any::<u8>(), 0..60)), 0..20),
    ) {
        let mut session = Session::new(PeersRole::Accepting, tables(), 0);
        let _ = session.handle(&bytes, 0);
        let mut session = established(PeersRole::Accepting);
        let _ = session.handle(&unhex("0a820d0101620611f1f1fe00f0eda301"), 0);
        for (kind, content) in kinds {
            let mut message = vec![10, kind, content.len() as u8];
            message.extend_from_slice(&content);
            let half = message.len() / 2;
            let events = session.handle(&message[..half], 0);
            let more = session.handle(&message[half..], 0);
            for event in events.into_iter().chain(more).flatten() {
                if let Event::Update(update) = event {
                    prop_assert!(update.table < tables().len());
                    prop_assert!(update.key.len() <= 32 && update.fields.len() <= 2);
                }
            }
            prop_assert!(session.output().len() < 1000);
        }
    }

    #[test]
    fn numbers_are_terminated_or_invalid(bytes in proptest::collection::vec(any::<u8>(), 0..24)) {
        if let Some((_, rest)) = read_integer(&bytes) {
            prop_assert!(bytes.ends_with(rest) && rest.len() < bytes.len());
        }
    }

    #[test]
    fn descriptions_are_decoded_as_encoded(number: u64, length in 2u32..2000, expire_ms: u32, name in "[a-z/]{1,40}") {
        let table = TableDescription {
            name: name.into_bytes(),
            key: KeyType::String,
            key_length: length,
            expire_ms,
            stored: tables()[1].stored.clone(),
        };
        let mut bytes = Vec::new();
        table.write(number, &mut bytes);
        prop_assert_eq!(TableDescription::read(&bytes), Some((number, table)));
    }
}
