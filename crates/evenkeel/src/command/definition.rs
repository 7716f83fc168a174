//! The subcommands and their options, as clap takes them. Help, completions
//! and the man page come from here.

use clap::builder::{PossibleValuesParser, ValueParser};
use clap::{Arg, ArgAction, Command, value_parser};

const ABOUT: &str = "A load balancer that runs your haproxy.cfg and keepalived.conf";

const LONG_ABOUT: &str = "\
Evenkeel takes HAProxy's configuration files of any age, unchanged, and serves with them. Every mistake of a file is \
told at once, at its word, with what to write instead.

It takes keepalived's files, too, and owns virtual addresses with them.

Started under the name haproxy or keepalived (by a link), or as `evenkeel haproxy …`, it takes the flags of that program.";

const EXAMPLES: &str = "\
Examples:
  evenkeel demo                               see it work, nothing to prepare
  evenkeel check /etc/haproxy/haproxy.cfg     what is wrong with this file?
  evenkeel run -f /etc/haproxy/haproxy.cfg    serve with it, in the foreground
  evenkeel address                            who owns the virtual addresses, and why?
  evenkeel reload                             take the changed file in, touching nothing else
  evenkeel explain E0101                      what does that code mean?
  evenkeel keyword 'timeout client'           what does that keyword do?
  evenkeel haproxy -c -f haproxy.cfg          HAProxy's flags, without a link";

/// The whole command line.
pub fn definition() -> Command {
    Command::new("evenkeel")
        .version(crate::identity::VERSION)
        .about(ABOUT)
        .long_about(LONG_ABOUT)
        .after_help(EXAMPLES)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .max_term_width(100)
        .subcommands([
            run(),
            reload(),
            address(),
            super::cluster::cluster(),
            super::cluster::arbiter(),
            super::config::config(),
            lab(),
            check(),
            fmt(),
            upgrade(),
            explain(),
            keyword(),
            manual(),
            demo(),
        ])
        .subcommands([version(), completions(), man()])
}

fn path(name: &'static str) -> Arg {
    Arg::new(name)
        .value_name(name)
        .value_parser(ValueParser::path_buf())
}

fn run() -> Command {
    Command::new("run")
        .about("Serve with these files, in the foreground")
        .long_about(
            "Serves with these files, in the foreground, until a signal ends it: INT (exit code 130) and TERM (0) at \
             once, USR1 (0) when what it has is finished (bounded by `hard-stop-after`). HUP, like `evenkeel reload`, \
             changes to what the files say now; a bad file changes nothing. TTOU pauses accepting, TTIN goes on. \
             `daemon` in a file is passed over.\n\nThe process that is started supervises: the one that serves is \
             its child, runs as the user (nobody where root starts it and the file names none) and in the directory \
             that the file names, and is started again when it dies. When the supervisor itself dies the proxy serves \
             on, and the same command started again takes it over. Where another program stands in the place of this \
             one, a reload changes to it. `watch` in a file makes files that change by themselves be taken in.\n\nFiles of \
             keepalived are taken, too, beside haproxy's or alone. Virtual addresses, of those or of `virtual-ip` sections, \
             are another child's: it gives them up when it is stopped, and is started again at once when it is killed. \
             When all is killed they vanish by themselves.\n\nWithout -f, on a machine that belongs to a cluster \
             (`evenkeel cluster init` and `join`), it serves the cluster's versions, and begins with the last one that it \
             accepted; a further child, the control role, speaks with the other members. What is served goes on without it.",
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
                .help("Files, or directories of which the .cfg files are read in the order of their names"),
        )
        .arg(
            path("FILES")
                .value_name("FILE")
                .num_args(1..)
                .help("The same without -f"),
        )
        .arg(
            Arg::new("state")
                .long("state")
                .value_name("DIRECTORY")
                .value_parser(value_parser!(std::path::PathBuf))
                .conflicts_with_all(["FILE", "FILES"])
                .help("Without -f: where this machine keeps who it is in its cluster [default: /var/lib/evenkeel]"),
        )
        .arg(
            Arg::new("master")
                .short('S')
                .long("master")
                .value_name("BIND")
                .action(ArgAction::Append)
                .help(
                    "A socket at which the supervisor takes commands (help, show proc, reload, @1 …): an address and \
                     options of `bind`, joined by commas, such as /run/evenkeel/master.sock,mode,600,level,operator",
                ),
        )
        .arg(
            Arg::new("take-over")
                .short('x')
                .long("take-over")
                .value_name("SOCKET")
                .value_parser(ValueParser::os_string())
                .help("Take the listeners of another haproxy or evenkeel over, by its `stats socket … expose-fd listeners`"),
        )
        .arg(pids("finish", "Tell these processes to finish what they have, once this one serves (haproxy's -sf)"))
        .arg(pids("end", "Tell these processes to end, once this one serves (haproxy's -st)").conflicts_with("finish"))
}

