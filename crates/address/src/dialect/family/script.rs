//! `vrrp_script`, `track_file`, `vrrp_track_process`: tracked objects other than interfaces.

use super::draft::{At, UncheckedProgram, put};
use super::notify::{account, split};
use super::{BFD, FILE, PROCESS, SCRIPT};
use crate::codes;
use crate::config::{ParameterMatch, Script, TrackFile, TrackProcess, Weight};
use crate::dialect::keyword::{Row, TOP, block, line};
use crate::dialect::loader::Loader;
use crate::dialect::tree::ConfigStatement;
use language::Diagnostic;
use std::path::PathBuf;
use std::time::Duration;

/// Maximum interval and timeout of a script in seconds: the microseconds must fit 32 bits.
const SECONDS_MAX: i64 = 4294;

pub(in crate::dialect) static ROWS: &[Row] = &[
    Row {
        places: &[TOP],
        syntax: "vrrp_script <name> { script … }",
        doc: "A script that runs at an interval. Instances refer to it in `track_script`: its failure is a fault, or \
            with a weight changes their priority.",
        example: "vrrp_script check {\n    script \"/usr/bin/pgrep haproxy\"\n    interval 2\n    fall 2\n}",
        build: block(1, 1, script),
    },
    Row {
        places: &[SCRIPT],
        syntax: "script <script>",
        doc: "The command; quote it together with its arguments. Exit status 0 is a success. No shell is used.",
        example: "script \"/usr/bin/pgrep haproxy\"",
        build: line(1, 64, command),
    },
    Row {
        places: &[SCRIPT],
        syntax: "interval <seconds>",
        doc: "Interval between two runs, by default 1 s.",
        example: "script /usr/bin/true\ninterval 2",
        build: line(1, 1, |l, n| {
            let value = l.seconds(n, 1..=SECONDS_MAX);
            put(&mut l.drafts.scripts, value, |s| &mut s.interval);
        }),
    },
    Row {
        places: &[SCRIPT],
        syntax: "timeout <seconds>",
        doc: "Maximum duration of a run; a longer one fails and is killed. The default is the interval.",
        example: "script /usr/bin/true\ntimeout 5",
        build: line(1, 1, |l, n| {
            let value = l.seconds(n, 0..=SECONDS_MAX);
            let value = value.filter(|v| *v > Duration::ZERO);
            put(&mut l.drafts.scripts, Some(value), |s| &mut s.timeout);
        }),
    },
    Row {
        places: &[SCRIPT],
        syntax: "rise <number>",
        doc: "Number of consecutive successful runs after which a failed script counts as up, by default 1.",
        example: "script /usr/bin/true\nrise 3",
        build: line(1, 1, |l, n| {
            let value = l.count(n, 1..=i64::from(i32::MAX));
            put(&mut l.drafts.scripts, value, |s| &mut s.rise);
        }),
    },
    Row {
        places: &[SCRIPT],
        syntax: "fall <number>",
        doc: "Number of consecutive failed runs after which the script counts as down, by default 1.",
        example: "script /usr/bin/true\nfall 3",
        build: line(1, 1, |l, n| {
            let value = l.count(n, 1..=i64::from(i32::MAX));
            put(&mut l.drafts.scripts, value, |s| &mut s.fall);
        }),
    },
    Row {
        places: &[SCRIPT],
        syntax: "user <user> [<group>]",
        doc: "User that runs the script; the default is `script_user`.",
        example: "script /usr/bin/true\nuser root",
        build: line(1, 2, |l, n| {
            let account = account(l, n.arguments());
            put(&mut l.drafts.scripts, Some(account), |s| &mut s.account);
        }),
    },
    Row {
        places: &[SCRIPT],
        syntax: "init_fail",
        doc: "Counts as failed until its first success.",
        example: "script /usr/bin/true\ninit_fail",
        build: line(0, 0, |l, _| {
            put(&mut l.drafts.scripts, Some(true), |s| &mut s.init_fail)
        }),
    },
    Row {
        places: &[SCRIPT, BFD],
        syntax: "weight <-253..253> [reverse]",
        doc: "0: a failure is a fault. A positive weight is added to the priority on success, a negative one on \
            failure; `reverse` inverts that.",
        example: "weight -20",
        build: line(1, 2, |l, n| {
            let found = weight(l, n, 253);
            match l.place {
                SCRIPT => put(&mut l.drafts.scripts, found, |s| &mut s.weight),
                _ => put(&mut l.drafts.bfd, found, |s| &mut s.weight),
            }
        }),
    },
    Row {
        places: &[TOP],
        syntax: "track_file <name> { file … }",
        doc: "A file with a number that instances track. It is read whenever it changes.",
        example: "track_file maintenance {\n    file /run/maintenance\n    weight 1\n    init_file 0\n}",
        build: block(1, 1, file),
    },
    Row {
        places: &[TOP],
        syntax: "vrrp_track_file <name> { file … }",
        doc: "Old name of `track_file`.",
        example: "vrrp_track_file maintenance {\n    file /run/maintenance\n}",
        build: block(1, 1, file),
    },
    Row {
        places: &[FILE],
        syntax: "file <path>",
        doc: "The file; its first line contains a number.",
        example: "file /run/maintenance",
        build: line(1, 1, |l, n| {
            put(&mut l.drafts.files, n.text().map(PathBuf::from), |f| {
                &mut f.path
            });
        }),
    },
    Row {
        places: &[FILE],
        syntax: "weight <number> [reverse]",
        doc: "The number in the file, multiplied by this weight, is added to the priority. 0: every number except 0 \
            is a fault. Default 1.",
        example: "file /run/maintenance\nweight -1",
        build: line(1, 2, |l, n| {
            let found = weight(l, n, i64::from(i32::MAX));
            put(&mut l.drafts.files, found, |f| &mut f.weight);
        }),
    },
    Row {
        places: &[FILE],
        syntax: "init_file [<value>] [overwrite]",
        doc: "Creates the file with this number (0) if it does not exist; `overwrite` always writes it.",
        example: "file /run/maintenance\ninit_file 0 overwrite",
        build: line(0, 2, init_file),
    },
    Row {
        places: &[TOP],
        syntax: "vrrp_track_process <name> { process … }",
        doc: "Processes that instances track: whether enough of them run. The check starts no program.",
        example: "vrrp_track_process haproxy {\n    process haproxy\n    quorum 1\n    weight 10\n}",
        build: block(1, 1, process),
    },
    Row {
        places: &[PROCESS],
        syntax: "process <name> [<parameter> …]",
        doc: "Name of the processes, compared exactly, and optionally their parameters.",
        example: "process haproxy",
        build: line(1, 256, |l, n| {
            let words = n.arguments().iter().map(|w| w.text.clone()).collect();
            put(&mut l.drafts.processes, Some(words), |p| &mut p.words);
        }),
    },
    Row {
        places: &[PROCESS],
        syntax: "param_match initial|partial",
        doc: "`partial`: the first parameters are equal. `initial`: in addition, the last one may be longer. Without \
            parameters: the process has none.",
        example: "process haproxy -W\nparam_match partial",
        build: line(1, 1, |l, n| {
            let all = [
                ("initial", ParameterMatch::Initial),
                ("partial", ParameterMatch::Partial),
            ];
            let found = n.argument().and_then(|w| l.choice(w, &all));
            put(&mut l.drafts.processes, Some(found), |p| &mut p.parameters);
        }),
    },
    Row {
        places: &[PROCESS],
        syntax: "weight <-254..254> [reverse]",
        doc: "0: too few processes are a fault. A positive weight is added while enough run, a negative one while \
            not. Default 0, as in keepalived, whose manual says 1.",
        example: "process haproxy\nweight 10",
        build: line(1, 2, |l, n| {
            let found = weight(l, n, 254);
            put(&mut l.drafts.processes, found, |p| &mut p.weight);
        }),
    },
    Row {
        places: &[PROCESS],
        syntax: "quorum <number>",
        doc: "Number of processes that must run, by default 1.",
        example: "process haproxy\nquorum 2",
        build: line(1, 1, |l, n| {
            let value = l.count(n, 1..=65535);
            put(&mut l.drafts.processes, value, |p| &mut p.quorum);
        }),
    },
    Row {
        places: &[PROCESS],
        syntax: "quorum_max <number>",
        doc: "Maximum number of processes; with 0 none may run.",
        example: "process haproxy\nquorum_max 4",
        build: line(1, 1, |l, n| {
            let value = l.count(n, 0..=65535);
            put(&mut l.drafts.processes, Some(value), |p| &mut p.quorum_max);
        }),
    },
    Row {
        places: &[PROCESS],
        syntax: "fork_delay <seconds>",
        doc: "Time for which enough processes must run until they count.",
        example: "process haproxy\nfork_delay 0.5",
        build: line(1, 1, |l, n| delay(l, n, true, false)),
    },
    Row {
        places: &[PROCESS],
        syntax: "terminate_delay <seconds>",
        doc: "Time for which too few processes must run until that counts, so that a restart is not a failure.",
        example: "process haproxy\nterminate_delay 0.5",
        build: line(1, 1, |l, n| delay(l, n, false, true)),
    },
    Row {
        places: &[PROCESS],
        syntax: "delay <seconds>",
        doc: "Sets both `fork_delay` and `terminate_delay`.",
        example: "process haproxy\ndelay 0.5",
        build: line(1, 1, |l, n| delay(l, n, true, true)),
    },
    Row {
        places: &[PROCESS],
        syntax: "full_command",
        doc: "Compares the whole command line instead of the process name.",
        example: "process /usr/sbin/haproxy\nfull_command",
        build: line(0, 0, |l, _| {
            put(&mut l.drafts.processes, Some(true), |p| &mut p.full_command);
        }),
    },
];

