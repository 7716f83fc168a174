//! Decides which response a DHCP client of IPv4 gets, and states the reason: tracks fixed
//! addresses, the pool, DECLINEs, and requests to other nodes. No I/O and no clock.

use super::lacks::ShortageExplanation;
use super::limit::DeclineLimiter;
use super::loads::{BootFileChoice, Leader, is_not_answered, loads};
use super::pool::{AddressClaimResult, ClientRequestState, Pool, Superseded};
use super::range::RANGE_MAX;
use super::reply::{AssignedAddress, DhcpReply, DhcpReplyType, File};
use super::request::{BootStage, DhcpMessageType, Request};
use crate::assignment::SingleBootProgress;
use crate::config::{AddressSource, Ipv4Network, LanConfig, MachineConfig};
use crate::mac::Mac;
use crate::script;
use std::collections::hash_map::RandomState;
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Number of copies of a request to another node, with one transaction ID, after which this node
/// answers. The request is for an address that this node knows to be the machine's.
const ASKED_MAX: u8 = 3;

/// Addresses of this node and of the other nodes in a network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DhcpNodeAddresses {
    /// Address of this node in the network.
    pub address: Ipv4Addr,
    pub network: Ipv4Network,
    /// Other nodes of the cluster in the network.
    pub nodes: ClusterNodeAddresses,
}

/// The addresses of the other nodes of a cluster.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ClusterNodeAddresses {
    /// Addresses of nodes that hold their node lease in the cluster.
    pub there: Vec<Ipv4Addr>,
    /// Addresses of nodes that, according to the cluster, no longer hold their node lease.
    pub gone: Vec<Ipv4Addr>,
    /// IPv6 addresses of nodes that hold their node lease.
    pub six: Vec<Ipv6Addr>,
    /// Further addresses of other nodes that machines would get otherwise, also of nodes that
    /// have gone.
    pub own: Vec<IpAddr>,
}

/// Decision about a DHCP request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DhcpDecision {
    /// Response to the client; None: no response.
    pub answer: Option<DhcpReply>,
    /// Reason of the decision, as operators read it.
    pub why: String,
    /// Address to probe by ARP: no other host should have it.
    pub probe: Option<Ipv4Addr>,
    /// Another DHCP server, which the client chose.
    pub other: Option<Ipv4Addr>,
    /// Node that has gone and for which this one responds. The response has that node's address
    /// as its server identifier, since the client accepted its offer and drops responses of any
    /// other server.
    pub speaks_for: Option<Ipv4Addr>,
}

impl DhcpDecision {
    /// Returns the address whose user has to respond to ARP before its client gets a response.
    pub fn waits_for(&self, request: &Request) -> Option<Ipv4Addr> {
        let is_claim = self.answer.is_none() && request.kind == DhcpMessageType::Request;
        self.probe.filter(|_| is_claim)
    }

    /// Returns whether the decision is an OFFER; its client also waits for other servers.
    pub fn is_offer(&self) -> bool {
        let verdict = self.answer.as_ref().map(|answer| answer.verdict);
        verdict == Some(DhcpReplyType::Offer)
    }

    /// Builds a decision without a response.
    pub(crate) fn silent(why: impl Into<String>) -> DhcpDecision {
        DhcpDecision {
            answer: None,
            why: why.into(),
            probe: None,
            other: None,
            speaks_for: None,
        }
    }

    fn refused(why: impl Into<String>) -> DhcpDecision {
        let why = why.into();
        let answer = DhcpReply {
            verdict: DhcpReplyType::No,
            address: None,
            file: None,
            message: Some(why.clone()),
        };
        DhcpDecision {
            answer: Some(answer),
            ..DhcpDecision::silent(why)
        }
    }
}

/// DHCP server logic of one network. [`DhcpServer::decide`] returns the response to a request, and
/// the reason. The caller stores a changed lease before it sends the response. No I/O and no clock.
pub struct DhcpServer {
    lan: LanConfig,
    here: DhcpNodeAddresses,
    turns: SingleBootProgress,
    /// Another node that decides single boots. None: this node decides them.
    leader: Option<Leader>,
    /// Last request (transaction ID) to another node of a machine whose address this node knows,
    /// and how often it came.
    repeated_requests: HashMap<Mac, (u32, u8)>,
    declines: DeclineLimiter,
    lacks: ShortageExplanation,
    /// Hash of the client identifier (option 61) by which a client got its address last.
    ids: HashMap<Mac, u64>,
    marks: RandomState,
    /// Address pool; None: the section has no range.
    pool: Option<Pool>,
    /// Machines with a fixed address, by that address.
    fixed: HashMap<Ipv4Addr, Mac>,
    /// Addresses of nodes, which no machine gets.
    of_nodes: HashSet<Ipv4Addr>,
}

