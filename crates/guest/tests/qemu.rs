//! Tests the encoding and decoding of QEMU's machine protocol with the real QEMU.

use guest::migration::CANCEL;
use guest::qmp::{Qmp, QmpMessage};
use lab::eventually;
use serde_json::{Map, Value, json};
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

/// A QEMU without devices, which waits to be started.
struct Qemu {
    child: Child,
    qmp: Qmp,
    said: Vec<QmpMessage>,
}

impl Qemu {
    fn start() -> Qemu {
        let mut command = Command::new("qemu-system-x86_64");
        command.args(["-nodefaults", "-machine", "none", "-display", "none", "-S"]);
        command.args(["-qmp", "stdio"]);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        Qemu {
            child: command.spawn().unwrap(),
            qmp: Qmp::default(),
            said: Vec::new(),
        }
    }

    /// Waits for a message. Other messages are kept.
    fn hears(&mut self, is: impl Fn(&QmpMessage) -> bool) -> QmpMessage {
        loop {
            if let Some(at) = self.said.iter().position(&is) {
                return self.said.remove(at);
            }
            let mut bytes = [0; 512];
            let count = self
                .child
                .stdout
                .as_mut()
                .unwrap()
                .read(&mut bytes)
                .unwrap();
            assert!(count > 0, "QEMU has ended: {:?}", self.said);
            self.said.extend(self.qmp.take(&bytes[..count]).unwrap());
        }
    }

    fn asks(&mut self, name: &str, arguments: Value) -> QmpMessage {
        let arguments = arguments.as_object().cloned().unwrap_or_else(Map::new);
        let (number, bytes) = self.qmp.command(name, arguments);
        self.child
            .stdin
            .as_mut()
            .unwrap()
            .write_all(&bytes)
            .unwrap();
        self.hears(|said| match said {
            QmpMessage::Done { id, .. } => *id == number,
            QmpMessage::Refused { id, .. } => *id == Some(number),
            _ => false,
        })
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn qemu_is_greeted_asked_started_and_ended() {
    lab::skip_unless_installed!("qemu-system-x86_64");
    let mut qemu = Qemu::start();
    let greeting = qemu.hears(|said| matches!(said, QmpMessage::Greeting { .. }));
    assert!(
        matches!(greeting, QmpMessage::Greeting { version: [major, ..] } if major >= 4),
        "{greeting:?}"
    );
    // QEMU accepts no other command before.
    let early = qemu.asks("query-status", json!({}));
    assert!(
        matches!(&early, QmpMessage::Refused { class, .. } if class == "CommandNotFound"),
        "{early:?}"
    );
    let done = qemu.asks("qmp_capabilities", json!({}));
    assert!(matches!(done, QmpMessage::Done { .. }), "{done:?}");
    let status = qemu.asks("query-status", json!({}));
    let QmpMessage::Done { value, .. } = status else {
        panic!("{status:?}");
    };
    assert_eq!(value["status"], "prelaunch");
    let wrong = qemu.asks("device_del", json!({"id": "nothing"}));
    assert!(
        matches!(&wrong, QmpMessage::Refused { class, .. } if class == "DeviceNotFound"),
        "{wrong:?}"
    );
    qemu.asks("cont", json!({}));
    let resumed = qemu.asks("query-status", json!({}));
    assert!(
        matches!(&resumed, QmpMessage::Done { value, .. } if value["running"] == true),
        "{resumed:?}"
    );
    qemu.asks("quit", json!({}));
    qemu.hears(|said| matches!(said, QmpMessage::Event { name, .. } if name == "SHUTDOWN"));
    assert!(qemu.child.wait().unwrap().success());
}

/// Tests a cancellation at the moment in which QEMU pauses the guest: without the second command of
/// [`CANCEL`], every third one hangs.
#[test]
fn a_migration_that_is_cancelled_while_qemu_pauses_the_guest_ends() {
    lab::skip_unless_installed!("qemu-system-x86_64");
    let mut qemu = Qemu::start();
    qemu.hears(|said| matches!(said, QmpMessage::Greeting { .. }));
    qemu.asks("qmp_capabilities", json!({}));
    let on = ["pause-before-switchover", "events"];
    let on = on.map(|one| json!({"capability": one, "state": true}));
    qemu.asks("migrate-set-capabilities", json!({"capabilities": on}));
    qemu.asks("cont", json!({}));
    for round in 0..200 {
        let migrate = json!({"uri": "exec:cat >/dev/null"});
        let began = qemu.asks("migrate", migrate);
        assert!(
            matches!(began, QmpMessage::Done { .. }),
            "{round}: {began:?}"
        );
        qemu.hears(|said| matches!(said, QmpMessage::Event { name, .. } if name == "STOP"));
        for (command, state) in CANCEL {
            let arguments = state.map(|state| json!({"state": state}));
            qemu.asks(command, arguments.unwrap_or_default());
        }
        let mut status = Value::Null;
        let ended = || {
            if let QmpMessage::Done { value, .. } = qemu.asks("query-migrate", json!({})) {
                status = value["status"].clone();
            }
            status == "cancelled"
        };
        assert!(eventually(PATIENCE, ended), "{round}: {status}");
        let status = qemu.asks("query-status", json!({}));
        assert!(
            matches!(&status, QmpMessage::Done { value, .. } if value["running"] == true),
            "{round}: {status:?}"
        );
    }
}
