//! Determines the levels of trace events, from the version in service and from levels that an
//! operator set for some time, and keeps the supervisor's own events. Each process gets its levels
//! when they change, so temporary levels end without the command that set them.

use crate::between::Asks;
use crate::slot::{RunningRole, Slots};
use crate::state::Supervisor;
use crate::state_file::{Keep, TRACE};
use language::reason;
use part::SharedFd;
use part::role::{HandedExtra, SupervisorMessage, TraceRequest, TraceResponse, TracedRole};
use part::spawn::{ProcessExit, Started};
use part::trace::{self, LogLevels, SUPERVISOR, TEMPORARY_MAX, TemporaryLevels};
use part::{codec, row};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(super) const RING: &str = "trace ring";
pub(super) const LEVELS: &str = "trace levels";

impl Supervisor {
    /// Determines the current levels and sends them to each process whose levels have changed.
    pub(super) fn update_log_levels(&mut self) {
        let version = self.version_in_service();
        let ended = trace::control().expire(Instant::now());
        trace_end_of_levels(&ended);
        let own = {
            let mut control = trace::control();
            // While no version is known, such as during an adoption, the levels stay.
            if let Some(version) = version {
                control.configure(LogLevels::parse_known(&version.plan().log_levels));
            }
            control.levels_of(SUPERVISOR)
        };
        trace::set_levels(own);
        let slots = self.slots.all_mut();
        let roles = slots.flat_map(|slot| slot.running.iter_mut().chain(&mut slot.predecessor));
        let roles = roles.chain(self.service.draining.iter_mut());
        for role in roles {
            role.process.update_log_levels();
        }
        let trial = self.changing.upgrade.as_mut();
        if let Some(role) = trial.and_then(|upgrade| upgrade.trial_mut()) {
            role.process.update_log_levels();
        }
        let loading = self.changing.loading.as_mut();
        if let Some(loading) = loading {
            Started::update_log_levels(&mut loading.process);
        }
    }

    /// Continues the ring of the supervisor's events in a file that survives this process. Without
    /// a runtime directory the ring stays in memory.
    pub(super) fn keep_own_events(&mut self) {
        let program = self.voice.form().program();
        let keep = Keep::open(TRACE, program, &self.command.paths);
        let kept = keep.map_err(|error| error.to_string()).and_then(|keep| {
            let continued = trace::continue_in_file(Arc::clone(keep.file()));
            continued.map_err(|error| reason(&error))
        });
        if let Err(error) = kept {
            tracing::info!(error, "own events stay in memory");
        }
    }

    /// Removes the file of [`Supervisor::keep_own_events`] at an orderly end.
    pub(super) fn forget_own_events(&self) {
        let program = self.voice.form().program();
        if let Ok(path) = Keep::path_of(TRACE, program, &self.command.paths) {
            // Ignores an error, because there may be no file.
            let _ = std::fs::remove_file(path);
        }
    }

    /// Sends a command the rings of all roles, after it has set levels if the request has any.
    pub(super) fn trace_events(&mut self, of: Asks, request: &TraceRequest) {
        let Asks::Client(_) = of else { return };
        let role = Some(request.role.clone()).filter(|role| !role.is_empty());
        if let Some(role) = role.as_deref().filter(|role| !is_role(role)) {
            let words = format!("there is no role '{role}' here");
            return self.answer_nothing(of, &words, false);
        }
        if let Some(text) = &request.levels {
            let levels = LogLevels::parse_known(text);
            let time = Duration::from_millis(request.for_ms).min(TEMPORARY_MAX);
            if time.is_zero() {
                let ended = trace::control().end_temporary(role.as_deref());
                trace_end_of_levels(&ended);
            } else {
                tracing::info!(role = role.as_deref().unwrap_or("all"), %levels, seconds = time.as_secs(), "levels set");
                trace::control().set_temporary(TemporaryLevels {
                    role,
                    levels,
                    until: Instant::now() + time,
                });
            }
            self.update_log_levels();
        }
        let (response, rings) = traced_roles(&self.slots);
        let response = SupervisorMessage::TracedRoles(Box::new(response));
        self.answer_to(of, &response, &rings);
    }
}

/// Traces the end of temporary levels, before those of this process fall back.
fn trace_end_of_levels(ended: &[TemporaryLevels]) {
    for one in ended {
        let role = one.role.as_deref().unwrap_or("all");
        tracing::info!(role, levels = %one.levels, "temporary levels ended");
    }
}

/// Traces the end of a process of a role.
pub(super) fn trace_end(part: &str, role: &RunningRole, ending: ProcessExit, is_stopping: bool) {
    tracing::info!(
        role = part,
        process = role.process.number(),
        status = %Ending(ending),
        killed = role.killed,
        stopping = is_stopping,
        reason = role.last_words,
        "role ended"
    );
}

fn traced_roles(slots: &Slots) -> (TraceResponse, Vec<SharedFd>) {
    let control = trace::control();
    let now = Instant::now();
    let mut response = TraceResponse::default();
    let mut rings = Vec::new();
    for (role, ring) in control.rings() {
        let left = control
            .temporary_of(role)
            .map(|one| one.until.saturating_duration_since(now))
            .min();
        let slot = slots.all().find(|slot| slot.row.part == role);
        response.roles.push(TracedRole {
            role: role.to_owned(),
            levels: control.levels_of(role).to_string(),
            left_ms: left.map(milliseconds),
            process: match role {
                SUPERVISOR => i32::try_from(std::process::id()).ok(),
                _ => slot.and_then(|slot| slot.pid()),
            },
        });
        rings.push(Arc::clone(ring));
    }
    (response, rings)
}

/// Returns the rings and the temporary levels for the next program image.
pub(super) fn trace_extras() -> Vec<HandedExtra> {
    let control = trace::control();
    let now = Instant::now();
    let temporary = control.temporary().iter();
    let temporary: Vec<(Option<String>, String, u64)> = temporary
        .map(|one| {
            let left = one.until.saturating_duration_since(now);
            (one.role.clone(), one.levels.to_string(), milliseconds(left))
        })
        .collect();
    let levels = HandedExtra {
        name: LEVELS.to_owned(),
        descriptor: None,
        bytes: codec::encode(&temporary),
    };
    let rings = control.rings().map(|(role, ring)| HandedExtra {
        name: RING.to_owned(),
        descriptor: Some(crate::handed::number(&**ring)),
        bytes: role.as_bytes().to_vec(),
    });
    std::iter::once(levels).chain(rings).collect()
}

pub(super) fn resume_levels(bytes: &[u8]) {
    type Temporary = Vec<(Option<String>, String, u64)>;
    let Ok(temporary) = codec::decode::<Temporary>(bytes) else {
        return;
    };
    let mut control = trace::control();
    for (role, levels, left_ms) in temporary {
        control.set_temporary(TemporaryLevels {
            role,
            levels: LogLevels::parse_known(&levels),
            until: Instant::now() + Duration::from_millis(left_ms).min(TEMPORARY_MAX),
        });
    }
}

pub(super) fn resume_ring(role: &[u8], ring: SharedFd) {
    let role = String::from_utf8_lossy(role);
    if role == SUPERVISOR {
        trace::replace_ring(&ring, true);
    }
    trace::control().keep_ring(&role, ring);
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn is_role(name: &str) -> bool {
    name == SUPERVISOR
        || row::all().iter().any(|row| row.part == name)
        || trace::control().rings().any(|(role, _)| role == name)
}

struct Ending(ProcessExit);

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ProcessExit::Status(status) => write!(f, "{status}"),
            ProcessExit::Unknown => f.write_str("unknown"),
        }
    }
}
