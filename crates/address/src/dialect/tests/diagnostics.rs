//! Tests diagnostics as users see them.

use super::*;
use insta::assert_snapshot;

/// A real configuration file of 2011, unchanged.
pub(super) const FIELD: &str = "vrrp_instance_VI_1 {
\tstate MASTER
\tinterface eth0
\tvirtual_router_id 51
\t! this priority (below) should be higher on the master server, than on the slave.
\t! a bit of a pain as it makes Mercurial'ising this config more difficult - anyone know a solution?
\tpriority 200
\tadvert_int 1
\tauthentication {
\t\tauth_type PASS
\t\tauth_pass some_secure_password_goes_here
\t}
\tvirtual_ipaddress {
\t\t172.16.61.150
\t\t172.16.61.159
\t}
}
";

#[test]
fn the_file_of_2011_is_told_its_slip_and_its_password() {
    assert_snapshot!(told(FIELD));
}

#[test]
fn the_file_of_2011_loads_once_its_slip_is_mended() {
    let mended = FIELD.replace("vrrp_instance_VI_1", "vrrp_instance VI_1");
    assert_eq!(codes(&mended), "N0700 W0700");
    let (_, loaded) = loaded(&mended);
    let config = loaded.config.unwrap();
    assert_eq!(config.instances[0].name, "VI_1");
    assert_eq!(config.instances[0].addresses.len(), 2);
}

/// Returns an instance with these lines.
fn instance(lines: &str) -> String {
    format!(
        "vrrp_instance A {{\n  interface eth0\n  virtual_router_id 51\n  virtual_ipaddress {{ 192.0.2.10/24 }}\n{lines}\n}}\n"
    )
}

#[test]
fn words_that_are_no_keywords_find_the_ones_that_are_meant() {
    assert_snapshot!(told(
        "global_def {\n  routr_id x\n  garp_master_delay 3\n}\nvrrp_intsance A {\n  state SLAVE\n  interfce eth0\n  virtual_router_id 51\n  virtual_ipadress {\n    192.0.2.10/24 devv eth1\n    192.0.2.11 192.0.2.12\n  }\n  track_script {\n    chek\n  }\n}\nvrrp_script check {\n  script /usr/bin/true\n  user nobody\n}\n"
    ));
}

#[test]
fn values_are_told_with_their_bounds() {
    assert_snapshot!(told(&instance(
        "  priority 300\n  advert_int 50ms\n  preempt_delay -1\n  mcast_dst_ip 10.0.0.1\n  strict_mode maybe\n  advert_int\n  garp_master_delay 1.5\n  unicast_peer {\n    192.0.2.256\n  }"
    )));
}

#[test]
fn braces_and_quotes_are_told_where_they_open() {
    assert_snapshot!(told(
        "vrrp_instance A {\n  interface eth0\n  virtual_router_id 51\n  virtual_ipaddress {\n    192.0.2.10/24\n\nvrrp_instance B {\n  interface \"eth0\n  virtual_router_id 52\n  virtual_ipaddress { 192.0.2.11/24 }\n}\n}\n"
    ));
}

#[test]
fn two_instances_with_one_router_id_are_told_with_both_places() {
    let two = instance("")
        + &instance("")
            .replace("instance A", "instance B")
            .replace(".10/", ".11/");
    assert_snapshot!(told(&two));
}

#[test]
fn one_router_id_is_allowed_where_adverts_do_not_meet() {
    let six = instance("")
        .replace("instance A", "instance B")
        .replace("192.0.2.10/24", "fe80::10");
    assert_eq!(codes(&(instance("") + &six)), "");
    let other = instance("mcast_dst_ip 224.0.0.99")
        .replace("instance A", "instance B")
        .replace(".10/", ".11/");
    assert_eq!(codes(&(instance("") + &other)), "");
    let one = instance("unicast_peer { 192.0.2.2 }");
    let two = instance("unicast_peer { 192.0.2.3 }")
        .replace("instance A", "instance B")
        .replace(".10/", ".11/");
    assert_eq!(codes(&(one.clone() + &two)), "");
    let same = two.replace("192.0.2.3", "192.0.2.2");
    assert_eq!(codes(&(one + &same)), "E0716");
}

