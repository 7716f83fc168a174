//! All virtual routers of one machine, with their sync groups, as one value.

use super::{Action, GroupSettings, Instance, Settings, Status, Time};
use std::net::IpAddr;

/// All virtual routers of one machine.
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

    /// What is told about one.
    pub fn status(&self, _of: Instance) -> Option<Status> {
        None
    }
}
