//! Implements `show resolvers`: prints the counters of the nameservers.

use super::{CommandReply, Context, Session};
use std::fmt::Write;

pub fn show(context: &Context, _: &Session, words: &[&str]) -> CommandReply {
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
            for (word, count) in tallies.named() {
                let _ = writeln!(out, "  {:<12} {count}", format!("{word}:"));
            }
        }
    }
    if out.is_empty() && wanted.is_some() {
        return CommandReply::error("Can't find that resolvers section\n");
    }
    if out.is_empty() {
        return CommandReply::error("No resolvers found\n");
    }
    CommandReply::report(out)
}
