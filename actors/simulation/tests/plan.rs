//! The bounds of a plan: what is beyond is refused by name.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use dtvn_messages::limits::{
    SIMULATOR_DURATION_US_MAX, SIMULATOR_LATENCY_US_MAX, SIMULATOR_NODES_MAX, SIMULATOR_TICKETS_MAX,
};
use dtvn_simulation::{Plan, PlanError};

/// The largest plan that is taken.
const LARGEST: Plan = Plan {
    seed: 0,
    nodes: SIMULATOR_NODES_MAX,
    byzantine: 0,
    tickets: SIMULATOR_TICKETS_MAX,
    duration_us: SIMULATOR_DURATION_US_MAX,
    latency_us: SIMULATOR_LATENCY_US_MAX,
    lost_ppm: 0,
    partition: false,
};

#[test]
fn a_plan_beyond_its_bounds_is_refused_and_named() {
    assert_eq!(LARGEST.check(), Ok(()));
    let beyond = [
        ("the number of nodes", Plan { nodes: SIMULATOR_NODES_MAX + 1, ..LARGEST }),
        ("the number of tickets", Plan { tickets: SIMULATOR_TICKETS_MAX + 1, ..LARGEST }),
    ];
    for (expected, plan) in beyond {
        let refused = plan.check();
        let is_named = matches!(refused, Err(PlanError::OutOfBounds { name, asked, most, .. }) if name == expected && asked == most + 1);
        assert!(is_named, "{expected}: {refused:?}");
    }
    let longer = Plan { duration_us: SIMULATOR_DURATION_US_MAX + 1, ..LARGEST };
    assert_eq!(
        longer.check().unwrap_err().to_string(),
        "the duration must be from 1µs to 86400s, and not 86400.000001s"
    );
    let slower = Plan { latency_us: SIMULATOR_LATENCY_US_MAX + 1, ..LARGEST };
    assert_eq!(slower.check().unwrap_err().to_string(), "the latency must be from 0ns to 10s, and not 10.000001s");
}
