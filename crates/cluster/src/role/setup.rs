//! Sets up a member: creates a cluster, joins one, changes addresses, or continues alone after the
//! loss of the others. Opens the store of a member. The role does not run meanwhile.

use crate::authority::{
    Authority, AuthorityError, MemberIdentity, MemberKey, Rings, SealingKey, Token, TokenError,
    disk,
};
use crate::command::{CommandBody, CommandRefusal, CommandResult, Epoch, FORMAT};
use crate::member::{ClusterMember, MemberId, MemberKind};
use crate::raft::transport::{CallError, MemberTransport};
use crate::raft::{Engine, EngineError, ProposeError, Settings};
use crate::role::contents::Keys;
use crate::role::directory::{
    DirectoryError, LocalMember, PROMISE, REMOVED, STORE, STORE_LOST, StateDirectory,
};
use crate::state::ClusterState;
use crate::store::{Loss, OpenedStore, PromiseLocation, Store, StoreError, StoreOwner};
use crate::wire::join::{self, JoinError, Joined, Newcomer};
use crate::wire::{ConnectionFactory, PORT, Tcp};
use openraft_rt_tokio::TokioRuntime;
use part::space;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::slice::from_ref;
use std::sync::Arc;
use std::time::Duration;

const ENDING_LIMIT: Duration = Duration::from_secs(5);
const ENDING_LOOK: Duration = Duration::from_millis(20);
const FIRST: MemberId = MemberId(1);
/// Free space that a new member needs for its log and its keys.
const SPACE_BYTES: u64 = 16 << 20;
const LEAD_LIMIT: Duration = Duration::from_secs(20);

/// Settings of a new member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SetupOptions {
    pub directory: PathBuf,
    pub name: String,
    pub listen: Vec<SocketAddr>,
    pub addresses: Vec<SocketAddr>,
}

/// Reason why the setup failed.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("{0}")]
    Directory(#[from] DirectoryError),
    #[error("{0}")]
    Authority(#[from] AuthorityError),
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("{0}")]
    Engine(#[from] EngineError),
    #[error("{0}")]
    Propose(#[from] ProposeError),
    #[error("{0}")]
    Refused(CommandRefusal),
    #[error("{0}")]
    Join(#[from] JoinError),
    #[error("{0}")]
    Token(#[from] TokenError),
    /// An arbiter cannot continue alone, because it cannot decrypt what it stores.
    #[error(
        "this is an arbiter: it carries no traffic and cannot decrypt what it stores, so it cannot continue \
             alone; a node can"
    )]
    Arbiter,
    /// The store was lost for this reason, so the machine has no log to continue with.
    #[error(
        "{0}: this machine has no log to continue with. Run `evenkeel cluster recover --alone` on another \
             node. If no node has its log, move the state directory away, run `evenkeel cluster init`, then \
             `evenkeel config apply` with the served configuration (`accepted.set` contains it)"
    )]
    Lost(String),
    /// The member name is unknown; followed by the known names.
    #[error("'{0}' is not another member of this cluster; members known here: {1}")]
    NoSuchMember(String, String),
    #[error("no member of the cluster accepted the token within {} s; check that they run and that their \
             addresses are reachable from here", .0.as_secs())]
    TimedOut(Duration),
    /// The file system of the state directory is full.
    #[error(
        "{}: {}. A member needs {} MiB there. Nothing was changed: free some space, or choose another directory with \
         `--state DIRECTORY`",
        .0.display(),
        .1,
        SPACE_BYTES >> 20
    )]
    Full(PathBuf, String),
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// The network of a cluster with one member.
#[derive(Clone, Copy, Debug)]
struct Nobody;

impl MemberTransport for Nobody {
    async fn call(&self, _: MemberId, _: Vec<u8>, _: Duration) -> Result<Vec<u8>, CallError> {
        Err(CallError::Unreachable)
    }
}

/// An unused state directory during a setup, locked. A setup that fails leaves none of its files.
struct NewDirectory {
    directory: StateDirectory,
    /// Names that were there before; None: the directory was created.
    before: Option<BTreeSet<OsString>>,
    is_complete: bool,
    /// Released last.
    _lock: super::directory::Lock,
}

