//! Changes servers and limits at run time: replaces the newest configuration by an edited copy.
//! Streams under the older configuration continue as after any other change.

use crate::dynamic::OrderRefusal;
use crate::runtime::{Runtime, lock};
use model::config::{Config, ProxyIndex};
use model::{balance, state};
use std::sync::Arc;

/// Number of configurations in use from which on further edits are refused. A long connection may
/// keep its configuration in use.
const VERSIONS_MAX: usize = 4096;

impl Runtime {
    /// Edits a copy of the newest configuration and installs it. `edit` returns the backend whose
    /// servers it has changed. Must be called on a thread that may block.
    ///
    /// # Errors
    ///
    /// The error of `edit`, or that no other configuration can be installed now. Nothing has
    /// changed then.
    pub(crate) fn edit(
        &self,
        edit: impl FnOnce(&mut Config) -> Result<Option<ProxyIndex>, OrderRefusal>,
    ) -> Result<(), OrderRefusal> {
        let _one = lock(&self.changing);
        if self.stopping() {
            return Err(OrderRefusal("The process is stopping.\n".into()));
        }
        self.forget_unused();
        if self.versions().len() >= VERSIONS_MAX {
            let why = "Too many configurations still have connections, try again later.\n";
            return Err(OrderRefusal(why.into()));
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
