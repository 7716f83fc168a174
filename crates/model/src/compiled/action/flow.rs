//! Compiled actions that end rules or streams; `crate::rules` builds and runs them.

use crate::setting::HttpProtocol;

/// Action that ends a list of rules, or closes a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flow {
    /// Skips the remaining rules of this list.
    Accept,
    /// Closes the connection of a request (`http-request` rules).
    RejectMessage,
    /// Closes the connection of a request silently: without notice to the client, or with a reset
    /// of this TTL.
    DropMessage(Option<u8>),
    /// Closes the connection (`tcp-request` and `tcp-response` rules).
    RejectConnection,
    /// Closes the connection silently: without notice to the client, or with a reset of this TTL.
    DropConnection(Option<u8>),
    /// Closes the connection to the server.
    CloseServer,
    /// Drops the response silently: without notice to the client, or with a reset of this TTL.
    DropAnswer(Option<u8>),
    /// Switches the stream to HTTP, in this version if one is given.
    SwitchToHttp(Option<HttpProtocol>),
}
