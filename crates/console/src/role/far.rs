//! The consoles of the other nodes: each tells the others how it is, and does for an operator at
//! another one what it would do for its own. TLS 1.3 with the certificates of the cluster on both
//! sides; a frame is a length (four bytes, most significant first) and a value.

use crate::access::BY_LINK;
use crate::inquiry::Ask;
use crate::look::Look;
use crate::platform::{PATIENCE_MS, UNSEEN_MS};
use crate::shared::{Action, Errand, Order, Other, Others, Reading, Shared, Wanted};
use crate::traffic::Traffic;
use crate::user::{Role, Viewer};
use part::report::{Event, Report};
use part::{codec, lock};
use rustls::pki_types::{CertificateDer, ServerName};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use wire::{Trusted, is_mine, unspecified};

/// The port of consoles.
pub const PORT: u16 = 7446;
/// Bytes of a frame: those of a question, and those of all that a node says of itself.
const QUESTION_MAX: usize = 64 << 10;
const REPLY_MAX: usize = 24 << 20;
/// How deep values may stand in each other.
const DEPTH_MAX: usize = 64;
/// How long a connection with its handshake, and an answer, may take.
const PATIENCE: Duration = Duration::from_millis(PATIENCE_MS);
/// How long a node that has nothing to ask keeps its connection.
const IDLE: Duration = Duration::from_secs(60);
/// How often another node is asked: while somebody looks, and otherwise.
const SEEN: Duration = Duration::from_millis(500);
const UNSEEN: Duration = Duration::from_millis(UNSEEN_MS);
/// Connections of others at one time.
const CONNECTIONS_MAX: usize = 16;
/// Orders for one node that wait.
const ORDERS_MAX: usize = 16;

/// What one console asks of another.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
enum Question {
    /// How are you?
    Look,
    /// Do this for somebody who has signed in here.
    Act {
        /// Who.
        by: String,
        /// The token by which they do it.
        #[serde(default)]
        token: Option<String>,
        /// What they may at the other console, and so at most here; a console of an older program
        /// does not say it.
        #[serde(default)]
        role: Option<Role>,
        /// What.
        action: Action,
    },
    /// What does your proxy say to this? A console of an older program does not know the question, and
    /// ends the connection.
    Read {
        /// For whom.
        by: String,
        /// What they may at the other console, and so at most here.
        role: Role,
        /// What is asked.
        ask: Ask,
    },
}

/// What it answers.
#[derive(Serialize, Deserialize, Clone, Debug)]
enum Reply {
    Look(Option<Box<Told>>),
    Done(Result<String, String>),
    Read(Result<String, String>),
}

/// A look, as it is sent.
#[derive(Serialize, Deserialize, Clone, Debug)]
struct Told {
    age_ms: u64,
    host: String,
    pid: u32,
    traffic: Option<Traffic>,
    silent: Option<String>,
    reports: Vec<Report>,
    changes: VecDeque<(String, Event)>,
}

impl Told {
    fn of(look: &Look) -> Told {
        let age = look.at.elapsed().as_millis();
        Told {
            age_ms: u64::try_from(age).unwrap_or(u64::MAX),
            host: look.host.clone(),
            pid: look.pid,
            traffic: look.traffic.clone(),
            silent: look.silent.clone(),
            reports: look.reports.clone(),
            changes: look.changes.clone(),
        }
    }

    fn look(self) -> Look {
        let age = Duration::from_millis(self.age_ms.min(86_400_000));
        let now = Instant::now();
        Look {
            at: now.checked_sub(age).unwrap_or(now),
            host: self.host,
            pid: self.pid,
            traffic: self.traffic,
            silent: self.silent,
            reports: self.reports,
            changes: self.changes,
        }
    }
}

/// Speaks with the other nodes that the cluster names, from each time that it says something of them.
pub async fn run(mut trusted: watch::Receiver<Option<Arc<Trusted>>>, shared: Arc<Shared>) {
    loop {
        let now = trusted.borrow_and_update().clone();
        let mut tasks = JoinSet::new();
        if let Some(now) = now {
            let mut others = Others::default();
            let names = now.addresses.keys().filter(|name| **name != now.me);
            for name in names {
                let (errands, given) = mpsc::channel(ORDERS_MAX);
                others.open(name, errands);
                let before = lock(&shared.others).known.get(name).cloned();
                let first = Other {
                    look: None,
                    silent: Some("it was not reached yet".to_owned()),
                };
                others.known.insert(name.clone(), before.unwrap_or(first));
                let (now, shared, name) = (Arc::clone(&now), Arc::clone(&shared), name.clone());
                tasks.spawn(async move { ask(&now, &name, given, &shared).await });
            }
            *lock(&shared.others) = others;
            let shared = Arc::clone(&shared);
            tasks.spawn(async move { listen(&now, &shared).await });
        }
        if trusted.changed().await.is_err() {
            return;
        }
    }
}

