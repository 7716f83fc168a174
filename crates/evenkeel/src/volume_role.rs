//! The volume role as a process: it gives up every right that volumes do not need, and runs
//! [`volume::role`] on a thread per volume.
//!
//! It decides nothing about a volume, and reads and writes none.

use crate::confinement::{self, Confinement};
use part::report::Report;
use part::row::{Entry, Environment, RoleRow};
use part::work::{self, Work};
use rustix::process::{Resource, Rlimit, setrlimit};
use std::path::Path;
use std::time::Instant;
use supervisor::directory;
use volume::device::Backing;
use volume::role::{Place, Role};

/// How it is run.
pub static ROLE: RoleRow = RoleRow::plain(
    volume::keyword::NAME,
    Entry {
        word: "volume-role",
        shown: "evenkeel: volume",
        what: "volume role",
        environment: Environment::Few,
    },
    work::main::<Volumes>,
    "volumes",
);

/// The work of the role.
struct Volumes(Role);

impl Work for Volumes {
    fn start(payload: &[u8], _: Option<&[u8]>) -> Result<Volumes, String> {
        // Registered memory counts against it where there is no capability for more. Wished
        // for, not needed: without it the memory is not registered.
        let unlimited = Rlimit {
            current: None,
            maximum: None,
        };
        let _ = setrlimit(Resource::Memlock, unlimited);
        confinement::apply(&Confinement::volume()).map_err(|error| error.to_string())?;
        let mut role = Role::new(Place {
            runtime: directory::path(),
            confine,
        });
        role.change(payload)?;
        Ok(Volumes(role))
    }

    fn change(&mut self, payload: &[u8]) -> Result<(), String> {
        self.0.change(payload)
    }

    fn due(&self) -> Option<Instant> {
        None
    }

    fn work(&mut self) {}

    /// What a volume needs to know is beside its data.
    fn state(&self) -> Vec<u8> {
        Vec::new()
    }

    fn report(&self) -> Report {
        self.0.report()
    }
}

fn confine(runtime: &Path, backing: &Backing) -> Result<(), String> {
    let confined = confinement::only_volume(runtime, backing.path());
    confined.map(drop).map_err(|error| error.to_string())
}
