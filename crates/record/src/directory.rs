//! Defines the rules of an application over a table, and merges the records of other nodes. The
//! merge is commutative, associative and idempotent: the greater version of a record wins.

use crate::defect::Defect;
use crate::message::Message;
use crate::record::Record;
use crate::record::{Key, Value};
use crate::table::{Entry, Presence, Table};
use crate::version::{Origin, Version};
use std::fmt::Debug;

pub type TableOf<D> = Table<<D as Directory>::Key, <D as Directory>::Value>;
pub type EntryOf<D> = Entry<<D as Directory>::Value>;
pub type RecordOf<D> = Record<<D as Directory>::Key, <D as Directory>::Value>;
pub type GroupOf<D> = <<D as Directory>::Key as Key>::Group;
pub type PlaceOf<D> = <<D as Directory>::Value as Value>::Place;
pub type MessageOf<D> =
    Message<<D as Directory>::Key, <D as Directory>::Value, <D as Directory>::Opening>;

/// Reason of the store why a key gets no value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StoreRefusal {
    /// The table is full, and each record in it is held.
    Full,
    NoPlace,
    Busy,
}

/// A decision that other nodes have not confirmed yet.
#[derive(Debug)]
pub struct Proposal<D: Directory> {
    pub record: RecordOf<D>,
    pub reason: D::Reason,
    /// Version of the record that the proposal replaces.
    pub over: Option<Version>,
}

impl<D: Directory> Clone for Proposal<D> {
    fn clone(&self) -> Self {
        Proposal {
            record: self.record.clone(),
            reason: self.reason.clone(),
            over: self.over,
        }
    }
}

/// Rules of an application over a [`Table`]. The required methods are its decisions; the provided
/// ones are the store, and the same for every application.
pub trait Directory: Sized + Debug {
    type Key: Key;
    type Value: Value;
    type Request: Clone + Debug;
    type Decision: Clone + Debug;
    type Reason: Clone + Debug;
    type Refusal: From<StoreRefusal> + Clone + PartialEq + Debug;
    /// Facts about a node that decisions depend on, such as the places of its configuration.
    type Opening: Clone + Debug;

    fn table(&self) -> &TableOf<Self>;
    fn table_mut(&mut self) -> &mut TableOf<Self>;

    fn key_of(request: &Self::Request) -> Self::Key;

    /// Adds details of a request to the value of its key. Returns whether some were missing.
    fn complete(request: &Self::Request, value: &mut Self::Value) -> bool;

    /// Returns whether a key has to get another value than that of its record.
    fn is_outdated(&self, key: Self::Key, entry: &EntryOf<Self>, now_ms: u64) -> bool;

    /// Returns the record of another key of the group whose value this key has to share.
    fn elsewhere(&self, key: Self::Key, now_ms: u64) -> Option<&EntryOf<Self>>;

    /// Proposes a value for a key that is not known, or has to get another one. Nothing changes but
    /// the logical clock.
    ///
    /// # Errors
    /// There is no value for the key.
    fn propose(
        &mut self,
        request: &Self::Request,
        now_ms: u64,
    ) -> Result<Proposal<Self>, Self::Refusal>;

    /// Proposes a value in place of the one that another node has proposed.
    ///
    /// # Errors
    /// There is no value for the key.
    fn propose_instead(
        &mut self,
        record: &RecordOf<Self>,
        now_ms: u64,
    ) -> Result<Proposal<Self>, Self::Refusal>;

    /// Returns the decision for a known key, regardless of the state of its place. `reason`: the
    /// reason of a decision that was just made; None for an earlier one.
    fn decision(&self, key: Self::Key, reason: Option<&Self::Reason>) -> Option<Self::Decision>;

    /// Returns whether a place exists at this node, so that values at it may be held.
    fn has_place(&self, place: &PlaceOf<Self>) -> bool;

    fn is_place_up(&self, place: &PlaceOf<Self>) -> bool;

    /// Returns whether the place of a record exists here. The application may first add a place
    /// that it did not know.
    fn admit(&mut self, record: &RecordOf<Self>) -> bool;

    /// Counts a pending claim of this node on a place, or removes it, so that the next proposal
    /// considers its load.
    fn count_claim(&mut self, place: &PlaceOf<Self>, begins: bool);

