//! Tests the bytes of each kind of response.

use super::super::relay::RelayHop;
use super::super::samples::{LINK, SERVER, all};
use super::*;
use crate::config::Ipv6Network;
use std::collections::BTreeMap;

fn six() -> Ipv6Config {
    Ipv6Config {
        network: Ipv6Network::of("fd00:20::".parse().unwrap(), 64),
        range: None,
        lease_s: 3_600,
        machines: BTreeMap::new(),
        dns: vec!["fd00:20::1".parse().unwrap()],
    }
}

fn request(name: &str) -> Request {
    let all = all();
    let (_, bytes) = all.iter().find(|(known, _)| *known == name).unwrap();
    Request::read(bytes, LINK, None).unwrap()
}

fn grant(last: Option<u16>) -> Grant {
    Grant {
        id: [0, 0, 0, 7],
        address: last.map(|last| Ipv6Addr::new(0xfd00, 0x20, 0, 0, 0, 0, 0, last)),
        ended: Vec::new(),
        status: None,
    }
}

fn answer(grants: Vec<Grant>) -> Dhcpv6Response {
    Dhcpv6Response {
        verdict: Dhcpv6ResponseType::Reply,
        grants,
        status: None,
        is_rapid: false,
        file: None,
    }
}

/// Returns a line for each option, with those of an association below it.
fn shown(bytes: &[u8], indent: &str) -> String {
    let mut text = String::new();
    for (code, data) in option::Options(bytes) {
        let hex: Vec<String> = data.iter().map(|byte| format!("{byte:02x}")).collect();
        let inside = if code == option::IA_NA {
            12
        } else {
            data.len()
        };
        text.push_str(&format!("{indent}{code}: {}\n", hex[..inside].join(" ")));
        text.push_str(&shown(&data[inside..], &format!("{indent}  ")));
    }
    text
}

#[test]
fn answers_have_what_their_clients_need() {
    let file = |name: &str| Some(format!("http://[fd00:20::2]:7447/{name}"));
    let refused = Grant {
        status: Some(Dhcpv6StatusCode::NoAddress),
        ..grant(None)
    };
    let ended = Grant {
        ended: vec!["fd00:20::9".parse().unwrap()],
        ..grant(Some(0x107))
    };
    let table = [
        (
            "EDK II, PXE",
            Dhcpv6Response {
                verdict: Dhcpv6ResponseType::Advertise,
                file: Some("tftp://[fd00:20::2]/snponly.efi".to_owned()),
                ..answer(vec![grant(Some(0x107))])
            },
        ),
        (
            "EDK II, HTTP",
            Dhcpv6Response {
                file: file("snponly.efi"),
                ..answer(vec![grant(Some(0x107))])
            },
        ),
        (
            "iPXE",
            Dhcpv6Response {
                file: file("boot/52-54-00-00-00-07.ipxe"),
                ..answer(vec![ended])
            },
        ),
        ("dhclient", answer(vec![refused])),
        (
            "a system that wants it at once",
            Dhcpv6Response {
                is_rapid: true,
                ..answer(vec![grant(Some(0x107))])
            },
        ),
        (
            "REQUEST",
            Dhcpv6Response {
                status: Some(Dhcpv6StatusCode::NotOnLink),
                ..answer(Vec::new())
            },
        ),
        ("INFORMATION-REQUEST without a name", answer(Vec::new())),
    ];
    let mut text = String::new();
    for (name, answer) in table {
        let bytes = write(
            &request(name),
            &answer,
            &SERVER,
            &six(),
            Some("example.org"),
        );
        text.push_str(&format!("{name}: {} {:02x?}\n", bytes[0], &bytes[1..4]));
        text.push_str(&shown(&bytes[4..], "  "));
    }
    insta::assert_snapshot!(text);
}

#[test]
fn the_answer_to_a_relayed_request_is_in_a_message_to_the_relay() {
    let mut request = request("REQUEST");
    let plain = write(&request, &answer(Vec::new()), &SERVER, &six(), None);
    request.hops = vec![RelayHop {
        count: 0,
        link: "fd00:20::9".parse().unwrap(),
        peer: LINK,
        interface: Some(vec![7]),
        card: None,
    }];
    let relayed = write(&request, &answer(Vec::new()), &SERVER, &six(), None);
    assert_eq!(relayed[..2], [13, 0]);
    let options = option::Options(&relayed[34..]);
    assert_eq!(options.find(option::INTERFACE_ID), Some(&[7][..]));
    assert_eq!(options.find(option::RELAYED), Some(&*plain));
}
