//! Collects the facts about this member, the others and the cluster, and makes a [`ClusterStatus`]
//! of them. Also makes the status of a member that cannot take part in its cluster.

use crate::authority::fingerprint;
use crate::follow;
use crate::machine::ServingMachine;
use crate::member::{ClusterMember, MemberKind};
use crate::raft::{EngineError, RaftStatus};
use crate::role::StartFailure;
use crate::role::contents;
use crate::role::directory::LocalMember;
use crate::role::following;
use crate::role::shared::{RoleState, ServingStatus, reach};
use crate::role::status::{
    AuthorityStatus, ClusterStatus, Configuration, DiskStatus, LeaseStatus, LogStatus,
    MemberStatus, Reach, Sight,
};
use crate::role::tasks;
use crate::state::{ClusterState, RolloutStage};
use crate::wire::{ConnectionFactory, Path};
use part::codec;
use std::time::SystemTime;

const EVENTS_SHOWN: usize = 12;

pub(super) fn status<M: ServingMachine, N: ConnectionFactory>(
    shared: &RoleState<M, N>,
) -> ClusterStatus {
    let state = shared.engine.state();
    let standing = shared.raft_status();
    let paths = shared.wire.paths();
    let majority = standing.leader.is_some() && shared.has_majority();
    let members: Vec<ClusterMember> = if state.founded() {
        state.members.values().cloned().collect()
    } else {
        // Shows the members known at the start: this member has just joined, and has no log yet.
        shared.who.members.clone()
    };
    let stopped = standing.halted.as_ref().or(standing.refused.as_ref());
    let mut status = ClusterStatus {
        cluster: shared.who.cluster.clone(),
        me: shared.me(),
        directory: shared.directory.path().display().to_string(),
        leader: standing.leader,
        majority,
        members: members
            .iter()
            .map(|member| self::member(shared, member, &standing, &paths))
            .collect(),
        configuration: configuration(shared, &state, majority),
        following: following(shared, &standing),
        broken_store: stopped.map(|why| why.to_string()),
        disk_refuses: stopped.is_some_and(EngineError::is_of_the_disk),
        missing_files: shared
            .directory
            .missing_files(shared.who.kind)
            .into_iter()
            .map(str::to_owned)
            .collect(),
        authority: AuthorityStatus {
            own_ends_days: shared.wire.identity().ends_in_days(SystemTime::now()),
            ..authority(&state)
        },
        invitations: state.invitations.len() as u64,
        leases: leases(&state),
        unbound: shared
            .wire
            .unbound()
            .into_iter()
            .map(|(address, why)| format!("{address} ({why})"))
            .collect(),
        log: LogStatus {
            term: standing.term,
            last: standing.log.last.unwrap_or(0),
            committed: standing.log.committed.unwrap_or(0),
            applied: standing.log.applied.unwrap_or(0),
        },
        events: events(&state, &shared.who.name, shared.notes()),
        ..ClusterStatus::default()
    };
    status.put_into_words();
    if shared.is_removed() {
        status.frozen = vec![super::removed_words(shared.who.kind).to_owned()];
    }
    status
}

fn member<M: ServingMachine, N: ConnectionFactory>(
    shared: &RoleState<M, N>,
    member: &ClusterMember,
    standing: &RaftStatus,
    paths: &[Path],
) -> MemberStatus {
    let path = paths.iter().find(|path| path.member == member.id);
    let me = member.id == shared.me();
    let tale = if me {
        tasks::local_status(shared)
    } else {
        shared.status_of_member(member.id).unwrap_or_default()
    };
    let health = tale.health.unwrap_or_default();
    let reach = if me {
        Reach::Itself
    } else {
        path.map_or(Reach::Away, reach)
    };
    let silent_ms = path.filter(|_| reach == Reach::Away).map(|p| p.since_ms);
    let is_detour = matches!(reach, Reach::Through { .. });
    let cut_ms = path.filter(|_| is_detour).map(|path| path.since_ms);
    let sees = tale.sees.into_iter();
    MemberStatus {
        id: member.id,
        name: member.name.clone(),
        kind: member.kind,
        addresses: member.addresses.clone(),
        silent_ms,
        cut_ms,
        program: Some(tale.program).filter(|program| !program.is_empty()),
        format: member.format,
        // Counts all known members as voters if this one lost its log and knows no voters.
        votes: shared.engine.agreed_voters().contains(&member.id)
            || (standing.voters.is_empty() && standing.lost.is_some()),
        serves: tale.serves,
        cannot_serve: tale.cannot_serve,
        missing: tale.missing,
        on_trial: tale.on_trial,
        addresses_owned: health.addresses_owned,
        servers_up: health.servers_up,
        servers: health.servers,
        parts: tale.parts,
        sees: if reach.is_there() {
            sees.map(|(member, reach)| Sight {
                member,
                reach,
                is_cloned: tale.cloned.contains(&member),
            })
            .collect()
        } else {
            Vec::new()
        },
        supervisor_gone_ms: tale.supervisor_gone_ms,
        disk: DiskStatus {
            disk_stuck_ms: if reach.is_there() {
                tale.disk_stuck_ms
            } else {
                0
            },
            halted: tale.halted,
            unkept: tale.unkept,
        },
        distrusted: shared
            .distrust_of(member.id)
            .filter(|_| !reach.is_there())
            .unwrap_or_default(),
        reach,
        lost: tale.lost,
        accepted: tale.accepted,
        if_it_fails: String::new(),
    }
}

