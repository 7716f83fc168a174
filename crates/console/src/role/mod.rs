//! Runs the console role, which polls everything that runs on the machine, keeps the history, and
//! serves the pages. Queries go to the supervisor, which forwards them. One thread serves HTTP,
//! others communicate with the proxy; this one, the main thread of the process, waits for nothing
//! but its next turn.

mod changes;
pub mod far;
mod gather;
mod members;
mod operate;
mod read;
mod sign_ins;
mod state;

use crate::certificate;
use crate::config::Config;
use crate::history::History;
use crate::inquiry;
use crate::look::MachineReport;
use crate::message::SignInLink;
use crate::platform::UNSEEN_MS;
use crate::shared::{ConsoleState, Manual, OperatorAction, UserOrder, Verify, now_s};
use crate::traffic::{self, Traffic};
use crate::user::UserRole;
use crate::versions;
use crate::web::serve::{self, ConsoleListener};
use crate::web::{self};
use ::access::session::Sessions;
use gather::{PollProgress, PollQuery, PollResponse};
use operate::RuntimeApiClient;
use part::channel::Received;
use part::clock::boottime_ms;
use part::report::{BYTES_MAX, Event, Grade, Moment, StatusReport, Subject};
use part::role::{Admission, Level, MemberNews, OrderResponse, PartMessage, SupervisorMessage};
use part::voice::write_error;
use part::work::PartRequest;
use part::{lock, memory};
use read::ProxyReaders;
use screen::kind;
use sign_ins::PeerConsoles;
use state::SavedConsoleState;
use std::collections::BTreeMap;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use wire::TrustedNodes;

/// Interval of the polls while a user watches, milliseconds. Otherwise [`UNSEEN_MS`].
const SEEN_MS: u64 = 500;
const KEEP_MS: u64 = 60_000;
const KEEP_CHANGES_MS: u64 = 5_000;
const REPLY_MAX: u64 = 16 << 10;
const OPERATE_LIMIT: Duration = Duration::from_secs(3);
const ACTING_MAX: usize = 16;

/// Environment of the role: functions and messages that the evenkeel binary provides.
#[derive(Clone, Copy)]
pub struct ConsoleEnvironment {
    pub host: fn() -> String,
    /// Function that returns the parts of the platform that have a report, in the order in which
    /// they are displayed.
    pub parts: fn() -> Vec<&'static str>,
    /// Function that creates a message which gives the proxy a connection to its runtime API.
    pub operate: fn(Level) -> PartMessage,
    /// Function that creates a message which starts a process that evaluates a request, and gives
    /// the process a connection.
    pub route: fn() -> PartMessage,
    /// Function that creates a message which gives the control role a connection for queries about
    /// configuration versions.
    pub versions: fn() -> PartMessage,
    pub verify: Verify,
    pub manual: Manual,
    /// Function that drops all privileges except membership in a group. Called when the console
    /// listens, before a second thread exists.
    pub confine: fn(Option<u32>) -> Result<(), String>,
}

/// Action in progress: its connection to the proxy, and the task that waits for the result.
struct RunningAction {
    connection: Option<UnixStream>,
    order: UserOrder,
}

/// Result from one of the other threads.
enum RoleEvent {
    /// Statistics of the proxy for a poll, with the number of the query.
    Traffic(u64, Result<String, String>),
    Acted(UserOrder, Result<String, String>),
}

/// State of the console role on its main thread, which polls the machine, executes orders, and
/// saves the state. Pages and queries of the proxy are on other threads, which share
/// [`ConsoleState`].
pub struct ConsoleRole {
    place: ConsoleEnvironment,
    shared: Arc<ConsoleState>,
    listeners: watch::Sender<Option<Arc<ConsoleListener>>>,
    trusted: watch::Sender<Option<Arc<TrustedNodes>>>,
    operate: RuntimeApiClient,
    reads: ProxyReaders,
    results: (Sender<RoleEvent>, Receiver<RoleEvent>),
    polls: PollState,
    asks: Vec<PartRequest>,
    acting: BTreeMap<u64, RunningAction>,
    reading: BTreeMap<u64, UnixStream>,
    state_saver: StateSaver,
    ended: Arc<AtomicBool>,
}

