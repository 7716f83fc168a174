//! Tests the memory shared with the process that moves virtual addresses: heartbeats of threads,
//! the judgement of services, and addresses that are about to leave the machine.

use crate::bed::{PATIENCE, ScriptedOrigin, against_haproxy, alone};
use configuration::LoadOptions;
use keyword::load::load;
use model::config::{BindAddress, Config, Service};
use model::state;
use protocol::vitals::{Band, Pulse, Vitals, WORDS};
use proxy::running::{DataPlane, ServeOptions};
use proxy::runtime::Runtime;
use proxy::vitals;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// An address that no machine here has (RFC 5737).
const ELSEWHERE: [u8; 4] = [192, 0, 2, 250];

fn config(origin: u16) -> Config {
    let port = lab::free_port().expect("a port");
    let text = format!(
        "defaults\n mode http\n timeout client 10s\n timeout server 10s\n timeout connect 5s\n\
         frontend www\n bind 127.0.0.1:{port}\n bind 192.0.2.250:{port}\n default_backend app\n\
         backend app\n server s 127.0.0.1:{origin}\n"
    );
    let files = vec![("vitals.cfg".to_owned(), text.into_bytes())];
    let facts = language::Facts::new("2.6.12");
    let loaded = load(
        files,
        language::Environment::empty(),
        facts,
        LoadOptions::default(),
    );
    let mut config = loaded.config.expect("no error");
    config.services = vec![Service {
        name: "www".into(),
        addresses: vec![[127, 0, 0, 1].into(), ELSEWHERE.into()],
        ..Service::default()
    }];
    config
}

/// A side thread, which stops when this is dropped.
struct SideThread(Arc<AtomicBool>, Option<std::thread::JoinHandle<()>>);

impl SideThread {
    fn start(running: &DataPlane) -> SideThread {
        let runtime = running.runtime;
        let ends = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&ends);
        let thread = std::thread::spawn(move || {
            let tokio = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            tokio.expect("a runtime").block_on(async move {
                let _watching = vitals::start(runtime);
                while !ended.load(Ordering::Relaxed) {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            });
        });
        SideThread(ends, Some(thread))
    }
}

impl Drop for SideThread {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        let _ = self.1.take().map(|thread| thread.join());
    }
}

fn wait_until(what: &str, mut is: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < end, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn ask(client: &mut TcpStream) -> String {
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        .expect("written");
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\r\n\r\n") && client.read(&mut byte).expect("read") > 0 {
        answer.extend(byte);
    }
    String::from_utf8(answer)
        .expect("text")
        .to_ascii_lowercase()
}

/// Checks that the reported health follows the states of the servers.
fn is_judged(memory: &Vitals<'_>, config: &Config) {
    wait_until("it beats and is judged", || {
        memory.band("www", part::clock::boottime_ms()) == Some(Band::All)
    });
    let app = config.proxy(config.backend("app").expect("there"));
    app.servers[0]
        .state
        .set_admin(state::AdminState::Maintenance, state::now_ms());
    wait_until("nothing is served", || {
        memory.band("www", part::clock::boottime_ms()) == Some(Band::None)
    });
    app.servers[0]
        .state
        .set_admin(state::AdminState::Ready, state::now_ms());
    wait_until("all is served", || {
        memory.band("www", part::clock::boottime_ms()) == Some(Band::All)
    });
}

