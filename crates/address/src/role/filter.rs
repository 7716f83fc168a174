//! Applies the packet filter of the role, and repeats what the kernel refused until all rules are
//! in effect and old tables are removed.

use super::{Level, Log};
use crate::kernel::{Firewall, KernelError};
use protocol::vrrp::Time;
use std::time::Duration;

/// Pause before rules that the kernel did not take are applied again.
const APPLY_AGAIN: Duration = Duration::from_secs(5);

/// Largest number of tables of earlier configurations that are still to be removed.
const STALE_TABLES_MAX: usize = 16;

/// Desired rules of the packet filter, applied until the kernel has them.
#[derive(Debug, Default)]
pub(super) struct PacketFilter {
    wanted: Option<Firewall>,
    is_applied: bool,
    /// Tables of earlier configurations that still drop packets.
    stale: Vec<String>,
    errors: Vec<String>,
    again_at: Option<Time>,
}

impl PacketFilter {
    pub(super) fn deadline(&self) -> Option<Time> {
        self.again_at
    }

    pub(super) fn set(&mut self, wanted: Firewall) {
        if self.wanted.as_ref() == Some(&wanted) {
            return;
        }
        self.stale.retain(|table| *table != wanted.table);
        // Remembers the old table for removal, because a table with another name is not replaced.
        if let Some(old) = self.wanted.take()
            && old.table != wanted.table
            && self.stale.len() < STALE_TABLES_MAX
        {
            self.stale.push(old.table);
        }
        self.wanted = Some(wanted);
        self.is_applied = false;
        self.again_at = None;
    }

    pub(super) fn remove(
        &mut self,
        now: Time,
        log: &mut Log,
        apply: impl Fn(&Firewall) -> Result<(), KernelError>,
    ) {
        if let Some(wanted) = self.wanted.take() {
            self.set(nothing(wanted.table));
            self.apply(now, log, apply);
        }
    }

    /// Applies what the kernel does not have yet, if that is due. Errors are logged once, and
    /// another attempt follows: a table that stays continues to drop packets.
    pub(super) fn apply(
        &mut self,
        now: Time,
        log: &mut Log,
        apply: impl Fn(&Firewall) -> Result<(), KernelError>,
    ) {
        if self.again_at.is_some_and(|at| at > now) {
            return;
        }
        let mut errors = Vec::new();
        self.stale.retain(|table| {
            let removed = apply(&nothing(table.clone()));
            if let Err(error) = &removed {
                errors.push(format!("cannot remove the nftables table {table}: {error}"));
            }
            removed.is_err()
        });
        if let Some(wanted) = self.wanted.as_ref().filter(|_| !self.is_applied) {
            match apply(wanted) {
                Ok(()) => self.is_applied = true,
                Err(error) if wanted.is_empty() => {
                    let table = &wanted.table;
                    errors.push(format!("cannot remove the nftables table {table}: {error}"));
                }
                Err(error) => {
                    errors.push(format!("cannot drop packets to the addresses: {error}"));
                }
            }
        }
        for line in errors.iter().filter(|line| !self.errors.contains(line)) {
            log(Level::Error, line);
        }
        if errors.is_empty() && !self.errors.is_empty() {
            log(Level::Notice, "the packet filter is applied");
        }
        self.again_at = (!errors.is_empty()).then(|| now.after(APPLY_AGAIN));
        self.errors = errors;
    }
}

fn nothing(table: String) -> Firewall {
    Firewall {
        table,
        ..Firewall::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;
    use std::cell::RefCell;
    use std::sync::{Arc, Mutex};

    /// A kernel with its tables, which may refuse everything.
    #[derive(Default)]
    struct TestKernel {
        tables: RefCell<Vec<String>>,
        refuses: bool,
    }

    impl TestKernel {
        fn apply(&self, firewall: &Firewall) -> Result<(), KernelError> {
            if self.refuses {
                return Err(Errno::MFILE.into());
            }
            let mut tables = self.tables.borrow_mut();
            tables.retain(|table| *table != firewall.table);
            if !firewall.is_empty() {
                tables.push(firewall.table.clone());
            }
            Ok(())
        }
    }

    fn dropping(table: &str) -> Firewall {
        Firewall {
            refused: vec![("192.0.2.1".parse().unwrap(), None)],
            ..nothing(table.to_owned())
        }
    }

    fn lines() -> (Log, Arc<Mutex<Vec<String>>>) {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let written = Arc::clone(&lines);
        let log =
            Box::new(move |_: Level, line: &str| written.lock().unwrap().push(line.to_owned()));
        (log, lines)
    }

    #[test]
    fn table_that_was_not_removed_is_removed_later() {
        let (mut log, lines) = lines();
        let mut kernel = TestKernel::default();
        let mut filter = PacketFilter::default();
        let start = Time(0);
        filter.set(dropping("one"));
        filter.apply(start, &mut log, |f| kernel.apply(f));
        assert_eq!(*kernel.tables.borrow(), ["one"]);
        assert_eq!(filter.deadline(), None);
        // The process has no descriptor left.
        kernel.refuses = true;
        filter.set(nothing("one".to_owned()));
        filter.apply(start, &mut log, |f| kernel.apply(f));
        assert_eq!(*kernel.tables.borrow(), ["one"]);
        let again_at = filter.deadline().unwrap();
        filter.apply(again_at, &mut log, |f| kernel.apply(f));
        assert_eq!(lines.lock().unwrap().len(), 1, "{lines:?}");
        kernel.refuses = false;
        let again_at = filter.deadline().unwrap();
        filter.apply(again_at, &mut log, |f| kernel.apply(f));
        assert!(kernel.tables.borrow().is_empty());
        assert_eq!(filter.deadline(), None);
    }

    #[test]
    fn renamed_table_is_removed_once_the_kernel_allows_it() {
        let (mut log, _) = lines();
        let mut kernel = TestKernel::default();
        let mut filter = PacketFilter::default();
        let start = Time(0);
        filter.set(dropping("one"));
        filter.apply(start, &mut log, |f| kernel.apply(f));
        kernel.refuses = true;
        filter.set(dropping("two"));
        filter.apply(start, &mut log, |f| kernel.apply(f));
        assert_eq!(*kernel.tables.borrow(), ["one"]);
        kernel.refuses = false;
        let again_at = filter.deadline().unwrap();
        filter.apply(again_at, &mut log, |f| kernel.apply(f));
        assert_eq!(*kernel.tables.borrow(), ["two"]);
        filter.remove(again_at, &mut log, |f| kernel.apply(f));
        assert!(kernel.tables.borrow().is_empty());
    }
}
