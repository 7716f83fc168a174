//! Tests the iSCSI target with PDUs as bytes: logins, commands with data in every form, and
//! invalid PDUs of an initiator.

use super::login::{LoggedInSession, Login, LoginRejectStatus};
use super::pdu::{HEADER_BYTES, Header, IscsiError, Pdu, opcode};
use super::session::{Session, SessionTarget};
use crate::disk::{Disk, DiskError};
use std::sync::Mutex;

struct IscsiMemoryDisk(Mutex<Vec<u8>>);

impl Disk for IscsiMemoryDisk {
    fn reach(&self) -> Result<(), DiskError> {
        Ok(())
    }

    fn size(&self) -> Result<u64, DiskError> {
        Ok(self.0.lock().unwrap().len() as u64)
    }

    fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<(), DiskError> {
        let disk = self.0.lock().unwrap();
        bytes.copy_from_slice(&disk[offset as usize..][..bytes.len()]);
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let mut disk = self.0.lock().unwrap();
        disk[offset as usize..][..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn flush(&self) -> Result<(), DiskError> {
        Ok(())
    }

    fn close(&self) {}
}

/// Builds a header with these bytes at these offsets.
fn header(parts: &[(usize, &[u8])]) -> Header {
    let mut bytes = [0; HEADER_BYTES];
    for (at, part) in parts {
        bytes[*at..*at + part.len()].copy_from_slice(part);
    }
    Header(bytes)
}

fn pdu(parts: &[(usize, &[u8])], data: &[u8]) -> Pdu {
    let data = data.to_vec();
    let header = header(parts);
    Pdu { header, data }
}

/// Returns the PDUs of an output.
fn split(mut out: &[u8]) -> Vec<Pdu> {
    let mut all = Vec::new();
    while let Some((head, rest)) = out.split_first_chunk::<HEADER_BYTES>() {
        let header = Header(*head);
        let length = header.rest_bytes(1 << 24).unwrap();
        let (data, rest) = rest.split_at(length);
        all.push(header.with(data.to_vec()).unwrap());
        out = rest;
    }
    assert!(out.is_empty());
    all
}

const NAMES: &str = "InitiatorName=iqn.a\0TargetName=iqn.t\0SessionType=Normal\0";

/// Runs a login with one PDU, from the operational stage to the full feature phase.
fn log_in(keys: &str) -> (Result<Option<LoggedInSession>, IscsiError>, Vec<Pdu>) {
    let parts: &[(usize, &[u8])] = &[(0, &[0x43, 0x87]), (8, &[0x40, 0, 0, 0, 0, 9])];
    let mut out = Vec::new();
    let mut login = Login::new(5);
    let mut may_use = |target: &str| match target {
        "iqn.t" => Ok(()),
        _ => Err(LoginRejectStatus::NotFound),
    };
    let done = login.handle(&pdu(parts, keys.as_bytes()), &mut may_use, &mut out);
    (done, split(&out))
}

fn words(data: &[u8]) -> String {
    String::from_utf8_lossy(data).replace('\0', "\n")
}

#[test]
fn a_login_agrees_on_what_both_sides_can_do() {
    let keys = "HeaderDigest=CRC32C,None\0DataDigest=None\0InitialR2T=No\0ImmediateData=Yes\0\
        MaxBurstLength=16776192\0FirstBurstLength=262144\0MaxRecvDataSegmentLength=4096\0\
        MaxConnections=4\0ErrorRecoveryLevel=2\0DefaultTime2Wait=2\0DefaultTime2Retain=20\0\
        MaxOutstandingR2T=8\0OFMarker=Yes\0X-com.example.thing=1\0";
    let (done, replies) = log_in(&format!("{NAMES}{keys}"));
    let session = done.unwrap().unwrap();
    assert_eq!(session.target.as_deref(), Some("iqn.t"));
    assert_eq!(
        session.initiator,
        ("iqn.a".to_owned(), [0x40, 0, 0, 0, 0, 9])
    );
    let parameters = session.parameters;
    assert_eq!((parameters.receives, parameters.burst), (4096, 256 << 10));
    assert!(!parameters.initial_r2t && parameters.first_burst == 64 << 10);
    assert_eq!(replies[0].header.0[..4], [0x23, 0x87, 0, 0]);
    // The TSIH of the session, and success.
    assert_eq!((replies[0].header.0[15], replies[0].header.0[36]), (5, 0));
    insta::assert_snapshot!(words(&replies[0].data), @r"
    HeaderDigest=None
    DataDigest=None
    InitialR2T=No
    ImmediateData=Yes
    MaxBurstLength=262144
    FirstBurstLength=65536
    MaxConnections=1
    ErrorRecoveryLevel=0
    DefaultTime2Wait=2
    DefaultTime2Retain=0
    MaxOutstandingR2T=1
    OFMarker=No
    X-com.example.thing=NotUnderstood
    TargetPortalGroupTag=1
    MaxRecvDataSegmentLength=262144
    ");
}

#[test]
fn a_login_that_cannot_be_is_refused_with_its_reason() {
    for (keys, status) in [
        ("InitiatorName=iqn.a\0TargetName=iqn.other\0", 0x0203),
        ("InitiatorName=iqn.a\0", 0x0207),
        ("TargetName=iqn.t\0", 0x0207),
        (
            "InitiatorName=iqn.a\0TargetName=iqn.t\0AuthMethod=CHAP\0",
            0x0201,
        ),
        (
            "InitiatorName=iqn.a\0TargetName=iqn.t\0MaxBurstLength=many\0",
            0x0200,
        ),
        ("InitiatorName=iqn.a\0TargetName", 0x0200),
        ("InitiatorName=\0", 0x0200),
    ] {
        let (done, replies) = log_in(keys);
        assert!(done.is_err(), "{keys}");
        let status_of = |pdu: &Pdu| u16::from_be_bytes([pdu.header.0[36], pdu.header.0[37]]);
        assert_eq!(status_of(&replies[0]), status, "{keys}");
    }
    // An unknown TSIH; an invalid stage; another version.
    let header =
        |flags: u8, min: u8, number: u8| [(0, vec![0x43, flags, 0, min]), (14, vec![0, number])];
    for (parts, status) in [
        (header(0x87, 0, 3), 0x020a),
        (header(0x8b, 0, 0), 0x0200),
        (header(0x86, 0, 0), 0x0200),
        (header(0x87, 1, 0), 0x0205),
    ] {
        let parts: Vec<(usize, &[u8])> = parts.iter().map(|(at, part)| (*at, &part[..])).collect();
        let mut out = Vec::new();
        let request = pdu(&parts, NAMES.as_bytes());
        assert!(
            Login::new(1)
                .handle(&request, &mut |_| Ok(()), &mut out)
                .is_err()
        );
        let reply = &split(&out)[0].header;
        assert_eq!(
            u16::from_be_bytes([reply.0[36], reply.0[37]]),
            status,
            "{parts:?}"
        );
    }
}

#[test]
fn a_login_in_parts_is_one() {
    let mut login = Login::new(1);
    let (first, second) = NAMES.split_at(20);
    let mut out = Vec::new();
    // The keys continue in the next PDU; then both stages.
    let continued = pdu(&[(0, &[0x43, 0x40])], first.as_bytes());
    assert!(
        login
            .handle(&continued, &mut |_| Ok(()), &mut out)
            .unwrap()
            .is_none()
    );
    assert!(split(&out)[0].data.is_empty());
    let security = format!("{second}AuthMethod=CHAP,None\0");
    let security = pdu(&[(0, &[0x43, 0x81])], security.as_bytes());
    out.clear();
    assert!(
        login
            .handle(&security, &mut |_| Ok(()), &mut out)
            .unwrap()
            .is_none()
    );
    assert_eq!(
        words(&split(&out)[0].data),
        "AuthMethod=None\nTargetPortalGroupTag=1\n"
    );
    // A transition to an earlier stage is invalid.
    let again = login.handle(&security, &mut |_| Ok(()), &mut Vec::new());
    assert!(again.is_err());
}

/// Session with a disk of 64 blocks. Each byte is the number of its block.
struct Talk {
    session: Session,
    disk: IscsiMemoryDisk,
    number: u32,
}

impl Talk {
    fn new(keys: &str) -> Talk {
        let keys = format!("{NAMES}MaxBurstLength=2048\0FirstBurstLength=1024\0{keys}");
        let (done, _) = log_in(&keys);
        let bytes = (0..64_u8).flat_map(|block| [block; 512]).collect();
        Talk {
            session: Session::new(&done.unwrap().unwrap()),
            disk: IscsiMemoryDisk(Mutex::new(bytes)),
            number: 0,
        }
    }

    fn send(&mut self, parts: &[(usize, &[u8])], data: &[u8]) -> Result<Vec<Pdu>, IscsiError> {
        let unit = SessionTarget {
            name: "iqn.t",
            disk: Some(&self.disk),
            targets: &|| vec![("iqn.t".to_owned(), "10.0.0.1:3260".to_owned())],
        };
        let mut out = Vec::new();
        let sent = self.session.handle(&pdu(parts, data), &unit, &mut out);
        sent.map(|()| split(&out))
    }

    /// Sends a command with its flags, its expected data length and its immediate data. Returns the
    /// responses.
    fn command(&mut self, flags: u8, expected: u32, cdb: &[u8], data: &[u8]) -> Vec<Pdu> {
        let number = self.number.to_be_bytes();
        self.number += 1;
        let parts: &[(usize, &[u8])] = &[
            (0, &[opcode::COMMAND, flags]),
            (16, &[0, 0, 0, 77]),
            (20, &expected.to_be_bytes()),
            (24, &number),
            (32, cdb),
        ];
        self.send(parts, data).unwrap()
    }

    fn data(&mut self, tag: u32, number: u32, offset: u32, last: bool, data: &[u8]) -> Vec<Pdu> {
        let flags = if last { 0x80 } else { 0 };
        let parts: &[(usize, &[u8])] = &[
            (0, &[opcode::DATA_OUT, flags]),
            (16, &[0, 0, 0, 77]),
            (20, &tag.to_be_bytes()),
            (36, &number.to_be_bytes()),
            (40, &offset.to_be_bytes()),
        ];
        self.send(parts, data).unwrap()
    }
}

/// Returns the opcode, the status, the residual flags and the residual count.
fn ended(pdu: &Pdu) -> (u8, u8, u8, u32) {
    let flags = pdu.header.flags() & 0x06;
    (
        pdu.header.opcode(),
        pdu.header.0[3],
        flags,
        pdu.header.word(44),
    )
}

/// Returns sense key, code and qualifier of a failed command.
fn sense(pdu: &Pdu) -> (u8, u8, u8) {
    assert_eq!((pdu.header.0[3], pdu.data[1]), (2, 18));
    (pdu.data[4], pdu.data[14], pdu.data[15])
}

#[test]
fn blocks_are_read_in_segments_and_sequences_with_the_status_in_the_last() {
    let mut talk = Talk::new("MaxRecvDataSegmentLength=1024\0");
    // READ(10) of 5 blocks from block 3.
    let read = talk.command(0xc0, 5 * 512, &[0x28, 0, 0, 0, 0, 3, 0, 0, 5], &[]);
    let shown: Vec<(u8, usize, u32, u32)> = read
        .iter()
        .map(|pdu| {
            (
                pdu.header.flags(),
                pdu.data.len(),
                pdu.header.word(36),
                pdu.header.word(40),
            )
        })
        .collect();
    assert_eq!(
        shown,
        [(0, 1024, 0, 0), (0x80, 1024, 1, 1024), (0x81, 512, 2, 2048)]
    );
    assert_eq!(read[0].data[511..513], [3, 4]);
    assert_eq!(read[2].data, [7; 512]);
    // The initiator expects less, and more, than the available data.
    let less = talk.command(0xc0, 512, &[0x28, 0, 0, 0, 0, 3, 0, 0, 2], &[]);
    assert_eq!(
        (ended(&less[0]), less[0].data.len()),
        ((0x25, 0, 4, 512), 512)
    );
    let more = talk.command(0xc0, 1536, &[0x28, 0, 0, 0, 0, 3, 0, 0, 2], &[]);
    assert_eq!(
        (ended(&more[0]), more[0].data.len()),
        ((0x25, 0, 2, 512), 1024)
    );
    // Beyond the end; too many blocks at once.
    let behind = talk.command(0xc0, 1024, &[0x28, 0, 0, 0, 0, 63, 0, 0, 2], &[]);
    assert_eq!(sense(&behind[0]), (5, 0x21, 0));
    let many = talk.command(0xc0, 1024, &[0xa8, 0, 0, 0, 0, 0, 0xff, 0, 0, 0], &[]);
    assert_eq!(sense(&many[0]), (5, 0x24, 0));
}

#[test]
fn data_comes_with_the_command_unasked_and_after_each_r2t() {
    let mut talk = Talk::new("InitialR2T=No\0");
    // WRITE(10) of 8 blocks: 512 bytes immediate, 512 unsolicited, the rest in two bursts.
    let begun = talk.command(0x20, 4096, &[0x2a, 0, 0, 0, 0, 8, 0, 0, 8], &[0xa0; 512]);
    assert!(begun.is_empty());
    let first = talk.data(0xffff_ffff, 0, 512, true, &[0xa1; 512]);
    let wanted = |pdu: &Pdu| {
        (
            pdu.header.opcode(),
            pdu.header.word(36),
            pdu.header.word(40),
            pdu.header.word(44),
        )
    };
    assert_eq!(wanted(&first[0]), (0x31, 0, 1024, 2048));
    let tag = first[0].header.word(20);
    assert!(talk.data(tag, 0, 1024, false, &[0xa2; 1024]).is_empty());
    let second = talk.data(tag, 1, 2048, true, &[0xa3; 1024]);
    assert_eq!(wanted(&second[0]), (0x31, 1, 3072, 1024));
    // Another command is possible while the write waits for data.
    let ready = talk.command(0x80, 0, &[0], &[]);
    assert_eq!(ended(&ready[0]), (0x21, 0, 0, 0));
    let done = talk.data(second[0].header.word(20), 0, 3072, true, &[0xa4; 1024]);
    assert_eq!(ended(&done[0]), (0x21, 0, 0, 0));
    let disk = talk.disk.0.lock().unwrap();
    let blocks: Vec<u8> = (8..16).map(|block| disk[block * 512]).collect();
    assert_eq!(blocks, [0xa0, 0xa1, 0xa2, 0xa2, 0xa3, 0xa3, 0xa4, 0xa4]);
    assert_eq!((disk[7 * 512], disk[16 * 512]), (7, 16));
}

#[test]
fn data_that_is_out_of_order_fails_its_command_and_what_nobody_asked_for_the_connection() {
    let mut talk = Talk::new("InitialR2T=No\0");
    let cdb = [0x2a, 0, 0, 0, 0, 8, 0, 0, 2];
    assert!(talk.command(0x20, 1024, &cdb, &[1; 512]).is_empty());
    let wrong = talk.data(0xffff_ffff, 3, 512, true, &[2; 512]);
    assert_eq!(sense(&wrong[0]), (0xb, 0x4b, 0));
    // An aborted command gets no response, and late data of it is discarded.
    assert!(talk.command(0x20, 1024, &cdb, &[]).is_empty());
    let task = |function: u8, tag: u8| [(0, vec![0x42, 0x80 | function]), (20, vec![0, 0, 0, tag])];
    let abort = |talk: &mut Talk, function, tag| {
        let parts = task(function, tag);
        let parts: Vec<(usize, &[u8])> = parts.iter().map(|(at, part)| (*at, &part[..])).collect();
        talk.send(&parts, &[]).unwrap()[0].header.0[2]
    };
    assert_eq!(abort(&mut talk, 1, 77), 0);
    assert_eq!(abort(&mut talk, 1, 77), 1);
    assert_eq!((abort(&mut talk, 5, 0), abort(&mut talk, 8, 0)), (0, 4));
    assert!(talk.data(0xffff_ffff, 0, 0, true, &[3; 1024]).is_empty());
    assert_eq!(talk.disk.0.lock().unwrap()[9 * 512], 9);
    // Two commands with one tag; more data at once than was negotiated.
    assert!(talk.command(0x20, 1024, &cdb, &[]).is_empty());
    let number = talk.number.to_be_bytes();
    let parts: &[(usize, &[u8])] = &[
        (0, &[1, 0x20]),
        (16, &[0, 0, 0, 77]),
        (24, &number),
        (32, &cdb),
    ];
    assert!(matches!(
        talk.send(parts, &[]),
        Err(IscsiError::Protocol(_))
    ));
    let mut talk = Talk::new("");
    let parts: &[(usize, &[u8])] = &[(0, &[1, 0x20]), (20, &[0, 0, 8, 0]), (32, &cdb)];
    // Without InitialR2T=No, no unsolicited data is allowed.
    assert!(matches!(
        talk.send(parts, &[]),
        Err(IscsiError::Protocol(_))
    ));
}

#[test]
fn what_is_sent_and_is_not_needed_is_not_written() {
    let mut talk = Talk::new("");
    // The command has one block, and two are announced; then the other way round.
    let cdb = [0x2a, 0, 0, 0, 0, 8, 0, 0, 1];
    let done = talk.command(0xa0, 1024, &cdb, &[1; 1024]);
    assert_eq!(ended(&done[0]), (0x21, 0, 2, 512));
    let cdb = [0x2a, 0, 0, 0, 0, 20, 0, 0, 2];
    let done = talk.command(0xa0, 512, &cdb, &[2; 512]);
    assert_eq!(ended(&done[0]), (0x21, 0, 4, 512));
    let disk = talk.disk.0.lock().unwrap();
    assert_eq!([8, 9, 20, 21].map(|block| disk[block * 512]), [1, 9, 2, 21]);
}

#[test]
fn ranges_are_released_and_one_block_is_written_to_many() {
    let mut talk = Talk::new("");
    // UNMAP of blocks 4 and 5.
    let mut list = vec![0, 22, 0, 16, 0, 0, 0, 0];
    list.extend([0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 2, 0, 0, 0, 0]);
    let done = talk.command(0xa0, 24, &[0x42, 0, 0, 0, 0, 0, 0, 0, 24], &list);
    assert_eq!(ended(&done[0]), (0x21, 0, 0, 0));
    list[15] = 63;
    let behind = talk.command(0xa0, 24, &[0x42, 0, 0, 0, 0, 0, 0, 0, 24], &list);
    assert_eq!(sense(&behind[0]), (5, 0x21, 0));
    // WRITE SAME(10) to blocks 10 to 12; without its data, nothing is written.
    let cdb = [0x41, 0, 0, 0, 0, 10, 0, 0, 3];
    let done = talk.command(0xa0, 512, &cdb, &[0xee; 512]);
    assert_eq!(ended(&done[0]), (0x21, 0, 0, 0));
    let without = talk.command(0x80, 0, &[0x41, 0, 0, 0, 0, 20, 0, 0, 3], &[]);
    assert_eq!(sense(&without[0]), (5, 0x24, 0));
    // WRITE SAME(16) with NDOB: zeroes.
    let zeroes = [0x93, 1, 0, 0, 0, 0, 0, 0, 0, 30, 0, 0, 0, 1];
    let done = talk.command(0x80, 0, &zeroes, &[]);
    assert_eq!(ended(&done[0]), (0x21, 0, 0, 0));
    // VERIFY(10) with BYTCHK compares the data with the disk.
    let compare = [0x2f, 2, 0, 0, 0, 10, 0, 0, 1];
    assert_eq!(
        ended(&talk.command(0xa0, 512, &compare, &[0xee; 512])[0]).1,
        0
    );
    assert_eq!(
        sense(&talk.command(0xa0, 512, &compare, &[0xef; 512])[0]),
        (0xe, 0x1d, 0)
    );
    let disk = talk.disk.0.lock().unwrap();
    let blocks = [3, 4, 5, 6, 9, 10, 12, 13, 20, 30, 31].map(|block| disk[block * 512]);
    assert_eq!(blocks, [3, 0, 0, 6, 9, 0xee, 0xee, 13, 20, 0, 31]);
}

#[test]
fn a_session_echoes_lists_targets_rejects_and_ends() {
    let mut talk = Talk::new("");
    let echo = talk
        .send(&[(0, &[0x40, 0x80]), (16, &[0, 0, 0, 1])], b"ping")
        .unwrap();
    assert_eq!(
        (echo[0].header.opcode(), &echo[0].data[..]),
        (0x20, &b"ping"[..])
    );
    // The response to a ping of the target.
    let none = talk
        .send(&[(0, &[0x40, 0x80]), (16, &[0xff; 4])], &[])
        .unwrap();
    assert!(none.is_empty());
    let text: &[(usize, &[u8])] = &[(0, &[0x44, 0x80]), (20, &[0xff; 4])];
    let listed = talk.send(text, b"SendTargets=All\0").unwrap();
    assert_eq!(
        words(&listed[0].data),
        "TargetName=iqn.t\nTargetAddress=10.0.0.1:3260,1\n"
    );
    assert!(
        talk.send(text, b"SendTargets=iqn.x\0").unwrap()[0]
            .data
            .is_empty()
    );
    // SNACK, which ErrorRecoveryLevel 0 does not support.
    let reject = talk.send(&[(0, &[0x50, 0x80])], &[]).unwrap();
    assert_eq!((reject[0].header.opcode(), reject[0].data[0]), (0x3f, 0x50));
    // Commands outside of the command window are ignored.
    let outside: &[(usize, &[u8])] = &[(0, &[1, 0x80]), (24, &[0, 0, 0, 9])];
    assert!(talk.send(outside, &[]).unwrap().is_empty());
    let recovery = talk.send(&[(0, &[0x46, 0x82])], &[]).unwrap();
    assert_eq!(recovery[0].header.0[2], 2);
    let ended = talk.send(&[(0, &[0x46, 0x80])], &[]);
    assert!(matches!(ended, Err(IscsiError::Ended)));
}

#[test]
fn a_unit_that_is_not_there_says_so() {
    let mut talk = Talk::new("");
    let number = 0_u32.to_be_bytes();
    let inquiry: &[(usize, &[u8])] = &[
        (0, &[1, 0xc0]),
        (8, &[0, 1]),
        (20, &[0, 0, 0, 96]),
        (24, &number),
        (32, &[0x12, 0, 0, 0, 96]),
    ];
    let reply = talk.send(inquiry, &[]).unwrap();
    assert_eq!(reply[0].data[0], 0x7f);
    let ready: &[(usize, &[u8])] = &[(0, &[0x41, 0x80]), (8, &[0, 1])];
    assert_eq!(sense(&talk.send(ready, &[]).unwrap()[0]), (5, 0x25, 0));
}

#[test]
fn a_pdu_longer_than_agreed_on_is_not_read() {
    let long = header(&[(4, &[0, 4, 0, 1])]);
    assert!(matches!(
        long.rest_bytes(256 << 10),
        Err(IscsiError::Protocol(_))
    ));
    // Additional header segments and padding are skipped.
    let padded = header(&[(4, &[1, 0, 0, 3])]);
    assert_eq!(padded.rest_bytes(256 << 10).unwrap(), 8);
    assert_eq!(
        padded.clone().with(b"ahs.abc.".to_vec()).unwrap().data,
        b"abc"
    );
    assert!(padded.with(b"ahs.ab".to_vec()).is_none());
}