fn words(error: &io::Error) -> String {
    language::reason(error)
}

async fn within<T>(
    limit: Duration,
    what: impl Future<Output = io::Result<T>>,
) -> Result<T, String> {
    match tokio::time::timeout(limit, what).await {
        Ok(done) => done.map_err(|error| words(&error)),
        Err(_) => Err("it does not answer".to_owned()),
    }
}

/// Asks one node again and again.
async fn ask(
    trusted: &Trusted,
    node: &str,
    mut errands: mpsc::Receiver<Errand>,
    shared: &Arc<Shared>,
) {
    let mut connection = None;
    loop {
        let looked = look_at(trusted, node, &mut connection).await;
        if looked.is_err() {
            connection = None;
        }
        tell(shared, node, looked);
        let interval = if shared.watchers.are_there() {
            SEEN
        } else {
            UNSEEN
        };
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            () = shared.watchers.came.notified() => {}
            errand = errands.recv() => match errand {
                Some(errand) => send(trusted, node, errand, &mut connection).await,
                None => return,
            },
        }
    }
}

/// Takes in what a node says.
fn tell(shared: &Shared, node: &str, looked: Result<Option<Look>, String>) {
    let mut others = lock(&shared.others);
    let Some(known) = others.known.get_mut(node) else {
        return;
    };
    match looked {
        Ok(Some(look)) => {
            known.look = Some(Arc::new(look));
            known.silent = None;
        }
        Ok(None) => known.silent = Some("its console has just begun".to_owned()),
        Err(why) => known.silent = Some(why),
    }
}

type Connection = tokio_rustls::client::TlsStream<TcpStream>;

async fn look_at(
    trusted: &Trusted,
    node: &str,
    connection: &mut Option<Connection>,
) -> Result<Option<Look>, String> {
    match exchange(trusted, node, connection, &Question::Look).await? {
        Reply::Look(told) => Ok(told.map(|told| told.look())),
        _ => Err("it answers something else".to_owned()),
    }
}

/// Has an order carried out there. One that was sent may have been carried out, also without an answer.
async fn send(trusted: &Trusted, node: &str, errand: Errand, connection: &mut Option<Connection>) {
    let by = errand.by;
    let question = match errand.wanted {
        Wanted::Action(action) => Question::Act {
            by: by.name,
            token: by.token,
            role: Some(by.role),
            action,
        },
        Wanted::Ask(ask) => Question::Read {
            by: by.name,
            role: by.role,
            ask,
        },
    };
    let answer = match exchange(trusted, node, connection, &question).await {
        Ok(Reply::Done(done) | Reply::Read(done)) => done,
        Ok(Reply::Look(_)) => Err(format!("{node} answers something else")),
        Err(why) => Err(format!("{node}: {why}")),
    };
    // Who waits for it may have gone.
    let _ = errand.reply.send(answer);
}

async fn exchange(
    trusted: &Trusted,
    node: &str,
    connection: &mut Option<Connection>,
    question: &Question,
) -> Result<Reply, String> {
    let mut stream = match connection.take() {
        Some(stream) => stream,
        None => connect(trusted, node).await?,
    };
    let patience = match question {
        Question::Read { ask, .. } => ask.limit().max(PATIENCE),
        Question::Look | Question::Act { .. } => PATIENCE,
    };
    let reply = within(patience, async {
        write(&mut stream, question).await?;
        read(&mut stream, REPLY_MAX).await
    });
    let reply = reply.await?;
    *connection = Some(stream);
    Ok(reply)
}

