//! Simulates random histories of the leases of two nodes that share a range. Parts of the range
//! pass
//! between the nodes. Nodes crash, restart from their disks and pause between any two steps;
//! clocks are wrong by up to 500 ppm; packets are lost, late and duplicated; clients renew late,
//! restart, release and decline. A seed replays a history.
//!
//! Each node sends the leases of its parts to the other one, over a connection that breaks at any
//! point; a copy may be lost, and records of the cluster are late. The range changes, and the
//! nodes learn of that at different times. The disk of a node may be empty or an older copy after a
//! crash, and a client may lie.
//!
//! Invariant: two clients never believe at one time that they have the same address, each by its
//! own clock, from when it sent the request.
//!
//! `BOOT_SEED=n cargo test -p evenkeel-boot dhcp::simulation` repeats the history `n`.

mod client;
mod defects;
mod node;
mod together;

use super::desk::{ClusterNodeAddresses, DhcpNodeAddresses};
use super::mirror::LeaseCopyMessage;
use super::moves::PartClaim;
use super::range::Range;
use super::request::{
    BootStage, DhcpMessageType, EchoedOptions, RelayRoute, Request, RequestedAddresses,
};
use crate::config::{
    AddressSource, ClientParameters, Ipv4Network, LanConfig, LanPorts, UnknownMachinePolicy,
};
use crate::mac::Mac;
use client::{Client, Got};
use defects::InjectedDefect;
use lab::{Random, setting};
use node::SimulatedNode;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;

const SEEDS: u64 = 1_500;
const STEPS: u64 = 1_500;
/// Longest lifetime of a packet, milliseconds.
const PACKET_MS: u64 = 50_000;
/// Time for which the cluster grants a part, milliseconds.
const GRANT_MS: u64 = 10_000;
const PARTS: usize = 2;
const LEASES_S: [u32; 4] = [120, 600, 3_600, 2_073_600];

/// Clock with its own start and rate.
#[derive(Clone, Copy, Debug)]
struct Clock {
    offset_ms: u64,
    ppm: i64,
}

impl Clock {
    fn new(random: &mut Random) -> Clock {
        let ppm = match random.below(4) {
            0 => -500,
            1 => 500,
            _ => random.below(1_001).cast_signed() - 500,
        };
        Clock {
            offset_ms: random.below(1 << 40),
            ppm,
        }
    }

    fn at(self, true_ms: u64) -> u64 {
        let drift = true_ms.cast_signed() * self.ppm / 1_000_000;
        (true_ms + self.offset_ms).saturating_add_signed(drift)
    }
}

#[derive(Clone, Copy, Debug)]
struct SimulatedReply {
    xid: u32,
    mac: Mac,
    verdict: super::reply::DhcpReplyType,
    address: Option<Ipv4Addr>,
    lease_ms: u64,
    server: Ipv4Addr,
}

#[derive(Clone, Debug)]
enum Packet {
    /// Request to the node with this number.
    Request(usize, Request),
    Reply(SimulatedReply),
}

/// Node that holds a part, and the end of the grant.
#[derive(Clone, Copy, Debug, Default)]
struct Grant {
    node: Option<usize>,
    until_ms: u64,
}

/// Record under the cluster lease of a part.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Record {
    /// Node that assigns addresses of the part; empty: no node did yet.
    node: String,
    epoch: u64,
    number: u64,
    /// Nodes that know all leases.
    named: BTreeSet<String>,
    /// Range by which the node assigns addresses, and those of previous ranges.
    claim: PartClaim,
    /// True if the node has stored which addresses others may have assigned.
    clear: bool,
    /// True if no client has got a lease in this epoch.
    unheard: bool,
    /// Number of the node's disk, and of the disk of the previous holder.
    disk: u64,
    before: u64,
    /// True if all leases by the previous records are the node's own, while the record is not
    /// clear.
    own: bool,
    longest_s: u32,
    /// Node that knows what is withheld because of the record's node, and the number of its disk.
    former: Option<(String, u64)>,
    /// Two flags: the node in `former` had all of the part, and the record's node knew what the
    /// node in `former` did not know.
    knows: (bool, bool),
}

