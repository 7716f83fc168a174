//! Holds the listening sockets that this process inherited: from its parent, from an earlier
//! configuration, or from another process. Each is identified by what the kernel reports about
//! it, not by name or order. A configuration uses the ones that it needs.
//!
//! Changes that others can see (files of Unix sockets, options of sockets that another process
//! may still use) are delayed until [`Inherited::settle`]. So a configuration with one address
//! that cannot be opened changes nothing.

use super::identity::{ListenAddress, SocketIdentity, Unrecognized};
use super::names::{self, TemporarySocketFile};
use super::open::OpenStep;
use super::options::Options;
use language::Span;
use model::config::BindOwner;
use rustix::io::Errno;
use rustix::net::sockopt;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::os::fd::{OwnedFd, RawFd};
use std::path::PathBuf;
use std::sync::Arc;

/// Sockets that a configuration may use.
///
/// On drop the pending changes are applied if everything was opened; otherwise nothing
/// changes.
#[derive(Debug, Default)]
pub struct Inherited {
    sockets: Vec<Option<OwnedFd>>,
    by_identity: HashMap<SocketIdentity, VecDeque<usize>>,
    by_number: HashMap<RawFd, Numbered>,
    pending: Vec<PendingChange>,
    /// An address could not be opened, so pending changes must not be applied.
    pub(super) failed: bool,
    /// Dry run: only tests whether all listeners can be opened.
    pub(super) dry: bool,
}

/// The sockets of one `fd@` number.
#[derive(Debug, Default)]
struct Numbered {
    free: VecDeque<usize>,
    /// The descriptor that a listener has already got, for further listeners with the same number.
    taken: Option<Arc<OwnedFd>>,
}

/// A change that is applied only after all listeners were opened.
#[derive(Debug)]
enum PendingChange {
    /// A new Unix socket gets its name.
    Name {
        name: TemporarySocketFile,
        span: Span,
    },
    /// A reused socket gets the options of its new listener.
    Options {
        fd: Arc<OwnedFd>,
        place: Option<ListenAddress>,
        options: Options,
        owner: BindOwner,
        span: Span,
    },
}

#[derive(Debug)]
pub struct SettleError {
    pub span: Span,
    /// File of the Unix socket; None for other sockets.
    pub path: Option<PathBuf>,
    pub step: OpenStep,
    pub errno: Errno,
}

impl fmt::Display for SettleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.step, self.errno)?;
        match &self.path {
            Some(path) => write!(f, " [{}]", path.display()),
            None => Ok(()),
        }
    }
}

impl std::error::Error for SettleError {}

impl Inherited {
    /// Switches to a dry run, which only tests whether all listeners can be opened. New sockets do
    /// not listen, so no client can connect to them, and no pending change is applied.
    pub fn only_try(&mut self) {
        self.dry = true;
    }

    /// Adds a listening socket; one that cannot be used is closed.
    ///
    /// # Errors
    /// Fails as described at [`Unrecognized`] if the descriptor is no listening socket that a
    /// configuration can use.
    pub fn add(&mut self, fd: OwnedFd) -> Result<(), Unrecognized> {
        let identity = SocketIdentity::of(&fd)?;
        let place = self.keep(fd, &identity);
        let same = self.by_identity.entry(identity).or_default();
        same.push_back(place);
        Ok(())
    }

    /// Adds the socket that the configuration names `fd@NUMBER`, regardless of its number here.
    /// It need not listen yet.
    ///
    /// # Errors
    /// As [`Inherited::add`], except for [`Unrecognized::NotListening`] and
    /// [`Unrecognized::OtherNamespace`], which are accepted. On an error the socket is closed.
    pub fn add_tagged(&mut self, fd: OwnedFd, number: RawFd) -> Result<(), Unrecognized> {
        let place = match SocketIdentity::of(&fd) {
            Ok(identity) => {
                let place = self.keep(fd, &identity);
                self.by_identity
                    .entry(identity)
                    .or_default()
                    .push_back(place);
                place
            }
            Err(Unrecognized::NotListening | Unrecognized::OtherNamespace) => {
                self.sockets.push(Some(fd));
                self.sockets.len() - 1
            }
            Err(other) => return Err(other),
        };
        self.by_number
            .entry(number)
            .or_default()
            .free
            .push_back(place);
        Ok(())
    }

    fn keep(&mut self, fd: OwnedFd, identity: &SocketIdentity) -> usize {
        if matches!(identity.place, ListenAddress::Inet(_)) {
            // Allows another listener to be opened on an overlapping address. If the kernel
            // refuses the option, bind(2) fails later and reports the reason.
            let _ = sockopt::set_socket_reuseport(&fd, true);
        }
        self.sockets.push(Some(fd));
        self.sockets.len() - 1
    }

