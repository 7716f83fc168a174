//! Starts a serving process from a loaded configuration: opens sockets, moves to the background,
//! drops privileges, puts the configuration into service, and waits for the end.

use super::side::{self, SideThreadHandle, report_losses};
use super::signals::NoOrders;
use super::{
    Limits, StartError, WantedLimits, before, check_programs, limits, open, privileges, processors,
    signals,
};
use confinement::{Confinement, ProcessIdentity, StartedAs};
use keyword::load::Loaded;
use model::config::Config;
use model::log::Sink;
use part::before::Before;
use part::checks;
use part::daemon::{self, Fork, Ready};
use part::role::{Personality, Rights, RunPrograms};
use part::voice::{Form, MessagePrinter, counted};
use proxy::listener::{Inherited, Listening};
use proxy::operations::OperationsSocket;
use proxy::running::{self, DataPlane, ServeOptions};
use proxy::{carry, health};
use rustix::process::{Resource, getrlimit};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use supervisor::ProcessClaim;

const LAST_LINES: Duration = Duration::from_secs(1);

/// Command-line settings of a process, which override the configuration.
#[derive(Clone, Debug, Default)]
pub struct ProcessOverrides {
    pub daemon: bool,
    /// Runs in the foreground, even if the configuration contains `daemon`.
    pub foreground: bool,
    pub pid_file: Option<PathBuf>,
    pub connections: Option<u32>,
    /// Value of `maxconn` for frontends without one.
    pub proxy_connections: Option<u32>,
    pub memory_mib: Option<u64>,
    pub before: Before,
}

impl ProcessOverrides {
    /// Returns whether the process moves to the background. `-D` on the command line wins over
    /// everything; the file's `daemon` only counts without `-db`, `-d`, `-Ws` and without `debug`
    /// in the file.
    pub fn background(&self, config: &Config) -> bool {
        self.daemon || config.global.daemon && !self.foreground && !config.global.debug
    }
}

pub struct ServingProcess {
    pub running: Arc<DataPlane>,
}

impl ServingProcess {
    /// Returns the configuration that the process serves now.
    pub fn config(&self) -> Arc<Config> {
        self.running.runtime.config()
    }
}

/// Serves until the end of the process. With `daemon`, the process that started the background
/// process also returns, when that one serves. `claim` is held as long as the serving process runs.
///
/// # Errors
/// Returns why the process cannot serve, or why it ended.
pub fn run(
    loaded: Loaded,
    mut config: Config,
    plan: &ProcessOverrides,
    mut claim: Option<ProcessClaim>,
    voice: &mut MessagePrinter,
) -> Result<(), StartError> {
    if !config.listens() {
        return Err(StartError::NothingListens);
    }
    apply_plan(&mut config, plan);
    processors::choose(&config.global, voice);
    let fetched = before::fetch(&plan.before)?;
    // Blocks signals before the listeners exist: another process that sees a listening socket may
    // send one, which must not end the start.
    let signals = signals::watch(signals::ending())?;
    let none = Inherited::default();
    let (listening, sockets) =
        open::open(&config, &loaded, none, &plan.before, &fetched, None, voice)?;
    let root = config.global.chroot.as_deref();
    let sink = Sink::open(model::log::targets(&config)).within(root);
    let wanted = wanted_limits(&config, listening.len(), plan);
    let start_files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let limits = limits::apply(&wanted)?;
    tell_lowered(&limits, voice);
    config.global.maxconn.get_or_insert(limits.connections);
    if config.global.watch.is_some() {
        voice.warning("'watch' has no effect in a process without a supervisor (-W)");
    }
    drop(loaded);
    let Some(ready) = into_background(&config, plan)? else {
        if let Some(claim) = claim {
            claim.leave();
        }
        return Ok(());
    };
    if let (Background::Child(_), Some(claim)) = (&ready, &mut claim) {
        claim.move_to_this_process();
    }
    start_programs(&config, start_files, voice)?;
    drop_initial_privileges(&config, voice)?;
    let options = ServeOptions {
        threads: wanted.threads,
        connections_max: limits.connections,
    };
    model::log::start(sink, report_losses(voice)).map_err(StartError::Threads)?;
    let state = fetched.state.as_ref().map(|state| &*state.bytes);
    let (serving, side) = serve(config, listening, sockets, &options, state, side::to_logs)?;
    if let Some(state) = fetched.state {
        before::add_rest(state.rest, serving.running.runtime).map_err(StartError::Threads)?;
    }
    if let Background::Child(ready) = ready {
        ready.tell()?;
        // Prints nothing any more: standard error is closed.
        voice.quiet = true;
    }
    voice.started();
    tell_serves(&wanted, voice);
    let result = signals::handle_signals(&signals, &serving, &mut NoOrders(&side), voice);
    side.sockets().send_counts_to_successors();
    drop(side);
    model::log::drain(LAST_LINES);
    result
}

