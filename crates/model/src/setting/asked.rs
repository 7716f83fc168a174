//! What fetches and formats of a file ask for that is kept only where one asks.

/// Noted while expressions are read, looked at when a connection or stream begins.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Asked {
    /// The connection to the server: our address, its socket, its stream.
    pub server_end: bool,
    /// The client's stream of HTTP/2.
    pub client_end: bool,
    /// The client's socket.
    pub client_socket: bool,
    /// The ends of clients' connections, besides those of their PROXY headers.
    pub connection: bool,
    /// The rule that ended a list of rules.
    pub last_rule: bool,
    /// What is there of an answer's body.
    pub answer_body: bool,
    /// Types of fields of clients' PROXY headers.
    pub proxy_fields: Vec<u8>,
}
