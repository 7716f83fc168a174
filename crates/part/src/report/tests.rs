//! Tests of a report that uses every feature, in every format, and of invalid bytes.

use super::*;
use proptest::prelude::*;

fn ago(ms: u64) -> Moment {
    Moment {
        boottime_ms: 100_000 - ms,
        unix_ms: 1_795_209_453_056 - ms,
    }
}

fn report() -> StatusReport {
    let address = |name: &str| {
        let address = Subject::new("address", name).label("ip_address");
        address.number("state", 2)
    };
    let mut www = Subject::new("virtual-ip", "www")
        .label("iname")
        .state("MASTER", Grade::Good)
        .fact("interface", "eth0")
        .as_label("intf")
        .joined("router id", "51")
        .as_label("vrid")
        .fact("owner", "this machine")
        .list("prefer", vec!["a".to_owned(), "b".to_owned()])
        .lines("fault", vec!["one".to_owned(), "an\u{1b}other".to_owned()])
        .number("priority", 220)
        .number("sent", 12_345)
        .children([
            address("10.0.0.1/24").state("here", Grade::Good),
            address("fd00::1/64")
                .state("not here", Grade::Standby)
                .fact("on", "va1.51"),
        ]);
    www.since = Some(ago(4_000));
    www.why = "no master was heard".to_owned();
    www.events.push(Event {
        at: ago(4_000),
        from: "BACKUP".to_owned(),
        to: "MASTER".to_owned(),
        why: "no master was heard".to_owned(),
    });
    let odd = Subject::new("virtual-ip", "a<b\"\n")
        .label("iname")
        .state("FAULT", Grade::Bad)
        .number("priority", 0)
        .number("unknown", 1);
    let mut script = Subject::new("script", "chk").state("up", Grade::Good);
    script.why = "exit code 0".to_owned();
    let interval = "evenkeel_interval_seconds";
    StatusReport {
        part: "address".to_owned(),
        at: ago(0),
        subjects: vec![www.number("interval", 1_500), odd, script],
        rows: vec![
            NumberRow::new("state", "keepalived_vrrp_state", "2 is master"),
            NumberRow::new("sent", "keepalived_sent_total", "adverts sent"),
            NumberRow::new("priority", "evenkeel_priority", "the priority"),
            NumberRow::new("interval", interval, "the interval").unit(Unit::Milliseconds),
            NumberRow::new("nobody has it", "evenkeel_nothing", "").unit(Unit::Seconds),
            NumberRow::new("priority", "no name\nx 1", "of a role that lies"),
        ],
    }
}

#[test]
fn a_report_is_shown_to_people() {
    let report = report();
    let text = report.text();
    assert!(!text.contains('\u{1b}'), "{text}");
    let lines = report.lines_of(report.find("virtual-ip", "www").unwrap());
    insta::assert_snapshot!(text + "\n" + &lines);
}

#[test]
fn subjects_of_a_kind_are_shown_as_a_table() {
    let table = report().table("virtual-ip", &["owner", "priority"]);
    insta::assert_snapshot!(table);
}

#[test]
fn a_report_is_shown_to_programs() {
    let json = report().json();
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["subjects"][0]["numbers"]["sent"], 12_345);
    insta::assert_snapshot!(serde_json::to_string_pretty(&value).unwrap());
}

#[test]
fn a_report_is_shown_to_prometheus() {
    let mut out = String::new();
    report().metrics(&mut out);
    insta::assert_snapshot!(out);
}

#[test]
fn quotes_are_escaped_in_a_label_and_not_in_the_help() {
    let mut report = report();
    report.rows[2].words = "the \"priority\" in C:\\a\nb".to_owned();
    let mut out = String::new();
    report.metrics(&mut out);
    let help = r#"# HELP evenkeel_priority the "priority" in C:\\a\nb"#;
    assert!(out.lines().any(|line| line == help), "{out}");
    let label = r#"evenkeel_priority{iname="a<b\"\n"} 0"#;
    assert!(out.lines().any(|line| line == label), "{out}");
}

#[test]
fn a_report_is_a_section_of_the_page() {
    let mut out = String::new();
    let columns = ["owner", "prefer", "priority", "address"];
    report().html(&mut out, "Virtual <addresses>", "virtual-ip", &columns);
    insta::assert_snapshot!(out);
    out.clear();
    report().html(&mut out, "Nothing", "nothing", &columns);
    assert_eq!(out, "");
}

#[test]
fn report_is_decoded_as_encoded() {
    assert_eq!(StatusReport::decode(&report().encode()).unwrap(), report());
    assert_eq!(
        StatusReport::decode(&StatusReport::default().encode()).unwrap(),
        StatusReport::default()
    );
}

#[test]
fn a_length_of_time_has_the_unit_that_people_use() {
    let all = [5, 1_500, 119_000, 120_000, 7_200_000, 172_800_000].map(span);
    assert_eq!(all, ["5 ms", "1 s", "119 s", "2 min", "2 h", "2 d"]);
}

#[test]
fn a_report_of_a_hostile_role_is_bounded() {
    let nested = |depth: usize| {
        let one = |inner: Subject, _| Subject::new("kind", "name").children([inner]);
        let subject = (0..depth).fold(Subject::default(), one);
        let report = StatusReport {
            subjects: vec![subject],
            ..StatusReport::default()
        };
        StatusReport::decode(&report.encode())
    };
    assert!(nested(4).is_ok());
    assert!(nested(100).is_err());
    // Refuses a huge list of subjects without fields, which needs far less memory in the sender
    // than in the reader.
    let mut bytes = codec::encode(&serde_json::json!({ "part": "x", "at": Moment::default() }));
    bytes[0] += 2;
    bytes.extend(codec::encode("subjects"));
    bytes.extend([0xdd, 0xff, 0xff, 0xff, 0xff]);
    bytes.extend([0x80; 1000]);
    assert!(StatusReport::decode(&bytes).is_err());
    let long = StatusReport {
        part: "x".repeat(BYTES_MAX),
        ..StatusReport::default()
    };
    assert!(StatusReport::decode(&long.encode()).is_err());
}

proptest! {
    #[test]
    fn malformed_bytes_are_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0usize..4000) {
        let _ = StatusReport::decode(&bytes);
        let mut cut = report().encode();
        let at = at % cut.len();
        cut[at] ^= 1 << (at % 8);
        let _ = StatusReport::decode(&cut);
        cut.truncate(at);
        let _ = StatusReport::decode(&cut);
    }
}
