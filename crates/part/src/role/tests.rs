//! Tests of every message kind: encoding, decoding and invalid bytes.

use super::*;
use crate::role::{
    CertificateEnd, CheckProgram, KnownLeases, Lacks, PACKET_BYTES_MAX, PartPlan, Rights, Settings,
    TracedRole, WATCHED_BYTES_MAX, WORDS_BYTES_MAX, WatchedDirectory,
};
use proptest::prelude::*;

fn watch() -> Watch {
    Watch {
        delay_ms: 500,
        configuration: true,
        directories: vec![WatchedDirectory {
            path: b"/etc".to_vec(),
            names: vec![b"a.map".to_vec(), b"\xff".to_vec()],
            every: false,
            suffix: b".cfg".to_vec(),
        }],
    }
}

fn plan() -> VersionPlan {
    VersionPlan {
        content: 7,
        rights: Rights {
            uid: Some(65534),
            gid: Some(7),
            groups: vec![7, 8],
            chroot: Some(b"/var/empty".to_vec()),
            capabilities: 1 << 13,
        },
        settings: Settings {
            connections: Some(100),
            proxy_connections: None,
            connections_max: 2000,
            threads: 2,
        },
        files_max: 5000,
        memory_bytes: Some(1 << 30),
        daemon: true,
        pid_file: Some(b"/run/h.pid".to_vec()),
        hard_stop_after_ms: Some(30_000),
        quiet: true,
        log_levels: "info,cluster=debug".to_owned(),
        names: vec!["a.cfg".into(), "b.cfg".into()],
        proxies: 3,
        listeners: 2,
        operations: 1,
        numbered: vec![(1, 5)],
        logs: vec![true, false],
        fixed: vec!["'user' stays nobody".into()],
        difference: "+ backend b".into(),
        reused: 2,
        watch: Some(watch()),
        without_secrets: true,
        without_proxy: true,
        parts: vec![PartPlan {
            part: "address".into(),
            objects: 9,
            noun: "virtual addresses".into(),
            stop_ms: 2_000,
            together: true,
        }],
        programs: vec![CheckProgram {
            command: b"/bin/check".to_vec(),
            path: b"/bin".to_vec(),
        }],
        programs_account: Some((97, 98)),
        resources: Vec::new(),
        lacks: Lacks {
            left_out: vec![1],
            missing: Vec::new(),
        },
        certificates: vec![CertificateEnd {
            file: "site.pem".into(),
            from_s: 1,
            until_s: 2,
        }],
    }
}

fn load(look: DiagnosticFormat) -> Load {
    Load {
        personality: Personality::Haproxy,
        arguments: vec![b"-f".to_vec(), b"\xff.cfg".to_vec()],
        pid: 42,
        files_soft: 1024,
        look: Some(look),
        previous: Some(plan()),
        watched: true,
        set: true,
        dry: false,
        parts_unknown: true,
        before: Before {
            socket: Some(b"/run/h.sock".to_vec()),
            pids: vec![7, 8],
        },
        accepted: true,
        found: Some(b"/state/found".to_vec()),
        states: [("guest".to_owned(), b"/run/guest.state".to_vec())].into(),
        retries: true,
        operation: "7f3a9c".to_owned(),
    }
}

fn take() -> Take {
    Take {
        version: 7,
        personality: Personality::Haproxy,
        background: true,
        plan: plan(),
        options: b"\xff of the role".to_vec(),
        keep: true,
        shared: true,
        state: true,
        fresh: true,
        salt: vec![9; 32],
        operation: "7f3a9c".to_owned(),
    }
}

/// Messages of requests and of the communication between parts.
fn of_parts() -> [SupervisorMessage; 9] {
    let part = || "address".to_owned();
    [
        SupervisorMessage::TellReport { part: part() },
        SupervisorMessage::Part(Box::new(PartMessage {
            holds: true,
            ..PartMessage::new("address", 7, &KnownLeases::default())
        })),
        SupervisorMessage::Answer {
            bytes: b"\xff".to_vec(),
        },
        SupervisorMessage::Nobody {
            words: "nobody".to_owned(),
            missing: true,
        },
        SupervisorMessage::Gone { part: part() },
        SupervisorMessage::Check,
        SupervisorMessage::Find,
        SupervisorMessage::Serve {
            trial: true,
            operation: "7f3a9c".to_owned(),
        },
        SupervisorMessage::Verdict {
            good: true,
            together: false,
        },
    ]
}

fn wide() -> DiagnosticFormat {
    DiagnosticFormat {
        color: true,
        unicode: false,
        width: 80,
        as_json: false,
    }
}

