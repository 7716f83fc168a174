//! Selects the boot loader that a machine's firmware loads first, by the client architecture, and
//! names the loader's file and its package in the distribution.

/// Boot loader, as a file of a package.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Loader {
    /// File name under which machines fetch the loader.
    pub name: &'static str,
    pub path: &'static str,
    pub package: &'static str,
    /// True if the loader is only for machines with Secure Boot.
    signed: bool,
}

/// iPXE for BIOS, with the network driver of the card's own firmware.
pub const UNDIONLY: &str = "undionly.kpxe";
/// iPXE for UEFI on x86-64, with the network driver of the firmware.
pub const SNPONLY: &str = "snponly.efi";
/// Signed first stage for UEFI on x86-64, which loads [`GRUB`] from the same server.
pub const SHIM: &str = "shimx64.efi";
pub const GRUB: &str = "grubx64.efi";

pub static LOADERS: &[Loader] = &[
    Loader {
        name: UNDIONLY,
        path: "/usr/lib/ipxe/undionly.kpxe",
        package: "ipxe",
        signed: false,
    },
    Loader {
        name: SNPONLY,
        path: "/usr/lib/ipxe/snponly.efi",
        package: "ipxe",
        signed: false,
    },
    Loader {
        name: SHIM,
        path: "/usr/lib/shim/shimx64.efi.signed",
        package: "shim-signed",
        signed: true,
    },
    Loader {
        name: GRUB,
        path: "/usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed",
        package: "grub-efi-amd64-signed",
        signed: true,
    },
];

pub fn needed(secure_boot: bool) -> impl Iterator<Item = &'static Loader> {
    LOADERS
        .iter()
        .filter(move |loader| secure_boot || !loader.signed)
}

/// Returns the loader for a client architecture (option 93; RFC 4578, 2.1 and IANA's list).
///
/// # Errors
/// No loader is for this firmware; the text says why.
pub fn of(architecture: Option<u16>, secure_boot: bool) -> Result<&'static Loader, String> {
    let name = match architecture {
        None | Some(0) => UNDIONLY,
        // Accepts three numbers for x86-64: EDK II and most vendors send 7, and 16 for HTTP; 9
        // comes from an earlier version of the list.
        Some(7 | 9 | 16) if secure_boot => SHIM,
        Some(7 | 9 | 16) => SNPONLY,
        Some(6 | 15) => {
            return Err("there is no loader for its firmware: UEFI of 32 bits".to_owned());
        }
        Some(11 | 19) => {
            return Err("there is no loader for its firmware: UEFI of ARM64".to_owned());
        }
        Some(other) => {
            return Err(format!(
                "there is no loader for its firmware: architecture {other}"
            ));
        }
    };
    let loader = LOADERS.iter().find(|loader| loader.name == name);
    loader.ok_or_else(|| format!("there is no loader {name}"))
}
