//! Tests cables that impair traffic: silence, one direction, loss, duplicates, order and delay.

use lab::{Echo, ImpairedCable, Lab, LabHost, Weather, eventually, exchange};
use std::net::UdpSocket;
use std::thread;
use std::time::{Duration, Instant};

const LATEST: Duration = Duration::from_secs(20);

fn udp(host: &LabHost, at: &str) -> UdpSocket {
    let socket = host.udp_bind(at.parse().unwrap()).unwrap();
    socket.set_read_timeout(Some(LATEST)).unwrap();
    socket
}

fn two(lab: &Lab, weather: Weather) -> (ImpairedCable, LabHost, LabHost) {
    let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
    let wire = lab.connect_impaired(&a, &b, weather).unwrap();
    for (end, n) in [(&wire.a, 1), (&wire.b, 2)] {
        end.address(&format!("10.7.0.{n}/24")).unwrap();
        end.address(&format!("fd07::{n}/64")).unwrap();
    }
    (wire, a, b)
}

#[test]
fn unimpaired_wire_carries_large_segments() {
    lab::skip_unless_root!();
    let lab = Lab::new("fine").unwrap();
    let (wire, a, b) = two(&lab, Weather::FINE);
    let large: Vec<u8> = (0..4_000_000_u32).map(|n| n as u8).collect();
    for at in ["10.7.0.2:7", "[fd07::2]:7"] {
        let echo = Echo::start(&b, at.parse().unwrap()).unwrap();
        // The echo's response needs a reader while it is sent.
        for part in large.chunks(100_000) {
            let said = exchange(&a, echo.address(), part, LATEST).unwrap();
            assert!(said == part, "{at}");
        }
    }
    assert_eq!(wire.counters().lost, 0);
    assert!(wire.counters().frames > 100);
}

#[test]
fn silence_and_one_way_keep_the_carrier_and_end() {
    lab::skip_unless_root!();
    let lab = Lab::new("silence").unwrap();
    let (wire, a, b) = two(&lab, Weather::FINE);
    let (at_a, at_b) = (udp(&a, "10.7.0.1:9"), udp(&b, "10.7.0.2:9"));
    let passes = |from: &UdpSocket, to: &UdpSocket| {
        from.send_to(b"x", to.local_addr().unwrap()).unwrap();
        let timeout = Duration::from_millis(300);
        to.set_read_timeout(Some(timeout)).unwrap();
        to.recv(&mut [0; 8]).is_ok()
    };
    // Each side must know the other's Ethernet address before a way is closed.
    assert!(eventually(LATEST, || passes(&at_a, &at_b) && passes(&at_b, &at_a)));
    let one_way = wire.one_way(&a);
    assert!(eventually(LATEST, || passes(&at_a, &at_b)));
    assert!(!passes(&at_b, &at_a));
    drop(one_way);
    let one_way = wire.one_way(&b);
    assert!(!passes(&at_a, &at_b));
    assert!(eventually(LATEST, || passes(&at_b, &at_a)));
    drop(one_way);
    let silence = wire.silence();
    assert!(!passes(&at_a, &at_b) && !passes(&at_b, &at_a));
    let shown = a.ip(&["link", "show", wire.a.name()]).unwrap();
    assert!(shown.contains("state UP"), "{shown}");
    drop(silence);
    assert!(eventually(LATEST, || passes(&at_a, &at_b) && passes(&at_b, &at_a)));
}

#[test]
fn storm_loses_duplicates_and_reorders_as_configured() {
    lab::skip_unless_root!();
    let lab = Lab::new("storm").unwrap();
    let (wire, a, b) = two(&lab, Weather::FINE);
    let (from, to) = (udp(&a, "10.7.0.1:9"), udp(&b, "10.7.0.2:9"));
    let address = to.local_addr().unwrap();
    from.send_to(&[0; 4], address).unwrap();
    to.recv(&mut [0; 8]).unwrap();
    let storm = wire.impair(Weather {
        loss: 0.2,
        duplicate: 0.2,
        reorder: 0.2,
        delay: Duration::from_millis(5),
        seed: 42,
        ..Weather::FINE
    });
    let before = wire.counters();
    // Sends so few messages that the receiver's buffer holds them until they are read.
    let sent = 200_u32;
    for number in 1..=sent {
        from.send_to(&number.to_be_bytes(), address).unwrap();
        thread::sleep(Duration::from_micros(200));
    }
    to.set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let mut came = Vec::new();
    let mut buffer = [0; 4];
    while to.recv(&mut buffer).is_ok() {
        came.push(u32::from_be_bytes(buffer));
    }
    let distinct: std::collections::HashSet<_> = came.iter().collect();
    let out_of_order = came.windows(2).filter(|w| w[1] < w[0]).count();
    assert!((120..190).contains(&distinct.len()), "{}", distinct.len());
    assert!(came.len() - distinct.len() > 8, "{}", came.len());
    assert!(out_of_order > 4, "{out_of_order}");
    let after = wire.counters();
    assert!(
        after.lost - before.lost > 10 && after.overtaken > 10,
        "{after:?}"
    );
    drop(storm);
    from.send_to(&[1; 4], address).unwrap();
    assert_eq!(to.recv(&mut buffer).unwrap(), 4);
    assert_eq!(buffer, [1; 4]);
}

#[test]
fn a_host_on_a_wire_to_a_switch_is_slow_and_the_others_are_not_touched() {
    lab::skip_unless_root!();
    let lab = Lab::new("slow").unwrap();
    let switch = lab.switch("lan").unwrap();
    let [a, b, c] = ["a", "b", "c"].map(|name| lab.host(name).unwrap());
    let delay = Duration::from_millis(60);
    let wire = lab
        .connect_impaired_to_switch(&switch, &a, Weather::slow(delay))
        .unwrap();
    wire.a.address("10.7.1.1/24").unwrap();
    for (host, address) in [(&b, "10.7.1.2/24"), (&c, "10.7.1.3/24")] {
        switch.attach(host).unwrap().address(address).unwrap();
    }
    let echo = Echo::start(&b, "10.7.1.2:7".parse().unwrap()).unwrap();
    let start = Instant::now();
    a.tcp_connect(echo.address(), LATEST).unwrap();
    assert!(start.elapsed() >= 2 * delay);
    c.tcp_connect(echo.address(), LATEST).unwrap();
    // The wire is part of the way through the switch.
    let parted = lab.partition(&[&[&a], &[&b, &c]]).unwrap();
    assert!(a.tcp_connect(echo.address(), 4 * delay).is_err());
    drop(parted);
    a.tcp_connect(echo.address(), LATEST).unwrap();
}
