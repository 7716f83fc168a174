//! Parses the blocks of tracked objects other than interfaces: `vrrp_script`, `track_file` and
//! `vrrp_track_process`.

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

pub(in crate::dialect) static ROWS: &[Row] = language::rows! {
    "vrrp_script <name> { script … }" &[TOP], block(1, 1, script),
        "vrrp_script check {\n    script \"/usr/bin/pgrep haproxy\"\n    interval 2\n    fall 2\n}",
        "A script that runs at an interval. Instances refer to it in `track_script`: its failure is a fault, or with a \
         weight changes their priority.";
    "script <script>" &[SCRIPT], line(1, 64, command), "script \"/usr/bin/pgrep haproxy\"",
        "The command; quote it together with its arguments. Exit status 0 is a success. No shell is used.";
    "interval <seconds>" &[SCRIPT],
        line(1, 1, |l, n| put(l.seconds(n, 1..=SECONDS_MAX), &mut l.drafts.scripts, |s| &mut s.interval)),
        "script /usr/bin/true\ninterval 2", "Interval between two runs, by default 1 s.";
    "timeout <seconds>" &[SCRIPT],
        line(1, 1, |l, n| {
            let time = l.seconds(n, 0..=SECONDS_MAX).filter(|time| !time.is_zero());
            put(Some(time), &mut l.drafts.scripts, |s| &mut s.timeout);
        }),
        "script /usr/bin/true\ntimeout 5",
        "Maximum duration of a run; a longer one fails and is killed. The default is the interval.";
    "rise <number>" &[SCRIPT],
        line(1, 1, |l, n| put(l.count(n, 1..=i64::from(i32::MAX)), &mut l.drafts.scripts, |s| &mut s.rise)),
        "script /usr/bin/true\nrise 3",
        "Number of consecutive successful runs after which a failed script counts as up, by default 1.";
    "fall <number>" &[SCRIPT],
        line(1, 1, |l, n| put(l.count(n, 1..=i64::from(i32::MAX)), &mut l.drafts.scripts, |s| &mut s.fall)),
        "script /usr/bin/true\nfall 3",
        "Number of consecutive failed runs after which the script counts as down, by default 1.";
    "user <user> [<group>]" &[SCRIPT],
        line(1, 2, |l, n| put(Some(account(l, n.arguments())), &mut l.drafts.scripts, |s| &mut s.account)),
        "script /usr/bin/true\nuser root",
        "User that runs the script; the default is `script_user`.";
    "init_fail" &[SCRIPT],
        line(0, 0, |l, _| put(Some(true), &mut l.drafts.scripts, |s| &mut s.init_fail)),
        "script /usr/bin/true\ninit_fail", "Counts as failed until its first success.";
    "weight <-253..253> [reverse]" &[SCRIPT, BFD],
        line(1, 2, |l, n| match l.place {
            SCRIPT => put(weight(l, n, 253), &mut l.drafts.scripts, |s| &mut s.weight),
            _ => put(weight(l, n, 253), &mut l.drafts.bfd, |s| &mut s.weight),
        }),
        "weight -20",
        "0: a failure is a fault. A positive weight is added to the priority on success, a negative one on failure; \
         `reverse` inverts that.";
    "track_file <name> { file … }" &[TOP], block(1, 1, file),
        "track_file maintenance {\n    file /run/maintenance\n    weight 1\n    init_file 0\n}",
        "A file with a number that instances track. It is read whenever it changes.";
    "vrrp_track_file <name> { file … }" &[TOP], block(1, 1, file),
        "vrrp_track_file maintenance {\n    file /run/maintenance\n}", "Old name of `track_file`.";
    "file <path>" &[FILE],
        line(1, 1, |l, n| put(n.text().map(PathBuf::from), &mut l.drafts.files, |f| &mut f.path)),
        "file /run/maintenance", "The file; its first line contains a number.";
    "weight <number> [reverse]" &[FILE],
        line(1, 2, |l, n| put(weight(l, n, i64::from(i32::MAX)), &mut l.drafts.files, |f| &mut f.weight)),
        "file /run/maintenance\nweight -1",
        "The number in the file, multiplied by this weight, is added to the priority. 0: every number except 0 is a \
         fault. Default 1.";
    "init_file [<value>] [overwrite]" &[FILE], line(0, 2, init_file),
        "file /run/maintenance\ninit_file 0 overwrite",
        "Creates the file with this number (0) if it does not exist; `overwrite` always writes it.";
    "vrrp_track_process <name> { process … }" &[TOP], block(1, 1, process),
        "vrrp_track_process haproxy {\n    process haproxy\n    quorum 1\n    weight 10\n}",
        "Processes that instances track: whether enough of them run. The check starts no program.";
    "process <name> [<parameter> …]" &[PROCESS],
        line(1, 256, |l, n| {
            let words = n.arguments().iter().map(|w| w.text.clone()).collect();
            put(Some(words), &mut l.drafts.processes, |p| &mut p.words);
        }),
        "process haproxy",
        "Name of the processes, compared exactly, and optionally their parameters.";
    "param_match initial|partial" &[PROCESS],
        line(1, 1, |l, n| {
            let all = [("initial", ParameterMatch::Initial), ("partial", ParameterMatch::Partial)];
            let found = n.argument().and_then(|w| l.choice(w, &all));
            put(Some(found), &mut l.drafts.processes, |p| &mut p.parameters);
        }),
        "process haproxy -W\nparam_match partial",
        "`partial`: the first parameters are equal. `initial`: in addition, the last one may be longer. Without \
         parameters: the process has none.";
    "weight <-254..254> [reverse]" &[PROCESS],
        line(1, 2, |l, n| put(weight(l, n, 254), &mut l.drafts.processes, |p| &mut p.weight)),
        "process haproxy\nweight 10",
        "0: too few processes are a fault. A positive weight is added while enough run, a negative one while not. \
         Default 0, as in keepalived, whose manual says 1.";
    "quorum <number>" &[PROCESS],
        line(1, 1, |l, n| put(l.count(n, 1..=65535), &mut l.drafts.processes, |p| &mut p.quorum)),
        "process haproxy\nquorum 2", "Number of processes that must run, by default 1.";
    "quorum_max <number>" &[PROCESS],
        line(1, 1, |l, n| put(Some(l.count(n, 0..=65535)), &mut l.drafts.processes, |p| &mut p.quorum_max)),
        "process haproxy\nquorum_max 4", "Maximum number of processes; with 0 none may run.";
    "fork_delay <seconds>" &[PROCESS], line(1, 1, |l, n| delay(l, n, true, false)),
        "process haproxy\nfork_delay 0.5",
        "Time for which enough processes must run until they count.";
    "terminate_delay <seconds>" &[PROCESS], line(1, 1, |l, n| delay(l, n, false, true)),
        "process haproxy\nterminate_delay 0.5",
        "Time for which too few processes must run until that counts, so that a restart is not a failure.";
    "delay <seconds>" &[PROCESS], line(1, 1, |l, n| delay(l, n, true, true)),
        "process haproxy\ndelay 0.5", "Sets both `fork_delay` and `terminate_delay`.";
    "full_command" &[PROCESS],
        line(0, 0, |l, _| put(Some(true), &mut l.drafts.processes, |p| &mut p.full_command)),
        "process /usr/sbin/haproxy\nfull_command",
        "Compares the whole command line instead of the process name.";
};