/// The polls, one at a time.
struct PollState {
    number: u64,
    gather: Option<PollProgress>,
    /// Time of the next poll, milliseconds of the boot clock.
    due: u64,
    history: Arc<History>,
    last: Option<Arc<MachineReport>>,
    cluster: Option<StatusReport>,
    /// Last report of the cluster in which all members had been found. A previous process of the
    /// console may have received it.
    settled: Option<StatusReport>,
    done: Vec<(String, Event)>,
}

struct StateSaver {
    state: SavedConsoleState,
    bytes: Vec<u8>,
    /// Time of the next save, milliseconds of the boot clock.
    due: u64,
}

impl ConsoleRole {
    /// Starts the role with a configuration payload and the state that the previous process has
    /// saved.
    ///
    /// # Errors
    /// The payload is invalid, the certificate or the address cannot be used, the process cannot be
    /// confined, or a system call fails.
    pub fn new(
        place: ConsoleEnvironment,
        payload: &[u8],
        kept: Option<&[u8]>,
    ) -> Result<ConsoleRole, String> {
        let config = Config::read(payload)?;
        let mut state = kept.and_then(SavedConsoleState::read).unwrap_or_default();
        if state.certificate.is_empty() {
            let names = vec![(place.host)(), "localhost".to_owned()];
            state.certificate = certificate::make(names)?;
        }
        let sessions = Sessions::new(Some(state.sessions.clone()))?;
        let door = ConsoleListener::open(&config, &state.certificate)?;
        let libraries = kind::libraries();
        (place.confine)(config.system.group())?;
        let said = |error: std::io::Error| language::reason(&error);
        let mut shared =
            ConsoleState::new(config, sessions, place.verify, place.manual).map_err(said)?;
        shared.libraries = libraries;
        let shared = Arc::new(shared);
        PeerConsoles::share(&shared);
        let (doors, opened) = watch::channel(Some(Arc::new(door)));
        let (trusted, known) = watch::channel(None);
        let role = ConsoleRole {
            polls: PollState {
                // Includes the process ID, which distinguishes the numbers from those of a previous
                // process, whose responses the supervisor may still send.
                number: u64::from(std::process::id()) << 32,
                gather: None,
                due: 0,
                history: Arc::new(std::mem::take(&mut state.history)),
                last: None,
                cluster: None,
                settled: state.members.take(),
                done: std::mem::take(&mut state.changes).into(),
            },
            place,
            listeners: doors,
            trusted,
            operate: RuntimeApiClient::start("console/operate", OPERATE_LIMIT).map_err(said)?,
            reads: ProxyReaders::start().map_err(said)?,
            results: channel(),
            asks: Vec::new(),
            acting: BTreeMap::new(),
            reading: BTreeMap::new(),
            state_saver: StateSaver {
                state,
                bytes: Vec::new(),
                due: 0,
            },
            ended: Arc::default(),
            shared,
        };
        role.serve(opened, known)?;
        Ok(role)
    }

    fn serve(
        &self,
        doors: watch::Receiver<Option<Arc<ConsoleListener>>>,
        trusted: watch::Receiver<Option<Arc<TrustedNodes>>>,
    ) -> Result<(), String> {
        let (shared, ended) = (Arc::clone(&self.shared), Arc::clone(&self.ended));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(2)
            .build();
        let runtime = runtime.map_err(|error| language::reason(&error))?;
        let thread = thread::Builder::new().name("console/http".to_owned());
        let thread = thread.spawn(move || {
            // Sets the flag even after a panic.
            let _ended = SetWhenDropped(ended);
            let router = web::router(Arc::clone(&shared));
            let versions = versions::keep(Arc::clone(&shared));
            let far = far::run(trusted, shared);
            runtime.block_on(async {
                tokio::select! {
                    () = serve::run(doors, router) => {}
                    () = far => {}
                    () = versions => {}
                }
            });
            // Closes the connections that are still open.
            runtime.shutdown_background();
        });
        thread.map_err(|error| language::reason(&error))?;
        Ok(())
    }

