//! Adds, removes and lists routes.

use super::message::{
    Attributes, INET, INET6, Incoming, NetlinkMessage, family, flag, ip, kind, octets, u32_at,
};
use super::{Ack, Kernel, KernelError, MADE_BY, check_family};
use crate::config::{NextHop, Route, RouteKind};
use rustix::io::Errno;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Length of the kernel's `struct rtmsg`, bytes.
const BODY: usize = 12;

const TABLE_COMPAT: u32 = 252;
const TABLE_MAIN: u32 = 254;
const TABLE_LOCAL: u32 = 255;

const SCOPE_LINK: u8 = 253;
const SCOPE_HOST: u8 = 254;
const SCOPE_NOWHERE: u8 = 255;

const ON_LINK: u8 = 4;
/// Route flag `RTM_F_CLONED`: a cache entry, not a route.
const CLONED: u32 = 0x200;
/// The kernel's default metric of an IPv6 route.
const IPV6_METRIC: u32 = 1024;
const MOST_HOPS: usize = 64;

/// Types of netlink attributes of a route, `RTA_*`.
mod attribute {
    pub const DESTINATION: u16 = 1;
    pub const SOURCE: u16 = 2;
    pub const OUTPUT: u16 = 4;
    pub const GATEWAY: u16 = 5;
    pub const METRIC: u16 = 6;
    pub const PREFERRED_SOURCE: u16 = 7;
    pub const METRICS: u16 = 8;
    pub const MULTIPATH: u16 = 9;
    pub const REALMS: u16 = 11;
    pub const TABLE: u16 = 15;
    pub const VIA: u16 = 18;
    pub const PREFERENCE: u16 = 20;
    /// Attribute inside `METRICS`: a bit mask of metrics that the kernel may not change.
    pub const LOCKED: u16 = 1;
    /// Attribute inside `METRICS`: the name of a congestion control algorithm.
    pub const CONGESTION: u16 = 16;
}

fn kind_number(kind: RouteKind) -> u8 {
    match kind {
        RouteKind::Unicast => 1,
        RouteKind::Local => 2,
        RouteKind::Broadcast => 3,
        RouteKind::Anycast => 4,
        RouteKind::Multicast => 5,
        RouteKind::Blackhole => 6,
        RouteKind::Unreachable => 7,
        RouteKind::Prohibit => 8,
        RouteKind::Throw => 9,
        RouteKind::Nat => 10,
    }
}

/// Returns the table of a route, chosen as `ip route` does.
fn table(route: &Route) -> u32 {
    let own = matches!(
        route.kind,
        RouteKind::Local | RouteKind::Broadcast | RouteKind::Anycast | RouteKind::Nat
    );
    route
        .table
        .unwrap_or(if own { TABLE_LOCAL } else { TABLE_MAIN })
}

/// Returns the scope of a route without a configured one, chosen as `ip route` does.
fn scope(route: &Route, deleted: bool) -> u8 {
    match route.kind {
        _ if route.ipv6 => 0,
        RouteKind::Local | RouteKind::Nat => SCOPE_HOST,
        RouteKind::Broadcast | RouteKind::Multicast | RouteKind::Anycast => SCOPE_LINK,
        RouteKind::Unicast if deleted => SCOPE_NOWHERE,
        RouteKind::Unicast if route.hops.iter().all(|hop| hop.via.is_none()) => SCOPE_LINK,
        _ => 0,
    }
}

fn protocol(route: &Route) -> u8 {
    route.protocol.unwrap_or(MADE_BY)
}

/// A next hop with the index of its interface.
struct ResolvedHop<'a> {
    hop: &'a NextHop,
    interface: Option<u32>,
}

impl ResolvedHop<'_> {
    fn write(&self, message: &mut NetlinkMessage, ipv6: bool) {
        match self.hop.via {
            Some(via) if via.is_ipv6() == ipv6 => message.address(attribute::GATEWAY, via),
            Some(via) => {
                let mut value = u16::from(family(via)).to_ne_bytes().to_vec();
                value.extend(octets(via));
                message.attribute(attribute::VIA, &value);
            }
            None => {}
        }
        message.optional(attribute::REALMS, self.hop.realms, NetlinkMessage::u32);
    }

    fn flags(&self) -> u8 {
        if self.hop.on_link { ON_LINK } else { 0 }
    }
}

