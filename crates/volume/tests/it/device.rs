//! Tests that replicas are created, opened and refused, in directories and on loop devices.

use crate::disk::DiskFixture;
use lab::{ScratchDirectory, skip_unless_root};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use volume::device::{self, Backing, Device, DeviceError, Signature};
use volume::disk::{Failure, Operation, OperationOutput, Preference};
use volume::layout::{LayoutError, Superblock, SyncState, VolumeId};

const SIZE: u64 = 64 << 20;
const ID: VolumeId = VolumeId([3; 16]);

fn head(size_bytes: u64) -> Superblock {
    Superblock {
        volume: Some(ID),
        size_bytes,
        data_offset: 0,
        promised: 0,
        incarnation: 1,
        state: SyncState::Joined(1),
        unflushed: None,
        hot: Vec::new(),
        identity: None,
        overwrite: None,
    }
}

fn create(backing: &Backing, size: u64, overwrites: bool) -> Result<Device, DeviceError> {
    let created = device::create(backing, "mail", head(size), overwrites, &mut |_| {});
    created.map(|(device, _)| device)
}

fn open(backing: &Backing) -> Result<Device, DeviceError> {
    device::open(backing, "mail", Some(ID)).map(|(device, _, loaded)| {
        assert_eq!((loaded.head.volume, loaded.damaged_pages), (Some(ID), 0));
        device
    })
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_file_is_created_sparse_opened_and_locked() {
    use std::os::unix::fs::MetadataExt;
    let scratch = ScratchDirectory::new().unwrap();
    let backing = Backing::File(scratch.path().to_path_buf());
    let path = scratch.path().join("mail.volume");
    assert_eq!(
        open(&backing).unwrap_err(),
        DeviceError::Missing(path.clone())
    );
    let device = create(&backing, SIZE, false).unwrap();
    assert!(device.sector_bytes == 512 || device.sector_bytes == 4096);
    let stat = path.metadata().unwrap();
    assert_eq!((stat.len(), stat.blocks()), (SIZE, 0));
    assert_eq!(
        open(&backing).unwrap_err(),
        DeviceError::InUse(path.clone())
    );
    drop(device);
    drop(open(&backing).unwrap());
    let exists = create(&backing, SIZE, true).unwrap_err();
    assert_eq!(exists, DeviceError::Exists(path.clone()));
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(SIZE - 4096)
        .unwrap();
    let (has, needs) = (SIZE - 4096, SIZE);
    assert_eq!(
        open(&backing).unwrap_err(),
        DeviceError::Shrunk { path, has, needs }
    );
}

/// The role polls for a replica, and may have the files open just after their creation.
#[test]
fn a_copy_is_created_during_concurrent_lookups() {
    const ROUNDS: usize = 400;
    let scratch = ScratchDirectory::new().unwrap();
    let backing = Backing::File(scratch.path().to_path_buf());
    let ends = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ends.load(Ordering::Relaxed) {
                for file in ["mail.volume", "mail.metadata"] {
                    let path = scratch.path().join(file);
                    let opened = File::options().read(true).write(true).open(path);
                    // The lock is held until the end of this statement.
                    let _ = opened.map(|file| file.try_lock());
                }
            }
        });
        let created: Result<Vec<()>, DeviceError> = std::iter::repeat_with(|| {
            let device = create(&backing, SIZE, false)?;
            device::remove(device, &backing, "mail")
        })
        .take(ROUNDS)
        .collect();
        ends.store(true, Ordering::Relaxed);
        assert_eq!(created.map(|rounds| rounds.len()), Ok(ROUNDS));
    });
}

