//! Decides which response a DHCP client gets, and states the reason.

use super::lacks::Lacks;
use super::limit::Declines;
use super::loads::{Leader, Loads, is_not_answered, loads};
use super::pool::{Claim, How, Pool, Superseded};
use super::range::RANGE_MAX;
use super::reply::{Answer, File, Given, Verdict};
use super::request::{Kind, Request, Stage};
use crate::assignment::Turns;
use crate::config::{Gives, Lan, Machine, Network};
use crate::mac::Mac;
use crate::script;
use std::collections::hash_map::RandomState;
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Number of requests that a machine sends to another node for its own address before this node
/// answers.
const ASKED_MAX: u8 = 3;

/// Addresses of this node and of the other nodes in a network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Here {
    /// Address of this node in the network.
    pub address: Ipv4Addr,
    /// Network of that address.
    pub network: Network,
    /// Other nodes of the cluster in the network.
    pub nodes: Nodes,
}

/// The addresses of the other nodes of a cluster.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Nodes {
    /// Nodes that hold their node lease in the cluster.
    pub there: Vec<Ipv4Addr>,
    /// Nodes that, as the cluster knows, no longer hold a node lease.
    pub gone: Vec<Ipv4Addr>,
    /// IPv6 addresses of nodes that hold their node lease.
    pub six: Vec<Ipv6Addr>,
    /// Further addresses of other nodes that machines would get otherwise, also of nodes that
    /// have gone.
    pub own: Vec<IpAddr>,
}

/// Decision about a DHCP request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decision {
    /// Response to the client; None: no response.
    pub answer: Option<Answer>,
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

impl Decision {
    /// Returns the address whose user has to respond to ARP before its client gets a response.
    pub fn waits_for(&self, request: &Request) -> Option<Ipv4Addr> {
        let is_claim = self.answer.is_none() && request.kind == Kind::Request;
        self.probe.filter(|_| is_claim)
    }

    /// Returns whether the decision is an OFFER; its client also waits for other servers.
    pub fn is_offer(&self) -> bool {
        let verdict = self.answer.as_ref().map(|answer| answer.verdict);
        verdict == Some(Verdict::Offer)
    }

    /// Builds a decision without a response.
    pub(crate) fn silent(why: impl Into<String>) -> Decision {
        Decision {
            answer: None,
            why: why.into(),
            probe: None,
            other: None,
            speaks_for: None,
        }
    }

    fn refused(why: impl Into<String>) -> Decision {
        let why = why.into();
        let answer = Answer {
            verdict: Verdict::No,
            address: None,
            file: None,
            message: Some(why.clone()),
        };
        Decision {
            answer: Some(answer),
            ..Decision::silent(why)
        }
    }
}

/// DHCP server logic of one network.
pub struct Desk {
    lan: Lan,
    here: Here,
    turns: Turns,
    /// Another node that decides single boots. None: this node decides them.
    leader: Option<Leader>,
    /// Last request (transaction ID) to another node of a machine whose address this node knows,
    /// and how often it came.
    asked: HashMap<Mac, (u32, u8)>,
    declines: Declines,
    lacks: Lacks,
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
enum OwnAddress {
    Free(Ipv4Addr),
    /// A node has the address.
    OfNode(Ipv4Addr),
    /// Another client has a lease of the address, which began before the configuration line:
    /// until the lease ends, the machine gets an address of the range.
    Leased(Ipv4Addr, Mac),
}

/// Address for a client, or the reason why there is none.
enum Found {
    Fixed(Ipv4Addr),
    Ranged(Ipv4Addr),
    None(String),
}

impl Desk {
    /// Creates the server logic of a network.
    pub fn new(lan: Lan, here: Here, pool: Option<Pool>) -> Desk {
        let fixed =
            { lan.machines.iter() }.filter_map(|(mac, machine)| Some((machine.address?, *mac)));
        let fixed: HashMap<Ipv4Addr, Mac> = fixed.collect();
        let pool = pool.map(|mut pool| {
            pool.accept_superseded(|address, mac| fixed.get(&address) == Some(&mac));
            let all = lan.machines.iter();
            let ranged = all.filter(|(_, machine)| machine.address.is_none());
            pool.prefer(ranged.map(|(mac, _)| *mac));
            pool
        });
        Desk {
            fixed,
            of_nodes: HashSet::new(),
            lan,
            here,
            turns: Turns::default(),
            leader: None,
            asked: HashMap::new(),
            declines: Declines::default(),
            lacks: Lacks::default(),
            ids: HashMap::new(),
            marks: RandomState::new(),
            pool,
        }
    }

