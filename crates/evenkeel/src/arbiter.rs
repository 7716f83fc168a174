//! Runs the program of the package `evenkeel-arbiter`: the supervisor, the control role and the
//! commands of a cluster member that votes and serves nothing. The crate `arbiter` builds it with
//! the other parts left out: nothing here refers to them, so the linker drops their code.

use crate::command::{WantedError, already_running, local_member};
use crate::{PROXY_ENTRY, PROXY_PROPERTIES, control_role};
use ::command::{Subcommand, print, print_clap_error, refuse};
use clap::{Arg, ArgMatches, Command, value_parser};
use cluster::member::MemberKind;
use cluster::role::directory::USUAL;
use part::control::PART as CLUSTER;
use part::row::{self, Life, RoleRow};
use part::spawn;
use proxy::message::PART as PROXY;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use supervisor::{ClusterStart, StartParameters};

const ABOUT: &str = "The arbiter of an Evenkeel cluster, as a small program of its own";

const LONG_ABOUT: &str = "The arbiter votes and stores a copy of the log, so that a cluster keeps its majority when one of \
its two nodes fails. It carries no traffic and cannot decrypt the configurations that it stores.

This program is the arbiter alone. The nodes run the complete program, from the package evenkeel.";

const EXAMPLES: &str = "Examples:
  evenkeel arbiter join EK1-…       make this machine the arbiter, with a token of `cluster invite --arbiter`
  evenkeel run                      run it in the foreground, as the unit evenkeel-arbiter does
  evenkeel cluster status           show members, the leader, and the effect of each failure";

static CONTROL: RoleRow = RoleRow {
    part: CLUSTER,
    entry: control_role::ENTRY,
    main: control_role::arbiter_main,
    ready_limit: None,
    heartbeat_grace: control_role::HEARTBEAT_GRACE,
    message_recipients: &[],
    reads_reports: true,
    certified: false,
    life: Life::Governs(control_role::GOVERNS),
};

/// The primary role, for which the supervisor of every program has a slot. An arbiter never starts
/// it.
static PRIMARY: RoleRow = RoleRow {
    part: PROXY,
    entry: PROXY_ENTRY,
    main: |_| refuse(ServesNothing),
    ready_limit: Some(Duration::ZERO),
    heartbeat_grace: Duration::ZERO,
    message_recipients: &[],
    reads_reports: false,
    certified: false,
    life: Life::Serves(PROXY_PROPERTIES),
};

static COMMANDS: [Subcommand; 7] = [
    Subcommand::new("run", define_run, run),
    cluster_command::ARBITER,
    Subcommand::new("cluster", define_cluster, run_cluster),
    instance_command::RELOAD,
    instance_command::STATUS,
    instance_command::TRACE,
    Subcommand::new(
        "version",
        |command| command.about("Print the version"),
        |_| {
            print(&format!(
                "evenkeel {} (arbiter)\n",
                crate::identity::VERSION
            ))
        },
    ),
];

#[derive(Debug, thiserror::Error)]
#[error(
    "this program is an arbiter and serves nothing: on a node, install the package evenkeel instead of evenkeel-arbiter"
)]
struct ServesNothing;

#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error(transparent)]
    ServesNothing(#[from] ServesNothing),
    #[error(
        "this machine is not the arbiter of a cluster ({} contains no cluster state): run `evenkeel cluster invite \
         --arbiter` on a node, then `evenkeel arbiter join TOKEN` here", .0.display()
    )]
    NoMember(PathBuf),
    #[error(
        "this machine is the node '{0}' of a cluster, and this program is an arbiter: install the package evenkeel \
         instead of evenkeel-arbiter"
    )]
    Node(String),
    #[error(transparent)]
    Membership(WantedError),
    #[error("process {0} already runs this member")]
    Running(u32),
}

/// Runs the program: a command, or an internal process of a supervisor.
pub fn main() -> ExitCode {
    row::set(vec![&PRIMARY, &CONTROL]);
    cluster_command::set_unit("evenkeel-arbiter");
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    if words.first().is_some_and(|word| word == spawn::INTERNAL) {
        return internal(&words[1..]);
    }
    let words = std::iter::once(OsString::from("evenkeel")).chain(words);
    let matches = match definition().try_get_matches_from(words) {
        Ok(matches) => matches,
        Err(error) => return print_clap_error(&error),
    };
    let Some((name, matches)) = matches.subcommand() else {
        return ExitCode::FAILURE;
    };
    let command = COMMANDS.iter().find(|command| command.name == name);
    command.map_or(ExitCode::FAILURE, |command| (command.run)(matches))
}

