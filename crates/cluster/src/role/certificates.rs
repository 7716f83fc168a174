//! Keeps each member's certificate issued by the newest CA, and issues certificates to roles. The
//! leader introduces a new CA when one is due, and drops the old one when all reachable members are
//! certified. Each step starts from committed state, so it continues after a crash of any member.

use crate::authority::{
    Authority, AuthorityError, MemberKey, PartCredentials, Trust, disk, fingerprint, follow_up_due,
};
use crate::command::{CommandBody, NextAuthority};
use crate::machine::ServingMachine;
use crate::member::MemberId;
use crate::role::directory::{AUTHORITIES, CERTIFICATE, KEY, MEMBER};
use crate::role::handler;
use crate::role::requests::{RequestResult, done};
use crate::role::shared::{RoleState, StorageError, moved};
use crate::role::socket::Replies;
use crate::role::status::held_back_words;
use crate::state::{ClusterState, Succession};
use crate::wire::{ConnectionFactory, RenewalError};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

const LOOK: Duration = Duration::from_millis(500);
const REST: Duration = Duration::from_secs(2);
const LEAD_LOOK: Duration = Duration::from_millis(200);
/// Interval at which unchanged certificates are sent to the roles again: a role or the supervisor
/// may have lost them when it was killed.
const PARTS_AGAIN: Duration = Duration::from_secs(5);
/// Duration for which an operator gets progress lines.
const TOLD_FOR: Duration = Duration::from_secs(50);

