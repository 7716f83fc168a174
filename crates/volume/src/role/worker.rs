//! Runs the thread of a volume, which opens the backing store, serves the volume, and retries
//! failures until it is stopped.

use super::keeper;
use super::socket::{self, SocketClaim};
use crate::command;
use crate::config::{RESYNC_RATE, ReplicaPair, Spec, size_words};
use crate::device::{self, Backing, Device, DeviceError};
use crate::disk::Preference;
use crate::export::{ExportListener, Grant, Tenure, overwrite_event};
use crate::layout::{self, LayoutError, Metadata, Superblock};
use crate::link::dial::Registry;
use crate::link::greeting::{Greeting, ReplicaProperties};
use crate::mirror::mailbox::{ClusterRequest, Mailbox, MailboxMessage, Queue, SnapshotAction};
use crate::overwrite::{MarkChange, OverwriteMark};
use crate::single::{ChangeSource, ServeError, Single, VolumeChanges};
use crate::status::{ServedProperties, VolumeStatus};
use crate::sums::area::{self, Area, AreaError};
use crate::sums::{BLOCK_BYTES, Tally};
use crate::verified;
use part::lock;
use part::report::Moment;
use part::role::VolumeUse;
use part::status::VolumeServiceState;
use part::voice::write_error;
use part::wake::WakeEvent;
use protocol::nbd;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::time::Timespec;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Delay before the first retry.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(5);
const CREATED_LOOK: Duration = Duration::from_millis(500);
/// Request size that clients should prefer for the best performance, bytes.
pub(super) const PREFERRED_BYTES: u32 = 4096;

/// Operator's order for a volume with one replica: check all data against the checksums.
const CHECK: u8 = 1;
const END_CHECK: u8 = 2;
const REOPEN: u8 = 3;

/// Drops the privileges that a thread does not need to serve a volume; keeps access to the volume's
/// backing store and the runtime directory. Returns an error message.
pub type Confine = fn(runtime: &Path, backing: &Backing) -> Result<(), String>;

#[derive(Clone, Debug)]
pub struct VolumeEnvironment {
    pub runtime: PathBuf,
    /// Function that each volume's thread calls first.
    pub confine: Confine,
}

/// State shared by volumes with two replicas.
#[derive(Clone, Debug)]
pub(super) struct MirrorContext {
    pub(super) registry: Arc<Registry>,
    pub(super) wishes: Arc<Queue<(String, ClusterRequest)>>,
    pub(super) boot: u128,
}

/// Handle of a volume's thread.
#[derive(Debug)]
pub(super) struct Worker {
    shared: Arc<WorkerState>,
    /// None if the system could not create the thread.
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
pub(super) struct WorkerState {
    pub(super) place: VolumeEnvironment,
    pub(super) ties: MirrorContext,
    pub(super) mailbox: Option<Arc<Mailbox>>,
    status: Mutex<VolumeStatus>,
    wanted_bytes: AtomicU64,
    asked: AtomicU8,
    /// Requested changes of the mark of an incomplete volume with one replica, the oldest first.
    mark_changes: Mutex<Vec<MarkChange>>,
    pub(super) is_single: AtomicBool,
    is_used: AtomicBool,
    pub(super) tenure: Arc<Tenure>,
    /// True if the volume stops because a new process replaces this one.
    pub(super) leaves: AtomicBool,
    /// Descriptor that is readable when the thread has to end. None if the system had no
    /// descriptor.
    pub(super) stop: Option<WakeEvent>,
    wake: Option<WakeEvent>,
}

/// State of a volume that is not served, and the reason.
pub(super) struct ServeFailure(pub(super) VolumeServiceState, pub(super) String);

impl Worker {
    /// Starts the thread. `user` was connected to the volume in the previous process, and
    /// reconnects to this one.
    pub(super) fn start(
        name: &str,
        spec: Spec,
        place: VolumeEnvironment,
        ties: MirrorContext,
        user: Option<String>,
    ) -> Worker {
        let event = || WakeEvent::new().ok();
        let status = VolumeStatus {
            name: name.to_owned(),
            socket: socket::path(&place.runtime, name),
            state: VolumeServiceState::Opening,
            since: Moment::now(),
            why: String::new(),
            served: None,
            opened: Vec::new(),
            events: Vec::new(),
            sums: Arc::new(Tally::new(name)),
            meter: Arc::default(),
            snapshots: None,
            network: None,
            spec: spec.clone(),
            mirror: None,
            overwrite: None,
            verified: None,
        };
        if let Some(user) = user {
            status.meter.tenure.reserve(user, Instant::now());
        }
        let is_single = AtomicBool::new(spec.pair.is_none());
        let greeting = |pair: ReplicaPair| Greeting {
            volume: name.to_owned(),
            from: pair.me,
            to: pair.other,
            facts: ReplicaProperties::default(),
        };
        // Ignores a missing descriptor: the volume then fails with an error message when it is
        // served.
        let pair = spec.pair.clone().or_else(|| spec.single());
        let mailbox = pair.and_then(|pair| Mailbox::new(greeting(pair)).ok());
        let shared = Arc::new(WorkerState {
            place,
            ties,
            mailbox: mailbox.map(Arc::new),
            wanted_bytes: AtomicU64::new(spec.size_bytes),
            is_single,
            is_used: AtomicBool::new(false),
            tenure: Arc::clone(&status.meter.tenure),
            leaves: AtomicBool::new(false),
            asked: AtomicU8::new(0),
            mark_changes: Mutex::default(),
            status: Mutex::new(status),
            stop: event(),
            wake: event(),
        });
        let own = Arc::clone(&shared);
        let builder = std::thread::Builder::new().name(format!("volume/{name}"));
        let span = tracing::error_span!("volume", volume = name);
        let thread = builder.spawn(move || span.in_scope(|| own.run_worker()));
        if let Err(error) = &thread {
            shared.enter(
                VolumeServiceState::Failed,
                format!("cannot start a thread: {error}"),
            );
        }
        Worker {
            shared,
            thread: thread.ok(),
        }
    }