fn every_message() -> Vec<SupervisorMessage> {
    let look = wide();
    let words = || "words".to_owned();
    let mut all = vec![
        SupervisorMessage::Load(Box::default()),
        SupervisorMessage::Load(Box::new(load(look))),
        SupervisorMessage::Loaded(Box::new(plan())),
        SupervisorMessage::NotLoaded(Box::new(NotLoaded {
            exit: 2,
            unchanged: true,
            content: 7,
            watch: Some(watch()),
        })),
        SupervisorMessage::Take(Box::new(take())),
        SupervisorMessage::TakeTrial(Box::new(TakeTrial {
            take: take(),
            former: Take::default(),
        })),
        SupervisorMessage::Accept,
        SupervisorMessage::Revert,
        SupervisorMessage::TrialEnded,
        SupervisorMessage::WentBack { words: words() },
        SupervisorMessage::Shared,
        SupervisorMessage::WantsHelper,
        SupervisorMessage::Helper,
        SupervisorMessage::TellPulse,
        SupervisorMessage::Pulse,
        SupervisorMessage::Stop(Manner::Soft),
        SupervisorMessage::Stop(Manner::Yield),
        SupervisorMessage::Stop(Manner::Now { signal: 15 }),
        SupervisorMessage::Stop(Manner::Leave),
        SupervisorMessage::Pause,
        SupervisorMessage::Resume,
        SupervisorMessage::TellState,
        SupervisorMessage::GiveVersion,
        SupervisorMessage::Ready {
            version: 1,
            words: words(),
        },
        SupervisorMessage::Taken {
            version: 2,
            words: words(),
        },
        SupervisorMessage::Refused {
            version: 3,
            words: words(),
        },
        SupervisorMessage::State {
            rest: true,
            asked: true,
        },
        SupervisorMessage::State {
            rest: false,
            asked: true,
        },
        SupervisorMessage::AddState,
        SupervisorMessage::Version(Box::new(take())),
        SupervisorMessage::Ended { words: words() },
        SupervisorMessage::Stopping,
        SupervisorMessage::Obeys { signal: 2 },
    ];
    all.extend([
        SupervisorMessage::Reload { look, fresh: true },
        SupervisorMessage::Reloaded { exit: 1 },
        SupervisorMessage::Unknown { kind: 999 },
        SupervisorMessage::SetLogLevels {
            levels: "info,cluster=debug".to_owned(),
        },
        SupervisorMessage::TraceEvents(Box::new(TraceRequest {
            role: "volume".to_owned(),
            levels: Some("debug".to_owned()),
            for_ms: 600_000,
        })),
        SupervisorMessage::TraceEvents(Box::default()),
        SupervisorMessage::TracedRoles(Box::new(TraceResponse {
            roles: vec![TracedRole {
                role: "volume".to_owned(),
                levels: "debug".to_owned(),
                left_ms: Some(7),
                process: Some(42),
            }],
        })),
    ]);
    all.extend(of_adoption());
    all.extend(of_parts());
    all
}

fn of_adoption() -> [SupervisorMessage; 4] {
    [
        SupervisorMessage::Missing {
            words: "words".to_owned(),
        },
        SupervisorMessage::Guard { uid: 65534 },
        SupervisorMessage::Alone { version: 9 },
        SupervisorMessage::Supervised,
    ]
}

#[test]
fn every_kind_has_a_number_of_its_own() {
    let kinds: std::collections::BTreeSet<u16> = every_message()
        .iter()
        .map(SupervisorMessage::kind)
        .collect();
    assert!(kinds.into_iter().eq(1..=KINDS));
}

#[test]
fn every_message_is_decoded_as_encoded() {
    for message in every_message() {
        let packet = message.encode(9, 3);
        let header = Header {
            kind: message.kind(),
            descriptors: 3,
            ask: 9,
        };
        assert_eq!(Header::decode(&packet), Ok(header));
        assert_eq!(
            SupervisorMessage::decode(&packet),
            Ok(Decoded::Message(message))
        );
    }
}

#[test]
fn unknown_fields_are_ignored_and_missing_ones_empty() {
    #[derive(Serialize)]
    enum Later {
        Ready {
            version: u64,
            more: Vec<(u32, String)>,
            words: String,
        },
        Loaded {
            proxies: u32,
            guests: Vec<String>,
        },
    }
    let ready = Later::Ready {
        version: 7,
        more: vec![(1, "what is to come".into())],
        words: "words".into(),
    };
    let loaded = Later::Loaded {
        proxies: 3,
        guests: vec!["what is to come".into()],
    };
    let plan = VersionPlan {
        proxies: 3,
        ..VersionPlan::default()
    };
    let known = SupervisorMessage::Ready {
        version: 7,
        words: "words".into(),
    };
    for (later, known) in [
        (ready, known),
        (loaded, SupervisorMessage::Loaded(Box::new(plan))),
    ] {
        let mut packet = known.encode(0, 0);
        packet.truncate(HEADER_BYTES);
        packet.extend(codec::encode(&later));
        assert_eq!(
            SupervisorMessage::decode(&packet),
            Ok(Decoded::Message(known))
        );
    }
}

