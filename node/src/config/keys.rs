//! The key file of a validator (architecture.md section 7): who holds it can vote as that validator.
//!
//! A small TOML file, mode 0600. It remembers on which chains the key was ever used: a node calls [`KeyFile::mark_used`],
//! which returns once that is durable, before its first signature. So an empty data directory beside a key that was used on
//! the chain is known to be a lost log, never "a new node". Every signature names its chain, so on another one the key is
//! new. It does not name the genesis: two chains of one name would take each other's signatures, so a key that was used on
//! the one is refused on the other.
//!
//! So a key must lie where the node may write. One on a read-only mount, as orchestrators mount secrets, can be read
//! but never marked, and the node refuses to start with it: without the mark, once its data directory is lost, it would
//! sign against itself.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use dtvn_client::api::Time;
use dtvn_messages::{ChainId, Digest, Genesis, KeyPair, NodeName, PublicKey};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::Zeroizing;

use super::effective::without_the_line;
use crate::durable;

/// A key pair with what its file remembers.
#[derive(Debug, Clone)]
pub struct KeyFile {
    /// The validator that it is meant for, if that was said.
    pub name: Option<NodeName>,
    /// The key pair.
    pub pair: KeyPair,
    /// When it was made.
    pub created: Time,
    /// On which chains a node has ever signed with it, or was about to, and the hash of the genesis of each.
    pub used_on: BTreeMap<ChainId, Digest>,
}

/// Why a key file is refused.
#[derive(Debug, Error)]
pub enum KeyError {
    /// It cannot be read or written.
    #[error("the key file {}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It cannot be marked as used.
    #[error(
        "the key file {} cannot be marked as used: {error}. Without that mark a node whose data directory is lost \
         would sign against itself, so none starts. Put the key where the node may write, as a file of its own and \
         no mount: of a mounted secret a copy (mode 600), on a disk that lasts as long as the node",
        path.display()
    )]
    Unmarkable {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// There is one already.
    #[error("{} exists: a key is never overwritten. Move it away if you are sure that no node uses it", .0.display())]
    Exists(PathBuf),
    /// It is not a key file.
    #[error("{} is no key file: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Why not.
        message: String,
    },
    /// Others can read or change it.
    #[error("{} can be read or changed by others (mode {mode:o}): chmod 600 it", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The key was used on another chain of this name.
    #[error(
        "{} was used on another chain {chain}, whose genesis has the hash {used}: what it signed there would count here. Give \
         the new chain another name",
        path.display()
    )]
    OtherGenesis {
        /// The file.
        path: PathBuf,
        /// The name of both chains.
        chain: ChainId,
        /// The hash of the other one's genesis.
        used: Digest,
    },
    /// The system has no randomness.
    #[error("the system gives no random bytes: {0}")]
    Random(String),
}

/// What stands in the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<NodeName>,
    public_key: PublicKey,
    peer_id: String,
    secret_key: Zeroizing<String>,
    created: Time,
    used_on: BTreeMap<ChainId, Digest>,
}

const HEAD: &str = "# A DTVN validator's key. Keep it secret: who has it can vote as this validator. Never run it in two\n\
                    # places. `used_on` is set by the node before its first signature: do not change it.\n";

/// The bits of a mode that let others in: the group may read, as it may a secret that an orchestrator hands out, and
/// nothing more.
const OPEN_BITS: u32 = 0o037;

