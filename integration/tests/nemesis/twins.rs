//! One validator's key run twice at a time.

use dtvn::cluster::NodeCommand;

use crate::clients::{Clients, judge_but};
use crate::field::{Field, until};

#[tokio::test(flavor = "multi_thread")]
async fn duplicate_validator_is_safe_and_loud() {
    let mut field = Field::start(4).await;
    let clients = Clients::start(&field.shared, 31, 8);
    clients.progress(20).await;
    // The same name and key in another directory, at other ports, through the same doors.
    let twin = twin_of(field.command(3), field.directory());
    let log = twin.log.clone();
    let mut twin = twin.spawn().unwrap().ready().await.unwrap();
    clients.progress(60).await;
    field.heal().await;
    let loud = || {
        let logs: Vec<_> = (0..4).map(|node| field.log(node)).chain(std::fs::read_to_string(&log)).collect();
        logs.iter().any(|text| text.contains("more than once") || text.contains("twice"))
    };
    until("somebody says that a validator runs twice", async || loud()).await;
    twin.kill().await;
    clients.progress(20).await;
    // Nobody else is accused of anything. That the twins are is not certain, and rare: both follow the protocol, and
    // vote for what one leader proposes. They contradict each other only where both lead, or both move to a view with
    // another story, and nothing here makes them. `tests/network/evidence.rs` has one that surely does, on real nodes;
    // `liars_leave_evidence_of_their_kind` of the simulator has twins that do, in some of its seeds.
    judge_but(&field, clients, &[0, 1, 2, 3], Some(3)).await;
    field.stop().await;
}

fn twin_of(command: &NodeCommand, directory: &std::path::Path) -> NodeCommand {
    let data_dir = directory.join("twin");
    let mut arguments = command.arguments.clone();
    for (name, value) in [
        ("--data-dir", data_dir.display().to_string()),
        ("--port", "0".to_owned()),
        ("--api-port", "0".to_owned()),
        ("--admin-addr", "127.0.0.1:0".to_owned()),
    ] {
        arguments.retain(|known| known.split('=').next() != Some(name));
        arguments.push(format!("{name}={value}"));
    }
    NodeCommand { arguments, data_dir, log: directory.join("twin.log"), ..command.clone() }
}