fn message(route: &Route, ways: &[ResolvedHop<'_>], kind: u16, flags: u16) -> NetlinkMessage {
    let table = table(route);
    let deleted = kind == kind::DELETE_ROUTE;
    let length = |net: Option<(IpAddr, u8)>| net.map_or(0, |(_, prefix)| prefix);
    let mut body = [0; BODY];
    body[0] = if route.ipv6 { INET6 } else { INET };
    body[1] = length(route.destination);
    body[2] = length(route.from);
    body[3] = route.tos.unwrap_or(0);
    body[4] = u8::try_from(table).unwrap_or(TABLE_COMPAT as u8);
    body[5] = protocol(route);
    body[6] = route.scope.map_or_else(|| scope(route, deleted), |s| s.0);
    body[7] = kind_number(route.kind);
    if let [way] = ways {
        body[8..].copy_from_slice(&u32::from(way.flags()).to_ne_bytes());
    }
    let mut message = NetlinkMessage::new(kind, flag::REQUEST | flag::ACK | flags, &body);
    let addresses = [
        (attribute::DESTINATION, route.destination.map(|(to, _)| to)),
        (attribute::SOURCE, route.from.map(|(from, _)| from)),
        (attribute::PREFERRED_SOURCE, route.source),
    ];
    for (kind, address) in addresses {
        message.optional(kind, address, NetlinkMessage::address);
    }
    if table > 255 {
        message.u32(attribute::TABLE, table);
    }
    message.optional(attribute::METRIC, route.metric, NetlinkMessage::u32);
    message.optional(attribute::PREFERENCE, route.preference, NetlinkMessage::u8);
    write_metrics(&mut message, route);
    write_ways(&mut message, ways, route.ipv6);
    message
}

fn write_metrics(message: &mut NetlinkMessage, route: &Route) {
    if route.metrics.is_empty() && route.congestion.is_none() {
        return;
    }
    let locked = route.metrics.iter().filter(|(_, _, locked)| *locked);
    let locked = locked.fold(0, |bits, (which, _, _)| {
        bits | 1_u32.wrapping_shl(u32::from(*which))
    });
    message.open(attribute::METRICS, &[], |inside| {
        if locked != 0 {
            inside.u32(attribute::LOCKED, locked);
        }
        for (which, value, _) in &route.metrics {
            inside.u32(*which, *value);
        }
        if let Some(name) = &route.congestion {
            inside.string(attribute::CONGESTION, name);
        }
    });
}

fn write_ways(message: &mut NetlinkMessage, ways: &[ResolvedHop<'_>], ipv6: bool) {
    if let [way] = ways {
        way.write(message, ipv6);
        message.optional(attribute::OUTPUT, way.interface, NetlinkMessage::u32);
    } else if !ways.is_empty() {
        message.open(attribute::MULTIPATH, &[], |inside| {
            for way in ways {
                // Layout of struct rtnexthop: flags, weight minus one, interface.
                let weight = u8::try_from(way.hop.weight.saturating_sub(1)).unwrap_or(u8::MAX);
                let mut rest = vec![way.flags(), weight];
                rest.extend(way.interface.unwrap_or(0).to_ne_bytes());
                inside.counted(&rest, |m| way.write(m, ipv6));
            }
        });
    }
}

/// A route as reported by the kernel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RouteSeen {
    pub ipv6: bool,
    /// Kernel's number of the route type.
    pub kind: u8,
    /// Destination network; None: the default route.
    pub destination: Option<(IpAddr, u8)>,
    pub from: Option<(IpAddr, u8)>,
    pub table: u32,
    /// Metric of the route; zero: none.
    pub metric: u32,
    /// Type of service; zero: any.
    pub tos: u8,
    /// Number of the protocol that added the route.
    pub made_by: u8,
    /// Next hops: gateway and interface index.
    pub ways: Vec<(Option<IpAddr>, u32)>,
}

impl RouteSeen {
    /// Returns whether this route occupies the slot of a configured one: the kernel accepts no
    /// second route there.
    pub fn is_place_of(&self, route: &Route) -> bool {
        let none = if route.ipv6 { IPV6_METRIC } else { 0 };
        self.ipv6 == route.ipv6
            && self.destination == network(route.destination)
            && self.from == network(route.from)
            && self.table == table(route)
            && self.metric == route.metric.unwrap_or(none)
            && self.tos == route.tos.unwrap_or(0)
    }

    /// Returns whether this is the configured route: same slot, type, protocol and gateways.
    pub fn is(&self, route: &Route) -> bool {
        let gateways = |seen: &Vec<(Option<IpAddr>, u32)>| {
            let mut all: Vec<_> = seen.iter().filter_map(|(via, _)| *via).collect();
            all.sort();
            all
        };
        let mut wanted: Vec<_> = route.hops.iter().filter_map(|hop| hop.via).collect();
        wanted.sort();
        self.is_place_of(route)
            && self.kind == kind_number(route.kind)
            && self.made_by == protocol(route)
            && gateways(&self.ways) == wanted
    }

    /// Parses a message `RTM_NEWROUTE` or `RTM_DELROUTE`.
    pub(super) fn read(message: &Incoming<'_>) -> Option<RouteSeen> {
        let body = message.body;
        let ipv6 = message.is_ipv6()?;
        if u32_at(body, 8)? & CLONED != 0 {
            return None;
        }
        let attributes = message.attributes(BODY);
        let mut ways = Vec::new();
        if let Some(several) = attributes.find(attribute::MULTIPATH) {
            read_ways(several, &mut ways);
        } else if let Some(output) = attributes.number(attribute::OUTPUT) {
            ways.push((gateway(attributes), output));
        }
        Some(RouteSeen {
            ipv6,
            kind: *body.get(7)?,
            destination: attributes.network(attribute::DESTINATION, *body.get(1)?),
            from: attributes.network(attribute::SOURCE, *body.get(2)?),
            table: attributes
                .number(attribute::TABLE)
                .unwrap_or(u32::from(*body.get(4)?)),
            metric: attributes.number(attribute::METRIC).unwrap_or(0),
            tos: *body.get(3)?,
            made_by: *body.get(5)?,
            ways,
        })
    }
}

fn gateway(attributes: Attributes<'_>) -> Option<IpAddr> {
    let via = || ip(attributes.find(attribute::VIA)?.get(2..)?);
    attributes.address(attribute::GATEWAY).or_else(via)
}

fn read_ways(mut several: &[u8], ways: &mut Vec<(Option<IpAddr>, u32)>) {
    while ways.len() < MOST_HOPS {
        let Some(length) = super::message::u16_at(several, 0).map(usize::from) else {
            return;
        };
        let (Some(way), Some(index)) = (several.get(8..length), u32_at(several, 4)) else {
            return;
        };
        ways.push((gateway(Attributes(way)), index));
        several = several.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    }
}

/// Clears the bits after the prefix, as the kernel does; None: the default route.
fn network(net: Option<(IpAddr, u8)>) -> Option<(IpAddr, u8)> {
    let (address, prefix) = net.filter(|(_, prefix)| *prefix > 0)?;
    let address = match address {
        IpAddr::V4(a) => {
            let mask = u32::MAX
                .checked_shl(32_u32.saturating_sub(prefix.into()))
                .unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(a.to_bits() & mask))
        }
        IpAddr::V6(a) => {
            let mask = u128::MAX
                .checked_shl(128_u32.saturating_sub(prefix.into()))
                .unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(a.to_bits() & mask))
        }
    };
    Some((address, prefix))
}

