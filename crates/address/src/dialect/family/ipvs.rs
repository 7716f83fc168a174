//! Keywords for IPVS: parsed, reported, and without effect.

use super::{GLOBAL, INSTANCE};
use crate::codes;
use crate::dialect::keyword::{Build, Row, TOP, block, line};
use crate::dialect::loader::Loader;
use crate::dialect::tree::ConfigStatement;
use language::Diagnostic;

const fn row(syntax: &'static str, example: &'static str, build: Build) -> Row {
    Row {
        places: &[GLOBAL],
        syntax,
        doc: "Accepted without effect: Evenkeel has no IPVS. Use a `listen` section.",
        example,
        build,
    }
}

const NONE: Build = line(0, 0, concerns_ipvs);
const SOME: Build = line(0, 64, concerns_ipvs);

pub(in crate::dialect) static ROWS: &[Row] = &[
    row(
        "lvs_sync_daemon <interface> …",
        "lvs_sync_daemon eth0",
        SOME,
    ),
    Row {
        places: &[GLOBAL, INSTANCE],
        syntax: "lvs_sync_daemon_interface <interface>",
        doc: "Obsolete form of `lvs_sync_daemon`, for IPVS, which Evenkeel does not use.",
        example: "lvs_sync_daemon_interface eth0",
        build: SOME,
    },
    row(
        "lvs_timeouts [tcp <seconds>] [tcpfin <seconds>] [udp <seconds>]",
        "lvs_timeouts tcp 60",
        SOME,
    ),
    row("lvs_flush", "lvs_flush", NONE),
    row("lvs_flush_on_stop [VS]", "lvs_flush_on_stop", SOME),
    row(
        "lvs_notify_fifo <path> …",
        "lvs_notify_fifo /run/lvs.fifo",
        SOME,
    ),
    row(
        "lvs_notify_fifo_script <script> …",
        "lvs_notify_fifo_script /usr/bin/true",
        SOME,
    ),
    row(
        "lvs_netlink_cmd_rcv_bufs <bytes>",
        "lvs_netlink_cmd_rcv_bufs 65536",
        SOME,
    ),
    row(
        "lvs_netlink_cmd_rcv_bufs_force [on|off]",
        "lvs_netlink_cmd_rcv_bufs_force on",
        SOME,
    ),
    row(
        "lvs_netlink_monitor_rcv_bufs <bytes>",
        "lvs_netlink_monitor_rcv_bufs 65536",
        SOME,
    ),
    row(
        "lvs_netlink_monitor_rcv_bufs_force [on|off]",
        "lvs_netlink_monitor_rcv_bufs_force on",
        SOME,
    ),
    row(
        "checker_process_name <name>",
        "checker_process_name check",
        SOME,
    ),
    row("checker_priority <-20..19>", "checker_priority -5", SOME),
    row("checker_no_swap", "checker_no_swap", NONE),
    row(
        "checker_cpu_affinity <processor> …",
        "checker_cpu_affinity 0",
        SOME,
    ),
    row("checker_rt_priority <1-99>", "checker_rt_priority 5", SOME),
    row(
        "checker_rlimit_rttime <microseconds>",
        "checker_rlimit_rttime 10000",
        SOME,
    ),
    row(
        "checker_log_all_failures [on|off]",
        "checker_log_all_failures on",
        SOME,
    ),
    row("smtp_alert_checker [on|off]", "smtp_alert_checker on", SOME),
    row("enable_snmp_checker", "enable_snmp_checker", NONE),
    row("rs_init_notifies", "rs_init_notifies", NONE),
    row("no_checker_emails", "no_checker_emails", NONE),
    row("nftables_ipvs [<table>]", "nftables_ipvs", SOME),
    row(
        "nftables_ipvs_priority <number>",
        "nftables_ipvs_priority -1",
        SOME,
    ),
    row(
        "nftables_ipvs_start_fwmark <number>",
        "nftables_ipvs_start_fwmark 1000",
        SOME,
    ),
    Row {
        places: &[TOP, GLOBAL],
        syntax: "net_namespace_ipvs <name>",
        doc: "The network namespace of IPVS, which Evenkeel does not use.",
        example: "net_namespace_ipvs blue",
        build: SOME,
    },
    Row {
        places: &[TOP],
        syntax: "SSL { … }",
        doc: "Certificates for IPVS checks: use `ca-file` and `crt` on a server line of the proxy.",
        example: "SSL {\n    ca /etc/ssl/ca.pem\n}",
        build: block(0, 0, concerns_ipvs),
    },
];

/// Reports a keyword for IPVS, unless the command line excludes IPVS.
pub(super) fn concerns_ipvs(l: &mut Loader<'_>, node: &ConfigStatement) {
    if l.options.vrrp_only {
        return;
    }
    l.report(
        Diagnostic::warning(
            &codes::CONCERNS_IPVS,
            node.place(),
            format!("'{}' is for IPVS and has no effect", node.name()),
        )
        .help("a 'listen' section of the proxy balances connections instead; -P reads the file without IPVS"),
    );
}
