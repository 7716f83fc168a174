//! Measures rates of the process over one second: bytes to clients, bytes of compression, CPU
//! time. The side thread measures about once a second; readers get the values of the last
//! complete second.

use super::{Runtime, lock};
use model::state::Tally;
use rustix::time::{ClockId, clock_gettime};

const MEASURE_MS: u64 = 1000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Measured {
    pub bytes_out: u64,
    pub compressed_in: u64,
    pub compressed_out: u64,
    /// Share of the threads' time in which they were idle, percent.
    pub idle_percent: u32,
}

impl Default for Measured {
    fn default() -> Self {
        Measured {
            bytes_out: 0,
            compressed_in: 0,
            compressed_out: 0,
            idle_percent: 100,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Samples {
    at_ms: u64,
    totals: [u64; 3],
    used_ms: u64,
    measured: Measured,
}

impl Samples {
    fn take(&mut self, now_ms: u64, threads: u64, totals: [u64; 3], used_ms: u64) {
        let passed_ms = now_ms.saturating_sub(self.at_ms);
        if passed_ms < MEASURE_MS {
            return;
        }
        // A total can be lower than a second ago, because `clear counters all` has cleared it.
        let a_second = |at: usize| totals[at].saturating_sub(self.totals[at]) * 1000 / passed_ms;
        let used_ms_since = used_ms.saturating_sub(self.used_ms);
        let used = used_ms_since * 100 / (passed_ms * threads.max(1));
        self.measured = Measured {
            bytes_out: a_second(0),
            compressed_in: a_second(1),
            compressed_out: a_second(2),
            idle_percent: 100 - used.min(100) as u32,
        };
        (self.at_ms, self.totals, self.used_ms) = (now_ms, totals, used_ms);
    }
}

impl Runtime {
    /// Measures if a second has passed since the last time; cheap otherwise.
    pub fn measure(&self) {
        let now_ms = self.now_ms();
        let mut samples = lock(&self.samples);
        if now_ms.saturating_sub(samples.at_ms) < MEASURE_MS {
            return;
        }
        let config = self.config();
        let sum = |tally| {
            let all = config.proxies.iter();
            all.map(|proxy| proxy.state.frontend.counters.read(tally))
                .sum()
        };
        let totals = [
            sum(Tally::BytesOut),
            sum(Tally::CompressedIn),
            sum(Tally::CompressedOut),
        ];
        let used = clock_gettime(ClockId::ProcessCPUTime);
        let used_ms = used.tv_sec as u64 * 1000 + used.tv_nsec as u64 / 1_000_000;
        samples.take(now_ms, self.threads() as u64, totals, used_ms);
    }

    pub fn measured(&self) -> Measured {
        self.measure();
        lock(&self.samples).measured
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sample_is_a_rate_per_second() {
        let mut samples = Samples::default();
        samples.take(999, 2, [1000, 0, 0], 0);
        assert_eq!(samples.measured, Measured::default());
        samples.take(2000, 2, [1000, 40, 20], 1000);
        let want = Measured {
            bytes_out: 500,
            compressed_in: 20,
            compressed_out: 10,
            idle_percent: 75,
        };
        assert_eq!(samples.measured, want);
        // The counters were cleared between two samples: the rates are zero, without an underflow.
        samples.take(3000, 2, [0; 3], 9000);
        assert_eq!(samples.measured.bytes_out, 0);
        assert_eq!(samples.measured.idle_percent, 0);
    }
}
