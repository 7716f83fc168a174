//! Compares matches with libpcre2; `scripts/record-regex-cases` prints the cases.

use super::*;
use std::fs;

const CASES: &str = include_str!("cases.tsv");
/// Maximum differences per hundred thousand cases of a larger run; some are bugs of libpcre2.
const DIFFERENT_MAX: usize = 20;

fn bytes(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        rest = behind;
        match (first, behind) {
            (b'\\', [b'x', high, low, ..]) => {
                let digits = [*high, *low];
                let digits = std::str::from_utf8(&digits).unwrap();
                out.push(u8::from_str_radix(digits, 16).unwrap());
                rest = &behind[3..];
            }
            _ => out.push(*first),
        }
    }
    out
}

fn shown(found: Option<Vec<Option<(usize, usize)>>>) -> String {
    let Some(mut groups) = found else {
        return "none".to_owned();
    };
    while groups.last() == Some(&None) {
        groups.pop();
    }
    let groups = groups.iter().map(|group| match group {
        Some((start, end)) => format!("{start}-{end}"),
        None => "-".to_owned(),
    });
    groups.collect::<Vec<_>>().join(" ")
}

/// Returns the match of the program, and that of the linear engine if it applies.
fn found(tree: &Tree, subject: &[u8], inner: bool) -> Option<(String, Option<String>)> {
    let search = Search {
        not_line_start: inner,
        steps_max: 1_000_000,
    };
    let program = Program::new(tree).ok()?;
    let groups = program.find(subject, search).ok()?;
    let pairs = |groups: Vec<usize>| {
        let pair = |ends: &[usize]| (ends[1] != usize::MAX).then(|| (ends[0], ends[1]));
        groups.chunks_exact(2).map(pair).collect()
    };
    let by_program = shown(groups.map(pairs));
    let by_linear = linear(tree).and_then(|linear| {
        let other = (linear.has_line_end && subject.ends_with(b"\n"))
            || (linear.has_line_start && inner)
            || (tree.utf && std::str::from_utf8(subject).is_err());
        let regex = regex::bytes::RegexBuilder::new(&linear.pattern)
            .unicode(tree.utf)
            .build()
            .unwrap();
        let groups = regex.captures(subject).map(|found| {
            let ends = |n| found.get(n).map(|m| (m.start(), m.end()));
            (0..found.len()).map(ends).collect()
        });
        (!other).then(|| shown(groups))
    });
    Some((by_program, by_linear))
}

/// Returns a description of the cases that differ, and the number of cases.
fn different(cases: &str) -> (Vec<String>, usize) {
    let mut wrong = Vec::new();
    let mut count = 0;
    for line in cases.lines() {
        let mut columns = line.split('\t');
        let mut column = || columns.next().unwrap_or_else(|| panic!("{line}"));
        let (pattern, options) = (bytes(column()), column());
        let (subject, expected) = (bytes(column()), column());
        count += 1;
        let syntax = Syntax {
            ignore_case: options.contains('i'),
            lenient: false,
        };
        let tree = parse(&pattern, syntax).map_err(|error| error.reason.to_string());
        let program = tree.and_then(|tree| match Program::new(&tree) {
            Ok(_) => Ok(tree),
            Err(reason) => Err(reason.to_string()),
        });
        match (program, expected) {
            (Err(_), "refused") => {}
            // Accepts the error about the only valid construct that is not supported.
            (Err(error), _) if error.contains("not supported with (*UTF)") => {}
            (Err(error), _) => wrong.push(format!("{line}: refused: {error}")),
            (Ok(_), "refused") => wrong.push(format!("{line}: not refused")),
            (Ok(tree), expected) => match found(&tree, &subject, options.contains('b')) {
                Some((program, linear)) => {
                    if program != expected {
                        wrong.push(format!("{line}: the program finds {program}"));
                    }
                    if let Some(linear) = linear.filter(|linear| linear != expected) {
                        wrong.push(format!("{line}: the linear engine finds {linear}"));
                    }
                }
                // libpcre2 may rule a subject out by its first bytes, where this machine gives up.
                None if expected == "none" => {}
                None => wrong.push(format!("{line}: gave up")),
            },
        }
    }
    (wrong, count)
}

#[test]
fn recorded_cases_match_as_in_pcre2() {
    let (wrong, count) = different(CASES);
    assert!(count > 1_000, "{count}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    if let Some(path) = std::env::var_os("REGEX_CASES") {
        let (wrong, count) = different(&fs::read_to_string(path).unwrap());
        let allowed = DIFFERENT_MAX * count / 100_000 + 1;
        println!(
            "{count} cases, {} different\n{}",
            wrong.len(),
            wrong.join("\n")
        );
        assert!(wrong.len() <= allowed);
    }
}

