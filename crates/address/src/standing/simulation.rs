//! Simulates two nodes and an arbiter in virtual time. VRRP and the links of the cluster are cut
//! separately, configuration versions are accepted, processes and control roles are frozen, killed
//! and restarted, and nodes are removed. `STANDING_SEED=n` replays one history.

use super::*;
use crate::standing::plain;
use lab::Random;
use lab::sim::{assert_found, run_seeds};
use protocol::vrrp::{
    AdvertTransport, Garp, Instance as At, Reason, Resume, Router, Settings, Time, VrrpAction,
    VrrpState, VrrpVersion,
};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

const HISTORIES: u64 = 300;
/// Number of histories within which each defect must be found.
const FOUND_WITHIN: u64 = 300;
const TICK_MS: u64 = 20;
const INTERVAL: Duration = Duration::from_millis(100);
/// Validity of a confirmation, milliseconds.
const CONFIRMED_MS: u64 = 2_000;
/// Time for which a node is behind before other nodes report it, milliseconds.
const BEHIND_AFTER_MS: u64 = 3_000;
/// Maximum time without an owner while a healthy node runs undisturbed: the down interval, plus two
/// extensions for the node's own delay.
const NOWHERE_MS: u64 = 1_200;
/// Time for which a killed process leaves its addresses in the kernel.
const LIFETIME_MS: u64 = 1_000;
const CALM_MS: u64 = 10_000;
const NODES: usize = 2;
const ARBITER: usize = 2;
const NAMES: [&str; NODES] = ["alpha", "beta"];
const ONE: At = At(0);

/// Rule that is left out to verify that the checks find the violation.
#[derive(Clone, Copy, PartialEq, Debug)]
enum OmittedRule {
    TakesUnconfirmed,
    ForgetsOthers,
    ServesRemoved,
    WaitsForMajority,
    ResumesUnbound,
    TrustsEndedProcesses,
}

struct OwnershipNode {
    router: Option<Router>,
    state: VrrpState,
    has: bool,
    expires_ms: u64,
    frozen_until_ms: u64,
    starts_at_ms: u64,
    control_from_ms: u64,
    steady_since_ms: u64,
    inbox: VecDeque<(IpAddr, Vec<u8>)>,
    news: MemberNews,
    serves: u64,
    /// Version that the others believe the node serves.
    reported: u64,
    is_loading: bool,
    kept: Option<Resume>,
    /// True if the node is master because its killed process was.
    is_resumed: bool,
    /// True if a majority has confirmed the configuration version since the last start.
    is_confirmed: bool,
    started_ms: u64,
    service: Service,
    membership: Membership,
}

#[derive(Default)]
struct Membership {
    is_removed: bool,
    knows_removal_since_ms: Option<u64>,
    confirmed_since_ms: Option<u64>,
    /// Time since which the node's control role knows that the other node serves an older
    /// configuration version.
    sees_behind_since_ms: Option<u64>,
}

struct OwnershipSimulation {
    now_ms: u64,
    nodes: Vec<OwnershipNode>,
    vrrp: bool,
    /// Links alpha to beta, alpha to the arbiter, beta to the arbiter.
    links: [bool; 3],
    arbiter: bool,
    accepted: u64,
    accepted_at_ms: u64,
    nowhere_since_ms: Option<u64>,
    /// Time since which a node outranks a stale owner that it hears.
    stale_owner_since_ms: Option<u64>,
    /// Time since which a current node hears a stale owner that was only restarted.
    resumed_owner_since_ms: Option<u64>,
    vrrp_since_ms: u64,
    preempt: bool,
    instances: Vec<Instance>,
    defect: Option<OmittedRule>,
}

fn address(node: usize) -> IpAddr {
    IpAddr::from([10, 9, 0, 1 + node as u8])
}

