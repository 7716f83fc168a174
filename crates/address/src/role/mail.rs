//! Sends a mail at each transition (`smtp_alert`), with keepalived's text. A separate thread talks
//! to the server; mail that cannot be delivered in time is dropped and logged.

use crate::config::Mail;
use jiff::Timestamp;
use protocol::smtp::{self, Delivery, Then, clean};
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant, SystemTime};

const MAX_WAITING: usize = 64;

/// Size of a read, bytes.
const READ_BYTES: usize = 1024;

/// Maximum time for one mail, as a multiple of the connection timeout.
const WHOLE: u32 = 3;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Letter {
    /// Subject, without the prefix `[router] `.
    pub subject: String,
    pub body: String,
}

/// Handle of the thread that sends mail.
#[derive(Debug)]
pub struct Mailer {
    letters: SyncSender<Letter>,
    said: Receiver<String>,
}

impl Mailer {
    /// Starts the mail thread.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(mail: Mail, router: String) -> io::Result<Mailer> {
        let (letters, todo) = sync_channel::<Letter>(MAX_WAITING);
        let (tell, said) = sync_channel(MAX_WAITING);
        std::thread::Builder::new()
            .name("mail".to_owned())
            .spawn(move || {
                for letter in todo {
                    let line = match deliver(&mail, &router, &letter) {
                        Ok(()) => "SMTP alert successfully sent.".to_owned(),
                        Err(error) => format!("SMTP alert could not be sent: {error}"),
                    };
                    // Drops the log line if the receiver is gone or the channel is full.
                    let _ = tell.try_send(line);
                }
            })?;
        Ok(Mailer { letters, said })
    }

    /// Queues a mail.
    ///
    /// # Errors
    /// A log line, if the queue is full or the thread has ended.
    pub fn send(&self, letter: Letter) -> Result<(), &'static str> {
        self.letters.try_send(letter).map_err(|error| match error {
            TrySendError::Full(_) => "mail queue full: one mail was dropped",
            TrySendError::Disconnected(_) => "the mail thread has ended",
        })
    }

    /// Returns the lines to log.
    pub fn said(&self) -> VecDeque<String> {
        self.said.try_iter().collect()
    }
}

/// Reason why a mail was not delivered.
#[derive(Debug, thiserror::Error)]
enum MailError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the server replied `{0}`")]
    Refused(String),
    #[error("the SMTP server has no address")]
    NoServer,
}

fn deliver(mail: &Mail, router: &str, letter: &Letter) -> Result<(), MailError> {
    let end = Instant::now() + mail.timeout * WHOLE;
    let mut last = MailError::NoServer;
    for address in &mail.addresses {
        match TcpStream::connect_timeout(&SocketAddr::new(*address, mail.port), mail.timeout) {
            Ok(stream) => return speak(stream, mail, router, letter, end),
            Err(error) => last = error.into(),
        }
    }
    Err(last)
}

/// Delivers a mail over a connection.
fn speak(
    mut stream: TcpStream,
    mail: &Mail,
    router: &str,
    letter: &Letter,
    end: Instant,
) -> Result<(), MailError> {
    stream.set_read_timeout(Some(mail.timeout))?;
    stream.set_write_timeout(Some(mail.timeout))?;
    let mut delivery = Delivery::of(&composed(mail, router, letter));
    match hand_over(&mut stream, &mut delivery, end) {
        // Ignores the result of QUIT, because the server has accepted the mail.
        Err(MailError::Io(_)) if delivery.is_accepted() => Ok(()),
        result => result,
    }
}

fn hand_over(
    stream: &mut TcpStream,
    delivery: &mut Delivery,
    end: Instant,
) -> Result<(), MailError> {
    let mut bytes = [0; READ_BYTES];
    loop {
        if Instant::now() > end {
            return Err(io::Error::from(io::ErrorKind::TimedOut).into());
        }
        let read = stream.read(&mut bytes)?;
        if read == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let mut then = delivery.received(&bytes[..read]);
        while let Then::Send(say) = then {
            stream.write_all(&say)?;
            then = delivery.received(b"");
        }
        match then {
            Then::Done => return Ok(()),
            Then::Refused(line) => return Err(MailError::Refused(line)),
            Then::Wait | Then::Send(_) => {}
        }
    }
}

fn composed(mail: &Mail, router: &str, letter: &Letter) -> smtp::Mail {
    let date = date(SystemTime::now());
    let from = clean(&mail.from);
    let subject = clean(&format!("[{router}] {}", letter.subject));
    let to = clean(&mail.to.join(", "));
    smtp::Mail {
        host_name: mail.helo.clone(),
        from: mail.from.clone(),
        to: mail.to.clone(),
        headers: format!(
            "Date: {date}\r\nFrom: {from}\r\nSubject: {subject}\r\nX-Mailer: Keepalived\r\nTo: {to}\r\n"
        ),
        body: letter.body.clone(),
    }
}

