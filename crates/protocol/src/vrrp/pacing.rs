//! Adverts that a driver sends by itself while it waits in the middle of its turn: what a
//! master would send next, and what the router hears of it afterwards.

use super::machine::{Machine, own_interval};
use super::{Counter, Instance, Router, Settings, State, Time};
use std::net::IpAddr;
use std::time::Duration;

/// The next advert of a master. Two with the same priority, source and interval have the same
/// bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NextAdvert {
    /// Its priority.
    pub priority: u8,
    /// Where it comes from.
    pub source: Option<IpAddr>,
    /// Time between two adverts.
    pub interval: Duration,
    /// No other router takes over before this silence is over.
    pub patience: Duration,
    /// When the last advert was sent.
    pub sent_at: Time,
    /// When this one is due.
    pub at: Time,
}

impl Router {
    /// Returns the next advert of an instance; `None` if it is no master, or if it listens
    /// before it speaks.
    pub fn next_advert(&self, of: Instance) -> Option<NextAdvert> {
        if self.has_left() {
            return None;
        }
        self.machines
            .get(of.0)?
            .next_advert(self.settings.get(of.0)?)
    }

    /// Returns the bytes of [`Self::next_advert`], and where they go.
    pub fn encode_next_advert(&self, of: Instance) -> Vec<(IpAddr, Vec<u8>)> {
        let both = self.machines.get(of.0).zip(self.settings.get(of.0));
        both.map_or_else(Vec::new, |(machine, settings)| {
            machine.adverts(settings, machine.announced_priority(settings))
        })
    }

    /// The driver has sent the next advert of an instance `count` times, the last time at
    /// `last`: the instance was not silent, so it does not count as frozen.
    pub fn advertised(&mut self, last: Time, of: Instance, count: u64) {
        self.step(last, of, |machine, ctx| {
            if machine.state == State::Master {
                machine.rule.sent(ctx.now, own_interval(ctx.settings));
                machine.last_turn = machine.last_turn.max(ctx.now);
                machine.counters[Counter::AdvertsSent] += count;
            }
        });
    }
}

impl Machine {
    fn next_advert(&self, settings: &Settings) -> Option<NextAdvert> {
        let (sent_at, at) = { self.state == State::Master }.then(|| self.rule.paced())??;
        let interval = own_interval(settings);
        Some(NextAdvert {
            priority: self.announced_priority(settings),
            source: self.source,
            interval,
            patience: interval * u32::from(settings.down_adverts),
            sent_at,
            at,
        })
    }
}
