//! Contents of disks from which the BIOS of a machine boots through iPXE.

/// Size of the disks in bytes.
const DISK_BYTES: usize = 16 << 20;
/// Entry of one partition over the whole disk, from which iPXE derives the geometry (16 heads, 63
/// sectors).
const PARTITION: [u8; 16] = [
    0x80, 0, 2, 0, 0x83, 0x0f, 0x3f, 0x1f, 1, 0, 0, 0, 0xff, 0x7f, 0, 0,
];
/// Boot sector that reads the next sector to 0x7e00 by the BIOS, writes it to the sector after
/// that, and prints the text that it reads from there.
const PRINTS: &[u8] = &[
    0xfa, // cli
    0x31, 0xc0, // xor ax, ax
    0x8e, 0xd8, // mov ds, ax
    0x8e, 0xc0, // mov es, ax
    0xb2, 0x80, // mov dl, 80h: the first disk
    0xbb, 0x00, 0x7e, // mov bx, 7e00h
    0xb8, 0x01, 0x02, // mov ax, 0201h: read one sector
    0xb9, 0x02, 0x00, // mov cx, 2: cylinder 0, the second one
    0xb6, 0x00, // mov dh, 0
    0xcd, 0x13, // int 13h
    0xb8, 0x01, 0x03, // mov ax, 0301h: write one sector
    0xb9, 0x03, 0x00, // mov cx, 3
    0xcd, 0x13, // int 13h
    0xbb, 0x00, 0x80, // mov bx, 8000h
    0xb8, 0x01, 0x02, // mov ax, 0201h
    0xb9, 0x03, 0x00, // mov cx, 3
    0xcd, 0x13, // int 13h
    0xbe, 0x00, 0x80, // mov si, 8000h
    0xac, // lodsb
    0x84, 0xc0, // test al, al
    0x74, 0x06, // jz +6
    0xba, 0xf8, 0x03, // mov dx, 3f8h: the serial port
    0xee, // out dx, al
    0xeb, 0xf5, // jmp -11
    0xf4, // hlt
    0xeb, 0xfd, // jmp -3
];

/// Returns a disk with this code in its boot sector, at most 446 bytes.
pub fn boot_disk(code: &[u8]) -> Vec<u8> {
    let mut disk = vec![0; DISK_BYTES];
    disk[..code.len()].copy_from_slice(code);
    disk[446..462].copy_from_slice(&PARTITION);
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    disk
}

/// Returns a disk that writes a text from its second sector to its third, and prints it on the serial
/// port. The text ends with a zero byte.
pub fn printing_boot_disk(text: &[u8]) -> Vec<u8> {
    let mut disk = boot_disk(PRINTS);
    disk[512..512 + text.len()].copy_from_slice(text);
    disk
}
