//! Defines the subcommands and options of `evenkeel cluster` and `evenkeel arbiter`, and parses
//! their addresses and times.

use clap::{Arg, ArgAction, Command, value_parser};
use command::json;
use command::options::{flag, option};
use std::net::SocketAddr;
use std::path::PathBuf;

pub const LISTEN: &str = "[::]:7443";

pub fn cluster(command: Command) -> Command {
    command
        .about("Join two machines and an arbiter into a cluster, and show its status")
        .long_about(
            "Joins two traffic-carrying nodes and a small arbiter into one cluster. All nodes serve the same \
             configuration, and no partition can create two versions of it.\n\n`evenkeel config` changes the \
             configuration. `evenkeel run`, without files, runs each member.\n\nWithout a majority, \
             changes are frozen and all nodes continue to serve. Virtual addresses with `lease` are then released, \
             and volumes with two copies wait.",
        )
        .after_help(
            "Examples:\n  evenkeel cluster init north                 on the first machine\n  evenkeel \
             run                                on each machine, from then on\n  evenkeel cluster \
             invite                     on a member: prints a token for a node\n  evenkeel cluster join \
             EK1-…                 on the second machine\n  evenkeel cluster invite --arbiter           a token for \
             the arbiter\n  evenkeel arbiter join EK1-…                 on the third\n  evenkeel cluster \
             status                     members, leader, effect of each failure",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands([init(), invite(), join("another node"), status()])
        .subcommands([remove(), hand_over(), rotate(), renumber(), upgrade(), recover()])
}

pub fn arbiter(command: Command) -> Command {
    command
        .about("Make this machine the arbiter of a cluster")
        .long_about(
            "The arbiter votes and stores a copy of the log, so that a majority remains when one of the two nodes \
             fails. It carries no traffic and needs 20 MB of memory. It cannot decrypt the configurations that it \
             stores, so its disk reveals nothing.",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(join("the arbiter"))
}

fn state() -> Arg {
    option(
        "state",
        "DIRECTORY",
        "State directory: keys, log, last accepted version",
    )
    .value_parser(value_parser!(PathBuf))
    .default_value(cluster::role::directory::USUAL)
}

fn place(command: Command) -> Command {
    command
        .arg(
            option("name", "NAME", "Name of this machine in the cluster; default: its host name"),
        )
        .arg(
            option("listen", "ADDRESS:PORT", format!(
                    "Address and port to listen on for other members; default: {LISTEN}"
                )).value_parser(socket_address).action(ArgAction::Append),
        )
        .arg(
            flag("address-later", "Accept `--listen` addresses that this machine does not have yet"),
        )
        .arg(
            option("address", "ADDRESS:PORT", "Address under which other members reach this machine, best first; default: the listening \
                     addresses, or all addresses of the machine",).value_parser(socket_address).action(ArgAction::Append),
        )
        .arg(state())
        .arg(json::option())
}

fn init() -> Command {
    place(
        Command::new("init")
            .about("Create a cluster with this machine as its first node")
            .long_about(
                "Creates a cluster, and in the state directory the certificate authority by which members \
                 authenticate each other. Afterwards `evenkeel run` without files starts the member.",
            )
            .after_help(
                "Examples:\n  evenkeel cluster init north\n  evenkeel cluster init north --address 10.0.0.1:7443",
            )
            .arg(
                Arg::new("CLUSTER")
                    .required(true)
                    .help(
                        "Cluster name: 1 to 32 letters, digits and hyphens; it begins and ends with a letter or a \
                         digit",
                    ),
            ),
    )
}

fn invite() -> Command {
    Command::new("invite")
        .about("Print a token for a new member")
        .long_about(
            "Prints a token for one new member. It can be used once, until it expires (`--valid`). It contains the addresses of \
             members, the fingerprint of the cluster's CA and a secret. With it the new member verifies the cluster, \
             and the cluster verifies the new member.",
        )
        .after_help(
            "Examples:\n  evenkeel cluster invite\n  evenkeel cluster invite --arbiter --valid 1h\n  evenkeel \
             cluster invite --json | jq -r .token",
        )
        .arg(json::option())
        .arg(
            flag("arbiter", "Create a token for an arbiter instead of a node"),
        )
        .arg(
            option("valid", "TIME", "Validity of the token: 90s, 15m, 2h; at most one day").default_value("15m").value_parser(time),
        )
}

fn join(what: &'static str) -> Command {
    place(
        Command::new("join")
            .about(format!("Join a cluster as {what}, with a token"))
            .long_about(format!(
                "Joins as {what}, with a token printed by `evenkeel cluster invite` on a member. Afterwards `evenkeel \
                 run` without files starts the member."
            ))
            .arg(Arg::new("TOKEN").required(true).help("EK1-…")),
    )
}

fn status() -> Command {
    Command::new("status")
        .about("Show members, the leader, link health, and the effect of each member's failure")
        .arg(json::option())
}

fn remove() -> Command {
    json::order(Command::new("remove"))
        .about("Remove a member, reachable or not")
        .long_about(
            "Removes a member: it is no longer a voter, its certificate is refused, and stored contents get a new key \
             that it does not have. To replace a dead machine, remove it, then join the new one. To rejoin a removed \
             machine, delete its state directory and join with a new token.\n\nThe command is refused where the node \
             has the only complete copy of a volume, or is the only one on which a guest may run. It names them. Bring \
             the node back and let it resynchronise the other copy, or add `--yes`.",
        )
        .after_help("Example:\n  evenkeel cluster remove web2")
        .arg(Arg::new("NAME").required(true).help("Name of the member, as in status"))
        .arg(flag("yes", "Remove the member although volumes or guests are lost with it"))
}

fn hand_over() -> Command {
    json::order(Command::new("hand-over"))
        .about("Transfer leadership to another member, before maintenance")
        .long_about(
            "Transfers leadership without an interruption. Traffic does not depend on the leader. A member that is stopped \
             cleanly transfers leadership automatically.",
        )
        .arg(Arg::new("NAME").help("The new leader; default: the best candidate"))
}

fn rotate() -> Command {
    json::order(Command::new("rotate"))
        .about("Create a new key and certificate for this member, and a new key for stored contents")
        .long_about(
            "Creates a new key and certificate for this member, and a new key for stored contents.\n\n`--authority` \
             replaces the cluster's certificate authority (CA). Members trust the new CA beside the current one, each \
             member gets a certificate of it, then the old CA is dropped. Members that are away meanwhile reconnect \
             with their known key. The CA is also replaced automatically after a node was removed, because that node \
             knows the CA key, and long before the CA expires.",
        )
        .after_help("Examples:\n  evenkeel cluster rotate\n  evenkeel cluster rotate --authority")
        .arg(
            flag("authority", "Create a new CA, and certificates of it for all members"),
        )
}

fn upgrade() -> Command {
    Command::new("upgrade")
        .about("Switch this member to the installed program, one node at a time")
        .long_about(
            "Switches the running processes of this member to the program that is installed now. Run it on each \
             member after the installation; the package of Debian does so by itself.\n\nThe command waits until \
             all members are reachable and serve, no change is in progress and all volumes have two complete copies. \
             Then the cluster permits one node at a time to continue. Connections and guests stay. If the new program \
             fails, the previous one continues. At last the command waits until this member is complete again, and \
             names the next one.",
        )
        .after_help(
            "Examples:\n  evenkeel cluster upgrade --check      what it would wait for; changes nothing\n  evenkeel \
             cluster upgrade\n  evenkeel cluster upgrade --wait 1h    a resync takes long\n  evenkeel cluster \
             upgrade --json | jq -r .next[]",
        )
        .arg(json::option())
        .arg(flag("check", "Print what the upgrade would wait for, and exit with 1 if there is something"))
        .arg(
            option("wait", "TIME", "Longest wait for the cluster, and afterwards for this member: 90s, 15m, 2h; at most one day")
                .default_value("10m")
                .value_parser(time),
        )
        .arg(
            flag("yes", "Do not wait for the cluster, for example because the upgrade repairs it. While another node is \
                 being upgraded, it is refused, if there is a majority"),
        )
}

fn renumber() -> Command {
    json::order(Command::new("address"))
        .about("Change the addresses of this member, or where it reaches others")
        .long_about(
            "Changes the addresses by which the members reach each other. Stop `evenkeel run` here first. The machine \
             needs none of the old addresses, and the cluster needs no majority.\n\nThis member announces its new \
             addresses when it has a majority. If all members moved at once, none finds another by itself: run the \
             command on each of them, and name the new addresses of the others with `--member`.",
        )
        .after_help(
            "Examples:\n  evenkeel cluster address --listen 10.9.0.1:7443\n  evenkeel cluster address --listen \
             10.9.0.1:7443 --member beta=10.9.0.2:7443 --member tie=10.9.0.3:7443",
        )
        .arg(
            option("listen", "ADDRESS:PORT", "New address and port to listen on for other members")
                .value_parser(socket_address)
                .action(ArgAction::Append),
        )
        .arg(
            option("address", "ADDRESS:PORT", "New address under which other members reach this machine, best first; \
                     default: the new listening addresses, or all addresses of the machine")
                .value_parser(socket_address)
                .action(ArgAction::Append),
        )
        .arg(
            option("member", "NAME=ADDRESS:PORT", "New address of another member, until it has announced it itself")
                .value_parser(member_address)
                .action(ArgAction::Append),
        )
        .arg(state())
}

fn member_address(text: &str) -> Result<(String, std::net::SocketAddr), &'static str> {
    let (name, address) = text.split_once('=').ok_or("not NAME=ADDRESS:PORT")?;
    Ok((name.to_owned(), socket_address(address)?))
}

fn recover() -> Command {
    json::order(Command::new("recover"))
        .about("Continue alone after a permanent loss of the majority")
        .long_about(
            "Makes this machine the only member of the cluster, after a permanent loss of the majority. Stop \
             `evenkeel run` here first.\n\nChanges that the others agreed on without this machine are lost. If one of \
             the others returns with its old state, the cluster has two histories. Delete their state directories \
             before they start again, and let them join with a new token.",
        )
        .after_help("Example:\n  evenkeel cluster recover --alone --yes")
        .arg(
            flag("alone", "Continue with this machine alone").required(true),
        )
        .arg(
            flag("yes", "Confirm; without it, the command only explains what it would do"),
        )
        .arg(state())
}

fn socket_address(text: &str) -> Result<SocketAddr, &'static str> {
    let address = text.parse();
    address.map_err(|_| "not ADDRESS:PORT; write for example 10.0.0.1:7443")
}

