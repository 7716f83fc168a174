//! Handles requests of other members, and admits machines that join with a token.

use crate::authority::{Authority, Token, disk};
use crate::command::{CommandBody, CommandRefusal, CommandResult};
use crate::machine::ServingMachine;
use crate::member::{ClusterMember, Digest, MemberId, MemberKind};
use crate::raft::ProposeError;
use crate::role::shared::{RoleMessage, RoleState};
use crate::wire::join::{self, Admitted, Denied, Registrar};
use crate::wire::{Binding, ConnectionFactory, Handler, Service, Signer};
use configuration::is_name_of;
use part::codec;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::Instant;

const DRAWS_MAX: usize = 5;
/// Minimum interval between queries to the majority for joiners with an unknown token.
const ASKED_FOR_STRANGERS_EVERY: Duration = Duration::from_millis(100);

/// Handles requests to this member while the member exists. The reference is weak, because the wire
/// holds this value and the member holds the wire.
pub(super) struct Answering<M: ServingMachine, N: ConnectionFactory>(Weak<RoleState<M, N>>);

/// Admits joiners, and handles requests of members.
struct Present<M: ServingMachine, N: ConnectionFactory>(Arc<RoleState<M, N>>);

impl<M: ServingMachine, N: ConnectionFactory> Answering<M, N> {
    pub(super) fn new(shared: &Arc<RoleState<M, N>>) -> Answering<M, N> {
        Answering(Arc::downgrade(shared))
    }
}

impl<M: ServingMachine, N: ConnectionFactory> Handler for Answering<M, N> {
    async fn handle(&self, from: MemberId, service: Service, bytes: Vec<u8>) -> Vec<u8> {
        let Some(present) = self.0.upgrade().map(Present) else {
            return Vec::new();
        };
        present.answer(from, service, bytes).await
    }

    async fn join(&self, from: SocketAddr, binding: Binding, bytes: Vec<u8>) -> Vec<u8> {
        match self.0.upgrade().map(Present) {
            Some(present) => join::serve(&present, from, binding, &bytes).await,
            None => Vec::new(),
        }
    }

    fn signer(&self) -> Option<Signer> {
        let shared = self.0.upgrade()?;
        let state = shared.engine.state();
        // Prefers the newest CA, which signs as soon as it is committed.
        let signs = [state.newest_authority(), &state.authority];
        signs.into_iter().find_map(|certificate| {
            let authority = Arc::new(authority(&shared, certificate)?);
            let chain = state.chain_to(certificate)?;
            Some(Signer { authority, chain })
        })
    }
}

impl<M: ServingMachine, N: ConnectionFactory> Present<M, N> {
    async fn answer(&self, from: MemberId, service: Service, bytes: Vec<u8>) -> Vec<u8> {
        match service {
            Service::Raft => self.0.engine.handle(from, bytes).await,
            Service::Gossip => {
                let now_ms = self.0.now_ms();
                let answer = self.0.gossip().answer(&bytes, now_ms);
                answer.unwrap_or_default()
            }
            Service::Control => {
                if let Ok(wish) = codec::decode(&bytes) {
                    self.grant(from, wish);
                }
                Vec::new()
            }
            // Handles requests about leases from nodes only: an arbiter neither holds a lease nor
            // acts for a holder, and gets an empty response.
            Service::Lease if self.is_node(from) => self.0.grants.answer(from, &bytes).await,
            Service::Lease => Vec::new(),
        }
    }

    fn is_node(&self, member: MemberId) -> bool {
        let state = self.0.engine.state();
        let member = state.member(member);
        member.is_some_and(|member| member.kind == MemberKind::Node)
    }

    fn grant(&self, from: MemberId, wish: RoleMessage) {
        match wish {
            // Ignores the message of an arbiter, which cannot remove members.
            RoleMessage::Leaving(member) if self.is_node(from) => {
                self.0.leaving().insert(member, Instant::now());
            }
            RoleMessage::Leaving(_) => {}
            RoleMessage::Follow => self.0.follow.now(),
        }
    }
}

/// Returns the CA with this certificate, if its key is on this node. The key is read from
/// disk: joins are rare, and a key that is not in memory cannot leak from it.
pub(super) fn authority<M: ServingMachine, N: ConnectionFactory>(
    shared: &RoleState<M, N>,
    certificate: &[u8],
) -> Option<Authority> {
    let directory = shared.directory.path();
    let sealing = disk::read_sealing_key(directory).ok()??;
    match disk::read_authority(directory, &shared.who.cluster, certificate, &sealing) {
        Ok(authority) => authority,
        Err(error) => {
            shared.note(format!("cannot read the CA key: {error}"));
            None
        }
    }
}

impl<M: ServingMachine, N: ConnectionFactory> Registrar for Present<M, N> {
    fn authority(&self) -> Option<Arc<Authority>> {
        let state = self.0.engine.state();
        authority(&self.0, &state.authority).map(Arc::new)
    }

    fn chain(&self) -> Vec<Vec<u8>> {
        let state = self.0.engine.state();
        state.chain_to(&state.authority).unwrap_or_default()
    }

    fn nodes(&self) -> Vec<SocketAddr> {
        let state = self.0.engine.state();
        state
            .nodes()
            .filter(|node| node.id != self.0.me())
            .flat_map(|node| node.addresses.clone())
            .collect()
    }

    async fn invited(&self, hint: Digest) -> Option<Digest> {
        if let Some(token) = self.open_invitation(hint) {
            return Some(token);
        }
        // Catches up with the majority: the invitation may be committed and not known here yet.
        self.catch_up_for_strangers().await;
        self.open_invitation(hint)
    }

