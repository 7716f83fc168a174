//! Runs work that takes long, on a thread of its own with ordinary priority.
//!
//! The thread of the control role has real-time priority and renews leases. A computation that
//! grows with the configuration must not delay it.

use tokio::sync::{Semaphore, oneshot};

/// Runs one function at a time; other callers wait for their turn.
#[derive(Debug)]
pub struct Background {
    turn: Semaphore,
}

impl Default for Background {
    fn default() -> Background {
        Background {
            turn: Semaphore::new(1),
        }
    }
}

impl Background {
    /// Runs a function on a separate thread.
    ///
    /// # Errors
    /// The thread cannot be started, or the function panicked.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, String> {
        let _turn = self.turn.acquire().await.map_err(|e| e.to_string())?;
        let (sender, receiver) = oneshot::channel();
        let thread = std::thread::Builder::new().name("background".to_owned());
        let begun = thread.spawn(move || {
            crate::follow::be_ordinary();
            // Ignores an error: the caller may have gone.
            let _ = sender.send(work());
        });
        begun.map_err(|error| language::reason(&error))?;
        receiver
            .await
            .map_err(|_| "the background task failed".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::mpsc::channel;

    #[tokio::test(flavor = "current_thread")]
    async fn callers_thread_continues_while_work_runs() {
        let background = Arc::new(Background::default());
        let (release, released) = channel();
        let work = {
            let background = Arc::clone(&background);
            let caller = std::thread::current().id();
            tokio::spawn(async move {
                let work = move || {
                    released.recv().unwrap();
                    std::thread::current().id() != caller
                };
                background.run(work).await
            })
        };
        tokio::task::yield_now().await;
        // Only this thread can end the work.
        release.send(()).unwrap();
        assert_eq!(work.await.unwrap(), Ok(true));
    }
}
