//! Keywords for names, files and namespaces of the process, for SNMP and for D-Bus.

use super::GLOBAL;
use super::global::row;
use crate::codes;
use crate::dialect::keyword::{Build, Row, TOP, line, no_effect, so_anyway};
use crate::dialect::loader::Loader;
use crate::dialect::tree::ConfigStatement;

const fn both(syntax: &'static str, doc: &'static str, example: &'static str, build: Build) -> Row {
    Row {
        places: &[TOP, GLOBAL],
        syntax,
        doc,
        example,
        build,
    }
}

const METRICS: &str = "the statistics page and Prometheus show states, counters and transitions, and so does \
    'evenkeel address'";
const BUFFERS: &str = "when the buffer of kernel messages overflows, everything is listed again";

pub(in crate::dialect) static ROWS: &[Row] = &[
    both(
        "net_namespace <name>",
        "The network namespace in which keepalived or Evenkeel runs.",
        "net_namespace blue",
        line(1, 1, |l, n| {
            l.config.global.network_namespace = n.text();
        }),
    ),
    both(
        "instance <name>",
        "A name for this program if several run on one machine; with `data_use_instance` it is part of the names of \
         dumps. The options -p and -r set the pid files.",
        "instance first",
        line(1, 1, |l, n| {
            l.config.global.instance = n.text();
            l.drafts.instance_name = Some(n.place());
        }),
    ),
    both(
        "use_pid_dir",
        "Puts pid files into /run/keepalived.",
        "use_pid_dir",
        no_effect(
            0,
            0,
            "the options '-p' and '-r' set the pid files, even in another directory",
        ),
    ),
    both(
        "namespace_with_ipsets",
        "Only for kernels before 3.13.",
        "namespace_with_ipsets",
        no_effect(0, 0, "rules use nftables, which needs no ipsets"),
    ),
    both(
        "child_wait_time <seconds>",
        "Maximum time for the address process to stop before it is killed. The address role always has enough time for its \
         hand-over and `shutdown_script`, so this only extends it.",
        "child_wait_time 10",
        line(1, 1, |l, n| {
            l.config.global.child_wait_s = l.count(n, 0..=3600);
        }),
    ),
    row(
        "process_names",
        "Processes are named by what they do.",
        "process_names",
        line(0, 0, |l, _| l.drafts.defaults.process_names = true),
    ),
    row(
        "process_name <name>",
        "The name of the supervising process.",
        "process_name keepalived",
        no_effect(
            1,
            1,
            "processes are named by their roles; 'vrrp_process_name' names the one of the addresses",
        ),
    ),
    row(
        "vrrp_process_name <name>",
        "The name of the address process.",
        "vrrp_process_name vrrp",
        line(1, 1, |l, n| {
            l.config.global.process_name = n.text();
        }),
    ),
    row(
        "bfd_process_name <name>",
        "The name of the BFD process; BFD has no separate process here.",
        "bfd_process_name bfd",
        no_effect(
            1,
            1,
            "BFD and VRRP run in one process: use 'vrrp_process_name'",
        ),
    ),
    row(
        "umask <number or bits>",
        "The umask for new files: a number, or for example `IWGRP|IWOTH`.",
        "umask 022",
        line(1, 1, umask),
    ),
    row(
        "tmp_config_directory <directory>",
        "Where keepalived keeps a copy of its files. Evenkeel keeps the copy in memory.",
        "tmp_config_directory /tmp",
        no_effect(
            1,
            1,
            "the configuration is read once and passed on in memory",
        ),
    ),
    row(
        "config_save_dir <directory>",
        "No effect: the directory where keepalived stores its state and files at each reload.",
        "config_save_dir /tmp/keepalived",
        no_effect(
            1,
            1,
            "'evenkeel difference' compares configurations, SIGUSR1 dumps the state",
        ),
    ),
    row(
        "reload_check_config [<log file>]",
        "A reload with an error keeps the old configuration; Evenkeel always does so.",
        "reload_check_config",
        so_anyway(0, 1, "a reload with an error keeps the old configuration"),
    ),
    row(
        "reload_time_file <path>",
        "A file with the time of the next reload.",
        "reload_time_file /etc/keepalived/reload",
        no_effect(1, 1, "use a systemd timer, cron or at, which sends SIGHUP"),
    ),
    row(
        "reload_repeat",
        "The reload of `reload_time_file` is repeated every day.",
        "reload_repeat",
        no_effect(0, 0, "use a systemd timer or cron, which sends SIGHUP"),
    ),
    row(
        "reload_file [<path>]",
        "A file that exists while the configuration is being read.",
        "reload_file",
        no_effect(
            0,
            1,
            "files are read at once: replace them by rename, then send SIGHUP",
        ),
    ),
    row(
        "data_use_instance [on|off]",
        "Adds the instance and namespace names to the names of dumps.",
        "data_use_instance",
        line(0, 1, |l, n| {
            l.config.global.dumps_by_instance = l.switch(n).unwrap_or(false);
        }),
    ),
    row(
        "vrrp_netlink_cmd_rcv_bufs <bytes>",
        "Receive buffer for commands to the kernel.",
        "vrrp_netlink_cmd_rcv_bufs 65536",
        no_effect(1, 1, BUFFERS),
    ),
    row(
        "vrrp_netlink_cmd_rcv_bufs_force [on|off]",
        "Lets that buffer exceed the system limit.",
        "vrrp_netlink_cmd_rcv_bufs_force on",
        no_effect(0, 1, BUFFERS),
    ),
    row(
        "vrrp_netlink_monitor_rcv_bufs <bytes>",
        "Receive buffer for messages from the kernel.",
        "vrrp_netlink_monitor_rcv_bufs 65536",
        no_effect(1, 1, BUFFERS),
    ),
    row(
        "vrrp_netlink_monitor_rcv_bufs_force [on|off]",
        "Lets that buffer exceed the system limit.",
        "vrrp_netlink_monitor_rcv_bufs_force on",
        no_effect(0, 1, BUFFERS),
    ),
    row(
        "process_monitor_rcv_bufs <bytes>",
        "Receive buffer for messages about processes.",
        "process_monitor_rcv_bufs 65536",
        no_effect(1, 1, BUFFERS),
    ),
    row(
        "process_monitor_rcv_bufs_force [on|off]",
        "Lets that buffer exceed the system limit.",
        "process_monitor_rcv_bufs_force on",
        no_effect(0, 1, BUFFERS),
    ),
    row(
        "snmp_socket <address>",
        "The socket of the SNMP agent. Evenkeel has Prometheus metrics instead.",
        "snmp_socket unix:/var/agentx/master",
        no_effect(1, 1, METRICS),
    ),
    row(
        "enable_snmp_vrrp",
        "VRRP in SNMP. Evenkeel has Prometheus metrics instead.",
        "enable_snmp_vrrp",
        no_effect(0, 0, METRICS),
    ),
    row(
        "enable_snmp_rfc",
        "The SNMP MIBs of VRRP. Evenkeel has Prometheus metrics instead.",
        "enable_snmp_rfc",
        no_effect(0, 0, METRICS),
    ),
    row(
        "enable_snmp_rfcv2",
        "The SNMP MIB of version 2. Evenkeel has Prometheus metrics instead.",
        "enable_snmp_rfcv2",
        no_effect(0, 0, METRICS),
    ),
    row(
        "enable_snmp_rfcv3",
        "The SNMP MIB of version 3. Evenkeel has Prometheus metrics instead.",
        "enable_snmp_rfcv3",
        no_effect(0, 0, METRICS),
    ),
    row(
        "enable_traps",
        "SNMP traps. Evenkeel has metrics, pipes and scripts instead.",
        "enable_traps",
        no_effect(
            0,
            0,
            "'notify' scripts and 'notify_fifo' report every change",
        ),
    ),
    row(
        "enable_dbus",
        "The D-Bus interface. Evenkeel has its own socket.",
        "enable_dbus",
        no_effect(
            0,
            0,
            "use 'evenkeel address' and the statistics socket instead; 'notify_fifo' reports changes",
        ),
    ),
    row(
        "dbus_service_name <name>",
        "The D-Bus name, which Evenkeel does not use.",
        "dbus_service_name org.example",
        no_effect(
            1,
            1,
            "use 'evenkeel address' and the statistics socket instead",
        ),
    ),
];

/// Parses `022`, `0x12` or `IWGRP|IWOTH`.
fn umask(l: &mut Loader<'_>, node: &ConfigStatement) {
    let Some(word) = node.argument() else { return };
    let number = match word.text.as_str() {
        text if text.starts_with("0x") => u32::from_str_radix(&text[2..], 16).ok(),
        text if text.starts_with('0') => u32::from_str_radix(text, 8).ok(),
        text => text.parse().ok(),
    };
    let bits = || {
        word.text.split('|').try_fold(0, |mask, bit| {
            let (access, whose) = bit.trim().strip_prefix('I')?.split_at_checked(1)?;
            let access = match access {
                "R" => 4,
                "W" => 2,
                "X" => 1,
                _ => return None,
            };
            let shift = match whose {
                "USR" => 6,
                "GRP" => 3,
                "OTH" => 0,
                _ => return None,
            };
            Some(mask | access << shift)
        })
    };
    let found = number.or_else(bits).filter(|mask| *mask <= 0o777);
    if found.is_none() {
        let message = format!("'{}' is not a mask: write 022, or IWGRP|IWOTH", word.text);
        l.error(&codes::BAD_VALUE, word.span, message);
    }
    l.config.global.umask = found;
}
