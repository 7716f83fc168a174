//! Builds the options of servers whose health is known by other means than their own checks: an
//! agent, another server, the traffic. Resolves chains of `track` at the end of loading.

use super::super::server::resolve;
use super::super::{Args, Built, ServerRow, places};
use super::check::unreachable_address;
use super::{parse_choice, port, set, time_above_zero};
use crate::family::Loader;
use language::value::Family;
use language::{Diagnostic, Span, suggest};
use model::codes;
use model::config::{
    Config, InitState, Mode, Observe, OnError, ProxyIndex, Server, ServerIndex, ServerOptions,
};
use std::collections::HashMap;

/// Maximum number of errors in a row.
const ERRORS_MAX: u32 = 1_000_000;
/// Maximum number of bytes sent to an agent.
const SEND_BYTES_MAX: usize = 16 << 10;

pub static OPTIONS: &[ServerRow] = language::rows! {
    "agent-check" places::SERVER, |_, options, _| set(&mut options.agent.check, true),
        "server web1 192.0.2.11:8080 check agent-check agent-port 9707",
        "Regularly asks an agent on the server's host for the server's state. The agent may send a weight, `up`, \
         `down`, `drain`, `maint`, `ready` or `maxconn:N`. Requires `agent-port`, and is independent of health checks.";
    "no-agent-check" places::SERVER, |_, options, _| set(&mut options.agent.check, false),
        "server web1 192.0.2.11:8080 no-agent-check",
        "Cancels `agent-check` of `default-server`.";
    "agent-port <port>" places::SERVER,
        |_, options, args| set(&mut options.agent.port, port(args)?),
        "server web1 192.0.2.11:8080 agent-check agent-port 9707",
        "Port of the agent. `agent-check` requires it. The address is that of the server, or `agent-addr`.";
    "agent-addr <address>" places::SERVER, agent_addr,
        "server web1 192.0.2.11:8080 agent-check agent-port 9707 agent-addr 192.0.2.7",
        "Address of the agent, if it differs from that of the server.";
    "agent-inter <time>" places::SERVER,
        |_, options, args| set(&mut options.agent.inter_ms, Some(time_above_zero(args)?)),
        "server web1 192.0.2.11:8080 agent-check agent-port 9707 agent-inter 5s",
        "Interval between two agent checks, and their duration limit without `timeout check`; the default is 2s.";
    "agent-send <text>" places::SERVER, agent_send,
        "server web1 192.0.2.11:8080 agent-check agent-port 9707 agent-send \"web\\n\"",
        "Text sent to the agent before it responds. End a line with `\\n` in double quotes.";
    "track [<backend>/]<server>" places::SERVER,
        |_, options, args| {
            let word = args.required("[<proxy>/]<server>")?;
            options.track = Some((word.span, word.text().into()));
            Ok(())
        },
        "server a 192.0.2.11:80 check\nserver b 192.0.2.11:81 track a",
        "The server has no checks of its own, and takes the state of the tracked server. A host that is a server in \
         several backends then needs only one check.";
    "observe { none | layer4 | layer7 }" places::SERVER, observe,
        "server web1 192.0.2.11:8080 check observe layer4 error-limit 5",
        "Counts consecutive errors of the traffic: failed connections (`layer4`), or invalid and failed responses \
         (`layer7`). At `error-limit` errors, `on-error` applies. Requires `check`.";
    "error-limit <count>" places::SERVER,
        |_, options, args| {
            let limit = args.count("<count>", 1..=ERRORS_MAX)?;
            set(&mut options.observing.error_limit, limit)
        },
        "server web1 192.0.2.11:8080 check observe layer4 error-limit 3",
        "Number of consecutive errors after which `on-error` applies; the default is 10.";
    "on-error { fastinter | fail-check | sudden-death | mark-down }" places::SERVER, on_error,
        "server web1 192.0.2.11:8080 check observe layer4 on-error mark-down",
        "Reaction when `observe` has counted `error-limit` errors: checks become more frequent, the errors count as a \
         failed check (the default), one more failed check marks the server down, or the server is marked down.";
    "init-state { up | down | fully-up | fully-down }" places::SERVER, init_state,
        "server web1 192.0.2.11:8080 check init-state down",
        "State of a checked server before its first check: up, until one check fails (the default); up, until `fall` \
         checks fail; down, until one check passes; down, until `rise` checks pass.";
};

