//! What do the formats, compression and sealing cost? Each against JSON as serde_json writes and reads it, on one post.

mod support;

use std::hint::black_box;
use std::sync::Arc;

use larder::Redis;
use larder::codec::{Codec, Compression, Json, KeyRing, MessagePack, Postcard};
use larder::tier::redis::Namespace;
use serde::{Deserialize, Serialize};
use support::Case;

/// About 1.1 KiB of text.
#[derive(Clone, Serialize, Deserialize)]
struct Post {
    id: u64,
    author_id: u64,
    title: String,
    slug: String,
    body: String,
    tags: Vec<String>,
    published_at: Option<i64>,
    edited_at: Option<i64>,
    views: u64,
    likes: u32,
    is_draft: bool,
    comments: Vec<Comment>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Comment {
    author_id: u64,
    created_at: i64,
    likes: u32,
}

impl Post {
    fn new(paragraphs: usize) -> Self {
        Self {
            id: 123_456,
            author_id: 7_890,
            title: "How to keep a cache honest".to_owned(),
            slug: "how-to-keep-a-cache-honest".to_owned(),
            body: text(paragraphs),
            tags: ["caches", "databases", "rust", "redis"].map(str::to_owned).to_vec(),
            published_at: Some(1_795_430_214),
            edited_at: None,
            views: 48_211,
            likes: 512,
            is_draft: false,
            comments: (0..4)
                .map(|n| Comment { author_id: n * 17, created_at: 1_795_430_000, likes: 3 })
                .collect(),
        }
    }
}

/// Paragraphs that are alike as texts are: words of a few hundred, in an order that does not repeat.
fn text(paragraphs: usize) -> String {
    let mut dice = fastrand::Rng::with_seed(1);
    let syllables =
        ["ca", "che", "ho", "nest", "read", "wri", "ter", "sto", "re", "key", "val", "ue", "ti", "er"];
    let words: Vec<String> = (0..400)
        .map(|_| (0..dice.usize(1..4)).map(|_| syllables[dice.usize(..syllables.len())]).collect())
        .collect();
    let mut paragraph = || {
        let mut text = String::new();
        while text.len() < 800 {
            // Some words are far more frequent than others.
            let word = &words[(words.len() as f64 * dice.f64().powi(3)) as usize];
            text += word;
            text.push(' ');
        }
        text
    };
    (0..paragraphs).map(|_| paragraph()).collect()
}

fn encoding(name: &'static str, base: usize, codec: impl Codec<Post>, post: &Post) -> Case {
    let post = post.clone();
    Case::new(name, base, move |times| {
        let mut bytes = Vec::new();
        for _ in 0..times {
            bytes.clear();
            codec.encode(black_box(&post), &mut bytes).expect("it can be written");
            black_box(&bytes);
        }
    })
}

fn decoding(name: &'static str, base: usize, codec: impl Codec<Post>, post: &Post) -> Case {
    let bytes = encoded(&codec, post);
    Case::new(name, base, move |times| {
        for _ in 0..times {
            black_box(codec.decode(black_box(&bytes)).expect("it was written here"));
        }
    })
}

fn encoded(codec: &impl Codec<Post>, post: &Post) -> Vec<u8> {
    let mut bytes = Vec::new();
    codec.encode(post, &mut bytes).expect("it can be written");
    bytes
}

/// Serde alone, as whoever does without larder has it.
fn bare(post: &Post) -> (Case, Case) {
    let (value, bytes) = (post.clone(), serde_json::to_vec(post).expect("it can be written"));
    let encode = Case::new("serde_json::to_vec", 0, move |times| {
        for _ in 0..times {
            black_box(serde_json::to_vec(black_box(&value)).expect("it can be written"));
        }
    });
    let decode = Case::new("serde_json::from_slice", 0, move |times| {
        for _ in 0..times {
            black_box(serde_json::from_slice::<Post>(black_box(&bytes)).expect("it was written here"));
        }
    });
    (encode, decode)
}

type Texts = Arc<Namespace<Post>>;

fn namespace() -> Namespace<Post> {
    Redis::new("redis://127.0.0.1").expect("a URL").namespace("post")
}

fn keys() -> KeyRing {
    KeyRing::new(1, [7; 32])
}

/// The ways that bytes can take to and from the server.
fn packings() -> [(&'static str, Texts); 4] {
    [
        ("plain", namespace()),
        ("lz4", namespace().compress(Compression::lz4())),
        ("zstd", namespace().compress(Compression::zstd())),
        ("sealed", namespace().sealed(keys())),
    ]
    .map(|(name, namespace)| (name, Arc::new(namespace)))
}

fn writing(name: &'static str, namespace: Texts, post: &Post) -> Case {
    let post = post.clone();
    Case::new(name, 0, move |times| {
        for _ in 0..times {
            black_box(namespace.body_length(&7_u64, Some(black_box(&post))).expect("it can be kept"));
        }
    })
}

fn reading(name: &'static str, namespace: Texts, post: &Post) -> Case {
    let slot = namespace.slot_of(&7_u64, Some(post)).expect("it can be kept");
    Case::new(name, 0, move |times| {
        for _ in 0..times {
            black_box(namespace.copy_in(&7_u64, black_box(slot.clone())).expect("a copy"));
        }
    })
}

fn main() {
    if !support::is_wanted() {
        return;
    }
    let post = Post::new(1);
    let (encode, decode) = bare(&post);
    let sizes = [
        encoded(&Json::default(), &post),
        encoded(&MessagePack::default(), &post),
        encoded(&Postcard::default(), &post),
    ];
    let [json, msgpack, postcard] = sizes.map(|bytes| bytes.len());
    println!("\nbytes (goal: at most 0.95 of JSON's): JSON {json}");
    for (name, size) in [("MessagePack", msgpack), ("postcard", postcard)] {
        println!("{name} {size}, {:.3}", size as f64 / json as f64);
    }
    let cases = [
        encode,
        encoding("JSON, into a buffer used again", 0, Json::default(), &post),
        encoding("MessagePack", 0, MessagePack::default(), &post),
        encoding("postcard", 0, Postcard::default(), &post),
    ];
    support::print_table("encode a post (goal of the last two: 0.60)", &cases);
    let cases = [
        decode,
        decoding("JSON", 0, Json::default(), &post),
        decoding("MessagePack", 0, MessagePack::default(), &post),
        decoding("postcard", 0, Postcard::default(), &post),
    ];
    support::print_table("decode a post (goal of the last two: 0.60)", &cases);

    for paragraphs in [2, 12, 120] {
        let post = Post::new(paragraphs);
        let size = |namespace: &Texts| namespace.body_length(&7_u64, Some(&post)).expect("it can be kept");
        let sizes: Vec<_> = packings().iter().map(|(name, way)| format!("{name} {}", size(way))).collect();
        println!("\n{paragraphs} paragraphs as JSON, bytes with the envelope: {}", sizes.join(", "));
        let cases = packings().map(|(name, way)| writing(name, way, &post));
        support::print_table("write", &cases);
        let cases = packings().map(|(name, way)| reading(name, way, &post));
        support::print_table("read", &cases);
    }
}
