//! Compiled actions that end rules or streams; `crate::rules` builds and runs them.

use crate::setting::HttpProtocol;

/// Action that ends a list of rules, or closes a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flow {
    /// Skips the remaining rules of this list.
    Accept,
    /// Closes the connection of a stream during its content or message rules.
    RejectMessage,
    /// Closes that connection silently: without notice to the client, or with a reset of this TTL.
    DropMessage(Option<u8>),
    /// Closes a client connection during its connection or session rules.
    RejectConnection,
    /// Closes that connection silently: without notice to the client, or with a reset of this TTL.
    DropConnection(Option<u8>),
    /// Closes the connection to the server.
    CloseServer,
    /// Drops the response silently: without notice to the client, or with a reset of this TTL.
    DropAnswer(Option<u8>),
    /// Switches the stream to HTTP, in this version if one is given.
    SwitchToHttp(Option<HttpProtocol>),
}
