//! The layout of evidence: see the head of [`super`].

use super::{Evidence, EvidenceKind};
use crate::codec::{DecodeError, Layout, Reader, Writer};
use crate::limits;

impl Layout for Evidence {
    fn write(&self, writer: &mut Writer) {
        writer.u8(self.kind().code());
        match self {
            Self::TwoVotes(first, second) => write_two(writer, first, second),
            Self::TwoHeads(first, second) => write_two(writer, first, second),
            Self::TwoViewChanges(first, second) => write_two(writer, &**first, &**second),
            Self::TwoNewViews(first, second) => write_two(writer, first, second),
            Self::HiddenCertificate(commit, view_change) => write_two(writer, commit, &**view_change),
            Self::BadNewView(new_view, view_change) => {
                new_view.write(writer);
                writer.option(view_change.as_deref());
            }
            Self::AgainstNewView(new_view, view_changes, vote) => {
                new_view.write(writer);
                writer.list(view_changes);
                vote.write(writer);
            }
            Self::BadProposal(vote, header, below) => {
                write_two(writer, vote, &**header);
                writer.option(below.as_deref());
            }
            Self::ForgedCertificate(view_change) => view_change.write(writer),
            Self::WrongResult(vote, header, size, root) => {
                write_two(writer, vote, &**header);
                writer.u64(*size);
                root.write(writer);
            }
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let code = usize::from(reader.u8()?);
        let kind = code.checked_sub(1).and_then(|place| EvidenceKind::ALL.get(place));
        Ok(match kind.ok_or(DecodeError::Invalid("the number of a kind of evidence is not known"))? {
            EvidenceKind::TwoVotes => Self::TwoVotes(Layout::read(reader)?, Layout::read(reader)?),
            EvidenceKind::TwoHeads => Self::TwoHeads(Layout::read(reader)?, Layout::read(reader)?),
            EvidenceKind::TwoViewChanges => Self::TwoViewChanges(boxed(reader)?, boxed(reader)?),
            EvidenceKind::TwoNewViews => Self::TwoNewViews(Layout::read(reader)?, Layout::read(reader)?),
            EvidenceKind::HiddenCertificate => Self::HiddenCertificate(Layout::read(reader)?, boxed(reader)?),
            EvidenceKind::BadNewView => Self::BadNewView(Layout::read(reader)?, reader.option()?.map(Box::new)),
            EvidenceKind::AgainstNewView => Self::AgainstNewView(
                Layout::read(reader)?,
                reader.list("the number of view changes in evidence", limits::EVIDENCE_VIEW_CHANGES_MAX, 22)?,
                Layout::read(reader)?,
            ),
            EvidenceKind::BadProposal => {
                Self::BadProposal(Layout::read(reader)?, boxed(reader)?, reader.option()?.map(Box::new))
            }
            EvidenceKind::ForgedCertificate => Self::ForgedCertificate(boxed(reader)?),
            EvidenceKind::WrongResult => {
                Self::WrongResult(Layout::read(reader)?, boxed(reader)?, reader.u64()?, Layout::read(reader)?)
            }
        })
    }
}

fn write_two<T: Layout, U: Layout>(writer: &mut Writer, first: &T, second: &U) {
    first.write(writer);
    second.write(writer);
}

fn boxed<T: Layout>(reader: &mut Reader<'_>) -> Result<Box<T>, DecodeError> {
    T::read(reader).map(Box::new)
}
