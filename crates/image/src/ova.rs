//! Reads an open virtual appliance (OVA): a tar archive with an OVF descriptor, a manifest and
//! disks (DMTF DSP0243). Nothing is unpacked: a disk is read from its position in the archive.
//! Member names are only compared and never used as paths.

use crate::hardware::Firmware;
use roxmltree::{Document, Node, ParsingOptions};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::{self, Read, Seek};

const BLOCK_BYTES: u64 = 512;
const MEMBERS_MAX: usize = 256;
pub const OVF_BYTES_MAX: u64 = 1 << 20;
const NODES_MAX: u32 = 20_000;
const DISKS_MAX: usize = 16;
const PROCESSORS: &str = "3";
const MEMORY: &str = "4";
const DISK: &str = "17";

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ArchiveMember {
    pub name: String,
    pub offset: u64,
    pub size: u64,
}

/// Virtual machine as described by an OVF.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OvfMachine {
    pub memory_mib: u64,
    pub cpus: u32,
    /// Disks in order: name of the member, and size in bytes if the OVF has it.
    pub disks: Vec<(String, Option<u64>)>,
    pub firmware: Firmware,
    pub system: String,
    /// Sizes of members in bytes, where the OVF has them.
    pub file_bytes: BTreeMap<String, u64>,
}

/// Checksum of a member, from the manifest of the archive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checksum {
    pub name: String,
    /// Algorithm in upper case: `SHA1`, `SHA256`, `SHA384` or `SHA512`.
    pub algorithm: String,
    /// Digest as lower-case hexadecimal digits.
    pub digest: String,
}

/// Reason why an appliance is refused.
#[derive(Debug, thiserror::Error)]
pub enum OvaError {
    #[error("the archive cannot be read: {0}")]
    Archive(#[from] io::Error),
    #[error("the archive has more than {MEMBERS_MAX} members")]
    Members,
    #[error("'{0}' is truncated: the archive ends before the member")]
    Cut(String),
    #[error(
        "the archive is truncated: its end marker is missing. Download it again; if it is complete, unpack \
         it and import the disk separately"
    )]
    NoEnd,
    #[error("the archive has two members '{0}': it is ambiguous")]
    Twice(String),
    #[error(
        "'{name}' has {has} bytes, and the OVF says {says}: the archive is damaged. Download it again"
    )]
    Length { name: String, has: u64, says: u64 },
    #[error(
        "disk '{name}' has {has} bytes, and the OVF says {says}: it is truncated. Download the archive again"
    )]
    Capacity { name: String, has: u64, says: u64 },
    #[error(
        "the manifest of the archive has no checksum of '{0}': the archive is damaged or was changed. \
         Download it again"
    )]
    NotInManifest(String),
    #[error("the manifest has a line that is not a checksum: {0:?}")]
    Manifest(String),
    #[error("the manifest has two different checksums of '{0}'")]
    ManifestTwice(String),
    #[error("the archive has {0} members that end in .ovf instead of one")]
    Ovf(usize),
    #[error(
        "the archive is an export of XenServer (XVA), whose disks are in pieces, which is not supported: export the \
         virtual machine as OVF, or its disks as VHD (`xe vdi-export format=vhd`)"
    )]
    Xva,
    #[error("the OVF cannot be read: {0}")]
    Xml(#[from] roxmltree::Error),
    #[error("the OVF names a disk in '{0}', which the archive does not have")]
    Missing(String),
    #[error(
        "'{name}' is compressed by {by}: unpack the archive, decompress the disk and import it separately"
    )]
    Compressed { name: String, by: String },
    #[error("the OVF has {0} disks, and a guest 1 to {DISKS_MAX}")]
    Disks(usize),
}

