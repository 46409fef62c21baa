//! The seal: a small file beside the database that remembers what a database cannot say of itself.
//!
//! A RocksDB whose MANIFEST lost its end opens without complaint as what it was some time ago, or as empty. So the seal
//! holds whose store it is and up to which height it was known to be durable, and an open that finds less is damage
//! (architecture.md section 5: "never an empty database"). It is replaced as a whole: written beside, synced, renamed.
//!
//! Layout: text `dtvn/store-seal/1`, schema version `u32`, identity, durable height `u64`, and the SHA-256 of all that.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use dtvn_messages::{DecodeError, Height, Layout, Reader, Writer, sha256};

use super::error::StoreError;
use super::records::StoreIdentity;
use crate::storage::files;

const FILE: &str = "seal";
const TAG: &str = "dtvn/store-seal/1";

/// The content of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seal {
    pub(super) schema: u32,
    pub(super) identity: StoreIdentity,
    pub(super) durable: Height,
}

impl Seal {
    /// The seal of the store in `directory`; none if there is none.
    pub(super) fn read(directory: &Path) -> Result<Option<Self>, StoreError> {
        match fs::read(directory.join(FILE)) {
            Ok(bytes) => Self::parse(&bytes).map(Some).map_err(|error| StoreError::undecodable("the seal", &error)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io("reading the seal", &error)),
        }
    }

    /// Replaces the seal of the store in `directory`. When this returns, the new one survives a loss of power.
    pub(super) fn write(&self, directory: &Path) -> Result<(), StoreError> {
        let written = files::write_atomically(&directory.join(FILE), &self.to_file());
        written.map_err(|error| StoreError::io("writing the seal", &error))
    }

    pub(super) fn to_file(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.text(TAG);
        writer.u32(self.schema);
        self.identity.write(&mut writer);
        self.durable.write(&mut writer);
        let hash = sha256(&[writer.as_bytes()]);
        hash.write(&mut writer);
        writer.into_bytes()
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        if reader.text("the seal's tag", TAG.len())? != TAG {
            return Err(DecodeError::Invalid("it does not begin like a seal"));
        }
        let seal =
            Self { schema: reader.u32()?, identity: Layout::read(&mut reader)?, durable: Layout::read(&mut reader)? };
        let hashed = &bytes[..bytes.len() - reader.remaining()];
        if sha256(&[hashed]).0 != reader.array()? {
            return Err(DecodeError::Invalid("its hash does not match"));
        }
        reader.finish()?;
        Ok(seal)
    }
}

/// Where the database itself is, beside the seal.
pub(super) fn database_path(directory: &Path) -> PathBuf {
    directory.join("rocksdb")
}

#[cfg(test)]
mod tests {
    use super::*;
    use dtvn_messages::{ChainId, Digest, NodeName, PublicKey, Timestamp};

    fn seal() -> Seal {
        let identity = StoreIdentity {
            chain: ChainId::new("chain").unwrap(),
            genesis: Digest([7; 32]),
            genesis_time: Timestamp(5),
            node: NodeName::new("node0").unwrap(),
            key: PublicKey([9; 32]),
        };
        Seal { schema: 3, identity, durable: Height(77) }
    }

    #[test]
    fn what_is_written_is_read_and_replaces_what_was_there() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(Seal::read(directory.path()).unwrap(), None);
        seal().write(directory.path()).unwrap();
        let later = Seal { durable: Height(78), ..seal() };
        later.write(directory.path()).unwrap();
        assert_eq!(Seal::read(directory.path()).unwrap(), Some(later));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let bytes = seal().to_file();
        let read_back = |bytes: &[u8]| {
            fs::write(directory.path().join(FILE), bytes).unwrap();
            Seal::read(directory.path())
        };
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(read_back(&flipped), Err(StoreError::Damaged { .. })), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(matches!(read_back(&bytes[..length]), Err(StoreError::Damaged { .. })), "cut at {length}");
        }
    }
}