fn settings(node: usize, preempt: bool) -> Settings {
    Settings {
        name: "www".to_owned(),
        vrid: 51,
        version: VrrpVersion::V3,
        ipv6: false,
        priority: plain(node)[0],
        interval: INTERVAL,
        down_adverts: 3,
        addresses: vec![IpAddr::from([10, 9, 0, 100])],
        source: Some(address(node)),
        transport: AdvertTransport::Multicast(IpAddr::from([224, 0, 0, 18])),
        authentication: None,
        starts_as_master: false,
        preempt,
        preempt_delay: Duration::ZERO,
        startup_delay: Duration::ZERO,
        lower_prio_no_advert: false,
        higher_prio_send_advert: true,
        skip_check_addresses: true,
        old_unicast_checksum: None,
        strict: false,
        garp: Garp {
            delay: Duration::ZERO,
            repeat: 1,
            lower_prio_delay: Duration::ZERO,
            lower_prio_repeat: 1,
            refresh: Duration::ZERO,
            refresh_repeat: 1,
        },
        probing: None,
        place: priorities(node as u8),
    }
}

impl OwnershipNode {
    fn new() -> OwnershipNode {
        OwnershipNode {
            router: None,
            state: VrrpState::Init,
            has: false,
            expires_ms: u64::MAX,
            frozen_until_ms: 0,
            starts_at_ms: 0,
            control_from_ms: 0,
            steady_since_ms: 0,
            inbox: VecDeque::new(),
            news: MemberNews::default(),
            serves: 1,
            reported: 1,
            is_loading: true,
            kept: None,
            is_resumed: false,
            is_confirmed: false,
            started_ms: 0,
            service: Service::All,
            membership: Membership::default(),
        }
    }

    fn is_awake(&self, now_ms: u64) -> bool {
        self.router.is_some() && self.frozen_until_ms <= now_ms
    }

    fn is_owner(&self, now_ms: u64) -> bool {
        self.is_awake(now_ms) && self.state == VrrpState::Master && self.has
    }
}

/// Returns whether a condition has lasted for longer than the bound; `since_ms` stores its start.
fn lasts_too_long(since_ms: &mut Option<u64>, lasts: bool, now_ms: u64) -> bool {
    if !lasts {
        *since_ms = None;
        return false;
    }
    now_ms > *since_ms.get_or_insert(now_ms) + NOWHERE_MS
}

impl OwnershipSimulation {
    fn new(random: &mut Random, defect: Option<OmittedRule>) -> OwnershipSimulation {
        let preempt = random.percent(75);
        let instance = |at| Instance {
            prefer: NAMES.map(str::to_owned).to_vec(),
            bands: Some(plain(at)),
            options: crate::config::Options {
                preempt,
                ..Default::default()
            },
            ..Instance::default()
        };
        OwnershipSimulation {
            now_ms: 0,
            nodes: (0..NODES).map(|_| OwnershipNode::new()).collect(),
            vrrp: true,
            links: [true; 3],
            arbiter: true,
            accepted: 1,
            accepted_at_ms: 0,
            nowhere_since_ms: None,
            stale_owner_since_ms: None,
            resumed_owner_since_ms: None,
            vrrp_since_ms: 0,
            preempt,
            instances: (0..NODES).map(instance).collect(),
            defect,
        }
    }

    /// Returns the members that a member can reach, also through a third one.
    fn component(&self, of: usize) -> Vec<usize> {
        let up = |member: usize| match member {
            ARBITER => self.arbiter,
            node => {
                let node = &self.nodes[node];
                let runs = node.is_awake(self.now_ms) && node.control_from_ms <= self.now_ms;
                runs && !node.membership.is_removed
            }
        };
        let linked = |one: usize, other: usize| match (one.min(other), one.max(other)) {
            (0, 1) => self.links[0],
            (0, _) => self.links[1],
            _ => self.links[2],
        };
        let mut found: Vec<usize> = if up(of) { vec![of] } else { vec![] };
        let mut at = 0;
        while let Some(one) = found.get(at).copied() {
            at += 1;
            for other in 0..=ARBITER {
                if other != one && !found.contains(&other) && up(other) && linked(one, other) {
                    found.push(other);
                }
            }
        }
        found
    }

    fn has_majority(&self, component: &[usize]) -> bool {
        let members = 1 + self
            .nodes
            .iter()
            .filter(|node| !node.membership.is_removed)
            .count();
        component.len() * 2 > members
    }

