//! The status of virtual addresses as metrics for Prometheus: by the names of
//! keepalived_exporter, so that dashboards which know those go on.

use address::role::{CounterStatus, InstanceStatus, Status};
use std::fmt::Write;

/// Reads one counter.
type Count = fn(&CounterStatus) -> u64;

/// Counters: the exporter's name, what it counts.
const COUNTERS: &[(&str, &str, Count)] = &[
    ("advertisements_received_total", "Adverts received", |c| {
        c.adverts_received
    }),
    ("advertisements_sent_total", "Adverts sent", |c| {
        c.adverts_sent
    }),
    (
        "become_master_total",
        "Times that it became the owner",
        |c| c.became_master,
    ),
    (
        "release_master_total",
        "Times that it gave the addresses up",
        |c| c.released_master,
    ),
    (
        "packet_length_errors_total",
        "Packets of a wrong length",
        |c| c.packet_length_errors,
    ),
    (
        "advertisements_interval_errors_total",
        "Adverts of another interval",
        |c| c.interval_errors,
    ),
    ("ip_ttl_errors_total", "Packets that passed a router", |c| {
        c.ttl_errors
    }),
    (
        "invalid_type_received_total",
        "Packets of another type",
        |c| c.invalid_type,
    ),
    (
        "address_list_errors_total",
        "Adverts with other addresses",
        |c| c.address_list_errors,
    ),
    (
        "authentication_invalid_total",
        "Unknown authentication",
        |c| c.invalid_authentication_type,
    ),
    (
        "authentication_mismatch_total",
        "Another authentication",
        |c| c.authentication_type_mismatch,
    ),
    ("authentication_failure_total", "Wrong passwords", |c| {
        c.authentication_failures
    }),
    (
        "priority_zero_received_total",
        "Adverts of priority zero received",
        |c| c.priority_zero_received,
    ),
    (
        "priority_zero_sent_total",
        "Adverts of priority zero sent",
        |c| c.priority_zero_sent,
    ),
    (
        "checksum_errors_total",
        "Packets with a wrong checksum",
        |c| c.checksum_errors,
    ),
    ("version_errors_total", "Packets of another version", |c| {
        c.version_errors
    }),
    ("vrid_errors_total", "Packets of another router id", |c| {
        c.vrid_errors
    }),
];

/// All of it.
pub fn text(status: &Status) -> String {
    let mut text = String::new();
    head(&mut text, "up", "gauge", "Whether the address role answers");
    text += "keepalived_up 1\n";
    head(
        &mut text,
        "vrrp_state",
        "gauge",
        "0 INIT, 1 BACKUP, 2 MASTER, 3 FAULT",
    );
    for one in &status.instances {
        for address in &one.addresses {
            let labels = format!(
                "{},ip_address=\"{}\"",
                labels(one),
                escaped(&address.address)
            );
            let state = match one.state.as_str() {
                "BACKUP" => 1,
                "MASTER" => 2,
                "FAULT" => 3,
                _ => 0,
            };
            let _ = writeln!(text, "keepalived_vrrp_state{{{labels}}} {state}");
        }
    }
    for (name, words, count) in COUNTERS {
        head(&mut text, name, "counter", words);
        for one in &status.instances {
            let number = count(&one.counters);
            let _ = writeln!(text, "keepalived_{name}{{{}}} {number}", labels(one));
        }
    }
    gauges(&mut text, status);
    text
}

/// Reads one number of an instance.
type Number = fn(&InstanceStatus) -> u64;

/// What the exporter does not have.
fn gauges(text: &mut String, status: &Status) {
    const OWN: &[(&str, &str, &str, Number)] = &[
        (
            "vrrp_priority",
            "gauge",
            "The priority that is announced",
            |one| one.priority.into(),
        ),
        (
            "gratuitous_announcements_total",
            "counter",
            "Announcements to neighbours",
            |one| one.announcements,
        ),
        (
            "addresses_restored_total",
            "counter",
            "Addresses put back",
            |one| one.restored,
        ),
        (
            "vrrp_band",
            "gauge",
            "0 all is served, 1 some, 2 nothing",
            |one| one.band.unwrap_or(0).into(),
        ),
    ];
    for (name, kind, words, number) in OWN {
        head(text, name, kind, words);
        for one in &status.instances {
            let _ = writeln!(text, "keepalived_{name}{{{}}} {}", labels(one), number(one));
        }
    }
    head(
        text,
        "script_status",
        "gauge",
        "1 where the script is content",
    );
    for tracked in status.tracked.iter().filter(|one| one.kind == "script") {
        let content = u8::from(tracked.state == "up");
        let name = escaped(&tracked.name);
        let _ = writeln!(
            text,
            "keepalived_script_status{{name=\"{name}\"}} {content}"
        );
    }
}

fn head(text: &mut String, name: &str, kind: &str, words: &str) {
    let _ = writeln!(text, "# HELP keepalived_{name} {words}");
    let _ = writeln!(text, "# TYPE keepalived_{name} {kind}");
}

fn labels(one: &InstanceStatus) -> String {
    format!(
        "iname=\"{}\",intf=\"{}\",vrid=\"{}\"",
        escaped(&one.name),
        escaped(&one.interface),
        one.vrid
    )
}

fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    text.replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_stands_once_with_its_type() {
        let text = text(&Status::default());
        let mut names: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE "))
            .collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!((names.len(), count), (24, 24));
        assert!(text.contains("\nkeepalived_up 1\n"));
    }

    #[test]
    fn a_name_with_a_quote_stays_within_its_label() {
        assert_eq!(escaped("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }
}
