//! A node's own files, and what its HTTP routes read.

use std::cell::OnceCell;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use dtvn::config::keys::KeyFile;
use dtvn::config::{Effective, Inputs};
use dtvn::http::inputs;
use dtvn_actors::network_address::Multiaddr;
use dtvn_actors::storage::identity::{NodeIdentity, claim};
use dtvn_messages::Digest;

use super::choice;
use crate::Judged;

/// A file with these bytes, in a folder that lives as long as its thread; nothing if there is no room for it.
fn with_file(name: &str, bytes: &[u8], read: impl FnOnce(&Path) -> Judged) -> Judged {
    thread_local! {
        static FOLDER: OnceCell<tempfile::TempDir> = const { OnceCell::new() };
    }
    FOLDER.with(|folder| {
        let folder = match folder.get() {
            Some(folder) => folder.path(),
            None => match tempfile::tempdir() {
                Ok(made) => folder.get_or_init(|| made).path(),
                Err(_no_room) => return Judged::Refused,
            },
        };
        let path = folder.join(name);
        let private = std::fs::Permissions::from_mode(0o600);
        let written = std::fs::write(&path, bytes).and_then(|()| std::fs::set_permissions(&path, private));
        if written.is_ok() { read(&path) } else { Judged::Refused }
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

/// `node.json`, a key file, or the file of settings, as the first byte says. A secret never shows in a message.
pub(super) fn files(input: &[u8]) -> Judged {
    let Some((which, bytes)) = choice(input, 3) else { return Judged::Refused };
    match which {
        0 => with_file("node.json", bytes, |path| {
            let Some(folder) = path.parent() else { return Judged::Refused };
            let claimed = claim(folder, &identity());
            let kept = std::fs::read(path).is_ok_and(|now| now == bytes);
            assert!(kept, "a file that is there is never replaced");
            Judged::of(&claimed)
        }),
        1 => with_file("node0.key", bytes, |path| match KeyFile::load(path) {
            Ok(file) => {
                assert_eq!(file.pair.public(), file.pair.clone().public());
                Judged::Accepted
            }
            Err(error) => {
                assert!(error.to_string().len() < 4_096, "a message, not the file");
                Judged::Refused
            }
        }),
        _ => with_file("node.toml", bytes, |path| {
            let inputs = Inputs { file: Some(path.to_owned()), ..Inputs::default() };
            let Ok(effective) = Effective::load(&inputs) else { return Judged::Refused };
            assert_eq!(effective.config.check(), Ok(()));
            Judged::Accepted
        }),
    }
}

/// A batch in JSON, a message on the WebSocket, a place in the history, a peer's address.
pub(super) fn http(input: &[u8]) -> Judged {
    let Some((which, bytes)) = choice(input, 4) else { return Judged::Refused };
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
        _ => text.and_then(|text| text.parse::<Multiaddr>().ok()).is_some_and(|address| {
            assert!(address.to_string().parse::<Multiaddr>().is_ok_and(|same| same == address));
            true
        }),
    };
    if accepted { Judged::Accepted } else { Judged::Refused }
}