impl NewDirectory {
    /// Locks the directory, which must be unused and have enough space.
    fn create(place: &SetupOptions) -> Result<NewDirectory, SetupError> {
        let existed = place.directory.symlink_metadata().is_ok();
        let full = |error: &io::Error| {
            let words = space::full(&place.directory, error);
            SetupError::Full(place.directory.clone(), words)
        };
        let (directory, lock) = free(place).map_err(|error| match &error {
            SetupError::Directory(DirectoryError::Io(_, cause)) | SetupError::Io(cause)
                if space::is_full(cause) =>
            {
                full(cause)
            }
            _ => error,
        })?;
        let new = NewDirectory {
            before: existed.then(|| names(directory.path())),
            directory,
            is_complete: false,
            _lock: lock,
        };
        // Checked before a token is used, which works only once.
        match space::check(new.directory.path(), SPACE_BYTES) {
            Err(error) if space::is_full(&error) => Err(full(&error)),
            Err(error) => Err(error.into()),
            Ok(()) => Ok(new),
        }
    }

    /// Keeps the files, if the setup succeeded.
    fn finish<T>(mut self, done: Result<T, SetupError>) -> Result<T, SetupError> {
        self.is_complete = done.is_ok();
        done
    }
}

impl Drop for NewDirectory {
    fn drop(&mut self) {
        if self.is_complete {
            return;
        }
        let path = self.directory.path();
        let before = self.before.clone().unwrap_or_default();
        // Ignores errors: what remains is removed by the next setup, or reported by it.
        for name in names(path).difference(&before) {
            let _ = std::fs::remove_file(path.join(name));
        }
        if self.before.is_none() {
            let _ = std::fs::remove_dir(path);
        }
    }
}

fn names(directory: &Path) -> BTreeSet<OsString> {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    entries.flatten().map(|entry| entry.file_name()).collect()
}

