//! Stores a disk in a volume of this node, by NBD over the volume's Unix socket. Requests of
//! several threads run concurrently.
//!
//! The volume is reserved for a while for a user whose connection ends. A later connection names
//! the user as one that reconnects, so the volume refuses it if another user may have had the
//! volume meanwhile. The disk is superseded then: machines have cached what that user may have
//! changed.
//!
//! The socket exists only where the volume is served, and disappears when the volume moves.
//! Requests whose connection ends are not repeated here: the machine repeats them, at the node
//! that then serves the volume.

use super::device::{Disk, DiskError, write_zeroes};
use protocol::nbd::client::{
    Dial, HEAD_BYTES_MIN, NbdExport, NbdNegotiationError, NbdReplyBody, NbdReplyHeader,
    NbdRequestKind, request,
};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Maximum silence of the server in the handshake. Shorter than the stop timeout of the role, which
/// waits for the handshake. Another attempt follows.
const HANDSHAKE_MAX: Duration = Duration::from_millis(1500);
const HANDSHAKE_BYTES_MAX: usize = 128 << 10;
/// Largest block size of a server, bytes: the AoE queue separates changes at this granularity.
const BLOCK_BYTES_MAX: u64 = 4096;
/// Longest range of one request for zeroes, bytes: a multiple of each block size.
const ZERO_BYTES_MAX: u64 = 16 << 20;
/// NBD error ESHUTDOWN: the server is shutting down.
const SHUTDOWN: u32 = 108;
const RECONNECTS: &str = "/again";
/// NBD option error `NBD_REP_ERR_POLICY`: the volume has, or may have had, another user.
const POLICY: u32 = 1 << 31 | 2;
/// NBD error EPERM: the server refuses the change.
const PERMISSION: u32 = 1;

#[derive(Debug)]
pub struct NbdDisk {
    socket: PathBuf,
    export: String,
    link: Mutex<NbdConnectionState>,
    /// Held while a part of a block is read, changed and written, so that two such changes do not
    /// undo each other.
    partly: Mutex<()>,
}

/// Connection to the volume, and whether a new one may be opened.
#[derive(Debug, Default)]
struct NbdConnectionState {
    connection: Option<Arc<Connection>>,
    first_size: Option<u64>,
    is_superseded: bool,
    is_closed: bool,
}

#[derive(Debug)]
struct Connection {
    stream: UnixStream,
    offer: NbdExport,
    sending: Mutex<()>,
    asked: Mutex<PendingRequests>,
    came: Condvar,
}

/// Requests without a reply, by their cookies.
#[derive(Debug, Default)]
struct PendingRequests {
    next: u64,
    all: BTreeMap<u64, NbdReplyState>,
    is_gone: bool,
}

#[derive(Debug)]
enum NbdReplyState {
    /// No reply yet; the number is the length of the expected data, bytes.
    Awaited(usize),
    /// The reply has arrived: the data, or the error number.
    Here(Result<Vec<u8>, u32>),
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

fn malformed(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn superseded() -> DiskError {
    DiskError::Failed(io::Error::from_raw_os_error(libc::ESTALE))
}

fn gone() -> DiskError {
    DiskError::Away(io::ErrorKind::NotConnected.into())
}

impl NbdDisk {
    /// Creates a disk for an export at a socket. [`Disk::reach`] connects to it.
    pub fn new(socket: PathBuf, export: String) -> NbdDisk {
        NbdDisk {
            socket,
            export,
            link: Mutex::default(),
            partly: Mutex::default(),
        }
    }

    fn connection(&self) -> Result<Arc<Connection>, DiskError> {
        let link = lock(&self.link);
        if link.is_superseded {
            return Err(superseded());
        }
        let usable = link.connection.as_ref().filter(|one| !one.is_gone());
        usable.cloned().ok_or_else(gone)
    }

    fn connect(&self, export: &str) -> io::Result<Arc<Connection>> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(HANDSHAKE_MAX))?;
        stream.set_write_timeout(Some(HANDSHAKE_MAX))?;
        let offer = shake_hands(&mut stream, export)?;
        if u64::from(offer.block_min) > BLOCK_BYTES_MAX {
            return Err(io::ErrorKind::Unsupported.into());
        }
        stream.set_read_timeout(None)?;
        stream.set_write_timeout(None)?;
        let connection = Arc::new(Connection {
            stream,
            offer,
            sending: Mutex::default(),
            asked: Mutex::default(),
            came: Condvar::new(),
        });
        let reads = Arc::clone(&connection);
        let thread = std::thread::Builder::new().name("aoe-nbd".to_owned());
        // The thread ends with the connection: a shutdown of either side ends its read.
        thread.spawn(move || reads.run())?;
        Ok(connection)
    }
}

