//! Limits the rate of a role's log: clients cause log lines with packets and connections, and must
//! not fill a disk or hide other lines. Each kind of line has a small burst, then one line per
//! interval. Suppressed lines are counted, and the count is logged.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::time::{Duration, Instant};

/// Number of lines of one kind that are admitted at once; then one line per [`REFILL`].
const BURST: u32 = 20;
const REFILL: Duration = Duration::from_secs(10);
/// Maximum number of kinds that are tracked at a time; lines of further kinds count as one kind.
const KINDS_MAX: usize = 256;
/// Number of characters of a line that determine its kind. Digits are skipped, because addresses,
/// ports and counters differ.
const KIND_LETTERS: usize = 64;

/// The rate limit of a log, by kind of line.
#[derive(Debug, Default)]
pub struct LogLimiter {
    kinds: HashMap<u64, LineRateLimit>,
    other: LineRateLimit,
}

/// The limit of one kind of line.
#[derive(Clone, Copy, Debug, Default)]
struct LineRateLimit {
    used: u32,
    since: Option<Instant>,
    left_out: u64,
}

impl LineRateLimit {
    fn refill(&mut self, now: Instant) {
        let since = *self.since.get_or_insert(now);
        let passed = now.saturating_duration_since(since);
        let refills = u32::try_from(passed.as_secs() / REFILL.as_secs()).unwrap_or(u32::MAX);
        if refills > 0 {
            self.used = self.used.saturating_sub(refills);
            self.since = Some(since + REFILL * refills);
        }
        if self.used == 0 {
            self.since = Some(now);
        }
    }

    /// Counts a line. Returns the number of lines suppressed before it if the line may be logged,
    /// otherwise None.
    fn admit(&mut self, now: Instant) -> Option<u64> {
        self.refill(now);
        if self.used >= BURST {
            self.left_out = self.left_out.saturating_add(1);
            return None;
        }
        self.used += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

impl LogLimiter {
    /// Counts a line. Returns the number of lines of its kind that were suppressed since the last
    /// logged one; None if the line may not be logged now.
    pub fn admit(&mut self, line: &str, now: Instant) -> Option<u64> {
        let key = kind_of(line);
        if !self.kinds.contains_key(&key) && self.kinds.len() >= KINDS_MAX {
            self.kinds.retain(|_, kind| {
                kind.refill(now);
                kind.used > 0
            });
        }
        let has_room = self.kinds.len() < KINDS_MAX || self.kinds.contains_key(&key);
        let kind = if has_room {
            self.kinds.entry(key).or_default()
        } else {
            &mut self.other
        };
        kind.admit(now)
    }
}

pub fn left_out(count: u64) -> String {
    let lines = match count {
        1 => "1 line like this one was".to_owned(),
        count => format!("{count} lines like this one were"),
    };
    format!("{lines} left out before it")
}

fn kind_of(line: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    let letters = line.chars().filter(|letter| !letter.is_ascii_digit());
    letters
        .take(KIND_LETTERS)
        .for_each(|letter| letter.hash(&mut hasher));
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flood_of_one_kind_is_counted_and_hides_no_other_line() {
        let (mut limiter, start) = (LogLimiter::default(), Instant::now());
        let line = |at: u32| format!("evenkeel: volume data: 192.0.2.{at}: not a greeting");
        let admitted: Vec<u64> = (0..10_000)
            .filter_map(|at| limiter.admit(&line(at), start))
            .collect();
        assert_eq!(admitted, [0; BURST as usize]);
        assert_eq!(
            limiter.admit("evenkeel: volume data: degraded", start),
            Some(0)
        );
        let later = start + REFILL;
        assert_eq!(
            limiter.admit(&line(1), later),
            Some(10_000 - u64::from(BURST))
        );
        assert_eq!(limiter.admit(&line(1), later), None);
        // After a long silence the whole burst is available again.
        let much_later = later + REFILL * BURST;
        let again = (0..100).filter_map(|at| limiter.admit(&line(at), much_later));
        assert_eq!(again.collect::<Vec<u64>>().len(), BURST as usize);
    }

    #[test]
    fn lines_of_ever_new_kinds_are_bounded() {
        let (mut limiter, start) = (LogLimiter::default(), Instant::now());
        let letters = |at: u32| char::from_u32(0x4e00 + at).unwrap_or('x');
        let lines = (0..20_000).map(|at| format!("evenkeel: {}: refused", letters(at)));
        let admitted = lines.filter_map(|line| limiter.admit(&line, start)).count();
        assert_eq!(admitted, KINDS_MAX + BURST as usize);
        assert!(limiter.kinds.len() <= KINDS_MAX);
        // Lines of a new kind are admitted again once the kinds without recent lines are removed.
        let later = start + REFILL * 2;
        assert_eq!(limiter.admit("evenkeel: something new", later), Some(0));
        assert_eq!(limiter.kinds.len(), 1);
    }

    #[test]
    fn count_has_a_singular() {
        assert_eq!(left_out(1), "1 line like this one was left out before it");
        assert_eq!(left_out(7), "7 lines like this one were left out before it");
    }
}
