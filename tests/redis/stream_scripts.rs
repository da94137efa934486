//! The scripts of a stream do what `StreamShard` does: random commands to a real server, each with the time at which it is
//! to happen, and after every one the same reply and the same bytes.
//!
//! What else is tested of a journal that many write to is tested of the shard. It holds of a Redis only as far as the Lua
//! says the same.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::time::Instant;

use crate::support::redis_server::RedisServer;
use crate::support::resp::{Connection, PATIENCE, Reply};
use fastrand::Rng;
use larder::stream::{
    Append, Appended, Collect, Collected, Entry, Limits, Met, Micros, Number, Standing, StreamShard,
};
use larder::tier::redis::stream_scripts_with_time_as_argument;

/// Independent shards: what one round asks of all of them is one round trip.
const SHARDS: u64 = 200;
const ROUNDS: u64 = 500;
/// How often every case must have come up, or the commands were not random enough to mean anything.
const ENOUGH: u64 = 20;
/// Reproduces a run: the seed that a failure prints.
const SEED: &str = "LARDER_TEST_SEED";
/// What keys are called.
const KEYS: [&[u8]; 2] = [b"a", b"b:{1}\r\n\xff"];

type Request = Vec<Vec<u8>>;

#[tokio::test]
async fn the_scripts_do_what_the_shard_does() {
    let Some(server) = RedisServer::start_one_or_skip("the_scripts_do_what_the_shard_does").await else {
        return;
    };
    let seed = std::env::var(SEED).map_or_else(|_| fastrand::u64(..), |seed| seed.parse().expect("a number"));
    let (seen, address, start) = (Seen::default(), server.address(), Instant::now());
    let seen = crate::support::aside(move || run(address, seed, seen)).await;
    seen.print();
    println!("coverage: {} commands in {:.1?}, seed {seed}", SHARDS * ROUNDS, start.elapsed());
    let rare = seen.rare();
    assert!(rare.is_empty(), "hardly ever tried, with seed {seed}: {rare:?}");
}

fn run(address: SocketAddr, seed: u64, mut seen: Seen) -> Seen {
    let mut connection = Connection::open(address, PATIENCE).expect("the server runs");
    let scripts = Scripts::load(&mut connection);
    let mut dice = Rng::with_seed(seed);
    let mut shards: Vec<Shard> = (0..SHARDS).map(|number| Shard::new(number, dice.fork())).collect();
    for _ in 0..ROUNDS {
        let turns: Vec<Turn> = shards.iter_mut().map(|shard| shard.turn(&scripts, &mut seen)).collect();
        let requests: Vec<Request> = turns.iter().flat_map(|turn| turn.requests.clone()).collect();
        let mut replies = connection.ask_all(&requests).expect("the server answers").into_iter();
        for (shard, turn) in shards.iter().zip(&turns) {
            let answers: Vec<Reply> = replies.by_ref().take(turn.requests.len()).collect();
            shard.compare(turn, &answers, seed);
        }
    }
    seen
}

