//! Executes the requests of operators. Without a majority, refuses those that change anything.

use crate::authority::{MemberKey, PREDECESSORS_MAX, Token};
use crate::command::{CommandBody, CommandResult, Decision, Invitation, RolloutStep, VersionId};
use crate::machine::ServingMachine;
use crate::member::{ClusterMember, MemberId, MemberKind};
use crate::request::{ControlReply, Request};
use crate::role::gather;
use crate::role::handler;
use crate::role::shared::{RoleMessage, RoleState};
use crate::role::socket::Replies;
use crate::state::RolloutStage;
use crate::wire::ConnectionFactory;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Largest number of addresses in a token: people type it.
const TOKEN_ADDRESSES_MAX: usize = 4;
const HAND_OVER_LIMIT: Duration = Duration::from_secs(10);
/// Longest wait of an invitation for a CA replacement in progress.
const AUTHORITY_LIMIT: Duration = Duration::from_secs(20);
const LOG_MAX: u64 = 1000;
const MAJORITY_LIMIT: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(50);

pub(super) type RequestResult = Result<ControlReply, String>;

pub(super) fn done(words: impl Into<String>) -> RequestResult {
    Ok(ControlReply::Done {
        words: words.into(),
        version: None,
    })
}

pub(super) async fn answer<M: ServingMachine, N: ConnectionFactory>(
    shared: Arc<RoleState<M, N>>,
    request: Request,
    replies: Replies,
) {
    if needs_majority(&request)
        && let Err(words) = shared.needs_majority().await
    {
        return replies.end(ControlReply::Refused { words }).await;
    }
    let said = match request {
        Request::Apply(apply) => {
            let told = |words| replies.progress(words);
            let proposed = shared.propose_files(&apply, told).await;
            drop(apply);
            return shared.conclude(proposed, &replies).await;
        }
        Request::Rollback {
            version,
            author,
            message,
            judging,
        } => {
            let proposed = shared.propose_again(version, author, message, judging);
            let proposed = proposed.await;
            return shared.conclude(proposed, &replies).await;
        }
        Request::Status => json(&gather::status(&shared)),
        Request::Records => {
            let state = shared.engine.state();
            json(&state.lease_records().collect::<BTreeMap<_, _>>())
        }
        Request::Invite { kind, valid_ms } => shared.invite(kind, valid_ms).await,
        Request::Remove { name } => shared.remove(&name, &replies).await,
        Request::HandOver { name } => shared.hand_over(name).await,
        Request::Rotate => shared.rotate(&replies).await,
        Request::RotateAuthority => shared.rotate_authority(&replies).await,
        Request::Confirm { version } => shared.confirm_version(version).await,
        Request::TakeBack { words } => shared.take_back(words).await,
        Request::Log { max } => shared.log(max),
        Request::Show { version } => {
            let files = shared.files_of(version).await;
            files.map(|set| ControlReply::Set(Box::new(set)))
        }
        Request::Follow => shared.look_now().await,
        Request::Note { words } => match shared.agreed(CommandBody::Event { words }).await {
            Ok(_) => done("noted"),
            Err(words) => Err(words),
        },
        Request::BeginUpgrade => shared.begin_upgrade().await,
        Request::EndUpgrade => shared.end_upgrade().await,
    };
    let reply = said.unwrap_or_else(|words| ControlReply::Refused { words });
    replies.end(reply).await;
}

fn needs_majority(request: &Request) -> bool {
    match request {
        Request::Status | Request::Records | Request::Log { .. } | Request::Show { .. } => false,
        Request::Invite { .. }
        | Request::Remove { .. }
        | Request::HandOver { .. }
        | Request::Rotate
        | Request::RotateAuthority
        | Request::Apply(_)
        | Request::Confirm { .. }
        | Request::TakeBack { .. }
        | Request::Rollback { .. }
        | Request::Follow
        | Request::Note { .. }
        | Request::BeginUpgrade
        | Request::EndUpgrade => true,
    }
}

fn json<T: serde::Serialize>(value: &T) -> RequestResult {
    let text = serde_json::to_string(value);
    text.map(ControlReply::Json)
        .map_err(|error| error.to_string())
}

