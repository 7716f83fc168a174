//! Encrypts the files of proposals and decrypts those of configuration versions, with the content
//! keys of this node. Content in common with the parent version is referenced, not stored again.

use crate::authority::{Authority, AuthorityError, Rings, SealingKey, disk, fingerprint};
use crate::command::{EncryptedContent, Epoch, FileEntry, Ring, SealedAuthority, VersionOrigin};
use crate::file_set::{FileSet, SetFile};
use crate::member::{Digest, MemberId, MemberKind};
use crate::raft::Engine;
use crate::role::directory::{LocalMember, StateDirectory};
use crate::state::{ClusterState, VersionRecord};
use crate::store::StoreError;
use openraft_rt_tokio::TokioRuntime;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use zeroize::Zeroizing;

const LABEL_MESSAGE_CHARACTERS: usize = 60;

/// Why contents cannot be opened or sealed.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    #[error("{0}")]
    Authority(#[from] AuthorityError),
    #[error("{0}")]
    Store(#[from] StoreError),
    /// Not all chunks have arrived yet.
    #[error("parts of its contents have not arrived yet")]
    Missing,
}

/// Content keys of this member, and the private key that decrypts them.
#[derive(Debug)]
pub struct Keys {
    cluster: String,
    me: MemberId,
    /// None on an arbiter.
    sealing: Option<SealingKey>,
    /// Reason why the decryption key is new; None: the stored key is used.
    renewed: Option<&'static str>,
    rings: Mutex<HeldRings>,
}

#[derive(Default)]
struct HeldRings(Rings);

impl fmt::Debug for HeldRings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Held")
    }
}

fn purpose(certificate: &[u8]) -> String {
    format!("authority {}", fingerprint(certificate))
}

/// Files of a proposal, and the chunks to send before it.
#[derive(Debug, Default)]
pub struct Prepared {
    pub files: Vec<FileEntry>,
    /// Chunks that no version has yet, as far as this member knows.
    pub chunks: Vec<(Digest, Vec<u8>)>,
    pub unchanged: usize,
}

impl Keys {
    pub fn new(cluster: &str, me: MemberId, sealing: Option<SealingKey>) -> Keys {
        Keys {
            cluster: cluster.to_owned(),
            me,
            sealing,
            renewed: None,
            rings: Mutex::new(HeldRings::default()),
        }
    }

    /// Loads the keys of a member from its directory.
    ///
    /// # Errors
    /// Fails if the decryption key of a node cannot be read, or a new one cannot be written.
    pub fn of(who: &LocalMember, directory: &StateDirectory) -> Result<Keys, AuthorityError> {
        let mut keys = Keys::new(&who.cluster, who.id, None);
        if who.kind == MemberKind::Node {
            let (sealing, renewed) = disk::sealing_key_or_new(directory.path())?;
            (keys.sealing, keys.renewed) = (Some(sealing), renewed);
        }
        Ok(keys)
    }

