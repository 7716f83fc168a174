//! Implements a blocking NBD client for commands, with several requests in flight. After a broken
//! connection the client reconnects for a while and repeats the requests that have no reply,
//! because the server of a volume may be replaced at any time.
//!
//! The client knows nothing of volumes, and never repeats a request that has a reply. An
//! acknowledged write survives a replacement of the server process, but only a flush guarantees
//! that it survives a crash of the machine.

mod address;
mod connection;
mod ender;

pub use address::{Address, AddressError, Server};
pub use ender::Ender;

use crate::export::RECONNECTS;
use connection::{Connection, is_silence};
use protocol::nbd::client::{
    NbdExport, NbdNegotiationError, NbdReplyBody, NbdReplyHeader, NbdRequestKind,
};
use protocol::nbd::reply::Extent;
use protocol::nbd::{Errno, client};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub const AWAY_MAX: Duration = Duration::from_secs(30);
const AGAIN: Duration = Duration::from_millis(50);
/// Limit of consecutive connections that the server closes instead of replying. They take some
/// seconds in total. A server that restarts refuses connections instead of closing them.
const REOPENED_MAX: u32 = 40;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NbdRequest {
    /// Offset and length, bytes, as in `Zeroes` and `Status`.
    Read(u64, u32),
    Write(u64, Vec<u8>),
    Zeroes(u64, u32),
    /// Queries which parts of a range are allocated.
    Status(u64, u32),
    Flush,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NbdReply {
    Data(u64, Vec<u8>),
    /// Offset and length of a completed write or zeroing, bytes.
    Changed(u64, u64),
    /// Extents from this offset on. The last one may end before or after the end of the requested
    /// range.
    Extents(u64, Vec<Extent>),
    Flushed,
}

/// Failure of a connection or a request.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("cannot connect to {0}: {1}")]
    Connect(Address, io::Error),
    #[error("{0}: {1}")]
    Refused(Address, NbdNegotiationError),
    #[error("{address}: no connection to the server for {} s: {why}", .seconds)]
    Gone {
        address: Address,
        seconds: u64,
        why: String,
    },
    /// The server accepts connections, but closes each of them instead of replying. QEMU does so
    /// if it cannot read a part of a damaged image.
    #[error(
        "{address}: the server has closed {times} connections in a row at the same requests: its source is \
         probably damaged"
    )]
    Closes { address: Address, times: u32 },
    #[error("{address}: the server has not replied for {seconds} s")]
    Silent { address: Address, seconds: u64 },
    #[error("{0}: ended")]
    Ended(Address),
    #[error("{0}: {1}")]
    Protocol(Address, NbdNegotiationError),
    #[error("{address}: the export had {before} bytes, and has {now} after the server came back")]
    Changed {
        address: Address,
        before: u64,
        now: u64,
    },
    #[error("the server failed to {what} at byte {offset}: {}{words}", errno_words(*.errno))]
    Failed {
        what: &'static str,
        offset: u64,
        errno: Errno,
        /// Error message of the server, with a colon in front; often empty.
        words: String,
    },
}

fn errno_words(errno: Errno) -> &'static str {
    match errno {
        Errno::Io => "input/output error",
        other => other.words(),
    }
}

/// Connects for a client that supports only simple replies, such as the kernel. Returns the
/// connection, ready for requests.
///
/// # Errors
/// The server cannot be reached, or does not offer the export.
pub fn plain(address: &Address) -> Result<(OwnedFd, NbdExport), ClientError> {
    let (connection, offer) = Connection::open(address, true, None)?;
    Ok((connection.into(), offer))
}

#[derive(Debug)]
struct SentRequest {
    ask: NbdRequest,
    data: Vec<u8>,
    /// Ranges of the read that were received, from start to end. Adjacent ranges are merged.
    filled: BTreeMap<usize, usize>,
    extents: Vec<Extent>,
    failed: Option<(Errno, String)>,
}

/// Client of one export, with several requests in flight. The client reconnects by itself and
/// repeats the requests that have no reply. All calls block.
#[derive(Debug)]
pub struct Client {
    address: Address,
    again: Address,
    connection: Connection,
    offer: NbdExport,
    limit: Option<Duration>,
    next: u64,
    asked: BTreeMap<u64, SentRequest>,
    broken_since: Option<Instant>,
    /// Connections opened since `broken_since`. The server has closed all of them except the last
    /// one.
    reopened: u32,
    ender: Arc<Ender>,
}