    pub(super) fn name(&self) -> String {
        self.shared.status().name.clone()
    }

    pub(super) fn spec(&self) -> Spec {
        self.shared.status().spec.clone()
    }

    pub(super) fn status(&self) -> VolumeStatus {
        let mut status = self.shared.status().clone();
        if status.mirror.is_none() {
            status.verified = status.sums.sums().verified;
        }
        status
    }

    pub(super) fn check(&self, begins: bool) {
        self.ask(if begins { CHECK } else { END_CHECK });
    }

    pub(super) fn reopen(&self) {
        self.ask(REOPEN);
    }

    /// Changes the mark of an incomplete volume with one replica. The status shows the new mark
    /// once it is stored.
    pub(super) fn change_mark(&self, change: MarkChange) {
        lock(&self.shared.mark_changes).push(change);
        signal(self.shared.wake.as_ref());
    }

    fn ask(&self, asked: u8) {
        self.shared.asked.store(asked, Ordering::Release);
        signal(self.shared.wake.as_ref());
    }

    pub(super) fn shared(&self) -> Arc<WorkerState> {
        Arc::clone(&self.shared)
    }

    pub(super) fn serves(&self) -> impl Fn() -> bool + Send + 'static {
        let shared = Arc::clone(&self.shared);
        move || shared.status().state.is_served()
    }

    pub(super) fn mailbox(&self) -> Option<&Mailbox> {
        self.shared.mailbox.as_deref()
    }

    pub(super) fn set_use(&self, used: Option<VolumeUse>, grant: Option<Grant>) {
        self.shared.is_used.store(used.is_some(), Ordering::Release);
        let has_changed = self.shared.tenure.grant(grant);
        if has_changed {
            signal(self.shared.wake.as_ref());
        }
        let mailbox = self.mailbox();
        if let Some(mailbox) = mailbox.filter(|one| has_changed || one.used() != used) {
            mailbox.set_use(used);
        }
    }

    /// Returns the name of the connected user, or of the user that the volume is reserved for.
    pub(super) fn named_user(&self) -> Option<String> {
        self.shared.tenure.named_user()
    }

    pub(super) fn with_status<T>(&self, look: impl FnOnce(&VolumeStatus) -> T) -> T {
        look(&self.shared.status())
    }

    pub(super) fn keep(&self, what: SnapshotAction) {
        if let Some(mailbox) = &self.shared.mailbox {
            let (name, backing) = (self.name(), self.spec().backing);
            keeper::keep(&name, &backing, mailbox, what);
        }
    }

