//! A [`Status`] in words for people: `evenkeel address`.

use crate::role::status::{InstanceStatus, Status, TrackedStatus};
use std::fmt::Write;

/// Transitions of an instance that are shown, the newest first.
const TRANSITIONS_SHOWN: usize = 8;

impl Status {
    /// Who owns what, since when and why, what is wrong, and the last transitions.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for instance in &self.instances {
            one(&mut text, self, instance);
        }
        for group in &self.groups {
            let _ = writeln!(
                text,
                "group {}: {}, {}",
                group.name,
                group.state,
                group.members.join(" ")
            );
        }
        tracked(&mut text, self);
        if self.instances.is_empty() {
            text += "no virtual addresses\n";
        }
        if !self.privileges.is_empty() {
            let _ = writeln!(text, "granted: {}", self.privileges.join(", "));
        }
        clean(&text)
    }
}

fn one(text: &mut String, status: &Status, one: &InstanceStatus) {
    let since = status.now_ms.saturating_sub(one.since_ms);
    let _ = writeln!(
        text,
        "{}: {} for {} ({})",
        one.name,
        one.state,
        ago(since),
        one.why
    );
    let addresses = one.addresses.iter().map(|address| {
        let here = if address.here { "" } else { " (not here)" };
        format!("{}{here}", address.address)
    });
    let _ = writeln!(
        text,
        "  addresses   {}",
        addresses.collect::<Vec<_>>().join(", ")
    );
    let _ = writeln!(
        text,
        "  on          {}, router id {}, version {}, an advert every {} ms",
        one.interface, one.vrid, one.version, one.advert_interval_ms
    );
    let owner = match (&one.owner, one.state.as_str()) {
        (_, "MASTER") => "this machine".to_owned(),
        (Some(owner), _) => {
            let heard = status.now_ms.saturating_sub(owner.heard_ms);
            format!(
                "{} with priority {}, heard {} ago",
                owner.address,
                owner.priority,
                ago(heard)
            )
        }
        (None, _) => "nobody is heard".to_owned(),
    };
    let _ = writeln!(text, "  owner       {owner}");
    let _ = writeln!(
        text,
        "  priority    {} ({})",
        one.priority,
        one.priority_from.join(", ")
    );
    if !one.prefer.is_empty() {
        let _ = writeln!(text, "  prefer      {}", one.prefer.join(", then "));
    }
    health(text, one);
    troubles(text, status, one);
    let shown = one.transitions.iter().rev().take(TRANSITIONS_SHOWN);
    for transition in shown {
        let _ = writeln!(
            text,
            "  {} ago: {} -> {} ({})",
            ago(status.now_ms.saturating_sub(transition.at_ms)),
            transition.from,
            transition.to,
            transition.why
        );
    }
}

/// How much of what the address is for can be served, where that is known.
fn health(text: &mut String, one: &InstanceStatus) {
    let health = match one.band {
        Some(0) => "all of its frontends can be served",
        Some(1) => "some of its frontends cannot be served",
        Some(_) => "none of its frontends can be served",
        // It has no memory to be seen in.
        None if !one.health_why.is_empty() => "unknown",
        None => "",
    };
    if !health.is_empty() {
        let why = match one.health_why.as_str() {
            "" => String::new(),
            why => format!(": {why}"),
        };
        let _ = writeln!(text, "  health      {health}{why}");
    }
}

/// What an operator should see to.
fn troubles(text: &mut String, status: &Status, one: &InstanceStatus) {
    for rejected in &one.rejected {
        let adverts = match rejected.count {
            1 => "1 advert".to_owned(),
            n => format!("{n} adverts"),
        };
        let last = ago(status.now_ms.saturating_sub(rejected.last_ms));
        let _ = writeln!(
            text,
            "  rejected    {adverts} from {}, the last one {last} ago: {}",
            rejected.from, rejected.why
        );
    }
    if let Some((from, priority)) = one.same_place {
        let _ = writeln!(
            text,
            "  conflict    {from} announces priority {priority}, this node's place in prefer: give both files the same order"
        );
    }
    for fault in &one.faults {
        let _ = writeln!(text, "  fault       {fault}");
    }
    for conflict in &one.conflicts {
        let _ = writeln!(
            text,
            "  conflict    {conflict} used it, too, in the last ten minutes"
        );
    }
    if one.restored > 0 {
        let restored = usize::try_from(one.restored).unwrap_or(usize::MAX);
        let _ = writeln!(
            text,
            "  put back    {} that somebody else had deleted",
            match restored {
                1 => "1 address".to_owned(),
                n => format!("{n} addresses"),
            }
        );
    }
}

fn tracked(text: &mut String, status: &Status) {
    for TrackedStatus {
        kind,
        name,
        state,
        since_ms,
        outcome,
    } in &status.tracked
    {
        let _ = write!(text, "{kind} {name}: {state}");
        // It was so when the role first looked: since when is not known.
        if *since_ms > 0 {
            let since = ago(status.now_ms.saturating_sub(*since_ms));
            let _ = write!(text, " for {since}");
        }
        if !outcome.is_empty() {
            let _ = write!(text, " ({outcome})");
        }
        text.push('\n');
    }
}

/// A time in its largest unit that is not too coarse.
fn ago(ms: u64) -> String {
    let seconds = ms / 1_000;
    match seconds {
        0 => format!("{ms} ms"),
        1..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// Names come from files: a terminal obeys none of them.
fn clean(text: &str) -> String {
    text.replace(|c: char| c.is_control() && c != '\n', "?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_units_that_people_use() {
        let all = [5, 1_500, 119_000, 120_000, 7_200_000, 172_800_000].map(ago);
        assert_eq!(all, ["5 ms", "1 s", "119 s", "2 min", "2 h", "2 d"]);
    }

    #[test]
    fn rejected_adverts_and_another_order_of_prefer_are_shown() {
        let one = InstanceStatus {
            rejected: vec![crate::role::RejectedStatus {
                from: "10.0.0.2".parse().unwrap(),
                count: 7,
                last_ms: 4_000,
                why: "its password is wrong".to_owned(),
            }],
            same_place: Some(("10.0.0.3".parse().unwrap(), 220)),
            ..InstanceStatus::default()
        };
        let status = Status {
            now_ms: 5_000,
            instances: vec![one],
            ..Status::default()
        };
        let text = status.text();
        let rejected = "rejected    7 adverts from 10.0.0.2, the last one 1 s ago: its password";
        assert!(text.contains(rejected), "{text}");
        assert!(text.contains("10.0.0.3 announces priority 220"), "{text}");
    }

    #[test]
    fn without_an_instance_that_is_said() {
        assert_eq!(Status::default().text(), "no virtual addresses\n");
    }
}
