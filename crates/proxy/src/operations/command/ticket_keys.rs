//! Implements `show tls-keys` for TLS ticket keys from files, and finds the file for `set ssl
//! tls-key`. Keys are printed only at the level `admin`, because a ticket key decrypts traffic of
//! TLS 1.2.

use super::{CommandReply, Context, Session};
use model::config::StatsLevel;
use std::fmt::Write;
use std::sync::Arc;
use tls::tickets::FileKeys;

/// A file of ticket keys, after its number and name.
type Numbered = (usize, Box<str>, Arc<FileKeys>);

fn all(context: &Context) -> Vec<Numbered> {
    let files = context.runtime.config().certificates.ticket_keys();
    let numbered = files.into_iter().enumerate();
    numbered
        .map(|(at, (name, keys))| (at, name, keys))
        .collect()
}

/// Finds the file by its name, or by `#` and its number.
pub(super) fn named(context: &Context, word: &str) -> Option<Numbered> {
    let number: Option<usize> = word.strip_prefix('#').and_then(|text| text.parse().ok());
    all(context).into_iter().find(|(at, name, _)| match number {
        Some(number) => *at == number,
        None => **name == *word,
    })
}

/// Executes `show tls-keys [id|*]` for an operator.
pub fn show(context: &Context, session: &mut Session, words: &[&str]) -> CommandReply {
    let Some(word) = words.get(2) else {
        let mut out = String::from("# id (file)\n");
        for (at, name, _) in all(context) {
            let _ = writeln!(out, "{at} ({name})");
        }
        return CommandReply::report(out);
    };
    let files = match *word {
        "*" => all(context),
        word => match named(context, word) {
            Some(one) => vec![one],
            None => {
                return CommandReply::error(
                    "'show tls-keys' unable to locate referenced filename\n",
                );
            }
        },
    };
    if session.level < StatsLevel::Admin {
        return CommandReply::error("Permission denied\n");
    }
    let mut out = String::from("# id secret\n");
    for (at, name, keys) in files {
        let _ = writeln!(out, "# {at} ({name})");
        for (n, line) in keys.lines().iter().enumerate() {
            let _ = writeln!(out, "{at}.{n} {}", line.as_str());
        }
    }
    CommandReply::report(out)
}
