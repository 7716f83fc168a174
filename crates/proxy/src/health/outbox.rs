//! Sends mails about servers (`email-alert`): one queue for each mail server, on the side thread.
//! The caller never waits; a mail that does not fit into its queue is dropped, and the drop is
//! logged.

use super::mail;
use model::config::{Config, Mailer, Proxy, host_name};
use model::log;
use protocol::smtp::{Delivery, Mail, Then};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::timeout;

const QUEUE_MAX: usize = 64;
const SERVERS_MAX: usize = 256;
/// Time after which an empty queue is removed.
const IDLE: Duration = Duration::from_secs(60);
const READ_BYTES: usize = 1024;

/// Level of informational mails, as syslog's number.
pub const INFO: u8 = 6;
/// The default of `email-alert level`.
const LEVEL: u8 = log::Level::Alert as u8;

struct Letter {
    mail: Mail,
    timeout: Duration,
    /// Configuration under which a failed delivery is logged.
    config: Arc<Config>,
    proxy: Box<str>,
    mailer: Box<str>,
}

type Queues = Mutex<HashMap<SocketAddr, Sender<Letter>>>;

fn queues() -> &'static Queues {
    static QUEUES: OnceLock<Queues> = OnceLock::new();
    QUEUES.get_or_init(Queues::default)
}

/// Mails a message about a backend if `email-alert` is configured and the severity suffices.
pub fn alert(config: &Arc<Config>, proxy: &Proxy, level: u8, text: &str) {
    let Some(email) = proxy.email.as_deref() else {
        return;
    };
    let (Some(mailers), Some(from), Some(to)) = (&email.mailers, &email.from, &email.to) else {
        return;
    };
    if level > email.level.unwrap_or(LEVEL) {
        return;
    }
    let Ok(runtime) = Handle::try_current() else {
        return;
    };
    let own_name = email.host_name.as_deref();
    let own_name = own_name.map_or_else(host_name, str::to_owned);
    let mail = mail::of_text(own_name, from, to, &date(), text);
    for mailer in &mailers.servers {
        let letter = Letter {
            mail: mail.clone(),
            timeout: Duration::from_millis(mailers.timeout_ms.into()),
            config: Arc::clone(config),
            proxy: proxy.name.clone(),
            mailer: mailer.name.clone(),
        };
        if !put(&runtime, mailer, letter) {
            let text = format!(
                "Email alert for backend {} was dropped: the queue of mailer {} is full.",
                proxy.name, mailer.name
            );
            log::notice(config, proxy, log::Level::Warning, &text);
        }
    }
}

/// Puts a mail into its queue; returns false if the queue is full, or if too many mail servers have
/// one.
fn put(runtime: &Handle, mailer: &Mailer, letter: Letter) -> bool {
    let mut queues = queues().lock().unwrap_or_else(PoisonError::into_inner);
    queues.retain(|_, queue| !queue.is_closed());
    if !queues.contains_key(&mailer.address) && queues.len() == SERVERS_MAX {
        return false;
    }
    let queue = queues.entry(mailer.address).or_insert_with(|| {
        let (sender, receiver) = channel(QUEUE_MAX);
        runtime.spawn(deliver_all(mailer.address, receiver));
        sender
    });
    queue.try_send(letter).is_ok()
}

/// Delivers the mails of a queue one by one, until none arrives for a while.
async fn deliver_all(address: SocketAddr, mut queue: Receiver<Letter>) {
    loop {
        match timeout(IDLE, queue.recv()).await {
            Ok(Some(letter)) => deliver(address, letter).await,
            Ok(None) => return,
            // Nothing arrived for a while: the queue is closed, and mails that arrived at the last
            // moment are still delivered.
            Err(_) => {
                queue.close();
                while let Ok(letter) = queue.try_recv() {
                    deliver(address, letter).await;
                }
                return;
            }
        }
    }
}

async fn deliver(address: SocketAddr, letter: Letter) {
    let why = match timeout(letter.timeout, hand_over(address, &letter.mail)).await {
        Ok(Ok(())) => return,
        Ok(Err(why)) => why,
        Err(_) => "timeout".to_owned(),
    };
    let named = |proxy: &&Proxy| proxy.name == letter.proxy;
    if let Some(proxy) = letter.config.proxies.iter().find(named) {
        let text = format!(
            "Email alert for backend {} was not accepted by mailer {}: {why}.",
            letter.proxy, letter.mailer
        );
        log::notice(&letter.config, proxy, log::Level::Warning, &text);
    }
}

/// Delivers one mail. Err: the reason of the failure.
async fn hand_over(address: SocketAddr, mail: &Mail) -> Result<(), String> {
    let told = |error: std::io::Error| error.to_string();
    let mut wire = TcpStream::connect(address).await.map_err(told)?;
    let mut delivery = Delivery::of(mail);
    let mut bytes = [0; READ_BYTES];
    loop {
        let read = wire.read(&mut bytes).await.map_err(told)?;
        if read == 0 {
            return Err("it closed the connection".to_owned());
        }
        let mut then = delivery.received(&bytes[..read]);
        // Several responses may have arrived at once.
        while let Then::Send(say) = then {
            wire.write_all(&say).await.map_err(told)?;
            then = delivery.received(b"");
        }
        match then {
            Then::Done => return Ok(()),
            Then::Refused(line) => return Err(format!("the mailer replied '{line}'")),
            Then::Wait | Then::Send(_) => {}
        }
    }
}

/// `Fri, 20 Nov 2026 18:10:49 +0000 (UTC)`
fn date() -> String {
    let now = jiff::Timestamp::try_from(SystemTime::now()).unwrap_or_default();
    let zoned = now.to_zoned(log::time_zone().clone());
    zoned.strftime("%a, %d %b %Y %H:%M:%S %z (%Z)").to_string()
}
