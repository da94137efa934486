//! One key of a shared tier: who may fill it, who is writing it, what copy it has. Pure: state and command in, state
//! and reply out, time handed in.
//!
//! A slot is in one of four states. *Empty*. *Kept*: a copy. *Leased*: somebody is loading; an older copy may still be
//! there for readers who take a stale one. *Held*: writers are at work; there is no copy, and nobody may fill.
//!
//! Two rules carry the guarantees, and both halves of each are needed.
//!
//! - **A lease is unique to its load, and absence refuses.** Let a fill hold lease *a*, ask the store at *r* and fill
//!   at *f*, with a < r < f. A write that drops the slot between a and f destroys the lease, and the fill is refused;
//!   one that drops it before a was committed before r, so the load saw it; one after f drops what was filled. Losing
//!   the slot (eviction, restart) also loses the lease, which costs one refused fill. After Nishtala et al., *Scaling
//!   Memcache at Facebook*, NSDI 2013.
//! - **A writer publishes only what it held alone from before its commit until now.** Whoever else touches the slot
//!   meanwhile marks it contended, and a writer that finds its hold gone spoils the holds of the others. After
//!   Ghandeharizadeh and Yap, *Strong consistency in cache augmented SQL systems*, Middleware 2014.
//!
//! The scripts of `tier/redis/scripts` say the same in Lua, and the two are held against each other command by
//! command. The explorer, the in-process tier of `testing` and the fuzzer run this code itself.

#![allow(clippy::exhaustive_enums, clippy::exhaustive_structs, reason = "not part of the public interface")]
#![allow(clippy::needless_pass_by_value, reason = "a step takes a state and gives the next")]

use std::hash::Hash;

/// Milliseconds on the server's clock.
pub type Millis = u64;

/// The last moment that a slot can name, in the year 2286: thirteen digits.
pub const LAST: Millis = 9_999_999_999_999;

/// What a load or a writer is known by. Never given to two of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token(pub u128);

impl Token {
    /// Nobody's: the token of a lease that was given back, and of a hold that only time ends.
    pub const NOBODY: Self = Self(0);
}

/// A copy with its times. `B` is what a slot does not look into: the value in whatever form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Kept<B> {
    /// The load or the writer that it came from.
    pub id: Token,
    /// When the store was asked for it, at the latest.
    pub as_of: Millis,
    /// Until when it is fresh.
    pub fresh_until: Millis,
    /// From when on it is gone.
    pub expires_at: Millis,
    /// The value.
    pub body: B,
}

/// A slot with something in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Slot<B> {
    /// A copy.
    Kept(Kept<B>),
    /// Somebody is loading.
    Leased {
        /// Who; [`Token::NOBODY`] after a failed load, which is then not tried again before `ends`.
        token: Token,
        /// When the lease was granted: nothing that it fills is younger than this.
        granted: Millis,
        /// From when on somebody else may take it over.
        ends: Millis,
        /// The copy that was there before.
        kept: Option<Kept<B>>,
    },
    /// Writers are at work.
    Held {
        /// Whether the slot was touched by more than one of them.
        contended: bool,
        /// Who, and until when.
        holds: Vec<(Token, Millis)>,
    },
}

/// How long an answer may be used, counted from when the store was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Life {
    /// When the store was asked. A slot never believes that it was later than the lease's granting.
    pub as_of: Millis,
    /// For how many milliseconds the answer is fresh.
    pub fresh: Millis,
    /// After how many milliseconds it is gone.
    pub total: Millis,
}

/// What can be asked of a slot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Command<B> {
    /// For the right to fill.
    Acquire {
        /// The load's token.
        token: Token,
        /// For how long.
        lease: Millis,
        /// Whether a fresh copy does not make it unnecessary.
        renew: bool,
    },
    /// To keep what was loaded.
    Fill {
        /// The load's token.
        token: Token,
        /// Its times.
        life: Life,
        /// Its value.
        body: B,
    },
    /// To leave the load more time.
    Renew {
        /// The load's token.
        token: Token,
        /// For how long from now.
        lease: Millis,
    },
    /// To take back the right to fill after a failed load.
    Abandon {
        /// The load's token.
        token: Token,
        /// For how long nobody need try again, if there is a copy to go on with.
        back_off: Millis,
    },
    /// To drop the copy and destroy the lease.
    Invalidate {
        /// For how long nobody may fill after it: as long as what loads read from may be behind the store.
        hold_off: Millis,
    },
    /// For a writer's claim, before it commits. Asked again with the same token it leaves the writer more time.
    Hold {
        /// The writer's token.
        token: Token,
        /// For how long from now.
        life: Millis,
    },
    /// To end a claim.
    Release {
        /// The writer's token.
        token: Token,
        /// As for [`Invalidate`](Self::Invalidate).
        hold_off: Millis,
    },
    /// To end a claim and keep what was written.
    Publish {
        /// The writer's token.
        token: Token,
        /// Its times.
        life: Life,
        /// Its value.
        body: B,
        /// As for [`Invalidate`](Self::Invalidate). Above zero nothing is kept: the next load could put back what a
        /// replica still has.
        hold_off: Millis,
    },
}

