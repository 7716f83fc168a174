//! Builds `ring` sections, which define a buffer in memory for log lines, and the servers to which
//! they are sent.

use super::log::{FORMATS, parse_choice_index};
use super::server::{resolve, unresolved_line};
use super::value::octets_counted;
use super::{Args, Built, LineRow, stream_tls};
use crate::family::Loader;
use language::value::{Accepts, AddressHost, Port, TimeUnit};
use language::{ConfigLine, ConfigWord, Diagnostic};
use model::codes;
use model::config::{LogTargetAddress, Ring, RingServer, RingTls, ServerTls};
use model::rules::action_codes;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

const PLACE: &[&str] = &["ring"];
const SYSLOG_PORT: u16 = 514;
/// Minimum size of a ring, bytes.
const SIZE_MIN: u64 = 1024;
/// Maximum size of a ring, bytes.
const SIZE_MAX: u32 = 1 << 30;
/// Maximum length of a line in a ring, bytes.
const LINE_MAX: i64 = 65_535;

pub(super) static LINES: &[LineRow] = language::rows! {
    "size <bytes>" PLACE,
        |loader, args| {
            let word = args.peek();
            let bytes = args.size_at_most("a number of bytes", SIZE_MAX.into())?;
            if let Some(word) = word.filter(|_| bytes < SIZE_MIN) {
                let told = format!("'size' of a ring must be at least {SIZE_MIN} bytes");
                return Err(args.word_error(&codes::OUT_OF_RANGE, word, told));
            }
            args.end()?;
            loader.ring().size = bytes as usize;
            Ok(())
        },
        "size 1048576",
        "Size of a ring in bytes; the default is 16384. When it is full, new lines overwrite the oldest ones.";
    "maxlen <bytes>" PLACE,
        |loader, args| {
            let bytes = args.integer("a number of bytes", 80..=LINE_MAX)?;
            args.end()?;
            loader.ring().line_max = bytes as usize;
            Ok(())
        },
        "maxlen 2048",
        "Maximum length of a line in a ring; the default is 1024 bytes. Longer lines are truncated.";
    "format <format>" PLACE,
        |loader, args| {
            let word = args.required("<format>")?;
            let at = parse_choice_index(args, word, "log format", &FORMATS.map(|(name, _)| name))?;
            args.end()?;
            let ring = loader.ring();
            (ring.format, ring.format_said) = (FORMATS[at].1, true);
            Ok(())
        },
        "format rfc5424",
        "Default format of lines in a ring, for `log` lines without a format: `local`, `rfc3164`, `rfc5424`, `iso`, \
         `timed`, `short`, `priority` or `raw`.";
};

pub(crate) fn begin(loader: &mut Loader, line: &ConfigLine) -> Option<usize> {
    let Some(name) = line.word(1) else {
        let told = "'ring' expects a name";
        loader.report(
            Diagnostic::error(&codes::SECTION_NAME, line.words[0].span, told)
                .label("the name is missing"),
        );
        return None;
    };
    let rings = &mut loader.config.rings;
    if rings.iter().any(|ring| *ring.name == *name.text()) {
        let told = format!("ring '{}' already exists", name.text());
        loader.report(
            Diagnostic::error(&codes::SECTION_NAME, name.span, told).label("choose another name"),
        );
        return None;
    }
    rings.push(Ring::new(&name.text(), name.span));
    Some(rings.len() - 1)
}

pub(super) fn timeout(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let is_connect = args.keyword.ends_with("connect");
    let ms = args.time_ms(TimeUnit::Milliseconds)?;
    args.end()?;
    let ring = loader.ring();
    if is_connect {
        ring.connect_ms = Some(ms)
    } else {
        ring.server_ms = Some(ms)
    }
    Ok(())
}

pub(super) fn description(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let mut words = Vec::new();
    while let Some(word) = args.next() {
        words.push(word.text().into_owned());
    }
    loader.ring().description = words.join(" ").into();
    Ok(())
}

pub(super) fn server(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let name = args.required("<name>")?;
    let word = args.required("<address>")?;
    let address = stream_address(loader, word)?;
    let (mut counted, mut tls) = (false, ServerTls::default());
    while let Some(option) = args.peek() {
        match option.str() {
            "log-proto" => {
                args.next();
                counted = octets_counted(args)?;
            }
            _ => stream_tls::server_option(loader, &mut tls, args)?,
        }
    }
    let at = match loader.section {
        model::rules::draft::Section::Ring(at) => at,
        _ => 0,
    };
    let ring = loader.ring();
    let place = (at, ring.servers.len());
    ring.servers.push(RingServer {
        name: name.text().into(),
        address,
        counted,
        tls: RingTls::default(),
    });
    loader.tls.rings.push((place, tls, name.span));
    Ok(())
}

