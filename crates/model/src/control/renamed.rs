//! Lets a renamed server start down if it was down. States are kept by name, and a new server
//! starts up. If a reload only renames a server that is down, or its backend, or moves a server
//! to the address of one that is down, clients must not try it.

use crate::config::target::{CheckAddress, target};
use crate::config::{Config, Proxy, Server};
use crate::state::HealthState;
use std::collections::{HashMap, HashSet};

/// Servers of the older configuration that were down and that the newer configuration does not
/// contain at the same address, by the address that checks query.
#[derive(Default)]
pub(super) struct FoundDown<'c>(HashMap<CheckAddress, Vec<&'c Proxy>>);

impl<'c> FoundDown<'c> {
    pub(super) fn of(old: &'c Config, new: &Config) -> Self {
        let servers = |proxy: &'c Proxy| proxy.servers.iter().map(move |s| (proxy, s));
        let all = old.proxies.iter().flat_map(servers);
        let down = all.filter(|(_, server)| !server.state.is_up());
        let mut down: Vec<(&Proxy, &Server)> = down.collect();
        if down.is_empty() {
            return FoundDown::default();
        }
        let named = |proxy: &Proxy| {
            let name = proxy.name.clone();
            let servers = proxy.servers.iter();
            let servers = servers.map(|server| (server.name.clone(), target(server)));
            servers
                .map(move |server| (name.clone(), server))
                .collect::<Vec<_>>()
        };
        let stay: HashSet<_> = new.proxies.iter().flat_map(named).collect();
        down.retain(|(proxy, server)| {
            let server = (server.name.clone(), target(server));
            !stay.contains(&(proxy.name.clone(), server))
        });
        let mut found = FoundDown::default();
        for (proxy, server) in down {
            let report = server.state.report(0);
            if report.checked && report.health == HealthState::Down {
                let asked = target(server).into_iter();
                asked.for_each(|place| found.0.entry(place).or_default().push(proxy));
            }
        }
        found
    }

    /// Returns whether an older server that was down was checked in the same way at the same
    /// address.
    pub(super) fn has(&self, proxy: &Proxy, server: &Server) -> bool {
        if self.0.is_empty() || !server.options.check {
            return false;
        }
        let asked = target(server).and_then(|place| self.0.get(&place));
        asked.is_some_and(|asked| asked.iter().any(|old| old.check.asks_as(&proxy.check)))
    }
}
