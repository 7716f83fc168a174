//! Sets the mark "incomplete" on a volume before a command replaces its content, and removes the
//! mark when the command reports that all data is on stable storage. A command that is killed
//! leaves the mark, and then only commands may open the volume.

use super::order::tell;
use super::transfer::Stopped;
use super::{find, load_volume_report};
use crate::message::VolumeOrder;
use crate::overwrite::{OverwriteKind, OverwriteMark};
use crate::report::INCOMPLETE;
use ::command::word;
use clap::ArgMatches;
use part::status::{Overwriting, VolumeReport};
use rustix::rand::{GetRandomFlags, getrandom};
use std::time::{Duration, Instant};

/// Timeout until the mark is stored or removed. With two copies, a majority of the cluster has to
/// record the change.
const RECORD_MAX: Duration = Duration::from_secs(20);
const RECORD_LOOK: Duration = Duration::from_millis(50);
const OPEN_MAX: Duration = Duration::from_secs(2);

/// Mark that this command has set on the volume that it overwrites.
pub struct Overwrite {
    name: String,
    mark: OverwriteMark,
}

pub fn incomplete(matches: &ArgMatches, name: &str) -> Result<Option<String>, String> {
    let (_, report) = load_volume_report(matches)?;
    let subject = find(&report, name)?;
    let is_incomplete = VolumeReport::of(subject).overwriting.is_some();
    Ok(is_incomplete.then(|| subject.words(INCOMPLETE).unwrap_or_default()))
}

fn overwriting(matches: &ArgMatches, name: &str) -> Result<Option<Overwriting>, String> {
    let (_, report) = load_volume_report(matches)?;
    Ok(VolumeReport::of(find(&report, name)?).overwriting)
}

impl Overwrite {
    /// Marks a volume that this command has open as the volume's user. Returns when the mark is
    /// stored.
    pub fn begin(
        matches: &ArgMatches,
        name: &str,
        kind: OverwriteKind,
    ) -> Result<Overwrite, Stopped> {
        let mut bytes = [0; 2];
        getrandom(&mut bytes, GetRandomFlags::empty()).map_err(|errno| errno.to_string())?;
        let seconds = part::clock::unix_ms() / 1_000;
        let mark = OverwriteMark::new(kind, seconds, u16::from_ne_bytes(bytes));
        let begun = Overwrite {
            name: name.to_owned(),
            mark,
        };
        let is_stored = |shown: Option<Overwriting>| {
            shown.is_some_and(|shown| shown.is_running && shown.mark == mark.number())
        };
        match begun.request(matches, false, is_stored) {
            Ok(()) => Ok(begun),
            Err(words) => {
                // Withdraws the mark: the cluster may still record it, although the order has
                // failed here.
                let withdrawn = begun.send(matches, true);
                let withdrawn = withdrawn.err().map_or(String::new(), |words| {
                    format!(". The mark was not withdrawn: {words}")
                });
                Err(format!(
                    "volume '{name}' cannot be marked as incomplete before it is overwritten: {words}{withdrawn}"
                )
                .into())
            }
        }
    }

    /// Removes the mark. The caller ensures that all data is on stable storage.
    pub fn end(self, matches: &ArgMatches) -> Result<(), String> {
        let Overwrite { name, mark } = &self;
        let is_removed =
            |shown: Option<Overwriting>| shown.is_none_or(|shown| shown.mark != mark.number());
        self.request(matches, true, is_removed).map_err(|words| {
            format!(
                "all data of volume '{name}' was written, but it is still marked as incomplete: {words}"
            )
        })
    }

    fn request(
        &self,
        matches: &ArgMatches,
        is_done: bool,
        is_reached: impl Fn(Option<Overwriting>) -> bool,
    ) -> Result<(), String> {
        let begun = Instant::now();
        while let Err(words) = self.send(matches, is_done) {
            if begun.elapsed() >= OPEN_MAX {
                return Err(words);
            }
            std::thread::sleep(RECORD_LOOK);
        }
        loop {
            if is_reached(overwriting(matches, &self.name)?) {
                return Ok(());
            }
            if begun.elapsed() >= RECORD_MAX {
                return Err(format!(
                    "the mark was not stored within {} s: a volume with two copies needs its owner and a \
                     majority of the cluster (`evenkeel volume show {}`)",
                    RECORD_MAX.as_secs(),
                    self.name
                ));
            }
            std::thread::sleep(RECORD_LOOK);
        }
    }

    fn send(&self, matches: &ArgMatches, is_done: bool) -> Result<(), String> {
        let (instance, _) = load_volume_report(matches)?;
        let order = VolumeOrder::Mark {
            name: self.name.clone(),
            mark: self.mark.number(),
            is_done,
        };
        tell(&instance, &order)
    }
}

pub(super) fn accept(matches: &ArgMatches) -> Result<String, String> {
    let name = word(matches, "NAME");
    let Some(words) = incomplete(matches, &name)? else {
        return Ok(format!("volume {name} is complete\n"));
    };
    if !matches.get_flag("yes") {
        return Err(format!(
            "not confirmed, nothing was changed. With `--yes`, volume '{name}' is used as it is, although {words}: it has \
             parts of the old and of the new content, so its file systems may be damaged"
        ));
    }
    accepted(matches, &name)?;
    Ok(format!("volume {name} is used as it is: {words}\n"))
}

pub fn accepted(matches: &ArgMatches, name: &str) -> Result<(), String> {
    let (instance, _) = load_volume_report(matches)?;
    tell(
        &instance,
        &VolumeOrder::Accept {
            name: name.to_owned(),
        },
    )?;
    let begun = Instant::now();
    while incomplete(matches, name)?.is_some() {
        if begun.elapsed() >= RECORD_MAX {
            return Err(format!(
                "the order to use volume '{name}' as it is was not stored within {} s: `evenkeel volume \
                 show {name}` shows whether it has an owner",
                RECORD_MAX.as_secs()
            ));
        }
        std::thread::sleep(RECORD_LOOK);
    }
    Ok(())
}
