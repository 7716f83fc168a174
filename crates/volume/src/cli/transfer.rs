//! Implements `evenkeel volume export` and `import`, which copy a whole volume to a file or a
//! stream, and a raw disk into a volume. The commands are NBD clients of the volume's socket, as
//! QEMU is. Other commands that fill a volume, such as a restore, use the same functions.

use super::overwrite::Overwrite;
use super::progress::{DRAW_EVERY, ProgressDisplay, amount};
use super::{find, load_volume_report, section};
pub use ::command::stopped::{Stopped, signals};

use crate::client::{Address, Client, Server};
use crate::config::size_words;
use crate::device::{Snapshot, snapshot};
use crate::layout::VOLUME_BYTES_MAX;
use crate::overwrite::OverwriteKind;
use crate::report::{ACCEPTED, ACCEPTED_THERE, CLIENTS, CLIENTS_THERE, SIZE, clients_words};
use crate::transfer::{
    self, Image, Partial, Progress, TransferError, TransferSource, TransferTarget,
};
use ::command::stopped::arrived;
use ::command::{refuse, word};
use clap::ArgMatches;
use image::format::{Format, check_name, detect_image};
use image::whole;
use nix::sys::signalfd::SignalFd;
use part::channel::timespec;
use part::report::Subject;
use part::status::{CopyNodes, VolumeReport};
use rustix::event::{PollFd, PollFlags, poll};
use std::fs::File;
use std::io::{IsTerminal, Seek, SeekFrom, Write, stderr, stdout};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

const LEAVE_MAX: Duration = Duration::from_secs(2);
const LEAVE_LOOK: Duration = Duration::from_millis(50);

impl From<TransferError> for Stopped {
    fn from(error: TransferError) -> Stopped {
        Stopped::Failed(error.to_string())
    }
}

struct Volume {
    address: Address,
    users: Users,
    size_bytes: u64,
    excluded: Option<String>,
}

/// Clients of a volume; at both nodes if it has two copies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Users {
    /// Node name, current clients, and total clients so far. The numbers of the other node are
    /// unknown while that node is not connected.
    here: (String, u64, u64),
    there: Option<(String, Option<(u64, u64)>)>,
}

/// Source and target of a copy into a volume, and the clients that the volume had before.
pub struct CopyEndpoints {
    pub source: TransferSource,
    pub target: TransferTarget,
    pub users: Users,
}

impl Users {
    fn of(subject: &Subject) -> Users {
        let number = |name| subject.value(name).unwrap_or_default();
        let copies = VolumeReport::of(subject).copies.unwrap_or_default();
        let CopyNodes { local: me, other } = copies;
        let there = subject
            .value(CLIENTS_THERE)
            .zip(subject.value(ACCEPTED_THERE));
        Users {
            here: (me, number(CLIENTS), number(ACCEPTED)),
            there: (!other.is_empty()).then_some((other, there)),
        }
    }

    fn words(&self) -> Option<String> {
        let (me, here, _) = &self.here;
        let mut counts = vec![(me.as_str(), *here)];
        if let Some((other, there)) = &self.there {
            counts.push((other, there.map_or(0, |(clients, _)| clients)));
        }
        clients_words(&counts)
    }

    /// Returns a note for the operator about other clients of the volume during the command, which
    /// should have been its only local client. `before`: the clients at the start.
    fn changed(&self, before: &Users, name: &str) -> Option<String> {
        let is_used = self.here.2 != before.here.2 + 1;
        let mut nodes: Vec<&str> = is_used.then_some(&*self.here.0).into_iter().collect();
        if let Some((other, now)) = &self.there {
            let was = before.there.as_ref().and_then(|(_, there)| *there);
            match (was, now) {
                (Some((_, was)), Some((_, now))) if was == *now => {}
                (None, None) => {
                    return Some(format!(
                        "{other} is not connected, so it is unknown whether volume {name} has clients \
                         there: their writes are executed when {other} reconnects"
                    ));
                }
                _ => nodes.push(other),
            }
        }
        let at = match &*nodes.join(" and ") {
            "" => String::new(),
            nodes => format!(" at {nodes}"),
        };
        (!nodes.is_empty()).then(|| {
            format!(
                "another client may have used volume {name}{at} during the command. If it wrote, repeat the \
                 command without it"
            )
        })
    }
}

