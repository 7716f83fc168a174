//! The `global` section: how the process runs, as whom, and how much it takes.
//! `maxconn` and `description` stand with the proxies' keywords of that name.

use super::bind_option::octal;
use super::places::GLOBAL;
use super::{Args, Built, LineRow, account};
use crate::config::{BindOwner, CloseSpread, Watch};
use crate::load::{DefaultPath, Loader, Section, codes};
use language::Diagnostic;
use language::value::TimeUnit;
use std::path::PathBuf;

/// Most threads of the data plane that may be asked for.
pub(super) const THREADS_MAX: u32 = 64;

/// The warning for a setting that `global` has already; the first one counts.
pub(super) fn already(loader: &mut Loader, args: &Args<'_>) {
    let told = format!("'{}' already specified, this line is ignored", args.keyword);
    loader.tell(
        Diagnostic::warning(&codes::OVERWRITTEN, args.line().span, told)
            .label("the first one counts")
            .help("remove one of the two lines"),
    );
}

fn switch(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let on = !(args.negated || args.reset);
    let global = &mut loader.config.global;
    match args.keyword {
        "daemon" => global.daemon = true,
        "quiet" => global.quiet = true,
        "zero-warning" => global.zero_warning = true,
        "set-dumpable" => global.dumpable = on,
        // `default` is what nothing said: on.
        "strict-limits" => global.strict_limits = Some(!args.negated),
        "numa-cpu-mapping" => {
            global.numa_mapping = !args.negated;
            return args.surplus();
        }
        _ => {}
    }
    args.end()
}

fn master_worker(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    loader.config.global.master_worker = true;
    // What serves is started again when it dies, with or without this word.
    if let Some(word) = args.next()
        && word.str() != "no-exit-on-failure"
    {
        return Err(super::proxy::not_one_of(
            args,
            word,
            &["no-exit-on-failure"],
        ));
    }
    args.end()
}

fn debug(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    super::legacy::warn_needless(
        loader,
        args,
        "debug",
        "it kept the process in the foreground, as the command line's -d does; `daemon` has no effect beside it",
    );
    loader.config.global.debug = true;
    args.end()
}

fn threads(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let threads = args.count("a number of threads", 1..=THREADS_MAX)?;
    let global = &mut loader.config.global;
    match args.keyword {
        "thread-hard-limit" => global.threads_hard_max = u16::try_from(threads).ok(),
        _ => global.threads = u16::try_from(threads).ok(),
    }
    args.end()
}

fn processes(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let span = args.line().span;
    let processes = args.count("a number of processes", 1..=THREADS_MAX)?;
    args.end()?;
    loader.old_processes |= processes > 1;
    if processes == 1 {
        let why = "there is one process; `nbthread` sets its threads";
        super::legacy::warn_needless(loader, args, "nbproc 1", why);
        return Ok(());
    }
    if loader.config.global.threads.is_some() {
        let why = "there is one process, and `nbthread` says how many threads it has";
        super::legacy::warn_needless(loader, args, "nbproc", why);
        return Ok(());
    }
    super::legacy::warn(
        loader,
        span,
        &format!("nbproc {processes}"),
        &format!("nbthread {processes}"),
    );
    let global = &mut loader.config.global;
    global.threads = global.threads.or(u16::try_from(processes).ok());
    Ok(())
}

fn files(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let files = args.count("a number of files", 1..=i32::MAX as u32)?;
    let global = &mut loader.config.global;
    match args.keyword {
        "fd-hard-limit" => global.files_hard_max = Some(u64::from(files)),
        _ => global.files_max = Some(u64::from(files)),
    }
    args.end()
}

pub(super) fn who(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let id = match args.keyword {
        "user" => account::user(loader, args.required("the name of a user")?)?,
        "group" => account::group(loader, args.required("the name of a group")?)?,
        _ => args.count("a number", 0..=u32::MAX - 1)?,
    };
    let global = &mut loader.config.global;
    let field = if matches!(args.keyword, "user" | "uid") {
        &mut global.uid
    } else {
        &mut global.gid
    };
    match *field {
        Some(first) if first != id => already(loader, args),
        _ => *field = Some(id),
    }
    args.end()
}

