//! Stores rejected messages of clients and servers for operators (`show errors`).

use super::{Endpoint, ProxyStream};
use http::http1::HttpParseError;
use model::state::{CAPTURED_MAX, Capture};
use model::thread::current_thread_data;

pub fn position_of(fault: HttpParseError) -> usize {
    usize::try_from(fault.at).unwrap_or(usize::MAX)
}

/// Keeps an invalid request of a client: its head, or a piece of its body. `position` is the offset
/// of the error.
pub fn request(stream: &ProxyStream, bytes: &[u8], position: usize) {
    let captures = &stream.frontend().state.captures;
    captures.keep(false, capture(stream, bytes, position));
}

/// Keeps an invalid response of a server, like [`request`].
pub fn response(stream: &ProxyStream, bytes: &[u8], position: usize) {
    if let Some(backend) = stream.backend() {
        let captures = &backend.state.captures;
        captures.keep(true, capture(stream, bytes, position));
    }
}

fn capture(stream: &ProxyStream, bytes: &[u8], position: usize) -> Capture {
    let source = match stream.source() {
        Endpoint::Inet(address) => {
            format!("{}:{}", address.ip().to_canonical(), address.port())
        }
        Endpoint::Unix => "unix:1".into(),
    };
    let frontend = stream.frontend();
    let backend = stream.backend();
    let server = stream.server();
    Capture {
        at: current_thread_data().wall_clock(),
        event: 0,
        source,
        frontend: (frontend.name.clone(), frontend.id),
        backend: backend.map(|backend| (backend.name.clone(), backend.id)),
        server: server.map(|server| (server.name.clone(), server.id)),
        position,
        bytes: bytes[..bytes.len().min(CAPTURED_MAX)].into(),
    }
}
