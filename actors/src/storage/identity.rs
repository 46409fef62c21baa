//! Whose data directory it is: the file `node.json`, written at the first start and compared at every later one.
//! Architecture section 5: "A schema version is checked at open; a database of another chain or identity is refused
//! with a clear message".

use std::io;
use std::path::{Path, PathBuf};

use dtvn_messages::{ChainId, Digest, NodeName, PublicKey};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::files;

/// The layout of a data directory that this program reads and writes.
pub const SCHEMA_VERSION: u32 = 1;

const FILE_NAME: &str = "node.json";
/// What a data directory holds once its node has run.
const TRACES: [&str; 4] = ["log", "db", "snapshots", "archive"];

/// Whose data directory it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeIdentity {
    /// The layout of the directory.
    pub schema_version: u32,
    /// The chain.
    pub chain_id: ChainId,
    /// The hash of the chain's genesis.
    pub genesis_hash: Digest,
    /// The node's name in it.
    pub node_id: NodeName,
    /// The node's key.
    pub public_key: PublicKey,
    /// When the directory was first used, in seconds since the Unix epoch. It is not compared.
    pub created_unix: u64,
    /// Whether the node may have signed something: [`mark_used`]. It is not compared.
    #[serde(default = "unless_it_says_so")]
    pub used: bool,
}

/// Who does not say that it signed nothing may have.
const fn unless_it_says_so() -> bool {
    true
}

/// A data directory that fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// What its `node.json` says.
    pub identity: NodeIdentity,
    /// Whether that was written just now: the directory's first use.
    pub is_new: bool,
}

/// Why a data directory is not this node's.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// Another chain's, or another node's.
    #[error("the data directory of {} is not this node's: {differences}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What differs, in words.
        differences: String,
    },
    /// The layout of another version of this program.
    #[error(
        "{} has schema version {found}, this program reads version {SCHEMA_VERSION}: use the program that wrote it",
        path.display()
    )]
    Schema {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// A directory that was in use, without the file.
    #[error(
        "{} is missing, but there is a {trace}/ beside it: the directory was in use, and nothing says by whom. Put the \
         file back, or start with an empty directory",
        path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
        /// What is there.
        trace: &'static str,
    },
    /// Not what this program writes.
    #[error("{} is damaged: {message}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// The file cannot be read or written.
    #[error("cannot use {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

#[derive(Deserialize)]
struct Schema {
    schema_version: u32,
}

/// Compares a data directory with the node that is to use it; an empty one becomes its own, for good. Call it under the
/// directory's lock, and before anything else is made there.
///
/// # Errors
/// See [`IdentityError`]; the directory is then as it was.
pub fn claim(directory: &Path, expected: &NodeIdentity) -> Result<Claim, IdentityError> {
    let path = directory.join(FILE_NAME);
    let contents = match std::fs::read(&path) {
        Ok(contents) => contents,
        Err(source) if source.kind() == io::ErrorKind::NotFound => return first_use(directory, path, expected),
        Err(source) => return Err(IdentityError::Io { path, source }),
    };
    let malformed =
        |error: serde_json::Error| IdentityError::Malformed { path: path.clone(), message: error.to_string() };
    let schema: Schema = serde_json::from_slice(&contents).map_err(malformed)?;
    if schema.schema_version != SCHEMA_VERSION {
        return Err(IdentityError::Schema { path, found: schema.schema_version });
    }
    let identity: NodeIdentity = serde_json::from_slice(&contents).map_err(malformed)?;
    match differences(&identity, expected) {
        differences if differences.is_empty() => Ok(Claim { identity, is_new: false }),
        differences => Err(IdentityError::Foreign { path, differences }),
    }
}

fn first_use(directory: &Path, path: PathBuf, identity: &NodeIdentity) -> Result<Claim, IdentityError> {
    if let Some(trace) = TRACES.into_iter().find(|trace| directory.join(trace).exists()) {
        return Err(IdentityError::Missing { path, trace });
    }
    let identity = NodeIdentity { used: false, ..identity.clone() };
    match write(&path, &identity) {
        Ok(()) => Ok(Claim { identity, is_new: true }),
        Err(source) => Err(IdentityError::Io { path, source }),
    }
}

fn write(path: &Path, identity: &NodeIdentity) -> io::Result<()> {
    let mut contents = serde_json::to_vec_pretty(identity).map_err(io::Error::other)?;
    contents.push(b'\n');
    files::write_atomically(path, &contents)
}

/// Says durably that the node may sign from here on: a log that is missing at a later start is amnesia. To be called after
/// the log was made ([`super::make_log`]), so that a first start that fails is none, and before the first signature.
///
/// # Errors
/// If the file cannot be written; then nothing may be signed.
pub fn mark_used(directory: &Path, claim: &Claim) -> Result<(), IdentityError> {
    if claim.identity.used {
        return Ok(());
    }
    let path = directory.join(FILE_NAME);
    let used = NodeIdentity { used: true, ..claim.identity.clone() };
    write(&path, &used).map_err(|source| IdentityError::Io { path, source })
}

