//! Implements `evenkeel cluster` and `evenkeel arbiter`: initialises a cluster, joins and renumbers
//! members by files of the state directory, and sends requests about members to the local control
//! role.

mod definition;
mod removal;
mod upgrade;

pub use definition::{arbiter, cluster};

use crate::connection::connect;
use clap::ArgMatches;
use cluster::member::MemberKind;
use cluster::request::{self, ControlReply, Request};
use cluster::role::directory::{LocalMember, StateDirectory};
use cluster::role::setup::{self, Renumbering, SetupOptions};
use cluster::role::status::ClusterStatus;
use command::json::{CommandResult, OutputFormat};
use command::{end, print, refuse, word};
use serde::Serialize;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

const ANSWER_LIMIT: Duration = Duration::from_secs(60);
const JOIN_LIMIT: Duration = Duration::from_secs(60);
const ADDRESSES_MAX: usize = 4;

pub fn main(matches: &ArgMatches) -> ExitCode {
    match matches.subcommand() {
        Some(("init", matches)) => end(init(matches)),
        Some(("join", matches)) => end(join(matches, MemberKind::Node)),
        Some(("invite", matches)) => invite(matches),
        Some(("status", matches)) => status(matches.get_flag("json")),
        Some(("remove", matches)) => remove(matches),
        Some(("hand-over", matches)) => ask(
            matches,
            &Request::HandOver {
                name: matches.get_one::<String>("NAME").cloned(),
            },
        ),
        Some(("rotate", matches)) => {
            let request = if matches.get_flag("authority") {
                Request::RotateAuthority
            } else {
                Request::Rotate
            };
            ask(matches, &request)
        }
        Some(("address", matches)) => end(renumber(matches)),
        Some(("upgrade", matches)) => upgrade::main(matches),
        Some(("recover", matches)) => recover(matches),
        _ => ExitCode::FAILURE,
    }
}

pub fn arbiter_main(matches: &ArgMatches) -> ExitCode {
    match matches.subcommand() {
        Some(("join", matches)) => end(join(matches, MemberKind::Arbiter)),
        _ => ExitCode::FAILURE,
    }
}

fn state(matches: &ArgMatches) -> PathBuf {
    let given = matches.get_one::<PathBuf>("state").cloned();
    given.unwrap_or_else(|| cluster::role::directory::USUAL.into())
}

fn place(matches: &ArgMatches) -> Result<SetupOptions, String> {
    let addresses = |name| -> Vec<SocketAddr> {
        let given = matches.get_many::<SocketAddr>(name);
        given.into_iter().flatten().copied().collect()
    };
    let mut listen = addresses("listen");
    if listen.is_empty() {
        listen.extend(definition::LISTEN.parse::<SocketAddr>());
    }
    // Skips the check for an existing member, for which the setup reports a more exact error.
    let member = StateDirectory::is_of_a_member(&state(matches));
    if !matches.get_flag("address-later") && !member {
        check_listen(&listen)?;
    }
    let name = match matches.get_one::<String>("name") {
        Some(name) => name.clone(),
        None => host_name()?,
    };
    let mut reached = addresses("address");
    if reached.is_empty() {
        reached = reached_at(&listen, &own_addresses());
    }
    if reached.is_empty() {
        return Err(
            "this machine has no address that others can reach: name one with `--address ADDRESS:PORT`".to_owned(),
        );
    }
    Ok(SetupOptions {
        directory: state(matches),
        name,
        listen,
        addresses: reached,
    })
}

fn check_listen(listen: &[SocketAddr]) -> Result<(), String> {
    for at in listen {
        let Err(error) = std::net::TcpListener::bind(at) else {
            continue;
        };
        return Err(match error.kind() {
            std::io::ErrorKind::AddrNotAvailable => format!(
                "this machine does not have the address {}: name one of its own addresses with `--listen`, or add \
                 `--address-later` if you configure it later",
                at.ip()
            ),
            std::io::ErrorKind::AddrInUse => format!(
                "another process already listens on {at}: stop it, or choose another port with `--listen`"
            ),
            _ => format!("cannot listen on {at}: {}", language::reason(&error)),
        });
    }
    Ok(())
}

