//! Parses keepalived's command line into [`Arguments`] by the rules of getopt_long(3): short
//! options may be combined, long ones may not be abbreviated. The module executes nothing.

use part::voice::keepalived::FACILITY_DAEMON;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

const FILE: &str = "/etc/keepalived/keepalived.conf";

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Arguments {
    /// `-f`
    pub file: PathBuf,
    /// `-P`
    pub vrrp_only: bool,
    /// `-C`
    pub checkers_only: bool,
    /// `-B`
    pub no_bfd: bool,
    /// `-l`
    pub console: bool,
    /// `-D`
    pub detail: bool,
    /// `-S`
    pub facility: u8,
    /// `-g`
    pub log_file: Option<PathBuf>,
    pub flush: bool,
    /// `-G`
    pub no_syslog: bool,
    /// `-u`
    pub umask: Option<u32>,
    /// Addresses are released at the end. True unless `-V` or `-X` changes it.
    pub releases: bool,
    /// `-R`
    pub once: bool,
    /// `-n`
    pub foreground: bool,
    /// `-d`
    pub dump: bool,
    /// `-p`
    pub pid_file: Option<PathBuf>,
    /// `-r`
    pub role_pid_file: Option<PathBuf>,
    /// `-s`
    pub namespace: Option<String>,
    /// `-e`
    pub all_files: bool,
    /// `-i`
    pub config_id: Option<String>,
    /// `-m`, `-M`
    pub core: bool,
    /// `-t`, with the file for its output.
    pub test: Option<Option<PathBuf>>,
    /// `-v`
    pub version: bool,
    /// `-h`
    pub help: bool,
    /// `-T`
    pub genhash: bool,
    /// `--signum`
    pub signal: Option<String>,
    pub told: Vec<String>,
    pub wrong: bool,
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ArgumentError {
    #[error("{}", .0.join("\n"))]
    Told(Vec<String>),
    #[error(
        "-C (health checkers of virtual servers only) is not supported: use a `listen` section of an \
             haproxy.cfg; `evenkeel run -f` reads both files"
    )]
    Checkers,
    #[error("-T (genhash) is not supported; `curl -s URL | md5sum` computes the same hash")]
    Genhash,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum ValueRequirement {
    No,
    Yes,
    Perhaps,
}

/// Each option: its letter or NUL, its long name, whether it has a value.
const OPTIONS: &[(char, &str, ValueRequirement)] = &[
    ('f', "use-file", ValueRequirement::Yes),
    ('P', "vrrp", ValueRequirement::No),
    ('C', "check", ValueRequirement::No),
    ('B', "no_bfd", ValueRequirement::No),
    ('B', "no-bfd", ValueRequirement::No),
    ('\0', "all", ValueRequirement::No),
    ('l', "log-console", ValueRequirement::No),
    ('D', "log-detail", ValueRequirement::No),
    ('S', "log-facility", ValueRequirement::Yes),
    ('g', "log-file", ValueRequirement::Yes),
    ('\0', "flush-log-file", ValueRequirement::No),
    ('G', "no-syslog", ValueRequirement::No),
    ('u', "umask", ValueRequirement::Yes),
    ('X', "release-vips", ValueRequirement::No),
    ('V', "dont-release-vrrp", ValueRequirement::No),
    ('I', "dont-release-ipvs", ValueRequirement::No),
    ('R', "dont-respawn", ValueRequirement::No),
    ('n', "dont-fork", ValueRequirement::No),
    ('d', "dump-conf", ValueRequirement::No),
    ('p', "pid", ValueRequirement::Yes),
    ('r', "vrrp_pid", ValueRequirement::Yes),
    ('T', "genhash", ValueRequirement::No),
    ('c', "checkers_pid", ValueRequirement::Yes),
    ('a', "address-monitoring", ValueRequirement::No),
    ('b', "bfd_pid", ValueRequirement::Yes),
    ('s', "namespace", ValueRequirement::Yes),
    ('e', "all-config", ValueRequirement::No),
    ('i', "config-id", ValueRequirement::Yes),
    ('x', "snmp", ValueRequirement::No),
    ('A', "snmp-agent-socket", ValueRequirement::Yes),
    ('m', "core-dump", ValueRequirement::No),
    ('M', "core-dump-pattern", ValueRequirement::Perhaps),
    ('\0', "signum", ValueRequirement::Yes),
    ('t', "config-test", ValueRequirement::Perhaps),
    ('\0', "perf", ValueRequirement::Perhaps),
    ('\0', "debug", ValueRequirement::Perhaps),
    ('\0', "no-mem-check", ValueRequirement::No),
    ('v', "version", ValueRequirement::No),
    ('h', "help", ValueRequirement::No),
];

