//! Defines the subcommands and options of `evenkeel config`.

use clap::{Arg, ArgAction, Command, value_parser};
use command::json;
use command::options::{duration, flag, option};
use std::path::PathBuf;
use std::time::Duration;

const CODES: &str = "Exit codes:
  0  the version is accepted, or waits for confirmation
  1  the version was refused and never served, or the command failed before it was proposed
  3  the version was tried and rolled back; the output shows the reason
  4  the outcome is not known; `evenkeel config log` shows it when a majority is available";

pub fn config(command: Command) -> Command {
    command
        .about("Show and change the configuration of a cluster, and its history")
        .long_about(
            "A cluster has one configuration with a history. Each change is a version with an author, a message, a \
             time and an outcome, and contains every file that it names. The cluster checks a change on every node, \
             tries it on the one that owns the fewest addresses, then on the others, and rolls it back if errors or \
             server health get worse.\n\nPasswords and keys are never printed.",
        )
        .after_help(
            "Examples:\n  evenkeel config apply /etc/haproxy/haproxy.cfg -m 'one more server'\n  \
             evenkeel config edit\n  evenkeel config log\n  evenkeel config diff 11 12\n  \
             evenkeel config blame /etc/haproxy/haproxy.cfg\n  evenkeel config rollback 11 -m 'as it was'",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands([show(), edit(), apply(), log(), diff(), blame()])
        .subcommands([rollback(), status(), confirm(), cancel(), follow()])
}

fn number(name: &'static str) -> Arg {
    Arg::new(name)
        .value_name(name)
        .value_parser(|text: &str| match text.parse::<u64>() {
            Ok(number) if number > 0 => Ok(number),
            _ => Err("not a version number"),
        })
}

fn state() -> Arg {
    option(
        "state",
        "DIRECTORY",
        "State directory of this member; default: that of the running control role",
    )
    .value_parser(value_parser!(PathBuf))
}

fn message() -> Arg {
    option("message", "MESSAGE", "Reason for the change, for the log").short('m')
}

fn why(command: Command) -> Command {
    command.arg(message().required(true)).arg(author())
}

fn author() -> Arg {
    option(
        "author",
        "NAME",
        "Author; default: the user (before sudo) on this host",
    )
}

/// Parses a time in the format of `judge`: a bare number counts seconds.
fn time(text: &str) -> Result<Duration, String> {
    if text.bytes().all(|b| b.is_ascii_digit()) {
        duration(&format!("{text}s"))
    } else {
        duration(text)
    }
}

fn judging(command: Command) -> Command {
    json::order(command)
        .arg(
            option(
                "judge",
                "TIME",
                "Observation time of each stage; default: `judge` of the configuration, or 10s",
            )
            .value_parser(time)
            .conflicts_with("now"),
        )
        .arg(flag(
            "now",
            "Skip the observation: accept the version as soon as every node serves it",
        ))
        .arg(
            option(
                "confirm-within",
                "TIME",
                "Roll the version back unless `evenkeel config confirm` is run within this time",
            )
            .value_parser(time),
        )
        .arg(
            option(
                super::copies::ABANDON,
                "VOLUME",
                "Apply the version although no node of this volume has its data",
            )
            .action(ArgAction::Append),
        )
}

fn apply() -> Command {
    let command = Command::new("apply")
        .about("Apply these files, and all files that they name, to the cluster")
        .long_about(
            "Collects these files and every file that they name (certificates, keys, maps, pages), prints what \
             changes, and proposes the version to the cluster. Every reachable node builds it first; if one refuses, \
             its reason is printed.\n\nThis machine remembers the version that it applied last from these files. If \
             another version was accepted since, nothing changes, and the intermediate changes are printed.",
        )
        .after_help(format!(
            "Examples:\n  evenkeel config apply /etc/haproxy/haproxy.cfg -m 'one more server'\n  \
             evenkeel config apply haproxy.cfg keepalived.conf -m 'a second address' --judge 30s\n  \
             evenkeel config apply haproxy.cfg -m 'other firewall' --confirm-within 5m\n\n{CODES}"
        ))
        .arg(
            Arg::new("FILE")
                .value_parser(value_parser!(PathBuf))
                .required(true)
                .num_args(1..)
                .help("Configuration files, or directories whose .cfg files are read in alphabetical order"),
        )
        .arg(
            number("onto")
                .long("onto")
                .value_name("VERSION")
                .help("The accepted version whose changes these files already contain"),
        )
        .arg(state());
    judging(why(command))
}

fn edit() -> Command {
    let command = Command::new("edit")
        .about("Edit the accepted files and apply the result")
        .long_about(
            "Opens the accepted configuration files in VISUAL or EDITOR (a copy that only this user can read), checks \
             them afterwards, and proposes them to the cluster. After an error or a refusal, the editor can be opened \
             again with the same text. The text contains passwords in the clear.\n\nWithout `--message`, the \
             command asks for the reason after the editor has ended; where it cannot ask, it fails at once.",
        )
        .after_help(format!("Example:\n  evenkeel config edit -m 'shorter timeouts'\n\n{CODES}"))
        .arg(
            Arg::new("FILE")
                .num_args(0..)
                .help("Only these files of the accepted version"),
        )
        .arg(message())
        .arg(author());
    judging(command)
}

fn rollback() -> Command {
    let command = Command::new("rollback")
        .about("Apply an older version again")
        .long_about(
            "Creates a new version with all files of an older one. It is checked and judged like any change.",
        )
        .after_help(format!("Example:\n  evenkeel config rollback 11 -m 'as it was' --now\n\n{CODES}"))
        .arg(number("VERSION").required(true).help("Number of the version, as in the log"));
    judging(why(command))
}

fn show() -> Command {
    Command::new("show")
        .about("Print the accepted version, or another one")
        .after_help(
            "Examples:\n  evenkeel config show\n  evenkeel config show --version 11 /etc/haproxy/haproxy.cfg\n  \
             evenkeel config show --export version-11",
        )
        .arg(
            Arg::new("FILE")
                .num_args(0..)
                .help("Only these files; default: the configuration files, and a list of the other files"),
        )
        .arg(number("version").long("version").value_name("VERSION").help("Version to use instead of the accepted one"))
        .arg(
            option("export", "DIRECTORY", "Write the files, including passwords and keys, to a new directory that only this user can read").value_parser(value_parser!(PathBuf)),
        )
        .arg(json::option())
}

fn log() -> Command {
    Command::new("log")
        .about("List versions with author, time, message and outcome")
        .after_help("Examples:\n  evenkeel config log\n  evenkeel config log -n 3\n  evenkeel config log --json | jq .")
        .arg(
            Arg::new("count")
                .short('n')
                .value_name("COUNT")
                .value_parser(value_parser!(u64).range(1..))
                .default_value("20")
                .help("Maximum number of versions, newest first"),
        )
        .arg(json::option())
}

fn diff() -> Command {
    Command::new("diff")
        .about("Show the changes between two versions")
        .long_about(
            "Prints the difference of each file as a patch. Passwords are masked. For a certificate it prints owner \
             and expiry, for a key only whether it changed. Without arguments it shows the last accepted change. With \
             one version it shows the changes from there to the accepted version.",
        )
        .after_help("Examples:\n  evenkeel config diff\n  evenkeel config diff 11\n  evenkeel config diff 9 11")
        .arg(number("A").help("The older version"))
        .arg(number("B").help("The newer version"))
        .arg(json::option())
}

fn blame() -> Command {
    Command::new("blame")
        .about("Show for each line of a file the version and author of its last change")
        .after_help("Example:\n  evenkeel config blame /etc/haproxy/haproxy.cfg")
        .arg(Arg::new("FILE").help("The file; default: the only configuration file"))
        .arg(
            number("version")
                .long("version")
                .value_name("VERSION")
                .help("Version to use instead of the accepted one"),
        )
        .arg(json::option())
}

fn status() -> Command {
    Command::new("status")
        .about("Show the served version and the version in progress")
        .arg(json::option())
}

fn confirm() -> Command {
    json::order(Command::new("confirm"))
        .about("Confirm the version that waits for confirmation")
        .arg(number("VERSION").help("The version; default: the one that waits"))
}

fn cancel() -> Command {
    json::order(Command::new("cancel"))
        .alias("take-back")
        .about("Cancel the version in progress")
        .arg(option("message", "MESSAGE", "Reason, for the log").short('m'))
        .arg(author())
}

fn follow() -> Command {
    json::order(Command::new("follow"))
        .about("Poll the followed repositories now")
        .long_about(
            "Makes the leader poll the followed repositories (`follow git`, `follow hg`) at once, for example from a \
             hook of the repository. `evenkeel config log` shows the result.",
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        config(Command::new("config")).debug_assert();
    }

    #[test]
    fn a_bare_time_counts_seconds_as_in_the_file() {
        assert_eq!(time("30"), Ok(Duration::from_secs(30)));
        assert_eq!(time("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(time("250ms"), Ok(Duration::from_millis(250)));
        assert!(time("soon").is_err());
    }

    #[test]
    fn change_needs_a_reason_which_edit_may_prompt_for() {
        for (line, is_complete) in [
            ("config edit", true),
            ("config edit -m why", true),
            ("config apply site.cfg", false),
            ("config rollback 3", false),
        ] {
            let parsed = config(Command::new("config")).try_get_matches_from(line.split(' '));
            assert_eq!(parsed.is_ok(), is_complete, "{line}");
        }
    }
}
