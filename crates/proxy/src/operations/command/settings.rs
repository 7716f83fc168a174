//! Implements the commands that replace a configured value of the process or of a backend: rate
//! limits and dynamic cookies. The change is made in a copy of the configuration. All replaced
//! values except keys stay in effect until the configured value changes ([`crate::orders`]).

use super::{Context, Session, find_backend};
use crate::dynamic::{self, OrderRefusal};
use crate::orders;
use crate::runtime::lock;
use model::config::{Config, Proxy};

/// Help text of `set rate-limit`, laid out as HAProxy does.
const RATES: &str = "'set rate-limit' only supports :\n   \
     - 'connections global' to limit connections per second (maxconnrate)\n   \
     - 'sessions global' to limit sessions per second (maxsessrate)\n   \
     - 'ssl-sessions global' to limit TLS sessions per second (maxsslrate)\n   \
     - 'http-compression global' to limit the kB per second given to compression (maxcomprate)\n";

/// `set rate-limit <setting> global <value>`
pub fn rate_limit(context: &Context, _: &Session, words: &[&str]) -> String {
    let (Some(setting), Some(&"global")) = (words.get(2), words.get(3)) else {
        return RATES.into();
    };
    if !orders::RATES.contains(setting) {
        return RATES.into();
    }
    let Some(Ok(value)) = words.get(4).map(|word| word.parse::<u32>()) else {
        return "Expects an integer value.\n".into();
    };
    // Converts the limit on compression from kB to bytes.
    let unit = if *setting == "http-compression" {
        1024
    } else {
        1
    };
    changed(context.runtime.edit(|config| {
        let mut orders = lock(&context.runtime.orders);
        orders.set_rate(config, setting, u64::from(value) * unit);
        Ok(None)
    }))
}

fn changed(result: Result<(), OrderRefusal>) -> String {
    match result {
        Ok(()) => String::new(),
        Err(OrderRefusal(why)) => why,
    }
}

/// Finds the backend that a word names and applies a change to it.
fn with_backend(
    context: &Context,
    words: &[&str],
    change: impl FnOnce(&mut Proxy) -> Result<(), OrderRefusal>,
) -> String {
    let (Some(&"backend"), Some(name)) = (words.get(2), words.get(3)) else {
        return "Expects 'backend' and the name of one.\n".into();
    };
    changed(context.runtime.edit(|config: &mut Config| {
        let Some(proxy) = find_backend(config, name) else {
            return Err(OrderRefusal("No such backend.\n".into()));
        };
        let index = dynamic::index(config, proxy);
        change(&mut config.proxies[index.0 as usize])?;
        Ok(Some(index))
    }))
}

fn set_dynamic(context: &Context, words: &[&str], on: bool) -> String {
    with_backend(context, words, |proxy| {
        if lock(&context.runtime.orders).set_dynamic_cookie(proxy, on) {
            Ok(())
        } else {
            // Reports an error, which HAProxy does not, because nothing changes.
            Err(OrderRefusal("The backend has no 'cookie' line.\n".into()))
        }
    })
}

pub fn enable_dynamic_cookie(context: &Context, _: &Session, words: &[&str]) -> String {
    set_dynamic(context, words, true)
}

pub fn disable_dynamic_cookie(context: &Context, _: &Session, words: &[&str]) -> String {
    set_dynamic(context, words, false)
}

/// `set dynamic-cookie-key backend <backend> <key>`
pub fn dynamic_cookie_key(context: &Context, _: &Session, words: &[&str]) -> String {
    let Some(key) = words.get(4).filter(|key| !key.is_empty()) else {
        return "String value expected.\n".into();
    };
    with_backend(context, words, |proxy| {
        proxy.dynamic_cookie_key = Some(key.as_bytes().into());
        Ok(())
    })
}
