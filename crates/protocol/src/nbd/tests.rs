//! Tests handshakes and requests of NBD clients as tables of bytes.

use super::handshake::{GREETING, Handshake, NbdHandshakeStep, NbdTransport, OPTION_BYTES_MAX};
use super::reply::{self, Extent, NbdReadChunk};
use super::{
    Errno, Export, NbdCommand, NbdConnectionError, NbdRequestHeader, REQUEST_BYTES, Session,
};
use proptest::prelude::*;

const ACK: u32 = 1;
const ERROR: u32 = 1 << 31;

fn exports() -> Vec<Export> {
    let export = |name: &str, read_only| Export {
        name: name.to_owned(),
        description: format!("the volume {name}"),
        size: 1 << 20,
        read_only,
        multi_conn: false,
        block_min: 512,
        block_preferred: 4096,
    };
    vec![export("mail", false), export("data", true)]
}

fn option(option: u32, data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).unwrap();
    [
        b"IHAVEOPT".as_slice(),
        &option.to_be_bytes(),
        &length.to_be_bytes(),
        data,
    ]
    .concat()
}

fn text(text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len()).unwrap();
    [&length.to_be_bytes(), text.as_bytes()].concat()
}

/// Returns the option `NBD_OPT_GO` or `NBD_OPT_INFO`.
fn go(number: u32, name: &str, wanted: &[u16]) -> Vec<u8> {
    let count = u16::try_from(wanted.len()).unwrap();
    let mut data = [text(name), count.to_be_bytes().to_vec()].concat();
    wanted
        .iter()
        .for_each(|info| data.extend_from_slice(&info.to_be_bytes()));
    option(number, &data)
}

fn contexts(number: u32, name: &str, queries: &[&str]) -> Vec<u8> {
    let count = u32::try_from(queries.len()).unwrap();
    let mut data = [text(name), count.to_be_bytes().to_vec()].concat();
    queries.iter().for_each(|query| data.extend(text(query)));
    option(number, &data)
}

/// Parses the replies to options: option, type and data.
fn replies(mut bytes: &[u8]) -> Vec<(u32, u32, Vec<u8>)> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let (head, rest) = bytes.split_at(20);
        assert_eq!(head[..8], 0x3_e889_0455_65a9_u64.to_be_bytes());
        let number = |at: usize| u32::from_be_bytes(head[at..at + 4].try_into().unwrap());
        let (data, rest) = rest.split_at(number(16) as usize);
        found.push((number(8), number(12), data.to_vec()));
        bytes = rest;
    }
    found
}

struct Client {
    handshake: Handshake,
    out: Vec<u8>,
}

impl Client {
    fn new(transport: NbdTransport) -> Client {
        let mut client = Client {
            handshake: Handshake::new(transport),
            out: Vec::new(),
        };
        assert_eq!(
            client.send(&3_u32.to_be_bytes()),
            Ok(NbdHandshakeStep::Read)
        );
        client
    }

    fn send(&mut self, bytes: &[u8]) -> Result<NbdHandshakeStep, NbdConnectionError> {
        let mut input = bytes;
        let step = self.handshake.handle(&mut input, &exports(), &mut self.out);
        assert!(step.is_err() || input.is_empty(), "all of it was taken");
        step
    }

    fn replies(&mut self) -> Vec<(u32, u32, Vec<u8>)> {
        replies(&std::mem::take(&mut self.out))
    }

    fn kinds(&mut self) -> Vec<u32> {
        self.replies()
            .into_iter()
            .map(|(_, kind, _)| kind)
            .collect()
    }
}

fn session(structured: bool) -> Session {
    let mut client = Client::new(NbdTransport::Plain);
    if structured {
        client.send(&option(8, b"")).unwrap();
        client
            .send(&contexts(10, "mail", &["base:allocation"]))
            .unwrap();
    }
    match client.send(&go(7, "mail", &[])) {
        Ok(NbdHandshakeStep::Transmit(session)) => session,
        other => panic!("{other:?}"),
    }
}

