//! Implements `evenkeel farm`, which shows remote desktops, their hosts and users, and which host
//! each user got, and sends operators' orders about them.

mod agent;

use crate::keyword::NAME as PART;
use crate::message::{
    OperatorMessage as OfFarm, Session, SessionState, Sessions, UserHistoryResponse,
};
use clap::{Arg, ArgMatches, Command};
use command::instance;
use command::json::{self, OutputFormat, end_order};
use command::options::{option, process_id, serving_files};
use command::status::{ask_part, sections};
use command::{Subcommand, end, word};
use part::report::{Grade, Moment, StatusReport, Subject, span};
use serde::de::DeserializeOwned;
use std::fmt::Write;
use std::process::ExitCode;
use supervisor::directory::Instance;

pub static COMMANDS: [Subcommand; 1] = [Subcommand::new("farm", definition, main)];

fn host() -> Arg {
    let help = "The host: its name, or FARM/HOST where several farms have the name";
    Arg::new("HOST").required(true).help(help)
}

pub fn definition(command: Command) -> Command {
    command
        .about("Show remote desktops, drain session hosts and disconnect users")
        .long_about(
            "Shows the farms of `farm` sections of a running `evenkeel run` of the same user, their hosts and users, and \
             which host each user got and why.",
        )
        .after_help(
            "Examples:\n  evenkeel farm list\n  evenkeel farm sessions\n  evenkeel farm why anna\n  evenkeel farm drain ts1\n  \
             evenkeel farm ready ts1\n  evenkeel farm disconnect anna",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .arg(serving_files().num_args(1).global(true))
        .arg(process_id().global(true))
        .subcommands([
            Command::new("list")
                .about("Show the farms and their hosts: states, users and counters")
                .arg(Arg::new("FARM").help("Only this one: the name of its section"))
                .arg(json::option()),
            Command::new("sessions")
                .about("Show the users: their hosts, and where their clients are")
                .long_about(
                    "Shows each user that a farm knows. A disconnected session is kept at its host until \
                     `keep-sessions` has passed; a pending logon was routed to its host and has not \
                     connected yet. `no session seen`: the connection has ended, and the agent of the host \
                     has reported no session of the user. On a cluster it shows those of all nodes: `node` \
                     carries the connection, and shows where the client is. `agent` is how the agent of the \
                     host reports the session, if it does.",
                )
                .arg(json::option()),
            json::order(Command::new("drain"))
                .about("Give a host no new users")
                .long_about(
                    "Users with a session there return to it. The drain lasts until `ready`, also after a \
                     restart of the role, and on all nodes of a cluster; the option `drain` of a `host` \
                     line is permanent.",
                )
                .arg(host()),
            json::order(Command::new("ready"))
                .about("End a drain")
                .arg(host()),
            json::order(Command::new("disconnect"))
                .about("End the connections of a user; the session stays at its host")
                .long_about(
                    "Ends the connections that a farm carries for the user, and the user's tunnels of the gateway to hosts, \
                     on all nodes of a cluster. The session is disconnected, not ended: a later logon \
                     returns to it. The user is not locked out.",
                )
                .arg(Arg::new("USER").required(true).help("The user, with or without the domain"))
                .arg(option("host", "HOST", "Only connections to this host, or FARM/HOST")),
            Command::new("why")
                .about("Show which host a user got and why, and which one a logon would get now")
                .arg(Arg::new("USER").required(true).help("The user, with or without the domain"))
                .arg(json::option()),
            agent::definition(),
        ])
}

pub fn main(matches: &ArgMatches) -> ExitCode {
    let done = match matches.subcommand() {
        Some(("list", matches)) => sections(matches, PART, "FARM"),
        Some(("sessions", matches)) => sessions(matches),
        Some(("drain", matches)) => return end_order(matches, drain(matches, true)),
        Some(("ready", matches)) => return end_order(matches, drain(matches, false)),
        Some(("disconnect", matches)) => return end_order(matches, disconnect(matches)),
        Some(("why", matches)) => why(matches),
        Some(("agent", matches)) => agent::main(matches),
        _ => return ExitCode::FAILURE,
    };
    end(done)
}

fn query_farm_role<T: DeserializeOwned>(
    instance: &Instance,
    message: &OfFarm,
) -> Result<T, String> {
    ask_part(instance, message.envelope())
}

fn sessions(matches: &ArgMatches) -> Result<String, String> {
    let instance = instance::selected(matches)?;
    let all: Sessions = query_farm_role(&instance, &OfFarm::Sessions {})?;
    if matches.get_flag("json") {
        return list_json(&all);
    }
    if all.sessions.is_empty() {
        return Ok("no user has logged on yet\n".to_owned());
    }
    let report = StatusReport {
        subjects: all.sessions.iter().map(row).collect(),
        ..StatusReport::default()
    };
    let has_collections = all.sessions.iter().any(|one| !one.collections.is_empty());
    let columns: &[&str] = if has_collections {
        &[
            "host",
            "collections",
            "farm",
            "node",
            "client",
            "agent",
            "for",
            "kept for",
        ]
    } else {
        &["host", "farm", "node", "client", "agent", "for", "kept for"]
    };
    let mut text = report.table("session", columns);
    if all.more > 0 {
        // Ignores the result: writing to memory cannot fail.
        let _ = writeln!(text, "and {} more", all.more);
    }
    Ok(text)
}

fn row(one: &Session) -> Subject {
    let name = Some(one.user.as_str()).filter(|name| !name.is_empty());
    let grade = match one.state {
        SessionState::Connected => Grade::Good,
        SessionState::Pending => Grade::Busy,
        SessionState::Disconnected | SessionState::Unseen | SessionState::Unknown => Grade::Standby,
    };
    let joined = |all: &[String]| {
        if all.is_empty() {
            "-".to_owned()
        } else {
            all.join(", ")
        }
    };
    Subject::new("session", name.unwrap_or("-"))
        .state(one.state.words(), grade)
        .fact("host", one.host.clone())
        .fact("farm", one.farm.clone())
        .fact("node", joined(&one.nodes))
        .fact("client", joined(&one.from))
        .fact(
            "agent",
            Some(&one.agent)
                .filter(|state| !state.is_empty())
                .map_or("-", |state| state),
        )
        .fact("collections", one.collections.join(" and "))
        .fact("for", span(one.since_ms))
        .fact("kept for", one.left_ms.map_or("-".to_owned(), span))
}

fn list_json(all: &Sessions) -> Result<String, String> {
    let sessions: Vec<serde_json::Value> = all.sessions.iter()
        .map(|one| {
            serde_json::json!({
                "farm": one.farm, "user": one.user, "host": one.host, "state": one.state, "nodes": one.nodes,
                "clients": one.from, "collections": one.collections,
                "agent": Some(&one.agent).filter(|state| !state.is_empty()), "since_ms": one.since_ms, "kept_ms": one.left_ms,
            })
        })
        .collect();
    let text = serde_json::to_string_pretty(
        &serde_json::json!({ "sessions": sessions, "more": all.more }),
    );
    text.map(|text| text + "\n")
        .map_err(|error| error.to_string())
}

fn drain(matches: &ArgMatches, is_drained: bool) -> Result<String, String> {
    let host = word(matches, "HOST");
    order(matches, &OfFarm::Drain { host, is_drained })
}

fn disconnect(matches: &ArgMatches) -> Result<String, String> {
    let [user, host] = ["USER", "host"].map(|name| word(matches, name));
    order(matches, &OfFarm::Disconnect { user, host })
}

fn order(matches: &ArgMatches, message: &OfFarm) -> Result<String, String> {
    let instance = instance::selected(matches)?;
    Ok(command::status::order(&instance, message.envelope())? + "\n")
}

fn why(matches: &ArgMatches) -> Result<String, String> {
    let instance = instance::selected(matches)?;
    let user = word(matches, "USER");
    let asked: UserHistoryResponse =
        query_farm_role(&instance, &OfFarm::Why { user: user.clone() })?;
    if asked.farms.is_empty() {
        return Err(format!("no farm has seen '{user}' since this role began"));
    }
    if OutputFormat::of(matches) == OutputFormat::Json {
        return json::line(&asked);
    }
    let now = Moment::now().boottime_ms;
    let mut text = String::new();
    for one in &asked.farms {
        // Ignores the results: writing to memory cannot fail.
        let _ = writeln!(text, "{} in farm {}", one.user, one.farm);
        let _ = writeln!(text, "a logon now: {}", one.next);
        for of_it in &one.collections {
            let on = if of_it.hosts.is_empty() {
                "all hosts".to_owned()
            } else {
                of_it.hosts.join(", ")
            };
            let starts = of_it.starts.join(", ");
            let _ = writeln!(text, "{starts} (on {on}) now: {}", of_it.next);
        }
        if !one.agent.is_empty() {
            let _ = writeln!(text, "{}", one.agent);
        }
        for step in &one.steps {
            let ago = format!("{} ago", span(now.saturating_sub(step.at.boottime_ms)));
            let at = match step.node.as_str() {
                "" => String::new(),
                node => format!(" at {node}"),
            };
            let _ = writeln!(
                text,
                "{ago:>12}  {} from {}{at} -> {}",
                step.asked, step.from, step.got
            );
            if !step.why.is_empty() {
                let _ = writeln!(text, "{:>12}  {}", "", step.why);
            }
        }
    }
    Ok(text)
}
