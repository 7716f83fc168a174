//! Counts events of a connection or stream in the stick table entries that it tracks
//! (`track-sc0`). Entries of connection rules are tracked until the connection ends, those of
//! content and message rules until the stream ends.

pub mod stick;

use crate::tables::{DataType, HeldEntry, Level};
use crate::transaction::{ProxyStream, Session};

/// Passes the entry that a counter tracks to `look`: the one tracked by the stream, otherwise the
/// one tracked by the connection.
pub fn with<T>(
    stream: &ProxyStream,
    counter: u32,
    look: impl FnOnce(&HeldEntry) -> T,
) -> Option<T> {
    if let Some(held) = stream
        .rules
        .tracked
        .as_ref()
        .and_then(|own| own.get(counter))
    {
        return Some(look(held));
    }
    let shared = stream.session.tracked.get()?.borrow();
    shared.get(counter).map(look)
}

/// Starts to track an entry, unless the counter already tracks one.
pub fn track(stream: &mut ProxyStream, counter: u32, held: HeldEntry, level: Level) {
    if with(stream, counter, |_| ()).is_some() {
        return;
    }
    held.add(DataType::ConnCur, 0, 1);
    held.add(DataType::ConnCnt, 0, 1);
    held.add(DataType::ConnRate, 0, 1);
    if level != Level::Session && stream.request.start().is_some() {
        count_request(&held);
    }
    if level == Level::Response {
        count_status(&held, stream, stream.outcome.server_status);
    }
    held.queue_peer_update();
    let entry = (counter as u8, held);
    match level {
        Level::Session => {
            let shared = stream.session.tracked.get_or_init(Default::default);
            shared.borrow_mut().held.push(entry);
        }
        Level::Request | Level::Response => {
            stream
                .rules
                .tracked
                .get_or_insert_default()
                .held
                .push(entry);
        }
    }
}

fn count_request(held: &HeldEntry) {
    held.add(DataType::HttpReqCnt, 0, 1);
    held.add(DataType::HttpReqRate, 0, 1);
}

fn count_error(held: &HeldEntry) {
    held.add(DataType::HttpErrCnt, 0, 1);
    held.add(DataType::HttpErrRate, 0, 1);
}

fn count_failure(held: &HeldEntry) {
    held.add(DataType::HttpFailCnt, 0, 1);
    held.add(DataType::HttpFailRate, 0, 1);
}

fn count_status(held: &HeldEntry, stream: &ProxyStream, status: u16) {
    let global = &stream.config.global;
    if global.counted_codes.errors.contains(status) {
        count_error(held);
    }
    if global.counted_codes.failures.contains(status) {
        count_failure(held);
    }
}

/// Returns whether anything is tracked for a stream. The counting functions check this first.
#[inline]
pub fn any(stream: &ProxyStream) -> bool {
    stream.rules.tracked.is_some() || stream.session.tracked.get().is_some()
}

fn each(stream: &ProxyStream, count: impl Fn(&HeldEntry)) {
    if let Some(own) = &stream.rules.tracked {
        own.each(&count);
    }
    if let Some(shared) = stream.session.tracked.get() {
        shared.borrow().each(&count);
    }
}

/// Counts a connection that the rules accepted.
pub fn session_began(session: &Session) {
    if let Some(shared) = session.tracked.get() {
        shared.borrow().each(|held| {
            held.add(DataType::SessCnt, 0, 1);
            held.add(DataType::SessRate, 0, 1);
        });
    }
}

/// Counts an HTTP/2 protocol error of a client that did not end the connection.
pub fn session_glitch(session: &Session) {
    if let Some(shared) = session.tracked.get() {
        shared.borrow().each(|held| {
            held.add(DataType::GlitchCnt, 0, 1);
            held.add(DataType::GlitchRate, 0, 1);
        });
    }
}

#[inline]
pub fn request(stream: &ProxyStream) {
    if any(stream) {
        each(stream, count_request);
    }
}

/// Counts an invalid or denied request.
#[inline]
pub fn request_error(stream: &ProxyStream) {
    if any(stream) {
        each(stream, count_error);
    }
}

/// Counts a response of the server by its status.
#[inline]
pub fn answer(stream: &ProxyStream) {
    if any(stream) {
        each(stream, |held| {
            count_status(held, stream, stream.outcome.server_status)
        });
    }
}

/// Counts a missing or invalid response of the server.
#[inline]
pub fn answer_failure(stream: &ProxyStream) {
    if any(stream) {
        each(stream, count_failure);
    }
}

/// Counts the transferred bytes at the end of a stream and releases its entries.
#[inline]
pub fn ended(stream: &mut ProxyStream) {
    if any(stream) {
        // As in HAProxy, bytes only count with a valid request.
        let counts = !stream.http || stream.request.start().is_some();
        let moved = (stream.transfer.bytes_in, stream.transfer.bytes_out);
        let (bytes_in, bytes_out) = if counts { moved } else { (0, 0) };
        each(stream, |held| {
            if bytes_in > 0 {
                held.add(DataType::BytesInCnt, 0, bytes_in);
                held.add(DataType::BytesInRate, 0, bytes_in);
            }
            if bytes_out > 0 {
                held.add(DataType::BytesOutCnt, 0, bytes_out);
                held.add(DataType::BytesOutRate, 0, bytes_out);
            }
        });
        stream.rules.tracked = None;
    }
}