    /// Runs the control role of a node: reports to its address role.
    fn report(&mut self, at: usize) {
        let now_ms = self.now_ms;
        if !self.nodes[at].is_awake(now_ms) || self.nodes[at].control_from_ms > now_ms {
            return;
        }
        if self.nodes[at].membership.is_removed {
            let reaches = match at {
                0 => (self.links[0], self.links[1]),
                _ => (self.links[0], self.links[2]),
            };
            let other = self.nodes[1 - at].is_awake(now_ms);
            if (reaches.0 && other) || (reaches.1 && self.arbiter) {
                self.nodes[at].news.version = VersionStanding::Removed;
                self.nodes[at]
                    .membership
                    .knows_removal_since_ms
                    .get_or_insert(now_ms);
            }
            return;
        }
        let component = self.component(at);
        if !self.has_majority(&component) {
            self.nodes[at].membership.confirmed_since_ms = None;
            return;
        }
        let accepted = self.accepted;
        if self.nodes[at].is_loading {
            self.nodes[at].serves = accepted;
        }
        self.nodes[at].reported = self.nodes[at].serves;
        let other = &self.nodes[1 - at];
        let other_is_removed = other.membership.is_removed;
        let is_behind = !other_is_removed && other.reported != accepted;
        let node = &mut self.nodes[at];
        if node.serves == accepted {
            (node.is_confirmed, node.is_resumed) = (true, false);
        }
        node.membership.confirmed_since_ms.get_or_insert(now_ms);
        let since_ms = node.membership.sees_behind_since_ms.unwrap_or(now_ms);
        node.membership.sees_behind_since_ms = is_behind.then_some(since_ms);
        let is_reported = node
            .membership
            .sees_behind_since_ms
            .is_some_and(|at| at + BEHIND_AFTER_MS <= now_ms);
        node.news = MemberNews {
            version: if node.serves == accepted {
                VersionStanding::Current
            } else {
                VersionStanding::Outdated
            },
            until_ns: (now_ms + CONFIRMED_MS) * 1_000_000,
            behind: if is_reported && node.serves == accepted {
                vec![NAMES[1 - at].to_owned()]
            } else {
                Vec::new()
            },
            has_removed: other_is_removed,
            ..MemberNews::default()
        };
    }

    fn facts(&self, at: usize) -> OwnershipFacts {
        let node = &self.nodes[at];
        let mut facts = OwnershipFacts::of(
            &self.instances[at],
            true,
            &node.news,
            self.now_ms * 1_000_000,
        );
        facts.service = node.service;
        facts.is_resumed = node.is_resumed && self.defect != Some(OmittedRule::ResumesUnbound);
        match (self.defect, facts.version) {
            (Some(OmittedRule::TakesUnconfirmed), VersionStanding::Unconfirmed) => {
                facts.version = VersionStanding::Current;
            }
            (Some(OmittedRule::ForgetsOthers), _) => {
                facts.behind.clear();
                facts.is_ahead = false;
            }
            (Some(OmittedRule::ServesRemoved), VersionStanding::Removed) => {
                facts.version = VersionStanding::Unconfirmed;
            }
            _ => {}
        }
        facts
    }

    fn run_node(&mut self, at: usize) -> Result<(), String> {
        let now_ms = self.now_ms;
        let node = &mut self.nodes[at];
        if node.expires_ms <= now_ms {
            (node.has, node.expires_ms) = (false, u64::MAX);
        }
        let time = Time(now_ms * 1_000_000 + 1);
        if node.router.is_none() {
            if node.starts_at_ms > now_ms {
                return Ok(());
            }
            node.router = Some(Router::new(vec![settings(at, self.preempt)], vec![]));
            node.steady_since_ms = now_ms;
            node.news = MemberNews::default();
            (node.is_confirmed, node.started_ms) = (false, now_ms);
            node.is_resumed = node.kept.is_some();
        }
        if node.frozen_until_ms > now_ms {
            return Ok(());
        }
        let facts = self.facts(at);
        let rank = facts.ownership_rank();
        let waits = self.defect == Some(OmittedRule::WaitsForMajority)
            && facts.version != VersionStanding::Current;
        let fault = (rank.is_none() || waits).then(|| facts.row().why().to_owned());
        let node = &mut self.nodes[at];
        let Some(mut router) = node.router.take() else {
            return Ok(());
        };
        router.set_standing(time, ONE, rank);
        router.set_fault(time, ONE, fault);
        if node.state == VrrpState::Init {
            router.start(time, ONE, node.kept.take());
        }
        for (from, bytes) in std::mem::take(&mut node.inbox) {
            router.handle_packet(time, ONE, from, 255, &bytes);
        }
        router.handle_time(time);
        while let Some(action) = router.poll() {
            match action {
                VrrpAction::Send { bytes, .. } => {
                    let other = &mut self.nodes[1 - at];
                    if self.vrrp && other.router.is_some() && other.inbox.len() < 32 {
                        other.inbox.push_back((address(at), bytes));
                    }
                }
                VrrpAction::Acquire { .. } => {
                    self.nodes[at].has = true;
                    self.nodes[at].expires_ms = u64::MAX;
                }
                VrrpAction::Release { .. } => self.nodes[at].has = false,
                VrrpAction::Entered { from, to, why, .. } => {
                    self.nodes[at].state = to;
                    self.nodes[at].is_resumed &= to == VrrpState::Master;
                    self.check_move(at, from, to, &why)?;
                }
                _ => {}
            }
        }
        self.nodes[at].router = Some(router);
        Ok(())
    }

