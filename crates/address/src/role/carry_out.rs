//! Executes the router's actions: sends adverts, adds and removes addresses, routes and rules,
//! announces addresses, probes owners.

use super::announce::{AnnounceQueue, Announcement};
use super::event_loop::AddressRole;
use super::leases::{Leases, lifetime_within};
use super::links::Links;
use super::member::VrrpInstance;
use super::standing::RefusedAddresses;
use super::{Level, Notification, clock};
use crate::config::{Address, Authentication};
use crate::kernel::AddressSpec;
use protocol::vrrp::advert::ah;
use protocol::vrrp::neighbour;
use protocol::vrrp::{Announce, HandOver, Instance, Time, VrrpAction};
use std::net::IpAddr;
use std::time::Duration;

/// Maximum number of gratuitous announcements of one address for one action.
const MAX_REPEAT: u32 = 60;

/// Maximum wait until the kernel delivers packets to new addresses.
const ROUTES_WITHIN: Duration = Duration::from_millis(20);

/// Divisor of a lifetime: an address is renewed after this fraction of it.
const RENEW_PARTS: u32 = 3;

impl AddressRole {
    pub(super) fn execute_action(&mut self, action: VrrpAction) {
        match action {
            VrrpAction::Send {
                instance,
                to,
                bytes,
            } => self.send_advert(instance, to, &bytes),
            VrrpAction::Acquire { instance } => self.acquire(instance.0),
            VrrpAction::Release { instance } => self.release(instance.0),
            VrrpAction::Announce {
                instance,
                repeat,
                why,
            } => self.announce(instance.0, repeat, why),
            VrrpAction::Probe { instance } => self.probe(instance.0),
            VrrpAction::Entered {
                instance,
                from,
                to,
                why,
            } => self.entered(instance.0, from, to, &why),
            VrrpAction::HandOver { instance, step } => self.hand_over_step(instance, &step),
            VrrpAction::GroupEntered { group, to } => self.group_entered(group, to),
            VrrpAction::HeardLower { instance, .. } => self.report_lower_advert(instance.0),
            VrrpAction::Note { instance, words } => {
                let name = self.name(instance.0);
                self.log(Level::Warning, &format!("({name}) {words}"));
            }
        }
    }

    /// Returns the name of an instance for messages; empty if there is no such instance.
    pub(super) fn name(&self, at: usize) -> String {
        let member = self.members.get(at);
        member.map_or_else(String::new, |m| m.config.name.clone())
    }

    fn send_advert(&mut self, instance: Instance, to: IpAddr, bytes: &[u8]) {
        // Reads the priority, which is the third byte in both versions of VRRP.
        let stops = bytes.get(2) == Some(&0);
        if stops {
            self.stop_pacing(instance.0);
        }
        let Some(member) = self.members.get(instance.0) else {
            return;
        };
        let socket = member
            .socket
            .and_then(|place| self.sockets.adverts.get(place));
        let Some(adverts) = socket.filter(|adverts| !adverts.broken) else {
            return;
        };
        let sealed = match &member.config.options.authentication {
            Some(Authentication::Ah(key)) => {
                sealed(key, member.source, to, &mut self.sockets.sealed, bytes)
            }
            _ => None,
        };
        let bytes = sealed.as_deref().unwrap_or(bytes);
        if let Err(error) = adverts.socket.send(member.source, to, bytes) {
            // Logs the same error once: every advert fails on an interface that is down, and the
            // interface's fault is already reported.
            let name = member.config.name.clone();
            let line = format!("({name}) advert to {to}: {error}");
            self.teller.once(&mut self.given.log, Level::Warning, line);
        } else if stops {
            let line = format!("({}) sent 0 priority", member.config.name);
            (self.given.log)(Level::Detail, &line);
        }
    }

