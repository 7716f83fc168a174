//! Tests operating systems on volumes: images of other hypervisors, Xen guests, and Debian from its
//! packages. The tests that boot take minutes, and are part of `make test-long`.

use crate::cluster::site::{SOON, Said};
use crate::program::binary;
use lab::{ScratchDirectory, eventually};
use std::fs;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::time::Duration;

/// Timeout of a guest, emulated beside other tests.
const BOOT_SECONDS: &str = "1200";
const BOOT: Duration = Duration::from_secs(1200);

/// A machine without a cluster.
struct Instance {
    child: Child,
    scratch: ScratchDirectory,
}

impl Instance {
    /// Starts an instance that serves volumes of these names and sizes, and creates the volumes.
    fn start(volumes: &[(&str, &str)]) -> Instance {
        let scratch = ScratchDirectory::new().unwrap();
        let section = |(name, size): &(&str, &str)| {
            let path = scratch.path().display();
            format!("volume {name}\n\tsize {size}\n\tbacking file {path}/volumes\n")
        };
        let text: String = volumes.iter().map(section).collect();
        let config = scratch.write("evenkeel.cfg", text).unwrap();
        for directory in ["volumes", "runtime", "work"] {
            fs::create_dir(scratch.path().join(directory)).unwrap();
        }
        let log = fs::File::create(scratch.path().join("log")).unwrap();
        let mut command = command(scratch.path());
        command.args(["run", "-f"]).arg(config);
        let child = command
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let instance = Instance { child, scratch };
        let runs = || instance.command(&["volume", "list"]).good;
        assert!(eventually(SOON, runs), "{}", instance.log());
        for (name, _) in volumes {
            instance.command(&["volume", "create", name]).well();
        }
        instance
    }

