//! Serves the operators' socket to root and the role's own user, within limits. A client may keep
//! its connection and send one request after the other. A slow, silent or endless client delays
//! only itself, and an idle client loses its slot to one that waits.

use crate::request::{self, ControlReply, LENGTH_BYTES, REQUEST_BYTES_MAX, Request};
use crate::role::places::{ClientSlot, ClientSlots};
use part::codec;
use std::future::Future;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

const CLIENTS_MAX: usize = 64;
const IDLE_LIMIT: Duration = Duration::from_secs(60);
const READ_BYTES: usize = 4 << 10;
/// Size above which a request waits for a slot among the large requests.
const LARGE_BYTES: usize = 64 << 10;
const LARGE_MAX: usize = 2;
const REQUEST_LIMIT: Duration = Duration::from_secs(30);
const REPLY_LIMIT: Duration = Duration::from_secs(30);
pub const REPLIES_MAX: usize = 64;
/// Pause after the listener failed, for example because no file descriptors were left.
const REST: Duration = Duration::from_millis(200);

/// Reason why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    #[error("{}: {}", .0.display(), .1)]
    Io(PathBuf, io::Error),
    #[error("{}: another process listens there", .0.display())]
    InUse(PathBuf),
}

/// Sender for the replies to one request. Replies are dropped once the client has gone.
#[derive(Clone, Debug)]
pub struct Replies(mpsc::Sender<ControlReply>);

impl Replies {
    pub fn new() -> (Replies, mpsc::Receiver<ControlReply>) {
        let (sender, receiver) = mpsc::channel(REPLIES_MAX);
        (Replies(sender), receiver)
    }

    /// Sends a progress line. A client that does not read misses it.
    pub fn progress(&self, words: impl Into<String>) {
        let words = words.into();
        let _ = self.0.try_send(ControlReply::Progress { words });
    }

    pub async fn end(&self, reply: ControlReply) {
        let _ = self.0.send(reply).await;
    }

    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

/// Socket on which operators send requests.
#[derive(Debug)]
pub struct OperatorSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl OperatorSocket {
    /// Creates the socket; replaces one that a dead process left.
    ///
    /// # Errors
    /// Fails with [`SocketError::InUse`] if a process listens on the path, and with
    /// [`SocketError::Io`] if the socket cannot be created.
    pub fn bind(path: &Path) -> Result<OperatorSocket, SocketError> {
        let failed = |error| SocketError::Io(path.into(), error);
        match std::os::unix::net::UnixStream::connect(path) {
            Ok(_) => return Err(SocketError::InUse(path.into())),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path).map_err(failed)?;
            }
            Err(_) => {}
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        // Sets the mode only after the socket exists: earlier connections are harmless, because the
        // user id of every peer is checked.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
        Ok(OperatorSocket {
            listener,
            path: path.into(),
        })
    }

    /// Serves the socket: passes each request to `answer`, in a task of its own.
    pub async fn serve<F, A>(self, answer: A)
    where
        A: Fn(Request, Replies) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let places = ClientSlots::new(CLIENTS_MAX);
        let large = Arc::new(Semaphore::new(LARGE_MAX));
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(_) => {
                    tokio::time::sleep(REST).await;
                    continue;
                }
            };
            let place = places.wait_for_slot().await;
            let (answer, large) = (answer.clone(), large.clone());
            tokio::spawn(async move {
                client(stream, &place, &large, answer).await;
            });
        }
    }
}

impl Drop for OperatorSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn client<F, A>(stream: UnixStream, place: &ClientSlot, large: &Semaphore, answer: A)
where
    A: Fn(Request, Replies) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let may_ask = may_ask(&stream);
    let mut stream = BufReader::with_capacity(READ_BYTES, stream);
    if !may_ask {
        let words = "only root and the user who runs evenkeel may use this socket".to_owned();
        send(&mut stream, &ControlReply::Refused { words }).await;
        return;
    }
    loop {
        let asked = tokio::select! {
            // Prefers an arrived request to the wish for the slot: no request is discarded to free
            // a slot.
            biased;
            something = request_arrives(&mut stream) => something,
            () = place.wanted() => has_arrived(&stream),
        };
        if !asked {
            return;
        }
        place.works();
        let request = match timeout(REQUEST_LIMIT, read(&mut stream, large)).await {
            Ok(Ok(request)) => request,
            Ok(Err(words)) => {
                let words = words.to_owned();
                send(&mut stream, &ControlReply::Refused { words }).await;
                return;
            }
            Err(_) => return,
        };
        let (replies, incoming) = Replies::new();
        // Answers in a separate task, so that a request in progress continues if its client goes.
        tokio::spawn(answer(request, replies));
        if !pass_on(&mut stream, incoming).await {
            return;
        }
        place.rests();
    }
}

