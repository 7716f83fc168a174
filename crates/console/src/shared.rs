//! What the pages, the main thread of the role and its other threads have in common.

use crate::access::{self, link::Links};
use crate::config::Config;
use crate::drawing::Drawings;
use crate::history::History;
use crate::inquiry::live::Inquiries;
use crate::inquiry::{Ask, word};
use crate::keyword::NAME;
use crate::look::Look;
use crate::platform::{Member, Platform};
use crate::user::{Role, Viewer};
use ::access::peers::Change;
use ::access::proof::Desk;
pub use ::access::proof::{Verify, now_ms, now_s};
use ::access::session::Sessions;
use part::lock;
use part::report::{Moment, Offer};
use part::role::{Admission, MemberNews, Membership};
use part::versions::Versions;
use rustix::event::{EventfdFlags, eventfd};
use screen::library::Libraries;
use screen::open::Screens;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tokio::sync::{Notify, mpsc, oneshot, watch};

/// For how long after a request the platform is looked at more often, milliseconds.
const SEEN_MS: u64 = 10_000;
/// Orders that wait.
const ORDERS_MAX: usize = 64;

/// The reference manual.
#[derive(Clone, Copy, Debug)]
pub struct Manual {
    /// What it says of a line of a section.
    pub of_line: fn(section: &str, line: &str) -> Option<String>,
    /// What a code of a diagnostic means.
    pub of_code: fn(code: &str) -> Option<String>,
}

impl Default for Manual {
    /// Without a page.
    fn default() -> Manual {
        Manual {
            of_line: |_, _| None,
            of_code: |_| None,
        }
    }
}

/// CLOCK_BOOTTIME, nanoseconds.
fn now_ns() -> u64 {
    Moment::now().boottime_ms.saturating_mul(1_000_000)
}

/// Something to do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Action {
    /// Take a server out of the balancing, or put it back.
    Server {
        /// Its backend.
        proxy: String,
        /// Its name.
        server: String,
        /// What becomes of it.
        state: ServerState,
    },
    /// Remove an entry of a stick table.
    Entry {
        /// The table.
        table: String,
        /// The key.
        key: String,
    },
    /// What the report of a part offers.
    Offer {
        /// The part.
        part: String,
        /// The kind of the subject, and its name.
        subject: [String; 2],
        /// The offer's name.
        word: String,
    },
}

/// What a server can be told to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ServerState {
    /// It serves.
    Ready,
    /// It gets no new clients.
    Drain,
    /// It gets nothing, and is not checked.
    Maint,
}

impl ServerState {
    /// All of them.
    pub const ALL: [ServerState; 3] = [ServerState::Ready, ServerState::Drain, ServerState::Maint];

    /// The word of forms and of the runtime API.
    pub fn word(self) -> &'static str {
        match self {
            ServerState::Ready => "ready",
            ServerState::Drain => "drain",
            ServerState::Maint => "maint",
        }
    }
}

impl Action {
    /// Who may do it: these, and everybody above.
    pub fn needs(&self) -> Role {
        match self {
            // What takes more says so itself.
            Action::Server { .. } | Action::Entry { .. } | Action::Offer { .. } => Role::Operator,
        }
    }

    /// What it is done to.
    pub fn object(&self) -> String {
        match self {
            Action::Server { proxy, server, .. } => format!("server {proxy}/{server}"),
            Action::Entry { table, key } => format!("entry {key} of table {table}"),
            Action::Offer { subject, .. } => subject.join(" "),
        }
    }

    /// What is done, in a word.
    pub fn word(&self) -> &str {
        match self {
            Action::Server { state, .. } => state.word(),
            Action::Entry { .. } => "removed",
            Action::Offer { word, .. } => word,
        }
    }

    /// What was done, in the words of an event. An offer that opens something has a noun for its word.
    pub fn done(&self) -> String {
        match self {
            Action::Offer { word, .. } if word == "screen" => "display opened".to_owned(),
            Action::Offer { word, .. } if word == "terminal" => "terminal opened".to_owned(),
            action => action.word().to_owned(),
        }
    }

