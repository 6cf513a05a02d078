//! How fast sessions may begin, where somebody has set a limit: for servers that count connections, or that others use.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Hands out moments at equal distances.
#[derive(Debug)]
pub(super) struct Pace {
    distance: Duration,
    next: Mutex<Instant>,
}

impl Pace {
    /// So many in a second; a rate that is no positive number is no limit.
    pub(super) fn new(rate: f64) -> Self {
        let distance = Duration::try_from_secs_f64(1.0 / rate).unwrap_or_default();
        Self { distance, next: Mutex::new(Instant::now()) }
    }

    /// Waits for the next moment.
    pub(super) async fn turn(&self) {
        sleep_until(self.moment(Instant::now())).await;
    }

    /// The next moment that is not over. Who comes late does not make up for it with a burst.
    fn moment(&self, now: Instant) -> Instant {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let moment = (*next).max(now);
        *next = moment + self.distance;
        moment
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_as_far_apart_as_they_were_asked_to_be() {
        let pace = Pace::new(4.0);
        let begun = pace.moment(Instant::now());
        let step = Duration::from_millis(250);
        assert_eq!([pace.moment(begun), pace.moment(begun)], [begun + step, begun + 2 * step]);
        let late = begun + Duration::from_secs(10);
        assert_eq!([pace.moment(late), pace.moment(late)], [late, late + step]);
    }
}
