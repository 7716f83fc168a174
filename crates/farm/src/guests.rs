//! What the portals ask of the part that has the guests: which of them can be opened, and to open one.
//! The threads of the web put their questions in; the main thread of the role sends them.

use part::channel::Received;
use part::report::{BYTES_MAX, Offer, Opens, Report, State};
use part::role::{Level, Message, PartMessage};
use part::work::Question;
use part::{lock, memory};
use rustix::event::{EventfdFlags, eventfd};
use screen::library::Libraries;
use screen::open::Screens;
use screen::standing::ON;
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

/// How long what the part said counts as new.
const NEW: Duration = Duration::from_millis(500);
/// How long its report may take, and a connection to a guest.
const REPORT_LIMIT: Duration = Duration::from_secs(3);
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Questions that wait to be sent.
const ASKS_MAX: usize = 64;

/// The part that has the guests, as the program knows it.
#[derive(Clone, Copy)]
pub struct Source {
    /// Its name.
    pub part: &'static str,
    /// The state of a guest that another node has, which knows more of it.
    pub elsewhere: &'static str,
    /// What its answer to a message says: what was done, or why not.
    pub outcome: fn(&[u8]) -> Result<String, String>,
}

/// A guest of which something can be opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Guest {
    /// Its name.
    pub name: String,
    /// How it is; None: another node knows that.
    pub state: Option<State>,
    /// Its node; empty: it is not known.
    pub on: String,
    /// What can be opened, and the message that does it.
    pub offers: Vec<(Opens, PartMessage)>,
}

/// All guests of which something can be opened, or why they are not known.
pub type Known = Result<Arc<Vec<Guest>>, String>;

/// What portals ask.
pub struct Guests {
    asks: Mutex<Vec<Ask>>,
    wake: OwnedFd,
    /// The role has to keep what it knows at once.
    keeps: AtomicBool,
    /// What the part said last, and when.
    known: watch::Sender<Option<(Instant, Known)>>,
    /// What draws displays and terminals.
    pub libraries: Libraries,
    /// Those that are open.
    pub screens: Arc<Screens>,
}

/// A question.
enum Ask {
    /// Which guests there are.
    Report,
    /// To speak over a connection.
    Open {
        message: PartMessage,
        connection: OwnedFd,
        reply: oneshot::Sender<Result<String, String>>,
    },
}

impl Guest {
    /// Whether this can be opened of it.
    pub fn opens(&self, what: Opens) -> bool {
        self.message(what).is_some()
    }

    fn message(&self, what: Opens) -> Option<&PartMessage> {
        let found = self.offers.iter().find(|(opens, _)| *opens == what);
        found.map(|(_, message)| message)
    }

    /// The guests of a report.
    fn of(report: Report, elsewhere: &str) -> Vec<Guest> {
        let part = report.part;
        let subjects = report.subjects.into_iter().map(|subject| {
            let on = subject.words(ON).unwrap_or_default();
            let may = |offer: &Offer| offer.level != Level::Admin;
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
                state: Some(subject.state).filter(|state| state.word != elsewhere),
                on,
                offers: opens.collect(),
            }
        });
        subjects.filter(|guest| !guest.offers.is_empty()).collect()
    }
}

impl Guests {
    /// What portals ask, with what draws it.
    ///
    /// # Errors
    /// The system has no descriptor left.
    pub fn new(libraries: Libraries) -> io::Result<Guests> {
        Ok(Guests {
            asks: Mutex::default(),
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            keeps: AtomicBool::new(false),
            known: watch::Sender::new(None),
            libraries,
            screens: Arc::default(),
        })
    }

    /// False: too many questions wait.
    fn ask(&self, ask: Ask) -> bool {
        let mut asks = lock(&self.asks);
        if asks.len() >= ASKS_MAX {
            return false;
        }
        asks.push(ask);
        drop(asks);
        self.wakes();
        true
    }

