//! Executes the command line of the personality `keepalived`: prints versions and signal numbers,
//! tests files (`-t`), or runs a supervisor whose address role serves the virtual addresses.
//! Messages and exit codes are those of keepalived.

mod arguments;
mod text;

use crate::identity::keepalived_name as name;
use crate::loader::addresses::{self, AddressWishes};
use address::dialect::LocalMachine;
use address::message::{AddressRoleMessage, AddressRoleOptions, Dump};
use address::rights;
pub use arguments::{ArgumentError, Arguments};
use configuration::files;
use language::Diagnostic;
use nix::sys::signal::Signal;
use part::codec;
use part::role::{PartMessage, Personality};
use part::voice::keepalived::{Level, Log, LogWish, Speaker, missing, rendered};
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use supervisor::{Caught, SIGNAL_CLEAR_STATISTICS, SIGNAL_JSON};

const USAGE: u8 = 1;
/// Exit code of `-t` for a configuration with errors.
const ERRORS: u8 = 5;
/// Exit code of `-t` for scripts that run without `script_security`.
const INSECURE: u8 = 6;
const MISSING: u8 = 6;

/// Codes of our warnings for which keepalived reports a configuration error: a truncated password,
/// surplus words, a missing file, what strict mode forbids, a script that cannot be run, an
/// instance without an address.
const ERRORS_THERE: &[&str] = &[
    "W0700",
    SCRIPT_UNUSABLE,
    "W0708",
    "W0713",
    "W0716",
    "W0719",
    "W0723",
];

const SCRIPT_UNUSABLE: &str = "W0705";

/// Executes a command line, without the program's name.
pub fn main(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    let words: Vec<OsString> = words.into_iter().collect();
    let parsed = arguments::parse(words.iter().cloned());
    if parsed.version || parsed.help || parsed.signal.is_some() {
        return tell(&parsed);
    }
    for line in &parsed.told {
        say(line);
    }
    if parsed.wrong {
        return ExitCode::from(USAGE);
    }
    if let Err(error) = possible(&parsed) {
        say(&error.to_string());
        return ExitCode::from(USAGE);
    }
    match &parsed.test {
        Some(file) => test(&parsed, file.as_deref()),
        None => supervise(words, &parsed),
    }
}

fn tell(parsed: &Arguments) -> ExitCode {
    for line in &parsed.told {
        say(line);
    }
    if let Some(purpose) = &parsed.signal {
        let Some(number) = text::signal(purpose) else {
            say(&format!("Unknown sigfunc {purpose}"));
            return ExitCode::from(USAGE);
        };
        // A closed pipe is no error.
        let _ = writeln!(std::io::stdout(), "{number}");
        return ExitCode::SUCCESS;
    }
    let text = if parsed.version {
        text::version()
    } else {
        text::USAGE.to_owned()
    };
    // Writes to standard error, as keepalived does.
    part::voice::write_unrecorded(&text);
    ExitCode::SUCCESS
}

fn say(line: &str) {
    part::voice::write_error(&format!("{line}\n"));
}

fn possible(parsed: &Arguments) -> Result<(), ArgumentError> {
    match (parsed.checkers_only && !parsed.vrrp_only, parsed.genhash) {
        (true, _) => Err(ArgumentError::Checkers),
        (_, true) => Err(ArgumentError::Genhash),
        _ => Ok(()),
    }
}

/// Parses the command line for a start. Returns an error for invalid or unsupported options.
pub fn arguments(words: impl IntoIterator<Item = OsString>) -> Result<Arguments, ArgumentError> {
    let parsed = arguments::parse(words);
    if parsed.wrong {
        Err(ArgumentError::Told(parsed.told))
    } else {
        possible(&parsed).map(|()| parsed)
    }
}

pub fn log_destination(parsed: &Arguments) -> LogWish {
    let file = parsed.log_file.as_deref();
    LogWish {
        console: parsed.console,
        facility: (!parsed.no_syslog).then_some(parsed.facility),
        file: file.map(|path| absolute(path).as_os_str().as_bytes().to_vec()),
        flush: parsed.flush,
        detail: parsed.detail,
    }
}

pub fn pid_file(parsed: &Arguments) -> PathBuf {
    let file = parsed.pid_file.as_deref();
    file.map_or_else(|| run_directory(parsed).join("keepalived.pid"), absolute)
}

fn options(parsed: &Arguments) -> AddressRoleOptions {
    AddressRoleOptions {
        log: log_destination(parsed),
        background: !parsed.foreground,
        ..AddressRoleOptions::default()
    }
}

fn role_pid_file(parsed: &Arguments) -> PathBuf {
    let file = parsed.role_pid_file.as_deref();
    let beside = || run_directory(parsed).join("vrrp.pid");
    file.map_or_else(beside, absolute)
}

