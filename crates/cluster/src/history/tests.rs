//! Tests the comparison of versions, and the tracing of lines.

use super::*;
use crate::command::VersionId;
use crate::file_set::{FileSet, SetFile};
use language::difference::Vocabulary;

fn file(path: &str, text: &str) -> SetFile {
    SetFile {
        path: path.to_owned(),
        main: path.ends_with(".cfg"),
        secret: path.ends_with(".key"),
        mode: 0o644,
        bytes: text.as_bytes().to_vec(),
    }
}

fn set(files: &[(&str, &str)]) -> FileSet {
    FileSet {
        files: files.iter().map(|(path, text)| file(path, text)).collect(),
        ..FileSet::default()
    }
}

fn certificate(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let whose = text.split("of=").nth(1)?.split_whitespace().next()?;
    Some(format!("a certificate of {whose}"))
}

fn compare(old: &[(&str, &str)], new: &[(&str, &str)]) -> String {
    let vocabulary = Vocabulary {
        secrets: vec!["password", "insecure-password", "auth"],
        ..Vocabulary::default()
    };
    let mask = Mask {
        vocabulary: &vocabulary,
        certificate,
    };
    unified(&between(&set(old), &set(new), &mask))
}

const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";

#[test]
fn versions_are_compared_by_file_with_masked_secrets() {
    let pem = |whose: &str, key: &str| {
        format!("{CERTIFICATE}\nof={whose}\n-----BEGIN PRIVATE KEY-----\n{key}\n")
    };
    let (old_pem, new_pem) = (pem("www.example", "SECRET1"), pem("www.example", "SECRET2"));
    let chain = format!("{CERTIFICATE}\nof=root\n");
    let old = [
        (
            "a.cfg",
            "global\n    maxconn 10\nlisten a\n    bind :80\n    stats auth u:SECRET3\n    mode http\n",
        ),
        ("gone.cfg", "global\n"),
        ("www.pem", &*old_pem),
        ("x.key", "SECRET4"),
        ("routes.map", "a b\nc d\n"),
        ("same.map", "a b\n"),
        ("page.bin", "a\0b"),
    ];
    let new = [
        (
            "a.cfg",
            "global\n    maxconn 20\nlisten a\n    bind :80\n    stats auth u:SECRET5\n    mode http\n",
        ),
        ("www.pem", &*new_pem),
        ("x.key", "SECRET6"),
        ("chain.pem", &*chain),
        ("routes.map", "a b\nc e"),
        ("same.map", "a b\n"),
        ("page.bin", "a\0c"),
        ("new.map", "x y\n# password z\n"),
    ];
    let told = compare(&old, &new);
    assert!(!told.contains("SECRET"), "{told}");
    insta::assert_snapshot!(told);
}

#[test]
fn version_equals_itself() {
    let all = [("a.cfg", "global\n"), ("x.key", "secret")];
    assert_eq!(compare(&all, &all), "");
    assert_eq!(compare(&[], &[]), "");
}

#[test]
fn changes_of_mode_and_role_are_reported() {
    let old = set(&[("a.cfg", "global\n"), ("b.map", "x\n")]);
    let mut new = old.clone();
    new.files[0].main = false;
    new.files[1].mode = 0o600;
    let vocabulary = Vocabulary::default();
    let mask = Mask {
        vocabulary: &vocabulary,
        certificate,
    };
    assert_eq!(
        unified(&between(&old, &new, &mask)),
        "a.cfg: no longer a configuration file\nb.map: mode changed from 0644 to 0600\n"
    );
    assert!(compare(&[("a.cfg", "x\n")], &[("a.cfg", "x")]).contains("line end of"));
}

#[test]
fn unrelated_large_texts_are_compared_in_bounded_time() {
    let text =
        |salt: usize| -> String { (0..60_000).map(|n| format!("{}\n", n * 7 + salt)).collect() };
    let (old, new) = (text(1), text(3));
    let begun = std::time::Instant::now();
    let told = compare(&[("a.map", &old)], &[("a.map", &new)]);
    assert!(told.lines().count() > 100_000);
    assert!(begun.elapsed().as_secs() < 60, "{:?}", begun.elapsed());
}

fn blamed(blame: &Blame, has_parent: bool) -> Vec<String> {
    let told = |line: BlamedLine| {
        let older = if line.or_older { "-" } else { "" };
        format!("{}:{}{older}", line.number, line.version)
    };
    blame.lines(has_parent).into_iter().map(told).collect()
}

#[test]
fn blame_names_the_version_that_added_a_line() {
    let mut blame = Blame::new(VersionId(4), b"a\nb2\nc\nd\nnew\n");
    blame.older(VersionId(3), Some(b"a\nb2\nc\nd\n"));
    assert!(blame.is_open());
    blame.older(VersionId(2), Some(b"a\nb\nc\n"));
    blame.older(VersionId(1), Some(b"c\n"));
    assert_eq!(blamed(&blame, false), ["1:2", "2:3", "3:1", "4:3", "5:4"]);
    assert_eq!(blamed(&blame, true), ["1:2", "2:3", "3:1-", "4:3", "5:4"]);
    blame.older(VersionId(0), None);
    assert!(!blame.is_open());
    assert_eq!(blamed(&blame, true)[2], "3:1");
}

#[test]
fn blame_of_a_restored_line_names_the_restoring_version() {
    let mut blame = Blame::new(VersionId(3), b"a\nb\n");
    blame.older(VersionId(2), Some(b"a\n"));
    blame.older(VersionId(1), Some(b"a\nb\n"));
    assert_eq!(blamed(&blame, false), ["1:1", "2:3"]);
}
