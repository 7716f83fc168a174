//! Reads and writes one slot of the memory shared by the proxy and the process that moves virtual
//! addresses: what each side reports about one virtual router.

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

/// State of a virtual router, as reported by the process that moves virtual addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SlotState {
    /// Not started, or not reported.
    #[default]
    Init,
    Backup,
    Master,
    /// The instance cannot take part.
    Fault,
}

/// All states, each at the index of its number.
pub const SLOT_STATES: [SlotState; 4] = [
    SlotState::Init,
    SlotState::Backup,
    SlotState::Master,
    SlotState::Fault,
];

impl SlotState {
    /// Returns the name for display and for metrics.
    pub fn name(self) -> &'static str {
        match self {
            SlotState::Init => "init",
            SlotState::Backup => "backup",
            SlotState::Master => "master",
            SlotState::Fault => "fault",
        }
    }
}

/// Word that is 1 until the first health checks have ended, at the end of the slot. Older versions
/// of the process that moves addresses ignore it.
const UNTESTED: usize = SLOT_WORDS - 1;

const _: () = assert!(COUNTERS_AT + COUNTERS_LEN <= UNTESTED);

/// Report of the process that moves virtual addresses about a virtual router.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SlotReport {
    pub state: SlotState,
    /// Time of the last transition, milliseconds of CLOCK_BOOTTIME.
    pub since_ms: u64,
    pub transitions: u64,
    /// Priority that the virtual router announces, or would announce as master.
    pub priority: u8,
    /// Sender and priority of the last advert.
    pub owner: Option<(IpAddr, u8)>,
    pub counters: Counters,
}

/// Returns the index of a slot's word; beyond the end of the memory if there is no such slot.
pub(super) fn at(slot: usize, word: usize) -> usize {
    if slot < SLOTS_MAX {
        SLOTS_AT + slot * SLOT_WORDS + word
    } else {
        usize::MAX
    }
}

impl Vitals<'_> {
    /// Returns the band that the proxy wrote last, even if the proxy has ended since.
    pub fn last_written_band(&self, slot: usize) -> Band {
        if slot < SLOTS_MAX {
            Band::of(self.get(at(slot, BAND)))
        } else {
            Band::None
        }
    }

    /// Proxy: sets the availability of an instance's frontends.
    pub fn set_band(&self, owner: u64, slot: usize, band: Band) {
        if self.is_owner(owner) {
            self.put(at(slot, BAND), band.index() as u64);
        }
    }

    /// Proxy: sets the band of a virtual router, and whether the first health checks of its
    /// servers are still pending. A reader that reads [`Vitals::is_untested`] both before and
    /// after the band never mistakes a band from before the end of these checks for a later one.
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

    /// Address role: returns whether servers of a virtual router count as up only because their
    /// first health checks are still pending.
    pub fn is_untested(&self, slot: usize) -> bool {
        slot < SLOTS_MAX && self.get(at(slot, UNTESTED)) == 1
    }

    /// Proxy: sets the number of requests in progress at the addresses of an instance.
    pub fn set_requests_in_progress(&self, owner: u64, slot: usize, requests: u64) {
        if self.is_owner(owner) {
            self.put(at(slot, UNDER_WAY), requests.saturating_add(1));
        }
    }

    /// Address role: returns the number of requests in progress; None if it is unknown.
    pub fn requests_in_progress(&self, slot: usize) -> Option<u64> {
        self.get(at(slot, UNDER_WAY)).checked_sub(1)
    }

    /// Address role: announces that these addresses will be released as soon as no request is in
    /// progress, at that time at the latest. None: they are not released.
    pub fn set_drain(&self, slot: usize, until_ms: Option<u64>) {
        if until_ms.is_some() {
            // The number of requests that was counted before this announcement is outdated.
            self.put(at(slot, UNDER_WAY), 0);
        }
        self.put(at(slot, DRAIN), until_ms.map_or(0, |until| until.max(1)));
    }

    /// Proxy: returns the latest time at which these addresses will be released; None: they are
    /// not released.
    pub fn drain(&self, slot: usize) -> Option<u64> {
        Some(self.get(at(slot, DRAIN))).filter(|until| *until != 0)
    }

    /// Address role: reports the state of an instance.
    pub fn write_slot_report(&self, slot: usize, told: &SlotReport) {
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

    /// Proxy: returns the reported state of an instance.
    pub fn read_slot_report(&self, slot: usize) -> SlotReport {
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

    /// Clears a slot except for its name, because another virtual router gets it.
    pub(super) fn clear(&self, slot: usize) {
        for word in BAND..COUNTERS_AT + COUNTERS_LEN {
            self.put(at(slot, word), 0);
        }
        self.put(at(slot, UNTESTED), 0);
        self.put(at(slot, BAND), Band::None.index() as u64);
    }
}
