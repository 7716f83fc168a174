//! Tests the reader with tables of HAProxy 2.6.12's results for the same bytes: the words with
//! which a program of a `program` section was started, and the errors that `-c` reported.

use super::*;
use crate::diagnostic::Severity;

fn environment() -> Environment {
    let mut env = Environment::empty();
    for (name, value) in [
        ("A", "one two  three"),
        ("E", ""),
        ("Q", "a\"b'c\\d#e"),
        ("S", " x y "),
        ("T", "p\tq"),
        ("N", "l1\nl2"),
        ("H", "a#b c"),
    ] {
        env.set(name, value);
    }
    env
}

struct Read {
    sources: SourceMap,
    lines: Vec<ConfigLine>,
    diagnostics: Diagnostics,
}

impl Read {
    fn words(&self) -> Vec<Vec<String>> {
        self.lines
            .iter()
            .map(|l| l.words.iter().map(|w| w.text().into_owned()).collect())
            .collect()
    }

    /// Returns `CODE line:column` of every diagnostic.
    fn told(&self) -> Vec<String> {
        self.diagnostics
            .iter()
            .map(|d| match d.primary {
                None => d.code.id.to_owned(),
                Some(span) => {
                    let at = self.sources.position(span);
                    format!("{} {}:{}", d.code.id, at.line, at.column)
                }
            })
            .collect()
    }
}

fn read_files(texts: &[&[u8]]) -> Read {
    let mut sources = SourceMap::default();
    let files = texts
        .iter()
        .enumerate()
        .map(|(n, t)| sources.add(format!("{n}.cfg"), t.to_vec()))
        .collect();
    let facts = Facts::new("2.6.12").with_features(["OPENSSL", "THREAD"]);
    let mut reader = Reader::new(files, facts);
    let mut diagnostics = Diagnostics::default();
    let env = environment();
    let mut lines = Vec::new();
    while let Some(line) = reader.next(&sources, &env, &mut diagnostics) {
        if line.words[0].is("frontend") || line.words[0].is("global") {
            let name = line.words.last().map(|w| w.text().into_owned());
            reader.section(name.unwrap_or_default());
        }
        lines.push(line);
    }
    Read {
        sources,
        lines,
        diagnostics,
    }
}

fn read(text: &[u8]) -> Read {
    read_files(&[text])
}

