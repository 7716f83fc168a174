//! Builds `tune.*` lines, which set sizes and limits of the data plane that rarely need a change.
//! The lines for TLS are in [`super::tls_default`].

use super::places::GLOBAL;
use super::value::parse_choice;
use super::{Args, Built, LineRow};
use crate::family::Loader;
use language::Diagnostic;
use model::codes;
use model::config::Tune;

/// Minimum size of a buffer in bytes, so that it holds the head of a request.
const BUFSIZE_MIN: u64 = 1024;
/// Maximum number of bytes of a cookie that can be captured.
const COOKIE_CAPTURE_MAX: u32 = 65_535;
/// Maximum size of a buffer, bytes: a connection may need two of them.
const BUFSIZE_MAX: u64 = 16 << 20;

fn buffer(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let word = args.peek();
    let bytes = args.size_at_most("a size", BUFSIZE_MAX)?;
    let tune = &mut loader.config.global.tune;
    match (args.keyword, word) {
        ("tune.bufsize", Some(word)) if bytes < BUFSIZE_MIN => {
            return Err(Diagnostic::error(
                &codes::OUT_OF_RANGE,
                word.span,
                format!("'tune.bufsize' must be at least {BUFSIZE_MIN} bytes"),
            )
            .label("no request would fit")
            .help("remove the line: the default of 16384 is nearly always right"));
        }
        ("tune.bufsize", _) => tune.bufsize = bytes as usize,
        _ => tune.maxrewrite = bytes as usize,
    }
    args.end()
}

fn number(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let keyword = args.keyword;
    let range = match keyword {
        "tune.http.maxhdr" => 1..=32_767,
        "tune.http.logurilen" => 0..=65_535,
        "tune.http.cookielen" => 0..=COOKIE_CAPTURE_MAX,
        "tune.pool-high-fd-ratio" | "tune.pool-low-fd-ratio" => 0..=100,
        _ => 0..=i32::MAX as u32,
    };
    if keyword == "tune.maxaccept" && args.peek().is_some_and(|w| w.is("-1")) {
        args.next();
        loader.config.global.tune.accept_max = None;
        return args.end();
    }
    let number = args.count("a number", range)?;
    let tune = &mut loader.config.global.tune;
    let some = (number > 0).then_some(number);
    match keyword {
        "tune.http.maxhdr" => tune.headers_max = number as usize,
        "tune.http.logurilen" => tune.log_uri_max = number as usize,
        "tune.maxaccept" => tune.accept_max = some,
        "tune.rcvbuf.client" => tune.rcvbuf_client = some,
        "tune.sndbuf.client" => tune.sndbuf_client = some,
        "tune.rcvbuf.server" => tune.rcvbuf_server = some,
        "tune.sndbuf.server" => tune.sndbuf_server = some,
        "tune.notsent-lowat.client" => tune.unsent_client = some,
        "tune.notsent-lowat.server" => tune.unsent_server = some,
        "tune.http.cookielen" => tune.cookie_capture_max = number as usize,
        "tune.pool-high-fd-ratio" => tune.pool_high_fd_ratio = Some(number),
        "tune.pool-low-fd-ratio" => tune.pool_low_fd_ratio = Some(number),
        _ => {}
    }
    args.end()
}

fn idle_shared(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let words = [("auto", false), ("off", true), ("on", false)];
    loader.config.global.tune.idle_not_shared = parse_choice(args, "on, off or auto", &words)?;
    args.end()
}

fn variables(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let bytes = args.size("a size")?;
    if let Some(field) = variables_field(&mut loader.config.global.tune, args.keyword) {
        *field = (bytes > 0).then_some(bytes as usize);
    }
    args.end()
}

fn variables_field<'t>(tune: &'t mut Tune, keyword: &str) -> Option<&'t mut Option<usize>> {
    let max = &mut tune.variables_max;
    Some(match keyword {
        "tune.vars.global-max-size" => &mut max.global,
        "tune.vars.proc-max-size" => &mut max.process,
        "tune.vars.sess-max-size" => &mut max.session,
        "tune.vars.txn-max-size" => &mut max.transaction,
        "tune.vars.reqres-max-size" => &mut max.message,
        "tune.vars.check-max-size" => &mut max.check,
        _ => return None,
    })
}

