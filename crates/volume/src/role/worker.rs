//! The thread of a volume: it opens the backing, serves it, and tries again where that
//! fails, until it is told to stop.

use super::socket::{self, Claim};
use crate::config::{Spec, size_words};
use crate::device::{self, Backing, Device, DeviceError};
use crate::disk::Preference;
use crate::export::Listener;
use crate::layout::{self, LayoutError, Metadata};
use crate::single::{Single, Waker};
use crate::status::{Served, State, Status, now};
use part::voice::write_error;
use protocol::nbd;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::Errno;
use rustix::time::Timespec;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How soon something is tried again first, and at most.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// How often it is looked at whether the volume was created.
const CREATED_LOOK: Duration = Duration::from_millis(500);
/// The size at which requests are fastest, bytes.
const PREFERRED_BYTES: u32 = 4096;

/// Gives up what a thread does not need to serve a volume: everything but its backing and
/// the runtime directory. Returns what went wrong, in words.
pub type Confine = fn(runtime: &Path, backing: &Backing) -> Result<(), String>;

/// Where volumes run.
#[derive(Clone, Debug)]
pub struct Place {
    /// The directory of their sockets.
    pub runtime: PathBuf,
    /// What each of their threads does first.
    pub confine: Confine,
}

/// A volume with its thread.
#[derive(Debug)]
pub(super) struct Worker {
    shared: Arc<Shared>,
    /// None where the system has no thread for it.
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    place: Place,
    status: Mutex<Status>,
    /// The size that the file says, bytes.
    wanted_bytes: AtomicU64,
    /// Readable once the thread is to end. None where the system has no descriptor.
    stop: Option<OwnedFd>,
    /// Readable when the wanted size has changed.
    wake: Option<OwnedFd>,
}

/// Why a volume is not served now.
struct Trouble(State, String);

