//! Tests the model that results from files.

use super::*;
use crate::config::{
    Authentication, Config, InstanceTransport, Lifetime, RouteKind, RuleAction, Start, Weight,
};
use std::time::Duration;

fn config(text: &str) -> Config {
    let (_, loaded) = loaded(text);
    let told: Vec<String> = loaded
        .diagnostics
        .iter()
        .map(|d| d.message.clone())
        .collect();
    loaded.config.unwrap_or_else(|| panic!("{told:?}"))
}

/// Returns an instance with these lines.
fn instance(lines: &str) -> String {
    format!(
        "vrrp_instance A {{\ninterface eth0\nvirtual_router_id 51\nvirtual_ipaddress {{ 192.0.2.10/24 }}\n{lines}\n}}\n"
    )
}

#[test]
fn an_instance_has_keepalived_s_defaults() {
    let config = config(&instance(""));
    let i = &config.instances[0];
    assert_eq!(
        (i.priority, i.options.version, i.ipv6, i.start),
        (100, 2, false, Start::Backup)
    );
    assert_eq!(i.options.advert_interval, Duration::from_secs(1));
    assert_eq!(i.options.down_timer_adverts, 3);
    assert!(i.options.preempt && i.options.accept && !i.options.lower_prio_no_advert);
    assert_eq!(
        i.transport,
        InstanceTransport::Multicast {
            group: "224.0.0.18".parse().unwrap()
        }
    );
    assert_eq!((i.garp.repeat, i.garp.delay), (5, Duration::from_secs(5)));
    assert_eq!(config.global.router_id, "lb1.example.com");
}

#[test]
fn definitions_that_stand_behind_their_use_count() {
    let text = instance("")
        + "global_defs {\nvrrp_version 3\nvrrp_garp_master_repeat 2\nvrrp_mcast_group4 224.0.0.99\n}\n";
    let config = config(&text);
    let i = &config.instances[0];
    assert_eq!(
        (i.options.version, i.garp.repeat, i.garp.lower_prio_repeat),
        (3, 2, 2)
    );
    assert_eq!(
        i.transport,
        InstanceTransport::Multicast {
            group: "224.0.0.99".parse().unwrap()
        }
    );
}

#[test]
fn master_without_a_priority_has_255_as_in_keepalived() {
    let config = config(&instance("state MASTER"));
    assert_eq!(config.instances[0].priority, 255);
}

#[test]
fn fractions_of_seconds_are_sent_by_version_3_alone() {
    let interval = |lines: &str| {
        config(&instance(lines)).instances[0]
            .options
            .advert_interval
    };
    assert_eq!(
        interval("version 3\nadvert_int 0.01"),
        Duration::from_millis(10)
    );
    assert_eq!(
        interval("version 3\nadvert_int 41"),
        Duration::from_millis(40_950)
    );
    assert_eq!(interval("advert_int 1.5"), Duration::from_secs(2));
    assert_eq!(interval("advert_int 0.2"), Duration::from_secs(1));
}

#[test]
fn the_manual_s_replacements_are_made_at_their_use() {
    let text = "$BASE=10.2.${SUB}\n$SUB=0\nvrrp_instance A {\ninterface eth0\nvirtual_router_id 1\nvirtual_ipaddress {\n${BASE}.100/32\n$SUB=10\n${BASE}.100/32\n}\n}\n";
    let addresses: Vec<String> = config(text).instances[0]
        .addresses
        .iter()
        .map(|a| a.address.to_string())
        .collect();
    assert_eq!(addresses, ["10.2.0.100", "10.2.10.100"]);
}

#[test]
fn definitions_of_several_lines_make_instances() {
    let text = "$INSTANCE= \\\nvrrp_instance VI_${NUM} { \\\n interface eth${NUM} \\\n virtual_router_id 1 \\\n @lb1 priority 130 \\\n @lb2 priority 120 \\\n virtual_ipaddress { \\\n 10.0.${NUM}.254/24 \\\n } \\\n}\n\n$NUM=0\n$INSTANCE\n$NUM=1\n$INSTANCE\n";
    let config = config(text);
    let all: Vec<String> = config
        .instances
        .iter()
        .map(|i| {
            format!(
                "{} {} {} {}",
                i.name, i.interface, i.priority, i.addresses[0].address
            )
        })
        .collect();
    assert_eq!(
        all,
        ["VI_0 eth0 130 10.0.0.254", "VI_1 eth1 130 10.0.1.254"]
    );
}

