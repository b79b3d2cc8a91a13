//! Classic mistakes that can be put back one at a time, so that the simulator proves that it would
//! see them. Without the feature `planted-bugs` none of them exists.

/// A mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A flush is answered before the journal group is durable.
    AckBeforeDurable,
    /// A flush is answered without flushing the disk's data first.
    FlushSkipsData,
    /// A group whose payload does not match its checksum is replayed all the same.
    TornGroupAccepted,
    /// The older half of the journal is applied again after the newer: an old state comes back.
    JournalReplayedTwice,
    /// The blocks of a newly allocated segment count as valid at once.
    PreviousOwnerVisible,
    /// A segment stays free after it was allocated.
    GrantedTwice,
    /// A discard is not written to the journal.
    DiscardForgotten,
    /// A freed segment is used again before the record that freed it is durable.
    FreedTooEarly,
    /// Metadata of an answered write is not in the volatile log.
    VolatileLogSkipped,
    /// The journal's start moves before the blocks in place are durable.
    TailMovedEarly,
    /// Replay starts from the blocks in place, but ignores images in the journal.
    ImagesIgnored,
    /// A layout older than the disk's generation is served.
    GenerationNotChecked,
    /// Pages are written in place without an image in the journal first.
    NoImages,
    /// A write is acknowledged before the loss of a leg is durable on the others.
    LegLossNotDurable,
    /// A stale leg is read.
    StaleLegRead,
    /// A rebuild skips discards that the leg missed.
    RebuildForgetsDiscards,
    /// The first write to a clean region does not mark it.
    DirtyMarkSkipped,
}

impl Bug {
    /// All of them.
    pub const ALL: [Bug; 17] = [
        Bug::AckBeforeDurable,
        Bug::FlushSkipsData,
        Bug::TornGroupAccepted,
        Bug::JournalReplayedTwice,
        Bug::PreviousOwnerVisible,
        Bug::GrantedTwice,
        Bug::DiscardForgotten,
        Bug::FreedTooEarly,
        Bug::VolatileLogSkipped,
        Bug::TailMovedEarly,
        Bug::ImagesIgnored,
        Bug::GenerationNotChecked,
        Bug::NoImages,
        Bug::LegLossNotDurable,
        Bug::StaleLegRead,
        Bug::RebuildForgetsDiscards,
        Bug::DirtyMarkSkipped,
    ];
}

/// Which mistake is in, if any.
#[derive(Clone, Copy, Debug, Default)]
pub struct Planted(#[cfg(feature = "planted-bugs")] Option<Bug>);

impl Planted {
    /// With this mistake.
    #[cfg(feature = "planted-bugs")]
    pub fn with(bug: Option<Bug>) -> Self {
        Planted(bug)
    }

    /// Whether this mistake is in.
    #[inline]
    pub fn has(self, bug: Bug) -> bool {
        #[cfg(feature = "planted-bugs")]
        return self.0 == Some(bug);
        #[cfg(not(feature = "planted-bugs"))]
        {
            let _ = bug;
            false
        }
    }
}