#[test]
fn a_virtual_server_is_answered_by_its_listen_section() {
    let text = "virtual_server 192.0.2.10 80 {\n  delay_loop 6\n  lb_algo wlc\n  lb_kind DR\n  persistence_timeout 50\n  protocol TCP\n  sorry_server 10.0.0.9 8080\n  real_server 10.0.0.1 80 {\n    weight 3\n    HTTP_GET {\n      url {\n        path /health\n        status_code 200\n      }\n      connect_timeout 3\n    }\n  }\n  real_server 10.0.0.2 80 {\n    TCP_CHECK {\n      connect_port 81\n    }\n  }\n}\n";
    assert_snapshot!(told(text));
    let options = Options {
        vrrp_only: true,
        ..Options::default()
    };
    let (_, loaded) = loaded_with(
        &(text.to_owned() + &instance("")),
        &mut Nowhere::default(),
        &options,
    );
    assert_eq!(loaded.diagnostics.iter().count(), 0);
    assert_eq!(loaded.config.unwrap().instances.len(), 1);
}

#[test]
fn proposed_section_names_every_line_that_it_drops() {
    let proposal = |lines: &str| told(&format!("virtual_server 192.0.2.1 80 {{\n{lines}\n}}\n"));
    let same =
        proposal("delay_loop 6\n protocol TCP\n real_server 10.0.0.1 80 {\n TCP_CHECK {\n }\n }");
    assert!(same.contains("this section does the same:"), "{same}");
    let server =
        |check: &str| format!("real_server 10.0.0.1 80 {{\n notify_down /bin/x\n {check}\n }}\n");
    let url = |path: &str| format!("url {{\n path {path}\n status_code 200\n }}\n");
    let http = format!(
        "HTTP_GET {{\n {} {} nb_get_retry 3\n }}",
        url("/a"),
        url("/b")
    );
    let shown = proposal(&("quorum 2\n hysteresis 1\n ".to_owned() + &server(&http)));
    for part in [
        "this section comes closest; the notes below list what it lacks:",
        "only the first 'url' is checked",
        "these lines have no counterpart in it: hysteresis, nb_get_retry, notify_down, quorum",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let mail = proposal(&server("SMTP_CHECK {\n helo_name proxy.example\n }"));
    assert!(mail.contains("option smtpchk HELO proxy.example"), "{mail}");
    let mixed = server("SMTP_CHECK {\n }") + &server("PING_CHECK {\n }");
    let mixed = proposal(&mixed);
    for part in [
        "takes the place of PING_CHECK",
        "one kind of check, and its servers one each; the file has PING_CHECK, SMTP_CHECK",
    ] {
        assert!(mixed.contains(part), "{part}: {mixed}");
    }
}

#[test]
fn what_a_listen_section_would_refuse_is_not_proposed() {
    let proposal =
        |head: &str, lines: &str| told(&format!("virtual_server {head} {{\n  {lines}\n}}\n"));
    let server = |port: u16, weight: u32, check: &str| {
        format!("real_server 10.0.0.1 {port} {{\n weight {weight}\n {check}\n }}\n")
    };
    let check = "TCP_CHECK {\n connect_timeout 3\n retry 2\n delay_before_retry 4\n }";
    let heavy = server(80, 1000, check) + &server(80, 1, "") + &server(80, 0, "");
    let heavy = proposal("192.0.2.1 80", &heavy);
    for part in [
        "timeout client 15m",
        "timeout check 3s",
        "server s1 10.0.0.1:80 weight 256 check inter 60s fall 3 fastinter 4s",
        "server s2 10.0.0.1:80 weight 1\n",
        "server s3 10.0.0.1:80 weight 0\n",
    ] {
        assert!(heavy.contains(part), "{part}: {heavy}");
    }
    let mark = proposal("fwmark 7", &server(0, 1, check));
    assert!(mark.contains("bind :80,:443"), "{mark}");
    assert!(
        mark.contains("s1 10.0.0.1 weight 1 check inter 60s port 80"),
        "{mark}"
    );
    let all = proposal("192.0.2.1 0", &server(0, 1, ""));
    assert!(all.contains("bind 192.0.2.1:80,192.0.2.1:443"), "{all}");
    assert!(all.contains("server s1 10.0.0.1 weight 1\n"), "{all}");
    let udp = proposal(
        "192.0.2.1 53",
        &("protocol UDP\n ".to_owned() + &server(53, 1, "")),
    );
    assert!(
        !udp.contains("listen ") && udp.contains("does not balance UDP"),
        "{udp}"
    );
}

#[test]
fn a_group_of_addresses_and_what_checks_cannot_do_are_in_the_proposal() {
    let group = "virtual_server_group G {\n 192.0.2.1 80\n 192.0.2.3-5 443\n fwmark 7\n}\n";
    let server = "virtual_server group G {\n protocol TCP\n real_server 10.0.0.1 80 {\n MISC_CHECK {\n \
                  misc_path \"/usr/bin/check now\"\n }\n }\n real_server 10.0.0.2 80 {\n HTTP_GET {\n url {\n path /\n \
                  digest 640205\n }\n }\n }\n}\n";
    let shown = told(&(group.to_owned() + server));
    let section = shown.split("listen G").nth(1).unwrap_or_default();
    for part in [
        "bind 192.0.2.1:80\n",
        "bind 192.0.2.3:443\n",
        "bind 192.0.2.5:443\n",
        "that mark 7 is set for",
        "'digest' compares",
        "'external-check' in 'global'",
    ] {
        assert!(section.contains(part), "{part}: {shown}");
    }
    let scripts = server.replace("HTTP_GET", "TCP_CHECK");
    let shown = told(&(scripts + group));
    assert!(
        shown.contains("external-check command /usr/bin/check\n"),
        "{shown}"
    );
    assert!(
        shown.contains("# the bind lines of virtual_server_group G"),
        "{shown}"
    );
}

#[test]
fn under_the_name_of_keepalived_what_that_leaves_out_is_a_warning() {
    let text = "global_defs {\n  no_such_word 3\n  lvs_sync_daemon_interface eth0\n}\n\
                vrrp_script chk {\n  script \"/bin/true\"\n}\nvrrp_script chk {\n  script \"/bin/false\"\n}\n\
                no_such_block x {\n  priority 3\n}\n"
        .to_owned()
        + &instance("prioritty 99\nlvs_sync_daemon_interface eth0");
    let options = Options {
        as_keepalived: true,
        ..Options::default()
    };
    let (_, loaded) = loaded_with(&text, &mut Nowhere::default(), &options);
    let mut codes: Vec<&str> = loaded.diagnostics.iter().map(|d| d.code.id).collect();
    codes.sort_unstable();
    codes.dedup();
    let config = loaded.config.unwrap();
    assert!(
        codes.contains(&"W0723") && codes.contains(&"W0709"),
        "{codes:?}"
    );
    assert_eq!(config.instances.len(), 1);
    assert_ne!(
        config.instances[0].priority, 99,
        "it is left out, not guessed"
    );
    let messages: Vec<&str> = loaded.diagnostics.iter().map(|d| &*d.message).collect();
    let about = |what: &str| messages.iter().filter(|told| told.contains(what)).count();
    assert_eq!(about("duplicate 'vrrp_script chk'"), 1);
    assert_eq!(about("/bin/false"), 0, "nothing of the second counts");
    let (_, strict) = loaded_with(&text, &mut Nowhere::default(), &Options::default());
    assert!(strict.config.is_none());
}

/// Asserts the codes that each text reports.
fn are_told(all: Vec<(String, &str)>) {
    for (text, expected) in all {
        assert_eq!(codes(&text), expected, "{text}{}", told(&text));
    }
}

#[test]
fn what_does_not_go_together_is_told() {
    are_told(vec![
        (instance("state MASTER\npriority 100"), "W0701"),
        (instance("state MASTER\npriority 101"), "N0700"),
        (instance("state MASTER"), "W0701"),
        (instance("state BACKUP\npriority 255"), "W0701"),
        (
            instance("state MASTER\npriority 150\nnopreempt"),
            "N0700 W0702",
        ),
        (
            instance("state MASTER\npriority 150\npreempt_delay 9"),
            "N0700 W0702",
        ),
        (instance("nopreempt\npreempt_delay 9"), "W0702"),
        (instance("advert_int 1.5"), "W0703"),
        (instance("version 3\nadvert_int 0.015"), "W0703"),
        (
            instance("version 3\nauthentication {\nauth_type PASS\nauth_pass x\n}"),
            "W0704",
        ),
        (instance("authentication {\nauth_type PASS\n}"), "W0704"),
        (
            instance("authentication {\nauth_type PASS\nauth_pass 123456789\n}"),
            "W0700",
        ),
        (
            instance("authentication {\nauth_type PASS\nauth_pass 12345678\n}"),
            "",
        ),
        (
            instance("strict_mode\nunicast_peer { 192.0.2.2 }\npreempt_delay 4\naccept"),
            "W0719 W0702 W0719",
        ),
        (instance("notify_master /nowhere"), "W0705"),
        (instance("notify /usr/bin/x -v"), "W0706 E0720"),
        (instance("unicast_src_ip 192.0.2.1"), "W0721"),
        (instance("use_vmac\nunicast_peer { 192.0.2.2 }"), "W0710"),
        (instance("priority 50 60"), "W0708"),
        (instance("virtual_ipaddress {\nfe80::1\n}"), "W0718"),
        (instance("virtual_ipaddress {\n192.0.2.10\n}"), "W0722"),
        (instance("track_interface {\neth9\n}"), "E0715"),
        (instance("track_script {\nnone\n}"), "E0717"),
    ]);
}

#[test]
fn lines_that_lack_something_are_told() {
    are_told(vec![
        (
            instance("virtual_routes {\n198.51.100.0/24 via 192.0.2.1\n}"),
            "W0717",
        ),
        (
            instance("virtual_rules {\nfrom 192.0.2.0/24 table 1\n}"),
            "W0714",
        ),
        (instance("interface lo"), "E0715"),
        (
            instance("") + "global_defs {\nenable_dbus\nlvs_flush\n}\n",
            "W0710 W0709",
        ),
        (
            instance("") + "interface_up_down_delays {\neth0 3\n}\n",
            "W0715",
        ),
        (
            instance("") + "interface_up_down_delays {\neth0 1.9\n}\n",
            "",
        ),
        (
            instance("")
                + &instance("virtual_router_id 7\nvirtual_ipaddress_excluded {\n192.0.2.77\n}"),
            "E0712 W0722",
        ),
        (
            instance("") + "vrrp_sync_group G {\ngroup {\nA\n}\n}\n",
            "W0712",
        ),
        (
            instance("") + "vrrp_sync_group G {\ngroup {\nA\nB\n}\n}\n",
            "E0717",
        ),
        (instance("") + "include nothing.conf\n", "W0716"),
        (instance("") + "includea nothing.conf\n", "E0708"),
        (instance("") + "include nothing/*.conf\n", ""),
        (
            instance("") + "global_defs {\nrouter_id ${NOTHING}\n}\n",
            "W0707",
        ),
        (
            instance("garp_master_delay 1") + "global_defs {\nvrrp_garp_interval 0.5\n}\n",
            "W0715",
        ),
        (
            "vrrp_instance A {\ninterface eth0\nvirtual_ipaddress { 192.0.2.1 }\n}\n".to_owned(),
            "E0713",
        ),
        (
            "vrrp_instance A {\nvirtual_router_id 1\nvirtual_ipaddress { 192.0.2.1 }\n}\n"
                .to_owned(),
            "E0714",
        ),
        (
            "vrrp_instance A {\ninterface eth0\nvirtual_router_id 1\n}\n".to_owned(),
            "W0713",
        ),
        (
            "vrrp_script x {\nscript /usr/bin/true\nweight -300\n}\n".to_owned(),
            "W0706 E0703",
        ),
        ("vrrp_script x {\n}\n".to_owned(), "E0701"),
        ("}\n{\n".to_owned(), "E0704 E0704"),
        ("~SEQ(1) x\n".to_owned(), "E0710"),
        ("static_ipaddress\n".to_owned(), "E0707"),
    ]);
}

#[test]
fn a_line_may_allow_its_warning() {
    let text = instance("advert_int 1.5 # evenkeel: allow W0703");
    assert_eq!(codes(&text), "");
}

#[test]
fn scripts_that_others_can_change_are_not_run() {
    let text = "global_defs {\nenable_script_security\n}\nvrrp_script s {\nscript /tmp/changed\n}\nvrrp_script t {\nscript \"/tmp/changed x\"\n}\n"
        .to_owned() + &instance("track_script {\ns\n}");
    assert_eq!(codes(&text), "W0705 W0705");
    let (_, loaded) = loaded(&text);
    let config = loaded.config.unwrap();
    assert!(config.scripts.is_empty() && config.instances[0].tracked.scripts.is_empty());
}

#[test]
fn more_addresses_than_an_advert_names_are_told() {
    let text = instance("virtual_ipaddress {\n~SEQ(A, 0, 3) ~SEQ(B, 1, 100) 10.0.${A}.${B}\n}");
    assert_eq!(codes(&text), "E0721");
}
