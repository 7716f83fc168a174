//! The previous process, which this one replaces. The module fetches its listeners (`-x`) and its
//! state if it is one of ours. It requests that the process releases addresses, and finally that it
//! finishes (`-sf`) or ends (`-st`). All of this needs the initial privileges. Meanwhile, the
//! previous process serves undisturbed.

use super::StartError;
use model::config::Config;
use part::before::Before;
use proxy::carry;
use proxy::listener::{self, Inherited, Listening, OpenError};
use proxy::runtime::Runtime;
use proxy::takeover::state::{self, TakenState};
use proxy::takeover::{self, TakeoverSource};
use rustix::io::Errno;
use rustix::process::Signal;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

const SOCKETS_LIMIT: Duration = Duration::from_secs(10);
const STATE_LIMIT: Duration = Duration::from_secs(5);
/// Number of attempts to bind an address that the previous process has, as in HAProxy.
const TRIES_MAX: u32 = 200;
const TRY_PAUSE: Duration = Duration::from_millis(10);

/// Sockets and state from the previous process.
#[derive(Debug, Default)]
pub struct Fetched {
    sockets: Vec<OwnedFd>,
    pub state: Option<TakenState>,
}

/// Fetches the listeners and the state of the previous process.
///
/// # Errors
/// Fails if it does not send its listeners.
pub fn fetch(before: &Before) -> Result<Fetched, StartError> {
    let Some(name) = &before.socket else {
        return Ok(Fetched::default());
    };
    let failed = |error| StartError::TakeOver {
        socket: name.clone(),
        error,
    };
    let text = name.to_str().ok_or_else(|| failed(None))?;
    let source: TakeoverSource = text.parse().map_err(|_| failed(None))?;
    let taken = takeover::fetch(&source, SOCKETS_LIMIT).map_err(|error| failed(Some(error)))?;
    Ok(Fetched {
        sockets: taken.into_iter().map(|one| one.fd).collect(),
        // Without it all state starts empty, as with HAProxy.
        state: state::fetch(&source, STATE_LIMIT).ok().flatten(),
    })
}

/// Opens listeners, and reuses the fetched ones. If an address is in use, the previous processes
/// are asked to release it.
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
        // Sockets that are open already are kept: clients may have connected to them.
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
                // A socket that cannot be recognized is opened again.
                let _ = inherited.add(fd);
            }
        }
    }
}

/// Adds the final counters of the previous process when it ends. The waiting thread ends with this
/// process at the latest.
///
/// # Errors
/// Fails if no thread can be started.
pub fn add_rest(from: OwnedFd, runtime: &'static Runtime) -> io::Result<()> {
    std::thread::Builder::new()
        .name("rest".into())
        .spawn(move || {
            // A process that was killed sends no final counters.
            if let Ok(bytes) = state::fetch_rest(&from) {
                add(&bytes, runtime);
            }
        })
        .map(drop)
}

pub fn add(bytes: &[u8], runtime: &Runtime) {
    // Counters of an incompatible version are lost.
    if let Ok(imported) = carry::import(bytes, &runtime.config(), Some(runtime)) {
        imported.add_process_counters(runtime);
    }
}
