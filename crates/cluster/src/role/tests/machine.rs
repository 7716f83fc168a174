//! Simulates a machine that serves nothing, and records its requests.

use crate::authority::PartCredentials;
use crate::file_set::FileSet;
use crate::machine::{Health, MachineVerdict, News, ServingMachine};
use crate::message::Recorded;
use part::role::{KnownLease, MemberNews, VersionStanding, WantedLease};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

/// Text of a file with which nothing starts.
pub const BAD: &str = "a mistake";
/// Text of a file with which every request fails.
pub const WORSE: &str = "errors";

#[derive(Clone, Debug, Default)]
pub struct Shows {
    pub serves: Option<String>,
    /// Version to which it would roll back.
    pub former: Option<Option<String>>,
    /// All versions that it ever served, in order.
    pub history: Vec<String>,
    pub held: Vec<KnownLease>,
    pub informed_parts: BTreeSet<String>,
    /// Outcomes of records, by the numbers of their requests.
    pub recorded: Vec<(u64, Recorded)>,
    pub handed_over: Vec<String>,
    /// Credentials that the control role passed on for another role, in order.
    pub credentials: Vec<PartCredentials>,
    pub lease_reports: usize,
    /// Changes of the machine's version status since the start of the role.
    pub standings: Vec<VersionStanding>,
    requests: u64,
    errors: u64,
}

#[derive(Clone, Debug, Default)]
pub struct Fake {
    shows: Arc<Mutex<Shows>>,
    stop: Arc<Notify>,
    news: Arc<Mutex<Vec<News>>>,
}

impl Fake {
    pub fn shows(&self) -> Shows {
        self.shows.lock().unwrap().clone()
    }

    /// Returns the version that it serves, unless that is a candidate.
    pub fn settled(&self) -> Option<String> {
        let shows = self.shows();
        shows.serves.filter(|_| shows.former.is_none())
    }

    pub fn begin_with(&self, set: &FileSet) {
        self.shows.lock().unwrap().serves = Some(text(set));
    }

    pub fn stop(&self) {
        self.tell(News::Stop);
    }

    pub fn tell(&self, news: News) {
        self.news.lock().unwrap().push(news);
        self.stop.notify_one();
    }
}

fn text(set: &FileSet) -> String {
    let bytes = &set.files[0].bytes;
    String::from_utf8(bytes.clone()).unwrap()
}

fn good() -> MachineVerdict {
    MachineVerdict {
        good: true,
        ..MachineVerdict::default()
    }
}

impl ServingMachine for Fake {
    async fn check(&self, set: Arc<FileSet>) -> MachineVerdict {
        if text(&set).contains(BAD) {
            MachineVerdict {
                good: false,
                words: format!("{}:1: there is {BAD} here", set.files[0].path),
                ..MachineVerdict::default()
            }
        } else {
            good()
        }
    }

    async fn serve(&self, set: Arc<FileSet>, trial: bool) -> MachineVerdict {
        let mut shows = self.shows.lock().unwrap();
        let former = shows.serves.clone();
        let text = text(&set);
        shows.former = trial.then_some(former);
        shows.history.push(text.clone());
        shows.serves = Some(text);
        good()
    }

    async fn accept(&self) -> MachineVerdict {
        self.shows.lock().unwrap().former = None;
        good()
    }

    async fn revert(&self) -> MachineVerdict {
        let mut shows = self.shows.lock().unwrap();
        if let Some(former) = shows.former.take() {
            shows.serves = former;
        }
        good()
    }

    async fn health(&self) -> Option<Health> {
        let mut shows = self.shows.lock().unwrap();
        shows.requests += 100;
        if shows.serves.as_ref().is_some_and(|text| text == WORSE) {
            shows.errors += 100;
        }
        Some(Health {
            requests: shows.requests,
            errors: shows.errors,
            servers_up: 2,
            servers: 2,
            ..Health::default()
        })
    }

    async fn hold(&self, parts: BTreeSet<String>, leases: Vec<KnownLease>) {
        let mut shows = self.shows.lock().unwrap();
        shows.informed_parts.extend(parts);
        shows.held = leases;
        shows.lease_reports += 1;
    }

    async fn report_standing(&self, news: MemberNews) {
        let mut shows = self.shows.lock().unwrap();
        if shows.standings.last() != Some(&news.version) {
            shows.standings.push(news.version);
        }
    }

    fn certified(&self) -> Vec<&'static str> {
        vec!["volume"]
    }

    async fn certify(&self, credentials: PartCredentials) {
        self.shows.lock().unwrap().credentials.push(credentials);
    }

    async fn recorded(&self, ask: u64, outcome: Recorded) {
        self.shows.lock().unwrap().recorded.push((ask, outcome));
    }

    async fn hand_over(&self, lease: String) {
        self.shows.lock().unwrap().handed_over.push(lease);
        self.tell(wants_leases(Vec::new()));
    }

    async fn news(&self) -> News {
        loop {
            let next = {
                let mut news = self.news.lock().unwrap();
                (!news.is_empty()).then(|| news.remove(0))
            };
            match next {
                Some(news) => return news,
                None => self.stop.notified().await,
            }
        }
    }
}

pub fn wants_leases(leases: Vec<WantedLease>) -> News {
    let part = "address".to_owned();
    News::WantsLeases { part, leases }
}
