//! Tests disks by iSCSI and NBD with real clients: libiscsi, QEMU and libnbd.

mod clients;
mod hostile;

use boot::disk::{BootCounts, Storage};
use boot::mac::Mac;
use boot::portal::{Portal, PortalConfig, PortalDiskConfig};
use lab::{Lab, LabHost, ScratchDirectory, eventually};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);
const BYTES: usize = 64 << 20;
const TARGET: &str = "iqn.2026-01.org.evenkeel:lan.system";
const MACHINE: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(10, 20, 0, 7)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x20, 0, 0, 0, 0, 0, 7)),
];

/// Node that serves a file by iSCSI and NBD to the addresses of one machine, that machine, and
/// another machine.
struct RootDiskFixture {
    portal: Portal,
    node: LabHost,
    interface: String,
    machine: LabHost,
    stranger: LabHost,
    scratch: ScratchDirectory,
    _lab: Lab,
}

impl RootDiskFixture {
    fn new(name: &str) -> RootDiskFixture {
        let lab = Lab::new(name).unwrap();
        let lan = lab.switch("lan").unwrap();
        let host = |name: &str, last: u8| {
            let host = lab.host(name).unwrap();
            let card = lan.attach(&host).unwrap();
            card.address(&format!("10.20.0.{last}/24")).unwrap();
            card.address(&format!("fd00:20::{last}/64")).unwrap();
            (host, card.name().to_owned())
        };
        let (node, interface) = host("node", 2);
        let (machine, _) = host("machine", 7);
        let (stranger, _) = host("stranger", 8);
        let scratch = ScratchDirectory::new().unwrap();
        scratch.write("disk", vec![0; BYTES]).unwrap();
        let finds = |from, disk: &str| {
            (MACHINE.contains(&from) && disk == "system").then_some(Mac([0x52, 0x54, 0, 0, 0, 7]))
        };
        let portal = Portal::new(|| Ok(()), Arc::new(finds), BootCounts::default()).unwrap();
        let mut node = RootDiskFixture {
            portal,
            node,
            interface,
            machine,
            stranger,
            scratch,
            _lab: lab,
        };
        node.serve(false);
        node
    }

    /// Serves the file from now on, and waits until the disk is available.
    #[track_caller]
    fn serve(&mut self, is_read_only: bool) {
        let served = PortalDiskConfig {
            storage: Storage::File {
                path: self.scratch.path().join("disk"),
                is_read_only,
                user: "lan.system".to_owned(),
            },
            target: Some(TARGET.to_owned()),
            is_export: true,
            is_open: false,
            overlays: None,
        };
        let change = PortalConfig {
            interface: self.interface.clone(),
            ports: [3260, 10_809],
            is_six: true,
            disks: [("system".to_owned(), served)].into(),
        };
        let portal = &mut self.portal;
        // Threads stay in the network namespace in which they are started.
        self.node.enter(|| portal.change(change)).unwrap();
        let is_served = || self.portal.disk_statuses()[0].trouble.is_none();
        assert!(
            eventually(PATIENCE, is_served),
            "{:?}",
            self.portal.disk_statuses()
        );
    }

    #[track_caller]
    fn run(&self, program: &str, words: &[&str]) -> String {
        let mut command = Command::new(program);
        command.args(words);
        self.machine.run(command).unwrap()
    }
}

fn iscsi() -> String {
    format!("iscsi://10.20.0.2/{TARGET}/0")
}
