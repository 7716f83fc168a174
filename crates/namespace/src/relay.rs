//! Holds the state that the relay of a wire shares with the test: the weather, the closed ways, the
//! counts of frames, and the request to stop.

use crate::weather::Weather;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

#[derive(Debug)]
pub(crate) struct Relayed {
    weather: Mutex<Weather>,
    /// Number of faults that close each way.
    closed: Mutex<[u32; 2]>,
    pub(crate) counts: [AtomicU64; 4],
    pub(crate) stop: AtomicBool,
}

impl Relayed {
    pub(crate) fn new(weather: Weather) -> Self {
        Relayed {
            weather: Mutex::new(weather),
            closed: Mutex::new([0; 2]),
            counts: [const { AtomicU64::new(0) }; 4],
            stop: AtomicBool::new(false),
        }
    }

    pub(crate) fn weather(&self) -> Weather {
        *self.weather.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_weather(&self, weather: Weather) {
        *self.weather.lock().unwrap_or_else(PoisonError::into_inner) = weather;
    }

    pub(crate) fn change_way(&self, way: usize, change: impl FnOnce(u32) -> u32) {
        let mut closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        closed[way] = change(closed[way]);
    }

    pub(crate) fn close_way(&self, way: usize) {
        self.change_way(way, |times| times + 1);
    }

    pub(crate) fn open_way(&self, way: usize) {
        self.change_way(way, |times| times.saturating_sub(1));
    }

    pub(crate) fn close_both_ways(&self) {
        (0..2).for_each(|way| self.close_way(way));
    }

    pub(crate) fn open_both_ways(&self) {
        (0..2).for_each(|way| self.open_way(way));
    }

    pub(crate) fn is_closed(&self, way: usize) -> bool {
        self.closed.lock().unwrap_or_else(PoisonError::into_inner)[way] > 0
    }

    pub(crate) fn count(&self, what: Count, number: u64) {
        self.counts[what as usize].fetch_add(number, Ordering::Relaxed);
    }
}

#[derive(Clone, Copy)]
pub(crate) enum Count {
    Frames,
    Lost,
    Doubled,
    Overtaken,
}
