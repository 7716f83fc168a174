//! The options of `evenkeel cluster` and `evenkeel arbiter`.

use clap::{Arg, ArgAction, Command, value_parser};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Where members listen unless somebody says otherwise.
pub const LISTEN: &str = "[::]:7443";

/// `evenkeel cluster`.
pub fn cluster() -> Command {
    Command::new("cluster")
        .about("Make two machines and an arbiter one system, and see how it is")
        .long_about(
            "Two machines that carry traffic (nodes) and any small third one (the arbiter) become one system: what \
             is changed on one is changed on all, and no partition ever makes two truths.\n\nWhat is served is \
             changed by `evenkeel config`. On each member `evenkeel run`, without files, runs it.\n\nTraffic never \
             waits for any of this: with the majority lost, changes are frozen and everything serves on.",
        )
        .after_help(
            "Examples:\n  evenkeel cluster init north                 on the first machine\n  \
             evenkeel run                                on each machine, from then on\n  \
             evenkeel cluster invite                     on a member: prints a token for a node\n  \
             evenkeel cluster join EK1-…                 on the second machine\n  \
             evenkeel cluster invite --arbiter           a token for the arbiter\n  \
             evenkeel arbiter join EK1-…                 on the third\n  \
             evenkeel cluster status                     who is there, who leads, what would fail",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands([init(), invite(), join("another node"), status()])
        .subcommands([remove(), hand_over(), rotate(), recover()])
}

/// `evenkeel arbiter`.
pub fn arbiter() -> Command {
    Command::new("arbiter")
        .about("Make this machine the tie-breaker of a cluster")
        .long_about(
            "The arbiter votes and keeps a copy of the log, so that two nodes can tell which of them is cut off. It \
             carries no traffic, needs 20 MB of memory, and what it keeps of configurations it cannot read: whoever \
             steals its disk has nothing.",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(join("the arbiter"))
}

fn state() -> Arg {
    Arg::new("state")
        .long("state")
        .value_name("DIRECTORY")
        .value_parser(value_parser!(PathBuf))
        .default_value(cluster::role::directory::USUAL)
        .help("The state directory: keys, the log, the last accepted version")
}

fn place(command: Command) -> Command {
    command
        .arg(
            Arg::new("name")
                .long("name")
                .value_name("NAME")
                .help("This machine's name in the cluster; its host name where none is given"),
        )
        .arg(
            Arg::new("listen")
                .long("listen")
                .value_name("ADDRESS:PORT")
                .value_parser(value_parser!(SocketAddr))
                .action(ArgAction::Append)
                .help(format!(
                    "Where it listens for the other members; {LISTEN} where none is given"
                )),
        )
        .arg(
            Arg::new("address-later")
                .long("address-later")
                .action(ArgAction::SetTrue)
                .help("Take `--listen` addresses that this machine does not have yet"),
        )
        .arg(
            Arg::new("address")
                .long("address")
                .value_name("ADDRESS:PORT")
                .value_parser(value_parser!(SocketAddr))
                .action(ArgAction::Append)
                .help(
                    "Where the others reach it, the best way first; the addresses that it listens at, or all of \
                     this machine's, where none is given",
                ),
        )
        .arg(state())
}

fn init() -> Command {
    place(
        Command::new("init")
            .about("Found a cluster with this machine as its first node")
            .long_about(
                "Founds a cluster: makes its authority, by whose certificates members know each other, and keeps it \
                 in the state directory. Then `evenkeel run` without files starts the machine as its member.",
            )
            .after_help(
                "Examples:\n  evenkeel cluster init north\n  evenkeel cluster init north --address 10.0.0.1:7443",
            )
            .arg(
                Arg::new("CLUSTER")
                    .required(true)
                    .help(
                        "The cluster's name: 1 to 32 letters, digits and hyphens, beginning and ending with a \
                         letter or a digit",
                    ),
            ),
    )
}

fn invite() -> Command {
    Command::new("invite")
        .about("Print a token with which a new machine joins")
        .long_about(
            "Prints a token for one new member. It can be used once and for a few minutes, and holds the addresses \
             of members, the fingerprint of the cluster's authority and a secret: who joins with it knows that it \
             joins the right cluster, and the cluster that it was asked to.",
        )
        .after_help("Examples:\n  evenkeel cluster invite\n  evenkeel cluster invite --arbiter --valid 1h")
        .arg(
            Arg::new("arbiter")
                .long("arbiter")
                .action(ArgAction::SetTrue)
                .help("For an arbiter; without it, for a node"),
        )
        .arg(
            Arg::new("valid")
                .long("valid")
                .value_name("TIME")
                .default_value("15m")
                .value_parser(time)
                .help("How long it is good: 90s, 15m, 2h; at most a day"),
        )
}

fn join(what: &'static str) -> Command {
    place(
        Command::new("join")
            .about(format!("Join a cluster as {what}, with a token"))
            .long_about(format!(
                "Joins as {what}, with a token that `evenkeel cluster invite` printed on a member. Then `evenkeel run` \
                 without files starts it."
            ))
            .arg(Arg::new("TOKEN").required(true).help("EK1-…")),
    )
}

fn status() -> Command {
    Command::new("status")
        .about(
            "Who is there, who leads, what each sees, and what each one's failure would mean now",
        )
        .arg(
            Arg::new("json")
                .long("json")
                .action(ArgAction::SetTrue)
                .help("As JSON"),
        )
}

fn remove() -> Command {
    Command::new("remove")
        .about("Remove a member, dead or alive")
        .long_about(
            "Removes a member: it votes no more, its certificate is refused from then on, and contents are sealed \
             with a new key that it does not have. To replace a dead machine, remove it and let the new one join. A \
             removed machine joins again with a new token, after its state directory was removed.",
        )
        .after_help("Example:\n  evenkeel cluster remove web2")
        .arg(Arg::new("NAME").required(true).help("Its name, as status shows it"))
}

fn hand_over() -> Command {
    Command::new("hand-over")
        .about("Hand leadership to another member, before maintenance")
        .long_about(
            "Hands leadership over without a gap. Who leads matters to nobody's traffic; a machine that is stopped \
             in an orderly way hands over by itself.",
        )
        .arg(Arg::new("NAME").help("To whom; to whoever is best where none is named"))
}

fn rotate() -> Command {
    Command::new("rotate")
        .about("Give this member a new key and certificate, and contents a new key")
        .long_about(
            "Gives this member a new key and certificate, and contents a new key.\n\nWith `--authority` the \
             authority behind all certificates is replaced: a new one is believed beside the present one, each \
             member gets a certificate of it, and then the former one is given up. Members that are away meanwhile \
             come back under the key that is known of them. It happens by itself when a node was removed, which \
             knows the authority's key, and long before the authority's time is over.",
        )
        .after_help("Examples:\n  evenkeel cluster rotate\n  evenkeel cluster rotate --authority")
        .arg(
            Arg::new("authority")
                .long("authority")
                .action(ArgAction::SetTrue)
                .help("Another authority, and certificates of it for all members"),
        )
}

fn recover() -> Command {
    Command::new("recover")
        .about("Go on alone after the majority was lost for good")
        .long_about(
            "Makes this machine alone the cluster, after a permanent loss of the majority. It must not run while \
             this is done.\n\nWhat the others agreed on without this machine is lost. If one of them ever returns as \
             what it was, there are two truths: remove their state directories before they are started again, and let \
             them join anew.",
        )
        .after_help("Example:\n  evenkeel cluster recover --alone --yes")
        .arg(
            Arg::new("alone")
                .long("alone")
                .required(true)
                .action(ArgAction::SetTrue)
                .help("This machine alone"),
        )
        .arg(
            Arg::new("yes")
                .long("yes")
                .action(ArgAction::SetTrue)
                .help("Confirms it; without it, what would be done is told and nothing is"),
        )
        .arg(state())
}

/// Shortest and longest time of a token, seconds.
const VALID_SECONDS_MAX: u64 = 86_400;

/// A time with its unit.
fn time(text: &str) -> Result<std::time::Duration, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| "a time, such as 90s or 15m")?;
    let seconds = match unit {
        "s" => number,
        "m" => number.saturating_mul(60),
        "h" => number.saturating_mul(3600),
        _ => return Err("a time ends with s, m or h".to_owned()),
    };
    match seconds {
        1..=VALID_SECONDS_MAX => Ok(std::time::Duration::from_secs(seconds)),
        0 => Err("that is no time at all".to_owned()),
        _ => Err("that is more than a day".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_token_is_good_for_a_time_with_its_unit() {
        assert_eq!(time("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(time("15m"), Ok(Duration::from_secs(900)));
        assert_eq!(time("24h"), Ok(Duration::from_secs(86_400)));
        for wrong in ["", "15", "0s", "25h", "m", "99999999999999999999s"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn places_are_taken_in_every_way() {
        let line =
            "cluster init north --name a --listen 10.0.0.1:7443 --listen [::1]:7443 --state /tmp/x";
        let matches = cluster().try_get_matches_from(line.split(' ')).unwrap();
        let (_, init) = matches.subcommand().unwrap();
        assert_eq!(init.get_many::<SocketAddr>("listen").unwrap().len(), 2);
        assert!(
            cluster()
                .try_get_matches_from(["cluster", "recover"])
                .is_err()
        );
        assert!(arbiter().try_get_matches_from(["arbiter", "join"]).is_err());
    }
}
