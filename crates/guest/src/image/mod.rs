//! Images of disks that are brought onto the volumes of a guest, and what is known of them as values.
//!
//! - [`mod@format`] detects what an image is by its content, and which other files it names.
//! - [`ova`] reads an appliance (OVA): its members, and the machine that its OVF describes.
//! - [`whole`] detects an image that is cut, by its tables.
//! - [`section`] writes the sections `volume` and `guest` for an operator to paste.
//! - [`boot`] is a partition table and GRUB in the gap behind it.
//! - [`system`] changes the files of a Linux system for its new machine: pure text to text.
//! - [`xen`] reads the configuration of a Xen guest and plans its way to QEMU.
//!
//! Nothing here opens a file, starts a program or needs a right.

pub mod boot;
pub mod format;
pub mod ova;
pub mod section;
pub mod system;
pub mod whole;
pub mod xen;
