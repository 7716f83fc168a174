//! Damages configuration files in many ways. Loading always ends in time, and its diagnostics are
//! within the file and can be displayed in every form.

use crate::corpus::{Sample, joined, lines, load_text, samples};
use keyword::load::Loaded;
use lab::{Random, setting};
use language::diagnostic::DIAGNOSTICS_MAX;
use language::render::{self, HaproxyForm, RenderOptions};
use language::{Severity, Span};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// Number of mutants without `EVENKEEL_MUTANTS`.
const MUTANTS: u64 = 1000;
/// Maximum time for one mutant, even unoptimized on a busy machine.
const TIME_MAX: Duration = Duration::from_secs(20);

/// Words that have a meaning somewhere in a configuration.
const WORDS: &[&str] = &[
    "zzqx",
    "if",
    "unless",
    "{",
    "}",
    "!",
    "||",
    "or",
    "no",
    "default",
    "from",
    "-f",
    "-m",
    "--",
    "-i",
    "0",
    "-1",
    "99999999999999999999",
    "4294967296",
    "2147483648",
    "18446744073709551616",
    "1.5",
    "5x",
    "10k",
    "999999999d",
    "*:80",
    ":",
    "::",
    "[::1]:",
    ":0",
    ":99999",
    "a:b:c",
    "/",
    "unix@",
    "abns@",
    "fd@",
    "fd@99999999999",
    "quic4@:1",
    "sockpair@0",
    "127.0.0.1:80-90",
    ":90-80",
    ":1-65535",
    "\"",
    "'",
    "\"'\"",
    "\\",
    "\\x",
    "\\x0",
    "\\x00",
    "\"$\"",
    "\"${\"",
    "\"${X\"",
    "\"${X[*]}\"",
    "\"${X-y}\"",
    "#",
    "%[",
    "%[src",
    "%[src,]",
    "%{",
    "%]",
    "%[hdr(a)]",
    "src(",
    "hdr()",
    "hdr(a,b,c,d)",
    "path,",
    "path,,lower",
    "path,regsub(",
    "str(a)",
    "((((",
    "(((((((",
    "))))",
    "var(a)",
    "var(txn.x)",
    "\u{0}",
    "\u{feff}",
    "é",
    "\u{202e}",
    "𝔘𝔫𝔦",
    "^(",
    "(?",
    "(a*)*b",
    "[",
    "0.0.0.0/99",
    "::/129",
    "1.2.3.4/255.0.255.0",
    "global",
    "defaults",
    "frontend",
    "backend",
    "listen",
    "peers",
    "userlist",
    "bind",
    "server",
    "acl",
    "http-request",
    "option",
    "timeout",
    ".if",
    ".else",
    ".endif",
    ".elif",
    "-m reg",
    "%[rand(0)]",
];

#[test]
fn damaged_files_never_crash_the_loader() {
    let samples = samples();
    let count = setting("EVENKEEL_MUTANTS").unwrap_or(MUTANTS);
    let first = setting("EVENKEEL_SEED").unwrap_or(1);
    let mut slowest = (Duration::ZERO, 0);
    for seed in first..first + count {
        let mut random = Random::new(seed);
        let sample = random.pick_ref(&samples);
        let text = mutant(sample, &samples, &mut random);
        let begun = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| examine(&text)));
        let took = begun.elapsed();
        slowest = slowest.max((took, seed));
        let bad = match outcome {
            Ok(found) => found,
            Err(_) => Some("panicked".to_owned()),
        };
        let bad = bad.or_else(|| (took > TIME_MAX).then(|| format!("took {took:?}")));
        if let Some(bad) = bad {
            let path = std::env::temp_dir().join(format!("evenkeel-mutant-{seed}.cfg"));
            std::fs::write(&path, &text).expect("a place for the mutant");
            panic!(
                "seed {seed} ({}): {bad}; see {}",
                sample.name,
                path.display()
            );
        }
    }
    println!("{count} mutants; the slowest took {slowest:?}");
}

#[test]
fn loading_stops_after_many_mistakes() {
    let begun = Instant::now();
    let declared: String = (0..5000)
        .map(|n| format!("    acl abcdef{n} path /{n}\n"))
        .collect();
    let used: String = (0..20_000)
        .map(|n| format!("    use_backend b if abcdeg{n}\n"))
        .collect();
    let text = format!("frontend f\n    bind :1\n{declared}{used}");
    let loaded = load_text("mistakes.cfg", text.as_bytes());
    assert!(loaded.diagnostics.errors() <= DIAGNOSTICS_MAX + 1);
    assert!(begun.elapsed() < TIME_MAX, "took {:?}", begun.elapsed());
}

