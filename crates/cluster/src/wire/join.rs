//! Makes a machine with a token a member: the joiner's side, and that of the member that admits it.
//!
//! The joiner connects to the members that its token names, one after the other. The
//! server must have a certificate of the CA whose fingerprint is in the token. It may be
//! a removed member, which a joiner cannot know. So the server first proves, bound to
//! this connection, that the invitation is in its log and that it has the CA key. Only
//! then the joiner sends the token's secret, a public key with a proof, and its
//! description. The server has the member admitted (the cluster stores only SHA-256 of
//! the secret, and consumes it), signs a certificate, and replies with all that a member
//! needs. A server without the CA key (an arbiter) names nodes, and never sees a secret.
//!
//! Attacks by a removed member: before the invitation there are none, because it does not
//! have it. After the invitation, an arbiter cannot attack either: even as a member in
//! the path of a node it has no CA key, and learns no secret. A node removed after the
//! invitation can simulate a cluster to a joiner with that token. With a token created
//! after the removal it cannot, because the CA is replaced after a removal.

use super::accept::binding_of;
use super::frame::FrameKind;
use super::greeting::{Pipe, Ungreeted, read_frame, write_frame};
use super::network::ConnectionFactory;
use super::{Binding, PORT};
use crate::authority::{
    Authority, AuthorityError, CertificateRequest, MemberIdentity, MemberKey, SealingKey, Token,
    is_issued_by, joining, seal_to,
};
use crate::command::FORMAT;
use crate::member::{ClusterMember, Digest, MemberId, MemberKind};
use part::codec;
use rustls::pki_types::ServerName;
use serde::{Deserialize, Serialize};
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub(crate) const JOIN_REQUEST_BYTES_MAX: usize = 8 << 10;
const JOIN_ANSWER_BYTES_MAX: usize = super::frame::PIECE_BYTES_MAX;
/// Timeout for the cluster to admit a new member.
pub(crate) const JOIN_LIMIT: Duration = Duration::from_secs(20);
const TRIED_MAX: usize = 16;
const ADDRESSES_MAX: usize = 8;
const NAME_BYTES_MAX: usize = 64;
/// Timeout for TCP to connect, and again for the TLS handshake.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const AUTHORITY_PURPOSE: &str = "evenkeel join authority 1";

/// Description of a machine that joins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Newcomer {
    pub name: String,
    /// Kind of the joining member; the token must be for the same kind.
    pub kind: MemberKind,
    /// Addresses on which the machine will listen. If empty, the admitting member uses the source
    /// address with [`Newcomer::port`].
    pub addresses: Vec<SocketAddr>,
    pub port: u16,
}

impl Newcomer {
    /// Describes a machine that listens on the default port of its source address.
    pub fn new(name: &str, kind: MemberKind) -> Newcomer {
        Newcomer {
            name: name.to_owned(),
            kind,
            addresses: Vec::new(),
            port: PORT,
        }
    }
}

/// A newly admitted member, with everything that it needs.
#[derive(Debug)]
pub struct Joined {
    pub cluster: String,
    pub member: ClusterMember,
    pub members: Vec<ClusterMember>,
    pub identity: MemberIdentity,
    pub authorities: Vec<Vec<u8>>,
    /// The CA with its key; None on an arbiter.
    pub authority: Option<Authority>,
    /// Key for which contents will be encrypted; None on an arbiter.
    pub sealing: Option<SealingKey>,
}

/// Interface through which the join service uses the member that admits others.
pub trait Registrar: Send + Sync {
    /// Returns the CA; None if its key is not on this member (on an arbiter).
    fn authority(&self) -> Option<Arc<Authority>>;
    /// Returns the chain (DER) of the current CA: certificates of newer CAs by older ones, then the
    /// CA's own.
    fn chain(&self) -> Vec<Vec<u8>>;
    fn nodes(&self) -> Vec<SocketAddr>;
    /// Returns the stored digest of an invitation, by its hint; None if there is no such
    /// invitation.
    fn invited(&self, hint: Digest) -> impl Future<Output = Option<Digest>> + Send;
    /// Returns all members if this key (SPKI digest) belongs to a member: a joiner whose
    /// response was lost repeats its request.
    fn known(&self, key: &Digest) -> Option<Admitted>;
    /// Has the cluster admit a new member, whose number is not assigned yet, and use up the token.
    fn admit(
        &self,
        token: Digest,
        newcomer: ClusterMember,
    ) -> impl Future<Output = Result<Admitted, Denied>> + Send;
}

