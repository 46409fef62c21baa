//! What misbehaviour costs: points that leak away, and a ban for a while at the limit.
//!
//! style.md rule 5: "a peer's or client's fault is answered, counted and blamed". Membership is unaffected: a ban
//! closes connections for a minute, it never changes a quorum (architecture.md section 6).

use std::time::Instant;

use dtvn_messages::limits;

/// Something that only a faulty or malicious peer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offence {
    /// It announced a frame above the limit.
    FrameTooLong,
    /// It sent a malformed handshake.
    BadHandshake,
    /// It opened a stream out of turn.
    UnexpectedStream,
    /// It sent a frame that cannot be decoded (the receiver of frames tells).
    Junk,
    /// It sent something well-formed that only a liar sends (the receiver of frames tells).
    Lie,
}

impl Offence {
    /// What it costs.
    #[must_use]
    pub const fn points(self) -> u32 {
        match self {
            Self::FrameTooLong | Self::BadHandshake => 40,
            Self::UnexpectedStream => 25,
            Self::Junk => 10,
            Self::Lie => 50,
        }
    }
}

/// A peer's points.
#[derive(Debug, Clone, Copy)]
pub struct Score {
    points: f64,
    updated: Instant,
}

impl Score {
    /// No points.
    #[must_use]
    pub const fn new(now: Instant) -> Self {
        Self { points: 0.0, updated: now }
    }

    /// The points now.
    #[must_use]
    pub fn points(&self, now: Instant) -> u32 {
        let left = (self.points - now.saturating_duration_since(self.updated).as_secs_f64()).max(0.0);
        // At most the sum of the offences of one limit: far inside u32.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and a few hundred")]
        let points = left.round() as u32;
        points
    }

    /// Adds an offence; says whether the limit is reached, in which case the points start anew.
    pub fn add(&mut self, offence: Offence, now: Instant) -> bool {
        let left = (self.points - now.saturating_duration_since(self.updated).as_secs_f64()).max(0.0);
        self.points = left + f64::from(offence.points());
        self.updated = now;
        let banned = self.points >= f64::from(limits::MISBEHAVIOUR_POINTS_MAX);
        if banned {
            self.points = 0.0;
        }
        banned
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn points_add_up_to_a_ban_and_leak_away() {
        let start = Instant::now();
        let mut score = Score::new(start);
        assert!(!score.add(Offence::FrameTooLong, start));
        assert!(!score.add(Offence::FrameTooLong, start));
        assert_eq!(score.points(start), 80);
        assert_eq!(score.points(start + Duration::from_secs(30)), 50);
        let later = start + Duration::from_secs(30);
        assert!(!score.add(Offence::FrameTooLong, later), "30 points leaked away");
        assert!(score.add(Offence::Junk, later));
        assert_eq!(score.points(later), 0, "after the ban it starts anew");
    }
}
