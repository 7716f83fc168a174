//! A stick table, as `show table NAME json` shows it.

use serde::Deserialize;
use serde_json::{Map, Value};

/// A table with those entries that have the largest values.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Table {
    /// Its name: of its proxy, or of a `peers` section and a table there.
    pub name: String,
    /// The type of its keys.
    #[serde(rename = "type")]
    pub kind: String,
    /// Entries that there is room for.
    pub size: u64,
    /// Entries that there are.
    pub used: u64,
    /// How long an entry lives unused, milliseconds; None: for ever.
    pub expire_ms: Option<u64>,
    /// The column whose largest values come first.
    pub sorted_by: Option<String>,
    /// How many entries fit the filter.
    pub matching: u64,
    /// What is stored.
    pub columns: Vec<Column>,
    /// The entries.
    pub entries: Vec<Entry>,
}

/// Something that is stored with each key.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Column {
    /// Its type of data: `http_req_rate`.
    pub name: String,
    /// The period of a rate, milliseconds; 0: it is none.
    pub period_ms: u64,
}

/// An entry.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Entry {
    /// Its key, as it is shown.
    pub key: String,
    /// Whether the key can be named as it is shown.
    pub plain: bool,
    /// Milliseconds that it has left.
    pub expires_ms: u64,
    /// The values, by the names of the columns.
    pub values: Map<String, Value>,
}
