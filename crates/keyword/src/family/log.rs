//! Builds the lines for log targets (`log`) and log formats (`log-format`, `option httplog`,
//! `unique-id-format` and similar ones).

use super::server::{resolve, unresolved_line};
use super::{Args, Built, LineRow, places};
use crate::family::Loader;
use language::value::{Accepts, AddressHost, Port, SocketTransport};
use language::{ConfigWord, Diagnostic, suggest};
use model::codes;
use model::config::{LogTarget, LogTargetAddress, ProfileReference, Proxy, Ring, RingServer};
use model::log::{LEVEL_NAMES, SyslogFormat};
use model::rules::draft::Section;
use model::rules::{BuiltIn, Dialect, Format, Usage, action_codes, built_in};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

const SYSLOG_PORT: u16 = 514;
/// Default maximum length of a log line, bytes.
const LENGTH_DEFAULT: usize = 1024;
/// Maximum length of a line over TCP, bytes.
const LINE_MAX: usize = 65_535;
/// Buffer size per TCP server, bytes.
const STREAM_BYTES: usize = 1 << 20;
/// Maximum number of ranges of a `sample`.
const RANGES_MAX: usize = 1024;

const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "auth2",
    "ftp", "ntp", "audit", "alert", "cron2", "local0", "local1", "local2", "local3", "local4",
    "local5", "local6", "local7",
];

pub(super) const FORMATS: [(&str, SyslogFormat); 8] = [
    ("local", SyslogFormat::Local),
    ("rfc3164", SyslogFormat::Rfc3164),
    ("rfc5424", SyslogFormat::Rfc5424),
    ("priority", SyslogFormat::Priority),
    ("short", SyslogFormat::Short),
    ("timed", SyslogFormat::Timed),
    ("iso", SyslogFormat::Iso),
    ("raw", SyslogFormat::Raw),
];

const LOG_PLACES: &[&str] = &[
    "global",
    "defaults",
    "frontend",
    "listen",
    "backend",
    "peers",
    "log-forward",
];

/// Sections in which `log-tag` is valid.
const TAG_PLACES: &[&str] = &[
    "global",
    "defaults",
    "frontend",
    "listen",
    "backend",
    "peers",
    "log-profile",
];