const WORDS: &[(&[u8], &[&[u8]])] = &[
    (b"a b  c", &[b"a", b"b", b"c"]),
    (b"\"a b\" c", &[b"a b", b"c"]),
    (b"'a b' c", &[b"a b", b"c"]),
    (b"'a\\'b c", &[b"a\\b", b"c"]),
    (b"a\\ b c", &[b"a b", b"c"]),
    (b"\\x41\\x4a", &[b"AJ"]),
    (b"\"\\x41\\x22\"", &[b"A\""]),
    (b"'\\x41\\n'", &[b"\\x41\\n"]),
    (b"\\n\\t\\r\\0\\a\\z", &[b"\n\t\r\\0\\a\\z"]),
    (
        b"\"\\n\\t\\r\\z\\a\\$ \\# \\' \"\\\\",
        &[b"\n\t\r\\z\\a$ # ' \\"],
    ),
    (b"\\#x #c", &[b"#x"]),
    (b"a#b", &[b"a"]),
    (b"\"a#b\" c", &[b"a#b", b"c"]),
    (b"a\"b c\"d e", &[b"ab cd", b"e"]),
    (b"a'b c'd e", &[b"ab cd", b"e"]),
    (b"\"\" b \"\"", &[]),
    (b"''", &[]),
    (b"$A ${A}", &[b"$A", b"${A}"]),
    (b"\"$A\" x", &[b"one two  three", b"x"]),
    (b"\"${A}\"", &[b"one two  three"]),
    (b"\"${A[*]}\"", &[b"one", b"two", b"three"]),
    (b"\"x${A[*]}y\" z", &[b"xone", b"two", b"threey", b"z"]),
    (b"\"${E[*]}\" z", &[]),
    (b"\"${S[*]}\" z", &[]),
    (b"\"${T[*]}\" z", &[b"p", b"q", b"z"]),
    (b"\"${Q}\" z", &[b"a\"b'c\\d#e", b"z"]),
    (b"\"${U-def}\"", &[b"def"]),
    (b"\"${U-}\" z", &[]),
    (b"\"${U}\" z", &[]),
    (b"\"$U\" z", &[]),
    (b"\"${U-a b}\" z", &[b"a b", b"z"]),
    (b"\"${U-a b[*]}\" z", &[b"a b[*]", b"z"]),
    (b"\"${U[*]-a b}\" z", &[b"a", b"b", b"z"]),
    (b"\"${E-def}\" z", &[]),
    (b"\"$A-x\" z", &[b"one two  three-x", b"z"]),
    (b"\"$A[*]\" z", &[b"one two  three[*]", b"z"]),
    (b"a\\\\", &[b"a\\"]),
    (b"a\\", &[b"a\\"]),
    (b"\"a\\\\\" z", &[b"a\\", b"z"]),
    (b"\"a\\\"b\"", &[b"a\"b"]),
    (b"\\x00a b", &[]),
    (b"a\\x00b c", &[b"a", b"c"]),
    (b"a\\xffb c", &[b"a\xffb", b"c"]),
    (b"a\tb\x0bc\x0cd", &[b"a", b"b", b"c", b"d"]),
    (b"a\xc3\xa9 b", &[b"a\xc3\xa9", b"b"]),
    (b"a b\r", &[b"a", b"b"]),
    (b"a b \r", &[b"a", b"b"]),
    (b"a\rb c", &[b"a"]),
    (b"\"${U-\"x y\"}\" z", &[b"\"x y\"", b"z"]),
    (b"\"${U-x\\}y}\" z", &[b"x\\y}", b"z"]),
    (b"\"${U-$A}\" z", &[b"$A", b"z"]),
    (b"\"${U-a\\\"b}\" z", &[b"a\\\"b", b"z"]),
    (b"\"${A}${E}${U-q}\"", &[b"one two  threeq"]),
    (b"\"\\${A}\" \\$A", &[b"${A}", b"\\$A"]),
    (b"a,b;c|d", &[b"a,b;c|d"]),
    (b"\"$A$E$A\"", &[b"one two  threeone two  three"]),
    (b"\"${N[*]}\"", &[b"l1", b"l2"]),
    (b"\"$N\"", &[b"l1\nl2"]),
    (
        b"\"pre ${A[*]} post\" z",
        &[b"pre one", b"two", b"three post", b"z"],
    ),
    (b"\"${E[*]}${E[*]}\" z", &[]),
    (b"\"a${E[*]}\" z", &[b"a", b"z"]),
    (
        b"\"${A[*]}${A[*]}\" z",
        &[b"one", b"two", b"threeone", b"two", b"three", b"z"],
    ),
    (b"a\\", &[b"a\\"]),
    (b"a \\", &[b"a", b"\\"]),
    (b"\"$_x\" \"$Ab\"", &[]),
    (b"\\'a\\' b", &[b"'a'", b"b"]),
    (b"a\\\"b c", &[b"a\"b", b"c"]),
    (
        b"\"${A[*]}\" z \"${A[*]}\"",
        &[b"one", b"two", b"three", b"z", b"one", b"two", b"three"],
    ),
    (b"\"${U[*]}\" z", &[]),
    (b"\"${U-a b[*]}\"", &[b"a b[*]"]),
    (b"\"${A-d e[*]}\"", &[b"one two  three"]),
    (b"\"${U-x\"y}z\"", &[b"x\"yz"]),
    (b"\"$A$U$A\"", &[b"one two  threeone two  three"]),
    (b"\"${A[*]}\"b", &[b"one", b"two", b"threeb"]),
    (b"\"${S[*]}\"b", &[]),
    (b"c\"${S[*]}\"b", &[b"c", b"x", b"y", b"b"]),
    (b"\"a ${A[*]}\"", &[b"a one", b"two", b"three"]),
    (b"\"${Q[*]}\"", &[b"a\"b'c\\d#e"]),
    (b"\"${H[*]}\"", &[b"a#b", b"c"]),
    (b"a\\b\\c", &[b"a\\b\\c"]),
    (b"a\\ \\\"", &[b"a \""]),
    (b"'a'\"b\"c", &[b"abc"]),
    (b"\"\\x20a\" \\x20b", &[b" a", b" b"]),
    (b"\\x00", &[]),
    (b"\"a\\x00b\"", &[b"a"]),
    (b"\"\\n\" z", &[b"\n", b"z"]),
    (b"\"a\\\"\" z", &[b"a\"", b"z"]),
    (b"\"a'b\" z", &[b"a'b", b"z"]),
    (b"'a\"b' z", &[b"a\"b", b"z"]),
    (b"\"$A.B\"", &[b"one two  three.B"]),
    (b"\"${E-}\"", &[]),
    (b"\"${E[*]}x${E[*]}\"", &[b"x"]),
    (b"\"\\\"$A\\\"\"", &[b"\"one two  three\""]),
    (b"'\\'", &[b"\\"]),
    (b"'\\\\'", &[b"\\\\"]),
    (b"\"\\\\\\\\\"", &[b"\\\\"]),
    (b"\\\\\\\\", &[b"\\\\"]),
    (b"a\\\\b", &[b"a\\b"]),
    (b"\"a\\qb\"", &[b"a\\qb"]),
    (b"a\\qb", &[b"a\\qb"]),
    (b"\"a\\ b\"", &[b"a b"]),
    (b"\"a\\#b\"", &[b"a#b"]),
    (b"'a#b'", &[b"a#b"]),
    (b"a\\rb\\tc", &[b"a\rb\tc"]),
    (b"\"${U-\\x41}\"", &[b"\\x41"]),
    (b"\"${U-a\\nb}\"", &[b"a\\nb"]),
    (b"\\", &[b"\\"]),
    (b"x\\", &[b"x\\"]),
    (b"\"${U-a#b}\" z", &[b"a#b", b"z"]),
    (b"\"${U-a $A b}\"", &[b"a $A b"]),
    (b"x \"${S[*]}\" y", &[b"x"]),
    (b"x \"${S[*]}${S[*]}\" y", &[b"x"]),
    (b"a \"\" b", &[b"a"]),
    (b"x \"${E}\" b", &[b"x"]),
    (b"a\rb", &[b"a"]),
    (b"a\\\tb", &[b"a\\", b"b"]),
    (b"a \\\r", &[b"a", b"\\"]),
    (b"\"a\tb\" c", &[b"a\tb", b"c"]),
    (b"'a\tb' c", &[b"a\tb", b"c"]),
    (b"a\xff\xfe b", &[b"a\xff\xfe", b"b"]),
    (b"a\"\xc3\xa9\"b", &[b"a\xc3\xa9b"]),
    (b"a b#c\"", &[b"a", b"b"]),
    (b"a '#' #'", &[b"a", b"#"]),
    (
        b"\"${A[*]} ${A[*]}\"",
        &[b"one", b"two", b"three one", b"two", b"three"],
    ),
];

