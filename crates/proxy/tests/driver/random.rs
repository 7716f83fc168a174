//! Installs random configurations one after the other while random clients send requests. A seed
//! determines both; `DRIVER_SEED=N` repeats a run. Each response must fit a configuration that
//! was in service between the request and its end, and no request may fail.

use crate::bed::{
    PATIENCE, Peer, ProxyFixture, ScriptedOrigin, against_haproxy, pause, request_body,
};
use lab::Random;
use model::state::{HealthState, now_ms};
use proxy::running::ServeOptions;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Time for which the clients of one seed send requests.
const RUN: Duration = Duration::from_millis(2500);
const ORIGINS: usize = 4;

/// Selects some of the origins, at least one.
fn some_origins(random: &mut Random) -> Vec<usize> {
    let mut some: Vec<usize> = (0..ORIGINS).filter(|_| random.once_in(2)).collect();
    if some.is_empty() {
        some.push(random.index(ORIGINS));
    }
    if random.once_in(2) {
        some.reverse();
    }
    some
}

/// Expected responses of a configuration.
#[derive(Clone, Default)]
struct Model {
    /// Origins of the frontend `main`, which always exists.
    main: Vec<usize>,
    /// Origins of the frontend `guest`, which exists only at times.
    guest: Option<Vec<usize>>,
    /// True if `guest` does not exist for HTTP; existing clients stay on their configuration.
    shuts_out: bool,
}

struct ProxySimulation {
    origins: Vec<ScriptedOrigin>,
    dead: ScriptedOrigin,
    /// Models of all versions, each added before its version is installed.
    models: Mutex<Vec<Model>>,
    /// The version that is certainly in service.
    serves: AtomicU64,
    stop: AtomicBool,
    requests: AtomicU64,
}

impl ProxySimulation {
    fn range(&self, since: u64) -> Vec<Model> {
        let models = self.models.lock().unwrap();
        models[since as usize - 1..].to_vec()
    }
}

/// Creates an origin that responds with its number, the target and the body, and after an upgrade
/// echoes all bytes.
fn origin(number: usize) -> ScriptedOrigin {
    ScriptedOrigin::new(move |mut peer, _| {
        while let Some(head) = peer.head() {
            if head.contains("Upgrade") {
                peer.send(
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: e\r\n\r\n",
                );
                while matches!(peer.more(), Ok(true)) {
                    let bytes = std::mem::take(&mut peer.ahead);
                    if !peer.try_send(bytes) {
                        break;
                    }
                }
                return;
            }
            if head.contains("100-continue") && !peer.try_send("HTTP/1.1 100 Continue\r\n\r\n") {
                return;
            }
            let body = request_body(&mut peer, &head);
            let target = head.split(' ').nth(1).unwrap_or_default();
            if target.ends_with("slow") {
                pause(20);
            }
            let text = format!("{number} {target} {}", String::from_utf8_lossy(&body));
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}",
                text.len()
            );
            if !peer.try_send(answer) {
                return;
            }
        }
    })
}

/// Returns the server lines for these origins, and for the one that is down.
fn servers(random: &mut Random, world: &ProxySimulation, origins: &[usize], dead: bool) -> String {
    let mut taken = Vec::new();
    let mut lines = Vec::new();
    for at in origins {
        let limit = match random.below(5) {
            0 => format!(" maxconn {}", 1 + random.below(3)),
            1 => format!(" weight {}", 1 + random.below(20)),
            2 => " pool-max-conn 2".to_owned(),
            3 => " minconn 1 maxconn 3".to_owned(),
            _ => String::new(),
        };
        // Another version may use the same name for another address.
        let mut name = if random.once_in(4) { at + 1 } else { *at };
        while taken.contains(&name) {
            name += 1;
        }
        taken.push(name);
        let port = world.origins[*at].port;
        lines.push(format!(" server s{name} 127.0.0.1:{port}{limit}\n"));
    }
    if dead {
        let at = random.below(lines.len() as u64 + 1) as usize;
        let options = random.pick(&[
            "",
            " weight 200",
            " rise 3",
            " fall 1 maxconn 4",
            " inter 50m",
        ]);
        let name = random.pick(&["dead", "dead", "gone"]);
        let port = world.dead.port;
        lines.insert(
            at,
            format!(" server {name} 127.0.0.1:{port} check inter 1h{options}\n"),
        );
    }
    lines.concat()
}

fn back(random: &mut Random) -> String {
    let balance = random.pick(&["roundrobin", "leastconn", "static-rr", "random", "first"]);
    let reuse = random.pick(&["safe", "always", "never", "aggressive"]);
    let close = random.pick(&["", " option http-server-close\n"]);
    format!(" balance {balance}\n http-reuse {reuse}\n timeout queue 5s\n{close}")
}