pub(super) static LINES: &[LineRow] = language::rows! {
    "log { global | <address> [ len <length> ] [ format <format> ] [ sample <ranges>:<size> ] [ profile <name> ] \
          <facility> [ <level> [ <minlevel> ] ] }" LOG_PLACES,
        log,
        "log 127.0.0.1:514 len 2048 local0 info",
        "Sends log lines to a syslog server (UDP, port 514), a Unix socket such as /dev/log, or `stdout`, `stderr`, \
         `fd@N`. In a proxy, `log global` uses the targets of `global`, and `no log` removes those of its defaults. \
         `backend@NAME` distributes lines over the servers of a backend in `mode log`, according to its `balance`. \
         `profile` names a `log-profile` section with the formats for this target. A slow target never slows traffic: \
         lines that it does not accept are dropped and counted. A Unix socket is opened before `chroot`. If its daemon \
         restarts, the socket is searched inside that directory, under the same path or the path relative to that \
         directory. A reload opens it again.";
    "log-tag <tag>" TAG_PLACES,
        |loader, args| {
            let tag: Box<[u8]> = args.required("a tag")?.bytes.clone().into();
            args.warn_of_surplus()?;
            match loader.section {
                Section::Global => loader.config.global.log_tag = Some(tag),
                Section::LogProfile(_) => {
                    if let Some(section) = super::log_profile::section(loader) {
                        section.tag = Some(tag);
                    }
                }
                _ => loader.proxy().log_tag = Some(tag),
            }
            Ok(())
        },
        "log-tag evenkeel",
        "Program name in log lines; the default is `haproxy`. Proxies can have their own.";
    "log-format <fmt>" places::ALL,
        |loader, args| format(loader, args, Usage::LOG, |proxy| &mut proxy.log_format),
        "log-format \"%ci:%cp %{+Q}r %ST %Ta\"",
        "Format of log lines: text with log variables (`%ci`, `%ST`) and expressions (`%[src]`). It replaces `option \
         httplog` and `option tcplog`.";
    "error-log-format <fmt>" places::ALL,
        |loader, args| format(loader, args, Usage::LOG, |proxy| &mut proxy.error_log_format),
        "error-log-format \"%ci:%cp %tsc\"",
        "Format of log lines for connections that fail before their request (a PROXY header, a handshake) and for \
         inputs that are no requests (`<BADREQ>`). Requests that fail have the ordinary format. The default is the \
         ordinary format.";
    "log-format-sd <fmt>" places::ALL,
        |loader, args| format(loader, args, Usage::LOG, |proxy| &mut proxy.log_format_sd),
        "log-format-sd \"%{+Q,+E}o [id@1234 client=%ci]\"",
        "Structured data for log targets with `format rfc5424`, for collectors that read fields by name.";
    "option httplog [ clf ]" places::ALL,
        |loader, args| {
            let which = if args.take_if("clf") {
                BuiltIn::Clf
            } else {
                BuiltIn::Http
            };
            args.end()?;
            loader.proxy().log_format = Some(built_in(which));
            Ok(())
        },
        "option httplog",
        "Logs all details of a request: times, status, termination state, captures, request line. With `clf` the lines \
         begin with the Common Log Format.";
    "option httpslog" places::ALL,
        |loader, args| {
            args.end()?;
            loader.proxy().log_format = Some(built_in(BuiltIn::Https));
            Ok(())
        },
        "option httpslog",
        "Logs the details of `option httplog`, followed by those of the client's TLS connection: errors, resumption, \
         SNI, version and cipher.";
    "option tcplog" places::ALL,
        |loader, args| {
            args.end()?;
            loader.proxy().log_format = Some(built_in(BuiltIn::Tcp));
            Ok(())
        },
        "option tcplog",
        "Logs all details of a connection: times, bytes, termination state, connection counts.";
    "unique-id-format <fmt>" places::FRONT,
        |loader, args| format(loader, args, Usage::FRONT_HTTP_REQUEST, |proxy| &mut proxy.unique_id_format),
        "unique-id-format %{+X}o%ci:%cp_%fi:%fp_%Ts_%rt:%pid",
        "Creates an id for each request, which logs show as `%ID` and `unique-id-header` sends to the server. Use a \
         format that no other proxy generates.";
    "unique-id-header <name>" places::FRONT,
        |loader, args| {
            let name = args.required("a header name")?.bytes.to_ascii_lowercase();
            args.warn_of_surplus()?;
            loader.proxy().unique_id_header = Some(name.into());
            Ok(())
        },
        "unique-id-header x-unique-id",
        "Header that passes the id of `unique-id-format` to the server. It replaces a header of that name from the \
         client.";
};

fn format(
    loader: &mut Loader,
    args: &mut Args<'_>,
    usage: Usage,
    slot: fn(&mut Proxy) -> &mut Option<Arc<Format>>,
) -> Built {
    let word = args.required("a format")?;
    if let Some(extra) = args.peek() {
        return Err(Diagnostic::error(
            &codes::TOO_MANY_ARGUMENTS,
            extra.span,
            format!("'{}' expects only one argument", args.keyword),
        )
        .label("extra word")
        .help("put quotes around the format, or a backslash before each space"));
    }
    let mut format = Format::parse_as(loader, word, usage, Dialect::Log)?;
    if usage != Usage::LOG {
        format.leave_gaps();
    }
    *slot(loader.proxy()) = Some(Arc::new(format));
    Ok(())
}

