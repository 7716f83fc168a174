//! Tracks which interfaces of this machine are up. A loss takes effect at once or after its delay,
//! a return after its own delay. An interface that flaps must stay up for [`FLAP_HOLD`] before it
//! counts as up again; the flapping is reported once.

use crate::config::InterfaceDelay;
use crate::kernel::NetworkInterface;
use protocol::vrrp::Time;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

/// Number of returns within [`FLAP_WINDOW`] that counts as flapping.
const FLAP_RETURNS: usize = 5;

/// Window in which returns are counted, see [`FLAP_RETURNS`].
const FLAP_WINDOW: Duration = Duration::from_secs(30);

/// Time for which an interface that flapped must stay up.
const FLAP_HOLD: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub struct LinkStatus {
    pub link: NetworkInterface,
    pub up: bool,
    change_at: Option<Time>,
    returns: VecDeque<Time>,
    damped: bool,
}

/// A change of an interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LinkEvent {
    Came(String),
    Gone(String),
    /// The interface now counts as up (true) or down.
    Changed(String, bool),
    /// The MAC changed, so announcements of the old one are wrong.
    Mac(String),
    /// The interface flaps, and must stay up for this time.
    Flaps(String, Duration),
}

/// All interfaces of this machine, and whether each counts as up after its delay. The caller passes
/// each report of the kernel to [`Links::set`], and calls [`Links::handle_time`] at
/// [`Links::deadline`].
#[derive(Debug, Default)]
pub struct Links {
    by_index: BTreeMap<u32, LinkStatus>,
    delays: HashMap<String, (Duration, Duration)>,
}

impl Links {
    pub fn new(links: Vec<NetworkInterface>, delays: &[InterfaceDelay]) -> Links {
        let mut all = Links::default();
        all.set_delays(delays);
        for link in links {
            let seen = LinkStatus {
                up: link.usable(),
                link,
                change_at: None,
                returns: VecDeque::new(),
                damped: false,
            };
            all.by_index.insert(seen.link.index, seen);
        }
        all
    }

    pub fn set_delays(&mut self, delays: &[InterfaceDelay]) {
        let entry = |d: &InterfaceDelay| (d.interface.clone(), (d.down, d.up));
        self.delays = delays.iter().map(entry).collect();
    }

    pub fn named(&self, name: &str) -> Option<&LinkStatus> {
        self.by_index.values().find(|seen| seen.link.name == name)
    }

    pub fn numbered(&self, index: u32) -> Option<&LinkStatus> {
        self.by_index.get(&index)
    }

    pub fn is_up(&self, name: &str) -> bool {
        self.named(name).is_some_and(|seen| seen.up)
    }

    /// Returns whether a MAC belongs to this machine.
    pub fn has_mac(&self, mac: [u8; 6]) -> bool {
        self.by_index
            .values()
            .any(|seen| seen.link.mac == Some(mac))
    }

    pub fn all(&self) -> impl Iterator<Item = &LinkStatus> {
        self.by_index.values()
    }

    /// Applies a complete list of interfaces, and returns the missed changes.
    pub fn relist(&mut self, now: Time, links: Vec<NetworkInterface>) -> Vec<LinkEvent> {
        let there: Vec<u32> = links.iter().map(|link| link.index).collect();
        let gone: Vec<u32> = self
            .by_index
            .keys()
            .copied()
            .filter(|index| !there.contains(index))
            .collect();
        let mut events: Vec<_> = gone.iter().filter_map(|i| self.gone(*i)).collect();
        for link in links {
            events.extend(self.set(now, link));
        }
        events
    }

    pub fn gone(&mut self, index: u32) -> Option<LinkEvent> {
        let seen = self.by_index.remove(&index)?;
        Some(LinkEvent::Gone(seen.link.name))
    }

    pub fn set(&mut self, now: Time, link: NetworkInterface) -> Vec<LinkEvent> {
        let mut events = Vec::new();
        let name = link.name.clone();
        let usable = link.usable();
        let renamed = self
            .by_index
            .get(&link.index)
            .is_some_and(|seen| seen.link.name != name);
        if renamed {
            events.extend(self.gone(link.index));
        }
        let delays = self.delays.get(&name).copied().unwrap_or_default();
        let Some(seen) = self.by_index.get_mut(&link.index) else {
            let seen = LinkStatus {
                link,
                up: usable,
                change_at: None,
                returns: VecDeque::new(),
                damped: false,
            };
            self.by_index.insert(seen.link.index, seen);
            events.push(LinkEvent::Came(name));
            return events;
        };
        if seen.link.mac != link.mac {
            events.push(LinkEvent::Mac(name.clone()));
        }
        let was_usable = seen.link.usable();
        seen.link = link;
        if usable == was_usable {
            return events;
        }
        let wait = if usable {
            seen.returned(now, &name, delays.1, &mut events)
        } else {
            delays.0
        };
        if usable == seen.up {
            // Reports nothing, because the interface changed back before its delay expired.
            seen.change_at = None;
        } else if wait.is_zero() {
            seen.up = usable;
            seen.change_at = None;
            events.push(LinkEvent::Changed(name, usable));
        } else {
            seen.change_at = Some(now.after(wait));
        }
        events
    }