    /// The command of the runtime API that does it; None: a part does it.
    pub fn command(&self) -> Option<String> {
        match self {
            Action::Server {
                proxy,
                server,
                state,
            } => Some(format!(
                "set server {proxy}/{server} state {}\n",
                state.word()
            )),
            Action::Entry { table, key } => {
                let (table, key) = (word(table), word(key));
                // Of an entry that is not there, the second command says nothing.
                Some(format!(
                    "show table {table} key {key};clear table {table} key {key}\n"
                ))
            }
            Action::Offer { .. } => None,
        }
    }

    /// What the answer to [`Action::command`] means.
    ///
    /// # Errors
    /// Why it was not done, in words.
    pub fn outcome(&self, answer: &str) -> Result<(), String> {
        let mut lines = answer.lines().map(str::trim);
        if matches!(self, Action::Entry { .. }) {
            let mut lines = lines.filter(|line| !line.is_empty() && !line.starts_with("# table:"));
            return match lines.next() {
                Some(line) if line.starts_with("0x") && line.contains(": key=") => {
                    lines.next().map_or(Ok(()), |words| Err(words.to_owned()))
                }
                Some(words) => Err(words.to_owned()),
                None => Err("there is no such entry: it may have expired".to_owned()),
            };
        }
        match lines.find(|line| !line.is_empty()) {
            Some(_) => Err(answer.trim().to_owned()),
            None => Ok(()),
        }
    }

    /// The offer that is meant, if the report has it still.
    pub fn offer<'l>(&self, look: &'l Look) -> Option<&'l Offer> {
        let Action::Offer {
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

/// An order of somebody who may give it.
pub struct Order {
    /// Who gives it.
    pub by: Viewer,
    /// What is to be done.
    pub action: Action,
    /// What the part is to speak over, if the offer opens something.
    pub connection: Option<OwnedFd>,
    /// It is an event. A further connection of what is open already is none.
    pub is_noted: bool,
    /// What came of it, in words.
    pub reply: oneshot::Sender<Result<String, String>>,
}

/// What is known of another node.
#[derive(Clone, Debug)]
pub struct Other {
    /// What it said last.
    pub look: Option<Arc<Look>>,
    /// Why it does not respond.
    pub silent: Option<String>,
}

/// An order or a question for another node.
pub struct Errand {
    /// Who gives it. There they may at most what they may here.
    pub by: Viewer,
    /// What is to be done.
    pub wanted: Wanted,
    /// What came of it.
    pub reply: oneshot::Sender<Result<String, String>>,
}

/// What an errand is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// Something to do.
    Action(Action),
    /// Something to ask the proxy.
    Ask(Ask),
}

/// A question for the proxy of this node.
pub struct Reading {
    /// What is asked.
    pub ask: Ask,
    /// The reply of its runtime API, or why there is none.
    pub reply: oneshot::Sender<Result<String, String>>,
}

/// All other nodes.
#[derive(Default)]
pub struct Others {
    /// What is known of each.
    pub known: BTreeMap<String, Other>,
    /// Who takes orders for each.
    errands: BTreeMap<String, mpsc::Sender<Errand>>,
    /// Who takes what is reported of sign-ins to each.
    sign_ins: BTreeMap<String, mpsc::Sender<SignIn>>,
}

/// What is reported of sign-ins to another node.
#[derive(Debug)]
pub enum SignIn {
    /// Tries that have failed or succeeded.
    Tries(Vec<Change>),
    /// A user has used the code of this time step.
    Code {
        /// Whose.
        user: String,
        /// The time step.
        step: u64,
        /// Whether the node had not known it as used.
        is_new: oneshot::Sender<bool>,
    },
}

impl Others {
    /// From now on orders and sign-ins for a node go there.
    pub fn open(
        &mut self,
        node: &str,
        errands: mpsc::Sender<Errand>,
        sign_ins: mpsc::Sender<SignIn>,
    ) {
        self.errands.insert(node.to_owned(), errands);
        self.sign_ins.insert(node.to_owned(), sign_ins);
    }

