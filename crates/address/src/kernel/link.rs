//! Interfaces.

use super::message::{Attributes, Incoming, Message, flag, kind, number, text, u16_at, u32_at};
use super::{Kernel, KernelError};
use rustix::io::Errno;

/// Length of `struct ifinfomsg`.
pub(super) const BODY: usize = 16;
/// The longest name of an interface.
const NAME_BYTES: usize = 15;

/// `IFLA_*`
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
    /// Inside of `INFO`.
    pub const INFO_KIND: u16 = 1;
    /// Inside of `INFO`.
    pub const INFO_DATA: u16 = 2;
}

/// `RTEXT_FILTER_SKIP_STATS`: counters are not asked for.
const SKIP_STATISTICS: u32 = 8;

/// The flags of an interface (`IFF_*`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LinkFlags(pub u32);

impl LinkFlags {
    /// `IFF_UP`: an administrator wants it.
    pub fn up(self) -> bool {
        self.0 & 0x1 != 0
    }

    /// `IFF_RUNNING`: it can carry packets, as keepalived judges it.
    pub fn running(self) -> bool {
        self.0 & 0x40 != 0
    }

    /// `IFF_LOOPBACK`
    pub fn loopback(self) -> bool {
        self.0 & 0x8 != 0
    }

    /// `IFF_MULTICAST`
    pub fn multicast(self) -> bool {
        self.0 & 0x1000 != 0
    }

    /// `IFF_LOWER_UP`: the layer below has a carrier.
    pub fn lower_up(self) -> bool {
        self.0 & 0x1_0000 != 0
    }
}

/// An interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// `ARPHRD_*`: 1 is Ethernet, 772 loopback.
    pub hardware: u16,
    /// Its MAC; none where it has no address of six bytes.
    pub mac: Option<[u8; 6]>,
    /// Its flags.
    pub flags: LinkFlags,
    /// Whether it has a carrier.
    pub carrier: bool,
    /// Its largest packet.
    pub mtu: u32,
    /// The bridge, bond or VRF that it belongs to.
    pub master: Option<u32>,
    /// The interface that it stands on (VLAN, macvlan).
    pub parent: Option<u32>,
    /// `veth`, `macvlan`, `vlan`, `bridge`; empty for a real one.
    pub kind: String,
    /// A macvlan's mode (1 private, 2 vepa, 4 bridge) or an ipvlan's mode and flags.
    pub mode: Option<u32>,
}

impl Link {
    /// Returns whether it is administratively up and can carry packets: keepalived's
    /// "up".
    pub fn usable(&self) -> bool {
        self.flags.up() && self.flags.running()
    }

    /// Reads `RTM_NEWLINK` and `RTM_DELLINK`.
    pub(super) fn read(message: &Incoming<'_>) -> Option<Link> {
        let body = message.body;
        if body.first().copied()? != 0 {
            // Of a bridge's port (AF_BRIDGE): not about the interface itself.
            return None;
        }
        let flags = LinkFlags(u32_at(body, 8)?);
        let mut link = Link {
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
        // A veth's other end is told as if it were below, and so are numbers of another
        // network namespace.
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

/// The fixed body of a message about an interface.
pub(super) fn body(index: u32, flags: u32, change: u32) -> [u8; BODY] {
    let mut body = [0; BODY];
    body[4..8].copy_from_slice(&index.to_ne_bytes());
    body[8..12].copy_from_slice(&flags.to_ne_bytes());
    body[12..16].copy_from_slice(&change.to_ne_bytes());
    body
}

/// Whether an interface can have this name.
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
    /// All interfaces.
    pub fn links(&mut self) -> Result<Vec<Link>, KernelError> {
        let mut ask = Message::new(kind::GET_LINK, flag::REQUEST | flag::DUMP, &body(0, 0, 0));
        ask.u32(attribute::EXT_MASK, SKIP_STATISTICS);
        let read = |m: &Incoming<'_>| (m.kind == kind::NEW_LINK).then(|| Link::read(m)).flatten();
        self.socket.dump("list interfaces", ask, read)
    }

    /// The interface of this name, if there is one.
    pub fn link(&mut self, name: &str) -> Result<Option<Link>, KernelError> {
        good_name(name)?;
        let mut ask = Message::new(kind::GET_LINK, flag::REQUEST, &body(0, 0, 0));
        ask.string(attribute::NAME, name);
        self.ask_link(ask)
    }

    /// The interface of this number, if there is one.
    pub fn link_of(&mut self, index: u32) -> Result<Option<Link>, KernelError> {
        self.ask_link(Message::new(
            kind::GET_LINK,
            flag::REQUEST,
            &body(index, 0, 0),
        ))
    }

    fn ask_link(&mut self, mut ask: Message) -> Result<Option<Link>, KernelError> {
        ask.u32(attribute::EXT_MASK, SKIP_STATISTICS);
        let read = |m: &Incoming<'_>| (m.kind == kind::NEW_LINK).then(|| Link::read(m)).flatten();
        match self.socket.get("look up an interface", ask, read) {
            Ok(link) => Ok(Some(link)),
            Err(KernelError::Refused {
                errno: Errno::NODEV,
                ..
            }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The number of the interface of this name.
    pub fn index_of(&mut self, name: &str) -> Result<u32, KernelError> {
        let none = || KernelError::NoInterface(name.to_owned());
        self.link(name)?.map(|link| link.index).ok_or_else(none)
    }

    /// Puts an interface up or down.
    pub fn set_link_up(&mut self, index: u32, up: bool) -> Result<(), KernelError> {
        let body = body(index, u32::from(up), 1);
        let ask = Message::new(kind::NEW_LINK, flag::REQUEST | flag::ACK, &body);
        self.socket.one("set an interface up or down", ask)
    }

    /// Removes an interface; one that is gone already is no error.
    pub fn delete_link(&mut self, index: u32) -> Result<super::Ack, KernelError> {
        let ask = Message::new(
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