    fn log(&self) -> String {
        fs::read_to_string(self.scratch.path().join("log")).unwrap_or_default()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn command(&self, words: &[&str]) -> Said {
        let output = command(self.scratch.path()).args(words).output().unwrap();
        said(&output)
    }

    /// Starts a guest on its volume, and logs in at its terminal.
    #[track_caller]
    fn logs_in(&self, guest: &str, password: &str) {
        let config = self.path("evenkeel.cfg");
        let section = format!("guest {guest}\n\tmemory 512m\n\tdisk {guest}\n\tconsole serial\n");
        let text = fs::read_to_string(&config).unwrap() + &section;
        fs::write(config, text).unwrap();
        self.command(&["reload"]).well();
        let log = || self.command(&["guest", "log", guest]).out;
        let shows = |words: &str| {
            assert!(
                eventually(BOOT, || log().contains(words)),
                "{words}: {}",
                log()
            )
        };
        shows("login: ");
        let socket = self.path(&format!("runtime/guest-{guest}/serial.sock"));
        let mut terminal = UnixStream::connect(socket).unwrap();
        // Without a reader of the terminal, QEMU and its guest would block.
        let mut reads = terminal.try_clone().unwrap();
        std::thread::spawn(move || io::copy(&mut reads, &mut io::sink()));
        terminal.write_all(b"root\n").unwrap();
        shows("Password: ");
        terminal
            .write_all(format!("{password}\n").as_bytes())
            .unwrap();
        shows("root@");
        terminal.write_all(b"echo result $((6 * 7))\n").unwrap();
        shows("result 42");
        self.command(&["guest", "stop", guest, "--kill"]).well();
    }

    fn content(&self, volume: &str) -> Vec<u8> {
        let path = self.path("exported.raw");
        // The file belongs to the previous volume.
        let _ = fs::remove_file(&path);
        self.command(&["volume", "export", volume, &path.to_string_lossy()])
            .well();
        fs::read(path).unwrap()
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        // A process that has ended already is no error.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}

fn command(scratch: &Path) -> Command {
    let mut command = Command::new(binary());
    command.env("EVENKEEL_RUNTIME_DIRECTORY", scratch.join("runtime"));
    command
}

fn said(output: &Output) -> Said {
    Said {
        good: output.status.success(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs a shell script in a directory; returns its output.
#[track_caller]
fn shell(directory: &Path, script: &str) -> String {
    let mut command = Command::new("sh");
    command.args(["-ec", script]).current_dir(directory);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
    said(&command.output().unwrap()).well().out
}

#[test]
fn images_of_other_hypervisors_are_imported_and_hostile_ones_refused() {
    lab::skip_unless_installed!("qemu-nbd");
    lab::skip_unless_installed!("qemu-img");
    let instance = Instance::start(&[("mail", "8m"), ("mail-2", "8m"), ("small", "1m")]);
    let mut disk = vec![0; 4 << 20];
    disk[..512].fill(7);
    disk[3 << 20..][..4096].fill(9);
    fs::write(instance.path("disk.raw"), &disk).unwrap();
    shell(
        instance.scratch.path(),
        "qemu-img convert -f raw -O qcow2 disk.raw disk.img
         qemu-img convert -f raw -O vmdk -o subformat=streamOptimized disk.raw disk.vmdk
         qemu-img convert -f raw -O vmdk -o subformat=monolithicFlat disk.raw flat.vmdk
         qemu-img create -q -f qcow2 -F raw -b disk.raw overlay.qcow2
         printf 'the secret of the host' > secret
         qemu-img create -q -f qcow2 -F raw -b $PWD/secret hostile.qcow2 1M",
    );
    let path = |name: &str| instance.path(name).display().to_string();
    // The error message contains the missing section.
    let refused = instance.command(&["guest", "import", &path("disk.img"), "web"]);
    refused.refused(&["volume web\n    size 4m\n", "evenkeel volume create web"]);
    let too_large = instance.command(&["guest", "import", &path("disk.img"), "small"]);
    too_large.refused(&["4.0 MiB (4194304 bytes)", "'small' 1.0 MiB (1048576 bytes)"]);
    // The format is detected by the content, because the name does not show it.
    let plan = instance
        .command(&["guest", "import", &path("disk.img"), "mail", "--plan"])
        .well();
    assert!(
        plan.err.contains("(qcow2), 4.0 MiB: into volume mail"),
        "{}",
        plan.err
    );
    let done = instance
        .command(&["guest", "import", &path("disk.img"), "mail"])
        .well();
    assert!(
        done.err
            .contains("guest mail\n    memory 2g\n    cpus 2\n    disk mail\n"),
        "{}",
        done.err
    );
    assert!(instance.content("mail").starts_with(&disk));
    let full = instance.command(&["guest", "import", &path("disk.vmdk"), "mail"]);
    full.refused(&["volume 'mail' holds data", "`--yes`", "Nothing was written"]);
    instance
        .command(&["guest", "import", &path("disk.vmdk"), "mail", "--yes"])
        .well();
    assert!(instance.content("mail").starts_with(&disk));
    for (name, names) in [
        ("hostile.qcow2", "secret"),
        ("flat.vmdk", "flat-flat.vmdk"),
        ("overlay.qcow2", "disk.raw"),
    ] {
        let refused = instance.command(&["guest", "import", &path(name), "mail", "--yes"]);
        refused.refused(&["names other files", names, "--follow"]);
    }
    for name in ["overlay.qcow2", "flat.vmdk"] {
        instance
            .command(&["guest", "import", &path(name), "mail", "--yes", "--follow"])
            .well();
        assert!(instance.content("mail").starts_with(&disk), "{name}");
    }
}

/// An OVF with two disks.
const OVF: &str = r#"<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
 xmlns:rasd="r"><References><File ovf:id="a" ovf:href="a.vmdk"/><File ovf:id="b" ovf:href="b.img"/></References>
 <DiskSection><Disk ovf:diskId="1" ovf:fileRef="a"/><Disk ovf:diskId="2" ovf:fileRef="b"/></DiskSection>
 <VirtualSystem><VirtualHardwareSection><Item><rasd:ResourceType>4</rasd:ResourceType>
 <rasd:AllocationUnits>byte * 2^20</rasd:AllocationUnits><rasd:VirtualQuantity>768</rasd:VirtualQuantity></Item>
 </VirtualHardwareSection></VirtualSystem></Envelope>"#;

#[test]
fn the_disks_of_an_appliance_are_read_where_they_are_in_it() {
    lab::skip_unless_installed!("qemu-nbd");
    lab::skip_unless_installed!("qemu-img");
    let instance = Instance::start(&[("mail", "8m"), ("mail-2", "8m")]);
    fs::write(instance.path("mail.ovf"), OVF).unwrap();
    shell(
        instance.scratch.path(),
        "head -c 3M /dev/urandom > a.raw; head -c 2M /dev/urandom > b.img
         qemu-img convert -f raw -O vmdk -o subformat=streamOptimized a.raw a.vmdk
         tar --format=ustar -cf mail.ova mail.ovf a.vmdk b.img; tar -cf without.ova a.vmdk b.img",
    );
    let path = |name: &str| instance.path(name).display().to_string();
    let done = instance
        .command(&["guest", "import", &path("mail.ova"), "mail"])
        .well();
    assert!(
        done.err.contains("memory 768m") && done.err.contains("disk mail-2"),
        "{}",
        done.err
    );
    assert!(
        instance
            .content("mail")
            .starts_with(&fs::read(path("a.raw")).unwrap())
    );
    assert!(
        instance
            .content("mail-2")
            .starts_with(&fs::read(path("b.img")).unwrap())
    );
    let refused = instance.command(&["guest", "import", &path("without.ova"), "mail", "--yes"]);
    refused.refused(&["0 members that end in .ovf"]);
}

#[test]
#[ignore = "it takes minutes: make test-long"]
fn a_debian_is_built_from_packages_and_boots() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("mmdebstrap");
    lab::skip_unless_installed!("qemu-system-x86_64");
    let instance = Instance::start(&[("mail", "4g")]);
    fs::write(instance.path("password"), "secret\n").unwrap();
    let [password, work] =
        ["password", "work"].map(|name| instance.path(name).display().to_string());
    let begin = [
        "guest",
        "create",
        "mail",
        "--debootstrap",
        "trixie",
        "--work",
        &work,
    ];
    let nobody = instance.command(&begin);
    nobody.refused(&["nobody could log in"]);
    let rest = ["--password-file", &password, "--boot-limit", BOOT_SECONDS];
    let done = instance.command(&[&begin[..], &rest].concat()).well();
    println!("{}", done.err);
    assert!(done.err.contains("login prompt after"), "{}", done.err);
    assert!(fs::read_dir(work).unwrap().next().is_none());
    instance.logs_in("mail", "secret");
}

/// Shell script that builds a Debian as a guest of Xen has it: on a bare partition with swap on
/// another one, and as a whole disk.
const OLD: &str = "
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Identifier: Packages' 'Label: Debian' | head -n1)
mmdebstrap --quiet --variant=important --include=linux-image-cloud-amd64 bookworm tree \"$mirror\"
printf '/dev/xvda2 / ext3 errors=remount-ro 0 1\\n/dev/xvda1 none swap sw 0 0\\n' > tree/etc/fstab
echo old > tree/etc/hostname
mkdir -p tree/etc/systemd/system/getty.target.wants
ln -s /lib/systemd/system/serial-getty@.service tree/etc/systemd/system/getty.target.wants/serial-getty@hvc0.service
echo 'SUBSYSTEM==\"net\", ATTR{address}==\"00:16:3e:01:02:03\", NAME=\"eth0\"' > tree/etc/udev/rules.d/70-persistent-net.rules
truncate -s 2G root.img; mke2fs -q -F -t ext3 -d tree root.img
truncate -s 64M swap.img; mkswap -q swap.img
printf '/dev/xvda1 / ext4 errors=remount-ro 0 1\\n' > tree/etc/fstab
truncate -s 2G whole.img; echo '63,,83' | sfdisk -q whole.img
mke2fs -q -F -t ext4 -E offset=32256 -d tree whole.img 2000000k
rm -r --one-file-system tree
sha256sum root.img swap.img whole.img > sums
";

#[test]
#[ignore = "it takes minutes: make test-long"]
fn guests_of_xen_on_partitions_and_on_a_whole_disk_boot() {
    lab::skip_unless_root!();
    for program in ["mmdebstrap", "bwrap", "qemu-system-x86_64"] {
        if !lab::may_run("guest_image", lab::installed(program)) {
            return;
        }
    }
    let instance = Instance::start(&[("old", "3g"), ("whole", "3g")]);
    let directory = instance.scratch.path();
    shell(directory, OLD);
    let here = directory.display();
    let common = "memory = '512'\nvcpus = 1\non_crash = 'restart'\nextra = 'xencons=tty'\n\
                  vif = ['ip=192.0.2.25,mac=00:16:3E:01:02:03,bridge=xenbr0']\n";
    let partitions = format!(
        "# xen-tools, 2010\nkernel = '/boot/vmlinuz-2.6.26-2-xen-amd64'\nname = 'old'\nroot = '/dev/xvda2 ro'\n\
         disk = [\n 'file:{here}/swap.img,xvda1,w',\n 'file:{here}/root.img,xvda2,w',\n]\n{common}"
    );
    let whole = format!(
        "bootloader = 'pygrub'\nname = \"whole\"\ndisk = ['tap:aio:{here}/whole.img,xvda,w']\n{common}"
    );
    let work = instance.path("work").display().to_string();
    for (name, text) in [("old", partitions), ("whole", whole)] {
        let config = instance.path(&format!("{name}.cfg"));
        fs::write(&config, text).unwrap();
        let begin = [
            "guest",
            "import",
            "xen",
            &config.to_string_lossy(),
            "--work",
            &work,
        ]
        .map(str::to_owned);
        let words: Vec<&str> = begin.iter().map(String::as_str).collect();
        let plan = instance.command(&words).well();
        assert!(
            plan.err.contains("[ ]") && plan.err.contains("Nothing was done"),
            "{}",
            plan.err
        );
        assert!(instance.content(name).iter().all(|byte| *byte == 0));
        let done = instance
            .command(&[&words[..], &["--yes", "--boot-limit", BOOT_SECONDS]].concat())
            .well();
        println!("{}", done.err);
        assert!(done.err.contains("login prompt after"), "{}", done.err);
        let nic = "nic xenbr0 mac 00:16:3e:01:02:03 address 192.0.2.25";
        assert!(done.err.contains(nic), "{}", done.err);
    }
    // The original files are unchanged.
    shell(directory, "sha256sum --check --quiet sums");
    assert!(fs::read_dir(work).unwrap().next().is_none());
}
