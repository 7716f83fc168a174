//! Shares disk flushes between requests, without I/O: one flush runs at a time. A request whose
//! writes the running flush covers shares that flush; other requests share the next one.

use super::{Failure, Token};

/// Running flush, and the requests that wait for the next one.
#[derive(Default, Debug)]
pub(super) struct Commit {
    is_running: bool,
    running: Vec<Token>,
    waiting: Vec<Token>,
    /// True if no change has ended since the last flush began, so that this flush covers all
    /// changes.
    is_clean: bool,
    /// Failure of an earlier flush. Every further flush fails until [`Commit::forgive`].
    failed: Option<Failure>,
}

impl Commit {
    /// Adds a flush request. Returns true if the caller has to start a flush now.
    pub(super) fn ask(&mut self, token: Token) -> bool {
        let starts = !self.is_running;
        if starts {
            self.is_running = true;
            self.is_clean = true;
        }
        let (running, waiting) = (&mut self.running, &mut self.waiting);
        // Shares the running flush only if it covers all changes that have ended.
        let shares = if self.is_clean { running } else { waiting };
        shares.push(token);
        starts
    }

    /// Records that an operation ended, successfully or not, which may have changed the disk and
    /// may not be on stable storage.
    pub(super) fn changed(&mut self) {
        self.is_clean = false;
    }

    pub(super) fn ended(
        &mut self,
        result: Result<(), Failure>,
    ) -> (Vec<Token>, Result<(), Failure>) {
        self.is_running = false;
        self.failed = self.failed.or(result.err());
        let outcome = self.failed.map_or(Ok(()), Err);
        (std::mem::take(&mut self.running), outcome)
    }

    pub(super) fn forgive(&mut self) {
        self.failed = None;
    }

    /// Assigns the waiting requests to the next flush, which the caller has to start. Returns one
    /// of their tokens; None if no request waits.
    pub(super) fn next(&mut self) -> Option<Token> {
        let first = *self.waiting.first()?;
        std::mem::swap(&mut self.running, &mut self.waiting);
        self.is_running = true;
        self.is_clean = true;
        Some(first)
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len() + self.running.len().saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    fn tokens(numbers: &[u64]) -> Vec<Token> {
        numbers.iter().copied().map(Token).collect()
    }

    #[test]
    fn waiting_flushes_share_the_next_one() {
        let mut commit = Commit::default();
        assert!(commit.ask(Token(1)));
        commit.changed();
        assert!(!commit.ask(Token(2)));
        assert!(!commit.ask(Token(3)));
        assert_eq!(commit.ended(Ok(())), (tokens(&[1]), Ok(())));
        assert_eq!(commit.next(), Some(Token(2)));
        commit.changed();
        assert!(!commit.ask(Token(4)));
        assert_eq!(commit.waiting(), 2);
        assert_eq!(commit.ended(Ok(())), (tokens(&[2, 3]), Ok(())));
        assert_eq!(commit.next(), Some(Token(4)));
        assert_eq!(commit.ended(Ok(())), (tokens(&[4]), Ok(())));
        assert_eq!(commit.next(), None);
        assert!(commit.ask(Token(5)));
    }

    #[test]
    fn a_flush_shares_the_one_that_runs_if_nothing_ended_since_that_began() {
        let mut commit = Commit::default();
        commit.changed();
        assert!(commit.ask(Token(1)));
        assert!(!commit.ask(Token(2)));
        assert_eq!(commit.ended(Ok(())), (tokens(&[1, 2]), Ok(())));
        assert_eq!(commit.next(), None);
        // The running flush does not cover an operation that ended after it began.
        assert!(commit.ask(Token(3)));
        commit.changed();
        assert!(!commit.ask(Token(4)));
        assert_eq!(commit.ended(Ok(())), (tokens(&[3]), Ok(())));
        assert_eq!(commit.next(), Some(Token(4)));
        // The next flush does not cover an operation that ends while it runs.
        assert!(!commit.ask(Token(5)));
        commit.changed();
        assert!(!commit.ask(Token(6)));
        assert_eq!(commit.ended(Ok(())), (tokens(&[4, 5]), Ok(())));
        assert_eq!(commit.next(), Some(Token(6)));
    }

    #[test]
    fn flushes_fail_after_a_failure_until_it_is_reset() {
        let mut commit = Commit::default();
        let failure = Failure::Io(Errno::IO);
        assert!(commit.ask(Token(1)));
        assert_eq!(commit.ended(Err(failure)), (tokens(&[1]), Err(failure)));
        assert_eq!(commit.next(), None);
        assert!(commit.ask(Token(2)));
        assert_eq!(commit.ended(Ok(())), (tokens(&[2]), Err(failure)));
        commit.forgive();
        assert!(commit.ask(Token(3)));
        assert_eq!(commit.ended(Ok(())), (tokens(&[3]), Ok(())));
    }
}
