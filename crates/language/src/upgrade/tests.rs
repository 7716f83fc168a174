//! Tests the replacements of `evenkeel upgrade`, and the displayed difference.

use super::*;
use crate::diagnostic::Code;

static OLD: Code = Code {
    id: "W9999",
    title: "old",
    explanation: "old",
};

fn at(text: &str, part: &str) -> Span {
    let start = text.find(part).unwrap() as u32;
    Span {
        file: FileId(0),
        start,
        end: start + part.len() as u32,
    }
}

fn run(text: &str, diagnostics: &[Diagnostic]) -> String {
    let mut sources = SourceMap::default();
    let file = sources.add("a.cfg", text.as_bytes().to_vec());
    let done = upgrade(&sources, file, diagnostics.iter());
    String::from_utf8(done.text).unwrap()
}

fn old(text: &str, part: &str) -> Diagnostic {
    Diagnostic::warning(&OLD, at(text, part), "it is old").help("do this")
}

#[test]
fn words_and_lines_are_replaced_and_comments_stay() {
    let text =
        "defaults\n\tclitimeout 5s  # of clients\n  # about it\n  gone x\n  gone y # why\nlast";
    let told = [
        old(text, "clitimeout").fix(at(text, "clitimeout"), "timeout client"),
        old(text, "gone x").fix(at(text, "gone x"), ""),
        old(text, "gone y").fix(at(text, "gone y"), ""),
        old(text, "last").fix(at(text, "last"), "a\nb"),
    ];
    assert_eq!(
        run(text, &told),
        "defaults\n\ttimeout client 5s  # of clients\n  # about it\n  # why\na\nb"
    );
}

#[test]
fn a_line_is_put_behind_another_with_the_indentation_that_belongs_there() {
    let text = "listen a :80 # it\r\n\r\n   mode http\r\n";
    let behind = Span {
        start: at(text, ":80").end,
        ..at(text, ":80")
    };
    let told = [old(text, ":80")
        .fix(at(text, " :80"), "")
        .with_further_fix(behind, "\nbind :80")];
    assert_eq!(
        run(text, &told),
        "listen a # it\r\n   bind :80\r\n\r\n   mode http\r\n"
    );
}

#[test]
fn what_nobody_can_rewrite_is_marked_once() {
    let text = "listen a\n  odd line\n";
    let marked = run(text, &[old(text, "odd line")]);
    assert_eq!(
        marked,
        "listen a\n  # evenkeel upgrade: do this\n  odd line\n"
    );
    assert_eq!(run(&marked, &[old(&marked, "odd line")]), marked);
}

#[test]
fn overlapping_replacements_wait_for_another_round() {
    let text = "abc def\n";
    let told = [
        old(text, "abc").fix(at(text, "abc d"), "x"),
        old(text, "def").fix(at(text, "def"), "y"),
    ];
    assert_eq!(run(text, &told), "xef\n");
}

#[test]
fn differences_are_shown_as_patch_takes_them() {
    let old = b"a\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk\nl\n";
    let new = b"a\nB\nc\nd\ne\nf\ng\nh\ni\nj\nk\nl\nm\n";
    assert_eq!(
        unified("x.cfg", old, new),
        "--- x.cfg\n+++ x.cfg\n@@ -1,5 +1,5 @@\n a\n-b\n+B\n c\n d\n e\n@@ -10,3 +10,4 @@\n j\n k\n l\n+m\n"
    );
    assert_eq!(unified("x.cfg", old, old), "");
}
