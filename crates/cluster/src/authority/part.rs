//! Issues certificates to roles that connect to the same role on other nodes without the control
//! role. The CA of the cluster certifies a key of the role's own under a name that no member has,
//! `ROLE.member-3.NAME.evenkeel`. The role never has the member's key.

use super::certificate::{MemberKey, has_name, member_name};
use super::tls::{Anchor, Verifier, provider, roots, verify_chain};
use super::{Authority, AuthorityError, Trust};
use crate::member::{MemberId, MemberKind};
use part::role::PartMessage;
use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use rustls::server::{NoServerSessionStorage, ParsedCertificate};
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use zeroize::Zeroize;

/// Kind of the message that carries credentials, above all kinds that roles define themselves.
const KIND: u16 = 0x102;

/// Credentials with which a role connects to the same role on other nodes: its certificate with the
/// key, and the peers that it may trust.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartCredentials {
    cluster: String,
    part: String,
    me: MemberId,
    key: ByteBuf,
    /// Certificate (DER), then the chain to the CAs.
    chain: Vec<ByteBuf>,
    authorities: Vec<ByteBuf>,
    nodes: Vec<PartNode>,
}

/// A node, as the parts of other nodes know it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PartNode {
    pub id: MemberId,
    pub name: String,
    /// Addresses on which its control role listens, the preferred one first.
    pub addresses: Vec<SocketAddr>,
}

impl PartCredentials {
    /// Certifies a new key for a role of this member. Peers that know one of the CAs at the end of
    /// `chain` trust it.
    ///
    /// # Errors
    /// Fails without random numbers, or if the certificate cannot be created.
    pub fn issue(
        part: &str,
        me: MemberId,
        authority: &Authority,
        chain: &[Vec<u8>],
        trust: &Trust,
    ) -> Result<PartCredentials, AuthorityError> {
        let key = MemberKey::generate()?;
        let name = part_name(&trust.cluster, part, me);
        let certificate = authority.sign_name(&name, &key.request(&[])?)?;
        let owned = |all: &[Vec<u8>]| all.iter().cloned().map(ByteBuf::from).collect::<Vec<_>>();
        let mut whole = vec![ByteBuf::from(certificate)];
        whole.extend(owned(chain));
        let nodes = trust
            .members
            .values()
            .filter(|one| one.kind == MemberKind::Node);
        Ok(PartCredentials {
            cluster: trust.cluster.clone(),
            part: part.to_owned(),
            me,
            key: ByteBuf::from(key.pkcs8().to_vec()),
            chain: whole,
            authorities: owned(&trust.authorities),
            nodes: nodes
                .map(|one| PartNode {
                    id: one.id,
                    name: one.name.clone(),
                    addresses: one.addresses.clone(),
                })
                .collect(),
        })
    }

    pub fn part(&self) -> &str {
        &self.part
    }

    pub fn own_name(&self) -> &str {
        let own = self.nodes.iter().find(|node| node.id == self.me);
        own.map_or("", |node| node.name.as_str())
    }

    /// Returns all nodes of the cluster, including this one.
    pub fn nodes(&self) -> &[PartNode] {
        &self.nodes
    }

    /// Encodes the credentials for forwarding to the role. They are valid until the role receives
    /// the next ones.
    pub fn envelope(&self) -> PartMessage {
        PartMessage {
            holds: true,
            ..PartMessage::new(&self.part, KIND, self)
        }
    }

    pub fn of(message: &PartMessage) -> Option<PartCredentials> {
        (message.kind == KIND).then(|| message.read())?
    }

    /// Returns the TLS configurations for clients and servers: 1.3 only, certificates on
    /// both sides. They verify the chain; [`PartCredentials::node_of`] returns the owner
    /// of the certificate.
    ///
    /// # Errors
    /// Fails if a certificate or the key cannot be used.
    pub fn tls(&self) -> Result<(Arc<ClientConfig>, Arc<ServerConfig>), AuthorityError> {
        let authorities: Vec<Vec<u8>> = self.authorities.iter().map(|one| one.to_vec()).collect();
        let verifier = Verifier::new(Anchor::Part {
            roots: roots(&authorities)?,
        });
        let chain = || {
            let der = |one: &ByteBuf| CertificateDer::from(one.to_vec());
            self.chain.iter().map(der).collect::<Vec<_>>()
        };
        let key = || PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.to_vec()));
        let protocol = format!("evenkeel-{}/1", self.part).into_bytes();
        let mut client = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&verifier) as Arc<_>)
            .with_client_auth_cert(chain(), key())?;
        client.alpn_protocols = vec![protocol.clone()];
        client.resumption = Resumption::disabled();
        client.enable_sni = false;
        let mut server = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain(), key())?;
        server.alpn_protocols = vec![protocol];
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        Ok((Arc::new(client), Arc::new(server)))
    }

    /// Returns the name of the node whose role presented this chain. None: the owner is no current
    /// node of the cluster or belongs to another role, or no current CA certifies it. A handshake
    /// has verified the chain, and the CA may have been dropped since. As everywhere between
    /// members, an expired certificate alone is no reason to refuse.
    pub fn node_of(&self, chain: &[CertificateDer<'_>]) -> Option<&str> {
        let (first, others) = chain.split_first()?;
        let authorities: Vec<Vec<u8>> = self.authorities.iter().map(|one| one.to_vec()).collect();
        let roots = roots(&authorities).ok()?;
        verify_chain(first, others, &roots, &provider(), UnixTime::now()).ok()?;
        self.named(first)
    }

    fn named(&self, certificate: &[u8]) -> Option<&str> {
        let der = CertificateDer::from(certificate);
        let parsed = ParsedCertificate::try_from(&der).ok()?;
        let mut nodes = self.nodes.iter();
        let bears = |id| has_name(&parsed, &part_name(&self.cluster, &self.part, id));
        nodes
            .find(|node| bears(node.id))
            .map(|node| node.name.as_str())
    }
}

impl Drop for PartCredentials {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl fmt::Debug for PartCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = part_name(&self.cluster, &self.part, self.me);
        write!(f, "PartCredentials({name})")
    }
}

fn part_name(cluster: &str, part: &str, member: MemberId) -> String {
    format!("{part}.{}", member_name(cluster, member))
}
