//! Every example of the manual loads where it is legal.

use super::*;
use crate::dialect::documented;
use language::Severity;

/// The blocks around an example.
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
