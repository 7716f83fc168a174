//! Connects the console with the consoles of the other nodes. Each console reports its state to the
//! others, and executes for operators at other nodes the same actions as for its own.

use crate::access::BY_LINK;
use crate::inquiry::ProxyQuery;
use crate::look::MachineReport;
use crate::platform::{PATIENCE_MS, UNSEEN_MS};
use crate::shared::{
    ConsoleState, LocalProxyQuery, OperatorAction, RemoteNodeState, RemoteNodes, RemoteRequest,
    RemoteRequestKind, SignInReport, UserOrder, now_s,
};
use crate::traffic::Traffic;
use crate::user::{UserRole, Viewer};
use ::access::peers::{AttemptChange, CHANGES_MAX};
use nodes::{
    ConnectedClient, DialedConnection, NodeConnectionError, NodeConnectionLimits, NodeProtocol,
    TrustedNodesReceiver, accept_node, dial, frame, listen,
};
use part::lock;
use part::report::{Event, StatusReport};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use wire::TrustedNodes;

pub const PORT: u16 = 7446;
/// Maximum length of a query, bytes.
const QUESTION_MAX: usize = 64 << 10;
const REPLY_MAX: usize = 24 << 20;
const DEPTH_MAX: usize = 64;
const PATIENCE: Duration = Duration::from_millis(PATIENCE_MS);
const IDLE: Duration = Duration::from_secs(60);
/// Interval of the queries to another node while a user watches.
const SEEN: Duration = Duration::from_millis(500);
const UNSEEN: Duration = Duration::from_millis(UNSEEN_MS);
/// Maximum interval between the queries of a console with a watching user.
const WATCHED: Duration = Duration::from_millis(UNSEEN_MS / 2);
const ROOMS: NodeConnectionLimits = NodeConnectionLimits {
    nodes: 16,
    strangers: 8,
};
const PROTOCOL: NodeProtocol = NodeProtocol {
    subject: "consoles",
    port: PORT,
    signs: *b"EKCO",
    version: 1,
};
const ORDERS_MAX: usize = 16;
const SIGN_INS_MAX: usize = 1_024;

#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
enum PeerConsoleRequest {
    Look,
    Act {
        by: String,
        #[serde(default)]
        token: Option<String>,
        /// Role of the user at the console that sends the query; at this console the user has at
        /// most this role. None: sent by the console of an earlier release.
        #[serde(default)]
        role: Option<UserRole>,
        action: OperatorAction,
    },
    /// Requests a query of this node's proxy. The console of an earlier release does not know this
    /// message and ends the connection.
    Read {
        by: String,
        /// Role of the user at the console that sends the query; at this console the user has at
        /// most this role.
        role: UserRole,
        ask: ProxyQuery,
    },
    /// Sign-in attempts at the sending console have failed or succeeded. The console of an earlier
    /// release ends the connection at this and the next message, and counts attempts on its own.
    Tries(Vec<AttemptChange>),
    UseCode {
        user: String,
        step: u64,
    },
}

#[derive(Serialize, Deserialize, Clone, Debug)]
enum PeerConsoleResponse {
    Look(Option<Box<MachineReportMessage>>),
    Done(Result<String, String>),
    Read(Result<String, String>),
    Counted,
    /// Response about a one-time code: true if it had not been used at the responding node.
    IsNew(bool),
}

/// The state of a node, as it is sent.
#[derive(Serialize, Deserialize, Clone, Debug)]
struct MachineReportMessage {
    age_ms: u64,
    host: String,
    pid: u32,
    traffic: Option<Traffic>,
    silent: Option<String>,
    reports: Vec<StatusReport>,
    changes: VecDeque<(String, Event)>,
}

impl MachineReportMessage {
    fn of(look: &MachineReport) -> MachineReportMessage {
        let age = look.at.elapsed().as_millis();
        MachineReportMessage {
            age_ms: u64::try_from(age).unwrap_or(u64::MAX),
            host: look.host.clone(),
            pid: look.pid,
            traffic: look.traffic.clone(),
            silent: look.silent.clone(),
            reports: look.reports.clone(),
            changes: look.changes.clone(),
        }
    }

