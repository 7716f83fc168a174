//! Tests the bytes of responses, and their contents.

use super::super::samples::{all, packet};
use super::*;
use dhcproto::v4::{DhcpOption, Message};
use dhcproto::{Decodable, Decoder};

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 20, 0, 2);

fn tells() -> ClientParameters {
    ClientParameters {
        gateway: Some(Ipv4Addr::new(10, 20, 0, 1)),
        dns: vec![Ipv4Addr::new(10, 20, 0, 1), Ipv4Addr::new(9, 9, 9, 9)],
        domain: Some("example.net".to_owned()),
        ntp: vec![Ipv4Addr::new(10, 20, 0, 1)],
        server: None,
    }
}

fn answer(verdict: DhcpReplyType, name: Option<&str>) -> DhcpReply {
    let given = AssignedAddress {
        address: Some(Ipv4Addr::new(10, 20, 0, 107)),
        lease_s: Some(43_200),
        network: Ipv4Network::of(SERVER, 24),
    };
    DhcpReply {
        verdict,
        address: (verdict != DhcpReplyType::No).then_some(given),
        file: name.map(|name| File {
            server: SERVER,
            name: name.to_owned(),
        }),
        message: (verdict == DhcpReplyType::No)
            .then(|| "10.20.0.103 is not free for it".to_owned()),
    }
}

/// Formats the bytes that are not zero, in lines of sixteen, and the options one by one.
fn shown(bytes: &[u8]) -> String {
    let mut text = format!("{} bytes\n", bytes.len());
    for (at, line) in bytes.chunks(16).enumerate() {
        if line.iter().any(|byte| *byte != 0) {
            let hex: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
            text.push_str(&format!("{:04x} {}\n", at * 16, hex.join(" ")));
        }
    }
    let message = Message::decode(&mut Decoder::new(bytes)).unwrap();
    text.push_str(&format!(
        "ciaddr {} yiaddr {} siaddr {} giaddr {} flags {:?}\n",
        message.ciaddr(),
        message.yiaddr(),
        message.siaddr(),
        message.giaddr(),
        message.flags()
    ));
    let mut left = &bytes[240..];
    while let [code, length, rest @ ..] = left {
        if *code == 255 {
            break;
        }
        let (data, further) = rest.split_at(usize::from(*length));
        text.push_str(&format!("{code}: {}\n", data.escape_ascii()));
        left = further;
    }
    text
}

#[test]
fn answers_have_the_bytes_that_their_clients_want() {
    let mut text = String::new();
    for (name, bytes) in all() {
        let request = Request::read(&bytes).unwrap();
        let (verdict, file) = match request.stage {
            BootStage::Firmware => (DhcpReplyType::Offer, Some("undionly.kpxe")),
            BootStage::HttpFirmware => (
                DhcpReplyType::Offer,
                Some("http://10.20.0.2:7447/snponly.efi"),
            ),
            BootStage::Ipxe => (
                DhcpReplyType::Offer,
                Some("http://10.20.0.2:7447/52-54-00-00-00-07.ipxe"),
            ),
            BootStage::System => (DhcpReplyType::Yes, None),
        };
        let bytes = write(&request, &answer(verdict, file), SERVER, &tells()).unwrap();
        text.push_str(&format!("{name}\n{}\n", shown(&bytes)));
    }
    let relayed = all().into_iter().find(|(name, _)| name.contains("relay"));
    let request = Request::read(&relayed.unwrap().1).unwrap();
    let bytes = write(&request, &answer(DhcpReplyType::No, None), SERVER, &tells()).unwrap();
    text.push_str(&format!("a refusal through a relay\n{}\n", shown(&bytes)));
    insta::assert_snapshot!(text);
}

