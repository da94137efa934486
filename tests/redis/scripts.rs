//! The scripts of the Redis tier do what `tier::slot::step` does: random commands to a real server, each with the time
//! at which it is to happen, and after every one the same reply, the same bytes and the same end.
//!
//! What else is tested of the guarantees is tested of the step. It holds of a Redis only as far as the Lua says the
//! same.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Instant;

use crate::support::redis_server::RedisServer;
use crate::support::resp::{Connection, PATIENCE, Reply};
use fastrand::Rng;
use larder::tier::redis::{layout, with_time_as_argument};
use larder::tier::slot::{self, Command, Effect, Kept, LAST, Life, Millis, Slot, Token};

/// Independent keys: what one round asks of all of them is one round trip.
const KEYS: u64 = 250;
const ROUNDS: u64 = 1_000;
/// All times are multiples of it, so that ends are often met exactly. It is more than a day, so that what should stay
/// never goes by the server's own clock, which runs on meanwhile.
const UNIT: Millis = 100_000_000;
/// How far the server's clock may run during a test.
const SLACK: Millis = UNIT / 100;
/// How often every case must have come up, or the commands were not random enough to mean anything.
const ENOUGH: u64 = 100;
/// Reproduces a run: the seed that a failure prints.
const SEED: &str = "LARDER_TEST_SEED";

type Body<'a> = Cow<'a, [u8]>;
type Request = Vec<Vec<u8>>;

#[tokio::test]
async fn the_scripts_do_what_the_step_does() {
    let Some(server) = RedisServer::start_one_or_skip("the_scripts_do_what_the_step_does").await else {
        return;
    };
    let seed = std::env::var(SEED).map_or_else(|_| fastrand::u64(..), |seed| seed.parse().expect("a number"));
    let (seen, address, start) = (Seen::default(), server.address(), Instant::now());
    let seen = crate::support::aside(move || run(address, seed, seen)).await;
    seen.print();
    println!("coverage: {} commands in {:.1?}, seed {seed}", KEYS * ROUNDS, start.elapsed());
    let rare = seen.rare();
    assert!(rare.is_empty(), "hardly ever tried, with seed {seed}: {rare:?}");
}

fn run(address: SocketAddr, seed: u64, mut seen: Seen) -> Seen {
    let mut connection = Connection::open(address, PATIENCE).expect("the server runs");
    let scripts = Scripts::load(&mut connection);
    let mut dice = Rng::with_seed(seed);
    let mut keys: Vec<Key> = (0..KEYS).map(|number| Key::new(number, dice.fork())).collect();
    for _ in 0..ROUNDS {
        let turns: Vec<Turn> = keys.iter_mut().map(|key| key.turn(&scripts, &mut seen)).collect();
        let requests: Vec<Request> = turns.iter().flat_map(|turn| turn.requests.clone()).collect();
        let mut replies = connection.ask_all(&requests).expect("the server answers").into_iter();
        for (key, turn) in keys.iter().zip(&turns) {
            let answers: Vec<Reply> = replies.by_ref().take(turn.requests.len()).collect();
            key.compare(turn, &answers, seed);
        }
    }
    seen
}

