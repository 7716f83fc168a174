//! Completes backends in `mode log` at the end of loading, and checks the `log` lines that refer to
//! them.

use super::{Loader, codes};
use language::Diagnostic;
use model::config::{
    Balance, HashKey, Hashed, LogServers, LogTarget, LogTargetAddress, Mode, Proxy, Ring,
    RingServer, RingTls, Server, ServerAddress,
};
use model::rules::action_codes;
use std::sync::Arc;

/// Maximum length of a message to a TCP server, bytes.
const LINE_MAX: usize = 65_535;
/// Buffer size per TCP server, bytes.
const WAITING_BYTES: usize = 1 << 20;

impl Loader {
    /// Collects the servers of all backends in `mode log`, and reports `log` lines that refer to
    /// other backends or to none.
    pub(super) fn finish_log_backends(&mut self) {
        let mut told = Vec::new();
        for proxy in &mut self.config.proxies {
            match proxy.mode {
                Mode::Log => match servers(proxy) {
                    Ok(servers) => proxy.log_servers = Some(Arc::new(servers)),
                    Err(diagnostic) => told.push(diagnostic),
                },
                Mode::Tcp | Mode::Http => told.extend(report_log_only_settings(proxy)),
            }
        }
        let config = &self.config;
        let of_proxies = config.proxies.iter().flat_map(|proxy| &proxy.logs);
        let of_sections = config.log_forwards.iter().flat_map(|section| &section.logs);
        let of_apps = config.fcgi_apps.iter().flat_map(|app| &app.logs);
        let all = config.global.logs.iter().chain(of_proxies).chain(of_apps);
        for target in all.chain(of_sections) {
            let LogTargetAddress::Backend(name) = &target.address else {
                continue;
            };
            let found = config.backend(name).map(|index| config.proxy(index));
            if found.is_none_or(|backend| backend.mode != Mode::Log) {
                told.push(no_backend(target, name, found));
            }
        }
        // Removes repetitions in sequence: a `log` line of `global` applies to many proxies.
        told.dedup_by(|a, b| a.message == b.message);
        self.report_all(told);
    }
}

fn no_backend(target: &LogTarget, name: &str, found: Option<&Proxy>) -> Diagnostic {
    let (told, help) = match found {
        None => (
            format!("unable to find the backend '{name}' to log to"),
            "add a `backend` with this name and `mode log`",
        ),
        Some(_) => (
            format!("backend '{name}' is not in 'mode log'"),
            "add `mode log` to it",
        ),
    };
    Diagnostic::error(&action_codes::BAD_LOG_TARGET, target.span, told)
        .label("cannot receive log messages")
        .help(help)
}

fn report_log_only_settings(proxy: &Proxy) -> Option<Diagnostic> {
    let only_here = match &proxy.balance {
        _ if proxy.balance_sticky => Some("sticky"),
        Balance::Hash(hashed) if is_message_hash(hashed) => Some("log-hash"),
        _ => None,
    };
    if let Some(algorithm) = only_here {
        let told = format!("'balance {algorithm}' of '{}' needs 'mode log'", proxy.name);
        return Some(Diagnostic::error(&codes::WRONG_MODE, proxy.span, told));
    }
    let mut servers = proxy.servers.iter();
    let server = servers.find(|server| server.options.datagrams)?;
    let told = format!(
        "server '{}/{}' uses datagrams, which require 'mode log'",
        proxy.name, server.name
    );
    Some(
        Diagnostic::error(&codes::WRONG_MODE, server.span, told)
            .label("not supported in this mode"),
    )
}

fn is_message_hash(hashed: &Hashed) -> bool {
    matches!(hashed.key, HashKey::Message(_))
}

