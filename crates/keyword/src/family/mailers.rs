//! Builds the lines for email alerts about servers: `mailers` sections and the `email-alert` lines
//! of proxies.

use super::{Args, Built, LineRow, places};
use crate::family::Loader;
use language::value::{self, Accepts, AddressHost, PortRule, TimeUnit};
use language::{Diagnostic, suggest};
use model::codes;
use model::config::{EmailAlert, Mailer, Mailers};
use model::rules::draft::Section;
use std::net::SocketAddr;
use std::sync::Arc;

pub static LINES: &[LineRow] = language::rows! {
    "mailer <name> <address>:<port>" places::MAILERS, mailer,
        "mailers ops\n    mailer smtp1 192.0.2.25:587",
        "A mail server (SMTP) for the alerts of the proxies that use this section. If there are several, each one gets \
         every mail.";
    "timeout mail <time>" places::MAILERS, timeout,
        "mailers ops\n    timeout mail 20s\n    mailer smtp1 192.0.2.25:587",
        "Timeout for delivering a mail, including the connection. The default is 10s.";
    "email-alert mailers <mailersect>" places::ALL,
        |loader, args| {
            let word = args.required("<mailersect>")?;
            alert(loader).mailers_name = Some((word.text().into(), word.span));
            args.warn_of_surplus()
        },
        "mailers ops\n    mailer smtp1 192.0.2.25:587\nbackend www\n    email-alert mailers ops\n    email-alert from lb@example.com\n    email-alert to ops@example.com",
        "Sends mail alerts about this proxy's servers to the mail servers of this section. `email-alert from` and \
         `email-alert to` are required, too.";
    "email-alert from <emailaddr>" places::ALL,
        |loader, args| text(loader, args, |alert, text| alert.from = Some(text)),
        "email-alert from lb@example.com",
        "Sender address of mail alerts. Without it none are sent.";
    "email-alert to <emailaddr>" places::ALL,
        |loader, args| text(loader, args, |alert, text| alert.to = Some(text)),
        "email-alert to ops@example.com",
        "Recipient address of mail alerts. Without it none are sent.";
    "email-alert myhostname <hostname>" places::ALL,
        |loader, args| text(loader, args, |alert, text| alert.host_name = Some(text)),
        "email-alert myhostname lb.example.com",
        "Host name for the greeting of mail servers; the default is the system's host name.";
    "email-alert level <level>" places::ALL, level, "email-alert level notice",
        "Minimum level of mail alerts: `alert`, the default, for servers that go down; `notice` also for servers that \
         come up; `info` also for each line of `option log-health-checks`. `emerg` sends nothing.";
};

const MAILERS_MAX: usize = 64;

fn alert(loader: &mut Loader) -> &mut EmailAlert {
    loader.proxy().email.get_or_insert_default()
}

fn text(
    loader: &mut Loader,
    args: &mut Args<'_>,
    set: impl FnOnce(&mut EmailAlert, Box<str>),
) -> Built {
    let word = args.required("a word")?;
    set(alert(loader), word.text().into());
    args.warn_of_surplus()
}

fn level(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    const LEVELS: [&str; 8] = [
        "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug",
    ];
    let word = args.required("<level>")?;
    let Some(level) = LEVELS.iter().position(|level| word.is(level)) else {
        let message = format!("unknown log level '{}'", word.text());
        let diagnostic = Diagnostic::error(&codes::BAD_VALUE, word.span, message)
            .label("not a log level")
            .note(format!("valid levels: {}", LEVELS.join(", ")));
        return Err(diagnostic.did_you_mean(word.span, suggest::nearest(word.str(), LEVELS)));
    };
    alert(loader).level = Some(level as u8);
    args.warn_of_surplus()
}

fn section(loader: &mut Loader) -> Option<&mut Mailers> {
    match loader.section {
        Section::Mailers(index) => loader.sections.mailers.get_mut(index),
        _ => None,
    }
}

fn timeout(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let ms = args.time_ms(TimeUnit::Milliseconds)?;
    args.end()?;
    if let (Some(section), true) = (section(loader), ms > 0) {
        section.timeout_ms = ms;
    }
    Ok(())
}

fn mailer(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let name = args.required("<name>")?;
    let word = args.required("<address>:<port>")?;
    args.end()?;
    let accepts = Accepts {
        port: PortRule::Mandatory,
        offset: false,
        ..Accepts::SERVER
    };
    let address = loader.address(word, word.str(), &accepts, "mailer")?;
    let ip = match address.host {
        AddressHost::Ip(ip) => Some(ip),
        AddressHost::Name(name) => {
            let found = super::server::resolve(loader, &name, address.family);
            match found {
                None if !loader.context.options.resolve_names => return Ok(()),
                None => {
                    return Err(super::server::unresolved_line(
                        loader, word, "mailer", &name,
                    ));
                }
                found => found,
            }
        }
        _ => None,
    };
    let port = match address.port {
        value::Port::One(port) if port != 0 => Some(port),
        _ => None,
    };
    let (Some(ip), Some(port)) = (ip, port) else {
        return Err(Diagnostic::error(
            &codes::BAD_ADDRESS,
            word.span,
            format!("'mailer' does not support '{}'", word.text()),
        )
        .label("an IP address or host name and a port are required"));
    };
    let Some(section) = section(loader) else {
        return Ok(());
    };
    if section.servers.len() == MAILERS_MAX {
        let message = format!("a 'mailers' section has at most {MAILERS_MAX} mail servers");
        return Err(args.word_error(&codes::OUT_OF_RANGE, word, message));
    }
    section.servers.push(Mailer {
        name: name.text().into(),
        address: SocketAddr::new(ip, port),
    });
    Ok(())
}

/// Assigns the `mailers` sections to the proxies that name them, at the end of loading. Warns of
/// incomplete `email-alert` lines, which send no mail.
pub(super) fn finish(loader: &mut Loader) {
    let sections: Vec<Arc<Mailers>> = std::mem::take(&mut loader.sections.mailers)
        .into_iter()
        .map(Arc::new)
        .collect();
    let mut told = Vec::new();
    for proxy in &mut loader.config.proxies {
        let Some(email) = &mut proxy.email else {
            continue;
        };
        let complete = email.mailers_name.is_some() && email.from.is_some() && email.to.is_some();
        if !complete {
            let lines = [
                ("`email-alert mailers`", email.mailers_name.is_some()),
                ("`email-alert from`", email.from.is_some()),
                ("`email-alert to`", email.to.is_some()),
            ];
            let missing = lines.iter().filter(|(_, there)| !there);
            let missing: Vec<&str> = missing.map(|(line, _)| *line).collect();
            told.push(
                Diagnostic::warning(
                    &codes::EMAIL_ALERT_IDLE,
                    proxy.span,
                    format!(
                        "incomplete mail alerts in '{}': no mail is sent",
                        proxy.name
                    ),
                )
                .help(format!("add {}", missing.join(" and "))),
            );
            continue;
        }
        let Some((name, span)) = &email.mailers_name else {
            continue;
        };
        email.mailers = sections.iter().find(|s| s.name == *name).cloned();
        if email.mailers.is_none() {
            let message = format!("mailers section '{name}' not found");
            let diagnostic =
                Diagnostic::error(&codes::UNKNOWN_MAILERS, *span, message).label("no such section");
            let names = sections.iter().map(|section| &*section.name);
            told.push(diagnostic.suggest(suggest::nearest(name, names)));
        }
    }
    loader.report_all(told);
}
