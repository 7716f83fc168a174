//! Compares the reader with HAProxy itself: random lines, and the results of `haproxy -c` (the
//! first word of each line, or the error and its position). Without haproxy 2.6 on the machine,
//! the test reports that and passes.

use language::diagnostic::{Diagnostics, Severity};
use language::environment::Environment;
use language::reader::{Facts, Reader};
use language::source::SourceMap;
use std::collections::BTreeMap;
use std::process::Command;

/// HAProxy stops after 50 errors.
const LINES: usize = 45;

const FILES: usize = 60;

const PIECES: &[&[u8]] = &[
    b" ",
    b" ",
    b" ",
    b"\t",
    b"\"",
    b"\"",
    b"'",
    b"\\",
    b"\\x4",
    b"\\x41",
    b"#",
    b"$",
    b"${",
    b"}",
    b"${A}",
    b"\"${A[*]}\"",
    b"\"${S[*]}x\"",
    b"\"$E\"",
    b"[*]",
    b"[",
    b"]",
    b"-",
    b"${U-d}",
    b"$.X",
    b"\r",
    b"\xc3\xa9",
    b"\x0b",
    b"a",
    b"bind",
    b"zz",
    b"0",
    b"_",
    b"\"${U-\"x}\"",
    b"\\ ",
    b"\\#",
    b"\\\"",
    b"\\$",
    b"x",
    b"'$A'",
    b"\x0c",
    b"\x1b",
    b"\xff",
];

const VARIABLES: &[(&str, &str)] = &[("A", "one two  three"), ("E", ""), ("S", " x \t y ")];

const MISTAKES: &[(&str, &str)] = &[
    ("unmatched quote", "E0001"),
    ("truncated or invalid hexadecimal", "E0002"),
    ("forbidden first char", "E0003"),
    ("unmatched brace", "E0004"),
    ("truncated or invalid word", "E0005"),
];

/// The results for the lines: by number, the first word or the error.
type LineResults = BTreeMap<u32, String>;

fn random(state: &mut u64, below: usize) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state % below as u64) as usize
}

fn file(state: &mut u64) -> Vec<u8> {
    let mut text = b"global\n".to_vec();
    while text.iter().filter(|b| **b == b'\n').count() <= LINES {
        let line: Vec<u8> = (0..1 + random(state, 8))
            .flat_map(|_| PIECES[random(state, PIECES.len())])
            .copied()
            .collect();
        // HAProxy stops reading at an invalid scope.
        let first = line
            .iter()
            .find(|b| !b.is_ascii_whitespace() && **b != 0x0b);
        if first != Some(&b'[') {
            text.extend_from_slice(&line);
            text.push(b'\n');
        }
    }
    text
}

fn haproxy(path: &std::path::Path) -> LineResults {
    let output = Command::new("haproxy")
        .args(["-c", "-f"])
        .arg(path)
        .env_clear()
        .envs(VARIABLES.iter().copied())
        .env("PATH", "/usr/local/sbin:/usr/sbin:/usr/bin")
        .output()
        .expect("haproxy was there a moment ago");
    let mut made = LineResults::new();
    for told in output.stderr.split(|b| *b == b'\n') {
        let told = told.escape_ascii().to_string();
        let Some((_, place)) = told.split_once(": config : parsing [") else {
            continue;
        };
        let Some((place, text)) = place.split_once(']') else {
            continue;
        };
        let Some(number) = place.rsplit(':').next().and_then(|n| n.parse().ok()) else {
            continue;
        };
        let text = text.trim_start_matches([' ', ':']);
        let mistake = MISTAKES.iter().find(|(start, _)| text.starts_with(start));
        if let Some((_, code)) = mistake {
            let at = text.rsplit("position ").next().unwrap_or("");
            made.insert(number, format!("{code} at {}", at.trim_end_matches(':')));
        } else if let Some(word) = text.strip_prefix("unknown keyword \\'") {
            let end = word.rfind("\\' in \\'global").unwrap_or(word.len());
            made.insert(number, word[..end].to_owned());
        } else {
            made.insert(number, text.to_owned());
        }
    }
    made
}

fn ours(text: Vec<u8>) -> LineResults {
    let mut sources = SourceMap::default();
    let file = sources.add("x", text);
    let mut env = Environment::empty();
    for (name, value) in VARIABLES {
        env.set(*name, *value);
    }
    let mut reader = Reader::new(vec![file], Facts::new("2.6.12"));
    let mut diagnostics = Diagnostics::default();
    let mut made = LineResults::new();
    while let Some(line) = reader.next(&sources, &env, &mut diagnostics) {
        if line.words[0].is("global") && reader.line_number() == 1 {
            continue;
        }
        let word = line.words[0].bytes.escape_ascii().to_string();
        made.insert(reader.line_number(), word);
    }
    let mut errors = LineResults::new();
    for d in diagnostics.iter().filter(|d| d.severity == Severity::Error) {
        let at = sources.position(d.primary.expect("the reader tells where"));
        let told = format!("{} at {}", d.code.id, at.column);
        errors.entry(at.line).or_insert(told);
    }
    made.extend(errors);
    made
}

#[test]
fn random_lines_read_as_haproxy_reads_them() {
    let version = Command::new("haproxy").arg("-v").output();
    let version = version.map(|o| String::from_utf8_lossy(&o.stdout).into_owned());
    if !version.is_ok_and(|v| v.contains("version 2.6.")) {
        println!("no haproxy 2.6 here: nothing compared");
        return;
    }
    let mut state = 0x5EED_0004;
    let path = std::env::temp_dir().join(format!("evenkeel-reader-{}.cfg", std::process::id()));
    for _ in 0..FILES {
        let text = file(&mut state);
        std::fs::write(&path, &text).expect("the temporary directory is writable");
        let theirs = haproxy(&path);
        let lines: Vec<_> = text.split(|b| *b == b'\n').collect();
        for (number, ours) in ours(text.clone()) {
            let line = lines[number as usize - 1].escape_ascii();
            assert_eq!(theirs.get(&number), Some(&ours), "{line}");
        }
    }
    let _ = std::fs::remove_file(&path);
}
