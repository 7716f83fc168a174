//! Loads a further configuration version beside the serving threads and puts it into service.
//! Building the configuration, which is slow, runs at low priority. The replacement does not, since
//! it holds locks for which serving threads may wait.

use super::trial::RollbackVersion;
use super::version::{Built, SupervisorInput, VersionError};
use crate::process::{self, ServingProcess, SideThreadHandle};
use part::wake::WakeEvent;
use proxy::running::{Changed, DataPlane};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::thread::JoinHandle;

pub struct ReloadedVersion {
    pub given: SupervisorInput,
    pub words: String,
    /// Previous version for a rollback, if this version is a candidate.
    pub former: Option<RollbackVersion>,
}

pub struct PendingReload {
    version: u64,
    event: Arc<WakeEvent>,
    thread: JoinHandle<Result<ReloadedVersion, VersionError>>,
}

impl PendingReload {
    /// Starts a thread that loads a version. If `former` is set, the version is a candidate, and
    /// `former` is built for a rollback.
    pub fn begin(
        mut given: SupervisorInput,
        former: Option<SupervisorInput>,
        serving: &ServingProcess,
        side: &Arc<SideThreadHandle>,
    ) -> io::Result<PendingReload> {
        let version = given.take.version;
        let event = Arc::new(WakeEvent::new()?);
        let (running, side, done) = (
            Arc::clone(&serving.running),
            Arc::clone(side),
            Arc::clone(&event),
        );
        let thread = std::thread::Builder::new()
            .name("change".into())
            .spawn(move || {
                // Builds the previous version first: without it the new one cannot be a candidate.
                let former = former.map(build_former).transpose();
                let result = former.and_then(|former| {
                    let words = take(&mut given, &running, &side)?;
                    Ok((words, former))
                });
                // Wakes the main thread, which waits for this event.
                done.wake();
                result.map(|(words, former)| ReloadedVersion {
                    given,
                    words,
                    former,
                })
            })?;
        Ok(PendingReload {
            version,
            event,
            thread,
        })
    }

    pub fn version(&self) -> u64 {
        self.version
    }

    pub fn event(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    pub fn done(&self) -> bool {
        self.thread.is_finished() || self.event.reset()
    }

    /// Waits for the end of the thread and returns its result.
    pub fn outcome(self) -> Result<ReloadedVersion, VersionError> {
        self.thread.join().unwrap_or_else(|_| {
            let panicked = io::Error::other("the thread that loads the change panicked");
            Err(VersionError::DataPlane(panicked))
        })
    }
}

fn build(given: &mut SupervisorInput) -> Result<Built, VersionError> {
    let work = || {
        process::lower_thread_priority();
        let config = given.replay()?;
        given.build(config)
    };
    let built = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("build".into());
        Ok(thread.spawn_scoped(scope, work)?.join())
    });
    built.map_err(VersionError::DataPlane)?.unwrap_or_else(|_| {
        let panicked = io::Error::other("the thread that builds the version panicked");
        Err(VersionError::DataPlane(panicked))
    })
}

fn build_former(mut given: SupervisorInput) -> Result<RollbackVersion, VersionError> {
    let built = build(&mut given)?;
    Ok(RollbackVersion { given, built })
}

fn take(
    given: &mut SupervisorInput,
    running: &DataPlane,
    side: &SideThreadHandle,
) -> Result<String, VersionError> {
    let built = build(given)?;
    if given.take.fresh {
        built.config.lists.take_files();
    }
    install_version(given, built, running, side)
}

/// Puts a built version into service and returns messages for the operator about settings that
/// could not be changed.
pub fn install_version(
    given: &SupervisorInput,
    built: Built,
    running: &DataPlane,
    side: &SideThreadHandle,
) -> Result<String, VersionError> {
    let Built {
        config,
        listening,
        sockets,
        sink,
    } = built;
    let listeners = listening.len();
    let changed = running
        .change(config, listening, &given.options())
        .map_err(VersionError::DataPlane)?;
    tracing::info!(
        target: "proxy",
        op = given.take.operation,
        version = given.take.version,
        listeners,
        kept = ?changed.not_changed,
        "configuration replaced"
    );
    model::log::change(sink);
    side.change();
    let mut words = words(&changed);
    words.extend(changed.runtime_changes);
    words.extend(raise_files(given.take.plan.files_max));
    // Reports an error without undoing the change: the version serves already.
    if let Err(error) = side.sockets().change(sockets) {
        words.push(format!("the statistics sockets were not changed: {error}"));
    }
    Ok(words.join("; "))
}

/// Raises the limit of open files as far as the initial limit permits; returns a message about a
/// shortfall.
fn raise_files(wanted: u64) -> Option<String> {
    let limit = getrlimit(Resource::Nofile);
    let current = limit.current?;
    if current >= wanted {
        return None;
    }
    let most = limit.maximum.map_or(wanted, |hard| hard.min(wanted));
    let raised = Rlimit {
        current: Some(most),
        maximum: limit.maximum,
    };
    let now = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => most,
        Err(_) => current,
    };
    (now < wanted).then(|| {
        format!("the limit of open files stays {now} until a restart ({wanted} requested)")
    })
}

/// Returns messages about changes that the role could not take over, except those that
/// the loader or the supervisor handles.
fn words(changed: &Changed) -> Vec<String> {
    const SEEN_TO: [&str; 4] = ["chroot", "user", "group", "ulimit-n"];
    let names = changed.not_changed.iter();
    let left: Vec<&str> = names
        .copied()
        .filter(|name| !SEEN_TO.contains(name))
        .collect();
    if left.is_empty() {
        Vec::new()
    } else {
        vec![format!(
            "'{}' keeps its value until a restart",
            left.join("', '")
        )]
    }
}