    /// Switches to another configuration payload.
    ///
    /// # Errors
    /// The payload is invalid, the certificate or the address cannot be used, or the console is
    /// stopping. The current configuration stays in effect.
    pub fn change(&mut self, payload: &[u8]) -> Result<(), String> {
        let config = Config::read(payload)?;
        let before = self.shared.config();
        let of_door = |config: &Config| {
            let Config {
                address,
                security,
                proxies,
                accepts_proxy,
                ..
            } = config.clone();
            (address, security, proxies, accepts_proxy)
        };
        if of_door(&before) != of_door(&config) {
            let own = &self.state_saver.state.certificate;
            let open = self.listeners.borrow().clone();
            let door = match open {
                Some(open) => open.replace(&config, own)?,
                None => return Err("the console is stopping".to_owned()),
            };
            self.listeners.send_replace(Some(Arc::new(door)));
        }
        self.shared.set_config(config);
        Ok(())
    }

    pub fn apply_member_news(&mut self, news: &MemberNews) {
        let before = self.shared.admission();
        self.shared.apply_member_news(news);
        let after = self.shared.admission();
        if before != after {
            let words = match after {
                Admission::Admitted => "users can sign in",
                Admission::Unconfirmed | Admission::Outdated | Admission::Removed => {
                    "users cannot sign in: "
                }
            };
            write_error(&format!("evenkeel: console: {words}{}\n", after.why()));
            // Polls immediately, so that open pages end, or show the change.
            self.polls.due = 0;
        }
    }

    /// Returns the time at which [`ConsoleRole::do_pending_work`] has to be called next.
    pub fn due(&self) -> Instant {
        let gathers = self.polls.gather.as_ref().map(PollProgress::until);
        let due = gathers.unwrap_or(self.polls.due).min(self.state_saver.due);
        Instant::now() + Duration::from_millis(due.saturating_sub(boottime_ms()))
    }

