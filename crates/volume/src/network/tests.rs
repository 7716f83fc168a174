//! Tests the NBD handshake before TLS, as a table of client messages and replies.

use super::front::{FrontError, start_tls};
use protocol::nbd::{GREETING, NbdConnectionError};
use std::io::{self, Read, Write};

/// Peer that sends these bytes in pieces of a given length, and records the replies.
struct Peer {
    says: Vec<u8>,
    step: usize,
    at: usize,
    hears: Vec<u8>,
    /// True if the peer stays silent after its last byte instead of disconnecting.
    stays: bool,
}

impl Read for Peer {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let left = &self.says[self.at..];
        if left.is_empty() && self.stays {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let count = left.len().min(self.step).min(bytes.len());
        bytes[..count].copy_from_slice(&left[..count]);
        self.at += count;
        Ok(count)
    }
}

impl Write for Peer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hears.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const FLAGS: [u8; 4] = [0, 0, 0, 3];

fn option(number: u32, data: &[u8]) -> Vec<u8> {
    let length = data.len() as u32;
    [
        b"IHAVEOPT",
        &number.to_be_bytes()[..],
        &length.to_be_bytes(),
        data,
    ]
    .concat()
}

fn reply(option: u32, kind: u32, words: &str) -> Vec<u8> {
    let magic = 0x0003_e889_0455_65a9_u64.to_be_bytes();
    let numbers = [option, kind, words.len() as u32].map(u32::to_be_bytes);
    [&magic, &numbers.concat()[..], words.as_bytes()].concat()
}

const TLS_REQUIRED: u32 = 1 << 31 | 5;
const INVALID: u32 = 1 << 31 | 3;

type StartTlsResult = (Result<Option<u32>, FrontError>, Vec<u8>);

fn said(says: &[u8], step: usize, stays: bool) -> StartTlsResult {
    let mut peer = Peer {
        says: says.to_vec(),
        step,
        at: 0,
        hears: Vec::new(),
        stays,
    };
    let ended = start_tls(&mut peer);
    let hears = peer.hears.strip_prefix(&GREETING).expect("the greeting");
    (ended, hears.to_vec())
}

#[test]
fn tls_begins_after_a_fragmented_starttls() {
    let says = [&FLAGS[..], &option(5, b"")].concat();
    for step in [1, 3, says.len()] {
        let (ended, hears) = said(&says, step, true);
        assert_eq!(ended.unwrap(), Some(3));
        assert_eq!(hears, reply(5, 1, ""));
    }
    // The client may choose the flag that omits zeroes.
    let says = [&[0, 0, 0, 1][..], &option(5, b"")].concat();
    assert_eq!(said(&says, 99, true).0.unwrap(), Some(1));
}

#[test]
fn before_tls_every_other_option_is_refused() {
    let go = [&4_u32.to_be_bytes()[..], b"mail", &[0, 0]].concat();
    for (number, data) in [
        (3, &[][..]),
        (6, &go),
        (7, &go),
        (8, &[]),
        (9, &go),
        (10, &go),
        (11, &[]),
        (77, &[1; 16 << 10]),
        (u32::MAX, &[]),
    ] {
        let says = [&FLAGS[..], &option(number, data)].concat();
        let refusal = reply(number, TLS_REQUIRED, "TLS is required");
        for step in [1, 4096] {
            let (ended, hears) = said(&says, step, false);
            assert!(
                matches!(ended, Err(FrontError::WithoutTls)),
                "{number}: {ended:?}"
            );
            assert_eq!(hears, refusal);
        }
        // The client may still start TLS afterwards.
        let (ended, hears) = said(&[&says[..], &option(5, b"")].concat(), 4096, true);
        assert_eq!(ended.unwrap(), Some(3));
        assert_eq!(hears, [refusal, reply(5, 1, "")].concat());
    }
    // The old option NBD_OPT_EXPORT_NAME has no error reply, so the connection is closed.
    let (ended, hears) = said(&[&FLAGS[..], &option(1, b"mail")].concat(), 99, true);
    assert!(matches!(ended, Err(FrontError::WithoutTls)), "{ended:?}");
    assert_eq!(hears, b"");
    let (ended, hears) = said(&[&FLAGS[..], &option(5, b"x")].concat(), 99, false);
    assert!(matches!(ended, Err(FrontError::WithoutTls)), "{ended:?}");
    assert_eq!(hears, reply(5, INVALID, "the option has no data"));
}

#[test]
fn a_client_may_leave_before_tls() {
    let abort = [&FLAGS[..], &option(2, b"")].concat();
    for (says, hears) in [
        (&b""[..], Vec::new()),
        (&FLAGS[..2], Vec::new()),
        (&FLAGS, Vec::new()),
        (&abort[..12], Vec::new()),
        (&abort, reply(2, 1, "")),
    ] {
        let (ended, heard) = said(says, 99, false);
        assert_eq!((ended.unwrap(), heard), (None, hears), "{says:?}");
    }
    let (ended, _) = said(&FLAGS, 99, true);
    assert!(matches!(ended, Err(FrontError::Late)), "{ended:?}");
}

#[test]
fn nonsense_ends_the_connection() {
    let clear = [&FLAGS[..], &option(5, b""), &option(3, b"")].concat();
    let (ended, hears) = said(&clear, 4096, true);
    assert!(matches!(ended, Err(FrontError::Clear)), "{ended:?}");
    assert_eq!(hears, reply(5, 1, ""));
    let long = |length: u32| {
        [
            &FLAGS[..],
            b"IHAVEOPT",
            &[0, 0, 0, 7],
            &length.to_be_bytes(),
        ]
        .concat()
    };
    let many = [&FLAGS[..], &option(3, b"").repeat(65)].concat();
    for (says, fault) in [
        (
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            NbdConnectionError::Flags,
        ),
        (vec![22, 3, 1, 2, 0, 1], NbdConnectionError::Flags),
        (vec![0; 4], NbdConnectionError::Flags),
        (vec![0xff; 64], NbdConnectionError::Flags),
        ([&FLAGS[..], &[0; 16]].concat(), NbdConnectionError::Option),
        (
            long((16 << 10) + 1),
            NbdConnectionError::OptionTooLong((16 << 10) + 1),
        ),
        (long(u32::MAX), NbdConnectionError::OptionTooLong(u32::MAX)),
        (many, NbdConnectionError::TooManyOptions),
    ] {
        for step in [1, 4096] {
            let (ended, _) = said(&says, step, true);
            let is_so = matches!(&ended, Err(FrontError::Nbd(found)) if *found == fault);
            assert!(is_so, "{says:?}: {ended:?}");
        }
    }
}

proptest::proptest! {
    #[test]
    fn random_bytes_neither_stop_it_nor_begin_tls(says: Vec<u8>, step in 1_usize..64) {
        // Random data has no magic number.
        let (ended, _) = said(&says, step, false);
        proptest::prop_assert!(!matches!(ended, Ok(Some(_))));
    }
}
