//! Creates cables and switches, and injects faults into them: cut, silent and one-way cables. A
//! cable is a veth pair created directly inside the two namespaces; a switch is a separate
//! namespace with a bridge in it.

use crate::error::LabError;
use crate::fault::InjectedFault;
use crate::ground::Cable;
use crate::host::LabHost;
use crate::partition;
use crate::process::run_words;
use crate::wait::eventually;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const BRIDGE: &str = "bridge";

const CARRIER_TIMEOUT: Duration = Duration::from_secs(2);

/// An interface of a host, with the interface at the other end of its cable.
#[derive(Clone, Debug)]
pub struct Interface {
    host: LabHost,
    name: String,
    far_host: LabHost,
    far_name: String,
}

impl Interface {
    /// Returns the name of the interface inside its host: `eth0`, `eth1`…
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn host(&self) -> &LabHost {
        &self.host
    }

    /// Adds an address with its prefix length: `10.0.0.1/24`, `fd00::1/64`. The address is usable
    /// immediately.
    pub fn address(&self, address: &str) -> Result<(), LabError> {
        self.host.configure(&self.address_words(address))
    }

    fn address_words<'a>(&'a self, address: &'a str) -> Vec<&'a str> {
        let mut words = vec!["address", "add", address, "dev", &self.name];
        if address.contains(':') {
            words.push("nodad");
        }
        words
    }

    pub fn remove_address(&self, address: &str) -> Result<(), LabError> {
        self.host.remove_command(&self.address_words(address));
        let words = ["address", "delete", address, "dev", &self.name];
        self.host.ip(&words).map(drop)
    }

    /// Returns the current addresses of the interface with their prefix lengths, including those
    /// that programs added, but without link-local ones (`fe80::`).
    pub fn addresses(&self) -> Result<Vec<String>, LabError> {
        let shown = self
            .host
            .ip(&["-o", "address", "show", "dev", &self.name])?;
        let mut words = shown.split_whitespace();
        let mut found = Vec::new();
        while let Some(word) = words.next() {
            if word == "inet" || word == "inet6" {
                found.extend(words.next().map(str::to_owned));
            }
        }
        found.retain(|address| !address.starts_with("fe80:"));
        Ok(found)
    }

    /// Returns whether the interface has an address (without a prefix length).
    pub fn has_address(&self, address: &str) -> Result<bool, LabError> {
        let of = |known: &String| known.split('/').next() == Some(address);
        Ok(self.addresses()?.iter().any(of))
    }

    pub fn down(&self) -> Result<(), LabError> {
        set(&self.host, &self.name, "down")
    }

    pub fn up(&self) -> Result<(), LabError> {
        set(&self.host, &self.name, "up")
    }

    /// Pulls the cable: the interface stays on and loses its carrier. On a direct link this
    /// switches the other host's interface off.
    pub fn unplug(&self) -> Result<(), LabError> {
        set(&self.far_host, &self.far_name, "down")
    }

    pub fn plug(&self) -> Result<(), LabError> {
        set(&self.far_host, &self.far_name, "up")
    }

    /// Pulls the cable until the fault heals.
    pub fn pull(&self) -> Result<InjectedFault, LabError> {
        self.unplug()?;
        let interface = self.clone();
        let what = format!(
            "the cable of {}'s {} is pulled",
            self.host.name(),
            self.name
        );
        let faults = &self.host.lab_state().faults;
        Ok(faults.register_fault(what, move || interface.plug()))
    }

    /// Drops the frames that the interface sends, which keeps its carrier. The frames are dropped
    /// where they leave their host, so that nothing at the other end sees them, not even a program
    /// that reads frames before the firewall. The sender may get an error: only an
    /// [`ImpairedCable`](crate::ImpairedCable) and a switch lose frames silently.
    pub fn mute(&self) -> Result<InjectedFault, LabError> {
        let muted = partition::mute(&self.host, &self.name)?;
        let what = format!(
            "frames sent by {}'s {} are dropped",
            self.host.name(),
            self.name
        );
        Ok(self
            .host
            .lab_state()
            .faults
            .register_fault(what, move || muted.lift()))
    }

    pub(crate) fn far_end(&self) -> Interface {
        self.other_end()
    }

    pub fn has_carrier(&self) -> bool {
        let shown = self.host.ip(&["-o", "link", "show", "dev", &self.name]);
        shown.is_ok_and(|line| line.contains("state UP"))
    }

    fn other_end(&self) -> Interface {
        Interface {
            host: self.far_host.clone(),
            name: self.far_name.clone(),
            far_host: self.host.clone(),
            far_name: self.name.clone(),
        }
    }
}

/// A cable between two hosts.
#[derive(Clone, Debug)]
pub struct HostLink {
    pub a: Interface,
    pub b: Interface,
}

impl HostLink {
    pub(crate) fn lay(a: &LabHost, b: &LabHost) -> Result<Self, LabError> {
        let name_a = format!("eth{}", a.next_interface());
        let name_b = format!("eth{}", b.next_interface());
        let a = connect(a, name_a, b, name_b)?;
        let b = a.other_end();
        let cable = Cable::Direct(cable_end(&a), cable_end(&b));
        a.host.lab_state().cables().push(cable);
        Ok(HostLink { a, b })
    }

    /// Cuts the cable until the fault heals: neither end has a carrier.
    pub fn cut(&self) -> Result<InjectedFault, LabError> {
        self.down()?;
        let link = self.clone();
        let faults = &self.a.host.lab_state().faults;
        Ok(faults.register_fault(format!("the {self} is cut"), move || link.up()))
    }

