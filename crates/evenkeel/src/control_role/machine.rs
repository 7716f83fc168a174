//! Implements the interface of [`cluster::role`] to the local machine by messages to the
//! supervisor: checks, serves, accepts and reverts configuration versions, collects reports of the
//! parts, and passes leases and membership to them. The files of a version are passed in sealed
//! memory files.

use super::link::SupervisorLink;
use address::role::{FAULT, HEALTH, VIRTUAL_IP};
use cluster::authority::PartCredentials;
use cluster::background::Background;
use cluster::file_set::FileSet;
use cluster::history::Redaction;
use cluster::machine::{
    Health, MachineVerdict, News, Observed, Parts, REASON_MAX, ROUTERS_MAX, RouterStatus, Routing,
    ServingMachine,
};
use cluster::message::{PART, Recorded};
use cluster_command::mask;
use part::report::{self, Grade, StatusReport, Subject};
use part::role::{KnownLease, KnownLeases, LeaseNews, MemberNews, PartMessage, SupervisorMessage};
use part::status::{AddressReport, RouterReport};
use part::{SharedFd, codec, lock, memory, row};
use proxy::message::ProxyMessage as OfProxy;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use supervisor::report as supervisor_report;
use zeroize::Zeroizing;

/// Interval at which an unchanged membership status is sent to all parts again: a role or the
/// supervisor may have lost it by a crash.
const STANDING_AGAIN: Duration = Duration::from_secs(5);
const HEALTH_LIMIT: Duration = Duration::from_secs(2);

pub struct Supervised {
    link: Arc<SupervisorLink>,
    background: Background,
    reported: Mutex<Option<(MemberNews, Instant)>>,
}

impl Supervised {
    pub fn new(link: Arc<SupervisorLink>) -> Supervised {
        Supervised {
            link,
            background: Background::default(),
            reported: Mutex::default(),
        }
    }

    async fn ask_with(&self, message: SupervisorMessage, set: Arc<FileSet>) -> MachineVerdict {
        let mut verdict = match sealed(&set) {
            Ok(file) => self.ask(message, &[file]).await,
            Err(error) => return refused(&format!("cannot pass the version on: {error}")),
        };
        if !verdict.words.is_empty() {
            // Masks secrets in the result: it goes into the replicated log, which an arbiter can
            // read.
            let words = std::mem::take(&mut verdict.words);
            let masked = move || Redaction::of(&set, &mask()).apply(&words);
            verdict.words = self.background.run(masked).await.unwrap_or_else(|why| {
                format!("the report of the check is not shown, because its secrets cannot be masked: {why}")
            });
        }
        verdict
    }

    async fn ask(&self, message: SupervisorMessage, descriptors: &[SharedFd]) -> MachineVerdict {
        let Some(told) = self.link.ask(&message, descriptors).await else {
            if self.link.is_orphaned() {
                // Never responds without a supervisor: the other members then decide about the
                // version without this node, as with a supervisor that hangs.
                return std::future::pending().await;
            }
            return refused("the supervisor did not respond");
        };
        let words = told
            .descriptors
            .first()
            .and_then(|fd| memory::text(fd).ok());
        match told.message {
            SupervisorMessage::Verdict { good, together } => MachineVerdict {
                good,
                words: words.unwrap_or_default(),
                together,
            },
            _ => refused("the supervisor does not support this request"),
        }
    }

    fn say(&self, message: PartMessage) {
        self.link.send_to_part(message);
    }
}

/// Returns the report of a part, or one that says that the role does not respond. Returns None if
/// the configuration version that this machine serves does not have the part.
async fn report_of(link: Arc<SupervisorLink>, part: &'static str) -> Option<StatusReport> {
    let question = SupervisorMessage::TellReport {
        part: part.to_owned(),
    };
    let told = tokio::time::timeout(HEALTH_LIMIT, link.ask(&question, &[])).await;
    let silent = StatusReport::silent(part, "the role does not respond");
    let Some(told) = told.ok().flatten() else {
        return Some(silent);
    };
    match told.message {
        SupervisorMessage::Nobody { missing: false, .. } => None,
        SupervisorMessage::Nobody { words, .. } => Some(StatusReport::silent(part, &words)),
        _ => {
            let bytes = told.descriptors.first().map(memory::read);
            let bytes = bytes.and_then(Result::ok).unwrap_or_default();
            Some(StatusReport::decode(&bytes).unwrap_or(silent))
        }
    }
}

