//! A stick table, in the format of `show table NAME json`.

use serde::Deserialize;
use serde_json::{Map, Value};

/// A stick table with the entries that have the largest values.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct StickTableView {
    /// Name of the table: that of its proxy, or of a `peers` section and a table in it.
    pub name: String,
    #[serde(rename = "type")]
    pub kind: String,
    /// Maximum number of entries.
    pub size: u64,
    pub used: u64,
    /// Expiry time of an unused entry, milliseconds. None: never.
    pub expire_ms: Option<u64>,
    /// Column whose largest values come first.
    pub sorted_by: Option<String>,
    /// Number of entries that match the filter.
    pub matching: u64,
    /// Data types that the table stores.
    pub columns: Vec<Column>,
    /// Entries that match the filter.
    pub entries: Vec<StickTableEntry>,
}

/// A data type that is stored with each key.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Column {
    /// Name of the data type, such as `http_req_rate`.
    pub name: String,
    /// Period of a rate, milliseconds. 0 if the data type is not a rate.
    pub period_ms: u64,
}

/// An entry of the table.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct StickTableEntry {
    /// Key as the proxy displays it.
    pub key: String,
    /// True if a command can name the key as it is displayed.
    pub plain: bool,
    /// Time until the entry expires, milliseconds.
    pub expires_ms: u64,
    pub values: Map<String, Value>,
}
