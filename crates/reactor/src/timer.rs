//! Implements a hierarchical timer wheel of milliseconds with one deadline for each task.
//!
//! The wheel owns no clock and wakes no task. When a deadline moves later or is cleared, only a
//! number changes; the entry is examined again when its slot is reached, and then moves. When a
//! deadline moves earlier, the entry moves at once. A deadline never fires early, and at most one
//! tick late.

use super::clock::Instant;

const NANOS_PER_TICK: u64 = 1_000_000;
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
/// 2^48 ticks: more than 2^64 nanoseconds, so every deadline has a slot.
const LEVELS: usize = 8;
const NOBODY: u32 = u32::MAX;
const NEVER: u64 = u64::MAX;
/// `Entry::place` of an entry that is in no slot.
const NOWHERE: u16 = u16::MAX;

#[derive(Clone, Copy)]
pub(super) struct Entry {
    /// Tick at which the task is to be woken, or `NEVER`.
    deadline: u64,
    /// The deadline when the entry was put into its slot.
    armed: u64,
    next: u32,
    previous: u32,
    /// Level and slot, or `NOWHERE`.
    place: u16,
}

const IDLE: Entry = Entry {
    deadline: NEVER,
    armed: NEVER,
    next: NOBODY,
    previous: NOBODY,
    place: NOWHERE,
};

struct Level {
    /// A bit for each slot that is not empty.
    occupied: u64,
    heads: [u32; SLOTS],
}

/// The deadlines of all tasks of one event loop, indexed by task.
pub(super) struct Wheel {
    origin: Instant,
    /// Every deadline up to this tick has fired.
    elapsed: u64,
    levels: [Level; LEVELS],
    entries: Vec<Entry>,
}

impl Wheel {
    pub(super) fn new(origin: Instant) -> Wheel {
        Wheel {
            origin,
            elapsed: 0,
            levels: [const {
                Level {
                    occupied: 0,
                    heads: [NOBODY; SLOTS],
                }
            }; LEVELS],
            entries: Vec::new(),
        }
    }

    /// Sets the deadline of a task; `Instant::NEVER` for none.
    pub(super) fn set(&mut self, task: u32, at: Instant) {
        let deadline = if at == Instant::NEVER {
            NEVER
        } else {
            let since = at.as_nanos().saturating_sub(self.origin.as_nanos());
            since.div_ceil(NANOS_PER_TICK).max(self.elapsed + 1)
        };
        let Some(entry) = self.entries.get_mut(task as usize) else {
            if deadline != NEVER {
                self.entries.resize(task as usize + 1, IDLE);
                self.entries[task as usize].deadline = deadline;
                self.link(task);
            }
            return;
        };
        entry.deadline = deadline;
        if entry.place == NOWHERE {
            if deadline != NEVER {
                self.link(task);
            }
        } else if deadline < entry.armed {
            self.unlink(task);
            self.link(task);
        }
    }

    pub(super) fn clear(&mut self, task: u32) {
        if let Some(entry) = self.entries.get_mut(task as usize) {
            entry.deadline = NEVER;
            if entry.place != NOWHERE {
                self.unlink(task);
            }
        }
    }

    /// Returns the earliest instant at which [`Wheel::advance`] has something to do. By then all
    /// deadlines may have moved later.
    pub(super) fn next(&self) -> Option<Instant> {
        let (_, _, tick) = self.next_slot()?;
        Some(Instant::from_nanos(
            self.origin
                .as_nanos()
                .saturating_add(tick.saturating_mul(NANOS_PER_TICK)),
        ))
    }

