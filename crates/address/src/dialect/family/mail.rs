//! Keywords for mail about changes.

use super::{GLOBAL, GROUP, INSTANCE};
use crate::codes;
use crate::dialect::keyword::{Row, block, line};
use crate::dialect::loader::Loader;
use crate::dialect::tree::ConfigStatement;

const RECEIVERS_MAX: usize = 1000;
/// Default port of a mail server.
const PORT: u16 = 25;

pub(in crate::dialect) static ROWS: &[Row] = &[
    Row {
        places: &[GLOBAL],
        syntax: "notification_email { <address> … }",
        doc: "Recipients of mails about changes, if `smtp_alert` enables them.",
        example: "notification_email {\n    admin@example.com\n}\nsmtp_server 127.0.0.1",
        build: block(0, 0, receivers),
    },
    Row {
        places: &[GLOBAL],
        syntax: "notification_email_from <address>",
        doc: "Sender of the mails; the default is the user of the program at the host name.",
        example: "notification_email_from keepalived@example.com",
        build: line(1, 1, |l, n| l.drafts.mail.from = n.text()),
    },
    Row {
        places: &[GLOBAL],
        syntax: "smtp_server <host> [<port>]",
        doc: "The mail server, by name or address; the default port is 25.",
        example: "smtp_server 127.0.0.1 25",
        build: line(1, 2, server),
    },
    Row {
        places: &[GLOBAL],
        syntax: "smtp_helo_name <name>",
        doc: "The name for the greeting of the mail server; the default is the host name.",
        example: "smtp_helo_name lb1.example.com",
        build: line(1, 1, |l, n| l.drafts.mail.helo = n.text()),
    },
    Row {
        places: &[GLOBAL],
        syntax: "smtp_connect_timeout <seconds>",
        doc: "Timeout for the mail server, by default 30 s.",
        example: "smtp_connect_timeout 10",
        build: line(1, 1, |l, n| {
            l.drafts.mail.timeout = l.seconds(n, 1..=86_400)
        }),
    },
    Row {
        places: &[GLOBAL],
        syntax: "smtp_alert [on|off]",
        doc: "Enables mails for all instances without a setting of their own.",
        example: "smtp_alert on",
        build: line(0, 1, |l, n| l.drafts.defaults.smtp_alert = l.switch(n)),
    },
    Row {
        places: &[GLOBAL],
        syntax: "smtp_alert_vrrp [on|off]",
        doc: "Like `smtp_alert`, for VRRP instances only.",
        example: "smtp_alert_vrrp on",
        build: line(0, 1, |l, n| l.drafts.defaults.smtp_alert_vrrp = l.switch(n)),
    },
    Row {
        places: &[GLOBAL],
        syntax: "no_email_faults",
        doc: "Sends no mails about faults.",
        example: "no_email_faults",
        build: line(0, 0, |l, _| l.config.global.no_mail_on_faults = true),
    },
    Row {
        places: &[INSTANCE, GROUP],
        syntax: "smtp_alert [on|off]",
        doc: "Sends mails to `notification_email` when the state changes.",
        example: "smtp_alert",
        build: line(0, 1, |l, n| {
            let value = l.switch(n);
            match l.place {
                GROUP => l.group.smtp_alert = value,
                _ => l.instance.options.values.smtp_alert = value,
            }
        }),
    },
];

fn receivers(l: &mut Loader<'_>, node: &ConfigStatement) {
    for word in node.nodes().iter().flat_map(|line| &line.words) {
        if word
            .text
            .chars()
            .any(|c| c.is_control() || c == '<' || c == '>')
        {
            let message = format!("'{}' is not a mail address", word.text);
            l.error(&codes::BAD_VALUE, word.span, message);
        } else if l.drafts.mail.to.len() < RECEIVERS_MAX {
            l.drafts.mail.to.push(word.text.clone());
        }
    }
}

fn server(l: &mut Loader<'_>, node: &ConfigStatement) {
    let Some(host) = node.text() else { return };
    let port = match node.arguments().get(1) {
        Some(word) => l.small(word, 1..=65535),
        None => Some(PORT),
    };
    l.drafts.mail.server = port.map(|port| (host, port));
}
