//! Plans the conversion of a Xen guest to QEMU: a list of steps, each with its reason and the
//! program's action or the command for an operator. The plan is created from the configuration and
//! the contents of the disks before anything is written.

use super::domain::{Boot, Disk, XenDomain};
use crate::hardware::{Bus, Firmware, Model};
use crate::section::{GuestDraft, NetworkCard};
use std::fmt::Write;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConversionStep {
    pub what: String,
    pub why: String,
    pub how: StepExecutor,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StepExecutor {
    /// Carried out by this program, as described by the text.
    Here(String),
    /// Optional command for an operator; the guest boots without it.
    Person(String),
    /// Command for an operator that has to run before the conversion.
    Before(String),
}

/// File system found on a disk.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DetectedFileSystem {
    /// Number of the file system's partition; 0: the disk has no partition table.
    pub partition: u32,
    pub begin: u64,
    /// Type as named by `blkid`; empty: unknown.
    pub system: String,
    /// UUID of the file system; empty: none.
    pub uuid: String,
}

/// Contents of a disk of the configuration.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DiskContents {
    pub size: u64,
    /// Image format as named by QEMU.
    pub format: String,
    /// Type of the partition table as named by `blkid`; empty: none.
    pub table: String,
    pub found: Vec<DetectedFileSystem>,
    pub defect: Option<String>,
}

/// Linux system found on the disks.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Linux {
    /// Index of the disk in the configuration, and index of the root file system on that disk.
    pub root: (usize, usize),
    /// Name of the distribution, from `os-release` or `debian_version`.
    pub title: String,
    pub kernels: Vec<Kernel>,
    pub maker: InitrdTool,
    pub traits: LinuxTraits,
}

/// Kernel of a Linux system.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Kernel {
    /// Version, as in the name of the kernel's module directory.
    pub version: String,
    pub has_image: bool,
    pub has_virtio: bool,
}

/// Tool that builds initial RAM disks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum InitrdTool {
    InitramfsTools,
    Dracut,
    #[default]
    None,
}

/// Other properties of a Linux system.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LinuxTraits {
    pub has_inittab: bool,
    /// udev rules that name network cards by MAC address or bus.
    pub net_rules: Vec<String>,
    pub devices: Vec<String>,
    /// Devices in `fstab` that no disk of the configuration has.
    pub devices_left: Vec<String>,
    /// Separate file system for `/boot`: index of the disk, and index on that disk.
    pub boot: Option<(usize, usize)>,
}

/// Windows system found on the disks.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Windows {
    /// Missing virtio drivers; None: the file system could not be read.
    pub missing: Option<Vec<String>>,
}

/// Operating system found on the disks.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum System {
    Linux(Linux),
    Windows(Windows),
    #[default]
    Unknown,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConversionPlan {
    pub steps: Vec<ConversionStep>,
    pub kernel: Option<KernelChoice>,
    pub draft: GuestDraft,
    pub targets: Vec<TargetDisk>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KernelChoice {
    pub version: String,
    /// The kernel is copied from the host path in the configuration.
    pub from_host: bool,
}

/// Disk of the new guest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TargetDisk {
    /// Device name in Xen, such as `xvda`.
    pub name: String,
    /// Indexes of the disks of the configuration that form this disk.
    pub parts: Vec<usize>,
    /// The disks are partitions and get a partition table.
    pub wraps: bool,
    pub size: u64,
}

impl ConversionStep {
    fn here(what: impl Into<String>, why: &str, how: impl Into<String>) -> ConversionStep {
        ConversionStep {
            what: what.into(),
            why: why.to_owned(),
            how: StepExecutor::Here(how.into()),
        }
    }

    fn person(what: impl Into<String>, why: &str, command: impl Into<String>) -> ConversionStep {
        ConversionStep {
            what: what.into(),
            why: why.to_owned(),
            how: StepExecutor::Person(command.into()),
        }
    }

    fn before(what: impl Into<String>, why: &str, command: impl Into<String>) -> ConversionStep {
        ConversionStep {
            what: what.into(),
            why: why.to_owned(),
            how: StepExecutor::Before(command.into()),
        }
    }
}

