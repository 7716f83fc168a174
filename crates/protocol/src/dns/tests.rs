//! Tests DNS queries and responses as tables of bytes, and random bytes.

use super::*;
use proptest::prelude::*;
use std::net::IpAddr;

fn question(name: &str, kind: DnsRecordType) -> DnsQuestion {
    DnsQuestion {
        name: DnsName::new(name).expect("a name"),
        kind,
    }
}

/// Returns a message with these counts of records, and with `rest` after the question.
fn answer(question: &DnsQuestion, id: u16, flags: u16, counts: [u16; 3], rest: &[u8]) -> Vec<u8> {
    let asked = question.message(id, 512);
    let mut out = Vec::new();
    for number in [id, flags, 1, counts[0], counts[1], counts[2]] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    // Leaves out the EDNS pseudo-record of the query, which has 11 bytes.
    out.extend_from_slice(&asked[12..asked.len() - 11]);
    out.extend_from_slice(rest);
    out
}

fn record(owner: &[u8], kind: u16, value: &[u8]) -> Vec<u8> {
    let mut out = owner.to_vec();
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
    out.extend_from_slice(&(value.len() as u16).to_be_bytes());
    out.extend_from_slice(value);
    out
}

/// Pointer to the name in the question.
const ASKED: &[u8] = &[0xc0, 12];

#[test]
fn a_question_has_its_bytes() {
    let message = question("Web.test.", DnsRecordType::Aaaa).message(0x1234, 512);
    let expected =
        b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01\x03web\x04test\x00\x00\x1c\x00\x01\
        \x00\x00\x29\x02\x00\x00\x00\x00\x00\x00\x00";
    assert_eq!(message, expected);
}

#[test]
fn only_names_of_hosts_and_services_are_names() {
    for good in ["a", "a.b.", "_http._tcp.x-1.test", &"a".repeat(63)] {
        assert!(DnsName::new(good).is_some(), "{good}");
    }
    let long = format!("{}.a", "a.".repeat(130));
    for bad in ["", ".", "a..b", "a b", "ä", &"a".repeat(64), &long] {
        assert!(DnsName::new(bad).is_none(), "{bad}");
    }
}

#[test]
fn addresses_count_behind_aliases_and_nothing_else_does() {
    let asked = question("web.test", DnsRecordType::A);
    let mut rest = record(ASKED, 5, b"\x01x\x04test\x00");
    rest.extend(record(b"\x01x\x04test\x00", 1, &[192, 0, 2, 1]));
    rest.extend(record(b"\x01y\x04test\x00", 1, &[192, 0, 2, 2]));
    rest.extend(record(ASKED, 1, &[192, 0, 2, 3]));
    let read = parse(&answer(&asked, 7, 0x8180, [4, 0, 0], &rest), 7, &asked).unwrap();
    assert_eq!(read.addresses, ["192.0.2.1".parse::<IpAddr>().unwrap()]);
    assert!(read.aliased && !read.truncated);
}

#[test]
fn services_have_the_addresses_that_stand_beside_them() {
    let asked = question("_h._tcp.test", DnsRecordType::Srv);
    let mut rest = record(ASKED, 33, b"\x00\x01\x01\x2c\x1f\x40\x01a\x04test\x00");
    rest.extend(record(b"\x02ns\x04test\x00", 2, b"\x00"));
    rest.extend(record(b"\x01a\x04test\x00", 1, &[192, 0, 2, 9]));
    rest.extend(record(b"\x01b\x04test\x00", 1, &[192, 0, 2, 8]));
    let read = parse(&answer(&asked, 7, 0x8180, [1, 1, 2], &rest), 7, &asked).unwrap();
    let [service] = &read.services[..] else {
        panic!("one service: {read:?}")
    };
    assert_eq!((service.host.as_str(), service.port), ("a.test", 8000));
    assert_eq!((service.priority, service.weight), (1, 300));
    assert_eq!(service.addresses, ["192.0.2.9".parse::<IpAddr>().unwrap()]);
}

