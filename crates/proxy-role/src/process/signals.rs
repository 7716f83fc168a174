//! Handles the signals and orders of a serving process until its end: soft and hard stops, pauses,
//! and reports of states. INT and TERM keep their initial disposition, so the exit status shows the
//! signal, unless the supervisor has to be notified first. All other handled signals are blocked
//! and read on the main thread, so that no code runs in a signal handler.

use super::StartError;
use super::side::SideThreadHandle;
use super::start::ServingProcess;
use model::config::{Config, Proxy};
use model::log::{self, Level};
use model::state::Tally;
use nix::sys::signal::{SigSet, Signal, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use part::channel::timespec;
use part::voice::{Form, MessagePrinter};
use part::wake::WakeEvent;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const WATCHED: [Signal; 6] = [
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGTTOU,
    Signal::SIGTTIN,
];

/// Blocks the watched signals and `also` for this thread and for threads started later. Returns the
/// descriptor from which they are read.
///
/// # Errors
/// Fails if the system refuses the descriptor.
pub fn watch(also: &[Signal]) -> Result<SignalFd, StartError> {
    let refused = |errno: nix::errno::Errno| StartError::Threads(errno.into());
    let set: SigSet = WATCHED.iter().chain(also).copied().collect();
    set.thread_block().map_err(refused)?;
    SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).map_err(refused)
}

/// Returns the signals that the process must read in order to end by them: INT and TERM if it is
/// the first process of a PID namespace, as in a container, and none otherwise. The kernel delivers
/// no signal without a handler to such a process.
pub fn ending() -> &'static [Signal] {
    if is_first_process() {
        &part::entry::ENDING
    } else {
        &[]
    }
}

fn is_first_process() -> bool {
    nix::unistd::getpid().as_raw() == 1
}

struct DataPlaneExit {
    event: Arc<WakeEvent>,
    result: std::thread::JoinHandle<io::Result<()>>,
}

/// Starts a thread that waits for the end of the data plane, so that the caller can handle signals.
fn wait_for(serving: &ServingProcess) -> Result<DataPlaneExit, StartError> {
    let event = WakeEvent::new().map_err(|errno| StartError::Threads(errno.into()))?;
    let event = Arc::new(event);
    let (signal, running) = (Arc::clone(&event), Arc::clone(&serving.running));
    let result = std::thread::Builder::new()
        .name("wait".into())
        .spawn(move || {
            let result = running.wait();
            signal.wake();
            result
        })
        .map_err(StartError::Threads)?;
    Ok(DataPlaneExit { event, result })
}

/// Order that a supervisor sends to a serving process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ServingOrder {
    StopSoftly,
    Pause,
    Resume,
}

/// Source of orders in addition to signals, such as the supervisor of a role.
pub trait OrderSource {
    /// Returns the time at which [`OrderSource::next`] has to be called at the latest; None: none.
    fn due(&self) -> Option<Instant> {
        None
    }
    /// Returns the descriptors to poll; empty when the source has closed.
    fn watched(&self) -> Vec<PollFd<'_>>;
    /// Returns the next order, if there is one. Called after each wake-up until it returns None.
    fn next(
        &mut self,
        serving: &ServingProcess,
        voice: &mut MessagePrinter,
    ) -> Option<ServingOrder>;
    /// Called when a soft stop starts, whatever requested it.
    fn stopping(&mut self) {}
    fn ending(&mut self, _: Signal) {}
}

/// Source without orders, for a process without a supervisor.
pub struct NoOrders<'s>(pub &'s SideThreadHandle);

impl OrderSource for NoOrders<'_> {
    fn stopping(&mut self) {
        self.0.leave_sockets();
    }

    fn watched(&self) -> Vec<PollFd<'_>> {
        Vec::new()
    }

    fn next(&mut self, _: &ServingProcess, _: &mut MessagePrinter) -> Option<ServingOrder> {
        None
    }
}