fn agent_addr(loader: &mut Loader, options: &mut ServerOptions, args: &mut Args<'_>) -> Built {
    let word = args.required("<address>")?;
    let text = word.str();
    let found = text
        .parse()
        .ok()
        .or_else(|| resolve(loader, text, Family::Any));
    match found {
        Some(ip) => options.agent.address = Some(ip),
        None if !loader.context.options.resolve_names => {}
        None => {
            options.agent.address = Some(unreachable_address(loader, word, "agent-addr", text)?)
        }
    }
    Ok(())
}

fn agent_send(_: &mut Loader, options: &mut ServerOptions, args: &mut Args<'_>) -> Built {
    let word = args.required("a string")?;
    if word.bytes.len() > SEND_BYTES_MAX {
        let told = format!("'agent-send' accepts at most {SEND_BYTES_MAX} bytes");
        return Err(args.word_error(&codes::BAD_VALUE, word, told));
    }
    options.agent.send = Some(word.bytes.to_vec().into());
    Ok(())
}

fn observe(_: &mut Loader, options: &mut ServerOptions, args: &mut Args<'_>) -> Built {
    let layers = [
        ("layer4", Observe::Layer4),
        ("layer7", Observe::Layer7),
        ("none", Observe::Nothing),
    ];
    set(&mut options.observing.observe, parse_choice(args, &layers)?)
}

fn on_error(_: &mut Loader, options: &mut ServerOptions, args: &mut Args<'_>) -> Built {
    let reactions = [
        ("fail-check", OnError::FailCheck),
        ("fastinter", OnError::FastInter),
        ("mark-down", OnError::MarkDown),
        ("sudden-death", OnError::SuddenDeath),
    ];
    set(
        &mut options.observing.on_error,
        parse_choice(args, &reactions)?,
    )
}

fn init_state(_: &mut Loader, options: &mut ServerOptions, args: &mut Args<'_>) -> Built {
    let states = [
        ("down", InitState::Down),
        ("fully-down", InitState::FullyDown),
        ("fully-up", InitState::FullyUp),
        ("up", InitState::Up),
    ];
    set(&mut options.init_state, parse_choice(args, &states)?)
}

/// Checks the options for agents, tracking and observed traffic when all servers are known, and
/// resolves `track`.
pub(crate) fn finish(loader: &mut Loader) {
    let mut told = Vec::new();
    let mut ends = Vec::new();
    let config = &loader.config;
    let chains = Chains::of(config, &mut told);
    let mut known = HashMap::new();
    for (proxy_at, proxy) in config.proxies.iter().enumerate() {
        for (at, server) in proxy.servers.iter().enumerate() {
            told.extend(check_server(proxy.mode, server));
            let Some((span, name)) = &server.options.track else {
                continue;
            };
            let from = (ProxyIndex(proxy_at as u32), ServerIndex(at as u32));
            match chains.end(from, &mut known) {
                TrackEnd::At(tracked) => ends.push((from, tracked)),
                wrong => told.extend(chains.chain_error(wrong, *span, name)),
            }
        }
    }
    for (from, tracked) in ends {
        let servers = &mut loader.config.proxies[from.0.0 as usize].servers;
        servers[from.1.0 as usize].tracks = Some(tracked);
    }
    loader.report_all(told);
}

/// Checks one server without regard to others.
fn check_server(mode: Mode, server: &Server) -> Option<Diagnostic> {
    let options = &server.options;
    let name = &server.name;
    if options.agent.check && options.agent.port.is_none() {
        let told = format!("server {name} does not have agent port");
        return Some(
            Diagnostic::error(&codes::AGENT_PORT, server.span, told)
                .label("the port of the agent is missing")
                .help("write `agent-port <port>`"),
        );
    }
    if options.observing.observe == Observe::Layer7 && mode == Mode::Tcp {
        let told = format!("server {name}: 'layer7' can only be used in http proxies");
        return Some(
            Diagnostic::error(&codes::BAD_VALUE, server.span, told)
                .label("this proxy is in mode tcp")
                .help("write `observe layer4`"),
        );
    }
    if let (true, Some((span, _))) = (options.check, &options.track) {
        let told = format!("server {name}: unable to enable checks and tracking at the same time");
        return Some(
            Diagnostic::error(&codes::BAD_VALUE, *span, told)
                .label("has checks of its own")
                .help("remove `check` or `track`"),
        );
    }
    None
}

