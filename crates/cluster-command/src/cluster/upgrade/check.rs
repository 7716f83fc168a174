//! Decides by the status of the cluster and of this member whether this member may be upgraded, and
//! whether it is complete afterwards.

use cluster::member::MemberKind;
use cluster::role::status::{ClusterStatus, MemberStatus};
use cluster::role::upgrade::LEASE;
use part::status::{CompleteCopies, VolumeReport, VolumeServiceState};
use serde::Serialize;

/// Largest difference of minor versions between members that work together.
const MINOR_VERSIONS_MAX: u64 = 2;

/// Facts about the cluster and about this member at one time.
#[derive(Debug, Default)]
pub struct UpgradeFacts {
    pub status: ClusterStatus,
    /// Volumes of this node; `None` if the volume role does not report.
    pub volumes: Option<Vec<(String, VolumeReport)>>,
    /// Roles of this member whose process runs another program than the installed one.
    pub old_roles: Vec<String>,
    /// Roles of this member that are starting, stopping, paused or restarting.
    pub waiting_roles: Vec<String>,
    pub is_supervisor_old: bool,
}

/// Reason why this member cannot be upgraded now, or is not complete after its upgrade.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, thiserror::Error)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Obstacle {
    #[error("no majority of the members is reachable")]
    NoMajority,
    #[error("{member} is not reachable")]
    Unreachable { member: String },
    #[error("{member} does not vote: it lacks a part of the log")]
    NoVote { member: String },
    #[error("{member} does not serve the accepted version")]
    NotServing { member: String },
    #[error("{member} runs without its supervisor")]
    NoSupervisor { member: String },
    #[error("the disk of {member} does not work: {reason}")]
    Disk { member: String, reason: String },
    #[error("version {version} is being applied")]
    Change { version: u64 },
    #[error("volume {volume}: only one copy is complete, or the nodes have no connection for it")]
    IncompleteCopies { volume: String },
    #[error("the volumes of this node are not known: the volume role does not respond")]
    VolumesUnknown,
    #[error(
        "{member} runs {program}, too far from evenkeel {version}: members may differ by {MINOR_VERSIONS_MAX} minor \
         versions; upgrade in smaller steps"
    )]
    VersionsTooFar {
        member: String,
        program: String,
        version: String,
    },
    #[error("the supervisor still runs the previous program")]
    OldSupervisor,
    #[error("the role {role} still runs the previous program")]
    OldRole { role: String },
    #[error("the role {role} is not running yet")]
    RoleWaits { role: String },
}

impl UpgradeFacts {
    /// Returns whether the supervisor or a role runs another program than the installed one.
    pub fn is_old(&self) -> bool {
        self.is_supervisor_old || !self.old_roles.is_empty()
    }

    /// Returns whether this member has the permission to upgrade.
    pub fn has_permission(&self) -> bool {
        let mut leases = self.status.leases.iter();
        leases.any(|lease| lease.name == LEASE && lease.holder == self.status.me)
    }

    /// Returns what speaks against an upgrade to this version now.
    pub fn obstacles(&self, version: &str) -> Vec<Obstacle> {
        let mut found = self.incomplete_cluster();
        let members = self.status.members.iter();
        let far = members.filter_map(|member| {
            let program = member.program.as_ref()?;
            (!may_work_together(program, version)).then(|| Obstacle::VersionsTooFar {
                member: member.name.clone(),
                program: program.clone(),
                version: version.to_owned(),
            })
        });
        found.extend(far);
        found
    }

    /// Returns what is not as it must be after the upgrade of this member.
    pub fn missing(&self) -> Vec<Obstacle> {
        let mut found = self.missing_here();
        found.extend(self.incomplete_cluster());
        found
    }

    /// Returns which processes of this member are not those of the installed program yet.
    pub fn missing_here(&self) -> Vec<Obstacle> {
        let supervisor = self.is_supervisor_old.then_some(Obstacle::OldSupervisor);
        let old = self.old_roles.iter().cloned();
        let old = old.map(|role| Obstacle::OldRole { role });
        let waiting = self.waiting_roles.iter().cloned();
        let waiting = waiting.map(|role| Obstacle::RoleWaits { role });
        supervisor.into_iter().chain(old).chain(waiting).collect()
    }

