//! What a file says to get along with old peers, or to harden against odd ones.

/// The switches of `global` for that; all are off by default.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Workarounds {
    /// `harden.reject-privileged-ports.tcp on`: nobody is served who comes from a port below 1024.
    pub reject_privileged_ports: bool,
    /// `h1-accept-payload-with-any-method`: GET, HEAD and DELETE of HTTP/1.0 may have a body.
    pub body_with_any_method: bool,
    /// `h2-workaround-bogus-websocket-clients`: HTTP/2 clients are not told of WebSocket.
    pub no_websocket_over_http2: bool,
    /// `pp2-never-send-local`: checks name their own connection in PROXY headers of version 2.
    pub never_send_local: bool,
}
