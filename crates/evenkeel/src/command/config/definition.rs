//! The options of `evenkeel config`.

use crate::command::address::duration;
use clap::{Arg, ArgAction, Command, value_parser};
use std::path::PathBuf;
use std::time::Duration;

const CODES: &str = "\
Exit codes:
  0  the version is accepted, or waits to be confirmed
  1  it was refused, and nobody ever served it; or nothing was asked of the cluster
  3  it was tried and taken back: the words say why
  4  what became of it is not known: `evenkeel config log` tells, once a majority answers";

/// `evenkeel config`.
pub fn config() -> Command {
    Command::new("config")
        .about("See and change the configuration of a cluster, with its history")
        .long_about(
            "The configuration of a cluster is one, with a history: each change is a version that has an author, a \
             message, a time and an outcome, and holds every file that it names. A change is checked on every node, \
             tried on the one that owns the fewest addresses, then on the others, and taken back by itself if errors \
             or the health of servers get worse.\n\nPasswords and keys are never printed.",
        )
        .after_help(
            "Examples:\n  evenkeel config apply /etc/haproxy/haproxy.cfg -m 'one more server'\n  \
             evenkeel config edit\n  evenkeel config log\n  evenkeel config diff 11 12\n  \
             evenkeel config blame /etc/haproxy/haproxy.cfg\n  evenkeel config rollback 11 -m 'as it was'",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands([show(), edit(), apply(), log(), diff(), blame()])
        .subcommands([rollback(), status(), confirm(), take_back(), follow()])
}

fn number(name: &'static str) -> Arg {
    Arg::new(name)
        .value_name(name)
        .value_parser(value_parser!(u64).range(1..))
}

fn json() -> Arg {
    Arg::new("json")
        .long("json")
        .action(ArgAction::SetTrue)
        .help("For programs")
}

fn state() -> Arg {
    Arg::new("state")
        .long("state")
        .value_name("DIRECTORY")
        .value_parser(value_parser!(PathBuf))
        .help("The state directory of this member; the one that its control role names where none is given")
}

fn why(command: Command) -> Command {
    command
        .arg(
            Arg::new("message")
                .short('m')
                .long("message")
                .value_name("MESSAGE")
                .required(true)
                .help("Why, for the log"),
        )
        .arg(author())
}

fn author() -> Arg {
    Arg::new("author")
        .long("author")
        .value_name("NAME")
        .help("Who; the user (of sudo) on this host where nobody is named")
}

/// A time, as `judge` of a file takes it: a bare number counts seconds.
fn time(text: &str) -> Result<Duration, String> {
    match text.bytes().all(|b| b.is_ascii_digit()) {
        true => duration(&format!("{text}s")),
        false => duration(text),
    }
}

fn judging(command: Command) -> Command {
    command
        .arg(
            Arg::new("judge")
                .long("judge")
                .value_name("TIME")
                .value_parser(time)
                .conflicts_with("now")
                .help("How long each stage is looked at; as the file's `judge` says without it, else 10s"),
        )
        .arg(
            Arg::new("now")
                .long("now")
                .action(ArgAction::SetTrue)
                .help("Look at nothing: it is accepted as soon as every node serves it"),
        )
        .arg(
            Arg::new("confirm-within")
                .long("confirm-within")
                .value_name("TIME")
                .value_parser(time)
                .help("It takes itself back unless `evenkeel config confirm` comes within this time"),
        )
}

fn apply() -> Command {
    let command = Command::new("apply")
        .about("Make these files, and all that they name, the configuration of the cluster")
        .long_about(
            "Collects these files and every file that they name (certificates, keys, maps, pages), shows what \
             changes, and asks the cluster. Every node that is there builds it first; a refusal prints what each says.\n\n\
             The version that was applied from the same files on this machine before is what they follow. If another one is \
             accepted meanwhile, by whomever, nothing is changed, and what came between is shown.",
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
                .help("Files, or directories of which the .cfg files are read in the order of their names"),
        )
        .arg(
            number("onto")
                .long("onto")
                .value_name("VERSION")
                .help("These files have everything of this version that is to stay"),
        )
        .arg(state());
    judging(why(command))
}

fn edit() -> Command {
    let command = Command::new("edit")
        .about("Edit the accepted texts, and apply what becomes of them")
        .long_about(
            "Opens the accepted files of the command line in VISUAL or EDITOR (a copy that only this user may read), checks \
             them when the editor ends, and asks the cluster. With mistakes, or when the cluster refuses, the \
             editor can be opened again with the same text. Passwords are in these texts as they are.",
        )
        .after_help(format!("Example:\n  evenkeel config edit -m 'shorter timeouts'\n\n{CODES}"))
        .arg(
            Arg::new("FILE")
                .num_args(0..)
                .help("Only these files of the accepted version"),
        );
    judging(why(command))
}

fn rollback() -> Command {
    let command = Command::new("rollback")
        .about("Apply an older version once more")
        .long_about(
            "Makes a new version that is what an older one was, with all its files. It is checked and judged as any \
             change is.",
        )
        .after_help(format!("Example:\n  evenkeel config rollback 11 -m 'as it was' --now\n\n{CODES}"))
        .arg(number("VERSION").required(true).help("Which, by its number in the log"));
    judging(why(command))
}

fn show() -> Command {
    Command::new("show")
        .about("Print a version: the accepted one, or another")
        .after_help(
            "Examples:\n  evenkeel config show\n  evenkeel config show --version 11 /etc/haproxy/haproxy.cfg\n  \
             evenkeel config show --export version-11",
        )
        .arg(
            Arg::new("FILE")
                .num_args(0..)
                .help("Only these files; without any, the texts of the command line and a list of the others"),
        )
        .arg(number("version").long("version").value_name("VERSION").help("Another version than the accepted one"))
        .arg(
            Arg::new("export")
                .long("export")
                .value_name("DIRECTORY")
                .value_parser(value_parser!(PathBuf))
                .help("Write its files below a new directory that only this user may read, passwords and keys included"),
        )
        .arg(json())
}

fn log() -> Command {
    Command::new("log")
        .about("Tell of versions: who, when, why, and what became of each")
        .after_help("Examples:\n  evenkeel config log\n  evenkeel config log -n 3\n  evenkeel config log --json | jq .")
        .arg(
            Arg::new("count")
                .short('n')
                .value_name("COUNT")
                .value_parser(value_parser!(u64).range(1..))
                .default_value("20")
                .help("At most so many, the newest first"),
        )
        .arg(json())
}

fn diff() -> Command {
    Command::new("diff")
        .about("Tell what changed between two versions")
        .long_about(
            "Prints the difference file by file, in the form that `patch` takes. Passwords are covered, a certificate is told \
             by whose it is and until when, and of a key only whether it changed. Without versions it is the last change \
             that was accepted; with one, from that version to the accepted one.",
        )
        .after_help("Examples:\n  evenkeel config diff\n  evenkeel config diff 11\n  evenkeel config diff 9 11")
        .arg(number("A").help("From this version"))
        .arg(number("B").help("To this one"))
        .arg(json())
}

fn blame() -> Command {
    Command::new("blame")
        .about("Tell who wrote which line of a file, in which version")
        .after_help("Example:\n  evenkeel config blame /etc/haproxy/haproxy.cfg")
        .arg(
            Arg::new("FILE").help("The file; the only one of the command line where none is named"),
        )
        .arg(
            number("version")
                .long("version")
                .value_name("VERSION")
                .help("As of another version than the accepted one"),
        )
}

fn status() -> Command {
    Command::new("status")
        .about("Tell which version is served, and what is on its way")
        .arg(json())
}

fn confirm() -> Command {
    Command::new("confirm")
        .about("Let the version stay that waits to be confirmed")
        .arg(number("VERSION").help("Which; the one that waits where none is named"))
}

fn take_back() -> Command {
    Command::new("take-back")
        .about("Take back the version that is on its way")
        .arg(
            Arg::new("message")
                .short('m')
                .long("message")
                .value_name("MESSAGE")
                .help("Why, for the log"),
        )
        .arg(author())
}

fn follow() -> Command {
    Command::new("follow")
        .about("Look at the repositories that are followed now")
        .long_about(
            "Tells the node that leads to look at once at the repositories that the file follows (`follow git`, `follow hg`), for example \
             from a hook of the repository. `evenkeel config log` tells what it finds.",
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        config().debug_assert();
    }

    #[test]
    fn a_bare_time_counts_seconds_as_in_the_file() {
        assert_eq!(time("30"), Ok(Duration::from_secs(30)));
        assert_eq!(time("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(time("250ms"), Ok(Duration::from_millis(250)));
        assert!(time("soon").is_err());
    }
}
