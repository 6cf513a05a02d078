//! What time is it?
//!
//! Everything that judges a token or stamps a message asks this clock, so that a test can stop it, set it, or let it
//! follow tokio's paused time. Timers and deadlines use tokio's own clock and not this one.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// A source of seconds since 1970.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> f64 + Send + Sync>);

impl Clock {
    /// The clock of this machine.
    pub fn system() -> Self {
        Self(Arc::new(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())))
    }

    /// A clock that says what `now` says.
    pub fn from_fn(now: impl Fn() -> f64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// Starts at `start` and follows tokio's time, which a test can pause and advance. Needs a tokio runtime.
    pub fn following_tokio(start: f64) -> Self {
        let origin = tokio::time::Instant::now();
        Self(Arc::new(move || start + origin.elapsed().as_secs_f64()))
    }

    /// Seconds since 1970.
    pub fn now(&self) -> f64 {
        (self.0)()
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({})", self.now())
    }
}

/// `2026-11-21T12:34:56.789Z` (RFC 3339, UTC).
pub(crate) fn iso8601(seconds: f64) -> String {
    let millis = (seconds.max(0.0) * 1000.0) as u64;
    let (days, of_day) = (millis / 86_400_000, millis % 86_400_000);
    // Days to a date in the proleptic Gregorian calendar, counted in eras of 400 years that begin in March.
    let z = days + 719_468;
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + u64::from(month <= 2);
    let (hour, minute, second, milli) = (of_day / 3_600_000, of_day / 60_000 % 60, of_day / 1000 % 60, of_day % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_right() {
        assert_eq!(iso8601(0.0), "1970-01-01T00:00:00.000Z");
        assert_eq!(iso8601(951_782_400.0), "2000-02-29T00:00:00.000Z");
        assert_eq!(iso8601(1_709_251_199.5), "2024-02-29T23:59:59.500Z");
        assert_eq!(iso8601(1_798_761_600.0), "2027-01-01T00:00:00.000Z");
    }
}
