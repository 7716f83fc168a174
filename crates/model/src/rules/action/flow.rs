//! Implements the actions that end a list of rules, or a connection without a response, and those
//! that change how a connection is read: a required PROXY or NetScaler header, the switch to HTTP.
//! Also counts the denied requests and responses.

use super::{
    ActionResult, ActionRow, Build, BuiltAction, Gate, MessageVerdict, RuleAction, places,
};
use crate::codes as load_codes;
use crate::compiled::action::flow::Flow;
use crate::config::HttpProtocol;
use crate::rules::draft::ConfigDraft;
use crate::state::Tally;
use crate::transaction::{ProxyStream, StreamPhase, Termination};
use language::arguments::Built;

const CLIENT: &[&str] = &[
    places::CONNECTION,
    places::SESSION,
    places::CONTENT,
    places::SERVER_CONTENT,
    places::REQUEST,
];

pub(super) static ROWS: &[ActionRow] = language::rows! {
    "accept" places::TCP, |_, _| Ok(RuleAction::Flow(Flow::Accept)),
        "accept if { src 127.0.0.0/8 }",
        "Accepts the connection and skips the remaining rules of this list. Connections are accepted by default.";
    "allow" places::HTTP, |_, _| Ok(RuleAction::Flow(Flow::Accept)), "allow if { src 127.0.0.0/8 }",
        "Allows the message and skips the remaining rules of this list. The list of the backend is separate.";
    "reject" CLIENT, reject, "reject if { src 192.0.2.0/24 }",
        "Closes the client's connection without a response. This is cheapest before any data is read (`tcp-request \
         connection`).";
    "silent-drop [ rst-ttl <ttl> ]" super::packets::CLIENT, silent_drop,
        "silent-drop rst-ttl 2 if { src 192.0.2.0/24 }",
        "Drops the client's connection without notifying the client, which keeps waiting. A stateful firewall on the \
         path must drop it too, so use this against attackers only. With `rst-ttl` a reset is sent that crosses this \
         number of routers minus one, from 1 to 255: enough for the own firewall, too few for the client.";
    "close" &[places::SERVER_CONTENT], |_, _| Ok(RuleAction::Flow(Flow::CloseServer)),
        "close if { res.payload(0,3) -m str BYE }",
        "Closes the server's connection. The client still receives what the server has sent. Use it for protocols \
         whose servers keep idle connections open for long.";
    "expect-proxy { layer4 }" &[places::CONNECTION],
        |_, build| {
            layer4(build)?;
            Ok(RuleAction::ExpectProxy)
        },
        "expect-proxy layer4 if { src 192.0.2.0/24 }",
        "Requires a PROXY header at the beginning of the connection, like `accept-proxy` on the `bind` line, but only \
         if the condition is true: for example from the networks of other load balancers. Connections without it are \
         closed.";
    "expect-netscaler-cip { layer4 }" &[places::CONNECTION],
        |_, build| {
            layer4(build)?;
            Ok(RuleAction::ExpectNetScaler)
        },
        "expect-netscaler-cip layer4 if { src 192.0.2.0/24 }",
        "Requires a NetScaler Client IP header at the beginning of the connection, like `accept-netscaler-cip` on the \
         `bind` line, whose magic number applies (0 without it), but only if the condition is true. Connections \
         without it are closed.";
    "switch-mode { http } [ proto { h1 | h2 } ]" &[places::CONTENT], switch_mode,
        "switch-mode http if HTTP",
        "Switches a stream of a TCP frontend to HTTP: the frontend's HTTP rules run, then an HTTP backend serves the \
         requests. The HTTP version is detected from the first bytes, or set by `proto`. Later content rules are \
         skipped. Without this rule, a TCP frontend switches to HTTP when it selects an HTTP backend.";
    "wait-for-handshake" &[places::REQUEST], |_, _| Ok(RuleAction::Pass),
        "wait-for-handshake if { ssl_fc_has_early }",
        "Waits for the end of the client's TLS handshake. Evenkeel always does: rules only see a request in early data \
         (`allow-0rtt`) after the handshake, when a replay is impossible.";
};

/// Parses `layer4`, the only layer at which a header with addresses can be expected.
fn layer4(build: &mut Build<'_, '_>) -> Built {
    let word = build.args.required("'layer4'")?;
    if word.is("layer4") {
        return Ok(());
    }
    let message = format!(
        "unknown argument '{}' of '{}'",
        word.text(),
        build.word.text()
    );
    Err(build.wrong(&load_codes::BAD_VALUE, word, message, "expected `layer4`"))
}

