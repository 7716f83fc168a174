//! Servers of another name, or of a backend of another name, at a place that
//! checks have found down: a change must not make clients try it. States go by
//! name, and a new one begins up; this is the exception, and of nothing but
//! what the checks found.

use crate::config::target::{Target, target};
use crate::config::{Config, Proxy, Server};
use crate::state::HealthState;
use std::collections::{HashMap, HashSet};

/// The servers of an older tree that checks have found down and that the newer
/// one does not have, by the place that was asked.
#[derive(Default)]
pub(super) struct FoundDown<'c>(HashMap<Target, Vec<&'c Proxy>>);

impl<'c> FoundDown<'c> {
    pub(super) fn of(old: &'c Config, new: &Config) -> Self {
        let all = |config: &'c Config| {
            let servers = |proxy: &'c Proxy| proxy.servers.iter().map(move |s| (proxy, s));
            config.proxies.iter().flat_map(servers)
        };
        let mut down: Vec<(&Proxy, &Server)> =
            all(old).filter(|(_, server)| !server.state.up()).collect();
        if down.is_empty() {
            return FoundDown::default();
        }
        let named = |proxy: &Proxy| {
            let name = proxy.name.clone();
            let servers = proxy.servers.iter().map(|server| server.name.clone());
            servers
                .map(move |server| (name.clone(), server))
                .collect::<Vec<_>>()
        };
        let stay: HashSet<_> = new.proxies.iter().flat_map(named).collect();
        down.retain(|(proxy, server)| !stay.contains(&(proxy.name.clone(), server.name.clone())));
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

    /// Whether one of them was asked the same at the same place as a server is.
    pub(super) fn has(&self, proxy: &Proxy, server: &Server) -> bool {
        if self.0.is_empty() || !server.options.check {
            return false;
        }
        let asked = target(server).and_then(|place| self.0.get(&place));
        asked.is_some_and(|asked| asked.iter().any(|old| old.check.asks_as(&proxy.check)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::install;
    use crate::keyword::testing::load_text;
    use crate::state::{CheckResult, CheckStatus, now_ms};

    fn tree(text: &str, old: Option<&Config>) -> Config {
        let mut config = load_text(text).config.expect("the file is good");
        install(&mut config, old, now_ms());
        config
    }

    fn backend(name: &str, server: &str, rest: &str) -> String {
        format!("listen {name}\n bind 127.0.0.1:1\n server {server}\n{rest}")
    }

    #[test]
    fn a_place_that_is_down_stays_down_under_another_name_unless_other_is_asked_there() {
        let check = " option httpchk GET /alive\n";
        for (name, server, rest, up) in [
            ("b", "s 127.0.0.1:80 check", check, false),
            ("b", "other 127.0.0.1:80 check", check, false),
            ("other", "s 127.0.0.1:80 check weight 7", check, false),
            ("other", "s 127.0.0.1:81 check", check, true),
            ("other", "s 127.0.0.1:81 check port 80", check, false),
            ("other", "s 127.0.0.1:80", check, true),
            ("other", "s 127.0.0.1:80 check", "", true),
            (
                "other",
                "s 127.0.0.1:80 check",
                " option httpchk GET /\n",
                true,
            ),
        ] {
            let old = tree(&backend("b", "s 127.0.0.1:80 check", check), None);
            let failed = CheckResult::new(CheckStatus::Layer4Error, 1);
            old.proxies[0].servers[0].state.take_check(failed, now_ms());
            let new = tree(&backend(name, server, rest), Some(&old));
            let state = &new.proxies[0].servers[0].state;
            assert_eq!(state.up(), up, "{name}: {server}");
            assert_eq!(new.proxies[0].state.usable_servers(), u32::from(up));
            let passed = || CheckResult::new(CheckStatus::Layer4Ok, 1);
            state.take_check(passed(), now_ms());
            state.take_check(passed(), now_ms());
            assert!(state.usable());
            assert_eq!(new.proxies[0].state.usable_servers(), 1);
        }
    }

    #[test]
    fn a_server_that_is_still_there_lends_its_health_to_no_other() {
        let line = "s 127.0.0.1:80 check";
        let old = tree(&backend("b", line, ""), None);
        let failed = CheckResult::new(CheckStatus::Layer4Error, 1);
        old.proxies[0].servers[0].state.take_check(failed, now_ms());
        let both = format!("{}{}", backend("b", line, ""), backend("c", line, ""));
        let new = tree(&both.replacen(":1\n", ":2\n", 1), Some(&old));
        let up = new.proxies.iter().map(|proxy| proxy.servers[0].state.up());
        assert_eq!(up.collect::<Vec<_>>(), [false, true]);
    }
}
