//! Runs the TFTP server for all networks on one thread: waits with one epoll for requests, packets
//! of transfers and commands, reads the files, and sends the packets.

use super::packet::{
    HEAD_BYTES, REQUEST_MAX, Request, TftpErrorCode, TftpMode, TftpPacket, data_head,
};
use super::packet::{error, netascii};
use super::socket::{self, Receive, ReceivedDatagram};
use super::transfer::{DuePackets, Transfer, TransferResult, TransferTerms};
use crate::content::{ContentSource, FetchClient, FetchProtocol, FetchReport};
use crate::counters::{Counters, Counting, FetchOutcome};
use crate::source::OpenContent;
use part::channel::timespec;
use part::lock;
use part::wake::WakeEvent;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, send, sendmsg};
use std::collections::{HashMap, VecDeque};
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub const TRANSFERS_MAX: usize = 4_096;
pub const OF_ONE_MAX: usize = 8;
/// Maximum length of a text that is converted to netascii in memory, bytes.
const NETASCII_MAX: u64 = 1 << 20;
/// Number of bytes that are read from a file at a time; at least one block.
const READ_BYTES: usize = 128 << 10;
/// Maximum number of requests, or of packets of one transfer, that are handled in a row.
const TURN: usize = 32;
const TICK: Duration = Duration::from_millis(100);
const EVENTS: usize = 256;
/// Epoll value of commands to the thread.
const ORDERS: u64 = u64::MAX;
/// First epoll value of transfers; lower values are those of listeners.
const FIRST: u64 = 1 << 32;

#[derive(Debug)]
pub struct TftpListener {
    pub socket: OwnedFd,
    /// Interface of the listener, to which its transfers are bound, too.
    pub interface: Option<String>,
}

#[derive(Debug, Default)]
struct TftpServerCommands {
    listeners: Option<TftpListeners>,
    /// Epoll value of the first of the next listeners.
    next: u64,
    stop: bool,
}

/// Listeners in the epoll: the first has the value `first`, and each other one the next value.
#[derive(Debug, Default)]
struct TftpListeners {
    first: u64,
    all: Vec<TftpListener>,
}

impl TftpListeners {
    fn get(&self, at: u64) -> Option<&TftpListener> {
        let index = usize::try_from(at.checked_sub(self.first)?).ok()?;
        self.all.get(index)
    }
}

#[derive(Debug)]
struct TftpServerState {
    epoll: OwnedFd,
    orders: Mutex<TftpServerCommands>,
    wake: WakeEvent,
    counting: Counting,
}

impl TftpServerState {
    fn new() -> io::Result<TftpServerState> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let wake = WakeEvent::new()?;
        epoll::add(&epoll, &wake, EventData::new_u64(ORDERS), EventFlags::IN)?;
        Ok(TftpServerState {
            epoll,
            orders: Mutex::default(),
            wake,
            counting: Counting::default(),
        })
    }

    /// Adds all listeners to the epoll, or none of them, and commands the thread to serve them
    /// instead of its current ones.
    fn listen(&self, listeners: Vec<TftpListener>) -> io::Result<()> {
        let count = u64::try_from(listeners.len()).unwrap_or(FIRST);
        let mut orders = lock(&self.orders);
        let first = orders.next;
        let next = first.checked_add(count).filter(|next| *next < FIRST);
        let next = next.ok_or(io::ErrorKind::StorageFull)?;
        for (index, listener) in (0_usize..).zip(&listeners) {
            let data = EventData::new_u64(first.saturating_add(index as u64));
            let added = socket::listen(listener.socket.as_fd()).and_then(|()| {
                Ok(epoll::add(
                    &self.epoll,
                    &listener.socket,
                    data,
                    EventFlags::IN,
                )?)
            });
            if let Err(error) = added {
                self.remove(listeners.get(..index).unwrap_or_default());
                return Err(error);
            }
        }
        orders.next = next;
        let all = listeners;
        if let Some(unused) = orders.listeners.replace(TftpListeners { first, all }) {
            self.remove(&unused.all);
        }
        Ok(())
    }

    /// Removes listeners from the epoll: a copy of the descriptor elsewhere would keep them there.
    fn remove(&self, listeners: &[TftpListener]) {
        for listener in listeners {
            let _: Result<(), Errno> = epoll::delete(&self.epoll, &listener.socket);
        }
    }
}