    /// Cuts the cable silently: both ends keep their carrier, and nothing passes.
    pub fn silence(&self) -> Result<InjectedFault, LabError> {
        let (a, b) = (self.a.mute()?, self.b.mute()?);
        let what = format!("the {self} is silent");
        let faults = &self.a.host.lab_state().faults;
        Ok(faults.register_fault(what, move || a.heal().and(b.heal())))
    }

    /// Cuts one direction silently: only what `from` sends still passes.
    pub fn one_way(&self, from: &LabHost) -> Result<InjectedFault, LabError> {
        if from.namespace() == self.a.host.namespace() {
            self.b.mute()
        } else {
            self.a.mute()
        }
    }

    /// Cuts the cable without a fault value: neither end has a carrier until [`HostLink::up`].
    pub fn down(&self) -> Result<(), LabError> {
        self.a.down()?;
        self.b.down()
    }

    /// Repairs the cable. IPv4 addresses are still there. IPv6 addresses were lost with the cut, as
    /// on a real interface that is switched off, unless `net/ipv6/conf/all/keep_addr_on_down` is
    /// set.
    pub fn up(&self) -> Result<(), LabError> {
        self.a.up()?;
        self.b.up()
    }
}

impl fmt::Display for HostLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (a, b) = (self.a.host.name(), self.b.host.name());
        write!(f, "cable between {a} and {b}")
    }
}

fn cable_end(interface: &Interface) -> (String, String) {
    let namespace = interface.host.namespace().to_owned();
    (namespace, interface.name.clone())
}

/// A switch, which connects every host on it with every other.
#[derive(Debug)]
pub struct Switch {
    host: LabHost,
    ports: AtomicU32,
}

impl Switch {
    pub(crate) fn create_bridge(host: LabHost) -> Result<Self, LabError> {
        host.ip(&["link", "add", BRIDGE, "type", "bridge"])?;
        set(&host, BRIDGE, "up")?;
        Ok(Switch {
            host,
            ports: AtomicU32::new(0),
        })
    }

    pub fn attach(&self, host: &LabHost) -> Result<Interface, LabError> {
        let name = format!("eth{}", host.next_interface());
        let interface = self.connect(host, name)?;
        self.plugged(&interface, host);
        Ok(interface)
    }

    pub(crate) fn connect(&self, near: &LabHost, name: String) -> Result<Interface, LabError> {
        let port = format!("port{}", self.ports.fetch_add(1, Ordering::Relaxed));
        let interface = connect(near, name, &self.host, port)?;
        let words = ["link", "set", &interface.far_name, "master", BRIDGE];
        self.host.ip(&words)?;
        Ok(interface)
    }

    pub(crate) fn plugged(&self, interface: &Interface, host: &LabHost) {
        self.host.lab_state().cables().push(Cable::Port {
            switch: self.host.namespace().to_owned(),
            port: interface.far_name.clone(),
            host: host.namespace().to_owned(),
        });
    }

    /// Drops the frames from `to` to `from` silently in the switch. The other direction still
    /// passes.
    pub fn one_way(&self, from: &LabHost, to: &LabHost) -> Result<InjectedFault, LabError> {
        // Names the direction that is dropped: from `to` to `from`.
        let pairs = [(to.namespace(), from.namespace())];
        let cut = partition::through_switch(&self.host, &pairs)?
            .ok_or_else(|| LabError::NothingToCut(format!("{} and {}", from.name(), to.name())))?;
        let what = format!("{} does not receive from {}", from.name(), to.name());
        Ok(self
            .host
            .lab_state()
            .faults
            .register_fault(what, move || cut.lift()))
    }
}

pub(crate) fn connect(
    host: &LabHost,
    name: String,
    far: &LabHost,
    far_name: String,
) -> Result<Interface, LabError> {
    let (near_ns, far_ns) = (host.namespace(), far.namespace());
    let (near_card, far_card) = (card(host, &name), card(far, &far_name));
    let near_end = ["ip", "link", "add", &name, "address", &near_card];
    let far_end = ["peer", "name", &far_name, "address", &far_card];
    let near_end = [&near_end[..], &["netns", near_ns, "type", "veth"]].concat();
    run_words(&[&near_end[..], &far_end, &["netns", far_ns]].concat())?;
    set(host, &name, "up")?;
    set(far, &far_name, "up")?;
    let interface = Interface {
        host: host.clone(),
        name,
        far_host: far.clone(),
        far_name,
    };
    // Waits for the carrier, because an IPv6 address that is added before the carrier is noticed
    // starts late. Ignores a timeout: if the carrier never appears, the test itself will fail.
    let _ = eventually(CARRIER_TIMEOUT, || {
        interface.has_carrier() && interface.other_end().has_carrier()
    });
    Ok(interface)
}

/// Returns the MAC address of a host's interface, which is the same in each run, because results
/// can depend on it.
fn card(host: &LabHost, interface: &str) -> String {
    let mut hasher = DefaultHasher::new();
    (host.name(), interface).hash(&mut hasher);
    let [a, b, c, d, e, ..] = hasher.finish().to_be_bytes();
    format!("02:{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}")
}

fn set(host: &LabHost, interface: &str, state: &str) -> Result<(), LabError> {
    host.ip(&["link", "set", interface, state]).map(drop)
}
