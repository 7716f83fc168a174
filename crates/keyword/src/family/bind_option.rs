//! Builds the options of `bind` lines, which `stats socket` lines take too.

use super::cpu_map::thread_set;
use super::places::BIND;
use super::value::limit;
use super::{Args, BindRow, Built, account};
use crate::family::Loader;
use language::Diagnostic;
use language::value::TimeUnit;
use model::codes;
use model::config::{Bind, HttpProtocol, SeverityOutput, StatsLevel};

fn switch(_: &mut Loader, bind: &mut Bind, args: &mut Args<'_>) -> Built {
    match args.keyword {
        "accept-proxy" => bind.preface.proxy = true,
        "defer-accept" => bind.defer_accept = true,
        "tfo" => bind.tcp_fast_open = true,
        "transparent" => bind.transparent = true,
        "v4v6" => bind.v6only = Some(false),
        "v6only" => bind.v6only = Some(true),
        _ => {}
    }
    Ok(())
}

fn number(_: &mut Loader, bind: &mut Bind, args: &mut Args<'_>) -> Built {
    match args.keyword {
        "backlog" => bind.backlog = limit(args, "a number of connections")?,
        "maxconn" => bind.maxconn = limit(args, "a number of connections")?,
        "accept-netscaler-cip" => {
            bind.preface.netscaler_magic =
                Some(args.count("the magic number of the header", 1..=i32::MAX as u32)?);
        }
        "id" => bind.id = args.count("a number greater than 0", 1..=i32::MAX as u32)?,
        "gid" => bind.owner.gid = Some(args.count("a group id", 0..=u32::MAX - 1)?),
        "uid" => bind.owner.uid = Some(args.count("a user id", 0..=u32::MAX - 1)?),
        _ => {}
    }
    Ok(())
}

fn mss(_: &mut Loader, bind: &mut Bind, args: &mut Args<'_>) -> Built {
    let word = args.peek();
    let mss = args.integer("a segment size", -65_535..=65_535)?;
    match word {
        Some(word) if mss == 0 => Err(args.word_error(
            &codes::OUT_OF_RANGE,
            word,
            "'mss' wants a size from 1 to 65535, or the same below zero",
        )),
        _ => {
            bind.mss = i32::try_from(mss).ok();
            Ok(())
        }
    }
}

fn tcp_user_timeout(_: &mut Loader, bind: &mut Bind, args: &mut Args<'_>) -> Built {
    bind.tcp_user_timeout_ms = Some(args.time_ms(TimeUnit::Milliseconds)?);
    Ok(())
}

fn name(_: &mut Loader, bind: &mut Bind, args: &mut Args<'_>) -> Built {
    bind.name = args.required("a name")?.text().into();
    Ok(())
}

fn interface(_: &mut Loader, bind: &mut Bind, args: &mut Args<'_>) -> Built {
    /// Maximum length of an interface name in the kernel, bytes.
    const NAME_BYTES_MAX: usize = 15;
    let word = args.required("the name of an interface")?;
    if word.bytes.is_empty() || word.bytes.len() > NAME_BYTES_MAX {
        return Err(args.word_error(
            &codes::BAD_VALUE,
            word,
            format!("'{}' cannot be the name of an interface", word.text()),
        ));
    }
    bind.interface = Some(word.text().into());
    Ok(())
}

pub(super) fn octal(args: &mut Args<'_>) -> Result<u32, Diagnostic> {
    let word = args.required("an octal mode")?;
    let digits = !word.bytes.is_empty() && word.bytes.iter().all(|b| (b'0'..=b'7').contains(b));
    let mode = u32::from_str_radix(word.str(), 8)
        .ok()
        .filter(|mode| digits && *mode <= 0o7777);
    mode.ok_or_else(|| {
        Diagnostic::error(
            &codes::BAD_VALUE,
            word.span,
            format!("'mode': '{}' is not an octal mode", word.text()),
        )
        .label("three or four digits from 0 to 7, as chmod takes them: 660")
    })
}

fn owner(loader: &mut Loader, bind: &mut Bind, args: &mut Args<'_>) -> Built {
    match args.keyword {
        "mode" => bind.owner.mode = Some(octal(args)?),
        "user" => bind.owner.uid = Some(account::user(loader, args.required("a user")?)?),
        "group" => bind.owner.gid = Some(account::group(loader, args.required("a group")?)?),
        _ => {}
    }
    Ok(())
}