#[test]
fn files_that_are_refused_leave_nothing_behind() {
    let scratch = ScratchDirectory::new().unwrap();
    let directory = scratch.path().join("volumes");
    fs::create_dir(&directory).unwrap();
    let backing = Backing::File(directory.clone());
    for size in [0, 4095, 5000] {
        let refused = create(&backing, size, false).unwrap_err();
        let source = LayoutError::Size(size);
        assert_eq!(
            refused,
            DeviceError::Layout {
                path: directory.clone(),
                source
            }
        );
    }
    let refused = create(&backing, 15 << 40, false).unwrap_err();
    assert!(matches!(refused, DeviceError::TooSmall { .. }), "{refused}");
    for name in ["", "..", "a/b", ".hidden", "a\nb"] {
        let refused = device::create(&backing, name, head(SIZE), false, &mut |_| {});
        assert_eq!(refused.unwrap_err(), DeviceError::Name(name.to_owned()));
    }
    // Metadata without data, whose owner is unknown.
    let metadata = directory.join("mail.metadata");
    fs::write(&metadata, "x").unwrap();
    let refused = create(&backing, SIZE, false).unwrap_err();
    assert_eq!(refused, DeviceError::Exists(metadata.clone()));
    assert_eq!(files(&directory), [metadata]);
}

#[test]
fn symlinks_and_special_files_are_refused() {
    use std::os::unix::fs::symlink;
    let scratch = ScratchDirectory::new().unwrap();
    let (real, link) = (scratch.path().join("real"), scratch.path().join("link"));
    fs::create_dir(&real).unwrap();
    symlink(&real, &link).unwrap();
    let refused = create(&Backing::File(link.clone()), SIZE, false).unwrap_err();
    assert_eq!(refused, DeviceError::Symlink(link.clone()));
    let backing = Backing::File(real.clone());
    drop(create(&backing, SIZE, false).unwrap());
    fs::rename(real.join("mail.volume"), real.join("other")).unwrap();
    symlink(real.join("other"), real.join("mail.volume")).unwrap();
    let refused = open(&backing).unwrap_err();
    assert_eq!(refused, DeviceError::Symlink(real.join("mail.volume")));
    fs::remove_file(real.join("mail.volume")).unwrap();
    fs::create_dir(real.join("mail.volume")).unwrap();
    assert!(matches!(
        open(&backing).unwrap_err(),
        DeviceError::Io { .. }
    ));
    let file = real.join("other");
    let refused = create(&Backing::Device(file.clone()), SIZE, true).unwrap_err();
    let expected = "block device";
    assert_eq!(
        refused,
        DeviceError::Kind {
            path: file,
            expected
        }
    );
    let refused = create(&Backing::Device(link.clone()), SIZE, true).unwrap_err();
    assert_eq!(refused, DeviceError::Symlink(link));
}

#[test]
fn damaged_and_foreign_metadata_is_refused_with_a_message() {
    let scratch = ScratchDirectory::new().unwrap();
    let backing = Backing::File(scratch.path().to_path_buf());
    drop(create(&backing, SIZE, false).unwrap());
    let path = scratch.path().join("mail.metadata");
    let whole = fs::read(&path).unwrap();
    let other = device::open(&backing, "mail", Some(VolumeId([9; 16]))).unwrap_err();
    let words = "the metadata is of another volume (03030303030303030303030303030303, expected 09";
    assert!(other.to_string().contains(words), "{other}");
    for (bytes, words) in [
        (&[][..], "is empty (0 bytes)"),
        (&whole[..100], "truncated"),
        (&whole[..65_536], "truncated: 65536 bytes, at least 69632"),
        (&vec![0; whole.len()], "no metadata of a volume"),
    ] {
        fs::write(&path, bytes).unwrap();
        let refused = open(&backing).unwrap_err().to_string();
        assert!(refused.contains(words), "{refused}");
    }
}

/// Loop device, which is detached when dropped.
struct Loop {
    path: PathBuf,
    file: PathBuf,
    _scratch: ScratchDirectory,
}

impl Loop {
    fn new(size: u64) -> Loop {
        let scratch = ScratchDirectory::new().unwrap();
        let file = scratch.write("disk", []).unwrap();
        File::options()
            .write(true)
            .open(&file)
            .unwrap()
            .set_len(size)
            .unwrap();
        let args = ["--find", "--show", file.to_str().unwrap()];
        let output = Command::new("losetup").args(args).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let path = String::from_utf8(output.stdout).unwrap().trim().into();
        Loop {
            path,
            file,
            _scratch: scratch,
        }
    }

