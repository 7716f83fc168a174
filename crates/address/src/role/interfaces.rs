//! Prepares interfaces for their virtual routers: runs the startup script, changes kernel settings,
//! applies the packet filter, and polls interfaces that do not report their carrier.

use super::event_loop::AddressRole;
use super::member::VrrpInstance;
use super::{Level, clock};
use crate::config::Config;
use crate::kernel::{Firewall, sysctl};
use protocol::vrrp::Time;
use std::time::{Duration, Instant};

/// Poll interval for the end of the startup script.
const LOOK: Duration = Duration::from_millis(5);

/// Sysctl that enables IGMP reports for groups of 224.0.0.0/24 (`disable_local_igmp`).
const IGMP_REPORTS: &str = "net/ipv4/igmp_link_local_mcast_reports";

impl AddressRole {
    pub(super) fn run_startup_script(&mut self, config: &Config) {
        let Some(script) = config.global.startup_script.clone() else {
            return;
        };
        let end = Instant::now() + script.1 + LOOK;
        self.config
            .global
            .script_user
            .clone_from(&config.global.script_user);
        self.run_once("startup_script", &script);
        while Instant::now() < end {
            let ended = self.runner.ended();
            for (_, outcome) in &ended {
                if let Some(how) = super::tell::ended_badly(outcome) {
                    self.log(Level::Warning, &format!("startup_script {how}"));
                }
            }
            if !ended.is_empty() {
                return;
            }
            std::thread::sleep(LOOK);
        }
    }

    pub(super) fn prepare_interfaces(&mut self, now: Time) {
        self.host.set_polled(now, &self.config.polled_interfaces);
        let promoting = self
            .members
            .iter()
            .filter(|m| m.config.options.promote_secondaries);
        let names: Vec<String> = promoting.map(|m| m.config.interface.clone()).collect();
        for name in names {
            let path = sysctl::of_interface(false, &name, "promote_secondaries");
            self.set_until_stop(&path, "1");
        }
        if self.config.global.disable_local_igmp {
            self.set_until_stop(IGMP_REPORTS, "0");
        }
        let vmacs: Vec<(u32, u32)> = self
            .members
            .iter()
            .flat_map(VrrpInstance::vmacs)
            .filter_map(|vmac| Some((vmac.link.index, vmac.link.parent?)))
            .collect();
        let index = |name: &str| self.host.links.named(name).map(|seen| seen.link.index);
        let wanted = Firewall::for_configuration(&self.config, &vmacs, index);
        self.host.filter(now, &mut self.given.log, wanted);
    }

    fn set_until_stop(&mut self, path: &str, value: &str) {
        if let Err(error) = self.host.kernel.set_until_stop(path, value) {
            let line = error.to_string();
            self.teller.once(&mut self.given.log, Level::Warning, line);
        }
    }

    pub(super) fn poll_links(&mut self, now: Time) {
        let polled = &self.config.polled_interfaces;
        let Some((events, errors)) = self.host.poll(now, polled) else {
            return;
        };
        for line in errors {
            self.teller.once(&mut self.given.log, Level::Warning, line);
        }
        self.take_link_events(clock::now(), events);
    }
}
