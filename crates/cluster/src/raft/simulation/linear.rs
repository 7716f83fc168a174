//! Checks that histories are linearizable: Wing and Gong's search with memoization. Each operation
//! takes effect at one moment between its call and its return. An operation without a return takes
//! effect at any later moment, or never.

use std::collections::HashSet;
use std::fmt;
use std::hash::Hash;

/// Largest number of states that are searched for one history.
const LOOKS_MAX: usize = 2_000_000;

/// Behaviour of a single copy of the data: the results that its operations can have.
pub trait Model {
    type State: Clone + Eq + Hash;
    type Op: fmt::Debug;
    type Observed: fmt::Debug;

    fn begin(&self) -> Self::State;
    /// Returns the state after the operation, if the result is possible (None: no
    /// result).
    fn step(
        &self,
        state: &Self::State,
        op: &Self::Op,
        said: Option<&Self::Observed>,
    ) -> Option<Self::State>;
}

/// An operation, as a client observed it.
#[derive(Clone, Debug)]
#[allow(dead_code, reason = "who asked is told to people")]
pub struct Operation<O, S> {
    pub client: usize,
    pub op: O,
    pub called_at: u64,
    /// Time and result of the return; None: the call never returned, or the result is
    /// unknown.
    pub returned: Option<(u64, S)>,
}

struct Search<'a, M: Model> {
    model: &'a M,
    operations: &'a [Operation<M::Op, M::Observed>],
    done: Vec<u64>,
    seen: HashSet<(Vec<u64>, M::State)>,
    looks: usize,
}

/// Searches for a linear order. The error holds the number of steps after which none
/// was found.
pub fn check<M: Model>(
    model: &M,
    operations: &[Operation<M::Op, M::Observed>],
) -> Result<(), String> {
    let mut sorted: Vec<&Operation<M::Op, M::Observed>> = operations.iter().collect();
    sorted.sort_by_key(|operation| operation.called_at);
    let mut search = Search {
        model,
        operations,
        done: vec![0; operations.len().div_ceil(64)],
        seen: HashSet::new(),
        looks: 0,
    };
    let begin = model.begin();
    if search.ordered(&begin) {
        return Ok(());
    }
    if search.looks >= LOOKS_MAX {
        return Err(format!("no order found within {LOOKS_MAX} looks"));
    }
    let mut told = String::from("there is no order of these:\n");
    for operation in sorted {
        told += &format!("  {operation:?}\n");
    }
    Err(told)
}

impl<M: Model> Search<'_, M> {
    fn is_done(&self, place: usize) -> bool {
        (self.done[place / 64] >> (place % 64)) & 1 == 1
    }

    fn set(&mut self, place: usize, done: bool) {
        let bit = 1 << (place % 64);
        if done {
            self.done[place / 64] |= bit;
        } else {
            self.done[place / 64] &= !bit;
        }
    }

    /// Returns the operations that can be next: those called before any remaining one
    /// returned.
    fn candidates(&self) -> Vec<usize> {
        let left = || (0..self.operations.len()).filter(|place| !self.is_done(*place));
        let first_return = left()
            .filter_map(|place| self.operations[place].returned.as_ref())
            .map(|(at, _)| *at)
            .min();
        let Some(first_return) = first_return else {
            return Vec::new();
        };
        let mut next: Vec<usize> = left()
            .filter(|place| self.operations[*place].called_at <= first_return)
            .collect();
        // Tries operations that returned first before others, because they most likely took effect
        // first.
        next.sort_by_key(|place| {
            let returned = &self.operations[*place].returned;
            returned.as_ref().map_or(u64::MAX, |(at, _)| *at)
        });
        next
    }

    /// Searches depth first with an explicit stack, because histories are long.
    fn ordered(&mut self, begin: &M::State) -> bool {
        let mut stack: Vec<(Option<usize>, M::State, std::vec::IntoIter<usize>)> = Vec::new();
        let first = self.candidates();
        if first.is_empty() {
            return true;
        }
        stack.push((None, begin.clone(), first.into_iter()));
        while let Some((_, state, next)) = stack.last_mut() {
            let Some(place) = next.next() else {
                if let Some((Some(place), ..)) = stack.pop() {
                    self.set(place, false);
                }
                continue;
            };
            self.looks += 1;
            if self.looks >= LOOKS_MAX {
                return false;
            }
            let operation = &self.operations[place];
            let said = operation.returned.as_ref().map(|(_, said)| said);
            let Some(after) = self.model.step(state, &operation.op, said) else {
                continue;
            };
            self.set(place, true);
            if !self.seen.insert((self.done.clone(), after.clone())) {
                self.set(place, false);
                continue;
            }
            let candidates = self.candidates();
            if candidates.is_empty() {
                return true;
            }
            stack.push((Some(place), after, candidates.into_iter()));
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Register;

    #[derive(Clone, Debug)]
    enum RegisterOp {
        Write(u64),
        Read,
        Swap(u64, u64),
    }

    impl Model for Register {
        type State = u64;
        type Op = RegisterOp;
        type Observed = u64;

        fn begin(&self) -> u64 {
            0
        }

        fn step(&self, state: &u64, op: &RegisterOp, said: Option<&u64>) -> Option<u64> {
            match op {
                RegisterOp::Write(value) => Some(*value),
                RegisterOp::Read => said.is_none_or(|said| said == state).then_some(*state),
                RegisterOp::Swap(was, value) => {
                    let swaps = was == state;
                    if said.is_some_and(|said| (*said == 1) != swaps) {
                        return None;
                    }
                    Some(if swaps { *value } else { *state })
                }
            }
        }
    }

    fn operation(
        op: RegisterOp,
        called_at: u64,
        returned: Option<(u64, u64)>,
    ) -> Operation<RegisterOp, u64> {
        Operation {
            client: 0,
            op,
            called_at,
            returned,
        }
    }

    #[test]
    fn an_order_is_found_where_there_is_one() {
        let history = [
            operation(RegisterOp::Write(1), 0, Some((10, 0))),
            operation(RegisterOp::Read, 2, Some((4, 0))),
            operation(RegisterOp::Read, 5, Some((7, 1))),
            operation(RegisterOp::Swap(1, 2), 8, None),
            operation(RegisterOp::Read, 12, Some((13, 1))),
            operation(RegisterOp::Read, 14, Some((15, 2))),
        ];
        assert_eq!(check(&Register, &history), Ok(()));
    }

    #[test]
    fn a_stale_read_is_found() {
        let history = [
            operation(RegisterOp::Write(1), 0, Some((1, 0))),
            operation(RegisterOp::Read, 2, Some((3, 0))),
        ];
        assert!(check(&Register, &history).is_err());
    }

    #[test]
    fn a_read_that_goes_back_is_found() {
        let history = [
            operation(RegisterOp::Write(1), 0, None),
            operation(RegisterOp::Read, 2, Some((3, 1))),
            operation(RegisterOp::Read, 4, Some((5, 0))),
        ];
        assert!(check(&Register, &history).is_err());
    }

    #[test]
    fn what_happened_twice_is_found() {
        let history = [
            operation(RegisterOp::Swap(0, 1), 0, Some((1, 1))),
            operation(RegisterOp::Swap(0, 2), 2, Some((3, 1))),
        ];
        assert!(check(&Register, &history).is_err());
    }
}
