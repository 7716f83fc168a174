//! Finds the volumes to which images are copied: those of an existing guest, or named ones.
//! Sections for missing volumes are printed for pasting, with the commands that follow: the
//! operator's files are never edited.

use crate::cli::find;
use ::image::section::{GuestDraft, VolumeLocation};
use clap::ArgMatches;
use command::instance;
use command::status::reports;
use guest::keyword::NAME as GUESTS;
use guest::role::report::{GUEST, NODE, THIS_NODE};
use part::control::PART as CLUSTER;
use part::report::{StatusReport, Subject};
use part::status::{CopyNodes, GuestReport, GuestState, MemberKind, MemberReport, VolumeReport};
use std::fmt::Write;
use volume::keyword::NAME as VOLUMES;
use volume::report::{SIZE, VOLUME};

const NAME_MAX: usize = 64;

pub struct ImageDestination {
    /// Names of the target volumes, in the order of the images.
    pub volumes: Vec<String>,
    /// Sizes of the target volumes in bytes, in the order of the images.
    pub sizes: Vec<u64>,
    /// Sections and commands that the operator has to add first; empty if all volumes exist.
    pub before: String,
    pub after: String,
}

impl ImageDestination {
    /// Checks that all volumes exist; otherwise prints the necessary steps.
    ///
    /// # Errors
    /// Fails if a volume is missing.
    pub fn is_there(&self) -> Result<(), String> {
        if self.before.is_empty() {
            return Ok(());
        }
        // Ignores an error: without a reader the error message is sufficient.
        let _ = std::io::Write::write_all(&mut std::io::stderr(), self.before.as_bytes());
        Err(format!(
            "volume {} does not exist yet",
            self.volumes.join(" or ")
        ))
    }
}

/// Checks that a text can be the name of a new guest and of its volume.
///
/// # Errors
/// Fails if the text cannot be such a name.
pub fn can_be_named(name: &str) -> Result<(), String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let begins = name.starts_with(|first: char| first.is_ascii_alphanumeric());
    if begins && name.len() <= NAME_MAX && name.bytes().all(fits) {
        Ok(())
    } else {
        Err(format!(
            "{name:?} cannot be the name of a guest: at most {NAME_MAX} letters, digits, `.`, `_` and `-`, and a letter or \
             digit first"
        ))
    }
}

/// Finds the target volumes for the images of a planned guest. `draft` describes that guest; for an
/// existing guest, its disks replace those of the draft.
///
/// # Errors
/// Fails if no instance runs, if the guest runs, or if it has fewer disks than images.
pub fn find_place(
    matches: &ArgMatches,
    draft: &mut GuestDraft,
) -> Result<ImageDestination, String> {
    can_be_named(&draft.name)?;
    let instance = instance::selected(matches)?;
    let [volumes, guests, cluster] = reports(&instance, [VOLUMES, GUESTS, CLUSTER]);
    let volumes = match volumes {
        Ok(volumes) => volumes,
        // Counts as no volumes, because the first ones are about to be created.
        Err(error) if error.has_nothing() => StatusReport::default(),
        Err(error) => return Err(error.to_string()),
    };
    let guests = match guests {
        Ok(guests) => Some(guests),
        // Counts as no guests, because an instance without guests has none of this name.
        Err(error) if error.has_nothing() => None,
        // Fails on any other error, because the guest may run.
        Err(error) => return Err(error.to_string()),
    };
    let known = guests
        .as_ref()
        .is_some_and(|report| report.find(GUEST, &draft.name).is_some());
    if let Some(report) = guests.as_ref().filter(|_| known) {
        of_guest(report, draft)?;
    }
    let mut site = site(&volumes, guests.as_ref());
    if site.nodes.is_empty() {
        // Counts as no members, because there are none without a cluster.
        site.nodes = cluster.ok().as_ref().map(nodes_of).unwrap_or_default();
    }
    let mut before = String::new();
    let mut commands = String::new();
    let mut sizes = Vec::new();
    for (index, (name, _)) in draft.disks.iter().enumerate() {
        match volumes.find(VOLUME, name) {
            None => {
                let _ = writeln!(before, "{}", draft.volume(index, &site));
                let _ = writeln!(
                    commands,
                    "  evenkeel volume create {name}    # on each node of `on`"
                );
            }
            Some(volume) if VolumeReport::of(volume).socket.is_empty() => {
                let why = if volume.why.is_empty() {
                    ""
                } else {
                    &volume.why
                };
                let _ = writeln!(
                    commands,
                    "  evenkeel volume create {name}    # now: {} {why}",
                    volume.state.word
                );
            }
            Some(volume) => sizes.push(volume.value(SIZE).unwrap_or_default()),
        }
    }
    let after = if known {
        format!("Next:\n  evenkeel guest start {}\n", draft.name)
    } else {
        format!(
            "Next: add the guest to the configuration and reload (or `evenkeel config apply FILE` in a cluster). It starts by \
             itself:\n\n{}",
            draft.guest(&site)
        )
    };
    Ok(ImageDestination {
        volumes: draft.disks.iter().map(|(name, _)| name.clone()).collect(),
        sizes,
        before: missing(&before, &commands),
        after,
    })
}

fn missing(sections: &str, commands: &str) -> String {
    if commands.is_empty() {
        return String::new();
    }
    let mut text = String::new();
    if !sections.is_empty() {
        let _ = write!(
            text,
            "Add to the configuration, with sizes and paths as needed:\n\n{sections}"
        );
    }
    text += "Then run, and this command again:\n";
    if !sections.is_empty() {
        text += "  evenkeel reload    # in a cluster: evenkeel config apply FILE\n";
    }
    text + commands
}

