//! From files to a process that serves.

use super::daemon::{self, Ready, Side as Fork};
use super::side::{self, Side};
use super::{StartError, WantedLimits, limits, privileges, processors, signals};
use crate::files::NamedFile;
use crate::identity;
use crate::voice::{Form, Voice, counted};
use proxy::config::{BindAddress, Config, LogTargetAddress};
use proxy::listener::{self, Inherited, Listening, OpenError, OpenStep};
use proxy::load::{self, LoadOptions, Loaded};
use proxy::log::Sink;
use proxy::operations::{self, OperationsSocket};
use proxy::runtime::{self, Running, ServeOptions};
use proxy::{health, state};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How long the last log lines may take when the process ends.
const LAST_LINES: Duration = Duration::from_secs(1);

/// How a process is to serve; what stands here wins over the file.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// In the background.
    pub daemon: bool,
    /// In the foreground, also when the file says `daemon`.
    pub foreground: bool,
    /// The file of the process id.
    pub pid_file: Option<PathBuf>,
    /// `maxconn` of the process.
    pub connections: Option<u32>,
    /// `maxconn` of frontends that have none.
    pub proxy_connections: Option<u32>,
    /// Most memory, MiB.
    pub memory_mib: Option<u64>,
}

/// A process that serves.
pub struct Serving {
    /// What it serves with.
    pub config: Arc<Config>,
    /// The data plane.
    pub running: Arc<Running>,
}

/// Loads files with what the program is and the environment that it has.
pub fn load_files(files: Vec<NamedFile>, local_peer: Option<&str>, options: LoadOptions) -> Loaded {
    let names: Vec<String> = files.iter().map(|(name, _)| name.clone()).collect();
    let environment = identity::environment(&names, local_peer);
    load::load(files, environment, identity::facts(), options)
}

/// Serves until the end; returns also in the process that only started the
/// one in the background.
pub fn run(
    loaded: Loaded,
    mut config: Config,
    plan: &Plan,
    voice: &mut Voice,
) -> Result<(), StartError> {
    if !config.listens() {
        return Err(StartError::NothingListens);
    }
    apply_plan(&mut config, plan);
    processors::choose(&config.global, voice);
    let mut inherited = Inherited::default();
    let listening = open_listeners(&config, &loaded, &mut inherited, voice)?;
    let sockets = open_sockets(&config, &loaded, &mut inherited, voice)?;
    settle(inherited, &loaded, voice)?;
    let sink = Sink::open(log_targets(&config));
    let wanted = wanted_limits(&config, listening.len(), plan);
    let limits = limits::apply(&wanted)?;
    if let Some(needed) = limits.lowered_by {
        voice.warning(format_args!(
            "Cannot raise FD limit to {needed}, limit is {}. 'maxconn' is lowered to {} [W0112].",
            limits.files, limits.connections
        ));
    }
    drop(loaded);
    let in_background =
        (plan.daemon || config.global.daemon) && !plan.foreground && !config.global.debug;
    let mut ready: Option<Ready> = None;
    if in_background {
        let path = config.global.pidfile.clone();
        let mut file = path.as_deref().map(daemon::open_pid_file).transpose()?;
        match daemon::fork_and_wait()? {
            Fork::Parent => return Ok(()),
            Fork::Child(child) => ready = Some(child),
        }
        if let (Some(file), Some(path)) = (&mut file, &path) {
            daemon::write_pid(file, path)?;
        }
    }
    let global = &config.global;
    privileges::drop_rights(global.chroot.as_deref(), global.gid, global.uid)?;
    if global.dumpable {
        // Only refused for an argument that is none of 0 and 1.
        let _ = nix::sys::prctl::set_dumpable(true);
    }
    let signals = signals::watch()?;
    let options = ServeOptions {
        threads: wanted.threads,
        connections_max: limits.connections,
    };
    proxy::log::start(sink).map_err(StartError::Threads)?;
    let (serving, side) = serve(config, (listening, sockets), &options, side::to_logs)?;
    if let Some(ready) = ready {
        ready.tell()?;
        // Its standard error is closed, so nothing that it says is read.
        voice.quiet = true;
    }
    voice.started();
    if voice.form() == Form::Own {
        let (addresses, threads) = (wanted.listeners, wanted.threads);
        voice.notice(format_args!(
            "serves on {} with {}",
            counted(addresses, "address", "addresses"),
            counted(threads, "thread", "threads"),
        ));
    }
    let result = signals::obey(&signals, &serving, voice);
    drop(side);
    proxy::log::drain(LAST_LINES);
    result
}

/// Puts a configuration into service and starts all threads.
pub fn serve(
    mut config: Config,
    (listening, sockets): (Vec<Listening>, Vec<OperationsSocket>),
    options: &ServeOptions,
    notice: impl FnOnce(&Arc<Config>) -> health::Notice,
) -> Result<(Serving, Side), StartError> {
    state::install(&mut config, None, state::now_ms());
    let config = Arc::new(config);
    let running =
        runtime::serve(Arc::clone(&config), listening, options).map_err(StartError::Threads)?;
    let side =
        Side::start(running.runtime, notice(&config), sockets).map_err(StartError::Threads)?;
    Ok((
        Serving {
            config,
            running: Arc::new(running),
        },
        side,
    ))
}

