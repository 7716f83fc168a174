//! Serves one client of a statistics socket: command lines in, replies out. Without `prompt` the
//! connection ends after one line, as scripts expect. A line that ends in `<<` is followed by a
//! payload: all lines up to an empty one. Any input may contain keys, so it is wiped from memory
//! after use.

use super::command::{self, CommandAction, CommandReply, Context, Payload, Session, Severity};
use super::places::{ConnectionPermit, Rest};
use super::socket::Rights;
use crate::stats::piece::{self, PieceSource};
use crate::takeover::{self, TakeoverError};
use model::log::ring;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use zeroize::{Zeroize, Zeroizing};

pub const LINE_MAX: usize = 16 * 1024;
pub const PAYLOAD_MAX: usize = 4 << 20;
/// Last word of a command line that is followed by a payload.
const PAYLOAD_MARK: &str = "<<";
pub const COMMANDS_MAX: usize = 1024;
/// Command by which another process requests the listening sockets.
const HAND_OVER: &str = "_getsocks";
/// Command by which another Evenkeel process also requests counters and server states.
const TELL_STATE: &str = "_getstate";
/// Inactivity timeout of a connection if `stats timeout` is not set.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
/// Interval at which new lines of a ring are looked for.
const EVENTS_EVERY: Duration = Duration::from_millis(50);
/// Maximum number of bytes that one write sends; the client must read them within the timeout.
const WRITE_BYTES: usize = 16 * 1024;
/// Initial capacity of a word's buffer. No ticket key is longer, so the buffer of a key is never
/// reallocated, which would leave a copy in freed memory.
const WORD_BYTES: usize = 128;

/// Input that may contain keys; wiped when dropped.
type Bytes = Zeroizing<Vec<u8>>;

const CUT: &[u8] = b"The payload does not end with an empty line; nothing was changed.\n\n";

enum PayloadResult {
    Whole(Zeroizing<String>),
    TooLong,
    /// The connection ended before the empty line that ends a payload. The last line may be
    /// incomplete, so the payload is discarded.
    Cut,
}

/// Reason why a connection ended early.
#[derive(Debug)]
pub enum ConnectionEnd {
    /// The client sent nothing, or accepted nothing, until the timeout expired.
    Timeout,
    Failed,
    /// Another connection got the slot of this idle one.
    Displaced,
}

impl From<io::Error> for ConnectionEnd {
    fn from(_: io::Error) -> Self {
        ConnectionEnd::Failed
    }
}

impl From<tokio::time::error::Elapsed> for ConnectionEnd {
    fn from(_: tokio::time::error::Elapsed) -> Self {
        ConnectionEnd::Timeout
    }
}

/// Sends the lines of a ring as they arrive, until the client sends anything or disconnects.
async fn tell_events<S>(
    stream: &mut At<'_, S>,
    follow: &command::Follow,
    silence: Duration,
) -> Result<(), ConnectionEnd>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut from = if follow.newest {
        ring::since(&follow.name, 0).map_or(0, |(_, end)| end)
    } else {
        0
    };
    // Ends when a reload has removed the ring.
    while let Some((lines, end)) = ring::since(&follow.name, from) {
        from = end;
        let mut text = Vec::new();
        for line in lines {
            text.extend_from_slice(&line);
            text.push(b'\n');
        }
        write(stream, &text, silence).await?;
        if timeout(EVENTS_EVERY, stream.stream.read_u8()).await.is_ok() {
            break;
        }
    }
    Ok(())
}

fn without_mark(line: &str) -> (&str, bool) {
    match line.trim_end().strip_suffix(PAYLOAD_MARK) {
        Some(before) if before.ends_with([' ', '\t']) => (before, true),
        _ => (line, false),
    }
}

pub async fn serve<S>(
    stream: S,
    rights: impl Into<Rights>,
    context: &Context,
) -> Result<(), ConnectionEnd>
where
    S: AsyncRead + AsyncWrite + AsFd + Unpin,
{
    serve_at(stream, rights, context, &ConnectionPermit::alone()).await
}

