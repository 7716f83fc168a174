//! A guest that moves to another node while it runs, as values without I/O and clock: [`source`] on
//! the node that it leaves, [`target`] on the other one.
//!
//! - The source asks; the target starts a QEMU that waits, and listens.
//! - The source copies the memory while the guest runs, until QEMU has paused it for the switch.
//! - The source hands its volumes over, the target takes them, and says when it has them.
//! - The source lets QEMU copy the rest. Then it says so ([`Message::Done`]) and gives its lease up.
//! - The target continues the guest with its lease, and only after [`Message::Done`]: whatever else
//!   it has may be older than what the source wrote since.
//!
//! Until QEMU has completed, every failure leaves the guest at the source. After that the guest is
//! the target's; if it fails there, it starts from its disks.

pub mod defect;
#[cfg(test)]
mod simulation;
pub mod source;
pub mod target;

pub use defect::Defect;
pub use source::Source;
pub use target::Target;

use crate::config::Guest;
use part::codec;
use part::role::bounded::{Name, Words};
use serde::{Deserialize, Serialize};

/// Bytes of a message: the data for cloud-init is the most of it.
pub const MESSAGE_BYTES_MAX: usize = 256 << 10;

/// The commands that cancel a migration in QEMU, each with its `state`, to be sent one right after
/// the other. With `pause-before-switchover`, QEMU 7.2 that gets the first one while it pauses the
/// guest waits for ever: its thread sleeps until it may go on, and the cancellation wakes it only in
/// `pre-switchover`. The second command wakes it in any case; with nothing to wake it is refused, or
/// forgotten by the next migration.
pub const CANCEL: [(&str, Option<&str>); 2] = [
    ("migrate_cancel", None),
    ("migrate-continue", Some("cancelling")),
];

/// The first message of a connection.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub enum Hello {
    /// Messages follow.
    Ask(Box<Ask>),
    /// The stream of QEMU follows.
    Stream {
        /// The guest.
        #[serde(with = "Name")]
        guest: String,
        /// The number of the move.
        number: u64,
    },
    /// An order of an operator at the other node. The answer is [`crate::message::Answer`].
    Order(crate::message::Message),
    /// A command of an operator at the other node that has an output: its bytes follow.
    Remote(crate::remote::Remote),
}

/// The wish to move a guest.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct Ask {
    /// The guest.
    #[serde(with = "Name")]
    pub guest: String,
    /// The number of the move: the source's.
    pub number: u64,
    /// As what it was started.
    pub spec: Guest,
    /// Its processors are the machine's own.
    pub has_kvm: bool,
}

/// A message between the two roles.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// Target: its QEMU listens.
    Listening,
    /// Either side: it does not take part any more, and why.
    Abort(#[serde(with = "Words")] String),
    /// Source: the guest is paused, and its volumes are handed over.
    Switch,
    /// Target: its volumes are here.
    Ready,
    /// Source: QEMU has copied everything, and the guest never runs here again.
    Done {
        /// How long the guest has stood still by then, milliseconds.
        still_ms: u64,
    },
    /// Target: it has understood that.
    Taken,
    /// Either side is there.
    Alive,
}

/// What QEMU says of a migration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Progress {
    /// It copies.
    Active,
    /// The guest is paused for the switch.
    Paused,
    /// Everything is copied.
    Completed,
    /// It failed or was cancelled.
    Failed(String),
    /// QEMU has ended.
    Gone,
}

/// Writes a message with its length before it.
pub fn frame<T: Serialize>(message: &T) -> Vec<u8> {
    let bytes = codec::encode(message);
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let mut frame = length.to_be_bytes().to_vec();
    frame.extend(bytes);
    frame
}

/// Takes the first message out of what came. None: it is not whole yet.
///
/// # Errors
/// It is too long, or no message.
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

/// Returns what keeps a guest from moving between two nodes that describe it so: what it was
/// started as, and what the other node would start.
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

/// What a guest sees of its network cards: the bridge of each host is its own matter.
fn hardware(guest: &Guest) -> Vec<([u8; 6], crate::config::Model)> {
    guest.nics.iter().map(|nic| (nic.mac, nic.model)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back_in_pieces_of_any_size() {
        let all = [
            Message::Listening,
            Message::Abort("no memory".to_owned()),
            Message::Done { still_ms: 250 },
        ];
        let bytes: Vec<u8> = all.iter().flat_map(frame).collect();
        for size in [1, 3, bytes.len()] {
            let (mut came, mut read) = (Vec::new(), Vec::new());
            for piece in bytes.chunks(size) {
                came.extend_from_slice(piece);
                while let Some(message) = take_frame::<Message>(&mut came).unwrap() {
                    read.push(message);
                }
            }
            assert_eq!(read, all, "pieces of {size}");
        }
    }

    #[test]
    fn a_guest_whose_memory_changes_fast_may_stand_still_for_longer() {
        let mut source = Source::new(1 << 30, 0);
        let passes = |source: &mut Source, passes: std::ops::RangeInclusive<u64>| {
            let orders = passes.flat_map(|pass| source.see(source::Input::Pass(pass), 1));
            orders.collect::<Vec<_>>()
        };
        assert_eq!(passes(&mut source, 1..=9), []);
        source.see(source::Input::Heard(Message::Listening), 1);
        assert_eq!(passes(&mut source, 1..=5), []);
        let longer = [60, 120, 240, 300].map(source::Order::Standstill);
        assert_eq!(passes(&mut source, 6..=40), longer);
        assert_eq!(passes(&mut source, u64::MAX..=u64::MAX), []);
        source.see(source::Input::Qemu(Progress::Paused), 1);
        assert_eq!(passes(&mut source, 6..=6), []);
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let mut long = vec![0xff; 8];
        assert!(take_frame::<Message>(&mut long).is_err());
        let mut nonsense = vec![0, 0, 0, 2, 0xc1, 0xc1];
        assert!(take_frame::<Message>(&mut nonsense).is_err());
    }
}
