//! Runs a volume with two replicas, on the thread of that volume.

use super::socket::SocketClaim;
use super::worker::{PREFERRED_BYTES, ServeFailure, WorkerState};
use crate::config::ReplicaPair;
use crate::device::Device;
use crate::export::ExportListener;
use crate::layout::{Loaded, Metadata};
use crate::link::dial::{Dialer, Registry};
use crate::mirror::mailbox::{Mailbox, MailboxMessage};
use crate::mirror::{self, Mirror, MirrorEnvironment, MirrorError, MirrorStatus, OpenCopy};
use crate::replica::{BLOCK_BYTES, OtherState};
use crate::status::{ServedProperties, named};
use crate::sums::area::Area;
use crate::verified;
use part::report::Moment;
use part::status::VolumeServiceState;
use part::voice::write_error;
use protocol::nbd;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

/// Thread that dials the other node. The thread ends when this value is dropped.
struct Dialing {
    dialer: Arc<Dialer>,
    thread: Option<JoinHandle<()>>,
}

impl Dialing {
    fn start(
        pair: &ReplicaPair,
        mailbox: &Arc<Mailbox>,
        registry: &Arc<Registry>,
        name: &str,
    ) -> std::io::Result<Dialing> {
        let dialer = Arc::new(Dialer::default());
        let (own, cable) = (dialer.clone(), pair.cable.clone());
        let (receiver, registry) = (mailbox.clone(), registry.clone());
        let builder = std::thread::Builder::new().name(format!("link/{name}"));
        let thread = builder.spawn(move || own.run_dialer(&cable, &registry, &*receiver))?;
        Ok(Dialing {
            dialer,
            thread: Some(thread),
        })
    }
}

impl Drop for Dialing {
    fn drop(&mut self) {
        self.dialer.end();
        // Detaches the thread, because a connection attempt may take a while.
        drop(self.thread.take());
    }
}

impl WorkerState {
    pub(super) fn serve_pair(
        self: &Arc<Self>,
        claim: &SocketClaim,
        device: Device,
        layout: Metadata,
        loaded: Loaded,
        pair: &ReplicaPair,
        area: Option<Area>,
    ) -> Result<(), ServeFailure> {
        let failed = |words: String| ServeFailure(VolumeServiceState::Failed, words);
        let has = layout.head().size_bytes;
        let (name, backing) = {
            let status = self.status();
            (status.name.clone(), status.spec.backing.clone())
        };
        let mailbox = self.mailbox.clone();
        let no_descriptor = || failed("no free file descriptor".to_owned());
        let mailbox = mailbox.ok_or_else(no_descriptor)?;
        let stop = self.stop.as_ref().ok_or_else(no_descriptor)?;
        // Dials if this node's name sorts first. Otherwise the other node dials.
        let dialing = if !pair.other.is_empty() && pair.me < pair.other {
            Some(Dialing::start(pair, &mailbox, &self.ties.registry, &name))
        } else {
            None
        };
        let dialing = dialing
            .transpose()
            .map_err(|error| failed(format!("cannot start a thread: {error}")))?;
        let no_socket =
            |error: std::io::Error| failed(format!("cannot listen at its socket: {error}"));
        let listener = ExportListener::Unix(claim.listen().map_err(no_socket)?);
        let export = nbd::Export {
            name: name.clone(),
            description: format!("the volume {name}"),
            size: has,
            read_only: self.status().spec.read_only,
            multi_conn: false,
            block_min: BLOCK_BYTES as u32,
            block_preferred: PREFERRED_BYTES,
        };
        let opened = OpenCopy {
            device: &device,
            layout,
            loaded,
            backing: &backing,
            sums: area.map(|area| self.with_rate(area)),
        };
        let outside = self.outside(&name, mailbox, dialing.as_ref());
        let names = mirror::MirrorSettings {
            me: pair.me.clone(),
            other: pair.other.clone(),
            resync_rate: pair.resync_rate,
            without_majority: self.status().spec.without_majority,
        };
        let mirror = Mirror::new(opened, &names, export, listener, outside);
        let mirror = mirror.map_err(|error| failed(error.to_string()))?;
        self.status().served = Some(ServedProperties {
            size_bytes: has,
            uses_ring: mirror.uses_ring(),
            is_direct: device.is_direct,
        });
        if let Some(mailbox) = &self.mailbox {
            mailbox
                .letters()
                .put_once(MailboxMessage::Size(self.wanted()));
            self.ties.registry.add(&name, mailbox.clone());
        }
        let served = mirror.run(stop.as_fd(), &self.leaves);
        self.ties.registry.remove(&name);
        claim.remove();
        served.map_err(|error| match error {
            MirrorError::Reopens => ServeFailure(VolumeServiceState::Opening, error.to_string()),
            error => failed(error.to_string()),
        })
    }

    fn outside(
        self: &Arc<Self>,
        name: &str,
        mailbox: Arc<Mailbox>,
        dialing: Option<&Dialing>,
    ) -> MirrorEnvironment {
        let (wishes, of) = (self.ties.wishes.clone(), name.to_owned());
        let (shared, sayer) = (Arc::clone(self), name.to_owned());
        MirrorEnvironment {
            mailbox,
            wishes: Arc::new(move |wish| wishes.put((of.clone(), wish))),
            show: Arc::new(move |shown| shared.shown(shown)),
            say: Arc::new(move |words| {
                let words = named(&words, &sayer);
                write_error(&format!("evenkeel: volume {sayer}: {words}\n"));
            }),
            dialer: dialing.map(|dialing| dialing.dialer.clone()),
            meter: self.status().meter.clone(),
            tenure: Arc::clone(&self.tenure),
            boot: self.ties.boot,
        }
    }