/// Returns the members of an archive of `size` bytes that are files, named relative to the OVF's
/// directory.
///
/// # Errors
/// The archive is invalid, truncated, or has too many members.
pub fn members(archive: impl Read + Seek, size: u64) -> Result<Vec<ArchiveMember>, OvaError> {
    let mut archive = tar::Archive::new(archive);
    let mut found: Vec<ArchiveMember> = Vec::new();
    let mut end = 0;
    for (count, entry) in archive.entries_with_seek()?.enumerate() {
        if count >= MEMBERS_MAX {
            return Err(OvaError::Members);
        }
        let entry = entry?;
        let kind = entry.header().entry_type();
        let stored = if kind.is_gnu_sparse() {
            entry.header().entry_size()?
        } else {
            entry.size()
        };
        let padded = stored.checked_next_multiple_of(BLOCK_BYTES);
        end = padded.map_or(u64::MAX, |bytes| {
            bytes.saturating_add(entry.raw_file_position())
        });
        if !kind.is_file() {
            continue;
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let member = ArchiveMember {
            name: without_dot(&name).to_owned(),
            offset: entry.raw_file_position(),
            size: entry.size(),
        };
        if member
            .offset
            .checked_add(member.size)
            .is_none_or(|end| end > size)
        {
            return Err(OvaError::Cut(member.name));
        }
        if found.iter().any(|other| other.name == member.name) {
            return Err(OvaError::Twice(member.name));
        }
        found.push(member);
    }
    // Refuses an archive without its end: a truncated one may also lack a manifest after the disks.
    if end.saturating_add(BLOCK_BYTES) > size {
        return Err(OvaError::NoEnd);
    }
    Ok(beside_ovf(found))
}

/// Removes a leading `./`, as `tar` writes it for the members of a directory.
fn without_dot(name: &str) -> &str {
    let mut name = name;
    while let Some(rest) = name.strip_prefix("./") {
        name = rest.trim_start_matches('/');
    }
    name
}

/// Makes the names relative to the directory of the OVF, as the OVF refers to them.
fn beside_ovf(mut members: Vec<ArchiveMember>) -> Vec<ArchiveMember> {
    let directory = match ovf(&members) {
        Ok(ovf) => ovf.name.rfind('/').map(|at| ovf.name[..=at].to_owned()),
        Err(_) => None,
    };
    let Some(directory) = directory else {
        return members;
    };
    for member in &mut members {
        // Inserts a leading `/`, so that the OVF cannot refer to a member outside of its directory.
        match member.name.strip_prefix(&directory) {
            Some(name) => member.name = name.to_owned(),
            None => member.name.insert(0, '/'),
        }
    }
    members
}

/// Returns the OVF of an archive.
///
/// # Errors
/// The archive has no OVF, or more than one.
pub fn ovf(members: &[ArchiveMember]) -> Result<&ArchiveMember, OvaError> {
    let is_ovf = |one: &&ArchiveMember| {
        let end = one.name.len().saturating_sub(4);
        let ends = one
            .name
            .get(end..)
            .is_some_and(|end| end.eq_ignore_ascii_case(".ovf"));
        ends && one.size <= OVF_BYTES_MAX
    };
    if members.iter().any(|one| one.name == "ova.xml") {
        return Err(OvaError::Xva);
    }
    let found: Vec<&ArchiveMember> = members.iter().filter(is_ovf).collect();
    match found[..] {
        [one] => Ok(one),
        _ => Err(OvaError::Ovf(found.len())),
    }
}

/// Returns the members that are disks of a machine, in order.
///
/// # Errors
/// A disk is missing, or has a size that the OVF contradicts.
pub fn disks<'m>(
    machine: &OvfMachine,
    members: &'m [ArchiveMember],
) -> Result<Vec<&'m ArchiveMember>, OvaError> {
    let found = machine.disks.iter().map(|(name, _)| {
        let member = members.iter().find(|one| one.name == *name);
        let member = member.ok_or_else(|| OvaError::Missing(name.clone()))?;
        match machine.file_bytes.get(name) {
            Some(says) if *says != member.size => Err(OvaError::Length {
                name: name.clone(),
                has: member.size,
                says: *says,
            }),
            _ => Ok(member),
        }
    });
    found.collect()
}

/// Checks that a raw disk in the archive is not shorter than the capacity in the OVF. Callers check
/// only raw disks, because other formats store their size themselves.
///
/// # Errors
/// The member is shorter than the capacity.
pub fn is_complete(machine: &OvfMachine, member: &ArchiveMember) -> Result<(), OvaError> {
    let mut disks = machine.disks.iter();
    let capacity = disks.find(|(name, _)| *name == member.name);
    match capacity.and_then(|(_, capacity)| *capacity) {
        Some(says) if member.size < says => Err(OvaError::Capacity {
            name: member.name.clone(),
            has: member.size,
            says,
        }),
        _ => Ok(()),
    }
}

