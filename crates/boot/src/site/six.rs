//! Handles IPv6 of one network: decides about DHCPv6 messages, and keeps the leases of the range.

use super::keeping::{LeaseStore, PoolConfig};
use super::{HeldPart, NetworkState, PartAdoption};
use crate::config::Ipv6Network;
use crate::dhcp::loads::Leader;
use crate::dhcp::pool::{Holder, Pool, Superseded};
use crate::dhcp::range::{Address, Range};
use crate::dhcp6::desk::{Dhcpv6Decision, Dhcpv6Server, Dhcpv6ServerIdentity};
use crate::dhcp6::reply::{Dhcpv6Response, Dhcpv6ResponseType};
use crate::dhcp6::request::{Dhcpv6MessageType, Request};
use crate::history::BootHistoryEntry;
use crate::journal::LeaseJournal;
use crate::mac::Mac;
use part::report::Moment;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::{IpAddr, Ipv6Addr};

#[derive(Default)]
pub(super) struct Ipv6State {
    /// None while the interface has no address, or the section has no IPv6.
    desk: Option<Dhcpv6Server>,
    pub(super) keeping: LeaseStore<Ipv6Addr>,
    nodes: Vec<Ipv6Addr>,
    own: Vec<IpAddr>,
}

impl Ipv6State {
    pub(super) fn superseded(&self) -> Vec<(Ipv6Addr, Superseded)> {
        self.desk
            .iter()
            .flat_map(Dhcpv6Server::superseded)
            .collect()
    }

    pub(super) fn pool(&mut self) -> Option<&mut Pool<Ipv6Addr>> {
        self.desk.as_mut().and_then(Dhcpv6Server::pool)
    }

    pub(super) fn leased(&self, mac: Mac) -> Option<Ipv6Addr> {
        self.desk.as_ref()?.leased(mac)
    }

    pub(super) fn kept(&self) -> u64 {
        self.desk.as_ref().map_or(0, Dhcpv6Server::kept)
    }

    /// Sets the record of single boots. `leader`: the other node that decides them, if this node
    /// does not.
    pub(super) fn set_turns(
        &mut self,
        turns: &crate::assignment::SingleBootProgress,
        leader: Option<&Leader>,
    ) {
        if let Some(desk) = &mut self.desk {
            desk.set_turns(turns.clone(), leader.cloned());
        }
    }

    pub(super) fn adopt(
        &mut self,
        part: usize,
        known: impl Iterator<Item = (Ipv6Addr, Holder)>,
        adopt: &PartAdoption,
        now_ms: u64,
    ) {
        if let Some(pool) = self.desk.as_mut().and_then(Dhcpv6Server::pool) {
            self.keeping.learn_longest(pool, adopt.longest_s, now_ms);
            pool.adopt(part, known, adopt.knowledge, now_ms);
        }
    }

    pub(super) fn forget(&mut self, newest: u32) {
        self.keeping.forget(newest);
        self.desk = None;
    }
}

impl NetworkState {
    pub(super) fn address6_of(&mut self, mac: Mac) -> Option<Ipv6Addr> {
        self.six_of(mac).map(|(address, _)| address)
    }

    pub fn here6(&self) -> Option<&Dhcpv6ServerIdentity> {
        self.six.desk.as_ref().map(Dhcpv6Server::here)
    }

    /// Returns the network in which this node serves machines directly, not only through relays.
    pub fn advertises(&self) -> Option<Ipv6Network> {
        let desk = self.six.desk.as_ref()?;
        let network = desk.network();
        network.has(desk.here().address).then_some(network)
    }

    pub fn set_node_address6(&mut self, here: Option<Dhcpv6ServerIdentity>, now_ms: u64) {
        match here {
            Some(here) if self.here6() != Some(&here) => self.rebuild6(Some(here), now_ms),
            Some(_) => {}
            None => self.rebuild6(None, now_ms),
        }
    }

    pub(super) fn change6(&mut self, now_ms: u64) {
        let here = self.here6().cloned();
        self.rebuild6(here, now_ms);
    }