fn place(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    use std::os::unix::ffi::OsStrExt;
    let word = args.required("a path")?;
    if word.bytes.is_empty() {
        return Err(args.wrong(&codes::BAD_VALUE, word, "an empty path names nothing"));
    }
    let path = PathBuf::from(std::ffi::OsStr::from_bytes(&word.bytes));
    let global = &mut loader.config.global;
    let field = if args.keyword == "chroot" {
        &mut global.chroot
    } else {
        &mut global.pidfile
    };
    match field {
        Some(_) => already(loader, args),
        None => *field = Some(path),
    }
    args.end()
}

fn node(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let word = args.required("a name")?;
    let fits = |b: &u8| b.is_ascii_alphanumeric() || b"._-".contains(b);
    if word.bytes.is_empty() || !word.bytes.iter().all(fits) {
        return Err(args.wrong(
            &codes::BAD_VALUE,
            word,
            format!("'{}' cannot be the name of a node: letters, digits, '.', '-' and '_' may stand in it", word.text()),
        ));
    }
    loader.config.global.node = Some(word.text().into());
    args.end()
}

fn log_hostname(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let name = args
        .next()
        .map(|word| word.bytes.clone())
        .unwrap_or_default();
    loader.config.global.log_hostname = Some(name.into());
    args.surplus()
}

fn duration(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let word = args.peek();
    let ms = args.time_ms(TimeUnit::Milliseconds)?;
    let global = &mut loader.config.global;
    match args.keyword {
        "hard-stop-after" => global.hard_stop_after_ms = (ms > 0).then_some(ms),
        "max-spread-checks" => global.max_spread_checks_ms = (ms > 0).then_some(ms),
        "stats timeout" => match word {
            Some(word) if ms == 0 => {
                let told = "'stats timeout' wants a time greater than 0";
                return Err(args.wrong(&codes::OUT_OF_RANGE, word, told));
            }
            _ => global.stats_timeout_ms = Some(ms),
        },
        _ => {}
    }
    if args.keyword == "max-spread-checks" {
        args.end()
    } else {
        args.surplus()
    }
}

fn close_spread(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let endless = args.peek().is_some_and(|word| &*word.bytes == b"infinite");
    let spread = if endless {
        args.next();
        CloseSpread::Never
    } else {
        CloseSpread::Over(args.time_ms(TimeUnit::Milliseconds)?)
    };
    loader.config.global.close_spread = Some(spread);
    args.surplus()
}

/// `grace` of the process; HAProxy 1.x had one for each proxy.
fn grace(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let span = args.line().span;
    let ms = args.time_ms(TimeUnit::Milliseconds)?;
    if matches!(loader.section, Section::Global) {
        loader.config.global.grace_ms = (ms > 0).then_some(ms);
        return args.surplus();
    }
    loader.tell(
        Diagnostic::warning(&codes::LEGACY, span, "'grace' of a proxy is an old form")
            .label("HAProxy no longer knows this here")
            .note("the longest of all such times is taken for the whole process")
            .help("write it into `global`"),
    );
    let longest = loader.config.global.grace_ms.unwrap_or(0).max(ms);
    loader.config.global.grace_ms = (longest > 0).then_some(longest);
    args.surplus()
}

fn spread(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    loader.config.global.spread_checks = args.count("a percentage", 0..=50)?;
    args.end()
}

fn rate(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let rate = args.count("a number a second", 0..=i32::MAX as u32)?;
    let global = &mut loader.config.global;
    let field = match args.keyword {
        "maxconnrate" => &mut global.connection_rate_max,
        _ => &mut global.session_rate_max,
    };
    *field = (rate > 0).then_some(rate);
    args.end()
}

fn pipes(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let most = args.count("a number of pipes", 0..=i32::MAX as u32)?;
    let global = &mut loader.config.global;
    // `nosplice` stays.
    if global.pipes_max != Some(0) {
        global.pipes_max = (most > 0).then_some(most);
    }
    args.end()
}

