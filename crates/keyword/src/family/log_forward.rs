//! Builds `log-forward` sections, which define sockets that receive log messages, and the targets
//! to which the messages are forwarded.

use super::log::parse_choice_index;
use super::value::limit;
use super::{Args, Built, LineRow, bind};
use crate::family::Loader;
use language::value::TimeUnit;
use language::{ConfigLine, Diagnostic};
use model::codes;
use model::config::{Bind, ForwardedHost, LogForward};
use model::rules::draft::Section;

const PLACE: &[&str] = &["log-forward"];
/// Maximum number of sockets of a section: each needs a descriptor.
const SOCKETS_MAX: usize = 1024;

const HOSTS: [(&str, ForwardedHost); 4] = [
    ("replace", ForwardedHost::Replace),
    ("fill", ForwardedHost::Fill),
    ("keep", ForwardedHost::Keep),
    ("append", ForwardedHost::Append),
];

pub(super) static LINES: &[LineRow] = language::rows! {
    "dgram-bind <address>[:<port>] [<option> …]" PLACE, |loader, args| sockets(loader, args, true),
        "log-forward collector\ndgram-bind 127.0.0.1:1514\nlog 192.0.2.9:514 local0",
        "Receives syslog messages as datagrams: on an address and port for UDP, or on the path of a Unix socket such \
         as /dev/log. Messages longer than `tune.bufsize` are truncated.";
    "[no] option dont-parse-log" PLACE,
        |loader, args| {
            args.end()?;
            loader.log_forward().opaque = !(args.negated || args.reset);
            Ok(())
        },
        "log-forward collector\ndgram-bind 127.0.0.1:1514\noption dont-parse-log\nlog 192.0.2.9:514 format raw local0",
        "Forwards messages unchanged, without parsing them. Use it with targets of `format raw`, for senders with an \
         unknown message format.";
    "[no] option assume-rfc6587-ntf" PLACE,
        |loader, args| {
            args.end()?;
            loader.log_forward().newlines_only = !(args.negated || args.reset);
            Ok(())
        },
        "log-forward collector\nbind 127.0.0.1:1514\noption assume-rfc6587-ntf\nlog 192.0.2.9:514 local0",
        "Every TCP message ends with a newline. Otherwise a message that begins with a digit starts with its length, \
         and one that begins with neither a digit nor `<` ends the connection.";
    "option host { replace | fill | keep | append }" PLACE,
        |loader, args| {
            let word = args.required("replace, fill, keep or append")?;
            let at = parse_choice_index(
                args,
                word,
                "way of naming hosts",
                &HOSTS.map(|(name, _)| name),
            )?;
            args.end()?;
            loader.log_forward().host = HOSTS[at].1;
            Ok(())
        },
        "log-forward collector\ndgram-bind 127.0.0.1:1514\noption host fill\nlog 192.0.2.9:514 local0",
        "Sets the host of forwarded messages: the original one (`keep`, the default), the sender's address \
         (`replace`), the sender's address if there is none (`fill`), or appended with a comma (`append`).";
};

pub(crate) fn begin(loader: &mut Loader, line: &ConfigLine) -> Section {
    let named = loader.parse_section_name(line, |loader| {
        let sections = loader.config.log_forwards.iter();
        let sections = sections.map(|one| (&*one.name, one.span));
        let proxies = loader.config.proxies.iter();
        let frontends = proxies.filter(|one| one.kind.is_frontend());
        sections
            .chain(frontends.map(|one| (&*one.name, one.span)))
            .collect()
    });
    let Some(name) = named else {
        return Section::Refused;
    };
    loader.config.log_forwards.push(LogForward {
        name: name.text().into(),
        span: name.span,
        ..LogForward::default()
    });
    Section::LogForward
}

pub(super) fn sockets(loader: &mut Loader, args: &mut Args<'_>, datagrams: bool) -> Built {
    let word = args.required("an address")?;
    let mut template = bind::template(word.span);
    template.datagrams = datagrams;
    bind::options(loader, args, &mut template)?;
    let foreign = [
        (
            template.tls_words.is_some() && datagrams,
            "TLS of datagrams",
        ),
        (template.preface.proxy, "'accept-proxy' of senders"),
        (
            template.preface.netscaler_magic.is_some(),
            "'accept-netscaler-cip' of senders",
        ),
        (
            template.maxconn.is_some() && !datagrams,
            "'maxconn' of one listener",
        ),
    ];
    if let Some((_, what)) = foreign.iter().find(|(said, _)| *said) {
        return Err(Diagnostic::error(
            &codes::NOT_BUILT,
            word.span,
            format!("{what} is not supported in 'log-forward'"),
        ));
    }
    let keyword = if datagrams { "dgram-bind" } else { "bind" };
    let addresses = bind::addresses(loader, word, keyword)?;
    let section = loader.log_forward();
    if section.binds.len() + addresses.len() > SOCKETS_MAX {
        return Err(Diagnostic::error(
            &codes::OUT_OF_RANGE,
            word.span,
            format!("'{}' has more than {SOCKETS_MAX} sockets", section.name),
        ));
    }
    let binds = addresses.into_iter().map(|address| Bind {
        address,
        ..template.clone()
    });
    section.binds.extend(binds);
    Ok(())
}

