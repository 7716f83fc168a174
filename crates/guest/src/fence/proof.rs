//! Tries the fencing methods of a node without powering anything off, for `evenkeel fence test`.

use part::power::control::{
    PowerAction, PowerCommandOutcome, PowerControl, is_executable, why_not_executable,
};
use serde::Serialize;
use std::path::Path;

#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
pub struct FencingTestResult {
    pub name: String,
    /// True if the method works, as far as a test without a power-off can show.
    pub works: bool,
    pub words: String,
    pub by_hand: String,
}

/// Tries a fencing method, for at most 20 s.
pub fn of(fence: &PowerControl) -> FencingTestResult {
    let (works, words) = match tried(fence) {
        Ok(words) => (true, words),
        Err(words) => (false, words),
    };
    let action = match fence {
        PowerControl::Exec(_) => PowerAction::Off,
        _ => PowerAction::Status,
    };
    FencingTestResult {
        name: fence.name(),
        works,
        words,
        by_hand: fence.by_hand(action),
    }
}

fn tried(fence: &PowerControl) -> Result<String, String> {
    if let PowerControl::Exec(words) = fence {
        let program = words.first().map_or("", String::as_str);
        return if is_executable(Path::new(program)) {
            Ok(format!(
                "{program} can be executed; whether it powers the node off cannot be known without doing it"
            ))
        } else {
            Err(why_not_executable(Path::new(program)))
        };
    }
    match fence.run_action(PowerAction::Status)? {
        PowerCommandOutcome::IsOn => Ok("the controller responds: the node is on".to_owned()),
        PowerCommandOutcome::IsOff => Ok("the controller responds: the node is off".to_owned()),
        PowerCommandOutcome::Done => Err("its status is neither on nor off".to_owned()),
        PowerCommandOutcome::Failed(words) => Err(words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_inspected_and_never_executed() {
        let exec = |program: &str| {
            of(&PowerControl::Exec(vec![
                program.to_owned(),
                "now".to_owned(),
            ]))
        };
        let good = exec("/bin/false");
        assert!(
            good.works && good.words.contains("cannot be known"),
            "{good:?}"
        );
        assert_eq!(good.by_hand, "/bin/false now");
        for (program, why) in [
            ("/nowhere/off", "there is no /nowhere/off"),
            ("/etc/passwd", "/etc/passwd is not executable"),
            ("/tmp", "/tmp is not a file"),
        ] {
            let bad = exec(program);
            assert!(!bad.works && bad.words == why, "{bad:?}");
        }
    }

    #[test]
    fn an_agent_that_is_not_installed_and_a_missing_password_file_are_named() {
        let agent = of(&PowerControl::Agent {
            name: "fence_no_such_agent".to_owned(),
            options: [].into(),
        });
        assert!(
            !agent.works && agent.words.contains("package fence-agents"),
            "{agent:?}"
        );
        let ipmi = of(&PowerControl::Ipmi {
            at: "127.0.0.1".to_owned(),
            user: "admin".to_owned(),
            password_file: "/nowhere/password".into(),
            cipher: None,
        });
        assert!(ipmi.words.contains("/nowhere/password"), "{ipmi:?}");
    }
}