#[test]
fn truncated_message_is_refused_at_every_length() {
    for message in every_message() {
        let packet = message.encode(0, 0);
        for end in 0..packet.len() {
            let cut = SupervisorMessage::decode(&packet[..end]);
            assert_eq!(cut, Err(DecodeError::Malformed), "{message:?} {end}");
        }
    }
}

#[test]
fn unknown_message_kind_is_not_an_error() {
    let mut packet = SupervisorMessage::Pause.encode(0, 0);
    packet[2..4].copy_from_slice(&777u16.to_le_bytes());
    assert_eq!(
        SupervisorMessage::decode(&packet),
        Ok(Decoded::Unknown(777))
    );
}

#[test]
fn foreign_packet_is_refused() {
    let version = {
        let mut packet = SupervisorMessage::Pause.encode(0, 0);
        packet[1] = 9;
        packet
    };
    let crowd = SupervisorMessage::Pause.encode(0, DESCRIPTORS_MAX + 1);
    let long = DecodeError::Descriptors(DESCRIPTORS_MAX + 1);
    for (packet, error) in [
        (&b"GET / HTTP/1.1"[..], DecodeError::Magic),
        (&version, DecodeError::Version(9)),
        (&crowd, long),
    ] {
        assert_eq!(SupervisorMessage::decode(packet), Err(error));
    }
}

#[test]
fn control_characters_in_texts_of_roles_are_removed() {
    let message = SupervisorMessage::Taken {
        version: 1,
        words: "two\nlines \x1b]0;title\x07\r\u{9b}2J".into(),
    };
    let Ok(Decoded::Message(SupervisorMessage::Taken { words, .. })) =
        SupervisorMessage::decode(&message.encode(0, 0))
    else {
        panic!("it is one");
    };
    assert_eq!(words, "two\nlines ?]0;title???2J");
}

#[test]
fn long_texts_are_cut_at_a_character_boundary() {
    let words = "ä".repeat(WORDS_BYTES_MAX);
    let packet = SupervisorMessage::Ended { words }.encode(0, 0);
    let Ok(Decoded::Message(SupervisorMessage::Ended { words })) =
        SupervisorMessage::decode(&packet)
    else {
        panic!("refused");
    };
    assert_eq!(words, "ä".repeat(WORDS_BYTES_MAX / 2));
}

#[test]
fn the_largest_plan_fits_into_a_packet() {
    let long = |bytes: usize| "x".repeat(bytes);
    let mut large_watch = watch();
    large_watch.directories = vec![large_watch.directories[0].clone(); WATCHED_BYTES_MAX];
    large_watch.fit();
    let plan = VersionPlan {
        names: vec![long(9999); 9999],
        fixed: vec![long(99999); 99],
        difference: long(99999),
        logs: vec![true; 99999],
        pid_file: Some(vec![b'x'; 99999]),
        watch: Some(large_watch),
        ..plan()
    };
    let take = Take {
        plan,
        ..Take::default()
    };
    let packet = SupervisorMessage::Take(Box::new(take)).encode(0, 0);
    assert!(packet.len() <= PACKET_BYTES_MAX, "{}", packet.len());
    assert!(SupervisorMessage::decode(&packet).is_ok());
}

proptest! {
    #[test]
    fn changed_bytes_never_grow_a_message(
        which in 0usize..64,
        changes in proptest::collection::vec((0usize..400, any::<u8>()), 1..8),
    ) {
        let messages = every_message();
        let mut packet = messages[which % messages.len()].encode(0, 0);
        for (at, byte) in changes {
            let length = packet.len();
            packet[at % length] = byte;
        }
        if let Ok(Decoded::Message(message)) = SupervisorMessage::decode(&packet) {
            // A decoded message can be encoded again.
            let again = SupervisorMessage::decode(&message.encode(0, 0));
            prop_assert_eq!(again, Ok(Decoded::Message(message)));
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut packet = SupervisorMessage::Pause.encode(0, 0);
        packet.extend(&bytes);
        for kind in 0..60u16 {
            packet[2..4].copy_from_slice(&kind.to_le_bytes());
            let _ = SupervisorMessage::decode(&packet);
        }
        let _ = SupervisorMessage::decode(&bytes);
    }
}
