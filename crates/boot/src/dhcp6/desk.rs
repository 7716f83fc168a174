//! Decides which response a DHCPv6 client of one network gets, and states the reason. Assigns fixed
//! addresses and those of the pool. No I/O: the caller passes requests and the time.

use super::reply::{Dhcpv6Response, Dhcpv6ResponseType, Dhcpv6StatusCode, Grant};
use super::request::{Association, Dhcpv6MessageType, Request};
use crate::assignment::SingleBootProgress;
use crate::config::{Ipv6Config, Ipv6Network, LanConfig};
use crate::dhcp::lacks::ShortageExplanation;
use crate::dhcp::limit::DeclineLimiter;
use crate::dhcp::loads::{BootFileChoice, Leader, is_not_answered, loads};
use crate::dhcp::pool::{AddressClaimResult, ClientRequestState, Pool, Superseded};
use crate::dhcp::request::BootStage;
use crate::mac::Mac;
use crate::script;
use std::collections::{HashMap, HashSet};
use std::net::Ipv6Addr;

/// Address and identifier of this node in a network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dhcpv6ServerIdentity {
    /// Address of this node in the network.
    pub address: Ipv6Addr,
    /// Server identifier (DUID) of this node.
    pub duid: Vec<u8>,
}

impl Dhcpv6ServerIdentity {
    /// Creates the identity from the node's address and its MAC address. The MAC address determines
    /// the DUID (DUID-LL): every node has another one, and a restart keeps it.
    pub fn new(address: Ipv6Addr, card: Mac) -> Dhcpv6ServerIdentity {
        let mut duid = vec![0, 3, 0, 1];
        duid.extend(card.0);
        Dhcpv6ServerIdentity { address, duid }
    }
}

/// Decision about a DHCPv6 request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dhcpv6Decision {
    /// Response to the client; None: no response.
    pub answer: Option<Dhcpv6Response>,
    /// Reason of the decision, as operators read it.
    pub why: String,
    /// True if the response gives a lease, which must be on disk before the response is sent.
    pub is_lease: bool,
}

impl Dhcpv6Decision {
    /// Builds a decision without a response.
    pub(crate) fn silent(why: impl Into<String>) -> Dhcpv6Decision {
        Dhcpv6Decision {
            answer: None,
            why: why.into(),
            is_lease: false,
        }
    }
}

/// DHCPv6 server logic of one network.
pub struct Dhcpv6Server {
    lan: LanConfig,
    six: Ipv6Config,
    here: Dhcpv6ServerIdentity,
    turns: SingleBootProgress,
    /// None: this node decides single boots.
    leader: Option<Leader>,
    declines: DeclineLimiter,
    lacks: ShortageExplanation,
    /// Address pool; None: the section has no range.
    pool: Option<Pool<Ipv6Addr>>,
    /// Machines with a fixed address, by that address.
    fixed: HashMap<Ipv6Addr, Mac>,
    /// Addresses of nodes, which no machine gets.
    of_nodes: HashSet<Ipv6Addr>,
}

/// Decision whether a client may have an address, with the reason.
enum AddressPermission {
    Yes(Ipv6Addr, String),
    No(Dhcpv6StatusCode, String),
    /// Another node, or another server, has to respond.
    Silent(String),
}

impl Dhcpv6Server {
    /// Creates the server logic of a network.
    pub fn new(
        lan: LanConfig,
        six: Ipv6Config,
        here: Dhcpv6ServerIdentity,
        pool: Option<Pool<Ipv6Addr>>,
    ) -> Dhcpv6Server {
        let pool = pool.map(|mut pool| {
            pool.accept_superseded(|address, mac| six.machines.get(&mac) == Some(&address));
            let all = lan.machines.keys().copied();
            pool.prefer(all.filter(|mac| !six.machines.contains_key(mac)));
            pool
        });
        let fixed = six.machines.iter().map(|(mac, address)| (*address, *mac));
        Dhcpv6Server {
            fixed: fixed.collect(),
            of_nodes: HashSet::new(),
            lan,
            six,
            here,
            turns: SingleBootProgress::default(),
            leader: None,
            declines: DeclineLimiter::default(),
            lacks: ShortageExplanation::default(),
            pool,
        }
    }

    /// Sets the addresses of nodes: no machine gets one of them, even as its fixed address.
    pub fn set_of_nodes(&mut self, addresses: HashSet<Ipv6Addr>) {
        self.of_nodes = addresses;
    }