fn log(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    if loader.section == Section::Peers {
        return super::peers::log(loader, args);
    }
    let global = loader.section == Section::Global;
    if args.negated {
        args.end()?;
        if global {
            loader.config.global.logs.clear();
        } else if loader.section == Section::LogForward {
            let section = loader.log_forward();
            section.logs.clear();
            section.log_global = false;
        } else {
            let proxy = loader.proxy();
            proxy.logs.clear();
            proxy.log_global = false;
        }
        return Ok(());
    }
    if !global && args.remaining_words().len() == 1 && args.take_if("global") {
        match loader.section {
            Section::LogForward => loader.log_forward().log_global = true,
            _ => loader.proxy().log_global = true,
        }
        return Ok(());
    }
    let target = target(loader, args)?;
    args.end()?;
    match loader.section {
        Section::Global => loader.config.global.logs.push(target),
        Section::LogForward => loader.log_forward().logs.push(target),
        _ => loader.proxy().logs.push(target),
    }
    Ok(())
}

pub(super) fn target(loader: &mut Loader, args: &mut Args<'_>) -> Result<LogTarget, Diagnostic> {
    let mut target = LogTarget {
        span: args.line().span,
        address: address(loader, args)?,
        length_max: LENGTH_DEFAULT,
        format: SyslogFormat::default(),
        format_said: false,
        profile: None,
        facility: 0,
        level_max: (LEVEL_NAMES.len() - 1) as u8,
        level_min: 0,
        sample: None,
        seen: Arc::default(),
    };
    loop {
        if args.take_if("len") {
            target.length_max =
                usize::try_from(args.integer("<length>", 80..=65_535)?).unwrap_or(LENGTH_DEFAULT);
        } else if args.take_if("format") {
            let word = args.required("<format>")?;
            target.format =
                parse_choice_index(args, word, "log format", &FORMATS.map(|(name, _)| name))
                    .map(|at| FORMATS[at].1)?;
            target.format_said = true;
        } else if args.take_if("sample") {
            target.sample = Some(sample(args)?);
        } else if args.take_if("profile") {
            let word = args.required("<profile>")?;
            target.profile = Some(ProfileReference {
                name: word.text().into(),
                span: word.span,
                profile: None,
            });
        } else {
            break;
        }
    }
    let word = args.required("<facility>")?;
    target.facility = parse_choice_index(args, word, "log facility", &FACILITIES)? as u8;
    if let Some(word) = args.next() {
        target.level_max = parse_choice_index(args, word, "log level", &LEVEL_NAMES)? as u8;
    }
    if let Some(word) = args.next() {
        target.level_min = parse_choice_index(args, word, "minimum log level", &LEVEL_NAMES)? as u8;
    }
    Ok(target)
}

