//! Implements the commands that show and change ACLs and maps. A change affects the lists in
//! memory, and the process that replaces this one gets it, too; no file is written.

use super::{CommandReply, Context, LongReply, Session, Severity};
use crate::stats::piece::RowSource;
use language::difference::{COVER, without_parameters};
use model::config::{Config, StatsLevel};
use model::rules::live::{Edit, Entry, How, ListError, Which};
use model::rules::{Gives, Method};
use std::borrow::Cow;
use std::fmt::Write;
use std::sync::Arc;

fn maps(words: &[&str]) -> bool {
    words.get(1) == Some(&"map")
}

fn kind(words: &[&str]) -> &'static str {
    if maps(words) { "map" } else { "ACL" }
}

/// Finds the list that a word names. Err: the reply.
fn named(
    context: &Context,
    words: &[&str],
    name: Option<&&str>,
) -> Result<(Arc<Config>, usize), String> {
    let kind = kind(words);
    let Some(name) = name else {
        return Err(format!("Missing {kind} identifier.\n"));
    };
    let config = context.runtime.config();
    match config.lists.named(name, maps(words)) {
        Some(at) => Ok((config, at)),
        None => Err(format!(
            "Unknown {kind} identifier. Please use #<id> or <file>.\n"
        )),
    }
}

const RANGE: &str = "Version number out of range.\n";

/// Splits the version (`@3`) from the beginning of the arguments; returns it and the other words.
fn version<'w, 'a>(
    words: &'w [&'a str],
) -> Result<(Option<u32>, std::borrow::Cow<'w, [&'a str]>), String> {
    let Some(text) = words.get(2).and_then(|word| word.strip_prefix('@')) else {
        return Ok((None, words.into()));
    };
    let number = text.parse().map_err(|_| RANGE.to_owned())?;
    let mut rest = words.to_vec();
    rest.remove(2);
    Ok((Some(number), rest.into()))
}

/// Returns an entry as this connection may see it. Only administrators see more than the number of
/// an entry in a list of secrets, and secret parameters of queries in other lists.
fn visible<'e>(session: &Session, is_secret: bool, entry: &'e Entry) -> Cow<'e, Entry> {
    if session.level >= StatsLevel::Admin {
        return Cow::Borrowed(entry);
    }
    if !is_secret {
        let key = String::from_utf8_lossy(&entry.key);
        let masked = without_parameters(&key);
        if masked == key {
            return Cow::Borrowed(entry);
        }
        return Cow::Owned(Entry {
            number: entry.number,
            value: entry.value.clone(),
            key: masked.into_bytes().into(),
        });
    }
    let cover: Box<[u8]> = COVER.as_bytes().into();
    Cow::Owned(Entry {
        number: entry.number,
        value: entry.value.as_ref().map(|_| cover.clone()),
        key: cover,
    })
}

fn show_entry(out: &mut String, entry: &Entry) {
    let key = String::from_utf8_lossy(&entry.key);
    // Writing to a string cannot fail.
    let _ = match &entry.value {
        Some(value) => {
            let value = String::from_utf8_lossy(value);
            writeln!(out, "{:#x} {key} {value}", entry.number)
        }
        None => writeln!(out, "{:#x} {key}", entry.number),
    };
}

/// Number of entries that are copied at a time while a list is shown.
const ENTRIES_MAX: usize = 256;

/// `show acl [<acl>]`, `show map [<map>]`.
pub fn show(context: &Context, session: &Session, words: &[&str]) -> LongReply {
    if words.len() < 3 {
        let mut out = String::from("# id (file) description\n");
        for list in context.runtime.config().lists.summaries(maps(words)) {
            let _ = writeln!(
                out,
                "{} ({}) {}. curr_ver={} next_ver={} entry_cnt={}",
                list.id, list.file, list.used_by, list.versions.0, list.versions.1, list.entries
            );
        }
        return Err(CommandReply::report(out));
    }
    let (version, words) = version(words).map_err(CommandReply::error)?;
    let found = named(context, &words, words.get(2));
    let (config, at) = found.map_err(CommandReply::error)?;
    let is_secret = config.lists.is_secret(at);
    // If another version of the list is put into use meanwhile, the output ends, because its
    // entries are different.
    let version = version.or_else(|| config.lists.current_version(at));
    let version = version.unwrap_or_default();
    let (session, mut last) = (session.clone(), 0);
    let mut entries = Vec::new().into_iter();
    Ok(Box::new(RowSource(move |out: &mut String| {
        let mut next = entries.next();
        if next.is_none() {
            let more = config.lists.entries_after(at, version, last, ENTRIES_MAX);
            entries = more.into_iter();
            next = entries.next();
        }
        let Some(entry) = next else {
            return false;
        };
        last = entry.number;
        show_entry(out, &visible(&session, is_secret, &entry));
        true
    })))
}