pub(super) fn maxconn(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let most = limit(args, "a number of connections")?;
    args.end()?;
    loader.log_forward().connections_max = most;
    Ok(())
}

pub(super) fn backlog(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let length = limit(args, "a number of connections")?;
    args.end()?;
    loader.log_forward().backlog = length;
    Ok(())
}

pub(super) fn timeout(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let ms = args.time_ms(TimeUnit::Milliseconds)?;
    args.end()?;
    loader.log_forward().client_ms = (ms > 0).then_some(ms);
    Ok(())
}

impl Loader {
    pub(crate) fn log_forward(&mut self) -> &mut LogForward {
        if self.config.log_forwards.is_empty() {
            // Creates a section as a fallback that is never used: only lines of such a section come
            // here.
            self.config.log_forwards.push(LogForward::default());
        }
        let last = self.config.log_forwards.len() - 1;
        &mut self.config.log_forwards[last]
    }

    /// Applies `log global` and `backlog` of sections when the whole file is known, and warns of
    /// sections without a listener or a target.
    pub(crate) fn finish_log_forwards(&mut self) {
        let config = &mut self.config;
        let global = &config.global.logs;
        let mut told = Vec::new();
        for section in &mut config.log_forwards {
            if section.log_global {
                let own = std::mem::take(&mut section.logs);
                section.logs = global.iter().cloned().chain(own).collect();
            }
            for bind in &mut section.binds {
                bind.backlog = bind.backlog.or(section.backlog);
            }
            if section.binds.is_empty() || section.logs.is_empty() {
                let (what, help) = if section.binds.is_empty() {
                    ("has no listener", "write `bind` or `dgram-bind`")
                } else {
                    ("has no log target", "write a `log` line")
                };
                told.push(
                    Diagnostic::warning(
                        &codes::NO_EFFECT,
                        section.span,
                        format!("log-forward '{}' {what}", section.name),
                    )
                    .label("this section has no effect")
                    .help(help),
                );
            }
        }
        self.report_all(told);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::load_text;
    use model::config::BindAddress;

    #[test]
    fn a_section_has_sockets_of_both_kinds_limits_and_targets() {
        let loaded = load_text(
            "global\n log 127.0.0.1:5514 local0\nlog-forward f\n dgram-bind 127.0.0.1:1514\n dgram-bind unix@/run/x mode 666\n \
             bind 127.0.0.1:1514\n maxconn 5\n backlog 7\n timeout client 10s\n option dont-parse-log\n option host fill\n \
             option assume-rfc6587-ntf\n log global\n log 127.0.0.1:514 sample 1:2 format rfc5424 local3 notice\n",
        );
        let config = loaded
            .config
            .unwrap_or_else(|| panic!("{:?}", loaded.diagnostics));
        let section = &config.log_forwards[0];
        let kinds: Vec<bool> = section.binds.iter().map(|bind| bind.datagrams).collect();
        assert_eq!(kinds, [true, true, false]);
        assert_eq!(section.binds[1].address, BindAddress::Unix("/run/x".into()));
        assert_eq!(section.binds[2].backlog, Some(7));
        assert_eq!(
            (section.connections_max, section.client_ms),
            (Some(5), Some(10_000))
        );
        assert!(section.opaque && section.newlines_only);
        assert_eq!(section.host, ForwardedHost::Fill);
        assert_eq!(section.logs.len(), 2);
        assert!(config.listens());
    }

    #[test]
    fn what_is_wrong_in_a_section_is_told_by_its_code() {
        for (line, code) in [
            ("dgram-bind tcp@127.0.0.1:1", "E0024"),
            ("bind udp@127.0.0.1:1", "E0024"),
            ("bind 127.0.0.1:1 accept-proxy", "E0103"),
            ("mode http", "E0102"),
            ("option host other", "E0207"),
            ("option dontlognull", "E0102"),
            ("log 127.0.0.1", "E0201"),
        ] {
            let loaded = load_text(&format!(
                "log-forward f\n dgram-bind 127.0.0.1:1\n log 127.0.0.1:1 local0\n {line}\n"
            ));
            let codes: Vec<_> = loaded.diagnostics.iter().map(|d| d.code.id).collect();
            assert_eq!(codes, [code], "{line}");
        }
    }

    #[test]
    fn names_of_sections_are_their_own() {
        let two = "log-forward f\n dgram-bind 127.0.0.1:1\n log 127.0.0.1:1 local0\n";
        let loaded = load_text(&format!("{two}{two}"));
        assert!(loaded.config.is_none());
    }
}