/// TFTP server. Dropping the value stops it.
#[derive(Debug)]
pub struct Server {
    shared: Arc<TftpServerState>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts a thread that answers requests at `listeners`, with a limit of concurrent
    /// transfers.
    ///
    /// # Errors
    ///
    /// A listener is not a UDP socket, or the system has no descriptor or thread left.
    pub fn start(
        listeners: Vec<TftpListener>,
        shelf: Arc<dyn ContentSource>,
        transfers_max: usize,
    ) -> io::Result<Server> {
        let shared = Arc::new(TftpServerState::new()?);
        shared.listen(listeners)?;
        let mut serving = TftpServerThread::new(Arc::clone(&shared), shelf, transfers_max);
        serving.take_listeners();
        let thread = std::thread::Builder::new().name("tftp".to_owned());
        let thread = thread.spawn(move || serving.run())?;
        Ok(Server {
            shared,
            thread: Some(thread),
        })
    }

    /// Replaces the listeners. Transfers that have begun continue.
    ///
    /// # Errors
    ///
    /// A listener is not a UDP socket, or the system accepts no further one: nothing changes.
    pub fn change(&self, listeners: Vec<TftpListener>) -> io::Result<()> {
        self.shared.listen(listeners)?;
        self.shared.wake.wake();
        Ok(())
    }

    pub fn counters(&self) -> Counters {
        self.shared.counting.read()
    }

    /// Ends all transfers, with an error for their clients, and the thread.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        lock(&self.shared.orders).stop = true;
        self.shared.wake.wake();
        if let Some(thread) = self.thread.take() {
            // Ignores a panic of the thread, which has been reported.
            let _ = thread.join();
        }
    }
}

struct ActiveTransfer {
    transfer: Transfer,
    socket: OwnedFd,
    source: OpenContent,
    name: String,
    request: Request,
    client: SocketAddr,
    is_closed: bool,
    is_full: bool,
}

impl ActiveTransfer {
    fn asker(&self) -> FetchClient {
        asker(self.client)
    }
}

fn asker(client: SocketAddr) -> FetchClient {
    FetchClient {
        address: client.ip().to_canonical(),
        via: FetchProtocol::Tftp,
    }
}

enum TransferOutcome {
    Ended(TransferResult),
    Failed(String),
    Closed,
    Replaced,
    /// The client has sent nothing after its request, and another client needs the slot.
    Displaced,
}

enum SendResult {
    Gone,
    Full,
    Closed,
}

struct TftpServerThread {
    shared: Arc<TftpServerState>,
    shelf: Arc<dyn ContentSource>,
    transfers_max: usize,
    listeners: TftpListeners,
    transfers: HashMap<u64, ActiveTransfer>,
    by_client: HashMap<SocketAddr, u64>,
    of_one: HashMap<IpAddr, Vec<u64>>,
    /// Transfers whose clients have sent no ACK, and may not exist; the oldest first. Some of these
    /// transfers may have ended.
    unheard: VecDeque<u64>,
    next: u64,
    buffer: Vec<u8>,
    ticked: Instant,
}

impl TftpServerThread {
    fn new(
        shared: Arc<TftpServerState>,
        shelf: Arc<dyn ContentSource>,
        transfers_max: usize,
    ) -> TftpServerThread {
        TftpServerThread {
            shared,
            shelf,
            transfers_max,
            listeners: TftpListeners::default(),
            transfers: HashMap::new(),
            by_client: HashMap::new(),
            of_one: HashMap::new(),
            unheard: VecDeque::new(),
            next: FIRST,
            buffer: Vec::new(),
            ticked: Instant::now(),
        }
    }

