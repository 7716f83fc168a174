//! Holds the state that the pages, the main thread of the role and its other threads share.

use crate::access::{self, link::Links};
use crate::config::Config;
use crate::drawing::LivePages;
use crate::history::History;
use crate::inquiry::live::SharedQueries;
use crate::inquiry::{ProxyQuery, word};
use crate::keyword::NAME;
use crate::look::MachineReport;
use crate::platform::{Platform, PlatformMember};
use crate::user::{UserRole, Viewer};
use ::access::peers::AttemptChange;
use ::access::proof::Authenticator;
pub use ::access::proof::{Verify, now_ms, now_s};
use ::access::session::Sessions;
use part::lock;
use part::report::{Moment, SubjectAction};
use part::role::{Admission, MemberNews, Membership};
use part::versions::Versions;
use part::wake::WakeEvent;
use screen::library::Libraries;
use screen::open::Screens;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tokio::sync::{Notify, mpsc, oneshot, watch};

/// Time after a request during which the platform is polled at the short interval, milliseconds.
const SEEN_MS: u64 = 10_000;
const ORDERS_MAX: usize = 64;

#[derive(Clone, Copy, Debug)]
pub struct Manual {
    pub of_line: fn(section: &str, line: &str) -> Option<String>,
    pub of_code: fn(code: &str) -> Option<String>,
}

impl Default for Manual {
    fn default() -> Manual {
        Manual {
            of_line: |_, _| None,
            of_code: |_| None,
        }
    }
}

/// Returns CLOCK_BOOTTIME in nanoseconds, which is also counted while the machine is suspended.
fn now_ns() -> u64 {
    Moment::now().boottime_ms.saturating_mul(1_000_000)
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum OperatorAction {
    Server {
        proxy: String,
        server: String,
        state: ServerState,
    },
    Entry {
        table: String,
        key: String,
    },
    Offer {
        part: String,
        subject: [String; 2],
        word: String,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ServerState {
    Ready,
    /// The server gets no new clients.
    Drain,
    /// The server gets no requests and is not checked.
    Maint,
}

impl ServerState {
    pub const ALL: [ServerState; 3] = [ServerState::Ready, ServerState::Drain, ServerState::Maint];

    /// Returns the word of this state in forms and in the runtime API.
    pub fn word(self) -> &'static str {
        match self {
            ServerState::Ready => "ready",
            ServerState::Drain => "drain",
            ServerState::Maint => "maint",
        }
    }
}

impl OperatorAction {
    pub fn required_role(&self) -> UserRole {
        match self {
            // Requires the role of an operator in any case. An offer that needs a higher role has
            // that in its own level.
            OperatorAction::Server { .. }
            | OperatorAction::Entry { .. }
            | OperatorAction::Offer { .. } => UserRole::Operator,
        }
    }

    pub fn object(&self) -> String {
        match self {
            OperatorAction::Server { proxy, server, .. } => format!("server {proxy}/{server}"),
            OperatorAction::Entry { table, key } => format!("entry {key} of table {table}"),
            OperatorAction::Offer { subject, .. } => subject.join(" "),
        }
    }

    pub fn word(&self) -> &str {
        match self {
            OperatorAction::Server { state, .. } => state.word(),
            OperatorAction::Entry { .. } => "removed",
            OperatorAction::Offer { word, .. } => word,
        }
    }

    /// Returns the text of the event for this action. For an action that opens something, the offer
    /// has a noun instead of a verb.
    pub fn done(&self) -> String {
        match self {
            OperatorAction::Offer { word, .. } if word == "screen" => "display opened".to_owned(),
            OperatorAction::Offer { word, .. } if word == "terminal" => {
                "terminal opened".to_owned()
            }
            action => action.word().to_owned(),
        }
    }

    /// Returns the command of the runtime API for this action. None if another role executes the
    /// action.
    pub fn command(&self) -> Option<String> {
        match self {
            OperatorAction::Server {
                proxy,
                server,
                state,
            } => Some(format!(
                "set server {proxy}/{server} state {}\n",
                state.word()
            )),
            OperatorAction::Entry { table, key } => {
                let (table, key) = (word(table), word(key));
                // Shows the entry first, because the second command is silent if the entry does not
                // exist.
                Some(format!(
                    "show table {table} key {key};clear table {table} key {key}\n"
                ))
            }
            OperatorAction::Offer { .. } => None,
        }
    }

    /// Interprets the response to [`OperatorAction::command`].
    ///
    /// # Errors
    /// The response contains an error message, or there is no such entry.
    pub fn outcome(&self, answer: &str) -> Result<(), String> {
        let mut lines = answer.lines().map(str::trim);
        if matches!(self, OperatorAction::Entry { .. }) {
            let mut lines = lines.filter(|line| !line.is_empty() && !line.starts_with("# table:"));
            return match lines.next() {
                Some(line) if line.starts_with("0x") && line.contains(": key=") => {
                    lines.next().map_or(Ok(()), |words| Err(words.to_owned()))
                }
                Some(words) => Err(words.to_owned()),
                None => Err("no such entry: it may have expired".to_owned()),
            };
        }
        match lines.find(|line| !line.is_empty()) {
            Some(_) => Err(answer.trim().to_owned()),
            None => Ok(()),
        }
    }

    /// Returns the offer of this action, if the report still has it.
    pub fn offer<'l>(&self, look: &'l MachineReport) -> Option<&'l SubjectAction> {
        let OperatorAction::Offer {
            part,
            subject: [kind, name],
            word,
        } = self
        else {
            return None;
        };
        let report = look.reports.iter().find(|report| report.part == *part)?;
        let mut offers = report.find(kind, name)?.offers.iter();
        offers.find(|offer| offer.word == *word)
    }
}

