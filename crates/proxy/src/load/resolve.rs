//! The end of loading: names to indexes, ids, and checks of the whole.

use super::Loader;

impl Loader {
    /// Checks and resolves the whole draft.
    pub(super) fn finish(&mut self) {
        self.check_lookups();
    }
}
