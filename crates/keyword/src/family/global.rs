//! Builds the lines of `global` for the user, limits and mode of the process. `maxconn` and
//! `description` are with the keywords of that name for proxies.

use super::bind_option::octal;
use super::places::GLOBAL;
use super::value::{limit, parse_choice};
use super::{Args, Built, LineRow, account};
use crate::family::Loader;
use language::Diagnostic;
use language::log_levels::LogLevels;
use language::value::TimeUnit;
use model::codes;
use model::config::{BindOwner, CloseSpread, WatchSettings};
use model::rules::draft::{DefaultPath, Section};
use std::path::PathBuf;

pub(super) const THREADS_MAX: u32 = 64;

/// Warns that a repeated setting of `global` is ignored. The caller keeps the first value.
pub(super) fn warn_of_repetition(loader: &mut Loader, args: &Args<'_>) {
    let told = format!("'{}' already specified, this line is ignored", args.keyword);
    loader.report(
        Diagnostic::warning(&codes::OVERWRITTEN, args.line().span, told)
            .label("the first one applies")
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
        // Treats `default strict-limits` like `strict-limits`: on.
        "strict-limits" => global.strict_limits = Some(!args.negated),
        "numa-cpu-mapping" => {
            global.numa_unmapped = args.negated;
            return args.warn_of_surplus();
        }
        _ => {}
    }
    args.end()
}

fn master_worker(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    loader.config.global.master_worker = true;
    // Ignores the word: the serving process is restarted when it dies in any case.
    if args.peek().is_some() {
        parse_choice(args, "no-exit-on-failure", &[("no-exit-on-failure", ())])?;
    }
    args.end()
}

