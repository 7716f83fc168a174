//! Bytes that nobody meant: nothing panics, and reading ends.

use super::*;
use proptest::prelude::*;
use std::time::{Duration, Instant};

/// Far more than reading takes, on the slowest machine.
const LONGEST: Duration = Duration::from_secs(60);

fn reads(bytes: &[u8]) {
    let begun = Instant::now();
    let mut sources = SourceMap::default();
    let file = sources.add("x", bytes.to_vec());
    let mut outside = Nowhere::default();
    outside.files.insert(PathBuf::from("inc"), bytes.to_vec());
    let loaded = load(&mut sources, &[file], &Options::default(), &mut outside);
    // Every place can be shown.
    let _ = full(&sources, &loaded.diagnostics, &Look::default());
    assert!(begun.elapsed() < LONGEST);
    let _ = crate::dialect::is_keepalived(bytes, &["global"]);
}

/// Words that files are made of.
fn word() -> impl Strategy<Value = String> {
    let rows = crate::dialect::documented();
    let names: Vec<&'static str> = rows.iter().map(|row| row.name).collect();
    prop_oneof![
        4 => proptest::sample::select(names).prop_map(str::to_owned),
        2 => proptest::sample::select(vec!["{", "}", "{ ", " }\n", "\n", "\n", "\"", "'", "\\", "\\\n", "#", "!"]).prop_map(str::to_owned),
        2 => proptest::sample::select(vec!["$A=", "${A}", "$A", "$B= \\\n", "${_RANDOM 1 2}", "~SEQ(A, 1, 9)", "~LST({A,B},{1,2})", "@lb1", "@^x", "include inc", "~SEQ("]).prop_map(str::to_owned),
        2 => proptest::sample::select(vec!["eth0", "A", "10.0.0.1/24", "fe80::1", "255", "-3", "0.5", "on", "weight", "via", "MASTER"]).prop_map(str::to_owned),
        1 => "\\PC{0,6}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        reads(&bytes);
    }

    #[test]
    fn any_words_are_read(words in proptest::collection::vec(word(), 0..120)) {
        reads(words.join(" ").as_bytes());
    }

    #[test]
    fn files_with_damage_are_read(cut in 0_usize..900, put in word(), length in 0_usize..9) {
        let text = super::diagnostics::FIELD.replace("vrrp_instance_", "vrrp_instance ");
        let mut bytes = text.into_bytes();
        let at = cut.min(bytes.len());
        let end = (at + length).min(bytes.len());
        bytes.splice(at..end, put.into_bytes());
        reads(&bytes);
    }
}
