//! Detects image formats by their content and not by the name, refuses content that contradicts the
//! name, and finds the other files that an image refers to: a backing file, a parent or extents. A
//! hostile image refers to files of the host to have them copied into a guest.
//!
//! Follows the layouts in QEMU's `docs/interop/qcow2.txt` and VMware's "Virtual Disk Format 5.0".

use std::fmt;

/// Length in bytes of the start of an image (`head`) that callers pass; less only for a shorter
/// image.
pub const HEAD_BYTES: usize = 1 << 20;
const NAME_MAX: usize = 1023;
const NAMES_MAX: usize = 64;
/// Incompatible feature bit of qcow2: the data is in another file.
const EXTERNAL_DATA: u64 = 1 << 2;
/// Parent content ID of a VMDK without a parent.
const NO_PARENT: &str = "ffffffff";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    Raw,
    /// Format of QEMU's block layer, by its driver name.
    Driver(&'static str),
    /// Virtual appliance: a tar archive with an OVF and disks.
    Ova,
    /// Compressed file, with the program that decompresses it.
    Compressed(&'static str),
    Unsupported(&'static str),
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Format::Raw => f.write_str("raw"),
            Format::Driver(driver) => f.write_str(driver),
            Format::Ova => f.write_str("ova"),
            Format::Compressed(program) => write!(f, "compressed by {program}"),
            Format::Unsupported(what) => f.write_str(what),
        }
    }
}

/// Signatures: offset, bytes and format.
const SIGNATURES: [(usize, &[u8], Format); 20] = [
    (0, b"QFI\xfb", Format::Driver("qcow2")),
    (0, b"KDMV", Format::Driver("vmdk")),
    (0, b"COWD", Format::Driver("vmdk")),
    (0, b"# Disk DescriptorFile", Format::Driver("vmdk")),
    (64, b"\x7f\x10\xda\xbe", Format::Driver("vdi")),
    (0, b"conectix", Format::Driver("vpc")),
    (0, b"vhdxfile", Format::Driver("vhdx")),
    (257, b"ustar", Format::Ova),
    (0, b"\x1f\x8b\x08", Format::Compressed("gzip")),
    (0, b"\xfd7zXZ\0", Format::Compressed("xz")),
    (0, b"\x28\xb5\x2f\xfd", Format::Compressed("zstd")),
    (0, b"BZh", Format::Compressed("bzip2")),
    (0, b"\x04\x22\x4d\x18", Format::Compressed("lz4")),
    (0, b"\x89LZO\0\r\n", Format::Compressed("lzop")),
    (0, b"PK\x03\x04", Format::Unsupported("a ZIP archive")),
    (
        0,
        b"7z\xbc\xaf\x27\x1c",
        Format::Unsupported("a 7z archive"),
    ),
    (
        0,
        b"QED\0",
        Format::Unsupported("an image of QEMU's format qed"),
    ),
    (
        0,
        b"WithoutFreeSpace",
        Format::Unsupported("a disk of Parallels"),
    ),
    (
        0,
        b"WithouFreSpacExt",
        Format::Unsupported("a disk of Parallels"),
    ),
    (
        0,
        b"VMA\0",
        Format::Unsupported("a backup of Proxmox (VMA)"),
    ),
];
/// Cookie of a VHD at the beginning of the last 512 bytes.
const VHD_FOOTER: &[u8] = b"conectix";
/// Signature of a disk image of macOS at the beginning of the last 512 bytes.
const DMG_TRAILER: &[u8] = b"koly";

/// Returns the format of an image that begins with `head`.
pub fn detect(head: &[u8]) -> Format {
    let fits = |(at, bytes, _): &&(usize, &[u8], Format)| {
        head.get(*at..).is_some_and(|rest| rest.starts_with(bytes))
    };
    let found = SIGNATURES.iter().find(fits);
    match found.map(|(_, _, format)| *format) {
        Some(Format::Driver("qcow2")) if head.get(4..8) == Some(&[0, 0, 0, 1]) => {
            Format::Unsupported("an image of QEMU's first format (qcow)")
        }
        found => found.unwrap_or(Format::Raw),
    }
}

/// Detects the format from the first 512 bytes and the last 512: a fixed-size VHD has no header.
pub fn detect_image(head: &[u8], tail: &[u8]) -> Format {
    match detect(head) {
        Format::Raw if tail.starts_with(VHD_FOOTER) => Format::Driver("vpc"),
        Format::Raw if tail.starts_with(DMG_TRAILER) => {
            Format::Unsupported("a disk image of macOS (DMG)")
        }
        format => format,
    }
}