impl KeyFile {
    /// A new random key.
    ///
    /// # Errors
    /// If the system gives no random bytes.
    pub fn generate(name: Option<NodeName>) -> Result<Self, KeyError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut()).map_err(|error| KeyError::Random(error.to_string()))?;
        Ok(Self { name, pair: KeyPair::from_seed(&seed), created: Time::now(), used_on: BTreeMap::new() })
    }

    /// Its network identity.
    #[must_use]
    pub fn peer_id(&self) -> String {
        peer_id(&self.pair.public())
    }

    /// Writes it to a file that must not exist, durably, with mode 0600.
    ///
    /// # Errors
    /// If the file exists or cannot be written.
    pub fn save_new(&self, path: &Path) -> Result<(), KeyError> {
        durable::create(path, durable::SECRET, |file| self.write(file)).map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => KeyError::Exists(path.to_owned()),
            _ => KeyError::Io { path: path.to_owned(), error },
        })
    }

    /// Reads and checks a key file.
    ///
    /// # Errors
    /// If it cannot be read, others can read it, or it does not hold one consistent key.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let io = |error| KeyError::Io { path: path.to_owned(), error };
        let mode = fs::metadata(path).map_err(io)?.permissions().mode() & 0o777;
        let text = Zeroizing::new(fs::read_to_string(path).map_err(io)?);
        let refused = |message: String| KeyError::Syntax { path: path.to_owned(), message };
        let content: Content = toml::from_str(&text).map_err(|error| refused(without_the_line(&error, &text)))?;
        // What is no key at all may be read by anybody.
        if mode & OPEN_BITS != 0 {
            return Err(KeyError::Open { path: path.to_owned(), mode });
        }
        let mut seed = Zeroizing::new([0; 32]);
        hex::decode_to_slice(content.secret_key.as_bytes(), seed.as_mut())
            .map_err(|_| refused("secret_key is not 32 bytes in hexadecimal".to_owned()))?;
        let pair = KeyPair::from_seed(&seed);
        if pair.public() != content.public_key {
            return Err(refused("secret_key and public_key do not belong together".to_owned()));
        }
        if peer_id(&content.public_key) != content.peer_id {
            return Err(refused("peer_id and public_key do not belong together".to_owned()));
        }
        Ok(Self { name: content.name, pair, created: content.created, used_on: content.used_on })
    }

    /// Whether the key was used on the chain of a genesis before.
    ///
    /// # Errors
    /// If it was used on another chain of that name; `path` is for the message.
    pub fn is_used_on(&self, path: &Path, genesis: &Genesis) -> Result<bool, KeyError> {
        match self.used_on.get(genesis.chain_id()) {
            Some(used) if *used != genesis.hash() => {
                let chain = genesis.chain_id().clone();
                Err(KeyError::OtherGenesis { path: path.to_owned(), chain, used: *used })
            }
            known => Ok(known.is_some()),
        }
    }

    /// Remembers in the file that the key is used on a chain, and returns once that is durable. Does nothing if it says so
    /// already.
    ///
    /// # Errors
    /// If the file cannot be replaced, or it was used on another chain of that name; then nothing may be signed.
    pub fn mark_used(&mut self, path: &Path, genesis: &Genesis) -> Result<(), KeyError> {
        if self.is_used_on(path, genesis)? {
            return Ok(());
        }
        let mut used = self.clone();
        used.used_on.insert(genesis.chain_id().clone(), genesis.hash());
        used.write_over(path)?;
        *self = used;
        Ok(())
    }

    /// Replaces the file, wherever a link leads to it: another link to the key finds the mark too.
    fn write_over(&self, path: &Path) -> Result<(), KeyError> {
        let unmarkable = |error| KeyError::Unmarkable { path: path.to_owned(), error };
        let real = path.canonicalize().map_err(unmarkable)?;
        // A crash in here leaves a copy of the secret.
        for copy in durable::unfinished(&real).map_err(unmarkable)? {
            match fs::remove_file(&copy) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(KeyError::Io { path: copy, error });
                }
                _ => {}
            }
        }
        durable::replace(&real, durable::SECRET, |file| self.write(file)).map_err(unmarkable)
    }

    fn write(&self, file: &mut File) -> std::io::Result<()> {
        let content = Content {
            name: self.name.clone(),
            public_key: self.pair.public(),
            peer_id: self.peer_id(),
            secret_key: Zeroizing::new(hex::encode(self.pair.seed())),
            created: self.created,
            used_on: self.used_on.clone(),
        };
        let text = Zeroizing::new(toml::to_string(&content).map_err(std::io::Error::other)?);
        file.write_all(HEAD.as_bytes())?;
        file.write_all(text.as_bytes())
    }
}

