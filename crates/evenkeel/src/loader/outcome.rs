//! Defines the result of a load, and sends it to the supervisor: a built version with its
//! descriptors, or the reason why there is none.

use super::LoadFailure;
use part::channel::{Channel, ChannelError};
use part::role::{SupervisorMessage, VersionPlan};
use part::voice::MessagePrinter;
use part::{SharedFd, memory};
use proxy::takeover::state::TakenState;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Configuration version that a role can load, with its open sockets.
pub struct BuiltVersion {
    pub plan: VersionPlan,
    pub bundle: OwnedFd,
    /// Listeners, statistics sockets, log sockets.
    pub descriptors: Vec<OwnedFd>,
    /// State of the HAProxy-style predecessor process (`-x`, `-sf`), if that process is Evenkeel.
    pub state: Option<TakenState>,
}

pub type LoadResult = Result<BuiltVersion, LoadFailure>;

pub(super) trait Send {
    fn send(self, channel: &mut Channel, voice: &mut MessagePrinter) -> Result<(), ChannelError>;
}

impl Send for LoadResult {
    fn send(self, channel: &mut Channel, voice: &mut MessagePrinter) -> Result<(), ChannelError> {
        let collected = voice.collected();
        let (plain, shown) = collected
            .as_ref()
            .map_or(("", ""), |notes| (&*notes.plain, &*notes.shown));
        let note = |text: &str| -> Result<SharedFd, ChannelError> {
            let fd = memory::create("evenkeel notes", text.as_bytes());
            fd.map(Arc::new).map_err(ChannelError::System)
        };
        let mut descriptors = vec![note(plain)?, note(shown)?];
        let message = match self {
            Ok(made) => {
                descriptors.push(Arc::new(made.bundle));
                descriptors.extend(made.descriptors.into_iter().map(Arc::new));
                if let Some(state) = made.state {
                    let bytes = memory::create("evenkeel state", &state.bytes);
                    descriptors.push(Arc::new(bytes?));
                    descriptors.push(Arc::new(state.rest));
                }
                SupervisorMessage::Loaded(Box::new(made.plan))
            }
            Err(refusal) => SupervisorMessage::NotLoaded(Box::new(refusal.0)),
        };
        channel.send(&message, &descriptors)
    }
}