/// Refuses a file whose content has no signature although its name ends like that of a known
/// format. A fixed-size VHD has its only signature at the end, which a truncated file lacks, and a
/// failed download may consist of zeroes.
///
/// # Errors
/// The name ends like that of a known format, and the content has no signature of any format.
pub fn check_name(name: &str, format: Format) -> Result<(), FormatError> {
    let lower = name.to_ascii_lowercase();
    // Accepts the file of a VMware disk's extent, which has no header of its own.
    let is_flat = lower.ends_with("-flat.vmdk");
    let named = match lower.rsplit_once('.').map_or("", |(_, end)| end) {
        "qcow2" => "qcow2",
        "vmdk" if !is_flat => "vmdk",
        "vdi" => "vdi",
        "vhd" | "vpc" => "vpc",
        "vhdx" => "vhdx",
        "ova" => "ova",
        _ => return Ok(()),
    };
    match format {
        Format::Raw => Err(FormatError::NotAsNamed(named)),
        _ => Ok(()),
    }
}

/// Returns the raw data files (kinds FLAT and VMFS) to which a VMDK descriptor refers, each with
/// the minimum size in bytes that the descriptor requires. Files of other kinds are left out.
pub fn flat_extents(head: &[u8]) -> Vec<(String, u64)> {
    if !head.starts_with(b"# Disk DescriptorFile") {
        return Vec::new();
    }
    let text = String::from_utf8_lossy(head);
    // Reads the fields of the line: access, sectors, kind, file, and the first sector in the file.
    let of_line = |line: &str| {
        let (before, rest) = line.split_once('"')?;
        let (name, after) = rest.split_once('"')?;
        let mut words = before.split_whitespace();
        let access = words.next()?;
        let sectors: u64 = words.next()?.parse().ok()?;
        let is_flat = matches!(words.next()?, "FLAT" | "VMFS");
        let first: u64 = after
            .split_whitespace()
            .next()
            .map_or(Some(0), |first| first.parse().ok())?;
        let needs = sectors.saturating_add(first).saturating_mul(512);
        let is_extent = matches!(access, "RW" | "RDONLY") && is_flat;
        is_extent.then(|| (name.to_owned(), needs))
    };
    text.lines().filter_map(of_line).take(NAMES_MAX).collect()
}

/// Reason why an image is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FormatError {
    #[error("the image is truncated: its header has {0} bytes")]
    Cut(usize),
    #[error(
        "its name indicates {0}, but it has neither the header nor the end of such an image: it is \
         truncated or damaged. Download it again; `--raw` copies it as it is"
    )]
    NotAsNamed(&'static str),
    #[error("the descriptor of the image is not in its first MiB")]
    Descriptor,
    #[error(
        "its data is in another file (`data_file`), which is not supported: convert it first (`qemu-img \
         convert -O qcow2`)"
    )]
    ExternalData,
    #[error("the image is encrypted: decrypt it first (`qemu-img convert`)")]
    Encrypted,
    #[error("the image names more than {NAMES_MAX} other files")]
    Names,
}

/// Returns the other files to which an image refers, as written in the image.
///
/// # Errors
/// The header is invalid.
pub fn references(format: Format, head: &[u8]) -> Result<Vec<String>, FormatError> {
    match format {
        Format::Driver("qcow2") => of_qcow2(head),
        Format::Driver("vmdk") => of_vmdk(head),
        _ => Ok(Vec::new()),
    }
}

fn bytes<const N: usize>(head: &[u8], at: usize) -> Result<[u8; N], FormatError> {
    let found = at.checked_add(N).and_then(|end| head.get(at..end));
    let found = found.and_then(|found| found.try_into().ok());
    found.ok_or(FormatError::Cut(head.len()))
}

fn of_qcow2(head: &[u8]) -> Result<Vec<String>, FormatError> {
    let version = u32::from_be_bytes(bytes(head, 4)?);
    let backing = u64::from_be_bytes(bytes(head, 8)?);
    let length = u32::from_be_bytes(bytes(head, 16)?) as usize;
    if u32::from_be_bytes(bytes(head, 32)?) != 0 {
        return Err(FormatError::Encrypted);
    }
    let mut names = Vec::new();
    if backing != 0 {
        let at = usize::try_from(backing).map_err(|_| FormatError::Descriptor)?;
        let end = at.saturating_add(length.min(NAME_MAX));
        let name = head.get(at..end).ok_or(FormatError::Descriptor)?;
        names.push(String::from_utf8_lossy(name).into_owned());
    }
    if version >= 3 && u64::from_be_bytes(bytes(head, 72)?) & EXTERNAL_DATA != 0 {
        return Err(FormatError::ExternalData);
    }
    Ok(names)
}

