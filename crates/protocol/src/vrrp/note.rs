//! Writes the log messages of a virtual router at a limited rate. The same text is repeated after
//! ten minutes at the earliest, unless its topic has ended in between.

use super::context::Context;
use super::pace::Pace;
use super::{Time, VrrpAction};
use std::time::Duration;

const NOTE_BURST: u32 = 10;
/// Minimum time between notes after a burst of [`NOTE_BURST`].
const NOTE_PAUSE: Duration = Duration::from_secs(10);
/// Interval after which the same message is logged again.
const SAID_AGAIN: Duration = Duration::from_secs(600);

/// Topic of a log message: the same text about a topic is not repeated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum About {
    Dropped,
    /// Packets that this router sent come back to it.
    Loop,
    /// Another router also claims to be the address owner (priority 255).
    TwoOwners,
    /// A router in the backup state received an advert of lower priority.
    Discarded,
    /// The local machine was late or suspended.
    Late,
    Answered,
    Foreign,
    Lost,
    Damped,
    SamePlace,
}

const KINDS: usize = About::SamePlace as usize + 1;

/// Last message about each topic.
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
    /// Logs a message within the rate limit, unless it repeats the last one about its topic within
    /// [`SAID_AGAIN`].
    pub(super) fn log_note(&mut self, ctx: &mut Context<'_>, about: About, words: String) {
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
        ctx.queue_report(VrrpAction::Note { instance, words });
    }

    /// Ends a topic, so that its next message is logged even if the text is the same.
    pub(super) fn end_topic(&mut self, about: About) {
        if let Some(slot) = self.said.get_mut(about as usize) {
            *slot = None;
        }
    }
}