const VALID_SECONDS_MAX: u64 = 86_400;

fn time(text: &str) -> Result<std::time::Duration, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number
        .parse()
        .map_err(|_| "not a duration; write for example 90s or 15m")?;
    let seconds = match unit {
        "s" => number,
        "m" => number.saturating_mul(60),
        "h" => number.saturating_mul(3600),
        _ => return Err("at most one day; write for example 15m or 2h".to_owned()),
    };
    match seconds {
        1..=VALID_SECONDS_MAX => Ok(std::time::Duration::from_secs(seconds)),
        0 => Err("the duration must be at least 1s".to_owned()),
        _ => Err("the duration must be at most one day".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn token_validity_needs_a_unit() {
        assert_eq!(time("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(time("15m"), Ok(Duration::from_secs(900)));
        assert_eq!(time("24h"), Ok(Duration::from_secs(86_400)));
        for wrong in ["", "15", "0s", "25h", "m", "99999999999999999999s"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn addresses_are_parsed_in_every_form() {
        let line =
            "cluster init north --name a --listen 10.0.0.1:7443 --listen [::1]:7443 --state /tmp/x";
        let matches = cluster(Command::new("cluster"))
            .try_get_matches_from(line.split(' '))
            .unwrap();
        let (_, init) = matches.subcommand().unwrap();
        assert_eq!(init.get_many::<SocketAddr>("listen").unwrap().len(), 2);
        assert!(
            cluster(Command::new("cluster"))
                .try_get_matches_from(["cluster", "recover"])
                .is_err()
        );
        assert!(
            arbiter(Command::new("arbiter"))
                .try_get_matches_from(["arbiter", "join"])
                .is_err()
        );
    }
}