/// Parses a weight and its optional direction.
fn weight(l: &mut Loader<'_>, node: &ConfigStatement, most: i64) -> Option<Weight> {
    let value = l.small(node.argument()?, -most..=most)?;
    let reverse = match node.arguments().get(1) {
        None => false,
        Some(word) => l.choice(word, &[("reverse", true), ("noreverse", false)])?,
    };
    Some(Weight { value, reverse })
}

/// Parses a named block into a new draft and returns it. A duplicate name is an error; under the
/// name `keepalived`, the second block is ignored with a warning, and the result is None.
pub(super) fn named_block<D: Clone>(
    l: &mut Loader<'_>,
    node: &ConfigStatement,
    place: &'static str,
    new: impl FnOnce(String) -> D,
    drafts: for<'l> fn(&'l mut Loader<'_>) -> &'l mut Vec<At<D>>,
) -> Option<At<D>> {
    if let Some(word) = node.argument()
        && let Some(before) = l.drafts.name_taken(place, word)
    {
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
    let At { value, span } = node.named();
    let value = new(value);
    drafts(l).push(At { value, span });
    l.children(place, node);
    drafts(l).last().cloned()
}

fn script(l: &mut Loader<'_>, node: &ConfigStatement) {
    let new = |name| Script {
        name,
        interval: Duration::from_secs(1),
        rise: 1,
        fall: 1,
        ..Script::default()
    };
    if let Some(At { value, span }) = named_block(l, node, SCRIPT, new, |l| &mut l.drafts.scripts)
        && value.words.is_empty()
    {
        missing(l, span, SCRIPT, &value.name, "script");
    }
}

pub(super) fn missing(
    l: &mut Loader<'_>,
    span: language::Span,
    kind: &str,
    name: &str,
    what: &str,
) {
    let message = format!("'{kind} {name}' has no '{what}'");
    l.error(&codes::MISSING_VALUE, span, message);
}

fn command(l: &mut Loader<'_>, node: &ConfigStatement) {
    let Some(word) = node.argument() else { return };
    let Some(words) = split(l, word) else {
        // Stores the text as it is, so that the block does not count as one without a script: the
        // unmatched quote is already reported.
        let words = vec![word.text.clone()];
        put(Some(words), &mut l.drafts.scripts, |s| &mut s.words);
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
        what: SCRIPT,
        script,
        program: words.first().cloned().unwrap_or_default(),
        account: None,
        span: word.span,
    });
    put(Some(words), &mut l.drafts.scripts, |s| &mut s.words);
}

