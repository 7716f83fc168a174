//! Executes the command line of the personality `haproxy`: prints versions and lists, evaluates
//! conditions, checks files, or serves them with or without a supervisor. Messages and exit codes
//! are those of HAProxy.

mod arguments;
mod text;

use crate::command;
use crate::identity;
use crate::master::{self, MasterAddressError};
use crate::parts;
pub use arguments::{ArgumentError, Arguments};
use configuration::LoadOptions;
use configuration::files::{self, NamedFile};
use keyword::load::Loaded;
use language::evaluate_condition;
use language::reason;
use part::daemon::DaemonError;
use part::role::Personality;
use part::voice::{Form, MessagePrinter};
use proxy_role::process::{self, ProcessOverrides};
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use supervisor::{MasterSocket, ProcessClaim};

const REFUSED: u8 = 1;
/// Exit code of `-c` for a valid file without a listener.
const NOTHING_LISTENS: u8 = 2;
const NOT_UNDERSTOOD: u8 = 2;

/// Executes a command line, without the program's name.
pub fn main(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    let words: Vec<OsString> = words.into_iter().collect();
    let arguments = match arguments::parse(words.iter().cloned()) {
        Ok(arguments) => arguments,
        Err(error) => return refuse(&error),
    };
    let mut voice = MessagePrinter::new(Form::Haproxy, arguments.quiet && !arguments.verbose);
    if arguments.build || arguments.version {
        print(&if arguments.build {
            text::build()
        } else {
            text::version()
        });
        return ExitCode::SUCCESS;
    }
    if let Some(condition) = &arguments.condition {
        return evaluate(condition, &arguments, &mut voice);
    }
    if let Some(classes) = &arguments.dump_keywords
        && (classes == "help" || arguments.files.is_empty())
    {
        print(&text::keywords(classes, &keyword::registry().documented()));
        return ExitCode::SUCCESS;
    }
    if arguments.files.is_empty() {
        return usage();
    }
    let base = arguments.directory.clone().unwrap_or_default();
    let paths: Vec<PathBuf> = arguments.files.iter().map(|path| base.join(path)).collect();
    if files::are_empty(&paths) {
        return usage();
    }
    for (flag, why) in &arguments.without_effect {
        voice.notice(format_args!("{flag} has no effect: {why}."));
    }
    let masters = match masters(&arguments, &mut voice) {
        Ok(masters) => masters,
        Err(refused) => return refused,
    };
    if arguments.socket_twice {
        voice.warning("-x option already set, overwriting the value");
    }
    if arguments.master_worker && !arguments.check {
        return supervise(words, &paths, &arguments, masters);
    }
    match load(&arguments, &mut voice) {
        Some(loaded) if asks_for_a_master(&loaded) && !arguments.check => become_master(&words),
        Some(loaded) => {
            warn_of_sockets(&arguments, &mut voice);
            loaded_main(loaded, &arguments, &mut voice)
        }
        None => ExitCode::from(REFUSED),
    }
}

/// Runs the supervisor for `-W`. Its loader parses this command line again.
fn supervise(
    words: Vec<OsString>,
    paths: &[PathBuf],
    arguments: &Arguments,
    masters: Vec<MasterSocket>,
) -> ExitCode {
    // Leaves the change to the directory of `-C` to the loader: file names are relative to it.
    supervisor::main(supervisor::StartParameters {
        personality: Personality::Haproxy,
        arguments: words,
        paths: command::absolute(paths),
        quiet: arguments.quiet && !arguments.verbose,
        masters,
        notify: arguments.notify,
        before: arguments.before.clone(),
        ..supervisor::StartParameters::default()
    })
}

