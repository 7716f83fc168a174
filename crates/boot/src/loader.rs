//! The boot loaders that a machine gets first: which one fits its firmware, and where the
//! distribution's packages have it.

/// A boot loader, as a file of a package.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Loader {
    /// The name by which machines fetch it.
    pub name: &'static str,
    /// Where it is.
    pub path: &'static str,
    /// The package that has it.
    pub package: &'static str,
    /// Only for machines with Secure Boot.
    signed: bool,
}

/// iPXE for BIOS, with the network driver of the card's own firmware.
pub const UNDIONLY: &str = "undionly.kpxe";
/// iPXE for UEFI on x86-64, with the network driver of the firmware.
pub const SNPONLY: &str = "snponly.efi";
/// The signed first stage for UEFI on x86-64, which loads [`GRUB`] from where it came from.
pub const SHIM: &str = "shimx64.efi";
/// The signed GRUB.
pub const GRUB: &str = "grubx64.efi";

/// All loaders.
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

/// The loaders that a section needs.
pub fn needed(secure_boot: bool) -> impl Iterator<Item = &'static Loader> {
    LOADERS
        .iter()
        .filter(move |loader| secure_boot || !loader.signed)
}

/// The loader for a kind of firmware (option 93; RFC 4578, 2.1 and IANA's list).
///
/// # Errors
/// There is none, in words.
pub fn of(architecture: Option<u16>, secure_boot: bool) -> Result<&'static Loader, String> {
    let name = match architecture {
        None | Some(0) => UNDIONLY,
        // 7 is what EDK II and most vendors say for x86-64, 9 what the list once said; 16 by HTTP.
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