    pub fn renewed(&self) -> Option<&'static str> {
        self.renewed
    }

    /// Returns the public key for which content keys are encrypted; an arbiter has none.
    pub fn public(&self) -> Option<Vec<u8>> {
        let sealing = self.sealing.as_ref()?;
        Some(sealing.public().to_vec())
    }

    fn rings(&self) -> MutexGuard<'_, HeldRings> {
        self.rings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn can_open(&self) -> bool {
        self.sealing.is_some()
    }

    /// Decrypts the content keys that the state contains for this node. Does nothing on an arbiter.
    ///
    /// # Errors
    /// As [`Rings::decrypt_keys`].
    pub fn decrypt_content_keys(&self, state: &ClusterState) -> Result<(), AuthorityError> {
        let Some(sealing) = &self.sealing else {
            return Ok(());
        };
        let rings = state.rings.values();
        self.rings()
            .0
            .decrypt_keys(&self.cluster, self.me, sealing, rings)
            .map(|_| ())
    }

    pub fn newest(&self) -> Option<Epoch> {
        self.rings().0.newest()
    }

    /// Returns the content keys that some nodes lack and this one has, encrypted for
    /// those nodes, and the nodes for which they cannot be encrypted, with the reason.
    pub fn for_newcomers(
        &self,
        state: &ClusterState,
    ) -> (Vec<Ring>, BTreeMap<MemberId, AuthorityError>) {
        let mut rings = Vec::new();
        let mut failed = BTreeMap::new();
        for (epoch, node) in state.unsealed() {
            let public = state.member(node).and_then(|m| m.sealing_key.as_deref());
            let Some(public) = public else {
                continue;
            };
            match self.rings().0.seal_all_to(&self.cluster, node, public) {
                Ok(sealed) => rings.extend(sealed.into_iter().filter(|ring| ring.epoch == epoch)),
                Err(error) => {
                    failed.insert(node, error);
                }
            }
        }
        (rings, failed)
    }

    /// Creates a content key for all current nodes.
    ///
    /// # Errors
    /// As [`Rings::begin`].
    pub fn begin(&self, state: &ClusterState) -> Result<Ring, AuthorityError> {
        let newest = state.rings.keys().next_back().copied().unwrap_or_default();
        let nodes = state
            .nodes()
            .filter_map(|node| Some((node.id, node.sealing_key.as_deref()?)));
        Rings::begin(&self.cluster, Epoch(newest.0.saturating_add(1)), nodes)
    }

    /// Encrypts the key of a CA with the newest content key, which all nodes have.
    ///
    /// # Errors
    /// As [`Rings::seal_secret`]. Fails with [`AuthorityError::NoRings`] without a content key.
    pub fn seal_authority(&self, authority: &Authority) -> Result<SealedAuthority, AuthorityError> {
        let rings = self.rings();
        let epoch = rings.0.newest().ok_or(AuthorityError::NoRings)?;
        let purpose = purpose(authority.certificate());
        let bytes = rings.0.seal_secret(&purpose, &authority.pkcs8())?;
        Ok(SealedAuthority { epoch, bytes })
    }

    /// Returns the CA with this certificate, from its encrypted key.
    ///
    /// # Errors
    /// As [`Rings::open_secret`] and [`Authority::from_parts`].
    pub fn open_authority(
        &self,
        certificate: &[u8],
        key: &SealedAuthority,
    ) -> Result<Authority, AuthorityError> {
        let opened = self
            .rings()
            .0
            .open_secret(&purpose(certificate), &key.bytes)?;
        Authority::from_parts(&self.cluster, certificate, &opened)
    }

    async fn open(
        &self,
        engine: &Engine<TokioRuntime>,
        content: &EncryptedContent,
    ) -> Result<Zeroizing<Vec<u8>>, ContentError> {
        let mut pieces = BTreeMap::new();
        for digest in &content.chunks {
            let piece = engine.chunk(*digest).await?;
            pieces.insert(*digest, piece.ok_or(ContentError::Missing)?);
        }
        let opened = self.rings().0.open(content, |digest| pieces.remove(digest));
        Ok(opened?)
    }

    /// Returns the files of a version, as this node loads them.
    ///
    /// # Errors
    /// - [`ContentError::Missing`]: not all chunks have arrived yet.
    /// - [`ContentError::Store`]: the store cannot be read.
    /// - [`ContentError::Authority`]: a file cannot be decrypted.
    pub async fn file_set(
        &self,
        engine: &Engine<TokioRuntime>,
        record: &VersionRecord,
        node: &str,
    ) -> Result<FileSet, ContentError> {
        let mut entries: Vec<&FileEntry> = record.proposal.files.iter().collect();
        entries.sort_by_key(|entry| entry.main.unwrap_or(u32::MAX));
        let mut files = Vec::with_capacity(entries.len());
        for entry in entries {
            let mut bytes = self.open(engine, &entry.content).await?;
            files.push(SetFile {
                path: entry.path.clone(),
                main: entry.main.is_some(),
                secret: entry.secret,
                mode: entry.mode,
                bytes: std::mem::take(&mut *bytes),
            });
        }
        Ok(FileSet {
            version: record.id,
            label: label(record),
            node: node.to_owned(),
            files,
            listings: record.proposal.listings.clone(),
        })
    }

    /// Prepares a proposal from files. Content that the parent has is referenced.
    ///
    /// # Errors
    /// Fails with [`ContentError::Authority`] if a file is too large or cannot be encrypted. If the
    /// content of the parent cannot be read, the file is encrypted again.
    pub async fn prepare(
        &self,
        engine: &Engine<TokioRuntime>,
        parent: Option<&VersionRecord>,
        set: &FileSet,
    ) -> Result<Prepared, ContentError> {
        let mut prepared = Prepared::default();
        let mut main = 0;
        for file in &set.files {
            let place = file.main.then_some(main);
            main += u32::from(file.main);
            let known = parent.and_then(|parent| {
                let mut files = parent.proposal.files.iter();
                files.find(|entry| entry.path == file.path)
            });
            let content = match self.same(engine, known, file).await {
                Some(content) => {
                    prepared.unchanged += 1;
                    content
                }
                None => {
                    let sealed = self.rings().0.seal(&file.bytes)?;
                    prepared.chunks.extend(sealed.chunks);
                    sealed.content
                }
            };
            prepared.files.push(FileEntry {
                path: file.path.clone(),
                main: place,
                secret: file.secret,
                mode: file.mode,
                content,
            });
        }
        Ok(prepared)
    }

    /// Returns the parent's content of a file if the bytes are unchanged and encrypted with the
    /// newest content key: an older key may be known to a removed member.
    async fn same(
        &self,
        engine: &Engine<TokioRuntime>,
        known: Option<&FileEntry>,
        file: &SetFile,
    ) -> Option<EncryptedContent> {
        let content = &known?.content;
        if content.bytes != file.bytes.len() as u64 || Some(content.epoch) != self.newest() {
            return None;
        }
        let plain = self.open(engine, content).await.ok()?;
        (*plain == file.bytes).then(|| content.clone())
    }
}