fn debug(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    super::legacy::warn_needless(
        loader,
        args,
        "debug",
        "it kept the process in the foreground, like -d on the command line; `daemon` has no effect with it",
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
        let why = "there is only one process; `nbthread` sets its threads";
        super::legacy::warn_needless(loader, args, "nbproc 1", why);
        return Ok(());
    }
    if loader.config.global.threads.is_some() {
        let why = "there is only one process; `nbthread` sets its threads";
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
    // 0 means the automatic number, as without the line.
    let files = args.count("a number of files", 0..=i32::MAX as u32)?;
    let files = (files > 0).then_some(u64::from(files));
    let global = &mut loader.config.global;
    match args.keyword {
        "fd-hard-limit" => global.files_hard_max = files,
        _ => global.files_max = files,
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
        Some(first) if first != id => warn_of_repetition(loader, args),
        _ => *field = Some(id),
    }
    args.end()
}

fn place(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    use std::os::unix::ffi::OsStrExt;
    let word = args.required("a path")?;
    if word.bytes.is_empty() {
        return Err(args.word_error(&codes::BAD_VALUE, word, "the path is empty"));
    }
    let path = PathBuf::from(std::ffi::OsStr::from_bytes(&word.bytes));
    let global = &mut loader.config.global;
    let field = if args.keyword == "chroot" {
        &mut global.chroot
    } else {
        &mut global.pidfile
    };
    match field {
        Some(_) => warn_of_repetition(loader, args),
        None => *field = Some(path),
    }
    args.end()
}

fn node(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let word = args.required("a name")?;
    let fits = |b: &u8| b.is_ascii_alphanumeric() || b"._-".contains(b);
    if word.bytes.is_empty() || !word.bytes.iter().all(fits) {
        return Err(args.word_error(
            &codes::BAD_VALUE,
            word,
            format!(
                "'{}' is not a valid node name: allowed are letters, digits, '.', '-' and '_'",
                word.text()
            ),
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
    args.warn_of_surplus()
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
                let told = "'stats timeout' must be greater than 0";
                return Err(args.word_error(&codes::OUT_OF_RANGE, word, told));
            }
            _ => global.stats_timeout_ms = Some(ms),
        },
        _ => {}
    }
    if args.keyword == "max-spread-checks" {
        args.end()
    } else {
        args.warn_of_surplus()
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
    args.warn_of_surplus()
}

/// Builds `grace`, the time before a soft stop during which the process still accepts. HAProxy 1.x
/// had one for each proxy, of which the longest is used, with a warning.
fn grace(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let span = args.line().span;
    let ms = args.time_ms(TimeUnit::Milliseconds)?;
    if matches!(loader.section, Section::Global) {
        loader.config.global.grace_ms = (ms > 0).then_some(ms);
        return args.warn_of_surplus();
    }
    loader.report(
        Diagnostic::warning(
            &codes::LEGACY,
            span,
            "'grace' of a proxy is an obsolete form",
        )
        .label("removed from HAProxy here")
        .note("the longest of these times applies to the whole process")
        .help("move it to `global`"),
    );
    let longest = loader.config.global.grace_ms.unwrap_or(0).max(ms);
    loader.config.global.grace_ms = (longest > 0).then_some(longest);
    args.warn_of_surplus()
}

/// Maximum of `request-history`: the number of requests that a thread records.
const HISTORY_MAX: u32 = 65_536;

fn request_history(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let number = args.count("a number of requests", 0..=HISTORY_MAX)?;
    loader.config.global.request_history = Some(number);
    args.end()
}

fn log_level(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let word = args.required("a list of levels, such as cluster=debug,volume=info")?;
    let levels = LogLevels::parse(&word.text());
    let levels = levels
        .map_err(|error| args.word_error(&codes::BAD_VALUE, word, format!("log-level: {error}")))?;
    match &loader.config.global.log_levels {
        Some(_) => warn_of_repetition(loader, args),
        None => loader.config.global.log_levels = Some(levels),
    }
    args.end()
}

fn spread(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    loader.config.global.spread_checks = args.count("a percentage", 0..=50)?;
    args.end()
}

fn rate(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let rate = limit(args, "a number a second")?;
    let global = &mut loader.config.global;
    match args.keyword {
        "maxconnrate" => global.connection_rate_max = rate,
        _ => global.session_rate_max = rate,
    }
    args.end()
}

fn pipes(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let most = limit(args, "a number of pipes")?;
    let global = &mut loader.config.global;
    // Ignores `maxpipes` after `nosplice`, which stays in effect.
    if global.pipes_max != Some(0) {
        global.pipes_max = most;
    }
    args.end()
}

fn no_pipes(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    loader.config.global.pipes_max = Some(0);
    args.end()
}

fn no_reuse_port(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    loader.config.global.exclusive_ports = true;
    args.end()
}

fn unix_bind(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    use std::os::unix::ffi::OsStrExt;
    let mut owner = BindOwner::default();
    let mut prefix = None;
    super::value::require_word(args, "an option")?;
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
                return Err(super::value::unknown_choice_error(args, word, &choices));
            }
        }
    }
    let global = &mut loader.config.global;
    global.unix_bind_owner = owner;
    global.unix_bind_prefix = prefix.or(global.unix_bind_prefix.take());
    Ok(())
}

/// Default milliseconds without further changes of watched files before a reload.
const WATCH_DELAY_MS: u32 = 500;
const WATCH_DELAY_MAX_MS: u32 = 10 * 60 * 1000;

