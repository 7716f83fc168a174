//! Builds the commands that control the power of a machine, by method and action, and interprets
//! their results.
//!
//! - `ipmitool` reads its password from a file, so no command line contains it.
//! - Fence agents (package fence-agents) read their options from standard input as lines
//!   `NAME=VALUE`. By their API, exit code 0 is success, and 2 of `action=status` is "off".
//! - A program of `fence exec` exits with 0 once the node is off. It has no status.
//! - A program of `power exec` gets the action as its last argument, and its exit codes are those
//!   of fence agents.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

const WHY_CHARS_MAX: usize = 200;

/// Search path for programs; also the PATH of the child processes.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A method that controls the power of a machine from another one.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum PowerControl {
    /// IPMI over LAN (`lanplus`), through `ipmitool`.
    Ipmi {
        at: String,
        user: String,
        password_file: PathBuf,
        /// Cipher suite; with None `ipmitool` negotiates the best one with the controller.
        #[serde(default)]
        cipher: Option<u32>,
    },
    /// A program with its arguments that can only power off. It exits with 0 once the machine is
    /// off.
    Exec(Vec<String>),
    Agent {
        /// Name of the agent, such as `fence_apc`.
        name: String,
        options: BTreeMap<String, String>,
    },
    /// A program with its arguments; the action is appended as the last one.
    Program(Vec<String>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PowerAction {
    On,
    Off,
    Status,
}

impl PowerAction {
    pub fn word(self) -> &'static str {
        match self {
            PowerAction::On => "power on",
            PowerAction::Off => "power off",
            PowerAction::Status => "status",
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PowerCommandOutcome {
    Done,
    IsOff,
    IsOn,
    Failed(String),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Invocation {
    pub program: PathBuf,
    pub arguments: Vec<OsString>,
    pub input: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommandExit {
    /// Exit code; None if a signal ended the command.
    pub code: Option<i32>,
    pub output: String,
}

impl PowerControl {
    /// Returns whether the method has a status query; otherwise a successful power off is the
    /// confirmation.
    pub fn has_status(&self) -> bool {
        !matches!(self, PowerControl::Exec(_))
    }

    /// Returns the name for messages. The name contains no secret.
    pub fn name(&self) -> String {
        match self {
            PowerControl::Ipmi { at, .. } => format!("ipmi {at}"),
            PowerControl::Exec(words) | PowerControl::Program(words) => {
                format!("exec {}", words.first().map_or("", String::as_str))
            }
            PowerControl::Agent { name, .. } => format!("agent {name}"),
        }
    }

    /// Returns the command of an action. None: the method does not have the action.
    pub fn invocation(&self, action: PowerAction) -> Option<Invocation> {
        let (program, arguments, input) = match (self, action) {
            (PowerControl::Exec(_), PowerAction::On | PowerAction::Status) => return None,
            (PowerControl::Exec(words), PowerAction::Off) => {
                let (program, arguments) = words.split_first()?;
                (program.clone(), arguments.to_vec(), String::new())
            }
            (PowerControl::Program(words), action) => {
                let (program, arguments) = words.split_first()?;
                let mut arguments = arguments.to_vec();
                arguments.push(word(action).to_owned());
                (program.clone(), arguments, String::new())
            }
            (PowerControl::Ipmi { .. }, action) => {
                let (program, arguments) = self.ipmitool(action)?;
                (program, arguments, String::new())
            }
            (PowerControl::Agent { name, options }, action) => {
                let options = options
                    .iter()
                    .map(|(key, value)| format!("{key}={value}\n"));
                let input = format!("action={}\n{}", word(action), options.collect::<String>());
                (name.clone(), Vec::new(), input)
            }
        };
        Some(Invocation {
            program: find(&program).unwrap_or_else(|| program.into()),
            arguments: arguments.into_iter().map(OsString::from).collect(),
            input: input.into_bytes(),
        })
    }

    fn ipmitool(&self, action: PowerAction) -> Option<(String, Vec<String>)> {
        let PowerControl::Ipmi {
            at,
            user,
            password_file,
            cipher,
        } = self
        else {
            return None;
        };
        let (host, port) = host_and_port(at);
        let mut words: Vec<String> = ["-I", "lanplus", "-H", host].map(str::to_owned).into();
        if let Some(port) = port {
            words.extend(["-p".to_owned(), port.to_owned()]);
        }
        if let Some(cipher) = cipher {
            words.extend(["-C".to_owned(), cipher.to_string()]);
        }
        let file = password_file.display().to_string();
        // Sends a lost datagram again after 1 s, so that an unreachable controller is detected
        // within 6 s.
        let rest = ["-U", user, "-f", &file, "-N", "1", "-R", "2"];
        words.extend(rest.map(str::to_owned));
        words.extend(["chassis", "power", word(action)].map(str::to_owned));
        Some(("ipmitool".to_owned(), words))
    }

    /// Returns the command of an action as a shell command, for a manual test. Passwords among the
    /// options of agents are left out.
    pub fn by_hand(&self, action: PowerAction) -> String {
        let quoted = |words: &[String]| {
            let words = words.iter().map(|word| quote(word));
            words.collect::<Vec<_>>().join(" ")
        };
        match self {
            PowerControl::Exec(words) => quoted(words),
            PowerControl::Program(words) => format!("{} {}", quoted(words), word(action)),
            PowerControl::Ipmi { .. } => {
                let command = self.ipmitool(action);
                command.map_or_else(String::new, |(program, words)| {
                    format!("{program} {}", quoted(&words))
                })
            }
            PowerControl::Agent { name, options } => {
                let options = options.iter().map(|(key, value)| {
                    if key.contains("passw") && !key.contains("script") {
                        quote(&format!("{key}=…"))
                    } else {
                        quote(&format!("{key}={value}"))
                    }
                });
                let options = options.map(|one| format!(" {one}")).collect::<String>();
                format!("printf '%s\\n' action={}{options} | {name}", word(action))
            }
        }
    }

    /// Interprets the exit code and the output of the command of an action.
    pub fn interpret_exit(&self, action: PowerAction, ended: &CommandExit) -> PowerCommandOutcome {
        let failed = || PowerCommandOutcome::Failed(failure(ended));
        let output = ended.output.to_ascii_lowercase();
        match (self, action, ended.code) {
            (_, PowerAction::On | PowerAction::Off, Some(0)) => PowerCommandOutcome::Done,
            (_, PowerAction::On | PowerAction::Off, _) => failed(),
            (PowerControl::Ipmi { .. }, PowerAction::Status, Some(0)) => {
                let last = output.rsplit("chassis power is ").next();
                match (last.filter(|last| last.len() < output.len())).map(str::trim) {
                    Some("off") => PowerCommandOutcome::IsOff,
                    Some("on") => PowerCommandOutcome::IsOn,
                    _ => failed(),
                }
            }
            (
                PowerControl::Agent { .. } | PowerControl::Program(_),
                PowerAction::Status,
                Some(0),
            ) => PowerCommandOutcome::IsOn,
            (
                PowerControl::Agent { .. } | PowerControl::Program(_),
                PowerAction::Status,
                Some(2),
            ) => PowerCommandOutcome::IsOff,
            (_, PowerAction::Status, _) => failed(),
        }
    }
}

fn word(action: PowerAction) -> &'static str {
    match action {
        PowerAction::On => "on",
        PowerAction::Off => "off",
        PowerAction::Status => "status",
    }
}

/// Joins the lines of a reason to a single one, and cuts it if it is too long for a message.
pub fn short(words: &str) -> String {
    let lines = words.lines().map(str::trim).filter(|line| !line.is_empty());
    let line = lines.collect::<Vec<_>>().join("; ");
    line.chars().take(WHY_CHARS_MAX).collect()
}

fn failure(ended: &CommandExit) -> String {
    let how = match ended.code {
        Some(code) => format!("exit code {code}"),
        None => "ended by a signal".to_owned(),
    };
    match short(&ended.output).as_str() {
        "" => how,
        output => format!("{how}: {output}"),
    }
}

/// Splits `HOST:PORT`, `[ADDRESS]:PORT`, or a host or address without a port.
fn host_and_port(at: &str) -> (&str, Option<&str>) {
    if let Some((address, rest)) = at.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (address, rest.strip_prefix(':'));
    }
    match at.split_once(':') {
        // Treats an address with more than one colon as an IPv6 address without a port.
        Some((host, port)) if !port.contains(':') => (host, Some(port)),
        _ => (at, None),
    }
}

pub fn find(program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return None;
    }
    let mut all = env::split_paths(PATH).map(|directory| directory.join(program));
    all.find(|path| is_executable(path))
}

pub fn is_executable(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

/// Returns why this process cannot execute a file for which [`is_executable`] is false.
pub fn why_not_executable(path: &Path) -> String {
    let name = path.display();
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => format!("there is no {name}"),
        Err(error) => format!("{name}: {}", language::reason(&error)),
        Ok(file) if !file.is_file() => format!("{name} is not a file"),
        Ok(_) => format!("{name} is not executable"),
    }
}

fn quote(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=@%+,".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ipmi(at: &str) -> PowerControl {
        PowerControl::Ipmi {
            at: at.to_owned(),
            user: "admin".to_owned(),
            password_file: "/etc/evenkeel/ipmi".into(),
            cipher: None,
        }
    }

    fn agent() -> PowerControl {
        let options = [("ip", "10.99.0.12"), ("plug", "3"), ("passwd", "se cret")];
        let options = options.map(|(key, value)| (key.to_owned(), value.to_owned()));
        PowerControl::Agent {
            name: "fence_apc".to_owned(),
            options: options.into(),
        }
    }

    fn ended(code: i32, output: &str) -> CommandExit {
        CommandExit {
            code: Some(code),
            output: output.to_owned(),
        }
    }

    #[test]
    fn ipmitool_gets_a_password_file_and_the_port_of_each_form_of_an_address() {
        let line = |at: &str| ipmi(at).by_hand(PowerAction::Off);
        let rest = "-U admin -f /etc/evenkeel/ipmi -N 1 -R 2 chassis power off";
        for (at, words) in [
            ("10.99.0.11", "-H 10.99.0.11"),
            ("bmc:6230", "-H bmc -p 6230"),
            ("fd00::1", "-H fd00::1"),
            ("[fd00::1]:6230", "-H fd00::1 -p 6230"),
            ("[fd00::1]", "-H fd00::1"),
        ] {
            assert_eq!(line(at), format!("ipmitool -I lanplus {words} {rest}"));
        }
        assert!(
            ipmi("a")
                .by_hand(PowerAction::On)
                .ends_with("chassis power on")
        );
        let mut with_cipher = ipmi("10.99.0.11");
        if let PowerControl::Ipmi { cipher, .. } = &mut with_cipher {
            *cipher = Some(17);
        }
        let words = format!("ipmitool -I lanplus -H 10.99.0.11 -C 17 {rest}");
        assert_eq!(with_cipher.by_hand(PowerAction::Off), words);
    }

    #[test]
    fn only_the_status_off_counts_as_off() {
        let control = ipmi("a");
        let seen = |code, output| control.interpret_exit(PowerAction::Status, &ended(code, output));
        let noise = "Unable to Get Channel Cipher Suites\nChassis Power is off\n";
        assert_eq!(seen(0, noise), PowerCommandOutcome::IsOff);
        assert_eq!(seen(0, "Chassis Power is on\n"), PowerCommandOutcome::IsOn);
        for (code, output) in [
            (1, noise),
            (0, ""),
            (0, "off"),
            (0, "Chassis Power is offset"),
        ] {
            assert!(
                matches!(seen(code, output), PowerCommandOutcome::Failed(_)),
                "{output}"
            );
        }
    }

    #[test]
    fn an_agent_reads_its_options_and_its_status_is_an_exit_code() {
        let invocation = agent().invocation(PowerAction::Status).unwrap();
        let input = String::from_utf8(invocation.input).unwrap();
        assert_eq!(
            input,
            "action=status\nip=10.99.0.12\npasswd=se cret\nplug=3\n"
        );
        assert!(invocation.arguments.is_empty());
        let seen = |action, code| agent().interpret_exit(action, &ended(code, "x"));
        assert_eq!(seen(PowerAction::Status, 0), PowerCommandOutcome::IsOn);
        assert_eq!(seen(PowerAction::Status, 2), PowerCommandOutcome::IsOff);
        assert_eq!(
            seen(PowerAction::Status, 1),
            PowerCommandOutcome::Failed("exit code 1: x".to_owned())
        );
        assert_eq!(seen(PowerAction::Off, 0), PowerCommandOutcome::Done);
        assert!(matches!(
            seen(PowerAction::Off, 2),
            PowerCommandOutcome::Failed(_)
        ));
    }

    #[test]
    fn command_for_the_operator_is_quoted_without_password() {
        assert_eq!(
            agent().by_hand(PowerAction::Status),
            "printf '%s\\n' action=status ip=10.99.0.12 'passwd=…' plug=3 | fence_apc"
        );
        let exec = PowerControl::Exec(vec!["/bin/off".to_owned(), "it's".to_owned()]);
        assert_eq!(exec.by_hand(PowerAction::Off), "/bin/off 'it'\\''s'");
        assert_eq!(exec.invocation(PowerAction::Status), None);
        assert_eq!(exec.invocation(PowerAction::On), None);
        assert_eq!(exec.name(), "exec /bin/off");
        let program = PowerControl::Program(vec!["/bin/outlet".to_owned(), "3".to_owned()]);
        assert_eq!(program.by_hand(PowerAction::On), "/bin/outlet 3 on");
    }

    #[test]
    fn a_program_is_found_in_the_usual_directories() {
        assert!(find("sh").is_some_and(|path| is_executable(&path)));
        assert_eq!(find("no-such-program"), None);
    }
}
