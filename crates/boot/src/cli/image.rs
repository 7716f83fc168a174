//! Implements `evenkeel boot image build debian SUITE DIR`: builds a kernel, an initial RAM disk
//! and a root for diskless machines from Debian packages. Builds are reproducible: the same
//! packages give the same bytes, without build times or random data.

mod ext4;
mod tree;

use clap::{Arg, ArgMatches, Command};
use command::build::debian::{self, Mirrors};
use command::build::inside::Inside;
use command::build::run::{Runner, need, program};
use command::build::workshop::Workshop;
use command::options::option;
use command::stopped::Stopped;
use command::{print, word};
use language::value;
use std::fs::{self, File, Permissions};
use std::io::{Write, stderr};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Files of an image, in the order in which they are created.
const FILES: [&str; 3] = ["vmlinuz", "initrd", "root.img"];
/// Space for unpacking the packages, in addition to the size of the image, bytes.
const ROOM: u64 = 4 << 30;
/// Minimum and maximum size of a root, in bytes.
const SIZES: (u64, u64) = (2 << 30, 1 << 40);
/// Releases without a package of systemd-resolved.
const TOO_OLD: [&str; 3] = ["stretch", "buster", "bullseye"];
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Program that downloads a file as apt does.
const APT_HELPER: &str = "/usr/lib/apt/apt-helper";
/// Kernel command line: the root is writable, in the overlay of the machine, and the network
/// interface is eth0.
const APPEND: &str = "rw net.ifnames=0 console=tty0 console=ttyS0";

struct BootImageArguments {
    suite: String,
    directory: PathBuf,
    mirror: Option<String>,
    include: Vec<String>,
    keys: Option<String>,
    size: u64,
}

pub fn definition() -> Command {
    Command::new("image")
        .about("Build what machines boot")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("build")
                .about("Build a kernel, an initial RAM disk and a root from Debian's packages")
                .long_about(
                    "Builds a Debian by mmdebstrap into DIR: vmlinuz, initrd (with the modules nbd, aoe and overlay) and \
                     root.img, an ext4 file system for a `disk` line. Then it prints the lines for the section. The network \
                     comes from DHCP. Needs root, and packages from a mirror: by default, that of apt of this host.\n\nThe \
                     same packages give the same bytes: times are those of the release's index, or SOURCE_DATE_EPOCH if it \
                     is set.",
                )
                .after_help(
                    "Example:\n  evenkeel boot image build debian trixie /srv/boot/trixie --ssh-key ~/.ssh/id_ed25519.pub",
                )
                .arg(
                    Arg::new("SYSTEM")
                        .required(true)
                        .value_parser(["debian"])
                        .help("The distribution"),
                )
                .arg(Arg::new("SUITE").required(true).help("The release, such as trixie"))
                .arg(
                    command::options::path("DIR")
                        .value_name("DIR")
                        .required(true)
                        .help("The directory of the image. One that is there already is not overwritten"),
                )
                .arg(option("mirror", "URL", "The mirror of the packages"))
                .arg(option("include", "PACKAGE,…", "Further packages"))
                .arg(
                    command::options::path("ssh-key")
                        .long("ssh-key")
                        .value_name("FILE")
                        .help("Install OpenSSH, for root with these public keys; without it, nobody can log in"),
                )
                .arg(option("size", "SIZE", "The size of the root").default_value("4g")),
        )
}

pub fn main(matches: &ArgMatches) -> ExitCode {
    let Some(("build", matches)) = matches.subcommand() else {
        return ExitCode::FAILURE;
    };
    match build(matches) {
        Ok(text) => print(&text),
        Err(error) => error.exit(". No image was written"),
    }
}

impl BootImageArguments {
    fn of(matches: &ArgMatches) -> Result<BootImageArguments, String> {
        let suite = word(matches, "SUITE");
        debian::suite(&suite)?;
        if TOO_OLD.contains(&suite.as_str()) {
            return Err(format!(
                "{suite} is not supported: bookworm and later releases are"
            ));
        }
        let mirror = matches.get_one::<String>("mirror").cloned();
        mirror.as_deref().map(debian::mirror).transpose()?;
        let keys = matches.get_one::<PathBuf>("ssh-key");
        let keys = keys.map(|path| debian::secret(path)).transpose()?;
        let size = word(matches, "size");
        let (least, most) = SIZES;
        let bytes = value::size(&size, most).ok();
        let bytes = bytes.filter(|bytes| *bytes >= least && bytes.is_multiple_of(4096));
        let directory = matches.get_one::<PathBuf>("DIR").cloned();
        Ok(BootImageArguments {
            suite,
            directory: directory.unwrap_or_default(),
            mirror,
            include: packages(&word(matches, "include"))?,
            keys: keys.map(|text| debian::public_keys(&text)).transpose()?,
            size: bytes
                .ok_or_else(|| format!("'{size}' is no size of a root: 2g or more, such as 8g"))?,
        })
    }
}

