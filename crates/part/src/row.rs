//! Defines the table of roles: one row for each role, with its differences from the others. The
//! supervisor implements their common behaviour.

use crate::channel::Channel;
use crate::role::{Level, PartMessage};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::Duration;

/// The start parameters of a process.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Second word of the command line.
    pub argument: &'static str,
    pub process_title: &'static str,
    pub display_name: &'static str,
    pub environment: Environment,
}

/// The environment variables that a process inherits from the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Environment {
    /// The variables that the C library and this program read.
    Few,
    /// As `Environment::Few`, and the variables that scripts expect. Under keepalived's name all
    /// variables, because its scripts inherit the environment of the start.
    Scripts,
    /// All variables, for a short-lived process that reads those that the files name.
    All,
}

/// The properties of a role, as a row of the table of roles. The supervisor treats all roles alike
/// except for these.
pub struct RoleRow {
    pub part: &'static str,
    pub entry: Entry,
    pub main: fn(Channel) -> ExitCode,
    /// Maximum time until the role reports that it is ready; None for a role that never does.
    pub ready_limit: Option<Duration>,
    /// Minimum age at which the main loop must respond; reading the first version may take longer
    /// than the usual timeout.
    pub heartbeat_grace: Duration,
    /// The parts to which the part may send messages. Empty for a role that its clients could
    /// compromise.
    pub message_recipients: &'static [&'static str],
    /// True if the role may request the reports of all parts.
    pub reads_reports: bool,
    /// True if the role gets a certificate of the cluster's CA for its connections to other nodes.
    pub certified: bool,
    pub life: Life,
}

/// The time when a role runs, and the meaning of its end.
#[derive(Clone, Copy)]
pub enum Life {
    /// The primary role serves a version with listeners; the program ends with the role.
    Serves(PrimaryProperties),
    /// A sidecar role runs while a version configures its part.
    Beside(SidecarProperties),
    /// The control role chooses the version in service, on a machine of a cluster.
    Governs(ControllerProperties),
}

#[derive(Clone, Copy)]
pub struct PrimaryProperties {
    /// Creates the message by which the role serves an operator's connection.
    pub operate: fn(Level) -> PartMessage,
}

#[derive(Clone, Copy)]
pub struct ControllerProperties {
    pub socket: &'static str,
    /// Creates the payload of the start from the paths of the state directory and the socket.
    pub payload: fn(&Path, &Path) -> Vec<u8>,
    /// Name of the file with the last accepted version, in the state directory.
    pub accepted: &'static str,
    pub read_accepted: fn(&Path) -> io::Result<AcceptedFile>,
    /// Reads from a state directory the messages for parts that are valid until the control role
    /// sends others.
    pub read_first_messages: fn(&Path) -> FirstMessages,
}

/// Messages for parts that are valid from the start on, also if the control role cannot start.
#[derive(Default)]
pub struct FirstMessages {
    /// Reason for these messages, for the operator; empty if there are none.
    pub reason: &'static str,
    pub messages: Vec<PartMessage>,
}

/// An accepted version that was read from disk; its contents are not validated.
pub struct AcceptedFile {
    pub file: OwnedFd,
    /// Damage of the first of the two copies on disk, if there is any.
    pub damage: Option<&'static str>,
}

/// The properties of a sidecar role, which runs with or without the primary role.
#[derive(Clone, Copy)]
pub struct SidecarProperties {
    /// The noun for the configured objects of the part, for messages: `virtual addresses`.
    pub configured_noun: &'static str,
    /// The parts whose roles must be ready before this one starts, if the version has them. This
    /// role ends before they do.
    pub dependencies: &'static [&'static str],
    /// True if the role has a state file that its successor reads.
    pub has_state_file: bool,
    /// True if the stored state is still valid when the program starts after a stop, such as the
    /// list of sessions that were signed out.
    pub state_survives_stop: bool,
    /// True if the role gets the heartbeat memory of the proxy, and the list of roles with clients
    /// that do not run.
    pub shares_heartbeats: bool,
    /// True if clients connect to the role at addresses of this machine, which are of no use while
    /// the role does not run.
    pub has_clients: bool,
    /// True if two processes of the role may run for a moment, so that a replacement causes no
    /// interruption.
    pub can_overlap: bool,
    /// True if the role's work continues when the program stops: its leases are not released, and
    /// expire unless the program starts again before.
    pub continues_after_stop: bool,
    /// True if others reach the role, or what it runs, by files in the runtime directory that only
    /// its start creates.
    pub has_runtime_files: bool,
}

impl SidecarProperties {
    /// Creates the properties of a sidecar role without dependencies and shared memory.
    pub const fn plain(things: &'static str) -> SidecarProperties {
        SidecarProperties {
            configured_noun: things,
            dependencies: &[],
            has_state_file: true,
            state_survives_stop: false,
            shares_heartbeats: false,
            has_clients: false,
            can_overlap: false,
            continues_after_stop: false,
            has_runtime_files: false,
        }
    }
}

impl RoleRow {
    /// Creates the row of a sidecar role on which no other role depends.
    pub const fn plain(
        part: &'static str,
        entry: Entry,
        main: fn(Channel) -> ExitCode,
        things: &'static str,
    ) -> RoleRow {
        RoleRow {
            part,
            entry,
            main,
            ready_limit: Some(Duration::from_secs(30)),
            heartbeat_grace: Duration::ZERO,
            message_recipients: &[],
            reads_reports: false,
            certified: false,
            life: Life::Beside(SidecarProperties::plain(things)),
        }
    }

    /// Returns the sidecar properties; None if the role is not a sidecar.
    pub fn sidecar(&self) -> Option<&SidecarProperties> {
        match &self.life {
            Life::Beside(beside) => Some(beside),
            Life::Serves(_) | Life::Governs(_) => None,
        }
    }
}

static ROWS: OnceLock<Vec<&'static RoleRow>> = OnceLock::new();

/// Sets the table of roles, once at the start of the process. Order: the primary role, the
/// sidecars, the control role.
pub fn set(mut rows: Vec<&'static RoleRow>) {
    rows.sort_by_key(|row| match row.life {
        Life::Serves(_) => 0,
        Life::Beside(_) => 1,
        Life::Governs(_) => 2,
    });
    // Ignores a second call, which changes nothing.
    let _ = ROWS.set(rows);
}

pub fn all() -> &'static [&'static RoleRow] {
    ROWS.get().map_or(&[], Vec::as_slice)
}

/// Returns the part of the primary role; empty without a table.
pub fn primary_part() -> &'static str {
    let mut rows = all().iter();
    let primary = rows.find(|row| matches!(row.life, Life::Serves(_)));
    primary.map_or("", |row| row.part)
}

pub fn is_primary(part: &str) -> bool {
    primary_part() == part
}

/// Returns whether the role of a part announces addresses of this machine.
pub fn has_addresses(part: &str) -> bool {
    let mut rows = all().iter().filter(|row| row.part == part);
    rows.any(|row| {
        row.sidecar()
            .is_some_and(|sidecar| sidecar.shares_heartbeats)
    })
}

pub fn sidecar_parts() -> impl Iterator<Item = &'static str> {
    let beside = all().iter().filter(|row| row.sidecar().is_some());
    beside.map(|row| row.part)
}