#[test]
fn reply_to_another_query_is_foreign() {
    let asked = question("web.test", DnsRecordType::A);
    let good = answer(&asked, 7, 0x8180, [0, 0, 0], &[]);
    assert!(parse(&good, 7, &asked).is_ok());
    let of = |bytes: &[u8], id, question: &DnsQuestion| parse(bytes, id, question).err();
    assert_eq!(of(&good, 8, &asked), Some(DnsMessageError::Foreign));
    let other = question("web.test", DnsRecordType::Aaaa);
    assert_eq!(of(&good, 7, &other), Some(DnsMessageError::Foreign));
    let other = question("wep.test", DnsRecordType::A);
    assert_eq!(of(&good, 7, &other), Some(DnsMessageError::Foreign));
    let no_answer = asked.message(7, 512);
    assert_eq!(of(&no_answer, 7, &asked), Some(DnsMessageError::Foreign));
}

#[test]
fn status_and_truncation_are_returned() {
    let asked = question("web.test", DnsRecordType::A);
    let of = |flags| parse(&answer(&asked, 7, flags, [0, 0, 0], &[]), 7, &asked).unwrap();
    assert_eq!(of(0x8183).status, DnsResponseCode::NoSuchName);
    assert_eq!(of(0x8185).status, DnsResponseCode::Refused);
    assert_eq!(of(0x8182).status, DnsResponseCode::Other(2));
    assert!(of(0x8380).truncated);
}

#[test]
fn looping_pointers_and_truncated_records_are_malformed() {
    let asked = question("web.test", DnsRecordType::A);
    let at = (12 + 10 + 4) as u8;
    for rest in [
        record(&[0xc0, at], 1, &[192, 0, 2, 1]),
        record(&[0xc0, at + 4], 1, &[192, 0, 2, 1]),
        record(&[0x80, 1], 1, &[192, 0, 2, 1]),
        record(ASKED, 1, &[192, 0, 2]),
        ASKED.to_vec(),
        Vec::new(),
    ] {
        let message = answer(&asked, 7, 0x8180, [1, 0, 0], &rest);
        assert_eq!(
            parse(&message, 7, &asked).err(),
            Some(DnsMessageError::Broken)
        );
    }
    // A name that is an alias of itself does not cause a loop.
    let rest = record(ASKED, 5, ASKED);
    let message = answer(&asked, 7, 0x8180, [1, 0, 0], &rest);
    assert!(parse(&message, 7, &asked).unwrap().addresses.is_empty());
}

#[test]
fn additional_addresses_of_a_service_are_bounded() {
    let asked = question("web.test", DnsRecordType::Srv);
    let mut rest = Vec::new();
    let (services, told) = (1000u16, 1000u16);
    for port in 0..services {
        let value = [&[0, 0, 0, 0], &port.to_be_bytes()[..], ASKED].concat();
        rest.extend_from_slice(&record(ASKED, 33, &value));
    }
    for n in 0..told {
        let value = [192, 0, (n >> 8) as u8, n as u8];
        rest.extend_from_slice(&record(ASKED, 1, &value));
    }
    let message = answer(&asked, 7, 0x8180, [services, 0, told], &rest);
    assert!(message.len() <= usize::from(u16::MAX));
    let found = parse(&message, 7, &asked).unwrap();
    let all: usize = found.services.iter().map(|s| s.addresses.len()).sum();
    assert_eq!(found.services.len(), 1000);
    assert!(all <= 16_000, "{all}");
}

proptest! {
    #[test]
    fn names_that_are_read_are_names(bytes in proptest::collection::vec(0u8..80, 0..300), at in 0usize..300) {
        if let Some((name, behind)) = DnsName::read(&bytes, at) {
            prop_assert!(behind <= bytes.len());
            if let Some(name) = name {
                prop_assert_eq!(DnsName::new(name.as_str()), Some(name));
            }
        }
    }

    #[test]
    fn any_bytes_are_read_to_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..600), counts: [u8; 3]) {
        let asked = question("web.test", DnsRecordType::Srv);
        let counts = counts.map(|count| u16::from(count % 8));
        let _ = parse(&answer(&asked, 7, 0x8180, counts, &bytes), 7, &asked);
        let _ = parse(&bytes, 7, &asked);
    }
}
