//! Opens and stores the sockets of all virtual routers. Instances with equal options share one
//! socket.

use super::announce::Announcer;
use super::pacemaker::Pacemaker;
use crate::config::{Authentication, Global, Instance, InstanceTransport};
use crate::wire::{PacketSocket, VrrpOptions, VrrpSocket, VrrpTransport, WireError};
use std::collections::BTreeMap;

/// A VRRP socket, with the options by which it is shared.
#[derive(Debug)]
pub struct Adverts {
    pub options: VrrpOptions,
    pub socket: VrrpSocket,
    /// True if the socket can no longer be read; it is reopened when its interface changes.
    pub broken: bool,
}

#[derive(Debug, Default)]
pub struct Sockets {
    pub adverts: Vec<Adverts>,
    /// Sockets of ARP (false) and neighbour discovery (true), by interface index.
    pub frames: BTreeMap<(u32, bool), PacketSocket>,
    pub announcer: Announcer,
    pub pacemaker: Pacemaker,
    /// Sequence number of the last authenticated advert (AH).
    pub sealed: u32,
}

/// Packet size in bytes that is assumed if no interface gives one.
pub const MTU_BYTES: u32 = 1500;

/// Returns the receive buffer size of an instance on an interface with this MTU: the configured
/// one, or that of `vrrp_rx_bufs_policy`.
pub fn receive_buffer(global: &Global, instance: &Instance, mtu: u32) -> Option<u32> {
    let packets = |number: u32| mtu.saturating_mul(number);
    instance
        .options
        .receive_buffer_bytes
        .or(global.receive_buffer_bytes)
        .or(global.receive_buffer_packets.map(packets))
}

/// Returns the options of an instance's socket, on an interface of this index and name.
pub fn wanted(
    instance: &Instance,
    interface: Option<(u32, String)>,
    receive_buffer_bytes: Option<u32>,
) -> VrrpOptions {
    let transport = match &instance.transport {
        InstanceTransport::Multicast { group } => VrrpTransport::Multicast { group: *group },
        InstanceTransport::Unicast { ttl, .. } => VrrpTransport::Unicast {
            local: instance.source,
            ttl: *ttl,
        },
    };
    VrrpOptions {
        ipv6: instance.ipv6,
        interface,
        transport,
        authenticated: matches!(instance.options.authentication, Some(Authentication::Ah(_))),
        receive_buffer_bytes,
    }
}

impl Sockets {
    /// Returns the index of a socket with these options, and opens one if there is none.
    pub fn adverts_of(&mut self, options: VrrpOptions) -> Result<usize, WireError> {
        let same = |a: &Adverts| a.options == options && !a.broken;
        if let Some(place) = self.adverts.iter().position(same) {
            return Ok(place);
        }
        let socket = VrrpSocket::open(&options)?;
        let new = Adverts {
            options,
            socket,
            broken: false,
        };
        // Reuses the index of a broken socket, so that indices of other sockets stay valid.
        match self.adverts.iter().position(|a| a.broken) {
            Some(place) => {
                if let Some(old) = self.adverts.get_mut(place) {
                    *old = new;
                }
                Ok(place)
            }
            None => {
                self.adverts.push(new);
                Ok(self.adverts.len() - 1)
            }
        }
    }

    /// Returns the frame socket of an interface, and opens one if there is none.
    pub fn frames_of(&mut self, interface: u32, ipv6: bool) -> Result<&PacketSocket, WireError> {
        use std::collections::btree_map::Entry;
        match self.frames.entry((interface, ipv6)) {
            Entry::Occupied(there) => Ok(there.into_mut()),
            Entry::Vacant(free) => Ok(free.insert(PacketSocket::open(interface, ipv6)?)),
        }
    }

    /// Closes the sockets of a deleted interface, which receive nothing any more.
    pub fn forget_interface(&mut self, index: u32) {
        self.frames.retain(|(interface, _), _| *interface != index);
        for adverts in &mut self.adverts {
            if adverts.socket.interface() == index {
                adverts.broken = true;
            }
        }
    }
}