    fn is_stale(&self, at: usize) -> bool {
        self.nodes[at].membership.is_removed || self.nodes[at].serves != self.accepted
    }

    fn check_move(
        &self,
        at: usize,
        from: VrrpState,
        to: VrrpState,
        why: &Reason,
    ) -> Result<(), String> {
        let other = &self.nodes[1 - at];
        let settled = self.now_ms > self.accepted_at_ms + CONFIRMED_MS;
        let is_current = !self.is_stale(1 - at) && other.service != Service::None;
        if let (VrrpState::Master, Reason::Preempts { .. }) = (to, why)
            && settled
            && self.is_stale(at)
            && is_current
            && other.is_awake(self.now_ms)
        {
            return Err(format!(
                "{} took the address from a current owner: {why:?}",
                NAMES[at]
            ));
        }
        let known_ms = CONFIRMED_MS + BEHIND_AFTER_MS + 500;
        let node = &self.nodes[at];
        let is_known = self.now_ms > self.accepted_at_ms + known_ms
            && node
                .membership
                .confirmed_since_ms
                .is_some_and(|at| at + known_ms < self.now_ms)
            && node
                .membership
                .sees_behind_since_ms
                .is_some_and(|at| at + known_ms < self.now_ms);
        if let (VrrpState::Master, VrrpState::Backup, Reason::Preempted { .. }) = (from, to, why)
            && is_known
            && !self.is_stale(at)
            && node.service != Service::None
            && self.is_stale(1 - at)
        {
            return Err(format!("{} yielded to a stale node: {why:?}", NAMES[at]));
        }
        Ok(())
    }

    fn check_moment(&mut self) -> Result<(), String> {
        let now_ms = self.now_ms;
        for (node, name) in self.nodes.iter().zip(NAMES) {
            let knows = node
                .membership
                .knows_removal_since_ms
                .is_some_and(|at| at + 500 < now_ms);
            if knows && node.is_owner(now_ms) {
                return Err(format!(
                    "{name} was removed, knows it, and owns the address"
                ));
            }
        }
        self.check_stale_owner()?;
        self.check_resumed_owner()?;
        let is_healthy = |node: &OwnershipNode| {
            node.is_awake(now_ms)
                && node.steady_since_ms + NOWHERE_MS < now_ms
                && node.membership.knows_removal_since_ms.is_none()
        };
        let is_owned = self.nodes.iter().any(|node| node.is_owner(now_ms));
        let is_nowhere = !is_owned && self.nodes.iter().any(is_healthy);
        if lasts_too_long(&mut self.nowhere_since_ms, is_nowhere, now_ms) {
            Err("the address has no owner".to_owned())
        } else {
            Ok(())
        }
    }

