use super::*;

#[test]
fn a_batch_delays_a_scan_by_no_more_than_the_bundle_on_its_way() {
    let mut world = World::with(|limits| {
        limits.bundle_operations_max = 100;
        limits.bundles_on_way_max = 1;
    });
    for request in 0..10 {
        let batch = (0..1_000).map(|number| validate(&format!("batch {request} of {number}"))).collect();
        world.submit(request, batch);
    }
    world.submit(99, vec![validate("the scan at the gate")]);
    let on_its_way = world.sign_last();
    world.order(&[&on_its_way]);
    let next = world.cut.last().unwrap();
    assert_eq!(next.operations.len(), 100);
    assert!(next.operations.iter().any(|operation| operation.key.as_str().ends_with("the scan at the gate")));
}

#[test]
fn waiting_requests_take_turns_from_one_bundle_to_the_next() {
    let mut world = World::with(|limits| {
        limits.bundle_operations_max = 3;
        limits.bundles_on_way_max = 1;
    });
    world.submit(0, vec![validate("first")]);
    for (request, name) in [(1, "a"), (2, "b")] {
        world.submit(request, (0..4).map(|number| validate(&format!("{name}{number}"))).collect());
    }
    let mut order = Vec::new();
    for _ in 0..3 {
        let bundle = world.sign_last();
        world.order(&[&bundle]);
        let body = world.cut.last().unwrap();
        order.push(
            body.operations.iter().map(|operation| operation.key.to_string()[15..].to_owned()).collect::<Vec<_>>(),
        );
    }
    assert_eq!(order, [vec!["a0", "b0", "a1"], vec!["b1", "a2", "b2"], vec!["a3", "b3"]]);
}