#[test]
fn named_user_opens_an_export_only_through_the_gate() {
    let admit = |user: Option<&str>| match user {
        Some("guest/mail") => Ok(()),
        _ => Err("guest/mail has it open".to_owned()),
    };
    let gate = crate::nbd::Gate {
        names_users: true,
        admit: &admit,
    };
    let try_to = |bytes: &[u8], gate: Option<crate::nbd::Gate<'_>>| {
        let mut client = Client::new(NbdTransport::Plain);
        let mut input = bytes;
        let step = client
            .handshake
            .handle_gated(&mut input, &exports(), gate, &mut client.out);
        (step, replies(&client.out).pop())
    };
    let (step, _) = try_to(&go(7, "mail/guest/mail", &[]), Some(gate));
    let Ok(NbdHandshakeStep::Transmit(session)) = step else {
        panic!("{step:?}");
    };
    assert_eq!(session.user.as_deref(), Some("guest/mail"));
    let (step, last) = try_to(&go(7, "mail/guest/old", &[]), Some(gate));
    assert_eq!(step, Ok(NbdHandshakeStep::Read));
    let (_, kind, words) = last.unwrap();
    assert_eq!(
        (kind, &*words),
        (1 << 31 | 2, &b"guest/mail has it open"[..])
    );
    let (step, _) = try_to(&option(1, b"mail/guest/old"), Some(gate));
    assert_eq!(step, Err(NbdConnectionError::InUse));
    // The gate also decides about a client that names no user.
    let (step, last) = try_to(&go(7, "mail", &[]), Some(gate));
    assert_eq!(
        (step, &*last.unwrap().2),
        (Ok(NbdHandshakeStep::Read), &b"guest/mail has it open"[..])
    );
    let nobody_names = crate::nbd::Gate {
        names_users: false,
        ..gate
    };
    let (step, last) = try_to(&go(7, "mail/guest/mail", &[]), Some(nobody_names));
    assert_eq!(
        (step, last.unwrap().1),
        (Ok(NbdHandshakeStep::Read), 1 << 31 | 6)
    );
    // Without a gate there are no user names, so the whole text counts as an export's name.
    let (step, last) = try_to(&go(7, "mail/guest/mail", &[]), None);
    assert_eq!(
        (step, last.unwrap().1),
        (Ok(NbdHandshakeStep::Read), 1 << 31 | 6)
    );
    let long = format!("mail/{}", "x".repeat(256));
    for name in [
        "mail/",
        "other/guest/mail",
        "mail/a
b",
        &long,
    ] {
        let (step, last) = try_to(&go(7, name, &[]), Some(gate));
        assert_eq!(
            (step, last.unwrap().1),
            (Ok(NbdHandshakeStep::Read), 1 << 31 | 6),
            "{name}"
        );
    }
}

fn request(flags: u16, command: u16, offset: u64, length: u32) -> [u8; REQUEST_BYTES] {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&0x2560_9513_u32.to_be_bytes());
    bytes.extend_from_slice(&flags.to_be_bytes());
    bytes.extend_from_slice(&command.to_be_bytes());
    bytes.extend_from_slice(&7_u64.to_be_bytes());
    bytes.extend_from_slice(&offset.to_be_bytes());
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.try_into().unwrap()
}

#[test]
fn the_greeting_is_that_of_the_fixed_newstyle_handshake() {
    assert_eq!(&GREETING, b"NBDMAGICIHAVEOPT\0\x03");
}

#[test]
fn a_client_that_does_not_know_the_handshake_is_refused() {
    for flags in [0_u32, 2, 7, u32::MAX] {
        let mut handshake = Handshake::new(NbdTransport::Plain);
        let told = handshake.handle(&mut &flags.to_be_bytes()[..], &exports(), &mut Vec::new());
        assert_eq!(told, Err(NbdConnectionError::Flags), "{flags}");
    }
}

