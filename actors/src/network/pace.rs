//! How fast one peer is served: a token bucket that makes it wait, and nobody else (faults.md: "junk at line rate from one
//! peer"). Nothing is lost: what is not read yet waits in the peer's own window.

use std::num::NonZeroU32;
use std::time::Duration;

use dtvn_messages::limits;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

const BURST_SECONDS: NonZeroU32 = NonZeroU32::new(limits::PACE_BURST_SECONDS).unwrap();

/// So much in a second, and a burst.
#[derive(Debug)]
pub struct Pace {
    limiter: DefaultDirectRateLimiter,
    burst: NonZeroU32,
}

impl Pace {
    /// So much in a second; after a silence that of [`limits::PACE_BURST_SECONDS`] at once.
    #[must_use]
    pub fn new(per_second: NonZeroU32) -> Self {
        let burst = per_second.saturating_mul(BURST_SECONDS);
        Self { limiter: RateLimiter::direct(Quota::per_second(per_second).allow_burst(burst)), burst }
    }

    /// Waits until `cost` is due. What costs more than a burst costs a burst.
    pub async fn pay(&self, cost: u32) {
        while let Some(wait) = self.due_in(cost) {
            tokio::time::sleep(wait).await;
        }
    }

    /// Takes `cost`, or says how long to wait for it.
    fn due_in(&self, cost: u32) -> Option<Duration> {
        let cost = NonZeroU32::new(cost)?.min(self.burst);
        match self.limiter.check_n(cost) {
            Ok(Err(not_until)) => Some(not_until.wait_time_from(DefaultClock::default().now())),
            // The other error, a cost above the burst, was ruled out.
            Ok(Ok(())) | Err(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_served_at_once_and_what_is_above_it_waits() {
        let pace = Pace::new(NonZeroU32::new(10).unwrap());
        assert_eq!(pace.due_in(15), None);
        assert_eq!(pace.due_in(0), None);
        assert_eq!(pace.due_in(5), None);
        let wait = pace.due_in(10).unwrap();
        assert!(wait > Duration::from_millis(500) && wait <= Duration::from_secs(1), "{wait:?}");
        let wait = pace.due_in(1_000_000).unwrap();
        assert!(wait <= Duration::from_secs(2), "no more than a burst: {wait:?}");
    }
}
