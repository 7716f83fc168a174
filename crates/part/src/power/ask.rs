//! Runs one action of a power method to its end: for commands of an operator, with the operator's
//! privileges.

use super::child::Child;
use super::control::{
    PowerAction, PowerCommandOutcome, PowerControl, is_executable, why_not_executable,
};
use std::time::Duration;

pub const RESPONSE_MAX_MS: u64 = 20_000;

impl PowerControl {
    /// Runs the command of a power action (such as off) and waits for its end, at most 20 s.
    ///
    /// # Errors
    /// The program or the password file is missing, the command failed, or the timeout expired; as
    /// text.
    pub fn run_action(&self, action: PowerAction) -> Result<PowerCommandOutcome, String> {
        if let PowerControl::Ipmi { password_file, .. } = self {
            let path = password_file.display();
            let opened = std::fs::File::open(password_file);
            opened.map_err(|error| format!("cannot read the password file {path}: {error}"))?;
        }
        let invocation = self.invocation(action);
        let invocation = invocation.ok_or_else(|| format!("it has no {}", action.word()))?;
        let program = invocation.program.display().to_string();
        if !is_executable(&invocation.program) {
            return Err(match self {
                PowerControl::Ipmi { .. } => {
                    "ipmitool is not installed (package ipmitool)".to_owned()
                }
                PowerControl::Agent { .. } => {
                    format!("{program} is not installed (package fence-agents)")
                }
                PowerControl::Exec(_) | PowerControl::Program(_) => {
                    why_not_executable(&invocation.program)
                }
            });
        }
        let child = Child::start(&invocation);
        let child = child.map_err(|error| format!("{program}: {error}"))?;
        let timeout = Duration::from_millis(RESPONSE_MAX_MS);
        let Some(ended) = child.wait(timeout) else {
            return Err(format!("no response within {} s", timeout.as_secs()));
        };
        match self.interpret_exit(action, &ended) {
            PowerCommandOutcome::Failed(words) => Err(words),
            seen => Ok(seen),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(words: &[&str]) -> PowerControl {
        PowerControl::Program(words.iter().map(|word| (*word).to_owned()).collect())
    }

    #[test]
    fn a_program_gets_the_action_as_its_last_word_and_its_status_is_an_exit_code() {
        let script = "case $0 in on|off) exit 0;; status) exit 2;; esac; exit 9";
        let control = program(&["/bin/sh", "-c", script]);
        assert_eq!(
            control.run_action(PowerAction::On),
            Ok(PowerCommandOutcome::Done)
        );
        assert_eq!(
            control.run_action(PowerAction::Off),
            Ok(PowerCommandOutcome::Done)
        );
        assert_eq!(
            control.run_action(PowerAction::Status),
            Ok(PowerCommandOutcome::IsOff)
        );
        let fails = program(&["/bin/sh", "-c", "echo no outlet; exit 3"]);
        for action in [PowerAction::On, PowerAction::Status] {
            assert_eq!(
                fails.run_action(action),
                Err("exit code 3: no outlet".to_owned())
            );
        }
    }

    #[test]
    fn missing_program_is_named() {
        let words = program(&["/nowhere/outlet"])
            .run_action(PowerAction::On)
            .unwrap_err();
        assert_eq!(words, "there is no /nowhere/outlet");
        let ipmi = PowerControl::Ipmi {
            at: "127.0.0.1".to_owned(),
            user: "admin".to_owned(),
            password_file: "/nowhere/password".into(),
            cipher: None,
        };
        let words = ipmi.run_action(PowerAction::Status).unwrap_err();
        assert!(words.contains("/nowhere/password"), "{words}");
        let off = PowerControl::Exec(vec!["/bin/true".to_owned()]);
        assert_eq!(
            off.run_action(PowerAction::Status),
            Err("it has no status".to_owned())
        );
        assert_eq!(
            off.run_action(PowerAction::On),
            Err("it has no power on".to_owned())
        );
    }
}
