//! Interprets disk images that are imported to the volumes of a guest, and adapts the systems on
//! them.
//!
//! - [`mod@format`] detects the format of an image by its content, and the files to which it
//!   refers.
//! - [`ova`] reads an appliance (OVA): its members, and the machine that its OVF describes.
//! - [`whole`] detects a truncated image by its tables.
//! - [`section`] writes the sections `volume` and `guest` for an operator to paste.
//! - [`boot`] creates a partition table, and embeds GRUB in the gap after it.
//! - [`system`] changes the files of a Linux system for its new machine: pure text to text.
//! - [`xen`] reads the configuration of a Xen guest and plans its conversion to QEMU.
//!
//! The crate opens no file, starts no program and needs no privileges.

pub mod boot;
pub mod format;
pub mod hardware;
pub mod mac;
pub mod ova;
pub mod section;
pub mod size;
pub mod system;
pub mod whole;
pub mod xen;
