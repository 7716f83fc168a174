//! Runs the control role: the process of a member that connects consensus, wire, machine and
//! operators.
//!
//! The role never serves traffic: its `machine::ServingMachine` does, and continues when this role
//! dies. With an unusable store or without a majority, the machine continues to serve, and
//! [`status`] explains which changes are frozen and what to do.
//! - [`directory`] has the files of a member, [`setup`] makes a machine a member.
//! - `certificates` renews this member's certificate, and replaces the CA.
//! - `agent` executes the tasks of a node, `leader` those of the leader, `tasks` those
//!   of every member; `leases` holds and grants leases.
//! - [`socket`] and `requests` serve operators, `apply` executes their changes.

mod agent;
mod apply;
mod certificates;
mod clock;
pub mod contents;
pub mod directory;
mod following;
mod gather;
mod handler;
mod invitations;
mod leader;
pub(crate) mod leases;
mod places;
mod refused;
mod removal;
mod requests;
pub mod setup;
mod shared;
pub mod socket;
mod standing;
pub mod status;
pub mod synthetic;
mod tasks;
#[cfg(test)]
mod tests;
pub mod upgrade;
mod versions;

pub use clock::Clock;
pub use versions::Texts;

use crate::authority::{AuthorityError, MemberIdentity, Trust, disk};
use crate::file_set::FileSet;
use crate::machine::{News, ServingMachine};
use crate::member::MemberKind;
use crate::message::PART;
use crate::raft::{EngineError, Settings};
use crate::request::{ControlReply, Request};
use crate::role::contents::Keys;
use crate::role::directory::{DirectoryError, StateDirectory};
use crate::role::leases::LeaseDemand;
use crate::role::shared::{Agreement, RoleState, ServingStatus};
use crate::role::socket::{OperatorSocket, Replies, SocketError};
use crate::role::status::ClusterStatus;
use crate::store::{Store, StoreError};
use crate::wire::{ConnectionFactory, MemberWire, WireError};
use part::report::{Moment, StatusReport};
use part::role::{MemberNews, VersionStanding};
use part::voice::write_error;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

const NEWS_MAX: usize = 16;
/// Pause before the role ends when its disk stopped consensus or when it cannot take part in its
/// cluster. The next process of the role then tries again.
const STORE_REST: Duration = Duration::from_secs(15);
/// Longest wait for a predecessor to release the state directory.
const PREDECESSOR_MAX: Duration = Duration::from_secs(6);
const PREDECESSOR_POLL: Duration = Duration::from_millis(50);
const STORE_LOOK: Duration = Duration::from_secs(1);
const HAND_OVER_LIMIT: Duration = Duration::from_secs(2);
const RELEASE_LIMIT: Duration = Duration::from_millis(500);

pub fn removed_words(kind: MemberKind) -> &'static str {
    match kind {
        MemberKind::Node => {
            "this machine was removed from the cluster: its proxy serves the last accepted version and gets no changes; \
             it owns no virtual address, boots no machine and lets nobody sign in; to rejoin, delete its state \
             directory and run `evenkeel cluster join TOKEN`"
        }
        MemberKind::Arbiter => {
            "this arbiter was removed from the cluster and no longer votes; to rejoin, delete its state directory and \
             run `evenkeel arbiter join TOKEN`"
        }
    }
}

/// Returns the report that the other roles of a removed member get at the start, without log and
/// peers.
pub fn removed_news() -> MemberNews {
    MemberNews {
        version: VersionStanding::Removed,
        ..MemberNews::default()
    }
}

/// Options with which the role is started.
#[derive(Clone, Debug)]
pub struct ControlRoleOptions {
    pub directory: PathBuf,
    /// Path of the socket for operators. None: no socket.
    pub socket: Option<PathBuf>,
    pub program: String,
    /// Grammar of the texts of a version. `None`: the role follows no repository and shows no text.
    pub texts: Option<Texts>,
}