    fn incomplete_cluster(&self) -> Vec<Obstacle> {
        let status = &self.status;
        let mut found = Vec::new();
        if !status.majority {
            found.push(Obstacle::NoMajority);
        }
        found.extend(
            status
                .members
                .iter()
                .filter_map(|member| self.fault_of(member)),
        );
        if let Some(version) = status.configuration.moving {
            found.push(Obstacle::Change { version: version.0 });
        }
        match &self.volumes {
            None => found.push(Obstacle::VolumesUnknown),
            Some(volumes) => {
                let incomplete = volumes.iter().filter(|(_, volume)| !is_complete(volume));
                let volume = incomplete.map(|(name, _)| name.clone());
                found.extend(volume.map(|volume| Obstacle::IncompleteCopies { volume }));
            }
        }
        found
    }

    fn fault_of(&self, member: &MemberStatus) -> Option<Obstacle> {
        let name = member.name.clone();
        let is_node = member.kind == MemberKind::Node;
        let accepted = self.status.configuration.accepted;
        let disk = [&member.disk.halted, &member.disk.unkept];
        if !member.reach.is_there() {
            Some(Obstacle::Unreachable { member: name })
        } else if let Some(reason) = disk.into_iter().find(|reason| !reason.is_empty()) {
            Some(Obstacle::Disk {
                member: name,
                reason: reason.clone(),
            })
        } else if member.disk.disk_stuck_ms > 0 {
            Some(Obstacle::Disk {
                member: name,
                reason: "it does not respond".to_owned(),
            })
        } else if !member.votes || !member.lost.is_empty() {
            Some(Obstacle::NoVote { member: name })
        } else if member.supervisor_gone_ms > 0 {
            Some(Obstacle::NoSupervisor { member: name })
        } else if is_node && accepted.is_some() && (member.serves != accepted || member.on_trial) {
            Some(Obstacle::NotServing { member: name })
        } else {
            None
        }
    }
}

/// Returns whether the other node could serve a volume without losing a write. A volume with one copy
/// is complete if it is used here: nobody else can serve it.
fn is_complete(volume: &VolumeReport) -> bool {
    let is_busy = matches!(
        volume.state,
        VolumeServiceState::Opening | VolumeServiceState::Stopping
    );
    match &volume.copies {
        None => !is_busy,
        // A file without the other node, as on a cluster of one node.
        Some(copies) if copies.other.is_empty() => !is_busy,
        Some(_) => volume.complete == CompleteCopies::Both && volume.is_connected,
    }
}

/// Returns whether members with these programs work together. `program` is as a member reports it: a
/// name and, as its last word, the version. Programs with an unknown form count as far apart.
fn may_work_together(program: &str, version: &str) -> bool {
    let one = program.rsplit(' ').next().and_then(numbers);
    match (one, numbers(version)) {
        (Some((major, minor)), Some((other, other_minor))) => {
            major == other && minor.abs_diff(other_minor) <= MINOR_VERSIONS_MAX
        }
        _ => false,
    }
}

/// Returns the major and the minor version of `0.1.0`.
fn numbers(version: &str) -> Option<(u64, u64)> {
    let mut numbers = version.split('.').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

/// Returns the obstacles as a text; `None` if there are none.
pub fn list(obstacles: &[Obstacle]) -> Option<String> {
    let words: Vec<String> = obstacles.iter().map(Obstacle::to_string).collect();
    (!words.is_empty()).then(|| words.join("; "))
}

/// Returns the reachable members that run another version, in the order in which to upgrade them: first
/// the arbiters, which serve no clients, then the nodes with the fewest virtual addresses.
pub fn others_to_upgrade<'s>(status: &'s ClusterStatus, version: &str) -> Vec<&'s str> {
    let runs_another = |member: &&MemberStatus| {
        let program = member.program.as_ref();
        program.is_some_and(|program| program.rsplit(' ').next() != Some(version))
    };
    let others = status.members.iter().filter(|one| one.id != status.me);
    let mut others: Vec<&MemberStatus> = others.filter(runs_another).collect();
    others.sort_by_key(|member| (member.kind == MemberKind::Node, member.addresses_owned));
    others.iter().map(|member| member.name.as_str()).collect()
}