/// Checks the sets of `process` and `thread`, which have no effect: all threads serve every
/// listener.
fn threads(loader: &mut Loader, _: &mut Bind, args: &mut Args<'_>) -> Built {
    let word = args.required("a set of threads")?;
    let set = word.text();
    let known = |text: &str| text.split(',').all(|part| thread_set(part).is_some());
    let valid = match set.split_once('/') {
        // Accepts any set after `nbproc`: a file written for several processes runs in one process.
        _ if args.keyword == "process" && loader.old_processes => true,
        None => known(&set),
        Some((group, threads)) => known(group) && known(threads),
    };
    if !valid {
        let message = format!("'{}': '{set}' is not a set of threads", args.keyword);
        return Err(args.word_error(&codes::BAD_VALUE, word, message));
    }
    if args.keyword == "process" {
        let words = &args.line().words;
        let at = words.iter().position(|other| other.span == word.span);
        let keyword = at.and_then(|at| args.line().word(at.checked_sub(1)?));
        loader.report(
            Diagnostic::warning(
                &codes::LEGACY,
                word.span,
                "'process' on 'bind' lines is unnecessary: there is only one process",
            )
            .help("remove the two words")
            .fix(
                keyword.map_or(word.span, |keyword| keyword.span.to(word.span)),
                "",
            ),
        );
        return Ok(());
    }
    let every = |part: &str| matches!(part, "all" | "1-");
    let whole = match set.split_once('/') {
        None => every(&set),
        Some((group, threads)) => (every(group) || group == "1") && every(threads),
    };
    if !whole {
        let message = format!("'thread {set}' has no effect: all threads serve every listener");
        loader.report(
            Diagnostic::warning(&codes::NO_EFFECT, word.span, message)
                .label("a set of some of the threads")
                .help("remove the two words, or write `thread all`"),
        );
    }
    Ok(())
}

fn proto(_: &mut Loader, bind: &mut Bind, args: &mut Args<'_>) -> Built {
    let word = args.required("a protocol")?;
    match word.str() {
        "h1" => {
            bind.protocol = Some(HttpProtocol::Http1);
            Ok(())
        }
        "h2" => {
            bind.protocol = Some(HttpProtocol::Http2);
            Ok(())
        }
        "none" => {
            bind.stays_raw = true;
            Ok(())
        }
        "fcgi" | "quic" => Err(super::proxy::unsupported_word(
            word,
            &format!("proto {}", word.text()),
        )),
        _ => Err(super::value::unknown_choice_error(
            args,
            word,
            &["h1", "h2", "none"],
        )),
    }
}

/// Parses options that have an effect only on a `stats socket`. HAProxy accepts them on every
/// `bind` line.
fn rights(loader: &mut Loader, _: &mut Bind, args: &mut Args<'_>) -> Built {
    let mut rights = loader.socket.unwrap_or_default();
    let word = args.required("an argument")?;
    match (args.keyword, word.str()) {
        ("level", "user") => rights.level = StatsLevel::User,
        ("level", "operator") => rights.level = StatsLevel::Operator,
        ("level", "admin") => rights.level = StatsLevel::Admin,
        ("level", _) => {
            return Err(super::value::unknown_choice_error(
                args,
                word,
                &["admin", "operator", "user"],
            ));
        }
        ("severity-output", name) => match SeverityOutput::of_name(name) {
            Some(severity) => rights.severity = severity,
            None => {
                return Err(super::value::unknown_choice_error(
                    args,
                    word,
                    &["none", "number", "string"],
                ));
            }
        },
        (_, "listeners") => rights.expose_listeners = true,
        _ => {
            return Err(super::value::unknown_choice_error(
                args,
                word,
                &["listeners"],
            ));
        }
    }
    if loader.socket.is_some() {
        loader.socket = Some(rights);
    } else {
        let told = format!("'{}' has no effect on a 'bind' line", args.keyword);
        loader.report(
            Diagnostic::warning(&codes::NO_EFFECT, word.span, told)
                .label("only a `stats socket` in `global` accepts commands"),
        );
    }
    Ok(())
}

