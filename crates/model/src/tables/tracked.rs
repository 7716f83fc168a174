//! Holds the stick table entries that a connection or a stream tracks, by counter number (`sc0`,
//! `sc1`, …), and the results of `stick` rules.

use super::data::DataType;
use super::entry::HeldEntry;
use super::set::TablePlace;
use crate::setting::ServerIndex;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

/// Maximum number of counters (`tune.stick-counters`).
pub const COUNTERS_MAX: u32 = 12;
/// Number of counters without `tune.stick-counters`.
pub const COUNTERS_DEFAULT: u32 = 3;

/// Kind of rule that started the tracking, which determines how long it lasts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Level {
    /// Rules of `tcp-request connection` and `session`.
    Session,
    /// Rules of `tcp-request content` and `http-request`.
    Request,
    /// Rules of `http-response` lists.
    Response,
}

/// Tracked entries of a connection or stream, by counter.
#[derive(Debug, Default)]
pub struct Trackers {
    pub(crate) held: Vec<(u8, HeldEntry)>,
    pub(crate) sticking: Option<Box<Sticking>>,
}

/// Tracked entries of a connection. Copies of its session, made when the configuration changes,
/// share them.
pub type SessionTrackers = Rc<RefCell<Trackers>>;

impl Trackers {
    pub fn get(&self, counter: u32) -> Option<&HeldEntry> {
        let mut all = self.held.iter();
        all.find(|(at, _)| u32::from(*at) == counter)
            .map(|(_, held)| held)
    }

    pub(crate) fn each(&self, mut count: impl FnMut(&HeldEntry)) {
        for (_, held) in &self.held {
            count(held);
            held.touch();
            held.queue_peer_update();
        }
    }
}

impl Drop for Trackers {
    fn drop(&mut self) {
        for (_, held) in &self.held {
            held.take_one(DataType::ConnCur);
            held.touch();
            held.queue_peer_update();
        }
    }
}

/// Results of the `stick` rules of a stream.
#[derive(Debug, Default)]
pub struct Sticking {
    /// Server that a table contains for the stream.
    pub(crate) server: Option<ServerIndex>,
    /// Tables and keys under which the server will be stored.
    pub(crate) keys: Vec<(Arc<TablePlace>, Box<[u8]>)>,
}