/// Returns the directory of PID files on the host. For a network namespace it is a directory of its
/// name, so that the files are visible outside of the namespace.
fn run_directory(parsed: &Arguments) -> PathBuf {
    match &parsed.namespace {
        None => "/run".into(),
        Some(name) => format!("/run/keepalived/keepalived_{}", name.replace('/', "_")).into(),
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn test(parsed: &Arguments, to: Option<&Path>) -> ExitCode {
    let mut output = Vec::new();
    let exit = judge(parsed, &mut output);
    let file = to.map(|path| {
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o644).open(path)
    });
    match file {
        Some(Ok(mut file)) => {
            // Writes to standard error if the file cannot be written.
            if file.write_all(&output).is_err() {
                let _ = std::io::stderr().write_all(&output);
            }
        }
        Some(Err(_)) | None => {
            let _ = std::io::stderr().write_all(&output);
        }
    }
    ExitCode::from(exit)
}

fn judge(parsed: &Arguments, output: &mut Vec<u8>) -> u8 {
    let paths = [parsed.file.clone()];
    let Ok(files) = files::read_some(&paths) else {
        output.extend(format!("{}\n", missing(&paths)).into_bytes());
        // Returns success for missing files, as keepalived does.
        return 0;
    };
    let read = addresses::read(&files, &wishes(parsed), &mut LocalMachine::new());
    output.extend(rendered(&read.sources, &read.diagnostics, false).into_bytes());
    let Some(config) = read.config else {
        return ERRORS;
    };
    if rights::has_programs(&config) && !config.global.script_security {
        output.extend(
            b"SECURITY VIOLATION - scripts are being executed but script_security not enabled.\n",
        );
        return INSECURE;
    }
    // Ignores diagnostics that keepalived does not have: they must not change the exit code.
    let also_there = |one: &Diagnostic| {
        // keepalived does not report a missing `notify` script; only tracked scripts have a label.
        let notifies = one.code.id == SCRIPT_UNUSABLE && one.label.is_empty();
        ERRORS_THERE.contains(&one.code.id) && !notifies
    };
    if read.diagnostics.iter().any(also_there) {
        ERRORS
    } else {
        0
    }
}

pub fn wishes(parsed: &Arguments) -> AddressWishes {
    AddressWishes {
        keeps: !parsed.releases,
        config_id: parsed.config_id.clone(),
        vrrp_only: parsed.vrrp_only,
        as_keepalived: true,
        namespace: parsed.namespace.clone(),
        umask: parsed.umask,
        no_bfd: parsed.no_bfd,
    }
}

fn supervise(words: Vec<OsString>, parsed: &Arguments) -> ExitCode {
    if let Some(mask) = parsed.umask {
        rustix::process::umask(rustix::fs::Mode::from_bits_truncate(mask));
    }
    if parsed.core {
        allow_core();
    }
    if parsed.namespace.is_some() {
        // Ignores a failure: without the directory, writing the PID files reports an error.
        let _ = std::fs::create_dir_all(run_directory(parsed));
    }
    let mut log = Log::open(log_destination(parsed), Speaker::Parent);
    let mut line = |text: String| log.line(Level::Info, &text);
    if !supervisor::is_next_image() {
        line(format!("Starting {}", name()));
        let shown: Vec<String> = std::iter::once("keepalived".to_owned())
            .chain(words.iter().map(|word| word.to_string_lossy().into_owned()))
            .map(|word| format!("'{word}'"))
            .collect();
        line(format!("Command line: {}", shown.join(" ")));
        if !parsed.file.is_file() {
            line(missing(std::slice::from_ref(&parsed.file)));
            line(format!("Stopped {}", name()));
            return ExitCode::from(MISSING);
        }
        if let Some(pid) = already(&pid_file(parsed)) {
            line(format!("daemon is already running (process {pid})"));
            line(format!("Stopped {}", name()));
            return ExitCode::SUCCESS;
        }
        line(format!("Configuration file {}", parsed.file.display()));
    }
    supervisor::main(supervisor::StartParameters {
        personality: Personality::Keepalived,
        arguments: words,
        paths: crate::command::absolute(std::slice::from_ref(&parsed.file)),
        notify: true,
        log: log_destination(parsed),
        options: vec![(address::message::PART, codec::encode(&options(parsed)))],
        releases: parsed.releases,
        once: parsed.once,
        role_pid_file: Some((address::message::PART, role_pid_file(parsed))),
        on_signal: dump,
        ..supervisor::StartParameters::default()
    })
}

/// Translates a signal to the supervisor into keepalived's request for a dump by the address role;
/// None for other signals.
fn dump(caught: Caught) -> Option<PartMessage> {
    let dump = match caught {
        Caught::Signal(Signal::SIGUSR1) => Dump::Data,
        Caught::Signal(Signal::SIGUSR2) => Dump::Statistics,
        Caught::RealTime(SIGNAL_JSON) => Dump::Json,
        Caught::RealTime(SIGNAL_CLEAR_STATISTICS) => Dump::ClearStatistics,
        Caught::Signal(_) | Caught::RealTime(_) => return None,
    };
    Some(AddressRoleMessage::Dump(dump).envelope())
}

fn already(path: &Path) -> Option<u32> {
    let text = std::fs::read_to_string(path).ok()?;
    let pid: u32 = text.trim().parse().ok()?;
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    let ours = ["keepalived", "evenkeel"].contains(&name.trim());
    (ours && pid != std::process::id()).then_some(pid)
}

fn allow_core() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let all = Rlimit {
        current: None,
        maximum: None,
    };
    // Ignores a failure: without the privilege to raise the limit, the system's limit applies.
    let _ = setrlimit(Resource::Core, all);
}