fn host_name() -> Result<String, String> {
    let name = part::identity::host_name();
    let first = name.split('.').next().unwrap_or_default();
    if first.is_empty() {
        Err("this host has no name: set one with `--name NAME`".to_owned())
    } else {
        Ok(first.to_owned())
    }
}

/// Returns the addresses at which others reach these listeners: the listener's address, or for an
/// unspecified one the machine's own addresses (`own`), at most [`ADDRESSES_MAX`].
fn reached_at(listen: &[SocketAddr], own: &[IpAddr]) -> Vec<SocketAddr> {
    let mut reached = Vec::new();
    for at in listen {
        if !at.ip().is_unspecified() {
            reached.push(*at);
            continue;
        }
        let fits = |ip: &&IpAddr| at.is_ipv6() || ip.is_ipv4();
        reached.extend(
            own.iter()
                .filter(fits)
                .map(|ip| SocketAddr::new(*ip, at.port())),
        );
    }
    reached.dedup();
    reached.truncate(ADDRESSES_MAX);
    reached
}

/// Returns the addresses of this machine that others may reach, IPv4 first.
fn own_addresses() -> Vec<IpAddr> {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else {
        return Vec::new();
    };
    let addresses = interfaces.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|a| IpAddr::from(a.ip()));
        let ip = v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::from(a.ip())))?;
        may_be_reached(&ip).then_some(ip)
    });
    let mut addresses: Vec<IpAddr> = addresses.collect();
    addresses.sort_by_key(IpAddr::is_ipv6);
    addresses
}

fn may_be_reached(ip: &IpAddr) -> bool {
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !ip.is_loopback() && !ip.is_unspecified() && !link_local
}

fn init(matches: &ArgMatches) -> Result<String, String> {
    let place = place(matches)?;
    let identity = setup::found(&place, &word(matches, "CLUSTER"));
    let identity = identity.map_err(|error| error.to_string())?;
    let text = format!(
        "created cluster {}: {} is its first node, reachable at {}\nnext:\n  {}\n    starts it\n  evenkeel \
         cluster invite\n    prints a token for the second machine\n",
        identity.cluster,
        identity.name,
        list(&identity.addresses),
        run_words(&place.directory),
    );
    OutputFormat::of(matches).render(text, &Member::new(&identity, &place.directory))
}

/// This machine as a member after a change of its state directory, for `--json`.
#[derive(Serialize)]
struct Member<'i> {
    cluster: &'i str,
    name: &'i str,
    kind: MemberKind,
    listen: &'i [SocketAddr],
    addresses: &'i [SocketAddr],
    state: &'i Path,
}

impl<'i> Member<'i> {
    fn new(identity: &'i LocalMember, state: &'i Path) -> Member<'i> {
        Member {
            cluster: &identity.cluster,
            name: &identity.name,
            kind: identity.kind,
            listen: &identity.listen,
            addresses: &identity.addresses,
            state,
        }
    }
}

fn join(matches: &ArgMatches, kind: MemberKind) -> Result<String, String> {
    let place = place(matches)?;
    let identity = setup::join(&place, &word(matches, "TOKEN"), kind, JOIN_LIMIT);
    let identity = identity.map_err(|error| error.to_string())?;
    let what = match kind {
        MemberKind::Node => "node",
        MemberKind::Arbiter => "arbiter",
    };
    let text = format!(
        "joined the cluster {} as {what} '{}', reachable at {}\nnext: {}\n",
        identity.cluster,
        identity.name,
        list(&identity.addresses),
        run_words(&place.directory),
    );
    OutputFormat::of(matches).render(text, &Member::new(&identity, &place.directory))
}

