//! Finds what a cluster loses by the removal of a node, so that the command can refuse it: volumes
//! without a complete copy on another node, and guests that may run only on that node.

use crate::config;
use cluster::file_set::FileSet;
use cluster::member::MemberKind;
use cluster::role::status::{ClusterStatus, MemberStatus};
use command::{instance, status};
use guest::config::Guests;
use part::codec;
use part::report::{StatusReport, Subject};
use part::status::{CompleteCopies, VolumeReport};
use volume::config::{Spec, Volumes};
use volume::report::VOLUME;

/// Refuses the removal of another node if volumes or guests of the accepted version would be lost.
/// Without a majority, and for other members, the control role decides alone.
///
/// # Errors
/// Returns what would be lost and what to do, or why that is unknown.
pub fn check(name: &str, status: &ClusterStatus) -> Result<(), String> {
    let is_it = |one: &&MemberStatus| one.name == name || one.id.to_string() == name;
    let member = status.members.iter().find(is_it);
    let member = member.filter(|one| one.kind == MemberKind::Node && one.id != status.me);
    let Some(member) = member.filter(|_| status.majority) else {
        return Ok(());
    };
    if status.configuration.accepted.is_none() {
        return Ok(());
    }
    let nodes = status
        .members
        .iter()
        .filter(|one| one.kind == MemberKind::Node);
    let nodes: Vec<String> = nodes.map(|one| one.name.clone()).collect();
    let node = &member.name;
    let set = config::accepted_files().map_err(|error| unknown(node, &error))?;
    let has = Has::of(set, node, &nodes)
        .ok_or_else(|| unknown(node, "the accepted version has errors here"))?;
    let report = instance::find_instance(&[], None)
        .ok()
        .and_then(|instance| {
            // Ignores the error of a node without volumes, which has no report of that role.
            status::report(&instance, volume::keyword::NAME).ok()
        });
    let me = status.name_of(status.me);
    let lost = has.lost(node, &me, &report.unwrap_or_default());
    if lost.is_empty() {
        Ok(())
    } else {
        Err(refusal(node, &lost))
    }
}

fn unknown(node: &str, why: &str) -> String {
    format!(
        "nothing was changed. It is unknown which volumes and guests would be lost with {node}: {why}. \
         `evenkeel cluster remove {node} --yes` removes it anyway"
    )
}

fn refusal(node: &str, lost: &[String]) -> String {
    let lost: String = lost.iter().map(|line| format!("  {line}\n")).collect();
    format!(
        "nothing was changed. With {node} the cluster would lose:\n{lost}Bring {node} back, and wait until `evenkeel \
         volume show` reports both copies as complete; move what only {node} has. If {node} never returns, \
         `evenkeel cluster remove {node} --yes` removes it anyway"
    )
}

/// Volumes and guests that the accepted version assigns to a node.
struct Has {
    volumes: Volumes,
    guests: Guests,
}

impl Has {
    /// Loads a version as the given node does; None if the version has errors.
    fn of(mut set: FileSet, node: &str, nodes: &[String]) -> Option<Has> {
        node.clone_into(&mut set.node);
        let payload = |part| config::payload(&set, nodes, part);
        let volumes = payload(volume::keyword::NAME)?;
        let guests = payload(guest::keyword::NAME)?;
        let volumes = volumes.map(|bytes| codec::decode(&bytes)).transpose();
        let guests = guests.map(|bytes| codec::decode(&bytes)).transpose();
        Some(Has {
            volumes: volumes.ok()?.unwrap_or_default(),
            guests: guests.ok()?.unwrap_or_default(),
        })
    }

    /// Returns what would be lost with the node, one entry per volume or guest. `report` is the
    /// report about volumes by this machine, which has the name `me`.
    fn lost(&self, node: &str, me: &str, report: &StatusReport) -> Vec<String> {
        let volumes = self.volumes.0.iter().filter_map(|(name, spec)| {
            let subject = report.find(VOLUME, name);
            let why = only_there(node, me, spec, subject)?;
            Some(format!("volume {name}: {why}"))
        });
        let only = |prefer: &[String]| prefer.iter().all(|one| one == node) && !prefer.is_empty();
        let guests = self
            .guests
            .guests
            .iter()
            .filter(|(_, guest)| only(&guest.prefer))
            .map(|(name, _)| format!("guest {name}: its line `prefer` names only {node}"));
        volumes.chain(guests).collect()
    }
}

