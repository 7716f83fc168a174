// Changed for Evenkeel: third-party/openraft/README.md lists the changes.
use std::fmt;

use crate::Instant;

/// Displays an `Instant` as the time of day in UTC: hours, minutes, seconds and microseconds.
pub(crate) struct DisplayInstant<'a, T>(pub &'a T);

impl<T> fmt::Display for DisplayInstant<'_, T>
where T: Instant
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Convert Instant to SystemTime
        let sys_t = {
            let sys_now = std::time::SystemTime::now();
            let now = T::now();

            if &now >= self.0 {
                let d = now - *self.0;
                sys_now - d
            } else {
                let d = *self.0 - now;
                sys_now + d
            }
        };

        // A clock before 1970 shows 00:00:00.
        let since_epoch = sys_t.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let secs = since_epoch.as_secs() % 86_400;

        write!(
            f,
            "{:02}:{:02}:{:02}.{:06}",
            secs / 3600,
            secs / 60 % 60,
            secs % 60,
            since_epoch.subsec_micros()
        )
    }
}

pub(crate) trait DisplayInstantExt<'a, T> {
    fn display(&'a self) -> DisplayInstant<'a, T>;
}

impl<T> DisplayInstantExt<'_, T> for T
where T: Instant
{
    fn display(&self) -> DisplayInstant<'_, T> {
        DisplayInstant(self)
    }
}

#[cfg(test)]
mod tests {

    use crate::display_ext::DisplayInstantExt;
    use crate::engine::testing::UTConfig;
    use crate::type_config::TypeConfigExt;

    #[test]
    fn test_display_instant() -> anyhow::Result<()> {
        let now = UTConfig::<()>::now().display().to_string();

        let (time, micros) = now.split_once('.').unwrap();
        assert_eq!(6, micros.len());

        let parts: Vec<u32> = time.split(':').map(|p| p.parse().unwrap()).collect();
        assert_eq!(3, parts.len());
        assert!(parts[0] < 24 && parts[1] < 60 && parts[2] < 60, "{}", now);
        Ok(())
    }
}
