//! Files in keepalived's language: which files they are, and their configuration.

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
    /// `-V`: addresses stay when the program ends, so they have no lifetime.
    pub keeps: bool,
}

/// Lifetime of addresses that no role renews, in down intervals.
const LIFETIME_DOWN_INTERVALS: u32 = 10;
/// Minimum lifetime: the kernel counts seconds.
const LIFETIME_MIN: Duration = Duration::from_secs(2);

/// Returns the time for which the addresses of an instance outlive their role. Then they disappear
/// from a machine on which all processes were killed.
fn lifetime(instance: &Instance) -> Duration {
    // The skew of the lowest priority is less than one advert interval.
    let adverts = u32::from(instance.options.down_timer_adverts) + 1;
    let down = instance.options.advert_interval.saturating_mul(adverts);
    down.saturating_mul(LIFETIME_DOWN_INTERVALS)
        .max(LIFETIME_MIN)
}

/// The result of reading keepalived's files.
pub struct Read {
    pub config: Option<Config>,
    pub sources: SourceMap,
    pub diagnostics: Diagnostics,
    pub included: Vec<PathBuf>,
}

/// Moves the files in keepalived's language out of the list.
pub fn split(files: &mut Vec<NamedFile>) -> Vec<NamedFile> {
    let sections: Vec<&str> = parts::words().names().collect();
    let is = |file: &mut NamedFile| dialect::is_keepalived(&file.1, &sections);
    files.extract_if(.., is).collect()
}

/// Reads files of keepalived. Other queries to the system go through `outside`.
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
