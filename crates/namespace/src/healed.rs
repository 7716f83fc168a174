//! Waits after a fault until all conditions are true in three consecutive checks, and returns the
//! time until the first of these. At the deadline, returns the conditions that fail.

use crate::error::LabError;
use crate::wait::POLL;
use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

/// Number of consecutive successful checks: during recovery a single check may succeed by chance.
const LOOKS: u32 = 3;

/// A named condition with its check.
pub struct Condition<'a> {
    name: String,
    check: Box<dyn FnMut() -> Result<(), String> + 'a>,
}

impl fmt::Debug for Condition<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Condition({})", self.name)
    }
}

impl<'a> Condition<'a> {
    /// Creates a condition whose check returns the actual state while it fails.
    pub fn new(name: &str, look: impl FnMut() -> Result<(), String> + 'a) -> Self {
        Condition {
            name: name.to_owned(),
            check: Box::new(look),
        }
    }
}

pub(crate) fn wait(
    within: Duration,
    conditions: &mut [Condition<'_>],
) -> Result<Duration, LabError> {
    let start = Instant::now();
    let (mut since, mut looks) = (Duration::ZERO, 0);
    loop {
        let late = start.elapsed() >= within;
        let ill = ill(conditions);
        if ill.is_empty() {
            if looks == 0 {
                since = start.elapsed();
            }
            looks += 1;
            if looks == LOOKS {
                return Ok(since);
            }
        } else if late {
            return Err(LabError::NotHealed {
                waited: within,
                conditions: ill,
            });
        } else {
            looks = 0;
        }
        thread::sleep(POLL);
    }
}

fn ill(conditions: &mut [Condition<'_>]) -> Vec<(String, String)> {
    let looked = conditions.iter_mut().filter_map(|condition| {
        let why = (condition.check)().err()?;
        Some((condition.name.clone(), why))
    });
    looked.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Lab;

    #[test]
    fn condition_that_fails_again_is_not_healed() {
        let mut looks = 0;
        let wavering = Condition::new("steady", || {
            looks += 1;
            if looks == 1 || looks > 3 {
                Ok(())
            } else {
                Err(format!("look {looks}"))
            }
        });
        wait(Duration::from_secs(10), &mut [wavering]).unwrap();
        assert_eq!(looks, 3 + LOOKS);
    }

    #[test]
    fn unhealed_condition_is_named_with_its_state() {
        let mut conditions = [
            Condition::new("fine", || Ok(())),
            Condition::new("one owner", || Err("alpha and beta".to_owned())),
        ];
        let error = wait(Duration::from_millis(20), &mut conditions).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("one owner (alpha and beta)"), "{text}");
        assert!(!text.contains("fine"), "{text}");
    }

    #[test]
    fn a_fault_that_is_still_in_force_is_an_error_of_the_test() {
        crate::skip_unless_root!();
        let lab = Lab::new("broken").unwrap();
        let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
        let link = lab.link(&a, &b).unwrap();
        let cut = link.cut().unwrap();
        let result = lab.wait_healed(Duration::from_secs(1), &mut []);
        assert!(matches!(result, Err(LabError::StillBroken(f)) if f.len() == 1));
        cut.heal().unwrap();
        lab.wait_healed(Duration::from_secs(1), &mut []).unwrap();
    }
}
