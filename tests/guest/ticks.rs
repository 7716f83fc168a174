//! Detects two instances of a guest that run at once: each prints ticks as long as its processor
//! runs, whatever happens to its disk.

use crate::volume::site::NODES;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Interval at which the consoles are polled.
const LOOK: Duration = Duration::from_millis(100);
/// Interval between two polls above which the order of the output is unknown.
const LOOK_MAX: Duration = Duration::from_millis(300);
/// The word of a tick.
const TICK: &[u8] = b"guest: tick ";

/// The console of a guest on a node.
struct Console {
    path: PathBuf,
    read: u64,
}

impl Console {
    /// Starts at the current end of the file.
    fn new(home: &Path) -> Console {
        let mut console = Console {
            path: home.join("serial.log"),
            read: 0,
        };
        console.ticks();
        console
    }

    /// Returns the number of ticks since the last call.
    fn ticks(&mut self) -> usize {
        let mut bytes = Vec::new();
        let Ok(mut file) = File::open(&self.path) else {
            return 0;
        };
        let length = file.metadata().map_or(0, |known| known.len());
        // The file was truncated if it is shorter than before.
        let from = if length < self.read {
            length
        } else {
            self.read
        };
        let read = file
            .seek(SeekFrom::Start(from))
            .and_then(|_| file.read_to_end(&mut bytes));
        self.read = from + read.unwrap_or_default() as u64;
        bytes
            .windows(TICK.len())
            .filter(|words| *words == TICK)
            .count()
    }
}

/// Longest overlap of two instances: ticks of the one that had fewer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Overlap {
    now: usize,
    longest: usize,
    seen: usize,
}

impl Overlap {
    /// Evaluates the new output of both consoles between two polls.
    fn see(&mut self, ticks: [usize; 2], between: Duration) {
        self.seen += ticks.iter().sum::<usize>();
        match ticks.into_iter().min() {
            Some(both @ 1..) if between <= LOOK_MAX => self.now += both,
            _ => self.now = 0,
        }
        self.longest = self.longest.max(self.now);
    }

    /// Returns the number of all ticks.
    pub fn seen(self) -> usize {
        self.seen
    }

    /// Returns the longest overlap in ticks, of which there are about ten a second.
    pub fn longest(self) -> usize {
        self.longest
    }
}

/// Returns the longest time that a guest waited for its disk, in ticks, by its output.
pub fn longest_wait(console: &str) -> usize {
    let (mut ticks, mut longest) = (0, 0);
    for line in console.lines() {
        match line.split(' ').nth(1) {
            Some("tick") => ticks += 1,
            Some("record") => ticks = 0,
            _ => {}
        }
        longest = longest.max(ticks);
    }
    longest
}

/// Polls the consoles of a guest on both nodes until it is stopped.
pub struct TickMonitor {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Overlap>,
}

impl TickMonitor {
    /// Starts to poll the consoles in these directories of the guest, alpha's first.
    pub fn start(homes: [PathBuf; NODES.len()]) -> TickMonitor {
        let stop = Arc::new(AtomicBool::new(false));
        let stops = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut consoles = homes.map(|home| Console::new(&home));
            let mut overlap = Overlap::default();
            let mut last = Instant::now();
            while !stops.load(Ordering::Relaxed) {
                lab::sleep_in_test(LOOK, "what an instance prints meanwhile");
                let ticks = consoles.each_mut().map(Console::ticks);
                overlap.see(ticks, last.elapsed());
                last = Instant::now();
            }
            overlap
        });
        TickMonitor { stop, thread }
    }

    pub fn stop(self) -> Overlap {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

#[test]
fn the_longest_wait_for_a_disk_is_counted_in_ticks() {
    let console = "guest: tick a\nguest: record 1 a\nguest: tick a\nguest: wrote 2\nguest: tick a\nguest: record 2 a\n";
    assert_eq!(longest_wait(console), 2);
}

#[test]
fn ticks_of_both_consoles_at_once_are_an_overlap_and_a_turn_is_none() {
    let mut overlap = Overlap::default();
    for ticks in [[1, 0], [1, 1], [0, 1], [0, 2], [2, 2], [1, 3], [0, 1]] {
        overlap.see(ticks, LOOK);
    }
    assert_eq!(overlap.longest(), 3);
    // A long time between two polls proves nothing.
    overlap.see([90, 90], LOOK_MAX * 2);
    assert_eq!(overlap.longest(), 3);
}
