//! The tags of fields, by the record that they stand in. A tag that was given
//! out keeps its meaning for ever; what is new gets a new one.

/// In the whole.
pub(super) mod whole {
    pub const AT_MS: u8 = 1;
    pub const PROCESS: u8 = 2;
    pub const PROXY: u8 = 3;
    /// The last field: what ends without it was cut off.
    pub const END: u8 = 4;
    pub const TABLE: u8 = 5;
    pub const LIST: u8 = 6;
}

/// In a list of patterns or a map.
pub(super) mod list {
    pub const FILE: u8 = 1;
    pub const IS_MAP: u8 = 2;
    pub const KEYS: u8 = 3;
}

/// In a stick table.
pub(super) mod table {
    pub const NAME: u8 = 1;
    pub const KEY: u8 = 2;
    pub const LENGTH: u8 = 3;
    pub const DATA: u8 = 4;
    pub const ENTRIES: u8 = 5;
}

/// In every record that counts.
pub(super) mod counted {
    pub const SUMS: u8 = 1;
    pub const HIGHEST_TIMES: u8 = 2;
}

/// In a rate.
pub(super) mod rate {
    pub const PREVIOUS: u8 = 1;
    pub const CURRENT: u8 = 2;
    pub const PHASE_MS: u8 = 3;
    pub const HIGHEST: u8 = 4;
}

/// In the process.
pub(super) mod process {
    pub const COUNTED: u8 = 1;
    pub const CONNECTIONS_HIGHEST: u8 = 2;
    pub const CONNECTION_RATE: u8 = 3;
    pub const SESSION_RATE: u8 = 4;
}

/// In a proxy.
pub(super) mod proxy {
    pub const NAME: u8 = 1;
    // 2 once said that it is a frontend: both sides of a name are one record now.
    pub const FRONTEND: u8 = 3;
    pub const BACKEND: u8 = 4;
    pub const FRONTEND_HIGHEST: u8 = 5;
    pub const BACKEND_HIGHEST: u8 = 6;
    pub const WAITING_HIGHEST: u8 = 7;
    pub const SESSION_RATE: u8 = 8;
    pub const CONNECTION_RATE: u8 = 9;
    pub const REQUEST_RATE: u8 = 10;
    pub const BACKEND_SESSION_RATE: u8 = 11;
    pub const MAXCONN_SET: u8 = 12;
    pub const PAUSED: u8 = 13;
    pub const LOG_LINES: u8 = 14;
    pub const LAST_SESSION_AGO_S: u8 = 15;
    pub const LIFE: u8 = 16;
    pub const LISTENER: u8 = 17;
    pub const SERVER: u8 = 18;
    /// Stands where states are told, not only counters.
    pub const STATES: u8 = 19;
    /// A server of the file that an operator has removed.
    pub const REMOVED: u8 = 20;
}

/// In a backend's life.
pub(super) mod life {
    pub const LAST_CHANGE_AGO_MS: u8 = 1;
    pub const DOWNTIME_MS: u8 = 2;
    pub const DOWN_FOR_MS: u8 = 3;
    pub const DOWNS: u8 = 4;
}

/// In a listener.
pub(super) mod listener {
    pub const ID: u8 = 1;
    pub const COUNTED: u8 = 2;
    pub const SESSIONS_HIGHEST: u8 = 3;
}

/// In a server.
pub(super) mod server {
    pub const NAME: u8 = 1;
    pub const COUNTED: u8 = 2;
    pub const SESSION_RATE: u8 = 3;
    pub const SESSIONS_HIGHEST: u8 = 4;
    pub const WAITING_HIGHEST: u8 = 5;
    pub const LAST_SESSION_AGO_S: u8 = 6;
    pub const KEPT: u8 = 7;
    /// A word of the command that added it; as many as that had.
    pub const ADDED: u8 = 8;
    /// What an operator has stopped: 1 for checks, 2 for the agent.
    pub const STOPPED: u8 = 9;
}

/// In a server's state.
pub(super) mod kept {
    pub const ADMIN: u8 = 1;
    pub const FILE_DISABLED: u8 = 2;
    pub const HEALTH: u8 = 3;
    pub const STREAK: u8 = 4;
    pub const RISE: u8 = 5;
    pub const FALL: u8 = 6;
    pub const CHECKED: u8 = 7;
    pub const WEIGHT: u8 = 8;
    pub const FILE_WEIGHT: u8 = 9;
    pub const MAXCONN: u8 = 10;
    pub const FILE_MAXCONN: u8 = 11;
    pub const WARMING_FOR_MS: u8 = 12;
    pub const LAST_CHANGE_AGO_MS: u8 = 13;
    pub const DOWNTIME_MS: u8 = 14;
    pub const DOWN_FOR_MS: u8 = 15;
    pub const CHECK_FAILURES: u8 = 16;
    pub const ADDRESS: u8 = 17;
    pub const CHECK: u8 = 18;
    /// 1 without TLS, 2 with it.
    pub const TLS: u8 = 19;
}

/// In a finished check.
pub(super) mod check {
    pub const STATUS: u8 = 1;
    pub const CODE: u8 = 2;
    pub const DURATION_MS: u8 = 3;
    pub const INFO: u8 = 4;
    pub const AGO_MS: u8 = 5;
    pub const VERDICT: u8 = 6;
}
