//! The state that a chain begins with if it continues another one (`dtvn_replication::initial`): its file in the data
//! directory. The node keeps it there for the day when its database is damaged and must be made anew.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dtvn_messages::Genesis;
use dtvn_replication::execution::Stored;
use dtvn_replication::initial::{InitialState, InitialStateError, beginning};
use thiserror::Error;

use super::{files, install};

const FILE_NAME: &str = "initial-state";

/// Why the state that a chain begins with is not at hand.
#[derive(Debug, Error)]
#[error("the initial state {}: {error}", path.display())]
pub struct InitialFileError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub error: InitialStateError,
}

/// Reads such a file, and checks it against the genesis.
///
/// # Errors
/// If it cannot be read, or is another state.
pub fn read(path: &Path, genesis: &Genesis) -> Result<InitialState, InitialFileError> {
    let failed = |error| InitialFileError { path: path.to_owned(), error };
    let file = File::open(path).map_err(|error| failed(error.into()))?;
    InitialState::read(genesis, &mut BufReader::new(file)).map_err(failed)
}

/// Sees to it that a node can begin, before anything is made in its directory: checks the file that the operator gives. Gives
/// its contents for [`keep`], if it is not kept yet.
///
/// # Errors
/// If the file is needed and was not given, or is another state, or the chain continues no other one.
pub fn check(directory: &Path, genesis: &Genesis, given: Option<&Path>) -> Result<Option<Vec<u8>>, InitialFileError> {
    let kept = directory.join(FILE_NAME);
    let path = given.unwrap_or(&kept).to_owned();
    let failed = |error| InitialFileError { path: path.clone(), error };
    let Some(continues) = &genesis.file().continues else {
        return if given.is_some() { Err(failed(InitialStateError::Unasked)) } else { Ok(None) };
    };
    let Some(given) = given.filter(|_| !kept.is_file()) else {
        let is_begun = kept.is_file() || install::database(directory).is_dir();
        let missing = InitialStateError::Missing(continues.chain_id.clone());
        return if is_begun { Ok(None) } else { Err(failed(missing)) };
    };
    let contents = std::fs::read(given).map_err(|error| failed(error.into()))?;
    InitialState::read(genesis, &mut contents.as_slice()).map_err(failed)?;
    Ok(Some(contents))
}

/// Keeps the contents of the file, durably.
///
/// # Errors
/// If the disk refuses.
pub fn keep(directory: &Path, contents: &[u8]) -> io::Result<()> {
    files::write_atomically(&directory.join(FILE_NAME), contents)
}

/// What a database of this chain begins with.
pub(crate) fn beginning_of(directory: &Path, genesis: &Genesis) -> Result<Stored, InitialFileError> {
    let path = directory.join(FILE_NAME);
    let is_kept = genesis.file().continues.is_some() && path.is_file();
    let initial = if is_kept { Some(Arc::new(read(&path, genesis)?)) } else { None };
    beginning(genesis, initial.as_ref()).map_err(|error| InitialFileError { path, error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_that_continues_none_needs_no_file_and_takes_none() {
        let directory = tempfile::tempdir().unwrap();
        let genesis = Genesis::development(1, "seed", false).unwrap();
        assert_eq!(check(directory.path(), &genesis, None).unwrap(), None);
        let refused = check(directory.path(), &genesis, Some(Path::new("state"))).unwrap_err();
        assert!(matches!(refused.error, InitialStateError::Unasked), "{refused}");
        assert_eq!(beginning_of(directory.path(), &genesis).unwrap().image.height, genesis.base());
    }
}
