//! Tests VRRP packets that keepalived 2.2.7 sent, and invalid ones.

use super::*;
use crate::vrrp::Counter;
use proptest::prelude::*;

const PASSWORD: Authentication = Authentication::Pass(*b"secret12");
const KEY: [u8; 16] = *b"secret\0\0\0\0\0\0\0\0\0\0";

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |c: u8| char::from(c).to_digit(16).expect("a digit") as u8;
    let pairs = hex.as_bytes().chunks(2);
    pairs.map(|p| digit(p[0]) << 4 | digit(p[1])).collect()
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// A packet of keepalived with its configuration.
#[derive(Clone)]
struct Captured {
    what: &'static str,
    version: VrrpVersion,
    vrid: u8,
    priority: u8,
    interval_ms: u64,
    addresses: &'static [&'static str],
    authentication: Option<Authentication>,
    from: &'static str,
    to: &'static str,
    hex: &'static str,
}

const LINK_LOCAL: &str = "fe80::ff:fe00:a";

fn with_password() -> Captured {
    Captured {
        what: "version 2 with a password",
        version: VrrpVersion::V2,
        vrid: 51,
        priority: 150,
        interval_ms: 1000,
        addresses: &["10.9.0.100", "10.9.0.101"],
        authentication: Some(PASSWORD),
        from: "10.9.0.1",
        to: "224.0.0.18",
        hex: "213396020101c56f0a0900640a0900657365637265743132",
    }
}

fn version_3() -> Captured {
    Captured {
        what: "version 3",
        version: VrrpVersion::V3,
        interval_ms: 300,
        authentication: None,
        hex: "31339602001e39340a0900640a090065",
        ..with_password()
    }
}

fn version_3_of_ipv6() -> Captured {
    Captured {
        what: "version 3 of IPv6",
        vrid: 52,
        addresses: &["fe80::100", "fd09::100"],
        from: LINK_LOCAL,
        to: "ff02::12",
        hex: "31349602001e3de8fe800000000000000000000000000100fd090000000000000000000000000100",
        ..version_3()
    }
}

fn captured_of_version_2() -> Vec<Captured> {
    let v2 = with_password();
    let one = Captured {
        addresses: &["10.9.0.100"],
        authentication: None,
        ..v2.clone()
    };
    vec![
        Captured {
            what: "a stop in version 2",
            priority: 0,
            hex: "2133000201015b700a0900640a0900657365637265743132",
            ..v2.clone()
        },
        Captured {
            what: "half a second in version 2",
            interval_ms: 500,
            hex: "2133960100013e5d0a0900640000000000000000",
            ..one.clone()
        },
        Captured {
            what: "one and a half seconds in version 2",
            vrid: 52,
            interval_ms: 1500,
            addresses: &["10.9.0.102"],
            hex: "2134960100023e590a0900660000000000000000",
            ..one.clone()
        },
        Captured {
            what: "a short password to a peer",
            vrid: 55,
            addresses: &["10.9.0.105"],
            authentication: Some(Authentication::Pass(*b"secret\0\0")),
            to: "10.9.0.2",
            hex: "21379601010101080a0900697365637265740000",
            ..one.clone()
        },
        Captured {
            what: "a stop to a peer",
            vrid: 55,
            priority: 0,
            addresses: &["10.9.0.105"],
            authentication: Some(Authentication::Pass(*b"secret\0\0")),
            to: "10.9.0.2",
            hex: "21370001010197080a0900697365637265740000",
            ..one.clone()
        },
        Captured {
            what: "behind an authentication header",
            vrid: 53,
            addresses: &["10.9.0.103"],
            authentication: Some(Authentication::Ah(KEY)),
            hex: "2135960102013c580a0900670000000000000000",
            ..one.clone()
        },
        Captured {
            what: "without addresses",
            addresses: &[],
            hex: "21339600000148cb0000000000000000",
            ..one
        },
        v2,
    ]
}

