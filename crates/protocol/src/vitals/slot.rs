//! One slot: what each side writes about an instance.

use super::{Band, SLOT_WORDS, SLOTS_AT, SLOTS_MAX, Vitals};
use crate::vrrp::{COUNTERS_LEN, Counters};
use std::net::{IpAddr, Ipv6Addr};

const BAND: usize = 9;
const UNDER_WAY: usize = 10;
const STATE: usize = 11;
const DRAIN: usize = 12;
const SINCE: usize = 13;
const TRANSITIONS: usize = 14;
const PRIORITY: usize = 15;
const OWNER: usize = 16;
const OWNER_PRIORITY: usize = 18;
const COUNTERS_AT: usize = 19;

/// The state of an instance, as it is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SlotState {
    /// Not begun, or nobody tells.
    #[default]
    Init,
    /// Another machine has the addresses.
    Backup,
    /// This one has them.
    Master,
    /// It cannot take part.
    Fault,
}

/// All states, each at the place of its number.
pub const SLOT_STATES: [SlotState; 4] = [
    SlotState::Init,
    SlotState::Backup,
    SlotState::Master,
    SlotState::Fault,
];

impl SlotState {
    /// A word for people and for metrics.
    pub fn name(self) -> &'static str {
        match self {
            SlotState::Init => "init",
            SlotState::Backup => "backup",
            SlotState::Master => "master",
            SlotState::Fault => "fault",
        }
    }
}

/// The last word: an older address role has no meaning for it.
const UNTESTED: usize = SLOT_WORDS - 1;

const _: () = assert!(COUNTERS_AT + COUNTERS_LEN <= UNTESTED);

/// The state of an instance, reported by the address role.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SlotReport {
    /// Its state.
    pub state: SlotState,
    /// Since when, milliseconds of CLOCK_BOOTTIME.
    pub since_ms: u64,
    /// How often the state changed.
    pub transitions: u64,
    /// The priority that it announces, or would.
    pub priority: u8,
    /// Sender and priority of the last advert.
    pub owner: Option<(IpAddr, u8)>,
    /// Its counters.
    pub counters: Counters,
}

/// The word of a slot; behind the end of the memory where there is no such slot.
pub(super) fn at(slot: usize, word: usize) -> usize {
    if slot < SLOTS_MAX {
        SLOTS_AT + slot * SLOT_WORDS + word
    } else {
        usize::MAX
    }
}

impl Vitals<'_> {
    /// The band that the proxy wrote last, whether or not it lives.
    pub fn band_written(&self, slot: usize) -> Band {
        match slot < SLOTS_MAX {
            true => Band::of(self.get(at(slot, BAND))),
            false => Band::None,
        }
    }

    /// The proxy: how much of an instance can be served.
    pub fn set_band(&self, owner: u64, slot: usize, band: Band) {
        if self.is_owner(owner) {
            self.put(at(slot, BAND), band.index() as u64);
        }
    }

    /// The proxy: sets whether the first health checks of an instance's servers have not ended, and
    /// its band. A reader that reads [`Vitals::is_untested`] before and after the band never reads
    /// a band from before the end of the checks as one from after it.
    pub fn set_service(&self, owner: u64, slot: usize, band: Band, is_untested: bool) {
        if !self.is_owner(owner) {
            return;
        }
        if is_untested {
            self.put(at(slot, UNTESTED), 1);
        }
        self.set_band(owner, slot, band);
        if !is_untested {
            self.put(at(slot, UNTESTED), 0);
        }
    }

    /// The address role: returns whether the servers of an instance count as up only because their
    /// first health checks have not ended.
    pub fn is_untested(&self, slot: usize) -> bool {
        slot < SLOTS_MAX && self.get(at(slot, UNTESTED)) == 1
    }

    /// The proxy: how many requests are under way at the addresses of an instance.
    pub fn set_under_way(&self, owner: u64, slot: usize, requests: u64) {
        if self.is_owner(owner) {
            self.put(at(slot, UNDER_WAY), requests.saturating_add(1));
        }
    }

    /// The address role: how many requests are under way; None where nobody said.
    pub fn under_way(&self, slot: usize) -> Option<u64> {
        self.get(at(slot, UNDER_WAY)).checked_sub(1)
    }

    /// The address role: these addresses are given away when no request is under way,
    /// or at that time. None: they stay.
    pub fn set_drain(&self, slot: usize, until_ms: Option<u64>) {
        if until_ms.is_some() {
            // What was counted before the wish says nothing about it.
            self.put(at(slot, UNDER_WAY), 0);
        }
        self.put(at(slot, DRAIN), until_ms.map_or(0, |until| until.max(1)));
    }

    /// The proxy: until when a hand-over waits for requests.
    pub fn drain(&self, slot: usize) -> Option<u64> {
        Some(self.get(at(slot, DRAIN))).filter(|until| *until != 0)
    }

    /// The address role: what became of an instance.
    pub fn tell(&self, slot: usize, told: &SlotReport) {
        self.put(at(slot, SINCE), told.since_ms);
        self.put(at(slot, TRANSITIONS), told.transitions);
        self.put(at(slot, PRIORITY), u64::from(told.priority));
        let (address, priority) = match told.owner {
            Some((IpAddr::V4(address), priority)) => (address.to_ipv6_mapped(), priority),
            Some((IpAddr::V6(address), priority)) => (address, priority),
            None => (Ipv6Addr::UNSPECIFIED, 0),
        };
        let bits = address.to_bits();
        self.put(at(slot, OWNER), (bits >> 64) as u64);
        self.put(at(slot, OWNER + 1), bits as u64);
        self.put(at(slot, OWNER_PRIORITY), u64::from(priority));
        for (n, (_, counter)) in told.counters.iter().enumerate() {
            self.put(at(slot, COUNTERS_AT + n), counter);
        }
        self.put(at(slot, STATE), told.state as u64);
    }

    /// The proxy: what became of an instance.
    pub fn told(&self, slot: usize) -> SlotReport {
        let number = |word| self.get(at(slot, word));
        let state = usize::try_from(number(STATE)).unwrap_or(usize::MAX);
        let bits = (u128::from(number(OWNER)) << 64) | u128::from(number(OWNER + 1));
        let owner = Ipv6Addr::from_bits(bits);
        let byte = |word| u8::try_from(number(word)).unwrap_or(u8::MAX);
        SlotReport {
            state: SLOT_STATES.get(state).copied().unwrap_or_default(),
            since_ms: number(SINCE),
            transitions: number(TRANSITIONS),
            priority: byte(PRIORITY),
            owner: (!owner.is_unspecified()).then(|| (owner.to_canonical(), byte(OWNER_PRIORITY))),
            counters: Counters::from_fn(|n| number(COUNTERS_AT + n)),
        }
    }

    /// Forgets all of a slot but its name: it is another instance's now.
    pub(super) fn clear(&self, slot: usize) {
        for word in BAND..COUNTERS_AT + COUNTERS_LEN {
            self.put(at(slot, word), 0);
        }
        self.put(at(slot, UNTESTED), 0);
        self.put(at(slot, BAND), Band::None.index() as u64);
    }
}
