//! Accepts the keywords of keepalived for IPVS, which have no effect here, and warns about them.

use super::{GLOBAL, INSTANCE};
use crate::codes;
use crate::dialect::keyword::{Build, Row, TOP, block, line};
use crate::dialect::loader::Loader;
use crate::dialect::tree::ConfigStatement;
use language::Diagnostic;

const NO_IPVS: &str = "Accepted without effect: Evenkeel has no IPVS. Use a `listen` section.";
const NONE: Build = line(0, 0, concerns_ipvs);
const SOME: Build = line(0, 64, concerns_ipvs);

pub(in crate::dialect) static ROWS: &[Row] = language::rows! {
    "lvs_sync_daemon <interface> …" &[GLOBAL], SOME, "lvs_sync_daemon eth0", NO_IPVS;
    "lvs_sync_daemon_interface <interface>" &[GLOBAL, INSTANCE], SOME,
        "lvs_sync_daemon_interface eth0",
        "Obsolete form of `lvs_sync_daemon`, for IPVS, which Evenkeel does not use.";
    "lvs_timeouts [tcp <seconds>] [tcpfin <seconds>] [udp <seconds>]" &[GLOBAL], SOME,
        "lvs_timeouts tcp 60", NO_IPVS;
    "lvs_flush" &[GLOBAL], NONE, "lvs_flush", NO_IPVS;
    "lvs_flush_on_stop [VS]" &[GLOBAL], SOME, "lvs_flush_on_stop", NO_IPVS;
    "lvs_notify_fifo <path> …" &[GLOBAL], SOME, "lvs_notify_fifo /run/lvs.fifo", NO_IPVS;
    "lvs_notify_fifo_script <script> …" &[GLOBAL], SOME, "lvs_notify_fifo_script /usr/bin/true",
        NO_IPVS;
    "lvs_netlink_cmd_rcv_bufs <bytes>" &[GLOBAL], SOME, "lvs_netlink_cmd_rcv_bufs 65536", NO_IPVS;
    "lvs_netlink_cmd_rcv_bufs_force [on|off]" &[GLOBAL], SOME, "lvs_netlink_cmd_rcv_bufs_force on",
        NO_IPVS;
    "lvs_netlink_monitor_rcv_bufs <bytes>" &[GLOBAL], SOME, "lvs_netlink_monitor_rcv_bufs 65536",
        NO_IPVS;
    "lvs_netlink_monitor_rcv_bufs_force [on|off]" &[GLOBAL], SOME,
        "lvs_netlink_monitor_rcv_bufs_force on", NO_IPVS;
    "checker_process_name <name>" &[GLOBAL], SOME, "checker_process_name check", NO_IPVS;
    "checker_priority <-20..19>" &[GLOBAL], SOME, "checker_priority -5", NO_IPVS;
    "checker_no_swap" &[GLOBAL], NONE, "checker_no_swap", NO_IPVS;
    "checker_cpu_affinity <processor> …" &[GLOBAL], SOME, "checker_cpu_affinity 0", NO_IPVS;
    "checker_rt_priority <1-99>" &[GLOBAL], SOME, "checker_rt_priority 5", NO_IPVS;
    "checker_rlimit_rttime <microseconds>" &[GLOBAL], SOME, "checker_rlimit_rttime 10000", NO_IPVS;
    "checker_log_all_failures [on|off]" &[GLOBAL], SOME, "checker_log_all_failures on", NO_IPVS;
    "smtp_alert_checker [on|off]" &[GLOBAL], SOME, "smtp_alert_checker on", NO_IPVS;
    "enable_snmp_checker" &[GLOBAL], NONE, "enable_snmp_checker", NO_IPVS;
    "rs_init_notifies" &[GLOBAL], NONE, "rs_init_notifies", NO_IPVS;
    "no_checker_emails" &[GLOBAL], NONE, "no_checker_emails", NO_IPVS;
    "nftables_ipvs [<table>]" &[GLOBAL], SOME, "nftables_ipvs", NO_IPVS;
    "nftables_ipvs_priority <number>" &[GLOBAL], SOME, "nftables_ipvs_priority -1", NO_IPVS;
    "nftables_ipvs_start_fwmark <number>" &[GLOBAL], SOME, "nftables_ipvs_start_fwmark 1000",
        NO_IPVS;
    "net_namespace_ipvs <name>" &[TOP, GLOBAL], SOME, "net_namespace_ipvs blue",
        "The network namespace of IPVS, which Evenkeel does not use.";
    "SSL { … }" &[TOP], block(0, 0, concerns_ipvs), "SSL {\n    ca /etc/ssl/ca.pem\n}",
        "Certificates for IPVS checks: use `ca-file` and `crt` on a server line of the proxy.";
};

/// Warns that a keyword for IPVS has no effect. Silent if the command line excludes IPVS (`-P`).
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
