//! Provides a kit for simulations: connections over a network that loses, duplicates, delays and
//! partitions, clocks that drift, disks that lose power, and the loop over seeds. Time is virtual,
//! and a seed determines the whole history.

use namespace::{Random, setting};
use std::collections::BTreeMap;
use std::fmt::Debug;

/// Runs the histories of a simulation. `NAME_SEED` replays one of them, and `NAME_SEEDS` sets their
/// number.
///
/// # Panics
/// A history fails.
pub fn run_seeds(name: &str, seeds: u64, run: impl Fn(u64) -> Result<(), String>) {
    let one = setting(&format!("{name}_SEED"));
    let many = || 0..setting(&format!("{name}_SEEDS")).unwrap_or(seeds);
    for seed in one.map_or_else(many, |seed| seed..seed + 1) {
        if let Err(found) = run(seed) {
            panic!("seed {seed}: {found}");
        }
    }
}

/// Asserts that the histories find each of these deliberate defects.
///
/// # Panics
/// A defect is not found.
pub fn assert_found<D: Copy + Debug>(
    defects: &[D],
    seeds: u64,
    run: impl Fn(u64, D) -> Result<(), String>,
) {
    for defect in defects {
        let is_found = (0..seeds).any(|seed| run(seed, *defect).is_err());
        assert!(is_found, "no history finds {defect:?}");
    }
}

/// Clock of a machine with its own start and rate.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    offset_ms: u64,
    ppm: i64,
}

impl Clock {
    /// Creates a clock whose rate is wrong by up to 500 ppm.
    pub fn new(random: &mut Random) -> Clock {
        Clock {
            offset_ms: random.below(1_000_000),
            ppm: random.pick(&[-500, 0, 500]),
        }
    }

    /// Returns the time that the clock shows.
    pub fn local_ms(&self, now_ms: u64) -> u64 {
        let drift = i64::try_from(now_ms).unwrap_or(i64::MAX) / 1_000 * self.ppm / 1_000;
        self.offset_ms
            .saturating_add(now_ms)
            .saturating_add_signed(drift)
    }
}

/// File on a disk that loses power.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    synced: Vec<u8>,
    unsynced: Vec<u8>,
}

impl Disk {
    /// Appends bytes, which are not durable yet.
    pub fn append(&mut self, bytes: &[u8]) {
        self.unsynced.extend_from_slice(bytes);
    }

    pub fn sync(&mut self) {
        self.synced.append(&mut self.unsynced);
    }

    /// Replaces the file as a synced rename does: wholly, or not at all.
    pub fn replace(&mut self, bytes: Vec<u8>) {
        self.unsynced.clear();
        self.synced = bytes;
    }

    /// Cuts the power: some of the unsynced bytes are on the disk, and maybe others in their place.
    pub fn lose_power(&mut self, random: &mut Random) {
        let kept = random.index(self.unsynced.len() + 1);
        let mut torn: Vec<u8> = self.unsynced.drain(..).take(kept).collect();
        if !torn.is_empty() && random.percent(30) {
            let at = random.index(torn.len());
            torn[at] ^= 1 << random.below(8);
        }
        self.synced.append(&mut torn);
    }

    /// Returns the contents as the next process reads them.
    pub fn contents(&self) -> Vec<u8> {
        [self.synced.as_slice(), self.unsynced.as_slice()].concat()
    }
}

/// Faults of a network, each as a number N: on average one of N messages is affected.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    pub lost: u64,
    pub duplicated: u64,
    pub delayed: u64,
    /// Longest delay of a message, milliseconds.
    pub delay_ms: u64,
}

/// Silence after which a connection counts as broken, milliseconds.
const SILENT_MS: u64 = 1_000;
/// Interval of the heartbeats on a connection, milliseconds.
const PING_MS: u64 = 200;
/// Milliseconds after the end of a connection until a new one is opened.
const DIAL_MS: u64 = 200;

/// Event that a node has to handle.
#[derive(Debug)]
pub enum LinkEvent<M> {
    /// A connection with another node has begun.
    Opened {
        at: usize,
        other: usize,
    },
    /// The connection with another node has ended.
    Closed {
        at: usize,
        other: usize,
        why: &'static str,
    },
    Message {
        at: usize,
        from: usize,
        message: M,
    },
}

#[derive(Clone, Copy, Debug, Default)]
struct Side {
    is_open: bool,
    sent: u64,
    received: u64,
    received_at_ms: u64,
    pinged_at_ms: u64,
}