/// Returns the state directory, which must be unused, and locks it.
fn free(place: &SetupOptions) -> Result<(StateDirectory, super::directory::Lock), SetupError> {
    let directory = StateDirectory::create(&place.directory)?;
    // Checks the membership before the lock, too: a running member then gets a better message than
    // a directory in use.
    directory.is_free()?;
    let lock = directory.lock()?;
    directory.is_free()?;
    // Removes the files of an interrupted setup.
    for left in [STORE, PROMISE, STORE_LOST, REMOVED] {
        match std::fs::remove_file(directory.file(left)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    Ok((directory, lock))
}

fn runtime() -> Result<tokio::runtime::Runtime, SetupError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(runtime)
}

/// Founds a cluster with this machine as its first node.
///
/// # Errors
/// - [`SetupError::Directory`]: the directory cannot be used, or the machine already belongs to a
///   cluster.
/// - [`SetupError::Full`]: the file system of the directory is full.
/// - [`SetupError::Authority`]: the cluster name is invalid, or keys cannot be created or written.
/// - [`SetupError::Store`], [`SetupError::Engine`], [`SetupError::Propose`],
///   [`SetupError::Refused`]: the log cannot be created, or refuses a first command.
/// - [`SetupError::Io`]: the system has no resources left.
pub fn found(place: &SetupOptions, cluster: &str) -> Result<LocalMember, SetupError> {
    let new = NewDirectory::create(place)?;
    let founded = found_in(&new.directory, place, cluster);
    new.finish(founded)
}

fn found_in(
    directory: &StateDirectory,
    place: &SetupOptions,
    cluster: &str,
) -> Result<LocalMember, SetupError> {
    let owner = StoreOwner {
        cluster: cluster.to_owned(),
        member: FIRST,
    };
    let promise = directory.file(PROMISE);
    let store = Store::open(&directory.file(STORE))?.renew(
        &PromiseLocation::Path(&promise),
        &owner,
        None,
    )?;
    runtime()?.block_on(found_on(directory, store, place, cluster))
}

/// As [`found`], on a given store.
pub(super) async fn found_on(
    directory: &StateDirectory,
    store: Store,
    place: &SetupOptions,
    cluster: &str,
) -> Result<LocalMember, SetupError> {
    let id = FIRST;
    let authority = Authority::found(cluster)?;
    let key = MemberKey::generate()?;
    let certificate = authority.sign(id, &key.request(&[])?, &[])?;
    let digest = key.digest();
    let authorities = [authority.certificate().to_vec()];
    let identity = MemberIdentity::new(cluster, id, key, certificate, &authorities)?;
    let sealing = SealingKey::generate()?;
    disk::write_identity(directory.path(), &identity)?;
    disk::write_authorities(directory.path(), &authorities)?;
    disk::write_sealing_key(directory.path(), &sealing)?;
    disk::write_authority_keys(directory.path(), from_ref(&authority), &sealing)?;
    let member = ClusterMember {
        id,
        name: place.name.clone(),
        kind: MemberKind::Node,
        addresses: place.addresses.clone(),
        certificate: digest,
        sealing_key: Some(sealing.public().to_vec()),
        format: FORMAT,
    };
    let who = LocalMember {
        cluster: cluster.to_owned(),
        id,
        name: place.name.clone(),
        kind: MemberKind::Node,
        listen: place.listen.clone(),
        addresses: place.addresses.clone(),
        members: vec![member.clone()],
        moved: BTreeMap::new(),
    };
    let ring = Rings::begin(cluster, Epoch(1), [(id, sealing.public())])?;
    let settings = Settings::default();
    let signer = Arc::new(identity);
    let engine =
        Engine::<TokioRuntime>::open(id, MemberKind::Node, settings, store, signer, Nobody).await?;
    let authority = authority.certificate().to_vec();
    done(engine.found(cluster.to_owned(), member, authority).await?)?;
    done(engine.propose(CommandBody::Seal(ring)).await?)?;
    engine.stop().await;
    directory.write_who(&who)?;
    Ok(who)
}

fn done(answer: CommandResult) -> Result<(), SetupError> {
    match answer {
        CommandResult::Refused(refusal) => Err(SetupError::Refused(refusal)),
        _ => Ok(()),
    }
}

/// Joins a cluster with a token, within a time.
///
/// # Errors
/// - [`SetupError::Directory`]: the directory cannot be used, or the machine already belongs to a
///   cluster.
/// - [`SetupError::Full`]: the file system of the directory is full; the token was not used.
/// - [`SetupError::Token`], [`SetupError::Join`]: the token is invalid, or the cluster did not
///   admit the machine.
/// - [`SetupError::TimedOut`]: no member admitted the machine within `limit`.
/// - [`SetupError::Authority`], [`SetupError::Store`], [`SetupError::Io`]: the files of the member
///   cannot be written.
pub fn join(
    place: &SetupOptions,
    token: &str,
    kind: MemberKind,
    limit: Duration,
) -> Result<LocalMember, SetupError> {
    let new = NewDirectory::create(place)?;
    let joined = join_in(&new.directory, place, token, kind, limit);
    new.finish(joined)
}

fn join_in(
    directory: &StateDirectory,
    place: &SetupOptions,
    token: &str,
    kind: MemberKind,
    limit: Duration,
) -> Result<LocalMember, SetupError> {
    // Creates the store now: if it is missing later, it was lost, with the votes that it held.
    drop(Store::open(&directory.file(STORE))?);
    runtime()?.block_on(async {
        let joining = join_on(directory, place, token, kind, &Tcp);
        let joined = tokio::time::timeout(limit, joining).await;
        joined.map_err(|_| SetupError::TimedOut(limit))?
    })
}

/// As [`join()`], over a given network.
pub(super) async fn join_on<N: ConnectionFactory>(
    directory: &StateDirectory,
    place: &SetupOptions,
    token: &str,
    kind: MemberKind,
    network: &N,
) -> Result<LocalMember, SetupError> {
    let token: Token = token.parse()?;
    let newcomer = Newcomer {
        name: place.name.clone(),
        kind,
        addresses: place.addresses.clone(),
        port: place.listen.first().map_or(PORT, SocketAddr::port),
    };
    let joined = join::join(network, &token, &newcomer).await?;
    settle(directory, place, joined)
}

/// Stores the files of a new member. `member` is written last.
fn settle(
    directory: &StateDirectory,
    place: &SetupOptions,
    joined: Joined,
) -> Result<LocalMember, SetupError> {
    let path = directory.path();
    disk::write_identity(path, &joined.identity)?;
    disk::write_authorities(path, &joined.authorities)?;
    if let Some(sealing) = &joined.sealing {
        disk::write_sealing_key(path, sealing)?;
        if let Some(authority) = &joined.authority {
            disk::write_authority_keys(path, from_ref(authority), sealing)?;
        }
    }
    let who = LocalMember {
        cluster: joined.cluster,
        id: joined.member.id,
        name: joined.member.name,
        kind: joined.member.kind,
        listen: place.listen.clone(),
        addresses: joined.member.addresses,
        members: joined.members,
        moved: BTreeMap::new(),
    };
    let file = directory.file(STORE);
    if file.exists() {
        let promise = directory.file(PROMISE);
        Store::open(&file)?.renew(&PromiseLocation::Path(&promise), &owner(&who), None)?;
    }
    directory.write_who(&who)?;
    Ok(who)
}

/// New addresses, of this member or of others. Empty lists change nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Renumbering {
    pub listen: Vec<SocketAddr>,
    pub addresses: Vec<SocketAddr>,
    /// Addresses at which this member reaches others, by their names.
    pub others: Vec<(String, SocketAddr)>,
}