fn configuration<M: ServingMachine, N: ConnectionFactory>(
    shared: &RoleState<M, N>,
    state: &ClusterState,
    majority: bool,
) -> Configuration {
    let serving = shared.serving().clone();
    let moving = state.on_its_way();
    Configuration {
        accepted: state.accepted,
        accepted_words: state.accepted().map(contents::label).unwrap_or_default(),
        serving: serving.served(),
        on_trial: serving.on_trial,
        by_itself: shared.who.kind == MemberKind::Node && !majority && serving.served().is_some(),
        moving: moving.map(|record| record.id),
        confirm_within_ms: moving.and_then(|record| match record.stage {
            RolloutStage::AwaitConfirmation { remaining_ms, .. } => Some(remaining_ms),
            _ => None,
        }),
        moving_words: moving
            .map(|record| format!("{}: {}", contents::label(record), record.stage))
            .unwrap_or_default(),
        trouble: match serving.cannot_serve() {
            why if why.is_empty() => serving.trouble,
            why => format!(
                "cannot serve version {}: {why}",
                serving.version.unwrap_or_default()
            ),
        },
    }
}

/// Returns the status of the followed repositories, as the leading node reports it.
pub(super) fn following<M: ServingMachine, N: ConnectionFactory>(
    shared: &RoleState<M, N>,
    standing: &RaftStatus,
) -> Vec<follow::FollowStatus> {
    let Some(leader) = standing.leader else {
        return Vec::new();
    };
    let gossip = shared.gossip();
    let told = gossip.get(leader, following::TOPIC);
    told.and_then(|bytes| codec::decode(bytes).ok())
        .unwrap_or_default()
}

fn authority(state: &ClusterState) -> AuthorityStatus {
    let next = state.succession.next.as_ref();
    AuthorityStatus {
        present: state.founded().then(|| fingerprint(&state.authority)),
        next: next.map(|next| fingerprint(&next.certificate)),
        uncertified: state.uncertified().into_iter().collect(),
        exposed: state.succession.exposed.is_some(),
        held_back_by: state.no_authority_before().into_iter().collect(),
        own_ends_days: None,
    }
}

fn leases(state: &ClusterState) -> Vec<LeaseStatus> {
    let leases = state.leases().filter_map(|(name, lease)| {
        Some(LeaseStatus {
            name: name.to_owned(),
            holder: lease.holder?,
            epoch: lease.epoch.0,
            valid_ms: lease.valid_ms,
        })
    });
    leases.collect()
}

fn events(state: &ClusterState, me: &str, own: Vec<String>) -> Vec<String> {
    let shared = state.events().rev().take(EVENTS_SHOWN);
    let mut events: Vec<String> = shared.map(|event| one_line(&event.words)).collect();
    events.reverse();
    let own = own.into_iter().rev().take(EVENTS_SHOWN).rev();
    events.extend(own.map(|words| format!("{me} {words}")));
    events
}

pub(super) fn one_line(words: &str) -> String {
    let Some((first, rest)) = words.trim_end().split_once('\n') else {
        return words.to_owned();
    };
    let place = rest
        .lines()
        .find_map(|line| line.trim().strip_prefix("--> "));
    let place = place.map_or_else(String::new, |place| format!(" ({place})"));
    format!("{first}{place}; see `evenkeel config log`")
}

pub(super) fn broken(
    who: &LocalMember,
    program: &str,
    serving: ServingStatus,
    why: &StartFailure,
) -> ClusterStatus {
    let (store, other) = match why {
        StartFailure::Engine(error) => (Some(error), None),
        StartFailure::Role(error) => (None, Some(error)),
    };
    let members = who.members.iter().map(|member| MemberStatus {
        id: member.id,
        name: member.name.clone(),
        kind: member.kind,
        addresses: member.addresses.clone(),
        reach: if member.id == who.id {
            Reach::Itself
        } else {
            Reach::Away
        },
        program: (member.id == who.id).then(|| program.to_owned()),
        format: member.format,
        votes: true,
        serves: serving.version.filter(|_| member.id == who.id),
        accepted: serving.version.filter(|_| member.id == who.id),
        disk: DiskStatus {
            unkept: if member.id == who.id {
                serving.unkept.clone()
            } else {
                String::new()
            },
            ..DiskStatus::default()
        },
        ..MemberStatus::default()
    });
    let mut status = ClusterStatus {
        cluster: who.cluster.clone(),
        me: who.id,
        members: members.collect(),
        configuration: Configuration {
            serving: serving.version,
            by_itself: serving.version.is_some(),
            ..Configuration::default()
        },
        broken_store: store.map(ToString::to_string),
        disk_refuses: store.is_some_and(EngineError::is_of_the_disk),
        cannot_start: other.map(ToString::to_string),
        ..ClusterStatus::default()
    };
    status.put_into_words();
    status
}
