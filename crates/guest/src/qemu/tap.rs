//! Creates the network cards of a guest on this node: TAP devices at a bridge (Linux,
//! `Documentation/networking/tuntap.rst`). A device ceases to exist with the QEMU process that
//! holds its descriptor.

use crate::config::Nic;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// Reason why a card cannot be created.
#[derive(Debug, thiserror::Error)]
pub enum TapError {
    #[error("there is no bridge '{0}' on this node")]
    NoBridge(String),
    #[error("cannot open /dev/net/tun: {0}")]
    NoTun(io::Error),
    #[error("cannot {step} for bridge '{bridge}': {error}")]
    Step {
        step: &'static str,
        bridge: String,
        error: io::Error,
    },
}

/// The kernel's `struct ifreq`: an interface name and a request-specific value.
#[repr(C)]
struct Request {
    name: [u8; libc::IFNAMSIZ],
    value: [u8; 24],
}

impl Request {
    fn new(name: &str) -> Option<Request> {
        let mut request = Request {
            name: [0; libc::IFNAMSIZ],
            value: [0; 24],
        };
        let place = request.name.get_mut(..name.len())?;
        // Refuses a name that leaves no byte for the terminating zero.
        (name.len() < libc::IFNAMSIZ).then_some(())?;
        place.copy_from_slice(name.as_bytes());
        Some(request)
    }

    fn set(&mut self, bytes: &[u8]) {
        for (to, from) in self.value.iter_mut().zip(bytes) {
            *to = *from;
        }
    }

    fn number(&self) -> i32 {
        let [a, b, c, d, ..] = self.value;
        i32::from_ne_bytes([a, b, c, d])
    }

    /// Sets the field to an Ethernet address: a `struct sockaddr` with the hardware type as family.
    fn set_mac(&mut self, [a, b, c, d, e, f]: MacAddress) {
        let [low, high] = libc::ARPHRD_ETHER.to_ne_bytes();
        self.set(&[low, high, a, b, c, d, e, f]);
    }

    fn mac(&self) -> MacAddress {
        let [_, _, a, b, c, d, e, f, ..] = self.value;
        [a, b, c, d, e, f]
    }
}

type MacAddress = [u8; 6];