/// What a slot answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reply<B> {
    /// To an acquire: there is a fresh copy.
    Fresh(Kept<B>),
    /// To an acquire: go and load.
    Granted {
        /// When.
        at: Millis,
        /// Whether somebody who did not come back in time has lost the right.
        taken_over: bool,
        /// The copy that is there, fresh or stale.
        kept: Option<Kept<B>>,
    },
    /// To an acquire: somebody else is loading, for this much longer at the most.
    Busy(Millis),
    /// To an acquire: somebody is writing.
    Held,
    /// The copy is kept.
    Stored,
    /// The copy is not kept: somebody else came between.
    Refused,
    /// Done as asked.
    Done,
    /// To a hold: done, and another writer is at work.
    Contended,
    /// The lease or hold is not there any more.
    Lost,
}

/// What becomes of the slot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Effect<B> {
    /// It stays as it was.
    Left,
    /// It is empty now.
    Emptied,
    /// It is this now, and from then on the server may forget it.
    Written(Slot<B>, Millis),
}

/// How much longer than its lease a leased slot stays, in leases: a load that is late and has not been overtaken may
/// still fill.
const LINGER: Millis = 4;

/// What `command` makes of `slot` at `now`.
pub fn step<B: Clone>(slot: Option<Slot<B>>, now: Millis, command: Command<B>) -> (Effect<B>, Reply<B>) {
    match command {
        Command::Acquire { token, lease, renew } => acquire(slot, now, token, lease, renew),
        Command::Fill { token, life, body } => fill(slot, now, token, life, body),
        Command::Renew { token, lease } => more_time(slot, now, token, lease),
        Command::Abandon { token, back_off } => abandon(slot, now, token, back_off),
        Command::Invalidate { hold_off } => (drop_copy(slot, now, hold_off), Reply::Done),
        Command::Hold { token, life } => hold(slot, now, token, life),
        Command::Release { token, hold_off } => match end_hold(slot, now, token, hold_off) {
            Ending::Sole => (hold_back(now, hold_off), Reply::Done),
            Ending::Shared(rest) => (rest, Reply::Done),
            Ending::Lost(rest) => (rest, Reply::Lost),
        },
        Command::Publish { token, life, body, hold_off } => match end_hold(slot, now, token, hold_off) {
            Ending::Sole if hold_off == 0 => (keep(token, life, now, body), Reply::Stored),
            Ending::Sole => (hold_back(now, hold_off), Reply::Refused),
            Ending::Shared(rest) => (rest, Reply::Refused),
            Ending::Lost(rest) => (rest, Reply::Lost),
        },
    }
}

fn acquire<B: Clone>(
    slot: Option<Slot<B>>,
    now: Millis,
    token: Token,
    lease: Millis,
    renew: bool,
) -> (Effect<B>, Reply<B>) {
    let (kept, runs, taken_over) = match &slot {
        Some(Slot::Held { holds, .. }) if holds.iter().any(|(_, ends)| *ends > now) => {
            return (Effect::Left, Reply::Held);
        }
        Some(Slot::Kept(kept)) => (Some(kept), None, false),
        Some(Slot::Leased { token, ends, kept, .. }) => {
            let runs = (*ends > now).then(|| ends - now);
            (kept.as_ref(), runs, runs.is_none() && *token != Token::NOBODY)
        }
        Some(Slot::Held { .. }) | None => (None, None, false),
    };
    let kept = kept.filter(|kept| kept.expires_at > now).cloned();
    if let Some(fresh) = kept.clone().filter(|kept| !renew && kept.fresh_until > now) {
        return (Effect::Left, Reply::Fresh(fresh));
    }
    if let Some(left) = runs {
        return (Effect::Left, Reply::Busy(left));
    }
    let leased = Slot::Leased { token, granted: now, ends: later(now, lease), kept: kept.clone() };
    (
        Effect::Written(leased, lingers(now, lease, kept.as_ref())),
        Reply::Granted { at: now, taken_over, kept },
    )
}