/// Parses a weight and its optional direction.
fn weight(l: &mut Loader<'_>, node: &ConfigStatement, most: i64) -> Option<Weight> {
    let value = l.small(node.argument()?, -most..=most)?;
    let reverse = match node.arguments().get(1) {
        None => false,
        Some(word) => l.choice(word, &[("reverse", true), ("noreverse", false)])?,
    };
    Some(Weight { value, reverse })
}

/// Returns the name of a block, and reports a duplicate.
pub(super) fn named<T>(
    l: &mut Loader<'_>,
    node: &ConfigStatement,
    kind: &'static str,
    value: impl FnOnce(String) -> T,
) -> Option<At<T>> {
    let Some(word) = node.argument() else {
        return Some(At {
            value: value(String::new()),
            span: node.place(),
        });
    };
    let name = (kind, word.text.clone());
    let before = l.drafts.named.get(&name).copied();
    l.drafts.named.entry(name).or_insert(word.span);
    if let Some(before) = before {
        let message = format!("duplicate '{} {}'", node.name(), word.text);
        if l.options.as_keepalived {
            let told = Diagnostic::warning(&codes::LEFT_OUT, word.span, message);
            let told = told.label("ignored").with_label(before, "this one applies");
            l.report(told);
            return None;
        }
        l.report(
            Diagnostic::error(&codes::DUPLICATE, word.span, message)
                .label("second definition")
                .with_label(before, "first defined here"),
        );
    }
    Some(At {
        value: value(word.text.clone()),
        span: word.span,
    })
}