fn renumber(matches: &ArgMatches) -> Result<String, String> {
    let directory = state(matches);
    let addresses = |name| -> Vec<SocketAddr> {
        let given = matches.get_many::<SocketAddr>(name);
        given.into_iter().flatten().copied().collect()
    };
    let (listen, mut reached) = (addresses("listen"), addresses("address"));
    if !listen.is_empty() && reached.is_empty() {
        reached = reached_at(&listen, &own_addresses());
    }
    let others = matches.get_many::<(String, SocketAddr)>("member");
    let new = Renumbering {
        listen,
        addresses: reached,
        others: others.into_iter().flatten().cloned().collect(),
    };
    if new == Renumbering::default() {
        return Err(
            "nothing to change: name new addresses with `--listen`, `--address` or `--member NAME=ADDRESS:PORT`"
                .to_owned(),
        );
    }
    // Accepts an address that this machine lacks, with a note: it may be added later.
    let absent = check_listen(&new.listen).err();
    let who = setup::renumber(&directory, &new).map_err(|error| error.to_string())?;
    let format = OutputFormat::of(matches);
    let text = format!(
        "{}: listens on {}, reached at {}\n",
        who.name,
        list(&who.listen),
        list(&who.addresses),
    );
    let absent = absent.map_or_else(String::new, |words| {
        format!("note: {words}. The member waits until it can listen there\n")
    });
    if format == OutputFormat::Json {
        format.note(&absent);
    }
    format.render(
        format!("{text}{absent}next: {}\n", run_words(&directory)),
        &Member::new(&who, &directory),
    )
}

fn run_words(directory: &Path) -> String {
    if directory == Path::new(cluster::role::directory::USUAL) {
        let unit = crate::unit();
        format!("evenkeel run (or: systemctl enable --now {unit})")
    } else {
        format!("evenkeel run --state {}", directory.display())
    }
}

fn list(addresses: &[SocketAddr]) -> String {
    let words: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
    words.join(", ")
}

fn invite(matches: &ArgMatches) -> ExitCode {
    let kind = if matches.get_flag("arbiter") {
        MemberKind::Arbiter
    } else {
        MemberKind::Node
    };
    let valid = matches.get_one::<Duration>("valid").copied();
    let valid = valid.unwrap_or(Duration::from_secs(900));
    let valid_ms = u64::try_from(valid.as_millis()).unwrap_or(u64::MAX);
    let request = Request::Invite { kind, valid_ms };
    let format = OutputFormat::of(matches);
    let token = match answer(&request, format) {
        Ok(ControlReply::Token { token, .. }) => token,
        Ok(reply) => return told(reply, format),
        Err(error) => return refuse(error),
    };
    let command = match kind {
        MemberKind::Arbiter => "arbiter",
        MemberKind::Node => "cluster",
    };
    let invitation = Invitation {
        command: format!("evenkeel {command} join {token}"),
        token,
        kind,
        valid_ms,
    };
    let text = format!(
        "{}\n\nRun this on the new machine within {}. The token works once.\n",
        invitation.command,
        within(valid_ms)
    );
    format.print_result(text, &invitation)
}

/// Result of `evenkeel cluster invite`, for `--json`.
#[derive(Serialize)]
struct Invitation {
    token: String,
    kind: MemberKind,
    valid_ms: u64,
    /// Command line for the new member.
    command: String,
}

/// Requests the removal of a member. Without `--yes`, refuses it if data or guests would be lost.
fn remove(matches: &ArgMatches) -> ExitCode {
    let name = word(matches, "NAME");
    if !matches.get_flag("yes")
        && let Ok(ControlReply::Json(text)) = answer(&Request::Status, OutputFormat::Text)
        && let Ok(status) = parse_status(&text)
        && let Err(words) = removal::check(&name, &status)
    {
        return refuse(words);
    }
    ask(matches, &Request::Remove { name })
}

fn recover(matches: &ArgMatches) -> ExitCode {
    let directory = state(matches);
    if !matches.get_flag("yes") {
        return refuse(format_args!(
            "nothing was changed. With `--yes` this machine becomes the only member (state directory {}). Changes \
             that the other members committed without it are lost. Never start another member again with its old \
             state directory. If the others can return, wait: the cluster resumes when a majority is reachable",
            directory.display()
        ));
    }
    match setup::recover_alone(&directory) {
        Ok(words) => {
            let text = format!("{words}\nnext: {}\n", run_words(&directory));
            OutputFormat::of(matches).print_result(text, &CommandResult { done: words })
        }
        Err(error) => refuse(error),
    }
}

