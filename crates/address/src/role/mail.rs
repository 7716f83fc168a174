//! `smtp_alert`: sends a mail at each transition, with keepalived's text. A separate thread talks
//! to the server; mail that cannot be delivered in time is dropped and logged.

use crate::config::Mail;
use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const MAX_WAITING: usize = 64;

const MAX_LINE_BYTES: u64 = 4096;

const MAX_LINES: usize = 100;

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
                    // The log line is dropped if the receiver is gone or the channel is full.
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

fn speak(
    stream: TcpStream,
    mail: &Mail,
    router: &str,
    letter: &Letter,
    end: Instant,
) -> Result<(), MailError> {
    stream.set_read_timeout(Some(mail.timeout))?;
    stream.set_write_timeout(Some(mail.timeout))?;
    let mut talk = Talk {
        reader: BufReader::new(stream),
        end,
    };
    talk.expect(b'2')?;
    talk.say(&format!("HELO {}", clean(&mail.helo)), b'2')?;
    talk.say(&format!("MAIL FROM:<{}>", clean(&mail.from)), b'2')?;
    for to in &mail.to {
        talk.say(&format!("RCPT TO:<{}>", clean(to)), b'2')?;
    }
    talk.say("DATA", b'3')?;
    let text = text(mail, router, letter);
    talk.reader.get_mut().write_all(text.as_bytes())?;
    talk.expect(b'2')?;
    // The server has accepted the mail, so the result of QUIT changes nothing.
    let _ = talk.say("QUIT", b'2');
    Ok(())
}

struct Talk {
    reader: BufReader<TcpStream>,
    end: Instant,
}

impl Talk {
    fn say(&mut self, line: &str, wanted: u8) -> Result<(), MailError> {
        self.reader
            .get_mut()
            .write_all(format!("{line}\r\n").as_bytes())?;
        self.expect(wanted)
    }

    /// Reads a reply, which may have several lines. Its first digit must be `wanted`.
    fn expect(&mut self, wanted: u8) -> Result<(), MailError> {
        for _ in 0..MAX_LINES {
            if Instant::now() > self.end {
                return Err(io::Error::from(io::ErrorKind::TimedOut).into());
            }
            let mut line = Vec::new();
            (&mut self.reader)
                .take(MAX_LINE_BYTES)
                .read_until(b'\n', &mut line)?;
            if line.get(3) == Some(&b'-') {
                continue;
            }
            if line.first() == Some(&wanted) {
                return Ok(());
            }
            let words = String::from_utf8_lossy(&line).trim_end().to_owned();
            return Err(MailError::Refused(words));
        }
        Err(MailError::Refused("unterminated reply".to_owned()))
    }
}

/// Removes control characters, so that a value cannot break a line.
fn clean(word: &str) -> String {
    word.chars().filter(|c| !c.is_control()).collect()
}

fn text(mail: &Mail, router: &str, letter: &Letter) -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let date = date(since.map_or(0, |d| d.as_secs()));
    let from = clean(&mail.from);
    let subject = clean(&format!("[{router}] {}", letter.subject));
    let to = clean(&mail.to.join(", "));
    let mut text = format!(
        "Date: {date}\r\nFrom: {from}\r\nSubject: {subject}\r\nX-Mailer: Keepalived\r\nTo: {to}\r\n\r\n"
    );
    for line in letter.body.lines() {
        // A line with only a dot would end the mail.
        if line.starts_with('.') {
            text.push('.');
        }
        text.push_str(line);
        text.push_str("\r\n");
    }
    text.push_str("\r\n.\r\n");
    text
}

/// Formats a date as `Fri, 20 Nov 2026 21:25:00 +0000`.
fn date(unix: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let (year, month, day) = super::render::civil(unix / 86_400);
    let weekday = DAYS[usize::try_from(unix / 86_400 % 7).unwrap_or(0)];
    let month = super::render::MONTHS[usize::from(month - 1) % 12];
    let (h, m, s) = (unix / 3600 % 24, unix / 60 % 60, unix % 60);
    format!("{weekday}, {day:02} {month} {year} {h:02}:{m:02}:{s:02} +0000")
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
    use std::net::{IpAddr, Ipv4Addr, TcpListener};

    #[test]
    fn a_date_is_written_as_mail_wants_it() {
        assert_eq!(date(1_795_209_900), "Fri, 20 Nov 2026 21:25:00 +0000");
        assert_eq!(date(0), "Thu, 01 Jan 1970 00:00:00 +0000");
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
