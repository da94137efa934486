//! One Redis and one database, three processes that use them at a time, and the books of what was asked for.

use std::collections::HashMap;
use std::mem::take;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use crate::books::{Books, Findings};
use crate::counts::Counts;
use crate::database::Database;
use crate::job::{Guards, Job, Work};
use crate::marks::Marks;
use crate::notes::Note;
use crate::process::Process;
use crate::stores::COUNTERS;
use crate::support::redis_server::RedisServer;

/// How long anything may take before a test fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(60);
/// After so many rounds all is brought to the store, and compared.
const ROUNDS_BETWEEN: u64 = 20;
/// How often a long run says that it goes on.
const ROUNDS_BETWEEN_WORDS: u64 = 250;
const PROCESSES: usize = 3;

pub(crate) struct World {
    name: &'static str,
    database: Database,
    redis: RedisServer,
    guards: Guards,
    work: Work,
    lease: Duration,
    crew: Vec<Member>,
    /// How many processes have been started.
    starts: u64,
    /// Who has claimed each shard last, as far as was heard.
    owners: HashMap<u64, Owner>,
    pub(crate) books: Books,
    pub(crate) counts: Counts,
    /// What is wrong with the counters.
    pub(crate) miscounted: Findings,
    pub(crate) marks: Marks,
    /// How far the table of effects has been read.
    position: i64,
    pub(crate) began: Instant,
}

/// A process, and what is known of it from its notes.
struct Member {
    process: Process,
    start: u64,
    asked: u64,
    /// Answered or failed.
    ended: u64,
    answered: u64,
    brought: u64,
}

#[derive(Clone, Copy)]
struct Owner {
    start: u64,
    epoch: u64,
    has_left: bool,
    /// Batches that it has brought.
    brought: u64,
}

/// Who is struck, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blow {
    /// A process is killed, and another takes its place.
    Process,
    /// Redis is killed under all of them, and started again.
    Redis,
    /// The same with PostgreSQL.
    Postgres,
    /// A process is stopped for longer than its lease, and goes on.
    Zombie,
}

impl World {
    pub(crate) async fn new(
        name: &'static str,
        database: Database,
        redis: RedisServer,
        guards: Guards,
    ) -> Self {
        database.make(COUNTERS).await;
        Self {
            name,
            database,
            redis,
            guards,
            work: Work::Write,
            lease: Duration::from_millis(300),
            crew: Vec::new(),
            starts: 0,
            owners: HashMap::new(),
            books: Books::default(),
            counts: Counts::default(),
            miscounted: Findings::default(),
            marks: Marks::default(),
            position: 0,
            began: Instant::now(),
        }
    }

    /// The processes increment counters, too.
    pub(crate) fn counting(self) -> Self {
        Self { work: Work::Count, ..self }
    }

    pub(crate) fn lease(self, lease: Duration) -> Self {
        Self { lease, ..self }
    }

    /// Strikes in so many rounds, in one way after the other, or until `until` says that it is enough; it is asked when all
    /// is compared.
    pub(crate) async fn run(&mut self, rounds: u64, blows: &[Blow], until: impl Fn(&Self) -> bool) {
        while self.marks.rounds < rounds {
            while self.crew.len() < PROCESSES {
                self.start();
            }
            match blows[self.marks.rounds as usize % blows.len()] {
                Blow::Process => self.kill_process().await,
                Blow::Redis => self.kill_redis().await,
                Blow::Postgres => self.kill_postgres().await,
                Blow::Zombie => self.stop_for_a_while().await,
            }
            self.marks.rounds += 1;
            if self.marks.rounds.is_multiple_of(ROUNDS_BETWEEN_WORDS) {
                self.report("so far");
            }
            if self.marks.rounds.is_multiple_of(ROUNDS_BETWEEN) {
                self.compare().await;
                if until(self) {
                    break;
                }
            }
        }
        self.compare().await;
        // Once more as a whole: what was read bit by bit may have been read wrongly.
        let mut books = self.books.afresh();
        self.database.effects(0).await.0.into_iter().for_each(|effect| books.effect(effect));
        books.settle();
        self.books = books;
        self.report("at the end");
    }

    // --- blows ---

    /// Every second process is killed wherever it is, which may be before it has written anything.
    async fn kill_process(&mut self) {
        let victim = fastrand::usize(..self.crew.len());
        if self.marks.rounds.is_multiple_of(2) {
            self.listen_until("an answer", |world| world.crew[victim].answered > 0);
        }
        self.listen(random_time(60));
        self.crew[victim].process.kill();
        self.look_what_waits().await;
        self.marks.kills[0] += 1;
        let mut victim = self.crew.swap_remove(victim);
        self.hear_the_last_of(&mut victim);
        self.marks.unanswered += u64::from(victim.asked > victim.ended);
    }

