//! Detects truncated disk images. QEMU reads zeroes beyond the end of a file, so an image from an
//! interrupted download would silently be imported as a disk with holes. [`check`] follows the
//! tables of a format and checks where their data ends.
//!
//! Reads only tables, in pieces of bounded size, and each table once. A table beyond the end of the
//! file means that the image is truncated. Any other inconsistency is left to QEMU, which refuses
//! it.
//!
//! Follows these layouts: QEMU's `docs/interop/qcow2.txt`; VMware's "Virtual Disk Format 5.0"; the
//! comment in QEMU's `block/vdi.c`; Microsoft's "Virtual Hard Disk Image Format" 1.0 and MS-VHDX;
//! UEFI 2.10, chapter 5 (GPT); ECMA-119, 8.4 (volume descriptor of a CD); the on-disk formats of
//! file systems.

use super::format::Format;
use std::io::{self, Read, Seek, SeekFrom};

const SECTOR: u64 = 512;
const PIECE_BYTES: u64 = 64 << 10;
/// Maximum size of all tables of one image, bytes: more than that of 64 TiB in clusters of 64 KiB.
const TABLES_BYTES_MAX: u64 = 16 << 30;
/// Offset of the grain directory (VMDK) that means "in the footer at the end of the file".
const AT_END: u64 = u64::MAX;

const VHD: &[u8] = b"conectix";