    fn acquire(&mut self, at: usize) {
        self.end_trial(at);
        self.prepare_takeover(at);
        let now = clock::now();
        let Some(member) = self.members.get_mut(at) else {
            return;
        };
        member.holds = true;
        let Some((specs, renew_at)) = to_set(&self.leases, &self.host.links, member, now) else {
            // Adds no addresses: the lease ends soon, and its renewal adds them.
            return;
        };
        let results = self.host.kernel.add_addresses(&specs);
        // Waits until the kernel accepts packets to the addresses, because neighbours that are
        // notified next send packets at once.
        if results.iter().all(Result::is_ok) {
            self.host.kernel.wait_for_routes(&specs, ROUTES_WITHIN);
        }
        let name = member.config.name.clone();
        let (routes, rules) = (member.config.routes.clone(), member.config.rules.clone());
        member.renew_at = renew_at;
        let extra = member.config.garp.extra_interfaces.0;
        member.extra_at = (!extra.is_zero()).then(|| now.after(extra));
        tracing::info!(
            instance = name,
            addresses = specs.len(),
            refused = results.iter().filter(|result| result.is_err()).count(),
            "addresses set"
        );
        self.log(Level::Detail, &format!("({name}) setting VIPs."));
        let refused = RefusedAddresses::by_kernel(now, &specs, &results);
        for (spec, result) in specs.iter().zip(results) {
            if let Err(error) = result {
                let (address, prefix) = (spec.address, spec.prefix);
                let line = format!("({name}) {address}/{prefix}: {error}");
                self.teller.once(&mut self.given.log, Level::Error, line);
            }
        }
        if refused.all {
            // Sets no routes and rules: the fault makes the router release the addresses and send
            // priority zero.
            return self.set_refused(now, at, refused);
        }
        self.set_refused(now, at, refused);
        if !routes.is_empty() {
            self.log(Level::Detail, &format!("({name}) setting Virtual Routes"));
            self.host.add_routes(&mut self.given.log, &name, &routes);
        }
        if !rules.is_empty() {
            self.log(Level::Detail, &format!("({name}) setting Virtual Rules"));
            self.host.add_rules(&mut self.given.log, &name, &rules);
        }
        self.keeper.keep_now();
    }

    /// Releases the addresses, at once or after a drain time. Announcements that still wait are
    /// cancelled first, because they would announce addresses that are gone.
    fn release(&mut self, at: usize) {
        self.sockets.announcer.cancel(at);
        let name = self.name(at);
        let lingers = self.release_after_drain(at);
        self.end_offer(&name);
        if lingers {
            return;
        }
        let Some(member) = self.members.get_mut(at) else {
            return;
        };
        member.holds = false;
        (member.renew_at, member.extra_at) = (None, None);
        let specs = member.specs(&self.host.links);
        let (routes, rules) = (member.config.routes.clone(), member.config.rules.clone());
        if !rules.is_empty() {
            self.log(Level::Detail, &format!("({name}) removing Virtual Rules"));
            self.host.remove_rules(&mut self.given.log, &name, &rules);
        }
        if !routes.is_empty() {
            self.log(Level::Detail, &format!("({name}) removing Virtual Routes"));
            self.host.remove_routes(&mut self.given.log, &name, &routes);
        }
        tracing::info!(
            instance = name,
            addresses = specs.len(),
            "addresses removed"
        );
        self.log(Level::Detail, &format!("({name}) removing VIPs."));
        self.host.remove(&mut self.given.log, &name, &specs);
        self.keeper.keep_now();
    }

    /// Renews the lifetimes of addresses, which also restores an address that another
    /// program deleted.
    pub(super) fn renew_lifetimes(&mut self, now: Time) {
        let mut renewed = Vec::new();
        for (at, member) in self.members.iter_mut().enumerate() {
            if member.renew_at.is_none_or(|at| at > now) {
                continue;
            }
            let Some((specs, renew_at)) = to_set(&self.leases, &self.host.links, member, now)
            else {
                member.renew_at = None;
                continue;
            };
            member.renew_at = renew_at;
            if renew_at.is_none() {
                continue;
            }
            let results = self.host.kernel.renew_addresses(&specs);
            for error in results.iter().filter_map(|result| result.as_ref().err()) {
                let line = format!(
                    "({}) cannot renew the lifetime of an address: {error}",
                    member.config.name
                );
                self.teller.once(&mut self.given.log, Level::Error, line);
            }
            renewed.push((at, RefusedAddresses::by_kernel(now, &specs, &results)));
        }
        if !renewed.is_empty() {
            self.keeper.keep_now();
        }
        for (at, refused) in renewed {
            self.set_refused(now, at, refused);
        }
    }

