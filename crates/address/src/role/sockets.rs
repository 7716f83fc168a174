//! The sockets of all virtual routers: those that hear and send alike share one.

use super::announce::Announcer;
use super::pacemaker::Pacemaker;
use crate::config::{Authentication, Global, Instance, Transport};
use crate::wire::{PacketSocket, VrrpOptions, VrrpSocket, VrrpTransport, WireError};
use std::collections::BTreeMap;

/// A VRRP socket with its options.
#[derive(Debug)]
pub struct Adverts {
    /// Its options.
    pub options: VrrpOptions,
    /// The socket.
    pub socket: VrrpSocket,
    /// It can no longer be read, and is reopened when its interface changes.
    pub broken: bool,
}

/// All sockets of the role.
#[derive(Debug, Default)]
pub struct Sockets {
    /// Of VRRP.
    pub adverts: Vec<Adverts>,
    /// Of ARP (false) and neighbour discovery (true), by interface.
    pub frames: BTreeMap<(u32, bool), PacketSocket>,
    /// The announcements that wait for their turn.
    pub announcer: Announcer,
    /// Sends adverts while the loop waits for the kernel.
    pub pacemaker: Pacemaker,
    /// How many adverts were sealed: each has a number.
    pub sealed: u32,
}

/// The largest packet where there is no interface to ask.
pub const MTU_BYTES: u32 = 1500;

/// Returns the receive buffer size of an instance on an interface of this MTU: its own,
/// or that of `vrrp_rx_bufs_policy`.
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
        Transport::Multicast { group } => VrrpTransport::Multicast { group: *group },
        Transport::Unicast { ttl, .. } => VrrpTransport::Unicast {
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
    /// The place of a socket that is so; it is opened where there is none.
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
        // A place that nobody uses any more; others keep theirs.
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

    /// The socket of frames of an interface; it is opened where there is none.
    pub fn frames_of(&mut self, interface: u32, ipv6: bool) -> Result<&PacketSocket, WireError> {
        use std::collections::btree_map::Entry;
        match self.frames.entry((interface, ipv6)) {
            Entry::Occupied(there) => Ok(there.into_mut()),
            Entry::Vacant(free) => Ok(free.insert(PacketSocket::open(interface, ipv6)?)),
        }
    }

    /// An interface went: its sockets hear nothing any more.
    pub fn forget_interface(&mut self, index: u32) {
        self.frames.retain(|(interface, _), _| *interface != index);
        for adverts in &mut self.adverts {
            if adverts.socket.interface() == index {
                adverts.broken = true;
            }
        }
    }
}