    fn look(self) -> MachineReport {
        let age = Duration::from_millis(self.age_ms.min(86_400_000));
        let now = Instant::now();
        MachineReport {
            at: now.checked_sub(age).unwrap_or(now),
            host: self.host,
            pid: self.pid,
            traffic: self.traffic,
            silent: self.silent,
            reports: self.reports,
            changes: self.changes,
        }
    }
}

/// Connects to the other nodes that the cluster names. Restarts whenever the cluster reports a
/// change of them.
pub async fn run(mut trusted: TrustedNodesReceiver, shared: Arc<ConsoleState>) {
    loop {
        let now = trusted.borrow_and_update().clone();
        let mut tasks = JoinSet::new();
        if let Some(now) = now {
            let mut others = RemoteNodes::default();
            let names = now.addresses.keys().filter(|name| **name != now.me);
            for name in names {
                let (errands, given) = mpsc::channel(ORDERS_MAX);
                let (sign_ins, reported) = mpsc::channel(SIGN_INS_MAX);
                others.open(name, errands, sign_ins);
                let before = lock(&shared.others).by_name.get(name).cloned();
                let first = RemoteNodeState {
                    look: None,
                    silent: Some("no connection to it yet".to_owned()),
                };
                others.by_name.insert(name.clone(), before.unwrap_or(first));
                let (now, shared, name) = (Arc::clone(&now), Arc::clone(&shared), name.clone());
                tasks.spawn(async move { ask(&now, &name, given, reported, &shared).await });
            }
            *lock(&shared.others) = others;
            let (known, shared) = (trusted.clone(), Arc::clone(&shared));
            tasks.spawn(async move { accept_connections(&known, &shared).await });
        }
        if trusted.changed().await.is_err() {
            return;
        }
    }
}

async fn within<T>(
    limit: Duration,
    what: impl Future<Output = Result<T, NodeConnectionError>>,
) -> Result<T, String> {
    match tokio::time::timeout(limit, what).await {
        Ok(done) => done.map_err(|broken| broken.to_string()),
        Err(_) => Err(NodeConnectionError::Silent.to_string()),
    }
}

async fn ask(
    trusted: &TrustedNodes,
    node: &str,
    mut errands: mpsc::Receiver<RemoteRequest>,
    mut sign_ins: mpsc::Receiver<SignInReport>,
    shared: &Arc<ConsoleState>,
) {
    let mut connection = None;
    loop {
        let is_new = connection.is_none();
        let looked = request_report(trusted, node, &mut connection).await;
        if looked.is_err() {
            connection = None;
        }
        if is_new && connection.is_some() {
            // Sends the attempts from before the connection was established.
            for changes in shared
                .authentication
                .changes_for_new_node()
                .chunks(CHANGES_MAX)
            {
                let question = PeerConsoleRequest::Tries(changes.to_vec());
                if exchange(trusted, node, &mut connection, &question)
                    .await
                    .is_err()
                {
                    break;
                }
            }
        }
        store_reported_state(shared, node, looked);
        let interval = if shared.watchers.has_watchers() {
            SEEN
        } else {
            UNSEEN
        };
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            () = shared.watchers.watch_begun.notified() => {}
            Some(sign_in) = sign_ins.recv() => {
                report(trusted, node, sign_in, &mut sign_ins, &mut connection).await;
            }
            errand = errands.recv() => match errand {
                Some(errand) => send(trusted, node, errand, &mut connection).await,
                None => return,
            },
        }
    }
}

fn store_reported_state(
    shared: &ConsoleState,
    node: &str,
    looked: Result<Option<MachineReport>, String>,
) {
    let mut others = lock(&shared.others);
    let Some(known) = others.by_name.get_mut(node) else {
        return;
    };
    match looked {
        Ok(Some(look)) => {
            known.look = Some(Arc::new(look));
            known.silent = None;
        }
        Ok(None) => known.silent = Some("its console has just started".to_owned()),
        Err(why) => known.silent = Some(why),
    }
}

