//! Accepts settings of HAProxy's internals: polling, splicing, memory pools, scheduling and
//! sharding. Clients see no effect of these settings in HAProxy either. Each is checked and
//! accepted, and its documentation says why it has no effect here. A line that limits something
//! unlimited here causes one warning.

use super::places::GLOBAL;
use super::{Args, Built, LineRow};
use crate::family::Loader;
use language::Diagnostic;
use language::value::TimeUnit;
use model::codes;

const IDLE_TIMER_MAX_MS: u32 = 65_535;

fn alone(_: &mut Loader, args: &mut Args<'_>) -> Built {
    args.end()
}

fn number(_: &mut Loader, args: &mut Args<'_>) -> Built {
    args.integer("a number", i64::from(i32::MIN)..=i64::from(i32::MAX))?;
    args.warn_of_surplus()
}

fn size(_: &mut Loader, args: &mut Args<'_>) -> Built {
    args.size("a size")?;
    args.warn_of_surplus()
}

fn time(_: &mut Loader, args: &mut Args<'_>) -> Built {
    let word = args.peek();
    let ms = args.time_ms(TimeUnit::Milliseconds)?;
    match word {
        Some(word) if args.keyword == "tune.idletimer" && ms > IDLE_TIMER_MAX_MS => Err(args
            .word_error(
                &codes::OUT_OF_RANGE,
                word,
                "'tune.idletimer' expects a timer value between 0 and 65535 ms.",
            )),
        _ => args.warn_of_surplus(),
    }
}

fn word_of(args: &mut Args<'_>, words: &[&'static str]) -> Built {
    let word = args.required(&words.join(" or "))?;
    if !words.contains(&word.str()) {
        return Err(super::value::unknown_choice_error(args, word, words));
    }
    args.warn_of_surplus()
}

fn on_off(_: &mut Loader, args: &mut Args<'_>) -> Built {
    word_of(args, &["off", "on"])
}

fn auto_on_off(_: &mut Loader, args: &mut Args<'_>) -> Built {
    word_of(args, &["auto", "off", "on"])
}

fn shared_queue(_: &mut Loader, args: &mut Args<'_>) -> Built {
    word_of(args, &["fair", "off", "on"])
}

fn shards(_: &mut Loader, args: &mut Args<'_>) -> Built {
    word_of(args, &["by-group", "by-process", "by-thread"])
}

/// Warns that a setting of HAProxy's internal HTTP client has no effect.
fn no_client(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let keyword = args.keyword;
    let word = args.required("a value")?;
    let words = ["none", "required"];
    if keyword == "httpclient.ssl.verify" && !words.contains(&word.str()) {
        return Err(super::value::unknown_choice_error(args, word, &words));
    }
    let told = Diagnostic::warning(
        &codes::NO_EFFECT,
        args.keyword_span(),
        format!("'{keyword}' has no effect"),
    );
    loader.report(told.label("not used in Evenkeel"));
    args.warn_of_surplus()
}

fn ocsp_mode(_: &mut Loader, args: &mut Args<'_>) -> Built {
    let word = args.required("on or off")?;
    match word.str() {
        "off" => args.end(),
        "on" => Err(super::proxy::unsupported_word(word, "ocsp-update.mode on")),
        _ => Err(super::value::unknown_choice_error(
            args,
            word,
            &["off", "on"],
        )),
    }
}

fn security_level(_: &mut Loader, args: &mut Args<'_>) -> Built {
    /// Highest supported security level, in OpenSSL's numbers.
    const HERE: i64 = 2;
    let word = args.peek();
    let level = args.integer("a level", 0..=5)?;
    match word {
        Some(word) if level > HERE => {
            let name = format!("ssl-security-level {level}");
            Err(super::proxy::unsupported_word(word, &name))
        }
        _ => args.end(),
    }
}

fn failing_allocations(_: &mut Loader, args: &mut Args<'_>) -> Built {
    let word = args.peek();
    let percent = args.integer("a percentage", 0..=100)?;
    match word {
        Some(word) if percent > 0 => {
            let name = format!("tune.fail-alloc {percent}");
            Err(super::proxy::unsupported_word(word, &name))
        }
        _ => args.warn_of_surplus(),
    }
}