    /// Appends the tasks whose deadlines have passed to `due`; each fires once.
    pub(super) fn advance(&mut self, now: Instant, due: &mut Vec<u32>) {
        let target = now.as_nanos().saturating_sub(self.origin.as_nanos()) / NANOS_PER_TICK;
        while let Some((level, slot, tick)) = self.next_slot() {
            if tick > target {
                break;
            }
            self.elapsed = self.elapsed.max(tick);
            let mut task = self.take_slot(level, slot);
            while let Some(entry) = self.entries.get_mut(task as usize) {
                let current = task;
                task = entry.next;
                entry.place = NOWHERE;
                if entry.deadline == NEVER {
                    continue;
                }
                if entry.deadline <= self.elapsed {
                    entry.deadline = NEVER;
                    due.push(current);
                } else {
                    self.link(current);
                }
            }
        }
        self.elapsed = self.elapsed.max(target);
    }

    fn take_slot(&mut self, level: usize, slot: usize) -> u32 {
        let level = &mut self.levels[level];
        level.occupied &= !(1 << slot);
        std::mem::replace(&mut level.heads[slot], NOBODY)
    }

    /// Returns the next slot to be reached: its level, its number, and the tick at which its range
    /// begins. A slot of a lower level always precedes one of a higher level, whose range begins
    /// after all slots of the lower level.
    fn next_slot(&self) -> Option<(usize, usize, u64)> {
        for (number, level) in self.levels.iter().enumerate() {
            if level.occupied == 0 {
                continue;
            }
            let shift = SLOT_BITS * number as u32;
            let current = (self.elapsed >> shift) as usize % SLOTS;
            let ahead = level.occupied.rotate_right(current as u32).trailing_zeros() as usize;
            let slot = (current + ahead) % SLOTS;
            let tick = ((self.elapsed >> shift) + ahead as u64) << shift;
            return Some((number, slot, tick));
        }
        None
    }

    fn link(&mut self, task: u32) {
        let deadline = self.entries[task as usize].deadline;
        // Takes the level of the highest bit in which the deadline differs from the current tick.
        // Both differ, because the deadline is later.
        let difference = (self.elapsed ^ deadline) | 1;
        let number = (63 - difference.leading_zeros()) / SLOT_BITS;
        let slot = (deadline >> (SLOT_BITS * number)) as usize % SLOTS;
        let level = &mut self.levels[number as usize];
        let head = std::mem::replace(&mut level.heads[slot], task);
        level.occupied |= 1 << slot;
        if let Some(first) = self.entries.get_mut(head as usize) {
            first.previous = task;
        }
        let entry = &mut self.entries[task as usize];
        entry.armed = deadline;
        entry.next = head;
        entry.previous = NOBODY;
        entry.place = (number << SLOT_BITS) as u16 | slot as u16;
    }

