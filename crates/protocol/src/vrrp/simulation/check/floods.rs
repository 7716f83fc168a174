//! Checks in the VRRP simulation that each machine's adverts per interval, announcements per
//! second, log messages in ten seconds, and preemptions per minute are bounded, whatever arrives.

use super::super::network::HOSTS;
use super::super::scene::Scene;
use super::InvariantResult;
use crate::vrrp::{Reason, VrrpAction};
use std::collections::VecDeque;

/// Maximum number of adverts of a machine per interval.
const ADVERTS: usize = 10;
/// Maximum number of announcement blocks per second.
const BLOCKS: usize = 40;
/// Maximum number of log messages in ten seconds.
const NOTES: usize = 22;
/// Maximum number of preemptions of a machine per minute.
const PREEMPTIONS: usize = 10;

#[derive(Default)]
pub struct Floods {
    adverts: [VecDeque<u64>; HOSTS],
    blocks: [VecDeque<u64>; HOSTS],
    notes: [VecDeque<u64>; HOSTS],
    preemptions: [VecDeque<u64>; HOSTS],
}

impl Floods {
    pub fn action(&mut self, scene: &Scene, host: usize, action: &VrrpAction) -> InvariantResult {
        let (window, times, most, what) = match action {
            VrrpAction::Send { .. } => {
                let window = scene.plan.interval_ns;
                (window, &mut self.adverts[host], ADVERTS, "adverts")
            }
            VrrpAction::Announce { .. } => (
                1_000_000_000,
                &mut self.blocks[host],
                BLOCKS,
                "announcements",
            ),
            VrrpAction::Note { .. } => (10_000_000_000, &mut self.notes[host], NOTES, "notes"),
            VrrpAction::Entered {
                why: Reason::Preempts { .. },
                ..
            } => {
                let times = &mut self.preemptions[host];
                (60_000_000_000, times, PREEMPTIONS, "preemptions")
            }
            _ => return Ok(()),
        };
        times.push_back(scene.now);
        while times
            .front()
            .is_some_and(|first| first + window <= scene.now)
        {
            times.pop_front();
        }
        if times.len() > most {
            return Err(format!(
                "machine {host}: {} {what} in {window} ns",
                times.len()
            ));
        }
        Ok(())
    }
}