fn served(matches: &ArgMatches, name: &str) -> Result<Volume, String> {
    let (_, report) = load_volume_report(matches)?;
    let subject = find(&report, name)?;
    let number = |name| subject.value(name).unwrap_or_default();
    let socket = VolumeReport::of(subject).socket;
    if socket.is_empty() {
        return Err(not_served(subject));
    }
    Ok(Volume {
        address: Address {
            server: Server::Unix(socket.into()),
            export: name.to_owned(),
        },
        users: Users::of(subject),
        size_bytes: number(SIZE),
        excluded: excluded(subject),
    })
}

fn excluded(subject: &Subject) -> Option<String> {
    let volume = VolumeReport::of(subject);
    if volume.is_read_only {
        return Some(format!(
            "volume '{}' has `read-only yes`: nobody may write to it",
            subject.name
        ));
    }
    let only = volume.only_clients_of;
    let me = volume.copies.unwrap_or_default().local;
    let name = &subject.name;
    (!only.is_empty() && only != me).then(|| {
        format!(
            "only clients of {only} may write to volume '{name}': run the command there, or first `evenkeel volume admit \
             {name} {me}` at the owner"
        )
    })
}

pub fn address(matches: &ArgMatches, name: &str) -> Result<Address, String> {
    Ok(served(matches, name)?.address)
}

fn not_served(subject: &Subject) -> String {
    let colon = if subject.why.is_empty() { "" } else { ": " };
    format!(
        "volume '{}' is not served ({}{colon}{})",
        subject.name, subject.state.word, subject.why
    )
}

pub fn copy(
    what: &str,
    source: TransferSource,
    target: TransferTarget,
    signals: SignalFd,
) -> Result<String, Stopped> {
    let progress = Arc::new(Progress::default());
    let own = Arc::clone(&progress);
    let run = move || transfer::run(source, target, &own);
    let (done, shown) = watched(what, &progress, signals, run)?;
    done?;
    Ok(shown.summary(&progress))
}

/// Runs a function on a thread, and shows the progress while it runs. A signal ends the wait, and
/// returns `Stopped::By`.
pub(super) fn watched<T: Send + 'static>(
    what: &str,
    progress: &Progress,
    signals: SignalFd,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<(T, ProgressDisplay), Stopped> {
    let mut shown = ProgressDisplay::new(what);
    let (ended, end) = std::io::pipe().map_err(|error| error.to_string())?;
    let thread = std::thread::Builder::new().name("copy".to_owned());
    let thread = thread.spawn(move || {
        let result = run();
        // Wakes the thread that polls the pipe.
        drop(end);
        result
    });
    let thread = thread.map_err(|error| format!("cannot start a thread: {error}"))?;
    loop {
        let mut watched = [
            PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(ended.as_fd(), PollFlags::IN),
        ];
        // Ignores the result: all conditions are checked again, whatever ended the wait.
        let _ = poll(&mut watched, Some(&timespec(DRAW_EVERY)));
        let has_ended = !watched[1].revents().is_empty();
        if let Some(signal) = arrived(&signals) {
            shown.clear();
            // Leaves the copying thread running: it ends with the process.
            return Err(Stopped::By(signal));
        }
        if has_ended {
            break;
        }
        shown.show(progress);
    }
    shown.clear();
    let result = thread.join();
    let result = result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    Ok((result, shown))
}

pub fn export(matches: &ArgMatches) -> ExitCode {
    let name = word(matches, "NAME");
    let file = word(matches, "FILE");
    let to_output = file.is_empty() || file == "-";
    // Blocks signals before the file is created, so that a signal leaves no file behind.
    let signals = match signals() {
        Ok(signals) => signals,
        Err(error) => return error.exit(""),
    };
    let partial = if to_output {
        Ok(None)
    } else {
        Partial::create(Path::new(&file)).map(|one| Some(Arc::new(one)))
    };
    let partial = match partial {
        Ok(partial) => partial,
        Err(error) => return refuse(error),
    };
    let target = match &partial {
        Some(partial) => Ok(TransferTarget::file(Arc::clone(partial))),
        None => output(),
    };
    let exported = target.and_then(|target| export_to(matches, &name, target, signals));
    match (exported, partial) {
        (Ok(summary), _) => {
            let to = if to_output { "standard output" } else { &file };
            let _ = writeln!(stderr(), "exported volume {name} to {to}: {summary}");
            ExitCode::SUCCESS
        }
        (Err(error), Some(partial)) => {
            partial.discard();
            error.exit(&format!(
                ". {} was removed",
                partial.partial_path().display()
            ))
        }
        (Err(error), None) => error.exit(". The output is incomplete"),
    }
}