/// The name under which the server knows each script.
struct Scripts(BTreeMap<&'static str, Vec<u8>>);

impl Scripts {
    fn load(connection: &mut Connection) -> Self {
        let load = |(name, source): (_, String)| match connection.ask(&["SCRIPT", "LOAD", &source]) {
            Ok(Reply::Bulk(Some(hash))) => (name, hash),
            other => panic!("{name}: {other:?}"),
        };
        Self(with_time_as_argument().into_iter().map(load).collect())
    }

    fn call(&self, key: &[u8], command: &Command<Body<'_>>, now: Millis) -> Request {
        let (name, arguments) = spelled(command);
        let mut request = vec![b"EVALSHA".to_vec(), self.0[name].clone(), b"1".to_vec(), key.to_vec()];
        request.extend(arguments);
        request.push(decimal(now));
        request
    }
}

/// A command's script and its arguments.
fn spelled(command: &Command<Body<'_>>) -> (&'static str, Vec<Vec<u8>>) {
    let id = |token: &Token| token.0.to_be_bytes().to_vec();
    match command {
        Command::Acquire { token, lease, renew } => {
            let renew = if *renew { b"1" } else { b"0" };
            ("acquire", vec![id(token), decimal(*lease), renew.to_vec()])
        }
        Command::Fill { token, life, body } => {
            let [as_of, fresh, total] = [life.as_of, life.fresh, life.total].map(decimal);
            ("fill", vec![id(token), as_of, fresh, total, body.to_vec()])
        }
        Command::Renew { token, lease } => ("renew", vec![id(token), decimal(*lease)]),
        Command::Abandon { token, back_off } => ("abandon", vec![id(token), decimal(*back_off)]),
        Command::Invalidate { hold_off } => ("invalidate", vec![decimal(*hold_off)]),
        Command::Hold { token, life } => ("hold", vec![id(token), decimal(*life)]),
        Command::Release { token, hold_off } => ("release", vec![id(token), decimal(*hold_off)]),
        Command::Publish { token, life, body, hold_off } => {
            let [as_of, fresh, total] = [life.as_of, life.fresh, life.total].map(decimal);
            ("publish", vec![id(token), as_of, fresh, total, decimal(*hold_off), body.to_vec()])
        }
    }
}

fn decimal(number: Millis) -> Vec<u8> {
    number.to_string().into_bytes()
}

/// What a script answers where the step answers `reply`.
fn answered(reply: &slot::Reply<Body<'_>>, now: Millis) -> Reply {
    let three = |word: &str, more: Vec<u8>| {
        Reply::Array(vec![Reply::bulk(word), Reply::bulk(digits(now)), Reply::bulk(more)])
    };
    let copy = |kept: &Kept<_>| layout::encode(&Slot::Kept(Kept::clone(kept)));
    match reply {
        slot::Reply::Fresh(kept) => three("fresh", copy(kept)),
        slot::Reply::Granted { at, taken_over, kept } => {
            assert_eq!(*at, now);
            three(if *taken_over { "taken" } else { "granted" }, kept.as_ref().map(copy).unwrap_or_default())
        }
        slot::Reply::Busy(left) => three("busy", digits(*left)),
        slot::Reply::Held => Reply::Array(vec![Reply::bulk("held"), Reply::bulk(digits(now))]),
        slot::Reply::Stored => Reply::bulk("stored"),
        slot::Reply::Refused => Reply::bulk("refused"),
        slot::Reply::Done => Reply::bulk("done"),
        slot::Reply::Contended => Reply::bulk("contended"),
        slot::Reply::Lost => Reply::bulk("lost"),
    }
}

fn digits(time: Millis) -> Vec<u8> {
    format!("{time:013}").into_bytes()
}

// --- one key ---

/// What the server must have under a key.
#[derive(Clone, Debug, PartialEq)]
enum Stands {
    Nothing,
    Bytes(Vec<u8>),
    List,
}

/// A key as it must be, the time there, and what was done to it last.
struct Key {
    name: Vec<u8>,
    dice: Rng,
    now: Millis,
    stands: Stands,
    /// From when on the server may have forgotten it.
    gone_at: Option<Millis>,
    /// For how long the server was told to remember it.
    lives: Option<Millis>,
    bodies: u64,
    history: VecDeque<String>,
}

/// One command: what is sent for it, and what must come back.
struct Turn {
    requests: Vec<Request>,
    reply: Reply,
    stands: Stands,
    lives: Option<Millis>,
}

impl Key {
    fn new(number: u64, mut dice: Rng) -> Self {
        Self {
            name: format!("key-{number}").into_bytes(),
            now: 1_700_000_000_000 + dice.u64(..UNIT),
            dice,
            stands: Stands::Nothing,
            gone_at: None,
            lives: None,
            bodies: 0,
            history: VecDeque::new(),
        }
    }

    fn turn(&mut self, scripts: &Scripts, seen: &mut Seen) -> Turn {
        let mut requests = self.meanwhile(seen);
        let command = self.draw();
        self.note(format!("at {}: {command:?}", self.now));
        requests.push(scripts.call(&self.name, &command, self.now));
        requests.push(vec![b"GET".to_vec(), self.name.clone()]);
        requests.push(vec![b"PTTL".to_vec(), self.name.clone()]);
        let reply = answered(&self.step(command, seen), self.now);
        self.note(format!("    {}, then {}", plain(&reply), self.stands.plain()));
        Turn { requests, reply, stands: self.stands.clone(), lives: self.lives }
    }

    fn step<'a>(&mut self, command: Command<Body<'a>>, seen: &mut Seen) -> slot::Reply<Body<'a>> {
        let before = self.stands.slot();
        let (effect, reply) = slot::step(before.clone(), self.now, command.clone());
        seen.mark(&Step {
            stands: &self.stands,
            before,
            now: self.now,
            command,
            reply: &reply,
            effect: &effect,
        });
        match effect {
            Effect::Left => {}
            Effect::Emptied => self.put(Stands::Nothing, None),
            Effect::Written(slot, until) => self.put(Stands::Bytes(layout::encode(&slot)), Some(until)),
        }
        reply
    }

    fn put(&mut self, stands: Stands, gone_at: Option<Millis>) {
        self.stands = stands;
        self.gone_at = gone_at;
        self.lives = gone_at.map(|gone_at| gone_at - self.now);
    }

    fn compare(&self, turn: &Turn, answers: &[Reply], seed: u64) {
        let [.., reply, bytes, lives] = answers else { unreachable!("three questions at least") };
        let stands = match bytes {
            Reply::Bulk(None) => Stands::Nothing,
            Reply::Bulk(Some(bytes)) => Stands::Bytes(bytes.clone()),
            _ => Stands::List,
        };
        let is_right =
            *reply == turn.reply && stands == turn.stands && is_about(lives, &turn.stands, turn.lives);
        assert!(
            is_right,
            "{} of the run with {SEED}={seed}\n{}\n\nthe step: {}, then {} for {:?}\nthe script: {}, then {} for {lives:?}",
            self.name.escape_ascii(),
            self.history.iter().map(String::as_str).collect::<Vec<_>>().join("\n"),
            plain(&turn.reply),
            turn.stands.plain(),
            turn.lives,
            plain(reply),
            stands.plain(),
        );
    }

    fn note(&mut self, line: String) {
        self.history.push_back(line);
        if self.history.len() > 30 {
            self.history.pop_front();
        }
    }
}