    fn opening(&self) -> Self::Opening;

    /// Applies the opening of a node. Returns whether third nodes have to receive it, too.
    fn open(&mut self, node: &str, opening: Self::Opening) -> bool;

    fn forget_node(&mut self, node: &str);

    fn has_node(&self, node: &str) -> bool;

    /// Adds to a record what other nodes may not know about its value.
    fn describe(&self, _record: &mut RecordOf<Self>) {}

    /// Called after expired records were removed.
    fn has_expired(&mut self) {}

    /// Removes a record so that it can be changed. An application overrides this to count records
    /// by place.
    fn leave(&mut self, key: Self::Key) -> Option<EntryOf<Self>> {
        self.table_mut().remove(key)
    }

    /// Inserts a record. An application overrides this to count records by place.
    fn enter(&mut self, key: Self::Key, entry: EntryOf<Self>, now_ms: u64) {
        self.table_mut().insert(key, entry, now_ms);
    }

    /// Decides a request without other nodes: the known value, or else a proposal.
    ///
    /// # Errors
    /// There is no value for the key.
    fn decide_alone(
        &mut self,
        request: &Self::Request,
        now_ms: u64,
    ) -> Result<Self::Decision, Self::Refusal> {
        if let Some(decision) = self.known(request, now_ms) {
            return Ok(decision);
        }
        let proposal = self.propose(request, now_ms)?;
        self.accept(&proposal, now_ms)
    }

    /// Makes a proposal of this node the valid decision.
    ///
    /// # Errors
    /// The table is full, or the place no longer exists.
    fn accept(
        &mut self,
        proposal: &Proposal<Self>,
        now_ms: u64,
    ) -> Result<Self::Decision, Self::Refusal> {
        self.adopt(&proposal.record, None, now_ms)?;
        let decision = self.decision(proposal.record.key, Some(&proposal.reason));
        decision.ok_or_else(|| StoreRefusal::NoPlace.into())
    }

    /// Returns the value of a known key that keeps it. A pending record gets its full time again.
    fn known(&mut self, request: &Self::Request, now_ms: u64) -> Option<Self::Decision> {
        self.expire(now_ms);
        let key = Self::key_of(request);
        let entry = self.table().get(key)?;
        if self.is_outdated(key, entry, now_ms) {
            return None;
        }
        let decision = self.decision(key, None)?;
        let pending_ms = self.table().retention().pending_ms;
        if let Some(mut entry) = self.leave(key) {
            let is_pending = entry.presence() == Presence::Pending;
            if is_pending {
                entry.until_ms = Some(now_ms.saturating_add(pending_ms));
            }
            let is_news = Self::complete(request, &mut entry.value) || is_pending;
            self.enter(key, entry, now_ms);
            if is_news {
                self.table_mut().touch(key, None);
            }
        }
        Some(decision)
    }

    /// Counts a new hold of a key's value through this node. A record that was forgotten meanwhile
    /// is added again.
    fn connected(&mut self, key: Self::Key, place: &PlaceOf<Self>, now_ms: u64) {
        let group = key.group();
        self.table_mut().set_hold(group, place, true);
        if !self.has_place(place) {
            return;
        }
        let before = self.leave(key);
        let over = before.as_ref().map(|entry| entry.version);
        let entry = match before.filter(|entry| entry.value.place() == place) {
            Some(entry) => entry,
            None if self.make_room().is_err() => return,
            None => Entry {
                value: Self::Value::of_place(place),
                version: self.table_mut().next_version(over, true),
                since_ms: now_ms,
                until_ms: None,
                far: Vec::new(),
                holds: 0,
                is_proved: false,
            },
        };
        self.enter(key, entry, now_ms);
        // Marks the place as used, because other keys of the group may share the value.
        self.change_at(group, place, now_ms, |entry| entry.version.used = true);
    }

    /// Removes a hold of a value through this node; the value stays assigned to its key until the
    /// record expires.
    fn ended(&mut self, group: GroupOf<Self>, place: &PlaceOf<Self>, now_ms: u64) {
        self.table_mut().set_hold(group, place, false);
        if self.table().has_defect(Defect::ForgetsAtEnd) {
            return self.forget_at(group, place);
        }
        self.change_at(group, place, now_ms, |_| ());
    }