impl Kernel {
    /// Adds routes in one batch. An existing route that Evenkeel added is replaced; one of another
    /// program stays, and is an error (`EEXIST`).
    pub fn add_routes(&mut self, routes: &[Route]) -> Vec<Result<Ack, KernelError>> {
        let asks: Vec<_> = routes
            .iter()
            .map(|route| {
                let how = if route.append {
                    flag::APPEND
                } else {
                    flag::EXCLUSIVE
                };
                self.route_message(route, kind::NEW_ROUTE, flag::CREATE | how)
            })
            .collect();
        let results = self.send_those_made("add a route", asks);
        let there: Vec<bool> = results
            .iter()
            .map(|r| matches!(r, Err(error) if error.is(Errno::EXIST)))
            .collect();
        if !there.contains(&true) {
            return results.into_iter().map(|r| r.map(|()| Ack::Done)).collect();
        }
        let seen = self.routes().unwrap_or_default();
        let mut outcomes = Vec::with_capacity(results.len());
        for ((route, result), there) in routes.iter().zip(results).zip(there) {
            if !there {
                outcomes.push(result.map(|()| Ack::Done));
                continue;
            }
            let same = seen.iter().any(|s| s.is(route));
            let outcome = if same { Ack::Already } else { Ack::Done };
            outcomes.push(self.replace_ours(route, &seen, result).map(|()| outcome));
        }
        outcomes
    }

