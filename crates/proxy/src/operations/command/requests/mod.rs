//! Implements `show requests`, which lists the newest finished requests, and `show request`,
//! which explains the decisions about one. The threads are queried one after the other, and each
//! returns some of its entries at a time.

mod account;
mod render;

use super::sessions::ask;
use super::{CommandReply, Context, Session};
use model::history::{self, Entry, HistoryEntry, HistoryFilter, HistoryRange, HistorySearch};
use render::date;
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::sync::Arc;

/// Maximum number of entries that a thread examines in one turn of its event loop.
const LOOK_MAX: usize = 200;

/// The responses of all threads, combined.
#[derive(Debug, Default)]
struct MergedRequests {
    /// Matching requests: how well each matches, its thread, and the entry.
    requests: Vec<(u32, usize, HistoryEntry)>,
    /// Number of requests that each thread has recorded so far.
    written: Vec<u64>,
    /// Number of requests after `since` that were already overwritten.
    missed: u64,
    /// End time of the oldest request that any thread still has, milliseconds since 1970.
    oldest_ms: Option<u64>,
    kept: u64,
}

impl MergedRequests {
    /// Returns the value of `since` for the next call.
    fn cursor(&self) -> String {
        let numbers: Vec<String> = self.written.iter().map(u64::to_string).collect();
        numbers.join(".")
    }
}

/// Collects from all threads the entries that match and are newer than `since`, about `max` from
/// each thread.
fn gather(
    since: impl Fn(usize) -> u64,
    max: usize,
    fits: impl Fn(&Entry) -> Option<u32> + Send + Sync + 'static,
) -> MergedRequests {
    let fits = Arc::new(fits);
    let mut found = MergedRequests::default();
    for thread in 0..reactor::THREADS_MAX {
        let mut look = HistoryRange {
            since: since(thread),
            before: None,
            max: LOOK_MAX,
        };
        let mut count = 0;
        loop {
            let fits = Arc::clone(&fits);
            let Some(part) = ask(thread, move || {
                history::find_entries(look, |entry| fits(entry))
            }) else {
                break;
            };
            if look.before.is_none() {
                found.written.resize(thread, 0);
                found.written.push(part.written);
                found.missed += part.missed;
                found.kept += part.kept;
                let oldest = found.oldest_ms.into_iter().chain(part.oldest_ms);
                found.oldest_ms = oldest.min();
            }
            count += part.entries.len();
            let told = part.entries.into_iter();
            found
                .requests
                .extend(told.map(|(how, told)| (how, thread, told)));
            look.before = part.before;
            if part.before.is_none() || count >= max {
                break;
            }
        }
    }
    found
}

/// `show requests [<filter> <value>]* [json]`.
pub fn show(context: &Context, _: &Session, words: &[&str]) -> CommandReply {
    let filter = match HistoryFilter::read(words.get(2..).unwrap_or_default()) {
        Ok(filter) => filter,
        Err(error) => return CommandReply::error(format!("{error}\n")),
    };
    let (max, json) = (filter.max, filter.json);
    if let Some(off) = off(context) {
        return off;
    }
    let wanted = filter.clone();
    let fits = move |entry: &Entry| wanted.fits(entry).then_some(0);
    let mut found = gather(|thread| filter.since(thread), max, fits);
    // The newest come first; requests of the same time are in the order of their thread's numbers.
    let newest = |(_, thread, told): &(u32, usize, HistoryEntry)| {
        Reverse((told.entry.ended_ms(), *thread, told.entry.number))
    };
    found.requests.sort_by_key(newest);
    found.requests.truncate(max);
    let told = found
        .requests
        .iter()
        .map(|(_, thread, told)| (*thread, told));
    if json {
        let all: Vec<Value> = told
            .map(|(thread, told)| render::json(thread, told))
            .collect();
        let all = json!({
            "since": found.cursor(),
            "missed": found.missed,
            "oldest": found.oldest_ms.map(date),
            "requests": all,
        });
        return CommandReply::report(format!("{all}\n"));
    }
    let mut text = format!("# since {} missed {}\n", found.cursor(), found.missed);
    told.for_each(|(_, told)| render::line(&mut text, told));
    CommandReply::report(text)
}

fn off(context: &Context) -> Option<CommandReply> {
    let kept = context.runtime.config().global.requests_kept();
    let words = "No requests are kept: `request-history 0` in `global` disables the history. \
        `request-history 1024` enables it, from the next reload on.\n";
    (kept == 0).then(|| CommandReply::error(words))
}

/// `show request [json] <id>`, or with a line of a log as payload.
pub fn show_one(context: &Context, session: &Session, words: &[&str]) -> CommandReply {
    let mut words = words.get(2..).unwrap_or_default();
    let json = words.first() == Some(&"json");
    if json {
        words = words.get(1..).unwrap_or_default();
    }
    let text = match &session.payload {
        Some(payload) => payload.to_string(),
        None => words.join(" "),
    };
    if text.trim().is_empty() {
        return CommandReply::error(
            "The id of a request is expected, or a line of a log as payload.\n",
        );
    }
    if let Some(off) = off(context) {
        return off;
    }
    let asked = HistorySearch::read(&text);
    let found = gather(|_| 0, usize::MAX, move |entry| asked.fits(entry));
    let best = found
        .requests
        .iter()
        .max_by_key(|(how, _, told)| (*how, told.entry.ended_ms()));
    match best {
        None => CommandReply::error(missing(&found)),
        Some((_, thread, told)) if json => {
            CommandReply::report(format!("{}\n", render::json(*thread, told)))
        }
        Some((_, thread, told)) => CommandReply::report(account::account(*thread, told)),
    }
}

fn missing(found: &MergedRequests) -> String {
    match found.oldest_ms {
        None => "No such request: none has ended since this process began to serve.\n".to_owned(),
        Some(oldest_ms) => format!(
            "No such request among the {} that are kept; the oldest one ended at {}.\n",
            found.kept,
            date(oldest_ms)
        ),
    }
}

#[cfg(test)]
mod tests;