/// Uses the disks of an existing guest, and refuses a running one.
fn of_guest(report: &StatusReport, draft: &mut GuestDraft) -> Result<(), String> {
    let subject = find(report, &draft.name)?;
    let guest = GuestReport::of(subject);
    let is_elsewhere = guest.state == GuestState::Elsewhere;
    if subject.value("process").is_some_and(|pid| pid > 0) || is_elsewhere {
        let there = if is_elsewhere {
            format!(" on {}", guest.node)
        } else {
            String::new()
        };
        return Err(format!(
            "guest '{name}' runs{there}: stop it first (`evenkeel guest stop {name}`; one without a system needs `--kill`)",
            name = draft.name
        ));
    }
    let disks = guest.disks.into_iter().filter(|disk| !disk.is_read_only);
    let disks: Vec<String> = disks.map(|disk| disk.volume).collect();
    if disks.len() < draft.disks.len() {
        return Err(format!(
            "guest '{}' has {} writable disks, and {} are imported: add `disk` lines to its section",
            draft.name,
            disks.len(),
            draft.disks.len()
        ));
    }
    for ((name, _), disk) in draft.disks.iter_mut().zip(disks) {
        *name = disk;
    }
    Ok(())
}

fn nodes_of(cluster: &StatusReport) -> Vec<String> {
    let members = cluster.of_kind("member");
    let is_node = |one: &&Subject| MemberReport::of(one).kind == MemberKind::Node;
    members
        .filter(is_node)
        .map(|one| one.name.clone())
        .collect()
}

fn site(volumes: &StatusReport, guests: Option<&StatusReport>) -> VolumeLocation {
    let nodes = guests.into_iter().flat_map(|report| report.of_kind(NODE));
    let nodes = nodes
        .map(|node| node.name.clone())
        .filter(|name| name != THIS_NODE);
    let mut site = VolumeLocation {
        nodes: nodes.collect(),
        ..VolumeLocation::default()
    };
    // Ignores a device, which belongs to one volume only.
    let is_shared = |volume: &VolumeReport| {
        !volume.backing.is_empty() && volume.backing.split(' ').next() != Some("device")
    };
    let mut all = volumes.of_kind(VOLUME).map(VolumeReport::of);
    if let Some(volume) = all.find(is_shared) {
        site.backing = volume.backing;
        if site.nodes.is_empty() {
            let CopyNodes { local, other } = volume.copies.unwrap_or_default();
            site.nodes = [local, other].into_iter().collect();
            site.nodes.retain(|node| !node.is_empty());
        }
    }
    site
}

#[cfg(test)]
mod tests {
    use super::*;
    use part::status::{GuestDisk, GuestReport, GuestState};

    fn report(subjects: Vec<Subject>) -> StatusReport {
        StatusReport {
            part: "guest".to_owned(),
            at: Default::default(),
            subjects,
            rows: Vec::new(),
        }
    }

    fn draft(disks: usize) -> GuestDraft {
        GuestDraft {
            name: "mail".to_owned(),
            disks: vec![("x".to_owned(), 1); disks],
            ..GuestDraft::default()
        }
    }

    #[test]
    fn disks_are_those_of_a_guest_that_does_not_run() {
        let guest = |pid| {
            let disks = ["a", "b", "c"].map(|volume| GuestDisk {
                volume: volume.to_owned(),
                is_read_only: volume == "b",
            });
            let status = GuestReport {
                disks: disks.into(),
                ..GuestReport::default()
            };
            Subject::new(GUEST, "mail")
                .publish(&status)
                .number("process", pid)
        };
        let mut two = draft(2);
        of_guest(&report(vec![guest(0)]), &mut two).unwrap();
        assert_eq!(two.disks, [("a".to_owned(), 1), ("c".to_owned(), 1)]);
        let words = of_guest(&report(vec![guest(0)]), &mut draft(3)).unwrap_err();
        assert!(words.contains("has 2 writable disks, and 3"), "{words}");
        let words = of_guest(&report(vec![guest(7)]), &mut draft(1)).unwrap_err();
        assert!(words.contains("`evenkeel guest stop mail`"), "{words}");
        let elsewhere = guest(0).publish(&GuestReport {
            state: GuestState::Elsewhere,
            node: "beta".to_owned(),
            ..GuestReport::default()
        });
        let words = of_guest(&report(vec![elsewhere]), &mut draft(1)).unwrap_err();
        assert!(words.contains("runs on beta"), "{words}");
    }

    #[test]
    fn a_new_section_follows_the_existing_ones() {
        let volume = Subject::new(VOLUME, "web").publish(&VolumeReport {
            backing: "lvm vg0/pool".to_owned(),
            copies: Some(CopyNodes {
                local: "alpha".to_owned(),
                other: "beta".to_owned(),
            }),
            ..VolumeReport::default()
        });
        let found = site(&report(vec![volume]), None);
        assert_eq!(
            (found.nodes.len(), found.backing.as_str()),
            (2, "lvm vg0/pool")
        );
        assert_eq!(site(&report(Vec::new()), None), VolumeLocation::default());
        assert_eq!(missing("", ""), "");
        let text = missing("volume mail\n", "  evenkeel volume create mail\n");
        assert!(
            text.contains("evenkeel reload") && text.starts_with("Add to"),
            "{text}"
        );
    }
}
