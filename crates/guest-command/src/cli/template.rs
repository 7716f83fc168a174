//! Implements `evenkeel guest template`, which prints the lines that make a guest a template. The
//! command changes nothing: a guest is a template by its section in the configuration.

use super::{disks, find, load_guest_report, snapshot, unknown};
use clap::ArgMatches;
use command::word;
use guest::config::Guest;
use guest::section::word as written;
use part::status::{GuestReport, GuestState};
use std::io::{Write, stderr};

pub(super) fn main(matches: &ArgMatches) -> Result<String, String> {
    let name = word(matches, "NAME");
    let (instance, report) = load_guest_report(matches)?;
    let is_template = GuestReport::of(find(&report, &name)?).state == GuestState::Template;
    let guest = disks::known(&instance, &name)?.served;
    let guest = guest.ok_or_else(|| unknown(&name))?;
    match (is_template, matches.get_flag("undo")) {
        (true, false) => Ok(format!("guest {name} is already a template\n")),
        (false, true) => Ok(format!("guest {name} is not a template\n")),
        (true, true) => {
            say(
                "remove these lines, and apply or reload the files; then the guest can start. Guests that were cloned from it \
                 have volumes of their own and are not affected",
            );
            Ok(lines(&name, &guest))
        }
        (false, false) => {
            snapshot::is_down(matches, &name)?;
            say(
                "add these lines to the sections of these names, and apply or reload the files. Then the \
                 guest never starts, and nobody can write to its volumes",
            );
            Ok(lines(&name, &guest))
        }
    }
}

fn say(words: &str) {
    // Writes to standard error, because standard output has only the lines.
    let _ = writeln!(stderr(), "{words}");
}

fn lines(name: &str, guest: &Guest) -> String {
    let volumes = guest.disks.iter().filter(|disk| !disk.read_only);
    let volumes =
        volumes.map(|disk| format!("volume {}\n    read-only yes\n", written(&disk.volume)));
    let guest = format!("guest {}\n    template yes\n", written(name));
    std::iter::once(guest).chain(volumes).collect()
}
