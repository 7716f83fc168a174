//! Renders the texts that the personality `haproxy` prints: versions, build options, usage, keyword
//! lists and mapped libraries.

use crate::identity::{self, FEATURES, FEATURES_MISSING};
use language::keyword::Documented;
use std::collections::BTreeSet;
use std::fmt::Write;

/// Returns the output of `-v`. Scripts parse its first line.
pub fn version() -> String {
    let system = nix::sys::utsname::uname();
    let part = |f: fn(&nix::sys::utsname::UtsName) -> &std::ffi::OsStr| {
        system
            .as_ref()
            .map(|s| f(s).to_string_lossy().into_owned())
            .unwrap_or_default()
    };
    format!(
        "HAProxy version {} {}\n\
         This is Evenkeel {}, not HAProxy: it accepts HAProxy's flags and files, and is tested against HAProxy {}.\n\
         The version above is that of the configuration language, as `.if version_atleast()` sees it; keywords that \
         are not supported are refused by name.\n\
         Running on: {} {} {} {}\n",
        identity::HAPROXY_VERSION,
        identity::HAPROXY_DATE,
        identity::VERSION,
        identity::HAPROXY_LEVEL,
        part(|s| s.sysname()),
        part(|s| s.release()),
        part(|s| s.version()),
        part(|s| s.machine()),
    )
}

/// Returns the output of `-vv`, with the lines that scripts search for.
pub fn build() -> String {
    let mut features: Vec<(&str, char)> = FEATURES.iter().map(|name| (*name, '+')).collect();
    features.extend(FEATURES_MISSING.iter().map(|name| (*name, '-')));
    features.sort_unstable();
    let mut list = String::new();
    for (name, sign) in features {
        // Writing to a string cannot fail.
        let _ = write!(list, " {sign}{name}");
    }
    let tune = model::config::Tune::default();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    format!(
        "{}Build options :\n  TARGET  = {}-{}\n\n\
         Feature list :{list}\n\n\
         Default settings :\n  bufsize = {}, maxrewrite = {}\n\n\
         Built with multi-threading support (MAX_THREADS={}, default={threads}).\n\
         Built with OpenSSL version : OpenSSL {openssl} (compatible syntax; TLS library: {library})\n\
         Running on OpenSSL version : OpenSSL {openssl} (compatible syntax; TLS library: {library})\n\
         OpenSSL library supports TLS extensions : yes\n\
         OpenSSL library supports SNI : yes\n\
         OpenSSL library supports : TLSv1.2 TLSv1.3\n\
         Built with the Prometheus exporter as a service\n\
         Compression algorithms supported : identity(\"identity\"), deflate(\"deflate\"), raw-deflate(\"deflate\"), gzip(\"gzip\")\n\
         Built with transparent proxy support using: IP_TRANSPARENT IPV6_TRANSPARENT\n\
         Encrypted password support via crypt(3): yes\n\n\
         Available polling systems :\n      epoll : pref=300,  test result OK\n\
         Total: 1 (1 usable), will use epoll.\n\n\
         Available multiplexer protocols :\n\
         (protocols marked as <default> cannot be specified using 'proto' keyword)\n\
         \x20        h2 : mode=HTTP  side=FE|BE  mux=H2    flags=HTX|HOL_RISK|NO_UPG\n\
         \x20      fcgi : mode=HTTP  side=BE     mux=FCGI  flags=HTX|HOL_RISK|NO_UPG\n\
         \x20 <default> : mode=HTTP  side=FE|BE  mux=H1    flags=HTX\n\
         \x20        h1 : mode=HTTP  side=FE|BE  mux=H1    flags=HTX|NO_UPG\n\
         \x20 <default> : mode=TCP   side=FE|BE  mux=PASS  flags=\n\n\
         Available services : prometheus-exporter\n\
         Available filters :\n\t[CACHE] cache\n\t[COMP] compression\n\t[FCGI] fcgi-app\n\n",
        version(),
        std::env::consts::OS,
        std::env::consts::ARCH,
        tune.bufsize,
        tune.maxrewrite,
        reactor::THREADS_MAX,
        openssl = identity::OPENSSL_LEVEL,
        library = identity::TLS_LIBRARY,
    )
}

