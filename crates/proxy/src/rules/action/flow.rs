//! Actions that end rules or streams without an answer.

use super::{Action, ActionRow, Build, Gate, Step, Verdict, places};
use crate::config::HttpProtocol;
use crate::load::{Loader, codes as load_codes};
use crate::state::Tally;
use crate::stream::{Phase, Stream, Termination};
use language::Diagnostic;

/// How rules or a stream end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flow {
    /// No more rules of this list.
    Accept,
    /// The connection of a message's stream is closed.
    RejectMessage,
    /// The same, and the client is not told.
    DropMessage,
    /// A connection is closed.
    RejectConnection,
    /// The same, and the client is not told.
    DropConnection,
    /// The server's connection is closed.
    CloseServer,
    /// An answer is not sent, and the client is not told.
    DropAnswer,
    /// HTTP is spoken from here on, in this version if one is said.
    SwitchToHttp(Option<HttpProtocol>),
}

pub(super) static ROWS: &[ActionRow] = &[
    ActionRow {
        name: "accept",
        places: places::TCP,
        syntax: "accept",
        doc: "Takes the connection: no more rules of this list are looked at. Without any rule that says otherwise a connection is taken.",
        example: "accept if { src 127.0.0.0/8 }",
        build: |_, _| Ok(Action::Flow(Flow::Accept)),
    },
    ActionRow {
        name: "allow",
        places: places::HTTP,
        syntax: "allow",
        doc: "Lets the message pass: no more rules of this list are looked at. A backend's list is one of its own.",
        example: "allow if { src 127.0.0.0/8 }",
        build: |_, _| Ok(Action::Flow(Flow::Accept)),
    },
    ActionRow {
        name: "reject",
        places: &[
            places::CONNECTION,
            places::SESSION,
            places::CONTENT,
            places::SERVER_CONTENT,
            places::REQUEST,
        ],
        syntax: "reject",
        doc: "Closes the client's connection without an answer. Before anything was read (`tcp-request connection`) that costs least.",
        example: "reject if { src 192.0.2.0/24 }",
        build: reject,
    },
    ActionRow {
        name: "silent-drop",
        places: &[
            places::CONNECTION,
            places::SESSION,
            places::CONTENT,
            places::SERVER_CONTENT,
            places::REQUEST,
            places::RESPONSE,
        ],
        syntax: "silent-drop",
        doc: "Forgets the client's connection without telling the client, which goes on waiting. A firewall between that keeps state has to \
              forget it too, so use it against attackers only.",
        example: "silent-drop if { src 192.0.2.0/24 }",
        build: silent_drop,
    },
    ActionRow {
        name: "close",
        places: &[places::SERVER_CONTENT],
        syntax: "close",
        doc: "Closes the server's connection. The client still gets what the server has sent. It is for protocols whose servers would keep an idle               connection open for long after an exchange.",
        example: "close if { res.payload(0,3) -m str BYE }",
        build: |_, _| Ok(Action::Flow(Flow::CloseServer)),
    },
    ActionRow {
        name: "expect-proxy",
        places: &[places::CONNECTION],
        syntax: "expect-proxy layer4",
        doc: "The connection begins with a PROXY header, as with `accept-proxy` of the `bind` line, but only where the condition holds: from the networks of \
              other load balancers, for instance. One without it is closed.",
        example: "expect-proxy layer4 if { src 192.0.2.0/24 }",
        build: |_, build| {
            let word = build.args.required("'layer4'")?;
            if word.is("layer4") {
                return Ok(Action::ExpectProxy);
            }
            let message = format!("'expect-proxy' does not know '{}'", word.text());
            Err(build.wrong(
                &load_codes::BAD_VALUE,
                word,
                message,
                "`layer4` is expected",
            ))
        },
    },
    ActionRow {
        name: "switch-mode",
        places: &[places::CONTENT],
        syntax: "switch-mode http [ proto { h1 | h2 } ]",
        doc: "Takes what the client sends for HTTP from here on, in a frontend in TCP mode: the frontend's rules of HTTP run, then an HTTP backend serves the \
              requests. Which version is spoken is seen by the first bytes, or said. Rules of content behind it are not looked at. Without such a rule a \
              frontend in TCP mode speaks HTTP as soon as it leads to a backend in HTTP mode.",
        example: "switch-mode http if HTTP",
        build: switch_mode,
    },
    ActionRow {
        name: "wait-for-handshake",
        places: &[places::REQUEST],
        syntax: "wait-for-handshake",
        doc: "Goes on once the TLS handshake of the client's connection is done. It always is here: a request that came as early data \
              (`allow-0rtt`) is not looked at before, so no rule sees one that somebody may have sent a second time.",
        example: "wait-for-handshake if { ssl_fc_has_early }",
        build: |_, _| Ok(Action::Pass),
    },
];