    /// Returns the current size, bytes; None unless the volume is open.
    pub(super) fn size_bytes(&self) -> Option<u64> {
        let status = self.shared.status();
        status.served.map(|served| served.size_bytes)
    }

    pub(super) fn is_mirror(&self) -> bool {
        let status = self.shared.status();
        status.spec.pair.is_some() || status.mirror.is_some()
    }

    pub(super) fn has_copy_at(&self, node: &str) -> bool {
        self.shared.has_copy_at(node)
    }

    /// Applies a new configuration that [`Spec::continues`] permits: the size, the policy without a
    /// majority, the rates, or one node instead of two.
    pub(super) fn change(&self, spec: &Spec) {
        let size_bytes = spec.size_bytes;
        self.shared
            .is_single
            .store(spec.pair.is_none(), Ordering::Release);
        {
            let own = &mut self.shared.status().spec;
            own.size_bytes = size_bytes;
            own.without_majority = spec.without_majority;
            own.verify = spec.verify;
            if let (Some(own), Some(pair)) = (&mut own.pair, &spec.pair) {
                own.resync_rate = pair.resync_rate;
            }
        }
        self.shared
            .wanted_bytes
            .store(size_bytes, Ordering::Release);
        signal(self.shared.wake.as_ref());
        if let Some(mailbox) = self.mailbox().filter(|_| self.is_mirror()) {
            mailbox.letters().put_once(MailboxMessage::Size(size_bytes));
            let policy = MailboxMessage::WithoutMajority(spec.without_majority);
            mailbox.letters().put_once(policy);
            if let Some(pair) = &spec.pair {
                mailbox
                    .letters()
                    .put_once(MailboxMessage::ResyncRate(pair.resync_rate));
            }
        }
    }

    /// Stops the thread. `leaves`: a new process replaces this one.
    pub(super) fn stop(&self, leaves: bool) {
        self.shared.leaves.store(leaves, Ordering::Release);
        self.shared
            .enter(VolumeServiceState::Stopping, String::new());
        signal(self.shared.stop.as_ref());
    }

    pub(super) fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

fn signal(event: Option<&WakeEvent>) {
    if let Some(event) = event {
        event.wake();
    }
}

impl WorkerState {
    pub(super) fn status(&self) -> MutexGuard<'_, VolumeStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn enter(&self, state: VolumeServiceState, why: String) {
        let mut status = self.status();
        // Keeps the state of a stopping volume.
        if status.state == VolumeServiceState::Stopping || !status.enter(state, why) {
            return;
        }
        let (word, _) = crate::status::state_words(state);
        let colon = if status.why.is_empty() { "" } else { ": " };
        let line = format!(
            "evenkeel: volume {}: {word}{colon}{}\n",
            status.name, status.why
        );
        drop(status);
        if state != VolumeServiceState::Opening && state != VolumeServiceState::Stopping {
            write_error(&line);
        }
        self.notify_user_change();
    }

    pub(super) fn notify_user_change(&self) {
        if self.is_used.load(Ordering::Acquire) {
            self.ties.wishes.wake();
        }
    }

    fn run_worker(self: &Arc<Self>) {
        let mut retry = RETRY_FIRST;
        let mut confined = false;
        loop {
            let ServeFailure(state, why) = match self.serve(&mut confined) {
                Ok(()) => return,
                Err(trouble) => trouble,
            };
            {
                let mut status = self.status();
                (status.served, status.mirror) = (None, None);
                let tenure = &status.meter.tenure;
                // Reserves the volume for its user, whose clients reconnect when it is served
                // again: until then no other user may open it.
                if let Some(user) = tenure.named_user() {
                    tenure.reserve(user, Instant::now());
                }
                tenure.forget_holder();
                verified::close(&mut status.verified, Moment::now());
            }
            self.enter(state, why);
            let pause = match state {
                VolumeServiceState::NotCreated => retry.min(CREATED_LOOK),
                VolumeServiceState::Opening => RETRY_FIRST,
                _ => retry,
            };
            if self.is_stopped_within(pause) {
                return;
            }
            retry = (retry * 2).min(RETRY_MAX);
        }
    }