/// Changes the addresses of a stopped member. The member announces its own addresses when it has a
/// majority, and uses the given addresses of other members until these announce them. Needs none of
/// the old addresses, no majority and no store.
///
/// # Errors
/// Fails with [`SetupError::Directory`] if the machine is not a member, if evenkeel runs, or if the
/// identity cannot be written, and with [`SetupError::NoSuchMember`] if no other member has one of
/// the names.
pub fn renumber(directory: &Path, new: &Renumbering) -> Result<LocalMember, SetupError> {
    let directory = StateDirectory::open(directory)?;
    let mut who = directory.member()?;
    let _lock = directory.lock()?;
    if !new.listen.is_empty() {
        who.listen.clone_from(&new.listen);
    }
    if !new.addresses.is_empty() {
        who.addresses.clone_from(&new.addresses);
    }
    let mut moved: BTreeMap<MemberId, Vec<SocketAddr>> = BTreeMap::new();
    for (name, address) in &new.others {
        let mut members = who.members.iter();
        let member = members.find(|member| member.name == *name && member.id != who.id);
        let Some(member) = member else {
            let others = who.members.iter().filter(|member| member.id != who.id);
            let names: Vec<&str> = others.map(|member| member.name.as_str()).collect();
            return Err(SetupError::NoSuchMember(name.clone(), names.join(", ")));
        };
        moved.entry(member.id).or_default().push(*address);
    }
    who.moved.extend(moved);
    let own = (who.id, who.addresses.clone());
    for member in &mut who.members {
        if member.id == own.0 {
            member.addresses.clone_from(&own.1);
        }
    }
    directory.write_who(&who)?;
    Ok(who)
}