#[test]
fn words_are_those_that_haproxy_makes() {
    for (text, expected) in WORDS {
        let mut line = b"command ".to_vec();
        line.extend_from_slice(text);
        line.push(b'\n');
        let read = read(&line);
        assert_eq!(
            read.diagnostics.errors(),
            0,
            "{:?}",
            text.escape_ascii().to_string()
        );
        let words: Vec<&[u8]> = read.lines[0].words[1..]
            .iter()
            .map(|w| w.bytes.as_slice())
            .collect();
        assert_eq!(words, *expected, "{:?}", text.escape_ascii().to_string());
    }
}

const ERRORS: &[(&[u8], &str, u32)] = &[
    (b"\\x4", "E0002", 1),
    (b"\\xzz", "E0002", 1),
    (b"\\x", "E0002", 1),
    (b"\"$\" z", "E0003", 3),
    (b"\"$ x\" z", "E0003", 3),
    (b"\"$1\" z", "E0003", 3),
    (b"\"${1}\" z", "E0003", 4),
    (b"\"${A\" z", "E0004", 3),
    (b"\"${A} z", "E0001", 1),
    (b"\"${A b}\" z", "E0004", 3),
    (b"\"${}\" z", "E0003", 4),
    (b"\"${A[}\" z", "E0005", 5),
    (b"\"${A[*}\" z", "E0005", 5),
    (b"\"a", "E0001", 1),
    (b"'a", "E0001", 1),
    (b"a \"b\r\"", "E0001", 3),
    (b"\"${U-abc\"", "E0004", 3),
    (b"\"${U-abc} d", "E0001", 1),
    (b"\"${.NOPE-x}\" y", "E0003", 4),
    (b"\"${.FOO}\" y", "E0003", 4),
    (b"\"$.X\" y", "E0003", 3),
    (b"a\\xGGb", "E0002", 2),
    (b"\"${A:-x}\"", "E0004", 3),
    (b"\"${A?}\"", "E0004", 3),
    (b"\"${A.B}\"", "E0004", 3),
    (b"\"$(A)\"", "E0003", 3),
    (b"a\"", "E0001", 2),
    (b"\"x\\", "E0001", 1),
    (b"a '\r' b", "E0001", 3),
];