    /// Sets the addresses of nodes: no machine gets one, even where the configuration says so.
    pub fn set_of_nodes(&mut self, addresses: HashSet<Ipv4Addr>) {
        self.of_nodes = addresses;
    }

    /// Inherits the declined addresses and the client identifiers from the desk before a reload.
    pub fn following(self, before: Option<Desk>) -> Desk {
        match before {
            Some(before) => Desk {
                declines: before.declines,
                asked: before.asked,
                ids: before.ids,
                marks: before.marks,
                ..self
            },
            None => self,
        }
    }

    /// Returns the configuration of the network.
    pub fn lan(&self) -> &Lan {
        &self.lan
    }

    /// Returns the addresses of this node in the network.
    pub fn here(&self) -> &Here {
        &self.here
    }

    /// Returns the address pool.
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
    pub fn set_turns(&mut self, turns: Turns, leader: Option<Leader>) {
        self.turns = turns;
        self.leader = leader;
    }

    /// Returns the fixed address of a machine, and whether it is available.
    fn own_address(&self, mac: Mac) -> Option<OwnAddress> {
        let address = self.machine(mac)?.address?;
        let leased = self
            .pool
            .as_ref()
            .and_then(|pool| pool.superseded_of(address, mac));
        Some(match leased {
            _ if self.of_nodes.contains(&address) => OwnAddress::OfNode(address),
            Some(lease) => OwnAddress::Leased(address, lease.mac),
            None => OwnAddress::Free(address),
        })
    }

    fn machine(&self, mac: Mac) -> Option<&Machine> {
        self.lan.machines.get(&mac)
    }

    /// Decides about a request. `is_proxy_port`: the request came to the proxyDHCP port (4011).
    pub fn decide(&mut self, request: &Request, is_proxy_port: bool, now_ms: u64) -> Decision {
        if let Some(pool) = &mut self.pool {
            pool.expire(now_ms);
        }
        let says = (&self.turns, self.leader.as_ref());
        if let Some(why) = is_not_answered(&self.lan, says, request.mac, request.stage) {
            return Decision::silent(why);
        }
        if self.lan.gives == Gives::Other || is_proxy_port {
            return self.beside_another(request, is_proxy_port);
        }
        match request.kind {
            Kind::Discover => self.discover(request, now_ms),
            Kind::Request => self.request(request, now_ms),
            Kind::Inform => {
                let why = "it has an address, and asks what else there is";
                self.yes(request, None, why.to_owned())
            }
            Kind::Release => self.release(request, now_ms),
            Kind::Decline => self.decline(request, now_ms),
        }
    }

    /// Responds as proxyDHCP: another server assigns the addresses, and this one says only what
    /// to boot.
    fn beside_another(&self, request: &Request, is_proxy_port: bool) -> Decision {
        let verdict = match (request.kind, is_proxy_port) {
            (Kind::Discover, false) => Verdict::Offer,
            (Kind::Request | Kind::Inform, true) => Verdict::Yes,
            (kind, _) => {
                let why = format!(
                    "another server gives the addresses, so it gets this {}",
                    kind.word()
                );
                return Decision::silent(why);
            }
        };
        match self.file(request) {
            Ok(file) => {
                let why = format!("another server gives it an address; it loads {}", file.name);
                let answer = Answer {
                    verdict,
                    address: None,
                    file: Some(file),
                    message: None,
                };
                Decision {
                    answer: Some(answer),
                    ..Decision::silent(why)
                }
            }
            Err(why) => Decision::silent(why),
        }
    }

    /// Finds the address that a client would get.
    fn find(&mut self, request: &Request, now_ms: u64) -> Found {
        match self.own_address(request.mac) {
            Some(OwnAddress::Free(address)) => return Found::Fixed(address),
            Some(OwnAddress::OfNode(address)) => return Found::None(of_a_node(address)),
            Some(OwnAddress::Leased(..)) | None => {}
        }
        let Some(pool) = &mut self.pool else {
            return Found::None("it has no address in the file, and there is no range".to_owned());
        };
        match pool.offer(request.mac, request.claims.wants, now_ms) {
            Ok(address) => Found::Ranged(address),
            Err(why) => Found::None(self.lacks.why(pool, (why, "range"), now_ms)),
        }
    }