/// Fixed address that the configuration gives a machine.
enum FixedAddress {
    Free(Ipv4Addr),
    /// A node has the address.
    OfNode(Ipv4Addr),
    /// Another client has a lease of the address, which began before the configuration line:
    /// until the lease ends, the machine gets an address of the range.
    Leased(Ipv4Addr, Mac),
}

/// Address for a client, or the reason why there is none.
enum AddressChoice {
    Fixed(Ipv4Addr),
    Ranged(Ipv4Addr),
    None(String),
}

impl DhcpServer {
    /// Creates the server logic of a network.
    pub fn new(lan: LanConfig, here: DhcpNodeAddresses, pool: Option<Pool>) -> DhcpServer {
        let fixed = lan
            .machines
            .iter()
            .filter_map(|(mac, machine)| Some((machine.address?, *mac)));
        let fixed: HashMap<Ipv4Addr, Mac> = fixed.collect();
        let pool = pool.map(|mut pool| {
            pool.accept_superseded(|address, mac| fixed.get(&address) == Some(&mac));
            let all = lan.machines.iter();
            let ranged = all.filter(|(_, machine)| machine.address.is_none());
            pool.prefer(ranged.map(|(mac, _)| *mac));
            pool
        });
        DhcpServer {
            fixed,
            of_nodes: HashSet::new(),
            lan,
            here,
            turns: SingleBootProgress::default(),
            leader: None,
            repeated_requests: HashMap::new(),
            declines: DeclineLimiter::default(),
            lacks: ShortageExplanation::default(),
            ids: HashMap::new(),
            marks: RandomState::new(),
            pool,
        }
    }

    /// Sets the addresses of nodes: no machine gets one, even where the configuration says so.
    pub fn set_of_nodes(&mut self, addresses: HashSet<Ipv4Addr>) {
        self.of_nodes = addresses;
    }

    /// Inherits the declined addresses, the client identifiers and the repeated requests from the
    /// value that served the network before a reload.
    pub fn following(self, before: Option<DhcpServer>) -> DhcpServer {
        match before {
            Some(before) => DhcpServer {
                declines: before.declines,
                repeated_requests: before.repeated_requests,
                ids: before.ids,
                marks: before.marks,
                ..self
            },
            None => self,
        }
    }

    /// Returns the configuration of the network.
    pub fn lan(&self) -> &LanConfig {
        &self.lan
    }

    /// Returns the addresses of this node in the network.
    pub fn here(&self) -> &DhcpNodeAddresses {
        &self.here
    }

    pub fn pool(&mut self) -> Option<&mut Pool> {
        self.pool.as_mut()
    }

    /// Returns the leases of addresses that are no longer for clients.
    pub fn superseded(&self) -> Vec<(Ipv4Addr, Superseded)> {
        self.pool.iter().flat_map(Pool::superseded).collect()
    }

    /// Returns the address for which a client has a lease of this node.
    pub fn leased(&self, mac: Mac) -> Option<Ipv4Addr> {
        self.pool.as_ref()?.leased(mac)
    }

    /// Returns how many addresses of the range are reserved for machines of the configuration.
    pub fn kept(&self) -> u64 {
        let Some(pool) = &self.pool else { return 0 };
        let all = self.lan.machines.iter();
        let ranged = all.filter(|(_, machine)| machine.address.is_none());
        ranged.filter(|(mac, _)| pool.of(**mac).is_none()).count() as u64
    }

    /// Sets the progress of single boots, and the node that decides them where that is another
    /// one.
    pub fn set_turns(&mut self, turns: SingleBootProgress, leader: Option<Leader>) {
        self.turns = turns;
        self.leader = leader;
    }