    fn known(&self, key: &Digest) -> Option<Admitted> {
        let state = self.0.engine.state();
        let known = state.members.values().find(|m| m.certificate == *key)?;
        Some(Admitted {
            id: known.id,
            members: state.members.values().cloned().collect(),
        })
    }

    async fn admit(&self, token: Digest, newcomer: ClusterMember) -> Result<Admitted, Denied> {
        // Refuses a token that is unknown here, without another query to the majority: the joiner
        // has asked for its invitation on this connection before.
        let known = self.0.engine.state().invitations.contains_key(&token);
        if !known {
            return Err(self.denied(&newcomer, Denied::Token));
        }
        // Catches up with the majority, because the token may have been used meanwhile.
        if self.0.engine.confirm().await.is_err() {
            return Err(Denied::NoMajority);
        }
        let state = self.0.engine.state();
        match state.invitations.get(&token) {
            None => return Err(self.denied(&newcomer, Denied::Token)),
            Some(invitation) if invitation.kind != newcomer.kind => {
                return Err(self.denied(&newcomer, Denied::Kind));
            }
            Some(_) => {}
        }
        for _ in 0..DRAWS_MAX {
            let state = self.0.engine.state();
            if let Some(words) = matching_name(state.members.values(), &newcomer.name) {
                return Err(self.denied(&newcomer, Denied::Members { words }));
            }
            let id = state.next_member();
            drop(state);
            let member = ClusterMember {
                id,
                ..newcomer.clone()
            };
            let answer = self
                .0
                .engine
                .propose(CommandBody::Admit { token, member })
                .await;
            match answer {
                Ok(CommandResult::Refused(CommandRefusal::Taken {
                    what: crate::command::TakenAttribute::Number,
                })) => {}
                Ok(CommandResult::Refused(CommandRefusal::Token)) => {
                    return Err(self.denied(&newcomer, Denied::Token));
                }
                Ok(CommandResult::Refused(refusal)) => {
                    let words = refusal.to_string();
                    return Err(self.denied(&newcomer, Denied::Members { words }));
                }
                Ok(_) => return self.admitted(id).await,
                Err(ProposeError::NoLeader) => return Err(Denied::NoMajority),
                Err(_) => return Err(Denied::Unable),
            }
        }
        Err(Denied::Unable)
    }
}

/// Returns why a name cannot be distinguished from that of a member in a configuration; `None` if
/// it can. The log refuses only equal names, as all releases of evenkeel in the cluster must decide
/// alike.
fn matching_name<'m>(
    members: impl IntoIterator<Item = &'m ClusterMember>,
    name: &str,
) -> Option<String> {
    let mut members = members.into_iter();
    let other = members.find(|other| other.name != name && is_name_of(&other.name, name))?;
    Some(format!(
        "the name '{name}' also refers to the member '{}': upper and lower case, and a domain that only one of two \
         names has, do not count. Choose another one with `--name`",
        other.name
    ))
}

impl<M: ServingMachine, N: ConnectionFactory> Present<M, N> {
    async fn admitted(&self, id: MemberId) -> Result<Admitted, Denied> {
        // Catches up first: the result may be known before this member's state contains it.
        if self.0.engine.confirm().await.is_err() {
            return Err(Denied::Unable);
        }
        let state = self.0.engine.state();
        if state.members.contains_key(&id) {
            Ok(Admitted {
                id,
                members: state.members.values().cloned().collect(),
            })
        } else {
            Err(Denied::Unable)
        }
    }

    /// Returns the open invitation with this hint, as far as this member knows.
    fn open_invitation(&self, hint: Digest) -> Option<Digest> {
        let state = self.0.engine.state();
        let mut open = state.invitations.keys();
        open.find(|token| Token::hint_of(token) == hint).copied()
    }

    /// Catches up with the log, with one query to the majority for all waiting joiners,
    /// however many there are, because anyone can connect.
    async fn catch_up_for_strangers(&self) {
        let came = Instant::now();
        let mut asked = self.0.asked_for_strangers.lock().await;
        if let Some(last) = *asked {
            if last >= came {
                return;
            }
            tokio::time::sleep_until(last + ASKED_FOR_STRANGERS_EVERY).await;
        }
        *asked = Some(Instant::now());
        // Continues with the local state without a majority.
        let _ = self.0.engine.confirm().await;
    }

    /// Reports a refused joiner to operators: in the replicated events, or if its token is unknown
    /// only on this member and without its name, because anyone can try any number of times.
    fn denied(&self, newcomer: &ClusterMember, why: Denied) -> Denied {
        if why == Denied::Token {
            let words = format!("a join request was refused: {why}");
            self.0.note(words);
            return why;
        }
        let what = match newcomer.kind {
            MemberKind::Node => "a node",
            MemberKind::Arbiter => "an arbiter",
        };
        let words = format!(
            "{} tried to join as {what} and was refused: {why}",
            newcomer.name
        );
        let shared = self.0.clone();
        tokio::spawn(async move {
            shared.try_to(CommandBody::Event { words }).await;
        });
        why
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::sample::member;

    #[test]
    fn name_that_matches_a_member_is_refused() {
        let members = [
            member(MemberId(1), "alpha", MemberKind::Node),
            member(MemberId(2), "beta.example.org", MemberKind::Node),
        ];
        let refused = |name| matching_name(&members, name);
        for name in [
            "ALPHA",
            "alpha.example.org",
            "Alpha.x",
            "beta",
            "BETA.Example.org",
        ] {
            assert!(refused(name).is_some(), "{name}");
        }
        // The log itself refuses an equal name.
        for name in ["alpha", "alphabet", "beta.example.com", "gamma"] {
            assert_eq!(refused(name), None, "{name}");
        }
    }
}