/// Waits until a request starts to arrive; returns false if none does.
async fn request_arrives(stream: &mut BufReader<UnixStream>) -> bool {
    match timeout(IDLE_LIMIT, stream.fill_buf()).await {
        Ok(Ok(bytes)) => !bytes.is_empty(),
        Ok(Err(_)) | Err(_) => false,
    }
}

/// Returns whether input is available, even if the runtime has not been notified yet.
fn has_arrived(stream: &BufReader<UnixStream>) -> bool {
    rustix::io::ioctl_fionread(stream.get_ref()).is_ok_and(|bytes| bytes > 0)
}

/// Sends the replies to a request; false if the client does not read them.
async fn pass_on(
    stream: &mut BufReader<UnixStream>,
    mut incoming: mpsc::Receiver<ControlReply>,
) -> bool {
    while let Some(reply) = incoming.recv().await {
        if !send(stream, &reply).await {
            return false;
        }
        if reply.ends() {
            return true;
        }
    }
    let words = "the request ended without a reply".to_owned();
    send(stream, &ControlReply::Refused { words }).await
}

fn may_ask(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream
        .peer_cred()
        .is_ok_and(|peer| peer.uid() == 0 || peer.uid() == own)
}

async fn read(
    stream: &mut BufReader<UnixStream>,
    large: &Semaphore,
) -> Result<Request, &'static str> {
    const GONE: &str = "the request is incomplete";
    let mut length = [0; LENGTH_BYTES];
    stream.read_exact(&mut length).await.map_err(|_| GONE)?;
    let length = u32::from_be_bytes(length) as usize;
    if length > REQUEST_BYTES_MAX {
        return Err("the request exceeds the size limit");
    }
    let _place = if length > LARGE_BYTES {
        Some(large.acquire().await.map_err(|_| GONE)?)
    } else {
        None
    };
    // Allocates memory only for received bytes, not for the announced length.
    let mut bytes = Vec::with_capacity(length.min(READ_BYTES));
    let read = stream.take(length as u64).read_to_end(&mut bytes).await;
    if read.map_err(|_| GONE)? < length {
        return Err(GONE);
    }
    codec::decode(&bytes)
        .map_err(|_| "cannot parse the request; do command and role have different versions?")
}

