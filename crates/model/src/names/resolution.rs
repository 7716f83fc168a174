//! Resolves one name: decides the time of the next query and its type, and keeps the records
//! known so far. A state machine without socket or clock: the caller passes responses and the
//! time, and gets the queries to send.
//!
//! All nameservers of the section are queried at once, and the first valid response ends the round.
//! If no response is valid and at least one is an error, the other IP version is queried once. If
//! no nameserver responds at all, the query is repeated as often as the section allows. `hold`
//! determines the effect of an error: within that time after the last valid response, the error
//! changes nothing.

use crate::config::{AddressFamily, Resolvers};
use protocol::dns::{
    DnsName, DnsQuestion, DnsRecordType, DnsResponse, DnsResponseCode as Said, Service,
};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

static FAILURES: AtomicU64 = AtomicU64::new(0);

/// Returns the number of failed resolutions since the start.
pub fn failures() -> u64 {
    FAILURES.load(Ordering::Relaxed)
}

/// Maximum number of addresses or services that are kept of a name.
pub(crate) const RECORDS_MAX: usize = 4096;

/// Kind of records that are requested for a name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum RecordKind {
    /// Addresses, of this family first.
    Addresses(AddressFamily),
    /// Hosts and ports (SRV records).
    Services,
}

impl RecordKind {
    fn kind(self, switched: bool) -> DnsRecordType {
        match self {
            RecordKind::Services => DnsRecordType::Srv,
            RecordKind::Addresses(family) if (family == AddressFamily::V4) != switched => {
                DnsRecordType::A
            }
            RecordKind::Addresses(_) => DnsRecordType::Aaaa,
        }
    }
}

/// Result of the resolution so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ResolutionStatus {
    Unknown,
    Valid,
    NoSuchName,
    Refused,
    Timeout,
    /// An error for which there is no other variant, or a name without records.
    Other,
}

/// Result of a query to one nameserver.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum QueryOutcome {
    Answered(DnsResponse),
    Silent,
    /// The query could not be sent, or the response was invalid.
    Unusable,
}

/// A query to all nameservers of the section.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NameserverQuery {
    pub question: DnsQuestion,
    /// Number of the round; responses to older rounds are ignored.
    pub round: u32,
}

#[derive(Clone, Debug)]
struct Round {
    kind: DnsRecordType,
    /// Number of nameservers that have not responded.
    waiting: usize,
    deadline_ms: u64,
    error: Option<ResolutionStatus>,
}

#[derive(Debug)]
pub(crate) struct Resolution {
    pub name: DnsName,
    pub record_kind: RecordKind,
    pub status: ResolutionStatus,
    /// Time of the last valid response.
    pub last_valid_ms: Option<u64>,
    /// Index of the nameserver that sent the last valid response.
    pub answered_by: usize,
    /// Known addresses, each with the time of the last response that contained it.
    pub addresses: Vec<(IpAddr, u64)>,
    pub services: Vec<(Service, u64)>,
    round: Option<Round>,
    rounds: u32,
    /// Number of times that the query may still be sent.
    tries: u32,
    switched: bool,
    next_ms: u64,
}

impl Resolution {
    /// Creates the resolution of a name without known records; the first query is due now.
    pub fn new(name: DnsName, wanted: RecordKind, now_ms: u64) -> Resolution {
        Resolution {
            name,
            record_kind: wanted,
            status: ResolutionStatus::Unknown,
            last_valid_ms: None,
            answered_by: 0,
            addresses: Vec::new(),
            services: Vec::new(),
            round: None,
            rounds: 0,
            tries: 0,
            switched: false,
            next_ms: now_ms,
        }
    }

    /// Returns the time at which [`Resolution::poll`] must be called.
    pub fn due_ms(&self) -> u64 {
        self.round
            .as_ref()
            .map_or(self.next_ms, |round| round.deadline_ms)
    }

    /// Makes the next query due now, unless a round is in progress.
    pub fn make_query_due(&mut self, now_ms: u64) {
        self.next_ms = self.next_ms.min(now_ms);
    }

