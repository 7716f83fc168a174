//! Holds the settings of `cpu-map`: the processors on which each of the threads that serve clients
//! may run. The code that starts the threads applies the setting; nothing here accesses the system.

/// Upper bound of the processor numbers, exclusive.
pub const CPUS_MAX: u32 = 1024;

/// A set of threads, counted from 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ThreadSet {
    All,
    Odd,
    Even,
    /// From the first to the last, both inclusive.
    Range(u32, u32),
}

impl ThreadSet {
    /// Returns whether a thread, counted from 1, is in the set.
    pub fn contains(self, thread: u32) -> bool {
        match self {
            ThreadSet::All => true,
            ThreadSet::Odd => !thread.is_multiple_of(2),
            ThreadSet::Even => thread.is_multiple_of(2),
            ThreadSet::Range(first, last) => (first..=last).contains(&thread),
        }
    }
}

/// Processors, counted from 0, in the order of the line.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CpuSet(pub Vec<u32>);

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CpuMap {
    /// `auto:`: the n-th thread of the set gets the n-th processor only.
    pub one_each: bool,
    pub threads: ThreadSet,
    pub cpus: CpuSet,
}

impl CpuMap {
    /// Returns the processors of this line for a thread, counted from 1.
    fn cpus_of(&self, thread: u32) -> Option<Vec<u32>> {
        if !self.threads.contains(thread) {
            return None;
        }
        if !self.one_each {
            return Some(self.cpus.0.clone());
        }
        let before = (1..thread)
            .filter(|other| self.threads.contains(*other))
            .count();
        self.cpus.0.get(before).map(|cpu| vec![*cpu])
    }
}

/// Returns the processors on which a thread, counted from 1, may run; None leaves the choice to the
/// system.
pub(crate) fn cpus_of(maps: &[CpuMap], thread: u32) -> Option<Vec<u32>> {
    maps.iter().rev().find_map(|map| map.cpus_of(thread))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(one_each: bool, threads: ThreadSet, cpus: &[u32]) -> CpuMap {
        CpuMap {
            one_each,
            threads,
            cpus: CpuSet(cpus.to_vec()),
        }
    }

    #[test]
    fn a_thread_gets_what_the_last_line_that_names_it_says() {
        let maps = [
            map(false, ThreadSet::All, &[0, 1]),
            map(false, ThreadSet::Range(2, 3), &[7]),
        ];
        assert_eq!(cpus_of(&maps, 1), Some(vec![0, 1]));
        assert_eq!(cpus_of(&maps, 3), Some(vec![7]));
        assert_eq!(cpus_of(&[], 1), None);
    }

    #[test]
    fn auto_gives_each_thread_of_the_set_one_processor_in_the_order_of_the_line() {
        let maps = [map(true, ThreadSet::Range(1, 4), &[3, 2, 1, 0])];
        assert_eq!(cpus_of(&maps, 2), Some(vec![2]));
        assert_eq!(cpus_of(&maps, 5), None);
        let maps = [map(true, ThreadSet::Even, &[8, 9])];
        assert_eq!(cpus_of(&maps, 4), Some(vec![9]));
    }
}
