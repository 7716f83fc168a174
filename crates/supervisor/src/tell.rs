//! Prints the messages of the supervisor: under the names of HAProxy and keepalived in their words,
//! which scripts search for, otherwise in our own.

use crate::directory::Instance;
use crate::keep::KeepError;
use crate::orphan::AdoptError;
use crate::slot::RunningRole;
use crate::version::{LoadedVersion, PartSize};
use nix::sys::signal::Signal;
use part::before::{Before, PredecessorSignal};
use part::identity;
use part::row;
use part::spawn::ProcessExit;
use part::voice::{Form, Gravity, MessagePrinter, counted, plain};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

/// Reports a role of other files that continues without a supervisor.
pub fn left_alone(voice: &mut MessagePrinter, what: &str, left: &Instance) {
    let paths = left.paths.iter();
    let paths: Vec<String> = paths.map(|path| path.display().to_string()).collect();
    let (process, end) = match left.role() {
        Some(pid) => (format!(" (process {pid})"), format!("`kill {pid}`")),
        None => (
            String::new(),
            "SIGTERM (`pgrep -af '^evenkeel: '` lists the processes)".to_owned(),
        ),
    };
    voice.warning(format_args!(
        "the {what}{process} of {} continues without its supervisor (process {}, which has ended): the command that \
         started it adopts it; otherwise end it with {end}",
        paths.join(" "),
        left.pid
    ));
}

pub fn forked(voice: &mut MessagePrinter, pid: i32) {
    if voice.form() == Form::Haproxy {
        voice.notice(format_args!("New worker ({pid}) forked"));
    }
}

pub fn serves(voice: &mut MessagePrinter, version: &LoadedVersion) {
    match voice.form() {
        Form::Haproxy => voice.notice("Loading success."),
        Form::Keepalived => voice.notice("Startup complete"),
        Form::Own => voice.notice(serving(version)),
    }
}

fn serving(version: &LoadedVersion) -> String {
    if version.is_idle() {
        return "serving nothing: the version has nothing for this node".to_owned();
    }
    let all = version.sizes();
    let has_addresses = |one: &PartSize<'_>| match one {
        PartSize::Proxy { .. } => true,
        PartSize::Sidecar(plan) => row::has_addresses(&plan.part),
    };
    let on = if all.iter().any(has_addresses) {
        "on "
    } else {
        ""
    };
    format!("serving {on}{}", join_sizes(&all))
}

/// Describes the size of a version: addresses, threads, and the objects of other parts.
pub fn size(version: &LoadedVersion) -> String {
    join_sizes(&version.sizes())
}

