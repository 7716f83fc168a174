//! Lets the driver of a VRRP router send due adverts while it waits for the kernel and cannot run
//! the router: provides the next advert of a master, and records afterwards which adverts were
//! sent.

use super::machine::{VirtualRouter, own_interval};
use super::{Counter, Instance, Router, Settings, Time, VrrpState};
use std::net::IpAddr;
use std::time::Duration;

/// The next advert of a master. Two adverts with the same priority, source and interval have the
/// same bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NextAdvert {
    pub priority: u8,
    pub source: Option<IpAddr>,
    pub interval: Duration,
    /// Time without adverts after which another router can become master at the earliest.
    pub patience: Duration,
    pub sent_at: Time,
    pub at: Time,
}

impl Router {
    /// Returns the next advert of a virtual router; `None` if it is not master, or only listens
    /// after a suspension.
    pub fn next_advert(&self, of: Instance) -> Option<NextAdvert> {
        if self.has_successor() {
            return None;
        }
        self.machines
            .get(of.0)?
            .next_advert(self.settings.get(of.0)?)
    }

    /// Returns the bytes of [`Self::next_advert`], with their destinations.
    pub fn encode_next_advert(&self, of: Instance) -> Vec<(IpAddr, Vec<u8>)> {
        let both = self.machines.get(of.0).zip(self.settings.get(of.0));
        both.map_or_else(Vec::new, |(machine, settings)| {
            machine.adverts(settings, machine.announced_priority(settings))
        })
    }

    /// Records that the driver has sent the next advert `count` times, the last time at `last`.
    /// Thus the pause does not count as a suspension of the router.
    pub fn advertised(&mut self, last: Time, of: Instance, count: u64) {
        self.step(last, of, |machine, ctx| {
            if machine.state == VrrpState::Master {
                machine.rule.sent(ctx.now, own_interval(ctx.settings));
                machine.last_turn = machine.last_turn.max(ctx.now);
                machine.counters[Counter::AdvertsSent] += count;
            }
        });
    }
}

impl VirtualRouter {
    fn next_advert(&self, settings: &Settings) -> Option<NextAdvert> {
        let (sent_at, at) = (self.state == VrrpState::Master).then(|| self.rule.paced())??;
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