/// Why the role did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum RoleError {
    #[error("{0}")]
    Directory(#[from] DirectoryError),
    #[error("{0}")]
    Socket(#[from] SocketError),
    #[error("{0}")]
    Authority(#[from] AuthorityError),
    #[error("{0}")]
    Wire(#[from] WireError),
}

/// Runs the control role until the machine ends it. Without a usable store, identity or state
/// directory it ends after a pause, so that the next process tries again. Requires a Tokio runtime
/// of one thread, with IO and time.
///
/// # Errors
/// Fails if the operators' socket cannot be opened, if the decryption key cannot be read or
/// written, or if TLS cannot be set up. A state directory, identity or store that cannot be used is
/// no error: the role then only reports this to operators.
pub async fn run<M: ServingMachine, N: ConnectionFactory>(
    options: ControlRoleOptions,
    machine: M,
    network: N,
) -> Result<(), RoleError> {
    let opened = async {
        let directory = StateDirectory::open(options.directory.clone())?;
        let lock = lock_after_predecessor(&directory).await?;
        let who = directory.member()?;
        Ok::<_, DirectoryError>((directory, lock, who))
    };
    let (directory, _lock, who) = match opened.await {
        Ok(opened) => opened,
        Err(error) => {
            return serve_without(options, machine, StartFailure::Role(error.into())).await;
        }
    };
    let store = setup::open_store(&directory, &who);
    run_with(options, machine, network, store, Clock::System, None).await
}

/// Locks the state directory. Waits up to [`PREDECESSOR_MAX`] for another process that holds the
/// lock: the role of a dead supervisor ends when it sees the next one.
async fn lock_after_predecessor(
    directory: &StateDirectory,
) -> Result<directory::Lock, DirectoryError> {
    let until = Instant::now() + PREDECESSOR_MAX;
    loop {
        match directory.lock() {
            Err(DirectoryError::InUse(_)) if Instant::now() < until => {
                tokio::time::sleep(PREDECESSOR_POLL).await;
            }
            locked => return locked,
        }
    }
}

/// Reason why this member cannot take part in its cluster at this start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartFailure {
    #[error("{0}")]
    Engine(EngineError),
    #[error("{0}")]
    Role(RoleError),
}

/// Receives operators' requests that do not arrive through a socket, each with the sender for its
/// replies.
pub(crate) type Requests = mpsc::Receiver<(Request, Replies)>;

pub(crate) async fn run_with<M: ServingMachine, N: ConnectionFactory>(
    options: ControlRoleOptions,
    machine: M,
    network: N,
    store: Result<Store, StoreError>,
    clock: Clock,
    requests: Option<Requests>,
) -> Result<(), RoleError> {
    let mut directory = StateDirectory::open(options.directory.clone())?;
    directory.bind();
    let who = directory.member()?;
    let (accepted, unreadable) = read_accepted(&directory);
    let store = match store {
        Ok(store) => store,
        Err(error) => {
            return serve_without(options, machine, StartFailure::Engine(error.into())).await;
        }
    };
    let identity = match disk::read_identity(directory.path(), &who.cluster, who.id) {
        Ok(identity) => identity,
        Err(error) => {
            return serve_without(options, machine, StartFailure::Role(error.into())).await;
        }
    };
    let first = Trust {
        cluster: who.cluster.clone(),
        authorities: issuers(&identity),
        members: who.with_moved(who.members.iter().map(|m| (m.id, m.clone())).collect()),
        ..Trust::default()
    };
    let wire = MemberWire::new(Arc::new(identity), first, clock.timing(), network)?;
    let signer = Arc::new(wire.clone());
    let settings = Settings {
        nodes: who.nodes(),
        ..settings(&clock)
    };
    let opened = Agreement::open(who.id, who.kind, settings, store, signer, wire.clone()).await;
    let engine = match opened {
        Ok(engine) => engine,
        Err(error) => {
            return serve_without(options, machine, StartFailure::Engine(error)).await;
        }
    };
    let state = engine.state();
    if state.founded() {
        // Sets the trust before any peer can connect: a CA that the state has dropped stays
        // dropped.
        let trust = state.trust();
        wire.set_trust(Trust {
            members: who.with_moved(trust.members),
            ..trust
        })?;
    }
    let keys = Keys::of(&who, &directory)?;
    let shared = Arc::new(RoleState::new(
        who,
        options.program.clone(),
        directory,
        machine,
        wire,
        engine,
        keys,
        clock,
    ));
    if let Some(words) = unreadable {
        shared.note(words.clone());
        // Reports the damage in the status until the agent has written the file again.
        shared.serving().unkept = words;
    }
    let listen = shared.who.listen.clone();
    let handler = handler::Answering::new(&shared);
    shared.wire.serve(&listen, handler).await?;
    let socket = options
        .socket
        .as_deref()
        .map(OperatorSocket::bind)
        .transpose()?;
    let accepted = accepted.map(Arc::new);
    live(&shared, options.texts, accepted, socket, requests).await;
    shared.engine.stop().await;
    shared.wire.stop();
    Ok(())
}

/// Returns the version that this node accepted last, or why it cannot be read. The newest
/// accepted version is also in the promise file, so the node still accepts no older one.
fn read_accepted(directory: &StateDirectory) -> (Option<FileSet>, Option<String>) {
    match directory.accepted() {
        Ok(accepted) => (accepted, None),
        Err(error) => {
            let words = format!("cannot read the accepted version: {error}");
            write_error(&format!("evenkeel: cluster: {words}\n"));
            (None, Some(words))
        }
    }
}

fn settings(clock: &Clock) -> Settings {
    Settings {
        clock: clock.seconds(),
        ..Settings::default()
    }
}

/// Returns the CA that a member without a log trusts: the issuer of its certificate.
fn issuers(identity: &MemberIdentity) -> Vec<Vec<u8>> {
    let behind = identity.chain().iter().skip(1);
    let gave = behind.filter(|authority| identity.is_issued_by(authority));
    gave.cloned().collect()
}

async fn live<M: ServingMachine, N: ConnectionFactory>(
    shared: &Arc<RoleState<M, N>>,
    texts: Option<Texts>,
    accepted: Option<Arc<FileSet>>,
    socket: Option<OperatorSocket>,
    requests: Option<Requests>,
) {
    let mut tasks = JoinSet::new();
    let mut leases_ended = JoinSet::new();
    let (went_back, going_back) = mpsc::channel(NEWS_MAX);
    let (wants, wanted) = mpsc::channel(NEWS_MAX);
    begin_duties(shared, &mut tasks);
    if shared.who.kind == MemberKind::Node {
        tasks.spawn(tasks::parts(shared.clone()));
        tasks.spawn(standing::run(shared.clone()));
        tasks.spawn(agent::run(shared.clone(), accepted, going_back));
        leases_ended.spawn(leases::run(shared.clone(), wanted));
        if let Some(texts) = texts {
            tasks.spawn(following::run(shared.clone(), texts.grammar));
        }
    }
    answer_operators(shared, &mut tasks, socket, requests);
    let versions = texts.map(|texts| Arc::new(versions::Answering::new(shared.clone(), texts)));
    // Creates the future once for the whole loop: its pause then ends even if messages arrive all
    // the time.
    let mut stopped = pin!(stopped_by_its_disk(shared));
    loop {
        let news = tokio::select! {
            news = shared.machine.news() => news,
            // Ends this role. The supervisor starts another one, which opens the store again.
            () = &mut stopped => break,
        };
        match news {
            News::WentBack { words } => {
                let _ = went_back.send(words).await;
            }
            News::WantsLeases { part, leases } => {
                let _ = wants.send(LeaseDemand::Wants { part, leases }).await;
            }
            News::Heartbeat { part } => {
                let _ = wants.send(LeaseDemand::Heartbeat { part }).await;
            }
            News::Connected => {
                let _ = wants.send(LeaseDemand::Connected).await;
            }
            News::Records { ask, record } => {
                // Does not track this task: it ends within the timeout of a proposal.
                tokio::spawn(leases::record(shared.clone(), ask, record));
            }
            News::Reports { ask } => {
                let report = dated(gather::status(shared).report());
                shared.machine.reported(ask, report).await;
            }
            News::Versions { connection } => {
                if let Some(versions) = &versions {
                    tokio::spawn(versions.clone().serve(connection));
                }
            }
            News::Stop => break,
        }
    }
    // Waits for the task that releases leases: otherwise other members could take them only after
    // they expire.
    drop(wants);
    let _ = tokio::time::timeout(RELEASE_LIMIT, leases_ended.join_next()).await;
    leases_ended.shutdown().await;
    if shared.raft_status().leading {
        // Hands leadership over, so that the others need not detect the loss of the leader.
        let handing = shared.engine.hand_over(None);
        let _ = tokio::time::timeout(HAND_OVER_LIMIT, handing).await;
    }
    tasks.shutdown().await;
}

fn begin_duties<M: ServingMachine, N: ConnectionFactory>(
    shared: &Arc<RoleState<M, N>>,
    tasks: &mut JoinSet<()>,
) {
    tasks.spawn(tasks::confirm(shared.clone()));
    tasks.spawn(tasks::gossip(shared.clone()));
    tasks.spawn(tasks::listen(shared.clone()));
    tasks.spawn(tasks::keep_up(shared.clone()));
    tasks.spawn(tasks::tell_of_loss(shared.clone()));
    tasks.spawn(certificates::run(shared.clone()));
    match shared.who.kind {
        MemberKind::Node => tasks.spawn(leader::run(shared.clone())),
        MemberKind::Arbiter => tasks.spawn(removal::run(shared.clone())),
    };
    tasks.spawn(refused::run(shared.clone()));
}

fn answer_operators<M: ServingMachine, N: ConnectionFactory>(
    shared: &Arc<RoleState<M, N>>,
    tasks: &mut JoinSet<()>,
    socket: Option<OperatorSocket>,
    requests: Option<Requests>,
) {
    let answering = shared.clone();
    let answer = move |request, replies| requests::answer(answering.clone(), request, replies);
    if let Some(socket) = socket {
        tasks.spawn(socket.serve(answer.clone()));
    }
    if let Some(mut requests) = requests {
        tasks.spawn(async move {
            while let Some((request, replies)) = requests.recv().await {
                tokio::spawn(answer(request, replies));
            }
        });
    }
}

/// Returns once consensus has stopped and [`STORE_REST`] has passed since.
async fn stopped_by_its_disk<M: ServingMachine, N: ConnectionFactory>(shared: &RoleState<M, N>) {
    while shared.raft_status().halted.is_none() {
        tokio::time::sleep(STORE_LOOK).await;
    }
    tokio::time::sleep(STORE_REST).await;
}

/// Runs the role without its log, certificates or state directory: the machine continues to serve
/// the accepted version, and operators learn what to do.
async fn serve_without<M: ServingMachine>(
    options: ControlRoleOptions,
    machine: M,
    why: StartFailure,
) -> Result<(), RoleError> {
    let directory = StateDirectory::open(options.directory.clone());
    let who = directory.as_ref().ok().and_then(|one| one.member().ok());
    let (accepted, unreadable) = directory.as_ref().map_or((None, None), read_accepted);
    let serving = ServingStatus {
        version: accepted.map(|set| set.version),
        unkept: unreadable.unwrap_or_default(),
        ..ServingStatus::default()
    };
    if let StartFailure::Role(error) = &why {
        write_error(&format!(
            "evenkeel: cluster: this member cannot take part in its cluster: {error}\n"
        ));
    }
    let mut status = match &who {
        Some(who) => gather::broken(who, &options.program, serving, &why),
        // Shows only the reason: not even the name of the cluster is known.
        None => ClusterStatus {
            frozen: vec![format!(
                "this member cannot take part in its cluster: {why}"
            )],
            ..ClusterStatus::default()
        },
    };
    if let Some(who) = &who
        && StateDirectory::is_of_a_removed_member(&options.directory)
    {
        status.frozen.insert(0, removed_words(who.kind).to_owned());
        machine.report_standing(removed_news()).await;
    }
    let is_known = who.is_some();
    let status = Arc::new(status);
    let reported = Arc::clone(&status);
    let mut tasks = JoinSet::new();
    if let Some(path) = &options.socket {
        let socket = OperatorSocket::bind(path)?;
        tasks.spawn(socket.serve(move |request, replies: Replies| {
            let status = status.clone();
            async move {
                let words = || status.frozen.join("\n");
                let reply = match request {
                    Request::Status if is_known => match serde_json::to_string(&*status) {
                        Ok(text) => ControlReply::Json(text),
                        Err(_) => ControlReply::Refused { words: words() },
                    },
                    _ => ControlReply::Refused { words: words() },
                };
                replies.end(reply).await;
            }
        }));
    }
    let told = async {
        loop {
            match machine.news().await {
                News::Reports { ask } => {
                    let report = if is_known {
                        reported.report()
                    } else {
                        StatusReport::silent(PART, &reported.frozen.join("; "))
                    };
                    machine.reported(ask, dated(report)).await;
                }
                News::Stop => break,
                _ => {}
            }
        }
    };
    // Ends the role after this time, so that a new one tries again.
    let _ = tokio::time::timeout(STORE_REST, told).await;
    tasks.shutdown().await;
    Ok(())
}

/// Sets the report's time to now, because a status reads no clock.
fn dated(report: StatusReport) -> StatusReport {
    StatusReport {
        at: Moment::now(),
        ..report
    }
}

#[cfg(test)]
mod report_tests {
    use super::dated;
    use crate::role::status::ClusterStatus;

    #[test]
    fn the_report_for_the_console_has_the_time() {
        let report = dated(ClusterStatus::default().report());
        assert!(report.at.unix_ms > 0 && report.at.boottime_ms > 0);
    }
}
