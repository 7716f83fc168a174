//! Runs one action of a power method to its end: for commands of an operator, with the operator's
//! privileges.

use super::child::Child;
use super::control::{Action, Control, Seen, is_executable, why_not_executable};
use std::time::Duration;

/// Timeout of one command, milliseconds.
pub const RESPONSE_MAX_MS: u64 = 20_000;

impl Control {
    /// Runs the command of an action and waits for its end, at most 20 s.
    ///
    /// # Errors
    /// The program or the password file is missing, the command failed, or the timeout expired; as
    /// text.
    pub fn ask(&self, action: Action) -> Result<Seen, String> {
        if let Control::Ipmi { password_file, .. } = self {
            let path = password_file.display();
            let opened = std::fs::File::open(password_file);
            opened.map_err(|error| format!("cannot read the password file {path}: {error}"))?;
        }
        let invocation = self.invocation(action);
        let invocation = invocation.ok_or_else(|| format!("it has no {}", action.word()))?;
        let program = invocation.program.display().to_string();
        if !is_executable(&invocation.program) {
            return Err(match self {
                Control::Ipmi { .. } => "ipmitool is not installed (package ipmitool)".to_owned(),
                Control::Agent { .. } => {
                    format!("{program} is not installed (package fence-agents)")
                }
                Control::Exec(_) | Control::Program(_) => why_not_executable(&invocation.program),
            });
        }
        let child = Child::start(&invocation);
        let child = child.map_err(|error| format!("{program}: {error}"))?;
        let timeout = Duration::from_millis(RESPONSE_MAX_MS);
        let Some(ended) = child.wait(timeout) else {
            return Err(format!("no response within {} s", timeout.as_secs()));
        };
        match self.seen(action, &ended) {
            Seen::Failed(words) => Err(words),
            seen => Ok(seen),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(words: &[&str]) -> Control {
        Control::Program(words.iter().map(|word| (*word).to_owned()).collect())
    }

    #[test]
    fn a_program_gets_the_action_as_its_last_word_and_its_status_is_an_exit_code() {
        let script = "case $0 in on|off) exit 0;; status) exit 2;; esac; exit 9";
        let control = program(&["/bin/sh", "-c", script]);
        assert_eq!(control.ask(Action::On), Ok(Seen::Done));
        assert_eq!(control.ask(Action::Off), Ok(Seen::Done));
        assert_eq!(control.ask(Action::Status), Ok(Seen::IsOff));
        let fails = program(&["/bin/sh", "-c", "echo no outlet; exit 3"]);
        for action in [Action::On, Action::Status] {
            assert_eq!(fails.ask(action), Err("exit code 3: no outlet".to_owned()));
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let words = program(&["/nowhere/outlet"]).ask(Action::On).unwrap_err();
        assert_eq!(words, "there is no /nowhere/outlet");
        let ipmi = Control::Ipmi {
            at: "127.0.0.1".to_owned(),
            user: "admin".to_owned(),
            password_file: "/nowhere/password".into(),
            cipher: None,
        };
        let words = ipmi.ask(Action::Status).unwrap_err();
        assert!(words.contains("/nowhere/password"), "{words}");
        let off = Control::Exec(vec!["/bin/true".to_owned()]);
        assert_eq!(off.ask(Action::Status), Err("it has no status".to_owned()));
        assert_eq!(off.ask(Action::On), Err("it has no power on".to_owned()));
    }
}
