//! The web face as a browser meets it: the real program, asked over HTTP. Nothing here looks at a clock.

mod http;
mod server;
#[cfg(unix)]
mod stopping;

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tempfile::TempDir;

use http::{Answer, Request};
use server::{Figures, Server, command};

/// The addresses of the posts that a page of the list names, in its order.
fn listed(list: &Answer) -> Vec<String> {
    let after = |piece: &str| piece.split('"').next().expect("an address").to_owned();
    list.body.split("<a href=\"").skip(1).map(after).filter(|link| link.starts_with("/posts/")).collect()
}

fn title(post: &Answer) -> String {
    let heading = post.body.split("<h1>").nth(1).and_then(|rest| rest.split("</h1>").next());
    heading.expect("a heading").to_owned()
}

#[test]
fn the_list_is_paged_with_the_newest_first() {
    let server = Server::start();
    let pages = ["/", "/pages/2", "/pages/3"].map(|path| server.get(path));
    assert_eq!(pages.each_ref().map(|page| listed(page).len()), [20, 20, 5]);
    let date = |piece: &str| piece.split('<').next().expect("a date").to_owned();
    let dates: Vec<_> = pages.iter().flat_map(|page| page.body.split("<time>").skip(1)).map(date).collect();
    assert_eq!(dates.len(), 45);
    assert!(dates.is_sorted_by(|newer, older| newer >= older), "{dates:?}");

    pages[1].shows("href=\"/pages/1\"");
    pages[1].shows("href=\"/pages/3\"");
    pages[0].hides("← Newer");
    pages[2].hides("Older →");
    assert_eq!(["/pages/0", "/pages/4", "/pages/x"].map(|path| server.get(path).status), [404; 3]);
}

#[test]
fn a_post_read_twice_is_asked_for_once() {
    let server = Server::start();
    let first = server.get("/posts/7");
    assert_eq!(first.status, 200);
    first.shows("<form method=\"post\" action=\"/posts/7/comments\">");
    let once = server.figures("posts");
    assert_eq!(once, Figures { queries: 2, hits: 0, loads: 1, writes: 0 });
    assert_eq!(server.get("/posts/7").body, first.body);
    assert_eq!(server.figures("posts"), Figures { hits: 1, ..once });
    server.get("/stats").shows("50.0 %");
}

#[test]
fn a_comment_is_on_the_very_next_page() {
    let server = Server::start();
    for round in 0..3 {
        server.get("/posts/7").hides(&format!("round {round}"));
        let answer =
            server.post("/posts/7/comments", &[("name", "Ada"), ("text", &format!("round {round}"))]);
        assert_eq!(answer.status, 303);
        let (post, comment) = answer.header("location").split_once('#').expect("the place of the comment");
        assert_eq!(post, "/posts/7");
        let page = server.get(post);
        page.shows(&format!("id=\"{comment}\"><b>Ada</b>"));
        page.shows(&format!("<p>round {round}</p>"));
    }
    assert_eq!(server.figures("posts").writes, 3);
}

#[test]
fn an_edit_is_in_the_list_and_on_the_post_at_once() {
    let server = Server::start();
    // Not on the first page: the list has many keys, and the right one has to be named.
    let post = listed(&server.get("/pages/2")).pop().expect("a post");
    let (old, front) = (title(&server.get(&post)), server.get("/"));
    server.get("/pages/2").shows(&old);
    server.get(&format!("{post}/edit")).shows(&format!("value=\"{old}\""));

    let fields = [("title", "Quite <new>"), ("body", "One.\r\n\r\nTwo.")];
    let answer = server.post(&format!("{post}/edit"), &fields);
    assert_eq!((answer.status, answer.header("location")), (303, post.as_str()));
    let page = server.get(&post);
    assert_eq!(title(&page), "Quite &lt;new&gt;");
    page.shows("<p>One.</p>\n<p>Two.</p>");
    server.get("/pages/2").shows("Quite &lt;new&gt;");

    let loads = server.figures("lists").loads;
    assert_eq!(server.get("/").body, front.body);
    assert_eq!(server.figures("lists").loads, loads, "the other pages of the list are still there");
}