    pub fn rest(&mut self, until_ms: u64) {
        self.next_ms = until_ms;
    }

    /// Returns whether the last valid response is not older than `hold valid`.
    pub fn is_fresh(&self, section: &Resolvers, now_ms: u64) -> bool {
        let valid_ms = u64::from(section.hold.valid_ms);
        self.status == ResolutionStatus::Valid
            && self.last_valid_ms.is_some_and(|at| at + valid_ms > now_ms)
    }

    /// Applies due timeouts. Returns the query to send, and whether a timeout ended the resolution.
    pub fn poll(&mut self, section: &Resolvers, now_ms: u64) -> (Option<NameserverQuery>, bool) {
        if self.due_ms() > now_ms {
            return (None, false);
        }
        let Some(round) = &mut self.round else {
            self.tries = section.retries;
            self.switched = false;
            return (Some(self.ask(section, now_ms)), false);
        };
        round.waiting = 0;
        let error = round.error.unwrap_or(ResolutionStatus::Timeout);
        self.failed(section, error, now_ms)
    }

    fn ask(&mut self, section: &Resolvers, now_ms: u64) -> NameserverQuery {
        let kind = self.record_kind.kind(self.switched);
        self.rounds = self.rounds.wrapping_add(1);
        self.round = Some(Round {
            kind,
            waiting: section.servers.len(),
            deadline_ms: now_ms + u64::from(section.retry_ms.max(1)),
            error: None,
        });
        let name = self.name.clone();
        NameserverQuery {
            question: DnsQuestion { name, kind },
            round: self.rounds,
        }
    }

    /// Processes the result of a query of a round. Returns the next query, and whether the
    /// resolution ended for now.
    pub fn answered(
        &mut self,
        section: &Resolvers,
        round_number: u32,
        server: usize,
        outcome: &QueryOutcome,
        now_ms: u64,
    ) -> (Option<NameserverQuery>, bool) {
        if round_number != self.rounds {
            return (None, false);
        }
        let Some(round) = &mut self.round else {
            return (None, false);
        };
        let error = match outcome {
            QueryOutcome::Answered(answer) => match (answer.status, round.kind) {
                (Said::NoSuchName, _) => ResolutionStatus::NoSuchName,
                (Said::Refused, _) => ResolutionStatus::Refused,
                (Said::Fine, DnsRecordType::Srv) if !answer.services.is_empty() => {
                    ResolutionStatus::Valid
                }
                (Said::Fine, DnsRecordType::A | DnsRecordType::Aaaa)
                    if !answer.addresses.is_empty() =>
                {
                    ResolutionStatus::Valid
                }
                _ => ResolutionStatus::Other,
            },
            QueryOutcome::Silent => ResolutionStatus::Timeout,
            QueryOutcome::Unusable => ResolutionStatus::Other,
        };
        if let (ResolutionStatus::Valid, QueryOutcome::Answered(answer)) = (error, outcome) {
            self.answered_by = server;
            self.take(section, answer, now_ms);
            return (None, true);
        }
        // Replaces a timeout by an error response, which is more specific.
        if error != ResolutionStatus::Timeout || round.error.is_none() {
            round.error = Some(error);
        }
        round.waiting = round.waiting.saturating_sub(1);
        if round.waiting > 0 {
            return (None, false);
        }
        let error = round.error.unwrap_or(ResolutionStatus::Timeout);
        self.failed(section, error, now_ms)
    }

