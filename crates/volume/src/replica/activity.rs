//! Keeps the activity log: the extents in which both copies may differ after a crash. An extent is
//! stored as hot before its first write. It leaves the log when both disks have flushed all its
//! writes, or with its dirty bits when the other copy is away.

use super::geometry::Extent;

/// State of an extent in the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum ExtentState {
    /// Waits for the store with this number; no write is issued before.
    Storing(u64),
    Hot,
    /// Leaves the log: waits for the last requests and a flush; no further request starts.
    Leaving,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    extent: Extent,
    state: ExtentState,
    pins: u32,
    /// Completion number of the extent's last write. Completion numbers count the completed writes.
    written: u64,
    used: u64,
}

/// Result of requesting extents for a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admission {
    Hot,
    /// The request may start when the store with this number is complete.
    After(u64),
    Full,
}

/// Activity log in memory; the extents are in ascending order.
#[derive(Clone, Debug)]
pub struct ActivityLog {
    capacity: usize,
    entries: Vec<Entry>,
    uses: u64,
    completed: u64,
    /// Completion number up to which both disks have flushed.
    stable: u64,
}

impl ActivityLog {
    /// Creates a log of these extents; none of their writes is known to be stable.
    pub fn new(capacity: usize, hot: &[Extent]) -> ActivityLog {
        let entry = |extent: &Extent| Entry {
            extent: *extent,
            state: ExtentState::Hot,
            pins: 0,
            written: 1,
            used: 0,
        };
        let mut entries: Vec<Entry> = hot.iter().map(entry).collect();
        entries.sort_by_key(|entry| entry.extent);
        ActivityLog {
            capacity,
            entries,
            uses: 0,
            completed: 1,
            stable: 0,
        }
    }

