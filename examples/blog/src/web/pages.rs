//! The pages. They work without scripts, and on a small screen.

use axum::http::StatusCode;

use super::forms::Typed;
use super::frame::frame;
use super::list::{Headline, List, PageNumber};
use super::markup::Markup;
use super::stats::{CacheStats, Stats};
use crate::blog::PostId;
use crate::page::Page;
use crate::render;
use crate::report::grouped;

/// A page of the list, the `number`th of `pages`.
pub(crate) fn list(list: &List, number: PageNumber, pages: u32) -> String {
    let title = if number.0 == 1 { "Posts".to_owned() } else { format!("Posts, page {}", number.0) };
    frame(&title, |page| {
        page.raw("<h1>").text(&title).raw("</h1>\n<ol class=\"posts\">\n");
        for headline in &list.headlines {
            self::headline(headline, page);
        }
        page.raw("</ol>\n");
        pager(number, pages, page);
    })
}

fn headline(headline: &Headline, page: &mut Markup) {
    page.raw("<li><a href=\"/posts/").number(headline.post.0).raw("\">").text(&headline.title);
    page.raw("</a>\n<p class=\"byline\">").text(&headline.author);
    page.raw(", <time>").text(&headline.published_at).raw("</time></p></li>\n");
}

fn pager(PageNumber(number): PageNumber, pages: u32, page: &mut Markup) {
    page.raw("<nav class=\"pager\" aria-label=\"Pages\">\n<span>");
    if number > 1 {
        page.raw("<a rel=\"prev\" href=\"/pages/").number(number - 1).raw("\">← Newer</a>");
    }
    page.raw("</span>\n<span>").number(number).raw(" of ").number(pages).raw("</span>\n<span>");
    if number < pages {
        page.raw("<a rel=\"next\" href=\"/pages/").number(number + 1).raw("\">Older →</a>");
    }
    page.raw("</span>\n</nav>\n");
}

/// A post with its comments, and a form for one more.
pub(crate) fn post(id: PostId, post: &Page, form: &[Typed; 2]) -> String {
    frame(&post.title, |page| {
        article(id, post, page);
        comments(post, page);
        page.raw("<h2>Write a comment</h2>\n<form method=\"post\" action=\"/posts/").number(id.0);
        page.raw("/comments\">\n");
        fields(form, page);
        page.raw("<button>Send</button>\n</form>\n");
    })
}

fn article(id: PostId, post: &Page, page: &mut Markup) {
    page.raw("<article>\n<h1>").text(&post.title).raw("</h1>\n<p class=\"byline\">").text(&post.author);
    page.raw(", <time>").text(&post.published_at).raw("</time> · <a href=\"/posts/").number(id.0);
    page.raw("/edit\">Edit</a></p>\n").rendered(|html| render::paragraphs(&post.body, html));
    page.raw("<p class=\"byline\">").text(&post.author).raw(": ").text(&post.bio).raw(".</p>\n</article>\n");
}

fn comments(post: &Page, page: &mut Markup) {
    page.raw("<h2 id=\"comments\">")
        .text(&counted(post.remarks.len()))
        .raw("</h2>\n<ol class=\"comments\">\n");
    for remark in &post.remarks {
        page.rendered(|html| render::remark(remark, html));
    }
    page.raw("</ol>\n");
}

fn counted(comments: usize) -> String {
    match comments {
        0 => "No comments yet".to_owned(),
        1 => "1 comment".to_owned(),
        many => format!("{} comments", grouped(many)),
    }
}

/// The form to edit a post, under the title it has now.
pub(crate) fn edit(id: PostId, post: &Page, form: &[Typed; 2]) -> String {
    frame(&format!("Edit: {}", post.title), |page| {
        page.raw("<h1>Edit: ").text(&post.title).raw("</h1>\n<p class=\"byline\">").text(&post.author);
        page.raw(", <time>").text(&post.published_at).raw("</time> · <a href=\"/posts/").number(id.0);
        page.raw("\">Back to the post</a></p>\n<form method=\"post\" action=\"/posts/").number(id.0);
        page.raw("/edit\">\n");
        fields(form, page);
        page.raw("<button>Save</button>\n</form>\n");
    })
}