    /// Continues after all nameservers failed: with the other IP version, with another attempt, or
    /// with the end of the resolution.
    fn failed(
        &mut self,
        section: &Resolvers,
        error: ResolutionStatus,
        now_ms: u64,
    ) -> (Option<NameserverQuery>, bool) {
        let has_other = self.record_kind != RecordKind::Services;
        if error != ResolutionStatus::Timeout && has_other && !self.switched {
            self.switched = true;
            return (Some(self.ask(section, now_ms)), false);
        }
        self.tries = self.tries.saturating_sub(1);
        // Repeats the query only after a timeout; an error response ends the resolution at once.
        if error == ResolutionStatus::Timeout && self.tries > 0 {
            self.switched = false;
            return (Some(self.ask(section, now_ms)), false);
        }
        self.end(section, now_ms);
        FAILURES.fetch_add(1, Ordering::Relaxed);
        let hold_ms = match error {
            ResolutionStatus::NoSuchName => section.hold.nx_ms,
            ResolutionStatus::Refused => section.hold.refused_ms,
            ResolutionStatus::Timeout => section.hold.timeout_ms,
            _ => section.hold.other_ms,
        };
        let held = self
            .last_valid_ms
            .is_some_and(|at| at + u64::from(hold_ms) > now_ms);
        if !held {
            self.status = error;
            self.addresses.clear();
            self.services.clear();
        }
        (None, true)
    }

    fn end(&mut self, section: &Resolvers, now_ms: u64) {
        self.round = None;
        self.next_ms = now_ms + u64::from(section.resolve_ms.max(1));
    }

    fn take(&mut self, section: &Resolvers, answer: &DnsResponse, now_ms: u64) {
        self.end(section, now_ms);
        self.status = ResolutionStatus::Valid;
        self.last_valid_ms = Some(now_ms);
        let obsolete_ms = u64::from(section.hold.obsolete_ms);
        let counts = |told: u64| told + obsolete_ms > now_ms;
        for ip in &answer.addresses {
            let room = self.addresses.len() < RECORDS_MAX;
            match self.addresses.iter_mut().find(|(known, _)| known == ip) {
                Some(known) => known.1 = now_ms,
                None if room => self.addresses.push((*ip, now_ms)),
                None => {}
            }
        }
        self.addresses
            .retain(|(_, told)| *told == now_ms || counts(*told));
        for service in &answer.services {
            let room = self.services.len() < RECORDS_MAX;
            let same = |known: &Service| known.host == service.host && known.port == service.port;
            match self.services.iter_mut().find(|(known, _)| same(known)) {
                Some(known) => *known = (service.clone(), now_ms),
                None if room => {
                    self.services.push((service.clone(), now_ms));
                }
                None => {}
            }
        }
        self.services
            .retain(|(_, told)| *told == now_ms || counts(*told));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Hold, NameServer};
    use language::Span;

    fn section(servers: usize) -> Resolvers {
        let mut section = Resolvers::new("dns", Span::default());
        section.hold = Hold {
            nx_ms: 5000,
            obsolete_ms: 3000,
            ..Hold::default()
        };
        for n in 0..servers {
            section.servers.push(NameServer {
                name: n.to_string().into(),
                address: ([127, 0, 0, 1], 53).into(),
                stream: false,
            });
        }
        section
    }

    fn resolution(wanted: RecordKind) -> Resolution {
        Resolution::new(DnsName::new("web.test").expect("a name"), wanted, 0)
    }

    fn answer(status: Said, addresses: &[&str]) -> QueryOutcome {
        QueryOutcome::Answered(DnsResponse {
            status,
            truncated: false,
            aliased: false,
            addresses: addresses.iter().map(|ip| ip.parse().unwrap()).collect(),
            services: Vec::new(),
        })
    }

    fn addresses(resolution: &Resolution) -> Vec<String> {
        let all = resolution.addresses.iter();
        all.map(|(ip, _)| ip.to_string()).collect()
    }

    const V6: RecordKind = RecordKind::Addresses(AddressFamily::V6);

