//! Group commit, as a value: one flush runs at a time. A request that it covers shares it, those
//! that it does not share the next.

use super::{Failure, Token};

/// Who waits for which flush.
#[derive(Default, Debug)]
pub(super) struct Commit {
    is_running: bool,
    running: Vec<Token>,
    waiting: Vec<Token>,
    /// Nothing has ended since the last flush began that only a later one covers.
    is_clean: bool,
    /// A flush has failed: none succeeds until this is forgiven.
    failed: Option<Failure>,
}

impl Commit {
    /// Takes a request for a flush. True if one is to be started now.
    pub(super) fn ask(&mut self, token: Token) -> bool {
        let starts = !self.is_running;
        if starts {
            self.is_running = true;
            self.is_clean = true;
        }
        let (running, waiting) = (&mut self.running, &mut self.waiting);
        // All that a clean one has to cover had ended before the running one began.
        let shares = if self.is_clean { running } else { waiting };
        shares.push(token);
        starts
    }

    /// Something ended, well or not, that may have changed the disk and is not known to be on
    /// stable storage.
    pub(super) fn changed(&mut self) {
        self.is_clean = false;
    }

    /// The flush has ended. Returns those for which it was, and what it means for them.
    pub(super) fn ended(
        &mut self,
        result: Result<(), Failure>,
    ) -> (Vec<Token>, Result<(), Failure>) {
        self.is_running = false;
        self.failed = self.failed.or(result.err());
        let outcome = self.failed.map_or(Ok(()), Err);
        (std::mem::take(&mut self.running), outcome)
    }

    /// A failed flush counts no more.
    pub(super) fn forgive(&mut self) {
        self.failed = None;
    }

    /// Whether the next flush is to be started, and one of the tokens for which it is.
    pub(super) fn next(&mut self) -> Option<Token> {
        let first = *self.waiting.first()?;
        std::mem::swap(&mut self.running, &mut self.waiting);
        self.is_running = true;
        self.is_clean = true;
        Some(first)
    }

    /// Requests that wait for the next flush, or share the one that runs.
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
    fn flushes_that_wait_share_the_next_one() {
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
        // One that runs does not cover what ended before it was asked for, but after it began.
        assert!(commit.ask(Token(3)));
        commit.changed();
        assert!(!commit.ask(Token(4)));
        assert_eq!(commit.ended(Ok(())), (tokens(&[3]), Ok(())));
        assert_eq!(commit.next(), Some(Token(4)));
        // Nor does the next one what ends while it runs.
        assert!(!commit.ask(Token(5)));
        commit.changed();
        assert!(!commit.ask(Token(6)));
        assert_eq!(commit.ended(Ok(())), (tokens(&[4, 5]), Ok(())));
        assert_eq!(commit.next(), Some(Token(6)));
    }

    #[test]
    fn after_a_failed_flush_every_later_one_fails_until_it_is_forgiven() {
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