/// What can be asked of a shard.
#[derive(Clone, Debug)]
enum Command {
    Append(Append),
    Collect(Collect),
    Look(u64, Number),
    Read(u32, &'static [u8]),
}

/// What it answers.
#[derive(Clone, Debug, PartialEq)]
enum Answer {
    Append(Appended),
    Collect(Collected),
    Look(Standing),
    Read(Option<Vec<(u64, Vec<u8>)>>),
}

fn step(shard: &mut StreamShard, command: Command, now: Micros) -> Answer {
    match command {
        Command::Append(append) => Answer::Append(shard.append(append, now)),
        Command::Collect(collect) => Answer::Collect(shard.collect(collect, now)),
        Command::Look(want, number) => Answer::Look(shard.look(want, number, now)),
        Command::Read(life, key) => Answer::Read(shard.read(life, key)),
    }
}

/// The name under which the server knows each script.
struct Scripts(BTreeMap<&'static str, Vec<u8>>);

impl Scripts {
    fn load(connection: &mut Connection) -> Self {
        let load = |(name, source): (_, String)| match connection.ask(&["SCRIPT", "LOAD", &source]) {
            Ok(Reply::Bulk(Some(hash))) => (name, hash),
            other => panic!("{name}: {other:?}"),
        };
        Self(stream_scripts_with_time_as_argument().into_iter().map(load).collect())
    }

    fn call(&self, prefix: &str, command: &Command, now: Micros) -> Request {
        let (name, arguments) = spelled(command);
        let mut keys: Vec<Vec<u8>> = ["meta", "log"].map(|name| [prefix, name].concat().into_bytes()).into();
        keys.extend(command.key().map(|key| [prefix.as_bytes(), b"p:", key].concat()));
        let mut request = vec![b"EVALSHA".to_vec(), self.0[name].clone(), digits(keys.len() as u64)];
        request.extend(keys);
        request.extend(arguments);
        request.push(digits(now));
        request
    }
}

impl Command {
    /// The key that it is about, if it is about one.
    fn key(&self) -> Option<&[u8]> {
        match self {
            Self::Append(append) => Some(&append.entry.key),
            Self::Read(_, key) => Some(key),
            Self::Collect(_) | Self::Look(..) => None,
        }
    }
}

/// A command's script and its arguments.
fn spelled(command: &Command) -> (&'static str, Vec<Vec<u8>>) {
    match command {
        Command::Append(Append { life, seen, replaces, entry, limits }) => {
            let Limits { writes, bytes, age } = *limits;
            let mut arguments = vec![digits(u64::from(*life)), digits(*seen), digits(u64::from(*replaces))];
            arguments.extend([entry.key.clone(), entry.record.clone()]);
            arguments.extend([writes, bytes, age].map(digits));
            ("append", arguments)
        }
        Command::Collect(Collect { life, epoch, offset, most, delay }) => {
            ("collect", [u64::from(*life), *epoch, *offset, *most as u64, *delay].map(digits).into())
        }
        Command::Look(want, Number { seq, life }) => {
            ("look", vec![digits(*want), digits(u64::from(*life)), digits(*seq)])
        }
        Command::Read(life, key) => ("read", vec![digits(u64::from(*life)), key.to_vec()]),
    }
}

/// What a script answers where the shard answers `answer`.
fn answered(answer: &Answer) -> Reply {
    let word = |word: &str, more: Vec<Reply>| Reply::Array([vec![Reply::bulk(word)], more].concat());
    let text = |number: u64| Reply::bulk(digits(number));
    let met = |Met { lost_its_end, moved, boundary }: &Met| {
        Reply::Array(vec![Reply::Int(i64::from(*lost_its_end)), whole(*moved), text(*boundary)])
    };
    match answer {
        Answer::Append(Appended::Full) => word("full", vec![]),
        Answer::Append(Appended::At { seq, boundary, writes }) => {
            word("at", vec![text(*seq), text(*boundary), whole(*writes)])
        }
        Answer::Collect(Collected::Superseded) => word("superseded", vec![]),
        Answer::Collect(Collected::Behind(floor)) => word("behind", vec![text(*floor)]),
        Answer::Collect(Collected::Nothing(found)) => word("nothing", vec![met(found)]),
        Answer::Collect(Collected::Later(found, wait)) => word("later", vec![met(found), text(*wait)]),
        Answer::Collect(Collected::Due(found, batch)) => {
            let doubt = |given: &larder::stream::Given| text(u64::from(given.is_doubtful));
            let given =
                batch.iter().flat_map(|given| [text(given.seq), Reply::bulk(&given.record), doubt(given)]);
            word("due", vec![met(found), Reply::Array(given.collect())])
        }
        Answer::Look(Standing { last, floor, writes, bytes, age, is_kept }) => {
            let numbers = [text(*last), text(*floor), whole(*writes), text(*bytes), text(*age)];
            Reply::Array([&numbers[..], &[whole(u64::from(*is_kept))]].concat())
        }
        Answer::Read(None) => word("unmet", vec![]),
        Answer::Read(Some(waiting)) => {
            let waiting = waiting.iter().flat_map(|(seq, record)| [text(*seq), Reply::bulk(record)]);
            word("met", vec![Reply::Array(waiting.collect())])
        }
    }
}

fn digits(number: u64) -> Vec<u8> {
    number.to_string().into_bytes()
}

fn whole(number: u64) -> Reply {
    Reply::Int(i64::try_from(number).expect("not that many"))
}

// --- one shard ---

/// A shard as it must be, the time there, and what was done to it last.
struct Shard {
    prefix: String,
    dice: Rng,
    now: Micros,
    shard: StreamShard,
    /// What another server has of it, in case.
    replica: StreamShard,
    life: u32,
    history: VecDeque<Event>,
}

/// What happened to a shard.
enum Event {
    Asked(Micros, Command, Answer),
    Other(&'static str, Micros),
}

/// One command: what is sent for it, and what must come back.
struct Turn {
    requests: Vec<Request>,
    reply: Reply,
    stands: Vec<Reply>,
}

impl Shard {
    fn new(number: u64, mut dice: Rng) -> Self {
        Self {
            prefix: format!("journal:{{{number}}}:"),
            now: 1_700_000_000_000_000 + dice.u64(..1_000),
            dice,
            shard: StreamShard::default(),
            replica: StreamShard::default(),
            life: 1,
            history: VecDeque::new(),
        }
    }

    fn turn(&mut self, scripts: &Scripts, seen: &mut Seen) -> Turn {
        let mut requests = self.meanwhile(seen);
        let command = self.draw();
        requests.push(scripts.call(&self.prefix, &command, self.now));
        requests.push(vec![b"HGETALL".to_vec(), self.name("meta")]);
        requests.push([&b"XRANGE"[..], &self.name("log"), b"-", b"+"].map(<[u8]>::to_vec).into());
        requests
            .extend(self.lists().map(|name| vec![b"LRANGE".to_vec(), name, b"0".to_vec(), b"-1".to_vec()]));
        let before = self.shard.clone();
        let answer = step(&mut self.shard, command.clone(), self.now);
        seen.mark(&Step {
            before: &before,
            now: self.now,
            command: &command,
            answer: &answer,
            after: &self.shard,
        });
        let reply = answered(&answer);
        self.note(Event::Asked(self.now, command, answer));
        Turn { requests, reply, stands: self.stands() }
    }

    fn name(&self, what: &str) -> Vec<u8> {
        format!("{}{what}", self.prefix).into_bytes()
    }

    fn pending(&self, key: &[u8]) -> Vec<u8> {
        [self.name("p:").as_slice(), key].concat()
    }

    fn lists(&self) -> impl Iterator<Item = Vec<u8>> + use<> {
        KEYS.map(|key| self.pending(key)).into_iter()
    }

    /// What the server must have: how the shard stands, its entries, and what counts of each key.
    fn stands(&self) -> Vec<Reply> {
        let shard = &self.shard;
        let entry = |(seq, Entry { key, record, is_doubtful }): (&u64, &Entry)| {
            let doubt = digits(u64::from(*is_doubtful));
            let fields = [b"k".to_vec(), key.clone(), b"r".to_vec(), record.clone(), b"d".to_vec(), doubt];
            Reply::Array(vec![Reply::bulk(format!("{seq}-0")), Reply::Array(fields.map(Reply::bulk).into())])
        };
        let meta = shard.life.map_or(Vec::new(), |life| {
            let ends: Vec<_> = shard.ends.iter().map(|(life, last)| format!("{life}:{last}")).collect();
            vec![
                ("boundary", digits(shard.boundary)),
                ("bytes", digits(shard.bytes)),
                ("ends", ends.join(" ").into_bytes()),
                ("epoch", digits(shard.epoch)),
                ("floor", digits(shard.floor)),
                ("last", digits(shard.last)),
                ("life", digits(u64::from(life))),
                ("met", digits(u64::from(shard.met))),
                ("met_upto", digits(shard.met_upto)),
                ("moved_above", digits(shard.moved.0)),
                ("moved_upto", digits(shard.moved.1)),
                ("wanted", digits(shard.wanted)),
            ]
        });
        let meta = meta.into_iter().flat_map(|(name, value)| [Reply::bulk(name), Reply::bulk(value)]);
        let pending = |key: &&[u8]| {
            let waiting = shard.pending.get(*key).into_iter().flatten();
            Reply::Array(waiting.map(|seq| Reply::bulk(digits(*seq))).collect())
        };
        let log = Reply::Array(shard.entries.iter().map(entry).collect());
        [Reply::Array(meta.collect()), log].into_iter().chain(KEYS.iter().map(pending)).collect()
    }

    fn compare(&self, turn: &Turn, answers: &[Reply], seed: u64) {
        let [reply, meta, stands @ ..] = &answers[answers.len() - turn.stands.len() - 1..] else {
            unreachable!("all is asked for")
        };
        let stands = [&[in_order(meta)], stands].concat();
        assert!(
            *reply == turn.reply && stands == turn.stands,
            "{} of the run with {SEED}={seed}\n{}\n\nthe shard: {}, then {}\nthe script: {}, then {}",
            self.prefix,
            self.history.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
            plain(&turn.reply),
            plain(&Reply::Array(turn.stands.clone())),
            plain(reply),
            plain(&Reply::Array(stands)),
        );
    }

    fn note(&mut self, event: Event) {
        self.history.push_back(event);
        if self.history.len() > 30 {
            self.history.pop_front();
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked(now, command, answer) => write!(f, "at {now}: {command:?}\n    {answer:?}"),
            Self::Other(what, now) => write!(f, "at {now}: {what}"),
        }
    }
}

/// A server gives the fields of a hash in any order.
fn in_order(hash: &Reply) -> Reply {
    let Reply::Array(parts) = hash else { return hash.clone() };
    let mut fields: Vec<_> = parts.chunks(2).map(<[Reply]>::to_vec).collect();
    fields.sort_by_key(|field| field[0].text());
    Reply::Array(fields.concat())
}

fn plain(reply: &Reply) -> String {
    match reply {
        Reply::Bulk(Some(bytes)) => format!("\"{}\"", bytes.escape_ascii()),
        Reply::Array(parts) => format!("[{}]", parts.iter().map(plain).collect::<Vec<_>>().join(" ")),
        other => format!("{other:?}"),
    }
}

// --- what happens at random ---

impl Shard {
    /// Time passes; another server gets to know all that this one has, or takes over with what it knows.
    fn meanwhile(&mut self, seen: &mut Seen) -> Vec<Request> {
        self.now += [0, 0, 1, 2, 10, self.dice.u64(..100)][self.dice.usize(..6)];
        match self.dice.u32(..24) {
            0 | 1 => {
                self.replica = self.shard.clone();
                self.note(Event::Other("replicated", self.now));
                self.copies("", "copy:")
            }
            2 => {
                let what = if self.shard == self.replica { "taken over, nothing lost" } else { "taken over" };
                seen.count(what);
                self.shard = self.replica.clone();
                self.life += 1;
                if self.dice.bool() {
                    self.now -= self.dice.u64(..200);
                }
                self.note(Event::Other(what, self.now));
                self.copies("copy:", "")
            }
            3 if self.dice.u8(..8) == 0 => {
                seen.count("lost altogether");
                (self.shard, self.replica) = Default::default();
                self.note(Event::Other("lost altogether", self.now));
                let names: Vec<_> =
                    self.names().chain(self.names().map(|name| [b"copy:", &name[..]].concat())).collect();
                vec![[vec![b"DEL".to_vec()], names].concat()]
            }
            _ => Vec::new(),
        }
    }

    fn names(&self) -> impl Iterator<Item = Vec<u8>> + use<> {
        self.lists().chain([self.name("meta"), self.name("log")])
    }

    fn copies(&self, from: &str, to: &str) -> Vec<Request> {
        let copied = self.names().flat_map(|name| {
            let [from, to] = [from, to].map(|prefix| [prefix.as_bytes(), &name].concat());
            [vec![b"DEL".to_vec(), to.clone()], vec![b"COPY".to_vec(), from, to]]
        });
        copied.collect()
    }

    fn draw(&mut self) -> Command {
        let key = KEYS[usize::from(self.dice.u8(..3) == 0)];
        match self.dice.u32(..16) {
            0..6 => Command::Append(self.append(key)),
            6..12 => Command::Collect(self.collect()),
            12 | 13 => Command::Look(self.number(), self.asked()),
            _ => Command::Read(self.life_there(), key),
        }
    }

    fn append(&mut self, key: &[u8]) -> Append {
        let record: Vec<u8> = (0..self.dice.usize(..6)).map(|_| self.dice.u8(..)).collect();
        let none = Limits::default();
        let limits = match self.dice.u32(..8) {
            0 => Limits { writes: self.dice.u64(1..5), ..none },
            1 => Limits { bytes: self.dice.u64(1..9), ..none },
            2 => Limits { age: self.dice.u64(1..60), ..none },
            _ => none,
        };
        let seen = if self.dice.u8(..4) == 0 { self.number() } else { 0 };
        let entry = Entry { key: key.to_vec(), record, is_doubtful: false };
        Append { life: self.life_there(), seen, replaces: self.dice.bool(), entry, limits }
    }

    fn collect(&mut self) -> Collect {
        let epoch = match self.dice.u32(..12) {
            0 => self.shard.epoch.saturating_sub(1),
            1..4 => self.shard.epoch + 1,
            _ => self.shard.epoch.max(1),
        };
        let offset = match self.dice.u32(..8) {
            // Who is new may come with the offset of another's numbers.
            0..5 if epoch > self.shard.epoch => self.number(),
            0 => self.number(),
            1..4 => self.shard.floor,
            _ => self.dice.choice(self.shard.entries.keys()).copied().unwrap_or(self.shard.floor),
        };
        let delay = if self.dice.bool() { 0 } else { self.dice.u64(..80) };
        Collect { life: self.life_there(), epoch, offset, most: self.dice.usize(1..6), delay }
    }

    /// Mostly that of the server, and sometimes one that was before.
    fn life_there(&mut self) -> u32 {
        if self.dice.u8(..32) == 0 { self.dice.u32(1..=self.life) } else { self.life }
    }

    /// The number of a write that somebody asks about, or none.
    fn asked(&mut self) -> Number {
        match self.dice.u8(..4) {
            0 => Number::default(),
            1 => Number { seq: self.number(), life: self.life_there() },
            _ => Number { seq: self.number(), life: self.dice.u32(1..=self.life) },
        }
    }

    /// Somewhere about what is there.
    fn number(&mut self) -> u64 {
        let last = self.shard.last;
        match self.dice.u32(..6) {
            0 => 0,
            1 => last + self.dice.u64(1..20),
            2 => self.now,
            3 => self.shard.floor.saturating_sub(self.dice.u64(..3)),
            _ => last.saturating_sub(self.dice.u64(..40)),
        }
    }
}

// --- what came up ---

/// A step, to be looked at.
struct Step<'a> {
    before: &'a StreamShard,
    now: Micros,
    command: &'a Command,
    answer: &'a Answer,
    after: &'a StreamShard,
}

impl Step<'_> {
    fn appended(&self) -> Option<(&Append, u64)> {
        match (self.command, self.answer) {
            (Command::Append(append), Answer::Append(Appended::At { seq, .. })) => Some((append, *seq)),
            _ => None,
        }
    }

    fn full(&self) -> Option<Limits> {
        match (self.command, self.answer) {
            (Command::Append(append), Answer::Append(Appended::Full)) => Some(append.limits),
            _ => None,
        }
    }

    fn collect(&self) -> Option<&Collect> {
        match self.command {
            Command::Collect(collect) => Some(collect),
            _ => None,
        }
    }

    /// What an owner found, and what it was given.
    fn met(&self) -> Option<(&Collect, Met)> {
        let Answer::Collect(Collected::Nothing(met) | Collected::Later(met, _) | Collected::Due(met, _)) =
            self.answer
        else {
            return None;
        };
        Some((self.collect()?, *met))
    }

    fn due(&self) -> Option<(&Collect, u64)> {
        let oldest = *self.after.entries.keys().next()?;
        matches!(self.answer, Answer::Collect(Collected::Due(..))).then_some((self.collect()?, oldest))
    }

    /// An owner meets the server for the first time in its life.
    fn meets(&self) -> Option<(&Collect, Met)> {
        self.met().filter(|(collect, _)| !self.before.met || self.before.life != Some(collect.life))
    }

    /// An owner comes to a server that was met in this life, with the offset of another's numbers.
    fn is_foreign(&self) -> Option<(&Collect, Met)> {
        self.met().filter(|(collect, _)| {
            let before = self.before;
            self.meets().is_none()
                && collect.epoch > before.epoch
                && collect.offset > before.floor
                && !before.entries.contains_key(&collect.offset)
        })
    }

    /// How many became doubtful.
    fn doubts(&self) -> usize {
        let count = |shard: &StreamShard| shard.entries.values().filter(|entry| entry.is_doubtful).count();
        count(self.after).saturating_sub(count(self.before))
    }

    fn waiting(&self, shard: &StreamShard) -> usize {
        shard.pending.values().map(Vec::len).sum()
    }

    /// Which write was asked about, and whether it is kept.
    fn asked(&self) -> Option<(Number, bool)> {
        match (self.command, self.answer) {
            (Command::Look(_, number), Answer::Look(standing)) if number.seq > 0 => {
                Some((*number, standing.is_kept))
            }
            _ => None,
        }
    }

    /// The last number of an earlier life.
    fn end_of(&self, life: u32) -> Option<u64> {
        let is_it = |(ended, _): &&(u32, u64)| *ended == life;
        self.before.ends.iter().find(is_it).map(|(_, last)| *last)
    }

    fn notes_a_life(&self) -> bool {
        self.before.life != self.after.life
    }
}

type Case = (&'static str, fn(&Step<'_>) -> bool);