/// Reason why an image is refused.
#[derive(Debug, thiserror::Error)]
pub enum WholeError {
    #[error(
        "the image is truncated: it has {has} bytes, and its data ends at {needs} or later. Download it again"
    )]
    Cut { has: u64, needs: u64 },
    #[error(
        "the disk is truncated: it has {has} bytes, and its {what} ends at {needs}. Download it again; if \
         this is intended, `truncate -s {needs}` adds the missing zeroes"
    )]
    Contents {
        has: u64,
        needs: u64,
        what: &'static str,
    },
    #[error(
        "the disk is truncated: its {0} bytes are not a multiple of 512. Download it again; if this is \
         intended, `truncate -s %512` adds the missing zeroes"
    )]
    Sector(u64),
    #[error(
        "the image is truncated: there is no {what} at the end of its {has} bytes. Download it again"
    )]
    End { has: u64, what: &'static str },
    #[error("the tables of the image are larger than those of any disk")]
    Tables,
    #[error("the image cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// Image in a range of a file, and the end of its data as far as known.
struct Image<R> {
    file: R,
    offset: u64,
    length: u64,
    /// Offset of the end of the data found so far, in bytes from the start of the image.
    needs: u64,
    read: u64,
}

/// Checks that an image is not truncated. The image occupies `length` bytes of the file from
/// `offset` on. Formats without a check here are accepted.
///
/// # Errors
/// The image is truncated or cannot be read, or its tables are larger than [`TABLES_BYTES_MAX`].
pub fn check<R: Read + Seek>(
    format: Format,
    file: R,
    offset: u64,
    length: u64,
) -> Result<(), WholeError> {
    let mut image = Image {
        file,
        offset,
        length,
        needs: 0,
        read: 0,
    };
    match format {
        Format::Driver("qcow2") => image.qcow2()?,
        Format::Driver("vmdk") => image.vmdk()?,
        Format::Driver("vdi") => image.vdi()?,
        Format::Driver("vpc") => image.vhd()?,
        Format::Driver("vhdx") => image.vhdx()?,
        Format::Raw => return image.raw(),
        Format::Driver(_) | Format::Ova | Format::Compressed(_) | Format::Unsupported(_) => {}
    }
    if image.needs > length {
        Err(WholeError::Cut {
            has: length,
            needs: image.needs,
        })
    } else {
        Ok(())
    }
}

fn be32(bytes: &[u8], at: usize) -> u64 {
    let found = bytes
        .get(at..at + 4)
        .and_then(|found| found.try_into().ok());
    found.map_or(0, |found| u32::from_be_bytes(found).into())
}

fn be64(bytes: &[u8], at: usize) -> u64 {
    be32(bytes, at) << 32 | be32(bytes, at + 4)
}

fn le32(bytes: &[u8], at: usize) -> u64 {
    let found = bytes
        .get(at..at + 4)
        .and_then(|found| found.try_into().ok());
    found.map_or(0, |found| u32::from_le_bytes(found).into())
}

fn le64(bytes: &[u8], at: usize) -> u64 {
    le32(bytes, at + 4) << 32 | le32(bytes, at)
}

impl<R: Read + Seek> Image<R> {
    /// Records that data at this offset needs so many bytes.
    fn need(&mut self, at: u64, bytes: u64) {
        self.needs = self.needs.max(at.saturating_add(bytes));
    }

    /// Reads `count` bytes from an offset of the image, at most to the end of the image.
    fn bytes(&mut self, at: u64, count: u64) -> Result<Vec<u8>, WholeError> {
        let count = count.min(self.length.saturating_sub(at));
        self.read = self.read.saturating_add(count);
        if self.read > TABLES_BYTES_MAX {
            return Err(WholeError::Tables);
        }
        let mut bytes = Vec::new();
        if count > 0 {
            self.file
                .seek(SeekFrom::Start(self.offset.saturating_add(at)))?;
            Read::by_ref(&mut self.file)
                .take(count)
                .read_to_end(&mut bytes)?;
        }
        Ok(bytes)
    }

    /// Calls `each` for each entry of a table with its index, and reads the table in pieces of
    /// whole entries. Records that the image needs the whole table.
    fn table(
        &mut self,
        at: u64,
        entries: u64,
        entry_bytes: u64,
        mut each: impl FnMut(&mut Self, u64, &[u8]) -> Result<(), WholeError>,
    ) -> Result<(), WholeError> {
        let whole = entries.saturating_mul(entry_bytes);
        self.need(at, whole);
        let mut done = 0;
        while done < whole {
            let piece = self.bytes(at.saturating_add(done), PIECE_BYTES.min(whole - done))?;
            let size = usize::try_from(entry_bytes).unwrap_or(usize::MAX);
            for (number, entry) in piece.chunks_exact(size).enumerate() {
                each(self, done / entry_bytes + number as u64, entry)?;
            }
            if (piece.len() as u64) < entry_bytes {
                return Ok(());
            }
            done += piece.len() as u64 / entry_bytes * entry_bytes;
        }
        Ok(())
    }

    fn qcow2(&mut self) -> Result<(), WholeError> {
        let head = self.bytes(0, 112)?;
        let (version, cluster_bits) = (be32(&head, 4), be32(&head, 20));
        if !(9..=21).contains(&cluster_bits) {
            return Ok(());
        }
        let cluster = 1_u64 << cluster_bits;
        let size = be64(&head, 24);
        let is_extended = version >= 3 && be64(&head, 72) & (1 << 4) != 0;
        let has_data_file = version >= 3 && be64(&head, 72) & (1 << 2) != 0;
        let entry_bytes: u64 = if is_extended { 16 } else { 8 };
        let per_table = cluster / entry_bytes;
        let place = 0x00ff_ffff_ffff_fe00_u64;
        let covered = per_table.saturating_mul(cluster);
        // Ignores entries beyond the size of the disk, which have no meaning.
        let tables = be32(&head, 36).min(size.div_ceil(covered.max(1)));
        self.table(be64(&head, 40), tables, 8, |image, table, entry| {
            let at = be64(entry, 0) & place;
            if at == 0 {
                return Ok(());
            }
            let first = table.saturating_mul(covered);
            let left = size.saturating_sub(first);
            let count = per_table.min(left.div_ceil(cluster));
            image.need(at, count * entry_bytes);
            image.table(at, count, entry_bytes, |image, number, entry| {
                let found = be64(entry, 0);
                if found & (1 << 62) != 0 {
                    // Decodes a compressed cluster: its offset and the number of further sectors.
                    let bits = 62 - (cluster_bits - 8);
                    let at = found & ((1 << bits) - 1);
                    let sectors = (found & ((1 << 62) - 1)) >> bits;
                    let end = (at / SECTOR + sectors).saturating_mul(SECTOR);
                    image.need(end, 1);
                    return Ok(());
                }
                let at = found & place;
                let is_zero = !is_extended && found & 1 != 0;
                if at == 0 || is_zero || has_data_file {
                    return Ok(());
                }
                let behind = size.saturating_sub(first + number * cluster);
                let used = if is_extended {
                    extended_bytes(be64(entry, 8), cluster)
                } else {
                    cluster
                };
                image.need(at, used.min(behind));
                Ok(())
            })
        })
    }

    fn vmdk(&mut self) -> Result<(), WholeError> {
        let mut head = self.bytes(0, SECTOR)?;
        let is_old = head.starts_with(b"COWD");
        if !is_old && !head.starts_with(b"KDMV") {
            return Ok(());
        }
        self.need(0, SECTOR);
        if !is_old && le64(&head, 56) == AT_END {
            // Reads the footer, which repeats the header with the offset of the directory, before a
            // marker.
            let footer = self.bytes(self.length.saturating_sub(2 * SECTOR), SECTOR)?;
            if !footer.starts_with(b"KDMV") {
                return Err(WholeError::End {
                    has: self.length,
                    what: "footer",
                });
            }
            head = footer;
        }
        let (capacity, grain, per_table, directory, is_compressed) = if is_old {
            (
                le32(&head, 12),
                le32(&head, 16),
                4096,
                le32(&head, 20),
                false,
            )
        } else {
            (
                le64(&head, 12),
                le64(&head, 20),
                le32(&head, 44),
                le64(&head, 56),
                le32(&head, 8) & (1 << 16) != 0,
            )
        };
        let covered = grain.saturating_mul(per_table);
        if directory == AT_END || covered == 0 || capacity == 0 {
            return Ok(());
        }
        let tables = capacity.div_ceil(covered);
        let place = |sectors: u64| sectors.saturating_mul(SECTOR);
        let mut last = 0;
        self.table(place(directory), tables, 4, |image, table, entry| {
            let at = place(le32(entry, 0));
            if at == 0 {
                return Ok(());
            }
            let first = table.saturating_mul(covered);
            let count = per_table.min(capacity.saturating_sub(first).div_ceil(grain));
            image.table(at, count, 4, |image, number, entry| {
                let at = le32(entry, 0);
                // Skips a grain of zeroes, which the value 1 marks.
                if at <= 1 {
                    return Ok(());
                }
                let left = capacity.saturating_sub(first + number * grain);
                if is_compressed {
                    last = last.max(place(at))
                } else {
                    image.need(place(at), place(grain.min(left)))
                }
                Ok(())
            })
        })?;
        if last > 0 {
            // Reads a marker: the sector, and how many bytes follow.
            self.need(last, 12);
            let marker = self.bytes(last, 12)?;
            self.need(last + 12, le32(&marker, 8));
        }
        Ok(())
    }

    fn vdi(&mut self) -> Result<(), WholeError> {
        let head = self.bytes(0, SECTOR)?;
        self.need(0, SECTOR);
        let (map, data) = (le32(&head, 0x154), le32(&head, 0x158));
        let (block, blocks) = (le32(&head, 0x178), le32(&head, 0x180));
        let mut count = 0;
        self.table(map, blocks, 4, |_, _, entry| {
            let at = le32(entry, 0);
            // Skips the two highest values, which mean that there is no block, or a block of
            // zeroes.
            if at < 0xffff_fffe {
                count = count.max(at + 1);
            }
            Ok(())
        })?;
        if count > 0 {
            self.need(data, count.saturating_mul(block));
        }
        Ok(())
    }

    fn vhd(&mut self) -> Result<(), WholeError> {
        let head = self.bytes(0, SECTOR)?;
        let mut footer = head;
        if !footer.starts_with(VHD) {
            // Reads the footer of a fixed-size VHD, which has one only at its end.
            footer = self.bytes(self.length.saturating_sub(SECTOR), SECTOR)?;
            if !footer.starts_with(VHD) {
                return Ok(());
            }
        }
        let dynamic = be64(&footer, 16);
        if dynamic == u64::MAX {
            self.need(be64(&footer, 48), SECTOR);
            return Ok(());
        }
        let head = self.bytes(dynamic, 1024)?;
        self.need(dynamic, 1024);
        if !head.starts_with(b"cxsparse") {
            return Ok(());
        }
        let (table, blocks, block) = (be64(&head, 16), be32(&head, 28), be32(&head, 32));
        let bitmap = (block / SECTOR / 8).next_multiple_of(SECTOR);
        self.table(table, blocks, 4, |image, _, entry| {
            let at = be32(entry, 0);
            if at != 0xffff_ffff {
                // Includes the footer, which is after the last block.
                image.need(at.saturating_mul(SECTOR), bitmap + block + SECTOR);
            }
            Ok(())
        })
    }

    fn vhdx(&mut self) -> Result<(), WholeError> {
        const BAT: [u8; 16] = *b"\x66\x77\xc2\x2d\x23\xf6\x00\x42\x9d\x64\x11\x5e\x9b\xfd\x4a\x08";
        const METADATA: [u8; 16] =
            *b"\x06\xa2\x7c\x8b\x90\x47\x9a\x4b\xb8\xfe\x57\x5f\x05\x0f\x88\x6e";
        const PARAMETERS: [u8; 16] =
            *b"\x37\x67\xa1\xca\x36\xfa\x43\x4d\xb3\xb6\x33\xf0\xaa\x44\xe7\x6b";
        const LOGICAL: [u8; 16] =
            *b"\x1d\xbf\x41\x81\x6f\xa9\x09\x47\xba\x47\xf2\x33\xa8\xfa\xab\x5f";
        const MIB: u64 = 1 << 20;
        self.need(0, 320 << 10);
        let regions = self.bytes(192 << 10, 64 << 10)?;
        let find = |table: &[u8], first: usize, count: u64, id: &[u8; 16]| {
            let all = table.get(first..).unwrap_or_default().chunks_exact(32);
            let count = usize::try_from(count).unwrap_or(0);
            let found = all.take(count).find(|entry| entry.starts_with(id));
            found.map(<[u8]>::to_vec)
        };
        let region = |id| find(&regions, 16, le32(&regions, 8), id);
        let (Some(bat), Some(metadata)) = (region(&BAT), region(&METADATA)) else {
            return Ok(());
        };
        let at = le64(&metadata, 16);
        self.need(at, le32(&metadata, 24));
        let table = self.bytes(at, 64 << 10)?;
        let item = |id| find(&table, 32, le32(&table, 8) >> 16, id);
        let (Some(parameters), Some(logical)) = (item(&PARAMETERS), item(&LOGICAL)) else {
            return Ok(());
        };
        let block = self.bytes(at.saturating_add(le32(&parameters, 16)), 4)?;
        let sector = self.bytes(at.saturating_add(le32(&logical, 16)), 4)?;
        let (block, sector) = (le32(&block, 0), le32(&sector, 0));
        if block == 0 || sector == 0 {
            return Ok(());
        }
        let ratio = ((1_u64 << 23) * sector / block).max(1);
        let entries = le32(&bat, 24) / 8;
        self.table(le64(&bat, 16), entries, 8, |image, number, entry| {
            let found = le64(entry, 0);
            // Includes blocks that are present, or present in part. Each chunk ends with the entry
            // of its bitmap.
            let is_bitmap = number % (ratio + 1) == ratio;
            if matches!(found & 7, 6 | 7) {
                let bytes = if is_bitmap { MIB } else { block };
                image.need((found >> 20).saturating_mul(MIB), bytes);
            }
            Ok(())
        })
    }

    /// Checks a raw disk: its length must be whole sectors, and at least what its partition table,
    /// file system or CD descriptor requires.
    fn raw(&mut self) -> Result<(), WholeError> {
        if !self.length.is_multiple_of(SECTOR) {
            return Err(WholeError::Sector(self.length));
        }
        let head = self.bytes(0, 8192)?;
        let volume = self.bytes(32 << 10, 2048)?;
        let tree = self.bytes(64 << 10, 512)?;
        let ends = [
            ("partition table", partitions_end(&head)),
            ("file system", file_system_end(&head)),
            ("file system", btrfs_end(&tree)),
            ("CD", cd_end(&volume)),
        ];
        for (what, needs) in ends {
            if needs > self.length {
                return Err(WholeError::Contents {
                    has: self.length,
                    needs,
                    what,
                });
            }
        }
        Ok(())
    }
}

/// Returns the end of the last partition of a disk in bytes, with the copy of a GPT; 0: no
/// partition table.
fn partitions_end(head: &[u8]) -> u64 {
    if head.get(510..512) != Some(&[0x55, 0xaa]) {
        return 0;
    }
    let mut needs = 0;
    for sector in [512_usize, 4096] {
        let header = head.get(sector..).unwrap_or_default();
        if header.starts_with(b"EFI PART") {
            // Uses the offset of the table's copy, which is the last sector.
            let copy = le64(header, 32).saturating_add(1);
            needs = copy.saturating_mul(sector as u64);
        }
    }
    let entries = (0..4).filter_map(|number| head.get(446 + number * 16..)?.get(..16));
    let entries: Vec<&[u8]> = entries.collect();
    // Checks that this is a table: a boot sector of a file system has other bytes there. 0xee is
    // the sign of a GPT.
    let is_table = entries.iter().all(|entry| matches!(entry[0], 0 | 0x80))
        && entries.iter().any(|entry| entry[4] != 0);
    if needs == 0 && is_table {
        let ends = entries
            .iter()
            .filter(|entry| entry[4] != 0 && entry[4] != 0xee);
        let ends = ends.map(|entry| (le32(entry, 8) + le32(entry, 12)).saturating_mul(SECTOR));
        needs = ends.max().unwrap_or(0);
    }
    needs
}

/// Returns the end of a file system on the whole disk in bytes: ext, XFS or NTFS; 0: none of these.
fn file_system_end(head: &[u8]) -> u64 {
    let starts = |at: usize, with: &[u8]| head.get(at..).is_some_and(|rest| rest.starts_with(with));
    if starts(1024 + 56, b"\x53\xef") {
        // Reads the size of ext2, ext3 and ext4.
        let has_high = le32(head, 1024 + 96) & 0x80 != 0;
        let high = if has_high { le32(head, 1024 + 336) } else { 0 };
        let shift = le32(head, 1024 + 24).min(6);
        return (high << 32 | le32(head, 1024 + 4)).saturating_mul(1024 << shift);
    }
    if starts(0, b"XFSB") {
        return be64(head, 8).saturating_mul(be32(head, 4));
    }
    if starts(3, b"NTFS    ") {
        return le64(head, 40).saturating_mul(le32(head, 11) & 0xffff);
    }
    0
}

fn btrfs_end(superblock: &[u8]) -> u64 {
    if superblock.get(64..72) == Some(b"_BHRfS_M") {
        le64(superblock, 112)
    } else {
        0
    }
}

/// Returns the end of a CD image in bytes (ECMA-119, 8.4.8 and 8.4.12); 0: no CD.
fn cd_end(descriptor: &[u8]) -> u64 {
    if descriptor.starts_with(b"\x01CD001") {
        le32(descriptor, 80).saturating_mul(le32(descriptor, 128) & 0xffff)
    } else {
        0
    }
}

/// Returns the number of bytes of a cluster up to the end of the last of its 32 subclusters that
/// `bitmap` marks as allocated.
fn extended_bytes(bitmap: u64, cluster: u64) -> u64 {
    let allocated = bitmap as u32;
    (cluster / 32) * u64::from(32 - allocated.leading_zeros())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{detect, detect_image};
    use proptest::prelude::*;
    use std::fs::{self, File};
    use std::io::Cursor;
    use std::path::Path;
    use std::process::Command;

    fn look(path: &Path) -> Result<(), WholeError> {
        let bytes = fs::read(path).unwrap();
        let format = detect(&bytes);
        check(format, Cursor::new(&bytes), 0, bytes.len() as u64)
    }

    fn run(program: &str, arguments: &[&str]) {
        let output = Command::new(program).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }

    /// Formats and options with which `qemu-img` creates images.
    const FORMATS: [(&str, &str); 14] = [
        ("qcow2", "-o compat=1.1"),
        ("qcow2", "-o compat=0.10"),
        ("qcow2", "-o cluster_size=4096"),
        ("qcow2", "-o extended_l2=on"),
        ("qcow2", "-o preallocation=full"),
        ("qcow2", "-c -o cluster_size=65536"),
        ("vdi", "-o static=off"),
        ("vdi", "-o static=on"),
        ("vmdk", "-o subformat=monolithicSparse"),
        ("vmdk", "-o subformat=streamOptimized"),
        ("vpc", "-o subformat=dynamic"),
        ("vpc", "-o subformat=fixed"),
        ("vhdx", "-o subformat=dynamic"),
        ("vhdx", "-o subformat=fixed"),
    ];

    /// Returns the disk that QEMU finds in an image; None: QEMU refuses the image.
    fn disk_of(driver: &str, path: &Path, to: &Path) -> Option<Vec<u8>> {
        let mut convert = Command::new("qemu-img");
        convert.args(["convert", "-f", driver, "-O", "raw"]);
        let output = convert.arg(path).arg(to).output().unwrap();
        output.status.success().then(|| fs::read(to).unwrap())
    }

    #[test]
    fn image_that_is_cut_anywhere_is_refused_or_has_its_data() {
        lab::skip_unless_installed!("qemu-img");
        let scratch = lab::ScratchDirectory::new().unwrap();
        let [raw, image, out] = ["raw", "image", "out"].map(|name| scratch.path().join(name));
        File::create(&raw).unwrap().set_len(10 << 20).unwrap();
        let name = |path: &Path| path.to_str().unwrap().to_owned();
        // Data in several places, at the end, and where nothing is written.
        for at in [0_u64, 700_000, 5 << 20, (10 << 20) - 512] {
            let write = format!("write -q -P 171 {} 512", at / 512 * 512);
            run("qemu-io", &["-f", "raw", "-c", &write, &name(&raw)]);
        }
        for (driver, options) in FORMATS {
            let mut arguments = vec!["convert", "-f", "raw", "-O", driver];
            arguments.extend(options.split(' '));
            let (from, to) = (name(&raw), name(&image));
            arguments.extend([from.as_str(), to.as_str()]);
            run("qemu-img", &arguments);
            cut_everywhere(driver, options, &image, &out);
        }
    }

    /// Truncates an image at several lengths, and asserts that each truncated image is refused, by
    /// its format or by QEMU, or contains the whole disk.
    fn cut_everywhere(driver: &'static str, options: &str, image: &Path, out: &Path) {
        let bytes = fs::read(image).unwrap();
        let length = bytes.len();
        let look = |bytes: &[u8]| {
            let format = detect_image(bytes, tail(bytes));
            let found = check(format, Cursor::new(bytes), 0, bytes.len() as u64);
            (format, found)
        };
        let (format, found) = look(&bytes);
        assert_eq!(format, Format::Driver(driver), "{options}");
        found.unwrap_or_else(|error| panic!("{driver} {options}: {error}"));
        let whole = disk_of(driver, image, out).unwrap();
        let places = [600, 4096, 70_000, length / 4, length / 2];
        let near_end = [length * 9 / 10, length - 512, length - 1];
        let mut refused = 0;
        for cut in places.into_iter().chain(near_end) {
            let cut = cut.min(length - 1);
            match look(&bytes[..cut]) {
                // A VHD of a fixed size without its footer is a raw disk, and is checked as one.
                (Format::Raw, _) => assert_eq!(options, "-o subformat=fixed"),
                (_, Err(_)) => refused += 1,
                (_, Ok(())) => {
                    fs::write(image, &bytes[..cut]).unwrap();
                    let has = disk_of(driver, image, out);
                    assert!(
                        has.is_none_or(|has| has == whole),
                        "{driver} {options}: {cut} of {length} bytes are not the whole disk"
                    );
                }
            }
        }
        let is_raw = (driver, options) == ("vpc", "-o subformat=fixed");
        assert!(
            refused >= 4 || is_raw,
            "{driver} {options}: {refused} refused"
        );
    }

    fn tail(bytes: &[u8]) -> &[u8] {
        &bytes[bytes.len().saturating_sub(512)..]
    }

    #[test]
    fn raw_disk_that_ends_before_its_file_system_is_refused() {
        lab::skip_unless_installed!("mkfs.ext4");
        let scratch = lab::ScratchDirectory::new().unwrap();
        let path = scratch.path().join("disk");
        for (program, arguments, bytes) in [
            ("mkfs.ext4", "-q -F", 8_u64 << 20),
            ("mkfs.ext4", "-q -F -b 1024 -O ^64bit", 8 << 20),
            ("mkfs.xfs", "-q -f", 320 << 20),
            ("mkfs.btrfs", "-q -f", 128 << 20),
            ("mkfs.ntfs", "-q -F -f", 16 << 20),
        ] {
            if lab::installed(program).is_err() {
                continue;
            }
            File::create(&path).unwrap().set_len(bytes).unwrap();
            let mut all: Vec<&str> = arguments.split(' ').collect();
            let name = path.to_str().unwrap().to_owned();
            all.push(&name);
            run(program, &all);
            let look = |bytes: u64| {
                let file = File::options().read(true).write(true).open(&path).unwrap();
                file.set_len(bytes).unwrap();
                check(Format::Raw, file, 0, bytes)
            };
            look(bytes).unwrap_or_else(|error| panic!("{program}: {error}"));
            let cut = look(bytes - 4096);
            assert!(
                matches!(
                    cut,
                    Err(WholeError::Contents {
                        what: "file system",
                        ..
                    })
                ),
                "{program} {arguments}: {cut:?}"
            );
            assert!(matches!(look(bytes - 1), Err(WholeError::Sector(_))));
        }
    }

    #[test]
    fn cd_that_ends_early_is_refused() {
        let mut cd = vec![0_u8; 40 << 10];
        cd[32 << 10..(32 << 10) + 6].copy_from_slice(b"\x01CD001");
        cd[(32 << 10) + 80] = 20;
        cd[(32 << 10) + 128..(32 << 10) + 130].copy_from_slice(&2048_u16.to_le_bytes());
        let look = |cd: &[u8]| check(Format::Raw, Cursor::new(cd), 0, cd.len() as u64);
        assert!(look(&cd).is_ok());
        let cut = look(&cd[..38 << 10]);
        assert!(
            matches!(cut, Err(WholeError::Contents { what: "CD", .. })),
            "{cut:?}"
        );
    }

    #[test]
    fn images_that_were_written_in_parts_are_whole() {
        lab::skip_unless_installed!("qemu-img");
        let scratch = lab::ScratchDirectory::new().unwrap();
        for (driver, option) in [
            ("qcow2", "compat=1.1"),
            ("qcow2", "extended_l2=on"),
            ("qcow2", "lazy_refcounts=on"),
            ("vdi", "static=off"),
            ("vmdk", "subformat=monolithicSparse"),
            ("vpc", "subformat=dynamic"),
            ("vhdx", "subformat=dynamic"),
        ] {
            let path = scratch.path().join(format!("image.{driver}"));
            let path = path.to_str().unwrap().to_owned();
            let create = [
                "create",
                "-q",
                "-f",
                driver,
                "-o",
                option,
                &path,
                "100000000",
            ];
            run("qemu-img", &create);
            let mut commands = vec!["-f".to_owned(), driver.to_owned()];
            for (at, length) in [
                (0, 512),
                (66_048, 1024),
                (99_999_744, 256),
                (50_000_384, 65_536),
            ] {
                let (at, length) = (at / 512 * 512, u64::max(length, 512));
                commands.extend(["-c".to_owned(), format!("write -q -P 7 {at} {length}")]);
            }
            commands.extend([
                "-c".to_owned(),
                "write -q -z 1M 2M".to_owned(),
                path.clone(),
            ]);
            let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
            run("qemu-io", &commands);
            look(Path::new(&path)).unwrap_or_else(|error| panic!("{driver} {option}: {error}"));
        }
    }

    #[test]
    fn raw_disk_that_ends_before_its_partitions_is_refused() {
        let mut disk = vec![0_u8; 1 << 20];
        let look = |disk: &[u8]| check(Format::Raw, Cursor::new(disk), 0, disk.len() as u64);
        assert!(look(&disk).is_ok(), "no table");
        disk[510..512].copy_from_slice(&[0x55, 0xaa]);
        assert!(look(&disk).is_ok(), "an empty table");
        disk[446..462].copy_from_slice(&[0x80, 0, 0, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 8, 0, 0]);
        assert!(matches!(
            look(&disk),
            Err(WholeError::Contents { needs, .. }) if needs == 2 << 20
        ));
        disk.resize(2 << 20, 0);
        assert!(look(&disk).is_ok());
        // A GPT: the copy of its header is in the last sector.
        disk[450] = 0xee;
        disk[512..520].copy_from_slice(b"EFI PART");
        disk[544..552].copy_from_slice(&4096_u64.to_le_bytes());
        assert!(matches!(look(&disk), Err(WholeError::Contents { .. })));
        disk.resize((2 << 20) + 512, 0);
        assert!(look(&disk).is_ok());
        // The boot sector of a file system has code where a table has partitions.
        disk[446] = 0xeb;
        disk[512] = 0;
        assert!(look(&disk).is_ok());
    }

    proptest! {
        #[test]
        fn hostile_tables_end_within_bounds(
            magic in 0..5_usize,
            at in proptest::collection::vec((0..600_usize, any::<u8>()), 0..64),
        ) {
            let (offset, bytes) = [
                (0, &b"QFI\xfb\0\0\0\x03"[..]),
                (0, b"KDMV"),
                (64, b"\x7f\x10\xda\xbe"),
                (0, b"conectix"),
                (0, b"COWD"),
            ][magic];
            let mut image = vec![0_u8; 700];
            image[offset..offset + bytes.len()].copy_from_slice(bytes);
            for (at, byte) in at {
                if at >= 8 {
                    image[at] = byte;
                }
            }
            let format = detect(&image);
            let _ = check(format, Cursor::new(&image), 0, image.len() as u64);
        }
    }
}