#[test]
fn go_returns_size_flags_and_block_sizes() {
    let mut client = Client::new(NbdTransport::Plain);
    let step = client.send(&go(7, "mail", &[1, 2, 3]));
    assert!(matches!(step, Ok(NbdHandshakeStep::Transmit(_))));
    let told = client.replies();
    let kinds: Vec<_> = told.iter().map(|(_, kind, _)| *kind).collect();
    assert_eq!(kinds, [3, 3, 3, 3, ACK]);
    // HAS_FLAGS, FLUSH, FUA, TRIM, WRITE_ZEROES, CACHE, FAST_ZERO.
    assert_eq!(told[0].2, b"\0\0\0\0\0\0\0\x10\0\0\x0c\x6d");
    assert_eq!(told[1].2, b"\0\x01mail");
    assert_eq!(told[2].2, b"\0\x02the volume mail");
    assert_eq!(told[3].2, b"\0\x03\0\0\x02\0\0\0\x10\0\x02\0\0\0");
}

#[test]
fn info_leaves_the_handshake_open() {
    let mut client = Client::new(NbdTransport::Plain);
    assert_eq!(client.send(&go(6, "data", &[])), Ok(NbdHandshakeStep::Read));
    let told = client.replies();
    assert_eq!(
        told[0].2[10..],
        [0x04, 0x0f],
        "read-only: HAS_FLAGS, READ_ONLY, FLUSH, FUA, CACHE"
    );
    assert_eq!(
        client.send(&go(6, "other", &[])),
        Ok(NbdHandshakeStep::Read)
    );
    assert_eq!(client.kinds(), [ERROR | 6]);
    // With two exports, neither is the default.
    assert_eq!(client.send(&go(7, "", &[])), Ok(NbdHandshakeStep::Read));
    assert_eq!(client.kinds(), [ERROR | 6]);
}

#[test]
fn the_old_way_to_choose_an_export_has_no_error() {
    let mut client = Client::new(NbdTransport::Plain);
    assert!(matches!(
        client.send(&option(1, b"mail")),
        Ok(NbdHandshakeStep::Transmit(_))
    ));
    assert_eq!(client.out, b"\0\0\0\0\0\x10\0\0\x0c\x6d");
    let mut client = Client::new(NbdTransport::Plain);
    assert_eq!(
        client.send(&option(1, b"other")),
        Err(NbdConnectionError::NoSuchExport)
    );
    // The client does not set NO_ZEROES, so 124 bytes of padding follow.
    let mut handshake = Handshake::new(NbdTransport::Plain);
    let mut out = Vec::new();
    let bytes = [1_u32.to_be_bytes().to_vec(), option(1, b"data")].concat();
    let step = handshake.handle(&mut bytes.as_slice(), &exports(), &mut out);
    assert!(matches!(step, Ok(NbdHandshakeStep::Transmit(_))));
    assert_eq!(out.len(), 10 + 124);
}

#[test]
fn list_ends_and_abort_closes_the_client() {
    let mut client = Client::new(NbdTransport::Plain);
    client.send(&option(3, b"")).unwrap();
    let told = client.replies();
    assert_eq!(
        told[0].2,
        [text("mail"), b"the volume mail".to_vec()].concat()
    );
    assert_eq!(
        told[1].2,
        [text("data"), b"the volume data".to_vec()].concat()
    );
    assert_eq!(told[2].1, ACK);
    client.send(&option(3, b"x")).unwrap();
    assert_eq!(client.kinds(), [ERROR | 3]);
    client.send(&option(99, b"x")).unwrap();
    assert_eq!(client.kinds(), [ERROR | 1]);
    assert_eq!(client.send(&option(2, b"")), Ok(NbdHandshakeStep::Close));
    assert_eq!(client.kinds(), [ACK]);
}

