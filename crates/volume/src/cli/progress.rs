//! Shows the progress of a copy: as a bar on a terminal, otherwise as a line now and then. The
//! output goes to standard error, because standard output may carry the data.

use crate::transfer::Progress;
use std::collections::VecDeque;
use std::io::{IsTerminal, Write};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

pub(super) const DRAW_EVERY: Duration = Duration::from_millis(200);
const LINE_EVERY: Duration = Duration::from_secs(30);
const WINDOW: Duration = Duration::from_secs(8);
const BAR: usize = 24;
/// Limit of an estimated time, seconds; a longer estimate is not shown.
const LEFT_MAX: f64 = 99.0 * 3600.0;

pub(super) struct ProgressDisplay {
    what: String,
    begun: Instant,
    terminal: bool,
    printed: Instant,
    drawn: bool,
    /// Samples: time, bytes processed, bytes of data.
    samples: VecDeque<(Instant, u64, u64)>,
}

impl ProgressDisplay {
    pub(super) fn new(what: &str) -> ProgressDisplay {
        let now = Instant::now();
        ProgressDisplay {
            what: what.to_owned(),
            begun: now,
            terminal: std::io::stderr().is_terminal(),
            printed: now,
            drawn: false,
            samples: VecDeque::from([(now, 0, 0)]),
        }
    }

    pub(super) fn show(&mut self, progress: &Progress) {
        let now = Instant::now();
        let done = progress.done.load(Ordering::Relaxed);
        let data = progress.data.load(Ordering::Relaxed);
        self.samples.push_back((now, done, data));
        while self.samples.len() > 2 && now.duration_since(self.samples[0].0) > WINDOW {
            self.samples.pop_front();
        }
        let (since, done_before, data_before) = self.samples[0];
        let line = CopyProgress {
            done,
            total: progress.total.load(Ordering::Relaxed),
            seconds: now.duration_since(since).as_secs_f64(),
            done_since: done.saturating_sub(done_before),
            data_since: data.saturating_sub(data_before),
        };
        let mut error = std::io::stderr();
        // Ignores failed output, so that the copy continues.
        if self.terminal {
            let _ = write!(error, "\r\x1b[K{}  {}", self.what, line.bar());
            self.drawn = true;
        } else if now.duration_since(self.printed) >= LINE_EVERY {
            self.printed = now;
            let _ = writeln!(error, "{}: {}", self.what, line.words());
        }
        let _ = error.flush();
    }

    pub(super) fn clear(&mut self) {
        if std::mem::take(&mut self.drawn) {
            let mut error = std::io::stderr();
            let _ = write!(error, "\r\x1b[K");
            let _ = error.flush();
        }
    }

    /// Returns the duration as text, and in seconds.
    pub(super) fn time(&self) -> (String, f64) {
        let seconds = self.begun.elapsed().as_secs_f64();
        (duration(seconds), seconds)
    }

    pub(super) fn summary(&self, progress: &Progress) -> String {
        let data = progress.data.load(Ordering::Relaxed);
        let seconds = self.begun.elapsed().as_secs_f64();
        let rate = amount(per_second(data, seconds));
        format!(
            "{} with {} of data in {}, {rate}/s",
            amount(progress.done.load(Ordering::Relaxed)),
            amount(data),
            duration(seconds)
        )
    }
}

struct CopyProgress {
    done: u64,
    total: u64,
    seconds: f64,
    done_since: u64,
    data_since: u64,
}

impl CopyProgress {
    fn share(&self) -> f64 {
        match self.total {
            0 => 1.0,
            total => (self.done as f64 / total as f64).min(1.0),
        }
    }

    fn words(&self) -> String {
        let percent = (self.share() * 100.0) as u32;
        let rate = amount(per_second(self.data_since, self.seconds));
        let mut words = format!(
            "{percent:3}%  {} of {}  {rate}/s",
            amount(self.done),
            amount(self.total)
        );
        let left = self.total.saturating_sub(self.done) as f64 * self.seconds;
        let left = left / self.done_since.max(1) as f64;
        if self.done_since > 0 && left < LEFT_MAX {
            words += &format!("  {} left", duration(left));
        } else if self.done < self.total {
            words += "  waiting";
        }
        words
    }

    fn bar(&self) -> String {
        let full = (self.share() * BAR as f64) as usize;
        format!("[{:<BAR$}] {}", "#".repeat(full.min(BAR)), self.words())
    }
}

pub(super) fn per_second(bytes: u64, seconds: f64) -> u64 {
    (bytes as f64 / seconds.max(0.001)) as u64
}

/// Formats an amount: `1.5 GiB`.
pub fn amount(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    let fits = units.into_iter().find(|(shift, _)| bytes >> shift > 0);
    match fits {
        Some((shift, unit)) => format!("{:.1} {unit}", bytes as f64 / (1_u64 << shift) as f64),
        None => format!("{bytes} B"),
    }
}

fn duration(seconds: f64) -> String {
    let whole = seconds as u64;
    match whole {
        0..=9 => format!("{seconds:.1} s"),
        10..=59 => format!("{whole} s"),
        60..=3599 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_amount_rate_and_time_left() {
        let mut line = CopyProgress {
            done: 3 << 30,
            total: 4 << 30,
            seconds: 8.0,
            done_since: 1 << 30,
            data_since: 512 << 20,
        };
        let words = " 75%  3.0 GiB of 4.0 GiB  64.0 MiB/s  8.0 s left";
        assert_eq!(line.words(), words);
        assert_eq!(line.bar(), format!("[{}      ] {words}", "#".repeat(18)));
        line.done_since = 0;
        line.data_since = 0;
        assert_eq!(line.words(), " 75%  3.0 GiB of 4.0 GiB  0 B/s  waiting");
        line.total = 0;
        assert!(
            line.bar()
                .starts_with(&format!("[{}] 100%", "#".repeat(BAR)))
        );
    }

    #[test]
    fn amounts_and_times_are_for_people() {
        let amounts = [0, 1023, 1024, 1536 << 20, 16 << 40].map(amount);
        assert_eq!(amounts, ["0 B", "1023 B", "1.0 KiB", "1.5 GiB", "16.0 TiB"]);
        let times = [0.04, 59.9, 200.0, 7260.0].map(duration);
        assert_eq!(times, ["0.0 s", "59 s", "3 min 20 s", "2 h 1 min"]);
    }
}