    fn wakes(&self) {
        // If it is full, it wakes.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    /// Has the role keep for its successor what it knows, without the usual delay.
    pub fn keep(&self) {
        self.keeps.store(true, Ordering::Release);
        self.wakes();
    }

    /// Whether it has to, once.
    pub fn take_keeps(&self) -> bool {
        self.keeps.swap(false, Ordering::AcqRel)
    }

    /// All guests of which something can be opened.
    ///
    /// # Errors
    /// Why they are not known, in words.
    pub async fn all(&self) -> Known {
        let mut news = self.known.subscribe();
        let newest = |known: &Option<(Instant, Known)>| {
            let known = known.as_ref().filter(|(at, _)| at.elapsed() < NEW);
            known.map(|(_, known)| known.clone())
        };
        if let Some(known) = newest(&news.borrow_and_update()) {
            return known;
        }
        self.ask(Ask::Report);
        match timeout(REPORT_LIMIT, news.changed()).await {
            Ok(Ok(())) => {
                let known = news.borrow().clone();
                known.map_or_else(|| Ok(Arc::default()), |(_, known)| known)
            }
            _ => Err("The guests do not respond.".to_owned()),
        }
    }

    /// Has the part speak over a connection for somebody, of which the other end is returned.
    ///
    /// # Errors
    /// Why it does not, in words.
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
        let is_asked = self.ask(Ask::Open {
            message,
            connection: OwnedFd::from(other),
            reply,
        });
        if !is_asked {
            return Err("Too much is asked at once: try again.".to_owned());
        }
        match timeout(CONNECT_LIMIT, answer).await {
            Ok(Ok(done)) => done.map(|_| own),
            _ => Err("There was no answer in time.".to_owned()),
        }
    }
}

/// The main thread's end: it sends what is asked, and takes the answers.
pub struct Asker {
    source: Source,
    guests: Arc<Guests>,
    number: u64,
    /// The question for a report that is under way, and when it was sent.
    report: Option<(u64, Instant)>,
    opening: BTreeMap<u64, oneshot::Sender<Result<String, String>>>,
    questions: Vec<Question>,
}

impl Asker {
    /// The end of these questions.
    pub fn new(source: Source, guests: Arc<Guests>) -> Asker {
        Asker {
            source,
            guests,
            // The supervisor may still answer what a role before this one asked.
            number: u64::from(std::process::id()) << 32,
            report: None,
            opening: BTreeMap::new(),
            questions: Vec::new(),
        }
    }

    /// What the portals see of it.
    pub fn guests(&self) -> &Arc<Guests> {
        &self.guests
    }

    /// Readable when [`Asker::turn`] has something to do.
    pub fn wakes(&self) -> BorrowedFd<'_> {
        self.guests.wake.as_fd()
    }

    /// Takes in what is asked.
    pub fn turn(&mut self) {
        // Nothing of it is needed.
        let _ = rustix::io::read(&self.guests.wake, &mut [0; 8]);
        // A supervisor that went away answers no question of before.
        self.opening.retain(|_, reply| !reply.is_closed());
        let asks = std::mem::take(&mut *lock(&self.guests.asks));
        for ask in asks {
            match ask {
                Ask::Report => self.ask_for_report(),
                Ask::Open {
                    message,
                    connection,
                    reply,
                } => {
                    let number = self.send(Message::Part(Box::new(message)), Some(connection));
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
        let number = self.send(Message::TellReport { part }, None);
        self.report = Some((number, Instant::now()));
    }

    fn send(&mut self, message: Message, connection: Option<OwnedFd>) -> u64 {
        self.number += 1;
        self.questions.push(Question {
            number: self.number,
            message,
            descriptors: connection.into_iter().map(Arc::new).collect(),
        });
        self.number
    }

    /// Takes out the questions.
    pub fn asks(&mut self) -> Vec<Question> {
        std::mem::take(&mut self.questions)
    }

    /// Takes an answer. One to a question of somebody else is ignored.
    pub fn answered(&mut self, answer: &Received) {
        if let Some(reply) = self.opening.remove(&answer.ask) {
            let outcome = match &answer.message {
                Message::Answer { bytes } => (self.source.outcome)(bytes),
                Message::Nobody { words, .. } => Err(words.clone()),
                _ => Err("the part does not know this".to_owned()),
            };
            // Who waits for it may have gone.
            let _ = reply.send(outcome);
        } else if self.report.is_some_and(|(number, _)| number == answer.ask) {
            self.report = None;
            let known = (Instant::now(), read(answer, self.source.elsewhere));
            self.guests.known.send_replace(Some(known));
        }
    }
}

/// Reads the guests of an answer. A configuration without guests has none.
fn read(answer: &Received, elsewhere: &str) -> Known {
    if let Message::Nobody { words, missing } = &answer.message {
        return match missing {
            true => Err(words.clone()),
            false => Ok(Arc::default()),
        };
    }
    let file = answer.descriptors.first();
    let file = file.ok_or("The guests do not say how they are.")?;
    let bytes = memory::check(file, BYTES_MAX).and_then(|_| memory::read(file));
    let bytes = bytes.map_err(|error| error.to_string())?;
    let report = Report::decode(&bytes).map_err(|error| error.to_string())?;
    Ok(Arc::new(Guest::of(report, elsewhere)))
}
