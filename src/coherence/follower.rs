//! Following the numbered messages of one bucket.

/// What a message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "not part of the public interface")]
pub enum Said {
    /// Keys of this stripe have been dropped.
    Stripe(u8),
    /// Any key may have been.
    All,
}

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "not part of the public interface")]
pub enum Act {
    /// Nothing.
    None,
    /// Copies of this stripe count no more.
    Drop(u8),
    /// No copy of the bucket counts any more.
    Flush,
    /// The same, because a message is missing.
    FlushForGap,
}

/// How far the messages of one bucket have been heard. They are numbered by the server, in the step that drops the keys.
///
/// Whatever is odd costs a reload and nothing else: a number that is too high flushes, one that is too low drops its
/// stripe once more, and what an answer says counts in the end. So messages may come twice, late, or forged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Follower {
    /// The highest number that was heard without a gap; `None` before the subscription is known to be in force.
    heard: Option<u64>,
    /// How far that was when the server was asked how far it is.
    asked: Option<u64>,
}

impl Follower {
    /// Whether the subscription is in force.
    #[must_use]
    pub const fn is_following(&self) -> bool {
        self.heard.is_some()
    }

    /// A message has come.
    pub fn hear(&mut self, number: u64, said: Said) -> Act {
        let act = match said {
            Said::Stripe(stripe) => Act::Drop(stripe),
            Said::All => Act::Flush,
        };
        match self.heard {
            // One that comes before the subscription is confirmed counts all the same: the first answer covers the rest.
            None => act,
            Some(heard) if number <= heard => act,
            Some(heard) => {
                self.heard = Some(number);
                match heard {
                    _ if number == heard + 1 => act,
                    // The server begins to count: nobody knows whether this is the first.
                    0 => Act::Flush,
                    _ => Act::FlushForGap,
                }
            }
        }
    }

    /// The server is being asked how far it is, on the connection that the messages come on, and after the subscription was
    /// confirmed.
    pub fn ask(&mut self) {
        self.asked = self.heard;
    }

    /// It has said so. Messages may have come between its answer and this.
    ///
    /// Flushing earlier leaves a hole: `flush · R: keeps v1 · W: drops, tells nobody · subscription confirmed`.
    pub fn answered(&mut self, number: u64) -> Act {
        let asked = self.asked.take();
        match (self.heard, asked) {
            (Some(heard), Some(asked)) if (asked..=heard).contains(&number) => return Act::None,
            _ => {}
        }
        match self.heard.replace(number) {
            Some(_) => Act::FlushForGap,
            None => Act::Flush,
        }
    }

    /// The connection is gone: whatever is told from now on is missed.
    pub fn lose(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn following(number: u64) -> Follower {
        let mut follower = Follower::default();
        assert_eq!(answer(&mut follower, number), Act::Flush);
        follower
    }

    fn answer(follower: &mut Follower, number: u64) -> Act {
        follower.ask();
        follower.answered(number)
    }

    #[test]
    fn what_is_heard_between_the_answer_and_its_arrival_is_no_gap() {
        let mut follower = following(7);
        follower.ask();
        assert_eq!(follower.hear(8, Said::Stripe(1)), Act::Drop(1));
        assert_eq!(follower.hear(9, Said::Stripe(1)), Act::Drop(1));
        assert_eq!(follower.answered(8), Act::None);
        assert_eq!(answer(&mut follower, 8), Act::FlushForGap, "by now it should know of 9");
    }

    #[test]
    fn messages_in_order_drop_their_stripes() {
        let mut follower = following(7);
        assert_eq!(follower.hear(8, Said::Stripe(1)), Act::Drop(1));
        assert_eq!(follower.hear(9, Said::All), Act::Flush);
        assert_eq!(answer(&mut follower, 9), Act::None);
    }

    #[test]
    fn a_gap_flushes_whether_a_message_or_an_answer_shows_it() {
        let mut follower = following(7);
        assert_eq!(follower.hear(9, Said::Stripe(1)), Act::FlushForGap);
        assert_eq!(follower.hear(8, Said::Stripe(2)), Act::Drop(2), "late, and harmless");
        assert_eq!(answer(&mut follower, 9), Act::None);
        assert_eq!(answer(&mut follower, 10), Act::FlushForGap);
    }

    #[test]
    fn a_server_that_has_lost_its_count_flushes() {
        let mut follower = following(7);
        assert_eq!(answer(&mut follower, 0), Act::FlushForGap);
        assert_eq!(answer(&mut follower, 0), Act::None);
    }

    #[test]
    fn the_first_message_of_all_flushes_and_none_is_missing() {
        let mut follower = following(0);
        assert_eq!(follower.hear(1_700_000, Said::Stripe(1)), Act::Flush);
        assert_eq!(follower.hear(1_700_001, Said::Stripe(1)), Act::Drop(1));
    }

    #[test]
    fn what_comes_before_the_confirmation_counts() {
        let mut follower = Follower::default();
        assert_eq!(follower.hear(8, Said::Stripe(3)), Act::Drop(3));
        assert!(!follower.is_following());
        assert_eq!(answer(&mut follower, 8), Act::Flush);
    }

    #[test]
    fn a_forged_message_costs_a_reload() {
        let mut follower = following(7);
        assert_eq!(follower.hear(u64::MAX, Said::Stripe(1)), Act::FlushForGap);
        assert_eq!(follower.hear(8, Said::Stripe(2)), Act::Drop(2));
        assert_eq!(answer(&mut follower, 8), Act::FlushForGap);
    }
}