    async fn kill_redis(&mut self) {
        self.listen_until_all_work();
        self.listen(random_time(30));
        self.redis.kill();
        self.marks.kills[1] += 1;
        self.note_unanswered();
        self.look_what_waits().await;
        self.listen(random_time(10));
        self.redis.start_again().await;
    }

    async fn kill_postgres(&mut self) {
        self.listen_until_all_work();
        self.listen(random_time(30));
        self.look_what_waits().await;
        self.database.server().kill().await;
        self.marks.kills[2] += 1;
        self.note_unanswered();
        self.listen(random_time(10));
        self.database.server().start_again().await;
    }

    /// Stops an owner until others have brought batches of a shard of its, or as long as it takes to see that they cannot:
    /// it may have been stopped with the database in its hands.
    async fn stop_for_a_while(&mut self) {
        self.listen_until("an owner that brings batches", |world| !world.at_work().is_empty());
        self.listen(random_time(20));
        self.listen_until("an owner that brings batches", |world| !world.at_work().is_empty());
        let zombie = fastrand::choice(self.at_work()).expect("there are some");
        let place = self.crew.iter().position(|member| member.start == zombie).expect("it is one of them");
        self.crew[place].process.freeze();
        self.marks.stopped += 1;
        self.note_unanswered();
        let had: Vec<u64> =
            self.owners.iter().filter(|(_, owner)| owner.start == zombie).map(|(shard, _)| *shard).collect();
        let is_taken = |world: &Self| {
            had.iter().any(|shard| {
                let owner = world.owners[shard];
                owner.start != zombie && owner.brought > 1
            })
        };
        let until = Instant::now() + self.lease * 3;
        while Instant::now() < until && !is_taken(self) {
            self.listen(Duration::from_millis(2));
        }
        self.listen(random_time(20));
        self.look_what_waits().await;
        self.marks.zombies += u64::from(is_taken(self));
        self.crew[place].process.thaw();
        self.listen(random_time(30));
    }

    /// The processes that live and bring batches of a shard that they own.
    fn at_work(&self) -> Vec<u64> {
        let lives = |owner: &&Owner| self.crew.iter().any(|member| member.start == owner.start);
        self.owners
            .values()
            .filter(|owner| owner.is_at_work())
            .filter(lives)
            .map(|owner| owner.start)
            .collect()
    }

    // --- processes ---

    fn start(&mut self) {
        let member = self.hire(self.work);
        self.crew.push(member);
    }

    fn hire(&mut self, work: Work) -> Member {
        self.starts += 1;
        let process = Process::start(&Job {
            place: self.database.place(),
            redis: self.redis.url_of_default_user(),
            guards: self.guards,
            work,
            start: self.starts,
            lease: self.lease,
        });
        Member { process, start: self.starts, asked: 0, ended: 0, answered: 0, brought: 0 }
    }

    /// Ends all processes, in one way or another, has all that waits brought to the store, and compares.
    async fn compare(&mut self) {
        let mut crew = take(&mut self.crew);
        let are_told = fastrand::bool();
        if are_told {
            crew.iter_mut().for_each(|member| member.process.tell("close"));
        } else {
            crew.iter_mut().for_each(|member| member.process.kill());
        }
        crew.iter_mut().for_each(|member| self.hear_the_last_of(member));
        let mut drain = self.hire(Work::Drain);
        drain.process.tell("close");
        self.hear_the_last_of(&mut drain);
        self.owners.clear();
        let (effects, position) = self.database.effects(self.position).await;
        self.position = position;
        effects.into_iter().for_each(|effect| self.books.effect(effect));
        self.books.settle();
        let counters = self.database.pairs("SELECT id, number FROM counters").await;
        self.miscounted = self.counts.compare(counters);
    }

    // --- what they say ---