/// `prepare acl <acl>`, `prepare map <map>`.
pub fn prepare(context: &Context, _: &Session, words: &[&str]) -> CommandReply {
    let _held = context.runtime.hold_lists();
    let (config, at) = match named(context, words, words.get(2).or(Some(&""))) {
        Ok(found) => found,
        Err(text) => return CommandReply::error(text),
    };
    match config.lists.prepare(at) {
        Ok(number) => {
            CommandReply::message(Severity::Info, format!("New version created: {number}\n"))
        }
        Err(error) => CommandReply::error(refused(words, &error, "")),
    }
}

/// `commit acl @<ver> <acl>`, `commit map @<ver> <map>`.
pub fn commit(context: &Context, _: &Session, words: &[&str]) -> String {
    let _held = context.runtime.hold_lists();
    let (number, words) = match version(words) {
        Ok((Some(number), words)) => (number, words),
        Ok((None, _)) => return "Missing version number.\n".into(),
        Err(text) => return text,
    };
    match named(context, &words, words.get(2)) {
        Ok((config, at)) => match config.lists.commit(at, number) {
            Ok(()) => String::new(),
            Err(error) => refused(&words, &error, ""),
        },
        Err(text) => text,
    }
}

/// Returns the index that HAProxy would use for such patterns: `tree` or `list`.
fn index(how: &How) -> &'static str {
    match how.method {
        Method::Str | Method::Beg if !how.ignore_case => "tree",
        Method::Ip => "tree",
        _ => "list",
    }
}

/// `get acl <acl> <value>`, `get map <map> <key>`.
pub fn get(context: &Context, session: &Session, words: &[&str]) -> CommandReply {
    met(context, session, words).into()
}

fn met(context: &Context, session: &Session, words: &[&str]) -> Result<String, String> {
    let (Some(_), Some(text)) = (words.get(2), words.get(3)) else {
        return Err(format!("Missing {} identifier and/or key.\n", kind(words)));
    };
    let (config, at) = named(context, words, words.get(2))?;
    let is_secret = config.lists.is_secret(at);
    let mut out = String::new();
    for met in config.lists.find_matches(at, text) {
        let method = Method::ALL.iter().find(|(_, m)| *m == met.how.method);
        let name = method.map_or("", |(name, _)| name);
        let case = if met.how.ignore_case {
            "insensitive"
        } else {
            "sensitive"
        };
        let is = if maps(words) { "found" } else { "match" };
        let _ = match met.entry {
            None => writeln!(out, "type={name}, case={case}, {is}=no"),
            Some(entry) => {
                let index = index(&met.how);
                let entry = visible(session, is_secret, &entry);
                let key = String::from_utf8_lossy(&entry.key);
                let _ = write!(out, "type={name}, case={case}, {is}=yes, idx={index}, ");
                match (&entry.value, met.how.gives) {
                    (Some(value), Some(gives)) => writeln!(
                        out,
                        "key=\"{key}\", value=\"{}\", type=\"{}\"",
                        String::from_utf8_lossy(value),
                        match gives {
                            Gives::Text | Gives::Key | Gives::Template => "str",
                            Gives::Int => "sint",
                            Gives::Address => "ip",
                        }
                    ),
                    _ => writeln!(out, "pattern=\"{key}\""),
                }
            }
        };
    }
    Ok(out)
}

