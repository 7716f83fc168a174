//! Decodes a stick table from the output of `show table NAME json`.

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
    pub size: u64,
    pub used: u64,
    /// Expiry time of an unused entry, milliseconds. None: never.
    pub expire_ms: Option<u64>,
    pub sorted_by: Option<String>,
    pub matching: u64,
    pub columns: Vec<Column>,
    pub entries: Vec<StickTableEntry>,
}

/// A data type that is stored with each key.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Column {
    pub name: String,
    /// Period of a rate, milliseconds. 0 if the data type is not a rate.
    pub period_ms: u64,
}

#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct StickTableEntry {
    pub key: String,
    /// True if a command can name the key as it is displayed.
    pub plain: bool,
    /// Time until the entry expires, milliseconds.
    pub expires_ms: u64,
    pub values: Map<String, Value>,
}