/// Returns the text of version `n`, and its expected responses.
fn configuration(random: &mut Random, world: &ProxySimulation, n: u64) -> (String, Model) {
    let mut sections = Vec::new();
    let captures = " capture request header Host len 9\n".repeat(random.below(3) as usize);
    let limit = random.pick(&["", " maxconn 2\n", " maxconn 100\n"]);
    let front = format!(
        " timeout client {}s\n{captures} http-request set-var(sess.n) int({n})\n \
         http-response set-header x-version %[var(sess.n)]\n",
        5 + n % 3
    );
    let main = some_origins(random);
    let (lines, settings) = (servers(random, world, &main, true), back(random));
    if random.once_in(3) {
        sections.push(format!(
            "listen main\n bind 127.0.0.1:{{0}}\n{front}{settings}{lines}"
        ));
    } else {
        let other = random.pick(&["", " bind 127.0.0.1:{3}\n"]);
        let name = random.pick(&["main", "main", "back"]);
        sections.push(format!(
            "frontend main\n{other} bind 127.0.0.1:{{0}}\n{front} default_backend {name}\n"
        ));
        sections.push(format!("backend {name}\n{settings}{lines}"));
    }
    let guest = (!random.once_in(4)).then(|| some_origins(random));
    let mut shuts_out = guest.is_none();
    if let Some(origins) = &guest {
        let (lines, settings) = (servers(random, world, origins, false), back(random));
        let mode = random.pick(&["http", "http", "tcp"]);
        shuts_out = mode == "tcp";
        sections.push(format!(
            "listen guest\n mode {mode}\n bind 127.0.0.1:{{1}}\n{limit}{front}{settings}{lines}"
        ));
    }
    let tunnel = servers(random, world, &[0], false);
    sections.push(format!(
        "listen tunnel\n mode tcp\n bind 127.0.0.1:{{2}}\n{tunnel}"
    ));
    if random.once_in(2) {
        sections.reverse();
    }
    let model = Model {
        main,
        guest,
        shuts_out,
    };
    (sections.concat(), model)
}

/// Sends a request and reads the response. None: the connection has ended.
fn exchange(
    peer: &mut Peer,
    random: &mut Random,
    n: u64,
) -> Option<(String, crate::peer::ClientResponse)> {
    let slow = if random.once_in(3) { "slow" } else { "" };
    let path = format!("/{n}{slow}");
    let body = "x".repeat(random.below(5000) as usize);
    let length = body.len();
    match random.below(5) {
        0 => {
            // The configuration change may come within the head or the body.
            let head =
                format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n");
            let whole = format!("{head}{body}");
            let at = random.below(whole.len() as u64) as usize;
            if !peer.try_send(&whole[..at]) {
                return None;
            }
            pause(random.below(8));
            if !peer.try_send(&whole[at..]) {
                return None;
            }
            let answer = peer.answer_if_any()?;
            return Some((format!("{path} {body}"), answer));
        }
        1 => {
            let head = format!(
                "POST {path} HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
            );
            if !peer.try_send(head) {
                return None;
            }
            let first = peer.answer_if_any()?;
            assert_eq!(first.status, 100, "{}", first.head);
            pause(random.below(8));
            if !peer.try_send(&body) {
                return None;
            }
            let answer = peer.answer_if_any()?;
            return Some((format!("{path} {body}"), answer));
        }
        _ => {
            if !peer.try_send(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n")) {
                return None;
            }
        }
    }
    Some((format!("{path} "), peer.answer_if_any()?))
}

/// Runs a client of the frontend `main` (port 0) or `guest` (port 1).
fn client(world: &ProxySimulation, port: u16, guest: bool, seed: u64) {
    let mut random = Random::new(seed);
    let mut peer: Option<(Peer, bool)> = None;
    let mut n = 0;
    while !world.stop.load(Ordering::SeqCst) {
        n += 1;
        let since = world.serves.load(Ordering::SeqCst);
        let (mut one, fresh) = match peer.take() {
            Some(kept) => kept,
            None => match TcpStream::connect(("127.0.0.1", port)) {
                Ok(socket) => (Peer::new(socket), true),
                Err(error) => {
                    let range = world.range(since);
                    let gone = guest && range.iter().any(|model| model.guest.is_none());
                    assert!(gone, "refused: {error}");
                    pause(1);
                    continue;
                }
            },
        };
        let answer = exchange(&mut one, &mut random, n);
        let range = world.range(since);
        let gone = guest && range.iter().any(|model| model.guest.is_none());
        let Some((rest, answer)) = answer else {
            // Only a closed listener may lose connections that nobody had accepted.
            assert!(gone && fresh, "no answer; fresh {fresh}, guest {guest}");
            continue;
        };
        assert_eq!(answer.status, 200, "{}", answer.head);
        let closes = answer.head.contains("connection: close");
        let left_behind = guest && (closes || range.iter().any(|model| model.shuts_out));
        assert!(!closes || guest, "{}", answer.head);
        let version: Option<u64> = answer
            .head
            .split_once("x-version: ")
            .and_then(|(_, rest)| rest.split("\r\n").next()?.parse().ok());
        // The response came through `guest` in TCP mode.
        let Some(version) = version else {
            assert!(guest, "no version: {}", answer.head);
            continue;
        };
        let last = since + range.len() as u64 - 1;
        assert!(
            left_behind || (since..=last).contains(&version),
            "version {version} of {since} to {last}: {}",
            answer.head
        );
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let (number, found) = text.split_once(' ').expect("an origin's number");
        assert_eq!(found, rest);
        let number: usize = number.parse().unwrap();
        if let Some(model) = version
            .checked_sub(since)
            .and_then(|at| range.get(at as usize))
        {
            let origins = if guest {
                model.guest.as_ref()
            } else {
                Some(&model.main)
            };
            let allowed = origins.is_some_and(|origins| origins.contains(&number));
            assert!(allowed, "origin {number} in version {version}");
        }
        world.requests.fetch_add(1, Ordering::Relaxed);
        if !closes && !random.once_in(4) {
            peer = Some((one, false));
        }
    }
}

