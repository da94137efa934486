//! What the driver and the process say to each other: JSON, a line for each. A line that is cut off, because its writer
//! was killed, is not read as one.

use serde::{Deserialize, Serialize};

use crate::clicks::Written;
use crate::link_id::LinkId;
use crate::shortener::Followed;

/// The first line that a process is told. Not on its command line, where a password could be seen.
#[derive(Serialize, Deserialize)]
pub(super) struct Start {
    pub(super) redis: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Asked {
    pub(super) number: u64,
    pub(super) request: Request,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    Create { url: String },
    Follow { id: LinkId },
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Said {
    /// It serves from now on.
    Ready,
    Answered {
        number: u64,
        answer: Answer,
    },
    /// All that waited is in the database.
    Closed(Written),
    /// It ends, for this reason.
    Failed(String),
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    Created(LinkId),
    Followed(Followed),
    Failed(String),
}
