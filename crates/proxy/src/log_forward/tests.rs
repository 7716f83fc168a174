//! Tests the forwarded syslog messages under different settings of the section and of the target.

use super::*;
use keyword::testing::load_text;
use std::time::{Duration, UNIX_EPOCH};

/// Returns the line that a target gets for a message.
fn line(target: &str, message: &str, wanted: ForwardedHost) -> String {
    let text = format!("log-forward f\ndgram-bind 127.0.0.1:1\nlog {target}\n");
    let loaded = load_text(&text);
    let config = loaded
        .config
        .unwrap_or_else(|| panic!("{:?}", loaded.diagnostics));
    let target = &config.log_forwards[0].logs[0];
    let message = SyslogMessage::read(message.as_bytes());
    let host = host(&message, wanted, Some([192, 0, 2, 1].into()));
    let mut out = Vec::new();
    // The time is noon of 1 March 2026 (UTC).
    let now = UNIX_EPOCH + Duration::from_secs(1_772_366_400);
    write(&mut out, target, &message, host.as_deref(), now);
    String::from_utf8(out).unwrap()
}

#[test]
fn messages_get_the_form_of_their_target() {
    let bsd = "<165>Aug  4 05:34:00 h p[10]: hello";
    let ietf = "<165>1 2003-10-01T22:14:15.003Z h p 10 m [x@1 y=\"z\"] hello";
    // Recorded from HAProxy for the same bytes.
    let rows = [
        ("", bsd, "<165>Aug  4 05:34:00 h p[10]: hello\n"),
        ("format local", bsd, "<165>Aug  4 05:34:00 p[10]: hello\n"),
        (
            "format rfc3164",
            bsd,
            "<165>Aug  4 05:34:00 h p[10]: hello\n",
        ),
        (
            "format rfc5424",
            bsd,
            "<165>1 2026-08-04T05:34:00-00:00 h p 10 - - hello\n",
        ),
        ("format priority", bsd, "<165>hello\n"),
        ("format short", bsd, "<5>hello\n"),
        ("format timed", bsd, "<5>2026-08-04T05:34:00-00:00 hello\n"),
        ("format iso", bsd, "2026-08-04T05:34:00-00:00 hello\n"),
        ("format raw", bsd, "hello\n"),
        ("", ietf, &format!("{ietf}\n")),
        ("format rfc5424", ietf, &format!("{ietf}\n")),
        ("format local", ietf, "<165>Oct  1 22:14:15 p[10]: hello\n"),
        (
            "format rfc3164",
            ietf,
            "<165>Oct  1 22:14:15 h p[10]: hello\n",
        ),
        ("format timed", ietf, "<5>2003-10-01T22:14:15.003Z hello\n"),
        ("", "text", "text\n"),
        ("format priority", "text", "<152>text\n"),
        ("", "<13>text", "<13>text\n"),
        (
            "format rfc3164",
            "<13>Oct 11 22:14:15 h no tag",
            "<13>Oct 11 22:14:15 h no tag\n",
        ),
        ("", "<13>two\nlines", "<13>two\nlines\n"),
        (
            "len 80",
            &format!("<13>{}", "x".repeat(100)),
            &format!("<13>{}\n", "x".repeat(76)),
        ),
    ];
    for (options, message, wanted) in rows {
        let target = format!("127.0.0.1:1 {options} local3");
        assert_eq!(
            line(&target, message, ForwardedHost::Keep),
            wanted,
            "{options} {message}"
        );
    }
}

#[test]
fn more_severe_levels_are_capped() {
    let target = "127.0.0.1:1 local3 notice warning";
    assert_eq!(line(target, "<0>x", ForwardedHost::Keep), "<4>x\n");
    assert_eq!(line(target, "<165>x", ForwardedHost::Keep), "<165>x\n");
}

#[test]
fn newline_in_a_message_cannot_forge_a_line() {
    assert_eq!(
        line("stdout local3", "<13>two\nlines", ForwardedHost::Keep),
        "<13>two lines\n"
    );
}

#[test]
fn host_is_set_by_the_section() {
    use ForwardedHost::{Append, Fill, Keep, Replace};
    let told = "<13>1 - host a - - - x";
    let silent = "<13>1 - - a - - - x";
    for (wanted, message, host) in [
        (Keep, told, "host"),
        (Keep, silent, "-"),
        (Fill, told, "host"),
        (Fill, silent, "192.0.2.1"),
        (Replace, told, "192.0.2.1"),
        (Replace, silent, "192.0.2.1"),
        (Append, told, "host,192.0.2.1"),
        (Append, silent, "192.0.2.1"),
    ] {
        let line = line("127.0.0.1:1 local3", message, wanted);
        assert_eq!(line, format!("<13>1 - {host} a - - - x\n"), "{wanted:?}");
    }
}