/// Record that has not reached the cluster yet.
#[derive(Clone, Debug)]
struct Write {
    part: usize,
    record: Record,
}

/// Connection on which a node sends its parts to the other one.
#[derive(Debug, Default)]
struct SimulatedConnection {
    /// Number of the connection at the node; None: there is none.
    link: Option<u64>,
    told: VecDeque<LeaseCopyMessage>,
    known: VecDeque<LeaseCopyMessage>,
}

/// Event counters: a history without events proves nothing.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    leases: u64,
    renewals: u64,
    /// Renewals by a node that had not given the lease.
    taken_over: u64,
    refused: u64,
    /// Parts that were taken over with all their leases.
    adopted: u64,
    /// Parts that were taken by another range, with leases of the other node.
    moved: u64,
    /// Parts that returned from a node of which no client had got a lease.
    again: u64,
    /// Parts that returned from a node that withheld addresses of them.
    back: u64,
    /// Withheld addresses at which another machine responded without getting the address.
    squatted: u64,
}

struct Odds {
    /// Percentage of packets that are late.
    late: u64,
    /// Percentage of grants for the other node's part.
    restless: u64,
    /// Percentage of steps that carry a message between the nodes.
    lively: u64,
    /// Average steps that a connection of nodes lasts.
    lasting: u64,
    /// Average steps between changes of the range; zero: never.
    steady: u64,
    /// True if a node leaves a part for a while to one that knows its leases. No address may be
    /// assigned twice even if not.
    awaits: bool,
    /// True if disks of nodes may be empty after a crash.
    empties: bool,
    lies: bool,
    /// True if the nodes do not reach each other.
    apart: bool,
    sleeps: bool,
    /// True if a node crashes as soon as a client has got a lease while the record of the lease's
    /// part still says that no client has.
    strikes: bool,
    /// True if older copies of disks are put back after a crash.
    restores: bool,
}

struct DhcpSimulation {
    random: Random,
    losses: Random,
    odds: Odds,
    now_ms: u64,
    lan: LanConfig,
    clients: Vec<Client>,
    nodes: Vec<SimulatedNode>,
    grants: [Grant; PARTS],
    records: [Record; PARTS],
    /// Time since which a node does not know the leases of a part that were given in an epoch.
    unknown: BTreeMap<(usize, usize), (u64, u64)>,
    /// Writes to the cluster, with their arrival times.
    writes: Vec<(u64, Write)>,
    wires: [SimulatedConnection; 2],
    /// Packets by their arrival times.
    packets: BTreeMap<(u64, u64), Packet>,
    sent: u64,
    tally: Tally,
}

fn mac(number: u64) -> Mac {
    Mac([2, 0, 0, 0, 0, number as u8])
}

/// Client that requests addresses which it does not have.
const LIAR: Mac = Mac([2, 0, 0, 0, 0, 99]);

/// Returns true if a client sleeps at times.
fn sleeps(mac: Mac) -> bool {
    mac.0[5].is_multiple_of(2)
}

fn name(node: usize) -> String {
    node.to_string()
}

fn range_of(lan: &LanConfig) -> Range {
    let AddressSource::Range { first, last } = lan.gives else {
        unreachable!("each network here has a range");
    };
    Range {
        first,
        last,
        parts: PARTS as u32,
    }
}

fn server(node: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, 2 + node as u8)
}

fn here(node: usize) -> DhcpNodeAddresses {
    DhcpNodeAddresses {
        address: server(node),
        network: Ipv4Network::of(server(node), 24),
        nodes: ClusterNodeAddresses {
            there: vec![server(1 - node)],
            gone: Vec::new(),
            ..ClusterNodeAddresses::default()
        },
    }
}

fn gives(random: &mut Random) -> AddressSource {
    let first = random.between(100, 104) as u8;
    AddressSource::Range {
        first: Ipv4Addr::new(10, 0, 0, first),
        last: Ipv4Addr::new(10, 0, 0, first - 1 + random.between(2, 6) as u8),
    }
}

