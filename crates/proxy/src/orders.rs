//! Stores the values that an operator set at run time instead of configured ones: the rates of
//! `set rate-limit`, and `enable` and `disable dynamic-cookie`. They survive a reload, a restart
//! of the proxy process and an upgrade. A stored value is dropped when the configured value that
//! it replaces changes.
//!
//! The values belong to the runtime and are guarded by its lock. [`crate::carry`] passes them to
//! the next process.

use model::config::{Config, Proxy};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Settings that `set rate-limit` accepts, as operators write them.
pub(crate) const RATES: [&str; 4] = [
    "connections",
    "sessions",
    "ssl-sessions",
    "http-compression",
];

/// A value that an operator set, and the configured value that it replaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Replaced<T> {
    of_file: T,
    ordered: T,
}

/// Values that operators set at run time, each with the value in the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct OperatorOverrides {
    /// Rates by the name of the setting; 0 means no limit. The rate of compression is in bytes,
    /// the others in events.
    rates: BTreeMap<String, Replaced<u64>>,
    dynamic_cookies: BTreeMap<String, Replaced<bool>>,
}

fn rate(config: &Config, setting: &str) -> Option<u64> {
    let global = &config.global;
    let of = |limit: Option<u32>| u64::from(limit.unwrap_or(0));
    match setting {
        "connections" => Some(of(global.connection_rate_max)),
        "sessions" => Some(of(global.session_rate_max)),
        "ssl-sessions" => Some(of(global.tls.rate_max)),
        "http-compression" => Some(global.compression.rate_max),
        _ => None,
    }
}

fn set_rate(config: &mut Config, setting: &str, value: u64) {
    let global = &mut config.global;
    let limit = u32::try_from(value).ok().filter(|limit| *limit > 0);
    match setting {
        "connections" => global.connection_rate_max = limit,
        "sessions" => global.session_rate_max = limit,
        "ssl-sessions" => global.tls.rate_max = limit,
        _ => Arc::make_mut(&mut global.compression).rate_max = value,
    }
}

fn is_dynamic(proxy: &Proxy) -> Option<bool> {
    proxy.cookie.as_ref().map(|cookie| cookie.dynamic)
}

fn set_dynamic(proxy: &mut Proxy, on: bool) {
    if let Some(cookie) = &mut proxy.cookie {
        Arc::make_mut(cookie).dynamic = on;
    }
}

fn backend<'c>(config: &'c mut Config, name: &str) -> Option<&'c mut Proxy> {
    let mut all = config.proxies.iter_mut();
    all.find(|proxy| proxy.kind.is_backend() && *proxy.name == *name)
}

impl OperatorOverrides {
    /// Sets a rate in a configuration that is about to be installed.
    pub fn set_rate(&mut self, config: &mut Config, setting: &str, value: u64) {
        let before = rate(config, setting).unwrap_or(0);
        let new = Replaced {
            of_file: before,
            ordered: before,
        };
        let order = self.rates.entry(setting.to_owned()).or_insert(new);
        order.ordered = value;
        set_rate(config, setting, value);
    }

    /// Enables or disables the dynamic cookies of a backend. Returns false if it has no cookie.
    pub fn set_dynamic_cookie(&mut self, proxy: &mut Proxy, on: bool) -> bool {
        let Some(before) = is_dynamic(proxy) else {
            return false;
        };
        let new = Replaced {
            of_file: before,
            ordered: before,
        };
        let orders = &mut self.dynamic_cookies;
        orders.entry(proxy.name.to_string()).or_insert(new).ordered = on;
        set_dynamic(proxy, on);
        true
    }

    /// Applies the values that operators set to a configuration that does not serve yet. A value
    /// whose configured counterpart has changed is dropped.
    pub fn apply(&mut self, config: &mut Config) {
        self.rates.retain(|setting, order| {
            let holds = rate(config, setting) == Some(order.of_file);
            if holds {
                set_rate(config, setting, order.ordered);
            }
            holds
        });
        self.dynamic_cookies.retain(|name, order| {
            let proxy = backend(config, name);
            let proxy = proxy.filter(|proxy| is_dynamic(proxy) == Some(order.of_file));
            let holds = proxy.is_some();
            if let Some(proxy) = proxy {
                set_dynamic(proxy, order.ordered);
            }
            holds
        });
    }

    /// Returns the operators' values that still apply in this configuration.
    pub fn in_effect(mut self, config: &Config) -> OperatorOverrides {
        self.rates
            .retain(|setting, order| rate(config, setting) == Some(order.ordered));
        self.dynamic_cookies.retain(|name, order| {
            let mut all = config.proxies.iter();
            let proxy = all.find(|proxy| proxy.kind.is_backend() && *proxy.name == **name);
            proxy.and_then(is_dynamic) == Some(order.ordered)
        });
        self
    }
}