    pub(super) fn announce(&mut self, at: usize, repeat: u32, why: Announce) {
        let Some(member) = self.members.get(at).filter(|m| m.holds) else {
            return;
        };
        let name = member.config.name.clone();
        let all: Vec<Address> = member.addresses().cloned().collect();
        if why != Announce::Refresh || repeat > 1 {
            for address in &all {
                let line = format!(
                    "({name}) Sending/queueing {} on {} for {}",
                    kind(address.address),
                    address
                        .interface
                        .as_deref()
                        .unwrap_or(&member.config.interface),
                    address.address
                );
                (self.given.log)(Level::Detail, &line);
            }
        }
        for _ in 0..repeat.min(MAX_REPEAT) {
            for address in &all {
                self.queue(at, address);
            }
        }
        self.send_announcements(clock::now());
    }

    fn queue(&mut self, at: usize, address: &Address) {
        let Some(member) = self.members.get(at) else {
            return;
        };
        let Some(interface) = member.interface_of(&self.host.links, address) else {
            return;
        };
        let Some(seen) = self.host.links.numbered(interface) else {
            return;
        };
        // Announces nothing on a loopback interface, which has no neighbours.
        let Some(mac) = seen.link.mac.filter(|_| !seen.link.flags.loopback()) else {
            return;
        };
        let (line, intervals) = self.pace(interface, &seen.link.name);
        let what = Announcement {
            instance: at,
            interface,
            address: address.address,
            frame: neighbour::announce(mac, address.address, self.forwards(address.address)),
        };
        self.sockets.announcer.push(line, intervals, what);
    }

    /// Returns whether this machine forwards packets, which neighbour advertisements of
    /// IPv6 announce.
    fn forwards(&self, address: IpAddr) -> bool {
        address.is_ipv6() && self.teller.forwards_ipv6
    }

    fn pace(&self, interface: u32, name: &str) -> (AnnounceQueue, (Duration, Duration)) {
        let groups = self.config.garp_groups.iter().enumerate();
        for (place, group) in groups {
            if group.interfaces.iter().any(|i| i == name) {
                return (
                    AnnounceQueue::Group(place),
                    (group.garp_interval, group.gna_interval),
                );
            }
        }
        let global = &self.config.global;
        (
            AnnounceQueue::Interface(interface),
            (global.garp_interval, global.gna_interval),
        )
    }

    pub(super) fn send_announcements(&mut self, now: Time) {
        for what in self.sockets.announcer.due(now) {
            let socket = self
                .sockets
                .frames_of(what.interface, what.address.is_ipv6());
            let sent = socket.and_then(|socket| socket.send(&what.frame));
            let name = self
                .host
                .links
                .numbered(what.interface)
                .map_or_else(String::new, |seen| seen.link.name.clone());
            match sent {
                Ok(()) => {
                    if let Some(member) = self.members.get_mut(what.instance) {
                        member.history.announcements += 1;
                    }
                    let kind = singular(what.address);
                    let line = format!("Sending {kind} on {name} for {}", what.address);
                    self.log(Level::Detail, &line);
                }
                Err(error) => {
                    let line = format!("cannot announce {} on {name}: {error}", what.address);
                    self.teller.once(&mut self.given.log, Level::Warning, line);
                }
            }
        }
        let dropped = self.sockets.announcer.dropped();
        if dropped > 0 {
            let line = format!("announcement queue full: {dropped} announcements were dropped");
            self.log(Level::Warning, &line);
        }
    }

    /// Repeats announcements on further interfaces, so that switches do not forget the addresses
    /// (`garp_extra_if`): of addresses on virtual interfaces other than the instance's, or with
    /// `all` of all addresses.
    pub(super) fn announce_extra(&mut self, now: Time) {
        for at in 0..self.members.len() {
            let Some(member) = self.members.get_mut(at) else {
                return;
            };
            if member.extra_at.is_none_or(|due| due > now) {
                continue;
            }
            let (every, all) = member.config.garp.extra_interfaces;
            member.extra_at = Some(now.after(every));
            let own = member.config.interface.clone();
            let addresses: Vec<Address> = member
                .addresses()
                .filter(|a| a.interface.as_ref().is_some_and(|name| *name != own) || all)
                .filter(|a| all || a.vmac)
                .cloned()
                .collect();
            for address in &addresses {
                self.queue(at, address);
            }
        }
    }