#[test]
fn a_refusal_says_why_in_at_most_sixty_bytes() {
    let request = Request::read(&all()[0].1).unwrap();
    let message = |words: &str| {
        let refusal = DhcpReply {
            message: Some(words.to_owned()),
            ..answer(DhcpReplyType::No, None)
        };
        let bytes = write(&request, &refusal, SERVER, &tells()).unwrap();
        let message = Message::decode(&mut Decoder::new(&bytes)).unwrap();
        match message.opts().get(OptionCode::Message) {
            Some(DhcpOption::Message(words)) => words.clone(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(message("not free"), "not free");
    assert_eq!(message(&"n".repeat(61)), "n".repeat(60));
    // The text is never cut within a character.
    assert_eq!(message(&"ü".repeat(31)), "ü".repeat(30));
}

#[test]
fn what_does_not_fit_is_left_out_and_what_must_be_there_stays() {
    let relay = [1; 255];
    let bytes = packet(0, [0; 4], [10, 20, 0, 1], &[(53, &[1]), (82, &relay)]);
    let request = Request::read(&bytes).unwrap();
    let mut tells = tells();
    tells.dns = vec![Ipv4Addr::new(9, 9, 9, 9); 60];
    let bytes = write(
        &request,
        &answer(DhcpReplyType::Offer, None),
        SERVER,
        &tells,
    )
    .unwrap();
    assert!(bytes.len() <= 548, "{}", bytes.len());
    let shown = shown(&bytes);
    let lines = shown.lines().filter_map(|line| line.split_once(": "));
    let codes = lines.map(|(code, _)| code);
    let codes: Vec<&str> = codes.filter(|code| code.parse::<u8>().is_ok()).collect();
    assert_eq!(codes, ["53", "54", "51", "58", "59", "1", "3", "28", "82"]);
    // A client that accepts longer responses gets more.
    let more = Request {
        room: 1_472,
        ..request.clone()
    };
    let bytes = write(&more, &answer(DhcpReplyType::Offer, None), SERVER, &tells).unwrap();
    assert!(bytes.len() > 700 && bytes.len() <= 1_472);
    // The boot file is never omitted.
    let name = "x".repeat(200);
    assert_eq!(
        write(
            &request,
            &answer(DhcpReplyType::Offer, Some(&name)),
            SERVER,
            &tells
        ),
        None
    );
    assert_eq!(
        write(
            &more,
            &answer(DhcpReplyType::Offer, Some(&"x".repeat(256))),
            SERVER,
            &tells
        ),
        None
    );
}

#[test]
fn a_name_has_a_zero_at_the_end_of_its_field_or_is_only_an_option() {
    let request = Request::read(&all()[0].1).unwrap();
    for (length, is_there) in [(127, true), (128, false)] {
        let name = "n".repeat(length);
        let bytes = write(
            &request,
            &answer(DhcpReplyType::Offer, Some(&name)),
            SERVER,
            &tells(),
        )
        .unwrap();
        assert_eq!(bytes[108] == b'n', is_there, "{length}");
        assert_eq!(bytes[235], 0);
    }
}

#[test]
fn an_answer_goes_where_its_client_hears_it() {
    let to = |flags, ciaddr, giaddr, verdict| {
        let request = Request::read(&packet(flags, ciaddr, giaddr, &[(53, &[3])])).unwrap();
        receiver(&request, &answer(verdict, None))
    };
    let fresh = Ipv4Addr::new(10, 20, 0, 107);
    let used = [10, 20, 0, 120];
    let none = [0; 4];
    let relay = [10, 20, 0, 1];
    assert_eq!(
        to(0, none, none, DhcpReplyType::Offer),
        ReplyDestination::Fresh(fresh)
    );
    assert_eq!(
        to(0x8000, none, none, DhcpReplyType::Offer),
        ReplyDestination::All
    );
    assert_eq!(
        to(0x8000, used, none, DhcpReplyType::Yes),
        ReplyDestination::Configured(used.into())
    );
    // A client that renews listens at its address, and maybe at no other one.
    assert_eq!(
        to(0, used, none, DhcpReplyType::No),
        ReplyDestination::AllAnd(used.into())
    );
    assert_eq!(to(0, none, none, DhcpReplyType::No), ReplyDestination::All);
    assert_eq!(
        to(0, none, relay, DhcpReplyType::Yes),
        ReplyDestination::Relay(relay.into())
    );
    assert_eq!(
        to(0, used, relay, DhcpReplyType::No),
        ReplyDestination::Relay(relay.into())
    );
}