#[test]
fn only_starttls_is_accepted_where_tls_is_required() {
    let mut client = Client::new(NbdTransport::TlsRequired);
    for refused in [option(3, b""), go(7, "mail", &[]), option(8, b"")] {
        assert_eq!(client.send(&refused), Ok(NbdHandshakeStep::Read));
        assert_eq!(client.kinds(), [ERROR | 5]);
    }
    let mut old = Client::new(NbdTransport::TlsRequired);
    assert_eq!(
        old.send(&option(1, b"mail")),
        Err(NbdConnectionError::TlsRequired)
    );
    assert_eq!(client.send(&option(5, b"")), Ok(NbdHandshakeStep::StartTls));
    assert_eq!(client.kinds(), [ACK]);
    client.handshake.secured();
    assert_eq!(client.send(&option(5, b"")), Ok(NbdHandshakeStep::Read));
    assert_eq!(client.kinds(), [ERROR | 3]);
    assert!(matches!(
        client.send(&go(7, "mail", &[])),
        Ok(NbdHandshakeStep::Transmit(_))
    ));
    let mut plain = Client::new(NbdTransport::Plain);
    assert_eq!(plain.send(&option(5, b"")), Ok(NbdHandshakeStep::Read));
    assert_eq!(plain.kinds(), [ERROR | 2]);
}

#[test]
fn block_status_needs_structured_replies_and_the_same_export() {
    let mut client = Client::new(NbdTransport::Plain);
    client
        .send(&contexts(10, "mail", &["base:allocation"]))
        .unwrap();
    assert_eq!(client.kinds(), [ERROR | 3]);
    client.send(&option(8, b"")).unwrap();
    client.send(&contexts(9, "mail", &[])).unwrap();
    client.send(&contexts(9, "mail", &["base:"])).unwrap();
    client
        .send(&contexts(9, "mail", &["qemu:dirty-bitmap:x"]))
        .unwrap();
    client.send(&contexts(10, "mail", &["base:"])).unwrap();
    client
        .send(&contexts(10, "other", &["base:allocation"]))
        .unwrap();
    let kinds = [ACK, 4, ACK, 4, ACK, ACK, ACK, ERROR | 6];
    assert_eq!(client.kinds(), kinds);
    client
        .send(&contexts(10, "data", &["x:y", "base:allocation"]))
        .unwrap();
    let told = client.replies();
    assert_eq!(told[0].2, b"\0\0\0\x01base:allocation");
    let Ok(NbdHandshakeStep::Transmit(mail)) = client.send(&go(7, "mail", &[])) else {
        panic!("no session");
    };
    let status = NbdRequestHeader::decode(&request(0, 7, 0, 512)).unwrap();
    assert_eq!(mail.command(&status), Err(Errno::Invalid));
    let one = NbdRequestHeader::decode(&request(8, 7, 0, 512)).unwrap();
    assert_eq!(
        session(true).command(&one),
        Ok(NbdCommand::Status { one: true })
    );
}

#[test]
fn malformed_options_are_refused_and_bounded() {
    let mut client = Client::new(NbdTransport::Plain);
    for data in [
        &b""[..],
        b"\0\0\0\x04mail",
        b"\0\0\0\x05mail\0\0",
        b"\0\0\0\x04mail\0\x02\0\x01",
    ] {
        assert_eq!(
            client.send(&option(7, data)),
            Ok(NbdHandshakeStep::Read),
            "{data:?}"
        );
        assert_eq!(client.kinds(), [ERROR | 3], "{data:?}");
    }
    client.send(&option(8, b"x")).unwrap();
    assert_eq!(client.kinds(), [ERROR | 3]);
    assert_eq!(
        client.send(b"IHAVENOT\0\0\0\0\0\0\0\0"),
        Err(NbdConnectionError::Option)
    );
    let long = OPTION_BYTES_MAX + 1;
    let head = [b"IHAVEOPT\0\0\0\x07".as_slice(), &long.to_be_bytes()].concat();
    assert_eq!(
        client.send(&head),
        Err(NbdConnectionError::OptionTooLong(long))
    );
    let mut client = Client::new(NbdTransport::Plain);
    let told: Vec<_> = (0..65).map(|_| client.send(&option(3, b""))).collect();
    assert_eq!(told.last(), Some(&Err(NbdConnectionError::TooManyOptions)));
    assert!(told[..64].iter().all(Result::is_ok));
}

