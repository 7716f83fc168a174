//! Defines the subcommands of `evenkeel` and their options in clap's types. The parser, the help,
//! the completions and the man page are generated from them.

pub use ::command::options::{flag, option, path, process_id, serving_files};

use ::command::json;
use ::command::options::pid;
use clap::builder::{PossibleValuesParser, ValueParser};
use clap::{Arg, ArgAction, Command, value_parser};

const ABOUT: &str = "A load balancer that runs your haproxy.cfg and keepalived.conf";

const LONG_ABOUT: &str = "Evenkeel is a load balancer and HTTP proxy. It runs HAProxy's configuration files of any version unchanged, as long as they use supported features, and reports errors with their line and, where possible, a correction.

It also runs keepalived's configuration files, and owns virtual addresses (VRRP). Two machines and a small third one form a cluster, which keeps one configuration with a history. Volumes are block devices with one copy or two; guests are virtual machines on them.

Started under the name haproxy or keepalived (by a link), or as `evenkeel haproxy …`, it accepts the flags of that program.";

const EXAMPLES: &str = "Examples:
  evenkeel demo                               start a demo, without any preparation
  evenkeel check /etc/haproxy/haproxy.cfg     report the errors in this file
  evenkeel run -f /etc/haproxy/haproxy.cfg    serve with it, in the foreground
  evenkeel address                            show the owner of each virtual address
  evenkeel reload                             load the changed file, keeping connections
  evenkeel explain E0101                      explain a diagnostic code
  evenkeel keyword 'timeout client'           explain a keyword
  evenkeel haproxy -c -f haproxy.cfg          use HAProxy's flags, without a link";

pub fn definition() -> Command {
    Command::new("evenkeel")
        .version(crate::identity::VERSION)
        .about(ABOUT)
        .long_about(LONG_ABOUT)
        .after_help(EXAMPLES)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .max_term_width(100)
        .subcommands(super::all().map(|command| {
            let begun = Command::new(command.name);
            (command.define)(begun)
        }))
}

pub fn run(command: Command) -> Command {
    command
        .about("Serve with these files, in the foreground")
        .long_about(
            "Serves with these files, in the foreground, until a signal ends it. INT (exit code 130) and TERM (0) \
             stop it at once. USR1 (0) finishes the existing connections first, within `hard-stop-after`. HUP \
             reloads, like `evenkeel reload`; a file with an error changes nothing. TTOU pauses accepting, TTIN \
             resumes it. `daemon` in a file is ignored.\n\nThis process is a supervisor. It starts the proxy as a \
             child, which runs in the `chroot` and as the user of the file. If root starts it and the file names no \
             user, the proxy runs as `evenkeel-proxy`, or as `nobody` on a machine without that user. If the proxy \
             dies, the supervisor restarts it. If the supervisor dies, the proxy continues to serve, and the same command, started again, adopts it. If the binary was replaced, a \
             reload switches to the new one. `watch` in a file reloads files when they change.\n\nFiles of keepalived \
             are accepted as well, alone or beside those of haproxy. Another child owns their virtual addresses and \
             those of `virtual-ip` sections. It releases them when it stops, and is restarted at once when it dies. \
             If all processes die, the addresses expire.\n\nWithout -f, on a member of a cluster (`evenkeel cluster \
             init` and `join`), it serves the versions of the cluster, starting with the last accepted one. A further \
             child, the control role, communicates with the other members. Serving does not depend on it.",
        )
        .after_help(
            "Examples:\n  evenkeel run\n  evenkeel run -f haproxy.cfg\n  evenkeel run -f global.cfg sites/\n  \
             evenkeel run -f haproxy.cfg keepalived.conf\n  \
             evenkeel run -f haproxy.cfg -x /run/haproxy/admin.sock --finish 4711",
        )
        .arg(
            path("FILE")
                .short('f')
                .long("file")
                .num_args(1..)
                .action(ArgAction::Append)
                .help("Configuration files, or directories whose .cfg files are read in alphabetical order"),
        )
        .arg(
            path("FILES")
                .value_name("FILE")
                .num_args(1..)
                .help("Same as -f FILE"),
        )
        .arg(
            option("state", "DIRECTORY", "Without -f: the directory with this member's cluster state [default: /var/lib/evenkeel]").value_parser(value_parser!(std::path::PathBuf)).conflicts_with_all(["FILE", "FILES"]),
        )
        .arg(
            option("master", "BIND", "Socket for commands to the supervisor (help, show proc, reload, @1 …): an address and `bind` \
                     options, separated by commas, such as /run/evenkeel/master.sock,mode,600,level,operator",).short('S').action(ArgAction::Append),
        )
        .arg(
            option("take-over", "SOCKET", "Take over the listeners of another haproxy or evenkeel, through its `stats socket … expose-fd \
                    listeners`").short('x').value_parser(ValueParser::os_string()),
        )
        .arg(pids("finish", "Make these processes finish their connections and end, once this one serves \
            (haproxy's -sf)"))
        .arg(pids("end", "Make these processes end at once, when this one serves (haproxy's -st)").conflicts_with("finish"))
}