fn pids(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name("PID")
        .value_parser(value_parser!(u32).range(1..))
        .num_args(1..)
        .action(ArgAction::Append)
        .help(help)
}

fn reload() -> Command {
    Command::new("reload")
        .about("Make a running `evenkeel run` or `haproxy -W` take its files in again")
        .long_about(
            "Asks a running `evenkeel run` or `haproxy -W` of the same user to change to what its files say now, \
             waits, and prints what changed. Nothing that exists is touched: listeners that stay are never closed, \
             connections go on. Maps and ACLs that the runtime API changed keep those changes; where they differ from \
             their files, that is printed. Exits with 1, with what is wrong, when nothing was changed. After an upgrade of the \
             binary it changes to the new program, too, which is tried for some seconds first.\n\nThose that run are \
             listed in /run/evenkeel (root), $XDG_RUNTIME_DIR/evenkeel or /tmp/evenkeel-UID; \
             EVENKEEL_RUNTIME_DIRECTORY names another directory.",
        )
        .after_help("Examples:\n  evenkeel reload\n  evenkeel reload -f haproxy.cfg\n  evenkeel reload --pid 4711\n  evenkeel reload --reset-runtime")
        .arg(serving_files().num_args(1..))
        .arg(process_id())
        .arg(
            Arg::new("reset-runtime")
                .long("reset-runtime")
                .action(ArgAction::SetTrue)
                .help("Take maps and ACL files as they are, and drop what the runtime API and rules changed in them"),
        )
}

/// Which of the supervisors that run is meant: the one with these files.
fn serving_files() -> Arg {
    path("FILE")
        .short('f')
        .long("file")
        .action(ArgAction::Append)
        .help("The one that serves with these files (as its command line named them)")
}

/// Which of the supervisors that run is meant: the one with this number.
fn process_id() -> Arg {
    Arg::new("pid")
        .long("pid")
        .value_name("PID")
        .value_parser(value_parser!(u32))
        .help("The one with this process id")
}

fn lab() -> Command {
    Command::new("lab")
        .about("Take care of the laboratory of network namespaces")
        .subcommand_required(true)
        .subcommand(
            Command::new("clean")
                .about("Remove what a laboratory left whose process was killed")
                .long_about(
                    "Removes network namespaces, with all that runs in them, and directories of laboratories whose \
                     processes are dead. What a living one uses is not touched. Needs root.",
                )
                .after_help("Example:\n  evenkeel lab clean"),
        )
}