    fn rebuild6(&mut self, here: Option<Dhcpv6ServerIdentity>, now_ms: u64) {
        self.store6();
        let (Some(here), Some(config)) = (here, self.lan.six.clone()) else {
            self.six.desk = None;
            return;
        };
        self.six.nodes.clone_from(&self.parts.standing.nodes.six);
        self.six.own.clone_from(&self.parts.standing.nodes.own);
        let fixed = config.machines.values().copied();
        let of_nodes: HashSet<Ipv6Addr> = self.of_nodes().filter_map(Ipv6Addr::of_ip).collect();
        let unoffered = self
            .lan
            .of_others
            .iter()
            .copied()
            .filter_map(Ipv6Addr::of_ip)
            .collect();
        let nodes = self.six.nodes.iter().copied().chain([here.address]);
        let nodes = nodes.chain(of_nodes.iter().copied());
        let reserved: HashSet<Ipv6Addr> =
            fixed.chain(nodes).chain([config.network.first]).collect();
        let plan = self.range6().map(|range| PoolConfig {
            range,
            lease_s: config.lease_s,
            reserved,
            unoffered,
        });
        let fates = self.parts.shares.fates6(self.ranges());
        let Ipv6State { desk, keeping, .. } = &mut self.six;
        let before = desk.as_mut().and_then(Dhcpv6Server::pool);
        let held = &self.parts.standing.held;
        let known = before.iter().flat_map(|pool| pool.superseded());
        let known: BTreeSet<Ipv6Addr> = known.map(|(address, _)| address).collect();
        let pool = plan.map(|plan| keeping.pool(plan, before.as_deref(), held, &fates, now_ms));
        let mut new = Dhcpv6Server::new(self.lan.clone(), config, here, pool);
        new.set_of_nodes(of_nodes);
        let superseded = new.superseded();
        *desk = Some(new.following(desk.take()));
        self.report_superseded(&known, superseded, now_ms);
        self.pass_turns();
    }

    pub fn range6(&self) -> Option<Range<Ipv6Addr>> {
        let (first, last) = self.lan.six.as_ref()?.range?;
        Some(Range {
            first,
            last,
            parts: self.parts.count,
        })
    }

    /// Returns whether leases of IPv6 must be stored, and no journal is open.
    pub fn needs_journal6(&self) -> bool {
        self.range6().is_some() && !self.six.keeping.is_kept()
    }

    pub fn keep_in6(&mut self, journal: Result<LeaseJournal<Ipv6Addr>, String>, now_ms: u64) {
        let is_kept = journal.is_ok();
        self.six.keeping.keep_in(journal);
        if is_kept {
            self.change6(now_ms);
        }
    }

    pub(super) fn stand6(&mut self, before: &BTreeMap<usize, HeldPart>, now_ms: u64) {
        let fates = self.parts.shares.fates6(self.ranges());
        let held = &self.parts.standing.held;
        let Ipv6State { desk, keeping, .. } = &mut self.six;
        let pool = desk.as_mut().and_then(Dhcpv6Server::pool);
        keeping.apply_held_parts(pool, before, held, &fates, now_ms);
        let is_same = self.six.nodes == self.parts.standing.nodes.six
            && self.six.own == self.parts.standing.nodes.own;
        if !is_same {
            self.change6(now_ms);
        }
    }

    pub(super) fn give_up6(&mut self, part: usize) {
        let Ipv6State { desk, keeping, .. } = &mut self.six;
        keeping.give_up(desk.as_mut().and_then(Dhcpv6Server::pool), part);
    }

    pub fn store6(&mut self) {
        let changes = self.six.pool().map(Pool::changes).unwrap_or_default();
        self.six.keeping.store(&changes, Moment::now().boottime_ms);
        self.send_changes(self.range6(), &changes);
    }

    pub(super) fn is_stored6(&mut self) -> bool {
        let has_pool = self.range6().is_none() || self.six.pool().is_some();
        let has_changes = self.six.pool().is_some_and(|pool| pool.has_changes());
        has_pool && self.can_keep6() && !has_changes
    }

    pub(super) fn can_keep6(&self) -> bool {
        !self.needs_journal6() && self.six.keeping.trouble.is_none()
    }

    pub fn may_tell6(&self, mac: Mac) -> bool {
        self.six.keeping.may_tell(mac)
    }

    pub(super) fn next_end6_ms(&mut self) -> Option<u64> {
        self.six.pool()?.next_end_ms()
    }

    pub(super) fn expire6(&mut self, now_ms: u64) {
        if let Some(pool) = self.six.pool() {
            pool.expire(now_ms);
        }
    }

