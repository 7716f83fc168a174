//! Faults as values: each heals when it is dropped, and its laboratory knows which are in force.

use crate::error::LabError;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type Heal = Box<dyn FnOnce() -> Result<(), LabError> + Send>;

/// A fault that lasts as long as this value.
#[must_use = "a fault that is dropped at once was none"]
pub struct Fault {
    what: String,
    heal: Option<Heal>,
    number: u64,
    faults: Arc<Faults>,
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fault({})", self.what)
    }
}

impl Fault {
    /// Returns a description of the fault.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// Ends the fault, and reports an error if that fails.
    pub fn heal(mut self) -> Result<(), LabError> {
        self.end()
    }

    fn end(&mut self) -> Result<(), LabError> {
        self.faults.lock().in_force.remove(&self.number);
        self.heal.take().map_or(Ok(()), |heal| heal())
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        // Ignored: the objects of the fault may be gone already.
        let _ = self.end();
    }
}

/// Faults of a laboratory.
#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    next: u64,
    in_force: BTreeMap<u64, String>,
}

impl Faults {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a new fault; `heal` ends it.
    pub(crate) fn begin(
        self: &Arc<Self>,
        what: impl Into<String>,
        heal: impl FnOnce() -> Result<(), LabError> + Send + 'static,
    ) -> Fault {
        let what = what.into();
        let mut state = self.lock();
        let number = state.next;
        state.next += 1;
        state.in_force.insert(number, what.clone());
        Fault {
            what,
            heal: Some(Box::new(heal)),
            number,
            faults: Arc::clone(self),
        }
    }

    pub(crate) fn in_force(&self) -> Vec<String> {
        self.lock().in_force.values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn a_fault_heals_once_and_is_known_until_then() {
        let (faults, healed) = (Arc::new(Faults::default()), Arc::new(AtomicU32::new(0)));
        let begin = |what: &str| {
            let healed = Arc::clone(&healed);
            faults.begin(what, move || {
                healed.fetch_add(1, Ordering::Relaxed);
                Ok(())
            })
        };
        let (one, other) = (begin("one"), begin("other"));
        assert_eq!(faults.in_force(), ["one", "other"]);
        one.heal().unwrap();
        assert_eq!(faults.in_force(), ["other"]);
        drop(other);
        assert_eq!(healed.load(Ordering::Relaxed), 2);
        assert!(faults.in_force().is_empty());
    }
}
