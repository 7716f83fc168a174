//! Rolls back a first version that was a candidate: there is no previous version, so nothing is
//! served afterwards. Also decides on any candidate after the control role, which should decide,
//! has died.

use crate::state::Supervisor;
use rustix::io::Errno;
use std::os::fd::AsFd;
use std::time::Instant;

const COMPARED_BYTES: usize = 64 << 10;
/// Request number for an internal action without a response.
const NOBODY: u64 = 0;

impl Supervisor {
    pub(super) fn serve_nothing(&mut self) {
        if !self.cluster.end_first(Instant::now()) {
            return;
        }
        self.give_parts_up();
        self.end_service();
        self.voice
            .warning("the first version was not accepted: nothing is served");
        self.wait_for_version();
    }

    /// Decides on a candidate after the control role has died. A candidate that the control role
    /// had written to disk is accepted; any other one is rolled back, as the next control role
    /// would do.
    pub(super) fn settle_trial(&mut self) {
        let (Some(set), Some(start)) = (self.cluster.undecided_set(), &self.cluster.start) else {
            return;
        };
        let on_disk = (self.slots.controller().read_accepted)(&start.directory);
        if on_disk.is_ok_and(|on_disk| same(set, on_disk.file) == Ok(true)) {
            self.accept_trial(NOBODY)
        } else {
            self.begin_rollback()
        }
    }
}

fn same(one: &impl AsFd, other: impl AsFd) -> Result<bool, Errno> {
    let (mut ours, mut theirs) = (vec![0; COMPARED_BYTES], vec![0; COMPARED_BYTES]);
    let mut at = 0;
    loop {
        let (read, also) = (
            rustix::io::pread(one, &mut ours[..], at)?,
            rustix::io::pread(&other, &mut theirs[..], at)?,
        );
        // Files of different lengths differ: a read of a memory file is short only at its end.
        if read != also || ours.get(..read) != theirs.get(..also) {
            return Ok(false);
        }
        if read == 0 {
            return Ok(true);
        }
        at += read as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use part::memory;

    #[test]
    fn files_that_differ_anywhere_are_not_identical() {
        let file = |bytes: &[u8]| memory::create("test", bytes).unwrap();
        let long = vec![7; COMPARED_BYTES + 10];
        let mut other = long.clone();
        assert_eq!(same(&file(&long), file(&other)), Ok(true));
        other.pop();
        assert_eq!(same(&file(&long), file(&other)), Ok(false));
        other.push(8);
        assert_eq!(same(&file(&long), file(&other)), Ok(false));
        assert_eq!(same(&file(b""), file(b"")), Ok(true));
    }
}
