//! The corpus: one folder for each target, one file for each input, committed under `integration/fuzz/corpus`.

use std::io;
use std::path::{Path, PathBuf};

use dtvn_messages::sha256;

use crate::Target;

/// The folder of a target's corpus.
#[must_use]
pub fn folder(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target.name)
}

/// The inputs of a target, in the order of their names.
///
/// # Errors
/// If the folder cannot be read.
pub fn load(target: &Target) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut inputs = Vec::new();
    for entry in std::fs::read_dir(folder(target))? {
        let entry = entry?;
        inputs.push((entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path())?));
    }
    inputs.sort();
    Ok(inputs)
}

/// Replaces the recorded inputs of a target; those that were kept as `found-...` because they once broke something stay.
///
/// # Errors
/// If the folder cannot be written.
pub fn replace(target: &Target, inputs: &[(String, Vec<u8>)]) -> io::Result<()> {
    let folder = folder(target);
    std::fs::create_dir_all(&folder)?;
    for entry in std::fs::read_dir(&folder)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with("found-") {
            std::fs::remove_file(entry.path())?;
        }
    }
    for (kind, input) in inputs {
        let hash = sha256(&[input]).to_string();
        std::fs::write(folder.join(format!("{kind}-{}", &hash[..8])), input)?;
    }
    Ok(())
}
