//! Keywords for the priorities, processors and memory of the process.

use super::global::row;
use crate::codes;
use crate::dialect::keyword::{Row, line, no_effect};
use crate::dialect::loader::Loader;
use crate::dialect::tree::ConfigStatement;
use language::Diagnostic;

const SAME: &str = "BFD and VRRP run in one process: use the 'vrrp_…' keyword";

/// Maximum number of a processor.
const PROCESSORS_MAX: i64 = 1023;

const ALREADY_REAL_TIME: &str = "the priority does not adapt: with advert intervals below one second the process is \
    real-time from its start, and 'vrrp_rt_priority' makes it always so";

pub(in crate::dialect) static ROWS: &[Row] = &[
    row(
        "vrrp_priority <-20..19>",
        "Nice value of the process; negative ones run earlier.",
        "vrrp_priority -10",
        line(1, 1, |l, n| {
            l.config.global.nice = l.count(n, -20..=19);
        }),
    ),
    row(
        "vrrp_rt_priority <1-99>",
        "Real-time priority of the process (SCHED_RR).",
        "vrrp_rt_priority 50",
        line(1, 1, |l, n| {
            l.config.global.realtime_priority = l.count(n, 1..=99);
        }),
    ),
    row(
        "vrrp_rlimit_rttime <microseconds>",
        "Maximum time that a real-time process may run without blocking; at least 2, by default 10000.",
        "vrrp_rlimit_rttime 20000",
        line(1, 1, |l, n| {
            l.config.global.rttime_us = l.count(n, 2..=i64::from(u32::MAX));
        }),
    ),
    row(
        "vrrp_no_swap",
        "Locks the memory of the process, so that it never waits for a disk.",
        "vrrp_no_swap",
        line(0, 0, |l, _| l.config.global.lock_memory = true),
    ),
    row(
        "vrrp_cpu_affinity <processor> [<processor> …]",
        "Processors for the process, numbered as in /proc/cpuinfo.",
        "vrrp_cpu_affinity 0 1",
        line(1, 1024, affinity),
    ),
    row(
        "max_auto_priority [<-1..99>]",
        "Maximum priority to which the process raises itself when it runs late. Evenkeel is real-time from its start \
         with advert intervals below one second; see `vrrp_rt_priority`.",
        "max_auto_priority 50",
        line(0, 1, |l, n| {
            if let Some(word) = n.argument() {
                l.number(word, -1..=99);
            }
            l.no_effect(n, ALREADY_REAL_TIME);
        }),
    ),
    row(
        "min_auto_priority_delay <microseconds>",
        "Delay at which `max_auto_priority` applies.",
        "min_auto_priority_delay 500000",
        line(1, 1, |l, n| {
            if let Some(word) = n.argument() {
                l.number(word, 1..=10_000_000);
            }
            l.no_effect(n, ALREADY_REAL_TIME);
        }),
    ),
    row(
        "bfd_priority <-20..19>",
        "Nice value of BFD, which has no separate process here: see `vrrp_priority`.",
        "bfd_priority -10",
        no_effect(1, 1, SAME),
    ),
    row(
        "bfd_rt_priority <1-99>",
        "Real-time priority of BFD, which has no separate process here: see `vrrp_rt_priority`.",
        "bfd_rt_priority 50",
        no_effect(1, 1, SAME),
    ),
    row(
        "bfd_rlimit_rttime <microseconds>",
        "Like `vrrp_rlimit_rttime`, for BFD, which has no separate process here.",
        "bfd_rlimit_rttime 20000",
        no_effect(1, 1, SAME),
    ),
    row(
        "bfd_no_swap",
        "Like `vrrp_no_swap`, for BFD, which has no separate process here.",
        "bfd_no_swap",
        no_effect(0, 0, SAME),
    ),
    row(
        "bfd_cpu_affinity <processor> [<processor> …]",
        "Like `vrrp_cpu_affinity`, for BFD, which has no separate process here.",
        "bfd_cpu_affinity 0",
        no_effect(1, 1024, SAME),
    ),
];

fn affinity(l: &mut Loader<'_>, node: &ConfigStatement) {
    for word in node.arguments() {
        let Some(value) = l.small(word, 0..=PROCESSORS_MAX) else {
            continue;
        };
        if l.config.global.processors.contains(&value) {
            let message = format!("duplicate processor {value}");
            l.report(Diagnostic::warning(&codes::EXTRA_WORDS, word.span, message));
        } else {
            l.config.global.processors.push(value);
        }
    }
}
