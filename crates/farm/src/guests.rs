//! Sends the portals' requests to the role that runs the guests (virtual machines): to list them,
//! and to open a display or terminal. The threads of the web server queue requests; the main thread
//! of the farm role sends them.

use part::channel::Received;
use part::report::{BYTES_MAX, Opens, StatusReport, SubjectAction, SubjectState};
use part::role::{Level, OrderResponse, PartMessage, SupervisorMessage};
use part::status::{GuestReport, GuestState};
use part::wake::WakeEvent;
use part::work::PartRequest;
use part::{lock, memory};
use screen::library::Libraries;
use screen::open::Screens;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::UnixStream;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

/// Time for which a received report counts as current.
const NEW: Duration = Duration::from_millis(500);
const REPORT_LIMIT: Duration = Duration::from_secs(3);
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
const ASKS_MAX: usize = 64;

/// Name of the role that runs the guests, as the evenkeel binary provides it.
#[derive(Clone, Copy)]
pub struct GuestProvider {
    pub part: &'static str,
}

/// A guest that has a display or a terminal to open.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Guest {
    pub name: String,
    /// State of the guest; None if only another node knows it.
    pub state: Option<SubjectState>,
    /// Node of the guest; empty if it is not known.
    pub on: String,
    /// Displays and terminals that can be opened, with the message that opens each.
    pub offers: Vec<(Opens, PartMessage)>,
}

/// All guests whose display or terminal can be opened, or the reason why they are not known.
pub type GuestList = Result<Arc<Vec<Guest>>, String>;

/// Requests of the portals, and the state that they share.
pub struct Guests {
    asks: Mutex<Vec<GuestRequest>>,
    wake: WakeEvent,
    keeps: AtomicBool,
    /// Last report of the guest role, and the time at which it arrived.
    known: watch::Sender<Option<(Instant, GuestList)>>,
    pub libraries: Libraries,
    pub screens: Arc<Screens>,
}

enum GuestRequest {
    Report,
    Open {
        message: PartMessage,
        connection: OwnedFd,
        reply: oneshot::Sender<Result<String, String>>,
    },
}

impl Guest {
    pub fn opens(&self, what: Opens) -> bool {
        self.message(what).is_some()
    }

    fn message(&self, what: Opens) -> Option<&PartMessage> {
        let found = self.offers.iter().find(|(opens, _)| *opens == what);
        found.map(|(_, message)| message)
    }

    fn of(report: StatusReport) -> Vec<Guest> {
        let part = report.part;
        let subjects = report.subjects.into_iter().map(|subject| {
            let guest = GuestReport::of(&subject);
            let may = |offer: &SubjectAction| offer.level != Level::Admin;
            let offers = subject.offers.into_iter().filter(may);
            let opens = offers.filter_map(|offer| {
                let message = PartMessage {
                    part: part.clone(),
                    kind: offer.kind,
                    holds: false,
                    bytes: offer.bytes,
                    by: String::new(),
                };
                Some((offer.opens?, message))
            });
            Guest {
                name: subject.name,
                // Hides the state of a guest of another node, because only that node knows it.
                state: Some(subject.state).filter(|_| guest.state != GuestState::Elsewhere),
                on: guest.node,
                offers: opens.collect(),
            }
        });
        subjects.filter(|guest| !guest.offers.is_empty()).collect()
    }
}

impl Guests {
    /// Creates an empty queue; `libraries` draw the screens.
    ///
    /// # Errors
    /// Fails if the system has no descriptor left.
    pub fn new(libraries: Libraries) -> io::Result<Guests> {
        Ok(Guests {
            asks: Mutex::default(),
            wake: WakeEvent::new()?,
            keeps: AtomicBool::new(false),
            known: watch::Sender::new(None),
            libraries,
            screens: Arc::default(),
        })
    }

    fn queue_request(&self, ask: GuestRequest) -> bool {
        let mut asks = lock(&self.asks);
        if asks.len() >= ASKS_MAX {
            return false;
        }
        asks.push(ask);
        drop(asks);
        self.wake.wake();
        true
    }

    /// Makes the role save its state for its next process immediately.
    pub fn request_save(&self) {
        self.keeps.store(true, Ordering::Release);
        self.wake.wake();
    }

    /// Returns whether the state has to be saved immediately, and resets the flag.
    pub fn take_save_request(&self) -> bool {
        self.keeps.swap(false, Ordering::AcqRel)
    }

    /// Returns all guests that have something to open.
    ///
    /// # Errors
    /// Returns why the guests are not known.
    pub async fn all(&self) -> GuestList {
        let mut news = self.known.subscribe();
        let newest = |known: &Option<(Instant, GuestList)>| {
            let known = known.as_ref().filter(|(at, _)| at.elapsed() < NEW);
            known.map(|(_, known)| known.clone())
        };
        if let Some(known) = newest(&news.borrow_and_update()) {
            return known;
        }
        self.queue_request(GuestRequest::Report);
        match timeout(REPORT_LIMIT, news.changed()).await {
            Ok(Ok(())) => {
                let known = news.borrow().clone();
                known.map_or_else(|| Ok(Arc::default()), |(_, known)| known)
            }
            _ => Err("The guest role does not respond.".to_owned()),
        }
    }

