//! Opening what a configuration listens on, with the rights of the start, and
//! saying what could not be opened.

use super::{Fetched, StartError, before};
use keyword::load::Loaded;
use model::config::{BindAddress, Config};
use part::before::Before;
use part::role::CheckProgram;
use part::voice::{Form, Voice};
use proxy::listener::{Inherited, Listening, OpenError, OpenStep};
use proxy::operations::{self, OperationsSocket};

/// Opens listeners and statistics sockets; those among `inherited` and those of
/// the process before that are still wanted are used again. Each that cannot be had is told.
pub fn open(
    config: &Config,
    loaded: &Loaded,
    inherited: Inherited,
    (predecessor, fetched): (&Before, &Fetched),
    voice: &mut Voice,
) -> Result<(Vec<Listening>, Vec<OperationsSocket>), StartError> {
    let (mut inherited, listening, errors) = before::open(predecessor, config, inherited, fetched);
    for error in &errors {
        voice.alert(open_error(config, loaded, error, voice.form()));
    }
    if !errors.is_empty() {
        return Err(StartError::Listeners);
    }
    let sockets = open_sockets(config, loaded, &mut inherited, voice)?;
    settle(inherited, loaded, voice)?;
    Ok((listening, sockets))
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
            Form::Own | Form::Keepalived => format!("{file}:{line}: {step} {path}: {reason}"),
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

/// An address as messages show it.
pub fn address_text(address: &BindAddress) -> String {
    match address {
        BindAddress::Inet(address) => address.to_string(),
        BindAddress::Unix(path) => path.display().to_string(),
        BindAddress::Abstract(name) => format!("abns@{}", String::from_utf8_lossy(name)),
        BindAddress::Fd(number) => format!("fd@{number}"),
        BindAddress::Name(host, port) => format!("{host}:{port}"),
    }
}

/// Returns a hint for a refused address.
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

/// The programs of a configuration, as processes of ours name them.
pub fn check_programs(config: &Config) -> Vec<CheckProgram> {
    let programs = config.check_programs().into_iter();
    let programs = programs.map(|(command, path)| CheckProgram {
        command: command.as_bytes().to_vec(),
        path: path.as_bytes().to_vec(),
    });
    programs.collect()
}