/// Checks that a blocked thread counts as not serving.
fn a_stuck_thread_is_seen(memory: &Vitals<'_>) {
    let (stuck, go_on) = (Arc::new(AtomicBool::new(true)), PATIENCE);
    let holds = Arc::clone(&stuck);
    let held = reactor::inject(0, move || {
        let end = Instant::now() + go_on;
        while holds.load(Ordering::Relaxed) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    assert!(held.is_ok());
    wait_until("a stuck thread is seen", || {
        matches!(
            memory.pulse(part::clock::boottime_ms()),
            Pulse::Stuck {
                silent: 1,
                threads: 1,
                ..
            }
        )
    });
    assert_eq!(
        memory.band("www", part::clock::boottime_ms()),
        Some(Band::None)
    );
    stuck.store(false, Ordering::Relaxed);
    wait_until("it beats again", || {
        memory.pulse(part::clock::boottime_ms()) == Pulse::Beats
    });
}

/// Checks that clients of a draining address finish, and that their connections are closed.
fn clients_are_led_to_their_end(memory: &Vitals<'_>, here: SocketAddr, runtime: &'static Runtime) {
    let mut client = TcpStream::connect(here).expect("connected");
    client.set_read_timeout(Some(PATIENCE)).expect("set");
    assert!(!ask(&mut client).contains("connection: close"));
    let slot = memory.find("www").expect("described");
    memory.set_drain(slot, Some(part::clock::boottime_ms() + 60_000));
    wait_until("the wish is heard", || {
        memory.requests_in_progress(slot).is_some()
    });
    assert!(ask(&mut client).contains("connection: close"));
    let mut late = TcpStream::connect(here).expect("new connections are served");
    late.set_read_timeout(Some(PATIENCE)).expect("set");
    assert!(ask(&mut late).starts_with("http/1.1 200"));
    drop((client, late));
    wait_until("nothing is under way", || {
        memory.requests_in_progress(slot) == Some(0)
    });
    let drains = || vitals::report(runtime).subjects[0].why == "draining";
    assert!(drains());
    memory.set_drain(slot, None);
    wait_until("it goes on", || !drains());
}

/// Checks a drain during an upgrade: another process writes the request, and clients of this one
/// are still connected.
fn those_of_a_process_that_is_followed_are_too(memory: &Vitals<'_>, here: SocketAddr) {
    let connect = || {
        let client = TcpStream::connect(here).expect("connected");
        client.set_read_timeout(Some(PATIENCE)).expect("set");
        client
    };
    let mut client = connect();
    wait_until("clients stay again", || {
        client = connect();
        !ask(&mut client).contains("connection: close")
    });
    memory.claim(1, 1);
    let slot = memory.find("www").expect("described");
    memory.set_drain(slot, Some(part::clock::boottime_ms() + 60_000));
    wait_until("it is led to its end", || {
        ask(&mut client).contains("connection: close")
    });
    memory.set_drain(slot, None);
}

#[test]
fn heartbeats_service_levels_and_address_drain_work() {
    if against_haproxy() {
        return;
    }
    let _one = alone();
    let origin = ScriptedOrigin::fixed("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let mut config = config(origin.port);
    model::control::install(&mut config, None, state::now_ms());
    // An address is not on this machine, and no sysctl was set for it.
    let (listening, errors) = proxy::listener::open(&config, &mut Default::default());
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(listening.len(), 2);
    let BindAddress::Inet(here) = config.proxies[0].binds[0].address else {
        panic!("an address");
    };
    let config = Arc::new(config);
    let options = ServeOptions {
        threads: 1,
        connections_max: 1_000,
    };
    let running = proxy::running::serve(Arc::clone(&config), listening, &options).expect("serves");
    let words: Vec<AtomicU64> = (0..WORDS).map(|_| AtomicU64::new(0)).collect();
    let words: &'static [AtomicU64] = Box::leak(words.into_boxed_slice());
    let memory = Vitals::begin(words).expect("long enough");
    vitals::share(running.runtime, words).expect("begun");
    let side = SideThread::start(&running);

    is_judged(&memory, &config);
    a_stuck_thread_is_seen(&memory);
    clients_are_led_to_their_end(&memory, here, running.runtime);
    those_of_a_process_that_is_followed_are_too(&memory, here);

    running.soft_stop();
    assert_eq!(memory.pulse(part::clock::boottime_ms()), Pulse::NotBegun);
    drop(side);
    running.wait().expect("ends");
}
