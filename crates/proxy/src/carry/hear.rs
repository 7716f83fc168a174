//! Bytes to states as another process told them. Takes any bytes; changes
//! nothing yet, so that what is cut off leaves no half.

use super::tally;
use super::wire::{Reader, number, small};
use super::{CarryError, HEAD, VERSION, tag};
use model::rules::live::Changes;

use model::state::{
    AGE_MAX_MS, AVERAGES, AdminState, BackendLife, COUNT_MAX, CheckResult, CheckStatus,
    HealthState, Kept, Tally, Verdict,
};
use std::net::SocketAddr;

type Heard<T> = Result<T, CarryError>;

/// Maximum accepted rate in events per second, so that calculations cannot overflow.
const RATE_MAX: u64 = u32::MAX as u64;

/// Maximum accepted words of one command.
const ADDED_WORDS_MAX: usize = 1024;

/// Everything.
#[derive(Debug, Default)]
pub(super) struct CarriedState<'b> {
    pub at_ms: u64,
    pub process: Option<ProcessTold>,
    pub proxies: Vec<ProxyTold<'b>>,
    pub tables: Vec<super::tables::TableTold<'b>>,
    pub lists: Vec<Changes>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CountedTold {
    pub sums: Vec<(Tally, u64)>,
    pub highest_times: [u64; AVERAGES],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RateTold {
    pub previous: u64,
    pub current: u64,
    pub phase_ms: u64,
    pub highest: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ProcessTold {
    pub counted: CountedTold,
    pub connections_highest: u32,
    pub connection_rate: RateTold,
    pub session_rate: RateTold,
}

#[derive(Debug, Default)]
pub(super) struct ProxyTold<'b> {
    pub name: &'b [u8],
    pub frontend: CountedTold,
    pub backend: CountedTold,
    pub frontend_highest: u32,
    pub backend_highest: u32,
    pub waiting_highest: u32,
    pub session_rate: RateTold,
    pub connection_rate: RateTold,
    pub request_rate: RateTold,
    pub backend_session_rate: RateTold,
    pub log_lines: u64,
    pub last_session_ago_s: Option<u64>,
    /// `maxconn_set`, `paused` and `life` were told.
    pub states: bool,
    pub maxconn_set: u32,
    pub paused: bool,
    pub life: BackendLife,
    pub listeners: Vec<ListenerTold>,
    pub servers: Vec<ServerTold<'b>>,
    pub removed: Vec<&'b [u8]>,
}

#[derive(Debug, Default)]
pub(super) struct ListenerTold {
    pub id: u32,
    pub counted: CountedTold,
    pub sessions_highest: u32,
}

#[derive(Debug, Default)]
pub(super) struct ServerTold<'b> {
    pub name: &'b [u8],
    pub counted: CountedTold,
    pub session_rate: RateTold,
    pub sessions_highest: u32,
    pub waiting_highest: u32,
    pub last_session_ago_s: Option<u64>,
    pub kept: Option<Kept>,
    /// The words of the command that added it.
    pub added: Vec<&'b [u8]>,
    /// Whether an operator has stopped its checks, and its agent.
    pub stopped: Option<(bool, bool)>,
}

/// Reads everything.
pub(super) fn hear(bytes: &[u8]) -> Heard<CarriedState<'_>> {
    let rest = bytes.strip_prefix(HEAD).ok_or(CarryError::Foreign)?;
    let (version, rest) = rest.split_first_chunk().ok_or(CarryError::Cut)?;
    match u16::from_le_bytes(*version) {
        VERSION => {}
        found => return Err(CarryError::Version { found }),
    }
    use tag::whole as t;
    let mut told = CarriedState::default();
    let mut reader = Reader::new(rest);
    while let Some((tag, value)) = reader.field()? {
        match tag {
            t::AT_MS => told.at_ms = number(value)?,
            t::PROCESS => told.process = Some(process(value)?),
            t::PROXY => told.proxies.push(proxy(value)?),
            t::TABLE => told.tables.push(super::tables::hear(value)?),
            t::LIST => told.lists.push(super::lists::hear(value)?),
            t::END => return Ok(told),
            _ => {}
        }
    }
    Err(CarryError::Cut)
}