/// Loads a text, and returns what is wrong with the result.
fn examine(text: &[u8]) -> Option<String> {
    let loaded = load_text("mutant.cfg", text);
    let forms = [
        render::concise(&loaded.sources, &loaded.diagnostics, true),
        render::json(&loaded.sources, &loaded.diagnostics, true),
        render::full(
            &loaded.sources,
            &loaded.diagnostics,
            &RenderOptions {
                diag: true,
                ..RenderOptions::default()
            },
        ),
        render::haproxy(&loaded.sources, &loaded.diagnostics, &form()),
    ];
    let told = loaded
        .diagnostics
        .iter()
        .filter(|d| d.severity > Severity::Diag)
        .count();
    if told > 0 && forms.iter().any(String::is_empty) {
        return Some("a form of its diagnostics is empty".into());
    }
    if loaded.config.is_some() != (loaded.diagnostics.errors() == 0) {
        return Some("a configuration with errors, or none without".into());
    }
    spans_outside(&loaded)
}

fn form() -> HaproxyForm<'static> {
    HaproxyForm {
        pid: 1,
        version: "2.6.12",
        executable: "/usr/sbin/haproxy",
        diag: true,
        zero_warning: false,
    }
}

fn spans_outside(loaded: &Loaded) -> Option<String> {
    let files = loaded.sources.files().count();
    let bad = |span: &Span| {
        (span.file.0 as usize) >= files
            || span.start > span.end
            || span.end as usize > loaded.sources.file(span.file).text.len()
    };
    loaded.diagnostics.iter().find_map(|d| {
        let places = d
            .primary
            .iter()
            .chain(d.secondary.iter().map(|(span, _)| span))
            .chain(d.fix.iter().map(|f| &f.span));
        let found = places.copied().find(bad)?;
        Some(format!("{} '{}' points at {found:?}", d.code.id, d.message))
    })
}

/// Damages a text in one to four places.
pub fn mutant(sample: &Sample, samples: &[Sample], random: &mut Random) -> Vec<u8> {
    let mut text = sample.text.clone();
    for _ in 0..1 + random.index(4) {
        text = wounded(&text, samples, random);
    }
    text
}

/// Damages a text in one place and leaves most of it intact.
pub fn gentle(sample: &Sample, samples: &[Sample], random: &mut Random) -> Vec<u8> {
    match random.index(4) {
        0 => by_lines(&sample.text, samples, random),
        _ => by_words(&sample.text, random),
    }
}

fn wounded(text: &[u8], samples: &[Sample], random: &mut Random) -> Vec<u8> {
    match random.index(24) {
        0..=8 => by_words(text, random),
        9..=14 => by_lines(text, samples, random),
        15..=20 => by_bytes(text, random),
        _ => extremes(text, random),
    }
}

/// Drops, doubles, swaps, replaces, misspells or inserts words of one line.
fn by_words(text: &[u8], random: &mut Random) -> Vec<u8> {
    let mut all = lines(text);
    let at = random.index(all.len());
    let mut words: Vec<Vec<u8>> = all[at]
        .split(|b| *b == b' ')
        .filter(|word| !word.is_empty())
        .map(<[u8]>::to_vec)
        .collect();
    if words.is_empty() {
        return text.to_vec();
    }
    let n = random.index(words.len());
    match random.index(8) {
        0 => drop(words.remove(n)),
        1 => words.insert(n, words[n].clone()),
        2 => {
            let other = random.index(words.len());
            words.swap(n, other);
        }
        3 => words[n] = random.pick_ref(WORDS).as_bytes().to_vec(),
        4 => words.insert(n, random.pick_ref(WORDS).as_bytes().to_vec()),
        5 => words.push(random.pick_ref(WORDS).as_bytes().to_vec()),
        6 => misspell(&mut words[n], random),
        _ => words.truncate(n + 1),
    }
    all[at] = words.join(&b' ');
    joined(&all)
}

