//! All virtual routers of one machine, with their sync groups, as one value.

use super::{Action, GroupSettings, Instance, Resume, Settings, Status, Time};
use std::net::IpAddr;
use std::time::Duration;

/// All virtual routers of one machine.
///
/// The driver's turn: all packets that arrived ([`Router::handle_packet`]) and all
/// answers of neighbours, then [`Router::handle_time`], then [`Router::poll`] until
/// it gives none, then sleep until [`Router::deadline`].
#[derive(Debug)]
pub struct Router {
    settings: Vec<Settings>,
    groups: Vec<GroupSettings>,
}

impl Router {
    /// None of them has begun.
    pub fn new(settings: Vec<Settings>, groups: Vec<GroupSettings>) -> Router {
        Router { settings, groups }
    }

    /// Settings and groups as given.
    pub fn settings(&self) -> (&[Settings], &[GroupSettings]) {
        (&self.settings, &self.groups)
    }

    /// Begins. What is wrong at first was told by [`Router::set_fault`],
    /// [`Router::set_priority`], [`Router::set_band`] and [`Router::set_source`] before.
    ///
    /// With what a process before this one kept, a master goes on as master at once
    /// if that is no older than its down interval; everybody else gets a `Release`
    /// for what may be left in the kernel. A group goes on as a whole or not at all,
    /// so all members are to be begun at the same `now`.
    pub fn start(&mut self, _now: Time, _at: Instance, _resume: Option<Resume>) {}

    /// What is to be done next; None when all is.
    pub fn poll(&mut self) -> Option<Action> {
        None
    }

    /// When [`Router::handle_time`] is to be called at the latest.
    pub fn deadline(&self) -> Option<Time> {
        None
    }

    /// The time has come to this. All packets that had arrived are to be given before.
    pub fn handle_time(&mut self, _now: Time) {}

    /// A VRRP packet (without its IP header) arrived on the interface of the instance
    /// with this router id.
    pub fn handle_packet(
        &mut self,
        _now: Time,
        _at: Instance,
        _from: IpAddr,
        _ttl: u8,
        _bytes: &[u8],
    ) {
    }

    /// A neighbour said that it has an address of the instance: an answer to
    /// [`Action::Probe`], or any other ARP packet or neighbour advertisement that names
    /// it as the sender's. `mac_is_ours`: the MAC is one of this machine's interfaces
    /// (the virtual MAC counts only while the instance is master).
    ///
    /// As a backup that probes: the owner's kernel is alive. As master: somebody else
    /// uses the address, which is told and answered by announcements, not too often.
    pub fn handle_neighbour(
        &mut self,
        _now: Time,
        _at: Instance,
        _address: IpAddr,
        _mac_is_ours: bool,
        _mac: [u8; 6],
    ) {
    }

    /// Somebody deleted an address (or route or rule) of the instance from the kernel.
    /// As master it is put back and announced, not too often; else nothing.
    pub fn handle_address_lost(&mut self, _now: Time, _at: Instance) {}

    /// Something that the instance needs failed, in words, or all is well again.
    pub fn set_fault(&mut self, _now: Time, _at: Instance, _words: Option<String>) {}

    /// The priority with all weights of what is tracked, 1 to 254 (255 stays for an
    /// owner of the addresses). Without it the configured one holds.
    pub fn set_priority(&mut self, _now: Time, _at: Instance, _effective: u8) {}

    /// The band of health, 0 the best. It does nothing without [`Settings::bands`].
    pub fn set_band(&mut self, _now: Time, _at: Instance, _band: usize) {}

    /// The source of our adverts, as soon as it is known or when it changed.
    pub fn set_source(&mut self, _now: Time, _at: Instance, _source: IpAddr) {}

    /// A planned stop: the addresses are released, then an advert of priority zero
    /// is sent. Members of its group that are master stop being it, too.
    pub fn stop(&mut self, _now: Time, _at: Instance) {}

    /// As [`Router::stop`], all of them.
    pub fn stop_all(&mut self, _now: Time) {}

    /// A successor takes over ([`Router::kept`] was given to it): nothing is sent or
    /// released, now and later.
    pub fn leave(&mut self, _now: Time) {}

    /// An operator's planned hand-over. Requests may finish for `drain`; then adverts of
    /// priority zero let another one take over while the addresses stay here; when its
    /// advert came, they are released. When nobody takes over they stay.
    /// With a group all of its members are handed over. False: it is not master, or
    /// a hand-over is under way.
    pub fn hand_over(&mut self, _now: Time, _at: Instance, _drain: Duration) -> bool {
        false
    }

    /// The requests under way have finished: a hand-over that drains goes on at once.
    pub fn drained(&mut self, _now: Time, _at: Instance) {}

    /// What is told about one.
    pub fn status(&self, _of: Instance) -> Option<Status> {
        None
    }

    /// What of it is to outlive this process.
    pub fn kept(&self, _now: Time, _of: Instance) -> Option<Resume> {
        None
    }
}
