//! A connection in HTTP/2, of a server behind the preface or of a client. What it wants to send is
//! bounded while nobody takes it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::http2::{Connection, Event, Http2Role, Options, PREFACE};

/// What may wait to be sent, far above what the limits allow.
const OUTPUT_MAX: usize = 1 << 20;

fuzz_target!(|input: (bool, &[u8])| {
    let (is_server, bytes) = input;
    let mut connection = match is_server {
        true => Connection::after_preface(Options::new(Http2Role::Server), PREFACE.len()),
        false => Connection::new(Options::new(Http2Role::Client)),
    };
    if !is_server {
        let _ = connection.open();
    }
    let mut rest = bytes;
    let mut idle = 0;
    for now_ms in 0.. {
        let (taken, event) = connection.receive(rest, now_ms);
        let needs_more = matches!(event, Event::NeedMore);
        rest = &rest[taken..];
        idle = if taken == 0 { idle + 1 } else { 0 };
        assert!(connection.output().len() < OUTPUT_MAX);
        if needs_more || connection.is_closed() || idle > 1000 {
            break;
        }
    }
    assert!(idle <= 1000, "it takes nothing, and does not end");
});