    /// Returns the fixed address of a machine, or an error if a node has this address. Returns None
    /// for a machine without a fixed address, and while another client still has a lease of the
    /// address: until this lease ends, the machine gets an address of the range.
    fn own(&self, mac: Mac) -> Option<Result<Ipv6Addr, String>> {
        let own = *self.six.machines.get(&mac)?;
        if self.of_nodes.contains(&own) {
            return Some(Err(format!(
                "{own} is its own address in the file, but a node has it"
            )));
        }
        let leased = self
            .pool
            .as_ref()
            .and_then(|pool| pool.superseded_of(own, mac));
        leased.is_none().then_some(Ok(own))
    }

    /// Takes over the records of declined addresses from the server logic before a reload.
    pub fn following(self, before: Option<Dhcpv6Server>) -> Dhcpv6Server {
        match before {
            Some(before) => Dhcpv6Server {
                declines: before.declines,
                ..self
            },
            None => self,
        }
    }

    pub fn here(&self) -> &Dhcpv6ServerIdentity {
        &self.here
    }

    pub fn six(&self) -> &Ipv6Config {
        &self.six
    }

    pub fn network(&self) -> Ipv6Network {
        self.six.network
    }

    pub fn pool(&mut self) -> Option<&mut Pool<Ipv6Addr>> {
        self.pool.as_mut()
    }

    /// Returns the leases of addresses that are no longer for clients.
    pub fn superseded(&self) -> Vec<(Ipv6Addr, Superseded)> {
        self.pool.iter().flat_map(Pool::superseded).collect()
    }

    /// Returns the address for which a client has a lease of this node.
    pub fn leased(&self, mac: Mac) -> Option<Ipv6Addr> {
        self.pool.as_ref()?.leased(mac)
    }

    /// Returns how many machines of the configuration have neither a fixed address nor one of the
    /// pool yet, so that an address of the range is reserved for each.
    pub fn kept(&self) -> u64 {
        let Some(pool) = &self.pool else { return 0 };
        let all = self.lan.machines.keys();
        let ranged = all.filter(|mac| !self.six.machines.contains_key(mac));
        ranged.filter(|mac| pool.of(**mac).is_none()).count() as u64
    }

    /// Sets the progress of single boots, and the node that decides them. `leader`: None if this
    /// node decides.
    pub fn set_turns(&mut self, turns: SingleBootProgress, leader: Option<Leader>) {
        self.turns = turns;
        self.leader = leader;
    }

    pub fn decide(&mut self, request: &Request, now_ms: u64) -> Dhcpv6Decision {
        if let Some(pool) = &mut self.pool {
            pool.expire(now_ms);
        }
        let says = (&self.turns, self.leader.as_ref());
        if let Some(why) = is_not_answered(&self.lan, says, request.mac, request.stage) {
            return Dhcpv6Decision::silent(why);
        }
        let is_other = |server: &Vec<u8>| *server != self.here.duid;
        if request.server.as_ref().is_some_and(is_other) {
            return self.for_another(request);
        }
        match request.kind {
            Dhcpv6MessageType::Solicit => self.solicit(request, now_ms),
            Dhcpv6MessageType::Request | Dhcpv6MessageType::Renew | Dhcpv6MessageType::Rebind => {
                self.claim(request, now_ms)
            }
            Dhcpv6MessageType::Confirm => self.confirm(request),
            Dhcpv6MessageType::Release | Dhcpv6MessageType::Decline => {
                self.give_back(request, now_ms)
            }
            Dhcpv6MessageType::Information => {
                let why = "it needs no address, and asks what else there is";
                self.answer(
                    request,
                    Dhcpv6ResponseType::Reply,
                    Vec::new(),
                    why.to_owned(),
                )
            }
        }
    }

    /// Handles a message to another server: sends no response, and after a Request withdraws the
    /// offer of this node.
    fn for_another(&mut self, request: &Request) -> Dhcpv6Decision {
        if let Some(pool) = self
            .pool
            .as_mut()
            .filter(|_| request.kind == Dhcpv6MessageType::Request)
        {
            pool.withdraw(request.mac);
        }
        Dhcpv6Decision::silent("it is for another server")
    }

    /// Returns whether this node may assign an address to the client at once: the client has a
    /// fixed address, or no other node assigns addresses of the range.
    fn is_only_here(&self, mac: Mac) -> bool {
        matches!(self.own(mac), Some(Ok(_))) || self.pool.as_ref().is_some_and(Pool::is_whole)
    }