impl Stands {
    fn slot(&self) -> Option<Slot<Body<'static>>> {
        match self {
            Self::Bytes(bytes) => layout::decode(bytes).map(own),
            Self::Nothing | Self::List => None,
        }
    }

    fn plain(&self) -> String {
        match self {
            Self::Nothing => "nothing".to_owned(),
            Self::Bytes(bytes) => format!("\"{}\"", bytes.escape_ascii()),
            Self::List => "a list".to_owned(),
        }
    }
}

fn own(slot: Slot<Body<'_>>) -> Slot<Body<'static>> {
    let copy = |Kept { id, as_of, fresh_until, expires_at, body }: Kept<Body<'_>>| {
        let body = Cow::Owned(body.into_owned());
        Kept { id, as_of, fresh_until, expires_at, body }
    };
    match slot {
        Slot::Kept(kept) => Slot::Kept(copy(kept)),
        Slot::Leased { token, granted, ends, kept } => {
            Slot::Leased { token, granted, ends, kept: kept.map(copy) }
        }
        Slot::Held { contended, holds } => Slot::Held { contended, holds },
    }
}

/// Whether PTTL said what it should, of something that was written during this test.
fn is_about(said: &Reply, stands: &Stands, lives: Option<Millis>) -> bool {
    let Reply::Int(said) = *said else { return false };
    match (stands, lives) {
        (Stands::Nothing, _) => said == -2,
        (_, None) => said == -1,
        (_, Some(lives)) => u64::try_from(said).is_ok_and(|said| said <= lives && lives - said < SLACK),
    }
}