/// Order of a user whose role permits it.
pub struct UserOrder {
    pub by: Viewer,
    pub action: OperatorAction,
    /// Connection that the executing role uses, if the offer opens a display or terminal.
    pub connection: Option<OwnedFd>,
    /// True if the order becomes an event. A further connection to a display or terminal that is
    /// already open does not.
    pub is_noted: bool,
    pub reply: oneshot::Sender<Result<String, String>>,
}

#[derive(Clone, Debug)]
pub struct RemoteNodeState {
    pub look: Option<Arc<MachineReport>>,
    pub silent: Option<String>,
}

/// Order or query for another node.
pub struct RemoteRequest {
    /// User who sends it. At the other node, the user has at most this role.
    pub by: Viewer,
    pub wanted: RemoteRequestKind,
    pub reply: oneshot::Sender<Result<String, String>>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RemoteRequestKind {
    Action(OperatorAction),
    Ask(ProxyQuery),
}

/// Query for the proxy of this node.
pub struct LocalProxyQuery {
    pub ask: ProxyQuery,
    /// Receiver of the response of the runtime API, or of the reason why there is none.
    pub reply: oneshot::Sender<Result<String, String>>,
}

#[derive(Default)]
pub struct RemoteNodes {
    pub by_name: BTreeMap<String, RemoteNodeState>,
    errands: BTreeMap<String, mpsc::Sender<RemoteRequest>>,
    sign_ins: BTreeMap<String, mpsc::Sender<SignInReport>>,
}

/// A sign-in report for another node.
#[derive(Debug)]
pub enum SignInReport {
    Tries(Vec<AttemptChange>),
    Code {
        user: String,
        step: u64,
        /// Receiver of the response: true if the code had not been used at that node.
        is_new: oneshot::Sender<bool>,
    },
}

impl RemoteNodes {
    pub fn open(
        &mut self,
        node: &str,
        errands: mpsc::Sender<RemoteRequest>,
        sign_ins: mpsc::Sender<SignInReport>,
    ) {
        self.errands.insert(node.to_owned(), errands);
        self.sign_ins.insert(node.to_owned(), sign_ins);
    }

    pub fn sign_ins(&self) -> impl Iterator<Item = &mpsc::Sender<SignInReport>> {
        self.sign_ins.values()
    }

