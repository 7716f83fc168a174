//! Handles packets and the kernel's notifications: adverts, address claims of other hosts, and
//! changes of interfaces, addresses, routes and rules.

use super::event_loop::AddressRole;
use super::links::LinkEvent;
use super::member::VrrpInstance;
use super::{Level, clock};
use crate::config::{Authentication, InstanceTransport};
use crate::kernel::{AddressSeen, AddressSpec, KernelChange};
use protocol::vrrp::advert::{self, ah};
use protocol::vrrp::neighbour;
use protocol::vrrp::{Instance, Router, Time};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

/// Maximum number of changes per turn: a flood of route changes must not delay the timers.
const MAX_CHANGES: usize = 4096;

const MAX_UNKNOWN: usize = 16;

/// Time for which the kernel of a dead predecessor may still answer for the addresses of a new
/// owner.
const PREDECESSOR_KEEPS: Duration = Duration::from_millis(2_500);

/// Consequences of the changes of one turn.
#[derive(Debug, Default)]
struct Due {
    /// True if addresses of interfaces changed, so source addresses must be selected again.
    sources: bool,
    /// True if an installed object may be missing.
    check: bool,
    relist: bool,
    lost: Vec<usize>,
}

/// Returns whether a packet to this destination may belong to the member.
fn goes_to(member: &VrrpInstance, destination: IpAddr) -> bool {
    match &member.config.transport {
        InstanceTransport::Multicast { group } => *group == destination,
        InstanceTransport::Unicast { .. } => !destination.is_multicast(),
    }
}

impl AddressRole {
    pub(super) fn receive_adverts(&mut self, place: usize) {
        let now = clock::now();
        let known = self.known_vrids(place);
        let Some(adverts) = self.sockets.adverts.get_mut(place) else {
            return;
        };
        let (members, router) = (&self.members, &mut self.router);
        let mut forged = None;
        // Accesses the counter of `sealed` adverts: keepalived has a single one for sent and
        // received packets, and drops adverts with a lower number.
        let sealed = &mut self.sockets.sealed;
        let mut unknown = BTreeSet::new();
        let interface = adverts.socket.interface();
        let drained = adverts.socket.drain(|packet| {
            if let (Some(known), Some(vrid)) = (&known, advert::router_id(packet.bytes))
                && unknown.len() < MAX_UNKNOWN
                && !known.contains(&vrid)
            {
                unknown.insert(vrid);
            }
            for (at, member) in members.iter().enumerate() {
                if member.socket != Some(place) || !goes_to(member, packet.destination) {
                    continue;
                }
                let advert = match &member.config.options.authentication {
                    Some(Authentication::Ah(key)) => match ah::open(key, packet.packet) {
                        Ok(opened) => {
                            *sealed = opened.sequence.max(*sealed);
                            opened.advert
                        }
                        Err(refusal) => {
                            tracing::info!(instance = member.config.name, from = %packet.source, reason = ?refusal, "advert refused");
                            forged = Some((at, packet.source, format!("{refusal:?}")));
                            continue;
                        }
                    },
                    _ => packet.bytes,
                };
                if advert::router_id(advert) == Some(member.config.vrid) {
                    let (from, ttl) = (packet.source, packet.ttl);
                    router.handle_packet(now, Instance(at), from, ttl, advert);
                    // Traces rejected adverts at debug level only, because anybody on the network
                    // can cause them.
                    if tracing::enabled!(tracing::Level::DEBUG) {
                        trace_rejected(router, at, &member.config.name, now);
                    }
                }
            }
        });
        if let Err(error) = drained {
            adverts.broken = true;
            let line = format!("advert socket: {error}");
            self.teller.once(&mut self.given.log, Level::Warning, line);
            self.reconnect(now);
        }
        for vrid in unknown {
            let seen = self.host.links.numbered(interface);
            let name = seen.map_or("any", |seen| seen.link.name.as_str());
            let line = format!("Unknown VRID({vrid}) received on interface({name}). ignoring...");
            self.teller.once(&mut self.given.log, Level::Info, line);
        }
        if let Some((at, from, refusal)) = forged {
            let name = self.name(at);
            let line = format!("({name}) invalid authentication header from {from}: {refusal}");
            self.teller.once(&mut self.given.log, Level::Warning, line);
        }
    }

    /// `log_unknown_vrids`: returns the router ids on the interface of a socket. `None`
    /// without that option, or if adverts are authenticated and cannot be parsed
    /// directly.
    fn known_vrids(&self, place: usize) -> Option<BTreeSet<u8>> {
        let options = &self.sockets.adverts.get(place)?.options;
        if !self.config.global.log_unknown_vrids || options.authenticated {
            return None;
        }
        let here = |m: &&VrrpInstance| {
            let other = m.socket.and_then(|at| self.sockets.adverts.get(at));
            other.is_some_and(|other| other.options.interface == options.interface)
        };
        let members = self.members.iter().filter(here);
        Some(members.map(|m| m.config.vrid).collect())
    }

