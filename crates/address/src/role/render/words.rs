//! Words for people: `evenkeel address`.

use super::moment;
use crate::role::status::{InstanceStatus, Status};
use std::fmt::Write;

impl Status {
    /// Who owns what, since when and why; with the last transitions where `detail` says so.
    pub fn text(&self, detail: bool) -> String {
        let mut out = String::new();
        for instance in &self.instances {
            // Writing to a String cannot fail.
            let _ = self.instance_to(&mut out, instance, detail);
        }
        if self.instances.is_empty() {
            out.push_str("no virtual addresses are configured\n");
        }
        for group in &self.groups {
            let members = group.members.join(", ");
            let _ = writeln!(out, "group {}: {} ({members})", group.name, group.state);
        }
        if detail {
            for tracked in &self.tracked {
                let _ = write!(out, "{} {}: {}", tracked.kind, tracked.name, tracked.state);
                if !tracked.outcome.is_empty() {
                    let _ = write!(out, " ({})", tracked.outcome);
                }
                out.push('\n');
            }
        }
        out
    }

    fn instance_to(&self, out: &mut String, i: &InstanceStatus, detail: bool) -> std::fmt::Result {
        let since = ago(self.now_ms, i.since_ms);
        writeln!(out, "{}: {} for {since}", i.name, i.state)?;
        writeln!(out, "    because {}", i.why)?;
        for address in &i.addresses {
            let here = match (address.here, &i.owner) {
                (true, _) => "here".to_owned(),
                (false, Some(owner)) => format!("at {}", owner.address),
                (false, None) => "nobody is known to have it".to_owned(),
            };
            writeln!(
                out,
                "    address {} on {}: {here}",
                address.address, address.interface
            )?;
        }
        writeln!(
            out,
            "    priority {} ({})",
            i.priority,
            i.priority_from.join(", ")
        )?;
        if let Some(owner) = &i.owner {
            let heard = ago(self.now_ms, owner.heard_ms);
            let (who, priority) = (owner.address, owner.priority);
            writeln!(
                out,
                "    {who} announces priority {priority}, last {heard} ago"
            )?;
        }
        if !i.prefer.is_empty() {
            writeln!(out, "    preferred: {}", i.prefer.join(", then "))?;
        }
        match i.band {
            Some(0) => writeln!(out, "    its frontends can all be served")?,
            Some(1) => writeln!(out, "    some of its frontends cannot be served")?,
            Some(_) => writeln!(out, "    none of its frontends can be served")?,
            None => {}
        }
        for fault in &i.faults {
            writeln!(out, "    fault: {fault}")?;
        }
        for conflict in &i.conflicts {
            writeln!(
                out,
                "    another machine used {conflict} in the last ten minutes"
            )?;
        }
        if i.restored > 0 {
            writeln!(
                out,
                "    put back {} times after somebody deleted it",
                i.restored
            )?;
        }
        if detail {
            for t in &i.transitions {
                let at = moment(t.at_unix_ms);
                writeln!(out, "    {at} UTC {} -> {}: {}", t.from, t.to, t.why)?;
            }
        }
        Ok(())
    }
}

/// How long ago, in words.
pub fn ago(now_ms: u64, then_ms: u64) -> String {
    let ms = now_ms.saturating_sub(then_ms);
    let s = ms / 1000;
    match s {
        0 => format!("{ms} ms"),
        1..60 => format!("{s} s"),
        60..3600 => format!("{} min {} s", s / 60, s % 60),
        3600..86_400 => format!("{} h {} min", s / 3600, s / 60 % 60),
        _ => format!("{} d {} h", s / 86_400, s / 3600 % 24),
    }
}