/// Connection of two nodes, with both of its ends.
#[derive(Debug, Default)]
struct Link {
    number: u64,
    sides: [Side; 2],
    is_cut: bool,
    idle_since_ms: u64,
}

#[derive(Debug)]
enum Content<M> {
    Message(M),
    Ping,
    Close,
}

#[derive(Debug)]
struct Packet<M> {
    from: usize,
    to: usize,
    connection: u64,
    number: u64,
    at_ms: u64,
    content: Content<M>,
}

/// Connections between all pairs of nodes, as TCP provides them: messages arrive in order, or the
/// connection ends. A lost message is a gap, at which the receiving end closes the connection. The
/// two ends notice the end of a connection at different times.
#[derive(Debug)]
pub struct Network<M> {
    links: BTreeMap<(usize, usize), Link>,
    is_up: Vec<bool>,
    packets: Vec<Packet<M>>,
    faults: Faults,
}

impl<M: Clone> Network<M> {
    /// Creates the network of this number of nodes, all of which are up.
    pub fn new(nodes: usize, faults: Faults) -> Network<M> {
        let pairs = (0..nodes).flat_map(|a| (a + 1..nodes).map(move |b| (a, b)));
        Network {
            links: pairs.map(|pair| (pair, Link::default())).collect(),
            is_up: vec![true; nodes],
            packets: Vec::new(),
            faults,
        }
    }

    fn link(&mut self, at: usize, other: usize) -> (&mut Link, usize, usize) {
        let pair = (at.min(other), at.max(other));
        let link = self.links.entry(pair).or_default();
        let own = usize::from(at > other);
        (link, own, 1 - own)
    }

    /// Cuts the connection of two nodes, or heals it. While it is cut, no packet arrives, and
    /// neither end is notified.
    pub fn set_cut(&mut self, at: usize, other: usize, is_cut: bool) {
        self.link(at, other).0.is_cut = is_cut;
    }

    /// Returns whether a node has an open connection to another one.
    pub fn is_open(&self, at: usize, other: usize) -> bool {
        let link = self.links.get(&(at.min(other), at.max(other)));
        link.is_some_and(|link| link.sides[usize::from(at > other)].is_open)
    }

    /// Starts a node, or kills it, which closes its ends of all connections.
    pub fn set_up(&mut self, node: usize, is_up: bool, now_ms: u64) {
        self.is_up[node] = is_up;
        for other in (0..self.is_up.len()).filter(|other| *other != node) {
            if !is_up {
                self.close(node, other, now_ms);
            }
        }
    }

    /// Closes a connection at one end, which sends a packet with the end to the other one. A cut
    /// link drops that packet.
    pub fn close(&mut self, at: usize, other: usize, now_ms: u64) {
        let (link, own, _) = self.link(at, other);
        if !std::mem::take(&mut link.sides[own].is_open) {
            return;
        }
        link.idle_since_ms = now_ms;
        link.sides[own].sent += 1;
        let (number, connection) = (link.sides[own].sent, link.number);
        self.packets.push(Packet {
            from: at,
            to: other,
            connection,
            number,
            at_ms: now_ms + 1,
            content: Content::Close,
        });
    }

    /// Resets the silence of all connections, as if heartbeats had arrived until now.
    pub fn keep_all(&mut self, now_ms: u64) {
        for side in self.links.values_mut().flat_map(|link| &mut link.sides) {
            side.received_at_ms = now_ms;
        }
    }

    /// Sends a message on an open connection.
    pub fn send(&mut self, at: usize, other: usize, message: M, random: &mut Random, now_ms: u64) {
        self.transmit(at, other, Content::Message(message), random, now_ms);
    }

    fn transmit(
        &mut self,
        at: usize,
        other: usize,
        content: Content<M>,
        random: &mut Random,
        now_ms: u64,
    ) {
        let faults = self.faults;
        let (link, own, _) = self.link(at, other);
        if !link.sides[own].is_open {
            return;
        }
        link.sides[own].sent += 1;
        let (number, connection) = (link.sides[own].sent, link.number);
        if link.is_cut || random.once_in(faults.lost) {
            return;
        }
        let is_duplicated = random.once_in(faults.duplicated);
        let mut put = |content, random: &mut Random| {
            let is_delayed = random.once_in(faults.delayed);
            let delay_ms = if is_delayed {
                random.below(faults.delay_ms)
            } else {
                1
            };
            self.packets.push(Packet {
                from: at,
                to: other,
                connection,
                number,
                at_ms: now_ms + delay_ms,
                content,
            });
        };
        if is_duplicated && let Content::Message(message) = &content {
            put(Content::Message(message.clone()), random);
        }
        put(content, random);
    }