fn apply_plan(config: &mut Config, plan: &Plan) {
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

fn wanted_limits(config: &Config, listeners: usize, plan: &Plan) -> WantedLimits {
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
        listeners,
        checks,
        threads: processors::threads(global),
        strict: global.strict_limits.unwrap_or(true),
        memory_mib: plan.memory_mib,
    }
}

/// Every place that log lines go to, once.
fn log_targets(config: &Config) -> Vec<LogTargetAddress> {
    let of_proxies = config.proxies.iter().flat_map(|proxy| &proxy.logs);
    let mut addresses: Vec<LogTargetAddress> = Vec::new();
    for target in config.global.logs.iter().chain(of_proxies) {
        if !addresses.contains(&target.address) {
            addresses.push(target.address.clone());
        }
    }
    addresses
}

fn open_listeners(
    config: &Config,
    loaded: &Loaded,
    inherited: &mut Inherited,
    voice: &mut Voice,
) -> Result<Vec<Listening>, StartError> {
    let (listening, errors) = listener::open(config, inherited);
    for error in &errors {
        voice.alert(open_error(config, loaded, error, voice.form()));
    }
    if errors.is_empty() {
        Ok(listening)
    } else {
        Err(StartError::Listeners)
    }
}

/// Opens the statistics sockets, with the rights of the start.
fn open_sockets(
    config: &Config,
    loaded: &Loaded,
    inherited: &mut Inherited,
    voice: &mut Voice,
) -> Result<Vec<OperationsSocket>, StartError> {
    let (sockets, failures) = operations::open(config, inherited);
    for failure in &failures {
        let reason = nix::errno::Errno::from_raw(failure.errno.raw_os_error()).desc();
        let (step, address) = (failure.step, &failure.address);
        let file = &loaded.sources.file(failure.span.file).name;
        let line = loaded.sources.position(failure.span).line;
        voice.alert(match voice.form() {
            Form::Haproxy => {
                format!(
                    "Binding [{file}:{line}] for frontend GLOBAL: {step} ({reason}) [{address}]"
                )
            }
            Form::Own => format!("{file}:{line}: stats socket: {step} {address}: {reason}"),
        });
    }
    if failures.is_empty() {
        Ok(sockets)
    } else {
        Err(StartError::Listeners)
    }
}

/// Puts what was opened in place: Unix sockets get their names.
fn settle(mut inherited: Inherited, loaded: &Loaded, voice: &mut Voice) -> Result<(), StartError> {
    let Err(errors) = inherited.settle() else {
        return Ok(());
    };
    for error in &errors {
        let reason = nix::errno::Errno::from_raw(error.errno.raw_os_error()).desc();
        let file = &loaded.sources.file(error.span.file).name;
        let line = loaded.sources.position(error.span).line;
        let path = error.path.as_deref().map(|path| path.display().to_string());
        let (step, path) = (error.step, path.unwrap_or_default());
        voice.alert(match voice.form() {
            Form::Haproxy => format!("Binding [{file}:{line}]: {step} ({reason}) for [{path}]"),
            Form::Own => format!("{file}:{line}: {step} {path}: {reason}"),
        });
    }
    Err(StartError::Listeners)
}

/// One listener that could not be opened.
fn open_error(config: &Config, loaded: &Loaded, error: &OpenError, form: Form) -> String {
    let proxy = config.proxy(error.proxy);
    let reason = nix::errno::Errno::from_raw(error.errno.raw_os_error()).desc();
    let Some(bind) = proxy.binds.get(error.bind as usize) else {
        return format!("{} ({reason})", error.step);
    };
    let file = &loaded.sources.file(bind.span.file).name;
    let line = loaded.sources.position(bind.span).line;
    let kind = if proxy.kind.is_backend() {
        "proxy"
    } else {
        "frontend"
    };
    let address = match &bind.address {
        BindAddress::Inet(address) => address.to_string(),
        BindAddress::Unix(path) => path.display().to_string(),
        BindAddress::Abstract(name) => format!("abns@{}", String::from_utf8_lossy(name)),
        BindAddress::Fd(number) => format!("fd@{number}"),
        BindAddress::Name(host, port) => format!("{host}:{port}"),
    };
    match form {
        Form::Haproxy => format!(
            "Binding [{file}:{line}] for {kind} {}: {} ({reason}) for [{address}]",
            proxy.name, error.step
        ),
        Form::Own => format!(
            "{file}:{line}: {kind} '{}': {} {address}: {reason}{}",
            proxy.name,
            error.step,
            next_step(error.step, error.errno),
        ),
    }
}

/// What may help where the system refused an address.
fn next_step(step: OpenStep, errno: rustix::io::Errno) -> &'static str {
    match (step, errno) {
        (OpenStep::Bind | OpenStep::Listen, rustix::io::Errno::ADDRINUSE) => {
            "; `ss -ltnp` shows who listens there"
        }
        (OpenStep::Bind, rustix::io::Errno::ACCESS) => {
            "; ports below 1024 need root or the capability NET_BIND_SERVICE"
        }
        _ => "",
    }
}
