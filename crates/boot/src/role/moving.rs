//! Moves the leases of a network to another directory: all contents are on disk there before the
//! old files are removed.

use super::{BootEnvironment, NetworkServer};
use crate::dhcp::range::Address;
use crate::journal::{INHERITED, LeaseJournal, name6};
use crate::link::remove_copies;
use crate::site::{EnteredFiles, LeavingFiles};
use crate::turns;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;
use std::thread;

/// File name extensions of a journal, and of the record of single boots.
const ENDINGS: [&str; 4] = ["leases", "lock", "turns", INHERITED];

impl NetworkServer {
    /// Moves the leases, after the DHCP thread has ended. The old files stay until
    /// [`NetworkServer::remove_left`].
    ///
    /// # Errors
    ///
    /// The new directory cannot keep the leases; the text says why, and nothing has changed.
    pub(super) fn leave(&mut self, directory: &Path, place: BootEnvironment) -> Result<(), String> {
        let (section, before) = {
            let site = self.site.lock();
            (site.name().to_owned(), site.lan().leases.clone())
        };
        let moved = self
            .keeper
            .as_ref()
            .map(|keeper| keeper.moved(directory.to_owned(), &section, place.only_writes));
        let keeper = moved
            .transpose()
            .map_err(|error| language::reason(&error))?;
        self.server.pause();
        let leaving = self.site.lock().leave_files();
        let entered = confined(directory, place, {
            let (directory, section) = (directory.to_owned(), section.clone());
            move || enter(&directory, &section, &leaving)
        });
        match entered {
            Ok(entering) => {
                self.site.lock().enter_files(entering);
                self.keeper = keeper;
                self.left = Some(before);
                Ok(())
            }
            Err(error) => {
                let why = language::reason(&error);
                let told = format!("cannot keep leases in {}: {why}", directory.display());
                // The DHCP thread opens the old files again.
                let again = self.server.answer(self.site.clone(), place);
                again.map_err(|error| language::reason(&error))?;
                Err(told)
            }
        }
    }

    /// Removes the old files, which nothing updates any more: their contents would soon be wrong.
    pub(super) fn remove_left(&mut self, place: BootEnvironment) {
        let Some(before) = self.left.take() else {
            return;
        };
        let site = self.site.lock();
        let (section, now) = (site.name().to_owned(), site.lan().leases.clone());
        drop(site);
        let is_same = |one: &Path, other: &Path| -> io::Result<bool> {
            let [one, other] = [one.metadata()?, other.metadata()?];
            Ok((one.dev(), one.ino()) == (other.dev(), other.ino()))
        };
        if !matches!(is_same(&before, &now), Ok(false)) {
            return;
        }
        let directory = before.clone();
        // A file that cannot be removed stays.
        let _ = confined(&before, place, move || {
            for (name, ending) in [section.clone(), name6(&section)]
                .iter()
                .flat_map(|name| ENDINGS.map(|ending| (name, ending)))
            {
                let _ = std::fs::remove_file(directory.join(format!("{name}.{ending}")));
            }
            remove_copies(&directory, &section);
            Ok(())
        });
    }
}

/// Runs a function on a thread that is confined to one directory.
pub(super) fn confined<T: Send + 'static>(
    directory: &Path,
    place: BootEnvironment,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let directory = directory.to_owned();
    let thread = thread::Builder::new().name("boot/move".to_owned());
    let thread = thread.spawn(move || {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700).create(&directory)?;
        (place.only_writes)(&directory)?;
        work()
    })?;
    let done = thread.join();
    done.map_err(|_| io::Error::other("the thread that moves leases panicked"))?
}

fn enter(directory: &Path, section: &str, leaving: &LeavingFiles) -> io::Result<EnteredFiles> {
    if let Some(turns) = &leaving.turns {
        turns::write(&directory.join(format!("{section}.turns")), turns)?;
    }
    let leases = leaving
        .leases
        .as_ref()
        .map(|bytes| journal(directory, section, bytes));
    let name6 = name6(section);
    let leases6 = leaving
        .leases6
        .as_ref()
        .map(|bytes| journal(directory, &name6, bytes));
    Ok(EnteredFiles {
        leases: leases.transpose()?,
        leases6: leases6.transpose()?,
    })
}

/// Creates a journal with these contents. An existing one is out of date.
fn journal<A: Address>(
    directory: &Path,
    name: &str,
    contents: &[u8],
) -> io::Result<LeaseJournal<A>> {
    // Fails if another process holds the journal's lock.
    drop(LeaseJournal::<A>::open(directory, name)?);
    std::fs::write(directory.join(format!("{name}.leases")), contents)?;
    // Opening syncs what was written.
    LeaseJournal::open(directory, name)
}

#[cfg(test)]
mod tests;