fn unix_bind(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    use std::os::unix::ffi::OsStrExt;
    let mut owner = BindOwner::default();
    let mut prefix = None;
    args.peek()
        .map_or_else(|| args.required("an option").map(|_| ()), |_| Ok(()))?;
    while let Some(word) = args.next() {
        match word.str() {
            "prefix" => {
                let word = args.required("a path")?;
                prefix = Some(PathBuf::from(std::ffi::OsStr::from_bytes(&word.bytes)));
            }
            "mode" => owner.mode = Some(octal(args)?),
            "user" => owner.uid = Some(account::user(loader, args.required("a user")?)?),
            "group" => owner.gid = Some(account::group(loader, args.required("a group")?)?),
            "uid" => owner.uid = Some(args.count("a user id", 0..=u32::MAX - 1)?),
            "gid" => owner.gid = Some(args.count("a group id", 0..=u32::MAX - 1)?),
            _ => {
                let choices = ["gid", "group", "mode", "prefix", "uid", "user"];
                return Err(super::proxy::not_one_of(args, word, &choices));
            }
        }
    }
    let global = &mut loader.config.global;
    global.unix_bind_owner = owner;
    global.unix_bind_prefix = prefix.or(global.unix_bind_prefix.take());
    Ok(())
}

/// How long watched files must have been left alone where nothing is said.
const WATCH_DELAY_MS: u32 = 500;
/// The longest such time, milliseconds.
const WATCH_DELAY_MAX_MS: u32 = 10 * 60 * 1000;

fn watch(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let word = args.required("files or all")?;
    let configuration = match word.str() {
        "files" => false,
        "all" => true,
        _ => return Err(super::proxy::not_one_of(args, word, &["all", "files"])),
    };
    let mut delay_ms = WATCH_DELAY_MS;
    if let Some(word) = args.next() {
        if word.str() != "delay" {
            return Err(super::proxy::not_one_of(args, word, &["delay"]));
        }
        let time = args.peek();
        delay_ms = args.time_ms(TimeUnit::Milliseconds)?;
        if let Some(time) = time
            && delay_ms > WATCH_DELAY_MAX_MS
        {
            let told = "'watch' waits for 10 minutes at most";
            return Err(args.wrong(&codes::OUT_OF_RANGE, time, told));
        }
    }
    args.end()?;
    let wish = Watch {
        configuration,
        delay_ms,
    };
    match loader.config.global.watch {
        Some(_) => already(loader, args),
        None => loader.config.global.watch = Some(wish),
    }
    Ok(())
}

fn default_path(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let word = args.required("current, config, parent or origin")?;
    loader.base = match word.str() {
        "current" => DefaultPath::Current,
        "config" => DefaultPath::Config,
        "parent" => DefaultPath::Parent,
        "origin" => {
            let word = args.required("a path")?;
            DefaultPath::Origin(PathBuf::from(&*word.text()))
        }
        _ => {
            let choices = ["config", "current", "origin", "parent"];
            return Err(super::proxy::not_one_of(args, word, &choices));
        }
    };
    args.surplus()
}

