//! Tests the address role together with the real keepalived: one takes over from the other, and the
//! role follows a clean stop of keepalived.

use crate::scene::{LATEST, Scene, VIP, config, instance};
use address::config::{Authentication, Config, InstanceTransport, Peer};
use lab::{LabProcess, eventually};
use std::process::{Command, Stdio};
use std::time::Duration;

#[derive(Clone, Copy, Debug)]
struct Case {
    version: u8,
    unicast: bool,
    password: bool,
    header: bool,
}

const CASES: [Case; 5] = [
    Case {
        version: 2,
        unicast: false,
        password: false,
        header: true,
    },
    Case {
        version: 2,
        unicast: false,
        password: true,
        header: false,
    },
    Case {
        version: 2,
        unicast: true,
        password: false,
        header: false,
    },
    Case {
        version: 3,
        unicast: false,
        password: false,
        header: false,
    },
    Case {
        version: 3,
        unicast: true,
        password: false,
        header: false,
    },
];

impl Case {
    fn interval(self) -> &'static str {
        if self.version == 2 { "1" } else { "0.2" }
    }

    fn ours(self, priority: u8) -> Config {
        let mut i = instance("VI_1", 51, priority);
        i.options.version = self.version;
        i.options.advert_interval = Duration::from_secs_f64(self.interval().parse().unwrap());
        if self.password {
            i.options.authentication = Some(Authentication::Pass(*b"1111\0\0\0\0"));
        }
        if self.header {
            let mut key = [0; 16];
            key[..4].copy_from_slice(b"1111");
            i.options.authentication = Some(Authentication::Ah(key));
        }
        if self.unicast {
            i.source = Some("10.0.0.1".parse().unwrap());
            i.transport = InstanceTransport::Unicast {
                peers: vec![Peer {
                    address: "10.0.0.2".parse().unwrap(),
                    min_ttl: None,
                    max_ttl: None,
                }],
                ttl: None,
                check_source: false,
            };
        }
        config(vec![i])
    }

    fn theirs(self, scene: &Scene, priority: u8) -> LabProcess {
        let unicast = if self.unicast {
            "  unicast_src_ip 10.0.0.2\n  unicast_peer {\n    10.0.0.1\n  }\n"
        } else {
            ""
        };
        let password = if self.password {
            "  authentication {\n    auth_type PASS\n    auth_pass 1111\n  }\n"
        } else if self.header {
            "  authentication {\n    auth_type AH\n    auth_pass 1111\n  }\n"
        } else {
            ""
        };
        let text = format!(
            "vrrp_instance VI_1 {{\n  state BACKUP\n  interface eth0\n  virtual_router_id 51\n  \
             version {}\n  priority {priority}\n  advert_int {}\n{unicast}{password}  \
             virtual_ipaddress {{\n    10.0.0.100/24\n  }}\n}}\n",
            self.version,
            self.interval(),
        );
        let file = scene.scratch.write("keepalived.conf", text).unwrap();
        let mut command = Command::new("keepalived");
        command.args(["-n", "-l", "-P", "-f"]).arg(file);
        for (flag, name) in [("-p", "pid"), ("-r", "vrrp")] {
            command.arg(flag).arg(scene.scratch.path().join(name));
        }
        command.stdout(Stdio::null()).stderr(Stdio::null());
        scene.beta.spawn(command).unwrap()
    }
}

#[test]
#[ignore = "it takes long: make test-long"]
fn keepalived_takes_over_from_us_and_we_from_it() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("keepalived");
    for case in CASES {
        let scene = Scene::new("peer");
        let alpha = scene.role(&scene.alpha, &case.ours(150));
        assert!(scene.comes_to(&scene.alpha, VIP), "{case:?}");
        let theirs = case.theirs(&scene, 100);
        // keepalived receives our adverts and stays a backup.
        lab::sleep_in_test(
            Duration::from_secs(2),
            "nobody but keepalived knows when it hears us",
        );
        assert!(!scene.has(&scene.beta, VIP), "{case:?}");
        alpha.order("stop");
        assert!(scene.comes_to(&scene.beta, VIP), "{case:?}");
        // Our role has the higher priority and preempts.
        let again = scene.role(&scene.alpha, &case.ours(150));
        assert!(scene.comes_to(&scene.alpha, VIP), "{case:?}");
        assert!(scene.leaves(&scene.beta, VIP), "{case:?}");
        let clean = again.first();
        assert_eq!(
            (
                clean.value("checksum_errors"),
                clean.value("authentication_failures")
            ),
            (Some(0), Some(0)),
            "{case:?}"
        );
        drop(theirs);
    }
}

#[test]
fn we_stay_a_backup_of_keepalived_and_follow_its_clean_stop() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("keepalived");
    for case in CASES {
        let scene = Scene::new("follow");
        let theirs = case.theirs(&scene, 150);
        assert!(scene.comes_to(&scene.beta, VIP), "{case:?}");
        let alpha = scene.role(&scene.alpha, &case.ours(100));
        let hears = || alpha.number("adverts_received") >= 3;
        assert!(
            eventually(LATEST, hears),
            "{case:?}: {}",
            alpha.said().join("\n")
        );
        assert_eq!(alpha.state("VI_1"), "BACKUP", "{case:?}");
        theirs.signal(lab::Signal::TERM).unwrap();
        alpha.wait_for("(VI_1) Backup received priority 0 advertisement");
        assert!(scene.comes_to(&scene.alpha, VIP), "{case:?}");
    }
}