    /// Has the guest role open a screen for a user over a new connection. Returns the other end of
    /// that connection.
    ///
    /// # Errors
    /// Returns why the screen cannot be opened.
    pub async fn open(&self, guest: &Guest, what: Opens, by: &str) -> Result<UnixStream, String> {
        let words = |error: io::Error| language::reason(&error);
        let message = PartMessage {
            by: by.to_owned(),
            ..guest.message(what).ok_or("It has none.")?.clone()
        };
        let (own, other) = StdStream::pair().map_err(words)?;
        own.set_nonblocking(true).map_err(words)?;
        let own = UnixStream::from_std(own).map_err(words)?;
        let (reply, answer) = oneshot::channel();
        let is_asked = self.queue_request(GuestRequest::Open {
            message,
            connection: OwnedFd::from(other),
            reply,
        });
        if !is_asked {
            return Err("Too many requests are pending: try again.".to_owned());
        }
        match timeout(CONNECT_LIMIT, answer).await {
            Ok(Ok(done)) => done.map(|_| own),
            _ => Err("No response in time.".to_owned()),
        }
    }
}

/// Main thread's end of the queue: sends the requests, and receives the responses.
pub struct Asker {
    source: GuestProvider,
    guests: Arc<Guests>,
    number: u64,
    /// Number of the pending report request, and the time at which it was sent.
    report: Option<(u64, Instant)>,
    opening: BTreeMap<u64, oneshot::Sender<Result<String, String>>>,
    questions: Vec<PartRequest>,
}

impl Asker {
    pub fn new(source: GuestProvider, guests: Arc<Guests>) -> Asker {
        Asker {
            source,
            guests,
            // Starts at a number that differs between processes, because the supervisor may still
            // respond to requests of a previous role process.
            number: u64::from(std::process::id()) << 32,
            report: None,
            opening: BTreeMap::new(),
            questions: Vec::new(),
        }
    }

    pub fn guests(&self) -> &Arc<Guests> {
        &self.guests
    }

    /// Returns a descriptor that becomes readable when `move_queued_requests` has to be called.
    pub fn wake_descriptor(&self) -> BorrowedFd<'_> {
        self.guests.wake.as_fd()
    }

    /// Moves queued requests to the outgoing ones, and drops those whose caller is gone.
    pub fn move_queued_requests(&mut self) {
        // Resets the counter, whose value is not needed.
        self.guests.wake.reset();
        // Drops requests without a caller, because some never get a response: a supervisor that has
        // restarted does not know earlier ones.
        self.opening.retain(|_, reply| !reply.is_closed());
        let asks = std::mem::take(&mut *lock(&self.guests.asks));
        for ask in asks {
            match ask {
                GuestRequest::Report => self.ask_for_report(),
                GuestRequest::Open {
                    message,
                    connection,
                    reply,
                } => {
                    let number =
                        self.send(SupervisorMessage::Part(Box::new(message)), Some(connection));
                    self.opening.insert(number, reply);
                }
            }
        }
    }

    fn ask_for_report(&mut self) {
        if self
            .report
            .is_some_and(|(_, at)| at.elapsed() < REPORT_LIMIT)
        {
            return;
        }
        let part = self.source.part.to_owned();
        let number = self.send(SupervisorMessage::TellReport { part }, None);
        self.report = Some((number, Instant::now()));
    }

    fn send(&mut self, message: SupervisorMessage, connection: Option<OwnedFd>) -> u64 {
        self.number += 1;
        self.questions.push(PartRequest {
            number: self.number,
            message,
            descriptors: connection.into_iter().map(Arc::new).collect(),
        });
        self.number
    }

    pub fn take_outgoing_requests(&mut self) -> Vec<PartRequest> {
        std::mem::take(&mut self.questions)
    }

    /// Handles a response. A response to another request is ignored.
    pub fn handle_guest_response(&mut self, answer: &Received) {
        if let Some(reply) = self.opening.remove(&answer.ask) {
            let outcome = match &answer.message {
                SupervisorMessage::Answer { bytes } => OrderResponse::read(bytes),
                SupervisorMessage::Nobody { words, .. } => Err(words.clone()),
                _ => Err("the part does not support this action".to_owned()),
            };
            // Ignores an error: the receiver is gone if the client has disconnected.
            let _ = reply.send(outcome);
        } else if self.report.is_some_and(|(number, _)| number == answer.ask) {
            self.report = None;
            let known = (Instant::now(), read(answer));
            self.guests.known.send_replace(Some(known));
        }
    }
}

/// Reads the guests of a response. A configuration without guests has none.
fn read(answer: &Received) -> GuestList {
    if let SupervisorMessage::Nobody { words, missing } = &answer.message {
        return if *missing {
            Err(words.clone())
        } else {
            Ok(Arc::default())
        };
    }
    let file = answer.descriptors.first();
    let file = file.ok_or("The guest role sent no report.")?;
    let bytes = memory::check(file, BYTES_MAX).and_then(|_| memory::read(file));
    let bytes = bytes.map_err(|error| error.to_string())?;
    let report = StatusReport::decode(&bytes).map_err(|error| error.to_string())?;
    Ok(Arc::new(Guest::of(report)))
}
