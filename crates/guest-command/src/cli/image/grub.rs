//! Installs GRUB on a raw disk in a file, with the host's packages grub-common and grub-pc-bin, in
//! the layout of [`::image::boot`].

use ::image::boot::{self, MODULES};
use command::build::inside::Inside;
use command::build::run::{Runner, program};
use command::stopped::Stopped;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

pub const DIRECTORY: &str = "/usr/lib/grub/i386-pc";
pub const NEEDS: [(&str, &str); 2] = [
    ("grub-mkimage", "grub-common"),
    ("/usr/lib/grub/i386-pc/boot.img", "grub-pc-bin"),
];

/// File system that contains GRUB's directory.
pub struct Home<'a> {
    pub uuid: &'a str,
    /// Type of the file system, as `blkid` names it.
    pub system: &'a str,
    /// Path of GRUB's directory from the root of the file system, such as `/boot/grub`.
    pub directory: &'a str,
}

/// Copies GRUB's modules from the host into the directory `i386-pc` below `directory`.
///
/// # Errors
/// Fails if files cannot be read or written.
pub fn copy_modules(inside: &Inside, directory: &str) -> Result<(), String> {
    let target = format!("{directory}/i386-pc");
    inside.directory(directory)?;
    inside.directory(&target)?;
    let at = |error: std::io::Error| format!("{DIRECTORY}: {error}");
    for entry in fs::read_dir(DIRECTORY).map_err(at)? {
        let path = entry.map_err(at)?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if name.ends_with(".mod") || name.ends_with(".lst") {
            inside.write(&format!("{target}/{name}"), &fs::read(&path).map_err(at)?)?;
        }
    }
    Ok(())
}

/// Creates GRUB's core image and writes it with the boot sector before the first partition of a
/// disk.
///
/// # Errors
/// Fails if the core image does not fit, a file cannot be read or written, or `grub-mkimage` fails.
pub fn embed(
    runner: &Runner,
    work: &Path,
    disk: &File,
    home: &Home<'_>,
    first_partition: u64,
) -> Result<(), Stopped> {
    let module = boot::module(home.system).map_err(|error| error.to_string())?;
    let (early, core) = (work.join("early.cfg"), work.join("core.img"));
    fs::write(&early, boot::early(home.uuid, home.directory)).map_err(|error| error.to_string())?;
    let mut make = program("grub-mkimage");
    make.args(["-O", "i386-pc", "-d", DIRECTORY, "-p", home.directory, "-c"]);
    make.arg(&early)
        .arg("-o")
        .arg(&core)
        .args(MODULES)
        .arg(module);
    runner.run(&mut make)?;
    let embedded = || -> Result<(), String> {
        let io = |error: std::io::Error| format!("GRUB: {error}");
        let mut first = [0; 512];
        disk.read_exact_at(&mut first, 0).map_err(io)?;
        let image = fs::read(Path::new(DIRECTORY).join("boot.img")).map_err(io)?;
        let core = fs::read(&core).map_err(io)?;
        let bytes = boot::embed(&first, &image, &core, first_partition);
        let bytes = bytes.map_err(|error| error.to_string())?;
        disk.write_all_at(&bytes, 0).map_err(io)
    };
    Ok(embedded()?)
}
