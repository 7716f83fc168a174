//! What became of the changes that were asked for.

/// What became of the changes that were asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Changes {
    /// All of them.
    pub asked: u64,
    /// Those that failed since the last that did not.
    pub failed: u64,
}

impl Changes {
    /// One was taken in.
    pub fn taken(&mut self) {
        self.asked = self.asked.saturating_add(1);
        self.failed = 0;
    }

    /// One was refused.
    pub fn refused(&mut self) {
        self.asked = self.asked.saturating_add(1);
        self.failed = self.failed.saturating_add(1);
    }
}

/// How a change ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// It is served.
    Taken,
    /// Nothing was changed.
    Refused,
}
