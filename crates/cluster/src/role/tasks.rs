//! Runs the background tasks of every member: confirms that a majority follows the leader, gossips
//! the member's status, handles events of the wire, and keeps trust, member list and content keys
//! consistent with the state.

use crate::authority::{PeerRejection, Trust};
use crate::command::{CommandBody, FORMAT};
use crate::machine::ServingMachine;
use crate::member::{MemberId, MemberKind};
use crate::role::certificates::note_once;
use crate::role::directory::{LocalMember, SEALING_KEY};
use crate::role::invitations;
use crate::role::shared::{MemberSelfStatus, RoleState, TOPIC, moved, reach};
use crate::state::ClusterState;
use crate::wire::{ConnectionFactory, Event, Service};
use part::codec;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, timeout};

const CONFIRM_EVERY: Duration = Duration::from_millis(500);
const CONFIRM_LIMIT: Duration = Duration::from_millis(1500);
const GOSSIP_EVERY: Duration = Duration::from_secs(1);
const PARTS_MAX: usize = 32;
const GOSSIP_LIMIT: Duration = Duration::from_secs(2);
const DUTY_EVERY: Duration = Duration::from_millis(500);
/// Pause after each check of [`keep_up`]: many commands may be committed at once, and most do not
/// affect the check.
const DUTY_REST: Duration = Duration::from_millis(5);
/// Delay for each node with a smaller number before a node gives content keys to a new node.
const RANK_PAUSE: Duration = Duration::from_secs(2);

pub(super) async fn confirm<M: ServingMachine, N: ConnectionFactory>(shared: Arc<RoleState<M, N>>) {
    loop {
        let asked = Instant::now();
        if let Ok(Ok(_)) = timeout(CONFIRM_LIMIT, shared.engine.confirm()).await {
            shared.was_confirmed(asked);
        }
        tokio::time::sleep(CONFIRM_EVERY).await;
    }
}

pub(super) async fn parts<M: ServingMachine, N: ConnectionFactory>(shared: Arc<RoleState<M, N>>) {
    loop {
        let mut parts = shared.machine.parts().await;
        parts.summaries.truncate(PARTS_MAX);
        let observed = shared.machine.observe().await;
        {
            let mut serving = shared.serving();
            (serving.parts, serving.observed) = (parts, observed);
        }
        tokio::time::sleep(GOSSIP_EVERY).await;
    }
}

pub(super) async fn gossip<M: ServingMachine, N: ConnectionFactory>(shared: Arc<RoleState<M, N>>) {
    loop {
        let bytes = codec::encode(&local_status(&shared));
        let put = shared.gossip().put(TOPIC, Some(bytes));
        if let Err(error) = put {
            shared.note(format!("the status of this member is too long: {error}"));
        }
        let others: Vec<MemberId> = shared.reachable().into_iter().collect();
        for other in others.into_iter().filter(|other| *other != shared.me()) {
            tokio::spawn(exchange(shared.clone(), other));
        }
        tokio::time::sleep(GOSSIP_EVERY).await;
    }
}

async fn exchange<M: ServingMachine, N: ConnectionFactory>(
    shared: Arc<RoleState<M, N>>,
    other: MemberId,
) {
    let ask = shared.gossip().ask();
    let answer = shared
        .wire
        .call(other, Service::Gossip, ask, GOSSIP_LIMIT)
        .await;
    let Ok(answer) = answer else {
        return;
    };
    // Ignores invalid gossip; the next round is in a second.
    let now_ms = shared.now_ms();
    let more = shared.gossip().merge_response(&answer, now_ms);
    if let Ok(Some(more)) = more {
        let call = shared.wire.call(other, Service::Gossip, more, GOSSIP_LIMIT);
        let _ = call.await;
    }
}