#[test]
fn lexical_mistakes_are_told_where_haproxy_tells_them_and_only_once() {
    for (text, code, column) in ERRORS {
        let mut line = text.to_vec();
        line.push(b'\n');
        let read = read(&line);
        let errors: Vec<_> = read
            .diagnostics
            .iter()
            .filter(|d| d.severity == Severity::Error)
            .collect();
        let shown = text.escape_ascii().to_string();
        assert_eq!(errors.len(), 1, "{shown}: {:?}", read.told());
        assert_eq!(read.told()[0], format!("{code} 1:{column}"), "{shown}");
    }
}

#[test]
fn every_line_is_read_whatever_is_wrong_with_the_others() {
    let read = read(b"a 'x\n b \\x\n\n c \"$\"\n d ok\n");
    assert_eq!(read.told(), ["E0001 1:3", "E0002 2:4", "E0003 4:6"]);
    assert_eq!(read.words().last().unwrap(), &["d", "ok"]);
}

#[test]
fn a_word_spans_its_quotes_and_what_it_was_written_with() {
    let read = read(b"  bind \"$A\"'x' a\\ b # c\n \"k${A[*]}z\" \"\" end\n");
    let snippet = |w: &crate::ConfigWord| read.sources.snippet(w.span).into_owned();
    let words: Vec<String> = read.lines[0].words.iter().map(snippet).collect();
    assert_eq!(words, ["bind", "\"$A\"'x'", "a\\ b"]);
    assert_eq!(
        read.sources.snippet(read.lines[0].span),
        "bind \"$A\"'x' a\\ b"
    );
    let made: Vec<String> = read.lines[1].words.iter().map(snippet).collect();
    assert_eq!(made, vec!["\"k${A[*]}z\""; 3]);
    assert_eq!(read.told(), ["W0003 2:14"]);
}

#[test]
fn pseudo_variables_tell_the_file_the_line_and_the_section() {
    let read = read_files(&[
        b"x \"$.SECTION,$.LINE,$.FILE\"\nfrontend foo\n\n y \"${.SECTION}:${.LINE}\"\n",
        b"z \"[${.SECTION}]$.LINE $.FILE\"\n",
    ]);
    let words = read.words();
    assert_eq!(words[0][1], ",1,0.cfg");
    assert_eq!(words[2][1], "foo:4");
    assert_eq!(
        words[3][1], "[]1 1.cfg",
        "a file begins outside of sections"
    );
    assert_eq!(read.diagnostics.errors(), 0);
}

#[test]
fn line_ends_of_windows_and_a_missing_one_are_understood() {
    let windows = read(b"global\r\n daemon \r\n\r\n # c\r\n x 'y'\r\n");
    assert_eq!(
        windows.words(),
        [vec!["global"], vec!["daemon"], vec!["x", "y"]]
    );
    assert!(windows.told().is_empty());
    let cut = read(b"global\n daemon");
    assert_eq!(cut.told(), ["E0009 2:8"]);
    assert_eq!(cut.words().len(), 2);
    assert_eq!(read(b"a b\rc d\n").told(), ["W0001 1:4"]);
    let between = read(b"\r a \r b\t\r\n");
    assert_eq!(between.words(), [["a", "b"]]);
    assert!(between.told().is_empty());
    assert!(read(b"").told().is_empty());
}

#[test]
fn a_nul_ends_its_line_and_is_told_once_a_file() {
    let read = read(b"a b\0 c\n# \0\nd\n\0");
    assert_eq!(read.words(), [vec!["a", "b"], vec!["d"]]);
    assert_eq!(read.told(), ["E0008 1:4", "E0009 4:2"]);
}