pub const USAGE: &str = "\
Usage : haproxy [-f <cfgfile|cfgdir>]* [ -vdVDW ] [ -n <maxconn> ] [ -N <maxpconn> ]
        [ -p <pidfile> ] [ -m <max megs> ] [ -C <dir> ] [-- <cfgfile>*]
        -v displays the version ; -vv also displays the supported features.
        -c checks the files and exits (0 valid, 1 errors, 2 no listener).
        -cc <cond> evaluates a condition and exits (0 true, 1 false, 2 invalid).
        -W master-worker mode ; USR2 and HUP reload the files.
        -Ws master-worker mode with systemd notification ; -S <bind>[,option,...] opens the master CLI.
        -D runs in the background ; -db and -d stay in the foreground.
        -V is verbose (cancels -q) ; -q is quiet.
        -n sets the connection limit of the process ; -N the default one of a frontend.
        -m limits the memory (in MB) ; -p writes the process id to this file.
        -C changes to <dir> before loading files ; -L sets the local peer's name.
        -dW refuses files with warnings ; -dD also prints diagnostic hints.
        -dr ignores server names that do not resolve.
        -dK{class[,...]} lists keywords (use 'help' for the classes).
        -dL lists the libraries that are loaded.
        -dV disables certificate verification of servers unless a line requires it.
        -dM -dS -dG -de -dp -dR -dI -dF are accepted and have no effect.
        -x takes over the listening sockets through that stats socket ;
        -sf/-st [pid ]* finishes/ends older processes.
        -dC -dt are not supported.
        This is Evenkeel under the name haproxy ; see 'evenkeel --help'.

";

/// Returns the output of `-dK`: the supported keywords of the given classes, of all classes if none
/// is given, or the list of classes for `help`.
pub fn keywords(classes: &str, documented: &[Documented]) -> String {
    let all: BTreeSet<&str> = documented
        .iter()
        .filter(|d| d.built)
        .map(|d| d.kind)
        .collect();
    if classes == "help" {
        let mut text = String::from("List of supported keyword classes:\nall: list all keywords\n");
        for class in all {
            let _ = writeln!(text, "{}", class.replace(' ', "-"));
        }
        return text;
    }
    let wanted: Vec<&str> = classes
        .split(',')
        .filter(|class| !class.is_empty())
        .collect();
    let everything = wanted.is_empty() || wanted.contains(&"all");
    let mut text = String::new();
    for class in all {
        if !everything && !wanted.iter().any(|name| *name == class.replace(' ', "-")) {
            continue;
        }
        let _ = writeln!(text, "# List of keywords of class {class}:");
        for row in documented.iter().filter(|d| d.built && d.kind == class) {
            let _ = writeln!(text, "    {} [{}]", row.name, row.places.join(","));
        }
    }
    text
}

/// Returns the output of `-dL`: the path of each file that is mapped into the process, once.
pub fn libraries() -> String {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let mut seen = BTreeSet::new();
    let mut text = String::from("# Dependencies:\n");
    for line in maps.lines() {
        let path = line
            .split_whitespace()
            .nth(5)
            .filter(|path| path.starts_with('/'));
        if let Some(path) = path.filter(|path| seen.insert(*path)) {
            let _ = writeln!(text, "{path}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_scripts_find_the_version_in_the_first_line() {
        let text = version();
        let first = text.lines().next().unwrap_or_default();
        let rest = first.strip_prefix("HAProxy version ").unwrap_or_default();
        let number = rest.split(['-', ' ']).next().unwrap_or_default();
        assert_eq!(
            number
                .split('.')
                .filter(|part| part.parse::<u32>().is_ok())
                .count(),
            3,
            "{first}"
        );
        assert!(text.contains("This is Evenkeel"));
    }

    #[test]
    fn a_script_that_looks_for_a_feature_finds_it_or_its_absence() {
        let text = build();
        assert!(
            text.contains(" +THREAD")
                && text.contains(" +OPENSSL")
                && text.contains("Feature list :")
        );
        for line in [
            "Built with OpenSSL version : OpenSSL 3.0.0 ",
            "Available services : prometheus-exporter",
            "         h2 : mode=HTTP  side=FE|BE  mux=H2 ",
            "\t[COMP] compression",
            "\t[FCGI] fcgi-app",
            "       fcgi : mode=HTTP  side=BE     mux=FCGI",
        ] {
            assert!(text.contains(&format!("\n{line}")), "{line} in {text}");
        }
    }

    #[test]
    fn keywords_are_listed_by_class() {
        let row = |kind, name| Documented {
            family: "",
            kind,
            name,
            places: &["x"],
            syntax: name,
            doc: "",
            example: "",
            built: true,
        };
        let rows = [row("bind option", "nice"), row("fetch", "src")];
        assert_eq!(
            keywords("fetch", &rows),
            "# List of keywords of class fetch:\n    src [x]\n"
        );
        assert!(keywords("help", &rows).contains("bind-option"));
        assert!(keywords("", &rows).contains("nice"));
    }
}
