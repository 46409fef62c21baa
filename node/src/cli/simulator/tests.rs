//! The command line of the simulator, and what it prints.

use clap::Parser;

use super::*;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    arguments: SimulatorArguments,
}

fn parse(options: &str) -> Result<SimulatorArguments, clap::Error> {
    let words = std::iter::once("simulator").chain(options.split_whitespace());
    Line::try_parse_from(words).map(|line| line.arguments)
}

fn small(more: &str) -> SimulatorArguments {
    parse(&format!("--nodes 4 --byzantine 1 --tickets 5 --duration 2s --latency 5ms {more}")).unwrap()
}

fn report(arguments: &SimulatorArguments, seed: u64) -> (Report, Summary) {
    let report = simulate(&arguments.plan(seed), &Wall::new(None), |_| {}).unwrap();
    let summary = Summary::new(&report, arguments.command(seed), Duration::from_millis(1_500));
    (report, summary)
}

#[test]
fn the_defaults_are_those_of_the_original() {
    let plan = parse("").unwrap().plan(1);
    let expected = Plan {
        seed: 1,
        nodes: 7,
        byzantine: 2,
        tickets: 100,
        duration_us: 60_000_000,
        latency_us: 50_000,
        lost_ppm: 10_000,
        partition: false,
    };
    assert_eq!(plan, expected);
    assert!(parse("--partition").unwrap().partition);
    assert!(!parse("--partition=false").unwrap().partition);
    for wrong in ["--packet-loss 1.5", "--packet-loss some", "--latency 5", "--seeds 0", "--nodes x"] {
        assert!(parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn the_report_says_all_that_a_person_asks_and_how_to_repeat_it() {
    let arguments = small("--partition");
    let (report, summary) = report(&arguments, 3);
    assert_eq!(report.end, End::Good, "{report}");
    let text = report::words(&summary, &arguments.plan(3));
    let hash = format!("seed 3, event hash {:016x}", report.hash);
    let expected = [
        "GOOD: every invariant held",
        "4 nodes, 1 of them Byzantine; latency 5ms, packet loss 1%",
        "5 CONSUMED",
        "15 asked, 15 decided, 0 refused",
        "100.0%",
        "blocks decided",
        "p50 ",
        "view changes",
        "lies told",
        "no two honest nodes commit different blocks at a height",
        &hash,
        "again: dtvn simulator -nodes 4 -byzantine 1 -tickets 5 -duration 2s -latency 5ms -packet-loss 0.01 -partition \
         -seed 3",
    ];
    for part in expected {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert_eq!(text.matches(" held ").count(), dtvn_simulation::Invariant::ALL.len(), "{text}");
}

#[test]
fn the_command_of_a_report_repeats_it() {
    let (first, summary) = report(&small("--partition"), 4);
    let words: Vec<_> = summary.command.split_whitespace().skip(2).map(|word| word.replacen('-', "--", 1)).collect();
    let arguments = parse(&words.join(" ")).unwrap();
    let (again, _) = report(&arguments, arguments.seed.unwrap());
    assert_eq!((first.hash, first.events), (again.hash, again.events));
    let (other, _) = report(&arguments, 5);
    assert_ne!(first.hash, other.hash);
}

#[test]
fn a_stopped_run_says_so_and_promises_nothing_of_liveness() {
    let arguments = small("");
    let simulated = simulate(&arguments.plan(1), &Wall::new(Some(Duration::ZERO)), |_| {}).unwrap();
    assert_eq!((&simulated.end, simulated.end.exit_code()), (&End::Unfinished, 14));
    let summary = Summary::new(&simulated, arguments.command(1), Duration::ZERO);
    assert_eq!(summary.outcome, "unfinished");
    let liveness = summary.invariants.iter().find(|verdict| verdict.name == "liveness").unwrap();
    assert_eq!(liveness.held, None);
    assert!(report::words(&summary, &arguments.plan(1)).starts_with("UNFINISHED"));
}

#[test]
fn a_violation_stands_first_and_decides_the_exit_code() {
    let arguments = small("");
    let (mut report, _) = report(&arguments, 1);
    // Nothing that the command line can ask for violates anything: a network that never heals does.
    let mut scenario = arguments.plan(1).scenario().unwrap();
    scenario.sabotage = Some(dtvn_simulation::Sabotage::NoHealing);
    scenario.link = Some(dtvn_simulation::Link { latency_us: 1_000, lost_ppm: 1_000_000 });
    report.end = dtvn_simulation::run::simulate_scenario(scenario).end;
    assert_eq!(report.end.exit_code(), 11);
    let summary = Summary::new(&report, arguments.command(1), Duration::ZERO);
    let text = report::words(&summary, &arguments.plan(1));
    assert!(text.starts_with("STALLED after") && text.contains("VIOLATED"), "{text}");
    let mut batch = Batch::new(1, 2);
    batch.add(&report, arguments.command(1));
    assert_eq!((batch.exit_code(), batch.good), (11, 0));
    let text = batch::words(&batch);
    assert!(text.contains("0 of 1 networks good") && text.contains("again: dtvn simulator"), "{text}");
    assert_eq!(text.matches(" VIOLATED in 1 of 1 ").count(), 1, "{text}");
    assert_eq!(text.matches(" held in 1 ").count(), dtvn_simulation::Invariant::ALL.len() - 1, "{text}");
}

#[test]
fn the_report_of_several_networks_says_of_all_together_what_that_of_one_says() {
    let arguments = small("");
    let mut batch = Batch::new(1, 3);
    let mut medians = Vec::new();
    for seed in 1..=3 {
        let (report, summary) = report(&arguments, seed);
        medians.push(summary.latency_us.p50);
        batch.add(&report, arguments.command(seed));
    }
    medians.sort_unstable();
    assert_eq!(batch.tickets.values().sum::<u64>(), 15);
    assert_eq!((batch.operations.asked, batch.operations.decided, batch.operations.success_rate), (45, 45, 1.0));
    assert_eq!([batch.latency_us.p50_median, batch.latency_us.p50_max], [medians[1], medians[2]]);
    assert!(batch.latency_us.p99_max <= batch.latency_us.max && batch.latency_us.p50_max <= batch.latency_us.p99_max);
    assert!(batch.invariants.iter().all(|tally| (tally.held, tally.violated, tally.not_judged) == (3, 0, 0)));
    let text = batch::words(&batch);
    for part in
        ["3 of 3 networks good", "15 CONSUMED", "45 asked, 45 decided, 0 refused", "100.0%", "in the median network"]
    {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert_eq!(text.matches(" held in 3 ").count(), dtvn_simulation::Invariant::ALL.len(), "{text}");
    // One that was asked for nothing has no latency, and lowers nobody's.
    let idle =
        Report { decided: 0, accepted: 0, latency: dtvn_simulation::Latency::default(), ..report(&arguments, 1).0 };
    batch.add(&idle, String::new());
    assert_eq!(batch.latency_us.p50_median, medians[1]);
    assert!((batch.operations.success_rate - 0.75).abs() < 1e-9, "{}", batch.operations.success_rate);
    let nothing = batch::words(&Batch::new(1, 3));
    assert!(nothing.contains("0 of 0 networks good") && nothing.contains(" not judged "), "{nothing}");
}
