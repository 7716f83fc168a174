//! Compares verdicts with the real program: runs `keepalived -t` on the same files, in a network
//! namespace with eth0 and eth1.

use super::*;
use crate::dialect::LocalMachine;
use lab::{Exit, Lab, LabHost, ScratchDirectory};
use language::Severity;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Timeout of one check on a busy machine.
const CHECK_MAX: Duration = Duration::from_secs(60);

/// A file with keepalived's verdict, and the reason if Evenkeel's verdict differs.
struct Case {
    name: &'static str,
    text: String,
    /// Reason why the verdict of Evenkeel differs.
    differs: Option<&'static str>,
}

fn case(name: &'static str, text: impl Into<String>) -> Case {
    Case {
        name,
        text: text.into(),
        differs: None,
    }
}

fn other(name: &'static str, text: impl Into<String>, why: &'static str) -> Case {
    Case {
        differs: Some(why),
        ..case(name, text)
    }
}

/// Returns an instance with these lines.
fn of(lines: &str) -> String {
    format!(
        "vrrp_instance A {{\ninterface eth0\nvirtual_router_id 51\npriority 150\nvirtual_ipaddress {{\n10.0.0.10/24\n}}\n{lines}\n}}\n"
    )
}

/// Returns two instances, the second with these lines.
fn two(lines: &str) -> String {
    of("")
        + &of(&format!("virtual_router_id 52\n{lines}"))
            .replace("instance A", "instance B")
            .replace(".10/", ".11/")
}

fn values() -> Vec<Case> {
    vec![
        case("plain", of("")),
        case(
            "one line",
            "vrrp_instance A { \n interface eth0\n virtual_router_id 5\n virtual_ipaddress { 10.0.0.1 }\n}\n",
        ),
        case(
            "brace on its own line",
            "vrrp_instance A\n{\ninterface eth0\nvirtual_router_id 5\nvirtual_ipaddress\n{\n10.0.0.1\n}\n}\n",
        ),
        case("slip", of("").replace("vrrp_instance A", "vrrp_instance_A")),
        case("unknown keyword", of("nonsense 1")),
        case("priority too high", of("priority 256")),
        case("priority zero", of("priority 0")),
        case("no router id", of("").replace("virtual_router_id 51\n", "")),
        case("router id zero", of("virtual_router_id 0")),
        case("no interface", of("").replace("interface eth0\n", "")),
        case("unknown interface", of("interface eth7")),
        case(
            "interface that may come",
            of("interface eth7") + "global_defs {\ndynamic_interfaces\n}\n",
        ),
        case("loopback", of("interface lo")),
        case("unknown state", of("state SLAVE")),
        case("nopreempt of a master", of("state MASTER\nnopreempt")),
        case("nopreempt of a backup", of("state BACKUP\nnopreempt")),
        case("delay of a master", of("state MASTER\npreempt_delay 5")),
        case("fraction in version 2", of("advert_int 1.5")),
        case("fraction in version 3", of("version 3\nadvert_int 0.25")),
        case("too fine in version 3", of("version 3\nadvert_int 0.015")),
        case("too long in version 3", of("version 3\nadvert_int 41")),
    ]
}

fn passwords_and_addresses() -> Vec<Case> {
    vec![
        case(
            "password of eight",
            of("authentication {\nauth_type PASS\nauth_pass 12345678\n}"),
        ),
        case(
            "password of nine",
            of("authentication {\nauth_type PASS\nauth_pass 123456789\n}"),
        ),
        case(
            "password in version 3",
            of("version 3\nauthentication {\nauth_type PASS\nauth_pass x\n}"),
        ),
        case("no password", of("authentication {\nauth_type PASS\n}")),
        case("missing value", of("advert_int")),
        other(
            "word too many",
            of("priority 50 60"),
            "keepalived passes over the second number in silence",
        ),
        case(
            "address of no family",
            of("virtual_ipaddress {\n10.0.0.256\n}"),
        ),
        case("mixed families", of("virtual_ipaddress {\nfe80::1\n}")),
        case(
            "excluded of the other family",
            of("virtual_ipaddress_excluded {\nfe80::1\n}"),
        ),
        case(
            "unknown word of an address",
            of("virtual_ipaddress {\n10.0.0.77 devv eth0\n}"),
        ),
        case(
            "two addresses on a line",
            of("virtual_ipaddress {\n10.0.0.77 10.0.0.78\n}"),
        ),
        case(
            "no address",
            "vrrp_instance A {\ninterface eth0\nvirtual_router_id 51\n}\n",
        ),
    ]
}

fn references() -> Vec<Case> {
    vec![
        case("two instances", two("")),
        case(
            "one name twice",
            two("").replace("instance B", "instance A"),
        ),
        case("one router id twice", two("virtual_router_id 51")),
        case(
            "one router id, another group",
            two("virtual_router_id 51\nmcast_dst_ip 224.0.0.99"),
        ),
    ]
}

