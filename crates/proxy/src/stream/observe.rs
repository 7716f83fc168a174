//! Implements `observe`: counts errors of streams for the health of their server. The health
//! checks decide on the consequences.

use super::ProxyStream;
use super::answer::Failure;
use model::config::{Observe, Rare, Server};

fn observed(stream: &ProxyStream) -> Option<(&Server, Observe)> {
    if !stream.route.rare.has(Rare::OBSERVED) {
        return None;
    }
    let server = stream.server()?;
    let observe = server.options.observing.observe;
    (observe != Observe::Nothing).then_some((server, observe))
}

fn count(server: &Server, what: &'static str) {
    let limit = server.options.observing.error_limit;
    server.state.count_error(limit, what);
}

/// Reports whether the connection to the server succeeded.
pub fn connected(stream: &ProxyStream, good: bool) {
    match observed(stream) {
        None => {}
        Some((server, _)) if !good => count(server, "L4 unsuccessful connection"),
        Some((server, Observe::Layer4)) => server.state.reset_error_count(),
        Some(_) => {}
    }
}

pub fn answered(stream: &ProxyStream) {
    if let Some((server, Observe::Layer7)) = observed(stream) {
        match stream.outcome.server_status {
            100..=499 | 501 | 505 => server.state.reset_error_count(),
            _ => count(server, "Wrong http response"),
        }
    }
}

/// Reports a missing or unusable response.
pub fn failed(stream: &ProxyStream, failure: &Failure) {
    if let Some((server, Observe::Layer7)) = observed(stream) {
        let what = match failure {
            Failure::Timeout => "Read timeout (http)",
            Failure::ClosedEarly | Failure::Closed | Failure::Refused => "Broken pipe (http)",
            Failure::Malformed | Failure::Interim => "Invalid http response (headers)",
            _ => return,
        };
        count(server, what);
    }
}