fn internal(words: &[OsString]) -> ExitCode {
    if words == [spawn::SELF_TEST] {
        return print(&supervisor::self_test_words());
    }
    match spawn::enter(words) {
        Ok(entered) if entered.word == CONTROL.entry.argument => (CONTROL.main)(entered.channel),
        Ok(_) => refuse(ServesNothing),
        Err(error) => refuse(error),
    }
}

fn definition() -> Command {
    Command::new("evenkeel")
        .version(crate::identity::VERSION)
        .about(ABOUT)
        .long_about(LONG_ABOUT)
        .after_help(EXAMPLES)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .max_term_width(100)
        .subcommands(
            COMMANDS
                .iter()
                .map(|command| (command.define)(Command::new(command.name))),
        )
}

fn define_run(command: Command) -> Command {
    command
        .about("Run the arbiter, in the foreground")
        .long_about(
            "Runs the arbiter in the foreground until a signal ends it: INT (exit code 130), TERM or USR1 (0). This \
             process is a supervisor, which starts the control role as a child and restarts it when it dies.",
        )
        .arg(
            ::command::options::option("state", "DIRECTORY", "Directory with the cluster state")
                .value_parser(value_parser!(PathBuf))
                .default_value(USUAL),
        )
        // Accepted by the complete program; here only to say which one is needed.
        .arg(
            Arg::new("FILE")
                .short('f')
                .long("file")
                .num_args(1..)
                .hide(true),
        )
        .arg(Arg::new("FILES").num_args(1..).hide(true))
}

fn run(matches: &ArgMatches) -> ExitCode {
    let state = matches.get_one::<PathBuf>("state");
    let state = state.map_or(Path::new(USUAL), PathBuf::as_path);
    let serves_files = matches.contains_id("FILE") || matches.contains_id("FILES");
    let start = if serves_files {
        Err(ServesNothing.into())
    } else {
        membership(state)
    };
    match start {
        Ok(directory) => supervisor::main(StartParameters {
            paths: vec![directory.clone()],
            notify: true,
            cluster: Some(ClusterStart {
                directory,
                arbiter: true,
            }),
            ..StartParameters::default()
        }),
        Err(error) => refuse(error),
    }
}

/// Returns the absolute path of the state directory of an arbiter that no other process runs.
fn membership(state: &Path) -> Result<PathBuf, StartError> {
    let member = local_member(state).map_err(|error| match error {
        WantedError::Nothing(state) => StartError::NoMember(state),
        error => StartError::Membership(error),
    })?;
    if member.kind != MemberKind::Arbiter {
        return Err(StartError::Node(member.name));
    }
    let paths = ::command::instance::absolute(&[state.to_owned()]);
    if !supervisor::is_next_image()
        && let Some(pid) = already_running(&paths)
    {
        return Err(StartError::Running(pid));
    }
    Ok(paths.into_iter().next().unwrap_or_default())
}

/// Defines `evenkeel cluster` without what makes this machine a node.
fn define_cluster(command: Command) -> Command {
    let hide = |command: Command| command.hide(true);
    (cluster_command::CLUSTER.define)(command)
        .about("Show the status of the cluster, and change its members")
        .long_about(None)
        .after_help("Examples:\n  evenkeel cluster status\n  evenkeel cluster invite")
        .mut_subcommand("init", hide)
        .mut_subcommand("join", hide)
}

fn run_cluster(matches: &ArgMatches) -> ExitCode {
    match matches.subcommand_name() {
        Some("init" | "join") => refuse(ServesNothing),
        _ => (cluster_command::CLUSTER.run)(matches),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_definition_is_sound() {
        definition().debug_assert();
    }

    #[test]
    fn man_page_describes_every_command() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let page = fs::read_to_string(root.join("packaging/man/evenkeel-arbiter.1")).unwrap();
        for command in definition().get_subcommands() {
            let visible: Vec<&Command> = command
                .get_subcommands()
                .filter(|one| !one.is_hide_set())
                .collect();
            let name = command.get_name();
            let mut lines: Vec<String> = visible
                .iter()
                .map(|one| format!(".B evenkeel {name} {}", one.get_name()))
                .collect();
            if lines.is_empty() {
                lines.push(format!(".B evenkeel {name}"));
            }
            for line in lines {
                let is_start =
                    |of_page: &str| of_page == line || of_page.starts_with(&format!("{line} "));
                assert!(page.lines().any(is_start), "no line `{line}`");
            }
        }
    }

    #[test]
    fn directory_without_an_arbiter_is_refused() {
        let name = format!("evenkeel-arbiter-{}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        let error = membership(&directory).unwrap_err().to_string();
        assert!(error.contains("evenkeel arbiter join TOKEN"), "{error}");
    }
}
