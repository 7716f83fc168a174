//! Options about health checks.

use super::{port, set, time_above_zero};
use crate::family::Loader;
use crate::family::server::resolve;
use crate::family::{Args, Built, ServerRow, places};
use language::value::{self, Accepts, Host, PortRule};
use language::{Diagnostic, Word};
use model::codes;
use model::config::{HealthCheck, ServerAddress, ServerOptions};
use std::sync::Arc;

/// The options of this family.
pub static OPTIONS: &[ServerRow] = &[
    ServerRow {
        places: places::SERVER,
        syntax: "check",
        doc: "Enables health checks for the server: by a connection, or as `option httpchk` and similar options \
            define. Without it the server always counts as up.",
        example: "server web1 192.0.2.11:8080 check",
        build: |_, options, _| set(&mut options.check, true),
    },
    ServerRow {
        places: places::SERVER,
        syntax: "no-check",
        doc: "Cancels `check` of `default-server`.",
        example: "server web1 192.0.2.11:8080 no-check",
        build: |_, options, _| set(&mut options.check, false),
    },
    ServerRow {
        places: places::SERVER,
        syntax: "inter <time>",
        doc: "Interval between two checks; the default is 2s. It also limits the duration of a check without `timeout \
            check`.",
        example: "server web1 192.0.2.11:8080 check inter 5s",
        build: |_, options, args| set(&mut options.inter_ms, time_above_zero(args)?),
    },
    ServerRow {
        places: places::SERVER,
        syntax: "fastinter <time>",
        doc: "Interval between two checks while the server is changing state. The default is `inter`.",
        example: "server web1 192.0.2.11:8080 check fastinter 500ms",
        build: |_, options, args| set(&mut options.fastinter_ms, Some(time_above_zero(args)?)),
    },
    ServerRow {
        places: places::SERVER,
        syntax: "downinter <time>",
        doc: "Interval between two checks of a server that is down. The default is `inter`.",
        example: "server web1 192.0.2.11:8080 check downinter 10s",
        build: |_, options, args| set(&mut options.downinter_ms, Some(time_above_zero(args)?)),
    },
    ServerRow {
        places: places::SERVER,
        syntax: "rise <count>",
        doc: "Number of consecutive successful checks after which a server that is down counts as up; the default is \
            2.",
        example: "server web1 192.0.2.11:8080 check rise 3",
        build: |_, options, args| set(&mut options.rise, args.count("<count>", 1..=STREAK_MAX)?),
    },
    ServerRow {
        places: places::SERVER,
        syntax: "fall <count>",
        doc: "Number of consecutive failed checks after which a server that is up counts as down; the default is 3. \
            After the start, the first failed check is enough.",
        example: "server web1 192.0.2.11:8080 check fall 2",
        build: |_, options, args| set(&mut options.fall, args.count("<count>", 1..=STREAK_MAX)?),
    },
    ServerRow {
        places: places::SERVER,
        syntax: "port <port>",
        doc: "Port for health checks, instead of the server's own. Required for the checks of a server without a port.",
        example: "server web1 192.0.2.11:8080 check port 8081",
        build: |_, options, args| set(&mut options.check_port, port(args)?),
    },
    ServerRow {
        places: places::SERVER,
        syntax: "addr <address>[:<port>]",
        doc: "Address for health checks, instead of the server's own, if another address shows the health of the \
            service.",
        example: "server web1 192.0.2.11:8080 check addr 192.0.2.111",
        build: addr,
    },
    ServerRow {
        places: places::SERVER,
        syntax: "check-send-proxy",
        doc: "Begins health checks with a PROXY header. With neither `port` nor `addr`, `send-proxy` alone is enough.",
        example: "server web1 192.0.2.11:8080 check check-send-proxy",
        build: |_, options, _| set(&mut options.check_send_proxy, true),
    },
    ServerRow {
        places: places::SERVER,
        syntax: "no-check-send-proxy",
        doc: "Cancels `check-send-proxy` of `default-server`.",
        example: "server web1 192.0.2.11:8080 check no-check-send-proxy",
        build: |_, options, _| set(&mut options.check_send_proxy, false),
    },
    ServerRow {
        places: places::SERVER,
        syntax: "check-via-socks4",
        doc: "Sends health checks through the `socks4` proxy, too. By default they do not use it.",
        example: "server web1 192.0.2.11:8080 socks4 192.0.2.99:1080 check check-via-socks4",
        build: |_, options, _| set(&mut options.check_via_socks4, true),
    },
    ServerRow {
        places: places::SERVER,
        syntax: "socks4 <addr>:<port>",
        doc: "Connects to the server through a SOCKS4 proxy, which only supports IPv4 addresses. Add \
            `check-via-socks4` for health checks.",
        example: "server web1 192.0.2.11:8080 socks4 192.0.2.99:1080",
        build: socks4,
    },
    ServerRow {
        places: places::SERVER,
        syntax: "healthcheck <name>",
        doc: "Uses the checks of this `healthcheck` section for the server, instead of those of its backend.",
        example: "healthcheck web\n    type httpchk GET /health\nbackend www\n    server web1 192.0.2.11:8080 check healthcheck web",
        build: health_check,
    },
];