/// Parses a command line, without the program's name.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Arguments {
    let mut parsed = Arguments {
        file: FILE.into(),
        facility: FACILITY_DAEMON,
        releases: true,
        ..Arguments::default()
    };
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let bytes = word.as_bytes();
        if bytes == b"--" {
            break;
        }
        if let Some(long) = bytes.strip_prefix(b"--") {
            long_option(&mut parsed, long, &mut words);
        } else if let Some(letters) = bytes.strip_prefix(b"-").filter(|rest| !rest.is_empty()) {
            short_options(&mut parsed, letters, &mut words);
        }
        // Ignores arguments that are not options, as keepalived does.
    }
    parsed
}

type KeepalivedArguments<'w> = &'w mut dyn Iterator<Item = OsString>;

fn long_option(parsed: &mut Arguments, long: &[u8], words: KeepalivedArguments<'_>) {
    let at = long.iter().position(|byte| *byte == b'=');
    let (name, glued) = match at {
        Some(at) => (&long[..at], long.get(at + 1..)),
        None => (long, None),
    };
    let name = String::from_utf8_lossy(name).into_owned();
    let Some((_, known, value)) = OPTIONS.iter().find(|(_, known, _)| *known == name) else {
        parsed.told.push(format!("Unknown option --{name}"));
        parsed.wrong = true;
        return;
    };
    let glued = glued.map(|bytes| OsString::from_vec(bytes.to_vec()));
    let value = match (value, glued) {
        (ValueRequirement::Yes, None) => words.next(),
        (ValueRequirement::No, _) => None,
        (_, glued) => glued,
    };
    let wanted = OPTIONS
        .iter()
        .any(|(_, one, v)| one == known && *v == ValueRequirement::Yes);
    if wanted && value.is_none() {
        parsed
            .told
            .push(format!("Missing parameter for option --{name}"));
        parsed.wrong = true;
        return;
    }
    take(parsed, known, value);
}

fn short_options(parsed: &mut Arguments, letters: &[u8], words: KeepalivedArguments<'_>) {
    let mut at = 0;
    while let Some(letter) = letters.get(at) {
        at += 1;
        let letter = char::from(*letter);
        let known = OPTIONS
            .iter()
            .find(|(one, _, _)| *one == letter && letter != '\0');
        let Some((_, known, value)) = known else {
            parsed.told.push(format!("Unknown option -{letter}"));
            parsed.wrong = true;
            continue;
        };
        let rest = letters.get(at..).filter(|rest| !rest.is_empty());
        let rest = rest.map(|rest| OsString::from_vec(rest.to_vec()));
        match value {
            ValueRequirement::No => take(parsed, known, None),
            ValueRequirement::Perhaps => return take(parsed, known, rest),
            ValueRequirement::Yes => {
                let Some(value) = rest.or_else(|| words.next()) else {
                    let told = format!("Missing parameter for option -{letter}");
                    parsed.told.push(told);
                    parsed.wrong = true;
                    return;
                };
                return take(parsed, known, Some(value));
            }
        }
    }
}

fn take(parsed: &mut Arguments, name: &str, value: Option<OsString>) {
    let path = || value.clone().map(PathBuf::from);
    let text = || {
        value
            .as_ref()
            .map(|value| value.to_string_lossy().into_owned())
    };
    match name {
        "use-file" => parsed.file = path().unwrap_or_default(),
        "vrrp" => parsed.vrrp_only = true,
        "check" => parsed.checkers_only = true,
        "no_bfd" | "no-bfd" => parsed.no_bfd = true,
        "log-console" => parsed.console = true,
        "log-detail" => parsed.detail = true,
        "log-facility" => facility(parsed, &text().unwrap_or_default()),
        "log-file" => parsed.log_file = path(),
        "flush-log-file" => parsed.flush = true,
        "no-syslog" => parsed.no_syslog = true,
        "umask" => umask(parsed, &text().unwrap_or_default()),
        "release-vips" => parsed.releases = true,
        "dont-release-vrrp" => parsed.releases = false,
        "dont-respawn" => parsed.once = true,
        "dont-fork" => parsed.foreground = true,
        "dump-conf" => parsed.dump = true,
        "pid" => parsed.pid_file = path(),
        "vrrp_pid" => parsed.role_pid_file = path(),
        "genhash" => parsed.genhash = true,
        "namespace" => parsed.namespace = text(),
        "all-config" => parsed.all_files = true,
        "config-id" => parsed.config_id = text(),
        "core-dump" => parsed.core = true,
        "core-dump-pattern" => {
            parsed.core = true;
            parsed.told.push(
                "-M: core dumps are enabled; /proc/sys/kernel/core_pattern is not changed, because it applies to the \
                 whole system"
                    .to_owned(),
            );
        }
        "config-test" => parsed.test = Some(path()),
        "signum" => parsed.signal = text(),
        "version" => parsed.version = true,
        "help" => parsed.help = true,
        "snmp" | "snmp-agent-socket" => parsed.told.push(
            "SNMP is not supported: use `evenkeel address --json` or `evenkeel address metrics`"
                .to_owned(),
        ),
        "address-monitoring" | "perf" | "debug" => {
            parsed.told.push(format!("--{name} has no effect here"));
        }
        // Ignores options for what does not exist in Evenkeel: checkers, a BFD process, memory
        // checks.
        _ => {}
    }
}