    /// Returns when [`Links::handle_time`] must be called.
    pub fn deadline(&self) -> Option<Time> {
        self.by_index
            .values()
            .filter_map(|seen| seen.change_at)
            .min()
    }

    pub fn handle_time(&mut self, now: Time) -> Vec<LinkEvent> {
        let mut events = Vec::new();
        for seen in self.by_index.values_mut() {
            if seen.change_at.is_some_and(|at| at <= now) {
                seen.change_at = None;
                seen.up = seen.link.usable();
                events.push(LinkEvent::Changed(seen.link.name.clone(), seen.up));
            }
        }
        events
    }
}

impl LinkStatus {
    /// Returns how long a returned interface must stay up before it counts as up.
    fn returned(
        &mut self,
        now: Time,
        name: &str,
        delay: Duration,
        events: &mut Vec<LinkEvent>,
    ) -> Duration {
        self.returns.push_back(now);
        while self.returns.len() > FLAP_RETURNS {
            self.returns.pop_front();
        }
        let since = self
            .returns
            .front()
            .map_or(Duration::MAX, |first| now.since(*first));
        let flaps = self.returns.len() == FLAP_RETURNS && since <= FLAP_WINDOW;
        if flaps && !self.damped {
            events.push(LinkEvent::Flaps(name.to_owned(), FLAP_HOLD.max(delay)));
        }
        self.damped = flaps;
        if flaps { FLAP_HOLD.max(delay) } else { delay }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::LinkFlags;

    const UP_AND_RUNNING: u32 = 0x41;

    fn link(name: &str, up: bool) -> NetworkInterface {
        NetworkInterface {
            index: 2,
            name: name.to_owned(),
            hardware: 1,
            mac: Some([2, 0, 0, 0, 0, 1]),
            flags: LinkFlags(if up { UP_AND_RUNNING } else { 0 }),
            carrier: up,
            mtu: 1500,
            master: None,
            parent: None,
            kind: String::new(),
            mode: None,
        }
    }

    fn at(ms: u64) -> Time {
        Time(ms * 1_000_000)
    }

    fn changed(up: bool) -> LinkEvent {
        LinkEvent::Changed("eth0".to_owned(), up)
    }

    #[test]
    fn a_loss_is_believed_at_once_and_a_return_too() {
        let mut links = Links::new(vec![link("eth0", true)], &[]);
        assert_eq!(links.set(at(1), link("eth0", true)), []);
        assert_eq!(links.set(at(2), link("eth0", false)), [changed(false)]);
        assert!(!links.is_up("eth0"));
        assert_eq!(links.set(at(3), link("eth0", true)), [changed(true)]);
        assert_eq!(links.deadline(), None);
    }

    #[test]
    fn with_delays_what_passes_meanwhile_is_not_believed() {
        let delay = InterfaceDelay {
            interface: "eth0".to_owned(),
            down: Duration::from_millis(100),
            up: Duration::from_millis(200),
        };
        let mut links = Links::new(vec![link("eth0", true)], &[delay]);
        assert_eq!(links.set(at(0), link("eth0", false)), []);
        assert_eq!(links.set(at(50), link("eth0", true)), []);
        assert_eq!(links.deadline(), None);
        assert_eq!(links.set(at(60), link("eth0", false)), []);
        assert_eq!(links.deadline(), Some(at(160)));
        assert_eq!(links.handle_time(at(160)), [changed(false)]);
        assert_eq!(links.set(at(170), link("eth0", true)), []);
        assert_eq!(links.handle_time(at(369)), []);
        assert_eq!(links.handle_time(at(370)), [changed(true)]);
    }

    #[test]
    fn an_interface_that_flaps_has_to_stay_up_and_it_is_said_once() {
        let mut links = Links::new(vec![link("eth0", true)], &[]);
        let mut all = Vec::new();
        for n in 0..20 {
            all.extend(links.set(at(n * 100), link("eth0", false)));
            all.extend(links.set(at(n * 100 + 50), link("eth0", true)));
        }
        let said = all.iter().filter(|e| matches!(e, LinkEvent::Flaps(..)));
        assert_eq!(said.count(), 1);
        let returns = all.iter().filter(|e| **e == changed(true)).count();
        assert_eq!(returns, FLAP_RETURNS - 1);
        assert!(!links.is_up("eth0"));
        assert_eq!(links.handle_time(at(1950 + 10_000)), [changed(true)]);
        // The flapping is over: a loss and a return much later take effect at once.
        assert_eq!(
            links.set(at(100_000), link("eth0", false)),
            [changed(false)]
        );
        assert_eq!(links.set(at(100_001), link("eth0", true)), [changed(true)]);
    }

    #[test]
    fn interfaces_come_go_and_are_renamed() {
        let mut links = Links::new(Vec::new(), &[]);
        assert_eq!(
            links.set(at(0), link("eth0", true)),
            [LinkEvent::Came("eth0".to_owned())]
        );
        let events = links.set(at(1), link("wan", true));
        let wanted = [
            LinkEvent::Gone("eth0".to_owned()),
            LinkEvent::Came("wan".to_owned()),
        ];
        assert_eq!(events, wanted);
        assert_eq!(
            links.relist(at(2), Vec::new()),
            [LinkEvent::Gone("wan".to_owned())]
        );
    }
}