impl Client {
    /// Connects to a volume of Evenkeel, without a receive timeout: a disk may stall, and a volume
    /// may wait for its majority.
    ///
    /// # Errors
    /// The server cannot be reached, or does not offer the export.
    pub fn connect(address: Address) -> Result<Client, ClientError> {
        Client::open(address, None, Arc::default())
    }

    /// Connects to a volume of Evenkeel as a named user. If the connection breaks and another user
    /// may have had the volume before the client has reconnected, the client ends with an error.
    ///
    /// # Errors
    /// The server cannot be reached, or does not offer the export.
    pub fn connect_as_user(address: Address) -> Result<Client, ClientError> {
        let mut client = Client::connect(address)?;
        client.again.export.push_str(RECONNECTS);
        Ok(client)
    }

    /// Connects to a server with a receive timeout.
    ///
    /// # Errors
    /// The server cannot be reached, or does not offer the export.
    pub fn connect_within(address: Address, limit: Duration) -> Result<Client, ClientError> {
        Client::open(address, Some(limit), Arc::default())
    }

    /// Connects with an [`Ender`] that can shut the client down.
    ///
    /// # Errors
    /// The server cannot be reached, does not offer the export, or the client was shut down.
    pub fn connect_until(address: Address, ender: Arc<Ender>) -> Result<Client, ClientError> {
        Client::open(address, None, ender)
    }

    fn open(
        address: Address,
        limit: Option<Duration>,
        ender: Arc<Ender>,
    ) -> Result<Client, ClientError> {
        let (connection, offer) = Connection::open(&address, false, limit)?;
        if ender.register_connection(&connection).is_err() {
            return Err(ClientError::Ended(address));
        }
        Ok(Client {
            again: address.clone(),
            address,
            connection,
            offer,
            limit,
            next: 0,
            asked: BTreeMap::new(),
            broken_since: None,
            reopened: 0,
            ender,
        })
    }

    pub fn offer(&self) -> &NbdExport {
        &self.offer
    }

    pub fn under_way(&self) -> usize {
        self.asked.len()
    }

    /// Sends a request.
    ///
    /// # Errors
    /// The client cannot reconnect to the server.
    pub fn submit(&mut self, ask: NbdRequest) -> Result<(), ClientError> {
        self.next += 1;
        let cookie = self.next;
        let sent = send(&mut self.connection, cookie, &ask);
        let asked = SentRequest::new(ask);
        self.asked.insert(cookie, asked);
        match sent {
            Ok(()) => Ok(()),
            Err(error) => self.reconnect(&error),
        }
    }

    /// Waits for the completion of a request. At least one request must be in flight.
    ///
    /// # Errors
    /// The request failed, or the client cannot reconnect to the server.
    pub fn receive(&mut self) -> Result<NbdReply, ClientError> {
        loop {
            let received = receive(&mut self.connection, &mut self.asked, &self.offer);
            match received {
                Ok(None) => {}
                Ok(Some(asked)) => {
                    (self.broken_since, self.reopened) = (None, 0);
                    return asked.done();
                }
                Err(error) => self.reconnect(&error)?,
            }
        }
    }

    /// Sends one request and waits for its reply. No other request may be in flight.
    ///
    /// # Errors
    /// The request failed, or the client cannot reconnect to the server.
    pub fn call(&mut self, ask: NbdRequest) -> Result<NbdReply, ClientError> {
        debug_assert!(self.asked.is_empty());
        self.submit(ask)?;
        self.receive()
    }

