//! A client's HTTP/2 connection: requests become streams with tasks of their own.

use super::stream::MuxStream;
use crate::http1::Parsed;
use crate::reactor::Buffer;
use crate::stream::{Session, Stream};
use crate::transport::Transport;
use std::rc::Rc;

/// A request that came on a client's connection.
pub struct Request {
    /// Its stream.
    pub mux: MuxStream,
    /// What rules see; its request is filled, its times are set.
    pub stream: Box<Stream>,
    /// Facts of the head.
    pub parsed: Parsed,
    /// Streams that the connection carried before it.
    pub before: u32,
}

/// Drives a client's connection that speaks HTTP/2 from its next byte on: `input`
/// begins with the preface, or with what has come of it. `begin` is called for
/// each request and begins a task for it. Returns when all streams have ended
/// and the connection is only to be closed.
pub async fn serve(
    transport: &Transport,
    input: Option<Buffer>,
    session: &mut Rc<Session>,
    begin: impl FnMut(Request),
) {
    todo!()
}
