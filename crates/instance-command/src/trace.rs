//! Implements `evenkeel trace`: prints the events in the rings of the processes, once or
//! continuously, and sets their levels for some time.

use clap::{Arg, ArgMatches, Command};
use command::options::{flag, option, process_id, serving_files};
use command::status::{self, ANSWER_LIMIT};
use command::{instance, refuse};
use jiff::SignedDuration;
use jiff::tz::TimeZone;
use part::role::{SupervisorMessage, TraceRequest, TracedRole};
use part::trace::{LogLevels, RingContents, TEMPORARY_MAX, TraceRecord};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};
use supervisor::directory::Instance;

const FOLLOW_POLL: Duration = Duration::from_millis(250);
const ROLES_POLL: Duration = Duration::from_secs(2);
const FOR_DEFAULT: &str = "10m";

pub fn definition(command: Command) -> Command {
    command
        .about("Show what the processes have decided, and set the levels of their events")
        .long_about(
            "Shows the trace events of a running `evenkeel run`, `haproxy -W` or `keepalived` of the same user: what its \
             processes decided, when and why, as time, role, process, level, target (module of the program), message and \
             fields. Each role keeps its newest events in 256 KiB of memory, also after its process died. `evenkeel \
             support` saves them.\n\n`--level` sets other levels than the line `log-level` of the configuration, for the \
             time of `--for`; then they fall back by themselves. Levels are off, error, warn, info, debug and trace. The \
             field `op` is the id of an operation, such as a new version: with `--op` only the events of that operation \
             are shown, also those of other roles.",
        )
        .after_help(
            "Examples:\n  evenkeel trace\n  evenkeel trace volume --follow\n  \
             evenkeel trace --level cluster=debug,volume=debug --for 10m --follow\n  \
             evenkeel trace --op 7f3a9c --json | jq .fields\n  evenkeel trace --level info --for 0s",
        )
        .arg(Arg::new("ROLE").help(
            "Only this role: supervisor, loader or a part such as proxy, cluster or volume; default: all",
        ))
        .arg(serving_files().num_args(1))
        .arg(process_id())
        .arg(
            option("level", "LEVELS", "Set these levels for some time, such as cluster=debug")
                .value_parser(|text: &str| LogLevels::parse(text)),
        )
        .arg(
            option("for", "TIME", "Time for which the levels hold; 0s ends those that were set")
                .default_value(FOR_DEFAULT)
                .value_parser(time)
                .requires("level"),
        )
        .arg(flag("follow", "Continue with new events until interrupted"))
        .arg(option("op", "ID", "Only events of this operation"))
        .arg(flag("json", "Print one JSON object per line"))
}

fn time(text: &str) -> Result<Duration, String> {
    let time: Result<SignedDuration, _> = text.parse();
    let time = time.ok().and_then(|time| Duration::try_from(time).ok());
    let hours = TEMPORARY_MAX.as_secs() / 3_600;
    time.filter(|time| *time <= TEMPORARY_MAX)
        .ok_or_else(|| format!("a time such as 30s, 10m or 2h is expected, at most {hours}h"))
}

pub struct RoleEvents {
    pub role: TracedRole,
    ring: OwnedFd,
    position: Option<u64>,
    newest: Option<u64>,
}

pub struct RoleEvent {
    pub role: String,
    pub record: TraceRecord,
}

/// Requests the rings of all roles from the supervisor, which also sets the levels in the request.
///
/// # Errors
/// Returns why there is no response.
pub fn request(instance: &Instance, request: TraceRequest) -> Result<Vec<RoleEvents>, String> {
    let message = SupervisorMessage::TraceEvents(Box::new(request));
    let answer = status::ask(instance, &message, ANSWER_LIMIT);
    let answer = answer.map_err(|error| error.to_string())?;
    let SupervisorMessage::TracedRoles(response) = answer.message else {
        return Err(status::not_known(instance));
    };
    let roles = response.roles.into_iter().zip(answer.descriptors);
    Ok(roles
        .map(|(role, ring)| RoleEvents {
            role,
            ring,
            position: None,
            newest: None,
        })
        .collect())
}

impl RoleEvents {
    /// Returns the contents of the ring.
    ///
    /// # Errors
    /// The memory cannot be read.
    pub fn contents(&self) -> io::Result<RingContents> {
        RingContents::read(&self.ring)
    }

    fn new_events(&mut self) -> Vec<RoleEvent> {
        let position = RingContents::position(&self.ring).ok();
        if self.position.is_some() && self.position == position {
            return Vec::new();
        }
        self.position = position;
        let Ok(contents) = self.contents() else {
            return Vec::new();
        };
        let newest = self.newest;
        let new = contents.records.into_iter();
        let new: Vec<_> = new
            .filter(|one| newest.is_none_or(|newest| one.number > newest))
            .collect();
        self.newest = new.last().map(|one| one.number).or(newest);
        new.into_iter()
            .map(|one| RoleEvent {
                role: self.role.role.clone(),
                record: one.record,
            })
            .collect()
    }
}

pub fn main(matches: &ArgMatches) -> ExitCode {
    let shown = instance::selected(matches).and_then(|instance| show(&instance, matches));
    match shown {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => refuse(error),
    }
}