    fn solicit(&mut self, request: &Request, now_ms: u64) -> Dhcpv6Decision {
        let Some((first, others)) = request.associations.split_first() else {
            return Dhcpv6Decision::silent("it asks for no address (IA_NA)");
        };
        let wanted = first.addresses.first().copied();
        let is_rapid = request.is_rapid && self.is_only_here(request.mac);
        let may = match (self.find(request.mac, wanted, now_ms), is_rapid) {
            (AddressPermission::Yes(address, _), true) => {
                self.may(request.mac, address, ClientRequestState::Selecting, now_ms)
            }
            (may, _) => may,
        };
        let (address, why) = match may {
            AddressPermission::Yes(address, why) => (address, why),
            AddressPermission::No(_, why) | AddressPermission::Silent(why) => {
                return Dhcpv6Decision::silent(why);
            }
        };
        let grants = granted(first, Ok(address), others, Dhcpv6StatusCode::NoAddress);
        let verdict = if is_rapid {
            Dhcpv6ResponseType::Reply
        } else {
            Dhcpv6ResponseType::Advertise
        };
        let mut decision = self.answer(request, verdict, grants, why);
        if let Some(answer) = &mut decision.answer {
            answer.is_rapid = is_rapid;
        }
        decision
    }

    /// Finds the address that a client would get: the fixed address, or one that the pool offers.
    fn find(&mut self, mac: Mac, wanted: Option<Ipv6Addr>, now_ms: u64) -> AddressPermission {
        match self.own(mac) {
            Some(Ok(own)) => {
                return AddressPermission::Yes(
                    own,
                    format!("{own} is its own address in the file"),
                );
            }
            Some(Err(why)) => return AddressPermission::Silent(why),
            None => {}
        }
        let Some(pool) = &mut self.pool else {
            return AddressPermission::Silent(
                "it has no IPv6 address in the file, and there is no range6".to_owned(),
            );
        };
        match pool.offer(mac, wanted, now_ms) {
            Ok(address) => AddressPermission::Yes(address, format!("{address} is free for it")),
            Err(why) => AddressPermission::Silent(self.lacks.why(pool, (why, "range6"), now_ms)),
        }
    }

    /// Decides whether a client may have an address that it names.
    fn may(
        &mut self,
        mac: Mac,
        address: Ipv6Addr,
        how: ClientRequestState,
        now_ms: u64,
    ) -> AddressPermission {
        match self.own(mac) {
            // Returns the fixed address of the machine, whatever address the client names.
            Some(Ok(own)) => {
                return AddressPermission::Yes(
                    own,
                    format!("{own} is its own address in the file"),
                );
            }
            Some(Err(why)) => return AddressPermission::No(Dhcpv6StatusCode::NoAddress, why),
            None => {}
        }
        if !self.six.network.may_have(address) {
            let why = format!("{address} is not of this network");
            return AddressPermission::No(Dhcpv6StatusCode::NotOnLink, why);
        }
        let is_fixed = self.fixed.get(&address).copied();
        if is_fixed.is_some() || self.of_nodes.contains(&address) {
            if let Some(pool) = &mut self.pool {
                pool.end_superseded(mac, address, now_ms);
            }
            let why = match is_fixed {
                Some(other) if other != mac => {
                    format!("{address} is the address of {other} in the file")
                }
                Some(_) => format!("another client still has a lease of {address}"),
                None => format!("{address} is the address of a node"),
            };
            return AddressPermission::No(Dhcpv6StatusCode::NoAddress, why);
        }
        let Some(pool) = &mut self.pool else {
            return AddressPermission::Silent(
                "it has no IPv6 address in the file, and there is no range6".to_owned(),
            );
        };
        match how {
            // Offers the address now if this node has no record of the client: the client sent no
            // Solicit here.
            ClientRequestState::Selecting if !pool.has_record(mac, address) => {
                // Ignores the result: the claim below reports why there is no address.
                let _ = pool.offer(mac, Some(address), now_ms);
            }
            // Refuses to renew an unused address: a Renew never creates a first lease (RFC 8415,
            // 18.3.4).
            ClientRequestState::Renew if pool.is_unused(address) => {
                let why = format!("it has no lease of {address} from here");
                return AddressPermission::No(Dhcpv6StatusCode::NoBinding, why);
            }
            _ => {}
        }
        let claim = if how == ClientRequestState::Renew && pool.may_be_anothers(mac, address) {
            AddressClaimResult::Unclear
        } else {
            pool.claim(mac, address, how, now_ms)
        };
        match claim {
            AddressClaimResult::Yes => {
                AddressPermission::Yes(address, format!("{address} is its address now"))
            }
            AddressClaimResult::No => AddressPermission::No(
                Dhcpv6StatusCode::NoAddress,
                format!("{address} is not free for it"),
            ),
            AddressClaimResult::NotMine => {
                AddressPermission::Silent(format!("{address} is of the other node, which answers"))
            }
            AddressClaimResult::Unclear => AddressPermission::Silent(format!(
                "the other node may have given {address} to another machine"
            )),
        }
    }