/// More checks in a row than any server is worth.
const STREAK_MAX: u32 = 1_000_000;

fn addr(loader: &mut Loader, options: &mut ServerOptions, args: &mut Args<'_>) -> Built {
    let word = args.required("<address>")?;
    options.check_host = Some(check_address(loader, word)?);
    Ok(())
}

/// An address that checks go to, with a port or without.
pub(in crate::family) fn check_address(
    loader: &mut Loader,
    word: &Word,
) -> Result<ServerAddress, Diagnostic> {
    let accepts = Accepts {
        port: PortRule::Optional,
        offset: false,
        ..Accepts::SERVER
    };
    let address = loader.address(word, word.str(), &accepts, "addr")?;
    let ip = match address.host {
        Host::Ip(ip) => ip,
        Host::Name(name) => match resolve(loader, &name, address.family) {
            Some(ip) => ip,
            None if !loader.context.options.resolve_names => return Ok(ServerAddress::Unresolved),
            None => {
                return Err(Diagnostic::error(
                    &codes::UNRESOLVED_HOST,
                    word.span,
                    format!("'addr': could not resolve address '{name}'"),
                )
                .label("does not resolve"));
            }
        },
        Host::Path(path) => return Ok(ServerAddress::Unix(path.into())),
        _ => {
            return Err(Diagnostic::error(
                &codes::BAD_ADDRESS,
                word.span,
                format!("'addr' does not support '{}'", word.text()),
            )
            .label("expected an IP address or host name"));
        }
    };
    Ok(match address.port {
        value::Port::One(port) if port != 0 => ServerAddress::Inet((ip, port).into()),
        _ => ServerAddress::SamePort(ip, 0),
    })
}

fn socks4(loader: &mut Loader, options: &mut ServerOptions, args: &mut Args<'_>) -> Built {
    let word = args.required("<addr>:<port>")?;
    match check_address(loader, word)? {
        ServerAddress::Inet(address) => options.socks4 = Some(address),
        ServerAddress::Unresolved => {}
        _ => {
            return Err(Diagnostic::error(
                &codes::BAD_ADDRESS,
                word.span,
                format!("'socks4' does not support '{}'", word.text()),
            )
            .label("expected an address and a port"));
        }
    }
    Ok(())
}

fn health_check(_: &mut Loader, options: &mut ServerOptions, args: &mut Args<'_>) -> Built {
    let word = args.required("<name>")?;
    // The section may stand below: it is looked for at the end.
    options.health_check = Some(Arc::new(HealthCheck {
        name: word.text().into(),
        span: word.span,
        ..HealthCheck::default()
    }));
    Ok(())
}