    /// Replaces the listeners by those of the last command, which are in the epoll already.
    fn take_listeners(&mut self) {
        if let Some(listeners) = lock(&self.shared.orders).listeners.take() {
            let old = std::mem::replace(&mut self.listeners, listeners);
            self.shared.remove(&old.all);
        }
    }

    fn run(&mut self) {
        let mut events = Vec::with_capacity(EVENTS);
        loop {
            let tick = timespec(TICK);
            let timeout = (!self.transfers.is_empty()).then_some(&tick);
            events.clear();
            match epoll::wait(&self.shared.epoll, spare_capacity(&mut events), timeout) {
                Ok(_) | Err(Errno::INTR) => {}
                // Ends the thread. This error means that the descriptor is no epoll, which is
                // impossible here.
                Err(_) => return,
            }
            for event in &events {
                let (data, flags) = (event.data, event.flags);
                match data.u64() {
                    ORDERS => {
                        if self.take_orders() {
                            return self.end_all();
                        }
                    }
                    at if at < FIRST => self.take_requests(at),
                    id => self.serve(id, flags),
                }
            }
            self.take_time();
        }
    }

    fn take_orders(&mut self) -> bool {
        self.shared.wake.reset();
        self.take_listeners();
        lock(&self.shared.orders).stop
    }

    fn end_all(&mut self) {
        let all: Vec<u64> = self.transfers.keys().copied().collect();
        for id in all {
            self.leave(id, TransferOutcome::Failed("the server stops".to_owned()));
        }
    }

    fn take_time(&mut self) {
        let now = Instant::now();
        if now.duration_since(self.ticked) < TICK {
            return;
        }
        self.ticked = now;
        let late = self
            .transfers
            .iter()
            .filter(|(_, active)| active.transfer.deadline() <= now)
            .map(|(id, _)| *id);
        for id in late.collect::<Vec<u64>>() {
            if let Some(active) = self.transfers.get_mut(&id) {
                active.transfer.handle_time(now);
                self.advance(id);
            }
        }
    }

    fn take_requests(&mut self, at: u64) {
        for _ in 0..TURN {
            let Some(listener) = self.listeners.get(at) else {
                return;
            };
            let mut bytes = [0; REQUEST_MAX];
            match socket::receive(listener.socket.as_fd(), &mut bytes) {
                Ok(Receive::Came(came)) => {
                    let bytes = bytes.get(..came.bytes).unwrap_or_default();
                    self.take_request(at, &came, bytes);
                }
                Ok(Receive::Other) => {}
                Ok(Receive::Empty) | Err(_) => return,
            }
        }
    }

    fn take_request(&mut self, at: u64, came: &ReceivedDatagram, bytes: &[u8]) {
        let Some(listener) = self.listeners.get(at) else {
            return;
        };
        let interface = listener.interface.as_deref();
        let request = match TftpPacket::parse(bytes) {
            Ok(TftpPacket::Read(request)) => request,
            Ok(TftpPacket::Write) => {
                let words = "this server is read only";
                return self.refuse(came, interface, TftpErrorCode::Access, words);
            }
            // Ignores late packets of a transfer: a response would only cause further packets.
            Ok(TftpPacket::Ack(_) | TftpPacket::Error { .. } | TftpPacket::OfServer) => return,
            Err(malformed) => {
                return self.refuse(
                    came,
                    interface,
                    TftpErrorCode::Illegal,
                    &malformed.to_string(),
                );
            }
        };
        if let Some(id) = self.by_client.get(&came.from).copied() {
            let active = self.transfers.get_mut(&id);
            let is_again = active
                .is_some_and(|active| active.request == request && active.transfer.handle_again());
            if is_again {
                return self.advance(id);
            }
            self.leave(id, TransferOutcome::Replaced);
        }
        self.begin(at, came, request);
    }