    /// Returns the fixed address of a machine, and whether it is available.
    fn own_address(&self, mac: Mac) -> Option<FixedAddress> {
        let address = self.machine(mac)?.address?;
        let leased = self
            .pool
            .as_ref()
            .and_then(|pool| pool.superseded_of(address, mac));
        Some(match leased {
            _ if self.of_nodes.contains(&address) => FixedAddress::OfNode(address),
            Some(lease) => FixedAddress::Leased(address, lease.mac),
            None => FixedAddress::Free(address),
        })
    }

    fn machine(&self, mac: Mac) -> Option<&MachineConfig> {
        self.lan.machines.get(&mac)
    }

    /// Decides about a request. `is_proxy_port`: the request came to the proxyDHCP port (4011).
    pub fn decide(&mut self, request: &Request, is_proxy_port: bool, now_ms: u64) -> DhcpDecision {
        if let Some(pool) = &mut self.pool {
            pool.expire(now_ms);
        }
        let says = (&self.turns, self.leader.as_ref());
        if let Some(why) = is_not_answered(&self.lan, says, request.mac, request.stage) {
            return DhcpDecision::silent(why);
        }
        if self.lan.gives == AddressSource::Other || is_proxy_port {
            return self.beside_another(request, is_proxy_port);
        }
        match request.kind {
            DhcpMessageType::Discover => self.discover(request, now_ms),
            DhcpMessageType::Request => self.request(request, now_ms),
            DhcpMessageType::Inform => {
                let why = "it has an address, and asks what else there is";
                self.yes(request, None, why.to_owned())
            }
            DhcpMessageType::Release => self.release(request, now_ms),
            DhcpMessageType::Decline => self.decline(request, now_ms),
        }
    }

    /// Responds as proxyDHCP: another server assigns the addresses, and this one says only what
    /// to boot.
    fn beside_another(&self, request: &Request, is_proxy_port: bool) -> DhcpDecision {
        let verdict = match (request.kind, is_proxy_port) {
            (DhcpMessageType::Discover, false) => DhcpReplyType::Offer,
            (DhcpMessageType::Request | DhcpMessageType::Inform, true) => DhcpReplyType::Yes,
            (kind, _) => {
                let why = format!(
                    "another server gives the addresses, so it gets this {}",
                    kind.word()
                );
                return DhcpDecision::silent(why);
            }
        };
        match self.file(request) {
            Ok(file) => {
                let why = format!("another server gives it an address; it loads {}", file.name);
                let answer = DhcpReply {
                    verdict,
                    address: None,
                    file: Some(file),
                    message: None,
                };
                DhcpDecision {
                    answer: Some(answer),
                    ..DhcpDecision::silent(why)
                }
            }
            Err(why) => DhcpDecision::silent(why),
        }
    }

    /// Finds the address that a client would get.
    fn find(&mut self, request: &Request, now_ms: u64) -> AddressChoice {
        match self.own_address(request.mac) {
            Some(FixedAddress::Free(address)) => return AddressChoice::Fixed(address),
            Some(FixedAddress::OfNode(address)) => return AddressChoice::None(of_a_node(address)),
            Some(FixedAddress::Leased(..)) | None => {}
        }
        let Some(pool) = &mut self.pool else {
            return AddressChoice::None(
                "it has no address in the file, and there is no range".to_owned(),
            );
        };
        match pool.offer(request.mac, request.claims.wants, now_ms) {
            Ok(address) => AddressChoice::Ranged(address),
            Err(why) => AddressChoice::None(self.lacks.why(pool, (why, "range"), now_ms)),
        }
    }

    fn discover(&mut self, request: &Request, now_ms: u64) -> DhcpDecision {
        let (address, why, probe) = match self.find(request, now_ms) {
            AddressChoice::Fixed(address) => (
                address,
                format!("{address} is its own address in the file"),
                None,
            ),
            AddressChoice::Ranged(address) => {
                let why = self.while_leased(request.mac) + &format!("{address} is free for it");
                (address, why, Some(address))
            }
            AddressChoice::None(why) => {
                return DhcpDecision::silent(self.while_leased(request.mac) + &why);
            }
        };
        let answer = self.given(request, DhcpReplyType::Offer, Some(address));
        let probe = self.probe(request, probe, now_ms);
        DhcpDecision {
            why: self.with_file(why, &answer, request),
            answer: Some(answer),
            probe,
            other: None,
            speaks_for: None,
        }
    }