fn output() -> Result<TransferTarget, Stopped> {
    if stdout().is_terminal() {
        let words = "standard output is a terminal: name a file, or redirect it";
        return Err(words.to_owned().into());
    }
    let output = stdout().as_fd().try_clone_to_owned();
    let output = output.map_err(|error| format!("cannot use standard output: {error}"))?;
    Ok(TransferTarget::stream(File::from(output))?)
}

fn export_to(
    matches: &ArgMatches,
    name: &str,
    target: TransferTarget,
    signals: SignalFd,
) -> Result<String, Stopped> {
    if let Some(stamp) = matches.get_one::<String>("snapshot") {
        let (spec, _) = section(matches, name)?;
        let found = snapshot::find(&spec.backing, name, stamp);
        let source = TransferSource::snapshot(&found.map_err(|error| error.to_string())?)?;
        return copy(&format!("exporting {name}"), source, target, signals);
    }
    let source = of_volume(matches, name, "export")?;
    copy(&format!("exporting {name}"), source, target, signals)
}

/// Opens a volume as a source, and warns if clients may change the volume during the copy.
pub fn of_volume(matches: &ArgMatches, name: &str, what: &str) -> Result<TransferSource, Stopped> {
    let volume = served(matches, name)?;
    if let Some(has) = volume.users.words() {
        let _ = writeln!(
            stderr(),
            "warning: volume {name} {has}: the {what} is not crash-consistent while they write; {what} a snapshot \
             instead"
        );
    }
    Ok(TransferSource::connect(volume.address)?)
}

/// Refuses an empty source, and without `--raw` an image in another format.
pub fn is_disk(
    matches: &ArgMatches,
    source: &mut TransferSource,
    from: &str,
) -> Result<(), Stopped> {
    if source.size() == 0 {
        return Err(
            format!("{from} is empty (0 bytes): the whole volume would become zeroes").into(),
        );
    }
    if !matches.get_flag("raw")
        && let Some(image) = transfer::recognise(&source.head()?)
    {
        return Err(not_raw(image, from).into());
    }
    if matches.get_flag("raw") || Address::is_uri(from) {
        Ok(())
    } else {
        Ok(is_whole(from)?)
    }
}

/// Refuses a truncated file, as far as its contents show that, and a file whose last bytes show
/// that it is not a raw disk.
fn is_whole(from: &str) -> Result<(), String> {
    let at = |error: std::io::Error| format!("{from}: {error}");
    let mut file = File::open(from).map_err(at)?;
    let size = file.seek(SeekFrom::End(0)).map_err(at)?;
    let mut tail = vec![0; usize::try_from(size.min(512)).unwrap_or(0)];
    let begin = size - tail.len() as u64;
    file.read_exact_at(&mut tail, begin).map_err(at)?;
    match detect_image(&[], &tail) {
        Format::Raw => {
            check_name(from, Format::Raw).map_err(|error| format!("{from}: {error}"))?;
        }
        format => {
            return Err(format!(
                "{from} is not a raw disk but {format}: `evenkeel guest import` reads vpc, and `qemu-img \
                 convert -O raw` converts it to a raw disk; `--raw` imports it as it is"
            ));
        }
    }
    whole::check(Format::Raw, &file, 0, size)
        .map_err(|error| format!("{from}: {error}; `--raw` imports it as it is"))
}

/// Warns at the end of a command that wrote to a volume if other clients may have used the volume
/// in that time.
pub fn warn_of_others(matches: &ArgMatches, name: &str, before: &Users) {
    // Omits the warning if the volume is not served now: it then reports no clients.
    let now = served(matches, name).map(|volume| volume.users);
    if let Some(words) = now.ok().and_then(|now| now.changed(before, name)) {
        let _ = writeln!(stderr(), "warning: {words}");
    }
}

pub fn import(matches: &ArgMatches) -> ExitCode {
    let name = word(matches, "NAME");
    let from = word(matches, "SOURCE");
    let opened = TransferSource::open(&from).map_err(Stopped::from);
    let opened = opened.and_then(|mut source| {
        is_disk(matches, &mut source, &from)?;
        Ok(source)
    });
    let filled = opened.map_err(Unfilled::Before);
    let yes = matches.get_flag("yes");
    let kind = OverwriteKind::VolumeImport;
    match filled.and_then(|source| fill(matches, &name, kind, &from, source, yes)) {
        Ok(summary) => {
            let _ = writeln!(stderr(), "imported {from} into volume {name}: {summary}");
            ExitCode::SUCCESS
        }
        Err(Unfilled::Before(error)) => error.exit(". Nothing was written"),
        Err(Unfilled::During(error)) => error.exit(&format!(
            ". Volume {name} is refused as incomplete until you import again (with `--yes`); or `evenkeel volume accept \
             {name} --yes` uses it as it is"
        )),
    }
}

