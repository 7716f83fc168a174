//! Mail that is sent when something changes.

use super::{GLOBAL, GROUP, INSTANCE};
use crate::codes;
use crate::dialect::keyword::{Row, block, line};
use crate::dialect::loader::Loader;
use crate::dialect::tree::Node;
use language::Diagnostic;
use std::time::Duration;

/// Most receivers.
const RECEIVERS_MAX: usize = 1000;
/// Where mail servers listen.
const PORT: u16 = 25;

pub(in crate::dialect) static ROWS: &[Row] = &[
    Row {
        name: "notification_email",
        places: &[GLOBAL],
        syntax: "notification_email { <address> … }",
        doc: "Who gets mail of changes, where `smtp_alert` asks for it.",
        example: "notification_email {\n    admin@example.com\n}\nsmtp_server 127.0.0.1",
        build: block(0, 0, receivers),
    },
    Row {
        name: "notification_email_from",
        places: &[GLOBAL],
        syntax: "notification_email_from <address>",
        doc: "The sender of mail; default the user that runs the program at the host's name.",
        example: "notification_email_from keepalived@example.com",
        build: line(1, 1, |l, n| l.drafts.mail.from = text(n)),
    },
    Row {
        name: "smtp_server",
        places: &[GLOBAL],
        syntax: "smtp_server <host> [<port>]",
        doc: "The server that mail is given to, by a name or an address; port 25 by default.",
        example: "smtp_server 127.0.0.1 25",
        build: line(1, 2, server),
    },
    Row {
        name: "smtp_helo_name",
        places: &[GLOBAL],
        syntax: "smtp_helo_name <name>",
        doc: "The name that the mail server is greeted with; default the host's name.",
        example: "smtp_helo_name lb1.example.com",
        build: line(1, 1, |l, n| l.drafts.mail.helo = text(n)),
    },
    Row {
        name: "smtp_connect_timeout",
        places: &[GLOBAL],
        syntax: "smtp_connect_timeout <seconds>",
        doc: "How long the mail server is waited for, 30 s by default.",
        example: "smtp_connect_timeout 10",
        build: line(1, 1, timeout),
    },
    Row {
        name: "smtp_alert",
        places: &[GLOBAL],
        syntax: "smtp_alert [on|off]",
        doc: "Mail is sent for all instances that say nothing themselves.",
        example: "smtp_alert on",
        build: line(0, 1, |l, n| l.drafts.defaults.smtp_alert = l.switch(n)),
    },
    Row {
        name: "smtp_alert_vrrp",
        places: &[GLOBAL],
        syntax: "smtp_alert_vrrp [on|off]",
        doc: "As `smtp_alert`, for instances of VRRP alone.",
        example: "smtp_alert_vrrp on",
        build: line(0, 1, |l, n| l.drafts.defaults.smtp_alert_vrrp = l.switch(n)),
    },
    Row {
        name: "no_email_faults",
        places: &[GLOBAL],
        syntax: "no_email_faults",
        doc: "No mail is sent for faults.",
        example: "no_email_faults",
        build: line(0, 0, |l, _| l.config.global.no_mail_on_faults = true),
    },
    Row {
        name: "smtp_alert",
        places: &[INSTANCE, GROUP],
        syntax: "smtp_alert [on|off]",
        doc: "Mail is sent to `notification_email` when its state changes.",
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

fn text(node: &Node) -> Option<String> {
    node.argument().map(|word| word.text.clone())
}

fn receivers(l: &mut Loader<'_>, node: &Node) {
    for word in node.nodes().iter().flat_map(|line| &line.words) {
        if word
            .text
            .chars()
            .any(|c| c.is_control() || c == '<' || c == '>')
        {
            let message = format!("'{}' is no address of mail", word.text);
            l.report(Diagnostic::error(&codes::BAD_VALUE, word.span, message));
        } else if l.drafts.mail.to.len() < RECEIVERS_MAX {
            l.drafts.mail.to.push(word.text.clone());
        }
    }
}

fn server(l: &mut Loader<'_>, node: &Node) {
    let Some(host) = text(node) else { return };
    let port = match node.arguments().get(1) {
        Some(word) => l.small(word, 1..=65535),
        None => Some(PORT),
    };
    l.drafts.mail.server = port.map(|port| (host, port));
}

fn timeout(l: &mut Loader<'_>, node: &Node) {
    let Some(word) = node.argument() else { return };
    let seconds = l.number(word, 1..=86_400);
    let seconds = seconds.and_then(|n| u64::try_from(n).ok());
    l.drafts.mail.timeout = seconds.map(Duration::from_secs);
}
