//! Runs the loader: a short-lived process with the initial privileges, one for the start and one
//! for each change. The loader reads files, resolves names, and opens sockets. It parses user
//! input, so that the supervisor need not.

pub mod addresses;
#[cfg(feature = "cluster")]
pub mod cluster_versions;
mod compare;
pub mod file_set;
mod lacking;
#[cfg(feature = "cluster")]
mod nothing;
mod outcome;
mod rest;
mod version;
mod watched;
mod wishes;

use confinement::Confinement;
use outcome::Send;
use part::channel::{Channel, ChannelError, Received};
use part::entry;
use part::role::{Load, NotLoaded, SupervisorMessage};
use part::voice::MessagePrinter;
use proxy_role::process::{self, StartError};
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::time::Duration;

const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// Translates the command line of a load request into the options of the load.
pub type WishesOf = fn(&Load, &mut MessagePrinter) -> Result<Wishes, LoadFailure>;

/// Returns the options for loading files of this machine, for commands and for the loader.
pub fn load_options() -> configuration::LoadOptions {
    configuration::LoadOptions {
        resolve_names: true,
        host: crate::identity::host_name(),
        here: true,
        ..Default::default()
    }
}

pub fn main(mut channel: Channel, wishes: WishesOf) -> ExitCode {
    match work(&mut channel, wishes) {
        Ok(()) => ExitCode::SUCCESS,
        // Reports nothing: the supervisor that requested the load has gone.
        Err(_) => ExitCode::FAILURE,
    }
}

fn work(channel: &mut Channel, wishes: WishesOf) -> Result<(), ChannelError> {
    let (load, descriptors) = entry::first(channel, first)?;
    if load.previous.is_some() {
        // Lowers the priority while the process has one thread: later threads inherit it.
        process::lower_thread_priority();
    }
    let _operation = tracing::error_span!(target: "loader", "load", op = %load.operation).entered();
    tracing::info!(
        target: "loader",
        files = load.arguments.len(),
        set = load.set,
        dry = load.dry,
        watched = load.watched,
        "load started"
    );
    let mut voice = voice(&load);
    let outcome = match confinement::apply(&Confinement::loader()) {
        Ok(_) => wishes(&load, &mut voice)
            .and_then(|wishes| version::make(&load, wishes, descriptors, &mut voice)),
        Err(error) => {
            voice.fatal(StartError::Confinement(error));
            Err(LoadFailure::default())
        }
    };
    match &outcome {
        Ok(made) => tracing::info!(
            target: "loader",
            listeners = made.plan.listeners,
            reused = made.plan.reused,
            parts = made.plan.parts.len(),
            proxies = made.plan.proxies,
            missing = made.plan.lacks.missing.len(),
            "load finished"
        ),
        Err(failure) => {
            tracing::info!(target: "loader", unchanged = failure.0.unchanged, "load refused")
        }
    }
    outcome.send(channel, &mut voice)?;
    channel.finish(ANSWER_LIMIT)
}

fn first(received: Received) -> Option<(Load, Vec<OwnedFd>)> {
    match received.message {
        SupervisorMessage::Load(load) => Some((*load, received.descriptors)),
        _ => None,
    }
}

fn voice(load: &Load) -> MessagePrinter {
    let mut voice = MessagePrinter::new(load.personality, false);
    voice.pid = load.pid;
    if load.look.is_some_and(|look| look.as_json) {
        voice.collect_findings();
    } else if let Some(look) = load.look {
        voice.collect(language::render::RenderOptions {
            color: look.color,
            unicode: look.unicode,
            width: look.width as usize,
            diag: false,
        });
    }
    voice
}

/// Result of a failed load, for the supervisor. Its diagnostics were printed already.
#[derive(Debug)]
pub struct LoadFailure(pub NotLoaded);

impl Default for LoadFailure {
    fn default() -> Self {
        LoadFailure(NotLoaded {
            exit: 1,
            ..NotLoaded::default()
        })
    }
}

pub use outcome::LoadResult;
pub use wishes::Wishes;