    /// Checks that an address leaves an owner without the accepted version for a node that serves
    /// it.
    fn check_stale_owner(&mut self) -> Result<(), String> {
        let now_ms = self.now_ms;
        let known_ms = CONFIRMED_MS + BEHIND_AFTER_MS + 500;
        let outranks = |at: usize| {
            let (node, other) = (&self.nodes[at], &self.nodes[1 - at]);
            // A node that was restarted must be known as behind.
            let behind_since_ms = if other.is_confirmed {
                node.membership.sees_behind_since_ms
            } else {
                Some(other.started_ms)
            };
            let since = [
                node.membership.confirmed_since_ms,
                behind_since_ms,
                Some(self.vrrp_since_ms),
            ];
            let is_settled = |at: &Option<u64>| at.is_some_and(|at| at + known_ms < now_ms);
            node.is_awake(now_ms)
                && node.service == Service::All
                && node.steady_since_ms + known_ms < now_ms
                && since.iter().all(is_settled)
                && !self.is_stale(at)
                && other.is_owner(now_ms)
                && self.is_stale(1 - at)
        };
        let has_stale_owner = self.vrrp && (0..NODES).any(outranks);
        if lasts_too_long(&mut self.stale_owner_since_ms, has_stale_owner, now_ms) {
            Err("a stale node keeps the address".to_owned())
        } else {
            Ok(())
        }
    }

    /// Checks that an owner that was only restarted, with an older version, does not keep the
    /// address from a node with the accepted version.
    fn check_resumed_owner(&mut self) -> Result<(), String> {
        let now_ms = self.now_ms;
        let is_bound = |at: usize| {
            let (node, other) = (&self.nodes[at], &self.nodes[1 - at]);
            let since = [node.membership.confirmed_since_ms, Some(self.vrrp_since_ms)];
            let is_settled = |at: &Option<u64>| at.is_some_and(|at| at + CONFIRMED_MS < now_ms);
            node.is_awake(now_ms)
                && node.service == Service::All
                && node.steady_since_ms + CONFIRMED_MS < now_ms
                && since.iter().all(is_settled)
                && !self.is_stale(at)
                && other.is_owner(now_ms)
                && other.service != Service::None
                && !other.is_confirmed
                && other.is_resumed
                && self.is_stale(1 - at)
        };
        let has_resumed_owner = self.vrrp && (0..NODES).any(is_bound);
        if lasts_too_long(&mut self.resumed_owner_since_ms, has_resumed_owner, now_ms) {
            Err("a restarted stale node keeps the address".to_owned())
        } else {
            Ok(())
        }
    }

    fn step(&mut self) -> Result<(), String> {
        self.now_ms += TICK_MS;
        for at in 0..NODES {
            self.report(at);
        }
        for at in 0..NODES {
            self.run_node(at)?;
        }
        self.check_moment()
    }

    fn accept(&mut self) {
        let nodes = 0..NODES;
        let can = nodes.into_iter().any(|at| {
            let component = self.component(at);
            self.nodes[at].is_loading && self.has_majority(&component)
        });
        if can {
            self.accepted += 1;
            self.accepted_at_ms = self.now_ms;
            // The nodes that accepted the version serve it from that moment.
            (0..NODES).for_each(|at| self.report(at));
        }
    }

    fn kill(&mut self, at: usize, for_ms: u64, with_kernel: bool) {
        let now_ms = self.now_ms;
        let trusts = self.defect == Some(OmittedRule::TrustsEndedProcesses);
        let node = &mut self.nodes[at];
        let router = node.router.take();
        let kept =
            router.and_then(|router| router.instance_snapshot(Time(now_ms * 1_000_000), ONE));
        // The kernel closes the connections of a killed process: the others know that it has ended.
        node.reported = if trusts { node.reported } else { 0 };
        // The kernel of a machine that stays has the addresses for a while.
        node.kept = kept.filter(|kept| !with_kernel && kept.state == VrrpState::Master);
        node.state = VrrpState::Init;
        node.inbox.clear();
        node.starts_at_ms = now_ms + for_ms;
        node.frozen_until_ms = 0;
        // The control role needs a moment to reach the others.
        node.control_from_ms = node.control_from_ms.max(now_ms + for_ms + 500);
        node.membership.confirmed_since_ms = None;
        node.expires_ms = now_ms + if with_kernel { 0 } else { LIFETIME_MS };
    }

