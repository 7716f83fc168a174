//! Serves one NBD connection: waits for the disks, performs the handshake, and executes the
//! requests one after the other.

use super::iscsi::UsedDisk;
use super::keeper::MonitoredDisk;
use super::stream::PortalConnection;
use crate::disk::{Disk, DiskError};
use protocol::nbd::reply::{self, Extent, NbdReadChunk};
use protocol::nbd::{
    Errno, Export, GREETING, Handshake, NbdCommand, NbdConnectionError, NbdHandshakeStep,
    NbdRequestHeader, NbdTransport, OPTION_BYTES_MAX, REQUEST_BYTES, Session,
};
use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

const PIECE_BYTES: usize = 256 << 10;
const BLOCK_PREFERRED: u32 = 4096;
/// Maximum time for which a client waits for an unreachable disk before the handshake: `nbd-client
/// -persist` ends if a handshake fails.
const WAITS_MAX: Duration = Duration::from_secs(60);

/// Exports that a connection may use.
pub trait Exports {
    fn all(&self) -> Vec<(String, Arc<MonitoredDisk>)>;

    /// Returns the disk for this client, with the client's overlay. None: the client has no usable
    /// overlay, or another machine has the disk.
    fn find(&self, name: &str, kept: &MonitoredDisk) -> Option<Arc<dyn Disk>>;

    /// Records that the client uses a disk. Returns false if another machine has it.
    fn begins(&self, name: &str, kept: &MonitoredDisk) -> bool;
}