    fn backing(&self) -> Backing {
        Backing::Device(self.path.clone())
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup")
            .arg("--detach")
            .arg(&self.path)
            .status();
    }
}

#[test]
fn a_device_is_overwritten_only_if_asked_and_then_it_is_all_zeroes() {
    skip_unless_root!();
    let device = Loop::new(SIZE + (4 << 20));
    let backing = device.backing();
    let disk = File::options()
        .read(true)
        .write(true)
        .open(&device.path)
        .unwrap();
    disk.write_all_at(&[0x53, 0xef], 1080).unwrap();
    disk.write_all_at(b"secret", 20 << 20).unwrap();
    disk.sync_all().unwrap();
    let found = vec![Signature::Known("an ext2, ext3 or ext4 file system")];
    let path = device.path.clone();
    let before = fs::read(&device.file).unwrap();
    let refused = create(&backing, SIZE, false).unwrap_err();
    let words = "is not empty: it holds an ext2, ext3 or ext4 file system. Nothing was written";
    assert!(refused.to_string().contains(words), "{refused}");
    assert_eq!(refused, DeviceError::NotEmpty { path, found });
    let too_large = create(&backing, SIZE + (4 << 20), true).unwrap_err();
    assert!(
        matches!(too_large, DeviceError::TooSmall { .. }),
        "{too_large}"
    );
    assert!(
        fs::read(&device.file).unwrap() == before,
        "nothing was written"
    );

    let created = create(&backing, SIZE, true).unwrap();
    assert!(created.data.first >= 1 << 20 && created.data.is_device);
    assert_eq!(
        open(&backing).unwrap_err(),
        DeviceError::InUse(device.path.clone())
    );
    drop(created);
    let opened = open(&backing).unwrap();
    let mut bytes = vec![1; 6];
    disk.read_exact_at(&mut bytes, 20 << 20).unwrap();
    assert_eq!(bytes, [0; 6]);
    drop(opened);
    // A device of another volume of Evenkeel is not overwritten either.
    let refused = create(&backing, SIZE, false).unwrap_err().to_string();
    assert!(refused.contains("a volume of Evenkeel"), "{refused}");
}

#[test]
fn operations_on_a_device_begin_behind_its_metadata() {
    skip_unless_root!();
    let device = Loop::new(SIZE + (4 << 20));
    let backing = device.backing();
    drop(create(&backing, SIZE, false).unwrap());
    for prefers in [Preference::Best, Preference::Threads] {
        let opened = open(&backing).unwrap();
        let mut bench = DiskFixture::on(&opened.data, prefers);
        bench.write(0, 131_072, 4, true);
        bench.write(SIZE - 4096, 4096, 5, false);
        for (offset, allocate, fast) in [(0, false, false), (4096, true, false)] {
            let length = 4096;
            let zero = Operation::Zero {
                offset,
                length,
                allocate,
                fast,
            };
            assert!(matches!(bench.one(zero), Ok(OperationOutput::Done)));
        }
        let fast = Operation::Zero {
            offset: 8192,
            length: 4096,
            allocate: true,
            fast: true,
        };
        assert!(matches!(bench.one(fast), Err(Failure::NotFast)));
        let (offset, length) = (65_536, 4096);
        let discard = bench.one(Operation::Discard { offset, length });
        assert!(matches!(discard, Ok(OperationOutput::Done)));
        let (offset, length) = (0, SIZE);
        let extents = bench.one(Operation::Extents { offset, length });
        assert!(matches!(extents, Ok(OperationOutput::Extents(found)) if found.len() == 1));
        let start = bench.read(0, 65_536);
        assert!(start[..8192].iter().all(|byte| *byte == 0));
        assert!(start[8192..].iter().all(|byte| *byte == 4));
        assert!(bench.read(SIZE - 4096, 4096) == [5; 4096]);
        assert!(matches!(
            bench.one(Operation::Flush),
            Ok(OperationOutput::Done)
        ));
        drop(bench);
        drop(opened);
    }
    // The metadata is still valid.
    drop(open(&backing).unwrap());
}
