//! Tests the rules of the VRRP RFCs and keepalived's options, one by one, in virtual time: input
//! to a router, and its actions with their times.

mod backup;
mod beyond;
mod group;
mod master;
mod packets;

use super::advert::{Advert, GROUP_V4};
use super::simulation::plain_settings;
use super::{
    Announce, GroupSettings, HandOver, Instance, Resume, Router, Settings, Time, VrrpAction,
    VrrpState, VrrpVersion,
};
use std::net::IpAddr;
use std::time::Duration;

/// Start of virtual time in ms.
const BEGIN_MS: u64 = 1_000_000;

/// A machine with its clock and one or more virtual routers. It is 10.9.0.5 with priority 100 and
/// an advert interval of one second.
pub struct RuleFixture {
    pub router: Router,
    now_ns: u64,
    seen: Vec<String>,
}

pub fn settings() -> Settings {
    Settings {
        source: Some(host(5)),
        ..plain_settings()
    }
}

pub fn host(last: u8) -> IpAddr {
    IpAddr::from([10, 9, 0, last])
}

pub fn packet(settings: &Settings, from: IpAddr, priority: u8) -> Vec<u8> {
    let advert = Advert {
        version: settings.version,
        vrid: settings.vrid,
        priority,
        interval: settings.interval,
        addresses: settings.addresses.clone(),
        authentication: settings.authentication.clone(),
    };
    advert.encode(from, GROUP_V4)
}

impl RuleFixture {
    /// Creates virtual routers without starting them.
    pub fn idle(settings: Vec<Settings>, groups: Vec<GroupSettings>) -> RuleFixture {
        RuleFixture {
            router: Router::new(settings, groups),
            now_ns: BEGIN_MS * 1_000_000,
            seen: Vec::new(),
        }
    }

    /// Creates one virtual router, and starts it.
    pub fn new(settings: Settings) -> RuleFixture {
        let mut desk = RuleFixture::idle(vec![settings], vec![]);
        desk.router.start(desk.now(), Instance(0), None);
        desk.take();
        desk
    }

    /// Returns a router that has just become master, 3610 ms after its start. Its actions until
    /// then are dropped.
    pub fn master(settings: Settings) -> RuleFixture {
        let mut desk = RuleFixture::new(settings);
        desk.until(3_610);
        assert_eq!(desk.state(0), VrrpState::Master);
        desk.seen.clear();
        desk
    }

    pub fn now(&self) -> Time {
        Time(self.now_ns)
    }

    pub fn state(&self, of: usize) -> VrrpState {
        self.router.status(Instance(of)).unwrap().state
    }

    /// Advances the time to `ms` after the start; every timer fires in time.
    pub fn until(&mut self, ms: u64) {
        let end = (BEGIN_MS + ms) * 1_000_000;
        for _ in 0..100_000 {
            let next = self.router.deadline().map(|at| at.0.max(self.now_ns));
            match next.filter(|next| *next <= end) {
                Some(next) => {
                    self.now_ns = next;
                    self.router.handle_time(self.now());
                    self.take();
                }
                None => {
                    self.now_ns = end;
                    return;
                }
            }
        }
        panic!("timers run in circles");
    }

    /// Advances the time without a turn of the router.
    pub fn freeze_until(&mut self, ms: u64) {
        self.now_ns = (BEGIN_MS + ms) * 1_000_000;
    }

    /// Runs a turn of the router at the current time, however late that is.
    pub fn wake(&mut self) {
        self.router.handle_time(self.now());
        self.take();
    }

    /// Passes in an advert from the machine 10.9.0.`from`.
    pub fn hear(&mut self, from: u8, priority: u8) {
        self.hear_at(0, from, priority);
    }

    pub fn hear_at(&mut self, at: usize, from: u8, priority: u8) {
        let bytes = packet(&self.router.settings().0[at], host(from), priority);
        self.hear_bytes(at, host(from), 255, &bytes);
    }

    pub fn hear_bytes(&mut self, at: usize, from: IpAddr, ttl: u8, bytes: &[u8]) {
        let now = self.now();
        self.router
            .handle_packet(now, Instance(at), from, ttl, bytes);
        self.take();
    }

    /// Passes another input to the router.
    pub fn give(&mut self, order: impl FnOnce(&mut Router, Time)) {
        let now = self.now();
        order(&mut self.router, now);
        self.take();
    }

    /// Returns the actions since the last call, each with its time in ms. Log messages are left
    /// out.
    pub fn did(&mut self) -> Vec<String> {
        std::mem::take(&mut self.seen)
    }

    /// Returns the actions as [`RuleFixture::did`], without the times.
    pub fn did_what(&mut self) -> Vec<String> {
        let all = self.did();
        let what = all.iter().filter_map(|what| what.split_once(' '));
        what.map(|(_, what)| what.to_owned()).collect()
    }

    fn take(&mut self) {
        let ms = self.now_ns / 1_000_000 - BEGIN_MS;
        while let Some(action) = self.router.poll() {
            if let Some(words) = words(&action) {
                self.seen.push(format!("{ms} {words}"));
            }
        }
    }

    /// Returns the log messages that an input causes; other actions are dropped.
    pub fn notes(&mut self, order: impl FnOnce(&mut Router, Time)) -> Vec<String> {
        let now = self.now();
        order(&mut self.router, now);
        let mut notes = Vec::new();
        while let Some(action) = self.router.poll() {
            if let VrrpAction::Note { words, .. } = action {
                notes.push(words);
            }
        }
        notes
    }
}

fn words(action: &VrrpAction) -> Option<String> {
    let (at, words) = match action {
        VrrpAction::Send {
            instance, bytes, ..
        } => (instance.0, format!("advert {}", bytes[2])),
        VrrpAction::Acquire { instance } => (instance.0, "acquire".to_owned()),
        VrrpAction::Release { instance } => (instance.0, "release".to_owned()),
        VrrpAction::Announce {
            instance,
            repeat,
            why,
        } => {
            let why = match why {
                Announce::Acquired => "acquired",
                Announce::Again => "again",
                Announce::Contested => "contested",
                Announce::Refresh => "refresh",
            };
            (instance.0, format!("announce {why} x{repeat}"))
        }
        VrrpAction::Probe { instance } => (instance.0, "probe".to_owned()),
        VrrpAction::Entered { instance, to, .. } => (instance.0, format!("{to:?}")),
        VrrpAction::HandOver { instance, step } => {
            let step = match step {
                HandOver::Draining { .. } => "drains",
                HandOver::Offered { .. } => "offers",
                HandOver::Taken { .. } => "taken",
                HandOver::Withdrawn => "withdrawn",
            };
            (instance.0, step.to_owned())
        }
        VrrpAction::GroupEntered { group, to } => (*group, format!("group {to:?}")),
        VrrpAction::HeardLower { .. } | VrrpAction::Note { .. } => return None,
    };
    // The number of the virtual router is omitted if it is 0.
    Some(match at {
        0 => words,
        at => format!("{words} #{at}"),
    })
}

/// Returns the stored state of a process that was master until `before` ago.
pub fn kept(desk: &RuleFixture, before: Duration) -> Resume {
    let before = before.as_nanos() as u64;
    Resume {
        state: VrrpState::Master,
        since: Time(5),
        at: Time(desk.now().0 - before),
        holds: true,
        owner: None,
        master_down_at: None,
        owner_interval: Duration::from_secs(1),
        yielded: None,
    }
}

/// Returns the same settings for version 2.
pub fn version_2() -> Settings {
    Settings {
        version: VrrpVersion::V2,
        ..settings()
    }
}