fn switch_mode(loader: &mut ConfigDraft, build: &mut Build<'_, '_>) -> BuiltAction {
    let kind = loader.proxy().kind;
    if !kind.is_frontend() && !loader.in_defaults() {
        let message = "'switch-mode' needs a frontend";
        let label = "backends cannot switch";
        return Err(build.wrong(&load_codes::BAD_VALUE, build.word, message, label));
    }
    let mode = build.args.required("'http'")?;
    if !mode.is("http") {
        let message = format!("unknown mode '{}' of 'switch-mode'", mode.text());
        return Err(build.wrong(&load_codes::BAD_VALUE, mode, message, "expected `http`"));
    }
    let mut protocol = None;
    if build.args.take_if("proto") {
        let word = build.args.required("'h1' or 'h2'")?;
        protocol = match word.str() {
            "h1" => Some(HttpProtocol::Http1),
            "h2" => Some(HttpProtocol::Http2),
            other => {
                let message = format!("unknown protocol '{other}' of 'switch-mode'");
                let label = "expected `h1` or `h2`";
                return Err(build.wrong(&load_codes::BAD_VALUE, word, message, label));
            }
        };
    }
    Ok(RuleAction::Flow(Flow::SwitchToHttp(protocol)))
}

fn reject(_: &mut ConfigDraft, build: &mut Build<'_, '_>) -> BuiltAction {
    let message = build.set.place() == places::REQUEST;
    Ok(RuleAction::Flow(if message {
        Flow::RejectMessage
    } else {
        Flow::RejectConnection
    }))
}

fn silent_drop(_: &mut ConfigDraft, build: &mut Build<'_, '_>) -> BuiltAction {
    let ttl = if build.args.take_if("rst-ttl") {
        Some(build.args.count("a number of hops", 1..=255)? as u8)
    } else {
        None
    };
    Ok(RuleAction::Flow(match build.set.place() {
        places::REQUEST => Flow::DropMessage(ttl),
        places::RESPONSE => Flow::DropAnswer(ttl),
        _ => Flow::DropConnection(ttl),
    }))
}

impl Flow {
    pub(super) fn run(self, stream: &mut ProxyStream) -> ActionResult {
        match self {
            Flow::Accept => ActionResult::Accept,
            Flow::RejectMessage => {
                refused(stream);
                ActionResult::End(MessageVerdict::Reject)
            }
            Flow::DropMessage(ttl) => {
                refused(stream);
                ActionResult::End(MessageVerdict::SilentDrop(ttl))
            }
            Flow::RejectConnection => ActionResult::Closed(Gate::Reject),
            Flow::DropConnection(ttl) => ActionResult::Closed(Gate::SilentDrop(ttl)),
            Flow::CloseServer => ActionResult::Closed(Gate::CloseServer),
            Flow::SwitchToHttp(protocol) => ActionResult::Closed(Gate::SwitchToHttp(protocol)),
            Flow::DropAnswer(ttl) => {
                stream.outcome.end(Termination::Proxy, StreamPhase::Request);
                stream.times.response = None;
                count_denied_response(stream);
                ActionResult::End(MessageVerdict::SilentDrop(ttl))
            }
        }
    }
}

/// Ends and counts a request that was refused without a response, and clears its request time.
fn refused(stream: &mut ProxyStream) {
    stream.outcome.end(Termination::Proxy, StreamPhase::Request);
    stream.times.request = None;
    count_denied(stream);
}

/// Counts a refused request at the frontend, and at the backend once there is one.
pub fn count_denied(stream: &ProxyStream) {
    stream
        .frontend()
        .state
        .count_frontend(Tally::DeniedRequests);
    if let Some(backend) = stream
        .backend()
        .filter(|_| stream.route.backend != Some(stream.route.frontend))
    {
        backend.state.count_backend(Tally::DeniedRequests);
    }
}

/// Counts a refused response at each proxy that it passed.
pub fn count_denied_response(stream: &ProxyStream) {
    stream
        .frontend()
        .state
        .count_frontend(Tally::DeniedResponses);
    if let Some(backend) = stream.backend() {
        backend.state.count_backend(Tally::DeniedResponses);
    }
    if let Some(server) = stream.server() {
        server.state.count(Tally::DeniedResponses);
    }
}
