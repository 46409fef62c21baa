//! Disks that lie, break or are full.

use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;

use dtvn::cluster::NodeCommand;
use dtvn_client::api::Time;
use dtvn_messages::Height;

use crate::clients::{Clients, Random, judge};
use crate::field::{Field, left_out, until};

/// How a file is damaged while its node is down.
#[derive(Debug, Clone, Copy)]
enum Damage {
    /// Its end is gone.
    Truncated,
    /// One bit within what was written is turned.
    BitFlipped,
    /// It is gone.
    Lost,
}

/// The end of what was written to a segment, whose file is longer: zeros follow.
fn written(contents: &[u8]) -> usize {
    contents.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

fn damage(path: &Path, how: Damage, random: &mut Random) {
    let contents = std::fs::read(path).unwrap();
    let end = written(&contents);
    assert!(end > 4_096, "{} holds only {end} bytes", path.display());
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    match how {
        Damage::Truncated => file.set_len((end / 2) as u64).unwrap(),
        Damage::BitFlipped => {
            // Not in the last sectors: there it could be taken for the torn end of a write, which is no damage.
            let at = 512 + random.below(end - 2_048);
            file.write_all_at(&[contents[at] ^ (1 << random.below(8))], at as u64).unwrap();
        }
        Damage::Lost => std::fs::remove_file(path).unwrap(),
    }
    file.sync_all().unwrap();
}

/// A node whose log was damaged between two lives: it starts, sets the log aside, follows without a vote, and votes again in
/// the epoch that its own recovery opens; the network goes on and has one history.
async fn damaged_log(seed: u64, how: Damage) {
    let mut field = Field::start(4).await;
    let clients = Clients::start(&field.shared, seed, 8);
    clients.progress(60).await;
    field.kill(2).await;
    clients.progress(20).await;
    let segments = field.segments(2);
    damage(&segments[0], how, &mut Random::new(seed, 99));
    field.restart(2).await;
    clients.progress(20).await;
    assert!(field.log_was_set_aside(2), "{how:?}: the damage was not found");
    field.until_voting(2).await;
    judge(&field, clients, &[0, 1, 2, 3]).await;
    field.kill(2).await;
    field.restart(2).await;
    field.until_voting(2).await;
    field.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn truncated_log_is_amnesia_and_harms_nobody() {
    damaged_log(41, Damage::Truncated).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bit_flipped_log_is_amnesia_and_harms_nobody() {
    damaged_log(42, Damage::BitFlipped).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_log_is_amnesia_and_harms_nobody() {
    damaged_log(43, Damage::Lost).await;
}

/// A small file system in memory, gone with the value. Needs to be root.
struct Tmpfs(std::path::PathBuf);

impl Tmpfs {
    fn mount(mebibytes: usize) -> Option<Self> {
        let folder = std::env::temp_dir().join(format!("dtvn-nemesis-{}", std::process::id()));
        std::fs::create_dir_all(&folder).ok()?;
        let size = format!("size={mebibytes}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&folder).output().ok()?;
        mounted.status.success().then_some(Self(folder))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _unmounted = Command::new("umount").arg("--lazy").arg(&self.0).output();
        let _removed = std::fs::remove_dir(&self.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn full_disk_stops_the_vote_and_space_brings_it_back() {
    let Some(small) = Tmpfs::mount(640) else {
        left_out("no tmpfs can be mounted here (it needs to be root), so the full disk was not tested");
        return;
    };
    let place = |node: usize, mut command: NodeCommand| {
        if node == 1 {
            command.data_dir = small.0.join("node1");
            command.arguments.retain(|argument| !argument.starts_with("--data-dir="));
            command.arguments.push(format!("--data-dir={}", command.data_dir.display()));
            command.arguments.push("--min-free-disk-mib=128".to_owned());
        }
        command
    };
    let mut field = Field::start_with(4, place).await;
    let clients = Clients::start(&field.shared, 51, 8);
    clients.progress(20).await;
    // Less than the least that it wants is free: it stops voting before the disk is full.
    fill(&small.0, 64);
    until("it says that its disk is full", async || {
        field.at(1).status().await.is_ok_and(|status| !status.voting && status.not_voting_because.is_some())
    })
    .await;
    clients.progress(20).await;
    // Not one byte is free. The others go on without it.
    fill(&small.0, 0);
    clients.progress(40).await;
    std::fs::remove_file(small.0.join("ballast")).unwrap();
    // A process that gave up over the full disk is started again, as an orchestrator does.
    if field.height_if_up(1).await.is_none() {
        field.kill(1).await;
        field.restart(1).await;
    }
    until("it votes again", async || field.at(1).status().await.is_ok_and(|status| status.voting)).await;
    clients.progress(20).await;
    judge(&field, clients, &[0, 1, 2, 3]).await;
    field.stop().await;
}

/// Leaves so many MiB free.
fn fill(folder: &Path, left_mib: u64) {
    let free = || {
        let output = Command::new("df").args(["--output=avail", "-B1"]).arg(folder).output().unwrap();
        String::from_utf8(output.stdout).unwrap().lines().nth(1).unwrap().trim().parse::<u64>().unwrap()
    };
    let path = folder.join("ballast");
    let mut ballast = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    let mut left = free().saturating_sub(left_mib * 1024 * 1024);
    let zeros = vec![0; 1024 * 1024];
    while left > 0 {
        let piece = zeros.len().min(left as usize);
        // A disk that is full at last is what is wanted.
        if std::io::Write::write_all(&mut ballast, &zeros[..piece]).is_err() {
            break;
        }
        left -= piece as u64;
    }
}

/// Agreed time is no further off than this, though one clock is by an hour.
const CLOCK_SECONDS: u64 = 60;

#[tokio::test(flavor = "multi_thread")]
async fn skewed_clocks_leave_one_history() {
    let found = ["x86_64-linux-gnu", "aarch64-linux-gnu"]
        .map(|machine| format!("/usr/lib/{machine}/faketime/libfaketime.so.1"))
        .into_iter()
        .find(|path| Path::new(path).exists());
    let Some(library) = found else {
        left_out("libfaketime is not installed, so skewed clocks were not tested on real processes");
        return;
    };
    // One node is a quarter of a second ahead, one behind: within the drift that is allowed. One is an hour behind.
    let skew = move |node: usize, mut command: NodeCommand| {
        let offset = ["+0", "+0.25s", "-0.25s", "-3600s"][node];
        command.variables.push(("LD_PRELOAD".to_owned(), library.clone()));
        command.variables.push(("FAKETIME".to_owned(), offset.to_owned()));
        command.variables.push(("FAKETIME_DONT_FAKE_MONOTONIC".to_owned(), "1".to_owned()));
        command
    };
    let began = Time::now().seconds();
    let field = Field::start_with(4, skew).await;
    let clients = Clients::start(&field.shared, 61, 8);
    clients.progress(100).await;
    let [right, wrong] = [0, 3].map(|node| field.clock(node).seconds());
    assert!(wrong + 3_000 < right, "no clock is wrong: {right} and {wrong}");
    judge(&field, clients, &[0, 1, 2, 3]).await;
    // Agreed time only rises, and is that of the many whose clocks are right.
    let (height, ended) = (field.height(0).await, Time::now().seconds());
    let mut last = None;
    for height in 1..=height {
        let agreed = field.at(0).block(Height(height)).await.unwrap().agreed_time;
        assert!(last < Some(agreed), "block {height} is of {agreed}, after {last:?}");
        let bounds = began - CLOCK_SECONDS..=ended + CLOCK_SECONDS;
        assert!(bounds.contains(&agreed.seconds()), "block {height} is of {agreed}, and not of {bounds:?}");
        last = Some(agreed);
    }
    field.stop().await;
}
