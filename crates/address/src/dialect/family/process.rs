//! Names, files and namespaces of the process; SNMP and D-Bus.

use super::GLOBAL;
use super::global::{no_effect, row, so_anyway};
use crate::codes;
use crate::dialect::keyword::{Build, Row, TOP, line};
use crate::dialect::loader::Loader;
use crate::dialect::tree::Node;
use language::Diagnostic;

const fn both(
    name: &'static str,
    syntax: &'static str,
    doc: &'static str,
    example: &'static str,
    build: Build,
) -> Row {
    Row {
        name,
        places: &[TOP, GLOBAL],
        syntax,
        doc,
        example,
        build,
    }
}

const METRICS: &str = "states, counters and transitions are metrics of the statistics page (Prometheus), and 'evenkeel address' shows them";
const BUFFERS: &str = "when the kernel's messages overflow, everything is listed anew";

pub(in crate::dialect) static ROWS: &[Row] = &[
    both(
        "net_namespace",
        "net_namespace <name>",
        "The network namespace that it works in.",
        "net_namespace blue",
        line(1, 1, |l, n| {
            l.config.global.network_namespace = n.argument().map(|w| w.text.clone());
        }),
    ),
    both(
        "instance",
        "instance <name>",
        "A name of this program where several run on one machine; with `data_use_instance` it is part of the names of dumps. Process id files are named by the options -p and -r.",
        "instance first",
        line(1, 1, |l, n| {
            let name = n.argument().map(|w| w.text.clone());
            l.config.global.instance = name;
            l.drafts.instance_name = Some(n.place());
        }),
    ),
    both(
        "use_pid_dir",
        "use_pid_dir",
        "Process id files go to /run/keepalived.",
        "use_pid_dir",
        line(0, 0, |l, n| {
            no_effect(
                l,
                n,
                "the options '-p' and '-r' name the files of process ids, also in another directory",
            );
        }),
    ),
    both(
        "namespace_with_ipsets",
        "namespace_with_ipsets",
        "For kernels before 3.13 alone.",
        "namespace_with_ipsets",
        line(0, 0, |l, n| {
            no_effect(l, n, "rules are made with nftables, which needs no ipsets");
        }),
    ),
    both(
        "child_wait_time",
        "child_wait_time <seconds>",
        "How long the process that holds the addresses may take to stop before it is killed. It has as long as its hand-over and `shutdown_script` need anyway, so this only makes it longer.",
        "child_wait_time 10",
        line(1, 1, |l, n| {
            l.config.global.child_wait_s = n.argument().and_then(|w| l.small(w, 0..=3600));
        }),
    ),
    row(
        "process_names",
        "process_names",
        "Processes are named by what they do.",
        "process_names",
        line(0, 0, |l, _| l.drafts.defaults.process_names = true),
    ),
    row(
        "process_name",
        "process_name <name>",
        "The name of the supervising process.",
        "process_name keepalived",
        line(1, 1, |l, n| {
            no_effect(
                l,
                n,
                "processes are named by their roles; 'vrrp_process_name' names the one of the addresses",
            );
        }),
    ),
    row(
        "vrrp_process_name",
        "vrrp_process_name <name>",
        "The name of the process that holds the addresses.",
        "vrrp_process_name vrrp",
        line(1, 1, |l, n| {
            l.config.global.process_name = n.argument().map(|w| w.text.clone());
        }),
    ),
    row(
        "bfd_process_name",
        "bfd_process_name <name>",
        "The name of the process of BFD, which is none of its own here.",
        "bfd_process_name bfd",
        line(1, 1, |l, n| {
            no_effect(
                l,
                n,
                "BFD and VRRP run in one process: use 'vrrp_process_name'",
            );
        }),
    ),
    row(
        "umask",
        "umask <number or bits>",
        "The mask of files that are made: a number, or `IWGRP|IWOTH` and the like.",
        "umask 022",
        line(1, 1, umask),
    ),
    row(
        "tmp_config_directory",
        "tmp_config_directory <directory>",
        "Where keepalived keeps a copy of its files. Here the copy stays in memory.",
        "tmp_config_directory /tmp",
        line(1, 1, |l, n| {
            no_effect(
                l,
                n,
                "the configuration is read once and handed over in memory",
            );
        }),
    ),
    row(
        "config_save_dir",
        "config_save_dir <directory>",
        "Where keepalived puts its state and files at each reload.",
        "config_save_dir /tmp/keepalived",
        line(1, 1, |l, n| {
            no_effect(
                l,
                n,
                "'evenkeel difference' compares configurations, SIGUSR1 dumps the state",
            );
        }),
    ),
    row(
        "reload_check_config",
        "reload_check_config [<log file>]",
        "A reload with an error keeps the old configuration; that is so here always.",
        "reload_check_config",
        line(0, 1, |l, n| {
            so_anyway(l, n, "a reload with an error keeps the old configuration");
        }),
    ),
    row(
        "reload_time_file",
        "reload_time_file <path>",
        "A file with the time of the next reload.",
        "reload_time_file /etc/keepalived/reload",
        line(1, 1, |l, n| {
            no_effect(
                l,
                n,
                "use a timer of systemd, cron or at, which sends SIGHUP",
            );
        }),
    ),
    row(
        "reload_repeat",
        "reload_repeat",
        "The reload of `reload_time_file` is repeated every day.",
        "reload_repeat",
        line(0, 0, |l, n| {
            no_effect(l, n, "use a timer of systemd or cron, which sends SIGHUP");
        }),
    ),
    row(
        "reload_file",
        "reload_file [<path>]",
        "A file that is there while the configuration is read.",
        "reload_file",
        line(0, 1, |l, n| {
            no_effect(
                l,
                n,
                "files are read in one go: replace them by rename, then send SIGHUP",
            );
        }),
    ),
    row(
        "data_use_instance",
        "data_use_instance [on|off]",
        "The names of dumps hold the names of the instance and the namespace.",
        "data_use_instance",
        line(0, 1, |l, n| {
            l.config.global.dumps_by_instance = l.switch(n).unwrap_or(false);
        }),
    ),
    row(
        "vrrp_netlink_cmd_rcv_bufs",
        "vrrp_netlink_cmd_rcv_bufs <bytes>",
        "The receive buffer of commands to the kernel.",
        "vrrp_netlink_cmd_rcv_bufs 65536",
        line(1, 1, |l, n| no_effect(l, n, BUFFERS)),
    ),
    row(
        "vrrp_netlink_cmd_rcv_bufs_force",
        "vrrp_netlink_cmd_rcv_bufs_force [on|off]",
        "That buffer may exceed the system's bound.",
        "vrrp_netlink_cmd_rcv_bufs_force on",
        line(0, 1, |l, n| no_effect(l, n, BUFFERS)),
    ),
    row(
        "vrrp_netlink_monitor_rcv_bufs",
        "vrrp_netlink_monitor_rcv_bufs <bytes>",
        "The receive buffer of the kernel's messages.",
        "vrrp_netlink_monitor_rcv_bufs 65536",
        line(1, 1, |l, n| no_effect(l, n, BUFFERS)),
    ),
    row(
        "vrrp_netlink_monitor_rcv_bufs_force",
        "vrrp_netlink_monitor_rcv_bufs_force [on|off]",
        "That buffer may exceed the system's bound.",
        "vrrp_netlink_monitor_rcv_bufs_force on",
        line(0, 1, |l, n| no_effect(l, n, BUFFERS)),
    ),
    row(
        "process_monitor_rcv_bufs",
        "process_monitor_rcv_bufs <bytes>",
        "The receive buffer of messages about processes.",
        "process_monitor_rcv_bufs 65536",
        line(1, 1, |l, n| no_effect(l, n, BUFFERS)),
    ),
    row(
        "process_monitor_rcv_bufs_force",
        "process_monitor_rcv_bufs_force [on|off]",
        "That buffer may exceed the system's bound.",
        "process_monitor_rcv_bufs_force on",
        line(0, 1, |l, n| no_effect(l, n, BUFFERS)),
    ),
    row(
        "snmp_socket",
        "snmp_socket <address>",
        "The socket of the SNMP agent. This program has metrics in its place.",
        "snmp_socket unix:/var/agentx/master",
        line(1, 1, |l, n| no_effect(l, n, METRICS)),
    ),
    row(
        "enable_snmp_vrrp",
        "enable_snmp_vrrp",
        "VRRP in SNMP. This program has metrics in its place.",
        "enable_snmp_vrrp",
        line(0, 0, |l, n| no_effect(l, n, METRICS)),
    ),
    row(
        "enable_snmp_rfc",
        "enable_snmp_rfc",
        "The MIBs of VRRP in SNMP. This program has metrics in their place.",
        "enable_snmp_rfc",
        line(0, 0, |l, n| no_effect(l, n, METRICS)),
    ),
    row(
        "enable_snmp_rfcv2",
        "enable_snmp_rfcv2",
        "The MIB of version 2 in SNMP. This program has metrics in its place.",
        "enable_snmp_rfcv2",
        line(0, 0, |l, n| no_effect(l, n, METRICS)),
    ),
    row(
        "enable_snmp_rfcv3",
        "enable_snmp_rfcv3",
        "The MIB of version 3 in SNMP. This program has metrics in its place.",
        "enable_snmp_rfcv3",
        line(0, 0, |l, n| no_effect(l, n, METRICS)),
    ),
    row(
        "enable_traps",
        "enable_traps",
        "Traps of SNMP. This program has metrics, pipes and scripts in their place.",
        "enable_traps",
        line(0, 0, |l, n| {
            no_effect(
                l,
                n,
                "'notify' scripts and 'notify_fifo' tell of every change",
            );
        }),
    ),
    row(
        "enable_dbus",
        "enable_dbus",
        "The interface of D-Bus. This program has its own socket.",
        "enable_dbus",
        line(0, 0, |l, n| {
            no_effect(
                l,
                n,
                "'evenkeel address' and the statistics socket answer instead, 'notify_fifo' tells of changes",
            );
        }),
    ),
    row(
        "dbus_service_name",
        "dbus_service_name <name>",
        "The name at D-Bus, which this program does not use.",
        "dbus_service_name org.example",
        line(1, 1, |l, n| {
            no_effect(
                l,
                n,
                "'evenkeel address' and the statistics socket answer instead",
            );
        }),
    ),
];

/// `022`, `0x12`, `IWGRP|IWOTH`
fn umask(l: &mut Loader<'_>, node: &Node) {
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
        l.report(Diagnostic::error(&codes::BAD_VALUE, word.span, message));
    }
    l.config.global.umask = found;
}