fn join_sizes(all: &[PartSize<'_>]) -> String {
    let words = all.iter().map(|one| match one {
        PartSize::Proxy { listeners, threads } => format!(
            "{} with {}",
            counted(*listeners as usize, "address", "addresses"),
            counted(*threads as usize, "thread", "threads"),
        ),
        PartSize::Sidecar(plan) => format!("{} {}", plan.objects, plan.noun),
    });
    words.collect::<Vec<_>>().join("; ")
}

pub fn reloading(voice: &mut MessagePrinter) {
    match voice.form() {
        Form::Haproxy => voice.notice("Reloading HAProxy"),
        Form::Keepalived => voice.notice("Reloading ..."),
        Form::Own => {}
    }
}

pub fn changed(version: &LoadedVersion) -> Vec<(Gravity, String)> {
    let plan = version.plan();
    let difference = plan.difference.trim_end();
    let mut lines = vec![(
        Gravity::Notice,
        format!("configuration reloaded; {}", serving(version)),
    )];
    lines.extend(
        difference
            .lines()
            .map(|line| (Gravity::Notice, format!("  {line}"))),
    );
    lines.extend(
        plan.fixed
            .iter()
            .map(|words| (Gravity::Warning, words.clone())),
    );
    lines
}

pub fn as_text(lines: &[(Gravity, String)]) -> String {
    let mut text = String::new();
    for (gravity, line) in lines {
        text += match gravity {
            Gravity::Alert => "evenkeel: error: ",
            Gravity::Warning => "evenkeel: warning: ",
            Gravity::Notice => "evenkeel: ",
        };
        text += line;
        text.push('\n');
    }
    text
}

pub fn taken(voice: &mut MessagePrinter, lines: &[(Gravity, String)]) {
    let form = voice.form();
    let shown = |gravity: &Gravity| form == Form::Own || *gravity != Gravity::Notice;
    for (gravity, line) in lines.iter().filter(|(gravity, _)| shown(gravity)) {
        voice.log_message(*gravity, line);
    }
    if form == Form::Haproxy {
        voice.notice("Loading success.");
    }
}

/// Returns the messages of a reload, for a client of the master socket.
pub fn reload_text(
    voice: &MessagePrinter,
    shown: &str,
    lines: &[(Gravity, String)],
    is_taken: bool,
) -> String {
    let mut voice = voice.clone();
    voice.quiet = false;
    voice.started();
    voice.collect(plain(false));
    for (gravity, line) in lines {
        voice.log_message(*gravity, line);
    }
    if voice.form() == Form::Haproxy {
        if is_taken {
            voice.notice("Loading success.");
        } else {
            voice.warning("Loading failure!");
        }
    }
    let said = voice.collected().map(|said| said.plain);
    shown.to_owned() + &said.unwrap_or_default()
}

pub fn refused(voice: &mut MessagePrinter) {
    match voice.form() {
        Form::Haproxy => voice.warning("Loading failure!"),
        Form::Keepalived => {
            voice.warning("the configuration is refused, the previous one stays active");
        }
        Form::Own => voice.warning("nothing was changed"),
    }
}

pub fn exiting(voice: &mut MessagePrinter, soft: bool) {
    match (voice.form(), soft) {
        (Form::Haproxy, _) => voice.warning("Exiting Master process..."),
        // Prints nothing under keepalived's name, because the address role prints this message.
        (Form::Keepalived, _) => {}
        (Form::Own, true) => {
            voice.notice("accepting no new connections, finishing the existing ones")
        }
        (Form::Own, false) => voice.notice("stopping"),
    }
}

pub fn ended(voice: &mut MessagePrinter, pid: i32, ending: ProcessExit, expected: bool) {
    match voice.form() {
        Form::Haproxy => haproxy_ended(voice, "Current", pid, ending),
        Form::Own | Form::Keepalived if expected => {}
        Form::Own | Form::Keepalived => voice.warning(format_args!(
            "the proxy (process {pid}) {}",
            own_ending(ending)
        )),
    }
}

/// Reports that all processes end because the proxy was ended on purpose.
pub fn ends_all(voice: &mut MessagePrinter, obeys: Option<Signal>, ending: ProcessExit) {
    if voice.form() != Form::Own {
        return;
    }
    let how = match obeys {
        Some(signal) => format!("received {signal}"),
        None => own_ending(ending),
    };
    voice.warning(format_args!(
        "evenkeel stops, because the proxy {how}; only a proxy that dies of another cause is restarted"
    ));
}

pub fn former_ended(voice: &mut MessagePrinter, pid: i32, ending: ProcessExit) {
    match (voice.form(), ending) {
        (Form::Haproxy, _) => haproxy_ended(voice, "Former", pid, ending),
        (Form::Own | Form::Keepalived, ProcessExit::Status(status)) if status.success() => {
            voice.notice(format_args!(
                "the previous proxy (process {pid}) has finished"
            ));
        }
        (Form::Own | Form::Keepalived, _) => voice.notice(format_args!(
            "the previous proxy (process {pid}) {}",
            own_ending(ending)
        )),
    }
}

fn haproxy_ended(voice: &mut MessagePrinter, which: &str, pid: i32, ending: ProcessExit) {
    let ProcessExit::Status(status) = ending else {
        return voice.warning(format_args!("{which} worker ({pid}) exited"));
    };
    let gravity = if status.success() {
        Gravity::Warning
    } else {
        Gravity::Alert
    };
    let (code, name) = haproxy_status(status);
    voice.log_message(
        gravity,
        format_args!("{which} worker ({pid}) exited with code {code} ({name})"),
    );
}

pub fn trial_ended(ending: ProcessExit) -> String {
    format!("the proxy of the new program {}", own_ending(ending))
}

pub fn not_known(voice: &mut MessagePrinter, error: &KeepError) {
    voice.warning(format_args!(
        "cannot use the version stored by the previous supervisor ({error}); reading the files again"
    ));
}

pub fn not_adopted(voice: &mut MessagePrinter, error: &AdoptError) {
    voice.warning(format_args!(
        "a proxy with these files has no supervisor, but {error}; starting another one beside it"
    ));
}

/// Reports that the listeners of another program were taken over, or that the program was asked to
/// end.
pub fn took_over(voice: &mut MessagePrinter, before: &Before, asked: &[u32]) {
    if voice.form() != Form::Own {
        return;
    }
    let mut words = Vec::new();
    if let Some(socket) = &before.socket {
        words.push(format!(
            "took over the listeners offered by {}",
            socket.display()
        ));
    }
    if !asked.is_empty() {
        let pids: Vec<String> = asked.iter().map(u32::to_string).collect();
        let to = match before.farewell {
            PredecessorSignal::Finish => "finish existing connections",
            PredecessorSignal::End => "end",
        };
        words.push(format!("asked process {} to {to}", pids.join(", ")));
    }
    for pid in before.pids.iter().filter(|pid| !asked.contains(pid)) {
        voice.warning(format_args!(
            "process {pid} was not signalled: it does not exist, or belongs to another user"
        ));
    }
    if !words.is_empty() {
        voice.notice(words.join("; "));
    }
}

pub fn resumed(voice: &mut MessagePrinter) {
    if voice.form() == Form::Own {
        voice.notice(format_args!(
            "the supervisor is now evenkeel {}",
            identity::VERSION
        ));
    }
}

pub fn not_resumed(voice: &mut MessagePrinter, error: &dyn std::fmt::Display) {
    voice.warning(format_args!(
        "cannot read the state of the previous program: {error}"
    ));
}

/// Prints keepalived's message about the start of the address role; nothing under other names.
pub fn role_started(voice: &mut MessagePrinter, pid: i32) {
    if voice.form() == Form::Keepalived {
        voice.notice(format_args!("Starting VRRP child process, pid={pid}"));
    }
}

pub fn adopted(voice: &mut MessagePrinter, what: &str, pid: i32, before: u32) {
    voice.notice(format_args!(
        "adopted the {what} (process {pid}) of process {before}, which has ended"
    ));
}

pub fn role_ended(voice: &mut MessagePrinter, what: &str, role: &RunningRole, ending: ProcessExit) {
    let pid = role.process.number();
    if voice.form() != Form::Keepalived {
        return voice.warning(format_args!(
            "the {what} (process {pid}) {}",
            ended_with(role, ending)
        ));
    }
    if let ProcessExit::Status(status) = ending
        && let Some(signal) = status.signal()
    {
        let words = signal_words(signal);
        voice.notice(format_args!(
            "pid {pid} exited due to signal {signal} ({words})"
        ));
    }
    voice.alert(format_args!("VRRP child process({pid}) died: Respawning"));
}

/// Exit code under keepalived's name if the configuration cannot be run.
pub const NOT_RUN: u8 = 2;

/// Returns the exit code of the command after its role ended: 0 if the role succeeded, otherwise
/// [`NOT_RUN`].
pub fn exit_of_role(ending: ProcessExit) -> u8 {
    match ending {
        ProcessExit::Status(status) if status.success() => 0,
        _ => NOT_RUN,
    }
}

/// Describes how a role ended, with its shutdown reason if there is one.
pub fn ended_with(role: &RunningRole, ending: ProcessExit) -> String {
    match role.last_words.as_str() {
        "" => own_ending(ending),
        words => format!("{}: {words}", own_ending(ending)),
    }
}

/// Describes how a process ended: `was killed by SIGKILL`.
pub fn own_ending(ending: ProcessExit) -> String {
    match ending {
        ProcessExit::Status(status) => own_status(status),
        ProcessExit::Unknown => "ended".to_owned(),
    }
}

fn own_status(status: ExitStatus) -> String {
    match status.signal().map(Signal::try_from) {
        Some(Ok(signal)) => format!("was killed by {signal}"),
        Some(Err(_)) => "was killed by a signal".to_owned(),
        None => format!("exited with code {}", status.code().unwrap_or_default()),
    }
}

fn haproxy_status(status: ExitStatus) -> (i32, &'static str) {
    match status.signal() {
        None => (status.code().unwrap_or_default(), "Exit"),
        Some(signal) => (128 + signal, signal_words(signal)),
    }
}

fn signal_words(signal: i32) -> &'static str {
    match signal {
        1 => "Hangup",
        2 => "Interrupt",
        3 => "Quit",
        4 => "Illegal instruction",
        6 => "Aborted",
        7 => "Bus error",
        8 => "Floating point exception",
        9 => "Killed",
        10 => "User defined signal 1",
        11 => "Segmentation fault",
        12 => "User defined signal 2",
        13 => "Broken pipe",
        14 => "Alarm clock",
        15 => "Terminated",
        31 => "Bad system call",
        _ => "Unknown signal",
    }
}

pub fn restarts(voice: &mut MessagePrinter, wait: Duration, proxy: bool) {
    if voice.form() == Form::Own {
        let when = if wait.is_zero() {
            "at once".to_owned()
        } else {
            format!("in {} s", wait.as_secs_f32())
        };
        let with = if proxy {
            ", with the same listeners"
        } else if wait.is_zero() {
            " with its previous state"
        } else {
            ""
        };
        voice.notice(format_args!("restarting it {when}{with}"));
    }
}

pub fn not_begun(voice: &mut MessagePrinter) {
    if voice.form() == Form::Keepalived {
        voice.notice(format_args!("Stopped {}", identity::keepalived_name()));
    }
}

pub fn all_exited(voice: &mut MessagePrinter, exit: u8) {
    match voice.form() {
        Form::Haproxy => {
            voice.warning(format_args!("All workers exited. Exiting... ({exit})"));
        }
        Form::Keepalived => voice.notice(format_args!("Stopped {}", identity::keepalived_name())),
        Form::Own => {}
    }
}
