//! Parses the SMTP settings of notification mails, and the switches `smtp_alert` that enable them.

use super::{GLOBAL, GROUP, INSTANCE};
use crate::codes;
use crate::dialect::keyword::{Row, block, line};
use crate::dialect::loader::Loader;
use crate::dialect::tree::ConfigStatement;

const RECEIVERS_MAX: usize = 1000;
/// Default port of a mail server.
const PORT: u16 = 25;

pub(in crate::dialect) static ROWS: &[Row] = language::rows! {
    "notification_email { <address> … }" &[GLOBAL], block(0, 0, receivers),
        "notification_email {\n    admin@example.com\n}\nsmtp_server 127.0.0.1",
        "Recipients of mails about changes, if `smtp_alert` enables them.";
    "notification_email_from <address>" &[GLOBAL], line(1, 1, |l, n| l.drafts.mail.from = n.text()),
        "notification_email_from keepalived@example.com",
        "Sender of the mails; the default is the user of the program at the host name.";
    "smtp_server <host> [<port>]" &[GLOBAL], line(1, 2, server), "smtp_server 127.0.0.1 25",
        "The mail server, by name or address; the default port is 25.";
    "smtp_helo_name <name>" &[GLOBAL], line(1, 1, |l, n| l.drafts.mail.helo = n.text()),
        "smtp_helo_name lb1.example.com",
        "The name for the greeting of the mail server; the default is the host name.";
    "smtp_connect_timeout <seconds>" &[GLOBAL],
        line(1, 1, |l, n| l.drafts.mail.timeout = l.seconds(n, 1..=86_400)),
        "smtp_connect_timeout 10", "Timeout for the mail server, by default 30 s.";
    "smtp_alert [on|off]" &[GLOBAL], line(0, 1, |l, n| l.drafts.defaults.smtp_alert = l.switch(n)),
        "smtp_alert on", "Enables mails for all instances without a setting of their own.";
    "smtp_alert_vrrp [on|off]" &[GLOBAL],
        line(0, 1, |l, n| l.drafts.defaults.smtp_alert_vrrp = l.switch(n)),
        "smtp_alert_vrrp on", "Like `smtp_alert`, for VRRP instances only.";
    "no_email_faults" &[GLOBAL], line(0, 0, |l, _| l.config.global.no_mail_on_faults = true),
        "no_email_faults", "Sends no mails about faults.";
    "smtp_alert [on|off]" &[INSTANCE, GROUP],
        line(0, 1, |l, n| match l.place {
            GROUP => l.group.smtp_alert = l.switch(n),
            _ => l.instance.options.values.smtp_alert = l.switch(n),
        }),
        "smtp_alert", "Sends mails to `notification_email` when the state changes.";
};

fn receivers(l: &mut Loader<'_>, node: &ConfigStatement) {
    for word in node.block_words() {
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