#[derive(Debug, thiserror::Error)]
enum Uncertified {
    #[error("{0}")]
    Authority(#[from] AuthorityError),
    #[error("{0}")]
    Storage(#[from] StorageError),
    #[error("{0}")]
    Renewal(RenewalError),
    /// The signer does not know the newest CA yet.
    #[error("the signing member does not know the new CA yet")]
    Behind,
    #[error("{0}")]
    Wire(crate::wire::WireError),
}

/// Keeps this member's certificate, and a node's CA keys, consistent with the committed
/// state.
pub(super) async fn run<M: ServingMachine, N: ConnectionFactory>(shared: Arc<RoleState<M, N>>) {
    let mut changes = shared.engine.changes();
    let mut kept: Vec<Vec<u8>> = Vec::new();
    let mut of_parts = IssuedCredentials::default();
    let mut failure = String::new();
    loop {
        let state = shared.engine.state();
        if state.founded() && state.members.contains_key(&shared.me()) {
            match shared.directory.writable() {
                Ok(_) => {
                    if !restore_files(&shared, &mut failure) {
                        kept.clear();
                    }
                    store_and_certify(&shared, &state, &mut kept).await;
                }
                Err(error) => note_once(&shared, &mut failure, error.to_string()),
            }
            certify_parts(&shared, &state, &mut of_parts).await;
        }
        let looked_at = matters(&shared, &state);
        drop(state);
        let until = Instant::now() + LOOK;
        loop {
            tokio::select! {
                () = moved(&mut changes) => {
                    // Continues to wait after other entries, because most do not concern
                    // certificates.
                    if matters(&shared, &shared.engine.state()) != looked_at {
                        break;
                    }
                }
                () = tokio::time::sleep_until(until) => break,
            }
        }
    }
}

/// Stores the CAs of the state, and gets a certificate of the newest one. `kept`: the CAs that were
/// stored last.
async fn store_and_certify<M: ServingMachine, N: ConnectionFactory>(
    shared: &Arc<RoleState<M, N>>,
    state: &ClusterState,
    kept: &mut Vec<Vec<u8>>,
) {
    let authorities = state.trust().authorities;
    if *kept != authorities {
        match keep(shared, state, &authorities) {
            Ok(true) => kept.clone_from(&authorities),
            Ok(false) => {}
            Err(error) => shared.note(format!("cannot store a CA: {error}")),
        }
    }
    if let Err(error) = certify(shared, state, &authorities).await {
        shared.note(format!(
            "this member has no certificate of the new CA yet: {error}"
        ));
        tokio::time::sleep(REST).await;
    }
}

pub(super) fn note_once<M: ServingMachine, N: ConnectionFactory>(
    shared: &RoleState<M, N>,
    last: &mut String,
    words: String,
) {
    if *last != words {
        shared.note(words.clone());
    }
    *last = words;
}

/// Writes the identity of this member again if its files are missing. Returns false if the
/// certificates of the CAs are missing. `failure`: the reason that was reported last.
fn restore_files<M: ServingMachine, N: ConnectionFactory>(
    shared: &RoleState<M, N>,
    failure: &mut String,
) -> bool {
    let missing = shared.directory.missing_files(shared.who.kind);
    let mut own = missing
        .iter()
        .filter(|name| [MEMBER, KEY, CERTIFICATE].contains(*name));
    if let Some(name) = own.next() {
        let written = if *name == MEMBER {
            let written = shared.directory.restore_who(&shared.who);
            written.map_err(|error| error.to_string())
        } else {
            let written = shared.store_identity(&shared.wire.identity());
            written.map_err(|error| error.to_string())
        };
        let words = match written {
            Ok(()) => format!("{name} was missing and was written again"),
            Err(error) => format!("{name} is missing and cannot be written again: {error}"),
        };
        note_once(shared, failure, words);
    } else {
        failure.clear();
    }
    !missing.contains(&AUTHORITIES)
}

fn matters<M: ServingMachine, N: ConnectionFactory>(
    shared: &RoleState<M, N>,
    state: &ClusterState,
) -> (Trust, Succession, bool) {
    let member = state.members.contains_key(&shared.me());
    (state.trust(), state.succession.clone(), member)
}

#[derive(Default)]
struct IssuedCredentials {
    trust: Option<Trust>,
    credentials: Vec<PartCredentials>,
    sent_at: Option<Instant>,
}

/// Issues new certificates to the roles of a node when the trust in members or CAs has changed, and
/// sends the certificates every [`PARTS_AGAIN`].
async fn certify_parts<M: ServingMachine, N: ConnectionFactory>(
    shared: &RoleState<M, N>,
    state: &ClusterState,
    issued: &mut IssuedCredentials,
) {
    let parts = shared.machine.certified();
    let trust = state.trust();
    if parts.is_empty() {
        return;
    }
    if issued.trust.as_ref() != Some(&trust) {
        // Issues nothing on an arbiter, which has no key of the CA and no such roles.
        let Some(authority) = handler::authority(shared, &state.authority) else {
            return;
        };
        let chain = state.chain_to(&state.authority).unwrap_or_default();
        let mut all = Vec::new();
        for part in parts {
            match PartCredentials::issue(part, shared.me(), &authority, &chain, &trust) {
                Ok(credentials) => all.push(credentials),
                Err(error) => {
                    shared.note(format!("the {part} role has no certificate: {error}"));
                    return;
                }
            }
        }
        *issued = IssuedCredentials {
            trust: Some(trust),
            credentials: all,
            sent_at: None,
        };
    }
    if issued.sent_at.is_none_or(|at| at.elapsed() >= PARTS_AGAIN) {
        for credentials in &issued.credentials {
            shared.machine.certify(credentials.clone()).await;
        }
        issued.sent_at = Some(Instant::now());
    }
}

/// Stores the certificates of CAs, and on a node their keys; drops those of previous CAs.
/// Returns false if a key cannot be decrypted yet.
fn keep<M: ServingMachine, N: ConnectionFactory>(
    shared: &RoleState<M, N>,
    state: &ClusterState,
    authorities: &[Vec<u8>],
) -> Result<bool, StorageError> {
    let directory = shared.directory.writable()?;
    disk::write_authorities(directory, authorities)?;
    let Some(sealing) = disk::read_sealing_key(directory)? else {
        return Ok(true);
    };
    let mut here: Vec<Authority> = Vec::new();
    for certificate in authorities {
        let cluster = &shared.who.cluster;
        let known = disk::read_authority(directory, cluster, certificate, &sealing)?;
        match known.or_else(|| from_log(shared, state, certificate)) {
            Some(authority) => here.push(authority),
            None => return Ok(false),
        }
    }
    disk::write_authority_keys(directory, &here, &sealing)?;
    Ok(true)
}

/// Returns the CA with this certificate, if its key came through the log and can be
/// decrypted now.
fn from_log<M: ServingMachine, N: ConnectionFactory>(
    shared: &RoleState<M, N>,
    state: &ClusterState,
    certificate: &[u8],
) -> Option<Authority> {
    let next = state.succession.next.as_ref();
    let next = next.filter(|next| next.certificate == certificate);
    let key = match next {
        Some(next) => &next.key,
        None => state.succession.key.as_ref()?,
    };
    shared.keys.open_authority(certificate, key).ok()
}

async fn certify<M: ServingMachine, N: ConnectionFactory>(
    shared: &RoleState<M, N>,
    state: &ClusterState,
    authorities: &[Vec<u8>],
) -> Result<(), Uncertified> {
    let newest = state.newest_authority();
    if !authorities.iter().any(|one| one == newest) {
        // Waits while the newest CA is not trusted yet: no current CA certifies its key.
        return Ok(());
    }
    let identity = shared.wire.identity();
    let shown = if !identity.is_issued_by(newest) {
        let key = MemberKey::from_pkcs8(&identity.key().pkcs8())?;
        let renewed = shared.wire.renew(key).await;
        let renewed = renewed.map_err(Uncertified::Renewal)?;
        if !renewed.is_issued_by(newest) {
            return Err(Uncertified::Behind);
        }
        Some(renewed)
    } else {
        let chain = state.chain_to(newest).unwrap_or_default();
        let same = identity.chain().get(1..) == Some(&chain);
        (!same).then(|| identity.with_chain(&chain)).transpose()?
    };
    if let Some(identity) = shown {
        // Drops the new certificate if an operator has replaced the key meanwhile.
        if shared.wire.identity().key().digest() != identity.key().digest() {
            return Ok(());
        }
        shared.store_identity(&identity)?;
        let taken = shared.wire.set_identity(Arc::new(identity));
        taken.map_err(Uncertified::Wire)?;
    }
    if state.uncertified().contains(&shared.me()) && shared.has_majority() {
        let authority = fingerprint(newest);
        shared.try_to(CommandBody::Certified { authority }).await;
    }
    Ok(())
}

/// Executes the leader's next step from one CA to another; returns the time until the
/// next check.
pub(super) async fn lead<M: ServingMachine, N: ConnectionFactory>(
    shared: &RoleState<M, N>,
) -> Duration {
    if !shared.keys.can_open() {
        return REST;
    }
    let state = shared.engine.state();
    if let Some(next) = &state.succession.next {
        drop_former_authority(shared, &state, next).await;
        return LEAD_LOOK;
    }
    let exposed = state.succession.exposed;
    if exposed.is_none() && !follow_up_due(&state.authority, SystemTime::now()) {
        return REST;
    }
    if exposed.is_some() && !state.no_authority_before().is_empty() {
        // Waits for the members that hold up the next CA; the status names them.
        return REST;
    }
    if exposed.is_some_and(|epoch| shared.newest_ring() <= Some(epoch))
        && let Err(words) = shared.new_ring().await
    {
        shared.note(words);
        return REST;
    }
    if let Err(words) = shared.begin_authority().await {
        shared.note(format!("cannot create a new CA: {words}"));
        return REST;
    }
    LEAD_LOOK
}

async fn drop_former_authority<M: ServingMachine, N: ConnectionFactory>(
    shared: &RoleState<M, N>,
    state: &ClusterState,
    next: &NextAuthority,
) {
    let away = state.uncertified();
    let there = shared.reachable();
    if away.is_disjoint(&there) {
        let next = fingerprint(&next.certificate);
        shared
            .try_to(CommandBody::GiveUpAuthority { next, away })
            .await;
    }
}

impl<M: ServingMachine, N: ConnectionFactory> RoleState<M, N> {
    /// Creates the next CA with a certificate by the current one, and introduces it.
    async fn begin_authority(&self) -> Result<(), String> {
        let state = self.engine.state();
        let Some(present) = handler::authority(self, &state.authority) else {
            return Err("the key of the current CA is not on this machine".to_owned());
        };
        let made = || -> Result<NextAuthority, AuthorityError> {
            let next = Authority::found(&self.who.cluster)?;
            Ok(NextAuthority {
                certificate: next.certificate().to_vec(),
                vouched: present.vouch_for(&next)?,
                key: self.keys.seal_authority(&next)?,
            })
        };
        let next = made().map_err(|error| error.to_string())?;
        self.agreed(CommandBody::Authority(Box::new(next))).await?;
        Ok(())
    }

    /// Returns the state once no new CA is being introduced. Fails with the reason after `limit`,
    /// or at once if all members that hold up the next CA are away.
    pub(super) async fn settled_authority(
        &self,
        limit: Duration,
    ) -> Result<Arc<ClusterState>, String> {
        let deadline = Instant::now() + limit;
        loop {
            let state = self.engine.state();
            let settled = state.succession.next.is_none() && state.succession.exposed.is_none();
            if settled {
                return Ok(state);
            }
            let late = state.no_authority_before();
            if !late.is_empty() && late.is_disjoint(&self.reachable()) {
                return Err(held_back_words(&names_of(&state, late)));
            }
            if Instant::now() >= deadline {
                let words = self.uncertified_words(&state);
                return Err(format!(
                    "a replacement of the CA is already in progress, {words}"
                ));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn uncertified_words(&self, state: &ClusterState) -> String {
        let there = self.reachable();
        let waited: BTreeSet<MemberId> = state.uncertified();
        let names = names_of(state, waited.intersection(&there).copied());
        if names.is_empty() {
            "which the leader completes".to_owned()
        } else {
            format!("and waits for {names}")
        }
    }

    pub(super) async fn rotate_authority(&self, replies: &Replies) -> RequestResult {
        if !self.keys.can_open() {
            return Err("this is an arbiter, which has no CA key: run this on a node".to_owned());
        }
        let state = self.engine.state();
        let before = state.authority.clone();
        if state.succession.next.is_some() {
            replies.progress("a new CA is already being introduced");
        } else {
            self.begin_authority().await?;
            replies.progress("members now trust a new CA beside the current one");
        }
        let deadline = Instant::now() + TOLD_FOR;
        let mut told: BTreeSet<MemberId> = BTreeSet::new();
        loop {
            let state = self.engine.state();
            if state.authority != before {
                return done(given_up_words(&state));
            }
            let new = &state.succession.certified - &told;
            for member in &new {
                let name = state.name_of(*member);
                replies.progress(format!("{name} has a certificate of the new CA"));
            }
            told.extend(new);
            if Instant::now() >= deadline {
                let words = self.uncertified_words(&state);
                return Err(format!(
                    "the new CA is being introduced, {words}; this continues automatically, and `evenkeel cluster \
                     status` shows the progress"
                ));
            }
            tokio::time::sleep(LEAD_LOOK).await;
        }
    }
}

fn names_of(state: &ClusterState, members: impl IntoIterator<Item = MemberId>) -> String {
    let names = members.into_iter().map(|id| state.name_of(id));
    names.collect::<Vec<_>>().join(", ")
}

fn given_up_words(state: &ClusterState) -> String {
    let late = names_of(state, state.uncertified());
    let rest = "earlier tokens are no longer valid";
    if late.is_empty() {
        format!("all members have certificates of the new CA, the old CA is dropped; {rest}")
    } else {
        format!("the old CA is dropped; away, and certified when they return: {late}; {rest}")
    }
}