/// Serves a connection that may lose its slot to another one.
pub(super) async fn serve_at<S>(
    stream: S,
    rights: impl Into<Rights>,
    context: &Context,
    place: &ConnectionPermit,
) -> Result<(), ConnectionEnd>
where
    S: AsyncRead + AsyncWrite + AsFd + Unpin,
{
    let mut stream = At { stream, place };
    let rights = rights.into();
    let mut session = begin(&rights, context);
    let mut input = Bytes::default();
    let mut wait = Rest::Silent;
    loop {
        let Some(line) = read_line(&mut stream, &mut input, session.timeout, wait).await? else {
            return Ok(());
        };
        let Some(line) = line else {
            return refuse(&mut stream, &session, "line is longer", LINE_MAX, "bytes").await;
        };
        wait = Rest::Between;
        let (line, has_payload) = without_mark(&line);
        let commands = Zeroizing::new(split(line));
        if commands.len() > COMMANDS_MAX {
            let max = COMMANDS_MAX;
            return refuse(&mut stream, &session, "line has more", max, "commands").await;
        }
        if has_payload {
            let payload = read_payload(&mut stream, &mut input, &session).await?;
            session.payload = match payload {
                PayloadResult::Whole(payload) => Some(Arc::new(Payload(payload))),
                PayloadResult::TooLong => {
                    let max = PAYLOAD_MAX;
                    return refuse(&mut stream, &session, "payload is longer", max, "bytes").await;
                }
                PayloadResult::Cut => return write(&mut stream, CUT, session.timeout).await,
            };
        }
        // Waits until every thread has finished its current turn, because a request whose response
        // the client has received must already be finished in the reports.
        context.runtime.turn().await;
        let last = commands.len();
        for (n, words) in commands.iter().enumerate() {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            if let Some(follow) = command::follow(&session, &words) {
                return tell_events(&mut stream, &follow, session.timeout).await;
            }
            if words == [HAND_OVER] {
                let peer = stream.stream.as_fd().try_clone_to_owned()?;
                return hand_over(peer, rights, context).await;
            }
            // A client that may get the listening sockets may get the counters and states, too.
            // For other clients the command does not exist.
            if words == [TELL_STATE] && rights.expose_listeners {
                return tell_state(&mut stream, session.timeout, context).await;
            }
            // Keeps the payload for the last command in the line, to which it belongs.
            let payload = (n + 1 < last).then(|| session.payload.take()).flatten();
            let answer = run(context, &mut session, &words).await;
            session.payload = payload;
            let text = match answer {
                Answer::Text(text) => text,
                Answer::Long(source) => {
                    let ends_line = write_long(&mut stream, source, session.timeout).await?;
                    ended(String::new(), ends_line, &session)
                }
            };
            write(&mut stream, text.as_bytes(), session.timeout).await?;
            if session.ended {
                return Ok(());
            }
        }
        if !session.prompt {
            return Ok(());
        }
    }
}

fn begin(rights: &Rights, context: &Context) -> Session {
    Session {
        level: rights.level,
        prompt: false,
        ended: false,
        timeout: silence(context),
        expert: false,
        experimental: false,
        severity: rights.severity,
        payload: None,
    }
}

/// Reports that the input exceeds a limit; the connection then ends.
async fn refuse<S: AsyncWrite + Unpin>(
    stream: &mut At<'_, S>,
    session: &Session,
    what: &str,
    max: usize,
    unit: &str,
) -> Result<(), ConnectionEnd> {
    let told = format!("The {what} than {max} {unit}.\n\n");
    write(stream, told.as_bytes(), session.timeout).await
}

/// Hands the listening sockets to the client, which ends the connection. As in HAProxy,
/// nothing is sent if that is not allowed.
async fn hand_over(peer: OwnedFd, rights: Rights, context: &Context) -> Result<(), ConnectionEnd> {
    if !rights.expose_listeners {
        return Ok(());
    }
    let listeners = context.runtime.listeners();
    let mut sockets: Vec<Arc<OwnedFd>> = listeners.into_iter().map(|one| one.fd).collect();
    // Leaves out the sockets of frontends that were shut down, which no longer listen.
    sockets.retain(|fd| rustix::net::sockopt::socket_acceptconn(fd).unwrap_or(false));
    sockets.extend(context.shared.descriptors());
    let given = tokio::task::spawn_blocking(move || takeover::hand_over(&peer, &sockets));
    match given.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(TakeoverError::Timeout)) => Err(ConnectionEnd::Timeout),
        Ok(Err(_)) | Err(_) => Err(ConnectionEnd::Failed),
    }
}