pub static LINES: &[LineRow] = language::rows! {
    "tune.bufsize <bytes>" GLOBAL, buffer, "tune.bufsize 32768",
        "Size of a buffer, which limits request and response headers. The default is 16384. A larger buffer allows \
         larger headers (cookies), and costs memory for each active connection.";
    "tune.maxrewrite <bytes>" GLOBAL, buffer, "tune.maxrewrite 1024",
        "Space in a buffer reserved for rules that add headers. The default is 1024, the maximum half a buffer.";
    "tune.http.maxhdr <number>" GLOBAL, number, "tune.http.maxhdr 128",
        "Maximum number of headers in a message, 1 to 32767. The default is 101; a request with more gets status 400.";
    "tune.http.logurilen <bytes>" GLOBAL, number, "tune.http.logurilen 4096",
        "Maximum length of a logged request line. The default is 1024; longer ones are truncated.";
    "tune.http.cookielen <bytes>" GLOBAL, number, "tune.http.cookielen 100",
        "Maximum length of a cookie that `capture cookie` stores, including its name. The default is 63. A longer \
         length there is reduced to it, with a warning.";
    "tune.maxaccept <number>" GLOBAL, number, "tune.maxaccept 64",
        "Number of connections that a thread accepts at a time. -1 means no limit.";
    "tune.rcvbuf.client <bytes>" GLOBAL, number, "tune.rcvbuf.client 65536",
        "Kernel receive buffer for each client connection. By default, or with 0, the kernel adapts it, which is \
         nearly always better.";
    "tune.rcvbuf.server <bytes>" GLOBAL, number, "tune.rcvbuf.server 65536",
        "Kernel receive buffer for each server connection. By default, or with 0, the kernel adapts it.";
    "tune.sndbuf.client <bytes>" GLOBAL, number, "tune.sndbuf.client 65536",
        "Kernel send buffer for each client connection. A small one saves memory with many slow clients. By default, \
         or with 0, the kernel adapts it.";
    "tune.sndbuf.server <bytes>" GLOBAL, number, "tune.sndbuf.server 65536",
        "Kernel send buffer for each server connection. By default, or with 0, the kernel adapts it.";
    "tune.notsent-lowat.client <bytes>" GLOBAL, number, "tune.notsent-lowat.client 131072",
        "Amount of unsent data that the kernel accepts for each client connection. A small value saves memory with \
         slow clients, and lets urgent HTTP/2 frames pass. 0, the default, uses the system setting.";
    "tune.notsent-lowat.server <bytes>" GLOBAL, number, "tune.notsent-lowat.server 131072",
        "Amount of unsent data that the kernel accepts for each server connection. 0, the default, uses the system \
         setting.";
    "tune.pool-high-fd-ratio <percent>" GLOBAL, number, "tune.pool-high-fd-ratio 25",
        "Percentage of file descriptors in use above which a new server connection closes an idle one of its thread. \
         By default none is closed: the limits allow two descriptors for each client connection.";
    "tune.pool-low-fd-ratio <percent>" GLOBAL, number, "tune.pool-low-fd-ratio 20",
        "Percentage of file descriptors in use above which server connections are closed instead of kept idle. By \
         default all are kept: the limits allow two descriptors for each client connection.";
    "tune.idle-pool.shared { on | off | auto }" GLOBAL, idle_shared, "tune.idle-pool.shared off",
        "Sets whether a thread without an idle connection for a request takes one from another thread, before it opens \
         a new one. On by default; `auto` is the same. HTTP/2 connections stay with their thread. With `off` each \
         thread uses only its own connections.";
    "tune.vars.global-max-size <size>" GLOBAL, variables, "tune.vars.global-max-size 1048576",
        "Maximum memory of all variables together, of every scope. 0, the default, means no limit.";
    "tune.vars.proc-max-size <size>" GLOBAL, variables, "tune.vars.proc-max-size 102400",
        "Maximum memory of process variables. 0, the default, means no limit.";
    "tune.vars.sess-max-size <size>" GLOBAL, variables, "tune.vars.sess-max-size 10240",
        "Maximum memory of the variables of one client connection and its requests. 0, the default, means no limit.";
    "tune.vars.txn-max-size <size>" GLOBAL, variables, "tune.vars.txn-max-size 10240",
        "Maximum memory of the variables of one request and its response. 0, the default, means no limit.";
    "tune.vars.reqres-max-size <size>" GLOBAL, variables, "tune.vars.reqres-max-size 10240",
        "Maximum memory of the variables of one request, or of one response. 0, the default, means no limit.";
    "tune.vars.check-max-size <size>" GLOBAL, variables, "tune.vars.check-max-size 10240",
        "Maximum memory of the variables of one health check. 0, the default, means no limit.";
};
