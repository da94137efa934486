//! A reader: it takes the copy if there is one, else loads and leaves a copy behind.

use larder::tier::slot::{Command, Reply, Token};

use crate::key::{LEASE, Version};
use crate::row::{Fills, Row};
use crate::world::{Step, Steps, World};

/// One reader.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Reader {
    /// How many loads it may still begin.
    left: u8,
    load: Load,
    /// Whether it has got an answer that it must not have got.
    misled: bool,
}

/// How far its load is.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
enum Load {
    #[default]
    None,
    /// It may ask now.
    Begun {
        /// What was acknowledged when the read began.
        expects: Version,
        /// The least version, as the server said. An older answer is not taken: the store itself is asked.
        least: Version,
    },
    /// It has its answer and has yet to keep it.
    Answered(Version),
}

impl Reader {
    pub(crate) fn was_misled(&self) -> bool {
        self.misled
    }
}

pub(crate) fn at_start(row: &Row, number: usize) -> Reader {
    let left = if number < usize::from(row.readers) { row.loads } else { 0 };
    Reader { left, ..Reader::default() }
}

/// What reader `number` can do next.
pub(crate) fn steps(row: &Row, world: &World, number: usize, steps: &mut Steps) {
    let mut act = |act: fn(&Row, &mut World, usize) -> &'static str| {
        let mut next = world.clone();
        let did = act(row, &mut next, number);
        steps.push((Step::reader(number, did), next));
    };
    match world.readers[number].load {
        Load::None if world.readers[number].left > 0 => act(read),
        Load::None => {}
        Load::Begun { .. } => act(ask_the_store),
        Load::Answered(_) => act(keep),
    }
    let loading = matches!(world.readers[number].load, Load::Begun { .. } | Load::Answered(_));
    if row.slow_loads && loading {
        act(ask_for_more_time);
    }
    if row.repeated_requests && loading {
        act(repeat_the_request);
    }
    if row.failing_loads && matches!(world.readers[number].load, Load::Begun { .. }) {
        act(fail);
    }
}

fn token(row: &Row, number: usize) -> Token {
    // A reader has one load at a time, and the next begins when the last has been told whether it may fill. So this
    // token is not that of an earlier load which might still fill.
    if row.shared_token { Token(1) } else { Token(1 + number as u128) }
}

fn read(row: &Row, world: &mut World, number: usize) -> &'static str {
    let did = match row.fills {
        Fills::Blind | Fills::IfNewer if world.key.copy().is_some() => return "finds a copy",
        Fills::Blind | Fills::IfNewer => "finds nothing",
        Fills::Leased | Fills::LeasedAboveTheLeast => {
            let renew = number < usize::from(row.renewing);
            let token = token(row, number);
            match world.key.ask(row.off, Command::Acquire { token, lease: LEASE, renew }) {
                Reply::Granted { taken_over: true, .. } => "takes the lease over",
                Reply::Granted { kept: Some(_), .. } => "takes the lease and the copy",
                Reply::Granted { .. } => "takes the lease",
                Reply::Busy(_) => return "waits for a load",
                Reply::Held => return "waits for a writer",
                _ => return "finds a copy",
            }
        }
    };
    let reader = &mut world.readers[number];
    reader.left -= 1;
    reader.load = Load::Begun { expects: world.acknowledged, least: world.key.least.unwrap_or(0) };
    did
}

fn ask_the_store(row: &Row, world: &mut World, number: usize) -> &'static str {
    let Load::Begun { expects, least } = world.readers[number].load else { unreachable!("it has begun") };
    let mut answer = world.answer(row);
    if answer < least {
        answer = world.store;
    }
    let reader = &mut world.readers[number];
    reader.load = Load::Answered(answer);
    reader.misled |= answer < expects;
    "asks the store"
}

fn keep(row: &Row, world: &mut World, number: usize) -> &'static str {
    let Load::Answered(version) = world.readers[number].load else { unreachable!("it has an answer") };
    world.readers[number].load = Load::None;
    match row.fills {
        Fills::Blind => world.key.set(version),
        Fills::IfNewer if !world.key.set_if_newer(version) => return "is refused for its age",
        Fills::IfNewer => {}
        Fills::LeasedAboveTheLeast if world.key.least > Some(version) => {
            _ = world.key.ask(row.off, Command::Abandon { token: token(row, number), back_off: 0 });
            return "is refused for its age";
        }
        Fills::Leased | Fills::LeasedAboveTheLeast => {
            let fill = Command::Fill { token: token(row, number), life: row.life, body: version };
            if world.key.ask(row.off, fill) == Reply::Refused {
                return "is refused";
            }
        }
    }
    "fills"
}

fn ask_for_more_time(row: &Row, world: &mut World, number: usize) -> &'static str {
    match world.key.ask(row.off, Command::Renew { token: token(row, number), lease: LEASE }) {
        Reply::Done => "gets more time",
        _ => "gets no more time",
    }
}

fn repeat_the_request(row: &Row, world: &mut World, number: usize) -> &'static str {
    let token = token(row, number);
    match world.key.ask(row.off, Command::Acquire { token, lease: LEASE, renew: false }) {
        Reply::Granted { .. } => "is given the lease again, by a request sent twice",
        _ => "is not given the lease again",
    }
}

fn fail(row: &Row, world: &mut World, number: usize) -> &'static str {
    world.readers[number].load = Load::None;
    match world.key.ask(row.off, Command::Abandon { token: token(row, number), back_off: LEASE }) {
        Reply::Done => "fails and gives the lease back",
        _ => "fails and has no lease",
    }
}