    /// Returns the next event that is due, or None. Must be called until it returns None.
    pub fn next_event(&mut self, random: &mut Random, now_ms: u64) -> Option<LinkEvent<M>> {
        if let Some((at, other)) = self.find_silent(now_ms) {
            self.close(at, other, now_ms);
            let why = "silent";
            return Some(LinkEvent::Closed { at, other, why });
        }
        if let Some((at, other)) = self.find_idle(now_ms) {
            self.dial(at, other, now_ms);
            return Some(LinkEvent::Opened { at, other });
        }
        self.ping(random, now_ms);
        self.deliver(now_ms)
    }

    fn find_silent(&self, now_ms: u64) -> Option<(usize, usize)> {
        self.links.iter().find_map(|((a, b), link)| {
            let is_silent = |side: &Side| {
                side.is_open && now_ms.saturating_sub(side.received_at_ms) >= SILENT_MS
            };
            let own = link.sides.iter().position(is_silent)?;
            Some(if own == 0 { (*a, *b) } else { (*b, *a) })
        })
    }

    fn find_idle(&self, now_ms: u64) -> Option<(usize, usize)> {
        let is_idle = |((a, b), link): &(&(usize, usize), &Link)| {
            let is_closed = link.sides.iter().all(|side| !side.is_open);
            let are_up = self.is_up[*a] && self.is_up[*b];
            is_closed && are_up && !link.is_cut && now_ms >= link.idle_since_ms + DIAL_MS
        };
        self.links.iter().find(is_idle).map(|(pair, _)| *pair)
    }

    /// Opens one end of a new connection. The first packet opens the other end.
    fn dial(&mut self, at: usize, other: usize, now_ms: u64) {
        let of_pair = |one: &Packet<M>| [(at, other), (other, at)].contains(&(one.from, one.to));
        self.packets.retain(|one| !of_pair(one));
        let (link, own, _) = self.link(at, other);
        link.number += 1;
        link.sides = [Side::default(); 2];
        link.sides[own] = Side {
            is_open: true,
            sent: 1,
            received_at_ms: now_ms,
            pinged_at_ms: now_ms,
            ..Side::default()
        };
        let connection = link.number;
        self.packets.push(Packet {
            from: at,
            to: other,
            connection,
            number: 1,
            at_ms: now_ms + 1,
            content: Content::Ping,
        });
    }

    fn ping(&mut self, random: &mut Random, now_ms: u64) {
        let mut due = Vec::new();
        for (pair, link) in &mut self.links {
            for (own, side) in link.sides.iter_mut().enumerate() {
                if side.is_open && now_ms >= side.pinged_at_ms + PING_MS {
                    side.pinged_at_ms = now_ms;
                    due.push(if own == 0 { *pair } else { (pair.1, pair.0) });
                }
            }
        }
        for (at, other) in due {
            self.transmit(at, other, Content::Ping, random, now_ms);
        }
    }

    fn deliver(&mut self, now_ms: u64) -> Option<LinkEvent<M>> {
        loop {
            let due = self.packets.iter().position(|one| one.at_ms <= now_ms)?;
            let packet = self.packets.remove(due);
            let (at, other) = (packet.to, packet.from);
            let is_up = self.is_up[at];
            let (link, own, far) = self.link(at, other);
            if link.is_cut || packet.connection != link.number || !is_up {
                continue;
            }
            let is_first = packet.number == 1 && own == 1 && link.sides[own].received == 0;
            if !link.sides[own].is_open && is_first && link.sides[far].is_open {
                link.sides[own].is_open = true;
                link.sides[own].received_at_ms = now_ms;
                link.sides[own].received = 1;
                return Some(LinkEvent::Opened { at, other });
            }
            let side = &mut link.sides[own];
            if !side.is_open || packet.number <= side.received {
                continue;
            }
            if packet.number > side.received + 1 {
                self.close(at, other, now_ms);
                let why = "a gap";
                return Some(LinkEvent::Closed { at, other, why });
            }
            side.received = packet.number;
            side.received_at_ms = now_ms;
            match packet.content {
                Content::Message(message) => {
                    return Some(LinkEvent::Message {
                        at,
                        from: other,
                        message,
                    });
                }
                Content::Ping => {}
                Content::Close => {
                    self.close(at, other, now_ms);
                    let why = "closed";
                    return Some(LinkEvent::Closed { at, other, why });
                }
            }
        }
    }
}