fn matches(pattern: &str, subject: &[u8]) -> bool {
    let syntax = Syntax {
        ignore_case: false,
        lenient: false,
    };
    let tree = parse(pattern.as_bytes(), syntax).unwrap_or_else(|error| panic!("{error:?}"));
    let (program, linear) = found(&tree, subject, false).unwrap();
    if let Some(linear) = linear {
        assert_eq!(program, linear, "{pattern}");
    }
    program != "none"
}

#[test]
fn brackets_hold_the_characters_of_pcre2() {
    // All printable characters that each class matches in HAProxy 2.6.12.
    for (class, expected) in [
        ("[a&&b]", "&ab"),
        ("[?&&]", "&?"),
        ("[;&&|]", "&;|"),
        ("[+--/]", "+,-/"),
        ("[--/]", "-./"),
        ("[%--]", "%&'()*+,-"),
        ("[,--9]", ",-9"),
        ("[ --]", " !\"#$%&'()*+,-"),
        ("[]-a]", "]^_`a"),
        ("[~~]", "~"),
        (r"[\h]", " "),
        (r"[^\x20-Z\\-~]", "["),
        ("[][]", "[]"),
        (r"[[\]]", "[]"),
        ("[[{(]", "([{"),
        ("[{}[]", "[{}"),
        ("[.[]", ".["),
    ] {
        let found: String = (b' '..=b'~')
            .map(char::from)
            .filter(|char| matches(&format!("^{class}$"), char.to_string().as_bytes()))
            .collect();
        assert_eq!(found, expected, "{class}");
    }
    for (pattern, subject, expected) in [
        ("^[a[b]]$", "a]", true),
        ("^[a[b]]$", "[]", true),
        ("^[a[b]]$", "a", false),
        ("^[[a-z]&&[^b]]$", "q&&c]", true),
        ("^[0-9[a-f]]$", "9", false),
        ("^{,2}$", "{,2}", true),
        (r"^/\Qa.b\E$", "/a.b", true),
        (r"^/\Qa.b\E$", "/axb", false),
        ("^a$", "a\n", true),
        ("^a$", "a\n\n", false),
        (r"^\p{L}$", "\u{e9}", false),
        (r"(*UTF)^\p{L}$", "\u{e9}", true),
        ("(?(?=a)ab|c)d", "xcd", true),
        ("^((?>a+))b(?R)?$", "aab", true),
        (r"^(\((?:[^()]|(?1))*\))$", "(a(b)(c(d)))", true),
        (r"^(\((?:[^()]|(?1))*\))$", "(a(b)(c(d))", false),
    ] {
        assert_eq!(matches(pattern, subject.as_bytes()), expected, "{pattern}");
    }
}

#[test]
fn hostile_subjects_take_bounded_steps() {
    let long = "a".repeat(16_000);
    // Without references the memo limits the number of tries, so the search finds the match or
    // rules it out.
    for pattern in [
        "(?:a+)+$",
        "(a*)*b",
        "^(?=(?:a|aa)+\u{1}$)(?:a|aa)+b",
        "^(?:a|a)*+b",
        "(a|aa?)+$",
    ] {
        let text = format!("{long}\u{1}\n");
        assert!(!matches(pattern, text.as_bytes()), "{pattern}");
    }
    assert!(matches("^(?:a|aa)+$", format!("{long}\n").as_bytes()));
    // With references the search may give up, but must end.
    for pattern in [r"(a+)+\1$", r"(?:(a)|(?1)a)*b", "(?R)?a"] {
        let syntax = Syntax {
            ignore_case: false,
            lenient: false,
        };
        let program = Program::new(&parse(pattern.as_bytes(), syntax).unwrap()).unwrap();
        let search = Search {
            not_line_start: false,
            steps_max: 100_000,
        };
        let text = format!("{long}!");
        let _ = program.find(text.as_bytes(), search);
    }
    let nested = "(".repeat(100_000);
    let syntax = Syntax {
        ignore_case: false,
        lenient: false,
    };
    assert!(parse(nested.as_bytes(), syntax).is_err());
}

#[test]
fn refusals_name_the_reason() {
    for (pattern, expected) in [
        ("[a", "this bracket is not closed"),
        ("[b-a]", "wrong order"),
        (r"\y", r"\y has no meaning"),
        (r"(a)\2", "there is no group 2"),
        ("(?&x)", "there is no group 'x'"),
        ("a**", "repeat"),
        ("(?<=a*)b", "fixed length"),
        (r"\x{100}", "(*UTF)"),
        ("(a", "a closing parenthesis is missing"),
        ("a)", "closes no group"),
        (r"\p{Foo}", "unknown property"),
        ("[[:foo:]]", "unknown class"),
        ("[:alpha:]", "within another pair of brackets"),
    ] {
        let syntax = Syntax {
            ignore_case: false,
            lenient: false,
        };
        let error = match parse(pattern.as_bytes(), syntax) {
            Err(error) => error.reason.to_string(),
            Ok(tree) => Program::new(&tree).unwrap_err().to_string(),
        };
        assert!(error.contains(expected), "{pattern}: {error}");
    }
}