    fn discover(&mut self, request: &Request, now_ms: u64) -> Decision {
        let (address, why, probe) = match self.find(request, now_ms) {
            Found::Fixed(address) => (
                address,
                format!("{address} is its own address in the file"),
                None,
            ),
            Found::Ranged(address) => {
                let why = self.while_leased(request.mac) + &format!("{address} is free for it");
                (address, why, Some(address))
            }
            Found::None(why) => {
                return Decision::silent(self.while_leased(request.mac) + &why);
            }
        };
        let answer = self.given(request, Verdict::Offer, Some(address));
        let probe = self.probe(request, probe, now_ms);
        Decision {
            why: self.with_file(why, &answer, request),
            answer: Some(answer),
            probe,
            other: None,
            speaks_for: None,
        }
    }

    fn request(&mut self, request: &Request, now_ms: u64) -> Decision {
        let chosen = { request.claims.server }.filter(|server| *server != self.here.address);
        let Some(server) = chosen else {
            return self.claim(request, now_ms);
        };
        let nodes = &self.here.nodes;
        // A node that is back, or that has taken the address of one that has gone, responds
        // itself.
        if nodes.gone.contains(&server) && !nodes.there.contains(&server) {
            let decision = self.claim(request, now_ms);
            return Decision {
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
            Some(OwnAddress::Free(own) | OwnAddress::OfNode(own)) => Some(own),
            Some(OwnAddress::Leased(..)) | None => None,
        };
        // The requested node had the part for a moment, and this one has the part and the lease
        // by now.
        let leased = { self.pool.as_ref() }.and_then(|pool| pool.leased(request.mac));
        let own = own.or(leased);
        // Every node responds alike: a machine that keeps asking one without a response need not
        // wait until the cluster knows that the node has gone.
        if is_node && own.is_some() && own == wants && self.asks_again(request) {
            let decision = self.claim(request, now_ms);
            return Decision {
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
        Decision {
            other,
            ..Decision::silent(format!("it takes the offer of {server}"))
        }
    }

    /// Returns whether a machine has repeated its request so often that the requested node must
    /// be down.
    fn asks_again(&mut self, request: &Request) -> bool {
        let (xid, times) = self.asked.entry(request.mac).or_default();
        if *xid != request.xid {
            (*xid, *times) = (request.xid, 0);
        }
        *times = times.saturating_add(1);
        *times >= ASKED_MAX
    }

    /// Handles a claim to an address of this node, or of one for which this node responds.
    fn claim(&mut self, request: &Request, now_ms: u64) -> Decision {
        let mac = request.mac;
        let claims = &request.claims;
        // A client that keeps its address sends it in ciaddr (RFC 2131, 4.3.2).
        let (how, address) = match (claims.server, claims.uses, claims.wants) {
            // An address that was offered by a node that has gone was unused by the records of
            // that node alone.
            (Some(server), uses, wants) if server != self.here.address => {
                (How::Elsewhere, wants.or(uses))
            }
            (Some(_), uses, wants) => (How::Selecting, wants.or(uses)),
            (None, Some(uses), _) => (How::Renew, Some(uses)),
            (None, None, wants) => (How::Reboot, wants),
        };
        let Some(address) = address else {
            return Decision::silent("it asks for no address");
        };
        if let Some(decision) = self.claim_by_line(request, address) {
            return decision;
        }
        let is_of_network = self.here.network.may_have(address);
        let has_record = { self.pool.as_ref() }.is_some_and(|pool| pool.has_record(mac, address));
        // A client in INIT-REBOOT gets a response only from a server that knows its lease (RFC
        // 2131, 4.3.2).
        if how == How::Reboot && is_of_network && !has_record {
            return Decision::silent("it has no lease here that it could remember");
        }
        if let Some(decision) = self.refuse_anothers(mac, address, now_ms) {
            return decision;
        }
        let Some(pool) = &mut self.pool else {
            // Another server may have assigned the address.
            return match how {
                How::Selecting => {
                    Decision::refused("it has no address in the file, and there is no range")
                }
                How::Reboot | How::Renew | How::Elsewhere => {
                    Decision::silent("it has no address in the file, and there is no range")
                }
            };
        };
        if !is_of_network {
            return Decision::refused(format!("{address} is not of this network"));
        }
        if pool.is_unused(address)
            && let Some(decision) = self.first_lease(request, (address, how), has_record, now_ms)
        {
            return decision;
        }
        let Some(pool) = &mut self.pool else {
            return Decision::silent("there is no range");
        };
        if matches!(how, How::Renew | How::Elsewhere) && pool.may_be_anothers(mac, address) {
            return doubted(request, address, pool.is_known_elsewhere(address));
        }
        match pool.claim(mac, address, how, now_ms) {
            Claim::Yes => {
                self.note_id(request);
                let why = format!("{address} is its address now");
                self.yes(request, Some(address), why)
            }
            Claim::No => Decision::refused(format!("{address} is not free for it")),
            Claim::NotMine => {
                Decision::silent(format!("{address} is of the other node, which answers"))
            }
            Claim::Unclear => Decision::silent(format!(
                "the other node may have given {address} to another machine"
            )),
        }
    }

    /// Handles the claim of a machine with a fixed address. None: the machine gets an address of
    /// the range meanwhile.
    fn claim_by_line(&self, request: &Request, address: Ipv4Addr) -> Option<Decision> {
        match self.own_address(request.mac)? {
            OwnAddress::Free(own) => Some(self.claim_own(request, own, address)),
            OwnAddress::OfNode(own) => Some(Decision::silent(of_a_node(own))),
            OwnAddress::Leased(own, other) => {
                (own == address).then(|| Decision::refused(still_leased(own, other)))
            }
        }
    }

    /// Refuses an address that a node or another machine has, and ends an older lease of it.
    fn refuse_anothers(&mut self, mac: Mac, address: Ipv4Addr, now_ms: u64) -> Option<Decision> {
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
        Some(Decision::refused(why))
    }

    /// Explains why a machine with a fixed address gets another one; empty if it gets the fixed
    /// one.
    fn while_leased(&self, mac: Mac) -> String {
        match self.own_address(mac) {
            Some(OwnAddress::Leased(own, other)) => still_leased(own, other) + "; ",
            _ => String::new(),
        }
    }

    /// Handles the claim of a machine to its fixed address.
    fn claim_own(&self, request: &Request, own: Ipv4Addr, address: Ipv4Addr) -> Decision {
        match own == address {
            true => {
                let why = format!("{own} is its own address in the file");
                self.yes(request, Some(own), why)
            }
            false => Decision::refused(format!(
                "its own address in the file is {own}, not {address}"
            )),
        }
    }

    /// Handles the claim to an address that nobody has and that was not offered to the client.
    /// Returns the response in place of a lease. None: the address is offered to the client now,
    /// and ARP reaches nobody who could have it.
    fn first_lease(
        &mut self,
        request: &Request,
        (address, how): (Ipv4Addr, How),
        has_record: bool,
        now_ms: u64,
    ) -> Option<Decision> {
        let refused = match how {
            How::Elsewhere => None,
            How::Selecting => Some(Decision::refused(format!(
                "{address} was not offered to it"
            ))),
            How::Reboot | How::Renew if has_record => Some(self.has_another(request.mac, address)),
            How::Reboot | How::Renew => Some(Decision::silent(format!(
                "it has no lease of {address} from here"
            ))),
        };
        if refused.is_some() {
            return refused;
        }
        let offered = self
            .pool
            .as_mut()?
            .offer(request.mac, Some(address), now_ms);
        if offered != Ok(address) {
            return Some(Decision::refused(format!("{address} is not free for it")));
        }
        let probe = self.probe(request, Some(address), now_ms)?;
        Some(Decision {
            probe: Some(probe),
            ..Decision::silent(format!("it gets {address} unless somebody answers there"))
        })
    }

    /// Responds to a client that has another address and claims an unused one.
    fn has_another(&self, mac: Mac, address: Ipv4Addr) -> Decision {
        let other = self
            .pool
            .as_ref()
            .and_then(|pool| Some((pool, pool.of(mac)?)));
        match other {
            Some((pool, other)) if !pool.holds(other) => {
                Decision::silent(format!("{other} is of the other node, which answers"))
            }
            _ => Decision::refused(format!("it has another address than {address}")),
        }
    }

    fn yes(&self, request: &Request, address: Option<Ipv4Addr>, why: String) -> Decision {
        let answer = self.given(request, Verdict::Yes, address);
        Decision {
            why: self.with_file(why, &answer, request),
            answer: Some(answer),
            probe: None,
            other: None,
            speaks_for: None,
        }
    }

    fn given(&self, request: &Request, verdict: Verdict, address: Option<Ipv4Addr>) -> Answer {
        Answer {
            verdict,
            address: Some(Given {
                address,
                lease_s: address.map(|_| self.lan.lease_s),
                network: self.here.network,
            }),
            file: self.file(request).ok(),
            message: None,
        }
    }

    fn with_file(&self, why: String, answer: &Answer, request: &Request) -> String {
        match (&answer.file, request.stage) {
            (Some(file), _) => format!("{why}; it loads {}", file.name),
            (None, Stage::System) => why,
            (None, _) => match self.file(request) {
                Ok(_) => why,
                Err(reason) => format!("{why}; it loads nothing: {reason}"),
            },
        }
    }

    /// Returns a silent decision if the message is for another server (option 54).
    fn is_for_another(&self, request: &Request) -> Option<Decision> {
        let server = request.claims.server?;
        let is_other = server != self.here.address;
        is_other.then(|| Decision::silent(format!("it is for the server {server}")))
    }

    fn release(&mut self, request: &Request, now_ms: u64) -> Decision {
        if let Some(decision) = self.is_for_another(request) {
            return decision;
        }
        let address = request.claims.uses;
        let pool = self.pool.as_mut();
        let is_its = address
            .zip(pool)
            .is_some_and(|(address, pool)| pool.release(request.mac, address, now_ms));
        Decision::silent(match is_its {
            true => "its address is free soon",
            false => "it has no such address of the range, or has just got it again",
        })
    }

    /// Records the client identifier by which a client got its address.
    fn note_id(&mut self, request: &Request) {
        if self.ids.len() >= RANGE_MAX as usize {
            // For clients that are forgotten, a DECLINE counts without the identifier.
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

    fn decline(&mut self, request: &Request, now_ms: u64) -> Decision {
        if let Some(decision) = self.is_for_another(request) {
            return decision;
        }
        let Some(address) = request.claims.wants.or(request.claims.uses) else {
            return Decision::silent("it names no address");
        };
        let is_by_its_id = self.is_by_its_id(request);
        let pool = self.pool.as_mut();
        let Some(pool) =
            pool.filter(|pool| pool.of(request.mac) == Some(address) && pool.holds(address))
        else {
            let why = format!("{address} is not an address that it got from the range");
            return Decision::silent(why);
        };
        if !is_by_its_id {
            let why = format!(
                "it got {address} by another client identifier (option 61): the DECLINE is not believed"
            );
            return Decision::silent(why);
        }
        let bound = (pool.declines_until(address, now_ms), pool.declines_max());
        let why = match self.declines.admits(request.mac, bound, now_ms) {
            true => {
                pool.decline(address, now_ms);
                format!(
                    "it says that somebody else uses {address}, which is given to nobody for a while, and probed"
                )
            }
            false => "too many addresses are declined, by it or in the network, to believe it without a proof"
                .to_owned(),
        };
        // A host that uses the address responds to the probe.
        Decision {
            probe: self.probe(request, Some(address), now_ms),
            ..Decision::silent(why)
        }
    }

    /// Returns the address to probe, where ARP reaches the client.
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

    /// Returns whether a client responds at an address that was declined in its name.
    pub fn is_kept(&self, address: Ipv4Addr, by: Mac) -> bool {
        { self.pool.as_ref() }.is_some_and(|pool| pool.declined_by(address) == Some(by))
    }

    /// Handles an ARP reply for an address. Returns whether it proves a conflict.
    pub fn in_use(&mut self, address: Ipv4Addr, by: Mac, now_ms: u64) -> bool {
        let pool = self.pool.as_mut();
        pool.is_some_and(|pool| pool.answers(address, by, now_ms))
    }

    /// Returns the file that a client loads, or why it loads none.
    fn file(&self, request: &Request) -> Result<File, String> {
        let lan = &self.lan;
        let server = lan.tells.server.unwrap_or(self.here.address);
        let base = format!("http://{server}:{}", lan.ports.http);
        let file = |name: String| Ok(File { server, name });
        let asks = (request.stage, request.architecture);
        match (loads(lan, &self.turns, request.mac, asks)?, request.stage) {
            (Loads::Script, _) => file(format!("{base}/{}", script::name(request.mac))),
            (Loads::Loader(name), Stage::HttpFirmware) => file(format!("{base}/{name}")),
            (Loads::Loader(name), _) => file(name.to_owned()),
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
fn doubted(request: &Request, address: Ipv4Addr, is_known: bool) -> Decision {
    match is_known {
        true => Decision::silent(format!(
            "the other node knows whose {address} is: it gets an answer when both nodes reach each other"
        )),
        false => Decision {
            probe: request.route.relay.is_none().then_some(address),
            ..Decision::silent(format!(
                "the other node may have given {address} to another machine: it gets it if it answers there"
            ))
        },
    }
}

/// Returns whether an address is a usable unicast address.
fn is_unicast(address: Ipv4Addr) -> bool {
    let is_none = address.is_unspecified() || address.is_loopback() || address.is_link_local();
    !(is_none || address.is_multicast() || address.octets()[0] >= 240)
}

#[cfg(test)]
mod tests;