fn of_vmdk(head: &[u8]) -> Result<Vec<String>, FormatError> {
    if head.starts_with(b"COWD") {
        return Ok(Vec::new());
    }
    if !head.starts_with(b"KDMV") {
        // Checks that the last section of the descriptor, which follows the extents, is present: if
        // it is missing, some extents may be missing, too.
        let is_whole = head.len() >= HEAD_BYTES || head.windows(4).any(|word| word == b"ddb.");
        return if is_whole {
            described(head, true)
        } else {
            Err(FormatError::Cut(head.len()))
        };
    }
    let capacity = u64::from_le_bytes(bytes(head, 12)?);
    let sectors = |at| bytes(head, at).map(u64::from_le_bytes);
    let (offset, length) = (sectors(28)?, sectors(36)?);
    if offset == 0 {
        return Ok(Vec::new());
    }
    let place = |sectors: u64| {
        sectors
            .checked_mul(512)
            .and_then(|at| usize::try_from(at).ok())
    };
    let begin = place(offset).ok_or(FormatError::Descriptor)?;
    let end = begin.saturating_add(place(length).unwrap_or(usize::MAX));
    let end = end.min(head.len());
    let text = head.get(begin..end).ok_or(if head.len() < HEAD_BYTES {
        FormatError::Cut(head.len())
    } else {
        FormatError::Descriptor
    })?;
    // Reads the extents of a descriptor without a capacity, because they contain the data.
    described(text, capacity == 0)
}