/// Reason why a connection is closed.
#[derive(Debug, thiserror::Error)]
pub enum NbdCloseReason {
    #[error(transparent)]
    Fault(#[from] NbdConnectionError),
    #[error("the client has ended the connection")]
    Ended,
    #[error("the disk is out of reach")]
    Away,
    #[error(transparent)]
    Connection(#[from] io::Error),
}

/// Serves a connection until it ends.
///
/// # Errors
///
/// The reason of the end.
pub fn serve(stream: &mut PortalConnection, exports: &dyn Exports) -> Result<(), NbdCloseReason> {
    let all = exports.all();
    let until = Instant::now() + WAITS_MAX;
    // Waits for the disks. The handshake does not offer a disk that stays unreachable.
    for (_, kept) in &all {
        kept.waits(until);
    }
    let all = all.into_iter();
    let all: Vec<(String, UsedDisk)> = all
        .filter_map(|(name, kept)| {
            let disk = exports.find(&name, &kept)?;
            Some((name, (kept, disk)))
        })
        .collect();
    let session = shake_hands(stream, &all)?;
    let mut all = all.into_iter();
    let Some((name, (kept, disk))) = all.find(|(name, _)| *name == session.export.name) else {
        return Err(NbdCloseReason::Fault(NbdConnectionError::NoSuchExport));
    };
    if !exports.begins(&name, &kept) {
        return Err(NbdCloseReason::Ended);
    }
    stream.clear_deadline()?;
    let ended = transmit(stream, &session, &*disk);
    if matches!(ended, Err(NbdCloseReason::Away)) {
        kept.is_lost();
    }
    ended
}

fn shake_hands(
    stream: &mut PortalConnection,
    all: &[(String, UsedDisk)],
) -> Result<Session, NbdCloseReason> {
    let described = |(name, (_, disk)): &(String, UsedDisk)| {
        Some(Export {
            name: name.clone(),
            description: "a disk of a machine that boots from the network".to_owned(),
            size: disk.size().ok()?,
            read_only: disk.is_read_only(),
            multi_conn: false,
            block_min: 1,
            block_preferred: BLOCK_PREFERRED,
        })
    };
    let exports: Vec<Export> = all.iter().filter_map(described).collect();
    stream.waited();
    stream.write_all(&GREETING)?;
    let mut handshake = Handshake::new(NbdTransport::Plain);
    let (mut input, mut out) = (Vec::new(), Vec::new());
    loop {
        let mut rest = input.as_slice();
        let step = handshake.handle(&mut rest, &exports, &mut out);
        let left = rest.len();
        input.drain(..input.len() - left);
        stream.write_all(&out)?;
        stream.flush()?;
        out.clear();
        match step? {
            NbdHandshakeStep::Read if input.len() <= OPTION_BYTES_MAX as usize + 16 => {}
            NbdHandshakeStep::Transmit(session) if input.is_empty() => return Ok(session),
            // Refuses a client that sends a request before it has the reply, or an option that is
            // too long.
            NbdHandshakeStep::Transmit(_) | NbdHandshakeStep::Read => {
                return Err(NbdCloseReason::Fault(NbdConnectionError::Option));
            }
            NbdHandshakeStep::Close | NbdHandshakeStep::StartTls => {
                return Err(NbdCloseReason::Ended);
            }
        }
        let mut bytes = [0; 4096];
        let read = stream.read_some(&mut bytes)?;
        input.extend_from_slice(&bytes[..read]);
    }
}

fn transmit(
    stream: &mut PortalConnection,
    session: &Session,
    disk: &dyn Disk,
) -> Result<(), NbdCloseReason> {
    let mut buffer = vec![0; PIECE_BYTES];
    let mut out = Vec::new();
    loop {
        let mut head = [0; REQUEST_BYTES];
        if !stream.head(&mut head)? {
            // Waits further: TCP keep-alive detects a client that has gone.
            continue;
        }
        let request = NbdRequestHeader::decode(&head)?;
        out.clear();
        let done = match session.command(&request) {
            Ok(NbdCommand::Disconnect) => return Err(NbdCloseReason::Ended),
            Ok(NbdCommand::Read { .. }) => {
                read(stream, session, &request, disk, &mut buffer)?;
                continue;
            }
            Ok(NbdCommand::Write { fua }) => {
                let written = write(stream, &request, disk, &mut buffer)?;
                written.and_then(|()| stable(fua, disk))
            }
            Ok(NbdCommand::Flush) => disk.flush(),
            // TRIM changes no data: only WRITE_ZEROES guarantees that the range then reads as
            // zeroes.
            Ok(NbdCommand::Trim { fua }) => stable(fua, disk),
            Ok(NbdCommand::Zeroes { fua, fast, .. }) => {
                if fast {
                    Err(DiskError::Unsupported)
                } else {
                    disk.zero(request.offset, u64::from(request.length))
                        .and_then(|()| stable(fua, disk))
                }
            }
            Ok(NbdCommand::Cache) => Ok(()),
            Ok(NbdCommand::Status { .. }) => {
                // The disk does not report holes, so the whole range counts as allocated.
                let all = Extent {
                    length: request.length,
                    hole: false,
                };
                reply::status(request.cookie, &[all], &mut out);
                stream.write_all(&out)?;
                continue;
            }
            Err(errno) => {
                skip(stream, request.payload_bytes() as usize, &mut buffer)?;
                reply::failed(session, request.cookie, errno, &mut out);
                stream.write_all(&out)?;
                continue;
            }
        };
        match done.map_err(|error| errno(&error)) {
            Ok(()) => reply::done(session, request.cookie, &mut out),
            Err(None) => return Err(NbdCloseReason::Away),
            Err(Some(errno)) => reply::failed(session, request.cookie, errno, &mut out),
        }
        stream.write_all(&out)?;
    }
}

fn stable(is_wanted: bool, disk: &dyn Disk) -> Result<(), DiskError> {
    if is_wanted { disk.flush() } else { Ok(()) }
}

/// Returns the NBD error number for an error of the disk. None: the disk is unreachable, and the
/// client has to reconnect.
fn errno(error: &DiskError) -> Option<Errno> {
    match error {
        DiskError::Away(_) => None,
        DiskError::Failed(_) => Some(Errno::Io),
        DiskError::ReadOnly => Some(Errno::Perm),
        DiskError::End | DiskError::Full => Some(Errno::NoSpace),
        DiskError::Unsupported => Some(Errno::NotSupported),
    }
}

fn skip(stream: &mut PortalConnection, mut left: usize, buffer: &mut [u8]) -> io::Result<()> {
    while left > 0 {
        let count = left.min(buffer.len());
        stream.rest(&mut buffer[..count])?;
        left -= count;
    }
    Ok(())
}

/// Executes a write. After an error, the rest of the payload is read and discarded.
fn write(
    stream: &mut PortalConnection,
    request: &NbdRequestHeader,
    disk: &dyn Disk,
    buffer: &mut [u8],
) -> io::Result<Result<(), DiskError>> {
    let (mut at, mut left) = (request.offset, request.length as usize);
    while left > 0 {
        let count = left.min(buffer.len());
        stream.rest(&mut buffer[..count])?;
        left -= count;
        if let Err(error) = disk.write(at, &buffer[..count]) {
            skip(stream, left, buffer)?;
            return Ok(Err(error));
        }
        at += count as u64;
    }
    Ok(Ok(()))
}

/// Executes a read. A simple reply cannot report a failure after its data has begun: the connection
/// then ends.
fn read(
    stream: &mut PortalConnection,
    session: &Session,
    request: &NbdRequestHeader,
    disk: &dyn Disk,
    buffer: &mut [u8],
) -> Result<(), NbdCloseReason> {
    let (mut at, mut left) = (request.offset, request.length as usize);
    let mut out = Vec::new();
    while left > 0 {
        let count = left.min(buffer.len());
        left -= count;
        let bytes = &mut buffer[..count];
        let is_first = at == request.offset;
        out.clear();
        if let Err(error) = disk.read(at, bytes) {
            let errno = errno(&error).ok_or(NbdCloseReason::Away)?;
            if !is_first && !session.structured {
                return Err(NbdCloseReason::Away);
            }
            reply::failed(session, request.cookie, errno, &mut out);
            stream.write_all(&out)?;
            return Ok(());
        }
        if is_first || session.structured {
            let piece = NbdReadChunk {
                offset: at,
                length: u32::try_from(count).unwrap_or(u32::MAX),
                is_last: left == 0,
            };
            reply::data(session, request.cookie, piece, &mut out);
        }
        stream.write_all(&out)?;
        stream.write_all(&buffer[..count])?;
        at += count as u64;
    }
    Ok(())
}