    /// The ways to all nodes.
    pub fn sign_ins(&self) -> impl Iterator<Item = &mpsc::Sender<SignIn>> {
        self.sign_ins.values()
    }

    /// Sends an order to a node. False: there is no way to it.
    pub fn send(&self, node: &str, errand: Errand) -> bool {
        let errands = self.errands.get(node);
        errands.is_some_and(|errands| errands.try_send(errand).is_ok())
    }
}

/// Who looks now.
#[derive(Debug, Default)]
pub struct Watchers {
    /// Pages that are live.
    live: AtomicUsize,
    /// The last request, milliseconds since 1970.
    last_ms: AtomicU64,
    /// Somebody looks where nobody did.
    pub came: Notify,
}

/// What the main thread has to do.
#[derive(Default)]
struct Todo {
    orders: VecDeque<Order>,
    /// Questions for the proxy.
    readings: VecDeque<Reading>,
    /// Connections for the control role, which it passes on.
    connections: Vec<OwnedFd>,
}

/// What all have in common.
pub struct Shared {
    /// How the platform is.
    pub platform: watch::Sender<Arc<Platform>>,
    config: RwLock<Arc<Config>>,
    /// Who has signed in, and who tries to.
    pub desk: Desk,
    membership: Mutex<Membership>,
    /// Links that sign in once.
    pub links: Mutex<Links>,
    /// The other nodes.
    pub others: Mutex<Others>,
    /// Who looks.
    pub watchers: Watchers,
    /// The reference manual.
    pub manual: Manual,
    /// Live pages.
    pub drawings: Drawings,
    /// What draws displays and terminals of guests.
    pub libraries: Libraries,
    /// Those that are open.
    pub screens: Arc<Screens>,
    todo: Mutex<Todo>,
    /// What live pages ask.
    pub inquiries: Inquiries,
    /// What is known of the cluster's versions.
    pub versions: Mutex<Option<Arc<Versions>>>,
    wake: OwnedFd,
}

/// Ends the sessions of users who have another password than before.
fn learn(sessions: &mut Sessions, config: &Config) {
    let names = config.users.iter().map(|user| &*user.account.name);
    sessions.learn(config, names, now_s());
}

impl Shared {
    /// With the sessions that there are.
    ///
    /// # Errors
    /// The system's.
    pub fn new(
        config: Config,
        mut sessions: Sessions,
        (verify, manual): (Verify, Manual),
    ) -> io::Result<Shared> {
        learn(&mut sessions, &config);
        Ok(Shared {
            platform: watch::Sender::new(Arc::default()),
            membership: Mutex::new(Membership::new(config.is_member)),
            config: RwLock::new(Arc::new(config)),
            desk: Desk::new(NAME, sessions, verify),
            links: Mutex::default(),
            others: Mutex::default(),
            watchers: Watchers::default(),
            manual,
            drawings: Drawings::new().map_err(io::Error::other)?,
            libraries: Libraries::default(),
            screens: Arc::default(),
            todo: Mutex::default(),
            inquiries: Inquiries::default(),
            versions: Mutex::default(),
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        })
    }

    /// What the file says.
    pub fn config(&self) -> Arc<Config> {
        let config = self.config.read();
        Arc::clone(&config.unwrap_or_else(PoisonError::into_inner))
    }

    /// The file says something else.
    pub fn set_config(&self, config: Config) {
        learn(&mut lock(&self.desk.sessions), &config);
        lock(&self.membership).set_member(config.is_member);
        let mut now = { self.config.write() }.unwrap_or_else(PoisonError::into_inner);
        *now = Arc::new(config);
    }

    /// Whose request has this token in its cookie.
    pub fn viewer(&self, token: &str) -> Option<Viewer> {
        let config = self.config();
        let asked = (token, self.admission());
        access::viewer(&lock(&self.desk.sessions), &config, asked, now_s())
    }

    /// Whether the users of the configuration may come in.
    pub fn admission(&self) -> Admission {
        lock(&self.membership).admission(now_ns())
    }

