//! A client's HTTP/2 connection: requests become streams with tasks of their own.

use crate::reactor::Buffer;
use crate::stream::Session;
use crate::transport::Transport;
use std::rc::Rc;

/// Drives a client's connection that speaks HTTP/2 from its next byte on: `input`
/// begins with the preface, or with what has come of it. Returns when the
/// connection is over and only to be closed.
///
/// For each request it calls `stream::serve_stream`.
pub async fn serve(transport: &Transport, input: Option<Buffer>, session: &mut Rc<Session>) {
    todo!()
}
