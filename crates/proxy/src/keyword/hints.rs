//! Hints for the machinery of HAProxy: how it polls, splices, pools memory, schedules and
//! shards. Their effect on what clients see is nil there, too; here each is checked and
//! taken, and its words say why there is nothing for it to act on. A line that limits
//! something which is not limited here warns once.

use super::global::row;
use super::{Args, Built, LineRow};
use crate::load::{Loader, codes};
use language::Diagnostic;
use language::value::TimeUnit;

/// The longest `tune.idletimer`, milliseconds.
const IDLE_TIMER_MAX_MS: u32 = 65_535;

fn alone(_: &mut Loader, args: &mut Args<'_>) -> Built {
    args.end()
}

fn no_pipes(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    loader.config.global.pipes_max = Some(0);
    args.end()
}

fn number(_: &mut Loader, args: &mut Args<'_>) -> Built {
    args.integer("a number", i64::from(i32::MIN)..=i64::from(i32::MAX))?;
    args.surplus()
}

fn size(_: &mut Loader, args: &mut Args<'_>) -> Built {
    args.size("a size")?;
    args.surplus()
}

fn time(_: &mut Loader, args: &mut Args<'_>) -> Built {
    let word = args.peek();
    let ms = args.time_ms(TimeUnit::Milliseconds)?;
    match word {
        Some(word) if args.keyword == "tune.idletimer" && ms > IDLE_TIMER_MAX_MS => Err(args
            .wrong(
                &codes::OUT_OF_RANGE,
                word,
                "'tune.idletimer' expects a timer value between 0 and 65535 ms.",
            )),
        _ => args.surplus(),
    }
}