fn lan(random: &mut Random) -> LanConfig {
    let lease_s = random.pick(&LEASES_S);
    let gives = gives(random);
    LanConfig {
        interface: "lan".to_owned(),
        network: None,
        gives,
        lease_s,
        tells: ClientParameters::default(),
        disks: Default::default(),
        images: BTreeMap::new(),
        machines: BTreeMap::new(),
        unknown: UnknownMachinePolicy::Enlist,
        ports: LanPorts::default(),
        leases: "/leases".into(),
        secure_boot: false,
        six: None,
        of_nodes: Default::default(),
        of_others: Default::default(),
        virtual_addresses: Default::default(),
    }
}

/// Builds a request of a client, as it is parsed.
fn request(kind: DhcpMessageType, xid: u32, mac: Mac, claims: RequestedAddresses) -> Request {
    Request {
        kind,
        xid,
        mac,
        stage: BootStage::System,
        architecture: None,
        route: RelayRoute {
            broadcast: true,
            relay: None,
            link: None,
            hops: 0,
        },
        claims,
        echo: EchoedOptions::default(),
        host_name: String::new(),
        room: 548,
    }
}

impl DhcpSimulation {
    fn new(seed: u64, defect: Option<InjectedDefect>) -> DhcpSimulation {
        let mut random = Random::new(seed);
        let lan = lan(&mut random);
        let count = random.between(3, 8);
        let clients = (0..count).map(|number| Client::new(mac(number), Clock::new(&mut random)));
        let clients = clients.collect();
        let nodes =
            (0..2).map(|number| SimulatedNode::new(number, Clock::new(&mut random), defect));
        let nodes = nodes.collect();
        let late = random.pick(&[2, 10, 40]);
        let restless = random.pick(&[5, 30, 60]);
        let lively = random.pick(&[0, 0, 3, 20, 90]);
        let lasting = random.pick(&[4, 20, 100]);
        let steady = random.pick(&[0, 0, 60, 300]);
        DhcpSimulation {
            random,
            losses: Random::new(!seed),
            odds: Odds {
                late,
                restless,
                lively,
                lasting,
                steady,
                awaits: false,
                empties: seed.is_multiple_of(3),
                lies: seed % 4 == 1,
                apart: false,
                sleeps: false,
                strikes: false,
                restores: seed % 5 == 2,
            }
            .of(defect),
            now_ms: 1,
            lan,
            clients,
            nodes,
            grants: [Grant::default(); PARTS],
            records: Default::default(),
            unknown: BTreeMap::new(),
            writes: Vec::new(),
            wires: Default::default(),
            packets: BTreeMap::new(),
            sent: 0,
            tally: Tally::default(),
        }
    }

    fn lease_ms(&self) -> u64 {
        u64::from(self.lan.lease_s) * 1000
    }

    /// Sends a packet, which may be lost, late, or duplicated.
    fn send(&mut self, packet: &Packet) {
        let copies = match self.random.below(20) {
            0 => 0,
            1..=3 => 2,
            _ => 1,
        };
        for _ in 0..copies {
            let is_late = self.random.percent(self.odds.late);
            let delay = match (is_late, self.random.below(4)) {
                (true, _) => self.random.below(PACKET_MS),
                (false, 0) => self.random.below(1_000),
                (false, _) => self.random.below(20),
            };
            self.sent += 1;
            self.packets
                .insert((self.now_ms + delay, self.sent), packet.clone());
        }
    }

    fn send_to(&mut self, nodes: &[usize], request: &Request) {
        for node in nodes {
            self.send(&Packet::Request(*node, request.clone()));
        }
    }

    /// Delivers the packets that have arrived.
    fn deliver(&mut self) -> Result<(), String> {
        while let Some(entry) = self.packets.first_entry()
            && entry.key().0 <= self.now_ms
        {
            let came_ms = entry.key().0;
            match entry.remove() {
                Packet::Request(node, request) => self.nodes[node].receive(request, came_ms),
                Packet::Reply(reply) => self.reply(reply)?,
            }
        }
        Ok(())
    }