/// Runs a long-lived tunnel that sends data occasionally.
fn tunnel(world: &ProxySimulation, port: u16, upgrade: bool) {
    let mut peer = Peer::new(TcpStream::connect(("127.0.0.1", port)).unwrap());
    peer.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: e\r\n\r\n");
    assert!(
        peer.head().unwrap().starts_with("HTTP/1.1 101"),
        "{upgrade}"
    );
    let mut n = 0;
    while !world.stop.load(Ordering::SeqCst) {
        n += 1;
        peer.send(format!("{n}\n"));
        assert_eq!(peer.until("\n"), format!("{n}\n"));
        pause(20);
        if n % 20 == 0 {
            return;
        }
    }
}

fn run(seed: u64) {
    println!("DRIVER_SEED={seed}");
    let mut random = Random::new(seed);
    let world = Arc::new(ProxySimulation {
        origins: (0..ORIGINS).map(origin).collect(),
        dead: ScriptedOrigin::new(|_, _| {}),
        models: Mutex::default(),
        serves: AtomicU64::new(1),
        stop: AtomicBool::new(false),
        requests: AtomicU64::new(0),
    });
    let options = |random: &mut Random| ServeOptions {
        threads: 1 + random.below(4) as usize,
        connections_max: 20_000,
    };
    let (text, model) = configuration(&mut random, &world, 1);
    world.models.lock().unwrap().push(model);
    // No request is sent before the dead server is known to be down.
    let mut bed = ProxyFixture::with(&text, &options(&mut random));
    for server in bed.config().proxies.iter().flat_map(|proxy| &proxy.servers) {
        if server.options.check {
            server.state.set_health(HealthState::Down, now_ms());
        }
    }
    let mut clients = Vec::new();
    let (main, guest, tcp) = (bed.ports[0], bed.ports[1], bed.ports[2]);
    for at in 0..8 {
        let world = Arc::clone(&world);
        let own = random.below(u64::MAX);
        clients.push(std::thread::spawn(move || match at {
            0..=4 => client(&world, main, false, own),
            5 => client(&world, guest, true, own),
            6 => {
                while !world.stop.load(Ordering::SeqCst) {
                    tunnel(&world, main, true);
                }
            }
            _ => {
                while !world.stop.load(Ordering::SeqCst) {
                    tunnel(&world, tcp, false);
                }
            }
        }));
    }
    let began = Instant::now();
    let mut n = 1;
    while began.elapsed() < RUN && clients.iter().all(|client| !client.is_finished()) {
        n += 1;
        let (text, model) = configuration(&mut random, &world, n);
        world.models.lock().unwrap().push(model);
        let changed = bed.change_to(&text, &options(&mut random));
        assert_eq!(changed.version, n);
        world.serves.store(n, Ordering::SeqCst);
        pause([0, 0, 1, 5, 30][random.below(5) as usize]);
    }
    world.stop.store(true, Ordering::SeqCst);
    for client in clients {
        assert!(client.join().is_ok(), "DRIVER_SEED={seed}, version {n}");
    }
    let requests = world.requests.load(Ordering::Relaxed);
    println!("{n} changes, {requests} requests");
    assert_eq!(world.dead.accepted(), 0, "DRIVER_SEED={seed}");
    bed.versions_become(&[(n, 0)]);
    nothing_is_held(&bed, seed);
}

/// Checks that all connection slots, server slots and turns were released.
fn nothing_is_held(bed: &ProxyFixture, seed: u64) {
    for proxy in &bed.config().proxies {
        let now = || {
            let state = &proxy.state;
            let streams = state.backend.sessions.current() + state.backend.queue.waiting.current();
            state.frontend.sessions.current() + streams
        };
        // The slots are released shortly after the configuration.
        let at = Instant::now();
        while now() > 0 && at.elapsed() < PATIENCE {
            pause(1);
        }
        assert_eq!(now(), 0, "{}, DRIVER_SEED={seed}", proxy.name);
        for server in &proxy.servers {
            let now = (
                server.state.traffic.sessions.current(),
                server.state.queue.waiting.current(),
            );
            assert_eq!(now, (0, 0), "{}, DRIVER_SEED={seed}", server.name);
        }
    }
}

#[test]
fn random_changes_under_random_clients_fail_nothing() {
    if against_haproxy() {
        return;
    }
    if let Some(seed) = lab::setting("DRIVER_SEED") {
        return run(seed);
    }
    for seed in 1..=3 {
        run(seed);
    }
}
