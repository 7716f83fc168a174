//! Parses the keywords for the processes of Evenkeel: names, namespace, umask, dumps and reloads.
//! Those for SNMP and D-Bus are accepted with a warning, without effect.

use super::GLOBAL;
use crate::codes;
use crate::dialect::keyword::{Row, TOP, line, no_effect, so_anyway};
use crate::dialect::loader::Loader;
use crate::dialect::tree::ConfigStatement;

const METRICS: &str = "the statistics page and Prometheus show states, counters and transitions, and so does \
    'evenkeel address'";
const BUFFERS: &str = "when the buffer of kernel messages overflows, everything is listed again";

pub(in crate::dialect) static ROWS: &[Row] = language::rows! {
    "net_namespace <name>" &[TOP, GLOBAL],
        line(1, 1, |l, n| l.config.global.network_namespace = n.text()),
        "net_namespace blue", "The network namespace in which keepalived or Evenkeel runs.";
    "instance <name>" &[TOP, GLOBAL], line(1, 1, instance), "instance first",
        "A name for this program if several run on one machine; with `data_use_instance` it is part of the names of \
         dumps. The options -p and -r set the pid files.";
    "use_pid_dir" &[TOP, GLOBAL],
        no_effect(0, 0, "the options '-p' and '-r' set the pid files, even in another directory"),
        "use_pid_dir", "Puts pid files into /run/keepalived.";
    "namespace_with_ipsets" &[TOP, GLOBAL],
        no_effect(0, 0, "rules use nftables, which needs no ipsets"),
        "namespace_with_ipsets", "Only for kernels before 3.13.";
    "child_wait_time <seconds>" &[TOP, GLOBAL],
        line(1, 1, |l, n| l.config.global.child_wait_s = l.count(n, 0..=3600)),
        "child_wait_time 10",
        "Maximum time for the address process to stop before it is killed. The address role always has enough time for \
         its hand-over and `shutdown_script`, so this only extends it.";
    "process_names" &[GLOBAL], line(0, 0, |l, _| l.drafts.defaults.process_names = true),
        "process_names", "Processes are named by what they do.";
    "process_name <name>" &[GLOBAL],
        no_effect(1, 1, "processes are named by their roles; 'vrrp_process_name' names the one of the addresses"),
        "process_name keepalived", "The name of the supervising process.";
    "vrrp_process_name <name>" &[GLOBAL],
        line(1, 1, |l, n| l.config.global.process_name = n.text()),
        "vrrp_process_name vrrp", "The name of the address process.";
    "bfd_process_name <name>" &[GLOBAL],
        no_effect(1, 1, "BFD and VRRP run in one process: use 'vrrp_process_name'"),
        "bfd_process_name bfd", "The name of the BFD process; BFD has no separate process here.";
    "umask <number or bits>" &[GLOBAL], line(1, 1, umask), "umask 022",
        "The umask for new files: a number, or for example `IWGRP|IWOTH`.";
    "tmp_config_directory <directory>" &[GLOBAL],
        no_effect(1, 1, "the configuration is read once and passed on in memory"),
        "tmp_config_directory /tmp",
        "Where keepalived keeps a copy of its files. Evenkeel keeps the copy in memory.";
    "config_save_dir <directory>" &[GLOBAL],
        no_effect(1, 1, "'evenkeel difference' compares configurations, SIGUSR1 dumps the state"),
        "config_save_dir /tmp/keepalived",
        "No effect: the directory where keepalived stores its state and files at each reload.";
    "reload_check_config [<log file>]" &[GLOBAL],
        so_anyway(0, 1, "a reload with an error keeps the old configuration"),
        "reload_check_config",
        "A reload with an error keeps the old configuration; Evenkeel always does so.";
    "reload_time_file <path>" &[GLOBAL],
        no_effect(1, 1, "use a systemd timer, cron or at, which sends SIGHUP"),
        "reload_time_file /etc/keepalived/reload", "A file with the time of the next reload.";
    "reload_repeat" &[GLOBAL], no_effect(0, 0, "use a systemd timer or cron, which sends SIGHUP"),
        "reload_repeat", "The reload of `reload_time_file` is repeated every day.";
    "reload_file [<path>]" &[GLOBAL],
        no_effect(0, 1, "files are read at once: replace them by rename, then send SIGHUP"),
        "reload_file", "A file that exists while the configuration is being read.";
    "data_use_instance [on|off]" &[GLOBAL],
        line(0, 1, |l, n| l.config.global.dumps_by_instance = l.switch(n).unwrap_or(false)),
        "data_use_instance", "Adds the instance and namespace names to the names of dumps.";
    "vrrp_netlink_cmd_rcv_bufs <bytes>" &[GLOBAL], no_effect(1, 1, BUFFERS),
        "vrrp_netlink_cmd_rcv_bufs 65536", "Receive buffer for commands to the kernel.";
    "vrrp_netlink_cmd_rcv_bufs_force [on|off]" &[GLOBAL], no_effect(0, 1, BUFFERS),
        "vrrp_netlink_cmd_rcv_bufs_force on", "Lets that buffer exceed the system limit.";
    "vrrp_netlink_monitor_rcv_bufs <bytes>" &[GLOBAL], no_effect(1, 1, BUFFERS),
        "vrrp_netlink_monitor_rcv_bufs 65536", "Receive buffer for messages from the kernel.";
    "vrrp_netlink_monitor_rcv_bufs_force [on|off]" &[GLOBAL], no_effect(0, 1, BUFFERS),
        "vrrp_netlink_monitor_rcv_bufs_force on", "Lets that buffer exceed the system limit.";
    "process_monitor_rcv_bufs <bytes>" &[GLOBAL], no_effect(1, 1, BUFFERS),
        "process_monitor_rcv_bufs 65536", "Receive buffer for messages about processes.";
    "process_monitor_rcv_bufs_force [on|off]" &[GLOBAL], no_effect(0, 1, BUFFERS),
        "process_monitor_rcv_bufs_force on", "Lets that buffer exceed the system limit.";
    "snmp_socket <address>" &[GLOBAL], no_effect(1, 1, METRICS),
        "snmp_socket unix:/var/agentx/master",
        "The socket of the SNMP agent. Evenkeel has Prometheus metrics instead.";
    "enable_snmp_vrrp" &[GLOBAL], no_effect(0, 0, METRICS), "enable_snmp_vrrp",
        "VRRP in SNMP. Evenkeel has Prometheus metrics instead.";
    "enable_snmp_rfc" &[GLOBAL], no_effect(0, 0, METRICS), "enable_snmp_rfc",
        "The SNMP MIBs of VRRP. Evenkeel has Prometheus metrics instead.";
    "enable_snmp_rfcv2" &[GLOBAL], no_effect(0, 0, METRICS), "enable_snmp_rfcv2",
        "The SNMP MIB of version 2. Evenkeel has Prometheus metrics instead.";
    "enable_snmp_rfcv3" &[GLOBAL], no_effect(0, 0, METRICS), "enable_snmp_rfcv3",
        "The SNMP MIB of version 3. Evenkeel has Prometheus metrics instead.";
    "enable_traps" &[GLOBAL],
        no_effect(0, 0, "'notify' scripts and 'notify_fifo' report every change"),
        "enable_traps", "SNMP traps. Evenkeel has metrics, pipes and scripts instead.";
    "enable_dbus" &[GLOBAL],
        no_effect(0, 0, "use 'evenkeel address' and the statistics socket instead; 'notify_fifo' reports changes"),
        "enable_dbus", "The D-Bus interface. Evenkeel has its own socket.";
    "dbus_service_name <name>" &[GLOBAL],
        no_effect(1, 1, "use 'evenkeel address' and the statistics socket instead"),
        "dbus_service_name org.example", "The D-Bus name, which Evenkeel does not use.";
};

fn instance(l: &mut Loader<'_>, node: &ConfigStatement) {
    l.config.global.instance = node.text();
    l.drafts.instance_name = Some(node.place());
}

/// Parses the umask: octal with the prefix `0`, hexadecimal with `0x`, decimal, or names of bits
/// such as `IWGRP|IWOTH`.
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
