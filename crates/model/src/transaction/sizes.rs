//! Tests that streams and sessions stay small: rarely used data must be boxed.

use super::state::{ProxyStream, Session};

/// Maximum size of a stream without its allocations, bytes.
const STREAM_MAX: usize = 792;
/// Maximum size of a session without its allocations, bytes.
const SESSION_MAX: usize = 320;

#[test]
fn streams_and_sessions_stay_small() {
    let (stream, session) = (size_of::<ProxyStream>(), size_of::<Session>());
    println!("a stream has {stream} bytes, a session {session}");
    assert!(stream <= STREAM_MAX, "{stream}");
    assert!(session <= SESSION_MAX, "{session}");
}