    fn begin(&mut self, at: u64, came: &ReceivedDatagram, request: Request) {
        if self.of_one(came) >= OF_ONE_MAX {
            // Reads the packets of the client's transfers first: the last ACK of a transfer may
            // have arrived before this request.
            let own = self.of_one.get(&came.from.ip()).cloned();
            for id in own.unwrap_or_default() {
                self.serve(id, EventFlags::IN);
            }
        }
        if self.of_one(came) < OF_ONE_MAX && self.transfers.len() >= self.transfers_max {
            self.displace();
        }
        let Some(listener) = self.listeners.get(at) else {
            return;
        };
        let interface = listener.interface.as_deref();
        if self.of_one(came) >= OF_ONE_MAX || self.transfers.len() >= self.transfers_max {
            return self.refuse(came, interface, TftpErrorCode::Other, "too many transfers");
        }
        let asker = asker(came.from);
        let Ok(content) = self.shelf.find(&request.name, "", &asker) else {
            return self.refuse(came, interface, TftpErrorCode::NotFound, "file not found");
        };
        let source = match opened(&content, request.mode) {
            Ok(source) => source,
            Err(words) => {
                self.refuse(came, interface, TftpErrorCode::NotFound, &words);
                return self
                    .shelf
                    .fetched(&request.name, &asker, &FetchReport::Broken(words));
            }
        };
        let block_max = socket::block_max(listener.socket.as_fd(), came);
        // Sends no response if there is no descriptor left: the client repeats the request.
        let Ok(socket) = socket::open(came, interface) else {
            return self.shared.counting.refuse();
        };
        let id = self.next;
        if epoll::add(
            &self.shared.epoll,
            &socket,
            EventData::new_u64(id),
            EventFlags::IN,
        )
        .is_err()
        {
            return self.shared.counting.refuse();
        }
        self.next += 1;
        let terms = TransferTerms::agree(&request.options, source.bytes(), block_max);
        let active = ActiveTransfer {
            transfer: Transfer::new(terms, source.bytes(), Instant::now()),
            socket,
            source,
            name: request.name.clone(),
            request,
            client: came.from,
            is_closed: false,
            is_full: false,
        };
        self.transfers.insert(id, active);
        self.unheard.push_back(id);
        if self.unheard.len() > 2 * self.transfers_max {
            let transfers = &self.transfers;
            self.unheard.retain(|id| is_unheard(transfers, *id));
        }
        self.by_client.insert(came.from, id);
        self.of_one.entry(came.from.ip()).or_default().push(id);
        self.shared.counting.begin();
        self.advance(id);
    }

    /// Ends the oldest transfer whose client has sent nothing but the request. Otherwise requests
    /// from forged addresses would take all slots, while a real machine sends its ACK at once.
    fn displace(&mut self) {
        while let Some(id) = self.unheard.pop_front() {
            if is_unheard(&self.transfers, id) {
                return self.leave(id, TransferOutcome::Displaced);
            }
        }
    }

    fn of_one(&self, came: &ReceivedDatagram) -> usize {
        self.of_one.get(&came.from.ip()).map_or(0, Vec::len)
    }

    fn refuse(
        &self,
        came: &ReceivedDatagram,
        interface: Option<&str>,
        code: TftpErrorCode,
        words: &str,
    ) {
        self.shared.counting.refuse();
        if let Ok(socket) = socket::open(came, interface) {
            // Ignores an error: a client that does not receive the packet repeats its request.
            let _: Result<usize, Errno> = send(&socket, &error(code, words), SendFlags::DONTWAIT);
        }
    }

    fn serve(&mut self, id: u64, flags: EventFlags) {
        let Some(active) = self.transfers.get_mut(&id) else {
            return;
        };
        if active.is_full && flags.contains(EventFlags::OUT) {
            active.is_full = false;
            let data = EventData::new_u64(id);
            let _: Result<(), Errno> =
                epoll::modify(&self.shared.epoll, &active.socket, data, EventFlags::IN);
        }
        active.receive();
        self.advance(id);
    }

