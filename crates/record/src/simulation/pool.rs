//! Implements a small application of the store: tenants that get one of a few places, in up to
//! three rooms. A tenant that has a place which serves another room, too, shares it there.

use crate::directory::{Directory, Proposal, RecordOf, StoreRefusal, rank};
use crate::record::{InvalidMessage, Key, Record, Value};
use crate::table::{Bounds, Entry, Presence, Retention, Table};
use crate::version::Origin;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

pub(crate) const PLACES: u8 = 4;
pub(crate) const ROOMS: u8 = 3;
pub(crate) const RETENTION: Retention = Retention {
    pending_ms: 10_000,
    keep_ms: 60_000,
    unproved_ms: 20_000,
};
/// Time after which the tenants of a place that is down may leave.
pub(crate) const LOST_MS: u64 = 30_000;

/// Key of the simulated application: a tenant and a room, for which the store chooses a place.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Lodging(pub(crate) u8, pub(crate) u8);

impl Key for Lodging {
    type Group = u8;

    fn group(&self) -> u8 {
        self.0
    }

    fn first_of(tenant: u8) -> Lodging {
        Lodging(tenant, 0)
    }
}

#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Seat(pub(crate) u8);

impl Value for Seat {
    type Place = u8;

    fn of_place(place: &u8) -> Seat {
        Seat(*place)
    }

    fn place(&self) -> &u8 {
        &self.0
    }

    fn complete(&mut self, _other: &Seat) {}

    fn check(&self) -> Result<(), InvalidMessage> {
        if self.0 < PLACES {
            Ok(())
        } else {
            Err(InvalidMessage::Name)
        }
    }
}

/// Order of a simulated operator, as a bit mask: the places that get nobody new. Of several orders
/// the greatest one wins.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct DrainOrder {
    pub(crate) clock: u64,
    pub(crate) origin: Origin,
    pub(crate) places: u8,
}

#[derive(Clone, PartialEq, Debug)]
pub(crate) enum PoolRefusal {
    NonePlace,
    Store(StoreRefusal),
}

impl From<StoreRefusal> for PoolRefusal {
    fn from(refusal: StoreRefusal) -> PoolRefusal {
        PoolRefusal::Store(refusal)
    }
}

