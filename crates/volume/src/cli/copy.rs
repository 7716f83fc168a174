//! Implements `evenkeel copy`, which copies a volume, a snapshot or a raw disk to a volume of
//! another node. The volume roles of both nodes provide the connection; the command reads the
//! source and decides what is sent ([`crate::copy`]).

use super::progress::{ProgressDisplay, amount, per_second};
use super::transfer::{Stopped, is_disk, of_volume, signals, watched};
use super::{find, load_volume_report, order, section};
use crate::client::Address;
use crate::copy::{CommandListener, CopyError, CopyTransfer, random, send};
use crate::device::snapshot;
use crate::message::VolumeOrder;
use crate::report::VOLUME;
use crate::transfer::TransferSource;
use ::command::options::{flag, process_id, serving_files};
use ::command::{print, word};
use clap::{Arg, ArgMatches, Command};
use part::status::{CopyNodes, VolumeReport};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use supervisor::directory::{self, Instance};

/// Time for which the other node may be unreachable during a copy.
const AWAY_MAX: Duration = Duration::from_secs(60);
/// Time for which the other node may refuse a new copy: it may not have noticed the end of the
/// previous client yet.
const LEAVE_MAX: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_millis(250);
const MEET_MAX: Duration = Duration::from_secs(5);

pub fn definition(command: Command) -> Command {
    command
        .about("Copy a volume or a raw disk to a volume of another node")
        .long_about(
            "Copies a source of this node to a volume of another node of the cluster. It uses the \
             connection of the volume roles: TLS 1.3 with certificates of the cluster, at TCP port 7444 of \
             the other node. Data is \
             compressed, and zeroes are not sent.\n\nThe source is a volume of this node, NAME@SNAPSHOT, a raw file, a \
             block device, nbd://HOST[:PORT]/EXPORT or nbd+unix:///EXPORT?socket=PATH. A word with a `/` is a path.\n\n\
             Checksums (SHA-256) of blocks of 64 KiB are compared first, and only blocks that differ are sent. So the \
             same command continues a copy that was interrupted, and updates an older copy. A lost \
             connection is retried for 60 s. At the end the other node flushes the volume, reads it again, \
             and both compare the checksum of the whole volume.\n\nThe target must be served there, have no \
             clients, and not be smaller than the source; the part after the end of a shorter source \
             becomes zeroes. Without `--yes` a target that \
             holds other data than the source is refused, and nothing is written. Exit codes: 0 complete and equal, 1 failed, 130 interrupted.",
        )
        .after_help(
            "Examples:\n  evenkeel copy mail gamma:mail\n  evenkeel copy mail@20261122T200000Z gamma:mail-old --yes\n  \
             evenkeel copy ./disk.raw beta:web\n  evenkeel copy nbd://old-host/mail alpha:mail",
        )
        .arg_required_else_help(true)
        .arg(
            Arg::new("SOURCE")
                .required(true)
                .help("A volume of this node, NAME@SNAPSHOT, a raw file, a block device or an NBD address"),
        )
        .arg(
            Arg::new("TARGET")
                .value_name("NODE:VOLUME")
                .required(true)
                .help("The other node, by its name in the cluster, and its volume"),
        )
        .arg(flag("raw", "Treat the source as raw, even if it looks like an image"))
        .arg(flag("yes", "Overwrite what the target holds"))
        .arg(serving_files().num_args(1))
        .arg(process_id())
}

struct Copy {
    instance: Instance,
    node: String,
    volume: String,
    run: u64,
    source: TransferSource,
    sending: CopyTransfer,
}

pub fn main(matches: &ArgMatches) -> ExitCode {
    let (from, to) = (word(matches, "SOURCE"), word(matches, "TARGET"));
    let prepared = prepare(matches, &from, &to);
    let (copy, signals) = match prepared.and_then(|copy| Ok((copy, signals()?))) {
        Ok(prepared) => prepared,
        Err(error) => return error.exit(". Nothing was written"),
    };
    let progress = Arc::clone(&copy.sending.progress);
    let what = format!("copying {from} to {to}");
    match watched(&what, &progress, signals, move || copy.run()) {
        Ok(((copy, Ok(())), shown)) => {
            let summary = summary(&copy.sending, &shown);
            print(&format!("copied {from} to {to}: {summary}\n"))
        }
        Ok(((copy, Err(error)), _)) if !copy.sending.has_begun => {
            Stopped::Failed(words(&error)).exit(". Nothing was written")
        }
        Ok(((_, Err(error)), _)) => Stopped::Failed(words(&error)).exit(&unfinished(&from, &to)),
        Err(error) => error.exit(&unfinished(&from, &to)),
    }
}

fn unfinished(from: &str, to: &str) -> String {
    format!(". The copy of {from} to {to} is incomplete: the same command continues the copy")
}

fn words(error: &CopyError) -> String {
    match error {
        CopyError::Differs { .. } => format!(
            "{error}: a client wrote to the target during the copy, or its disk returns data that differs \
             from what was written"
        ),
        CopyError::Broken(_) => format!(
            "{error}. If this happens at once: the other node may have an older version, or no volumes"
        ),
        CopyError::Silent => format!(
            "{error}: `evenkeel volume show` on the other node shows the state of the volume"
        ),
        error => error.to_string(),
    }
}