fn control(fd: BorrowedFd<'_>, number: u64, request: &mut Request) -> io::Result<()> {
    // SAFETY: each of these requests reads and writes a `struct ifreq`, which this is: a name and
    // 24 bytes.
    match unsafe { libc::ioctl(fd.as_raw_fd(), number as _, request as *mut Request) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Request number TUNSETIFF of `linux/if_tun.h`.
const TUNSETIFF: u64 = 0x4004_54ca;
/// Request number SIOCBRADDIF of `linux/sockios.h`.
const SIOCBRADDIF: u64 = 0x89a2;

/// First byte of the MAC addresses of TAP devices, which is higher than that of any other port: a
/// bridge without an address of its own uses the lowest one of its ports.
const HIGHEST: u8 = 0xfe;

/// Creates a network card at its bridge, with the bridge's MTU. The kernel chooses the interface
/// name: `vm0` and so on. The MAC address of the bridge, which is that of this node, stays the
/// same.
///
/// # Errors
/// The bridge does not exist, `/dev/net/tun` cannot be opened, or the kernel refuses a step.
pub fn make(nic: &Nic) -> Result<OwnedFd, TapError> {
    let bridge = nic.bridge.as_str();
    let failed = |step| {
        let bridge = bridge.to_owned();
        move |error: io::Error| TapError::Step {
            step,
            bridge,
            error,
        }
    };
    let none = || TapError::NoBridge(bridge.to_owned());
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None);
    let socket = socket.map_err(|errno| failed("open a socket")(errno.into()))?;
    let socket = std::os::fd::AsFd::as_fd(&socket);
    let mut of_bridge = Request::new(bridge).ok_or_else(none)?;
    control(socket, libc::SIOCGIFMTU, &mut of_bridge).map_err(|_| none())?;
    let mtu = of_bridge.number();
    control(socket, libc::SIOCGIFHWADDR, &mut of_bridge).map_err(failed("look at the address"))?;
    let mac_before = of_bridge.mac();

    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let tun = openat(CWD, "/dev/net/tun", flags, Mode::empty());
    let tun = tun.map_err(|errno| TapError::NoTun(errno.into()))?;
    let mut card = Request::new("vm%d").ok_or_else(none)?;
    let kind = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    card.set(&(kind as u16).to_ne_bytes());
    control(std::os::fd::AsFd::as_fd(&tun), TUNSETIFF, &mut card)
        .map_err(failed("make a TAP device"))?;

    card.set(&mtu.to_ne_bytes());
    control(socket, libc::SIOCSIFMTU, &mut card).map_err(failed("set the MTU of a TAP device"))?;
    let [_, b, c, d, e, f] = nic.mac;
    // Gives the TAP device another address than the guest's card has.
    let first = if nic.mac[0] == HIGHEST {
        HIGHEST - 4
    } else {
        HIGHEST
    };
    card.set_mac([first, b, c, d, e, f]);
    control(socket, libc::SIOCSIFHWADDR, &mut card)
        .map_err(failed("set the address of a TAP device"))?;
    control(socket, libc::SIOCGIFINDEX, &mut card).map_err(failed("find a TAP device"))?;
    let index = card.number();
    let mut to = Request::new(bridge).ok_or_else(none)?;
    to.set(&index.to_ne_bytes());
    control(socket, SIOCBRADDIF, &mut to).map_err(failed("attach a TAP device"))?;
    // Restores the address of the bridge: a bridge that only guests use gets the address of its
    // first port, and loses it with that port.
    control(socket, libc::SIOCGIFHWADDR, &mut of_bridge).map_err(failed("look at the address"))?;
    if of_bridge.mac() != mac_before && mac_before != MacAddress::default() {
        of_bridge.set_mac(mac_before);
        control(socket, libc::SIOCSIFHWADDR, &mut of_bridge).map_err(failed("keep the address"))?;
    }
    control(socket, libc::SIOCGIFFLAGS, &mut card).map_err(failed("look at a TAP device"))?;
    let up = card.number() as i16 | libc::IFF_UP as i16;
    card.set(&up.to_ne_bytes());
    control(socket, libc::SIOCSIFFLAGS, &mut card).map_err(failed("switch on a TAP device"))?;
    Ok(tun)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Model;
    use std::process::Command;

    fn ip(words: &str) -> String {
        let output = Command::new("ip").args(words.split(' ')).output().unwrap();
        assert!(output.status.success(), "{words}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn mac_of(interface: &str) -> String {
        let shown = ip(&format!("-o link show dev {interface}"));
        let (_, rest) = shown.split_once("link/ether ").expect(&shown);
        rest.split(' ').next().unwrap_or_default().to_owned()
    }

    fn nic(last: u8) -> Nic {
        Nic {
            bridge: "br0".to_owned(),
            mac: [0x02, 0, 0, 0, 0, last],
            addresses: Vec::new(),
            model: Model::default(),
        }
    }

    #[test]
    fn cards_do_not_change_the_address_of_their_bridge() {
        lab::skip_unless_root!();
        lab::enter_own_network();
        // At first the bridge has no other port: only guests use it.
        ip("link add br0 type bridge");
        ip("link set br0 up");
        let before = mac_of("br0");
        let first = make(&nic(1)).unwrap();
        assert_eq!(mac_of("vm0"), "fe:00:00:00:00:01");
        assert_eq!(mac_of("br0"), before);
        let second = make(&nic(2)).unwrap();
        drop(first);
        assert_eq!(mac_of("br0"), before);
        drop(second);
        assert_eq!(mac_of("br0"), before);

        ip("link del br0");
        ip("link add br0 type bridge");
        ip("link add eth0 address f4:2e:99:00:00:01 type veth peer name far");
        ip("link set eth0 master br0");
        assert_eq!(mac_of("br0"), "f4:2e:99:00:00:01");
        let mut of_guest = nic(1);
        of_guest.mac[0] = HIGHEST;
        let card = make(&of_guest).unwrap();
        assert_eq!(mac_of("vm0"), "fa:00:00:00:00:01");
        assert_eq!(mac_of("br0"), "f4:2e:99:00:00:01");
        drop(card);
        assert_eq!(mac_of("br0"), "f4:2e:99:00:00:01");
    }
}
