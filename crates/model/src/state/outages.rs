//! Measures how long a server or a backend was down.

/// Times and durations of the outages.
#[derive(Debug, Default)]
pub(crate) struct Outages {
    pub last_change_ms: u64,
    /// Total duration of the past outages, milliseconds.
    pub over_ms: u64,
    /// Start of the current outage; None if the object is up.
    pub since_ms: Option<u64>,
}

impl Outages {
    pub(crate) fn begin(&mut self, now_ms: u64) {
        self.last_change_ms = now_ms;
        self.since_ms = Some(now_ms);
    }

    pub(crate) fn end(&mut self, now_ms: u64) {
        self.last_change_ms = now_ms;
        if let Some(since) = self.since_ms.take() {
            self.over_ms += now_ms.saturating_sub(since);
        }
    }

    pub(crate) fn total_ms(&self, now_ms: u64) -> u64 {
        let present = self.since_ms.map(|since| now_ms.saturating_sub(since));
        self.over_ms + present.unwrap_or(0)
    }
}
