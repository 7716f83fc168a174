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
        "keepalived_vrrp_state",
        "State of the instance: 0 init, 1 backup, 2 master, 3 fault",
        |i| match i.state.as_str() {
            "BACKUP" => 1,
            "MASTER" => 2,
            "FAULT" => 3,
            _ => 0,
        },
    ),
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
        "evenkeel_address_conflicts",
        "Other machines seen that use an address of ours",
        |i| i.conflicts.len() as u64,
    ),
];

impl Status {
    /// In Prometheus' text format.
    pub fn metrics(&self) -> String {
        let mut out = String::from(
            "# HELP keepalived_up Whether the address role runs\n# TYPE keepalived_up gauge\n\
             keepalived_up 1\n",
        );
        for (kind, all) in [("counter", COUNTERS), ("gauge", GAUGES)] {
            for (name, help, of) in all {
                // Writing to a String cannot fail.
                let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
                for i in &self.instances {
                    let labels = labels(i);
                    let _ = writeln!(out, "{name}{{{labels}}} {}", of(i));
                }
            }
        }
        out
    }
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
