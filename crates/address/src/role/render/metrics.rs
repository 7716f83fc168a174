//! Metrics for Prometheus, with the names of keepalived_exporter, and a few of our own.

use crate::role::status::{InstanceStatus, Status};
use protocol::vrrp;
use std::fmt::Write;

type Number = fn(&InstanceStatus) -> u64;

/// Name, help, and where the number comes from; beside what adverts are counted.
const COUNTERS: &[(&str, &str, Number)] = &[
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

const GAUGES: &[(&str, &str, Number)] = &[
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
        for row in vrrp::COUNTERS {
            let value = |i: &InstanceStatus| i.counters[row.counter];
            self.family_to(&mut out, "counter", row.metric, row.words, value);
        }
        for (kind, all) in [("counter", COUNTERS), ("gauge", GAUGES)] {
            for (name, help, value) in all {
                self.family_to(&mut out, kind, name, help, value);
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

    /// One a virtual router.
    fn family_to(
        &self,
        out: &mut String,
        kind: &str,
        name: &str,
        help: &str,
        value: impl Fn(&InstanceStatus) -> u64,
    ) {
        head(out, name, kind, help);
        for i in &self.instances {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{name}{{{}}} {}", labels(i), value(i));
        }
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
        assert_eq!(
            count,
            vrrp::COUNTERS.len() + COUNTERS.len() + GAUGES.len() + 3
        );
        assert!(text.contains("\nkeepalived_up 1\n"));
    }

    #[test]
    fn a_name_with_a_quote_stays_within_its_label() {
        assert_eq!(escape("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }
}
