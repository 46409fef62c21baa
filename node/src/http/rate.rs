//! How often one may ask (api.md section 4): so many requests a second for each address, and for each key.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue, RETRY_AFTER};
use actix_web::{HttpResponse, ResponseError};
use dtvn_messages::limits::RATE_SWEEP_REQUESTS;
use dtvn_messages::{Digest, Reason, sha256};
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota};

use super::problem::Refusal;
use crate::config::ApiSettings;

/// The limits in force. Cheap to clone; all clones count together.
#[derive(Clone)]
pub struct Rates {
    by_address: Option<Arc<Rate<IpAddr>>>,
    by_key: Option<Arc<Rate<Digest>>>,
}

impl Rates {
    /// The limits that the settings ask for; 0 is none.
    #[must_use]
    pub fn new(settings: &ApiSettings) -> Self {
        Self {
            by_address: Rate::new("address", settings.rate_per_address),
            by_key: Rate::new("key", settings.rate_per_key),
        }
    }

    /// Counts a request from this address.
    pub(super) fn check_address(&self, address: Option<IpAddr>) -> Result<(), Limited> {
        match (&self.by_address, address) {
            (Some(rate), Some(address)) => rate.check(&caller(address)),
            _ => Ok(()),
        }
    }

    /// Counts a request with this key, which holds.
    pub(super) fn check_key(&self, key: Option<&str>) -> Result<(), Limited> {
        match (&self.by_key, key) {
            (Some(rate), Some(key)) => rate.check(&sha256(&[key.as_bytes()])),
            _ => Ok(()),
        }
    }
}

/// Who counts as one caller: an IPv6 client has a whole network of addresses.
pub(super) fn caller(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(mapped) => IpAddr::V4(mapped),
            None => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        },
    }
}

/// One limit.
struct Rate<K: Clone + Eq + std::hash::Hash> {
    what: &'static str,
    per_second: u32,
    limiter: DefaultKeyedRateLimiter<K>,
    counted: AtomicU64,
}

impl<K: Clone + Eq + std::hash::Hash> Rate<K> {
    fn new(what: &'static str, per_second: u32) -> Option<Arc<Self>> {
        let quota = Quota::per_second(NonZeroU32::new(per_second)?);
        Some(Arc::new(Self {
            what,
            per_second,
            limiter: DefaultKeyedRateLimiter::keyed(quota),
            counted: AtomicU64::new(0),
        }))
    }

    fn check(&self, caller: &K) -> Result<(), Limited> {
        if self.counted.fetch_add(1, Ordering::Relaxed) % RATE_SWEEP_REQUESTS == RATE_SWEEP_REQUESTS - 1 {
            self.limiter.retain_recent();
            self.limiter.shrink_to_fit();
        }
        self.limiter.check_key(caller).map_err(|until| Limited {
            what: self.what,
            per_second: self.per_second,
            wait: until.wait_time_from(DefaultClock::default().now()),
        })
    }
}

/// A request too many.
#[derive(Debug, Clone)]
pub(super) struct Limited {
    what: &'static str,
    per_second: u32,
    wait: Duration,
}

impl Limited {
    fn seconds(&self) -> u32 {
        // At least 1: clients wait in whole seconds.
        u32::try_from(self.wait.as_millis().div_ceil(1_000)).unwrap_or(u32::MAX).max(1)
    }
}

impl std::fmt::Display for Limited {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "more than {} requests a second from one {}", self.per_second, self.what)
    }
}

impl ResponseError for Limited {
    fn status_code(&self) -> StatusCode {
        StatusCode::TOO_MANY_REQUESTS
    }

    /// With the headers of draft-ietf-httpapi-ratelimit-headers: the policy, and what is left of it for how long.
    fn error_response(&self) -> HttpResponse {
        let seconds = self.seconds();
        let refusal = Refusal::new(Reason::RateLimited, self.to_string());
        let refusal = Refusal(Box::new(refusal.0.with_retry_after(seconds)));
        let mut response = refusal.error_response();
        let headers = response.headers_mut();
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        for (name, value) in [
            ("ratelimit-policy", format!("\"{}\";q={};w=1", self.what, self.per_second)),
            ("ratelimit", format!("\"{}\";r=0;t={seconds}", self.what)),
        ] {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_caller_has_its_own_count() {
        let settings = ApiSettings { rate_per_address: 3, rate_per_key: 2, ..ApiSettings::default() };
        let rates = Rates::new(&settings);
        let (one, two) = (Some("192.0.2.1".parse().unwrap()), Some("192.0.2.2".parse().unwrap()));
        let allowed = (0..10).filter(|_| rates.check_address(one).is_ok()).count();
        assert_eq!(allowed, 3);
        assert!(rates.check_address(two).is_ok());
        assert_eq!((0..10).filter(|_| rates.check_key(Some("a")).is_ok()).count(), 2);
        assert!(rates.check_key(Some("b")).is_ok());
        assert!(rates.check_key(None).is_ok(), "no key is no caller");
    }

    #[test]
    fn nothing_is_limited_without_a_limit() {
        let settings = ApiSettings { rate_per_address: 0, rate_per_key: 0, ..ApiSettings::default() };
        let rates = Rates::new(&settings);
        assert!((0..100_000).all(|_| rates.check_address(Some("192.0.2.1".parse().unwrap())).is_ok()));
    }

    #[test]
    fn a_network_of_addresses_is_one_caller() {
        let same = |left: &str, right: &str| caller(left.parse().unwrap()) == caller(right.parse().unwrap());
        assert!(same("2001:db8::1", "2001:db8::ffff:1"));
        assert!(!same("2001:db8::1", "2001:db8:0:1::1"));
        assert!(same("::ffff:192.0.2.1", "192.0.2.1"));
        assert!(!same("::ffff:192.0.2.1", "::ffff:192.0.2.2"));
    }

    #[test]
    fn callers_that_are_gone_are_forgotten() {
        let rate = Rate::new("address", 1_000_000).unwrap();
        for number in 0..10 * u32::try_from(RATE_SWEEP_REQUESTS).unwrap() {
            assert!(rate.check(&number).is_ok());
        }
        assert!(rate.limiter.len() <= 2 * usize::try_from(RATE_SWEEP_REQUESTS).unwrap(), "{}", rate.limiter.len());
    }
}