    fn reply(&mut self, reply: SimulatedReply) -> Result<(), String> {
        let (lease_ms, now_ms) = (reply.lease_ms, self.now_ms);
        let Some(index) = self.clients.iter().position(|one| one.mac == reply.mac) else {
            return self.lied(reply);
        };
        match self.clients[index].receive(reply, now_ms) {
            Got::Nothing => Ok(()),
            Got::Refusal => {
                self.tally.refused += 1;
                Ok(())
            }
            Got::Offer(request) => {
                self.send_to(&[0, 1], &request);
                Ok(())
            }
            Got::Lease(address, is_renewal, is_other) => {
                self.tally.leases += 1;
                self.tally.renewals += u64::from(is_renewal);
                self.tally.taken_over += u64::from(is_renewal && is_other);
                self.strike(address);
                let mut all = self.clients.iter();
                let other =
                    all.find(|one| one.mac != reply.mac && one.believes(now_ms) == Some(address));
                match other {
                    None => Ok(()),
                    Some(other) => Err(format!(
                        "at {now_ms} {address} is {}'s and {}'s, leases of {lease_ms} ms",
                        reply.mac, other.mac
                    )),
                }
            }
        }
    }

    /// Crashes a node after a client has got a lease, if the odds say so.
    fn strike(&mut self, address: Ipv4Addr) {
        if !self.odds.strikes {
            return;
        }
        for part in 0..PARTS {
            let record = &self.records[part];
            let is_its = record
                .claim
                .range
                .is_some_and(|range| range.is_of(address, part));
            if let Some(node) = self.grants[part].node.filter(|_| is_its && record.unheard) {
                self.crash(node);
            }
        }
    }

    /// Checks the response to the lying client.
    fn lied(&self, reply: SimulatedReply) -> Result<(), String> {
        let address = reply
            .address
            .filter(|_| reply.verdict == super::reply::DhcpReplyType::Yes);
        let mut all = self.clients.iter();
        let is_its = |one: &Client| address.is_some() && one.believes(self.now_ms) == address;
        match all.find(|one| is_its(one)) {
            None => Ok(()),
            Some(other) => Err(format!("at {} a liar got {}'s", self.now_ms, other.mac)),
        }
    }

    /// Requests the address of a client as if it were the sender's own, or declines it in the
    /// client's name.
    fn lie(&mut self) {
        let client = self.losses.index(self.clients.len());
        let Some(address) = self.clients[client].believes(self.now_ms) else {
            return;
        };
        let is_decline = self.losses.once_in(2);
        for node in 0..2 {
            let claims = |uses, wants, server| RequestedAddresses {
                uses,
                wants,
                server,
            };
            let request = if is_decline {
                let claims = claims(None, Some(address), Some(server(node)));
                request(
                    DhcpMessageType::Decline,
                    1,
                    self.clients[client].mac,
                    claims,
                )
            } else {
                request(
                    DhcpMessageType::Request,
                    1,
                    LIAR,
                    claims(Some(address), None, None),
                )
            };
            self.nodes[node].receive(request, self.now_ms);
        }
    }

    /// Returns the addresses that clients use.
    fn users(&self) -> Vec<(Ipv4Addr, Mac)> {
        let all = self.clients.iter();
        all.filter_map(|one| Some((one.believes(self.now_ms)?, one.mac)))
            .collect()
    }

    fn act(&mut self) {
        let index = self.random.index(self.clients.len());
        if self.odds.sleeps && sleeps(self.clients[index].mac) {
            return;
        }
        let (now_ms, lease_ms) = (self.now_ms, self.lease_ms());
        let client = &mut self.clients[index];
        let sent = client.act(&mut self.random, now_ms, lease_ms);
        for (nodes, request) in sent {
            self.send_to(&nodes, &request);
        }
    }

    /// Grants a part to a node, or renews its grant.
    fn grant(&mut self, node: usize, part: usize) {
        let now_ms = self.now_ms;
        let grant = &mut self.grants[part];
        let is_free = grant.until_ms < now_ms;
        if !self.nodes[node].hears(now_ms) || (grant.node != Some(node) && !is_free) {
            return;
        }
        if (is_free || !self.nodes[node].holds(part)) && self.awaits(node, part) {
            // The part was the node's own, and is free now.
            self.grants[part].until_ms = 0;
            return;
        }
        let grant = &mut self.grants[part];
        *grant = Grant {
            node: Some(node),
            until_ms: now_ms + GRANT_MS,
        };
        let before = self.records[part].clone();
        if is_free {
            self.records[part] = self.nodes[node].claims(part, &before);
            let is_known = before.named.contains(&name(node)) && before.node != name(node);
            self.tally.adopted += u64::from(is_known);
        }
        self.nodes[node].hold(part, &before, &self.records[part], now_ms);
    }

