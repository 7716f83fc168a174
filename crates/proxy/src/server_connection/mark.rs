//! Distinguishes server connections to the same server by properties other than TLS: the name from
//! `pool-conn-name`, an address that depends on the client, the PROXY header, and packet marks set
//! by rules. A stream uses only a connection with the same properties as it needs.

use super::connect::{ConnectAddress, goes_by_client, target};
use super::{proxy_header, source};
use model::config::Server;
use model::rules::Expression;
use model::transaction::{Packets, ProxyStream};
use std::net::SocketAddr;
use std::sync::Arc;

/// Properties of a connection, encoded as bytes so that equal properties have equal bytes. None for
/// most connections, which have no such property.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Mark(Option<Arc<[u8]>>);

impl Mark {
    pub(super) fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// Returns the properties that a stream needs; None if a server whose address depends on the
    /// client has none for the stream.
    pub(super) fn of(server: &Server, stream: &ProxyStream) -> Option<Mark> {
        let options = &server.options;
        let by_client = goes_by_client(server);
        let backend = stream.backend();
        let from_client = backend.is_some_and(|backend| source::goes_by_client(backend, server));
        let packets = stream.rules.overrides.as_ref().map(|set| set.to_server);
        let packets = packets.filter(|packets| *packets != Packets::default());
        if !by_client
            && !from_client
            && packets.is_none()
            && options.pool_name.is_none()
            && options.send_proxy.is_none()
        {
            return Some(Mark::default());
        }
        let mut bytes = Vec::new();
        if let Some((_, name)) = &options.pool_name {
            push(&mut bytes, b'n', &name_of(name, stream));
        }
        if by_client {
            let Ok(ConnectAddress::Inet(to)) = target(server, stream) else {
                return None;
            };
            push_address(&mut bytes, b'd', to);
        }
        if from_client
            && let Some(backend) = backend
            && let Some(from) = source::borrowed(server.source(backend), stream)
        {
            push_address(&mut bytes, b's', from);
        }
        if let Some(version) = options.send_proxy {
            push(&mut bytes, b'p', &proxy_header::of(stream, server, version));
        }
        // Distinguishes the packets' mark and type of service, which a connection keeps until it is
        // closed.
        if let Some(Packets { mark, tos }) = packets {
            push(&mut bytes, b'm', &mark.map_or([0; 4], u32::to_be_bytes));
            push(&mut bytes, b't', tos.as_slice());
        }
        Some(Mark(Some(bytes.into())))
    }
}

/// Appends the tag, the length and the bytes of a property. With the length, different properties
/// never produce the same bytes.
fn push(bytes: &mut Vec<u8>, tag: u8, part: &[u8]) {
    bytes.push(tag);
    bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
    bytes.extend_from_slice(part);
}

fn push_address(bytes: &mut Vec<u8>, tag: u8, address: SocketAddr) {
    push(bytes, tag, address.to_string().as_bytes());
}

/// Evaluates the name of the connection for a stream; empty if the expression has no value.
fn name_of(name: &Expression, stream: &ProxyStream) -> Vec<u8> {
    let value = name.evaluate(stream);
    value.map_or_else(Vec::new, |value| value.into_text().into_owned())
}
