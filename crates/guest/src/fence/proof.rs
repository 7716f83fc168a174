//! Tries the fencing methods of a node without powering anything off, for `evenkeel fence test`.

use super::action::is_executable;
use super::child::Child;
use super::power::{Action, RESPONSE_MAX_MS, Seen};
use crate::config::Fence;
use std::path::Path;
use std::time::Duration;

/// What is known about a method.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proof {
    /// The method.
    pub name: String,
    /// It works, as far as that can be known.
    pub works: bool,
    /// What was found.
    pub words: String,
    /// The command to try by hand.
    pub by_hand: String,
}

/// Tries a method, for at most 20 s.
pub fn of(fence: &Fence) -> Proof {
    let (works, words) = match tried(fence) {
        Ok(words) => (true, words),
        Err(words) => (false, words),
    };
    let action = match fence {
        Fence::Exec(_) => Action::Off,
        _ => Action::Status,
    };
    Proof {
        name: fence.name(),
        works,
        words,
        by_hand: fence.by_hand(action),
    }
}

fn tried(fence: &Fence) -> Result<String, String> {
    if let Fence::Exec(words) = fence {
        let program = words.first().map_or("", String::as_str);
        return match is_executable(Path::new(program)) {
            true => Ok(format!(
                "{program} can be executed; whether it powers the node off cannot be known without doing it"
            )),
            false => Err(format!("{program} is missing or not executable")),
        };
    }
    if let Fence::Ipmi { password_file, .. } = fence {
        let path = password_file.display();
        let opened = std::fs::File::open(password_file);
        opened.map_err(|error| format!("cannot read the password file {path}: {error}"))?;
    }
    let invocation = fence.invocation(Action::Status).ok_or("it has no status")?;
    let program = invocation.program.display().to_string();
    if !is_executable(&invocation.program) {
        return Err(match fence {
            Fence::Ipmi { .. } => "ipmitool is not installed (package ipmitool)".to_owned(),
            _ => format!("{program} is not installed (package fence-agents)"),
        });
    }
    let child = Child::start(&invocation).map_err(|error| format!("{program}: {error}"))?;
    let timeout = Duration::from_millis(RESPONSE_MAX_MS);
    let Some(ended) = child.wait(timeout) else {
        return Err(format!("no response within {} s", timeout.as_secs()));
    };
    match fence.seen(Action::Status, &ended) {
        Seen::IsOn => Ok("the controller responds: the node is on".to_owned()),
        Seen::IsOff => Ok("the controller responds: the node is off".to_owned()),
        Seen::Done => Err("its status is neither on nor off".to_owned()),
        Seen::Failed(words) => Err(words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_only_looked_at_and_never_run() {
        let exec = |program: &str| of(&Fence::Exec(vec![program.to_owned(), "now".to_owned()]));
        let good = exec("/bin/false");
        assert!(
            good.works && good.words.contains("cannot be known"),
            "{good:?}"
        );
        assert_eq!(good.by_hand, "/bin/false now");
        for missing in ["/nowhere/off", "/etc/passwd", "/tmp"] {
            let bad = exec(missing);
            assert!(
                !bad.works && bad.words.contains("not executable"),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn an_agent_that_is_not_installed_and_a_missing_password_file_are_named() {
        let agent = of(&Fence::Agent {
            name: "fence_no_such_agent".to_owned(),
            options: [].into(),
        });
        assert!(
            !agent.works && agent.words.contains("package fence-agents"),
            "{agent:?}"
        );
        let ipmi = of(&Fence::Ipmi {
            at: "127.0.0.1".to_owned(),
            user: "admin".to_owned(),
            password_file: "/nowhere/password".into(),
            cipher: None,
        });
        assert!(ipmi.words.contains("/nowhere/password"), "{ipmi:?}");
    }
}