/// The libp2p peer id of a public key; of bytes that are no public key it is the text `invalid`.
#[must_use]
pub fn peer_id(public_key: &PublicKey) -> String {
    match libp2p_identity::ed25519::PublicKey::try_from_bytes(&public_key.0) {
        Ok(key) => libp2p_identity::PublicKey::from(key).to_peer_id().to_string(),
        Err(_) => "invalid".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved() -> (tempfile::TempDir, PathBuf, KeyFile) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.key");
        let key = KeyFile::generate(Some(NodeName::new("node0").unwrap())).unwrap();
        key.save_new(&path).unwrap();
        (folder, path, key)
    }

    /// A genesis of so many validators, of a chain of this name.
    fn genesis(validators: usize, chain: &str) -> Genesis {
        let mut file = Genesis::development(validators, "keys-tests", false).unwrap().file().clone();
        file.chain_id = ChainId::new(chain).unwrap();
        Genesis::new(file).unwrap()
    }

    #[test]
    fn a_key_is_saved_for_its_owner_only_and_read_back() {
        let (_folder, path, key) = saved();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let loaded = KeyFile::load(&path).unwrap();
        assert_eq!(loaded.pair.seed(), key.pair.seed());
        assert_eq!((loaded.name, loaded.created, loaded.used_on), (key.name, key.created, BTreeMap::new()));
    }

    #[test]
    fn a_key_is_never_overwritten() {
        let (_folder, path, key) = saved();
        let other = KeyFile::generate(None).unwrap();
        assert!(matches!(other.save_new(&path), Err(KeyError::Exists(_))));
        assert_eq!(KeyFile::load(&path).unwrap().pair.public(), key.pair.public());
    }

    #[test]
    fn the_mark_of_use_lasts_and_keeps_the_key() {
        let (folder, path, mut key) = saved();
        let (arena, stadium) = (genesis(1, "arena"), genesis(1, "stadium"));
        key.mark_used(&path, &arena).unwrap();
        assert!(key.is_used_on(&path, &arena).unwrap() && !key.is_used_on(&path, &stadium).unwrap());
        let mut loaded = KeyFile::load(&path).unwrap();
        assert_eq!(loaded.used_on, key.used_on);
        assert_eq!(loaded.pair.seed(), key.pair.seed());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        loaded.mark_used(&path, &arena).unwrap();
        loaded.mark_used(&path, &stadium).unwrap();
        let used = [arena, stadium].map(|genesis| (genesis.chain_id().clone(), genesis.hash()));
        assert_eq!(KeyFile::load(&path).unwrap().used_on, used.into());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_key_is_used_on_one_chain_of_a_name_only() {
        let (_folder, path, mut key) = saved();
        key.mark_used(&path, &genesis(1, "arena")).unwrap();
        let mut key = KeyFile::load(&path).unwrap();
        let refused = key.mark_used(&path, &genesis(4, "arena")).unwrap_err().to_string();
        assert!(refused.contains("was used on another chain arena") && refused.contains("another name"), "{refused}");
        assert!(key.is_used_on(&path, &genesis(4, "arena")).is_err());
        assert_eq!(KeyFile::load(&path).unwrap().used_on.len(), 1);
        key.mark_used(&path, &genesis(4, "arena-2")).unwrap();
    }

    #[test]
    fn what_a_crash_left_while_the_key_was_marked_is_removed_at_the_next_start() {
        let (folder, path, mut key) = saved();
        let secret = fs::read(&path).unwrap();
        // In a container the process has the same number each time.
        let left = [format!("node.{}.new", std::process::id()), "node.0123456789abcdef.new".to_owned()];
        for name in &left {
            fs::write(folder.path().join(name), &secret[..secret.len() / 2]).unwrap();
        }
        key.mark_used(&path, &genesis(1, "arena")).unwrap();
        assert_eq!(KeyFile::load(&path).unwrap().used_on, key.used_on);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no copy of the secret is left");
    }

    #[test]
    fn the_mark_goes_to_the_key_itself_and_not_to_a_link() {
        let (folder, path, mut key) = saved();
        let link = folder.path().join("link.key");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        key.mark_used(&link, &genesis(1, "arena")).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(KeyFile::load(&path).unwrap().used_on, key.used_on);
    }

    #[test]
    fn a_key_that_cannot_be_marked_is_an_error_that_says_what_to_do() {
        let (folder, path, mut key) = saved();
        // A place where files can be read and none be made: here no name is left for one beside it.
        let cramped = folder.path().join(format!("{}.key", "k".repeat(250)));
        fs::rename(&path, &cramped).unwrap();
        for place in [cramped, folder.path().join("missing").join("node.key")] {
            let refused = key.mark_used(&place, &genesis(1, "arena")).unwrap_err();
            assert!(matches!(&refused, KeyError::Unmarkable { path, .. } if *path == place), "{refused}");
            let said = refused.to_string();
            assert!(said.contains("cannot be marked as used") && said.contains("a copy (mode 600)"), "{said}");
            assert!(key.used_on.is_empty());
        }
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let (_folder, path, _) = saved();
        for (mode, refused) in [(0o644, true), (0o620, true), (0o640, false), (0o400, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(matches!(KeyFile::load(&path), Err(KeyError::Open { .. })), refused, "{mode:o}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        fs::write(&path, "{\"chain_id\": \"arena\"}").unwrap();
        let refused = KeyFile::load(&path).unwrap_err().to_string();
        assert!(refused.contains("is no key file") && !refused.contains("chmod"), "{refused}");
    }

    #[test]
    fn a_damaged_key_is_refused_without_showing_the_secret() {
        let (_folder, path, key) = saved();
        let text = fs::read_to_string(&path).unwrap();
        let secret = hex::encode(key.pair.seed());
        let other = hex::encode([9; 32]);
        for damaged in [
            text.replace(&secret, &other),
            text.replace(&secret, "abc"),
            text.replace("peer_id = \"12D3", "peer_id = \"12D4"),
            text.replace("secret_key = ", "secret_key = oops "),
            text.replace(&format!("\"{secret}\""), &secret),
            text.replace(&format!("\"{secret}\""), &format!("[\"{secret}\"]")),
            text.replace("[used_on]", ""),
        ] {
            fs::write(&path, damaged).unwrap();
            let error = KeyFile::load(&path).unwrap_err();
            assert!(matches!(error, KeyError::Syntax { .. }), "{error}");
            assert!(!error.to_string().contains(&secret) && !format!("{error:?}").contains(&secret));
        }
    }

    #[test]
    fn the_peer_id_is_libp2ps() {
        let node0 = KeyPair::development(dtvn_messages::crypto::DEVELOPMENT_SEED, "node0");
        assert_eq!(peer_id(&node0.public()), "12D3KooWLtBkKrip2jyaRzhUphqYyVXGUPMMbmpBWHZMYXaueb9C");
    }
}
