//! Preparation of interfaces for their virtual routers: kernel settings, the packet
//! filter, and polling of those that do not report their carrier.

use super::event_loop::{POLL_LINKS, Role};
use super::member::Member;
use super::{Level, clock};
use crate::config::Config;
use crate::kernel::{Firewall, LinkFlags, sysctl};
use protocol::vrrp::Time;
use std::time::{Duration, Instant};

/// How often the end of the startup script is looked for.
const LOOK: Duration = Duration::from_millis(5);

/// Whether the kernel reports groups of 224.0.0.0/24 (`disable_local_igmp`).
const IGMP_REPORTS: &str = "net/ipv4/igmp_link_local_mcast_reports";

/// `IFF_RUNNING`
const RUNNING: u32 = 0x40;

impl Role {
    /// `startup_script`: all else waits for its end, no longer than it was given.
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

    /// Settings and the filter, as far as interfaces are there.
    pub(super) fn prepare_interfaces(&mut self, now: Time) {
        self.poll_links_at = (!self.config.polled_interfaces.is_empty()).then_some(now);
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
            .flat_map(Member::vmacs)
            .filter_map(|vmac| Some((vmac.link.index, vmac.link.parent?)))
            .collect();
        let index = |name: &str| self.links.named(name).map(|seen| seen.link.index);
        let wanted = Firewall::wanted(&self.config, &vmacs, index);
        if self.firewall.as_ref() == Some(&wanted) {
            return;
        }
        // One of another name would be left.
        if let Some(old) = self
            .firewall
            .as_ref()
            .filter(|old| old.table != wanted.table)
        {
            let _ = Firewall::remove(&old.table);
        }
        let nothing = wanted.refused.is_empty() && wanted.quiet.is_empty();
        if let Err(error) = wanted.apply()
            && !nothing
        {
            self.log(
                Level::Error,
                &format!("cannot drop packets to the addresses: {error}"),
            );
        }
        self.firewall = Some(wanted);
    }

    /// A setting that is as it was after a planned stop.
    fn set_until_stop(&mut self, path: &str, value: &str) {
        match sysctl::set(path, value) {
            Ok(saved) => self.saved.extend(saved),
            Err(error) => {
                let line = error.to_string();
                self.teller.once(&mut self.given.log, Level::Warning, line);
            }
        }
    }

    /// A planned stop: all is as it was.
    pub(super) fn restore_interfaces(&mut self) {
        for saved in std::mem::take(&mut self.saved).iter().rev() {
            if let Err(error) = saved.restore() {
                self.log(Level::Warning, &error.to_string());
            }
        }
        let Some(firewall) = self.firewall.take() else {
            return;
        };
        let nothing = firewall.refused.is_empty() && firewall.quiet.is_empty();
        if let Err(error) = Firewall::remove(&firewall.table)
            && !nothing
        {
            self.log(Level::Warning, &error.to_string());
        }
    }

    /// Polls interfaces whose drivers do not report their carrier.
    pub(super) fn poll_links(&mut self, now: Time) {
        if self.poll_links_at.is_none_or(|at| at > now) {
            return;
        }
        self.poll_links_at = Some(now.after(POLL_LINKS));
        let mut events = Vec::new();
        for name in self.config.polled_interfaces.clone() {
            match self.kernel.link(&name) {
                Ok(Some(mut link)) => {
                    // The flags are the kernel's belief; the carrier is the driver's.
                    if !link.carrier {
                        link.flags = LinkFlags(link.flags.0 & !RUNNING);
                    }
                    events.extend(self.links.set(now, link));
                }
                Ok(None) => {}
                Err(error) => {
                    let line = format!("{name}: {error}");
                    self.teller.once(&mut self.given.log, Level::Warning, line);
                }
            }
        }
        self.take_link_events(clock::now(), events);
    }
}
