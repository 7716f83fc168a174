//! Tests the queues of servers and backends, with and without threads.

use super::{
    Admission, Asker, Assignment, Granted, Ordering, QueueRefusal, ServerPreference, ServerSlot,
    ServerState, Ticket,
};
use crate::config::{Balance, Config, ProxyIndex, ServerIndex, ServerOptions};
use crate::queue::testing::tree;
use crate::state::AdminState;
use crate::transaction::Priority;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

pub(super) struct Stub {
    config: Arc<Config>,
    server: Option<ServerIndex>,
    backend_queue: u32,
}

pub(super) fn stream(config: &Arc<Config>) -> Stub {
    Stub {
        config: Arc::clone(config),
        server: None,
        backend_queue: 0,
    }
}

pub(super) fn assign(stub: &mut Stub, avoid: Option<ServerIndex>) -> Assignment {
    assign_wish(
        stub,
        ServerPreference {
            server: None,
            avoid,
            forced: false,
        },
    )
}

fn assign_wish(stub: &mut Stub, wish: ServerPreference) -> Assignment {
    let asker = Asker {
        config: &stub.config,
        backend: ProxyIndex(0),
        key: Some(0x7f00_0001),
        preference: wish,
        priority: Priority::default(),
    };
    let place = asker.assign();
    stub.backend_queue = place.backend_queue.unwrap_or(0);
    match place.outcome {
        Admission::Granted(granted) => {
            stub.server = Some(granted.server);
            Assignment::Granted(granted.slot)
        }
        Admission::Wait(ticket) => Assignment::Wait(ticket),
        Admission::Refused(refusal) => Assignment::Refused(refusal),
    }
}

pub(super) fn limited(maxconn: u32) -> ServerOptions {
    ServerOptions {
        maxconn,
        ..ServerOptions::default()
    }
}

pub(super) fn slot(assignment: Assignment) -> ServerSlot {
    match assignment {
        Assignment::Granted(slot) => slot,
        other => panic!("no slot: {other:?}"),
    }
}

pub(super) fn ticket(assignment: Assignment) -> Ticket {
    match assignment {
        Assignment::Wait(ticket) => ticket,
        other => panic!("does not wait: {other:?}"),
    }
}

struct Unpark(std::thread::Thread, AtomicUsize);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.unpark();
    }
}

/// Waits for a ticket on this thread for at most `most`.
pub(super) fn wait(ticket: Ticket, most: Duration) -> Option<Granted> {
    let wake = Arc::new(Unpark(std::thread::current(), AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&wake));
    let mut context = Context::from_waker(&waker);
    let mut ticket = pin!(ticket);
    let until = Instant::now() + most;
    loop {
        if let Poll::Ready(granted) = ticket.as_mut().poll(&mut context) {
            return Some(granted);
        }
        let left = until.checked_duration_since(Instant::now())?;
        std::thread::park_timeout(left);
    }
}

fn ready(ticket: &mut Ticket) -> Option<Granted> {
    ticket.granted()
}

fn sessions(config: &Config, n: usize) -> u32 {
    config.proxies[0].servers[n]
        .state
        .traffic
        .sessions
        .current()
}

#[test]
fn who_finds_no_slot_waits_and_gets_the_next_one_in_turn() {
    let config = tree(Balance::RoundRobin, &[limited(1)]);
    let first = slot(assign(&mut stream(&config), None));
    let mut waiting = stream(&config);
    let mut second = ticket(assign(&mut waiting, None));
    let mut third = ticket(assign(&mut stream(&config), None));
    assert_eq!(waiting.backend_queue, 1);
    assert_eq!(config.proxies[0].state.backend.queue.waiting.current(), 2);
    assert!(ready(&mut second).is_none());
    drop(first);
    // The slot was transferred: a later stream cannot overtake.
    let mut late = ticket(assign(&mut stream(&config), None));
    let granted = ready(&mut second).unwrap();
    assert_eq!(granted.server, ServerIndex(0));
    assert!(ready(&mut third).is_none());
    drop(granted);
    assert!(ready(&mut late).is_none());
    let granted = ready(&mut third).unwrap();
    assert_eq!(sessions(&config, 0), 1);
    drop((granted, late));
    assert_eq!(sessions(&config, 0), 0);
    assert_eq!(config.proxies[0].state.backend.queue.waiting.current(), 0);
    assert_eq!(config.proxies[0].state.backend.queue.waiting.highest(), 2);
}

#[test]
fn a_ticket_that_is_dropped_leaves_and_gives_its_slot_on() {
    let config = tree(Balance::RoundRobin, &[limited(1)]);
    let held = slot(assign(&mut stream(&config), None));
    let leaver = ticket(assign(&mut stream(&config), None));
    let winner = ticket(assign(&mut stream(&config), None));
    let mut last = ticket(assign(&mut stream(&config), None));
    drop(leaver);
    drop(held);
    // The winner leaves the queue without taking its slot.
    drop(winner);
    let granted = ready(&mut last).unwrap();
    drop(granted);
    assert_eq!(sessions(&config, 0), 0);
}

