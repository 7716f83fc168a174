//! Keeps the rings and levels of trace events, for this process, which is a supervisor, and for the
//! processes that it starts. [`crate::spawn`] passes a ring and levels to each process in two
//! environment variables.

use super::ring::{self, MappedRing, RingContents, RingWriter};
use super::{LogLevels, SUPERVISOR};
use crate::SharedFd;
use crate::lock;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Variable with the descriptor of a process's ring.
pub const RING_VARIABLE: &str = "EVENKEEL_TRACE_RING";
pub const LEVELS_VARIABLE: &str = "EVENKEEL_TRACE_LEVELS";

/// Maximum time for which an operator changes levels.
pub const TEMPORARY_MAX: Duration = Duration::from_secs(24 * 60 * 60);
const RINGS_MAX: usize = 48;
const TEMPORARY_LEVELS_MAX: usize = 48;

/// Levels that an operator set for some time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TemporaryLevels {
    /// Role that has these levels; None for all roles.
    pub role: Option<String>,
    pub levels: LogLevels,
    pub until: Instant,
}

impl TemporaryLevels {
    fn replaces(&self, role: Option<&str>) -> bool {
        self.role.is_none() || self.role.as_deref() == role
    }
}

/// Table of the supervisor: the rings and the temporary levels of trace events, by role.
///
/// A role keeps its ring when its process ends, so the events of the process that died are before
/// those of its successor.
#[derive(Default)]
pub struct TraceControl {
    configured: LogLevels,
    temporary: Vec<TemporaryLevels>,
    rings: BTreeMap<String, SharedFd>,
}

static CONTROL: Mutex<TraceControl> = Mutex::new(TraceControl {
    configured: LogLevels::INFO,
    temporary: Vec::new(),
    rings: BTreeMap::new(),
});

pub fn control() -> MutexGuard<'static, TraceControl> {
    lock(&CONTROL)
}

impl TraceControl {
    pub fn configure(&mut self, levels: LogLevels) {
        self.configured = levels;
    }

    /// Sets levels for some time; those of all roles replace those of single roles. Replaced levels
    /// that still have time when the new ones end apply again.
    pub fn set_temporary(&mut self, temporary: TemporaryLevels) {
        let lasts = |one: &TemporaryLevels| {
            one.until > temporary.until || !temporary.replaces(one.role.as_deref())
        };
        self.temporary.retain(lasts);
        if self.temporary.len() == TEMPORARY_LEVELS_MAX {
            self.temporary.remove(0);
        }
        self.temporary.push(temporary);
    }

    /// Ends the temporary levels of a role, or of all roles, and returns them.
    pub fn end_temporary(&mut self, role: Option<&str>) -> Vec<TemporaryLevels> {
        let ends = |one: &mut TemporaryLevels| role.is_none() || one.role.as_deref() == role;
        self.temporary.extract_if(.., ends).collect()
    }

    /// Returns the temporary levels, in the order in which they were set.
    pub fn temporary(&self) -> &[TemporaryLevels] {
        &self.temporary
    }

    /// Removes the temporary levels whose time is over, and returns them.
    pub fn expire(&mut self, now: Instant) -> Vec<TemporaryLevels> {
        let ends = |one: &mut TemporaryLevels| one.until <= now;
        self.temporary.extract_if(.., ends).collect()
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.temporary.iter().map(|one| one.until).min()
    }

    /// Returns the temporary levels that apply to a role now: the newest of all roles, and the
    /// newest of the role that were set later.
    pub fn temporary_of(&self, role: &str) -> impl Iterator<Item = &TemporaryLevels> {
        let of_all = self.temporary.iter().rposition(|one| one.role.is_none());
        let later = &self.temporary[of_all.map_or(0, |at| at + 1)..];
        let of_role = later.iter().rfind(|one| one.role.as_deref() == Some(role));
        let of_all = of_all.and_then(|at| self.temporary.get(at));
        of_all.into_iter().chain(of_role)
    }

    pub fn levels_of(&self, role: &str) -> LogLevels {
        self.temporary_of(role)
            .fold(self.configured.clone(), |levels, one| {
                levels.overlaid(&one.levels)
            })
    }