/// Reason why a volume was not filled from a source.
pub enum Unfilled {
    /// The error occurred before anything was written.
    Before(Stopped),
    /// The error occurred after the first write, so the volume contains a part of the data.
    During(Stopped),
}

impl Unfilled {
    /// Returns the error for one of several volumes that a command fills. With `others`, the
    /// command has filled another volume before, so data was written, and `Before` becomes
    /// `During`.
    pub fn behind(self, others: bool) -> Unfilled {
        match self {
            Unfilled::Before(error) if others => Unfilled::During(error),
            error => error,
        }
    }
}

impl From<String> for Unfilled {
    fn from(words: String) -> Unfilled {
        Unfilled::Before(Stopped::Failed(words))
    }
}

impl From<Stopped> for Unfilled {
    fn from(error: Stopped) -> Unfilled {
        Unfilled::Before(error)
    }
}

/// Writes a source into a volume without clients. Without `overwrites` the volume has to be empty.
/// The volume is marked as incomplete while the data is written.
pub fn fill(
    matches: &ArgMatches,
    name: &str,
    kind: OverwriteKind,
    from: &str,
    source: TransferSource,
    overwrites: bool,
) -> Result<String, Unfilled> {
    let prepared = prepare(matches, name, from, source, overwrites);
    let prepared = prepared.and_then(|ends| Ok((ends, signals()?)));
    let (ends, signals) = prepared.map_err(Unfilled::Before)?;
    let mark = Overwrite::begin(matches, name, kind).map_err(Unfilled::Before)?;
    let what = format!("importing {name}");
    let copied = copy(&what, ends.source, ends.target, signals);
    let summary = copied.map_err(Unfilled::During)?;
    let ended = mark.end(matches).map_err(Stopped::from);
    ended.map_err(Unfilled::During)?;
    warn_of_others(matches, name, &ends.users);
    Ok(summary)
}

fn prepare(
    matches: &ArgMatches,
    name: &str,
    from: &str,
    source: TransferSource,
    overwrites: bool,
) -> Result<CopyEndpoints, Stopped> {
    let (mut client, users) = free(matches, name, from, &source)?;
    let held = transfer::allocated(&mut client).map_err(TransferError::from)?;
    if held > 0 && !overwrites {
        let whole = client.offer().size;
        // Adds a hint at a node that does not know which blocks are empty: only the owner of two
        // copies in sync does.
        let perhaps = if users.there.is_some() && held >= whole {
            ", as far as this node knows: if it is new, wait until `evenkeel volume list` shows both copies \
             in sync, and run this on the node where it is `serving`"
        } else {
            ""
        };
        return Err(format!(
            "volume '{name}' holds data ({} of {} are allocated{perhaps}): `--yes` overwrites all of it",
            amount(held),
            amount(whole)
        )
        .into());
    }
    Ok(CopyEndpoints {
        source,
        target: TransferTarget::server(client),
        users,
    })
}

/// Opens a source, and a target volume without data. With `may_hold`, the volume may hold data,
/// which is overwritten.
pub fn ends_of_new(
    matches: &ArgMatches,
    name: &str,
    source: TransferSource,
    from: &str,
    may_hold: bool,
) -> Result<CopyEndpoints, Stopped> {
    let (mut client, users) = free(matches, name, from, &source)?;
    let held = if may_hold {
        0
    } else {
        transfer::allocated(&mut client).map_err(TransferError::from)?
    };
    match held {
        0 => Ok(CopyEndpoints {
            source,
            target: TransferTarget::server(client),
            users,
        }),
        held => Err(format!(
            "volume '{name}' exists and holds data ({} are allocated): `--yes` overwrites all of it",
            amount(held)
        )
        .into()),
    }
}

pub fn ends(matches: &ArgMatches, name: &str, from: &Snapshot) -> Result<CopyEndpoints, Stopped> {
    let source = TransferSource::snapshot(from)?;
    let from = &from.path.to_string_lossy();
    let (client, users) = free(matches, name, from, &source)?;
    Ok(CopyEndpoints {
        source,
        target: TransferTarget::server(client),
        users,
    })
}