async fn send(stream: &mut BufReader<UnixStream>, reply: &ControlReply) -> bool {
    let words = "the reply exceeds the size limit".to_owned();
    let bytes =
        request::framed(reply).or_else(|| request::framed(&ControlReply::Refused { words }));
    let Some(bytes) = bytes else {
        return false;
    };
    matches!(
        timeout(REPLY_LIMIT, stream.write_all(&bytes)).await,
        Ok(Ok(()))
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{AskError, Client};
    use std::io::{Read, Write};
    use std::sync::atomic::{AtomicU32, Ordering};

    const LIMIT: Duration = Duration::from_secs(60);

    fn place() -> PathBuf {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("evenkeel-socket-{}-{number}.sock", std::process::id());
        std::env::temp_dir().join(name)
    }

    async fn answer(request: Request, replies: Replies) {
        replies.progress("one");
        replies.progress("two");
        let words = format!("{request:?}");
        let version = None;
        replies.end(ControlReply::Done { words, version }).await;
    }

    /// Serves at a place while blocking code runs beside it.
    fn with_a_socket<T: Send + 'static>(ask: impl FnOnce(&Path) -> T + Send + 'static) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let path = place();
            let socket = OperatorSocket::bind(&path).unwrap();
            tokio::spawn(socket.serve(answer));
            tokio::task::spawn_blocking(move || ask(&path))
                .await
                .unwrap()
        })
    }

    #[test]
    fn request_gets_progress_messages() {
        with_a_socket(|path| {
            let mut lines = Vec::new();
            let mut client = Client::connect(path).unwrap();
            let reply = client.done(&Request::Rotate, LIMIT, |line| lines.push(line.to_owned()));
            assert_eq!(lines, ["one", "two"]);
            assert!(matches!(reply, Ok(ControlReply::Done { words, .. }) if words == "Rotate"));
        });
    }

    fn asked(client: &mut Client) -> Result<ControlReply, AskError> {
        client.done(&Request::Status, LIMIT, |_| {})
    }

    fn is_done(reply: &Result<ControlReply, AskError>) -> bool {
        matches!(reply, Ok(ControlReply::Done { .. }))
    }

    #[test]
    fn one_connection_serves_many_requests_each_with_its_own_replies() {
        with_a_socket(|path| {
            let mut client = Client::connect(path).unwrap();
            for max in 0..200 {
                let mut lines = 0;
                let request = Request::Log { max };
                let reply = client.done(&request, LIMIT, |_| lines += 1);
                let expected = format!("Log {{ max: {max} }}");
                assert!(matches!(reply, Ok(ControlReply::Done { words, .. }) if words == expected));
                assert_eq!(lines, 2);
            }
        });
    }

    #[test]
    fn fragmented_and_combined_requests_are_parsed() {
        with_a_socket(|path| {
            let mut stream = std::os::unix::net::UnixStream::connect(path).unwrap();
            let bytes = request::framed(&Request::Status).unwrap();
            for byte in &bytes {
                stream.write_all(&[*byte]).unwrap();
            }
            stream.write_all(&bytes.repeat(2)).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let mut said = Vec::new();
            stream.read_to_end(&mut said).unwrap();
            let done = b"Done";
            assert_eq!(said.windows(4).filter(|window| window == done).count(), 3);
        });
    }

    #[test]
    fn garbage_in_the_middle_ends_its_connection_and_no_other() {
        with_a_socket(|path| {
            let mut other = Client::connect(path).unwrap();
            assert!(is_done(&asked(&mut other)));
            let mut stream = std::os::unix::net::UnixStream::connect(path).unwrap();
            let good = request::framed(&Request::Status).unwrap();
            stream.write_all(&good).unwrap();
            stream.write_all(&[0, 0, 0, 2, 0xc1, 0xc1]).unwrap();
            // The connection may have ended already.
            let _ = stream.write_all(&good);
            let mut said = Vec::new();
            // Data that the server left unread may end the connection with a reset.
            let _ = stream.read_to_end(&mut said);
            let count = |words: &[u8]| said.windows(words.len()).filter(|w| *w == words).count();
            assert_eq!((count(b"Done"), count(b"Refused")), (1, 1));
            assert!(is_done(&asked(&mut other)));
        });
    }

    #[test]
    fn idle_connections_are_closed_for_requesting_ones() {
        with_a_socket(|path| {
            let mut kept: Vec<Client> = (0..CLIENTS_MAX)
                .map(|_| {
                    let mut client = Client::connect(path).unwrap();
                    assert!(is_done(&asked(&mut client)));
                    client
                })
                .collect();
            let silent: Vec<_> = (0..2 * CLIENTS_MAX)
                .map(|_| std::os::unix::net::UnixStream::connect(path).unwrap())
                .collect();
            for _ in 0..CLIENTS_MAX {
                let mut client = Client::connect(path).unwrap();
                assert!(is_done(&asked(&mut client)));
            }
            // The connections without a request for the longest time were closed.
            assert!(matches!(asked(&mut kept[0]), Err(AskError::Ended)));
            drop(silent);
        });
    }

    /// Tests a client that has one of two slots, while a third client waits for a slot. With
    /// `served_before`, the connection is served before the client's request arrives, otherwise
    /// afterwards.
    async fn asks_when_its_place_is_wanted(served_before: bool) {
        let places = ClientSlots::new(2);
        let place = places.wait_for_slot().await;
        let other = places.wait_for_slot().await;
        let (mut ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        let theirs = UnixStream::from_std(theirs).unwrap();
        let large = Semaphore::new(LARGE_MAX);
        let serving = tokio::spawn(async move { client(theirs, &place, &large, answer).await });
        if served_before {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let request = request::framed(&Request::Status).unwrap();
        ours.write_all(&request).unwrap();
        let third = tokio::spawn(async move { places.wait_for_slot().await });
        // The other connection has been idle for less time, but gives up its slot, because this
        // client has sent a request.
        other.wanted().await;
        assert!(!serving.is_finished());
        drop(other);
        let third = third.await.unwrap();
        // The client keeps its slot after the response, too.
        ours.write_all(&request).unwrap();
        ours.shutdown(std::net::Shutdown::Write).unwrap();
        serving.await.unwrap();
        let mut said = Vec::new();
        ours.read_to_end(&mut said).unwrap();
        assert_eq!(
            said.windows(4).filter(|window| window == b"Done").count(),
            2
        );
        drop(third);
    }

    #[test]
    fn received_request_gets_its_response_before_eviction() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        // Repeats the test, because events at the same moment have no fixed order.
        for round in 0..100 {
            let asks = asks_when_its_place_is_wanted(round % 2 == 0);
            runtime.block_on(async { timeout(LIMIT, asks).await.unwrap() });
        }
    }

    #[test]
    fn idle_connection_is_closed_after_its_timeout() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let path = place();
            let socket = OperatorSocket::bind(&path).unwrap();
            tokio::spawn(socket.serve(answer));
            let mut stream = UnixStream::connect(&path).await.unwrap();
            let bytes = request::framed(&Request::Status).unwrap();
            stream.write_all(&bytes).await.unwrap();
            let began = tokio::time::Instant::now();
            let mut said = Vec::new();
            stream.read_to_end(&mut said).await.unwrap();
            assert!(said.windows(4).any(|window| window == b"Done"));
            assert!(began.elapsed() >= IDLE_LIMIT);
            drop(stream);
        });
    }

    #[test]
    fn late_reply_after_an_error_is_not_misattributed() {
        with_a_socket(|path| {
            let mut client = Client::connect(path).unwrap();
            let none = client.done(&Request::Status, Duration::from_nanos(1), |_| {});
            if none.is_err() {
                let next = client.done(&Request::Rotate, LIMIT, |_| {});
                assert!(next.is_err(), "{next:?}");
            }
        });
    }

    #[test]
    fn silent_clients_delay_nobody() {
        with_a_socket(|path| {
            let silent: Vec<_> = (0..CLIENTS_MAX - 1)
                .map(|_| std::os::unix::net::UnixStream::connect(path).unwrap())
                .collect();
            let mut client = Client::connect(path).unwrap();
            let reply = client.done(&Request::Status, LIMIT, |_| {});
            assert!(matches!(reply, Ok(ControlReply::Done { .. })));
            drop(silent);
        });
    }

    #[test]
    fn invalid_request_is_refused_with_an_error_message() {
        with_a_socket(|path| {
            for bytes in [[0xff; 4].to_vec(), [0, 0, 0, 2, 0xc1, 0xc1].to_vec()] {
                let mut stream = std::os::unix::net::UnixStream::connect(path).unwrap();
                stream.write_all(&bytes).unwrap();
                let mut answer = Vec::new();
                stream.read_to_end(&mut answer).unwrap();
                let reply = codec::decode(&answer[LENGTH_BYTES..]).unwrap();
                assert!(matches!(reply, ControlReply::Refused { .. }), "{reply:?}");
            }
        });
    }

    #[test]
    fn abandoned_socket_is_replaced_and_one_in_use_is_not() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let _inside = runtime.enter();
        let path = place();
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let socket = OperatorSocket::bind(&path).unwrap();
        assert!(matches!(
            OperatorSocket::bind(&path),
            Err(SocketError::InUse(_))
        ));
        drop(socket);
        assert!(matches!(
            Client::connect(&path),
            Err(AskError::NotRunning(_))
        ));
    }
}
