//! Inserts an unknown word at every word boundary of every line of a configuration. Each time a
//! diagnostic must point at that line, unless the language accepts any word there
//! ([`crate::free_text`]).

use crate::corpus::{Sample, joined, lines, load_text, samples};
use crate::free_text;
use keyword::load::Loaded;
use language::{Severity, SourceMap};
use std::collections::BTreeMap;

const NONSENSE: &str = "zzqx";

#[test]
fn no_unknown_word_is_accepted_in_silence() {
    let mut silent = BTreeMap::new();
    let mut tried = 0_u32;
    for sample in samples() {
        let all = lines(&sample.text);
        let baseline = told(&load_text(&sample.name, &sample.text));
        for (n, line) in all.iter().enumerate() {
            let Ok(text) = std::str::from_utf8(line) else {
                continue;
            };
            let places = boundaries(text);
            let ends = places.iter().skip(1).map(|(_, end)| *end);
            let words: Vec<String> = places
                .iter()
                .zip(ends)
                .map(|((_, start), end)| text[*start..end].trim().to_owned())
                .collect();
            for (at, offset) in places {
                let mut copy = all.clone();
                copy[n] =
                    format!("{} {NONSENSE} {}", &text[..offset], &text[offset..]).into_bytes();
                let loaded = load_text(&sample.name, &joined(&copy));
                tried += 1;
                if answered(&loaded, &baseline, n as u32 + 1) || passed_over(&loaded, n as u32 + 1)
                {
                    continue;
                }
                if free_text::reason(&words, at).is_none() && is_read(&sample, &all, n) {
                    let line = String::from_utf8_lossy(&copy[n]).trim().to_owned();
                    silent
                        .entry(line)
                        .or_insert_with(|| format!("{}:{}", sample.name, n + 1));
                }
            }
        }
    }
    println!("{tried} insertions");
    let list: String = silent
        .iter()
        .map(|(line, at)| format!("{at}: {line}\n"))
        .collect();
    assert!(
        silent.is_empty(),
        "{} words accepted in silence:\n{list}",
        silent.len()
    );
}

/// Returns whether a line is read, as opposed to being in a disabled block.
fn is_read(sample: &Sample, all: &[Vec<u8>], n: usize) -> bool {
    let mut copy = all.to_vec();
    copy[n] = b".alert here".to_vec();
    let loaded = load_text(&sample.name, &joined(&copy));
    loaded.diagnostics.iter().any(|d| {
        d.code.id == "E0016"
            && d.primary
                .is_some_and(|span| touches(&loaded.sources, span, n as u32 + 1))
    })
}

/// Returns the word boundaries of a line outside quotes and comments: the index of a word
/// inserted there, and the byte offset.
fn boundaries(line: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let (mut words, mut inside, mut quote, mut escaped) = (0, false, None, false);
    for (at, byte) in line.bytes().enumerate() {
        if escaped {
            escaped = false;
            continue;
        }
        match (quote, byte) {
            (Some(open), _) if open == byte => quote = None,
            (Some(b'\''), _) => {}
            (_, b'\\') => (escaped, inside) = (true, true),
            (Some(_), _) => {}
            (None, b'#') if !inside || line.as_bytes()[at - 1] != b'\\' => {
                if inside {
                    found.push((words + 1, at));
                }
                return found;
            }
            (None, b' ' | b'\t') => {
                words += usize::from(inside);
                inside = false;
            }
            (None, b'"' | b'\'') => {
                if !inside {
                    found.push((words, at));
                }
                (quote, inside) = (Some(byte), true);
            }
            (None, _) if !inside => {
                found.push((words, at));
                inside = true;
            }
            (None, _) => {}
        }
    }
    if inside {
        found.push((words + 1, line.len()));
    }
    // A single word before an empty line has no effect.
    if words == 0 && !inside {
        Vec::new()
    } else {
        found
    }
}

/// Returns line, code and message of all diagnostics.
fn told(loaded: &Loaded) -> Vec<(u32, &'static str, String)> {
    let at = |d: &language::Diagnostic| {
        d.primary
            .map_or(0, |span| loaded.sources.position(span).line)
    };
    loaded
        .diagnostics
        .iter()
        .map(|d| (at(d), d.code.id, d.message.clone()))
        .collect()
}

/// Returns whether there is a new diagnostic for the line, or the file is rejected anyway.
fn answered(loaded: &Loaded, baseline: &[(u32, &'static str, String)], line: u32) -> bool {
    loaded
        .diagnostics
        .iter()
        .filter(|d| d.severity >= Severity::Warning)
        .any(|d| {
            let here = d
                .primary
                .is_some_and(|span| touches(&loaded.sources, span, line));
            let known = |(at, code, message): &(u32, &'static str, String)| {
                *at == line && *code == d.code.id && *message == d.message
            };
            // A line of which some or all words are ignored, with a warning that says so.
            let ignored = ["W0113", "W0120"].contains(&d.code.id);
            here && (d.severity == Severity::Error || ignored || !baseline.iter().any(known))
        })
}

fn touches(sources: &SourceMap, span: language::Span, line: u32) -> bool {
    sources.position(span).line == line
}

/// Returns whether the line is in a section that is rejected as a whole, so nothing in it
/// passes silently.
fn passed_over(loaded: &Loaded, line: u32) -> bool {
    let Some((_, file)) = loaded.sources.files().next() else {
        return false;
    };
    let is_head = |n: u32| {
        let (start, end, _) = file.line(n as usize - 1)?;
        let first = String::from_utf8_lossy(&file.text[start..end])
            .split_whitespace()
            .next()?
            .to_owned();
        let sections = model::known::SECTIONS;
        sections.iter().any(|(name, _)| *name == first).then_some(n)
    };
    let Some(head) = (1..=line).rev().find_map(is_head) else {
        return false;
    };
    let refused = ["E0103", "E0105", "E0108"];
    loaded.diagnostics.iter().any(|d| {
        refused.contains(&d.code.id)
            && d.primary
                .is_some_and(|span| touches(&loaded.sources, span, head))
    })
}
