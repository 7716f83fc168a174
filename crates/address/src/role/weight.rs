//! Computes the effect of tracked objects on a priority, with keepalived's arithmetic and without
//! IO.

use crate::config::Weight;

/// State of a tracked object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TrackedState {
    /// Not known yet: adds nothing, and is no fault.
    Unknown,
    Up,
    Down,
    Value(i64),
}

/// Effect on a virtual router.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    Nothing,
    Add(i32),
    Fault,
}

/// Magnitude from which the weighted number of a file is a fault instead of a weight.
const FAULT_FROM: i64 = 254;

/// Range of priorities that weights may produce; 0 announces a stop, and 255 owns the addresses.
const PRIORITIES: std::ops::RangeInclusive<i32> = 1..=254;

/// Priority of the address owner, which weights never change.
const OWNER: u8 = 255;

pub fn effect(weight: Weight, verdict: TrackedState) -> Effect {
    let Weight { value, reverse } = weight;
    let sign = if reverse { -1 } else { 1 };
    match verdict {
        TrackedState::Unknown => Effect::Nothing,
        TrackedState::Up | TrackedState::Down if value == 0 => {
            if (verdict == TrackedState::Down) != reverse {
                Effect::Fault
            } else {
                Effect::Nothing
            }
        }
        TrackedState::Up if value > 0 => Effect::Add(value.saturating_mul(sign)),
        TrackedState::Down if value < 0 => Effect::Add(value.saturating_mul(sign)),
        TrackedState::Up | TrackedState::Down => Effect::Nothing,
        TrackedState::Value(number) if value == 0 => {
            if (number != 0) != reverse {
                Effect::Fault
            } else {
                Effect::Nothing
            }
        }
        TrackedState::Value(number) => {
            let sum = number
                .saturating_mul(i64::from(value))
                .saturating_mul(i64::from(sign));
            if sum <= -FAULT_FROM {
                return Effect::Fault;
            }
            match i32::try_from(sum.min(FAULT_FROM)) {
                Ok(0) | Err(_) => Effect::Nothing,
                Ok(sum) => Effect::Add(sum),
            }
        }
    }
}

pub fn effective(base: u8, added: impl IntoIterator<Item = i32>) -> u8 {
    if base == OWNER {
        return OWNER;
    }
    let sum = added
        .into_iter()
        .fold(i32::from(base), |sum, add| sum.saturating_add(add));
    let held = sum.clamp(*PRIORITIES.start(), *PRIORITIES.end());
    u8::try_from(held).unwrap_or(base)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight(value: i32, reverse: bool) -> Weight {
        Weight { value, reverse }
    }

    #[test]
    fn a_positive_weight_rewards_and_a_negative_one_punishes_and_reverse_turns_both() {
        use TrackedState::{Down, Unknown, Up};
        for (value, reverse, verdict, wanted) in [
            (20, false, Up, Effect::Add(20)),
            (20, false, Down, Effect::Nothing),
            (20, true, Up, Effect::Add(-20)),
            (-20, false, Up, Effect::Nothing),
            (-20, false, Down, Effect::Add(-20)),
            (-20, true, Down, Effect::Add(20)),
            (0, false, Down, Effect::Fault),
            (0, false, Up, Effect::Nothing),
            (0, true, Up, Effect::Fault),
            (0, true, Down, Effect::Nothing),
            (0, false, Unknown, Effect::Nothing),
            (-20, false, Unknown, Effect::Nothing),
        ] {
            let got = effect(weight(value, reverse), verdict);
            assert_eq!(got, wanted, "{value} {reverse} {verdict:?}");
        }
    }

    #[test]
    fn the_number_in_a_file_counts_by_its_weight_and_too_small_a_sum_is_a_fault() {
        for (value, reverse, number, wanted) in [
            (1, false, 20, Effect::Add(20)),
            (2, true, 20, Effect::Add(-40)),
            (1, false, 0, Effect::Nothing),
            (1, false, -253, Effect::Add(-253)),
            (1, false, -254, Effect::Fault),
            (1, false, i64::MIN, Effect::Fault),
            (1, false, i64::MAX, Effect::Add(254)),
            (0, false, 1, Effect::Fault),
            (0, false, 0, Effect::Nothing),
            (0, true, 0, Effect::Fault),
        ] {
            let got = effect(weight(value, reverse), TrackedState::Value(number));
            assert_eq!(got, wanted, "{value} {reverse} {number}");
        }
    }

    #[test]
    fn a_priority_stays_between_1_and_254_unless_the_router_owns_the_addresses() {
        assert_eq!(effective(100, [20, -60]), 60);
        assert_eq!(effective(100, [-200]), 1);
        assert_eq!(effective(100, [i32::MAX, i32::MAX]), 254);
        assert_eq!(effective(255, [-200]), 255);
    }
}