impl Worker {
    pub(super) fn start(name: &str, spec: Spec, place: Place) -> Worker {
        let event = || eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).ok();
        let status = Status {
            name: name.to_owned(),
            socket: socket::path(&place.runtime, name),
            state: State::Opening,
            since: now(),
            why: String::new(),
            served: None,
            events: Vec::new(),
            meter: Arc::default(),
            spec: spec.clone(),
        };
        let shared = Arc::new(Shared {
            place,
            wanted_bytes: AtomicU64::new(spec.size_bytes),
            status: Mutex::new(status),
            stop: event(),
            wake: event(),
        });
        let own = Arc::clone(&shared);
        let builder = std::thread::Builder::new().name(format!("volume/{name}"));
        let thread = builder.spawn(move || own.live());
        if let Err(error) = &thread {
            shared.enter(State::Failed, format!("cannot start a thread: {error}"));
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

    pub(super) fn status(&self) -> Status {
        self.shared.status().clone()
    }

    /// The size that it has, or was to have, bytes.
    pub(super) fn size_bytes(&self) -> u64 {
        let status = self.shared.status();
        let served = status.served.map(|served| served.size_bytes);
        served.unwrap_or(status.spec.size_bytes)
    }

    /// It has this size from now on.
    pub(super) fn grow(&self, size_bytes: u64) {
        self.shared.status().spec.size_bytes = size_bytes;
        self.shared
            .wanted_bytes
            .store(size_bytes, Ordering::Release);
        signal(self.shared.wake.as_ref());
    }

    /// Tells the thread to end.
    pub(super) fn stop(&self) {
        self.shared.enter(State::Stopping, String::new());
        signal(self.shared.stop.as_ref());
    }

    pub(super) fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

fn signal(event: Option<&OwnedFd>) {
    // It fails only where it is readable already.
    let _ = event.map(|event| rustix::io::write(event, &1_u64.to_ne_bytes()));
}

fn is_signalled(event: Option<&OwnedFd>) -> bool {
    event.is_some_and(|event| rustix::io::read(event, &mut [0; 8]).is_ok())
}

impl Shared {
    fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, state: State, why: String) {
        let mut status = self.status();
        // It says nothing else once it is to stop.
        if status.state == State::Stopping || !status.enter(state, why) {
            return;
        }
        let (word, _) = state.words();
        let colon = if status.why.is_empty() { "" } else { ": " };
        let line = format!(
            "evenkeel: volume {}: {word}{colon}{}\n",
            status.name, status.why
        );
        drop(status);
        if state != State::Opening && state != State::Stopping {
            write_error(&line);
        }
    }

    /// The life of the thread.
    fn live(&self) {
        let mut retry = RETRY_FIRST;
        let mut confined = false;
        loop {
            let Trouble(state, why) = match self.serve(&mut confined) {
                Ok(()) => return,
                Err(trouble) => trouble,
            };
            self.status().served = None;
            self.enter(state, why);
            let pause = match state {
                State::NotCreated => retry.min(CREATED_LOOK),
                _ => retry,
            };
            if self.is_stopped_within(pause) {
                return;
            }
            retry = (retry * 2).min(RETRY_MAX);
        }
    }

    /// Waits until it is to stop, or its size has changed.
    fn is_stopped_within(&self, pause: Duration) -> bool {
        let Some((stop, wake)) = self.stop.as_ref().zip(self.wake.as_ref()) else {
            std::thread::sleep(pause);
            return false;
        };
        let mut watched = [
            PollFd::new(stop, PollFlags::IN),
            PollFd::new(wake, PollFlags::IN),
        ];
        // Interrupted or not: everything is looked at again.
        let _ = poll(&mut watched, Timespec::try_from(pause).ok().as_ref());
        let stops = !watched[0].revents().is_empty();
        is_signalled(self.wake.as_ref());
        stops
    }

    /// Opens and serves the volume, until it is to stop.
    fn serve(&self, confined: &mut bool) -> Result<(), Trouble> {
        let (name, backing) = {
            let status = self.status();
            (status.name.clone(), status.spec.backing.clone())
        };
        let failed = |words: String| Trouble(State::Failed, words);
        if !*confined {
            (self.place.confine)(&self.place.runtime, &backing).map_err(failed)?;
            *confined = true;
        }
        let claim = Claim::take(&self.place.runtime, &name).map_err(|errno| match errno {
            Errno::WOULDBLOCK => {
                let words = "another volume of this name is served, or still stops";
                Trouble(State::InUse, words.to_owned())
            }
            errno => failed(format!("cannot lock its socket: {errno}")),
        })?;
        let opened = device::open(&backing, &name, None);
        let opened = opened.map_err(|error| refused(&error, &name, &backing))?;
        let (device, mut layout, loaded) = opened;
        if !matches!(loaded.head.state, layout::State::Joined(_)) {
            return Err(failed("its data is not complete".to_owned()));
        }
        self.fit(&device, &mut layout, &backing, &name)?;
        let no_socket =
            |error: std::io::Error| failed(format!("cannot listen at its socket: {error}"));
        let listener = Listener::Unix(claim.listen().map_err(no_socket)?);
        let size = layout.head().size_bytes;
        let export = nbd::Export {
            name: name.clone(),
            description: format!("the volume {name}"),
            size,
            read_only: false,
            multi_conn: false,
            block_min: device.sector_bytes,
            block_preferred: PREFERRED_BYTES,
        };
        let single = Single::new(&device.data, export, vec![listener], Preference::Best);
        let mut single = single.map_err(|error| failed(error.to_string()))?;
        let meter = {
            let mut status = self.status();
            status.served = Some(Served {
                size_bytes: size,
                uses_ring: single.uses_ring(),
                is_direct: device.is_direct,
            });
            Arc::clone(&status.meter)
        };
        single.count_in(meter);
        self.enter(State::Serving, String::new());
        let (stop, wake) = { self.stop.as_ref() }
            .zip(self.wake.as_ref())
            .ok_or_else(|| failed("no descriptor is left".to_owned()))?;
        let mut woken = || {
            is_signalled(Some(wake));
            self.grown(&device, &mut layout, &backing, &name)
        };
        let waker = Waker {
            wakes: wake.as_fd(),
            woken: &mut woken,
        };
        let served = single.run_woken(stop.as_fd(), Some(waker));
        claim.remove();
        served.map_err(|error| failed(error.to_string()))
    }

    /// Makes the volume as large as the file says, before it is served.
    fn fit(
        &self,
        device: &Device,
        layout: &mut Metadata,
        backing: &Backing,
        name: &str,
    ) -> Result<(), Trouble> {
        let (has, wanted) = (layout.head().size_bytes, self.wanted());
        let failed = |words: String| Trouble(State::Failed, words);
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

    /// Makes it larger while it is served, and returns its size then.
    fn grown(
        &self,
        device: &Device,
        layout: &mut Metadata,
        backing: &Backing,
        name: &str,
    ) -> Option<u64> {
        match self.fit(device, layout, backing, name) {
            Ok(()) => {
                let size = layout.head().size_bytes;
                if let Some(served) = &mut self.status().served {
                    served.size_bytes = size;
                }
                self.enter(State::Serving, String::new());
                Some(size)
            }
            // It goes on with the size that it has.
            Err(Trouble(_, words)) => {
                self.enter(State::Serving, words);
                None
            }
        }
    }

    fn wanted(&self) -> u64 {
        self.wanted_bytes.load(Ordering::Acquire)
    }
}

/// Why a backing was not opened.
fn refused(error: &DeviceError, name: &str, backing: &Backing) -> Trouble {
    let create = format!("`evenkeel volume create {name}` creates it");
    match error {
        DeviceError::Missing(path) if path.extension().is_some_and(|end| end == "volume") => {
            Trouble(State::NotCreated, format!("{error}; {create}"))
        }
        DeviceError::Layout {
            source: LayoutError::NotOurs | LayoutError::Empty,
            ..
        } if matches!(backing, Backing::Device(_)) => {
            Trouble(State::NotCreated, format!("{error}; {create}"))
        }
        DeviceError::InUse(_) => Trouble(State::InUse, error.to_string()),
        error => Trouble(State::Failed, error.to_string()),
    }
}