    #[test]
    fn the_first_good_answer_counts_and_the_next_question_comes_in_its_time() {
        let section = section(2);
        let mut one = resolution(V6);
        let (ask, _) = one.poll(&section, 0);
        let ask = ask.expect("it is due");
        assert_eq!(ask.question.kind, DnsRecordType::Aaaa);
        let bad = answer(Said::NoSuchName, &[]);
        assert_eq!(
            one.answered(&section, ask.round, 0, &bad, 10),
            (None, false)
        );
        let good = answer(Said::Fine, &["::1"]);
        assert_eq!(
            one.answered(&section, ask.round, 1, &good, 20),
            (None, true)
        );
        assert_eq!((one.status, one.answered_by), (ResolutionStatus::Valid, 1));
        assert_eq!(addresses(&one), ["::1"]);
        assert_eq!(one.due_ms(), 1020);
        assert_eq!(one.poll(&section, 1019), (None, false));
        assert!(one.poll(&section, 1020).0.is_some());
    }

    #[test]
    fn the_other_version_of_ip_is_asked_for_where_there_is_none_of_the_first() {
        let section = section(1);
        for bad in [answer(Said::NoSuchName, &[]), answer(Said::Fine, &[])] {
            let mut one = resolution(V6);
            let ask = one.poll(&section, 0).0.unwrap();
            let (next, ended) = one.answered(&section, ask.round, 0, &bad, 1);
            let next = next.expect("the other kind");
            assert_eq!((next.question.kind, ended), (DnsRecordType::A, false));
            // A late response to the first round is ignored.
            let late = answer(Said::Fine, &["::1"]);
            assert_eq!(
                one.answered(&section, ask.round, 0, &late, 2),
                (None, false)
            );
            let (none, ended) = one.answered(&section, next.round, 0, &bad, 3);
            assert_eq!((none, ended), (None, true));
            assert!(
                one.status != ResolutionStatus::Valid && one.status != ResolutionStatus::Unknown
            );
        }
    }

    #[test]
    fn silence_is_repeated_as_often_as_the_section_says() {
        let section = section(2);
        let mut one = resolution(RecordKind::Services);
        let mut now = 0;
        for _ in 0..3 {
            let (ask, ended) = one.poll(&section, now);
            assert_eq!(ask.expect("again").question.kind, DnsRecordType::Srv);
            assert!(!ended);
            now += 1000;
            assert_eq!(one.due_ms(), now);
        }
        assert_eq!(one.poll(&section, now), (None, true));
        assert_eq!(one.status, ResolutionStatus::Timeout);
        assert_eq!(one.due_ms(), now + 1000);
    }

    #[test]
    fn an_error_counts_when_the_last_good_answer_is_old_enough() {
        let section = section(1);
        let mut one = resolution(RecordKind::Addresses(AddressFamily::V4));
        let mut at = |outcome: &QueryOutcome, now| {
            let mut ask = one.poll(&section, now).0;
            while let Some(asked) = ask {
                ask = one.answered(&section, asked.round, 0, outcome, now).0;
            }
            (one.status, addresses(&one))
        };
        let good = answer(Said::Fine, &["192.0.2.1"]);
        let nx = answer(Said::NoSuchName, &[]);
        let found = (ResolutionStatus::Valid, vec!["192.0.2.1".to_owned()]);
        assert_eq!(at(&good, 0), found);
        assert_eq!(at(&nx, 4999), found);
        assert_eq!(at(&nx, 6000), (ResolutionStatus::NoSuchName, Vec::new()));
        assert_eq!(at(&good, 8000), found);
    }

    #[test]
    fn what_the_newest_answer_has_no_more_counts_until_it_is_obsolete() {
        let section = section(1);
        let mut one = resolution(RecordKind::Addresses(AddressFamily::V4));
        let mut at = |ips: &[&str], now| {
            let ask = one.poll(&section, now).0.unwrap();
            one.answered(&section, ask.round, 0, &answer(Said::Fine, ips), now);
            addresses(&one)
        };
        assert_eq!(at(&["192.0.2.1", "192.0.2.2"], 0).len(), 2);
        assert_eq!(at(&["192.0.2.2"], 2999), ["192.0.2.1", "192.0.2.2"]);
        assert_eq!(at(&["192.0.2.2"], 4000), ["192.0.2.2"]);
    }
}
