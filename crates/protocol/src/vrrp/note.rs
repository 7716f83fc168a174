//! Log messages of a virtual router: each is logged once until it changes, and never too
//! often.

use super::context::Context;
use super::pace::Pace;
use super::{Action, Time};
use std::time::Duration;

/// Notes at once.
const NOTE_BURST: u32 = 10;
/// And then one in each of these.
const NOTE_PAUSE: Duration = Duration::from_secs(10);
/// Interval after which the same message is logged again.
const SAID_AGAIN: Duration = Duration::from_secs(600);

/// The topic of a note: a note is logged once until its text changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum About {
    /// A packet that was dropped.
    Dropped,
    /// Our own packets come back.
    Loop,
    /// Another owner of the addresses.
    TwoOwners,
    /// A lower priority as a backup.
    Discarded,
    /// This machine was late or stood still.
    Late,
    /// The owner's kernel answers.
    Answered,
    /// Somebody else uses an address.
    Foreign,
    /// An address was deleted.
    Lost,
    /// Preemption is held back.
    Damped,
    /// Another node announces the priority of our place in `prefer`.
    SamePlace,
}

/// Kinds of notes.
const KINDS: usize = About::SamePlace as usize + 1;

/// The last note of each topic.
#[derive(Debug)]
pub(super) struct Notes {
    said: [Option<(String, Time)>; KINDS],
    pace: Pace,
}

impl Default for Notes {
    fn default() -> Notes {
        Notes {
            said: [const { None }; KINDS],
            pace: Pace::new(NOTE_BURST, NOTE_PAUSE),
        }
    }
}

impl Notes {
    /// Logs a note, unless it repeats the last one of its topic.
    pub(super) fn tell(&mut self, ctx: &mut Context<'_>, about: About, words: String) {
        let Some(slot) = self.said.get_mut(about as usize) else {
            return;
        };
        let known = slot
            .as_ref()
            .is_some_and(|(said, at)| *said == words && ctx.now.since(*at) < SAID_AGAIN);
        if known || !self.pace.allows(ctx.now) {
            return;
        }
        *slot = Some((words.clone(), ctx.now));
        let instance = ctx.at;
        ctx.say(Action::Note { instance, words });
    }

    /// Ends a topic: its next note is logged again.
    pub(super) fn over(&mut self, about: About) {
        if let Some(slot) = self.said.get_mut(about as usize) {
            *slot = None;
        }
    }
}
