//! keepalived's dumps, and their date formats.

mod dumps;

pub const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Converts a number of days since 1970 to year, month and day (Gregorian; Howard Hinnant's
/// arithmetic of eras of 400 years).
pub fn civil(days: u64) -> (u64, u8, u8) {
    let z = days + 719_468;
    let era = z / 146_097;
    let doe = z % 146_097;
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + u64::from(month <= 2);
    (year, month as u8, day as u8)
}

/// Formats milliseconds since 1970 as `Fri Nov 20 21:17:33`, the beginning of `ctime`'s
/// format.
pub fn moment(unix_ms: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let s = unix_ms / 1000;
    let (_, month, day) = civil(s / 86_400);
    let weekday = DAYS[usize::try_from(s / 86_400 % 7).unwrap_or(0)];
    let month = MONTHS[usize::from(month.saturating_sub(1)) % 12];
    let (h, m, s) = (s / 3600 % 24, s / 60 % 60, s % 60);
    format!("{weekday} {month} {day:2} {h:02}:{m:02}:{s:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_become_dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(20_777), (2026, 11, 20));
        assert_eq!(moment(1_795_209_453_056), "Fri Nov 20 21:17:33");
    }
}