    /// Handles a Request, Renew or Rebind.
    fn claim(&mut self, request: &Request, now_ms: u64) -> Dhcpv6Decision {
        let Some((first, others)) = request.associations.split_first() else {
            return Dhcpv6Decision::silent("it asks for no address (IA_NA)");
        };
        let how = match request.kind {
            Dhcpv6MessageType::Request => ClientRequestState::Selecting,
            _ => ClientRequestState::Renew,
        };
        let wanted = first.addresses.first().copied();
        let wanted = match (wanted, how) {
            (Some(wanted), _) => AddressPermission::Yes(wanted, String::new()),
            (None, ClientRequestState::Selecting) => self.find(request.mac, None, now_ms),
            (None, _) => AddressPermission::No(
                Dhcpv6StatusCode::NoBinding,
                "it names no address".to_owned(),
            ),
        };
        let may = match wanted {
            AddressPermission::Yes(wanted, _) => self.may(request.mac, wanted, how, now_ms),
            other => other,
        };
        // Status for the associations without an address. The lifetime of addresses that the client
        // may not keep becomes zero; the client then requests another one.
        let missing = match how {
            ClientRequestState::Selecting => Dhcpv6StatusCode::NoAddress,
            _ => Dhcpv6StatusCode::NoBinding,
        };
        let (first, why) = match may {
            AddressPermission::Yes(address, why) => (Ok(address), why),
            // Sends no response to a Rebind: another server may know the binding (RFC 8415,
            // 18.3.5).
            AddressPermission::No(Dhcpv6StatusCode::NoBinding, why)
                if request.kind == Dhcpv6MessageType::Rebind =>
            {
                return Dhcpv6Decision::silent(why);
            }
            AddressPermission::No(status, why) => (Err(status), why),
            AddressPermission::Silent(why) if request.kind != Dhcpv6MessageType::Request => {
                return Dhcpv6Decision::silent(why);
            }
            AddressPermission::Silent(why) => (Err(Dhcpv6StatusCode::NoAddress), why),
        };
        let is_renewed = how != ClientRequestState::Selecting;
        let mut grants = granted(&request.associations[0], first, others, missing);
        for (grant, association) in grants.iter_mut().zip(&request.associations) {
            let ended = association.addresses.iter().copied();
            let ended = ended.filter(|one| is_renewed && Some(*one) != grant.address);
            grant.ended.extend(ended);
            if !grant.ended.is_empty() {
                grant.status = None;
            }
        }
        self.answer(request, Dhcpv6ResponseType::Reply, grants, why)
    }

    /// Handles a Confirm: the client has returned to a network, and asks whether its addresses
    /// are still on-link.
    fn confirm(&self, request: &Request) -> Dhcpv6Decision {
        let mut all = request.associations.iter().flat_map(|one| &one.addresses);
        let Some(first) = all.clone().next() else {
            return Dhcpv6Decision::silent("it names no address");
        };
        let network = self.six.network;
        // Refuses addresses that a node or another machine has: the client would continue to use
        // them.
        let is_anothers = |one: &Ipv6Addr| {
            let by_file = self.fixed.get(one).is_some_and(|mac| *mac != request.mac);
            let by_lease = self
                .pool
                .as_ref()
                .is_some_and(|pool| pool.is_anothers(request.mac, *one));
            let own = self.six.machines.get(&request.mac) == Some(one);
            self.of_nodes.contains(one) || by_file || (by_lease && !own)
        };
        if let Some(other) = all.clone().find(|one| is_anothers(one)) {
            let why = format!("{other} is the address of a node or of another machine");
            return self.done(request, Dhcpv6StatusCode::NotOnLink, Vec::new(), why);
        }
        let (status, why) = match all.find(|one| !network.has(**one)) {
            None => (
                Dhcpv6StatusCode::Success,
                format!("{first} is of this network"),
            ),
            Some(other) => (
                Dhcpv6StatusCode::NotOnLink,
                format!("{other} is not of this network"),
            ),
        };
        self.done(request, status, Vec::new(), why)
    }