type ServerPosition = (ProxyIndex, ServerIndex);

/// Next servers of all `track` options. Each name is looked up once, however long chains are.
struct Chains<'c> {
    config: &'c Config,
    next: HashMap<ServerPosition, ServerPosition>,
}

/// End of a chain of `track`.
#[derive(Clone, Copy)]
enum TrackEnd {
    At(ServerPosition),
    Unchecked(ServerPosition),
    Loop,
    /// The chain ends at an unknown name, which is reported where it is written.
    Nowhere,
}

impl<'c> Chains<'c> {
    fn of(config: &'c Config, told: &mut Vec<Diagnostic>) -> Chains<'c> {
        let mut backends: HashMap<&str, ProxyIndex> = HashMap::new();
        let mut servers: HashMap<(ProxyIndex, &str), ServerIndex> = HashMap::new();
        let mut tracking = Vec::new();
        for (n, proxy) in config.proxies.iter().enumerate() {
            let at = ProxyIndex(n as u32);
            if proxy.kind.is_backend() {
                backends.entry(&proxy.name).or_insert(at);
            }
            for (n, server) in proxy.servers.iter().enumerate() {
                let place = ServerIndex(n as u32);
                servers.entry((at, &*server.name)).or_insert(place);
                if let Some((span, name)) = &server.options.track {
                    tracking.push(((at, place), *span, &**name));
                }
            }
        }
        let mut next = HashMap::new();
        for (from, span, name) in tracking {
            let (proxy, server) = match name.split_once('/') {
                None => (Some(from.0), name),
                Some((proxy, server)) => (backends.get(proxy).copied(), server),
            };
            let found = proxy.and_then(|proxy| Some((proxy, *servers.get(&(proxy, server))?)));
            match found {
                Some(to) => drop(next.insert(from, to)),
                None => told.push(unknown(config, proxy, server, span, name)),
            }
        }
        Chains { config, next }
    }

    fn server(&self, at: ServerPosition) -> &'c Server {
        &self.config.proxy(at.0).servers[at.1.0 as usize]
    }

    /// Returns the end of the chain of a server. `known` stores the ends of all visited servers.
    fn end(&self, from: ServerPosition, known: &mut HashMap<ServerPosition, TrackEnd>) -> TrackEnd {
        let mut way = Vec::new();
        let mut at = from;
        let end = loop {
            if let Some(end) = known.get(&at) {
                break *end;
            }
            // Marks the server as part of a loop until its end is known: a second visit means a
            // loop.
            known.insert(at, TrackEnd::Loop);
            way.push(at);
            let options = &self.server(at).options;
            match self.next.get(&at) {
                Some(next) => at = *next,
                None if options.track.is_some() => break TrackEnd::Nowhere,
                None if options.check || options.agent.check => break TrackEnd::At(at),
                None => break TrackEnd::Unchecked(at),
            }
        };
        known.extend(way.into_iter().map(|place| (place, end)));
        end
    }

    /// Returns the error for a chain that ends in a loop or at a server without checks; None for
    /// others.
    fn chain_error(&self, end: TrackEnd, span: Span, name: &str) -> Option<Diagnostic> {
        let wrong = |told: String| Diagnostic::error(&codes::TRACK_LOOP, span, told);
        match end {
            TrackEnd::At(_) | TrackEnd::Nowhere => None,
            TrackEnd::Loop => {
                let told = format!(
                    "unable to track '{name}' as it belongs to a tracking chain looping back"
                );
                Some(wrong(told).label("forms a loop with this server"))
            }
            TrackEnd::Unchecked(at) => {
                let server = self.server(at);
                let told = format!(
                    "unable to use {}/{} for tracking as it does not have any check nor agent enabled",
                    self.config.proxy(at.0).name,
                    server.name
                );
                Some(
                    wrong(told)
                        .label("that server has no checks")
                        .with_label(server.span, "this server needs `check`"),
                )
            }
        }
    }
}

