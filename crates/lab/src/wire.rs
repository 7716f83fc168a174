//! A cable with weather: a relay between two hosts reads every frame and passes it on as the
//! weather decides, or drops it. It runs in user space, since a kernel need not have `netem`. Cuts
//! here are silent for both ends.

use crate::error::LabError;
use crate::fault::InjectedFault;
use crate::ground::Cable;
use crate::host::LabHost;
use crate::link::{Interface, Switch, connect};
use crate::packet::{FRAME_BYTES_MAX, OFFLOAD_BYTES, PacketSocket, raise_priority};
use crate::relay::{Count, Relayed};
use crate::weather::{Dice, Fate, Weather};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Maximum number of frames in transit; further ones are lost and counted.
const UNDER_WAY_MAX: usize = 10_000;

/// Number of frames that are read from one side before the other has its turn.
const BATCH: usize = 64;

/// Maximum time until the relay notices that the wire is dropped.
const STOP_POLL: Duration = Duration::from_millis(20);

const NEAR: &str = "near";
const FAR: &str = "far";

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Passed {
    /// Frames that were passed on; each copy counts.
    pub frames: u64,
    /// Frames that were lost: by weather, by a cut, or because too many were in transit.
    pub lost: u64,
    /// Frames that were sent twice.
    pub doubled: u64,
    /// Frames that were delayed so that others overtook them.
    pub overtaken: u64,
}

/// A cable with weather between two hosts, or between a host and a switch.
#[derive(Debug)]
pub struct ImpairedCable {
    /// End at the first host.
    pub a: Interface,
    /// End at the second host; at a switch, its port.
    pub b: Interface,
    names: (String, String),
    host: LabHost,
    shared: Arc<Relayed>,
    thread: Option<JoinHandle<()>>,
}

impl ImpairedCable {
    pub(crate) fn lay(
        relay: LabHost,
        a: &LabHost,
        b: &LabHost,
        weather: Weather,
    ) -> Result<Self, LabError> {
        silent(&relay)?;
        let near = connect(a, next_name(a), &relay, NEAR.to_owned())?;
        let far = connect(b, next_name(b), &relay, FAR.to_owned())?;
        Self::start(relay, near, far, b, weather)
    }

    pub(crate) fn attach(
        relay: LabHost,
        switch: &Switch,
        host: &LabHost,
        weather: Weather,
    ) -> Result<Self, LabError> {
        silent(&relay)?;
        let near = connect(host, next_name(host), &relay, NEAR.to_owned())?;
        let port = switch.connect(&relay, FAR.to_owned())?;
        switch.plugged(&port, host);
        let far = port.far_end();
        let b = far.host().clone();
        Self::start(relay, near, far, &b, weather)
    }

    fn start(
        relay: LabHost,
        near: Interface,
        far: Interface,
        b: &LabHost,
        weather: Weather,
    ) -> Result<Self, LabError> {
        let failed = || LabError::io("relay in", relay.name());
        let open = || {
            Ok([
                PacketSocket::to_forward(NEAR)?,
                PacketSocket::to_forward(FAR)?,
            ])
        };
        let sockets = relay.enter(open).map_err(failed())?;
        let shared = Arc::new(Relayed::new(weather));
        let a = near.host().clone();
        a.lab_state().cables().push(Cable::Wire {
            a: a.namespace().to_owned(),
            b: b.namespace().to_owned(),
            shared: Arc::clone(&shared),
        });
        let relayed = Arc::clone(&shared);
        let thread = thread::spawn(move || Relay::new(sockets, relayed).run());
        Ok(ImpairedCable {
            names: (a.name().to_owned(), b.name().to_owned()),
            host: a,
            a: near,
            b: far,
            shared,
            thread: Some(thread),
        })
    }

    pub fn set(&self, weather: Weather) {
        self.shared.set_weather(weather);
    }

    /// Changes the weather until the fault heals.
    pub fn impair(&self, weather: Weather) -> InjectedFault {
        let before = self.shared.weather();
        self.shared.set_weather(weather);
        self.fault(format!("bad weather {self}"), move |shared| {
            shared.set_weather(before);
        })
    }

