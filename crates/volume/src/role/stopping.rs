//! Stops the volume role. All volumes stop concurrently, and the role forwards their requests to
//! the cluster until they have stopped. The deadlines below bound the wait.

use super::VolumeRole;
use super::worker::Worker;
use part::role::Manner;
use std::time::{Duration, Instant};

/// Timeout for volumes to stop: slightly longer than the timeout of their requests.
const STOP_MAX: Duration = Duration::from_secs(11);
/// Timeout for volumes to stop if a new process replaces this one; their clients wait until that
/// serves. Slightly longer than the timeout of a volume with two replicas, and shorter than that of
/// the supervisor.
const LEAVE_MAX: Duration = Duration::from_millis(1500);
const STOP_LOOK: Duration = Duration::from_millis(5);

impl VolumeRole {
    /// Stops all volumes. Their requests to the cluster are available from [`VolumeRole::wishes`],
    /// also after they have ended.
    pub fn stop(&mut self, manner: Manner) {
        let leaves = manner == Manner::Leave;
        if self.stops_at.is_none() {
            (self.former_users, self.former_specs) = (self.users(), self.held_specs());
        }
        let workers = std::mem::take(&mut self.workers);
        workers.values().for_each(|worker| worker.stop(leaves));
        self.ending.extend(workers.into_values());
        let limit = if leaves { LEAVE_MAX } else { STOP_MAX };
        self.stops_at = self.stops_at.or(Instant::now().checked_add(limit));
    }

    pub fn has_stopped(&self) -> bool {
        let is_late = self.stops_at.is_some_and(|at| Instant::now() >= at);
        is_late || self.ending.iter().all(Worker::has_ended)
    }
}

impl Drop for VolumeRole {
    fn drop(&mut self) {
        self.stop(Manner::Soft);
        while !self.has_stopped() {
            std::thread::sleep(STOP_LOOK);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::VolumeEnvironment;
    use super::*;
    use crate::config::{RESYNC_RATE, ReplicaPair, Spec, Volumes};
    use crate::device::Backing;
    use crate::device::bed::{create_mail, joined};
    use crate::link::dial::ReplicationLink;
    use lab::{ScratchDirectory, eventually};
    use part::codec;
    use std::io::{ErrorKind, Read, Write};
    use std::os::unix::net::UnixStream;
    use std::path::Path;

    const SOON: Duration = Duration::from_secs(20);
    const SIZE: u64 = 1 << 20;

    /// Returns a configuration with one volume of two replicas.
    fn version(directory: &Path) -> Vec<u8> {
        let pair = ReplicaPair {
            me: "alpha".to_owned(),
            other: "beta".to_owned(),
            cable: ReplicationLink::default(),
            resync_rate: RESYNC_RATE,
        };
        let spec = Spec {
            size_bytes: SIZE,
            backing: Backing::File(directory.to_owned()),
            snapshots: None,
            pair: Some(pair),
            node: None,
            without_majority: Default::default(),
            verify: None,
            read_only: false,
            bind: None,
        };
        codec::encode(&Volumes([("mail".to_owned(), spec)].into(), [].into()))
    }

    /// Creates a role with a volume that neither node owns.
    fn role(scratch: &ScratchDirectory) -> VolumeRole {
        create_mail(scratch.path(), joined(SIZE, 7));
        let confine = |_: &Path, _: &Backing| Ok(());
        let runtime = scratch.path().to_owned();
        let mut role = VolumeRole::new(VolumeEnvironment { runtime, confine }).unwrap();
        role.change(&version(scratch.path())).unwrap();
        assert!(eventually(SOON, || rank(&mut role) == Some(2)));
        role
    }

    /// Returns the rank of the lease that the cluster receives next, if it has changed.
    fn rank(role: &mut VolumeRole) -> Option<u32> {
        let leases = role.wishes().leases?;
        assert_eq!(leases.len(), 1);
        leases.first().map(|(_, rank)| *rank)
    }

    /// Returns a client with a request that waits for an owner of the volume.
    fn waiting(role: &VolumeRole) -> UnixStream {
        let socket = role.workers["mail"].status().socket;
        let mut client = UnixStream::connect(socket).unwrap();
        client.read_exact(&mut [0; 18]).unwrap();
        // NBD flag without zeroes; NBD_OPT_EXPORT_NAME with a name of four letters.
        client
            .write_all(b"\0\0\0\x03IHAVEOPT\0\0\0\x01\0\0\0\x04mail")
            .unwrap();
        client.read_exact(&mut [0; 10]).unwrap();
        let mut flush = [0; 28];
        flush[..8].copy_from_slice(&[0x25, 0x60, 0x95, 0x13, 0, 0, 0, 3]);
        client.write_all(&flush).unwrap();
        let brief = Some(Duration::from_millis(300));
        client.set_read_timeout(brief).unwrap();
        let nothing = client.read(&mut [0; 16]).map_err(|error| error.kind());
        assert_eq!(nothing, Err(ErrorKind::WouldBlock));
        client
    }

    #[test]
    fn a_role_leaves_although_a_request_waits_for_an_owner() {
        let scratch = ScratchDirectory::new().unwrap();
        let mut role = role(&scratch);
        let mut client = waiting(&role);
        role.stop(Manner::Leave);
        let workers = |role: &VolumeRole| role.ending.iter().all(Worker::has_ended);
        assert!(eventually(SOON, || workers(&role)));
        assert!(role.has_stopped());
        // The lease is released, and no reply confirms the request.
        assert_eq!(rank(&mut role), Some(0));
        assert_eq!(client.read(&mut [0; 16]).unwrap(), 0);
    }

    #[test]
    fn a_role_that_stops_goes_on_while_its_requests_wait() {
        let scratch = ScratchDirectory::new().unwrap();
        let mut role = role(&scratch);
        let mut client = waiting(&role);
        role.stop(Manner::Soft);
        let nothing = client.read(&mut [0; 16]).map_err(|error| error.kind());
        assert_eq!(nothing, Err(ErrorKind::WouldBlock));
        assert!(!role.has_stopped());
        drop(client);
        assert!(eventually(SOON, || role.has_stopped()));
        assert_eq!(rank(&mut role), Some(0));
    }
}
