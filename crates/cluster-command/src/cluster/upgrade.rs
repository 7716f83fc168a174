//! Implements `evenkeel cluster upgrade`: switches this member to the installed program while the
//! other members serve, and names the member that is next.
//!
//! The command waits until the cluster can do without this member for a moment, obtains the
//! permission of the cluster, which one node at a time has, and reloads. It returns the permission
//! when this member is complete again. If that does not happen in time, the permission remains, so
//! that the other node is not upgraded meanwhile.

mod check;
mod installed;

use check::{Obstacle, UpgradeFacts};
use clap::ArgMatches;
use cluster::request::{ControlReply, Request};
use command::json::OutputFormat;
use command::{instance, refuse, status};
use installed::InstalledProgram;
use part::identity::VERSION;
use part::report::{StatusReport, Subject};
use part::status::{RoleReport, RoleState, VolumeReport};
use serde::Serialize;
use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use supervisor::directory::Instance;

const POLL: Duration = Duration::from_millis(500);
/// Part that reports the volumes of a node.
const VOLUMES: &str = "volume";

pub fn main(matches: &ArgMatches) -> ExitCode {
    let upgrade = MemberUpgrade::new(matches);
    let done = upgrade.and_then(|upgrade| {
        if matches.get_flag("check") {
            upgrade.check()
        } else {
            upgrade.run()
        }
    });
    match done {
        Ok(exit) => exit,
        Err(words) => refuse(words),
    }
}

struct MemberUpgrade {
    instance: Instance,
    format: OutputFormat,
    /// Longest wait for the cluster before the reload, and for this member after it.
    limit: Duration,
    ignores_obstacles: bool,
}

/// Result of the command, for `--json`.
#[derive(Serialize)]
struct UpgradeResult<'s> {
    member: &'s str,
    /// Version of the program that this member runs now.
    version: &'static str,
    /// Members that report another version, in the order in which to upgrade them.
    next: Vec<&'s str>,
}

/// Result of `--check`, for `--json`.
#[derive(Serialize)]
struct UpgradeCheck<'s> {
    member: &'s str,
    version: &'static str,
    /// True if a process of this member runs another program than the installed one.
    is_needed: bool,
    obstacles: Vec<ObstacleRow>,
}

#[derive(Serialize)]
struct ObstacleRow {
    #[serde(flatten)]
    obstacle: Obstacle,
    text: String,
}

impl MemberUpgrade {
    fn new(matches: &ArgMatches) -> Result<MemberUpgrade, String> {
        let instance = instance::find_instance(&[], None)?;
        InstalledProgram::of(instance.pid)?.require_this_command()?;
        Ok(MemberUpgrade {
            instance,
            format: OutputFormat::of(matches),
            limit: matches.get_one("wait").copied().unwrap_or_default(),
            ignores_obstacles: matches.get_flag("yes"),
        })
    }

    /// Reports what an upgrade would wait for. Fails if there is something.
    fn check(&self) -> Result<ExitCode, String> {
        let facts = self.facts()?;
        let status = &facts.status;
        let obstacles = facts.obstacles(VERSION);
        let mut text = check::member_table(status);
        let is_needed = facts.is_old();
        text.push_str(if is_needed {
            "this member runs a previous program, and a newer one is installed\n"
        } else {
            "this member runs the installed program\n"
        });
        for obstacle in &obstacles {
            text.push_str(&format!("not now: {obstacle}\n"));
        }
        let is_possible = obstacles.is_empty();
        let row = |obstacle: Obstacle| ObstacleRow {
            text: obstacle.to_string(),
            obstacle,
        };
        let result = UpgradeCheck {
            member: &status.name_of(status.me),
            version: VERSION,
            is_needed,
            obstacles: obstacles.into_iter().map(row).collect(),
        };
        let printed = self.format.print_result(text, &result);
        Ok(if is_possible {
            printed
        } else {
            ExitCode::FAILURE
        })
    }

    fn run(&self) -> Result<ExitCode, String> {
        let facts = self.facts()?;
        if facts.is_old() {
            if !self.ignores_obstacles {
                self.wait_for_the_cluster()?;
            } else if facts.status.majority {
                self.begin()?;
            }
            self.reload()?;
        }
        let facts = self.wait_for_this_member()?;
        if facts.has_permission() {
            self.request(&Request::EndUpgrade)?;
        }
        let status = &facts.status;
        let me = status.name_of(status.me);
        let next = check::others_to_upgrade(status, VERSION);
        let mut text = format!("{me} runs evenkeel {VERSION} and is complete\n");
        text.push_str(&match next.first() {
            Some(name) => format!(
                "next: {name}; install the program there, and run `evenkeel cluster upgrade` there\n"
            ),
            None => format!("all members that are reachable run evenkeel {VERSION}\n"),
        });
        let result = UpgradeResult {
            member: &me,
            version: VERSION,
            next,
        };
        Ok(self.format.print_result(text, &result))
    }

    /// Waits until nothing speaks against the upgrade, and obtains the permission.
    fn wait_for_the_cluster(&self) -> Result<(), String> {
        let mut waiting = Waiting::new(self.limit, self.format);
        loop {
            let obstacles = self.facts()?.obstacles(VERSION);
            if let Some(words) = check::list(&obstacles) {
                waiting.next(&words)?;
                continue;
            }
            if let Err(words) = self.begin() {
                waiting.next(&words)?;
                continue;
            }
            // The cluster may have changed before the permission was granted.
            let obstacles = self.facts()?.obstacles(VERSION);
            let Some(words) = check::list(&obstacles) else {
                return Ok(());
            };
            self.request(&Request::EndUpgrade)?;
            waiting.next(&words)?;
        }
    }