/// Groups the disks of the configuration into disks of the new guest.
///
/// # Errors
/// The partitions of one disk do not fit into a partition table.
pub fn targets(
    disks: &[Disk],
    seen: &[DiskContents],
) -> Result<Vec<TargetDisk>, crate::boot::BootError> {
    let mut targets: Vec<TargetDisk> = Vec::new();
    for (index, disk) in disks.iter().enumerate() {
        let known = seen.get(index).cloned().unwrap_or_default();
        // Wraps a file system without a partition table into a partition regardless of the device
        // name.
        let is_bare = known.table.is_empty() && known.found.iter().any(|one| one.partition == 0);
        let wraps = disk.partition.is_some() || is_bare;
        let same = targets
            .iter_mut()
            .find(|one| one.name == disk.name && one.wraps && wraps);
        match same {
            Some(target) => target.parts.push(index),
            None => targets.push(TargetDisk {
                name: disk.name.clone(),
                parts: vec![index],
                wraps,
                size: known.size,
            }),
        }
    }
    for target in &mut targets {
        target.parts.sort_by_key(|part| disks[*part].partition);
        if target.wraps {
            let sizes = target.parts.iter().filter_map(|part| seen.get(*part));
            let sizes: Vec<(u64, bool)> = sizes.map(|one| (one.size, is_swap(one))).collect();
            target.size = crate::boot::place(&sizes)?.1;
        }
    }
    Ok(targets)
}

pub fn is_swap(seen: &DiskContents) -> bool {
    seen.found.iter().any(|one| one.system == "swap")
}

/// Returns the kernel that will boot: the newest one in the image with virtio drivers, or else the
/// one of the host that the configuration names, if the image has its modules with virtio drivers.
pub fn choose(linux: &Linux, boot: &Boot, host_has: bool) -> Option<KernelChoice> {
    let fits = |kernel: &&Kernel| kernel.has_image && kernel.has_virtio;
    if let Some(kernel) = linux.kernels.iter().find(fits) {
        return Some(KernelChoice {
            version: kernel.version.clone(),
            from_host: false,
        });
    }
    let path = boot.kernel.as_ref().filter(|_| host_has)?;
    let version = path
        .file_name()?
        .to_str()?
        .strip_prefix("vmlinuz-")?
        .to_owned();
    let known = linux
        .kernels
        .iter()
        .find(|kernel| kernel.version == version)?;
    known.has_virtio.then_some(KernelChoice {
        version,
        from_host: true,
    })
}

/// Creates the plan. `host_has` is true if the kernel file of the configuration exists on this
/// host.
///
/// # Errors
/// The partitions of one disk do not fit into a partition table.
pub fn make(
    domain: &XenDomain,
    name: &str,
    seen: &[DiskContents],
    system: &System,
    host_has: bool,
) -> Result<ConversionPlan, crate::boot::BootError> {
    let mut targets = targets(&domain.disks, seen)?;
    if let System::Linux(linux) = system {
        // Moves the disk from which the BIOS boots to the front.
        let (boots, _) = linux.traits.boot.unwrap_or(linux.root);
        targets.sort_by_key(|target| !target.parts.contains(&boots));
    }
    let mut plan = ConversionPlan {
        steps: Vec::new(),
        kernel: None,
        draft: draft(domain, name, &targets, system),
        targets,
    };
    for (disk, seen) in domain.disks.iter().zip(seen) {
        if let Some(defect) = &seen.defect {
            plan.steps.push(ConversionStep::before(
                format!("{} ({}): {defect}", disk.path.display(), disk.name),
                "the disk must not change while it is read",
                format!(
                    "xl shutdown -w {}    # and: ls -l {}",
                    quoted(&domain.name),
                    quoted(&disk.path.display().to_string())
                ),
            ));
        }
    }
    if domain.disks.is_empty() {
        let command = "add its disk to the configuration: 'phy:/dev/…,xvda,w' or 'file:/…,xvda,w'";
        plan.steps.push(ConversionStep::before(
            "find a disk",
            "the configuration has none",
            command,
        ));
    }
    plan.copies(domain);
    match system {
        System::Linux(linux) => plan.linux(domain, linux, seen, host_has),
        System::Windows(windows) => plan.windows(windows),
        System::Unknown => plan.steps.push(ConversionStep::before(
            "find the system",
            "no file system with /etc/fstab and no Windows was found: LVM inside a disk and encrypted disks \
             are not supported",
            "boot it from a rescue image: `boot iso …` in its section, with the disk imported by `evenkeel guest import`",
        )),
    }
    plan.ends(domain);
    Ok(plan)
}

