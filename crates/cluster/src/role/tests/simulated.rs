//! Tests random histories from seeds: three roles on a simulated network, members that crash and
//! restart, all kinds of cut links, and changes meanwhile. At the end all members serve the same
//! version, and no accepted version is lost.

mod upgrade;

use super::machine::{BAD, Fake, wants_leases};
use super::{MemberTestDirectory, apply};
use crate::command::VersionId;
use crate::command::{Epoch, LeaseRecord};
use crate::machine::News;
use crate::member::{Digest, MemberKind};
use crate::message::Recorded;
use crate::request::{ControlReply, Request};
use crate::role::directory::StateDirectory;
use crate::role::setup::{self, SetupOptions};
use crate::role::socket::Replies;
use crate::role::status::ClusterStatus;
use crate::role::{Clock, ControlRoleOptions, run_with};
use crate::state::{RolloutStage, VersionRecord};
use crate::store::Store;
use crate::wire::PORT;
use crate::wire::simulated::Simulated;
use lab::Random;
use part::role::WantedLease;
use redb::StorageBackend;
use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use turmoil::{Builder, Sim};

const HOSTS: [&str; 3] = ["alpha", "beta", "arbiter"];
/// Longest simulated time for anything while nothing is broken.
const SOON: Duration = Duration::from_secs(120);
/// Several validities of a lease.
const A_WHILE: Duration = Duration::from_secs(20);

#[derive(Clone, Debug, Default)]
struct Platter(Arc<Mutex<Vec<u8>>>);