fn unknown(
    config: &Config,
    proxy: Option<ProxyIndex>,
    server: &str,
    span: Span,
    name: &str,
) -> Diagnostic {
    let unknown = |told: String| Diagnostic::error(&codes::UNKNOWN_TRACKED, span, told);
    let Some(proxy) = proxy else {
        let told = format!("unable to find required proxy of '{name}' for tracking");
        return unknown(told).label("no such backend");
    };
    let told = format!("unable to find required server '{name}' for tracking");
    let near = suggest::nearest(server, config.proxy(proxy).servers.iter().map(|s| &*s.name));
    let diagnostic = unknown(told).label("no such server");
    diagnostic.suggest(near)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{backend, codes_of};

    #[test]
    fn the_options_are_read_into_what_they_mean() {
        let backend = backend(
            "server a 127.0.0.1:1 check agent-check agent-port 99 agent-inter 5s agent-addr 127.0.0.2 \
             agent-send hello observe layer4 error-limit 3 on-error mark-down init-state down\n\
             server b 127.0.0.1:2 track a\nserver c 127.0.0.1:2 track b/b",
        );
        let [a, b, c] = &backend.servers[..] else {
            panic!("three servers")
        };
        let agent = &a.options.agent;
        assert!(agent.check && agent.port == Some(99) && agent.inter_ms == Some(5000));
        assert_eq!(agent.address, Some([127, 0, 0, 2].into()));
        assert_eq!(agent.send.as_deref(), Some(&b"hello"[..]));
        assert_eq!(a.options.observing.observe, Observe::Layer4);
        assert_eq!(a.options.observing.on_error, OnError::MarkDown);
        assert_eq!(a.options.observing.error_limit, 3);
        assert_eq!(a.options.init_state, InitState::Down);
        // Both servers track the server that is checked.
        assert_eq!(b.tracks.map(|t| t.1), Some(ServerIndex(0)));
        assert_eq!(c.tracks.map(|t| t.1), Some(ServerIndex(0)));
    }

    #[test]
    fn long_chains_lead_to_their_end_and_long_loops_are_told() {
        let servers = 3000;
        let chain = |last: &str| -> String {
            let line = |n| {
                if n + 1 < servers {
                    format!("server s{n} 127.0.0.1:1 track s{}\n", n + 1)
                } else {
                    format!("server s{n} 127.0.0.1:1 {last}\n")
                }
            };
            (0..servers).map(line).collect()
        };
        let backend = backend(&chain("check"));
        let end = Some(ServerIndex(servers - 1));
        assert_eq!(backend.servers[0].tracks.map(|t| t.1), end);
        assert_eq!(
            backend.servers[servers as usize - 2].tracks.map(|t| t.1),
            end
        );
        assert_eq!(backend.servers[servers as usize - 1].tracks, None);
        let told = codes_of(&chain("track s0"));
        assert!(told.contains(&"E0471"), "{told:?}");
    }

    #[test]
    fn mistakes_are_told() {
        for (lines, code) in [
            ("server a 127.0.0.1:1 agent-check", "E0473"),
            ("server a 127.0.0.1:1 track b", "E0472"),
            ("server a 127.0.0.1:1 track x/b", "E0472"),
            ("server a 127.0.0.1:1 track a", "E0471"),
            (
                "server a 127.0.0.1:1\nserver b 127.0.0.1:1 track a",
                "E0471",
            ),
            (
                "server a 127.0.0.1:1 track b\nserver b 127.0.0.1:1 track a",
                "E0471",
            ),
        ] {
            assert!(
                codes_of(lines).contains(&code),
                "{lines}: {:?}",
                codes_of(lines)
            );
        }
        for lines in [
            "server z 127.0.0.1:1 check\nserver a 127.0.0.1:1 check track z",
            "mode tcp\nserver a 127.0.0.1:1 check observe layer7",
            "server a 127.0.0.1:1 observe foo",
            "server a 127.0.0.1:1 on-error foo",
            "server a 127.0.0.1:1 error-limit 0",
            "server a 127.0.0.1:1 init-state foo",
            "server a 127.0.0.1:1 agent-inter 0",
        ] {
            assert_eq!(codes_of(lines).len(), 1, "{lines}: {:?}", codes_of(lines));
        }
    }
}