fn watch(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let configuration = parse_choice(args, "files or all", &[("all", true), ("files", false)])?;
    let mut delay_ms = WATCH_DELAY_MS;
    if args.peek().is_some() {
        parse_choice(args, "delay", &[("delay", ())])?;
        let time = args.peek();
        delay_ms = args.time_ms(TimeUnit::Milliseconds)?;
        if let Some(time) = time
            && delay_ms > WATCH_DELAY_MAX_MS
        {
            let told = "'watch' waits at most 10 minutes";
            return Err(args.word_error(&codes::OUT_OF_RANGE, time, told));
        }
    }
    args.end()?;
    let options = &loader.context.options;
    let is_cluster = !options.version.is_empty() || !options.nodes.is_empty();
    // Permits the line where unresolved names are permitted: an accepted version of a cluster may
    // contain it, since older releases did not refuse it.
    if is_cluster && !options.ignore_unresolved {
        let told = "'watch': the members of a cluster do not read changed files";
        return Err(
            Diagnostic::error(&codes::WATCH_IN_CLUSTER, args.line().span, told)
                .label("they serve the files of the accepted version")
                .help(
                    "remove the line; let the tool that renews files run `evenkeel config apply FILE… -m MESSAGE` \
                     afterwards (certbot: `--deploy-hook`)",
                ),
        );
    }
    let wish = WatchSettings {
        configuration,
        delay_ms,
    };
    match loader.config.global.watch {
        Some(_) => warn_of_repetition(loader, args),
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
            return Err(super::value::unknown_choice_error(args, word, &choices));
        }
    };
    args.warn_of_surplus()
}