pub fn label(record: &VersionRecord) -> String {
    let proposal = &record.proposal;
    let message = proposal.message.lines().next().unwrap_or_default();
    let short: String = message.chars().take(LABEL_MESSAGE_CHARACTERS).collect();
    let from = match &proposal.origin {
        VersionOrigin::Applied => String::new(),
        VersionOrigin::Followed { revision, .. } => {
            format!(" (revision {})", crate::follow::decide::short(revision))
        }
        VersionOrigin::RolledBack { to } => format!(" (rollback to version {to})"),
    };
    format!(
        "version {} by {}: \"{short}\"{from}",
        record.id, proposal.author
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::CommandBody;
    use crate::member::ClusterMember;
    use crate::state::sample::{A, admission, invitation, member};

    #[test]
    fn node_with_an_unusable_sealing_key_is_named() {
        let sealing = SealingKey::generate().unwrap();
        let mut state = ClusterState::pair();
        state.must(
            A,
            CommandBody::Announce(ClusterMember {
                sealing_key: Some(sealing.public().to_vec()),
                ..member(A, "a", MemberKind::Node)
            }),
        );
        let keys = Keys::new("office", A, Some(sealing));
        let ring = keys.begin(&state).unwrap();
        state.must(A, CommandBody::Seal(ring));
        assert!(keys.decrypt_content_keys(&state).is_ok());
        for (id, key) in [(4, vec![1; 5]), (5, vec![1; 32])] {
            let name = format!("node{id}");
            state.must(A, invitation(&name, MemberKind::Node));
            let newcomer = ClusterMember {
                sealing_key: Some(key),
                ..member(MemberId(id), &name, MemberKind::Node)
            };
            state.must(A, admission(&name, newcomer));
        }
        let (rings, failed) = keys.for_newcomers(&state);
        let given: Vec<MemberId> = rings.iter().map(|ring| ring.sealed[0].member).collect();
        assert_eq!(given, [MemberId(5)]);
        assert_eq!(failed.into_keys().collect::<Vec<_>>(), [MemberId(4)]);
    }
}
