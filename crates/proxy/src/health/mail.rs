//! Writes a mail about a server, and conducts the SMTP dialogue that delivers it, without a
//! socket or a clock: lines of the mail server in, lines for it out.

use std::mem;

/// Maximum number of bytes of a mail server that are buffered; a longer line is not SMTP.
const INPUT_MAX: usize = 4096;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Mail {
    pub(super) host_name: String,
    pub(super) from: String,
    pub(super) to: String,
    /// Date in the format of RFC 5322.
    pub(super) date: String,
    /// Subject of the mail, which is also the only line of its body.
    pub(super) text: String,
}

/// Makes a text safe for one line of a mail: part of it may come from a server, and must not
/// become a line of its own.
fn clean(text: &str) -> String {
    let text = text.trim_end_matches(['\r', '\n']);
    let shown = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(shown).collect()
}

impl Mail {
    fn content(&self) -> String {
        let (from, to) = (clean(&self.from), clean(&self.to));
        let text = clean(&self.text);
        let text = text.strip_suffix('.').unwrap_or(&text);
        // A dot at the beginning of a line is doubled (RFC 5321, 4.5.2).
        let dot = if text.starts_with('.') { "." } else { "" };
        format!(
            "From: {from}\r\nTo: {to}\r\nDate: {}\r\nSubject: [HAProxy Alert] {text}\r\n\r\n\
             {dot}{text}\r\n\r\n.\r\n",
            self.date
        )
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Then {
    Wait,
    Send(Vec<u8>),
    Done,
    /// The mail server rejected the mail with this line.
    Refused(String),
}

#[derive(Debug)]
pub(super) struct Delivery {
    /// Lines still to be sent, each with the response code of the mail server that must come
    /// first.
    rest: std::vec::IntoIter<(u16, Vec<u8>)>,
    input: Vec<u8>,
}

impl Delivery {
    pub(super) fn of(mail: &Mail) -> Delivery {
        let line = |text: String| text.into_bytes();
        let (from, to) = (clean(&mail.from), clean(&mail.to));
        let steps = vec![
            (220, line(format!("HELO {}\r\n", clean(&mail.host_name)))),
            (250, line(format!("MAIL FROM:<{from}>\r\n"))),
            (250, line(format!("RCPT TO:<{to}>\r\n"))),
            (250, line("DATA\r\n".to_owned())),
            (354, mail.content().into_bytes()),
            (250, line("QUIT\r\n".to_owned())),
            (221, Vec::new()),
        ];
        Delivery {
            rest: steps.into_iter(),
            input: Vec::new(),
        }
    }

    pub(super) fn received(&mut self, bytes: &[u8]) -> Then {
        self.input.extend_from_slice(bytes);
        if self.input.len() > INPUT_MAX {
            return Then::Refused("the reply is too long".to_owned());
        }
        while let Some(end) = memchr::memchr(b'\n', &self.input) {
            let rest = self.input.split_off(end + 1);
            let line = mem::replace(&mut self.input, rest);
            // In a response of several lines, all but the last have a dash after the code.
            if line.get(3) == Some(&b'-') {
                continue;
            }
            let Some((wanted, say)) = self.rest.next() else {
                return Then::Done;
            };
            let code = line
                .get(..3)
                .and_then(|code| std::str::from_utf8(code).ok());
            if code.and_then(|code| code.parse().ok()) != Some(wanted) {
                return Then::Refused(clean(&String::from_utf8_lossy(&line)));
            }
            return if say.is_empty() {
                Then::Done
            } else {
                Then::Send(say)
            };
        }
        Then::Wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail(text: &str) -> Mail {
        Mail {
            host_name: "lb.example".into(),
            from: "lb@example.org".into(),
            to: "ops@example.org".into(),
            date: "Fri, 20 Nov 2026 18:10:49 +0000 (UTC)".into(),
            text: text.into(),
        }
    }

    fn said(then: Then) -> String {
        match then {
            Then::Send(bytes) => String::from_utf8(bytes).unwrap_or_default(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_mail_is_handed_over_line_by_line() {
        let mut delivery = Delivery::of(&mail("Server b/s is DOWN."));
        assert_eq!(delivery.received(b"220-one\r\n"), Then::Wait);
        assert_eq!(
            said(delivery.received(b"220 two\r\n")),
            "HELO lb.example\r\n"
        );
        assert_eq!(delivery.received(b"250"), Then::Wait);
        assert_eq!(
            said(delivery.received(b" hello\r\n")),
            "MAIL FROM:<lb@example.org>\r\n"
        );
        assert_eq!(
            said(delivery.received(b"250 ok\r\n")),
            "RCPT TO:<ops@example.org>\r\n"
        );
        assert_eq!(said(delivery.received(b"250 ok\r\n")), "DATA\r\n");
        assert_eq!(
            said(delivery.received(b"354 go\r\n")),
            "From: lb@example.org\r\nTo: ops@example.org\r\n\
             Date: Fri, 20 Nov 2026 18:10:49 +0000 (UTC)\r\n\
             Subject: [HAProxy Alert] Server b/s is DOWN\r\n\r\nServer b/s is DOWN\r\n\r\n.\r\n"
        );
        assert_eq!(said(delivery.received(b"250 queued\r\n")), "QUIT\r\n");
        assert_eq!(delivery.received(b"221 bye\r\n"), Then::Done);
    }

    #[test]
    fn server_text_cannot_inject_mail_lines() {
        let content = mail(".\r\nBcc: all@example.org\r\n.\r\n").content();
        assert!(
            content.contains("\r\n\r\n..  Bcc: all@example.org  \r\n\r\n.\r\n"),
            "{content:?}"
        );
        assert!(!content.contains("\nBcc"), "{content:?}");
    }

    #[test]
    fn refusal_or_endless_reply_ends_the_mail() {
        let mut delivery = Delivery::of(&mail("x"));
        let refused = Then::Refused("554 go away".into());
        assert_eq!(delivery.received(b"554 go away\r\n"), refused);
        let mut delivery = Delivery::of(&mail("x"));
        assert!(matches!(delivery.received(&[b'x'; 5000]), Then::Refused(_)));
    }
}