async fn request_report(
    trusted: &TrustedNodes,
    node: &str,
    connection: &mut Option<DialedConnection>,
) -> Result<Option<MachineReport>, String> {
    match exchange(trusted, node, connection, &PeerConsoleRequest::Look).await? {
        PeerConsoleResponse::Look(told) => Ok(told.map(|told| told.look())),
        _ => Err("it sent an unexpected response".to_owned()),
    }
}

/// Reports sign-ins to a node, all pending ones in a row, because a query for the state is sent
/// between two calls.
async fn report(
    trusted: &TrustedNodes,
    node: &str,
    first: SignInReport,
    sign_ins: &mut mpsc::Receiver<SignInReport>,
    connection: &mut Option<DialedConnection>,
) {
    let mut next = Some(first);
    while let Some(sign_in) = next {
        match sign_in {
            SignInReport::Tries(changes) => {
                let question = PeerConsoleRequest::Tries(changes);
                // Ignores an error: without a connection, the node gets all attempts when it
                // connects.
                let _ = exchange(trusted, node, connection, &question).await;
            }
            SignInReport::Code { user, step, is_new } => {
                let question = PeerConsoleRequest::UseCode { user, step };
                let reply = exchange(trusted, node, connection, &question).await;
                // Ignores an error: the waiting task may have ended.
                let _ = is_new.send(!matches!(reply, Ok(PeerConsoleResponse::IsNew(false))));
            }
        }
        next = sign_ins.try_recv().ok();
    }
}

/// Lets another node execute an order. If no response arrives, the order may have been executed or
/// not.
async fn send(
    trusted: &TrustedNodes,
    node: &str,
    errand: RemoteRequest,
    connection: &mut Option<DialedConnection>,
) {
    let by = errand.by;
    let question = match errand.wanted {
        RemoteRequestKind::Action(action) => PeerConsoleRequest::Act {
            by: by.name,
            token: by.token,
            role: Some(by.role),
            action,
        },
        RemoteRequestKind::Ask(ask) => PeerConsoleRequest::Read {
            by: by.name,
            role: by.role,
            ask,
        },
    };
    let answer = match exchange(trusted, node, connection, &question).await {
        Ok(PeerConsoleResponse::Done(done) | PeerConsoleResponse::Read(done)) => done,
        Ok(
            PeerConsoleResponse::Look(_)
            | PeerConsoleResponse::Counted
            | PeerConsoleResponse::IsNew(_),
        ) => Err(format!("{node} sent an unexpected response")),
        Err(why) => Err(format!("{node}: {why}")),
    };
    // Ignores an error: the waiting task may have ended.
    let _ = errand.reply.send(answer);
}

async fn exchange(
    trusted: &TrustedNodes,
    node: &str,
    connection: &mut Option<DialedConnection>,
    question: &PeerConsoleRequest,
) -> Result<PeerConsoleResponse, String> {
    let mut stream = match connection.take() {
        Some(stream) => stream,
        None => within(PATIENCE, dial(&PROTOCOL, trusted, node)).await?,
    };
    let patience = match question {
        PeerConsoleRequest::Read { ask, .. } => ask.limit().max(PATIENCE),
        PeerConsoleRequest::Look
        | PeerConsoleRequest::Act { .. }
        | PeerConsoleRequest::Tries(_)
        | PeerConsoleRequest::UseCode { .. } => PATIENCE,
    };
    let reply = within(patience, async {
        frame::write(&mut stream, question).await?;
        stream.flush().await?;
        frame::read(&mut stream, REPLY_MAX, DEPTH_MAX).await
    });
    let reply = reply.await?;
    *connection = Some(stream);
    Ok(reply)
}

async fn accept_connections(known: &TrustedNodesReceiver, shared: &Arc<ConsoleState>) {
    let serves = |guest: ConnectedClient| {
        let shared = Arc::clone(shared);
        async move {
            // Ignores errors of strangers and ended connections, which are not logged.
            let _ = serve(guest, &shared).await;
        }
    };
    // Ignores the trouble of the listener: a console that cannot connect reports that itself.
    listen(PORT, known, ROOMS, |_| {}, serves).await;
}