    /// Decides the response to a DHCPv6 packet. `card`: the MAC address of the sender, if it is
    /// known. None: the packet is invalid, of another network, or over the rate limit.
    pub fn decide6(
        &mut self,
        packet: &[u8],
        from: Ipv6Addr,
        card: Option<Mac>,
        now_ms: u64,
    ) -> Option<(Request, Dhcpv6Decision)> {
        self.counts.requests += 1;
        self.end_parts(now_ms);
        let Ok(request) = Request::read(packet, from, card) else {
            self.counts.unreadable += 1;
            return None;
        };
        if !self.is_for_here6(&request, from) {
            return None;
        }
        if !self.limit.admits(request.mac, now_ms) {
            self.counts.limited += 1;
            return None;
        }
        let here = &self.six.desk.as_ref()?.here().duid;
        let names_another = request.server.as_ref().is_some_and(|server| server != here);
        // RELEASE and DECLINE are for this node or for none.
        let gives_back = matches!(
            request.kind,
            Dhcpv6MessageType::Release | Dhcpv6MessageType::Decline
        );
        let silent = if gives_back {
            self.why_closed()
        } else {
            self.why_silent(request.mac, names_another, now_ms)
        };
        let decision = match silent {
            Some(why) => Dhcpv6Decision::silent(why),
            None => self.six.desk.as_mut()?.decide(&request, now_ms),
        };
        let decision = self.without_refusal6(&request, decision);
        let offered = decision
            .answer
            .as_ref()
            .filter(|answer| answer.verdict == Dhcpv6ResponseType::Advertise)
            .and_then(|answer| answer.grants.iter().find_map(|grant| grant.address));
        let decision = match self.cannot_offer(request.mac, offered.map(IpAddr::V6)) {
            Some(why) => Dhcpv6Decision {
                answer: None,
                why,
                is_lease: false,
            },
            None => decision,
        };
        let mut grants = decision.answer.iter().flat_map(|answer| &answer.grants);
        let given = grants.find_map(|grant| grant.address);
        if let Some(address) = given {
            self.knows(address.into(), request.mac);
        }
        self.counts.answers += u64::from(decision.answer.is_some());
        self.history.add(request.mac, step(&request, &decision));
        Some((request, decision))
    }

    /// Suppresses a refusal while this node may not act on its version of the configuration: a node
    /// with the current version may have assigned the address.
    fn without_refusal6(&self, request: &Request, decision: Dhcpv6Decision) -> Dhcpv6Decision {
        let gives_none =
            |answer: &Dhcpv6Response| answer.grants.iter().all(|one| one.address.is_none());
        let asks_for_one = !matches!(
            request.kind,
            Dhcpv6MessageType::Information
                | Dhcpv6MessageType::Release
                | Dhcpv6MessageType::Decline
        );
        let is_refused = asks_for_one && decision.answer.as_ref().is_some_and(gives_none);
        if !self.is_reserve() || !is_refused {
            return decision;
        }
        let (why, reason) = (&decision.why, self.reserve.admission.why());
        Dhcpv6Decision::silent(format!("{why}; it is not refused: {reason}"))
    }

    /// Returns whether a request comes from this network: directly from a neighbour, or through a
    /// relay in it.
    fn is_for_here6(&self, request: &Request, from: Ipv6Addr) -> bool {
        let Some(desk) = &self.six.desk else {
            return false;
        };
        // The relay nearest to the client names the link, and further relays may leave the field
        // unspecified.
        let mut links = request.hops.iter().rev().map(|hop| hop.link);
        let link = links.find(|link| !link.is_unspecified());
        match (link, request.hops.is_empty()) {
            (Some(link), _) => desk.network().has(link),
            (None, true) => from.is_unicast_link_local() && self.advertises().is_some(),
            (None, false) => false,
        }
    }

    pub fn written6(&self, request: &Request, decision: &Dhcpv6Decision) -> Option<Vec<u8>> {
        let (desk, answer) = (self.six.desk.as_ref()?, decision.answer.as_ref()?);
        let domain = self.lan.tells.domain.as_deref();
        let duid = &desk.here().duid;
        Some(crate::dhcp6::reply::write(
            request,
            answer,
            duid,
            desk.six(),
            domain,
        ))
    }
}

fn step(request: &Request, decision: &Dhcpv6Decision) -> BootHistoryEntry {
    let mut asked = format!("{} by {}", request.kind.word(), request.stage.word());
    let mut named = request.associations.iter().flat_map(|one| &one.addresses);
    if let Some(address) = named.next() {
        asked.push_str(&format!(" for {address}"));
    }
    if let Some(hop) = request.hops.last() {
        asked.push_str(&format!(" through relay {}", hop.link));
    }
    let answered = decision.answer.as_ref().map_or_else(String::new, |answer| {
        let mut words = answer.verdict.word().to_owned();
        let address = answer.grants.iter().find_map(|grant| grant.address);
        let status = answer.grants.iter().find_map(|grant| grant.status);
        match (address, answer.status.or(status)) {
            (Some(address), _) => words.push_str(&format!(" {address}")),
            (None, Some(status)) => words.push_str(&format!(" {}", status.word())),
            (None, None) => {}
        }
        words
    });
    BootHistoryEntry {
        at: Moment::now(),
        asked,
        answered,
        why: decision.why.clone(),
        times: 1,
    }
}

#[cfg(test)]
mod tests;