#[test]
fn what_visitors_type_is_text_and_nothing_else() {
    let server = Server::start();
    let nasty = "</textarea><script>alert(\"1\")</script>'&";
    let harmless = "&lt;/textarea&gt;&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&#39;&amp;";
    assert_eq!(server.post("/posts/7/comments", &[("name", nasty), ("text", nasty)]).status, 303);
    assert_eq!(server.post("/posts/7/edit", &[("title", nasty), ("body", nasty)]).status, 303);
    for path in ["/posts/7", "/posts/7/edit"] {
        let page = server.get(path);
        page.shows(harmless);
        page.hides("<script");
    }
    let refused = server.post("/posts/7/comments", &[("name", nasty), ("text", "")]);
    refused.shows(&format!("value=\"{harmless}\""));
    refused.hides("<script");
    let policy = refused.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none';") && policy.contains("form-action 'self'"), "{policy}");
    assert_eq!(refused.header("x-content-type-options"), "nosniff");
}

#[test]
fn a_link_to_nothing_costs_one_query() {
    let server = Server::start();
    for _ in 0..2 {
        let answer = server.get("/posts/999");
        assert_eq!(answer.status, 404);
        answer.shows("<h1>Not Found</h1>");
    }
    assert_eq!(server.figures("posts").queries, 1);
    assert_eq!(server.get("/posts/999/edit").status, 404);
    assert_eq!(server.post("/posts/999/comments", &[("name", "Ada"), ("text", "x")]).status, 404);
    for nothing in ["/posts/seven", "/posts/-1x", "/posts/%ff", "/posts/99999999999999999999", "/nothing"] {
        assert_eq!(server.get(nothing).status, 404, "{nothing}");
    }
    assert_eq!(server.figures("posts").queries, 1);
}

#[test]
fn a_comment_that_is_too_long_comes_back_with_a_word_of_why() {
    let server = Server::start();
    let long = "ü".repeat(2_001);
    let answer = server.post("/posts/7/comments", &[("name", "Ada"), ("text", &long)]);
    assert_eq!(answer.status, 400);
    answer.shows("This is too long: 2,001 characters, and at most 2,000 fit.");
    answer.shows(&format!(">\n{long}</textarea>"));
    answer.shows("value=\"Ada\"");
    let answer = server.post("/posts/7/edit", &[("title", ""), ("body", "Kept.")]);
    assert_eq!(answer.status, 400);
    answer.shows("Please fill this in.");
    answer.shows(">\nKept.</textarea>");
    assert_eq!(server.figures("posts").writes, 0);
}

#[test]
fn forms_of_other_sites_are_refused() {
    let server = Server::start();
    let form = || Request::form("/posts/7/comments", &[("name", "Eve"), ("text", "from elsewhere")]);
    for (name, value) in [("sec-fetch-site", "cross-site"), ("origin", "http://elsewhere.example")] {
        let answer = form().header(name, value).send(&server.address);
        assert_eq!(answer.status, 403, "{name}");
        answer.shows("page of another site");
    }
    server.get("/posts/7").hides("from elsewhere");
    let own = format!("http://{}", server.address);
    assert_eq!(form().header("origin", &own).send(&server.address).status, 303);
    server.get("/posts/7").shows("from elsewhere");
}

#[test]
fn what_is_not_asked_rightly_is_refused_with_a_page() {
    let server = Server::start();
    let mut delete = Request::get("/posts/7");
    delete.method = "DELETE";
    let answer = delete.send(&server.address);
    assert_eq!((answer.status, answer.header("allow")), (405, "GET,HEAD"));
    answer.shows("<h1>Method Not Allowed</h1>");

    let mut large = Request::form("/posts/7/comments", &[]);
    large.body = "x".repeat(1024 * 1024 + 1);
    let answer = large.send(&server.address);
    assert_eq!(answer.status, 413);
    answer.shows("more than this server takes");

    let mut other = Request::form("/posts/7/comments", &[]);
    other.headers = vec![("content-type", "application/json".to_owned())];
    assert_eq!(other.send(&server.address).status, 415);
    assert_eq!(server.figures("posts").writes, 0);
}

#[test]
fn fifty_readers_of_a_cold_post_load_it_once() {
    let server = Server::start();
    let together = Barrier::new(50);
    let pages: Vec<_> = thread::scope(|scope| {
        let read = || {
            together.wait();
            server.get("/posts/7")
        };
        let readers: Vec<_> = (0..50).map(|_| scope.spawn(read)).collect();
        readers.into_iter().map(|reader| reader.join().expect("a page")).collect()
    });
    assert!(pages.iter().all(|page| page.status == 200 && page.body == pages[0].body));
    let Figures { loads, queries, .. } = server.figures("posts");
    assert_eq!((loads, queries), (1, 2));
}