/// Returns why a volume may lose its last complete copy with the node. Returns None if the other
/// node has a complete copy, or if neither copy is complete.
fn only_there(node: &str, me: &str, spec: &Spec, own: Option<&Subject>) -> Option<String> {
    let pair = spec.pair.as_ref().filter(|pair| !pair.other.is_empty());
    let Some(other) = pair.map(|pair| &pair.other) else {
        return Some(format!("{node} has its only copy"));
    };
    if other != me {
        return Some(format!(
            "whether the copy of {other} is complete is not known here; run the command on {other}"
        ));
    }
    let complete = own.map(|own| VolumeReport::of(own).complete);
    match complete.unwrap_or_default() {
        CompleteCopies::Both | CompleteCopies::Local | CompleteCopies::Neither => None,
        CompleteCopies::Other => Some(format!(
            "only the copy of {node} is complete, that of {other} lacks writes"
        )),
        CompleteCopies::Unknown => Some(format!(
            "whether the copy of {other} is complete is not known now; `evenkeel volume list` shows why"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::file_set::SetFile;
    use cluster::member::MemberId;

    const FILES: &str = "volume mail\n    size 1g\n    on alpha beta\n    backing file /srv/volumes\n\
                         volume shop\n    size 1g\n    on beta\n    backing file /srv/volumes\n\
                         volume web\n    size 1g\n    on alpha\n    backing file /srv/volumes\n\
                         guest mail\n    prefer alpha beta\n    memory 1g\n    disk mail\n\
                         guest shop\n    prefer beta\n    memory 1g\n    disk shop\n";

    fn has(node: &str) -> Has {
        let file = SetFile {
            path: "site.cfg".to_owned(),
            main: true,
            secret: false,
            mode: 0o644,
            bytes: FILES.as_bytes().to_vec(),
        };
        let set = FileSet {
            // Uses the node name with which the queried node reports the version.
            node: "alpha".to_owned(),
            files: vec![file],
            ..FileSet::default()
        };
        let nodes = ["alpha", "beta"].map(str::to_owned);
        Has::of(set, node, &nodes).unwrap()
    }

    fn report(complete: CompleteCopies) -> StatusReport {
        let mail = Subject::new(VOLUME, "mail").publish(&VolumeReport {
            complete,
            ..VolumeReport::default()
        });
        StatusReport {
            subjects: vec![mail],
            ..StatusReport::default()
        }
    }

    #[test]
    fn removal_reports_only_copies_and_bound_guests() {
        let of_shop = [
            "volume shop: beta has its only copy",
            "guest shop: its line `prefer` names only beta",
        ];
        let beta = has("beta");
        for complete in [
            CompleteCopies::Both,
            CompleteCopies::Local,
            CompleteCopies::Neither,
        ] {
            assert_eq!(
                beta.lost("beta", "alpha", &report(complete)),
                of_shop,
                "{complete:?}"
            );
        }
        let lost = beta.lost("beta", "alpha", &report(CompleteCopies::Other));
        assert_eq!(
            lost,
            [
                "volume mail: only the copy of beta is complete, that of alpha lacks writes",
                of_shop[0],
                of_shop[1]
            ]
        );
        let words = refusal("beta", &lost);
        assert!(words.contains("volume mail: only"), "{words}");
        assert!(words.contains("cluster remove beta --yes"), "{words}");
    }

    #[test]
    fn unknown_copy_counts_as_incomplete() {
        let beta = has("beta");
        for report in [report(CompleteCopies::Unknown), StatusReport::default()] {
            let lost = beta.lost("beta", "alpha", &report);
            assert!(
                lost[0].contains("alpha is complete is not known now"),
                "{lost:?}"
            );
            assert_eq!(lost.len(), 3, "{lost:?}");
        }
        // A third node has no copy.
        let lost = beta.lost("beta", "gamma", &report(CompleteCopies::Both));
        assert!(lost[0].contains("run the command on alpha"), "{lost:?}");
    }

    #[test]
    fn control_role_decides_alone_without_a_node_or_majority() {
        let mut status = ClusterStatus {
            me: MemberId(1),
            majority: true,
            ..ClusterStatus::default()
        };
        let member = |id, name: &str, kind| MemberStatus {
            id: MemberId(id),
            name: name.to_owned(),
            kind,
            ..MemberStatus::default()
        };
        status.members = vec![
            member(1, "alpha", MemberKind::Node),
            member(2, "beta", MemberKind::Node),
            member(3, "tie", MemberKind::Arbiter),
        ];
        for name in ["alpha", "beta", "tie", "nobody"] {
            // No version is accepted.
            assert_eq!(check(name, &status), Ok(()), "{name}");
        }
        status.configuration.accepted = Some(cluster::command::VersionId(1));
        status.majority = false;
        assert_eq!(check("beta", &status), Ok(()));
        status.majority = true;
        for name in ["alpha", "tie", "nobody"] {
            assert_eq!(check(name, &status), Ok(()), "{name}");
        }
    }
}