pub static LINES: &[LineRow] = language::rows! {
    "expose-experimental-directives" GLOBAL, |_, args| args.end(),
        "expose-experimental-directives",
        "In HAProxy, enables experimental keywords. In Evenkeel all supported keywords are enabled, with or without \
         this line.";
    "expose-deprecated-directives" GLOBAL, |_, args| args.end(),
        "expose-deprecated-directives",
        "In HAProxy, enables deprecated keywords. In Evenkeel all supported keywords are enabled, with or without this \
         line.";
    "grace <time>" &["global", "defaults", "frontend", "listen", "backend"], grace, "grace 5s",
        "Time during which the process still accepts connections after a soft stop begins, so that a load balancer in \
         front of it can react. 0, the default, stops accepting at once. In a proxy it is HAProxy 1.x syntax: the \
         longest such time applies to the whole process, with a warning.";
    "daemon" GLOBAL, switch, "daemon",
        "Runs the process in the background once it serves. Omit it under a service manager.";
    "master-worker [no-exit-on-failure]" GLOBAL, master_worker, "master-worker no-exit-on-failure",
        "The first process supervises the one that serves, as with -W on the command line. USR2 and HUP reload the \
         configuration. A process that dies is restarted with the same listeners. HAProxy ends with its worker unless \
         no-exit-on-failure is set; in Evenkeel that word has no effect.";
    "quiet" GLOBAL, switch, "quiet",
        "Prints nothing at the start if there is no error. The same as -q on the command line.";
    "zero-warning" GLOBAL, switch, "# zero-warning",
        "Refuses a configuration with warnings that HAProxy has as well. Warnings that only Evenkeel has do not count.";
    "debug" GLOBAL, debug, "debug",
        "HAProxy 1.x syntax for -d on the command line: keeps the process in the foreground, with a warning.";
    "nbthread <number>" GLOBAL, threads, "nbthread 2",
        "Number of threads. The default is the number of available processors, which is nearly always right.";
    "nbproc <number>" GLOBAL, processes, "nbproc 1",
        "In HAProxy up to 2.4, the number of processes. Evenkeel has one process, and uses the number as that of its \
         threads unless `nbthread` is set, with a warning.";
    "ulimit-n <number>" GLOBAL, files, "ulimit-n 65536",
        "Number of file descriptors that the process requests from the system. The default follows from `maxconn`, \
         which is right unless other things need descriptors.";
    "fd-hard-limit <number>" GLOBAL, files, "fd-hard-limit 50000",
        "Maximum number of file descriptors if neither `maxconn` nor `ulimit-n` is set; the default of `maxconn` \
         follows from it. Some systems would allow a billion.";
    "thread-hard-limit <number>" GLOBAL, threads, "thread-hard-limit 16",
        "Maximum number of threads, regardless of `nbthread` and the number of processors.";
    "uid <number>" GLOBAL, who, "uid 65534",
        "The user of the process once its sockets are open, by number. See `user`.";
    "gid <number>" GLOBAL, who, "gid 65534",
        "The group of the process once its sockets are open, by number. See `group`.";
    "chroot <directory>" GLOBAL, place, "chroot /var/empty",
        "Root directory of the process after everything is read. An empty directory that nobody can write to gives an \
         intruder nothing.";
    "pidfile <file>" GLOBAL, place, "pidfile /run/evenkeel.pid",
        "File for the process id of the background process. The same as -p on the command line.";
    "node <name>" GLOBAL, node, "node lb1",
        "Name of this machine in statistics and headers, for machines that share an address. The default is the host \
         name.";
    "log-send-hostname [<name>]" GLOBAL, log_hostname, "log-send-hostname lb1",
        "Adds the host name, or the given name, to log lines, as syslog servers for several machines expect.";
    "hard-stop-after <time>" GLOBAL, duration, "hard-stop-after 30s",
        "Maximum duration of a soft stop: remaining connections are then closed. Without it, the process waits for the \
         last connection.";
    "close-spread-time { <time> | infinite }" GLOBAL, close_spread, "close-spread-time 10s",
        "In a soft stop, closes idle client connections spread over this time; until then requests are served as \
         before. Without it, each client gets one more response with `Connection: close`, or is closed after one \
         second of silence. With 'infinite' only normal timeouts end connections.";
    "spread-checks <percent>" GLOBAL, spread, "spread-checks 5",
        "Random variation of health check intervals, from 0 to 50 percent, so that checks do not coincide.";
    "max-spread-checks <time>" GLOBAL, duration, "max-spread-checks 2s",
        "Maximum time over which the first checks of all servers are spread at the start. The default is their \
         interval.";
    "maxconnrate <number>" GLOBAL, rate, "maxconnrate 1000",
        "Maximum number of new connections per second; further ones wait in the kernel's queue. 0, the default, means \
         no limit.";
    "maxsessrate <number>" GLOBAL, rate, "maxsessrate 1000",
        "Maximum number of new sessions per second, counted after `tcp-request connection`. 0, the default, means no \
         limit.";
    "maxpipes <number>" GLOBAL, pipes, "maxpipes 32",
        "Maximum number of pipes for splicing between sockets in the kernel: see `option splice-auto`. The default and \
         maximum is 64. Only a transfer whose receiver is blocked holds a pipe; if none is free, bytes are copied.";
    "nosplice" GLOBAL, no_pipes, "nosplice",
        "Disables splicing between sockets in the kernel: data is always copied through buffers. See `option \
         splice-auto`.";
    "noreuseport" GLOBAL, no_reuse_port, "noreuseport",
        "Binds listeners without SO_REUSEPORT, so that a second process cannot listen on the same address. A new \
         process still takes over the sockets of its predecessor; those that were bound without this line stay \
         shared. Two `bind` lines whose addresses overlap (`*:80` and \
         `127.0.0.1:80`) are then refused by the system.";
    "stats timeout <time>" GLOBAL, duration, "stats timeout 30s",
        "Timeout of an idle connection to a `stats socket`. The default is 10 seconds.";
    "unix-bind [prefix <path>] [mode <mode>] [user <user>] [uid <uid>] [group <group>] [gid <gid>]" GLOBAL,
        unix_bind, "unix-bind mode 660",
        "Default owner, permissions and path prefix for the Unix sockets of all `bind` lines.";
    "[no] set-dumpable" GLOBAL, switch, "set-dumpable",
        "Allows core dumps although the process changed its user. For developers; off by default.";
    "[no] strict-limits" GLOBAL, switch, "no strict-limits",
        "Sets whether the start fails if the system does not grant the limits for `maxconn` or `ulimit-n`. It does by \
         default; `no` only warns and lowers the numbers.";
    "[no] numa-cpu-mapping" GLOBAL, switch, "no numa-cpu-mapping",
        "Sets whether threads stay on the processors of one NUMA node, unless `nbthread` or `cpu-map` is set. They do \
         by default.";
    "watch { files | all } [delay <time>]" GLOBAL, watch, "watch files delay 2s",
        "Reloads changed files automatically, once they have not changed for `delay` (500ms). A file with an error is \
         refused with a message, and the current version keeps serving. `files` watches the files that lines name (ACL \
         files, maps, error pages, but not server states). `all` also watches the configuration. This keyword is \
         specific to Evenkeel and needs a supervisor: `evenkeel run`, or -W under the name `haproxy`. A cluster refuses it: \
         its members serve the files of the version, so a tool that renews a file runs `evenkeel config apply`.";
    "request-history <number>" GLOBAL, request_history, "request-history 4096",
        "Number of finished requests and TCP sessions that each thread keeps, with what was decided for each and why: \
         see `evenkeel why`, `evenkeel watch` and the runtime commands `show request` and `show requests`. Without \
         the line it keeps 256: bursts of 128 requests, then 10 a second, and of those that failed more. 0 keeps \
         none; 1024 take about 0.4 MiB a thread, and 0.1 to 0.25 microseconds of each request: 1 to 2.5 %. Query strings are not kept. Requests with log level \
         `silent` are not kept, nor empty connections with `option dontlognull`. This keyword is specific to Evenkeel.";
    "log-level <levels>" GLOBAL, log_level, "log-level cluster=debug,volume=info",
        "Levels of the trace events that the processes record for `evenkeel trace`, `evenkeel support` and the journal: \
         a level for all, or targets with their levels, with commas between them (`warn,cluster=debug`). Levels are \
         off, error, warn, info, debug and trace; targets are the crates of the program, such as cluster, volume, \
         guest or supervisor. Without the line the level is info. A reload applies the line. `evenkeel trace --level` \
         changes levels for a while. This keyword is specific to Evenkeel.";
    "default-path { current | config | parent | origin <path> }" GLOBAL, default_path,
        "default-path config",
        "Base directory for relative file names on the lines that follow: the working directory (the default), the \
         directory of the configuration file, its parent, or a given directory.";
};

