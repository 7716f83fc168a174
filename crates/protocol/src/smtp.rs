//! Implements the client's side of SMTP (RFC 5321) without IO: the dialogue that delivers one mail.

use std::mem;

/// Maximum number of unprocessed input bytes; a longer reply counts as a refusal.
const INPUT_MAX: usize = 4096;

/// A mail, with its envelope.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mail {
    /// Host name that HELO announces.
    pub host_name: String,
    pub from: String,
    pub to: Vec<String>,
    /// Header lines, each with its line end.
    pub headers: String,
    pub body: String,
}

/// Removes line ends at the end of a text, and replaces other control characters by spaces, so that
/// a value cannot become a line of its own.
pub fn clean(text: &str) -> String {
    let text = text.trim_end_matches(['\r', '\n']);
    text.replace(char::is_control, " ")
}

impl Mail {
    fn content(&self) -> String {
        let mut content = format!("{}\r\n", self.headers);
        for line in self.body.lines() {
            // A second dot escapes a dot at the beginning of a line (RFC 5321, 4.5.2).
            let dot = if line.starts_with('.') { "." } else { "" };
            content += &format!("{dot}{line}\r\n");
        }
        content + "\r\n.\r\n"
    }
}

/// Next step of a delivery.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Then {
    Wait,
    Send(Vec<u8>),
    Done,
    /// The mail server rejected the mail with this line.
    Refused(String),
}

/// A delivery in progress. The caller passes all input to [`Delivery::received`] until the mail is
/// delivered or refused, and bounds the time.
#[derive(Debug)]
pub struct Delivery {
    /// Lines still to be sent, each with the first digit of the reply that must precede it.
    rest: std::vec::IntoIter<(u8, String)>,
    input: Vec<u8>,
}

impl Delivery {
    pub fn of(mail: &Mail) -> Delivery {
        let recipients = mail.to.iter();
        let recipients = recipients.map(|to| (b'2', format!("RCPT TO:<{}>\r\n", clean(to))));
        let mut steps = vec![
            (b'2', format!("HELO {}\r\n", clean(&mail.host_name))),
            (b'2', format!("MAIL FROM:<{}>\r\n", clean(&mail.from))),
        ];
        steps.extend(recipients);
        steps.extend([
            (b'2', "DATA\r\n".to_owned()),
            (b'3', mail.content()),
            (b'2', "QUIT\r\n".to_owned()),
        ]);
        Delivery {
            rest: steps.into_iter(),
            input: Vec::new(),
        }
    }

    /// Returns whether the server has accepted the mail: failures no longer change that.
    pub fn is_accepted(&self) -> bool {
        self.rest.len() == 0
    }

    /// Processes input of the mail server. Empty input processes the rest of earlier input.
    pub fn received(&mut self, bytes: &[u8]) -> Then {
        self.input.extend_from_slice(bytes);
        if self.input.len() > INPUT_MAX {
            return Then::Refused("the reply is too long".to_owned());
        }
        while let Some(end) = self.input.iter().position(|byte| *byte == b'\n') {
            let rest = self.input.split_off(end + 1);
            let line = mem::replace(&mut self.input, rest);
            // Skips all lines of a reply but the last: they have a dash after the code.
            if line.get(3) == Some(&b'-') {
                continue;
            }
            // Leaves a refused step in the list, so that the mail counts as accepted only after the
            // reply to its content.
            let wanted = self.rest.as_slice().first().map(|(wanted, _)| wanted);
            if wanted.is_some() && line.first() != wanted {
                return Then::Refused(clean(&String::from_utf8_lossy(&line)));
            }
            let next = self.rest.next();
            return next.map_or(Then::Done, |(_, say)| Then::Send(say.into()));
        }
        Then::Wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail(body: &str) -> Mail {
        Mail {
            host_name: "lb.example".into(),
            from: "lb@example.org".into(),
            to: vec!["ops@example.org".into(), "b@c\r\n".into()],
            headers: "From: lb@example.org\r\nSubject: x\r\n".into(),
            body: body.into(),
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
        let mut delivery = Delivery::of(&mail("Server b/s is DOWN\n.\n"));
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
        // Several replies may arrive at once.
        assert_eq!(
            said(delivery.received(b"250 ok\r\n250 ok\r\n")),
            "RCPT TO:<ops@example.org>\r\n"
        );
        assert_eq!(said(delivery.received(b"")), "RCPT TO:<b@c>\r\n");
        assert_eq!(said(delivery.received(b"250 ok\r\n")), "DATA\r\n");
        assert_eq!(
            said(delivery.received(b"354 go\r\n")),
            "From: lb@example.org\r\nSubject: x\r\n\r\nServer b/s is DOWN\r\n..\r\n\r\n.\r\n"
        );
        assert!(!delivery.is_accepted());
        assert_eq!(said(delivery.received(b"250 queued\r\n")), "QUIT\r\n");
        assert!(delivery.is_accepted());
        assert_eq!(delivery.received(b"221 bye\r\n"), Then::Done);
    }

    #[test]
    fn a_refusal_and_an_endless_answer_end_it() {
        let mut delivery = Delivery::of(&mail("x"));
        let refused = Then::Refused("554 go away".into());
        assert_eq!(delivery.received(b"554 go away\r\n"), refused);
        let mut delivery = Delivery::of(&mail("x"));
        assert!(matches!(delivery.received(&[b'x'; 5000]), Then::Refused(_)));
    }

    #[test]
    fn content_is_accepted_after_its_reply_and_not_when_it_is_refused() {
        for (last, is_accepted) in [(&b"250 ok\r\n"[..], true), (b"554 spam\r\n", false)] {
            let mut delivery = Delivery::of(&mail("x"));
            let mut reply = &b"250 ok\r\n"[..];
            let mut then = delivery.received(b"220 ready\r\n");
            while let Then::Send(say) = &then
                && !say.ends_with(b"\r\n.\r\n")
            {
                assert!(!delivery.is_accepted());
                reply = if say.starts_with(b"DATA") {
                    b"354 go on\r\n"
                } else {
                    b"250 ok\r\n"
                };
                then = delivery.received(reply);
            }
            assert_eq!(reply, b"354 go on\r\n");
            assert!(matches!(then, Then::Send(_)) && !delivery.is_accepted());
            delivery.received(last);
            assert_eq!(delivery.is_accepted(), is_accepted);
        }
    }
}