    /// Waits until the pause is over, the thread is woken, or the volume has to stop. Returns
    /// whether it has to stop.
    fn is_stopped_within(&self, pause: Duration) -> bool {
        let Some((stop, wake)) = self.stop.as_ref().zip(self.wake.as_ref()) else {
            std::thread::sleep(pause);
            return false;
        };
        let mut watched = [
            PollFd::new(stop, PollFlags::IN),
            PollFd::new(wake, PollFlags::IN),
        ];
        // Ignores errors: everything is checked again after any wake-up.
        let _ = poll(&mut watched, Timespec::try_from(pause).ok().as_ref());
        let stops = !watched[0].revents().is_empty();
        wake.reset();
        stops
    }

    fn serve(self: &Arc<Self>, confined: &mut bool) -> Result<(), ServeFailure> {
        let (name, backing) = {
            let status = self.status();
            (status.name.clone(), status.spec.backing.clone())
        };
        let failed = |words: String| ServeFailure(VolumeServiceState::Failed, words);
        let other = self
            .status()
            .spec
            .pair
            .as_ref()
            .map(|pair| pair.other.clone());
        let refused = |error: DeviceError| {
            let ServeFailure(state, words) = refused(&error, &name, &backing);
            let rescue = command::rescue(&error, &name, &backing, other.as_deref());
            let rescue = rescue.map(|rescue| format!(". {rescue}"));
            ServeFailure(state, words + &rescue.unwrap_or_default())
        };
        is_active(&backing).map_err(refused)?;
        if !*confined {
            (self.place.confine)(&self.place.runtime, &backing).map_err(failed)?;
            *confined = true;
        }
        let claim = SocketClaim::take(&self.place.runtime, &name).map_err(|errno| match errno {
            Errno::WOULDBLOCK => {
                let words = "another volume of this name is served, or is still stopping";
                ServeFailure(VolumeServiceState::InUse, words.to_owned())
            }
            errno => failed(format!("cannot lock its socket: {errno}")),
        })?;
        let opened = device::open(&backing, &name, None);
        let (device, layout, loaded) = opened.map_err(refused)?;
        self.status().open(&device);
        let spec = self.status().spec.clone();
        if let Some(pair) = &spec.pair {
            let area = self.pair_sums(&device, &loaded.head)?;
            return self.serve_pair(&claim, device, layout, loaded, pair, area);
        }
        // Serves one of two replicas only with a lease: otherwise the other replica and the cluster
        // would not learn of new writes.
        let is_whole = matches!(loaded.head.state, layout::SyncState::Joined(_));
        if !is_whole || loaded.head.promised > 0 {
            let words = "it is one of two copies of a cluster: name its nodes in `on`";
            let pair = spec.single().ok_or_else(|| failed(words.to_owned()))?;
            let area = self.pair_sums(&device, &loaded.head)?;
            return self.serve_pair(&claim, device, layout, loaded, &pair, area);
        }
        self.serve_single(&claim, device, layout, &name, &backing)
    }

