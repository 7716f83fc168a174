//! Migrates a running guest to another node, by state machines without I/O and clock: [`source`] on
//! the node that the guest leaves, [`target`] on the other one.
//!
//! - The source sends a request; the target starts a QEMU process that waits and listens.
//! - The source copies the memory while the guest runs, until QEMU pauses it for the switchover.
//! - The source hands the volumes over. The target opens them and reports when it has done so.
//! - The source lets QEMU copy the rest. Then it sends [`MigrationMessage::Done`] and releases the
//!   lease.
//! - The target lets the guest run with the lease, and only after [`MigrationMessage::Done`]:
//!   everything that it received before may be older than what the source wrote later.
//!
//! Until QEMU has completed the migration, every failure leaves the guest on the source. After
//! that the guest belongs to the target; if it fails there, it is started again from its disks.

mod defect;
#[cfg(test)]
mod simulation;
pub mod source;
pub mod target;

use defect::MigrationDefect;
pub use source::MigrationSource;
pub use target::MigrationTarget;

use crate::config::Guest;
use part::codec;
use part::role::bounded::{Name, Words};
use serde::{Deserialize, Serialize};

/// Maximum length of a message, bytes. The data for cloud-init takes most of it.
pub const MESSAGE_BYTES_MAX: usize = 256 << 10;

/// Commands that cancel a migration in QEMU, each with its `state`, to be sent one right after the
/// other. With `pause-before-switchover`, QEMU 7.2 hangs if it receives the first command while it
/// pauses the guest: its thread sleeps until it may continue, and the cancellation wakes it only in
/// `pre-switchover`. The second command wakes it in any case. If no thread sleeps, QEMU refuses the
/// second command, or the next migration discards it.
pub const CANCEL: [(&str, Option<&str>); 2] = [
    ("migrate_cancel", None),
    ("migrate-continue", Some("cancelling")),
];

/// First message of a connection.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub enum ConnectionPurpose {
    Ask(Box<MigrationRequest>),
    /// Start of QEMU's migration stream, whose bytes follow.
    Stream {
        #[serde(with = "Name")]
        guest: String,
        number: u64,
    },
    /// Order of an operator at the other node. The response is `message::GuestResponse`.
    Order(crate::message::GuestOrder),
    /// Command of an operator at the other node. The command's output is the response.
    Remote(crate::remote::RemoteCommand),
}

/// Request to migrate a guest.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct MigrationRequest {
    #[serde(with = "Name")]
    pub guest: String,
    pub number: u64,
    pub spec: Guest,
    pub has_kvm: bool,
}

/// Message between the guest roles of source and target.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum MigrationMessage {
    Listening,
    /// From either side: the migration has failed, with the reason.
    Abort(#[serde(with = "Words")] String),
    Switch,
    Ready,
    /// From the source: QEMU has copied everything, and the guest never runs on the source again.
    Done {
        /// Downtime of the guest so far, milliseconds.
        still_ms: u64,
    },
    Taken,
    Alive,
}

/// Progress of a migration as QEMU reports it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Progress {
    Active,
    Paused,
    Completed,
    Failed(String),
    Gone,
}

/// Encodes a message with a length prefix.
pub fn frame<T: Serialize>(message: &T) -> Vec<u8> {
    let bytes = codec::encode(message);
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let mut frame = length.to_be_bytes().to_vec();
    frame.extend(bytes);
    frame
}

/// Removes and decodes the first message of a buffer. None: the message is not complete yet.
///
/// # Errors
/// The message is too long or invalid.
pub fn take_frame<T: serde::de::DeserializeOwned>(came: &mut Vec<u8>) -> Result<Option<T>, String> {
    let Some((length, rest)) = came.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*length) as usize;
    if length > MESSAGE_BYTES_MAX {
        return Err(format!("a message of {length} bytes is too long"));
    }
    let Some(bytes) = rest.get(..length) else {
        return Ok(None);
    };
    let message = codec::decode(bytes).map_err(|error| error.to_string())?;
    came.drain(..4 + length);
    Ok(Some(message))
}

/// Compares the settings with which the guest was started with those of the target. Returns the
/// first difference that prevents a migration.
pub fn difference(source: &Guest, target: &Guest) -> Option<&'static str> {
    let differs = [
        ("memory", source.memory_bytes != target.memory_bytes),
        ("processors", source.cpus != target.cpus),
        ("disks", source.disks != target.disks),
        ("network cards", hardware(source) != hardware(target)),
        ("boot line", source.boot != target.boot),
        ("firmware", source.firmware != target.firmware),
        ("console", source.console != target.console),
        (
            "user-data",
            source.user_data.is_some() != target.user_data.is_some(),
        ),
    ];
    let first = differs.into_iter().find(|(_, differs)| *differs);
    first.map(|(what, _)| what)
}

/// Returns the properties of the network cards that the guest sees. The bridge may differ between
/// nodes.
fn hardware(guest: &Guest) -> Vec<([u8; 6], crate::config::Model)> {
    guest.nics.iter().map(|nic| (nic.mac, nic.model)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back_in_pieces_of_any_size() {
        let all = [
            MigrationMessage::Listening,
            MigrationMessage::Abort("no memory".to_owned()),
            MigrationMessage::Done { still_ms: 250 },
        ];
        let bytes: Vec<u8> = all.iter().flat_map(frame).collect();
        for size in [1, 3, bytes.len()] {
            let (mut came, mut read) = (Vec::new(), Vec::new());
            for piece in bytes.chunks(size) {
                came.extend_from_slice(piece);
                while let Some(message) = take_frame::<MigrationMessage>(&mut came).unwrap() {
                    read.push(message);
                }
            }
            assert_eq!(read, all, "pieces of {size}");
        }
    }

    #[test]
    fn a_guest_whose_memory_changes_fast_may_stand_still_for_longer() {
        let mut source = MigrationSource::new(1 << 30, 0);
        let passes = |source: &mut MigrationSource, passes: std::ops::RangeInclusive<u64>| {
            let orders = passes.flat_map(|pass| source.apply_input(source::Input::Pass(pass), 1));
            orders.collect::<Vec<_>>()
        };
        assert_eq!(passes(&mut source, 1..=9), []);
        source.apply_input(source::Input::Heard(MigrationMessage::Listening), 1);
        assert_eq!(passes(&mut source, 1..=5), []);
        let longer = [60, 120, 240, 300].map(source::SourceOrder::Standstill);
        assert_eq!(passes(&mut source, 6..=40), longer);
        assert_eq!(passes(&mut source, u64::MAX..=u64::MAX), []);
        source.apply_input(source::Input::Qemu(Progress::Paused), 1);
        assert_eq!(passes(&mut source, 6..=6), []);
    }

    #[test]
    fn invalid_messages_are_refused() {
        let mut long = vec![0xff; 8];
        assert!(take_frame::<MigrationMessage>(&mut long).is_err());
        let mut nonsense = vec![0, 0, 0, 2, 0xc1, 0xc1];
        assert!(take_frame::<MigrationMessage>(&mut nonsense).is_err());
    }
}