    fn request(&mut self, request: &Request, now_ms: u64) -> DhcpDecision {
        let chosen = request
            .claims
            .server
            .filter(|server| *server != self.here.address);
        let Some(server) = chosen else {
            return self.claim(request, now_ms);
        };
        let nodes = &self.here.nodes;
        // A node that is back, or that has taken the address of one that has gone, responds
        // itself.
        if nodes.gone.contains(&server) && !nodes.there.contains(&server) {
            let decision = self.claim(request, now_ms);
            return DhcpDecision {
                why: format!(
                    "it takes the offer of {server}, which is gone; {}",
                    decision.why
                ),
                speaks_for: Some(server),
                ..decision
            };
        }
        let is_node = nodes.there.contains(&server);
        let wants = request.claims.wants.or(request.claims.uses);
        let own = match self.own_address(request.mac) {
            Some(FixedAddress::Free(own) | FixedAddress::OfNode(own)) => Some(own),
            Some(FixedAddress::Leased(..)) | None => None,
        };
        // Also counts an address that this node leases to the machine: the requested node may have
        // had the part only for a moment.
        let leased = self.pool.as_ref().and_then(|pool| pool.leased(request.mac));
        let own = own.or(leased);
        // Answers in place of a node that the machine keeps asking without a response: every node
        // responds alike, so the machine need not wait until the cluster knows that the node has
        // gone.
        if is_node && own.is_some() && own == wants && self.asks_again(request) {
            let decision = self.claim(request, now_ms);
            return DhcpDecision {
                why: format!("it asks {server} again and again; {}", decision.why),
                speaks_for: Some(server),
                ..decision
            };
        }
        // A client can write anything into this option: only what may be a server of this network
        // is reported.
        let may_be = self.here.network.may_have(server) || request.route.relay.is_some();
        let other = (!is_node && may_be && is_unicast(server)).then_some(server);
        if let Some(pool) = &mut self.pool {
            pool.withdraw(request.mac);
        }
        DhcpDecision {
            other,
            ..DhcpDecision::silent(format!("it takes the offer of {server}"))
        }
    }

    /// Returns whether a machine has repeated its request so often that the requested node must
    /// be down.
    fn asks_again(&mut self, request: &Request) -> bool {
        let (xid, times) = self.repeated_requests.entry(request.mac).or_default();
        if *xid != request.xid {
            (*xid, *times) = (request.xid, 0);
        }
        *times = times.saturating_add(1);
        *times >= ASKED_MAX
    }

    /// Handles a claim to an address of this node, or of one for which this node responds.
    fn claim(&mut self, request: &Request, now_ms: u64) -> DhcpDecision {
        let mac = request.mac;
        let claims = &request.claims;
        // A client that keeps its address sends it in ciaddr (RFC 2131, 4.3.2).
        let (how, address) = match (claims.server, claims.uses, claims.wants) {
            // Treats a client apart that accepts the offer of another node, for which this node
            // responds: only the records of that node show that the address is unused.
            (Some(server), uses, wants) if server != self.here.address => {
                (ClientRequestState::Elsewhere, wants.or(uses))
            }
            (Some(_), uses, wants) => (ClientRequestState::Selecting, wants.or(uses)),
            (None, Some(uses), _) => (ClientRequestState::Renew, Some(uses)),
            (None, None, wants) => (ClientRequestState::Reboot, wants),
        };
        let Some(address) = address else {
            return DhcpDecision::silent("it asks for no address");
        };
        if let Some(decision) = self.claim_by_line(request, address) {
            return decision;
        }
        let is_of_network = self.here.network.may_have(address);
        let has_record = self
            .pool
            .as_ref()
            .is_some_and(|pool| pool.has_record(mac, address));
        // A client in INIT-REBOOT gets a response only from a server that knows its lease (RFC
        // 2131, 4.3.2).
        if how == ClientRequestState::Reboot && is_of_network && !has_record {
            return DhcpDecision::silent("it has no lease here that it could remember");
        }
        if let Some(decision) = self.refuse_anothers(mac, address, now_ms) {
            return decision;
        }
        let Some(pool) = &mut self.pool else {
            // Refuses only a client that selected this server. For any other client, another server
            // may have assigned the address.
            return match how {
                ClientRequestState::Selecting => {
                    DhcpDecision::refused("it has no address in the file, and there is no range")
                }
                ClientRequestState::Reboot
                | ClientRequestState::Renew
                | ClientRequestState::Elsewhere => {
                    DhcpDecision::silent("it has no address in the file, and there is no range")
                }
            };
        };
        if !is_of_network {
            return DhcpDecision::refused(format!("{address} is not of this network"));
        }
        if pool.is_unused(address)
            && let Some(decision) = self.first_lease(request, (address, how), has_record, now_ms)
        {
            return decision;
        }
        let Some(pool) = &mut self.pool else {
            return DhcpDecision::silent("there is no range");
        };
        if matches!(
            how,
            ClientRequestState::Renew | ClientRequestState::Elsewhere
        ) && pool.may_be_anothers(mac, address)
        {
            return doubted(request, address, pool.is_known_elsewhere(address));
        }
        match pool.claim(mac, address, how, now_ms) {
            AddressClaimResult::Yes => {
                self.note_id(request);
                let why = format!("{address} is its address now");
                self.yes(request, Some(address), why)
            }
            AddressClaimResult::No => {
                DhcpDecision::refused(format!("{address} is not free for it"))
            }
            AddressClaimResult::NotMine => {
                DhcpDecision::silent(format!("{address} is of the other node, which answers"))
            }
            AddressClaimResult::Unclear => DhcpDecision::silent(format!(
                "the other node may have given {address} to another machine"
            )),
        }
    }

