//! Builds the options of servers for health checks: intervals, addresses and ports, and their
//! limits.

use super::{port, set, time_above_zero};
use crate::family::Loader;
use crate::family::server::{resolve, unresolved_line};
use crate::family::{Args, Built, ServerRow, places};
use language::value::{self, Accepts, AddressHost, PortRule};
use language::{ConfigWord, Diagnostic, Severity};
use model::codes;
use model::config::{HealthCheck, ServerAddress, ServerOptions};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

pub static OPTIONS: &[ServerRow] = language::rows! {
    "check" places::SERVER, |_, options, _| set(&mut options.check, true),
        "server web1 192.0.2.11:8080 check",
        "Enables health checks for the server: by a connection, or as `option httpchk` and similar options define. \
         Without it the server always counts as up.";
    "no-check" places::SERVER, |_, options, _| set(&mut options.check, false),
        "server web1 192.0.2.11:8080 no-check",
        "Cancels `check` of `default-server`.";
    "inter <time>" places::SERVER,
        |_, options, args| set(&mut options.inter_ms, time_above_zero(args)?),
        "server web1 192.0.2.11:8080 check inter 5s",
        "Interval between two checks; the default is 2s. It also limits the duration of a check without `timeout \
         check`.";
    "fastinter <time>" places::SERVER,
        |_, options, args| set(&mut options.fastinter_ms, Some(time_above_zero(args)?)),
        "server web1 192.0.2.11:8080 check fastinter 500ms",
        "Interval between two checks while the server is changing state. The default is `inter`.";
    "downinter <time>" places::SERVER,
        |_, options, args| set(&mut options.downinter_ms, Some(time_above_zero(args)?)),
        "server web1 192.0.2.11:8080 check downinter 10s",
        "Interval between two checks of a server that is down. The default is `inter`.";
    "rise <count>" places::SERVER,
        |_, options, args| set(&mut options.rise, args.count("<count>", 1..=STREAK_MAX)?),
        "server web1 192.0.2.11:8080 check rise 3",
        "Number of consecutive successful checks after which a server that is down counts as up; the default is 2.";
    "fall <count>" places::SERVER,
        |_, options, args| set(&mut options.fall, args.count("<count>", 1..=STREAK_MAX)?),
        "server web1 192.0.2.11:8080 check fall 2",
        "Number of consecutive failed checks after which a server that is up counts as down; the default is 3. After \
         the start, the first failed check is enough.";
    "port <port>" places::SERVER, |_, options, args| set(&mut options.check_port, port(args)?),
        "server web1 192.0.2.11:8080 check port 8081",
        "Port for health checks, instead of the server's own. Required for the checks of a server without a port.";
    "addr <address>[:<port>]" places::SERVER, addr,
        "server web1 192.0.2.11:8080 check addr 192.0.2.111",
        "Address for health checks, instead of the server's own, if another address shows the health of the service.";
    "check-send-proxy" places::SERVER, |_, options, _| set(&mut options.check_send_proxy, true),
        "server web1 192.0.2.11:8080 check check-send-proxy",
        "Begins health checks with a PROXY header. With neither `port` nor `addr`, `send-proxy` alone is enough.";
    "no-check-send-proxy" places::SERVER, |_, options, _| set(&mut options.check_send_proxy, false),
        "server web1 192.0.2.11:8080 check no-check-send-proxy",
        "Cancels `check-send-proxy` of `default-server`.";
    "check-via-socks4" places::SERVER, |_, options, _| set(&mut options.check_via_socks4, true),
        "server web1 192.0.2.11:8080 socks4 192.0.2.99:1080 check check-via-socks4",
        "Sends health checks through the `socks4` proxy, too. By default they do not use it.";
    "socks4 <addr>:<port>" places::SERVER, socks4,
        "server web1 192.0.2.11:8080 socks4 192.0.2.99:1080",
        "Connects to the server through a SOCKS4 proxy, which only supports IPv4 addresses. Add `check-via-socks4` for \
         health checks.";
    "healthcheck <name>" places::SERVER, health_check,
        "healthcheck web\n    type httpchk GET /health\nbackend www\n    server web1 192.0.2.11:8080 check healthcheck web",
        "Uses the checks of this `healthcheck` section for the server, instead of those of its backend.";
};

const STREAK_MAX: u32 = 1_000_000;

fn addr(loader: &mut Loader, options: &mut ServerOptions, args: &mut Args<'_>) -> Built {
    let word = args.required("<address>")?;
    options.check_host = Some(check_address(loader, word)?);
    Ok(())
}

/// Returns the address for the checks of a server until their host name resolves. No connection to
/// it succeeds, so the checks fail and never reach the address of the server instead.
///
/// # Errors
/// Returns the error about the name if this load must resolve all names.
pub(super) fn unreachable_address(
    loader: &mut Loader,
    word: &ConfigWord,
    keyword: &str,
    name: &str,
) -> Result<IpAddr, Diagnostic> {
    let refusal = unresolved_line(loader, word, keyword, name);
    if refusal.severity == Severity::Error {
        return Err(refusal);
    }
    loader.report(refusal.label("checks fail until the name resolves"));
    Ok(Ipv4Addr::BROADCAST.into())
}

/// Parses the address for checks, with or without a port.
pub(in crate::family) fn check_address(
    loader: &mut Loader,
    word: &ConfigWord,
) -> Result<ServerAddress, Diagnostic> {
    let accepts = Accepts {
        port: PortRule::Optional,
        offset: false,
        ..Accepts::SERVER
    };
    let address = loader.address(word, word.str(), &accepts, "addr")?;
    let ip = match address.host {
        AddressHost::Ip(ip) => ip,
        AddressHost::Name(name) => match resolve(loader, &name, address.family) {
            Some(ip) => ip,
            None if !loader.context.options.resolve_names => return Ok(ServerAddress::Unresolved),
            None => unreachable_address(loader, word, "addr", &name)?,
        },
        AddressHost::Path(path) => return Ok(ServerAddress::Unix(path.into())),
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
    // Stores the name only: the section may follow later in the file.
    options.health_check = Some(Arc::new(HealthCheck {
        name: word.text().into(),
        span: word.span,
        ..HealthCheck::default()
    }));
    Ok(())
}
