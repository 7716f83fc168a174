//! Handles QEMU's events and replies about a migration.

use super::machine::{EVENTS_MAX, GuestMachine};
use crate::migration::Progress;
use crate::qemu::monitor::CommandPurpose;
use serde_json::{Map, Value};

#[derive(Clone, PartialEq, Debug)]
pub(super) enum MigrationEvent {
    Is(Progress),
    Pass(u64),
    /// Bytes sent, bytes that remain, bytes per second.
    Copied([u64; 3]),
    Replied(&'static str, Result<(), String>),
}

impl GuestMachine {
    pub(super) fn handle_migration_event(&mut self, one: MigrationEvent) {
        if self.moved.len() < EVENTS_MAX * 2 {
            self.moved.push_back(one);
        }
    }

    pub(super) fn hear_reply(&mut self, word: &'static str, reply: Result<Value, String>) {
        if word != "query-migrate" {
            self.handle_migration_event(MigrationEvent::Replied(word, reply.map(drop)));
            return;
        }
        let Ok(value) = reply else {
            return;
        };
        let ram = |name: &str| value.pointer(&format!("/ram/{name}"));
        let number = |name| ram(name).and_then(Value::as_u64).unwrap_or_default();
        let rate = ram("mbps").and_then(Value::as_f64).unwrap_or_default() * 125_000.0;
        let copied = [number("transferred"), number("remaining"), rate as u64];
        self.handle_migration_event(MigrationEvent::Copied(copied));
        progress(&value)
            .into_iter()
            .for_each(|is| self.handle_migration_event(MigrationEvent::Is(is)));
    }

    pub(super) fn order_move(&mut self, command: &'static str, arguments: Value) {
        let arguments = match arguments {
            Value::Object(arguments) => arguments,
            _ => Map::new(),
        };
        if command == "query-migrate"
            && self
                .monitor
                .as_ref()
                .is_some_and(|one| one.waits_for(&CommandPurpose::Move(command)))
        {
            return;
        }
        self.send_with(CommandPurpose::Move(command), command, arguments);
    }
}

pub(super) fn progress(value: &Value) -> Option<Progress> {
    let words = value.get("error-desc").and_then(Value::as_str);
    Some(match value.get("status")?.as_str()? {
        "setup" | "active" | "device" | "cancelling" => Progress::Active,
        "pre-switchover" => Progress::Paused,
        "completed" => Progress::Completed,
        "failed" => Progress::Failed(format!(
            "QEMU cannot copy it: {}",
            words.unwrap_or("the connection was cut")
        )),
        "cancelled" => Progress::Failed("cancelled".to_owned()),
        _ => return None,
    })
}