fn range(bytes: &[u8], offset: u64, length: usize) -> io::Result<std::ops::Range<usize>> {
    let begin = usize::try_from(offset).map_err(io::Error::other)?;
    let end = begin + length;
    if end <= bytes.len() {
        Ok(begin..end)
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

impl StorageBackend for Platter {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let bytes = self.0.lock().unwrap();
        let range = range(&bytes, offset, out.len())?;
        out.copy_from_slice(&bytes[range]);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let length = usize::try_from(length).map_err(io::Error::other)?;
        self.0.lock().unwrap().resize(length, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut bytes = self.0.lock().unwrap();
        // Like a file, it grows if data is written behind its end.
        let begin = usize::try_from(offset).map_err(io::Error::other)?;
        let end = begin + data.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[begin..end].copy_from_slice(data);
        Ok(())
    }
}

struct SimulatedMachine {
    name: &'static str,
    kind: MemberKind,
    address: SocketAddr,
    directory: PathBuf,
    platter: Platter,
    token: RefCell<Option<String>>,
    machine: RefCell<Fake>,
    asks: RefCell<Option<mpsc::Sender<(Request, Replies)>>>,
    starts: RefCell<u64>,
}

type Seats = Rc<[SimulatedMachine; 3]>;

impl SimulatedMachine {
    fn place(&self) -> SetupOptions {
        SetupOptions {
            directory: self.directory.clone(),
            name: self.name.into(),
            listen: vec![self.address],
            addresses: vec![self.address],
        }
    }

    async fn live(&self) -> turmoil::Result {
        *self.starts.borrow_mut() += 1;
        let start = *self.starts.borrow();
        let directory = StateDirectory::create(&self.directory)?;
        if directory.local_member()?.is_none() {
            self.become_one(&directory).await?;
        }
        let machine = Fake::default();
        if let Some(set) = directory.accepted()? {
            machine.begin_with(&set);
        }
        self.machine.replace(machine.clone());
        let (sender, requests) = mpsc::channel(8);
        self.asks.replace(Some(sender));
        let options = ControlRoleOptions {
            directory: self.directory.clone(),
            socket: None,
            program: "evenkeel test".into(),
            texts: None,
        };
        let store = Store::with_backend(self.platter.clone());
        let clock = Clock::Runtime { start };
        run_with(options, machine, Simulated, store, clock, Some(requests)).await?;
        Ok(())
    }

    async fn become_one(&self, directory: &StateDirectory) -> turmoil::Result {
        if self.name == HOSTS[0] {
            let store = Store::with_backend(self.platter.clone())?;
            setup::found_on(directory, store, &self.place(), "north").await?;
            return Ok(());
        }
        loop {
            let token = self.token.borrow().clone();
            if let Some(token) = token {
                let place = self.place();
                setup::join_on(directory, &place, &token, self.kind, &Simulated).await?;
                return Ok(());
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Sends a request like an operator at this machine; None if it is down or does not
    /// respond.
    async fn ask(&self, request: Request) -> Option<ControlReply> {
        let sender = self.asks.borrow().clone()?;
        let (replies, mut incoming) = Replies::new();
        sender.send((request, replies)).await.ok()?;
        let reply = async {
            loop {
                match incoming.recv().await? {
                    ControlReply::Progress { .. } => {}
                    reply => return Some(reply),
                }
            }
        };
        timeout(SOON, reply).await.ok()?
    }

    async fn status(&self) -> Option<ClusterStatus> {
        match self.ask(Request::Status).await? {
            ControlReply::Json(text) => serde_json::from_str(&text).ok(),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum SimulationOrder {
    Crash(&'static str),
    Bounce(&'static str),
}

type SimulationOrders = Rc<RefCell<Vec<SimulationOrder>>>;

async fn all_vote(seats: &Seats, count: usize) {
    let began = Instant::now();
    loop {
        let mut good = 0;
        let mut told = String::new();
        for seat in seats.iter().take(count) {
            let status = seat.status().await;
            let all = status.as_ref().is_some_and(|status| {
                status.majority && status.members.iter().filter(|m| m.votes).count() == count
            });
            good += usize::from(all);
            let text = status.map_or_else(|| "nothing".to_owned(), |status| status.text());
            told.push_str(&format!("--- {}\n{text}", seat.name));
        }
        if good == count {
            return;
        }
        assert!(
            began.elapsed() < SOON,
            "{count} members never vote:\n{told}"
        );
        sleep(Duration::from_millis(200)).await;
    }
}

async fn invite(seats: &Seats, at: usize) {
    let kind = seats[at].kind;
    let valid_ms = 600_000;
    let reply = seats[0].ask(Request::Invite { kind, valid_ms }).await;
    let Some(ControlReply::Token { token, .. }) = reply else {
        panic!("no token: {reply:?}");
    };
    seats[at].token.replace(Some(token));
    all_vote(seats, at + 1).await;
}

/// Returns the function that heals the fault.
fn fault(dice: &mut Random, orders: &SimulationOrders) -> Box<dyn FnOnce(&SimulationOrders)> {
    let one = HOSTS[dice.below(3) as usize];
    let others: Vec<&'static str> = HOSTS.into_iter().filter(|host| *host != one).collect();
    let (first, second) = (others[0], others[1]);
    match dice.below(6) {
        0 => {
            orders.borrow_mut().push(SimulationOrder::Crash(one));
            Box::new(move |orders| orders.borrow_mut().push(SimulationOrder::Bounce(one)))
        }
        1 => {
            turmoil::partition(one, first);
            turmoil::partition(one, second);
            Box::new(move |_| {
                turmoil::repair(one, first);
                turmoil::repair(one, second);
            })
        }
        2 => {
            turmoil::partition(first, second);
            Box::new(move |_| turmoil::repair(first, second))
        }
        3 => {
            turmoil::partition_oneway(first, second);
            Box::new(move |_| turmoil::repair_oneway(first, second))
        }
        4 => {
            orders.borrow_mut().push(SimulationOrder::Crash(first));
            orders.borrow_mut().push(SimulationOrder::Crash(second));
            Box::new(move |orders| {
                orders.borrow_mut().push(SimulationOrder::Bounce(first));
                orders.borrow_mut().push(SimulationOrder::Bounce(second));
            })
        }
        _ => Box::new(|_| {}),
    }
}

/// Applies changes and faults, then calm. Returns the accepted versions.
async fn history(seats: &Seats, orders: &SimulationOrders, dice: &mut Random, rounds: u64) {
    let mut accepted: Vec<VersionId> = Vec::new();
    for round in 0..rounds {
        let asked = &seats[dice.below(2) as usize];
        let mended_after = Duration::from_millis(200 + dice.below(8000));
        let broken_after = Duration::from_millis(dice.below(1500));
        let text = match dice.below(5) {
            0 => format!("{round} {BAD}"),
            _ => format!("round {round}"),
        };
        let judge_ms = 1000 * dice.below(3);
        let change = async {
            let parent = asked.status().await?.configuration.accepted;
            let apply = apply(parent.map(|id| id.0), &text, judge_ms);
            asked.ask(Request::Apply(apply)).await
        };
        let breaking = async {
            sleep(broken_after).await;
            let mend = fault(dice, orders);
            sleep(mended_after).await;
            mend(orders);
        };
        let (reply, ()) = tokio::join!(change, breaking);
        if let Some(ControlReply::Done { version, .. }) = reply {
            assert!(!text.contains(BAD), "a mistake was accepted");
            accepted.extend(version);
        }
    }
    all_vote(seats, 3).await;
    same_end(seats, &accepted).await;
}

async fn tells(seats: &Seats, at: usize, what: &str, fits: impl Fn(&ClusterStatus) -> bool) {
    let began = Instant::now();
    loop {
        let status = seats[at].status().await;
        if status.as_ref().is_some_and(&fits) {
            return;
        }
        let text = status.map_or_else(|| "nothing".to_owned(), |status| status.text());
        assert!(began.elapsed() < SOON, "never: {what}\n{text}");
        sleep(Duration::from_millis(200)).await;
    }
}

async fn present(seats: &Seats) -> Option<Digest> {
    let status = seats[0].status().await?;
    status.authority.present
}

/// The CA is replaced while a member is away and the leader crashes at some moment; a
/// change proceeds meanwhile.
async fn succession(seats: &Seats, orders: &SimulationOrders, dice: &mut Random) {
    let before = present(seats).await;
    let away = HOSTS[1 + dice.below(2) as usize];
    let away_at = HOSTS.iter().position(|host| *host == away).unwrap();
    orders.borrow_mut().push(SimulationOrder::Crash(away));
    sleep(Duration::from_millis(1500 + dice.below(1000))).await;
    let rotate = seats[0].ask(Request::RotateAuthority);
    // At any step: before the proposal, while members are certified, or afterwards.
    let crash_after = Duration::from_millis(dice.below(1500));
    let crash = async {
        sleep(crash_after).await;
        orders.borrow_mut().push(SimulationOrder::Crash(HOSTS[0]));
        sleep(Duration::from_millis(200 + dice.below(1500))).await;
        orders.borrow_mut().push(SimulationOrder::Bounce(HOSTS[0]));
    };
    let (_, ()) = tokio::join!(timeout(Duration::from_secs(10), rotate), crash);
    tells(seats, 0, "a majority", |status| status.majority).await;
    if seats[0]
        .status()
        .await
        .is_some_and(|s| s.authority.next.is_none())
        && present(seats).await == before
    {
        // The crash came before the commit.
        let reply = seats[0].ask(Request::RotateAuthority).await;
        assert!(
            matches!(reply, Some(ControlReply::Done { .. })),
            "{reply:?}"
        );
    }
    let id = seats[0].status().await.unwrap().members[away_at].id;
    tells(seats, 0, "one that is away is late", |status| {
        let authority = &status.authority;
        authority.next.is_none() && authority.uncertified == [id] && authority.present != before
    })
    .await;
    let apply = apply(None, "meanwhile", 0);
    let reply = seats[0].ask(Request::Apply(apply)).await;
    assert!(
        matches!(reply, Some(ControlReply::Done { .. })),
        "{reply:?}"
    );
    orders.borrow_mut().push(SimulationOrder::Bounce(away));
    tells(seats, 0, "it is certified when it is back", |status| {
        status.authority.uncertified.is_empty() && status.majority
    })
    .await;
    all_vote(seats, 3).await;
    // All members are trusted without the former CA: each is restarted.
    for host in HOSTS {
        orders
            .borrow_mut()
            .extend([SimulationOrder::Crash(host), SimulationOrder::Bounce(host)]);
        sleep(Duration::from_secs(1)).await;
        all_vote(seats, 3).await;
    }
    same_end(seats, &[]).await;
    no_plain_key(&seats[2]);
}

/// Checks that the arbiter's disk has no CA key, and no node's disk has a former one.
fn no_plain_key(arbiter: &SimulatedMachine) {
    for file in ["authority.key", "sealing.key"] {
        assert!(!arbiter.directory.join(file).exists(), "{file}");
    }
}

async fn same_end(seats: &Seats, accepted: &[VersionId]) {
    let began = Instant::now();
    loop {
        let mut ends = Vec::new();
        for seat in seats.iter().take(2) {
            let log = match seat.ask(Request::Log { max: 1000 }).await {
                Some(ControlReply::Json(text)) => text,
                other => format!("{other:?}"),
            };
            ends.push((log, seat.machine.borrow().settled()));
        }
        let records: Option<Vec<VersionRecord>> = serde_json::from_str(&ends[0].0).ok();
        let decided = records
            .as_ref()
            .is_some_and(|records| records.iter().all(|record| !record.stage.on_its_way()));
        let last = records.as_ref().and_then(|records| {
            let mut stay = records.iter().filter(|r| r.stage == RolloutStage::Accepted);
            Some(stay.next()?.proposal.message.replace("serve ", ""))
        });
        if decided && ends[0] == ends[1] && last == ends[0].1 {
            let records = records.unwrap_or_default();
            for version in accepted {
                let record = records.iter().find(|record| record.id == *version);
                let stage = record.map(|record| &record.stage);
                assert_eq!(stage, Some(&RolloutStage::Accepted), "version {version}");
            }
            for seat in seats.iter().take(2) {
                let history = seat.machine.borrow().shows().history;
                assert!(!history.iter().any(|text| text.contains(BAD)));
            }
            return;
        }
        assert!(began.elapsed() < SOON, "they never agree: {ends:#?}");
        sleep(Duration::from_millis(500)).await;
    }
}

/// Simulates three members, and runs the test once they all vote.
fn simulate<P: Future<Output = ()> + 'static>(
    seed: u64,
    play: impl FnOnce(Seats, SimulationOrders, Random) -> P + 'static,
) {
    let scratch = MemberTestDirectory::new();
    let mut sim: Sim<'_> = Builder::new()
        .rng_seed(seed)
        .simulation_duration(Duration::from_secs(3600))
        .tick_duration(Duration::from_millis(4))
        .min_message_latency(Duration::from_micros(100))
        .max_message_latency(Duration::from_millis(2))
        .tcp_capacity(4096)
        .build();
    let seat = |name: &'static str, kind: MemberKind| SimulatedMachine {
        name,
        kind,
        address: SocketAddr::new(sim.lookup(name), PORT),
        directory: scratch.path().join(name),
        platter: Platter::default(),
        token: RefCell::default(),
        machine: RefCell::default(),
        asks: RefCell::default(),
        starts: RefCell::default(),
    };
    let seats: Seats = Rc::new([
        seat(HOSTS[0], MemberKind::Node),
        seat(HOSTS[1], MemberKind::Node),
        seat(HOSTS[2], MemberKind::Arbiter),
    ]);
    for (at, host) in HOSTS.into_iter().enumerate() {
        let seats = seats.clone();
        sim.host(host, move || {
            let seats = seats.clone();
            async move { seats[at].live().await }
        });
    }
    let orders = SimulationOrders::default();
    let done = Rc::new(RefCell::new(false));
    let (finished, given) = (done.clone(), orders.clone());
    let seats_of_test = seats.clone();
    sim.client("operator", async move {
        all_vote(&seats_of_test, 1).await;
        invite(&seats_of_test, 1).await;
        invite(&seats_of_test, 2).await;
        play(seats_of_test, given, Random::new(seed)).await;
        finished.replace(true);
        Ok(())
    });
    while !*done.borrow() {
        sim.step()
            .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        for order in orders.take() {
            match order {
                SimulationOrder::Crash(host) => {
                    sim.crash(host);
                    let seat = seats.iter().find(|seat| seat.name == host).unwrap();
                    seat.asks.replace(None);
                }
                SimulationOrder::Bounce(host) => sim.bounce(host),
            }
        }
    }
}

/// Returns the seeds of a test: the usual ones, or with `EVENKEEL_SEED` this many from that one on, for
/// a machine with spare time.
fn seeds(usual: Range<u64>, many: u64) -> Range<u64> {
    lab::setting("EVENKEEL_SEED").map_or(usual, |first| first..first + many)
}

#[test]
fn ca_is_replaced_despite_crashes_and_absent_members_return() {
    for seed in seeds(1..4, 40) {
        simulate(seed, |seats, orders, mut dice| async move {
            succession(&seats, &orders, &mut dice).await;
        });
    }
}

#[test]
fn all_nodes_converge_on_one_version_despite_failures() {
    for seed in seeds(1..3, 100) {
        simulate(seed, |seats, orders, mut dice| async move {
            history(&seats, &orders, &mut dice, 3).await;
        });
    }
}

const LEASE: &str = "address/www";

fn wants(seat: &SimulatedMachine, rank: u32) {
    let name = LEASE.to_owned();
    let watch = false;
    let valid_ms = 0;
    let wish = vec![WantedLease {
        name,
        rank,
        watch,
        valid_ms,
    }];
    seat.machine.borrow().tell(wants_leases(wish));
}

fn has(seat: &SimulatedMachine) -> bool {
    let shows = seat.machine.borrow().shows();
    let mut held = shows.held.iter().filter(|held| held.until_ns > 0);
    held.any(|held| held.name == LEASE)
}

/// Waits until this member has the lease, and checks that never two have it.
async fn comes_to(seats: &Seats, at: usize) {
    let began = Instant::now();
    while !has(&seats[at]) {
        assert!(!(has(&seats[0]) && has(&seats[1])), "both have it");
        assert!(began.elapsed() < SOON, "{} never has it", seats[at].name);
        sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn lease_goes_to_the_best_candidate() {
    simulate(1, |seats, _, _| async move {
        wants(&seats[1], 210);
        comes_to(&seats, 1).await;
        wants(&seats[0], 220);
        comes_to(&seats, 0).await;
        assert_eq!(seats[1].machine.borrow().shows().handed_over, [LEASE]);
        wants(&seats[1], 210);
        sleep(A_WHILE).await;
        assert!(has(&seats[0]) && !has(&seats[1]));
        // The node is no longer healthy.
        wants(&seats[0], 60);
        comes_to(&seats, 1).await;
        assert_eq!(seats[0].machine.borrow().shows().handed_over, [LEASE]);
    });
}

#[test]
fn clean_stop_passes_the_lease_on_at_once() {
    simulate(1, |seats, _, _| async move {
        wants(&seats[0], 220);
        comes_to(&seats, 0).await;
        wants(&seats[1], 210);
        let machine = seats[0].machine.borrow().clone();
        // Like the supervisor, once the addresses are removed.
        machine.tell(wants_leases(Vec::new()));
        machine.stop();
        let began = Instant::now();
        comes_to(&seats, 1).await;
        let took = began.elapsed();
        // By the simulation's clock, and long before its validity is over.
        assert!(took < Duration::from_secs(2), "{took:?}");
    });
}

#[test]
fn lease_of_a_part_without_heartbeats_ends() {
    simulate(1, |seats, _, _| async move {
        let heartbeat = || {
            let part = "address".to_owned();
            seats[0].machine.borrow().tell(News::Heartbeat { part });
        };
        wants(&seats[0], 220);
        heartbeat();
        comes_to(&seats, 0).await;
        wants(&seats[1], 210);
        // The lease is renewed for longer than its validity.
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(12) {
            heartbeat();
            sleep(Duration::from_millis(100)).await;
            assert!(has(&seats[0]) && !has(&seats[1]));
        }
        // The role is frozen. It still wants the lease, and nothing releases it.
        comes_to(&seats, 1).await;
        assert!(seats[0].machine.borrow().shows().handed_over.is_empty());
        // When it runs again, it requests the lease as any other node.
        let back = Instant::now();
        while !has(&seats[0]) && back.elapsed() < SOON {
            heartbeat();
            assert!(!(has(&seats[0]) && has(&seats[1])), "both have it");
            sleep(Duration::from_millis(100)).await;
        }
        assert!(has(&seats[0]));
    });
}

#[test]
fn part_with_a_new_channel_gets_the_known_leases() {
    simulate(1, |seats, _, _| async move {
        wants(&seats[0], 220);
        comes_to(&seats, 0).await;
        let reports = || seats[0].machine.borrow().shows().lease_reports;
        let (began, before) = (Instant::now(), reports());
        while reports() == before && began.elapsed() < SOON {
            seats[0].machine.borrow().tell(News::Connected);
            sleep(Duration::from_millis(1)).await;
        }
        assert!(reports() > before && has(&seats[0]));
    });
}

#[test]
fn certificate_of_a_part_is_repeated_without_a_change() {
    simulate(1, |seats, _, _| async move {
        let sent = || seats[0].machine.borrow().shows().credentials;
        let is_repeated = || {
            let sent = sent();
            let last = sent.last();
            last.is_some() && sent.iter().filter(|one| Some(*one) == last).count() >= 3
        };
        let began = Instant::now();
        while !is_repeated() && began.elapsed() < SOON {
            sleep(A_WHILE).await;
        }
        assert!(is_repeated(), "{} times", sent().len());
        // An arbiter has no roles that get credentials.
        let arbiter = seats[2].machine.borrow().shows().credentials;
        assert!(arbiter.is_empty());
    });
}

async fn record(seat: &SimulatedMachine, epoch: u64, value: &[u8]) -> Recorded {
    let machine = seat.machine.borrow().clone();
    let ask = machine.shows().recorded.len() as u64 + 1;
    let name = LEASE.to_owned();
    let record = LeaseRecord {
        name,
        epoch: Epoch(epoch),
        number: 1,
        value: value.to_vec(),
        frees: String::new(),
    };
    machine.tell(News::Records { ask, record });
    loop {
        let shows = machine.shows();
        if let Some((_, outcome)) = shows.recorded.iter().find(|(of, _)| *of == ask) {
            return outcome.clone();
        }
        sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn only_parts_that_named_their_leases_are_informed_of_them() {
    simulate(1, |seats, _, _| async move {
        let machine = seats[0].machine.borrow().clone();
        wants(&seats[0], 220);
        comes_to(&seats, 0).await;
        machine.tell(News::Connected);
        let reports = machine.shows().lease_reports;
        while machine.shows().lease_reports == reports {
            sleep(Duration::from_millis(5)).await;
        }
        assert!(machine.shows().informed_parts.iter().eq(["address"]));
        let part = "guest".to_owned();
        let leases = Vec::new();
        machine.tell(News::WantsLeases { part, leases });
        while !machine.shows().informed_parts.contains("guest") {
            sleep(Duration::from_millis(5)).await;
        }
    });
}

#[test]
fn the_record_of_a_lease_is_its_holders_and_the_next_one_has_it() {
    simulate(1, |seats, _, _| async move {
        let refused = record(&seats[0], 0, b"early").await;
        assert!(matches!(refused, Recorded::Refused { .. }), "{refused:?}");
        wants(&seats[0], 220);
        comes_to(&seats, 0).await;
        // A member that only watches never gets the lease, and sees all of its state.
        let watch = vec![WantedLease {
            name: LEASE.to_owned(),
            rank: 250,
            watch: true,
            valid_ms: 0,
        }];
        seats[1].machine.borrow().tell(wants_leases(watch));
        let known = |at: usize| seats[at].machine.borrow().shows().held.first().cloned();
        let epoch = known(0).map_or(0, |lease| lease.epoch);
        assert_eq!(record(&seats[0], epoch, b"mine").await, Recorded::Written);
        let refused = record(&seats[1], epoch, b"theirs").await;
        assert!(matches!(refused, Recorded::Refused { .. }), "{refused:?}");
        while known(1).is_none_or(|lease| lease.record != b"mine") {
            sleep(Duration::from_millis(5)).await;
        }
        let seen = known(1).expect("it was there");
        assert_eq!((seen.until_ns, seen.epoch), (0, epoch));
        assert_eq!(seen.holder, seats[0].name);
        assert!(has(&seats[0]) && !has(&seats[1]));
        wants(&seats[1], 250);
        comes_to(&seats, 1).await;
        let lease = known(1).expect("it has it");
        assert_eq!(lease.record, b"mine");
        assert_eq!(lease.epoch, epoch + 1);
        let refused = record(&seats[0], epoch, b"late").await;
        assert!(matches!(refused, Recorded::Refused { .. }), "{refused:?}");
    });
}