pub(super) fn local_status<M: ServingMachine, N: ConnectionFactory>(
    shared: &RoleState<M, N>,
) -> MemberSelfStatus {
    let serving = shared.serving().clone();
    let paths = shared.wire.paths();
    let standing = shared.raft_status();
    MemberSelfStatus {
        program: shared.program.clone(),
        serves: serving.served(),
        cannot_serve: serving.cannot_serve(),
        missing: serving.missing(),
        on_trial: serving.on_trial,
        // Omits the frontends: there are many, and other members do not need them.
        health: serving.health.map(|health| crate::machine::Health {
            frontends: Vec::new(),
            ..health
        }),
        parts: serving.parts,
        sees: paths
            .iter()
            .map(|path| (path.member, reach(path)))
            .collect(),
        trouble: serving.trouble,
        disk_stuck_ms: shared.disk_stuck_ms(),
        supervisor_gone_ms: shared.machine.supervisor_gone_ms(),
        accepted: serving.accepted,
        lost: standing.lost.unwrap_or_default(),
        halted: standing
            .halted
            .or(standing.refused)
            .map(|why| why.to_string())
            .unwrap_or_default(),
        unkept: serving.unkept,
        cloned: paths
            .iter()
            .filter(|path| path.is_cloned)
            .map(|path| path.member)
            .collect(),
    }
}

/// Notes that this member's store was lost, and reports it to the others once the member is a voter
/// again.
pub(super) async fn tell_of_loss<M: ServingMachine, N: ConnectionFactory>(
    shared: Arc<RoleState<M, N>>,
) {
    let Some(why) = shared.raft_status().lost else {
        return std::future::pending().await;
    };
    shared.note(format!(
        "{why}: this member is not a voter until it has rejoined"
    ));
    while shared.raft_status().lost.is_some() {
        tokio::time::sleep(DUTY_EVERY).await;
    }
    let words = format!(
        "the log of {} was lost ({why}); it has been copied from the others",
        shared.who.name
    );
    while !shared
        .try_to(CommandBody::Event {
            words: words.clone(),
        })
        .await
    {
        tokio::time::sleep(DUTY_EVERY).await;
    }
    std::future::pending().await
}