    fn replace_ours(
        &mut self,
        route: &Route,
        seen: &[RouteSeen],
        refused: Result<(), KernelError>,
    ) -> Result<(), KernelError> {
        let ours = |s: &RouteSeen| s.is_place_of(route) && s.made_by == protocol(route);
        if !seen.iter().any(ours) {
            return refused;
        }
        let how = flag::CREATE | flag::REPLACE;
        let ask = self.route_message(route, kind::NEW_ROUTE, how)?;
        self.socket.one("replace a route", ask)
    }

    /// Removes routes in one batch; a route that is already gone is no error.
    pub fn remove_routes(&mut self, routes: &[Route]) -> Vec<Result<Ack, KernelError>> {
        let asks: Vec<_> = routes
            .iter()
            .map(|r| self.route_message(r, kind::DELETE_ROUTE, 0))
            .collect();
        let removed = self.send_those_made("remove a route", asks);
        // Counts as removed if the interface or the table is gone, and the route with it.
        Ack::of_all(removed, &[Errno::SRCH, Errno::NODEV])
    }

    /// Lists the IPv4 and IPv6 routes of all tables.
    ///
    /// # Errors
    /// As described at [`Kernel`].
    pub fn routes(&mut self) -> Result<Vec<RouteSeen>, KernelError> {
        self.socket.dump_of_families::<_, BODY>(
            "list routes",
            kind::GET_ROUTE,
            kind::NEW_ROUTE,
            RouteSeen::read,
        )
    }

    fn route_message(
        &mut self,
        route: &Route,
        kind: u16,
        flags: u16,
    ) -> Result<NetlinkMessage, KernelError> {
        let addresses = [
            route.destination.map(|(to, _)| to),
            route.from.map(|(from, _)| from),
            route.source,
        ];
        check_family(
            addresses,
            route.ipv6,
            "a route has addresses of two families",
        )?;
        if route.hops.len() > MOST_HOPS {
            return Err(KernelError::BadValue("a route has too many next hops"));
        }
        let mut ways = Vec::with_capacity(route.hops.len());
        for hop in &route.hops {
            let interface = match &hop.interface {
                Some(name) => Some(self.index_of(name)?),
                None => None,
            };
            ways.push(ResolvedHop { hop, interface });
        }
        Ok(message(route, &ways, kind, flags))
    }

    /// Sends the messages that could be built, and puts the responses at the indices of their
    /// requests.
    pub(super) fn send_those_made(
        &mut self,
        request: &'static str,
        asks: Vec<Result<NetlinkMessage, KernelError>>,
    ) -> Vec<Result<(), KernelError>> {
        let mut made = Vec::with_capacity(asks.len());
        let mut results = Vec::with_capacity(asks.len());
        for ask in asks {
            match ask {
                Ok(message) => {
                    made.push(message);
                    results.push(Ok(()));
                }
                Err(error) => results.push(Err(error)),
            }
        }
        let mut answers = self.socket.batch(request, &mut made).into_iter();
        for result in &mut results {
            if result.is_ok() {
                *result = answers.next().unwrap_or(Ok(()));
            }
        }
        results
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_compared_without_the_bits_behind_its_prefix() {
        let net = |a: &str, p| Some((a.parse().unwrap(), p));
        assert_eq!(network(net("10.1.2.3", 8)), net("10.0.0.0", 8));
        assert_eq!(network(net("10.1.2.3", 32)), net("10.1.2.3", 32));
        assert_eq!(network(net("2001:db8::1", 32)), net("2001:db8::", 32));
        assert_eq!(network(net("::", 0)), None);
    }
}