fn captured_of_version_3() -> Vec<Captured> {
    let (v3, v6) = (version_3(), version_3_of_ipv6());
    let to_peer = Captured {
        to: "10.9.0.2",
        ..v3.clone()
    };
    vec![
        Captured {
            what: "a stop in version 3",
            priority: 0,
            hex: "31330002001ecf340a0900640a090065",
            ..v3.clone()
        },
        Captured {
            what: "version 3 to a peer",
            vrid: 53,
            addresses: &["10.9.0.103"],
            hex: "31359601001e19aa0a090067",
            ..to_peer.clone()
        },
        Captured {
            what: "version 3 to a peer with the old checksum",
            vrid: 54,
            addresses: &["10.9.0.104"],
            to: "224.0.0.18",
            hex: "31369601001e43a00a090068",
            ..to_peer.clone()
        },
        Captured {
            what: "a stop in version 3 to a peer",
            vrid: 53,
            priority: 0,
            addresses: &["10.9.0.103"],
            hex: "31350001001eafaa0a090067",
            ..to_peer
        },
        Captured {
            what: "a stop in version 3 of IPv6",
            priority: 0,
            hex: "31340002001ed3e8fe800000000000000000000000000100fd090000000000000000000000000100",
            ..v6.clone()
        },
        Captured {
            what: "version 3 of IPv6 to a peer",
            vrid: 55,
            addresses: &["fd09::105"],
            from: "fd09::1",
            to: "fd09::2",
            hex: "31379601001e3ffbfd090000000000000000000000000105",
            ..v6.clone()
        },
        v3,
        v6,
    ]
}

fn captured() -> Vec<Captured> {
    let mut all = captured_of_version_2();
    all.extend(captured_of_version_3());
    all
}

impl Captured {
    fn advert(&self) -> Advert {
        Advert {
            version: self.version,
            vrid: self.vrid,
            priority: self.priority,
            interval: Duration::from_millis(self.interval_ms),
            addresses: self.addresses.iter().map(|a| ip(a)).collect(),
            authentication: self.authentication.clone(),
        }
    }
}

impl Captured {
    fn decode(&self, packet: &[u8]) -> Result<Advert, AdvertError> {
        let to = [ip(self.to)];
        let expected = Expected {
            version: self.version,
            vrid: self.vrid,
            authentication: self.authentication.as_ref(),
            from: ip(self.from),
            to: &to,
        };
        decode(packet, &expected)
    }
}

#[test]
fn packets_are_keepaliveds_byte_by_byte() {
    for packet in captured() {
        let ours = packet.advert().encode(ip(packet.from), ip(packet.to));
        assert_eq!(ours, bytes(packet.hex), "{}", packet.what);
    }
}

#[test]
fn keepaliveds_packets_are_understood() {
    for packet in captured() {
        let mut advert = packet.advert();
        advert.interval = on_wire(advert.version, advert.interval);
        let decoded = packet.decode(&bytes(packet.hex));
        assert_eq!(decoded, Ok(advert), "{}", packet.what);
    }
}

/// Decodes the captured packet of this name after a change.
fn changed(what: &str, change: impl FnOnce(&mut Vec<u8>)) -> Result<Advert, AdvertError> {
    let all = captured();
    let packet = all.iter().find(|p| p.what == what).expect("its name");
    let mut hex = bytes(packet.hex);
    change(&mut hex);
    packet.decode(&hex)
}

/// Corrects the checksum of a changed packet (of version 2).
fn mend(packet: &mut [u8]) {
    packet[6..8].fill(0);
    let sum = crate::vrrp::checksum::Sum::default()
        .with(packet)
        .checksum();
    packet[6..8].copy_from_slice(&sum.to_be_bytes());
}

const V2: &str = "version 2 with a password";
const V3: &str = "version 3";

