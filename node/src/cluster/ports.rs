//! Free ports on loopback.
//!
//! Chosen below the range from which the kernel takes the ports of outgoing connections: so a node that was killed
//! finds its ports free when it comes back, also under load.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::Mutex;

use super::ClusterError;

const FIRST: u16 = 10_000;
const LAST: u16 = 32_000;

/// Ports that this process gave out, so that two of its clusters never share one.
static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// `count` ports that nothing listens on, by TCP or UDP.
pub fn free(count: usize) -> Result<Vec<u16>, ClusterError> {
    let mut given = GIVEN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let span = LAST - FIRST;
    let start: u16 = rand::random_range(0..span);
    let candidates = (0..span).map(|offset| FIRST + (start + offset) % span);
    // Held until all are chosen.
    let mut held = Vec::new();
    for port in candidates {
        if held.len() == count {
            break;
        }
        if given.contains(&port) {
            continue;
        }
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, port));
        if let (Ok(tcp), Ok(udp)) = (tcp, udp) {
            held.push((port, tcp, udp));
        }
    }
    if held.len() < count {
        return Err(ClusterError::NoPorts { count, first: FIRST, last: LAST });
    }
    let ports: Vec<u16> = held.iter().map(|(port, ..)| *port).collect();
    given.extend(&ports);
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn ports_are_free_and_never_given_twice() {
        let first = free(6).unwrap();
        let second = free(6).unwrap();
        let all: BTreeSet<u16> = first.iter().chain(&second).copied().collect();
        assert_eq!(all.len(), 12);
        // A process that another test starts has a copy of the sockets that were held, until it becomes another program.
        let is_free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        let begin = Instant::now();
        for port in all {
            while !is_free(port) {
                assert!(begin.elapsed() < Duration::from_secs(30), "{port} is in use");
                std::thread::yield_now();
            }
        }
    }

    #[test]
    fn a_port_that_is_in_use_is_passed_over() {
        let listener = (FIRST..LAST).find_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()).unwrap();
        let taken = listener.local_addr().unwrap().port();
        assert!(!free(200).unwrap().contains(&taken));
    }
}
