//! Writes the course of one finished request in plain English: when each step happened, what was
//! decided, and why.

use super::render::{client, date, letters, place, safe, server, why_backend, why_server};
use model::history::{Entry, EntryText, HistoryEntry};
use model::transaction::RuleMet;
use std::fmt::Write;

/// Lines about the course of a request: the time in milliseconds after the first byte, and the
/// text.
#[derive(Default)]
struct RequestTimeline {
    lines: Vec<(Option<u64>, String)>,
}

impl RequestTimeline {
    fn at(&mut self, ms: Option<u64>, what: impl AsRef<str>) {
        self.lines.push((ms, what.as_ref().to_owned()));
    }

    fn more(&mut self, what: impl AsRef<str>) {
        self.at(None, what);
    }

    /// Sorts the lines by time. A line without a time stays after its predecessor.
    fn order(&mut self) {
        let mut last = 0;
        let lines = std::mem::take(&mut self.lines).into_iter();
        let mut timed: Vec<(u64, (Option<u64>, String))> = lines
            .map(|line| {
                last = line.0.unwrap_or(last);
                (last, line)
            })
            .collect();
        timed.sort_by_key(|(at, _)| *at);
        self.lines = timed.into_iter().map(|(_, line)| line).collect();
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (ms, what) in &self.lines {
            let when = ms.map_or_else(String::new, |ms| format!("+{ms} ms"));
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{when:>10}  {what}");
        }
        text
    }
}

/// Times at which a request reached its steps, milliseconds after its first byte.
struct Moments {
    request: Option<u64>,
    queued: Option<u64>,
    connected: Option<u64>,
    response: Option<u64>,
}

impl Moments {
    fn of(entry: &Entry) -> Moments {
        let spans = &entry.spans;
        let request = spans.request.map(u64::from);
        let behind = |before: Option<u64>, span: Option<u32>| Some(before? + u64::from(span?));
        let queued = behind(request.or(Some(0)), spans.queue);
        let connected = behind(queued, spans.connect);
        Moments {
            request,
            queued,
            connected,
            response: behind(connected, spans.response),
        }
    }
}

pub(super) fn account(thread: usize, told: &HistoryEntry) -> String {
    let entry = &told.entry;
    let mut account = RequestTimeline::default();
    let moments = Moments::of(entry);
    arrival(&mut account, entry, &moments);
    rules(&mut account, told, false);
    page(&mut account, told);
    if let Some(why) = why_backend(told) {
        let backend = safe(entry.text(EntryText::Backend));
        account.more(format!("backend {backend}, by {why}"));
    }
    tries(&mut account, told);
    service(&mut account, told, &moments);
    rules(&mut account, told, true);
    account.order();
    end(&mut account, entry);
    head(thread, entry) + &account.text()
}

fn head(thread: usize, entry: &Entry) -> String {
    let what = if entry.http { "request" } else { "TCP session" };
    let [_, began] = entry.began_ms;
    let mut text = format!(
        "{what} {:#x} from {} at frontend {}, thread {}\n",
        entry.id,
        client(entry),
        safe(entry.text(EntryText::Frontend)),
        thread + 1
    );
    let (method, host) = (entry.text(EntryText::Method), entry.text(EntryText::Host));
    if !method.is_empty() {
        let (host, path) = (safe(host), safe(entry.text(EntryText::Path)));
        let _ = writeln!(text, "{} {path} (host {host})", safe(method));
    }
    let unique_id = entry.text(EntryText::UniqueId);
    if !unique_id.is_empty() {
        let _ = writeln!(text, "unique-id {}", safe(unique_id));
    }
    let _ = writeln!(text, "began {}", date(began));
    text
}

fn arrival(account: &mut RequestTimeline, entry: &Entry, moments: &Moments) {
    match (entry.http, moments.request) {
        (false, _) => account.at(Some(0), "session accepted"),
        (true, Some(ms)) => account.at(Some(ms), "request headers complete"),
        (true, None) if entry.text(EntryText::Method).is_empty() => {
            account.more("no complete request was received");
        }
        // Reports the request at the beginning, because time in the tarpit counts as queue time.
        (true, None) => account.at(Some(0), "request received"),
    }
}

