//! Runs the sessions of bidirectional forwarding detection (`bfd_instance`) with their sockets.
//! [`protocol::bfd`] makes the decisions; this module only transports packets. When the role ends,
//! its sessions fall silent, as in keepalived, and neighbours detect an outage, which is correct.
//! Only a session that a reload removed signals AdminDown.

use super::event_loop::AddressRole;
use super::weight::TrackedState;
use super::{Level, clock};
use crate::config::{BfdSession, Instance};
use crate::wire::{BfdListener, BfdSender, WireError};
use protocol::bfd::{BfdState, Diagnostic, Event, Session, Settings};
use protocol::vrrp::Time;
use rustix::fd::BorrowedFd;

/// Value of `max_hops` that disables the check.
const ANY_HOPS: u8 = 255;
/// Maximum number of actions taken from one session per turn.
const MAX_EVENTS: usize = 64;

/// All BFD sessions with their sockets.
#[derive(Debug, Default)]
pub struct Bfd {
    links: Vec<BfdLink>,
    /// A listener for each address family in use.
    listeners: Vec<BfdListener>,
    /// Dropped packets: malformed, from too many hops away, or without a session.
    refused: u64,
}

#[derive(Debug)]
struct BfdLink {
    wanted: BfdSession,
    session: Session,
    /// True if the neighbour counts as up: until an outage. A neighbour in AdminDown is not an
    /// outage, as in keepalived.
    up: bool,
    sender: Option<BfdSender>,
    /// Logged reason why the session cannot send.
    failed: Option<String>,
}

/// A change of a session that must be reported.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BfdChange {
    Entered {
        name: String,
        to: BfdState,
        /// Diagnostic of a transition to Down.
        why: Diagnostic,
        /// New tracked state, if it changed.
        verdict: Option<bool>,
    },
    /// The session cannot send; reported once per reason.
    CannotSend { name: String, why: String },
}

fn settings(wanted: &BfdSession) -> Settings {
    Settings {
        min_tx: wanted.min_tx,
        min_rx: wanted.min_rx,
        idle_tx: wanted.idle_tx,
        multiplier: wanted.multiplier,
        passive: wanted.passive,
        // Follows keepalived's rule: the peer is assumed to send with the same TTL as this end.
        ttl_min: match wanted.max_hops {
            ANY_HOPS => 0,
            hops => wanted.ttl.saturating_sub(hops),
        },
    }
}

impl Bfd {
    /// Opens the wanted sessions, and returns the errors of listeners. A session without a listener
    /// is down. Unchanged sessions of `old` continue: a reload takes none of them down.
    pub fn open(wanted: &[BfdSession], mut old: Bfd, now: Time) -> (Bfd, Vec<WireError>) {
        let mut before = old.links;
        let mut links = Vec::with_capacity(wanted.len());
        for (place, wanted) in wanted.iter().enumerate() {
            // Ignores the weight in the comparison, because a changed weight does not affect the
            // session with the neighbour.
            let same = |link: &BfdLink| {
                let weight = wanted.weight;
                BfdSession {
                    weight,
                    ..link.wanted.clone()
                } == *wanted
            };
            let link = match before.iter().position(same) {
                Some(at) => BfdLink {
                    wanted: wanted.clone(),
                    ..before.swap_remove(at)
                },
                None => {
                    let seed = now.0 ^ u64::from(std::process::id()) << 32 ^ place as u64;
                    BfdLink {
                        session: Session::new(settings(wanted), seed, now),
                        wanted: wanted.clone(),
                        up: false,
                        sender: None,
                        failed: None,
                    }
                }
            };
            links.push(link);
        }
        // Signals AdminDown for the removed sessions.
        before.iter_mut().for_each(|link| link.stop(now));
        let (mut listeners, mut errors) = (Vec::new(), Vec::new());
        for ipv6 in [false, true] {
            let kept = old.listeners.iter().position(|l| l.is_ipv6() == ipv6);
            if links.iter().any(|l| l.wanted.neighbour.is_ipv6() == ipv6) {
                let listener = match kept {
                    Some(place) => Ok(old.listeners.swap_remove(place)),
                    None => BfdListener::open(ipv6),
                };
                listener.map_or_else(|e| errors.push(e), |l| listeners.push(l));
            }
        }
        let refused = old.refused;
        let bfd = Bfd {
            links,
            listeners,
            refused,
        };
        (bfd, errors)
    }