fn show(instance: &Instance, matches: &ArgMatches) -> Result<(), String> {
    let role = matches.get_one::<String>("ROLE");
    let levels = matches.get_one::<LogLevels>("level");
    let time = matches
        .get_one::<Duration>("for")
        .copied()
        .unwrap_or_default();
    let all = request(
        instance,
        TraceRequest {
            role: role.cloned().unwrap_or_default(),
            levels: levels.map(LogLevels::to_string),
            for_ms: u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
        },
    )?;
    let is_wanted = |one: &RoleEvents| role.is_none_or(|role| one.role.role == *role);
    if let Some(role) = role
        && !all.iter().any(is_wanted)
    {
        let known: Vec<&str> = all.iter().map(|one| one.role.role.as_str()).collect();
        return Err(format!(
            "role '{role}' has not run; roles with events: {}",
            known.join(", ")
        ));
    }
    if levels.is_some() {
        report_levels(all.iter().filter(|one| is_wanted(one)));
    }
    let printer = Printer {
        zone: TimeZone::system(),
        is_json: matches.get_flag("json"),
        operation: matches.get_one::<String>("op").cloned(),
    };
    let mut roles: BTreeMap<String, RoleEvents> = all
        .into_iter()
        .filter(|one| is_wanted(one))
        .map(|one| (one.role.role.clone(), one))
        .collect();
    let events = new_events(&mut roles);
    let is_found = events.iter().any(|event| printer.shows(event));
    if !printer.print(events) {
        return Ok(());
    }
    if !matches.get_flag("follow") {
        return match &printer.operation {
            Some(operation) if !is_found => Err(format!(
                "no event of the operation '{operation}' is left here; `evenkeel trace` shows all events with their `op`"
            )),
            _ => Ok(()),
        };
    }
    let mut roles_due = Instant::now() + ROLES_POLL;
    loop {
        thread::sleep(FOLLOW_POLL);
        if roles_due <= Instant::now() {
            roles_due = Instant::now() + ROLES_POLL;
            // While the supervisor does not respond, the known rings are still read.
            let found = request(instance, TraceRequest::default()).unwrap_or_default();
            for one in found.into_iter().filter(is_wanted) {
                roles.entry(one.role.role.clone()).or_insert(one);
            }
        }
        if !printer.print(new_events(&mut roles)) {
            return Ok(());
        }
    }
}

fn report_levels<'r>(roles: impl Iterator<Item = &'r RoleEvents>) {
    let mut lines: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for RoleEvents { role, .. } in roles {
        let until = match role.left_ms {
            Some(left) if left > 0 => format!(" for {} s", left.div_ceil(1_000)),
            _ => String::new(),
        };
        let line = format!("{}{until}", role.levels);
        lines.entry(line).or_default().push(&role.role);
    }
    for (levels, roles) in lines {
        eprintln!("evenkeel: levels {levels}: {}", roles.join(", "));
    }
}

/// Returns the new events of all roles, oldest first.
fn new_events(roles: &mut BTreeMap<String, RoleEvents>) -> Vec<RoleEvent> {
    let mut events: Vec<RoleEvent> = roles
        .values_mut()
        .flat_map(RoleEvents::new_events)
        .collect();
    events.sort_by_key(|event| event.record.time_us);
    events
}

struct Printer {
    zone: TimeZone,
    is_json: bool,
    operation: Option<String>,
}

impl Printer {
    fn shows(&self, event: &RoleEvent) -> bool {
        let operation = self.operation.as_deref();
        operation.is_none() || event.record.operation() == operation
    }

    /// Returns false if standard output is closed.
    fn print(&self, events: Vec<RoleEvent>) -> bool {
        let mut text = String::new();
        for event in events.into_iter().filter(|event| self.shows(event)) {
            text += &if self.is_json {
                event.record.json(&event.role).to_string()
            } else {
                event.record.line(&event.role, &self.zone)
            };
            text.push('\n');
        }
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())
            .and_then(|()| out.flush())
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<ArgMatches, String> {
        let command = definition(Command::new("trace"));
        let matches = command.try_get_matches_from(line.split(' '));
        matches.map_err(|error| error.to_string())
    }

    #[test]
    fn levels_and_times_are_parsed() {
        let matches = parsed("trace volume --level volume=debug --for 90s").expect("valid");
        let time = matches.get_one::<Duration>("for");
        assert_eq!(time, Some(&Duration::from_secs(90)));
        let matches = parsed("trace --level debug").expect("valid");
        let time = matches.get_one::<Duration>("for");
        assert_eq!(time, Some(&Duration::from_secs(600)));
        for (line, wanted) in [
            ("trace --level loud", "unknown level 'loud'"),
            ("trace --level volumes=debug", "did you mean 'volume'?"),
            ("trace --level debug --for 25h", "at most 24h"),
            ("trace --level debug --for=-1s", "at most 24h"),
            ("trace --level debug --for soon", "at most 24h"),
        ] {
            let error = parsed(line).expect_err(line);
            assert!(error.contains(wanted), "{line}: {error}");
        }
    }
}