fn shake_hands(stream: &mut UnixStream, export: &str) -> io::Result<NbdExport> {
    // Simple replies suffice, because every request here has exactly one reply.
    let mut dial = Dial::new(export, true).map_err(malformed)?;
    let (mut input, mut out) = (Vec::new(), Vec::new());
    loop {
        let mut rest = input.as_slice();
        let offer = dial.handle(&mut rest, &mut out).map_err(malformed)?;
        let left = rest.len();
        input.drain(..input.len() - left);
        match offer {
            Some(offer) if input.is_empty() => return Ok(offer),
            None if input.len() <= HANDSHAKE_BYTES_MAX => {}
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
        stream.write_all(&out)?;
        out.clear();
        let mut bytes = [0; 4096];
        match stream.read(&mut bytes)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => input.extend_from_slice(&bytes[..read]),
        }
    }
}

fn is_refused(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    matches!(
        inner,
        Some(NbdNegotiationError::Refused { kind: POLICY, .. })
    )
}

impl Connection {
    /// Returns the usable size of the disk, bytes. A partial block at the end cannot be changed, so
    /// it does not count.
    fn size(&self) -> u64 {
        let block = u64::from(self.offer.block_min.max(1));
        self.offer.size / block * block
    }

    fn is_gone(&self) -> bool {
        lock(&self.asked).is_gone
    }

    fn end(&self) {
        lock(&self.asked).is_gone = true;
        self.came.notify_all();
        // Ignores an error: the connection may have ended by itself.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    fn run(&self) {
        // Reads replies until the connection fails. The error is dropped, since the next attempt to
        // connect reports its own.
        while self.read_reply().is_ok() {}
        self.end();
    }

    fn read_reply(&self) -> io::Result<()> {
        let mut stream = &self.stream;
        let mut head = [0; HEAD_BYTES_MIN];
        stream.read_exact(&mut head)?;
        let invalid = || io::Error::from(io::ErrorKind::InvalidData);
        let decoded = NbdReplyHeader::decode(&mut &head[..]).map_err(malformed)?;
        let head = decoded.ok_or_else(invalid)?;
        let length = match lock(&self.asked).all.get(&head.cookie) {
            Some(NbdReplyState::Awaited(length)) => *length,
            _ => return Err(invalid()),
        };
        let reply = match head.body {
            NbdReplyBody::Whole => {
                let mut bytes = vec![0; length];
                stream.read_exact(&mut bytes)?;
                Ok(bytes)
            }
            NbdReplyBody::Failed(number) => Err(number),
            _ => return Err(invalid()),
        };
        lock(&self.asked)
            .all
            .insert(head.cookie, NbdReplyState::Here(reply));
        self.came.notify_all();
        Ok(())
    }

    fn send_request(
        &self,
        wish: NbdRequestKind,
        offset: u64,
        length: u32,
        data: &[u8],
    ) -> Result<Vec<u8>, DiskError> {
        let cookie = {
            let mut asked = lock(&self.asked);
            let cookie = asked.next;
            asked.next += 1;
            let comes = if wish == NbdRequestKind::Read {
                length
            } else {
                0
            };
            asked
                .all
                .insert(cookie, NbdReplyState::Awaited(comes as usize));
            cookie
        };
        let mut bytes = Vec::with_capacity(32 + data.len());
        request(wish, cookie, offset, length, &mut bytes);
        bytes.extend_from_slice(data);
        let sent = {
            let _alone = lock(&self.sending);
            (&self.stream).write_all(&bytes)
        };
        if sent.is_err() {
            self.end();
        }
        let mut asked = lock(&self.asked);
        loop {
            if let Some(NbdReplyState::Here(_)) = asked.all.get(&cookie) {
                break;
            }
            if asked.is_gone {
                asked.all.remove(&cookie);
                return Err(gone());
            }
            asked = self
                .came
                .wait(asked)
                .unwrap_or_else(PoisonError::into_inner);
        }
        match asked.all.remove(&cookie) {
            Some(NbdReplyState::Here(Ok(bytes))) => Ok(bytes),
            Some(NbdReplyState::Here(Err(SHUTDOWN))) => Err(gone()),
            Some(NbdReplyState::Here(Err(PERMISSION))) => Err(DiskError::ReadOnly),
            Some(NbdReplyState::Here(Err(number))) => {
                let number = i32::try_from(number).unwrap_or(libc::EIO);
                Err(DiskError::Failed(io::Error::from_raw_os_error(number)))
            }
            Some(NbdReplyState::Awaited(_)) | None => Err(gone()),
        }
    }

