//! Makes the file system (ext4) of a diskless machine's root, with the same bytes for the same
//! files. `mke2fs` reads the directory in the order of names; afterwards this module replaces the
//! times that come from the clock (ctime and atime of inodes), and checks the file system.

use command::build::run::{Runner, program};
use command::stopped::Stopped;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

/// First inode that is not reserved by the file system (ext4, "special inodes").
const FIRST_INODE: u64 = 11;
const ROOT_INODE: u64 = 2;

/// Root file system under construction.
pub(super) struct Root<'a> {
    pub(super) tree: &'a Path,
    /// Path of the image, which does not exist yet.
    pub(super) image: &'a Path,
    pub(super) size: u64,
    /// Timestamp of all files, seconds since 1970.
    pub(super) epoch: u64,
    pub(super) uuid: String,
}

/// Derives a UUID of version 8 (RFC 9562) from these contents.
pub(super) fn uuid(contents: &[&[u8]]) -> String {
    // FNV-1a, twice with different offsets.
    let digest = |begin: u64| {
        let bytes = contents.iter().flat_map(|one| one.iter());
        bytes.fold(begin, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    };
    let (high, low) = (digest(0xcbf2_9ce4_8422_2325), digest(0x6c62_272e_07bb_0142));
    let high = (high & !0xf000) | 0x8000;
    let low = (low & !(0xc0 << 56)) | (0x80 << 56);
    let text = format!("{high:016x}{low:016x}");
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    [
        part(0, 8),
        part(8, 12),
        part(12, 16),
        part(16, 20),
        part(20, 32),
    ]
    .join("-")
}

impl Root<'_> {
    /// Creates the image. `shop` is a directory for a temporary list.
    ///
    /// # Errors
    /// Fails if a program fails, or is interrupted.
    pub(super) fn make(&self, shop: &Path, runner: &Runner) -> Result<(), Stopped> {
        let mut make = self.program("mke2fs");
        let uuid = &self.uuid;
        make.args(["-q", "-F", "-t", "ext4", "-m", "0", "-U", uuid, "-E"]);
        // Inode tables are initialised now, so that no machine has to do that at its first mount.
        make.arg(format!(
            "hash_seed={uuid},nodiscard,lazy_itable_init=0,lazy_journal_init=0"
        ));
        make.arg("-d").arg(self.tree).arg(self.image);
        make.arg(format!("{}k", self.size >> 10));
        runner.run(&mut make)?;
        let mut show = self.program("dumpe2fs");
        let header = runner.run(show.arg("-h").arg(self.image))?;
        let used =
            used(&header).ok_or("dumpe2fs does not say how many inodes are used".to_owned())?;
        let list = shop.join("times");
        let written = fs::write(&list, times(used, self.epoch));
        written.map_err(|error| format!("{}: {error}", list.display()))?;
        let mut change = self.program("debugfs");
        change.arg("-w").arg("-f").arg(&list).arg(self.image);
        runner.run(&mut change)?;
        let mut check = self.program("e2fsck");
        runner.run(check.arg("-fn").arg(self.image)).map(|_| ())
    }

    /// Returns a program of e2fsprogs that runs with a fixed clock.
    fn program(&self, name: &str) -> Command {
        let mut command = program(name);
        command.env("E2FSPROGS_FAKE_TIME", self.epoch.to_string());
        command
    }
}

fn used(header: &str) -> Option<u64> {
    let number = |name: &str| -> Option<u64> {
        let line = header.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().parse().ok()
    };
    number("Inode count:")?.checked_sub(number("Free inodes:")?)
}

/// Returns the commands for `debugfs` that set the times of inodes. A new file system uses its
/// inodes in order.
fn times(used: u64, epoch: u64) -> String {
    let mut text = String::new();
    for inode in [ROOT_INODE].into_iter().chain(FIRST_INODE..=used) {
        for field in ["ctime", "atime"] {
            // Ignores the result: writing to memory cannot fail.
            let _ = writeln!(text, "set_inode_field <{inode}> {field} @{epoch}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab::ScratchDirectory;
    use std::fs::{File, FileTimes, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::time::{Duration, SystemTime};

    const EPOCH: u64 = 1_700_000_000;

    fn tree(
        scratch: &ScratchDirectory,
        name: &str,
        order: impl Iterator<Item = u32>,
    ) -> std::path::PathBuf {
        let tree = scratch.path().join(name);
        fs::create_dir_all(tree.join("etc")).unwrap();
        let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let old = FileTimes::new().set_modified(old);
        for number in order {
            let path = tree.join(format!("etc/{number}"));
            fs::write(&path, format!("{number}\n").repeat(3)).unwrap();
            File::open(&path).unwrap().set_times(old).unwrap();
        }
        fs::set_permissions(tree.join("etc/1"), Permissions::from_mode(0o4755)).unwrap();
        for directory in ["etc", ""] {
            let directory = File::open(tree.join(directory)).unwrap();
            directory.set_times(old).unwrap();
        }
        tree
    }

    #[test]
    fn the_same_files_become_the_same_bytes_in_whatever_order_they_were_made() {
        lab::skip_unless_installed!("mke2fs");
        lab::skip_unless_installed!("debugfs");
        let scratch = ScratchDirectory::new().unwrap();
        let runner = Runner::new().unwrap_or_else(|error| panic!("{error}"));
        let trees = [
            tree(&scratch, "a", 1..200),
            tree(&scratch, "b", (1..200).rev()),
        ];
        let images = trees.map(|tree| {
            let image = tree.with_extension("img");
            let root = Root {
                tree: &tree,
                image: &image,
                size: 16 << 20,
                epoch: EPOCH,
                uuid: uuid(&[b"trixie"]),
            };
            let made = root.make(scratch.path(), &runner);
            made.unwrap_or_else(|error| panic!("{error}"));
            image
        });
        let [one, other] = images.each_ref().map(|image| fs::read(image).unwrap());
        assert!(one == other);
        let mut show = program("debugfs");
        show.args(["-R", "stat etc/1"]).arg(&images[0]);
        let shown = runner.run(&mut show);
        let shown = shown.unwrap_or_else(|error| panic!("{error}"));
        assert!(shown.contains("Mode:  04755"), "{shown}");
        // `debugfs` prints a time as its number of seconds, in hexadecimal.
        for (field, time) in [("ctime", EPOCH), ("atime", EPOCH), ("mtime", 1_000_000)] {
            assert!(
                shown.contains(&format!(" {field}: 0x{time:08x}")),
                "{shown}"
            );
        }
    }

    #[test]
    fn a_uuid_depends_on_all_contents_and_has_its_version() {
        let one = uuid(&[b"trixie", b"a"]);
        assert_ne!(one, uuid(&[b"trixie", b"b"]));
        let parts: Vec<usize> = one.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12], "{one}");
        assert!(
            one.as_bytes()[14] == b'8' && b"89ab".contains(&one.as_bytes()[19]),
            "{one}"
        );
    }

    #[test]
    fn the_inodes_of_the_files_and_the_root_get_their_time() {
        let header = "Filesystem UUID: x\nInode count:              16384\nFree inodes:              16371\n";
        assert_eq!(used(header), Some(13));
        assert_eq!(used("Inode count: 3\n"), None);
        let text = times(12, 5);
        let expected = "set_inode_field <2> ctime @5\nset_inode_field <2> atime @5\nset_inode_field <11> ctime @5\n";
        assert!(
            text.starts_with(expected) && text.ends_with("<12> atime @5\n"),
            "{text}"
        );
    }
}
