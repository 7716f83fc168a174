//! Moves the leases of a network to another directory: all that the files have is on the disk there before the
//! files of before are removed.

use super::{Place, Running};
use crate::dhcp::range::Address;
use crate::journal::{Journal, name6};
use crate::link::remove_copies;
use crate::site::{Entering, Leaving};
use crate::turns;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;
use std::thread;

/// The endings of the files of a journal, and that of what was booted once.
const ENDINGS: [&str; 3] = ["leases", "lock", "turns"];

impl Running {
    /// Moves the leases. The thread of DHCP has ended then. The files of before stay until
    /// [`Running::remove_left`].
    ///
    /// # Errors
    /// They cannot be kept there, in words: all is as before.
    pub(super) fn leave(&mut self, directory: &Path, place: Place) -> Result<(), String> {
        let (section, before) = {
            let site = self.site.lock();
            (site.name().to_owned(), site.lan().leases.clone())
        };
        let moved = { self.keeper.as_ref() }
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
                // Its thread opens the files of before again.
                let again = self.server.answer(self.site.clone(), place);
                again.map_err(|error| language::reason(&error))?;
                Err(told)
            }
        }
    }

    /// Removes the files of before, which nothing writes any more: what they have would be wrong soon.
    pub(super) fn remove_left(&mut self, place: Place) {
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
        // What cannot be removed stays.
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

/// Does something on a thread that is left with one directory.
fn confined<T: Send + 'static>(
    directory: &Path,
    place: Place,
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

fn enter(directory: &Path, section: &str, leaving: &Leaving) -> io::Result<Entering> {
    if let Some(turns) = &leaving.turns {
        turns::write(&directory.join(format!("{section}.turns")), turns)?;
    }
    let leases = { leaving.leases.as_ref() }.map(|text| journal(directory, section, text));
    let name6 = name6(section);
    let leases6 = { leaving.leases6.as_ref() }.map(|text| journal(directory, &name6, text));
    Ok(Entering {
        leases: leases.transpose()?,
        leases6: leases6.transpose()?,
    })
}

/// Makes a journal of a text. One that is there is of before.
fn journal<A: Address>(directory: &Path, name: &str, text: &str) -> io::Result<Journal<A>> {
    // Another process may have it.
    drop(Journal::<A>::open(directory, name)?);
    std::fs::write(directory.join(format!("{name}.leases")), text)?;
    // This syncs what was written.
    Journal::open(directory, name)
}

#[cfg(test)]
mod tests;
