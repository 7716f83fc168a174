//! Implements `evenkeel farm agent`: the agent of a session host with xrdp. It runs on that host,
//! and needs no role of evenkeel there.

use crate::agent::serve::{Options, PORT, run};
use crate::agent::show::Screens;
use access::network::IpPrefix;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use command::options::option;
use command::user_name;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

pub fn definition() -> Command {
    let allow = option(
        "allow",
        "ADDRESS",
        "Respond to this address, or this network (10.0.0.0/24); may be repeated",
    );
    Command::new("agent")
        .about("Run the agent of a session host with xrdp")
        .long_about(
            "Runs on a session host with xrdp, in the foreground, until it is stopped. It responds to farms \
             that have the option `agent-port` in the `host` line: it reports the users of the xrdp \
             sessions on this machine, and whether a client is connected to each. It shows the notice of a \
             drained host once in each session, with zenity, xmessage or notify-send. HAProxy can query it, \
             too (`agent-check`): it reports `up`, or `down` while xrdp-sesman does not run. Run it as \
             root: otherwise it cannot show notices in sessions of other users.",
        )
        .arg(allow.action(ArgAction::Append).required(true).value_parser(value_parser!(IpPrefix)))
        .arg(option("port", "PORT", format!("The port; the default is {PORT}"))
            .value_parser(value_parser!(u16).range(1..)))
        .arg(bind())
}

fn bind() -> Arg {
    let help = "Listen at this address only";
    option("bind", "ADDRESS", help).value_parser(value_parser!(IpAddr))
}

/// Runs the agent.
///
/// # Errors
/// Fails if it cannot listen.
pub fn main(matches: &ArgMatches) -> Result<String, String> {
    let port = matches.get_one("port").copied().unwrap_or(PORT);
    let ip = matches.get_one::<IpAddr>("bind").copied();
    let listen = SocketAddr::new(ip.unwrap_or(Ipv6Addr::UNSPECIFIED.into()), port);
    let allow = matches.get_many::<IpPrefix>("allow").into_iter().flatten();
    let options = Options {
        listen,
        allow: allow.copied().collect(),
        proc: PathBuf::from("/proc"),
        name_of: user_name,
        screens: Screens::default(),
    };
    let Err(error) = run(options);
    let why = language::reason(&error);
    Err(format!("cannot listen at {listen}: {why}"))
}
