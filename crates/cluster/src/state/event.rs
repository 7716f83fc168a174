//! Keeps the newest events of the cluster for operators: each is a text with a time and the member
//! that reported it.

use crate::member::MemberId;
use language::truncated;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

pub const EVENTS_MAX: usize = 512;
/// Largest size of the texts of all events together, bytes.
pub const EVENTS_BYTES_MAX: usize = 256 << 10;

/// An event that operators can see.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Event {
    /// Number of applied commands when the event was recorded.
    pub applied: u64,
    /// Time, seconds since 1970 by the clock of the member that reported it.
    pub time_s: i64,
    pub from: MemberId,
    pub words: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Events(VecDeque<Event>);

impl Events {
    pub(super) fn push(&mut self, mut event: Event) {
        event.words = truncated(&event.words, super::WORDS_BYTES_MAX).to_owned();
        self.0.push_back(event);
        let mut bytes: usize = self.0.iter().map(|event| event.words.len()).sum();
        while self.0.len() > EVENTS_MAX || bytes > EVENTS_BYTES_MAX {
            let oldest = self.0.pop_front();
            bytes -= oldest.map_or(0, |event| event.words.len());
        }
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Event> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(applied: u64, words: &str) -> Event {
        Event {
            applied,
            time_s: 0,
            from: MemberId(1),
            words: words.to_owned(),
        }
    }

    #[test]
    fn the_newest_events_are_kept_within_a_number_and_a_size() {
        let mut events = Events::default();
        for applied in 0..2000 {
            events.push(event(applied, "short"));
        }
        assert_eq!(events.iter().count(), EVENTS_MAX);
        assert_eq!(
            events.iter().next_back().map(|event| event.applied),
            Some(1999)
        );

        let long = "é".repeat(super::super::WORDS_BYTES_MAX);
        for applied in 2000..2020 {
            events.push(event(applied, &long));
        }
        let bytes: usize = events.iter().map(|event| event.words.len()).sum();
        assert!(bytes <= EVENTS_BYTES_MAX);
        assert_eq!(
            events.iter().count(),
            EVENTS_BYTES_MAX / super::super::WORDS_BYTES_MAX
        );
    }
}