    pub(super) fn take_frames(&mut self, interface: u32, ipv6: bool) {
        let now = clock::now();
        let Some(socket) = self.sockets.frames.get_mut(&(interface, ipv6)) else {
            return;
        };
        let mut claims = Vec::new();
        let drained = socket.drain(|frame| {
            claims.extend(neighbour::claim(frame.bytes).filter(neighbour::AddressClaim::holds));
        });
        if drained.is_err() {
            // Closes the socket of an interface that is gone. A new socket is opened when the
            // interface returns.
            self.sockets.frames.remove(&(interface, ipv6));
        }
        for claim in claims {
            let ours = self.host.links.has_mac(claim.mac) && self.host.links.has_mac(claim.sender);
            for (at, member) in self.members.iter_mut().enumerate() {
                if !member.owns(&self.host.links, claim.address, interface) {
                    continue;
                }
                let since = self.router.status(Instance(at)).map(|status| status.since);
                let is_settled = since.is_some_and(|since| now >= since.after(PREDECESSOR_KEEPS));
                if member.holds && !ours && is_settled {
                    let mac = mac_words(claim.mac);
                    member
                        .history
                        .conflict(now, format!("{} at {mac}", claim.address));
                }
                self.router
                    .handle_neighbour(now, Instance(at), claim.address, ours, claim.mac);
            }
        }
    }

    pub(super) fn receive_kernel_changes(&mut self) {
        let now = clock::now();
        let mut due = Due::default();
        let mut events = Vec::new();
        for _ in 0..MAX_CHANGES {
            let Some(change) = self.host.monitor.next_change() else {
                break;
            };
            match change {
                KernelChange::Link(link) => events.extend(self.host.links.set(now, link)),
                KernelChange::LinkGone(link) => events.extend(self.host.links.gone(link.index)),
                KernelChange::AddressAdded(seen) => due.sources |= !self.is_virtual(&seen),
                KernelChange::AddressRemoved(seen) => self.address_removed(&seen, &mut due),
                KernelChange::AddressDuplicate(seen) => self.address_duplicate(&seen),
                KernelChange::RouteRemoved(seen) => {
                    let lost = self.members.iter().enumerate().filter(|(_, m)| {
                        m.holds && m.config.routes.iter().any(|r| !r.no_track && seen.is(r))
                    });
                    due.lost.extend(lost.map(|(at, _)| at));
                }
                KernelChange::RuleRemoved(seen) => {
                    let lost = self.members.iter().enumerate().filter(|(_, m)| {
                        m.holds && m.config.rules.iter().any(|r| !r.no_track && seen.is(r))
                    });
                    due.lost.extend(lost.map(|(at, _)| at));
                }
                KernelChange::Overrun => due.relist = true,
            }
        }
        if due.relist {
            self.log(
                Level::Warning,
                "Netlink: Receive buffer overrun; reading interfaces, addresses and routes again",
            );
            match self.host.kernel.links() {
                Ok(links) => events.extend(self.host.links.relist(now, links)),
                Err(error) => self.log(Level::Error, &format!("list interfaces: {error}")),
            }
            (due.sources, due.check) = (true, true);
        }
        // Requests a check if an interface is gone: its addresses are gone, too, and a virtual
        // interface is created again without any.
        due.check |= events.iter().any(|e| matches!(e, LinkEvent::Gone(_)));
        self.take_link_events(now, events);
        if due.sources {
            self.reconnect(now);
            self.evaluate_all_instances(now);
        }
        if due.check {
            self.check_addresses(now, &mut due.lost);
        }
        let ends = |at: &usize| {
            self.members
                .get(*at)
                .is_some_and(|m| self.leases.ends_soon(now, &m.config))
        };
        due.lost.retain(|at| !ends(at));
        due.lost.sort_unstable();
        due.lost.dedup();
        for at in due.lost {
            self.router.handle_address_lost(now, Instance(at));
        }
    }

    fn is_virtual(&self, seen: &AddressSeen) -> bool {
        let all = self.config.instances.iter();
        let mut all = all.flat_map(|i| i.addresses.iter().chain(&i.excluded));
        all.any(|a| a.address == seen.address)
    }

    fn address_removed(&mut self, seen: &AddressSeen, due: &mut Due) {
        if self.is_virtual(seen) {
            // Checks the address by a listing, because the notification may be a late one, after
            // this role removed and restored the address.
            due.check = true;
        } else {
            due.sources = true;
        }
        self.put_static_back(seen);
    }

    fn address_duplicate(&mut self, seen: &AddressSeen) {
        let now = clock::now();
        for member in &mut self.members {
            if member.owns(&self.host.links, seen.address, seen.interface) {
                let words = format!("{} (duplicate address detection)", seen.address);
                if member.history.conflict(now, words) {
                    let line = format!(
                        "({}) duplicate address {}: another machine uses it, so the kernel does not use it here",
                        member.config.name, seen.address
                    );
                    (self.given.log)(Level::Error, &line);
                }
            }
        }
    }

