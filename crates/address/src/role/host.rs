//! Sends the role's requests to the kernel with errors in the log, and stores what belongs to the
//! network of this machine: notifications, last known interfaces, the packet filter, and settings
//! that are changed only while the role runs.

use super::filter::PacketFilter;
use super::links::{LinkEvent, Links};
use super::{Level, Log, RoleError, begin};
use crate::config::{Address, Config, Route, Rule};
use crate::kernel::{
    Ack, AddressSeen, AddressSpec, Firewall, Kernel, KernelError, LinkFlags, Monitor,
};
use protocol::vrrp::Time;
use std::time::Duration;

/// Poll interval of interfaces that do not report their carrier.
const POLL_LINKS: Duration = Duration::from_millis(500);

const RUNNING: u32 = 0x40;

#[derive(Debug)]
pub(super) struct HostNetwork {
    pub(super) kernel: Kernel,
    pub(super) monitor: Monitor,
    pub(super) links: Links,
    filter: PacketFilter,
    /// Next poll of interfaces that do not report their carrier (`linkbeat_use_polling`).
    poll_at: Option<Time>,
}

impl HostNetwork {
    pub(super) fn open(config: &Config) -> Result<HostNetwork, RoleError> {
        let mut kernel = Kernel::open().map_err(begin::system("netlink"))?;
        // Notifications start before the listing, so that no change between the two is missed.
        let watches_routes = begin::watches_routes(config);
        let monitor = Monitor::open(watches_routes).map_err(begin::system("netlink"))?;
        let links = kernel.links().map_err(begin::system("list interfaces"))?;
        Ok(HostNetwork {
            kernel,
            monitor,
            links: Links::new(links, &config.interface_delays),
            filter: PacketFilter::default(),
            poll_at: None,
        })
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        let all = [self.links.deadline(), self.poll_at, self.filter.deadline()];
        all.into_iter().flatten().min()
    }

    /// Returns all addresses of this machine; none if the kernel does not list them.
    pub(super) fn list_addresses(&mut self, log: &mut Log) -> Vec<AddressSeen> {
        match self.kernel.addresses() {
            Ok(all) => all,
            Err(error) => {
                log(Level::Error, &format!("list addresses: {error}"));
                Vec::new()
            }
        }
    }

    /// Returns the addresses as kernel requests, as far as their interfaces exist. Addresses
    /// without an interface use `default`.
    pub(super) fn specs(&self, addresses: &[Address], default: &str) -> Vec<AddressSpec> {
        let spec = |address: &Address| {
            let name = address.interface.as_deref().unwrap_or(default);
            let seen = self.links.named(name)?;
            Some(AddressSpec::new(address, seen.link.index, None, false))
        };
        addresses.iter().filter_map(spec).collect()
    }

    pub(super) fn add(&mut self, log: &mut Log, name: &str, specs: &[AddressSpec]) {
        let results = self.kernel.add_addresses(specs);
        log_results(log, name, words(specs).iter(), results);
    }

    /// Removes addresses that `name` no longer has.
    pub(super) fn remove(&mut self, log: &mut Log, name: &str, specs: &[AddressSpec]) {
        let results = self.kernel.remove_addresses(specs);
        log_results(log, name, words(specs).iter(), results);
    }

    pub(super) fn add_routes(&mut self, log: &mut Log, name: &str, routes: &[Route]) {
        let results = self.kernel.add_routes(routes);
        log_results(log, name, routes.iter().map(|r| &r.text), results);
    }

    pub(super) fn remove_routes(&mut self, log: &mut Log, name: &str, routes: &[Route]) {
        let results = self.kernel.remove_routes(routes);
        log_results(log, name, routes.iter().map(|r| &r.text), results);
    }

    pub(super) fn add_rules(&mut self, log: &mut Log, name: &str, rules: &[Rule]) {
        let results = self.kernel.add_rules(rules);
        log_results(log, name, rules.iter().map(|r| &r.text), results);
    }

    pub(super) fn remove_rules(&mut self, log: &mut Log, name: &str, rules: &[Rule]) {
        let results = self.kernel.remove_rules(rules);
        log_results(log, name, rules.iter().map(|r| &r.text), results);
    }

    pub(super) fn filter(&mut self, now: Time, log: &mut Log, wanted: Firewall) {
        self.filter.set(wanted);
        self.filter.apply(now, log, Firewall::apply);
    }

    pub(super) fn retry_filter(&mut self, now: Time, log: &mut Log) {
        if self.filter.deadline().is_some_and(|at| at <= now) {
            self.filter.apply(now, log, Firewall::apply);
        }
    }

    pub(super) fn restore(&mut self, now: Time, log: &mut Log) {
        if let Err(error) = self.kernel.restore_settings() {
            log(Level::Warning, &error.to_string());
        }
        self.filter.remove(now, log, Firewall::apply);
    }

    /// Starts polling at `now`, if there are interfaces to poll.
    pub(super) fn set_polled(&mut self, now: Time, polled: &[String]) {
        self.poll_at = (!polled.is_empty()).then_some(now);
    }

    /// Polls interfaces whose drivers do not report their carrier, if that is due. Returns the
    /// changes, and errors as lines for the log.
    pub(super) fn poll(
        &mut self,
        now: Time,
        polled: &[String],
    ) -> Option<(Vec<LinkEvent>, Vec<String>)> {
        if self.poll_at.is_none_or(|at| at > now) {
            return None;
        }
        self.poll_at = Some(now.after(POLL_LINKS));
        let (mut events, mut errors) = (Vec::new(), Vec::new());
        for name in polled {
            match self.kernel.link(name) {
                Ok(Some(mut link)) => {
                    // Counts an interface without a carrier as down: the flags are the kernel's
                    // view, whereas the carrier comes from the driver.
                    if !link.carrier {
                        link.flags = LinkFlags(link.flags.0 & !RUNNING);
                    }
                    events.extend(self.links.set(now, link));
                }
                Ok(None) => {}
                Err(error) => errors.push(format!("{name}: {error}")),
            }
        }
        Some((events, errors))
    }
}

fn words(specs: &[AddressSpec]) -> Vec<String> {
    let words = specs.iter().map(|s| format!("{}/{}", s.address, s.prefix));
    words.collect()
}

fn log_results<'a>(
    log: &mut Log,
    name: &str,
    what: impl Iterator<Item = &'a String>,
    results: Vec<Result<Ack, KernelError>>,
) {
    for (what, result) in what.zip(results) {
        if let Err(error) = result {
            log(Level::Error, &format!("({name}) {what}: {error}"));
        }
    }
}