    /// Drops all frames; both ends keep their carrier.
    pub fn silence(&self) -> InjectedFault {
        self.shared.close_both_ways();
        self.fault(format!("silence {self}"), Relayed::open_both_ways)
    }

    /// Drops all frames except those that `from` sends.
    pub fn one_way(&self, from: &LabHost) -> InjectedFault {
        // Way 0 leads from a to b.
        let way = usize::from(from.name() == self.names.0);
        self.shared.close_way(way);
        self.fault(format!("one way {self}"), move |shared| {
            shared.open_way(way);
        })
    }

    fn fault(&self, what: String, heal: impl FnOnce(&Relayed) + Send + 'static) -> InjectedFault {
        let shared = Arc::clone(&self.shared);
        self.host.lab_state().faults.register_fault(what, move || {
            heal(&shared);
            Ok(())
        })
    }

    pub fn counters(&self) -> Passed {
        let [frames, lost, doubled, overtaken] =
            [0, 1, 2, 3].map(|at: usize| self.shared.counts[at].load(Ordering::Relaxed));
        Passed {
            frames,
            lost,
            doubled,
            overtaken,
        }
    }
}

impl std::fmt::Display for ImpairedCable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "between {} and {}", self.names.0, self.names.1)
    }
}

impl Drop for ImpairedCable {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn next_name(host: &LabHost) -> String {
    format!("eth{}", host.next_interface())
}

/// Disables IPv6 on the relay, so that it sends no neighbour discovery of its own.
fn silent(relay: &LabHost) -> Result<(), LabError> {
    relay.sysctl("net/ipv6/conf/all/disable_ipv6", "1")?;
    relay.sysctl("net/ipv6/conf/default/disable_ipv6", "1")
}

/// A frame in transit, ordered by its due time, then by its number.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct UnderWay {
    due: Instant,
    number: u64,
    way: usize,
    frame: Vec<u8>,
}

struct Relay {
    sockets: [PacketSocket; 2],
    shared: Arc<Relayed>,
    dice: [Dice; 2],
    seed: u64,
    /// Due time of the last frame of each way that kept its order.
    last_due: [Option<Instant>; 2],
    under_way: BinaryHeap<Reverse<UnderWay>>,
    number: u64,
}

impl Relay {
    fn new(sockets: [PacketSocket; 2], shared: Arc<Relayed>) -> Self {
        let seed = shared.weather().seed;
        Relay {
            sockets,
            shared,
            dice: [0, 1].map(|way| Dice::new(seed, way)),
            seed,
            last_due: [None; 2],
            under_way: BinaryHeap::new(),
            number: 0,
        }
    }

    fn run(mut self) {
        // The load of the machine must not act like weather. Without the privilege, delays grow.
        raise_priority();
        let mut buffer = vec![0; OFFLOAD_BYTES + FRAME_BYTES_MAX];
        while !self.shared.stop.load(Ordering::Relaxed) {
            self.wait();
            for way in [0, 1] {
                self.read(way, &mut buffer);
            }
            self.deliver();
        }
    }

    fn wait(&self) {
        let now = Instant::now();
        let next = self.under_way.peek().map(|Reverse(frame)| frame.due);
        let left = next.map_or(STOP_POLL, |due| due.saturating_duration_since(now));
        let timeout = Timespec::try_from(left.min(STOP_POLL)).ok();
        let mut fds = [&self.sockets[0], &self.sockets[1]].map(|s| PollFd::new(s, PollFlags::IN));
        // An interrupted poll is like a timeout: the loop checks again.
        let _ = poll(&mut fds, timeout.as_ref());
    }

    fn read(&mut self, way: usize, buffer: &mut [u8]) {
        let weather = self.shared.weather();
        if weather.seed != self.seed {
            self.seed = weather.seed;
            self.dice = [0, 1].map(|way| Dice::new(weather.seed, way));
        }
        for _ in 0..BATCH {
            let length = match self.sockets[way].receive(buffer) {
                Ok((length, _)) => length,
                // An interface that was switched off reports an error once.
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => continue,
            };
            let fate = self.dice[way].fate(&weather);
            if self.shared.is_closed(way) {
                self.shared.count(Count::Lost, 1);
                continue;
            }
            self.send_off(way, &buffer[..length], fate);
        }
    }