    fn shown(&self, shown: MirrorStatus) {
        let is_single = self.is_single.load(Ordering::Acquire);
        let (state, mut why) = state(&shown, is_single);
        if shown.fails && state == VolumeServiceState::Frozen {
            why = format!("requests fail (`without-majority error`): {why}");
        }
        if let Some(trouble) = &shown.trouble {
            let colon = if why.is_empty() { "" } else { "; " };
            why = format!("{trouble}{colon}{why}");
        }
        let only = shown
            .admission
            .only
            .as_ref()
            .filter(|node| !self.has_copy_at(node));
        let nobody = only.map(|node| {
            format!(
                "only clients of {node} may write, and `on` does not name it: `evenkeel volume admit NAME \
                 NODE` or `--all` admits others"
            )
        });
        for words in nobody.iter().chain(&shown.size.why) {
            why += if why.is_empty() { "" } else { "; " };
            why += words;
        }
        {
            let mut status = self.status();
            if let Some(served) = &mut status.served {
                served.size_bytes = shown.size.bytes;
            }
            verified::learn(
                &mut status.verified,
                shown.report.verify.as_ref(),
                Moment::now(),
            );
            status.mirror = Some(shown);
        }
        self.enter(state, why);
        self.notify_user_change();
    }
}

fn damaged_words(shown: &MirrorStatus) -> String {
    match shown.report.damaged_blocks * BLOCK_BYTES / 1024 {
        0 => String::new(),
        kib => format!(
            "{kib} KiB are damaged here and {} does not have them: the resync ends when they are overwritten",
            shown.other
        ),
    }
}

fn state(shown: &MirrorStatus, is_single: bool) -> (VolumeServiceState, String) {
    let report = &shown.report;
    let other = &shown.other;
    if let Some(waits) = &shown.waits {
        return (VolumeServiceState::Frozen, waits.clone());
    }
    if report.serves {
        if report.frozen {
            let words = "the lease is not valid, because no majority of the cluster \
                         is reachable, or a hand-over is in progress";
            return (VolumeServiceState::Frozen, words.to_owned());
        }
        return match (report.other, &shown.link) {
            (OtherState::InSync, _) => (VolumeServiceState::Serving, String::new()),
            (OtherState::Away, _) if is_single => (VolumeServiceState::Serving, String::new()),
            (OtherState::Syncing | OtherState::Joining | OtherState::Preparing, _) => {
                (VolumeServiceState::Resync, damaged_words(shown))
            }
            (OtherState::Away, Err(why)) => (
                VolumeServiceState::Alone,
                format!("{other} is not connected: {why}"),
            ),
            (OtherState::Away, Ok(())) => {
                let words = format!("{other} is connected and not in sync: {}", shown.said);
                (VolumeServiceState::Alone, words)
            }
        };
    }
    let complete = shown.in_sync.is_some_and(|[mine, _]| mine);
    if is_single && !complete && shown.in_sync.is_some() {
        let words = "this copy is not complete, but the other one is: name both nodes in `on` until this \
                     one is complete. Nothing on it is changed";
        return (VolumeServiceState::Frozen, words.to_owned());
    }
    if let Some(apart) = &shown.apart {
        let words = &apart.words;
        return (
            VolumeServiceState::Refused,
            format!(
                "{words}. It is kept and not used; `evenkeel volume resync NAME --discard-mine` replaces it \
                 by that of {other}"
            ),
        );
    }
    match (report.follows, complete) {
        (true, true) => (VolumeServiceState::Following, String::new()),
        (true, false) => (VolumeServiceState::Filling, String::new()),
        (false, _) => (VolumeServiceState::Frozen, waiting(shown, complete)),
    }
}

/// Explains why a replica neither serves nor follows. `complete`: the replica has every
/// acknowledged write.
fn waiting(shown: &MirrorStatus, complete: bool) -> String {
    let other = &shown.other;
    let link = match &shown.link {
        Ok(()) => String::new(),
        Err(_) if other.is_empty() => String::new(),
        Err(why) => format!("; {other} is not connected: {why}"),
    };
    let is_away = shown.link.is_err();
    match (&*shown.owner, complete) {
        ("", _) if shown.in_sync.is_none() => {
            format!(
                "no node holds its lease, and it is not known yet whether this copy is complete{link}"
            )
        }
        ("", true) if shown.said.is_empty() => format!("no node holds its lease{link}"),
        ("", true) => format!("no node holds its lease: {}{link}", shown.said),
        ("", false) => format!("this copy is not complete: it waits for the one of {other}{link}"),
        // Names the other node as the owner although it is away, because it may still hold the
        // lease.
        (owner, false) if owner == *other && is_away && shown.in_sync.is_some() => format!(
            "only the copy of {other} is complete, because {other} served alone: restore {other} or the \
             connection to it{link}"
        ),
        (owner, true) if owner == *other && is_away => format!(
            "{other} was the last holder of the lease of this volume; this node serves when that lease has \
             expired and a majority of the cluster is reachable{link}"
        ),
        (owner, _) if owner == *other => format!(
            "{other} holds the lease of this volume and has not started to send to this copy yet{link}"
        ),
        (_, true) => format!("this node holds its lease and is about to serve{link}"),
        (_, false) => format!("this copy is not complete, so only {other} can serve{link}"),
    }
}
