//! Connections to which a host does not answer, as one that accepts, passes its check and hangs behind it. Only
//! what a host has to answer counts: the first message of the client behind the exchange of X.224, when all of it is
//! there. So a client that says nothing, or half of it, makes no host suspect.

use super::{Inner, Site};
use crate::directory::Mute;
use part::lock;
use part::report::{Event, Moment};
use part::voice::write_error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// Connections in a row without an answer that make a host mute.
const MUTE_MAX: u32 = 3;
/// How long a host may take to answer, and how long at least if the connection ends before, milliseconds.
const ANSWER_MS: u64 = 5_000;
const SHORT_MS: u64 = 1_000;
/// Bytes of a first message that are kept: the heads of a record of TLS and of the handshake in it.
const HEAD_BYTES: usize = 9;
const TLS_HEAD_BYTES: u64 = 5;

/// What all connections to a host know of it.
#[derive(Debug, Default)]
pub(super) struct Voice {
    /// Connections in a row that got no answer.
    mute: AtomicU32,
    /// When the host sent something last, milliseconds.
    heard_ms: AtomicU64,
}

/// What was said on one connection to a host.
#[derive(Debug, Default)]
pub struct Talk {
    voice: Arc<Voice>,
    /// When the client had sent its first message; 0: not yet. Milliseconds.
    asked_ms: AtomicU64,
    /// Bytes of the host since.
    sent: AtomicU64,
    /// It has counted as one without an answer.
    is_mute: AtomicBool,
}

impl Talk {
    pub(super) fn of(voice: Arc<Voice>) -> Talk {
        Talk {
            voice,
            ..Talk::default()
        }
    }

    /// The client has sent what the host has to answer.
    fn asks(&self, now_ms: u64) {
        self.asked_ms.store(now_ms.max(1), Ordering::Relaxed);
    }

    /// Whether the host has to answer.
    fn has_asked(&self) -> bool {
        self.asked_ms.load(Ordering::Relaxed) > 0
    }

    /// Bytes of the host.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// The host sends bytes. Returns whether that is news of it.
    fn hears(&self, bytes: u64, now_ms: u64) -> bool {
        self.sent.fetch_add(bytes, Ordering::Relaxed);
        self.voice.heard_ms.store(now_ms, Ordering::Relaxed);
        self.voice.mute.load(Ordering::Relaxed) > 0
    }

    /// Whether the host has not answered for so long, once.
    pub(super) fn becomes_mute(&self, after_ms: u64, now_ms: u64) -> bool {
        let asked_ms = self.asked_ms.load(Ordering::Relaxed);
        let is_late = asked_ms > 0 && now_ms.saturating_sub(asked_ms) >= after_ms;
        // One that speaks on another connection does not hang.
        let is_silent = self.sent() == 0 && self.voice.heard_ms.load(Ordering::Relaxed) < asked_ms;
        is_late && is_silent && !self.is_mute.swap(true, Ordering::Relaxed)
    }
}

/// The first messages of a client on a connection: its request, if that comes on it, and the first one behind it.
#[derive(Debug)]
pub struct First {
    /// The request is still to come.
    has_request: bool,
    head: Vec<u8>,
    /// Bytes of the message so far.
    length: u64,
    is_over: bool,
}

impl First {
    /// Behind the request, or before it.
    pub fn new(has_request: bool) -> First {
        First {
            has_request,
            head: Vec::with_capacity(HEAD_BYTES),
            length: 0,
            is_over: false,
        }
    }

    /// Takes bytes of the client. Returns whether the host has to answer now, once.
    pub fn push(&mut self, mut bytes: &[u8]) -> bool {
        while !self.is_over && !bytes.is_empty() {
            let missing = HEAD_BYTES.saturating_sub(self.head.len());
            self.head.extend(bytes.iter().take(missing));
            let begun = self.length;
            self.length = begun.saturating_add(bytes.len() as u64);
            match self.needs() {
                Needs::More => return false,
                Needs::Bytes(count) if self.length < count => return false,
                Needs::Bytes(count) if self.has_request => {
                    let own = usize::try_from(count.saturating_sub(begun)).unwrap_or(usize::MAX);
                    bytes = bytes.get(own..).unwrap_or_default();
                    *self = First::new(false);
                }
                Needs::Bytes(_) => {
                    self.is_over = true;
                    return true;
                }
                Needs::Nothing => self.is_over = true,
            }
        }
        false
    }