    fn proved(&mut self, group: GroupOf<Self>, place: &PlaceOf<Self>, now_ms: u64) {
        let mut own = self.table().of_group(group);
        if own.any(|(_, entry)| entry.value.place() == place && !entry.is_proved) {
            drop(own);
            self.change_at(group, place, now_ms, |entry| entry.is_proved = true);
        }
    }

    fn change_at(
        &mut self,
        group: GroupOf<Self>,
        place: &PlaceOf<Self>,
        now_ms: u64,
        change: impl Fn(&mut EntryOf<Self>),
    ) {
        for key in self.table().keys_at(group, place) {
            if let Some(mut entry) = self.leave(key) {
                change(&mut entry);
                self.enter(key, entry, now_ms);
                self.table_mut().touch(key, None);
            }
        }
    }

    fn forget_at(&mut self, group: GroupOf<Self>, place: &PlaceOf<Self>) {
        for key in self.table().keys_at(group, place) {
            self.leave(key);
        }
    }

    fn expire(&mut self, now_ms: u64) {
        while let Some(key) = self.table().next_expired(now_ms) {
            self.leave(key);
        }
        self.has_expired();
    }

    /// Makes room for one more record.
    ///
    /// # Errors
    /// Each record is held.
    fn make_room(&mut self) -> Result<(), StoreRefusal> {
        while let Some(key) = self
            .table()
            .next_evicted()
            .map_err(|()| StoreRefusal::Full)?
        {
            self.leave(key);
        }
        Ok(())
    }

    /// Returns the record of a group with a place. Of several keys that share it, the one with the
    /// most certain use counts.
    fn at(&self, group: GroupOf<Self>, place: &PlaceOf<Self>) -> Option<&EntryOf<Self>> {
        let own = self.table().of_group(group).map(|(_, entry)| entry);
        let at_place = own.filter(|entry| entry.value.place() == place);
        at_place.max_by_key(|entry| rank(entry.presence()))
    }

    fn record(&self, key: Self::Key, now_ms: u64) -> Option<RecordOf<Self>> {
        let mut record = self.table().record(key, now_ms)?;
        self.describe(&mut record);
        Some(record)
    }

    /// Restores a record that the previous process of this node has saved. Nothing holds it now.
    fn restore(&mut self, key: Self::Key, entry: EntryOf<Self>, now_ms: u64) {
        self.table_mut().observe(entry.version);
        let table = self.table();
        let has_room = !table.is_full() && table.get(key).is_none();
        if has_room && self.has_place(entry.value.place()) {
            self.enter(key, entry, now_ms);
        }
    }

    fn merge(&mut self, record: &RecordOf<Self>, from: Origin, now_ms: u64) {
        self.table_mut().observe(record.version);
        let table = self.table();
        let yields = match table.get(record.key) {
            Some(entry) => entry.yields_to(record) || table.has_defect(Defect::LastMergeHolds),
            None => true,
        };
        if yields {
            // Ignores an error: there is no room or no such place, and the other node still has the
            // record.
            let _ = self.adopt(record, Some(from), now_ms);
        } else {
            self.follow(record, from, now_ms);
        }
    }

    /// Updates the holds through another node, whose record does not win.
    fn follow(&mut self, record: &RecordOf<Self>, from: Origin, now_ms: u64) {
        let Some(mut entry) = self.leave(record.key) else {
            return;
        };
        let is_same = entry.value.place() == record.value.place();
        entry.set_far(from, if is_same { record.holds } else { 0 });
        entry.value.complete(&record.value);
        if is_same {
            entry.is_proved |= record.is_proved;
            let until_ms = now_ms.saturating_add(record.left_ms);
            entry.until_ms = entry.until_ms.map(|own_ms| own_ms.max(until_ms));
        }
        self.enter(record.key, entry, now_ms);
    }

