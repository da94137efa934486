//! What all pages share: head, style, navigation, footer.

use super::markup::Markup;

const HEAD: &str = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>"#;

const STYLE: &str = concat!(" – The Pantry</title>\n<style>\n", include_str!("style.css"), "</style>\n");

const NAVIGATION: &str = r#"</head>
<body>
<header>
<a class="name" href="/">The Pantry</a>
<nav><a href="/">Posts</a> · <a href="/stats">Statistics</a></nav>
</header>
<main>
"#;

const FOOTER: &str = r"</main>
<footer>
<p>An example of the cache library larder. There is no login: whoever can open this page can comment and edit
every post.</p>
</footer>
</body>
</html>
";

/// A whole page with what `main` writes in its middle.
pub(crate) fn frame(title: &str, main: impl FnOnce(&mut Markup)) -> String {
    let mut page = Markup::default();
    page.raw(HEAD).text(title).raw(STYLE).raw(NAVIGATION);
    main(&mut page);
    page.raw(FOOTER);
    page.into_string()
}