async fn serve(guest: ConnectedClient, shared: &Arc<ConsoleState>) -> Result<(), String> {
    let answered = accept_node(&PROTOCOL, &guest.trusted, guest.stream, |_| true).await;
    let (mut stream, from) = answered.map_err(|(_, broken)| broken.to_string())?;
    // Keeps the connection slot until the connection ends.
    let _place = guest.slot;
    let mut last_look: Option<Instant> = None;
    loop {
        let question: PeerConsoleRequest =
            within(IDLE, frame::read(&mut stream, QUESTION_MAX, DEPTH_MAX)).await?;
        let reply = match question {
            PeerConsoleRequest::Look => {
                // Sends the result of the last poll. Queries at short intervals mean that a user
                // watches this node at the other console, so it is polled as often as for a user
                // of this console. The queries to other nodes stay as they are: otherwise two
                // consoles would keep each other watching.
                let before = last_look.replace(Instant::now());
                if before.is_some_and(|before| before.elapsed() < WATCHED) {
                    shared.record_remote_viewer();
                }
                let platform = shared.platform.borrow().clone();
                let look = platform.me().and_then(|me| me.look.as_deref());
                PeerConsoleResponse::Look(look.map(|look| Box::new(MachineReportMessage::of(look))))
            }
            PeerConsoleRequest::Act {
                by,
                token,
                role,
                action,
            } => {
                let by = viewer(shared, by, token, role);
                PeerConsoleResponse::Done(act(shared, &from, by, action).await)
            }
            PeerConsoleRequest::Read { by, role, ask } => {
                let by = viewer(shared, by, None, Some(role));
                PeerConsoleResponse::Read(query_local_proxy(shared, &by, ask).await)
            }
            PeerConsoleRequest::Tries(changes) => {
                if changes.len() > CHANGES_MAX || !changes.iter().all(AttemptChange::is_bounded) {
                    return Err("a report of failed attempts exceeds its limits".to_owned());
                }
                shared.authentication.apply_remote_changes(&changes);
                PeerConsoleResponse::Counted
            }
            PeerConsoleRequest::UseCode { user, step } => {
                let is_new = shared.authentication.record_remote_code(&user, step);
                // Wakes the role, so that the next process also knows that this code was used.
                shared.wake();
                PeerConsoleResponse::IsNew(is_new)
            }
        };
        let written = within(PATIENCE, async {
            frame::write(&mut stream, &reply).await?;
            Ok(stream.flush().await?)
        });
        written.await?;
    }
}

/// Returns a user of another node with the role that the user has here: at most the role that the
/// configuration of this node gives. If this node does not have the token, or the token has
/// expired, the user may only view.
fn viewer(
    shared: &ConsoleState,
    by: String,
    token: Option<String>,
    at_most: Option<UserRole>,
) -> Viewer {
    let config = shared.config();
    let role = match by.as_str() {
        BY_LINK => UserRole::Admin,
        name => config.user(name).map_or(UserRole::Viewer, |user| user.role),
    };
    let scope = token.as_ref().map(|name| {
        let mut tokens = config.tokens.iter();
        let known =
            tokens.find(|one| one.name == *name && one.user == by && !one.has_expired(now_s()));
        known.map_or(UserRole::Viewer, |one| one.scope.at_most())
    });
    let role = role.min(scope.unwrap_or(role));
    Viewer {
        role: role.min(at_most.unwrap_or(role)),
        name: by,
        token,
        csrf: String::new(),
    }
}

async fn act(
    shared: &ConsoleState,
    from: &str,
    by: Viewer,
    action: OperatorAction,
) -> Result<String, String> {
    if by.role < action.required_role() {
        return Err(format!("{} is not permitted to do this here", by.shown()));
    }
    let (reply, answer) = oneshot::channel();
    shared.order(UserOrder {
        connection: None,
        is_noted: true,
        by: Viewer {
            name: format!("{} at {from}", by.shown()),
            token: None,
            ..by
        },
        action,
        reply,
    });
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(Ok(done)) => done,
        _ => Err("no response in time".to_owned()),
    }
}