fn servers(proxy: &Proxy) -> Result<LogServers, Diagnostic> {
    let wrong = |told: String, label: &str| {
        Diagnostic::error(&codes::WRONG_MODE, proxy.span, told).label(label)
    };
    if proxy.kind.is_frontend() {
        return Err(wrong(
            format!(
                "'mode log' is not supported in {} '{}'",
                proxy.kind.name(),
                proxy.name
            ),
            "`log-forward` receives messages, and `log` lines name backends",
        ));
    }
    let is_for_messages = match &proxy.balance {
        Balance::RoundRobin | Balance::Random(_) => true,
        Balance::First => proxy.balance_sticky,
        Balance::Hash(hashed) => is_message_hash(hashed),
        _ => false,
    };
    if !is_for_messages {
        return Err(wrong(
            format!(
                "the 'balance' of backend '{}' is not supported in 'mode log'",
                proxy.name
            ),
            "supported: `roundrobin`, `random`, `log-hash` and `sticky`",
        ));
    }
    let addresses: Result<_, _> = proxy.servers.iter().map(|s| address(proxy, s)).collect();
    Ok(LogServers {
        addresses: addresses?,
        sticky: proxy.balance_sticky,
    })
}

fn address(proxy: &Proxy, server: &Server) -> Result<LogTargetAddress, Diagnostic> {
    let ServerAddress::Inet(to) = server.address else {
        let told = format!(
            "server '{}/{}' has no address and port for log messages",
            proxy.name, server.name
        );
        return Err(
            Diagnostic::error(&action_codes::BAD_LOG_TARGET, server.span, told)
                .label("an address and a port are required"),
        );
    };
    if server.options.datagrams {
        return Ok(LogTargetAddress::Udp(to));
    }
    let mut ring = Ring::new(&format!("{}/{}", proxy.name, server.name), server.span);
    ring.line_max = LINE_MAX;
    ring.size = WAITING_BYTES;
    ring.connect_ms = proxy.timeouts.connect_ms;
    ring.server_ms = proxy.timeouts.server_ms;
    ring.servers.push(RingServer {
        name: server.name.clone(),
        address: to,
        counted: server.options.log_counted,
        tls: RingTls(server.options.tls.for_traffic().cloned()),
    });
    Ok(LogTargetAddress::Ring(Arc::new(ring)))
}

#[cfg(test)]
mod tests {
    use crate::testing::load_text;
    use model::config::LogTargetAddress;

    #[test]
    fn a_backend_for_logs_knows_where_its_servers_are() {
        let loaded = load_text(
            "global\n log backend@logs local0\nfrontend f\n bind 127.0.0.1:1\n timeout client 1s\n log global\n\
             backend logs\n mode log\n balance sticky\n server u udp@127.0.0.1:514\n server t 127.0.0.1:514 log-proto octet-count\n",
        );
        let config = loaded
            .config
            .unwrap_or_else(|| panic!("{:?}", loaded.diagnostics));
        let backend = config.proxy(config.backend("logs").unwrap());
        let servers = backend.log_servers.as_ref().unwrap();
        assert!(matches!(servers.addresses[0], LogTargetAddress::Udp(_)));
        let LogTargetAddress::Ring(ring) = &servers.addresses[1] else {
            panic!("not over TCP")
        };
        assert!(ring.servers[0].counted && servers.sticky);
        assert_eq!(model::log::targets(&config).len(), 2);
    }

    #[test]
    fn what_does_not_fit_logs_is_refused() {
        for (text, code) in [
            (
                "backend b\n mode log\n balance leastconn\n server s udp@127.0.0.1:514\n",
                "E0109",
            ),
            ("backend b\n server s udp@127.0.0.1:514\n", "E0109"),
            (
                "backend b\n balance sticky\n server s 127.0.0.1:514\n",
                "E0109",
            ),
            ("listen l\n bind 127.0.0.1:1\n mode log\n", "E0109"),
            ("backend b\n mode log\n server s udp@127.0.0.1\n", "E0512"),
            ("backend b\n log backend@none local0\n", "E0512"),
            ("backend b\n log backend@b local0\n", "E0512"),
        ] {
            let loaded = load_text(text);
            let mut codes = loaded.diagnostics.iter().map(|told| told.code.id);
            let wrong_mode = model::codes::WRONG_MODE.id;
            let code = if code == "E0109" { wrong_mode } else { code };
            assert!(codes.any(|told| told == code), "{text}");
        }
    }
}
