//! Where a record stands, in eight bytes.

use backhaul_store::{Chain, Lane, Position, Sequence};

const SEQUENCE_BITS: u32 = 45;
const WRITER_BITS: u32 = 16;

/// A record's place in the spool of its kind: lane, writer and sequence in one number, in
/// which places of one chain stand in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place(pub(super) u64);

impl Place {
    pub(super) fn of(position: Position) -> Self {
        let Chain { lane, writer } = position.chain;
        let chain = (lane as u64) << WRITER_BITS | u64::from(writer);
        Self(chain << SEQUENCE_BITS | position.sequence.0 & ((1 << SEQUENCE_BITS) - 1))
    }

    pub(super) fn position(self) -> Position {
        let chain = self.0 >> SEQUENCE_BITS;
        // What is not in the list stands in no index that is whole.
        let lane = usize::try_from(chain >> WRITER_BITS).ok().and_then(|at| Lane::ALL.get(at));
        let writer = u16::try_from(chain & u64::from(u16::MAX)).unwrap_or(u16::MAX);
        Position {
            chain: Chain { lane: lane.copied().unwrap_or_default(), writer },
            sequence: Sequence(self.0 & ((1 << SEQUENCE_BITS) - 1)),
        }
    }

    /// Whether both are of one chain.
    pub(super) fn is_beside(self, other: Place) -> bool {
        self.0 >> SEQUENCE_BITS == other.0 >> SEQUENCE_BITS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_says_which_position_it_is() {
        for text in ["normal/1", "critical.65535/35184372088831", "bulk.3/77"] {
            let position: Position = text.parse().unwrap();
            assert_eq!(Place::of(position).position(), position);
        }
    }
}
