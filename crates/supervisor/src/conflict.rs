//! Detects conflicts between instances on this machine. A conflict follows from the claims alone;
//! see [`crate::claim`] for how claims are entered.

use crate::command::StartParameters;
use crate::directory::{self, Claims, Instance, Membership};
use part::before::Before;
use part::role::{Resource, ResourceKind};
use part::voice::Form;
use std::fmt;

/// The reason why an instance must not run, or must not use a resource.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    #[error("another supervisor already serves these files")]
    SameFiles,
    #[error(
        "this machine is a node of a cluster, and {0} serves the version that the cluster accepted: a second instance \
         would use the same addresses, guests and volumes. Nothing was started. `evenkeel config apply FILE` proposes \
         a file to the cluster; to serve a file without the cluster, stop that process first ({end})",
        end = .0.end()
    )]
    Node(Box<OtherInstance>),
    #[error(
        "{0} serves {files} on this machine, and a node of a cluster has to be the only instance there: both would use \
         the same addresses, guests and volumes. Nothing was started. Stop that process first ({end}), then start this \
         one again",
        files = .0.files(), end = .0.end()
    )]
    NotAlone(Box<OtherInstance>),
    #[error(
        "{resource} is in use by {by}, which serves {files}: two instances must not share it. Remove it from one of the \
         files, or stop that process ({end})",
        files = .by.files(), end = .by.end()
    )]
    InUse {
        resource: Resource,
        by: Box<OtherInstance>,
    },
}

#[derive(Clone, Debug)]
pub struct OtherInstance {
    instance: Instance,
    /// True if the supervisor of the instance has ended, and one of its roles continues.
    is_left: bool,
}

impl OtherInstance {
    fn files(&self) -> String {
        let paths = self.instance.paths.iter();
        let paths: Vec<String> = paths.map(|path| path.display().to_string()).collect();
        if paths.is_empty() {
            "other files".to_owned()
        } else {
            paths.join(" ")
        }
    }

    fn end(&self) -> String {
        let role = self.is_left.then(|| self.instance.role()).flatten();
        format!("`kill {}`", role.unwrap_or(self.instance.pid))
    }
}

impl fmt::Display for OtherInstance {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Instance { pid, program, .. } = &self.instance;
        if self.is_left {
            write!(out, "a role of process {pid}, which has ended,")
        } else {
            write!(out, "process {pid} ({program})")
        }
    }
}

/// Returns the other instances on this machine that may conflict with a command, except for the
/// roles that it adopts.
fn others(command: &StartParameters, all: &[Instance]) -> Vec<OtherInstance> {
    let (own, network) = (std::process::id(), directory::network());
    let program = command.form().program();
    let lives = |one: &Instance| {
        let mut supervisors = all.iter().filter(|other| !other.is_of_a_role());
        supervisors.any(|other| other.pid == one.pid && other.network == one.network)
    };
    let others = all.iter().map(|one| OtherInstance {
        instance: one.clone(),
        is_left: one.is_of_a_role() && !lives(one),
    });
    let conflicts = |other: &OtherInstance| {
        let one = &other.instance;
        let is_own = one.pid == own && one.network == network;
        let is_adopted = other.is_left && !one.is_elsewhere && one.is_of(program, &command.paths);
        !is_own && !is_adopted
    };
    others.filter(conflicts).collect()
}

