//! Compares the packets of both programs with the same configuration, byte by byte: the adverts
//! from the first one to the one with priority zero, and the announcements of the address to
//! neighbours.
//!
//! The comparison omits only the fields that the protocol leaves to the sender: the identification
//! of an IPv4 packet (and the checksum over it), and the flow label of an IPv6 packet.

use crate::address::site::{Router, SOON, Site, Vrrp};
use lab::{CapturedFrame, Talk, eventually};

const ETHERNET_BYTES: usize = 14;

/// Returns the bytes of a frame, with zeroes in the fields that its sender may choose.
fn bytes(frame: &CapturedFrame) -> Vec<u8> {
    let mut bytes = frame.bytes[..ETHERNET_BYTES].to_vec();
    let mut packet = frame.packet().to_vec();
    match packet.first().map(|first| first >> 4) {
        Some(4) if frame.talk == Talk::Vrrp => {
            packet[4..6].fill(0);
            packet[10..12].fill(0);
        }
        Some(6) => packet[1..4].fill(0),
        _ => {}
    }
    bytes.append(&mut packet);
    bytes
}

/// Returns the different frames that `keep` selects, in the order of their first appearance.
fn distinct(frames: &[CapturedFrame], keep: impl Fn(&CapturedFrame) -> bool) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for frame in frames.iter().filter(|frame| keep(frame)) {
        let bytes = bytes(frame);
        if !all.contains(&bytes) {
            all.push(bytes);
        }
    }
    all
}

/// Returns the packets of a single machine from its start to its end: adverts, and the
/// announcements of its addresses.
fn says(site: &Site, router: Router, configuration: &str, vips: &[&str]) -> [Vec<Vec<u8>>; 2] {
    site.capture.clear();
    let running = site.alpha.run(router, configuration);
    for vip in vips {
        assert!(
            eventually(SOON, || site.alpha.has(vip)),
            "{}",
            running.said()
        );
    }
    let announced = |vip: &&str| {
        let address = vip.parse().ok();
        let frames = site.capture.frames();
        let of = |f: &&CapturedFrame| f.is_announcement() && f.about() == address;
        frames.iter().filter(of).count() >= 5
    };
    assert!(eventually(SOON, || vips.iter().all(announced)));
    assert!(eventually(SOON, || site
        .capture
        .frames_of(Talk::Vrrp)
        .len()
        > 2));
    running.stop();
    let gone = || vips.iter().all(|vip| !site.alpha.has(vip));
    assert!(eventually(SOON, gone), "{}", running.said());
    let zero = |frame: &CapturedFrame| frame.payload()[2] == 0;
    assert!(eventually(SOON, || site
        .capture
        .frames_of(Talk::Vrrp)
        .iter()
        .any(zero)));
    let frames = site.capture.frames();
    let adverts = distinct(&frames, |frame| frame.talk == Talk::Vrrp);
    let of_vip = |frame: &CapturedFrame| {
        let about = frame.about().map(|address| address.to_string());
        about.is_some_and(|about| vips.contains(&about.as_str()))
    };
    let told = distinct(&frames, |f| f.is_announcement() && of_vip(f));
    [adverts, told]
}

fn hexadecimal(frames: &[Vec<u8>]) -> Vec<String> {
    let line = |frame: &Vec<u8>| frame.iter().map(|byte| format!("{byte:02x}")).collect();
    frames.iter().map(line).collect()
}

fn the_same(configuration: &str, vips: &[&str]) {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("keepalived");
    let site = Site::new("packets");
    let theirs = says(&site, Router::Keepalived, configuration, vips);
    let ours = says(&site, Router::Evenkeel, configuration, vips);
    for (what, (ours, theirs)) in ["adverts", "announcements"]
        .into_iter()
        .zip(ours.iter().zip(&theirs))
    {
        assert!(!theirs.is_empty(), "{what}");
        assert_eq!(hexadecimal(ours), hexadecimal(theirs), "{what}");
    }
}

macro_rules! packets {
    ($($test:ident: $configuration:expr, $vips:expr;)+) => {$(
        #[test]
        fn $test() {
            the_same(&$configuration, &$vips);
        }
    )+};
}

const FOUR: [&str; 1] = ["10.60.0.100"];
const SIX: [&str; 1] = ["fd60::100"];

packets! {
    adverts_of_version_2_are_keepalived_s: Vrrp::new(2).text(), FOUR;
    adverts_of_version_2_with_a_password_are_keepalived_s:
        Vrrp::new(2).more("authentication {\n auth_type PASS\n auth_pass letmein\n }").text(), FOUR;
    adverts_of_version_2_with_a_password_that_is_too_long_are_keepalived_s:
        Vrrp::new(2)
            .more("authentication {\n auth_type PASS\n auth_pass some_secure_password\n }")
            .text(), FOUR;
    adverts_of_version_3_are_keepalived_s: Vrrp::new(3).text(), FOUR;
    adverts_of_version_3_at_ten_milliseconds_are_keepalived_s:
        Vrrp::new(3).advert("0.01").text(), FOUR;
    adverts_of_ipv6_are_keepalived_s: Vrrp { six: true, ..Vrrp::new(3) }.text(), SIX;
    adverts_of_an_owner_are_keepalived_s: Vrrp::new(3).priority(255).text(), FOUR;
    adverts_with_an_address_beside_are_keepalived_s:
        Vrrp::new(3).more("virtual_ipaddress_excluded {\n 10.60.0.101/24\n }").text(),
        ["10.60.0.100", "10.60.0.101"];
    adverts_of_three_addresses_keep_their_order_as_keepalived_s: THREE, [
        "10.60.0.103",
        "10.60.0.101",
        "10.60.0.102",
    ];
    adverts_of_a_virtual_mac_are_keepalived_s: Vrrp::new(3).more("use_vmac").text(), FOUR;
}

const THREE: &str = "
vrrp_instance three {
    state MASTER
    interface {at}
    virtual_router_id 7
    priority 254
    advert_int 2
    virtual_ipaddress {
        10.60.0.103/24
        10.60.0.101
        10.60.0.102/32 label {at}:x
    }
}
";
