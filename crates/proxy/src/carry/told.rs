//! Defines the format of the state that one proxy process passes to the next. A missing field has
//! its default, and an unknown field is skipped, so older and newer programs understand each
//! other.

use super::tables::TableTold;
use crate::orders::OperatorOverrides;
use model::state::{
    AVERAGES, AdminState, BackendLife, CheckResult, CheckStatus, HealthState, Kept, Verdict,
};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tls::store::StoreOrder;
use zeroize::Zeroizing;

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct CarriedState {
    pub at_ms: u64,
    pub process: Option<ProcessTold>,
    pub proxies: Vec<ProxyTold>,
    pub tables: Vec<TableTold>,
    pub lists: Vec<ListTold>,
    /// Operators' commands about TLS files, which may contain keys: sent to the supervisor only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tls_orders: Vec<TlsOrderTold>,
    /// Data that only a command gets ([`super::live`]).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live: Option<LiveTold>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct LiveTold {
    pub proxies: Vec<ProxyLive>,
    pub tables_left_out: Vec<(String, u32)>,
    pub lists_left_out: Vec<(String, u64)>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct ProxyLive {
    pub name: String,
    pub frontend: u32,
    pub backend: u32,
    pub waiting: u32,
    pub servers: Vec<ServerLive>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct ServerLive {
    pub name: String,
    pub sessions: u32,
    pub waiting: u32,
    pub unresolved: bool,
    pub agent_down: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct CountedTold {
    /// Values of the counters, by the permanent numbers of [`super::tally`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sums: Vec<(u64, u64)>,
    #[serde(skip_serializing_if = "is_default")]
    pub highest_times: [u64; AVERAGES],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct RateTold {
    pub previous: u64,
    pub current: u64,
    pub phase_ms: u64,
    pub highest: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct ProcessTold {
    pub counted: CountedTold,
    pub connections_highest: u32,
    pub connection_rate: RateTold,
    pub session_rate: RateTold,
    /// `set maxconn global`, if it differs from the configured limit.
    pub connections_max: Option<u32>,
    #[serde(skip_serializing_if = "is_default")]
    pub orders: OperatorOverrides,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct ProxyTold {
    pub name: String,
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
    /// States; None in a message that contains only counters.
    pub states: Option<ProxyStates>,
    pub listeners: Vec<ListenerTold>,
    pub servers: Vec<ServerTold>,
    pub removed: Vec<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct ProxyStates {
    pub maxconn_set: u32,
    pub paused: bool,
    /// An operator shut the frontend down (`shutdown frontend`).
    #[serde(skip_serializing_if = "is_default")]
    pub shut: bool,
    #[serde(with = "LifeFields")]
    pub life: BackendLife,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "BackendLife", default = "BackendLife::default")]
struct LifeFields {
    last_change_ago_ms: u64,
    downtime_ms: u64,
    down_for_ms: Option<u64>,
    downs: u32,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct ListenerTold {
    pub id: u32,
    pub counted: CountedTold,
    pub sessions_highest: u32,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct ServerTold {
    pub name: String,
    #[serde(skip_serializing_if = "is_default")]
    pub counted: CountedTold,
    #[serde(skip_serializing_if = "is_default")]
    pub session_rate: RateTold,
    #[serde(skip_serializing_if = "is_default")]
    pub sessions_highest: u32,
    #[serde(skip_serializing_if = "is_default")]
    pub waiting_highest: u32,
    #[serde(skip_serializing_if = "is_default")]
    pub last_session_ago_s: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<KeptTold>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<String>,
    /// Flags: an operator has stopped the health checks, and those of the agent.
    #[serde(skip_serializing_if = "is_default")]
    pub stopped: Option<(bool, bool)>,
    #[serde(skip_serializing_if = "is_default")]
    pub set: ServerSettingsTold,
}

/// Values that an operator set in place of those in the file, besides the ones in [`KeptTold`].
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct ServerSettingsTold {
    pub check_address: Option<IpAddr>,
    pub check_port: Option<u16>,
    pub agent_address: Option<IpAddr>,
    pub agent_port: Option<u16>,
    pub agent_send: Option<ByteBuf>,
    /// Host name (`set server … fqdn`).
    pub host: Option<String>,
    /// The host name `host` has not been resolved yet.
    pub unresolved: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct KeptTold(#[serde(with = "KeptFields")] pub Kept);

#[derive(Serialize, Deserialize)]
#[serde(remote = "Kept", default = "Kept::default")]
struct KeptFields {
    #[serde(with = "AdminNames", skip_serializing_if = "is_default")]
    admin: AdminState,
    #[serde(skip_serializing_if = "is_default")]
    file_disabled: bool,
    #[serde(with = "HealthNames", skip_serializing_if = "is_default")]
    health: HealthState,
    streak: u32,
    rise: u32,
    fall: u32,
    checked: bool,
    weight: u32,
    file_weight: u32,
    #[serde(skip_serializing_if = "is_default")]
    maxconn: u32,
    #[serde(skip_serializing_if = "is_default")]
    file_maxconn: u32,
    #[serde(skip_serializing_if = "is_default")]
    warming_for_ms: Option<u64>,
    last_change_ago_ms: u64,
    #[serde(skip_serializing_if = "is_default")]
    downtime_ms: u64,
    #[serde(skip_serializing_if = "is_default")]
    down_for_ms: Option<u64>,
    #[serde(with = "last_check", skip_serializing_if = "Option::is_none")]
    last_check: Option<(CheckResult, u64)>,
    #[serde(skip_serializing_if = "is_default")]
    check_failures: u32,
    #[serde(skip_serializing_if = "is_default")]
    address: Option<SocketAddr>,
    #[serde(skip_serializing_if = "is_default")]
    tls: Option<bool>,
}

/// An administrative state; one that only a newer program knows becomes a harmless known one.
#[derive(Serialize, Deserialize)]
#[serde(remote = "AdminState")]
enum AdminNames {
    Drain,
    Maintenance,
    #[serde(other)]
    Ready,
}

/// A health; one that only a newer program knows becomes a known one, and the checks then
/// determine it.
#[derive(Serialize, Deserialize)]
#[serde(remote = "HealthState")]
enum HealthNames {
    Down,
    Stopping,
    #[serde(other)]
    Up,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Verdict")]
enum VerdictNames {
    Passed,
    Conditional,
    #[serde(other)]
    Failed,
}

/// The last check and its age. A check with an unknown status is omitted.
mod last_check {
    use super::{CheckResult, CheckStatus, Deserialize, Serialize, Verdict, VerdictNames};
    use serde::{Deserializer, Serializer};

    const INFO_BYTES_MAX: usize = 1024;

    #[derive(Serialize, Deserialize)]
    struct CheckTold {
        status: String,
        #[serde(with = "VerdictNames")]
        verdict: Verdict,
        code: u16,
        duration_ms: u32,
        info: String,
        ago_ms: u64,
    }

    pub fn serialize<S: Serializer>(
        check: &Option<(CheckResult, u64)>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        let told = check.as_ref().map(|(result, ago_ms)| {
            let info = result.info.as_bytes();
            let info = &info[..info.len().min(INFO_BYTES_MAX)];
            CheckTold {
                status: result.status.code().to_owned(),
                verdict: result.verdict,
                code: result.code,
                duration_ms: result.duration_ms,
                info: String::from_utf8_lossy(info).into_owned(),
                ago_ms: *ago_ms,
            }
        });
        told.serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<(CheckResult, u64)>, D::Error> {
        let told: Option<CheckTold> = Option::deserialize(from)?;
        Ok(told.and_then(|told| {
            let status = CheckStatus::of_code(&told.status)?;
            let result = CheckResult {
                verdict: told.verdict,
                code: told.code,
                info: told.info.into(),
                ..CheckResult::new(status, told.duration_ms)
            };
            Some((result, told.ago_ms))
        }))
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct ListTold {
    pub file: String,
    pub is_map: bool,
    pub keys: Vec<(ByteBuf, Vec<Option<ByteBuf>>)>,
}

#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct TlsOrderTold {
    pub words: Vec<String>,
    #[serde(with = "payload")]
    pub payload: Option<Arc<Zeroizing<String>>>,
    pub subject: String,
    pub of_file: Option<[u8; 32]>,
}

/// Payload of an operator's command, wiped from memory when it is dropped.
mod payload {
    use super::{Arc, Deserialize, Serialize, Zeroizing};
    use serde::{Deserializer, Serializer};

    type Payload = Option<Arc<Zeroizing<String>>>;

    pub fn serialize<S: Serializer>(payload: &Payload, to: S) -> Result<S::Ok, S::Error> {
        let text = payload.as_ref().map(|payload| payload.as_str());
        text.serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Payload, D::Error> {
        let text: Option<String> = Option::deserialize(from)?;
        Ok(text.map(|text| Arc::new(Zeroizing::new(text))))
    }
}

impl fmt::Debug for TlsOrderTold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TlsOrderTold({})", self.subject)
    }
}

impl From<StoreOrder> for TlsOrderTold {
    fn from(order: StoreOrder) -> TlsOrderTold {
        TlsOrderTold {
            words: order.words.iter().map(ToString::to_string).collect(),
            payload: order.payload,
            subject: order.subject.into(),
            of_file: order.of_file,
        }
    }
}

impl From<TlsOrderTold> for StoreOrder {
    fn from(told: TlsOrderTold) -> StoreOrder {
        StoreOrder {
            words: told.words.into_iter().map(Into::into).collect(),
            payload: told.payload,
            subject: told.subject.into(),
            of_file: told.of_file,
        }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