    fn send_off(&mut self, way: usize, frame: &[u8], fate: Fate) {
        let Fate::Comes {
            after,
            in_order,
            copies,
        } = fate
        else {
            self.shared.count(Count::Lost, 1);
            return;
        };
        let mut due = Instant::now() + after;
        if in_order {
            due = self.last_due[way].map_or(due, |last| last.max(due));
            self.last_due[way] = Some(due);
        } else {
            self.shared.count(Count::Overtaken, 1);
        }
        self.shared.count(Count::Doubled, copies as u64 - 1);
        for _ in 0..copies {
            if self.under_way.len() >= UNDER_WAY_MAX {
                self.shared.count(Count::Lost, 1);
                return;
            }
            self.number += 1;
            self.under_way.push(Reverse(UnderWay {
                due,
                number: self.number,
                way,
                frame: frame.to_vec(),
            }));
        }
    }

    fn deliver(&mut self) {
        let now = Instant::now();
        while let Some(Reverse(next)) = self.under_way.peek() {
            if next.due > now {
                return;
            }
            let Some(Reverse(frame)) = self.under_way.pop() else {
                return;
            };
            // Frames in transit when a cable is cut are lost, too.
            let sent = !self.shared.is_closed(frame.way)
                && self.sockets[1 - frame.way].send(&frame.frame).is_ok();
            self.shared
                .count(if sent { Count::Frames } else { Count::Lost }, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Echo, Lab, eventually, exchange};
    use std::net::UdpSocket;

    const LATEST: Duration = Duration::from_secs(20);

    fn udp(host: &LabHost, at: &str) -> UdpSocket {
        let socket = host.udp_bind(at.parse().unwrap()).unwrap();
        socket.set_read_timeout(Some(LATEST)).unwrap();
        socket
    }

    fn two(lab: &Lab, weather: Weather) -> (ImpairedCable, LabHost, LabHost) {
        let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
        let wire = lab.connect_impaired(&a, &b, weather).unwrap();
        for (end, n) in [(&wire.a, 1), (&wire.b, 2)] {
            end.address(&format!("10.7.0.{n}/24")).unwrap();
            end.address(&format!("fd07::{n}/64")).unwrap();
        }
        (wire, a, b)
    }

    #[test]
    fn in_fine_weather_a_wire_is_a_cable_also_for_large_segments() {
        crate::skip_unless_root!();
        let lab = Lab::new("fine").unwrap();
        let (wire, a, b) = two(&lab, Weather::FINE);
        let large: Vec<u8> = (0..4_000_000_u32).map(|n| n as u8).collect();
        for at in ["10.7.0.2:7", "[fd07::2]:7"] {
            let echo = Echo::start(&b, at.parse().unwrap()).unwrap();
            // The echo's response needs a reader while it is sent.
            for part in large.chunks(100_000) {
                let said = exchange(&a, echo.address(), part, LATEST).unwrap();
                assert!(said == part, "{at}");
            }
        }
        assert_eq!(wire.counters().lost, 0);
        assert!(wire.counters().frames > 100);
    }

    #[test]
    fn silence_and_one_way_keep_the_carrier_and_end() {
        crate::skip_unless_root!();
        let lab = Lab::new("silence").unwrap();
        let (wire, a, b) = two(&lab, Weather::FINE);
        let (at_a, at_b) = (udp(&a, "10.7.0.1:9"), udp(&b, "10.7.0.2:9"));
        let passes = |from: &UdpSocket, to: &UdpSocket| {
            from.send_to(b"x", to.local_addr().unwrap()).unwrap();
            let timeout = Duration::from_millis(300);
            to.set_read_timeout(Some(timeout)).unwrap();
            to.recv(&mut [0; 8]).is_ok()
        };
        // Each side must know the other's Ethernet address before a way is closed.
        assert!(eventually(LATEST, || passes(&at_a, &at_b) && passes(&at_b, &at_a)));
        let one_way = wire.one_way(&a);
        assert!(eventually(LATEST, || passes(&at_a, &at_b)));
        assert!(!passes(&at_b, &at_a));
        drop(one_way);
        let one_way = wire.one_way(&b);
        assert!(!passes(&at_a, &at_b));
        assert!(eventually(LATEST, || passes(&at_b, &at_a)));
        drop(one_way);
        let silence = wire.silence();
        assert!(!passes(&at_a, &at_b) && !passes(&at_b, &at_a));
        let shown = a.ip(&["link", "show", wire.a.name()]).unwrap();
        assert!(shown.contains("state UP"), "{shown}");
        drop(silence);
        assert!(eventually(LATEST, || passes(&at_a, &at_b) && passes(&at_b, &at_a)));
    }

    #[test]
    fn a_storm_loses_doubles_and_reorders_as_much_as_it_says() {
        crate::skip_unless_root!();
        let lab = Lab::new("storm").unwrap();
        let (wire, a, b) = two(&lab, Weather::FINE);
        let (from, to) = (udp(&a, "10.7.0.1:9"), udp(&b, "10.7.0.2:9"));
        let address = to.local_addr().unwrap();
        from.send_to(&[0; 4], address).unwrap();
        to.recv(&mut [0; 8]).unwrap();
        let storm = wire.impair(Weather {
            loss: 0.2,
            duplicate: 0.2,
            reorder: 0.2,
            delay: Duration::from_millis(5),
            seed: 42,
            ..Weather::FINE
        });
        let before = wire.counters();
        // Few enough for the receiver's buffer, since they are read afterwards.
        let sent = 200_u32;
        for number in 1..=sent {
            from.send_to(&number.to_be_bytes(), address).unwrap();
            thread::sleep(Duration::from_micros(200));
        }
        to.set_read_timeout(Some(Duration::from_millis(500)))
            .unwrap();
        let mut came = Vec::new();
        let mut buffer = [0; 4];
        while to.recv(&mut buffer).is_ok() {
            came.push(u32::from_be_bytes(buffer));
        }
        let distinct: std::collections::HashSet<_> = came.iter().collect();
        let out_of_order = came.windows(2).filter(|w| w[1] < w[0]).count();
        assert!((120..190).contains(&distinct.len()), "{}", distinct.len());
        assert!(came.len() - distinct.len() > 8, "{}", came.len());
        assert!(out_of_order > 4, "{out_of_order}");
        let after = wire.counters();
        assert!(
            after.lost - before.lost > 10 && after.overtaken > 10,
            "{after:?}"
        );
        drop(storm);
        from.send_to(&[1; 4], address).unwrap();
        assert_eq!(to.recv(&mut buffer).unwrap(), 4);
        assert_eq!(buffer, [1; 4]);
    }

    #[test]
    fn a_host_on_a_wire_to_a_switch_is_slow_and_the_others_are_not_touched() {
        crate::skip_unless_root!();
        let lab = Lab::new("slow").unwrap();
        let switch = lab.switch("lan").unwrap();
        let [a, b, c] = ["a", "b", "c"].map(|name| lab.host(name).unwrap());
        let delay = Duration::from_millis(60);
        let wire = lab
            .connect_impaired_to_switch(&switch, &a, Weather::slow(delay))
            .unwrap();
        wire.a.address("10.7.1.1/24").unwrap();
        for (host, address) in [(&b, "10.7.1.2/24"), (&c, "10.7.1.3/24")] {
            switch.attach(host).unwrap().address(address).unwrap();
        }
        let echo = Echo::start(&b, "10.7.1.2:7".parse().unwrap()).unwrap();
        let start = Instant::now();
        a.tcp_connect(echo.address(), LATEST).unwrap();
        assert!(start.elapsed() >= 2 * delay);
        c.tcp_connect(echo.address(), LATEST).unwrap();
        // The wire is part of the way through the switch.
        let parted = lab.partition(&[&[&a], &[&b, &c]]).unwrap();
        assert!(a.tcp_connect(echo.address(), 4 * delay).is_err());
        drop(parted);
        a.tcp_connect(echo.address(), LATEST).unwrap();
    }
}