/// Returns the files to which a VMDK descriptor refers: its parent, and with `has_extents` its
/// extents.
fn described(text: &[u8], has_extents: bool) -> Result<Vec<String>, FormatError> {
    let text = String::from_utf8_lossy(text);
    let mut names = Vec::new();
    for line in text.lines() {
        let line = line.trim_matches([' ', '\t', '\r', '\0']);
        let value = |key: &str| {
            let (name, value) = line.split_once('=')?;
            let is_key = name.trim().eq_ignore_ascii_case(key);
            is_key.then(|| value.trim().trim_matches('"').to_owned())
        };
        let parent = value("parentCID").filter(|id| !id.eq_ignore_ascii_case(NO_PARENT));
        names.extend(parent.map(|id| format!("a parent with the content id {id}")));
        names.extend(value("parentFileNameHint"));
        let word = line.split_whitespace().next().unwrap_or_default();
        if has_extents && ["RW", "RDONLY", "NOACCESS"].contains(&word) {
            names.extend(line.split('"').nth(1).map(str::to_owned));
        }
        if names.len() > NAMES_MAX {
            return Err(FormatError::Names);
        }
    }
    names.sort();
    names.dedup();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn flat_extents_need_the_sectors_of_their_descriptor() {
        let text = b"# Disk DescriptorFile\nversion=1\nRW 2048 FLAT \"a b-flat.vmdk\" 0\r\nRW 16 VMFS \"c.vmdk\"\n\
            RDONLY 8 FLAT \"d.vmdk\" 4\nRW 8 SPARSE \"s.vmdk\"\nNOACCESS 8 FLAT \"n.vmdk\" 0\nRW x FLAT \"e\" 0\n";
        let found = flat_extents(text);
        let found: Vec<(&str, u64)> = found
            .iter()
            .map(|(name, needs)| (&**name, *needs))
            .collect();
        assert_eq!(
            found,
            [
                ("a b-flat.vmdk", 1 << 20),
                ("c.vmdk", 8192),
                ("d.vmdk", 6144)
            ]
        );
        assert!(flat_extents(b"KDMV").is_empty());
    }

    #[test]
    fn format_is_known_by_its_end_where_its_beginning_says_nothing() {
        assert_eq!(detect_image(b"", b"conectix"), Format::Driver("vpc"));
        assert!(matches!(detect_image(b"", b"koly"), Format::Unsupported(_)));
        assert_eq!(
            detect_image(b"QFI\xfb", b"conectix"),
            Format::Driver("qcow2")
        );
        assert_eq!(detect_image(b"BZh9", b""), Format::Compressed("bzip2"));
    }

    #[test]
    fn file_without_a_sign_of_the_format_that_its_name_says_is_refused() {
        for name in [
            "a.vhd", "/b/A.VHD", "a.qcow2", "a.vmdk", "a.vdi", "a.vhdx", "a.ova",
        ] {
            let refused = check_name(name, Format::Raw);
            assert!(matches!(refused, Err(FormatError::NotAsNamed(_))), "{name}");
            assert_eq!(check_name(name, Format::Driver("qcow2")), Ok(()));
        }
        for name in ["a.raw", "a.img", "vhd", "a", "vm-flat.vmdk", ""] {
            assert_eq!(check_name(name, Format::Raw), Ok(()), "{name}");
        }
        let mut first = qcow2("", 0);
        first[7] = 1;
        assert!(matches!(detect(&first), Format::Unsupported(_)));
    }

    fn qcow2(backing: &str, incompatible: u64) -> Vec<u8> {
        let mut head = vec![0; 512];
        head[..4].copy_from_slice(b"QFI\xfb");
        head[4..8].copy_from_slice(&3_u32.to_be_bytes());
        if !backing.is_empty() {
            head[8..16].copy_from_slice(&256_u64.to_be_bytes());
            head[16..20].copy_from_slice(&(backing.len() as u32).to_be_bytes());
            head[256..256 + backing.len()].copy_from_slice(backing.as_bytes());
        }
        head[72..80].copy_from_slice(&incompatible.to_be_bytes());
        head
    }

    fn vmdk(capacity: u64, descriptor: &str) -> Vec<u8> {
        let mut head = vec![0; 512];
        head[..4].copy_from_slice(b"KDMV");
        head[12..20].copy_from_slice(&capacity.to_le_bytes());
        head[28..36].copy_from_slice(&1_u64.to_le_bytes());
        head[36..44].copy_from_slice(&20_u64.to_le_bytes());
        head.extend_from_slice(descriptor.as_bytes());
        head
    }

    #[test]
    fn the_content_says_the_format() {
        for (head, expected) in [
            (qcow2("", 0), Format::Driver("qcow2")),
            (vmdk(1, ""), Format::Driver("vmdk")),
            (b"# Disk DescriptorFile\n".to_vec(), Format::Driver("vmdk")),
            (b"vhdxfile".to_vec(), Format::Driver("vhdx")),
            (b"\x1f\x8b\x08\0".to_vec(), Format::Compressed("gzip")),
            (vec![0; 512], Format::Raw),
            (Vec::new(), Format::Raw),
        ] {
            assert_eq!(detect(&head), expected);
        }
    }

    #[test]
    fn files_that_an_image_names_are_found() {
        let found = |head: &[u8]| references(detect(head), head);
        let names = |names: &[&str]| Ok(names.iter().map(|one| (*one).to_owned()).collect());
        assert_eq!(found(&qcow2("", 0)), names(&[]));
        assert_eq!(found(&qcow2("/etc/shadow", 0)), names(&["/etc/shadow"]));
        let json = r#"json:{"driver":"file","filename":"/etc/shadow"}"#;
        assert_eq!(found(&qcow2(json, 0)), names(&[json]));
        assert_eq!(found(&qcow2("", 4)), Err(FormatError::ExternalData));
        let extents = "# Disk DescriptorFile\nversion=1\nparentCID=ffffffff\n\
                       RW 8 FLAT \"/etc/shadow\" 0\nRW 8 SPARSE \"../b.vmdk\"\nddb.adapterType = \"ide\"\n";
        assert_eq!(
            found(extents.as_bytes()),
            names(&["../b.vmdk", "/etc/shadow"])
        );
        // Extents of a descriptor that is embedded in the disk are not read, unless the disk has no
        // capacity.
        assert_eq!(found(&vmdk(8, extents)), names(&[]));
        assert_eq!(
            found(&vmdk(0, extents)),
            names(&["../b.vmdk", "/etc/shadow"])
        );
        let parent = "parentCID=12345678\r\nparentFileNameHint=\"/srv/a.vmdk\"\r\n";
        let both = ["/srv/a.vmdk", "a parent with the content id 12345678"];
        assert_eq!(found(&vmdk(8, parent)), names(&both));
    }

    #[test]
    fn a_header_that_is_cut_or_points_out_of_reach_is_refused() {
        let found = |head: &[u8]| references(detect(head), head);
        assert_eq!(found(b"QFI\xfb\0\0\0\x03"), Err(FormatError::Cut(8)));
        let mut far = qcow2("/etc/shadow", 0);
        far[8..16].copy_from_slice(&u64::MAX.to_be_bytes());
        assert_eq!(found(&far), Err(FormatError::Descriptor));
        let cut = b"# Disk DescriptorFile\nRW 8 FLAT \"a-f001.vmdk\" 0\n";
        assert_eq!(found(cut), Err(FormatError::Cut(cut.len())));
        let mut encrypted = qcow2("", 0);
        encrypted[35] = 2;
        assert_eq!(found(&encrypted), Err(FormatError::Encrypted));
        let mut far = vmdk(8, "");
        far[28..36].copy_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(found(&far), Err(FormatError::Descriptor));
    }

    proptest! {
        #[test]
        fn any_bytes_are_understood_or_refused(
            magic in prop::sample::select(vec![&b"QFI\xfb"[..], b"KDMV", b"# Disk DescriptorFile"]),
            rest in prop::collection::vec(any::<u8>(), 0..600),
        ) {
            let head = [magic, &rest].concat();
            // The results are checked by the tables above.
            let _ = references(detect(&head), &head);
        }
    }
}