/// Handles signals and orders until the data plane has ended.
///
/// # Errors
/// Returns why the data plane ended, or why signals cannot be read.
pub fn handle_signals(
    signals: &SignalFd,
    serving: &ServingProcess,
    orders: &mut dyn OrderSource,
    voice: &mut MessagePrinter,
) -> Result<(), StartError> {
    let end = wait_for(serving)?;
    let mut stop = Stop::default();
    loop {
        if stop.due(serving, voice) {
            continue;
        }
        let due = orders
            .due()
            .map(|at| at.saturating_duration_since(Instant::now()));
        let left = stop.left().into_iter().chain(due).min();
        let (signalled, ended) = wait(signals, &end.event, orders, left)?;
        if ended {
            break;
        }
        while let Some(signal) = signalled.then(|| next(signals)).flatten() {
            match signal {
                Signal::SIGUSR1 => stop.softly(serving, orders),
                Signal::SIGINT | Signal::SIGTERM => {
                    orders.ending(signal);
                    end_by(signal);
                }
                Signal::SIGHUP => show_servers(serving, voice),
                Signal::SIGQUIT => voice.notice("SIGQUIT: there are no memory pools to flush."),
                Signal::SIGTTOU => pause(serving, voice, true, " by a signal"),
                Signal::SIGTTIN => pause(serving, voice, false, " by a signal"),
                _ => {}
            }
        }
        while let Some(order) = orders.next(serving, voice) {
            match order {
                ServingOrder::StopSoftly => stop.softly(serving, orders),
                ServingOrder::Pause => pause(serving, voice, true, ""),
                ServingOrder::Resume => pause(serving, voice, false, ""),
            }
        }
    }
    let result = end
        .result
        .join()
        .unwrap_or_else(|_| Err(io::Error::other("the waiting thread panicked")));
    if stop.asked {
        told_stopped(serving, voice);
    }
    result.map_err(StartError::DataPlane)
}

/// Progress of a soft stop.
#[derive(Default)]
struct Stop {
    asked: bool,
    soft: Option<Instant>,
    hard: Option<Instant>,
}

impl Stop {
    fn softly(&mut self, serving: &ServingProcess, orders: &mut dyn OrderSource) {
        orders.stopping();
        if !std::mem::replace(&mut self.asked, true) {
            // Continues to accept for the time of `grace`.
            let grace = serving.config().global.grace_ms.unwrap_or(0);
            self.soft = Some(Instant::now() + Duration::from_millis(grace.into()));
        }
    }

    fn left(&self) -> Option<Duration> {
        let at = self.soft.or(self.hard)?;
        Some(at.saturating_duration_since(Instant::now()))
    }

    /// Starts the soft stop or the hard stop whose time has come, and returns whether it did.
    fn due(&mut self, serving: &ServingProcess, voice: &mut MessagePrinter) -> bool {
        if self.left() != Some(Duration::ZERO) {
            return false;
        }
        if self.soft.take().is_some() {
            serving.running.soft_stop();
            let limit = serving.config().global.hard_stop_after_ms;
            self.hard = limit.map(|ms| Instant::now() + Duration::from_millis(ms.into()));
            return true;
        }
        self.hard = None;
        voice.warning("soft-stop running for too long, performing a hard-stop.");
        log::process_notice(
            &serving.config(),
            Level::Warning,
            "hard-stop-after elapsed, closing what is left.",
        );
        serving.running.stop();
        true
    }
}

/// Waits for a signal, an order, the end of the data plane, or the timeout. Returns whether a
/// signal can be read, and whether the data plane has ended.
fn wait(
    signals: &SignalFd,
    end: &WakeEvent,
    orders: &dyn OrderSource,
    left: Option<Duration>,
) -> Result<(bool, bool), StartError> {
    let mut watched = vec![
        PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
        PollFd::new(end, PollFlags::IN),
    ];
    watched.extend(orders.watched());
    let timeout = left.map(timespec);
    match poll(&mut watched, timeout.as_ref()) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(errno) => return Err(StartError::Threads(errno.into())),
    }
    Ok((
        !watched[0].revents().is_empty(),
        !watched[1].revents().is_empty(),
    ))
}