fn silence(context: &Context) -> Duration {
    let configured = context.runtime.config().global.stats_timeout_ms;
    configured.map_or(TIMEOUT_DEFAULT, |ms| Duration::from_millis(ms.into()))
}

/// Sends the counters and states with which the successor continues. What is counted later follows
/// when this process ends.
async fn tell_state<S>(
    stream: &mut At<'_, S>,
    silent: Duration,
    context: &Context,
) -> Result<(), ConnectionEnd>
where
    S: AsyncWrite + AsFd + Unpin,
{
    let peer = stream.stream.as_fd().try_clone_to_owned()?;
    let context = context.clone();
    let work = move || {
        let (heirs, runtime) = (&context.shared.heirs, context.runtime);
        heirs.answer(peer, &runtime.config(), runtime)
    };
    // Sends nothing if the task failed, which happens only when the process ends.
    let answer = tokio::task::spawn_blocking(work).await.unwrap_or_default();
    write(stream, &answer, silent).await
}

/// Number of commands in this process that may have changed something.
static ORDERS: AtomicU64 = AtomicU64::new(0);

/// Returns the number of commands so far that may have changed something. The process soon
/// reports these changes to its supervisor, so that they survive a crash.
pub fn orders() -> u64 {
    ORDERS.load(Ordering::Relaxed)
}

/// First words of the commands that change something.
const CHANGING: &[&str] = &[
    "add", "clear", "commit", "del", "disable", "enable", "new", "set", "shutdown",
];

/// Returns whether a first word, which may be abbreviated, can begin a changing command.
fn may_change(word: &str) -> bool {
    !word.is_empty() && CHANGING.iter().any(|changing| changing.starts_with(word))
}

enum Answer {
    Text(String),
    Long(Box<dyn PieceSource>),
}

/// Runs a command. A report about many servers runs on a thread of its own.
async fn run(context: &Context, session: &mut Session, words: &[&str]) -> Answer {
    let mut bare = false;
    let reply = match command::find(session, words) {
        CommandAction::Now(run, severity) => CommandReply {
            text: run(context, session, words),
            severity,
        },
        CommandAction::NowReply(run) => run(context, session, words),
        CommandAction::Bare(run) => {
            bare = true;
            run(context, session, words)
        }
        CommandAction::Report(report, severity) => {
            let report = move |context: &_, session: &_, words: &[&str]| CommandReply {
                text: report(context, session, words),
                severity,
            };
            let made = beside(context, session, words, report).await;
            made.unwrap_or_else(nothing)
        }
        CommandAction::ReportReply(report) => {
            let made = beside(context, session, words, report).await;
            made.unwrap_or_else(nothing)
        }
        CommandAction::LongReport(report) => match beside(context, session, words, report).await {
            Some(Ok(source)) => return Answer::Long(source),
            Some(Err(reply)) => reply,
            None => nothing(),
        },
        CommandAction::Refuse(reply) => reply,
    };
    if words.first().is_some_and(|word| may_change(word)) {
        ORDERS.fetch_add(1, Ordering::Relaxed);
        record_change(words, &reply);
    }
    let answer = reply.shown(session.severity);
    if session.ended {
        return Answer::Text(String::new());
    }
    let ends_line = bare || answer.is_empty() || answer.ends_with('\n');
    Answer::Text(ended(answer, ends_line, session))
}

/// Records a command that changes something. Of its arguments only the first one is recorded, which
/// names an object, and for a server the next one, which names its property: others may be secret.
fn record_change(words: &[&str], reply: &CommandReply) {
    let Some(length) = command::name_length(words) else {
        return;
    };
    let (name, arguments) = words.split_at(length);
    tracing::info!(
        command = name.join(" "),
        object = arguments.first(),
        property = arguments.get(1).filter(|_| name == ["set", "server"]),
        refused = (reply.severity == Some(Severity::Error) && !reply.text.is_empty())
            .then(|| reply.text.trim_end()),
        "command that changes something"
    );
}

