//! Implements a set of HTTP status codes, as in `http-err-codes` and `http-fail-codes`.

/// First status that a set can hold.
const FIRST: u16 = 100;
/// Last status that a set can hold.
const LAST: u16 = 599;
const WORDS: usize = ((LAST - FIRST) as usize + 1).div_ceil(64);

/// Statuses from 100 to 599.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StatusCodes([u64; WORDS]);

/// Statuses that stick tables count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CountedCodes {
    /// Statuses that count as errors of clients.
    pub errors: StatusCodes,
    /// Statuses that count as failures of servers.
    pub failures: StatusCodes,
}

impl Default for CountedCodes {
    /// Returns the default: 400 to 499 as errors; 500 to 599 as failures, except for 501 and 505,
    /// which clients cause by unsupported requests.
    fn default() -> Self {
        let (mut errors, mut failures) = (StatusCodes::NONE, StatusCodes::NONE);
        errors.set(400, 499, true);
        failures.set(500, 599, true);
        failures.set(501, 501, false);
        failures.set(505, 505, false);
        CountedCodes { errors, failures }
    }
}

impl StatusCodes {
    pub const NONE: StatusCodes = StatusCodes([0; WORDS]);

    fn place(status: u16) -> Option<(usize, u64)> {
        let at = (FIRST..=LAST).contains(&status).then(|| status - FIRST)?;
        Some((usize::from(at / 64), 1 << (at % 64)))
    }

    /// Adds or removes the statuses of a range.
    pub fn set(&mut self, first: u16, last: u16, member: bool) {
        for (word, bit) in (first..=last).filter_map(Self::place) {
            if member {
                self.0[word] |= bit;
            } else {
                self.0[word] &= !bit;
            }
        }
    }

    #[inline]
    pub fn contains(&self, status: u16) -> bool {
        Self::place(status).is_some_and(|(word, bit)| self.0[word] & bit != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_added_and_not_removed() {
        let mut codes = CountedCodes::default().failures;
        let of = |codes: &StatusCodes| -> Vec<u16> {
            (0..=1000).filter(|code| codes.contains(*code)).collect()
        };
        assert_eq!(of(&codes).len(), 98);
        assert!(!codes.contains(501) && !codes.contains(505) && codes.contains(599));
        codes.set(500, 598, false);
        codes.set(100, 101, true);
        assert_eq!(of(&codes), [100, 101, 599]);
        assert_eq!(
            of(&CountedCodes::default().errors),
            (400..=499).collect::<Vec<_>>()
        );
    }
}
