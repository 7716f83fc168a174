//! Runs the HTTP server: one thread accepts and serves all connections, and finds the content of
//! each request. Other threads open and read files that are not cached.

use super::ask::{self, RequestedRange};
use super::body::{Fetch, Payload, UnsentContent};
use super::patient::TimeoutStream;
use super::places::ConnectionLimiter;
use crate::content::{ContentSource, FetchClient, FetchContent, FetchProtocol, FetchReport};
use crate::counters::{Counters, Counting};
use crate::source::{ContentOpenError, OpenContent, OpenFile};
use hyper::body::Incoming;
use hyper::header::{
    ACCEPT_RANGES, ALLOW, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderName,
    HeaderValue, IF_RANGE, LAST_MODIFIED, RANGE,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::{AbortHandle, spawn_blocking};
use tokio::time::{sleep, timeout};

const HEAD_BYTES_MAX: usize = 16 << 10;
const DISK_THREADS: usize = 16;
/// Pause of a listener after a failed accept, for example when there are no descriptors left.
const REST: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    pub connections: usize,
    pub of_one: usize,
    /// Timeout for the head of a request, and for an idle connection.
    pub head: Duration,
    /// Maximum time for which a client may accept no data of a response.
    pub patience: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 2_048,
            of_one: 64,
            head: Duration::from_secs(10),
            patience: Duration::from_secs(60),
        }
    }
}

/// Listeners; None after a stop.
type HttpListeners = Option<Arc<Vec<TcpListener>>>;

/// HTTP server. Dropping the value stops it.
#[derive(Debug)]
pub struct Server {
    doors: watch::Sender<HttpListeners>,
    counting: Arc<Counting>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts a thread that serves connections of `listeners`.
    ///
    /// # Errors
    ///
    /// The system has no descriptor or thread left.
    pub fn start(
        listeners: Vec<TcpListener>,
        shelf: Arc<dyn ContentSource>,
        limits: Limits,
    ) -> io::Result<Server> {
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .max_blocking_threads(DISK_THREADS)
            .build()?;
        unblock(&listeners)?;
        let (doors, changes) = watch::channel(Some(Arc::new(listeners)));
        let counting = Arc::new(Counting::default());
        let serving = Arc::new(HttpServerState {
            shelf,
            counting: Arc::clone(&counting),
            places: ConnectionLimiter::new(limits.connections, limits.of_one),
            limits,
        });
        let thread = std::thread::Builder::new().name("http".to_owned());
        let thread = thread.spawn(move || run(runtime, changes, &serving))?;
        Ok(Server {
            doors,
            counting,
            thread: Some(thread),
        })
    }

    /// Replaces the listeners. Connections continue.
    ///
    /// # Errors
    ///
    /// A listener is no socket: nothing changes.
    pub fn change(&self, listeners: Vec<TcpListener>) -> io::Result<()> {
        unblock(&listeners)?;
        self.doors.send_replace(Some(Arc::new(listeners)));
        Ok(())
    }

    pub fn counters(&self) -> Counters {
        self.counting.read()
    }

    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.doors.send_replace(None);
        if let Some(thread) = self.thread.take() {
            // Ignores a panic of the thread, which has been reported.
            let _ = thread.join();
        }
    }
}

fn unblock(listeners: &[TcpListener]) -> io::Result<()> {
    listeners
        .iter()
        .try_for_each(|listener| listener.set_nonblocking(true))
}

struct HttpServerState {
    shelf: Arc<dyn ContentSource>,
    counting: Arc<Counting>,
    places: Arc<ConnectionLimiter>,
    limits: Limits,
}

fn run(
    runtime: Runtime,
    mut changes: watch::Receiver<HttpListeners>,
    serving: &Arc<HttpServerState>,
) {
    runtime.block_on(async {
        loop {
            let doors = changes.borrow_and_update().clone();
            let Some(doors) = doors else {
                return;
            };
            let accepting: Vec<AbortHandle> = doors
                .iter()
                .filter_map(|door| door.try_clone().ok())
                .filter_map(|door| tokio::net::TcpListener::from_std(door).ok())
                .map(|door| tokio::spawn(accept(door, Arc::clone(serving))).abort_handle())
                .collect();
            // Tries again after a pause if a listener could not be opened for lack of a descriptor.
            let changed = if accepting.len() < doors.len() {
                timeout(REST, changes.changed()).await.unwrap_or(Ok(()))
            } else {
                changes.changed().await
            };
            for task in accepting {
                task.abort();
            }
            if changed.is_err() {
                return;
            }
        }
    });
    // Ends the runtime without waiting: a disk that never answers must not delay the stop.
    runtime.shutdown_background();
}