    /// Lets nodes receive the records of their parts, and write others, which arrive late or
    /// never.
    fn turn(&mut self) {
        for part in 0..PARTS {
            let node = self.random.index(2);
            let heard = (&self.records, self.nodes[1 - node].is_up());
            if self.nodes[node].hears(self.now_ms)
                && let Some(write) = self.nodes[node].turn(part, heard, self.now_ms)
                && !self.random.once_in(8)
            {
                let late = self.random.pick(&[0, 5, 200, GRANT_MS]);
                let delay = self.random.below(late + 1);
                self.writes.push((self.now_ms + delay, write));
            }
        }
        let (come, wait) = std::mem::take(&mut self.writes)
            .into_iter()
            .partition(|(at_ms, _)| *at_ms <= self.now_ms);
        self.writes = wait;
        let come: Vec<(u64, Write)> = come;
        for (_, write) in come {
            let record = &mut self.records[write.part];
            if record.epoch == write.record.epoch && record.number < write.record.number {
                *record = write.record;
            }
        }
    }

    /// Opens connections, carries messages, and breaks connections.
    fn carry(&mut self) {
        for from in 0..2 {
            let to = 1 - from;
            let can = [0, 1].map(|node| self.nodes[node].is_awake(self.now_ms));
            let wire = &mut self.wires[from];
            match wire.link {
                None if self.odds.lively > 0
                    && !self.odds.apart
                    && can == [true; 2]
                    && self.random.once_in(self.odds.lasting / 4 + 1) =>
                {
                    wire.link = Some(self.nodes[from].sharing.linked(&name(to)));
                }
                Some(_) if self.random.once_in(self.odds.lasting) => self.cut(from),
                Some(link) => {
                    for _ in 0..self.random.below(4) {
                        if !self.random.percent(self.odds.lively) {
                            continue;
                        }
                        if can[from] {
                            wire.told.extend(self.nodes[from].sharing.next(&name(to)));
                        }
                        if can[to]
                            && let Some(told) = self
                                .random
                                .percent(70)
                                .then(|| wire.told.pop_front())
                                .flatten()
                            && self.nodes[to].copy(from, &told)
                        {
                            wire.known.push_back(told);
                        }
                        if can[from]
                            && let Some(told) = self
                                .random
                                .percent(70)
                                .then(|| wire.known.pop_front())
                                .flatten()
                        {
                            self.nodes[from].confirmed(to, link, &told, self.now_ms);
                        }
                    }
                }
                None => {}
            }
        }
    }

    /// Loses all messages on a connection from a node to the other one.
    fn cut(&mut self, from: usize) {
        let wire = std::mem::take(&mut self.wires[from]);
        if let Some(link) = wire.link {
            self.nodes[from].sharing.unlinked(&name(1 - from), link);
        }
    }

    fn crash(&mut self, node: usize) {
        self.cut(0);
        self.cut(1);
        self.nodes[node].crash();
        if self.random.once_in(4) {
            self.nodes[node].lose_copies();
        }
        if self.odds.empties && self.losses.once_in(4) {
            self.nodes[node].lose_disk();
        }
        if self.odds.restores && self.losses.once_in(2) {
            self.nodes[node].put_back();
        }
    }

    /// Renews most grants of the nodes that are up.
    fn renew(&mut self) {
        for part in 0..PARTS {
            if let Some(node) = self.grants[part].node
                && self.nodes[node].hears(self.now_ms)
                && self.random.percent(95)
            {
                self.grant(node, part);
            }
        }
    }

