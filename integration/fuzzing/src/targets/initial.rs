//! The file with the state that a chain begins with, behind the genesis that names it.

use dtvn_messages::Genesis;
use dtvn_replication::initial::InitialState;

use crate::Judged;

/// The length of a genesis in two bytes, the genesis, and the file.
#[must_use]
pub fn input(genesis: &[u8], state: &[u8]) -> Vec<u8> {
    let length = u16::try_from(genesis.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes(), genesis, state].concat()
}

/// What is accepted is written and read again.
pub(super) fn state(input: &[u8]) -> Judged {
    let Some((length, rest)) = input.split_first_chunk() else { return Judged::Refused };
    let Some((genesis, state)) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length))) else {
        return Judged::Refused;
    };
    let genesis = std::str::from_utf8(genesis).ok().and_then(|text| Genesis::from_json(text).ok());
    let Some(genesis) = genesis else { return Judged::Refused };
    let Ok(read) = InitialState::read(&genesis, &mut &*state) else { return Judged::Refused };
    let mut written = Vec::new();
    assert!(read.write(&genesis, &mut written).is_ok(), "memory takes everything");
    let again = InitialState::read(&genesis, &mut written.as_slice());
    assert!(again.is_ok_and(|again| again == read), "what was read is read again");
    Judged::Accepted
}
