//! Implements `evenkeel guest remove`, which orders the guest role to remove the files and records
//! of a guest without a section. For a guest with a section, it prints the necessary steps,
//! including the commands that delete the volumes.

use super::disks::{self, Disk};
use super::{load_guest_report, order, snapshot};
use clap::ArgMatches;
use command::word;
use guest::message::GuestOrder;
use guest::role::report::GUEST;
use guest::section::word as written;
use part::status::{GuestReport, GuestState};
use std::time::{Duration, Instant};
use volume::config::backing_words;

const REMOVE_MAX: Duration = Duration::from_secs(15);
const LOOK_EVERY: Duration = Duration::from_millis(100);

pub(super) fn main(matches: &ArgMatches) -> Result<String, String> {
    let name = word(matches, "NAME");
    let (instance, report) = load_guest_report(matches)?;
    let known = disks::known(&instance, &name)?;
    if let Some(guest) = known.served {
        let subject = report.find(GUEST, &name);
        let is_template = |subject| GuestReport::of(subject).state == GuestState::Template;
        if !subject.is_some_and(is_template) {
            snapshot::is_down(matches, &name)?;
        }
        return Ok(steps(&name, &disks::of(matches, &guest)?));
    }
    let until = Instant::now() + REMOVE_MAX;
    loop {
        match order::query_order(&instance, &GuestOrder::Remove { name: name.clone() })? {
            answer if answer.good => return Ok(format!("{}\n", answer.words)),
            answer if answer.is_being_removed() && Instant::now() < until => {
                std::thread::sleep(LOOK_EVERY);
            }
            answer if answer.is_being_removed() => {
                return Err(format!(
                    "{}: another node may still have the guest: `evenkeel guest list` there shows it",
                    answer.words
                ));
            }
            answer => return Err(answer.words),
        }
    }
}

fn steps(name: &str, disks: &[Disk]) -> String {
    let mut text = format!(
        "guest {name} is stopped, but its section is still served. To remove it:\n\
         1. remove the section `guest {}` and apply or reload the files\n\
         2. run `evenkeel guest remove {name}` again, on each node\n",
        written(name)
    );
    if disks.is_empty() {
        text += "It has no volumes of its own.\n";
        return text;
    }
    text += "Its volumes stay. To delete one, remove its section as well, then run on each node that has a copy:\n";
    for disk in disks {
        text += &format!(
            "   evenkeel volume remove {} --backing {} --yes\n",
            written(&disk.volume),
            backing_words(&disk.spec.backing)
        );
    }
    text
}
