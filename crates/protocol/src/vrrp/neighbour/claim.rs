//! Reads from received ARP and neighbour discovery frames which MAC address claims an IP address.

use super::{ETHERNET_BYTES, ETHERTYPE_ARP, ETHERTYPE_IPV6, Mac, arp, discovery};
use std::net::IpAddr;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Manner {
    Answers,
    /// The host announces the address to all. In IPv6 also the reply to a probe without a source.
    Announces,
    /// The host requests another address, with this one as its source.
    Uses,
    /// The host probes whether it may use the address.
    Probes,
}

/// A host's claim of an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AddressClaim {
    pub address: IpAddr,
    pub mac: Mac,
    /// MAC address that sent the frame. Differs from `mac` if a host responds for another one.
    pub sender: Mac,
    pub manner: Manner,
}

impl AddressClaim {
    /// Returns whether the host has the address now. With `Probes`, it only intends to use the
    /// address.
    pub fn holds(&self) -> bool {
        self.manner != Manner::Probes
    }

    /// Returns whether the claim is an address conflict (RFC 5227, 2.4) for a machine with these
    /// MAC addresses.
    pub fn is_conflict(&self, ours: &[Mac]) -> bool {
        self.holds() && !ours.contains(&self.mac)
    }
}

/// Parses an Ethernet frame as a claim to an address. None if it is not one, or not
/// valid.
pub fn claim(frame: &[u8]) -> Option<AddressClaim> {
    let (head, carried) = frame.split_first_chunk::<ETHERNET_BYTES>()?;
    let sender = [head[6], head[7], head[8], head[9], head[10], head[11]];
    let (address, mac, manner) = match u16::from_be_bytes([head[12], head[13]]) {
        ETHERTYPE_ARP => {
            let (address, mac, manner) = arp::read(carried)?;
            (IpAddr::V4(address), mac, manner)
        }
        ETHERTYPE_IPV6 => {
            let (address, mac, manner) = discovery::read(carried, sender)?;
            (IpAddr::V6(address), mac, manner)
        }
        _ => return None,
    };
    // Refuses a multicast or zero MAC address, which no host has: such a claim is an attack.
    let to_a_group = mac[0] & 1 != 0 || mac == [0; 6];
    (!to_a_group).then_some(AddressClaim {
        address,
        mac,
        sender,
        manner,
    })
}