/// Number of the syslog facility LOG_USER.
const FACILITY_USER: u8 = 1;
const FACILITY_LOCAL: u8 = 16;
const LOCALS: u8 = 8;

fn facility(parsed: &mut Arguments, text: &str) {
    let local = text.strip_prefix("local").unwrap_or(text).parse::<u8>();
    parsed.facility = match (text, local) {
        ("user", _) => FACILITY_USER,
        ("daemon", _) => FACILITY_DAEMON,
        (_, Ok(number)) if number < LOCALS => FACILITY_LOCAL + number,
        _ => {
            parsed.told.push(format!("Invalid log facility '{text}'"));
            return;
        }
    };
}

/// Sets the umask from a number in C's notation: octal after a leading zero, hexadecimal after
/// `0x`. An invalid or too large number is an error.
fn umask(parsed: &mut Arguments, text: &str) {
    const MODE_MAX: u32 = 0o777;
    let number = match (text.strip_prefix("0x"), text.strip_prefix('0')) {
        (Some(hexadecimal), _) => u32::from_str_radix(hexadecimal, 16),
        (None, Some(octal)) if !octal.is_empty() => u32::from_str_radix(octal, 8),
        _ => text.parse(),
    };
    match number {
        Ok(number) if number <= MODE_MAX => parsed.umask = Some(number),
        _ => {
            parsed.told.push(format!("Invalid --umask option {text}"));
            parsed.wrong = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Arguments {
        parse(line.split_whitespace().map(Into::into))
    }

    #[test]
    fn short_flags_combine_and_the_last_may_have_a_value() {
        let arguments = parsed("-nlDf /etc/k.conf -p/run/a.pid -r /run/b.pid -PRS local3");
        let expected = Arguments {
            foreground: true,
            console: true,
            detail: true,
            file: "/etc/k.conf".into(),
            pid_file: Some("/run/a.pid".into()),
            role_pid_file: Some("/run/b.pid".into()),
            vrrp_only: true,
            once: true,
            facility: 19,
            ..parsed("")
        };
        assert_eq!(arguments, expected);
    }

    #[test]
    fn long_options_take_a_value_after_equals_or_as_next_word() {
        let arguments =
            parsed("--use-file=/a --pid /b --config-id=one --no_bfd --dont-fork --vrrp");
        assert_eq!(arguments.file, PathBuf::from("/a"));
        assert_eq!(arguments.pid_file, Some("/b".into()));
        assert_eq!(arguments.config_id.as_deref(), Some("one"));
        assert!(arguments.no_bfd && arguments.foreground && arguments.vrrp_only);
        assert!(!arguments.wrong);
    }

    #[test]
    fn optional_value_must_be_attached() {
        assert_eq!(parsed("-t file").test, Some(None));
        assert_eq!(parsed("-tout.txt").test, Some(Some("out.txt".into())));
        assert_eq!(parsed("--config-test=x").test, Some(Some("x".into())));
        assert_eq!(parsed("--config-test x").test, Some(None));
        assert_eq!(parsed("-n").test, None);
    }

    #[test]
    fn unknown_options_are_named_and_the_rest_applies() {
        let arguments = parsed("-Zn --vrr --signum");
        assert!(arguments.wrong && arguments.foreground && !arguments.vrrp_only);
        assert_eq!(
            arguments.told,
            [
                "Unknown option -Z",
                "Unknown option --vrr",
                "Missing parameter for option --signum"
            ]
        );
        assert!(!parsed("foo bar").wrong, "what is no option is passed over");
    }

    #[test]
    fn a_facility_is_a_number_or_a_name() {
        for (text, facility) in [
            ("0", 16),
            ("7", 23),
            ("local7", 23),
            ("user", 1),
            ("daemon", 3),
        ] {
            assert_eq!(parsed(&format!("-S {text}")).facility, facility, "{text}");
        }
        let wrong = parsed("-S 9");
        assert_eq!(wrong.told, ["Invalid log facility '9'"]);
        assert!(!wrong.wrong);
    }

    #[test]
    fn stop_releases_addresses_unless_disabled() {
        assert!(parsed("").releases && parsed("-X").releases && !parsed("-V").releases);
    }

    #[test]
    fn umask_is_parsed_as_in_c() {
        let mask = |text: &str| parsed(&format!("-u {text}")).umask;
        assert_eq!(
            (mask("022"), mask("18"), mask("0x12")),
            (Some(18), Some(18), Some(18))
        );
        assert_eq!((mask("7777"), mask("x")), (None, None));
    }
}