    fn begin(&self) -> Result<(), String> {
        self.request(&Request::BeginUpgrade).map(drop)
    }

    fn reload(&self) -> Result<(), String> {
        self.format.note(&format!(
            "switching this member to evenkeel {VERSION}; clients notice nothing\n"
        ));
        let reloaded = status::reload(&self.instance, false);
        let failure = match reloaded {
            Ok(reloaded) => {
                // An error means that standard error is closed.
                let _ = std::io::stderr().write_all(reloaded.text.as_bytes());
                if reloaded.exit == 0 {
                    return Ok(());
                }
                "the new program was refused, and the previous one continues".to_owned()
            }
            Err(words) => words,
        };
        // Nothing was replaced: other nodes need not wait. If this fails, the permission ends by itself.
        let _ = self.request(&Request::EndUpgrade);
        Err(failure)
    }

    /// Waits until all processes of this member run the installed program, and the cluster is as
    /// complete as before.
    fn wait_for_this_member(&self) -> Result<UpgradeFacts, String> {
        let mut waiting = Waiting::new(self.limit, self.format);
        loop {
            // The control role and the supervisor do not respond while they are replaced.
            let words = match self.facts() {
                Ok(facts) => {
                    let missing = if self.ignores_obstacles {
                        facts.missing_here()
                    } else {
                        facts.missing()
                    };
                    match check::list(&missing) {
                        None => return Ok(facts),
                        Some(words) => words,
                    }
                }
                Err(words) => words,
            };
            waiting.next(&words).map_err(|words| {
                format!(
                    "{words}\nThis member runs, but it is not complete: upgrade no other one before `evenkeel cluster \
                     upgrade` succeeds here"
                )
            })?;
        }
    }

    /// Collects what the checks need.
    fn facts(&self) -> Result<UpgradeFacts, String> {
        let reply = self.request(&Request::Status)?;
        let ControlReply::Json(text) = reply else {
            return Err("unexpected reply of the control role".to_owned());
        };
        let status = super::parse_status(&text)?;
        let [supervisor, volumes] = status::reports(&self.instance, [supervisor::PART, VOLUMES]);
        let supervisor = supervisor.map_err(|error| error.to_string())?;
        let installed = InstalledProgram::of(self.instance.pid)?;
        let volumes = match volumes {
            Ok(report) => Some(subjects(&report, part::status::VOLUME, VolumeReport::of)),
            Err(error) if error.is_missing() => None,
            // The served version has no volumes, or this program has no such part.
            Err(_) => Some(Vec::new()),
        };
        let roles = subjects(&supervisor, part::status::ROLE, RoleReport::of);
        let is_old = |role: &RoleReport| {
            role.process
                .is_some_and(|process| !installed.runs_as(process))
        };
        Ok(UpgradeFacts {
            old_roles: roles
                .iter()
                .filter(|(_, role)| is_old(role))
                .map(|(name, _)| name.clone())
                .collect(),
            waiting_roles: roles
                .into_iter()
                .filter(|(_, role)| is_waiting(role.state))
                .map(|(name, _)| name)
                .collect(),
            is_supervisor_old: !installed.runs_as(self.instance.pid),
            status,
            volumes,
        })
    }

    /// Sends a request to the control role, and returns its reply.
    fn request(&self, request: &Request) -> Result<ControlReply, String> {
        let reply = super::answer(request, self.format);
        match reply.map_err(|error| error.to_string())? {
            ControlReply::Refused { words } | ControlReply::Unknown { words } => Err(words),
            reply => Ok(reply),
        }
    }
}

fn is_waiting(state: RoleState) -> bool {
    match state {
        RoleState::Starting | RoleState::Paused | RoleState::Stopping | RoleState::Restarting => {
            true
        }
        // A role that is not started has no configuration to serve.
        RoleState::Running | RoleState::NotStarted | RoleState::Unknown => false,
    }
}

/// Returns the names and statuses of all subjects of a kind.
fn subjects<T>(report: &StatusReport, kind: &str, of: impl Fn(&Subject) -> T) -> Vec<(String, T)> {
    let subjects = report.subjects.iter().filter(|one| one.kind == kind);
    subjects.map(|one| (one.name.clone(), of(one))).collect()
}

/// Waits in steps until a limit, and prints each new reason once.
struct Waiting {
    until: Instant,
    format: OutputFormat,
    printed: String,
}

impl Waiting {
    fn new(limit: Duration, format: OutputFormat) -> Waiting {
        Waiting {
            until: Instant::now() + limit,
            format,
            printed: String::new(),
        }
    }

    /// Waits for a step.
    ///
    /// # Errors
    /// The limit is reached: returns the reason.
    fn next(&mut self, words: &str) -> Result<(), String> {
        if Instant::now() >= self.until {
            return Err(words.to_owned());
        }
        if self.printed != words {
            self.format.note(&format!("waiting: {words}\n"));
            words.clone_into(&mut self.printed);
        }
        std::thread::sleep(POLL);
        Ok(())
    }
}