#[test]
fn sequences_and_lists_stand_in_each_other() {
    let text = "vrrp_instance A {\ninterface eth0\nvirtual_router_id 1\nvirtual_ipaddress {\n~LST({IP, IP1}, {10,1},{20,4}) ~SEQ(IP2,168,2,172) 192.${IP2}.${IP}.${IP1}\n}\n}\n";
    let addresses: Vec<String> = config(text).instances[0]
        .addresses
        .iter()
        .map(|a| a.address.to_string())
        .collect();
    assert_eq!(
        addresses,
        [
            "192.168.10.1",
            "192.170.10.1",
            "192.172.10.1",
            "192.168.20.4",
            "192.170.20.4",
            "192.172.20.4"
        ]
    );
}

#[test]
fn a_sequence_makes_instances_of_a_definition() {
    let text = "$VI= \\\nvrrp_instance vrrp.${ID} { \\\n interface eth0 \\\n virtual_router_id ${ID} \\\n virtual_ipaddress { \\\n 10.0.0.${ID}/24 \\\n } \\\n}\n~SEQ(ID,1,254) $VI\n";
    let config = config(text);
    assert_eq!(config.instances.len(), 254);
    assert_eq!(config.instances[253].name, "vrrp.254");
}

#[test]
fn conditions_take_the_lines_of_this_machine() {
    let text = instance(
        "@lb1 priority 200\n@^lb1 priority 50\n@other priority 60\nunicast_peer {\n@^lb1 192.0.2.1\n@^lb2 192.0.2.2\n}",
    );
    let with = |id: Option<&str>| {
        let options = Options {
            config_id: id.map(str::to_owned),
            ..Options::default()
        };
        let (_, loaded) = loaded_with(&text, &mut Nowhere::default(), &options);
        let instance = loaded.config.unwrap().instances.remove(0);
        let InstanceTransport::Unicast { peers, .. } = instance.transport else {
            panic!("no peers")
        };
        let peers: Vec<String> = peers.iter().map(|p| p.address.to_string()).collect();
        (instance.priority, peers.join(" "))
    };
    assert_eq!(with(None), (200, "192.0.2.2".to_owned()));
    assert_eq!(with(Some("other")), (60, "192.0.2.1 192.0.2.2".to_owned()));
}

#[test]
fn files_are_included_relative_to_their_file() {
    let mut outside = Nowhere::default();
    for (path, text) in [
        (
            "/etc/keepalived/conf.d/b.conf",
            "include deeper/c.txt\n".to_owned(),
        ),
        ("/etc/keepalived/conf.d/a.conf", instance("priority 7")),
        (
            "/etc/keepalived/conf.d/.hidden.conf",
            "nonsense\n".to_owned(),
        ),
        (
            "/etc/keepalived/conf.d/deeper/c.txt",
            instance("priority 8\nvirtual_router_id 9\nvirtual_ipaddress { 192.0.2.11 }")
                .replace("instance A", "instance C")
                .replace("192.0.2.10/24", "192.0.2.12"),
        ),
    ] {
        outside.files.insert(PathBuf::from(path), text.into_bytes());
    }
    let (sources, loaded) =
        loaded_with("include conf.d/*.conf\n", &mut outside, &Options::default());
    let priorities: Vec<u8> = loaded
        .config
        .unwrap()
        .instances
        .iter()
        .map(|i| i.priority)
        .collect();
    assert_eq!(priorities, [7, 8]);
    assert_eq!(loaded.files.len(), 3);
    assert_eq!(sources.files().count(), 4);
}

#[test]
fn a_file_that_includes_itself_ends() {
    let mut outside = Nowhere::default();
    outside
        .files
        .insert(PathBuf::from("/etc/keepalived/x"), b"include x\n".to_vec());
    let (_, loaded) = loaded_with("include x\n", &mut outside, &Options::default());
    let codes: Vec<&str> = loaded.diagnostics.iter().map(|d| d.code.id).collect();
    assert_eq!(codes, ["E0709"]);
}

#[test]
fn variables_that_name_each_other_end() {
    assert!(codes("$A=x${B}\n$B=${A}\n$A\n").contains("E0709"));
    assert!(codes("$A=${A}${A}\nglobal_defs {\nrouter_id ${A}\n}\n").contains("E0709"));
}

