//! Parses the keywords for priority, processors and memory of the address process.

use super::GLOBAL;
use crate::codes;
use crate::dialect::keyword::{Row, line, no_effect};
use crate::dialect::loader::Loader;
use crate::dialect::tree::ConfigStatement;
use language::Diagnostic;
use std::ops::RangeInclusive;

const SAME: &str = "BFD and VRRP run in one process: use the 'vrrp_…' keyword";

/// Highest accepted number of a processor.
const PROCESSORS_MAX: i64 = 1023;

pub(in crate::dialect) static ROWS: &[Row] = language::rows! {
    "vrrp_priority <-20..19>" &[GLOBAL],
        line(1, 1, |l, n| l.config.global.nice = l.count(n, -20..=19)),
        "vrrp_priority -10", "Nice value of the process; negative ones run earlier.";
    "vrrp_rt_priority <1-99>" &[GLOBAL],
        line(1, 1, |l, n| l.config.global.realtime_priority = l.count(n, 1..=99)),
        "vrrp_rt_priority 50", "Real-time priority of the process (SCHED_RR).";
    "vrrp_rlimit_rttime <microseconds>" &[GLOBAL],
        line(1, 1, |l, n| l.config.global.rttime_us = l.count(n, 2..=i64::from(u32::MAX))),
        "vrrp_rlimit_rttime 20000",
        "Maximum time that a real-time process may run without blocking; at least 2, by default 10000.";
    "vrrp_no_swap" &[GLOBAL], line(0, 0, |l, _| l.config.global.lock_memory = true), "vrrp_no_swap",
        "Locks the memory of the process, so that it never waits for a disk.";
    "vrrp_cpu_affinity <processor> [<processor> …]" &[GLOBAL], line(1, 1024, affinity),
        "vrrp_cpu_affinity 0 1", "Processors for the process, numbered as in /proc/cpuinfo.";
    "max_auto_priority [<-1..99>]" &[GLOBAL], line(0, 1, |l, n| adaptive(l, n, -1..=99)),
        "max_auto_priority 50",
        "Maximum priority to which the process raises itself when it runs late. Evenkeel is real-time from its start \
         with advert intervals below one second; see `vrrp_rt_priority`.";
    "min_auto_priority_delay <microseconds>" &[GLOBAL],
        line(1, 1, |l, n| adaptive(l, n, 1..=10_000_000)),
        "min_auto_priority_delay 500000", "Delay at which `max_auto_priority` applies.";
    "bfd_priority <-20..19>" &[GLOBAL], no_effect(1, 1, SAME), "bfd_priority -10",
        "Nice value of BFD, which has no separate process here: see `vrrp_priority`.";
    "bfd_rt_priority <1-99>" &[GLOBAL], no_effect(1, 1, SAME), "bfd_rt_priority 50",
        "Real-time priority of BFD, which has no separate process here: see `vrrp_rt_priority`.";
    "bfd_rlimit_rttime <microseconds>" &[GLOBAL], no_effect(1, 1, SAME), "bfd_rlimit_rttime 20000",
        "Like `vrrp_rlimit_rttime`, for BFD, which has no separate process here.";
    "bfd_no_swap" &[GLOBAL], no_effect(0, 0, SAME), "bfd_no_swap",
        "Like `vrrp_no_swap`, for BFD, which has no separate process here.";
    "bfd_cpu_affinity <processor> [<processor> …]" &[GLOBAL], no_effect(1, 1024, SAME),
        "bfd_cpu_affinity 0",
        "Like `vrrp_cpu_affinity`, for BFD, which has no separate process here.";
};

fn adaptive(l: &mut Loader<'_>, node: &ConfigStatement, range: RangeInclusive<i64>) {
    l.check(node, range);
    l.no_effect(
        node,
        "the priority does not adapt: with advert intervals below one second the process is \
         real-time from its start, and 'vrrp_rt_priority' makes it always so",
    );
}

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