    /// Makes a record the valid one.
    ///
    /// # Errors
    /// The table is full, or the place does not exist here: the sender has announced it, so a
    /// change of the configuration has removed it, and will reach the sender.
    fn adopt(
        &mut self,
        record: &RecordOf<Self>,
        from: Option<Origin>,
        now_ms: u64,
    ) -> Result<(), StoreRefusal> {
        self.table_mut().observe(record.version);
        if !self.admit(record) {
            return Err(StoreRefusal::NoPlace);
        }
        let (key, place) = (record.key, record.value.place());
        let before = self.leave(key);
        self.make_room()?;
        // Keeps the holds of another key of the group that shares the value.
        let same = before
            .as_ref()
            .filter(|before| before.value.place() == place)
            .or_else(|| self.at(key.group(), place));
        let mut entry = Entry {
            value: record.value.clone(),
            version: record.version,
            since_ms: now_ms.saturating_sub(record.age_ms),
            until_ms: Some(now_ms.saturating_add(record.left_ms)),
            far: same.map(|same| same.far.clone()).unwrap_or_default(),
            holds: 0,
            is_proved: record.is_proved || same.is_some_and(|same| same.is_proved),
        };
        if let Some(from) = from {
            entry.set_far(from, record.holds);
        }
        if let Some(before) = &before {
            entry.value.complete(&before.value);
        }
        let is_held = self.table().holds(key.group(), place) > 0;
        entry.version.used |= is_held;
        self.enter(key, entry, now_ms);
        // Sends the record to the sender, too, if this node has holds, which are news for it.
        self.table_mut().touch(key, from.filter(|_| !is_held));
        Ok(())
    }

    /// Judges the proposal of another node. Returns the record that is valid then: the proposal,
    /// unless this node knows a reason against it. None if this node has no room for the record or
    /// not its place. `over`: version of the record that the proposal replaces. `leaves`: true if
    /// this node is replacing that record, too.
    fn judge(
        &mut self,
        record: &RecordOf<Self>,
        (over, leaves): (Option<Version>, bool),
        from: Origin,
        now_ms: u64,
    ) -> Option<RecordOf<Self>> {
        self.expire(now_ms);
        let key = record.key;
        if let Some(entry) = self.table().get(key) {
            let is_news = Some(entry.version) > over;
            let stays =
                Some(entry.version) == over && !leaves && !self.is_outdated(key, entry, now_ms);
            if is_news || stays {
                return self.record(key, now_ms);
            }
        }
        let is_shared = |(other, entry): (Self::Key, &EntryOf<Self>)| {
            let is_same = entry.value.place() == record.value.place();
            is_same && !self.is_outdated(other, entry, now_ms)
        };
        let is_shared = self.table().of_group(key.group()).any(is_shared);
        if !is_shared && self.elsewhere(key, now_ms).is_some() {
            // Proposes a value instead: the other node does not know this one, or considers its
            // place unusable.
            let proposal = self.propose_instead(record, now_ms).ok()?;
            self.adopt(&proposal.record, None, now_ms).ok()?;
            return self.record(key, now_ms);
        }
        self.adopt(record, Some(from), now_ms).ok()?;
        self.record(key, now_ms)
    }

    /// Raises the version of a record above another one, so that it wins on all nodes.
    fn raise(&mut self, key: Self::Key, above: Version, now_ms: u64) {
        let Some(mut entry) = self.leave(key) else {
            return;
        };
        if entry.version < above {
            let used = entry.version.used;
            entry.version = self.table_mut().next_version(Some(above), used);
        }
        self.enter(key, entry, now_ms);
        self.table_mut().touch(key, None);
    }

    /// Removes the holds through a node that counts as gone, whose clients count as gone too.
    fn lost(&mut self, origin: Origin, now_ms: u64) {
        if self.table().has_defect(Defect::GoneStaysHeld) {
            return;
        }
        let is_held = |entry: &EntryOf<Self>| entry.far.iter().any(|(one, _)| *one == origin);
        let held = self.table().iter().filter(|(_, entry)| is_held(entry));
        let held: Vec<_> = held.map(|(key, _)| key).collect();
        for key in held {
            if let Some(mut entry) = self.leave(key) {
                entry.set_far(origin, 0);
                self.enter(key, entry, now_ms);
            }
        }
    }
}

/// Ranks a presence by how certain the use of the value is.
pub(crate) fn rank(presence: Presence) -> u8 {
    match presence {
        Presence::Pending => 0,
        Presence::Left => 1,
        Presence::Connected(_) => 2,
    }
}
