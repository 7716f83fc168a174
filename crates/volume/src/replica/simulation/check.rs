//! Checker of client observations. Each block is a register whose operations take effect at one
//! instant between call and return. Acknowledged but unflushed writes may vanish only if all
//! machines that held them lose power. Flushed writes never vanish.
//!
//! The checker tracks all possible histories at once: for each block its possible current values,
//! and its possible values since the last flush.

/// Attempt of a client. Each attempt writes a unique value.
pub type Attempt = u32;

/// Possible history of a block: the operations that have taken effect so far.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Possible {
    current: Attempt,
    /// Open writes that have taken effect.
    done: Vec<Attempt>,
    /// Values that each open read may have seen.
    seen: Vec<(Attempt, Vec<Attempt>)>,
}

impl Possible {
    fn set(&mut self, value: Attempt) {
        self.current = value;
        for (_, seen) in &mut self.seen {
            if let Err(place) = seen.binary_search(&value) {
                seen.insert(place, value);
            }
        }
    }

    /// Lets an open write take effect.
    fn take(&mut self, value: Attempt) {
        self.set(value);
        if let Err(place) = self.done.binary_search(&value) {
            self.done.insert(place, value);
        }
    }

    fn has(&self, value: Attempt) -> bool {
        self.done.contains(&value)
    }
}

#[derive(Clone, Debug)]
struct BlockHistory {
    /// Writes that have not returned, and whose outcome is not decided.
    open: Vec<Attempt>,
    possible: Vec<Possible>,
    /// Possible values since the last flush.
    volatile: Vec<Attempt>,
}

/// Call time of an attempt, and time of its return or decision, as event numbers.
#[derive(Clone, Copy, Debug)]
struct Times {
    called: u64,
    settled: u64,
    acknowledged: bool,
}

/// Maximum number of possible histories of a block.
const POSSIBLE_MAX: usize = 4_000;
/// Number of histories above which those with the same current value and open writes are merged.
const PRECISE_MAX: usize = 32;

#[derive(Clone, Debug)]
pub struct Checker {
    blocks: Vec<BlockHistory>,
    times: Vec<Times>,
    events: u64,
    /// Time of the last power loss of all machines that had unflushed data.
    lost_at: u64,
}

impl Checker {
    pub fn new(blocks: u64) -> Checker {
        let possible = Possible {
            current: 0,
            done: Vec::new(),
            seen: Vec::new(),
        };
        let block = BlockHistory {
            open: Vec::new(),
            possible: vec![possible],
            volatile: vec![0],
        };
        let initial = Times {
            called: 0,
            settled: 1,
            acknowledged: true,
        };
        Checker {
            blocks: vec![block; blocks as usize],
            times: vec![initial],
            events: 1,
            lost_at: 0,
        }
    }

    /// Returns the next event number, for [`Checker::flushed`].
    pub fn now(&mut self) -> u64 {
        self.events += 1;
        self.events
    }

    pub fn write(&mut self, attempt: Attempt, block: u64) {
        let called = self.now();
        let open = Times {
            called,
            settled: u64::MAX,
            acknowledged: false,
        };
        let place = attempt as usize;
        if self.times.len() <= place {
            self.times.resize(place + 1, open);
        }
        self.blocks[block as usize].open.push(attempt);
    }

    pub fn read(&mut self, attempt: Attempt, block: u64) {
        for possible in &mut self.blocks[block as usize].possible {
            let seen = vec![possible.current];
            possible.seen.push((attempt, seen));
        }
    }

    pub fn written(&mut self, attempt: Attempt, block: u64, fua: bool) -> Result<(), String> {
        let now = self.now();
        let times = &mut self.times[attempt as usize];
        times.settled = now;
        times.acknowledged = true;
        let called = times.called;
        let register = &mut self.blocks[block as usize];
        register.open.retain(|open| *open != attempt);
        let mut after = Vec::new();
        for mut possible in register.possible.drain(..) {
            if let Some(place) = possible.done.iter().position(|done| *done == attempt) {
                possible.done.remove(place);
                add(&mut after, possible);
                continue;
            }
            possible.set(attempt);
            add(&mut after, possible);
        }
        if !register.volatile.contains(&attempt) {
            register.volatile.push(attempt);
        }
        if fua {
            let times = &self.times;
            register
                .volatile
                .retain(|value| times[*value as usize].settled >= called);
        }
        self.set(block, after, || format!("write {attempt} of block {block}"))
    }

    pub fn returned(&mut self, attempt: Attempt, block: u64, value: u32) -> Result<(), String> {
        let before = self.blocks[block as usize].clone();
        let register = &mut self.blocks[block as usize];
        let is_open = register.open.contains(&value);
        let mut after = Vec::new();
        for mut possible in register.possible.drain(..) {
            let place = possible.seen.iter().position(|(read, _)| *read == attempt);
            let seen = place.map(|place| possible.seen.remove(place).1);
            let seen = seen.unwrap_or_default();
            if seen.contains(&value) {
                add(&mut after, possible);
            } else if is_open && !possible.has(value) {
                if seen.len() > 1 {
                    // The write took effect before another one that has returned since.
                    let mut other = possible.clone();
                    other.done.push(value);
                    other.done.sort_unstable();
                    add(&mut after, other);
                }
                possible.take(value);
                if !register.volatile.contains(&value) {
                    register.volatile.push(value);
                }
                add(&mut after, possible);
            }
        }
        self.set(block, after, || {
            format!("read {attempt} of block {block} returned {value}: {before:?}")
        })
    }

    pub fn forget_read(&mut self, attempt: Attempt, block: u64) {
        for possible in &mut self.blocks[block as usize].possible {
            possible.seen.retain(|(read, _)| *read != attempt);
        }
        self.dedup(block as usize);
    }