fn address() -> Command {
    Command::new("address")
        .about("Tell who owns which virtual addresses, since when and why; hand them over")
        .long_about(
            "Asks a running `evenkeel run` or `keepalived` of the same user for its virtual addresses: who owns each, \
             since when, why, what its priority is made of, and the last transitions. `hand-over` gives the addresses \
             of an instance, or all, to another machine that is ready for them; requests under way may finish first. \
             It waits until another machine has them and prints which one; it exits with 3 when nobody took over (this \
             machine keeps them then), with 4 when the end is not known, and with 1 when there was nothing to hand over. \
             `metrics` tells it for Prometheus, by the names of keepalived_exporter.",
        )
        .after_help(
            "Examples:\n  evenkeel address\n  evenkeel address --json | jq .\n  \
             evenkeel address hand-over www --drain 5s\n  evenkeel address metrics",
        )
        .subcommand_negates_reqs(true)
        .arg(serving_files().num_args(1).global(true))
        .arg(process_id().global(true))
        .arg(
            Arg::new("json")
                .long("json")
                .action(ArgAction::SetTrue)
                .help("For programs"),
        )
        .subcommands([
            Command::new("hand-over")
                .about("Give addresses to another machine, which is ready for them")
                .arg(Arg::new("NAME").help("The instance; all of them without a name"))
                .arg(
                    Arg::new("drain")
                        .long("drain")
                        .value_name("TIME")
                        .value_parser(super::address::duration)
                        .help("How long requests may finish (5s, 500ms); else as the file says"),
                ),
            Command::new("metrics").about("The same for Prometheus, by the names of keepalived_exporter"),
        ])
}

fn check() -> Command {
    Command::new("check")
        .about("Tell everything that is wrong with these files")
        .long_about(
            "Reads these files as one configuration and tells every mistake and every warning. Exits with 0 when \
             there is no error, else with 1; with 2 when there is none but nothing listens, so that it would not start. A warning is silenced by `# evenkeel: allow CODE` on its line.",
        )
        .after_help(
            "Examples:\n  evenkeel check haproxy.cfg\n  evenkeel check --format concise haproxy.cfg\n  \
             evenkeel check --format json haproxy.cfg | jq .\n  \
             evenkeel check --privileges haproxy.cfg",
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
                .help("The same, as `evenkeel run` has it"),
        )
        .arg(
            Arg::new("format")
                .long("format")
                .value_name("FORMAT")
                .value_parser(PossibleValuesParser::new(["full", "concise", "json"]))
                .default_value("full")
                .help("How to tell: for people, one line each, or for programs"),
        )
        .arg(
            Arg::new("no-resolve")
                .long("no-resolve")
                .action(ArgAction::SetTrue)
                .help("Look up no host name (for a file of another machine)"),
        )
        .arg(
            Arg::new("node")
                .long("node")
                .value_name("NAME")
                .help("As this node reads them: which lines `on NODE …` count"),
        )
        .arg(
            Arg::new("hints")
                .long("hints")
                .action(ArgAction::SetTrue)
                .help("Also tell what is only worth a hint"),
        )
        .arg(
            Arg::new("privileges")
                .long("privileges")
                .action(ArgAction::SetTrue)
                .help("Where there is no error, tell what each process would hold and may reach"),
        )
}

fn fmt() -> Command {
    Command::new("fmt")
        .about("Lay files out anew, without changing a word")
        .long_about(
            "Lays files out anew, in place: sections at the left, keywords four spaces in, a blank line above every \
             section. No word, quote, comment or order of lines is changed.",
        )
        .after_help("Examples:\n  evenkeel fmt haproxy.cfg\n  evenkeel fmt --check *.cfg")
        .arg(path("FILE").required(true).num_args(1..).help("Files"))
        .arg(
            Arg::new("check")
                .long("check")
                .action(ArgAction::SetTrue)
                .help("Change nothing; exit with 1 and name the files that would change"),
        )
        .arg(
            Arg::new("stdout")
                .long("stdout")
                .action(ArgAction::SetTrue)
                .conflicts_with("check")
                .help("Print instead of writing"),
        )
}

