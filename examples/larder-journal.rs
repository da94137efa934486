//! Looks into a `LocalLog`, of a service that runs or of one that is dead; and writes what a dead one has left.
//!
//! `cargo run --example larder-journal` prints:
//!
//! ```text
//! Looks into the journal of a larder cache, or finishes what it has left.
//!
//! Usage: larder-journal list DIR [--values] [--json]      the writes that wait, or did until they were forgotten
//!        larder-journal letters DIR [--values] [--json]   the writes that were put aside
//!        larder-journal check DIR                         whether all of it can be read
//!        larder-journal replay DIR --sqlite FILE [--table NAME]
//!                                                         writes what waits to a table (key, value) of JSON
//!
//! All but `replay` change nothing, and can be asked of a service that runs. A service that is started again writes
//! what waits by itself: `replay` is for one that is not.
//!
//!   --values  show values too, not only keys
//!   --json    one JSON object for each line
//!   --help    print this
//!
//! Exit code: 0, or 1 if something cannot be read, or 2 for a wrong call.
//! ```

use std::process::ExitCode;

/// The help is what stands at the top of this file.
fn help() -> impl Iterator<Item = &'static str> {
    let top = include_str!("larder-journal.rs").lines().map_while(|line| line.strip_prefix("//!"));
    let text = top.skip_while(|line| *line != " ```text").skip(1).take_while(|line| *line != " ```");
    text.map(|line| line.strip_prefix(' ').unwrap_or(line))
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.is_empty() || arguments.iter().any(|argument| argument == "--help") {
        help().for_each(|line| println!("{line}"));
        return ExitCode::SUCCESS;
    }
    match tool::run(&arguments) {
        Ok(code) => code,
        Err(wrong) => {
            eprintln!("{wrong}; larder-journal --help tells more");
            ExitCode::from(2)
        }
    }
}

#[cfg(unix)]
#[path = "larder-journal/shown.rs"]
mod shown;

#[cfg(all(unix, feature = "sqlite"))]
#[path = "larder-journal/replay.rs"]
mod replay;

#[cfg(all(unix, not(feature = "sqlite")))]
mod replay {
    pub(crate) fn run(_: &str, _: &str, _: &str) -> Result<std::process::ExitCode, String> {
        Err("built without SQLite: cargo run --example larder-journal --features local-log,sqlite".to_owned())
    }
}

#[cfg(not(unix))]
mod tool {
    pub(crate) fn run(_: &[String]) -> Result<std::process::ExitCode, String> {
        Err("a `LocalLog` is a thing of Unix".to_owned())
    }
}

#[cfg(unix)]
mod tool {
    use std::process::ExitCode;

    use larder::journal::{Inspection, WriteParts, inspect};
    use serde_json::{Value, json};

    use super::shown::{harmless, text, utc};

    const COLUMNS: [&str; 9] =
        ["number", "kind", "accepted", "schema", "codec", "bytes", "note", "key", "value"];

    pub(crate) fn run(arguments: &[String]) -> Result<ExitCode, String> {
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        match words[..] {
            ["replay", directory, "--sqlite", file] => super::replay::run(directory, file, "replayed"),
            ["replay", directory, "--sqlite", file, "--table", table] => {
                super::replay::run(directory, file, table)
            }
            ["replay", ..] => Err("replay wants a directory and `--sqlite FILE`".to_owned()),
            _ => look(arguments),
        }
    }

    fn look(arguments: &[String]) -> Result<ExitCode, String> {
        let (options, words): (Vec<&str>, Vec<&str>) =
            arguments.iter().map(String::as_str).partition(|argument| argument.starts_with("--"));
        if let Some(unknown) = options.iter().find(|option| !["--values", "--json"].contains(option)) {
            return Err(format!("there is no option {unknown}"));
        }
        let (values, as_json) = (options.contains(&"--values"), options.contains(&"--json"));
        let [command, directory] = words[..] else {
            return Err("a command and a directory are wanted".to_owned());
        };
        let rows: fn(&Inspection, bool) -> Vec<Value> = match command {
            "list" => writes,
            "letters" => letters,
            "check" => |_, _| Vec::new(),
            unknown => return Err(format!("there is no command {unknown}")),
        };
        let log = match inspect(directory) {
            Ok(log) => log,
            Err(error) => {
                eprintln!("{error}");
                return Ok(ExitCode::FAILURE);
            }
        };
        match (command, as_json) {
            ("check", _) => return Ok(check(&log)),
            (_, true) => rows(&log, values).iter().for_each(|row| println!("{row}")),
            (_, false) if rows(&log, values).is_empty() => println!("none"),
            (_, false) => print_table(&rows(&log, values)),
        }
        Ok(ExitCode::SUCCESS)
    }

    fn check(log: &Inspection) -> ExitCode {
        let records = log.writes.iter().map(|write| &write.record[..]);
        let records = records.chain(log.letters.iter().map(|letter| letter.record()));
        let unreadable = records.filter(|record| WriteParts::of(record).is_err()).count();
        println!(
            "log           {}",
            log.id.map_or("none: nothing was ever written".into(), |id| id.to_string())
        );
        println!("open          {}", if log.is_open { "yes" } else { "no" });
        println!("writes        {}, from {} up to before {}", log.writes.len(), log.first, log.next);
        println!("settled       at least up to {}", log.settled);
        println!("torn bytes    {}", log.torn_bytes);
        println!("dead letters  {}", log.letters.len());
        println!("unreadable    {unreadable}");
        if unreadable == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn writes(log: &Inspection, values: bool) -> Vec<Value> {
        let note = |seq| if seq <= log.settled { "settled" } else { "waits" };
        log.writes.iter().map(|write| row(write.seq, &write.record, note(write.seq), values)).collect()
    }

    fn letters(log: &Inspection, values: bool) -> Vec<Value> {
        let letters = log.letters.iter();
        letters.map(|letter| row(letter.seq(), letter.record(), letter.why(), values)).collect()
    }

    fn row(number: u64, record: &[u8], note: &str, values: bool) -> Value {
        let mut row = json!({ "number": number, "bytes": record.len(), "note": note });
        match WriteParts::of(record) {
            Err(why) => (row["kind"], row["note"]) = (json!("unreadable"), json!(format!("{note}: {why}"))),
            Ok(parts) => {
                row["kind"] = json!(parts.kind());
                row["accepted"] = json!(utc(parts.accepted));
                (row["schema"], row["codec"]) = (json!(parts.schema), json!(parts.codec));
                row["key"] = json!(text(parts.key));
                if let Some(value) = parts.value.filter(|_| values) {
                    row["value"] = json!(text(value));
                }
            }
        }
        row
    }

    fn print_table(rows: &[Value]) {
        let cell = |row: &Value, column: &str| match &row[column] {
            Value::Null => String::new(),
            Value::String(text) => text.chars().flat_map(harmless).collect(),
            other => other.to_string(),
        };
        let columns = COLUMNS.into_iter().filter(|column| rows.iter().any(|row| !row[*column].is_null()));
        let columns: Vec<Vec<String>> = columns
            .map(|column| {
                [column.to_owned()].into_iter().chain(rows.iter().map(|row| cell(row, column))).collect()
            })
            .collect();
        let width = |column: &[String]| column.iter().map(|cell| cell.chars().count()).max().unwrap_or(0);
        for at in 0..=rows.len() {
            let cells: Vec<String> =
                columns.iter().map(|column| format!("{:1$}", column[at], width(column))).collect();
            println!("{}", cells.join("  ").trim_end());
        }
    }
}