enum Background {
    No,
    /// The process runs in the background, with a parent that waits until it serves.
    Child(Ready),
}

/// Moves the process to the background if configured, and signals the previous processes. Returns
/// None in the parent, after the child serves.
fn into_background(
    config: &Config,
    plan: &ProcessOverrides,
) -> Result<Option<Background>, StartError> {
    if !plan.background(config) {
        // The listeners are open, so new connections wait for this process. Later it has no
        // privilege to signal other processes.
        plan.before.signal_predecessors();
        return Ok(Some(Background::No));
    }
    let path = config.global.pidfile.clone();
    let mut file = path.as_deref().map(daemon::open_pid_file).transpose()?;
    let ready = match daemon::fork_and_wait()? {
        Fork::Parent => {
            // Signals the previous processes from the parent, which still has its privileges.
            plan.before.signal_predecessors();
            return Ok(None);
        }
        Fork::Child(ready) => ready,
    };
    if let (Some(file), Some(path)) = (&mut file, &path) {
        daemon::write_pid(file, path)?;
    }
    Ok(Some(Background::Child(ready)))
}

fn start_programs(
    config: &Config,
    files_soft: u64,
    voice: &MessagePrinter,
) -> Result<(), StartError> {
    let programs = check_programs(config);
    if programs.is_empty() {
        return Ok(());
    }
    let global = &config.global;
    let identity = confinement::identity_for(global, StartedAs::now(), voice.form());
    let root = global.chroot.as_deref().map(std::path::absolute);
    let root = root.transpose().map_err(StartError::Threads)?;
    let personality = match voice.form() {
        Form::Haproxy => Personality::Haproxy,
        Form::Own | Form::Keepalived => Personality::Own,
    };
    let run = RunPrograms {
        rights: Rights {
            uid: identity.uid,
            gid: identity.gid,
            chroot: root.map(|root| root.into_os_string().into_vec()),
            ..Rights::default()
        },
        files_soft,
        programs,
    };
    let started = checks::start(personality, run);
    // Drops the process ID: the check runner ends with this process and is not replaced.
    let (_, connection) = started?;
    health::set_runner_connection(connection);
    Ok(())
}

fn tell_serves(wanted: &WantedLimits, voice: &mut MessagePrinter) {
    if voice.form() == Form::Own {
        let (addresses, threads) = (wanted.listeners, wanted.threads);
        voice.notice(format_args!(
            "serving on {} with {}",
            counted(addresses, "address", "addresses"),
            counted(threads, "thread", "threads"),
        ));
    }
}

fn tell_lowered(limits: &Limits, voice: &mut MessagePrinter) {
    if let Some(needed) = limits.lowered_by {
        voice.warning(format_args!(
            "maxconn and listeners need {needed} file descriptors, the limit is {}: 'maxconn' is lowered to {} \
             [W0112]; raise LimitNOFILE",
            limits.files, limits.connections
        ));
    }
}

/// Sets the limit of open files and returns how many connections it permits. Warns if there are
/// fewer than configured. `start` is the soft limit at the start of the process.
///
/// # Errors
/// Fails if the limit of open files is too low for a change or a connection.
pub fn find_limits(
    wanted: &WantedLimits,
    start: u64,
    voice: &mut MessagePrinter,
) -> Result<Limits, StartError> {
    let limits = limits::apply_files(wanted, start)?;
    tell_lowered(&limits, voice);
    Ok(limits)
}

