//! Finds the volumes that a guest writes, and groups their snapshots by the moment at which they
//! were taken: snapshots with the same time and the same label belong together.

use clap::ArgMatches;
use command::status::ask_part;
use guest::config::Guest;
use guest::message::{GuestConfiguration, GuestConfigurationRequest};
use std::collections::BTreeMap;
use supervisor::directory::Instance;
use volume::cli::section;
use volume::config::Spec;
use volume::device::{Label, Snapshot, SnapshotReason, Stamp, snapshot};

/// A volume that a guest writes, with its section.
pub(super) struct Disk {
    pub(super) volume: String,
    pub(super) spec: Spec,
}

/// Snapshots of a guest's disks with the same time and label, and the volumes that lack one.
#[derive(Default)]
pub(super) struct Moment {
    pub(super) snapshots: Vec<(String, Snapshot)>,
    pub(super) lacks: Vec<String>,
}

pub(super) fn known(instance: &Instance, name: &str) -> Result<GuestConfiguration, String> {
    let name = name.to_owned();
    ask_part(instance, GuestConfigurationRequest { name }.envelope())
}

/// Returns the volumes that a guest writes. Volumes that it only reads are not included.
pub(super) fn of(matches: &ArgMatches, guest: &Guest) -> Result<Vec<Disk>, String> {
    let written = guest.disks.iter().filter(|disk| !disk.read_only);
    written
        .map(|disk| {
            let (spec, _) = section(matches, &disk.volume)?;
            let volume = disk.volume.clone();
            Ok(Disk { volume, spec })
        })
        .collect()
}

/// Returns the snapshots of all disks by their time and label, the oldest first.
pub(super) fn moments(disks: &[Disk]) -> Result<BTreeMap<(Stamp, Label), Moment>, String> {
    let mut moments: BTreeMap<(Stamp, Label), Moment> = BTreeMap::new();
    for disk in disks {
        let all = snapshot::list(&disk.spec.backing, &disk.volume);
        for one in all.map_err(|error| error.to_string())? {
            if let SnapshotReason::Guest(label) = one.kind {
                let moment = moments.entry((one.stamp, label)).or_default();
                moment.snapshots.push((disk.volume.clone(), one));
            }
        }
    }
    for moment in moments.values_mut() {
        let lacks = disks.iter().map(|disk| &disk.volume);
        let lacks = lacks.filter(|volume| !moment.snapshots.iter().any(|(has, _)| has == *volume));
        moment.lacks = lacks.cloned().collect();
    }
    Ok(moments)
}

pub(super) fn find(
    disks: &[Disk],
    guest: &str,
    name: &str,
) -> Result<((Stamp, Label), Moment), String> {
    let mut all = moments(disks)?.into_iter();
    let is = |(stamp, label): &(Stamp, Label)| {
        stamp.to_string() == name || (!name.is_empty() && label.text() == name)
    };
    all.find(|(title, _)| is(title)).ok_or_else(|| {
        format!(
            "guest {guest} has no snapshot '{name}': `evenkeel guest snapshots {guest}` lists them"
        )
    })
}

pub(super) fn words((stamp, label): &(Stamp, Label)) -> String {
    match label.text() {
        "" => stamp.to_string(),
        label => format!("{stamp} ({label})"),
    }
}