    /// Sends an ARP request or neighbour solicitation for each address that adverts name: a reply
    /// shows that the kernel of the owner still works.
    fn probe(&mut self, at: usize) {
        let Some(member) = self.members.get(at) else {
            return;
        };
        let addresses = member.config.addresses.clone();
        let mut asked = Vec::new();
        for address in &addresses {
            let Some(interface) = member.interface_of(&self.host.links, address) else {
                continue;
            };
            let mac = self
                .host
                .links
                .numbered(interface)
                .and_then(|seen| seen.link.mac);
            if let Some(mac) = mac {
                asked.push((
                    interface,
                    address.address,
                    neighbour::probe(mac, address.address, None),
                ));
            }
        }
        for (interface, address, frame) in asked {
            let socket = self.sockets.frames_of(interface, address.is_ipv6());
            if let Err(error) = socket.and_then(|socket| socket.send(&frame)) {
                let line = format!("cannot probe {address}: {error}");
                self.teller.once(&mut self.given.log, Level::Warning, line);
            }
        }
    }

    fn hand_over_step(&mut self, instance: Instance, step: &HandOver) {
        let name = self.name(instance.0);
        let now = clock::now();
        self.hand_overs.record_step(&name, step);
        let draining = match step {
            HandOver::Draining { until } => Some(*until),
            _ => None,
        };
        self.set_draining(instance.0, draining);
        let words = match step {
            HandOver::Draining { until } => {
                let wait = until.since(now);
                let name = name.clone();
                self.given
                    .orders
                    .send_notification(Notification::Draining { name, wait });
                format!("hand-over: waiting up to {wait:.1?} for requests to finish")
            }
            HandOver::Offered { .. } => {
                self.begin_offer(instance.0);
                "hand-over: the addresses are offered to the other nodes".to_owned()
            }
            HandOver::Taken { by } => format!("hand-over: {by} took over the addresses"),
            HandOver::Withdrawn => {
                self.end_offer(&name);
                "hand-over: no other node took over the addresses".to_owned()
            }
        };
        self.log(Level::Notice, &format!("({name}) {words}"));
    }
}

/// Returns the addresses of a member with the lifetime that is allowed now, and the time of the
/// next renewal. Returns None if the lease that the addresses depend on ends too soon.
fn to_set(
    leases: &Leases,
    links: &Links,
    member: &VrrpInstance,
    now: Time,
) -> Option<(Vec<AddressSpec>, Option<Time>)> {
    let configured = member.config.lifetime;
    // Uses the configured lifetime for an instance without a lease, and for addresses that another
    // node has taken over, which stay until the hand-over ends.
    let Some(end) = leases.end(&member.config).filter(|_| member.holds) else {
        let renew_at = configured.map(|lifetime| now.after(renewal(lifetime)));
        return Some((member.specs(links), renew_at));
    };
    let (lifetime, again_at) = lifetime_within(now, end)?;
    let lifetime = configured.map_or(lifetime, |configured| configured.min(lifetime));
    let again_at = again_at.min(now.after(renewal(lifetime)));
    Some((member.specs_for(links, Some(lifetime)), Some(again_at)))
}

pub(super) fn renewal(lifetime: Duration) -> Duration {
    lifetime / RENEW_PARTS
}

fn kind(address: IpAddr) -> &'static str {
    if address.is_ipv6() {
        "unsolicited Neighbour Adverts"
    } else {
        "gratuitous ARPs"
    }
}

fn singular(address: IpAddr) -> &'static str {
    if address.is_ipv6() {
        "unsolicited Neighbour Advert"
    } else {
        "gratuitous ARP"
    }
}

/// Builds an advert inside an IP authentication header, as a whole IP packet. Only IPv4 has this.
fn sealed(
    key: &[u8; 16],
    from: Option<IpAddr>,
    to: IpAddr,
    sealed: &mut u32,
    bytes: &[u8],
) -> Option<Vec<u8>> {
    let (Some(IpAddr::V4(from)), IpAddr::V4(to)) = (from, to) else {
        return None;
    };
    *sealed = sealed.wrapping_add(1).max(1);
    let identification = (*sealed % u32::from(u16::MAX)) as u16 + 1;
    let envelope = ah::Envelope {
        from,
        to,
        ttl: protocol::vrrp::advert::TTL,
        identification,
    };
    Some(ah::seal(key, &envelope, *sealed, bytes))
}
