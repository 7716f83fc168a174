//! Tests random input: nothing panics, and reading ends.

use super::*;
use proptest::prelude::*;

fn reads(bytes: &[u8]) {
    let mut sources = SourceMap::default();
    let file = sources.add("x", bytes.to_vec());
    let mut outside = Nowhere::default();
    outside.files.insert(PathBuf::from("inc"), bytes.to_vec());
    let loaded = load(&mut sources, &[file], &Options::default(), &mut outside);
    // Every diagnostic can be displayed.
    let _ = full(&sources, &loaded.diagnostics, &RenderOptions::default());
    let _ = crate::dialect::is_keepalived(bytes, &["global"]);
}

/// Generates words that files consist of.
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

#[test]
fn variables_that_grow_without_end_are_refused() {
    // Each line doubles the text of the previous one, and a sequence repeats all of it.
    let mut text = format!("$A0={}\n", "x".repeat(1 << 10));
    for n in 1..6 {
        text.push_str(&format!("$A{n}=$A{0}$A{0}\n", n - 1));
    }
    text.push_str("~SEQ(N, 1, 1000000) $A5\n");
    let mut sources = SourceMap::default();
    let file = sources.add("x", text.into_bytes());
    let mut outside = Nowhere::default();
    let loaded = load(&mut sources, &[file], &Options::default(), &mut outside);
    let told = full(&sources, &loaded.diagnostics, &RenderOptions::default());
    assert!(told.contains("expand to more than 8388608 bytes"), "{told}");
}
