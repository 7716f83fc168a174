//! Opens the configured listeners and statistics sockets with the initial privileges, reports those
//! that cannot be opened, and renders addresses in messages. Also lists the programs that external
//! checks run.

use super::{Fetched, StartError, before};
use keyword::load::Loaded;
use model::config::{BindAddress, Config};
use part::before::Before;
use part::role::{CheckProgram, Missing, MissingKind};
use part::voice::{Form, MessagePrinter};
use proxy::listener::{self, Inherited, Listening, OpenError, OpenStep};
use proxy::operations::{self, OperationsSocket};

/// Sockets that could not be opened, and without which an accepted version is served.
#[derive(Debug, Default)]
pub struct LeftOut {
    /// Indices among the listeners and statistics sockets of the configuration.
    pub places: Vec<u32>,
    pub missing: Vec<Missing>,
}

/// Opens listeners and statistics sockets. Those in `inherited`, and those of the previous process
/// that are still configured, are reused. Sockets that cannot be opened are reported. Without
/// `left_out` they refuse the version; otherwise they are recorded there.
///
/// # Errors
/// Fails if a socket cannot be opened and `left_out` is None, or if a Unix socket cannot get its
/// final name.
pub fn open(
    config: &Config,
    loaded: &Loaded,
    inherited: Inherited,
    predecessor: &Before,
    fetched: &Fetched,
    mut left_out: Option<&mut LeftOut>,
    voice: &mut MessagePrinter,
) -> Result<(Vec<Listening>, Vec<OperationsSocket>), StartError> {
    let (mut inherited, listening, errors) = before::open(predecessor, config, inherited, fetched);
    let order: Vec<_> = listener::wanted(config).collect();
    for error in &errors {
        let words = open_error(config, loaded, error, voice.form());
        let at = order
            .iter()
            .position(|place| *place == (error.proxy, error.bind));
        match (&mut left_out, at) {
            (Some(left_out), Some(at)) => left_out.add(at, listener_name(config, error), &words),
            _ => voice.alert(words),
        }
    }
    match &left_out {
        None if !errors.is_empty() => return Err(StartError::Listeners),
        Some(_) => inherited.go_on_without(),
        None => {}
    }
    let sockets = open_sockets(config, loaded, &mut inherited, left_out, order.len(), voice)?;
    settle(inherited, loaded, voice)?;
    Ok((listening, sockets))
}

impl LeftOut {
    fn add(&mut self, place: usize, what: String, why: &str) {
        self.places.push(u32::try_from(place).unwrap_or(u32::MAX));
        self.missing.push(Missing {
            kind: MissingKind::Listener,
            what,
            why: why.to_owned(),
        });
    }
}

fn listener_name(config: &Config, error: &OpenError) -> String {
    let proxy = config.proxy(error.proxy);
    let bind = proxy.binds.get(error.bind as usize);
    let address = bind.map_or_else(String::new, |bind| address_text(&bind.address));
    format!("{address} of {}", proxy.name)
}

/// Opens the statistics sockets. `listeners` is the number of listeners, which precede them in the
/// indices of `left_out`.
fn open_sockets(
    config: &Config,
    loaded: &Loaded,
    inherited: &mut Inherited,
    mut left_out: Option<&mut LeftOut>,
    listeners: usize,
    voice: &mut MessagePrinter,
) -> Result<Vec<OperationsSocket>, StartError> {
    let (sockets, failures) = operations::open(config, inherited);
    for failure in &failures {
        let reason = nix::errno::Errno::from_raw(failure.errno.raw_os_error()).desc();
        let (step, address) = (failure.step, &failure.address);
        let file = &loaded.sources.file(failure.span.file).name;
        let line = loaded.sources.position(failure.span).line;
        let words = match voice.form() {
            Form::Haproxy => {
                let of = &failure.of;
                format!("Binding [{file}:{line}] for {of}: {step} ({reason}) [{address}]")
            }
            Form::Own | Form::Keepalived => {
                let of = match &*failure.of {
                    "frontend GLOBAL" => "stats socket",
                    of => of,
                };
                format!("{file}:{line}: {of}: {step} {address}: {reason}")
            }
        };
        match &mut left_out {
            Some(left_out) => {
                let place = listeners + failure.index as usize;
                left_out.add(place, format!("{address} of {}", failure.of), &words);
            }
            None => voice.alert(words),
        }
    }
    match left_out {
        None if !failures.is_empty() => Err(StartError::Listeners),
        Some(_) => {
            inherited.go_on_without();
            Ok(sockets)
        }
        None => Ok(sockets),
    }
}

/// Gives the opened Unix sockets their final names, and reports failures.
fn settle(
    mut inherited: Inherited,
    loaded: &Loaded,
    voice: &mut MessagePrinter,
) -> Result<(), StartError> {
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
            Form::Own | Form::Keepalived => format!("{file}:{line}: {step} {path}: {reason}"),
        });
    }
    Err(StartError::Listeners)
}

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
    let address = address_text(&bind.address);
    match form {
        Form::Haproxy => format!(
            "Binding [{file}:{line}] for {kind} {}: {} ({reason}) for [{address}]",
            proxy.name, error.step
        ),
        Form::Own | Form::Keepalived => format!(
            "{file}:{line}: {kind} '{}': {} {address}: {reason}{}",
            proxy.name,
            error.step,
            next_step(error.step, error.errno),
        ),
    }
}

pub fn address_text(address: &BindAddress) -> String {
    match address {
        BindAddress::Inet(address) => address.to_string(),
        BindAddress::Unix(path) => path.display().to_string(),
        BindAddress::Abstract(name) => format!("abns@{}", String::from_utf8_lossy(name)),
        BindAddress::Fd(number) => format!("fd@{number}"),
        BindAddress::Name(host, port) => format!("{host}:{port}"),
    }
}

fn next_step(step: OpenStep, errno: rustix::io::Errno) -> &'static str {
    match (step, errno) {
        (OpenStep::Bind | OpenStep::Listen, rustix::io::Errno::ADDRINUSE) => {
            "; `ss -ltnp` shows the process that listens there"
        }
        (OpenStep::Bind, rustix::io::Errno::ACCESS) => {
            "; ports below 1024 need root or the capability NET_BIND_SERVICE"
        }
        _ => "",
    }
}

pub fn check_programs(config: &Config) -> Vec<CheckProgram> {
    let programs = config.check_programs().into_iter();
    let programs = programs.map(|(command, path)| CheckProgram {
        command: command.as_bytes().to_vec(),
        path: path.as_bytes().to_vec(),
    });
    programs.collect()
}