fn plain(reply: &Reply) -> String {
    match reply {
        Reply::Bulk(Some(bytes)) => format!("\"{}\"", bytes.escape_ascii()),
        Reply::Array(parts) => parts.iter().map(plain).collect::<Vec<_>>().join(" "),
        other => format!("{other:?}"),
    }
}

// --- what happens at random ---

impl Key {
    /// Time passes; the server forgets what has ended, sooner or later, and sometimes what has not; and somebody else
    /// uses the key.
    fn meanwhile(&mut self, seen: &mut Seen) -> Vec<Request> {
        self.now += UNIT * [0, 0, 0, 0, 0, 1, 1, 1, 2, 3, self.dice.u64(..20)][self.dice.usize(..11)];
        let may_be_gone = self.gone_at.is_some_and(|gone_at| gone_at <= self.now);
        match self.dice.u32(..64) {
            0 => self.tamper(seen),
            1 => self.forget("evicted", seen),
            2..32 if may_be_gone => self.forget("forgotten at its end", seen),
            _ => Vec::new(),
        }
    }

    fn forget(&mut self, how: &'static str, seen: &mut Seen) -> Vec<Request> {
        if self.stands == Stands::Nothing {
            return Vec::new();
        }
        seen.count(how);
        self.note(format!("at {}: {how}", self.now));
        self.put(Stands::Nothing, None);
        vec![vec![b"DEL".to_vec(), self.name.clone()]]
    }

    /// Puts something there that no script has written: another's bytes, another type, or what is left of a slot.
    fn tamper(&mut self, seen: &mut Seen) -> Vec<Request> {
        let stands = match (self.dice.u32(..8), &self.stands) {
            (0, _) => Stands::List,
            (1, _) => Stands::Bytes(self.foreign()),
            (2..5, Stands::Bytes(bytes)) => {
                Stands::Bytes(bytes[..self.dice.usize(..bytes.len().max(1))].to_vec())
            }
            (5.., Stands::Bytes(bytes)) if !bytes.is_empty() => {
                let mut bytes = bytes.clone();
                let at = self.dice.usize(..bytes.len());
                // No digit: a time that is another, but a time, might end by the server's own clock.
                bytes[at] = *self.dice.choice(b" +-.exVLH\0\n\xff").expect("there are some");
                Stands::Bytes(bytes)
            }
            _ => return Vec::new(),
        };
        seen.count(match &stands {
            Stands::List => "another type put there",
            whole if whole.slot().is_some() => "a slot tampered with, and still one",
            _ => "other bytes put there",
        });
        self.note(format!("at {}: put there by hand: {}", self.now, stands.plain()));
        self.put(stands, None);
        let mut requests = vec![vec![b"DEL".to_vec(), self.name.clone()]];
        requests.push(match &self.stands {
            Stands::Bytes(bytes) => vec![b"SET".to_vec(), self.name.clone(), bytes.clone()],
            _ => vec![b"RPUSH".to_vec(), self.name.clone(), b"ld1V".to_vec()],
        });
        requests
    }

    fn foreign(&mut self) -> Vec<u8> {
        let all: [&[u8]; 8] =
            [b"", b"{\"json\":1}", b"ld2V0123456789abcdef", b"ld1", b"ld1V", b"ld1L", b"ld1H", b"ld1H1"];
        all[self.dice.usize(..all.len())].to_vec()
    }