fn provider(_: &mut Loader, args: &mut Args<'_>) -> Built {
    let word = args.required("a name")?;
    match word.str() {
        "base" | "default" => args.end(),
        other => Err(super::proxy::unsupported_word(
            word,
            &format!("ssl-provider {other}"),
        )),
    }
}

fn value(_: &mut Loader, args: &mut Args<'_>) -> Built {
    args.required("a value")?;
    args.rest();
    Ok(())
}

fn gone(_: &mut Loader, args: &mut Args<'_>) -> Built {
    let told = Diagnostic::warning(
        &codes::LEGACY,
        args.line().span,
        "'tune.chksize' is obsolete",
    )
    .label("removed from HAProxy")
    .note("checks use buffers of `tune.bufsize`")
    .help("remove the line")
    .fix(args.line().span, "");
    args.add_warning(told);
    args.integer("a number", 0..=i64::from(i32::MAX))?;
    args.warn_of_surplus()
}

/// Accepts `tune.buffers.limit`, and warns that a limit has no effect: memory is bounded in another
/// way.
fn buffers(_: &mut Loader, args: &mut Args<'_>) -> Built {
    let word = args.peek();
    let number = args.integer("a number", i64::from(i32::MIN)..=i64::from(i32::MAX))?;
    if let Some(word) = word.filter(|_| number > 0) {
        args.add_warning(
            Diagnostic::warning(
                &codes::NO_EFFECT,
                word.span,
                "'tune.buffers.limit' has no effect",
            )
            .label("streams do not wait for buffers")
            .note("an idle connection has no buffer, a busy one has at most two")
            .help("limit the memory with `maxconn` and `tune.bufsize`, or with `-m`"),
        );
    }
    args.warn_of_surplus()
}

fn thread_group(_: &mut Loader, args: &mut Args<'_>) -> Built {
    args.count("the number of a group", 1..=super::global::THREADS_MAX)?;
    for set in args.rest() {
        let numbers = set.str().split('-');
        let ok = numbers.clone().count() <= 2
            && numbers
                .clone()
                .all(|n| n.parse::<u16>().is_ok_and(|n| n > 0));
        if !ok {
            let told = format!("'thread-group': '{}' is not a range of threads", set.text());
            return Err(args.word_error(&codes::BAD_VALUE, set, told));
        }
    }
    Ok(())
}

fn thread_groups(_: &mut Loader, args: &mut Args<'_>) -> Built {
    args.count("a number of groups", 1..=super::global::THREADS_MAX)?;
    args.end()
}

fn reloads(_: &mut Loader, args: &mut Args<'_>) -> Built {
    args.integer("a number", 0..=i64::from(i32::MAX))?;
    args.end()
}

macro_rules! hints {
    ($($name:literal, $arguments:literal, $example:literal, $build:expr, $doc:literal;)*) => {
        pub static LINES: &[LineRow] = &[$(LineRow {
            places: GLOBAL,
            syntax: concat!($name, $arguments),
            doc: $doc,
            example: concat!($name, $example),
            build: $build,
        }),*];
    };
}

