//! Determines which targets a user of the gateway may connect to: the farm by its name and its
//! addresses, and the hosts of the farm.

use crate::config::Farm;
use std::net::{IpAddr, SocketAddr};

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum TunnelTarget {
    /// The farm itself, at this address. The farm decides the host.
    Farm(SocketAddr),
    Host {
        name: String,
        address: SocketAddr,
    },
}

impl TunnelTarget {
    /// Returns the target for the first of these names that a user of the farm may use. `here` is
    /// the local address of the client's connection to the gateway. Returns None if there is none.
    pub(super) fn find(
        farm: &Farm,
        here: IpAddr,
        names: &[String],
        port: u16,
    ) -> Option<TunnelTarget> {
        names
            .iter()
            .find_map(|name| TunnelTarget::of(farm, here, name, port))
    }

    fn of(farm: &Farm, here: IpAddr, name: &str, port: u16) -> Option<TunnelTarget> {
        let name = name.trim_end_matches('.').trim_matches(['[', ']']);
        let ip = name.parse::<IpAddr>().ok().map(|ip| ip.to_canonical());
        let gateway = farm.gateway.as_ref().map(|gateway| gateway.name.as_str());
        let mut own = std::iter::once(farm.name.as_str()).chain(gateway);
        let is_own = own.any(|own| !own.is_empty() && own.eq_ignore_ascii_case(name));
        let is_here = |bind: IpAddr| {
            if bind.is_unspecified() {
                ip == Some(here.to_canonical())
            } else {
                ip == Some(bind.to_canonical())
            }
        };
        let mut binds = farm.binds.iter().map(|bind| bind.address);
        let bind = binds.find(|bind| bind.port() == port && (is_own || is_here(bind.ip())));
        if let Some(bind) = bind {
            return Some(TunnelTarget::Farm(bind));
        }
        let is_host = |host: &SocketAddr| Some(host.ip().to_canonical()) == ip;
        let mut hosts = farm.hosts.iter();
        let (host, found) = hosts.find(|(known, host)| {
            let is_named = known.eq_ignore_ascii_case(name) || is_host(&host.address);
            is_named && host.address.port() == port
        })?;
        Some(TunnelTarget::Host {
            name: host.clone(),
            address: found.address,
        })
    }

    pub(super) fn shown(&self) -> &str {
        match self {
            TunnelTarget::Farm(_) => "the farm",
            TunnelTarget::Host { name, .. } => name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Balance, Bind, Check, Gateway, SessionHost, Sessions, Tokens};

    fn farm(bind: &str) -> Farm {
        let host = SessionHost {
            address: "10.0.0.11:3390".parse().unwrap(),
            weight: 1,
            drained: false,
        };
        Farm {
            name: "desktop.example.org".to_owned(),
            binds: vec![Bind {
                address: bind.parse().unwrap(),
                pem: Vec::new(),
                accepts_proxy: false,
            }],
            hosts: [("ts1".to_owned(), host)].into(),
            balance: Balance::Load,
            check: Check::default(),
            sessions: Sessions::default(),
            tokens: Tokens::default(),
            maxconn: 10,
            users: Default::default(),
            web: Vec::new(),
            portal: None,
            gateway: Some(Gateway {
                name: "gate.example.org".to_owned(),
                port: 443,
                idle_ms: None,
                session_ms: None,
            }),
            agents: Default::default(),
            proxies: Default::default(),
        }
    }

    fn find(bind: &str, names: &[&str], port: u16) -> Option<TunnelTarget> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        TunnelTarget::find(&farm(bind), [192, 0, 2, 1].into(), &names, port)
    }

    #[test]
    fn the_farm_and_its_hosts_can_be_reached_and_nothing_else() {
        let own = |bind: &str| Some(TunnelTarget::Farm(bind.parse().unwrap()));
        let host = Some(TunnelTarget::Host {
            name: "ts1".to_owned(),
            address: "10.0.0.11:3390".parse().unwrap(),
        });
        let (one, all) = ("192.0.2.10:3389", "[::]:3389");
        let table: [(&str, &[&str], u16, Option<TunnelTarget>); 15] = [
            (one, &["desktop.example.org"], 3389, own(one)),
            (one, &["Desktop.Example.ORG."], 3389, own(one)),
            (one, &["gate.example.org"], 3389, own(one)),
            (one, &["192.0.2.10"], 3389, own(one)),
            (one, &["desktop.example.org"], 22, None),
            (one, &["192.0.2.1"], 3389, None),
            (all, &["192.0.2.1"], 3389, own(all)),
            (all, &["::ffff:192.0.2.1"], 3389, own(all)),
            (all, &["127.0.0.1"], 3389, None),
            (all, &["0.0.0.0"], 3389, None),
            (one, &["TS1"], 3390, host.clone()),
            (one, &["10.0.0.11"], 3390, host.clone()),
            (one, &["ts1"], 3389, None),
            (one, &["evil.example.org", "ts1"], 3390, host),
            (one, &["", "localhost", "10.0.0.12"], 3389, None),
        ];
        for (bind, names, port, expected) in table {
            assert_eq!(find(bind, names, port), expected, "{bind} {names:?} {port}");
        }
    }
}