/// Name of a packet, the change to it, the expected refusal, and the counter.
type RefusedAdvertCase = (&'static str, fn(&mut Vec<u8>), AdvertError, Counter);

fn refused_by_their_head() -> Vec<RefusedAdvertCase> {
    let (v2, v3) = (V2, V3);
    let lengths = Counter::PacketLengthErrors;
    let length = |is, should| AdvertError::Length { is, should };
    vec![
        (v2, |b| b.truncate(7), length(7, 8), lengths),
        (v2, |b| b.clear(), length(0, 8), lengths),
        (v2, |b| b.truncate(16), length(16, 24), lengths),
        (v3, |b| b.push(0), length(17, 16), lengths),
        (v3, |b| b[3] = 255, length(16, 1028), lengths),
        (
            v2,
            |b| b[0] = 0x31,
            AdvertError::Version { is: 3 },
            Counter::VersionErrors,
        ),
        (
            v3,
            |b| b[0] = 0x21,
            AdvertError::Version { is: 2 },
            Counter::VersionErrors,
        ),
        (
            v3,
            |b| b[0] = 0xf1,
            AdvertError::Version { is: 15 },
            Counter::VersionErrors,
        ),
        (
            v2,
            |b| b[9] ^= 1,
            AdvertError::Checksum,
            Counter::ChecksumErrors,
        ),
        (
            v3,
            |b| b[2] ^= 1,
            AdvertError::Checksum,
            Counter::ChecksumErrors,
        ),
        (
            v2,
            |b| {
                b[0] = 0x22;
                mend(b)
            },
            AdvertError::Type { is: 2 },
            Counter::InvalidType,
        ),
        (
            v2,
            |b| {
                b[1] = 9;
                mend(b)
            },
            AdvertError::Router { is: 9 },
            Counter::VridErrors,
        ),
    ]
}

fn refused_by_what_is_inside() -> Vec<RefusedAdvertCase> {
    let v2 = V2;
    vec![
        (
            v2,
            |b| {
                b[4] = 7;
                mend(b)
            },
            AdvertError::AuthenticationUnknown { is: 7 },
            Counter::InvalidAuthenticationType,
        ),
        (
            v2,
            |b| {
                b[4] = 0;
                mend(b)
            },
            AdvertError::AuthenticationMismatch { is: 0 },
            Counter::AuthenticationTypeMismatch,
        ),
        (
            "half a second in version 2",
            |b| {
                b[4] = 1;
                mend(b)
            },
            AdvertError::AuthenticationMismatch { is: 1 },
            Counter::AuthenticationTypeMismatch,
        ),
        (
            "half a second in version 2",
            |b| {
                b[4] = 2;
                mend(b)
            },
            AdvertError::AuthenticationMismatch { is: 2 },
            Counter::AuthenticationTypeMismatch,
        ),
        (
            v2,
            |b| {
                b[23] ^= 1;
                mend(b)
            },
            AdvertError::AuthenticationFailed,
            Counter::AuthenticationFailures,
        ),
        (
            v2,
            |b| {
                b[5] = 0;
                mend(b)
            },
            AdvertError::Interval,
            Counter::IntervalErrors,
        ),
    ]
}

#[test]
fn every_refusal_has_its_packet_and_its_counter() {
    let mut table = refused_by_their_head();
    table.extend(refused_by_what_is_inside());
    for (place, (what, change, refusal, of)) in table.into_iter().enumerate() {
        assert_eq!(changed(what, change), Err(refusal), "row {place}");
        assert_eq!(refusal.counter(), of, "row {place}");
        assert!(!refusal.to_string().is_empty());
    }
}

#[test]
fn an_interval_of_zero_in_version_3_is_refused() {
    let from = ip("10.9.0.1");
    let advert = Advert {
        version: VrrpVersion::V3,
        vrid: 51,
        priority: 150,
        interval: Duration::from_millis(10),
        addresses: vec![ip("10.9.0.100")],
        authentication: None,
    };
    let mut packet = advert.encode(from, GROUP_V4);
    // Lowering the interval by one raises the checksum, which is a complement, by one.
    packet[5] -= 1;
    packet[7] += 1;
    let expected = Expected {
        version: VrrpVersion::V3,
        vrid: 51,
        authentication: None,
        from,
        to: &[GROUP_V4],
    };
    assert_eq!(decode(&packet, &expected), Err(AdvertError::Interval));
}

#[test]
fn old_checksum_with_the_group_address_is_accepted() {
    let all = captured();
    let old = all.iter().find(|p| p.what.ends_with("old checksum"));
    let packet = bytes(old.expect("it").hex);
    let peer = ip("10.9.0.2");
    let mut expected = Expected {
        version: VrrpVersion::V3,
        vrid: 54,
        authentication: None,
        from: ip("10.9.0.1"),
        to: &[peer],
    };
    assert_eq!(decode(&packet, &expected), Err(AdvertError::Checksum));
    let both = [peer, GROUP_V4];
    expected.to = &both;
    assert!(decode(&packet, &expected).is_ok());
}

#[test]
fn received_interval_is_rounded_and_never_zero() {
    let ms = Duration::from_millis;
    let table = [
        (VrrpVersion::V2, 10, 1000),
        (VrrpVersion::V2, 1499, 1000),
        (VrrpVersion::V2, 1500, 2000),
        (VrrpVersion::V2, 999_000, 255_000),
        (VrrpVersion::V3, 0, 10),
        (VrrpVersion::V3, 14, 10),
        (VrrpVersion::V3, 15, 20),
        (VrrpVersion::V3, 1234, 1230),
        (VrrpVersion::V3, 90_000, 40_950),
    ];
    for (version, given, arrives) in table {
        assert_eq!(on_wire(version, ms(given)), ms(arrives), "{given}");
    }
}

#[test]
fn advert_lists_at_most_255_addresses() {
    let advert = Advert {
        version: VrrpVersion::V3,
        vrid: 1,
        priority: 1,
        interval: Duration::from_secs(1),
        addresses: vec![ip("fd09::1"); ADDRESSES_MAX + 9],
        authentication: None,
    };
    let packet = advert.encode(ip("fe80::1"), GROUP_V6);
    assert_eq!(packet.len(), HEADER_BYTES + ADDRESSES_MAX * 16);
    assert!(packet.len() <= BYTES_MAX);
    assert_eq!(packet[3], 255);
}

/// Packets with the authentication header: to the group and to a peer.
const AUTHENTICATED: [(&str, u32); 3] = [
    (
        "45c0004000010000ff33d0ad0a090001e0000012\
         700400000a09000100000001e0bc4f556cd40e9a0ea2ffa7\
         2135960102013c580a0900670000000000000000",
        1,
    ),
    (
        "45c0004000070000ff33d0a70a090001e0000012\
         700400000a0900010000000741767322daac346fc9f52dcd\
         213500010201d2580a0900670000000000000000",
        7,
    ),
    (
        "45c0004000070000ff33a6af0a0900010a090002\
         700400000a09000100000007c23c9f9b192f44615e7d9dea\
         213600010201d2560a0900680000000000000000",
        7,
    ),
];

#[test]
fn the_authentication_header_is_keepaliveds_byte_by_byte() {
    for (hex, sequence) in AUTHENTICATED {
        let packet = bytes(hex);
        let opened = ah::open(&KEY, &packet).expect("its sum");
        assert_eq!(opened.sequence, sequence);
        assert_eq!(opened.envelope.identification, sequence as u16);
        assert_eq!(opened.envelope.ttl, TTL);
        assert_eq!(opened.advert, &packet[44..]);
        let sealed = ah::seal(&KEY, &opened.envelope, sequence, opened.advert);
        assert_eq!(sealed, packet);
    }
}

#[test]
fn a_packet_with_any_other_bit_or_key_is_not_authentic() {
    let packet = bytes(AUTHENTICATED[0].0);
    let failed = Err(AdvertError::AuthenticationFailed);
    assert_eq!(ah::open(b"secreT\0\0\0\0\0\0\0\0\0\0", &packet), failed);
    // Bytes that a router on the path may change: type of service, fragmentation, checksum of the
    // IP header.
    let free = [1, 6, 7, 10, 11];
    for place in (0..packet.len()).filter(|p| !free.contains(p)) {
        let mut forged = packet.clone();
        forged[place] ^= 1;
        assert!(ah::open(&KEY, &forged).is_err(), "byte {place}");
    }
    for end in 0..packet.len() {
        assert!(ah::open(&KEY, &packet[..end]).is_err(), "{end} bytes");
    }
}

fn any_authentication() -> impl Strategy<Value = Option<Authentication>> {
    prop_oneof![
        Just(None),
        any::<[u8; 8]>().prop_map(|p| Some(Authentication::Pass(p))),
        any::<[u8; 16]>().prop_map(|k| Some(Authentication::Ah(k))),
    ]
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        packet in proptest::collection::vec(any::<u8>(), 0..200),
        v3: bool,
        ipv6: bool,
        authentication in any_authentication(),
    ) {
        let (from, to) = if ipv6 {
(ip("fe80::1"), [GROUP_V6])
} else {
(ip("10.9.0.1"), [GROUP_V4])
};
        let expected = Expected {
            version: if v3 { VrrpVersion::V3 } else { VrrpVersion::V2 },
            vrid: 1,
            authentication: authentication.as_ref(),
            from,
            to: &to,
        };
        let _ = decode(&packet, &expected);
        let _ = ah::open(&KEY, &packet);
        let _ = router_id(&packet);
    }

    #[test]
    fn one_bit_more_or_less_is_noticed(which in 0usize..15, bit in 0usize..600) {
        let all = captured();
        let packet = &all[which % all.len()];
        let mut changed = bytes(packet.hex);
        let bit = bit % (changed.len() * 8);
        changed[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(packet.decode(&changed).is_err());
    }

    #[test]
    fn what_is_encoded_is_decoded(
        v3: bool,
        vrid in 1u8..,
        priority: u8,
        interval_ms in 0u64..300_000,
        addresses in proptest::collection::vec(any::<[u8; 4]>(), 1..=ADDRESSES_MAX),
        from: [u8; 4],
        authentication in any_authentication(),
    ) {
        let version = if v3 { VrrpVersion::V3 } else { VrrpVersion::V2 };
        let interval = on_wire(version, Duration::from_millis(interval_ms));
        let addresses = addresses.into_iter().map(IpAddr::from).collect();
        let authentication = authentication.filter(|_| !v3);
        let from = IpAddr::from(from);
        let advert = Advert { version, vrid, priority, interval, addresses, authentication };
        let packet = advert.encode(from, GROUP_V4);
        let expected = Expected {
            version,
            vrid,
            authentication: advert.authentication.as_ref(),
            from,
            to: &[GROUP_V4],
        };
        prop_assert_eq!(decode(&packet, &expected), Ok(advert));
    }
}
