//! Counts reloads and their failures for `show proc` and the status text, and defines the result of
//! a reload.

/// Counters of reload requests and their results.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Changes {
    pub asked: u64,
    /// Number of failed requests since the last successful one.
    pub failed: u64,
}

impl Changes {
    pub fn taken(&mut self) {
        self.asked = self.asked.saturating_add(1);
        self.failed = 0;
    }

    pub fn refused(&mut self) {
        self.asked = self.asked.saturating_add(1);
        self.failed = self.failed.saturating_add(1);
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReloadResult {
    Taken,
    Refused,
}