fn word_of(args: &mut Args<'_>, words: &[&'static str]) -> Built {
    let word = args.required(&words.join(" or "))?;
    if !words.contains(&word.str()) {
        return Err(super::proxy::not_one_of(args, word, words));
    }
    args.surplus()
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

/// What only a client for HTTP would use, which HAProxy has for its scripts.
fn no_client(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let keyword = args.keyword;
    let word = args.required("a value")?;
    let words = ["none", "required"];
    if keyword == "httpclient.ssl.verify" && !words.contains(&word.str()) {
        return Err(super::proxy::not_one_of(args, word, &words));
    }
    let told = Diagnostic::warning(
        &codes::NO_EFFECT,
        args.keyword_span(),
        format!("'{keyword}' has no effect"),
    );
    loader.tell(told.label("nothing here uses it"));
    args.surplus()
}

/// `ocsp-update.mode`
fn ocsp_mode(_: &mut Loader, args: &mut Args<'_>) -> Built {
    let word = args.required("on or off")?;
    match word.str() {
        "off" => args.end(),
        "on" => Err(super::proxy::not_built(word, "ocsp-update.mode on")),
        _ => Err(super::proxy::not_one_of(args, word, &["off", "on"])),
    }
}

/// `ssl-security-level`
fn security_level(_: &mut Loader, args: &mut Args<'_>) -> Built {
    /// What is offered at most as OpenSSL counts.
    const HERE: i64 = 2;
    let word = args.peek();
    let level = args.integer("a level", 0..=5)?;
    match word {
        Some(word) if level > HERE => {
            let name = format!("ssl-security-level {level}");
            Err(super::proxy::not_built(word, &name))
        }
        _ => args.end(),
    }
}

/// `ssl-provider`
fn provider(_: &mut Loader, args: &mut Args<'_>) -> Built {
    let word = args.required("a name")?;
    match word.str() {
        "base" | "default" => args.end(),
        other => Err(super::proxy::not_built(
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
        "'tune.chksize' is not needed any more",
    )
    .label("HAProxy no longer knows this")
    .note("checks have buffers of `tune.bufsize`, as everything has")
    .help("remove the line")
    .fix(args.line().span, "");
    args.tell(told);
    args.integer("a number", 0..=i64::from(i32::MAX))?;
    args.surplus()
}

/// A limit that would spare memory where there is a bound of another kind.
fn buffers(_: &mut Loader, args: &mut Args<'_>) -> Built {
    let word = args.peek();
    let number = args.integer("a number", i64::from(i32::MIN)..=i64::from(i32::MAX))?;
    if let Some(word) = word.filter(|_| number > 0) {
        args.tell(
            Diagnostic::warning(
                &codes::NO_EFFECT,
                word.span,
                "'tune.buffers.limit' limits nothing here",
            )
            .label("streams do not wait for buffers")
            .note("an idle connection has no buffer, and a busy one two at most")
            .help("bound the memory by `maxconn` and `tune.bufsize`, or by `-m`"),
        );
    }
    args.surplus()
}

/// `thread-group <group> [<threads>…]`
fn thread_group(_: &mut Loader, args: &mut Args<'_>) -> Built {
    args.count("the number of a group", 1..=super::global::THREADS_MAX)?;
    for set in args.rest() {
        let numbers = set.str().split('-');
        let ok = numbers.clone().count() <= 2
            && numbers
                .clone()
                .all(|n| n.parse::<u16>().is_ok_and(|n| n > 0));
        if !ok {
            let told = format!("'thread-group': '{}' is no range of threads", set.text());
            return Err(args.wrong(&codes::BAD_VALUE, set, told));
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
        /// The table.
        pub static LINES: &[LineRow] = &[$(row($name, concat!($name, $arguments), concat!($name, $example), $build, $doc)),*];
    };
}

hints! {
    "noepoll", "", "", alone,
        "Forbids HAProxy epoll. Evenkeel has one way to wait for sockets, which is epoll: the line is taken and changes nothing.";
    "nopoll", "", "", alone,
        "Forbids HAProxy poll, which is not used here: the line is taken and changes nothing.";
    "noevports", "", "", alone,
        "Forbids HAProxy the event ports of Solaris, where this does not run.";
    "nokqueue", "", "", alone,
        "Forbids HAProxy to use kqueue. That is of BSD; Linux has none, so the line changes nothing.";
    "nosplice", "", "", no_pipes,
        "Forbids to move bytes between sockets inside the kernel: they are always copied through buffers. See `option splice-auto`.";
    "nogetaddrinfo", "", "", alone,
        "Has HAProxy look names up by an older function of the system. Here the system is asked in one way, which knows IPv4 and IPv6.";
    "noktls", "", "", alone,
        "Forbids HAProxy to leave encryption to the kernel. Here it never is, as with this line.";
    "no-memory-trimming", "", "", alone,
        "HAProxy does not give free memory back to the system while it ends after a reload. Here a reload leaves no process behind.";
    "busy-polling", "", "", alone,
        "HAProxy's threads never sleep, which saves microseconds and costs whole processors. Evenkeel's threads sleep while there is nothing \
         to do: the line is taken and changes nothing.";
    "prealloc-fd", "", "", alone,
        "HAProxy opens its highest descriptor at once, so that the kernel makes its table large before there are threads. The table grows by itself here.";
    "insecure-setuid-wanted", "", "", alone,
        "Lets programs that HAProxy starts gain the rights of setuid files. Here neither what serves nor a program of external checks can gain any.";
    "mworker-max-reloads", " <number>", " 3", reloads,
        "How many reloads a worker of HAProxy may survive before it is killed. A reload starts no new process here: connections go on under the \
         version that they began with, and `hard-stop-after` bounds what an upgrade of the program leaves behind.";
    "httpclient.retries", " <number>", " 3", no_client,
        "How often the client for HTTP that HAProxy has for its scripts tries again. Evenkeel has no such client; a warning says so.";
    "httpclient.ssl.ca-file", " <file>", " @system-ca", no_client,
        "Whom the client for HTTP of HAProxy's scripts believes. Evenkeel has no such client; a warning says so.";
    "httpclient.ssl.verify", " { none | required }", " required", no_client,
        "Whether the client for HTTP of HAProxy's scripts verifies servers. Evenkeel has no such client; a warning says so.";
    "httpclient.timeout.connect", " <time>", " 5s", no_client,
        "How long the client for HTTP of HAProxy's scripts waits for a connection. Evenkeel has no such client; a warning says so.";
    "ocsp-update.disable", " { on | off }", " on", on_off,
        "Forbids HAProxy to fetch OCSP answers for its certificates. They are not fetched here: what stands beside a certificate, or what \
         `set ssl ocsp-response` brings, is stapled.";
    "ocsp-update.mode", " { on | off }", " off", ocsp_mode,
        "Whether HAProxy fetches OCSP answers for all its certificates by itself. That is not built yet, so only `off` is taken.";
    "ocsp-update.mindelay", " <seconds>", " 300", number,
        "How often HAProxy fetches an OCSP answer at most, where a certificate has `ocsp-update on`, which is not built yet.";
    "ocsp-update.maxdelay", " <seconds>", " 3600", number,
        "How often HAProxy fetches an OCSP answer at least, where a certificate has `ocsp-update on`, which is not built yet.";
    "ocsp-update.httpproxy", " <address>[:<port>]", " 192.0.2.1:3128", value,
        "Through which proxy HAProxy fetches OCSP answers, where a certificate has `ocsp-update on`, which is not built yet.";
    "tune.ssl.ocsp-update.mindelay", " <seconds>", " 300", number,
        "The older name of `ocsp-update.mindelay`.";
    "tune.ssl.ocsp-update.maxdelay", " <seconds>", " 3600", number,
        "The older name of `ocsp-update.maxdelay`.";
    "ssl-engine", " <name> [algo <list>]", " rdrand", value,
        "Which engine does the arithmetic of OpenSSL. TLS is not OpenSSL's here, and uses what the processor has for it.";
    "ssl-mode-async", "", "", alone,
        "Lets engines of OpenSSL work beside HAProxy. TLS is not OpenSSL's here.";
    "ssl-provider", " <name>", " default", provider,
        "Which provider of OpenSSL is loaded. TLS is not OpenSSL's here: `default` and `base` are taken, others (`legacy`, `fips`) are not built.";
    "ssl-provider-path", " <directory>", " /usr/lib/ossl-modules", value,
        "Where OpenSSL's providers are. TLS is not OpenSSL's here.";
    "ssl-security-level", " <level>", " 2", security_level,
        "What OpenSSL refuses as weak. What is done here is that of level 2 at least, so levels up to 2 are taken and change nothing.";
    "tune.cli.max-payload-size", " <size>", " 128k", size,
        "How long the payload of a command on a statistics socket of HAProxy may be. It may have 4 MiB here.";
    "thread-group", " <group> [<first>[-<last>] …]", " 1 1-2", thread_group,
        "Which threads form a group, within which HAProxy shares. Threads are not grouped here; the numbers are checked.";
    "thread-groups", " <number>", " 1", thread_groups,
        "How many groups HAProxy's threads form. They are not grouped here: every thread serves every listener.";
    "max-threads-per-group", " <number>", " 16", thread_groups,
        "How many of HAProxy's threads are in one group. They are not grouped here.";
    "profiling.tasks", " { auto | on | off }", " auto", auto_on_off,
        "Whether HAProxy measures how long its tasks run, for `show profiling`. Nothing is measured here: `perf` shows more, without a switch.";
    "profiling.memory", " { on | off }", " off", on_off,
        "Whether HAProxy counts what is allocated where, for `show profiling`. Nothing is counted here.";
    "cluster-secret", " <secret>", " xyzzy", |_, args| { args.required("a secret")?; args.surplus() },
        "What HAProxy derives the tokens and ids of QUIC from, for several hosts alike. There is no QUIC here that needs it.";
    "no-quic", "", "", alone,
        "Has HAProxy open no listener of QUIC. Such `bind` lines are refused here, as not built yet.";
    "limited-quic", "", "", alone,
        "Lets HAProxy speak QUIC with an OpenSSL that has no functions for it. There is no QUIC here yet.";
    "h1-do-not-close-on-insecure-transfer-encoding", "", "", alone,
        "HAProxy keeps HTTP/1 connections with both a length and a transfer encoding. Evenkeel does not, whatever this says: the line is taken and the \
         connection closed behind such a message.";
    "tune.applet.zero-copy-forwarding", " { on | off }", " on", on_off,
        "Whether HAProxy's inner services write without a copy. It makes no difference here.";
    "tune.disable-fast-forward", "", "", alone,
        "Has HAProxy pass bodies on without its short cut. There is no switch here.";
    "tune.disable-zero-copy-forwarding", "", "", alone,
        "Has HAProxy copy bodies once more. There is no switch here.";
    "tune.h1.zero-copy-fwd-recv", " { on | off }", " on", on_off,
        "Whether HAProxy saves a copy of what HTTP/1 receives. It makes no difference here.";
    "tune.h1.zero-copy-fwd-send", " { on | off }", " on", on_off,
        "Whether HAProxy saves a copy of what HTTP/1 sends. It makes no difference here.";
    "tune.h2.zero-copy-fwd-send", " { on | off }", " on", on_off,
        "Whether HAProxy saves a copy of what HTTP/2 sends. It makes no difference here.";
    "tune.pt.zero-copy-forwarding", " { on | off }", " on", on_off,
        "Whether HAProxy saves a copy in tunnels. It makes no difference here.";
    "tune.buffers.limit", " <number>", " 0", buffers,
        "How many buffers HAProxy has at most; streams wait for one. Here an idle connection has no buffer and a busy one has two, so that `maxconn` is \
         the bound; a number other than 0 gives a warning.";
    "tune.buffers.reserve", " <number>", " 2", number,
        "How many buffers HAProxy keeps for times without memory. None are kept here.";
    "tune.bufsize.small", " <size>", " 1024", size,
        "The size of the small buffers that HAProxy has for what waits. What waits has no buffer here.";
    "tune.chksize", " <bytes>", " 16384", gone,
        "The size of the buffers of checks, in HAProxy 1.x and 2.x. They are of `tune.bufsize` now; the line warns.";
    "tune.defaults.purge", "", "", alone,
        "Has HAProxy forget `defaults` sections that nothing uses. They are always forgotten here once the file is read.";
    "tune.epoll.mask-events", " <event>[,<event>…]", " rdhup", |_, args| { args.required("events")?; args.surplus() },
        "Which events of epoll HAProxy ignores, for the hunt of faults. None are ignored here.";
    "tune.events.max-events-at-once", " <number>", " 100", number,
        "How many of its inner events HAProxy handles in one go. There are none here.";
    "tune.fd.edge-triggered", " { on | off }", " on", on_off,
        "Whether HAProxy has the kernel report changes only. That is always so here.";
    "tune.h2.be.max-frames-at-once", " <number>", " 0", number,
        "How many frames of a server HAProxy handles in one go. Here every task has a budget of operations.";
    "tune.h2.fe.max-frames-at-once", " <number>", " 0", number,
        "How many frames of a client HAProxy handles in one go. Here every task has a budget of operations.";
    "tune.h2.fe.max-rst-at-once", " <number>", " 0", number,
        "How many resets of a client HAProxy handles in one go. Here a flood of them ends the connection.";
    "tune.idletimer", " <time>", " 1000", time,
        "After how long a silence HAProxy sends small packets first. It steers splicing and the size of TLS records there; `tune.ssl.maxrecord` counts \
         from the beginning of a transfer here.";
    "tune.listener.default-shards", " { by-process | by-thread | by-group }", " by-process", shards,
        "How many sockets HAProxy opens for a listener. There is one here, whatever the number of threads.";
    "tune.listener.multi-queue", " { on | fair | off }", " on", shared_queue,
        "Whether HAProxy hands accepted connections to other threads. Here the threads share one socket, and who is least busy takes from it.";
    "tune.max-rules-at-once", " <number>", " 0", number,
        "After how many rules HAProxy lets others run. A request's rules run through here.";
    "tune.maxpollevents", " <number>", " 200", number,
        "How many events HAProxy takes from the kernel in one go. Evenkeel takes 64, which keeps what is touched in the processor's caches.";
    "tune.memory.hot-size", " <bytes>", " 524288", size,
        "How much free memory each of HAProxy's threads keeps for itself. What is kept here has bounds of its own.";
    "tune.pattern.cache-size", " <number>", " 10000", number,
        "How many results of slow searches in lists HAProxy remembers. Lists and maps are searched without such a memory here.";
    "tune.pipesize", " <size>", " 65536", size,
        "The size of the pipes that HAProxy splices through. Evenkeel asks the kernel for 256 KiB each, and takes what it gets.";
    "tune.recv_enough", " <bytes>", " 10136", number,
        "From how many bytes on HAProxy reads no further in one go. A short read ends it here.";
    "tune.ring.queues", " <number>", " 2", number,
        "Through how many queues HAProxy's threads write into a ring. Lines are made by their threads and delivered by one here.";
    "tune.runqueue-depth", " <number>", " 200", number,
        "How many tasks HAProxy runs before it looks for events. Evenkeel runs up to 128.";
    "tune.sched.low-latency", " { on | off }", " on", on_off,
        "Whether HAProxy's scheduler lets large transfers wait for small ones. Here every task has a budget of operations, which does that.";
    "tune.ssl.force-private-cache", "", "", alone,
        "Has HAProxy's processes remember TLS sessions each for itself. There is one process.";
    "tune.takeover-other-tg-connections", " { none | restricted | full }", " restricted",
        |_, args| word_of(args, &["full", "none", "restricted"]),
        "Whether HAProxy takes idle connections of another group of threads. They are not grouped here.";
}

#[cfg(test)]
mod tests {
    use crate::keyword::testing::load_text;

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