/// Makes this machine alone the cluster. The caller must warn the operator.
///
/// # Errors
/// - [`SetupError::Arbiter`]: an arbiter cannot continue alone.
/// - [`SetupError::Lost`]: the store was lost.
/// - [`SetupError::Directory`]: the machine is not a member, or evenkeel runs.
/// - Any other error is a failed step. The log may then already name this member alone.
pub fn recover_alone(directory: &Path) -> Result<String, SetupError> {
    let directory = StateDirectory::open(directory)?;
    let who = directory.member()?;
    if who.kind == MemberKind::Arbiter {
        return Err(SetupError::Arbiter);
    }
    let _lock = directory.lock()?;
    let store = open_store(&directory, &who)?;
    if let Some(why) = store.lost() {
        return Err(SetupError::Lost(why));
    }
    let signer = disk::read_identity(directory.path(), &who.cluster, who.id)?;
    let signer = Arc::new(signer);
    let recovered = store.rewrite_membership(who.id)?;
    let name = &who.name;
    runtime()?.block_on(async {
        let settings = Settings::default();
        let engine =
            Engine::<TokioRuntime>::open(who.id, who.kind, settings, store, signer, Nobody).await?;
        let state = leading(&engine).await?;
        for other in state.members.keys().filter(|id| **id != who.id) {
            done(
                engine
                    .propose(CommandBody::Remove { member: *other })
                    .await?,
            )?;
        }
        let words = format!("{name} continued alone after the permanent loss of the others");
        done(engine.propose(CommandBody::Event { words }).await?)?;
        let sealing = disk::read_sealing_key(directory.path())?;
        let keys = Keys::new(&who.cluster, who.id, sealing);
        keys.decrypt_content_keys(&engine.state())?;
        done(
            engine
                .propose(CommandBody::Seal(keys.begin(&engine.state())?))
                .await?,
        )?;
        engine.stop().await;
        Ok::<(), SetupError>(())
    })?;
    let members = who.members.iter().filter(|member| member.id == who.id);
    let alone = LocalMember {
        members: members.cloned().collect(),
        ..who.clone()
    };
    directory.write_who(&alone)?;
    // Clears the mark of a removal that other members reported: the report is void now.
    directory.clear_removed()?;
    let doubtful = match (recovered.agreed, recovered.last) {
        (Some(agreed), Some(last)) if last > agreed => format!(
            "; {} uncommitted entries of its log are now valid",
            last - agreed
        ),
        _ => String::new(),
    };
    Ok(format!(
        "{name} is now the only member of the cluster {}{doubtful}\nthe others were removed: they can only rejoin \
         with a new token, after their state directories are deleted",
        who.cluster
    ))
}

async fn leading(engine: &Engine<TokioRuntime>) -> Result<Arc<ClusterState>, SetupError> {
    let deadline = tokio::time::Instant::now() + LEAD_LIMIT;
    loop {
        match engine.confirm().await {
            Ok(_) => return Ok(engine.state()),
            Err(error) if tokio::time::Instant::now() >= deadline => return Err(error.into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

fn owner(who: &LocalMember) -> StoreOwner {
    StoreOwner {
        cluster: who.cluster.clone(),
        member: who.id,
    }
}

/// Opens the store of a member. Waits up to [`ENDING_LIMIT`] for another process that still has it
/// open. A store that lost acknowledged data is set aside and replaced by an empty one, with which
/// the member must rejoin.
pub(super) fn open_store(
    directory: &StateDirectory,
    who: &LocalMember,
) -> Result<Store, StoreError> {
    let (path, promise) = (directory.file(STORE), directory.file(PROMISE));
    let owner = owner(who);
    let deadline = std::time::Instant::now() + ENDING_LIMIT;
    loop {
        match Store::open_tied(&path, &promise, &owner) {
            Err(StoreError::InUse { .. }) if std::time::Instant::now() < deadline => {
                std::thread::sleep(ENDING_LOOK);
            }
            Ok(OpenedStore::Whole(store)) => return Ok(store),
            Ok(OpenedStore::Lost(loss)) => {
                set_aside(directory).map_err(|error| StoreError::Disk {
                    path: path.clone(),
                    source: Arc::new(redb::Error::Io(error)),
                })?;
                return renew(&path, &promise, &owner, &loss);
            }
            Err(error) => return Err(error),
        }
    }
}

fn renew(
    path: &Path,
    promise: &Path,
    owner: &StoreOwner,
    loss: &Loss,
) -> Result<Store, StoreError> {
    Store::open(path)?.renew(&PromiseLocation::Path(promise), owner, Some(loss))
}

/// Renames the store that lost data. A crash before a new store exists leaves a missing store,
/// which counts as lost again.
fn set_aside(directory: &StateDirectory) -> io::Result<()> {
    let kept = std::fs::rename(directory.file(STORE), directory.file(STORE_LOST));
    match kept {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => std::fs::File::open(directory.path())?.sync_all(),
    }
}
