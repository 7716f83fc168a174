//! Recordings there and back, and damaged.

use super::*;
use configuration::outside::{Account, AccountKind, Secret, Unreadable};
use proptest::prelude::*;
use std::net::IpAddr;
use std::sync::Arc;

fn options() -> LoadOptions {
    LoadOptions {
        resolve_names: true,
        ignore_unresolved: false,
        diag: true,
        unverified_servers: true,
        host: "alpha.example".into(),
        node: Some("alpha".into()),
        nodes: vec!["alpha".into(), "beta".into()],
        version: "version 12".into(),
    }
}

/// One that has something in each of its fields.
fn full() -> Recording {
    let mut environment = Environment::empty();
    environment.set("A", "1");
    environment.set("B", *b"\xff\0");
    let mut facts = Facts::new("2.6.12")
        .with_features(["A", "B"])
        .with_enabled(["C"]);
    facts.tls_library = "a library".into();
    facts.openssl_version = Some("3.0".into());
    facts.awslc_api = Some(u32::MAX);
    let options = options();
    let text = |text: &str| Text::new(text.into());
    let files = vec![("a.cfg".into(), text("global\n")), ("b".into(), text(""))];
    let mut recording = Recording::new(files, environment, facts, options);
    recording.services = vec![Service {
        name: "www".into(),
        interface: "eth0".into(),
        router_id: 51,
        addresses: vec![[172, 16, 61, 150].into(), [0xfe80_u16; 8].into()],
        backends: vec!["app".into()],
    }];
    let addresses: Arc<[IpAddr]> = Arc::new([[127, 0, 0, 1].into(), [0xff_u16; 8].into()]);
    recording.keep(Answers {
        files: [
            ("/a".into(), Ok(text(&"x".repeat(300)))),
            ("/b".into(), Err(Unreadable::TooLarge(u64::MAX))),
            ("/c".into(), Err(Unreadable::Refused(-2))),
            ("/d".into(), Err(Unreadable::Unnameable)),
        ]
        .into(),
        secrets: [
            (
                "/key".into(),
                Ok(Secret::copy(b"-----BEGIN PRIVATE KEY-----")),
            ),
            ("/no".into(), Err(Unreadable::Refused(2))),
        ]
        .into(),
        entries: [
            ("/dir".into(), Ok(["a".into(), "b".into()].into())),
            ("/gone".into(), Err(Unreadable::Refused(2))),
        ]
        .into(),
        modes: [("a.cfg".into(), true), ("b".into(), false)].into(),
        directories: [("/chain".into(), true)].into(),
        hosts: [
            ("here".into(), Arc::clone(&addresses)),
            ("nowhere".into(), Arc::new([]) as Arc<[IpAddr]>),
        ]
        .into(),
        accounts: [
            ((AccountKind::User, "root".into()), Account::Known(0)),
            (
                (AccountKind::User, "rot".into()),
                Account::Unknown(Some("root".into())),
            ),
            ((AccountKind::Group, "rot".into()), Account::Unknown(None)),
        ]
        .into(),
        own_addresses: Some(Some(addresses)),
    });
    recording
}

#[test]
fn a_recording_is_the_same_behind_its_bytes() {
    let mut recording = full();
    for own in [None, Some(None), Some(Some(Arc::new([]) as Arc<[IpAddr]>))] {
        recording.answers.own_addresses = own;
        let bytes = recording.encode();
        assert_eq!(Recording::decode(&bytes), Ok(recording.clone()));
        let mut written = Vec::new();
        recording.write_to(&mut written).unwrap();
        assert_eq!(written, *bytes);
        assert_eq!(bytes.capacity(), bytes.len());
    }
}

#[test]
fn the_form_of_a_version_does_not_change() {
    // Whoever changes it raises the version.
    let start: Vec<u8> = full().encode()[..31].to_vec();
    assert_eq!(
        start,
        b"EVENKEEL\x05\0\0\0\x01\x02\x05a.cfg\x07global\n\x01b\0"
    );
}

#[test]
fn what_is_no_recording_is_refused_with_its_place() {
    let bytes = full().encode();
    let decode = |bytes: &[u8]| Recording::decode(bytes).unwrap_err();
    for cut in 0..bytes.len() {
        let error = decode(&bytes[..cut]);
        let expected = matches!(
            error,
            RecordingError::NotOne
                | RecordingError::Truncated { .. }
                | RecordingError::TooLarge { .. }
        );
        assert!(expected, "{cut}: {error}");
    }
    let longer = [&bytes[..], b"x"].concat();
    assert_eq!(
        decode(&longer),
        RecordingError::Trailing { at: bytes.len() }
    );
    let mut newer = bytes.clone();
    newer[8] = 6;
    assert_eq!(decode(&newer), RecordingError::Version(6));
    assert_eq!(decode(b"global\n"), RecordingError::NotOne);
    // Sixteen million files in thirteen bytes, and a number without an end.
    let mut greedy = bytes[..13].to_vec();
    greedy.extend([0xff, 0xff, 0xff, 0x07]);
    assert!(matches!(
        decode(&greedy),
        RecordingError::TooLarge {
            number: 0xff_ffff,
            ..
        }
    ));
    greedy.extend([0xff; 20]);
    assert!(matches!(decode(&greedy), RecordingError::TooLarge { .. }));
}