fn quoted(word: &str) -> String {
    let is_plain = |sign: char| sign.is_ascii_alphanumeric() || "/._-:@+".contains(sign);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

impl ConversionPlan {
    fn copies(&mut self, domain: &XenDomain) {
        for target in &self.targets {
            let paths = target
                .parts
                .iter()
                .map(|part| domain.disks[*part].path.display().to_string());
            let paths = paths.collect::<Vec<_>>().join(" and ");
            let step = if target.wraps {
                ConversionStep::here(
                    format!("copy {paths} into one disk with a partition table"),
                    "Xen gave the guest partitions without a disk; a BIOS boots disks",
                    "each as a partition aligned to 1 MiB (MBR); the originals are only read",
                )
            } else {
                ConversionStep::here(
                    format!("copy {paths}"),
                    "all following steps change the copy",
                    "qemu-img convert to a raw disk; the original is only read",
                )
            };
            self.steps.push(step);
        }
    }

    fn linux(&mut self, domain: &XenDomain, linux: &Linux, seen: &[DiskContents], host_has: bool) {
        let traits = &linux.traits;
        if !traits.devices.is_empty() {
            self.steps.push(ConversionStep::here(
                format!("fstab: {} by UUID", traits.devices.join(", ")),
                "disks have other names under QEMU",
                "/etc/fstab is rewritten; the old one is /etc/fstab.xen",
            ));
        }
        if !traits.devices_left.is_empty() {
            self.steps.push(ConversionStep::person(
                format!("fstab: {}", traits.devices_left.join(", ")),
                "no disk of the configuration has this device: the boot waits for it, or stops",
                "add `nofail` to these lines, or remove them, in /etc/fstab of the guest",
            ));
        }
        self.kernel = choose(linux, &domain.boot, host_has);
        match &self.kernel {
            Some(choice) => {
                let choice = choice.clone();
                self.kernel_steps(&choice, linux);
                self.loader(domain, linux, seen);
            }
            None => self.steps.push(ConversionStep::before(
                "a kernel with drivers for virtio in the image",
                "there is none in its /boot: Xen used a kernel of the host, or the kernel supports Xen only",
                "in the guest, before it is shut down: apt-get install linux-image-amd64 (on 32 bits: linux-image-686-pae)",
            )),
        }
        let (terminal, how) = if traits.has_inittab {
            (
                "/etc/inittab and /etc/securetty",
                "the old ones stay as .xen",
            )
        } else {
            (
                "the kernel's command line",
                "systemd starts a login where the kernel's console is",
            )
        };
        self.steps.push(ConversionStep::here(
            "login on ttyS0 instead of hvc0",
            "there is no Xen console; `evenkeel guest console` is ttyS0",
            format!("{terminal}; {how}"),
        ));
        if !traits.net_rules.is_empty() {
            self.steps.push(ConversionStep::here(
                format!("remove {}", traits.net_rules.join(", ")),
                "the rules reserve the name eth0 for the Xen card, and the new card would be eth1",
                "renamed to .xen",
            ));
        }
    }

    fn kernel_steps(&mut self, choice: &KernelChoice, linux: &Linux) {
        let version = &choice.version;
        if choice.from_host {
            self.steps.push(ConversionStep::here(
                format!("copy kernel {version} of the host into the image"),
                "the image has no kernel",
                "the file that the configuration names, to /boot",
            ));
        }
        let (why, how) = (
            "without them the kernel does not find its root",
            "in a sandbox (bubblewrap) on the copy, without network and devices",
        );
        let what = format!("drivers of virtio in the initial RAM disk of {version}");
        self.steps.push(match linux.maker {
            InitrdTool::InitramfsTools => ConversionStep::here(what, why, format!("update-initramfs, {how}")),
            InitrdTool::Dracut => ConversionStep::here(what, why, format!("dracut, {how}")),
            InitrdTool::None => ConversionStep::person(
                what,
                why,
                format!("in the image: mkinitrd --with=virtio_blk --with=virtio_pci (or what it has) for {version}"),
            ),
        });
    }

    fn loader(&mut self, domain: &XenDomain, linux: &Linux, seen: &[DiskContents]) {
        let (boots, _) = linux.traits.boot.unwrap_or(linux.root);
        let is_gpt = seen.get(boots).is_some_and(|one| one.table == "gpt");
        self.steps.push(match (domain.boot.is_uefi, is_gpt) {
            (true, _) => ConversionStep::here(
                "grub.cfg with root= by UUID",
                "the UEFI boot loader is already on the disk",
                "the old grub.cfg stays as .xen",
            ),
            (false, true) => ConversionStep::before(
                "GRUB on a disk with a GPT",
                "GRUB needs a BIOS boot partition, which its own installer finds",
                "in the guest, before it is shut down: apt-get install grub-pc && grub-install /dev/xvda, with a partition of \
                 1 MiB of the type BIOS boot",
            ),
            (false, false) => ConversionStep::here(
                "GRUB on the disk, and root= by UUID",
                "Xen loaded the kernel itself, or by pygrub",
                "grub.cfg, GRUB's modules, boot.img and core.img before the first partition; the old grub.cfg stays as .xen",
            ),
        });
    }

    fn windows(&mut self, windows: &Windows) {
        let get = "before the move: install virtio-win-guest-tools.exe of the ISO virtio-win in the guest. Later: import with \
                   `bus ide` and `model e1000`, boot, install, and remove both from the section";
        match &windows.missing {
            Some(missing) if missing.is_empty() => self.steps.push(ConversionStep::here(
                "Windows with drivers of virtio",
                "viostor.sys and netkvm.sys are installed",
                "disk and network card are virtio",
            )),
            Some(missing) => self.steps.push(ConversionStep::person(
                format!("Windows without {}", missing.join(" and ")),
                "it uses IDE and e1000 until they are installed",
                get,
            )),
            None => self.steps.push(ConversionStep::person(
                "Windows whose drivers could not be read",
                "it is treated as having no virtio drivers: IDE and e1000",
                get,
            )),
        }
    }

    fn ends(&mut self, domain: &XenDomain) {
        let macs = domain.vifs.iter().filter(|vif| vif.mac.is_some()).count();
        if macs > 0 {
            self.steps.push(ConversionStep::here(
                "keep the MAC addresses",
                "DHCP servers and neighbours know them",
                "`nic … mac` in the section below",
            ));
        }
        if domain.vifs.iter().any(|vif| vif.mac.is_none()) {
            self.steps.push(ConversionStep::person(
                "a network card without a MAC address in the configuration",
                "Xen generated one at each start",
                "`nic … mac` with the current address of the guest (ip link), or without it for a new fixed \
                 one",
            ));
        }
        for note in &domain.notes {
            self.steps.push(ConversionStep::person(
                note.clone(),
                "it is not converted",
                "decide whether the guest needs it",
            ));
        }
        self.steps.push(ConversionStep::here(
            "test boot",
            "a guest that does not boot is not copied to the volume",
            "QEMU with the settings of the guest, without network, on a snapshot, until its serial terminal \
             shows a login prompt",
        ));
        self.steps.push(ConversionStep::here(
            "fill the volume",
            "the copy becomes the disk of the guest",
            "without zeroes, like `evenkeel volume import`",
        ));
        let addresses = domain.vifs.iter().flat_map(|vif| &vif.addresses);
        let addresses: Vec<String> = addresses.map(ToString::to_string).collect();
        let (what, how) = if addresses.is_empty() {
            (
                "announce the network card".to_owned(),
                "by RARP; with `address` in the line `nic` by ARP as well",
            )
        } else {
            (
                format!("announce {}", addresses.join(", ")),
                "by the node, each time it starts the guest",
            )
        };
        self.steps.push(ConversionStep::here(
            what,
            "switches and neighbours learn its location at once",
            how,
        ));
    }

    /// Returns whether the plan has a step that an operator must do before the conversion.
    pub fn is_blocked(&self) -> bool {
        self.steps
            .iter()
            .any(|step| matches!(step.how, StepExecutor::Before(_)))
    }

    pub fn text(&self) -> String {
        let mut text = String::new();
        for (index, step) in self.steps.iter().enumerate() {
            let (mark, how) = match &step.how {
                StepExecutor::Here(how) => ("[ ]    ", format!("how: {how}")),
                StepExecutor::Person(command) => ("[you]  ", format!("you: {command}")),
                StepExecutor::Before(command) => ("[first]", format!("you: {command}")),
            };
            let _ = writeln!(
                text,
                "{mark} {:2}. {}\n             why: {}\n             {how}",
                index + 1,
                step.what,
                step.why
            );
        }
        // Replaces control characters, since names in the image are untrusted.
        text.replace(|sign: char| sign.is_control() && sign != '\n', "?")
    }
}

fn draft(domain: &XenDomain, name: &str, targets: &[TargetDisk], system: &System) -> GuestDraft {
    let is_virtio = match system {
        System::Windows(windows) => windows.missing.as_ref().is_some_and(Vec::is_empty),
        System::Linux(_) | System::Unknown => true,
    };
    let model = |own: Model| if is_virtio { own } else { Model::E1000 };
    let volume = |index: usize| match index {
        0 => name.to_owned(),
        index => format!("{name}-{}", index + 1),
    };
    let disks = targets.iter().enumerate();
    GuestDraft {
        name: name.to_owned(),
        memory_mib: domain.memory_mib,
        cpus: domain.cpus,
        disks: disks
            .map(|(index, target)| (volume(index), target.size))
            .collect(),
        bus: if is_virtio { Bus::Virtio } else { Bus::Ide },
        nics: domain
            .vifs
            .iter()
            .map(|vif| NetworkCard {
                bridge: vif.bridge.clone(),
                mac: vif.mac,
                addresses: vif.addresses.clone(),
                model: model(if domain.boot.is_hvm && is_virtio {
                    Model::Virtio
                } else {
                    vif.model
                }),
            })
            .collect(),
        firmware: if domain.boot.is_uefi {
            Firmware::Uefi
        } else {
            Firmware::Bios
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::domain::read;
    use super::super::parse;
    use super::*;

    fn domain(text: &str) -> XenDomain {
        read(&parse(text), "mail")
    }

    /// A bare partition, or a whole disk with this table.
    fn seen(table: &str, systems: &[&str]) -> DiskContents {
        let number = |index: usize| {
            if table.is_empty() {
                0
            } else {
                index as u32 + 1
            }
        };
        let found = systems
            .iter()
            .enumerate()
            .map(|(index, system)| DetectedFileSystem {
                partition: number(index),
                begin: (index as u64) << 20,
                system: (*system).to_owned(),
                uuid: format!("u{index}"),
            });
        DiskContents {
            size: 8 << 20,
            format: "raw".to_owned(),
            table: table.to_owned(),
            found: found.collect(),
            defect: None,
        }
    }

    fn linux(root: usize) -> Linux {
        Linux {
            root: (root, 0),
            title: "Debian 7".to_owned(),
            kernels: vec![kernel("3.2.0-4-amd64", true, true)],
            maker: InitrdTool::InitramfsTools,
            traits: LinuxTraits {
                has_inittab: true,
                devices: vec!["/dev/xvda2".to_owned()],
                ..LinuxTraits::default()
            },
        }
    }

    fn kernel(version: &str, has_image: bool, has_virtio: bool) -> Kernel {
        Kernel {
            version: version.to_owned(),
            has_image,
            has_virtio,
        }
    }

    const PARTITIONS: &str = "memory = 512\nvcpus = 2\nkernel = '/boot/vmlinuz-3.2.0-4-amd64'\nroot = '/dev/xvda2 ro'\n\
                              disk = ['phy:vg/swap,xvda1,w', 'phy:vg/root,xvda2,w', 'phy:vg/data,xvdb,w']\n\
                              vif = ['mac=00:16:3e:01:02:03,ip=192.0.2.25', 'bridge=br1']\n";

    #[test]
    fn partitions_of_a_disk_become_one_disk_and_others_stay() {
        let domain = domain(PARTITIONS);
        let all = [
            seen("", &["swap"]),
            seen("", &["ext3"]),
            seen("dos", &["ext3"]),
        ];
        let plan = make(&domain, "mail", &all, &System::Linux(linux(1)), false).unwrap();
        let targets: Vec<_> = plan
            .targets
            .iter()
            .map(|one| (one.parts.clone(), one.wraps))
            .collect();
        assert_eq!(targets, [(vec![0, 1], true), (vec![2], false)]);
        assert_eq!(plan.targets[0].size, 17 << 20);
        assert_eq!(
            plan.draft.disks,
            [
                ("mail".to_owned(), 17 << 20),
                ("mail-2".to_owned(), 8 << 20)
            ]
        );
        assert_eq!(
            (plan.draft.memory_mib, plan.draft.cpus, plan.draft.bus),
            (512, 2, Bus::Virtio)
        );
        assert_eq!(plan.draft.nics[0].mac, Some([0, 0x16, 0x3e, 1, 2, 3]));
        assert!(!plan.is_blocked(), "{}", plan.text());
        let text = plan.text();
        for words in [
            "[ ]      1. copy /dev/vg/swap and /dev/vg/root into one disk with a partition table",
            "fstab: /dev/xvda2 by UUID",
            "update-initramfs, in a sandbox",
            "/etc/inittab and /etc/securetty",
            "[you]    8. a network card without a MAC address",
            "announce 192.0.2.25",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
    }

    #[test]
    fn the_disk_with_the_system_is_the_first() {
        let domain = domain("disk = ['phy:vg/data,xvda,w', 'phy:vg/root,xvdb1,w']");
        let all = [seen("dos", &["ext3"]), seen("", &["ext3"])];
        let plan = make(&domain, "mail", &all, &System::Linux(linux(1)), false).unwrap();
        assert_eq!(plan.targets[0].name, "xvdb");
        assert_eq!(plan.draft.disks[0].1, plan.targets[0].size);
    }

    #[test]
    fn the_kernel_is_the_newest_with_virtio_or_that_of_the_host() {
        let boot = domain(PARTITIONS).boot;
        let mut system = linux(0);
        system.kernels.insert(0, kernel("6.1.0", true, false));
        let version = |system: &Linux, host_has| {
            choose(system, &boot, host_has).map(|one| (one.version, one.from_host))
        };
        assert_eq!(
            version(&system, false),
            Some(("3.2.0-4-amd64".to_owned(), false))
        );
        system.kernels[1].has_image = false;
        assert_eq!(version(&system, false), None);
        assert_eq!(
            version(&system, true),
            Some(("3.2.0-4-amd64".to_owned(), true))
        );
        system.kernels[1].has_virtio = false;
        assert_eq!(version(&system, true), None);
    }

    #[test]
    fn impossible_steps_name_their_command_and_block() {
        let domain = domain(PARTITIONS);
        let all = [
            seen("", &["swap"]),
            seen("", &["ext3"]),
            DiskContents {
                defect: Some("in use".to_owned()),
                ..DiskContents::default()
            },
        ];
        let mut bare = linux(1);
        bare.kernels.clear();
        let plan = make(&domain, "mail", &all, &System::Linux(bare), false).unwrap();
        assert!(plan.is_blocked());
        let text = plan.text();
        for words in [
            "/dev/vg/data (xvdb): in use",
            "xl shutdown -w mail",
            "apt-get install linux-image-amd64",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
        let unknown = make(&domain, "mail", &all[..2], &System::Unknown, false).unwrap();
        assert!(unknown.is_blocked() && unknown.text().contains("`boot iso …`"));
    }

    #[test]
    fn a_gpt_has_no_room_for_grub() {
        let domain = domain("disk = ['phy:vg/root,xvda,w']");
        let plan =
            |system| make(&domain, "mail", &[seen("gpt", &["ext4"])], &system, false).unwrap();
        let blocked = plan(System::Linux(linux(0)));
        assert!(
            blocked.is_blocked() && blocked.text().contains("grub-install"),
            "{}",
            blocked.text()
        );
    }

    #[test]
    fn windows_boots_with_its_installed_drivers() {
        let domain =
            domain("builder = 'hvm'\ndisk = ['phy:vg/win,hda,w']\nvif = ['model=rtl8139']");
        let plan = |missing: Option<Vec<String>>| {
            let system = System::Windows(Windows { missing });
            make(&domain, "win", &[seen("dos", &["ntfs"])], &system, false).unwrap()
        };
        let with = plan(Some(Vec::new()));
        assert_eq!(
            (with.draft.bus, with.draft.nics[0].model),
            (Bus::Virtio, Model::Virtio)
        );
        let without = plan(Some(vec!["viostor.sys".to_owned()]));
        assert_eq!(
            (without.draft.bus, without.draft.nics[0].model),
            (Bus::Ide, Model::E1000)
        );
        assert!(
            without.text().contains("Windows without viostor.sys"),
            "{}",
            without.text()
        );
        assert!(without.text().contains("virtio-win-guest-tools.exe") && !without.is_blocked());
        assert_eq!(plan(None).draft.bus, Bus::Ide);
    }
}
