//! Takes and removes the snapshot of a replica around a resync. Both run on their own thread: the
//! volume's thread is not allowed to create files, and the file system may be slow.

use crate::device::{Backing, DeviceError, SnapshotError, SnapshotReason, Stamp, snapshot};
use crate::mirror::mailbox::{Mailbox, MailboxMessage, SnapshotAction};
use std::sync::Arc;

pub(super) fn keep(name: &str, backing: &Backing, mailbox: &Arc<Mailbox>, what: SnapshotAction) {
    let (name, backing, own) = (name.to_owned(), backing.clone(), Arc::clone(mailbox));
    let builder = std::thread::Builder::new().name(format!("resync/{name}"));
    let thread = builder.spawn(move || {
        let done = match what {
            SnapshotAction::Take => take(&backing, &name),
            SnapshotAction::Remove => remove(&backing, &name).map(|()| false),
        };
        own.letters().put_once(MailboxMessage::Kept(what, done));
    });
    if let Err(error) = thread {
        let words = format!("cannot start a thread: {error}");
        mailbox
            .letters()
            .put_once(MailboxMessage::Kept(what, Err(words)));
    }
}

/// Takes a snapshot, unless one from an unfinished resync exists. Returns whether a snapshot
/// exists.
fn take(backing: &Backing, name: &str) -> Result<bool, String> {
    let all = snapshot::list(backing, name).map_err(|error| error.to_string())?;
    if all
        .iter()
        .any(|one| one.kind == SnapshotReason::BeforeResync)
    {
        return Ok(true);
    }
    match snapshot::take(backing, name, Stamp::now(), SnapshotReason::BeforeResync) {
        Ok(_) | Err(SnapshotError::Device(DeviceError::Exists(_))) => Ok(true),
        // Continues without a snapshot: most file systems do not support them, as the manual says.
        Err(SnapshotError::NoClones(_) | SnapshotError::Backing(_)) => Ok(false),
        Err(error) => Err(error.to_string()),
    }
}

fn remove(backing: &Backing, name: &str) -> Result<(), String> {
    let all = snapshot::list(backing, name).map_err(|error| error.to_string())?;
    let ours = all
        .iter()
        .filter(|one| one.kind == SnapshotReason::BeforeResync);
    let removed: Result<Vec<()>, _> = ours.map(|one| one.remove()).collect();
    removed.map(drop).map_err(|error| error.to_string())
}