pub(super) fn parse_choice_index(
    args: &Args<'_>,
    word: &ConfigWord,
    what: &str,
    names: &[&'static str],
) -> Result<usize, Diagnostic> {
    if let Some(at) = names.iter().position(|name| word.is(name)) {
        return Ok(at);
    }
    let mut diagnostic = Diagnostic::error(
        &codes::BAD_VALUE,
        word.span,
        format!("unknown {what} '{}'", word.text()),
    )
    .label(format!("expected the name of a {what}"))
    .help(format!("write `{}`", args.syntax));
    if let Some(near) = suggest::nearest(&word.text(), names.iter().copied()) {
        diagnostic = diagnostic
            .help(format!("did you mean '{near}'?"))
            .fix(word.span, near);
    } else {
        diagnostic = diagnostic.note(format!("one of: {}", names.join(", ")));
    }
    Err(diagnostic)
}

/// Warns of a path that is no socket: HAProxy writes no log files.
fn warn_of_file(loader: &mut Loader, word: &ConfigWord, path: &str) {
    let name = path.rsplit('/').next().unwrap_or(path);
    let named_so = [".log", ".txt", ".out"]
        .iter()
        .any(|end| name.ends_with(end));
    if !named_so && !path.starts_with("/var/log/") {
        return;
    }
    loader.report(
        Diagnostic::warning(
            &codes::LOG_FILE,
            word.span,
            format!("'log': '{path}' is used as the socket of a log server, not as a file"),
        )
        .label("log lines are not written to files")
        .help("write `log /dev/log local0` and let the system's log server write the file, or `log stdout format raw local0`"),
    );
}

fn unsupported_word(word: &ConfigWord, what: &str) -> Diagnostic {
    Diagnostic::error(
        &codes::NOT_BUILT,
        word.span,
        format!("{what} known, but not supported"),
    )
    .help("use syslog over UDP or a Unix socket, or `stdout`")
}

/// Creates an unnamed ring with one TCP server, in which the lines for that server are buffered.
fn stream(loader: &mut Loader, word: &ConfigWord) -> Result<LogTargetAddress, Diagnostic> {
    let to = super::ring::stream_address(loader, word)?;
    let mut ring = Ring::new(&word.text(), word.span);
    ring.line_max = LINE_MAX;
    ring.size = STREAM_BYTES;
    ring.servers.push(RingServer {
        name: word.text().into(),
        address: to,
        counted: false,
        tls: Default::default(),
    });
    Ok(LogTargetAddress::Ring(Arc::new(ring)))
}

fn address(loader: &mut Loader, args: &mut Args<'_>) -> Result<LogTargetAddress, Diagnostic> {
    let word = args.required("<address>")?;
    if let Some(name) = word.str().strip_prefix("backend@") {
        // Stores the name only: the ring or backend is looked up when the whole file is known.
        return Ok(LogTargetAddress::Backend(name.into()));
    }
    let address = loader.address(word, word.str(), &Accepts::LOG, "log")?;
    if address.transport == SocketTransport::Stream {
        return stream(loader, word);
    }
    let port = match address.port {
        Port::One(port) => port,
        _ => SYSLOG_PORT,
    };
    let ip = match address.host {
        AddressHost::Path(path) => {
            warn_of_file(loader, word, &path);
            return Ok(LogTargetAddress::Unix(path.into()));
        }
        AddressHost::Stdout => return Ok(LogTargetAddress::Fd(1)),
        AddressHost::Stderr => return Ok(LogTargetAddress::Fd(2)),
        AddressHost::Descriptor(fd) if i32::try_from(fd).is_ok() => {
            return Ok(LogTargetAddress::Fd(fd as i32));
        }
        AddressHost::Ip(ip) => ip,
        AddressHost::Name(name) => match resolve(loader, &name, address.family) {
            Some(ip) => ip,
            None if loader.context.options.resolve_names => {
                return Err(unresolved_line(loader, word, "log", &name));
            }
            // Uses a placeholder address, because a load that only checks the file sends nothing.
            None => IpAddr::V4(Ipv4Addr::LOCALHOST),
        },
        AddressHost::Ring(name) => {
            // Names the ring only: its section may follow later in the file.
            return Ok(LogTargetAddress::Ring(Arc::new(Ring::new(
                &name, word.span,
            ))));
        }
        AddressHost::Abstract { .. } => {
            return Err(unsupported_word(
                word,
                "abstract sockets as log targets are",
            ));
        }
        AddressHost::Any | AddressHost::Descriptor(_) | AddressHost::Pair(_) => {
            return Err(Diagnostic::error(
                &action_codes::BAD_LOG_TARGET,
                word.span,
                format!("'{}' is not a log server address", word.text()),
            )
            .label("an address, a path, `stdout` or `stderr` is expected"));
        }
    };
    Ok(LogTargetAddress::Udp(SocketAddr::new(ip, port)))
}

/// Ranges of line numbers, and the number of lines after which the numbers begin again.
type LogSampleRanges = (Vec<(u32, u32)>, u32);

/// Parses a sample such as `1,3-5:10`, which selects of every ten lines the first, and the third to
/// the fifth.
fn sample(args: &mut Args<'_>) -> Result<LogSampleRanges, Diagnostic> {
    let word = args.required("<ranges>:<size>")?;
    let wrong = |label: &str| {
        Diagnostic::error(
                &codes::BAD_VALUE,
                word.span,
                format!("'{}' is not a valid sample of log lines", word.text()),
            )
            .label(label)
            .help(
                "write for example `1,3-5:10`: of every ten lines the first, and the third to the fifth",
            )
    };
    let Some((ranges, size)) = word.str().rsplit_once(':') else {
        return Err(wrong("the size of the sample is missing"));
    };
    let Some(size) = size.parse::<u32>().ok().filter(|size| *size > 0) else {
        return Err(wrong("the sample size is not a positive number"));
    };
    let mut list = Vec::new();
    for range in ranges.split(',') {
        let (low, high) = range.split_once('-').unwrap_or((range, range));
        let (Ok(low), Ok(high)) = (low.parse::<u32>(), high.parse::<u32>()) else {
            return Err(wrong(
                "a range is a number, or two numbers separated by a dash",
            ));
        };
        if low == 0 || high < low || high > size {
            return Err(wrong("ranges must be between 1 and the sample size"));
        }
        list.push((low, high));
        if list.len() > RANGES_MAX {
            return Err(wrong("too many ranges"));
        }
    }
    Ok((list, size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{backend, codes_of};

    fn one(line: &str) -> LogTarget {
        backend(line)
            .logs
            .first()
            .cloned()
            .unwrap_or_else(|| panic!("{line}"))
    }

    #[test]
    fn targets_have_all_forms_of_addresses() {
        let rows = [
            (
                "127.0.0.1",
                LogTargetAddress::Udp(([127, 0, 0, 1], 514).into()),
            ),
            (
                "127.0.0.1:5514",
                LogTargetAddress::Udp(([127, 0, 0, 1], 5514).into()),
            ),
            (
                "udp@127.0.0.1:5514",
                LogTargetAddress::Udp(([127, 0, 0, 1], 5514).into()),
            ),
            (
                "[::1]:514",
                LogTargetAddress::Udp("[::1]:514".parse().unwrap()),
            ),
            ("/dev/log", LogTargetAddress::Unix("/dev/log".into())),
            ("unix@/dev/log", LogTargetAddress::Unix("/dev/log".into())),
            ("stdout", LogTargetAddress::Fd(1)),
            ("stderr", LogTargetAddress::Fd(2)),
            ("fd@5", LogTargetAddress::Fd(5)),
        ];
        for (text, address) in rows {
            assert_eq!(
                one(&format!("log {text} local0")).address,
                address,
                "{text}"
            );
        }
    }

    #[test]
    fn options_levels_and_samples_are_read() {
        let target = one("log stdout len 200 format raw sample 1,3-5:10 local3 notice err");
        assert_eq!((target.length_max, target.format), (200, SyslogFormat::Raw));
        assert_eq!(
            (target.facility, target.level_max, target.level_min),
            (19, 5, 3)
        );
        assert_eq!(target.sample, Some((vec![(1, 1), (3, 5)], 10)));
        let target = one("log stdout daemon");
        assert_eq!(
            (target.facility, target.level_max, target.level_min),
            (3, 7, 0)
        );
        assert_eq!(target.length_max, LENGTH_DEFAULT);
    }

    #[test]
    fn what_is_wrong_is_told_by_its_code() {
        let rows = [
            ("log", "E0201"),
            ("log 127.0.0.1", "E0201"),
            ("log 127.0.0.1 foo", "E0207"),
            ("log 127.0.0.1 local0 foo", "E0207"),
            ("log 127.0.0.1 local0 info foo", "E0207"),
            ("log 127.0.0.1 local0 info debug x", "E0202"),
            ("log 127.0.0.1 len 10 local0", "E0204"),
            ("log 127.0.0.1 format foo local0", "E0207"),
            ("log 127.0.0.1 sample 2-11:10 local0", "E0207"),
            ("log 127.0.0.1 sample 1:0 local0", "E0207"),
            ("log ring@x local0", "E0512"),
            ("log-format a b", "E0202"),
            ("log-format %zz", "E0504"),
            ("log-format %[req.hdr(x)]", "E0405"),
            ("option httplog foo", "E0202"),
        ];
        for (line, code) in rows {
            assert_eq!(codes_of(line), [code], "{line}");
        }
    }

    #[test]
    fn no_log_takes_inherited_targets_away() {
        let proxy = backend("log stdout local0\nlog global\nno log");
        assert!(proxy.logs.is_empty());
        assert!(!proxy.log_global);
    }
}