/// The table.
pub static LINES: &[LineRow] = &[
    LineRow {
        name: "expose-experimental-directives",
        places: super::places::GLOBAL,
        syntax: "expose-experimental-directives",
        doc: "Lets HAProxy take keywords that it calls experimental. Here those that are built are taken with and without this line.",
        example: "expose-experimental-directives",
        build: |_, args| args.end(),
    },
    LineRow {
        name: "expose-deprecated-directives",
        places: super::places::GLOBAL,
        syntax: "expose-deprecated-directives",
        doc: "Lets HAProxy take keywords that it is about to remove. Here those that are built are taken with and without this line.",
        example: "expose-deprecated-directives",
        build: |_, args| args.end(),
    },
    LineRow {
        name: "grace",
        places: &["global", "defaults", "frontend", "listen", "backend"],
        syntax: "grace <time>",
        doc: "How long the process goes on to accept after it was asked to stop softly, so that a balancer in front of it can \
              notice. 0, the default, stops accepting at once. In a proxy it is a form of HAProxy 1.x: the longest such time \
              counts for the whole process, with a warning.",
        example: "grace 5s",
        build: grace,
    },
    row(
        "daemon",
        "daemon",
        "daemon",
        switch,
        "The process goes to the background once it serves. Under a service manager that supervises it, leave the line away.",
    ),
    row(
        "master-worker",
        "master-worker [no-exit-on-failure]",
        "master-worker no-exit-on-failure",
        master_worker,
        "The process that is started supervises the one that serves, as with -W on the command line: USR2 and HUP make it take \
         the files in again, and a process that dies is started again, with the same listeners. HAProxy ends with its worker \
         unless no-exit-on-failure is said; here that word changes nothing.",
    ),
    row(
        "quiet",
        "quiet",
        "quiet",
        switch,
        "Nothing is printed at the start when all is well. The same as -q on the command line.",
    ),
    row(
        "zero-warning",
        "zero-warning",
        "# zero-warning",
        switch,
        "A file that gives any warning is refused, at the start and by -c. It keeps a configuration clean once it is.",
    ),
    row(
        "debug",
        "debug",
        "debug",
        debug,
        "Kept the process in the foreground, in HAProxy 1.x. It does so here too, with a warning: -d on the command line is today's form.",
    ),
    row(
        "nbthread",
        "nbthread <number>",
        "nbthread 2",
        threads,
        "How many threads serve. Without it there are as many as the process may use processors, which is nearly always right.",
    ),
    row(
        "nbproc",
        "nbproc <number>",
        "nbproc 1",
        processes,
        "How many processes served, in HAProxy up to 2.4. There is one process here; the number is taken as that of its threads unless `nbthread` says otherwise, with a warning.",
    ),
    row(
        "ulimit-n",
        "ulimit-n <number>",
        "ulimit-n 65536",
        files,
        "How many files the process asks the system for. Without it the number follows from `maxconn`, which is right unless other things need files.",
    ),
    row(
        "fd-hard-limit",
        "fd-hard-limit <number>",
        "fd-hard-limit 50000",
        files,
        "How many files the process takes at most where neither `maxconn` nor `ulimit-n` says: the default of `maxconn` follows from it. Some systems allow a thousand million.",
    ),
    row(
        "thread-hard-limit",
        "thread-hard-limit <number>",
        "thread-hard-limit 16",
        threads,
        "How many threads serve at most, whatever `nbthread` or the number of processors says.",
    ),
    row(
        "uid",
        "uid <number>",
        "uid 0",
        who,
        "The user that the process becomes once its sockets are open, by number.",
    ),
    row(
        "gid",
        "gid <number>",
        "gid 0",
        who,
        "The group that the process becomes once its sockets are open, by number.",
    ),
    row(
        "chroot",
        "chroot <directory>",
        "chroot /var/empty",
        place,
        "The directory which the process sees as the root of all files once everything is read. An empty one that nobody may write to leaves an intruder nothing.",
    ),
    row(
        "pidfile",
        "pidfile <file>",
        "pidfile /run/evenkeel.pid",
        place,
        "A file for the number of the process in the background. The same as -p on the command line.",
    ),
    row(
        "node",
        "node <name>",
        "node lb1",
        node,
        "The name of this machine in statistics and headers, where two machines share an address. Without it the name of the host is shown.",
    ),
    row(
        "log-send-hostname",
        "log-send-hostname [<name>]",
        "log-send-hostname lb1",
        log_hostname,
        "Log lines carry the name of the host, or the given one, as syslog servers that take lines of several machines expect.",
    ),
    row(
        "hard-stop-after",
        "hard-stop-after <time>",
        "hard-stop-after 30s",
        duration,
        "How long a process that was asked to stop softly may go on with connections that do not end; then it stops all the same. Without it, it waits for the last one.",
    ),
    row(
        "close-spread-time",
        "close-spread-time { <time> | infinite }",
        "close-spread-time 10s",
        close_spread,
        "Over how long a time idle client connections are closed when the process was asked to stop softly, each at a moment of its own; until then requests are served as before. Without it, each gets one more answer, which says that it is the last, and is closed when it has been silent for a second. With 'infinite' nothing but its own time limits ends a connection.",
    ),
    row(
        "spread-checks",
        "spread-checks <percent>",
        "spread-checks 5",
        spread,
        "By how much the interval of each health check is varied at random, from 0 to 50 percent, so that checks do not all come at the same moment.",
    ),
    row(
        "max-spread-checks",
        "max-spread-checks <time>",
        "max-spread-checks 2s",
        duration,
        "Over how long a time the first checks of all servers are spread at the start. Without it, over their interval.",
    ),
    row(
        "maxconnrate",
        "maxconnrate <number>",
        "maxconnrate 1000",
        rate,
        "How many new connections a second the process accepts; the others wait in the kernel's queue. 0, the default, is no limit.",
    ),
    row(
        "maxsessrate",
        "maxsessrate <number>",
        "maxsessrate 1000",
        rate,
        "How many new sessions a second the process begins, those counted that pass `tcp-request connection`. 0, the default, is no limit.",
    ),
    row(
        "maxpipes",
        "maxpipes <number>",
        "maxpipes 100",
        pipes,
        "How many pipes the process may have, to move bytes between sockets inside the kernel: see `option splice-auto`. It never has more than 64, which is the default: only a transfer whose receiver takes nothing holds one, and where none is free bytes are copied.",
    ),
    row(
        "stats timeout",
        "stats timeout <time>",
        "stats timeout 30s",
        duration,
        "How long a connection to a `stats socket` may be silent. The default is 10 seconds.",
    ),
    row(
        "unix-bind",
        "unix-bind [prefix <path>] [mode <mode>] [user <user>] [uid <uid>] [group <group>] [gid <gid>]",
        "unix-bind mode 660",
        unix_bind,
        "Owner and permissions of the Unix sockets of all `bind` lines which do not say their own, and text that is put before their paths.",
    ),
    row(
        "set-dumpable",
        "[no] set-dumpable",
        "set-dumpable",
        switch,
        "The process may write a core file although it changed its user. It is for developers, and off by default.",
    ),
    row(
        "strict-limits",
        "[no] strict-limits",
        "no strict-limits",
        switch,
        "Whether a start fails when the system does not grant the limits that `maxconn` or `ulimit-n` need. It does by default; `no` only warns and lowers the numbers.",
    ),
    row(
        "numa-cpu-mapping",
        "[no] numa-cpu-mapping",
        "no numa-cpu-mapping",
        switch,
        "Whether threads keep to the processors of one node of a machine that has several, unless `nbthread` or `cpu-map` is given. They do by default.",
    ),
    row(
        "watch",
        "watch { files | all } [delay <time>]",
        "watch files delay 2s",
        watch,
        "Files that change by themselves are noticed, checked and taken in as by a reload, once they were left alone for `delay` (500ms); \
         what is bad is refused with a message, and the version that serves goes on. `files` are those that lines name (ACL files, maps, \
         error pages, not the states of servers), with the configuration's text as it was; `all` is the configuration, too. It is our own, \
         and needs a supervisor: `evenkeel run`, or -W under HAProxy's name.",
    ),
    row(
        "default-path",
        "default-path { current | config | parent | origin <path> }",
        "default-path config",
        default_path,
        "What relative file names of the lines that follow count from: the directory of the process (the default), that of the configuration file, the one above it, or a given one.",
    ),
];

/// A row whose line stands in `global`.
pub(super) const fn row(
    name: &'static str,
    syntax: &'static str,
    example: &'static str,
    build: super::LineBuilder,
    doc: &'static str,
) -> LineRow {
    LineRow {
        name,
        places: GLOBAL,
        syntax,
        doc,
        example,
        build,
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Watch;
    use crate::keyword::testing::load_text;

    #[test]
    fn watch_says_what_and_how_long_it_is_to_be_left_alone() {
        let wish = |configuration, delay_ms| {
            Some(Watch {
                configuration,
                delay_ms,
            })
        };
        for (line, wanted) in [
            ("", None),
            ("watch files", wish(false, 500)),
            ("watch all delay 2s", wish(true, 2000)),
            ("watch all delay 0\n watch files", wish(true, 0)),
            ("watch", None),
            ("watch al", None),
            ("watch files dealy 2s", None),
            ("watch files delay 11m", None),
        ] {
            let loaded = load_text(&format!("global\n {line}\n"));
            assert_eq!(loaded.watched.wish, wanted, "{line}");
            let refused = wanted.is_none() && !line.is_empty();
            assert_eq!(loaded.diagnostics.errors() > 0, refused, "{line}");
        }
    }
}