    /// How long the message is.
    fn needs(&self) -> Needs {
        let two = |at: usize| Some([*self.head.get(at)?, *self.head.get(at + 1)?]);
        let big = |at: usize| two(at).map(|two| u64::from(u16::from_be_bytes(two)));
        match self.head.as_slice() {
            // TPKT: the version, a byte of nothing, the length.
            [3, ..] => big(2).map_or(Needs::More, Needs::Bytes),
            // TLS: a hello in one record. Of one in several a host waits for the next.
            [22, _, _, _, _, 1, 0, ..] if !self.has_request => match (big(3), big(7)) {
                (Some(record), Some(hello)) if hello + 4 <= record => {
                    Needs::Bytes(record + TLS_HEAD_BYTES)
                }
                (Some(_), Some(_)) => Needs::Nothing,
                _ => Needs::More,
            },
            [22]
            | [22, _]
            | [22, _, _]
            | [22, _, _, _]
            | [22, _, _, _, _]
            | [22, _, _, _, _, 1] => Needs::More,
            _ => Needs::Nothing,
        }
    }
}

/// What a message needs to be whole.
enum Needs {
    /// That is not known yet.
    More,
    /// So many bytes.
    Bytes(u64),
    /// It is none that a host has to answer.
    Nothing,
}

impl Site {
    /// A client sends bytes on a connection to a host.
    pub fn client_sends(&self, talk: &Talk, first: &mut First, bytes: &[u8]) {
        if first.push(bytes) {
            talk.asks(Moment::now().boottime_ms);
        }
    }

    /// A host sends bytes on a connection behind the exchange of X.224.
    pub fn host_sends(&self, host: &str, talk: &Talk, bytes: u64) {
        if talk.hears(bytes, Moment::now().boottime_ms) {
            lock(&self.inner).speaks(&self.name, host, "a connection got an answer");
        }
    }

    /// As [`Site::host_sends`], on a connection that carries the exchange, too: its answer says nothing.
    pub fn host_sends_behind(&self, host: &str, talk: &Talk, bytes: u64) {
        if talk.has_asked() {
            self.host_sends(host, talk, bytes);
        }
    }

    /// Finds connections that get no answer.
    pub fn finds_mute(&self) {
        let mut inner = lock(&self.inner);
        let now_ms = Moment::now().boottime_ms;
        let clients = inner.clients.values().map(|one| (&one.host, &*one.talk));
        let all = clients.chain(inner.gateway.talks());
        let mute = all.filter(|(_, talk)| talk.becomes_mute(ANSWER_MS, now_ms));
        let mute: Vec<String> = mute.map(|(host, _)| host.clone()).collect();
        mute.iter().for_each(|host| inner.is_mute(&self.name, host));
    }
}

impl Inner {
    /// A connection to a host has ended.
    pub(super) fn ends_talk(&mut self, farm: &str, host: &str, talk: &Talk) {
        if talk.becomes_mute(SHORT_MS, Moment::now().boottime_ms) {
            self.is_mute(farm, host);
        }
    }

    /// What connections to a host know of it.
    pub(super) fn voice(&mut self, host: &str) -> Arc<Voice> {
        Arc::clone(&self.checks.entry(host.to_owned()).or_default().voice)
    }

    /// A connection to a host got no answer.
    fn is_mute(&mut self, farm: &str, host: &str) {
        let Some(checks) = self.checks.get_mut(host) else {
            return;
        };
        let count = checks
            .voice
            .mute
            .fetch_add(1, Ordering::Relaxed)
            .saturating_add(1);
        let now = Moment::now();
        if count < MUTE_MAX || !self.agreement.directory.mute(host, count, now.boottime_ms) {
            return;
        }
        let why = format!("{count} connections in a row got no answer");
        write_error(&format!(
            "evenkeel: farm {farm}: host {host} is mute: {why}; new users get other hosts\n"
        ));
        self.happens(host, now, ("up", "mute"), why);
    }

    /// A host speaks again.
    pub(super) fn speaks(&mut self, farm: &str, host: &str, why: &str) {
        if let Some(checks) = self.checks.get_mut(host) {
            checks.voice.mute.store(0, Ordering::Relaxed);
        }
        if self.agreement.directory.speaks(host) {
            write_error(&format!(
                "evenkeel: farm {farm}: host {host} is no longer mute: {why}\n"
            ));
            self.happens(host, Moment::now(), ("mute", "up"), why.to_owned());
        }
    }

    fn happens(&mut self, host: &str, at: Moment, (from, to): (&str, &str), why: String) {
        let Some(checks) = self.checks.get_mut(host) else {
            return;
        };
        checks.since = Some(at);
        checks.push(Event {
            at,
            from: from.to_owned(),
            to: to.to_owned(),
            why,
        });
    }
}

