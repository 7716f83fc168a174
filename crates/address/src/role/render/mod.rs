//! Writes keepalived's dumps, and formats their dates.

mod dumps;

use jiff::Timestamp;

/// Formats milliseconds since 1970 as `Fri Nov 20 21:17:33`, the beginning of `ctime`'s
/// format, in UTC.
pub fn moment(unix_ms: u64) -> String {
    let at = i64::try_from(unix_ms / 1000).ok();
    let at = at.and_then(|seconds| Timestamp::from_second(seconds).ok());
    let at = at.unwrap_or_default();
    at.strftime("%a %b %e %H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_become_dates() {
        assert_eq!(moment(0), "Thu Jan  1 00:00:00");
        assert_eq!(moment(11_016 * 86_400_000), "Tue Feb 29 00:00:00");
        assert_eq!(moment(1_795_209_453_056), "Fri Nov 20 21:17:33");
    }
}