#[test]
fn addresses_have_all_their_words() {
    let text = instance(
        "virtual_ipaddress {\n10.0.0.2/24 brd + dev eth1 label eth1:v scope link no_track\n}\nvirtual_ipaddress_excluded {\nfd00::1/128\nfd00::2/64 preferred_lft 0 -nodad home\n}",
    );
    let config = config(&text);
    let i = &config.instances[0];
    let a = &i.addresses[1];
    assert_eq!(a.broadcast, Some("10.0.0.255".parse().unwrap()));
    assert_eq!(
        (a.interface.as_deref(), a.label.as_deref()),
        (Some("eth1"), Some("eth1:v"))
    );
    assert_eq!(
        (a.scope.map(|s| s.0), a.no_track, a.prefix),
        (Some(253), true, 24)
    );
    assert_eq!(i.excluded[0].preferred, Some(Lifetime::Seconds(0)));
    assert!(i.excluded[1].no_dad && i.excluded[1].home);
}

#[test]
fn routes_and_rules_are_read_as_ip_writes_them() {
    let text = instance(
        "virtual_routes {\nsrc 192.0.2.10 to 10.8.0.0/16 via 192.0.2.1 dev eth0 mtu lock 1400 rtt 10\nblackhole 10.7.0.0/16 no_track\ndefault via 192.0.2.1 table 300 no_track\n10.9.0.0/16 nexthop via 192.0.2.1 weight 2 nexthop via 192.0.2.2 dev eth1\n2001:db8:1::/48 via fe80::1 dev eth0 metric 5\n}\nvirtual_rules {\nfrom 192.0.2.0/24 table 100 priority 5\nfwmark 3/7 lookup local preference 6\nto 2001:db8::/32 uidrange 1-5 blackhole preference 7\n}",
    );
    let config = config(&text);
    let i = &config.instances[0];
    let r = &i.routes;
    assert_eq!(r[0].metrics, [(2, 1400, true), (4, 80, false)]);
    assert_eq!(
        (r[0].source.is_some(), r[0].destination.map(|d| d.1)),
        (true, Some(16))
    );
    assert_eq!((r[1].kind, r[1].no_track), (RouteKind::Blackhole, true));
    assert_eq!((r[2].destination, r[2].table), (None, Some(300)));
    let weights: Vec<u16> = r[3].hops.iter().map(|h| h.weight).collect();
    assert_eq!(weights, [2, 1]);
    assert_eq!((r[4].ipv6, r[4].metric), (true, Some(5)));
    assert_eq!(i.rules[0].action, RuleAction::Table(100));
    assert_eq!(
        (i.rules[1].mark, &i.rules[1].action),
        (Some((3, 7)), &RuleAction::Table(255))
    );
    assert_eq!((i.rules[2].ipv6, i.rules[2].uids), (true, Some((1, 5))));
}

#[test]
fn weights_are_those_of_the_tracked_unless_said() {
    let text = "vrrp_script s {\nscript /usr/bin/true\nweight 10 reverse\n}\n".to_owned()
        + &instance("priority 50\ntrack_script {\ns\n}\ntrack_interface {\neth1 weight -7\n}")
        + &instance("virtual_router_id 52\ntrack_script {\ns weight 5\n}")
            .replace("instance A", "instance B")
            .replace("192.0.2.10", "192.0.2.11");
    let config = config(&text);
    assert_eq!(
        config.instances[0].tracked.scripts,
        [("s".to_owned(), None)]
    );
    assert_eq!(
        config.instances[0].tracked.interfaces,
        [(
            "eth1".to_owned(),
            Weight {
                value: -7,
                reverse: false
            }
        )]
    );
    let own = Weight {
        value: 5,
        reverse: true,
    };
    assert_eq!(
        config.instances[1].tracked.scripts,
        [("s".to_owned(), Some(own))]
    );
}

