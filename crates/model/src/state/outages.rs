//! The outages of a server or a backend.

/// When it was down, and for how long.
#[derive(Debug, Default)]
pub(crate) struct Outages {
    /// When it last went up or down.
    pub last_change_ms: u64,
    /// Duration of the outages that are over.
    pub over_ms: u64,
    /// Since when it is down.
    pub since_ms: Option<u64>,
}

impl Outages {
    /// It goes down.
    pub(crate) fn begin(&mut self, now_ms: u64) {
        self.last_change_ms = now_ms;
        self.since_ms = Some(now_ms);
    }

    /// It comes up.
    pub(crate) fn end(&mut self, now_ms: u64) {
        self.last_change_ms = now_ms;
        if let Some(since) = self.since_ms.take() {
            self.over_ms += now_ms.saturating_sub(since);
        }
    }

    /// Time that it was down, the present outage included.
    pub(crate) fn total_ms(&self, now_ms: u64) -> u64 {
        let present = self.since_ms.map(|since| now_ms.saturating_sub(since));
        self.over_ms + present.unwrap_or(0)
    }
}
