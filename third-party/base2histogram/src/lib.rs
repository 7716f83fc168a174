//! Stands in for the crate of this name: what openraft calls of it, without histograms.
//! Nothing is recorded. See the README for why.

use std::fmt;
use std::marker::PhantomData;

/// Records nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram<T = ()>(PhantomData<T>);

impl<T> Histogram<T> {
    /// Creates one.
    pub fn new() -> Self {
        Histogram(PhantomData)
    }

    /// Does nothing.
    pub fn record(&mut self, _: u64) {}

    /// Does nothing.
    pub fn record_n(&mut self, _: u64, _: u64) {}

    /// Returns zeros.
    pub fn percentile_stats(&self) -> PercentileStats {
        PercentileStats::default()
    }
}

impl<T> Default for Histogram<T> {
    fn default() -> Self {
        Histogram::new()
    }
}

/// The numbers of a histogram that openraft's display reads: zeros.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct PercentileStats {
    pub samples: u64,
    pub p0_1: u64,
    pub p1: u64,
    pub p5: u64,
    pub p10: u64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p99_9: u64,
}

impl fmt::Display for PercentileStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Draws nothing.
#[derive(Clone, Debug, Default)]
pub struct AsciiChart<T = ()>(PhantomData<T>);

impl<T> AsciiChart<T> {
    /// Creates one.
    pub fn new() -> Self {
        AsciiChart(PhantomData)
    }

    /// Drops the histogram.
    #[allow(clippy::should_implement_trait, reason = "the name is that of the original")]
    pub fn add(self, _: &str, _: Histogram<T>) -> Self {
        self
    }

    /// Returns what prints nothing.
    pub fn detailed(&self) -> &'static str {
        ""
    }
}