#[test]
fn instances_of_one_router_id_have_virtual_interfaces_of_names_of_their_own() {
    let of = |name: &str, interface: &str, vmac: &str, address: &str| {
        format!(
            "vrrp_instance {name} {{\ninterface {interface}\nvirtual_router_id 51\n{vmac}\nvirtual_ipaddress {{ {address} }}\n}}\n"
        )
    };
    let named = |text: &str| -> Vec<String> {
        let instances = config(text).instances;
        let names = instances.into_iter().filter_map(|i| i.vmac?.name);
        names.collect()
    };
    let inside = of("A", "eth0", "use_vmac", "192.0.2.10/24");
    let outside = of("B", "eth1", "use_vmac", "198.51.100.10/24");
    let six = of("C", "eth1", "use_vmac", "fe80::51");
    // keepalived assigns these names in the order of the file.
    let all = format!("{inside}{outside}{six}");
    assert_eq!(named(&all), ["vrrp.51", "vrrp1.51", "vrrp6.51"]);
    assert_eq!(named(&six), ["vrrp.51"]);
    assert_eq!(named(&format!("{six}{inside}")), ["vrrp.51", "vrrp1.51"]);
    let written = of("B", "eth1", "use_vmac vrrp.51", "198.51.100.10/24");
    assert_eq!(
        named(&format!("{inside}{written}")),
        ["vrrp1.51", "vrrp.51"]
    );
    let first = of("A", "eth0", "use_vmac v", "192.0.2.10/24");
    let second = of("B", "eth1", "use_vmac v", "198.51.100.10/24");
    assert_eq!(named(&format!("{first}{second}")), ["v", "vrrp.51"]);
    let prefix = "global_defs {\nvmac_prefix vip\n}\n";
    assert_eq!(
        named(&format!("{prefix}{inside}{outside}")),
        ["vip.51", "vip1.51"]
    );
}

#[test]
fn router_id_ends_only_a_mac_with_five_octets() {
    let of = |mac: &str| {
        let instance = instance("virtual_router_id 51").replace(
            "virtual_router_id 51",
            &format!("use_vmac v {mac}\nvirtual_router_id 51"),
        );
        config(&instance).instances[0]
            .vmac
            .as_ref()
            .and_then(|vmac| vmac.mac)
    };
    assert_eq!(of("02:00:00:00:01"), Some([2, 0, 0, 0, 1, 51]));
    assert_eq!(of("02:00:00:00:01:00"), Some([2, 0, 0, 0, 1, 0]));
    assert_eq!(of(""), None);
}

#[test]
fn the_file_is_the_same_after_its_way_to_the_role() {
    let text = "global_defs {\nnotification_email {\na@example.com\n}\nsmtp_server 127.0.0.1\nnotify_fifo /run/x\n}\n".to_owned()
        + &instance("authentication {\nauth_type PASS\nauth_pass abc\n}\nuse_vmac vrrp.51\nvmac_xmit_base\nnotify_master \"/usr/bin/x 'a b'\" nobody");
    let config = config(&text);
    assert_eq!(
        config.instances[0].options.authentication,
        Some(Authentication::Pass(*b"abc\0\0\0\0\0"))
    );
    assert_eq!(
        config.instances[0].notify.master.as_ref().unwrap().words,
        ["/usr/bin/x", "a b"]
    );
    assert_eq!(Config::decode(&config.encode()).unwrap(), config);
}

#[test]
fn nftables_settings_are_encoded_under_their_keywords() {
    let text = "global_defs {\nnftables vrrp\nnftables_priority -5\nnftables_counters\n}\n";
    let config = config(&(text.to_owned() + &instance("")));
    let encoded: serde_json::Value = serde_json::from_slice(&config.encode()).unwrap();
    let global = &encoded["global"];
    assert_eq!(global["nftables_table"], "vrrp");
    assert_eq!(global["nftables_priority"], -5);
    assert_eq!(global["nftables_counters"], true);
    assert_eq!(Config::decode(&config.encode()).unwrap(), config);
}

#[test]
fn the_manual_s_many_instances_are_read_in_a_moment() {
    let text = "$VI4= \\\ntrack_file offset.${IF}.${NUM}.${ID} { \\\n file /run/x \\\n} \\\nvrrp_instance vrrp4.${IF}.${NUM}.${ID} { \\\n interface vlan${IF}.${NUM} \\\n virtual_router_id ${ID} \\\n virtual_ipaddress { \\\n 10.${IF}.${NUM}.${ID}/24 \\\n } \\\n track_file { \\\n offset.${IF}.${NUM}.${ID} \\\n } \\\n}\nglobal_defs {\ndynamic_interfaces\n}\n~SEQ(IF,0,1) ~SEQ(NUM,0,31) ~SEQ(ID,1,254) $VI4\n";
    let begun = std::time::Instant::now();
    let config = config(text);
    assert_eq!(config.instances.len(), 2 * 32 * 254);
    // With quadratic cost, this would take many minutes.
    assert!(begun.elapsed() < Duration::from_secs(60));
}
