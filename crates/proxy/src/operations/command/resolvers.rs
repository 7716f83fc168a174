//! `show resolvers`: what the servers of names did.

use super::{Context, Session};
use crate::resolvers::Tallies;
use std::fmt::Write;

pub fn show(context: &Context, _: &Session, words: &[&str]) -> String {
    let wanted = words.get(2);
    let mut out = String::new();
    for (section, servers) in context.runtime.names.report() {
        if wanted.is_some_and(|wanted| **wanted != *section) {
            continue;
        }
        // Writing to a string cannot fail.
        let _ = writeln!(out, "Resolvers section {section}");
        for (name, tallies) in servers {
            let _ = writeln!(out, " nameserver {name}:");
            for (word, count) in lines(&tallies) {
                let _ = writeln!(out, "  {:<12} {count}", format!("{word}:"));
            }
        }
    }
    if out.is_empty() && wanted.is_some() {
        return "Can't find that resolvers section\n".into();
    }
    if out.is_empty() {
        return "No resolvers found\n".into();
    }
    out
}

/// The words of HAProxy, in its order: scripts read them.
fn lines(tallies: &Tallies) -> [(&'static str, u64); 15] {
    [
        ("sent", tallies.sent),
        ("snd_error", tallies.unsent),
        ("valid", tallies.valid),
        ("update", tallies.update),
        ("cname", tallies.cname),
        // An alias that leads nowhere is an answer without a record here.
        ("cname_error", 0),
        ("any_err", tallies.any_error),
        ("nx", tallies.nx),
        ("timeout", tallies.timeout),
        ("refused", tallies.refused),
        ("other", tallies.other),
        ("invalid", tallies.invalid),
        // The system cuts a datagram off that is too long; then it is invalid.
        ("too_big", 0),
        ("truncated", tallies.truncated),
        ("outdated", tallies.outdated),
    ]
}