#[test]
fn what_an_export_can_do() {
    let session = session(true);
    let told = |flags, command, offset, length| {
        let request = NbdRequestHeader::decode(&request(flags, command, offset, length)).unwrap();
        session.command(&request)
    };
    let (size, end) = (1_u32 << 20, 1_u64 << 20);
    assert_eq!(told(0, 0, 0, size), Ok(NbdCommand::Read { whole: false }));
    assert_eq!(told(4, 0, 512, 512), Ok(NbdCommand::Read { whole: true }));
    assert_eq!(told(0, 0, 512, size), Err(Errno::Invalid), "past the end");
    assert_eq!(told(0, 0, u64::MAX - 511, 512), Err(Errno::Invalid));
    assert_eq!(told(0, 1, end, 512), Err(Errno::NoSpace));
    assert_eq!(
        told(1, 1, end - 512, 512),
        Ok(NbdCommand::Write { fua: true })
    );
    assert_eq!(told(0, 1, 1, 512), Err(Errno::Invalid), "alignment");
    assert_eq!(told(0, 1, 0, 1), Err(Errno::Invalid), "alignment");
    assert_eq!(told(0, 1, 0, 0), Err(Errno::Invalid), "nothing");
    assert_eq!(
        told(2, 1, 0, 512),
        Err(Errno::Invalid),
        "a flag of another command"
    );
    assert_eq!(told(0, 3, 0, 0), Ok(NbdCommand::Flush));
    assert_eq!(
        told(1, 3, 0, 0),
        Ok(NbdCommand::Flush),
        "FUA where it makes no sense"
    );
    assert_eq!(told(0, 3, 0, 512), Err(Errno::Invalid));
    assert_eq!(told(1, 4, 0, size), Ok(NbdCommand::Trim { fua: true }));
    let zeroes = |fua, allocate, fast| {
        Ok(NbdCommand::Zeroes {
            fua,
            allocate,
            fast,
        })
    };
    assert_eq!(told(0x13, 6, 0, size), zeroes(true, true, true));
    assert_eq!(told(0, 6, 0, size), zeroes(false, false, false));
    assert_eq!(told(0, 5, 0, 512), Ok(NbdCommand::Cache));
    assert_eq!(told(0, 2, 9, 9), Ok(NbdCommand::Disconnect));
    assert_eq!(told(0, 8, 0, 512), Err(Errno::Invalid), "resize");
    assert_eq!(told(0, 99, 0, 512), Err(Errno::Invalid));
    assert_eq!(
        told(0x8000, 0, 0, 512),
        Err(Errno::Invalid),
        "an unknown flag"
    );
    let mut changed = session.clone();
    changed.export.read_only = true;
    for command in [1, 4, 6] {
        let request = NbdRequestHeader::decode(&request(0, command, 0, 512)).unwrap();
        assert_eq!(changed.command(&request), Err(Errno::Perm), "{command}");
    }
    changed.export.size = 1 << 40;
    let request = NbdRequestHeader::decode(&request(0, 0, 0, (32 << 20) + 512)).unwrap();
    assert_eq!(changed.command(&request), Err(Errno::Overflow));
}

#[test]
fn heads_of_requests() {
    let write = request(0, 1, 0, 4096);
    assert_eq!(
        NbdRequestHeader::decode(&write).unwrap().payload_bytes(),
        4096
    );
    assert_eq!(
        NbdRequestHeader::decode(&request(0, 0, 0, 4096))
            .unwrap()
            .payload_bytes(),
        0
    );
    let long = (32 << 20) + 1;
    assert_eq!(
        NbdRequestHeader::decode(&request(0, 1, 0, long)),
        Err(NbdConnectionError::PayloadTooLong(long))
    );
    assert!(NbdRequestHeader::decode(&request(0, 1, 0, 32 << 20)).is_ok());
    let mut bad = write;
    bad[0] = 0;
    assert_eq!(
        NbdRequestHeader::decode(&bad),
        Err(NbdConnectionError::Request)
    );
}