#[test]
fn nobody_reads_a_title_older_than_the_last_edit_answered() {
    let server = Server::start();
    let post = listed(&server.get("/pages/2")).pop().expect("a post");
    let edit = |number: usize| {
        let fields = [("title", &*format!("Edit {number}.")), ("body", "x")];
        assert_eq!(server.post(&format!("{post}/edit"), &fields).status, 303);
    };
    edit(0);
    let answered = &AtomicUsize::new(0);
    let (server, edit) = (&server, &edit);
    thread::scope(|scope| {
        for path in ["/pages/2", &post, "/pages/2", &post] {
            scope.spawn(move || {
                for _ in 0..400 {
                    let least = answered.load(Ordering::Acquire);
                    let page = server.get(path).body;
                    let number = page.split("Edit ").nth(1).and_then(|rest| rest.split('.').next());
                    let number: usize = number.and_then(|number| number.parse().ok()).expect("a title");
                    assert!(number >= least, "{path} shows edit {number} after {least} was answered");
                }
            });
        }
        for number in 1..=400 {
            edit(number);
            answered.store(number, Ordering::Release);
        }
    });
}

#[cfg(unix)]
#[tokio::test]
async fn a_failing_database_is_a_page_for_the_visitor_and_a_line_for_the_owner() {
    use sqlx::ConnectOptions;
    use sqlx::sqlite::SqliteConnectOptions;

    let directory = TempDir::new().unwrap();
    let path = directory.path().join("blog.db");
    let server = Server::start_on(&path);
    assert_eq!(server.get("/posts/8").status, 200);
    let mut beside = SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
    sqlx::raw_sql("ALTER TABLE comments RENAME TO elsewhere").execute(&mut beside).await.unwrap();
    let read = server.get("/posts/7");
    let write = server.post("/posts/8/comments", &[("name", "Ada"), ("text", "lost")]);
    for answer in [&read, &write] {
        assert_eq!(answer.status, 503);
        answer.shows("<h1>Service Unavailable</h1>");
        answer.hides("no such");
        answer.hides("posts`");
    }
    sqlx::raw_sql("ALTER TABLE elsewhere RENAME TO comments").execute(&mut beside).await.unwrap();
    assert_eq!(server.get("/posts/7").status, 200);
    assert_eq!(server.post("/posts/8/comments", &[("name", "Ada"), ("text", "found")]).status, 303);
    let page = server.get("/posts/8");
    page.shows("found");
    page.hides("lost");

    let said = server.stopped();
    let lines: Vec<_> = said.lines().filter(|line| line.contains("503")).collect();
    assert_eq!(lines.len(), 2, "{said}");
    for (line, operation) in lines.iter().zip(["get", "write"]) {
        assert!(line.contains(&format!("cache `posts`: {operation}: ")), "{said}");
        assert!(line.contains("no such table"), "{said}");
    }
}

#[test]
fn a_database_in_use_is_left_to_its_user() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("blog.db");
    let server = Server::start_on(&path);
    for second in ["serve --listen 127.0.0.1:0", "--requests 5 --only v1"] {
        let (status, said) = Server::refused(command(second).arg("--database").arg(&path));
        assert_eq!(status.code(), Some(1));
        assert!(said.contains("blog.db is in use by another run of this program"), "{said}");
    }
    assert_eq!(server.get("/posts/7").status, 200);
}

#[test]
fn nonsense_is_refused_with_a_sentence() {
    let server = Server::start();
    for (args, code, sentence) in [
        ("serve --listen here", 2, "not an address with a port, such as 127.0.0.1:3000"),
        ("serve --posts 0", 2, "a blog without posts has no pages"),
        ("serve --rate 5", 2, "unexpected argument '--rate'"),
        ("--rate 5 serve", 2, "cannot be used with"),
        (&*format!("serve --listen {}", server.address), 1, "name another address with --listen"),
    ] {
        let (status, said) = Server::refused(&mut command(args));
        assert_eq!(status.code(), Some(code), "{args}: {said}");
        assert!(said.starts_with("error: ") && said.contains(sentence), "{args}: {said}");
    }
    let help = command("serve --help").output().expect("the program starts");
    assert!(String::from_utf8_lossy(&help.stdout).contains("There is no login"));
}
