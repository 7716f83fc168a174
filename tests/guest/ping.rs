//! Measures how long a guest does not respond during a migration, by pings over a bridge that both
//! nodes have.

use crate::cluster::site::SOON;
use crate::guest::ping_hand;
use crate::guest::site::GuestSite;
use crate::volume::site::{NODES, other};
use guest::check::echo::Echo;
use lab::{BusyProcessors, LabHost, Switch, eventually};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, ipproto, recv, sendto, socket};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const GUEST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 25);
const INTERVAL: Duration = Duration::from_millis(5);
/// Number of migrations in each series.
const MOVES: usize = 10;
/// Maximum time between two responses in a migration, also on a machine with two processors.
const GAP_MAX: Duration = Duration::from_secs(2);

/// Creates a bridge on a host, attached to a switch.
pub fn bridge(host: &LabHost, switch: &Switch) {
    let cable = switch.attach(host).unwrap();
    host.ip(&["link", "add", "br0", "type", "bridge"]).unwrap();
    host.ip(&["link", "set", cable.name(), "master", "br0"])
        .unwrap();
    host.ip(&["link", "set", "br0", "up"]).unwrap();
}

/// A site with a guest that is pinged, and the sender of the pings.
struct Pinged {
    site: GuestSite,
    caller: LabHost,
    _switch: Switch,
}

impl Pinged {
    fn new() -> Option<Pinged> {
        let site = GuestSite::with_words("guest-ping", "address=192.0.2.25/24")?;
        let lab = &site.volumes.site.lab;
        let switch = lab.switch("guests").unwrap();
        for node in NODES {
            let host = &site.machine(node).host;
            bridge(host, &switch);
        }
        let caller = lab.host("caller").unwrap();
        let at_caller = switch.attach(&caller).unwrap();
        at_caller.address("192.0.2.1/24").unwrap();
        let text = site.configuration(&format!("\tnic br0 address {GUEST}\n"));
        let alpha = site.machine("alpha");
        alpha.apply(&text, &["--now"]).well();
        // The guest gets the network card when it starts.
        alpha.command(&["guest", "stop", "mail"]).well();
        alpha.command(&["guest", "start", "mail"]).well();
        let pinged = Pinged {
            site,
            caller,
            _switch: switch,
        };
        let ping = Ping::start(&pinged.caller);
        ping.responses(1, || pinged.site.tell());
        ping.stop();
        let node = pinged.site.runs().expect("it runs");
        pinged.site.runs_on(node);
        Some(pinged)
    }

    /// Measures the gaps without a migration, and in each of ten migrations.
    fn series(&self, from: &'static str, what: &str) -> &'static str {
        let ping = Ping::start(&self.caller);
        ping.responses(1000, || self.site.tell());
        let still = ping.stop();
        let mut node = from;
        let mut gaps = Vec::new();
        for _ in 0..MOVES {
            let to = other(node);
            let ping = Ping::start(&self.caller);
            ping.responses(20, || self.site.tell());
            let words = ["guest", "move", "mail", to];
            self.site.machine(node).command(&words).well();
            ping.responses(200, || self.site.tell());
            gaps.push(ping.stop());
            self.site.runs_on(to);
            self.site.volumes.in_sync();
            self.site.is_there(node);
            node = to;
        }
        println!("{what}: {still:?} without a move");
        let worst = show(what, gaps);
        assert!(worst < GAP_MAX, "{worst:?}: {}", self.site.tell());
        node
    }
}

/// Shows how long the guest did not respond in moves, and returns the longest.
fn show(what: &str, mut gaps: Vec<Duration>) -> Duration {
    gaps.sort();
    let [median, worst] = [gaps[gaps.len() / 2], gaps[gaps.len() - 1]];
    println!("{what}: {median:?} (median), {worst:?} (worst): {gaps:?}");
    worst
}

/// Pings the guest until it is stopped.
pub struct Ping {
    stop: Arc<AtomicBool>,
    responses: Arc<AtomicUsize>,
    /// Gives the longest time between two responses.
    thread: JoinHandle<Duration>,
}

impl Ping {
    pub fn start(caller: &LabHost) -> Ping {
        let open = || socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::ICMP));
        let socket = caller.enter(open).unwrap();
        let (stop, responses) = <(Arc<AtomicBool>, Arc<AtomicUsize>)>::default();
        let (stops, counts) = (Arc::clone(&stop), Arc::clone(&responses));
        let thread = std::thread::spawn(move || ping(&socket, &stops, &counts));
        Ping {
            stop,
            responses,
            thread,
        }
    }

    /// Waits for that many further responses.
    #[track_caller]
    pub fn responses(&self, more: usize, tell: impl Fn() -> String) {
        let wanted = self.responses.load(Ordering::Relaxed) + more;
        let are_there = || self.responses.load(Ordering::Relaxed) >= wanted;
        assert!(eventually(SOON * 4, are_there), "{}", tell());
    }

    /// Stops the pings; returns the longest time between two responses.
    pub fn stop(self) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn ping(socket: &OwnedFd, stop: &AtomicBool, responses: &AtomicUsize) -> Duration {
    let (mut longest, mut last) = (Duration::ZERO, None::<Instant>);
    let mut next = Instant::now();
    // All requests have the same number, because a response to any of them counts.
    let echo = Echo {
        is_ipv6: false,
        id: Some(0x4576),
        sequence: 1,
    };
    while !stop.load(Ordering::Relaxed) {
        let rest = Timespec::try_from(next.saturating_duration_since(Instant::now())).unwrap();
        let mut watched = [PollFd::new(socket, PollFlags::IN)];
        if poll(&mut watched, Some(&rest)).unwrap() > 0 {
            let mut packet = [0; 128];
            let (length, _) = recv(socket, &mut packet, RecvFlags::empty()).unwrap();
            if echo.is_reply(&packet[..length], true) {
                let now = Instant::now();
                longest = longest.max(last.map_or(Duration::ZERO, |last| now - last));
                last = Some(now);
                responses.fetch_add(1, Ordering::Relaxed);
            }
        } else {
            let to = SocketAddr::from((GUEST, 0));
            // The hardware address of the guest may be unknown at the moment.
            let _ = sendto(socket, &echo.request(), SendFlags::DONTWAIT, &to);
            next += INTERVAL;
        }
    }
    longest
}

#[test]
#[ignore = "it takes minutes: make test-long"]
fn a_guest_that_moves_responds_again_before_its_clients_notice() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("qemu-system-x86_64");
    let by_hand = |what: &str| {
        let Some(gaps) = ping_hand::gaps(MOVES) else {
            panic!("QEMU or the kernel for guests is not installed");
        };
        show(&format!("by hand, one copy and no cluster, {what}"), gaps);
    };
    by_hand("idle machine");
    let busy = BusyProcessors::start(8).unwrap();
    by_hand("eight busy processes");
    drop(busy);
    let Some(pinged) = Pinged::new() else {
        panic!("QEMU or the kernel for guests is not installed");
    };
    let node = pinged.site.runs().expect("it runs");
    let starts =
        |pinged: &Pinged| NODES.map(|at| pinged.site.said(at).matches("begins with").count());
    let before = starts(&pinged);
    let node = pinged.series(node, "idle machine");
    let busy = BusyProcessors::start(8).unwrap();
    pinged.series(node, "eight busy processes");
    drop(busy);
    assert_eq!(
        starts(&pinged),
        before,
        "it has started again: {}",
        pinged.site.tell()
    );
}