hints! {
    "noepoll", "", "", alone,
        "In HAProxy, disables epoll. Evenkeel only has epoll, so the line has no effect.";
    "nopoll", "", "", alone,
        "In HAProxy, disables poll. Evenkeel does not use it, so the line has no effect.";
    "noevports", "", "", alone,
        "In HAProxy, disables the event ports of Solaris. Evenkeel only runs on Linux.";
    "nokqueue", "", "", alone,
        "In HAProxy, disables kqueue on BSD. Evenkeel only runs on Linux, so the line has no effect.";
    "nogetaddrinfo", "", "", alone,
        "In HAProxy, disables getaddrinfo. Evenkeel always uses one resolver function, which supports IPv4 and IPv6.";
    "noktls", "", "", alone,
        "In HAProxy, disables TLS encryption in the kernel. Evenkeel never uses it.";
    "no-memory-trimming", "", "", alone,
        "In HAProxy, keeps free memory while an old process ends after a reload. In Evenkeel a reload leaves no old \
         process behind.";
    "busy-polling", "", "", alone,
        "In HAProxy, threads poll without sleeping, which saves microseconds and uses whole processors. Evenkeel's \
         threads sleep when idle; the line has no effect.";
    "prealloc-fd", "", "", alone,
        "In HAProxy, opens the highest descriptor at the start, so that the kernel enlarges its table early. In \
         Evenkeel the table grows on demand.";
    "insecure-setuid-wanted", "", "", alone,
        "In HAProxy, lets child programs gain the rights of setuid files. In Evenkeel neither the proxy nor external \
         checks can gain any.";
    "mworker-max-reloads", " <number>", " 3", reloads,
        "In HAProxy, the number of reloads after which an old worker is killed. In Evenkeel a reload starts no new \
         process, and connections continue under their version. `hard-stop-after` limits the old process after an \
         upgrade.";
    "httpclient.retries", " <number>", " 3", no_client,
        "In HAProxy, the retries of the HTTP client for Lua. Evenkeel has no such client; a warning reports it.";
    "httpclient.ssl.ca-file", " <file>", " @system-ca", no_client,
        "In HAProxy, the CA file of the HTTP client for Lua. Evenkeel has no such client; a warning reports it.";
    "httpclient.ssl.verify", " { none | required }", " required", no_client,
        "In HAProxy, sets whether the HTTP client for Lua verifies servers. Evenkeel has no such client; a warning \
         reports it.";
    "httpclient.timeout.connect", " <time>", " 5s", no_client,
        "In HAProxy, the connect timeout of the HTTP client for Lua. Evenkeel has no such client; a warning reports \
         it.";
    "ocsp-update.disable", " { on | off }", " on", on_off,
        "In HAProxy, disables the OCSP updates of certificates. Evenkeel does not fetch OCSP responses: it staples \
         those in files or from `set ssl ocsp-response`.";
    "ocsp-update.mode", " { on | off }", " off", ocsp_mode,
        "In HAProxy, enables OCSP updates for all certificates. Not supported, so only `off` is accepted.";
    "ocsp-update.mindelay", " <seconds>", " 300", number,
        "In HAProxy, the minimum interval of OCSP updates with `ocsp-update on`, which is not supported.";
    "ocsp-update.maxdelay", " <seconds>", " 3600", number,
        "In HAProxy, the maximum interval of OCSP updates with `ocsp-update on`, which is not supported.";
    "ocsp-update.httpproxy", " <address>[:<port>]", " 192.0.2.1:3128", value,
        "In HAProxy, the HTTP proxy for OCSP updates with `ocsp-update on`, which is not supported.";
    "tune.ssl.ocsp-update.mindelay", " <seconds>", " 300", number,
        "Obsolete name of `ocsp-update.mindelay`, which is not supported.";
    "tune.ssl.ocsp-update.maxdelay", " <seconds>", " 3600", number,
        "Obsolete name of `ocsp-update.maxdelay`, which is not supported.";
    "ssl-engine", " <name> [algo <list>]", " rdrand", value,
        "In HAProxy, selects an OpenSSL engine. Evenkeel does not use OpenSSL, and uses the processor's instructions \
         directly.";
    "ssl-mode-async", "", "", alone,
        "In HAProxy, enables asynchronous OpenSSL engines. Evenkeel does not use OpenSSL.";
    "ssl-provider", " <name>", " default", provider,
        "In HAProxy, loads an OpenSSL provider. Evenkeel does not use OpenSSL: `default` and `base` are accepted, \
         others (`legacy`, `fips`) are not supported.";
    "ssl-provider-path", " <directory>", " /usr/lib/ossl-modules", value,
        "In HAProxy, the directory of OpenSSL's providers. Evenkeel does not use OpenSSL.";
    "ssl-security-level", " <level>", " 2", security_level,
        "In HAProxy, OpenSSL's security level. Evenkeel always meets level 2, so levels up to 2 are accepted without \
         effect.";
    "tune.cli.max-payload-size", " <size>", " 128k", size,
        "In HAProxy, the maximum payload of a command on a statistics socket. Evenkeel always allows 4 MiB.";
    "thread-group", " <group> [<first>[-<last>] …]", " 1 1-2", thread_group,
        "In HAProxy, assigns threads to a group. Evenkeel has no thread groups; it only checks the numbers.";
    "thread-groups", " <number>", " 1", thread_groups,
        "In HAProxy, the number of thread groups. Evenkeel has none: every thread serves every listener.";
    "max-threads-per-group", " <number>", " 16", thread_groups,
        "In HAProxy, the number of threads per group. Evenkeel has no thread groups.";
    "profiling.tasks", " { auto | on | off }", " auto", auto_on_off,
        "In HAProxy, measures the run time of tasks for `show profiling`. Evenkeel does not measure it; use `perf`.";
    "profiling.memory", " { on | off }", " off", on_off,
        "In HAProxy, counts memory allocations for `show profiling`. Evenkeel does not count them.";
    "cluster-secret", " <secret>", " xyzzy", |_, args| { args.required("a secret")?; args.warn_of_surplus() },
        "In HAProxy, the secret for QUIC tokens and ids that several hosts share. Evenkeel does not support QUIC.";
    "no-quic", "", "", alone,
        "In HAProxy, disables QUIC listeners. Evenkeel refuses such `bind` lines as not supported.";
    "limited-quic", "", "", alone,
        "In HAProxy, enables QUIC with an OpenSSL that lacks its functions. Evenkeel does not support QUIC.";
    "h1-do-not-close-on-insecure-transfer-encoding", "", "", alone,
        "In HAProxy, keeps HTTP/1 connections whose messages have both a length and a transfer encoding. Evenkeel \
         always closes such a connection after the message; the line has no effect.";
    "tune.applet.zero-copy-forwarding", " { on | off }", " on", on_off,
        "In HAProxy, zero-copy forwarding of internal services. No effect in Evenkeel.";
    "tune.disable-fast-forward", "", "", alone,
        "In HAProxy, disables fast forwarding of bodies. No effect in Evenkeel.";
    "tune.disable-zero-copy-forwarding", "", "", alone,
        "In HAProxy, disables zero-copy forwarding of bodies. No effect in Evenkeel.";
    "tune.h1.zero-copy-fwd-recv", " { on | off }", " on", on_off,
        "In HAProxy, zero-copy receiving of HTTP/1. No effect in Evenkeel.";
    "tune.h1.zero-copy-fwd-send", " { on | off }", " on", on_off,
        "In HAProxy, zero-copy sending of HTTP/1. No effect in Evenkeel.";
    "tune.h2.zero-copy-fwd-send", " { on | off }", " on", on_off,
        "In HAProxy, zero-copy sending of HTTP/2. No effect in Evenkeel.";
    "tune.pt.zero-copy-forwarding", " { on | off }", " on", on_off,
        "In HAProxy, zero-copy forwarding of tunnels. No effect in Evenkeel.";
    "tune.buffers.limit", " <number>", " 0", buffers,
        "In HAProxy, the maximum number of buffers, for which streams then wait. In Evenkeel an idle connection has \
         no buffer and a busy one has two, so `maxconn` is the limit. A number other than 0 causes a warning.";
    "tune.buffers.reserve", " <number>", " 2", number,
        "In HAProxy, reserves buffers for times of memory shortage. Evenkeel reserves none.";
    "tune.bufsize.small", " <size>", " 1024", size,
        "In HAProxy, the size of small buffers for waiting data. In Evenkeel waiting data has no buffer.";
    "tune.chksize", " <bytes>", " 16384", gone,
        "In HAProxy 1.x and 2.x, the buffer size of health checks. They now use `tune.bufsize`; the line causes a \
         warning.";
    "tune.defaults.purge", "", "", alone,
        "In HAProxy, drops unused `defaults` sections after the load. Evenkeel always does so.";
    "tune.epoll.mask-events", " <event>[,<event>…]", " rdhup", |_, args| { args.required("events")?; args.warn_of_surplus() },
        "In HAProxy, ignores some epoll events, for debugging. Evenkeel ignores none.";
    "tune.events.max-events-at-once", " <number>", " 100", number,
        "In HAProxy, the number of applet events per call. Evenkeel has no applets.";
    "tune.fail-alloc", " <percentage>", " 0", failing_allocations,
        "In HAProxy, the percentage of memory allocations that fail on purpose, for developers. Evenkeel has no such \
         fault injection, so only 0 is accepted.";
    "tune.fd.edge-triggered", " { on | off }", " on", on_off,
        "In HAProxy, selects edge-triggered epoll. Evenkeel always uses it.";
    "tune.h2.be.max-frames-at-once", " <number>", " 0", number,
        "In HAProxy, the number of server frames per call. In Evenkeel every task has a budget of operations.";
    "tune.h2.fe.max-frames-at-once", " <number>", " 0", number,
        "In HAProxy, the number of client frames per call. In Evenkeel every task has a budget of operations.";
    "tune.h2.fe.max-rst-at-once", " <number>", " 0", number,
        "In HAProxy, the number of client resets per call. In Evenkeel a flood of resets ends the connection.";
    "tune.idletimer", " <time>", " 1000", time,
        "In HAProxy, the idle time after which small packets are sent first, which affects splicing and TLS record \
         sizes. In Evenkeel `tune.ssl.maxrecord` counts from the beginning of a transfer.";
    "tune.listener.default-shards", " { by-process | by-thread | by-group }", " by-process", shards,
        "In HAProxy, the number of sockets for a listener. Evenkeel always uses one.";
    "tune.listener.multi-queue", " { on | fair | off }", " on", shared_queue,
        "In HAProxy, distributes accepted connections to other threads. In Evenkeel the threads share one socket, and \
         the least busy one accepts.";
    "tune.max-rules-at-once", " <number>", " 0", number,
        "In HAProxy, the number of rules after which other tasks run. Evenkeel evaluates the rules of a request \
         without a break.";
    "tune.maxpollevents", " <number>", " 200", number,
        "In HAProxy, the number of kernel events per call. Evenkeel reads 64 at a time, for better use of the caches.";
    "tune.memory.hot-size", " <bytes>", " 524288", size,
        "In HAProxy, the free memory that each thread keeps. Evenkeel has its own limits.";
    "tune.pattern.cache-size", " <number>", " 10000", number,
        "In HAProxy, the size of the cache for slow pattern lookups. Evenkeel searches lists and maps without such a \
         cache.";
    "tune.pipesize", " <size>", " 65536", size,
        "In HAProxy, the size of pipes for splicing. Evenkeel requests 256 KiB from the kernel, and accepts less.";
    "tune.recv_enough", " <bytes>", " 10136", number,
        "In HAProxy, the number of bytes after which reading pauses. In Evenkeel a short read ends it.";
    "tune.ring.queues", " <number>", " 2", number,
        "In HAProxy, the number of queues for writing into a ring. In Evenkeel threads produce the lines and one \
         thread delivers them.";
    "tune.runqueue-depth", " <number>", " 200", number,
        "In HAProxy, the number of tasks between two polls for events. Evenkeel runs up to 128.";
    "tune.sched.low-latency", " { on | off }", " on", on_off,
        "In HAProxy, lets small transfers run before large ones. In Evenkeel every task has a budget of operations, \
         with the same result.";
    "tune.ssl.force-private-cache", "", "", alone,
        "In HAProxy, gives each process its own TLS session cache. Evenkeel has one process.";
    "tune.takeover-other-tg-connections", " { none | restricted | full }", " restricted",
        |_, args| word_of(args, &["full", "none", "restricted"]),
        "In HAProxy, shares idle connections between thread groups. Evenkeel has no thread groups.";
}