#[test]
fn a_server_queue_overflows_to_the_balance() {
    let one = ServerOptions {
        maxconn: 1,
        maxqueue: 1,
        ..ServerOptions::default()
    };
    let config = tree(Balance::RoundRobin, &[one.clone(), one]);
    let wish = ServerPreference {
        server: Some(ServerIndex(0)),
        avoid: None,
        forced: false,
    };
    let held = slot(assign_wish(&mut stream(&config), wish));
    let mut first = stream(&config);
    let waits = ticket(assign_wish(&mut first, wish));
    assert_eq!(
        config.proxies[0].servers[0].state.queue.waiting.current(),
        1
    );
    let mut second = stream(&config);
    let other = slot(assign_wish(&mut second, wish));
    assert_eq!(second.server, Some(ServerIndex(1)));
    drop((held, other));
    assert_eq!(
        wait(waits, Duration::from_secs(5)).unwrap().server,
        ServerIndex(0)
    );
}

#[test]
fn the_older_of_both_queues_is_served_first() {
    let config = tree(Balance::RoundRobin, &[limited(1)]);
    let held = slot(assign(&mut stream(&config), None));
    let mut any = ticket(assign(&mut stream(&config), None));
    let wish = ServerPreference {
        server: Some(ServerIndex(0)),
        avoid: None,
        forced: false,
    };
    let mut own = ticket(assign_wish(&mut stream(&config), wish));
    drop(held);
    assert!(ready(&mut own).is_none());
    drop(ready(&mut any).unwrap());
    assert!(ready(&mut own).is_some());
}

#[test]
fn who_waits_for_a_server_that_goes_down_gets_another() {
    let config = tree(Balance::RoundRobin, &[limited(1), limited(1)]);
    let wish = |n| ServerPreference {
        server: Some(ServerIndex(n)),
        avoid: None,
        forced: false,
    };
    let held = slot(assign_wish(&mut stream(&config), wish(0)));
    let mut first = ticket(assign_wish(&mut stream(&config), wish(0)));
    let mut second = ticket(assign_wish(&mut stream(&config), wish(0)));
    let down = &config.proxies[0].servers[0].state;
    let change = down.set_admin(AdminState::Maintenance, 5);
    assert_eq!(change.requeued, 2);
    let granted = ready(&mut first).unwrap();
    assert_eq!(granted.server, ServerIndex(1));
    assert!(ready(&mut second).is_none());
    // A server that comes up serves the remaining waiters once its slot is free.
    drop(held);
    assert!(ready(&mut second).is_none());
    down.set_admin(AdminState::Ready, 6);
    assert_eq!(ready(&mut second).unwrap().server, ServerIndex(0));
}

#[test]
fn a_backend_that_comes_up_serves_its_queue() {
    let config = tree(Balance::RoundRobin, &[limited(2), limited(1)]);
    let state = |n: usize| &config.proxies[0].servers[n].state;
    state(0).set_admin(AdminState::Maintenance, 5);
    let _held = slot(assign(&mut stream(&config), None));
    let mut waits: Vec<Ticket> = (0..3)
        .map(|_| ticket(assign(&mut stream(&config), None)))
        .collect();
    state(0).set_admin(AdminState::Ready, 6);
    let got: Vec<Option<ServerIndex>> = waits
        .iter_mut()
        .map(|t| {
            t.granted().map(|g| {
                let s = g.server;
                std::mem::forget(g.slot);
                s
            })
        })
        .collect();
    assert_eq!(got, [Some(ServerIndex(0)), Some(ServerIndex(0)), None]);
}

#[test]
fn without_a_usable_server_no_one_waits() {
    let config = tree(Balance::RoundRobin, &[limited(1)]);
    config.proxies[0].servers[0]
        .state
        .set_admin(AdminState::Maintenance, 5);
    let refused = assign(&mut stream(&config), None);
    assert!(matches!(
        refused,
        Assignment::Refused(QueueRefusal::NoServer)
    ));
}

#[test]
fn a_raised_limit_is_used_at_once() {
    let config = tree(Balance::LeastConnections, &[limited(1)]);
    let _held = slot(assign(&mut stream(&config), None));
    let mut waits = ticket(assign(&mut stream(&config), None));
    config.proxies[0].servers[0].state.set_maxconn(2);
    assert!(ready(&mut waits).is_some());
}

