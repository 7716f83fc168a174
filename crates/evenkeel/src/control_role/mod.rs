//! Runs the control role as a process of a cluster member. The process drops all privileges that
//! consensus does not need, and runs [`cluster::role`] with [`machine`] as the local machine.
//!
//! The process serves no traffic and makes no decisions itself. After the end of its supervisor,
//! the process continues only as long as a part renews leases over a direct channel ([`link`]). The
//! next supervisor starts another control role. Traffic is served meanwhile.

mod channel;
mod link;
mod machine;
mod news;
mod rights;

use cluster::member::MemberKind;
use cluster::message::ControlOptions;
use cluster::request;
use cluster::role::directory::{self, ACCEPTED, StateDirectory};
use cluster::role::{ControlRoleOptions, RoleError, Texts, removed_news, removed_words};
use cluster::wire::Tcp;
use link::SupervisorLink;
use machine::Supervised;
use part::channel::{Channel, ChannelError, Received};
use part::codec;
use part::role::SupervisorMessage;
use part::row::{self, AcceptedFile, ControllerProperties, Entry, Environment, FirstMessages};
use part::{entry, memory};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

const END_MAX: Duration = Duration::from_secs(3);
const SUCCESSOR_POLL: Duration = Duration::from_millis(250);

pub const ENTRY: Entry = Entry {
    argument: "control-role",
    process_title: "evenkeel: control",
    display_name: "control role",
    environment: Environment::Few,
};

pub const HEARTBEAT_GRACE: Duration = Duration::from_secs(30);

pub const GOVERNS: ControllerProperties = ControllerProperties {
    socket: request::SOCKET,
    payload,
    accepted: ACCEPTED,
    read_accepted,
    read_first_messages,
};

fn payload(state: &Path, socket: &Path) -> Vec<u8> {
    codec::encode(&ControlOptions {
        directory: state.as_os_str().as_bytes().to_vec(),
        socket: socket.as_os_str().as_bytes().to_vec(),
    })
}

fn read_accepted(state: &Path) -> io::Result<AcceptedFile> {
    let accepted = directory::read_accepted(state)?;
    let file = memory::create("evenkeel version", &accepted.bytes)?;
    Ok(AcceptedFile {
        file,
        damage: accepted.damage,
    })
}

/// Returns the messages that a supervisor sends to the roles before the control role runs. For a
/// removed member, they report the removal; otherwise there are none.
fn read_first_messages(state: &Path) -> FirstMessages {
    if !StateDirectory::is_of_a_removed_member(state) {
        return FirstMessages::default();
    }
    let beside = row::all().iter().filter(|row| row.sidecar().is_some());
    FirstMessages {
        reason: removed_words(MemberKind::Node),
        messages: beside
            .map(|row| removed_news().envelope(row.part))
            .collect(),
    }
}

#[derive(Debug, thiserror::Error)]
enum ControlError {
    #[error("the supervisor: {0}")]
    Channel(ChannelError),
    #[error(transparent)]
    Rights(#[from] confinement::ConfinementError),
    #[error(transparent)]
    System(#[from] io::Error),
    #[error(transparent)]
    Role(#[from] RoleError),
}

pub fn main(channel: Channel) -> ExitCode {
    run(
        channel,
        Some(Texts {
            grammar: crate::loader::file_set::grammar,
            mask: cluster_command::mask,
        }),
    )
}

/// Runs the control role in the program of an arbiter, which has no grammar of configurations: an
/// arbiter cannot decrypt one.
pub fn arbiter_main(channel: Channel) -> ExitCode {
    run(channel, None)
}

fn run(channel: Channel, texts: Option<Texts>) -> ExitCode {
    part::voice::limit_log();
    entry::exit("the control role", serve(channel, texts))
}

fn first(received: Received) -> Option<ControlOptions> {
    let SupervisorMessage::Take(take) = received.message else {
        return None;
    };
    let payload = take.sort(received.descriptors)?.payload;
    codec::decode(&memory::read(&payload).ok()?).ok()
}

fn serve(mut channel: Channel, texts: Option<Texts>) -> Result<(), ControlError> {
    let first = entry::first(&mut channel, first);
    let run = first.map_err(ControlError::Channel)?;
    let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
    let options = ControlRoleOptions {
        directory: path(&run.directory),
        socket: Some(path(&run.socket)).filter(|path| !path.as_os_str().is_empty()),
        program: format!("evenkeel {}", crate::identity::VERSION),
        texts,
    };
    let runtime = options.socket.as_deref().and_then(Path::parent);
    let runtime = runtime.filter(|path| !path.as_os_str().is_empty());
    rights::give_up(&options.directory, runtime)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async move {
        let link = Arc::new(SupervisorLink::new(channel)?);
        let reading = tokio::spawn(SupervisorLink::read(Arc::clone(&link)));
        let state = options.directory.clone();
        let succession = tokio::spawn(end_before_successor(Arc::clone(&link), state));
        let machine = Supervised::new(Arc::clone(&link));
        let role = cluster::role::run(options, machine, Tcp);
        let ended = tokio::select! {
            ended = role => ended.map_err(ControlError::Role),
            // Ends the process if the role did not end after its supervisor: the next supervisor
            // starts another one.
            () = abandoned(&link) => Ok(()),
        };
        reading.abort();
        succession.abort();
        ended
    })
}

/// Waits until [`END_MAX`] after the link has ended, a time in which the role should end by itself.
async fn abandoned(link: &SupervisorLink) {
    link.lost().await;
    tokio::time::sleep(END_MAX).await;
}

/// Ends the link of an orphaned role as soon as another supervisor has locked the state directory:
/// the control role of that supervisor waits for this one.
async fn end_before_successor(link: Arc<SupervisorLink>, state: PathBuf) {
    loop {
        tokio::time::sleep(SUCCESSOR_POLL).await;
        if link.is_orphaned() && supervisor::directory::is_locked(&state) {
            return link.end();
        }
    }
}