async fn query_local_proxy(
    shared: &ConsoleState,
    by: &Viewer,
    ask: ProxyQuery,
) -> Result<String, String> {
    if by.role < UserRole::Operator {
        return Err(format!("{} is not permitted to see this here", by.shown()));
    }
    let (reply, answer) = oneshot::channel();
    let limit = ask.limit();
    shared.read(LocalProxyQuery { ask, reply });
    match tokio::time::timeout(limit, answer).await {
        Ok(Ok(said)) => said,
        _ => Err("the proxy did not respond in time".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::sample;
    use crate::shared::Manual;
    use crate::user::Scope;
    use lab::eventually;
    use lab::pki::{Authority, Issued, Leaf};
    use lab::tls::{Terms, TlsClient, TlsOffer, TlsServer};

    const SOON: Duration = Duration::from_secs(60);

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().build().unwrap().block_on(future)
    }

    /// Builds the knowledge of a node about both nodes. `accepts`: the nodes whose certificates it
    /// accepts.
    fn trusted(
        authority: &Authority,
        nodes: &[Issued; 2],
        me: usize,
        accepts: &'static [&str],
    ) -> TrustedNodes {
        let offer = TlsOffer {
            identity: Some(&nodes[me]),
            ..TlsOffer::default()
        };
        let terms = Terms {
            client_roots: &[authority.der()],
            ..Terms::default()
        };
        let client = TlsClient::new_local(&offer).unwrap().config();
        let server = TlsServer::new(&nodes[me], &terms).unwrap().config();
        let addresses = [1, 2].map(|last| vec![std::net::IpAddr::from([127, 46, 92, last])]);
        let places = NAMES.map(str::to_owned).into_iter().zip(addresses);
        let ders = nodes.each_ref().map(|node| node.der.clone());
        let node_of: wire::NodeOf = Arc::new(move |chain| {
            let first = chain.first()?;
            let at = ders.iter().position(|der| der == first.as_ref())?;
            accepts.contains(&NAMES[at]).then(|| NAMES[at].to_owned())
        });
        let me = NAMES[me].to_owned();
        TrustedNodes::new(me, places.collect(), client, server, node_of)
    }

    const NAMES: [&str; 2] = ["alpha", "beta"];

    #[test]
    fn link_ends_when_the_certificate_of_the_other_node_is_revoked() {
        let authority = Authority::new("Cluster CA").unwrap();
        let leaf = Leaf {
            names: &["node.evenkeel"],
            client: true,
            ..Leaf::default()
        };
        let nodes = [(); 2].map(|()| authority.issue(&leaf).unwrap());
        let consoles = [0, 1].map(|me| {
            let sessions = ::access::session::Sessions::new(None).unwrap();
            let config = crate::config::Config::default();
            let shared = ConsoleState::new(config, sessions, |_, _| false, Manual::default());
            let shared = Arc::new(shared.unwrap());
            let first = Arc::new(trusted(&authority, &nodes, me, &NAMES));
            let (sender, known) = tokio::sync::watch::channel(Some(first));
            let own = Arc::clone(&shared);
            std::thread::spawn(move || block_on(run(known, own)));
            (sender, shared)
        });
        let silent = |at: usize| {
            let others = lock(&consoles[at].1.others);
            let other = others.by_name.get(NAMES[1 - at]);
            other.map(|other| other.silent.clone().unwrap_or_default())
        };
        let is_connected = |at| silent(at).is_some_and(|why| why.contains("has just started"));
        let are_connected = || is_connected(0) && is_connected(1);
        assert!(
            eventually(SOON, are_connected),
            "{:?} {:?}",
            silent(0),
            silent(1)
        );
        // A user of alpha watches beta, too, and beta does not look more often at alpha.
        let watches = |at: usize| consoles[at].1.watchers.has_any_watchers();
        assert!(!watches(0) && !watches(1));
        let watched = || {
            consoles[0].1.record_viewer();
            watches(1)
        };
        assert!(eventually(SOON, watched));
        assert!(!consoles[1].1.watchers.has_watchers());
        // Beta still accepts alpha: alpha itself ends the connection.
        let revoked = trusted(&authority, &nodes, 0, &["alpha"]);
        let before = consoles[0].0.borrow().clone();
        let revoked = revoked.continue_from(before.as_deref());
        consoles[0].0.send_replace(Some(Arc::new(revoked)));
        let have_ended = || !is_connected(0) && !is_connected(1);
        assert!(
            eventually(SOON, have_ended),
            "{:?} {:?}",
            silent(0),
            silent(1)
        );
    }

    #[test]
    fn a_snapshot_survives_its_encoding() {
        block_on(async {
            let (mut one, mut two) = tokio::io::duplex(1_000);
            let look = sample();
            let reply = PeerConsoleResponse::Look(Some(Box::new(MachineReportMessage::of(&look))));
            let sent = frame::write(&mut one, &reply);
            let came = frame::read(&mut two, REPLY_MAX, DEPTH_MAX);
            let (sent, came) = tokio::join!(sent, came);
            sent.unwrap();
            let PeerConsoleResponse::Look(Some(told)) = came.unwrap() else {
                panic!("a look was sent");
            };
            let came = told.look();
            assert_eq!(
                (&came.traffic, &came.reports),
                (&look.traffic, &look.reports)
            );
            assert_eq!(came.problems(), look.problems());
        });
    }

    #[test]
    fn a_remote_user_has_at_most_the_local_role() {
        let password = configuration::Password::None;
        let account = configuration::Account {
            name: "anna".to_owned(),
            groups: Vec::new(),
            password,
        };
        let user = crate::config::ConsoleUser {
            account,
            role: UserRole::Operator,
            second_factor: crate::config::SecondFactor::None,
        };
        let token = |name: &str, scope, until_s| crate::config::Token {
            name: name.to_owned(),
            user: "anna".to_owned(),
            scope,
            until_s,
            hash: [0; 32],
        };
        let config = crate::config::Config {
            users: vec![user],
            tokens: vec![
                token("ci", Scope::Configure, None),
                token("look", Scope::Read, None),
                token("old", Scope::Configure, Some(1)),
            ],
            ..crate::config::Config::default()
        };
        let sessions = ::access::session::Sessions::new(None).unwrap();
        let shared = ConsoleState::new(config, sessions, |_, _| false, Manual::default()).unwrap();
        let role_by = |by: &str, token: Option<&str>, at_most| {
            viewer(&shared, by.to_owned(), token.map(str::to_owned), at_most).role
        };
        let role = |by: &str, at_most| role_by(by, None, at_most);
        // The role and scope of the token in this node's configuration decide.
        for (token, expected) in [
            ("ci", UserRole::Operator),
            ("look", UserRole::Viewer),
            ("old", UserRole::Viewer),
            ("revoked", UserRole::Viewer),
        ] {
            let found = role_by("anna", Some(token), Some(UserRole::Admin));
            assert_eq!(found, expected, "{token}");
        }
        for (by, at_most, expected) in [
            ("anna", Some(UserRole::Viewer), UserRole::Viewer),
            ("anna", Some(UserRole::Operator), UserRole::Operator),
            ("anna", Some(UserRole::Admin), UserRole::Operator),
            ("anna", None, UserRole::Operator),
            ("bert", Some(UserRole::Admin), UserRole::Viewer),
            (BY_LINK, Some(UserRole::Admin), UserRole::Admin),
        ] {
            assert_eq!(role(by, at_most), expected, "{by} {at_most:?}");
        }
        let by = viewer(&shared, "anna".to_owned(), Some("ci".to_owned()), None);
        assert_eq!(by.shown(), "anna (token ci)");
    }
}