fn process(value: &[u8]) -> Heard<ProcessTold> {
    use tag::process as t;
    let mut told = ProcessTold::default();
    let mut reader = Reader::new(value);
    while let Some((tag, value)) = reader.field()? {
        match tag {
            t::COUNTED => told.counted = counted(value)?,
            t::CONNECTIONS_HIGHEST => told.connections_highest = small(value)?,
            t::CONNECTION_RATE => told.connection_rate = rate(value)?,
            t::SESSION_RATE => told.session_rate = rate(value)?,
            _ => {}
        }
    }
    Ok(told)
}

fn proxy(value: &[u8]) -> Heard<ProxyTold<'_>> {
    use tag::proxy as t;
    let mut told = ProxyTold::default();
    let mut reader = Reader::new(value);
    while let Some((tag, value)) = reader.field()? {
        match tag {
            t::NAME => told.name = value,
            t::FRONTEND => told.frontend = counted(value)?,
            t::BACKEND => told.backend = counted(value)?,
            t::FRONTEND_HIGHEST => told.frontend_highest = small(value)?,
            t::BACKEND_HIGHEST => told.backend_highest = small(value)?,
            t::WAITING_HIGHEST => told.waiting_highest = small(value)?,
            t::SESSION_RATE => told.session_rate = rate(value)?,
            t::CONNECTION_RATE => told.connection_rate = rate(value)?,
            t::REQUEST_RATE => told.request_rate = rate(value)?,
            t::BACKEND_SESSION_RATE => told.backend_session_rate = rate(value)?,
            t::LOG_LINES => told.log_lines = number(value)?,
            t::LAST_SESSION_AGO_S => told.last_session_ago_s = Some(number(value)?),
            t::STATES => told.states = true,
            t::MAXCONN_SET => told.maxconn_set = small(value)?,
            t::PAUSED => told.paused = number(value)? != 0,
            t::LIFE => told.life = life(value)?,
            t::LISTENER => told.listeners.push(listener(value)?),
            t::SERVER => told.servers.push(server(value)?),
            t::REMOVED => told.removed.push(value),
            _ => {}
        }
    }
    Ok(told)
}

fn listener(value: &[u8]) -> Heard<ListenerTold> {
    use tag::listener as t;
    let mut told = ListenerTold::default();
    let mut reader = Reader::new(value);
    while let Some((tag, value)) = reader.field()? {
        match tag {
            t::ID => told.id = small(value)?,
            t::COUNTED => told.counted = counted(value)?,
            t::SESSIONS_HIGHEST => told.sessions_highest = small(value)?,
            _ => {}
        }
    }
    Ok(told)
}

fn server(value: &[u8]) -> Heard<ServerTold<'_>> {
    use tag::server as t;
    let mut told = ServerTold::default();
    let mut reader = Reader::new(value);
    while let Some((tag, value)) = reader.field()? {
        match tag {
            t::NAME => told.name = value,
            t::COUNTED => told.counted = counted(value)?,
            t::SESSION_RATE => told.session_rate = rate(value)?,
            t::SESSIONS_HIGHEST => told.sessions_highest = small(value)?,
            t::WAITING_HIGHEST => told.waiting_highest = small(value)?,
            t::LAST_SESSION_AGO_S => told.last_session_ago_s = Some(number(value)?),
            t::KEPT => told.kept = Some(kept(value)?),
            t::ADDED if told.added.len() < ADDED_WORDS_MAX => told.added.push(value),
            t::STOPPED => {
                let bits = number(value)?;
                told.stopped = Some((bits & 1 != 0, bits & 2 != 0));
            }
            _ => {}
        }
    }
    Ok(told)
}

fn counted(value: &[u8]) -> Heard<CountedTold> {
    use tag::counted as t;
    let mut told = CountedTold::default();
    let mut reader = Reader::new(value);
    while let Some((tag, value)) = reader.field()? {
        match tag {
            t::SUMS => told.sums = tally::read(value)?,
            t::HIGHEST_TIMES => {
                let mut times = Reader::new(value);
                for ms in &mut told.highest_times {
                    *ms = times.plain()?;
                }
            }
            _ => {}
        }
    }
    Ok(told)
}