    fn serve_single(
        self: &Arc<Self>,
        claim: &SocketClaim,
        mut device: Device,
        mut layout: Metadata,
        name: &str,
        backing: &Backing,
    ) -> Result<(), ServeFailure> {
        let failed = |words: String| ServeFailure(VolumeServiceState::Failed, words);
        device::is_own(&layout, backing, name).map_err(|error| failed(error.to_string()))?;
        self.fit(&device, &mut layout, backing, name)?;
        let area = self.sums(&device, layout.head(), false)?;
        let size_max = area.as_ref().map_or(u64::MAX, |area| area.size_max);
        let no_socket = |error| failed(format!("cannot listen at its socket: {error}"));
        let listener = ExportListener::Unix(claim.listen().map_err(no_socket)?);
        // Uses the page cache only without checksums: these verify the content of the disk.
        if area.is_none() {
            device.use_page_cache();
        }
        let size = layout.head().size_bytes;
        let export = nbd::Export {
            name: name.to_owned(),
            description: format!("the volume {name}"),
            size,
            read_only: self.status().spec.read_only,
            multi_conn: false,
            block_min: match area {
                Some(_) => device.sector_bytes.max(BLOCK_BYTES as u32),
                None => device.sector_bytes,
            },
            block_preferred: PREFERRED_BYTES,
        };
        let sums = area.map(|area| self.with_rate(area));
        let best = Preference::Best;
        let single = Single::checked(&device.data, export, vec![listener], best, sums);
        let mut single = single.map_err(|error| failed(error.to_string()))?;
        let meter = {
            let mut status = self.status();
            status.served = Some(ServedProperties {
                size_bytes: size,
                uses_ring: single.uses_ring(),
                is_direct: device.is_direct,
            });
            Arc::clone(&status.meter)
        };
        single.count_in(meter);
        self.heed(&mut single);
        let mark = layout.head().overwrite;
        single.set_overwrite(mark);
        self.status().overwrite = mark;
        self.enter(VolumeServiceState::Serving, String::new());
        let (stop, wake) = self
            .stop
            .as_ref()
            .zip(self.wake.as_ref())
            .ok_or_else(|| failed("no free file descriptor".to_owned()))?;
        let mut woken = || {
            wake.reset();
            let asked = self.asked.swap(0, Ordering::AcqRel);
            VolumeChanges {
                overwrite: self.store_mark(&device, &mut layout, backing, name),
                size: self.grown(&device, &mut layout, backing, name, size_max),
                check: matches!(asked, CHECK | END_CHECK).then_some(asked == CHECK),
                rate: self.status().spec.verify,
                reopens: asked == REOPEN,
            }
        };
        let waker = ChangeSource {
            wakes: wake.as_fd(),
            woken: &mut woken,
        };
        let served = single.run_woken(stop.as_fd(), Some(waker));
        claim.remove();
        served.map_err(|error| match error {
            ServeError::Reopens => ServeFailure(VolumeServiceState::Opening, String::new()),
            error => failed(error.to_string()),
        })
    }

    fn heed(self: &Arc<Self>, single: &mut Single) {
        let users = Arc::clone(self);
        let changed = Arc::new(move || users.notify_user_change());
        single.attach_tenure(Arc::clone(&self.tenure), changed);
    }

    pub(super) fn with_rate(&self, area: Area) -> (Area, u64, Arc<Tally>) {
        let status = self.status();
        let rate = status.spec.verify.unwrap_or(RESYNC_RATE);
        (area, rate, Arc::clone(&status.sums))
    }

    /// Opens the checksums of a replica that is one of two. If the existing ones prevent the
    /// configured size, places new ones at the end of the device.
    fn pair_sums(&self, device: &Device, head: &Superblock) -> Result<Option<Area>, ServeFailure> {
        let area = self.sums(device, head, true)?;
        if area
            .as_ref()
            .is_none_or(|area| area.size_max >= self.wanted())
        {
            return Ok(area);
        }
        self.without_sums(device, head)?;
        self.sums(device, head, true)
    }

