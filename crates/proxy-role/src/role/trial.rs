//! Keeps the previous version compiled while a candidate is served, and puts it into service again
//! at once by a message of the supervisor or by the address role. A rollback reads, opens and
//! resolves nothing, and needs no other process.

use super::change::install_version;
use super::version::{Built, SupervisorInput, VersionError};
use crate::process::{ServingProcess, SideThreadHandle};
use part::lock;
use part::wake::WakeEvent;
use proxy::running::DataPlane;
use proxy::vitals::OnTrial;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Time of one wait for a request of the address role. Between two waits the thread checks whether
/// the candidate was accepted.
const WAIT: Duration = Duration::from_millis(250);

/// Previous version for a rollback: built, and compared with the served one only when it is
/// installed.
pub struct RollbackVersion {
    pub given: SupervisorInput,
    pub built: Built,
}

/// Result of the rollback, with the text to report.
pub type Back = Result<(SupervisorInput, String), VersionError>;

#[derive(Default)]
struct TrialState {
    former: Mutex<Option<RollbackVersion>>,
    outcome: Mutex<Option<Back>>,
    over: AtomicBool,
}

/// A candidate version. Dropping it accepts the candidate.
pub struct Trial {
    shared: Arc<TrialState>,
    event: Option<Arc<WakeEvent>>,
    seen: Option<Arc<OnTrial>>,
}

impl TrialState {
    /// Puts the previous version into service. Returns None if another thread has done that, or the
    /// candidate was accepted.
    fn go_back(&self, running: &DataPlane, side: &SideThreadHandle) -> Option<Back> {
        let RollbackVersion { given, built } = lock(&self.former).take()?;
        let words = install_version(&given, built, running, side);
        Some(words.map(|words| (given, words)))
    }
}

impl Trial {
    pub fn begin(
        former: RollbackVersion,
        serving: &ServingProcess,
        side: &Arc<SideThreadHandle>,
    ) -> Trial {
        let shared = Arc::new(TrialState {
            former: Mutex::new(Some(former)),
            ..TrialState::default()
        });
        let seen = OnTrial::begin(serving.running.runtime).map(Arc::new);
        let watched = seen.as_ref();
        let event = watched.and_then(|seen| watch(seen, &shared, &serving.running, side));
        Trial {
            shared,
            event,
            seen,
        }
    }

    /// Accepts the candidate: it can no longer be rolled back. Returns false if a
    /// rollback is in progress or done.
    pub fn end(&self) -> bool {
        let stays = lock(&self.shared.former).take().is_some();
        if stays {
            self.shared.over.store(true, Ordering::Release);
            if let Some(seen) = &self.seen {
                seen.end();
            }
        }
        stays
    }

    /// Rolls back; None if a rollback is done or in progress, or the candidate was accepted.
    pub fn roll_back(&self, running: &DataPlane, side: &SideThreadHandle) -> Option<Back> {
        self.shared.go_back(running, side)
    }

    /// Returns a descriptor that becomes readable after a rollback by the address role; None if no
    /// thread waits for one.
    pub fn event(&self) -> Option<BorrowedFd<'_>> {
        self.event.as_ref().map(|event| event.as_fd())
    }

    /// Removes and returns the result of a rollback that the address role requested.
    pub fn rollback_result(&self) -> Option<Back> {
        lock(&self.shared.outcome).take()
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Release);
        drop(lock(&self.shared.former).take());
    }
}

/// Starts a thread that waits for a rollback request of the address role and executes it. Returns
/// None if no thread can be started; the address role then waits in vain for a moment and moves its
/// address.
fn watch(
    on_trial: &Arc<OnTrial>,
    shared: &Arc<TrialState>,
    running: &Arc<DataPlane>,
    side: &Arc<SideThreadHandle>,
) -> Option<Arc<WakeEvent>> {
    let event = Arc::new(WakeEvent::new().ok()?);
    let (shared, running) = (Arc::clone(shared), Arc::clone(running));
    let (side, done) = (Arc::clone(side), Arc::clone(&event));
    let on_trial = Arc::clone(on_trial);
    let work = move || {
        while !shared.over.load(Ordering::Acquire) {
            if !on_trial.wait(WAIT) {
                continue;
            }
            if let Some(back) = shared.go_back(&running, &side) {
                *lock(&shared.outcome) = Some(back);
                // Releases the address role before the result is reported.
                on_trial.end();
                done.wake();
            }
            return;
        }
    };
    let thread = std::thread::Builder::new().name("trial".into());
    thread.spawn(work).ok()?;
    Some(event)
}
