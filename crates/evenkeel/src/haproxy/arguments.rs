//! Parses HAProxy's command line into [`Arguments`]: flags of one or two letters, with the value
//! attached or as the next argument. The module executes nothing.

use part::before::{Before, PredecessorSignal};
use std::path::PathBuf;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Arguments {
    /// `-f`, and the arguments after `--`.
    pub files: Vec<PathBuf>,
    /// `-c`
    pub check: bool,
    /// `-cc COND`
    pub condition: Option<String>,
    /// `-v`
    pub version: bool,
    /// `-vv`
    pub build: bool,
    /// `-V`
    pub verbose: bool,
    /// `-q`
    pub quiet: bool,
    /// `-D`
    pub daemon: bool,
    /// `-W`
    pub master_worker: bool,
    /// `-db`, `-d`, `-Ws`: stays in the foreground, whatever the file says. `-D` wins.
    pub foreground: bool,
    /// `-Ws`: the service manager is notified.
    pub notify: bool,
    /// `-S`
    pub masters: Vec<String>,
    /// `-dW`
    pub zero_warning: bool,
    /// `-dD`
    pub diag: bool,
    /// `-dr`
    pub ignore_unresolved: bool,
    /// `-dV`
    pub unverified_servers: bool,
    /// `-dL`
    pub dump_libraries: bool,
    /// `-dK…`, with the text after it.
    pub dump_keywords: Option<String>,
    /// `-p`
    pub pid_file: Option<PathBuf>,
    /// `-n`
    pub connections: Option<u32>,
    /// `-N`
    pub proxy_connections: Option<u32>,
    /// `-m`
    pub memory_mib: Option<u64>,
    /// `-C`
    pub directory: Option<PathBuf>,
    /// `-L`
    pub local_peer: Option<String>,
    /// `-x`, `-sf`, `-st`
    pub before: Before,
    pub socket_twice: bool,
    /// Given flags of HAProxy that have no effect in Evenkeel, each with the reason.
    pub without_effect: Vec<(String, &'static str)>,
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ArgumentError {
    #[error("invalid command line")]
    Usage,
    #[error("{}", missing(.0))]
    Missing(String),
    /// Flag of HAProxy that is not supported, and its purpose in HAProxy.
    #[error("{0} ({1}) is not supported")]
    NotBuilt(String, &'static str),
    #[error("the value of {0} is not UTF-8")]
    Name(&'static str),
    /// A number of `-sf` or `-st` is followed by other text.
    #[error("{flag} option: some bytes unconsumed in PID list {{{rest}}}")]
    Pid { flag: &'static str, rest: String },
}

fn missing(flag: &str) -> String {
    match flag {
        "-x" => "Unix socket path expected with the -x flag\n".to_owned(),
        flag => format!("{flag} needs a value"),
    }
}

/// Flags of HAProxy that control something that Evenkeel does not have, each with the reason.
const WITHOUT_EFFECT: &[(&str, &str)] = &[
    ("-dM", "there are no memory pools to poison"),
    (
        "-dS",
        "use `nosplice` in the `global` section to disable splicing",
    ),
    ("-dG", "the system's resolver is always used"),
    ("-de", "epoll is the only poller"),
    ("-dp", "poll is not used"),
    ("-dR", "SO_REUSEPORT is always used"),
    ("-dI", "no external program is run"),
    ("-dF", "there is no fast-forward"),
];

const NOT_BUILT: &[(&str, &str)] = &[("-dC", "dump of the configuration"), ("-dt", "traces")];

/// Parses a command line, without the program's name.
pub fn parse(
    words: impl IntoIterator<Item = std::ffi::OsString>,
) -> Result<Arguments, ArgumentError> {
    let mut parsed = Arguments::default();
    let mut words = words.into_iter().peekable();
    while let Some(word) = words.next() {
        let Some(text) = word.to_str() else {
            return Err(ArgumentError::Usage);
        };
        if text == "--" {
            parsed.files.extend(words.by_ref().map(PathBuf::from));
            break;
        }
        match farewell(text) {
            Some((flag, farewell)) => {
                let numbers = std::iter::from_fn(|| words.next_if(|word| !is_flag(word)));
                pids(&mut parsed.before, flag, numbers)?;
                parsed.before.farewell = farewell;
            }
            None => flag(&mut parsed, text, &mut words)?,
        }
    }
    Ok(parsed)
}

/// Recognises `-sf` and `-st`, with or without text attached, which HAProxy ignores, too.
fn farewell(text: &str) -> Option<(&'static str, PredecessorSignal)> {
    match text.get(..3)? {
        "-sf" => Some(("-sf", PredecessorSignal::Finish)),
        "-st" => Some(("-st", PredecessorSignal::End)),
        _ => None,
    }
}

fn is_flag(word: &std::ffi::OsStr) -> bool {
    word.as_encoded_bytes().starts_with(b"-")
}

/// Parses process IDs: all words up to the next flag.
fn pids(
    before: &mut Before,
    flag: &'static str,
    words: impl Iterator<Item = std::ffi::OsString>,
) -> Result<(), ArgumentError> {
    for word in words {
        let text = word.to_string_lossy();
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, rest) = text.split_at(digits);
        if !rest.is_empty() {
            let rest = rest.to_owned();
            return Err(ArgumentError::Pid { flag, rest });
        }
        let pid = number.parse().ok().filter(|pid| *pid > 0);
        before.pids.push(pid.ok_or(ArgumentError::Usage)?);
    }
    Ok(())
}

/// Sets the socket of `-x`; `/dev/null` means no socket.
fn take_over(parsed: &mut Arguments, socket: std::ffi::OsString) {
    let before = &mut parsed.before;
    parsed.socket_twice |= before.socket.is_some();
    before.socket = Some(socket).filter(|socket| socket != "/dev/null");
}

type HaproxyArguments<'w> = &'w mut dyn Iterator<Item = std::ffi::OsString>;

fn flag(
    parsed: &mut Arguments,
    text: &str,
    words: HaproxyArguments<'_>,
) -> Result<(), ArgumentError> {
    match text {
        "-v" => parsed.version = true,
        "-vv" => parsed.build = true,
        "-V" => parsed.verbose = true,
        "-q" => parsed.quiet = true,
        "-c" => parsed.check = true,
        "-D" => parsed.daemon = true,
        "-d" | "-db" => parsed.foreground = true,
        "-W" => parsed.master_worker = true,
        "-Ws" => {
            parsed.master_worker = true;
            parsed.notify = true;
            parsed.foreground = true;
        }
        "-S" => parsed.masters.push(name("-S", value(text, words)?)?),
        "-dW" => parsed.zero_warning = true,
        "-dD" => parsed.diag = true,
        "-dr" => parsed.ignore_unresolved = true,
        "-dV" => parsed.unverified_servers = true,
        "-dL" => parsed.dump_libraries = true,
        "-f" => parsed.files.push(value(text, words)?.into()),
        "-x" => take_over(parsed, value(text, words)?),
        "-p" => parsed.pid_file = Some(value(text, words)?.into()),
        "-C" => parsed.directory = Some(value(text, words)?.into()),
        "-L" => parsed.local_peer = Some(name("-L", value(text, words)?)?),
        "-cc" => match value(text, words) {
            Ok(condition) => parsed.condition = Some(name("-cc", condition)?),
            // Prints the usage for a missing condition, as HAProxy does.
            Err(_) => return Err(ArgumentError::Usage),
        },
        "-n" => parsed.connections = positive(&number(value(text, words)?)),
        "-N" => parsed.proxy_connections = positive(&number(value(text, words)?)),
        "-m" => parsed.memory_mib = Some(number(value(text, words)?)).filter(|n| *n > 0),
        _ => return other_flag(parsed, text),
    }
    Ok(())
}

fn other_flag(parsed: &mut Arguments, text: &str) -> Result<(), ArgumentError> {
    if let Some((_, what)) = NOT_BUILT.iter().find(|(flag, _)| text == *flag) {
        return Err(ArgumentError::NotBuilt(text.into(), what));
    }
    if let Some(classes) = text.strip_prefix("-dK") {
        parsed.dump_keywords = Some(classes.into());
        return Ok(());
    }
    let known = WITHOUT_EFFECT
        .iter()
        .find(|(flag, _)| text == *flag || (*flag == "-dM" && text.starts_with("-dM")));
    match known {
        Some((_, why)) => parsed.without_effect.push((text.into(), why)),
        None => return Err(ArgumentError::Usage),
    }
    Ok(())
}

fn value(flag: &str, words: HaproxyArguments<'_>) -> Result<std::ffi::OsString, ArgumentError> {
    words
        .next()
        .ok_or_else(|| ArgumentError::Missing(flag.into()))
}

fn name(flag: &'static str, word: std::ffi::OsString) -> Result<String, ArgumentError> {
    word.into_string().map_err(|_| ArgumentError::Name(flag))
}

/// Parses a number as C's atol does, on which old scripts rely: leading digits count, text without
/// them is 0, and a number that is too large becomes the maximum.
fn number(word: std::ffi::OsString) -> u64 {
    let text = word.to_string_lossy();
    let text = text.trim_start();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    text[..digits]
        .parse()
        .unwrap_or(if digits > 0 { u64::MAX } else { 0 })
}

/// Converts a parsed number to 32 bits, at most the maximum; None for 0, which means "not set".
fn positive(number: &u64) -> Option<u32> {
    u32::try_from(*number)
        .ok()
        .or(Some(u32::MAX))
        .filter(|n| *n > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Arguments, ArgumentError> {
        parse(line.split_whitespace().map(Into::into))
    }

    #[test]
    fn files_follow_f_or_two_dashes() {
        let arguments = parsed("-f a -f b -c -- c -d").unwrap();
        assert_eq!(arguments.files, ["a", "b", "c", "-d"].map(PathBuf::from));
        assert!(arguments.check && !arguments.foreground);
    }

    #[test]
    fn flags_of_init_scripts_are_understood() {
        let arguments =
            parsed("-D -p /run/h.pid -n 100 -N 50 -m 64 -C /etc -L me -q -V -db -f x").unwrap();
        assert_eq!(
            arguments,
            Arguments {
                files: vec!["x".into()],
                daemon: true,
                pid_file: Some("/run/h.pid".into()),
                connections: Some(100),
                proxy_connections: Some(50),
                memory_mib: Some(64),
                directory: Some("/etc".into()),
                local_peer: Some("me".into()),
                quiet: true,
                verbose: true,
                foreground: true,
                ..Default::default()
            }
        );
    }

    #[test]
    fn master_has_sockets_and_notifies_systemd() {
        let arguments = parsed("-Ws -S /run/m.sock,mode,600 -S 127.0.0.1:9 -f x").unwrap();
        assert!(arguments.master_worker && arguments.notify);
        assert_eq!(arguments.masters, ["/run/m.sock,mode,600", "127.0.0.1:9"]);
        assert!(!parsed("-W").unwrap().notify);
        assert_eq!(
            parsed("-W -S"),
            Err(ArgumentError::Missing("-S".to_owned()))
        );
    }

    #[test]
    fn unknown_argument_prints_the_usage() {
        for line in ["-zz", "file.cfg", "-d4", "--help", "-cc", "-4", "-Dd", ""] {
            if line.is_empty() {
                continue;
            }
            assert_eq!(parsed(line), Err(ArgumentError::Usage), "{line}");
        }
    }

    #[test]
    fn missing_flag_value_is_reported() {
        for flag in ["-f", "-p", "-n", "-N", "-m", "-C", "-L"] {
            assert_eq!(parsed(flag), Err(ArgumentError::Missing(flag.into())));
        }
    }

    #[test]
    fn unsupported_flag_is_refused_by_name() {
        for flag in ["-dC", "-dt"] {
            let error = parsed(flag).unwrap_err();
            assert!(
                matches!(&error, ArgumentError::NotBuilt(name, _) if name == flag),
                "{flag}"
            );
            assert!(error.to_string().contains("not supported"));
        }
    }

    #[test]
    fn process_ids_extend_to_the_next_flag() {
        let arguments = parsed("-sf 7 8 -db -st 9 -f a -x /run/s").unwrap();
        let before = Before {
            socket: Some("/run/s".into()),
            pids: vec![7, 8, 9],
            farewell: PredecessorSignal::End,
        };
        assert_eq!(arguments.before, before);
        assert!(arguments.foreground && arguments.files == [PathBuf::from("a")]);
        assert_eq!(parsed("-sf").unwrap().before, Before::default());
        assert_eq!(parsed("-x /dev/null").unwrap().before, Before::default());
    }

    #[test]
    fn invalid_process_id_is_refused() {
        let rest = |rest: &str| {
            let rest = rest.to_owned();
            Err(ArgumentError::Pid { flag: "-sf", rest })
        };
        assert_eq!(parsed("-sf 1x"), rest("x"));
        assert_eq!(parsed("-sf a.cfg"), rest("a.cfg"));
        assert_eq!(parsed("-sf 0"), Err(ArgumentError::Usage));
        assert_eq!(parsed("-sf -1"), Err(ArgumentError::Usage));
        assert_eq!(parsed("-x"), Err(ArgumentError::Missing("-x".into())));
    }

    #[test]
    fn flags_without_effect_are_recorded() {
        let arguments = parsed("-dM42,tag -dS -de").unwrap();
        let flags: Vec<_> = arguments
            .without_effect
            .iter()
            .map(|(flag, _)| flag.as_str())
            .collect();
        assert_eq!(flags, ["-dM42,tag", "-dS", "-de"]);
    }

    #[test]
    fn numbers_are_parsed_as_in_c() {
        assert_eq!(parsed("-n abc").unwrap().connections, None);
        assert_eq!(parsed("-n 10k").unwrap().connections, Some(10));
        assert_eq!(
            parsed("-n 99999999999999999999").unwrap().connections,
            Some(u32::MAX)
        );
    }
}
