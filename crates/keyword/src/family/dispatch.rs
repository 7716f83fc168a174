//! Builds the lines for destinations without load balancing (`dispatch`, `transparent`), and those
//! that limit the connections a session keeps to servers.

use super::places::{BACK, BACK_ONLY, FRONT};
use super::server::unresolved_line;
use super::{Args, Built, LineRow};
use crate::family::Loader;
use language::value::{Accepts, AddressHost, Port};
use language::{Diagnostic, Severity};
use model::codes;
use model::config::{ReuseMode, Server, ServerAddress, ServerIndex, ServerOptions};
use model::state::ServerState;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

pub static LINES: &[LineRow] = language::rows! {
    "dispatch <address>:<port>" BACK_ONLY, dispatch, "dispatch 127.0.0.1:8080",
        "Sends streams without persistence to this address, if there is no `balance` line. It was used for a second \
         load balancer behind the first, and for simple relays. Prefer a `server` line.";
    "transparent" BACK, transparent, "transparent",
        "Obsolete name of `option transparent`, for the original destination of clients.";
    "[no] option transparent" BACK, transparent, "option transparent",
        "A backend without servers connects to the original destination of the client, for a transparent proxy whose \
         `bind` lines have `transparent`. `server NAME *` does the same.";
    "max-session-srv-conns <connections>" FRONT, session_connections, "max-session-srv-conns 5",
        "Number of idle server connections that a client session keeps for itself (`http-reuse never`, `option \
         transparent`, `send-proxy`), one per server and address. The default is 5; 0 keeps none. Above the limit the \
         oldest is closed.";
    "max-keep-alive-queue <streams>" BACK, keep_alive_queue, "max-keep-alive-queue 2",
        "With `option prefer-last-server`: a client waits for its full previous server as long as at most this many \
         streams wait there. 0, the default, selects another server at once; -1 always waits.";
};

fn dispatch(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let word = args.required("<addr>:<port>")?;
    let accepts = Accepts::SERVER;
    let address = loader.address(word, word.str(), &accepts, "dispatch")?;
    let Port::One(port) = address.port else {
        let message = format!(
            "'dispatch' : missing port specification in '{}'",
            word.text()
        );
        return Err(args.word_error(&codes::BAD_ADDRESS, word, message));
    };
    let ip = match address.host {
        AddressHost::Ip(ip) => Some(ip),
        AddressHost::Any => Some(Ipv4Addr::UNSPECIFIED.into()),
        AddressHost::Name(name) => match super::server::resolve(loader, &name, address.family) {
            None if loader.context.options.resolve_names => {
                let refusal = unresolved_line(loader, word, "dispatch", &name);
                if refusal.severity == Severity::Error {
                    return Err(refusal);
                }
                loader.report(refusal);
                None
            }
            found => found,
        },
        _ => {
            let message = format!("'dispatch' does not support '{}'", word.text());
            return Err(args.word_error(&codes::BAD_ADDRESS, word, message));
        }
    };
    let address = ip.map_or(ServerAddress::Unresolved, |ip| {
        ServerAddress::Inet(SocketAddr::new(ip, port))
    });
    loader.proxy().dispatch = Some((address, word.span));
    args.end()
}

fn transparent(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let on = !(args.negated || args.reset);
    let span = args.line().span;
    let anywhere = ServerAddress::SamePort(Ipv4Addr::UNSPECIFIED.into(), 0);
    loader.proxy().dispatch = on.then_some((anywhere, span));
    args.end()
}

/// Creates, after all lines were read, the servers that represent `dispatch` and `transparent`.
/// Warns where servers or a `balance` line make such a line ineffective.
pub(crate) fn finish(loader: &mut Loader) {
    let mut told = Vec::new();
    for proxy in &mut loader.config.proxies {
        let Some((address, span)) = proxy.dispatch.take() else {
            continue;
        };
        if !proxy.kind.is_backend() {
            continue;
        }
        let anywhere = matches!(address, ServerAddress::SamePort(..));
        if !proxy.servers.is_empty() && (anywhere || proxy.balance_said) {
            let name = if anywhere { "transparent" } else { "dispatch" };
            let text = format!("'{name}' of proxy '{}' is ignored", proxy.name);
            let why = if anywhere {
                "the proxy has servers"
            } else {
                "the proxy has a `balance` line"
            };
            told.push(Diagnostic::warning(&codes::NO_EFFECT, span, text).label(why));
            continue;
        }
        let name = if anywhere { "transparent" } else { "dispatch" };
        let alone = proxy.servers.is_empty();
        let options = ServerOptions {
            // Gives the server no share of the load balancing if the section has other servers:
            // then only streams without a server go there.
            weight: u32::from(alone),
            ..proxy.default_server.clone()
        };
        if alone {
            // Disables the reuse of server connections, since each client has its own destination.
            proxy.reuse = ReuseMode::Never;
        } else {
            proxy.dispatch_server = Some(ServerIndex(proxy.servers.len() as u32));
        }
        proxy.servers.push(Server {
            span,
            id: 0,
            name: name.into(),
            address_text: name.into(),
            address,
            options: ServerOptions {
                check: false,
                ..options
            },
            state: Arc::new(ServerState::new(name, Arc::clone(&proxy.state))),
            way: 0,
            host: None,
            tracks: None,
            added: None,
        });
    }
    loader.report_all(told);
}

fn session_connections(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let count = args.count("a number of connections", 0..=i32::MAX as u32)?;
    loader.proxy().own_connections_max = Some(count);
    args.end()
}

fn keep_alive_queue(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let count = args.integer("an integer value", -1..=i64::from(i32::MAX))?;
    loader.proxy().keep_alive_queue_max = Some(u32::try_from(count).unwrap_or(u32::MAX));
    args.end()
}

#[cfg(test)]
mod tests {
    use crate::testing::{backend, codes_of};
    use model::config::{ServerAddress, ServerIndex};

    #[test]
    fn a_dispatch_stands_for_a_server() {
        let alone = backend("dispatch 127.0.0.1:8080");
        let address = "127.0.0.1:8080".parse().unwrap();
        assert_eq!(alone.servers[0].address, ServerAddress::Inet(address));
        assert_eq!(
            (alone.servers[0].options.weight, alone.dispatch_server),
            (1, None)
        );
        let beside = backend("dispatch 127.0.0.1:8080\nserver a 127.0.0.1:1");
        assert_eq!(beside.dispatch_server, Some(ServerIndex(1)));
        assert_eq!(beside.servers[1].options.weight, 0);
        let ignored = "balance roundrobin\ndispatch 127.0.0.1:8080\nserver a 127.0.0.1:1";
        assert_eq!(codes_of(ignored), ["W0116"]);
        assert_eq!(backend("option transparent").servers.len(), 1);
        assert_eq!(codes_of("dispatch 127.0.0.1"), ["E0208"]);
    }

    #[test]
    fn every_example_loads() {
        for row in super::LINES
            .iter()
            .filter(|row| row.places.contains(&"backend"))
        {
            assert_eq!(codes_of(row.example), Vec::<&str>::new(), "{}", row.name());
        }
    }
}
