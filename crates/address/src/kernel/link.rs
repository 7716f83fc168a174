//! Lists and changes network interfaces.

use super::message::{
    Attributes, Incoming, NetlinkMessage, flag, kind, number, text, u16_at, u32_at,
};
use super::{Kernel, KernelError};
use rustix::io::Errno;

/// Length of the kernel's `struct ifinfomsg`, bytes.
pub(super) const BODY: usize = 16;
const NAME_BYTES: usize = 15;

/// Types of netlink attributes of an interface, `IFLA_*`.
pub(super) mod attribute {
    pub const ADDRESS: u16 = 1;
    pub const NAME: u16 = 3;
    pub const MTU: u16 = 4;
    pub const LINK: u16 = 5;
    pub const MASTER: u16 = 10;
    pub const INFO: u16 = 18;
    pub const AF_SPEC: u16 = 26;
    pub const EXT_MASK: u16 = 29;
    pub const CARRIER: u16 = 33;
    pub const LINK_NAMESPACE: u16 = 37;
    /// Attribute inside `INFO`: the type of the interface.
    pub const INFO_KIND: u16 = 1;
    /// Attribute inside `INFO`: data of that type.
    pub const INFO_DATA: u16 = 2;
}

const SKIP_STATISTICS: u32 = 8;

/// Flags of an interface (`IFF_*`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LinkFlags(pub u32);

impl LinkFlags {
    /// Returns whether the interface is administratively up (`IFF_UP`).
    pub fn up(self) -> bool {
        self.0 & 0x1 != 0
    }

    /// `IFF_RUNNING`: can carry packets, as keepalived judges it.
    pub fn running(self) -> bool {
        self.0 & 0x40 != 0
    }

    pub fn loopback(self) -> bool {
        self.0 & 0x8 != 0
    }

    pub fn multicast(self) -> bool {
        self.0 & 0x1000 != 0
    }