    fn reconnect(&mut self, broken: &io::Error) -> Result<(), ClientError> {
        if broken.kind() == io::ErrorKind::InvalidData {
            return Err(ClientError::Protocol(
                self.address.clone(),
                NbdNegotiationError::Malformed,
            ));
        }
        if let Some(limit) = self.limit.filter(|_| is_silence(broken)) {
            return Err(ClientError::Silent {
                address: self.address.clone(),
                seconds: limit.as_secs(),
            });
        }
        let begun = *self.broken_since.get_or_insert_with(Instant::now);
        let mut why = broken.to_string();
        loop {
            if self.ender.has_ended() {
                return Err(ClientError::Ended(self.address.clone()));
            }
            if begun.elapsed() >= AWAY_MAX {
                return Err(ClientError::Gone {
                    address: self.address.clone(),
                    seconds: begun.elapsed().as_secs(),
                    why,
                });
            }
            if self.reopened > REOPENED_MAX {
                return Err(ClientError::Closes {
                    address: self.address.clone(),
                    times: self.reopened,
                });
            }
            match Connection::open(&self.again, false, self.limit) {
                Ok((connection, mut offer)) => {
                    self.reopened += 1;
                    // Accepts a larger size: the volume may have grown since the last connection.
                    if offer.size < self.offer.size {
                        let (before, now) = (self.offer.size, offer.size);
                        let address = self.address.clone();
                        return Err(ClientError::Changed {
                            address,
                            before,
                            now,
                        });
                    }
                    if self.ender.register_connection(&connection).is_err() {
                        return Err(ClientError::Ended(self.address.clone()));
                    }
                    self.connection = connection;
                    offer.size = self.offer.size;
                    self.offer = offer;
                    // Waits, because the server may accept and close connections repeatedly.
                    std::thread::sleep(AGAIN);
                    match self.repeat() {
                        Ok(()) => return Ok(()),
                        Err(error) => why = error.to_string(),
                    }
                }
                Err(ClientError::Connect(_, error)) => why = error.to_string(),
                Err(other) => return Err(other),
            }
            std::thread::sleep(AGAIN);
        }
    }

    fn repeat(&mut self) -> io::Result<()> {
        for (cookie, asked) in &mut self.asked {
            let ask = std::mem::replace(&mut asked.ask, NbdRequest::Flush);
            *asked = SentRequest::new(ask);
            send(&mut self.connection, *cookie, &asked.ask)?;
        }
        Ok(())
    }
}

impl Drop for Client {
    /// Disconnects cleanly, so that the server does not count a broken connection.
    fn drop(&mut self) {
        let mut head = Vec::new();
        client::request(NbdRequestKind::Disconnect, 0, 0, 0, &mut head);
        let _ = self.connection.send(&[&head]);
    }
}

fn send(connection: &mut Connection, cookie: u64, ask: &NbdRequest) -> io::Result<()> {
    let mut head = Vec::new();
    let (wish, offset, length) = match ask {
        NbdRequest::Read(offset, length) => (NbdRequestKind::Read, *offset, *length),
        NbdRequest::Zeroes(offset, length) => (NbdRequestKind::Zeroes, *offset, *length),
        NbdRequest::Status(offset, length) => (NbdRequestKind::Status, *offset, *length),
        NbdRequest::Flush => (NbdRequestKind::Flush, 0, 0),
        NbdRequest::Write(offset, bytes) => {
            let length = u32::try_from(bytes.len()).map_err(|_| malformed())?;
            (NbdRequestKind::Write, *offset, length)
        }
    };
    client::request(wish, cookie, offset, length, &mut head);
    match ask {
        NbdRequest::Write(_, bytes) => connection.send(&[&head, bytes]),
        _ => connection.send(&[&head]),
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, NbdNegotiationError::Malformed)
}

fn receive(
    connection: &mut Connection,
    all: &mut BTreeMap<u64, SentRequest>,
    offer: &NbdExport,
) -> io::Result<Option<SentRequest>> {
    let mut bytes = [0; 20];
    connection.receive(&mut bytes[..client::HEAD_BYTES_MIN])?;
    let decode = |bytes: &[u8]| {
        let mut input = bytes;
        NbdReplyHeader::decode(&mut input).map_err(|_| malformed())
    };
    let head = match decode(&bytes[..client::HEAD_BYTES_MIN])? {
        Some(head) => head,
        None => {
            connection.receive(&mut bytes[client::HEAD_BYTES_MIN..])?;
            decode(&bytes)?.ok_or_else(malformed)?
        }
    };
    let asked = all.get_mut(&head.cookie).ok_or_else(malformed)?;
    asked.take(head.body, connection, offer)?;
    if head.is_last {
        Ok(all.remove(&head.cookie))
    } else {
        Ok(None)
    }
}

impl SentRequest {
    fn new(ask: NbdRequest) -> SentRequest {
        let length = match ask {
            NbdRequest::Read(_, length) => length as usize,
            _ => 0,
        };
        SentRequest {
            ask,
            data: vec![0; length],
            filled: BTreeMap::new(),
            extents: Vec::new(),
            failed: None,
        }
    }

