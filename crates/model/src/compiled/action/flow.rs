//! How rules end; `crate::rules` builds and runs them.

use crate::setting::HttpProtocol;

/// How rules or a stream end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flow {
    /// No more rules of this list.
    Accept,
    /// The connection of a message's stream is closed.
    RejectMessage,
    /// The same, and the client is not told.
    DropMessage,
    /// A connection is closed.
    RejectConnection,
    /// The same, and the client is not told.
    DropConnection,
    /// The server's connection is closed.
    CloseServer,
    /// An answer is not sent, and the client is not told.
    DropAnswer,
    /// HTTP is spoken from here on, in this version if one is said.
    SwitchToHttp(Option<HttpProtocol>),
}
