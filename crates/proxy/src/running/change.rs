//! Puts another configuration into the running data plane. What is costly
//! happens here, on the caller's thread; then the threads are told and go over
//! by themselves, a little in each turn (see [`crate::worker`]). Nothing that
//! exists is closed, and a change that fails has changed nothing.

use super::{Running, ServeOptions};
use crate::dynamic;
use crate::listener::{self, Listening, Open};
use crate::runtime::lock;
use crate::tls_orders;
use model::config::{Config, Global};
use model::{balance, state};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What a change did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Changed {
    /// The number of the configuration that serves now.
    pub version: u64,
    /// Settings that are others in the new file, and which a process that runs
    /// cannot take over: they are as they were until it is started again.
    pub not_changed: Vec<&'static str>,
    /// What operators changed in lists, maps and TLS files, and what becomes of that.
    pub runtime_changes: Vec<String>,
}

impl Running {
    /// Serves by this configuration from now on. `listening` are its listeners;
    /// one that is open already (the same inode) goes on as it is, and the
    /// descriptor given here is closed. To be called on a thread that may take
    /// its time.
    ///
    /// `ResourceBusy`: the process is stopping. Any other error is that of a
    /// thread that could not be started. In both cases all is as it was.
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
        // From now on no connection to them is kept, and when the threads look
        // through what they kept, none is left.
        outdated.close_ways();
        let config = Arc::new(config);
        model::rules::set_up_process(&config);
        // While the process leaves its listeners to another one, that one decides.
        if !runtime.ending.elsewhere.load(Ordering::Relaxed) {
            listener::apply_frontend_states(&config, &listening);
        }
        listener::note_unopened(&config, &listening);
        let listening = Arc::new(Open::following(listening, &runtime.listening()));
        tls::resume::set_limits(&config.global.tls);
        reactor::set_pipes_max(config.global.pipes_max.unwrap_or(reactor::PIPES_MAX));
        runtime.set_connections_max(options.connections_max);
        runtime.threads.store(threads, Ordering::Relaxed);
        {
            let _held = runtime.hold_lists();
            // What an operator changed since they were taken over above.
            config.lists.adopt(&old.lists);
            runtime.publish(Arc::clone(&config), listening);
        }
        // Each stream of the older configuration is notified; these are few by now.
        outdated.end(state::now_ms());
        dynamic::log_lost(&config, &lost);
        Ok(Changed {
            version: config.version,
            not_changed,
            runtime_changes,
        })
    }

    /// The configurations that are alive, the newest last.
    pub fn versions(&self) -> Vec<crate::runtime::VersionReport> {
        self.runtime.versions()
    }

    /// Frees the configurations that nobody holds any more, on this thread.
    /// Says how many they were.
    pub fn forget_unused(&self) -> usize {
        self.runtime.forget_unused()
    }
}

/// Names what differs and cannot change while the process runs; what the data
/// plane itself goes by stays as it was.
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
    // Buffers that are in use have their size: a head has to fit into one.
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
    fn what_cannot_change_is_named_and_the_rest_goes_in() {
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