/// Connects to a volume that has no clients and is large enough.
fn free(
    matches: &ArgMatches,
    name: &str,
    from: &str,
    source: &TransferSource,
) -> Result<(Client, Users), Stopped> {
    let mut volume = served(matches, name)?;
    let until = Instant::now() + LEAVE_MAX;
    while volume.users.words().is_some() && Instant::now() < until {
        // Polls, because the role may not have noticed the end of a client yet, and sends no event
        // to the command.
        std::thread::sleep(LEAVE_LOOK);
        volume = served(matches, name)?;
    }
    let (has, needs) = (volume.size_bytes, source.size());
    if needs > VOLUME_BYTES_MAX {
        let most = size_words(VOLUME_BYTES_MAX);
        return Err(format!("{from} has {needs} bytes, and a volume has at most {most}").into());
    }
    if has < needs {
        let size = size_words(needs.next_multiple_of(4096));
        return Err(format!(
            "{from} has {needs} bytes and volume '{name}' {has}: write `size {size}` into its section and reload"
        )
        .into());
    }
    if let Some(words) = volume.excluded {
        return Err(words.into());
    }
    if let Some(has) = volume.users.words() {
        return Err(format!(
            "volume '{name}' {has}: stop them first (`evenkeel volume show {name}`)"
        )
        .into());
    }
    // Connects as a user: no other client can open the volume until this client has closed it.
    let node = &volume.users.here.0;
    let slash = if node.is_empty() { "" } else { "/" };
    // Adds the node's name to the user, so that commands on two nodes count as two users.
    let export = format!("{name}/command/{node}{slash}{}", std::process::id());
    let address = Address {
        export,
        ..volume.address
    };
    let client = Client::connect_as_user(address).map_err(TransferError::from)?;
    Ok((client, volume.users))
}

fn not_raw(image: Image, from: &str) -> String {
    let so = format!("{from} is {image}, not a raw disk");
    let anyway = "`--raw` imports it as it is";
    match image {
        Image::Qemu(format) => format!(
            "{so}: `evenkeel guest import {from} NAME` imports it into the volumes of a guest, and reads no other file \
             that a {format} image may name. {anyway}"
        ),
        Image::Volume => format!(
            "{so}: export the volume, or its snapshot by `export NAME FILE --snapshot SNAPSHOT`. {anyway}"
        ),
        Image::Compressed(program) => format!("{so}: `{program} -dk {from}` makes one. {anyway}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(here: u64, there: Option<u64>) -> Users {
        Users {
            here: ("alpha".to_owned(), 0, here),
            there: Some(("beta".to_owned(), there.map(|accepted| (0, accepted)))),
        }
    }

    #[test]
    fn clients_are_named_with_their_node() {
        let with = |here, there| Users {
            here: ("alpha".to_owned(), here, 0),
            there: Some(("beta".to_owned(), there)),
        };
        assert_eq!(with(0, Some((0, 7))).words(), None);
        assert_eq!(with(0, None).words(), None);
        let words = |users: Users| users.words().unwrap_or_default();
        assert_eq!(words(with(0, Some((1, 7)))), "has clients (1 at beta)");
        assert_eq!(
            words(with(2, Some((1, 7)))),
            "has clients (2 at alpha, 1 at beta)"
        );
    }

    #[test]
    fn a_transient_client_during_an_import_is_reported() {
        let before = users(4, Some(9));
        let words = |now: Users| now.changed(&before, "mail").unwrap_or_default();
        assert_eq!(words(users(5, Some(9))), "");
        assert!(words(users(6, Some(9))).contains("volume mail at alpha during the command"));
        assert!(words(users(5, Some(10))).contains("volume mail at beta during the command"));
        assert!(words(users(7, Some(10))).contains("at alpha and beta during the command"));
        // The other node was not connected for the whole time, so its total is unknown.
        assert!(words(users(5, None)).contains("at beta during the command"));
    }

    #[test]
    fn clients_of_a_disconnected_node_are_unknown() {
        let before = users(4, None);
        let words = users(5, None).changed(&before, "mail").unwrap_or_default();
        assert!(words.contains("beta is not connected"), "{words}");
        let single = |accepted| Users {
            here: (String::new(), 0, accepted),
            there: None,
        };
        assert_eq!(single(1).changed(&single(0), "mail"), None);
        let words = single(2).changed(&single(0), "mail").unwrap_or_default();
        assert!(
            words.contains("used volume mail during the command"),
            "{words}"
        );
    }
}