#[test]
fn what_a_secret_holds_is_neither_shown_nor_told_of_files_that_lines_name() {
    let recording = full();
    assert!(recording.has_secrets());
    assert!(!format!("{recording:?}").contains("PRIVATE"));
    let told = recording.named().find(|(path, _)| path.ends_with("key"));
    assert_eq!(told, Some((Path::new("/key"), None)));
    let mut other = recording.clone();
    other.answers.secrets.clear();
    assert!(!other.has_secrets());
    assert_ne!(other, recording);
    // A key in a file that nobody took for a secret.
    let key = Text::new(b"x\n-----BEGIN EC PRIVATE KEY-----\n".to_vec());
    other.answers.files.insert("/list".into(), Ok(key));
    assert!(other.has_secrets());
}

#[test]
fn the_head_of_a_recording_tells_whether_it_may_be_written_to_a_file() {
    let mut recording = full();
    let head = |recording: &Recording| recording.encode()[..HEAD_BYTES].to_vec();
    assert!(!without_secrets(&head(&recording)));
    recording.answers.secrets.clear();
    let open = head(&recording);
    assert!(without_secrets(&open));
    assert!(!without_secrets(&open[..HEAD_BYTES - 1]));
    assert!(!without_secrets(b"EVENKEEL\x01\0\0\0\0"));
}

#[test]
fn the_files_are_listed_once_each() {
    let recording = full();
    let files: Vec<_> = recording
        .files()
        .map(|path| path.display().to_string())
        .collect();
    assert_eq!(
        files,
        [
            "/a", "/b", "/c", "/chain", "/d", "/dir", "/gone", "/key", "/no", "a.cfg", "b"
        ]
    );
}

proptest! {
    #[test]
    fn damaged_bytes_are_refused_or_are_a_recording(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
        cuts in any::<bool>(),
    ) {
        let mut bytes = full().encode();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if cuts {
            let length = cut.index(bytes.len());
            bytes.truncate(length);
        }
        if let Ok(recording) = Recording::decode(&bytes) {
            prop_assert_eq!(Recording::decode(&recording.encode()), Ok(recording.clone()));
            // Loading it may tell of anything, but ends.
            crate::load::replay(recording);
        }
    }

    #[test]
    fn any_bytes_behind_a_head_are_refused_or_are_a_recording(
        rest in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let bytes = [&b"EVENKEEL\x05\0\0\0"[..], &rest].concat();
        if let Ok(recording) = Recording::decode(&bytes) {
            prop_assert_eq!(Recording::decode(&recording.encode()), Ok(recording));
        }
    }
}

#[test]
fn the_number_of_the_content_is_that_of_the_files_less_the_states_of_servers() {
    let dir = std::env::temp_dir().join(format!("evenkeel-content-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let (list, states) = (dir.join("list"), dir.join("states"));
    std::fs::write(&list, "one\n").unwrap();
    std::fs::write(&states, "1\n").unwrap();
    let text = |comment: &str| {
        format!(
            "# {comment}\nglobal\n server-state-file {}\nfrontend f\n mode http\n bind 127.0.0.1:1\n acl a path -f {}\n \
             http-request deny if a\nbackend b\n load-server-state-from-file global\n server s 127.0.0.1:1\n",
            states.display(),
            list.display()
        )
    };
    let content = |comment: &str| {
        let loaded = crate::keyword::testing::load_text(&text(comment));
        let named = loaded.recording.named().map(|(path, _)| path.to_owned());
        assert_eq!(named.collect::<Vec<_>>(), [list.clone(), states.clone()]);
        loaded.recording.content(&loaded.watched.states)
    };
    let first = content("a");
    assert_eq!(content("a"), first);
    assert_ne!(content("b"), first, "the configuration");
    std::fs::write(&states, "2\n").unwrap();
    assert_eq!(content("a"), first, "what an earlier process has left");
    std::fs::write(&list, "two\n").unwrap();
    assert_ne!(content("a"), first, "a list");
    std::fs::remove_file(&list).unwrap();
    let missing = content("a");
    std::fs::remove_dir_all(&dir).unwrap();
    assert_ne!(missing, first);
}
