//! `dtvn simulator`, with the options of the README.

use serde_json::{Value, json};

use crate::{dtvn, json, said};

/// A network that takes no time.
const SMALL: &str = "simulator -nodes 4 -byzantine 1 -tickets 5 -duration 5s -latency 10ms";

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap()).collect()
}

#[test]
fn a_network_of_four_is_simulated_and_judged() {
    let report = json(&format!("{SMALL} -packet-loss 0.01 -partition -seed 3 --json"), 0);
    assert_eq!((&report["outcome"], &report["seed"]), (&json!("good"), &json!(3)));
    assert_eq!(report["tickets"]["CONSUMED"], 5, "{}", report["tickets"]);
    let operations = &report["operations"];
    assert_eq!([&operations["asked"], &operations["decided"], &operations["refused"]], [15, 15, 0], "{operations}");
    assert_eq!(operations["success_rate"], 1.0);
    let latency = |rank: &str| report["latency_us"][rank].as_u64().unwrap();
    assert!(0 < latency("p50") && latency("p50") <= latency("p99") && latency("p99") <= latency("max"), "{report}");
    assert!(report["rounds"].as_u64().unwrap() > 0 && report["messages"]["sent"].as_u64().unwrap() > 0, "{report}");
    assert_eq!(report["liars"].as_object().unwrap().len(), 1);
    let invariants = report["invariants"].as_array().unwrap();
    assert!(invariants.iter().all(|verdict| verdict["held"] == true), "{invariants:?}");
    let names = names(&report["invariants"]);
    assert!(names.contains(&"agreement") && names.contains(&"liveness") && names.len() >= 12, "{names:?}");
    let command = report["command"].as_str().unwrap();
    let again = json(&format!("{} --json", command.strip_prefix("dtvn ").unwrap()), 0);
    assert_eq!([&again["event_hash"], &again["events"]], [&report["event_hash"], &report["events"]], "{command}");
}

#[test]
fn a_wrong_line_is_refused_before_anything_is_simulated() {
    for (line, part) in [
        ("simulator -nodez 4", "nodez"),
        ("simulator -nodes four", "four"),
        ("simulator -packet-loss 1.5", "1.5"),
        ("simulator -nodes 4 -byzantine 2", "error: "),
        ("simulator -seeds 0", "seeds"),
    ] {
        let output = dtvn(line);
        assert_eq!(output.status.code(), Some(2), "{line}: {}", said(&output));
        assert!(output.stdout.is_empty() && said(&output).contains(part), "{line}: {}", said(&output));
    }
}

#[test]
fn several_networks_are_counted_together() {
    let batch = json(&format!("{SMALL} -seed 3 --seeds 3 --json"), 0);
    let numbers = ["first_seed", "planned", "runs", "good"].map(|name| batch[name].as_u64().unwrap());
    assert_eq!(numbers, [3, 3, 3, 3]);
    assert_eq!([&batch["failed"], &batch["is_unfinished"]], [&json!([]), &json!(false)]);
    let operations = &batch["operations"];
    assert_eq!([&operations["asked"], &operations["decided"], &operations["refused"]], [45, 45, 0], "{operations}");
    let invariants = batch["invariants"].as_array().unwrap();
    for tally in invariants {
        assert_eq!([&tally["held"], &tally["violated"], &tally["not_judged"]], [3, 0, 0], "{tally}");
    }
    // Together they are what each is alone.
    let single: Vec<Value> = (3..6).map(|seed| json(&format!("{SMALL} -seed {seed} --json"), 0)).collect();
    let sum = |what: fn(&Value) -> &Value| single.iter().map(|run| what(run).as_u64().unwrap_or(0)).sum::<u64>();
    assert_eq!(batch["tickets"]["CONSUMED"], sum(|run| &run["tickets"]["CONSUMED"]));
    assert_eq!(
        (&batch["events"], &batch["rounds"]),
        (&json!(sum(|run| &run["events"])), &json!(sum(|run| &run["rounds"])))
    );
    let ranks = |rank: &str| single.iter().map(|run| run["latency_us"][rank].as_u64().unwrap()).collect::<Vec<_>>();
    let mut medians = ranks("p50");
    medians.sort_unstable();
    let expected = json!({
        "p50_median": medians[1], "p50_max": medians[2],
        "p99_max": ranks("p99").into_iter().max(), "max": ranks("max").into_iter().max(),
    });
    assert_eq!(batch["latency_us"], expected);
    assert_eq!(names(&batch["invariants"]), names(&single[0]["invariants"]));
}

#[test]
fn a_run_without_time_says_that_it_is_not_finished() {
    let batch = json(&format!("{SMALL} -seed 3 --seeds 3 -wall-limit 0s --json"), 14);
    assert_eq!((&batch["runs"], &batch["is_unfinished"]), (&json!(0), &json!(true)));
    assert_eq!(json(&format!("{SMALL} -seed 3 -wall-limit 0s --json"), 14)["outcome"], "unfinished");
}