fn misspell(word: &mut Vec<u8>, random: &mut Random) {
    let at = random.index(word.len());
    match random.index(5) {
        0 => drop(word.remove(at)),
        1 => word.insert(at, b'a' + random.index(26) as u8),
        2 => {
            let other = (at + 1) % word.len();
            word.swap(at, other);
        }
        3 => word[at] ^= 0x20,
        _ => word[at] = random.next() as u8,
    }
}

/// Drops, doubles, moves, joins, splits or unindents lines, or takes some from another file.
fn by_lines(text: &[u8], samples: &[Sample], random: &mut Random) -> Vec<u8> {
    let mut all = lines(text);
    let at = random.index(all.len());
    match random.index(9) {
        0 => drop(all.remove(at)),
        1 => all.insert(at, all[at].clone()),
        2 => {
            let other = random.index(all.len());
            all.swap(at, other);
        }
        3 => all[at].push(b'\\'),
        4 => {
            let cut = random.index(all[at].len() + 1);
            let rest = all[at].split_off(cut);
            all.insert(at + 1, rest);
        }
        5 => {
            // The head of a section is gone.
            let head = |line: &Vec<u8>| line.first().is_some_and(u8::is_ascii_lowercase);
            let heads: Vec<usize> = (0..all.len()).filter(|n| head(&all[*n])).collect();
            if !heads.is_empty() {
                all.remove(*random.pick_ref(&heads));
            }
        }
        6 => {
            let other = lines(&random.pick_ref(samples).text);
            all.insert(at, random.pick_ref(&other).clone());
        }
        7 => {
            let count = 1 + random.index(all.len() - at);
            let copied = all[at..at + count].to_vec();
            all.extend(copied);
        }
        _ => {
            let end = (at + random.index(10)).min(all.len());
            all.drain(at..end);
        }
    }
    if all.is_empty() {
        Vec::new()
    } else {
        joined(&all)
    }
}

/// Changes, inserts or removes bytes, or cuts the file anywhere.
fn by_bytes(text: &[u8], random: &mut Random) -> Vec<u8> {
    let mut text = text.to_vec();
    if text.is_empty() {
        return vec![random.next() as u8];
    }
    let at = random.index(text.len());
    match random.index(6) {
        0 => text[at] = random.next() as u8,
        1 => text.insert(
            at,
            *random.pick_ref(b"\0\r\n\t \"'\\$#{}()[]%,.:@!|-\xff\xc3\x1b"),
        ),
        2 => drop(text.remove(at)),
        3 => text.truncate(at),
        4 => {
            for _ in 0..8 {
                let at = random.index(text.len());
                text[at] = random.next() as u8;
            }
        }
        _ => {
            let end = (at + random.index(200)).min(text.len());
            text.drain(at..end);
        }
    }
    text
}

/// Creates extremes that no person writes.
fn extremes(text: &[u8], random: &mut Random) -> Vec<u8> {
    let mut all = lines(text);
    let at = random.index(all.len());
    let depth = random.index(200);
    let word = random.pick_ref(WORDS).to_string();
    let new: Vec<u8> = match random.index(10) {
        0 => format!("{} ", word).repeat(random.index(2000)).into_bytes(),
        1 => vec![b'a' + random.index(26) as u8; random.index(1 << 17)],
        2 => format!("    acl x path {}", "\"'".repeat(depth)).into_bytes(),
        3 => format!("    http-request deny if {}", "! ".repeat(depth)).into_bytes(),
        4 => format!(
            "    http-request deny if {} TRUE {}",
            "{ ".repeat(depth),
            "} ".repeat(depth)
        )
        .into_bytes(),
        5 => format!(
            "    http-request set-header x {}src{}",
            "%[".repeat(depth),
            "]".repeat(depth)
        )
        .into_bytes(),
        6 => format!(".if {}1{}", "(".repeat(depth * 20), ")".repeat(depth * 20)).into_bytes(),
        7 => ".if 1\n".repeat(depth).into_bytes(),
        8 => format!("    acl x hdr(a){} -m str x", ",lower".repeat(depth * 20)).into_bytes(),
        _ => format!(
            "    acl r path_reg {}a{}",
            "(".repeat(depth * 20),
            ")*".repeat(depth * 20)
        )
        .into_bytes(),
    };
    let replaced = random.index(2) == 0;
    if replaced {
        all[at] = new
    } else {
        all.insert(at, new)
    }
    joined(&all)
}