pub static OPTIONS: &[BindRow] = language::rows! {
    "accept-netscaler-cip <magic>" BIND, number, "bind :8080 accept-netscaler-cip 1",
        "Requires a NetScaler Client IP header with this magic number at the beginning of each connection, and uses \
         its addresses as those of the client. Connections without it are refused. With `accept-proxy`, the PROXY \
         header comes first.";
    "accept-proxy" BIND, switch, "bind :8080 accept-proxy",
        "Requires a PROXY header (version 1 or 2) at the beginning of each connection, and uses its addresses as those \
         of the client. Connections without it are refused, so only proxies can use such a listener.";
    "backlog <conns>" BIND, number, "bind :8080 backlog 1000",
        "Number of connections that the kernel may hold until they are accepted, instead of the frontend's `backlog`. \
         0 uses that of the frontend.";
    "defer-accept" BIND, switch, "bind :8080 defer-accept",
        "The kernel reports a connection only when its first data arrives. This saves a wake-up per connection for \
         protocols in which the client sends first.";
    "expose-fd { listeners }" BIND, rights, "stats socket /run/admin.sock expose-fd listeners",
        "Lets any process that connects to this `stats socket`, with any level, receive the listening sockets, so that \
         a new process can take over without a gap.";
    "gid <gid>" BIND, number, "bind /run/site.sock gid 33",
        "Sets the group of a Unix socket file, by number. The default is the group of the process.";
    "group <group>" BIND, owner, "bind /run/site.sock group root",
        "Sets the group of a Unix socket file, by name. The default is the group of the process.";
    "id <id>" BIND, number, "bind :8080 id 5",
        "A stable number for the listener, for programs that read the statistics: it does not change when other \
         listeners are added. Listeners without `id` are numbered in the order of the file.";
    "interface <interface>" BIND, interface, "bind :8080 interface lo",
        "Accepts only connections that arrive on this interface. Requires root at the start.";
    "level { user | operator | admin }" BIND, rights, "stats socket /run/admin.sock level admin",
        "Sets what a connection to this `stats socket` may do: `user` reads non-sensitive data, `operator` (the \
         default) reads everything and clears counters, `admin` also changes servers and limits.";
    "maxconn <conns>" BIND, number, "bind :8080 maxconn 500",
        "Limits the concurrent connections of this listener, within the frontend's own `maxconn`. 0 means no separate \
         limit.";
    "mode <mode>" BIND, owner, "bind /run/site.sock mode 660",
        "Sets the permissions of a Unix socket file, in octal. The default follows the umask of the process.";
    "mss <size>" BIND, mss, "bind :8080 mss 1400",
        "Sets the maximum TCP segment size announced to clients. A negative number is subtracted from the size that \
         the interface would announce.";
    "name <name>" BIND, name, "bind :8080 name public",
        "A name for the listener in statistics and on statistics sockets. It need not be unique.";
    "process <set>[/<set>]" BIND, threads, "bind :8080 process 1/all",
        "In HAProxy, selects the processes and threads that serve a listener. In Evenkeel all threads serve every \
         listener: the set is checked, and has no effect.";
    "proto { h1 | h2 | none }" BIND, proto, "bind :8080 proto h1",
        "Sets the HTTP version instead of negotiating it by TLS. Without `proto`, a listener without TLS speaks \
         HTTP/1, and HTTP/2 with clients that begin with it. `h1` disables HTTP/2, `h2` requires it. `none`, in `mode \
         tcp`, closes connections that `switch-mode` or a backend in `mode http` would switch to HTTP.";
    "severity-output { none | number | string }" BIND, rights, "stats socket /run/admin.sock severity-output number",
        "Precedes replies on this `stats socket` with their severity, as a number (`[3]: `) or a word (`[err]: `), so \
         that programs can distinguish errors. The default is `none`. The command `set severity-output` changes it for \
         one connection.";
    "tcp-ut <delay>" BIND, tcp_user_timeout, "bind :8080 tcp-ut 30s",
        "Sets how long sent data may remain unacknowledged before the kernel closes the connection. This detects dead \
         clients much sooner than retransmissions do.";
    "tfo" BIND, switch, "bind :8080 tfo",
        "Enables TCP Fast Open: a returning client can send its request in the first packet. The kernel must allow it \
         (net.ipv4.tcp_fastopen).";
    "thread [<group>/]<set>" BIND, threads, "bind :8080 thread all",
        "In HAProxy, selects the threads that serve a listener. In Evenkeel all threads serve every listener: the \
         set is checked, and has no effect.";
    "transparent" BIND, switch, "bind :8080 transparent",
        "Accepts connections to addresses of other hosts that the firewall redirects to this listener, and keeps those \
         addresses. Requires root at the start.";
    "uid <uid>" BIND, number, "bind /run/site.sock uid 33",
        "Sets the owner of a Unix socket file, by number. The default is the user of the process.";
    "user <user>" BIND, owner, "bind /run/site.sock user root",
        "Sets the owner of a Unix socket file, by name. The default is the user of the process.";
    "v4v6" BIND, switch, "bind [::]:8080 v4v6",
        "An IPv6 listener also accepts IPv4 connections. This is the default, regardless of the system setting.";
    "v6only" BIND, switch, "bind [::]:8080 v6only",
        "An IPv6 listener accepts no IPv4 connections, so that another listener can use the same port for IPv4.";
};