fn status(json: bool) -> ExitCode {
    match answer(&Request::Status, OutputFormat::Text) {
        Ok(ControlReply::Json(text)) if json => print(&(text + "\n")),
        Ok(ControlReply::Json(text)) => match parse_status(&text) {
            Ok(status) => print(&status.text()),
            Err(words) => refuse(words),
        },
        Ok(reply) => told(reply, OutputFormat::Text),
        Err(error) => refuse(error),
    }
}

fn parse_status(text: &str) -> Result<ClusterStatus, String> {
    serde_json::from_str(text)
        .map_err(|error| format!("cannot parse the reply of the control role: {error}"))
}

fn ask(matches: &ArgMatches, request: &Request) -> ExitCode {
    let format = OutputFormat::of(matches);
    match answer(request, format) {
        Ok(reply) => told(reply, format),
        Err(error) => refuse(error),
    }
}

fn answer(request: &Request, format: OutputFormat) -> Result<ControlReply, request::AskError> {
    let mut client = connect()?;
    client.done(request, ANSWER_LIMIT, |words| {
        format.note(&format!("{words}\n"));
    })
}

fn told(reply: ControlReply, format: OutputFormat) -> ExitCode {
    match reply {
        ControlReply::Done { words, .. } => format.print_done(&format!("{words}\n")),
        ControlReply::Refused { words } => refuse(words),
        ControlReply::Unknown { words } => {
            refuse(words);
            ExitCode::from(crate::connection::UNKNOWN)
        }
        ControlReply::Json(text) => print(&(text + "\n")),
        ControlReply::Progress { .. } | ControlReply::Set(_) | ControlReply::Token { .. } => {
            refuse("unexpected reply of the control role")
        }
    }
}

fn within(ms: u64) -> String {
    let (count, unit) = match ms / 1000 {
        seconds if seconds > 0 && seconds.is_multiple_of(60) => (seconds / 60, "minute"),
        seconds => (seconds, "second"),
    };
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_validity_is_printed_to_the_second() {
        let told = |seconds: u64| within(seconds * 1000);
        assert_eq!(told(90), "90 seconds");
        assert_eq!(told(900), "15 minutes");
        assert_eq!(told(60), "1 minute");
        assert_eq!(told(1), "1 second");
        assert_eq!(told(7200), "120 minutes");
    }

    #[test]
    fn an_address_that_the_machine_does_not_have_is_refused() {
        let check = |at: &str| check_listen(&[at.parse().unwrap()]);
        assert_eq!(check("127.0.0.1:0"), Ok(()));
        assert_eq!(check("0.0.0.0:0"), Ok(()));
        let words = check("192.0.2.77:7443").unwrap_err();
        assert!(
            words.contains("does not have the address 192.0.2.77"),
            "{words}"
        );
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let words = check_listen(&[taken.local_addr().unwrap()]).unwrap_err();
        assert!(words.contains("another process already listens"), "{words}");
    }

    #[test]
    fn announced_addresses_are_the_listening_ones_or_all() {
        let own: Vec<IpAddr> = ["10.0.0.1", "fd00::1"].map(|ip| ip.parse().unwrap()).into();
        let reached = |listen: &str| {
            let listen: Vec<SocketAddr> = vec![listen.parse().unwrap()];
            list(&reached_at(&listen, &own))
        };
        assert_eq!(reached("192.168.7.1:99"), "192.168.7.1:99");
        assert_eq!(reached("0.0.0.0:7443"), "10.0.0.1:7443");
        assert_eq!(reached("[::]:7443"), "10.0.0.1:7443, [fd00::1]:7443");
        for wrong in ["127.0.0.1", "::1", "fe80::1", "169.254.1.1", "::"] {
            assert!(!may_be_reached(&wrong.parse().unwrap()), "{wrong}");
        }
    }
}