    /// Queues an order for a node. Returns false if the node is not connected or its queue is full.
    pub fn send(&self, node: &str, errand: RemoteRequest) -> bool {
        let errands = self.errands.get(node);
        errands.is_some_and(|errands| errands.try_send(errand).is_ok())
    }
}

/// Counts the users who watch the pages.
#[derive(Debug, Default)]
pub struct Watchers {
    live: AtomicUsize,
    /// Time of the last request, milliseconds since 1970.
    last_ms: AtomicU64,
    /// Time of the last request of another console whose user watches, in the same unit.
    remote_ms: AtomicU64,
    /// Notified when a user begins to watch.
    pub watch_begun: Notify,
}

#[derive(Default)]
struct PendingWork {
    orders: VecDeque<UserOrder>,
    readings: VecDeque<LocalProxyQuery>,
    connections: Vec<OwnedFd>,
}

/// State that all threads share.
pub struct ConsoleState {
    pub platform: watch::Sender<Arc<Platform>>,
    config: RwLock<Arc<Config>>,
    pub authentication: Authenticator,
    membership: Mutex<Membership>,
    pub links: Mutex<Links>,
    pub others: Mutex<RemoteNodes>,
    pub watchers: Watchers,
    pub manual: Manual,
    pub drawings: LivePages,
    pub libraries: Libraries,
    pub screens: Arc<Screens>,
    todo: Mutex<PendingWork>,
    pub inquiries: SharedQueries,
    pub versions: Mutex<Option<Arc<Versions>>>,
    wake: WakeEvent,
}

fn end_stale_sessions(sessions: &mut Sessions, config: &Config) {
    let names = config.users.iter().map(|user| &*user.account.name);
    sessions.end_changed_users(config, names, now_s());
}

impl ConsoleState {
    /// Creates the shared state with the existing sessions.
    ///
    /// # Errors
    /// The system has no random numbers or no descriptor.
    pub fn new(
        config: Config,
        mut sessions: Sessions,
        verify: Verify,
        manual: Manual,
    ) -> io::Result<ConsoleState> {
        end_stale_sessions(&mut sessions, &config);
        Ok(ConsoleState {
            platform: watch::Sender::new(Arc::default()),
            membership: Mutex::new(Membership::new(config.is_member)),
            config: RwLock::new(Arc::new(config)),
            authentication: Authenticator::new(NAME, sessions, verify),
            links: Mutex::default(),
            others: Mutex::default(),
            watchers: Watchers::default(),
            manual,
            drawings: LivePages::new().map_err(io::Error::other)?,
            libraries: Libraries::default(),
            screens: Arc::default(),
            todo: Mutex::default(),
            inquiries: SharedQueries::default(),
            versions: Mutex::default(),
            wake: WakeEvent::new()?,
        })
    }

    pub fn config(&self) -> Arc<Config> {
        let config = self.config.read();
        Arc::clone(&config.unwrap_or_else(PoisonError::into_inner))
    }

    pub fn set_config(&self, config: Config) {
        end_stale_sessions(&mut lock(&self.authentication.sessions), &config);
        lock(&self.membership).set_member(config.is_member);
        let config_lock = self.config.write();
        let mut now = config_lock.unwrap_or_else(PoisonError::into_inner);
        *now = Arc::new(config);
    }

    /// Returns the user whose session token a request has in its cookie.
    pub fn viewer(&self, token: &str) -> Option<Viewer> {
        let config = self.config();
        access::viewer(
            &lock(&self.authentication.sessions),
            &config,
            token,
            self.admission(),
            now_s(),
        )
    }

    pub fn admission(&self) -> Admission {
        lock(&self.membership).admission(now_ns())
    }

    /// Explains why no listed user may sign in. None if they may.
    pub fn why_closed(&self) -> Option<String> {
        access::why_closed(self.admission())
    }

    pub fn apply_member_news(&self, news: &MemberNews) {
        lock(&self.membership).apply_report(news, now_ns());
    }

    pub fn publish(&self, members: Vec<PlatformMember>, history: Arc<History>) {
        // Clones in a separate statement, so that the lock is released before `send_replace` waits
        // for the readers of the platform.
        let versions = lock(&self.versions).clone();
        self.platform.send_replace(Arc::new(Platform {
            members,
            history,
            versions,
        }));
    }