/// Appends the end of a reply. `ends_line`: the text already ends with a line feed.
fn ended(mut answer: String, ends_line: bool, session: &Session) -> String {
    if !ends_line {
        answer.push('\n');
    }
    answer.push('\n');
    if session.prompt {
        answer.push_str("> ");
    }
    answer
}

fn nothing() -> CommandReply {
    CommandReply::report("")
}

/// Sends a long report. Each piece is produced on another thread when the client has read the
/// previous one. Returns whether the output is empty or ends with a line feed.
async fn write_long<S: AsyncWrite + Unpin>(
    stream: &mut At<'_, S>,
    mut source: Box<dyn PieceSource>,
    silent: Duration,
) -> Result<bool, ConnectionEnd> {
    let (mut piece, mut ends_line) = (String::new(), true);
    loop {
        let work = move || {
            let more = piece::fill(&mut *source, &mut piece);
            (source, piece, more)
        };
        // Closes the connection if the task failed, which happens only when the process ends.
        let made = tokio::task::spawn_blocking(work).await;
        let more;
        (source, piece, more) = made.map_err(|_| ConnectionEnd::Failed)?;
        write(stream, piece.as_bytes(), silent).await?;
        if !piece.is_empty() {
            ends_line = piece.ends_with('\n');
        }
        if !more {
            return Ok(ends_line);
        }
        piece.clear();
        piece.shrink_to(WRITE_BYTES);
    }
}

/// Produces a reply on another thread. None only when the process ends.
async fn beside<T: Send + 'static>(
    context: &Context,
    session: &Session,
    words: &[&str],
    report: impl FnOnce(&Context, &Session, &[&str]) -> T + Send + 'static,
) -> Option<T> {
    let owned: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    let owned = Zeroizing::new(owned);
    let (context, session) = (context.clone(), session.clone());
    let work = move || {
        let words: Vec<&str> = owned.iter().map(String::as_str).collect();
        report(&context, &session, &words)
    };
    tokio::task::spawn_blocking(work).await.ok()
}

/// Reads the next line without its end. The inner None means that the line is too long, the outer
/// None that the input has ended.
async fn read_line<S: AsyncRead + Unpin>(
    stream: &mut At<'_, S>,
    input: &mut Bytes,
    silent: Duration,
    wait: Rest,
) -> Result<Option<Option<Zeroizing<String>>>, ConnectionEnd> {
    let mut searched = 0;
    loop {
        if let Some(at) = memchr::memchr(b'\n', &input[searched..]) {
            let rest = input.split_off(searched + at + 1);
            let line = std::mem::replace(&mut **input, rest);
            return Ok(Some(Some(text(line))));
        }
        searched = input.len();
        if searched >= LINE_MAX {
            return Ok(Some(None));
        }
        let mut bytes = Zeroizing::new([0; 4096]);
        let room = bytes.len().min(LINE_MAX + 1 - searched);
        let read = stream.read(&mut bytes[..room], silent, wait).await?;
        if read == 0 {
            // Accepts a last line without a line feed, too, as HAProxy does.
            let line = std::mem::take(&mut **input);
            return Ok((!line.is_empty()).then(|| Some(text(line))));
        }
        append(input, &bytes[..read]);
    }
}

async fn read_payload<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut At<'_, S>,
    input: &mut Bytes,
    session: &Session,
) -> Result<PayloadResult, ConnectionEnd> {
    let mut payload = Bytes::default();
    loop {
        if session.prompt {
            write(stream, b"+ ", session.timeout).await?;
        }
        match read_line(stream, input, session.timeout, Rest::Between).await? {
            None => return Ok(PayloadResult::Cut),
            Some(None) => return Ok(PayloadResult::TooLong),
            Some(Some(line)) if line.is_empty() => {
                return Ok(PayloadResult::Whole(string(std::mem::take(&mut *payload))));
            }
            Some(Some(line)) if payload.len() + line.len() < PAYLOAD_MAX => {
                append(&mut payload, line.as_bytes());
                append(&mut payload, b"\n");
            }
            Some(Some(_)) => return Ok(PayloadResult::TooLong),
        }
    }
}