    /// Returns a descriptor that is readable when [`ConsoleRole::do_pending_work`] has to be called
    /// earlier.
    pub fn wakes(&self) -> BorrowedFd<'_> {
        self.shared.wakes()
    }

    /// Handles the results, orders and queries of other threads, and starts, completes and saves
    /// what is due. Must be called after a wake-up, and at [`ConsoleRole::due`].
    pub fn do_pending_work(&mut self) {
        self.shared.reset_wakeup();
        while let Ok(came) = self.results.1.try_recv() {
            match came {
                RoleEvent::Traffic(number, Ok(text)) => {
                    let traffic = Box::new(Traffic::read(&text));
                    self.take(number, PollResponse::Traffic(traffic));
                }
                RoleEvent::Traffic(number, Err(words)) => {
                    self.take(number, PollResponse::Silent(words))
                }
                RoleEvent::Acted(order, answer) => self.finish_action(order, answer),
            }
        }
        while let Some(order) = self.shared.next_order() {
            self.execute_order(order);
        }
        while let Some(reading) = self.shared.next_reading() {
            let connection = match reading.ask {
                inquiry::ProxyQuery::Route(_) | inquiry::ProxyQuery::Files => {
                    self.connect((self.place.route)())
                }
                _ => self.connect((self.place.operate)(Level::Operator)),
            };
            self.reads.wait(reading, connection);
        }
        for connection in self.shared.connections() {
            // Ignores whether there is a control role: without one the connection is closed, which
            // the querying task notices.
            let number = self.next_number();
            self.asks.push(PartRequest {
                number,
                message: SupervisorMessage::Part(Box::new((self.place.versions)())),
                descriptors: vec![Arc::new(connection)],
            });
        }
        self.advance_poll();
        self.save_if_due();
    }

    fn advance_poll(&mut self) {
        let now = boottime_ms();
        if self
            .polls
            .gather
            .as_ref()
            .is_some_and(|one| one.is_complete(now))
        {
            self.publish_poll(now);
        }
        let seen = self.shared.watchers.has_any_watchers();
        let interval = if seen { SEEN_MS } else { UNSEEN_MS };
        self.polls.due = self.polls.due.min(now + interval);
        if self.polls.gather.is_some() || now < self.polls.due {
            return;
        }
        self.polls.due = now + interval;
        self.reading.clear();
        let mut questions = Vec::new();
        for part in (self.place.parts)() {
            let number = self.next_number();
            let message = SupervisorMessage::TellReport {
                part: part.to_owned(),
            };
            self.asks.push(PartRequest {
                number,
                message,
                descriptors: Vec::new(),
            });
            questions.push((number, PollQuery::Report(part)));
        }
        if let Some((number, connection)) = self.connect((self.place.operate)(Level::User)) {
            self.reading.insert(number, connection);
            questions.push((number, PollQuery::Traffic));
        }
        self.polls.gather = Some(PollProgress::begin(questions, now));
    }

    fn next_number(&mut self) -> u64 {
        self.polls.number += 1;
        self.polls.number
    }

    /// Sends a message with one end of a connection, and returns the other one.
    fn connect(&mut self, message: PartMessage) -> Option<(u64, UnixStream)> {
        let (own, other) = UnixStream::pair().ok()?;
        let number = self.next_number();
        self.asks.push(PartRequest {
            number,
            message: SupervisorMessage::Part(Box::new(message)),
            descriptors: vec![Arc::new(OwnedFd::from(other))],
        });
        Some((number, own))
    }

    fn publish_poll(&mut self, now: u64) {
        let Some(gather) = self.polls.gather.take() else {
            return;
        };
        let parts = (self.place.parts)();
        let mut look = gather.into_report(&(self.place.host)(), std::process::id(), &parts);
        if let Some(before) = &self.polls.last {
            look.merge_changes(before);
            if look.changes.back() != before.changes.back() {
                self.state_saver.due = self.state_saver.due.min(now + KEEP_CHANGES_MS);
            }
        }
        for one in std::mem::take(&mut self.polls.done) {
            look.note(one);
        }
        self.follow_members(&mut look, now);
        if let Some(traffic) = &look.traffic {
            Arc::make_mut(&mut self.polls.history).add_rows(&traffic.rows, now / 1_000);
        }
        let look = Arc::new(look);
        self.polls.last = Some(Arc::clone(&look));
        match members::cluster_of(&look) {
            Some(report) => self.polls.cluster = Some(report.clone()),
            None if !members::has_silent_cluster(&look) => self.polls.cluster = None,
            None => {}
        }
        let report = self.polls.cluster.as_ref();
        let members = members::of(look, report, &lock(&self.shared.others).by_name);
        let history = Arc::clone(&self.polls.history);
        self.shared.publish(members, history);
    }

    fn follow_members(&mut self, look: &mut MachineReport, now: u64) {
        let Some(report) = changes::settled(look).cloned() else {
            return;
        };
        if let Some(before) = &self.polls.settled {
            let all = changes::between(before, &report, Moment::now());
            if !all.is_empty() {
                self.state_saver.due = self.state_saver.due.min(now + KEEP_CHANGES_MS);
            }
            all.into_iter().for_each(|one| look.note(one));
        }
        self.polls.settled = Some(report);
    }

    fn take(&mut self, number: u64, answer: PollResponse) {
        if let Some(gather) = &mut self.polls.gather {
            gather.add_response(number, answer);
        }
    }

    pub fn trust(&self, trusted: TrustedNodes) {
        let before = self.trusted.borrow().clone();
        let trusted = trusted.continue_from(before.as_deref());
        self.trusted.send_replace(Some(Arc::new(trusted)));
    }

    /// Returns the pending queries to other processes, and clears them.
    pub fn take_queries(&mut self) -> Vec<PartRequest> {
        std::mem::take(&mut self.asks)
    }

    pub fn handle_response(&mut self, answer: Received) {
        let number = answer.ask;
        let missing = match &answer.message {
            SupervisorMessage::Nobody { words, missing } => Some((words.clone(), *missing)),
            _ => None,
        };
        let why = missing.as_ref().map(|(words, _)| words.as_str());
        if self.reads.connected(number, why) {
            // Does nothing: the other thread delivers the response to the querying task.
        } else if let Some(acting) = self.acting.remove(&number) {
            match missing {
                Some((words, _)) => self.finish_action(acting.order, Err(words)),
                None => self.send(acting, &answer.message),
            }
        } else if let Some((words, missing)) = missing {
            let answer = if missing {
                PollResponse::Silent(words)
            } else {
                PollResponse::Nothing
            };
            self.take(number, answer);
        } else if let Some(connection) = self.reading.remove(&number) {
            let (sender, shared) = (self.results.0.clone(), Arc::clone(&self.shared));
            let (command, max) = (traffic::ASK.to_vec(), traffic::BYTES_MAX);
            self.operate.send(connection, command, max, move |answer| {
                // Ignores an error: the role may have ended.
                let _ = sender.send(RoleEvent::Traffic(number, answer));
                shared.wake();
            });
        } else {
            let answer = match read_report(&answer) {
                Ok(report) => PollResponse::Report(report),
                Err(words) => PollResponse::Silent(words),
            };
            self.take(number, answer);
        }
        self.advance_poll();
    }

    fn execute_order(&mut self, mut order: UserOrder) {
        // Refuses orders on a removed node: other nodes may have sent them before they learned of
        // the removal.
        if self.shared.admission() == Admission::Removed {
            let words = Admission::Removed.why().to_owned();
            return self.finish_action(order, Err(words));
        }
        if self.acting.len() >= ACTING_MAX {
            let words = "too many actions are in progress: try again".to_owned();
            return self.finish_action(order, Err(words));
        }
        let asked = match &order.action {
            OperatorAction::Server { .. } | OperatorAction::Entry { .. } => {
                let connected = self.connect((self.place.operate)(Level::Admin));
                let connected = connected.map(|(number, own)| (number, Some(own)));
                connected.ok_or_else(|| "no connection to the proxy".to_owned())
            }
            OperatorAction::Offer { .. } => self
                .send_offered_action(&mut order)
                .map(|number| (number, None)),
        };
        match asked {
            Ok((number, connection)) => {
                self.acting
                    .insert(number, RunningAction { connection, order });
            }
            Err(words) => self.finish_action(order, Err(words)),
        }
    }

    fn send_offered_action(&mut self, order: &mut UserOrder) -> Result<u64, String> {
        let look = self.polls.last.clone();
        let offer = look.as_deref().and_then(|look| order.action.offer(look));
        let (Some(offer), OperatorAction::Offer { part, .. }) = (offer, &order.action) else {
            return Err("this is no longer possible: the page shows the current state".to_owned());
        };
        if offer.level == Level::Admin && order.by.role < UserRole::Admin {
            return Err("this requires the role `admin`".to_owned());
        }
        let connection = order.connection.take();
        if offer.opens.is_some() != connection.is_some() {
            return Err("this action opens a separate page".to_owned());
        }
        let number = self.next_number();
        let message = PartMessage {
            part: part.clone(),
            kind: offer.kind,
            holds: false,
            bytes: offer.bytes.clone(),
            by: format!("{}, at the web console", order.by.name),
        };
        self.asks.push(PartRequest {
            number,
            message: SupervisorMessage::Part(Box::new(message)),
            descriptors: connection.into_iter().map(Arc::new).collect(),
        });
        Ok(number)
    }

    fn send(&mut self, acting: RunningAction, answer: &SupervisorMessage) {
        let RunningAction { connection, order } = acting;
        match (connection, order.action.command(), &order.action) {
            (Some(connection), Some(command), _) => {
                let (sender, shared) = (self.results.0.clone(), Arc::clone(&self.shared));
                let then = move |answer| {
                    let _ = sender.send(RoleEvent::Acted(order, answer));
                    shared.wake();
                };
                let command = command.into_bytes();
                self.operate.send(connection, command, REPLY_MAX, then);
            }
            (_, _, OperatorAction::Offer { .. }) => {
                let answer = match answer {
                    SupervisorMessage::Answer { bytes } => OrderResponse::read(bytes),
                    _ => Err("the part does not support this action".to_owned()),
                };
                self.finish_action(order, answer);
            }
            _ => self.finish_action(order, Err(String::new())),
        }
    }

    /// Ends an action. A response that is no error contains a description of the outcome, or is
    /// empty.
    fn finish_action(&mut self, order: UserOrder, answer: Result<String, String>) {
        let (what, word) = (order.action.object(), order.action.done());
        let asked = order.action.word().to_owned();
        let by = order.by.shown();
        // Treats a response as an error, because the proxy sends one only if it did not execute the
        // command.
        let answer = match (answer, &order.action) {
            (Ok(said), action @ (OperatorAction::Server { .. } | OperatorAction::Entry { .. })) => {
                action.outcome(&said).map(|()| String::new())
            }
            (answer, _) => answer,
        };
        let outcome = answer.map(|said| match said.trim() {
            "" => format!("{what}: {word}"),
            said => format!("{what}: {word}: {said}"),
        });
        let (to, why) = match &outcome {
            Ok(_) => (word, format!("by {by}")),
            Err(words) => ("refused".to_owned(), format!("{asked}, by {by}: {words}")),
        };
        let event = Event {
            at: Moment::now(),
            from: String::new(),
            to,
            why,
        };
        if order.is_noted || outcome.is_err() {
            self.polls.done.push((what, event));
            write_error(&format!(
                "evenkeel: console: {by} ({}): {}\n",
                order.by.role.word(),
                outcome.as_deref().unwrap_or_else(|words| words)
            ));
        }
        // Ignores an error: the waiting task may have ended.
        let _ = order.reply.send(outcome);
        // Polls immediately, so that the pages show the effect, and saves the state immediately, so
        // that the event is not lost.
        self.polls.due = 0;
        self.state_saver.due = 0;
    }

    pub fn report(&self) -> StatusReport {
        let config = self.shared.config();
        let subject = Subject::new("console", &config.address.to_string())
            .number("live", self.shared.watchers.live() as u64);
        let admission = self.shared.admission();
        let mut subject = match admission {
            _ if !self.is_listening() => subject.state("not listening", Grade::Bad),
            Admission::Admitted => subject.state("serving", Grade::Good),
            Admission::Removed => subject.state("removed", Grade::Bad),
            Admission::Unconfirmed | Admission::Outdated => subject.state("waits", Grade::Busy),
        };
        subject.why = admission.why().to_owned();
        StatusReport {
            part: crate::keyword::NAME.to_owned(),
            at: Moment::now(),
            subjects: vec![subject],
            rows: vec![part::report::NumberRow::new(
                "live",
                "evenkeel_console_live_pages",
                "Open pages with live updates.",
            )],
        }
    }

    fn is_listening(&self) -> bool {
        let listens = self.listeners.borrow();
        let listens = listens.as_ref().is_some_and(|listener| listener.listens());
        listens && !self.has_stopped()
    }

    /// Creates a link that signs in once.
    ///
    /// # Errors
    /// The node was removed from the cluster, or the system has no random numbers.
    pub fn link(&self) -> Result<SignInLink, String> {
        if self.shared.admission() == Admission::Removed {
            let why = Admission::Removed.why();
            return Err(format!(
                "{why}: nobody can sign in at its console; use that of another node"
            ));
        }
        let config = self.shared.config();
        let secret = lock(&self.shared.links).make(now_s())?;
        let (certificate, is_plain) = match &config.security {
            crate::config::Security::Own => (&self.state_saver.state.certificate[..], false),
            crate::config::Security::Certificate(pem) => (&pem[..], false),
            crate::config::Security::Plain => (&[][..], true),
        };
        Ok(SignInLink {
            address: config.address,
            host: (self.place.host)(),
            path: format!("/once/{secret}"),
            is_plain,
            fingerprint: certificate::fingerprint(certificate),
        })
    }

    fn save_if_due(&mut self) {
        let now = boottime_ms();
        let sessions = lock(&self.shared.authentication.sessions).saved_state();
        if now < self.state_saver.due && sessions == self.state_saver.state.sessions {
            return;
        }
        self.state_saver.due = now + KEEP_MS;
        self.state_saver.state.sessions = sessions;
        self.state_saver.state.history = (*self.polls.history).clone();
        let last = self.polls.last.as_ref();
        self.state_saver.state.changes = last.map(|last| last.changes.clone()).unwrap_or_default();
        self.state_saver
            .state
            .members
            .clone_from(&self.polls.settled);
        self.state_saver.bytes = self.state_saver.state.encode();
        self.state_saver.state.history = History::default();
    }

    pub fn kept(&self) -> Vec<u8> {
        self.state_saver.bytes.clone()
    }

    pub fn stop(&mut self) {
        self.state_saver.due = 0;
        self.save_if_due();
        self.listeners.send_replace(None);
    }

    pub fn has_stopped(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }
}

/// Flag that is set when this value is dropped.
struct SetWhenDropped(Arc<AtomicBool>);

impl Drop for SetWhenDropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

fn read_report(answer: &Received) -> Result<StatusReport, String> {
    let file = answer.descriptors.first();
    let file = file.ok_or("it sent no report")?;
    let bytes = memory::check(file, BYTES_MAX).and_then(|_| memory::read(file));
    let bytes = bytes.map_err(|error| error.to_string())?;
    StatusReport::decode(&bytes).map_err(|error| error.to_string())
}