    /// Why nobody of the list may come in, in words; None: they may.
    pub fn why_closed(&self) -> Option<String> {
        access::why_closed(self.admission())
    }

    /// Takes what the control role reports about this machine as a member.
    pub fn member(&self, news: &MemberNews) {
        lock(&self.membership).hear(news, now_ns());
    }

    /// The platform is like this from now on.
    pub fn publish(&self, members: Vec<Member>, history: Arc<History>) {
        // Not in the call: it would be held until those who read the platform let it go.
        let versions = lock(&self.versions).clone();
        self.platform.send_replace(Arc::new(Platform {
            members,
            history,
            versions,
        }));
    }

    /// Gives an order to the main thread.
    pub fn order(&self, order: Order) {
        let mut todo = lock(&self.todo);
        if todo.orders.len() < ORDERS_MAX {
            todo.orders.push_back(order);
        } else {
            let words = "too much is to be done at once: try again".to_owned();
            // Who asked may have gone.
            let _ = order.reply.send(Err(words));
        }
        drop(todo);
        self.wake();
    }

    /// Takes the next order.
    pub fn next_order(&self) -> Option<Order> {
        lock(&self.todo).orders.pop_front()
    }

    /// Gives a question for the proxy to the main thread.
    pub fn read(&self, reading: Reading) {
        let mut todo = lock(&self.todo);
        if todo.readings.len() < ORDERS_MAX {
            todo.readings.push_back(reading);
        } else {
            // Who asked may have gone.
            let words = "too much is asked at once: try again".to_owned();
            let _ = reading.reply.send(Err(words));
        }
        drop(todo);
        self.wake();
    }

    /// Takes the next question for the proxy.
    pub fn next_reading(&self) -> Option<Reading> {
        lock(&self.todo).readings.pop_front()
    }

    /// Gives the main thread a connection for the control role.
    pub fn connect(&self, connection: OwnedFd) {
        let mut todo = lock(&self.todo);
        if todo.connections.len() < ORDERS_MAX {
            todo.connections.push(connection);
        }
        drop(todo);
        self.wake();
    }

    /// Takes the connections for the control role.
    pub fn connections(&self) -> Vec<OwnedFd> {
        std::mem::take(&mut lock(&self.todo).connections)
    }

    /// Somebody looks: it is looked at once, if nobody did for a while.
    pub fn see(&self) {
        if self.watchers.see() {
            self.watchers.came.notify_waiters();
            self.wake();
        }
    }

    /// Wakes the main thread.
    pub fn wake(&self) {
        // If it is full, it wakes.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    /// Readable when the main thread has something to do.
    pub fn wakes(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// The main thread is awake.
    pub fn is_awake(&self) {
        let _ = rustix::io::read(&self.wake, &mut [0; 8]);
    }
}

impl Watchers {
    /// Somebody asks for a page; whether nobody looked before.
    fn see(&self) -> bool {
        let before = self.last_ms.swap(now_ms(), Ordering::Relaxed);
        now_ms() > before + SEEN_MS && self.live.load(Ordering::Relaxed) == 0
    }

    /// Whether somebody looks.
    pub fn are_there(&self) -> bool {
        let last = self.last_ms.load(Ordering::Relaxed);
        self.live.load(Ordering::Relaxed) > 0 || now_ms() <= last.saturating_add(SEEN_MS)
    }

    /// Pages that are live.
    pub fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// A page is live, until the value is dropped. None: there are so many that no more is.
    pub fn enter(shared: &Arc<Shared>, max: usize) -> Option<Live> {
        let live = &shared.watchers.live;
        let enters = |number: usize| (number < max).then_some(number + 1);
        let entered = live.fetch_update(Ordering::Relaxed, Ordering::Relaxed, enters);
        entered.ok().map(|_| Live(Arc::clone(shared)))
    }
}

/// A page that is live.
pub struct Live(Arc<Shared>);

impl Drop for Live {
    fn drop(&mut self) {
        self.0.watchers.live.fetch_sub(1, Ordering::Relaxed);
    }
}
