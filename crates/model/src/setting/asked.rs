//! Records which optional data about connections and streams the fetches and formats of a
//! configuration need. Other optional data is not collected.

/// Optional data to record. Set while expressions are parsed, read when a connection or stream
/// begins.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RecordingOptions {
    /// Connection to the server: local address, socket, HTTP/2 stream.
    pub server_end: bool,
    /// HTTP/2 stream of the client.
    pub client_end: bool,
    pub client_socket: bool,
    /// Addresses of clients' connections, besides those of their PROXY headers.
    pub connection: bool,
    /// PROXY header at the start of a client's connection, if a rule required one.
    pub proxy_header: bool,
    pub last_rule: bool,
    pub request_body: bool,
    pub answer_body: bool,
    /// TLV types of clients' PROXY headers.
    pub proxy_fields: Vec<u8>,
}
