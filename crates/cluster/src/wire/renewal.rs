//! Renews the certificate of this member before it expires, and signs the new certificates of
//! others. This member signs its own if it has the CA key; otherwise a node that has the key signs.
//! The key of the certificate may stay the same or change. The node that signs identifies the
//! requester by its connection.

use super::failure::CallError;
use super::network::ConnectionFactory;
use super::service::Signer;
use super::shared::WireState;
use crate::authority::{
    Authority, AuthorityError, CertificateRequest, MemberIdentity, MemberKey, PREDECESSORS_MAX,
    member_name,
};
use crate::member::{Digest, MemberId, MemberKind};
use part::codec;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::time::sleep;

/// The code of this service among those of [`super::Service`].
pub(crate) const RENEWAL: u8 = 128;
const LOOK_EVERY: Duration = Duration::from_secs(3600);
/// Number of former keys, the newest ones, that a certificate names if there are more than
/// [`PREDECESSORS_MAX`].
const RECENT: usize = 8;
/// Time after which all connections present a new identity.
const SHOWN_BY: Duration = Duration::from_secs(5);
/// Timeout for another member to sign.
const SIGN_LIMIT: Duration = Duration::from_secs(10);

/// Reason why there is no new certificate.
#[derive(Debug, thiserror::Error)]
pub enum RenewalError {
    /// No node is reached; the last failure.
    #[error("{}", no_node(.0.as_ref()))]
    NoNode(Option<CallError>),
    #[error("member {0} refused to sign it")]
    Denied(MemberId),
    #[error("{0}")]
    Authority(#[from] AuthorityError),
}

fn no_node(last: Option<&CallError>) -> String {
    match last {
        Some(error) => format!("no node that could sign the certificate is reachable: {error}"),
        None => "the CA key is not here, and no node is reachable".to_owned(),
    }
}

#[derive(Serialize, Deserialize)]
struct Request {
    certificate: CertificateRequest,
    /// Keys that the member had before, the newest first.
    before: Vec<Digest>,
}

#[derive(Serialize, Deserialize)]
enum Response {
    Signed {
        certificate: ByteBuf,
        chain: Vec<ByteBuf>,
    },
    Denied,
}

/// Returns the binding of a request, so that a member cannot have the request of another
/// member signed.
fn binding(cluster: &str, member: MemberId) -> Vec<u8> {
    format!("renew {}", member_name(cluster, member)).into_bytes()
}

impl<N: ConnectionFactory> WireState<N> {
    pub(crate) async fn renew(&self, key: MemberKey) -> Result<MemberIdentity, RenewalError> {
        let now = self.identity();
        let mut before: Vec<Digest> = Vec::new();
        if now.key().digest() != key.digest() {
            before.push(now.key().digest());
        }
        before.extend(now.predecessors());
        if before.len() > PREDECESSORS_MAX {
            // Names only the newest former keys. The requester of a new key has checked that
            // all members are reachable.
            before.truncate(RECENT);
        }
        let (cluster, me) = (now.cluster(), self.me());
        let certificate = key.request(&binding(cluster, me))?;
        let request = Request {
            certificate,
            before,
        };
        let (certificate, chain) = match self.signer() {
            Some(Signer { authority, chain }) => {
                let signed = authority.sign(me, &request.certificate, &request.before)?;
                (signed, chain)
            }
            None => match self.signed_elsewhere(&request).await {
                // Waits and tries again, because nothing is signed on connections that still
                // present the former key.
                Err(RenewalError::Denied(_)) if self.shown_since() < SHOWN_BY => {
                    sleep(SHOWN_BY).await;
                    self.signed_elsewhere(&request).await?
                }
                answered => answered?,
            },
        };
        let identity = MemberIdentity::new(cluster, me, key, certificate, &chain)?;
        Ok(identity.with_predecessors(request.before))
    }

    async fn signed_elsewhere(
        &self,
        request: &Request,
    ) -> Result<(Vec<u8>, Vec<Vec<u8>>), RenewalError> {
        let bytes = codec::encode(request);
        let trust = self.trust();
        let nodes = trust.members.values();
        let nodes = nodes.filter(|one| one.kind == MemberKind::Node && one.id != self.me());
        let mut last = RenewalError::NoNode(None);
        for node in nodes {
            let asked = self.call_code(node.id, RENEWAL, true, bytes.clone(), SIGN_LIMIT);
            let answer = match asked.await {
                Ok(answer) => answer,
                Err(error) => {
                    last = RenewalError::NoNode(Some(error));
                    continue;
                }
            };
            match codec::decode(&answer) {
                Ok(Response::Signed { certificate, chain }) => {
                    let chain = chain.into_iter().map(ByteBuf::into_vec).collect();
                    return Ok((certificate.into_vec(), chain));
                }
                Ok(Response::Denied) | Err(_) => last = RenewalError::Denied(node.id),
            }
        }
        Err(last)
    }

    /// Signs a certificate for a member that requests it on a connection with this
    /// certificate (DER), if the CA key is on this member.
    pub(crate) fn sign_for(&self, from: MemberId, shown: &[u8], bytes: &[u8]) -> Vec<u8> {
        let signed = self.signer().and_then(|signer| {
            let request: Request = codec::decode(bytes).ok()?;
            let certificate = self.signed_for(&signer.authority, from, shown, &request)?;
            Some((certificate, signer.chain))
        });
        let response = signed.map_or(Response::Denied, |(certificate, chain)| Response::Signed {
            certificate: certificate.into(),
            chain: chain.into_iter().map(Into::into).collect(),
        });
        codec::encode(&response)
    }

    fn signed_for(
        &self,
        authority: &Authority,
        from: MemberId,
        shown: &[u8],
        request: &Request,
    ) -> Option<Vec<u8>> {
        let binding = binding(authority.cluster(), from);
        request.certificate.verify(&binding).ok()?;
        // Peers that are not (or not yet) committed members get no certificate, nor do
        // those that present a replaced key.
        let trust = self.trust();
        let known = trust.members.get(&from)?.certificate;
        let before = trust.predecessors_of(shown, from, &request.before)?;
        let goes_on = request.certificate.digest() == known || before.contains(&known);
        if !goes_on {
            return None;
        }
        authority.sign(from, &request.certificate, &before).ok()
    }

    pub(crate) fn keep_renewed(self: &Arc<Self>) {
        let shared = Arc::clone(self);
        self.spawn(async move {
            loop {
                if shared.identity().renewal_due(SystemTime::now()) {
                    shared.renew_now().await;
                }
                sleep(LOOK_EVERY).await;
            }
        });
    }

    async fn renew_now(self: &Arc<Self>) {
        let renewed = match MemberKey::from_pkcs8(&self.identity().key().pkcs8()) {
            Ok(key) => self.renew(key).await,
            Err(error) => Err(error.into()),
        };
        match renewed {
            Ok(identity) => {
                let identity = Arc::new(identity);
                if self.set_identity(Arc::clone(&identity)).is_ok() {
                    self.emit_event(super::Event::Renewed(identity));
                }
            }
            Err(error) => self.note(format!(
                "the certificate of this member expires soon, and there is no new one: {error}"
            )),
        }
    }

    fn signer(&self) -> Option<Signer> {
        self.handler()?.signer()
    }
}
