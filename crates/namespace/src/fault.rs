//! Represents faults as values: each heals when it is dropped, and its laboratory knows which are
//! in force.

use crate::error::LabError;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type Heal = Box<dyn FnOnce() -> Result<(), LabError> + Send>;

/// A fault that lasts as long as this value.
#[must_use = "a fault heals when it is dropped"]
pub struct InjectedFault {
    description: String,
    heal: Option<Heal>,
    number: u64,
    faults: Arc<Faults>,
}

impl fmt::Debug for InjectedFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fault({})", self.description)
    }
}

impl InjectedFault {
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Ends the fault, and reports an error if that fails.
    pub fn heal(mut self) -> Result<(), LabError> {
        self.remove_fault()
    }

    fn remove_fault(&mut self) -> Result<(), LabError> {
        self.faults.lock().in_force.remove(&self.number);
        self.heal.take().map_or(Ok(()), |heal| heal())
    }
}

impl Drop for InjectedFault {
    fn drop(&mut self) {
        // Ignores an error: the objects of the fault may be gone already.
        let _ = self.remove_fault();
    }
}

#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<FaultRegistry>);

#[derive(Debug, Default)]
struct FaultRegistry {
    next: u64,
    in_force: BTreeMap<u64, String>,
}

impl Faults {
    fn lock(&self) -> MutexGuard<'_, FaultRegistry> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn register_fault(
        self: &Arc<Self>,
        what: impl Into<String>,
        heal: impl FnOnce() -> Result<(), LabError> + Send + 'static,
    ) -> InjectedFault {
        let what = what.into();
        let mut state = self.lock();
        let number = state.next;
        state.next += 1;
        state.in_force.insert(number, what.clone());
        InjectedFault {
            description: what,
            heal: Some(Box::new(heal)),
            number,
            faults: Arc::clone(self),
        }
    }

    pub(crate) fn active_faults(&self) -> Vec<String> {
        self.lock().in_force.values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn fault_is_listed_until_it_heals_once() {
        let (faults, healed) = (Arc::new(Faults::default()), Arc::new(AtomicU32::new(0)));
        let begin = |what: &str| {
            let healed = Arc::clone(&healed);
            faults.register_fault(what, move || {
                healed.fetch_add(1, Ordering::Relaxed);
                Ok(())
            })
        };
        let (one, other) = (begin("one"), begin("other"));
        assert_eq!(faults.active_faults(), ["one", "other"]);
        one.heal().unwrap();
        assert_eq!(faults.active_faults(), ["other"]);
        drop(other);
        assert_eq!(healed.load(Ordering::Relaxed), 2);
        assert!(faults.active_faults().is_empty());
    }
}
