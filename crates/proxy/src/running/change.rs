//! Installs another configuration in the running proxy. Expensive work happens on the caller's
//! thread. Then the threads that serve clients are notified, and each switches a little in each
//! turn of its event loop (see [`crate::worker`]). No connection is closed by this step, and a
//! failed change has no effect.

use super::{DataPlane, ServeOptions};
use crate::dynamic;
use crate::listener::{self, Listening, OpenListeners};
use crate::runtime::lock;
use crate::tls_orders;
use model::config::{Config, Global};
use model::{admission, balance, state};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Changed {
    pub version: u64,
    /// Settings that differ in the new configuration but cannot change while the process runs.
    /// They keep their values until the process is restarted.
    pub not_changed: Vec<&'static str>,
    /// Messages about lists, maps and TLS files that operators changed: which changes remain and
    /// which are dropped.
    pub runtime_changes: Vec<String>,
}

impl DataPlane {
    /// Installs a configuration. `listening` are its open listeners; if one uses a socket that is
    /// already in service (the same inode), that socket continues unchanged, and the new
    /// descriptor is closed. Must be called on a thread that may block.
    ///
    /// # Errors
    /// Fails with `ResourceBusy` if the process is stopping, otherwise with the error of a thread
    /// that could not be started. In both cases nothing changes.
    pub fn change(
        &self,
        mut config: Config,
        listening: Vec<Listening>,
        options: &ServeOptions,
    ) -> io::Result<Changed> {
        let runtime = self.runtime;
        let _one = lock(&runtime.changing);
        if runtime.stopping() {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        runtime.forget_unused();
        let threads = options.threads.clamp(1, reactor::THREADS_MAX);
        self.start_threads(threads)?;
        reactor::set_shards(threads);
        let old = runtime.config();
        let not_changed = keep_fixed(&old.global, &mut config.global);
        let mut runtime_changes = config.lists.differences(&old.lists);
        runtime_changes.extend(tls_orders::replaced_by_files(&old));
        let lost = dynamic::keep(&mut config, &old);
        lock(&runtime.orders).apply(&mut config);
        let outdated = model::control::adopt(&mut config, Some(&old), state::now_ms());
        balance::prepare(&config, Some(&old));
        admission::number(&mut config, &old);
        // Prevents further use of idle connections to removed servers: none is kept from here on,
        // so none is left after the threads have checked their pools.
        outdated.close_ways();
        let config = Arc::new(config);
        model::rules::set_up_process(&config);
        // Changes no listener while another process accepts on them, because that process decides
        // which frontends accept.
        if !runtime.ending.has_successor.load(Ordering::Relaxed) {
            listener::apply_frontend_states(&config, &listening);
        }
        listener::note_unopened(&config, &listening);
        let listening = Arc::new(OpenListeners::following(listening, &runtime.listening()));
        tls::resume::set_limits(&config.global.tls);
        reactor::set_pipes_max(config.global.pipes_max.unwrap_or(reactor::PIPES_MAX));
        runtime.set_connections_max(options.connections_max);
        runtime.threads.store(threads, Ordering::Relaxed);
        {
            let _held = runtime.hold_lists();
            // Adds the changes that operators made since the lists were copied above.
            config.lists.adopt(&old.lists);
            runtime.publish(Arc::clone(&config), listening);
        }
        // Wakes streams under the older configuration on removed servers, which are few by now.
        outdated.end(state::now_ms());
        dynamic::log_lost(&config, &lost);
        Ok(Changed {
            version: config.version,
            not_changed,
            runtime_changes,
        })
    }

    /// Returns the configurations still in use, the newest last.
    pub fn versions(&self) -> Vec<crate::runtime::VersionReport> {
        self.runtime.versions()
    }

    /// Frees the configurations that nothing uses any longer, on the calling thread. Returns their
    /// number.
    pub fn forget_unused(&self) -> usize {
        self.runtime.forget_unused()
    }
}

/// Returns the settings that differ and cannot change while the process runs. Limits `tune.bufsize`
/// in `new` to the size of the existing buffers.
fn keep_fixed(old: &Global, new: &mut Global) -> Vec<&'static str> {
    let mut names: Vec<&'static str> = [
        ("chroot", old.chroot != new.chroot),
        ("user", old.uid != new.uid),
        ("group", old.gid != new.gid),
        ("daemon", old.daemon != new.daemon),
        ("pidfile", old.pidfile != new.pidfile),
        ("ulimit-n", old.files_max != new.files_max),
        ("set-dumpable", old.dumpable != new.dumpable),
        ("numa-cpu-mapping", old.numa_unmapped != new.numa_unmapped),
    ]
    .into_iter()
    .filter_map(|(name, differs)| differs.then_some(name))
    .collect();
    // Limits the size of a head, which has to fit into one of the existing buffers.
    let room = reactor::buffer_size();
    if new.tune.bufsize.saturating_sub(new.tune.maxrewrite) > room {
        names.push("tune.bufsize");
        new.tune.bufsize = room.saturating_add(new.tune.maxrewrite);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unchangeable_settings_are_named_and_others_apply() {
        let (old, mut new) = (Global::default(), Global::default());
        assert!(keep_fixed(&old, &mut new).is_empty());
        new.chroot = Some("/var/empty".into());
        new.uid = Some(65534);
        new.tune.bufsize = reactor::buffer_size() * 2;
        new.maxconn = Some(7);
        assert_eq!(
            keep_fixed(&old, &mut new),
            ["chroot", "user", "tune.bufsize"]
        );
        assert!(new.tune.bufsize - new.tune.maxrewrite <= reactor::buffer_size());
        assert_eq!(new.maxconn, Some(7));
    }
}