fn pids(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name("PID")
        .value_parser(pid)
        .num_args(1..)
        .action(ArgAction::Append)
        .help(help)
}

#[cfg(feature = "demonstration")]
pub fn lab(command: Command) -> Command {
    command
        .about("Manage the test laboratory of network namespaces")
        .subcommand_required(true)
        .subcommand(
            Command::new("clean")
                .about("Remove the remains of a laboratory whose process was killed")
                .long_about(
                    "Removes the network namespaces and directories of laboratories whose processes are dead, with \
                     everything that runs in them. Laboratories in use are not affected. Needs root.",
                )
                .after_help("Example:\n  evenkeel lab clean"),
        )
}

pub fn check(command: Command) -> Command {
    command
        .about("Check configuration files and report every error")
        .long_about(
            "Reads the files as one configuration and reports every error and warning. Exits with 0 if there is no \
             error, with 1 if there is one, and with 2 if nothing in the files is for this machine (no listener, \
             virtual address, volume, guest or boot network). The comment `# evenkeel: allow CODE` silences a warning on its line.",
        )
        .after_help(
            "Examples:\n  evenkeel check haproxy.cfg\n  evenkeel check --format concise haproxy.cfg\n  \
             evenkeel check --format json haproxy.cfg | jq .\n  \
             evenkeel check --privileges haproxy.cfg\n  evenkeel check --against-haproxy haproxy.cfg",
        )
        .arg(
            path("FILE")
                .required_unless_present("FILES")
                .num_args(1..)
                .help("Files or directories"),
        )
        .arg(
            path("FILES")
                .short('f')
                .long("file")
                .value_name("FILE")
                .num_args(1..)
                .action(ArgAction::Append)
                .help("Same as FILE, for symmetry with `evenkeel run`"),
        )
        .arg(
            option("format", "FORMAT", "Output format: with source lines, one line each, or JSON").value_parser(PossibleValuesParser::new(["full", "concise", "json"])).default_value("full"),
        )
        .arg(
            flag("no-resolve", "Do not resolve host names (for a file of another machine)"),
        )
        .arg(
            option("node", "NAME", "Check as this node: selects the lines with `on NODE …`"),
        )
        .arg(
            flag("hints", "Also report hints"),
        )
        .arg(
            flag("privileges", "If there is no error, show the privileges of each process"),
        )
        .arg(
            flag("against-haproxy", "If there is no error, show the differences from HAProxy that apply to the files")
                .conflicts_with("privileges"),
        )
}

pub fn fmt(command: Command) -> Command {
    command
        .about("Indent files uniformly")
        .long_about(
            "Indents files uniformly, in place: sections at the left margin, keywords indented by four spaces, a \
             blank line before each section. Words, quotes, comments and the order of lines do not change.",
        )
        .after_help("Examples:\n  evenkeel fmt haproxy.cfg\n  evenkeel fmt --check *.cfg")
        .arg(path("FILE").required(true).num_args(1..).help("Files"))
        .arg(
            flag("check", "Change nothing; exit with 1 and list the files that would change"),
        )
        .arg(
            flag("stdout", "Print the result instead of writing it").conflicts_with("check"),
        )
}

pub fn upgrade(command: Command) -> Command {
    command
        .about("Replace old HAProxy keywords by current ones")
        .long_about(
            "Replaces old keywords (`clitimeout`, `reqrep`, an address on a `listen` line) by current ones, and \
             prints the difference as a patch. Only `--in-place` writes the files. Comments, indentation and the \
             order of lines are kept. Exception: a rule that old HAProxy versions evaluated at another point moves there. \
             Several files are read as one configuration, in this order.\n\nA line without an exact current form is \
             kept and continues to work. A comment above it, and a message on standard error, describe what to do.",
        )
        .after_help(
            "Examples:\n  evenkeel upgrade haproxy.cfg\n  evenkeel upgrade -i haproxy.cfg\n  evenkeel upgrade --check haproxy.cfg",
        )
        .arg(path("FILE").required(true).num_args(1..).help("Files"))
        .arg(
            flag("in-place", "Write the files; the old text is kept beside each, with the suffix `.before-upgrade`").short('i'),
        )
        .arg(
            flag("check", "Change nothing; exit with 1 if a file would change or an old keyword remains").conflicts_with("in-place"),
        )
        .arg(
            flag("stdout", "Print the rewritten text instead of a patch").conflicts_with_all(["in-place", "check"]),
        )
}

pub fn explain(command: Command) -> Command {
    command
        .about("Explain a diagnostic code such as E0101")
        .after_help("Examples:\n  evenkeel explain E0103\n  evenkeel explain W0203 e0101\n  evenkeel explain --list")
        .arg(
            Arg::new("CODE")
                .required_unless_present("list")
                .num_args(1..)
                .help("Codes from diagnostics"),
        )
        .arg(flag("list", "List all codes"))
        .arg(json::option())
}