fn rules(account: &mut RequestTimeline, told: &HistoryEntry, of_response: bool) {
    let Some(decided) = told.entry.decided.as_deref() else {
        return;
    };
    let rules = decided.rules().enumerate();
    for (at, rule) in rules.filter(|(_, rule)| is_of_response(rule) == of_response) {
        let words = rule.words.join(" ");
        let place = place(told, told.entry.rule_place(at));
        let place = place.map_or_else(String::new, |place| format!(" ({place})"));
        let ends = if rule.ends { ": ended the rules" } else { "" };
        account.more(format!("rule {}{place}{ends}", words.trim_end()));
        if let Some(text) = told.line_text(told.entry.rule_place(at)) {
            account.more(format!("  {}", shown(&text)));
        }
    }
    match decided.rules_left_out() {
        more if more > 0 && of_response => account.more(format!("and {more} more rules")),
        _ => {}
    }
}

/// Makes a line safe for a terminal.
fn shown(text: &str) -> String {
    let plain = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(plain).collect()
}

fn is_of_response(rule: &RuleMet) -> bool {
    let [kind, _] = rule.words;
    ["http-response", "http-after-response"].contains(&kind) || kind.starts_with("tcp-response")
}

fn page(account: &mut RequestTimeline, told: &HistoryEntry) {
    let decided = told.entry.decided.as_deref();
    if let Some(page) = decided.and_then(|decided| decided.page) {
        account.more(format!("response by {page}"));
    }
}

fn tries(account: &mut RequestTimeline, told: &HistoryEntry) {
    let entry = &told.entry;
    let Some(decided) = entry.decided.as_deref() else {
        return;
    };
    for (at, one) in decided.tries().enumerate() {
        let server = safe(entry.try_server(at));
        let failure = one.failure.words();
        let when = Some(u64::from(one.after_ms));
        account.at(when, format!("server {server} failed: {failure}"));
    }
    match decided.tries_left_out() {
        0 => {}
        more => account.more(format!("and {more} more failed tries")),
    }
}

fn service(account: &mut RequestTimeline, told: &HistoryEntry, moments: &Moments) {
    let entry = &told.entry;
    let effort = &entry.effort;
    if effort.server_queue > 0 || effort.backend_queue > 0 {
        account.more(format!(
            "queued: {} before it in the queue of the server, {} in that of the backend",
            effort.server_queue, effort.backend_queue
        ));
    }
    if let Some(why) = why_server(told) {
        account.at(
            moments.queued,
            format!("server {}, by {why}", server(entry)),
        );
    }
    if let Some(ms) = moments.connected {
        account.at(Some(ms), "connection to the server ready");
    }
    if let Some(ms) = moments.response.filter(|_| entry.http) {
        let status = match entry.ended.server_status {
            0 => String::new(),
            status => format!(": status {status}"),
        };
        account.at(Some(ms), format!("response headers complete{status}"));
    }
    if entry.ended.cached {
        account.more("response from the cache");
    }
}

fn end(account: &mut RequestTimeline, entry: &Entry) {
    let status = match entry.ended.status {
        0 => String::new(),
        status => format!("status {status}, "),
    };
    let [bytes_in, bytes_out] = entry.bytes;
    let end = format!("end: {status}{bytes_in} bytes from the client, {bytes_out} to it");
    account.at(Some(u64::from(entry.spans.active)), end);
    match entry.effort.retries {
        0 => {}
        1 => account.more("1 retry"),
        retries => account.more(format!("{retries} retries")),
    }
    account.more(format!(
        "timers {}, termination state {}",
        entry.timers(),
        letters(entry)
    ));
    for words in crate::termination::meaning(entry.ended.letters) {
        account.more(words);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_is_in_chronological_order() {
        let mut account = RequestTimeline::default();
        account.at(Some(0), "request");
        account.more("rule");
        account.at(Some(9), "second failed");
        account.more("and 1 more");
        account.at(Some(4), "queue left");
        account.at(Some(9), "connected");
        account.order();
        let lines = account.lines.iter().map(|(_, what)| what.as_str());
        let expected = [
            "request",
            "rule",
            "queue left",
            "second failed",
            "and 1 more",
            "connected",
        ];
        assert_eq!(lines.collect::<Vec<_>>(), expected);
    }
}