    /// Returns the number of sockets that no listener has taken.
    pub fn len(&self) -> usize {
        self.sockets.iter().flatten().count()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Applies the pending changes: names of new Unix sockets, and options of reused sockets. If
    /// a change fails, the names are restored. Nothing is applied if an address could not be
    /// opened.
    ///
    /// # Errors
    /// Returns every change that failed, with the step and the error of its system call.
    pub fn settle(&mut self) -> Result<(), Vec<SettleError>> {
        let pending = std::mem::take(&mut self.pending);
        if self.failed || self.dry {
            return Ok(());
        }
        let mut errors = Vec::new();
        let mut placed = Vec::new();
        for one in pending {
            let done = match one {
                PendingChange::Name { name, span } => {
                    let path = Some(name.path().to_owned());
                    match name.place() {
                        Ok(undo) => {
                            placed.push(undo);
                            continue;
                        }
                        Err(errno) => Err((span, path, OpenStep::Bind, errno)),
                    }
                }
                PendingChange::Options {
                    fd,
                    place,
                    options,
                    owner,
                    span,
                } => settle_options(&fd, place.as_ref(), &options, owner)
                    .map_err(|(step, errno)| (span, path_of(place), step, errno)),
            };
            if let Err((span, path, step, errno)) = done {
                errors.push(SettleError {
                    span,
                    path,
                    step,
                    errno,
                });
            }
        }
        self.failed = !errors.is_empty();
        for one in placed.into_iter().rev() {
            if self.failed {
                one.undo();
            } else {
                one.keep();
            }
        }
        if errors.is_empty() {
            Ok(())
        } else {
            Err(errors)
        }
    }

    /// Accepts that some listeners could not be opened, so that the pending changes of all others
    /// are applied.
    pub fn go_on_without(&mut self) {
        self.failed = false;
    }

    /// Returns the sockets that no listener took, after the pending changes were applied.
    pub fn unused(mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.sockets)
            .into_iter()
            .flatten()
            .collect()
    }

    pub(super) fn take(&mut self, wanted: &SocketIdentity) -> Option<OwnedFd> {
        let same = self.by_identity.get_mut(wanted)?;
        while let Some(place) = same.pop_front() {
            let socket = &mut self.sockets[place];
            if let Some(fd) = socket.take_if(|fd| names::is_in_place(fd, &wanted.place)) {
                return Some(fd);
            }
        }
        None
    }

    pub(super) fn take_numbered(&mut self, number: RawFd) -> Option<Arc<OwnedFd>> {
        let numbered = self.by_number.get_mut(&number)?;
        while let Some(place) = numbered.free.pop_front() {
            if let Some(fd) = self.sockets[place].take() {
                numbered.taken = Some(Arc::new(fd));
                break;
            }
        }
        numbered.taken.clone()
    }

    pub(super) fn name_later(&mut self, name: TemporarySocketFile, span: Span) {
        self.pending.push(PendingChange::Name { name, span });
    }

    pub(super) fn set_later(
        &mut self,
        fd: Arc<OwnedFd>,
        place: Option<ListenAddress>,
        options: Options,
        owner: BindOwner,
        span: Span,
    ) {
        self.pending.push(PendingChange::Options {
            fd,
            place,
            options,
            owner,
            span,
        });
    }
}

impl Drop for Inherited {
    fn drop(&mut self) {
        // A caller that needs the errors has called `settle` before.
        let _ = self.settle();
    }
}

fn path_of(place: Option<ListenAddress>) -> Option<PathBuf> {
    match place? {
        ListenAddress::Unix(path) => Some(path),
        ListenAddress::Inet(_) | ListenAddress::Abstract(_) => None,
    }
}

fn settle_options(
    fd: &OwnedFd,
    place: Option<&ListenAddress>,
    options: &Options,
    owner: BindOwner,
) -> Result<(), (OpenStep, Errno)> {
    let at = |step: OpenStep| move |errno: Errno| (step, errno);
    match place {
        Some(ListenAddress::Inet(_)) => {
            options.set_on_listening(fd).map_err(at(OpenStep::Option))?
        }
        Some(ListenAddress::Unix(path)) => {
            names::own_again(path, owner).map_err(at(OpenStep::Own))?
        }
        Some(ListenAddress::Abstract(_)) | None => {}
    }
    rustix::io::ioctl_fionbio(fd, true).map_err(at(OpenStep::Option))?;
    rustix::net::listen(fd, options.backlog).map_err(at(OpenStep::Listen))
}