    fn sums(
        &self,
        device: &Device,
        head: &Superblock,
        is_pair: bool,
    ) -> Result<Option<Area>, ServeFailure> {
        if self.status().spec.verify.is_none() {
            self.without_sums(device, head)?;
            return Ok(None);
        }
        let failed = |error: AreaError| ServeFailure(VolumeServiceState::Failed, error.to_string());
        let tally = Arc::clone(&self.status().sums);
        match area::open(device, head) {
            Ok(area) => {
                tally.open(true, is_pair, None);
                Ok(Some(area))
            }
            // Serves the volume without checksums. The report shows the reason.
            Err(error @ (AreaError::NoRoom { .. } | AreaError::NoLog)) => {
                area::drop_sums(device, head).map_err(failed)?;
                tally.open(false, is_pair, Some(error.to_string()));
                Ok(None)
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Drops checksums that will no longer be updated with the data.
    fn without_sums(&self, device: &Device, head: &Superblock) -> Result<(), ServeFailure> {
        let dropped = area::drop_sums(device, head);
        dropped.map_err(|error| ServeFailure(VolumeServiceState::Failed, error.to_string()))?;
        self.status().sums.open(false, false, None);
        Ok(())
    }

    fn fit(
        &self,
        device: &Device,
        layout: &mut Metadata,
        backing: &Backing,
        name: &str,
    ) -> Result<(), ServeFailure> {
        let (has, wanted) = (layout.head().size_bytes, self.wanted());
        let failed = |words: String| ServeFailure(VolumeServiceState::Failed, words);
        if has > wanted {
            let (has, wanted) = (size_words(has), size_words(wanted));
            return Err(failed(format!(
                "it has {has} and cannot shrink to {wanted}: write `size {has}`. Nothing was written"
            )));
        }
        if has < wanted {
            let grown = device::grow(device, layout, backing, name, wanted);
            grown.map_err(|error| failed(format!("cannot grow: {error}")))?;
        }
        Ok(())
    }

    /// Stores the requested changes of the mark of an incomplete volume. Returns the new mark if it
    /// has changed. After a failure the volume counts as incomplete.
    fn store_mark(
        &self,
        device: &Device,
        layout: &mut Metadata,
        backing: &Backing,
        name: &str,
    ) -> Option<Option<OverwriteMark>> {
        let before = layout.head().overwrite;
        let mut stored = Ok(());
        for change in std::mem::take(&mut *lock(&self.mark_changes)) {
            let current = layout.head().overwrite;
            let Some(mark) = change.applied(current) else {
                continue;
            };
            if stored.is_ok() {
                stored = device::set_overwrite(device, layout, backing, name, mark);
            }
        }
        let mark = layout.head().overwrite;
        let mark = match stored {
            Ok(()) => {
                let mut status = self.status();
                status.overwrite = mark;
                if mark != before {
                    let words = overwrite_event(status.overwrite());
                    write_error(&format!("evenkeel: volume {name}: {words}\n"));
                }
                mark
            }
            // Keeps the mark out of the status, so that no command begins to write.
            Err(error) => {
                write_error(&format!(
                    "evenkeel: volume {name}: cannot store whether it is incomplete: {error}\n"
                ));
                mark.or(before)
            }
        };
        let has_changed = mark != before;
        if has_changed {
            self.notify_user_change();
        }
        has_changed.then_some(mark)
    }

    fn grown(
        &self,
        device: &Device,
        layout: &mut Metadata,
        backing: &Backing,
        name: &str,
        size_max: u64,
    ) -> Option<u64> {
        if self.wanted() > size_max {
            let words =
                "it grows when the volume role is restarted: its checksums are behind its data";
            self.enter(VolumeServiceState::Serving, words.to_owned());
            return None;
        }
        match self.fit(device, layout, backing, name) {
            Ok(()) => {
                let size = layout.head().size_bytes;
                if let Some(served) = &mut self.status().served {
                    served.size_bytes = size;
                }
                self.enter(VolumeServiceState::Serving, String::new());
                Some(size)
            }
            // Continues with the current size.
            Err(ServeFailure(_, words)) => {
                self.enter(VolumeServiceState::Serving, words);
                None
            }
        }
    }

    pub(super) fn has_copy_at(&self, node: &str) -> bool {
        let spec = &self.status().spec;
        let pair = spec.pair.clone().or_else(|| spec.single());
        // Ignores the other node once the configuration names one node only: a running volume keeps
        // its pair.
        let is_single = self.is_single.load(Ordering::Acquire);
        pair.is_some_and(|pair| pair.me == node || pair.other == node && !is_single)
    }

    pub(super) fn wanted(&self) -> u64 {
        self.wanted_bytes.load(Ordering::Acquire)
    }
}

/// Checks that a logical volume has its device, which the confinement has to permit.
fn is_active(backing: &Backing) -> Result<(), DeviceError> {
    match backing {
        Backing::Lvm(logical) if !logical.path.exists() => {
            Err(DeviceError::Missing(logical.path.clone()))
        }
        _ => Ok(()),
    }
}

fn refused(error: &DeviceError, name: &str, backing: &Backing) -> ServeFailure {
    let create = format!("`evenkeel volume create {name}` creates it");
    match error {
        DeviceError::Missing(path) if path.extension().is_some_and(|end| end == "volume") => {
            ServeFailure(VolumeServiceState::NotCreated, format!("{error}; {create}"))
        }
        DeviceError::Missing(_) if matches!(backing, Backing::Lvm(_)) => {
            ServeFailure(VolumeServiceState::NotCreated, format!("{error}; {create}"))
        }
        DeviceError::Layout {
            source: LayoutError::NotOurs | LayoutError::Empty,
            ..
        } if matches!(backing, Backing::Device(_)) => {
            ServeFailure(VolumeServiceState::NotCreated, format!("{error}; {create}"))
        }
        DeviceError::InUse(_) => ServeFailure(VolumeServiceState::InUse, error.to_string()),
        error => ServeFailure(VolumeServiceState::Failed, error.to_string()),
    }
}
