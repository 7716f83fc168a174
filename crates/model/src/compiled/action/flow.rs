//! Defines the compiled form of actions that end a list of rules or close a connection;
//! `crate::rules` builds and runs them.

use crate::setting::HttpProtocol;

/// Action that ends a list of rules, or closes a connection. The `Drop` variants close silently:
/// without notice to the client, or with a reset of the given TTL.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flow {
    /// Skips the remaining rules of this list.
    Accept,
    /// Closes the connection of a request (`http-request` rules).
    RejectMessage,
    DropMessage(Option<u8>),
    /// Closes the connection (`tcp-request` and `tcp-response` rules).
    RejectConnection,
    DropConnection(Option<u8>),
    CloseServer,
    DropAnswer(Option<u8>),
    /// Switches the stream to HTTP, with this HTTP version if one is given.
    SwitchToHttp(Option<HttpProtocol>),
}