pub fn manifest(members: &[ArchiveMember]) -> Option<&ArchiveMember> {
    let is_manifest = |one: &&ArchiveMember| {
        let end = one.name.len().saturating_sub(3);
        let ends = one.name.get(end..);
        ends.is_some_and(|ends| ends.eq_ignore_ascii_case(".mf"))
    };
    members.iter().find(is_manifest)
}

/// Reads a manifest: lines such as `SHA256(mail.vmdk)= 1f2e…` (DSP0243, section 5).
///
/// # Errors
/// A line has another form, or two lines contradict each other.
pub fn checksums(text: &str) -> Result<Vec<Checksum>, OvaError> {
    let of_line = |line: &str| {
        let (before, digest) = line.rsplit_once('=')?;
        let (algorithm, name) = before.trim().strip_suffix(')')?.split_once('(')?;
        let algorithm = algorithm.trim().to_ascii_uppercase().replace('-', "");
        let digest = digest.trim().to_ascii_lowercase();
        let letters = match algorithm.as_str() {
            "SHA1" => 40,
            "SHA256" => 64,
            "SHA384" => 96,
            "SHA512" => 128,
            _ => return None,
        };
        let is_hex = digest.bytes().all(|letter| letter.is_ascii_hexdigit());
        (digest.len() == letters && is_hex).then(|| Checksum {
            name: without_dot(name).to_owned(),
            algorithm,
            digest,
        })
    };
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let read = |line: &str| {
        of_line(line).ok_or_else(|| OvaError::Manifest(line.chars().take(80).collect()))
    };
    let mut all: Vec<Checksum> = Vec::new();
    let mut known = BTreeMap::new();
    for line in lines {
        let one = read(line)?;
        let digest = known.entry((one.name.clone(), one.algorithm.clone()));
        match digest {
            Entry::Occupied(digest) if *digest.get() != one.digest => {
                return Err(OvaError::ManifestTwice(one.name));
            }
            Entry::Occupied(_) => {}
            Entry::Vacant(digest) => {
                digest.insert(one.digest.clone());
                all.push(one);
            }
        }
    }
    Ok(all)
}

/// Reads an OVF.
///
/// # Errors
/// The text is no XML, or its disks cannot be used.
pub fn machine(text: &str) -> Result<OvfMachine, OvaError> {
    let options = ParsingOptions {
        nodes_limit: NODES_MAX,
        ..ParsingOptions::default()
    };
    let document = Document::parse_with_options(text, options)?;
    let mut machine = OvfMachine {
        memory_mib: 1024,
        cpus: 1,
        ..OvfMachine::default()
    };
    let mut order = Vec::new();
    for item in named(&document, "Item") {
        let child = |name| text_of(item, name);
        let quantity = || child("VirtualQuantity").and_then(|text| text.parse::<u64>().ok());
        match child("ResourceType").as_deref() {
            Some(PROCESSORS) => {
                let cpus = quantity().and_then(|cpus| u32::try_from(cpus).ok());
                machine.cpus = cpus.unwrap_or(1).clamp(1, 255);
            }
            Some(MEMORY) => {
                let unit = child("AllocationUnits").unwrap_or_default();
                let bytes = quantity().and_then(|count| count.checked_mul(unit_bytes(&unit, 20)));
                machine.memory_mib = bytes.unwrap_or(1 << 30) >> 20;
            }
            Some(DISK) => order.extend(child("HostResource")),
            _ => {}
        }
    }
    let by_id = |host: &String| {
        let id = host.rsplit('/').next().unwrap_or_default();
        named(&document, "Disk").find(|disk| attribute(*disk, "diskId") == Some(id))
    };
    let mut disks: Vec<Node<'_, '_>> = order.iter().filter_map(by_id).collect();
    if disks.is_empty() {
        disks = named(&document, "Disk").collect();
    }
    if !(1..=DISKS_MAX).contains(&disks.len()) {
        return Err(OvaError::Disks(disks.len()));
    }
    for disk in disks {
        machine.disks.push(a_disk(&document, disk)?);
    }
    let bytes = named(&document, "File").filter_map(|file| {
        let bytes = attribute(file, "size")?.parse().ok()?;
        Some((without_dot(attribute(file, "href")?).to_owned(), bytes))
    });
    machine.file_bytes = bytes.collect();
    let is_efi = |config: Node<'_, '_>| {
        attribute(config, "key") == Some("firmware") && attribute(config, "value") == Some("efi")
    };
    if named(&document, "Config").any(is_efi) {
        machine.firmware = Firmware::Uefi;
    }
    let system = named(&document, "OperatingSystemSection").next();
    let system = system.and_then(|system| text_of(system, "Description"));
    machine.system = system.unwrap_or_default();
    Ok(machine)
}

