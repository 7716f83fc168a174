//! Simulates a DHCP client as RFC 2131 specifies it: the client accepts a response only to its last
//! request, and counts its lease from when it sent that request.

use super::super::reply::DhcpReplyType;
use super::super::request::{DhcpMessageType, Request, RequestedAddresses};
use super::{Clock, SimulatedReply, request, server};
use crate::mac::Mac;
use lab::Random;
use std::net::Ipv4Addr;

/// Response that a client waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Waits {
    Nothing,
    Offer,
    /// Waits for the ACK of a request, which it sent at this time of its own clock.
    Lease {
        address: Ipv4Addr,
        at_ms: u64,
        is_renewal: bool,
    },
}

/// Effect of a response on a client.
pub(super) enum Got {
    Nothing,
    Refusal,
    /// The client accepts the offer.
    Offer(Request),
    /// The client has the address. The flags: it had the address before, and it had it from
    /// another node.
    Lease(Ipv4Addr, bool, bool),
}

#[derive(Clone, Copy, Debug)]
struct Lease {
    address: Ipv4Addr,
    /// End of the lease by the client's own clock.
    until_ms: u64,
    server: Ipv4Addr,
}

#[derive(Debug)]
pub(super) struct Client {
    pub(super) mac: Mac,
    clock: Clock,
    waits: Waits,
    xid: u32,
    /// Lease that the client uses.
    lease: Option<Lease>,
    /// Lease before the client's restart; some clients remember it for longer than it lasts.
    remembers: Option<Lease>,
}

/// Requests that a client sends, each with its nodes.
type AddressedRequests = Vec<(Vec<usize>, Request)>;

const ALL: [usize; 2] = [0, 1];

pub(super) fn claims(
    uses: Option<Ipv4Addr>,
    wants: Option<Ipv4Addr>,
    server: Option<Ipv4Addr>,
) -> RequestedAddresses {
    RequestedAddresses {
        uses,
        wants,
        server,
    }
}

fn node_of(address: Ipv4Addr) -> usize {
    usize::from(address != server(0))
}

impl Client {
    pub(super) fn new(mac: Mac, clock: Clock) -> Client {
        Client {
            mac,
            clock,
            waits: Waits::Nothing,
            xid: u32::from(mac.0[5]) << 24,
            lease: None,
            remembers: None,
        }
    }

    /// Returns the address that the client believes to have.
    pub(super) fn believes(&self, true_ms: u64) -> Option<Ipv4Addr> {
        let now_ms = self.clock.at(true_ms);
        let lease = self.lease.filter(|lease| lease.until_ms > now_ms)?;
        Some(lease.address)
    }

    pub(super) fn receive(&mut self, reply: SimulatedReply, true_ms: u64) -> Got {
        let lease_ms = reply.lease_ms;
        if reply.xid != self.xid {
            return Got::Nothing;
        }
        match (self.waits, reply.verdict, reply.address) {
            (Waits::Offer, DhcpReplyType::Offer, Some(address)) => {
                self.waits = Waits::Lease {
                    address,
                    at_ms: self.clock.at(true_ms),
                    is_renewal: false,
                };
                let claims = claims(None, Some(address), Some(reply.server));
                Got::Offer(request(
                    DhcpMessageType::Request,
                    self.xid,
                    self.mac,
                    claims,
                ))
            }
            (
                Waits::Lease {
                    address,
                    at_ms,
                    is_renewal,
                },
                DhcpReplyType::Yes,
                Some(given),
            ) if given == address => {
                self.waits = Waits::Nothing;
                if at_ms + lease_ms <= self.clock.at(true_ms) {
                    // The lease ended before the response arrived.
                    return Got::Nothing;
                }
                let before = self.lease.map(|lease| lease.server);
                self.lease = Some(Lease {
                    address,
                    until_ms: at_ms + lease_ms,
                    server: reply.server,
                });
                self.remembers = None;
                Got::Lease(address, is_renewal, before != Some(reply.server))
            }
            (Waits::Lease { .. }, DhcpReplyType::No, _) => {
                self.lease = None;
                self.remembers = None;
                self.waits = Waits::Nothing;
                Got::Refusal
            }
            _ => Got::Nothing,
        }
    }

    /// Lets the client act, depending on its state.
    pub(super) fn act(
        &mut self,
        random: &mut Random,
        true_ms: u64,
        lease_ms: u64,
    ) -> AddressedRequests {
        let now_ms = self.clock.at(true_ms);
        self.lease = self.lease.filter(|lease| lease.until_ms > now_ms);
        let remembers_long = self.mac.0[5].is_multiple_of(2);
        self.remembers = self
            .remembers
            .filter(|one| remembers_long || one.until_ms > now_ms);
        // The client waits for a response for a while.
        if self.waits != Waits::Nothing && random.percent(85) {
            return Vec::new();
        }
        match self.lease {
            Some(lease) => self.act_with(lease, random, now_ms, lease_ms),
            None => self.begin(random, now_ms),
        }
    }

    fn begin(&mut self, random: &mut Random, now_ms: u64) -> AddressedRequests {
        self.xid += 1;
        if let Some(lease) = self.remembers.filter(|_| random.percent(80)) {
            self.waits = Waits::Lease {
                address: lease.address,
                at_ms: now_ms,
                is_renewal: false,
            };
            let claims = claims(None, Some(lease.address), None);
            return self.to(&ALL, DhcpMessageType::Request, claims);
        }
        self.waits = Waits::Offer;
        let wants = self.remembers.map(|lease| lease.address);
        self.to(&ALL, DhcpMessageType::Discover, claims(None, wants, None))
    }

    fn act_with(
        &mut self,
        lease: Lease,
        random: &mut Random,
        now_ms: u64,
        lease_ms: u64,
    ) -> AddressedRequests {
        let its = [node_of(lease.server)];
        let left = lease.until_ms - now_ms;
        match random.below(50) {
            // The client restarts, and remembers its lease or not.
            0 => {
                self.remembers = Some(lease).filter(|_| random.percent(70));
                self.lease = None;
                self.begin(random, now_ms)
            }
            1..=4 => {
                self.lose();
                let claims = claims(Some(lease.address), None, Some(lease.server));
                let mut sent = self.to(&its, DhcpMessageType::Release, claims);
                if random.percent(60) {
                    // Starts again with a new request, as a restarted client does.
                    sent.extend(self.begin(random, now_ms));
                }
                sent
            }
            5 => {
                self.lose();
                let claims = claims(None, Some(lease.address), Some(lease.server));
                self.to(&its, DhcpMessageType::Decline, claims)
            }
            // The client requests another address at the same time, as if it had none.
            6 => {
                self.lose();
                self.begin(random, now_ms)
            }
            _ if left < lease_ms / 2 || random.once_in(4) => {
                self.xid += 1;
                self.waits = Waits::Lease {
                    address: lease.address,
                    at_ms: now_ms,
                    is_renewal: true,
                };
                let to = if left < lease_ms / 8 { &ALL[..] } else { &its };
                self.to(
                    to,
                    DhcpMessageType::Request,
                    claims(Some(lease.address), None, None),
                )
            }
            _ => Vec::new(),
        }
    }

    fn lose(&mut self) {
        self.xid += 1;
        self.waits = Waits::Nothing;
        self.lease = None;
        self.remembers = None;
    }

    fn to(
        &self,
        nodes: &[usize],
        kind: DhcpMessageType,
        claims: RequestedAddresses,
    ) -> AddressedRequests {
        vec![(nodes.to_vec(), request(kind, self.xid, self.mac, claims))]
    }
}
