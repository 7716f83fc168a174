//! Holds settings for compatibility with old clients and servers, and for protection against
//! unusual ones.

/// Switches of the `global` section; all are off by default.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Workarounds {
    /// `harden.reject-privileged-ports.tcp on`: connections from a port below 1024 are rejected.
    pub reject_privileged_ports: bool,
    /// `h1-accept-payload-with-any-method`: HTTP/1.0 requests with GET, HEAD and DELETE may have a
    /// body.
    pub body_with_any_method: bool,
    /// `h2-workaround-bogus-websocket-clients`: WebSocket support is not announced to HTTP/2
    /// clients.
    pub no_websocket_over_http2: bool,
    /// `pp2-never-send-local`: checks send the addresses of their own connection in PROXY headers
    /// of version 2.
    pub never_send_local: bool,
}