pub fn keyword(command: Command) -> Command {
    command
        .about("Explain a keyword of the configuration language")
        .after_help("Examples:\n  evenkeel keyword 'timeout client'\n  evenkeel keyword frontend\n  evenkeel keyword sD--\n  evenkeel keyword --list | grep stick")
        .arg(
            Arg::new("NAME")
                .required_unless_present("list")
                .num_args(1..)
                .allow_hyphen_values(true)
                .help("One or more words: `option httplog` needs no quotes"),
        )
        .arg(flag("list", "List all keywords"))
        .arg(json::option())
}

pub fn manual(command: Command) -> Command {
    command
        .about("Print the reference manual of all keywords, or write it as HTML")
        .long_about(
            "Without an argument, prints the table of contents: one chapter for each keyword family. With the name of \
             a chapter, prints that chapter. With other words, searches the names and descriptions of keywords.",
        )
        .after_help(
            "Examples:\n  evenkeel manual\n  evenkeel manual timeouts\n  evenkeel manual sticky cookie\n  \
             evenkeel manual --all | less\n  evenkeel manual --html /usr/share/doc/evenkeel",
        )
        .arg(
            Arg::new("TOPIC")
                .num_args(1..)
                .allow_hyphen_values(true)
                .conflicts_with_all(["html", "all", "differences"])
                .help("A chapter, or words to search for"),
        )
        .arg(
            flag("all", "Print all chapters").conflicts_with_all(["html", "differences"]),
        )
        .arg(
            flag("differences", "Print the differences from HAProxy, with reasons").conflicts_with("html"),
        )
        .arg(
            option("html", "DIRECTORY", "Write HTML pages to this directory; open index.html, no server is needed").value_parser(value_parser!(std::path::PathBuf)),
        )
}

pub fn demo(command: Command) -> Command {
    command
        .about("Start two sample servers, a proxy, load, and a live view")
        .long_about(
            "Starts two sample web servers and a proxy with examples/demo.cfg, and shows live which server responds. \
             Keys stop and start servers and change the configuration. It needs no privileges, installs nothing, and \
             listens on loopback only.\n\n\
             With --platform it starts a whole cluster as root: two nodes and an arbiter in network namespaces, with a \
             virtual address, three servers, a client and the web console on 127.0.0.1:8600, and a menu of faults. \
             Everything is removed at the end.",
        )
        .after_help(
            "Keys:\n  1, 2  stop or start a server\n  c     reload: add or remove a third server\n  q     quit\n\n\
             Examples:\n  evenkeel demo\n  sudo evenkeel demo --platform",
        )
        .arg(flag("script", "Without the view: stop and start both servers, reload, report what a client saw, and exit with 0 only if \
             no request failed",))
        .arg(
            flag("platform", "As root: a cluster of two nodes and an arbiter in network namespaces, with the web console and a \
                 menu of faults",).conflicts_with("script"),
        )
}

pub fn version(command: Command) -> Command {
    command.about("Print the version").arg(json::option())
}

pub fn completions(command: Command) -> Command {
    command
        .about("Print shell completions")
        .after_help("Example:\n  evenkeel completions bash >/etc/bash_completion.d/evenkeel")
        .arg(
            Arg::new("SHELL")
                .required(true)
                .value_parser(value_parser!(clap_complete::Shell)),
        )
}

pub fn man(command: Command) -> Command {
    command
        .about("Print the man page")
        .after_help("Example:\n  evenkeel man | man -l -")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        definition().debug_assert();
    }

    #[test]
    fn run_and_check_take_files_in_every_way() {
        for line in [
            "run -f a b",
            "run -f a -f b",
            "run --file a --file b",
            "run a b",
            "run a -f b",
            "check a b",
            "check -f a b",
            "check -f a --file b",
            "check a -f b",
        ] {
            let words = ["evenkeel"].into_iter().chain(line.split(' '));
            let matches = definition().try_get_matches_from(words).unwrap();
            let (_, command) = matches.subcommand().unwrap();
            let mut files = super::super::files(command);
            files.sort();
            assert_eq!(files, ["a", "b"].map(std::path::PathBuf::from), "{line}");
        }
        assert!(
            definition()
                .try_get_matches_from(["evenkeel", "check"])
                .is_err()
        );
        let line = "evenkeel run --state /x";
        let matches = definition().try_get_matches_from(line.split(' ')).unwrap();
        let (_, run) = matches.subcommand().unwrap();
        assert!(super::super::files(run).is_empty());
        for both in ["evenkeel run --state /x -f a", "evenkeel run --state /x a"] {
            assert!(definition().try_get_matches_from(both.split(' ')).is_err());
        }
    }

    #[test]
    fn every_subcommand_has_a_description() {
        for command in definition().get_subcommands() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
        }
    }
}
