//! Tests rendered diagnostics against snapshots.

use super::*;
use crate::diagnostic::Code;
use crate::environment::Environment;
use crate::reader::{Facts, Reader};
use crate::source::{SourceMap, Span};
use insta::assert_snapshot;

static UNKNOWN: Code = Code {
    id: "E0101",
    title: "unknown keyword",
    explanation: "",
};
static TWICE: Code = Code {
    id: "W0102",
    title: "defined twice",
    explanation: "",
};

fn span(sources: &SourceMap, text: &str, nth: usize) -> Span {
    let (file, source) = sources.files().next().unwrap();
    let bytes = String::from_utf8_lossy(&source.text).into_owned();
    let (start, _) = bytes.match_indices(text).nth(nth).unwrap();
    Span {
        file,
        start: start as u32,
        end: (start + text.len()) as u32,
    }
}

fn example() -> (SourceMap, Diagnostics) {
    let mut sources = SourceMap::default();
    sources.add(
        "site.cfg",
        b"frontend web\n    bnid *:80\n    acl bad src 10.0.0.0/8\n\nfrontend web\n    use_backend x if bda\n".to_vec(),
    );
    let mut diagnostics = Diagnostics::default();
    let bnid = span(&sources, "bnid", 0);
    diagnostics.push(
        &sources,
        Diagnostic::error(
            &UNKNOWN,
            bnid,
            "unknown keyword 'bnid' in 'frontend' section",
        )
        .label("not a keyword")
        .help("did you mean 'bind'?")
        .fix(bnid, "bind"),
    );
    diagnostics.push(
        &sources,
        Diagnostic::warning(
            &TWICE,
            span(&sources, "web", 1),
            "frontend 'web' is defined twice",
        )
        .label("second definition")
        .with_label(span(&sources, "web", 0), "first defined here")
        .note("requests go to the first one")
        .help("give it another name"),
    );
    diagnostics.push(
        &sources,
        Diagnostic::new(
            &UNKNOWN,
            Severity::Diag,
            span(&sources, "x", 0),
            "only for -dD",
        ),
    );
    diagnostics.push(
        &sources,
        Diagnostic::global(
            &UNKNOWN,
            Severity::Error,
            "cannot open 'b.cfg': no such file",
        ),
    );
    (sources, diagnostics)
}

fn lexical() -> (SourceMap, Diagnostics) {
    let mut sources = SourceMap::default();
    let text =
        b"global\n\tuser 'me\n .if foo\n .endif\n .notice hi\n .bogus\n # \xff\n x\0".to_vec();
    let file = sources.add("x.cfg", text);
    let mut reader = Reader::new(vec![file], Facts::new("2.6"));
    let mut diagnostics = Diagnostics::default();
    while reader
        .next(&sources, &Environment::empty(), &mut diagnostics)
        .is_some()
    {}
    (sources, diagnostics)
}

const FORM: HaproxyForm<'static> = HaproxyForm {
    pid: 4711,
    version: "2.6.12",
    executable: "/usr/sbin/evenkeel",
    diag: false,
    zero_warning: false,
};

#[test]
fn people_see_the_line_the_underline_and_the_replacement() {
    let (sources, diagnostics) = example();
    assert_snapshot!(full(&sources, &diagnostics, &RenderOptions::default()));
}

#[test]
fn people_see_where_the_reader_stumbled() {
    let (sources, diagnostics) = lexical();
    assert_snapshot!(full(&sources, &diagnostics, &RenderOptions::default()));
}

#[test]
fn colours_come_only_when_asked_for() {
    let (sources, diagnostics) = example();
    let look = RenderOptions {
        color: true,
        ..RenderOptions::default()
    };
    assert!(full(&sources, &diagnostics, &look).contains('\x1b'));
    assert!(!full(&sources, &diagnostics, &RenderOptions::default()).contains('\x1b'));
}

#[test]
fn concise_is_a_line_each() {
    let (sources, diagnostics) = example();
    assert_snapshot!(concise(&sources, &diagnostics, false));
}

#[test]
fn programs_get_every_field() {
    let (sources, diagnostics) = example();
    assert_snapshot!(json(&sources, &diagnostics, false));
}

#[test]
fn haproxy_s_form_is_haproxy_s() {
    let (sources, diagnostics) = example();
    assert_snapshot!(haproxy(&sources, &diagnostics, &FORM));
    let (sources, diagnostics) = lexical();
    assert_snapshot!(haproxy(&sources, &diagnostics, &FORM));
}

#[test]
fn warnings_alone_abort_only_under_zero_warning() {
    let mut sources = SourceMap::default();
    sources.add("a.cfg", b"web web\n".to_vec());
    let mut diagnostics = Diagnostics::default();
    let at = span(&sources, "web", 1);
    diagnostics.push(&sources, Diagnostic::warning(&TWICE, at, "twice"));
    assert!(!haproxy(&sources, &diagnostics, &FORM).contains("ALERT"));
    let strict = HaproxyForm {
        zero_warning: true,
        ..FORM
    };
    assert!(haproxy(&sources, &diagnostics, &strict).contains("'zero-warning' is set"));
}

#[test]
fn no_renderer_passes_on_control_characters() {
    let mut sources = SourceMap::default();
    let file = sources.add("a\x1b[2J.cfg", b"a \x1b[31m\xff\xc3 b\r\n".to_vec());
    let mut diagnostics = Diagnostics::default();
    let at = Span {
        file,
        start: 2,
        end: 9,
    };
    let said = Diagnostic::error(&UNKNOWN, at, "bad \x1b[31m\nword")
        .help("\x07")
        .label("\x1b");
    diagnostics.push(&sources, said);
    for text in [
        full(&sources, &diagnostics, &RenderOptions::default()),
        concise(&sources, &diagnostics, false),
        haproxy(&sources, &diagnostics, &FORM),
        json(&sources, &diagnostics, false),
    ] {
        assert!(
            !text.chars().any(|c| c.is_control() && c != '\n'),
            "{text:?}"
        );
    }
}