fn packages(text: &str) -> Result<Vec<String>, String> {
    let fits =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte);
    let is_package = |name: &&str| name.bytes().all(fits) && !name.starts_with('-');
    let all = text
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty());
    let wrong = all.clone().find(|name| !is_package(name));
    match wrong {
        Some(wrong) => Err(format!("'{wrong}' is no name of a package")),
        None => Ok(all.map(str::to_owned).collect()),
    }
}

fn say(words: &str) {
    // Ignores an error: the build continues if its output is closed.
    let _ = writeln!(stderr(), "{words}");
}

fn build(matches: &ArgMatches) -> Result<String, Stopped> {
    let wanted = BootImageArguments::of(matches)?;
    if !rustix::process::geteuid().is_root() {
        return Err("a system is built as root: run the command with sudo"
            .to_owned()
            .into());
    }
    need(&[
        ("mmdebstrap", "mmdebstrap"),
        ("mke2fs", "e2fsprogs"),
        ("debugfs", "e2fsprogs"),
        (APT_HELPER, "apt"),
        (KEYRING, "debian-archive-keyring"),
    ])?;
    let directory = place(&wanted.directory)?;
    let runner = Runner::new()?;
    // Creates the temporary directory in the file system of the result, so that the files are only
    // renamed at the end.
    let shop = Workshop::new(Some(&directory))?;
    shop.has_room(ROOM)?;
    shop.with_own_mounts()?;
    let mirrors = Mirrors::of(wanted.mirror.as_deref(), &runner)?;
    let epoch = epoch(&wanted.suite, &mirrors.mirror, &shop, &runner)?;
    say(&format!(
        "packages of {} from {}",
        wanted.suite, mirrors.mirror
    ));
    let path = shop.directory("tree")?;
    tree::unpack(&wanted, &mirrors, &path, epoch, &runner)?;
    say("configuration");
    let inside = Inside::open(&path)?;
    tree::configure(&wanted, &mirrors, &inside)?;
    tree::enable(&path, &runner)?;
    let kernel = tree::kernel(&inside)?;
    for (from, to) in [("vmlinuz", FILES[0]), ("initrd.img", FILES[1])] {
        let from = path.join(format!("boot/{from}-{kernel}"));
        let failed = |error: std::io::Error| format!("{}: {error}", from.display());
        fs::copy(&from, shop.path().join(to)).map_err(failed)?;
    }
    tree::age(&path, epoch, &runner)?;
    say("file system");
    let packages = inside.read("/var/lib/dpkg/status").unwrap_or_default();
    let root = ext4::Root {
        tree: &path,
        image: &shop.path().join(FILES[2]),
        size: wanted.size,
        epoch,
        uuid: ext4::uuid(&[wanted.suite.as_bytes(), &epoch.to_le_bytes(), &packages]),
    };
    root.make(shop.path(), &runner)?;
    let sizes = publish(&shop, &directory)?;
    let title = format!("Debian {} with kernel {kernel}", wanted.suite);
    Ok(text(&title, &directory, &sizes, &wanted))
}

/// Creates the directory for the image, and returns its absolute path. Fails if the directory has
/// an image already, or if its path has characters other than letters, digits and `._-+`.
fn place(directory: &Path) -> Result<PathBuf, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", directory.display());
    fs::create_dir_all(directory).map_err(failed)?;
    let directory = fs::canonicalize(directory).map_err(failed)?;
    let shown = directory.display().to_string();
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+".contains(&byte);
    if !shown.bytes().all(fits) {
        return Err(format!(
            "{shown}: name a directory of letters, digits and `._-+`, since lines of the section have its path"
        ));
    }
    match FILES.iter().find(|name| directory.join(name).exists()) {
        Some(name) => Err(format!(
            "{shown} has a {name} already, and machines may run from it: name another directory"
        )),
        None => Ok(directory),
    }
}

/// Returns the timestamp of all files, seconds since 1970: SOURCE_DATE_EPOCH if it is set, or else
/// the date of the release's index.
fn epoch(suite: &str, mirror: &str, shop: &Workshop, runner: &Runner) -> Result<u64, Stopped> {
    if let Some(given) = std::env::var_os("SOURCE_DATE_EPOCH") {
        let given = given.to_string_lossy().into_owned();
        let wrong = || format!("SOURCE_DATE_EPOCH '{given}' is no number of seconds since 1970");
        return Ok(given.parse::<u32>().map_err(|_| wrong())?.into());
    }
    let file = shop.path().join("InRelease");
    let url = format!("{}/dists/{suite}/InRelease", mirror.trim_end_matches('/'));
    let mut fetch = program(APT_HELPER);
    runner.run(fetch.arg("download-file").arg(&url).arg(&file))?;
    let text = fs::read_to_string(&file).map_err(|error| format!("{url}: {error}"))?;
    let date = released(&text);
    Ok(date.ok_or_else(|| format!("{url} has no line `Date`: set SOURCE_DATE_EPOCH"))?)
}

fn released(index: &str) -> Option<u64> {
    let date = index.lines().find_map(|line| line.strip_prefix("Date: "))?;
    let date = date.trim().replace(" UTC", " +0000");
    let date = jiff::fmt::rfc2822::parse(&date).ok()?;
    u64::try_from(date.timestamp().as_second()).ok()
}

