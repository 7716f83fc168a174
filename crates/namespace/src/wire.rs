//! Implements a cable with weather: a relay between two hosts reads every frame and passes it on as
//! the weather decides, or drops it. The relay runs in user space, because a kernel need not have
//! `netem`. Faults of such a cable are silent: both ends keep their carrier.

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
    pub doubled: u64,
    /// Frames that were delayed so that others overtook them.
    pub overtaken: u64,
}

/// A cable with weather between two hosts, or between a host and a switch.
#[derive(Debug)]
pub struct ImpairedCable {
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

    pub fn impair(&self, weather: Weather) -> InjectedFault {
        let before = self.shared.weather();
        self.shared.set_weather(weather);
        self.fault(format!("bad weather {self}"), move |shared| {
            shared.set_weather(before);
        })
    }

    /// Drops all frames until the fault heals. Both ends keep their carrier.
    pub fn silence(&self) -> InjectedFault {
        self.shared.close_both_ways();
        self.fault(format!("silence {self}"), Relayed::open_both_ways)
    }

    /// Drops all frames except those that `from` sends, until the fault heals.
    pub fn one_way(&self, from: &LabHost) -> InjectedFault {
        // Closes the direction to `from`. Way 0 leads from a to b.
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
        // Raises the priority, because the load of the machine must not act like weather. Without
        // the privilege, delays grow.
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
        // Ignores an error: an interrupted poll is like a timeout, and the loop checks again.
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
                // Continues after another error, which an interface that was switched off reports
                // once.
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
            // Drops a frame whose way was closed while it was in transit, and counts it as lost.
            let sent = !self.shared.is_closed(frame.way)
                && self.sockets[1 - frame.way].send(&frame.frame).is_ok();
            self.shared
                .count(if sent { Count::Frames } else { Count::Lost }, 1);
        }
    }
}