    fn advance(&mut self, id: u64) {
        let Some(active) = self.transfers.get_mut(&id) else {
            return;
        };
        let was_full = active.is_full;
        let sent = active.send(&mut self.buffer, &self.shared.counting);
        if active.is_full && !was_full {
            let (data, flags) = (EventData::new_u64(id), EventFlags::IN | EventFlags::OUT);
            let _: Result<(), Errno> =
                epoll::modify(&self.shared.epoll, &active.socket, data, flags);
        }
        if active.is_closed && active.transfer.end().is_none() {
            // Reads the packets that the client may have sent before it closed its port.
            active.receive();
        }
        let left = match (sent, active.transfer.end()) {
            (_, Some(end)) => TransferOutcome::Ended(end.clone()),
            (Err(words), None) => TransferOutcome::Failed(words),
            (Ok(()), None) if active.is_closed => TransferOutcome::Closed,
            (Ok(()), None) => return,
        };
        self.leave(id, left);
    }

    fn leave(&mut self, id: u64, left: TransferOutcome) {
        let Some(active) = self.transfers.remove(&id) else {
            return;
        };
        self.by_client.remove(&active.client);
        if let Some(own) = self.of_one.get_mut(&active.client.ip()) {
            own.retain(|one| *one != id);
            if own.is_empty() {
                self.of_one.remove(&active.client.ip());
            }
        }
        let size = active.source.bytes();
        let fetched = match left {
            TransferOutcome::Ended(TransferResult::Whole) => Some(FetchReport::Whole(size)),
            TransferOutcome::Ended(TransferResult::Declined) => None,
            TransferOutcome::Ended(TransferResult::Broken(broken)) => {
                Some(FetchReport::Broken(broken.to_string()))
            }
            TransferOutcome::Failed(words) => {
                let packet = error(TftpErrorCode::Other, &words);
                let _: Result<usize, Errno> = send(&active.socket, &packet, SendFlags::DONTWAIT);
                Some(FetchReport::Broken(words))
            }
            TransferOutcome::Closed => {
                Some(FetchReport::Broken("the client closed its port".to_owned()))
            }
            TransferOutcome::Displaced => Some(FetchReport::Broken(
                "other clients needed its place".to_owned(),
            )),
            TransferOutcome::Replaced => {
                Some(FetchReport::Broken("the client asked again".to_owned()))
            }
        };
        self.shared.counting.end(match &fetched {
            Some(FetchReport::Whole(_)) => FetchOutcome::Done,
            Some(FetchReport::Broken(_)) => FetchOutcome::Failed,
            None => FetchOutcome::Asked,
        });
        if let Some(fetched) = fetched {
            self.shelf.fetched(&active.name, &active.asker(), &fetched);
        }
    }
}

fn is_unheard(transfers: &HashMap<u64, ActiveTransfer>, id: u64) -> bool {
    transfers
        .get(&id)
        .is_some_and(|active| !active.transfer.is_heard())
}

fn opened(content: &crate::content::FetchContent, mode: TftpMode) -> Result<OpenContent, String> {
    let source = OpenContent::open(content).map_err(|error| error.to_string())?;
    if mode == TftpMode::Octet {
        return Ok(source);
    }
    if source.bytes() > NETASCII_MAX {
        return Err("too large for the mode netascii: use octet (binary)".to_owned());
    }
    let mut text = vec![0; usize::try_from(source.bytes()).unwrap_or(0)];
    let read = source.read(0, &mut text);
    read.map_err(|error| error.to_string())?;
    Ok(OpenContent::Bytes(netascii(&text).into()))
}

