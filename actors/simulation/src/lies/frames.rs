//! Frames that are none.

use std::sync::Arc;

use dtvn_messages::wire::{self, PeerMessage};

use super::{Behaviour, Lie, Moment, Payload, Said};

/// The length of a frame of junk.
const JUNK_BYTES: u64 = 200;

pub(super) fn say(behaviour: Behaviour, message: &PeerMessage, moment: &mut Moment<'_>) -> Lie {
    let class = message.class();
    let bytes = match behaviour {
        Behaviour::FrameJunk => {
            let length = moment.random.below(JUNK_BYTES);
            (0..length).map(|_| moment.random.any() as u8).collect()
        }
        Behaviour::FrameTruncated => {
            let mut bytes = wire::encode(message).ok()?.to_vec();
            bytes.truncate(moment.random.below(bytes.len() as u64) as usize);
            bytes
        }
        Behaviour::FrameTrailing => {
            let mut bytes = wire::encode(message).ok()?.to_vec();
            bytes.push(0);
            bytes
        }
        _ => return None,
    };
    // Some of what it says is the truth, or it could as well be silent.
    if moment.random.permille(500) {
        return None;
    }
    Some(vec![Said { after_us: 0, payload: Payload::Bytes(class, Arc::new(bytes)) }])
}