    /// Mostly what the state is for, by whoever is at it: or hardly anything would ever come to its end.
    fn draw(&mut self) -> Command<Body<'static>> {
        let slot = self.stands.slot();
        let token = self.token(slot.as_ref());
        let writes = if matches!(slot, Some(Slot::Held { .. })) { 6 } else { 1 };
        if self.dice.u32(..8) < writes { self.write(token) } else { self.read(token) }
    }

    fn read(&mut self, token: Token) -> Command<Body<'static>> {
        match self.dice.u32(..8) {
            0..4 => Command::Acquire { token, lease: self.span(1), renew: self.dice.bool() },
            4..6 => Command::Fill { token, life: self.life(), body: self.body() },
            6 => Command::Renew { token, lease: self.span(1) },
            _ => Command::Abandon { token, back_off: self.span(0) },
        }
    }

    fn write(&mut self, token: Token) -> Command<Body<'static>> {
        let hold_off = if self.dice.bool() { 0 } else { self.span(1) };
        match self.dice.u32(..7) {
            0 => Command::Invalidate { hold_off },
            1..4 => Command::Hold { token, life: self.span(1) },
            4 => Command::Release { token, hold_off },
            _ => {
                // With a hold-off nothing is ever published: mostly without.
                let hold_off = if self.dice.u8(..4) == 0 { hold_off } else { 0 };
                Command::Publish { token, life: self.life(), body: self.body(), hold_off }
            }
        }
    }

    /// One of those who are there, or of a few. Among them is nobody, whom no client names and the rules do not forbid.
    fn token(&mut self, slot: Option<&Slot<Body<'_>>>) -> Token {
        let there = match slot {
            Some(Slot::Leased { token, .. }) => Some(*token),
            Some(Slot::Held { holds, .. }) => self.dice.choice(holds).map(|(token, _)| *token),
            _ => None,
        };
        let first = u128::from_be_bytes(*b"\0\r\n%c-$*\xff tokenA");
        match (self.dice.u32(..32), there) {
            (0, _) => Token::NOBODY,
            (1..20, Some(token)) => token,
            (other, _) => Token(first + u128::from(other % 3)),
        }
    }

    /// At least one unit for what no caller ever asks none of.
    fn span(&mut self, least: u64) -> Millis {
        UNIT * self.dice.u64(least..5)
    }

    /// Some have ended before they are told of, some never end.
    fn life(&mut self) -> Life {
        let as_of = self.now + UNIT - self.span(0);
        let mut span = || match self.dice.u32(..32) {
            0 | 1 => LAST,
            2 => Millis::MAX,
            _ => UNIT * self.dice.u64(..10),
        };
        Life { as_of, fresh: span(), total: span() }
    }

    /// A different one each time; some look like a slot.
    fn body(&mut self) -> Body<'static> {
        self.bodies += 1;
        let mut body = self.bodies.to_be_bytes().to_vec();
        match self.dice.u32(..4) {
            0 => body.clear(),
            1 => body.extend(b"\r\nld1L\0\xff"),
            2 => body.extend([b'0'; 100]),
            _ => {}
        }
        Cow::Owned(body)
    }
}

// --- what came up ---

/// A step, to be looked at.
struct Step<'a, 'b> {
    stands: &'a Stands,
    before: Option<Slot<Body<'b>>>,
    now: Millis,
    command: Command<Body<'b>>,
    reply: &'a slot::Reply<Body<'b>>,
    effect: &'a Effect<Body<'b>>,
}

