//! Tests encoded, decoded and damaged recordings of loads.

use super::*;
use crate::outside::{Account, AccountKind, Secret, Unreadable};
use crate::sections::Sections;
use proptest::prelude::*;
use std::net::IpAddr;
use std::sync::Arc;

fn options() -> LoadOptions {
    LoadOptions {
        resolve_names: true,
        ignore_unresolved: false,
        diag: true,
        unverified_servers: true,
        here: true,
        host: "alpha.example".into(),
        node: Some("alpha".into()),
        nodes: vec!["alpha".into(), "beta".into()],
        version: "version 12".into(),
    }
}

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
    let sections = Sections {
        names: &[("global", ""), ("node", "")],
        shared: &[("node", "global")],
        ..Sections::NONE
    };
    let words = SectionKeywords::from_parts([&sections]);
    let mut recording = Recording::new(files, environment, facts, options, words);
    recording.nodes = Some(Default::default());
    recording.imports = vec![Export::new("virtual-ip", "www", &("eth0", 51))];
    let addresses: Arc<[IpAddr]> = Arc::new([[127, 0, 0, 1].into(), [0xff_u16; 8].into()]);
    recording.store_answers(Answers {
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
        own_files: ["/b".into()].into(),
    });
    recording
}

#[test]
fn a_recording_is_the_same_behind_its_bytes() {
    let mut recording = full();
    for own in [None, Some(None), Some(Some(Arc::new([]) as Arc<[IpAddr]>))] {
        recording.answers.own_addresses = own;
        let bytes = recording.encode();
        assert_eq!(Recording::decode(&bytes).unwrap(), recording);
        let mut written = Vec::new();
        recording.write_to(&mut written).unwrap();
        assert_eq!(written, *bytes);
        assert_eq!(bytes.capacity(), bytes.len());
    }
}

#[test]
fn two_recordings_are_equivalent_whatever_addresses_this_host_has() {
    let mut other = full();
    other.answers.own_addresses = Some(None);
    assert!(other != full() && other.is_equivalent(&full()));
    other.options.version = "version 3".to_owned();
    assert!(other.is_equivalent(&full()));
    other.answers.hosts.clear();
    assert!(!other.is_equivalent(&full()));
}

#[test]
fn changed_inputs_are_named() {
    let mut other = full();
    let hosts: Vec<String> = other.answers.hosts.keys().cloned().collect();
    other.answers.hosts.clear();
    other.options.nodes.push("gamma".to_owned());
    let changed = full().changed_inputs(&other);
    let expected = hosts.iter().map(|name| format!("host name {name}"));
    let expected: Vec<String> = expected.chain(["program options".to_owned()]).collect();
    assert_eq!(changed, expected);
    assert_eq!(other.changed_inputs(&full()), expected);
}

#[test]
fn the_form_of_a_version_does_not_change() {
    // A change of the format requires a new version of the format.
    let bytes = full().encode();
    assert_eq!(bytes[..13], *b"EVENKEEL\x08\0\0\0\x01");
    let length = (bytes.len() as u64 - 21).to_le_bytes();
    assert_eq!(bytes[13..21], length);
    let start = b"\xdc\0\x10\x92\x92\xa5a.cfg\xc4\x07global\n\x92\xa1b\xc4\0";
    assert_eq!(bytes[21..][..start.len()], *start);
}

#[test]
fn what_is_no_recording_is_refused_with_what_is_wrong() {
    let bytes = full().encode();
    let decode = |bytes: &[u8]| Recording::decode(bytes).unwrap_err();
    let named = bytes.len() as u64 - 21;
    for cut in 0..bytes.len() {
        let error = decode(&bytes[..cut]);
        let expected = match cut {
            0..21 => matches!(error, RecordingError::NotOne),
            _ => {
                matches!(error, RecordingError::Length { found, named: n } if n == named && found == cut as u64 - 21)
            }
        };
        assert!(expected, "{cut}: {error}");
    }
    let longer = [&bytes[..], b"x"].concat();
    assert_eq!(
        decode(&longer).to_string(),
        format!("the recording has {} bytes instead of {named}", named + 1)
    );
    let mut newer = bytes.clone();
    newer[8] = 7;
    assert!(matches!(decode(&newer), RecordingError::Version(7)));
    assert!(matches!(decode(b"global\n"), RecordingError::NotOne));
    // Refuses four thousand million files in five bytes, and deeply nested lists.
    for body in [&b"\x9e\xdd\xff\xff\xff\xff"[..], &[0x91; 200]] {
        let length = (body.len() as u64).to_le_bytes();
        let greedy = [&bytes[..13], &length, body].concat();
        assert!(matches!(decode(&greedy), RecordingError::Malformed(_)));
    }
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
    // A key counts as a secret even in a file that was not read as one.
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
            prop_assert_eq!(Recording::decode(&recording.encode()).unwrap(), recording);
        }
    }

    #[test]
    fn any_bytes_behind_a_head_are_refused_or_are_a_recording(
        rest in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let length = (rest.len() as u64).to_le_bytes();
        let bytes = [&b"EVENKEEL\x08\0\0\0\0"[..], &length, &rest].concat();
        if let Ok(recording) = Recording::decode(&bytes) {
            prop_assert_eq!(Recording::decode(&recording.encode()).unwrap(), recording);
        }
    }
}