    fn step(&mut self) -> Result<(), String> {
        self.advance();
        self.renew();
        if self.random.once_in(3) {
            self.turn();
        }
        if self.odds.steady > 0 && self.random.once_in(self.odds.steady) {
            self.lan.gives = gives(&mut self.random);
            // Changes the lease time, so that a node may take over leases that are longer than its
            // own lease time.
            self.lan.lease_s = self.random.pick(&LEASES_S);
        }
        if self.random.once_in(20) {
            let node = self.random.index(2);
            self.nodes[node].change(&self.lan, self.now_ms);
        }
        self.carry();
        self.deliver()?;
        if self.odds.restores && self.losses.once_in(100) {
            let node = self.losses.index(2);
            self.nodes[node].back_up();
        }
        if self.odds.lies && self.losses.once_in(50) {
            self.lie();
        }
        let node = self.random.index(2);
        match self.random.below(100) {
            0..=29 => self.act(),
            30..=34 => {
                let part = if self.random.percent(self.odds.restless) {
                    1 - node
                } else {
                    node
                };
                self.grant(node, part);
            }
            45 if self.random.percent(50) => self.crash(node),
            46..=47 => self.nodes[node].start(&self.lan, self.now_ms),
            48 if self.random.percent(30) => {
                let lease_ms = self.lease_ms();
                let cut = self.random.pick(&[GRANT_MS, lease_ms]);
                let cut = self.random.below(2 * cut);
                self.nodes[node].cut(self.now_ms + cut);
            }
            49 if self.random.percent(30) => {
                let pause = self.random.below(3 * GRANT_MS);
                self.nodes[node].pause(self.now_ms + pause);
            }
            _ => {
                let steps = self.random.pick(&[1, 4, 4, 4]);
                for _ in 0..steps {
                    let users = self.users();
                    let replies = self.nodes[node].work(&mut self.random, &users, self.now_ms);
                    for reply in replies {
                        self.send(&Packet::Reply(reply));
                    }
                }
            }
        }
        Ok(())
    }

    /// Advances the time: mostly little, at times to about the end of a lease.
    fn advance(&mut self) {
        let lease_ms = self.lease_ms();
        self.now_ms += match self.random.below(120) {
            0 => self.random.below(lease_ms),
            1 => self.random.below(lease_ms / 8),
            2 => self.next_end(),
            4..=9 => self.random.below(3 * GRANT_MS),
            _ => self.random.below(40),
        };
    }

    /// Returns the time until a node's next lease ends, by its clock.
    fn next_end(&mut self) -> u64 {
        let node = self.random.index(2);
        let left = self.nodes[node].left_ms(self.now_ms).unwrap_or(0);
        // The clocks of clients differ from the node's by up to a thousandth.
        left + self.random.below(20)
    }

    fn start(&mut self) {
        for node in 0..2 {
            self.nodes[node].records_generations = self.odds.restores;
            self.nodes[node].start(&self.lan, self.now_ms);
            self.grant(node, node);
        }
    }

    fn run(&mut self) -> Result<(), String> {
        self.start();
        for _ in 0..STEPS {
            self.step()?;
        }
        self.tally.moved = self.nodes.iter().map(SimulatedNode::moved).sum();
        self.tally.again = self.nodes.iter().map(SimulatedNode::again).sum();
        self.tally.back = self.nodes.iter().map(SimulatedNode::back).sum();
        Ok(())
    }
}

fn run(seed: u64, defect: Option<InjectedDefect>) -> Result<Tally, String> {
    let mut world = DhcpSimulation::new(seed, defect);
    world.run().map(|()| world.tally)
}

#[test]
fn no_two_clients_ever_believe_that_they_have_the_same_address() {
    if let Some(seed) = setting("BOOT_SEED") {
        run(seed, None).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        return;
    }
    let mut all = Tally::default();

    for seed in 0..setting("BOOT_SEEDS").unwrap_or(SEEDS) {
        let tally = run(seed, None).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        all.leases += tally.leases;
        all.renewals += tally.renewals;
        all.taken_over += tally.taken_over;
        all.refused += tally.refused;
        all.adopted += tally.adopted;
        all.moved += tally.moved;
        all.again += tally.again;
        all.back += tally.back;
    }
    // If no client got an address, the invariant would hold trivially.
    assert!(all.leases > 2_000 && all.renewals > 500, "{all:?}");
    assert!(all.adopted > 100 && all.moved > 10, "{all:?}");
    assert!(all.again > 0 && all.back > 10, "{all:?}");
    assert!(all.taken_over > 15 && all.refused > 0, "{all:?}");
}
