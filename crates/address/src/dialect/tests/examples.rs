//! Tests that every example of the manual loads in its block.

use super::*;
use crate::config::Config;
use crate::dialect::documented;
use language::Severity;

/// Returns the blocks around an example.
fn around(place: &str, example: &str) -> String {
    let own = "interface eth0\nvirtual_router_id 51\npriority 150\n";
    let addresses = "virtual_ipaddress {\n192.0.2.10/24\n}\n";
    let others = "vrrp_script check {\nscript /usr/bin/true\n}\ntrack_file maintenance {\nfile /run/x\n}\nvrrp_track_process haproxy {\nprocess haproxy\n}\nbfd_instance peer {\nneighbor_ip 192.0.2.2\n}\n";
    let member = |name: &str, vrid: u8| {
        format!(
            "vrrp_instance {name} {{\ninterface eth0\nvirtual_router_id {vrid}\nvirtual_ipaddress {{\n192.0.2.{vrid}/24\n}}\n}}\n"
        )
    };
    let two = format!("{}{}", member("inside", 52), member("outside", 53));
    let group = "group {\ninside\noutside\n}\n";
    let security = "global_defs {\nenable_script_security\n}\n";
    let body = match place {
        "keepalived.conf" if example.contains("vrrp_sync_group") => format!("{two}{example}\n"),
        "keepalived.conf" => format!("{example}\n"),
        "vrrp_instance" if example.contains("virtual_ipaddress {") => {
            format!("{others}vrrp_instance A {{\n{own}{example}\n}}\n")
        }
        "vrrp_instance" => format!("{others}vrrp_instance A {{\n{own}{addresses}{example}\n}}\n"),
        "authentication" => {
            format!("vrrp_instance A {{\n{own}{addresses}authentication {{\n{example}\n}}\n}}\n")
        }
        "vrrp_sync_group" => format!("{others}{two}vrrp_sync_group G {{\n{group}{example}\n}}\n")
            .replace(&format!("{group}group {{"), "group {"),
        "vrrp_script" => format!("vrrp_script x {{\nscript /usr/bin/true\n{example}\n}}\n"),
        "bfd_instance" => format!(
            "bfd_instance x {{\nneighbor_ip {}\n{example}\n}}\n",
            if example.contains("2001") {
                "2001:db8::2"
            } else {
                "192.0.2.2"
            }
        ),
        "static_ipaddress" | "static_routes" | "static_rules" => {
            format!("{place} {{\n{example}\n}}\n")
        }
        "virtual_ipaddress" | "virtual_ipaddress_excluded" | "virtual_routes" | "virtual_rules" => {
            let more = if place == "virtual_ipaddress" {
                ""
            } else {
                addresses
            };
            format!("vrrp_instance A {{\n{own}{more}{place} {{\n{example}\n}}\n}}\n")
        }
        place => format!("{place} x {{\n{example}\n}}\n").replace("global_defs x", "global_defs"),
    };
    format!("{security}{body}")
}