    fn unlink(&mut self, task: u32) {
        let Entry {
            next,
            previous,
            place,
            ..
        } = self.entries[task as usize];
        self.entries[task as usize].place = NOWHERE;
        if let Some(entry) = self.entries.get_mut(next as usize) {
            entry.previous = previous;
        }
        if let Some(entry) = self.entries.get_mut(previous as usize) {
            entry.next = next;
            return;
        }
        let slot = place as usize % SLOTS;
        let level = &mut self.levels[place as usize >> SLOT_BITS];
        level.heads[slot] = next;
        if next == NOBODY {
            level.occupied &= !(1 << slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn tick(n: u64) -> Instant {
        Instant::from_nanos(n * NANOS_PER_TICK)
    }

    fn fired(wheel: &mut Wheel, now: u64) -> Vec<u32> {
        let mut due = Vec::new();
        wheel.advance(tick(now), &mut due);
        due.sort_unstable();
        due
    }

    #[test]
    fn a_deadline_fires_at_its_tick_and_once() {
        for at in [
            1, 2, 63, 64, 65, 127, 128, 4095, 4096, 4097, 262_144, 1_000_000,
        ] {
            let mut wheel = Wheel::new(tick(0));
            wheel.set(3, tick(at));
            assert_eq!(fired(&mut wheel, at - 1), [0u32; 0], "{at}");
            assert_eq!(fired(&mut wheel, at), [3], "{at}");
            assert_eq!(fired(&mut wheel, at + 10_000), [0u32; 0], "{at}");
            assert!(wheel.next().is_none());
        }
    }

    #[test]
    fn a_deadline_within_a_tick_is_rounded_up() {
        let mut wheel = Wheel::new(Instant::from_nanos(77));
        wheel.set(0, Instant::from_nanos(77 + NANOS_PER_TICK + 1));
        assert_eq!(fired(&mut wheel, 2), [0u32; 0]);
        assert_eq!(fired(&mut wheel, 3), [0]);
    }

    #[test]
    fn moving_later_leaves_the_entry_and_moving_earlier_moves_it() {
        let mut wheel = Wheel::new(tick(0));
        wheel.set(0, tick(10));
        wheel.set(0, tick(5000));
        assert_eq!(wheel.next(), Some(tick(10)), "the entry has not moved");
        assert_eq!(fired(&mut wheel, 4999), [0u32; 0]);
        wheel.set(0, tick(9000));
        wheel.set(0, tick(5002));
        assert_eq!(fired(&mut wheel, 5002), [0]);
        wheel.set(0, tick(9000));
        wheel.set(0, tick(6000));
        assert_eq!(fired(&mut wheel, 6000), [0]);
    }

    #[test]
    fn a_cleared_deadline_does_not_fire() {
        let mut wheel = Wheel::new(tick(0));
        for task in 0..5 {
            wheel.set(task, tick(10));
        }
        wheel.clear(0);
        wheel.clear(4);
        wheel.set(2, Instant::NEVER);
        assert_eq!(fired(&mut wheel, 100), [1, 3]);
        wheel.clear(99);
    }

    #[test]
    fn past_and_distant_deadlines_are_accepted() {
        let mut wheel = Wheel::new(tick(1000));
        assert_eq!(fired(&mut wheel, 2000), [0u32; 0]);
        wheel.set(0, tick(3));
        wheel.set(1, Instant::from_nanos(u64::MAX - 1));
        assert_eq!(fired(&mut wheel, 2001), [0]);
        assert_eq!(fired(&mut wheel, 1 << 40), [0u32; 0]);
    }

    #[derive(Clone, Debug)]
    enum TimerStep {
        Set(u32, u64),
        Clear(u32),
        Forget(u32),
        Advance(u64),
    }

    fn step() -> impl Strategy<Value = TimerStep> {
        let span = prop_oneof![0_u64..3, 0_u64..70, 0_u64..5000, 0_u64..300_000];
        prop_oneof![
            4 => (0_u32..8, span.clone()).prop_map(|(task, after)| TimerStep::Set(task, after)),
            1 => (0_u32..8).prop_map(TimerStep::Clear),
            1 => (0_u32..8).prop_map(TimerStep::Forget),
            3 => span.prop_map(TimerStep::Advance),
        ]
    }

    proptest! {
        #[test]
        fn the_wheel_fires_what_a_sorted_map_would(steps in prop::collection::vec(step(), 1..120)) {
            let mut wheel = Wheel::new(tick(0));
            let mut model = BTreeMap::new();
            let mut now = 0;
            for step in steps {
                match step {
                    TimerStep::Set(task, after) => {
                        wheel.set(task, tick(now + after));
                        model.insert(task, (now + after).max(now + 1));
                    }
                    TimerStep::Clear(task) => {
                        wheel.clear(task);
                        model.remove(&task);
                    }
                    TimerStep::Forget(task) => {
                        wheel.set(task, Instant::NEVER);
                        model.remove(&task);
                    }
                    TimerStep::Advance(by) => {
                        now += by;
                        if let Some(first) = model.values().min() {
                            prop_assert!(wheel.next().is_some_and(|next| next <= tick(*first)));
                        }
                        let expected: Vec<u32> =
                            model.iter().filter(|(_, at)| **at <= now).map(|(task, _)| *task).collect();
                        model.retain(|_, at| *at > now);
                        prop_assert_eq!(fired(&mut wheel, now), expected);
                    }
                }
            }
        }
    }
}
