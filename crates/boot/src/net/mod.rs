//! Opens the sockets of network boot at an interface, including those for clients without an
//! address, and finds the addresses of this host.
//!
//! - [`udp`] has the sockets of DHCP, [`tcp`] listeners for files.
//! - [`router`] tells machines that there is no IPv6 router here, and that addresses come from
//!   DHCPv6.
//! - [`six`] has the sockets of IPv6, and the MAC addresses of senders.
//! - [`addresses`] monitors the addresses of this host, and [`lifetime`] chooses one of IPv6.
//! - [`batch`] receives packets in batches, with the time that each has waited.
//! - [`packet`] has packet sockets, and [`link`] queries the MTU of an interface.
//! - [`own_source`] receives requests from clients that use an address of this host.
//! - [`frame`] sends to a MAC address, and sends ARP requests (RFC 826).

pub mod addresses;
pub mod batch;
pub mod frame;
pub mod lifetime;
pub mod link;
pub mod own_source;
pub mod packet;
pub mod router;
pub mod six;
pub mod tcp;
pub mod udp;