fn script(l: &mut Loader<'_>, node: &ConfigStatement) {
    let draft = named(l, node, "vrrp_script", |name| Script {
        name,
        interval: Duration::from_secs(1),
        rise: 1,
        fall: 1,
        ..Script::default()
    });
    let Some(draft) = draft else { return };
    l.drafts.scripts.push(draft);
    l.children(SCRIPT, node);
    let Some(At { value, span }) = l.drafts.scripts.last().cloned() else {
        return;
    };
    if value.words.is_empty() {
        missing(l, span, "vrrp_script", &value.name, "script");
    }
}

fn missing(l: &mut Loader<'_>, span: language::Span, kind: &str, name: &str, what: &str) {
    let message = format!("'{kind} {name}' has no '{what}'");
    l.error(&codes::MISSING_VALUE, span, message);
}

fn command(l: &mut Loader<'_>, node: &ConfigStatement) {
    let Some(word) = node.argument() else { return };
    let Some(words) = split(l, word) else {
        // The error is already reported; the words prevent a second one about a missing script.
        let words = vec![word.text.clone()];
        put(&mut l.drafts.scripts, Some(words), |s| &mut s.words);
        return;
    };
    if let Some(extra) = node.arguments().get(1) {
        let all: Vec<&str> = node.arguments().iter().map(|w| w.text.as_str()).collect();
        let place = word.span.to(node.whole());
        l.report(
            Diagnostic::warning(
                &codes::EXTRA_WORDS,
                extra.span.to(node.whole()),
                "the script runs without these words",
            )
            .label("not given to the script")
            .help("quote a script together with its arguments")
            .fix(place, format!("\"{}\"", all.join(" "))),
        );
    }
    let script = l.drafts.scripts.last().map(|at| at.value.name.clone());
    l.drafts.commands.push(UncheckedProgram {
        what: "vrrp_script",
        script,
        program: words.first().cloned().unwrap_or_default(),
        account: None,
        span: word.span,
    });
    put(&mut l.drafts.scripts, Some(words), |s| &mut s.words);
}