/// Returns a line for each member with its program.
pub fn member_table(status: &ClusterStatus) -> String {
    let width = status.members.iter().map(|member| member.name.len()).max();
    let width = width.unwrap_or_default();
    let line = |member: &MemberStatus| {
        let program = member.program.as_deref().unwrap_or("program not known");
        let kind = match member.kind {
            MemberKind::Node => "node   ",
            MemberKind::Arbiter => "arbiter",
        };
        let here = if member.id == status.me {
            "  (this member)"
        } else {
            ""
        };
        format!("{:width$}  {kind}  {program}{here}\n", member.name)
    };
    status.members.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::command::VersionId;
    use cluster::member::MemberId;
    use cluster::role::status::{LeaseStatus, Reach};
    use part::status::CopyNodes;

    fn member(id: u64, name: &str, kind: MemberKind) -> MemberStatus {
        MemberStatus {
            id: MemberId(id),
            name: name.to_owned(),
            kind,
            votes: true,
            serves: (kind == MemberKind::Node).then_some(VersionId(7)),
            program: Some("evenkeel 0.1.0".to_owned()),
            ..MemberStatus::default()
        }
    }

    fn mirrored(complete: CompleteCopies, is_connected: bool) -> VolumeReport {
        VolumeReport {
            copies: Some(CopyNodes {
                local: "alpha".to_owned(),
                other: "beta".to_owned(),
            }),
            complete,
            is_connected,
            ..VolumeReport::default()
        }
    }

    /// A complete cluster of two nodes and an arbiter, seen by alpha.
    fn complete() -> UpgradeFacts {
        let mut status = ClusterStatus {
            me: MemberId(1),
            majority: true,
            members: vec![
                member(1, "alpha", MemberKind::Node),
                member(2, "beta", MemberKind::Node),
                member(3, "tie", MemberKind::Arbiter),
            ],
            ..ClusterStatus::default()
        };
        status.configuration.accepted = Some(VersionId(7));
        UpgradeFacts {
            status,
            volumes: Some(vec![
                ("mail".to_owned(), mirrored(CompleteCopies::Both, true)),
                ("scratch".to_owned(), VolumeReport::default()),
            ]),
            ..UpgradeFacts::default()
        }
    }

    #[track_caller]
    fn is_refused(change: impl Fn(&mut UpgradeFacts), words: &str) {
        let mut facts = complete();
        change(&mut facts);
        let found = list(&facts.obstacles("0.2.0"));
        assert_eq!(found.as_deref(), Some(words));
        // The same prevents another member's upgrade after this one.
        assert_eq!(list(&facts.missing()).as_deref(), Some(words));
    }

    #[test]
    fn complete_cluster_can_be_upgraded() {
        assert_eq!(complete().obstacles("0.2.0"), []);
        assert_eq!(complete().missing(), []);
    }

    #[test]
    fn incomplete_cluster_waits() {
        is_refused(
            |facts| facts.status.majority = false,
            "no majority of the members is reachable",
        );
        is_refused(
            |facts| facts.status.members[2].reach = Reach::Away,
            "tie is not reachable",
        );
        is_refused(
            |facts| facts.status.members[2].votes = false,
            "tie does not vote: it lacks a part of the log",
        );
        is_refused(
            |facts| facts.status.members[1].lost = "emptied".to_owned(),
            "beta does not vote: it lacks a part of the log",
        );
        is_refused(
            |facts| facts.status.members[1].serves = Some(VersionId(6)),
            "beta does not serve the accepted version",
        );
        is_refused(
            |facts| facts.status.members[1].on_trial = true,
            "beta does not serve the accepted version",
        );
        is_refused(
            |facts| facts.status.members[1].supervisor_gone_ms = 1,
            "beta runs without its supervisor",
        );
        is_refused(
            |facts| facts.status.members[1].disk.halted = "input/output error".to_owned(),
            "the disk of beta does not work: input/output error",
        );
        is_refused(
            |facts| facts.status.members[2].disk.disk_stuck_ms = 10,
            "the disk of tie does not work: it does not respond",
        );
        is_refused(
            |facts| facts.status.configuration.moving = Some(VersionId(8)),
            "version 8 is being applied",
        );
    }

    #[test]
    fn node_with_the_last_complete_copy_waits() {
        let words =
            "volume mail: only one copy is complete, or the nodes have no connection for it";
        for (complete, is_connected) in [
            (CompleteCopies::Local, true),
            (CompleteCopies::Other, true),
            (CompleteCopies::Unknown, true),
            (CompleteCopies::Both, false),
        ] {
            is_refused(
                |facts| {
                    let volume = mirrored(complete, is_connected);
                    facts.volumes = Some(vec![("mail".to_owned(), volume)]);
                },
                words,
            );
        }
        is_refused(
            |facts| facts.volumes = None,
            "the volumes of this node are not known: the volume role does not respond",
        );
    }

    #[test]
    fn versions_differ_by_two_minor_releases_at_most() {
        let mut facts = complete();
        facts.status.members[1].program = Some("evenkeel 0.3.2".to_owned());
        assert_eq!(facts.obstacles("0.2.0"), []);
        let far = list(&facts.obstacles("0.4.0")).unwrap();
        assert!(far.contains("alpha runs evenkeel 0.1.0"), "{far}");
        assert!(!far.contains("beta"), "{far}");
        for (program, version, expected) in [
            ("evenkeel 0.1.0", "0.3.9", true),
            ("evenkeel 0.3.9", "0.1.0", true),
            ("evenkeel 0.1.0", "0.4.0", false),
            ("evenkeel 1.0.0", "0.9.0", false),
            ("evenkeel", "0.1.0", false),
            ("evenkeel x.1.0", "0.1.0", false),
            ("", "0.1.0", false),
        ] {
            assert_eq!(may_work_together(program, version), expected, "{program}");
        }
        // A member that is away reports no program.
        facts.status.members[1].program = None;
        assert_eq!(facts.obstacles("0.2.0"), []);
    }

    #[test]
    fn member_is_complete_when_all_its_processes_are_new() {
        let mut facts = complete();
        facts.is_supervisor_old = true;
        facts.old_roles = vec!["guest".to_owned()];
        facts.waiting_roles = vec!["proxy".to_owned()];
        assert!(facts.is_old());
        let words = list(&facts.missing()).unwrap();
        assert_eq!(
            words,
            "the supervisor still runs the previous program; the role guest still runs the previous program; the role \
             proxy is not running yet"
        );
        assert_eq!(facts.obstacles("0.2.0"), []);
    }

    #[test]
    fn arbiter_is_next_then_the_node_with_fewer_addresses() {
        let mut facts = complete();
        facts.status.members[0].program = Some("evenkeel 0.2.0".to_owned());
        facts.status.members[0].addresses_owned = 2;
        let next = |facts: &UpgradeFacts| {
            let others = others_to_upgrade(&facts.status, "0.2.0");
            others.join(" ")
        };
        assert_eq!(next(&facts), "tie beta");
        facts.status.members[2].program = Some("evenkeel 0.2.0".to_owned());
        assert_eq!(next(&facts), "beta");
        facts.status.members[1].program = None;
        assert_eq!(next(&facts), "");
        let table = member_table(&facts.status);
        assert!(
            table.starts_with("alpha  node     evenkeel 0.2.0  (this member)\n"),
            "{table}"
        );
        assert!(
            table.contains("beta   node     program not known\n"),
            "{table}"
        );
        assert!(
            table.contains("tie    arbiter  evenkeel 0.2.0\n"),
            "{table}"
        );
    }

    #[test]
    fn permission_is_that_of_this_member() {
        let mut facts = complete();
        assert!(!facts.has_permission());
        for (holder, expected) in [(2, false), (1, true)] {
            facts.status.leases = vec![LeaseStatus {
                name: LEASE.to_owned(),
                holder: MemberId(holder),
                epoch: 1,
                valid_ms: 0,
            }];
            assert_eq!(facts.has_permission(), expected);
        }
    }

    #[test]
    fn obstacle_has_a_kind_for_programs() {
        let obstacle = Obstacle::Unreachable {
            member: "tie".to_owned(),
        };
        let json = serde_json::to_string(&obstacle).unwrap();
        assert_eq!(json, "{\"kind\":\"unreachable\",\"member\":\"tie\"}");
    }
}