/// Result of a successful admission.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Admitted {
    pub id: MemberId,
    /// All members, including the new one.
    pub members: Vec<ClusterMember>,
}

/// Reason why a joiner is not admitted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
pub enum Denied {
    #[error(
        "the token is unknown, used, or expired; create a new one with `evenkeel cluster invite`"
    )]
    Token,
    /// The token is for the other kind of member.
    #[error(
        "the token is for the other kind of member: `evenkeel cluster invite` creates one for a node, with \
             `--arbiter` one for an arbiter"
    )]
    Kind,
    /// The proof of the joiner's key is not for this connection.
    #[error("the proof of the key does not belong to this connection")]
    Proof,
    #[error("the join request has too many addresses, or no valid name")]
    Form,
    #[error("{words}")]
    Members { words: String },
    #[error("the cluster has no majority and cannot add members now; try again later")]
    NoMajority,
    /// The member cannot admit others now, for example without a majority or the CA key.
    #[error("that member cannot add members now")]
    Unable,
}

/// Reason why joining the cluster failed.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    #[error("the token is for {}", command_of(*.invited))]
    Kind { invited: MemberKind },
    /// No member was reached: the last failure.
    #[error("no member of the token is reachable; the last one, {address}: {error}")]
    Unreached {
        address: SocketAddr,
        error: io::Error,
    },
    /// The server has no certificate of the token's CA.
    #[error(
        "the machine at {address} does not belong to the cluster of the token, or the cluster has a new CA \
             since then: create a new token with `evenkeel cluster invite`. The secret was not sent to it"
    )]
    Fingerprint { address: SocketAddr },
    /// The server does not know the invitation and may have been removed, or it has no CA
    /// key and is in the path of a node.
    #[error(
        "the machine at {address} cannot prove that it is a node with the invitation in its log: it may have \
             been removed from the cluster, or intercept the connection to a node. The secret was not sent to \
             it; create a new token with `evenkeel cluster invite`"
    )]
    Unproven { address: SocketAddr },
    #[error("unexpected reply from {address}")]
    Malformed { address: SocketAddr },
    #[error("{0}")]
    Denied(Denied),
    /// Every member that responds refers to other members.
    #[error("no node is reachable, and only nodes can add members")]
    NoNode,
    #[error("{0}")]
    Authority(#[from] AuthorityError),
}

fn command_of(invited: MemberKind) -> &'static str {
    match invited {
        MemberKind::Node => "a node: `evenkeel cluster join`",
        MemberKind::Arbiter => "an arbiter: `evenkeel arbiter join`",
    }
}

#[derive(Serialize, Deserialize)]
enum JoinRequest {
    /// Queries whether the invitation is known. The response is [`Response::Proof`] or
    /// [`Response::Unknown`].
    Invited(Digest),
    Join(Box<Request>),
}

#[derive(Serialize, Deserialize)]
struct Request {
    /// Secret of the token. Empty if the other side does not know the invitation: it may still know
    /// the joiner's key, if an earlier response was lost.
    #[serde(with = "serde_bytes")]
    secret: Vec<u8>,
    name: String,
    kind: MemberKind,
    addresses: Vec<SocketAddr>,
    port: u16,
    certificate: CertificateRequest,
    #[serde(with = "serde_bytes")]
    sealing_key: Option<Vec<u8>>,
    format: u32,
}

#[derive(Serialize, Deserialize)]
enum Response {
    Proof(serde_bytes::ByteBuf),
    Unknown,
    Welcome(Box<Welcome>),
    Ask(Vec<SocketAddr>),
    Denied(Denied),
}

#[derive(Serialize, Deserialize)]
struct Welcome {
    cluster: String,
    id: MemberId,
    members: Vec<ClusterMember>,
    certificate: serde_bytes::ByteBuf,
    chain: Vec<serde_bytes::ByteBuf>,
    /// PKCS #8, sealed to the joiner's sealing key.
    authority: Option<serde_bytes::ByteBuf>,
}

struct Keys {
    member: MemberKey,
    sealing: Option<SealingKey>,
}

/// Joins with a token and new keys. Writes nothing: the caller must save the result
/// before it uses it.
///
/// # Errors
/// Fails with [`JoinError::Kind`] if the token is for another kind of member, if keys cannot be
/// created, or as [`join_with`].
pub async fn join<N: ConnectionFactory>(
    network: &N,
    token: &Token,
    newcomer: &Newcomer,
) -> Result<Joined, JoinError> {
    if token.kind != newcomer.kind {
        return Err(JoinError::Kind {
            invited: token.kind,
        });
    }
    let sealing = match newcomer.kind {
        MemberKind::Node => Some(SealingKey::generate()?),
        MemberKind::Arbiter => None,
    };
    join_with(network, token, newcomer, MemberKey::generate()?, sealing).await
}