fn refused(words: &[&str], error: &ListError, missing: &str) -> String {
    match error {
        ListError::NotFound => missing.to_owned(),
        ListError::BadPattern => "Invalid pattern for the type of this ACL or map.\n".into(),
        ListError::BadValue => "Invalid value for the type of this map.\n".into(),
        ListError::Full => "The list would exceed the maximum number of entries.\n".into(),
        ListError::Prepared => {
            "Too many prepared versions; committing the last one removes the others.\n".into()
        }
        ListError::Future => format!(
            "Version number in the future, please use 'prepare {}' before.\n",
            words[1]
        ),
        ListError::Range => RANGE.into(),
    }
}

fn edit(
    context: &Context,
    version: Option<u32>,
    words: &[&str],
    edit: Edit,
    missing: &str,
) -> String {
    // While this is held, no configuration is installed: so the change is made in the newest
    // configuration, or before its lists are copied to the next one.
    let _held = context.runtime.hold_lists();
    let (config, at) = match named(context, words, words.get(2)) {
        Ok(found) => found,
        Err(text) => return text,
    };
    let edited = match version {
        Some(version) => config.lists.edit_version(at, version, edit),
        None => config.lists.edit(at, edit),
    };
    match edited {
        Ok(()) => String::new(),
        Err(error) => refused(words, &error, missing),
    }
}

const ADD_MAP: &str = "'add map' expects three parameters (map identifier, key and value) or one \
parameter (map identifier) and a payload\n";
const ADD_ACL: &str = "'add acl' expects two parameters: ACL identifier and pattern.\n";

/// `add map <map> <key> <value>`, or with a payload of such lines.
pub fn add_map(context: &Context, session: &Session, words: &[&str]) -> String {
    let (version, words) = match version(words) {
        Ok(found) => found,
        Err(text) => return text,
    };
    let mut entries = Vec::new();
    match (words.get(3..), &session.payload) {
        (Some([key, value, ..]), None) => {
            entries.push((key.as_bytes().into(), Some(value.as_bytes().into())));
        }
        (Some([]), Some(payload)) => {
            for line in payload.lines() {
                let line = line.trim_start_matches([' ', '\t']);
                let (key, value) = line.split_once([' ', '\t']).unwrap_or((line, ""));
                let value = value.trim_start_matches([' ', '\t']);
                if value.is_empty() {
                    return format!("Missing value for key '{key}'.\n");
                }
                entries.push((key.as_bytes().into(), Some(value.as_bytes().into())));
            }
        }
        _ => return ADD_MAP.into(),
    }
    edit(context, version, &words, Edit::Add(entries), "")
}

pub fn add_acl(context: &Context, _: &Session, words: &[&str]) -> String {
    let (version, words) = match version(words) {
        Ok(found) => found,
        Err(text) => return text,
    };
    match words.get(3) {
        Some(pattern) => {
            let entry = (pattern.as_bytes().into(), None);
            edit(context, version, &words, Edit::Add(vec![entry]), "")
        }
        None => ADD_ACL.into(),
    }
}

fn which(word: &str) -> Which {
    let number = word
        .strip_prefix("#0x")
        .and_then(|digits| u64::from_str_radix(digits, 16).ok());
    match number {
        Some(number) => Which::Number(number),
        None => Which::Key(word.as_bytes().into()),
    }
}

/// `set map <map> [<key>|#<ref>] <value>`.
pub fn set_map(context: &Context, _: &Session, words: &[&str]) -> String {
    let (Some(key), Some(value)) = (words.get(3), words.get(4)) else {
        return "'set map' expects three parameters: map identifier, key and value.\n".into();
    };
    let change = Edit::Set(which(key), value.as_bytes().into());
    edit(context, None, words, change, "entry not found.\n")
}

/// `del acl <acl> [<key>|#<ref>]`, `del map …`.
pub fn delete(context: &Context, _: &Session, words: &[&str]) -> String {
    match words.get(3) {
        Some(key) => edit(
            context,
            None,
            words,
            Edit::Delete(which(key)),
            "Key not found.\n",
        ),
        None => format!(
            "This command expects two parameters: {} identifier and key.\n",
            kind(words)
        ),
    }
}

/// `clear acl [@<ver>] <acl>`, `clear map [@<ver>] <map>`.
pub fn clear(context: &Context, _: &Session, words: &[&str]) -> String {
    match version(words) {
        Ok((version, words)) => edit(context, version, &words, Edit::Clear, ""),
        Err(text) => text,
    }
}