impl ActiveTransfer {
    fn receive(&mut self) {
        let now = Instant::now();
        // Stops at the first ACK if the window is one block: the next packet is read with the next
        // event. Otherwise reads on, since the last ACK of a window states where to continue.
        let is_single = self.transfer.terms().window() == 1;
        for _ in 0..TURN {
            if is_single && !self.is_full && self.transfer.due().is_some() {
                return;
            }
            // An ACK and the kept bytes of an error message fit. The rest of a longer packet is
            // dropped.
            let mut bytes = [0; 256];
            match recv(&self.socket, &mut bytes, RecvFlags::DONTWAIT) {
                Ok((_, length)) => {
                    let bytes = bytes.get(..length).unwrap_or(&bytes);
                    if let Ok(packet) = TftpPacket::parse(bytes) {
                        self.transfer.handle(&packet, now);
                    }
                }
                // Records that the client's port is closed, and reads on: the error belongs to an
                // earlier packet, and is reported before newer packets.
                Err(Errno::CONNREFUSED) => self.is_closed = true,
                Err(_) => return,
            }
        }
    }

    /// Sends all packets that are due, until the socket is full or the client's port is closed.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    fn send(&mut self, buffer: &mut Vec<u8>, counting: &Counting) -> Result<(), String> {
        while !self.is_full && !self.is_closed {
            let sent = match self.transfer.due() {
                None => return Ok(()),
                Some(DuePackets::Options) => {
                    let packet = self.transfer.terms().option_ack().unwrap_or_default();
                    let sent = as_sent(send(&self.socket, packet, SendFlags::DONTWAIT));
                    if matches!(sent, SendResult::Gone) {
                        self.transfer.sent(1, Instant::now());
                    }
                    sent
                }
                Some(DuePackets::Blocks(blocks)) => self.send_blocks(blocks, buffer, counting)?,
            };
            match sent {
                SendResult::Gone => {}
                SendResult::Full => self.is_full = true,
                SendResult::Closed => self.is_closed = true,
            }
        }
        Ok(())
    }

    fn send_blocks(
        &mut self,
        mut blocks: Range<u64>,
        buffer: &mut Vec<u8>,
        counting: &Counting,
    ) -> Result<SendResult, String> {
        let block_bytes = usize::from(self.transfer.terms().block_bytes());
        let most = (READ_BYTES / block_bytes).max(1) as u64;
        blocks.end = blocks.end.min(blocks.start + most);
        let bytes = self.transfer.bytes_of(&blocks);
        let length = usize::try_from(bytes.end - bytes.start).unwrap_or(0);
        buffer.resize(length.max(buffer.len()), 0);
        let part = buffer.get_mut(..length).unwrap_or_default();
        let read = self.source.read(bytes.start, part);
        read.map_err(|error| error.to_string())?;
        let mut rest: &[u8] = part;
        let mut count = 0;
        let mut last = SendResult::Gone;
        for block in blocks {
            let (payload, behind) = rest.split_at(block_bytes.min(rest.len()));
            rest = behind;
            let head: [u8; HEAD_BYTES] = data_head(Transfer::number(block));
            let packet = [IoSlice::new(&head), IoSlice::new(payload)];
            let mut beside = SendAncillaryBuffer::default();
            let sent = sendmsg(&self.socket, &packet, &mut beside, SendFlags::DONTWAIT);
            last = as_sent(sent);
            if !matches!(last, SendResult::Gone) {
                break;
            }
            count += 1;
            counting.send(payload.len() as u64);
        }
        if count > 0 {
            self.transfer.sent(count, Instant::now());
        }
        Ok(last)
    }
}

/// Treats a packet that the system does not send like one that the network loses: it is sent
/// again.
fn as_sent(result: Result<usize, Errno>) -> SendResult {
    match result {
        Err(Errno::AGAIN) => SendResult::Full,
        Err(Errno::CONNREFUSED) => SendResult::Closed,
        Ok(_) | Err(_) => SendResult::Gone,
    }
}
