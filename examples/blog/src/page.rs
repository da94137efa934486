//! The data of one page: what the database is asked for, what V2 and V3 keep, and what the renderer is given.

use serde::{Deserialize, Serialize};

use crate::blog::CommentId;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Page {
    pub(crate) title: String,
    pub(crate) body: String,
    pub(crate) published_at: String,
    pub(crate) author: String,
    pub(crate) bio: String,
    pub(crate) remarks: Vec<Remark>,
}

/// A comment as it stands on a page, under its author's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Remark {
    pub(crate) id: CommentId,
    pub(crate) author: String,
    pub(crate) text: String,
    pub(crate) written_at: String,
}
