//! Tests that a filter at a host blocks exactly the selected packets until it is removed.

use lab::{Echo, Lab, PacketFilter, TransportProtocol};
use std::net::SocketAddr;
use std::time::Duration;

#[test]
fn a_block_hits_what_fits_its_filter_until_it_is_lifted() {
    lab::skip_unless_root!();
    // Waits long only for a connection that is not blocked.
    let patience = |reached| Duration::from_millis(if reached { 10_000 } else { 300 });
    let lab = Lab::new("block").unwrap();
    let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
    let link = lab.link(&a, &b).unwrap();
    link.a.address("10.4.0.1/24").unwrap();
    link.b.address("10.4.0.2/24").unwrap();
    link.a.address("fd04::1/64").unwrap();
    link.b.address("fd04::2/64").unwrap();
    let seven = Echo::start(&a, "[::]:7".parse().unwrap()).unwrap();
    let eight = Echo::start(&a, "[::]:8".parse().unwrap()).unwrap();
    let reaches = |address: &str, wanted: bool| {
        let address: SocketAddr = address.parse().unwrap();
        b.tcp_connect(address, patience(wanted)).is_ok()
    };
    let all = ["10.4.0.1:7", "10.4.0.1:8", "[fd04::1]:7", "[fd04::1]:8"];
    let reached = |wanted: [bool; 4]| -> Vec<bool> {
        let each = all.iter().zip(wanted);
        each.map(|(address, wanted)| reaches(address, wanted))
            .collect()
    };
    assert_eq!(reached([true; 4]), [true; 4]);
    let port = PacketFilter::all().port(TransportProtocol::Tcp, 7);
    for (filter, expected) in [
        (port.clone(), [false, true, false, true]),
        (
            port.remote("10.4.0.2".parse().unwrap()),
            [false, true, true, true],
        ),
        (
            PacketFilter::all().remote("fd04::2".parse().unwrap()),
            [true, true, false, false],
        ),
        (PacketFilter::all().protocol(112), [true; 4]),
        (PacketFilter::all(), [false; 4]),
    ] {
        let block = a.block(&filter).unwrap();
        assert_eq!(reached(expected), expected, "{filter:?}");
        block.lift().unwrap();
    }
    assert_eq!(reached([true; 4]), [true; 4]);
    drop((seven, eight));
}