fn a_disk(document: &Document<'_>, disk: Node<'_, '_>) -> Result<(String, Option<u64>), OvaError> {
    let reference = attribute(disk, "fileRef").unwrap_or_default();
    let file = named(document, "File").find(|file| attribute(*file, "id") == Some(reference));
    let name = file.and_then(|file| attribute(file, "href"));
    let name = name.map(without_dot);
    let missing = || OvaError::Missing(reference.to_owned());
    let (file, name) = file.zip(name).ok_or_else(missing)?;
    let by = attribute(file, "compression").filter(|by| !by.is_empty() && *by != "identity");
    if let Some(by) = by {
        return Err(OvaError::Compressed {
            name: name.to_owned(),
            by: by.to_owned(),
        });
    }
    let unit = unit_bytes(
        attribute(disk, "capacityAllocationUnits").unwrap_or_default(),
        0,
    );
    let capacity = attribute(disk, "capacity").and_then(|text| text.parse::<u64>().ok());
    Ok((
        name.to_owned(),
        capacity.and_then(|count| count.checked_mul(unit)),
    ))
}

/// Returns the elements of this name in any namespace: versions of OVF have different ones.
fn named<'a, 'i: 'a>(
    document: &'a Document<'i>,
    name: &'static str,
) -> impl Iterator<Item = Node<'a, 'i>> {
    let all = document.descendants();
    all.filter(move |node| node.is_element() && node.tag_name().name() == name)
}

fn attribute<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    let mut all = node.attributes();
    all.find(|one| one.name() == name).map(|one| one.value())
}

fn text_of(node: Node<'_, '_>, name: &str) -> Option<String> {
    let mut children = node.children();
    let child = children.find(|child| child.tag_name().name() == name)?;
    child.text().map(|text| text.trim().to_owned())
}

