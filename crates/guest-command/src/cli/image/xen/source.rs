//! Checks which disks of a Xen configuration the import may read. The command runs as root, and the
//! configuration may be from an untrusted author: its paths could name any file or device of the
//! host.

use std::fs;
use std::path::{Path, PathBuf};

/// Refuses disks that the command line does not permit. Permitted are plain files below the
/// directory of the configuration, or below one of `named`, and paths in `named` themselves.
///
/// # Errors
/// Lists the refused disks, with the options that would permit them.
pub(super) fn are_allowed<'d>(
    disks: impl Iterator<Item = &'d Path>,
    config: &Path,
    named: &[PathBuf],
) -> Result<(), String> {
    let own = config.parent().filter(|path| !path.as_os_str().is_empty());
    let own = own.unwrap_or(Path::new("."));
    let directories = std::iter::once(own).chain(named.iter().map(PathBuf::as_path));
    let directories: Vec<PathBuf> = directories
        .filter(|path| path.is_dir())
        .filter_map(|path| path.canonicalize().ok())
        .collect();
    let refused: Vec<&Path> = disks
        .filter(|disk| !named.iter().any(|one| one == disk))
        .filter(|disk| !is_file_below(disk, &directories))
        .collect();
    if refused.is_empty() {
        return Ok(());
    }
    let options = refused
        .iter()
        .map(|disk| format!(" --disk {}", disk.display()));
    let plain = options.collect::<String>().replace(char::is_control, "?");
    Err(format!(
        "the configuration names disks that are devices, links, or outside of its directory. To read them, \
         add{plain}"
    ))
}

/// Returns whether a disk is a plain file in one of these directories, without a link on its path.
/// A missing file is reported later.
fn is_file_below(disk: &Path, directories: &[PathBuf]) -> bool {
    let is_plain = match fs::symlink_metadata(disk) {
        Ok(metadata) => metadata.is_file(),
        Err(error) => return error.kind() == std::io::ErrorKind::NotFound,
    };
    let real = disk.canonicalize();
    is_plain && real.is_ok_and(|real| directories.iter().any(|one| real.starts_with(one)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab::ScratchDirectory;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_named_files_and_those_near_the_configuration_are_read() {
        let [here, there] = [(); 2].map(|()| ScratchDirectory::new().unwrap());
        let config = here.write("mail.cfg", "").unwrap();
        let own = here.write("mail.img", "x").unwrap();
        let other = there.write("other.img", "x").unwrap();
        let link = here.path().join("link.img");
        symlink(&other, &link).unwrap();
        let through = here.path().join("through");
        symlink(there.path(), &through).unwrap();
        let allowed = |disk: &Path, named: &[&Path]| {
            let named: Vec<PathBuf> = named.iter().map(|one| one.to_path_buf()).collect();
            are_allowed([disk].into_iter(), &config, &named)
        };
        assert_eq!(allowed(&own, &[]), Ok(()));
        assert_eq!(allowed(&here.path().join("missing"), &[]), Ok(()));
        for disk in [
            &*other,
            &link,
            &through.join("other.img"),
            Path::new("/dev/null"),
        ] {
            let words = allowed(disk, &[]).unwrap_err();
            assert!(
                words.ends_with(&format!("add --disk {}", disk.display())),
                "{words}"
            );
            assert_eq!(allowed(disk, &[disk]), Ok(()));
        }
        assert_eq!(allowed(&other, &[there.path()]), Ok(()));
        // Naming a directory permits neither devices in it, nor the targets of its links.
        assert!(allowed(Path::new("/dev/null"), &[Path::new("/dev")]).is_err());
        assert!(allowed(&link, &[here.path()]).is_err());
    }
}