    /// Returns the ring of a role, which is created if there is none. None if the system refuses,
    /// or if there are 48 rings already: the role then records nothing.
    pub fn ring_of(&mut self, role: &str) -> Option<SharedFd> {
        if !self.rings.contains_key(role) && self.rings.len() < RINGS_MAX {
            let memory = ring::create().ok()?;
            self.rings.insert(role.to_owned(), Arc::new(memory));
        }
        self.rings.get(role).cloned()
    }

    pub fn keep_ring(&mut self, role: &str, memory: SharedFd) {
        if self.rings.len() < RINGS_MAX {
            self.rings.insert(role.to_owned(), memory);
        }
    }

    /// Returns the rings of all roles that have run, also of those that no longer run.
    pub fn rings(&self) -> impl Iterator<Item = (&str, &SharedFd)> {
        self.rings.iter().map(|(role, ring)| (role.as_str(), ring))
    }
}

/// Maps the ring of this process, which the supervisor passed, and returns it with the levels.
/// Removes the variables, which scripts and checks of this process do not need.
///
/// Must be called before the second thread of the process, and before it uses other descriptors
/// than its channel `used`.
pub fn take_inherited(used: i32) -> (Option<MappedRing>, LogLevels) {
    let number = std::env::var(RING_VARIABLE).ok();
    let levels = std::env::var(LEVELS_VARIABLE).unwrap_or_default();
    // SAFETY: the process has one thread.
    unsafe {
        std::env::remove_var(RING_VARIABLE);
        std::env::remove_var(LEVELS_VARIABLE);
    }
    let number = number.and_then(|text| text.parse().ok());
    let number = number.filter(|number: &i32| *number > 2 && *number != used);
    let ring = number.and_then(|number| {
        // SAFETY: the descriptor is only used to query its seals; a number that is not open gives
        // EBADF.
        let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
        rustix::fs::fcntl_get_seals(borrowed).ok()?;
        // SAFETY: the supervisor opened the memory for this process, and no other code of the
        // process knows its number.
        MappedRing::open(&unsafe { OwnedFd::from_raw_fd(number) })
    });
    (ring, LogLevels::parse_known(&levels))
}

/// Returns the ring of this supervisor, mapped, and its levels.
pub fn own() -> (Option<MappedRing>, LogLevels) {
    let mut control = control();
    let memory = control.ring_of(SUPERVISOR);
    let ring = memory.and_then(|memory| MappedRing::open(&memory));
    (ring, control.levels_of(SUPERVISOR))
}