fn summary(sending: &CopyTransfer, shown: &ProgressDisplay) -> String {
    let total = sending.progress.total.load(Ordering::Relaxed);
    let sent = sending.progress.data.load(Ordering::Relaxed);
    let packed = sending.packed.load(Ordering::Relaxed);
    let skipped = sending.skipped.load(Ordering::Relaxed);
    let skipped = skipped.min(total.saturating_sub(sent));
    let zeroes = total.saturating_sub(sent + skipped);
    let (time, seconds) = shown.time();
    let ratio = match packed {
        0 => String::new(),
        packed => format!(
            " as {} ({:.1}:1)",
            amount(packed),
            sent as f64 / packed as f64
        ),
    };
    format!(
        "{}: sent {}{ratio}, {} already equal, {} zeroes, in {time}, {}/s; checksums are equal",
        amount(total),
        amount(sent),
        amount(skipped),
        amount(zeroes),
        amount(per_second(total, seconds))
    )
}

fn prepare(matches: &ArgMatches, from: &str, to: &str) -> Result<Copy, Stopped> {
    let parts = to.split_once(':').filter(|(node, volume)| {
        !node.is_empty() && !volume.is_empty() && !volume.contains(['/', ':'])
    });
    let (node, volume) = parts.ok_or_else(|| {
        format!(
            "'{to}' is not NODE:VOLUME: name a node of the cluster and a volume of it, such as beta:mail. To write a \
             volume of this node, use `evenkeel volume import`"
        )
    })?;
    is_another(matches, from, node, volume)?;
    let (instance, source) = open(matches, from)?;
    let mut sending = CopyTransfer::default();
    sending.overwrites = matches.get_flag("yes");
    Ok(Copy {
        instance,
        node: node.to_owned(),
        volume: volume.to_owned(),
        run: random().map_err(|errno| format!("cannot generate a random number: {errno}"))?,
        source,
        sending,
    })
}

/// Refuses to copy a volume with two copies onto itself.
fn is_another(matches: &ArgMatches, from: &str, node: &str, volume: &str) -> Result<(), Stopped> {
    let (_, report) = load_volume_report(matches)?;
    let subject = report.find(VOLUME, from).filter(|_| from == volume);
    let copies = subject.and_then(|subject| VolumeReport::of(subject).copies);
    let has = |copies: &CopyNodes| {
        let mut nodes = [&copies.local, &copies.other].into_iter();
        nodes.any(|one| one.eq_ignore_ascii_case(node))
    };
    if copies.is_some_and(|copies| has(&copies)) {
        Err(format!(
            "{node}:{volume} is volume '{from}' itself: both of its copies are kept equal automatically"
        )
        .into())
    } else {
        Ok(())
    }
}

fn open(matches: &ArgMatches, from: &str) -> Result<(Instance, TransferSource), Stopped> {
    let (instance, report) = load_volume_report(matches)?;
    let (name, stamp) = match from.split_once('@') {
        Some((name, stamp)) => (name, Some(stamp)),
        None => (from, None),
    };
    let is_path = Address::is_uri(from) || from.contains('/');
    let is_volume = !is_path && report.find(VOLUME, name).is_some();
    let is_file = !is_path && Path::new(from).exists();
    let source = match (is_volume, is_file) {
        (true, true) => {
            return Err(
                format!("'{from}' is a volume and a file: write ./{from} for the file").into(),
            );
        }
        (true, false) => match stamp {
            None => of_volume(matches, name, "copy")?,
            Some(stamp) => {
                let (spec, _) = section(matches, name)?;
                let found = snapshot::find(&spec.backing, name, stamp);
                TransferSource::snapshot(&found.map_err(|error| error.to_string())?)?
            }
        },
        (false, false) if !is_path && from.contains(':') => {
            return Err(format!(
                "the source must be on this node: run the command on the node of {from}"
            )
            .into());
        }
        (false, false) if !is_path => {
            find(&report, name)?;
            return Err(format!("neither a volume nor a file '{from}' exists").into());
        }
        _ => {
            let mut source = TransferSource::open(from)?;
            is_disk(matches, &mut source, from)?;
            source
        }
    };
    Ok((instance, source))
}

impl Copy {
    fn run(mut self) -> (Copy, Result<(), CopyError>) {
        let mut since = Instant::now();
        let mut furthest = 0;
        loop {
            let Err(error) = self.attempt() else {
                return (self, Ok(()));
            };
            let done = self.sending.progress.done.load(Ordering::Relaxed);
            if done > furthest {
                (furthest, since) = (done, Instant::now());
            }
            let limit = if self.sending.has_begun {
                AWAY_MAX
            } else {
                LEAVE_MAX
            };
            if !error.may_repeat() || since.elapsed() >= limit {
                return (self, Err(error));
            }
            std::thread::sleep(AGAIN);
        }
    }

    fn attempt(&mut self) -> Result<(), CopyError> {
        let meeting = CommandListener::new(&directory::path()).map_err(CopyError::Broken)?;
        let message = VolumeOrder::Copy {
            node: self.node.clone(),
            volume: self.volume.clone(),
            run: self.run,
            socket: meeting.number(),
        };
        // Repeats the copy after a restart of the role only if the copy has begun.
        let again = self.sending.has_begun;
        let told = order::tell(&self.instance, &message);
        told.map_err(|words| CopyError::Refused { words, again })?;
        let stream = meeting.accept(MEET_MAX).map_err(CopyError::Broken)?;
        send(&stream, &mut self.source, &mut self.sending)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_has_sent_and_skipped_bytes() {
        let sending = CopyTransfer::default();
        sending.progress.total.store(10 << 30, Ordering::Relaxed);
        sending.progress.data.store(2 << 30, Ordering::Relaxed);
        sending.packed.store(1 << 30, Ordering::Relaxed);
        sending.skipped.store(5 << 30, Ordering::Relaxed);
        let text = summary(&sending, &ProgressDisplay::new("copying"));
        let begin = "10.0 GiB: sent 2.0 GiB as 1.0 GiB (2.0:1), 5.0 GiB already equal, 3.0 GiB zeroes, in \
                     0.0 s, ";
        assert!(text.starts_with(begin), "{text}");
    }
}