    /// Reads the whole blocks around a range. Returns the offset of the first block, and the bytes.
    fn blocks(&self, offset: u64, length: usize) -> Result<(u64, Vec<u8>), DiskError> {
        let block = u64::from(self.offer.block_min.max(1));
        let start = offset / block * block;
        let end = (offset + length as u64).next_multiple_of(block);
        let length = u32::try_from(end - start).unwrap_or(u32::MAX);
        Ok((
            start,
            self.send_request(NbdRequestKind::Read, start, length, &[])?,
        ))
    }
}

/// Returns the slice of `whole`, which begins at offset `start`, that has `length` bytes from
/// `offset`.
fn part(whole: &mut [u8], start: u64, offset: u64, length: usize) -> Result<&mut [u8], DiskError> {
    let from = usize::try_from(offset - start).unwrap_or(usize::MAX);
    let range = from..from.saturating_add(length);
    whole.get_mut(range).ok_or(DiskError::End)
}

impl Disk for NbdDisk {
    fn reach(&self) -> Result<(), DiskError> {
        if self.connection().is_ok() {
            return Ok(());
        }
        let reconnects = {
            let link = lock(&self.link);
            if link.is_closed {
                return Err(gone());
            }
            if link.is_superseded {
                return Err(superseded());
            }
            link.first_size.is_some()
        };
        // Says that this is a reconnect only if the export name has a user: the server can refuse
        // no other client that reconnects.
        let reconnects = reconnects && self.export.contains('/');
        let mark = if reconnects { RECONNECTS } else { "" };
        let connected = self.connect(&format!("{}{mark}", self.export));
        let mut link = lock(&self.link);
        let connection = match connected {
            Err(error) if reconnects && is_refused(&error) => {
                link.is_superseded = true;
                return Err(superseded());
            }
            connected => connected.map_err(DiskError::Away)?,
        };
        if link.is_closed {
            connection.end();
            return Err(gone());
        }
        link.first_size.get_or_insert(connection.size());
        link.connection = Some(connection);
        Ok(())
    }

    fn size(&self) -> Result<u64, DiskError> {
        let link = lock(&self.link);
        if let Some(size) = link.first_size.filter(|_| link.is_superseded) {
            return Ok(size);
        }
        drop(link);
        Ok(self.connection()?.size())
    }

    fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<(), DiskError> {
        let connection = self.connection()?;
        let (start, mut blocks) = connection.blocks(offset, bytes.len())?;
        bytes.copy_from_slice(part(&mut blocks, start, offset, bytes.len())?);
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let connection = self.connection()?;
        if connection.offer.is_read_only() {
            return Err(DiskError::ReadOnly);
        }
        let block = u64::from(connection.offer.block_min.max(1));
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        if offset.is_multiple_of(block) && (bytes.len() as u64).is_multiple_of(block) {
            return connection
                .send_request(NbdRequestKind::Write, offset, length(bytes), bytes)
                .map(drop);
        }
        // Reads, changes and writes whole blocks. No machine changes the rest of these blocks at
        // the same time: the AoE queue and the order of a connection prevent that.
        let _alone = lock(&self.partly);
        let (start, mut blocks) = connection.blocks(offset, bytes.len())?;
        part(&mut blocks, start, offset, bytes.len())?.copy_from_slice(bytes);
        connection
            .send_request(NbdRequestKind::Write, start, length(&blocks), &blocks)
            .map(drop)
    }

    fn zero(&self, offset: u64, length: u64) -> Result<(), DiskError> {
        let connection = self.connection()?;
        if connection.offer.is_read_only() {
            return Err(DiskError::ReadOnly);
        }
        let block = u64::from(connection.offer.block_min.max(1));
        let end = offset.saturating_add(length);
        let (first, last) = (offset.next_multiple_of(block), end / block * block);
        if first >= last || !connection.offer.can_zero() {
            return write_zeroes(self, offset, length);
        }
        write_zeroes(self, offset, first - offset)?;
        let mut at = first;
        while at < last {
            let count = (last - at).min(ZERO_BYTES_MAX);
            let length = u32::try_from(count).unwrap_or(0);
            connection.send_request(NbdRequestKind::Zeroes, at, length, &[])?;
            at += count;
        }
        write_zeroes(self, last, end - last)
    }

    fn is_read_only(&self) -> bool {
        self.connection()
            .is_ok_and(|connection| connection.offer.is_read_only())
    }

    fn is_superseded(&self) -> bool {
        lock(&self.link).is_superseded
    }

    fn flush(&self) -> Result<(), DiskError> {
        let connection = self.connection()?;
        if connection.offer.can_flush() {
            connection
                .send_request(NbdRequestKind::Flush, 0, 0, &[])
                .map(drop)
        } else {
            // Sends nothing: a server without flush support acknowledges a write when it is stable.
            Ok(())
        }
    }

    fn close(&self) {
        let mut link = lock(&self.link);
        link.is_closed = true;
        if let Some(connection) = link.connection.take() {
            connection.end();
        }
    }
}