async fn connect(trusted: &Trusted, node: &str) -> Result<Connection, String> {
    let mut last = Err("the cluster does not say where it is".to_owned());
    for address in trusted.addresses_of(node) {
        let at = SocketAddr::new(*address, PORT);
        last = within(PATIENCE, async {
            let stream = TcpStream::connect(at).await?;
            // The certificate says which node it is, not an address.
            let name = ServerName::IpAddress(Ipv4Addr::UNSPECIFIED.into());
            let connector = TlsConnector::from(Arc::clone(&trusted.client));
            connector.connect(name, stream).await
        })
        .await;
        if last.is_ok() {
            break;
        }
    }
    let stream = last?;
    let is = name_of(trusted, stream.get_ref().1.peer_certificates());
    match is.as_deref() == Some(node) {
        true => Ok(stream),
        false => Err("its certificate is not that of this node".to_owned()),
    }
}

fn name_of(trusted: &Trusted, certificates: Option<&[CertificateDer<'_>]>) -> Option<String> {
    (trusted.node_of)(certificates?.first()?)
}

/// Listens where the cluster reaches this node.
async fn listen(trusted: &Arc<Trusted>, shared: &Arc<Shared>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        // An address may be late, or taken by a console that ends.
        let Ok(listener) = bind(trusted).await else {
            tokio::time::sleep(UNSEEN).await;
            continue;
        };
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(SEEN).await;
                continue;
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                continue;
            };
            let (trusted, shared) = (Arc::clone(trusted), Arc::clone(shared));
            tokio::spawn(async move {
                let _place = place;
                // Strangers, and connections that end: nobody has to know.
                let _ = serve(stream, &trusted, &shared).await;
            });
        }
    }
}

async fn bind(trusted: &Trusted) -> io::Result<TcpListener> {
    let own = trusted.addresses_of(&trusted.me);
    let Some(first) = own.first() else {
        return Err(io::ErrorKind::AddrNotAvailable.into());
    };
    // Those of tests are loopback ones, from which no way begins.
    let mut mine = own.iter();
    let mine = mine.find(|one: &&IpAddr| one.is_loopback() || is_mine(**one));
    let at = SocketAddr::new(*mine.unwrap_or(&unspecified(*first)), PORT);
    TcpListener::bind(at).await
}

/// The life of a connection of another node.
async fn serve(stream: TcpStream, trusted: &Trusted, shared: &Arc<Shared>) -> Result<(), String> {
    let acceptor = TlsAcceptor::from(Arc::clone(&trusted.server));
    let mut stream = within(PATIENCE, acceptor.accept(stream)).await?;
    let from = name_of(trusted, stream.get_ref().1.peer_certificates());
    let from = from.filter(|from| *from != trusted.me);
    let from = from.ok_or("it is no other node of this cluster")?;
    loop {
        let question: Question = within(IDLE, read(&mut stream, QUESTION_MAX)).await?;
        let reply = match question {
            Question::Look => {
                // Somebody looks at this node from there.
                let platform = shared.platform.borrow().clone();
                let look = platform.me().and_then(|me| me.look.as_deref());
                Reply::Look(look.map(|look| Box::new(Told::of(look))))
            }
            Question::Act {
                by,
                token,
                role,
                action,
            } => {
                let by = viewer(shared, by, token, role);
                Reply::Done(act(shared, &from, by, action).await)
            }
            Question::Read { by, role, ask } => {
                let by = viewer(shared, by, None, Some(role));
                Reply::Read(read_here(shared, &by, ask).await)
            }
        };
        within(PATIENCE, write(&mut stream, &reply)).await?;
    }
}

/// Somebody at another node, as this one knows them: what they may do, the file of this node says, too.
fn viewer(shared: &Shared, by: String, token: Option<String>, at_most: Option<Role>) -> Viewer {
    let role = match by.as_str() {
        BY_LINK => Role::Admin,
        name => shared
            .config()
            .user(name)
            .map_or(Role::Viewer, |user| user.role),
    };
    Viewer {
        role: role.min(at_most.unwrap_or(role)),
        name: by,
        token,
        csrf: String::new(),
    }
}

/// Does something for an operator at another node.
async fn act(shared: &Shared, from: &str, by: Viewer, action: Action) -> Result<String, String> {
    if by.role < action.needs() {
        return Err(format!("{} may not do this here", by.shown()));
    }
    let (reply, answer) = oneshot::channel();
    shared.order(Order {
        connection: None,
        by: Viewer {
            name: format!("{} at {from}", by.shown()),
            token: None,
            ..by
        },
        action,
        reply,
    });
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(Ok(done)) => done,
        _ => Err("there was no answer in time".to_owned()),
    }
}