fn without_proxy(report: Option<&StatusReport>) -> Health {
    let instances = report.into_iter().flat_map(|report| &report.subjects);
    let instances = instances.filter(|subject| subject.kind == VIRTUAL_IP);
    let addresses: Vec<&Subject> = instances.flat_map(|one| &one.children).collect();
    let owned = addresses.iter().filter(|one| is_local(one));
    Health {
        addresses_owned: owned.count() as u64,
        addresses: addresses.len() as u64,
        ..Health::default()
    }
}

fn is_local(address: &Subject) -> bool {
    AddressReport::of(address).is_local
}

fn routing(report: &StatusReport) -> Routing {
    let cut = |words: String| words.chars().take(REASON_MAX).collect::<String>();
    let router = |one: &Subject| {
        let is_bad = one.state.grade == Grade::Bad;
        let fault = one.words(FAULT).filter(|_| is_bad);
        let status = RouterReport::of(one);
        RouterStatus {
            name: one.name.clone(),
            addresses: one.children.len() as u64,
            is_owner: one.children.iter().any(is_local),
            heard_owner: cut(status.other_node),
            has_lease: status.lease.is_leased(),
            fault: match fault {
                Some(words) => cut(words),
                None if is_bad => cut(one.why.clone()),
                None => String::new(),
            },
            unavailable: one
                .words(HEALTH)
                .filter(|_| status.has_unavailable_frontends)
                .map_or_else(String::new, cut),
        }
    };
    let mut routers: Vec<RouterStatus> = report.of_kind(VIRTUAL_IP).map(router).collect();
    routers.sort_by_key(|one| (one.fault.is_empty(), !one.is_owner));
    routers.truncate(ROUTERS_MAX);
    let mut silent = report.of_kind(report::PART);
    Routing {
        unknown: silent
            .next()
            .map_or_else(String::new, |one| cut(one.why.clone())),
        routers,
    }
}

fn observed(report: &StatusReport) -> Option<Observed> {
    let own = report.of_kind(supervisor_report::PART).next()?;
    let missing = report.of_kind(supervisor_report::MISSING);
    Some(Observed {
        serves: own.value(supervisor_report::SERVES)? > 0,
        why: own.why.clone(),
        missing: missing
            .map(|one| format!("{}: {}", one.name, one.why))
            .collect(),
    })
}

fn part_of(lease: &str) -> &str {
    lease.split_once('/').map_or(lease, |(part, _)| part)
}

fn refused(words: &str) -> MachineVerdict {
    MachineVerdict {
        good: false,
        words: words.to_owned(),
        together: false,
    }
}

fn sealed(set: &FileSet) -> io::Result<SharedFd> {
    let bytes = Zeroizing::new(set.encode());
    memory::create("evenkeel version", &bytes).map(Arc::new)
}

impl ServingMachine for Supervised {
    async fn check(&self, set: Arc<FileSet>) -> MachineVerdict {
        self.ask_with(SupervisorMessage::Check, set).await
    }

    async fn find(&self, set: Arc<FileSet>) -> MachineVerdict {
        self.ask_with(SupervisorMessage::Find, set).await
    }

    async fn serve(&self, set: Arc<FileSet>, trial: bool) -> MachineVerdict {
        self.link.has_candidate.store(trial, Ordering::Relaxed);
        let operation = set.operation();
        let message = SupervisorMessage::Serve { trial, operation };
        let verdict = self.ask_with(message, set).await;
        if !verdict.good {
            // Clears the mark here, since no candidate is served and neither `accept` nor `revert`
            // follows.
            self.link.has_candidate.store(false, Ordering::Relaxed);
        }
        verdict
    }