#[test]
fn every_example_loads_where_it_is_legal() {
    let mut wrong = Vec::new();
    for row in documented().iter().filter(|row| !row.example.is_empty()) {
        for place in row.places {
            let text = around(place, row.example);
            let (sources, loaded) = loaded(&text);
            let errors = loaded
                .diagnostics
                .iter()
                .filter(|d| d.severity == Severity::Error);
            let errors: Vec<String> = errors
                .map(|d| {
                    format!(
                        "{} {}",
                        d.message,
                        d.primary
                            .map(|s| sources.snippet(s).into_owned())
                            .unwrap_or_default()
                    )
                })
                .collect();
            if !errors.is_empty() || loaded.config.is_none() {
                wrong.push(format!("{place} / {}: {errors:?}\n{text}", row.name));
            }
            // The role receives the configuration in this encoding.
            if let Some(config) = loaded.config {
                let decoded = Config::decode(&config.encode()).unwrap();
                assert_eq!(decoded, config, "{text}");
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_keyword_that_is_known_elsewhere_is_told_where() {
    let text = "global_defs {\n  virtual_ipaddress { 192.0.2.1 }\n}\nvrrp_instance A {\n  interface eth0\n  virtual_router_id 1\n  notification_email x\n  virtual_ipaddress { 192.0.2.1 }\n}\n";
    let told = told(text);
    assert!(
        told.contains("'virtual_ipaddress' belongs in 'vrrp_instance'"),
        "{told}"
    );
    assert!(
        told.contains("'notification_email' belongs in 'global_defs'"),
        "{told}"
    );
}

/// Keywords that are valid and without effect, with the code that each one reports. A keyword that
/// is implemented must leave the list, and none joins it unnoticed.
const WITHOUT_EFFECT: &str = "\
N0701 nftables_ifindex
N0701 reload_check_config
N0701 vrrp
W0709 SSL
W0709 checker
W0709 checker_cpu_affinity
W0709 checker_log_all_failures
W0709 checker_no_swap
W0709 checker_priority
W0709 checker_process_name
W0709 checker_rlimit_rttime
W0709 checker_rt_priority
W0709 enable_snmp_checker
W0709 lvs_flush
W0709 lvs_flush_on_stop
W0709 lvs_netlink_cmd_rcv_bufs
W0709 lvs_netlink_cmd_rcv_bufs_force
W0709 lvs_netlink_monitor_rcv_bufs
W0709 lvs_netlink_monitor_rcv_bufs_force
W0709 lvs_notify_fifo
W0709 lvs_notify_fifo_script
W0709 lvs_sync_daemon
W0709 lvs_sync_daemon_interface
W0709 lvs_timeouts
W0709 net_namespace_ipvs
W0709 nftables_ipvs
W0709 nftables_ipvs_priority
W0709 nftables_ipvs_start_fwmark
W0709 no_checker_emails
W0709 rs_init_notifies
W0709 smtp_alert_checker
W0710 bfd_cpu_affinity
W0710 bfd_no_swap
W0710 bfd_priority
W0710 bfd_process_name
W0710 bfd_rlimit_rttime
W0710 bfd_rt_priority
W0710 config_save_dir
W0710 dbus_service_name
W0710 enable_dbus
W0710 enable_snmp_rfc
W0710 enable_snmp_rfcv2
W0710 enable_snmp_rfcv3
W0710 enable_snmp_vrrp
W0710 enable_traps
W0710 instance
W0710 max_auto_priority
W0710 min_auto_priority_delay
W0710 namespace_with_ipsets
W0710 process_monitor_rcv_bufs
W0710 process_monitor_rcv_bufs_force
W0710 process_name
W0710 reload_file
W0710 reload_repeat
W0710 reload_time_file
W0710 snmp_socket
W0710 tmp_config_directory
W0710 use_pid_dir
W0710 vrrp_ipsets
W0710 vrrp_iptables
W0710 vrrp_netlink_cmd_rcv_bufs
W0710 vrrp_netlink_cmd_rcv_bufs_force
W0710 vrrp_netlink_monitor_rcv_bufs
W0710 vrrp_netlink_monitor_rcv_bufs_force
";

#[test]
fn keywords_without_effect_are_told_and_listed() {
    let mut found = Vec::new();
    for row in documented().iter().filter(|row| !row.example.is_empty()) {
        for place in row.places {
            let (sources, loaded) = loaded(&around(place, row.example));
            for one in loaded.diagnostics.iter() {
                let at = one.primary.map(|span| sources.snippet(span));
                let own = at.is_some_and(|at| at.starts_with(row.name));
                if own && ["W0709", "W0710", "N0701"].contains(&one.code.id) {
                    assert!(one.help.is_some(), "{}: why?", row.name);
                    found.push(format!("{} {}", one.code.id, row.name));
                }
            }
        }
    }
    found.sort();
    found.dedup();
    assert_eq!(found.join("\n") + "\n", WITHOUT_EFFECT);
}

#[test]
fn random_numbers_below_a_seed_are_those_of_the_seed() {
    let priority = |above: &str| {
        let text = format!(
            "{above}\nvrrp_instance A {{\ninterface eth0\nvirtual_router_id 1\npriority ${{_RANDOM 10 99}}\nvirtual_ipaddress {{\n192.0.2.1\n}}\n}}\n"
        );
        loaded(&text).1.config.unwrap().instances[0].priority
    };
    assert_eq!(priority(""), 10);
    assert_eq!(priority("global_defs {\nrandom_seed 7\n}"), 17);
}

#[test]
fn addresses_elsewhere_get_a_virtual_mac_and_one_without_an_interface_is_told() {
    let with = |lines: &str, addresses: &str| {
        format!(
            "vrrp_instance A {{\ninterface eth0\nvirtual_router_id 1\n{lines}\nvirtual_ipaddress {{\n{addresses}\n}}\n}}\n"
        )
    };
    let all = "192.0.2.1\n192.0.2.2 dev eth1\n192.0.2.3 dev eth0";
    for lines in ["use_vmac_addr", "use_vmac\nuse_vmac_addr"] {
        let config = loaded(&with(lines, all)).1.config.unwrap();
        let vmacs = config.instances[0].addresses.iter().map(|a| a.vmac);
        assert_eq!(vmacs.collect::<Vec<_>>(), [false, true, false], "{lines}");
    }
    assert_eq!(codes(&with("", "192.0.2.1 use_vmac")), "W0710");
    assert_eq!(codes(&with("", "192.0.2.1 dev eth1 use_vmac")), "");
}

#[test]
fn buffers_carrier_and_names_of_the_whole_file_reach_the_model() {
    let text = "global_defs {\nvrrp_rx_bufs_policy MTU\nvrrp_rx_bufs_multiplier 4\nvmac_prefix vr\n}\nvrrp_instance A {\nlinkbeat_use_polling\ninterface eth1\nvirtual_router_id 1\nvirtual_ipaddress {\n192.0.2.1\n}\n}\n";
    let config = loaded(text).1.config.unwrap();
    assert_eq!(config.global.receive_buffer_packets, Some(4));
    assert_eq!(config.global.receive_buffer_bytes, None);
    assert_eq!(config.global.vmac_address_prefix.as_deref(), Some("vr"));
    assert_eq!(config.polled_interfaces, ["eth1"]);
    assert_eq!(codes("instance a\n"), "W0710");
    assert_eq!(
        codes("instance a\nglobal_defs {\ndata_use_instance\n}\n"),
        ""
    );
}
