//! Runs `tcp-response content` rules in HTTP mode, before the `http-response` rules. They run
//! when the connection to the server is established; rules that wait for data run again when the
//! response head has arrived.

use super::answer::Failure;
use super::{ProxyStream, StreamPhase, Termination, exchange};
use crate::server_connection::{self, ServerConnection};
use http::http1::ConnectionMode;
use model::config::{Proxy, ReuseMode};
use model::rules::{self, Gate};
use model::transaction::Inspection;
use mux::link::PeerConnection;
use reactor;
use reactor::after;

/// Begins the inspection after the connection to the server was established. None: the rules ended
/// the stream. The connection then waits in the pool if other streams may use it.
pub fn begin(
    stream: &mut ProxyStream,
    client: &PeerConnection,
    server: ServerConnection,
) -> Option<ServerConnection> {
    if stream.backend().is_none_or(|b| b.tcp_response.is_empty()) || judge(stream, client) {
        return Some(server);
    }
    let shares = |b: &Proxy| b.reuse != ReuseMode::Never && b.dispatch_server.is_none();
    let may_be_shared = !server.private
        && exchange::connection_mode(stream) == ConnectionMode::KeepAlive
        && stream.backend().is_some_and(shares);
    if let Some(described) = stream.server().filter(|_| may_be_shared) {
        server_connection::pools().put(server, &described.options);
    }
    None
}

/// Runs the rules before anything is sent. Returns false if they end the stream.
fn judge(stream: &mut ProxyStream, client: &PeerConnection) -> bool {
    let delay_ms = stream.backend().and_then(|b| b.response_delay_ms);
    // Makes the rules wait for data only with `tcp-response inspect-delay`.
    stream.payloads.response_complete = delay_ms.is_none();
    match rules::tcp_response(stream) {
        Some(gate) => settle(stream, client, gate),
        None => {
            stream.rules.overrides_mut().inspection = Some(Inspection {
                until: after(delay_ms),
            });
            true
        }
    }
}

/// Runs the rules that waited for the response head.
pub fn head(
    stream: &mut ProxyStream,
    client: &PeerConnection,
    inspection: &Inspection,
) -> Result<(), Failure> {
    stream.payloads.response_complete = true;
    let late = inspection
        .until
        .is_some_and(|until| until <= reactor::now());
    // Hides the response head from the rules if the head arrived after the inspect delay.
    let hidden = late.then(|| std::mem::take(&mut stream.response));
    let gate = rules::tcp_response(stream).unwrap_or(Gate::Open);
    if let Some(head) = hidden {
        stream.response = head;
    }
    if settle(stream, client, gate) {
        Ok(())
    } else {
        Err(Failure::Rejected)
    }
}

/// Applies the verdict of the rules. Returns false if it ends the stream.
fn settle(stream: &mut ProxyStream, client: &PeerConnection, gate: Gate) -> bool {
    match gate {
        Gate::Open => return true,
        Gate::CloseServer => {
            stream.rules.overrides_mut().closes_server = true;
            return true;
        }
        // Continues, because none of these rules switches to HTTP.
        Gate::SwitchToHttp(_) => return true,
        Gate::Reject | Gate::SilentDrop(_) => {}
    }
    refused(stream, gate);
    stream.times.response = None;
    if let Gate::SilentDrop(ttl) = gate {
        super::session::drop_silently(client, ttl);
    }
    false
}

pub(super) fn refused(stream: &mut ProxyStream, gate: Gate) {
    stream.outcome.termination = Termination::Proxy;
    stream.outcome.phase = match gate {
        Gate::SilentDrop(_) => StreamPhase::Request,
        _ => StreamPhase::Data,
    };
    rules::count_denied_response(stream);
}