#[cfg(test)]
mod tests {
    use crate::testing::load_text;
    use model::config::WatchSettings;

    #[test]
    fn log_level_is_read_and_its_errors_name_the_item() {
        let levels = |line: &str| {
            let loaded = load_text(&format!("global\n {line}\n"));
            let levels = loaded
                .config
                .as_ref()
                .and_then(|config| config.global.log_levels.clone());
            let told: Vec<String> = loaded
                .diagnostics
                .iter()
                .map(|one| one.message.to_string())
                .collect();
            (levels.map(|levels| levels.to_string()), told.join("; "))
        };
        let (read, told) = levels("log-level cluster=debug,volume=info");
        assert_eq!(
            (read.as_deref(), &*told),
            (Some("cluster=debug,volume=info"), "")
        );
        let (_, told) = levels("log-level info,clutser=debug");
        assert!(
            told.contains("item 2: unknown target 'clutser' (did you mean 'cluster'?)"),
            "{told}"
        );
        let (_, told) = levels("log-level");
        assert!(told.contains("a list of levels"), "{told}");
        let (read, told) = levels("log-level debug\n log-level info");
        assert_eq!(read.as_deref(), Some("debug"));
        assert!(told.contains("already specified"), "{told}");
    }

    #[test]
    fn watch_says_what_and_how_long_it_is_to_be_left_alone() {
        let wish = |configuration, delay_ms| {
            Some(WatchSettings {
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
            assert_eq!(loaded.watched.setting, wanted, "{line}");
            let refused = wanted.is_none() && !line.is_empty();
            assert_eq!(loaded.diagnostics.errors() > 0, refused, "{line}");
        }
    }
}
