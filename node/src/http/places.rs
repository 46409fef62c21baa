//! How many connections one client may hold: nobody alone takes all of them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::rate::caller;

/// The connections that each client holds, by its address.
pub(super) struct Places {
    held: Mutex<BTreeMap<IpAddr, usize>>,
    most: usize,
}

/// The place of a connection: it is free again when this is dropped.
pub(super) struct Place {
    places: Arc<Places>,
    client: IpAddr,
}

impl Places {
    /// So many for each client.
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { held: Mutex::default(), most })
    }

    /// A place for a connection from this address; none if the client has all that it may have.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let client = caller(address);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.get(&client).copied().unwrap_or(0);
        if count >= self.most {
            return None;
        }
        held.insert(client, count + 1);
        Some(Place { places: Arc::clone(self), client })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.places.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_so_many_places_and_others_have_their_own() {
        let places = Places::new(2);
        let take = |address: &str| places.take(address.parse().unwrap());
        let first = take("10.0.0.1").unwrap();
        let second = take("::ffff:10.0.0.1").expect("the same address, written otherwise");
        assert!(take("10.0.0.1").is_none());
        let _others = [take("10.0.0.2").unwrap(), take("2001:db8::1").unwrap(), take("2001:db8::2").unwrap()];
        assert!(take("2001:db8::3").is_none(), "an IPv6 client has a whole network");
        let _another = take("2001:db8:0:1::3").unwrap();
        drop(first);
        let third = take("10.0.0.1").unwrap();
        assert!(take("10.0.0.1").is_none());
        drop((third, second));
        assert_eq!(places.held.lock().unwrap().len(), 3, "who holds none is forgotten");
    }
}