fn fill<B: Clone>(
    slot: Option<Slot<B>>,
    now: Millis,
    mine: Token,
    life: Life,
    body: B,
) -> (Effect<B>, Reply<B>) {
    match slot {
        Some(Slot::Leased { token, granted, .. }) if token == mine => {
            let life = Life { as_of: life.as_of.min(granted), ..life };
            (keep(mine, life, now, body), Reply::Stored)
        }
        _ => (Effect::Left, Reply::Refused),
    }
}

fn more_time<B: Clone>(
    slot: Option<Slot<B>>,
    now: Millis,
    mine: Token,
    lease: Millis,
) -> (Effect<B>, Reply<B>) {
    match slot {
        Some(Slot::Leased { token, granted, kept, .. }) if token == mine => {
            let until = lingers(now, lease, kept.as_ref());
            let leased = Slot::Leased { token, granted, ends: later(now, lease), kept };
            (Effect::Written(leased, until), Reply::Done)
        }
        _ => (Effect::Left, Reply::Lost),
    }
}

fn abandon<B: Clone>(
    slot: Option<Slot<B>>,
    now: Millis,
    mine: Token,
    back_off: Millis,
) -> (Effect<B>, Reply<B>) {
    match slot {
        Some(Slot::Leased { token, granted, kept, .. }) if token == mine => {
            let kept = kept.filter(|kept| kept.expires_at > now);
            let left = kept.map_or(Effect::Emptied, |kept| {
                let until = kept.expires_at;
                let ends = later(now, back_off);
                Effect::Written(Slot::Leased { token: Token::NOBODY, granted, ends, kept: Some(kept) }, until)
            });
            (left, Reply::Done)
        }
        _ => (Effect::Left, Reply::Lost),
    }
}

fn hold<B: Clone>(slot: Option<Slot<B>>, now: Millis, mine: Token, life: Millis) -> (Effect<B>, Reply<B>) {
    let (mut contended, mut holds) = live_holds(slot, now);
    let known = holds.iter().any(|(token, _)| *token == mine);
    holds.retain(|(token, _)| *token != mine);
    contended |= !known && !holds.is_empty();
    holds.push((mine, later(now, life)));
    (held(contended, holds), if contended { Reply::Contended } else { Reply::Done })
}

/// How a hold was found at its end.
enum Ending<B> {
    /// Alone and untouched.
    Sole,
    /// With others, before or now.
    Shared(Effect<B>),
    /// Gone: whatever is there may have been filled or published in ignorance of this writer.
    Lost(Effect<B>),
}

fn end_hold<B: Clone>(slot: Option<Slot<B>>, now: Millis, mine: Token, hold_off: Millis) -> Ending<B> {
    let (contended, mut holds) = live_holds(slot, now);
    let known = holds.iter().any(|(token, _)| *token == mine);
    holds.retain(|(token, _)| *token != mine);
    match (known, contended) {
        (true, false) => Ending::Sole,
        (true, true) => Ending::Shared(held_back(holds, now, hold_off)),
        (false, _) => Ending::Lost(held_back(holds, now, hold_off)),
    }
}

/// The slot without a copy or a lease, and with every hold on it spoilt. Holds stay: the writers are not done yet.
fn drop_copy<B: Clone>(slot: Option<Slot<B>>, now: Millis, hold_off: Millis) -> Effect<B> {
    let (_, holds) = live_holds(slot, now);
    held_back(holds, now, hold_off)
}

fn held_back<B>(mut holds: Vec<(Token, Millis)>, now: Millis, hold_off: Millis) -> Effect<B> {
    if hold_off > 0 {
        let before = holds.iter().find(|(token, _)| *token == Token::NOBODY).map_or(0, |(_, ends)| *ends);
        holds.retain(|(token, _)| *token != Token::NOBODY);
        holds.push((Token::NOBODY, later(now, hold_off).max(before)));
    }
    held(true, holds)
}

fn hold_back<B>(now: Millis, hold_off: Millis) -> Effect<B> {
    held_back(Vec::new(), now, hold_off)
}

fn held<B>(contended: bool, holds: Vec<(Token, Millis)>) -> Effect<B> {
    let until = holds.iter().map(|(_, ends)| *ends).max();
    until.map_or(Effect::Emptied, |until| Effect::Written(Slot::Held { contended, holds }, until))
}