fn groups() -> Vec<Case> {
    vec![
        case(
            "sync group",
            two("") + "vrrp_sync_group G {\ngroup {\nA\nB\n}\n}\n",
        ),
        case(
            "member that is not",
            two("") + "vrrp_sync_group G {\ngroup {\nA\nB\nC\n}\n}\n",
        ),
        case(
            "group of one",
            two("") + "vrrp_sync_group G {\ngroup {\nA\n}\n}\n",
        ),
        case(
            "two groups",
            two("")
                + "vrrp_sync_group G {\ngroup {\nA\nB\n}\n}\nvrrp_sync_group H {\ngroup {\nA\nB\n}\n}\n",
        ),
        case("script that is not", of("track_script {\nnone\n}")),
        case("interface that is not", of("track_interface {\neth7\n}")),
        case("weight", of("track_interface {\neth1 weight -20\n}")),
        case(
            "weight too large",
            of("track_interface {\neth1 weight 300\n}"),
        ),
    ]
}

fn lines_and_lists() -> Vec<Case> {
    vec![
        case(
            "variables",
            "$V=10.0.0\n$M= \\\n ${V}.2/24 \\\n ${V}.3/24\n".to_owned()
                + &of(
                    "virtual_ipaddress {\n$M\n~SEQ(X, 20, 22) ${V}.${X}\n~LST(Y, 30, 31) 10.0.0.${Y}\n}",
                ),
        ),
        case("condition", of("@^nobody priority 20\n@nobody nonsense")),
        case(
            "missing include",
            "include /nowhere/x.conf\n".to_owned() + &of(""),
        )
        .not_told("keepalived prints it and ends with 0"),
        case(
            "route",
            of("virtual_routes {\n10.9.0.0/16 via 10.0.0.1 dev eth0\n}"),
        ),
        case(
            "route without interface",
            of("virtual_routes {\n10.9.0.0/16 via 10.0.0.1\n}"),
        ),
        case(
            "unknown word of a route",
            of("virtual_routes {\n10.9.0.0/16 via 10.0.0.1 dev eth0 nonsense\n}"),
        ),
        case(
            "rule",
            of("virtual_rules {\nfrom 10.0.0.0/24 table 100 preference 100\n}"),
        ),
        case(
            "rule without preference",
            of("virtual_rules {\nfrom 10.0.0.0/24 table 100\n}"),
        ),
        case("unmatched quote", of("notify \"/bin/true")),
        case(
            "missing brace",
            of("").trim_end().trim_end_matches('}').to_owned() + "\n",
        ),
        case(
            "unicast",
            of("unicast_src_ip 10.0.0.5\nunicast_peer {\n10.0.0.6\n}"),
        ),
        case("peer of the other family", of("unicast_peer {\nfe80::6\n}")),
        case(
            "static address",
            "static_ipaddress {\n10.0.0.77/24 dev eth1\n}\n".to_owned() + &of(""),
        ),
        case(
            "strict",
            of("strict_mode\nauthentication {\nauth_type PASS\nauth_pass x\n}"),
        ),
        other(
            "metrics for SNMP",
            of("") + "global_defs {\nenable_snmp_vrrp\n}\n",
            "this program has no SNMP, and says what it has instead",
        ),
        other(
            "one address in two instances",
            two("").replace(".11/", ".10/"),
            "keepalived does not notice that the second one loses it",
        ),
    ]
}

impl Case {
    fn not_told(self, why: &'static str) -> Case {
        Case {
            differs: Some(why),
            ..self
        }
    }
}

/// Returns whether keepalived reports anything.
fn keepalived_tells(host: &LabHost, scratch: &ScratchDirectory, text: &str) -> bool {
    let file = scratch.write("keepalived.conf", text).unwrap();
    let mut command = Command::new("keepalived");
    command.args(["-P", "-t", "-f"]).arg(file);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let process = host.spawn(command).unwrap();
    let exit = process.wait(CHECK_MAX);
    assert!(exit.is_some(), "keepalived -t did not end:\n{text}");
    exit != Some(Exit::Code(0))
}

fn we_tell(host: &LabHost, text: &str) -> (bool, String) {
    let mut sources = SourceMap::default();
    let file = sources.add("keepalived.conf", text.as_bytes().to_vec());
    let options = Options {
        vrrp_only: true,
        ..Options::default()
    };
    let loaded = host.enter(|| load(&mut sources, &[file], &options, &mut LocalMachine::new()));
    let told = loaded
        .diagnostics
        .iter()
        .any(|d| d.severity >= Severity::Warning);
    (
        told,
        full(&sources, &loaded.diagnostics, &RenderOptions::default()),
    )
}

#[test]
fn files_have_the_verdict_that_keepalived_gives_them() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("keepalived");
    let lab = Lab::new("dialect").unwrap();
    let host = lab.host("a").unwrap();
    for n in ["0", "1"] {
        let (end, peer) = (format!("eth{n}"), format!("peer{n}"));
        host.ip(&["link", "add", &end, "type", "veth", "peer", "name", &peer])
            .unwrap();
        host.ip(&["link", "set", &end, "up"]).unwrap();
        host.ip(&["link", "set", &peer, "up"]).unwrap();
    }
    host.ip(&["addr", "add", "10.0.0.5/24", "dev", "eth0"])
        .unwrap();
    let scratch = ScratchDirectory::new().unwrap();
    let mut wrong = Vec::new();
    let all = [
        values(),
        passwords_and_addresses(),
        references(),
        groups(),
        lines_and_lists(),
    ];
    for case in all.into_iter().flatten() {
        let theirs = keepalived_tells(&host, &scratch, &case.text);
        let (ours, told) = we_tell(&host, &case.text);
        if (theirs == ours) != case.differs.is_none() {
            wrong.push(format!(
                "{}: keepalived tells {theirs}, we {ours}\n{told}",
                case.name
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
