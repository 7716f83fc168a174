//! Makes a disk bootable by a BIOS: creates a partition table (MBR), the start of the disk with
//! GRUB between the table and the first partition, and GRUB's menu. GRUB's own installer needs a
//! block device and a loop device for each partition. `grub-mkimage` needs neither, so only its two
//! images have to be placed:
//!
//! - `boot.img` is the code of the first sector (440 bytes). It loads sector 1.
//! - `core.img` begins at sector 1, and knows its own length.
//!
//! Follows the GRUB manual, "BIOS installation" and "Images".

use std::fmt::Write;

pub const SECTOR_BYTES: u64 = 512;
/// Offset of the first partition in bytes, as partitioning tools have chosen it since 2009. Further
/// partitions are aligned to it as well.
pub const FIRST_BYTES: u64 = 1 << 20;
/// Length in bytes of the code in the first sector. The disk signature follows.
const CODE_BYTES: usize = 440;
const TABLE: usize = 446;
const PARTITIONS_MAX: usize = 4;
/// Bytes of a CHS address that cannot express the position of a partition.
const NO_CYLINDER: [u8; 3] = [0xfe, 0xff, 0xff];

/// Modules within `core.img` that find the partition with GRUB's directory. The module for the
/// partition's file system is needed as well.
pub const MODULES: [&str; 4] = ["biosdisk", "part_msdos", "part_gpt", "search_fs_uuid"];

/// Reason why GRUB cannot be placed, or partitions get no table.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BootError {
    #[error("GRUB's directory is on {0}: only ext2, ext3, ext4, XFS and btrfs are supported")]
    System(String),
    #[error("boot.img of GRUB has {0} bytes instead of 512")]
    Image(usize),
    #[error(
        "GRUB needs {needs} bytes after the first sector, and the first partition begins after {has}"
    )]
    Gap { needs: u64, has: u64 },
    #[error("{0} partitions: a partition table (MBR) has at most {PARTITIONS_MAX}")]
    Partitions(usize),
    #[error("a disk of {0} bytes: a partition table (MBR) supports at most 2 TiB")]
    Large(u64),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Partition {
    /// Offset on the disk, bytes.
    pub begin: u64,
    pub size: u64,
    pub is_swap: bool,
}

/// Places partitions of these sizes one after the other, each aligned to 1 MiB. The flag is true
/// for swap. Returns the partitions and the size of the disk in bytes.
///
/// # Errors
/// The partitions are too many or too large.
pub fn place(sizes: &[(u64, bool)]) -> Result<(Vec<Partition>, u64), BootError> {
    if sizes.len() > PARTITIONS_MAX {
        return Err(BootError::Partitions(sizes.len()));
    }
    let mut at = FIRST_BYTES;
    let mut placed = Vec::new();
    for (size, is_swap) in sizes {
        let size = size.div_ceil(SECTOR_BYTES).saturating_mul(SECTOR_BYTES);
        placed.push(Partition {
            begin: at,
            size,
            is_swap: *is_swap,
        });
        let end = at.saturating_add(size);
        at = end.div_ceil(FIRST_BYTES).saturating_mul(FIRST_BYTES);
    }
    if at / SECTOR_BYTES <= u64::from(u32::MAX) {
        Ok((placed, at))
    } else {
        Err(BootError::Large(at))
    }
}

/// Returns the first sector with a table of these partitions. The first partition without swap is
/// active.
///
/// # Errors
/// The partitions are too many or too large.
pub fn table(partitions: &[Partition]) -> Result<[u8; 512], BootError> {
    if partitions.len() > PARTITIONS_MAX {
        return Err(BootError::Partitions(partitions.len()));
    }
    let mut sector = [0; 512];
    let active = partitions.iter().position(|one| !one.is_swap);
    for (index, one) in partitions.iter().enumerate() {
        let sectors =
            |bytes: u64| u32::try_from(bytes / SECTOR_BYTES).map_err(|_| BootError::Large(bytes));
        let mut entry = [0_u8; 16];
        entry[0] = if active == Some(index) { 0x80 } else { 0 };
        entry[1..4].copy_from_slice(&NO_CYLINDER);
        entry[4] = if one.is_swap { 0x82 } else { 0x83 };
        entry[5..8].copy_from_slice(&NO_CYLINDER);
        entry[8..12].copy_from_slice(&sectors(one.begin)?.to_le_bytes());
        entry[12..16].copy_from_slice(&sectors(one.size)?.to_le_bytes());
        let at = TABLE + index * entry.len();
        sector[at..at + entry.len()].copy_from_slice(&entry);
    }
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    Ok(sector)
}

/// Returns the start of a disk with GRUB: the first sector `first` with the code of `boot.img`, and
/// `core.img` after it. `first_partition` is the offset of the first partition in bytes.
///
/// # Errors
/// `boot.img` is not one sector, or `core.img` does not fit before the first partition.
pub fn embed(
    first: &[u8; 512],
    boot: &[u8],
    core: &[u8],
    first_partition: u64,
) -> Result<Vec<u8>, BootError> {
    if boot.len() != first.len() {
        return Err(BootError::Image(boot.len()));
    }
    let has = first_partition.saturating_sub(SECTOR_BYTES);
    if core.len() as u64 > has {
        let needs = core.len() as u64;
        return Err(BootError::Gap { needs, has });
    }
    let mut bytes = first.to_vec();
    bytes[..CODE_BYTES].copy_from_slice(&boot[..CODE_BYTES]);
    bytes[510..].copy_from_slice(&[0x55, 0xaa]);
    bytes.extend_from_slice(core);
    Ok(bytes)
}