fn masters(
    arguments: &Arguments,
    voice: &mut MessagePrinter,
) -> Result<Vec<MasterSocket>, ExitCode> {
    let base = std::env::current_dir().unwrap_or_default();
    let base = match &arguments.directory {
        Some(directory) => base.join(directory),
        None => base,
    };
    let mut all = Vec::new();
    for text in &arguments.masters {
        match master::parse(text, &base) {
            Ok(one) => all.extend(one.map(|one| master::socket(one, Form::Haproxy))),
            Err(error) => {
                if !matches!(
                    error,
                    MasterAddressError::Unknown { .. } | MasterAddressError::Value { .. }
                ) {
                    voice.alert("config : Cannot create the listener of the master CLI");
                }
                voice.alert(format_args!("config : {error}"));
                voice.alert("config : Can't create the master's CLI.");
                return Err(ExitCode::from(REFUSED));
            }
        }
    }
    Ok(all)
}

fn warn_of_sockets(arguments: &Arguments, voice: &mut MessagePrinter) {
    if !arguments.masters.is_empty() && !arguments.master_worker {
        voice.warning(
            "config : a master CLI socket was defined, but master-worker mode (-W) is not enabled.",
        );
    }
}

fn asks_for_a_master(loaded: &Loaded) -> bool {
    let config = loaded.config.as_ref();
    config.is_some_and(|config| config.global.master_worker)
}

/// Replaces the process by this program with `-W`, since the file requests a master process. The
/// supervisor must not have parsed a configuration itself.
fn become_master(words: &[OsString]) -> ExitCode {
    let program = std::env::args_os().next();
    let error = std::process::Command::new("/proc/self/exe")
        .arg0(program.as_deref().unwrap_or("haproxy".as_ref()))
        .args(as_haproxy(program.as_deref()))
        .arg("-W")
        .args(words)
        .exec();
    MessagePrinter::new(Form::Haproxy, false).fatal(reason(&error));
    ExitCode::from(REFUSED)
}

/// Returns the argument that selects this personality where the program's name does not.
fn as_haproxy(program: Option<&OsStr>) -> Option<&'static str> {
    let name = program.map(Path::new).and_then(Path::file_name);
    (name != Some("haproxy".as_ref())).then_some("haproxy")
}

fn refuse(error: &ArgumentError) -> ExitCode {
    if *error == ArgumentError::Usage {
        return usage();
    }
    MessagePrinter::new(Form::Haproxy, false).alert(error);
    ExitCode::from(REFUSED)
}

fn usage() -> ExitCode {
    print(&text::version());
    // An error is ignored: it means that standard error is closed.
    let _ = std::io::stderr().write_all(text::USAGE.as_bytes());
    ExitCode::from(REFUSED)
}

fn print(text: &str) {
    // A closed pipe (`haproxy -vv | head -1`) is no error.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn evaluate(condition: &str, arguments: &Arguments, voice: &mut MessagePrinter) -> ExitCode {
    let environment = identity::environment(&[], arguments.local_peer.as_deref());
    match evaluate_condition(condition, &identity::facts(), &environment) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            voice.alert(format_args!(
                "config : Failed to evaluate condition: {error}"
            ));
            ExitCode::from(NOT_UNDERSTOOD)
        }
    }
}

pub fn arguments(words: impl IntoIterator<Item = OsString>) -> Result<Arguments, ArgumentError> {
    arguments::parse(words)
}

/// Changes to the directory of `-C` and reads the files. Returns None after it reported an error.
pub fn read(arguments: &Arguments, voice: &mut MessagePrinter) -> Option<Vec<NamedFile>> {
    enter(arguments, voice)?;
    match files::read_all(&arguments.files) {
        Ok(files) => Some(files),
        Err(error) => {
            voice.alert(format_args!("config : {error}"));
            None
        }
    }
}

/// Changes to the directory of `-C`, if given. Returns None after it reported an error.
pub fn enter(arguments: &Arguments, voice: &mut MessagePrinter) -> Option<()> {
    if let Some(directory) = &arguments.directory
        && let Err(error) = std::env::set_current_dir(directory)
    {
        let why = reason(&error);
        voice.alert(format_args!(
            "Could not change to directory {} : {why}",
            directory.display()
        ));
        return None;
    }
    Some(())
}