#[test]
fn a_byte_order_mark_is_refused_and_skipped() {
    let read = read(b"\xef\xbb\xbfglobal\n");
    assert_eq!(read.words(), [["global"]]);
    assert_eq!(read.told(), ["E0017 1:1"]);
}

#[test]
fn a_line_has_sixty_four_words_at_most() {
    let line = |n: usize| {
        let words: Vec<String> = (0..n).map(|i| format!("a{i}")).collect();
        words.join(" ") + "\n"
    };
    assert!(read(line(64).as_bytes()).told().is_empty());
    let long = read(line(65).as_bytes());
    assert_eq!(long.told(), ["E0006 1:247"]);
    assert_eq!(long.words()[0].len(), WORDS_MAX);
    let mut env = Environment::empty();
    env.set("MANY", "x ".repeat(1000));
    let mut sources = SourceMap::default();
    let file = sources.add("x", b"k \"${MANY[*]}\" y\n".to_vec());
    let mut reader = Reader::new(vec![file], Facts::new("2.6"));
    let mut diagnostics = Diagnostics::default();
    let line = reader.next(&sources, &env, &mut diagnostics).unwrap();
    assert!(line.words.len() <= WORDS_MAX);
    assert!(reader.recovered());
    assert_eq!(diagnostics.errors(), 1);
}

#[test]
fn an_empty_word_ends_its_line() {
    let read = read(b"\"\" b\nserver a b \"\" nosuch\nlog \"$E\" x\n\"$U\" daemon\nz \"\"\n");
    assert_eq!(
        read.words(),
        [vec!["server", "a", "b"], vec!["log"], vec!["z"]]
    );
    let severities: Vec<_> = read.diagnostics.iter().map(|d| d.severity).collect();
    assert_eq!(
        severities,
        [
            Severity::Warning,
            Severity::Warning,
            Severity::Diag,
            Severity::Diag
        ]
    );
}

#[test]
fn a_setting_changes_how_the_next_line_reads() {
    let mut sources = SourceMap::default();
    let file = sources.add(
        "x",
        b"setenv\n\"$NEW\"\n.if defined(NEW)\nyes\n.endif\n".to_vec(),
    );
    let mut reader = Reader::new(vec![file], Facts::new("2.6"));
    let mut diagnostics = Diagnostics::default();
    let mut env = Environment::empty();
    assert_eq!(reader.line_number(), 0);
    assert!(reader.next(&sources, &env, &mut diagnostics).unwrap().words[0].is("setenv"));
    assert_eq!(reader.line_number(), 1);
    env.set("NEW", "value");
    assert!(reader.next(&sources, &env, &mut diagnostics).unwrap().words[0].is("value"));
    assert!(reader.next(&sources, &env, &mut diagnostics).unwrap().words[0].is("yes"));
    assert!(reader.next(&sources, &env, &mut diagnostics).is_none());
    assert_eq!(reader.file(), None);
}

#[test]
fn blocks_choose_their_branch() {
    let cases: &[(&str, &[&str])] = &[
        (".if 1\na\n.else\nb\n.endif\nc\n", &["a", "c"]),
        (".if 0\na\n.else\nb\n.endif\n", &["b"]),
        (
            ".if 0\na\n.elif 1\nb\n.elif 1\nc\n.else\nd\n.endif\n",
            &["b"],
        ),
        (".if 0\na\n.elif 0\nb\n.else\nc\n.endif\n", &["c"]),
        (
            " .if 1 # x\n  .if 0\na\n  .else # y\nb\n  .endif\n .endif\n",
            &["b"],
        ),
        (
            ".if 0\n.if 1\na\n.else\nb\n.endif\n.bogus\n.alert x\n.if foo\n.endif\n.endif\nz\n",
            &["z"],
        ),
        (".if 1\n.elif foo\n.endif\n", &[]),
        (".if\na\n.endif\n", &[]),
        (".if 0\na \"\" b\n.endif\n", &[]),
        (".if \"\"\na\n.else\nb\n.endif\n", &["b"]),
    ];
    for (text, expected) in cases {
        let read = read(text.as_bytes());
        assert!(read.told().is_empty(), "{text}: {:?}", read.told());
        assert_eq!(read.words().concat(), *expected, "{text}");
    }
}