/// Parses the address of a server of log lines.
pub(super) fn stream_address(
    loader: &mut Loader,
    word: &ConfigWord,
) -> Result<SocketAddr, Diagnostic> {
    let address = loader.address(word, word.str(), &Accepts::LOG, "server")?;
    let port = match address.port {
        Port::One(port) => port,
        _ => SYSLOG_PORT,
    };
    let ip = match address.host {
        AddressHost::Ip(ip) => Some(ip),
        AddressHost::Name(name) => match resolve(loader, &name, address.family) {
            // Uses a placeholder address, because a load that only checks the file sends nothing.
            None if !loader.context.options.resolve_names => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            None => return Err(unresolved_line(loader, word, "server", &name)),
            found => found,
        },
        _ => None,
    };
    let Some(ip) = ip else {
        return Err(Diagnostic::error(
            &action_codes::BAD_LOG_TARGET,
            word.span,
            format!("'{}' is not an address of a TCP log server", word.text()),
        )
        .label("expected an address, or a name that resolves to one"));
    };
    Ok(SocketAddr::new(ip, port))
}

impl Loader {
    pub(crate) fn ring(&mut self) -> &mut Ring {
        let at = match self.section {
            model::rules::draft::Section::Ring(at) => at,
            _ => 0,
        };
        if self.config.rings.is_empty() {
            // Creates a ring as a fallback that is never used: only lines of a ring come here.
            self.config
                .rings
                .push(Ring::new("", language::Span::default()));
        }
        let last = self.config.rings.len() - 1;
        &mut self.config.rings[at.min(last)]
    }

    /// Assigns the rings to the `log ring@…` lines that name them, with the format of the ring
    /// unless the line has one.
    pub(crate) fn find_rings(&mut self) {
        let config = &mut self.config;
        let rings: Vec<Arc<Ring>> = config.rings.iter().cloned().map(Arc::new).collect();
        let mut told = Vec::new();
        let of_proxies = config.proxies.iter_mut().map(|proxy| &mut proxy.logs);
        let of_sections = config.log_forwards.iter_mut().map(|one| &mut one.logs);
        let of_apps = config.fcgi_apps.iter_mut().map(|one| &mut one.logs);
        let of_sections = of_sections.chain(of_apps);
        let all = of_proxies.chain(of_sections);
        for target in all.chain([&mut config.global.logs]).flatten() {
            let LogTargetAddress::Ring(wanted) = &mut target.address else {
                continue;
            };
            if !wanted.servers.is_empty() {
                continue;
            }
            let Some(ring) = rings.iter().find(|ring| ring.name == wanted.name) else {
                told.push(
                    Diagnostic::error(
                        &action_codes::BAD_LOG_TARGET,
                        target.span,
                        format!("unable to find the ring '{}'", wanted.name),
                    )
                    .label("no `ring` section has this name"),
                );
                continue;
            };
            *wanted = Arc::clone(ring);
            if !target.format_said {
                target.format = ring.format;
                target.format_said = ring.format_said;
            }
        }
        self.report_all(told);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{codes_of, load_text};

    #[test]
    fn rings_are_found_by_the_lines_that_log_to_them() {
        let loaded = load_text(
            "global\n log ring@r local0\nring r\n description \"a ring\"\n format raw\n maxlen 1200\n size 32768\n \
             timeout connect 5s\n timeout server 10s\n server s 127.0.0.1:6514 log-proto octet-count\n\
             listen l\n bind 127.0.0.1:1\n mode http\n log ring@r format rfc5424 local1\n",
        );
        let config = loaded
            .config
            .unwrap_or_else(|| panic!("{:?}", loaded.diagnostics));
        let LogTargetAddress::Ring(ring) = &config.global.logs[0].address else {
            panic!()
        };
        assert_eq!(
            (ring.size, ring.line_max, &*ring.description),
            (32768, 1200, "a ring")
        );
        assert!(ring.servers[0].counted);
        assert_eq!(config.global.logs[0].format, model::log::SyslogFormat::Raw);
        assert_eq!(
            config.proxies[0].logs[0].format,
            model::log::SyslogFormat::Rfc5424
        );
    }

    #[test]
    fn what_is_wrong_with_a_ring_is_told() {
        for (line, code) in [
            ("log ring@none local0", "E0512"),
            ("log tcp@127.0.0.1:514 local0", ""),
        ] {
            let told = codes_of(line);
            assert_eq!(told.first().map_or("", |c| c), code, "{line}");
        }
    }
}
