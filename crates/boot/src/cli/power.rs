//! Implements `evenkeel boot power`: switches a machine on or off with the power control in its
//! configuration line. The boot role only provides that line, since it has no privilege to start
//! programs. The command runs the programs of the line with the privileges of its caller.

use super::{OfBoot, query_boot_role};
use crate::message::PowerControlResponse;
use clap::{Arg, ArgMatches, Command};
use command::instance;
use command::word;
use part::power::control::{PowerAction, PowerCommandOutcome, PowerControl};
use std::io::{Write, stderr};
use std::thread;
use std::time::{Duration, Instant};

/// Time that a machine may take to switch on or off after the order.
const CONFIRM_MAX: Duration = Duration::from_secs(30);
const INTERVAL: Duration = Duration::from_millis(500);
/// Time for which the machine is off before it is switched on again (IPMI 2.0, section 28.3: at
/// least a second).
const OFF: Duration = Duration::from_secs(1);

pub fn definition() -> Command {
    Command::new("power")
        .about("Switch a machine on or off by its management controller, or show whether it is on")
        .long_about(
            "Uses what `power` in the line of the machine names: `ipmitool`, a program, or a fence agent. It runs here, as \
             you, so this node needs the program and the file with the password. A machine that is on or off already is \
             left alone. `off` is like pulling the plug: the operating system is not shut down. `cycle` is `off`, a second \
             without power, and `on`.",
        )
        .arg(
            Arg::new("ACTION")
                .required(true)
                .value_parser(["on", "off", "cycle", "status"])
                .help("What is done"),
        )
}

/// Executes `evenkeel boot power` and returns its output.
///
/// # Errors
/// Fails if the machine is unknown or has no power control, or if the power control fails.
pub fn main(matches: &ArgMatches) -> Result<String, String> {
    let (action, machine) = (word(matches, "ACTION"), word(matches, "MACHINE"));
    let instance = instance::selected(matches)?;
    let asked = OfBoot::Power {
        machine: machine.clone(),
    };
    let powered: PowerControlResponse = query_boot_role(&instance, &asked)?;
    if !powered.trouble.is_empty() {
        return Err(powered.trouble);
    }
    let control = powered.control.ok_or_else(|| {
        format!(
            "the line of machine '{machine}' has no `power`: `evenkeel keyword machine` shows how it is written. \
             `evenkeel boot wake {machine}` switches a machine on by its network card"
        )
    })?;
    let done = done(&control, &action);
    done.map(|words| format!("{machine}: {words} ({})\n", control.name()))
        .map_err(|words| {
            let by_hand = control.by_hand(PowerAction::Status);
            format!(
                "{machine}: {}: {words}\n  try by hand: {by_hand}",
                control.name()
            )
        })
}

fn done(control: &PowerControl, action: &str) -> Result<&'static str, String> {
    let is_on = is_on(control)?;
    match (action, is_on) {
        ("status", true) => Ok("on"),
        ("status", false) => Ok("off"),
        ("on", true) => Ok("on already"),
        ("off", false) => Ok("off already"),
        ("off", true) => switch(control, PowerAction::Off).map(|()| "off"),
        ("cycle", true) => {
            switch(control, PowerAction::Off)?;
            // Ignores an error: the command continues if its output is closed.
            let _ = writeln!(stderr(), "off");
            thread::sleep(OFF);
            switch(control, PowerAction::On).map(|()| "on again")
        }
        _ => switch(control, PowerAction::On).map(|()| "on"),
    }
}

fn is_on(control: &PowerControl) -> Result<bool, String> {
    match control.run_action(PowerAction::Status)? {
        PowerCommandOutcome::IsOn => Ok(true),
        PowerCommandOutcome::IsOff => Ok(false),
        PowerCommandOutcome::Done | PowerCommandOutcome::Failed(_) => {
            Err("its status is neither on nor off".to_owned())
        }
    }
}

fn switch(control: &PowerControl, action: PowerAction) -> Result<(), String> {
    let wanted = action == PowerAction::On;
    let refused = control.run_action(action).err();
    let until = Instant::now() + CONFIRM_MAX;
    loop {
        // Ignores an unknown status: some controllers do not respond for a moment after an order.
        let seen = is_on(control);
        if seen == Ok(wanted) {
            return Ok(());
        }
        if let Some(refused) = refused {
            return Err(format!("{} failed: {refused}", action.word()));
        }
        if Instant::now() >= until {
            let word = if wanted { "off" } else { "on" };
            let still = format!("it is still {word} {} s later", CONFIRM_MAX.as_secs());
            return Err(format!(
                "{}: {}",
                action.word(),
                seen.err().unwrap_or(still)
            ));
        }
        thread::sleep(INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab::ScratchDirectory;
    use std::fs;

    /// A machine whose power state is a file: `script` executes the action `$1`.
    fn machine(scratch: &ScratchDirectory, script: &str) -> PowerControl {
        let script = format!(
            "cd {}\nis_on() {{ [ -e on ]; }}\nstatus() {{ is_on && exit 0; exit 2; }}\necho $0 >>log\n{script}",
            scratch.path().display()
        );
        PowerControl::Program(["/bin/sh", "-c", &script].map(str::to_owned).into())
    }

    fn log(scratch: &ScratchDirectory) -> String {
        let log = fs::read_to_string(scratch.path().join("log")).unwrap();
        // The status is polled until it has changed.
        let lines = log.lines().filter(|line| *line != "status");
        lines.collect::<Vec<_>>().join(" ")
    }

    const GOOD: &str = "case $0 in on) >on;; off) rm on;; status) status;; esac";

    #[test]
    fn a_machine_is_switched_only_where_it_is_not_so_already() {
        let scratch = ScratchDirectory::new().unwrap();
        let control = machine(&scratch, GOOD);
        for (action, words) in [
            ("status", "off"),
            ("off", "off already"),
            ("on", "on"),
            ("on", "on already"),
            ("status", "on"),
            ("cycle", "on again"),
            ("off", "off"),
            ("cycle", "on"),
        ] {
            assert_eq!(done(&control, action), Ok(words), "{action}");
        }
        assert_eq!(log(&scratch), "on off on off on");
    }

    #[test]
    fn an_order_that_is_refused_is_an_error_unless_the_machine_is_so() {
        let scratch = ScratchDirectory::new().unwrap();
        let refuses = machine(
            &scratch,
            "case $0 in status) status;; esac\necho no outlet; exit 1",
        );
        let words = done(&refuses, "on").unwrap_err();
        assert_eq!(words, "power on failed: exit code 1: no outlet");
        let late = machine(&scratch, "case $0 in status) status;; esac\n>on; exit 1");
        assert_eq!(done(&late, "on"), Ok("on"));
    }

    #[test]
    fn without_a_status_nothing_is_switched() {
        let scratch = ScratchDirectory::new().unwrap();
        let control = machine(&scratch, "exit 1");
        assert_eq!(done(&control, "off"), Err("exit code 1".to_owned()));
        assert_eq!(log(&scratch), "");
    }
}