/// Joins with keys that were created (and saved) before. If the joiner repeats its
/// request with the same keys, the cluster gives the same member its certificate,
/// although the token is used up.
///
/// # Errors
/// - [`JoinError::Denied`]: a node that has the invitation refused the joiner.
/// - [`JoinError::Malformed`], [`JoinError::Authority`]: the response of the cluster is invalid.
/// - Otherwise the failure at the last address that was tried.
pub async fn join_with<N: ConnectionFactory>(
    network: &N,
    token: &Token,
    newcomer: &Newcomer,
    member: MemberKey,
    sealing: Option<SealingKey>,
) -> Result<Joined, JoinError> {
    let keys = Keys { member, sealing };
    let mut queue = token.addresses.clone();
    let mut last = JoinError::NoNode;
    let mut at = 0;
    // Set once a member has received the secret, and so may have used up the token.
    let mut shown = false;
    while let Some(address) = queue.get(at).copied().filter(|_| at < TRIED_MAX) {
        at += 1;
        let (answered, proven) = match ask(network, address, token, newcomer, &keys).await {
            Ok((answered, proven)) => (Ok(answered), proven),
            Err(Failed { error, proven }) => (Err(error), proven),
        };
        shown |= proven;
        match answered {
            Ok(Response::Welcome(welcome)) if shown => {
                return settle(*welcome, token, keys, address);
            }
            Ok(Response::Welcome(_)) => last = JoinError::Unproven { address },
            // Tries the next address: a member that has not proven the invitation may have been
            // removed, so its refusal is not final.
            Ok(Response::Denied(why)) if !proven => last = JoinError::Denied(why),
            Ok(Response::Denied(why @ (Denied::NoMajority | Denied::Unable))) => {
                last = JoinError::Denied(why);
            }
            Ok(Response::Denied(why)) => return Err(JoinError::Denied(why)),
            Ok(Response::Ask(nodes)) => {
                let new: Vec<SocketAddr> = nodes
                    .into_iter()
                    .filter(|node| !queue.contains(node))
                    .collect();
                queue.extend(new);
            }
            Ok(Response::Proof(_) | Response::Unknown) => last = JoinError::Malformed { address },
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Reason why a member could not complete the exchange.
struct Failed {
    error: JoinError,
    /// True if the member had proven that it knows the invitation, and so had received the secret.
    proven: bool,
}

impl From<JoinError> for Failed {
    fn from(error: JoinError) -> Self {
        let proven = false;
        Failed { error, proven }
    }
}

/// Sends the joiner's requests to one member. Returns its response, and whether it has proven that
/// it knows the invitation.
async fn ask<N: ConnectionFactory>(
    network: &N,
    address: SocketAddr,
    token: &Token,
    newcomer: &Newcomer,
    keys: &Keys,
) -> Result<(Response, bool), Failed> {
    let mut stream = connect(network, address, token).await?;
    let binding = binding_of(&stream).ok_or(JoinError::Malformed { address })?;
    let authority = shown_authority(&stream, token);
    let invited = JoinRequest::Invited(token.hint());
    let proven = match exchange(&mut stream, address, &invited).await? {
        Response::Proof(proof) if token.is_proven_by(&proof, &binding.0, &authority) => true,
        Response::Proof(_) => return Err(JoinError::Unproven { address }.into()),
        Response::Unknown => false,
        other => return Ok((other, false)),
    };
    let secret = if proven {
        token.secret().to_vec()
    } else {
        Vec::new()
    };
    let certificate = keys.member.request(&binding.0);
    let request = Request {
        secret,
        name: newcomer.name.clone(),
        kind: newcomer.kind,
        addresses: newcomer.addresses.clone(),
        port: newcomer.port,
        certificate: certificate.map_err(JoinError::from)?,
        sealing_key: keys.sealing.as_ref().map(|key| key.public().to_vec()),
        format: FORMAT,
    };
    let join = JoinRequest::Join(Box::new(request));
    match exchange(&mut stream, address, &join).await {
        Ok(response) => Ok((response, proven)),
        Err(error) => Err(Failed { error, proven }),
    }
}

/// Returns the token's CA among the certificates that the other side presented (DER);
/// empty if it is missing.
fn shown_authority<S>(stream: &TlsStream<S>, token: &Token) -> Vec<u8> {
    let (_, session) = stream.get_ref();
    let shown = session.peer_certificates().unwrap_or_default();
    let authority = shown.iter().find(|der| token.names(der));
    authority.map(|der| der.to_vec()).unwrap_or_default()
}

async fn exchange<S: Pipe>(
    stream: &mut S,
    address: SocketAddr,
    asked: &JoinRequest,
) -> Result<Response, JoinError> {
    let unreached = |error| JoinError::Unreached { address, error };
    let asking = async {
        write_frame(stream, FrameKind::Ask, &codec::encode(asked)).await?;
        read_frame(stream, JOIN_ANSWER_BYTES_MAX).await
    };
    let answered = timeout(JOIN_LIMIT + CONNECT_LIMIT, asking).await;
    match answered.map_err(|_| unreached(io::ErrorKind::TimedOut.into()))? {
        Ok((FrameKind::Answer, bytes)) => {
            codec::decode(&bytes).map_err(|_| JoinError::Malformed { address })
        }
        Err(Ungreeted::Io(error)) => Err(unreached(error)),
        Ok(_) | Err(_) => Err(JoinError::Malformed { address }),
    }
}

async fn connect<N: ConnectionFactory>(
    network: &N,
    address: SocketAddr,
    token: &Token,
) -> Result<TlsStream<N::Stream>, JoinError> {
    let unreached = |error| JoinError::Unreached { address, error };
    let timed_out = || unreached(io::ErrorKind::TimedOut.into());
    let dialing = timeout(CONNECT_LIMIT, network.dial(address));
    let stream = dialing.await.map_err(|_| timed_out())?.map_err(unreached)?;
    let name = ServerName::try_from("join.evenkeel").map_err(|_| JoinError::NoNode)?;
    let shaking = TlsConnector::from(joining(token)?).connect(name, stream);
    let shaken = timeout(CONNECT_LIMIT, shaking)
        .await
        .map_err(|_| timed_out())?;
    shaken.map_err(|error| {
        if super::dial::is_foreign(&error) {
            JoinError::Fingerprint { address }
        } else {
            unreached(error)
        }
    })
}

fn settle(
    welcome: Welcome,
    token: &Token,
    keys: Keys,
    address: SocketAddr,
) -> Result<Joined, JoinError> {
    let malformed = || JoinError::Malformed { address };
    let mut of_us = welcome
        .members
        .iter()
        .filter(|member| member.id == welcome.id);
    let member = of_us.next().cloned().ok_or_else(malformed)?;
    let chain: Vec<Vec<u8>> = welcome
        .chain
        .into_iter()
        .map(|der| der.into_vec())
        .collect();
    // Refuses a certificate that the token's CA did not issue: a member without the CA key cannot
    // admit anyone.
    let mut named = chain.iter().filter(|der| token.names(der));
    let vouched = named.any(|authority| is_issued_by(&welcome.certificate, authority));
    if !vouched || member.certificate != keys.member.digest() {
        return Err(malformed());
    }
    let authority = match (&keys.sealing, welcome.authority) {
        (Some(key), Some(sealed)) => {
            let pkcs8 = key.open(AUTHORITY_PURPOSE, &sealed)?;
            Some(authority_of(&welcome.cluster, &chain, &pkcs8)?)
        }
        (None, None) => None,
        _ => return Err(malformed()),
    };
    let identity = MemberIdentity::new(
        &welcome.cluster,
        welcome.id,
        keys.member,
        welcome.certificate.into_vec(),
        &chain,
    )?;
    Ok(Joined {
        cluster: welcome.cluster,
        member,
        members: welcome.members,
        identity,
        authorities: chain,
        authority,
        sealing: keys.sealing,
    })
}

/// Returns the CA with this private key. Its own certificate is in the chain, perhaps together with
/// certificates for the same key by older CAs.
fn authority_of(
    cluster: &str,
    chain: &[Vec<u8>],
    pkcs8: &[u8],
) -> Result<Authority, AuthorityError> {
    let mut found = Err(AuthorityError::NotOurs);
    for certificate in chain {
        match Authority::from_parts(cluster, certificate, pkcs8) {
            // Takes the last one, the CA's own certificate: certificates by other CAs precede it.
            Ok(authority) => found = Ok(authority),
            Err(AuthorityError::NotOurs) => {}
            Err(error) => return Err(error),
        }
    }
    found
}

/// Returns the encoded response to a message of a joiner, for [`super::Handler::join`].
pub async fn serve<R: Registrar>(
    registrar: &R,
    from: SocketAddr,
    binding: Binding,
    bytes: &[u8],
) -> Vec<u8> {
    let response = match respond(registrar, from, binding, bytes).await {
        Ok(response) => response,
        Err(why) => Response::Denied(why),
    };
    codec::encode(&response)
}

/// Returns a refusal for a first message of a joiner that does not query the invitation; `None` if
/// it does.
pub(crate) fn turned_away(first: &[u8]) -> Option<Vec<u8>> {
    match codec::decode(first) {
        Ok(JoinRequest::Invited(_)) => None,
        Ok(JoinRequest::Join(_)) | Err(_) => Some(codec::encode(&Response::Denied(Denied::Form))),
    }
}

async fn respond<R: Registrar>(
    registrar: &R,
    from: SocketAddr,
    binding: Binding,
    bytes: &[u8],
) -> Result<Response, Denied> {
    let asked: JoinRequest = codec::decode(bytes).map_err(|_| Denied::Form)?;
    if registrar.authority().is_none() {
        return Ok(Response::Ask(registrar.nodes()));
    }
    let request = match asked {
        JoinRequest::Invited(hint) => {
            return Ok(match registrar.invited(hint).await {
                Some(digest) => {
                    let authority = registrar.authority().ok_or(Denied::Unable)?;
                    let proof = Token::proof_of(&digest, &binding.0, &authority);
                    Response::Proof(proof.map_err(|_| Denied::Unable)?.into())
                }
                None => Response::Unknown,
            });
        }
        JoinRequest::Join(request) => *request,
    };
    let proven = request.certificate.verify(&binding.0);
    proven.map_err(|_| Denied::Proof)?;
    let newcomer = described(&request, from.ip())?;
    let (key, kind) = (newcomer.certificate, newcomer.kind);
    let admitted = match registrar.known(&key) {
        Some(admitted) => admitted,
        None if request.secret.is_empty() => return Err(Denied::Token),
        None => {
            let token = Token::digest_of(&request.secret);
            registrar.admit(token, newcomer).await?
        }
    };
    // Checks the committed kind, not the requested one: otherwise a thief of an arbiter's key could
    // become a node.
    let mut agreed = admitted.members.iter();
    let agreed = agreed.find(|member| member.id == admitted.id && member.certificate == key);
    let agreed = agreed
        .filter(|member| member.kind == kind)
        .ok_or(Denied::Kind)?;
    let sealing_key = agreed.sealing_key.clone();
    // Signs with the CA that is current after the admission: another CA may have followed
    // meanwhile.
    let authority = registrar.authority().ok_or(Denied::Unable)?;
    let signed = authority.sign(admitted.id, &request.certificate, &[]);
    let certificate = signed.map_err(|_| Denied::Unable)?;
    let sealed = sealing_key
        .map(|public| seal_to(&public, AUTHORITY_PURPOSE, &authority.pkcs8()))
        .transpose()
        .map_err(|_| Denied::Form)?;
    let chain = registrar.chain().into_iter();
    Ok(Response::Welcome(Box::new(Welcome {
        cluster: authority.cluster().to_owned(),
        id: admitted.id,
        members: admitted.members,
        certificate: certificate.into(),
        chain: chain.map(Into::into).collect(),
        authority: sealed.map(Into::into),
    })))
}

/// Returns the member that the joiner describes, without its number.
fn described(request: &Request, from: IpAddr) -> Result<ClusterMember, Denied> {
    let name_good = (1..=NAME_BYTES_MAX).contains(&request.name.len())
        && !request
            .name
            .chars()
            .any(|letter| letter.is_control() || letter.is_whitespace());
    // Refuses a node without a decryption key, and an arbiter with one.
    let keys_good = request.sealing_key.is_some() == (request.kind == MemberKind::Node);
    if !name_good || !keys_good || request.addresses.len() > ADDRESSES_MAX {
        return Err(Denied::Form);
    }
    let addresses = if request.addresses.is_empty() {
        vec![SocketAddr::new(from.to_canonical(), request.port)]
    } else {
        request.addresses.clone()
    };
    Ok(ClusterMember {
        id: MemberId::default(),
        name: request.name.clone(),
        kind: request.kind,
        addresses,
        certificate: request.certificate.digest(),
        sealing_key: request.sealing_key.clone(),
        format: request.format,
    })
}

#[cfg(test)]
pub(crate) mod rude;