pub fn load_options(arguments: &Arguments) -> LoadOptions {
    LoadOptions {
        resolve_names: true,
        ignore_unresolved: arguments.ignore_unresolved,
        diag: arguments.diag,
        unverified_servers: arguments.unverified_servers,
        host: crate::identity::host_name(),
        ..LoadOptions::default()
    }
}

pub fn plan(arguments: &Arguments) -> ProcessOverrides {
    ProcessOverrides {
        daemon: arguments.daemon,
        foreground: arguments.foreground,
        pid_file: arguments.pid_file.clone(),
        connections: arguments.connections,
        proxy_connections: arguments.proxy_connections,
        memory_mib: arguments.memory_mib,
        before: arguments.before.clone(),
    }
}

/// Reads and loads the files. Returns None if a file cannot be read, after an error message; errors
/// of the configuration are in the result.
fn load(arguments: &Arguments, voice: &mut MessagePrinter) -> Option<Loaded> {
    let files = read(arguments, voice)?;
    let local_peer = arguments.local_peer.as_deref();
    let mut site = parts::load_files(files, local_peer, load_options(arguments), None);
    // Reports sections that need further roles: without a supervisor these cannot run.
    if !arguments.check && site.proxy.config.is_some() && !asks_for_a_master(&site.proxy) {
        site.without_roles();
    }
    Some(site.proxy)
}

fn loaded_main(mut loaded: Loaded, arguments: &Arguments, voice: &mut MessagePrinter) -> ExitCode {
    let global = loaded.config.as_ref().map(|config| &config.global);
    voice.quiet |= !arguments.verbose && loaded.quiet;
    let zero_warning = arguments.zero_warning || global.is_some_and(|global| global.zero_warning);
    let zero_warning = zero_warning && loaded.warning_count() > 0;
    voice.diagnostics(
        &loaded.sources,
        &loaded.diagnostics,
        arguments.diag,
        zero_warning,
    );
    if let Some(classes) = &arguments.dump_keywords {
        print(&text::keywords(classes, &keyword::registry().documented()));
    }
    if arguments.dump_libraries {
        print(&text::libraries());
    }
    let warned = loaded.diagnostics.warnings() > 0;
    let Some(config) = loaded.config.take() else {
        return ExitCode::from(REFUSED);
    };
    if zero_warning {
        return ExitCode::from(REFUSED);
    }
    if arguments.check {
        return checked(config.listens(), warned, voice.quiet);
    }
    let base = std::env::current_dir().unwrap_or_default();
    let paths: Vec<PathBuf> = arguments.files.iter().map(|path| base.join(path)).collect();
    let claim = ProcessClaim::enter(&arguments.before, &command::absolute(&paths));
    let claim = match claim {
        Ok(claim) => claim,
        Err(error) => {
            voice.alert(error);
            return ExitCode::from(REFUSED);
        }
    };
    match process::run(loaded, config, &plan(arguments), claim, voice) {
        Ok(()) => ExitCode::SUCCESS,
        // Prints nothing: the background process has already reported the reason.
        Err(process::StartError::Daemon(DaemonError::Child)) => ExitCode::from(REFUSED),
        Err(error @ process::StartError::TakeOver { .. }) => {
            voice.alert(error);
            ExitCode::from(REFUSED)
        }
        Err(error) => {
            let program = std::env::args().next().unwrap_or_default();
            voice.alert(format_args!("[{program}.main()] {error}"));
            ExitCode::from(REFUSED)
        }
    }
}

/// Prints the result of `-c` for a configuration without errors, and returns the exit code.
fn checked(listens: bool, warned: bool, quiet: bool) -> ExitCode {
    let mut said = String::new();
    if warned {
        said += "Warnings were found.\n";
    }
    said += if listens {
        "Configuration file is valid\n"
    } else {
        "Configuration file has no error but will not start (no listener) => exit(2).\n"
    };
    if !quiet {
        print(&said);
    }
    if listens {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(NOTHING_LISTENS)
    }
}