/// Drops the initial privileges: first those that the configuration names, then, with any
/// configuration, everything that serving does not need. A serving process opens no file and starts
/// no program, whatever user it has.
fn drop_initial_privileges(config: &Config, voice: &mut MessagePrinter) -> Result<(), StartError> {
    let global = &config.global;
    let identity = confinement::identity_for(global, StartedAs::now(), voice.form());
    drop_process_privileges(config, &identity, global.chroot.as_deref(), voice)
}

/// Changes root directory, group and user as given, then drops all privileges that serving does not
/// need.
///
/// # Errors
/// Fails if the system refuses a step.
pub fn drop_process_privileges(
    config: &Config,
    identity: &ProcessIdentity,
    root: Option<&Path>,
    voice: &mut MessagePrinter,
) -> Result<(), StartError> {
    let global = &config.global;
    let confinement = Confinement::proxy(config, identity);
    confinement::prepare(&confinement).map_err(StartError::Confinement)?;
    privileges::drop_rights(root, identity.gid, identity.uid)?;
    if global.dumpable {
        // Ignores errors, which only other arguments can cause.
        let _ = nix::sys::prctl::set_dumpable(true);
    }
    let held = confinement::apply(&confinement).map_err(StartError::Confinement)?;
    if voice.form() == Form::Own {
        for shortcoming in held.shortcomings() {
            voice.notice(shortcoming);
        }
    }
    Ok(())
}

/// Puts a configuration into service and starts all threads. `state` is that of the previous
/// process; if it cannot be read, all state starts empty.
///
/// # Errors
/// Fails if a thread or a socket cannot be created.
pub fn serve(
    mut config: Config,
    listening: Vec<Listening>,
    sockets: Vec<OperationsSocket>,
    options: &ServeOptions,
    state: Option<&[u8]>,
    notice: impl FnOnce(&Arc<Config>) -> health::Notice,
) -> Result<(ServingProcess, SideThreadHandle), StartError> {
    let import = |bytes| carry::import_servers(bytes, &mut config);
    let lost = state.map(import).unwrap_or_default();
    model::control::install(&mut config, None, model::state::now_ms());
    let imported = state.and_then(|bytes| carry::import(bytes, &config, None).ok());
    let config = Arc::new(config);
    proxy::dynamic::log_lost(&config, &lost);
    let running =
        running::serve(Arc::clone(&config), listening, options).map_err(StartError::Threads)?;
    if let Some(imported) = imported {
        imported.add_process_counters(running.runtime);
    }
    let side = SideThreadHandle::start(running.runtime, notice(&config), sockets)
        .map_err(StartError::Threads)?;
    Ok((
        ServingProcess {
            running: Arc::new(running),
        },
        side,
    ))
}

pub fn apply_plan(config: &mut Config, plan: &ProcessOverrides) {
    let global = &mut config.global;
    global.maxconn = plan.connections.or(global.maxconn);
    if let Some(path) = &plan.pid_file {
        global.pidfile = Some(path.clone());
    }
    if let Some(connections) = plan.proxy_connections {
        let frontends = config.proxies.iter_mut().filter(|p| p.kind.is_frontend());
        for proxy in frontends {
            proxy.maxconn.get_or_insert(connections);
        }
    }
}

pub fn wanted_limits(config: &Config, listeners: usize, plan: &ProcessOverrides) -> WantedLimits {
    let global = &config.global;
    let checks = config
        .proxies
        .iter()
        .flat_map(|p| &p.servers)
        .filter(|s| s.options.check)
        .count();
    WantedLimits {
        connections: global.maxconn,
        files: global.files_max,
        files_hard: global.files_hard_max,
        listeners,
        checks,
        threads: processors::threads(global),
        strict: global.strict_limits.unwrap_or(true),
        memory_mib: plan.memory_mib,
    }
}
