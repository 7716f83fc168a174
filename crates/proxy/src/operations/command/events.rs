//! `show events`: the lines that rings hold.

use super::{Context, Session};
use crate::log::ring;

/// `show events [<ring>] [-n]`.
pub fn show(_: &Context, _: &Session, words: &[&str]) -> String {
    let mut named = None;
    let mut newest = false;
    for word in words.iter().skip(2) {
        match *word {
            "-n" => newest = true,
            // A connection that goes on waiting is not built.
            "-w" | "-nw" | "-wn" => return "'-w' is not built yet.\n".into(),
            word if word.starts_with('-') => return format!("unknown option '{word}'\n"),
            word if named.is_none() => named = Some(word),
            _ => return "too many arguments\n".into(),
        }
    }
    let Some(name) = named else {
        let mut out = String::from("Rings of events, whose lines `show events <ring>` tells:\n");
        for ring in ring::summaries() {
            out.push_str(&format!(
                "    {:<10} : type=buffer, {} dropped, {}\n",
                ring.name, ring.lost, ring.description
            ));
        }
        return out;
    };
    let Some(lines) = ring::lines(name) else {
        return format!("No such ring '{name}'.\n");
    };
    let mut out = String::new();
    // What is there already is passed over, and nothing is waited for.
    for line in lines.iter().filter(|_| !newest) {
        out.push_str(&String::from_utf8_lossy(line));
        out.push('\n');
    }
    out
}