impl<'b> Step<'_, 'b> {
    fn script(&self) -> &'static str {
        spelled(&self.command).0
    }

    /// The token of the lease that was there, and its end.
    fn lease(&self) -> Option<(Token, Millis)> {
        match self.before {
            Some(Slot::Leased { token, ends, .. }) => Some((token, ends)),
            _ => None,
        }
    }

    fn copy(&self) -> Option<&Kept<Body<'b>>> {
        match &self.before {
            Some(Slot::Kept(kept)) => Some(kept),
            Some(Slot::Leased { kept, .. }) => kept.as_ref(),
            _ => None,
        }
    }

    /// There was a copy, and it had expired.
    fn had_expired(&self) -> bool {
        self.copy().is_some_and(|kept| kept.expires_at <= self.now)
    }

    /// The holds that had not run out.
    fn holds(&self) -> Vec<(Token, Millis)> {
        match &self.before {
            Some(Slot::Held { holds, .. }) => {
                holds.iter().copied().filter(|hold| hold.1 > self.now).collect()
            }
            _ => Vec::new(),
        }
    }

    fn hold_off(&self) -> Option<Millis> {
        self.holds().iter().find(|(token, _)| *token == Token::NOBODY).map(|(_, ends)| *ends)
    }

    /// The hold-off that the command asks for, if it asks for one and the slot has one now.
    fn held_off(&self) -> Option<Millis> {
        let asked = match self.command {
            Command::Invalidate { hold_off }
            | Command::Release { hold_off, .. }
            | Command::Publish { hold_off, .. } => hold_off,
            _ => 0,
        };
        (asked > 0 && matches!(self.effect, Effect::Written(Slot::Held { .. }, _))).then(|| self.now + asked)
    }

    fn was_contended(&self) -> bool {
        matches!(self.before, Some(Slot::Held { contended: true, .. })) && !self.holds().is_empty()
    }

    /// Holds that were sole until now are not any more.
    fn spoils(&self) -> bool {
        let spoilt = matches!(self.effect, Effect::Written(Slot::Held { contended: true, .. }, _));
        spoilt && !self.was_contended() && !self.holds().is_empty()
    }

    fn is_emptied(&self) -> bool {
        *self.effect == Effect::Emptied
    }

    /// For an acquire that was granted: whether the right was taken from somebody, and the copy that goes with it.
    fn granted(&self) -> Option<(bool, Option<&Kept<Body<'b>>>)> {
        match self.reply {
            slot::Reply::Granted { taken_over, kept, .. } => Some((*taken_over, kept.as_ref())),
            _ => None,
        }
    }

    /// Whether this is what `script` does with this reply.
    fn is(&self, script: &str, reply: &slot::Reply<Body<'_>>) -> bool {
        self.script() == script && self.reply == reply
    }
}