    pub fn order(&self, order: UserOrder) {
        let mut todo = lock(&self.todo);
        if todo.orders.len() < ORDERS_MAX {
            todo.orders.push_back(order);
        } else {
            let words = "too many actions are in progress: try again".to_owned();
            // Ignores an error: the waiting task may have ended.
            let _ = order.reply.send(Err(words));
        }
        drop(todo);
        self.wake();
    }

    pub fn next_order(&self) -> Option<UserOrder> {
        lock(&self.todo).orders.pop_front()
    }

    pub fn read(&self, reading: LocalProxyQuery) {
        let mut todo = lock(&self.todo);
        if todo.readings.len() < ORDERS_MAX {
            todo.readings.push_back(reading);
        } else {
            // Ignores an error: the waiting task may have ended.
            let words = "too many requests are pending: try again".to_owned();
            let _ = reading.reply.send(Err(words));
        }
        drop(todo);
        self.wake();
    }

    pub fn next_reading(&self) -> Option<LocalProxyQuery> {
        lock(&self.todo).readings.pop_front()
    }

    pub fn connect(&self, connection: OwnedFd) {
        let mut todo = lock(&self.todo);
        if todo.connections.len() < ORDERS_MAX {
            todo.connections.push(connection);
        }
        drop(todo);
        self.wake();
    }

    pub fn connections(&self) -> Vec<OwnedFd> {
        std::mem::take(&mut lock(&self.todo).connections)
    }

    /// Records that a user watches. If no user has watched for a while, the platform is polled
    /// immediately.
    pub fn record_viewer(&self) {
        if self.watchers.record_request() {
            self.watchers.watch_begun.notify_waiters();
            self.wake();
        }
    }

    /// Records that a user of another console watches this node.
    pub fn record_remote_viewer(&self) {
        if self.watchers.record_remote_request() {
            self.wake();
        }
    }

    pub fn wake(&self) {
        self.wake.wake();
    }

    /// Returns a descriptor that is readable when the main thread has work.
    pub fn wakes(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    pub fn reset_wakeup(&self) {
        self.wake.reset();
    }
}

impl Watchers {
    /// Records a request for a page. Returns whether no user has watched for `SEEN_MS` before it.
    fn record_request(&self) -> bool {
        let before = self.last_ms.swap(now_ms(), Ordering::Relaxed);
        now_ms() > before + SEEN_MS && self.live.load(Ordering::Relaxed) == 0
    }

    /// Records a user of another console. Returns whether none had watched before.
    fn record_remote_request(&self) -> bool {
        let before = self.remote_ms.swap(now_ms(), Ordering::Relaxed);
        now_ms() > before + SEEN_MS
    }

    /// Returns whether users of this console or of another one watch this node.
    pub fn has_any_watchers(&self) -> bool {
        let last = self.remote_ms.load(Ordering::Relaxed);
        self.has_watchers() || now_ms() <= last.saturating_add(SEEN_MS)
    }

    pub fn has_watchers(&self) -> bool {
        let last = self.last_ms.load(Ordering::Relaxed);
        self.live.load(Ordering::Relaxed) > 0 || now_ms() <= last.saturating_add(SEEN_MS)
    }

    pub fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// Counts a live page until the value is dropped. None if `max` pages are live.
    pub fn enter(shared: &Arc<ConsoleState>, max: usize) -> Option<LivePage> {
        let live = &shared.watchers.live;
        let enters = |number: usize| (number < max).then_some(number + 1);
        let entered = live.fetch_update(Ordering::Relaxed, Ordering::Relaxed, enters);
        entered.ok().map(|_| LivePage(Arc::clone(shared)))
    }
}

/// A live page, counted until it is dropped.
pub struct LivePage(Arc<ConsoleState>);

impl Drop for LivePage {
    fn drop(&mut self) {
        self.0.watchers.live.fetch_sub(1, Ordering::Relaxed);
    }
}