    pub fn extents(&self) -> impl Iterator<Item = Extent> {
        self.entries.iter().map(|entry| entry.extent)
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Pins extents for a request if all of them are hot; the frequent case.
    pub fn pin_hot(&mut self, extents: impl Iterator<Item = Extent> + Clone) -> bool {
        self.uses += 1;
        if !extents.clone().all(|extent| self.is_hot(extent)) {
            return false;
        }
        for extent in extents {
            self.pin(extent);
        }
        true
    }

    /// Pins extents for a request, and adds missing ones to the log, which the store `number` makes
    /// durable. Appends evicted extents to `left`. `any` permits eviction of extents with unstable
    /// writes, because the other copy is lost.
    pub fn admit(
        &mut self,
        extents: impl Iterator<Item = Extent> + Clone,
        number: u64,
        any: bool,
        left: &mut Vec<Extent>,
    ) -> Admission {
        let missing = |log: &ActivityLog| {
            let absent = |extent: &Extent| log.place(*extent).is_err();
            extents.clone().filter(absent).count()
        };
        let is_leaving = |entry: &Entry| entry.state == ExtentState::Leaving;
        let needed = missing(self);
        let free = self.capacity - self.entries.len();
        if needed > free {
            self.choose(needed - free, extents.clone());
            self.leave(any, left);
        }
        let leaves = extents.clone().any(|extent| {
            let place = self.place(extent);
            place.is_ok_and(|place| is_leaving(&self.entries[place]))
        });
        if leaves || missing(self) > self.capacity - self.entries.len() {
            return Admission::Full;
        }
        let mut after = None;
        for extent in extents {
            if let Err(place) = self.place(extent) {
                let entry = Entry {
                    extent,
                    state: ExtentState::Storing(number),
                    pins: 0,
                    written: 0,
                    used: self.uses,
                };
                self.entries.insert(place, entry);
            }
            if let Some(ExtentState::Storing(number)) = self.pin(extent) {
                after = after.max(Some(number));
            }
        }
        after.map_or(Admission::Hot, Admission::After)
    }

    /// Evicts the extents that wait to leave the log and can do so now. Returns whether one of them
    /// needs a flush first.
    pub fn leave(&mut self, any: bool, left: &mut Vec<Extent>) -> bool {
        let stable = self.stable;
        let mut needs_flush = false;
        self.entries.retain(|entry| {
            if entry.state != ExtentState::Leaving || entry.pins > 0 {
                return true;
            }
            if any || entry.written <= stable {
                left.push(entry.extent);
                return false;
            }
            needs_flush = true;
            true
        });
        needs_flush
    }

    pub fn stored(&mut self, number: u64) {
        for entry in &mut self.entries {
            if matches!(entry.state, ExtentState::Storing(after) if after <= number) {
                entry.state = ExtentState::Hot;
            }
        }
    }

    pub fn complete(&mut self, extents: impl Iterator<Item = Extent>) {
        self.completed += 1;
        for extent in extents {
            if let Ok(place) = self.place(extent) {
                let entry = &mut self.entries[place];
                entry.pins = entry.pins.saturating_sub(1);
                entry.written = self.completed;
            }
        }
    }

    pub fn complete_all(&mut self) {
        self.completed += 1;
        for entry in &mut self.entries {
            if entry.pins > 0 {
                entry.pins = 0;
                entry.written = self.completed;
            }
            if entry.state == ExtentState::Leaving {
                entry.state = ExtentState::Hot;
            }
        }
    }

    /// Returns the number of the last completed write, all of which a flush that starts now covers.
    pub fn completed(&self) -> u64 {
        self.completed
    }

    pub fn flushed(&mut self, completed: u64) {
        self.stable = self.stable.max(completed);
    }

    pub fn unstable(&self) -> impl Iterator<Item = Extent> {
        let unstable = |entry: &&Entry| entry.pins > 0 || entry.written > self.stable;
        let entries = self.entries.iter().filter(unstable);
        entries.map(|entry| entry.extent)
    }

    /// Removes the extents from `end` on, because the volume now ends there.
    pub fn truncate(&mut self, end: u32) {
        self.entries.retain(|entry| entry.extent.0 < end);
    }

    pub fn clear(&mut self) {
        self.entries.clear();
    }

    fn place(&self, extent: Extent) -> Result<usize, usize> {
        self.entries
            .binary_search_by_key(&extent, |entry| entry.extent)
    }

    fn is_hot(&self, extent: Extent) -> bool {
        self.place(extent)
            .is_ok_and(|place| self.entries[place].state == ExtentState::Hot)
    }

    fn pin(&mut self, extent: Extent) -> Option<ExtentState> {
        let place = self.place(extent).ok()?;
        let entry = &mut self.entries[place];
        entry.pins += 1;
        entry.used = self.uses;
        Some(entry.state)
    }

    fn choose(&mut self, count: usize, kept: impl Iterator<Item = Extent> + Clone) {
        let is_leaving = |entry: &&Entry| entry.state == ExtentState::Leaving;
        let leaving = self.entries.iter().filter(is_leaving).count();
        // Chooses several at once, because one flush and one store serve them all.
        let wanted = count.max(self.capacity / 16);
        for _ in leaving..wanted {
            let entries = self.entries.iter_mut();
            let oldest = entries
                .filter(|entry| entry.state == ExtentState::Hot)
                .filter(|entry| kept.clone().all(|extent| extent != entry.extent))
                .min_by_key(|entry| entry.used);
            match oldest {
                Some(entry) => entry.state = ExtentState::Leaving,
                None => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(extent: u32) -> impl Iterator<Item = Extent> + Clone {
        [Extent(extent)].into_iter()
    }

    #[test]
    fn an_extent_leaves_the_log_when_its_writes_are_stable() {
        let mut log = ActivityLog::new(2, &[]);
        let mut left = Vec::new();
        assert_eq!(log.admit(one(1), 1, false, &mut left), Admission::After(1));
        assert!(!log.pin_hot(one(1)), "not stored yet");
        log.stored(1);
        assert!(log.pin_hot(one(1)));
        assert_eq!(log.admit(one(2), 2, false, &mut left), Admission::After(2));
        log.stored(2);
        assert_eq!(log.admit(one(3), 3, false, &mut left), Admission::Full);
        assert!(!log.pin_hot(one(1)), "it is leaving");
        log.complete(one(1));
        assert!(
            !log.leave(false, &mut left),
            "one request is still under way"
        );
        log.complete(one(1));
        assert!(log.leave(false, &mut left), "it needs a flush");
        let covered = log.completed();
        log.flushed(covered);
        assert!(!log.leave(false, &mut left));
        assert_eq!(left, [Extent(1)]);
        assert_eq!(log.admit(one(3), 3, false, &mut left), Admission::After(3));
        assert_eq!(log.extents().collect::<Vec<_>>(), [Extent(2), Extent(3)]);
    }

    #[test]
    fn without_the_other_copy_an_extent_leaves_the_log_at_once() {
        let mut log = ActivityLog::new(2, &[Extent(4), Extent(1)]);
        assert_eq!(log.unstable().count(), 2);
        let mut left = Vec::new();
        assert!(log.pin_hot(one(4)));
        assert_eq!(log.admit(one(3), 3, true, &mut left), Admission::After(3));
        assert_eq!(left, [Extent(1)]);
    }
}