type Case = (&'static str, fn(&Step<'_, '_>) -> bool);

/// What must have come up, each of it often.
const CASES: &[Case] = &[
    ("granted where nothing was", |step| step.granted().is_some() && *step.stands == Stands::Nothing),
    ("granted over what is no slot", |step| {
        step.granted().is_some() && step.before.is_none() && *step.stands != Stands::Nothing
    }),
    ("granted with a stale copy", |step| {
        step.granted().and_then(|(_, kept)| kept).is_some_and(|kept| kept.fresh_until <= step.now)
    }),
    ("granted with a fresh copy, to renew it", |step| {
        step.granted().and_then(|(_, kept)| kept).is_some_and(|kept| kept.fresh_until > step.now)
    }),
    ("granted without the expired copy", |step| step.granted().is_some() && step.had_expired()),
    ("granted after a copy's last moment", |step| {
        step.granted().is_some() && step.copy().is_some_and(|kept| kept.expires_at == step.now)
    }),
    ("granted after all holds", |step| {
        step.granted().is_some() && matches!(step.before, Some(Slot::Held { .. }))
    }),
    ("granted after a back-off", |step| {
        step.granted().is_some() && step.lease().is_some_and(|(token, _)| token == Token::NOBODY)
    }),
    ("taken over", |step| step.granted().is_some_and(|(taken_over, _)| taken_over)),
    ("taken over with the copy", |step| {
        step.granted().is_some_and(|(taken_over, kept)| taken_over && kept.is_some())
    }),
    ("fresh", |step| matches!((step.reply, &step.before), (slot::Reply::Fresh(_), Some(Slot::Kept(_))))),
    (
        "fresh under another's lease",
        |step| matches!((step.reply, step.lease()), (slot::Reply::Fresh(_), Some((_, ends))) if ends > step.now),
    ),
    (
        "fresh under a lease that has ended",
        |step| matches!((step.reply, step.lease()), (slot::Reply::Fresh(_), Some((_, ends))) if ends <= step.now),
    ),
    ("busy", |step| matches!(step.reply, slot::Reply::Busy(_))),
    ("busy with a stale copy there", |step| {
        matches!(step.reply, slot::Reply::Busy(_)) && step.copy().is_some() && !step.had_expired()
    }),
    ("busy for a back-off", |step| {
        matches!(step.reply, slot::Reply::Busy(_))
            && step.lease().is_some_and(|lease| lease.0 == Token::NOBODY)
    }),
    ("held by writers", |step| *step.reply == slot::Reply::Held && step.hold_off().is_none()),
    ("held by a hold-off alone", |step| {
        *step.reply == slot::Reply::Held && step.hold_off().is_some() && step.holds().len() == 1
    }),
    ("held by some, and others had run out", |step| {
        let all = if let Some(Slot::Held { holds, .. }) = &step.before { holds.len() } else { 0 };
        *step.reply == slot::Reply::Held && step.holds().len() < all
    }),
    ("filled", |step| step.is("fill", &slot::Reply::Stored) && !step.is_emptied()),
    ("filled by a late load", |step| {
        step.is("fill", &slot::Reply::Stored) && step.lease().is_some_and(|(_, ends)| ends <= step.now)
    }),
    ("filled, no younger than the lease", |step| match (&step.command, &step.before) {
        (Command::Fill { life, .. }, Some(Slot::Leased { granted, .. })) => {
            *step.reply == slot::Reply::Stored && !step.is_emptied() && life.as_of > *granted
        }
        _ => false,
    }),
    ("filled, older than the lease", |step| match (&step.command, &step.before) {
        (Command::Fill { life, .. }, Some(Slot::Leased { granted, .. })) => {
            *step.reply == slot::Reply::Stored && !step.is_emptied() && life.as_of < *granted
        }
        _ => false,
    }),
    ("filled for ever", |step| {
        step.is("fill", &slot::Reply::Stored) && matches!(step.effect, Effect::Written(_, LAST))
    }),
    ("filled with what had ended", |step| step.is("fill", &slot::Reply::Stored) && step.is_emptied()),
    ("a fill refused: nothing there", |step| step.is("fill", &slot::Reply::Refused) && step.before.is_none()),
    ("a fill refused: another's lease", |step| {
        step.is("fill", &slot::Reply::Refused) && step.lease().is_some()
    }),
    ("a fill refused: a copy there", |step| {
        step.is("fill", &slot::Reply::Refused) && matches!(step.before, Some(Slot::Kept(_)))
    }),
    ("a fill refused: a hold", |step| step.is("fill", &slot::Reply::Refused) && !step.holds().is_empty()),
    ("renewed without a copy", |step| step.is("renew", &slot::Reply::Done) && step.copy().is_none()),
    ("renewed with a copy", |step| {
        step.is("renew", &slot::Reply::Done) && step.copy().is_some() && !step.had_expired()
    }),
    ("renewed with an expired copy", |step| step.is("renew", &slot::Reply::Done) && step.had_expired()),
    ("a renewal lost", |step| step.is("renew", &slot::Reply::Lost)),
    ("abandoned with back-off", |step| step.is("abandon", &slot::Reply::Done) && !step.is_emptied()),
    ("abandoned without a copy", |step| step.is("abandon", &slot::Reply::Done) && step.copy().is_none()),
    ("abandoned with an expired copy", |step| step.is("abandon", &slot::Reply::Done) && step.had_expired()),
    ("an abandoning lost", |step| step.is("abandon", &slot::Reply::Lost)),
    ("a copy invalidated", |step| step.script() == "invalidate" && step.copy().is_some()),
    ("a lease invalidated", |step| step.script() == "invalidate" && step.lease().is_some()),
    ("a hold spoilt by an invalidation", |step| step.script() == "invalidate" && step.spoils()),
    ("invalidated to nothing", |step| step.script() == "invalidate" && step.is_emptied()),
    ("a hold-off begun", |step| step.held_off().is_some() && step.hold_off().is_none()),
    (
        "a hold-off made longer",
        |step| matches!((step.hold_off(), step.held_off()), (Some(before), Some(asked)) if before < asked),
    ),
    (
        "a hold-off kept, the longer",
        |step| matches!((step.hold_off(), step.held_off()), (Some(before), Some(asked)) if before > asked),
    ),
    ("a hold over nothing", |step| step.is("hold", &slot::Reply::Done) && step.before.is_none()),
    ("a hold over a copy", |step| step.is("hold", &slot::Reply::Done) && step.copy().is_some()),
    ("a hold over a lease", |step| step.is("hold", &slot::Reply::Done) && step.lease().is_some()),
    ("a hold after others had run out", |step| {
        step.is("hold", &slot::Reply::Done)
            && step.holds().is_empty()
            && matches!(step.before, Some(Slot::Held { contended: true, .. }))
    }),
    ("a hold prolonged", |step| step.is("hold", &slot::Reply::Done) && !step.holds().is_empty()),
    ("a hold contended", |step| step.is("hold", &slot::Reply::Contended) && step.spoils()),
    ("a hold contended already", |step| step.is("hold", &slot::Reply::Contended) && step.was_contended()),
    ("a sole hold released", |step| {
        step.is("release", &slot::Reply::Done) && !step.was_contended() && step.is_emptied()
    }),
    ("a sole hold released to a hold-off", |step| {
        step.is("release", &slot::Reply::Done) && !step.was_contended() && !step.is_emptied()
    }),
    ("a contended hold released", |step| step.is("release", &slot::Reply::Done) && step.was_contended()),
    ("a lost hold released", |step| step.is("release", &slot::Reply::Lost)),
    ("a lost hold released over a copy", |step| {
        step.is("release", &slot::Reply::Lost) && step.copy().is_some()
    }),
    ("a lost hold, released, spoils others", |step| step.is("release", &slot::Reply::Lost) && step.spoils()),
    ("published", |step| step.is("publish", &slot::Reply::Stored) && !step.is_emptied()),
    ("published for ever", |step| {
        step.is("publish", &slot::Reply::Stored) && matches!(step.effect, Effect::Written(_, LAST))
    }),
    ("published what had ended", |step| step.is("publish", &slot::Reply::Stored) && step.is_emptied()),
    ("a publishing refused", |step| step.is("publish", &slot::Reply::Refused)),
    ("a publishing refused, others still at it", |step| {
        step.is("publish", &slot::Reply::Refused) && step.holds().len() > 1
    }),
    ("a publishing lost", |step| step.is("publish", &slot::Reply::Lost)),
    ("a publishing lost over a copy", |step| step.is("publish", &slot::Reply::Lost) && step.copy().is_some()),
    ("a publishing lost, and others spoilt", |step| step.is("publish", &slot::Reply::Lost) && step.spoils()),
];

/// What must have happened between commands, each of it often.
const BETWEEN: [&str; 5] = [
    "forgotten at its end",
    "evicted",
    "another type put there",
    "other bytes put there",
    "a slot tampered with, and still one",
];

/// How often each case came up.
#[derive(Default)]
struct Seen(BTreeMap<&'static str, u64>);

impl Seen {
    fn mark(&mut self, step: &Step<'_, '_>) {
        for (name, holds) in CASES {
            if holds(step) {
                self.count(name);
            }
        }
    }

    fn count(&mut self, name: &'static str) {
        *self.0.entry(name).or_default() += 1;
    }

    fn cases(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let names = CASES.iter().map(|(name, _)| *name).chain(BETWEEN);
        names.map(|name| (name, self.0.get(name).copied().unwrap_or_default()))
    }

    fn print(&self) {
        self.cases().for_each(|(name, count)| println!("coverage: {count:>6} {name}"));
    }

    fn rare(&self) -> Vec<(&'static str, u64)> {
        self.cases().filter(|(_, count)| *count < ENOUGH).collect()
    }
}
