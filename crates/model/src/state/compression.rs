//! Enforces the limits of HTTP compression for the whole process: memory, bytes per second,
//! processor time, level.

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock};

/// Memory of an encoder with the maximum window, bytes.
pub const ENCODER_BYTES: usize = 300 * 1024;
/// Maximum number of encoders of a client's connection: with HTTP/2, about the number of streams
/// that are usually busy at once.
const OF_CLIENT_MAX: u32 = 32;
/// The encoders may by default use the machine's memory divided by this number.
const MEMORY_PART: usize = 32;
/// Lower bound of the default memory limit, bytes.
const MEMORY_MIN: usize = 32 << 20;
/// Upper bound of the default memory limit, bytes.
const MEMORY_MAX: usize = 512 << 20;

/// Number of encoders of a client's connection.
pub type OfClient = Rc<Cell<u32>>;

/// Returns the default memory limit of the encoders, in bytes: a fraction of the machine's memory
/// or, if lower, of the address space limit of the process, within fixed bounds.
fn memory_usual() -> usize {
    static USUAL: OnceLock<usize> = OnceLock::new();
    *USUAL.get_or_init(|| {
        let info = rustix::system::sysinfo();
        let machine = (info.totalram as u64).saturating_mul(u64::from(info.mem_unit.max(1)));
        let addresses = getrlimit(Resource::As).current.unwrap_or(u64::MAX);
        let all = usize::try_from(machine.min(addresses)).unwrap_or(usize::MAX);
        (all / MEMORY_PART).clamp(MEMORY_MIN, MEMORY_MAX)
    })
}

/// Limits of the compression (`maxcomprate`, `maxcompcpuusage`, `maxzlibmem`, `tune.comp.maxlevel`,
/// `tune.zlib.windowsize`) and their current use.
#[derive(Debug)]
pub struct Limits {
    /// Maximum input of the encoders, bytes per second; 0 means no limit.
    pub rate_max: u64,
    /// Maximum percentage of the processors' time of the process; 100 means no limit.
    pub cpu_max: u32,
    /// Maximum memory of the encoders, bytes; 0 means no limit, None a part of the machine's
    /// memory.
    pub memory_max: Option<usize>,
    /// Compression level, 1 to 9.
    pub level_max: u32,
    /// The binary logarithm of the window, 9 to 15.
    pub window_bits: u8,
    encoders: AtomicUsize,
    /// Second in which the first number in `given` was counted.
    second: AtomicU64,
    /// Input of the encoders, bytes: in the second `second`, and in the one before it.
    given: [AtomicU64; 2],
    measured: Mutex<Measured>,
}

/// Processor usage of the process, measured about once a second.
#[derive(Debug, Default)]
struct Measured {
    at_ms: u64,
    used_ms: u64,
    percent: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            rate_max: 0,
            cpu_max: 100,
            memory_max: None,
            level_max: 1,
            window_bits: 15,
            encoders: AtomicUsize::new(0),
            second: AtomicU64::new(0),
            given: Default::default(),
            measured: Mutex::default(),
        }
    }
}

impl Clone for Limits {
    /// Copies the limits; the copy starts with nothing in use.
    fn clone(&self) -> Self {
        Limits {
            rate_max: self.rate_max,
            cpu_max: self.cpu_max,
            memory_max: self.memory_max,
            level_max: self.level_max,
            window_bits: self.window_bits,
            ..Limits::default()
        }
    }
}

/// Permit for an encoder, counted for the process and for the client.
#[derive(Debug)]
pub struct EncoderPermit(Arc<Limits>, OfClient);

impl Drop for EncoderPermit {
    fn drop(&mut self) {
        self.0.encoders.fetch_sub(1, Relaxed);
        self.1.set(self.1.get().saturating_sub(1));
    }
}

impl Limits {
    #[cfg(any(test, feature = "testing"))]
    pub fn of_memory(bytes: usize) -> Limits {
        Limits {
            memory_max: Some(bytes),
            ..Limits::default()
        }
    }

    /// Returns the memory of the encoders and its limit in bytes; 0 means no limit.
    pub fn memory(&self) -> (u64, u64) {
        let held = self.encoders.load(Relaxed) * ENCODER_BYTES;
        let most = self.memory_max.unwrap_or_else(memory_usual);
        (held as u64, most as u64)
    }

