//! Starts the address role from the supervisor's first message, drops its capabilities, opens its
//! log, runs `address::role` until it ends, and reports a failed start to the supervisor.

use super::orders::Supervised;
use address::config::Config;
use address::message::AddressRoleOptions;
use address::rights;
use address::role::{self, Exit, KeptState, Level, RoleError};
use part::channel::Channel;
use part::codec;
use part::entry;
use part::guard::Guard;
use part::memory::{self, MemoryError};
use part::role::{Parcel, Personality, Take};
use part::trace;
use part::voice::keepalived::{Log, Speaker, write_at_once};
use part::voice::{LogLimiter, left_out};
use rustix::thread::CapabilitySet;
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

pub struct AddressRoleInput {
    pub take: Take,
    options: AddressRoleOptions,
    parcel: Parcel<OwnedFd>,
}

impl AddressRoleInput {
    pub fn new(take: Take, descriptors: Vec<OwnedFd>) -> Option<AddressRoleInput> {
        Some(AddressRoleInput {
            options: match &take.options[..] {
                [] => AddressRoleOptions::default(),
                options => codec::decode(options).ok()?,
            },
            parcel: take.sort(descriptors)?,
            take,
        })
    }

    pub fn config(&self) -> Result<Config, ConfigError> {
        let bytes = memory::read(&self.parcel.payload)?;
        Config::decode(&bytes).map_err(ConfigError::Decode)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error(transparent)]
    Memory(#[from] MemoryError),
    #[error("cannot read the address configuration: {0}")]
    Decode(serde_json::Error),
}

#[derive(Debug, thiserror::Error)]
enum BeginError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Role(#[from] RoleError),
    #[error(transparent)]
    Confinement(#[from] confinement::ConfinementError),
}

pub fn serve(mut channel: Channel, given: AddressRoleInput, guard: Option<Guard>) -> ExitCode {
    if given.options.background {
        entry::close_standard_streams();
    }
    let mut log = log(given.take.personality, &given.options);
    let config = match given.config().map_err(BeginError::Config) {
        Ok(config) => config,
        Err(error) => return refuse(&error, &mut *log, &mut channel),
    };
    let kept = drop_capabilities(&config);
    if let Err(error) = kept.map_err(BeginError::Confinement) {
        return refuse(&error, &mut *log, &mut channel);
    }
    let (version, personality) = (given.take.version, given.take.personality);
    let (orders, words) = match Supervised::new(channel, guard, version) {
        Ok(orders) => orders,
        Err(error) => {
            log(
                Level::Error,
                &format!("the channel to the supervisor: {error}"),
            );
            return ExitCode::FAILURE;
        }
    };
    let AddressRoleInput {
        options, parcel, ..
    } = given;
    let kept = parcel.keep.as_ref();
    let kept = kept.and_then(|file| KeptState::read(file.as_fd()));
    let dumps = PathBuf::from(OsStr::from_bytes(&options.dump_directory));
    let result = role::run(
        config,
        role::RoleInputs {
            orders: Box::new(orders),
            log,
            stored_state: kept,
            keep: parcel.keep,
            vitals: parcel.shared,
            dump_directory: dumps,
        },
    );
    match result {
        Ok(Exit::Released | Exit::Left) => ExitCode::SUCCESS,
        Err(error) => {
            let error = BeginError::Role(error);
            let mut again = self::log(personality, &options);
            again(Level::Error, &error.to_string());
            words.last(error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn refuse(error: &BeginError, log: &mut dyn FnMut(Level, &str), channel: &mut Channel) -> ExitCode {
    let words = error.to_string();
    log(Level::Error, &words);
    entry::send_shutdown_reason(channel, words);
    ExitCode::FAILURE
}

/// Returns the function that writes lines of the log: to keepalived's log destination under the
/// personality `keepalived`, or else to standard error. A limiter counts repeated lines and leaves
/// them out.
fn log(personality: Personality, options: &AddressRoleOptions) -> role::Log {
    let mut log = unlimited_log(personality, options);
    let mut limiter = LogLimiter::default();
    Box::new(move |level, text| {
        // Limits the lines, because any machine on the network can cause them by sending packets.
        let Some(count) = limiter.admit(text, Instant::now()) else {
            return;
        };
        match level {
            Level::Error => trace::record_message(tracing::Level::ERROR, text),
            Level::Warning => trace::record_message(tracing::Level::WARN, text),
            Level::Notice | Level::Info => trace::record_message(tracing::Level::INFO, text),
            Level::Detail => tracing::debug!(target: "address", "{text}"),
        }
        log(level, text);
        if count > 0 {
            log(level, &left_out(count));
        }
    })
}

fn unlimited_log(personality: Personality, options: &AddressRoleOptions) -> role::Log {
    if personality == Personality::Keepalived {
        let mut log = Log::open(options.log.clone(), Speaker::Vrrp);
        return Box::new(move |level, text| log.line(level, text));
    }
    let detail = options.log.detail;
    Box::new(move |level, text| {
        if level == Level::Detail && !detail {
            return;
        }
        let word = match level {
            Level::Error => "error: ",
            Level::Warning => "warning: ",
            Level::Notice | Level::Info | Level::Detail => "",
        };
        let text = language::without_numbers(text.trim_end().to_owned());
        let line = format!("evenkeel: {word}{text}\n");
        // Leaves the line out if the pipe is full: writing must not block the thread that serves
        // addresses.
        let _ = write_at_once(&rustix::stdio::stderr(), &line);
    })
}

/// Drops every capability that the role does not need for addresses. System calls and file access
/// stay unrestricted: scripts and their children would inherit a restriction, and they may do
/// everything that the author of the configuration wants.
fn drop_capabilities(config: &Config) -> Result<CapabilitySet, confinement::ConfinementError> {
    let programs = rights::starts_programs_of_its_own(config);
    confinement::keep_only(rights::needed(config), programs)
}