async fn accept(listener: tokio::net::TcpListener, serving: Arc<HttpServerState>) {
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(_) => {
                sleep(REST).await;
                continue;
            }
        };
        let asker = FetchClient {
            address: from.ip().to_canonical(),
            via: FetchProtocol::Http,
        };
        let Some(place) = serving.places.take(asker.address) else {
            serving.counting.refuse();
            continue;
        };
        let serving = Arc::clone(&serving);
        tokio::spawn(async move {
            connection(stream, asker, serving).await;
            drop(place);
        });
    }
}

async fn connection(stream: TcpStream, asker: FetchClient, serving: Arc<HttpServerState>) {
    // Ignores a failure, which only makes the connection slower.
    let _ = stream.set_nodelay(true);
    let limits = serving.limits;
    let unsent = UnsentContent::default();
    let stream = TimeoutStream::new(stream, limits.patience, unsent.clone());
    let service = service_fn(move |request| {
        let (serving, unsent) = (Arc::clone(&serving), unsent.clone());
        async move { Ok::<_, Infallible>(serving.respond(&request, asker, unsent).await) }
    });
    // Ignores errors: the client has caused them, or the fetch has reported them.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(HEAD_BYTES_MAX)
        .writev(true)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

struct HttpErrorResponse {
    status: StatusCode,
    words: String,
    beside: Option<(HeaderName, String)>,
}

impl HttpErrorResponse {
    fn new(status: StatusCode, words: &str) -> HttpErrorResponse {
        HttpErrorResponse {
            status,
            words: words.to_owned(),
            beside: None,
        }
    }

    fn with(self, name: HeaderName, value: String) -> HttpErrorResponse {
        HttpErrorResponse {
            beside: Some((name, value)),
            ..self
        }
    }

    fn response(self) -> Response<Payload> {
        let mut response = Response::new(Payload::text(format!("{}\n", self.words)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        set(headers, CONTENT_TYPE, "text/plain; charset=utf-8");
        if let Some((name, value)) = self.beside {
            set(headers, name, &value);
        }
        response
    }
}

impl HttpServerState {
    async fn respond(
        &self,
        request: &Request<Incoming>,
        asker: FetchClient,
        unsent: UnsentContent,
    ) -> Response<Payload> {
        let response = self.answer(request, asker, unsent).await;
        let mut response = response.unwrap_or_else(|refused| {
            self.counting.refuse();
            refused.response()
        });
        if request.method() == Method::HEAD {
            let length = hyper::body::Body::size_hint(response.body()).lower();
            let headers = response.headers_mut();
            headers.entry(CONTENT_LENGTH).or_insert(length.into());
            *response.body_mut() = Payload::empty();
        }
        response
    }

    fn asked(
        &self,
        request: &Request<Incoming>,
        asker: &FetchClient,
    ) -> Result<(String, FetchContent), HttpErrorResponse> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let words = "only GET and HEAD are supported";
            let refused = HttpErrorResponse::new(StatusCode::METHOD_NOT_ALLOWED, words);
            return Err(refused.with(ALLOW, "GET, HEAD".to_owned()));
        }
        let uri = request.uri();
        let wrong =
            || HttpErrorResponse::new(StatusCode::BAD_REQUEST, "this is not the path of a file");
        let name = ask::name(uri.path()).ok_or_else(wrong)?;
        let found = self.shelf.find(&name, uri.query().unwrap_or(""), asker);
        let content =
            found.map_err(|_| HttpErrorResponse::new(StatusCode::NOT_FOUND, "file not found"))?;
        Ok((name, content))
    }

    async fn answer(
        &self,
        request: &Request<Incoming>,
        asker: FetchClient,
        unsent: UnsentContent,
    ) -> Result<Response<Payload>, HttpErrorResponse> {
        let (name, content) = self.asked(request, &asker)?;
        let is_get = request.method() == Method::GET;
        let kind = kind(&content);
        let source = match open(content).await {
            Ok(source) => source,
            Err(error) => {
                let words = error.to_string();
                let refused = HttpErrorResponse::new(StatusCode::NOT_FOUND, &words);
                if is_get {
                    let broken = FetchReport::Broken(words);
                    self.shelf.fetched(&name, &asker, &broken);
                }
                return Err(refused);
            }
        };
        let size = source.bytes();
        let mut headers = HeaderMap::new();
        set(&mut headers, CONTENT_TYPE, kind);
        describe(&source, &mut headers);
        let part = if is_get {
            wanted(request.headers(), &headers, size)
        } else {
            RequestedRange::Whole
        };
        let (status, bytes) = match part {
            RequestedRange::Whole => (StatusCode::OK, 0..size),
            RequestedRange::Some(bytes) => (StatusCode::PARTIAL_CONTENT, bytes),
            RequestedRange::Outside => {
                let words = "the file does not have these bytes";
                let refused = HttpErrorResponse::new(StatusCode::RANGE_NOT_SATISFIABLE, words);
                return Err(refused.with(CONTENT_RANGE, format!("bytes */{size}")));
            }
        };
        if status == StatusCode::PARTIAL_CONTENT {
            let last = bytes.end.saturating_sub(1);
            let range = format!("bytes {}-{last}/{size}", bytes.start);
            set(&mut headers, CONTENT_RANGE, &range);
        }
        let length = bytes.end.saturating_sub(bytes.start);
        headers.insert(CONTENT_LENGTH, length.into());
        let payload = if is_get {
            let (shelf, counting) = (Arc::clone(&self.shelf), Arc::clone(&self.counting));
            let fetch = Fetch::begin(shelf, counting, name, asker, &bytes, size);
            Payload::part(source, bytes, fetch, unsent)
        } else {
            Payload::empty()
        };
        let mut response = Response::new(payload);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(response)
    }
}

/// Opens a content; uses a thread that may wait for the disk unless the file is cached.
async fn open(content: FetchContent) -> Result<OpenContent, ContentOpenError> {
    if let Some(source) = OpenContent::open_at_once(&content) {
        return Ok(source);
    }
    let opened = spawn_blocking(move || OpenContent::open(&content)).await;
    opened.unwrap_or_else(|_| Err(ContentOpenError::Open(io::ErrorKind::Interrupted.into())))
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// Returns the media type of a content: plain text if it was generated, or else by the file's
/// extension. Firmware that boots by HTTP checks the type (UEFI 2.10, 24.7).
fn kind(content: &FetchContent) -> &'static str {
    let path = match content {
        FetchContent::Made(_) => return "text/plain; charset=utf-8",
        FetchContent::File(path) => path,
    };
    let extension = path.extension().and_then(|extension| extension.to_str());
    match extension.unwrap_or("").to_ascii_lowercase().as_str() {
        "efi" => "application/efi",
        "iso" => "application/vnd.efi-iso",
        "img" => "application/vnd.efi-img",
        _ => "application/octet-stream",
    }
}

fn describe(source: &OpenContent, headers: &mut HeaderMap) {
    set(headers, ACCEPT_RANGES, "bytes");
    let file = match source {
        OpenContent::Bytes(_) => return,
        OpenContent::File(file) => file,
    };
    set(headers, ETAG, &tag(file));
    let modified = Timestamp::from_second(file.modified.0).ok();
    let modified = modified.and_then(|at| {
        let printer = DateTimePrinter::new();
        printer.timestamp_to_rfc9110_string(&at).ok()
    });
    if let Some(modified) = modified {
        set(headers, LAST_MODIFIED, &modified);
    }
}

fn tag(file: &OpenFile) -> String {
    let (seconds, nanoseconds) = file.modified;
    let (inode, bytes) = (file.inode, file.bytes);
    format!("\"{inode:x}-{bytes:x}-{seconds:x}.{nanoseconds:x}\"")
}

/// Returns the range that a request selects. Returns the whole file if an `If-Range` header has
/// another tag or time, and so refers to different content.
fn wanted(request: &HeaderMap, file: &HeaderMap, size: u64) -> RequestedRange {
    let condition = request.get(IF_RANGE);
    let holds = condition.is_none_or(|condition| {
        [ETAG, LAST_MODIFIED]
            .iter()
            .any(|name| file.get(name) == Some(condition))
    });
    let range = request.get(RANGE).filter(|_| holds);
    ask::part(range.map(HeaderValue::as_bytes), size)
}