    async fn accept(&self) -> MachineVerdict {
        let verdict = self.ask(SupervisorMessage::Accept, &[]).await;
        self.link.has_candidate.store(false, Ordering::Relaxed);
        verdict
    }

    async fn revert(&self) -> MachineVerdict {
        let verdict = self.ask(SupervisorMessage::Revert, &[]).await;
        self.link.has_candidate.store(false, Ordering::Relaxed);
        verdict
    }

    async fn health(&self) -> Option<Health> {
        let question = SupervisorMessage::Part(Box::new(OfProxy::TellHealth.envelope()));
        let told = tokio::time::timeout(HEALTH_LIMIT, self.link.ask(&question, &[])).await;
        let told = told.ok().flatten()?;
        if matches!(
            told.message,
            SupervisorMessage::Nobody { missing: false, .. }
        ) {
            let report = report_of(Arc::clone(&self.link), address::message::PART).await;
            return Some(without_proxy(report.as_ref()));
        }
        let file = told.descriptors.into_iter().next()?;
        serde_json::from_slice(&memory::read(&file).ok()?).ok()
    }

    async fn parts(&self) -> Parts {
        // Queries all roles at the same time, so that several silent roles take only one timeout.
        let rows = row::all().iter().filter(|row| row.sidecar().is_some());
        let query = |part| (part, tokio::spawn(report_of(Arc::clone(&self.link), part)));
        let queries: Vec<_> = rows.map(|row| query(row.part)).collect();
        let mut parts = Parts::default();
        for (part, report) in queries {
            let Some(mut report) = report.await.ok().flatten() else {
                continue;
            };
            if part == address::message::PART {
                parts.routing = routing(&report);
                // Leaves out links and scripts: they already affect the status of the virtual
                // routers.
                let kinds = [VIRTUAL_IP, report::PART];
                report.subjects.retain(|one| kinds.contains(&&*one.kind));
            }
            parts.summaries.push(report.summary());
        }
        parts
    }

    async fn observe(&self) -> Option<Observed> {
        report_of(Arc::clone(&self.link), supervisor_report::PART)
            .await
            .as_ref()
            .and_then(observed)
    }

    async fn hold(&self, parts: BTreeSet<String>, leases: Vec<KnownLease>) {
        // Leaves out the console, which queries versions and has no leases.
        let bound = row::all().iter();
        let bound = bound.filter(|row| row.message_recipients.contains(&PART));
        #[cfg(feature = "console")]
        let bound = bound.filter(|row| row.part != console::keyword::NAME);
        let informed = bound.filter(|row| parts.contains(row.part));
        // Starts with an empty list for each part: a part that has lost its last lease must be
        // notified.
        let mut by_part: BTreeMap<&str, Vec<_>> =
            informed.map(|row| (row.part, Vec::new())).collect();
        for lease in leases {
            if let Some(of_part) = by_part.get_mut(part_of(&lease.name)) {
                of_part.push(lease);
            }
        }
        for (part, leases) in by_part {
            self.say(LeaseNews::Known(KnownLeases(leases)).envelope(part));
        }
    }

    async fn report_standing(&self, news: MemberNews) {
        self.say(news.envelope(address::message::PART));
        let settled = news.settled();
        {
            let reported = &mut *lock(&self.reported);
            let is_recent = |(news, at): &(MemberNews, Instant)| {
                *news == settled && at.elapsed() < STANDING_AGAIN
            };
            if reported.as_ref().is_some_and(is_recent) {
                return;
            }
            *reported = Some((settled.clone(), Instant::now()));
        }
        let others = row::all().iter().filter(|row| row.sidecar().is_some());
        for row in others.filter(|row| row.part != address::message::PART) {
            self.say(settled.envelope(row.part));
        }
    }

    async fn hand_over(&self, name: String) {
        let part = part_of(&name).to_owned();
        self.say(LeaseNews::HandOver { name }.envelope(&part));
    }

    async fn recorded(&self, ask: u64, outcome: Recorded) {
        let bytes = codec::encode(&outcome);
        self.link
            .send_reply(ask, &SupervisorMessage::Answer { bytes });
    }