/// Returns the first conflict between these claims and the instances on this machine.
pub(super) fn conflict(
    command: &StartParameters,
    claims: &Claims,
    all: &[Instance],
) -> Option<ClaimError> {
    let others = others(command, all);
    let find = |fits: &dyn Fn(&Instance) -> bool| {
        let found = others.iter().find(|other| fits(&other.instance));
        found.map(|other| Box::new(other.clone()))
    };
    let network = directory::network();
    let is_member = |one: &Instance, of| one.claims.membership == of && one.network == network;
    if claims.membership == Membership::Node {
        let excluded =
            |one: &Instance| one.network == network && !is_member(one, Membership::Arbiter);
        return find(&excluded).map(ClaimError::NotAlone);
    }
    if claims.membership == Membership::None
        && let Some(node) = find(&|one| is_member(one, Membership::Node))
    {
        return Some(ClaimError::Node(node));
    }
    let shares_listeners = command.form() != Form::Own || command.before != Before::default();
    let mut resources = claims.resources.iter();
    resources.find_map(|resource| {
        if resource.kind == ResourceKind::Listener && shares_listeners {
            return None;
        }
        // Leaves out the processes that this one takes over from, which still use their resources.
        let same = |one: &Instance| {
            let is_same_object = if resource.kind.is_of_network() {
                one.network == network
            } else {
                // Ignores guests and volumes of instances in other directories, which may have
                // another one of this name.
                !one.is_elsewhere
            };
            is_same_object
                && !command.before.pids.contains(&one.pid)
                && one.claims.resources.contains(resource)
        };
        let resource = resource.clone();
        find(&same).map(|by| ClaimError::InUse { resource, by })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use part::role::Personality;

    fn resource(kind: ResourceKind) -> Resource {
        Resource::new(kind, "x")
    }

    fn instance(socket: &str, network: u64, claims: Claims) -> Instance {
        Instance {
            pid: 1,
            program: "evenkeel".to_owned(),
            network: directory::network() + network,
            paths: vec!["/etc/other.cfg".into()],
            claims,
            socket: socket.into(),
            is_elsewhere: false,
        }
    }

    fn member(membership: Membership) -> Claims {
        Claims {
            membership,
            ..Claims::default()
        }
    }

    fn claims(kinds: &[ResourceKind]) -> Claims {
        Claims {
            membership: Membership::None,
            resources: kinds.iter().map(|kind| resource(*kind)).collect(),
        }
    }

    fn command(personality: Personality, before: &[u32]) -> StartParameters {
        StartParameters {
            personality,
            before: Before {
                pids: before.to_vec(),
                ..Before::default()
            },
            paths: vec!["/etc/a.cfg".into()],
            ..StartParameters::default()
        }
    }

    #[test]
    fn each_resource_has_one_instance_under_each_personality() {
        let held = instance("1.sock", 0, claims(&ResourceKind::ALL));
        for kind in ResourceKind::ALL {
            let refused = |personality, before: &[u32]| {
                let command = command(personality, before);
                conflict(&command, &claims(&[kind]), std::slice::from_ref(&held)).is_some()
            };
            assert!(refused(Personality::Own, &[]), "{kind:?}");
            assert!(!refused(Personality::Own, &[1]), "{kind:?} is taken over");
            // HAProxy and keepalived allow several instances to share a listener.
            let shares = kind == ResourceKind::Listener;
            for personality in [Personality::Haproxy, Personality::Keepalived] {
                assert_eq!(refused(personality, &[]), !shares, "{kind:?}");
            }
        }
    }

    #[test]
    fn another_network_shares_guests_volumes_and_disks_only() {
        let held = instance("1.sock", 1, claims(&ResourceKind::ALL));
        let own = command(Personality::Own, &[]);
        let found = conflict(
            &own,
            &claims(&ResourceKind::ALL),
            std::slice::from_ref(&held),
        );
        let Some(ClaimError::InUse { resource, .. }) = found else {
            panic!("{found:?}");
        };
        assert_eq!(resource.kind, ResourceKind::Guest);
        let node = instance("1.sock", 1, member(Membership::Node));
        assert!(conflict(&own, &claims(&ResourceKind::ALL), &[node]).is_none());
    }

    #[test]
    fn instance_with_another_runtime_directory_conflicts_by_node_and_network() {
        let elsewhere = |socket: &str, claims| Instance {
            is_elsewhere: true,
            ..instance(socket, 0, claims)
        };
        let mut own = command(Personality::Own, &[]);
        let node = elsewhere("1.sock", member(Membership::Node));
        let all = claims(&ResourceKind::ALL);
        let found = conflict(&own, &all, std::slice::from_ref(&node));
        assert!(matches!(found, Some(ClaimError::Node(_))));
        let other = elsewhere("1.sock", all.clone());
        let found = conflict(
            &own,
            &member(Membership::Node),
            std::slice::from_ref(&other),
        );
        assert!(matches!(found, Some(ClaimError::NotAlone(_))));
        for kind in ResourceKind::ALL {
            let found = conflict(&own, &claims(&[kind]), std::slice::from_ref(&other));
            assert_eq!(found.is_some(), kind.is_of_network(), "{kind:?}");
        }
        // A role of another runtime directory conflicts also with the same files: it cannot be
        // adopted from here.
        own.paths.clone_from(&other.paths);
        let role = elsewhere("1.role", claims(&[ResourceKind::VirtualAddress]));
        let wanted = claims(&[ResourceKind::VirtualAddress]);
        assert!(conflict(&own, &wanted, &[role]).is_some());
    }

    #[test]
    fn node_is_alone_except_for_an_arbiter() {
        let of = |membership| [instance("1.sock", 0, member(membership))];
        let is_refused = |own, other| {
            let command = command(Personality::Own, &[1]);
            conflict(&command, &member(own), &of(other)).is_some()
        };
        use Membership::{Arbiter, Node, None};
        for (own, other, expected) in [
            (None, Node, true),
            (Node, None, true),
            (Node, Node, true),
            (None, None, false),
            (None, Arbiter, false),
            (Arbiter, None, false),
            (Node, Arbiter, false),
        ] {
            assert_eq!(is_refused(own, other), expected, "{own:?} beside {other:?}");
        }
    }

    #[test]
    fn role_without_supervisor_conflicts_unless_the_command_adopts_it() {
        let role = instance("1.guest-role", 0, claims(&[ResourceKind::Guest]));
        let mut adopts = command(Personality::Own, &[]);
        let wanted = claims(&[ResourceKind::Guest]);
        let found = conflict(&adopts, &wanted, std::slice::from_ref(&role));
        let words = found.map(|error| error.to_string()).unwrap_or_default();
        assert!(
            words.contains("a role of process 1, which has ended"),
            "{words}"
        );
        adopts.paths.clone_from(&role.paths);
        assert!(conflict(&adopts, &wanted, std::slice::from_ref(&role)).is_none());
        // A role of the same files conflicts too if it has a supervisor, because it cannot be
        // adopted then.
        let supervisor = instance("1.sock", 0, claims(&[ResourceKind::Guest]));
        assert!(conflict(&adopts, &wanted, &[role, supervisor]).is_some());
    }
}
