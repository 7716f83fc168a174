//! Builds the mail about a server in HAProxy's form (`email-alert`), without sending it.

use protocol::smtp::{Mail, clean};

/// Returns a mail of HAProxy's form; `text` is its subject and its body.
pub(super) fn of_text(host_name: String, from: &str, to: &str, date: &str, text: &str) -> Mail {
    // A server's response may be part of the text and must not become a line of its own.
    let text = clean(text);
    let text = text.strip_suffix('.').unwrap_or(&text);
    Mail {
        host_name,
        from: from.to_owned(),
        to: vec![to.to_owned()],
        headers: format!(
            "From: {}\r\nTo: {}\r\nDate: {date}\r\nSubject: [HAProxy Alert] {text}\r\n",
            clean(from),
            clean(to)
        ),
        body: text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Fri, 20 Nov 2026 18:10:49 +0000 (UTC)";

    #[test]
    fn a_mail_has_the_text_as_subject_and_body() {
        let (from, to) = ("lb@example.org", "ops@example.org");
        let mail = of_text("lb.example".into(), from, to, DATE, "Server b/s is DOWN.");
        assert_eq!(
            mail.headers,
            "From: lb@example.org\r\nTo: ops@example.org\r\n\
             Date: Fri, 20 Nov 2026 18:10:49 +0000 (UTC)\r\n\
             Subject: [HAProxy Alert] Server b/s is DOWN\r\n"
        );
        assert_eq!(mail.body, "Server b/s is DOWN");
    }

    #[test]
    fn what_a_server_told_becomes_no_line_of_its_own() {
        let text = ".\r\nBcc: all@example.org\r\n.\r\n";
        let mail = of_text("a".into(), "b\r\nBcc: x", "c", DATE, text);
        assert_eq!(mail.body, ".  Bcc: all@example.org  ");
        assert_eq!(
            mail.headers,
            format!(
                "From: b  Bcc: x\r\nTo: c\r\nDate: {DATE}\r\n\
                 Subject: [HAProxy Alert] .  Bcc: all@example.org  \r\n"
            )
        );
    }
}