pub(crate) fn serves(room: u8, place: u8) -> bool {
    match room {
        0 => true,
        1 => place < 2,
        _ => (1..3).contains(&place),
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Pool {
    table: Table<Lodging, Seat>,
    pub(crate) down: BTreeMap<u8, u64>,
    pub(crate) order: DrainOrder,
    claimed: BTreeMap<u8, u32>,
    nodes: BTreeSet<String>,
}

impl Pool {
    pub(crate) fn new(origin: Origin) -> Pool {
        let bounds = Bounds {
            records: 1_000,
            unproved: 500,
        };
        let mut table = Table::new(origin, true, bounds);
        table.set_retention(RETENTION);
        table.watch();
        Pool {
            table,
            down: BTreeMap::new(),
            order: DrainOrder::default(),
            claimed: BTreeMap::new(),
            nodes: BTreeSet::new(),
        }
    }

    pub(crate) fn drain(&mut self, places: u8) {
        self.order = DrainOrder {
            clock: self.table.tick_clock().max(self.order.clock + 1),
            origin: self.table.origin(),
            places,
        };
    }

    fn choose(&self, room: u8) -> Result<u8, PoolRefusal> {
        let load = |place: u8| {
            let here = self.table.iter().filter(|(_, entry)| entry.0 == place);
            let claimed = self.claimed.get(&place).copied().unwrap_or_default();
            // Lets the nodes prefer different places, so that two decisions at the same time
            // conflict.
            let turn = self.table.origin().0.wrapping_add(place.into()) % u64::from(PLACES);
            (here.count() + claimed as usize, turn)
        };
        let is_open = |place: &u8| {
            let is_drained = self.order.places & (1 << place) > 0;
            serves(room, *place) && !self.down.contains_key(place) && !is_drained
        };
        let best = (0..PLACES).filter(is_open).min_by_key(|place| load(*place));
        best.ok_or(PoolRefusal::NonePlace)
    }
}

impl Directory for Pool {
    type Key = Lodging;
    type Value = Seat;
    type Request = Lodging;
    type Decision = u8;
    type Reason = ();
    type Refusal = PoolRefusal;
    type Opening = DrainOrder;

    fn table(&self) -> &Table<Lodging, Seat> {
        &self.table
    }

    fn table_mut(&mut self) -> &mut Table<Lodging, Seat> {
        &mut self.table
    }

    fn key_of(request: &Lodging) -> Lodging {
        *request
    }

    fn complete(_request: &Lodging, _value: &mut Seat) -> bool {
        false
    }

    fn is_outdated(&self, _key: Lodging, entry: &Entry<Seat>, now_ms: u64) -> bool {
        let down_ms = self.down.get(&entry.0);
        let down_ms = down_ms.map(|since_ms| now_ms.saturating_sub(*since_ms));
        match entry.presence() {
            Presence::Connected(_) => false,
            Presence::Pending => down_ms.is_some(),
            Presence::Left => down_ms.is_some_and(|down_ms| down_ms >= LOST_MS),
        }
    }

    fn elsewhere(&self, key: Lodging, now_ms: u64) -> Option<&Entry<Seat>> {
        let all = self.table.of_group(key.0).filter(|(other, entry)| {
            *other != key && serves(key.1, entry.0) && !self.is_outdated(*other, entry, now_ms)
        });
        all.map(|(_, entry)| entry).max_by_key(|entry| {
            let version = entry.version;
            (
                rank(entry.presence()),
                Reverse((version.clock, version.origin)),
            )
        })
    }

    fn propose(&mut self, key: &Lodging, now_ms: u64) -> Result<Proposal<Pool>, PoolRefusal> {
        self.expire(now_ms);
        let over = self.table.get(*key).map(|entry| entry.version);
        let (place, used, left_ms) = match self.elsewhere(*key, now_ms) {
            Some(entry) => (entry.0, entry.version.used, RETENTION.keep_ms),
            None => (self.choose(key.1)?, false, RETENTION.pending_ms),
        };
        let is_proved = self.at(key.0, &place).is_some_and(|entry| entry.is_proved);
        let record = Record {
            key: *key,
            value: Seat(place),
            version: self.table.next_version(over, used),
            age_ms: 0,
            left_ms,
            holds: 0,
            is_proved,
        };
        let reason = ();
        Ok(Proposal {
            record,
            reason,
            over,
        })
    }

    fn propose_instead(
        &mut self,
        record: &RecordOf<Pool>,
        now_ms: u64,
    ) -> Result<Proposal<Pool>, PoolRefusal> {
        self.propose(&record.key, now_ms)
    }

    fn decision(&self, key: Lodging, _reason: Option<&()>) -> Option<u8> {
        self.table.get(key).map(|entry| entry.0)
    }

    fn has_place(&self, place: &u8) -> bool {
        *place < PLACES
    }

    fn is_place_up(&self, place: &u8) -> bool {
        !self.down.contains_key(place)
    }

    fn admit(&mut self, record: &RecordOf<Pool>) -> bool {
        self.has_place(&record.0)
    }

    fn count_claim(&mut self, place: &u8, begins: bool) {
        let claimed = self.claimed.entry(*place).or_default();
        *claimed = if begins { *claimed + 1 } else { *claimed - 1 };
    }

    fn opening(&self) -> DrainOrder {
        self.order
    }

    fn open(&mut self, node: &str, order: DrainOrder) -> bool {
        self.nodes.insert(node.to_owned());
        let is_newer = self.order < order;
        self.order = self.order.max(order);
        is_newer
    }

    fn forget_node(&mut self, node: &str) {
        self.nodes.remove(node);
    }

    fn has_node(&self, node: &str) -> bool {
        self.nodes.contains(node)
    }
}