fn switch_mode(loader: &mut Loader, build: &mut Build<'_, '_>) -> Result<Action, Box<Diagnostic>> {
    let kind = loader.proxy().kind;
    if !kind.is_frontend() && !loader.in_defaults() {
        let message = "'switch-mode' needs a frontend";
        let label = "a backend cannot switch";
        return Err(build.wrong(&load_codes::BAD_VALUE, build.word, message, label));
    }
    let mode = build.args.required("'http'")?;
    if !mode.is("http") {
        let message = format!("'switch-mode' does not know the mode '{}'", mode.text());
        return Err(build.wrong(&load_codes::BAD_VALUE, mode, message, "`http` is expected"));
    }
    let mut protocol = None;
    if build.args.take("proto") {
        let word = build.args.required("'h1' or 'h2'")?;
        protocol = match word.str() {
            "h1" => Some(HttpProtocol::Http1),
            "h2" => Some(HttpProtocol::Http2),
            other => {
                let message = format!("'switch-mode' does not know the protocol '{other}'");
                let label = "`h1` or `h2` is expected";
                return Err(build.wrong(&load_codes::BAD_VALUE, word, message, label));
            }
        };
    }
    Ok(Action::Flow(Flow::SwitchToHttp(protocol)))
}

fn reject(_: &mut Loader, build: &mut Build<'_, '_>) -> Result<Action, Box<Diagnostic>> {
    let message = build.set.place() == places::REQUEST;
    Ok(Action::Flow(if message {
        Flow::RejectMessage
    } else {
        Flow::RejectConnection
    }))
}

fn silent_drop(_: &mut Loader, build: &mut Build<'_, '_>) -> Result<Action, Box<Diagnostic>> {
    Ok(Action::Flow(match build.set.place() {
        places::REQUEST => Flow::DropMessage,
        places::RESPONSE => Flow::DropAnswer,
        _ => Flow::DropConnection,
    }))
}

impl Flow {
    pub(super) fn run(self, stream: &mut Stream) -> Step {
        match self {
            Flow::Accept => Step::Accept,
            Flow::RejectMessage => {
                refused(stream);
                Step::End(Verdict::Reject)
            }
            Flow::DropMessage => {
                refused(stream);
                Step::End(Verdict::SilentDrop)
            }
            Flow::RejectConnection => Step::Closed(Gate::Reject),
            Flow::DropConnection => Step::Closed(Gate::SilentDrop),
            Flow::CloseServer => Step::Closed(Gate::CloseServer),
            Flow::SwitchToHttp(protocol) => Step::Closed(Gate::SwitchToHttp(protocol)),
            Flow::DropAnswer => {
                stream.termination = Termination::Proxy;
                stream.phase = Phase::Request;
                stream.times.response = None;
                count_denied_response(stream);
                Step::End(Verdict::SilentDrop)
            }
        }
    }
}

/// A request was refused without an answer: nothing of it is timed.
fn refused(stream: &mut Stream) {
    stream.termination = Termination::Proxy;
    stream.phase = Phase::Request;
    stream.times.request = None;
    count_denied(stream);
}

/// Counts a refused request at the frontend, and at the backend once there is one.
pub(crate) fn count_denied(stream: &Stream) {
    stream
        .frontend()
        .state
        .frontend
        .here()
        .count(Tally::DeniedRequests);
    if let Some(backend) = stream
        .backend()
        .filter(|_| stream.backend != Some(stream.frontend))
    {
        backend.state.backend.here().count(Tally::DeniedRequests);
    }
}

/// Counts a refused answer wherever it passed.
pub(crate) fn count_denied_response(stream: &Stream) {
    stream
        .frontend()
        .state
        .frontend
        .here()
        .count(Tally::DeniedResponses);
    if let Some(backend) = stream.backend() {
        backend.state.backend.here().count(Tally::DeniedResponses);
    }
    if let Some(server) = stream.server() {
        server.state.counters.here().count(Tally::DeniedResponses);
    }
}
