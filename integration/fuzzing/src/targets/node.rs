//! A node's own files, and what its HTTP routes read.

use std::cell::OnceCell;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use dtvn::cluster::Roster;
use dtvn::config::keys::KeyFile;
use dtvn::config::{Effective, Inputs};
use dtvn::http::inputs;
use dtvn::telemetry::logs;
use dtvn_actors::network_address::Multiaddr;
use dtvn_actors::storage::amnesia;
use dtvn_actors::storage::identity::{NodeIdentity, claim};
use dtvn_messages::Digest;

use super::choice;
use crate::Judged;

/// What is read of a file with these bytes, in a folder that lives as long as its thread; nothing if there is no room for
/// it.
fn with_file<T>(name: &str, bytes: &[u8], read: impl FnOnce(&Path) -> Option<T>) -> Option<T> {
    thread_local! {
        static FOLDER: OnceCell<tempfile::TempDir> = const { OnceCell::new() };
    }
    FOLDER.with(|folder| {
        let folder = match folder.get() {
            Some(folder) => folder.path(),
            None => match tempfile::tempdir() {
                Ok(made) => folder.get_or_init(|| made).path(),
                Err(_no_room) => return None,
            },
        };
        let path = folder.join(name);
        let private = std::fs::Permissions::from_mode(0o600);
        let written = std::fs::write(&path, bytes).and_then(|()| std::fs::set_permissions(&path, private));
        if written.is_ok() { read(&path) } else { None }
    })
}

/// The node whose `node.json` is expected.
#[must_use]
#[expect(clippy::expect_used, reason = "the names are valid ones")]
pub fn identity() -> NodeIdentity {
    NodeIdentity {
        schema_version: dtvn_actors::storage::identity::SCHEMA_VERSION,
        chain_id: "dtvn-fuzzing".parse().expect("a valid name"),
        genesis_hash: Digest([7; 32]),
        node_id: "node0".parse().expect("a valid name"),
        public_key: dtvn_messages::PublicKey([2; 32]),
        created_unix: 1_700_000_000,
        used: false,
    }
}

/// How many files of its own a node reads.
pub(super) const FILES: usize = 4;

/// `node.json`, a key file, the file of settings, or the roster of a development network, as the first byte says. A
/// secret never shows in a message.
pub(super) fn files(input: &[u8]) -> Judged {
    let Some((which, bytes)) = choice(input, FILES) else { return Judged::Refused };
    let judged = match which {
        0 => with_file("node.json", bytes, |path| {
            let claimed = claim(path.parent()?, &identity());
            let kept = std::fs::read(path).is_ok_and(|now| now == bytes);
            assert!(kept, "a file that is there is never replaced");
            Some(Judged::of(&claimed))
        }),
        1 => with_file("node0.key", bytes, |path| match KeyFile::load(path) {
            Ok(file) => {
                assert_eq!(file.pair.public(), file.pair.clone().public());
                Some(Judged::Accepted)
            }
            Err(error) => {
                assert!(error.to_string().len() < 4_096, "a message, not the file");
                None
            }
        }),
        2 => with_file("node.toml", bytes, |path| {
            let inputs = Inputs { file: Some(path.to_owned()), ..Inputs::default() };
            let effective = Effective::load(&inputs).ok()?;
            assert_eq!(effective.config.check(), Ok(()));
            Some(Judged::Accepted)
        }),
        _ => with_file("devnet.json", bytes, |path| {
            let folder = path.parent()?;
            let roster = Roster::load(folder).ok()??;
            roster.save(folder).ok()?;
            assert!(
                Roster::load(folder).is_ok_and(|again| again == Some(roster)),
                "what is written is read as the same"
            );
            Some(Judged::Accepted)
        }),
    };
    judged.unwrap_or(Judged::Refused)
}

/// The name of a mark, and how what it says is written again; none if it is refused.
type Mark = (&'static str, fn(&Path) -> Option<String>);

/// The marks that the first byte chooses from: that a node has forgotten, and from which epoch on it remembers again.
pub const MARKS: &[Mark] = &[("AMNESIA", forgotten), ("RECOVERED", remembering)];

fn forgotten(folder: &Path) -> Option<String> {
    let amnesia = amnesia::marked(folder).ok()??;
    Some(format!("{}\n{}\n", amnesia.nonce, amnesia.why))
}

fn remembering(folder: &Path) -> Option<String> {
    Some(format!("{}\n", amnesia::votes_from(folder).ok()?))
}

/// A mark in the data directory: what it says is written, and read as the same.
pub(super) fn mark(input: &[u8]) -> Judged {
    let Some((which, bytes)) = choice(input, MARKS.len()) else { return Judged::Refused };
    let (name, written_again) = MARKS[which];
    let again = |bytes: &[u8]| with_file(name, bytes, |path| written_again(path.parent()?));
    let Some(said) = again(bytes) else { return Judged::Refused };
    assert_eq!(again(said.as_bytes()).as_ref(), Some(&said));
    Judged::Accepted
}

/// How many kinds of texts the routes and settings read.
pub(super) const INPUTS: usize = 6;

/// A batch in JSON, a message on the WebSocket, a place in the history, a peer's address, the path of a tile, a log
/// level.
pub(super) fn http(input: &[u8]) -> Judged {
    let Some((which, bytes)) = choice(input, INPUTS) else { return Judged::Refused };
    let text = std::str::from_utf8(bytes).ok();
    let accepted = match which {
        0 => inputs::batch(bytes).is_some_and(|operations| {
            assert!(operations <= dtvn_messages::limits::API_BATCH_OPERATIONS_MAX);
            true
        }),
        1 => text.is_some_and(inputs::is_said),
        2 => text.and_then(inputs::position).is_some_and(|shown| {
            assert_eq!(inputs::position(&shown).as_ref(), Some(&shown));
            true
        }),
        3 => text.and_then(|text| text.parse::<Multiaddr>().ok()).is_some_and(|address| {
            assert!(address.to_string().parse::<Multiaddr>().is_ok_and(|same| same == address));
            true
        }),
        4 => text.is_some_and(|text| {
            let is_tile = inputs::is_tile(text);
            assert!(!is_tile || !inputs::is_tile(&format!("0{text}")), "one tile has one address");
            is_tile
        }),
        _ => text.is_some_and(|text| {
            let is_level = logs::check_level(text).is_ok();
            assert!(logs::check_level(&format!("{text},")).is_err(), "nothing is no level");
            is_level
        }),
    };
    if accepted { Judged::Accepted } else { Judged::Refused }
}
