//! How rules end; `crate::rules` builds and runs them.

use crate::setting::HttpProtocol;

/// How rules or a stream end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flow {
    /// No more rules of this list.
    Accept,
    /// The connection of a message's stream is closed.
    RejectMessage,
    /// The same without notice to the client, or with a reset that has this TTL.
    DropMessage(Option<u8>),
    /// A connection is closed.
    RejectConnection,
    /// The same without notice to the client, or with a reset that has this TTL.
    DropConnection(Option<u8>),
    /// The server's connection is closed.
    CloseServer,
    /// A response is not sent, without notice to the client, or with a reset that has this TTL.
    DropAnswer(Option<u8>),
    /// HTTP is spoken from here on, in this version if one is said.
    SwitchToHttp(Option<HttpProtocol>),
}