    /// Counts the input of an encoder. If two threads start a new second at the same time, some
    /// bytes may count in the wrong one.
    pub fn give(&self, bytes: u64, now_ms: u64) {
        if self.rate_max == 0 {
            return;
        }
        let second = now_ms / 1000;
        let before = self.second.swap(second, Relaxed);
        if before != second {
            let ended = self.given[0].swap(0, Relaxed);
            let follows = second.wrapping_sub(before) == 1;
            self.given[1].store(if follows { ended } else { 0 }, Relaxed);
        }
        self.given[0].fetch_add(bytes, Relaxed);
    }

    /// Returns the bytes over the last 1000 ms, interpolated from two seconds.
    fn rate(&self, now_ms: u64) -> u64 {
        let part = now_ms % 1000;
        let current = self.given[0].load(Relaxed);
        match (now_ms / 1000).wrapping_sub(self.second.load(Relaxed)) {
            0 => current + self.given[1].load(Relaxed) * (1000 - part) / 1000,
            1 => current * (1000 - part) / 1000,
            _ => 0,
        }
    }

    /// Returns the level for a body that begins now; None if a limit is exceeded. `threads`: number
    /// of serving threads.
    pub fn level(&self, now_ms: u64, threads: usize) -> Option<u32> {
        let fits = self.rate_max == 0 || self.rate(now_ms) < self.rate_max;
        let idle =
            self.cpu_max >= 100 || self.cpu_percent(now_ms, threads) < u64::from(self.cpu_max);
        (fits && idle).then_some(self.level_max)
    }

    /// Returns how much of its threads' processors the process used in the last second, in
    /// percent. While another thread measures this, returns 0.
    fn cpu_percent(&self, now_ms: u64, threads: usize) -> u64 {
        let Ok(mut measured) = self.measured.try_lock() else {
            return 0;
        };
        let passed = now_ms.saturating_sub(measured.at_ms);
        if passed >= 1000 || measured.at_ms == 0 {
            let used = clock_gettime(ClockId::ProcessCPUTime);
            let used_ms = used.tv_sec as u64 * 1000 + used.tv_nsec as u64 / 1_000_000;
            if measured.at_ms != 0 {
                let used = used_ms.saturating_sub(measured.used_ms);
                measured.percent = used * 100 / (passed * threads.max(1) as u64).max(1);
            }
            (measured.at_ms, measured.used_ms) = (now_ms.max(1), used_ms);
        }
        measured.percent
    }

    /// Returns a permit for another encoder of this client; None if a limit is reached.
    pub fn take(self: &Arc<Self>, client: &OfClient) -> Option<EncoderPermit> {
        let others = self.encoders.fetch_add(1, Relaxed);
        client.set(client.get() + 1);
        let place = EncoderPermit(Arc::clone(self), Rc::clone(client));
        let most = self.memory_max.unwrap_or_else(memory_usual);
        let fits = most == 0 || (others + 1).saturating_mul(ENCODER_BYTES) <= most;
        (fits && client.get() <= OF_CLIENT_MAX).then_some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_slides_over_a_second() {
        let limits = Limits {
            rate_max: 1000,
            ..Limits::default()
        };
        assert_eq!(limits.level(10_000, 1), Some(1));
        limits.give(600, 10_000);
        assert_eq!(limits.level(10_500, 1), Some(1));
        limits.give(600, 10_500);
        assert_eq!((limits.rate(10_900), limits.level(10_900, 1)), (1200, None));
        assert_eq!(
            (limits.rate(11_500), limits.level(11_500, 1)),
            (600, Some(1))
        );
        limits.give(700, 11_500);
        assert_eq!((limits.rate(11_500), limits.level(11_500, 1)), (1300, None));
        assert_eq!(limits.rate(13_000), 0);
    }

    #[test]
    fn encoders_give_their_memory_back() {
        let limits = Arc::new(Limits::of_memory(2 * ENCODER_BYTES));
        let client = OfClient::default();
        let first = limits.take(&client);
        let second = limits.take(&client);
        assert!(first.is_some() && second.is_some());
        assert!(limits.take(&client).is_none());
        assert_eq!(client.get(), 2, "what was refused does not count");
        drop(first);
        assert!(limits.take(&client).is_some());
    }

    #[test]
    fn one_client_does_not_take_the_memory_of_all_and_all_take_a_part_of_the_machine() {
        let limits = Arc::new(Limits::default());
        let (greedy, modest) = (OfClient::default(), OfClient::default());
        let places: Vec<_> = (0..OF_CLIENT_MAX).map(|_| limits.take(&greedy)).collect();
        assert!(places.iter().all(Option::is_some));
        assert!(limits.take(&greedy).is_none());
        assert!(limits.take(&modest).is_some());
        assert!((MEMORY_MIN..=MEMORY_MAX).contains(&memory_usual()));
    }
}