#[test]
fn simple_and_structured_replies() {
    let (plain, structured) = (session(false), session(true));
    let bytes = |make: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        make(&mut out);
        out
    };
    let done = bytes(&|out| reply::done(&plain, 7, out));
    assert_eq!(done, b"\x67\x44\x66\x98\0\0\0\0\0\0\0\0\0\0\0\x07");
    let failed = bytes(&|out| reply::failed(&plain, 7, Errno::Io, out));
    assert_eq!(failed[4..8], [0, 0, 0, 5]);
    let done = bytes(&|out| reply::done(&structured, 7, out));
    assert_eq!(
        done,
        b"\x66\x8e\x33\xef\0\x01\0\0\0\0\0\0\0\0\0\x07\0\0\0\0"
    );
    let failed = bytes(&|out| reply::failed(&structured, 7, Errno::Io, out));
    assert_eq!(failed[4..8], [0, 1, 0x80, 1]);
    assert_eq!(
        failed[16..],
        *b"\0\0\0\x17\0\0\0\x05\0\x11the volume failed"
    );
    let piece = |offset, length, is_last| NbdReadChunk {
        offset,
        length,
        is_last,
    };
    let first = piece(512, 1024, false);
    let data = bytes(&|out| reply::data(&structured, 7, first, out));
    assert_eq!(data.len(), reply::DATA_BYTES);
    assert_eq!(data[4..6], [0, 0], "another chunk follows");
    assert_eq!(data[16..], *b"\0\0\x04\x08\0\0\0\0\0\0\x02\0");
    let data = bytes(&|out| reply::data(&plain, 7, first, out));
    assert_eq!(data.len(), reply::SIMPLE_BYTES);
    let last = piece(0, 512, true);
    assert!(!reply::hole(&plain, 7, last, &mut Vec::new()));
    let hole = bytes(&|out| assert!(reply::hole(&structured, 7, last, out)));
    assert_eq!(hole[4..6], [0, 1]);
    assert_eq!(hole[16..], *b"\0\0\0\x0c\0\0\0\0\0\0\0\0\0\0\x02\0");
    let extents = [(512, true), (1024, false)].map(|(length, hole)| Extent { length, hole });
    let status = bytes(&|out| reply::status(7, &extents, out));
    assert_eq!(status[16..24], *b"\0\0\0\x14\0\0\0\x01");
    assert_eq!(status[24..], *b"\0\0\x02\0\0\0\0\x03\0\0\x04\0\0\0\0\0");
}

proptest! {
    /// Input in pieces of any size gives the same replies, and is bounded.
    #[test]
    fn pieces_make_no_difference(
        options in prop::collection::vec((0_u32..12, prop::collection::vec(any::<u8>(), 0..40)), 0..8),
        cut in 1_usize..64,
    ) {
        let mut bytes = 3_u32.to_be_bytes().to_vec();
        for (number, data) in &options {
            bytes.extend(option(*number, data));
        }
        let run = |piece: usize| {
            let mut handshake = Handshake::new(NbdTransport::Plain);
            let (mut out, mut held) = (Vec::new(), Vec::new());
            for chunk in bytes.chunks(piece) {
                held.extend_from_slice(chunk);
                let mut input = held.as_slice();
                match handshake.handle(&mut input, &exports(), &mut out) {
                    Ok(NbdHandshakeStep::Read) => held = input.to_vec(),
                    other => return (format!("{other:?}"), out),
                }
            }
            ("open".to_owned(), out)
        };
        prop_assert_eq!(run(cut), run(bytes.len()));
    }

    #[test]
    fn any_bytes_are_bounded(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        let mut handshake = Handshake::new(NbdTransport::Plain);
        let mut out = Vec::new();
        let _ = handshake.handle(&mut bytes.as_slice(), &exports(), &mut out);
        prop_assert!(out.len() <= bytes.len() * 64 + 64);
        if let Some(head) = bytes.first_chunk::<REQUEST_BYTES>() {
            let _ = NbdRequestHeader::decode(head);
        }
    }
}