    fn part(&mut self, at: u64, length: u32) -> io::Result<&mut [u8]> {
        let NbdRequest::Read(offset, _) = self.ask else {
            return Err(malformed());
        };
        let begin = at
            .checked_sub(offset)
            .and_then(|begin| usize::try_from(begin).ok());
        let end = begin.and_then(|begin| begin.checked_add(length as usize));
        let (begin, end) = begin.zip(end).ok_or_else(malformed)?;
        // Checks the bounds before the piece is recorded as received.
        self.data.get(begin..end).ok_or_else(malformed)?;
        self.fill(begin, end)?;
        self.data.get_mut(begin..end).ok_or_else(malformed)
    }

    fn fill(&mut self, mut begin: usize, mut end: usize) -> io::Result<()> {
        let before = self.filled.range(..end).next_back();
        if begin >= end || before.is_some_and(|(_, until)| *until > begin) {
            return Err(malformed());
        }
        if let Some((from, until)) = before.map(|(from, until)| (*from, *until))
            && until == begin
        {
            self.filled.remove(&from);
            begin = from;
        }
        if let Some(until) = self.filled.remove(&end) {
            end = until;
        }
        self.filled.insert(begin, end);
        Ok(())
    }

    fn is_filled(&self) -> bool {
        self.data.is_empty() || self.filled.get(&0) == Some(&self.data.len())
    }

    fn take(
        &mut self,
        body: NbdReplyBody,
        connection: &mut Connection,
        offer: &NbdExport,
    ) -> io::Result<()> {
        match body {
            NbdReplyBody::Nothing => {}
            NbdReplyBody::Whole => {
                if !self.data.is_empty() {
                    self.fill(0, self.data.len())?;
                }
                connection.receive(&mut self.data)?;
            }
            NbdReplyBody::Failed(number) => {
                self.failed = Some((Errno::from_number(number), String::new()));
            }
            NbdReplyBody::Data(length) => {
                let mut offset = [0; 8];
                connection.receive(&mut offset)?;
                let part = self.part(u64::from_be_bytes(offset), length)?;
                connection.receive(part)?;
            }
            NbdReplyBody::Hole => {
                let content = connection.content(12)?;
                let (offset, length) = client::hole(&content).ok_or_else(malformed)?;
                self.part(offset, length)?.fill(0);
            }
            NbdReplyBody::Status(length) => {
                let content = connection.content(length)?;
                let found = offer
                    .allocation
                    .and_then(|id| client::extents(&content, id));
                self.extents = found.ok_or_else(malformed)?;
            }
            NbdReplyBody::Error(length) => {
                let content = connection.content(length)?;
                let (number, words) = client::error(&content).ok_or_else(malformed)?;
                let errno = Errno::from_number(number);
                // Omits the server's message if it only repeats the error number.
                let is_news = !words.is_empty() && words != errno_words(errno);
                let words = is_news.then(|| format!(": {words}"));
                self.failed = Some((errno, words.unwrap_or_default()));
            }
            NbdReplyBody::Other(length) => drop(connection.content(length)?),
        }
        Ok(())
    }

    fn done(self) -> Result<NbdReply, ClientError> {
        let (what, offset) = match &self.ask {
            NbdRequest::Read(offset, _) => ("read", *offset),
            NbdRequest::Write(offset, _) => ("write", *offset),
            NbdRequest::Zeroes(offset, _) => ("write zeroes", *offset),
            NbdRequest::Status(offset, _) => ("report what is allocated", *offset),
            NbdRequest::Flush => ("flush", 0),
        };
        let failed = |errno, words| ClientError::Failed {
            what,
            offset,
            errno,
            words,
        };
        if let Some((errno, words)) = self.failed {
            return Err(failed(errno, words));
        }
        let is_filled = self.is_filled();
        match self.ask {
            NbdRequest::Read(offset, _) if is_filled => Ok(NbdReply::Data(offset, self.data)),
            NbdRequest::Read(..) => Err(failed(Errno::Io, ": the reply was incomplete".to_owned())),
            NbdRequest::Write(offset, bytes) => Ok(NbdReply::Changed(offset, bytes.len() as u64)),
            NbdRequest::Zeroes(offset, length) => Ok(NbdReply::Changed(offset, u64::from(length))),
            NbdRequest::Status(..) if self.extents.is_empty() => {
                Err(failed(Errno::Io, ": the reply was empty".to_owned()))
            }
            NbdRequest::Status(offset, _) => Ok(NbdReply::Extents(offset, self.extents)),
            NbdRequest::Flush => Ok(NbdReply::Flushed),
        }
    }
}