#[test]
fn misplaced_directives_are_told() {
    let cases: &[(&str, &[&str])] = &[
        (".if 1\n", &["E0012 1:1"]),
        (".if 1\n.else\n.else\n.endif\n", &["E0011 3:1"]),
        (".if 1\n.else\n.elif 1\n.endif\n", &["E0011 3:1"]),
        (
            ".endif\n.else\n .elif 1\n",
            &["E0011 1:1", "E0011 2:1", "E0011 3:2"],
        ),
        (".if 1\n.else x\n.endif y\n", &["E0014 2:7", "E0014 3:8"]),
        (
            ".bogus\n.IF 1\n.if(1)\n",
            &["E0013 1:1", "E0013 2:1", "E0013 3:1"],
        ),
        (".notice a b\n.alert\n", &["E0014 1:11", "E0016 2:1"]),
        (
            ".notice x\n.warning \"y z\"\n.alert z\n.diag w\n",
            &["N0001 1:1", "W0004 2:1", "E0016 3:1", "N0002 4:1"],
        ),
        (".if foo\na\n.else\nb\n.endif\n", &["E0010 1:5"]),
        (".if  streq(a,b) junk\n.endif\n", &["E0010 1:17"]),
        (
            ".if 'unmatched\na\n.else 'x\nb\n.endif 'y\n",
            &["E0001 1:5", "E0001 3:7", "E0001 5:8"],
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(read(text.as_bytes()).told(), *expected, "{text}");
    }
}

#[test]
fn an_if_does_not_reach_into_the_next_file() {
    let read = read_files(&[b".if 0\na\n", b"b\n.endif\n"]);
    assert_eq!(read.words(), [["b"]]);
    assert_eq!(read.told().len(), 2);
}

#[test]
fn blocks_nest_a_hundred_deep() {
    let nested = |n: usize| ".if 1\n".repeat(n) + "x\n" + &".endif\n".repeat(n);
    assert_eq!(read(nested(NESTED_MAX).as_bytes()).words(), [["x"]]);
    let beyond = read(nested(NESTED_MAX + 400).as_bytes());
    assert!(beyond.lines.is_empty());
    assert_eq!(beyond.told(), ["E0015 101:1"]);
}

#[test]
fn scopes_are_names_in_brackets_alone_on_their_line() {
    let read = read(b"[ok.a-b_c:1] # x\nx\n []\n[a b]\n[a/\n[a] b\n[a]]\n[a\n [a]#\r\ny\n");
    assert_eq!(read.words(), [["x"], ["y"]]);
    assert_eq!(
        read.told(),
        [
            "E0018 3:2",
            "E0018 4:3",
            "E0018 5:3",
            "E0018 6:5",
            "E0018 7:4",
            "E0018 8:1"
        ]
    );
}

/// Conditions that HAProxy 2.6.12 evaluates (`-cc`), and its exit status.
const CONDITIONS: &[(&str, Option<bool>)] = &[
    ("1", Some(true)),
    ("0", Some(false)),
    ("", Some(false)),
    (" ", None),
    ("foo", None),
    ("foo(1)", None),
    ("defined(A)", Some(true)),
    ("defined(NOPE)", Some(false)),
    ("defined()", Some(false)),
    ("defined", Some(false)),
    ("defined (A)", None),
    ("1 &&", None),
    ("&& 1", None),
    ("(1", None),
    ("(1))", None),
    ("()", None),
    ("!", None),
    ("1 1", None),
    ("1x", None),
    ("1,2", None),
    ("+1", Some(true)),
    ("-1", Some(true)),
    ("00", Some(false)),
    ("0x1", Some(true)),
    ("99999999999999999999", Some(true)),
    ("1 # c", None),
    ("1 & 1", None),
    ("1 ||| 1", None),
    ("1 &&&& 1", None),
    ("0 && foo(", None),
    ("!!0", Some(false)),
    ("! 0", Some(true)),
    ("1&&1", Some(true)),
    ("1 &&! 0", Some(true)),
    ("((1)&&(0||1))", Some(true)),
    ("0 || 0 && 0 || 1", Some(true)),
    ("1 || 1 && 0", Some(true)),
    ("(0 || 1) && 0", Some(false)),
    ("(1 && 0) || 1", Some(true)),
    ("( 1 )", Some(true)),
    ("  1", Some(true)),
    ("'1'", Some(true)),
    ("\"streq(a,a)\"", Some(true)),
    ("version_atleast(2.6)", Some(true)),
    ("version_atleast(2.6.12)", Some(true)),
    ("version_atleast(2.6.13)", Some(false)),
    ("version_before(2.7-dev1)", Some(true)),
    ("version_atleast(2.6.12-2)", Some(false)),
    ("version_atleast(2.6.12-dev1)", Some(true)),
    ("version_atleast(x)", Some(true)),
    ("version_atleast(2.6 )", Some(true)),
    ("version_atleast()", Some(true)),
    ("version_before()", Some(false)),
    ("version_before(3)", Some(true)),
    ("streq(a)", None),
    ("streq()", None),
    ("streq", None),
    ("streq(a,b", None),
    ("defined(A", None),
    ("streq(a,b,c)", None),
    ("streq(a,a,)", None),
    ("streq(,)", Some(true)),
    ("streq(yes ,yes)", Some(false)),
    ("streq( yes, yes)", Some(true)),
    ("streq(a;b,a;b)", Some(true)),
    ("streq(a)b,a)", None),
    ("streq((a),(a))", None),
    ("streq(\"$A\",\"one two  three\")", Some(true)),
    ("streq($A,a)", Some(false)),
    ("streq(\"${NO-d}\",d)", Some(true)),
    ("streq(\"a b\",a\\ b)", Some(true)),
    ("streq(a  b,\"a b\")", Some(true)),
    ("streq(\"a,b\",\"a,b\")", None),
    ("streq(\\'a,b\\',\\'a,b\\')", Some(true)),
    ("streq('\"a\"',a)", Some(true)),
    ("streq(\\x41,A)", Some(true)),
    ("streq('\\\\x41',A)", Some(false)),
    ("streq(\"a", None),
    ("1 \\x", None),
    ("\"$NO\"", Some(false)),
    ("strneq(a,b)&&1", Some(true)),
    ("strneq(a,a)", Some(false)),
    ("feature(OPENSSL)", Some(true)),
    ("feature(openssl)", Some(false)),
    ("feature()", Some(true)),
    // Conditions of HAProxy versions later than 2.6.
    ("strstr(abc,b)", Some(true)),
    ("strstr(abc,)", Some(true)),
    ("strstr(abc,ca)", Some(false)),
    ("enabled(EPOLL)", Some(true)),
    ("enabled(KQUEUE)", Some(false)),
    ("openssl_version_atleast(1.1.1a)", Some(true)),
    ("openssl_version_before(3.0.0)", Some(false)),
    ("ssllib_name_startswith(AWS)", Some(true)),
    ("ssllib_name_startswith(OpenSSL)", Some(false)),
    ("awslc_api_atleast(30)", Some(true)),
    ("awslc_api_before(30)", Some(false)),
];

#[test]
fn conditions_have_the_values_that_haproxy_gives_them() {
    let mut facts = Facts::new("2.6.12")
        .with_features(["OPENSSL"])
        .with_enabled(["EPOLL"]);
    facts.tls_library = "AWS-LC 1.40.0".to_owned();
    facts.openssl_version = Some("3.0.0".to_owned());
    facts.awslc_api = Some(32);
    for (text, expected) in CONDITIONS {
        let value = evaluate_condition(text, &facts, &environment());
        assert_eq!(value.as_ref().ok(), expected.as_ref(), "{text}: {value:?}");
    }
}

#[test]
fn the_depth_of_a_condition_is_bounded() {
    let facts = Facts::new("2.6");
    let env = Environment::empty();
    let nested = |n: usize| "(".repeat(n) + "1" + &")".repeat(n);
    assert_eq!(evaluate_condition(&nested(200), &facts, &env), Ok(true));
    let error = evaluate_condition(&nested(100_000), &facts, &env).unwrap_err();
    assert_eq!(error.kind, ConditionErrorKind::TooDeep);
    let negated = "!".repeat(100_000) + "1";
    let error = evaluate_condition(&negated, &facts, &env).unwrap_err();
    assert_eq!(error.kind, ConditionErrorKind::TooDeep);
}