    fn disturb(&mut self, random: &mut Random) -> String {
        let at = random.index(NODES);
        let for_ms = random.between(100, 8_000);
        let now_ms = self.now_ms;
        let what = random.below(18);
        match what {
            0 => self.vrrp = false,
            1 | 2 if !self.vrrp => (self.vrrp, self.vrrp_since_ms) = (true, now_ms),
            1 | 2 => {}
            3 | 4 => self.links[random.index(3)] = false,
            5 => self.links = [true; 3],
            6 => (self.links[0], self.links[1 + at]) = (false, false),
            7 => self.arbiter = !self.arbiter,
            8 => {
                let node = &mut self.nodes[at];
                node.frozen_until_ms = now_ms + for_ms;
                node.steady_since_ms = now_ms + for_ms;
                node.membership.confirmed_since_ms = None;
            }
            9 => self.kill(at, for_ms, false),
            10 => self.kill(at, for_ms, true),
            11 => self.nodes[at].control_from_ms = now_ms + for_ms,
            12 => self.nodes[at].is_loading = !self.nodes[at].is_loading,
            13 => {
                let all = [Service::All, Service::All, Service::Some, Service::None];
                self.nodes[at].service = random.pick(&all);
                self.nodes[at].steady_since_ms = now_ms;
            }
            14 => {
                let others = self.component(1 - at);
                let is_away = !others.contains(&at);
                let both_there = self.nodes.iter().all(|node| !node.membership.is_removed);
                if random.percent(60) && both_there && is_away && self.has_majority(&others) {
                    self.nodes[at].membership.is_removed = true;
                    self.nodes[at].membership.confirmed_since_ms = None;
                    self.nodes[1 - at].membership.sees_behind_since_ms = None;
                }
            }
            16 => {
                // All processes are restarted with an older version, and without the cluster.
                self.kill(at, random.between(20, 300), false);
                let node = &mut self.nodes[at];
                node.is_loading = false;
                node.serves = node.serves.saturating_sub(random.below(2)).max(1);
                node.control_from_ms = now_ms + for_ms + random.below(2) * 20_000;
            }
            _ => self.accept(),
        }
        format!("{now_ms:>7} ms: {what} {} {for_ms}", NAMES[at])
    }

    fn heal(&mut self) {
        self.vrrp = true;
        self.links = [true; 3];
        self.arbiter = true;
        for node in &mut self.nodes {
            node.is_loading = true;
            node.service = Service::All;
            node.control_from_ms = node.control_from_ms.min(self.now_ms + 1_000);
            node.starts_at_ms = node.starts_at_ms.min(self.now_ms + 1_000);
            node.frozen_until_ms = node.frozen_until_ms.min(self.now_ms + 1_000);
        }
    }

    fn check_end(&self) -> Result<(), String> {
        let owners: Vec<usize> = (0..NODES).filter(|at| self.nodes[*at].has).collect();
        match owners[..] {
            [at] if self.is_stale(at) => Err(format!("{} is stale and owns it", NAMES[at])),
            [1] if self.preempt && !self.nodes[0].membership.is_removed => {
                Err("the preferred node has not taken it".to_owned())
            }
            [_] => Ok(()),
            _ => Err(format!("owners at the end: {owners:?}")),
        }
    }
}

fn history(seed: u64, defect: Option<OmittedRule>) -> Result<(), String> {
    let mut random = Random::new(seed);
    let mut world = OwnershipSimulation::new(&mut random, defect);
    let mut told = Vec::new();
    let mut run = || {
        let mut next_ms = 3_000;
        let steps = random.between(3, 12);
        for _ in 0..steps {
            while world.now_ms < next_ms {
                world.step()?;
            }
            told.push(world.disturb(&mut random));
            next_ms += random.pick(&[60, 500, 2_500, 9_000]);
        }
        while world.now_ms < next_ms {
            world.step()?;
        }
        world.heal();
        while world.now_ms < next_ms + CALM_MS {
            world.step()?;
        }
        world.check_end()
    };
    let outcome: Result<(), String> = run();
    outcome.map_err(|what| format!("{} ms: {what}\n{}", world.now_ms, told.join("\n")))
}

#[test]
fn histories_keep_what_the_table_promises() {
    run_seeds("STANDING", HISTORIES, |seed| history(seed, None));
}

#[test]
fn left_out_rules_are_found() {
    let all = [
        OmittedRule::TakesUnconfirmed,
        OmittedRule::ForgetsOthers,
        OmittedRule::ServesRemoved,
        OmittedRule::WaitsForMajority,
        OmittedRule::ResumesUnbound,
        OmittedRule::TrustsEndedProcesses,
    ];
    assert_found(&all, FOUND_WITHIN, |seed, rule| history(seed, Some(rule)));
}
