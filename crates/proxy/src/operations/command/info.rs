//! Implements `show info`: reports about the process, with HAProxy's fields under the same names,
//! positions and types.

use super::{Context, Session};
use crate::stats::export::{json_field, plain, type_name};
use crate::stats::information;
use crate::stats::process::ProcessSnapshot;
use std::fmt::Write;

/// `show info`, with its flags.
pub fn show(context: &Context, _: &mut Session, words: &[&str]) -> String {
    let flag = |name: &str| words.iter().skip(2).any(|word| *word == name);
    let config = context.runtime.config();
    let process = ProcessSnapshot::now(context.runtime, &config);
    let fields = information::fields(&process, flag("float"));
    let mut out = String::new();
    if flag("json") {
        for (n, field) in fields.iter().enumerate() {
            out.push_str(if n == 0 { "[{" } else { ",{" });
            json_field(&mut out, field.place, field.name, field.tags, &field.value);
        }
        out.push_str("]\n");
        return out;
    }
    for field in &fields {
        // Writing to a string cannot fail.
        let _ = if flag("typed") {
            write!(
                out,
                "{}.{}.1:{}:{}:",
                field.place,
                field.name,
                field.tags.0,
                type_name(&field.value)
            )
        } else {
            write!(out, "{}: ", field.name)
        };
        plain(&mut out, &field.value);
        if flag("desc") {
            let _ = write!(out, ":\"{}\"", field.meaning);
        }
        out.push('\n');
    }
    out
}