    fn listen(&mut self, time: Duration) {
        let until = Instant::now() + time;
        loop {
            let mut crew = take(&mut self.crew);
            for member in &mut crew {
                while let Ok(note) = member.process.next(Duration::ZERO) {
                    self.hear(member, note);
                }
            }
            self.crew = crew;
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(Duration::from_millis(1)));
        }
    }

    fn listen_until(&mut self, what: &str, is_it: impl Fn(&Self) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !is_it(self) {
            assert!(Instant::now() < until, "{}: {what} does not come", self.name);
            self.listen(Duration::from_millis(1));
        }
    }

    /// Until each process has heard of both servers or of one of them, and there was an answer and a batch. Not an answer to
    /// each: where the stream is full, it may be others who get the room.
    fn listen_until_all_work(&mut self) {
        self.listen(Duration::ZERO);
        for member in &mut self.crew {
            (member.answered, member.brought) = (0, 0);
        }
        self.listen_until("an answer, a batch, and a sign of each", |world| {
            let (answered, brought) = (|it: &Member| it.answered > 0, |it: &Member| it.brought > 0);
            let crew = &world.crew;
            crew.iter().any(answered)
                && crew.iter().any(brought)
                && crew.iter().all(|it| answered(it) || brought(it))
        });
    }

    fn hear_the_last_of(&mut self, member: &mut Member) {
        loop {
            match member.process.next(PATIENCE) {
                Ok(note) => self.hear(member, note),
                Err(RecvTimeoutError::Disconnected) => return member.process.kill(),
                Err(RecvTimeoutError::Timeout) => panic!("{}: a process has hung", self.name),
            }
        }
    }

    fn hear(&mut self, member: &mut Member, note: Note) {
        match note {
            Note::Asked { key, operation } => {
                member.asked += 1;
                self.books.asked(key, operation);
            }
            Note::Answered { operation } => {
                member.ended += 1;
                member.answered += 1;
                self.books.answered(operation);
            }
            Note::Unanswered { .. } => member.ended += 1,
            Note::Counting { operation } => self.counts.asked(operation),
            Note::Counted { operation } => self.counts.answered(operation),
            Note::Claimed { shard, epoch } => self.note_claim(shard, epoch, member.start),
            Note::Released { shard } => {
                if let Some(owner) = self.owners.get_mut(&shard).filter(|owner| owner.start == member.start) {
                    owner.has_left = true;
                }
            }
            Note::Brought { shard, epoch } => {
                member.brought += 1;
                if let Some(owner) = self.owners.get_mut(&shard).filter(|owner| owner.epoch == epoch) {
                    owner.brought += 1;
                }
            }
            Note::Refused { .. } => self.marks.refused += 1,
            Note::Regressed => self.marks.regressed += 1,
            Note::Failed { why } => panic!("{}: {why}", self.name),
            _ => {}
        }
    }

    fn note_claim(&mut self, shard: u64, epoch: u64, start: u64) {
        let had = self.owners.get(&shard).copied();
        // Notes of two processes may be heard in another order than they were said in.
        if had.is_some_and(|had| had.epoch >= epoch) {
            return;
        }
        self.marks.taken_over += u64::from(had.is_some_and(|had| had.start != start && !had.has_left));
        self.owners.insert(shard, Owner { start, epoch, has_left: false, brought: 0 });
    }

    fn note_unanswered(&mut self) {
        self.listen(Duration::ZERO);
        self.marks.unanswered += u64::from(self.crew.iter().any(|member| member.asked > member.ended));
    }

    /// Whether something that was answered is not in the store. What is read here is not written in the books: whoever has
    /// its place in the table already may come to be seen later than who has one behind it.
    async fn look_what_waits(&mut self) {
        self.listen(Duration::ZERO);
        let (effects, _) = self.database.effects(self.position).await;
        self.marks.not_stored += u64::from(self.books.awaits_beyond(&effects));
    }

    fn report(&self, when: &str) {
        let Findings { lost, double, out_of_order, unasked, first } = &self.books.findings;
        println!(
            "{} {when}, in {:.1} s: {}\n    {} operations asked for, {} answered, {lost} lost, {double} double, {out_of_order} \
             out of order, {unasked} not asked for. {}",
            self.name,
            self.began.elapsed().as_secs_f64(),
            self.marks,
            self.books.asked_for(),
            self.books.all_answered(),
            first.as_deref().unwrap_or_default(),
        );
        if self.work == Work::Count {
            let Findings { lost, double, unasked, first, .. } = &self.miscounted;
            println!(
                "    {} increments asked for, {} answered, {lost} lost, {double} double, {unasked} not asked for. {}",
                self.counts.asked_for(),
                self.counts.all_answered(),
                first.as_deref().unwrap_or_default(),
            );
        }
    }
}

impl Owner {
    fn is_at_work(&self) -> bool {
        self.brought > 0 && !self.has_left
    }
}

/// Less than so many milliseconds.
fn random_time(most: u64) -> Duration {
    Duration::from_micros(fastrand::u64(..most * 1_000))
}
