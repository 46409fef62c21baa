//! What those who catch up are sent.

use dtvn_messages::wire::{Class, CommittedBlock, decode, encode};
use dtvn_messages::{Certificate, Vote, VoteKind};

use super::*;

#[test]
fn an_answer_ends_with_the_last_block_that_has_a_certificate() {
    let none = |_| Ok::<_, std::convert::Infallible>(None);
    assert_eq!(serve(Height(1), Height(5), none), Ok(Vec::new()));
}

/// What a store with blocks of this size, each with a certificate or only the last of some, gives who asks for all.
fn served(bundle_bytes: usize, certified_every: u64) -> Vec<CommittedBlock> {
    let block = |height: Height| {
        let header = header(height.0);
        let vote = Vote { kind: VoteKind::Commit, epoch: Epoch(0), view: View(0), height, digest: Digest::ZERO };
        let certificate = Certificate { vote, signatures: Signatures(Vec::new()) };
        let certificate = height.0.is_multiple_of(certified_every).then_some(certificate);
        let bundles = vec![Arc::new(vec![0; bundle_bytes])];
        Ok::<_, std::convert::Infallible>(Some(CommittedBlock {
            block: Arc::new(Block { header, bundles: Vec::new() }),
            certificate,
            bundles,
        }))
    };
    serve(Height(1), Height(10_000), block).unwrap()
}

#[test]
fn an_answer_has_so_many_blocks_and_bytes_and_its_receiver_takes_it() {
    assert_eq!(served(10, 1).len(), limits::SYNC_BLOCKS_MAX);
    assert_eq!(served(10, 100).len(), 200, "up to the last certificate");
    let mebibyte = 1024 * 1024;
    let large = served(mebibyte, 1);
    assert_eq!(large.len(), limits::SYNC_FRAME_BYTES_MAX / 2 / (mebibyte + 2_048));
    for (blocks, of_one_certificate) in [(large, 1), (served(3 * mebibyte, 5), 5), (served(mebibyte, 10), 10)] {
        assert!(blocks.len() >= of_one_certificate, "{} of {of_one_certificate}", blocks.len());
        let frame = encode(&PeerMessage::SyncBlocks(blocks)).unwrap();
        assert!(decode(&frame, Class::Sync).is_ok());
    }
    // Three blocks of eight megabytes under one certificate fit into no frame: their asker takes a snapshot instead.
    assert_eq!(served(8 * mebibyte, 3).len(), 0);
}