/// Returns the number of bytes of a programmatic unit (DSP0004, annex C), such as `byte * 2^20`, or
/// of an older word for it. For any other text, returns `2^shift`.
fn unit_bytes(unit: &str, shift: u32) -> u64 {
    let power = unit
        .rsplit_once("2^")
        .and_then(|(_, power)| power.trim().parse().ok());
    let older = match unit.to_ascii_lowercase().as_str() {
        "byte" | "bytes" => Some(0),
        "kilobytes" | "kb" => Some(10),
        "megabytes" | "mb" => Some(20),
        "gigabytes" | "gb" => Some(30),
        _ => None,
    };
    1 << power
        .or(older)
        .filter(|power: &u32| *power <= 50)
        .unwrap_or(shift)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    const OVF: &str = r#"<?xml version="1.0"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
  xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
  xmlns:vmw="http://www.vmware.com/schema/ovf">
 <References><File ovf:id="f1" ovf:href="b.vmdk"/><File ovf:id="f2" ovf:href="a.vmdk"/></References>
 <DiskSection><Info>disks</Info>
  <Disk ovf:diskId="d1" ovf:fileRef="f1" ovf:capacity="8" ovf:capacityAllocationUnits="byte * 2^30"/>
  <Disk ovf:diskId="d2" ovf:fileRef="f2" ovf:capacity="1048576"/></DiskSection>
 <VirtualSystem ovf:id="mail">
  <OperatingSystemSection ovf:id="96"><Description>Debian_64</Description></OperatingSystemSection>
  <VirtualHardwareSection>
   <Item><rasd:ResourceType>3</rasd:ResourceType><rasd:VirtualQuantity>2</rasd:VirtualQuantity></Item>
   <Item><rasd:AllocationUnits>MegaBytes</rasd:AllocationUnits><rasd:ResourceType>4</rasd:ResourceType>
     <rasd:VirtualQuantity>2048</rasd:VirtualQuantity></Item>
   <Item><rasd:HostResource>ovf:/disk/d2</rasd:HostResource><rasd:ResourceType>17</rasd:ResourceType></Item>
   <Item><rasd:HostResource>/disk/d1</rasd:HostResource><rasd:ResourceType>17</rasd:ResourceType></Item>
   <vmw:Config ovf:required="false" vmw:key="firmware" vmw:value="efi"/>
  </VirtualHardwareSection></VirtualSystem></Envelope>"#;

    #[test]
    fn members_are_named_from_the_directory_of_the_ovf() {
        for directory in ["", "./", "vm/", "./vm/"] {
            let name = |name: &str| format!("{directory}{name}");
            let (ovf_name, disk) = (name("vm.ovf"), name("d.vmdk"));
            let bytes = archive(&[(&ovf_name, b"<x/>"), (&disk, b"disk"), ("./../z", b"")]);
            let members = members(Cursor::new(&bytes), bytes.len() as u64).unwrap();
            assert_eq!(ovf(&members).unwrap().name, "vm.ovf");
            assert!(
                members.iter().any(|one| one.name == "d.vmdk"),
                "{members:?}"
            );
        }
    }

    #[test]
    fn manifest_that_contradicts_itself_is_refused() {
        let line = |name: &str, letter: &str| format!("SHA1({name})= {}\n", letter.repeat(40));
        let same = line("a", "1") + &line("./a", "1") + &line("b", "2");
        assert_eq!(checksums(&same).unwrap().len(), 2);
        let differs = line("a", "1") + &line("a", "2");
        assert!(matches!(checksums(&differs), Err(OvaError::ManifestTwice(name)) if name == "a"));
    }

    #[test]
    fn ambiguous_or_cut_archive_is_refused() {
        let read = |bytes: &[u8]| members(Cursor::new(bytes), bytes.len() as u64);
        let twice = archive(&[("a.vmdk", b"1"), ("./a.vmdk", b"2")]);
        assert!(matches!(read(&twice), Err(OvaError::Twice(name)) if name == "a.vmdk"));
        // Truncated between two members, within the padding of one, or where only the end is
        // missing.
        let whole = archive(&[("a.vmdk", &[1; 700]), ("a.mf", b"SHA256")]);
        assert!(read(&whole).is_ok());
        for end in [512 + 700, 512 + 1024, whole.len() - 1024] {
            assert!(matches!(read(&whole[..end]), Err(OvaError::NoEnd)), "{end}");
        }
        assert!(
            read(&whole[..whole.len() - 512]).is_ok(),
            "one block of zeroes"
        );
    }

    fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, bytes) in members {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            // Written directly, as in a hostile archive: the library refuses to write such a path.
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            builder.append(&header, *bytes).unwrap();
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn an_ovf_has_memory_processors_and_disks_in_their_order() {
        let expected = OvfMachine {
            memory_mib: 2048,
            cpus: 2,
            disks: vec![
                ("a.vmdk".to_owned(), Some(1 << 20)),
                ("b.vmdk".to_owned(), Some(8 << 30)),
            ],
            firmware: Firmware::Uefi,
            system: "Debian_64".to_owned(),
            ..OvfMachine::default()
        };
        assert_eq!(machine(OVF).unwrap(), expected);
    }

    #[test]
    fn disks_are_found_where_they_are_in_the_archive() {
        let bytes = archive(&[
            ("mail.ovf", OVF.as_bytes()),
            ("a.vmdk", b"KDMV"),
            ("b.vmdk", b"x"),
        ]);
        let members = members(Cursor::new(&bytes), bytes.len() as u64).unwrap();
        let machine = machine(OVF).unwrap();
        assert_eq!(ovf(&members).unwrap().name, "mail.ovf");
        let disks = disks(&machine, &members).unwrap();
        let at = usize::try_from(disks[0].offset).unwrap();
        assert_eq!((&bytes[at..at + 4], disks[0].size), (&b"KDMV"[..], 4));
    }

    #[test]
    fn manifest_is_read_in_both_spellings_and_nothing_else_is() {
        let one = "1".repeat(40);
        let two = "AB".repeat(32);
        let text = format!("SHA1(mail.ovf)= {one}\r\nSHA256 (a (1).vmdk) = {two}\n\n");
        let found = checksums(&text).unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|one| {
                (
                    one.name.as_str(),
                    one.algorithm.as_str(),
                    one.digest.as_str(),
                )
            })
            .collect();
        let two = two.to_ascii_lowercase();
        let expected = [
            ("mail.ovf", "SHA1", one.as_str()),
            ("a (1).vmdk", "SHA256", &two),
        ];
        assert_eq!(found, expected);
        for bad in [
            "SHA256(a)= 12",
            "MD5(a)= 00112233445566778899aabbccddeeff",
            "nothing",
        ] {
            assert!(
                matches!(checksums(bad), Err(OvaError::Manifest(_))),
                "{bad}"
            );
        }
    }

    #[test]
    fn member_of_another_length_than_the_ovf_says_is_refused() {
        let ovf = OVF.replace("ovf:href=\"a.vmdk\"", "ovf:href=\"a.vmdk\" ovf:size=\"5\"");
        let bytes = archive(&[("mail.ovf", b""), ("a.vmdk", b"KDMV"), ("b.vmdk", b"x")]);
        let members = members(Cursor::new(&bytes), bytes.len() as u64).unwrap();
        let found = disks(&machine(&ovf).unwrap(), &members);
        assert!(
            matches!(
                found,
                Err(OvaError::Length {
                    has: 4,
                    says: 5,
                    ..
                })
            ),
            "{found:?}"
        );
    }

    #[test]
    fn raw_disk_below_its_capacity_is_refused() {
        let machine = machine(OVF).unwrap();
        let member = |size| ArchiveMember {
            name: "a.vmdk".to_owned(),
            offset: 0,
            size,
        };
        assert!(is_complete(&machine, &member(1 << 20)).is_ok());
        let cut = is_complete(&machine, &member((1 << 20) - 512));
        assert!(
            matches!(
                cut,
                Err(OvaError::Capacity {
                    says: 1_048_576,
                    ..
                })
            ),
            "{cut:?}"
        );
    }

    #[test]
    fn export_of_xenserver_is_refused_by_its_name() {
        let bytes = archive(&[("ova.xml", b"<value/>"), ("Ref:4/00000000", b"x")]);
        let members = members(Cursor::new(&bytes), bytes.len() as u64).unwrap();
        assert!(matches!(ovf(&members), Err(OvaError::Xva)));
    }

    #[test]
    fn a_hostile_archive_is_refused_and_its_paths_are_only_names() {
        let bytes = archive(&[("../../etc/cron.d/x", b"x"), ("/etc/shadow", b"x")]);
        let all = members(Cursor::new(&bytes), bytes.len() as u64).unwrap();
        assert_eq!(all[0].name, "../../etc/cron.d/x");
        assert!(matches!(ovf(&all), Err(OvaError::Ovf(0))));
        let machine = machine(OVF).unwrap();
        assert!(matches!(disks(&machine, &all), Err(OvaError::Missing(name)) if name == "a.vmdk"));
        // Truncates the archive within its member.
        let cut = &bytes[..600];
        assert!(members(Cursor::new(cut), 512).is_err());
        let two = archive(&[("a.ovf", b"x"), ("b.OVF", b"x")]);
        let all = members(Cursor::new(&two), two.len() as u64).unwrap();
        assert!(matches!(ovf(&all), Err(OvaError::Ovf(2))));
    }

    #[test]
    fn an_ovf_without_disks_with_entities_or_with_compressed_disks_is_refused() {
        let none = OVF
            .replace("<Disk ", "<Nothing ")
            .replace("</Disk>", "</Nothing>");
        assert!(matches!(machine(&none), Err(OvaError::Disks(0))));
        let bomb = OVF.replacen("<Envelope", "<!DOCTYPE x [<!ENTITY a \"b\">]><Envelope", 1);
        assert!(matches!(machine(&bomb), Err(OvaError::Xml(_))));
        let packed = OVF.replace("ovf:id=\"f2\"", "ovf:id=\"f2\" ovf:compression=\"gzip\"");
        assert!(matches!(machine(&packed), Err(OvaError::Compressed { by, .. }) if by == "gzip"));
        assert!(machine("no xml").is_err());
    }
}
