//! VIEW-CHANGE and NEW-VIEW (consensus.md section 6).

use std::sync::Arc;

use crate::certificate::{CertificateError, CommittedProof, PreparedCertificate, StableCheckpoint};
use crate::codec::{DecodeError, Layout, Reader, Writer};
use crate::crypto::{Digest, Scheme, sha256};
use crate::ids::{ChainId, Epoch, Height, ValidatorIndex, View};
use crate::limits;
use crate::statement::{Signed, Statement};
use crate::validators::ValidatorSet;

/// "I moved to this view, and this is all that I know to be prepared or committed." Signed bytes after the epoch: view
/// `u64`; stable checkpoint (option), committed proof (option), list of prepared certificates in strictly ascending
/// order of height, each as its type documents; tag `dtvn/view-change/1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewChange {
    /// The epoch.
    pub epoch: Epoch,
    /// The view that its signer moves to.
    pub view: View,
    /// The sender's stable checkpoint; none is the genesis or the start of the epoch.
    pub stable: Option<StableCheckpoint>,
    /// The sender's highest committed block; none is the genesis or the start of the epoch.
    pub committed: Option<CommittedProof>,
    /// For each height above that block for which it has one, the prepared certificate of the highest view.
    pub prepared: Vec<PreparedCertificate>,
}

impl ViewChange {
    /// The highest height that this message proves committed; `floor` if it proves none above.
    #[must_use]
    pub fn base(&self, floor: Height) -> Height {
        let stable = self.stable.as_ref().map_or(floor, StableCheckpoint::height);
        let committed = self.committed.as_ref().map_or(floor, CommittedProof::height);
        stable.max(committed).max(floor)
    }

    /// Checks every part: certificates of this epoch, prepared ones above the committed block in strictly ascending
    /// order, from views below the one moved to.
    ///
    /// # Errors
    /// With the first fault found.
    pub fn verify(&self, chain: &ChainId, set: &ValidatorSet, scheme: &dyn Scheme) -> Result<(), CertificateError> {
        self.check_shape()?;
        if let Some(stable) = &self.stable {
            stable.verify(chain, set, scheme)?;
        }
        if let Some(committed) = &self.committed {
            committed.verify(chain, set, scheme)?;
        }
        self.prepared.iter().try_for_each(|prepared| prepared.verify(chain, set, scheme))
    }

    fn check_shape(&self) -> Result<(), CertificateError> {
        let epochs = (self.stable.iter().map(StableCheckpoint::epoch))
            .chain(self.committed.iter().map(|proof| proof.header.epoch))
            .chain(self.prepared.iter().map(|prepared| prepared.header.epoch));
        if epochs.into_iter().any(|epoch| epoch != self.epoch) {
            return Err(CertificateError::Mismatch("a view change holds a certificate of another epoch"));
        }
        if self.prepared.iter().any(|prepared| prepared.view() >= self.view) {
            return Err(CertificateError::Mismatch("a view change holds a certificate of the view that it moves to"));
        }
        let committed = self.committed.as_ref().map_or(Height(0), CommittedProof::height);
        let heights: Vec<Height> = self.prepared.iter().map(PreparedCertificate::height).collect();
        if heights.first().is_some_and(|first| *first <= committed) || !heights.is_sorted_by(|low, high| low < high) {
            return Err(CertificateError::Mismatch(
                "prepared certificates are not in ascending order above the commit",
            ));
        }
        Ok(())
    }
}

impl Statement for ViewChange {
    fn tag(&self) -> &'static str {
        "dtvn/view-change/1"
    }
    fn epoch(&self) -> Epoch {
        self.epoch
    }
    fn write_fields(&self, writer: &mut Writer) {
        self.view.write(writer);
        writer.option(self.stable.as_ref());
        writer.option(self.committed.as_ref());
        writer.list(&self.prepared);
    }
}

impl Layout for ViewChange {
    fn write(&self, writer: &mut Writer) {
        self.epoch.write(writer);
        self.write_fields(writer);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            epoch: Layout::read(reader)?,
            view: Layout::read(reader)?,
            stable: reader.option()?,
            committed: reader.option()?,
            prepared: reader.list("the number of prepared certificates", limits::LOG_WINDOW_MAX, 200)?,
        })
    }
}

/// "This view starts from these view changes." Signed bytes after the epoch: view `u64`, then a list of (validator
/// `u16`, digest of its VIEW-CHANGE's signed bytes), in strictly ascending order; tag `dtvn/new-view/1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewView {
    /// The epoch.
    pub epoch: Epoch,
    /// The view that starts.
    pub view: View,
    /// Whose view changes it is built on, by digest.
    pub view_changes: Vec<(ValidatorIndex, Digest)>,
}

impl NewView {
    /// Checks order, membership and power of the named view changes.
    ///
    /// # Errors
    /// With the first fault found.
    pub fn check(&self, set: &ValidatorSet) -> Result<(), CertificateError> {
        if !self.view_changes.is_sorted_by(|left, right| left.0 < right.0) {
            return Err(CertificateError::Order);
        }
        if let Some((stranger, _)) = self.view_changes.iter().find(|(signer, _)| !set.contains(*signer)) {
            return Err(CertificateError::Stranger(*stranger));
        }
        let power = set.power_of(self.view_changes.iter().map(|(signer, _)| *signer));
        if power < set.quorum() {
            return Err(CertificateError::TooFew { power, quorum: set.quorum() });
        }
        Ok(())
    }
}

impl Statement for NewView {
    fn tag(&self) -> &'static str {
        "dtvn/new-view/1"
    }
    fn epoch(&self) -> Epoch {
        self.epoch
    }
    fn write_fields(&self, writer: &mut Writer) {
        self.view.write(writer);
        writer.count(self.view_changes.len());
        for (signer, digest) in &self.view_changes {
            signer.write(writer);
            digest.write(writer);
        }
    }
}

impl Layout for NewView {
    fn write(&self, writer: &mut Writer) {
        self.epoch.write(writer);
        self.write_fields(writer);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let epoch = Layout::read(reader)?;
        let view = Layout::read(reader)?;
        let count = reader.count("the number of view changes", limits::VALIDATORS_MAX, 34)?;
        let mut view_changes = Vec::with_capacity(count);
        for _ in 0..count {
            view_changes.push((Layout::read(reader)?, Layout::read(reader)?));
        }
        Ok(Self { epoch, view, view_changes })
    }
}

/// A signed statement that is large, shared, and named by its digest.
#[derive(Debug, PartialEq, Eq)]
pub struct Sealed<T> {
    /// The statement, its signer and its signature.
    pub signed: Signed<T>,
    /// The digest of its signed bytes.
    pub digest: Digest,
    /// How many those are.
    pub bytes: usize,
}

impl<T: Statement> Sealed<T> {
    /// Names a signed statement.
    pub fn new(signed: Signed<T>, chain: &ChainId) -> Arc<Self> {
        let bytes = signed.body.signed_bytes(chain);
        let (digest, bytes) = (sha256(&[&bytes]), bytes.len());
        Arc::new(Self { signed, digest, bytes })
    }
}

/// A shared, named VIEW-CHANGE.
pub type SealedViewChange = Arc<Sealed<ViewChange>>;
/// A shared, named NEW-VIEW.
pub type SealedNewView = Arc<Sealed<NewView>>;
