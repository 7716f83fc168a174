//! Sockets at an interface: what goes to a client that has no address yet, too.
//!
//! - [`udp`] is the sockets of DHCP, [`tcp`] a port for files.
//! - [`router`] says to machines that there is no router of IPv6 here, and that DHCPv6 is.
//! - [`six`] is sockets of IPv6, and the cards behind its addresses.
//! - [`addresses`] is the addresses of this host.
//! - [`batch`] receives packets together, and knows how long each has waited.
//! - [`packet`] is sockets for frames.
//! - [`own_source`] hears clients that use an address of this host.
//! - [`frame`] sends to the address of a card, and asks who has an IP address (RFC 826).

pub mod addresses;
pub mod batch;
pub mod frame;
pub mod own_source;
pub mod packet;
pub mod router;
pub mod six;
pub mod tcp;
pub mod udp;