fn upgrade() -> Command {
    Command::new("upgrade")
        .about("Rewrite what older versions of HAProxy called otherwise")
        .long_about(
            "Rewrites the old forms in files (`clitimeout`, `reqrep`, an address on a `listen` line) to those of today, \
             and shows the difference, as `patch` takes it; nothing is written without `--in-place`. Comments, \
             indentation and the order of lines stay, but for rules that today run where their line stands and did \
             not before: these move. Several files are one configuration, read in their order.\n\nA line that has no \
             form today that does exactly the same is left, works as before, and gets a comment above it that says what \
             to do; it is told on standard error, too.",
        )
        .after_help(
            "Examples:\n  evenkeel upgrade haproxy.cfg\n  evenkeel upgrade -i haproxy.cfg\n  evenkeel upgrade --check haproxy.cfg",
        )
        .arg(path("FILE").required(true).num_args(1..).help("Files"))
        .arg(
            Arg::new("in-place")
                .short('i')
                .long("in-place")
                .action(ArgAction::SetTrue)
                .help("Write the files; each as it was stays beside it, with `.before-upgrade` behind its name"),
        )
        .arg(
            Arg::new("check")
                .long("check")
                .action(ArgAction::SetTrue)
                .conflicts_with("in-place")
                .help("Change nothing; exit with 1 where a file would change or an old form is left"),
        )
        .arg(
            Arg::new("stdout")
                .long("stdout")
                .action(ArgAction::SetTrue)
                .conflicts_with_all(["in-place", "check"])
                .help("Print the rewritten text instead of the difference"),
        )
}

fn explain() -> Command {
    Command::new("explain")
        .about("Explain a code such as E0101")
        .after_help("Examples:\n  evenkeel explain E0103\n  evenkeel explain --list")
        .arg(
            Arg::new("CODE")
                .required_unless_present("list")
                .help("A code, as diagnostics show it"),
        )
        .arg(
            Arg::new("list")
                .long("list")
                .action(ArgAction::SetTrue)
                .help("List all codes"),
        )
}

fn keyword() -> Command {
    Command::new("keyword")
        .about("Explain a keyword of the configuration language")
        .after_help("Examples:\n  evenkeel keyword 'timeout client'\n  evenkeel keyword frontend\n  evenkeel keyword sD--\n  evenkeel keyword --list | grep stick")
        .arg(
            Arg::new("NAME")
                .required_unless_present("list")
                .num_args(1..)
                .allow_hyphen_values(true)
                .help("One or more words: `option httplog` needs no quotes"),
        )
        .arg(Arg::new("list").long("list").action(ArgAction::SetTrue).help("List all keywords"))
}

fn manual() -> Command {
    Command::new("manual")
        .about("The reference manual of all keywords: here, or as HTML to read in a browser")
        .long_about(
            "Without an argument, the contents: a chapter for each family of keywords. With the name of a \
             chapter, that chapter; with other words, the keywords that have them in their name or text.",
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
            Arg::new("all")
                .long("all")
                .action(ArgAction::SetTrue)
                .conflicts_with_all(["html", "differences"])
                .help("Print all chapters"),
        )
        .arg(
            Arg::new("differences")
                .long("differences")
                .action(ArgAction::SetTrue)
                .conflicts_with("html")
                .help("Print what differs from HAProxy, and why"),
        )
        .arg(
            Arg::new("html")
                .long("html")
                .value_name("DIRECTORY")
                .value_parser(value_parser!(std::path::PathBuf))
                .help("Write it as HTML pages, to be opened at index.html; no server is needed"),
        )
}

fn demo() -> Command {
    Command::new("demo")
        .about("Two sample servers, a proxy before them, load, and a view of it all")
        .long_about(
            "Starts sample web servers and a proxy before them from examples/demo.cfg, and shows live who \
             serves. Keys stop and return servers and change the configuration. Needs no rights and nothing installed; listens on the \
             loopback address only.",
        )
        .after_help(
            "Keys:\n  1, 2  stop or return a server\n  c     change the configuration in place: a third server, or \
             without it again\n  q     end",
        )
        .arg(Arg::new("script").long("script").action(ArgAction::SetTrue).help(
            "No view: stop and return both servers and change the configuration by itself, tell what a client saw, exit with 0 only when no request failed",
        ))
}

fn version() -> Command {
    Command::new("version").about("Print the version")
}

fn completions() -> Command {
    Command::new("completions")
        .about("Print completions for a shell")
        .after_help("Example:\n  evenkeel completions bash >/etc/bash_completion.d/evenkeel")
        .arg(
            Arg::new("SHELL")
                .required(true)
                .value_parser(value_parser!(clap_complete::Shell)),
        )
}

fn man() -> Command {
    Command::new("man")
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
    fn every_subcommand_says_what_it_is_for() {
        for command in definition().get_subcommands() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
        }
    }
}
