//! Formats finished requests as lines and as JSON.

use model::history::{BackendBy, Entry, EntryText, HistoryEntry, RuleLocation};
use model::log::iso_date;
use model::transaction::Endpoint;
use model::transaction::trace::Tie;
use serde_json::{Value, json};
use std::fmt::Write;
use std::time::{Duration, UNIX_EPOCH};

pub(super) fn date(ms: u64) -> String {
    let date = iso_date(UNIX_EPOCH + Duration::from_millis(ms));
    // Leaves out the digits after the milliseconds, which are always zero.
    match (date.get(..23), date.get(26..)) {
        (Some(date), Some(zone)) => format!("{date}{zone}"),
        _ => date,
    }
}

/// Makes a text that a client chose safe for a terminal, as one word.
pub(super) fn safe(text: &[u8]) -> String {
    let mut out = String::new();
    for byte in text {
        match byte {
            b'\\' => out.push_str("\\\\"),
            b'!'..=b'~' => out.push(char::from(*byte)),
            // Writing to a string cannot fail.
            _ => _ = write!(out, "\\x{byte:02X}"),
        }
    }
    out
}

fn or_dash(text: &[u8]) -> String {
    if text.is_empty() {
        "-".to_owned()
    } else {
        safe(text)
    }
}

pub(super) fn client(entry: &Entry) -> String {
    match entry.client {
        Endpoint::Inet(at) => {
            let at = std::net::SocketAddr::new(at.ip().to_canonical(), at.port());
            at.to_string()
        }
        Endpoint::Unix => "unix".to_owned(),
    }
}

pub(super) fn server(entry: &Entry) -> String {
    let frontend = entry.text(EntryText::Frontend);
    let backend = match entry.text(EntryText::Backend) {
        b"" => frontend,
        backend => backend,
    };
    let server = match entry.text(EntryText::Server) {
        b"" => "<NOSRV>".to_owned(),
        server => safe(server),
    };
    format!("{}/{server}", safe(backend))
}

pub(super) fn letters(entry: &Entry) -> String {
    entry.ended.letters.iter().map(|b| char::from(*b)).collect()
}

/// Formats one line per request, in the order of `option httplog`.
pub(super) fn line(out: &mut String, told: &HistoryEntry) {
    let entry = &told.entry;
    let _ = write!(
        out,
        "{:#x} {} {} {} {} {} {} {} {} ",
        entry.id,
        date(entry.ended_ms()),
        client(entry),
        or_dash(entry.text(EntryText::Frontend)),
        server(entry),
        entry.timers(),
        entry.ended.status,
        entry.bytes[1],
        letters(entry),
    );
    let _ = writeln!(
        out,
        "{} {} {} {}",
        or_dash(entry.text(EntryText::Method)),
        or_dash(entry.text(EntryText::Host)),
        or_dash(entry.text(EntryText::Path)),
        or_dash(entry.text(EntryText::UniqueId)),
    );
}

pub(super) fn place(told: &HistoryEntry, place: RuleLocation) -> Option<String> {
    let (file, line) = told.place(place)?;
    Some(format!("{file}:{line}"))
}

fn at(told: &HistoryEntry, words: &str, line: RuleLocation) -> String {
    match place(told, line) {
        Some(place) => format!("{words} ({place})"),
        None => words.to_owned(),
    }
}

pub(super) fn why_backend(told: &HistoryEntry) -> Option<String> {
    Some(match told.entry.backend_by {
        BackendBy::None => return None,
        BackendBy::Own => "the section itself".to_owned(),
        BackendBy::Default(place) => at(told, "default_backend", place),
        BackendBy::Rule(place) => at(told, "use_backend", place),
        BackendBy::Other => "a rule".to_owned(),
    })
}

/// Explains the choice of the server, with the same words as `evenkeel route`.
pub(super) fn why_server(told: &HistoryEntry) -> Option<String> {
    let entry = &told.entry;
    let server = entry.text(EntryText::Server);
    if server.is_empty() {
        return None;
    }
    let mut words = format!("balance {}", entry.balance);
    if let Some(owner) = entry.decided.as_deref().and_then(|decided| decided.owner) {
        let mut by = owner.by.words().to_owned();
        if owner.by == Tie::Rule {
            by = at(told, &by, entry.owner_place());
        }
        let name = entry.text(EntryText::Owner);
        words = if name == server {
            by
        } else {
            format!(
                "{words}; {}, selected by {by}, was not available",
                safe(name)
            )
        };
    }
    if entry.effort.redispatched {
        words += "; redispatched after a failed try";
    }
    Some(words)
}

pub(super) fn json(thread: usize, told: &HistoryEntry) -> Value {
    let entry = &told.entry;
    let text = |field| match entry.text(field) {
        b"" => Value::Null,
        text => safe(text).into(),
    };
    let [accepted, began] = entry.began_ms;
    json!({
        "id": format!("{:#x}", entry.id),
        "unique_id": text(EntryText::UniqueId),
        "thread": thread + 1,
        "mode": if entry.http { "http" } else { "tcp" },
        "accepted": date(accepted),
        "began": date(began),
        "ended": date(entry.ended_ms()),
        "client": client(entry),
        "frontend": text(EntryText::Frontend),
        "backend": text(EntryText::Backend),
        "backend_by": why_backend(told),
        "server": text(EntryText::Server),
        "server_by": why_server(told),
        "method": text(EntryText::Method),
        "host": text(EntryText::Host),
        "path": text(EntryText::Path),
        "status": Some(entry.ended.status).filter(|status| *status != 0),
        "server_status": Some(entry.ended.server_status).filter(|status| *status != 0),
        "bytes_in": entry.bytes[0],
        "bytes_out": entry.bytes[1],
        "timers": {
            "TR": entry.spans.request,
            "Tw": entry.spans.queue,
            "Tc": entry.spans.connect,
            "Tr": entry.spans.response,
            "Ta": entry.spans.active,
        },
        "termination": letters(entry),
        "meaning": crate::termination::meaning(entry.ended.letters),
        "cached": entry.ended.cached,
        "page": entry.decided.as_deref().and_then(|decided| decided.page),
        "retries": entry.effort.retries,
        "redispatched": entry.effort.redispatched,
        "server_queue": entry.effort.server_queue,
        "backend_queue": entry.effort.backend_queue,
        "rules": rules(told),
        "rules_left_out": entry.decided.as_deref().map_or(0, |decided| decided.rules_left_out()),
        "failed_tries": tries(entry),
    })
}

fn rules(told: &HistoryEntry) -> Vec<Value> {
    let decided = told.entry.decided.as_deref();
    let rules = decided
        .iter()
        .flat_map(|decided| decided.rules())
        .enumerate();
    let rule = |(at, rule): (usize, &model::transaction::RuleMet)| {
        let (kept, place) = (
            told.entry.rule_place(at),
            told.place(told.entry.rule_place(at)),
        );
        json!({
            "file": place.map(|(file, _)| file),
            "line": place.map(|(_, line)| line),
            "text": told.line_text(kept),
            "rule": rule.words.join(" ").trim_end(),
            "ends": rule.ends,
        })
    };
    rules.map(rule).collect()
}

fn tries(entry: &Entry) -> Vec<Value> {
    let decided = entry.decided.as_deref();
    let tries = decided
        .iter()
        .flat_map(|decided| decided.tries())
        .enumerate();
    let one = |(at, one): (usize, &model::transaction::Try)| {
        json!({
            "server": safe(entry.try_server(at)),
            "after_ms": one.after_ms,
            "failure": one.failure.words(),
        })
    };
    tries.map(one).collect()
}
