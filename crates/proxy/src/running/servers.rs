//! Operators add and remove servers and change limits: the newest configuration
//! is replaced by a copy of it that differs in that. Whatever runs under the
//! older one goes on as it would after any change.

use crate::dynamic::Refused;
use crate::runtime::{Runtime, lock};
use model::config::{Config, ProxyIndex};
use model::{balance, state};
use std::sync::Arc;

/// Living configurations above which no further one is made: long connections may
/// hold each of them.
const VERSIONS_MAX: usize = 4096;

impl Runtime {
    /// Lets a copy of the newest configuration be edited, which becomes the newest. The
    /// edit names the backend whose servers it has changed. To be called on a thread
    /// that may take its time.
    ///
    /// # Errors
    ///
    /// What `edit` says, or that no other configuration can be taken in now; then
    /// nothing has changed.
    pub(crate) fn edit(
        &self,
        edit: impl FnOnce(&mut Config) -> Result<Option<ProxyIndex>, Refused>,
    ) -> Result<(), Refused> {
        let _one = lock(&self.changing);
        if self.stopping() {
            return Err(Refused("The process is stopping.\n".into()));
        }
        self.forget_unused();
        if self.versions().len() >= VERSIONS_MAX {
            let why = "Too many configurations still have connections, try again later.\n";
            return Err(Refused(why.into()));
        }
        let (old, listening) = self.newest();
        let mut config = old.successor();
        let backend = edit(&mut config)?;
        let outdated = model::control::succeed(&mut config, &old, backend, state::now_ms());
        balance::prepare(&config, Some(&old));
        outdated.close_ways();
        {
            let _held = self.hold_lists();
            self.publish(Arc::new(config), listening);
        }
        outdated.end(state::now_ms());
        state::revision::advance();
        self.edited.notify_one();
        Ok(())
    }
}