fn differences(found: &NodeIdentity, expected: &NodeIdentity) -> String {
    let fields = [
        ("chain id", found.chain_id.to_string(), expected.chain_id.to_string()),
        ("genesis hash", found.genesis_hash.to_string(), expected.genesis_hash.to_string()),
        ("node id", found.node_id.to_string(), expected.node_id.to_string()),
        ("public key", found.public_key.to_string(), expected.public_key.to_string()),
    ];
    let differing = fields.into_iter().filter(|(_, found, expected)| found != expected);
    let words: Vec<_> =
        differing.map(|(what, found, expected)| format!("its {what} is {found}, this node's is {expected}")).collect();
    words.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> NodeIdentity {
        NodeIdentity {
            schema_version: SCHEMA_VERSION,
            chain_id: "arena".parse().unwrap(),
            genesis_hash: Digest([1; 32]),
            node_id: "node0".parse().unwrap(),
            public_key: PublicKey([2; 32]),
            created_unix: 1_700_000_000,
            used: false,
        }
    }

    #[test]
    fn the_first_start_claims_the_directory_and_later_ones_find_it() {
        let directory = tempfile::tempdir().unwrap();
        let first = claim(directory.path(), &identity()).unwrap();
        assert_eq!(first, Claim { identity: identity(), is_new: true });
        // A later start knows another time of creation: the first one stays.
        let later = NodeIdentity { created_unix: 1_800_000_000, ..identity() };
        assert_eq!(claim(directory.path(), &later).unwrap(), Claim { identity: identity(), is_new: false });
        let files: Vec<_> =
            std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(files, ["node.json"]);
    }

    #[test]
    fn a_start_that_signed_nothing_leaves_the_directory_unused() {
        let directory = tempfile::tempdir().unwrap();
        let claimed = || claim(directory.path(), &identity()).unwrap();
        claimed();
        let second = claimed();
        assert!(!second.identity.used, "the first start did not come to the mark");
        mark_used(directory.path(), &second).unwrap();
        mark_used(directory.path(), &claimed()).unwrap();
        assert_eq!(claimed().identity, NodeIdentity { used: true, ..identity() });
        // A file that does not say is of a node that ran.
        let path = directory.path().join("node.json");
        let mut written: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        written.as_object_mut().unwrap().remove("used").unwrap();
        std::fs::write(&path, written.to_string()).unwrap();
        assert!(claimed().identity.used);
    }

    #[test]
    fn another_node_is_told_all_that_differs_and_only_that() {
        let directory = tempfile::tempdir().unwrap();
        claim(directory.path(), &identity()).unwrap();
        let other =
            NodeIdentity { chain_id: "stadium".parse().unwrap(), node_id: "node1".parse().unwrap(), ..identity() };
        let refused = claim(directory.path(), &other).unwrap_err().to_string();
        let path = directory.path().join("node.json");
        let expected = format!(
            "the data directory of {} is not this node's: its chain id is arena, this node's is stadium; its node id \
             is node0, this node's is node1",
            path.display()
        );
        assert_eq!(refused, expected);
        let other = NodeIdentity { genesis_hash: Digest([3; 32]), public_key: PublicKey([4; 32]), ..identity() };
        let refused = claim(directory.path(), &other).unwrap_err().to_string();
        assert!(refused.contains("genesis hash is 0101") && refused.contains("public key is 0202"), "{refused}");
        assert_eq!(claim(directory.path(), &identity()).unwrap().identity, identity());
    }

    #[test]
    fn another_schema_is_refused_whatever_else_is_in_it() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("node.json"), r#"{"schema_version": 2, "who": "knows"}"#).unwrap();
        let refused = claim(directory.path(), &identity()).unwrap_err();
        assert!(matches!(refused, IdentityError::Schema { found: 2, .. }), "{refused}");
    }

    #[test]
    fn a_damaged_file_is_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        for contents in ["", "{", r#"{"schema_version": 1}"#] {
            std::fs::write(directory.path().join("node.json"), contents).unwrap();
            let refused = claim(directory.path(), &identity()).unwrap_err();
            assert!(matches!(refused, IdentityError::Malformed { .. }), "{refused}");
            assert_eq!(std::fs::read_to_string(directory.path().join("node.json")).unwrap(), contents);
        }
    }

    #[test]
    fn a_directory_in_use_without_the_file_is_not_new() {
        for trace in TRACES {
            let directory = tempfile::tempdir().unwrap();
            std::fs::create_dir(directory.path().join(trace)).unwrap();
            let refused = claim(directory.path(), &identity()).unwrap_err();
            assert!(refused.to_string().contains(&format!("there is a {trace}/ beside it")), "{refused}");
            assert!(!directory.path().join("node.json").exists());
        }
    }

    #[test]
    fn a_half_written_file_of_a_crash_is_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("node.tmp"), "{\"schema_ver").unwrap();
        assert!(claim(directory.path(), &identity()).unwrap().is_new);
        assert!(!claim(directory.path(), &identity()).unwrap().is_new);
    }
}
