//! Summarizes how well the proxy serves in a few numbers, read from existing counters and states,
//! so that serving clients costs nothing extra.

use super::judge;
use crate::runtime::Runtime;
use model::config::{BindAddress, Config, Mode, Proxy};
use model::state::Tally;
use protocol::vitals::{STALE_AFTER_MS, SlotState, Vitals};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const FRONTENDS_MAX: usize = 1_000;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    /// Number of requests (HTTP) and sessions (TCP) of frontends.
    pub requests: u64,
    /// Number of 5xx responses and failed connections to servers.
    pub errors: u64,
    pub servers_up: u64,
    /// Number of servers with checks.
    pub servers: u64,
    pub frontends: Vec<FrontendSummary>,
    pub addresses_owned: u64,
    pub addresses: u64,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FrontendSummary {
    pub name: String,
    /// Addresses at which the frontend accepts TCP connections from this machine. Addresses that
    /// another machine has are left out. If the frontend accepts HTTP without TLS at some of them,
    /// only those are listed.
    pub listens: Vec<SocketAddr>,
    /// All listed addresses accept HTTP without TLS.
    pub http: bool,
    /// The frontend can serve at least some streams.
    pub usable: bool,
}

/// Returns the address at which this machine reaches one of its own listeners.
fn reached(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn frontend(proxy: &Proxy, usable: bool, elsewhere: &[IpAddr]) -> FrontendSummary {
    let inet = proxy.binds.iter().filter(|bind| !bind.datagrams);
    let inet = inet.filter_map(|bind| match bind.address {
        BindAddress::Inet(address) => Some((bind, address)),
        _ => None,
    });
    // Excludes listeners with TLS or a PROXY header, which a synthetic request does not use.
    let plain = |bind: &model::config::Bind| {
        bind.tls_words.is_none() && bind.preface == model::config::Preface::default()
    };
    let here = inet
        .map(|(bind, address)| (bind, reached(address)))
        .filter(|(_, address)| !elsewhere.contains(&address.ip()));
    let plainly = here.clone().filter(|(bind, _)| plain(bind));
    let http = proxy.mode == Mode::Http && plainly.clone().next().is_some();
    FrontendSummary {
        name: proxy.name.to_string(),
        http,
        listens: if http {
            plainly.map(|(_, address)| address).collect()
        } else {
            here.map(|(_, address)| address).collect()
        },
        usable,
    }
}

pub fn summary(runtime: &Runtime) -> Summary {
    let config = runtime.config();
    let mut all = Summary::default();
    let elsewhere = addresses(runtime, &config, &mut all);
    for proxy in config.proxies.iter().filter(|proxy| !proxy.disabled) {
        if proxy.kind.is_frontend() {
            let counters = &proxy.state.frontend;
            all.requests += counters.counters.read(match proxy.mode {
                Mode::Http => Tally::Requests,
                Mode::Tcp | Mode::Log => Tally::Sessions,
            });
            all.errors += counters.counters.read(Tally::Status5xx);
            if all.frontends.len() < FRONTENDS_MAX && !proxy.binds.is_empty() {
                let usable = judge::is_usable(&config, proxy);
                all.frontends.push(frontend(proxy, usable, &elsewhere));
            }
        }
        if proxy.kind.is_backend() {
            all.errors += proxy.state.backend.counters.read(Tally::ConnectErrors);
            let checked = proxy.servers.iter().filter(|server| server.options.check);
            for server in checked {
                all.servers += 1;
                all.servers_up += u64::from(server.state.usable());
            }
        }
    }
    all
}

/// Counts the virtual addresses, and returns those that this machine does not have.
fn addresses(runtime: &Runtime, config: &Config, all: &mut Summary) -> Vec<IpAddr> {
    let vitals = runtime.vitals.memory().map(|(vitals, _)| vitals);
    let alive = |vitals: &Vitals<'_>| {
        super::now_ms().saturating_sub(vitals.role_heartbeat_ms()) <= STALE_AFTER_MS
    };
    let vitals = vitals.filter(alive);
    let mut elsewhere = Vec::new();
    for service in &config.services {
        let addresses = service.addresses.len() as u64;
        all.addresses += addresses;
        let told =
            vitals.and_then(|vitals| Some(vitals.read_slot_report(vitals.find(&service.name)?)));
        if told.is_some_and(|told| told.state == SlotState::Master) {
            all.addresses_owned += addresses
        } else {
            elsewhere.extend(&service.addresses)
        }
    }
    elsewhere
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyword::testing::load_text;

    #[test]
    fn listener_address_is_reachable_from_this_machine() {
        let text = "frontend f\n mode http\n bind :80\n bind 192.0.2.1:81\n bind [::]:82\n bind /tmp/x\n\
                    frontend t\n mode http\n bind 127.0.0.1:1 accept-proxy\n\
                    frontend b\n mode tcp\n bind 127.0.0.1:2\n";
        let both = "frontend w\n mode http\n bind 127.0.0.1:443 accept-proxy\n bind 127.0.0.1:80\n";
        let text = format!("{text}{both}");
        let config = load_text(&text).config.expect("no error");
        let told = |at: usize| frontend(&config.proxies[at], true, &[[192, 0, 2, 1].into()]);
        let listens: Vec<String> = told(0).listens.iter().map(ToString::to_string).collect();
        assert_eq!(listens, ["127.0.0.1:80", "[::1]:82"]);
        assert!(told(0).http && !told(1).http && !told(2).http);
        // A typical site also listens with TLS; the check uses the listener without.
        assert_eq!(
            (told(3).http, told(3).listens),
            (true, vec!["127.0.0.1:80".parse().unwrap()])
        );
    }
}
