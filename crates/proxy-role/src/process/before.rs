//! Takes over from the previous process: fetches its listeners (`-x`), and its state if that
//! process is Evenkeel, asks it by signals to release addresses, and has its final counters added.
//! All but the last needs the initial privileges. Meanwhile, the previous process serves
//! undisturbed.

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

/// Listeners and state that the previous process has sent.
#[derive(Debug, Default)]
pub struct Fetched {
    sockets: Vec<OwnedFd>,
    pub state: Option<TakenState>,
}

/// Fetches the listeners of the previous process from its socket, and its state if it is Evenkeel.
///
/// # Errors
/// Fails if the previous process does not send its listeners.
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
        // Starts with empty state if the process sends none, as HAProxy does.
        state: state::fetch(&source, STATE_LIMIT).ok().flatten(),
    })
}

/// Opens the configured listeners, and reuses inherited and fetched ones. While an address is in
/// use, signals the previous processes to release it and tries again, at most [`TRIES_MAX`] times.
/// Then signals them to accept again. Also returns the errors of the last attempt.
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
        // Reuses the sockets of the last attempt: clients may have connected to them.
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
                // Skips a socket that is not recognised; its address is opened again.
                let _ = inherited.add(fd);
            }
        }
    }
}

/// Starts a thread that waits for the final counters of the previous process and adds them.
///
/// # Errors
/// Fails if no thread can be started.
pub fn add_rest(from: OwnedFd, runtime: &'static Runtime) -> io::Result<()> {
    std::thread::Builder::new()
        .name("rest".into())
        .spawn(move || {
            // Adds nothing if the process was killed before it sent its counters.
            if let Ok(bytes) = state::fetch_rest(&from) {
                add(&bytes, runtime);
            }
        })
        .map(drop)
}

pub fn add(bytes: &[u8], runtime: &Runtime) {
    // Ignores counters in a format that this program does not know.
    if let Ok(imported) = carry::import(bytes, &runtime.config(), Some(runtime)) {
        imported.add_process_counters(runtime);
    }
}