    /// Handles a Release, or a Decline: another host uses the address.
    fn give_back(&mut self, request: &Request, now_ms: u64) -> Dhcpv6Decision {
        let mac = request.mac;
        let mut grants = Vec::new();
        let mut why = "it names no address that it has from here".to_owned();
        for association in &request.associations {
            let mut is_known = false;
            for address in &association.addresses {
                if self.six.machines.get(&mac) == Some(address) {
                    is_known = true;
                    why = match request.kind {
                        Dhcpv6MessageType::Decline => format!(
                            "somebody else uses {address}, which is its own address in the file"
                        ),
                        _ => format!("{address} stays its own address, by the file"),
                    };
                    continue;
                }
                let Some(pool) = self.pool.as_mut() else {
                    continue;
                };
                if pool.of(mac) != Some(*address) {
                    continue;
                }
                is_known = true;
                why = match request.kind {
                    Dhcpv6MessageType::Decline if pool.holds(*address) => {
                        let bound = (pool.declines_until(*address, now_ms), pool.declines_max());
                        let is_trusted = self.declines.admits(mac, bound, now_ms);
                        if is_trusted && pool.decline(*address, now_ms) {
                            format!(
                                "it says that somebody else uses {address}, which is given to nobody for a while"
                            )
                        } else {
                            "too many addresses are declined, by it or in the network, to believe it"
                                .to_owned()
                        }
                    }
                    Dhcpv6MessageType::Release if pool.release(mac, *address, now_ms) => {
                        "its address is free soon".to_owned()
                    }
                    _ => {
                        "it has just got this address again, or it is of the other node".to_owned()
                    }
                };
            }
            if !is_known {
                grants.push(Grant {
                    id: association.id,
                    address: None,
                    ended: Vec::new(),
                    status: Some(Dhcpv6StatusCode::NoBinding),
                });
            }
        }
        self.done(request, Dhcpv6StatusCode::Success, grants, why)
    }

    fn done(
        &self,
        request: &Request,
        status: Dhcpv6StatusCode,
        grants: Vec<Grant>,
        why: String,
    ) -> Dhcpv6Decision {
        let decision = self.answer(request, Dhcpv6ResponseType::Reply, grants, why);
        let answer = decision.answer.map(|answer| Dhcpv6Response {
            status: Some(status),
            file: None,
            ..answer
        });
        Dhcpv6Decision {
            answer,
            is_lease: false,
            ..decision
        }
    }

    fn answer(
        &self,
        request: &Request,
        verdict: Dhcpv6ResponseType,
        grants: Vec<Grant>,
        why: String,
    ) -> Dhcpv6Decision {
        let is_lease =
            verdict == Dhcpv6ResponseType::Reply && grants.iter().any(|one| one.address.is_some());
        let is_given = is_lease || verdict == Dhcpv6ResponseType::Advertise;
        let is_for_load = is_given || request.kind == Dhcpv6MessageType::Information;
        let file = self.file(request);
        let why = match &file {
            _ if !is_for_load || request.stage == BootStage::System => why,
            Ok(file) => format!("{why}; it loads {file}"),
            Err(reason) => format!("{why}; it loads nothing: {reason}"),
        };
        let answer = Dhcpv6Response {
            verdict,
            grants,
            status: None,
            is_rapid: false,
            file: file.ok().filter(|_| is_for_load),
        };
        Dhcpv6Decision {
            answer: Some(answer),
            why,
            is_lease,
        }
    }

    /// Returns the URL that a client loads, or why there is none.
    fn file(&self, request: &Request) -> Result<String, String> {
        let server = self.here.address;
        let base = format!("http://[{server}]:{}", self.lan.ports.http);
        let asks = (request.stage, request.architecture);
        let loads = loads(&self.lan, &self.turns, request.mac, asks)?;
        Ok(match (loads, request.stage) {
            (BootFileChoice::Script, _) => format!("{base}/{}", script::name(request.mac)),
            (BootFileChoice::Loader(name), BootStage::HttpFirmware) => format!("{base}/{name}"),
            (BootFileChoice::Loader(name), _) => format!("tftp://[{server}]/{name}"),
        })
    }
}

/// Returns the options for the associations of a client. The first one gets the address, or the
/// reason for none, and the others get a reason: a machine has one address.
fn granted(
    first: &Association,
    address: Result<Ipv6Addr, Dhcpv6StatusCode>,
    others: &[Association],
    status: Dhcpv6StatusCode,
) -> Vec<Grant> {
    let grant = |association: &Association, address: Result<Ipv6Addr, Dhcpv6StatusCode>| Grant {
        id: association.id,
        address: address.ok(),
        ended: Vec::new(),
        status: address.err(),
    };
    let others = others.iter().map(|one| grant(one, Err(status)));
    std::iter::once(grant(first, address))
        .chain(others)
        .collect()
}

#[cfg(test)]
mod tests;
