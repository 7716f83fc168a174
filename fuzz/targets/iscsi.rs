//! A connection of iSCSI with a disk in memory: whatever comes, the disk is asked only for bytes that it
//! has, and replies are as long as they say.
#![no_main]

use boot::disk::{Disk, DiskError};
use boot::iscsi::pdu::{DATA_BYTES_MAX, HEADER_BYTES, Header, LOGIN_BYTES_MAX, Pdu};
use boot::iscsi::session::SessionTarget;
use boot::iscsi::{Login, Session};
use libfuzzer_sys::fuzz_target;

/// A disk of so many bytes, all zeroes.
struct Zeroes(u64);

impl Zeroes {
    fn has(&self, offset: u64, length: u64) -> Result<(), DiskError> {
        assert!(length > 0 && offset.checked_add(length).is_some_and(|end| end <= self.0));
        Ok(())
    }
}

impl Disk for Zeroes {
    fn reach(&self) -> Result<(), DiskError> {
        Ok(())
    }

    fn size(&self) -> Result<u64, DiskError> {
        Ok(self.0)
    }

    fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<(), DiskError> {
        self.has(offset, bytes.len() as u64)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.has(offset, bytes.len() as u64)
    }

    fn zero(&self, offset: u64, length: u64) -> Result<(), DiskError> {
        self.has(offset, length)
    }

    fn flush(&self) -> Result<(), DiskError> {
        Ok(())
    }

    fn close(&self) {}
}

/// Takes a PDU from the front, as a connection reads it.
fn next(input: &mut &[u8], max: usize) -> Option<Pdu> {
    let (head, rest) = input.split_first_chunk::<HEADER_BYTES>()?;
    let header = Header(*head);
    let length = header.rest_bytes(max).ok()?;
    let (data, rest) = rest.split_at_checked(length)?;
    *input = rest;
    header.with(data.to_vec())
}

/// Replies are whole.
fn check(mut out: &[u8]) {
    while !out.is_empty() {
        next(&mut out, DATA_BYTES_MAX).expect("a whole reply");
    }
}

fuzz_target!(|input: (u16, bool, &[u8])| {
    let (blocks, logs_in, mut input) = input;
    let disk = Zeroes(u64::from(blocks) * 512);
    let mut login = Login::new(1);
    let mut out = Vec::new();
    let established = if logs_in {
        let mut header = [0; HEADER_BYTES];
        (header[0], header[1]) = (0x43, 0x87);
        let data = b"InitiatorName=a\0TargetName=t\0InitialR2T=No\0".to_vec();
        let header = Header(header);
        let begun = login.handle(&Pdu { header, data }, &mut |_| Ok(()), &mut out);
        begun.expect("a login")
    } else {
        let mut begun = None;
        while let (None, Some(pdu)) = (&begun, next(&mut input, LOGIN_BYTES_MAX)) {
            match login.handle(&pdu, &mut |_| Ok(()), &mut out) {
                Ok(one) => begun = one,
                Err(_) => break,
            }
        }
        begun
    };
    check(&out);
    let Some(established) = established else {
        return;
    };
    let mut session = Session::new(&established);
    let unit = SessionTarget {
        name: "t",
        disk: Some(&disk),
        targets: &|| vec![("t".to_owned(), "192.0.2.1:3260".to_owned())],
    };
    while let Some(pdu) = next(&mut input, DATA_BYTES_MAX) {
        out.clear();
        let handled = session.handle(&pdu, &unit, &mut out);
        check(&out);
        if handled.is_err() {
            return;
        }
    }
});