fn live_holds<B>(slot: Option<Slot<B>>, now: Millis) -> (bool, Vec<(Token, Millis)>) {
    match slot {
        Some(Slot::Held { contended, mut holds }) => {
            holds.retain(|(_, ends)| *ends > now);
            (contended && !holds.is_empty(), holds)
        }
        _ => (false, Vec::new()),
    }
}

fn keep<B>(id: Token, life: Life, now: Millis, body: B) -> Effect<B> {
    let (fresh_until, expires_at) = (later(life.as_of, life.fresh), later(life.as_of, life.total));
    let kept = Kept { id, as_of: life.as_of, fresh_until, expires_at, body };
    if expires_at > now { Effect::Written(Slot::Kept(kept), expires_at) } else { Effect::Emptied }
}

fn lingers<B>(now: Millis, lease: Millis, kept: Option<&Kept<B>>) -> Millis {
    later(now, lease.saturating_mul(LINGER)).max(kept.map_or(0, |kept| kept.expires_at))
}

fn later(moment: Millis, by: Millis) -> Millis {
    moment.saturating_add(by).min(LAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Millis = 100;
    const A: Token = Token(1);
    const B: Token = Token(2);
    const LIFE: Life = Life { as_of: LAST, fresh: 1_000, total: 2_000 };

    /// A key on a server of one, with its clock.
    #[derive(Default)]
    struct Server {
        slot: Option<Slot<&'static str>>,
        gone_at: Millis,
        now: Millis,
    }

    impl Server {
        fn ask(&mut self, command: Command<&'static str>) -> Reply<&'static str> {
            if self.gone_at <= self.now {
                self.slot = None;
            }
            let (effect, reply) = step(self.slot.clone(), self.now, command);
            match effect {
                Effect::Left => {}
                Effect::Emptied => self.slot = None,
                Effect::Written(slot, until) => (self.slot, self.gone_at) = (Some(slot), until),
            }
            reply
        }

        fn acquire(&mut self, token: Token) -> Reply<&'static str> {
            self.ask(Command::Acquire { token, lease: LEASE, renew: false })
        }

        fn renew(&mut self, token: Token) -> Reply<&'static str> {
            self.ask(Command::Acquire { token, lease: LEASE, renew: true })
        }

        fn fill(&mut self, token: Token, body: &'static str) -> Reply<&'static str> {
            self.ask(Command::Fill { token, life: LIFE, body })
        }

        fn publish(&mut self, token: Token) -> Reply<&'static str> {
            let life = Life { as_of: self.now, ..LIFE };
            self.ask(Command::Publish { token, life, body: "new", hold_off: 0 })
        }

        fn filled(body: &'static str) -> Self {
            let mut server = Self { now: 1, ..Self::default() };
            server.acquire(A);
            server.fill(A, body);
            server
        }
    }

    fn granted(reply: &Reply<&'static str>) -> bool {
        matches!(reply, Reply::Granted { .. })
    }

    #[test]
    fn an_answer_is_no_younger_than_its_lease() {
        let mut server = Server { now: 5, ..Server::default() };
        server.acquire(A);
        server.now = 50;
        assert_eq!(server.fill(A, "v"), Reply::Stored);
        let Reply::Fresh(kept) = server.acquire(B) else { panic!("there is a fresh copy") };
        assert_eq!((kept.as_of, kept.fresh_until, kept.expires_at), (5, 1_005, 2_005));
    }

    #[test]
    fn one_load_at_a_time_and_the_next_when_it_is_late() {
        let mut server = Server::default();
        assert!(granted(&server.acquire(A)));
        server.now = 40;
        assert_eq!(server.acquire(B), Reply::Busy(60));
        server.now = 100;
        assert!(matches!(server.acquire(B), Reply::Granted { taken_over: true, .. }));
        assert_eq!(server.fill(A, "late"), Reply::Refused, "the right is another's now");
        assert_eq!(server.fill(B, "v"), Reply::Stored);
    }

    #[test]
    fn a_late_load_that_nobody_has_overtaken_may_fill() {
        let mut server = Server::default();
        server.acquire(A);
        server.now = 399;
        assert_eq!(server.fill(A, "v"), Reply::Stored);
        let mut server = Server::default();
        server.acquire(A);
        server.now = 400;
        assert_eq!(server.fill(A, "v"), Reply::Refused, "the server has forgotten the lease");
    }

    #[test]
    fn a_lease_that_is_renewed_is_not_taken_over() {
        let mut server = Server::default();
        server.acquire(A);
        server.now = 90;
        assert_eq!(server.ask(Command::Renew { token: A, lease: LEASE }), Reply::Done);
        assert_eq!(server.ask(Command::Renew { token: B, lease: LEASE }), Reply::Lost);
        server.now = 150;
        assert_eq!(server.acquire(B), Reply::Busy(40));
    }

    #[test]
    fn the_old_copy_stays_while_it_is_renewed() {
        let mut server = Server::filled("old");
        let Reply::Granted { kept: Some(kept), .. } = server.renew(B) else {
            panic!("granted with the copy")
        };
        assert_eq!(kept.body, "old");
        assert!(matches!(server.acquire(A), Reply::Fresh(_)), "it is fresh for everybody else");
        server.now = 1_500;
        assert!(matches!(server.acquire(A), Reply::Granted { kept: Some(_), .. }), "stale, and still there");
        server.now = 3_000;
        assert!(matches!(server.acquire(B), Reply::Granted { kept: None, .. }), "expired");
    }

    #[test]
    fn after_a_failed_load_the_copy_stays_and_nobody_tries_for_a_while() {
        let mut server = Server::filled("old");
        server.now = 1_500;
        server.acquire(B);
        assert_eq!(server.ask(Command::Abandon { token: B, back_off: 50 }), Reply::Done);
        assert_eq!(server.acquire(A), Reply::Busy(50));
        server.now = 1_550;
        assert!(matches!(server.acquire(A), Reply::Granted { taken_over: false, kept: Some(_), .. }));
    }

    #[test]
    fn without_a_copy_a_failed_load_leaves_nothing() {
        let mut server = Server::default();
        server.acquire(A);
        server.ask(Command::Abandon { token: A, back_off: 50 });
        assert_eq!(server.slot, None);
        assert_eq!(server.ask(Command::Abandon { token: A, back_off: 50 }), Reply::Lost);
    }

    #[test]
    fn a_hold_may_be_prolonged_by_its_own_writer_without_being_contended() {
        let mut server = Server::default();
        server.ask(Command::Hold { token: A, life: 100 });
        server.now = 60;
        assert_eq!(server.ask(Command::Hold { token: A, life: 100 }), Reply::Done);
        server.now = 150;
        assert_eq!(server.acquire(B), Reply::Held);
        assert_eq!(server.publish(A), Reply::Stored);
    }

    #[test]
    fn a_writer_that_lost_its_hold_spoils_the_holds_of_others() {
        let mut server = Server::default();
        server.ask(Command::Hold { token: A, life: 100 });
        server.slot = None; // evicted
        server.ask(Command::Hold { token: B, life: 100 });
        assert_eq!(server.publish(A), Reply::Lost);
        assert_eq!(server.publish(B), Reply::Refused, "nobody knows whose write was the last");
    }

    #[test]
    fn an_invalidation_keeps_readers_out_while_a_writer_is_at_work() {
        let mut server = Server::default();
        server.ask(Command::Hold { token: A, life: 100 });
        server.ask(Command::Invalidate { hold_off: 0 });
        assert_eq!(server.acquire(B), Reply::Held);
        assert_eq!(server.publish(A), Reply::Refused);
        assert_eq!(server.slot, None);
    }

    #[test]
    fn nobody_fills_while_replicas_may_be_behind() {
        let mut server = Server::filled("old");
        server.ask(Command::Invalidate { hold_off: 30 });
        assert_eq!(server.acquire(B), Reply::Held);
        server.ask(Command::Invalidate { hold_off: 10 });
        server.now = 30;
        assert_eq!(server.acquire(B), Reply::Held, "the longer of two counts");
        server.now = 31;
        assert!(granted(&server.acquire(B)));
    }

    #[test]
    fn nothing_is_published_where_replicas_may_be_behind() {
        let mut server = Server::default();
        server.ask(Command::Hold { token: A, life: 100 });
        let life = Life { as_of: 0, ..LIFE };
        let reply = server.ask(Command::Publish { token: A, life, body: "new", hold_off: 30 });
        assert_eq!((reply, server.acquire(B)), (Reply::Refused, Reply::Held));
    }

    #[test]
    fn the_end_of_time_is_thirteen_digits_long() {
        let mut server = Server { now: 1, ..Server::default() };
        server.acquire(A);
        let life = Life { as_of: 0, fresh: Millis::MAX, total: Millis::MAX };
        server.ask(Command::Fill { token: A, life, body: "for ever" });
        assert_eq!(server.gone_at, LAST);
    }
}