fn file(l: &mut Loader<'_>, node: &ConfigStatement) {
    let draft = named(l, node, "track_file", |name| TrackFile {
        name,
        path: PathBuf::new(),
        weight: Weight {
            value: 1,
            reverse: false,
        },
        init: None,
    });
    let Some(draft) = draft else { return };
    l.drafts.files.push(draft);
    l.children(FILE, node);
    let Some(At { value, span }) = l.drafts.files.last().cloned() else {
        return;
    };
    if value.path.as_os_str().is_empty() {
        missing(l, span, "track_file", &value.name, "file");
    }
}

fn init_file(l: &mut Loader<'_>, node: &ConfigStatement) {
    let mut init = (0, false);
    for word in node.arguments() {
        match word.text.as_str() {
            "overwrite" => init.1 = true,
            _ => {
                init.0 = l
                    .number(word, i64::from(i32::MIN)..=i64::from(i32::MAX))
                    .unwrap_or(0)
            }
        }
    }
    put(&mut l.drafts.files, Some(Some(init)), |f| &mut f.init);
}

fn process(l: &mut Loader<'_>, node: &ConfigStatement) {
    let draft = named(l, node, "vrrp_track_process", |name| TrackProcess {
        name,
        quorum: 1,
        ..TrackProcess::default()
    });
    let Some(draft) = draft else { return };
    l.drafts.processes.push(draft);
    l.children(PROCESS, node);
    let Some(at) = l.drafts.processes.last_mut() else {
        return;
    };
    if at.value.words.len() > 1 && at.value.parameters.is_none() {
        at.value.parameters = Some(ParameterMatch::Exact);
    }
    let At { value, span } = at.clone();
    if value.words.is_empty() {
        missing(l, span, "vrrp_track_process", &value.name, "process");
    }
    if value
        .quorum_max
        .is_some_and(|most| most != 0 && most < value.quorum)
    {
        let message = "quorum_max is smaller than quorum: it never succeeds";
        l.error(&codes::OUT_OF_RANGE, span, message);
    }
}

fn delay(l: &mut Loader<'_>, node: &ConfigStatement, fork: bool, terminate: bool) {
    let value = node.argument();
    let value = value.and_then(|word| l.timer(word, 0..=3_600_000_000));
    let processes = &mut l.drafts.processes;
    put(processes, value.filter(|_| fork), |p| &mut p.fork_delay);
    let value = value.filter(|_| terminate);
    put(processes, value, |p| &mut p.terminate_delay);
}
