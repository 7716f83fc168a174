//! Implements a low-level NBD client of these tests, which can do what no real client does.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

pub(crate) const READ: u16 = 0;
pub(crate) const WRITE: u16 = 1;
pub(crate) const FLUSH: u16 = 3;
pub(crate) const WRITE_ZEROES: u16 = 6;
pub(crate) const FUA: u16 = 1;

pub(crate) struct Raw {
    pub(crate) stream: UnixStream,
    next: u64,
}

/// Chunk of a structured reply.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) is_last: bool,
    pub(crate) kind: u16,
    pub(crate) cookie: u64,
    pub(crate) content: Vec<u8>,
}

impl Raw {
    pub(crate) fn new(mut stream: UnixStream, structured: bool) -> Raw {
        let patience = Some(Duration::from_secs(60));
        stream.set_read_timeout(patience).expect("a timeout");
        let mut greeting = [0; 18];
        stream.read_exact(&mut greeting).expect("a greeting");
        let mut sent = 3_u32.to_be_bytes().to_vec();
        let mut replies = 0;
        if structured {
            sent.extend(option(8, &[]));
            replies += 20;
        }
        // NBD_OPT_EXPORT_NAME: size and flags, no zeroes.
        sent.extend(option(1, b"mail"));
        stream.write_all(&sent).expect("sent");
        let mut reply = vec![0; replies + 10];
        stream.read_exact(&mut reply).expect("a reply");
        Raw { stream, next: 1 }
    }

    /// Sends a request, and returns its cookie.
    pub(crate) fn request(&mut self, flags: u16, command: u16, offset: u64, length: u32) -> u64 {
        self.next += 1;
        let head = head(flags, command, self.next, offset, length);
        self.stream.write_all(&head).expect("sent");
        self.next
    }

    /// Reads the header of a simple reply. Returns cookie and error.
    pub(crate) fn simple(&mut self) -> (u64, u32) {
        let mut head = [0; 16];
        self.stream.read_exact(&mut head).expect("a simple reply");
        assert_eq!(head[..4], 0x6744_6698_u32.to_be_bytes());
        let error = u32::from_be_bytes(head[4..8].try_into().expect("4"));
        (u64::from_be_bytes(head[8..].try_into().expect("8")), error)
    }

    pub(crate) fn chunk(&mut self) -> Chunk {
        let mut head = [0; 20];
        self.stream.read_exact(&mut head).expect("a chunk");
        assert_eq!(head[..4], 0x668e_33ef_u32.to_be_bytes());
        let length = u32::from_be_bytes(head[16..].try_into().expect("4"));
        let mut content = vec![0; length as usize];
        self.stream.read_exact(&mut content).expect("its content");
        Chunk {
            is_last: head[5] == 1,
            kind: u16::from_be_bytes([head[6], head[7]]),
            cookie: u64::from_be_bytes(head[8..16].try_into().expect("8")),
            content,
        }
    }

    /// Writes, and waits for the reply.
    pub(crate) fn write(&mut self, flags: u16, offset: u64, bytes: &[u8]) {
        let cookie = self.request(flags, WRITE, offset, bytes.len() as u32);
        self.stream.write_all(bytes).expect("sent");
        assert_eq!(self.simple(), (cookie, 0));
    }

    pub(crate) fn flush(&mut self) {
        let cookie = self.request(0, FLUSH, 0, 0);
        assert_eq!(self.simple(), (cookie, 0));
    }

    /// Reads with a simple reply.
    pub(crate) fn read(&mut self, offset: u64, length: u32) -> Vec<u8> {
        let cookie = self.request(0, READ, offset, length);
        assert_eq!(self.simple(), (cookie, 0));
        let mut bytes = vec![0; length as usize];
        self.stream.read_exact(&mut bytes).expect("its data");
        bytes
    }
}

pub(crate) fn head(flags: u16, command: u16, cookie: u64, offset: u64, length: u32) -> Vec<u8> {
    let mut head = 0x2560_9513_u32.to_be_bytes().to_vec();
    head.extend(flags.to_be_bytes());
    head.extend(command.to_be_bytes());
    head.extend(cookie.to_be_bytes());
    head.extend(offset.to_be_bytes());
    head.extend(length.to_be_bytes());
    head
}

pub(crate) fn option(number: u32, data: &[u8]) -> Vec<u8> {
    let mut option = b"IHAVEOPT".to_vec();
    option.extend(number.to_be_bytes());
    option.extend((data.len() as u32).to_be_bytes());
    option.extend(data);
    option
}
