//! Runs a storage system: an iSCSI target in user space (tgt) with one unit, from which guests can
//! boot. The boot program counts its starts and clock ticks on the unit, so a test sees that a
//! guest runs, how often it was started, and what it wrote.

use crate::peer::Peer;
use namespace::{LabError, Location, ScratchDirectory};
use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const NAME: &str = "iqn.2001-04.com.example:mail";
/// Offset of the counters in bytes.
const COUNTED_AT: u64 = 512;

/// Boot sector for a PC. At the start, the code reads sector 1 and adds one to its second word. At
/// each tick of the clock, the code adds one to the first word and writes the sector.
const COUNTS: &[u8] = &[
    0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, 0xbc, 0x00, 0x7c, 0xfb, // its registers
    0xb8, 0x01, 0x02, 0xbb, 0x00, 0x80, 0xb9, 0x02, 0x00, 0xba, 0x80, 0x00, 0xcd,
    0x13, // reads
    0xff, 0x06, 0x02, 0x80, // starts
    0xff, 0x06, 0x00, 0x80, // ticks
    0xb8, 0x01, 0x03, 0xbb, 0x00, 0x80, 0xb9, 0x02, 0x00, 0xba, 0x80, 0x00, 0xcd,
    0x13, // writes
    0xf4, 0xeb, 0xeb, // waits, and again
];

/// An iSCSI target, which is killed when it is dropped.
#[derive(Debug)]
pub struct IscsiTarget {
    target: Peer,
    scratch: ScratchDirectory,
}

impl IscsiTarget {
    /// Size in bytes of the target's only logical unit, which has number 1.
    pub const BYTES: u64 = 4 << 20;

    /// Starts a target at this address. With `login`, initiators need this user and this password
    /// (CHAP).
    pub fn start(
        place: impl Into<Location>,
        address: SocketAddr,
        login: Option<[&str; 2]>,
    ) -> Result<IscsiTarget, LabError> {
        let scratch = ScratchDirectory::new()?;
        let image = scratch.write(
            "image",
            [COUNTS, &[0; 512][COUNTS.len()..510], &[0x55, 0xaa]].concat(),
        )?;
        File::options()
            .write(true)
            .open(&image)
            .and_then(|file| file.set_len(IscsiTarget::BYTES))
            .map_err(LabError::io("write", image.display()))?;
        let portal = format!("portal={address}");
        let arguments = ["TGT_IPC_SOCKET={dir}/ipc", "tgtd", "-f", "--iscsi", &portal];
        let target = Peer::start(place, "env", &arguments, "", address)?;
        let target = IscsiTarget { target, scratch };
        target.run_tgtadm("--mode target --op new --tid 1 -T", NAME)?;
        let unit = "--mode logicalunit --op new --tid 1 --lun 1 -b";
        target.run_tgtadm(unit, &image.display().to_string())?;
        if let Some([user, password]) = login {
            let new = format!("--mode account --op new --user {user} --password");
            target.run_tgtadm(&new, password)?;
            target.run_tgtadm("--mode account --op bind --tid 1 --user", user)?;
        }
        target.run_tgtadm("--mode target --op bind --tid 1 -I", "ALL")?;
        Ok(target)
    }

    fn run_tgtadm(&self, words: &str, last: &str) -> Result<(), LabError> {
        let mut command = Command::new("tgtadm");
        command.env("TGT_IPC_SOCKET", self.target.directory().join("ipc"));
        command.args(["--lld", "iscsi"]);
        command.args(words.split(' ')).arg(last);
        let done = command.output().map_err(LabError::io("run", "tgtadm"))?;
        if done.status.success() {
            Ok(())
        } else {
            let why = String::from_utf8_lossy(&done.stderr).into_owned();
            Err(LabError::io("run", "tgtadm")(std::io::Error::other(why)))
        }
    }

    /// Returns the name of the target.
    pub fn name(&self) -> &'static str {
        NAME
    }

    pub fn address(&self) -> SocketAddr {
        self.target.address()
    }

    /// Returns a directory for files of the test.
    pub fn directory(&self) -> &Path {
        self.scratch.path()
    }

    fn image(&self) -> PathBuf {
        self.scratch.path().join("image")
    }

    /// Returns the counted clock ticks and the counted starts of guests; zeroes if the unit cannot
    /// be read.
    pub fn guest_counters(&self) -> [u16; 2] {
        let mut bytes = [0; 4];
        let read =
            File::open(self.image()).and_then(|image| image.read_exact_at(&mut bytes, COUNTED_AT));
        let [a, b, c, d] = bytes;
        match read {
            Ok(()) => [[a, b], [c, d]].map(u16::from_le_bytes),
            Err(_) => [0; 2],
        }
    }
}