/// Ends the process by a signal that it may have blocked.
pub fn end_by(signal: Signal) {
    if is_first_process() {
        // Exits with the status of the signal: the kernel delivers no signal to the first process
        // of a namespace, not even from itself.
        std::process::exit(128 + signal as i32);
    }
    let set: SigSet = [signal].into_iter().collect();
    // Raises the signal, which ends the process when it is unblocked, since it has no handler.
    let _ = raise(signal);
    let _ = set.thread_unblock();
}

fn next(signals: &SignalFd) -> Option<Signal> {
    let info = signals.read_signal().ok().flatten()?;
    Signal::try_from(info.ssi_signo as i32).ok()
}

/// Pauses or resumes accepting without closing the listeners, so that another process can bind the
/// addresses, and prints a warning with `why`.
fn pause(serving: &ServingProcess, voice: &mut MessagePrinter, paused: bool, why: &str) {
    let config = serving.config();
    for proxy in config
        .proxies
        .iter()
        .filter(|proxy| proxy.kind.is_frontend())
    {
        proxy.state.frontend.paused.store(paused, Ordering::Relaxed);
    }
    serving.running.leave_listeners(paused);
    let word = if paused { "paused" } else { "resumed" };
    voice.warning(format_args!("Listeners {word}{why}."));
}

/// Logs and prints the state of each server and proxy, as HAProxy does after SIGHUP.
fn show_servers(serving: &ServingProcess, voice: &mut MessagePrinter) {
    let config = &serving.config();
    let config: &Config = config;
    voice.warning("SIGHUP received, dumping servers states.");
    for proxy in &config.proxies {
        let mut tell = |text: String| {
            log::notice(config, proxy, Level::Notice, &text);
            voice.warning(text);
        };
        for server in &proxy.servers {
            tell(format!(
                "SIGHUP: Server {}/{} is {}. Conn: {} act, {} pend, {} tot.",
                proxy.name,
                server.name,
                if server.state.is_up() { "UP" } else { "DOWN" },
                server.state.traffic.sessions.current(),
                server.state.queue.waiting.current(),
                server.state.traffic.counters.read(Tally::Sessions),
            ));
        }
        tell(proxy_line(proxy));
    }
}

fn proxy_line(proxy: &Proxy) -> String {
    let state = &proxy.state;
    let servers = match (
        proxy.servers.is_empty(),
        state.active_usable(),
        state.backup_usable(),
    ) {
        (true, ..) => "has no servers.".to_owned(),
        (_, 0, 0) => "has no server available !".to_owned(),
        (_, 0, backup) => format!("is running on {backup} backup servers."),
        (_, active, backup) => {
            format!("has {active} active servers and {backup} backup servers available.")
        }
    };
    format!(
        "SIGHUP: Proxy {} {servers} Conn: act(FE+BE): {}+{}, {} pend, tot(FE+BE): {}+{}.",
        proxy.name,
        state.frontend.sessions.current(),
        state.backend.sessions.current(),
        state.backend.queue.waiting.current(),
        state.frontend.counters.read(Tally::Sessions),
        state.backend.counters.read(Tally::Sessions),
    )
}

fn told_stopped(serving: &ServingProcess, voice: &mut MessagePrinter) {
    let config = serving.config();
    for proxy in &config.proxies {
        let line = format!(
            "Proxy {} stopped (cumulated conns: FE: {}, BE: {}).",
            proxy.name,
            proxy.state.frontend.counters.read(Tally::Connections),
            proxy.state.backend.counters.read(Tally::Sessions),
        );
        log::notice(&config, proxy, Level::Warning, &line);
        // Prints the lines only under HAProxy's name.
        if voice.form() == Form::Haproxy {
            voice.warning(line);
        }
    }
}
