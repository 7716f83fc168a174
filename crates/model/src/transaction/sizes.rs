//! What a connection and its request take of memory: what is rare is in a box.

use super::state::{Session, Stream};

/// Bytes of a stream besides what it allocates.
const STREAM_MAX: usize = 784;
/// Of a session.
const SESSION_MAX: usize = 320;

#[test]
fn streams_and_sessions_stay_small() {
    let (stream, session) = (size_of::<Stream>(), size_of::<Session>());
    println!("a stream has {stream} bytes, a session {session}");
    assert!(stream <= STREAM_MAX, "{stream}");
    assert!(session <= SESSION_MAX, "{session}");
}