    /// Handles the claim of a machine with a fixed address. None: the machine has no fixed address,
    /// or gets one of the range while another client has a lease of the fixed one.
    fn claim_by_line(&self, request: &Request, address: Ipv4Addr) -> Option<DhcpDecision> {
        match self.own_address(request.mac)? {
            FixedAddress::Free(own) => Some(self.claim_own(request, own, address)),
            FixedAddress::OfNode(own) => Some(DhcpDecision::silent(of_a_node(own))),
            FixedAddress::Leased(own, other) => {
                (own == address).then(|| DhcpDecision::refused(still_leased(own, other)))
            }
        }
    }

    /// Refuses an address that a node or another machine of the configuration has, and ends the
    /// older lease that the client may have of it.
    fn refuse_anothers(
        &mut self,
        mac: Mac,
        address: Ipv4Addr,
        now_ms: u64,
    ) -> Option<DhcpDecision> {
        let why = match self.fixed.get(&address) {
            Some(other) => format!("{address} belongs to {other} in the file"),
            None if self.of_nodes.contains(&address) => {
                format!("{address} is the address of a node")
            }
            None => return None,
        };
        if let Some(pool) = &mut self.pool {
            pool.end_superseded(mac, address, now_ms);
        }
        Some(DhcpDecision::refused(why))
    }

    /// Explains why a machine with a fixed address gets another one; empty if it gets the fixed
    /// one.
    fn while_leased(&self, mac: Mac) -> String {
        match self.own_address(mac) {
            Some(FixedAddress::Leased(own, other)) => still_leased(own, other) + "; ",
            _ => String::new(),
        }
    }

    /// Handles the claim of a machine to its fixed address.
    fn claim_own(&self, request: &Request, own: Ipv4Addr, address: Ipv4Addr) -> DhcpDecision {
        if own == address {
            let why = format!("{own} is its own address in the file");
            self.yes(request, Some(own), why)
        } else {
            DhcpDecision::refused(format!(
                "its own address in the file is {own}, not {address}"
            ))
        }
    }

    /// Handles the claim to an address that nobody has and that was not offered to the client.
    /// Returns the response in place of a lease. None: the address is offered to the client now,
    /// and ARP reaches nobody who could have it.
    fn first_lease(
        &mut self,
        request: &Request,
        (address, how): (Ipv4Addr, ClientRequestState),
        has_record: bool,
        now_ms: u64,
    ) -> Option<DhcpDecision> {
        let refused = match how {
            ClientRequestState::Elsewhere => None,
            ClientRequestState::Selecting => Some(DhcpDecision::refused(format!(
                "{address} was not offered to it"
            ))),
            ClientRequestState::Reboot | ClientRequestState::Renew if has_record => {
                Some(self.has_another(request.mac, address))
            }
            ClientRequestState::Reboot | ClientRequestState::Renew => Some(DhcpDecision::silent(
                format!("it has no lease of {address} from here"),
            )),
        };
        if refused.is_some() {
            return refused;
        }
        let offered = self
            .pool
            .as_mut()?
            .offer(request.mac, Some(address), now_ms);
        if offered != Ok(address) {
            return Some(DhcpDecision::refused(format!(
                "{address} is not free for it"
            )));
        }
        let probe = self.probe(request, Some(address), now_ms)?;
        Some(DhcpDecision {
            probe: Some(probe),
            ..DhcpDecision::silent(format!("it gets {address} unless somebody answers there"))
        })
    }