    /// `IFF_LOWER_UP`: the lower layer has a carrier.
    pub fn lower_up(self) -> bool {
        self.0 & 0x1_0000 != 0
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NetworkInterface {
    pub index: u32,
    pub name: String,
    /// Hardware type `ARPHRD_*`: 1 is Ethernet, 772 loopback.
    pub hardware: u16,
    /// MAC; None without a hardware address of six bytes.
    pub mac: Option<[u8; 6]>,
    pub flags: LinkFlags,
    pub carrier: bool,
    /// Maximum packet size in bytes.
    pub mtu: u32,
    /// Index of the bridge, bond or VRF that contains the interface.
    pub master: Option<u32>,
    /// Index of the parent interface (VLAN, macvlan).
    pub parent: Option<u32>,
    /// Type: `veth`, `macvlan`, `vlan`, `bridge`; empty for a physical interface.
    pub kind: String,
    /// Mode of a macvlan (1 private, 2 vepa, 4 bridge), or mode and flags of an ipvlan.
    pub mode: Option<u32>,
}

impl NetworkInterface {
    /// Returns whether the interface is administratively up and can carry packets: keepalived's
    /// "up".
    pub fn usable(&self) -> bool {
        self.flags.up() && self.flags.running()
    }

    /// Parses a message `RTM_NEWLINK` or `RTM_DELLINK`.
    pub(super) fn read(message: &Incoming<'_>) -> Option<NetworkInterface> {
        let body = message.body;
        if body.first().copied()? != 0 {
            // Ignores messages about bridge ports (AF_BRIDGE), which do not describe the interface
            // itself.
            return None;
        }
        let flags = LinkFlags(u32_at(body, 8)?);
        let mut link = NetworkInterface {
            index: u32_at(body, 4)?,
            name: String::new(),
            hardware: u16_at(body, 2)?,
            mac: None,
            flags,
            carrier: flags.lower_up(),
            mtu: 0,
            master: None,
            parent: None,
            kind: String::new(),
            mode: None,
        };
        for (kind, value) in message.attributes(BODY) {
            match kind {
                attribute::ADDRESS => link.mac = value.try_into().ok(),
                attribute::NAME => link.name = text(value),
                attribute::MTU => link.mtu = number(value).unwrap_or(0),
                attribute::LINK => link.parent = number(value).filter(|i| *i != 0),
                attribute::MASTER => link.master = number(value),
                attribute::CARRIER => link.carrier = value.first().is_some_and(|c| *c != 0),
                attribute::INFO => link.read_info(Attributes(value)),
                _ => {}
            }
        }
        // Clears the parent where it is none of this machine: the kernel reports the other end of a
        // veth as its parent, and indices of another network namespace mean nothing here.
        let far = message.attributes(BODY).find(attribute::LINK_NAMESPACE);
        if link.kind == "veth" || far.is_some() {
            link.parent = None;
        }
        Some(link)
    }

    fn read_info(&mut self, info: Attributes<'_>) {
        self.kind = info
            .find(attribute::INFO_KIND)
            .map(text)
            .unwrap_or_default();
        let Some(data) = info.find(attribute::INFO_DATA).map(Attributes) else {
            return;
        };
        let short = |kind| {
            data.find(kind)
                .and_then(|v| u16_at(v, 0))
                .map_or(0, u32::from)
        };
        self.mode = match self.kind.as_str() {
            "macvlan" => data.find(1).and_then(number),
            "ipvlan" => Some(short(1) | short(2) << 16),
            _ => None,
        };
    }
}

pub(super) fn body(index: u32, flags: u32, change: u32) -> [u8; BODY] {
    let mut body = [0; BODY];
    body[4..8].copy_from_slice(&index.to_ne_bytes());
    body[8..12].copy_from_slice(&flags.to_ne_bytes());
    body[12..16].copy_from_slice(&change.to_ne_bytes());
    body
}

pub(super) fn good_name(name: &str) -> Result<(), KernelError> {
    let good = !name.is_empty()
        && name.len() <= NAME_BYTES
        && name != "."
        && name != ".."
        && !name
            .bytes()
            .any(|b| b == 0 || b == b'/' || b == b':' || b.is_ascii_whitespace());
    if good {
        Ok(())
    } else {
        Err(KernelError::BadName(name.to_owned()))
    }
}

impl Kernel {
    /// Lists all interfaces.
    ///
    /// # Errors
    /// As described at [`Kernel`].
    pub fn links(&mut self) -> Result<Vec<NetworkInterface>, KernelError> {
        let mut ask =
            NetlinkMessage::new(kind::GET_LINK, flag::REQUEST | flag::DUMP, &body(0, 0, 0));
        ask.u32(attribute::EXT_MASK, SKIP_STATISTICS);
        let read = |m: &Incoming<'_>| m.read_as(kind::NEW_LINK, NetworkInterface::read);
        self.socket.dump("list interfaces", ask, read)
    }

    /// Returns the interface with this name, if there is one.
    ///
    /// # Errors
    /// Fails with [`KernelError::BadName`] if no interface can have this name, otherwise as
    /// described at [`Kernel`].
    pub fn link(&mut self, name: &str) -> Result<Option<NetworkInterface>, KernelError> {
        good_name(name)?;
        let mut ask = NetlinkMessage::new(kind::GET_LINK, flag::REQUEST, &body(0, 0, 0));
        ask.string(attribute::NAME, name);
        self.ask_link(ask)
    }

    /// Returns the interface with this index, if there is one.
    ///
    /// # Errors
    /// As described at [`Kernel`].
    pub fn link_of(&mut self, index: u32) -> Result<Option<NetworkInterface>, KernelError> {
        self.ask_link(NetlinkMessage::new(
            kind::GET_LINK,
            flag::REQUEST,
            &body(index, 0, 0),
        ))
    }

    fn ask_link(
        &mut self,
        mut ask: NetlinkMessage,
    ) -> Result<Option<NetworkInterface>, KernelError> {
        ask.u32(attribute::EXT_MASK, SKIP_STATISTICS);
        let read = |m: &Incoming<'_>| m.read_as(kind::NEW_LINK, NetworkInterface::read);
        match self.socket.get("look up an interface", ask, read) {
            Ok(link) => Ok(Some(link)),
            Err(error) if error.is(Errno::NODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns the index of the interface with this name.
    ///
    /// # Errors
    /// Fails with [`KernelError::NoInterface`] if there is none, otherwise as [`Kernel::link`].
    pub fn index_of(&mut self, name: &str) -> Result<u32, KernelError> {
        let none = || KernelError::NoInterface(name.to_owned());
        self.link(name)?.map(|link| link.index).ok_or_else(none)
    }

    /// Sets an interface up or down.
    ///
    /// # Errors
    /// As described at [`Kernel`].
    pub fn set_link_up(&mut self, index: u32, up: bool) -> Result<(), KernelError> {
        let body = body(index, u32::from(up), 1);
        let ask = NetlinkMessage::new(kind::NEW_LINK, flag::REQUEST | flag::ACK, &body);
        self.socket.one("set an interface up or down", ask)
    }

    /// Removes an interface; one that is already gone is no error.
    ///
    /// # Errors
    /// As described at [`Kernel`].
    pub fn delete_link(&mut self, index: u32) -> Result<super::Ack, KernelError> {
        let ask = NetlinkMessage::new(
            kind::DELETE_LINK,
            flag::REQUEST | flag::ACK,
            &body(index, 0, 0),
        );
        match self.socket.one("remove an interface", ask) {
            Ok(()) => Ok(super::Ack::Done),
            Err(error) if error.is(Errno::NODEV) => Ok(super::Ack::Already),
            Err(error) => Err(error),
        }
    }
}