fn file(l: &mut Loader<'_>, node: &ConfigStatement) {
    let new = |name| TrackFile {
        name,
        path: PathBuf::new(),
        weight: Weight {
            value: 1,
            reverse: false,
        },
        init: None,
    };
    if let Some(At { value, span }) = named_block(l, node, FILE, new, |l| &mut l.drafts.files)
        && value.path.as_os_str().is_empty()
    {
        missing(l, span, FILE, &value.name, "file");
    }
}

fn init_file(l: &mut Loader<'_>, node: &ConfigStatement) {
    let range = i64::from(i32::MIN)..=i64::from(i32::MAX);
    let mut init = (0, false);
    for word in node.arguments() {
        match word.text.as_str() {
            "overwrite" => init.1 = true,
            _ => init.0 = l.number(word, range.clone()).unwrap_or(0),
        }
    }
    put(Some(Some(init)), &mut l.drafts.files, |f| &mut f.init);
}

fn process(l: &mut Loader<'_>, node: &ConfigStatement) {
    let new = |name| TrackProcess {
        name,
        quorum: 1,
        ..TrackProcess::default()
    };
    let Some(block) = named_block(l, node, PROCESS, new, |l| &mut l.drafts.processes) else {
        return;
    };
    let At { value, span } = block;
    if value.words.len() > 1 && value.parameters.is_none() {
        let exact = Some(ParameterMatch::Exact);
        put(Some(exact), &mut l.drafts.processes, |p| &mut p.parameters);
    }
    if value.words.is_empty() {
        missing(l, span, PROCESS, &value.name, "process");
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
    let value = l.time(node, 0..=3_600_000_000);
    let processes = &mut l.drafts.processes;
    put(value.filter(|_| fork), processes, |p| &mut p.fork_delay);
    let value = value.filter(|_| terminate);
    put(value, processes, |p| &mut p.terminate_delay);
}