    /// Closes a write whose outcome is decided: it has taken effect, or never will.
    pub fn close(&mut self, attempt: Attempt, block: u64) {
        let now = self.now();
        let register = &mut self.blocks[block as usize];
        if !register.open.contains(&attempt) {
            return;
        }
        self.times[attempt as usize].settled = now;
        register.open.retain(|open| *open != attempt);
        if !register.volatile.contains(&attempt) {
            register.volatile.push(attempt);
        }
        for place in 0..register.possible.len() {
            let possible = &mut register.possible[place];
            if let Some(place) = possible.done.iter().position(|done| *done == attempt) {
                possible.done.remove(place);
            } else {
                let mut effective = possible.clone();
                effective.set(attempt);
                register.possible.push(effective);
            }
        }
        self.dedup(block as usize);
    }

    pub fn undo(&mut self, attempt: Attempt, block: u64) -> Result<(), String> {
        let register = &mut self.blocks[block as usize];
        register.open.retain(|open| *open != attempt);
        let mut after = std::mem::take(&mut register.possible);
        after.retain(|possible| !possible.has(attempt));
        self.set(block, after, || {
            format!("write {attempt} of block {block} was undone")
        })
    }

    pub fn flushed(&mut self, called: u64) {
        let times = |value: &Attempt| self.times[*value as usize];
        let is_stable = |value: &&Attempt| {
            let times = times(value);
            times.acknowledged && times.settled < called && times.called >= self.lost_at
        };
        for block in &mut self.blocks {
            if block.volatile.len() < 2 {
                continue;
            }
            // Values that were stored before one of these was called are overwritten permanently.
            let stable = block.volatile.iter().filter(is_stable);
            let last = stable.map(|value| times(value).called).max();
            let last = last.unwrap_or_default();
            block.volatile.retain(|value| times(value).settled >= last);
        }
    }

    /// Records a power loss of all machines that held unflushed data.
    pub fn power_lost(&mut self) {
        self.lost_at = self.now();
        for place in 0..self.blocks.len() {
            let block = &mut self.blocks[place];
            if block.volatile.len() < 2 {
                continue;
            }
            for old in 0..block.possible.len() {
                for value in &block.volatile {
                    let mut other = block.possible[old].clone();
                    other.set(*value);
                    block.possible.push(other);
                }
            }
            self.dedup(place);
        }
    }

    fn set(
        &mut self,
        block: u64,
        after: Vec<Possible>,
        what: impl Fn() -> String,
    ) -> Result<(), String> {
        if after.is_empty() {
            return Err(format!("not linearizable: {}", what()));
        }
        if after.len() > POSSIBLE_MAX {
            return Err(format!("the checker has lost its way: {}", what()));
        }
        self.blocks[block as usize].possible = after;
        self.coarsen(block as usize);
        Ok(())
    }

    /// Merges histories if there are too many: no longer distinguishes what reads may have seen.
    fn coarsen(&mut self, place: usize) {
        let possible = &mut self.blocks[place].possible;
        if possible.len() <= PRECISE_MAX {
            return;
        }
        let mut union = Possible {
            current: 0,
            done: Vec::new(),
            seen: possible[0].seen.clone(),
        };
        for one in possible.iter() {
            for ((_, all), (_, seen)) in union.seen.iter_mut().zip(&one.seen) {
                all.extend_from_slice(seen);
            }
        }
        for (_, all) in &mut union.seen {
            all.sort_unstable();
            all.dedup();
        }
        for one in possible.iter_mut() {
            one.seen.clone_from(&union.seen);
        }
        let mut after = Vec::new();
        for one in self.blocks[place].possible.drain(..) {
            add(&mut after, one);
        }
        self.blocks[place].possible = after;
    }

    fn dedup(&mut self, place: usize) {
        if self.blocks[place].possible.len() > 1 {
            let mut after = Vec::new();
            for possible in self.blocks[place].possible.drain(..) {
                add(&mut after, possible);
            }
            self.blocks[place].possible = after;
            self.coarsen(place);
        }
    }
}

fn add(all: &mut Vec<Possible>, one: Possible) {
    if !all.contains(&one) {
        all.push(one);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_returns_the_latest_write() {
        let mut checker = Checker::new(1);
        checker.write(1, 0);
        checker.written(1, 0, false).unwrap();
        checker.write(2, 0);
        checker.read(10, 0);
        checker.read(11, 0);
        let mut early = checker.clone();
        early.returned(10, 0, 1).unwrap();
        checker.returned(10, 0, 2).unwrap();
        checker.returned(11, 0, 1).unwrap();
        checker.read(12, 0);
        assert!(checker.returned(12, 0, 1).is_err());
    }

    #[test]
    fn unflushed_data_is_lost_only_with_the_power() {
        let mut checker = Checker::new(1);
        for value in 1..=3 {
            checker.write(value, 0);
            checker.written(value, 0, value == 1).unwrap();
        }
        checker.read(10, 0);
        assert!(checker.clone().returned(10, 0, 2).is_err());
        checker.forget_read(10, 0);
        checker.power_lost();
        checker.read(11, 0);
        assert!(checker.clone().returned(11, 0, 0).is_err());
        checker.returned(11, 0, 2).unwrap();
        checker.read(12, 0);
        assert!(checker.clone().returned(12, 0, 3).is_err());
        assert!(checker.returned(12, 0, 2).is_ok());
    }

    #[test]
    fn a_decided_write_does_not_take_effect_later() {
        let mut checker = Checker::new(1);
        checker.write(1, 0);
        checker.close(1, 0);
        checker.read(10, 0);
        checker.returned(10, 0, 0).unwrap();
        checker.read(11, 0);
        assert!(checker.returned(11, 0, 1).is_err());
    }
}
