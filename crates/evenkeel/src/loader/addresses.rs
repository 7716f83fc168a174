//! Separates the files in keepalived's language from others, and loads them into a configuration of
//! the address role with the options of the command line.

use crate::parts;
use address::config::{Config, Instance};
use address::dialect::{self, Options, Outside};
use configuration::files::NamedFile;
use language::{Diagnostics, SourceMap};
use std::path::PathBuf;
use std::time::Duration;

#[derive(Clone, Debug, Default)]
pub struct AddressWishes {
    /// `-i`
    pub config_id: Option<String>,
    /// `-P`
    pub vrrp_only: bool,
    /// True under the name `keepalived`.
    pub as_keepalived: bool,
    /// `-s`: overrides the file.
    pub namespace: Option<String>,
    /// `-u`: overrides the file.
    pub umask: Option<u32>,
    pub no_bfd: bool,
    /// `-V`: addresses stay when the process ends, so no lifetime is set for them.
    pub keeps: bool,
}

/// Lifetime of addresses that no role renews, in multiples of the master-down interval.
const LIFETIME_DOWN_INTERVALS: u32 = 10;
/// Minimum lifetime: the kernel counts seconds.
const LIFETIME_MIN: Duration = Duration::from_secs(2);

/// Returns the lifetime of the addresses of an instance. The role renews it. If all processes of
/// the machine are killed, the kernel removes the addresses when it expires.
fn lifetime(instance: &Instance) -> Duration {
    // Adds the skew time, which is less than one advert interval.
    let adverts = u32::from(instance.options.down_timer_adverts) + 1;
    let down = instance.options.advert_interval.saturating_mul(adverts);
    down.saturating_mul(LIFETIME_DOWN_INTERVALS)
        .max(LIFETIME_MIN)
}

pub struct Read {
    pub config: Option<Config>,
    pub sources: SourceMap,
    pub diagnostics: Diagnostics,
    pub included: Vec<PathBuf>,
}

/// Removes the files in keepalived's language from the list and returns them.
pub fn split(files: &mut Vec<NamedFile>) -> Vec<NamedFile> {
    let sections: Vec<&str> = parts::words().names().collect();
    let is = |file: &mut NamedFile| dialect::is_keepalived(&file.1, &sections);
    files.extract_if(.., is).collect()
}

/// Loads files of keepalived, and applies the options of the command line to the configuration.
/// Files that they include, and other facts of the machine, come from `outside`.
pub fn read(files: &[NamedFile], wishes: &AddressWishes, outside: &mut dyn Outside) -> Read {
    let mut sources = SourceMap::default();
    let ids: Vec<_> = files
        .iter()
        .map(|(name, text)| sources.add(name.clone(), text.clone()))
        .collect();
    let options = Options {
        config_id: wishes.config_id.clone(),
        vrrp_only: wishes.vrrp_only,
        as_keepalived: wishes.as_keepalived,
    };
    let loaded = dialect::load(&mut sources, &ids, &options, outside);
    let config = loaded.config.map(|mut config| {
        if wishes.namespace.is_some() {
            config
                .global
                .network_namespace
                .clone_from(&wishes.namespace);
        }
        config.global.umask = wishes.umask.or(config.global.umask);
        if !wishes.keeps {
            for instance in &mut config.instances {
                instance.lifetime = instance.lifetime.or(Some(lifetime(instance)));
            }
        }
        if wishes.no_bfd {
            config.bfd.clear();
            let groups = config.groups.iter_mut().map(|group| &mut group.tracked);
            let instances = config.instances.iter_mut().map(|one| &mut one.tracked);
            groups
                .chain(instances)
                .for_each(|tracked| tracked.bfd.clear());
        }
        config
    });
    Read {
        config,
        sources,
        diagnostics: loaded.diagnostics,
        included: loaded.files,
    }
}
