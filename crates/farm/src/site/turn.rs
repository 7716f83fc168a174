//! Limits how many new RDP clients a farm handles at one time. If many clients connect at once, the
//! first ones get their host before the last ones are read.

use super::FarmState;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// Number of clients that are handled at one time: enough to keep the node busy while some of them
/// wait for the other node.
const AT_ONE_TIME: usize = 8;
/// Maximum time for which a client waits for a permit, since the other node may hang.
const WAIT_MAX: Duration = Duration::from_millis(250);

/// Permit of one client; dropping it admits the next client.
pub type ClientPermit<'a> = SemaphorePermit<'a>;

/// Semaphore of a farm's permits.
pub(super) struct PermitSemaphore(Semaphore);

impl Default for PermitSemaphore {
    fn default() -> PermitSemaphore {
        PermitSemaphore(Semaphore::new(AT_ONE_TIME))
    }
}

impl FarmState {
    /// Waits for a permit. Returns None when the maximum wait has passed.
    pub async fn acquire_permit(&self) -> Option<ClientPermit<'_>> {
        timeout(WAIT_MAX, self.turns.0.acquire()).await.ok()?.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::tests::farm;
    use std::pin::pin;
    use std::task::{Context, Waker};

    #[test]
    fn permits_are_bounded_and_no_wait_is_endless() {
        let site = FarmState::new("office", farm(Default::default(), &[1]), &[7; 32], None);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut turns = Vec::new();
            for _ in 0..AT_ONE_TIME {
                turns.push(site.acquire_permit().await);
            }
            assert!(turns.iter().all(Option::is_some));
            assert!(site.acquire_permit().await.is_none());
            let mut next = pin!(site.acquire_permit());
            let mut context = Context::from_waker(Waker::noop());
            assert!(next.as_mut().poll(&mut context).is_pending());
            turns.pop();
            assert!(next.await.is_some());
        });
    }
}