fn rate(value: &[u8]) -> Heard<RateTold> {
    use tag::rate as t;
    let mut told = RateTold::default();
    let mut reader = Reader::new(value);
    while let Some((tag, value)) = reader.field()? {
        match tag {
            t::PREVIOUS => told.previous = number(value)?.min(RATE_MAX),
            t::CURRENT => told.current = number(value)?.min(RATE_MAX),
            t::PHASE_MS => told.phase_ms = number(value)?.min(999),
            t::HIGHEST => told.highest = number(value)?.min(RATE_MAX),
            _ => {}
        }
    }
    Ok(told)
}

fn age(value: &[u8]) -> Heard<u64> {
    Ok(number(value)?.min(AGE_MAX_MS))
}

fn life(value: &[u8]) -> Heard<BackendLife> {
    use tag::life as t;
    let mut told = BackendLife::default();
    let mut reader = Reader::new(value);
    while let Some((tag, value)) = reader.field()? {
        match tag {
            t::LAST_CHANGE_AGO_MS => told.last_change_ago_ms = age(value)?,
            t::DOWNTIME_MS => told.downtime_ms = age(value)?,
            t::DOWN_FOR_MS => told.down_for_ms = Some(age(value)?),
            t::DOWNS => told.downs = small(value)?.min(COUNT_MAX),
            _ => {}
        }
    }
    Ok(told)
}

/// A state of a newer program that has no name here is the harmless one: ready,
/// up, and the checks will tell.
fn kept(value: &[u8]) -> Heard<Kept> {
    use tag::kept as t;
    // A field that is 0 is not told.
    let mut told = Kept {
        weight: 0,
        file_weight: 0,
        ..Kept::default()
    };
    let mut reader = Reader::new(value);
    while let Some((tag, value)) = reader.field()? {
        match tag {
            t::ADMIN => {
                told.admin = match number(value)? {
                    1 => AdminState::Drain,
                    2 => AdminState::Maintenance,
                    _ => AdminState::Ready,
                }
            }
            t::FILE_DISABLED => told.file_disabled = number(value)? != 0,
            t::HEALTH => {
                told.health = match number(value)? {
                    1 => HealthState::Down,
                    2 => HealthState::Stopping,
                    _ => HealthState::Up,
                }
            }
            t::STREAK => told.streak = small(value)?,
            t::RISE => told.rise = small(value)?,
            t::FALL => told.fall = small(value)?,
            t::CHECKED => told.checked = number(value)? != 0,
            t::WEIGHT => told.weight = small(value)?,
            t::FILE_WEIGHT => told.file_weight = small(value)?,
            t::MAXCONN => told.maxconn = small(value)?,
            t::FILE_MAXCONN => told.file_maxconn = small(value)?,
            t::WARMING_FOR_MS => told.warming_for_ms = Some(age(value)?),
            t::LAST_CHANGE_AGO_MS => told.last_change_ago_ms = age(value)?,
            t::DOWNTIME_MS => told.downtime_ms = age(value)?,
            t::DOWN_FOR_MS => told.down_for_ms = Some(age(value)?),
            t::CHECK_FAILURES => told.check_failures = small(value)?,
            t::TLS => told.tls = Some(number(value)? == 2),
            t::ADDRESS => told.address = address(value),
            t::CHECK => told.last_check = check(value)?,
            _ => {}
        }
    }
    Ok(told)
}

fn address(value: &[u8]) -> Option<SocketAddr> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// A check whose status has no name here is none.
fn check(value: &[u8]) -> Heard<Option<(CheckResult, u64)>> {
    use tag::check as t;
    let mut status = None;
    let mut ago_ms = 0;
    let mut told = CheckResult::new(CheckStatus::Initializing, 0);
    let mut reader = Reader::new(value);
    while let Some((tag, value)) = reader.field()? {
        match tag {
            t::STATUS => {
                let code = std::str::from_utf8(value).unwrap_or_default();
                status = CheckStatus::of_code(code);
            }
            t::VERDICT => {
                told.verdict = match number(value)? {
                    0 => Verdict::Passed,
                    1 => Verdict::Conditional,
                    _ => Verdict::Failed,
                }
            }
            t::CODE => told.code = u16::try_from(number(value)?).unwrap_or(0),
            t::DURATION_MS => told.duration_ms = small(value)?,
            t::INFO => told.info = String::from_utf8_lossy(value).into_owned().into(),
            t::AGO_MS => ago_ms = age(value)?,
            _ => {}
        }
    }
    Ok(status.map(|status| (CheckResult { status, ..told }, ago_ms)))
}