/// Appends input. If the buffer has to grow, the memory of the old one is wiped.
fn append(to: &mut Bytes, bytes: &[u8]) {
    if to.capacity() - to.len() < bytes.len() {
        let mut larger = Zeroizing::new(Vec::with_capacity(2 * (to.len() + bytes.len())));
        larger.extend_from_slice(to);
        *to = larger;
    }
    to.extend_from_slice(bytes);
}

fn text(mut line: Vec<u8>) -> Zeroizing<String> {
    while line.pop_if(|b| matches!(*b, b'\r' | b'\n')).is_some() {}
    string(line)
}

/// Converts bytes to text. They are copied only if they are not valid UTF-8.
fn string(bytes: Vec<u8>) -> Zeroizing<String> {
    Zeroizing::new(String::from_utf8(bytes).unwrap_or_else(|error| {
        let mut bytes = error.into_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        bytes.zeroize();
        text
    }))
}

async fn write<S: AsyncWrite + Unpin>(
    stream: &mut At<'_, S>,
    bytes: &[u8],
    silent: Duration,
) -> Result<(), ConnectionEnd> {
    let At { stream, place } = stream;
    for part in bytes.chunks(WRITE_BYTES) {
        waits(place, silent, Rest::Reader, stream.write_all(part)).await?;
    }
    Ok(timeout(silent, stream.flush()).await??)
}

struct At<'p, S> {
    stream: S,
    place: &'p ConnectionPermit,
}

impl<S: AsyncRead + Unpin> At<'_, S> {
    /// Reads available input, unless the slot goes to another connection first.
    async fn read(
        &mut self,
        into: &mut [u8],
        silent: Duration,
        wait: Rest,
    ) -> Result<usize, ConnectionEnd> {
        waits(self.place, silent, wait, self.stream.read(into)).await
    }
}

/// Waits for the client until the timeout, or until another connection needs the slot.
async fn waits<T>(
    place: &ConnectionPermit,
    silent: Duration,
    wait: Rest,
    work: impl Future<Output = io::Result<T>>,
) -> Result<T, ConnectionEnd> {
    place.mark_idle(wait);
    let (mut work, mut wanted) = (pin!(timeout(silent, work)), pin!(place.wanted()));
    // Input that has arrived takes precedence over the loss of the slot.
    let done = poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => wanted.as_mut().poll(context).map(|()| None),
    });
    let done = done.await.ok_or(ConnectionEnd::Displaced)???;
    place.works();
    Ok(done)
}

/// Splits a line into commands, and these into words. A backslash escapes the next character.
/// Empty commands are ignored, but the result has at least one command.
pub fn split(line: &str) -> Vec<Vec<String>> {
    let mut commands = vec![Vec::new()];
    let mut word: Option<String> = None;
    let mut characters = line.chars();
    let room = || String::with_capacity(WORD_BYTES);
    let end_word = |commands: &mut Vec<Vec<String>>, word: &mut Option<String>| {
        if let (Some(word), Some(words)) = (word.take(), commands.last_mut()) {
            words.push(word);
        }
    };
    while let Some(c) = characters.next() {
        match c {
            '\\' => word.get_or_insert_with(room).extend(characters.next()),
            ';' => {
                end_word(&mut commands, &mut word);
                commands.push(Vec::new());
            }
            ' ' | '\t' => end_word(&mut commands, &mut word),
            c => word.get_or_insert_with(room).push(c),
        }
    }
    end_word(&mut commands, &mut word);
    if commands.iter().any(|words| !words.is_empty()) {
        commands.retain(|words| !words.is_empty());
    } else {
        commands.truncate(1);
    }
    commands
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn line_is_split_into_commands_and_words() {
        for (line, commands) in [
            ("show info", vec![vec!["show", "info"]]),
            (
                " show\tinfo ;; show  stat;",
                vec![vec!["show", "info"], vec!["show", "stat"]],
            ),
            (r"set a\;b c\ d e\\", vec![vec!["set", "a;b", "c d", r"e\"]]),
            (r"\", vec![vec![""]]),
            ("", vec![vec![]]),
            (" ; ", vec![vec![]]),
        ] {
            assert_eq!(split(line), commands, "{line:?}");
        }
    }
}