/// Handles events of the wire: a lost connection to the leader, refused connections.
pub(super) async fn listen<M: ServingMachine, N: ConnectionFactory>(shared: Arc<RoleState<M, N>>) {
    let mut events = shared.wire.events();
    loop {
        match events.recv().await {
            Ok(Event::Down { member, .. }) => shared.engine.lost(member),
            Ok(Event::Noted { words }) => shared.note(words),
            Ok(Event::RefusedBy { member, why }) => {
                if why == PeerRejection::Removed {
                    shared.was_removed();
                }
                let name = shared.engine.state().name_of(member);
                shared.note(format!("{name} refuses this member: {why}"));
            }
            Ok(Event::Renewed(identity)) => {
                let kept = shared.store_identity(&identity);
                shared.note(match kept {
                    Ok(()) => "this member's certificate was renewed".to_owned(),
                    Err(error) => format!("cannot store the renewed certificate: {error}"),
                });
            }
            Ok(Event::Distrusted { member, why }) => shared.distrusts(member, why),
            Ok(Event::Up(member)) => shared.trusts_again(member),
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

/// Applies each new state: to the members trusted by the wire, the member list on disk, the
/// announcement of this member, and missing content keys.
pub(super) async fn keep_up<M: ServingMachine, N: ConnectionFactory>(shared: Arc<RoleState<M, N>>) {
    let mut changes = shared.engine.changes();
    let mut kept: Option<LocalMember> = None;
    let mut lacking: Option<Instant> = None;
    let mut forged: Option<MemberId> = None;
    let mut undecryptable = String::new();
    let mut unsealable = String::new();
    if let Some(why) = shared.keys.renewed() {
        shared.note(format!(
            "the sealing key of this node was {why}: it has a new one, for which the other nodes encrypt the content \
             keys"
        ));
    }
    loop {
        let state = shared.engine.state();
        if state.founded() {
            let members = state.members.keys().copied();
            shared.gossip().belong(members);
            let trust = state.trust();
            let trust = Trust {
                members: shared.who.with_moved(trust.members),
                ..trust
            };
            if let Err(error) = shared.wire.set_trust(trust) {
                shared.note(format!("cannot apply the list of trusted members: {error}"));
            }
            let who = LocalMember {
                members: state.members.values().cloned().collect(),
                moved: state
                    .members
                    .values()
                    .filter_map(|member| Some((member.id, shared.who.unannounced(member)?)))
                    .collect(),
                ..shared.who.clone()
            };
            if kept.as_ref() != Some(&who) && state.members.contains_key(&who.id) {
                if let Err(error) = shared.directory.write_who(&who) {
                    shared.note(error.to_string());
                }
                kept = Some(who);
            }
            match shared.keys.decrypt_content_keys(&state) {
                Ok(()) => undecryptable.clear(),
                Err(error) => {
                    let words = format!(
                        "cannot decrypt a content key: {error}; the versions that need it cannot be served here. If \
                         another node serves them, delete {SEALING_KEY} in the state directory and restart evenkeel \
                         here: the other nodes then encrypt the content keys again"
                    );
                    note_once(&shared, &mut undecryptable, words);
                }
            }
            let open = state.invitations.keys();
            let kept = shared.invitations().follow(open, shared.clock.unix_s());
            if let Some(bytes) = kept
                && let Err(error) = shared.directory.write(invitations::FILE, &bytes)
            {
                shared.note(error.to_string());
            }
            report_forgery(&shared, &state, &mut forged);
            announce(&shared).await;
            give_keys(&shared, &mut lacking, &mut unsealable).await;
        }
        // Releases the state during the wait, so that the next command need not copy it.
        drop(state);
        tokio::time::sleep(DUTY_REST).await;
        tokio::select! {
            () = moved(&mut changes) => {}
            () = tokio::time::sleep(DUTY_EVERY) => {}
        }
    }
}

/// Reports the author that the last forged command names, once for each author in turn.
/// `reported`: the author of the last report.
fn report_forgery<M: ServingMachine, N: ConnectionFactory>(
    shared: &RoleState<M, N>,
    state: &ClusterState,
    reported: &mut Option<MemberId>,
) {
    let Some((_, author)) = shared.raft_status().forged else {
        return;
    };
    if reported.replace(author) == Some(author) {
        return;
    }
    let name = state.name_of(author);
    shared.note(format!(
        "the log has a command in the name of {name} that {name} did not sign: it has no effect. Somebody may have the \
         keys of a member that was the leader: remove the arbiter if it may be the one, and invite a new one"
    ));
}

/// Announces the addresses, the key and the supported format of this member if the log has
/// different ones.
async fn announce<M: ServingMachine, N: ConnectionFactory>(shared: &RoleState<M, N>) {
    let state = shared.engine.state();
    let (Some(known), Some(member)) = (state.member(shared.me()), shared.member()) else {
        return;
    };
    // Does not wait for a changed key to be committed before it is used; announces again if an
    // announcement was lost.
    let same = known.addresses == member.addresses
        && known.format == FORMAT
        && known.sealing_key == member.sealing_key
        && known.certificate == member.certificate;
    if !same && shared.has_majority() {
        shared.try_to(CommandBody::Announce(member)).await;
    }
}

/// Gives content keys to nodes that lack them. The node with the smallest number does so at once,
/// each further one after a delay. `failure`: the reason that was reported last.
async fn give_keys<M: ServingMachine, N: ConnectionFactory>(
    shared: &RoleState<M, N>,
    since: &mut Option<Instant>,
    failure: &mut String,
) {
    let state = shared.engine.state();
    if shared.who.kind != MemberKind::Node || state.unsealed().is_empty() || !shared.has_majority()
    {
        *since = None;
        return;
    }
    let since = *since.get_or_insert_with(Instant::now);
    let nodes = state.nodes().map(|node| node.id);
    let before = nodes.filter(|id| *id < shared.me()).count();
    let before = u32::try_from(before).unwrap_or(u32::MAX);
    if since.elapsed() < RANK_PAUSE.saturating_mul(before) {
        return;
    }
    let (rings, failed) = shared.keys.for_newcomers(&state);
    if failed.is_empty() {
        failure.clear();
    } else {
        let nodes: Vec<String> = failed
            .iter()
            .map(|(node, error)| format!("{} ({error})", state.name_of(*node)))
            .collect();
        let words = format!("cannot encrypt the content keys for {}", nodes.join(", "));
        note_once(shared, failure, words);
    }
    for ring in rings {
        shared.try_to(CommandBody::Seal(ring)).await;
    }
}
