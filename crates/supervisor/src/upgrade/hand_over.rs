//! Executes the new program in the supervisor's process. Descriptors and child processes stay; a
//! memory file describes them.

use crate::control::{Asker, ControlSocket, RequestInterface};
use crate::handed::{number, socket};
use crate::master::Master;
use crate::resumed::VARIABLE;
use crate::state::Supervisor;
use crate::version::LoadedVersion;
use nix::unistd::execve;
use part::memory;
use part::role::{DiagnosticFormat, HandOver, Take};
use part::row::Life;
use rustix::io::{FdFlags, fcntl_setfd};
use std::ffi::{CString, NulError, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

impl Supervisor {
    /// Returns whether nothing is in progress that only this image could finish.
    pub(super) fn is_quiet(&self, late: bool) -> bool {
        // Ignores busy master sockets once the execution is late: a client may use one all the
        // time.
        if !late && !self.interfaces.master.as_ref().is_none_or(Master::is_quiet) {
            return false;
        }
        let mut formers = self.service.draining.iter();
        let mut slots = self.slots.all();
        (self.serves() || self.cluster.is_arbiter())
            && self.changing.loading.is_none()
            && self.versions.candidate.is_none()
            && formers.all(|former| former.proxy.process.channel.is_quiet())
            && slots.all(|slot| slot.is_quiet() || matches!(slot.row.life, Life::Governs(_)))
            && self
                .interfaces
                .control
                .as_ref()
                .is_none_or(ControlSocket::is_quiet)
            && self.between.is_quiet()
    }

    /// Executes the program. Returns only if that fails, with the error.
    pub(super) fn execute(&mut self, program: &Path) -> io::Error {
        // Ends the control role; the next image, or this one after a failure, starts another one.
        self.end_control();
        let Err(error) = self.try_execute(program);
        self.start_control();
        error
    }

    fn try_execute(&mut self, program: &Path) -> io::Result<std::convert::Infallible> {
        let value = self.hand_over();
        let file = memory::create("evenkeel hand-over", &value.encode())?;
        let numbers: Vec<u32> = value.all_descriptors().chain([number(&file)]).collect();
        keep_open(&numbers, true)?;
        let Err(error) = execute(program, Some(file.as_fd()));
        keep_open(&numbers, false)?;
        Err(error)
    }

    fn hand_over(&self) -> HandOver {
        let kept = self.versions.last_good.as_ref();
        let descriptors = kept.map(LoadedVersion::whole).unwrap_or_default();
        HandOver {
            take: kept.map(known).unwrap_or_default(),
            descriptors: descriptors.iter().map(|fd| number(&**fd)).collect(),
            versions: self.versions.last,
            files_soft: self.process.files_soft,
            quiet: self.voice.quiet,
            paused: self.service.paused,
            asked: self.changing.requests.is_asked(),
            parts: self.slots.hand_sidecars_over(),
            roles: (self.slots.serving.running.iter())
                .map(|proxy| proxy.handed(None))
                .chain(self.service.draining.hand_over())
                .collect(),
            control: self.interfaces.control.as_ref().map(|control| {
                let (fd, path) = control.socket();
                socket(fd, path)
            }),
            clients: self
                .interfaces
                .control
                .as_ref()
                .map_or_else(Vec::new, |control| {
                    control.hand_over(|id| asked_by(self.changing.requests.waiting(), id))
                }),
            guard: (self.slots.serving.guard.as_ref())
                .map(|(entry, fd)| socket(&**fd, entry.socket())),
            extras: self.extras(),
        }
    }
}

/// Executes the program in this process, with the arguments and environment of the start, and a
/// memory file that describes what it takes over.
pub(super) fn execute(
    program: &Path,
    hand_over: Option<BorrowedFd<'_>>,
) -> io::Result<std::convert::Infallible> {
    let words = |all: Vec<OsString>| -> Result<Vec<CString>, NulError> {
        all.into_iter()
            .map(|word| CString::new(word.into_vec()))
            .collect()
    };
    let path = CString::new(program.as_os_str().as_bytes())?;
    let arguments = words(std::env::args_os().collect())?;
    let mut variables: Vec<OsString> = std::env::vars_os()
        .filter(|(name, _)| name != VARIABLE)
        .map(|(mut name, value)| {
            name.push("=");
            name.push(value);
            name
        })
        .collect();
    variables.extend(hand_over.map(|fd| format!("{VARIABLE}={}", fd.as_raw_fd()).into()));
    let variables = words(variables)?;
    // Signals stay blocked and are read by the new image; the standard library would unblock them.
    Ok(execve(&path, &arguments, &variables)?)
}

/// Returns the version message for the next image, which matches the descriptors that are handed
/// over.
fn known(kept: &LoadedVersion) -> Take {
    Take {
        plan: kept.known_plan(),
        ..kept.take.clone()
    }
}

/// Returns the output format of a client's pending reload, if the client of the control socket has
/// requested one.
fn asked_by(waiting: &[Asker], id: u64) -> Option<DiagnosticFormat> {
    let mut waiting = waiting.iter();
    waiting
        .find(|asker| asker.at == RequestInterface::Control && asker.id == id)
        .and_then(|asker| asker.look)
}

fn keep_open(numbers: &[u32], open: bool) -> io::Result<()> {
    let flags = if open {
        FdFlags::empty()
    } else {
        FdFlags::CLOEXEC
    };
    for number in numbers {
        // SAFETY: the supervisor owns the descriptors of these numbers during this call.
        let fd = unsafe { BorrowedFd::borrow_raw(number.cast_signed()) };
        fcntl_setfd(fd, flags)?;
    }
    Ok(())
}