/// Returns the GRUB module for a file system as named by `blkid`.
///
/// # Errors
/// The file system is unsupported.
pub fn module(system: &str) -> Result<&'static str, BootError> {
    match system {
        "ext2" | "ext3" | "ext4" => Ok("ext2"),
        "xfs" => Ok("xfs"),
        "btrfs" => Ok("btrfs"),
        _ => Err(BootError::System(system.to_owned())),
    }
}

/// Returns the commands within `core.img`, which find the file system with this UUID and set GRUB's
/// directory in it.
pub fn early(uuid: &str, directory: &str) -> String {
    format!("search.fs_uuid {uuid} root\nset prefix=($root){directory}\n")
}

/// Boot entry of the GRUB menu.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GrubEntry {
    pub title: String,
    pub kernel: String,
    pub initrd: Option<String>,
    /// UUID of the root file system.
    pub root: String,
    pub append: String,
}

impl GrubEntry {
    /// Returns the text of `grub.cfg`. GRUB and the kernel use the screen and the serial terminal.
    pub fn text(&self) -> String {
        let title = self.title.replace(['\'', '\n'], " ");
        let append = match self.append.as_str() {
            "" => String::new(),
            append => format!(" {append}"),
        };
        let mut text = format!(
            "serial --unit=0 --speed=115200\nterminal_input console serial\nterminal_output console serial\n\
             set default=0\nset timeout_style=hidden\nset timeout=2\nmenuentry '{title}' {{\n\tlinux {} root=UUID={} ro console=tty0 \
             console=ttyS0,115200{append}\n",
            self.kernel, self.root
        );
        if let Some(initrd) = &self.initrd {
            let _ = writeln!(text, "\tinitrd {initrd}");
        }
        text + "}\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_follow_one_another_at_whole_mebibytes() {
        let (placed, size) = place(&[(1_000_000, true), (3 << 20, false)]).unwrap();
        assert_eq!((placed[0].begin, placed[0].size), (1 << 20, 1_000_448));
        assert_eq!((placed[1].begin, placed[1].size), (2 << 20, 3 << 20));
        assert_eq!(size, 5 << 20);
        let five = [(512, false); 5];
        assert_eq!(place(&five), Err(BootError::Partitions(5)));
        assert!(matches!(
            place(&[(3 << 40, false)]),
            Err(BootError::Large(_))
        ));
        assert!(matches!(
            place(&[(u64::MAX, false)]),
            Err(BootError::Large(_))
        ));
    }

    #[test]
    fn the_table_has_them_and_the_first_system_is_active() {
        let (placed, _) = place(&[(1 << 20, true), (3 << 20, false)]).unwrap();
        let sector = table(&placed).unwrap();
        let entry = |index: usize| &sector[446 + 16 * index..][..16];
        assert_eq!(entry(0)[..5], [0, 0xfe, 0xff, 0xff, 0x82]);
        assert_eq!(entry(1)[..5], [0x80, 0xfe, 0xff, 0xff, 0x83]);
        assert_eq!(entry(1)[8..], [0, 16, 0, 0, 0, 24, 0, 0]);
        assert_eq!(entry(2), [0; 16]);
        assert_eq!(sector[510..], [0x55, 0xaa]);
    }

    #[test]
    fn grub_leaves_the_table_and_does_not_reach_into_a_partition() {
        let (placed, _) = place(&[(1 << 20, false)]).unwrap();
        let first = table(&placed).unwrap();
        let bytes = embed(&first, &[7; 512], &[9; 700], FIRST_BYTES).unwrap();
        assert_eq!(bytes.len(), 512 + 700);
        assert_eq!((bytes[0], bytes[439], bytes[512]), (7, 7, 9));
        assert_eq!(bytes[440..512], first[440..]);
        let gap = embed(&first, &[7; 512], &[9; 700], 1024);
        assert_eq!(
            gap,
            Err(BootError::Gap {
                needs: 700,
                has: 512
            })
        );
        assert_eq!(
            embed(&first, &[7; 440], &[], 1024),
            Err(BootError::Image(440))
        );
    }

    #[test]
    fn a_menu_names_the_root_by_its_uuid_and_the_serial_terminal() {
        let mut menu = GrubEntry {
            title: "it's".to_owned(),
            kernel: "/boot/vmlinuz-6.1".to_owned(),
            initrd: Some("/boot/initrd.img-6.1".to_owned()),
            root: "8ce9".to_owned(),
            append: "quiet".to_owned(),
        };
        let text = menu.text();
        let line = "\tlinux /boot/vmlinuz-6.1 root=UUID=8ce9 ro console=tty0 console=ttyS0,115200 quiet\n\
                    \tinitrd /boot/initrd.img-6.1\n}\n";
        assert!(
            text.ends_with(line) && text.contains("menuentry 'it s' {"),
            "{text}"
        );
        menu.initrd = None;
        assert!(!menu.text().contains("initrd"));
        assert_eq!(module("ext3"), Ok("ext2"));
        assert_eq!(module("ntfs"), Err(BootError::System("ntfs".to_owned())));
    }
}
