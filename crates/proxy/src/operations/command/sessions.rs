//! Implements `show sess`, `shutdown session` and `shutdown frontend`. HAProxy calls a stream a
//! session, so a connection that waits for its next request is not listed. The threads are
//! queried one after the other, and each lists some of its streams at a time.

use super::{CommandReply, Context, LongReply, Session, find_proxy};
use crate::stats::piece::RowSource;
use model::log::clf_date;
use model::state;
use model::transaction::Endpoint;
use model::transaction::listing::{self, StreamSummary};
use std::fmt::Write;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

/// Maximum number of streams that a thread examines in one turn of its event loop.
const LOOK_MAX: usize = 200;
/// Longest wait for the response of a thread. A thread may be busy, but it never blocks.
const PATIENCE: Duration = Duration::from_secs(2);

/// Runs a function on the event loop of a thread and returns the result. None if that thread has
/// no event loop or is too busy.
pub(super) fn ask<T: Send + 'static>(
    thread: usize,
    job: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (give, take) = sync_channel(1);
    // Sending fails if the caller has stopped waiting.
    let job = move || _ = give.send(job());
    reactor::inject(thread, job).ok()?;
    take.recv_timeout(PATIENCE).ok()
}

/// Walks over the streams of all threads, some of one thread at a time.
#[derive(Default)]
struct Streams {
    thread: usize,
    from: usize,
    found: std::vec::IntoIter<StreamSummary>,
}

impl Iterator for Streams {
    type Item = StreamSummary;

    fn next(&mut self) -> Option<StreamSummary> {
        loop {
            if let Some(found) = self.found.next() {
                return Some(found);
            }
            if self.thread >= reactor::THREADS_MAX {
                return None;
            }
            let from = self.from;
            let list = ask(self.thread, move || listing::list_streams(from, LOOK_MAX));
            let (found, next) = list.unwrap_or_default();
            self.found = found.into_iter();
            match next {
                Some(next) => self.from = next,
                None => (self.thread, self.from) = (self.thread + 1, 0),
            }
        }
    }
}

/// Parses the number of a stream after `0x`.
fn number(word: &str) -> Option<u64> {
    u64::from_str_radix(word.strip_prefix("0x")?, 16).ok()
}

/// `show sess [<id> | all]`.
pub fn show(_: &Context, _: &Session, words: &[&str]) -> LongReply {
    let wanted = words.get(2).copied().unwrap_or_default();
    let mut streams = Streams::default();
    if let Some(id) = number(wanted) {
        let mut out = String::new();
        return Err(match streams.find(|told| told.id == id) {
            Some(told) => {
                detail(&mut out, &told);
                CommandReply::report(out)
            }
            None => CommandReply::error("Session not found.\n"),
        });
    }
    let write = if wanted == "all" { detail } else { line };
    Ok(Box::new(RowSource(move |out: &mut String| {
        let told = streams.next();
        told.iter().for_each(|told| write(out, told));
        told.is_some()
    })))
}

/// Executes `shutdown session <id>` for an operator.
pub fn shut_down(_: &Context, _: &Session, words: &[&str]) -> String {
    let Some(id) = words.get(2).and_then(|word| number(word)) else {
        return "Session pointer expected (use 'show sess').\n".into();
    };
    let end = move || {
        let found = listing::kill(id);
        if found {
            reactor::wake_all(reactor::thread());
        }
        found
    };
    let mut threads = 0..reactor::THREADS_MAX;
    if threads.any(|thread| ask(thread, end) == Some(true)) {
        String::new()
    } else {
        "No such session (use 'show sess').\n".into()
    }
}

fn end(endpoint: Endpoint) -> (&'static str, String) {
    match endpoint {
        Endpoint::Inet(address) => {
            let ip = address.ip().to_canonical();
            let family = if ip.is_ipv4() { "tcpv4" } else { "tcpv6" };
            (family, format!("{ip}:{}", address.port()))
        }
        Endpoint::Unix => ("unix_stream", "unix:1".into()),
    }
}

fn age(ms: u64) -> String {
    let s = ms / 1000;
    let (days, hours, minutes) = (s / 86_400, s / 3600 % 24, s / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{s}s"),
        (0, 0, _) => format!("{minutes}m{}s", s % 60),
        (0, ..) => format!("{hours}h{minutes}m"),
        _ => format!("{days}d{hours}h"),
    }
}

fn mode(http: bool) -> &'static str {
    if http { "http" } else { "tcp" }
}

/// Formats one line per stream, with the fields of HAProxy that Evenkeel has.
fn line(out: &mut String, told: &StreamSummary) {
    let (family, source) = end(told.source);
    let backend = told.backend.as_ref().map_or("<NONE>", |(name, ..)| name);
    let server = told.server.as_ref().map_or("<none>", |(name, ..)| name);
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "{:#x}: proto={family} src={source} fe={} be={backend} srv={server} age={}",
        told.id,
        told.frontend.0,
        age(told.age_ms),
    );
}

fn detail(out: &mut String, told: &StreamSummary) {
    let (family, source) = end(told.source);
    let (frontend, id) = &told.frontend;
    let _ = writeln!(
        out,
        "{:#x}: [{}] id={} proto={family} source={source}\n  \
         frontend={frontend} (id={id} mode={}), listener=? (id={}) addr={}",
        told.id,
        clf_date(told.began_at),
        told.id,
        mode(told.http),
        told.listener,
        end(told.destination).1,
    );
    let _ = match &told.backend {
        Some((name, id, http)) => {
            writeln!(out, "  backend={name} (id={id} mode={})", mode(*http))
        }
        None => writeln!(out, "  backend=<NONE> (id=-1 mode=-)"),
    };
    let _ = match &told.server {
        Some((name, id, address)) => writeln!(out, "  server={name} (id={id}) addr={address}"),
        None => writeln!(out, "  server=<NONE> (id=-1)"),
    };
    let _ = writeln!(
        out,
        "  age={} configuration={}",
        age(told.age_ms),
        told.version
    );
}

/// `shutdown frontend`: the frontend stops accepting. No later command reverts that, only a reload
/// of a file with this frontend.
pub fn shut_frontend_down(context: &Context, _: &mut Session, words: &[&str]) -> String {
    let config = context.runtime.config();
    let Some(name) = words.get(2) else {
        return "A frontend name is expected.\n".into();
    };
    let Some(proxy) = find_proxy(&config, name, |proxy| proxy.kind.is_frontend()) else {
        return "No such frontend.\n".into();
    };
    if !proxy.state.shut_down() {
        return "Frontend was already shut down.\n".into();
    }
    context.runtime.apply_frontend_states();
    let told = format!(
        "Proxy {} stopped (cumulated conns: FE: {}, BE: {}).",
        proxy.name,
        proxy
            .state
            .frontend
            .counters
            .read(state::Tally::Connections),
        proxy.state.backend.counters.read(state::Tally::Sessions),
    );
    model::log::notice(&config, proxy, model::log::Level::Warning, &told);
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_two_units() {
        for (ms, text) in [
            (999, "0s"),
            (59_000, "59s"),
            (61_000, "1m1s"),
            (3_700_000, "1h1m"),
            (90_000_000, "1d1h"),
        ] {
            assert_eq!(age(ms), text);
        }
    }

    #[test]
    fn a_number_stands_behind_0x() {
        assert_eq!(number("0x1f"), Some(31));
        for word in ["", "1f", "foo", "0x", "0xg"] {
            assert_eq!(number(word), None, "{word}");
        }
    }
}
