//! Recognises foreign content on a disk, such as a file system, so that no command overwrites it by
//! accident.

use std::fmt;

/// Length of the start of a disk that is searched for signatures, bytes.
pub const HEAD_BYTES: usize = 256 << 10;
/// Length of the end of a disk that is searched, bytes.
pub const TAIL_BYTES: usize = 192 << 10;

/// Content found on a disk.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Signature {
    Known(&'static str),
    Unknown,
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Signature::Known(name) => f.write_str(name),
            Signature::Unknown => f.write_str("data of an unknown kind"),
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum SignaturePosition {
    Start(usize),
    End(usize),
    /// The last multiple of the first number within the disk, minus the second number, bytes.
    EndAligned(u64, usize),
    /// Several offsets from the start: first, step, count.
    Steps(usize, usize, usize),
}

use SignaturePosition::{End, EndAligned, Start, Steps};

const VOLUME: &str = "a volume of Evenkeel";
const EXT: &str = "an ext2, ext3 or ext4 file system";
const GPT: &str = "a partition table (GPT)";
const MD: &str = "a member of a Linux software RAID (md)";
const LUKS: &str = "an encrypted device (LUKS)";
const SWAP: &str = "swap space";
const LVM: &str = "an LVM2 physical volume";
const DRBD: &str = "metadata of DRBD";
const ZFS: &str = "a member of a ZFS pool";
const FAT: &str = "a FAT file system";

/// Signatures from the format specifications and the tables of libblkid.
const TABLE: &[(&str, SignaturePosition, &[u8])] = &[
    (VOLUME, Steps(0, 8192, 8), b"EVENKEEL"),
    (EXT, Start(1080), &[0x53, 0xef]),
    ("an XFS file system", Start(0), b"XFSB"),
    ("a Btrfs file system", Start(65_600), b"_BHRfS_M"),
    (LVM, Steps(0, 512, 4), b"LABELONE"),
    (LVM, Steps(24, 512, 4), b"LVM2 001"),
    (MD, Start(0), &[0xfc, 0x4e, 0x2b, 0xa9]),
    (MD, Start(4096), &[0xfc, 0x4e, 0x2b, 0xa9]),
    (MD, EndAligned(4096, 8192), &[0xfc, 0x4e, 0x2b, 0xa9]),
    (MD, EndAligned(65_536, 65_536), &[0xfc, 0x4e, 0x2b, 0xa9]),
    (GPT, Start(512), b"EFI PART"),
    (GPT, Start(4096), b"EFI PART"),
    (GPT, End(512), b"EFI PART"),
    (GPT, End(4096), b"EFI PART"),
    ("an NTFS file system", Start(3), b"NTFS    "),
    ("an exFAT file system", Start(3), b"EXFAT   "),
    ("an encrypted device (BitLocker)", Start(3), b"-FVE-FS-"),
    (FAT, Start(54), b"FAT12   "),
    (FAT, Start(54), b"FAT16   "),
    (FAT, Start(82), b"FAT32   "),
    (LUKS, Start(0), b"LUKS\xba\xbe"),
    (LUKS, Start(16_384), b"SKUL\xba\xbe"),
    (LUKS, Start(32_768), b"SKUL\xba\xbe"),
    (SWAP, Start(4086), b"SWAPSPACE2"),
    (SWAP, Start(8182), b"SWAPSPACE2"),
    (SWAP, Start(16_374), b"SWAPSPACE2"),
    (SWAP, Start(65_526), b"SWAPSPACE2"),
    (SWAP, Start(4086), b"SWAP-SPACE"),
    ("a qcow2 image", Start(0), b"QFI\xfb"),
    ("a VMDK image", Start(0), b"KDMV"),
    ("a VHDX image", Start(0), b"vhdxfile"),
    ("a VDI image", Start(64), &[0x7f, 0x10, 0xda, 0xbe]),
    (DRBD, EndAligned(4096, 4036), &[0x83, 0x74, 0x02, 0x6b]),
    (DRBD, EndAligned(4096, 4036), &[0x83, 0x74, 0x02, 0x6d]),
    (
        ZFS,
        Steps(131_072, 1024, 128),
        &[0x0c, 0xb1, 0xba, 0, 0, 0, 0, 0],
    ),
    (
        ZFS,
        Steps(131_072, 1024, 128),
        &[0, 0, 0, 0, 0, 0xba, 0xb1, 0x0c],
    ),
    (
        "a Ceph BlueStore device",
        Start(0),
        b"bluestore block device",
    ),
    (
        "a bcache device",
        Start(4120),
        &[
            0xc6, 0x85, 0x73, 0xf6, 0x4e, 0x1a, 0x45, 0xca, 0x82, 0x65, 0xf5, 0x7f, 0x48, 0xba,
            0x6d, 0x81,
        ],
    ),
    (
        "an F2FS file system",
        Start(1024),
        &[0x10, 0x20, 0xf5, 0xf2],
    ),
    (
        "an EROFS file system",
        Start(1024),
        &[0xe2, 0xe1, 0xf5, 0xe0],
    ),
    ("a SquashFS file system", Start(0), b"hsqs"),
    ("an ISO 9660 image", Start(32_769), b"CD001"),
    ("a UDF file system", Start(32_769), b"BEA01"),
    ("a JFS file system", Start(32_768), b"JFS1"),
    ("a ReiserFS file system", Start(65_588), b"ReIsEr"),
    ("a Linux hibernation image", Start(4086), b"S1SUSPEND"),
    // Stands last in the table, because many of the formats above also have a boot sector.
    (
        "a boot sector or partition table (MBR)",
        Start(510),
        &[0x55, 0xaa],
    ),
];

/// Searches for signatures. `head` and `tail` are the first [`HEAD_BYTES`] and the last
/// [`TAIL_BYTES`] of a disk of `size_bytes`, or all of it if it is shorter. Returns each format
/// once, and [`Signature::Unknown`] only without another one.
pub fn find(head: &[u8], tail: &[u8], size_bytes: u64) -> Vec<Signature> {
    let mut found = Vec::new();
    for (name, place, bytes) in TABLE {
        let signature = Signature::Known(name);
        if is_there(*place, bytes, head, tail, size_bytes) && !found.contains(&signature) {
            found.push(signature);
        }
    }
    let is_zero = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
    if found.is_empty() && !(is_zero(head) && is_zero(tail)) {
        found.push(Signature::Unknown);
    }
    found
}

fn is_there(place: SignaturePosition, bytes: &[u8], head: &[u8], tail: &[u8], size: u64) -> bool {
    let at = |area: &[u8], at: usize| area.get(at..).is_some_and(|rest| rest.starts_with(bytes));
    let from_end = |before: u64| match usize::try_from(before) {
        Ok(before) => tail
            .len()
            .checked_sub(before)
            .is_some_and(|place| at(tail, place)),
        Err(_) => false,
    };
    match place {
        Start(place) => at(head, place),
        Steps(first, step, count) => (0..count).any(|number| at(head, first + number * step)),
        End(before) => from_end(before as u64),
        EndAligned(align, before) => {
            let end = size - size % align;
            from_end(size - end + before as u64)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = (8 << 20) + 3 * 512;

    fn disk() -> Vec<u8> {
        vec![0; SIZE as usize]
    }

    fn look(disk: &[u8]) -> Vec<Signature> {
        let tail = &disk[disk.len() - TAIL_BYTES.min(disk.len())..];
        let head = &disk[..HEAD_BYTES.min(disk.len())];
        find(head, tail, disk.len() as u64)
    }

    #[test]
    fn every_signature_is_found_at_its_offset() {
        for (name, place, bytes) in TABLE {
            let at = match *place {
                Start(at) | Steps(at, ..) => at,
                End(before) => SIZE as usize - before,
                EndAligned(align, before) => (SIZE - SIZE % align) as usize - before,
            };
            let mut disk = disk();
            disk[at..at + bytes.len()].copy_from_slice(bytes);
            assert_eq!(look(&disk), [Signature::Known(name)], "{name} at {at}");
            disk[at] ^= 1;
            assert_eq!(look(&disk), [Signature::Unknown], "{name}");
        }
    }

    #[test]
    fn zeroes_and_short_disks_have_no_signature() {
        assert_eq!(look(&disk()), []);
        for length in [0, 1, 511, 512, 1081, 4096, 70_000] {
            assert_eq!(look(&vec![0; length]), []);
            if length > 0 {
                assert_eq!(look(&vec![1; length]), [Signature::Unknown]);
            }
        }
    }

    #[test]
    fn signatures_of_mkfs_and_others_are_named() {
        let mut disk = disk();
        disk[510..512].copy_from_slice(&[0x55, 0xaa]);
        disk[512..520].copy_from_slice(b"EFI PART");
        let words: Vec<String> = look(&disk).iter().map(ToString::to_string).collect();
        let expected = [
            "a partition table (GPT)",
            "a boot sector or partition table (MBR)",
        ];
        assert_eq!(words, expected);
    }
}