fn fields(form: &[Typed], page: &mut Markup) {
    let first_wrong = form.iter().find(|typed| typed.wrong.is_some());
    for typed in form {
        field(typed, first_wrong == Some(typed), page);
    }
}

/// The browser is not told the limit with `maxlength`: it would cut off what is pasted without a word.
fn field(Typed { field, text, wrong }: &Typed, focus: bool, page: &mut Markup) {
    page.raw("<div>\n<label for=\"").raw(field.name).raw("\">").raw(field.label).raw("</label>\n");
    page.raw("<span class=\"hint\" id=\"").raw(field.name).raw("-hint\">up to ");
    page.text(&grouped(field.most)).raw(" characters</span>\n");
    if let Some(wrong) = wrong {
        page.raw("<strong class=\"wrong\" id=\"")
            .raw(field.name)
            .raw("-wrong\">")
            .text(wrong)
            .raw("</strong>\n");
    }
    page.raw(if field.lines > 1 { "<textarea" } else { "<input" });
    page.raw(" id=\"").raw(field.name).raw("\" name=\"").raw(field.name).raw("\" required");
    page.raw(" aria-describedby=\"").raw(field.name).raw("-hint");
    if wrong.is_some() {
        page.raw(" ").raw(field.name).raw("-wrong\" aria-invalid=\"true");
    }
    page.raw(if focus { "\" autofocus" } else { "\"" });
    if field.lines > 1 {
        // The first line break after the tag is not part of the text.
        page.raw(" rows=\"").number(field.lines).raw("\">\n").text(text).raw("</textarea>\n</div>\n");
    } else {
        page.raw(" value=\"").text(text).raw("\">\n</div>\n");
    }
}

pub(crate) fn stats(stats: &Stats) -> String {
    frame("Statistics", |page| {
        page.raw("<h1>Statistics</h1>\n<p>For the visitors of these ").text(&grouped(stats.posts as usize));
        page.raw(" posts the database has answered <strong>").text(&grouped(stats.queries));
        page.raw("</strong> queries since the start. Meanwhile in the caches:</p>\n<table>\n");
        page.raw("<tr><th scope=\"col\">cache</th>");
        for name in stats.caches.keys() {
            page.raw("<th scope=\"col\">").text(name).raw("</th>");
        }
        page.raw("</tr>\n");
        row("hit ratio", stats, |cache| format!("{:.1} %", cache.hit_ratio * 100.0), page);
        row("hits", stats, |cache| cache.hits.to_string(), page);
        row("misses", stats, |cache| cache.misses.to_string(), page);
        row("loads", stats, |cache| cache.loads.to_string(), page);
        row("writes", stats, |cache| cache.writes.to_string(), page);
        page.raw("</table>\n<p><a href=\"/stats.json\">The same as JSON</a></p>\n");
    })
}

fn row(label: &'static str, stats: &Stats, figure: fn(&CacheStats) -> String, page: &mut Markup) {
    page.raw("<tr><th scope=\"row\">").raw(label).raw("</th>");
    for cache in stats.caches.values() {
        page.raw("<td>").text(&figure(cache)).raw("</td>");
    }
    page.raw("</tr>\n");
}

/// What went wrong, in a sentence.
pub(crate) fn problem(status: StatusCode, sentence: &str) -> String {
    let title = status.canonical_reason().unwrap_or("Sorry");
    frame(title, |page| {
        page.raw("<h1>").text(title).raw("</h1>\n<p>").text(sentence);
        page.raw("</p>\n<p><a href=\"/\">To the posts</a></p>\n");
    })
}