#[cfg(test)]
mod tests {
    use crate::testing::load_text;

    #[test]
    fn what_cannot_be_meant_is_refused_all_the_same() {
        for (line, wanted) in [
            ("noepoll", ""),
            ("noepoll x", "E0202"),
            ("tune.maxpollevents", "E0201"),
            ("tune.sched.low-latency maybe", "E0207"),
            ("tune.idletimer 10s", ""),
            ("tune.idletimer 70s", "E0204"),
            ("tune.buffers.limit 0", ""),
            ("tune.buffers.limit 100", "W0116"),
            ("tune.fail-alloc 0", ""),
            ("tune.fail-alloc 10", "E0103"),
            ("tune.fail-alloc 101", "E0204"),
            ("thread-groups 0", "E0204"),
            ("thread-group 1 1-4 5", ""),
            ("thread-group 1 a-b", "E0207"),
            ("mworker-max-reloads -1", "E0204"),
            ("no busy-polling", ""),
        ] {
            let loaded = load_text(&format!("global\n {line}\n"));
            let whole = ["W0101", "W0102", "W0103", "E0110"];
            let mut codes = loaded.diagnostics.iter().map(|told| told.code.id);
            let found = codes.find(|code| !whole.contains(code));
            assert_eq!(found.unwrap_or_default(), wanted, "{line}");
        }
    }
}