/// Why a host is mute, and what follows.
pub(super) fn words(mute: Mute, has_other: bool) -> String {
    let count = mute.count;
    match has_other {
        true => format!(
            "{count} connections in a row got no answer: users without a session get other hosts, and one of them tries it \
             every 30 s"
        ),
        false => format!(
            "{count} connections in a row got no answer: it takes users, since no other host is better"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Balance;
    use crate::directory::tests::farm;

    /// A hello of TLS, of so many bytes behind its heads.
    fn hello(bytes: u8) -> Vec<u8> {
        let head = [22, 3, 1, 0, bytes + 4, 1, 0, 0, bytes];
        [&head[..], &vec![7; bytes.into()]].concat()
    }

    #[test]
    fn only_a_whole_first_message_has_to_be_answered() {
        let (request, hello) = ([3, 0, 0, 11, 6, 0xe0, 0, 0, 0, 0, 0], hello(30));
        for (has_request, bytes) in [
            (false, hello.clone()),
            (false, request.to_vec()),
            (true, [&request[..], &hello].concat()),
        ] {
            for size in 1..=bytes.len() {
                let mut first = First::new(has_request);
                let pieces = bytes.chunks(size);
                let asked: Vec<bool> = pieces.map(|piece| first.push(piece)).collect();
                let (last, before) = asked.split_last().unwrap();
                assert!(*last && !before.contains(&true), "{size}: {asked:?}");
                assert!(!first.push(&bytes));
            }
        }
        // A record with a part of a hello, an alert, and what is nothing.
        for bytes in [
            &[22, 3, 1, 0, 20, 1, 0, 1, 0, 7, 7, 7],
            &[21, 3, 1, 0, 2, 1, 0, 0, 0, 0, 0, 0],
            b"GET / HTTP/1",
        ] {
            let mut first = First::new(false);
            assert!(!first.push(bytes) && !first.push(&[7; 100]));
        }
    }

    /// A farm of two hosts, and the one of which connections are looked at.
    fn site() -> Site {
        Site::new("office", farm(Balance::Load, &[1, 1]), &[7; 32], None)
    }

    fn talk(site: &Site, asked_ms: u64) -> Talk {
        let talk = Talk::of(lock(&site.inner).voice("ts1"));
        talk.asks(asked_ms);
        talk
    }

    fn is_mute(site: &Site) -> bool {
        let inner = lock(&site.inner);
        inner
            .agreement
            .directory
            .hosts()
            .any(|(host, state)| host == "ts1" && state.mute.is_some())
    }

    #[test]
    fn three_connections_in_a_row_without_an_answer_make_a_host_mute_and_a_byte_ends_that() {
        let site = site();
        let fails = |asked_ms: u64| {
            let talk = talk(&site, asked_ms);
            assert!(!talk.becomes_mute(ANSWER_MS, asked_ms + ANSWER_MS - 1));
            assert!(talk.becomes_mute(ANSWER_MS, asked_ms + ANSWER_MS));
            assert!(
                !talk.becomes_mute(ANSWER_MS, asked_ms + ANSWER_MS),
                "it counts once"
            );
            lock(&site.inner).is_mute("office", "ts1");
        };
        fails(10_000);
        fails(20_000);
        let speaks = talk(&site, 30_000);
        site.host_sends("ts1", &speaks, 1);
        assert!(!speaks.becomes_mute(ANSWER_MS, u64::MAX));
        let now_ms = Moment::now().boottime_ms;
        (1..3).for_each(|number| fails(now_ms + number * 10_000));
        assert!(!is_mute(&site));
        fails(now_ms + 30_000);
        assert!(is_mute(&site));
        site.host_sends("ts1", &speaks, 1);
        assert!(!is_mute(&site));
        let inner = lock(&site.inner);
        let events = inner.checks["ts1"].events.iter();
        let events: Vec<(&str, &str)> = events.map(|one| (&*one.from, &*one.to)).collect();
        assert_eq!(events, [("up", "mute"), ("mute", "up")]);
    }

    #[test]
    fn a_host_that_speaks_on_another_connection_and_a_client_that_says_nothing_count_not() {
        let site = site();
        let silent = talk(&site, 0);
        silent.asked_ms.store(0, Ordering::Relaxed);
        assert!(!silent.becomes_mute(SHORT_MS, u64::MAX));
        let (one, other) = (talk(&site, 10), talk(&site, 10));
        assert!(!one.hears(1, 20));
        assert!(!other.becomes_mute(SHORT_MS, u64::MAX));
        assert!(talk(&site, 21).becomes_mute(SHORT_MS, 21 + SHORT_MS));
    }
}
