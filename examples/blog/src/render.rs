//! The one renderer: page data in, HTML out. It runs for every view in all versions, so that what
//! they differ in is the database alone.

use crate::page::{Page, Remark};

pub(crate) fn html(page: &Page) -> String {
    let mut html = String::with_capacity(2 * page.body.len() + 400 * page.remarks.len() + 512);
    html.push_str("<!doctype html>\n<html lang=\"en\">\n<title>");
    escape(&page.title, &mut html);
    html.push_str("</title>\n<article>\n<h1>");
    escape(&page.title, &mut html);
    html.push_str("</h1>\n<p class=\"byline\" title=\"");
    escape(&page.bio, &mut html);
    html.push_str("\">");
    escape(&page.author, &mut html);
    html.push_str(", <time>");
    escape(&page.published_at, &mut html);
    html.push_str("</time></p>\n");
    paragraphs(&page.body, &mut html);
    html.push_str("</article>\n<ol class=\"comments\">\n");
    for comment in &page.remarks {
        remark(comment, &mut html);
    }
    html.push_str("</ol>\n</html>\n");
    html
}

pub(crate) fn paragraphs(body: &str, html: &mut String) {
    for paragraph in body.split("\n\n") {
        html.push_str("<p>");
        escape(paragraph, html);
        html.push_str("</p>\n");
    }
}

pub(crate) fn remark(remark: &Remark, html: &mut String) {
    html.push_str("<li id=\"comment-");
    html.push_str(&remark.id.0.to_string());
    html.push_str("\"><b>");
    escape(&remark.author, html);
    html.push_str("</b> <time>");
    escape(&remark.written_at, html);
    html.push_str("</time><p>");
    escape(&remark.text, html);
    html.push_str("</p></li>\n");
}

/// Everything people typed goes through here. Quotes are escaped too, so the text is as safe inside an
/// attribute as it is between tags.
pub(crate) fn escape(text: &str, html: &mut String) {
    let mut plain_from = 0;
    for (at, byte) in text.bytes().enumerate() {
        let entity = match byte {
            b'&' => "&amp;",
            b'<' => "&lt;",
            b'>' => "&gt;",
            b'"' => "&quot;",
            b'\'' => "&#39;",
            _ => continue,
        };
        html.push_str(&text[plain_from..at]);
        html.push_str(entity);
        plain_from = at + 1;
    }
    html.push_str(&text[plain_from..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blog::CommentId;

    fn escaped(text: &str) -> String {
        let mut html = String::new();
        escape(text, &mut html);
        html
    }

    #[test]
    fn text_is_escaped() {
        assert_eq!(escaped("plain"), "plain");
        assert_eq!(escaped(""), "");
        assert_eq!(escaped("<b>\"R&D\"</b>"), "&lt;b&gt;&quot;R&amp;D&quot;&lt;/b&gt;");
        assert_eq!(escaped("it's é < ü"), "it&#39;s é &lt; ü");
    }

    #[test]
    fn nothing_a_person_wrote_reaches_the_page_as_markup() {
        let nasty = "\"><script>'&".to_owned();
        let page = Page {
            title: nasty.clone(),
            body: nasty.clone(),
            published_at: nasty.clone(),
            author: nasty.clone(),
            bio: nasty.clone(),
            remarks: vec![Remark {
                id: CommentId(1),
                author: nasty.clone(),
                text: nasty.clone(),
                written_at: nasty.clone(),
            }],
        };
        assert!(!html(&page).contains(&nasty));
        assert!(!html(&page).contains("<script>"));
    }

    #[test]
    fn a_page_shows_the_post_then_its_comments_in_order() {
        let remark = |id, text: &str| Remark {
            id: CommentId(id),
            author: "Ada".to_owned(),
            text: text.to_owned(),
            written_at: "2025-01-01 00:00:00".to_owned(),
        };
        let page = Page {
            title: "Bread".to_owned(),
            body: "Flour.\n\nWater.".to_owned(),
            published_at: "2025-01-01 00:00:00".to_owned(),
            author: "Ada".to_owned(),
            bio: "bakes".to_owned(),
            remarks: vec![remark(4, "first"), remark(9, "second")],
        };
        let html = html(&page);
        let positions: Vec<_> =
            ["Bread", "<p>Flour.</p>", "<p>Water.</p>", "comment-4", "first", "comment-9"]
                .iter()
                .map(|piece| html.find(piece).unwrap())
                .collect();
        assert!(positions.is_sorted(), "{html}");
    }
}