/// Asks the proxy of this node for somebody at another one.
async fn read_here(shared: &Shared, by: &Viewer, ask: Ask) -> Result<String, String> {
    if by.role < Role::Operator {
        return Err(format!("{} may not see this here", by.shown()));
    }
    let (reply, answer) = oneshot::channel();
    let limit = ask.limit();
    shared.read(Reading { ask, reply });
    match tokio::time::timeout(limit, answer).await {
        Ok(Ok(said)) => said,
        _ => Err("the proxy did not answer in time".to_owned()),
    }
}

async fn write<T: Serialize>(stream: &mut (impl AsyncWrite + Unpin), value: &T) -> io::Result<()> {
    let bytes = codec::encode(value);
    let length = u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(&bytes).await?;
    stream.flush().await
}

async fn read<T: DeserializeOwned>(
    stream: &mut (impl AsyncRead + Unpin),
    max: usize,
) -> io::Result<T> {
    let length = stream.read_u32().await? as usize;
    if length > max {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    // What was announced takes memory only as it comes.
    let mut bytes = Vec::new();
    let mut rest = stream.take(length as u64);
    rest.read_to_end(&mut bytes).await?;
    if bytes.len() < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let value = codec::decode_within(&bytes, max, DEPTH_MAX);
    value.map_err(|_| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::sample;
    use crate::shared::Manual;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread();
        { runtime }.enable_all().build().unwrap().block_on(future)
    }

    #[test]
    fn a_look_is_the_same_at_the_other_end() {
        block_on(async {
            let (mut one, mut two) = tokio::io::duplex(1_000);
            let look = sample();
            let reply = Reply::Look(Some(Box::new(Told::of(&look))));
            let (sent, came) = tokio::join!(write(&mut one, &reply), read(&mut two, REPLY_MAX));
            sent.unwrap();
            let Reply::Look(Some(told)) = came.unwrap() else {
                panic!("a look was sent");
            };
            let came = told.look();
            assert_eq!(
                (&came.traffic, &came.reports),
                (&look.traffic, &look.reports)
            );
            assert_eq!(came.problems(), look.problems());
        });
    }

    #[test]
    fn somebody_may_here_at_most_what_they_may_there() {
        let password = configuration::Password::None;
        let account = configuration::Account {
            name: "anna".to_owned(),
            groups: Vec::new(),
            password,
        };
        let user = crate::config::User {
            account,
            role: Role::Operator,
            second_factor: crate::config::SecondFactor::None,
        };
        let config = crate::config::Config {
            users: vec![user],
            ..crate::config::Config::default()
        };
        let sessions = ::access::session::Sessions::new(None).unwrap();
        let shared = Shared::new(config, sessions, (|_, _| false, Manual::default())).unwrap();
        let role = |by: &str, at_most| {
            let token = Some("ci".to_owned());
            viewer(&shared, by.to_owned(), token, at_most).role
        };
        for (by, at_most, expected) in [
            ("anna", Some(Role::Viewer), Role::Viewer),
            ("anna", Some(Role::Operator), Role::Operator),
            ("anna", Some(Role::Admin), Role::Operator),
            ("anna", None, Role::Operator),
            ("bert", Some(Role::Admin), Role::Viewer),
            (BY_LINK, Some(Role::Admin), Role::Admin),
        ] {
            assert_eq!(role(by, at_most), expected, "{by} {at_most:?}");
        }
        let by = viewer(&shared, "anna".to_owned(), Some("ci".to_owned()), None);
        assert_eq!(by.shown(), "anna (token ci)");
    }

    #[test]
    fn what_is_too_long_or_no_value_is_refused() {
        block_on(async {
            for (bytes, kind) in [
                (&[0xff; 8][..], io::ErrorKind::FileTooLarge),
                (&[0, 0, 0, 2, 0xc1, 0xc1], io::ErrorKind::InvalidData),
                (&[0, 0, 0, 9, 1], io::ErrorKind::UnexpectedEof),
                (&[0, 0], io::ErrorKind::UnexpectedEof),
            ] {
                let mut from = bytes;
                let read: io::Result<Question> = read(&mut from, QUESTION_MAX).await;
                assert_eq!(read.unwrap_err().kind(), kind, "{bytes:?}");
            }
        });
    }
}