impl<M: ServingMachine, N: ConnectionFactory> RoleState<M, N> {
    /// Refuses a request if there is no majority within [`MAJORITY_LIMIT`], and says what to do.
    pub(super) async fn needs_majority(&self) -> Result<(), String> {
        let deadline = Instant::now() + MAJORITY_LIMIT;
        loop {
            if self.has_majority() {
                return Ok(());
            }
            let status = gather::status(self);
            let there = status
                .members
                .iter()
                .filter(|m| m.votes && m.reach.is_there());
            let needs = status.members.iter().filter(|m| m.votes).count() / 2 + 1;
            // Refuses at once if too few voters are reachable, unless the role has just started.
            let hopeless = there.count() < needs && self.began.elapsed() > MAJORITY_LIMIT;
            if hopeless || Instant::now() >= deadline {
                let words = status.frozen.join("\n");
                return Err(format!("nothing was changed; changes are frozen:\n{words}"));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn invite(&self, kind: MemberKind, valid_ms: u64) -> RequestResult {
        if !self.keys.can_open() {
            return Err(
                "this is an arbiter, which cannot invite members: run this on a node".to_owned(),
            );
        }
        // Waits for the end of a CA replacement: a CA that is about to be dropped must not certify
        // new members.
        let state = self.settled_authority(AUTHORITY_LIMIT).await?;
        let Some(authority) = handler::authority(self, &state.authority) else {
            return Err(
                "the CA key is not on this machine yet: run this on another node".to_owned(),
            );
        };
        let token = Token::new(kind, self.token_addresses(), &authority.fingerprint());
        let token = token.map_err(|error| error.to_string())?;
        let invitation = Invitation {
            token: token.digest(),
            kind,
            valid_ms,
        };
        self.agreed(CommandBody::Invite(invitation)).await?;
        Ok(ControlReply::Token {
            token: token.to_string(),
            member: self.me(),
        })
    }

    /// Returns the addresses for a token: first one address of each node, beginning with
    /// this one, then the others.
    fn token_addresses(&self) -> Vec<SocketAddr> {
        let state = self.engine.state();
        let mut nodes: Vec<&ClusterMember> = state.nodes().collect();
        nodes.sort_by_key(|node| node.id != self.me());
        let most = nodes.iter().map(|node| node.addresses.len()).max();
        let mut addresses = Vec::new();
        for place in 0..most.unwrap_or(0) {
            let of_each = nodes.iter().filter_map(|node| node.addresses.get(place));
            addresses.extend(of_each.copied());
        }
        addresses.truncate(TOKEN_ADDRESSES_MAX);
        addresses
    }

    pub(super) async fn agreed(&self, body: CommandBody) -> Result<CommandResult, String> {
        match self.engine.propose(body).await {
            Ok(CommandResult::Refused(refusal)) => Err(refusal.to_string()),
            Ok(answer) => Ok(answer),
            Err(error) => Err(error.to_string()),
        }
    }

    fn by_name(&self, name: &str) -> Result<ClusterMember, String> {
        let state = self.engine.state();
        let by_number = || state.members.values().find(|m| m.id.to_string() == name);
        let found = state.member_by_name(name).or_else(by_number);
        found.cloned().ok_or_else(|| {
            let names: Vec<&str> = state.members.values().map(|m| m.name.as_str()).collect();
            format!("unknown member '{name}'; members: {}", names.join(", "))
        })
    }

    async fn remove(&self, name: &str, replies: &Replies) -> RequestResult {
        let member = self.by_name(name)?;
        let state = self.engine.state();
        if member.kind == MemberKind::Node && state.nodes().count() == 1 {
            return Err(format!(
                "cannot remove {}, the only node: no other node could serve or decrypt the configuration",
                member.name
            ));
        }
        if !self.keys.can_open() {
            return Err(
                "this is an arbiter, which cannot remove members: run this on a node".to_owned(),
            );
        }
        if member.id == self.me() {
            return Err(format!(
                "{} cannot remove itself: run this on another node",
                member.name
            ));
        }
        self.majority_without(&member)?;
        self.lead_without(&member).await?;
        replies.progress(format!("{} is no longer a voter", member.name));
        // The member leaves consensus before its certificate is refused: with two voters
        // both must agree to the removal.
        let left = self.engine.drop(member.id).await;
        left.map_err(|error| format!("{} is still a voter: {error}", member.name))?;
        self.agreed(CommandBody::Remove { member: member.id })
            .await?;
        replies.progress("its certificate is no longer accepted");
        if member.kind == MemberKind::Node {
            self.new_ring().await?;
            replies.progress("contents are encrypted with a new key");
        }
        let join = match member.kind {
            MemberKind::Node => "evenkeel cluster join",
            MemberKind::Arbiter => "evenkeel arbiter join",
        };
        done(format!(
            "{} removed. To rejoin, delete its state directory and run `{join}` with a new token",
            member.name
        ))
    }

    /// Refuses a removal after which the reachable members would not be a majority: no
    /// further change would be possible until a member returns.
    fn majority_without(&self, member: &ClusterMember) -> Result<(), String> {
        let voters = self.engine.raft_status().voters;
        let stay: Vec<MemberId> = voters.into_iter().filter(|id| *id != member.id).collect();
        let there = self.reachable();
        let answer = stay.iter().filter(|id| there.contains(id)).count();
        let needs = stay.len() / 2 + 1;
        if answer >= needs {
            return Ok(());
        }
        let state = self.engine.state();
        let away = stay.iter().filter(|id| !there.contains(id));
        let away: Vec<String> = away.map(|id| state.name_of(*id)).collect();
        let away = away.join(" and ");
        Err(format!(
            "cannot remove {} while {away} is away: of the {} remaining members {answer} would be reachable and \
             {needs} are needed, so changes would be frozen until {away} returns; if {away} never returns, remove it \
             first",
            member.name,
            stay.len(),
        ))
    }

    /// Prevents that the leader adds the leaving member again. If the leaving member leads, this
    /// one becomes the leader first.
    async fn lead_without(&self, member: &ClusterMember) -> Result<(), String> {
        let deadline = Instant::now() + HAND_OVER_LIMIT;
        loop {
            match self.engine.leader() {
                Some(leader) if leader == self.me() => {
                    self.leaving().insert(member.id, Instant::now());
                    return Ok(());
                }
                Some(leader) if leader == member.id => {
                    let handed = self.engine.hand_over(Some(self.me())).await;
                    handed.map_err(|error| {
                        format!(
                            "leadership not transferred, {} remains leader: {error}",
                            member.name
                        )
                    })?;
                }
                Some(leader) => {
                    let wished = self
                        .send_role_message(leader, &RoleMessage::Leaving(member.id))
                        .await;
                    if wished.is_ok() {
                        return Ok(());
                    }
                }
                None => {}
            }
            if Instant::now() >= deadline {
                return Err("no leader: no majority of the members is reachable".to_owned());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Creates a content key for the current nodes. A key that another node creates meanwhile
    /// counts, too.
    pub(super) async fn new_ring(&self) -> Result<(), String> {
        let before = self.newest_ring();
        let confirmed = self.engine.confirm().await;
        confirmed.map_err(|error| error.to_string())?;
        let state = self.engine.state();
        let ring = self.keys.begin(&state).map_err(|error| error.to_string())?;
        match self.agreed(CommandBody::Seal(ring)).await {
            Ok(_) => Ok(()),
            Err(_) if self.newest_ring() > before => Ok(()),
            Err(words) => Err(format!(
                "no new content key: {words}; `evenkeel cluster rotate` creates one"
            )),
        }
    }

    /// Refuses on an arbiter, whose decisions the nodes do not accept.
    fn decides(&self) -> Result<(), String> {
        match self.who.kind {
            MemberKind::Node => Ok(()),
            MemberKind::Arbiter => Err(
                "this is an arbiter, which cannot change the cluster: run this on a node"
                    .to_owned(),
            ),
        }
    }

    async fn hand_over(&self, name: Option<String>) -> RequestResult {
        let to = match name {
            Some(name) => Some(self.by_name(&name)?),
            None => None,
        };
        self.decides()?;
        if to.as_ref().is_some_and(|to| to.kind == MemberKind::Arbiter) {
            return Err("an arbiter becomes leader only if no node can; name a node".to_owned());
        }
        if self.engine.state().nodes().count() < 2 {
            return Err("no other node can become leader".to_owned());
        }
        let before = self.engine.leader();
        let handed = self.engine.hand_over(to.as_ref().map(|to| to.id)).await;
        handed.map_err(|error| error.to_string())?;
        let state = self.engine.state();
        let after = to.map(|to| to.id).or(self.engine.leader());
        let name = |id: Option<MemberId>| id.map_or("nobody".to_owned(), |id| state.name_of(id));
        if before == after {
            done(format!("{} is already the leader", name(after)))
        } else {
            done(format!(
                "leadership transferred from {} to {}",
                name(before),
                name(after)
            ))
        }
    }

    /// Replaces the keys of this member, with a new certificate (by another node, if this
    /// one cannot sign), and the content key.
    async fn rotate(&self, replies: &Replies) -> RequestResult {
        let Some(member) = self.member() else {
            return Err(super::removed_words(self.who.kind).to_owned());
        };
        self.known_to_all_after_rotation(&member)?;
        let failed = |error: crate::authority::AuthorityError| error.to_string();
        let key = MemberKey::generate().map_err(failed)?;
        let renewed = self.wire.renew(key).await;
        let identity = renewed.map_err(|error| error.to_string())?;
        let digest = identity.key().digest();
        // Writes the disk first: others accept the new key as the successor of the former one.
        self.store_identity(&identity)
            .map_err(|error| error.to_string())?;
        let shown = self.wire.set_identity(Arc::new(identity));
        shown.map_err(|error| error.to_string())?;
        let kind = member.kind;
        let announced = ClusterMember {
            certificate: digest,
            ..member
        };
        self.agreed(CommandBody::Announce(announced)).await?;
        if kind == MemberKind::Arbiter {
            // Creates no content key on an arbiter, which must never have one.
            return done("created a new key and certificate for this arbiter");
        }
        replies.progress("created a new key and certificate for this member".to_owned());
        self.new_ring().await?;
        done("contents are encrypted with a new key from now on")
    }

    /// Refuses if the next certificate could not name the key by which an absent member
    /// knows this one: that member would never trust this one again.
    fn known_to_all_after_rotation(&self, member: &ClusterMember) -> Result<(), String> {
        if self.wire.identity().predecessors().len() < PREDECESSORS_MAX {
            return Ok(());
        }
        let (state, there) = (self.engine.state(), self.reachable());
        let away = state
            .members
            .values()
            .filter(|one| !there.contains(&one.id));
        let away: Vec<&str> = away.map(|one| one.name.as_str()).collect();
        if away.is_empty() {
            Ok(())
        } else {
            let away = away.join(" and ");
            Err(format!(
                "no new key for {}: its certificate already lists {PREDECESSORS_MAX} previous keys, the maximum, \
                     and {away} may know only the oldest of them; rotate when {away} is back, or remove {away}",
                member.name,
            ))
        }
    }

    pub(super) async fn confirm_version(&self, version: Option<VersionId>) -> RequestResult {
        self.decides()?;
        let state = self.engine.state();
        let waiting = state.on_its_way();
        let Some(record) = waiting.filter(|record| {
            matches!(record.stage, RolloutStage::AwaitConfirmation { .. })
                && version.is_none_or(|version| version == record.id)
        }) else {
            return Err(match waiting {
                Some(record) => format!("version {} is {}", record.id, record.stage),
                None => "no version waits for confirmation".to_owned(),
            });
        };
        let version = record.id;
        let step = RolloutStep::Accept;
        self.agreed(CommandBody::Decide(Decision { version, step }))
            .await?;
        Ok(ControlReply::Done {
            words: format!("version {version} is accepted"),
            version: Some(version),
        })
    }

    pub(super) async fn take_back(&self, words: String) -> RequestResult {
        self.decides()?;
        let state = self.engine.state();
        let Some(record) = state.on_its_way() else {
            return Err(
                "no version is in progress; `evenkeel config rollback` restores an older one"
                    .to_owned(),
            );
        };
        let version = record.id;
        let step = RolloutStep::TakeBack { words };
        self.agreed(CommandBody::Decide(Decision { version, step }))
            .await?;
        Ok(ControlReply::Done {
            words: format!("version {version} is cancelled"),
            version: state.accepted,
        })
    }

    fn log(&self, max: u64) -> RequestResult {
        let state = self.engine.state();
        let max = usize::try_from(max.min(LOG_MAX)).unwrap_or(usize::MAX);
        let records: Vec<_> = state.versions.values().rev().take(max).collect();
        json(&records)
    }

    async fn look_now(&self) -> RequestResult {
        match self.engine.leader() {
            Some(leader) if leader == self.me() => self.follow.now(),
            Some(leader) => {
                let told = self.send_role_message(leader, &RoleMessage::Follow).await;
                told.map_err(|error| error.to_string())?;
            }
            None => return Err("no leader".to_owned()),
        }
        let followed = gather::following(self, &self.raft_status());
        done(if followed.is_empty() {
            "the leader follows no repository; a line `follow` in the section `config` names one"
        } else {
            "the leader polls the repositories that the configuration follows; `evenkeel config status` shows the \
                 result"
        })
    }
}
