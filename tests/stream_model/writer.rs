//! A writer: it appends once, and keeps the slot in order by its script.

use larder::store::Seq;
use larder::tier::slot::{Command, Reply, Slot, Token};

use crate::counting;
use crate::row::{Act, Row};
use crate::slot::{self, FOREVER};
use crate::world::{Steps, Who, World};

#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Writer {
    /// How many of its acts are done.
    done: usize,
    is_dead: bool,
    /// Its write; 0 before it has appended it.
    write: u8,
    /// Its number, while it is to be told what it comes to.
    seq: Seq,
    waiting: Vec<(Seq, u8)>,
    /// What it has been told that it comes to.
    pub(crate) total: Option<u16>,
}

fn token(number: usize) -> Token {
    Token(100 + number as u128)
}

/// What can happen to writer `number` next. Of two that are alike the first goes first.
pub(crate) fn steps(row: &Row, world: &World, number: usize, steps: &mut Steps) {
    let (writer, script) = (&world.writers[number], row.writers[number]);
    let is_next = number == 0 || row.writers[number - 1] != script || world.writers[number - 1].done > 0;
    let mut act = |act: &dyn Fn(&mut World) -> &'static str| {
        let mut next = world.clone();
        let did = act(&mut next);
        steps.add(Who::Writer(number), did, next);
    };
    if writer.is_dead {
        let holds = matches!(&world.slot, Some(Slot::Held { holds, .. }) if holds.iter().any(|(whose, _)| *whose == token(number)));
        if holds {
            act(&|next| {
                slot::forget_hold(&mut next.slot, token(number));
                "is dead, and its hold ends"
            });
        }
        return;
    }
    let Some(what) = script.get(writer.done).filter(|_| is_next) else { return };
    if *what == Act::AskWhatWaits && world.server.read(row).is_none() {
        return; // it waits for an owner to meet the server
    }
    act(&|next| {
        let did = perform(row, next, number, *what);
        let writer = &mut next.writers[number];
        writer.done += 1;
        if writer.done == script.len() {
            next.told.acknowledged |= 1 << writer.write;
        }
        did
    });
    if writer.done > 0 && world.left.deaths > 0 {
        act(&|next| {
            next.left.deaths -= 1;
            next.writers[number].is_dead = true;
            "dies"
        });
    }
}

fn perform(row: &Row, world: &mut World, number: usize, act: Act) -> &'static str {
    let (token, body) = (token(number), world.writers[number].write);
    match act {
        Act::Append | Act::Add => {
            world.told.appended += 1;
            let (write, replaces) = (world.told.appended, act == Act::Append);
            world.told.replacing |= u8::from(replaces) << write;
            world.writers[number].write = write;
            let seq = world.server.append(row, write, replaces);
            if row.writers[number].contains(&Act::AskTheTotal) {
                world.writers[number].seq = seq;
            }
            if replaces { "appends" } else { "appends what is added" }
        }
        Act::AskWhatWaits => {
            let mut waiting = world.server.read(row).unwrap_or_default();
            waiting.retain(|(seq, _)| *seq <= world.writers[number].seq);
            world.writers[number].waiting = waiting;
            "asks what waits up to its own"
        }
        Act::AskTheTotal => {
            let waiting = std::mem::take(&mut world.writers[number].waiting);
            let value = counting::total(world, world.database.done.iter().copied());
            let total = counting::fold(world, &waiting, (value, world.database.offset));
            world.writers[number].total = Some(total);
            "is told the total"
        }
        Act::Hold => match slot::ask(&mut world.slot, Command::Hold { token, life: slot::HOLD }) {
            Reply::Contended => "holds the key with another",
            _ => "holds the key",
        },
        Act::Release => {
            _ = slot::ask(&mut world.slot, Command::Release { token, hold_off: 0 });
            "releases its hold"
        }
        Act::Publish => {
            let publish = Command::Publish { token, life: FOREVER, body, hold_off: 0 };
            match slot::ask(&mut world.slot, publish) {
                Reply::Stored => "publishes",
                _ => "may not publish",
            }
        }
        Act::Drop => {
            _ = slot::ask(&mut world.slot, Command::Invalidate { hold_off: 0 });
            "drops the copy"
        }
    }
}