fn publish(shop: &Workshop, directory: &Path) -> Result<Vec<(u64, u64)>, String> {
    let mut sizes = Vec::new();
    for name in FILES {
        let (from, to) = (shop.path().join(name), directory.join(name));
        let failed = |error: std::io::Error| format!("{}: {error}", to.display());
        let file = File::open(&from).map_err(failed)?;
        file.set_permissions(Permissions::from_mode(0o644))
            .map_err(failed)?;
        file.sync_all().map_err(failed)?;
        let about = file.metadata().map_err(failed)?;
        sizes.push((about.len(), about.blocks() * 512));
        fs::rename(&from, &to).map_err(failed)?;
    }
    Ok(sizes)
}

fn text(
    title: &str,
    directory: &Path,
    sizes: &[(u64, u64)],
    wanted: &BootImageArguments,
) -> String {
    let at = directory.display();
    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    let name = if debian::is_name(&name) && !name.starts_with('.') && name.len() <= 64 {
        name.into_owned()
    } else {
        wanted.suite.clone()
    };
    let shown = FILES.iter().zip(sizes).map(|(name, (bytes, stored))| {
        if bytes > &(stored + (64 << 20)) {
            format!(
                "{name} {} MiB ({} MiB of it used)",
                bytes >> 20,
                stored >> 20
            )
        } else {
            format!("{name} {} MiB", bytes >> 20)
        }
    });
    let shown = shown.collect::<Vec<_>>().join(", ");
    let login = match wanted.keys {
        Some(_) => "",
        None => "# nobody can log in to it: `--ssh-key FILE` installs OpenSSH and a key of root\n",
    };
    format!(
        "# {title} in {at}: {shown}\n{login}# for the `boot` section:\n    \
         disk {name} file {at}/root.img nbd overlay /var/lib/evenkeel/overlays\n    \
         image {name} kernel {at}/vmlinuz initrd {at}/initrd nbd {name} append {APPEND}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab::ScratchDirectory;

    fn wanted(words: &[&str]) -> Result<BootImageArguments, String> {
        let before = ["image", "build", "debian"];
        let words = before.iter().chain(words);
        let matches = definition().try_get_matches_from(words).unwrap();
        let (_, matches) = matches.subcommand().unwrap();
        BootImageArguments::of(matches)
    }

    #[test]
    fn what_cannot_be_built_is_refused_before_anything_is_fetched() {
        for (words, expected) in [
            (&["tri xie", "d"][..], "not a release name"),
            (&["bullseye", "d"], "bookworm and later"),
            (&["trixie", "d", "--mirror", "ftp://m"], "is not a mirror"),
            (&["trixie", "d", "--include", "vim,--x"], "'--x' is no name"),
            (&["trixie", "d", "--size", "1g"], "2g or more"),
            (&["trixie", "d", "--size", "much"], "2g or more"),
        ] {
            let words = wanted(words).err().unwrap_or_default();
            assert!(words.contains(expected), "{words}");
        }
        let good =
            wanted(&["trixie", "d", "--include", "vim, g++"]).unwrap_or_else(|why| panic!("{why}"));
        assert_eq!(good.include, ["vim", "g++"]);
        assert_eq!(good.size, 4 << 30);
    }

    #[test]
    fn a_directory_with_an_image_is_left_alone() {
        let scratch = ScratchDirectory::new().unwrap();
        let directory = scratch.path().join("new/trixie");
        let made = place(&directory).unwrap();
        assert!(made.is_dir());
        fs::write(made.join("root.img"), "x").unwrap();
        let words = place(&directory).unwrap_err();
        assert!(words.contains("name another directory"), "{words}");
        let words = place(&scratch.path().join("a b")).unwrap_err();
        assert!(words.contains("letters, digits"), "{words}");
    }

    #[test]
    fn the_time_is_that_of_the_release() {
        let index = "Origin: Debian\nDate: Sat, 06 Sep 2025 09:59:57 UTC\nAcquire-By-Hash: yes\n";
        assert_eq!(released(index), Some(1_757_152_797));
        assert_eq!(released("Origin: Debian\n"), None);
        assert_eq!(released("Date: yesterday\n"), None);
    }

    #[test]
    fn the_lines_to_copy_name_the_directory() {
        let wanted = wanted(&["trixie", "d"]).unwrap_or_else(|why| panic!("{why}"));
        let sizes = [(9 << 20, 9 << 20), (40 << 20, 40 << 20), (4 << 30, 1 << 30)];
        let text = text("Debian", Path::new("/srv/boot/web"), &sizes, &wanted);
        let expected = [
            "# Debian in /srv/boot/web: vmlinuz 9 MiB, initrd 40 MiB, root.img 4096 MiB (1024 MiB of it used)",
            "# nobody can log in to it: `--ssh-key FILE` installs OpenSSH and a key of root",
            "# for the `boot` section:",
            "    disk web file /srv/boot/web/root.img nbd overlay /var/lib/evenkeel/overlays",
            "    image web kernel /srv/boot/web/vmlinuz initrd /srv/boot/web/initrd nbd web append rw net.ifnames=0 \
             console=tty0 console=ttyS0",
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }
}