/// Continues the ring of this supervisor in a private file, after the events that the file has of a
/// supervisor that was killed.
///
/// # Errors
/// The file cannot become a ring: the ring stays in memory.
pub fn continue_in_file(file: SharedFd) -> io::Result<()> {
    ring::prepare(&file)?;
    let mut control = control();
    let before = control.ring_of(SUPERVISOR);
    let before = before.and_then(|memory| RingContents::read(&*memory).ok());
    let writer = super::replace_ring(&file, true);
    if let Some(writer) = writer.or_else(|| RingWriter::open(&file)) {
        for one in before.into_iter().flat_map(|contents| contents.records) {
            writer.write(&one.record.encode());
        }
        control.keep_ring(SUPERVISOR, file);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> LogLevels {
        LogLevels::parse(text).expect("valid levels")
    }

    #[test]
    fn temporary_levels_fall_back_to_the_configured_ones() {
        let mut control = TraceControl::default();
        let now = Instant::now();
        let set = |control: &mut TraceControl, role: Option<&str>, text: &str, seconds| {
            control.set_temporary(TemporaryLevels {
                role: role.map(str::to_owned),
                levels: parse(text),
                until: now + Duration::from_secs(seconds),
            });
        };
        let levels = |control: &TraceControl, role: &str| control.levels_of(role).to_string();
        control.configure(parse("warn"));
        set(&mut control, Some("volume"), "volume=debug", 5);
        assert_eq!(levels(&control, "volume"), "warn,volume=debug");
        assert_eq!(levels(&control, "cluster"), "warn");
        // The levels of a role apply on top of those of all roles.
        set(&mut control, None, "info,nodes=debug", 20);
        set(&mut control, Some("volume"), "volume=trace", 10);
        assert_eq!(levels(&control, "volume"), "info,nodes=debug,volume=trace");
        assert_eq!(levels(&control, "cluster"), "info,nodes=debug");
        assert_eq!(control.deadline(), Some(now + Duration::from_secs(10)));
        control.expire(now + Duration::from_secs(10));
        assert_eq!(levels(&control, "volume"), "info,nodes=debug");
        // New levels of all roles replace the others until they end.
        set(&mut control, Some("volume"), "volume=trace", 30);
        set(&mut control, None, "debug", 15);
        assert_eq!(levels(&control, "volume"), "debug");
        control.expire(now + Duration::from_secs(15));
        assert_eq!(levels(&control, "volume"), "info,nodes=debug,volume=trace");
        control.expire(now + Duration::from_secs(20));
        assert_eq!(levels(&control, "volume"), "warn,volume=trace");
        control.expire(now + Duration::from_secs(30));
        assert_eq!(levels(&control, "volume"), "warn");
        assert_eq!(control.deadline(), None);
    }

    #[test]
    fn replaced_levels_apply_again_while_they_have_time() {
        let mut control = TraceControl::default();
        let now = Instant::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        let set = |control: &mut TraceControl, role: Option<&str>, text: &str, seconds| {
            control.set_temporary(TemporaryLevels {
                role: role.map(str::to_owned),
                levels: parse(text),
                until: after(seconds),
            });
        };
        let levels = |control: &TraceControl| control.levels_of("volume").to_string();
        let ended = |control: &mut TraceControl, seconds| -> Vec<String> {
            let ended = control.expire(after(seconds));
            ended.iter().map(|one| one.levels.to_string()).collect()
        };
        control.configure(parse("warn"));
        set(&mut control, Some("volume"), "debug", 600);
        set(&mut control, Some("volume"), "trace", 60);
        assert_eq!(levels(&control), "trace");
        set(&mut control, None, "error", 30);
        assert_eq!(levels(&control), "error");
        assert_eq!(ended(&mut control, 30), ["error"]);
        assert_eq!(levels(&control), "trace");
        assert_eq!(ended(&mut control, 60), ["trace"]);
        assert_eq!(levels(&control), "debug");
        assert_eq!(control.deadline(), Some(after(600)));
        assert_eq!(ended(&mut control, 600), ["debug"]);
        assert_eq!(levels(&control), "warn");
        // Levels that end earlier than those that replace them are dropped.
        set(&mut control, Some("volume"), "debug", 60);
        set(&mut control, Some("volume"), "trace", 60);
        assert_eq!(control.temporary().len(), 1);
        set(&mut control, Some("cluster"), "trace", 60);
        assert_eq!(control.end_temporary(Some("volume")).len(), 1);
        assert_eq!(control.temporary().len(), 1);
        assert_eq!(control.end_temporary(None).len(), 1);
        for number in 0..2 * TEMPORARY_LEVELS_MAX as u64 {
            set(&mut control, None, "info", 9_999 - number);
        }
        assert_eq!(control.temporary().len(), TEMPORARY_LEVELS_MAX);
    }

    #[test]
    fn ring_stays_when_the_process_of_its_role_ends() {
        let mut control = TraceControl::default();
        let first = control.ring_of("volume").expect("a ring");
        let second = control.ring_of("volume").expect("a ring");
        assert!(Arc::ptr_eq(&first, &second));
        control.keep_ring("guest", Arc::clone(&first));
        let roles: Vec<&str> = control.rings().map(|(role, _)| role).collect();
        assert_eq!(roles, ["guest", "volume"]);
    }

    #[test]
    fn roles_with_rings_are_bounded() {
        let mut control = TraceControl::default();
        for number in 0..2 * RINGS_MAX {
            control.ring_of(&format!("role{number}"));
        }
        assert_eq!(control.rings().count(), RINGS_MAX);
    }
}