    /// Responds to a client that has another address and claims an unused one.
    fn has_another(&self, mac: Mac, address: Ipv4Addr) -> DhcpDecision {
        let other = self
            .pool
            .as_ref()
            .and_then(|pool| Some((pool, pool.of(mac)?)));
        match other {
            Some((pool, other)) if !pool.holds(other) => {
                DhcpDecision::silent(format!("{other} is of the other node, which answers"))
            }
            _ => DhcpDecision::refused(format!("it has another address than {address}")),
        }
    }

    fn yes(&self, request: &Request, address: Option<Ipv4Addr>, why: String) -> DhcpDecision {
        let answer = self.given(request, DhcpReplyType::Yes, address);
        DhcpDecision {
            why: self.with_file(why, &answer, request),
            answer: Some(answer),
            probe: None,
            other: None,
            speaks_for: None,
        }
    }

    fn given(
        &self,
        request: &Request,
        verdict: DhcpReplyType,
        address: Option<Ipv4Addr>,
    ) -> DhcpReply {
        DhcpReply {
            verdict,
            address: Some(AssignedAddress {
                address,
                lease_s: address.map(|_| self.lan.lease_s),
                network: self.here.network,
            }),
            file: self.file(request).ok(),
            message: None,
        }
    }

    fn with_file(&self, why: String, answer: &DhcpReply, request: &Request) -> String {
        match (&answer.file, request.stage) {
            (Some(file), _) => format!("{why}; it loads {}", file.name),
            (None, BootStage::System) => why,
            (None, _) => match self.file(request) {
                Ok(_) => why,
                Err(reason) => format!("{why}; it loads nothing: {reason}"),
            },
        }
    }

    /// Returns a silent decision if the message is for another server (option 54).
    fn is_for_another(&self, request: &Request) -> Option<DhcpDecision> {
        let server = request.claims.server?;
        let is_other = server != self.here.address;
        is_other.then(|| DhcpDecision::silent(format!("it is for the server {server}")))
    }

    fn release(&mut self, request: &Request, now_ms: u64) -> DhcpDecision {
        if let Some(decision) = self.is_for_another(request) {
            return decision;
        }
        let address = request.claims.uses;
        let pool = self.pool.as_mut();
        let is_its = address
            .zip(pool)
            .is_some_and(|(address, pool)| pool.release(request.mac, address, now_ms));
        DhcpDecision::silent(if is_its {
            "its address is free soon"
        } else {
            "it has no such address of the range, or has just got it again"
        })
    }

    /// Records the client identifier by which a client got its address.
    fn note_id(&mut self, request: &Request) {
        if self.ids.len() >= RANGE_MAX as usize {
            // Forgets all identifiers: a DECLINE of a forgotten client counts without a comparison.
            self.ids.clear();
        }
        let mark = self.marks.hash_one(&request.echo.client);
        self.ids.insert(request.mac, mark);
    }

    /// Returns whether the client identifier is that of the lease, or that of the lease is
    /// unknown.
    fn is_by_its_id(&self, request: &Request) -> bool {
        let mark = self.marks.hash_one(&request.echo.client);
        self.ids.get(&request.mac).is_none_or(|one| *one == mark)
    }

