//! Checks that a proxy counted its work, by the statistics page in CSV format. The page is
//! requested after a measured window, never during one.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

/// Maximum number of bytes of the page that are read.
const PAGE_BYTES_MAX: u64 = 256 * 1024;

/// Returns a counter of the frontend `web`, or None if the page does not have it.
pub fn frontend_counter(port: u16, column: &str) -> Option<u64> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    stream.write_all(b"GET /stats;csv HTTP/1.0\r\n\r\n").ok()?;
    let mut page = Vec::new();
    stream.take(PAGE_BYTES_MAX).read_to_end(&mut page).ok()?;
    counter_of(&String::from_utf8_lossy(&page), column)
}

fn counter_of(page: &str, column: &str) -> Option<u64> {
    let names = page
        .lines()
        .find_map(|line| line.strip_prefix("# pxname,svname,"))?;
    let index = names.split(',').position(|name| name == column)?;
    let row = page
        .lines()
        .find_map(|line| line.strip_prefix("web,FRONTEND,"))?;
    row.split(',').nth(index)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_found_by_the_name_of_its_column() {
        let page = "HTTP/1.0 200 OK\r\n\r\n# pxname,svname,qcur,stot,req_tot,\n\
                    web,FRONTEND,,12,345,\napp,BACKEND,0,1,,\n";
        assert_eq!(counter_of(page, "req_tot"), Some(345));
        assert_eq!(counter_of(page, "stot"), Some(12));
        assert_eq!(counter_of(page, "nothing"), None);
        assert_eq!(counter_of("HTTP/1.0 404 Not Found\r\n\r\n", "stot"), None);
    }
}