    fn check_addresses(&mut self, now: Time, lost: &mut Vec<usize>) {
        let listed = self.host.list_addresses(&mut self.given.log);
        for (at, member) in self.members.iter_mut().enumerate() {
            if !member.holds {
                continue;
            }
            let tracked = |spec: &&AddressSpec| {
                member
                    .addresses()
                    .any(|a| a.address == spec.address && !a.no_track)
            };
            let specs = member.specs(&self.host.links);
            let gone: Vec<_> = specs
                .iter()
                .filter(tracked)
                .filter(|spec| !listed.iter().any(|seen| seen.is(spec)))
                .collect();
            if gone.is_empty() {
                continue;
            }
            if self.leases.ends_soon(now, &member.config) {
                let line = format!(
                    "({}) the kernel removed the addresses before the end of their lease, which was not renewed",
                    member.config.name
                );
                (self.given.log)(Level::Notice, &line);
                continue;
            }
            member.history.restored += gone.len() as u64;
            for spec in gone {
                let interface = self
                    .host
                    .links
                    .numbered(spec.interface)
                    .map_or("a deleted interface", |s| s.link.name.as_str());
                let line = format!(
                    "Netlink reflector reports IP {} removed from {interface}",
                    spec.address
                );
                (self.given.log)(Level::Notice, &line);
            }
            lost.push(at);
        }
    }

    pub(super) fn reconnect(&mut self, now: Time) {
        let listed = self.host.list_addresses(&mut self.given.log);
        for at in 0..self.members.len() {
            self.connect(now, at, &listed);
        }
    }

    pub(super) fn take_link_events(&mut self, now: Time, events: Vec<LinkEvent>) {
        if events.is_empty() {
            return;
        }
        let (mut moved, mut told) = (false, Vec::new());
        for event in events {
            match event {
                LinkEvent::Came(name) => {
                    self.log(Level::Info, &format!("Netlink reports {name} exists"));
                    self.handle_interface_added(&name);
                    moved = true;
                }
                LinkEvent::Gone(name) => {
                    self.log(Level::Info, &format!("Netlink reports {name} deleted"));
                    self.handle_interface_removed(&name);
                    moved = true;
                }
                LinkEvent::Changed(name, up) => {
                    let word = if up { "up" } else { "down" };
                    self.log(Level::Info, &format!("Netlink reports {name} {word}"));
                    if up {
                        self.put_static_on(&name);
                    }
                    moved = true;
                }
                LinkEvent::Mac(name) => told.push(name),
                LinkEvent::Flaps(name, hold) => {
                    let line = format!(
                        "{name} is flapping: considered up after {hold:?} without a change"
                    );
                    self.log(Level::Warning, &line);
                }
            }
        }
        if moved {
            self.reconnect(now);
            self.evaluate_all_instances(now);
        }
        for name in told {
            self.mac_changed(&name);
        }
    }

    /// Announces addresses again after a change of MAC, because neighbours know the old one.
    fn mac_changed(&mut self, name: &str) {
        let at_it = |m: &VrrpInstance| {
            let other = m.addresses().any(|a| a.interface.as_deref() == Some(name));
            m.holds && (m.config.interface == name || other)
        };
        let places: Vec<usize> = self
            .members
            .iter()
            .enumerate()
            .filter(|(_, m)| at_it(m))
            .map(|(at, _)| at)
            .collect();
        for at in places {
            self.announce(at, 1, protocol::vrrp::Announce::Again);
        }
    }

    fn handle_interface_added(&mut self, name: &str) {
        for at in 0..self.members.len() {
            let Some(member) = self.members.get(at) else {
                return;
            };
            if member.stands_on(name) {
                self.make_vmacs(at);
            }
            self.open_frames(at);
        }
        self.prepare_interfaces(clock::now());
        self.put_static_on(name);
    }

    fn handle_interface_removed(&mut self, name: &str) {
        let there: Vec<u32> = self.host.links.all().map(|s| s.link.index).collect();
        let gone: Vec<u32> = self
            .sockets
            .frames
            .keys()
            .map(|(index, _)| *index)
            .chain(self.sockets.adverts.iter().map(|a| a.socket.interface()))
            .filter(|index| *index != 0 && !there.contains(index))
            .collect();
        for index in gone {
            self.sockets.forget_interface(index);
        }
        for at in 0..self.members.len() {
            let Some(member) = self.members.get_mut(at) else {
                return;
            };
            let was = member.vmacs().any(|v| v.link.name == name);
            if was {
                member.vmac.take_if(|v| v.link.name == name);
                member.secondary_vmacs.retain(|b| b.vmac.link.name != name);
                // Creates the virtual interface again, which another program deleted while its
                // parent still exists.
                self.make_vmacs(at);
                self.open_frames(at);
            }
        }
    }
}

fn mac_words(mac: [u8; 6]) -> String {
    let [a, b, c, d, e, f] = mac;
    format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
}

fn trace_rejected(router: &Router, at: usize, instance: &str, now: Time) {
    let status = router.status(Instance(at));
    let last = status.and_then(|status| status.rejected.into_iter().next_back());
    if let Some(last) = last.filter(|last| last.last_at == now) {
        tracing::debug!(instance, from = %last.from, reason = last.why, "advert dropped");
    }
}
