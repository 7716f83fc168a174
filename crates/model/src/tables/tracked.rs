//! What a connection or a stream tracks: entries under the numbers of its counters, and
//! what `stick` rules made of it.

use super::data::DataType;
use super::entry::Held;
use super::set::TablePlace;
use crate::setting::ServerIndex;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

/// Most counters (`tune.stick-counters`).
pub const COUNTERS_MAX: u32 = 12;
/// Without that line.
pub const COUNTERS_DEFAULT: u32 = 3;

/// Which rules began to track.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Level {
    /// `tcp-request connection` and `session`.
    Session,
    /// `tcp-request content` and `http-request`.
    Request,
    /// `http-response`.
    Response,
}

/// The entries of one connection or stream, by counter.
#[derive(Debug, Default)]
pub struct Trackers {
    pub(crate) held: Vec<(u8, Held)>,
    /// What `stick` rules made of a stream.
    pub(crate) sticking: Option<Box<Sticking>>,
}

/// Those of a connection. Copies of it (a change of the configuration while
/// streams are under way) share them.
pub type SessionTrackers = Rc<RefCell<Trackers>>;

impl Trackers {
    /// What a counter tracks.
    pub fn get(&self, counter: u32) -> Option<&Held> {
        let mut all = self.held.iter();
        all.find(|(at, _)| u32::from(*at) == counter)
            .map(|(_, held)| held)
    }

    pub(crate) fn each(&self, mut count: impl FnMut(&Held)) {
        for (_, held) in &self.held {
            count(held);
            held.touch();
            held.note();
        }
    }
}

impl Drop for Trackers {
    fn drop(&mut self) {
        for (_, held) in &self.held {
            held.take_one(DataType::ConnCur);
            held.touch();
            held.note();
        }
    }
}

/// What `stick` rules made of a stream.
#[derive(Debug, Default)]
pub struct Sticking {
    /// The server that a table has for it.
    pub(crate) server: Option<ServerIndex>,
    /// Under these keys its server is kept.
    pub(crate) keys: Vec<(Arc<TablePlace>, Box<[u8]>)>,
}
