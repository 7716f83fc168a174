//! The process that this one takes over from: its listeners (`-x`), its state
//! where it is one of ours, room where it holds an address alone, and at last
//! the word to finish (`-sf`) or to end (`-st`). All of it needs the rights of
//! the start. What it serves meanwhile is not touched.

use super::StartError;
use model::config::Config;
use part::before::Before;
use proxy::carry;
use proxy::listener::{self, Inherited, Listening, OpenError};
use proxy::runtime::Runtime;
use proxy::takeover::state::{self, TakenState};
use proxy::takeover::{self, Source};
use rustix::io::Errno;
use rustix::process::Signal;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// How long the other process may take to hand its sockets over.
const SOCKETS_LIMIT: Duration = Duration::from_secs(10);
/// How long it may take to tell its state.
const STATE_LIMIT: Duration = Duration::from_secs(5);
/// How often an address that it holds is tried again, as often as HAProxy does.
const TRIES_MAX: u32 = 200;
/// Between two of these.
const TRY_PAUSE: Duration = Duration::from_millis(10);

/// The sockets and the state that it handed over.
#[derive(Debug, Default)]
pub struct Fetched {
    sockets: Vec<OwnedFd>,
    /// Its counters and the states of its servers.
    pub state: Option<TakenState>,
}

/// Fetches its listeners, and its state where it has one for us.
pub fn fetch(before: &Before) -> Result<Fetched, StartError> {
    let Some(name) = &before.socket else {
        return Ok(Fetched::default());
    };
    let failed = |error| StartError::TakeOver {
        socket: name.clone(),
        error,
    };
    let text = name.to_str().ok_or_else(|| failed(None))?;
    let source: Source = text.parse().map_err(|_| failed(None))?;
    let taken = takeover::fetch(&source, SOCKETS_LIMIT).map_err(|error| failed(Some(error)))?;
    Ok(Fetched {
        sockets: taken.into_iter().map(|one| one.fd).collect(),
        // Without it all state starts empty, as with HAProxy.
        state: state::fetch(&source, STATE_LIMIT).ok().flatten(),
    })
}

/// Opens listeners, those that were fetched among them. Where an address is
/// held by somebody else the processes before are asked to make room.
pub fn open(
    before: &Before,
    config: &Config,
    mut inherited: Inherited,
    fetched: &Fetched,
) -> (Inherited, Vec<Listening>, Vec<OpenError>) {
    fetched.add_to(&mut inherited);
    let mut tries = 0;
    loop {
        let (opened, errors) = listener::open(config, &mut inherited);
        let busy = errors.iter().any(|error| error.errno == Errno::ADDRINUSE);
        if !busy || before.pids.is_empty() {
            return (inherited, opened, errors);
        }
        if tries == TRIES_MAX {
            before.signal(Signal::TTIN);
            return (inherited, opened, errors);
        }
        tries += 1;
        before.signal(Signal::TTOU);
        std::thread::sleep(TRY_PAUSE);
        // What could be had is kept: somebody may have connected to it.
        let mut again = Inherited::default();
        for one in &opened {
            if let Ok(fd) = one.fd.try_clone() {
                let _ = again.add(fd);
            }
        }
        for fd in inherited.unused() {
            let _ = again.add(fd);
        }
        inherited = again;
    }
}

impl Fetched {
    fn add_to(&self, inherited: &mut Inherited) {
        for fd in &self.sockets {
            if let Ok(fd) = fd.try_clone() {
                // What cannot be recognized is opened anew.
                let _ = inherited.add(fd);
            }
        }
    }
}

/// Adds what the process before counts until its end, when that comes. The
/// thread that waits for it ends with this process at the latest.
pub fn add_rest(from: OwnedFd, runtime: &'static Runtime) -> io::Result<()> {
    std::thread::Builder::new()
        .name("rest".into())
        .spawn(move || {
            // One that was killed has no rest.
            if let Ok(bytes) = state::fetch_rest(&from) {
                add(&bytes, runtime);
            }
        })
        .map(drop)
}

/// Adds counters to those of a process that serves.
pub fn add(bytes: &[u8], runtime: &Runtime) {
    // Another version's, that cannot be read: its counters are lost.
    if let Ok(imported) = carry::import(bytes, &runtime.config(), Some(runtime)) {
        imported.give_process(runtime);
    }
}
