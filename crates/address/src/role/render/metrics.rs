//! Metrics for Prometheus, with the names of keepalived_exporter, and a few of our own.

use crate::role::status::{InstanceStatus, Status};
use std::fmt::Write;

type Counter = fn(&InstanceStatus) -> u64;

/// Name, help, and where the number comes from.
const COUNTERS: &[(&str, &str, Counter)] = &[
    (
        "keepalived_advertisements_received_total",
        "Advertisements received",
        |i| i.counters.adverts_received,
    ),
    (
        "keepalived_advertisements_sent_total",
        "Advertisements sent",
        |i| i.counters.adverts_sent,
    ),
    (
        "keepalived_become_master_total",
        "How often this machine became master",
        |i| i.counters.became_master,
    ),
    (
        "keepalived_release_master_total",
        "How often this machine stopped being master",
        |i| i.counters.released_master,
    ),
    (
        "keepalived_packet_length_errors_total",
        "Packets of a wrong length",
        |i| i.counters.packet_length_errors,
    ),
    (
        "keepalived_advertisements_interval_errors_total",
        "Advertisements with another interval",
        |i| i.counters.interval_errors,
    ),
    (
        "keepalived_ip_ttl_errors_total",
        "Packets with a wrong TTL",
        |i| i.counters.ttl_errors,
    ),
    (
        "keepalived_invalid_type_received_total",
        "Packets of an unknown type",
        |i| i.counters.invalid_type,
    ),
    (
        "keepalived_address_list_errors_total",
        "Advertisements with other addresses",
        |i| i.counters.address_list_errors,
    ),
    (
        "keepalived_authentication_invalid_total",
        "Advertisements with an unknown authentication",
        |i| i.counters.invalid_authentication_type,
    ),
    (
        "keepalived_authentication_mismatch_total",
        "Advertisements with another authentication than ours",
        |i| i.counters.authentication_type_mismatch,
    ),
    (
        "keepalived_authentication_failure_total",
        "Advertisements with a wrong password",
        |i| i.counters.authentication_failures,
    ),
    (
        "keepalived_priority_zero_received_total",
        "Advertisements of priority zero received",
        |i| i.counters.priority_zero_received,
    ),
    (
        "keepalived_priority_zero_sent_total",
        "Advertisements of priority zero sent",
        |i| i.counters.priority_zero_sent,
    ),
    (
        "evenkeel_address_checksum_errors_total",
        "Packets with a wrong checksum",
        |i| i.counters.checksum_errors,
    ),
    (
        "evenkeel_address_version_errors_total",
        "Packets of another version of VRRP",
        |i| i.counters.version_errors,
    ),
    (
        "evenkeel_address_vrid_errors_total",
        "Packets of another router id",
        |i| i.counters.vrid_errors,
    ),
    (
        "evenkeel_address_announcements_total",
        "Gratuitous ARPs and neighbour advertisements sent",
        |i| i.announcements,
    ),
    (
        "evenkeel_address_restored_total",
        "Addresses put back after somebody deleted them",
        |i| i.restored,
    ),
];

const GAUGES: &[(&str, &str, Counter)] = &[
    (
        "evenkeel_address_priority",
        "Priority that is announced",
        |i| i.priority.into(),
    ),
    (
        "evenkeel_address_since_seconds",
        "When the state was entered, seconds since 1970",
        |i| i.since_unix_ms / 1000,
    ),
    (
        "evenkeel_address_band",
        "What the proxy can serve of it: 0 all, 1 some, 2 nothing",
        |i| i.band.unwrap_or(0).into(),
    ),
    (
        "evenkeel_address_conflicts",
        "Other machines seen that use an address of ours",
        |i| i.conflicts.len() as u64,
    ),
];

impl Status {
    /// In Prometheus' text format.
    pub fn metrics(&self) -> String {
        let mut out = String::new();
        head(
            &mut out,
            "keepalived_up",
            "gauge",
            "Whether the address role runs",
        );
        out.push_str("keepalived_up 1\n");
        self.states_to(&mut out);
        for (kind, all) in [("counter", COUNTERS), ("gauge", GAUGES)] {
            for (name, help, of) in all {
                head(&mut out, name, kind, help);
                for i in &self.instances {
                    let labels = labels(i);
                    // Writing to a String cannot fail.
                    let _ = writeln!(out, "{name}{{{labels}}} {}", of(i));
                }
            }
        }
        let name = "keepalived_script_status";
        head(&mut out, name, "gauge", "1 where the script is content");
        for tracked in self.tracked.iter().filter(|one| one.kind == "script") {
            let content = u8::from(tracked.state == "up");
            let script = escape(&tracked.name);
            let _ = writeln!(out, "{name}{{name=\"{script}\"}} {content}");
        }
        out
    }

    /// One a virtual address, as the exporter has it.
    fn states_to(&self, out: &mut String) {
        let name = "keepalived_vrrp_state";
        head(out, name, "gauge", "0 init, 1 backup, 2 master, 3 fault");
        for i in &self.instances {
            let state = match i.state.as_str() {
                "BACKUP" => 1,
                "MASTER" => 2,
                "FAULT" => 3,
                _ => 0,
            };
            for address in &i.addresses {
                let (labels, ip) = (labels(i), escape(&address.address));
                let _ = writeln!(out, "{name}{{{labels},ip_address=\"{ip}\"}} {state}");
            }
        }
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn labels(i: &InstanceStatus) -> String {
    let (name, interface) = (escape(&i.name), escape(&i.interface));
    format!("iname=\"{name}\",intf=\"{interface}\",vrid=\"{}\"", i.vrid)
}

fn escape(word: &str) -> String {
    word.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_stands_once_with_its_type() {
        let text = Status::default().metrics();
        let lines = text.lines();
        let mut names: Vec<&str> = lines.filter_map(|l| l.strip_prefix("# TYPE ")).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        assert_eq!(count, COUNTERS.len() + GAUGES.len() + 3);
        assert!(text.contains("\nkeepalived_up 1\n"));
    }

    #[test]
    fn a_name_with_a_quote_stays_within_its_label() {
        assert_eq!(escape("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }
}
