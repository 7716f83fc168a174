//! Recognises disks that are not raw by their first bytes: QEMU's image formats, compressed files,
//! and disks of Evenkeel. They are refused, because a guest cannot use a raw copy of such a disk.

use crate::layout::{MAGIC, SLOT_BYTES};
use std::fmt;

pub(super) const HEAD_BYTES: usize = 64 << 10;
/// Number of slots at the start of a disk in which metadata of Evenkeel may begin.
const SLOTS: usize = 8;

/// Format that is not a raw disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Image {
    /// QEMU format, with its name in `qemu-img`.
    Qemu(&'static str),
    /// Compressed file, with the name of the command that decompresses it.
    Compressed(&'static str),
    Volume,
}

const SIGNATURES: [(usize, &[u8], Image); 12] = [
    (0, b"QFI\xfb", Image::Qemu("qcow2")),
    (0, b"QED\0", Image::Qemu("qed")),
    (0, b"KDMV", Image::Qemu("vmdk")),
    (0, b"COWD", Image::Qemu("vmdk")),
    (0, b"# Disk DescriptorFile", Image::Qemu("vmdk")),
    (64, b"\x7f\x10\xda\xbe", Image::Qemu("vdi")),
    (0, b"conectix", Image::Qemu("vpc")),
    (0, b"vhdxfile", Image::Qemu("vhdx")),
    (0, b"WithoutFreeSpace", Image::Qemu("parallels")),
    (0, b"\x1f\x8b\x08", Image::Compressed("gzip")),
    (0, b"\xfd7zXZ\0", Image::Compressed("xz")),
    (0, b"\x28\xb5\x2f\xfd", Image::Compressed("zstd")),
];

/// Returns the format of a disk from `head`, its first 64 KiB. `None` for a raw disk.
pub fn recognise(head: &[u8]) -> Option<Image> {
    let meets = |(at, bytes, _): &&(usize, &[u8], Image)| {
        head.get(*at..).is_some_and(|rest| rest.starts_with(bytes))
    };
    let found = SIGNATURES.iter().find(meets).map(|(_, _, image)| *image);
    let mut slots = head.chunks(SLOT_BYTES).take(SLOTS);
    let is_volume = slots.any(|slot| slot.starts_with(&MAGIC));
    found.or(is_volume.then_some(Image::Volume))
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Image::Qemu(format) => write!(f, "a {format} image"),
            Image::Compressed(program) => write!(f, "compressed by {program}"),
            Image::Volume => f.write_str("a volume of Evenkeel with its metadata"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_recognised_and_disks_are_not() {
        let disk = vec![0_u8; HEAD_BYTES];
        assert_eq!(recognise(&disk), None);
        let mut vdi = disk.clone();
        vdi[..8].copy_from_slice(b"<<< QEMU");
        vdi[64..68].copy_from_slice(&0xbeda_107f_u32.to_le_bytes());
        assert_eq!(recognise(&vdi), Some(Image::Qemu("vdi")));
        assert_eq!(recognise(b"QFI\xfb\0\0\0\x03"), Some(Image::Qemu("qcow2")));
        // Master boot record.
        let mut boot = disk;
        boot[..2].copy_from_slice(&[0xeb, 0x63]);
        boot[510..512].copy_from_slice(&[0x55, 0xaa]);
        assert_eq!(recognise(&boot), None);
        assert_eq!(recognise(&[]), None);
        let mut volume = vec![0; HEAD_BYTES];
        volume[3 * SLOT_BYTES..3 * SLOT_BYTES + 8].copy_from_slice(&MAGIC);
        assert_eq!(recognise(&volume), Some(Image::Volume));
        assert_eq!(recognise(&volume[..512]), None);
    }
}