    /// Returns the descriptors to poll; call [`Bfd::handle`] when one is readable.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.listeners.iter().map(BfdListener::as_fd)
    }

    /// Returns the latest time at which [`Bfd::handle`] must be called.
    pub fn deadline(&self) -> Option<Time> {
        self.links.iter().filter_map(|l| l.session.deadline()).min()
    }

    /// Receives all waiting packets, then advances the time, and sends due packets.
    pub fn handle(&mut self) -> Vec<BfdChange> {
        let Bfd {
            links,
            listeners,
            refused,
        } = self;
        let now = clock::now();
        for listener in listeners {
            let drained = listener.drain(|seen| {
                let is_for = |link: &&mut BfdLink| {
                    let ours = link.wanted.source;
                    link.wanted.neighbour == seen.from && ours.is_none_or(|_| ours == seen.to)
                };
                let taken = match links.iter_mut().find(is_for) {
                    Some(link) => link
                        .session
                        .handle_packet(now, seen.ttl, seen.bytes)
                        .is_ok(),
                    None => false,
                };
                if !taken {
                    *refused = refused.saturating_add(1);
                }
            });
            // Counts an error of the socket as a dropped packet. A lasting failure shows as
            // silence.
            if drained.is_err() {
                *refused = refused.saturating_add(1);
            }
        }
        let mut changes = Vec::new();
        for link in links {
            link.session.handle_time(now);
            link.carry_out(&mut changes);
        }
        changes
    }

    /// Returns the verdict of a session; every state except up counts as down, also at
    /// the start, as in keepalived.
    pub fn verdict(&self, name: &str) -> TrackedState {
        match self.links.iter().find(|l| l.wanted.name == name) {
            Some(link) if link.up => TrackedState::Up,
            Some(_) => TrackedState::Down,
            None => TrackedState::Unknown,
        }
    }

    /// Returns all sessions, each with its state and the diagnostic of its last exit from Up.
    pub fn all(&self) -> impl Iterator<Item = (&BfdSession, BfdState, Diagnostic)> {
        let all = self.links.iter();
        all.map(|l| (&l.wanted, l.session.state(), l.session.diagnostic()))
    }

    pub fn refused(&self) -> u64 {
        self.refused
    }
}

impl AddressRole {
    /// Runs the sessions and logs their changes in keepalived's words. Returns true if
    /// the tracked state of a session changed.
    pub(super) fn run_bfd_sessions(&mut self) -> bool {
        let mut changed = false;
        for change in self.tracker.bfd.handle() {
            match change {
                BfdChange::CannotSend { name, why } => {
                    self.log(Level::Warning, &format!("({name}) {why}"));
                }
                BfdChange::Entered {
                    name,
                    to,
                    why,
                    verdict,
                } => {
                    let reason = match to {
                        BfdState::Down => format!(" ({why})"),
                        _ => String::new(),
                    };
                    self.log(
                        Level::Info,
                        &format!("({name}) Entering {to} state{reason}"),
                    );
                    if let Some(up) = verdict {
                        changed = true;
                        self.tell_bfd(&name, up);
                    }
                }
            }
        }
        changed
    }

    fn tell_bfd(&mut self, name: &str, up: bool) {
        let word = if up { "UP" } else { "DOWN" };
        let tracks = |i: &&Instance| i.tracked.bfd.iter().any(|b| b.0 == name);
        let instances = self.config.instances.iter().filter(tracks);
        for instance in instances {
            let of = &instance.name;
            let line = format!("VRRP_Instance({of}) Tracked BFD instance {name} is {word}");
            (self.given.log)(Level::Info, &line);
        }
    }
}

impl BfdLink {
    fn stop(&mut self, now: Time) {
        self.session.stop(now);
        self.carry_out(&mut Vec::new());
    }

    fn carry_out(&mut self, changes: &mut Vec<BfdChange>) {
        for _ in 0..MAX_EVENTS {
            let Some(event) = self.session.poll() else {
                return;
            };
            match event {
                Event::Entered { to, why, .. } => {
                    let before = self.up;
                    self.up = match (to, why) {
                        (BfdState::Up, _) => true,
                        (BfdState::Down, Diagnostic::PeerStopped) | (BfdState::Init, _) => self.up,
                        _ => false,
                    };
                    let name = self.wanted.name.clone();
                    changes.push(BfdChange::Entered {
                        name,
                        to,
                        why,
                        verdict: (self.up != before).then_some(self.up),
                    });
                }
                Event::Send(packet) => {
                    let failed = self.send(&packet).err().map(|e| e.to_string());
                    if let Some(why) = failed.clone().filter(|_| failed != self.failed) {
                        let name = self.wanted.name.clone();
                        changes.push(BfdChange::CannotSend { name, why });
                    }
                    self.failed = failed;
                }
            }
        }
    }

    /// Opens the socket on demand: its address may arrive at this machine later, and a
    /// session sends periodically anyway.
    fn send(&mut self, packet: &[u8]) -> Result<(), WireError> {
        let sender = match self.sender.take() {
            Some(sender) => sender,
            None => {
                let BfdSession {
                    source,
                    neighbour,
                    ttl,
                    ..
                } = self.wanted;
                let first = self.session.discriminator() as u16;
                BfdSender::open(source, neighbour, ttl, first)?
            }
        };
        // Returns an error, after which the socket is dropped, and bound again once its source
        // address is back.
        sender.send(packet)?;
        self.sender = Some(sender);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