/// What must have come up, each of it often.
const CASES: &[Case] = &[
    ("appended at the time", |step| step.appended().is_some_and(|(_, seq)| seq == step.now)),
    ("appended after the last", |step| {
        step.appended().is_some_and(|(_, seq)| seq > step.now && seq == step.before.last + 1)
    }),
    ("appended after what the writer has seen", |step| {
        step.appended().is_some_and(|(append, seq)| seq > step.before.last + 1 && seq == append.seen + 1)
    }),
    ("appended alone, whatever the limits", |step| {
        step.before.entries.is_empty()
            && step.appended().is_some_and(|(append, _)| {
                append.limits.bytes > 0 && append.entry.record.len() as u64 > append.limits.bytes
            })
    }),
    ("appended in place of what waited", |step| {
        step.appended()
            .is_some_and(|(append, _)| append.replaces && step.before.pending.contains_key(&append.entry.key))
    }),
    ("appended to what waited", |step| {
        step.appended().is_some_and(|(append, _)| {
            !append.replaces && step.before.pending.contains_key(&append.entry.key)
        })
    }),
    ("too many", |step| step.full().is_some_and(|limits| limits.writes > 0)),
    ("too many bytes", |step| step.full().is_some_and(|limits| limits.bytes > 0)),
    ("too old", |step| step.full().is_some_and(|limits| limits.age > 0)),
    ("another life after one in which it was met", |step| step.notes_a_life() && step.before.met),
    ("another life after one in which it was not", |step| {
        step.notes_a_life() && !step.before.met && step.before.life.is_some()
    }),
    ("its first life", |step| step.notes_a_life() && step.before.life.is_none()),
    ("superseded", |step| *step.answer == Answer::Collect(Collected::Superseded)),
    ("behind", |step| matches!(step.answer, Answer::Collect(Collected::Behind(_)))),
    ("nothing", |step| matches!(step.answer, Answer::Collect(Collected::Nothing(_)))),
    ("later", |step| matches!(step.answer, Answer::Collect(Collected::Later(..)))),
    ("due in time", |step| {
        step.due().is_some_and(|(collect, oldest)| collect.delay > 0 && oldest + collect.delay <= step.now)
    }),
    ("due for its number", |step| {
        step.due().is_some_and(|(collect, oldest)| {
            oldest + collect.delay > step.now
                && oldest <= step.now
                && step.after.wanted < oldest
                && step.after.entries.len() >= collect.most
        })
    }),
    ("due because it is wanted", |step| {
        step.due().is_some_and(|(collect, oldest)| {
            oldest + collect.delay > step.now
                && oldest <= step.now
                && step.after.wanted >= oldest
                && step.after.entries.len() < collect.most
        })
    }),
    ("due as it is ahead of the clock", |step| {
        step.due().is_some_and(|(collect, oldest)| {
            oldest > step.now
                && collect.delay > 0
                && step.after.wanted < oldest
                && step.after.entries.len() < collect.most
        })
    }),
    ("more than is given out", |step| {
        step.due().is_some_and(|(collect, _)| step.after.entries.len() > collect.most)
    }),
    ("met for the first time", |step| step.meets().is_some_and(|(_, met)| met.moved == 0)),
    ("met without its end", |step| step.meets().is_some_and(|(_, met)| met.lost_its_end)),
    ("met, and all was moved that is not known to be done", |step| {
        step.meets().is_some_and(|(_, met)| met.moved > 0) && step.doubts() == 0
    }),
    ("met, and some is doubtful", |step| {
        step.doubts() > 0 && step.meets().is_some_and(|(_, met)| met.moved > step.doubts() as u64)
    }),
    ("met, and all that was moved is doubtful", |step| {
        step.doubts() > 0 && step.meets().is_some_and(|(_, met)| met.moved == step.doubts() as u64)
    }),
    ("a foreign offset, and nothing there", |step| step.is_foreign().is_some_and(|(_, met)| met.moved == 0)),
    ("a foreign offset, and some was moved", |step| step.is_foreign().is_some_and(|(_, met)| met.moved > 0)),
    ("a foreign offset, and some is doubtful", |step| step.is_foreign().is_some() && step.doubts() > 0),
    ("a foreign offset, and the end is lost", |step| {
        step.is_foreign().is_some_and(|(_, met)| met.lost_its_end)
    }),
    ("moved, and what waited with it", |step| {
        step.met().is_some_and(|(_, met)| met.moved > 0) && step.waiting(step.after) > 0
    }),
    ("moved, and less waits", |step| {
        step.doubts() > 0 && step.waiting(step.after) < step.waiting(step.before)
    }),
    ("another owner at the offset of the last one", |step| {
        step.met().is_some_and(|(collect, _)| {
            collect.epoch > step.before.epoch && step.before.entries.contains_key(&collect.offset)
        })
    }),
    ("forgotten, and something newer waits for the key", |step| {
        step.met().is_some_and(|(_, met)| met.moved == 0)
            && step.before.entries.values().next().is_some_and(|first| {
                step.after.entries.len() < step.before.entries.len()
                    && step.after.pending.contains_key(&first.key)
            })
    }),
    ("forgotten to the last", |step| step.after.entries.is_empty() && !step.before.entries.is_empty()),
    ("an offset above the last number", |step| {
        step.met().is_some_and(|(collect, _)| collect.offset > step.before.last)
    }),
    ("wanted", |step| step.after.wanted > step.before.wanted),
    ("wanted before", |step| {
        matches!(step.command, Command::Look(want, _) if *want > 0) && step.after.wanted == step.before.wanted
    }),
    ("looked at with nothing there", |step| {
        matches!(step.answer, Answer::Look(_)) && step.before.entries.is_empty()
    }),
    ("kept in this life", |step| {
        step.asked().is_some_and(|(number, is_kept)| is_kept && step.before.life == Some(number.life))
    }),
    ("kept of an earlier life", |step| {
        step.asked().is_some_and(|(number, is_kept)| is_kept && step.before.life != Some(number.life))
    }),
    ("lost with an earlier life", |step| {
        step.asked().is_some_and(|(number, is_kept)| {
            !is_kept && step.end_of(number.life).is_some_and(|last| last < number.seq)
        })
    }),
    ("of a life that is not known", |step| {
        step.asked().is_some_and(|(number, is_kept)| {
            !is_kept && step.before.life != Some(number.life) && step.end_of(number.life).is_none()
        })
    }),
    ("under another number by now", |step| {
        step.asked().is_some_and(|(Number { seq, life }, is_kept)| {
            let last =
                if step.before.life == Some(life) { Some(step.before.last) } else { step.end_of(life) };
            !is_kept && last.is_some_and(|last| seq <= last)
        })
    }),
    (
        "looked at by a clock that is behind",
        |step| matches!(step.answer, Answer::Look(standing) if standing.writes > 0 && standing.age == 0),
    ),
    ("read", |step| matches!(step.answer, Answer::Read(Some(waiting)) if waiting.len() == 1)),
    (
        "read, and more than one counts",
        |step| matches!(step.answer, Answer::Read(Some(waiting)) if waiting.len() > 1),
    ),
    ("read, and nothing waits", |step| {
        matches!(step.answer, Answer::Read(Some(waiting)) if waiting.is_empty()) && step.before.life.is_some()
    }),
    ("read before anything was", |step| {
        matches!(step.answer, Answer::Read(Some(_))) && step.before.life.is_none()
    }),
    ("read before it was met", |step| *step.answer == Answer::Read(None) && !step.before.met),
    ("read in a life of which it does not know", |step| {
        *step.answer == Answer::Read(None) && step.before.met
    }),
];

/// How often what came up.
#[derive(Default)]
struct Seen(BTreeMap<&'static str, u64>);

impl Seen {
    fn count(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    fn mark(&mut self, step: &Step<'_>) {
        CASES.iter().filter(|(_, is)| is(step)).for_each(|(name, _)| self.count(name));
    }

    fn names() -> impl Iterator<Item = &'static str> {
        ["taken over", "taken over, nothing lost", "lost altogether"]
            .into_iter()
            .chain(CASES.iter().map(|(name, _)| *name))
    }

    fn times(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    fn print(&self) {
        Self::names().for_each(|name| println!("coverage: {:>7} {name}", self.times(name)));
    }

    fn rare(&self) -> Vec<&'static str> {
        Self::names().filter(|name| self.times(name) < ENOUGH).collect()
    }
}
