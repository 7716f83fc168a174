//! Reads the memory of a process.

use std::fs;
use std::io;

/// Returns the resident memory of a process that no file backs, in bytes (`RssAnon` of proc(5)).
pub fn anonymous_memory(process: i32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let kib = status.lines().find_map(|line| {
        let words = line.strip_prefix("RssAnon:")?.split_whitespace().next()?;
        words.parse::<u64>().ok()
    });
    // A process that has ended and was not waited for has no such line.
    let kib = kib.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    Ok(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_this_process_grows_by_what_it_writes() {
        let me = i32::try_from(std::process::id()).unwrap();
        let before = anonymous_memory(me).unwrap();
        let written = vec![7_u8; 64 << 20];
        let after = anonymous_memory(me).unwrap();
        assert!(after >= before + (32 << 20), "{before} {after}");
        drop(written);
        assert!(anonymous_memory(-1).is_err());
    }
}