#[test]
fn a_retry_waits_for_another_server_than_the_one_that_failed() {
    let config = tree(Balance::RoundRobin, &[limited(1), limited(1)]);
    let mut first = stream(&config);
    let held = slot(assign(&mut first, None));
    let mut second = stream(&config);
    let other = slot(assign(&mut second, None));
    assert_ne!(first.server, second.server);
    let mut waits = ticket(assign(&mut stream(&config), first.server));
    drop(held);
    assert!(ready(&mut waits).is_none());
    drop(other);
    assert_eq!(waits.granted().unwrap().server, second.server.unwrap());
}

#[test]
fn the_limit_follows_the_load_of_the_backend() {
    let options = ServerOptions {
        minconn: 10,
        maxconn: 100,
        ..ServerOptions::default()
    };
    let config = tree(Balance::RoundRobin, &[options]);
    let backend = &config.proxies[0].state;
    backend.backend.fullconn.store(1000, Ordering::Relaxed);
    let server = &config.proxies[0].servers[0].state;
    assert_eq!(server.limit(), 10);
    (0..500).for_each(|_| _ = backend.backend.sessions.increment());
    assert_eq!(server.limit(), 50);
    (0..600).for_each(|_| _ = backend.backend.sessions.increment());
    assert_eq!(server.limit(), 100);
}

/// Takes slots, waits and leaves at random; calls `served` with each slot held.
fn random_work(config: &Arc<Config>, thread: usize, rounds: u32, served: impl Fn()) {
    let count = config.proxies[0].servers.len() as u32;
    let mut seed = thread as u64 * 7919 + 1;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for _ in 0..rounds {
        let mut stream = stream(config);
        let wish = ServerPreference {
            server: (random() % 4 == 0).then(|| ServerIndex(random() as u32 % count)),
            avoid: None,
            forced: false,
        };
        let slot = match assign_wish(&mut stream, wish) {
            Assignment::Granted(slot) => slot,
            Assignment::Wait(ticket) if random() % 8 == 0 => {
                if random() % 2 == 0 {
                    std::thread::yield_now();
                }
                drop(ticket);
                continue;
            }
            Assignment::Wait(ticket) => {
                let granted = wait(ticket, Duration::from_secs(20));
                granted.expect("nobody waits for ever").slot
            }
            Assignment::Refused(why) => panic!("{why:?}"),
        };
        served();
        if random() % 3 == 0 {
            std::thread::yield_now();
        }
        drop(slot);
    }
}

/// Takes a server down and up again while other streams are served.
fn come_and_go(state: &Arc<ServerState>, served: &AtomicU64) {
    let mut last = u64::MAX;
    while served.load(Ordering::SeqCst) != last {
        last = served.load(Ordering::SeqCst);
        state.set_admin(AdminState::Maintenance, 1);
        std::thread::sleep(Duration::from_millis(1));
        state.set_admin(AdminState::Ready, 2);
        state.set_weight(last as u32 % 5 + 1, 3);
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Runs random work on many threads: takes, waits, leaves, state changes.
fn storm(balance: Balance, servers: u32, threads: usize, rounds: u32) {
    let limit = |n: u32| n % 3 + 1;
    let options = |n| ServerOptions {
        maxconn: limit(n),
        weight: limit(n),
        ..Default::default()
    };
    let servers: Vec<ServerOptions> = (0..servers).map(options).collect();
    let config = tree(balance, &servers);
    let over = AtomicU32::new(0);
    let served = AtomicU64::new(0);
    let check = || {
        for (n, server) in config.proxies[0].servers.iter().enumerate() {
            if server.state.traffic.sessions.current() > limit(n as u32) {
                over.fetch_add(1, Ordering::SeqCst);
            }
        }
        served.fetch_add(1, Ordering::SeqCst);
    };
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (config, check) = (&config, &check);
            scope.spawn(move || random_work(config, thread, rounds, check));
        }
        // The second server goes down and up; the others are always available.
        scope.spawn(|| come_and_go(&config.proxies[0].servers[1].state, &served));
    });
    assert_eq!(over.load(Ordering::SeqCst), 0, "more sessions than maxconn");
    for server in &config.proxies[0].servers {
        assert_eq!(server.state.traffic.sessions.current(), 0);
        assert_eq!(server.state.queue.waiting.current(), 0);
        assert!(server.state.queue.list().is_empty());
    }
    let queue = &config.proxies[0].state.backend.queue;
    assert_eq!(queue.waiting.current(), 0);
    assert!(queue.list().is_empty());
}

#[test]
fn under_a_storm_sums_stay_right_and_nobody_waits_for_ever() {
    for balance in [
        Balance::RoundRobin,
        Balance::LeastConnections,
        Balance::StaticRoundRobin,
        Balance::First,
        Balance::Random(2),
        Balance::Source,
    ] {
        storm(balance, 3, 8, 3000);
    }
}

#[test]
fn a_storm_over_more_servers_than_are_looked_at_one_by_one() {
    storm(Balance::LeastConnections, 20, 50, 300);
    storm(Balance::RoundRobin, 20, 50, 300);
}
