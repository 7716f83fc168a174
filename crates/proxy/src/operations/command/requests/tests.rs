//! Tests `show requests` and `show request` without traffic; tests with traffic are in
//! `evenkeel/tests/it/why.rs`.

use super::super::super::tests::{ask, context};
use super::render;
use model::config::StatsLevel;

const OFF: &str = "global\n request-history 0\nfrontend web\n mode http\n bind 127.0.0.1:80\n";
const ON: &str = "frontend web\n mode http\n bind 127.0.0.1:80\n";

#[test]
fn invalid_filters_and_a_disabled_history_are_reported() {
    let on = context(ON);
    let operator = |command: &str| ask(&on, StatsLevel::Operator, command);
    let wrong = operator("show requests hots x");
    assert!(wrong.starts_with("unknown filter 'hots'"), "{wrong}");
    let nothing = operator("show request");
    assert!(
        nothing.starts_with("The id of a request is expected"),
        "{nothing}"
    );
    for command in ["show requests", "show request 0x1"] {
        let denied = ask(&on, StatsLevel::User, command);
        assert!(denied.starts_with("Permission denied"), "{denied}");
        let off = ask(&context(OFF), StatsLevel::Operator, command);
        assert_eq!(
            off,
            "No requests are kept: `request-history 0` in `global` disables the history. `request-history \
             1024` enables it, from the next reload on.\n\n"
        );
    }
}

#[test]
fn client_data_is_shown_as_one_printable_word() {
    assert_eq!(
        render::safe(b"/a b\x1b[2J\n\x80\\"),
        "/a\\x20b\\x1B[2J\\x0A\\x80\\\\"
    );
    assert_eq!(render::safe("/\u{e4}".as_bytes()), "/\\xC3\\xA4");
}

#[test]
fn dates_have_milliseconds_and_a_zone() {
    let date = render::date(1_000_000_000_123);
    assert_eq!(date.len(), "2001-09-09T01:46:40.123+00:00".len(), "{date}");
    assert!(date.contains(".123"), "{date}");
}