    fn decline(&mut self, request: &Request, now_ms: u64) -> DhcpDecision {
        if let Some(decision) = self.is_for_another(request) {
            return decision;
        }
        let Some(address) = request.claims.wants.or(request.claims.uses) else {
            return DhcpDecision::silent("it names no address");
        };
        let is_by_its_id = self.is_by_its_id(request);
        let pool = self.pool.as_mut();
        let Some(pool) =
            pool.filter(|pool| pool.of(request.mac) == Some(address) && pool.holds(address))
        else {
            let why = format!("{address} is not an address that it got from the range");
            return DhcpDecision::silent(why);
        };
        if !is_by_its_id {
            let why = format!(
                "it got {address} by another client identifier (option 61): the DECLINE is not believed"
            );
            return DhcpDecision::silent(why);
        }
        let bound = (pool.declines_until(address, now_ms), pool.declines_max());
        let why = if self.declines.admits(request.mac, bound, now_ms) {
            pool.decline(address, now_ms);
            format!(
                "it says that somebody else uses {address}, which is given to nobody for a while, and probed"
            )
        } else {
            "too many addresses are declined, by it or in the network, to believe it without a proof"
                .to_owned()
        };
        // A host that uses the address responds to the probe.
        DhcpDecision {
            probe: self.probe(request, Some(address), now_ms),
            ..DhcpDecision::silent(why)
        }
    }

    /// Returns the address to probe by ARP, and records the probe in the pool. None for a relayed
    /// request, whose client no ARP request reaches.
    fn probe(
        &mut self,
        request: &Request,
        address: Option<Ipv4Addr>,
        now_ms: u64,
    ) -> Option<Ipv4Addr> {
        let address = address.filter(|_| request.route.relay.is_none())?;
        if let Some(pool) = &mut self.pool {
            pool.asks(address, now_ms);
        }
        Some(address)
    }

    /// Returns the client that has a lease of an address.
    pub fn client(&self, address: Ipv4Addr) -> Option<Mac> {
        self.pool.as_ref()?.client(address)
    }

    /// Returns whether `by` is the client in whose name an address was declined.
    pub fn is_kept(&self, address: Ipv4Addr, by: Mac) -> bool {
        self.pool
            .as_ref()
            .is_some_and(|pool| pool.declined_by(address) == Some(by))
    }

    /// Handles an ARP reply for an address. Returns whether it proves a conflict.
    pub fn in_use(&mut self, address: Ipv4Addr, by: Mac, now_ms: u64) -> bool {
        let pool = self.pool.as_mut();
        pool.is_some_and(|pool| pool.handle_arp_reply(address, by, now_ms))
    }

    /// Returns the file that a client loads, or why it loads none.
    fn file(&self, request: &Request) -> Result<File, String> {
        let lan = &self.lan;
        let server = lan.tells.server.unwrap_or(self.here.address);
        let base = format!("http://{server}:{}", lan.ports.http);
        let file = |name: String| Ok(File { server, name });
        let asks = (request.stage, request.architecture);
        match (loads(lan, &self.turns, request.mac, asks)?, request.stage) {
            (BootFileChoice::Script, _) => file(format!("{base}/{}", script::name(request.mac))),
            (BootFileChoice::Loader(name), BootStage::HttpFirmware) => {
                file(format!("{base}/{name}"))
            }
            (BootFileChoice::Loader(name), _) => file(name.to_owned()),
        }
    }
}

/// Explains why a machine does not get its fixed address: a node has it.
fn of_a_node(address: Ipv4Addr) -> String {
    format!("{address} is its own address in the file, but a node has it")
}

/// Explains why a machine does not get its fixed address yet: another client has a lease of it.
fn still_leased(address: Ipv4Addr, other: Mac) -> String {
    format!("{address} is its own address in the file, but {other} still has a lease of it")
}

/// Decides about a client that continues with an address which may be another client's.
/// `is_known`: a node that is up knows whose address it is.
fn doubted(request: &Request, address: Ipv4Addr, is_known: bool) -> DhcpDecision {
    if is_known {
        DhcpDecision::silent(format!(
            "the other node knows whose {address} is: it gets an answer when both nodes reach each other"
        ))
    } else {
        DhcpDecision {
            probe: request.route.relay.is_none().then_some(address),
            ..DhcpDecision::silent(format!(
                "the other node may have given {address} to another machine: it gets it if it answers there"
            ))
        }
    }
}

/// Returns whether an address is a usable unicast address.
fn is_unicast(address: Ipv4Addr) -> bool {
    let is_none = address.is_unspecified() || address.is_loopback() || address.is_link_local();
    !(is_none || address.is_multicast() || address.octets()[0] >= 240)
}

#[cfg(test)]
mod tests;