/// Formats a date as `Fri, 20 Nov 2026 21:25:00 +0000`.
fn date(at: SystemTime) -> String {
    let at = Timestamp::try_from(at).unwrap_or_default();
    at.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
}

/// Returns keepalived's mail about a virtual router.
pub fn of_instance(name: &str, state: &str) -> Letter {
    let body = if state == "MASTER" {
        "=> VRRP Instance is now owning VRRP VIPs <="
    } else {
        "=> VRRP Instance is no longer owning VRRP VIPs <="
    };
    Letter {
        subject: format!("VRRP Instance {name} - Entering {state} state"),
        body: body.to_owned(),
    }
}

/// Returns keepalived's mail about a sync group.
pub fn of_group(name: &str, state: &str) -> Letter {
    Letter {
        subject: format!("VRRP Group {name} - Entering {state} state"),
        body: format!("=> All VRRP group instances are now in {state} state <="),
    }
}

pub fn is_complete(mail: &Mail) -> bool {
    !mail.to.is_empty() && !mail.addresses.is_empty() && mail.timeout > Duration::ZERO
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::net::{IpAddr, Ipv4Addr, TcpListener};
    use std::time::UNIX_EPOCH;

    #[test]
    fn a_date_is_written_as_mail_wants_it() {
        let at = |seconds| date(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(1_795_209_900), "Fri, 20 Nov 2026 21:25:00 +0000");
        assert_eq!(at(0), "Thu, 01 Jan 1970 00:00:00 +0000");
    }

    /// Starts a server that accepts a mail; its thread returns all that it received.
    fn server(answers: &'static [&'static str]) -> (u16, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let thread = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream);
            let mut told = Vec::new();
            for answer in answers {
                reader.get_mut().write_all(answer.as_bytes()).unwrap();
                let data = answer.starts_with('3');
                loop {
                    let mut line = String::new();
                    if reader.read_line(&mut line).unwrap_or(0) == 0 {
                        return told;
                    }
                    let last = !data || line == ".\r\n";
                    told.push(line.trim_end().to_owned());
                    if last {
                        break;
                    }
                }
            }
            told
        });
        (port, thread)
    }

    fn mail(port: u16) -> Mail {
        Mail {
            to: vec!["root@localhost".to_owned(), "b@c".to_owned()],
            from: "me@x".to_owned(),
            server: "localhost".to_owned(),
            port,
            helo: "vm".to_owned(),
            timeout: Duration::from_secs(10),
            addresses: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        }
    }

    #[test]
    fn a_mail_is_delivered_in_keepalived_s_words() {
        let ok = "250 ok\r\n";
        let answers: &'static [&'static str] = Box::leak(Box::new([
            "220-a\r\n220 b\r\n",
            ok,
            ok,
            ok,
            ok,
            "354 go\r\n",
            ok,
        ]));
        let (port, server) = server(answers);
        let mailer = Mailer::start(mail(port), "RC".to_owned()).unwrap();
        mailer.send(of_instance("VI_1", "MASTER")).unwrap();
        let told = server.join().unwrap();
        let without_date: Vec<_> = told.iter().filter(|l| !l.starts_with("Date: ")).collect();
        let wanted = [
            "HELO vm",
            "MAIL FROM:<me@x>",
            "RCPT TO:<root@localhost>",
            "RCPT TO:<b@c>",
            "DATA",
            "From: me@x",
            "Subject: [RC] VRRP Instance VI_1 - Entering MASTER state",
            "X-Mailer: Keepalived",
            "To: root@localhost, b@c",
            "",
            "=> VRRP Instance is now owning VRRP VIPs <=",
            "",
            ".",
            "QUIT",
        ];
        assert_eq!(without_date, wanted);
    }

    #[test]
    fn a_server_that_refuses_is_named_in_the_log() {
        let (port, server) = server(&["554 no\r\n"]);
        let mailer = Mailer::start(mail(port), "RC".to_owned()).unwrap();
        mailer.send(of_group("G1", "FAULT")).unwrap();
        let mut said = VecDeque::new();
        assert!(lab::eventually(Duration::from_secs(20), || {
            said.extend(mailer.said());
            !said.is_empty()
        }));
        assert_eq!(
            said[0],
            "SMTP alert could not be sent: the server replied `554 no`"
        );
        drop(mailer);
        server.join().unwrap();
    }
}