    async fn reported(&self, ask: u64, report: StatusReport) {
        let (answer, file) = report.answer();
        self.link.answer_with(ask, &answer, &file);
    }

    fn can_report_to(&self, part: &str) -> bool {
        self.link.reaches(part)
    }

    fn supervisor_gone_ms(&self) -> u64 {
        u64::try_from(self.link.orphaned_for().as_millis()).unwrap_or(u64::MAX)
    }

    fn certified(&self) -> Vec<&'static str> {
        let rows = row::all().iter().filter(|row| row.certified);
        rows.map(|row| row.part).collect()
    }

    async fn certify(&self, credentials: PartCredentials) {
        self.say(credentials.envelope());
    }

    async fn news(&self) -> News {
        self.link.news().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use part::status::RouterState;

    #[test]
    fn machine_that_cannot_serve_is_reported() {
        let report = |serves, why: &str| {
            let mut own = Subject::new(supervisor_report::PART, "7")
                .state("running", Grade::Good)
                .number(supervisor_report::SERVES, serves);
            own.why = why.to_owned();
            let mut port = Subject::new(supervisor_report::MISSING, "0.0.0.0:80 of www");
            port.why = "Address already in use".to_owned();
            StatusReport {
                subjects: vec![own, port],
                ..StatusReport::silent("supervisor", "")
            }
        };
        let some = observed(&report(1, "")).unwrap();
        assert!(some.serves);
        assert_eq!(some.missing, ["0.0.0.0:80 of www: Address already in use"]);
        let none = observed(&report(0, "no such keyword")).unwrap();
        assert_eq!((none.serves, &*none.why), (false, "no such keyword"));
        // A supervisor that does not respond reports no version.
        assert_eq!(
            observed(&StatusReport::silent("supervisor", "silent")),
            None
        );
    }

    #[test]
    fn addresses_are_reported_without_a_proxy() {
        let address =
            |at: &str, is_local| Subject::new("address", at).publish(&AddressReport { is_local });
        let desk = vec![
            address("192.0.2.1/24", true),
            address("192.0.2.2/24", false),
        ];
        let report = StatusReport {
            subjects: vec![
                Subject::new(VIRTUAL_IP, "desk").children(desk),
                Subject::new("router", "one").children(vec![address("192.0.2.3/24", true)]),
            ],
            ..StatusReport::silent("address", "")
        };
        let health = without_proxy(Some(&report));
        assert_eq!((health.addresses_owned, health.addresses), (1, 2));
        assert_eq!(without_proxy(None), Health::default());
    }

    #[test]
    fn virtual_routers_are_reported_with_fault_and_service() {
        let www = |state| {
            let status = RouterReport {
                state,
                has_unavailable_frontends: state == RouterState::Master,
                ..RouterReport::default()
            };
            let grade = match state {
                RouterState::Fault => Grade::Bad,
                _ => Grade::Standby,
            };
            let router = Subject::new(VIRTUAL_IP, "www").state("", grade);
            router.publish(&status)
        };
        let of = |one: Subject| {
            let report = StatusReport {
                subjects: vec![one],
                ..StatusReport::silent("address", "")
            };
            routing(&report)
        };
        let lines = vec!["no source address on eth0".to_owned()];
        let fault = of(www(RouterState::Fault).lines(FAULT, lines.clone()));
        assert_eq!(fault.routers[0].fault, "no source address on eth0");
        // A router with a fault line that still works as backup does not count as faulty.
        let some = of(www(RouterState::Backup).lines(FAULT, lines));
        assert_eq!(some.routers[0].fault, "");
        let health = "no frontend is available: the proxy reports servers as down";
        let down = www(RouterState::Master).fact(HEALTH, health);
        let owner =
            of(down
                .children([Subject::new("address", "192.0.2.1/24")
                    .publish(&AddressReport { is_local: true })]));
        let one = &owner.routers[0];
        assert_eq!(
            (one.is_owner, one.addresses, &*one.unavailable),
            (true, 1, health)
        );
        let silent = routing(&StatusReport::silent(
            "address",
            "the role does not respond",
        ));
        assert_eq!(silent.unknown, "the role does not respond");
    }
}
